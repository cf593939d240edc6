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
from ngnmm_jax.dynamics.lyapunov import LyapunovSpectrum, Plan, exponents, plan
from ngnmm_jax.dynamics.tangents import Autonomous, follow
from ngnmm_jax.simulation.start import initial_states
from ngnmm_jax.systems.homogeneous import Homogeneous
from ngnmm_jax.systems.network import Network

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


def lanes_on_a_cpu(core: Network | Homogeneous, count: int) -> int:
    """Trajectories with `count` tangents that one of a CPU's devices takes at a time."""
    return _LANES if isinstance(core, Homogeneous) else _power_of_two(_COLUMNS, count)


def lanes_per_device(core: Network | Homogeneous, count: int) -> int:
    """Trajectories with `count` tangents that a device of this machine takes at a time."""
    if isinstance(core, Homogeneous):
        return wide(_LANES)
    return _power_of_two(wide(_COLUMNS), count)


def _power_of_two(columns: int, count: int) -> int:
    return 2 ** int(math.log2(max(1, columns // (count + 1))))


def width_of(
    core: Network | Homogeneous, lanes: int, *, chunk: int, runs: int, devices: int
) -> int:
    """How many runs, of so many in chunks, a device takes at a time: at most `lanes`.

    Trajectories round alike at whole multiples of the width of vectors; products with the weights
    may not, so that their width depends neither on the chunk nor on the devices.
    """
    some = -(-chunk // devices) if isinstance(core, Homogeneous) else runs
    return min(lanes, -(-some // _VECTOR) * _VECTOR)


def steps_at(
    core: Network | Homogeneous, points: Mapping[str, Any], count: int, dt: float | None
) -> Steps:
    """The steps (point,) at so many points: each one's own, or `dt`."""
    if dt is not None:
        _checks.positive("dt", dt)
        return Steps(np.full(count, float(dt)), np.ones(count))
    return Steps.of(at_points(core.model, points), count)


def lanes_of(points: dict[str, Any], starts: np.ndarray, steps: Steps, times: Times) -> Lanes:
    """Runs for `trajectories`, each at its own point, from its own start, with its own steps."""
    plans = plan(steps.dt, times.duration, times.transient, times.interval, steps.stiffness)
    return Lanes(points, starts, steps.dt, plans)


def starts_of(core: Network | Homogeneous, points: dict[str, Any], seeds: np.ndarray) -> np.ndarray:
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


def spectra_at(
    core: Network | Homogeneous,
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

    - `points`: values (point, …) of parameters by name; `seeds` (point,): of the noise of sd 0.01
      on each run's own equilibrium, where it starts.
    - `count`: exponents; `steps` (point,); `width`: runs that a device takes at a time.
    """
    starts = starts_of(core, points, seeds)
    lanes = lanes_of(points, starts, steps, times)
    run = trajectories(count)
    found = map_chunks(run, core, lanes, chunk=width, progress=False, lockstep=True)
    return eqx.tree_at(lambda s: s.status, found, begun(starts, found.status))
