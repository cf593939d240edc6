"""Harmonics: the smoothest functions on a surface or a graph, as a basis. NumPy and SciPy."""

import dataclasses
import functools
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.cards import Shown
from ngnmm_jax.connectome import Connectome
from ngnmm_jax.surfaces import laplace
from ngnmm_jax.surfaces.surface import Surface

#: Modes that are computed beyond those asked for, so that the last ones can be told apart.
_BEYOND = 12
#: Where shift and invert begins, below zero, as a fraction of the operator's largest entry.
_SHIFT = 1e-7
#: A factorisation whose solution is off by more has lost the signs of its pivots.
_SOLVED = 1e-6
#: Above this residual, a fraction of the largest eigenvalue found, modes are refused.
_RESIDUAL = 1e-8
#: Eigenvalues below this fraction of the operator's largest entry are zero.
_ROUNDING = 1e-13
#: Of fewer vertices all eigenvectors are computed by LAPACK.
_FEW = 300


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Harmonics(Shown):
    """Eigenfunctions of a Laplacian, -∇² ψ = λ ψ, those of the smallest λ: long waves first.

    - `values` (mode,): λ, rising from zero; 1/mm² of a surface, a number of a graph.
    - `vectors` (vertex, mode): ψ, real, orthonormal by `weights`; their largest entry is positive.
    - `weights` (vertex,): what the inner product ⟨u, v⟩ = Σ_j weights_j u_j v_j weighs vertices
      with: areas in mm², or the strengths of a graph's nodes over their sum.
    - `residual`: the largest ‖L ψ - λ ψ‖ over the modes, relative to the largest λ among them.
    - `counted`: whether the number of eigenvalues below was counted another way (by the signs of
      a factorisation, Sylvester's law), so that none is missing between those that are here. A
      failed count raises; False where it could not be done.
    """

    values: NDArray[np.float64]
    vectors: NDArray[np.float64]
    weights: NDArray[np.float64]
    residual: float
    counted: bool

    def __repr__(self) -> str:
        span = f"λ {self.values[0]:.4g} … {self.values[-1]:.4g}"
        return f"Harmonics({self.n_modes} modes of {self.n_vertices} vertices, {span})"

    @property
    def n_modes(self) -> int:
        """Number of modes."""
        return len(self.values)

    @property
    def n_vertices(self) -> int:
        """Number of vertices, or of a graph's nodes."""
        return len(self.vectors)

    @functools.cached_property
    def wavelengths(self) -> NDArray[np.float64]:
        """2π/√λ (mode,), mm of a surface; infinite of constants."""
        with np.errstate(divide="ignore"):
            return 2 * np.pi / np.sqrt(self.values)

    def project(self, values: ArrayLike) -> NDArray[np.float64]:
        """Coefficients (mode, …) of values (vertex, …): Σ_j ψ_jk weights_j values_j."""
        array = np.asarray(values)
        if not array.ndim or len(array) != self.n_vertices:
            must = f"have {self.n_vertices} rows, one a vertex"
            _checks.fail("values", must, f"their shape is {array.shape}")
        return np.tensordot(self.vectors.T * self.weights, array, 1)

    def compose(self, coefficients: ArrayLike) -> NDArray[np.float64]:
        """Values (vertex, …) of coefficients (mode, …)."""
        array = np.asarray(coefficients)
        if not array.ndim or len(array) != self.n_modes:
            must = f"have {self.n_modes} rows, one a mode"
            _checks.fail("coefficients", must, f"their shape is {array.shape}")
        return np.tensordot(self.vectors, array, 1)


def harmonics(surface: Surface, k: int) -> Harmonics:
    """The first `k` eigenfunctions of a surface's Laplace-Beltrami operator.

    By linear elements with lumped masses (`laplace_beltrami`), ARPACK's Lanczos method with shift
    and invert; each piece (hemisphere) for itself, so that a mode lives on one of them. On a
    sphere of radius R, λ is l (l + 1)/R², 2 l + 1 times. The error of λ falls with the square of
    the edges' length: relative some λ h²/16 on regular triangles of side h: 1 % at 16 edges a wave.
    """
    _checked_number(k, surface.n_vertices)
    matrix, root = laplace.symmetric(surface)
    parts = [surface.of(side) for side in surface.sides]
    parts = parts if len(parts) == 2 else [np.arange(surface.n_vertices)]
    return _modes(matrix, root, parts, int(k))


def graph_harmonics(graph: Any, k: int) -> Harmonics:
    """The first `k` eigenvectors of a graph's Laplacian: connectome harmonics.

    Of L = I - D⁻¹ W, D the sums of the rows of symmetric weights W: λ = 1 - Λ, with Λ the
    eigenvalues of the weights with rows normalised, those along which a network's dispersion
    relation is read. Orthonormal by `weights`, the rows' shares D/ΣD. As a basis of activity they
    were introduced by Atasoy, Donnelly and Pearson, Nat. Commun. 7, 10340 (2016).

    **Arguments:**

    - `graph`: a `Connectome`, or weights (node, node), sparse or not; symmetric, not negative,
      without a row of zeros. Or any graph of which rows divided by numbers are symmetric, as a
      `cortical_graph` with `Undirected()`: then by `graph.leading`, whose number of copies of
      multiple eigenvalues is not counted.
    - `k`: how many.
    """
    from scipy.sparse import csr_array, diags_array

    if hasattr(graph, "symmetriser"):
        return _of_graph(graph, k)
    weights = csr_array(graph.weights if isinstance(graph, Connectome) else graph).astype(float)
    size = abs(weights).max()
    if abs(weights - weights.T).max() > 1e-12 * size:
        must = "be symmetric (`connectome.symmetrised()`; rows not normalised)"
        _checks.fail("graph", must, "its weights are not")
    if weights.data.size and weights.data.min() < 0:
        _checks.fail("graph", "have no negative weights", f"one is {weights.data.min():g}")
    sums = np.asarray(weights.sum(axis=1)).ravel()
    if not (sums > 0).all():
        silent = np.flatnonzero(sums <= 0)[:5].tolist()
        _checks.fail("graph", "have connections of all nodes", f"{silent} have none")
    _checked_number(k, len(sums))
    root = np.sqrt(sums / sums.sum())
    scale = diags_array(1 / np.sqrt(sums))
    matrix = diags_array(np.ones(len(sums))) - scale @ weights @ scale
    return _modes(csr_array(matrix), root, [np.arange(len(sums))], int(k))


def _of_graph(graph: Any, k: int) -> Harmonics:
    """Of an `AbstractGraph`, by its leading eigenmodes."""
    _checked_number(k, graph.n_regions)
    even = np.allclose(np.asarray(graph.row_sums()), 1.0, rtol=0, atol=1e-9)
    graph = graph if even else graph.normalised()
    weights = graph.symmetriser()
    if weights is None:
        must = "be symmetric but for numbers by which rows are divided (`Undirected()`)"
        _checks.fail("graph", must, "it is not")
    import jax.numpy as jnp

    root = np.sqrt(weights / weights.sum())
    # Of multiple eigenvalues the vectors need not be orthogonal: Rayleigh and Ritz make them so.
    basis, _ = np.linalg.qr(root[:, None] * graph.leading(k).vectors)
    applied = np.asarray(graph.apply(jnp.asarray(basis / root[:, None]))) * root[:, None]
    found, turned = np.linalg.eigh((basis.T @ applied + applied.T @ basis) / 2)
    found, turned = found[::-1], turned[:, ::-1]
    vectors = basis @ turned
    off = np.linalg.norm(applied @ turned - vectors * found, axis=0).max()
    vectors = _turned(vectors / root[:, None])
    return Harmonics(1 - found, vectors, root**2, float(off / np.abs(found).max()), False)


def _turned(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """With their largest entry positive."""
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
    return vectors * np.sign(largest)


def _checked_number(k: int, n: int) -> None:
    _checks.positive_integer("k", k)
    most = n if n <= _FEW else n // 3
    if k > most:
        _checks.fail("k", f"be {most} at most, of {n} vertices", f"it is {k}")


def _modes(matrix: Any, root: NDArray[np.float64], parts: list[Any], k: int) -> Harmonics:
    """Of a symmetric matrix whose eigenvectors are √weights times ψ; part by part."""
    found = [_lowest(matrix[part][:, part].tocsc(), min(k, part.size)) for part in parts]
    together = np.concatenate([values for values, _, _ in found])
    first = np.argsort(together, kind="stable")[:k]
    vectors, begin = np.zeros((len(root), k)), 0
    for part, (values, own, _) in zip(parts, found, strict=True):
        here = np.flatnonzero((first >= begin) & (first < begin + values.size))
        vectors[np.ix_(part, here)] = own[:, first[here] - begin]
        begin += values.size
    top = float(abs(matrix).max())
    values = np.where(together[first] <= _ROUNDING * top, 0.0, together[first])  # of constants
    scale = max(float(values[-1]), _ROUNDING * top)
    residual = float(np.linalg.norm(matrix @ vectors - vectors * values, axis=0).max()) / scale
    if values[-1] > 0 and not residual <= _RESIDUAL:  # of constants alone it is rounding
        raise RuntimeError(f"Harmonics were found to {residual:.1g} only: ask for fewer.")
    counted = all(sure for _, _, sure in found)
    return Harmonics(values, _turned(vectors / root[:, None]), root**2, residual, counted)


def _lowest(matrix: Any, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64], bool]:
    """The k lowest eigenvalues, rising, their vectors, and whether their number was counted."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    n = matrix.shape[0]
    if n <= _FEW:
        values, vectors = np.linalg.eigh(matrix.toarray())
        return values[:k], vectors[:, :k], True
    start = np.random.default_rng(0).standard_normal(n)
    shift = -_SHIFT * abs(matrix).max()
    inverse = LinearOperator((n, n), matvec=_factors(matrix, shift)[1].solve, dtype=float)
    for beyond in (_BEYOND, k + _BEYOND):
        values, vectors = eigsh(matrix, k + beyond, sigma=shift, OPinv=inverse, v0=start)
        order = np.argsort(values)
        values, vectors = values[order], vectors[:, order]
        gap = k - 1 + int(np.diff(values[k - 1 :]).argmax())
        below = _number_below(matrix, float(values[gap : gap + 2].mean()))
        if below in (gap + 1, None):
            return values[:k], vectors[:, :k], below is not None
    raise RuntimeError(
        f"Lanczos iterations found {gap + 1} of the {below} lowest harmonics: ask for fewer."
    )


def _factors(matrix: Any, level: float) -> tuple[Any, Any]:
    """A symmetric matrix less a level, and its factors, whose pivots stay on the diagonal."""
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import splu

    shifted = (matrix - diags_array(np.full(matrix.shape[0], level))).tocsc()
    options = {"SymmetricMode": True}
    return shifted, splu(shifted, "MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)


def _number_below(matrix: Any, level: float) -> int | None:
    """How many eigenvalues of a symmetric matrix are below a level, by Sylvester's law of inertia.

    The signs of the pivots of matrix - level; None where these were not taken from the diagonal,
    or have lost precision.
    """
    shifted, factors = _factors(matrix, level)
    right = np.random.default_rng(1).standard_normal(matrix.shape[0])
    off = np.linalg.norm(shifted @ factors.solve(right) - right) / np.linalg.norm(right)
    if not np.array_equal(factors.perm_r, factors.perm_c) or not off < _SOLVED:
        return None
    return int((factors.U.diagonal() < 0).sum())
