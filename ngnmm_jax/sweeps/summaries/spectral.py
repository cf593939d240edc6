"""Welch's spectra, and what follows from them.

Two windows are a segment (a periodic Hann window, the mean removed); segments overlap by half.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax.models.times import SECONDS, without_hertz
from ngnmm_jax.signals.spectra import BANDS, inside_band
from ngnmm_jax.sweeps.summaries.base import (
    AbstractStatistic,
    AbstractSummary,
    Coordinates,
    Layout,
    Run,
    Window,
    squared,
)
from ngnmm_jax.sweeps.summaries.moments import Moments


class Spectra(AbstractStatistic):
    """Power spectral density (signal, frequency, region, run), one-sided."""

    def start(self, zero: jax.Array, layout: Layout) -> tuple[jax.Array, jax.Array]:
        before = jnp.zeros((layout.window, *zero.shape), zero.dtype)
        return before, jnp.zeros((layout.window + 1, *zero.shape), zero.dtype)

    def add(self, total: tuple[jax.Array, jax.Array], window: Window) -> tuple[Any, Any]:
        before, power = total
        segment = jnp.concatenate([before, window.values])
        segment = segment - segment.mean(axis=0)
        hann = as_array(_hann(2 * window.layout.window), segment.dtype)
        line = jnp.fft.rfft(segment * hann.reshape(-1, 1, 1, 1), axis=0)
        size = line.real**2 + line.imag**2
        return window.values, power + jnp.where(window.number > 0, size, 0)

    def value(self, total: tuple[jax.Array, jax.Array], run: Run) -> jax.Array:
        window, windows = run.layout.window, run.layout.windows
        # All frequencies but zero and Nyquist's count twice.
        scale = np.full(window + 1, 2.0)
        scale[[0, -1]] = 1.0
        scale *= run.layout.interval / ((_hann(2 * window) ** 2).sum() * (windows - 1))
        power = total[1] * as_array(scale, total[1].dtype).reshape(-1, 1, 1, 1)
        return jnp.moveaxis(power, 0, 1)

    def check(self, layout: Layout) -> None:
        if layout.window < 4 or layout.windows < 2:
            must = "be a whole number of half segments, two at least, of 4 samples or more"
            but = f"it is {layout.samples} samples and half a segment {layout.window}"
            _checks.fail("duration", must, but)


class _OfSpectra(AbstractSummary):
    """A summary that needs spectra only."""

    def needs(self) -> tuple[AbstractStatistic, ...]:
        return (Spectra(),)


class Spectrum(_OfSpectra):
    """Welch's power spectral density."""

    name = "spectrum"
    dims = ("frequency", "region")

    def value(self, total: None, run: Run) -> jax.Array:
        return run[Spectra]

    def unit(self, unit: str) -> str:
        return f"{squared(unit)}/Hz"

    def coordinates(self, layout: Layout, times: np.ndarray) -> Coordinates:
        return {"frequency": (layout.frequencies, {"units": without_hertz("Hz", layout.time_unit)})}


class PeakFrequency(AbstractSummary):
    """Frequency of the largest power, zero left out; NaN where a signal is constant."""

    name = "peak_frequency"

    def needs(self) -> tuple[AbstractStatistic, ...]:
        return (Moments(), Spectra())

    def value(self, total: None, run: Run) -> jax.Array:
        power = run[Spectra]
        frequencies = as_array(run.layout.frequencies[1:], power.dtype)
        peak = frequencies[jnp.argmax(power[:, 1:], axis=1)]
        return jnp.where(run[Moments].still, jnp.nan, peak)

    def unit(self, unit: str) -> str:
        return "Hz"


class BandPower(_OfSpectra):
    """Power in bands.

    - `bands`: name and (low, high) in Hz, from `low` up to, not including, `high`. NaN in those
      that hold none of the spectrum's frequencies, or go beyond half the sampling rate.
    """

    bands: tuple[tuple[str, float, float], ...]

    def __init__(self, bands: Mapping[str, Sequence[float]] = BANDS) -> None:
        for name, band in bands.items():
            if np.shape(band) != (2,) or not 0 <= band[0] < band[1]:
                _checks.fail("bands", f"rise from 0 Hz or above in {name!r}", f"it is {band}")
        self.bands = tuple((name, float(low), float(high)) for name, (low, high) in bands.items())

    name = "band_power"
    dims = ("band", "region")

    def value(self, total: None, run: Run) -> jax.Array:
        power, frequencies = run[Spectra], run.layout.frequencies
        found = [_in_band(power, frequencies, low, high) for _, low, high in self.bands]
        return jnp.stack(found, axis=1) if found else power[:, :0]

    def unit(self, unit: str) -> str:
        return squared(unit)

    def check(self, layout: Layout) -> None:
        if layout.time_unit not in SECONDS and self.bands == BandPower().bands:
            must = "be given per unit of time, since times have no unit here"
            but = "they are in Hz (or leave out of `keep` what needs them)"
            _checks.fail("bands", must, but)

    def coordinates(self, layout: Layout, times: np.ndarray) -> Coordinates:
        limits = ", ".join(f"{name} {low:g}-{high:g}" for name, low, high in self.bands)
        known = "limits_Hz" if layout.time_unit in SECONDS else "limits"
        return {"band": ([name for name, _, _ in self.bands], {known: limits})}


def _hann(n: int) -> np.ndarray:
    """A periodic Hann window, as `scipy.signal.welch` takes it."""
    return np.sin(np.pi * np.arange(n) / n) ** 2


def _in_band(power: jax.Array, frequencies: np.ndarray, low: float, high: float) -> jax.Array:
    """Power (signal, region, run) in a band; NaN where the spectrum does not have it."""
    inside, missing = inside_band(frequencies, low, high)
    if missing:
        return jnp.full_like(power[:, 0], jnp.nan)
    some = jnp.where(inside.reshape(1, -1, 1, 1), power, 0).sum(axis=1)
    return some * as_array(frequencies[1], power.dtype)
