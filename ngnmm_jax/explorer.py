"""The explorer: sliders for a network's parameters, and what they do, at once, in Jupyter."""

import html
import io
import itertools
import time
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ngnmm_jax import plot
from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.parameters import leaf, never_negative, parameter_names
from ngnmm_jax._core.status import SolverError, Status
from ngnmm_jax.dynamics.equilibria import find_equilibria
from ngnmm_jax.dynamics.orbits import find_orbit
from ngnmm_jax.integrators import fixed
from ngnmm_jax.models.times import SECONDS, frequency_unit, per_time, rate_unit, seconds_in
from ngnmm_jax.plot._style import DECAYING, GROWING, UNIFORM, bare, finish, symbol
from ngnmm_jax.signals import power_spectrum
from ngnmm_jax.simulation.result import Simulation
from ngnmm_jax.simulation.single import simulate
from ngnmm_jax.simulation.start import initial_state
from ngnmm_jax.stability.delay_maps import RootsMap
from ngnmm_jax.stability.dispersion import Dispersion, dispersion
from ngnmm_jax.stability.maps import DispersionMap, dispersion_map
from ngnmm_jax.stability.roots import CharacteristicRoots
from ngnmm_jax.systems.delayed import allowing
from ngnmm_jax.systems.network import Network

# Λ of the curve; samples of a run; what counts as no activity.
_GRID = np.linspace(-1.0, 1.0, 161)
_SAMPLES, _STEPS = 1000, 10_000
# Points of the map along an axis: without delays, with them, and with delays between more regions
# than the last number.
_POINTS, _FEW_POINTS, _FEWEST_POINTS, _MANY = 33, 7, 3, 30
# Of Welch's windows, as a fraction of the run.
_WINDOW = 0.3
_STILL = 1e-3
_NO_NAME = "(none)"


def explore(
    system: Network,
    parameters: Mapping[str, tuple[float, float]] | None = None,
    *,
    points: int | None = None,
    background: DispersionMap | RootsMap | None = None,
) -> "Explorer":
    """An explorer of a network: show its `widget` in Jupyter, as the last line of a cell.

    **Arguments:**

    - `system`: where it begins; it must have homogeneous states.
    - `parameters`: two (of the model, "coupling", with delays "speed" or "delay") and their bounds,
      for two sliders and the map; by default those of the model's `plane`.
    - `points`: of the map along each of them, by default 33, with delays 7 (of more than thirty
      regions 3). It is that of equilibria, and is computed anew when a third parameter moves,
      without delays.
    - `background`: a map to show instead, as of `dispersion_map` with oscillations, over the same
      two parameters.

    Needs ipywidgets (`pip install 'ngnmm-jax[notebooks]'`). The first answer takes as long as the
    compilation, some 20 seconds; the next ones 0.1 to 0.2 s each.

    With delays states are equilibria: oscillations that regions share are not looked for. With one
    delay of all connections there is a curve as without; where delays differ (`speed`), the roots
    of the whole network are in its place, and a map of them behind. With a hundred regions an
    answer takes seconds, and each point of the map, too, which stays as it is where a third
    parameter moves. The run is compiled once for all speeds or delays that sliders reach.
    """
    return Explorer(system, parameters, points=points, background=background)


class Explorer:
    """Sliders, and four panels that answer to them.

    - `widget`: what Jupyter shows. `network`: the network at the sliders' values.
    - `text`: what is found there, in a line. `png`: the picture.
    - `seconds`: how long the last answer took.
    """

    def __init__(
        self,
        system: Network,
        parameters: Mapping[str, tuple[float, float]] | None = None,
        *,
        points: int | None = None,
        background: DispersionMap | RootsMap | None = None,
    ) -> None:
        _checks.require_x64("the explorer")
        if points is None:
            few = _FEW_POINTS if system.n_regions <= _MANY else _FEWEST_POINTS
            points = _POINTS if system.delays is None else few
        _checks.positive_integer("points", points)
        system.homogeneous()
        known = {name: leaf(system, name) for name in parameter_names(system)}
        plane = {name: (low, high) for name, (low, high, _) in system.model.plane.items()}
        ranges = dict(plane if parameters is None else parameters)
        if len(ranges) != 2:
            _checks.fail("parameters", "name two parameters", f"it names {list(ranges)}")
        for name, pair in ranges.items():
            _checks.one_of("parameters", name, known)
            if not (len(pair) == 2 and np.isfinite(pair).all() and pair[0] < pair[1]):
                _checks.fail(name, "have bounds (low, high)", f"they are {pair!r}")
        if background is not None and list(background.parameters) != list(ranges):
            _checks.fail(
                "background", f"span {list(ranges)}", f"it spans {list(background.parameters)}"
            )
        self._base = system
        self._others = {name: float(value) for name, value in known.items() if name not in ranges}
        self._axes = {name: np.linspace(*pair, points) for name, pair in ranges.items()}
        self._fixed_map = background
        self._map_at: Any = None
        self.values = {name: float(np.clip(known[name], *pair)) for name, pair in ranges.items()}
        self.third: str | None = None
        self.text, self.png, self.seconds = "", b"", 0.0
        self._picture = _Picture(system, list(ranges))
        self.widget = self._widgets(ranges)
        self.update()

    @property
    def network(self) -> Network:
        """The network at the sliders' values."""
        return self._base.with_parameters(**self.values)

    def set(self, **values: float) -> None:
        """Move sliders, by their parameters' names; any parameter of the model may be the third."""
        for name in values:
            if name not in self._axes:
                _checks.one_of("values", name, (*self._axes, *self._others))
                self._third_name.value = name
        for name, value in values.items():
            _checks.finite(name, value)
            slider = self._sliders.get(name, self._third)
            if not slider.min <= value <= slider.max:
                _checks.fail(name, f"lie in [{slider.min:g}, {slider.max:g}]", f"it is {value:g}")
            slider.value = value

    def update(self, _: Any = None) -> None:
        """Compute and draw everything at the sliders' values."""
        begun = time.perf_counter()
        network = self.network
        try:
            self._draw_map()
            state, found = _state_and_growth(network)
            run = self._activity(network)
            self._picture.show(self.values, found, run)
            self.text = f"{state} {_in_words(found)} {_heard(run)}{self._of_the_map()}"
        except (SolverError, ValueError) as error:
            self._picture.clear()
            self.text = f"Nothing to show here: {html.escape(str(error))}"
        self.png = self._picture.png()
        self.seconds = time.perf_counter() - begun
        self._image.value = self.png
        self._line.value = f"{self.text} <small>({1000 * self.seconds:.0f} ms)</small>"

    def _activity(self, network: Network) -> Simulation:
        """A short run from near rest; with delays by one program for all that sliders reach."""
        if network.delays is None:
            return _known(_run(network, fixed(network).longest_step(network), None))
        ends = {name: (axis[0], axis[-1]) for name, axis in self._axes.items()}
        if self.third is not None:
            ends[self.third] = (self._third.min, self._third.max)
        corners = np.array(list(itertools.product(*ends.values()))).T
        points = dict(zip(ends, corners, strict=True))
        step = fixed(network).longest_step(network, points)
        network = allowing(network.bare(), points)
        return _known(_traced_run(network, step, initial_state(network)))

    def _of_the_map(self) -> str:
        """What is to be known of the map, where it does not follow a third parameter."""
        if self._base.delays is None or self.third is None:
            return ""
        return f" The map is of {self.third} = {self._others[self.third]:g}: it takes long."

    def _draw_map(self) -> None:
        fixed = {}
        if self.third is not None and self._base.delays is None:
            fixed[self.third] = self.values[self.third]
        if self._map_at == fixed:
            return
        result = self._fixed_map
        if result is None or fixed:
            base = self._base.with_parameters(**fixed)
            result = dispersion_map(base, self._axes, oscillations=False, progress=False)
        self._picture.show_map(result)
        self._map_at = fixed

    def _widgets(self, ranges: Mapping[str, tuple[float, float]]) -> Any:
        widgets = _checks.require_module("ipywidgets", "notebooks")
        wide = {"layout": widgets.Layout(width="420px"), "style": {"description_width": "90px"}}
        self._sliders = {
            name: widgets.FloatSlider(
                self.values[name], min=low, max=high, step=(high - low) / 320,
                description=name, readout_format=".2f", **wide,
            )
            for name, (low, high) in ranges.items()
        }  # fmt: skip
        self._third_name = widgets.Dropdown(
            options=[_NO_NAME, *self._others], description="and", **wide
        )
        self._third = widgets.FloatSlider(disabled=True, description=" ", **wide)
        self._image = widgets.Image(format="png", width=1000)
        self._line = widgets.HTML()
        for name, slider in self._sliders.items():
            slider.observe(lambda change, name=name: self._moved(name, change["new"]), "value")
        self._third_name.observe(lambda change: self._chosen(change["new"]), "value")
        self._third.observe(lambda change: self._moved(self.third, change["new"]), "value")
        left, right = widgets.VBox([*self._sliders.values()]), widgets.VBox(
            [self._third_name, self._third]
        )  # fmt: skip
        return widgets.VBox([widgets.HBox([left, right]), self._line, self._image])

    def _moved(self, name: str | None, value: float) -> None:
        if name is not None and self.values.get(name) != value:
            self.values[name] = float(value)
            self.update()

    def _chosen(self, name: str) -> None:
        """Another parameter for the third slider; the one before goes back to where it was."""
        if self.third is not None:
            self.values.pop(self.third)
        self.third = None
        chosen = name != _NO_NAME
        if chosen:
            start = self._others[name]
            reach = abs(start) or 5.0
            low, high = (start - reach, start + reach)
            if never_negative(self._base, name):
                low, high = 0.1 * start, 2 * start
            slider = self._third
            slider.min, slider.max = min(low, slider.max), max(high, slider.min)
            slider.value = start
            slider.min, slider.max, slider.step = low, high, (high - low) / 200
            self.third, self.values[name] = name, start
        self._third.disabled = not chosen
        self._third.description = name if chosen else " "
        self.update()


def _state_and_growth(network: Network) -> tuple[str, Dispersion | CharacteristicRoots]:
    """The attractor that all regions may share, and what grows on it.

    Its dispersion relation, curve, then modes; its roots where delays differ.
    """
    homogeneous = network.homogeneous()
    if network.delays is not None:
        return _at_rest_with_delays(network, differ=not network.one_delay)
    rest = find_equilibria(homogeneous)
    place = int(np.argmax(np.asarray(rest.stable)))
    state: Any = rest.states[place]
    words = "At rest, stable alone."
    if not bool(rest.stable.any()):
        words = "At rest, unstable alone."
        orbit = find_orbit(homogeneous, steps=64, throw=False)
        if orbit.status == Status.OK:
            hertz = 1 / (float(orbit.period) * seconds_in(network.model.time_unit))
            heard = _frequency(hertz, network.model.time_unit)
            state, words = orbit, f"On an orbit of {heard}."
    return words, dispersion(network, state, lambdas=_curve_and_modes(network))


def _curve_and_modes(network: Network) -> np.ndarray:
    return np.concatenate([_GRID, np.asarray(network.spectrum()[0])])


def _at_rest_with_delays(
    network: Network, *, differ: bool
) -> tuple[str, Dispersion | CharacteristicRoots]:
    """Of the equilibrium that grows least; of roots, of the one with the least first variable."""
    rest = find_equilibria(network.homogeneous())
    if differ:
        others = rest.states.shape[0] - 1
        words = "At rest" + (f", with {others} equilibria more" if others else "")
        return f"{words}.", dispersion(network, rest.states[0], throw=False)
    state = rest.states[int(np.argmax(np.asarray(rest.stable)))]
    alone = "stable" if bool(rest.stable.any()) else "unstable"
    words = f"At rest, {alone} alone; oscillations with a delay are not looked for."
    return words, dispersion(network, state, lambdas=_curve_and_modes(network))


def _run(network: Network, step: float, start: Any) -> Simulation:
    """With the exact local flow where the model has one."""
    return simulate(
        network,
        _STEPS * step,
        dt=step,
        start=start,
        integrator=fixed(network),
        save_every=_STEPS // _SAMPLES * step,
        variables=network.model.shown,
        progress=False,
        throw=False,
    )


_traced_run = eqx.filter_jit(_run)


def _known(run: Simulation) -> Simulation:
    """A run that ended well."""
    if run.status != Status.OK:
        raise SolverError("the simulation", Status(int(run.status)))
    return run


def _at_modes(curve: Dispersion) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Λ, growth and frequency at the connectome's modes, the uniform one first."""
    part = slice(_GRID.size, None)
    columns = (curve.lambdas, curve.growth, curve.frequency)
    lambdas, growth, frequency = (np.asarray(column)[part] for column in columns)
    first = np.argsort(lambdas != lambdas[np.abs(lambdas - lambdas.real.max()).argmin()])
    return lambdas[first], growth[first], frequency[first]


def _in_words(found: Dispersion | CharacteristicRoots) -> str:
    if isinstance(found, CharacteristicRoots):
        return _roots_in_words(found)
    return _modes_in_words(found)


def _roots_in_words(found: CharacteristicRoots) -> str:
    growing, certain = int(found.number_growing), bool(found.certified)
    words = f"{growing} roots grow" + ("" if certain else " at least (not certified)")
    if growing:
        words += f"; the fastest: {float(found.growth[0]):.3g} {per_time(found.time_unit)}, "
        words += _frequency(float(found.frequency[0]), found.time_unit)
    return words + "; delays differ, so that there is no curve over Λ, nor a shared oscillation."


def _modes_in_words(curve: Dispersion) -> str:
    lambdas, growth, frequency = _at_modes(curve)
    growing = int((growth[1:] > 0).sum())
    words = f"{growing} of {lambdas.size - 1} modes grow"
    if growing:
        k = 1 + int(growth[1:].argmax())
        turns = _frequency(frequency[k], curve.time_unit)
        words += f"; the fastest: Λ = {lambdas[k].real:.3f}, {turns}"
    return words + "."


def _frequency(value: float, time_unit: str, digits: int = 1) -> str:
    """A frequency with its unit."""
    text = f"{value:.{digits}f}" if time_unit in SECONDS else f"{value:.3g}"
    return f"{text} {frequency_unit(time_unit)}"


def _heard(run: Simulation) -> str:
    values = np.asarray(run[run.shown])[_SAMPLES // 3 :]
    if values.std() < _STILL:
        return "The network rests."
    power = power_spectrum(values, run.sampling_interval, segment=_segment(run))
    mean = np.asarray(power.power).mean(axis=1)
    peak = float(power.frequencies[1 + int(mean[1:].argmax())])
    return f"The network's regions peak at {_frequency(peak, run.time_unit, digits=0)}."


def _segment(run: Simulation) -> float:
    """Length of Welch's windows (s)."""
    return _WINDOW * _SAMPLES * run.sampling_interval


class _Picture:
    """Four panels whose artists are moved, not made again."""

    def __init__(self, network: Network, names: list[str]) -> None:
        model = network.model
        with mpl.rc_context({"font.size": 9}):
            self.figure = Figure(figsize=(10.0, 5.6), dpi=100, layout="constrained")
            self.canvas = FigureCanvasAgg(self.figure)
            (self.curve, self.map), (self.raster, self.spectrum) = self.figure.subplots(2, 2)
        if network.delays is None or network.one_delay:
            self._make_curve(model.time_unit)
        self._names = names
        self._place = None
        ax = self.raster
        self._image = ax.imshow(np.zeros((2, 2)), aspect="auto", origin="lower", cmap="magma",
                                interpolation="nearest")  # fmt: skip
        shown = symbol(model.shown, model)
        ax.set(xlabel=f"time ({model.time_unit})", ylabel="region", title=shown)
        ax = finish(self.spectrum)
        (self._regions,) = ax.plot([], [], color=DECAYING, lw=1.2, label="regions, averaged")
        (self._mean,) = ax.plot([], [], color="0.1", lw=1.0, label="mean of regions")
        ax.set(
            xlabel=f"frequency ({frequency_unit(model.time_unit)})",
            ylabel=f"power of {bare(model.shown, model)} (dB)",
        )
        ax.legend(frameon=False, fontsize="small", loc="upper right")

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
        ax.set(xlabel="structural eigenvalue Λ", ylabel=f"growth ({rate_unit(unit)})")
        ax.set_xlim(-1.05, 1.05)

    def show_map(self, result: DispersionMap | RootsMap) -> None:
        """Another map under the place."""
        place = self.map.get_subplotspec()
        for ax in [ax for ax in self.figure.axes
                   if ax not in (self.curve, self.raster, self.spectrum)]:  # fmt: skip
            ax.remove()
        self.map = self.figure.add_subplot(place)
        draw: Any = plot.roots_map if isinstance(result, RootsMap) else plot.dispersion_map
        draw(result, ax=self.map)
        self.figure.set_layout_engine("constrained")
        (self._place,) = self.map.plot([], [], "o", ms=9, mfc="none", mec="k", mew=2.2)

    def show(
        self, values: dict[str, float], found: Dispersion | CharacteristicRoots, run: Simulation
    ) -> None:
        """What there is at a place of the plane."""
        if isinstance(found, CharacteristicRoots):
            self.curve.clear()
            plot.characteristic_roots(found, ax=self.curve)
        else:
            self._show_curve(found)
        if self._place is not None:
            self._place.set_data(*([values[name]] for name in self._names))
        self._show_run(run)

    def _show_curve(self, curve: Dispersion) -> None:
        growth = np.asarray(curve.growth)
        self._line.set_data(_GRID, growth[: _GRID.size])
        lambdas, at, _ = _at_modes(curve)
        chosen = np.where(at > 0, GROWING, DECAYING)
        chosen[0] = UNIFORM
        for colour, artist in self._modes.items():
            artist.set_data(lambdas[chosen == colour].real, at[chosen == colour])
        low, high = min(growth.min(), 0.0), max(growth.max(), 0.0)
        room = 0.08 * (high - low or 1.0)
        self.curve.set_ylim(low - room, high + room)

    def _show_run(self, run: Simulation) -> None:
        shown = np.asarray(run[run.shown])
        part = shown[_SAMPLES * 7 // 10 :]
        ts = np.asarray(run.ts)[_SAMPLES * 7 // 10 :]
        self._image.set_data(part.T)
        self._image.set_extent((ts[0], ts[-1], -0.5, part.shape[1] - 0.5))
        middle, half = part.mean(), max(np.abs(part - part.mean()).max(), 0.01)
        self._image.set_clim(middle - half, middle + half)

        late = shown[_SAMPLES // 3 :]
        if late.std() < _STILL:
            for artist in (self._regions, self._mean):
                artist.set_data([], [])
            return
        length = _segment(run)
        each = power_spectrum(late, run.sampling_interval, segment=length)
        mean = power_spectrum(late.mean(axis=1), run.sampling_interval, segment=length)
        frequencies = np.asarray(mean.frequencies)[1:]
        levels = [10 * np.log10(np.maximum(np.asarray(p)[1:], 1e-20))
                  for p in (np.asarray(each.power).mean(axis=1), mean.power)]  # fmt: skip
        for artist, level in zip((self._regions, self._mean), levels, strict=True):
            artist.set_data(frequencies, level)
        top = max(float(level.max()) for level in levels)
        self.spectrum.set_xlim(0, min(150.0, float(frequencies[-1])))
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
