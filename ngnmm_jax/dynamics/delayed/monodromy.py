"""Floquet multipliers of periodic orbits of systems with one delay.

A perturbation of strength f obeys, along an orbit of period T,

    ξ'(t) = A(t) ξ(t) + f B(t) C(t - τ) ξ(t - τ),

A the derivative of the slope by the state, B by what arrives, C that of what is sent. What the
future depends on is ξ(0) and what was sent over the last τ: the monodromy operator takes these
from the beginning of a period to its end, and the multipliers are its eigenvalues. Here what was
sent is a polynomial on each of several pieces of the delay, and the perturbation another on each
piece of the period, where it obeys its equation at Chebyshev's points; pieces need not fit each
other. Leading multipliers converge exponentially with the number of points.

Source: Breda, Maset and Vermiglio, SIAM J. Numer. Anal. 50, 1456 (2012), evolution operators of
linear delay equations by piecewise collocation.
"""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.lanes import padded
from ngnmm_jax._core.small_linalg import eigenvalues
from ngnmm_jax.dynamics.delayed.fourier import coefficients, evaluate
from ngnmm_jax.dynamics.delayed.system import linearised

# A piece of the period for so many steps of the orbit; how often pieces are doubled at most; and
# pieces under JAX's transformations.
_NODES_A_PIECE, _DOUBLINGS = 16, 4
# Multipliers are exact with this error, and lost with that. As part of a program those are lost
# that are below a fraction of the largest entry.
_EXACT, _LOST, _TINY = 1e-9, 1e-5, 1e-10
# Strengths that are compiled together.
_LANES = 16
# Points in a piece at which its equation holds, and points in a piece of the past.
_POINTS, _PAST = 12, 12


def _chebyshev() -> tuple[np.ndarray, np.ndarray]:
    """The extrema of a Chebyshev polynomial on [0, 1], rising, and the matrix of derivatives."""
    n = _POINTS
    x = -np.cos(np.pi * np.arange(n + 1) / n)
    c = np.r_[2.0, np.ones(n - 1), 2.0] * (-1.0) ** np.arange(n + 1)
    gap = x[:, None] - x + np.eye(n + 1)
    matrix = np.outer(c, 1 / c) / gap
    matrix -= np.diag(matrix.sum(axis=1))
    return (x + 1) / 2, 2 * matrix


_EXTREMA, _DERIVATIVE = _chebyshev()
_ROOTS = (1 - np.cos(np.pi * (np.arange(_PAST) + 0.5) / _PAST)) / 2


class Pieces(NamedTuple):
    """In how many pieces the period is cut, and the delay."""

    period: int
    delay: int


_TRACED = Pieces(16, 16)


@eqx.filter_jit
def monodromy(
    system: Any,
    values: Float[Array, "node variable"],
    period: Float[Array, ""],
    strengths: Inexact[Array, "strength"],
    pieces: Pieces,
) -> Inexact[Array, "strength size size"]:
    """The monodromy operator's matrices, on ξ and then what was sent in the pieces of the past.

    `values` at equal steps of the orbit; each strength takes the place of the system's gain.
    """
    at = ((jnp.arange(pieces.period)[:, None] + _EXTREMA) / pieces.period).ravel()
    back = system.delay / period
    series = coefficients(values)
    path = evaluate(series, at)[0]
    before = jax.vmap(system.sent)(evaluate(series, at - back)[0])
    along = jax.vmap(lambda x, y: linearised(system, x, y))(path, system.gain * before)
    along = tuple(m.reshape(pieces.period, _POINTS + 1, *m.shape[1:]) for m in along)
    rows = _rows(at - back, back, pieces).reshape(pieces.period, _POINTS + 1, -1)
    last = 1 - back + back * ((jnp.arange(pieces.delay)[:, None] + _ROOTS) / pieces.delay).ravel()
    final = _rows(last, back, pieces)
    step = period / pieces.period

    def one(strength: jax.Array) -> jax.Array:
        return _marched(step, strength, along, (rows, final), pieces)

    return jax.lax.map(one, strengths)


def _marched(
    step: jax.Array, strength: jax.Array, along: Any, known: Any, pieces: Pieces
) -> jax.Array:
    """The matrix for one strength: all unit perturbations through one piece after another."""
    here, past, out = along
    rows, final = known
    _, _, channels, n = out.shape
    memory, m = pieces.delay * _PAST, _POINTS
    size = n + memory * channels
    dtype = jnp.result_type(strength, here)
    every = jnp.eye(size, dtype=dtype)
    room = pieces.period * (m + 1)
    sent = jnp.concatenate(
        [every[n:].reshape(memory, channels, size), jnp.zeros((room, channels, size), dtype)]
    )
    slopes = jnp.asarray(_DERIVATIVE) / step

    def advance(carry: Any, piece: Any) -> Any:
        xi, sent = carry
        k, a, b, c, row = piece
        begin = memory + k * (m + 1)
        sent = jax.lax.dynamic_update_slice_in_dim(sent, (c[0] @ xi)[None], begin, 0)
        # What of the piece itself has arrived before its end, where the delay is shorter.
        own = jax.lax.dynamic_slice_in_dim(row, begin, m + 1, 1)[1:, 1:]
        arrived = jnp.einsum("ij,jcs->ics", row[1:], sent)
        matrix = jnp.einsum("ij,ab->iajb", slopes[1:, 1:], jnp.eye(n))
        matrix = matrix - jnp.einsum("ij,iab->iajb", jnp.eye(m), a[1:])
        matrix = matrix - strength * jnp.einsum("iac,ij,jcb->iajb", b[1:], own, c[1:])
        right = strength * jnp.einsum("iac,ics->ias", b[1:], arrived)
        right = right - slopes[1:, 0, None, None] * xi
        solution = jnp.linalg.solve(matrix.reshape(m * n, m * n), right.reshape(m * n, size))
        solution = solution.reshape(m, n, size)
        new = jnp.einsum("jcb,jbs->jcs", c[1:], solution)
        return (solution[-1], jax.lax.dynamic_update_slice_in_dim(sent, new, begin + 1, 0)), None

    pieces_of = jnp.arange(pieces.period), here, past, out, rows
    (xi, sent), _ = jax.lax.scan(advance, (every[:n], sent), pieces_of)
    kept = jnp.einsum("ij,jcs->ics", final, sent)
    return jnp.concatenate([xi, kept.reshape(memory * channels, size)])


def _rows(where: jax.Array, back: jax.Array, pieces: Pieces) -> jax.Array:
    """How what was sent at times (place,), in periods from now on, follows from what is kept.

    That is the past, and then the pieces of the period.
    """
    ago = (where + back) / back * pieces.delay
    old = jnp.clip(jnp.floor(ago).astype(int), 0, pieces.delay - 1)
    new = jnp.clip(jnp.floor(where * pieces.period).astype(int), 0, pieces.period - 1)
    of_old = _lagrange(_ROOTS, ago - old)[:, None, :] * jax.nn.one_hot(old, pieces.delay)[..., None]
    of_new = _lagrange(_EXTREMA, where * pieces.period - new)
    of_new = of_new[:, None, :] * jax.nn.one_hot(new, pieces.period)[..., None]
    is_old = (where < 0)[:, None]
    count = where.shape[0]
    return jnp.concatenate(
        [
            jnp.where(is_old, of_old.reshape(count, -1), 0.0),
            jnp.where(is_old, 0.0, of_new.reshape(count, -1)),
        ],
        axis=1,
    )


def _lagrange(nodes: np.ndarray, where: jax.Array) -> jax.Array:
    """Values (place, node) of Lagrange's polynomials, as products: differentiable at the nodes."""
    n = nodes.size
    gaps = nodes[:, None] - nodes + np.eye(n)
    apart = where[:, None, None] - nodes  # (place, 1, node)
    factors = jnp.where(np.eye(n, dtype=bool), 1.0, apart / gaps)
    return factors.prod(axis=2)


class Leading(NamedTuple):
    """The multipliers of largest size, by falling size, as logarithms log|μ| + i arg μ.

    - `logs` (strength, count): NaN where rounding has lost them.
    - `errors` (strength, count): relative, of the multipliers; NaN where they are not known.
    """

    logs: Any
    errors: Any


def leading(system: Any, values: Any, period: Any, strengths: Any, count: int) -> Leading:
    """The leading multipliers for each strength, of an orbit's values at equal steps.

    On the host pieces are doubled until they are exact: the error is how far they are from those
    of half as many. As part of a program their number is fixed, and the error not known.
    """
    if not _checks.on_host(system, values, period, strengths):
        return _in_a_program(system, values, period, strengths, count)
    strengths = np.atleast_1d(np.asarray(strengths))
    part = float(system.delay / period)
    number = 1 << math.ceil(math.log2(max(len(values) / _NODES_A_PIECE, 2)))
    before = None
    for _ in range(_DOUBLINGS):
        wanted = max(number * part, 1.0)
        pieces = Pieces(number, 1 << math.ceil(math.log2(wanted)))
        mu = _multipliers(system, values, period, strengths, pieces)
        if before is not None:
            found = _compared(mu[:, :count], before)
            if not np.nanmax(found.errors[:, 0], initial=0.0) >= _EXACT:
                break
        number, before = 2 * number, mu
    return found


def _multipliers(
    system: Any, values: Any, period: Any, strengths: np.ndarray, pieces: Pieces
) -> np.ndarray:
    """All eigenvalues (strength, size) of the matrices, by falling size; NaN where these are."""
    found = []
    for index, number in padded(len(strengths), min(len(strengths), _LANES)):
        some = monodromy(system, values, period, jnp.asarray(strengths[index]), pieces)
        matrices = np.asarray(some)[:number]
        mu = eigenvalues(np, matrices).astype(complex)
        found.append(np.take_along_axis(mu, np.argsort(-np.abs(mu), axis=1), axis=1))
    return np.concatenate(found)


def _compared(mu: np.ndarray, before: np.ndarray) -> Leading:
    """Multipliers (strength, count) and their distance from the nearest of other ones."""
    gap = np.abs(mu[:, :, None] - before[:, None]).min(axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = gap / np.abs(mu)
        logs = np.where(errors < _LOST, np.log(mu), np.nan)
    return Leading(logs, errors)


def _in_a_program(
    system: Any, values: Any, period: Any, strengths: jax.Array, count: int
) -> Leading:
    matrices = monodromy(system, values, period, strengths, _TRACED)
    mu = eigenvalues(jnp, matrices)
    order = jnp.argsort(-jnp.abs(mu), axis=1)[:, :count]
    mu = jnp.take_along_axis(mu, order, axis=1)
    lost = ~(jnp.abs(mu) > _TINY * jnp.abs(matrices).max(axis=(1, 2))[:, None])
    logs = jnp.where(lost, jnp.nan, jnp.log(jnp.where(lost, 1.0, mu)))
    return Leading(logs, jnp.full(logs.shape, jnp.nan))
