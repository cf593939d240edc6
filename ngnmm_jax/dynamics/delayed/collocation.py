"""Periodic orbits of systems with one delay: Newton's iteration on collocation.

The orbit is a polynomial on each of several pieces of its period, which obeys the equation at
Chebyshev's points; what arrives from the past is interpolated by the same polynomials, however long
the delay. In each step of Newton's iteration the pieces are eliminated one after another, for every
change of what arrives: what is left to be solved are as many equations as there are points, times
the channels by which the past acts, whatever the number of variables.

Source: Engelborghs, Luzyanina, in 't Hout and Roose, SIAM J. Sci. Comput. 22, 1593 (2001).
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import constant
from ngnmm_jax.dynamics.delayed.pieces import DERIVATIVE, POINTS, Path, rows, slopes, times
from ngnmm_jax.dynamics.delayed.system import linearised

_NEWTON = 25
# Newton's iteration ends at a step that is this small, relative to the extent, or no longer falls
# when it was small.
_DONE, _SMALL = 1e-12, 1e-7


class Collocated(NamedTuple):
    """What Newton's iteration has come to.

    - `residual`: of the equations, relative to the largest slope of each variable.
    - `moved`: Newton's last step relative to the orbit's extent.
    """

    path: Path
    period: Any
    residual: Any
    moved: Any


class _Iteration(NamedTuple):
    number: Any
    values: Any
    period: Any
    step: Any
    ended: Any


@eqx.filter_jit
def collocate(system: Any, path: Path, period: Float[Array, ""]) -> Collocated:
    """The periodic orbit near a path, on its pieces.

    The last two steps carry derivatives by the system's parameters: those of first and second
    order are exact, by the implicit function theorem.
    """
    path, period = jax.lax.stop_gradient((path, period))
    fixed, mesh = constant(system), path.mesh
    extent = jnp.maximum(jnp.ptp(path.values.reshape(-1, path.values.shape[-1]), axis=0), 1e-300)
    towards = slopes(path) * jnp.diff(mesh)[:, None, None] / extent**2

    def correction(system: Any, values: jax.Array, period: jax.Array) -> Any:
        change, longer = _correction(system, Path(mesh, values), period, towards)
        return change, longer, jnp.abs(change / extent).max() + jnp.abs(longer) / period

    def going(now: _Iteration) -> jax.Array:
        return ~now.ended & (now.number < _NEWTON)

    def again(now: _Iteration) -> _Iteration:
        change, longer, step = correction(fixed, now.values, now.period)
        stalls = (now.step < _SMALL) & (step > now.step / 2)
        ended = (step < _DONE) | stalls | ~jnp.isfinite(step)
        # No step halves the period.
        part = jnp.minimum(1.0, 0.5 * now.period / jnp.maximum(jnp.abs(longer), 1e-300))
        return _Iteration(
            now.number + 1, now.values + part * change, now.period + part * longer, step, ended
        )

    start = _Iteration(jnp.asarray(0), path.values, period, as_array(jnp.inf), jnp.asarray(False))
    end = jax.lax.stop_gradient(jax.lax.while_loop(going, again, start))

    def kept(now: Any, _: None) -> tuple[Any, jax.Array]:
        change, longer, moved = correction(system, *now)
        return (now[0] + change, now[1] + longer), moved

    (values, period), moved = jax.lax.scan(kept, (end.values, end.period), None, length=2)
    found, moved = Path(mesh, values), moved[-1]
    misses, size = _misses(system, found, period)
    return Collocated(found, period, (misses / size).max(), moved)


def _misses(system: Any, path: Path, period: jax.Array) -> tuple[jax.Array, jax.Array]:
    """By how much slopes miss the equation, and the largest slope, (variable,)."""
    sent, back, _ = past_of_path(system, path, period)
    arriving = system.gain * jnp.einsum("kil,lc->kic", back, sent.reshape(-1, sent.shape[-1]))
    wanted = period * each_point(system.slope)(path.values[:, 1:], arriving)
    gap = jnp.abs(slopes(path)[:, 1:] - wanted).max(axis=(0, 1))
    return gap, jnp.maximum(jnp.abs(wanted).max(axis=(0, 1)), 1e-300)


def past_of_path(
    system: Any, path: Path, period: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What is sent at all points; how what arrives at them follows from that, but for the gain, at
    all points of pieces but the first; and the derivative of that by the delay in periods.
    """
    at = times(path.mesh)[:, 1:].ravel()

    def back(delay: jax.Array) -> jax.Array:
        where = at - delay
        where = where - jnp.floor(jax.lax.stop_gradient(where))
        return rows(path.mesh, where).reshape(-1, POINTS, path.values[..., 0].size)

    ago = system.delay / period
    here, turning = jax.jvp(back, (ago,), (jnp.ones_like(ago),))
    return each_point(system.sent)(path.values), here, turning


def each_point(function: Any) -> Any:
    """A function of all points of all pieces."""
    return jax.vmap(jax.vmap(function))


def _correction(
    system: Any, path: Path, period: jax.Array, towards: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Newton's step, which does not shift the orbit along itself."""
    values, widths = path.values, jnp.diff(path.mesh)
    pieces, _, n = values.shape
    sent, back, turning = past_of_path(system, path, period)
    channels = sent.shape[-1]
    flat = sent.reshape(-1, channels)
    arriving = system.gain * jnp.einsum("kil,lc->kic", back, flat)
    field = each_point(system.slope)(values[:, 1:], arriving)
    here, through, _ = each_point(lambda x, y: linearised(system, x, y))(values[:, 1:], arriving)
    out = each_point(jax.jacfwd(system.sent))(values)
    misses = slopes(path)[:, 1:] - period * field
    # Columns: changes of the first state, of what arrives at each point, of the period; and what
    # is there without any.
    arrives = n + jnp.arange(pieces * POINTS * channels).reshape(pieces, POINTS, channels)
    size = n + pieces * POINTS * channels + 2
    rest = jnp.stack([field, -misses], axis=-1)
    solved = eliminated(period, widths, (here, through, rest), arrives, size)
    after = jnp.concatenate([jnp.eye(n, size)[None], solved[:, -1]])
    changes = jnp.concatenate([after[:-1, None], solved], axis=1)  # (piece, point, variable, …)
    sends = jnp.einsum("kica,kias->kics", out, changes).reshape(-1, channels, size)
    gets = system.gain * jnp.einsum("kil,lcs->kics", back, sends)
    later = -system.delay / period**2 * system.gain * jnp.einsum("kil,lc->kic", turning, flat)
    gets = gets.at[..., -2].add(later).reshape(-1, size)
    equations = [
        jnp.eye(size - n - 2, size, n) - gets,
        after[-1] - jnp.eye(n, size),
        jnp.einsum("kia,kias->s", towards, changes)[None],
    ]
    gap = values[-1, -1] - values[0, 0]
    equations[1] = equations[1].at[:, -1].add(gap)
    whole = jnp.concatenate(equations)
    found = jnp.append(jnp.linalg.solve(whole[:, :-1], -whole[:, -1]), 1.0)
    return changes @ found, found[-2]


def eliminated(
    period: jax.Array, widths: jax.Array, along: Any, arrives: jax.Array, size: int
) -> jax.Array:
    """Changes at all points but the first of each piece, (piece, point, variable, column).

    `along`: derivatives by the state and by what arrives, and what stands in the last columns.
    """
    n, others = along[0].shape[-1], along[2].shape[-1]
    unit = jnp.eye(POINTS)

    def advance(xi: jax.Array, piece: Any) -> tuple[jax.Array, jax.Array]:
        width, (a, b, rest), columns = piece
        slope = DERIVATIVE[1:] / width
        matrix = jnp.einsum("ij,ab->iajb", slope[:, 1:], jnp.eye(n))
        matrix = matrix - period * jnp.einsum("ij,iab->iajb", unit, a)
        right = -slope[:, 0, None, None] * xi
        points = jnp.arange(POINTS)[:, None, None]
        right = right.at[points, jnp.arange(n)[:, None], columns[:, None, :]].add(period * b)
        right = right.at[..., size - others :].add(rest)
        solution = jnp.linalg.solve(matrix.reshape(POINTS * n, -1), right.reshape(POINTS * n, size))
        solution = solution.reshape(POINTS, n, size)
        return solution[-1], solution

    return jax.lax.scan(advance, jnp.eye(n, size), (widths, along, arrives))[1]
