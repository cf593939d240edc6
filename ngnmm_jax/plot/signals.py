"""Activity: rasters, mean fields, spectra, cross-frequency coupling."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ngnmm_jax._core import checks as _checks
from ngnmm_jax.models.times import SECONDS, frequency_unit, seconds_in
from ngnmm_jax.plot._style import (
    DECAYING,
    GROWING,
    bare,
    counting,
    finish,
    legend_above,
    make_axes,
    picked,
    quantity,
    title_above,
    with_unit,
)
from ngnmm_jax.signals import Comodulogram, PowerSpectrum, envelope, power_spectrum
from ngnmm_jax.simulation.result import Simulation


def raster(
    run: Simulation, variable: str | None = None, *, ax: Axes | None = None, window: Any = None
) -> Axes:
    """One variable of all regions against time; `window` = (start, end) in the model's unit."""
    variable, values = picked(run, variable)
    if values.ndim != 2:
        must = "be one run of a network, of a batch `batch.run(0)`"
        _checks.fail("run", must, f"`{variable}` has shape {values.shape}")
    ts = np.asarray(run.ts)
    inside = slice(None)
    if window is not None:
        inside = slice(*np.searchsorted(ts, [window[0], window[1] * (1 + 1e-12)]))
    ax = make_axes(ax, (7.0, 3.2))
    ts, values = ts[inside], values[inside]
    # At rest, do not blow the integration's rounding up to full contrast.
    low, high = np.quantile(values, [0.005, 0.995])
    least = 0.01 * (1 + np.abs(values).max())
    if high - low < least:
        low, high = (low + high - least) / 2, (low + high + least) / 2
    mesh = ax.pcolormesh(
        ts,
        np.arange(values.shape[1]),
        values.T,
        shading="nearest",
        cmap="magma",
        vmin=low,
        vmax=high,
        rasterized=True,
    )
    ax.figure.colorbar(mesh, ax=ax, label=quantity(run, variable), pad=0.01)
    ax.set_xlabel(with_unit("time", run.time_unit))
    counting(ax.yaxis, "region")
    return ax


def mean_field(run: Simulation, variable: str | None = None, *, ax: Axes | None = None) -> Axes:
    """The average over regions of one variable against time."""
    variable, values = picked(run, variable)
    if values.ndim not in (1, 2):
        must = "be a single run, of a batch `batch.run(0)`"
        _checks.fail("run", must, f"`{variable}` has shape {values.shape}")
    ax = make_axes(ax, (7.0, 2.2))
    ax.plot(run.ts, values if values.ndim == 1 else values.mean(axis=1), color="0.15", lw=0.8)
    ax.set_xlabel(with_unit("time", run.time_unit))
    ax.set_ylabel(f"mean {quantity(run, variable)}")
    ax.margins(x=0)
    return finish(ax)


# Frequencies of a spectrum that are shown at least.
_POINTS = 25


def _reach(found: PowerSpectrum) -> float:
    """Where the axis of a spectrum may end: all if there is no power."""
    power = np.asarray(found.power)[1:]
    share = np.cumsum(power.reshape(len(power), -1).mean(axis=1))
    within = np.searchsorted(share, 0.95 * share[-1]) if share[-1] > 0 else len(power) - 1
    frequencies = np.asarray(found.frequencies)[1:]
    return float(max(1.5 * frequencies[within], frequencies[:_POINTS][-1]))


def spectrum(
    run: Simulation,
    variable: str | None = None,
    *,
    ax: Axes | None = None,
    segment: float | None = None,
    highest: float | None = None,
) -> Axes:
    """Power spectrum (dB) of the mean over regions, and in light colour of each region.

    **Arguments:** `segment`: s, of Welch's windows; `highest`: Hz, end of the axis; by
    default half as far again as 95 % of the regions' power reaches, and 25 frequencies at least.
    """
    variable, values = picked(run, variable)
    ax = make_axes(ax)
    ax.margins(x=0)
    top, bottom = -np.inf, np.inf
    each = None
    if values.ndim == 2:
        each = power_spectrum(values, run.sampling_interval, segment=segment)
        ax.plot(each.frequencies, each.decibels, color=DECAYING, lw=0.4, alpha=0.25, zorder=0)
        values = values.mean(axis=1)
    mean = power_spectrum(values, run.sampling_interval, segment=segment)
    ax.plot(mean.frequencies, mean.decibels, color="0.1", lw=1.4, label="mean of regions")
    highest = _reach(mean if each is None else each) if highest is None else highest
    for line in ax.lines:
        x, y = (np.asarray(data) for data in line.get_data())
        y = y[(x > 0) & (x <= highest) & np.isfinite(y)]
        if y.size:
            top, bottom = max(top, y.max()), min(bottom, y.min())
    ax.set_xlim(0, min(highest, float(mean.frequencies[-1])))
    if np.isfinite(top):
        ax.set_ylim(max(bottom, top - 80) - 2, top + 4)
    ax.set_xlabel(f"frequency ({frequency_unit(run.time_unit)})")
    ax.set_ylabel(f"power of {bare(variable, run)} (dB)")
    if len(ax.lines) > 1:
        ax.lines[0].set_label("regions")
        for handle in legend_above(ax, ncols=2).legend_handles:
            if handle is not None:
                handle.set_alpha(1.0)
    return finish(ax)


def rhythm(
    run: Simulation,
    variable: str | None = None,
    *,
    band: tuple[float, float],
    ax: Axes | None = None,
    window: float = 2.0,
) -> Axes:
    """The mean over regions of the last `window` seconds, with its envelope in a band (Hz)."""
    variable, values = picked(run, variable)
    values = values if values.ndim == 1 else values.mean(axis=1)
    around = np.asarray(envelope(values, run.sampling_interval, band))
    seconds = np.asarray(run.ts) * seconds_in(run.time_unit)
    # Without the end that the filter spoils.
    end = seconds[-1] - min(4 / (band[1] - band[0]), (seconds[-1] - seconds[0]) / 4)
    last = (seconds <= end) & (seconds >= end - window)
    ax = make_axes(ax, (9.0, 2.8))
    centre = values.mean()
    ax.plot(
        seconds[last], values[last], color="0.25", lw=0.6, label=f"mean {quantity(run, variable)}"
    )
    for sign in (1, -1):
        label = (
            f"envelope, {band[0]:g} to {band[1]:g} {frequency_unit(run.time_unit)}"
            if sign > 0
            else None
        )
        ax.plot(seconds[last], centre + sign * around[last], color=GROWING, lw=1.2, label=label)
    ax.set_xlabel("time (s)" if run.time_unit in SECONDS else "time")
    ax.set_ylabel(f"mean {quantity(run, variable)}")
    legend_above(ax, ncols=2)
    ax.margins(x=0)
    return finish(ax)


def comodulogram(result: Comodulogram, *, ax: Axes | None = None) -> Axes:
    """Coupling against both frequencies; dots where it is significant at 5 %."""
    ax = make_axes(ax, (5.4, 3.8))
    slow, fast = np.asarray(result.phase_frequencies), np.asarray(result.amplitude_frequencies)
    values = np.asarray(result.index).T
    mesh = ax.pcolormesh(slow, fast, values, shading="nearest", cmap="magma", rasterized=True)
    names = {"modulation_index": "modulation index", "phase_locking": "phase-locking value"}
    ax.figure.colorbar(mesh, ax=ax, label=names[result.measure], pad=0.02)
    ax.set_xlabel("frequency of the phase (Hz)")
    ax.set_ylabel("frequency of the amplitude (Hz)")
    if result.surrogates:
        sure = np.asarray(result.p).T <= 0.05
        rows, columns = np.nonzero(sure)
        ax.plot(slow[columns], fast[rows], "o", ms=2.2, color="w", mec="k", mew=0.3)
        note = "dots: p ≤ 0.05" if sure.any() else "nowhere p ≤ 0.05"
        text = f"{note} ({result.surrogates} surrogates)"
        ax.set_title(text, fontsize="small", loc="left", color="0.35")
    return ax


def activity(run: Simulation, *, title: str = "", window: float = 0.5) -> Figure:
    """Raster and mean field of the last `window` seconds, and the power spectrum of the run."""
    picked(run, None)
    figure = plt.figure(figsize=(10.0, 5.2), layout="constrained")
    grid = figure.add_gridspec(2, 3, height_ratios=[1.5, 1])
    end = float(run.ts[-1])
    start = max(float(run.ts[0]), end - window / seconds_in(run.time_unit))
    raster(run, ax=figure.add_subplot(grid[0, :]), window=(start, end))
    mean_field(run, ax=figure.add_subplot(grid[1, :2])).set_xlim(start, end)
    spectrum(run, ax=figure.add_subplot(grid[1, 2]))
    title_above(figure, title)
    return figure
