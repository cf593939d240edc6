"""Graphs on which all places are alike: rings, tori and lattices, by the Fourier transform."""

import abc
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

# A kernel counts as the same in both directions to this fraction of its largest weight.
_SYMMETRIC = 1e-14


class AbstractConvolution(AbstractGraph):
    """Regions on a grid, each of which receives by the same kernel of the distance to others.

    All eigenvalues are known: they are the kernel's Fourier transform.
    """

    ADDS: ClassVar[str | None] = "kernel"

    kernel: Float[Array, "..."]

    def __init__(self, kernel: Any) -> None:
        if _checks.is_concrete(kernel):
            _checks.numbers("kernel", kernel)
        self.kernel = as_float_array(kernel)

    def __check_init__(self) -> None:
        if self.kernel.ndim not in (1, 2, 3) or not self.kernel.size:
            must = "be weights (place,), (place, place) or of three axes"
            _checks.fail("kernel", must, f"its shape is {self.kernel.shape}")
        _checks.finite("kernel", self.kernel)

    def fits(self, other: Any) -> bool:
        """Whether it is on the same grid."""
        return other.shape == self.shape

    @property
    def shape(self) -> tuple[int, ...]:
        """The grid's; regions stand in the order of its rows."""
        return tuple(self.kernel.shape)

    @property
    def n_regions(self) -> int:
        """The number of regions."""
        return int(np.prod(self.shape))

    @property
    def exact(self) -> bool:
        """All eigenvalues are known."""
        return True

    @abc.abstractmethod
    def gains(self, xp: Any = np) -> Any:
        """The eigenvalue of the Fourier mode of each wave number, an array as the grid's."""

    @abc.abstractmethod
    def waves(self, modes: np.ndarray) -> np.ndarray:
        """Fourier modes (region, mode) of indices (mode,) of `gains`, of norm one."""

    def row_sums(self, dtype: Any = None) -> Float[Array, "region"]:
        """The same for all."""
        return jnp.full(self.n_regions, self._sum(), dtype)

    def row_sizes(self) -> Float[Array, "region"]:
        """The kernel's absolute weights, summed; the same for all."""
        return with_fields(self, kernel=jnp.abs(self.kernel)).row_sums()

    def _sum(self) -> Any:
        return self._around(jnp).sum()

    @abc.abstractmethod
    def _around(self, xp: Any) -> Any:
        """The kernel on a ring."""

    def even(self) -> bool:
        """All rows sum to the same."""
        return True

    def normalised(self) -> "AbstractConvolution":
        """The same whose rows sum to one."""
        self._positive_sums()
        return with_fields(self, kernel=self.kernel / self._sum())

    def spectrum(self) -> tuple[Any, int | None]:
        """Eigenvalues (mode,), sorted, and the index of the uniform mode, of wave number zero.

        Where JAX traces the kernel the uniform mode comes first, before all others.
        """
        if not _checks.is_concrete(self):
            traced: Any = jnp.ravel(self.gains(jnp))
            rest = traced[1:]
            falling = jnp.lexsort((-rest.imag, -rest.real))
            return jnp.concatenate([traced[:1], rest[falling]]), 0
        values, order = self._sorted()
        return values[order], int(np.flatnonzero(order == 0)[0])

    def _sorted(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues by wave number, and their order."""
        values = np.ravel(self.gains())
        if np.iscomplexobj(values) and np.abs(values.imag).max() <= _SYMMETRIC * self._size():
            values = values.real
        return values, np.lexsort((-values.imag, -values.real))

    def _size(self) -> float:
        return max(float(np.abs(np.asarray(self.kernel, float)).sum()), np.finfo(float).tiny)

    def eigenvectors(self) -> np.ndarray:
        """Of the matrix (region, mode), of norm one, in the order of `spectrum`."""
        self._few_enough("eigenvectors", "`leading` gives those of the first modes")
        return self.waves(self._sorted()[1])

    def symmetriser(self) -> np.ndarray | None:
        """Ones where the kernel is the same in both directions, else None."""
        if not _checks.is_concrete(self):
            return None
        real = not np.iscomplexobj(self._sorted()[0])
        return np.ones(self.n_regions) if real else None

    def leading(self, k: int, which: str = "LR") -> Eigenmodes:
        """The first `k` eigenmodes, exactly, as of `spectra.leading_of`."""
        values, order = self._sorted()
        kept = order[spectra.first_of(values[order], k, which)]
        found, eps = values[kept], float(np.finfo(float).eps)
        uniform = np.flatnonzero(kept == 0)
        return Eigenmodes(
            found,
            self.waves(kept),
            eps,
            int(uniform[0]) if uniform.size else None,
            np.ones(len(kept)),
            np.full(len(kept), 4 * eps * self._size()),
        )


class CirculantGraph(AbstractConvolution):
    """A ring (n,), or a torus (n, m), of regions that all receive by the same kernel.

    Region j gets Σ_d kernel_d values_(j-d), indices taken round: entry d of the kernel is the
    weight of what comes from d places before; entries from the end are those of places after. By
    the fast Fourier transform. Eigenvalues are the kernel's Fourier transform, exactly; the modes
    are waves (where the kernel is the same in both directions, cosines and sines).

    **Arguments:**

    - `kernel` (place,), (place, place) or of three axes: of any sign. Regions stand in the order
      of its rows.
    """

    def _around(self, xp: Any) -> Any:
        return np.asarray(self.kernel, float) if xp is np else self.kernel

    def gains(self, xp: Any = np) -> Any:
        """The kernel's Fourier transform."""
        return xp.fft.fftn(self._around(xp))

    def apply(self, values: Num[Array, "region *run"]) -> Num[Array, "region *run"]:
        """The kernel's convolution with values."""
        return _convolved(self.kernel, self.shape, as_array(values))

    def transposed(self) -> "CirculantGraph":
        """The same of the kernel the other way round."""
        axes = tuple(range(self.kernel.ndim))
        return with_fields(self, kernel=jnp.roll(jnp.flip(self.kernel), 1, axes))

    def apply_transposed(self, values: Num[Array, "region *run"]) -> Num[Array, "region *run"]:
        """By the kernel the other way round."""
        return self.transposed().apply(values)

    def waves(self, modes: np.ndarray) -> np.ndarray:
        """exp(2πi q·x); cosines and sines where the spectrum is real."""
        numbers = np.array(np.unravel_index(modes, self.shape))
        places = np.array(np.unravel_index(np.arange(self.n_regions), self.shape))
        lengths = np.array(self.shape)[:, None]
        turns = ((numbers / lengths).T @ places) % 1.0  # (mode, region)
        phases = 2 * np.pi * turns.T
        if self.symmetriser() is None:
            return np.exp(1j * phases) / np.sqrt(self.n_regions)
        other = np.ravel_multi_index(tuple(-numbers % lengths), self.shape)
        # Of a wave number and its opposite, one is the cosine and the other the sine.
        found = np.where(modes <= other, np.cos(phases), np.sin(phases))
        return found / np.linalg.norm(found, axis=0)


class LatticeGraph(AbstractConvolution):
    """A line (n,) or lattice (n, m) with open ends, at which what would leave is reflected.

    Region j gets Σ kernel_|j-k| values_k over all k, those beyond the ends included, where values
    are their mirror images. So all rows sum to the same, as without ends: a kernel on an interval
    with zero flux. Eigenvalues are sums of cosines, exactly; the modes are cosines.

    **Arguments:**

    - `kernel` (place,), (place, place) or of three axes: entry d is the weight of what comes from
      d places away, on either side; of any sign.
    """

    def _around(self, xp: Any) -> Any:
        """The kernel on a ring of twice the length, the same in both directions."""
        found = np.asarray(self.kernel, float) if xp is np else self.kernel
        for axis in range(found.ndim):
            front = [slice(None)] * found.ndim
            front[axis] = slice(1, None)
            back = xp.flip(found[tuple(front)], axis)
            middle = xp.zeros_like(xp.take(found, xp.asarray([0]), axis))
            found = xp.concatenate([found, middle, back], axis)
        return found

    def gains(self, xp: Any = np) -> Any:
        """The first half of the Fourier transform on the ring of twice the length."""
        return xp.real(xp.fft.fftn(self._around(xp)))[tuple(slice(n) for n in self.shape)]

    def apply(self, values: Num[Array, "region *run"]) -> Num[Array, "region *run"]:
        """The kernel's convolution with values and their mirror images."""
        values = as_array(values)
        rest = values.shape[1:]
        grid = values.reshape(*self.shape, *rest)
        for axis in range(len(self.shape)):
            grid = jnp.concatenate([grid, jnp.flip(grid, axis)], axis)
        twice = tuple(2 * n for n in self.shape)
        found = _convolved(self._around(jnp), twice, grid.reshape(-1, *rest))
        found = found.reshape(*twice, *rest)[tuple(slice(n) for n in self.shape)]
        return found.reshape(values.shape)

    def transposed(self) -> "LatticeGraph":
        """Itself: it is symmetric."""
        return self

    def apply_transposed(self, values: Num[Array, "region *run"]) -> Num[Array, "region *run"]:
        """As `apply`: it is symmetric."""
        return self.apply(values)

    def waves(self, modes: np.ndarray) -> np.ndarray:
        """Products of cosines cos(π q (x + ½) / n)."""
        found = np.ones((self.n_regions, len(modes)))
        places = np.unravel_index(np.arange(self.n_regions), self.shape)
        for length, x, q in zip(
            self.shape, places, np.unravel_index(modes, self.shape), strict=True
        ):
            found *= np.cos(np.pi * (x[:, None] + 0.5) * q / length)
        return found / np.linalg.norm(found, axis=0)


def _convolved(kernel: Any, shape: tuple[int, ...], values: jax.Array) -> jax.Array:
    """The convolution on a torus, of values (region, *run)."""
    grid = values.reshape(*shape, *values.shape[1:])
    axes = tuple(range(len(shape)))
    complex_ = jnp.iscomplexobj(values)
    there, back = (jnp.fft.fftn, jnp.fft.ifftn) if complex_ else (jnp.fft.rfftn, jnp.fft.irfftn)
    gains = there(kernel).reshape(-1, *(1,) * (values.ndim - 1))
    modes = there(grid, axes=axes)
    found = modes * gains.reshape(*modes.shape[: len(shape)], *(1,) * (values.ndim - 1))
    result = back(found, s=shape, axes=axes).reshape(values.shape)
    return result.astype(jnp.result_type(kernel, values))
