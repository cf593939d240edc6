"""Gradients of a loss: which way they are taken, whether they are right, whether they can be used.

Reverse mode costs some few evaluations whatever the number of parameters; simulations are
checkpointed at every sample, so that memory grows with the number of samples, not of steps. Forward
mode costs one more evaluation for each parameter and no memory.

Either is exact for the trajectory as it is computed, step by step, and useless for statistics once
the trajectory is chaotic: perturbations grow as exp(λ t), with λ the leading Lyapunov exponent, so
beyond a horizon of 1/λ the gradient is dominated by that growth. `horizon` says where this is;
losses made of equilibria, of their eigenvalues or of `linear_response` have no horizon.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.randomness import Purpose, stream
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax._core.status import Status
from ngnmm_jax.dynamics.lyapunov import lyapunov_spectrum
from ngnmm_jax.fitting.compiled import Compiled
from ngnmm_jax.fitting.free import Free
from ngnmm_jax.systems.driven import undriven

#: A loss: of the system, and of the key for whatever is random in it. It returns a number, or
#: several by name, which are added.
Loss = Callable[[Any, Any], Any]

MODES = ("reverse", "forward")
# Up to so many parameters forward mode is taken, where nothing is said.
_FEW = 6


class GradientWarning(UserWarning):
    """A gradient that goes through a longer time than the dynamics allow."""


class Mode(NamedTuple):
    """How gradients are taken, and why so."""

    name: str
    why: str


def choose_mode(size: int, mode: str | None = None) -> Mode:
    """The mode, and why: forward for few parameters, unless one is asked for."""
    if mode is not None:
        _checks.one_of("mode", mode, MODES)
        return Mode(mode, f"{mode} mode, as asked for")
    if size <= _FEW:
        why = f"forward mode: {size} parameters, at most {_FEW}; no memory is needed"
        return Mode("forward", why)
    why = f"reverse mode: {size} parameters, more than {_FEW}; with checkpoints"
    return Mode("reverse", why)


def objective(loss: Loss, free: Free) -> Callable[[jax.Array, Any], tuple[jax.Array, Any]]:
    """Loss plus priors as a function of x and a key, and its terms by name."""

    def function(x: jax.Array, key: Any) -> tuple[jax.Array, dict[str, jax.Array]]:
        found = loss(free.put(x), key)
        terms = dict(found) if isinstance(found, dict) else {"loss": found}
        terms = {name: as_array(value, x.dtype) for name, value in terms.items()}
        for name, value in terms.items():
            if value.ndim:
                _checks.fail("loss", "return numbers", f"{name!r} has shape {value.shape}")
        if any(u.prior is not None or u.spread is not None for u in free.parameters.values()):
            terms["prior"] = free.penalty(x)
        return jnp.stack(list(terms.values())).sum(), terms

    return function


class Differentiated(NamedTuple):
    """A loss at a point: its value, its terms by name, and its gradient (parameter,)."""

    value: jax.Array
    terms: dict[str, jax.Array]
    gradient: jax.Array


def value_and_gradient(
    function: Callable[[jax.Array, Any], tuple[jax.Array, Any]], mode: str
) -> Callable[[jax.Array, Any], Differentiated]:
    """An `objective` with its gradient, in a mode."""
    if mode == "reverse":
        differentiated = jax.value_and_grad(function, has_aux=True)

        def reverse(x: jax.Array, key: Any) -> Differentiated:
            (value, terms), gradient = differentiated(x, key)
            return Differentiated(value, terms, gradient)

        return reverse

    def forward(x: jax.Array, key: Any) -> Differentiated:
        def along(tangent: jax.Array) -> Any:
            return jax.jvp(lambda x: function(x, key), (x,), (tangent,))

        values, tangents = jax.vmap(along, out_axes=((None, None), 0))(
            jnp.eye(x.size, dtype=x.dtype)
        )
        return Differentiated(values[0], values[1], tangents[0])

    return forward


def finite_status(value: Any) -> Any:
    """OK, or NOT_FINITE where a number of an array is not."""
    return jnp.where(jnp.isfinite(as_array(value)).all(), Status.OK, Status.NOT_FINITE)


class GradientCheck(AbstractResult):
    """A gradient beside finite differences.

    - `gradient`, `differences` (parameter,): by x, in unbounded space.
    - `error` (parameter,): their difference over the largest component.
    - `names` (parameter,).
    - `status`: NOT_FINITE where one of them is not.
    """

    gradient: Float[Array, "parameter"]
    differences: Float[Array, "parameter"]
    error: Float[Array, "parameter"]
    names: tuple[str, ...] = eqx.field(static=True)

    @property
    def worst(self) -> float:
        """The largest error."""
        return float(self.error.max())

    @property
    def status(self) -> Any:
        """OK, or NOT_FINITE: the error is not finite where a gradient or a difference is not."""
        return finite_status(self.error)

    @property
    def stats(self) -> dict[str, Any]:
        """The largest error, and whose it is."""
        worst = int(np.asarray(self.error).argmax())
        return {"worst": f"{self.worst:.2g} ({self.names[worst]})"}


def check_gradient(
    loss: Loss,
    free: Free,
    x: Any = None,
    *,
    mode: str | None = None,
    step: float = 1e-3,
    seed: int = 0,
) -> GradientCheck:
    """The gradient of a loss against central differences of order four, parameter by parameter.

    **Arguments:** `x` (parameter,): where; by default the system's values. `step`: in x.
    """
    _checks.seed(seed)
    _checks.require_x64("check_gradient")
    _checks.positive("step", step)
    x = free.of(free.system) if x is None else as_array(x, float)
    key = stream(seed, Purpose.LOSS)
    function = objective(loss, free)
    mode = choose_mode(free.size, mode).name
    gradient = Compiled(value_and_gradient(function, mode))(x, key).gradient
    value = Compiled(lambda x, key: function(x, key)[0])
    rows = []
    for k in range(free.size):
        at = [float(value(x.at[k].add(m * step), key)) for m in (-2, -1, 1, 2)]
        rows.append((at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * step))
    differences = as_array(rows)
    scale = jnp.maximum(jnp.abs(differences).max(), jnp.finfo(x.dtype).tiny)
    error = jnp.abs(gradient - differences) / scale
    return GradientCheck(gradient, differences, error, free.names)


class Horizon(AbstractResult):
    """How long a gradient through a simulation can be trusted.

    - `exponent`, `error`: the leading Lyapunov exponent without noise, and its standard error, per
      unit of the model's time; `time`: its inverse, infinite where it is not above zero.
    - `status`: of the Lyapunov exponent.
    """

    exponent: Float[Array, ""]
    error: Float[Array, ""]
    time: Float[Array, ""]
    status: Any

    @property
    def stats(self) -> dict[str, Any]:
        """The exponent's standard error."""
        return {"error": self.error}

    def summary(self) -> dict[str, Any]:
        return {"exponent": self.exponent, "time": self.time}


def horizon(system: Any, *, duration: float | None = None, seed: int = 0) -> Horizon:
    """The inverse of the leading Lyapunov exponent: beyond it gradients grow without meaning.

    **Arguments:** `duration`: of the estimate, by default 40,000 steps after 10,000.
    """
    _checks.seed(seed)
    network = undriven(system)
    step = network.time_step
    window = 40_000 * step if duration is None else duration
    found = lyapunov_spectrum(
        network, 1, duration=window, transient=10_000 * step, seed=seed, progress=False, throw=False
    )
    exponent, error = found.exponents[0], found.errors[0]
    sure = exponent > 2 * error
    return Horizon(exponent, error, jnp.where(sure, 1 / exponent, jnp.inf), found.status)


def beyond_horizon(found: Horizon, through: float, time_unit: str) -> str | None:
    """What to say where a gradient goes through a longer time than the horizon."""
    if not found.ok or not through > float(found.time):
        return None
    return (
        f"The gradient goes through {through:g} {time_unit}, but the activity is chaotic: its "
        f"leading Lyapunov exponent is {float(found.exponent):.4g} ± {float(found.error):.2g} per "
        f"{time_unit}, so beyond {float(found.time):.3g} {time_unit} the gradient grows without "
        "meaning. Truncate it (`truncate=`), use a loss without a horizon (`linear_response`, "
        'eigenvalues), or no gradient (`method="cma"`).'
    )
