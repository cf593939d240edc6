"""Eigenvalues and eigenvectors of weights, and how well they are known. Plain NumPy."""

import dataclasses
import graphlib
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from ngnmm_jax._core.cards import Shown

# A spectrum counts as real when its imaginary parts are below this fraction of its radius:
# LAPACK's eigenvalues of a non-symmetric matrix carry rounding of some 1e-15 times the
# condition number of the eigenvalue.
_REAL_SPECTRUM = 1e-9
# Rows have the same sum where they agree to this fraction of the radius.
_SAME_ROW_SUM = 1e-9
_EPS = float(np.finfo(float).eps)
# A column of eigenvectors is scaled down where it has grown beyond this.
_LARGE = 1e100


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Eigenmodes(Shown):
    """Eigenvalues and right eigenvectors of a connectome's weights, W v = Λ v.

    Directed weights are split into strongly connected components first, whose eigenvalues
    together are those of the whole: weights between components do not blur them. Regions that
    receive the same, row by row, are one receiver first: what they differ by has the eigenvalue
    zero, exactly. Where an eigenvalue has fewer eigenvectors than its multiplicity, several
    columns are (nearly) the same.

    - `values` (mode,): sorted by falling real part, then by falling imaginary part; real
      where the spectrum is real, complex otherwise.
    - `vectors` (region, mode): columns of unit norm, their largest entry real and positive.
    - `residual`: largest ‖W v - Λ v‖ over the modes, relative to the spectral radius.
    - `uniform`: index of the mode that all regions share (Λ = the common sum of the rows);
      None where the rows do not sum to the same.
    - `conditions` (mode,): condition numbers of the eigenvalues within their components: how far
      one moves, at most, for a small change of the component's weights, relative to its norm.
    - `errors` (mode,): what rounding does by that to the eigenvalues, an estimate; as large as
      the radius where nothing is known of one.
    """

    values: NDArray[Any]
    vectors: NDArray[Any]
    residual: float
    uniform: int | None
    conditions: NDArray[np.float64]
    errors: NDArray[np.float64]

    def __repr__(self) -> str:
        real, kind = self.values.real, "real" if self.is_real else "complex"
        shared = "no uniform mode" if self.uniform is None else f"mode {self.uniform} uniform"
        span = f"Re Λ {real.min():.4g} … {real.max():.4g}"
        return (
            f"Eigenmodes({real.size} {kind}, {span}, {shared}, errors to {self.errors.max():.1e})"
        )

    @property
    def is_real(self) -> bool:
        """Whether the spectrum is real."""
        return not np.iscomplexobj(self.values)

    @property
    def certain(self) -> bool:
        """Whether every eigenvalue is known to 1e-6 of the spectral radius."""
        return bool(self.errors.max() <= 1e-6 * np.abs(self.values).max())


def eigenmodes_of(weights: NDArray[np.float64], symmetric: bool) -> Eigenmodes:
    """Of weights (region, region), row by row what a region receives."""
    values: NDArray[Any]
    vectors: NDArray[Any]
    if symmetric:
        values, vectors = np.linalg.eigh((weights + weights.T) / 2)
        conditions = np.ones(len(values))
        errors = np.full(len(values), _EPS * np.linalg.norm(weights))
    else:
        values, vectors, conditions, errors = _of_receivers(weights)
    radius = max(float(np.abs(values).max()), np.finfo(float).tiny)
    if np.abs(values.imag).max() <= _REAL_SPECTRUM * radius:
        values, vectors = values.real, vectors.real
    order = np.lexsort((-values.imag, -values.real))
    values, vectors = values[order], vectors[:, order]
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
    vectors = vectors * (np.abs(largest) / largest) / np.linalg.norm(vectors, axis=0)
    residual = np.linalg.norm(weights @ vectors - vectors * values, axis=0).max()
    sums = weights.sum(axis=1)
    uniform = None
    if np.ptp(sums) <= _SAME_ROW_SUM * radius:
        uniform = int(np.abs(values - sums.mean()).argmin())
    errors = np.minimum(errors, radius)
    return Eigenmodes(
        values, vectors, float(residual / radius), uniform, conditions[order], errors[order]
    )


def _of_receivers(weights: NDArray[np.float64]) -> tuple[Any, Any, Any, Any]:
    """The same of regions among which several may receive the same.

    W = S R, with a row of R for each of fewer receivers and S from these to regions: R S has the
    eigenvalues of W that are not zero, and the others are zero, each with its eigenvector, unless
    one of R S is zero too.
    """
    rows, receiver, count = np.unique(weights, axis=0, return_inverse=True, return_counts=True)
    receiver = receiver.reshape(-1)
    n, m = len(weights), len(rows)
    if m == n:
        return _of_components(weights)
    together = np.stack([rows[:, receiver == k].sum(axis=1) for k in range(m)], axis=1)
    values, vectors, conditions, errors = _of_components(together)
    apart = np.abs(values).min() > np.sqrt(_EPS) * np.abs(values).max() and errors.max() < np.inf
    if not apart or np.linalg.cond(vectors) > 1 / np.sqrt(_EPS):
        return _of_components(weights)
    # Left eigenvectors of R S, one with the right ones: those of W are theirs times R.
    left = np.linalg.inv(vectors)
    spread = np.sqrt(count @ np.abs(vectors) ** 2)  # the norms of S v
    conditions = np.linalg.norm(left @ rows, axis=1) * spread / np.abs(values)
    # The projector on all that is not of eigenvalue zero, S (R S)⁻¹ R, has this norm.
    projector = np.sqrt(count)[:, None] * np.linalg.solve(together, rows)
    norm = max(float(np.linalg.norm(projector, 2)), 1.0)
    still = np.linalg.svd(rows)[2][m:].T
    return (
        np.append(values, np.zeros(n - m)),
        np.concatenate([vectors[receiver], still], axis=1),
        np.append(np.maximum(conditions, 1.0), np.full(n - m, norm)),
        np.append(errors, np.zeros(n - m)),
    )


def _of_components(weights: NDArray[np.float64]) -> tuple[Any, Any, Any, Any]:
    """Eigenvalues, eigenvectors, conditions and errors, component by component downstream."""
    n = len(weights)
    values, vectors = np.zeros(n, complex), np.zeros((n, n), complex)
    conditions, errors = np.ones(n), np.zeros(n)
    done = np.zeros(n, bool)
    for regions in _components(weights):
        square = np.ix_(regions, regions)
        block = weights[square]
        own, left, right = scipy.linalg.eig(block, left=True, right=True)
        values[regions] = own
        overlap = np.abs((left.conj() * right).sum(axis=0))
        with np.errstate(divide="ignore"):
            conditions[regions] = np.maximum(1 / overlap, 1.0)
        exact = len(regions) == 1
        errors[regions] = 0.0 if exact else 2 * _EPS * np.linalg.norm(block) * conditions[regions]
        # What the components upstream push in here: (W_here - Λ) v_here = -W_upstream v_upstream.
        push = weights[np.ix_(regions, done)] @ vectors[np.ix_(done, done)]
        if push.any():
            vectors[np.ix_(regions, done)] = -_solved(block, values[done], push)
            size = np.abs(vectors[:, done]).max(axis=0)
            vectors[:, done] /= np.where(size > _LARGE, size, 1.0)
        vectors[square] = right
        done[regions] = True
    return values, vectors, conditions, errors


def _components(weights: NDArray[np.float64]) -> list[NDArray[Any]]:
    """Strongly connected components: their regions, those that send before those that receive."""
    links = csr_array(weights != 0)
    count, label = connected_components(links, directed=True, connection="strong")
    if count == 1:
        return [np.arange(len(weights))]
    receiver, sender = links.nonzero()
    graph: dict[int, set[int]] = {k: set() for k in range(count)}
    for to, source in set(zip(label[receiver].tolist(), label[sender].tolist(), strict=True)):
        if to != source:
            graph[to].add(source)
    return [np.flatnonzero(label == k) for k in graphlib.TopologicalSorter(graph).static_order()]


def _solved(block: NDArray[np.float64], shifts: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    """Solutions of (block - shift) x = right, one column for each shift; huge where there is none.

    Back-substitution in Schur's form, whose diagonal is kept off zero, as LAPACK's `trevc` does:
    a column whose shift is an eigenvalue turns into that eigenvalue's eigenvector.
    """
    triangle, basis = scipy.linalg.schur(block, output="complex")
    solution = basis.conj().T @ right
    smallest = _EPS * max(float(np.abs(block).max()), float(np.abs(shifts).max())) + 1e-300
    for k in range(len(block) - 1, -1, -1):
        pivot = triangle[k, k] - shifts
        pivot = np.where(np.abs(pivot) < smallest, smallest, pivot)
        solution[k] = (solution[k] - triangle[k, k + 1 :] @ solution[k + 1 :]) / pivot
    return basis @ solution
