"""Multiple shooting over whole periods of a drive: time is known, so that nothing fixes a phase."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import constant
from ngnmm_jax.dynamics.floquet import Propagated, ends, propagators, swept
from ngnmm_jax.dynamics.forced.system import Clocked, Pieces, packed
from ngnmm_jax.dynamics.shooting import BLOCK, ORDERS

_NEWTON = 25
# Newton's iteration ends at this gap between segments, or where a small one no longer falls; and
# where its step is less than this part of 1 + |x|, or no longer falls.
_CLOSED, _SMALL, _STEP = 1e-14, 1e-10, 1e-11
# Newton's matrix is singular where its step is so many times the gaps.
_STEEP = 1e9
# Newton's step is at most this, in the same measure.
_LEAP = 0.5


class Shot(NamedTuple):
    """What Newton's iteration has come to.

    - `states` (segment, size): flat, at the segments' beginnings.
    - `residual`: the largest gap between segments; `moved`: Newton's last step; both relative to
      1 + |x|.
    """

    states: Any
    residual: Any
    moved: Any


class _Iteration(NamedTuple):
    """Iterations so far, where they are, the last ones' gap and step, and whether they ended."""

    number: Any
    states: Any
    size: Any
    step: Any
    ended: Any


@eqx.filter_jit
def _sweep(system: Any, states: jax.Array, dt: jax.Array, steps: int) -> Propagated:
    """Steps over all segments at once, tangents included."""
    clocked = Clocked(system)
    return propagators(clocked.field, clocked.linear, states, dt, steps)


def follow(xp: Any, system: Any, states: Any, pieces: Pieces, steps: int) -> Propagated:
    """Ends, propagators, and states and slopes at all steps, from flat states at all pieces."""
    begins, dt = packed(xp, states, pieces), xp.asarray(pieces.lengths) / steps
    found = swept(xp, lambda x, dt, n: _sweep(system, x, dt, n), begins, dt, steps, BLOCK)
    n = states.shape[1]
    parts = {name: getattr(found, name)[..., :n] for name in ("ends", "path", "slopes")}
    return found._replace(**parts)


def walk(system: Any, start: Any, pieces: Pieces, steps: int) -> Any:
    """Flat states at the beginnings of all pieces along a trajectory, on the host."""
    states = [np.asarray(start)]
    begins, lengths = map(np.asarray, pieces)
    for k in range(len(begins) - 1):
        # By the sweep that all pieces take together, each from this one's beginning.
        alone = Pieces(np.full_like(begins, begins[k]), np.full_like(lengths, lengths[k]))
        everywhere = np.broadcast_to(states[-1], (len(begins), states[-1].size))
        states.append(follow(np, system, everywhere, alone, steps).ends[0])
    return np.stack(states)


def _newton(xp: Any, states: Any, followed: Propagated) -> tuple[Any, Any, Any]:
    """The gaps between segments, the cyclic matrix of their derivatives, and the largest gap."""
    segments, n = states.shape
    gaps = (followed.ends - xp.roll(states, -1, axis=0)).ravel()
    eye = xp.eye(segments)
    blocks = eye[:, None, :, None] * followed.matrices[:, :, None, :]
    blocks = blocks - xp.roll(eye, 1, axis=1)[:, None, :, None] * xp.eye(n)[:, None, :]
    size = xp.abs(gaps).max() / (1 + xp.abs(states).max())
    return gaps, blocks.reshape(gaps.size, -1), size


def _ended(size: Any, before: Any, step: Any, last: Any) -> Any:
    """Whether Newton's iteration is at its end, from its gap and step, and those before."""
    closed = (size <= _CLOSED) | ((size < _SMALL) & (size > before / 2))
    return closed & ((step <= _STEP) | ~(step < last / 2))


def _solved(matrix: Any, gaps: Any) -> Any:
    """Newton's step; the least one where the matrix is singular: without strength of the drive, an
    orbit's phase is anything.
    """
    try:
        delta = np.linalg.solve(matrix, gaps)
    except np.linalg.LinAlgError:
        delta = np.full_like(gaps, np.inf)
    if np.abs(delta).max() < _STEEP * np.abs(gaps).max():
        return delta
    return np.linalg.lstsq(matrix, gaps, rcond=1 / _STEEP)[0]


def shoot_on_host(system: Any, states: Any, pieces: Pieces, steps: int) -> Shot:
    """Newton's iteration on the gaps between segments."""
    x = np.asarray(states)
    before = step = np.inf
    far = np.asarray(np.inf)
    for _ in range(_NEWTON):
        followed = follow(np, system, x, pieces, steps)
        gaps, matrix, size = _newton(np, x, followed)
        if not (np.isfinite(matrix).all() and np.isfinite(size)):
            return Shot(x, far, far)
        delta = _solved(matrix, gaps).reshape(x.shape)
        last, step = step, np.abs(delta).max() / (1 + np.abs(x).max())
        x = x - delta / max(1.0, step / _LEAP)
        if _ended(size, before, step, last):
            break
        before = size
    return Shot(x, size, np.asarray(step))


def shoot(system: Any, states: Any, pieces: Pieces, steps: int) -> Shot:
    """`shoot_on_host` as part of a program.

    The iteration's derivative is cut; two more steps, whose matrix is taken as constant, give the
    solution its first and second derivatives with respect to parameters.
    """
    cut = constant(system)
    still = jax.lax.stop_gradient(pieces)

    def unfinished(now: _Iteration) -> jax.Array:
        return (now.number < _NEWTON) & ~now.ended & jnp.isfinite(now.size)

    def newton(now: _Iteration) -> _Iteration:
        followed = follow(jnp, cut, now.states, still, steps)
        gaps, matrix, size = _newton(jnp, now.states, followed)
        delta = jnp.linalg.solve(matrix, gaps).reshape(now.states.shape)
        step = jnp.abs(delta).max() / (1 + jnp.abs(now.states).max())
        moved = now.states - delta / jnp.maximum(1.0, step / _LEAP)
        return _Iteration(now.number + 1, moved, size, step, _ended(size, now.size, step, now.step))

    far, infinite = jnp.asarray(1e300), as_array(jnp.inf)
    begin = _Iteration(jnp.asarray(0), states, far, infinite, jnp.array(False))
    x = jax.lax.stop_gradient(jax.lax.while_loop(unfinished, newton, begin)).states
    followed = follow(jnp, cut, x, still, steps)
    matrix = _newton(jnp, x, followed)[1]

    def attached(x: jax.Array, _: None) -> tuple[jax.Array, tuple[Any, Any]]:
        begins, dt = packed(jnp, x, pieces), pieces.lengths / steps
        last = ends(Clocked(system).field, begins, dt, steps)[:, : x.shape[1]]
        gaps, _, size = _newton(jnp, x, followed._replace(ends=last))
        delta = jnp.linalg.solve(matrix, gaps).reshape(x.shape)
        moved = jnp.abs(delta).max() / (1 + jnp.abs(x).max())
        return x - delta, jax.lax.stop_gradient((size, moved))

    x, moved = jax.lax.scan(attached, x, None, length=ORDERS)
    return Shot(x, moved[0][-1], moved[1][0])
