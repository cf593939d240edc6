"""Where to begin: a state, or a result that stands for one."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array

# Below zero by so much of a state's largest value: by a run's steps, not by what was meant.
_OVERSHOT = 1e-5


def state_of(start: Any) -> Any:
    """The state that a result stands for; anything else as it is.

    The last one of a run (`final_state`), that of a special point (`state`), the first one of an
    orbit (`states` and one `period`), and of equilibria (`states`, `found` and `stable`) the lowest
    stable one, or the lowest where none is stable.
    """
    for name in ("final_state", "state"):
        if hasattr(start, name):
            return getattr(start, name)
    if hasattr(start, "states") and np.ndim(getattr(start, "period", ())) == 0:
        return start.states[0]
    if hasattr(start, "states") and hasattr(start, "found"):
        some = as_array(start.stable)
        return start.states[jnp.argmax(jnp.where(some.any(), some, as_array(start.found)))]
    return start


def first_state(
    start: Any, system: Any, axes: str = "(variable, region)", dtype: Any = float
) -> jax.Array:
    """`start` as a state of a system, whose axes are named `axes`.

    A state of one axis is that of all regions of a network. Raises `ValueError` for another shape,
    for what is no array of real numbers, for values that are not finite, and for an array in which
    a variable that cannot be negative is.
    """
    shape = tuple(system.state_shape)
    state = _checks.floats("start", state_of(start), dtype)
    if len(shape) > 1 and state.shape == shape[:1]:
        state = jnp.broadcast_to(state.reshape(-1, *(1,) * (len(shape) - 1)), shape)
    _checks.shape("start", state, shape, axes)
    _checks.finite("start", state)
    _nowhere_negative(start, state, system, len(shape))
    return state


def first_states(start: Any, runs: int, system: Any, dtype: Any = float) -> jax.Array:
    """`start` as states (run, *state): one for each of the runs, or one for all; else as above."""
    shape = tuple(system.state_shape)
    state = _checks.floats("start", state_of(start), dtype)
    if state.ndim != 1 + len(shape):
        return jnp.broadcast_to(first_state(start, system, dtype=dtype), (runs, *shape))
    _checks.shape("start", state, (runs, *shape), "(run, variable, region)")
    _checks.finite("start", state)
    _nowhere_negative(start, state, system, len(shape))
    return state


def _nowhere_negative(start: Any, state: jax.Array, system: Any, axes: int) -> None:
    """Refuse an array in which rates or gates are clearly below zero.

    What a result stands for is taken as it is, and so is any state where noise is let below zero.
    """
    model = getattr(system, "model", None)
    kept = getattr(system, "noise", None) and getattr(system, "below_zero", None) == "keep"
    if model is None or kept or state_of(start) is not start or not _checks.is_concrete(state):
        return
    values = np.moveaxis(np.asarray(state), -axes, 0)  # (variable, …)
    least = -_OVERSHOT * np.abs(values).max(initial=0.0)
    for name in getattr(model, "nonnegative", ()):
        low = values[model.variables.index(name)].min(initial=0.0)
        if low < least:
            must = f"not have {name!r} below zero, which cannot be there: take `abs` of it, or give"
            must += " the run itself to go on from its end"
            _checks.fail("start", must, f"its smallest value is {low:g}")
