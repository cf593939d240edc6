"""Summaries of simulated activity: those that are built in, and what a new one is made of."""

from collections.abc import Callable
from typing import Any

from ngnmm_jax._core import checks as _checks
from ngnmm_jax.sweeps.summaries.base import (
    AbstractStatistic,
    AbstractSummary,
    Field,
    Layout,
    OnAverage,
    Run,
    Window,
    squared,
)
from ngnmm_jax.sweeps.summaries.bold import Bold, BoldFC
from ngnmm_jax.sweeps.summaries.moments import (
    FC,
    Correlations,
    FCMean,
    Maximum,
    Mean,
    Minimum,
    Moments,
    Variance,
)
from ngnmm_jax.sweeps.summaries.spectral import BandPower, PeakFrequency, Spectra, Spectrum
from ngnmm_jax.sweeps.summaries.trace import Trace

__all__ = [
    "FC",
    "SUMMARIES",
    "AbstractStatistic",
    "AbstractSummary",
    "BandPower",
    "Bold",
    "BoldFC",
    "Correlations",
    "FCMean",
    "Field",
    "Layout",
    "Maximum",
    "Mean",
    "Minimum",
    "Moments",
    "OnAverage",
    "PeakFrequency",
    "Run",
    "Spectra",
    "Spectrum",
    "Trace",
    "Variance",
    "Window",
    "named",
    "squared",
]

#: By the names that stand for them, of something with `bands`, `repetition_time` and
#: `haemodynamics`.
SUMMARIES: dict[str, Callable[[Any], AbstractSummary]] = {
    "mean": lambda given: Mean(),
    "variance": lambda given: Variance(),
    "minimum": lambda given: Minimum(),
    "maximum": lambda given: Maximum(),
    "spectrum": lambda given: Spectrum(),
    "peak_frequency": lambda given: PeakFrequency(),
    "band_power": lambda given: BandPower(given.bands),
    "fc": lambda given: FC(),
    "fc_mean": lambda given: FCMean(),
    "field_variance": lambda given: Field(Variance()),
    "field_spectrum": lambda given: Field(Spectrum()),
    "field_peak_frequency": lambda given: Field(PeakFrequency()),
    "field_band_power": lambda given: Field(BandPower(given.bands)),
    "bold": lambda given: Bold(given.repetition_time, given.haemodynamics),
    "bold_fc": lambda given: BoldFC(given.repetition_time, given.haemodynamics),
    "trace": lambda given: Trace(),
}


def named(summary: Any, given: Any) -> AbstractSummary:
    """A summary, or the one that a name stands for, with the options of `given`."""
    if isinstance(summary, AbstractSummary):
        return summary
    if not isinstance(summary, str):
        but = f"one is {summary!r}"
        _checks.fail("keep", "hold names of summaries, or summaries such as `Mean()`", but)
    _checks.one_of("keep", summary, SUMMARIES)
    return SUMMARIES[summary](given)
