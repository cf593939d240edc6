"""Orbit diagrams: successive maxima of a variable, or its values on a section, over a parameter."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.lanes import map_chunks
from ngnmm_jax._core.parameters import parameter_axes, with_leaves
from ngnmm_jax._core.placement import placed, points_of, steps_are_few
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax._core.status import Status
from ngnmm_jax.chaos.lanes import Lanes, begun, lanes_per_device, starts_of, steps_at
from ngnmm_jax.chaos.ways import way_of
from ngnmm_jax.dynamics.forced.system import undriven
from ngnmm_jax.dynamics.lyapunov import Plan, plan
from ngnmm_jax.models.declarations import visible
from ngnmm_jax.models.notation import Notation, notation_of
from ngnmm_jax.simulation.saving import select
from ngnmm_jax.systems.delayed import on_grid
from ngnmm_jax.systems.driven import Undriven

# Steps by default: before the window, and in it.
_EVENTS = (40_000, 40_000)


class OrbitDiagram(AbstractResult):
    """Maxima of a variable, or its values on a section, against a parameter.

    - `parameters`: the one's name, and its values (value,).
    - `variable`: whose values; `section`: name and value of what defines the section, or None
      for maxima.
    - `points` (value, event): the variable at each event, in order; NaN after the last.
    - `times` (value, event): when, from the start of the window, in the model's unit.
    - `number` (value,): of events in the window, of which the first are kept.
    - `last` (value,): the variable at the end; all there is where the state does not move.
    - `status` (value,): OK, NOT_FINITE where the run diverged, NONE_FOUND where there was no
      equilibrium to start from.
    """

    parameters: dict[str, Float[np.ndarray, "value"]]
    variable: str = eqx.field(static=True)
    section: tuple[str, float] | None = eqx.field(static=True)
    points: Float[np.ndarray, "value event"]
    times: Float[np.ndarray, "value event"]
    number: Int[np.ndarray, "value"]
    last: Float[np.ndarray, "value"]
    status: Int[np.ndarray, "value"]
    time_unit: str = eqx.field(static=True)
    notation: Notation = eqx.field(static=True, default=Notation())

    @property
    def drawn_by(self) -> str:
        """`plot.orbit_diagram`."""
        return "orbit_diagram"

    @property
    def stats(self) -> dict[str, Any]:
        """How many events each run met, and how many of them are kept at most."""
        return {"number": self.number, "kept": self.points.shape[-1]}

    def summary(self) -> dict[str, Any]:
        """What is shown over which parameter, and how many different points there are."""
        where = "maxima" if self.section is None else "{} = {:g}".format(*self.section)
        return {
            "parameters": self.parameters,
            "variable": f"{self.variable} at {where}",
            "distinct": self.distinct(),
            "last": self.last,
        }

    def distinct(self, tolerance: float = 1e-3) -> Int[np.ndarray, "value"]:
        """How many different points there are: 1 at rest, the number of loops on an orbit.

        Points count as the same when neighbours, sorted, differ by less than `tolerance` of
        their size.
        """
        _checks.positive("tolerance", tolerance)
        result = np.ones(len(self.points), dtype=int)
        for k, row in enumerate(self.points):
            known = np.sort(row[np.isfinite(row)])
            if known.size:
                result[k] = 1 + int((np.diff(known) > tolerance * np.abs(known).max()).sum())
        return result

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` with the parameter as coordinate."""
        xarray = _checks.require_module("xarray", "data")
        (axis,) = self.parameters
        data: dict[str, Any] = {
            self.variable: ([axis, "event"], self.points),
            "times": ([axis, "event"], self.times, {"units": self.time_unit}),
            "number": (axis, self.number),
            "last": (axis, self.last),
            "status": (axis, self.status),
        }
        title = {"title": "ngnmm_jax orbit diagram"}
        return xarray.Dataset(data, self.parameters, title)


@placed(lambda system, parameters, **given: steps_are_few(system, points_of(parameters)))
def orbit_diagram(
    system: Undriven,
    parameters: Mapping[str, Any],
    variable: str | None = None,
    *,
    section: tuple[str, float] | None = None,
    events: int = 64,
    duration: float | None = None,
    transient: float | None = None,
    dt: float | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> OrbitDiagram:
    """Successive maxima of a variable against a parameter, all runs in lock-step.

    One point for each value shows an equilibrium or an orbit of one loop, two a doubled
    period, a smear chaos: the cascade. Events are located within RK4's steps by cubic
    interpolation. Of a network, variables are averages over regions.

    **Arguments:**

    - `system`: a network, or `network.homogeneous()`.
    - `parameters`: one parameter's name and values.
    - `variable`: by default the one that the model shows.
    - `section`: (name, value): record `variable` where this one rises through a value,
      instead of at its own maxima.
    - `events`: how many are kept.
    - `duration`, `transient`: the window and what is left out before it, in the model's unit;
      by default 40,000 steps each (of `model.tempo()`).
    - `dt`: the step; by default the `time_step` of each value.
    - `seed`: of the noise (sd 0.01) added to each run's own equilibrium at the start.
    - `progress`: a progress bar; None shows one where it takes over two seconds.

    Source: for sections, Poincaré; for maxima, Lorenz, J. Atmos. Sci. 20, 130 (1963).
    """
    _checks.seed(seed)
    _checks.require_x64("orbit_diagram")
    instead = ": `stroboscopic_map` shows one under a stimulus that repeats itself"
    system = undriven(system, "orbit_diagram", instead)
    values = parameter_axes(system, parameters)
    if len(values) != 1:
        _checks.fail("parameters", "name one parameter", f"it names {len(values)}")
    core = system.bare()
    model = core.model
    variable = model.shown if variable is None else variable
    crossed, level = (None, 0.0) if section is None else section
    for argument, name in (("variable", variable), ("section", crossed)):
        if name is not None:
            _checks.one_of(argument, name, visible(model))
    _checks.finite("section", level)
    _checks.positive_integer("events", events)
    (count,) = next(iter(values.values())).shape
    steps = steps_at(core, values, count, dt)
    number = plan(steps.dt, duration, transient, None, steps.stiffness, _EVENTS)
    starts = starts_of(core, values, np.full(count, seed))
    if getattr(core, "delays", None) is not None:  # all take the same steps
        number = Plan(*(np.full_like(part, part.max()) for part in number))
        core = on_grid(core, float(steps.dt[0]), values)
    found = map_chunks(
        _recorder(variable, crossed, events),
        (core, as_array(level, dtype=float)),
        Lanes(values, starts, steps.dt, number),
        chunk=lanes_per_device(core, 1),
        progress=progress,
        what="orbit diagram",
        lockstep=True,
    )
    return OrbitDiagram(
        parameters={name: np.asarray(along) for name, along in values.items()},
        variable=variable,
        section=section,
        points=found.points,
        times=found.times,
        number=found.number,
        last=found.last,
        status=begun(starts, found.status),
        time_unit=model.time_unit,
        notation=notation_of(model),
    )


class _Recorded(NamedTuple):
    """Of runs (run, …): as `OrbitDiagram` has them."""

    points: Any
    times: Any
    number: Any
    last: Any
    status: Any


class _Watched(NamedTuple):
    """What is watched of a state: values and slopes, (name, run)."""

    values: jax.Array
    slopes: jax.Array


class _Recording(NamedTuple):
    """Where runs are, what is watched of them, events so far (event, run), how many (run,)."""

    memory: Any
    watched: _Watched
    points: jax.Array
    times: jax.Array
    number: jax.Array


@lru_cache
def _recorder(variable: str, crossed: str | None, events: int) -> Callable[[Any, Lanes], _Recorded]:
    """The one function that records such events of runs in lock-step.

    It shares the system and the section's level.
    """
    names = (variable,) if crossed is None else (variable, crossed)

    def record(shared: tuple[Any, jax.Array], lanes: Lanes) -> _Recorded:
        core, level = shared
        dt = lanes.dt
        system = with_leaves(core.over_runs(), lanes.point)
        x = jnp.moveaxis(lanes.start, 0, -1)
        runs = jnp.arange(x.shape[-1])
        way = way_of(system, dt)

        def observed(x: jax.Array) -> jax.Array:
            rows = select(system.model, names, x)  # (name, region, run) or (name, run)
            return rows if rows.ndim == 2 else rows.mean(axis=1)

        def watch(memory: Any) -> _Watched:
            x, slope = way.seen(memory)
            return _Watched(*jax.jvp(observed, (x,), (slope,)))

        def before(i: jax.Array, memory: Any) -> Any:
            return way.forward(memory, i < lanes.steps.transient)

        def body(i: jax.Array, now: _Recording) -> _Recording:
            here = i < lanes.steps.window
            memory = way.forward(now.memory, here)
            new = watch(memory)
            happens, value, where = _event(now.watched, new, dt, level)
            happens &= here
            place = jnp.where(happens, now.number, events)  # dropped where there is no place
            points = now.points.at[place, runs].set(value, mode="drop")
            times = now.times.at[place, runs].set((i + where) * dt, mode="drop")
            return _Recording(memory, new, points, times, now.number + happens)

        begin = way.start(x)
        memory = jax.lax.fori_loop(0, lanes.steps.transient.max(), before, begin)
        empty = jnp.full((events, runs.size), jnp.nan)
        start = _Recording(memory, watch(memory), empty, empty, jnp.zeros(runs.size, dtype=int))
        end = jax.lax.fori_loop(0, lanes.steps.window.max(), body, start)
        finite = jnp.isfinite(way.seen(end.memory)[0]).reshape(-1, runs.size).all(axis=0)
        status = jnp.where(finite, Status.OK, Status.NOT_FINITE)
        return _Recorded(end.points.T, end.times.T, end.number, end.watched.values[0], status)

    return record


def _event(
    before: _Watched, after: _Watched, dt: Any, level: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Whether one happens in a step, the first variable's value there, and the step's part (run,).

    A maximum, or, where two variables are watched, that the second rises through the level.
    """
    cubics = [
        Cubic.hermite(
            before.values[k], dt * before.slopes[k], after.values[k], dt * after.slopes[k]
        )
        for k in range(len(before.values))
    ]
    if len(cubics) == 1:
        happens = (before.slopes[0] > 0) & (after.slopes[0] <= 0)
        where = cubics[0].flat_point()
    else:
        happens = (before.values[1] < level) & (after.values[1] >= level)
        where = cubics[1].root(level)
    return happens, cubics[0].at(where), where


class Cubic(NamedTuple):
    """Cubics over one step, in powers of the fraction of it that has passed."""

    a: jax.Array
    b: jax.Array
    c: jax.Array
    d: jax.Array

    @classmethod
    def hermite(cls, y0: jax.Array, d0: jax.Array, y1: jax.Array, d1: jax.Array) -> "Cubic":
        """From values and slopes at both ends."""
        return cls(y0, d0, 3 * (y1 - y0) - 2 * d0 - d1, 2 * (y0 - y1) + d0 + d1)

    def at(self, t: jax.Array) -> jax.Array:
        """The value at a fraction."""
        return self.a + t * (self.b + t * (self.c + t * self.d))

    def flat_point(self) -> jax.Array:
        """Where the slope, positive at 0 and not at 1, vanishes: the quadratic's stable formula."""
        _, b, c, d = self
        root = jnp.sqrt(jnp.maximum(c * c - 3 * b * d, 0))
        bottom = root - c
        return jnp.clip(b / jnp.where(bottom > 0, bottom, 1.0), 0.0, 1.0)

    def root(self, level: jax.Array) -> jax.Array:
        """Where the cubic, below `level` at 0 and not at 1, reaches it: Newton from the chord."""
        a, b, c, d = self
        t = (level - a) / jnp.where(b + c + d != 0, b + c + d, 1.0)
        for _ in range(3):
            slope = b + t * (2 * c + t * 3 * d)
            t = t - (self.at(t) - level) / jnp.where(slope != 0, slope, 1.0)
            t = jnp.clip(t, 0.0, 1.0)
        return t
