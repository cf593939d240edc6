"""What signals hold: power spectra."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from ngnmm_jax import _checks


@dataclasses.dataclass(frozen=True, eq=False)
class PowerSpectrum:
    """Power spectral density of one or several signals.

    - `frequencies` (frequency,): Hz.
    - `power` (frequency, …): the signal's unit squared per Hz.
    """

    frequencies: Float[np.ndarray, "frequency"]
    power: Float[np.ndarray, "frequency ..."]

    @property
    def decibels(self) -> Float[np.ndarray, "frequency ..."]:
        """10 log10 of the power; -inf where it is zero."""
        with np.errstate(divide="ignore"):
            return 10 * np.log10(self.power)

    @property
    def peak_frequency(self) -> Any:
        """Frequency (Hz) of the largest power, zero frequency left out; one for each signal."""
        return self.frequencies[1:][np.argmax(self.power[1:], axis=0)]


def power_spectrum(
    signal: ArrayLike, sampling_interval: float, *, segment: float | None = None
) -> PowerSpectrum:
    """Welch's estimate along the first axis, with Hann windows that overlap by half.

    **Arguments:**

    - `signal` (time, …): its mean is removed.
    - `sampling_interval`: s (`run.sampling_interval`).
    - `segment`: length (s) of a window, whose inverse is the resolution in Hz; by default
      a quarter of the signal.

    Source: Welch, IEEE Trans. Audio Electroacoust. 15, 70 (1967), through `scipy.signal`.
    """
    from scipy.signal import welch

    array = np.asarray(signal, dtype=float)
    _checks.positive("sampling_interval", sampling_interval)
    if array.ndim == 0 or array.shape[0] < 8:
        _checks.fail("signal", "have at least 8 samples", f"its shape is {array.shape}")
    _checks.finite("signal", array)
    samples = array.shape[0] // 4 if segment is None else round(segment / sampling_interval)
    if not 8 <= samples <= array.shape[0]:
        if segment is not None:
            _checks.fail(
                "segment",
                f"lie between {8 * sampling_interval:g} and "
                f"{array.shape[0] * sampling_interval:g} s",
                f"it is {segment:g}",
            )
        samples = min(max(samples, 8), array.shape[0])
    frequencies, power = welch(
        array, fs=1 / sampling_interval, nperseg=samples, detrend="constant", axis=0
    )
    return PowerSpectrum(frequencies, power)
