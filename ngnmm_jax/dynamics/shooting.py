"""Multiple shooting: Newton's iteration joins segments of a trajectory to a periodic orbit."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import constant
from ngnmm_jax.dynamics.floquet import Propagated, ends, propagators, swept

#: Segments of an orbit.
SEGMENTS = 8
#: Steps of order eight that are compiled as one sweep, in each segment.
BLOCK = 64
_NEWTON = 20
#: Newton's steps that carry derivatives, with a constant Jacobian: as many orders are exact.
ORDERS = 2
# Newton's iteration ends at this gap between segments, or where a small one no longer falls; and
# where its step is less than this fraction of the orbit's extent, or no longer falls.
_CLOSED, _SMALL, _STEP = 1e-13, 1e-10, 1e-9


class Shot(NamedTuple):
    """What Newton's iteration has come to.

    - `states` (segment, variable), `period`: the segments' beginnings.
    - `residual`: the largest gap between segments, relative to 1 + |x|.
    - `moved`: by how much Newton's last step moved the states: estimates how far the orbit is.
    """

    states: Any
    period: Any
    residual: Any
    moved: Any


class _Equations(NamedTuple):
    """Of shooting: gaps between segments and the phase, their Jacobian, and the largest gap."""

    gaps: Any
    matrix: Any
    size: Any


class _Iteration(NamedTuple):
    """Iterations so far, where they are, the last ones' gap and step, and whether they ended."""

    number: Any
    states: Any
    period: Any
    size: Any
    step: Any
    ended: Any


def walk(
    system: Any, start: Float[Array, "variable"], period: Float[Array, ""], steps: int = BLOCK
) -> Float[Array, "segment variable"]:
    """States at the start of each segment along a trajectory."""
    start = as_array(start)
    if not _checks.on_host(system, start, period):
        return _walk_in_a_program(system, start, period)
    states = [start]
    for _ in range(SEGMENTS - 1):
        states.append(_segment_on(system, states[-1], period, steps))
    return jnp.stack(states)


@eqx.filter_jit
def _walk_in_a_program(system: Any, start: jax.Array, period: jax.Array) -> jax.Array:
    system, period = constant(system), jax.lax.stop_gradient(period)

    def over(x: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        return _segment_on(system, x, period, BLOCK), x

    return jax.lax.scan(over, start, None, length=SEGMENTS)[1]


def _segment_on(system: Any, x: jax.Array, period: jax.Array, steps: int) -> jax.Array:
    """The state a segment later, by the sweep that all segments take together."""
    sweeps = -(-steps // BLOCK)
    for _ in range(sweeps):
        everywhere = jnp.broadcast_to(x, (SEGMENTS, *x.shape))
        x = _sweep(system, everywhere, period / (SEGMENTS * sweeps * BLOCK), BLOCK).ends[0]
    return x


@eqx.filter_jit
def _sweep(
    system: Any, states: Float[Array, "segment variable"], dt: Float[Array, ""], steps: int
) -> Propagated:
    """Steps over all segments at once, tangents included: `propagators` of the system."""
    field = system.vector_field
    return propagators(field, jax.jacfwd(field), states, dt, steps)


def follow(xp: Any, system: Any, states: Any, period: Any, steps: int) -> Propagated:
    """Ends, propagators, and states and slopes at all steps, from the segments' states."""
    dt = xp.asarray(period / (SEGMENTS * steps))
    return swept(xp, lambda x, dt, n: _sweep(system, x, dt, n), states, dt, steps, BLOCK)


def _equations(xp: Any, states: Any, anchor: Any, normal: Any, followed: Propagated) -> _Equations:
    """The equations at states on segments, which were followed to their ends.

    The period's derivative of a segment's end is the slope at the next one's beginning.
    """
    matrices, slopes = followed.matrices, followed.slopes
    segments, n = states.shape
    eye = xp.eye(segments)
    gaps = (followed.ends - xp.roll(states, -1, axis=0)).ravel()
    gaps = xp.append(gaps, normal @ (states[0] - anchor))
    blocks = eye[:, None, :, None] * matrices[:, :, None, :]
    blocks = blocks - xp.roll(eye, 1, axis=1)[:, None, :, None] * xp.eye(n)[:, None, :]
    by_period = xp.roll(slopes[:, 0], -1, axis=0) / segments
    top = xp.concatenate([blocks.reshape(gaps.size - 1, -1), by_period.reshape(-1, 1)], axis=1)
    bottom = xp.append(normal, xp.zeros(gaps.size - n))
    size = xp.abs(gaps).max() / (1 + xp.abs(states).max())
    return _Equations(gaps, xp.concatenate([top, bottom[None]]), size)


def _moved(xp: Any, states: Any, period: Any, delta: Any) -> tuple[Any, Any]:
    """Newton's step, which may overshoot the period from a poor guess."""
    shrink = xp.minimum(1.0, 0.2 * period / xp.maximum(xp.abs(delta[-1]), 1e-300))
    return states - shrink * delta[:-1].reshape(states.shape), period - shrink * delta[-1]


def _ended(xp: Any, followed: Propagated, size: Any, before: Any, step: Any, last: Any) -> Any:
    """Whether Newton's iteration is at its end, from its gap and step, and those before."""
    extent = xp.ptp(followed.path, axis=(0, 1)).max()
    closed = (size <= _CLOSED) | ((size < _SMALL) & (size > before / 2))
    return closed & ((step <= _STEP * extent) | ~(step < last / 2))


def _normal(xp: Any, slope: Any) -> Any:
    return slope / xp.abs(slope).max()


def shoot_on_host(system: Any, states: Any, period: Any, steps: int) -> Shot:
    """Newton's iteration on the gaps between segments and a phase condition."""
    x, t = np.asarray(states), np.asarray(period)
    anchor, before, step, far = x[0], np.inf, np.inf, np.asarray(np.inf)
    normal: Any = None
    for _ in range(_NEWTON + 1):
        followed = follow(np, system, x, t, steps)
        normal = _normal(np, followed.slopes[0, 0]) if normal is None else normal
        gaps, matrix, size = _equations(np, x, anchor, normal, followed)
        if not (np.isfinite(matrix).all() and np.isfinite(size)):
            return Shot(x, t, far, far)
        try:
            delta = np.linalg.solve(matrix, gaps)
        except np.linalg.LinAlgError:
            return Shot(x, t, size, far)
        x, t = _moved(np, x, t, delta)
        last, step = step, np.abs(delta[:-1]).max()
        if _ended(np, followed, size, before, step, last):
            break
        before = size
    return Shot(x, t, size, step)


def shoot(system: Any, states: Any, period: Any, steps: int) -> Shot:
    """`shoot_on_host` as part of a program, with the solution's derivatives."""
    cut = constant(system)
    anchor = states[0]
    normal = _normal(jnp, cut.vector_field(anchor))

    def unfinished(now: _Iteration) -> jax.Array:
        return (now.number < _NEWTON) & ~now.ended & jnp.isfinite(now.size)

    def newton(now: _Iteration) -> _Iteration:
        followed = follow(jnp, cut, now.states, now.period, steps)
        gaps, matrix, size = _equations(jnp, now.states, anchor, normal, followed)
        delta = jnp.linalg.solve(matrix, gaps)
        step = jnp.abs(delta[:-1]).max()
        ended = _ended(jnp, followed, size, now.size, step, now.step)
        moved = _moved(jnp, now.states, now.period, delta)
        return _Iteration(now.number + 1, *moved, size, step, ended)

    far, infinite = jnp.asarray(1e300), as_array(jnp.inf)
    begin = _Iteration(jnp.asarray(0), states, period, far, infinite, jnp.array(False))
    end = jax.lax.stop_gradient(jax.lax.while_loop(unfinished, newton, begin))
    followed = follow(jnp, cut, end.states, end.period, steps)
    return attached(system, end.states, end.period, followed)


def attached(system: Any, states: Any, period: Any, followed: Propagated) -> Shot:
    """A solution with its first and second derivatives with respect to a system's parameters.

    By two more of Newton's steps from what is known, whose Jacobian is taken as constant: it was
    `followed` without derivatives. Each step gives one order.
    """
    steps = followed.path.shape[1]
    anchor, normal = states[0], _normal(jnp, followed.slopes[0, 0])

    def step(now: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        x, t = now
        last = ends(system.vector_field, x, t / (SEGMENTS * steps), steps)
        gaps, _, size = _equations(jnp, x, anchor, normal, followed._replace(ends=last))
        delta = jnp.linalg.solve(matrix, gaps)
        moved = jax.lax.stop_gradient((size, jnp.abs(delta[:-1]).max()))
        return (x - delta[:-1].reshape(x.shape), t - delta[-1]), moved

    matrix = _equations(jnp, states, anchor, normal, followed).matrix
    (x, t), moved = jax.lax.scan(step, (states, as_array(period)), None, length=ORDERS)
    return Shot(x, t, moved[0][-1], moved[1][0])
