"""Floquet multipliers of periodic orbits of systems with one delay.

A perturbation of strength f obeys, along an orbit of period T,

    ξ'(t) = A(t) ξ(t) + f B(t) C(t - τ) ξ(t - τ),

A the derivative of the slope by the state, B by what arrives, C that of what is sent. What the
future depends on is ξ(0) and what was sent over the last τ: the monodromy operator takes these
from the beginning of a period to its end, and the multipliers are its eigenvalues. Here both are
polynomials on the orbit's own pieces, continued into the past; the perturbation obeys its equation
at their points. Leading multipliers converge exponentially with the number of points.

Source: Breda, Maset and Vermiglio, SIAM J. Numer. Anal. 50, 1456 (2012), evolution operators of
linear delay equations by collocation.
"""

import contextlib
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact
from scipy.sparse.linalg import ArpackNoConvergence, eigs

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.interpolation import interpolation, interpolation_nodes
from ngnmm_jax._core.lanes import padded
from ngnmm_jax._core.small_linalg import eigenvalues
from ngnmm_jax.dynamics.delayed.pieces import (
    DERIVATIVE,
    POINTS,
    Path,
    halved,
    located,
    merged,
    rows,
    times,
)
from ngnmm_jax.dynamics.delayed.system import linearised

# The error falls as a high power of the pieces' width: it is taken to be this part of how far
# multipliers are from those of pieces twice as wide.
_PART = 0.01
# Multipliers are exact with this error, and lost with that. As part of a program those are lost
# that are below a fraction of the largest entry.
_EXACT, _LOST, _TINY = 1e-8, 1e-5, 1e-10
# How often pieces are halved at most.
_HALVINGS = 2
# Periods of the past, under JAX's transformations.
_PERIODS = 2
# Strengths that are computed together.
_LANES = 16
# Strengths at which matrices are computed, to be interpolated between: twice as many until that is
# so exact, relative to their entries, or as many as there are.
_NODES, _BETWEEN = 12, 1e-11
# Matrices of this size are searched for their leading eigenvalues only, and some more; of that
# size they are not made.
_LARGE, _MORE, _MOST = 150, 6, 3000


class Leading(NamedTuple):
    """The multipliers of largest size, by falling size, as logarithms log|μ| + i arg μ.

    - `logs` (strength, count): NaN where rounding has lost them.
    - `errors` (strength, count): relative, of the multipliers; NaN where they are not known.
    """

    logs: Any
    errors: Any


def leading(system: Any, path: Path, period: Any, strengths: Any, count: int) -> Leading:
    """The leading multipliers for each strength, which takes the place of the system's gain.

    On the host pieces are halved until they are exact, by how far multipliers are from those of
    pieces twice as wide; matrices are interpolated between strengths, of which they are entire
    functions. NaN where the delay is so many periods that they would be too large. As part of a
    program they are the orbit's own pieces, and the error is not known.
    """
    if not _checks.on_host(system, path, period, strengths):
        return _in_a_program(system, path, period, strengths, count)
    strengths = np.atleast_1d(np.asarray(strengths))
    before = _multipliers(system, merged(path), period, strengths, count)
    for _ in range(1 + _HALVINGS):
        mu = _multipliers(system, path, period, strengths, count)
        found = _compared(mu[:, :count], before)
        if not np.nanmax(found.errors[:, 0], initial=0.0) >= _EXACT:
            break
        path, before = halved(path), mu
    return found


def _multipliers(
    system: Any, path: Path, period: Any, strengths: np.ndarray, count: int
) -> np.ndarray:
    """Leading eigenvalues (strength, count or more) of the matrices, by falling size."""
    kept = _pieces_of_past(np.asarray(path.mesh), float(system.delay / period))
    if kept * (POINTS + 1) * system.sent(path.values[0, 0]).size > _MOST:
        return np.full((len(strengths), count), np.nan + 0j)

    def matrices(some: np.ndarray) -> np.ndarray:
        parts = [
            np.asarray(monodromy(system, path, period, as_array(some[index]), kept))[:number]
            for index, number in padded(len(some), min(len(some), _LANES))
        ]
        return np.concatenate(parts)

    nodes, weights = _NODES, None
    while len(strengths) > nodes + 2:
        where = interpolation_nodes(strengths, nodes, np)
        checks = np.stack([(where[0] + where[1]) / 2, (where[0] + 3 * where[nodes // 2]) / 4])
        every = matrices(np.concatenate([where, checks]))
        known, exact = every[:nodes], every[nodes:]
        guess = np.tensordot(interpolation(where, checks, np), known, 1)
        if not np.abs(guess - exact).max() > _BETWEEN * np.abs(exact).max():
            weights = interpolation(where, strengths, np)
            break
        nodes *= 2
    if weights is None:
        known, weights = matrices(strengths), np.eye(len(strengths))
    return np.stack([_largest(np.tensordot(row, known, 1), count + _MORE) for row in weights])


def _largest(matrix: np.ndarray, count: int) -> np.ndarray:
    """The eigenvalues of largest size, by falling size; NaN where the matrix is not finite."""
    if not np.isfinite(matrix).all():
        return np.full(count, np.nan + 0j)
    mu = None
    if len(matrix) >= _LARGE:
        with contextlib.suppress(ArpackNoConvergence):
            start = np.cos(np.arange(len(matrix)))
            mu = eigs(matrix, count, v0=start, return_eigenvectors=False)
    mu = np.linalg.eigvals(matrix).astype(complex) if mu is None else mu
    mu = np.pad(mu, (0, max(0, count - mu.size)))
    return mu[np.argsort(-np.abs(mu), kind="stable")][:count]


def _pieces_of_past(mesh: np.ndarray, delay: float) -> int:
    """How many pieces before its beginning a path must have, to reach back so many periods."""
    if not np.isfinite(delay):
        return 1
    turns = int(np.floor(delay))
    return turns * (mesh.size - 1) + int((mesh[1:] > 1 - (delay - turns)).sum()) or 1


def _compared(mu: np.ndarray, before: np.ndarray) -> Leading:
    """Multipliers (strength, count), their error by the nearest of those of wider pieces."""
    gap = np.abs(mu[:, :, None] - before[:, None]).min(axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = _PART * gap / np.abs(mu)
        logs = np.where(errors < _LOST, np.log(mu), np.nan)
    return Leading(logs, errors)


def _in_a_program(
    system: Any, path: Path, period: Any, strengths: jax.Array, count: int
) -> Leading:
    kept = _PERIODS * path.values.shape[0]
    matrices = monodromy(system, path, period, strengths, kept)
    matrices = jnp.where(system.delay < _PERIODS * period, matrices, jnp.nan)
    mu = eigenvalues(jnp, matrices)
    order = jnp.argsort(-jnp.abs(mu), axis=1)[:, :count]
    mu = jnp.take_along_axis(mu, order, axis=1)
    lost = ~(jnp.abs(mu) > _TINY * jnp.abs(matrices).max(axis=(1, 2))[:, None])
    logs = jnp.where(lost, jnp.nan, jnp.log(jnp.where(lost, 1.0, mu)))
    return Leading(logs, jnp.full(logs.shape, jnp.nan))


@eqx.filter_jit
def monodromy(
    system: Any, path: Path, period: Any, strengths: Inexact[Array, "strength"], kept: int
) -> Inexact[Array, "strength size size"]:
    """The monodromy operator's matrices, on ξ and then what was sent in `kept` pieces of the past.

    Of perturbations of several strengths.
    """
    count, at, ago = path.values.shape[0], times(path.mesh), system.delay / period
    sent = jax.vmap(jax.vmap(system.sent))(path.values)
    periodic = rows(path.mesh, (at.ravel() - ago) % 1.0)
    arriving = system.gain * (periodic @ sent.reshape(-1, sent.shape[-1])).reshape(sent.shape)
    along = jax.vmap(jax.vmap(lambda x, y: linearised(system, x, y)))(path.values, arriving)
    # The pieces of the past are those of the orbit, some periods earlier.
    place = np.arange(-kept, count)
    whole = jnp.append(path.mesh[place % count] + place // count, 1.0)
    piece, weights = located(whole, (at[:, 1:] - ago).ravel())
    back = piece.reshape(count, POINTS), weights.reshape(count, POINTS, POINTS + 1)
    widths = period * jnp.diff(path.mesh)
    return jax.lax.map(lambda f: _marched(widths, f, along, back, kept), strengths)


def _marched(widths: jax.Array, strength: jax.Array, along: Any, back: Any, kept: int) -> jax.Array:
    """The matrix for one strength: all unit perturbations through one piece after another."""
    count, _, channels, n = along[-1].shape
    points = POINTS + 1
    memory = kept * points
    size = n + memory * channels
    every = jnp.eye(size, dtype=jnp.result_type(strength, along[0]))
    sent = jnp.zeros((memory + count * points, channels, size), every.dtype)
    sent = sent.at[:memory].set(every[n:].reshape(memory, channels, size))

    def advance(carry: Any, piece: Any) -> Any:
        xi, sent = carry
        number, width, a, b, c, (place, weights) = piece
        slope, begin = DERIVATIVE[1:] / width, number * points
        sent = jax.lax.dynamic_update_slice_in_dim(sent, (c[0] @ xi)[None], begin, 0)
        # What of the piece itself has arrived before its end, where the delay is shorter.
        own = jnp.where(place[:, None] == number, weights, 0.0)[:, 1:]
        before = sent.reshape(-1, points, channels, size)[place]
        arrived = jnp.einsum("ij,ijcs->ics", weights, before)
        matrix = jnp.einsum("ij,ab->iajb", slope[:, 1:], jnp.eye(n))
        matrix = matrix - jnp.einsum("ij,iab->iajb", jnp.eye(POINTS), a[1:])
        matrix = matrix - strength * jnp.einsum("iac,ij,jcb->iajb", b[1:], own, c[1:])
        right = strength * jnp.einsum("iac,ics->ias", b[1:], arrived)
        right = right - slope[:, 0, None, None] * xi
        solution = jnp.linalg.solve(matrix.reshape(POINTS * n, -1), right.reshape(POINTS * n, size))
        solution = solution.reshape(POINTS, n, size)
        new = jnp.einsum("jcb,jbs->jcs", c[1:], solution)
        return (solution[-1], jax.lax.dynamic_update_slice_in_dim(sent, new, begin + 1, 0)), None

    numbers = kept + jnp.arange(count)
    (xi, sent), _ = jax.lax.scan(advance, (every[:n], sent), (numbers, widths, *along, back))
    return jnp.concatenate([xi, sent[-memory:].reshape(memory * channels, size)])
