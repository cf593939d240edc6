"""Avalanches: events that follow each other without a pause, their sizes and durations."""

from functools import cached_property
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy.typing import ArrayLike

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax._core.status import Status
from ngnmm_jax.signals._arrays import Number, as_number, as_signal, moves, refuse_still

_SIDES = ("both", "above", "below")


class Avalanches(AbstractResult):
    """Runs of bins with events between bins without.

    - `sizes` (avalanche,): events in each. `durations` (avalanche,): s, whole bins.
    - `starts` (avalanche,): s from the first sample.
    - `counts` (bin,): events in each bin; `first`, `lengths` (avalanche,): where an avalanche
      begins among them, and over how many bins it goes.
    - `bin`: length of a bin, s. `cut`: avalanches at the ends of the signal, left out.
    - `status`: OK; NONE_FOUND where there is none.
    """

    sizes: Int[Array, "avalanche"]
    durations: Float[Array, "avalanche"]
    starts: Float[Array, "avalanche"]
    counts: Int[Array, "bin"]
    first: Int[Array, "avalanche"]
    lengths: Int[Array, "avalanche"]
    bin: float = eqx.field(static=True)
    cut: int = eqx.field(static=True)

    @property
    def status(self) -> Int[Array, ""]:
        """Whether there is any (`Status`)."""
        return as_array(int(Status.OK if self.sizes.size else Status.NONE_FOUND))

    @property
    def stats(self) -> dict[str, Any]:
        """How many were left out."""
        return {"cut": self.cut}

    def summary(self) -> dict[str, Any]:
        """How many, their sizes and durations."""
        found: dict[str, Any] = {"bin (s)": self.bin, "avalanches": int(self.sizes.size)}
        return {**found, "sizes": self.sizes, "durations (s)": self.durations}

    @property
    def branching(self) -> float:
        """Mean ratio of events in the second bin to those in the first, 0 where it is the last.

        NaN without avalanches. It depends on the bin, and on how much of all events is seen;
        `branching_ratio` less. Source: Beggs and Plenz, J. Neurosci. 23, 11167 (2003).
        """
        first = np.asarray(self.first)
        if not first.size:
            return float("nan")
        counts = np.asarray(self.counts)  # none of them touches the end
        return float((counts[first + 1] / counts[first]).mean())

    def profile(self, length: int) -> Float[Array, "bin"]:
        """Mean events in each bin of the avalanches that go over `length` bins; NaN without any."""
        _checks.positive_integer("length", length)
        first = np.asarray(self.first)[np.asarray(self.lengths) == length]
        if not first.size:
            return jnp.full(length, jnp.nan)
        places = first[:, None] + np.arange(length)
        return as_array(np.asarray(self.counts)[places].mean(axis=0))


class BranchingRatio(AbstractResult):
    """How many events follow on one, from the slopes of later activity against present activity.

    - `ratio`: m of the fit b mᵏ to the slopes; for a bin. `timescale`: −bin/log m, s (infinite at
      m ≥ 1).
    - `naive`: the slope at a lag of one bin, which is m only where all events are seen.
    - `amplitude`: b, about the share of the activity that is seen and not due to outer drive.
    - `slopes` (lag,), `lags` (lag,): what is fitted, and its lags, s.
    - `residual`: root mean square of slopes less fit, over the first slope (NaN where that is not
      above 0).
    - `status`: OK; NOT_CONVERGED where no geometric decay fits (b ≤ 0, m at a bound, or a residual
      of more than a fifth), or activity is not seen to be stationary: a timescale longer than a
      tenth of the signal, or means of its halves that differ by more than four of their standard
      errors, for correlations as fitted (as of a trend). The ratio means nothing then.
    """

    ratio: Float[Array, ""]
    timescale: Float[Array, ""]
    naive: Float[Array, ""]
    amplitude: Float[Array, ""]
    slopes: Float[Array, "lag"]
    lags: Float[Array, "lag"]
    residual: Float[Array, ""]
    status: Int[Array, ""]

    @cached_property
    def stats(self) -> dict[str, Any]:
        """How well it fits."""
        return {"residual": self.residual}

    def summary(self) -> dict[str, Any]:
        """The ratio and its timescale."""
        return {"ratio": self.ratio, "timescale (s)": self.timescale, "naive": self.naive}


def threshold_events(
    signal: ArrayLike, *, threshold: Number = 3.0, side: str = "both"
) -> np.ndarray:
    """One event (time, region) for each excursion of a signal, at its extreme.

    An excursion is a run of samples beyond `threshold` standard deviations of the region's own
    mean, `side` "above" it, "below" it, or "both". On the host: not under JAX's transformations.

    **Arguments:** `signal` (time, region).

    Raises `ValueError` where a region is constant, or to rounding.

    Source: Shriki et al., J. Neurosci. 33, 7079 (2013). What thresholds do to the sizes of what has
    no avalanches: Villegas et al., Phys. Rev. E 100, 012133 (2019).
    """
    array = np.asarray(as_signal(signal, ndim=2))
    _checks.positive("threshold", threshold)
    _checks.one_of("side", side, _SIDES)
    refuse_still(~moves(np.asarray(signal)))
    scaled = (array - array.mean(axis=0)) / array.std(axis=0)
    events = np.zeros(array.shape, bool)
    for sign, name in ((1, "above"), (-1, "below")):
        if side not in ("both", name):
            continue
        beyond = sign * scaled > as_number(threshold)
        for region in range(array.shape[1]):
            edges = np.flatnonzero(np.diff(beyond[:, region], prepend=False, append=False))
            for start, end in edges.reshape(-1, 2):
                peak = np.argmax(sign * scaled[start:end, region])
                events[start + peak, region] = True
    return events


def avalanches(
    events: ArrayLike, sampling_interval: Number, *, bin: Number | None = None
) -> Avalanches:
    """Avalanches of events: sequences of bins with events, between bins without.

    Those that begin in the first bin or end in the last one are left out, and counted in `cut`.
    On the host: not under JAX's transformations.

    **Arguments:**

    - `events` (time, region), or (time,): whether there is an event, or how many
      (`threshold_events`, spikes).
    - `sampling_interval`: s.
    - `bin`: s, rounded to whole samples; by default the mean time between events (of all regions).
      Sizes depend on it unless the events are critical: compare several.

    Raises `ValueError` for negative or broken numbers of events, none at all, more than JAX's whole
    numbers hold, or a bad bin.

    Source: Beggs and Plenz, J. Neurosci. 23, 11167 (2003).
    """
    some = np.asarray(events)
    if some.ndim not in (1, 2) or some.size == 0:
        _checks.fail("events", "have axes (time, region)", f"its shape is {some.shape}")
    if some.dtype.kind != "b":
        some = _checks.numbers("events", events)
        _checks.finite("events", some)
        if (some < 0).any() or (some != some.round()).any():
            _checks.fail("events", "be counts: whole numbers from zero", "some are not")
    _checks.positive("sampling_interval", sampling_interval)
    most = int(jnp.iinfo(jnp.asarray(0).dtype).max)
    if some.sum(dtype=float) >= most:
        _checks.fail(
            "events", f"be fewer than {most:.3g} together", f"are {some.sum(dtype=float):.3g}"
        )
    total = some.reshape(len(some), -1).sum(axis=1).astype(int)
    if not total.any():
        _checks.fail("events", "have one event at least", "they have none")
    dt = as_number(sampling_interval)
    width = _width(total, dt, bin)
    counts = np.add.reduceat(total[: len(total) // width * width], np.arange(0, len(total) // width
                             * width, width))  # fmt: skip
    edges = np.flatnonzero(np.diff(counts > 0, prepend=False, append=False)).reshape(-1, 2)
    whole = (edges[:, 0] > 0) & (edges[:, 1] < len(counts))
    first, end = edges[whole].T
    sums = np.r_[0, np.cumsum(counts)]
    return Avalanches(
        as_array(sums[end] - sums[first]),
        as_array((end - first) * width * dt),
        as_array(first * width * dt),
        as_array(counts),
        as_array(first),
        as_array(end - first),
        width * dt,
        int((~whole).sum()),
    )


def _width(total: np.ndarray, dt: float, bin: Number | None) -> int:
    """Samples in a bin."""
    if bin is None:
        times, number = np.flatnonzero(total), int(total.sum())
        gap = (times[-1] - times[0]) / (number - 1) if number > 1 else 1.0
        return min(max(1, round(float(gap))), len(total))
    _checks.positive("bin", bin)
    width = round(as_number(bin) / dt)
    if not 1 <= width <= len(total) // 3:
        _checks.fail("bin", f"lie between {dt:g} and {len(total) // 3 * dt:g} s", f"it is {bin:g}")
    return width


def branching_ratio(
    activity: ArrayLike, sampling_interval: Number, *, longest: Number | None = None
) -> BranchingRatio:
    """The branching ratio of activity of which only a part may be seen, by regressions over lags.

    Of a stationary branching process with drive, the slopes of activity k bins later against that
    now are b mᵏ, whatever share of it is seen. On the host: not under JAX's transformations.

    **Arguments:**

    - `activity` (time,): events in each bin (`events.sum(axis=1)`), or what is proportional to it.
    - `sampling_interval`: s, the bin.
    - `longest`: longest lag, s; by default that at which slopes have fallen to a tenth of the
      first, twice over, of at most a tenth of the signal, and at least four bins.

    Raises `ValueError` for activity that is constant, and lags that do not fit.

    Source: Wilting and Priesemann, Nat. Commun. 9, 2325 (2018).
    """
    from scipy.optimize import curve_fit

    array = np.asarray(as_signal(activity, sampling_interval, least=50, ndim=1), dtype=float)
    refuse_still(~moves(array[:, None]))
    dt, most = as_number(sampling_interval), len(array) // 10
    if longest is not None:
        _checks.positive("longest", longest)
        if not 4 <= round(as_number(longest) / dt) <= most:
            _checks.fail("longest", f"lie between {4 * dt:g} and {most * dt:g} s",
                         f"it is {longest:g}")  # fmt: skip
        most = round(as_number(longest) / dt)
    slopes = _slopes(array, most, to_a_tenth=longest is None)
    naive, lags = slopes[0], np.arange(1, len(slopes) + 1)
    try:
        (amplitude, ratio), _ = curve_fit(
            lambda k, b, m: b * m**k, lags, slopes, (max(naive, 0.1), 0.9),
            bounds=([0, 1e-6], [np.inf, 1.5]),
        )  # fmt: skip
        rest = np.sqrt(((amplitude * ratio**lags - slopes) ** 2).mean())
        residual = rest / naive if naive > 0 else np.nan
        fits = amplitude > 0 and 1e-5 < ratio < 1.49 and residual < 0.2
        fits = fits and _stationary(array, amplitude, ratio)
    except RuntimeError:
        amplitude, ratio, residual, fits = np.nan, np.nan, np.nan, False
    timescale = np.inf if ratio >= 1 else -dt / np.log(ratio)
    status = Status.OK if fits else Status.NOT_CONVERGED
    return BranchingRatio(
        as_array(ratio),
        as_array(timescale),
        as_array(naive),
        as_array(amplitude),
        as_array(slopes),
        as_array(lags * dt),
        as_array(residual),
        as_array(int(status)),
    )


def _stationary(array: np.ndarray, amplitude: float, ratio: float) -> bool:
    """Whether halves have one mean, by the error that correlations b mᵏ give it."""
    number = len(array) // 2
    if ratio >= np.exp(-10 / len(array)):
        return False
    apart = array[:number].mean() - array[-number:].mean()
    longer = 1 + 2 * amplitude * ratio / (1 - ratio)
    return bool(apart**2 < 4**2 * 2 * array.var() * longer / number)


def _slopes(array: np.ndarray, most: int, to_a_tenth: bool) -> np.ndarray:
    """Slopes at lags from one bin to `most`, or to twice where they are a tenth of the first."""
    found: list[float] = []
    while len(found) < most:
        now, later = array[: -len(found) - 1], array[len(found) + 1 :]
        centred = now - now.mean()
        found.append(float(centred @ later / (centred @ centred)))
        if to_a_tenth and found[-1] < 0.1 * found[0]:
            most, to_a_tenth = min(most, max(4, 2 * len(found))), False
    return np.array(found)
