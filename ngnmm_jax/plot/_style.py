"""What figures share: colours, how names are written, axes, colour bars, legends."""

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.names import STIMULUS
from ngnmm_jax.models.notation import notation_of

#: Colours of growing, decaying and uniform modes (distinct for colour-blind readers too).
GROWING, DECAYING, UNIFORM = "#c1272d", "#0072b2", "#111111"
GREY = "0.82"
#: Of legends, everywhere.
LEGEND: dict[str, Any] = {"frameon": False, "fontsize": "small", "title_fontsize": "small"}
#: Of legends to the right of their axes.
BESIDE: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "borderaxespad": 0.1}
_ABOVE: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1.0), "borderaxespad": 0.1}
_ABOVE |= {"columnspacing": 1.2, "handletextpad": 0.4}
# What is a time of a stimulus.
_TIMES = ("period", "width", "onset")
# What systems have beside their models' parameters.
_OF_SYSTEMS = {"coupling": r"coupling $\varepsilon$", "input_noise": r"input noise $\sigma$"}


def symbol(name: str, of: Any = None) -> str:
    """How a parameter or a variable is written in figures, with its unit.

    **Arguments:** `of`: the model whose it is, or its class, a system of that model, or a result
    that came from one. Without it "coupling" and "input_noise" are known; other names are
    written as they are.
    """
    unit = notation_of(of).unit(name)
    if _of_stimulus(name).rpartition("_")[2] in _TIMES:
        unit = getattr(of, "time_unit", unit)
    return with_unit(bare(name, of), unit)


def bare(name: str, of: Any = None) -> str:
    """The symbol alone."""
    if inner := _of_stimulus(name):  # of a part of a sum with its number before
        *part, own = inner.rsplit("_", 1)
        return f"{own} of the stimulus" + "".join(f" {number}" for number in part)
    return _OF_SYSTEMS.get(name) or notation_of(of).symbol(name)


def _of_stimulus(name: str) -> str:
    """What a parameter of a stimulus is called in it; empty for others."""
    return name.removeprefix(STIMULUS) if name.startswith(STIMULUS) else ""


def picked(run: Any, variable: str | None) -> tuple[str, np.ndarray]:
    """A variable of a run, by default the one that it shows, and its values."""
    if not hasattr(run, "shown"):
        _checks.fail("run", "be a run, as `simulate` gives", f"it is {_checks.kind_of(run)}")
    variable = run.shown if variable is None else variable
    return variable, np.asarray(run[variable])


def quantity(run: Any, variable: str) -> str:
    """How a variable of a run is written, with the unit in which the run holds it."""
    return with_unit(bare(variable, run), run.units[run.variables.index(variable)])


def with_unit(text: str, unit: str) -> str:
    """A name with its unit, if it has one."""
    return text if unit in ("", "1") else f"{text} ({unit})"


def around_zero(values: Any) -> TwoSlopeNorm:
    """Colours of a diverging map: its middle at zero, each half up to what there is."""
    bound = float(np.abs(values).max()) or 1.0
    low, high = float(values.min()), float(values.max())
    return TwoSlopeNorm(0.0, min(low, -0.02 * bound), max(high, 0.02 * bound))


def legend_above(ax: Axes, **options: Any) -> Legend:
    """A legend above its axes, over nothing that is drawn; a title, also a later one, above it."""
    made = ax.legend(**LEGEND, **_ABOVE, **options)
    # A title keeps above the axes that are within its own: here empty ones, where the legend is.
    within = ax.inset_axes((0, 1, 1, 0.1))
    within.set_axis_off()
    within.set_in_layout(False)
    within.set_axes_locator(functools.partial(_box_of_legend, ax))
    return made


def _box_of_legend(ax: Axes, _: Any, renderer: Any) -> Bbox:
    """Where the legend of `ax` is, or `ax` itself if it was taken away, in parts of the figure."""
    box = (ax.get_legend() or ax.patch).get_window_extent(renderer)
    return box.transformed(ax.figure.transSubfigure.inverted())


def title_above(figure: Figure, title: str) -> None:
    """A title above all axes of a figure, in as many lines as it needs; none where it is empty."""
    if title:
        figure.suptitle(title, fontsize="medium", wrap=True)


def counting(axis: Axis, label: str = "") -> None:
    """An axis that counts, regions or modes or steps: `label` beside it, whole numbers along it."""
    axis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    if label:
        axis.set_label_text(label)


def make_axes(ax: Axes | None, size: tuple[float, float] = (5.2, 3.6)) -> Axes:
    """The axes given, or those of a new figure."""
    return plt.subplots(figsize=size, layout="constrained")[1] if ax is None else ax


def finish(ax: Axes) -> Axes:
    """Axes without a frame above and to the right."""
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def zero_line(ax: Axes) -> None:
    """A thin line where growth changes to decay."""
    ax.axhline(0, color="0.6", lw=0.8, zorder=0)


def of_kind(argument: str, value: Any, *kinds: type) -> None:
    """Refuse a result of another kind than is drawn here."""
    if not isinstance(value, kinds):
        names = " or ".join(f"`{kind.__name__}`" for kind in kinds)
        but = f"it is {_checks.kind_of(value)}: `.plot()` of a result draws it by what suits it"
        _checks.fail(argument, f"be a {names}", but)


def plane_of(result: Any, argument: str = "result") -> tuple[tuple[str, str], Any, Any]:
    """Names and values of the two parameters that a result spans; `ValueError` if not two."""
    parameters: Mapping[str, Any] = result.parameters
    if len(parameters) != 2:
        _checks.fail(argument, "span two parameters", f"it spans {len(parameters)}")
    (name_x, x), (name_y, y) = parameters.items()
    return (name_x, name_y), x, y


def label_axes(ax: Axes, names: Iterable[str], of: Any) -> None:
    """Names of two parameters or variables along the axes; `of` as for `symbol`."""
    name_x, name_y = names
    ax.set_xlabel(symbol(name_x, of))
    ax.set_ylabel(symbol(name_y, of))


def draw_map(ax: Axes, x: Any, y: Any, values: Any, *, label: str = "", **options: Any) -> Any:
    """Values (x, y) as colours with a bar, what is masked in grey; returns the bar."""
    ax.set_facecolor(GREY)
    mesh = ax.pcolormesh(x, y, values.T, shading="nearest", rasterized=True, **options)
    return colour_bar(ax, mesh, label)


def colour_bar(ax: Axes, drawn: Any, label: str = "") -> Any:
    """A slim bar to the right of the axes; about zero, with numbers on both sides of it."""
    bar = ax.figure.colorbar(drawn, ax=ax, label=label, pad=0.015, fraction=0.08, aspect=28)
    values = np.ma.masked_invalid(drawn.get_array())
    if isinstance(drawn.norm, TwoSlopeNorm) and values.count():
        low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
        bottom, top = float(drawn.norm.vmin or 0.0), float(drawn.norm.vmax or 0.0)
        ticks = [*_side(low, bottom), 0.0, *_side(high, top)]
        bar.set_ticks(sorted(set(ticks)), labels=[f"{v:.3g}" for v in sorted(set(ticks))])
        bar.minorticks_off()
    return bar


def _side(end: float, of: float) -> list[float]:
    """Round values between zero and the end of what is drawn on one side of it, which ends at `of`.

    None so near to zero that their numbers would lie over its own.
    """
    ticks = MaxNLocator(3).tick_values(min(end, 0.0), max(end, 0.0))
    apart = 0.15 * abs(of)
    return [float(v) for v in ticks if apart <= abs(v) <= abs(end) and v * end > 0]
