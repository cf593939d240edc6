"""Sampled paths: the attractor that a run has reached, returns, turns, extrema."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import constant
from ngnmm_jax.integrators.loops import recorded
from ngnmm_jax.integrators.runge_kutta import RK4

#: Samples of a window: what is compiled does not know how many count.
WINDOW = 16_000
#: Less extent than this, relative to 1 + |x|, is an equilibrium.
STILL = 1e-6
# A return to the section counts when it is this near, relative to the path's extent.
_RETURN = 1e-3
# Returns this near are not told apart: the error of interpolating the section's crossings.
_SAME = 1e-4


class Run(NamedTuple):
    """A run, and the least return that it makes in its window.

    - `states` (segment, variable): at equal intervals of time from where it was slowest.
    - `period`: the time after which it came back; `periodic`: that it did.
    - `still`: it does not move.
    - `crossings`: how often it ran through the section.
    - `scale` (variable,): how far it reaches. `end` (variable,): its last state.
    """

    states: Any
    period: Any
    periodic: Any
    still: Any
    crossings: Any
    scale: Any
    end: Any


@eqx.filter_jit
def run_up(
    system: Any,
    start: Float[Array, "variable"],
    transient: Int[Array, ""],
    window: Int[Array, ""],
    stride: Int[Array, ""],
    segments: int,
) -> Run:
    """A run of `transient` and then `window` samples (`WINDOW` at most), `stride` steps apart."""
    system = constant(system)
    field, dt = system.vector_field, as_array(system.time_step)

    end, path = recorded(
        lambda x: RK4().step(field, x, dt),
        start,
        n_saves=transient + window,
        stride=stride,
        select=lambda x: x,
        room=WINDOW,
        place=lambda k: jnp.maximum(k - transient, 0),
    )
    path = jnp.where(jnp.arange(WINDOW)[:, None] < window, path, path[0])
    found = least_return(path, jax.vmap(field)(path), dt * stride, window, segments)
    return found._replace(end=end)


def least_return(
    path: Float[Array, "sample variable"],
    slopes: Float[Array, "sample variable"],
    dt: Float[Array, ""],
    window: Int[Array, ""],
    segments: int,
) -> Run:
    """What a sampled run does in its first `window` samples, `dt` apart; the rest repeat one."""
    end = path[-1]
    sample = jnp.arange(path.shape[0])
    scale = jnp.ptp(path, axis=0)
    still = (scale / (1 + jnp.abs(path).max(axis=0))).max() < STILL
    scale = jnp.where(scale > 0, scale, 1.0)

    # A section through the slowest point of the first half, where interpolation is best.
    speed = jnp.abs(slopes / scale).max(axis=1)
    origin = jnp.argmin(jnp.where(sample < window // 2, speed, jnp.inf))
    anchor = path[origin]
    normal = slopes[origin] / scale**2
    height = (path - anchor) @ normal
    later = (sample[:-1] > origin + 1) & (sample[1:] < window)
    crossing = (height[:-1] < 0) & (height[1:] >= 0) & later
    fraction = height[:-1] / jnp.where(crossing, height[:-1] - height[1:], 1.0)

    def better(_: Any, fraction: jax.Array) -> jax.Array:
        x, slope = hermite(path, slopes * dt, fraction)
        rise = slope @ normal
        moved = fraction - ((x - anchor) @ normal) / jnp.where(rise == 0, 1.0, rise)
        return jnp.clip(moved, 0.0, 1.0)

    fraction = jax.lax.fori_loop(0, 3, better, fraction)
    where = hermite(path, slopes * dt, fraction)[0]
    gap = jnp.where(crossing, jnp.abs((where - anchor) / scale).max(axis=1), jnp.inf)

    # The least return that is as near as the nearest one: not the half turn of a period-two
    # orbit, however close to its birth, once the transient has died away.
    nearest = gap.min()
    good = gap <= jnp.maximum(3 * nearest, _SAME)
    first = jnp.argmax(good)
    lapse = first - origin + fraction[first]
    periodic = ~still & (nearest < _RETURN)
    begins = jnp.where(periodic, lapse, 0.0) * jnp.arange(segments) / segments
    states = _between(path, origin + begins)
    return Run(states, lapse * dt, periodic, still, crossing.sum(), scale, end)


def hermite(path: Any, rises: Any, s: Any) -> tuple[Any, Any]:
    """Cubics between neighbouring samples at fractions `s` of each interval, and their slopes.

    `rises` (sample, variable) are the slopes times the interval.
    """
    s = s[:, None]
    y0, m0, m1, rise = path[:-1], rises[:-1], rises[1:], path[1:] - path[:-1]
    c, b = m0 + m1 - 2 * rise, 3 * rise - 2 * m0 - m1
    return y0 + s * (m0 + s * (b + s * c)), m0 + s * (2 * b + s * 3 * c)


def _between(path: Float[Array, "sample variable"], where: Float[Array, "place"]) -> jax.Array:
    """States between samples, by cubic interpolation."""
    first = jnp.clip(jnp.floor(where).astype(int) - 1, 0, path.shape[0] - 4)
    s = (where - first)[:, None]
    y0, y1, y2, y3 = (path[first + k] for k in range(4))
    return (
        -(s - 1) * (s - 2) * (s - 3) / 6 * y0
        + s * (s - 2) * (s - 3) / 2 * y1
        - s * (s - 1) * (s - 3) / 2 * y2
        + s * (s - 1) * (s - 2) / 6 * y3
    )


def turns(xp: Any, samples: Any, slopes: Any, dt: Any) -> Any:
    """The largest k up to eight for which the orbit has returned after period / k; 1 if none."""
    n = samples.shape[0] - 1
    k = np.arange(2, 9)
    index, s = n // k, ((n % k) / k)[:, None]
    y0, y1 = samples[index], samples[index + 1]
    m0, m1 = slopes[index] * dt, slopes[index + 1] * dt
    cubic = y0 + s * (m0 + s * (3 * (y1 - y0) - 2 * m0 - m1 + s * (2 * (y0 - y1) + m0 + m1)))
    extent = xp.maximum(xp.ptp(samples, axis=0), 1e-300)
    back = (xp.abs(cubic - samples[0]) / extent).max(axis=1) < _SAME
    return xp.where(back, k, 1).max()


def extrema(samples: Any, slopes: Any, dt: Any, xp: Any = jnp) -> Any:
    """Lowest and highest values (2, variable), between samples (sample, variable) too.

    Those of the cubic Hermite interpolant; `dt` is one number or one for each interval. `xp` is
    `numpy` on the host.
    """
    y0, y1, m0, m1 = samples[:-1], samples[1:], slopes[:-1] * dt, slopes[1:] * dt
    a = 2 * y0 - 2 * y1 + m0 + m1
    b = -3 * y0 + 3 * y1 - 2 * m0 - m1
    # The slope 3 a s² + 2 b s + m0 vanishes; the root that is stable where a is small.
    disc = b * b - 3 * a * m0
    q = -(b + xp.where(b >= 0, 1.0, -1.0) * xp.sqrt(xp.maximum(disc, 0.0)))
    values = [samples[:-1], samples[1:]]
    for top, bottom in ((q, 3 * a), (m0, q)):
        s = xp.clip(top / xp.where(bottom == 0, 1.0, bottom), 0.0, 1.0)
        values.append(((a * s + b) * s + m0) * s + y0)
    every = xp.concatenate(values)
    return xp.stack([every.min(axis=0), every.max(axis=0)])
