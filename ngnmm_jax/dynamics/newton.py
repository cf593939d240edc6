"""Roots of one vector field as part of a program: Newton's iteration, and Powell's from afar.

On the host many fields at once have theirs in `many_equilibria` and `powell`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jaxtyping import Array, Bool, Complex, Float

from ngnmm_jax._core.arrays import as_array

VectorField = Callable[[jax.Array], jax.Array]

# Newton's steps, of which the last two carry derivatives.
_STEPS = 8


def map_where(
    mask: Bool[Array, "item"], function: Callable[[jax.Array], Any], items: jax.Array
) -> Any:
    """`function` of each item where `mask`, NaN elsewhere, spending no time on the latter."""
    like = jax.eval_shape(function, items[0])
    nothing = jax.tree.map(lambda leaf: jnp.full(leaf.shape, jnp.nan, leaf.dtype), like)

    def one(pair: tuple[jax.Array, jax.Array]) -> Any:
        return jax.lax.cond(pair[0], function, lambda _: nothing, pair[1])

    return jax.lax.map(one, (mask, items))


def jacobian(field: VectorField, state: jax.Array) -> Float[Array, "dimension dimension"]:
    """Jacobian of a vector field over the flattened state, by forward differentiation."""
    return jax.jacfwd(lambda x: field(x.reshape(state.shape)).ravel())(state.ravel())


def spectrum(matrix: jax.Array) -> Complex[Array, "dimension"]:
    values = jnp.linalg.eigvals(matrix)
    return values[jnp.argsort(-values.real)]


def correction(field: VectorField, x: jax.Array) -> jax.Array:
    """Newton's, to be taken off."""
    return jnp.linalg.solve(jacobian(field, x), field(x).ravel()).reshape(x.shape)


def newton(field: VectorField, state: jax.Array) -> tuple[jax.Array, Float[Array, ""]]:
    """Newton's iteration from a state near an equilibrium: state and relative last correction.

    The derivative of all steps is cut but that of the last two: the error of a Newton step is
    quadratic, so the result has exact first and second derivatives with respect to whatever
    `field` closes over.
    """

    def step(x: jax.Array, attached: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = jnp.where(attached, x, jax.lax.stop_gradient(x))
        delta = correction(field, x)
        return x - delta, jnp.abs(delta).max()

    state, sizes = jax.lax.scan(step, state, jnp.arange(_STEPS) == _STEPS - 1)
    return state, sizes[-1] / (1 + jnp.abs(state).max())


def from_starts(
    field: VectorField, starts: Float[Array, "start *state"]
) -> Float[Array, "start *state"]:
    """Powell's dogleg iteration from each start that is not NaN, as near a root as it gets.

    (Levenberg and Marquardt's gets caught in the ghosts of saddle-nodes, where |dx/dt| has
    a minimum that is not zero.)
    """
    solver: Any = optx.Dogleg(rtol=1e-6, atol=1e-8)

    def solve(start: jax.Array) -> jax.Array:
        solution: optx.Solution = optx.root_find(
            lambda x, _: field(x), solver, start, max_steps=200, throw=False
        )
        return solution.value

    starts = jax.lax.stop_gradient(starts)
    given = jnp.isfinite(starts.reshape(starts.shape[0], -1)).all(axis=1)
    return jax.lax.stop_gradient(map_where(given, solve, starts))


def box_starts(
    low: Float[Array, "variable"], high: Float[Array, "variable"], count: int = 64
) -> Float[Array, "start variable"]:
    """Points of a Halton sequence in a box."""
    from scipy.stats import qmc

    unit = qmc.Halton(d=low.shape[0], scramble=False).random(count + 1)[1:]
    return low + (high - low) * as_array(np.asarray(unit), dtype=low.dtype)
