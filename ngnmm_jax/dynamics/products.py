"""Eigenvalues of a product of matrices, small ones as accurate as large. Plain NumPy, batched.

Forming the product M_m … M_1 loses every eigenvalue below 1e-16 of its norm. Here its factors
are kept apart: sweeps of orthogonal iteration (M_j Q_j = Q_{j+1} R_j) bring them to triangular
form, in which the product's diagonal blocks are products of the factors' blocks.

Source: Bojanczyk, Golub and Van Dooren, SPIE Proc. 1770, 31 (1992), the periodic Schur form;
Dieci and Van Vleck, Appl. Numer. Math. 17, 275 (1995), the discrete QR method.
"""

from typing import Any, NamedTuple

import numpy as np

# Neighbouring factors are multiplied up to this condition number: each so knows its smallest
# singular value to some 1e-10. Of larger matrices than these the condition is not looked at.
_CONDITION, _SMALL = 1e6, 32
# Columns have separated where the last sweep turns them by less than this, ten times as much after
# every ten sweeps: rounding may keep them from less.
_SEPARATE, _LENIENT = 1e-13, 10
# Columns that have not are one block, if its logarithms span no more than this: its eigenvalues
# then keep ten digits. Sweeps go on until that is so, up to this many.
_SPAN, _SWEEPS = 14.0, 60


class ProductSpectrum(NamedTuple):
    """Logarithms log|μ| + i arg μ (*batch, n) of a product's eigenvalues, by falling size.

    `told` (*batch,): whether every block was narrow enough: else eigenvalues that are within e^14
    of each other, or the rest of a large cluster, are less accurate.
    """

    logs: Any
    told: Any


def product_spectrum(factors: Any) -> ProductSpectrum:
    """The spectrum of a product of `factors` (factor, *batch, n, n), in the order they act in.

    NaN where a factor is not finite.
    """
    factors = np.asarray(factors)
    count, *batch, n, _ = factors.shape
    factors = factors.reshape(count, -1, n, n)
    finite = np.isfinite(factors).all(axis=(0, 2, 3))
    factors = np.where(finite[:, None, None], factors, np.eye(n))
    factors = grouped(factors)
    if len(factors) == 1:
        with np.errstate(divide="ignore"):
            logs = np.log(np.linalg.eigvals(factors[0]).astype(complex))
        narrow = finite
    else:
        logs, narrow = _separated(factors)
    order = np.argsort(-logs.real, axis=-1, kind="stable")
    logs = np.where(finite[:, None], np.take_along_axis(logs, order, axis=-1), np.nan)
    return ProductSpectrum(logs.reshape(*batch, n), (narrow & finite).reshape(batch))


def grouped(factors: Any) -> Any:
    """Neighbouring factors (factor, batch, n, n) multiplied while they keep their digits.

    Which are is the same for all of a batch, and looked at for some of it.
    """
    some = slice(None, None, max(1, factors.shape[1] // 4))
    while len(factors) > 1 and factors.shape[-1] <= _SMALL:
        pairs = factors[1::2] @ factors[: len(factors) - 1 : 2]
        looked_at = pairs[:, some]
        finite = np.isfinite(looked_at).all()
        sizes = np.linalg.svd(np.where(finite, looked_at, 0.0), compute_uv=False)
        kept = (sizes[..., 0] <= _CONDITION * sizes[..., -1]).all(axis=1) & finite
        if not kept.any():
            break
        # In place of each pair its product, or both.
        count = np.where(kept, 1, 2)
        first = np.cumsum(count) - count
        joined = np.empty((count.sum() + len(factors) % 2, *factors.shape[1:]), factors.dtype)
        joined[first[~kept]] = factors[: len(factors) - 1 : 2][~kept]
        joined[first[~kept] + 1] = factors[1::2][~kept]
        joined[first[kept]] = pairs[kept]
        joined[count.sum() :] = factors[2 * len(pairs) :]
        factors = joined
    return factors


def _separated(factors: Any) -> tuple[Any, Any]:
    """The logarithms (batch, n), unsorted, and whether each batch's blocks are narrow."""
    basis = _start(factors)
    for sweep in range(_SWEEPS):
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
        ties = np.diagonal(below[..., ::-1, :], -1, -2, -1) > _SEPARATE * 10.0 ** (
            sweep // _LENIENT
        )
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
    total, size = np.eye(turn.shape[-1]), np.zeros(len(turn))
    for r in triangles:
        total = r @ total
        scale = np.maximum(np.abs(total).max(axis=(-2, -1)), 1e-300)
        size, total = size + np.log(scale), total / scale[:, None, None]
    with np.errstate(divide="ignore"):
        return size[:, None] + np.log(np.linalg.eigvals(turn @ total).astype(complex))
