"""What figures share: colours, names of quantities, axes."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

#: Colours of growing, decaying and uniform modes (distinct for colour-blind readers too).
GROWING, DECAYING, UNIFORM = "#c1272d", "#0072b2", "#111111"
GREY = "0.82"

#: How parameters and variables are written in figures.
SYMBOLS = {
    "i_ext_e": r"$I_e^{\mathrm{ext}}$",
    "i_ext_i": r"$I_i^{\mathrm{ext}}$",
    "coupling": r"coupling $\varepsilon$",
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


def make_axes(ax: Axes | None, size: tuple[float, float] = (5.2, 3.6)) -> Axes:
    return plt.subplots(figsize=size, layout="constrained")[1] if ax is None else ax


def finish(ax: Axes) -> Axes:
    ax.spines[["top", "right"]].set_visible(False)
    return ax
