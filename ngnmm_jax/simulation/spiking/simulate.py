"""Runs of spiking neurons."""

import math
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.parameters import at_points
from ngnmm_jax._core.placement import NEURONS, beside
from ngnmm_jax._core.progress import progress_bar
from ngnmm_jax._core.randomness import run_seeds
from ngnmm_jax._core.starting import state_of
from ngnmm_jax._core.status import raise_unless_ok
from ngnmm_jax._core.types import Time
from ngnmm_jax.integrators.loops import save_steps
from ngnmm_jax.integrators.steps import common_step
from ngnmm_jax.models.parameters import as_parameter
from ngnmm_jax.models.times import smallest_step, usual_sample
from ngnmm_jax.simulation.precision import cast
from ngnmm_jax.simulation.saving import Request, Saving, blocks_of_saves
from ngnmm_jax.simulation.spiking.lorentzian import quantiles
from ngnmm_jax.simulation.spiking.neurons import Neurons, Seen, seen, stepper
from ngnmm_jax.simulation.spiking.populations import Runs
from ngnmm_jax.simulation.spiking.result import SpikingSimulation, packaged
from ngnmm_jax.simulation.spiking.start import begun, gone_on
from ngnmm_jax.simulation.varied import count_runs
from ngnmm_jax.systems.homogeneous import Homogeneous
from ngnmm_jax.systems.network import Network

# Runs of so many updates of neurons are cut into blocks, between which progress is shown.
_LONG_RUN = 10**9


def simulate_spiking(
    system: Any,
    duration: Time,
    *,
    neurons: int = 1000,
    parameters: Mapping[str, Any] | None = None,
    start: Any = None,
    seed: Any = 0,
    scatter: float = 0.01,
    dt: Time | None = None,
    save_every: Time | None = None,
    recorded: int = 100,
    dtype: Any = None,
    progress: bool | None = None,
    throw: bool = True,
) -> SpikingSimulation:
    """Simulate the spiking neurons of which a network (or homogeneous system) is the mean field.

    Every population of every region has `neurons` QIF neurons; their synapses and the connectome
    are those of the mean field. In a step each neuron follows its own exact flow, a Möbius map
    through infinity, under the input at the step's middle: no threshold, no reset and no refractory
    time has to be chosen. At the default step its error is far below that of 10,000 neurons.

    **Arguments:**

    - `system`: a network, or its homogeneous system, of a model with `populations`, such as
      `NextGenEI`.
    - `duration`, `dt`, `save_every`: in the model's unit; by default the longest step up to
      `time_step` that divides the others, saved about every 0.5 ms.
    - `parameters`: by name, values (run,) or (run, region): a batch of runs at once.
    - `start` (variable, region): rates, potentials and gates at which the neurons start, spread as
      the mean field assumes; by default the homogeneous equilibrium plus noise, as in
      `simulate`; or a previous run, to go on from its end.
    - `seed`: of that noise and of the neurons' first potentials: one for each run, or one integer,
      whose `run_seeds` they are.
    - `recorded`: how many neurons of each population have their spikes kept.
    - `progress`: a progress bar; None shows one for runs that take over two seconds.
    - `throw`: raise `SolverError` if a single run did not stay finite.

    Raises `ValueError` for bad arguments, also where `dt` is too long for the fastest neuron.
    """
    core = _core(system, dtype)
    _checks.positive_integer("neurons", neurons)
    _checks.positive_integer("recorded", recorded)
    duration = _checks.time("duration", duration)
    _checks.positive("duration", duration)
    before = start if isinstance(start, SpikingSimulation) else None
    start = None if before is not None else state_of(start)
    varied = {name: as_parameter(name, value) for name, value in (parameters or {}).items()}
    count = count_runs(core, varied, start, seed)
    single = not varied and np.ndim(seed) == 0 and np.ndim(start) <= len(core.state_shape)
    every_neuron = count * neurons * len(core.model.populations()) * math.prod(core.state_shape[1:])
    with beside("simulate_spiking", every_neuron <= NEURONS, core, varied, start, before):
        runs = Runs(core, {name: v.astype(core.coupling.dtype) for name, v in varied.items()})
        saving, dt = _planned(runs, duration, dt, save_every)
        sizes = neurons, min(recorded, neurons)
        if before is None:
            seeds = jnp.asarray(run_seeds(seed, count) if np.ndim(seed) == 0 else seed)
            there = begun(runs, start, scatter, seeds, sizes, dt)
        else:
            there = gone_on(runs, before, count, sizes, dt)
        there, saved = _advanced(runs, there, saving, dt, progress)
        ended = saved, _look(runs, there)
        every = saving.stride * dt
        result = packaged(system, runs, there, ended, saving, every, duration, before)
        result = result.run(0) if single else result
    if throw and single:
        raise_unless_ok("simulate_spiking", result.status, result)
    return result


def _core(system: Any, dtype: Any) -> Network | Homogeneous:
    """The system without names, in the precision asked for; refused if it has no QIF neurons."""
    if not isinstance(system, Network | Homogeneous):
        kind = type(system).__name__
        _checks.fail("system", "be a network or its homogeneous system", f"it is a {kind}")
    if not system.model.populations() or system.model.exact_flow(jnp.asarray(1.0)) is None:
        name = type(system.model).__name__
        _checks.fail("system", "have populations of QIF neurons", f"{name} has none")
    return cast(system.bare(), dtype)


def _planned(
    runs: Runs, duration: float, dt: Time | None, save_every: Time | None
) -> tuple[Saving, float]:
    """What is saved when, and the step: by default such that it divides what is given."""
    core = runs.system
    dt = None if dt is None else _checks.time("dt", dt)
    save_every = None if save_every is None else _checks.time("save_every", save_every)
    usual = 0.5 * usual_sample(core.model)
    if dt is None:
        longest = core.time_step
        if runs.varied and core.model.n_regions is None:
            longest = smallest_step(at_points(core.model, runs.varied))
        times = np.array([usual if save_every is None else save_every, duration])
        dt = common_step(times, longest) or longest
    _checks.positive("dt", dt)
    if save_every is None:
        save_every = max(1, round(usual / dt)) * dt
    model = core.model
    return Request(model, duration, every=save_every, variables=model.variables).plan(dt), dt


def _advanced(
    runs: Runs, neurons: Neurons, saving: Saving, dt: float, progress: bool | None
) -> tuple[Neurons, Seen]:
    """The neurons at the end, and what was seen at each saved time (run, time, …)."""
    dtype = runs.system.coupling.dtype
    step = jnp.asarray(dt, dtype)
    offsets = jnp.asarray(quantiles(neurons.potentials.shape[-1]), dtype)
    updates = saving.n_steps * neurons.potentials.size
    long = bool(progress) or (progress is None and updates >= _LONG_RUN)
    pieces = blocks_of_saves(saving, traced=False, in_pieces=long)
    saved: list[Seen] = [jax.tree.map(np.asarray, _look(runs, neurons))]
    shown = progress if long and len(pieces) > 1 else False
    with progress_bar(saving.n_steps, "spikes", "step", shown, unit_scale=True) as bar:
        for kept, room, *steps in pieces:
            neurons, some = _block(runs, neurons, step, offsets, tuple(steps), room)
            if kept:  # a copy, so that the rest of the room is given back
                saved.append(
                    jax.tree.map(lambda v, kept=kept: np.asarray(v)[:, :kept].copy(), some)
                )
            bar.update(kept * saving.stride if kept else int(steps[1]))
    return neurons, jax.tree.map(lambda *s: jnp.asarray(np.concatenate(s, axis=1)), *saved)


@eqx.filter_jit
def _look(runs: Runs, neurons: Neurons) -> Seen:
    """What is seen of runs at one time (run, 1, …)."""
    return jax.tree.map(lambda leaf: leaf[:, None], runs.each(seen, neurons))


@eqx.filter_jit
def _block(
    runs: Runs,
    neurons: Neurons,
    dt: Float[Array, ""],
    offsets: Float[Array, "neuron"],
    steps: tuple[Any, Any],
    room: int,
) -> tuple[Neurons, Seen]:
    """The neurons at the end, and what was seen (run, time, …); `offsets` are the excitabilities.

    `steps` and `room` are those of `save_steps`.
    """

    def one(system: Network | Homogeneous, neurons: Neurons) -> tuple[Neurons, Seen]:
        advance = stepper(system, dt, offsets)
        return save_steps(advance, neurons, steps, room, lambda now: seen(system, now))

    return runs.each(one, neurons)
