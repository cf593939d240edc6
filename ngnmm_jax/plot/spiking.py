"""Spiking neurons, and the mean field over which they lie."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from ngnmm_jax._core import checks as _checks
from ngnmm_jax.plot._style import DECAYING, GROWING, finish, legend_above, with_unit
from ngnmm_jax.simulation.result import Simulation
from ngnmm_jax.simulation.spiking import SpikingSimulation

_COLOURS = (GROWING, DECAYING, "#009e73", "#e69f00")


def spikes(
    run: SpikingSimulation,
    mean_field: Simulation | None = None,
    *,
    region: int = 0,
    window: tuple[float, float] | None = None,
    title: str = "",
) -> Figure:
    """Spikes of the recorded neurons of a region, above the populations' rates.

    **Arguments:**

    - `run`: a single run of spiking neurons.
    - `mean_field`: a simulation of the mean field, whose rates are drawn over theirs.
    - `region`: which one, of a network.
    - `window`: (start, end), in the model's unit of time; the whole run by default.
    """
    activity = run.activity
    if np.ndim(run.status):
        _checks.fail("run", "be a single run", f"it is a batch of {run.status.shape[0]}")
    whole = activity.labels is not None
    if whole and not 0 <= region < len(activity.labels or ()):
        _checks.fail("region", f"be below {len(activity.labels or ())}", f"it is {region}")
    ts = np.asarray(activity.ts)
    low, high = (ts[0], ts[-1]) if window is None else window
    inside = (ts >= low) & (ts <= high)
    figure = plt.figure(figsize=(8.0, 4.6), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1.4, 1])

    shown = np.asarray(run.spikes)[inside]
    shown = shown[:, :, region] if whole else shown  # (time, population, recorded)
    count = shown.shape[-1]
    for k, (name, rate) in enumerate(zip(run.populations, run.rates, strict=True)):
        when, who = np.nonzero(shown[:, k])
        colour = _COLOURS[k % len(_COLOURS)]
        top.plot(ts[inside][when], who + k * count, "|", ms=2.5, mew=0.8, color=colour)
        bottom.plot(ts[inside], _of(activity, rate, region)[inside], color=colour, lw=0.9,
                    label=f"{name} neurons")  # fmt: skip
        if mean_field is not None:
            times = np.asarray(mean_field.ts)
            part = (times >= low) & (times <= high)
            label = "mean field" if k == len(run.rates) - 1 else None
            bottom.plot(
                times[part], _of(mean_field, rate, region)[part], "k--", lw=1.0, label=label
            )
    names = run.populations
    top.set_yticks([(k + 0.5) * count for k in range(len(names))], names, rotation=90, va="center",
                   fontsize="small")  # fmt: skip
    top.tick_params(axis="y", length=0)
    top.set_ylim(0, len(names) * count)
    top.set_title(
        title or f"{count} of {run.neurons} neurons in each population, ordered by excitability",
        fontsize="medium",
    )
    bottom.set_xlabel(with_unit("time", activity.time_unit))
    unit = activity.units[activity.variables.index(run.rates[0])]
    bottom.set_ylabel(with_unit("rate", unit))
    bottom.set_xlim(low, high)
    bottom.set_ylim(bottom=0)
    legend_above(bottom, ncols=3)
    finish(top)
    finish(bottom)
    return figure


def _of(run: Simulation, name: str, region: int) -> Any:
    values = np.asarray(run[name])
    return values if values.ndim == 1 else values[:, region]
