"""Where to begin: a state, or a result that stands for one."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks


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
        some = jnp.asarray(start.stable)
        return start.states[jnp.argmax(jnp.where(some.any(), some, jnp.asarray(start.found)))]
    return start


def first_state(
    start: Any, shape: tuple[int, ...], axes: str = "(variable, region)", dtype: Any = float
) -> jax.Array:
    """`start` as a state of that shape, whose axes are named `axes`.

    A state of one axis is that of all regions of a network. Raises `ValueError` for another shape,
    for what is no array of real numbers, and for values that are not finite.
    """
    state = _checks.floats("start", state_of(start), dtype)
    if len(shape) > 1 and state.shape == shape[:1]:
        state = jnp.broadcast_to(state.reshape(-1, *(1,) * (len(shape) - 1)), shape)
    _checks.shape("start", state, shape, axes)
    _checks.finite("start", state)
    return state


def first_states(start: Any, runs: int, shape: tuple[int, ...], dtype: Any = float) -> jax.Array:
    """`start` as states (run, *shape): one for each of the runs, or one for all; else as above."""
    state = _checks.floats("start", state_of(start), dtype)
    if state.ndim != 1 + len(shape):
        return jnp.broadcast_to(first_state(state, shape, dtype=dtype), (runs, *shape))
    _checks.shape("start", state, (runs, *shape), "(run, variable, region)")
    _checks.finite("start", state)
    return state
