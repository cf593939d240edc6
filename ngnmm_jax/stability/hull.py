"""The largest growth over a region of eigenvalues, between bounds that hold for every one of them.

Growth at Λ is the largest real part of the eigenvalues of a matrix M(Λ), or log|μ| / period of
those of a monodromy matrix; M is a polynomial in Λ. Both are subharmonic in Λ (limits of means of
log‖exp(t M(Λ))‖), so that the largest value over a region lies on its boundary, or on the interval
where all eigenvalues are real. There it is enclosed by branch and bound. In the eigenvectors V of
M at one end of a cell, with h its length and M₂ a bound on the second derivative's entries,

    V⁻¹ M V = diag(λ) + F,    |F| ≤ h |V⁻¹ M' V| + h²/2 |V⁻¹| M₂ |V|,

and no eigenvalue in the cell is further right than the Perron root of the majorant that has
max(Re λ_i, Re λ_i + h Re F'_ii) on its diagonal and |F_ij| beside it (Re and + are | | and + for
moduli). The better of both ends counts; cells whose bound is above what was attained are halved.

Sources: subharmonicity: Vesentini, Boll. UMI 4 (1968: of spectral radii); majorants: Horn and
Johnson, Matrix Analysis (2013), theorem 8.1.18.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Cells of each side at first, points at most, and a cell that is not halved again.
_CELLS, _MOST, _SHORTEST = 32, 100_000, 1e-13
# Eigenvectors of this condition are of no use to a bound.
_DEFECTIVE = 1e10


@dataclasses.dataclass(frozen=True)
class Largest:
    """The largest growth over the boundary of a region.

    - `lambdas`, `growth`, `frequency` (point,): at points of it, in their order along each side;
      frequencies are angular.
    - `at`: where it was largest, `attained`: how large.
    - `upper`: what it exceeds nowhere.
    """

    lambdas: NDArray[Any]
    growth: NDArray[np.float64]
    turning: NDArray[np.float64]
    at: complex | float
    attained: float
    upper: float


def largest(
    polynomial: Callable[[NDArray[Any]], NDArray[Any]],
    degree: int,
    corners: NDArray[Any],
    tolerance: float,
    period: float | None = None,
) -> Largest:
    """The largest growth over the boundary of a convex region, to a tolerance.

    `polynomial`: matrices (Λ, n, n) at Λ (Λ,), of a degree in Λ. `corners`: of the region, in
    order; two real ones are the ends of an interval. `period`: of monodromy matrices.
    """
    corners = np.asarray(corners)
    nexts = np.roll(corners, -1) if np.iscomplexobj(corners) else corners[1:]
    sides = np.stack([corners[: len(nexts)], nexts], axis=1)
    if np.iscomplexobj(corners):  # of a real graph's conjugate pairs one will do
        sides = sides[(sides.imag > -1e-12 * np.abs(corners).max()).any(axis=1)]
    search = _Search(sides, _chebyshev(polynomial, degree, sides), tolerance, period)
    return search.run()


def _chebyshev(
    polynomial: Callable[[NDArray[Any]], NDArray[Any]], degree: int, sides: NDArray[Any]
) -> NDArray[Any]:
    """Coefficients (side, degree + 1, n, n) of Chebyshev's polynomials along sides, -1 … 1."""
    count = degree + 1
    angles = np.pi * (np.arange(count) + 0.5) / count
    places = (np.cos(angles) + 1) / 2
    where = sides[:, :1] + places * (sides[:, 1:] - sides[:, :1])
    values = polynomial(where.ravel())
    values = values.reshape(len(sides), count, *values.shape[1:])
    basis = np.cos(np.outer(np.arange(count), angles)) * (2 / count)
    basis[0] /= 2
    return np.einsum("kp,spij->skij", basis, values)


class _Search:
    """Branch and bound over cells of sides; points are known by their side and place, -1 … 1."""

    def __init__(
        self, sides: NDArray[Any], coefficients: NDArray[Any], tolerance: float, period: Any
    ) -> None:
        self.sides, self.coefficients = sides, coefficients
        self.tolerance, self.period = tolerance, period
        k = np.arange(coefficients.shape[1])
        # Of Chebyshev's polynomials' second derivatives the largest values.
        second = k**2 * (k**2 - 1.0) / 3
        self.second = np.einsum("k,skij->sij", second, np.abs(coefficients))
        self.known: list[tuple[NDArray[Any], ...]] = []
        self.best, self.at = -np.inf, (0, 0.0)
        self.count = 0

    def run(self) -> Largest:
        grid = -np.cos(np.pi * np.arange(_CELLS + 1) / _CELLS)
        number = len(self.sides)
        side = np.repeat(np.arange(number), _CELLS + 1)
        points = self._looked(side, np.tile(grid, number))
        left = np.flatnonzero(np.arange(len(side)) % (_CELLS + 1) != _CELLS)
        low, high = (_taken(points, index) for index in (left, left + 1))
        upper = -np.inf
        while len(low["side"]):
            bound = self._bound(low, high)
            width = high["place"] - low["place"]
            goal = self.best + self.tolerance
            open_ = (bound > goal) & (width > _SHORTEST)
            done = ~open_ if self.count < _MOST else np.ones_like(open_)
            upper = max(upper, float(bound[done].max(initial=-np.inf)))
            low, high = _taken(low, ~done), _taken(high, ~done)
            if not len(low["side"]):
                break
            middle = self._looked(low["side"], (low["place"] + high["place"]) / 2)
            low, high = _joined(low, middle), _joined(middle, high)
        return self._told(max(upper, self.best))

    def _told(self, upper: float) -> Largest:
        parts = zip(*self.known, strict=True)
        side, place, growth, turning = (np.concatenate(part) for part in parts)
        order = np.lexsort((place, side))
        lambdas = self._lambda(side, place)[order]
        at = self._lambda(np.array([self.at[0]]), np.array([self.at[1]]))[0].item()
        return Largest(lambdas, growth[order], turning[order], at, self.best, upper)

    def _lambda(self, side: NDArray[Any], place: NDArray[Any]) -> NDArray[Any]:
        ends = self.sides[side]
        return np.asarray(ends[:, 0] + (place + 1) / 2 * (ends[:, 1] - ends[:, 0]))

    def _looked(self, side: NDArray[Any], place: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Eigenvalues, and the majorants' terms in their eigenvectors, at points."""
        k, angle = np.arange(self.coefficients.shape[1]), np.arccos(np.clip(place, -1, 1))
        some = self.coefficients[side]
        matrix = np.einsum("pk,pkij->pij", np.cos(np.outer(angle, k)), some)
        slope = np.einsum("pk,pkij->pij", _slopes(k, place), some)
        values, vectors = np.linalg.eig(matrix)
        sure = np.linalg.cond(vectors) < _DEFECTIVE
        vectors = np.where(sure[:, None, None], vectors, np.eye(values.shape[1]))
        inverse = np.linalg.inv(vectors)
        missed = inverse @ (matrix @ vectors - vectors * values[:, None, :])
        curved = np.abs(inverse) @ self.second[side] @ np.abs(vectors)
        size = values.real if self.period is None else np.abs(values)
        which = size.argmax(axis=1)
        leading = np.take_along_axis(values, which[:, None], axis=1)[:, 0]
        growth = self._rate(size.max(axis=1))
        angular = leading.imag if self.period is None else np.angle(leading) / self.period
        best = int(growth.argmax())
        if growth[best] > self.best:
            self.best, self.at = float(growth[best]), (int(side[best]), float(place[best]))
        self.known.append((side, place, growth, np.abs(angular)))
        self.count += len(side)
        return {
            "side": side,
            "place": place,
            "values": values,
            "slope": inverse @ slope @ vectors,
            "rest": np.abs(missed),
            "curved": curved,
            "sure": sure,
        }

    def _rate(self, size: NDArray[Any]) -> NDArray[Any]:
        if self.period is None:
            return size
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(size) / self.period)

    def _bound(self, low: dict[str, Any], high: dict[str, Any]) -> NDArray[Any]:
        """What growth exceeds nowhere in cells, as the better of their ends knows it."""
        width = high["place"] - low["place"]
        return np.minimum(self._from(low, width), self._from(high, -width))

    def _from(self, end: dict[str, Any], step: NDArray[Any]) -> NDArray[Any]:
        h, values, slope = np.abs(step)[:, None, None], end["values"], end["slope"]
        majorant = h * np.abs(slope) + h**2 / 2 * end["curved"] + end["rest"]
        own = np.einsum("pii->pi", slope)
        there = values + step[:, None] * own
        size = np.real if self.period is None else np.abs
        n = values.shape[1]
        rest = (h**2 / 2 * end["curved"] + end["rest"])[:, range(n), range(n)]
        majorant[:, range(n), range(n)] = np.maximum(size(values), size(there)) + rest
        root = np.linalg.eigvals(majorant).real.max(axis=1)
        return np.where(end["sure"], self._rate(root), np.inf)


def _slopes(k: NDArray[Any], place: NDArray[Any]) -> NDArray[Any]:
    """Derivatives (point, k) of Chebyshev's polynomials, k U_(k-1)."""
    second = np.ones((len(place), len(k)))
    if len(k) > 1:
        second[:, 1] = 2 * place
    for j in range(2, len(k)):
        second[:, j] = 2 * place * second[:, j - 1] - second[:, j - 2]
    found = np.zeros_like(second)
    found[:, 1:] = k[1:] * second[:, :-1]
    return found


def _taken(points: dict[str, NDArray[Any]], which: NDArray[Any]) -> dict[str, NDArray[Any]]:
    return {name: value[which] for name, value in points.items()}


def _joined(a: dict[str, NDArray[Any]], b: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name: np.concatenate([a[name], b[name]]) for name in a}
