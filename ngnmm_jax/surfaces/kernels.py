"""Local connections as kernels of the distance along a surface."""

import abc
import dataclasses
import itertools
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.cards import Shown
from ngnmm_jax.surfaces.geodesic import AbstractDistance, GeodesicPaths
from ngnmm_jax.surfaces.surface import Surface

#: What of a kernel lies beyond its cut-off, where none is chosen.
_LOST = 0.01
#: Pairs of vertices that are looked at together.
_BLOCK = 1 << 20
#: Pairs of vertices, of 12 bytes each, above which a kernel is taken for a mistake.
_MOST = 3e8


class AbstractKernel(Shown, abc.ABC):
    """How strongly vertices are connected with those around them."""

    @abc.abstractmethod
    def graph(self, surface: Surface) -> Any:
        """The connections as a graph whose rows sum to one."""


class AbstractRadialKernel(AbstractKernel):
    """A function of the distance d along the surface, weighted by area, up to a cut-off.

    Vertex j gets Σ_k w_jk u_k, w_jk = f(d_jk) a_k / Σ_l f(d_jl) a_l, a the vertices' areas: the
    mean of u around j, itself included, weighted by f. Dividing by the sum makes up for what lies
    beyond the cut-off or the rim, and for what a coarse mesh or a bent surface gets wrong; `mass`
    is what it was (on conte69 with `Gaussian(2.5)` 0.89 to 1.01 of 98 vertices in 100, with
    `Gaussian(5.0)` 0.87 to 1.06: its folds bend as narrowly). a_j Σ_l f(d_jl) a_l makes the
    weights symmetric, so their eigenvalues are real.

    One of your own has the fields `cutoff` and `distance`, and says `profile`, `beyond`, `width`.
    """

    #: Up to which distance vertices are connected, mm; None: where 1 % of the plane's mass is left.
    cutoff: float | None
    #: How far apart vertices are.
    distance: AbstractDistance

    @abc.abstractmethod
    def profile(self, distance: NDArray[np.float64]) -> NDArray[np.float64]:
        """The density f (1/mm²) at a distance in mm, its integral over the plane one."""

    @abc.abstractmethod
    def beyond(self, distance: float) -> float:
        """The part of the integral over the plane that lies beyond a distance in mm."""

    @abc.abstractmethod
    def width(self) -> float:
        """The length in mm that the mesh has to resolve."""

    @property
    def limit(self) -> float:
        """The cut-off in mm: the one given, or where 1 % of the plane's mass is left."""
        if self.cutoff is not None:
            return float(self.cutoff)
        from scipy.optimize import brentq

        width = self.width()
        return float(brentq(lambda d: self.beyond(d) - _LOST, 1e-3 * width, 1e3 * width))

    def densities(self, surface: Surface) -> Any:
        """f(d_jk), 1/mm²: a SciPy sparse array (vertex, vertex), symmetric, own values included."""
        self._resolved(surface)
        found = self.distance.within(surface, self.limit)
        for begin in range(0, found.nnz, _BLOCK):  # little memory beside what is found
            block = slice(begin, begin + _BLOCK)
            found.data[block] = self.profile(found.data[block])
        _checks.finite("profile", found.data)
        return found

    def weights(self, surface: Surface) -> Any:
        """Rows that sum to one: a SciPy sparse array (vertex, vertex)."""
        found = self.densities(surface)
        mass = self._sums(surface, found)
        for row, (begin, end) in enumerate(itertools.pairwise(found.indptr)):
            found.data[begin:end] *= surface.vertex_areas[found.indices[begin:end]] / mass[row]
        return found

    def mass(self, surface: Surface) -> NDArray[np.float64]:
        """Σ_k f(d_jk) a_k of each vertex (vertex,), before rows are divided by it.

        On a fine flat mesh 1, less `beyond(limit)`. Less near a rim; more or less where the
        surface is bent, the mesh coarse, or distances too long.
        """
        return self._sums(surface, self.densities(surface))

    def graph(self, surface: Surface) -> Any:
        """A `graphs.SparseGraph` of `weights`."""
        from ngnmm_jax.graphs import SparseGraph

        return SparseGraph(self.weights(surface))

    def _sums(self, surface: Surface, densities: Any) -> NDArray[np.float64]:
        """Σ_k f(d_jk) a_k, all of them positive."""
        mass = np.asarray(densities @ surface.vertex_areas)
        if not (mass > 0).all():
            but = f"that of vertex {int(np.argmin(mass))} sums to {mass.min():.3g}"
            _checks.fail("profile", "have a positive sum around each vertex", but)
        return mass

    def _resolved(self, surface: Surface) -> None:
        """Refuse what reaches no neighbour, and warn of what the mesh is too coarse for."""
        nearest = np.full(surface.n_vertices, np.inf)
        for end in surface.edges.T:
            np.minimum.at(nearest, end, surface.edge_lengths)
        alone = int(nearest.argmax())
        if self.limit < nearest[alone]:
            must = (
                f"reach the neighbours of each vertex, which are up to {nearest[alone]:.3g} mm away"
            )
            _checks.fail("cutoff", f"{must} (vertex {alone})", f"it is {self.limit:.3g} mm")
        reached = min(np.pi * self.limit**2 / surface.area, 1.0) * surface.n_vertices
        if reached * surface.n_vertices > _MOST:
            wide = float(np.ptp(surface.vertices, axis=0).max())
            must = "reach fewer vertices: a shorter cut-off, a coarser mesh, or a `HeatKernel`"
            but = (
                f"{self.limit:.3g} mm are about {reached:.0f} vertices around each, "
                f"{12e-9 * reached * surface.n_vertices:.3g} GB (the surface is {wide:.3g} mm wide)"
            )
            _checks.fail("cutoff", must, but)
        mean = float(surface.edge_lengths.mean())
        if self.width() < mean:
            warnings.warn(
                f"The kernel's width of {self.width():.3g} mm is below the edges' mean length of "
                f"{mean:.3g} mm: the mesh is too coarse for it, and what it does is the mesh's.",
                UserWarning,
                stacklevel=3,
            )


def _checked(**lengths: float | None) -> None:
    for name, value in lengths.items():
        if value is not None:
            _checks.positive(name, value)
            if np.ndim(value):
                _checks.fail(name, "be one number, in mm", f"its shape is {np.shape(value)}")


@dataclasses.dataclass(frozen=True, repr=False)
class Gaussian(AbstractRadialKernel):
    """exp(-d²/2σ²) / (2π σ²) of the distance d.

    **Arguments:**

    - `sigma`: σ, mm. In the plane waves of number q keep exp(-q² σ²/2) of their amplitude.
    - `cutoff`: mm; by default 3.03 σ, beyond which 1 % of its mass in the plane would be:
      exp(-cutoff²/2σ²).
    - `distance`: `GeodesicPaths()` or `GreatCircles()`.
    """

    sigma: float
    cutoff: float | None = None
    distance: AbstractDistance = dataclasses.field(default_factory=GeodesicPaths)

    def __post_init__(self) -> None:
        _checked(sigma=self.sigma, cutoff=self.cutoff)

    def profile(self, distance: NDArray[np.float64]) -> NDArray[np.float64]:
        """1/mm²."""
        return np.exp(-0.5 * (distance / self.sigma) ** 2) / (2 * np.pi * self.sigma**2)

    def beyond(self, distance: float) -> float:
        """The part that lies beyond a distance."""
        return float(np.exp(-0.5 * (distance / self.sigma) ** 2))

    def width(self) -> float:
        """σ."""
        return float(self.sigma)


@dataclasses.dataclass(frozen=True, repr=False)
class Exponential(AbstractRadialKernel):
    """exp(-d/L) / (2π L²) of the distance d.

    **Arguments:**

    - `length`: L, mm. In the plane waves of number q keep (1 + q² L²)^(-3/2) of their amplitude.
    - `cutoff`: mm; by default 6.64 L, beyond which 1 % of its mass in the plane would be:
      (1 + cutoff/L) exp(-cutoff/L).
    - `distance`: `GeodesicPaths()` or `GreatCircles()`.
    """

    length: float
    cutoff: float | None = None
    distance: AbstractDistance = dataclasses.field(default_factory=GeodesicPaths)

    def __post_init__(self) -> None:
        _checked(length=self.length, cutoff=self.cutoff)

    def profile(self, distance: NDArray[np.float64]) -> NDArray[np.float64]:
        """1/mm²."""
        return np.exp(-distance / self.length) / (2 * np.pi * self.length**2)

    def beyond(self, distance: float) -> float:
        """The part that lies beyond a distance."""
        return float((1 + distance / self.length) * np.exp(-distance / self.length))

    def width(self) -> float:
        """L."""
        return float(self.length)
