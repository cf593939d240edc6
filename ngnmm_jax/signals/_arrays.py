"""What every function of signals asks of its arguments."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from ngnmm_jax import _checks

# What users give for a number, and for a band: its lowest and highest frequency in Hz.
Number = float | int
Band = tuple[Number, Number]


def as_signal(
    signal: ArrayLike, sampling_interval: Any = 1.0, *, least: int = 8, ndim: int | None = None
) -> jax.Array:
    """A signal (time, …) as an array of JAX's default precision, checked."""
    array = jnp.asarray(signal, dtype=float)
    _checks.positive("sampling_interval", sampling_interval)
    if array.ndim == 0 or array.shape[0] < least:
        _checks.fail("signal", f"have at least {least} samples", f"its shape is {array.shape}")
    if ndim is not None and array.ndim != ndim:
        axes = "(time,)" if ndim == 1 else "(time, region)"
        _checks.fail("signal", f"have axes {axes}", f"its shape is {array.shape}")
    _checks.finite("signal", array)
    return array


def check_band(low: Number, high: Number, sampling_interval: float) -> None:
    """Refuse a band (Hz) that is empty or goes beyond the Nyquist frequency."""
    nyquist = 0.5 / sampling_interval
    _checks.finite("band", np.array([low, high]))
    if not 0 <= low < high <= nyquist * (1 + 1e-9):
        _checks.fail(
            "band",
            f"rise between 0 and {nyquist:g} Hz, half the sampling rate",
            f"it is ({low:g}, {high:g})",
        )
