"""What the command line writes about a result: tables, files, figures."""

import csv
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from ngnmm_jax import plot
from ngnmm_jax.connectome import Connectome
from ngnmm_jax.dynamics.equilibria import Equilibria
from ngnmm_jax.modes import dispersion
from ngnmm_jax.network import Network


def write_dispersion(
    network: Network, rest: Equilibria, limits: tuple[float, float, int], out: Path, title: str
) -> list[dict[str, Any]]:
    """Dispersion relations of all equilibria into `out`; one row of a table for each."""
    grid = np.linspace(*limits)
    model = network.model
    rows: list[dict[str, Any]] = []
    lines: list[list[Any]] = []
    count = rest.states.shape[0]
    figure = plt.figure(figsize=(1.2 + 4.2 * count, 3.6), layout="constrained")
    axes = figure.subplots(1, count, squeeze=False)[0]
    for k, ax in enumerate(axes):
        state = rest.states[k]
        modes = dispersion(network, state)
        plot.dispersion(dispersion(network, state, lambdas=grid), modes, ax=ax)
        shown = float(model.observe(state))
        ax.set_title(f"{model.shown} = {shown:.3f}", fontsize="medium")
        fastest = int(modes.fastest)
        unit = f"(1/{model.time_unit})"
        rows.append(
            {
                "equilibrium": k,
                model.shown: shown,
                "uniform growth " + unit: float(rest.growth[k]),
                "stable": "yes" if bool(rest.stable[k]) else "no",
                "growing modes": f"{int(modes.number_growing)} of {int(modes.transverse.sum())}",
                "fastest Λ": f"{complex(modes.lambdas[fastest]):.4f}".replace("+0.0000j", ""),
                "growth " + unit: float(modes.growth[fastest]),
                "frequency (Hz)": float(modes.frequency[fastest]),
            }
        )
        for j, value in enumerate(np.asarray(modes.lambdas)):
            growth, frequency = float(modes.growth[j]), float(modes.frequency[j])
            lines.append([k, j, value.real, value.imag, growth, frequency])
        if network.connectome is not None and network.connectome.centroids is not None:
            vector = network.connectome.eigenmodes().vectors[:, fastest].real
            brain = plot.brain(network.connectome, vector, label="amplitude (unit norm)")
            brain.suptitle(f"{title}; equilibrium {k}, fastest mode")
            brain.savefig(out / f"mode_{k}.png", dpi=150)
            plt.close(brain)
    figure.suptitle(title)
    figure.savefig(out / "dispersion.png", dpi=150)
    plt.close(figure)
    with (out / "dispersion.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        growth_name = f"growth_per_{model.time_unit}"
        names = ["equilibrium", "mode", "lambda_real", "lambda_imag", growth_name, "frequency_hz"]
        writer.writerow(names)
        writer.writerows(lines)
    return rows


def connectome_facts(connectome: Connectome) -> list[tuple[str, str]]:
    """What is worth knowing about a connectome, line by line."""
    n = connectome.n_regions
    weights = connectome.weights
    positive = weights[weights > 0]
    sums = weights.sum(axis=1)
    facts = [
        ("name", connectome.name),
        ("source", connectome.source),
        ("regions", f"{n}: {', '.join(connectome.labels[:3])}{', …' if n > 3 else ''}"),
        ("connections", f"{connectome.n_connections} ({connectome.n_connections / n / n:.1%})"),
        ("symmetric", "yes" if connectome.is_symmetric else "no"),
    ]
    if positive.size:
        facts.append(("weights", f"{positive.min():.4g} to {positive.max():.4g}"))
    if connectome.tract_lengths is not None:
        lengths = connectome.tract_lengths[connectome.tract_lengths > 0]
        facts.append(("tract lengths", f"{lengths.min():.1f} to {lengths.max():.1f} mm"))
    facts.append(("coordinates", "yes" if connectome.centroids is not None else "no"))
    silent = [connectome.labels[k] for k in np.flatnonzero(sums == 0)]
    if silent:
        facts.append(("receive nothing", ", ".join(silent[:5]) + (", …" if silent[5:] else "")))
        return facts
    modes = connectome.normalised().eigenmodes()
    values = np.asarray(modes.values)
    facts += [
        ("normalised spectrum", "real" if modes.is_real else "complex"),
        ("second eigenvalue", f"{values[1] if n > 1 else float('nan'):.6g}"),
        ("last eigenvalue", f"{values[-1]:.6g}"),
        ("residual", f"{modes.residual:.1e}"),
    ]
    return facts


def write_connectome(connectome: Connectome, out: Path) -> None:
    """The connectome itself and a figure of its weights and its normalised spectrum."""
    connectome.save(out / "connectome.npz")
    figure = plt.figure(figsize=(9.0, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    plot.connectome_matrix(connectome, ax=left)
    if (connectome.weights.sum(axis=1) > 0).all():
        plot.structural_spectrum(connectome.normalised(), ax=right)
    else:
        right.set_axis_off()
    figure.suptitle(f"{connectome.name}: weights, and spectrum with rows normalised")
    figure.savefig(out / "connectome.png", dpi=150)
    plt.close(figure)
