"""Bands, envelopes and phases, and how regions' phases agree."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float
from numpy.typing import ArrayLike

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax.signals._arrays import Band, Number, as_number, as_signal, check_band, rounding

# Flanks of a band, as a fraction of its width.
_FLANK = 0.25


def analytic_signal(
    signal: ArrayLike, sampling_interval: Number, band: Band | None = None
) -> Complex[Array, "time ..."]:
    """The signal without its negative frequencies, within a band (Hz) if one is given.

    Its modulus is the envelope, its angle the phase. The band is flat with cosine flanks of a
    quarter of its width outside of it, without delay (the signal's Fourier transform is
    multiplied); the ends of the signal, for about the inverse of the flanks' width, see each
    other. The mean is removed.

    Raises `ValueError` for a band beyond half the sampling rate, or that holds no multiple of the
    inverse of the signal's duration.

    Source: Gabor, J. IEE 93, 429 (1946).
    """
    array = as_signal(signal, sampling_interval)
    return _filtered(array, _gains(array, as_number(sampling_interval), band))


def _gains(array: jax.Array, dt: float, band: Band | None) -> jax.Array:
    """What the signal's Fourier coefficients are multiplied by."""
    n, bands = array.shape[0], None
    if band is not None:
        low, high = map(as_number, band)
        check_band(low, high, dt)
        bands = np.array([[low, high]])
        check_holds("band", bands, n, dt)
    return as_array(one_sided(n, dt, bands)[0], array.dtype)


def check_holds(name: str, bands: np.ndarray, n: int, dt: float) -> None:
    """Refuse bands (band, end) between two of the signal's frequencies."""
    apart = 1 / (n * dt)
    first = np.maximum(np.ceil(bands[:, 0] / apart - 1e-9), 1)
    empty = first * apart > bands[:, 1] * (1 + 1e-9)
    if empty.any():
        low, high = bands[np.argmax(empty)]
        must = f"hold a multiple of {apart:g} Hz (a longer signal has more)"
        _checks.fail(name, must, f"one is ({low:g}, {high:g})")


def one_sided(n: int, dt: float, bands: np.ndarray | None) -> np.ndarray:
    """Gains (band, frequency) that leave the analytic signal in each of `bands` (band, end).

    Negative frequencies get zero, positive ones two inside of the band, with cosine flanks
    outside of it; None is one band of all frequencies.
    """
    frequencies = np.fft.fftfreq(n, dt)
    gains = np.where(frequencies > 0, 2.0, 0.0)
    if n % 2 == 0:
        gains[n // 2] = 1.0  # Nyquist's frequency has one half only
    if bands is None:
        return gains[None]
    low, high = bands[:, :1], bands[:, 1:]
    flank = _FLANK * (high - low)
    below, above = (low - np.abs(frequencies)) / flank, (np.abs(frequencies) - high) / flank
    away = np.clip(np.maximum(below, above), 0, 1)
    return gains * (1 + np.cos(np.pi * away)) / 2


@jax.jit
def _filtered(array: jax.Array, gains: jax.Array) -> jax.Array:
    spectrum = jnp.fft.fft(array - array.mean(axis=0), axis=0)
    return jnp.fft.ifft(spectrum * gains.reshape(-1, *[1] * (array.ndim - 1)), axis=0)


def band_pass(signal: ArrayLike, sampling_interval: Number, band: Band) -> Float[Array, "time ..."]:
    """What of the signal lies in a band (Hz); see `analytic_signal`."""
    return analytic_signal(signal, sampling_interval, band).real


def envelope(
    signal: ArrayLike, sampling_interval: Number, band: Band | None = None
) -> Float[Array, "time ..."]:
    """Instantaneous amplitude within a band (Hz), in the signal's unit."""
    return jnp.abs(analytic_signal(signal, sampling_interval, band))


def phase(
    signal: ArrayLike, sampling_interval: Number, band: Band | None = None
) -> Float[Array, "time ..."]:
    """Instantaneous phase within a band (Hz), in radians; zero where the band is at its peak.

    Raises `ValueError` where a region has none: its envelope is nowhere more than 64 roundings of
    the signal's largest value. Under JAX transformations the phase is NaN there.
    """
    array = as_signal(signal, sampling_interval)
    gains = _gains(array, as_number(sampling_interval), band)
    found, silent = _angles(array, gains, as_array(rounding(signal), array.dtype))
    if _checks.on_host(silent) and np.asarray(silent).any():
        which = ", ".join(map(str, np.flatnonzero(np.asarray(silent))[:5]))
        where = f" in region {which}" if array.ndim > 1 else ""
        _checks.fail("signal", "move by more than rounding in the band", f"it does not{where}")
    return found


@jax.jit
def _angles(array: jax.Array, gains: jax.Array, least: jax.Array) -> tuple[jax.Array, jax.Array]:
    found = _filtered(array, gains)
    silent = jnp.abs(found).max(axis=0) <= least * jnp.abs(array).max(axis=0)
    return jnp.where(silent, jnp.nan, jnp.angle(found)), silent


def kuramoto_order(phases: ArrayLike) -> Float[Array, "time"]:
    """Modulus of the mean over regions of exp(i phase): 1 in synchrony.

    **Arguments:** `phases` (time, region): radians.

    Source: Kuramoto, Chemical Oscillations, Waves, and Turbulence (1984).
    """
    return _order(as_signal(phases, least=1, ndim=2))


def metastability(phases: ArrayLike) -> Float[Array, ""]:
    """Standard deviation over time of the order parameter of `phases` (time, region).

    Source: Shanahan, Chaos 20, 013108 (2010), whose index is its square; Cabral et al.,
    NeuroImage 90, 423 (2014).
    """
    return _order(as_signal(phases, least=2, ndim=2)).std()


@jax.jit
def _order(phases: jax.Array) -> jax.Array:
    return jnp.abs(jnp.exp(1j * phases).mean(axis=1))
