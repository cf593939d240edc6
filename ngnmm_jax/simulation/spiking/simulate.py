"""Runs of spiking neurons."""

import math
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Int

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.placement import NEURONS, beside
from ngnmm_jax._core.progress import progress_bar
from ngnmm_jax._core.randomness import first_step, run_seeds
from ngnmm_jax._core.starting import state_of
from ngnmm_jax._core.status import raise_unless_ok
from ngnmm_jax._core.types import Time
from ngnmm_jax.integrators import RK4, Stepper
from ngnmm_jax.integrators.loops import save_steps
from ngnmm_jax.integrators.steps import common_step
from ngnmm_jax.models.parameters import as_parameter
from ngnmm_jax.models.times import usual_sample
from ngnmm_jax.simulation.fixed import fraction_below
from ngnmm_jax.simulation.history import History, past_of
from ngnmm_jax.simulation.precision import cast
from ngnmm_jax.simulation.saving import Request, Saving, blocks_of_saves
from ngnmm_jax.simulation.spiking.lorentzian import quantiles
from ngnmm_jax.simulation.spiking.neurons import Neurons, Seen, Spiking, neurons_in, seen
from ngnmm_jax.simulation.spiking.populations import Form, Runs, form_of, noises_by_rates
from ngnmm_jax.simulation.spiking.private import PrivateNoise, private_noise
from ngnmm_jax.simulation.spiking.result import Ended, SpikingSimulation, packaged
from ngnmm_jax.simulation.spiking.start import begun
from ngnmm_jax.simulation.start import begins
from ngnmm_jax.simulation.varied import count_runs
from ngnmm_jax.systems.delayed import at_work, on_grid
from ngnmm_jax.systems.driven import Driven, driven, noise_key
from ngnmm_jax.systems.homogeneous import Homogeneous
from ngnmm_jax.systems.network import Network
from ngnmm_jax.systems.own_equations import only_fields_of_models

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
    private: Any = None,
    dt: Time | None = None,
    save_every: Time | None = None,
    recorded: int = 100,
    dtype: Any = None,
    progress: bool | None = None,
    throw: bool = True,
) -> SpikingSimulation:
    """Simulate the spiking neurons of which a network (or homogeneous system) is the mean field.

    Every population of every region has `neurons` QIF neurons; what drives them is read off the
    model's equations (`QIFPopulation`): instantaneous synapses, synapses of any order, conductances
    and reversal potentials, gap junctions, adaptation and plasticity by the population's rate. In a
    step each neuron follows its own exact flow, a Möbius map through infinity, under the input at
    the step's middle: no threshold, no reset and no refractory time has to be chosen. The method is
    of order two; at the default step its error is far below that of 10,000 neurons.

    Delays, stimuli and noise are those of `simulate`; with the same seed and step noise is the
    same, and one for all neurons of a population. Noise on rates is refused: spikes are counted.

    **Arguments:**

    - `system`: a network or its homogeneous system, `Driven` or not, of a model with `populations`.
    - `duration`, `dt`, `save_every`: in the model's unit; by default the longest step up to
      `time_step` that divides the others, saved about every 0.5 ms.
    - `parameters`: by name, values (run,) or (run, region): a batch of runs at once.
    - `start` (variable, region): a state of the mean field, at which neurons start as it assumes;
      by default the homogeneous equilibrium plus noise; or where a run of either kind ended.
    - `seed`: of that noise, of a driven network's, of `private` noise (by step and neuron), and of
      first potentials: one for each run, or one integer, whose `run_seeds` they are.
    - `private`: white noise in each neuron's current, by name of the population. A number or
      `noises.White(σ)`: Gaussian, a potential's increment over a time t of standard deviation
      σ √t / tau; no mean field is then exact, which the result says. `noises.Cauchy(Γ)`, with Γ in
      the current's unit: the mean field with `delta` + Γ is exact. σ, Γ: scalar or (region,).
    - `recorded`: how many neurons of each population have their spikes kept.
    - `progress`: a progress bar; None shows one for runs that take over two seconds.
    - `throw`: raise `SolverError` if a single run did not stay finite.

    Raises `ValueError` for bad arguments, also where `dt` is too long for the fastest neuron at the
    beginning; where it turns out so later, the status is STEP_TOO_LARGE.
    """
    core = _core(system, dtype)
    _checks.positive_integer("neurons", neurons)
    _checks.positive_integer("recorded", recorded)
    duration = _checks.time("duration", duration)
    _checks.positive("duration", duration)
    before = start if isinstance(start, SpikingSimulation) else None
    given = start if before is None else before.activity
    state: Any = None if before is not None else state_of(start)
    varied = {name: as_parameter(name, value) for name, value in (parameters or {}).items()}
    count = count_runs(core, varied, state, seed)
    single = not varied and np.ndim(seed) == 0 and np.ndim(state) <= len(core.state_shape)
    every_neuron = count * neurons * len(core.model.populations()) * math.prod(core.state_shape[1:])
    with beside("simulate_spiking", every_neuron <= NEURONS, core, varied, state, before):
        varied = {name: v.astype(core.coupling.dtype) for name, v in varied.items()}
        saving, dt = _planned(core, varied, duration, dt, save_every)
        core = on_grid(core, dt, varied)
        runs, own = Runs(core, varied), private_noise(core, private)
        sizes = neurons, min(recorded, neurons)
        seeds = as_array(run_seeds(seed, count) if np.ndim(seed) == 0 else seed)
        there = begun(runs, start, scatter, seeds, sizes, dt)
        t0 = begins(given, None)
        work = _Work.of(runs, neurons, dt, t0, own)
        past = past_of(given, core, dt, runs=count)
        ended, looked = _run(runs, there, past, seeds, saving, work, (dt, progress))
        span, every = (t0, t0 + duration), saving.stride * dt
        result = packaged(system, ended, looked, saving, every, span, before is None, own)
        result = result.run(0) if single else result
    if throw and single:
        raise_unless_ok("simulate_spiking", result.status, result)
    return result


class _Work(eqx.Module):
    """What decides a run, but for systems and seeds.

    - `dt`; `t0`, when it begins, and the number of its `first` step, counted from time zero.
    - `offsets` (neuron,): excitabilities in half widths.
    - `form`: what of the neurons' equations has to be followed.
    - `private`: noise of each neuron's own.
    """

    dt: Float[Array, ""]
    t0: Float[Array, ""]
    first: Int[Array, ""]
    offsets: Float[Array, "neuron"]
    form: Form = eqx.field(static=True)
    private: PrivateNoise

    @classmethod
    def of(cls, runs: Runs, neurons: int, dt: float, t0: float, private: PrivateNoise) -> "_Work":
        """Of so many neurons a population."""
        dtype = runs.system.coupling.dtype
        return cls(
            dt=as_array(dt, dtype),
            t0=as_array(t0, float),
            first=as_array(first_step(t0, dt)),
            offsets=as_array(quantiles(neurons), dtype),
            form=form_of(runs),
            private=private,
        )

    def stepper(self, system: Any, seed: Any, neurons: Neurons) -> Stepper:
        """Steps of such neurons, with the delays, the stimulus and the noise of their system."""
        kicks = self.private.kicks(system.model, seed, self.dt, neurons.potentials)
        spiking = Spiking(self.offsets, neurons, self.form, kicks)
        if isinstance(system, Driven):
            return system.stepper(spiking, self.dt, noise_key(seed), (self.t0, self.first))
        return at_work(spiking, system, self.dt)


def _core(system: Any, dtype: Any) -> Network | Homogeneous | Driven:
    """The system without names, in the precision asked for; refused if it has no QIF neurons."""
    network = system.system if isinstance(system, Driven) else system
    if not isinstance(network, Network | Homogeneous):
        kind = type(system).__name__
        must = "be a network or its homogeneous system, `Driven` or not"
        _checks.fail("system", must, f"it is a {kind}")
    populations = system.model.populations()
    if not populations:
        name = type(system.model).__name__
        _checks.fail("system", "have populations of QIF neurons", f"{name} has none")
    if isinstance(network, Network):
        only_fields_of_models(network, Network)
    rates = {p.rate for p in populations}
    for name in rates & set(getattr(system, "noise", {})):
        must = "be on inputs, potentials or what neurons drive: rates are counted"
        _checks.fail("noise", must, f"it is on {name!r}")
    for name in noises_by_rates(system):
        must = "have a factor of potentials or of what neurons drive: rates are counted"
        _checks.fail("noise", must, f"that on {name!r} reads a rate")
    return cast(system.bare(), dtype)


def _planned(
    core: Any, varied: dict[str, Any], duration: float, dt: Time | None, save_every: Time | None
) -> tuple[Saving, float]:
    """What is saved when, and the step: by default such that it divides what is given."""
    dt = None if dt is None else _checks.time("dt", dt)
    save_every = None if save_every is None else _checks.time("save_every", save_every)
    usual = 0.5 * usual_sample(core.model)
    if dt is None:
        longest = RK4().longest_step(core, varied)
        times = np.array([usual if save_every is None else save_every, duration])
        dt = common_step(times, longest) or longest
    _checks.positive("dt", dt)
    if save_every is None:
        save_every = max(1, round(min(usual, duration) / dt)) * dt
    model = core.model
    return Request(model, duration, every=save_every, variables=model.variables).plan(dt), dt


def _run(
    runs: Runs, there: Neurons, past: Any, seeds: Any, saving: Saving, work: _Work, options: Any
) -> tuple[Ended, tuple[Seen, Seen]]:
    """A batch at its end; what was seen of it, at each saved time and at the end.

    `options`: the step as a number, and `progress`.
    """
    dt, progress = options
    memory = _start(runs, there, seeds, past, work)
    memory, saved = _advanced(runs, memory, seeds, saving, work, progress)
    below, left = _left(runs, memory, seeds, work)
    if below is not None:
        below = fraction_below(driven(runs.system), below, saving.n_steps)
    ended = Ended(neurons_in(memory), below, History.of(left, dt))
    return ended, (saved, _look(runs, ended.neurons))


def _advanced(
    runs: Runs, memory: Any, seeds: Any, saving: Saving, work: _Work, progress: bool | None
) -> tuple[Any, Seen]:
    """The memory at the end, and what was seen at each saved time (run, time, …)."""
    neurons = neurons_in(memory)
    updates = saving.n_steps * neurons.potentials.size
    long = bool(progress) or (progress is None and updates >= _LONG_RUN)
    saved: list[Seen] = [jax.tree.map(np.asarray, _look(runs, neurons))]
    each = sum(leaf.nbytes for leaf in jax.tree.leaves(saved))
    pieces = blocks_of_saves(saving, traced=False, in_pieces=long, each=each)
    shown = progress if long and len(pieces) > 1 else False
    with progress_bar(saving.n_steps, "spikes", "step", shown, unit_scale=True) as bar:
        for kept, room, *steps in pieces:
            memory, some = _block(runs, memory, seeds, work, tuple(steps), room)
            if kept:  # a copy, so that the rest of the room is given back
                saved.append(
                    jax.tree.map(lambda v, kept=kept: np.asarray(v)[:, :kept].copy(), some)
                )
            bar.update(kept * saving.stride if kept else int(steps[1]))
    return memory, jax.tree.map(lambda *s: np.concatenate(s, axis=1), *saved)


@eqx.filter_jit
def _look(runs: Runs, neurons: Neurons) -> Seen:
    """What is seen of runs at one time (run, 1, …)."""
    found = runs.each(lambda system, neurons: seen(system.model, neurons), neurons)
    return jax.tree.map(lambda leaf: leaf[:, None], found)


@eqx.filter_jit
def _start(runs: Runs, neurons: Neurons, seeds: Any, past: Any, work: _Work) -> Any:
    """The memory at the beginning, with an axis of runs."""

    def one(system: Any, neurons: Neurons, seed: Any, past: Any) -> Any:
        given = () if past is None else (past if isinstance(system, Driven) else past.sent,)
        return work.stepper(system, seed, neurons).start(neurons.state, *given)

    return runs.each(one, neurons, seeds, past)


@eqx.filter_jit
def _block(
    runs: Runs, memory: Any, seeds: Any, work: _Work, steps: tuple[Any, Any], room: int
) -> tuple[Any, Seen]:
    """The memory at the end, and what was seen (run, time, …).

    `steps` and `room` are those of `save_steps`.
    """

    def one(system: Any, memory: Any, seed: Any) -> tuple[Any, Seen]:
        stepper = work.stepper(system, seed, neurons_in(memory))

        def see(memory: Any) -> Seen:
            return seen(system.model, neurons_in(memory))

        def advance(memory: Any) -> Any:
            return stepper.advance(memory, None)

        return save_steps(advance, memory, steps, room, see)

    return runs.each(one, memory, seeds)


@eqx.filter_jit
def _left(runs: Runs, memory: Any, seeds: Any, work: _Work) -> tuple[Any, Any]:
    """How often noise took variables below zero (run,), and what a run goes on from; or None."""

    def one(system: Any, memory: Any, seed: Any) -> tuple[Any, Any]:
        stepper = work.stepper(system, seed, neurons_in(memory))
        below = stepper.below(memory)
        return None if below is None else below.sum(), stepper.past(memory)

    return runs.each(one, memory, seeds)
