"""Bifurcation diagrams, into a folder."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from ngnmm_jax import plot
from ngnmm_jax._core.status import Status
from ngnmm_jax.bifurcations import (
    SPECIAL,
    Branch,
    Diagram,
    bifurcation_diagram,
    two_parameter_diagram,
)
from ngnmm_jax.plot._style import title_above
from ngnmm_jax.systems.homogeneous import Homogeneous


class _Writer:
    """Branches to NetCDF as they are found, so that an interruption leaves the finished ones."""

    def __init__(self, out: Path) -> None:
        self.branches: list[Branch] = []
        self._folder = out / "branches"
        self._folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, branch: Branch) -> None:
        name = f"{len(self.branches):03d}-{branch.kind}.nc"
        branch.to_xarray().to_netcdf(self._folder / name, engine="h5netcdf")
        self.branches.append(branch)


def write_bifurcations(
    system: Homogeneous,
    parameters: dict[str, tuple[float, float]],
    cuts: list[float],
    variable: str,
    options: dict[str, Any],
    out: Path,
    title: str,
) -> list[dict[str, Any]]:
    """A diagram over one parameter, or curves over two; the rows of a table.

    `options`: those of `bifurcation_diagram` (with `doublings`) or `two_parameter_diagram`. An
    interruption draws and keeps what there is.
    """
    writer = _Writer(out)
    limits = tuple(parameters.values())
    interrupted = False
    try:
        if len(parameters) == 1:
            diagram = bifurcation_diagram(system, parameters, seen=writer, **options)
        else:
            diagram = two_parameter_diagram(system, parameters, cuts, seen=writer, **options)
    except KeyboardInterrupt:
        if not writer.branches:
            raise
        interrupted = True
        diagram = Diagram(tuple(writer.branches), ("interrupted",))
    if len(parameters) == 1:
        figure = plot.bifurcations(diagram, variable=variable, title=title, limits=limits[0])
    else:
        figure, ax = plt.subplots(figsize=(8.0, 5.6), layout="constrained")
        plot.bifurcation_curves(diagram, ax=ax).set(xlim=limits[0], ylim=limits[1])
        title_above(figure, title)
    figure.savefig(out / "bifurcations.png", dpi=150)
    plt.close(figure)
    _write_points(diagram, out / "special.csv")
    return [{"": "diagram", **diagram_facts(diagram), "interrupted": str(interrupted)}]


def _write_points(diagram: Diagram, path: Path) -> None:
    names = diagram.branches[0].names
    lines = [",".join(["kind", *names, "period", "first_lyapunov", "turns", "status"])]
    for point in diagram.special:
        values = [f"{point.parameters[name]:.12g}" for name in names]
        numbers = [f"{point.period:.12g}", f"{point.coefficient:.6g}", str(point.turns)]
        lines.append(",".join([point.kind, *values, *numbers, point.status.name]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def diagram_facts(diagram: Diagram) -> dict[str, str]:
    """What a diagram holds, in numbers."""
    facts = {
        "branches": str(len(diagram.branches)),
        "points": str(sum(len(branch) for branch in diagram.branches)),
    }
    for kind, name in SPECIAL.items():
        count = sum(point.kind == kind for point in diagram.special)
        if count:
            facts[name] = str(count)
    unfinished = sum(branch.status != Status.OK for branch in diagram.branches)
    facts["branches not followed to an end"] = str(unfinished)
    facts["changes of stability not accounted for"] = str(
        sum(branch.unexplained for branch in diagram.branches)
    )
    facts["could not begin"] = str(len(diagram.failures))
    return facts
