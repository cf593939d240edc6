"""Chaos over parameters: Lyapunov spectra of a whole plane, and orbit diagrams."""

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.definition import definition, ordered
from ngnmm_jax._core.lanes import grid, map_chunks, take
from ngnmm_jax._core.parameters import at_points, with_leaves
from ngnmm_jax._core.randomness import Purpose, stream
from ngnmm_jax._core.status import Status
from ngnmm_jax._core.store import in_blocks
from ngnmm_jax.dynamics.lockstep.runs import Steps, repeat
from ngnmm_jax.dynamics.lyapunov import (
    LyapunovSpectrum,
    exponents,
    number_of_exponents,
    plan,
)
from ngnmm_jax.dynamics.tangents import follow
from ngnmm_jax.integrators.loops import rk4_step
from ngnmm_jax.simulation.single import select
from ngnmm_jax.simulation.start import initial_states
from ngnmm_jax.systems.network import (
    Homogeneous,
    Network,
    over_runs,
    parameter_axes,
)

# Columns that a matrix product of a network's tangents wants on a CPU, and runs in lock-step of
# one region, which is elementwise work.
_COLUMNS, _LANES = 64, 128
# Numbers that a CPU's widest instructions take at once.
_VECTOR = 8
# Steps of an orbit diagram by default: before the window, and in it.
_EVENTS = (40_000, 40_000)
# A GPU takes so many times more, since it launches every operation of a step.
_ON_GPU = 32


class LyapunovMap(eqx.Module):
    """Lyapunov spectra over a grid of parameters.

    - `parameters`: their values, by name.
    - `spectra`: a `LyapunovSpectrum` with the grid's axes in front: `exponents`
      (*grid, exponent) with `errors`, `step_errors`, `number_positive`, `entropy_bound`,
      `kaplan_yorke`, `state` at the end of each trajectory, `status` (*grid): OK, NOT_FINITE where
      a trajectory diverged, STEP_TOO_LARGE where its steps spoil it, ILL_CONDITIONED where the
      interval was too long for its tangents, NONE_FOUND where there was no equilibrium to start
      from.
    """

    parameters: dict[str, np.ndarray]
    spectra: LyapunovSpectrum
    time_unit: str = eqx.field(static=True)

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` with the parameters as coordinates."""
        xarray = _checks.require_module("xarray", "data")
        names, rate = list(self.parameters), {"units": f"1/{self.time_unit}"}
        spectra = self.spectra
        data: dict[str, Any] = {
            "exponents": ([*names, "exponent"], spectra.exponents, rate),
            "errors": ([*names, "exponent"], spectra.errors, rate),
            "step_errors": ([*names, "exponent"], spectra.step_errors, rate),
            "running": ([*names, "block", "exponent"], spectra.running, rate),
            "number_positive": (names, np.asarray(spectra.number_positive)),
            "entropy_bound": (names, np.asarray(spectra.entropy_bound), rate),
            "kaplan_yorke": (names, np.asarray(spectra.kaplan_yorke)),
            "interval": (names, spectra.interval, {"units": self.time_unit}),
            "status": (names, spectra.status),
        }
        return xarray.Dataset(data, self.parameters, {"title": "ngnmm_jax Lyapunov spectra"})


def lyapunov_map(
    system: Network | Homogeneous,
    parameters: Mapping[str, Any],
    count: int | None = None,
    *,
    duration: float | None = None,
    transient: float | None = None,
    dt: float | None = None,
    interval: float | None = None,
    seed: int = 0,
    store: str | Path | None = None,
    chunk: int | None = None,
    progress: bool | None = None,
) -> LyapunovMap:
    """Lyapunov spectra of a network, or of its homogeneous system, over a grid of parameters.

    The trajectories run in lock-step along the last axis of the state, spread over all devices;
    each starts at its own equilibrium plus noise of sd 0.01, the same at all points. The method
    is that of `lyapunov_spectrum`.

    **Arguments:**

    - `system`: a network, or `network.homogeneous()`; gives the parameters not varied.
    - `parameters`: values by name of the model's parameters or of "coupling", one axis each (for a
      homogeneous system, "coupling" includes the weights' row sum, 1 where normalised).
    - `count`: exponents; by default all.
    - `duration`, `transient`, `dt`, `interval`: as for `lyapunov_spectrum`; each point has the
      step of its own parameters, if none is given.
    - `store`: a folder that keeps finished blocks: the same call goes on where it stopped, and
      processes that are given the same folder share them.
    - `chunk`: points that are finished, and stored, together; by default as many as run at a
      time, 128 on each CPU device for a homogeneous system and a few for a network.
    - `progress`: a progress bar; None shows one where it takes over two seconds.

    Raises `ValueError` for bad arguments, or where `store` holds something else.
    """
    _checks.require_x64("lyapunov_map")
    values = parameter_axes(system, parameters)
    core = system.bare()
    number = number_of_exponents(count, tuple(core.state_shape))
    points, shape = grid(values)
    pace = steps_at(core, points, math.prod(shape), dt)
    devices, lanes = len(jax.local_devices()), lanes_per_device(core, number)
    block = lanes * devices if chunk is None else chunk
    _checks.positive_integer("chunk", block)
    width = width_of(core, lanes, math.prod(shape), devices)

    def work(which: np.ndarray, _: Callable[[str], Any]) -> dict[str, np.ndarray]:
        some = take(points, which)
        starts = starts_of(core, some, np.full(which.size, seed))
        run = trajectories(number)
        here = Steps(*take(pace._asdict(), which).values())
        lanes = lanes_of(some, starts, here, duration, transient, interval)
        fields = map_chunks(run, core, lanes, chunk=width, progress=False, lockstep=True)
        lost = ~np.isfinite(starts).reshape(which.size, -1).all(axis=1)
        fields["status"] = np.where(lost, Status.NONE_FOUND, fields["status"])
        return fields

    fields = in_blocks(
        math.prod(shape),
        block,
        work,
        store=store,
        definition=lambda: definition(
            "Lyapunov spectra",
            core,
            axes=ordered(values),
            count=number,
            dt=np.unique(pace.dt).tolist(),
            times={"duration": duration, "transient": transient, "interval": interval},
            seed=seed,
            block=block,
        ),
        progress=progress,
        what="Lyapunov spectra",
    )
    on_grid: dict[str, Any] = {
        name: jnp.asarray(value.reshape(*shape, *value.shape[1:])) for name, value in fields.items()
    }
    return LyapunovMap(values, LyapunovSpectrum(**on_grid), system.model.time_unit)


def lanes_per_device(core: Network | Homogeneous, count: int) -> int:
    """Trajectories that a device takes at a time."""
    scale = 1 if jax.local_devices()[0].platform == "cpu" else _ON_GPU
    if isinstance(core, Homogeneous):
        return _LANES * scale
    return 2 ** int(math.log2(max(1, _COLUMNS * scale // (count + 1))))


def width_of(core: Network | Homogeneous, lanes: int, runs: int, devices: int) -> int:
    """How many of so many runs a device takes at a time, whatever the blocks' size.

    Trajectories round alike at whole multiples of the width of vectors; products with the weights
    may not, so that their width does not depend on the devices either.
    """
    devices = devices if isinstance(core, Homogeneous) else 1
    return min(lanes, -(-runs // (devices * _VECTOR)) * _VECTOR)


def steps_at(
    core: Network | Homogeneous, points: Mapping[str, Any], count: int, dt: float | None
) -> Steps:
    """The steps (point,) at so many points: each one's own, or `dt`."""
    if dt is not None:
        _checks.positive("dt", dt)
        return Steps(np.full(count, float(dt)), np.ones(count))
    return Steps.of(at_points(core.model, points), count)


def lanes_of(
    points: dict[str, Any],
    starts: np.ndarray,
    steps: Steps,
    duration: float | None,
    transient: float | None,
    interval: float | None,
) -> dict[str, Any]:
    """What `trajectories` takes of each run: its point, start, step, and numbers of steps."""
    plans = plan(steps.dt, duration, transient, interval, steps.stiffness)
    return {"point": points, "start": starts, "dt": steps.dt, "steps": plans}


def starts_of(core: Network | Homogeneous, points: dict[str, Any], seeds: np.ndarray) -> np.ndarray:
    """Each point's equilibrium plus noise, (point, *state); NaN where there is none."""
    return initial_states(core, points, 0.01, seeds, in_blocks=True)


@lru_cache
def trajectories(count: int) -> Callable[[Any, Any], dict[str, jax.Array]]:
    """For so many exponents, the one function that takes runs in lock-step."""

    def run(core: Any, lanes: Any) -> dict[str, jax.Array]:
        dt = lanes["dt"]
        points = {name: jnp.moveaxis(value, 0, -1) for name, value in lanes["point"].items()}
        system = with_leaves(over_runs(core), points)
        x = jnp.moveaxis(lanes["start"], 0, -1)
        *state, runs = x.shape
        turned = jax.random.normal(stream(0, Purpose.TANGENTS), (*state, count))
        xi = jnp.broadcast_to(turned[..., None], (*state, count, runs))

        def advance(x: jax.Array, xi: jax.Array, length: Any, stride: Any) -> Any:
            return follow(system.vector_field, x, xi, dt, length, stride, runs=1)

        return exponents(advance, x, xi, dt, lanes["steps"], runs=1).__dict__

    return run


class OrbitDiagram(eqx.Module):
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


def orbit_diagram(
    system: Network | Homogeneous,
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
    _checks.require_x64("orbit_diagram")
    values = parameter_axes(system, parameters)
    if len(values) != 1:
        _checks.fail("parameters", "name one parameter", f"it names {len(values)}")
    core = system.bare()
    model = core.model
    known = tuple(dict.fromkeys((*model.variables, model.shown)))
    variable = model.shown if variable is None else variable
    crossed, level = (None, 0.0) if section is None else section
    for argument, name in (("variable", variable), ("section", crossed)):
        if name is not None:
            _checks.one_of(argument, name, known)
    _checks.finite("section", level)
    _checks.positive_integer("events", events)
    (count,) = next(iter(values.values())).shape
    steps = steps_at(core, values, count, dt)
    number = plan(steps.dt, duration, transient, None, steps.stiffness, _EVENTS)
    starts = starts_of(core, values, np.full(count, seed))
    shared = (core, jnp.asarray(level, dtype=float))
    fields = map_chunks(
        _recorder(variable, crossed, events),
        shared,
        {"point": values, "start": starts, "dt": steps.dt, "steps": number},
        chunk=lanes_per_device(core, 1),
        progress=progress,
        what="orbit diagram",
        lockstep=True,
    )
    lost = ~np.isfinite(starts).reshape(len(starts), -1).all(axis=1)
    fields["status"] = np.where(lost, Status.NONE_FOUND, fields["status"])
    return OrbitDiagram(
        parameters={name: np.asarray(along) for name, along in values.items()},
        variable=variable,
        section=section,
        **fields,
        time_unit=model.time_unit,
    )


@lru_cache
def _recorder(
    variable: str, crossed: str | None, events: int
) -> Callable[[Any, Any], dict[str, jax.Array]]:
    """The one function that records such events of runs in lock-step."""

    def record(shared: Any, lanes: Any) -> dict[str, jax.Array]:
        core, level = shared
        dt = lanes["dt"]
        system = with_leaves(over_runs(core), lanes["point"])
        x = jnp.moveaxis(lanes["start"], 0, -1)
        runs = jnp.arange(x.shape[-1])
        names = (variable,) if crossed is None else (variable, crossed)

        def observed(x: jax.Array) -> jax.Array:
            rows = select(system.model, names, x)  # (name, region, run) or (name, run)
            return rows if rows.ndim == 2 else rows.mean(axis=1)

        def watch(x: jax.Array) -> tuple[jax.Array, jax.Array]:
            return jax.jvp(observed, (x,), (system.vector_field(x),))

        def forward(x: jax.Array, h: jax.Array) -> jax.Array:
            return rk4_step(system.vector_field, x, h)

        def body(i: jax.Array, carry: Any) -> Any:
            x, (value, slope), points, times, number = carry
            here = i < lanes["steps"].window
            x = forward(x, jnp.where(here, dt, 0.0))
            new_value, new_slope = watch(x)
            cubics = [
                _hermite(value[k], dt * slope[k], new_value[k], dt * new_slope[k])
                for k in range(len(names))
            ]
            if crossed is None:
                happens = (slope[0] > 0) & (new_slope[0] <= 0)
                where = _flat_point(cubics[0])
            else:
                happens = (value[1] < level) & (new_value[1] >= level)
                where = _root(cubics[1], level)
            happens &= here
            place = jnp.where(happens, number, events)  # dropped where there is no place
            points = points.at[place, runs].set(_at(cubics[0], where), mode="drop")
            times = times.at[place, runs].set((i + where) * dt, mode="drop")
            return x, (new_value, new_slope), points, times, number + happens

        x = repeat(forward, x, dt, lanes["steps"].transient)
        empty = jnp.full((events, runs.size), jnp.nan)
        start = (x, watch(x), empty, empty, jnp.zeros(runs.size, dtype=int))
        x, (value, _), points, times, number = jax.lax.fori_loop(
            0, lanes["steps"].window.max(), body, start
        )
        finite = jnp.isfinite(x).reshape(-1, runs.size).all(axis=0)
        return {
            "points": points.T,
            "times": times.T,
            "number": number,
            "last": value[0],
            "status": jnp.where(finite, Status.OK, Status.NOT_FINITE),
        }

    return record


# Cubics over one step, in powers of the fraction of it that has passed.
Cubic = tuple[jax.Array, jax.Array, jax.Array, jax.Array]


def _hermite(y0: jax.Array, d0: jax.Array, y1: jax.Array, d1: jax.Array) -> Cubic:
    """From values and slopes at both ends."""
    return y0, d0, 3 * (y1 - y0) - 2 * d0 - d1, 2 * (y0 - y1) + d0 + d1


def _at(cubic: Cubic, t: jax.Array) -> jax.Array:
    a, b, c, d = cubic
    return a + t * (b + t * (c + t * d))


def _flat_point(cubic: Cubic) -> jax.Array:
    """Where the slope, positive at 0 and not at 1, vanishes: the quadratic's stable formula."""
    _, b, c, d = cubic
    root = jnp.sqrt(jnp.maximum(c * c - 3 * b * d, 0))
    bottom = root - c
    return jnp.clip(b / jnp.where(bottom > 0, bottom, 1.0), 0.0, 1.0)


def _root(cubic: Cubic, level: jax.Array) -> jax.Array:
    """Where the cubic, below `level` at 0 and not at 1, reaches it: Newton from the chord."""
    a, b, c, d = cubic
    t = (level - a) / jnp.where(b + c + d != 0, b + c + d, 1.0)
    for _ in range(3):
        slope = b + t * (2 * c + t * 3 * d)
        t = t - (_at(cubic, t) - level) / jnp.where(slope != 0, slope, 1.0)
        t = jnp.clip(t, 0.0, 1.0)
    return t
