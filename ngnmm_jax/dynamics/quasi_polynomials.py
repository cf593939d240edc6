"""Rightmost roots of det(z - A - s exp(-z τ) b cᵀ), for many strengths s at once.

Where all connections have the same delay, each mode of a network has its own s. With p(z) and n(z)
as in `gain_bounds` the function is p(z) - s exp(-z τ) n(z). First guesses are eigenvalues of the
generator's spectral discretisation, in which what is sent is known at Chebyshev's nodes of the last
delay; Ehrlich and Aberth's iteration refines them together; and the argument principle counts the
roots right of a line, behind which so many lie: that these are the rightmost is certified, or not.
With long delays roots are found by their phases (`long_delays`).

Source: Breda, Maset and Vermiglio, SIAM J. Sci. Comput. 27, 482 (2005).
"""

from typing import NamedTuple

import numpy as np

from ngnmm_jax.dynamics.gain_bounds import Bounds, Fraction, Node, bounds
from ngnmm_jax.dynamics.long_delays import LongDelay, is_long

# Nodes of the discretisation, doubled until roots are certified, so often at most.
_DISCRETE, _DOUBLINGS = 24, 3
# Roots that are refined beside those that are asked for; steps; corrections that end them and that
# are of no root, relative to the root's size and the nodes' rates.
_MORE, _STEPS, _DONE, _ROOT = 6, 40, 1e-14, 1e-7
# Gauss's nodes of a panel; how small its last coefficients must be, in turns; panels of an edge at
# first and at most; how near the count must be to an integer.
_NODES, _RESOLVED, _PANELS, _MOST, _TOLERANCE = 12, 1e-2, 4, 512, 0.02


class Rightmost(NamedTuple):
    """Roots (mode, root) by falling real part, their last corrections, and what is certain.

    - `certified` (mode,): whether it is certain that there are none further right.
    """

    values: np.ndarray
    errors: np.ndarray
    certified: np.ndarray


def rightmost_roots(
    node: Node, strengths: np.ndarray, delay: float, count: int | None = None
) -> Rightmost:
    """The rightmost roots of each mode, as many as variables or as asked for.

    **Arguments:**

    - `node`: one node, (1, variable, …).
    - `strengths` (mode,): s, real or complex.
    - `count`: roots of each mode, no more than variables (without coupling there are no others).
    """
    count = node.matrix.shape[-1] if count is None else count
    shape = (len(strengths), count)
    values, errors = np.full(shape, np.nan, complex), np.full(shape, np.inf)
    certified, left, nodes = np.zeros(len(strengths), bool), np.arange(len(strengths)), _DISCRETE
    found = Rightmost(values, errors, certified)
    if is_long(node, delay):
        _by_phases(found, node, strengths, delay, left)
        left = left[~certified[left]]
    for _ in range(_DOUBLINGS + 1):
        if not left.size:
            break
        function = _Function(node, strengths[left], delay)
        roots, error = function.refined(_discretised(node, strengths[left], delay, nodes), count)
        values[left], errors[left] = roots[:, :count], error[:, :count]
        certified[left] = function.certify(roots, error, count)
        left = left[~certified[left]]
        nodes *= 2
    return found


def _by_phases(
    found: Rightmost, node: Node, strengths: np.ndarray, delay: float, which: np.ndarray
) -> None:
    """Roots of some modes as of a long delay, where these are certain."""
    function = LongDelay(node, float(np.abs(strengths).max()), delay)
    count = found.values.shape[1]
    for k in which:
        if strengths[k]:
            roots = function.rightmost(complex(strengths[k]), count)
            if roots.certified and roots.values.size >= count:
                found.values[k], found.errors[k] = roots.values[:count], roots.errors[:count]
                found.certified[k] = True


def _discretised(node: Node, strengths: np.ndarray, delay: float, nodes: int) -> np.ndarray:
    """Eigenvalues (mode, …) of the discretised generator, by falling real part."""
    matrix, push, sent = node.matrix[0], node.push[0], node.sent[0]
    n = len(matrix)
    slope = _differentiation(nodes) * 2 / delay
    whole = np.zeros((len(strengths), n + nodes, n + nodes), np.result_type(strengths, float))
    whole[:, :n, :n] = matrix
    whole[:, :n, -1] = strengths[:, None] * push
    whole[:, n:, :n] = slope[1:, :1] * sent
    whole[:, n:, n:] = slope[1:, 1:]
    values = np.linalg.eigvals(whole)
    return np.take_along_axis(values, np.argsort(-values.real, axis=1), axis=1)


def _differentiation(nodes: int) -> np.ndarray:
    """Chebyshev's matrix on [-1, 1], from 1 down (Trefethen, Spectral Methods in MATLAB, ch. 6)."""
    x = np.cos(np.pi * np.arange(nodes + 1) / nodes)
    weight = np.where(np.isin(np.arange(nodes + 1), (0, nodes)), 2.0, 1.0)
    weight = weight * (-1.0) ** np.arange(nodes + 1)
    matrix = weight[:, None] / weight / (x[:, None] - x + np.eye(nodes + 1))
    return matrix - np.diag(matrix.sum(axis=1))


class _Function:
    """p - s exp(-z τ) n of all modes."""

    def __init__(self, node: Node, strengths: np.ndarray, delay: float) -> None:
        self.node, self.strengths, self.delay = node, strengths, delay
        self.parts = Fraction(node, float(np.abs(strengths).max(initial=0.0)))
        self.size = float(np.abs(self.parts.poles).max())

    def __call__(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values and slopes at points (mode, point)."""
        p, n, dp, dn = (part[..., 0] for part in self.parts(z[..., None]))
        passed = self.strengths[:, None] * np.exp(-z * self.delay)
        return p - passed * n, dp - passed * (dn - self.delay * n)

    def refined(self, guesses: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Roots and corrections (mode, root), by falling real part; those that are none at last."""
        z = guesses[:, : count + _MORE].astype(complex)
        k = z.shape[1]
        error = np.full(z.shape, np.inf)
        with np.errstate(all="ignore"):  # of guesses that are near no root
            for _ in range(_STEPS):
                value, slope = self(z)
                step = np.where(value == 0, 0, value / slope)
                gap = z[:, :, None] - z[:, None] + np.where(np.eye(k), np.inf, 0)
                step = step / (1 - step * (1 / gap).sum(axis=2))
                going = error > _DONE * (np.abs(z) + self.size)
                move = going & np.isfinite(step)
                z = np.where(move, z - step, z)
                error = np.where(move, np.abs(step), np.where(going, np.inf, error))
                if not going.any():
                    break
        good = error <= _ROOT * (np.abs(z) + self.size)
        order = np.argsort(np.where(good, -z.real, np.inf), axis=1)
        z, error, good = (np.take_along_axis(x, order, axis=1) for x in (z, error, good))
        return np.where(good, z, np.nan), np.where(good, error, np.inf)

    def certify(self, roots: np.ndarray, errors: np.ndarray, count: int) -> np.ndarray:
        """Whether there are no other roots right of lines behind the first `count` (mode,)."""
        line = self.lines(roots, count)
        known = np.isfinite(roots) & np.isfinite(errors)
        ready = known[:, :count].all(axis=1)
        safe = np.where(ready, line, 0.0)
        many = len(roots)
        node = Node(*(np.broadcast_to(part, (many, *part.shape[1:])) for part in self.node))
        with np.errstate(over="ignore"):
            place = bounds(node, self.gains, safe)
        poles = np.where(known, roots, np.inf)
        left, panels = np.flatnonzero(ready & place.some), _PANELS
        result = ready & ~place.some
        while left.size and panels <= _MOST:
            some = _Function(self.node, self.strengths[left], self.delay)
            box = Bounds(*(field[left] for field in place))
            with np.errstate(all="ignore"):  # of poles that are none
                missing, resolved = some.missing(box, poles[left], panels)
            result[left[resolved]] = np.abs(missing[resolved]) < _TOLERANCE
            left = left[~resolved]
            panels *= 2
        return result

    def gains(self, x: np.ndarray) -> np.ndarray:
        """κ (mode,) where Re z ≥ x."""
        return np.minimum(np.abs(self.strengths) * np.exp(-x * self.delay), 1e100)

    def lines(self, roots: np.ndarray, count: int) -> np.ndarray:
        """A line (mode,) in the first gap behind so many roots."""
        real = np.concatenate([roots.real, np.full((len(roots), 1), np.nan)], axis=1)
        size = np.abs(roots[:, :count]).max(axis=1)
        size = size + 1e-3 * self.size
        reach = 0.1 * np.minimum(np.where(size > 0, size, np.inf), 1 / self.delay)
        gap = np.where(np.isnan(real[:, count:]), np.inf, real[:, count - 1 : -1] - real[:, count:])
        wide = gap > 1e-3 * reach[:, None]
        first = np.where(wide.any(axis=1), wide.argmax(axis=1), gap.argmax(axis=1))[:, None]
        before = np.take_along_axis(real, count - 1 + first, axis=1)[:, 0]
        step = np.take_along_axis(gap, first, axis=1)[:, 0] / 2
        return before - np.minimum(step, reach)

    def missing(
        self, place: Bounds, poles: np.ndarray, panels: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The number (mode,) of roots in rectangles beside those known, and if it is resolved."""
        low, high = place.left - 1j * place.top, place.right - 1j * place.top
        upper, lower = place.right + 1j * place.top, place.left + 1j * place.top
        nodes, weights = np.polynomial.legendre.leggauss(_NODES)
        basis = np.polynomial.legendre.legvander(nodes, _NODES - 1)
        last = (basis * weights[:, None] * (np.arange(_NODES) + 0.5)).T[-2:]
        middles = (2 * np.arange(panels) + 1) / (2 * panels)
        places = (middles[:, None] + nodes / (2 * panels)).ravel()
        total, rough = np.zeros(len(low), complex), np.zeros(len(low))
        for start, end in ((low, high), (high, upper), (upper, lower), (lower, low)):
            way = (end - start) / (2 * panels)
            z = start[:, None] + (end - start)[:, None] * places
            value, slope = self(z)
            left = slope / value
            for pole in poles.T:
                left = left - 1 / (z - pole[:, None])
            left = left.reshape(len(low), panels, _NODES) * way[:, None, None]
            total += (left @ weights).sum(axis=1)
            rough = np.maximum(rough, np.abs(left @ last.T).max(axis=(1, 2)))
        return (total / (2j * np.pi)).real, rough <= _RESOLVED
