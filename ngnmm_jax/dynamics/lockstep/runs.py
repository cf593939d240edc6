"""Runs in lock-step: their steps, how they settle, and the least return that each makes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax.dynamics.paths import STILL
from ngnmm_jax.integrators.loops import recorded, repeat
from ngnmm_jax.integrators.runge_kutta import RK4

VectorField = Callable[[jax.Array], jax.Array]

# The longest steps of a mesh, in units of the steps' tempo and of the steps (the fastest times are
# twenty of them).
_LONGEST, _DAMPED = 8, 40
# Returns are looked for among this many crossings of the section.
_MOST_CROSSINGS = 16


class Return(NamedTuple):
    """The least return that a run makes to where it was slowest.

    - `state` (variable, run): where it was; `period` (run,): when it came back.
    - `gap` (run,): how near it came, relative to the run's extent; infinite where it did not.
    - `low`, `high` (variable, run): of the path.
    - `still` (run,): it does not move.
    """

    state: Float[Array, "variable run"]
    period: Float[Array, "run"]
    gap: Float[Array, "run"]
    low: Float[Array, "variable run"]
    high: Float[Array, "variable run"]
    still: Bool[Array, "run"]


class Steps(NamedTuple):
    """How runs are followed.

    NumPy's arrays where a model's parameters are known.

    - `dt` (run,): steps that follow the fastest of each.
    - `stiffness` (run,): how many of them make one that its activity alone would ask for: the unit
      in which transients and windows are counted.
    """

    dt: Any
    stiffness: Any

    @classmethod
    def of(cls, model: Any, runs: int) -> "Steps":
        """Those of a model's parameters, which are scalars, (region, #run) or (run,)."""
        sizes, tempos = model.step_sizes(), model.tempo()
        xp = np if _checks.is_concrete(sizes, tempos) else jnp

        def least(value: Any) -> Any:
            return xp.broadcast_to(value.min(axis=0) if value.ndim > 1 else value, (runs,))

        dt = least(sizes)
        return cls(dt, xp.maximum(1.0, xp.round(least(tempos) / dt)))

    @property
    def tempo(self) -> Any:
        """The unit in which transients and windows are counted."""
        return self.dt * self.stiffness

    @property
    def longest(self) -> Float[Array, "run"]:
        """The longest steps of a mesh: those of order five damp what is fastest even so."""
        return jnp.minimum(_LONGEST * self.tempo, _DAMPED * self.dt)


def settle(
    field: VectorField,
    start: Float[Array, "variable run"],
    steps: Steps,
    *,
    transient: int,
    samples: int,
    stride: int,
) -> tuple[Float[Array, "variable run"], Float[Array, "sample variable run"]]:
    """The state after `transient` and then `samples` samples, and the path of the latter.

    Samples are `stride` of the steps' tempo apart.
    """

    def sample(x: jax.Array) -> jax.Array:
        number = stride * steps.stiffness
        return repeat(lambda x, h: RK4().step(field, x, h), x, steps.dt, number)

    return recorded(
        sample,
        start,
        n_saves=transient + samples,
        stride=1,
        select=lambda x: x,
        room=samples,
        place=lambda k: jnp.maximum(k - transient, 0),
    )


def least_return(
    field: VectorField,
    path: Float[Array, "sample variable run"],
    dt: Any,
    same: float,
) -> Return:
    """The first of a path's returns that is as near as any, on a section through it.

    The section is put where the path is slowest in its first third, where interpolation
    between samples, `dt` apart, is best. Returns nearer than `same` are not told apart, for
    the error of that; after a period doubling, half a turn is not as near.
    """
    n = path.shape[0]
    low, high = path.min(axis=0), path.max(axis=0)
    extent = high - low
    still = (extent / (1 + jnp.abs(path).max(axis=0))).max(axis=0) < STILL
    scale = jnp.where(extent > 0, extent, 1.0)
    speed = (jnp.abs(path[1 : n // 3] - path[: n // 3 - 1]) / scale).max(axis=1)
    origin = jnp.argmin(speed, axis=0)
    anchor = jnp.take_along_axis(path, origin[None, None], axis=0)[0]
    height = ((path - anchor) * (field(anchor) / scale**2)).sum(axis=1)
    later = jnp.arange(n - 1)[:, None] > origin + 1
    crossing = (height[:-1] < 0) & (height[1:] >= 0) & later
    fraction = height[:-1] / jnp.where(crossing, height[:-1] - height[1:], 1.0)
    where = path[:-1] + fraction[:, None] * (path[1:] - path[:-1])
    number = jnp.cumsum(crossing, axis=0)
    early = crossing & (number <= _MOST_CROSSINGS)
    gap = jnp.where(early, (jnp.abs(where - anchor) / scale).max(axis=1), jnp.inf)
    nearest = gap.min(axis=0)
    first = jnp.argmax(gap <= jnp.maximum(3 * nearest, same), axis=0)
    lapse = first - origin + jnp.take_along_axis(fraction, first[None], axis=0)[0]
    return Return(anchor, lapse * dt, nearest, low, high, still)
