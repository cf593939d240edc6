"""Chaos: orbit diagrams and Lyapunov spectra over parameters."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import AbstractPathEffect, withStroke

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.status import Status
from ngnmm_jax.chaos.lyapunov_map import LyapunovMap
from ngnmm_jax.chaos.orbit_diagram import OrbitDiagram
from ngnmm_jax.chaos.stroboscopic import StroboscopicMap
from ngnmm_jax.chaos.tongues import ArnoldTongues
from ngnmm_jax.models.times import rate_unit, units_of
from ngnmm_jax.plot import _style as style

#: What `lyapunov` can show over a plane.
LYAPUNOV_QUANTITIES = {
    "leading": "leading Lyapunov exponent ({rate})",
    "number_positive": "number of positive exponents",
    "kaplan_yorke": "Kaplan-Yorke dimension",
    "entropy_bound": "sum of positive exponents ({rate})",
}


# White is seen on all colours where it has a dark edge.
_EDGED: list[AbstractPathEffect] = [withStroke(linewidth=2.2, foreground="0.2")]
#: What `arnold_tongues` can show.
TONGUES_QUANTITIES = {
    "winding": "winding number",
    "exponents": "largest Lyapunov exponent ({rate})",
}


def orbit_diagram(diagram: OrbitDiagram, *, ax: Axes | None = None) -> Axes:
    """Maxima (or the points on a section) against the parameter; states at rest in grey."""
    ax = style.make_axes(ax, (7.0, 3.6))
    ((name, values),) = diagram.parameters.items()
    at = np.broadcast_to(values[:, None], diagram.points.shape)
    seen = np.isfinite(diagram.points)
    ax.plot(at[seen], diagram.points[seen], ",", color="0.1", rasterized=True)
    resting = (diagram.number == 0) & (diagram.status == Status.OK)
    ax.plot(values[resting], diagram.last[resting], ".", ms=2, color="0.6")
    ax.set_xlim(values.min(), values.max())
    ax.set_xlabel(style.symbol(name, diagram))
    variable = style.symbol(diagram.variable, diagram)
    what = f"maxima of {variable}"
    if diagram.section is not None:
        crossed, level = diagram.section
        what = f"{variable} where {style.bare(crossed, diagram)} rises through {level:g}"
    ax.set_ylabel(what)
    return style.finish(ax)


def lyapunov(result: LyapunovMap, *, ax: Axes | None = None, quantity: str = "leading") -> Axes:
    """Lyapunov exponents along one parameter, or one quantity over two.

    Along one parameter all exponents are drawn, the leading one in red with a band of two
    standard errors. Over two the axes show `quantity`: "leading", "number_positive",
    "kaplan_yorke" or "entropy_bound"; grey where it is not known.
    """
    _checks.one_of("quantity", quantity, LYAPUNOV_QUANTITIES)
    if len(result.parameters) == 1:
        return _along(result, style.make_axes(ax, (7.0, 3.6)))
    if len(result.parameters) > 2:
        _checks.fail("result", "span one or two parameters", f"it spans {len(result.parameters)}")
    ax = style.make_axes(ax, (6.0, 4.2))
    _, x, y = style.plane_of(result)
    spectra = result.spectra
    bad = np.asarray(spectra.status) != Status.OK
    values = np.asarray(
        spectra.exponents[..., 0] if quantity == "leading" else getattr(spectra, quantity)
    )
    shown = np.ma.masked_invalid(np.where(bad, np.nan, values))
    options: dict[str, Any] = {"cmap": "viridis"}
    if quantity == "leading" and shown.count():
        options = {"cmap": "RdBu_r", "norm": style.around_zero(shown)}
    elif quantity == "number_positive" and shown.count() and shown.max() <= 10:
        steps = np.arange(int(shown.max()) + 2) - 0.5
        colours = plt.get_cmap("viridis", len(steps) - 1)
        options = {"cmap": colours, "norm": BoundaryNorm(steps, colours.N)}
    bar = style.draw_map(ax, x, y, shown, **options)
    if "norm" in options and quantity == "number_positive":
        bar.set_ticks(list(range(int(shown.max()) + 1)))
    title = LYAPUNOV_QUANTITIES[quantity].format(**units_of(result.time_unit)).removesuffix(" (1)")
    ax.set_title(title, fontsize="medium", loc="left")
    style.label_axes(ax, result.parameters, result)
    return ax


def _along(result: LyapunovMap, ax: Axes) -> Axes:
    ((name, x),) = result.parameters.items()
    ok = np.asarray(result.spectra.status) == Status.OK
    values = np.where(ok[:, None], result.spectra.exponents, np.nan)
    errors = np.asarray(result.spectra.errors)
    style.zero_line(ax)
    count = values.shape[1]
    colours = plt.get_cmap("Blues_r")(np.linspace(0.05, 0.65, max(count - 1, 1)))
    for k in reversed(range(count)):
        colour = style.GROWING if k == 0 else colours[k - 1] if count > 3 else style.DECAYING
        label = {0: "leading", 1: "others" if count > 2 else "second"}.get(k)
        ax.plot(x, values[:, k], color=colour, lw=1.0 if k else 1.4, label=label)
    band = (values[:, 0] - 2 * errors[:, 0], values[:, 0] + 2 * errors[:, 0])
    ax.fill_between(x, *band, color=style.GROWING, alpha=0.2, lw=0)
    ax.set_xlim(x.min(), x.max())
    handles, labels = ax.get_legend_handles_labels()
    style.legend_above(ax, handles=handles[::-1], labels=labels[::-1], ncols=2)
    ax.set_xlabel(style.symbol(name, result))
    ax.set_ylabel(style.with_unit("Lyapunov exponents", rate_unit(result.time_unit)))
    return style.finish(ax)


def cascade(diagram: OrbitDiagram, result: LyapunovMap, *, title: str = "") -> Figure:
    """An orbit diagram above the Lyapunov exponents that belong to it."""
    figure = plt.figure(figsize=(8.0, 6.4), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1.4, 1])
    orbit_diagram(diagram, ax=top).set_xlabel("")
    lyapunov(result, ax=bottom)
    # What lies far below does not tell order from chaos.
    values = np.asarray(result.spectra.exponents)
    largest = np.nanmax(np.abs(values[:, :2]), initial=1e-3)
    bottom.set_ylim(-1.3 * largest, max(1.3 * float(np.nanmax(values, initial=0)), 0.2 * largest))
    style.title_above(figure, title)
    return figure


def stroboscopic_map(result: StroboscopicMap, *, ax: Axes | None = None) -> Axes:
    """The variable at multiples of the drive's period against the parameter, m points where it is
    locked m:n.
    """
    ax = style.make_axes(ax, (7.0, 3.6))
    ((name, values),) = result.parameters.items()
    at = np.broadcast_to(values[:, None], result.points.shape)
    seen = np.isfinite(result.points) & (result.status == Status.OK)[:, None]
    locked = seen & (result.drive_cycles > 0)[:, None]
    many = len(values) > 200
    for some, colour, size, label in (
        (seen & ~locked, "0.55", 0.8 if many else 2.5, "not locked"),
        (locked, "0.1", 1.8 if many else 2.5, "locked"),
    ):
        if some.any():
            ax.plot(at[some], result.points[some], ".", color=colour, ms=size, mew=0,
                    rasterized=True)  # fmt: skip
            ax.plot([], [], ".", color=colour, label=label)
    if len(values) > 1:
        ax.set_xlim(values.min(), values.max())
    ax.set_xlabel(style.symbol(name, result))
    ax.set_ylabel(f"{style.symbol(result.variable, result)} once a period of the drive")
    style.legend_above(ax, ncols=2)
    return style.finish(ax)


def arnold_tongues(
    result: ArnoldTongues,
    *,
    ax: Axes | None = None,
    quantity: str = "winding",
    least: int | None = None,
) -> Axes:
    """The winding number, or the largest Lyapunov exponent, over a plane, with tongues' borders.

    Each tongue of at least `least` points (by default a hundredth of all, and four) is outlined and
    called m:n; grey where nothing is known.

    **Arguments:** `quantity`: "winding" or "exponents".
    """
    _checks.one_of("quantity", quantity, TONGUES_QUANTITIES)
    ax = style.make_axes(ax, (6.4, 4.4))
    names, x, y = style.plane_of(result)
    shown = np.ma.masked_invalid(
        np.where(result.status == Status.OK, getattr(result, quantity), np.nan)
    )
    options: dict[str, Any] = {"cmap": "viridis"}
    if quantity == "exponents" and shown.count():
        options = {"cmap": "RdBu_r", "norm": style.around_zero(shown)}
    title = TONGUES_QUANTITIES[quantity].format(rate=rate_unit(result.time_unit))
    style.draw_map(ax, x, y, shown, label=title, **options)
    least = max(4, result.status.size // 100) if least is None else least
    pairs = np.stack([result.drive_cycles, result.cycles])
    for m, n in np.unique(pairs[:, result.locked], axis=1).T:
        inside = (pairs == np.array([m, n])[:, None, None]).all(axis=0)
        if inside.sum() >= least and min(inside.shape) > 1:
            border = ax.contour(x, y, inside.T.astype(float), [0.5], colors="white", linewidths=1.0)
            border.set_path_effects(_EDGED)
            places = np.argwhere(inside)
            i, j = places[np.abs(places - places.mean(axis=0)).sum(axis=1).argmin()]
            where: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 9, "clip_on": True}
            ax.text(x[i], y[j], f"{m}:{n}", color="white", path_effects=_EDGED, **where)
    style.label_axes(ax, names, result)
    return ax
