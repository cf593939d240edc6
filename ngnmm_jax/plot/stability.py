"""Transverse stability: dispersion relations and maps."""

from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.status import Status
from ngnmm_jax.models.times import rate_unit, units_of
from ngnmm_jax.plot import _style as style
from ngnmm_jax.stability.dispersion import Dispersion
from ngnmm_jax.stability.kinds import APERIODIC, EQUILIBRIUM, ORBIT
from ngnmm_jax.stability.maps import DispersionMap


def dispersion(*curves: Dispersion, ax: Axes | None = None, label: str | None = None) -> Axes:
    """Growth against Λ: a line for a grid of Λ, a marker for each mode of a connectome.

    Give both, `dispersion(curve, modes)`, for the usual figure. Red markers grow, blue ones
    decay, the black square is the uniform mode. Complex Λ are placed at their real part.
    """
    if not curves:
        _checks.fail("curves", "hold at least one dispersion relation", "there is none")
    for curve in curves:
        style.of_kind("curves", curve, Dispersion)
    ax = style.make_axes(ax)
    style.zero_line(ax)
    for curve in curves:
        if curve.bounds is not None:
            _over_the_region(ax, curve)
        x = np.asarray(curve.lambdas).real
        growth = np.asarray(curve.growth)
        if curve.uniform is None:
            _curve(ax, curve, color="0.35", lw=1.4, label=label)
            continue
        for mask, colour, text in (
            (growth > 0, style.GROWING, "growing"),
            (growth <= 0, style.DECAYING, "decaying"),
        ):
            mask = mask & curve.transverse
            if mask.any():
                ax.plot(x[mask], growth[mask], "o", ms=4, color=colour, mec="w", mew=0.4,
                        label=f"{mask.sum()} {text}")  # fmt: skip
        k = curve.uniform
        ax.plot(x[k], growth[k], "s", ms=6, color=style.UNIFORM, label="uniform", zorder=3)
    complex_modes = any(np.iscomplexobj(curve.lambdas) for curve in curves)
    ax.set_xlabel(r"Re $\Lambda$" if complex_modes else r"structural eigenvalue $\Lambda$")
    ax.set_ylabel(style.with_unit("growth rate", rate_unit(curves[0].time_unit)))
    if ax.get_legend_handles_labels()[0]:
        style.legend_above(ax, ncols=4)
    return style.finish(ax)


def _over_the_region(ax: Axes, curve: Dispersion) -> None:
    """The curve over the interval of all eigenvalues; or around their region, a band."""
    known: Any = curve.bounds
    x = known.lambdas.real
    if not np.iscomplexobj(known.lambdas):
        ax.plot(x, known.growth, color="0.35", lw=1.4, zorder=1)
        return
    ax.axhspan(known.growth.min(), known.upper, color="0.9", zorder=0)
    ax.plot(x, known.growth, ".", ms=2, color="0.6", zorder=1, label="around the region")


#: What a map can show: label, and whether growth decides where it is shown.
MAP_QUANTITIES = {
    "growth_transverse": "largest transverse growth ({rate})",
    "number_growing": "number of growing modes",
    "fastest": r"$\Lambda$ of the fastest growing mode",
    "frequency": "frequency of the fastest growing mode ({hertz})",
    "period": "period ({unit})",
}


def dispersion_map(
    result: DispersionMap, *, ax: Axes | None = None, quantity: str = "growth_transverse"
) -> Axes:
    """A map over two parameters, with one colour scale for equilibria and one for oscillations.

    Over one parameter, the quantity against it, with a marker for each state: crosses at points
    that did not converge, none for unstable equilibria. Over two:

    Where a stable equilibrium and an oscillation coexist, the oscillation is shown, hatched;
    of several alike, the one of largest transverse growth. Black lines are onsets, where the
    fastest mode's growth vanishes, not drawn beside points that did not converge, which crossed
    lines mark; dots mark aperiodic states.

    **Arguments:**

    - `quantity`: "growth_transverse"; "number_growing"; of modes that grow, "fastest" (its Λ)
      and "frequency"; or the orbits' "period".
    """
    style.of_kind("result", result, DispersionMap)
    _checks.one_of("quantity", quantity, MAP_QUANTITIES)
    if len(result.parameters) == 1:
        return _along_a_line(result, quantity, style.make_axes(ax))
    _, x, y = style.plane_of(result)
    ax = style.make_axes(ax, (6.4, 4.2))
    resting = (result.kind == EQUILIBRIUM) & result.stable
    moving = (result.kind == ORBIT) | (result.kind == APERIODIC)
    values = _values(result, quantity)
    layers = {
        "equilibria": _leading_state(result, resting & ~moving.any(axis=-1)[..., None]),
        "oscillations": _leading_state(result, moving),
    }
    for (kind, place), colours in zip(layers.items(), _MAP_COLOURS, strict=True):
        shown = _at_place(values, place)
        if not shown.count():
            continue
        options: dict[str, Any] = {"cmap": colours["sequential"]}
        if quantity == "number_growing":
            options |= {"vmin": 0, "vmax": result.lambdas.size - 1}
        elif quantity == "frequency":
            options |= {"vmin": 0, "vmax": max(float(shown.max()), 1.0)}
        if quantity == "growth_transverse":
            options = {"cmap": colours["diverging"], "norm": style.around_zero(shown)}
        bar = style.draw_map(ax, x, y, shown, label=kind, **options)
        if quantity == "number_growing":
            style.counting(bar.ax.yaxis)
        if quantity in ("growth_transverse", "number_growing"):
            _onset(ax, result, place)
    notes = _hatched(ax, result, resting.any(axis=-1) & moving.any(axis=-1))
    notes += _doubtful(ax, result)
    if not (resting | moving).any(axis=-1).all():
        notes.append("grey: no stable equilibrium")
    _head(ax, _title(result, quantity), notes)
    style.label_axes(ax, result.parameters, result)
    return ax


def _head(ax: Axes, title: str, notes: list[str]) -> None:
    """A title, and notes between it and the axes, which may reach over the bars beside these."""
    ax.set_title(title, fontsize="medium", loc="left", pad=16 if notes else 6)
    note = ax.text(0, 1.015, "; ".join(notes), transform=ax.transAxes, fontsize="x-small")
    note.set(color="0.35", in_layout=False)


def _along_a_line(result: DispersionMap, quantity: str, ax: Axes) -> Axes:
    """A quantity of each state against the one parameter there is."""
    ((name, x),) = result.parameters.items()
    if quantity == "growth_transverse":
        style.zero_line(ax)
    values, unsound = _values(result, quantity), _unsound(result)[:, None]
    across = np.broadcast_to(np.asarray(x)[:, None], values.shape)
    resting = (result.kind == EQUILIBRIUM) & result.stable
    moving, wild = result.kind == ORBIT, result.kind == APERIODIC
    for mask, marker, colour, text in (
        (resting & ~unsound, "o", style.DECAYING, "equilibrium"),
        (moving & ~unsound, "s", "#e08214", "orbit"),
        (wild & ~unsound, "D", style.UNIFORM, "aperiodic"),
        ((resting | moving | wild) & unsound, "x", "0.5", "not converged"),
    ):
        mask = mask & np.isfinite(values)
        if mask.any():
            ax.plot(across[mask], values[mask], marker, color=colour, ms=4, label=text)
    if ax.get_legend_handles_labels()[0]:
        style.legend_above(ax, ncols=4)
    if quantity == "number_growing":
        style.counting(ax.yaxis)
    ax.set_xlabel(style.symbol(name, result))
    ax.set_ylabel(_title(result, quantity))
    return style.finish(ax)


def _title(result: DispersionMap, quantity: str) -> str:
    """What is shown, with its unit if it has one."""
    return MAP_QUANTITIES[quantity].format(**units_of(result.time_unit)).removesuffix(" (1)")


def _values(result: DispersionMap, quantity: str) -> np.ndarray:
    """A quantity (*grid, place) of all states; of modes only where some grow."""
    if quantity not in ("fastest", "frequency"):
        return getattr(result, quantity).astype(float)
    values = result.frequency
    if quantity == "fastest":
        values = np.where(result.fastest >= 0, result.lambdas.real[result.fastest], np.nan)
    return np.where(result.number_growing > 0, values, np.nan)


def _onset(ax: Axes, result: DispersionMap, place: np.ma.MaskedArray) -> None:
    """A black line where the fastest mode's growth vanishes."""
    _, x, y = style.plane_of(result)
    growth = np.abs(result.growth_transverse)
    growth = _at_place(np.where(result.number_growing > 0, growth, -growth), place)
    growth.mask |= _unsound(result)
    if growth.count() and growth.min() < 0 < growth.max() and min(growth.shape) > 1:
        ax.contour(x, y, growth.T, levels=[0.0], colors="k", linewidths=0.8)


def _hatched(ax: Axes, result: DispersionMap, both: np.ndarray) -> list[str]:
    """Hatch where there are `both` kinds of states, dot aperiodic ones; what that means."""
    notes: list[str] = []
    if min(result.status.shape) < 2:
        return notes
    _, x, y = style.plane_of(result)
    for mask, hatch, text in (
        (both, "////", "hatched: stable equilibrium too"),
        ((result.kind == APERIODIC).any(axis=-1), "......", "dotted: aperiodic"),
    ):
        if mask.any():
            shown = mask.T.astype(float)
            with mpl.rc_context({"hatch.linewidth": 0.4, "hatch.color": "0.15"}):
                ax.contourf(x, y, shown, [0.5, 1.5], colors="none", hatches=[hatch])
            notes.append(text)
    return notes


def _unsound(result: DispersionMap) -> np.ndarray:
    """Points at which there is something, but not to its tolerance."""
    return ~np.isin(result.status, (Status.OK, Status.NONE_FOUND))


def _doubtful(ax: Axes, result: DispersionMap) -> list[str]:
    """Crossed lines over the points that did not converge; what that means."""
    unsound = _unsound(result)
    if not unsound.any():
        return []
    _, x, y = style.plane_of(result)
    cells = np.ma.masked_array(np.zeros(unsound.shape), ~unsound)
    clear = mpl.colors.ListedColormap(["none"])
    ax.pcolor(x, y, cells.T, shading="nearest", cmap=clear, hatch="xxx", ec="0.45", lw=0)
    return [f"crossed: {unsound.sum()} not converged"]


# Colours of equilibria, then of oscillations.
_MAP_COLOURS = (
    {"diverging": "RdBu_r", "sequential": "viridis"},
    {"diverging": "PuOr_r", "sequential": "magma"},
)


def _leading_state(result: DispersionMap, mask: np.ndarray) -> np.ma.MaskedArray:
    """The place, among those of `mask`, of the state with the largest transverse growth."""
    growth = np.where(mask, result.growth_transverse, -np.inf)
    return np.ma.masked_array(growth.argmax(axis=-1), ~mask.any(axis=-1))


def _at_place(values: np.ndarray, place: np.ma.MaskedArray) -> np.ma.MaskedArray:
    chosen = np.take_along_axis(values, place.data[..., None], axis=-1)[..., 0]
    return np.ma.masked_invalid(np.where(place.mask, np.nan, chosen))


def map_details(result: DispersionMap, *, title: str = "") -> Figure:
    """All that a map over two parameters holds, in one figure."""
    figure = plt.figure(figsize=(13.5, 7.6), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    for ax, quantity in zip(axes, MAP_QUANTITIES, strict=False):
        dispersion_map(result, ax=ax, quantity=quantity)
    _kinds(result, axes[-1])
    style.title_above(figure, title)
    return figure


def _kinds(result: DispersionMap, ax: Axes) -> None:
    """Which attractors there are at each point."""
    _, x, y = style.plane_of(result)
    resting = ((result.kind == EQUILIBRIUM) & result.stable).sum(axis=-1)
    orbits = (result.kind == ORBIT).sum(axis=-1)
    wild = (result.kind == APERIODIC).any(axis=-1)
    classes = {
        "none found": (resting + orbits == 0) & ~wild,
        "equilibrium": resting == 1,
        "several equilibria": resting > 1,
        "orbit": (orbits == 1) & (resting == 0),
        "two orbits": (orbits > 1) & (resting == 0),
        "orbit and equilibrium": (orbits > 0) & (resting > 0),
        "aperiodic": wild,
    }
    code = np.zeros(result.status.shape, dtype=int)
    for k, mask in enumerate(classes.values()):
        code[mask] = k
    present = [k for k in range(len(classes)) if (code == k).any()]
    colours = ["0.82", "#9ecae1", "#3182bd", "#fdae6b", "#e6550d", "#74c476", "#111111"]
    cmap = mpl.colors.ListedColormap(colours)
    ax.pcolormesh(x, y, code.T, shading="nearest", cmap=cmap, vmin=-0.5,
                  vmax=len(classes) - 0.5, rasterized=True)  # fmt: skip
    names = list(classes)
    handles = [mpl.patches.Patch(color=colours[k], label=names[k]) for k in present]
    ax.legend(handles=handles, **style.LEGEND, **style.BESIDE)
    _head(ax, "homogeneous attractors", _doubtful(ax, result))
    style.label_axes(ax, result.parameters, result)


def map_cut(result: DispersionMap, value: float, *, ax: Axes | None = None) -> Axes:
    """Growth of the fastest mode and of the uniform one along a map's first axis.

    Crosses are states at points that did not converge.

    **Arguments:** `value`: of the second axis, at whose nearest line the map is cut.
    """
    (name_x, name_y), x, y = style.plane_of(result)
    ax = style.make_axes(ax)
    line = int(np.abs(y - value).argmin())
    style.zero_line(ax)
    sound = ~_unsound(result)[:, line, None]
    for kind, stable, colour, text in (
        (EQUILIBRIUM, True, style.DECAYING, "equilibrium"),
        (EQUILIBRIUM, False, "0.75", "unstable equilibrium"),
        (ORBIT, True, "#e08214", "orbit"),
        (APERIODIC, True, style.UNIFORM, "aperiodic"),
    ):
        mask = sound & (result.kind[:, line] == kind) & (result.stable[:, line] == stable)
        column = np.broadcast_to(x[:, None], mask.shape)[mask]
        if column.size:
            ax.plot(column, result.growth_transverse[:, line][mask], ".", color=colour, ms=4,
                    label=text)  # fmt: skip
            ax.plot(
                column, result.growth_uniform[:, line][mask], "_", color=colour, ms=4, alpha=0.5
            )
    ax.plot([], [], "_", color="0.5", label="uniform mode")
    mask = ~sound & (result.kind[:, line] > 0)
    if mask.any():
        column = np.broadcast_to(x[:, None], mask.shape)[mask]
        ax.plot(column, result.growth_transverse[:, line][mask], "x", color="0.5", ms=4,
                label="not converged")  # fmt: skip
    title = f"{style.bare(name_y, result)} = {y[line]:g}"
    ax.legend(title=title, **style.LEGEND, **style.BESIDE)
    ax.set_xlabel(style.symbol(name_x, result))
    ax.set_ylabel(style.with_unit("largest growth rate", rate_unit(result.time_unit)))
    return style.finish(ax)


def dispersion_family(
    curves: dict[float, tuple[Dispersion, Dispersion]], name: str, *, ax: Axes | None = None
) -> Axes:
    """Dispersion curves, with the connectome's modes, for several values of one parameter.

    **Arguments:**

    - `curves`: by the parameter's value, the curve over Λ and the relation at the modes.
    - `name`: of the parameter.
    """
    if not curves:
        _checks.fail("curves", "hold at least one dispersion relation", "there is none")
    ax = style.make_axes(ax, (5.6, 3.8))
    style.zero_line(ax)
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.92, len(curves)))
    for (value, (curve, modes)), colour in zip(curves.items(), colours, strict=True):
        _curve(ax, curve, color=colour, lw=1.3, label=f"{value:.3g}")
        x, growth = np.asarray(modes.lambdas).real, np.asarray(modes.growth)
        ax.plot(x, growth, "o", ms=3, color=colour, mec="w", mew=0.3)
    ax.legend(title=style.symbol(name, curve), **style.LEGEND, **style.BESIDE)
    ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(5))
    ax.set_xlabel(r"structural eigenvalue $\Lambda$")
    ax.set_ylabel(style.with_unit("growth rate", rate_unit(curve.time_unit)))
    return style.finish(ax)


def _curve(ax: Axes, curve: Dispersion, **options: Any) -> None:
    """Growth as a line over Λ."""
    x = np.asarray(curve.lambdas).real
    order = np.argsort(x)
    ax.plot(x[order], np.asarray(curve.growth)[order], zorder=1, **options)
