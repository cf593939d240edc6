"""Connectomes, and values on the brain."""

from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from ngnmm_jax._core import checks as _checks
from ngnmm_jax.connectome import Connectome
from ngnmm_jax.plot._style import DECAYING, counting, finish, make_axes


def brain(
    connectome: Connectome,
    values: ArrayLike,
    *,
    figure: Figure | None = None,
    label: str = "",
    diverging: bool = True,
) -> Figure:
    """One value per region at the regions' centroids: from above, from the left, from behind.

    **Arguments:**

    - `values` (region,): real; of a complex mode, show its real part or modulus.
    - `diverging`: colours centred on zero (a mode), or sequential (an amplitude).
    """
    array = np.asarray(values)
    _checks.shape("values", array, (connectome.n_regions,), "(region,)")
    if np.iscomplexobj(array):
        _checks.fail("values", "be real", "it is complex: take `.real` or `abs`")
    _checks.finite("values", array)
    if connectome.centroids is None:
        _checks.fail("connectome", "have centroids", "it has none")
    if figure is None:
        figure = plt.figure(figsize=(9.0, 3.0), layout="compressed")
    bound = max(float(np.abs(array).max()), 1e-300)
    options: dict[str, Any] = (
        {"cmap": "RdBu_r", "vmin": -bound, "vmax": bound}
        if diverging
        else {"cmap": "viridis", "vmin": float(array.min()), "vmax": float(array.max())}
    )
    sizes = 25 + 120 * np.abs(array) / bound
    every = views(connectome)
    axes = figure.subplots(1, 3, width_ratios=[np.ptp(across) + 20 for _, across, *_ in every])
    for ax, (title, across, up, depth, label_x, label_y) in zip(axes, every, strict=True):
        order = np.argsort(depth)
        dots = ax.scatter(
            across[order], up[order], c=array[order], s=sizes[order], lw=0.4, ec="0.3", **options
        )
        ax.set_aspect("equal")
        ax.margins(0.08)
        ax.set_title(title, fontsize="medium")
        ax.set_xlabel(label_x)
        ax.set_ylabel(label_y)
        finish(ax)
    axes[1].invert_xaxis()  # the front of the brain points to the left
    figure.colorbar(dots, ax=axes, label=label or "amplitude", fraction=0.05, shrink=0.85)
    return figure


def views(connectome: Connectome) -> tuple[Any, ...]:
    """Titles, the coordinates across, up and towards the reader, the axes' labels: of a brain."""
    assert connectome.centroids is not None
    x, y, z = connectome.centroids.T
    return (
        ("from above", x, y, z, "x (mm)", "y (mm)"),
        ("from the left", y, z, -x, "y (mm)", "z (mm)"),
        ("from behind", x, z, -y, "x (mm)", "z (mm)"),
    )


def connectome_matrix(connectome: Connectome, *, ax: Axes | None = None) -> Axes:
    """The weights on a logarithmic scale, zero left white."""
    ax = make_axes(ax, (4.6, 4.0))
    weights = np.ma.masked_equal(connectome.weights, 0.0)
    image = ax.imshow(weights, norm=mpl.colors.LogNorm(), cmap="viridis", interpolation="none")
    ax.figure.colorbar(image, ax=ax, label="weight", pad=0.02, shrink=0.9)
    counting(ax.xaxis, "from region")
    counting(ax.yaxis, "to region")
    return ax


def structural_spectrum(connectome: Connectome, *, ax: Axes | None = None) -> Axes:
    """Eigenvalues of the weights: against their rank, or in the complex plane."""
    ax = make_axes(ax)
    modes = connectome.eigenmodes()
    if modes.is_real:
        ax.axhline(0, color="0.6", lw=0.8)
        ax.plot(modes.values, "o", ms=3.5, color=DECAYING)
        counting(ax.xaxis, "mode")
        ax.set_ylabel(r"structural eigenvalue $\Lambda$")
    else:
        ax.plot(modes.values.real, modes.values.imag, "o", ms=3.5, color=DECAYING)
        ax.set_xlabel(r"Re $\Lambda$")
        ax.set_ylabel(r"Im $\Lambda$")
        ax.set_aspect("equal", "datalim")
    return finish(ax)
