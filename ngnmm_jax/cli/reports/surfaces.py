"""Activity of a cortex, into a folder."""

import dataclasses
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from ngnmm_jax import plot, signals
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.progress import progress_bar
from ngnmm_jax._core.status import Status
from ngnmm_jax.cli.cortex import Cortex
from ngnmm_jax.models.times import SECONDS, frequency_unit, seconds_in
from ngnmm_jax.plot._style import DECAYING, bare, finish, legend_above, quantity, title_above
from ngnmm_jax.signals._arrays import moves
from ngnmm_jax.simulation.result import Simulation

# Vertices whose spectra are computed together.
_TOGETHER = 4096
# The band in which waves are looked for, around the peak; seconds of each window, in periods.
_AROUND, _PERIODS = (0.7, 1.3), 4
# Seconds of a film, and its dots an inch.
_FILMED, _DOTS = 0.2, 80


def write_surface_activity(
    run: Simulation, cortex: Cortex, out: Path, title: str, *, animate: bool
) -> list[dict[str, Any]]:
    """Activity, summaries of each vertex, pictures, a film if `animate`; the rows of a table."""
    values = np.asarray(run[run.shown])
    summaries = _Summaries.of(run, values)
    data = run.to_xarray().assign_coords(region=cortex.kept).rename(region="vertex")
    for k, axis in enumerate("xyz"):
        data[axis] = ("vertex", cortex.surface.vertices[:, k], {"units": "mm"})
    unit = {"units": run.units[run.variables.index(run.shown)]}
    data[f"{run.shown}_mean"] = ("vertex", summaries.mean, unit)
    data[f"{run.shown}_sd"] = ("vertex", summaries.sd, unit)
    hertz = {"units": frequency_unit(run.time_unit)}
    data[f"{run.shown}_peak_frequency"] = ("vertex", summaries.peaks, hertz)
    data.to_netcdf(out / "activity.nc", engine="h5netcdf")
    _picture(run, values, summaries, cortex, out, title)
    if animate:
        _film(run, cortex, out)
    plt.close("all")
    return [_facts(run, values, summaries, cortex)]


@dataclasses.dataclass(frozen=True)
class _Summaries:
    """Of each vertex (vertex,): mean, deviation and frequency of the peak; and mean power."""

    mean: np.ndarray
    sd: np.ndarray
    peaks: np.ndarray
    frequencies: np.ndarray
    power: np.ndarray

    @classmethod
    def of(cls, run: Simulation, values: np.ndarray) -> "_Summaries":
        """Of a run's values (time, vertex), without its first tenth."""
        late = values[len(values) // 10 :]
        peaks: list[np.ndarray] = []
        power: Any = 0.0
        for begin in range(0, values.shape[1], _TOGETHER):
            found = signals.power_spectrum(
                late[:, begin : begin + _TOGETHER],
                run.sampling_interval,
                segment=min(1.0, len(late) * run.sampling_interval),
            )
            peaks.append(np.asarray(found.peak_frequency))
            power = power + np.asarray(found.power).sum(axis=1)
        frequencies = np.asarray(found.frequencies)
        still = ~moves(late)
        highest = np.where(still, np.nan, np.concatenate(peaks))
        return cls(late.mean(0), late.std(0), highest, frequencies, power / values.shape[1])


def _picture(
    run: Simulation,
    values: np.ndarray,
    summaries: _Summaries,
    cortex: Cortex,
    out: Path,
    title: str,
) -> None:
    """The end of the run and its deviation on the cortex; the mean field, and spectra."""
    figure, axes = plt.subplots(
        2, 2, figsize=(14.0, 7.2), layout="constrained", height_ratios=[1.7, 1]
    )
    shown = quantity(run, run.shown)
    end = f"{float(run.ts[-1]):g} {run.time_unit}"
    for ax, each, label, name in (
        (axes[0, 0], values[-1], shown, f"at {end}"),
        (axes[0, 1], summaries.sd, f"standard deviation of {shown}", "in time"),
    ):
        plot.surface(cortex.whole, cortex.on_whole(each), ax=ax, label=label, diverging=False)
        ax.set_title(name, fontsize="medium", loc="left")
    plot.mean_field(run, ax=axes[1, 0])
    ax = axes[1, 1]
    mean = signals.power_spectrum(
        values.mean(axis=1),
        run.sampling_interval,
        segment=min(1.0, len(values) * run.sampling_interval),
    )
    inner = slice(1, None)
    with np.errstate(divide="ignore"):
        every = 10 * np.log10(summaries.power)
    ax.plot(mean.frequencies[inner], mean.decibels[inner], color="0.1", lw=1.4, label="mean field")
    ax.plot(summaries.frequencies[inner], every[inner], color=DECAYING, label="mean of vertices")
    ax.set_xlim(0, min(150.0, float(summaries.frequencies[-1])))
    ax.set_xlabel(f"frequency ({frequency_unit(run.time_unit)})")
    ax.set_ylabel(f"power of {bare(run.shown, run)} (dB)")
    legend_above(ax, ncols=2)
    finish(ax)
    title_above(figure, title)
    figure.savefig(out / "activity.png", dpi=150)
    plt.close(figure)


def _film(run: Simulation, cortex: Cortex, out: Path) -> None:
    """The last of the run on the cortex, with grey where there are no nodes."""
    ts = np.asarray(run.ts)
    begin = int(np.searchsorted(ts, ts[-1] - _FILMED / seconds_in(run.time_unit)))
    begin = min(max(begin - 1, 0), len(ts) - 2)
    whole = dataclasses.replace(
        run,
        ts=run.ts[begin:],
        states=as_array(cortex.on_whole(run.states[begin:])),
        labels=tuple(map(str, range(cortex.whole.n_vertices))),
    )
    movie = plot.animate(whole, cortex.whole, window=_FILMED)
    frames = len(list(movie.new_frame_seq()))
    with progress_bar(frames, "film", "frame", None) as bar:
        movie.save(
            out / "activity.gif", "pillow", dpi=_DOTS, progress_callback=lambda *_: bar.update(1)
        )


def _facts(
    run: Simulation, values: np.ndarray, summaries: _Summaries, cortex: Cortex
) -> dict[str, Any]:
    """What the activity is, in a few numbers."""
    hertz = frequency_unit(run.time_unit)
    facts: dict[str, Any] = {
        "": "activity",
        f"sd of {run.shown}": f"{values[len(values) // 10 :].std():.3g}",
        f"peak of vertices ({hertz})": "–",
    }
    known = summaries.peaks[np.isfinite(summaries.peaks)]
    if not known.size:
        return facts | {"": "at rest"}
    facts[f"peak of vertices ({hertz})"] = f"{np.median(known):.1f}"
    return facts | _waves(run, values, float(summaries.frequencies[1:][
        summaries.power[1:].argmax()]), cortex)  # fmt: skip


def _waves(run: Simulation, values: np.ndarray, peak: float, cortex: Cortex) -> dict[str, str]:
    """Waves at the peak of the vertices' mean spectrum, late in the run."""
    names = ("wavelength (mm)", "speed of waves (m/s)", "directionality")
    unknown = dict.fromkeys(names, "–")
    if run.time_unit not in SECONDS:
        return unknown
    late = values[len(values) // 2 :]
    mesh = signals.Mesh(cortex.surface.vertices, cortex.surface.faces)
    band = (_AROUND[0] * peak, min(_AROUND[1] * peak, 0.45 / run.sampling_interval))
    try:
        found = signals.travelling_waves(
            late - late.mean(axis=0), run.sampling_interval, mesh, band, window=_PERIODS / peak
        )
    except ValueError:  # a run too short for that
        return unknown
    if not bool((found.status == Status.OK).any()):  # shorter than the mesh can tell
        return unknown
    medians = (found.wavelength, found.speed, found.directionality)
    return {
        name: f"{float(np.nanmedian(np.asarray(value))):.3g}"
        for name, value in zip(names, medians, strict=True)
    }
