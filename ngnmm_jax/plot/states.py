"""Figures of single states: eigenvalues, one period, Lyapunov exponents, the response to noise."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.pyplot import figure as new_figure

from ngnmm_jax._core import checks as _checks
from ngnmm_jax.dynamics.equilibria import Equilibria
from ngnmm_jax.dynamics.forced.result import ForcedOrbit
from ngnmm_jax.dynamics.lyapunov import LyapunovSpectrum
from ngnmm_jax.dynamics.periodic import Orbit
from ngnmm_jax.models.times import frequency_unit, per_time
from ngnmm_jax.plot import _style as style
from ngnmm_jax.stability.response import LinearResponse

_MARKERS = "osD^vP*X"


def equilibria(result: Equilibria, *, ax: Axes | None = None) -> Axes:
    """Eigenvalues of each equilibrium in the complex plane: red ones grow, blue ones decay."""
    style.of_kind("result", result, Equilibria)
    ax = style.make_axes(ax)
    found = np.asarray(result.found)
    if found.ndim != 1:
        _checks.fail("result", "be of one search", f"`found` has shape {found.shape}")
    ax.axvline(0, color="0.6", lw=0.8, zorder=0)
    for k in np.flatnonzero(found):
        values = np.asarray(result.eigenvalues[k]).ravel()
        values = values[np.isfinite(values)]
        colours = np.where(values.real > 0, style.GROWING, style.DECAYING)
        stable = "stable" if bool(result.stable[k]) else "unstable"
        ax.scatter(values.real, values.imag, c=colours, marker=_MARKERS[k % len(_MARKERS)], s=22,
                   label=f"equilibrium {k}, {stable}")  # fmt: skip
    rate = per_time(result.notation.time_unit)
    ax.set_xlabel(f"growth rate ({rate})")
    ax.set_ylabel(f"angular frequency ({rate})")
    if found.any():
        for handle in style.legend_above(ax, ncols=2).legend_handles:
            if handle is not None:
                handle.set_color("0.3")  # type: ignore[attr-defined]
    return style.finish(ax)


def orbit(result: Orbit | ForcedOrbit, *, ax: Axes | None = None) -> Axes:
    """All variables over one period, each from its least to its largest value."""
    style.of_kind("result", result, Orbit, ForcedOrbit)
    ax = style.make_axes(ax)
    ts, samples = np.asarray(result.ts), np.asarray(result.samples)
    if samples.ndim != 2:
        _checks.fail("result", "be one orbit", f"`samples` has shape {samples.shape}")
    low, high = np.nanmin(samples, axis=0), np.nanmax(samples, axis=0)
    lines = ax.plot(ts - ts[0], (samples - low) / np.where(high > low, high - low, 1.0), lw=1.2)
    unit = result.notation.time_unit
    known = [style.bare(name, result) for name in result.notation.variables]
    names = known or [f"variable {k}" for k in range(len(lines))]
    period = f"period {float(result.period):.6g} {unit}".removesuffix(" 1")
    ax.legend(lines, names, title=period, **style.LEGEND, **style.BESIDE)
    ax.set_xlabel(style.with_unit("time", unit))
    ax.set_ylabel("variables, scaled")
    ax.margins(x=0)
    return style.finish(ax)


def lyapunov_exponents(result: LyapunovSpectrum, *, ax: Axes | None = None) -> Axes:
    """The exponents of one trajectory, with three standard errors."""
    style.of_kind("result", result, LyapunovSpectrum)
    ax = style.make_axes(ax)
    exponents = np.asarray(result.exponents)
    if exponents.ndim != 1:
        _checks.fail("result", "be of one trajectory", f"there are {exponents.shape[:-1]} of them")
    style.zero_line(ax)
    sure = exponents > 3 * np.asarray(result.errors)
    ax.errorbar(np.arange(1, exponents.size + 1), exponents, 3 * np.asarray(result.errors),
                fmt="none", ecolor="0.5", lw=0.8)  # fmt: skip
    ax.scatter(np.arange(1, exponents.size + 1), exponents, s=16, zorder=3,
               c=np.where(sure, style.GROWING, style.DECAYING))  # fmt: skip
    style.counting(ax.xaxis, "number")
    ax.set_ylabel(f"Lyapunov exponent ({per_time(result.notation.time_unit)})")
    return style.finish(ax)


def linear_response(result: LinearResponse, *, title: str = "") -> Figure:
    """Spectra of all regions and of their mean, where asked for, and the slow correlations."""
    style.of_kind("result", result, LinearResponse)
    power = np.asarray(result.power)
    panels = 1 + (len(power) > 0)
    figure = new_figure(figsize=(0.2 + 4.1 * panels, 3.6), layout="constrained")
    *left, right = figure.subplots(1, panels, squeeze=False)[0]
    for ax in left:
        decibels = 10 * np.log10(np.where(power > 0, power, np.nan))
        ax.plot(result.frequencies, decibels, color=style.DECAYING, lw=0.5, alpha=0.3)
        ax.plot(result.frequencies, 10 * np.log10(power.mean(axis=1)), color="0.1", lw=1.4)
        ax.set_xlabel(f"frequency ({frequency_unit(result.notation.time_unit)})")
        ax.set_ylabel(f"power of {style.bare(result.variable, result)} (dB)")
        style.finish(ax)
    image = right.imshow(result.fc, cmap="RdBu_r", vmin=-1, vmax=1)
    figure.colorbar(image, ax=right, label="slow correlation", fraction=0.046)
    style.counting(right.xaxis, "region")
    style.counting(right.yaxis, "region")
    style.title_above(figure, title)
    return figure
