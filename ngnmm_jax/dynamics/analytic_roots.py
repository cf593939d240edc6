"""All roots of det M(z) in a rectangle, M a matrix of analytic functions, and their number.

The number of roots inside of a contour is the integral of f / (2 π i) along it, f the logarithmic
derivative of the determinant, tr(M⁻¹ M') (the argument principle). From f are taken the poles
of the roots that are known, Σ m / (z - root): what is left is smooth where no other root is
near, so that a few panels resolve it, and its integral is the number of the roots that are missing.
When that is zero for the whole rectangle, all roots are known, and that is certified: by panels
each of whose interpolating polynomials has converged, to a tolerance.

Roots are looked for by linearising: near a point z the roots are about z - 1/θ, θ the eigenvalues
of M⁻¹ M' there. Newton's iteration with left and right null vectors refines them. Where some are
missing, rectangles are cut in four, of which those are searched in which the integral says so.
Roots that the determinant has beside those that are meant are known beforehand, and taken off too.

Sources: Ahlfors, Complex Analysis, ch. 4 (the argument principle); Ruhe, SIAM J. Numer. Anal. 10,
674 (1973: successive linear problems); Schreiber, Nonlinear Eigenvalue Problems (2008: Newton's
iteration with two vectors, of order three); Güttel and Tisseur, Acta Numerica 26, 1 (2017).
"""

import dataclasses
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from ngnmm_jax._core.threads import one_blas_thread
from ngnmm_jax.dynamics.contours import Contours, Rectangle

# How near to an integer an integral must be.
_TOLERANCE = 0.02
# Newton's iterations; corrections, relative to the size of z, that end them: any, and such as are
# this much smaller than the ones before.
_NEWTON, _DONE, _NEARLY, _FAST = 30, 1e-14, 1e-9, 1e-2
# Tiles overlap: to each side of their middle they reach so many steps of it. Guesses that are
# nearer to those of other tiles, or to a root, than this times that are taken for one; where
# vectors have this cosine, also such as are nearer than the next; and equal ones of one tile.
_OVERLAP, _ALIKE, _ALONG, _FAR, _EQUAL = 0.8, 0.03, 0.95, 0.25, 3e-6
# Eigenvalues that are looked for at once around a point, and double steps of the iteration.
_FEW, _TURNS = 12, 4
# Corrections above this, relative, are of no root; roots nearer than the second are one.
_ROOT, _SAME = 1e-6, 1e-9
# Roots within this, relative, that a circle finds together are one, as far as rounding can tell;
# and how exact its sums are.
_CLUSTER, _ROUNDED = 1e-6, 1e-13
# Roots nearer to one that is not meant than this, relative, are counted by a circle.
_NEAR_ASIDE = 1e-5
# How far, in scales, an edge is moved away from roots at a time, and places that are tried.
_ASIDE, _PLACES = 0.05, 8
# Evaluations at most, of matrices of size 100, and by how much more of the smallest.
_MOST, _SMALL = 20_000, 10
# Tiles of a rectangle at most, in evaluations.
_TILES = 20
# How often all is swept, in steps that are halved; before, so few that are missing are looked for.
_SWEEPS, _FEW_MISSING = 3, 4.5
# Nodes of circles around roots, and the smallest rectangles that are cut, in scales of z.
_CIRCLE, _SMALLEST = 32, 1e-6
# Matrices that are worked on together hold so many numbers, to stay in a processor's cache.
_TOGETHER = 2**16


@runtime_checkable
class MatrixFunction(Protocol):
    """A matrix of functions that are real on the real axis and analytic everywhere.

    - `size`: of the matrix.
    - `scale`: over which the functions change, in z: what tiles and panels begin with.
    - `aside` (root,): roots of the determinant that are not meant, each as often as it is one.
    """

    size: int
    scale: float
    aside: np.ndarray

    def __call__(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values and derivatives (point, size, size) at points z (point,)."""
        ...

    def possible(self, z: np.ndarray, reach: float) -> np.ndarray:
        """Around which points there may be roots: a hint, by which nothing is certified."""
        ...


class AnalyticRoots(NamedTuple):
    """Roots with Im z ≥ 0 by falling real part, each as often as it is one.

    - `values` (root,); `errors` (root,): Newton's last corrections.
    - `right`, `left` (root, size): vectors with M v = 0 and wᴴ M = 0, of length one.
    - `certified`: whether it is certain that these are all in the rectangle.
    - `missing`: what the integral along the contour says of roots that are not among them.
    - `evaluations`: of M.
    """

    values: np.ndarray
    errors: np.ndarray
    right: np.ndarray
    left: np.ndarray
    certified: bool
    missing: float
    evaluations: int


class _Known(NamedTuple):
    """Roots in the upper half plane, their multiplicities and corrections (root,), and vectors."""

    values: np.ndarray
    many: np.ndarray
    errors: np.ndarray
    right: np.ndarray
    left: np.ndarray

    @classmethod
    def none(cls, size: int) -> "_Known":
        """Before the search."""
        vectors = np.zeros((0, size), complex)
        return cls(np.zeros(0, complex), np.zeros(0, int), np.zeros(0), vectors, vectors)

    def take(self, index: Any) -> "_Known":
        """Some of them."""
        return _Known(*(field[index] for field in self))

    def slope(self, z: np.ndarray) -> np.ndarray:
        """Their part of the logarithmic derivative, and that of their mirror images."""
        pairs = self.values.imag != 0
        poles = np.append(self.values, self.values[pairs].conj())
        many = np.append(self.many, self.many[pairs])
        return (many / (z[:, None] - poles)).sum(axis=1) if poles.size else np.zeros_like(z)


@one_blas_thread()
def roots_in(function: MatrixFunction, inside: Rectangle, most: int | None = None) -> AnalyticRoots:
    """All roots of det M(z) in a rectangle that is its own mirror image about the real axis.

    **Arguments:**

    - `inside`: with `bottom` 0; of it and its mirror image the roots are found.
    - `most`: evaluations of M at which the search is given up, uncertified; by default 20,000 of a
      matrix of size 100, and more of smaller ones.
    """
    if most is None:
        most = round(_MOST * max(1.0, min(_SMALL, 100 / function.size)))
    search = _Search(function, inside, most)
    missing, certified = search.certify()
    known = search.known.take(search.inside(inside) & (search.known.many > 0))
    known = known.take(np.argsort(-known.values.real, kind="stable"))
    each = np.repeat(np.arange(known.values.size), known.many)
    right, left = search.vectors(known)
    values, errors = known.values[each], known.errors[each]
    return AnalyticRoots(values, errors, right, left, certified, missing, search.evaluations)


@dataclasses.dataclass
class _Search:
    function: MatrixFunction
    region: Rectangle
    most: int

    def __post_init__(self) -> None:
        self.known = _Known.none(self.function.size)
        self.evaluations = 0
        self.contours = Contours(self.slopes, self.function.scale)
        size = max(abs(complex(self.region.right, self.region.top)), abs(self.region.left))
        self.unit = max(size, float(np.finfo(float).tiny))
        self.aside, self.often = np.unique(self.function.aside, return_counts=True)
        self.rng = np.random.default_rng(0)

    @property
    def spent(self) -> bool:
        """Whether the search has to be given up."""
        return self.evaluations >= self.most

    def each(self, z: np.ndarray) -> Iterable[tuple[slice, np.ndarray, np.ndarray]]:
        """M and M' at points, as many at once as is good."""
        chunk = max(1, _TOGETHER // self.function.size**2)
        for begin in range(0, z.size, chunk):
            part = slice(begin, begin + chunk)
            value, slope = self.function(z[part])
            self.evaluations += len(value)
            yield part, value, slope

    def inside(self, place: Rectangle) -> np.ndarray:
        """Which of the known roots lie in a rectangle; those of its edge, to their errors, do."""
        return place.has(self.known.values, self.known.errors + _DONE * self.unit)

    def sweep(self, step: float) -> bool:
        """Look for roots in all of the rectangle, in steps, and a little outside of it.

        Whether there was room for that among the evaluations.
        """
        r = self.region
        across = max(1, int(np.ceil((r.right - r.left) / step)))
        along = max(1, int(np.ceil((r.top - r.bottom) / step)))
        if across * along > _TILES * self.most:
            return False
        x = r.left + (r.right - r.left) * np.arange(across + 1) / across
        y = r.bottom + (r.top - r.bottom) * (np.arange(along) + 0.5) / along
        z = (x[:, None] + 1j * y).ravel()
        some = z[self.function.possible(z, step)]
        if some.size > self.most // 2:
            return False
        self.look(some, np.full(1, _OVERLAP * step))
        return True

    def look(self, z: np.ndarray, reach: np.ndarray) -> bool:
        """Look for roots in squares around points, `reach` to each side; whether any are new."""
        reach = np.broadcast_to(reach, z.shape)
        size = self.function.size
        found = [(np.zeros(0, int), np.zeros(0, complex), np.zeros((0, size), complex))]
        for part, value, slope in self.each(z):
            values, vectors = self.largest(_solved(value, slope), 1 / (1.5 * reach[part]))
            with np.errstate(all="ignore"):
                away = 1 / values
                near = np.maximum(np.abs(away.real), np.abs(away.imag)) <= reach[part, None]
            k, j = np.nonzero(near)
            found.append((part.start + k, away[k, j], vectors[k, :, j]))
        tile, away, vectors = (np.concatenate(each) for each in zip(*found, strict=True))
        nearest = np.argsort(np.abs(away), kind="stable")
        tile, guesses, vectors = tile[nearest], (z[tile] - away)[nearest], vectors[nearest]
        below = guesses.imag < 0
        guesses = np.where(below, guesses.conj(), guesses)
        vectors = np.where(below[:, None], vectors.conj(), vectors)
        kept = _thinned(guesses, vectors, tile, self.known.values, float(reach.min(initial=np.inf)))
        return self.add(*self.refine(guesses[kept], vectors[kept]))

    def largest(self, matrices: np.ndarray, above: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rough eigenvalues (point, …) of matrices, those of modulus above something, and vectors.

        By simultaneous iteration, where these are few.
        """
        matrices = np.nan_to_num(matrices)
        count, n = matrices.shape[:2]
        if n < 3 * _FEW:
            values, vectors = np.linalg.eig(matrices)
            return values, vectors
        space = np.broadcast_to(self.random(n, _FEW), (count, n, _FEW))
        for _ in range(_TURNS):
            space = np.linalg.qr(matrices @ (matrices @ space))[0]
        few, inner = np.linalg.eig(_adjoint(space) @ (matrices @ space))
        crowded = np.flatnonzero(np.abs(few).min(axis=1) > above)
        values, vectors = np.zeros((count, n), complex), np.zeros((count, n, n), complex)
        values[:, :_FEW], vectors[:, :, :_FEW] = few, space @ inner
        if crowded.size:
            values[crowded], vectors[crowded] = np.linalg.eig(matrices[crowded])
        return values, vectors

    def refine(self, z: np.ndarray, right: np.ndarray) -> tuple[_Known, np.ndarray]:
        """Newton's iteration from guesses: those that found a root, and which may be multiple."""
        n, count = self.function.size, z.size
        left, other = self.random(count, n), self.random(count, n)
        error, before = np.full(count, np.inf), np.full(count, np.inf)
        doubtful, done, going = np.ones(count, bool), np.zeros(count, bool), np.arange(count)
        for _ in range(_NEWTON):
            if not going.size or self.spent:
                break
            for part, value, slope in self.each(z[going]):
                which = going[part]
                v = _solved(value, np.stack([right[which], other[which]], axis=-1))
                w = _solved(_adjoint(value), left[which][..., None])[..., 0]
                step = _rayleigh(w, right[which], slope, v[..., 0])
                z[which] -= step
                before[which], error[which] = error[which], np.abs(step)
                right[which], left[which] = _unit(v[..., 0]), _unit(w)
                doubtful[which] = _more_than_one(v)
            wild = ~(np.abs(z[going]) <= 4 * self.unit)
            fast = (error <= _NEARLY * self.unit) & (error <= _FAST * before)
            done = (error <= _DONE * self.unit) | fast
            going = going[~done[going] & ~wild]
        near = np.maximum(_CLUSTER * self.unit, 4 * error)
        doubtful |= ~done | (np.abs(z.imag) > _SAME * self.unit) & (np.abs(z.imag) <= near)
        z = np.where(np.abs(z.imag) <= near, z.real, np.where(z.imag < 0, z.conj(), z))
        found = _Known(z, np.ones(count, int), error, right, left)
        if self.aside.size:
            doubtful |= np.abs(z[:, None] - self.aside).min(axis=1) <= _NEAR_ASIDE * self.unit
        good = error <= _ROOT * self.unit
        return found.take(good), doubtful[good]

    def random(self, count: int, n: int) -> np.ndarray:
        """Vectors of length about one."""
        return (self.rng.normal(size=(count, n)) + 1j * self.rng.normal(size=(count, n))) / n**0.5

    def add(self, found: _Known, doubtful: np.ndarray) -> bool:
        """Roots that were not known; whether there are any."""
        before = self.known.values.size
        order = np.argsort(found.errors, kind="stable")
        for k in order:
            away = np.abs(self.known.values - found.values[k])
            reach = np.maximum(_CLUSTER * self.unit, 10 * (found.errors[k] + self.known.errors))
            if not (away <= reach).any():
                one = found.take([k])
                self.known = _Known(*map(np.concatenate, zip(self.known, one, strict=True)))
                if doubtful[k]:
                    self.count(self.known.values.size - 1)
            elif away.min() > _SAME * self.unit and self.known.many[away.argmin()] == 1:
                self.count(int(away.argmin()))
        return self.known.values.size > before

    def count(self, k: int) -> None:
        """How many roots one of those known is: by a circle around it, which also gives their mean.

        Those of a cluster that rounding cannot tell apart are one.
        """
        others = self.known.take(np.arange(self.known.values.size) != k)
        centre, error = self.known.values[k], self.known.errors[k]
        away = self.aside[np.abs(self.aside - centre) > _NEAR_ASIDE * self.unit]
        every = np.concatenate([others.values, others.values.conj(), away, [np.inf]])
        if centre.imag:
            every = np.append(every, centre.conj())
        radius = min(0.1 * self.function.scale, 0.4 * float(np.abs(every - centre).min()))
        while radius > 4 * error and not self.spent:
            turn = np.exp(2j * np.pi * (np.arange(_CIRCLE) + 0.5) / _CIRCLE)
            z = centre + radius * turn
            slope = (self.slopes(z) - others.slope(z)) * radius * turn
            sums = np.array([(slope * turn**p).mean() for p in range(4)])
            many = max(0, round(sums[0].real))  # 0: it is none after all
            spread, rough = _spread(sums, many) if many > 0 else (0.0, 0.0)
            near = spread * radius <= _CLUSTER * self.unit
            if abs(sums[0] - many) < _TOLERANCE and near:
                values, multiple, errors = (np.array(x) for x in self.known[:3])
                multiple[k] = many
                if many > 1:
                    mean = centre + radius * sums[1] / many
                    values[k] = mean if centre.imag else mean.real
                    errors[k] = radius * max(spread, rough)
                self.known = self.known._replace(values=values, many=multiple, errors=errors)
                return
            radius /= 4

    def slopes(self, z: np.ndarray) -> np.ndarray:
        """The logarithmic derivative of the determinant, tr(M⁻¹ M')."""
        result = np.empty(z.size, complex)
        for part, value, slope in self.each(z):
            inverse = _solved(value, np.eye(self.function.size))
            result[part] = np.einsum("kij,kji->k", inverse, slope)
        if self.aside.size:
            result -= (self.often / (z[:, None] - self.aside)).sum(axis=1)
        return result

    def certify(self) -> tuple[float, bool]:
        """What the contour says of roots that are missing, and whether there are none for certain.

        Where some are, they are looked for.
        """
        for halved in range(_SWEEPS):
            if not self.sweep(self.function.scale / 2**halved) and not halved:
                return np.nan, False
            place = self.beside()
            missing, resolved = self.missing(place)
            if resolved and 0.5 <= abs(missing) < _FEW_MISSING:
                self.locate(place)
                missing, resolved = self.missing(place)
            if self.spent or (resolved and abs(missing) < _TOLERANCE):
                break
        else:
            self.locate(place)
            missing, resolved = self.missing(place)
        return missing, resolved and abs(missing) < _TOLERANCE

    def beside(self) -> Rectangle:
        """The rectangle, its left edge further left where known roots lie next to it."""
        real = self.known.values.real
        moves = self.function.scale * _ASIDE * np.arange(_PLACES)
        gaps = np.abs(self.region.left - moves[:, None] - real).min(axis=1, initial=np.inf)
        clear = gaps >= _ASIDE / 2 * self.function.scale
        best = clear.argmax() if clear.any() else gaps.argmax()
        return self.region._replace(left=self.region.left - moves[best])

    def locate(self, place: Rectangle) -> None:
        """Look for roots that are missing in a rectangle, and in parts of it."""
        if self.spent:
            return
        size = max(place.right - place.left, place.top - place.bottom)
        if size <= self.function.scale:
            centre = complex(place.left + place.right, place.bottom + place.top) / 2
            self.look(np.array([centre]), np.array([size]))
            if abs(self.missing(place)[0]) >= 0.5:
                for k in np.flatnonzero(place.has(self.known.values)):
                    self.count(int(k))
        if abs(self.missing(place)[0]) < 0.5 or size < _SMALLEST * self.function.scale:
            return
        for part in place.quarters():
            if abs(self.missing(part)[0]) >= 0.5:
                self.locate(part)

    def missing(self, place: Rectangle) -> tuple[float, bool]:
        """The number of roots in a rectangle that are not known, and whether panels resolve it."""
        edges = place.edges
        while True:
            rough = self.contours.rough(edges, self.known.slope)
            lengths = np.array([abs(b - a) for a, b in rough])
            if not rough or self.spent or (lengths < _SMALLEST * self.function.scale).all():
                return self.contours.turns(place, self.known.slope), not rough
            near = lengths <= 2 * self.function.scale
            if near.any():
                self.look(np.array([(a + b) / 2 for a, b in rough])[near], lengths[near])
            self.contours.halve(rough, self.known.slope, _SMALLEST * self.function.scale)

    def vectors(self, known: _Known) -> tuple[np.ndarray, np.ndarray]:
        """Null vectors of all roots, each as often as it is one."""
        right, left = [np.zeros((0, self.function.size), complex)], []
        left = list(right)
        for k, many in enumerate(known.many):
            v, w = known.right[k][None], known.left[k][None]
            if many > 1:
                value = self.function(known.values[k][None])[0][0]
                u, sizes, vh = np.linalg.svd(value)
                null = max(1, int((sizes[-many:] <= 1e-6 * sizes[0]).sum()))
                pick = np.arange(many) % null
                v, w = vh[::-1][pick].conj(), u.T[::-1][pick]
            right.append(v)
            left.append(w)
        return np.concatenate(right), np.concatenate(left)


def _thinned(
    guesses: np.ndarray, vectors: np.ndarray, tile: np.ndarray, known: np.ndarray, reach: float
) -> np.ndarray:
    """Which guesses are of other roots than those known, and than earlier ones of other tiles.

    Those of one tile are of different roots, but for such as are the same.
    """
    vectors = _unit(vectors)
    along = np.abs(vectors.conj() @ vectors.T) > _ALONG
    kept = np.zeros(guesses.size, bool)
    for k, guess in enumerate(guesses):
        apart = np.where(along[k], _FAR, _ALIKE)
        apart = np.where(tile == tile[k], _EQUAL, apart) * reach
        alike = (kept & (np.abs(guesses - guess) <= apart)).any()
        kept[k] = not alike and not (np.abs(known - guess) <= _ALIKE * reach).any()
    return kept


def _adjoint(matrices: np.ndarray) -> np.ndarray:
    return matrices.conj().swapaxes(-1, -2)


def _unit(vectors: np.ndarray) -> np.ndarray:
    largest = np.abs(vectors).max(axis=-1, keepdims=True)
    vectors = vectors / np.where((largest > 0) & np.isfinite(largest), largest, 1.0)
    sizes = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(sizes > 0, sizes, 1.0)


def _solved(matrices: np.ndarray, right: np.ndarray) -> np.ndarray:
    """M⁻¹ times vectors; of matrices that are singular, of ones that are not quite."""
    try:
        return np.linalg.solve(matrices, right)
    except np.linalg.LinAlgError:
        n = matrices.shape[-1]
        tiny = np.finfo(float).eps * np.abs(matrices).max(axis=(1, 2)) + np.finfo(float).tiny
        moved = matrices + tiny[:, None, None] * np.diag(np.linspace(0.5, 1.0, n))
        return np.linalg.solve(moved, right)


def _rayleigh(w: np.ndarray, before: np.ndarray, slope: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Newton's correction wᴴ M v / wᴴ M' v, where M v is known; none where that is not finite."""
    with np.errstate(all="ignore"):
        step = (w.conj() * before).sum(axis=1) / np.einsum("kj,kji,ki->k", w.conj(), slope, v)
    return np.where(np.isfinite(step), step, 0.0)


def _spread(sums: np.ndarray, many: int) -> tuple[float, float]:
    """How far so many roots are from their mean, and how well that is known.

    `sums` (4,): of their powers, about a point near and in units of the radius of a circle.
    """
    mean = sums[1] / many
    second = sums[2] / many - mean**2
    third = sums[3] / many - 3 * mean * sums[2] / many + 2 * mean**3
    sizes = [(abs(second), 2)] + ([(abs(third), 3)] if many > 2 else [])
    known = [size ** (1 / p) for size, p in sizes if size > _ROUNDED and many > 1]
    return max(known, default=0.0), _ROUNDED


def _more_than_one(columns: np.ndarray) -> np.ndarray:
    """Whether a matrix brings two vectors (point, n, 2) into different directions."""
    v, other = _unit(columns[..., 0]), _unit(columns[..., 1])
    part = (v.conj() * other).sum(axis=-1, keepdims=True)
    return np.linalg.norm(other - part * v, axis=-1) > 1e-3
