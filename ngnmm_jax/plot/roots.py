"""Characteristic roots of networks with delays, and maps of them."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ngnmm_jax._core import checks as _checks
from ngnmm_jax.models.times import frequency_unit, rate_unit, units_of
from ngnmm_jax.plot import _style as style
from ngnmm_jax.stability.delay_maps import RootsMap
from ngnmm_jax.stability.roots import CharacteristicRoots

#: What a map of roots can show, and its label.
ROOTS_QUANTITIES = {
    "growth": "growth of the rightmost root ({rate})",
    "number_growing": "number of growing roots",
    "frequency": "frequency of the rightmost root ({hertz})",
}


def characteristic_roots(result: CharacteristicRoots, *, ax: Axes | None = None) -> Axes:
    """Growth against frequency: a marker for each pair of roots, larger the more regions take part.

    Red ones grow, blue ones decay; the number of regions is Σ|u|² squared over Σ|u|⁴, of the
    pattern u. Left of the dotted line roots were not looked for.
    """
    style.of_kind("result", result, CharacteristicRoots)
    ax = style.make_axes(ax)
    growth, frequency = np.asarray(result.growth), np.asarray(result.frequency)
    share = np.abs(np.asarray(result.patterns)) ** 2
    share = share.sum(axis=tuple(range(1, share.ndim - 1)))  # of all outputs
    wide = share.sum(axis=1) ** 2 / np.maximum((share**2).sum(axis=1), 1e-300)
    size = 6 + 60 * wide / max(share.shape[1], 1)
    ax.axvline(0, color="0.6", lw=0.8, zorder=0)
    for mask, colour, text in (
        (growth > 0, style.GROWING, "growing"),
        (growth <= 0, style.DECAYING, "decaying"),
    ):
        if mask.any():
            ax.scatter(growth[mask], frequency[mask], s=size[mask], color=colour, edgecolor="w",
                       linewidth=0.4, label=f"{mask.sum()} {text}")  # fmt: skip
    ax.axvline(float(result.line), color="0.4", lw=0.9, ls=":", zorder=0)
    ax.set_xlabel(style.with_unit("growth rate", rate_unit(result.time_unit)))
    ax.set_ylabel(f"frequency ({frequency_unit(result.time_unit)})")
    title = None if bool(result.certified) else "not certified to be all"
    if title or ax.get_legend_handles_labels()[0]:
        style.legend_above(ax, title=title, ncols=2)
    return style.finish(ax)


def roots_map(result: RootsMap, *, ax: Axes | None = None, quantity: str = "growth") -> Axes:
    """A map over two parameters, of the equilibrium that grows most slowly at each point.

    A black line is where the rightmost root crosses the imaginary axis; grey is where the number of
    roots is not certified.

    **Arguments:**

    - `quantity`: "growth", "number_growing" or "frequency".
    """
    _checks.one_of("quantity", quantity, ROOTS_QUANTITIES)
    names, x, y = style.plane_of(result)
    ax = style.make_axes(ax, (6.4, 4.2))
    growth = np.where(result.certified, result.growth, np.inf)
    place = growth.argmin(axis=-1)[..., None]
    there = np.isfinite(growth).any(axis=-1)

    def chosen(values: np.ndarray) -> np.ma.MaskedArray:
        picked = np.take_along_axis(values.astype(float), place, axis=-1)[..., 0]
        return np.ma.masked_array(picked, ~there)

    shown, slowest = chosen(getattr(result, quantity)), chosen(result.growth)
    options: dict[str, Any] = {"cmap": "viridis"}
    if quantity == "growth" and shown.count():
        options = {"cmap": "RdBu_r", "norm": style.around_zero(shown)}
    bar = style.draw_map(ax, x, y, shown, **options)
    if quantity == "number_growing":
        style.counting(bar.ax.yaxis)
    if slowest.count() and slowest.min() < 0 < slowest.max() and min(slowest.shape) > 1:
        ax.contour(x, y, slowest.T, levels=[0.0], colors="k", linewidths=0.8)
    title = ROOTS_QUANTITIES[quantity].format(**units_of(result.time_unit))
    ax.set_title(title, fontsize="medium", loc="left")
    style.label_axes(ax, names, result)
    return ax


def roots_cut(result: RootsMap, value: float, *, ax: Axes | None = None) -> Axes:
    """Growth of each equilibrium's rightmost root along a map's first axis.

    Crosses are equilibria at which the number of roots is not certified.

    **Arguments:** `value`: of the second axis, at whose nearest line the map is cut.
    """
    (name_x, name_y), x, y = style.plane_of(result)
    ax = style.make_axes(ax)
    line = int(np.abs(y - value).argmin())
    style.zero_line(ax)
    growth, certain = result.growth[:, line], result.certified[:, line]
    column = np.broadcast_to(x[:, None], growth.shape)
    for mask, marker, colour, text in (
        (certain & (growth > 0), "o", style.GROWING, "unstable equilibrium"),
        (certain & (growth <= 0), "o", style.DECAYING, "stable equilibrium"),
        (np.isfinite(growth) & ~certain, "x", "0.5", "not certified"),
    ):
        if mask.any():
            ax.plot(column[mask], growth[mask], marker, ms=4, color=colour, label=text)
    title = f"{style.bare(name_y, result)} = {y[line]:g}"
    ax.legend(title=title, **style.LEGEND, **style.BESIDE)
    ax.set_xlabel(style.symbol(name_x, result))
    ax.set_ylabel(style.with_unit("growth of the rightmost root", rate_unit(result.time_unit)))
    return style.finish(ax)
