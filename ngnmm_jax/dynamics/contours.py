"""Integrals of a logarithmic derivative along rectangles, by panels that are cut where need be.

What is integrated is known but for poles, which are taken from it: then few panels resolve it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

# Gauss's nodes of a panel; of the Legendre coefficients of what is integrated the last two must be
# this small, times half the panel's length.
_NODES, _RESOLVED = 12, 1e-2
# Panels, in scales, at first; cuts at most.
_LONGEST, _CUTS = 8, 100_000

Edge = tuple[complex, complex]
#: What is taken off, at points.
Known = Callable[[np.ndarray], np.ndarray]


class Rectangle(NamedTuple):
    """left ≤ Re z ≤ right, bottom ≤ Im z ≤ top; where the bottom is 0, with its mirror image."""

    left: float
    right: float
    bottom: float
    top: float

    def has(self, z: Any, slack: Any = 0.0) -> Any:
        """Whether points lie in it, or no further outside than `slack`."""
        bottom = -np.inf if self.bottom == 0 else self.bottom - slack
        inside = (z.real >= self.left - slack) & (z.real <= self.right + slack)
        return inside & (z.imag >= bottom) & (z.imag <= self.top + slack)

    @property
    def edges(self) -> list[tuple[complex, complex]]:
        """Its sides, one after another; without the lower one where that is the mirror's axis."""
        a, b = complex(self.left, self.bottom), complex(self.right, self.bottom)
        c, d = complex(self.right, self.top), complex(self.left, self.top)
        return [(b, c), (c, d), (d, a)] + ([] if self.bottom == 0 else [(a, b)])

    def quarters(self) -> list["Rectangle"]:
        """It cut in four, or in two across its longer side where that is much longer."""
        x, y = (self.left + self.right) / 2, (self.bottom + self.top) / 2
        wide, high = self.right - self.left, self.top - self.bottom
        xs = [(self.left, self.right)] if high > 2 * wide else [(self.left, x), (x, self.right)]
        ys = [(self.bottom, self.top)] if wide > 2 * high else [(self.bottom, y), (y, self.top)]
        return [Rectangle(a, b, c, d) for a, b in xs for c, d in ys]


class _Panel(NamedTuple):
    """Nodes on a line between two points, and the logarithmic derivative there."""

    half: complex
    z: np.ndarray
    slope: np.ndarray


class Contours:
    """Panels of edges, kept, of a function that is real on the real axis.

    **Arguments:**

    - `slopes`: the function, of points (point,).
    - `scale`: over which it changes.
    """

    def __init__(self, slopes: Known, scale: float) -> None:
        self.slopes, self.scale = slopes, scale
        self.panels: dict[Edge, _Panel] = {}
        self.cut: set[Edge] = set()
        self.nodes, self.weights = np.polynomial.legendre.leggauss(_NODES)
        basis = np.polynomial.legendre.legvander(self.nodes, _NODES - 1)
        self.last = (basis * self.weights[:, None] * (np.arange(_NODES) + 0.5)).T[-2:]

    def rough(self, edges: list[Edge], known: Known) -> list[Edge]:
        """Panels that do not resolve what is left of the function, its known part taken off."""
        for start, end in edges:
            self.begin(start, end)
        leaves = [leaf for edge in edges for leaf in self.leaves(*edge)]
        self.compute([leaf for leaf in leaves if leaf not in self.panels])
        return [leaf for leaf in leaves if self.roughness(leaf, known) > _RESOLVED]

    def halve(self, panels: list[Edge], known: Known, shortest: float) -> None:
        """Cut those that are still rough, and are not too short."""
        for a, b in panels:
            if self.roughness((a, b), known) > _RESOLVED and abs(b - a) >= shortest:
                self.cut.add((a, b))

    def turns(self, place: Rectangle, known: Known) -> float:
        """The integral around a rectangle of what is left, over 2 π i: a number of poles."""
        total = 0j
        for start, end in place.edges:
            for leaf in self.leaves(start, end):
                panel = self.panels[leaf]
                part = panel.half * (self.weights @ (panel.slope - known(panel.z)))
                total += part if _ahead(start, end) else -part
        if place.bottom == 0:  # the mirror image's part is minus the conjugate
            return float(total.imag / np.pi)
        return float((total / (2j * np.pi)).real)

    def leaves(self, start: complex, end: complex) -> list[Edge]:
        """The panels of an edge, each from its lower left end."""
        key = (start, end) if _ahead(start, end) else (end, start)
        if key not in self.cut:
            return [key]
        middle = (key[0] + key[1]) / 2
        return self.leaves(key[0], middle) + self.leaves(middle, key[1])

    def begin(self, start: complex, end: complex) -> None:
        """Cut an edge that is much longer than the functions' scale."""
        for a, b in self.leaves(start, end):
            if abs(b - a) > _LONGEST * self.scale and (a, b) not in self.panels:
                if len(self.cut) > _CUTS:
                    return
                self.cut.add((a, b))
                self.begin(a, (a + b) / 2)
                self.begin((a + b) / 2, b)

    def compute(self, keys: list[Edge]) -> None:
        """Panels that are not there yet."""
        if not keys:
            return
        keys = list(dict.fromkeys(keys))
        halves = [(b - a) / 2 for a, b in keys]
        nodes = [(a + b) / 2 + h * self.nodes for (a, b), h in zip(keys, halves, strict=True)]
        slopes = self.slopes(np.concatenate(nodes)).reshape(len(keys), -1)
        for key, half, z, slope in zip(keys, halves, nodes, slopes, strict=True):
            self.panels[key] = _Panel(half, z, slope)

    def roughness(self, key: Edge, known: Known) -> float:
        """How large the last coefficients of what is left of the slope are, as parts of a turn."""
        panel = self.panels[key]
        left = panel.slope - known(panel.z)
        size = float((np.abs(self.last @ left) * abs(panel.half)).max())
        return size if np.isfinite(size) else np.inf


def _ahead(start: complex, end: complex) -> bool:
    return (start.real, start.imag) <= (end.real, end.imag)
