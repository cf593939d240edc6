"""Fits: how the loss fell, what was found, and how it agrees with the data."""

from typing import Any

import jax
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ngnmm_jax.fitting import Fit, Identifiability
from ngnmm_jax.fitting.losses import pearson, upper
from ngnmm_jax.plot._style import (
    DECAYING,
    GREY,
    GROWING,
    counting,
    finish,
    legend_above,
    make_axes,
    symbol,
    title_above,
)


def fit_history(result: Fit, *, ax: Axes | None = None) -> Axes:
    """The loss of every start against the steps; the best one's terms where there are several."""
    ax = make_axes(ax)
    loss = result.history["loss"]
    best = result.best
    floor = np.nanmin(loss)
    lowest = min(floor, float(np.nanmin(result.loss)))
    span = np.nanmax(loss) - lowest
    shifted = bool(lowest <= 0) or span < 1e-3 * abs(lowest)
    offset = lowest - 1e-6 * max(span, 1e-30) if shifted else 0.0
    running = np.fmin.accumulate(loss, axis=0) - offset
    for k in range(loss.shape[1]):
        if k != best:
            ax.plot(
                running[:, k],
                color=GREY,
                lw=0.8,
                label="other starts" if k == (best == 0) else None,
            )
    ax.plot(running[:, best], color=GROWING, lw=1.6, label="best start")
    if np.nanmax(running) > 3 * np.nanmin(running):
        ax.set_yscale("log")
    counting(ax.xaxis, result.method.step_name)
    ax.set_ylabel("loss above the lowest" if shifted else "lowest loss so far")
    if loss.shape[1] > 1:
        legend_above(ax, ncols=2)
    return finish(ax)


def fit_parameters(result: Fit, *, axes: Any = None) -> Figure:
    """Each parameter of the best start against the steps; of regional ones the 5 to 95 % band."""
    x = result.history["x"][:, result.best]
    values = jax.vmap(result.free.values)(x)
    names = list(values)
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(3.1 * columns, 2.2 * rows),
        layout="constrained",
        squeeze=False,
        sharex=True,
    )
    for ax, name in zip(grid.flat, names, strict=False):
        curve = np.asarray(values[name]).reshape(len(x), -1)
        if curve.shape[1] > 1:
            low, high = np.percentile(curve, [5, 95], axis=1)
            ax.fill_between(np.arange(len(curve)), low, high, color=GREY, lw=0)
        ax.plot(np.median(curve, axis=1), color=DECAYING)
        ax.set_title(symbol(name, result.system), fontsize="medium")
        counting(ax.xaxis)
        finish(ax)
    for ax in grid.flat[len(names) :]:
        ax.set_visible(False)
    figure.supxlabel("step", fontsize="medium")
    return figure


def fc_comparison(predicted: Any, target: Any, *, title: str = "") -> Figure:
    """Predicted and target functional connectivity: both matrices, and pair against pair."""
    predicted, target = np.asarray(predicted), np.asarray(target)
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(10.5, 3.3), layout="constrained")
    for ax, matrix, name in ((left, target, "data"), (middle, predicted, "model")):
        shown = matrix - np.diag(np.full(len(matrix), np.nan))
        image = ax.imshow(shown, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
        ax.set_title(name, fontsize="medium")
        counting(ax.xaxis, "region")
        counting(ax.yaxis, "region" if ax is left else "")
    figure.colorbar(image, ax=[left, middle], label="correlation", shrink=0.8)
    x, y = upper(target), upper(predicted)
    right.plot(x, y, ".", ms=2, color=DECAYING, alpha=0.3, rasterized=True)
    slope, offset = np.polyfit(x, y, 1)
    ends = np.array([x.min(), x.max()])
    right.plot(ends, offset + slope * ends, color=GROWING)
    right.set_xlabel("data")
    right.set_ylabel("model")
    right.set_title(f"{x.size} pairs, correlation {float(pearson(x, y)):.3f}", fontsize="medium")
    finish(right)
    title_above(figure, title)
    return figure


def spectrum_fit(frequencies: Any, power: Any, target: Any, *, region: int | None = None) -> Figure:
    """Predicted and estimated spectra of a region or their means, and the residuals of all."""
    frequencies, power, target = map(np.asarray, (frequencies, power, target))
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(5.4, 4.6), layout="constrained", sharex=True
    )
    pick = (lambda p: p.mean(axis=1)) if region is None else (lambda p: p[:, region])
    above.plot(frequencies, pick(target), color="0.6", lw=0.9, label="data")
    above.plot(frequencies, pick(power), color=GROWING, label="model")
    above.set_yscale("log")
    above.set_ylabel(
        "power density" + (", mean over regions" if region is None else f", region {region}")
    )
    legend_above(above, ncols=2)
    rest = np.log(target / power)
    low, middle, high = np.percentile(rest, [5, 50, 95], axis=1)
    below.fill_between(frequencies, low, high, color=GREY, lw=0, label="5 to 95 % of regions")
    below.plot(frequencies, middle, color=DECAYING, label="median")
    below.axhline(0, color="k", lw=0.7)
    below.set_xlabel("frequency (Hz)")
    below.set_ylabel("log(data / model)")
    legend_above(below, ncols=2)
    for ax in (above, below):
        finish(ax)
    return figure


def identifiability(found: Identifiability, *, most: int = 12) -> Figure:
    """The curvatures of the loss, and which parameters the least certain directions combine."""
    count = len(found.names)
    shown = min(most, count)
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(8.4, 1.6 + 0.28 * shown), layout="constrained", width_ratios=(1, 1.6)
    )
    curvatures = np.asarray(found.curvatures)
    left.plot(
        np.arange(1, count + 1),
        np.maximum(curvatures, 1e-12 * curvatures[0]),
        "o-",
        color=DECAYING,
        ms=4,
    )
    left.set_yscale("log")
    counting(left.xaxis, "direction")
    left.set_ylabel("curvature of the loss")
    finish(left)
    matrix = np.asarray(found.directions)[-shown:]
    columns = np.argsort(-np.abs(matrix).max(axis=0))[:shown]
    columns.sort()
    image = right.imshow(matrix[:, columns], cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    right.set_xticks(
        range(len(columns)),
        [found.names[k] for k in columns],
        rotation=60,
        ha="right",
        fontsize="small",
    )
    right.set_yticks(range(shown), [str(count - shown + 1 + k) for k in range(shown)])
    right.set_ylabel("direction")
    right.set_title("least certain at the bottom", fontsize="medium")
    figure.colorbar(image, ax=right, label="part of each parameter")
    return figure
