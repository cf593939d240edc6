"""Networks with delays, into a folder: characteristic roots, maps of them, Lyapunov exponents."""

import csv
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from ngnmm_jax import plot
from ngnmm_jax.cli.reports.statuses import in_one_line
from ngnmm_jax.dynamics.equilibria import Equilibria
from ngnmm_jax.dynamics.lyapunov import LyapunovSpectrum
from ngnmm_jax.models.times import frequency_unit, rate_unit
from ngnmm_jax.plot._style import title_above
from ngnmm_jax.stability.delay_maps import RootsMap
from ngnmm_jax.stability.dispersion import dispersion
from ngnmm_jax.stability.roots import CharacteristicRoots
from ngnmm_jax.systems.network import Network


def write_roots(network: Network, rest: Equilibria, out: Path, title: str) -> list[dict[str, Any]]:
    """Characteristic roots of the equilibria into `out`; one row of a table for each."""
    count = rest.states.shape[0]
    figure = plt.figure(figsize=(1.2 + 4.2 * count, 3.6), layout="constrained")
    axes = figure.subplots(1, count, squeeze=False)[0]
    lambdas, model = np.asarray(network.spectrum()[0]), network.model
    rows, lines = [], []
    for k, ax in enumerate(axes):
        found = dispersion(network, rest.states[k], throw=False)
        plot.characteristic_roots(found, ax=ax)
        shown = float(model.observe(rest.states[k]))
        text = f"{model.shown} = {shown:.3f} {model.shown_unit}".removesuffix(" 1")
        ax.set_title(text, fontsize="medium")
        name = f"{model.shown} ({model.shown_unit})".removesuffix(" (1)")
        rows.append({"equilibrium": k, name: shown, **roots_facts(found, lambdas)})
        nearest = np.asarray(found.overlaps).argmax(axis=1)
        for j, z in enumerate(np.asarray(found.roots)):
            mode = int(nearest[j])
            overlap = float(found.overlaps[j, mode])
            numbers = [z.real, z.imag, float(found.frequency[j]), float(found.error[j])]
            lines.append([k, j, *numbers, mode, overlap, bool(found.certified)])
        where = network.connectome
        if where is not None and where.centroids is not None and found.roots.shape[0]:
            pattern = np.abs(np.asarray(found.patterns[0]))
            pattern = np.sqrt((pattern**2).sum(axis=tuple(range(pattern.ndim - 1))))
            brain = plot.brain(where, pattern, label="amplitude (unit norm)", diverging=False)
            title_above(brain, f"{title}; equilibrium {k}, rightmost root")
            brain.savefig(out / f"pattern_{k}.png", dpi=150)
            plt.close(brain)
    title_above(figure, title)
    figure.savefig(out / "dispersion.png", dpi=150)
    plt.close(figure)
    unit = network.model.time_unit
    names = ["equilibrium", "root", f"growth_per_{unit}", f"omega_per_{unit}", "frequency_hz",
             "error", "nearest_mode", "overlap", "certified"]  # fmt: skip
    with (out / "dispersion.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(lines)
    return rows


def roots_facts(found: CharacteristicRoots, lambdas: np.ndarray) -> dict[str, Any]:
    """What characteristic roots say, in numbers; `lambdas` (mode,) of the weights."""
    unit = rate_unit(found.time_unit)
    growing = int(found.number_growing)
    known = f"{found.roots.shape[0]} from {float(found.line):.3g} {unit}"
    certain = bool(found.certified)
    facts: dict[str, Any] = {
        "stable": "no" if growing else "yes" if certain else "not known",
        "growing roots": str(growing),
        "roots known": known,
        "certified to be all": "yes" if certain else "no",
    }
    there = found.roots.shape[0] > 0
    mode = int(np.asarray(found.overlaps[0]).argmax()) if there else 0
    facts[f"largest growth ({unit})"] = float(found.growth[0]) if there else "–"
    facts[f"frequency ({frequency_unit(found.time_unit)})"] = (
        float(found.frequency[0]) if there else "–"
    )
    facts["nearest mode's Λ"] = f"{complex(lambdas[mode]):.4f}".replace("+0.0000j", "")
    facts["overlap with it"] = float(found.overlaps[0, mode]) if there else "–"
    return facts


def write_roots_map(result: RootsMap, cut: float, out: Path, title: str) -> list[dict[str, Any]]:
    """The figures of a map of roots into `out`; the rows of a table."""
    figure = plt.figure(figsize=(6.8, 4.4), layout="constrained")
    plot.roots_map(result, ax=figure.add_subplot())
    title_above(figure, title)
    figure.savefig(out / "map.png", dpi=150)
    figure = plt.figure(figsize=(13.5, 3.9), layout="constrained")
    for ax, quantity in zip(figure.subplots(1, 3), plot.ROOTS_QUANTITIES, strict=True):
        plot.roots_map(result, ax=ax, quantity=quantity)
    title_above(figure, title)
    figure.savefig(out / "details.png", dpi=130)
    figure = plt.figure(figsize=(5.6, 3.9), layout="constrained")
    plot.roots_cut(result, cut, ax=figure.add_subplot())
    title_above(figure, title)
    figure.savefig(out / "cut.png", dpi=150)
    plt.close("all")
    return [{"": "points", **roots_map_facts(result)}]


def roots_map_facts(result: RootsMap) -> dict[str, str]:
    """What a map of roots holds, in numbers."""
    n = result.status.size
    there = result.number_growing >= 0
    growing = result.number_growing > 0

    def share(mask: Any) -> str:
        return f"{np.sum(mask) / n:.1%}"

    def span(values: np.ndarray, unit: str) -> str:
        return f"{values.min():.3g} to {values.max():.3g} {unit}" if values.size else "–"

    return {
        "in all": str(n),
        "a stable equilibrium": share(result.stable.any(axis=-1)),
        "several equilibria": share(np.isfinite(result.states[..., 0]).sum(axis=-1) > 1),
        "all equilibria are unstable": share(
            (growing & there).any(axis=-1) & ~(there & ~growing).any(axis=-1)
        ),
        "most growing roots": str(int(result.number_growing.max(initial=0))),
        "largest growth": span(result.growth[there], rate_unit(result.time_unit)),
        "frequency where roots grow": span(
            result.frequency[growing], frequency_unit(result.time_unit)
        ),
        "not known": in_one_line(result.status),
    }


def write_exponents(found: LyapunovSpectrum, unit: str, out: Path) -> list[dict[str, Any]]:
    """Lyapunov exponents of one network into `out`; the rows of a table."""
    exponents, errors = np.asarray(found.exponents), np.asarray(found.errors)
    pairs = zip(exponents, errors, strict=True)
    with (out / "lyapunov.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["exponent", f"value_per_{unit}", "standard_error"])
        writer.writerows([k, *map(float, pair)] for k, pair in enumerate(pairs))
    dimension = float(found.kaplan_yorke)
    return [
        {
            "": "spectrum",
            "exponents": str(exponents.size),
            f"largest exponent (1/{unit})": f"{exponents[0]:.3g} ± {errors[0]:.1g}",
            "positive (by three errors)": str(int(found.number_positive)),
            "Kaplan-Yorke dimension": (
                f"{dimension:.3g}" if np.isfinite(dimension) else "needs more exponents"
            ),
        }
    ]
