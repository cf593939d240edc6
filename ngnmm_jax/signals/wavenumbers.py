"""How long the waves of a pattern are: spectra over wavenumbers, and one length of any pattern."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy.typing import ArrayLike

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax.signals._arrays import (
    Number,
    as_number,
    as_pattern,
    as_signal,
    at_once,
    finite_or_not,
    square,
)
from ngnmm_jax.signals.spaces import AbstractSpace, Grid, check_space


class WavenumberSpectrum(AbstractResult):
    """Power over frequency and wavenumber: which waves there are, and where they go.

    - `frequencies` (frequency,): Hz, from 0.
    - `wavenumbers`: of each axis (wavenumber,), rad/mm, rising; those above zero belong to waves
      that go towards larger positions.
    - `power` (frequency, wavenumber, …): the signal's unit squared; it adds up to the mean square.
    - `status`: NOT_FINITE where power is not.
    """

    frequencies: Float[Array, "frequency"]
    wavenumbers: tuple[Float[Array, "_"], ...]
    power: Float[Array, "frequency *wavenumbers"]

    @property
    def status(self) -> Int[Array, ""]:
        """Whether all power is finite (`Status`)."""
        return finite_or_not(self.power.reshape(-1))

    @property
    def stats(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def summary(self) -> dict[str, Any]:
        """The strongest wave."""
        names = {"peak_frequency": " (Hz)", "wavelength": " (mm)", "speed": " (m/s)"}
        strongest = {name + unit: getattr(self, name) for name, unit in names.items()}
        return {**strongest, "travelling": self.travelling, "power": self.power}

    @property
    def peak(self) -> tuple[Int[Array, ""], ...]:
        """Indices in `power` of the strongest wave, all nodes in phase left out."""

        def found(xp: Any, power: Any, *wavenumbers: Any) -> Any:
            uniform = sum(xp.meshgrid(*map(xp.abs, wavenumbers), indexing="ij")) == 0
            seen = xp.where(uniform, -1.0, power)
            return xp.unravel_index(xp.argmax(seen), seen.shape)

        return at_once(found, self.power, *self.wavenumbers)

    @property
    def peak_frequency(self) -> Float[Array, ""]:
        """Of the strongest wave, Hz: to half of the inverse of the signal's duration."""
        return at_once(lambda _, f, k: f[k], self.frequencies, self.peak[0])

    @property
    def wavevector(self) -> Float[Array, "axis"]:
        """Of the strongest wave, rad/mm; of a static pattern with either sign."""
        pairs = zip(self.wavenumbers, self.peak[1:], strict=True)
        found = [at_once(lambda _, k, i: k[i], *pair) for pair in pairs]
        return at_once(lambda xp, *each: xp.stack(each), *found)

    @property
    def wavelength(self) -> Float[Array, ""]:
        """Of the strongest wave, mm."""
        return at_once(lambda xp, k: 2 * xp.pi / xp.linalg.norm(k), self.wavevector)

    @property
    def speed(self) -> Float[Array, ""]:
        """Of the strongest wave, m/s; 0 of a static pattern."""
        f, length = self.peak_frequency, self.wavelength
        return at_once(lambda _, f, length: f * length / 1000, f, length)

    @property
    def travelling(self) -> Float[Array, ""]:
        """(P - Q) / (P + Q), P the power of the strongest wave and Q that of the opposite one.

        At all frequencies above zero: 1 where nothing goes the other way, 0 of a standing wave.
        """

        def found(_: Any, power: Any, *index: Any) -> Any:
            moving = power[1:].sum(axis=0)
            # Wavenumbers rise from that of the lowest: the opposite of the lowest of an even number
            # of nodes, which is as fast either way, is itself.
            sizes = zip(moving.shape, index, strict=True)
            back = tuple((2 * (n // 2) - i) % n for n, i in sizes)
            there, again = moving[index], moving[back]
            return (there - again) / (there + again)

        return at_once(found, self.power, *self.peak[1:])


def wavenumber_spectrum(
    signal: ArrayLike, sampling_interval: Number, grid: Grid
) -> WavenumberSpectrum:
    """Power of waves exp(i (2π f t - k·x)) on a grid that comes back to its beginning.

    The squared Fourier transform in time and space, of the whole signal with its mean; power at -f
    is that at f of the opposite direction, and is added to it. Exact for waves that fit into the
    signal a whole number of times; others leak into neighbouring frequencies.

    **Arguments:**

    - `signal` (time, node): real.
    - `sampling_interval`: s.
    - `grid`: periodic along each axis.
    """
    array = as_signal(signal, sampling_interval, ndim=2)
    if not isinstance(grid, Grid) or not all(grid.periodic):
        must = "be a `Grid` that is periodic along each axis (elsewhere: `travelling_waves`)"
        but = f"it is {_checks.kind_of(grid)}"
        _checks.fail("grid", must, but + ", not periodic" if isinstance(grid, Grid) else but)
    check_space(grid, "signal", array.shape)
    frequencies = np.fft.rfftfreq(array.shape[0], as_number(sampling_interval))
    wavenumbers = tuple(
        as_array((2 * np.pi * np.fft.fftshift(np.fft.fftfreq(n, h))).astype(array.dtype))
        for n, h in zip(grid.shape, grid.spacing, strict=True)
    )
    power = _power(array, grid.shape)
    return WavenumberSpectrum(as_array(frequencies.astype(array.dtype)), wavenumbers, power)


@partial(jax.jit, static_argnums=1)
def _power(array: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    array = array.reshape(-1, *shape)
    n, axes = array.shape[0], tuple(range(1, array.ndim))
    # Space is transformed with the other sign, for waves that go up.
    found = jnp.fft.ifftn(jnp.fft.rfft(array, axis=0), axes=axes)
    power = (found.real**2 + found.imag**2) / n**2
    twice = jnp.full(power.shape[0], 2.0).at[0].set(1.0)
    if n % 2 == 0:
        twice = twice.at[-1].set(1.0)
    power = power * twice.reshape(-1, *[1] * len(axes)).astype(power.dtype)
    return jnp.fft.fftshift(power, axes=axes)


def pattern_wavelength(pattern: ArrayLike, space: AbstractSpace) -> Float[Array, "..."]:
    """One length of any pattern: 2π √(∫ |v|² / ∫ |∇v|²), its mean removed; mm.

    2π over the root mean square of its wavenumber: of eigenmodes of the Laplacian with eigenvalue
    μ (rad²/mm²) it is 2π/√μ; on a sphere of radius R, of degree l, 2πR/√(l(l+1)). It compares what
    the dispersion relation says grows, an eigenvector of the graph, with what activity shows.

    On nodes h apart it is too long by (kh)²/24 of itself on grids along an axis, and by as much to
    a small factor elsewhere: by 4 % with six nodes a wavelength. On scattered `Points` it is rough.

    **Arguments:**

    - `pattern` (…, node): real or complex, such as activity at each time or an eigenvector.
    - `space`: where nodes are.

    NaN where the pattern is the same everywhere, to rounding.
    """
    array = as_pattern(pattern)
    check_space(space, "pattern", array.shape)
    _checks.finite("pattern", array)
    return _length(array, space)


@eqx.filter_jit
def _length(array: jax.Array, space: AbstractSpace) -> jax.Array:
    weights = space.shares / space.shares.sum()
    top = jnp.abs(array).max(axis=-1, keepdims=True)
    array = array / jnp.where(top > 0, top, 1.0)
    apart = array - (array @ weights)[..., None]
    power = square(apart) @ space.shares
    energy = space.energy(apart)
    least = (64 * jnp.finfo(power.dtype).eps) ** 2 * space.shares.sum()
    known = (power > least) & (energy > 0)
    ratio = jnp.where(known, power, 1.0) / jnp.where(known, energy, 1.0)
    return jnp.where(known, 2 * jnp.pi * jnp.sqrt(ratio), jnp.nan)
