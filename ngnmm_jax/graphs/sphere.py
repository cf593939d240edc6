"""A sphere on which all directions are alike."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import with_fields
from ngnmm_jax.connectome import Eigenmodes
from ngnmm_jax.graphs import spectra
from ngnmm_jax.graphs.base import AbstractGraph
from ngnmm_jax.models.parameters import as_float_array


class SphereGraph(AbstractGraph):
    """Regions on a sphere that receive by the same kernel of the angle between them.

    On a grid of L + 1 latitudes (nodes of Gauss and Legendre) and 2L + 1 longitudes, on which
    integrals of products of spherical harmonics to degree L are exact. What a region receives is
    the integral of the kernel times the values over the sphere, whose degrees up to L it keeps. So
    the eigenvalue of all 2l + 1 harmonics of degree l is `gains[l]`, exactly (Funk and Hecke); what
    the grid has beside these harmonics is not connected: its eigenvalue is zero.

    **Arguments:**

    - `gains` (degree,): the eigenvalue of each degree from 0 to L.
    """

    ADDS: ClassVar[str | None] = "gains"

    gains: Float[Array, "degree"]
    #: Normalised Legendre functions (order, degree, latitude), zero where the order is larger.
    legendre: Float[Array, "order degree latitude"]

    def __init__(self, gains: Any) -> None:
        if _checks.is_concrete(gains):
            _checks.numbers("gains", gains)
        self.gains = as_float_array(gains)
        if self.gains.ndim != 1 or not self.gains.size:
            must = "be one eigenvalue for each degree, (degree,)"
            _checks.fail("gains", must, f"its shape is {self.gains.shape}")
        _checks.finite("gains", self.gains)
        self.legendre = as_array(_legendre(self.gains.size), self.gains.dtype)

    @classmethod
    def of_kernel(cls, kernel: Callable[[np.ndarray], np.ndarray], degrees: int) -> "SphereGraph":
        """By a kernel, to some degree: its gains are 2π ∫ kernel(arccos t) P_l(t) dt (Funk, Hecke).

        **Arguments:**

        - `kernel`: a function of arrays of angles, from 0 to π; NumPy's. Smooth, or the gains,
          by 4 L + 64 nodes of Gauss and Legendre, are not exact.
        - `degrees`: L, the largest degree that is kept.
        """
        _checks.positive_integer("degrees", degrees)
        nodes, weights = np.polynomial.legendre.leggauss(4 * degrees + 64)
        values = np.asarray(kernel(np.arccos(nodes)), float)
        _checks.shape("kernel", values, nodes.shape, "(angle,)")
        polynomials = np.polynomial.legendre.legvander(nodes, degrees)
        return cls(2 * np.pi * (weights * values) @ polynomials)

    def card(self) -> tuple[str, dict[str, Any]]:
        """Its size, and the gains."""
        head = f"{type(self).__name__}: {self.n_regions} regions"
        return head, {
            "grid": "{} latitudes × {} longitudes".format(*self.shape),
            "gains": self.gains,
        }

    @property
    def shape(self) -> tuple[int, int]:
        """Of the grid: latitudes from south to north, longitudes."""
        count = int(self.gains.shape[0])
        return count, 2 * count - 1

    def fits(self, other: Any) -> bool:
        """Whether it is on the same grid."""
        return other.shape == self.shape

    @property
    def n_regions(self) -> int:
        """The number of regions."""
        return int(np.prod(self.shape))

    @property
    def exact(self) -> bool:
        """All eigenvalues are known."""
        return True

    @property
    def points(self) -> np.ndarray:
        """Where regions are on the unit sphere, (region, 3)."""
        heights, _ = _latitudes(self.shape[0])
        angles = 2 * np.pi * np.arange(self.shape[1]) / self.shape[1]
        rings = np.sqrt(1 - heights**2)[:, None]
        x, y = rings * np.cos(angles), rings * np.sin(angles)
        z = np.broadcast_to(heights[:, None], x.shape)
        return np.stack([x, y, z], axis=-1).reshape(-1, 3)

    @property
    def areas(self) -> np.ndarray:
        """What each region's part of the sphere counts in integrals, (region,); in all 4π."""
        _, weights = _latitudes(self.shape[0])
        return np.repeat(weights * 2 * np.pi / self.shape[1], self.shape[1])

    def apply(self, values: Num[Array, "region *run"]) -> Num[Array, "region *run"]:
        """By way of the harmonics."""
        values = as_array(values)
        if jnp.iscomplexobj(values):
            return self.apply(values.real) + 1j * self.apply(values.imag)
        return self._mixed(values, 1.0, _latitudes(self.shape[0])[1])

    def apply_transposed(self, values: Num[Array, "region *run"]) -> Num[Array, "region *run"]:
        """With areas after, not before."""
        values = as_array(values)
        if jnp.iscomplexobj(values):
            return self.apply_transposed(values.real) + 1j * self.apply_transposed(values.imag)
        return self._mixed(values, _latitudes(self.shape[0])[1], 1.0)

    def _mixed(self, values: jax.Array, after: Any, before: Any) -> jax.Array:
        rows, columns = self.shape
        kind = jnp.result_type(self.gains, values)
        grid = values.reshape(rows, columns, -1)
        waves = jnp.fft.rfft(grid, axis=1)  # (latitude, order, run)
        waves = jnp.moveaxis(waves, 0, 1) * jnp.reshape(before, (1, -1, 1))
        legendre = jax.lax.stop_gradient(self.legendre)
        parts = jnp.stack([waves.real, waves.imag], axis=-1)
        parts = parts.reshape(*waves.shape[:2], -1).astype(kind)
        harmonics = jnp.einsum("mlj,mjr->mlr", legendre, parts, precision="highest")
        harmonics = harmonics * self.gains[:, None]
        found = jnp.einsum("mlj,mlr->mjr", legendre, harmonics, precision="highest")
        found = found.reshape(*waves.shape, 2) * jnp.reshape(after, (1, -1, 1, 1))
        waves = jnp.moveaxis(found[..., 0] + 1j * found[..., 1], 1, 0)
        grid = jnp.fft.irfft(waves, n=columns, axis=1)
        return grid.reshape(values.shape).astype(kind)

    def row_sums(self, dtype: Any = None) -> Float[Array, "region"]:
        """The gain of degree zero."""
        return jnp.full(self.n_regions, self.gains[0], dtype)

    def even(self) -> bool:
        """All rows sum to the same."""
        return True

    def row_sizes(self) -> Float[Array, "region"]:
        """A bound: the root of Σ (2l + 1) gains² (Cauchy and Schwarz)."""
        counts = 2 * np.arange(self.shape[0]) + 1
        return jnp.full(self.n_regions, jnp.sqrt((counts * self.gains**2).sum()))

    def normalised(self) -> "SphereGraph":
        """The same whose rows sum to one."""
        self._positive_sums()
        return with_fields(self, gains=self.gains / self.gains[0])

    def spectrum(self) -> tuple[Any, int | None]:
        """Eigenvalues (mode,), sorted, and the index of the uniform mode, of degree zero.

        Where JAX traces the gains the uniform mode comes first, before all others.
        """
        if not _checks.is_concrete(self.gains):
            degree, _ = self._modes()
            rest = jnp.where(degree[1:] >= 0, self.gains[degree[1:]], 0.0)
            return jnp.concatenate([self.gains[:1], jnp.sort(rest)[::-1]]), 0
        values, order = self._sorted()
        return values[order], int(np.flatnonzero(order == 0)[0])

    def _modes(self) -> tuple[np.ndarray, np.ndarray]:
        """Degree and order of each mode; degree -1 of what is not connected."""
        degrees = np.arange(self.shape[0])
        degree = np.repeat(degrees, 2 * degrees + 1)
        order = np.concatenate([np.arange(-d, d + 1) for d in degrees])
        rest = self.n_regions - len(degree)
        return np.append(degree, np.full(rest, -1)), np.append(order, np.zeros(rest, int))

    def _sorted(self) -> tuple[np.ndarray, np.ndarray]:
        degree, _ = self._modes()
        gains = np.asarray(self.gains, float)
        values = np.where(degree >= 0, gains[degree], 0.0)
        return values, np.argsort(-values, kind="stable")

    def symmetriser(self) -> np.ndarray:
        """The areas."""
        return self.areas

    def harmonic(self, degree: int, order: int) -> np.ndarray:
        """A real spherical harmonic on the grid, (region,), of mean square 1 / 4π.

        `order` from -degree to degree: cosines of longitude above zero, sines below.
        """
        if not 0 <= degree < self.shape[0] or abs(order) > degree:
            must = f"be from 0 to {self.shape[0] - 1}, and the order not larger"
            _checks.fail("degree", must, f"they are {degree} and {order}")
        angles = 2 * np.pi * np.arange(self.shape[1]) / self.shape[1]
        around = np.cos(order * angles) if order >= 0 else np.sin(-order * angles)
        size = np.sqrt(1 / (2 * np.pi)) if order == 0 else np.sqrt(1 / np.pi)
        along = np.asarray(self.legendre[abs(order), degree], float)
        return (size * along[:, None] * around).ravel()

    def leading(self, k: int, which: str = "LR") -> Eigenmodes:
        """The first `k` eigenmodes, exactly: spherical harmonics.

        `ValueError` where modes that are not connected are among them: they are many, and any.
        """
        values, order = self._sorted()
        degree, number = self._modes()
        kept = order[spectra.first_of(values[order], k, which)]
        if (degree[kept] < 0).any():
            must = f"be at most {int((degree[kept] >= 0).sum())}: further ones are not connected"
            _checks.fail("k", must, f"it is {k}")
        vectors = np.stack([self.harmonic(int(degree[m]), int(number[m])) for m in kept], axis=1)
        largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
        vectors = vectors * np.sign(largest) / np.linalg.norm(vectors, axis=0)
        areas = self.areas[:, None]
        conditions = np.linalg.norm(areas * vectors, axis=0) / (areas * vectors**2).sum(axis=0)
        eps, uniform = float(np.finfo(float).eps), np.flatnonzero(kept == 0)
        size = float(np.abs(values).max())
        first = int(uniform[0]) if uniform.size else None
        errors = 4 * eps * size * conditions
        return Eigenmodes(values[kept], vectors, eps, first, conditions, errors)


def _latitudes(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Heights (latitude,) from -1 to 1 and weights, which sum to two."""
    return np.polynomial.legendre.leggauss(count)


def _legendre(count: int) -> np.ndarray:
    """Legendre functions (order, degree, latitude), whose squares integrate to one over [-1, 1].

    By the recurrence in the degree, which is stable (Holmes and Featherstone, J. Geodesy 76, 279
    (2002)); good to degree 1000 and more in 64 bits.
    """
    x, _ = _latitudes(count)
    found = np.zeros((count, count, count))
    found[0, 0] = np.sqrt(0.5)
    orders = np.arange(count)[:, None]
    for degree in range(1, count):
        before, m = found[:, degree - 1], orders[:degree]
        a = np.sqrt((4 * degree**2 - 1) / (degree**2 - m**2))
        found[:degree, degree] = a * x * before[:degree]
        if degree > 1:
            m, a = m[:-1], a[:-1]
            b = np.sqrt(((degree - 1) ** 2 - m**2) / (4 * (degree - 1) ** 2 - 1))
            found[: degree - 1, degree] -= a * b * found[: degree - 1, degree - 2]
        ratio = np.sqrt((2 * degree + 1) / (2 * degree) * (1 - x**2))
        found[degree, degree] = ratio * before[degree - 1]
    return found
