"""Homogeneous states: bifurcation diagrams, curves in the plane, the cascade, chaos."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np

import ngnmm_jax as ng
from ngnmm_jax import plot
from ngnmm_jax.reproduce.reference import nearest_gap, values
from ngnmm_jax.reproduce.task import AGREES, OTHER, Row, Task, agree

_COUPLINGS = (0.0, 5.0, 9.0, 12.0, 15.0, 19.0, 22.0, 26.0, 29.5, 30.0)
_FEW = (0.0, 12.0)


def diagrams(task: Task) -> list[Row]:
    """Equilibria and cycles against i_ext_e at fixed coupling: extrema of v_e, and frequency."""
    couplings = task.choose(_FEW, _COUPLINGS)
    columns = min(5, len(couplings))
    lines = -(-len(couplings) // columns)
    size = (3.4 * columns + 1.0, 2.9 * lines)
    extrema, rates = (plt.figure(figsize=size, layout="constrained") for _ in range(2))
    found = {}
    for figure, draw in ((extrema, plot.bifurcation_diagram), (rates, plot.frequencies)):
        axes = figure.subplots(lines, columns, squeeze=False).ravel()
        for k, (ax, coupling) in enumerate(zip(axes, couplings, strict=True)):
            if coupling not in found:
                task.say(f"diagram at coupling {coupling:g}")
                found[coupling] = ng.bifurcation_diagram(
                    task.network(coupling=coupling).homogeneous(),
                    {"i_ext_e": (0.0, 16.0)},
                    doublings=1,
                    progress=task.progress,
                )
            draw(found[coupling], ax=ax, legend=False)
            ax.set_xlim(0, 16)
            ax.set_title(rf"$\varepsilon$ = {coupling:g}", fontsize="medium")
            if k % columns:
                ax.set_ylabel("")
            if k < len(couplings) - columns:
                ax.set_xlabel("")
        _shared_legend(figure, axes)
    task.save(extrema, "diagrams")
    task.save(rates, "frequencies")

    rows = []
    special = {c: diagram.special for c, diagram in found.items()}
    branches = [branch for diagram in found.values() for branch in diagram.branches]
    resting = any(b.kind == "equilibrium" and b.stable.any() for b in branches)
    moving = any(b.kind == "cycle" and b.stable.any() for b in branches)
    rows.append(
        Row(
            "the homogeneous system rests, or oscillates in gamma, where it is stable",
            f"stable equilibria: {resting}, stable cycles: {moving}",
            agree(resting and moving),
        )
    )
    known = values()
    for kind, name, text in (
        ("hopf", "hopf", "Hopf points"),
        ("fold", "fold", "folds"),
        ("period_doubling", "period_doubling", "period doublings"),
        ("cycle_fold", "fold_of_cycles", "folds of cycles"),
    ):
        gaps = []
        for coupling, points in known[name].items():
            inside = [point[0] for point in points if 0 <= point[0] <= 16]
            if float(coupling) in found and inside:
                here = [p.parameter for p in special[float(coupling)] if p.kind == kind]
                gaps.append(nearest_gap(here, inside))
        if gaps:
            gap = max(gaps)
            rows.append(
                Row(
                    f"{text} at {len(gaps)} couplings (AUTO-07p)",
                    f"largest relative difference {gap:.1e} (allowed: 1e-6)",
                    agree(gap <= 1e-6),
                )
            )
    return rows


def _shared_legend(figure: Any, axes: np.ndarray) -> None:
    handles: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        list(handles.values()),
        list(handles),
        frameon=False,
        ncols=4,
        fontsize="small",
        loc="outside lower center",
    )


def plane(task: Task) -> list[Row]:
    """Curves of bifurcations over i_ext_e and the coupling, with points of codimension two."""
    bounds = task.choose(((-5.0, 20.0), (0.0, 60.0)), ((-5.0, 20.0), (0.0, 130.0)))
    diagram = ng.two_parameter_diagram(
        task.network(coupling=9.0).homogeneous(),
        dict(zip(("i_ext_e", "coupling"), bounds, strict=True)),
        task.choose((26.0,), (12.0, 15.0, 22.0, 29.5, 100.0)),
        cycles=not task.quick,
        longest_period=100.0,
        progress=task.progress,
    )
    figure, ax = plt.subplots(figsize=(8.0, 5.6), layout="constrained")
    plot.bifurcation_curves(diagram, ax=ax).set(xlim=bounds[0], ylim=bounds[1])
    task.save(figure, "plane")
    kinds = {branch.kind for branch in diagram.branches}
    wanted = {"hopf", "fold"} | task.choose(set(), {"period_doubling", "cycle_fold", "period"})
    points = {p.kind for p in diagram.special}
    text = "curves of Hopf points, folds, period doublings, folds of cycles, homoclinics and SNICs"
    rows = [
        Row(
            text,
            f"curves: {', '.join(sorted(kinds))}; points: {', '.join(sorted(points))}",
            agree(wanted <= kinds),
            "quick: equilibria only" if task.quick else "",
        )
    ]
    known = values()["two_parameter"]
    for kind, least in (("cusp", 1), ("generalised_hopf", 2)):
        here = [tuple(p.parameters.values()) for p in diagram.special if p.kind == kind]
        inside = [p for p in known[kind] if all(a <= x <= b for x, (a, b) in zip(p, bounds,
                  strict=True))]  # fmt: skip
        gaps = [
            min((max(abs(a - b) / max(abs(b), 1) for a, b in zip(h, point, strict=True))
                 for h in here), default=np.inf)
            for point in inside
        ]  # fmt: skip
        met = sum(gap <= 1e-4 for gap in gaps)
        rows.append(
            Row(
                f"{len(inside)} {kind.replace('_', ' ')} points in these bounds (AUTO-07p)",
                f"{met} met to 1e-4; all differences: {', '.join(f'{g:.1e}' for g in gaps)}",
                agree(met == len(inside), met >= min(least, len(inside))),
                ""
                if met == len(inside)
                else "the point near (-0.05, 87.5): its coefficient, by the formula written out "
                "and in 40 digits, vanishes where this library says",
            )
        )
    return rows


def cascade(task: Task) -> list[Row]:
    """Maxima of s_e and Lyapunov exponents against i_ext_e, at coupling 12."""
    node = task.network(coupling=12.0).homogeneous()
    line = {"i_ext_e": np.linspace(8.5, 12.0, task.choose(71, 701))}
    window = task.choose(1000.0, 5000.0)
    options = {"duration": window, "transient": task.choose(1000.0, 2000.0)}
    diagram = ng.orbit_diagram(node, line, "s_e", events=200, progress=task.progress, **options)
    spectra = ng.lyapunov_map(
        node, line, store=task.folder / "blocks", progress=task.progress, **options
    )
    task.save(plot.cascade(diagram, spectra), "cascade")
    different = np.asarray(diagram.distinct(3e-3))
    chaotic = np.asarray(spectra.spectra.number_positive) > 0
    where = line["i_ext_e"][chaotic]
    span = f"{where.min():.2f} to {where.max():.2f}" if where.size else "nowhere"
    return [
        Row(
            "near coupling 12 periods double on the way to chaos, and halve again",
            f"maxima that differ: {different.min()} to {different.max()}; chaos from {span}",
            agree(different.max() > 8 and chaotic.any() and (different == 2).any()),
        )
    ]


def chaos(task: Task) -> list[Row]:
    """Lyapunov spectra of the homogeneous system over [8, 12] × [9, 15]."""
    axes = {
        "i_ext_e": np.linspace(8.0, 12.0, task.choose(17, 81)),
        "coupling": np.linspace(9.0, 15.0, task.choose(13, 61)),
    }
    result = ng.lyapunov_map(
        task.network().homogeneous(),
        axes,
        duration=task.choose(1000.0, 6000.0),
        transient=1000.0,
        store=task.folder / "blocks",
        progress=task.progress,
    )
    figure = plt.figure(figsize=(11.0, 4.0), layout="constrained")
    for ax, quantity in zip(figure.subplots(1, 2), ("leading", "kaplan_yorke"), strict=True):
        plot.lyapunov(result, ax=ax, quantity=quantity)
    task.save(figure, "chaos")
    leading = np.asarray(result.spectra.exponents)[..., 0]
    positive = np.asarray(result.spectra.number_positive) > 0
    inside = positive.mean()
    return [
        Row(
            "the homogeneous state is chaotic in a window of [8, 12] × [9, 15]",
            f"an exponent is positive at {inside:.1%} of {positive.size} points; the largest is "
            f"{leading.max():.4f} per ms",
            AGREES if 0 < inside < 1 else OTHER,
        )
    ]
