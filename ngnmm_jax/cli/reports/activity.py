"""Rhythms of the network's activity, into a folder."""

import contextlib
import csv
import math
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from ngnmm_jax import plot, signals
from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.lanes import grid
from ngnmm_jax._core.status import SolverError, Status
from ngnmm_jax.models.times import seconds_in, usual_sample
from ngnmm_jax.plot._style import finish, title_above
from ngnmm_jax.signals._arrays import moves
from ngnmm_jax.simulation.batch import simulate_batch
from ngnmm_jax.simulation.result import Simulation
from ngnmm_jax.systems.network import Network

# More panels than this are no figure.
_MOST_POINTS = 25
# The band around the peak, and fluctuations of less than this fraction are rest.
_AROUND, _STILL = (0.7, 1.3), 1e-3
_PHASES = np.arange(2.0, 21.0)


def write_spectra(
    network: Network,
    parameters: dict[str, np.ndarray],
    options: dict[str, Any],
    out: Path,
    title: str,
    *,
    animate: bool,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Rasters and power spectra at the points of a grid; the rows of a table.

    Of a single point (nothing varies) also its activity, its rhythm with the coupling between
    frequencies, and an animation if `animate`. `options`: `dt`, `seed` and `scatter`;
    `duration` and `transient` in the model's unit, or None for 20 s after 2 s.
    """
    values, _ = grid(parameters) if parameters else ({"coupling": network.coupling[None]}, (1,))
    count = next(iter(values.values())).shape[0]
    if count > _MOST_POINTS:
        _checks.fail("--vary", f"give at most {_MOST_POINTS} points in all", f"they are {count}")
    if animate and (network.connectome is None or network.connectome.centroids is None):
        _checks.fail("connectome", "have centroids for an animation", "it has none")
    second = 1000 * usual_sample(network.model)  # or as many samples
    transient = 2 * second if options["transient"] is None else options["transient"]
    duration = 20 * second if options["duration"] is None else options["duration"]
    dt = options["dt"]
    every = max(1, round(1e-3 * second / dt)) * dt
    first, last = (math.ceil(t / every) for t in (transient, transient + duration))
    batch = simulate_batch(
        network,
        values,
        last * every,
        dt=dt,
        save_at=np.arange(first, last + 1) * every,
        seed=[options["seed"]] * count,
        scatter=options["scatter"],
    )
    if (np.asarray(batch.status) != Status.OK).all():
        raise SolverError("spectrum", Status(int(batch.status[0])), batch)
    written = {name: plot.symbol(name, network) for name in values}
    names = [
        ", ".join(f"{written[name]} = {float(value[k]):g}" for name, value in values.items())
        for k in range(count if parameters else 0)
    ] or [""]
    activities = [_Activity(batch.run(k)) for k in range(count)]
    _panels(activities, names, out, title)
    _table_of_spectra(activities, values, out)
    rows = []
    for k, activity in enumerate(activities):
        here = ", ".join(f"{float(value[k]):g}" for value in values.values())
        rows.append({", ".join(values): here, **rhythm_facts(activity)})
    if count == 1:
        run = activities[0].run
        run.to_xarray().to_netcdf(out / "activity.nc", engine="h5netcdf")
        if not activities[0].resting:
            say("coupling between frequencies")
            _rhythm(activities[0], network, out, title)
        if animate and network.connectome is not None:
            say("animation")
            plot.animate(run, network.connectome).save(out / "activity.gif", writer="pillow")
    plt.close("all")
    return rows


class _Activity:
    """A run with what several outputs need of it, computed once."""

    def __init__(self, run: Simulation) -> None:
        self.run = run
        self.ok = int(run.status) == Status.OK
        self.values = np.asarray(run[run.shown])
        self.interval = run.sampling_interval
        # 1 s for Welch's windows, where the run has it.
        self.segment = min(1.0, len(self.values) * self.interval)

    @cached_property
    def resting(self) -> bool:
        """Whether nothing moves."""
        return bool(self.values.std() < _STILL * (1 + abs(self.values.mean())))

    @cached_property
    def power(self) -> signals.PowerSpectrum:
        """Mean of the regions' spectra."""
        each = signals.power_spectrum(self.values, self.interval, segment=self.segment)
        return signals.PowerSpectrum(each.frequencies, each.power.mean(axis=1))

    @property
    def band(self) -> tuple[float, float]:
        """Around the regions' peak (Hz)."""
        peak = float(self.power.peak_frequency)
        return _AROUND[0] * peak, min(_AROUND[1] * peak, 0.5 / self.interval)


def rhythm_facts(activity: _Activity) -> dict[str, str]:
    """Peak, bands, synchrony and connectivity of a run's activity."""
    run, values = activity.run, activity.values
    names = (
        f"sd of {run.shown}",
        "peak of regions (Hz)",
        *(f"power in {name}" for name in signals.BANDS),
        "order parameter",
        "metastability",
        "mean correlation of regions",
    )
    facts = {"activity": "moving", **dict.fromkeys(names, "–")}
    if not activity.ok:
        return {**facts, "activity": Status(int(run.status)).name}
    facts[f"sd of {run.shown}"] = f"{values.std():.3g}"
    if activity.resting:
        return {**facts, "activity": "at rest"}
    power = activity.power
    facts["peak of regions (Hz)"] = f"{float(power.peak_frequency):.1f}"
    total = float(power.power[1:].sum() * power.frequencies[1])
    for name, band in signals.BANDS.items():
        with contextlib.suppress(ValueError):  # a run too short or too seldom sampled for it
            facts[f"power in {name}"] = f"{float(power.band_power(*band)) / total:.1%}"
    moving = values[:, moves(values)]
    phases = signals.phase(moving, activity.interval, activity.band)
    facts["order parameter"] = f"{float(signals.kuramoto_order(phases).mean()):.3f}"
    facts["metastability"] = f"{float(signals.metastability(phases)):.3f}"
    if moving.shape[1] > 1:
        together = np.asarray(signals.functional_connectivity(moving))
        upper = together[np.triu_indices(len(together), 1)]
        facts["mean correlation of regions"] = f"{upper.mean():.3f}"
    return facts


def _panels(activities: list[_Activity], names: list[str], out: Path, title: str) -> None:
    count = len(activities)
    columns = min(count, 4)
    rows = math.ceil(count / columns)
    for file, draw, size in (
        ("rasters.png", _draw_raster, (4.2, 2.6)),
        ("spectra.png", _draw_spectrum, (3.8, 3.0)),
    ):
        width, height = size[0] * columns + 1, size[1] * rows + 0.5
        figure = plt.figure(figsize=(max(width, 7.0), height), layout="constrained")
        every = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax, activity, name in zip(every, activities, names, strict=False):
            if activity.ok:
                draw(activity, ax)
            else:
                status = Status(int(activity.run.status))
                ax.text(0.5, 0.5, status.name, ha="center", va="center")
                ax.set_axis_off()
            ax.set_title(name, fontsize="medium")
        for ax in every[count:]:
            ax.set_axis_off()
        title_above(figure, title)
        figure.savefig(out / file, dpi=150)
        plt.close(figure)


def _draw_raster(activity: _Activity, ax: Any) -> None:
    run = activity.run
    end = float(run.ts[-1])
    plot.raster(run, ax=ax, window=(end - 0.3 / seconds_in(run.time_unit), end))


def _draw_spectrum(activity: _Activity, ax: Any) -> None:
    plot.spectrum(activity.run, ax=ax, segment=activity.segment)


def _table_of_spectra(activities: list[_Activity], values: dict[str, Any], out: Path) -> None:
    """One line for each point and frequency."""
    with (out / "spectra.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*values, "frequency_hz", "power_of_regions", "power_of_mean_field"])
        for k, activity in enumerate(activities):
            if not activity.ok:
                continue
            mean = signals.power_spectrum(
                activity.values.mean(axis=1), activity.interval, segment=activity.segment
            )
            point = [float(value[k]) for value in values.values()]
            columns = (mean.frequencies, activity.power.power, mean.power)
            for line in zip(*(np.asarray(column) for column in columns), strict=True):
                writer.writerow([*point, *(float(number) for number in line)])


def _rhythm(activity: _Activity, network: Network, out: Path, title: str) -> None:
    """The mean field with its envelope, the envelope's spectrum, and who modulates whom."""
    values, interval, band = activity.values, activity.interval, activity.band
    mean = values.mean(axis=1)
    figure = plt.figure(figsize=(11.5, 6.8), layout="constrained")
    places = figure.add_gridspec(2, 3, height_ratios=[1, 1.2])
    plot.rhythm(activity.run, band=band, ax=figure.add_subplot(places[0, :]))
    ax = finish(figure.add_subplot(places[1, 0]))
    strength = signals.envelope(mean, interval, band)
    length = min(2.0, len(mean) * interval / 2)
    spectrum = signals.power_spectrum(strength, interval, segment=length)
    shown = (spectrum.frequencies > 0) & (spectrum.frequencies <= 30)
    ax.plot(spectrum.frequencies[shown], spectrum.decibels[shown], color="0.2", lw=1.2)
    ax.set_xlabel("frequency (Hz)")
    ax.set_ylabel("power of the mean field's envelope (dB)")
    largest = int(values.var(axis=0).argmax())
    label = network.labels[largest]
    for place, signal, name in (
        (places[1, 1], mean, "mean field"),
        (places[1, 2], values[:, largest], f"{label} (largest variance)"),
    ):
        ax = figure.add_subplot(place)
        fast = np.arange(max(2 * _PHASES[-1], 30.0), min(160.0, 0.5 / interval - 20), 5.0)
        try:
            result = signals.comodulogram(signal, interval, _PHASES, fast)
        except ValueError as error:  # a run too short for the slow bands
            told = ax.text(0.5, 0.5, str(error), ha="center", va="center", wrap=True,
                           fontsize="small")  # fmt: skip
            told.set_in_layout(False)
            ax.set_axis_off()
            continue
        plot.comodulogram(result, ax=ax)
        ax.set_title(f"{name}\n{ax.get_title(loc='left')}", fontsize="small", loc="left")
    title_above(figure, title)
    figure.savefig(out / "rhythm.png", dpi=150)
    plt.close(figure)
