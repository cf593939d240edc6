"""Where the eigenvalues of big graphs lie, and the first of them, by what they do to values."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.cards import Shown
from ngnmm_jax.connectome.eigenmodes import Eigenmodes, eigenmodes_of

# Regions of which all eigenvalues are computed, and the region that holds them follows.
_FEW = 600
# The chance that a region found by random vectors misses an eigenvalue.
_FAILURE = 1e-12
# Random vectors of one bound, and steps of their recurrence.
_VECTORS, _STEPS = 4, 400
# Steps of Lanczos' iteration, from which the ends are guessed.
_INNER = 150
# Directions from 0 to π/2 in which the numerical range is bounded, on both sides.
_DIRECTIONS = 3
# Vectors of Arnoldi's iteration at least, and how often it begins again at most: where eigenvalues
# pile up, as those near zero of a smooth kernel do, it would go on for hours.
_SUBSPACE, _RESTARTS = 40, 100
_SYMMETRIC, _REAL, _EPS = 1e-12, 1e-9, float(np.finfo(float).eps)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class SpectralBounds(Shown):
    """A convex region of the complex plane that holds all eigenvalues of a graph.

    - `corners` (corner,): complex, anticlockwise; of a real spectrum the two ends, real.
    - `how`: by what it was found.
    - `failure`: the chance, over random vectors that do not depend on the graph, that an
      eigenvalue lies outside; 0 where none can.
    """

    corners: NDArray[Any]
    how: str
    failure: float = 0.0

    def __repr__(self) -> str:
        chance = "certain" if not self.failure else f"but for a chance of {self.failure:.0e}"
        kind = "" if self.is_real else f", |Im Λ| to {self.corners.imag.max():.6g}"
        return f"SpectralBounds(Re Λ {self.low:.6g} … {self.high:.6g}{kind}; {self.how}; {chance})"

    @property
    def is_real(self) -> bool:
        """Whether all eigenvalues are known to be real."""
        return not np.iscomplexobj(self.corners)

    @property
    def low(self) -> float:
        """The smallest real part in the region."""
        return float(self.corners.real.min())

    @property
    def high(self) -> float:
        """The largest real part in the region."""
        return float(self.corners.real.max())

    @property
    def certified(self) -> bool:
        """Whether all eigenvalues lie inside, with a chance of error below 1e-9."""
        return self.failure < 1e-9

    def boundary(self, points: int = 256) -> NDArray[Any]:
        """Points (point,) around the region, corners among them; an interval's two ends.

        Evenly along each side: where a function is subharmonic, its largest value over the region
        lies between these.
        """
        if self.is_real:
            return self.corners
        nexts = np.roll(self.corners, -1)
        lengths = np.abs(nexts - self.corners)
        counts = np.ceil(points * lengths / max(lengths.sum(), 1e-300)).astype(int)
        sides = zip(self.corners, nexts, np.maximum(counts, 1), strict=True)
        return np.concatenate([a + (b - a) * np.arange(count) / count for a, b, count in sides])

    def holds(self, values: Any, slack: float = 0.0) -> NDArray[np.bool_]:
        """Which values lie inside, or no farther outside than `slack`."""
        values = np.asarray(values)
        if self.is_real:
            inside = (values.real >= self.low - slack) & (values.real <= self.high + slack)
            return inside & (np.abs(values.imag) <= slack)
        sides = np.roll(self.corners, -1) - self.corners
        sizes = np.maximum(np.abs(sides), 1e-300)
        beyond = ((values[..., None] - self.corners) * sides.conj()).imag / sizes
        return (beyond >= -slack).all(axis=-1)


# ------------------------------------------------------------------------- where they lie


def bounds_of(graph: Any, *, transverse: bool = False) -> SpectralBounds:
    """A convex region that holds all eigenvalues of a graph, or all but the uniform mode's.

    Of few regions, and where all eigenvalues are known, around these. Else, of a graph that is
    symmetric or similar to a symmetric one (`symmetriser`), an interval: Chebyshev's polynomial of
    degree m of the matrix, mapped so that the inner ends that Lanczos finds go to -1 and 1, is
    applied to random vectors g (normal, independent). An eigenvalue at x > 1 makes |T_m(x)| |u·g|
    of the component along its eigenvector u, so that cosh(m acosh x) <= max ‖T_m g‖ / δ unless
    |u·g| < δ for all vectors, whose chance is known. (In the spirit of Kuczyński and Woźniakowski,
    SIAM J. Matrix Anal.
    Appl. 13, 1094 (1992); the interval is too wide by some 1e-4 of itself.) Otherwise a polygon
    around the numerical range, by the same of the Hermitian part of exp(iθ) W in several
    directions θ (Johnson, SIAM J. Numer. Anal. 15, 595 (1978)). Never larger than the largest sum
    of a row's absolute weights allows (Gershgorin), which is certain.
    """
    if transverse and not graph.even():
        must = "have rows that sum to the same, so that there is a uniform mode"
        _checks.fail("graph", must, "they do not")
    if not _checks.is_concrete(graph):
        _checks.fail("graph", "have known weights", "JAX traces them")
    if graph.exact:
        values, uniform = graph.spectrum()
        return _of_all(values, uniform if transverse else None, 0.0)
    if graph.n_regions <= min(_FEW, graph.DENSE_LIMIT):
        modes = _dense_modes(graph)
        sums = float(np.mean(np.asarray(graph.row_sums(), float)))
        uniform = int(np.abs(modes.values - sums).argmin()) if transverse else None
        return _of_all(modes.values, uniform, float(modes.errors.max()))
    d = graph.symmetriser()
    radius = float(np.max(np.asarray(graph.row_sizes()))) * (1 + _FEW * _EPS)
    if d is not None:
        low, high = _interval(graph, d, transverse)
        cut = [max(low, -radius), min(high, radius)]
        return SpectralBounds(np.array(cut), "Chebyshev polynomials of random vectors", _FAILURE)
    return _around(graph, radius, transverse)


def _of_all(values: Any, left_out: int | None, error: float) -> SpectralBounds:
    """Around values that are known to an error."""
    values = np.asarray(values)
    slack = error + 8 * len(values) * _EPS * float(np.abs(values).max())
    if left_out is not None:
        values = np.delete(values, left_out)
    if not values.size:
        _checks.fail("graph", "have modes beside the uniform one", "it has one region")
    if not np.iscomplexobj(values):
        ends = np.array([values.min() - slack, values.max() + slack])
        return SpectralBounds(ends, "all eigenvalues")
    return SpectralBounds(hull(values, slack), "all eigenvalues")


def hull(values: NDArray[Any], slack: float = 0.0, directions: int = 64) -> NDArray[Any]:
    """Corners of a polygon around values and their conjugates, a side in each direction."""
    angles = np.pi * np.arange(directions // 2 + 1) / (directions // 2)
    reach = (np.exp(1j * angles)[:, None] * values).real.max(axis=1)
    other = (np.exp(1j * angles)[:, None] * values.conj()).real.max(axis=1)
    return polygon(angles, np.maximum(reach, other) + slack)


def polygon(angles: NDArray[Any], reach: NDArray[Any]) -> NDArray[Any]:
    """Corners of the region where Re(exp(iθ) Λ) <= reach and Re(exp(-iθ) Λ) <= reach.

    `angles` (direction,) θ from 0 to π, rising. Sides that the others leave nothing of are cut.
    """
    angles = np.concatenate([-angles[::-1], angles[1:-1]])  # of normals exp(-iθ), anticlockwise
    reach = np.concatenate([reach[::-1], reach[1:-1]])
    size = 4 * float(np.abs(reach).max()) + 1e-300
    corners = size * np.exp(1j * (np.pi / 4 + np.pi / 2 * np.arange(4)))
    for angle, far in zip(angles, reach, strict=True):
        beyond = (np.exp(1j * angle) * corners).real - far
        kept = []
        for k, corner in enumerate(corners):
            after, excess = corners[(k + 1) % len(corners)], beyond[(k + 1) % len(corners)]
            if beyond[k] <= 0:
                kept.append(corner)
            if (beyond[k] > 0) != (excess > 0):
                kept.append(corner + (after - corner) * beyond[k] / (beyond[k] - excess))
        corners = np.array(kept)
    # Of corners that fall together, but for rounding, one is left.
    apart = np.abs(corners - np.roll(corners, 1)) > 1e-12 * size
    return corners[apart] if apart.any() else corners[:1]


@eqx.filter_jit
def _applied(graph: Any, values: Any) -> Any:
    return graph.apply(values)


class Symmetric(eqx.Module):
    """D^½ W D^-½, which is symmetric; without what the uniform mode has, where that is given."""

    graph: Any
    root: Any
    uniform: Any

    def apply(self, values: Any) -> Any:
        """Of values (region, run)."""
        values = self.graph.apply(values / self.root[:, None]) * self.root[:, None]
        return self.clean(values)

    def clean(self, values: Any) -> Any:
        """Values without the uniform mode's part."""
        if self.uniform is None:
            return values
        return values - self.uniform[:, None] * (self.uniform @ values)


class _Hermitian(eqx.Module):
    """The Hermitian part of exp(iθ) W, a direction θ for each run."""

    graph: Any
    back: Any
    factors: Any
    transverse: bool = eqx.field(static=True)

    def apply(self, values: Any) -> Any:
        """Of values (region, run)."""
        there = self.factors * self.graph.apply(values)
        return self.clean((there + self.factors.conj() * self.back.apply(values)) / 2)

    def clean(self, values: Any) -> Any:
        """Values without their mean, where only modes beside the uniform one are asked for.

        The mean of what the matrix makes of all alike is left out then, which leaves its other
        eigenvalues as they are.
        """
        return values - values.mean(axis=0) if self.transverse else values


@eqx.filter_jit
def _sizes(operator: Any, start: Any, middle: Any, half: Any, steps: Any) -> Any:
    """Norms (run,) of starts (region, run) after Chebyshev's polynomial of the mapped operator."""

    def mapped(values: Any) -> Any:
        return (operator.apply(values) - middle * values) / half

    def step(_: Any, pair: Any) -> Any:
        before, now = pair
        return now, 2 * mapped(now) - before

    start = operator.clean(start)
    last = jax.lax.fori_loop(1, steps, step, (start, mapped(start)))[1]
    return jnp.linalg.norm(last, axis=0)


@eqx.filter_jit
def _lanczos(operator: Any, start: Any) -> Any:
    """Diagonals and what is beside them (step, run) of Lanczos' matrices, of starts (region, run).

    Without orthogonalisation against all before, which inner ends can do without.
    """

    def step(pair: Any, _: Any) -> Any:
        before, now, size = pair
        after = operator.apply(now) - size * before
        diagonal = (now.conj() * after).sum(axis=0).real
        after = after - diagonal * now
        beside = jnp.linalg.norm(after, axis=0)
        return (now, after / jnp.where(beside > 0, beside, 1.0), beside), (diagonal, beside)

    start = operator.clean(start)
    start = start / jnp.linalg.norm(start, axis=0)
    first = jnp.zeros_like(start), start, jnp.zeros(start.shape[1])
    return jax.lax.scan(step, first, length=_INNER)[1]


def _ends(operator: Any, start: Any) -> tuple[float, float]:
    """The smallest and largest eigenvalue of an operator, roughly, and both inside."""
    ends = []
    diagonals, besides = map(np.asarray, _lanczos(operator, start))
    for diagonal, beside in zip(diagonals.T, besides.T, strict=True):
        # Where a start is made of few eigenvectors, no more than these are found.
        over = np.flatnonzero(beside <= 1e-12 * np.abs(diagonal).max())
        count = int(over[0]) + 1 if over.size else len(diagonal)
        found = scipy.linalg.eigvalsh_tridiagonal(diagonal[:count], beside[: count - 1])
        ends += [float(found[0]), float(found[-1])]
    return min(ends), max(ends)


def _beyond(sizes: NDArray[Any], waves: bool) -> float:
    """How far outside of [-1, 1] an eigenvalue can lie, by norms of vectors (run,)."""
    # At each end of each direction, |u·g| < δ for all vectors has no larger chance than this.
    share = (_FAILURE / 2 / _DIRECTIONS) ** (1 / len(sizes))
    delta = np.sqrt(2 * share) if waves else np.sqrt(np.pi / 2) * share
    return float(np.cosh(np.arccosh(max(sizes.max() / delta, 1.0)) / _STEPS) - 1)


def _interval(graph: Any, d: NDArray[Any], transverse: bool) -> tuple[float, float]:
    root = np.sqrt(d)
    uniform = as_array(root / np.linalg.norm(root)) if transverse else None
    operator = Symmetric(graph, as_array(root), uniform)
    start = np.random.default_rng(0).normal(size=(len(d), _VECTORS))
    return _outside(operator, as_array(start))


def _outside(operator: Any, start: Any) -> tuple[float, float]:
    """An interval that holds all eigenvalues of an operator, by normal vectors (region, run)."""
    low, high = _ends(operator, start)
    size = max(abs(low), abs(high), np.finfo(float).tiny)
    middle, half = (low + high) / 2, max((high - low) / 2, 1e-6 * size)
    while True:
        sizes = np.asarray(_sizes(operator, start, as_array(middle), as_array(half), _STEPS))
        if np.isfinite(sizes).all():
            break
        half *= 1.5  # the ends were far inside
    more = half * (1 + _beyond(sizes, jnp.iscomplexobj(start)))
    return middle - more, middle + more


def _around(graph: Any, radius: float, transverse: bool) -> SpectralBounds:
    """A polygon around the numerical range."""
    n = graph.n_regions
    angles = np.pi / 2 * np.arange(_DIRECTIONS) / (_DIRECTIONS - 1)
    rng, runs = np.random.default_rng(0), _VECTORS // 2
    start = as_array(rng.normal(size=(n, runs)) + 1j * rng.normal(size=(n, runs)))
    reach, back = np.zeros(2 * _DIRECTIONS - 1), graph.transposed()
    for k, angle in enumerate(angles):
        operator = _Hermitian(graph, back, jnp.exp(1j * as_array(angle)), transverse)
        # The other end is that of the direction π - θ, since weights are real.
        low, reach[k] = _outside(operator, start)
        reach[-1 - k] = -low if angle < np.pi / 2 else reach[k]
    angles = np.concatenate([angles, np.pi - angles[-2::-1]])
    fine = np.pi * np.arange(33) / 32
    both = np.concatenate([angles, fine])
    if not np.isfinite(radius):  # rows' sizes are not known: the range alone
        radius = float(np.abs(reach).max())
        both, fine = angles, fine[:0]
    # A range without width in some direction keeps some, whatever rounding does.
    reach = np.minimum(reach, radius) + 64 * _EPS * float(np.abs(reach).max())
    far = np.concatenate([reach, np.full(len(fine), radius)])
    order = np.argsort(both, kind="stable")
    corners = polygon(both[order], far[order])
    if not corners.size:
        _checks.fail("graph", "have a numerical range", "rounding left nothing of it")
    how = "numerical range by Chebyshev polynomials of random vectors"
    return SpectralBounds(corners, how, _FAILURE)


# ------------------------------------------------------------------------ the first of them


class NotAllFound(ValueError):
    """Arnoldi's iteration did not find so many modes as were asked for; `found` are the others."""

    def __init__(self, k: int, found: Eigenmodes | None) -> None:
        number = 0 if found is None else len(found.values)
        super().__init__(
            f"Arnoldi's iteration found {number} of {k} eigenmodes: the others lie close together. "
            "Ask for more of them (a larger subspace), for another end, or for `density`, which "
            "needs none."
        )
        self.found = found


def leading_of(graph: Any, k: int, which: str = "LR") -> Eigenmodes:
    """The first `k` eigenmodes of a graph, by ARPACK (Lanczos, or Arnoldi) on `apply`.

    Where eigenvalues are multiple, or nearly, ARPACK may miss some of the copies. Of few regions,
    or nearly all modes, from all of them. `NotAllFound`, a `ValueError`, where the iteration begins
    again 100 times and has not found all: it has those that were found.

    **Arguments:**

    - `k`: how many.
    - `which`: "LR" of the largest real part, "SR" of the smallest, "LM" of the largest modulus,
      "LI" of the largest imaginary part.
    """
    _checks.positive_integer("k", k)
    _checks.one_of("which", which, ("LR", "SR", "LM", "LI"))
    n = graph.n_regions
    if k > n:
        _checks.fail("k", f"be at most {n}, the number of regions", f"it is {k}")
    if n <= min(_FEW, graph.DENSE_LIMIT) or (
        k > n // 4 and n <= graph.DENSE_LIMIT
    ):  # no class that knows better
        return _first(_dense_modes(graph), k, which)
    if k >= n - 1:
        graph._few_enough("leading", "ask for fewer modes")
    d = graph.symmetriser()
    found = _by_arnoldi(graph, k, which) if d is None else _by_lanczos(graph, d, k, which)
    number = len(found[0])
    modes = _ordered(graph, *found) if number else None
    if modes is None or number < k:
        raise NotAllFound(k, modes)
    return modes


def _iterated(solver: Any, operator: Any, k: int, which: str, start: Any) -> tuple[Any, Any]:
    """Eigenvalues and vectors that one of ARPACK's solvers finds, at most `k`."""
    from scipy.sparse.linalg import ArpackNoConvergence

    vectors = min(len(start), max(_SUBSPACE, 2 * k + 1))
    try:
        found = solver(operator, k, which=which, v0=start, ncv=vectors, maxiter=_RESTARTS)
    except ArpackNoConvergence as error:
        return error.eigenvalues, error.eigenvectors
    return found[0], found[1]


def first_of(values: NDArray[Any], k: int, which: str) -> NDArray[Any]:
    """Where the first `k` of sorted eigenvalues are, as of `leading_of`, in their order."""
    _checks.positive_integer("k", k)
    _checks.one_of("which", which, ("LR", "SR", "LM", "LI"))
    if k > len(values):
        _checks.fail("k", f"be at most {len(values)}, the number of regions", f"it is {k}")
    keys = {"LR": -values.real, "SR": values.real, "LM": -np.abs(values)}
    key = -np.abs(values.imag) if which == "LI" else keys[which]
    return np.sort(np.argsort(key, kind="stable")[:k])


def _dense_modes(graph: Any) -> Eigenmodes:
    weights = np.asarray(graph.matrix(), float)
    gap = np.abs(weights - weights.T).max()
    return eigenmodes_of(weights, bool(gap <= _SYMMETRIC * np.abs(weights).max()))


def _first(modes: Eigenmodes, k: int, which: str) -> Eigenmodes:
    """So many of all modes."""
    values = modes.values
    kept = first_of(values, k, which)
    uniform = np.flatnonzero(kept == modes.uniform)  # none where it is None
    return Eigenmodes(
        values[kept],
        modes.vectors[:, kept],
        modes.residual,
        int(uniform[0]) if uniform.size else None,
        modes.conditions[kept],
        modes.errors[kept],
    )


def _operator(graph: Any, apply: Any) -> Any:
    from scipy.sparse.linalg import LinearOperator

    n = graph.n_regions
    return LinearOperator((n, n), matvec=lambda x: apply(np.asarray(x).reshape(n)), dtype=float)


def _by_lanczos(graph: Any, d: NDArray[Any], k: int, which: str) -> tuple[Any, Any, Any]:
    from scipy.sparse.linalg import eigsh

    if which == "LI":
        _checks.fail("which", 'be "LR", "SR" or "LM": all eigenvalues are real', 'it is "LI"')
    root = np.sqrt(d)

    def apply(x: Any) -> Any:
        return root * np.asarray(_applied(graph, as_array(x / root)))

    start = np.random.default_rng(0).normal(size=len(d))
    ends = {"LR": "LA", "SR": "SA", "LM": "LM"}
    values, vectors = _iterated(eigsh, _operator(graph, apply), k, ends[which], start)
    # Left eigenvectors are D times the right ones.
    right, left = vectors / root[:, None], vectors * root[:, None]
    conditions = np.linalg.norm(right, axis=0) * np.linalg.norm(left, axis=0)
    return values, right, conditions


def _by_arnoldi(graph: Any, k: int, which: str) -> tuple[Any, Any, Any]:
    from scipy.sparse.linalg import eigs

    start = np.random.default_rng(0).normal(size=graph.n_regions)

    def apply(x: Any) -> Any:
        return np.asarray(_applied(graph, as_array(x)))

    other = graph.transposed()
    values, right = _iterated(eigs, _operator(graph, apply), k, which, start)
    if not len(values):
        return values, right, np.zeros(0)
    back = _operator(graph, lambda x: np.asarray(_applied(other, as_array(x))))
    others, left = _iterated(eigs, back, k, which, start)
    # Left and right ones belong together whose eigenvalues do; of several, by their product.
    products = np.abs(left.T @ right) / np.linalg.norm(left, axis=0)[:, None]
    same = np.abs(others[:, None] - values) <= 1e-6 * np.abs(values).max()
    overlap = np.where(same, products, 0.0).max(axis=0, initial=0.0)
    with np.errstate(divide="ignore"):
        conditions = np.maximum(np.linalg.norm(right, axis=0) / overlap, 1.0)
    return values, right, conditions


def _ordered(graph: Any, values: Any, vectors: Any, conditions: Any) -> Eigenmodes:
    """Sorted, of norm one, with their errors, as `eigenmodes_of` gives them."""
    radius = max(float(np.abs(values).max()), np.finfo(float).tiny)
    if np.iscomplexobj(values) and np.abs(values.imag).max() <= _REAL * radius:
        values, vectors = values.real, vectors.real
    order = np.lexsort((-values.imag, -values.real))
    values, vectors, conditions = values[order], vectors[:, order], conditions[order]
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
    vectors = vectors * (np.abs(largest) / largest) / np.linalg.norm(vectors, axis=0)
    applied = np.asarray(_applied(graph, as_array(vectors)))
    residuals = np.linalg.norm(applied - vectors * values, axis=0)
    uniform = None
    if graph.even():
        spread = np.ptp(vectors.real, axis=0) + np.abs(vectors.imag).max(axis=0)
        spread = spread * np.sqrt(len(vectors))
        uniform = int(spread.argmin()) if spread.min() < 1e-4 else None
    errors = np.minimum((residuals + 2 * _EPS * radius) * conditions, radius)
    return Eigenmodes(values, vectors, float(residuals.max() / radius), uniform, conditions, errors)
