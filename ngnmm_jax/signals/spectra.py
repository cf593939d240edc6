"""Power spectra: Welch's and the multitaper estimate."""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.signal import welch
from jaxtyping import Array, Float, Int
from numpy.typing import ArrayLike

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax.signals._arrays import (
    Band,
    Number,
    as_number,
    as_signal,
    finite_or_not,
    rounding,
    scaled,
)

#: The bands of electrophysiology, in Hz.
BANDS: Mapping[str, tuple[float, float]] = MappingProxyType(
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


class PowerSpectrum(AbstractResult):
    """Power spectral density of one or several signals.

    - `frequencies` (frequency,): Hz.
    - `power` (frequency, …): the signal's unit squared per Hz, one-sided.
    - `status` (…): NOT_FINITE where a power is not.
    """

    frequencies: Float[Array, "frequency"]
    power: Float[Array, "frequency ..."]

    @property
    def status(self) -> Int[Array, "..."]:
        """Whether all powers of a signal are finite (`Status`)."""
        return finite_or_not(self.power)

    @property
    def stats(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def summary(self) -> dict[str, Any]:
        """Frequencies, powers and where they are largest."""
        peak = self.peak_frequency
        found = {"frequencies": self.frequencies, "power": self.power, "peak_frequency": peak}
        return {**found, "upper_quarter": self.upper_quarter}

    @property
    def decibels(self) -> Float[Array, "frequency ..."]:
        """10 log10 of the power; -inf where it is zero."""
        return 10 * jnp.log10(self.power)

    @property
    def peak_frequency(self) -> Float[Array, "..."]:
        """Frequency (Hz) of the largest power, zero frequency left out; one for each signal.

        NaN where there is no power.
        """
        return _peaks(self.frequencies, self.power)

    @property
    def upper_quarter(self) -> Float[Array, "..."]:
        """The share of the power, zero frequency left out, in the upper quarter of frequencies.

        Where it is not small, power from beyond half the sampling rate may be folded into the
        spectrum: sample more finely. (That none is there does not say that nothing is folded.) NaN
        where there is no power.
        """
        high = (self.frequencies > 0.75 * self.frequencies[-1])[1:]
        high = high.reshape(-1, *[1] * (self.power.ndim - 1))
        return jnp.where(high, self.power[1:], 0).sum(axis=0) / self.power[1:].sum(axis=0)

    def band_power(self, low: Number, high: Number) -> Float[Array, "..."]:
        """Power (the signal's unit squared) from `low` up to, not including, `high` (Hz).

        Raises `ValueError` for bands that go beyond half the sampling rate, or hold no frequency.
        """
        if not 0 <= low < high:
            _checks.fail("band", "rise from zero or above", f"it is ({low:g}, {high:g})")
        if _checks.on_host(self.frequencies):
            _, why = inside_band(np.asarray(self.frequencies), low, high)
            if why:
                _checks.fail("band", why, f"it is ({low:g}, {high:g})")
        return _within(self.frequencies, self.power, low, high)

    def band_powers(self, bands: Mapping[str, Band] = BANDS) -> dict[str, Float[Array, "..."]]:
        """Power in each band, by name; NaN in bands that `band_power` refuses."""
        powers = {}
        for name, (low, high) in bands.items():
            known = not _checks.on_host(self.frequencies)
            known = known or not inside_band(np.asarray(self.frequencies), low, high)[1]
            powers[name] = (
                self.band_power(low, high) if known else jnp.full(self.power.shape[1:], jnp.nan)
            )
        return powers


@jax.jit
def _peaks(frequencies: jax.Array, power: jax.Array) -> jax.Array:
    """Where powers (frequency, …) are largest, zero frequency left out."""
    peak = frequencies[1:][jnp.argmax(power[1:], axis=0)]
    return jnp.where((power[1:] > 0).any(axis=0), peak, jnp.nan)


@jax.jit
def _within(frequencies: jax.Array, power: jax.Array, low: Number, high: Number) -> jax.Array:
    """The sum (…) of powers (frequency, …) in a band, times the frequencies' distance."""
    inside = (frequencies >= low) & (frequencies < high)
    inside = inside.reshape(-1, *[1] * (power.ndim - 1))
    return jnp.where(inside, power, 0).sum(axis=0) * frequencies[1]


def inside_band(frequencies: np.ndarray, low: Any, high: Any) -> tuple[np.ndarray, str]:
    """Which of a spectrum's frequencies lie in a band; and what it must do to have a power."""
    apart, top = float(frequencies[1]), float(frequencies[-1])
    inside = (frequencies >= low) & (frequencies < high)
    # Half the sampling rate is the last frequency, or half a step above it.
    if high > (top + apart / 2) * (1 + 1e-6):
        return inside, f"end at {top:g} Hz or below"
    if not inside.any():
        return inside, f"hold a multiple of {apart:g} Hz (take a longer segment)"
    return inside, ""


def power_spectrum(
    signal: ArrayLike,
    sampling_interval: Number,
    *,
    method: str = "welch",
    segment: Number | None = None,
    bandwidth: Number | None = None,
) -> PowerSpectrum:
    """Power spectral density along the first axis; the mean is removed.

    **Arguments:**

    - `signal` (time, …).
    - `sampling_interval`: s (`run.sampling_interval`). What is faster than half the sampling rate
      is folded to below it, as samples are not filtered: see `upper_quarter` of the result.
    - `method`: "welch" averages over Hann windows that overlap by half; "multitaper" over
      Slepian tapers of the whole signal, weighted by their concentration.
    - `segment`: of Welch's windows, their length (s), whose inverse is the resolution in Hz;
      by default a quarter of the signal.
    - `bandwidth`: of the multitaper estimate, its full width (Hz); by default that of eight
      times the inverse of the signal's duration (seven tapers).

    Power is zero where a signal is constant to rounding (its standard deviation at most 64
    roundings of its largest value).

    Raises `ValueError` for bad arguments, and for power that the precision cannot hold (in 32 bits
    of signals of less than some 1e-14, or more than 1e+18).

    Source: Welch, IEEE Trans. Audio Electroacoust. 15, 70 (1967); Thomson, Proc. IEEE 70, 1055
    (1982), with SciPy's tapers.
    """
    array = as_signal(signal, sampling_interval)
    _checks.one_of("method", method, _METHODS)
    n, dt = array.shape[0], as_number(sampling_interval)
    least = as_array(rounding(signal), array.dtype)
    for name, value, only in (
        ("segment", segment, "welch"),
        ("bandwidth", bandwidth, "multitaper"),
    ):
        if value is not None:
            _checks.positive(name, value)
            if method != only:
                _checks.fail(name, f'be given to "{only}" only', f"it is {value:g}")
    if method == "multitaper":
        tapers, weights = _tapers(n, dt, bandwidth)
        power, moves = _tapered(array, as_array(tapers, array.dtype), weights, dt, least)
        return _checked(np.fft.rfftfreq(n, dt), power, moves)
    samples = n // 4 if segment is None else round(as_number(segment) / dt)
    if not 8 <= samples <= n:
        if segment is not None:
            _checks.fail(
                "segment", f"lie between {8 * dt:g} and {n * dt:g} s", f"it is {segment:g}"
            )
        samples = min(max(samples, 8), n)
    power, moves = _welch(array, dt, samples, least)
    return _checked(np.fft.rfftfreq(samples, dt), power, moves)


def _checked(frequencies: np.ndarray, power: jax.Array, moves: jax.Array) -> PowerSpectrum:
    """Refuses squares that the precision cannot hold, of signals that do move."""
    if _checks.on_host(power):
        top = np.asarray(power).max(axis=0)
        limits = jnp.finfo(power.dtype)
        lost = np.asarray(moves) & ~((top > limits.tiny / limits.eps) & np.isfinite(top))
        if lost.any():
            _checks.fail(
                "signal",
                f"have a power that {limits.bits} bits hold: use another unit, or more bits",
                f"its largest is {np.ravel(top[lost])[0]:g}",
            )
    return PowerSpectrum(as_array(frequencies, power.dtype), power)


def _still_is_zero(
    power: jax.Array, array: jax.Array, least: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Power without that of rounding, and which signals move."""
    some, top = scaled(array)
    moves = some.std(axis=0) > least * top
    return jnp.where(moves, power, 0), moves


@partial(jax.jit, static_argnums=2)
def _welch(
    array: jax.Array, dt: Any, samples: int, least: jax.Array
) -> tuple[jax.Array, jax.Array]:
    _, power = welch(array, fs=1 / dt, nperseg=samples, detrend="constant", axis=0)
    return _still_is_zero(power, array, least)


def _tapers(n: int, dt: float, bandwidth: Number | None) -> tuple[np.ndarray, np.ndarray]:
    """Slepian tapers (taper, time) and their concentrations (taper,)."""
    from scipy.signal.windows import dpss

    if bandwidth is None and n <= 8:
        _checks.fail("signal", "have at least 9 samples for a multitaper estimate", f"it has {n}")
    # Time times half the bandwidth.
    half = 4.0 if bandwidth is None else as_number(bandwidth) * n * dt / 2
    if not 1 <= half < n / 2:
        _checks.fail(
            "bandwidth",
            f"lie between {2 / (n * dt):g} and {1 / dt:g} Hz",
            f"it is {bandwidth:g}",
        )
    return dpss(n, half, Kmax=max(1, int(2 * half) - 1), return_ratios=True)


@jax.jit
def _tapered(
    array: jax.Array, tapers: jax.Array, weights: jax.Array, dt: Any, least: jax.Array
) -> tuple[jax.Array, jax.Array]:
    n = array.shape[0]
    centred = array - array.mean(axis=0)
    weights = (weights / weights.sum()).astype(array.dtype)

    def add(total: jax.Array, pair: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        taper, weight = pair
        line = jnp.fft.rfft(taper.reshape(-1, *[1] * (array.ndim - 1)) * centred, axis=0)
        return total + weight * (line.real**2 + line.imag**2), None

    start = jnp.zeros((n // 2 + 1, *array.shape[1:]), array.dtype)
    power, _ = jax.lax.scan(add, start, (tapers, weights))
    # One-sided: all but zero and, where there is one, Nyquist's frequency count twice.
    twice = jnp.full(n // 2 + 1, 2.0).at[0].set(1.0)
    if n % 2 == 0:
        twice = twice.at[-1].set(1.0)
    power = dt * power * twice.reshape(-1, *[1] * (array.ndim - 1)).astype(array.dtype)
    return _still_is_zero(power, array, least)
