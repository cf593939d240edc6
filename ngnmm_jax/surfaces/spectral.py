"""Local connections as functions of the Laplace-Beltrami operator, whose eigenvalues are known."""

import abc
import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import with_fields
from ngnmm_jax.connectome import Eigenmodes
from ngnmm_jax.graphs import AbstractGraph, SparseGraph, SpectralBounds
from ngnmm_jax.graphs.base import by_region
from ngnmm_jax.surfaces.kernels import AbstractKernel
from ngnmm_jax.surfaces.laplace import laplace_beltrami
from ngnmm_jax.surfaces.modes import harmonics
from ngnmm_jax.surfaces.surface import Surface

#: Polynomials that are tried, by degree; points of the interval where they are compared, and
#: where their range is taken from: for each degree.
_DEGREES = tuple(2**k for k in range(4, 12))
_POINTS, _MANY = 4, 256


class AbstractSpectralKernel(AbstractKernel):
    """A function f of the operator -∇²: its harmonics keep f(λ)/f(0) of their amplitude.

    No cut-off and no distances: on any surface the eigenvalues are f(λ)/f(0), and a harmonic of
    eigenvalue λ keeps its shape. One of your own says `transfer`, f of λ in 1/mm².
    """

    #: How far the polynomial may be from f/f(0), anywhere.
    tolerance: float

    @abc.abstractmethod
    def transfer(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """What is left of harmonics of eigenvalues λ (1/mm²)."""

    def graph(self, surface: Surface) -> "LaplaceBeltramiGraph":
        """The connections as a graph, rows of which sum to one."""
        return LaplaceBeltramiGraph(surface, self)


@dataclasses.dataclass(frozen=True, repr=False)
class HeatKernel(AbstractSpectralKernel):
    """exp(-λ σ²/2): in the plane the Gaussian of standard deviation `sigma` (mm).

    Where many angles of the mesh are wide, some of its weights are slightly negative.

    **Arguments:**

    - `sigma`: σ, mm.
    - `tolerance`: how far eigenvalues may be off, of the largest, which is one.
    """

    sigma: float
    tolerance: float = 1e-10

    def __post_init__(self) -> None:
        _checks.positive("sigma", self.sigma)
        _checks.positive("tolerance", self.tolerance)

    def transfer(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """exp(-λ σ²/2)."""
        return np.exp(-0.5 * self.sigma**2 * values)


@dataclasses.dataclass(frozen=True, repr=False)
class DampedWaveKernel(AbstractSpectralKernel):
    """1/(1 + λ r²): what a damped wave equation with range r does to what is slow.

    In the plane K₀(d/r)/(2π r²), which decays as exp(-d/r). (1 - r² ∇²) φ = u at rest: Robinson,
    Rennie and Wright, Phys. Rev. E 56, 826 (1997).

    **Arguments:**

    - `range`: r, mm.
    - `tolerance`: how far eigenvalues may be off, of the largest, which is one.
    """

    range: float
    tolerance: float = 1e-8

    def __post_init__(self) -> None:
        _checks.positive("range", self.range)
        _checks.positive("tolerance", self.tolerance)

    def transfer(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """1/(1 + λ r²)."""
        return 1 / (1 + self.range**2 * values)


class LaplaceBeltramiGraph(AbstractGraph):
    """A function of a surface's Laplace-Beltrami operator, by Chebyshev's polynomials.

    `apply` takes a sparse product with the operator a degree, of 7 entries a row: what a kernel
    with 7 times `degree` neighbours takes, with less memory. Eigenvalues are the polynomial at
    those of the operator (`harmonics`), within the kernel's `tolerance` of f(λ)/f(0); rows sum to
    one; areas times weights are symmetric.

    **Arguments:**

    - `surface`: a `Surface`.
    - `kernel`: f, an `AbstractSpectralKernel`.

    `ValueError` where no polynomial of degree 2048 comes as close as the kernel's `tolerance`.
    """

    operator: SparseGraph
    #: Of Chebyshev's polynomials (degree + 1,), on [0, `top`].
    coefficients: Float[Array, "order"]
    #: A bound above all eigenvalues of the operator, 1/mm².
    top: float = eqx.field(static=True)
    areas: Float[Array, "vertex"]
    surface: Surface | None = eqx.field(static=True, metadata={"decides": False})

    def __init__(self, surface: Surface, kernel: AbstractSpectralKernel) -> None:
        _checks.an_object("kernel", kernel)
        operator = laplace_beltrami(surface)
        self.top = float(abs(operator).sum(axis=1).max())  # Gershgorin
        self.coefficients = as_array(_fitted(kernel, self.top))
        self.operator = SparseGraph(operator)
        self.areas = as_array(surface.vertex_areas)
        self.surface = surface

    def card(self) -> tuple[str, dict[str, Any]]:
        """Its size, and the polynomial's degree."""
        head = f"{type(self).__name__}: {self.n_regions} vertices"
        return head, {"degree": str(self.degree), "surface": repr(self.surface)}

    @property
    def n_regions(self) -> int:
        """The number of vertices."""
        return self.operator.n_regions

    @property
    def degree(self) -> int:
        """Of the polynomial: sparse products in `apply`."""
        return len(self.coefficients) - 1

    def apply(self, values: Float[Array, "region *run"]) -> Float[Array, "region *run"]:
        """What each vertex gets: Σ_n c_n T_n(2 L/top - 1) of the values."""

        def mapped(x: Any) -> Any:
            return (2 / self.top) * self.operator.apply(x) - x

        def step(carried: Any, c: Any) -> Any:
            before, now, total = carried
            after = 2 * mapped(now) - before
            return (now, after, total + c * after), None

        first = mapped(values)
        start = (values, first, self.coefficients[0] * values + self.coefficients[1] * first)
        (_, _, total), _ = jax.lax.scan(step, start, self.coefficients[2:])
        return total

    def apply_transposed(self, values: Float[Array, "region *run"]) -> Float[Array, "region *run"]:
        """The same between areas and what is divided by them."""
        return by_region(self.areas, self.apply(by_region(1 / self.areas, values)))

    def row_sums(self, dtype: Any = None) -> Float[Array, "region"]:
        """Ones."""
        return jnp.ones(self.n_regions, dtype)

    def even(self) -> bool:
        """All rows sum to one."""
        return True

    def symmetriser(self) -> np.ndarray | None:
        """The vertices' areas."""
        return np.asarray(self.areas)

    def components(self) -> np.ndarray:
        """For each vertex the number of the piece that it is in."""
        return self.operator.components()

    def bare(self) -> "LaplaceBeltramiGraph":
        """The same without the surface, which no program depends on."""
        return self if self.surface is None else with_fields(self, surface=None)

    def gains(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The graph's eigenvalues (mode,) of harmonics of eigenvalues λ (mode,), 1/mm²."""
        at = 2 * np.asarray(values) / self.top - 1
        return np.polynomial.chebyshev.chebval(at, np.asarray(self.coefficients))

    def bounds(self) -> SpectralBounds:
        """The interval between the polynomial's least and largest value.

        From m points a degree, between which a polynomial exceeds its largest size there by a
        factor of 1/cos(π/2m) at most (Ehlich and Zeller, Math. Z. 86, 41 (1964)): 2e-5 too wide.
        """
        fine = self.gains(_points(self.top, self.degree, _MANY))
        middle, half = (fine.max() + fine.min()) / 2, np.ptp(fine) / 2
        ends = middle + half / np.cos(np.pi / (2 * _MANY)) * np.array([-1.0, 1.0])
        return SpectralBounds(ends, "a function of the Laplace-Beltrami operator")

    def leading(self, k: int, which: str = "LR") -> Eigenmodes:
        """The first `k` eigenmodes; of "LR" by `harmonics`, where the function falls with λ."""
        fine = self.gains(_points(self.top, self.degree))
        falls = bool((np.diff(fine) <= 10 * np.abs(np.diff(fine)).max() * 1e-8).all())
        if which != "LR" or not falls or self.surface is None:
            return super().leading(k, which)
        modes = harmonics(self.surface, k)
        values = self.gains(modes.values)
        vectors = modes.vectors / np.linalg.norm(modes.vectors, axis=0)
        left = vectors * modes.weights[:, None]
        conditions = np.linalg.norm(left, axis=0) / np.abs((left * vectors).sum(axis=0))
        slope = float(np.abs(np.diff(fine) / np.diff(_points(self.top, self.degree))).max())
        errors = conditions * (modes.residual * modes.values[-1] * slope + np.finfo(float).eps)
        pieces = max(len(self.surface.sides), 1)
        residual = float(errors.max())
        return Eigenmodes(values, vectors, residual, 0 if pieces == 1 else None, conditions, errors)


def _points(top: float, degree: int, each: int = _POINTS) -> NDArray[np.float64]:
    """Points (point,) of [0, top], several between a polynomial's extremes, from below."""
    count = each * max(degree, 1)
    return top * (1 - np.cos(np.pi * np.arange(count + 1) / count)) / 2


def _fitted(kernel: AbstractSpectralKernel, top: float) -> NDArray[np.float64]:
    """Coefficients of the polynomial nearest to f/f(0) on [0, top], 1 at 0."""
    from numpy.polynomial.chebyshev import chebinterpolate, chebval

    def wanted(at: Any) -> Any:
        found = kernel.transfer((np.asarray(at) + 1) * top / 2) / kernel.transfer(np.zeros(1))
        _checks.finite("transfer", found)
        return found

    for degree in _DEGREES:
        found = chebinterpolate(wanted, degree)
        sizes = np.abs(found[::-1]).cumsum()[::-1]  # what is left out from here on
        kept = max(int((sizes > kernel.tolerance / 10).sum()), 2)
        found = found[:kept]
        found = found / chebval(-1.0, found)
        at = 2 * _points(top, degree) / top - 1
        off = float(np.abs(chebval(at, found) - wanted(at)).max())
        if off <= kernel.tolerance:
            return found
    raise ValueError(
        f"{kernel} is off by {off:.1g} with polynomials of degree {degree} on this mesh, whose "
        f"operator reaches {top:.3g}/mm²: allow a larger `tolerance`, or take a coarser mesh."
    )
