"""The spiking network behind the mean field: how near they are, and how that scales."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np

import ngnmm_jax as ng
from ngnmm_jax import plot
from ngnmm_jax.integrators import Adaptive
from ngnmm_jax.reproduce.task import Row, Task, agree

#: (i_ext_e, coupling): what the homogeneous state is there.
_STATES = {"resting": (2.0, 0.0), "PING": (10.0, 0.0), "period doubled": (9.5, 12.0)}
_QUANTITIES = {"r_e": "rate", "v_e": "potential", "s_e": "gate"}


def errors(
    node: ng.Homogeneous, sizes: list[int], *, duration: float = 100.0, runs: int = 4
) -> dict[str, np.ndarray]:
    """Root mean squared differences from the mean field, by quantity (size,), over `runs` seeds."""
    rest = np.asarray(ng.initial_state(node, scatter=0.0))
    start = rest * np.where(np.arange(rest.size) == 0, 1.3, 1.0)  # away from rest
    adaptive = Adaptive(rtol=1e-10, atol=1e-12)
    exact = ng.simulate(node, duration, start=start, save_every=0.5, integrator=adaptive)
    found: dict[str, list[float]] = {name: [] for name in _QUANTITIES}
    for neurons in sizes:
        run = ng.simulate_spiking(
            node,
            duration,
            neurons=neurons,
            start=np.broadcast_to(start, (runs, rest.size)),
            seed=np.arange(runs),
            progress=False,
        )
        here = {"r_e": run.width_rates[:, :, 0], "v_e": run.activity.v_e, "s_e": run.activity.s_e}
        for name, values in here.items():
            gap = np.asarray(values) - np.asarray(exact[name])
            found[name].append(float(np.sqrt(np.mean(gap**2))))
    return {name: np.array(values) for name, values in found.items()}


def spiking(task: Task) -> list[Row]:
    """Quadratic integrate-and-fire neurons against the mean field."""
    sizes = [100, 300, 1000, 3000, *task.choose([], [10_000, 30_000, 100_000])]
    rows = []
    figure = plt.figure(figsize=(11.0, 3.6), layout="constrained")
    axes = figure.subplots(1, len(_STATES), sharey=True)
    for ax, (state, (i_ext_e, coupling)) in zip(axes, _STATES.items(), strict=True):
        task.say(f"neurons, {state}")
        node = task.network(i_ext_e, coupling).homogeneous()
        found = errors(node, sizes)
        slopes = {}
        for name, values in found.items():
            ax.loglog(sizes, values, "o-", ms=4, label=plot.symbol(name, node))
            slopes[name] = float(np.polyfit(np.log(sizes), np.log(values), 1)[0])
        middle = found["s_e"][0] * np.sqrt(sizes[0] / np.array(sizes, dtype=float))
        ax.loglog(sizes, middle, "k--", lw=0.8, label=r"$N^{-1/2}$")
        ax.set_title(f"{state} ({i_ext_e:g}, {coupling:g})", fontsize="medium")
        ax.set_xlabel("neurons in each population")
        worst = max(slopes.values())
        rows.append(
            Row(
                f"the mean field of QIF neurons is exact as their number grows: {state}",
                ", ".join(f"error of the {_QUANTITIES[n]} as N^{s:.2f}" for n, s in slopes.items()),
                agree(worst < -0.35, worst < 0),
            )
        )
    axes[0].set_ylabel("root mean squared difference")
    axes[0].legend(frameon=False, fontsize="small")
    task.save(figure, "convergence")

    node = task.network(*_STATES["period doubled"]).homogeneous()
    start = ng.initial_state(node, scatter=0.02)
    options: Any = {"start": start, "save_every": 0.2}
    run = ng.simulate_spiking(node, 200.0, neurons=task.choose(2000, 10_000), **options)
    exact = ng.simulate(node, 200.0, **options)
    task.save(plot.spikes(run, exact), "raster")
    return rows
