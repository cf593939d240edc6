"""Runs over parameters in lock-step: where they begin, their steps, and their exponents."""

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.lanes import map_chunks
from ngnmm_jax._core.parameters import at_points, with_leaves
from ngnmm_jax._core.placement import wide
from ngnmm_jax._core.randomness import Purpose, stream
from ngnmm_jax._core.status import Status
from ngnmm_jax.dynamics.lockstep.runs import Steps
from ngnmm_jax.dynamics.lyapunov import (
    LyapunovSpectrum,
    Plan,
    exponents,
    exponents_in_blocks,
    number_of_exponents,
    number_with_delays,
    plan,
    scan,
    usual_blocks,
)
from ngnmm_jax.dynamics.tangents import Autonomous, follow
from ngnmm_jax.simulation.start import initial_states
from ngnmm_jax.systems.delayed import Blocks
from ngnmm_jax.systems.driven import Undriven

# Columns that a matrix product of a network's tangents wants on a CPU, and runs in lock-step of
# one region, which is elementwise work.
_COLUMNS, _LANES = 64, 128
# Numbers that a CPU's widest instructions take at once.
_VECTOR = 8


class Times(NamedTuple):
    """As `lyapunov_spectrum` has them, in the model's unit; None for its defaults."""

    duration: float | None = None
    transient: float | None = None
    interval: float | None = None


class Lanes(NamedTuple):
    """What runs in lock-step take: (run, …) parameters by name, starts, steps and their numbers."""

    point: dict[str, Any]
    start: Any
    dt: Any
    steps: Plan


def lanes_on_a_cpu(core: Undriven, count: int) -> int:
    """Trajectories with `count` tangents that one of a CPU's devices takes at a time."""
    return _LANES if core.alone else _power_of_two(_COLUMNS, count)


def lanes_per_device(core: Undriven, count: int) -> int:
    """Trajectories with `count` tangents that a device of this machine takes at a time."""
    if core.alone:
        return wide(_LANES)
    return _power_of_two(wide(_COLUMNS), count)


def _power_of_two(columns: int, count: int) -> int:
    return 2 ** int(math.log2(max(1, columns // (count + 1))))


def width_of(core: Undriven, lanes: int, *, chunk: int, runs: int, devices: int) -> int:
    """How many runs, of so many in chunks, a device takes at a time: at most `lanes`.

    Trajectories round alike at whole multiples of the width of vectors; products with the weights
    may not, so that their width depends neither on the chunk nor on the devices.
    """
    some = -(-chunk // devices) if core.alone else runs
    return min(lanes, -(-some // _VECTOR) * _VECTOR)


def steps_at(core: Undriven, points: Mapping[str, Any], count: int, dt: float | None) -> Steps:
    """The steps (point,) at so many points: each one's own, or `dt`.

    With delays all have the shortest, at most the shortest delay.
    """
    if dt is not None:
        _checks.positive("dt", dt)
        return Steps(np.full(count, float(dt)), np.ones(count))
    steps = Steps.of(at_points(core.model, points), count)
    if getattr(core, "delays", None) is None:
        return steps
    late: Any = core
    return in_steps_of(min(float(np.min(steps.dt)), late.shortest_delay(points)), steps)


def in_steps_of(dt: float, steps: Steps) -> Steps:
    """The same in steps of one length."""
    return Steps(np.full_like(steps.dt, dt), np.maximum(1.0, np.round(steps.tempo / dt)))


def lanes_of(points: dict[str, Any], starts: np.ndarray, steps: Steps, times: Times) -> Lanes:
    """Runs for `trajectories`, each at its own point, from its own start, with its own steps."""
    plans = plan(steps.dt, times.duration, times.transient, times.interval, steps.stiffness)
    return Lanes(points, starts, steps.dt, plans)


def at_work(core: Undriven, points: dict[str, Any], steps: Steps) -> Undriven | Blocks:
    """A system as `spectra_at` takes it, at all of its points; one without delays as it is."""
    if getattr(core, "delays", None) is None:
        return core
    late: Any = core
    found: Blocks = late.in_blocks(float(steps.dt[0]), points)
    return found


def counted(count: int | None, core: Any) -> int:
    """How many exponents, checked against what a system, or what is known of it, has."""
    if isinstance(core, Blocks):
        return number_with_delays(count, core)
    if getattr(core, "delays", None) is not None:
        return number_with_delays(count, None)
    return number_of_exponents(count, tuple(core.state_shape))


def starts_of(core: Undriven, points: dict[str, Any], seeds: np.ndarray) -> np.ndarray:
    """Each point's equilibrium plus noise, (point, *state); NaN where there is none."""
    return initial_states(core, points, 0.01, seeds, in_blocks=True)


def begun(starts: np.ndarray, status: np.ndarray) -> np.ndarray:
    """The status (run,) of runs, of which some had no equilibrium to start from."""
    lost = ~np.isfinite(starts).reshape(len(starts), -1).all(axis=1)
    return np.where(lost, Status.NONE_FOUND, status)


@lru_cache
def trajectories(count: int) -> Callable[[Any, Lanes], LyapunovSpectrum]:
    """For so many exponents, the one function that takes runs in lock-step."""

    def run(core: Any, lanes: Lanes) -> LyapunovSpectrum:
        dt = lanes.dt
        points = {name: jnp.moveaxis(value, 0, -1) for name, value in lanes.point.items()}
        system = with_leaves(core.over_runs(), points)
        x = jnp.moveaxis(lanes.start, 0, -1)
        *state, runs = x.shape
        turned = jax.random.normal(stream(0, Purpose.TANGENTS), (*state, count))
        xi = jnp.broadcast_to(turned[..., None], (*state, count, runs))

        def advance(x: jax.Array, xi: jax.Array, length: Any, stride: Any) -> Any:
            return follow(Autonomous(system.vector_field), x, xi, dt, length, stride, runs=1)

        return exponents(advance, x, xi, dt, lanes.steps, runs=1)

    return run


@lru_cache
def _delayed_trajectories(count: int) -> Callable[[Any, Lanes], LyapunovSpectrum]:
    """The same with delays, of one run alone: shares the network in `Blocks`."""

    def run(flow: Blocks, lanes: Lanes) -> LyapunovSpectrum:
        lane = jax.tree.map(lambda value: value[0], lanes)
        here = flow.at(lane.point)
        found = exponents_in_blocks(
            here, here.known(lane.start), 0, count, lane.dt, lane.steps, scan
        )
        return jax.tree.map(lambda value: value[None], found)

    return run


def spectra_at(
    core: Undriven | Blocks,
    points: dict[str, Any],
    seeds: np.ndarray,
    *,
    count: int,
    steps: Steps,
    times: Times,
    width: int,
) -> LyapunovSpectrum:
    """Lyapunov spectra (point, …) on the host: the core of `lyapunov_map` and of `Exponents`.

    **Arguments:**

    - `core`: what runs share; of a network with delays what is known of it, `at_work`.

    - `points`: values (point, …) of parameters by name; `seeds` (point,): of the noise of sd 0.01
      on each run's own equilibrium, where it starts.
    - `count`: exponents; `steps` (point,); `width`: runs that a device takes at a time.
    """
    if isinstance(core, Blocks):
        starts = starts_of(core.network, points, seeds)
        size, usual = steps.dt * core.steps, usual_blocks(core)
        plans = plan(size, times.duration, times.transient, times.interval, steps.stiffness, usual)
        lanes, run, width = Lanes(points, starts, size, plans), _delayed_trajectories(count), 1
    else:
        starts = starts_of(core, points, seeds)
        lanes, run = lanes_of(points, starts, steps, times), trajectories(count)
    found = map_chunks(run, core, lanes, chunk=width, progress=False, lockstep=True)
    return eqx.tree_at(lambda s: s.status, found, begun(starts, found.status))
