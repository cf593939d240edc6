"""Dispersion relations, maps and comparisons, into a folder."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from ngnmm_jax import plot
from ngnmm_jax.cli.cortex import Cortex
from ngnmm_jax.cli.reports.delays import write_roots_map
from ngnmm_jax.cli.reports.statuses import in_one_line
from ngnmm_jax.dynamics.equilibria import Equilibria
from ngnmm_jax.models.times import frequency_unit, rate_unit, seconds_in
from ngnmm_jax.plot._style import title_above
from ngnmm_jax.reproduce.comparison import Plane, compare, family
from ngnmm_jax.stability.bounded import end_of
from ngnmm_jax.stability.delay_maps import RootsMap
from ngnmm_jax.stability.dispersion import Dispersion, dispersion
from ngnmm_jax.stability.kinds import APERIODIC, EQUILIBRIUM, ORBIT
from ngnmm_jax.stability.maps import DispersionMap, dispersion_map
from ngnmm_jax.systems.network import Network


def write_dispersion(
    network: Network,
    rest: Equilibria,
    limits: tuple[float, float, int],
    out: Path,
    title: str,
    cortex: Cortex | None = None,
) -> list[dict[str, Any]]:
    """Dispersion relations of the equilibria into `out`; one row of a table for each.

    `cortex`: on which the network's nodes are, if they are on one.
    """
    grid = np.linspace(*limits)
    model = network.model
    own = model.shown_unit
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
        ax.set_title(f"{model.shown} = {shown:.3f} {own}".removesuffix(" 1"), fontsize="medium")
        fastest = int(modes.fastest)
        unit = f"({rate_unit(model.time_unit)})"
        rows.append(
            {
                "equilibrium": k,
                f"{model.shown} ({own})".removesuffix(" (1)"): shown,
                "uniform growth " + unit: float(rest.growth[k]),
                "stable": "yes" if bool(rest.stable[k]) else "no",
                "growing modes": _growing(modes),
                "fastest Λ": f"{complex(modes.lambdas[fastest]):.4f}".replace("+0.0000j", ""),
                "growth " + unit: float(modes.growth[fastest]),
                f"frequency ({frequency_unit(model.time_unit)})": float(modes.frequency[fastest]),
            }
        )
        for j, value in enumerate(np.asarray(modes.lambdas)):
            growth, frequency = float(modes.growth[j]), float(modes.frequency[j])
            lines.append([k, j, value.real, value.imag, growth, frequency])
        if modes.bounds is not None:
            rows[-1]["any mode's growth, at most"] = float(modes.bounds.upper_transverse)
        brain = _drawn_mode(network, modes, fastest, cortex)
        if brain is not None:
            title_above(brain, f"{title}; equilibrium {k}, fastest mode")
            brain.savefig(out / f"mode_{k}.png", dpi=150)
            plt.close(brain)
    title_above(figure, title)
    figure.savefig(out / "dispersion.png", dpi=150)
    plt.close(figure)
    with (out / "dispersion.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        growth_name = f"growth_per_{model.time_unit}"
        names = ["equilibrium", "mode", "lambda_real", "lambda_imag", growth_name, "frequency_hz"]
        writer.writerow(names)
        writer.writerows(lines)
    return rows


def _growing(modes: Dispersion) -> str:
    """How many transverse modes grow, of how many; at least so many where not all are known."""
    if modes.bounds is not None:
        return f"at least {int(modes.number_growing)}"
    return f"{int(modes.number_growing)} of {int(modes.transverse.sum())}"


def _drawn_mode(
    network: Network, modes: Dispersion, number: int, cortex: Cortex | None
) -> Figure | None:
    """A mode on the cortex, or on the brain where the connectome has coordinates."""
    label = "amplitude (unit norm)"
    if cortex is not None:
        vector = cortex.on_whole(_vector(network.graph, np.asarray(modes.lambdas), number))
        size = (11.0, 5.0)
        ax = plot.surface(cortex.whole, vector, label=label, ax=plt.subplots(figsize=size)[1])
        return ax.figure  # type: ignore[return-value]
    if network.connectome is None or network.connectome.centroids is None:
        return None
    vector = network.connectome.eigenmodes().vectors[:, number].real
    return plot.brain(network.connectome, vector, label=label)


def _vector(graph: Any, lambdas: np.ndarray, number: int) -> np.ndarray:
    """The real part (node,) of the mode of that number among those that are known."""
    if graph.n_regions <= graph.DENSE_LIMIT:
        values, vectors = graph.spectrum()[0], graph.eigenvectors()
    else:
        middle = (lambdas.real.min() + lambdas.real.max()) / 2
        upper = lambdas[number].real > middle
        end = end_of(graph, upper)
        if end is None:  # no mode but the uniform one is known
            return np.full(graph.n_regions, graph.n_regions**-0.5)
        values, vectors = end.values, end.vectors
    return np.asarray(vectors[:, np.abs(values - lambdas[number]).argmin()]).real


def write_map(
    network: Network,
    parameters: dict[str, np.ndarray],
    cut: float,
    out: Path,
    store: Path,
    title: str,
    progress: bool | None,
) -> list[dict[str, Any]]:
    """A map over two parameters, kept in `store`, its figures into `out`; the rows of a table.

    With delays that differ it is one of characteristic roots.
    """
    result = dispersion_map(network, parameters, store=store, progress=progress)
    data = result.to_xarray()
    packing = {name: {"zlib": True, "complevel": 4} for name in data.data_vars}
    data.to_netcdf(out / "map.nc", engine="h5netcdf", encoding=packing)
    if isinstance(result, RootsMap):
        return write_roots_map(result, cut, out, title)
    figure = plt.figure(figsize=(6.8, 4.4), layout="constrained")
    plot.dispersion_map(result, ax=figure.add_subplot())
    title_above(figure, title)
    figure.savefig(out / "map.png", dpi=150)
    figure = plot.map_details(result, title=title)
    figure.savefig(out / "details.png", dpi=130)

    (name_x, x), (name_y, y) = parameters.items()
    line = float(y[np.abs(y - cut).argmin()])
    curves = family(network.with_parameters(**{name_y: line}), name_x, x)
    figure = plt.figure(figsize=(10.5, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    if curves:
        plot.dispersion_family(curves, name_x, ax=left)
    plot.map_cut(result, line, ax=right)
    title_above(figure, f"{title}, {plot.symbol(name_y, network)} = {line:g}")
    figure.savefig(out / "cut.png", dpi=150)
    plt.close("all")
    return [{"": "points", **map_facts(result)}]


def map_facts(result: DispersionMap) -> dict[str, str]:
    """What a map holds, in numbers."""
    n = result.status.size
    resting = ((result.kind == EQUILIBRIUM) & result.stable).any(axis=-1)
    orbit = (result.kind == ORBIT).any(axis=-1)
    wild = (result.kind == APERIODIC).any(axis=-1)
    attractor = result.stable & (result.kind > 0)
    growing = attractor & (result.number_growing > 0)
    some = growing & (result.number_growing < result.lambdas.size - 1)
    moving = growing & (result.kind == ORBIT)
    # Aperiodic states count where their point did not converge too: the last row says of how many.
    chaotic = (result.kind == APERIODIC) & (result.number_growing > 0)
    beside = "" if (attractor | ~chaotic).all() else " (some not converged)"

    def share(mask: Any) -> str:
        return f"{np.sum(mask) / n:.1%}"

    def span(values: np.ndarray, unit: str) -> str:
        return f"{values.min():.3g} to {values.max():.3g} {unit}" if values.size else "–"

    seconds, hertz = seconds_in(result.time_unit), frequency_unit(result.time_unit)
    return {
        "in all": str(n),
        "a stable equilibrium": share(resting),
        "a periodic orbit": share(orbit),
        "an aperiodic state": share(wild),
        "several attractors": share(attractor.sum(axis=-1) > 1),
        "modes grow on an equilibrium": share(
            (growing & (result.kind == EQUILIBRIUM)).any(axis=-1)
        ),
        "modes grow on an orbit": share(moving.any(axis=-1)),
        "modes grow on an aperiodic state": share(chaotic.any(axis=-1)) + beside,
        "some modes grow, not all": share(some.any(axis=-1)),
        "frequency of orbits": span(1 / (result.period[result.kind == ORBIT] * seconds), hertz),
        "largest growth in a period": span(
            (result.growth_transverse * result.period)[moving], "(log)"
        ),
        "largest growth on aperiodic states": span(
            result.growth_transverse[chaotic], rate_unit(result.time_unit)
        )
        + (beside if chaotic.any() else ""),
        "frequency of growing modes": span(
            result.frequency[growing & np.isfinite(result.frequency)], hertz
        ),
        "not converged or certified": in_one_line(result.status),
    }


def write_comparison(
    planes: dict[str, Plane], out: Path, progress: bool | None, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """The comparison of several models, by their names; the rows of a table."""
    found = compare(planes, say=say, progress=progress)
    found.figure.savefig(out / "comparison.png", dpi=150)
    plt.close(found.figure)
    return [{"model": name, **map_facts(result)} for name, result in found.maps.items()]
