"""What can be known of the eigenvalues of big graphs by what they do to values, matrix-free."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ngnmm_jax._core import checks as _checks
from ngnmm_jax.connectome.eigenmodes import Eigenmodes, eigenmodes_of

# Regions of which all eigenvalues are computed, and the region that holds them follows.
_FEW = 600
# The chance that a region found by random vectors misses an eigenvalue.
_FAILURE = 1e-12
# Random vectors of one bound, and steps of their recurrence.
_VECTORS, _STEPS = 4, 400
# Directions in the upper half plane in which the numerical range is bounded.
_DIRECTIONS = 5
_SYMMETRIC, _REAL, _EPS = 1e-12, 1e-9, float(np.finfo(float).eps)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class SpectralBounds:
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


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class SpectralDensity:
    """How densely the real eigenvalues of a graph lie, as a share of all for each unit of Λ.

    - `lambdas` (point,): from the lower to the upper bound, closer at the ends.
    - `density` (point,): smoothed over `resolution`; its integral is one.
    - `error` (point,): its standard error, of the random vectors.
    - `resolution`: the width (standard deviation) of one eigenvalue in the middle of the interval.
    - `moments` (moment,), `moments_error`: means of Chebyshev's polynomials over all eigenvalues,
      mapped from the bounds to [-1, 1], and their standard errors.
    - `bounds`: the interval.
    """

    lambdas: NDArray[np.float64]
    density: NDArray[np.float64]
    error: NDArray[np.float64]
    resolution: float
    moments: NDArray[np.float64]
    moments_error: NDArray[np.float64]
    bounds: SpectralBounds

    def __repr__(self) -> str:
        span = f"Λ {self.lambdas[0]:.4g} … {self.lambdas[-1]:.4g}"
        worst = f"{self.error.max():.1e} of {self.density.max():.3g}"
        return f"SpectralDensity({span}, to {self.resolution:.2g}, errors to {worst})"


def symmetriser_of(weights: Any) -> NDArray[np.float64] | None:
    """Positive d (region,) for which d_j weights_jk is symmetric; None where there are none.

    Along the connections of a spanning forest d follows from d_j weights_jk = d_k weights_kj; all
    others are then looked at. Of sparse weights (region, region) without explicit zeros.
    """
    from scipy.sparse import coo_array, csr_array
    from scipy.sparse.csgraph import breadth_first_order, connected_components

    n = weights.shape[0]
    back = csr_array(weights.T)
    if _symmetric(weights, back):
        return np.ones(n)
    pattern = (weights != 0).astype(float)
    if abs(pattern - pattern.T).nnz:
        return None
    there, other = csr_array(weights), back
    there.sort_indices()
    other.sort_indices()
    with np.errstate(all="ignore"):
        steps = np.log(there.data / other.data)  # log d_k - log d_j
    if not np.isfinite(steps).all():
        return None
    rows = np.repeat(np.arange(n), np.diff(there.indptr))
    ratios = csr_array((np.arange(1, there.nnz + 1), there.indices, there.indptr), shape=(n, n))
    logs = np.zeros(n)
    label = connected_components(pattern, directed=False)[1]
    for root in np.unique(label, return_index=True)[1]:
        order, before = breadth_first_order(pattern, root, directed=True)
        if len(order) > 1:
            places = np.asarray(ratios[before[order[1:]], order[1:]]).ravel() - 1
            for node, place in zip(order[1:], places, strict=True):
                logs[node] = logs[before[node]] + steps[place]
        logs[order] -= logs[order].mean()
    if np.ptp(logs) > 300:
        return None
    d = np.exp(logs)
    scaled = coo_array((d[rows] * there.data, (rows, there.indices)), shape=(n, n)).tocsr()
    return d if _symmetric(scaled, csr_array(scaled.T)) else None


def _symmetric(weights: Any, back: Any) -> bool:
    size = abs(weights).max() if weights.nnz else 0.0
    return bool(abs(weights - back).max() <= _SYMMETRIC * size) if size else True


# ------------------------------------------------------------------------- where they lie


def bounds_of(graph: Any, *, transverse: bool = False) -> SpectralBounds:
    """A convex region that holds all eigenvalues of a graph, or all but the uniform mode's.

    Of few regions from all eigenvalues. Else, of a graph that is symmetric or similar to a
    symmetric one (`symmetriser`), an interval: Chebyshev's polynomial of degree m of the matrix,
    mapped so that the inner ends that ARPACK finds go to -1 and 1, is applied to random vectors g
    (normal, independent). An eigenvalue at x > 1 makes |T_m(x)| |u·g| of the component along its
    eigenvector u, so that cosh(m acosh x) <= max ‖T_m g‖ / δ unless |u·g| < δ for all vectors,
    whose chance is known. (In the spirit of Kuczyński and Woźniakowski, SIAM J. Matrix Anal.
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
    if graph.n_regions <= _FEW:
        return _of_all(*graph.spectrum(), transverse)
    d = graph.symmetriser()
    radius = float(np.max(np.asarray(graph.row_sizes()))) * (1 + _FEW * _EPS)
    if d is not None:
        low, high = _interval(graph, d, transverse)
        cut = [max(low, -radius), min(high, radius)]
        return SpectralBounds(np.array(cut), "Chebyshev polynomials of random vectors", _FAILURE)
    return _around(graph, radius, transverse)


def _of_all(values: Any, uniform: int | None, transverse: bool) -> SpectralBounds:
    """Around values that are known."""
    values = np.asarray(values)
    if transverse:
        values = np.delete(values, uniform)
    if not values.size:
        _checks.fail("graph", "have modes beside the uniform one", "it has one region")
    slack = 8 * len(values) * _EPS * float(np.abs(values).max())
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
    return corners


@eqx.filter_jit
def _applied(graph: Any, values: Any) -> Any:
    return graph.apply(values)


class _Symmetric(eqx.Module):
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

    def apply(self, values: Any) -> Any:
        """Of values (region, run)."""
        there = self.factors * self.graph.apply(values)
        return (there + self.factors.conj() * self.back.apply(values)) / 2

    def clean(self, values: Any) -> Any:
        """The values."""
        return values


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


def _ends(operator: Any, n: int, dtype: Any) -> tuple[float, float]:
    """The smallest and largest eigenvalue of an operator, roughly, and both inside."""
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

    start = np.random.default_rng(1).normal(size=n).astype(dtype)
    start = np.asarray(operator.clean(jnp.asarray(start)[:, None]))[:, 0]

    def apply(x: Any) -> Any:
        return np.asarray(_applied(operator, jnp.asarray(x).reshape(n, 1)))[:, 0]

    whole = LinearOperator((n, n), matvec=apply, dtype=dtype)
    ends = []
    for which in ("SA", "LA"):
        try:
            found = eigsh(whole, 1, which=which, v0=start, tol=1e-3, return_eigenvectors=False)
        except ArpackNoConvergence as stuck:  # what it has got is inside too
            found = stuck.eigenvalues
        ends += [float(v) for v in found]
    return min(ends), max(ends)


def _beyond(sizes: NDArray[Any], steps: int) -> float:
    """How far outside of [-1, 1] an eigenvalue can lie, by norms of vectors (run,)."""
    # Of both ends; |u·g| < δ has a chance below δ √(2/π), real or complex.
    delta = np.sqrt(np.pi / 2) * (_FAILURE / 2 / _DIRECTIONS) ** (1 / len(sizes))
    return float(np.cosh(np.arccosh(max(sizes.max() / delta, 1.0)) / steps) - 1)


def _interval(graph: Any, d: NDArray[Any], transverse: bool) -> tuple[float, float]:
    root = np.sqrt(d)
    uniform = jnp.asarray(root / np.linalg.norm(root)) if transverse else None
    operator = _Symmetric(graph, jnp.asarray(root), uniform)
    start = np.random.default_rng(0).normal(size=(len(d), _VECTORS))
    low, high = _ends(operator, len(d), float)
    return _outside(operator, jnp.asarray(start), low, high)


def _outside(operator: Any, start: Any, low: float, high: float) -> tuple[float, float]:
    """An interval that holds all eigenvalues, from inner ends."""
    size = max(abs(low), abs(high), np.finfo(float).tiny)
    middle, half = (low + high) / 2, max((high - low) / 2, 1e-6 * size)
    while True:
        sizes = np.asarray(_sizes(operator, start, middle, half, _STEPS))
        if np.isfinite(sizes).all():
            break
        half *= 1.5  # the ends were far inside
    more = half * (1 + _beyond(sizes, _STEPS))
    return middle - more, middle + more


def _around(graph: Any, radius: float, transverse: bool) -> SpectralBounds:
    """A polygon around the numerical range."""
    n = graph.n_regions
    angles = np.pi * np.arange(_DIRECTIONS) / (_DIRECTIONS - 1)
    rng = np.random.default_rng(0)
    start = rng.normal(size=(n, _VECTORS)) + 1j * rng.normal(size=(n, _VECTORS))
    reach, back = [], graph.transposed()
    for angle in angles:
        operator = _Hermitian(graph, back, jnp.exp(1j * jnp.asarray(angle)))
        reach.append(_outside(operator, jnp.asarray(start), *_ends(operator, n, complex))[1])
    fine = np.pi * np.arange(33) / 32
    both = np.concatenate([angles, fine])
    far = np.concatenate([np.minimum(reach, radius), np.full(len(fine), radius)])
    order = np.argsort(both, kind="stable")
    corners = polygon(both[order], far[order])
    how = "numerical range by Chebyshev polynomials of random vectors"
    del transverse  # the uniform mode's eigenvalue is one of those inside
    return SpectralBounds(corners, how, _FAILURE)


# ------------------------------------------------------------------------ the first of them


def leading_of(graph: Any, k: int, which: str = "LR") -> Eigenmodes:
    """The first `k` eigenmodes of a graph, by ARPACK (Lanczos, or Arnoldi) on `apply`.

    Where eigenvalues are multiple, or nearly, ARPACK may miss some of the copies. Of few regions,
    or nearly all modes, from all of them.

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
    if n <= _FEW or (k > n // 4 and n <= graph.DENSE_LIMIT):
        return _first(_dense_modes(graph), k, which)
    if k >= n - 1:
        graph._few_enough("leading", "ask for fewer modes")
    d = graph.symmetriser()
    found = _by_arnoldi(graph, k, which) if d is None else _by_lanczos(graph, d, k, which)
    return _ordered(graph, *found)


def _dense_modes(graph: Any) -> Eigenmodes:
    weights = np.asarray(graph.matrix(), float)
    gap = np.abs(weights - weights.T).max()
    return eigenmodes_of(weights, bool(gap <= _SYMMETRIC * np.abs(weights).max()))


def _first(modes: Eigenmodes, k: int, which: str) -> Eigenmodes:
    """So many of all modes."""
    values = modes.values
    keys = {
        "LR": -values.real,
        "SR": values.real,
        "LM": -np.abs(values),
        "LI": -np.abs(values.imag),
    }
    kept = np.sort(np.argsort(keys[which], kind="stable")[:k])
    uniform = np.flatnonzero(kept == modes.uniform) if modes.uniform is not None else ()
    return Eigenmodes(
        values[kept],
        modes.vectors[:, kept],
        modes.residual,
        int(uniform[0]) if len(uniform) else None,
        modes.conditions[kept],
        modes.errors[kept],
    )


def _operator(graph: Any, apply: Any) -> Any:
    from scipy.sparse.linalg import LinearOperator

    n = graph.n_regions
    return LinearOperator((n, n), matvec=lambda x: apply(np.asarray(x).reshape(n)), dtype=float)


def _stuck(k: int) -> None:
    raise ValueError(
        f"Arnoldi's iteration did not find {k} eigenmodes: they lie close together. Ask for more "
        "of them (a larger subspace), for another end, or for `density`, which needs none."
    )


def _by_lanczos(graph: Any, d: NDArray[Any], k: int, which: str) -> tuple[Any, Any, Any]:
    from scipy.sparse.linalg import ArpackNoConvergence, eigsh

    if which == "LI":
        _checks.fail("which", 'be "LR", "SR" or "LM": all eigenvalues are real', 'it is "LI"')
    root = np.sqrt(d)

    def apply(x: Any) -> Any:
        return root * np.asarray(_applied(graph, jnp.asarray(x / root)))

    start = np.random.default_rng(0).normal(size=len(d))
    ends = {"LR": "LA", "SR": "SA", "LM": "LM"}
    try:
        values, vectors = eigsh(_operator(graph, apply), k, which=ends[which], v0=start)
    except ArpackNoConvergence:
        _stuck(k)
    # Left eigenvectors are D times the right ones.
    right, left = vectors / root[:, None], vectors * root[:, None]
    conditions = np.linalg.norm(right, axis=0) * np.linalg.norm(left, axis=0)
    return values, right, conditions


def _by_arnoldi(graph: Any, k: int, which: str) -> tuple[Any, Any, Any]:
    from scipy.sparse.linalg import ArpackNoConvergence, eigs

    start = np.random.default_rng(0).normal(size=graph.n_regions)

    def apply(x: Any) -> Any:
        return np.asarray(_applied(graph, jnp.asarray(x)))

    other = graph.transposed()
    try:
        values, right = eigs(_operator(graph, apply), k, which=which, v0=start)
        back = _operator(graph, lambda x: np.asarray(_applied(other, jnp.asarray(x))))
        others, left = eigs(back, k, which=which, v0=start)
    except ArpackNoConvergence:
        _stuck(k)
    # Left and right ones belong together whose eigenvalues do; of several, by their product.
    products = np.abs(left.T @ right) / np.linalg.norm(left, axis=0)[:, None]
    same = np.abs(others[:, None] - values) <= 1e-6 * np.abs(values).max()
    overlap = np.where(same, products, 0.0).max(axis=0)
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
    applied = np.asarray(_applied(graph, jnp.asarray(vectors)))
    residuals = np.linalg.norm(applied - vectors * values, axis=0)
    uniform = None
    if graph.even():
        spread = np.ptp(vectors.real, axis=0) + np.abs(vectors.imag).max(axis=0)
        spread = spread * np.sqrt(len(vectors))
        uniform = int(spread.argmin()) if spread.min() < 1e-4 else None
    errors = np.minimum((residuals + 2 * _EPS * radius) * conditions, radius)
    return Eigenmodes(values, vectors, float(residuals.max() / radius), uniform, conditions, errors)


# -------------------------------------------------------------------------- all at once


def density_of(graph: Any, *, moments: int, vectors: int, seed: int) -> SpectralDensity:
    """How densely real eigenvalues lie, by the kernel polynomial method.

    Means of Chebyshev's polynomials over all eigenvalues are estimated with random vectors of
    signs, and summed with Jackson's factors (Weiße, Wellein, Alvermann and Fehske, Rev. Mod. Phys.
    78, 275 (2006)).

    **Arguments:**

    - `moments`: how many polynomials; the resolution is π / `moments` of half the interval.
    - `vectors`: how many random vectors, at least two: errors fall with the root of their number,
      and of that of regions.
    - `seed`: of the random vectors.
    """
    for name, value in (("moments", moments), ("vectors", vectors)):
        _checks.positive_integer(name, value)
    if vectors < 2:
        _checks.fail("vectors", "be at least 2, which the error is from", f"it is {vectors}")
    d = graph.symmetriser()
    if d is None:
        must = "be symmetric, or a symmetric one with rows divided by numbers"
        _checks.fail("graph", must, "it is not: `bounds` and `leading` do without")
    bounds = graph.bounds()
    middle, half = (bounds.low + bounds.high) / 2, (bounds.high - bounds.low) / 2
    half = half if half > 0 else max(abs(middle), 1.0) * 1e-3
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(len(d), vectors))
    operator = _Symmetric(graph, jnp.asarray(np.sqrt(d)), None)
    each = np.asarray(_moments(operator, jnp.asarray(signs), middle, half, moments)) / len(d)
    return _summed(each, middle, half, bounds)


@eqx.filter_jit
def _moments(operator: Any, start: Any, middle: Any, half: Any, moments: int) -> Any:
    """Products (moment, run) of starts with Chebyshev's polynomials of the mapped operator."""

    def step(pair: Any, _: Any) -> Any:
        before, now = pair
        after = 2 * (operator.apply(now) - middle * now) / half - before
        return (now, after), (start * now).sum(axis=0)

    first = (operator.apply(start) - middle * start) / half
    _, rest = jax.lax.scan(step, (start, first), length=max(moments - 1, 1))
    return jnp.concatenate([(start * start).sum(axis=0)[None], rest])[:moments]


def _summed(each: Any, middle: float, half: float, bounds: SpectralBounds) -> SpectralDensity:
    """The density by moments (moment, run), in [-1, 1]."""
    count, runs = each.shape
    k, n = np.arange(count), count + 1
    jackson = (n - k) * np.cos(np.pi * k / n) + np.sin(np.pi * k / n) / np.tan(np.pi / n)
    points = 2 * count
    angles = np.pi * (points - np.arange(points) - 0.5) / points
    factors = np.where(k == 0, 1.0, 2.0) * jackson / n
    basis = factors * np.cos(k * angles[:, None]) / (np.pi * np.sin(angles)[:, None] * half)
    found = basis @ each
    spread = np.sqrt(runs)
    return SpectralDensity(
        middle + half * np.cos(angles),
        found.mean(axis=1),
        found.std(axis=1, ddof=1) / spread,
        np.pi / n * half,
        each.mean(axis=1),
        each.std(axis=1, ddof=1) / spread,
        bounds,
    )
