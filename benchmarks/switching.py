"""Bistable regions under noise on the embedded connectome: docs/switching.png and its numbers.

    python -m benchmarks.switching [--seconds 300] [--out docs/switching.png]

Takes some minutes of one core.
"""

import argparse
from typing import Any

import jax
import numpy as np

import ngnmm_jax as ng
from ngnmm_jax import observe, signals
from ngnmm_jax.models import MontbrioPazoRoxin

# Couplings a, in The Virtual Brain's units, and the one that is looked at closely.
COUPLINGS, CHOSEN = (0.5, 0.8, 0.9, 0.95), 2
# Noise, in its units: of rates and of potentials.
NSIG = np.array([0.035, 0.07])
# Samples, volumes, windows and their steps, and what is left out at first, s.
SAMPLE, VOLUME, WINDOW, STEP, TRANSIENT = 0.02, 2.0, 60.0, 4.0, 20.0
# A region is up from above this rate until below the other, Hz.
HIGH, LOW = 65.0, 35.0


def system() -> ng.Driven:
    """The network at The Virtual Brain's working point, with times in ms."""
    model = MontbrioPazoRoxin(eta=-4.6, j=14.5, delta=0.7, tau=10.0)
    network = ng.Network(
        model, ng.Connectome.load("hcp-schaefer100").scaled(), 10 * COUPLINGS[CHOSEN]
    )
    r, v = np.sqrt(2 * NSIG / 10)
    return ng.Driven(network, {"r": r / 10, "v": v})


def computed(seconds: float) -> tuple[Any, list[dict[str, Any]]]:
    """Runs at all couplings from the lower state; what they show, by coupling."""
    driven = system()
    rest = ng.find_equilibria(ng.Homogeneous(driven.model, 0.0))
    runs = ng.simulate_batch(
        driven,
        {"coupling": 10 * np.array(COUPLINGS)},
        1000 * seconds,
        start=np.array([0.0057, -1.95]),
        integrator="moebius",
        dt=0.1,
        save_every=1000 * SAMPLE,
        variables=("r",),
        seed=1,
    )
    found = []
    for k, coupling in enumerate(COUPLINGS):
        rates = np.asarray(runs.r[k])[1:]
        bold = np.asarray(observe.bold(rates, SAMPLE, VOLUME))[round(TRANSIENT / VOLUME) :]
        rates = 1000 * rates[round(TRANSIENT / SAMPLE) :]
        fcd = signals.functional_connectivity_dynamics(bold, VOLUME, WINDOW, step=STEP)
        found.append(
            {
                "coupling": coupling,
                "rates": rates,
                "bold": bold,
                "fcd": fcd,
                "fc": np.asarray(signals.functional_connectivity(bold)),
                "switching": signals.switching(rates, SAMPLE, LOW, HIGH),
                "below_zero": float(runs.stats["below_zero"][k]),
            }
        )
    return rest, found


def figure(rest: Any, found: list[dict[str, Any]]) -> Any:
    """Rates, shares, BOLD, and functional connectivity over time."""
    import matplotlib.pyplot as plt

    shown, quiet = found[CHOSEN], found[0]
    fig, axes = plt.subplots(2, 3, figsize=(13, 7), layout="constrained")
    strength = np.asarray(system().weights).sum(axis=1)
    order = np.argsort(strength)
    part = shown["rates"][: round(60 / SAMPLE)]
    extent = (0, 60, 0, part.shape[1])
    image = axes[0, 0].imshow(
        part[:, order].T, aspect="auto", origin="lower", extent=extent, vmin=0, vmax=150
    )
    fig.colorbar(image, ax=axes[0, 0], label="rate (Hz)")
    axes[0, 0].set(xlabel="time (s)", ylabel="region, by what it receives", title="(a) rates")

    for one in found:
        axes[0, 1].hist(
            one["rates"].ravel(), bins=np.arange(0, 300, 4), histtype="step", density=True,
            label=f"a = {one['coupling']:g}",
        )  # fmt: skip
    for state, stable in zip(np.asarray(rest.states), np.asarray(rest.stable), strict=True):
        axes[0, 1].axvline(1000 * state[0], color="0.6", ls="-" if stable else ":", lw=1)
    axes[0, 1].set(
        yscale="log", xlabel="rate (Hz)", ylabel="density (1/Hz)", title="(b) two states"
    )
    axes[0, 1].legend()

    for one in found:
        share = np.asarray(one["switching"].share)
        axes[0, 2].plot(strength, share, ".", label=f"a = {one['coupling']:g}")
    axes[0, 2].set(xlabel="sum of weights", ylabel="share of time up", title="(c) who is up")

    times = VOLUME * np.arange(len(shown["bold"]))
    for k, region in enumerate(order[::14]):
        z = shown["bold"][:, region]
        axes[1, 0].plot(times, (z - z.mean()) / z.std() + 5 * k, lw=0.8)
    axes[1, 0].set(xlabel="time (s)", yticks=[], ylabel="some regions", title="(d) BOLD, in sd")
    for ax, one, letter in ((axes[1, 1], quiet, "e"), (axes[1, 2], shown, "f")):
        centres = np.asarray(one["fcd"].times)
        ends = (centres[0], centres[-1])
        image = ax.imshow(one["fcd"].matrix, origin="lower", extent=(*ends, *ends), vmin=0, vmax=1)
        title = f"({letter}) FCD at a = {one['coupling']:g}"
        ax.set(xlabel="window (s)", ylabel="window (s)", title=title)
    fig.colorbar(image, ax=axes[1, 1:], label="correlation of FC")
    return fig


def table(found: list[dict[str, Any]]) -> str:
    """What is seen at each coupling, in Markdown."""
    names = (
        "a", "share of time up", "regions that switch", "up (s)", "down (s)", "mean FC",
        "FCD: mean", "FCD: sd", "lowest rate (Hz)", "met zero",
    )  # fmt: skip
    rows = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for one in found:
        states, values = one["switching"], np.asarray(one["fcd"].values)
        rises, falls = np.asarray(states.rises), np.asarray(states.falls)
        up = np.asarray(states.up)
        fc = one["fc"][np.triu_indices(one["fc"].shape[0], 1)]
        row = (
            f"{one['coupling']:g}", f"{up.mean():.3f}", f"{((rises > 0) & (falls > 0)).sum()}",
            f"{up.sum() * SAMPLE / max(falls.sum(), 1):.2f}",
            f"{(~up).sum() * SAMPLE / max(rises.sum(), 1):.1f}",
            f"{fc.mean():.3f}", f"{values.mean():.3f}", f"{values.std():.3f}",
            f"{one['rates'].min():.2g}", f"{one['below_zero']:.3f}",
        )  # fmt: skip
        rows.append("| " + " | ".join(row) + " |")
    return "\n".join(rows)


def main() -> None:
    """The figure and the table."""
    jax.config.update("jax_enable_x64", True)
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--out", default="docs/switching.png")
    chosen = parser.parse_args()
    rest, found = computed(chosen.seconds)
    print(table(found))
    figure(rest, found).savefig(chosen.out, dpi=110)


if __name__ == "__main__":
    main()
