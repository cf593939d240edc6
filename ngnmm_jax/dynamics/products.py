"""Eigenvalues of a product of matrices, small ones as accurate as large. Plain NumPy, batched.

Forming the product M_m … M_1 loses every eigenvalue below 1e-16 of its norm. Here its factors
are kept apart: sweeps of orthogonal iteration (M_j Q_j = Q_{j+1} R_j) bring them to triangular
form, in which the product's diagonal blocks are products of the factors' blocks.

Source: Bojanczyk, Golub and Van Dooren, SPIE Proc. 1770, 31 (1992), the periodic Schur form;
Dieci and Van Vleck, Appl. Numer. Math. 17, 275 (1995), the discrete QR method.
"""

from typing import Any

import numpy as np

# Neighbouring factors are multiplied up to this condition number: each so knows its smallest
# singular value to some 1e-10. Of larger matrices than these the condition is not looked at.
_CONDITION, _SMALL = 1e6, 32
# Columns have separated where the last sweep turns them by less than this.
_SEPARATE = 1e-13
# Columns that have not are one block, if its logarithms span no more than this: its eigenvalues
# then keep ten digits. Sweeps go on until that is so, up to this many.
_SPAN, _SWEEPS = 14.0, 60


def product_spectrum(factors: Any) -> tuple[Any, Any]:
    """Logarithms log|μ| + i arg μ (*batch, n) of a product's eigenvalues, by falling size.

    `factors` (factor, *batch, n, n) in the order in which they act. Also returns (*batch,)
    whether every block was narrow enough: else eigenvalues that are within e^14 of each other,
    or the rest of a large cluster, are less accurate. NaN where a factor is not finite.
    """
    factors = np.asarray(factors)
    count, *batch, n, _ = factors.shape
    factors = factors.reshape(count, -1, n, n)
    finite = np.isfinite(factors).all(axis=(0, 2, 3))
    factors = np.where(finite[:, None, None], factors, np.eye(n))
    factors = joined(factors, levels(factors))
    if len(factors) == 1:
        with np.errstate(divide="ignore"):
            logs = np.log(np.linalg.eigvals(factors[0]).astype(complex))
        narrow = finite
    else:
        logs, narrow = _separated(factors)
    order = np.argsort(-logs.real, axis=-1, kind="stable")
    logs = np.where(finite[:, None], np.take_along_axis(logs, order, axis=-1), np.nan)
    return logs.reshape(*batch, n), (narrow & finite).reshape(batch)


def levels(factors: Any) -> int:
    """How often neighbours (factor, batch, n, n) can be multiplied in pairs and keep their digits.

    Looked at for some of a batch.
    """
    if factors.shape[-1] > _SMALL:
        return 0
    some, level = factors[:, :: max(1, factors.shape[1] // 4)], 0
    while len(some) > 1:
        some = joined(some, 1)
        if not np.isfinite(some).all():
            break
        sizes = np.linalg.svd(some, compute_uv=False)
        if (sizes[..., 0] > _CONDITION * sizes[..., -1]).any():
            break
        level += 1
    return level


def joined(factors: Any, times: int) -> Any:
    """Neighbouring factors multiplied, in pairs, so many times."""
    for _ in range(times):
        pairs = factors[1::2] @ factors[: len(factors) - 1 : 2]
        factors = np.concatenate([pairs, factors[len(factors) // 2 * 2 :]])
    return factors


def _separated(factors: Any) -> tuple[Any, Any]:
    """The logarithms (batch, n), unsorted, and whether each batch's blocks are narrow."""
    basis = _start(factors)
    for _ in range(_SWEEPS):
        q, triangles = basis, []
        for matrix in factors:
            q, r = np.linalg.qr(matrix @ q)
            triangles.append(r)
        turn = basis.conj().swapaxes(-1, -2) @ q
        diagonal = np.stack([np.diagonal(r, axis1=-2, axis2=-1) for r in triangles])
        with np.errstate(divide="ignore"):
            sizes = np.log(np.abs(diagonal)).sum(axis=0)
        # The largest entry to the lower left of each place between two columns.
        below = np.abs(np.tril(turn, -1))
        below = np.maximum.accumulate(np.maximum.accumulate(below[..., ::-1, :], -2), -1)
        ties = np.diagonal(below[..., ::-1, :], -1, -2, -1) > _SEPARATE
        narrow = np.array([_narrow(*row) for row in zip(sizes, ties, strict=True)])
        if narrow.all():
            break
        basis = q
    with np.errstate(divide="ignore", invalid="ignore"):
        phases = np.prod(diagonal / np.abs(diagonal), axis=0)
        phases = phases * np.diagonal(turn, axis1=-2, axis2=-1)
        phases = np.where(np.isfinite(sizes), phases, 1.0)
        logs = sizes + np.log(phases.astype(complex))
    for length, (which, first) in _larger(ties).items():
        here = (which[:, None, None], first + np.arange(length)[:, None], first + np.arange(length))
        logs[here[0][..., 0], here[1][..., 0]] = _of_blocks(
            turn[here], [r[here] for r in triangles]
        )
    return logs, narrow


def _start(factors: Any) -> Any:
    """A basis that the product's large eigenvectors already span one after the other."""
    total = factors[0]
    for matrix in factors[1:]:
        total = matrix @ total
        total = total / np.maximum(np.abs(total).max(axis=(-2, -1), keepdims=True), 1e-300)
    values, vectors = np.linalg.eig(total)
    order = np.argsort(-np.abs(values), axis=-1, kind="stable")[:, None]
    vectors = np.take_along_axis(vectors, order, axis=-1)
    if np.iscomplexobj(vectors) and not np.iscomplexobj(factors):
        # Of a complex pair, the real part of one and the imaginary part of the other.
        upper = np.take_along_axis(values.imag[:, None], order, axis=-1) >= 0
        vectors = np.where(upper, vectors.real, vectors.imag)
    return np.linalg.qr(vectors)[0]


def _narrow(sizes: Any, ties: Any) -> bool:
    """Whether no block of tied neighbours spans more than it may."""
    gaps = np.abs(np.diff(sizes))
    if not gaps[ties].sum() > _SPAN:
        return True
    first, length = _blocks(ties)
    with np.errstate(invalid="ignore"):
        spans = [np.ptp(sizes[k : k + n]) for k, n in zip(first, length, strict=True)]
    return bool(max(spans) <= _SPAN)


def _blocks(ties: Any) -> tuple[Any, Any]:
    """Where blocks of tied neighbours begin, and how long they are."""
    first = np.flatnonzero(np.append(True, ~ties))
    return first, np.diff(np.append(first, len(ties) + 1))


def _larger(ties: Any) -> dict[int, tuple[Any, Any]]:
    """Of each length over one: which of the batch (block,) and where (block, 1, 1) blocks begin."""
    found: dict[int, list[tuple[int, int]]] = {}
    for which in np.flatnonzero(ties.any(axis=1)):
        for first, length in zip(*_blocks(ties[which]), strict=True):
            if length > 1:
                found.setdefault(int(length), []).append((int(which), int(first)))
    arrays = {length: np.array(places) for length, places in found.items()}
    return {length: (a[:, 0], a[:, 1][:, None, None]) for length, a in arrays.items()}


def _of_blocks(turn: Any, triangles: list[Any]) -> Any:
    """Logarithms (block, n) of the eigenvalues of `turn` times products of triangular blocks."""
    total, size = np.eye(turn.shape[-1]), 0.0
    for r in triangles:
        total = r @ total
        scale = np.maximum(np.abs(total).max(axis=(-2, -1)), 1e-300)
        size, total = size + np.log(scale), total / scale[:, None, None]
    with np.errstate(divide="ignore"):
        return size[:, None] + np.log(np.linalg.eigvals(turn @ total).astype(complex))
