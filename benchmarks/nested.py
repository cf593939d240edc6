"""Gamma nested in theta, locked and not, and the tongues between: docs/nested.png.

    python -m benchmarks.nested [--out docs/nested.png]

Takes about a minute of one core.
"""

import argparse
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import ngnmm_jax as ng
from ngnmm_jax import plot, stimuli

PERIOD = 125.0  # ms: theta of 8 Hz


def run_of(theta: ng.Driven, duration: float) -> Any:
    """Activity after eight cycles of theta."""
    begun = ng.simulate(theta, 8 * PERIOD, dt=0.05)
    return ng.simulate(theta, duration, dt=0.05, start=begun)


def potential(run: Any, amplitude: float, title: str, ax: Axes) -> None:
    """Four cycles of theta: the potential, and what drives it."""
    t = np.asarray(run.ts) - float(run.ts[0])
    t = t[t <= 4 * PERIOD]
    ax.plot(t, np.asarray(run.v_e)[: t.size], color=plot.DECAYING, lw=1)
    ax.set(xlabel="time (ms)", ylabel=plot.symbol("v_e", run))
    ax.set_title(title, fontsize="medium", loc="left")
    drive = ax.twinx()
    drive.plot(t, amplitude * np.sin(2 * np.pi * t / PERIOD), color=plot.GROWING, lw=1)
    drive.set_ylim(-0.6, 2.5)
    drive.set_yticks([-0.5, 0.0, 0.5])
    drive.set_ylabel("theta (1/ms)", color=plot.GROWING, loc="bottom")


def figure() -> Figure:
    """Both runs, the plane and the comodulogram."""
    mass = ng.Homogeneous(ng.NextGenEI(i_ext_e=8.0), 0.0)
    theta = ng.Driven(mass, stimulus=stimuli.Sine(jnp.asarray(PERIOD), jnp.asarray(0.5)))
    weak = theta.with_parameters(stimulus_amplitude=0.2)
    result, axes = plt.subplots(2, 2, figsize=(9.2, 5.9), layout="constrained")
    potential(run_of(theta, 4 * PERIOD), 0.5, "amplitude 0.5: locked 1:4", axes[0, 0])
    run = run_of(weak, 32 * PERIOD)
    potential(run, 0.2, "amplitude 0.2: not locked", axes[0, 1])
    plane = {
        "i_ext_e": np.linspace(5.0, 12.5, 38),
        "stimulus_amplitude": np.linspace(0.0, 1.0, 21),
    }
    plot.arnold_tongues(ng.arnold_tongues(theta, plane, cycles=48, transient=48), ax=axes[1, 0])
    coupled = ng.signals.comodulogram(
        run.v_e, run.sampling_interval, np.arange(4.0, 13.0, 2.0), np.arange(24.0, 72.0, 4.0),
        surrogates=0,
    )  # fmt: skip
    plot.comodulogram(coupled, ax=axes[1, 1])
    return result


def main() -> None:
    """The figure."""
    jax.config.update("jax_enable_x64", True)
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default="docs/nested.png")
    figure().savefig(parser.parse_args().out, dpi=110)


if __name__ == "__main__":
    main()
