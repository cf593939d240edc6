"""Power spectra: Welch's and the multitaper estimate."""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.signal import welch
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from ngnmm_jax import _checks
from ngnmm_jax.signals._arrays import Band, Number, as_signal

#: The bands of electrophysiology, in Hz.
BANDS: Mapping[str, Band] = MappingProxyType(
    {
        "delta": (1.0, 4.0),
        "theta": (4.0, 8.0),
        "alpha": (8.0, 13.0),
        "beta": (13.0, 30.0),
        "gamma": (30.0, 90.0),
        "high gamma": (90.0, 200.0),
    }
)

_METHODS = ("welch", "multitaper")


class PowerSpectrum(eqx.Module):
    """Power spectral density of one or several signals.

    - `frequencies` (frequency,): Hz.
    - `power` (frequency, …): the signal's unit squared per Hz, one-sided.
    """

    frequencies: Float[Array, "frequency"]
    power: Float[Array, "frequency ..."]

    @property
    def decibels(self) -> Float[Array, "frequency ..."]:
        """10 log10 of the power; -inf where it is zero."""
        return 10 * jnp.log10(self.power)

    @property
    def peak_frequency(self) -> Float[Array, "..."]:
        """Frequency (Hz) of the largest power, zero frequency left out; one for each signal."""
        return self.frequencies[1:][jnp.argmax(self.power[1:], axis=0)]

    def band_power(self, low: Number, high: Number) -> Float[Array, "..."]:
        """Power (the signal's unit squared) from `low` up to, not including, `high` (Hz)."""
        if not 0 <= low < high:
            _checks.fail("band", "rise from zero or above", f"it is ({low:g}, {high:g})")
        inside = (self.frequencies >= low) & (self.frequencies < high)
        inside = inside.reshape(-1, *[1] * (self.power.ndim - 1))
        return jnp.where(inside, self.power, 0).sum(axis=0) * self.frequencies[1]

    def band_powers(self, bands: Mapping[str, Band] = BANDS) -> dict[str, Float[Array, "..."]]:
        """Power in each band, by name."""
        return {name: self.band_power(*band) for name, band in bands.items()}


def power_spectrum(
    signal: ArrayLike,
    sampling_interval: float,
    *,
    method: str = "welch",
    segment: Number | None = None,
    bandwidth: Number | None = None,
) -> PowerSpectrum:
    """Power spectral density along the first axis; the mean is removed.

    **Arguments:**

    - `signal` (time, …).
    - `sampling_interval`: s (`run.sampling_interval`).
    - `method`: "welch" averages over Hann windows that overlap by half; "multitaper" over
      Slepian tapers of the whole signal, weighted by their concentration.
    - `segment`: of Welch's windows, their length (s), whose inverse is the resolution in Hz;
      by default a quarter of the signal.
    - `bandwidth`: of the multitaper estimate, its full width (Hz); by default that of eight
      times the inverse of the signal's duration (seven tapers).

    Raises `ValueError` for bad arguments.

    Source: Welch, IEEE Trans. Audio Electroacoust. 15, 70 (1967); Thomson, Proc. IEEE 70, 1055
    (1982), with SciPy's tapers.
    """
    array = as_signal(signal, sampling_interval)
    _checks.one_of("method", method, _METHODS)
    n, dt = array.shape[0], float(sampling_interval)
    if method == "multitaper":
        if segment is not None:
            _checks.fail("segment", 'be given to "welch" only', f"it is {segment:g}")
        return _multitaper(array, dt, bandwidth)
    if bandwidth is not None:
        _checks.fail("bandwidth", 'be given to "multitaper" only', f"it is {bandwidth:g}")
    samples = n // 4 if segment is None else round(segment / dt)
    if not 8 <= samples <= n:
        if segment is not None:
            _checks.fail(
                "segment", f"lie between {8 * dt:g} and {n * dt:g} s", f"it is {segment:g}"
            )
        samples = min(max(samples, 8), n)
    return PowerSpectrum(*_welch(array, dt, samples))


@partial(jax.jit, static_argnums=2)
def _welch(array: jax.Array, dt: Any, samples: int) -> tuple[jax.Array, jax.Array]:
    frequencies, power = welch(array, fs=1 / dt, nperseg=samples, detrend="constant", axis=0)
    return frequencies, power


def _multitaper(array: jax.Array, dt: float, bandwidth: Number | None) -> PowerSpectrum:
    from scipy.signal.windows import dpss

    n = array.shape[0]
    half = 4.0 if bandwidth is None else bandwidth * n * dt / 2  # time times half bandwidth
    if not 1 <= half < n / 2:
        _checks.fail(
            "bandwidth",
            f"lie between {2 / (n * dt):g} and {1 / dt:g} Hz",
            f"it is {bandwidth:g}",
        )
    tapers, weights = dpss(n, half, Kmax=max(1, int(2 * half) - 1), return_ratios=True)
    frequencies = jnp.asarray(np.fft.rfftfreq(n, dt), array.dtype)
    return PowerSpectrum(
        frequencies, _tapered(array, jnp.asarray(tapers, array.dtype), jnp.asarray(weights), dt)
    )


@jax.jit
def _tapered(array: jax.Array, tapers: jax.Array, weights: jax.Array, dt: Any) -> jax.Array:
    n = array.shape[0]
    centred = array - array.mean(axis=0)
    weights = (weights / weights.sum()).astype(array.dtype)

    def add(total: jax.Array, pair: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        taper, weight = pair
        line = jnp.fft.rfft(taper.reshape(-1, *[1] * (array.ndim - 1)) * centred, axis=0)
        return total + weight * jnp.abs(line) ** 2, None

    start = jnp.zeros((n // 2 + 1, *array.shape[1:]), array.dtype)
    power, _ = jax.lax.scan(add, start, (tapers, weights))
    # One-sided: all but zero and, where there is one, Nyquist's frequency count twice.
    twice = jnp.full(n // 2 + 1, 2.0).at[0].set(1.0)
    if n % 2 == 0:
        twice = twice.at[-1].set(1.0)
    return dt * power * twice.reshape(-1, *[1] * (array.ndim - 1)).astype(array.dtype)
