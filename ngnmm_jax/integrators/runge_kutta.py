"""Runge-Kutta methods of fixed step; their states may be PyTrees."""

from collections.abc import Callable
from typing import Any, ClassVar

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core.arrays import as_array
from ngnmm_jax.integrators.base import AbstractOneStep

# One step: of a vector field, from a state (an array, or a PyTree of them), of a given length.
Field = Callable[[Any], Any]
Step = Callable[[Field, Any, Any], Any]


def _moved(state: Any, h: Any, slope: Any) -> Any:
    return jax.tree.map(lambda y, k: y + h * k, state, slope)


class RK4(AbstractOneStep):
    """The classical method of order four: "rk4"."""

    def step(self, field: Field, state: Any, dt: Any) -> Any:
        """The state one step later."""
        k = field(state)
        total = k
        for h in (dt / 2, dt / 2):
            k = field(_moved(state, h, k))
            total = jax.tree.map(lambda a, b: a + 2 * b, total, k)
        last = field(_moved(state, dt, k))
        return _moved(state, dt / 6, jax.tree.map(jnp.add, total, last))


class Heun(AbstractOneStep):
    """Heun's method, of order two: "heun"."""

    def step(self, field: Field, state: Any, dt: Any) -> Any:
        """The state one step later."""
        k = field(state)
        return _moved(state, dt / 2, jax.tree.map(jnp.add, k, field(_moved(state, dt, k))))


class Euler(AbstractOneStep):
    """Euler's method, of order one: "euler"."""

    rising: ClassVar[bool] = False

    def step(self, field: Field, state: Any, dt: Any) -> Any:
        """The state one step later."""
        return _moved(state, dt, field(state))


class Dopri8Fixed(AbstractOneStep):
    """Dormand and Prince's method of order eight, in fixed steps: "dopri8".

    Source: Prince and Dormand, J. Comput. Appl. Math. 7, 67 (1981), with diffrax's coefficients.
    """

    def step(self, field: Field, state: Any, dt: Any) -> Any:
        """The state one step later."""
        return dopri8_step(field, state, dt)


def tableau_step(tableau: dfx.ButcherTableau) -> Step:
    """One step of an explicit Runge-Kutta method, from its coefficients in diffrax."""
    weights = np.trim_zeros(np.asarray(tableau.b_sol), "b")
    rows = tableau.a_lower[: len(weights) - 1]

    def moved(state: Any, dt: Any, factors: Any, slopes: list[Any]) -> Any:
        some = [(float(a), k) for a, k in zip(factors, slopes, strict=True) if a != 0]
        total = jax.tree.map(lambda *k: sum(a * kj for (a, _), kj in zip(some, k, strict=True)),
                             *(k for _, k in some))  # fmt: skip
        return _moved(state, dt, total)

    def step(field: Field, state: Any, dt: Any) -> Any:
        k = [field(state)]
        for row in rows:
            k.append(field(moved(state, dt, row, k)))
        return moved(state, dt, weights, k)

    return step


def looped_step(tableau: dfx.ButcherTableau) -> Step:
    """`tableau_step` on an array, with a loop over the stages: one twelfth of the program.

    What is compiled once for each system and takes milliseconds to run starts sooner so; a
    step takes up to twice as long as with the stages written out.
    """
    weights = np.trim_zeros(np.asarray(tableau.b_sol), "b")
    count = len(weights)
    factors = np.zeros((count, count))
    for i, row in enumerate(tableau.a_lower[: count - 1]):
        factors[i + 1, : i + 1] = row

    def step(field: Field, state: jax.Array, dt: Any) -> jax.Array:
        def moved(row: jax.Array, slopes: jax.Array) -> jax.Array:
            return state + dt * (row.reshape(-1, *(1,) * state.ndim) * slopes).sum(axis=0)

        def stage(slopes: jax.Array, at: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            number, row = at
            return slopes.at[number].set(field(moved(row, slopes))), None

        real = state.real.dtype
        nothing = jnp.zeros((count, *state.shape), state.dtype)
        rows = (jnp.arange(count), as_array(factors, real))
        slopes, _ = jax.lax.scan(stage, nothing, rows)
        return moved(as_array(weights, real), slopes)

    return step


#: Dormand and Prince's method of order eight.
dopri8_step = tableau_step(dfx.Dopri8.tableau)
dopri8_loop = looped_step(dfx.Dopri8.tableau)

#: Tsitouras's method of order five.
tsit5_step = tableau_step(dfx.Tsit5.tableau)
