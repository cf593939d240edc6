"""Bifurcation diagrams: states and frequencies over one parameter, curves over two."""

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ngnmm_jax._core import checks as _checks
from ngnmm_jax.bifurcations import BRANCHES, SPECIAL, Branch, Diagram
from ngnmm_jax.models.times import frequency_unit, seconds_in
from ngnmm_jax.plot._style import (
    BESIDE,
    LEGEND,
    finish,
    label_axes,
    make_axes,
    symbol,
    title_above,
)

# Colours (distinct for colour-blind readers too) and markers.
_EQUILIBRIA = "#111111"
_CYCLES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]
_CURVES = {
    "fold": "#111111",
    "hopf": "#c1272d",
    "cycle_fold": "#0072b2",
    "period_doubling": "#009e73",
    "neimark_sacker": "#cc79a7",
    "period": "#e69f00",
}
_MARKERS = {
    "fold": ("o", "#111111"),
    "hopf": ("s", "#c1272d"),
    "branch_point": ("P", "#111111"),
    "cycle_fold": ("o", "#0072b2"),
    "period_doubling": ("D", "#009e73"),
    "neimark_sacker": ("v", "#cc79a7"),
    "cycle_branch_point": ("P", "#0072b2"),
    "snic": ("*", "#e69f00"),
    "homoclinic": ("X", "#e69f00"),
    "long_period": ("x", "#e69f00"),
    "cusp": ("^", "#111111"),
    "bogdanov_takens": ("p", "#111111"),
    "generalised_hopf": ("h", "#c1272d"),
    "fold_hopf": ("d", "#c1272d"),
    "cycle_cusp": ("^", "#0072b2"),
    "resonance_1": ("1", "#cc79a7"),
    "resonance_2": ("2", "#cc79a7"),
}
# Markers without an inside, which have no edge.
_STROKES = ("x", "1", "2")


def bifurcation_diagram(
    diagram: Diagram | Branch | Iterable[Branch],
    *,
    ax: Axes | None = None,
    variable: str | None = None,
    legend: bool = True,
) -> Axes:
    """A variable at equilibria, and its extrema along cycles, over one parameter.

    Solid where stable, dashed where not; each doubling of the period has its own colour.

    **Arguments:** `variable`: by default the one that the model shows, or else its first.
    """
    ax = make_axes(ax, (7.0, 4.2))
    branches = _branches(diagram, "equilibrium", "cycle")
    variable, k = _variable(branches[0], variable)
    for branch in branches:
        for values in (branch.low, branch.high) if branch.kind == "cycle" else (branch.states,):
            _line(ax, branch, _flat(values)[:, k])
    _mark(ax, branches, lambda branch: (_flat(branch.low)[:, k], _flat(branch.high)[:, k]))
    label_axes(ax, (branches[0].names[0], variable), branches[0])
    if legend:
        _legend(ax)
    return finish(ax)


def frequencies(
    diagram: Diagram | Branch | Iterable[Branch], *, ax: Axes | None = None, legend: bool = True
) -> Axes:
    """The frequency of cycles (Hz) over one parameter."""
    ax = make_axes(ax, (7.0, 3.0))
    branches = _branches(diagram, "cycle")
    for branch in branches:
        _line(ax, branch, _hertz(branch))
    _mark(ax, branches, lambda branch: (_hertz(branch),))
    ax.set_xlabel(symbol(branches[0].names[0], branches[0]))
    ax.set_ylabel(f"frequency ({frequency_unit(branches[0].time_unit)})")
    ax.set_ylim(bottom=0)
    if legend:
        _legend(ax)
    return finish(ax)


def bifurcations(
    diagram: Diagram | Branch | Iterable[Branch],
    *,
    variable: str | None = None,
    title: str = "",
    limits: tuple[float, float] | None = None,
) -> Figure:
    """A bifurcation diagram above the frequencies of its cycles.

    `limits`: of the parameter's axis; by default what the branches span.
    """
    every = list(_branches(diagram, "equilibrium", "cycle"))
    cycles = any(branch.kind == "cycle" for branch in every)
    figure = plt.figure(figsize=(8.0, 6.4 if cycles else 4.4), layout="constrained")
    axes = figure.subplots(
        1 + cycles, 1, sharex=True, squeeze=False, height_ratios=[1.6, 1][: 1 + cycles]
    )
    top = axes[0, 0]
    bifurcation_diagram(every, ax=top, variable=variable, legend=False)
    if cycles:
        frequencies(every, ax=axes[1, 0], legend=False)
        top.set_xlabel("")
    if limits is not None:
        top.set_xlim(*limits)
    _legend(top, outside=True)
    title_above(figure, title)
    return figure


def bifurcation_curves(
    diagram: Diagram | Branch | Iterable[Branch], *, ax: Axes | None = None, legend: bool = True
) -> Axes:
    """Curves of bifurcations over two parameters, with the points of codimension two."""
    ax = make_axes(ax, (7.6, 5.4))
    branches = _branches(diagram, *_CURVES)
    labels = set()
    for branch in sorted(branches, key=lambda b: list(_CURVES).index(b.kind)):
        name = BRANCHES[branch.kind]
        name += "".join(f", {symbol(k, branch)} = {v:g}" for k, v in branch.fixed.items())
        colour, style = _CURVES[branch.kind], "--" if branch.kind == "period" else "-"
        label = None if name in labels else name
        labels.add(name)
        ax.plot(*branch.parameters.T, color=colour, ls=style, lw=1.3, label=label)
    _mark(ax, branches, lambda branch: (branch.parameters[:, 1],))
    label_axes(ax, branches[0].names, branches[0])
    if legend:
        _legend(ax)
    return finish(ax)


def _branches(diagram: Diagram | Branch | Iterable[Branch], *kinds: str) -> list[Branch]:
    one = (diagram,) if isinstance(diagram, Branch) else diagram
    every = one.branches if isinstance(one, Diagram) else tuple(one)
    chosen = [branch for branch in every if branch.kind in kinds]
    if not chosen:
        have = ", ".join(sorted({branch.kind for branch in every})) or "none"
        _checks.fail("diagram", f"hold branches of {' or '.join(kinds)}", f"it holds {have}")
    return chosen


def _variable(branch: Branch, name: str | None) -> tuple[str, int]:
    """A variable, or what is shown unless told otherwise, and its place in the state."""
    if name is None:
        shown = branch.notation.shown
        name = shown if shown in branch.variables else branch.variables[0]
    _checks.one_of("variable", name, branch.variables)
    return name, branch.variables.index(name)


def _flat(values: np.ndarray) -> np.ndarray:
    """(point, variable): the mean over regions where there are any."""
    return values.mean(axis=2) if values.ndim == 3 else values


def _colour(branch: Branch) -> str:
    if branch.kind == "equilibrium":
        return _EQUILIBRIA
    return _CYCLES[int(np.log2(branch.turns)) % len(_CYCLES)]


def _hertz(branch: Branch) -> np.ndarray:
    return 1 / (branch.periods * seconds_in(branch.time_unit))


def _line(ax: Axes, branch: Branch, y: np.ndarray) -> None:
    """A curve, solid where stable and dashed where not; special points are neither."""
    neither = np.zeros(len(branch), dtype=bool)
    neither[[point.index for point in branch.special]] = True
    stable = branch.stable
    solid = (stable[:-1] | neither[:-1]) & (stable[1:] | neither[1:])
    solid &= ~(neither[:-1] & neither[1:]) | stable[:-1]
    change = np.flatnonzero(solid[1:] != solid[:-1]) + 1
    colour = _colour(branch)
    for begin, end in itertools.pairwise([0, *change.tolist(), solid.size]):
        style: dict[str, Any] = {"lw": 1.7} if solid[begin] else {"lw": 1.0, "ls": (0, (3, 2))}
        piece = slice(begin, end + 1)
        ax.plot(branch.parameter[piece], y[piece], color=colour, **style)


def _mark(
    ax: Axes, branches: list[Branch], values: Callable[[Branch], tuple[np.ndarray, ...]]
) -> None:
    """The special points, each kind in the legend once."""
    drawn: set[str] = set()
    for branch in branches:
        for point in branch.special:
            marker, colour = _MARKERS[point.kind]
            label = None if point.kind in drawn else SPECIAL[point.kind]
            drawn.add(point.kind)
            ys = np.unique([y[point.index] for y in values(branch)])
            ax.plot(
                np.full(ys.size, point.parameter),
                ys,
                marker,
                color=colour,
                ms=5 if len(branch.special) < 15 else 3,
                mec=colour if marker in _STROKES else "white",
                mew=0.6,
                label=label,
                zorder=4,
            )


def _legend(ax: Axes, outside: bool = False) -> None:
    handles, labels = ax.get_legend_handles_labels()
    if not handles:
        return
    if outside:
        figure: Any = ax.figure
        figure.legend(handles, labels, loc="outside right upper", **LEGEND)
    else:
        ax.legend(handles, labels, **LEGEND, **BESIDE)
