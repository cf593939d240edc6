"""Sliders, and a picture that answers to them."""

import asyncio
import contextlib
import html
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.parameters import leaf, never_negative, parameter_names
from ngnmm_jax._core.status import SolverError
from ngnmm_jax.coupling.linear import LinearCoupling
from ngnmm_jax.explorer.answers import answer, heard, in_words, on_orbit
from ngnmm_jax.explorer.background import Background, Later, Map
from ngnmm_jax.explorer.code import as_code
from ngnmm_jax.explorer.picture import Picture
from ngnmm_jax.models import MODELS
from ngnmm_jax.models.times import SECONDS
from ngnmm_jax.systems.network import Network

# Points of the map along an axis: without delays, with them, and with delays between more regions
# than the last number.
_POINTS, _FEW_POINTS, _FEWEST_POINTS, _MANY = 33, 7, 3, 30
_NO_NAME, _OWN = "(none)", "(as given)"
# Where the slider of the speed begins and ends (mm/ms).
_SPEED, _SPEEDS = 10.0, (2.0, 20.0)


def explore(
    system: Network,
    parameters: Mapping[str, tuple[float, float]] | None = None,
    *,
    points: int | None = None,
    background: Map | None = None,
) -> "Explorer":
    """An explorer of a network: show its `widget` in Jupyter, as the last line of a cell.

    **Arguments:**

    - `system`: where it begins; it must have homogeneous states.
    - `parameters`: two (of the model, "coupling", with delays "speed" or "delay") and their bounds,
      for two sliders and the map; by default those of the model's `plane`.
    - `points`: of the map along each of them, by default 33, with delays 7 (of more than thirty
      regions 3).
    - `background`: a map to show instead, as of `dispersion_map`, over the same two parameters.

    Needs ipywidgets (`pip install 'ngnmm-jax[notebooks]'`). The first answer takes as long as the
    compilation, some seconds; the next ones about half a second each. The first time that rest is
    unstable alone it is shown as it is, and the orbit in its place some seconds later. Meanwhile
    the map is computed in a thread of its own, equilibria first, then oscillating states, line by
    line, and becomes finer while sliders move; that of the paper's model on the embedded connectome
    is there at once. It begins anew when a third parameter moves (without delays), or another model
    or delays are chosen.

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
    - `text`: what is found there, in a line. `png`: the picture. `code`: the same as a program.
    - `seconds`: how long the last answer took.
    """

    def __init__(
        self,
        system: Network,
        parameters: Mapping[str, tuple[float, float]] | None = None,
        *,
        points: int | None = None,
        background: Map | None = None,
    ) -> None:
        _checks.require_x64("the explorer")
        if points is not None:
            _checks.positive_integer("points", points)
        if not isinstance(system, Network):
            must = "be a network: `ng.Network(model, connectome)`"
            _checks.fail("system", must, f"it is {_checks.kind_of(system)}")
        system.homogeneous()
        self._given, self._bounds, self._points = system, parameters, points
        self._fixed_map = background
        try:
            self._loop: Any = asyncio.get_running_loop()  # Jupyter's, to draw from other threads
        except RuntimeError:
            self._loop = None
        self._background: Background | None = None
        self._orbit: Later | None = None
        self.third: str | None = None
        self.text, self.png, self.seconds, self.code = "", b"", 0.0, ""
        self._set_up(system, parameters)
        self.widget = self._widgets()
        self.update()

    def __repr__(self) -> str:
        return f"Explorer: {self.text}"

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.widget._repr_mimebundle_(**options)

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

    def choose(self, model: str) -> None:
        """Another model of `ng.models.MODELS` in the same network, or "(as given)"."""
        _checks.one_of("model", model, self._models)
        self._model.value = model

    def wait(self) -> None:
        """Until the orbit, if there is one, and the whole map are there; then they are drawn.

        Jupyter draws them by itself as they come; a program has to ask.
        """
        for later in self._later():
            later.wait()
        self.update()

    def update(self, _: Any = None) -> None:
        """Compute and draw everything at the sliders' values."""
        begun = time.perf_counter()
        self.code = ""
        try:
            network = self.network
            self._draw_map()
            known = self._orbit is not None and self._orbit.done
            state, run, power = answer(network, self._reach(), orbits=known)
            if state.orbit is None and self._orbit is None:
                self._orbit = self._first_orbit(network)
            self._picture.show(self.values, state, run, power)
            told = heard(power, run.time_unit)
            self.text = f"{state.words} {in_words(state)} {told}{self._of_the_map()}"
            duration = round(float(np.asarray(run.ts)[-1]), 6)
            self.code = as_code(network, moving=bool(state.orbit), duration=duration)
        except (SolverError, ValueError) as error:
            self._picture.clear()
            self.text = f"Nothing to show here: {html.escape(str(error))}"
        self.png = self._picture.png()
        self.seconds = time.perf_counter() - begun
        self._image.value = self.png
        self._line.value = f"{self.text} <small>({1000 * self.seconds:.0f} ms)</small>"
        self._code.value = self.code
        for later in self._later():
            later.begin()

    def _later(self) -> list[Later]:
        """What is computed by other threads."""
        return [later for later in (self._orbit, self._background) if later is not None]

    def _first_orbit(self, network: Network) -> Later:
        """In another thread: all that orbits take is compiled, then that of the place is shown."""

        def compiled() -> None:
            with contextlib.suppress(SolverError, ValueError):  # of which the answer tells
                on_orbit(network)

        return Later(compiled, lambda: self._soon(self.update))

    # ------------------------------------------------------------------ what is explored

    def _set_up(self, system: Network, bounds: Mapping[str, tuple[float, float]] | None) -> None:
        """Explore this network, over these bounds or those of its model's plane."""
        known = {name: leaf(system, name) for name in parameter_names(system)}
        plane = {name: (low, high) for name, (low, high, _) in system.model.plane.items()}
        ranges = dict(plane if bounds is None else bounds)
        if not ranges and bounds is None:
            kind = type(system.model).__name__
            must = 'be given, as {"coupling": (0, 1), …}'
            _checks.fail("parameters", must, f"`{kind}` has no `plane` of its own")
        if len(ranges) != 2:
            _checks.fail("parameters", "name two parameters", f"it names {list(ranges)}")
        for name, pair in ranges.items():
            _checks.one_of("parameters", name, known)
            if not (len(pair) == 2 and np.isfinite(pair).all() and pair[0] < pair[1]):
                _checks.fail(name, "have bounds (low, high)", f"they are {pair!r}")
            here = float(known[name])
            if bounds is None:  # the plane's, and wide enough
                ranges[name] = pair = (min(pair[0], here), max(pair[1], here))
            if not pair[0] <= here <= pair[1]:
                _checks.fail(name, f"lie within its bounds {pair}", f"it is {here:g}")
            system.with_parameters(**dict.fromkeys([name], pair[0]))  # which says what is wrong
            system.with_parameters(**dict.fromkeys([name], pair[1]))
        shown = self._fixed_map
        if shown is not None and list(shown.parameters) != list(ranges):
            spans = f"it spans {list(shown.parameters)}"
            _checks.fail("background", f"span {list(ranges)}", spans)
        few = _FEW_POINTS if system.n_regions <= _MANY else _FEWEST_POINTS
        points = self._points or (_POINTS if system.delays is None else few)
        self._base, self._ranges = system, ranges
        self._others = {
            name: float(value)
            for name, value in known.items()
            if name not in ranges and np.ndim(value) == 0
        }
        self._axes = {name: np.linspace(*pair, points) for name, pair in ranges.items()}
        self.values = {name: float(known[name]) for name in ranges}
        self._picture = Picture(system, ranges)
        self._drawn: Map | None = None
        if self._orbit is not None:
            self._orbit.stop()
        self._orbit = None  # of another model, which is compiled anew
        self._begin_map()

    def _begin_map(self) -> None:
        """Compute the map anew, of the third parameter as it is."""
        if self._background is not None:
            self._background.stop()
        self._background = None
        moved = self.third is not None and self._base.delays is None
        if self._fixed_map is None or moved:
            fixed = {self.third: self.values[self.third]} if moved and self.third else {}
            base = self._base.with_parameters(**fixed)
            self._background = Background(base, self._axes, lambda: self._soon(self._refresh))

    def _soon(self, call: Callable[[], Any]) -> None:
        """By Jupyter's thread, asked by another one."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call)

    def _refresh(self) -> None:
        """The picture with the newest map."""
        if self._draw_map():
            self._picture.show_place(self.values)
            self._image.value = self.png = self._picture.png()

    def _draw_map(self) -> bool:
        """The newest map, if it is not there yet; whether there is another."""
        newest = self._fixed_map if self._background is None else self._background.newest
        if newest is None or newest is self._drawn:
            return False
        self._picture.show_map(newest)
        self._drawn = newest
        return True

    def _of_the_map(self) -> str:
        """What is to be known of the map: that it is coming, failed, or does not follow."""
        later = self._background
        if later is not None and later.failed:
            return f" There is no map: {html.escape(later.failed)}"
        if self._base.delays is not None and self.third is not None:
            return f" The map is of {self.third} = {self._others[self.third]:g}: it takes long."
        return "" if later is None or later.whole else " The map is being computed."

    def _reach(self) -> dict[str, tuple[float, float]]:
        """Where sliders can go, by name."""
        ends = {name: (axis[0], axis[-1]) for name, axis in self._axes.items()}
        if self.third is not None:
            ends[self.third] = (self._third.min, self._third.max)
        return ends

    # ------------------------------------------------------------------ widgets

    def _widgets(self) -> Any:
        widgets = _checks.require_module("ipywidgets", "notebooks")
        self._wide = {"layout": widgets.Layout(width="420px"),
                      "style": {"description_width": "90px"}}  # fmt: skip
        self._models = [_OWN, *(MODELS if self._can_change() else ())]
        self._model = widgets.Dropdown(options=self._models, description="model", **self._wide)
        self._delays = widgets.Checkbox(
            value=self._given.delays is not None, description="delays along the tracts",
            disabled=not self._can_delay(), indent=False,
        )  # fmt: skip
        self._left = widgets.VBox([])
        self._third_name = widgets.Dropdown(description="and", **self._wide)
        self._third = widgets.FloatSlider(disabled=True, description=" ", **self._wide)
        self._image = widgets.Image(format="png", width=1000)
        self._line = widgets.HTML()
        self._code = widgets.Textarea(layout=widgets.Layout(width="990px", height="290px"))
        code = widgets.Accordion([self._code], titles=("As code",), selected_index=None)
        self._make_sliders()
        self._third_name.observe(lambda change: self._chosen(change["new"]), "value")
        self._third.observe(lambda change: self._moved(self.third, change["new"]), "value")
        for control in (self._model, self._delays):
            control.observe(lambda _: self._changed(), "value")
        right = widgets.VBox([self._third_name, self._third])
        top = widgets.HBox([self._model, self._delays])
        return widgets.VBox([top, widgets.HBox([self._left, right]), self._line, self._image, code])

    def _make_sliders(self) -> None:
        """Those of the two parameters; and what the third may be."""
        widgets = _checks.require_module("ipywidgets", "notebooks")
        self._sliders = {
            name: widgets.FloatSlider(
                self.values[name], min=low, max=high, step=(high - low) / 320,
                description=name, readout_format=".2f", **self._wide,
            )
            for name, (low, high) in self._ranges.items()
        }  # fmt: skip
        for name, slider in self._sliders.items():
            slider.observe(lambda change, name=name: self._moved(name, change["new"]), "value")
        self._left.children = [*self._sliders.values()]
        self._third_name.options = [_NO_NAME, *self._others]
        self._third_name.value = _NO_NAME

    def _can_change(self) -> bool:
        """Whether another model can stand in the network: its coupling is of one number."""
        return type(self._given) is Network and type(self._given.interaction) is LinearCoupling

    def _can_delay(self) -> bool:
        """Whether tracts are known, whose delays can be had and left away."""
        known, now = self._given.connectome, "speed" in parameter_names(self._given)
        lengths = known is not None and known.tract_lengths is not None
        plain = self._can_change() and lengths and self._given.model.time_unit in SECONDS
        return plain and (now or self._given.delays is None)

    def _changed(self) -> None:
        """Another model, or delays: what is explored begins anew."""
        own, delayed = self._model.value == _OWN, bool(self._delays.value)
        self._third_name.value = _NO_NAME
        given = self._given
        model = given.model if own else MODELS[self._model.value]()
        plane = {"coupling": given.coupling} if own else {}
        strength = plane.get("coupling", np.mean(model.plane.get("coupling", (0.0, 0.0))[:2]))
        if own and delayed == (given.delays is not None):
            system = given
        elif given.delays is not None and not self._can_delay():
            system = Network(model, coupling=given.interaction)
        else:
            speed = {"speed": leaf(given, "speed") if given.delays is not None else _SPEED}
            if model.time_unit not in SECONDS:
                speed = {}
            system = Network(model, given.connectome or given.graph.undelayed(), strength,
                             **(speed if delayed else {}))  # fmt: skip
        bounds = self._bounds if own else None
        self._set_up(system, bounds)
        self._make_sliders()
        if "speed" in self._others:
            self._third_name.value = "speed"  # which updates
        else:
            self.update()

    def _moved(self, name: str | None, value: float) -> None:
        if name is not None and self.values.get(name) != value:
            self.values[name] = float(value)
            if name == self.third and self._base.delays is None:
                self._begin_map()
            self.update()

    def _chosen(self, name: str) -> None:
        """Another parameter for the third slider; the one before goes back to where it was."""
        had = self.third is not None
        if self.third is not None:
            self.values.pop(self.third)
        self.third = None
        chosen = name is not None and name != _NO_NAME
        if chosen:
            start = self._others[name]
            reach = abs(start) or 5.0
            low, high = (start - reach, start + reach)
            if name == "speed":
                low, high = min(_SPEEDS[0], start), max(_SPEEDS[1], start)
            elif never_negative(self._base, name):
                low, high = 0.1 * start, 2 * start
            slider = self._third
            slider.min, slider.max = min(low, slider.max), max(high, slider.min)
            slider.value = start
            slider.min, slider.max, slider.step = low, high, (high - low) / 200
            self.third, self.values[name] = name, start
        self._third.disabled = not chosen
        self._third.description = name if chosen else " "
        if had and self._base.delays is None:
            self._begin_map()
        if chosen or had:
            self.update()
