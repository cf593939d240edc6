"""Runs under a drive, seen once in each of its periods: the stroboscopic map."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import constant
from ngnmm_jax.dynamics.forced.system import Pieces, inside, pieces_of
from ngnmm_jax.integrators.runge_kutta import RK4

# Of time and a state, both with an axis of runs or none.
Slope = Callable[[Any, Any], Any]


class Strobed(NamedTuple):
    """A run at the ends of periods of the drive.

    - `states` (cycle, *state): the first one where the window begins.
    - `low`, `high` (*state): how far the run reaches in the window.
    """

    states: Any
    low: Any
    high: Any


def step_in(slope: Slope, pieces: Pieces, steps: Any, number: Any, x: Any) -> Any:
    """The state after step `number` of a period of the drive, so many in each of its pieces.

    Of RK4. Pieces (piece, *run) and states (*state, *run).
    """
    piece = number // steps
    begin, length = (as_array(part)[piece] for part in pieces)
    h = length / steps
    ends = inside(begin, length)

    def field(pair: tuple[Any, Any]) -> tuple[Any, Any]:
        x, t = pair
        return slope(jnp.clip(t, *ends), x), jnp.ones_like(t)

    return RK4().step(field, (x, begin + (number % steps) * h), h)[0]


@eqx.filter_jit
def strobed(system: Any, start: Any, steps: Any, before: Any, window: int) -> Strobed:
    """A run of `before` and then `window` periods of the drive, `steps` in each of its pieces."""
    system = constant(system)
    pieces = pieces_of(system, 1, 1)
    count = pieces.begins.shape[0] * steps

    def step(i: Any, x: Any) -> Any:
        return step_in(system.slope_at, pieces, steps, i, x)

    def watched(i: Any, seen: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        x, low, high = seen
        x = step(i, x)
        return x, jnp.minimum(low, x), jnp.maximum(high, x)

    def cycle(seen: tuple[Any, Any, Any], _: None) -> tuple[Any, Any]:
        seen = jax.lax.fori_loop(0, count, watched, seen)
        return seen, seen[0]

    x = jax.lax.fori_loop(0, before * count, lambda i, x: step(i % count, x), start)
    (_, low, high), states = jax.lax.scan(cycle, (x, x, x), None, length=window)
    return Strobed(jnp.concatenate([x[None], states]), low, high)
