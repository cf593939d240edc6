"""How near spiking neurons come to each model's mean field, as their number grows.

    python -m benchmarks.neurons                    # the table, 100 to 100,000 neurons
    python -m benchmarks.neurons mpr nextgen        # of some models, by their registered names
    python -m benchmarks.neurons --json table.json
    python -m benchmarks.neurons --figure docs/neurons.png   # instead: a pulse and a slow sine

Errors are root mean squared differences of the populations' rates (by the widths of their
potentials) over four runs, relative to the largest rate of the mean field. Neurons start away from
the equilibrium, with rates 1.4 times as large.
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import numpy as np

import ngnmm_jax as ng
from benchmarks import common
from ngnmm_jax.integrators import Adaptive

SIZES = (100, 1000, 10_000, 100_000)
#: How many of the model's steps a run takes, and of how many runs the errors are the mean.
_STEPS, _RUNS = 800, 4
_MODELS = ng.models.MODELS


def exact_ones() -> list[str]:
    """Names of the models that have populations of QIF neurons."""
    return [name for name, kind in _MODELS.items() if kind().populations()]


def errors(model: Any, sizes: tuple[int, ...], runs: int = _RUNS) -> np.ndarray:
    """Relative errors of the populations' rates (size,)."""
    node = ng.Homogeneous(model, 0.0)
    rest = np.asarray(ng.initial_state(node, scatter=0.0))
    rates = [model.variables.index(p.rate) for p in model.populations()]
    start = rest * np.where(np.isin(np.arange(rest.size), rates), 1.4, 1.0)
    dt = float(node.time_step)
    times: dict[str, Any] = {"save_every": 8 * dt, "start": start}
    adaptive = Adaptive(rtol=1e-10, atol=1e-12)
    exact = ng.simulate(node, _STEPS * dt, integrator=adaptive, **times)
    known = np.stack([np.asarray(exact.states)[:, k] for k in rates], axis=1)
    found = []
    for neurons in sizes:
        run = ng.simulate_spiking(
            node, _STEPS * dt, dt=dt, neurons=neurons, progress=False,
            **{**times, "start": np.broadcast_to(start, (runs, start.size))},
            seed=np.arange(runs),
        )  # fmt: skip
        gap = np.asarray(run.width_rates) - known
        found.append(float(np.sqrt(np.mean(gap**2))) / known.max())
    return np.array(found)


def figure(path: Path, neurons: int = 10_000) -> None:
    """Neurons and mean field under a pulse and a slow sine, as in Montbrió et al. (2015), Fig. 2.

    Δ = 1, J = 15, η = -5, tau = 1; a pulse of 3, and 3 sin(π t / 20).
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    node = ng.Homogeneous(ng.MontbrioPazoRoxin(eta=-5.0, j=15.0, delta=1.0), 0.0)
    start = ng.initial_state(node, scatter=0.0)
    pulse, sine = map(np.asarray, ((10.0, 20.0, 3.0), (40.0, 3.0)))
    stimuli: dict[str, Any] = {
        "a pulse": (ng.stimuli.Pulse(*pulse), 40.0),
        "a slow sine": (ng.stimuli.Sine(*sine), 80.0),
    }
    made = plt.figure(figsize=(9.0, 6.4), layout="constrained")
    axes = made.subplots(4, 2, sharex="col", height_ratios=[1, 1, 1, 0.5])
    for column, (name, (stimulus, duration)) in enumerate(stimuli.items()):
        driven = ng.Driven(node, stimulus=stimulus)
        options: Any = {"start": start, "save_every": 0.1}
        exact = ng.simulate(driven, duration, dt=0.005, **options)
        run = ng.simulate_spiking(driven, duration, neurons=neurons, progress=False, **options)
        rate, centre, raster, current = axes[:, column]
        ts = np.asarray(exact.ts)
        for ax, key in ((rate, "r"), (centre, "v")):
            ax.plot(ts, run.activity[key], color="#d55e00", lw=1.0, label=f"{neurons:,} neurons")
            ax.plot(ts, exact[key], "k--", lw=1.0, label="mean field")
        when, who = np.nonzero(np.asarray(run.spikes)[:, 0])
        raster.plot(ts[when], who, "|", ms=2.0, mew=0.5, color="#0072b2")
        current.plot(ts, [float(stimulus(t)) for t in ts], color="k", lw=1.0)
        rate.set_title(name, fontsize="medium")
        current.set_xlabel("time (ms)")
        if not column:
            rate.legend(frameon=False, fontsize="small")
            labels = ("$r$ (1/ms)", "$v$", "100 of the neurons", "$I$")
            for ax, label in zip(axes[:, 0], labels, strict=True):
                ax.set_ylabel(label)
    made.savefig(path, dpi=120)


def main() -> None:
    """Print the table, or draw the figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.neurons")
    parser.add_argument("models", nargs="*", help=f"of {', '.join(exact_ones())}; default: all")
    parser.add_argument("--json", type=Path, help="write the table there too")
    parser.add_argument("--figure", type=Path, help="draw the figure there instead")
    given = parser.parse_args()
    unknown = set(given.models) - set(exact_ones())
    if unknown:
        parser.error(f"no model with neurons is called {', '.join(sorted(unknown))}")
    if given.figure:
        figure(given.figure)
        return
    rows = []
    for name in given.models or exact_ones():
        found = errors(_MODELS[name](), SIZES)
        slope = np.polyfit(np.log(SIZES), np.log(found), 1)[0]
        rows.append([name, *(f"{value:.1e}" for value in found), f"N^{slope:.2f}"])
    print(common.machine(), end="\n\n")
    common.table(["model", *(f"{n:,}" for n in SIZES), "falls as"], rows)
    if given.json:
        common.save(given.json, "neurons")


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
