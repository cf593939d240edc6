"""What figures share: colours, names of quantities, axes."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm

#: Colours of growing, decaying and uniform modes (distinct for colour-blind readers too).
GROWING, DECAYING, UNIFORM = "#c1272d", "#0072b2", "#111111"
GREY = "0.82"

#: How parameters and variables are written in figures.
SYMBOLS = {
    "i_ext_e": r"$I_e^{\mathrm{ext}}$",
    "i_ext_i": r"$I_i^{\mathrm{ext}}$",
    "coupling": r"coupling $\varepsilon$",
    "input_noise": r"input noise $\sigma$",
    "p": r"$p$ (1/s)",
    "v_e": r"$v_e$",
    "v_i": r"$v_i$",
    "r_e": r"$r_e$ (1/ms)",
    "r_i": r"$r_i$ (1/ms)",
    "s_e": r"$s_e$ (1/ms)",
    "s_i": r"$s_i$ (1/ms)",
    "y1 - y2": r"$y_1 - y_2$ (mV)",
}


def symbol(name: str) -> str:
    """How a parameter or a variable is written in figures."""
    return SYMBOLS.get(name, name)


def quantity(run: Any, variable: str) -> str:
    """How a variable of a run is written, with the run's own unit: names are any model's."""
    unit = run.units[run.variables.index(variable)]
    return bare(variable) + ("" if unit in ("", "1") else f" ({unit})")


def bare(name: str) -> str:
    """The symbol alone."""
    return symbol(name).split(" (")[0]


def around_zero(values: Any) -> TwoSlopeNorm:
    """Colours of a diverging map: its middle at zero, each half up to what there is."""
    bound = float(np.abs(values).max()) or 1.0
    low, high = float(values.min()), float(values.max())
    return TwoSlopeNorm(0.0, min(low, -0.02 * bound), max(high, 0.02 * bound))


def make_axes(ax: Axes | None, size: tuple[float, float] = (5.2, 3.6)) -> Axes:
    """The axes given, or those of a new figure."""
    return plt.subplots(figsize=size, layout="constrained")[1] if ax is None else ax


def finish(ax: Axes) -> Axes:
    """Axes without a frame above and to the right."""
    ax.spines[["top", "right"]].set_visible(False)
    return ax
