"""Sweeps: summaries along one parameter, or over two."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.status import Status
from ngnmm_jax.plot._style import (
    DECAYING,
    bare,
    colour_bar,
    counting,
    draw_map,
    finish,
    make_axes,
    title_above,
)
from ngnmm_jax.sweeps.outputs import POINT, REPLICATE
from ngnmm_jax.sweeps.storage import CHECK, DIGESTS, DISCREPANCY

# Kinds of whole numbers.
_WHOLE = "iu"
# Panels of a figure at most, where nobody says which.
_PANELS = 6


def sweep_dimensions(dataset: Any) -> tuple[str, ...]:
    """The dimensions of a sweep's design, replicates left out."""
    return tuple(d for d in dataset["status"].dims if d != REPLICATE)


def sweep_quantities(dataset: Any) -> list[str]:
    """What of a sweep can be drawn: the numbers of each run, those of few dimensions first."""
    design = set(dataset["status"].dims)
    names = [
        str(name)
        for name, value in dataset.data_vars.items()
        if design <= set(value.dims)
        and value.dtype.kind in "fiu"
        and name not in ("status", DIGESTS)
        and not str(name).endswith(DISCREPANCY)
        and CHECK not in value.dims
        and not {"time", "frequency", "other_region"} & set(value.dims)
    ]
    return sorted(names, key=lambda name: dataset[name].ndim)


def sweep(
    dataset: Any,
    quantity: str,
    *,
    at: Mapping[str, Any] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """One quantity of a sweep along one parameter, or over two.

    Replicates are averaged; so are regions over two parameters, and along one they are a band
    from the lowest to the highest. Runs that failed, or are not finished, are grey or left out.

    **Arguments:**

    - `dataset`: as `sweep` or `open_sweep` returns it.
    - `quantity`: a name in it, of numbers per run (and per region).
    - `at`: values of other dimensions ("band", a parameter), by name; the nearest are taken.
      Without it, dimensions beyond two are cut in their middle.
    """
    _checks.one_of("quantity", quantity, sweep_quantities(dataset))
    values, along = _selected(dataset, quantity, dict(at or {}))
    attrs = dataset[quantity].attrs
    label = attrs.get("symbol") or attrs.get("long_name", quantity)
    text = _with_unit(label, attrs.get("units", "1"))
    if along == [POINT]:
        return _scattered(dataset, values, text, ax)
    if len(along) == 1:
        return _along(dataset, values, along[0], text, ax)
    ax = make_axes(ax, (5.4, 4.2))
    mean = values.mean([d for d in values.dims if d not in along], skipna=True)
    shown = np.ma.masked_invalid(mean.transpose(*along).values.astype(float))
    x, y = (_ticks(dataset, d) for d in along)
    columns, rows = (np.arange(len(v)) if v.dtype.kind in "US" else v for v in (x, y))
    bar = draw_map(ax, columns, rows, shown, cmap="viridis")
    if dataset[quantity].dtype.kind in _WHOLE:
        counting(bar.ax.yaxis)
    ax.set_title(text + _where(values), fontsize="medium", loc="left")
    for axis, dim, ticks in ((ax.xaxis, along[0], x), (ax.yaxis, along[1], y)):
        _label(axis, dataset, dim)
        if ticks.dtype.kind in "US":
            axis.set_ticks(np.arange(len(ticks)), ticks)
    return ax


def sweep_overview(
    dataset: Any,
    quantities: Sequence[str] | None = None,
    *,
    at: Mapping[str, Any] | None = None,
    title: str = "",
) -> Figure:
    """Several quantities of a sweep, a panel each; by default the first six of them."""
    names = list(sweep_quantities(dataset)[:_PANELS] if quantities is None else quantities)
    if not names:
        _checks.fail("quantities", "name something to draw", "the sweep holds no numbers per run")
    columns = 2 if len(names) == 4 else min(len(names), 3)
    rows = -(-len(names) // columns)
    figure = plt.figure(figsize=(5.0 * columns, 3.6 * rows), layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for ax, name in zip(axes, names, strict=False):
        sweep(dataset, name, at=at, ax=ax)
    for ax in axes[len(names) :]:
        ax.remove()
    title_above(figure, title)
    return figure


def _selected(dataset: Any, quantity: str, at: dict[str, Any]) -> tuple[Any, list[str]]:
    """Values of good runs with all that is not drawn or averaged cut away; what they go along."""
    good = dataset["status"] == Status.OK
    values = dataset[quantity].where(good)
    for name, value in at.items():
        _checks.one_of("at", name, [str(d) for d in values.dims])
        labelled = dataset[name].dtype.kind in "US" if name in dataset.coords else False
        if labelled:
            _checks.one_of(name, value, [str(v) for v in dataset[name].values])
        values = values.sel({name: value}, method=None if labelled else "nearest")
    along = [d for d in sweep_dimensions(dataset) if d in values.dims and values.sizes[d] > 1]
    for extra in along[2:]:
        values = values.isel({extra: values.sizes[extra] // 2})
    kept = {*along, REPLICATE, "region"}
    for dim in values.dims:
        if dim not in kept or (values.sizes[dim] == 1 and dim not in along):
            values = values.isel({dim: 0})
    return values, along[:2]


def _along(dataset: Any, values: Any, dim: str, text: str, ax: Axes | None) -> Axes:
    ax = make_axes(ax, (5.4, 3.6))
    x = _ticks(dataset, dim)
    other = [d for d in values.dims if d != dim]
    mean = values.mean(other, skipna=True).values
    ax.plot(x, mean, ".-", color=DECAYING, ms=4, lw=1.2)
    legend = []
    if other:
        low, high = (getattr(values, f)(other, skipna=True).values for f in ("min", "max"))
        ax.fill_between(x, low, high, color=DECAYING, alpha=0.2, lw=0)
        legend = [f"line: mean; band: all {' and '.join(f'{d}s' for d in other)}"]
    cut = _where(values).removeprefix("; ")
    ax.set_title("\n".join([*([cut] if cut else []), *legend]), fontsize="small", loc="left")
    _label(ax.xaxis, dataset, dim)
    ax.set_ylabel(text)
    return finish(ax)


def _scattered(dataset: Any, values: Any, text: str, ax: Axes | None) -> Axes:
    """A list of points: over their first two parameters, or against the only one."""
    names = [str(n) for n, v in dataset.coords.items() if v.dims == (POINT,) and n != POINT]
    names.sort(key=lambda name: dataset[name].dtype.kind in "US")  # connectomes come last
    mean = values.mean([d for d in values.dims if d != POINT], skipna=True).values
    ax = make_axes(ax, (5.4, 4.2))
    x = dataset[names[0]].values
    _label(ax.xaxis, dataset, names[0])
    if len(names) == 1:
        ax.plot(x, mean, ".", color=DECAYING)
        ax.set_ylabel(text + _where(values))
        return finish(ax)
    y, bad = dataset[names[1]].values, ~np.isfinite(mean)
    ax.plot(x[bad], y[bad], "x", color="0.7", ms=3)
    dots = ax.scatter(x[~bad], y[~bad], c=mean[~bad], s=12, cmap="viridis")
    colour_bar(ax, dots)
    ax.set_title(text + _where(values), fontsize="medium", loc="left")
    _label(ax.yaxis, dataset, names[1])
    return finish(ax)


def _label(axis: Axis, dataset: Any, name: str) -> None:
    """The name of a dimension beside its axis; along it whole numbers, where it has no others."""
    axis.set_label_text(_name(dataset, name))
    if _ticks(dataset, name).dtype.kind in _WHOLE:
        counting(axis)


def _ticks(dataset: Any, dim: str) -> np.ndarray:
    return dataset[dim].values if dim in dataset.coords else np.arange(dataset.sizes[dim])


def _where(values: Any) -> str:
    """What was cut, in words: the coordinates that have no dimension any more."""
    cut = {str(k): v.item() for k, v in values.coords.items() if v.ndim == 0 and k != "seed"}
    text = ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in cut.items())
    return f"; {text}" if text else ""


def _name(dataset: Any, name: str) -> str:
    """How one of the dataset's parameters or dimensions is written."""
    attrs = dataset[name].attrs if name in dataset.coords else {}
    return _with_unit(attrs.get("symbol", bare(name)), attrs.get("units", "1"))


def _with_unit(text: str, unit: str) -> str:
    return text if unit == "1" else f"{text} ({unit.replace('^2', '²')})"
