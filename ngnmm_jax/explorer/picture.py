"""The explorer's picture: four panels whose artists are moved, not made again."""

import io
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ngnmm_jax import plot
from ngnmm_jax.explorer.answers import SAMPLES, Rhythm, State, at_modes, rates
from ngnmm_jax.models.times import frequency_unit, rate_unit
from ngnmm_jax.plot._style import (
    DECAYING,
    GROWING,
    UNIFORM,
    bare,
    counting,
    finish,
    label_axes,
    legend_above,
    symbol,
    with_unit,
)  # fmt: skip
from ngnmm_jax.simulation.result import Simulation
from ngnmm_jax.stability.delay_maps import RootsMap
from ngnmm_jax.stability.maps import DispersionMap
from ngnmm_jax.stability.roots import CharacteristicRoots
from ngnmm_jax.systems.network import Network

# Of the picture's width, what longer numbers on the left take than those that it was laid out with.
_ROOM = 0.025


class Picture:
    """Four panels whose artists are moved, not made again."""

    def __init__(self, network: Network, ends: dict[str, tuple[float, float]]) -> None:
        model, names = network.model, list(ends)
        with mpl.rc_context({"font.size": 9}):
            self.figure = Figure(figsize=(10.0, 5.6), dpi=100)
            self.canvas = FigureCanvasAgg(self.figure)
            (self.curve, self.map), (self.raster, self.spectrum) = self.figure.subplots(2, 2)
        self._arrange()
        if network.delays is None or network.one_delay:
            self._make_curve(model.time_unit)
        self._names = names
        self.map.set(xlim=ends[names[0]], ylim=ends[names[1]], title="the map is being computed")
        label_axes(self.map, names, network)
        self._mark_place()
        ax = self.raster
        self._image = ax.imshow(np.zeros((2, 2)), aspect="auto", origin="lower", cmap="magma",
                                interpolation="nearest")  # fmt: skip
        shown = symbol(model.shown, model)
        ax.set(xlabel=with_unit("time", model.time_unit), title=shown)
        counting(ax.yaxis, "region")
        ax = finish(self.spectrum)
        (self._regions,) = ax.plot([], [], color=DECAYING, lw=1.2, label="regions, averaged")
        (self._mean,) = ax.plot([], [], color="0.1", lw=1.0, label="mean of regions")
        ax.set(
            xlabel=f"frequency ({frequency_unit(model.time_unit)})",
            ylabel=f"power of {bare(model.shown, model)} (dB)",
        )
        legend_above(ax, ncols=2)

    def _make_curve(self, unit: str) -> None:
        ax = finish(self.curve)
        ax.axhline(0, color="0.6", lw=0.8)
        (self._line,) = ax.plot([], [], color="0.35", lw=1.4)
        self._modes = {
            colour: ax.plot([], [], marker, ms=size, color=colour, mec="w", mew=0.4)[0]
            for colour, marker, size in (
                (GROWING, "o", 4.5),
                (DECAYING, "o", 4.5),
                (UNIFORM, "s", 6.0),
            )
        }
        ax.set(xlabel="structural eigenvalue Λ", ylabel=with_unit("growth", rate_unit(unit)))

    def show_map(self, result: DispersionMap | RootsMap) -> None:
        """Another map under the place."""
        place = self.map.get_subplotspec()
        for ax in [ax for ax in self.figure.axes
                   if ax not in (self.curve, self.raster, self.spectrum)]:  # fmt: skip
            ax.remove()
        self.map = self.figure.add_subplot(place)
        draw: Any = plot.roots_map if isinstance(result, RootsMap) else plot.dispersion_map
        draw(result, ax=self.map)
        self._arrange()
        self._mark_place()

    def _arrange(self) -> None:
        """When it is drawn next, and then no more: with room on the left for longer numbers."""
        self.figure.set_layout_engine("constrained", rect=(_ROOM, 0, 1 - _ROOM, 1))

    def _mark_place(self) -> None:
        (self._place,) = self.map.plot([], [], "o", ms=9, mfc="none", mec="k", mew=2.2)

    def show(
        self,
        values: dict[str, float],
        state: State,
        run: Simulation,
        rhythm: Rhythm | None,
    ) -> None:
        """What there is at a place of the plane."""
        if isinstance(state.found, CharacteristicRoots):
            self.curve.clear()
            plot.characteristic_roots(state.found, ax=self.curve)
        else:
            self._show_curve(state)
        self.show_place(values)
        self._show_run(run)
        self._show_rhythm(rhythm)

    def show_place(self, values: dict[str, float]) -> None:
        """Where the sliders are, on the map."""
        self._place.set_data(*([values[name]] for name in self._names))

    def _show_curve(self, state: State) -> None:
        along, growth, _ = rates(state.found)
        self._line.set_data(along[: state.curve].real, growth[: state.curve])
        lambdas, at, _ = at_modes(state)
        chosen = np.where(at > 0, GROWING, DECAYING)
        chosen[0] = UNIFORM
        for colour, artist in self._modes.items():
            artist.set_data(lambdas[chosen == colour].real, at[chosen == colour])
        low, high = min(growth.min(), 0.0), max(growth.max(), 0.0)
        room = 0.08 * (high - low or 1.0)
        self.curve.set_ylim(low - room, high + room)
        left, right = along.real.min(), along.real.max()
        room = 0.025 * (right - left or 1.0)
        self.curve.set_xlim(left - room, right + room)

    def _show_run(self, run: Simulation) -> None:
        shown = np.asarray(run[run.shown])
        part = shown[SAMPLES * 7 // 10 :]
        ts = np.asarray(run.ts)[SAMPLES * 7 // 10 :]
        self._image.set_data(part.T)
        self._image.set_extent((ts[0], ts[-1], -0.5, part.shape[1] - 0.5))
        middle, half = part.mean(), max(np.abs(part - part.mean()).max(), 0.01)
        self._image.set_clim(middle - half, middle + half)

    def _show_rhythm(self, rhythm: Rhythm | None) -> None:
        if rhythm is None:
            for artist in (self._regions, self._mean):
                artist.set_data([], [])
            return
        frequencies, *levels = rhythm
        for artist, level in zip((self._regions, self._mean), levels, strict=True):
            artist.set_data(frequencies, level)
        top = max(float(level.max()) for level in levels)
        peak = float(frequencies[max(level.argmax() for level in levels)])
        self.spectrum.set_xlim(0, min(max(150.0, 1.3 * peak), float(frequencies[-1])))
        self.spectrum.set_ylim(top - 70, top + 5)

    def clear(self) -> None:
        """No activity and no curve."""
        for ax in (self.curve, self.spectrum):
            for artist in ax.lines:
                artist.set_data([], [])
        for dots in self.curve.collections:
            dots.set_offsets(np.empty((0, 2)))
        self._image.set_data(np.full((2, 2), np.nan))

    def png(self) -> bytes:
        """The picture as it stands."""
        buffer = io.BytesIO()
        self.canvas.print_png(buffer, pil_kwargs={"compress_level": 1})
        self.figure.set_layout_engine("none")  # the layout costs as much as the drawing
        return buffer.getvalue()
