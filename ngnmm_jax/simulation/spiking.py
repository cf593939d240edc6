"""The spiking network behind the mean field: quadratic integrate-and-fire (QIF) neurons.

Neuron j of a population obeys tau V' = V² + κ_j(t), where κ_j is its excitability plus all input
that its population receives; at V = ∞ it fires and goes on from V = -∞. The excitabilities are
the quantiles of a Lorentzian. The mean field of such populations is exact as their number of
neurons grows (Montbrió, Pazó and Roxin, Phys. Rev. X 5, 021028, 2015); here this can be seen.
"""

import dataclasses
import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.parameters import at_points, with_leaves
from ngnmm_jax._core.progress import progress_bar
from ngnmm_jax._core.randomness import Purpose, run_seeds, stream
from ngnmm_jax._core.status import Status, raise_unless_ok
from ngnmm_jax._core.types import Time
from ngnmm_jax.integrators.loops import settled
from ngnmm_jax.integrators.steps import common_step
from ngnmm_jax.models.base import (
    SECONDS,
    AbstractNeuralMass,
    QIFPopulation,
    as_parameter,
    smallest_step,
)
from ngnmm_jax.simulation.batch import count_runs
from ngnmm_jax.simulation.single import (
    Saving,
    Simulation,
    blocks_of_saves,
    cast,
    package,
    plan_saving,
    save_steps,
)
from ngnmm_jax.simulation.start import initial_states
from ngnmm_jax.systems.network import Homogeneous, Network

# tan x is taken as x (15 - x²) / (15 - 6 x²), whose pole is at 1.58; a step of half angle x
# holds at most one spike while x < π / 2.
_LARGEST_HALF_ANGLE = 1.5
# Runs of so many updates of neurons are cut into blocks, between which progress is shown.
_LONG_RUN = 10**9
_GOLDEN = (math.sqrt(5) - 1) / 2


class _Memory(eqx.Module):
    """Where a run of the neurons is; `steps` since the counts began."""

    potentials: Float[Array, "population *region neuron"]
    gates: Float[Array, "population *region"]
    rate: Float[Array, "population *region"]  # over the last step
    before: Float[Array, "population *region"]  # over the step before it
    spikes: Int[Array, "population *region"]  # of all neurons, since the counts began
    recorded: Int[Array, "population *region recorded"]


class SpikingSimulation(eqx.Module):
    """What a run of spiking neurons left behind.

    - `activity`: the populations' quantities, named as in the mean field, so that every figure
      and analysis of a `Simulation` takes them. Rates are spikes per neuron over the interval
      that ends at each saved time; potentials are the centres of the Lorentzians; gates are
      the synapses' own. `activity.final_state` is the mean field's state at the end.
    - `width_rates` (time, population, region): the rate at each saved time from the half width
      of the potentials' Lorentzian, π tau r: a second estimate, without counting spikes.
    - `spikes` (time, population, region, recorded): spikes of the recorded neurons in the
      interval that ends at each saved time; they are ordered by their excitability.
    - `offsets` (recorded,): excitabilities of these, relative to the centre, in half widths.
    - `memory`: the neurons at the end; `simulate_spiking(…, y0=run)` goes on from there.
    - `neurons`: how many in each population; `populations`: their names; `rates`: the variables
      of `activity` that hold their rates.

    A batch has a leading axis `run` on all but `offsets`; there is no axis `region` for a
    homogeneous system.
    """

    activity: Simulation
    width_rates: Float[Array, "..."]
    spikes: Int[Array, "..."]
    offsets: Float[Array, "recorded"]
    memory: Any
    neurons: int = eqx.field(static=True)
    populations: tuple[str, ...] = eqx.field(static=True)
    rates: tuple[str, ...] = eqx.field(static=True)

    @property
    def status(self) -> Int[Array, "*run"]:
        """How it ended (`Status`)."""
        return self.activity.status

    @property
    def ok(self) -> bool:
        """Whether every run ended well."""
        return self.activity.ok


def quantiles(neurons: int) -> np.ndarray:
    """Excitabilities (neuron,) of a Lorentzian of centre 0 and half width 1.

    Those at the probabilities (j - 1/2) / neurons: equally spaced on the circle that the
    tangent maps to the line, so that means of smooth functions over them are those of the
    Lorentzian up to an error that falls exponentially.
    """
    return np.tan(np.pi * ((np.arange(neurons) + 0.5) / neurons - 0.5))


def lorentzian_of(potentials: Array) -> tuple[Array, Array]:
    """Centre and half width (…,) of Lorentzian potentials (…, neuron).

    The mean of V does not exist: a Lorentzian's tails are so heavy that the average of a million
    potentials scatters as much as one of them. The mean of (1 + iV) / (1 - iV), a point on the
    unit circle, does; that function is analytic in the upper half plane, so its mean is its value
    at v + i x, from which the centre v and the half width x follow (the same relation as between
    Kuramoto's order parameter and the firing rate in Montbrió, Pazó and Roxin, 2015).
    """
    below = 1 / (1 + potentials * potentials)
    order = (2 * below - 1).mean(axis=-1) + 1j * (2 * potentials * below).mean(axis=-1)
    point = -1j * (order - 1) / (order + 1)
    return point.real, point.imag


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
    if not isinstance(system, Network | Homogeneous):
        kind = type(system).__name__
        _checks.fail("system", "be a network or its homogeneous system", f"it is a {kind}")
    core = system.bare()
    core = core if dtype is None else cast(core, dtype)
    if not core.model.populations() or core.model.exact_flow(jnp.asarray(1.0)) is None:
        name = type(core.model).__name__
        _checks.fail("system", "have populations of QIF neurons", f"{name} has none")
    for argument, count in (("neurons", neurons), ("recorded", recorded)):
        _checks.positive_integer(argument, count)
    duration = _checks.time("duration", duration)
    dt = None if dt is None else _checks.time("dt", dt)
    save_every = None if save_every is None else _checks.time("save_every", save_every)
    _checks.positive("duration", duration)
    recorded = min(recorded, neurons)
    goes_on = isinstance(start, SpikingSimulation)
    varied = {name: as_parameter(name, value) for name, value in (parameters or {}).items()}
    runs = count_runs(core, varied, None if goes_on else start, seed)
    single = (
        not varied and np.ndim(seed) == 0 and (goes_on or np.ndim(start) <= len(core.state_shape))
    )
    varied = {name: value.astype(core.coupling.dtype) for name, value in varied.items()}
    if dt is None:  # such that it divides what is given
        every = 0.5e-3 / SECONDS[core.model.time_unit] if save_every is None else save_every
        longest = core.time_step
        if varied and core.model.n_regions is None:
            longest = smallest_step(at_points(core.model, varied))
        dt = common_step(np.array([every, duration]), longest) or longest
    _checks.positive("dt", dt)
    if save_every is None:
        save_every = max(1, round(0.5e-3 / SECONDS[core.model.time_unit] / dt)) * dt
    saving = plan_saving(core.model, duration, 0.0, save_every, None, core.model.variables, dt)
    step = jnp.asarray(dt, core.coupling.dtype)
    numbers = jnp.asarray(run_seeds(seed, runs) if np.ndim(seed) == 0 else seed)
    offsets = jnp.asarray(quantiles(neurons), core.coupling.dtype)
    if isinstance(start, SpikingSimulation):
        memory = _going_on(start, neurons, recorded, runs)
        _check_step(core, varied, memory.rate, memory.gates, dt, neurons)
    else:
        states = _first_states(core, varied, start, scatter, numbers)
        populations = core.model.populations()
        rate, gates = (_rows(core.model, populations, states, part) for part in ("rate", "gate"))
        _check_step(core, varied, rate, gates, dt, neurons)  # before anything large is compiled
        order = jnp.asarray(np.arange(neurons) * _GOLDEN % 1, states.dtype)
        memory = _start(core, varied, states, numbers, order, recorded)

    updates = saving.n_steps * memory.potentials.size
    long = bool(progress) or (progress is None and updates >= _LONG_RUN)
    pieces = blocks_of_saves(saving, traced=False, in_pieces=long)
    saved: list[Any] = [jax.tree.map(np.asarray, _look(core, varied, memory))]
    shown = progress if long and len(pieces) > 1 else False
    with progress_bar(saving.n_steps, "spikes", "step", shown, unit_scale=True) as bar:
        for kept, room, *steps in pieces:
            memory, some = _block(core, varied, memory, step, offsets, tuple(steps), room)
            if kept:
                saved.append(
                    jax.tree.map(lambda v, kept=kept: np.asarray(v)[:, :kept].copy(), some)
                )
            bar.update(kept * saving.stride if kept else int(steps[1]))
    end = _look(core, varied, memory)
    result = _result(system, core, saving, memory, saved, end, dt, duration, start, single)
    if throw and single:
        raise_unless_ok("simulate_spiking", result.status, result)
    return result


def _first_states(
    core: Network | Homogeneous, varied: dict[str, jax.Array], y0: Any, noise: float, seeds: Any
) -> jax.Array:
    """Mean-field states (run, variable, *region) from which the neurons are drawn."""
    if y0 is None:
        return jnp.asarray(initial_states(core, varied, noise, seeds), core.coupling.dtype)
    states = jnp.broadcast_to(
        jnp.asarray(y0, core.coupling.dtype), (seeds.shape[0], *core.state_shape)
    )
    _checks.finite("y0", states)
    return states


def _going_on(run: SpikingSimulation, neurons: int, recorded: int, runs: int) -> _Memory:
    """The neurons of a previous run, with an axis of runs."""
    memory = run.memory
    if not np.ndim(run.status):
        memory = jax.tree.map(lambda leaf: leaf[None], memory)
    there = (memory.potentials.shape[0], run.neurons, memory.recorded.shape[-1])
    if there != (runs, neurons, recorded):
        _checks.fail(
            "y0",
            f"have {runs} runs of {neurons} neurons, of which {recorded} are recorded",
            f"it has {there[0]}, {there[1]} and {there[2]}",
        )
    return memory


def _check_step(
    core: Network | Homogeneous,
    varied: dict[str, jax.Array],
    rate: Float[Array, "run population *region"],
    gates: Float[Array, "run population *region"],
    dt: float,
    neurons: int,
) -> None:
    """Refuse a step in which the fastest neuron could fire more than once."""
    top = jnp.asarray(quantiles(neurons)[-1], rate.dtype)
    # Runs without an equilibrium to start from have none.
    fastest = max(0.0, *np.nan_to_num(np.asarray(_fastest(core, varied, rate, gates, top))))
    if not fastest * dt < _LARGEST_HALF_ANGLE:
        _checks.fail(
            "dt",
            f"be below {_LARGEST_HALF_ANGLE / fastest:.3g} for the fastest of {neurons} neurons",
            f"it is {dt:g}",
        )


def _rows(
    model: AbstractNeuralMass,
    populations: tuple[QIFPopulation, ...],
    states: Float[Array, "run variable *region"],
    part: str,
) -> Any:
    """The populations' `rate`, `potential` or `gate`, of states (run, variable, *region)."""
    rows = [model.variables.index(getattr(population, part)) for population in populations]
    return states[:, np.array(rows)]


def _per_population(
    populations: tuple[QIFPopulation, ...], name: str, axes: int
) -> Float[Array, "population ..."]:
    """A parameter of all populations, of `axes` axes: (population, *region), ones to broadcast."""
    values = jnp.stack(jnp.broadcast_arrays(*(getattr(p, name) for p in populations)))
    return values.reshape(values.shape + (1,) * (axes - values.ndim))


def _assembled(
    model: AbstractNeuralMass, **parts: Float[Array, "population *region"]
) -> Float[Array, "variable *region"]:
    """A state of the mean field from the populations' `rate`, `potential` and `gate`."""
    rows = {}
    for k, population in enumerate(model.populations()):
        for part, values in parts.items():
            rows[getattr(population, part)] = values[k]
    zero = jnp.zeros_like(next(iter(rows.values())))
    return jnp.stack([rows.get(name, zero) for name in model.variables])


@eqx.filter_jit
def _start(
    core: Network | Homogeneous,
    varied: dict[str, jax.Array],
    states: Float[Array, "run variable *region"],
    seeds: Int[Array, "run"],
    order: Float[Array, "neuron"],
    recorded: int,
) -> _Memory:
    """Neurons whose potentials have the Lorentzian of the states, whatever their excitability.

    The probabilities of the potentials, `order`, are multiples of the golden ratio: any stretch of
    neurons, ordered by their excitability, has them all, evenly.
    """

    def one(varied: dict[str, jax.Array], state: jax.Array, seed: jax.Array) -> _Memory:
        model = with_leaves(core, varied).model
        populations = model.populations()
        rate, centre, gates = (
            state[np.array([model.variables.index(getattr(p, part)) for p in populations])]
            for part in ("rate", "potential", "gate")
        )
        width = jnp.pi * _per_population(populations, "tau", rate.ndim) * rate
        key = stream(seed, Purpose.NEURONS)
        shift = jax.random.uniform(key, (*rate.shape, 1)).astype(rate.dtype)
        spread = jnp.tan(jnp.pi * ((order + shift) % 1 - 0.5))
        none = jnp.zeros(rate.shape, jnp.int32)
        return _Memory(
            centre[..., None] + width[..., None] * spread,
            gates,
            rate,
            rate,
            none,
            jnp.zeros((*rate.shape, recorded), jnp.int32),
        )

    return jax.vmap(one)(varied, states, seeds)


@eqx.filter_jit
def _fastest(
    core: Network | Homogeneous,
    varied: dict[str, jax.Array],
    rate: Float[Array, "run population *region"],
    gates: Float[Array, "run population *region"],
    quantile: Float[Array, ""],
) -> jax.Array:
    """The largest half angle per time (run,), √κ / (2 tau), of any neuron, the last at a
    `quantile`.
    """

    def one(varied: dict[str, jax.Array], rate: jax.Array, gates: jax.Array) -> jax.Array:
        system = with_leaves(core, varied)
        populations = system.model.populations()
        state = _assembled(system.model, rate=rate, gate=gates)
        inputs = system.exact_flow(jnp.ones(())).inputs(state, jnp.zeros_like(gates[0]))
        tau, delta = (_per_population(populations, name, inputs.ndim) for name in ("tau", "delta"))
        top = inputs + delta * quantile
        return (jnp.sqrt(jnp.maximum(top, 0.0)) / (2 * tau)).max()

    return jax.vmap(one)(varied, rate, gates)


def _recorded(neurons: int, recorded: int) -> np.ndarray:
    """Which neurons are recorded: evenly spaced in probability."""
    return ((np.arange(recorded) + 0.5) * neurons / recorded).astype(int)


def _seen(system: Network | Homogeneous, memory: _Memory) -> dict[str, jax.Array]:
    centre, width = lorentzian_of(memory.potentials)
    tau = _per_population(system.model.populations(), "tau", width.ndim)
    return {
        "spikes": memory.spikes,
        "recorded": memory.recorded,
        "gates": memory.gates,
        "centre": centre,
        "width_rate": width / (jnp.pi * tau),
    }


@eqx.filter_jit
def _look(
    core: Network | Homogeneous, varied: dict[str, jax.Array], memory: _Memory
) -> dict[str, jax.Array]:
    """What is seen of runs at one time (run, 1, …)."""
    seen = jax.vmap(lambda values, m: _seen(with_leaves(core, values), m))(varied, memory)
    return jax.tree.map(lambda leaf: leaf[:, None], seen)


@eqx.filter_jit
def _block(
    core: Network | Homogeneous,
    varied: dict[str, jax.Array],
    memory: _Memory,
    dt: jax.Array,
    offsets: Float[Array, "neuron"],
    steps: tuple[Any, Any],
    room: int,
) -> tuple[_Memory, dict[str, jax.Array]]:
    """The memory at the end, and what was seen (run, time, …); `offsets` are the excitabilities.

    `steps` and `room` are those of `save_steps`.
    """
    neurons, recorded = memory.potentials.shape[-1], memory.recorded.shape[-1]
    shown = _recorded(neurons, recorded)

    def one(varied: dict[str, jax.Array], memory: _Memory) -> Any:
        system = with_leaves(core, varied)
        populations = system.model.populations()
        axes = memory.gates.ndim
        tau, delta, tau_s = (
            _per_population(populations, name, axes) for name in ("tau", "delta", "tau_s")
        )
        flow = system.exact_flow(dt)
        spread = delta[..., None] * offsets
        half = (dt / (2 * tau))[..., None]
        decay, half_decay = jnp.exp(-dt / tau_s), jnp.exp(-dt / (2 * tau_s))

        def advance(m: _Memory) -> _Memory:
            # The rate over the coming half step, and with it the gates at the step's middle.
            near = m.rate + 0.75 * (m.rate - m.before)
            middle = near + (m.gates - near) * half_decay
            state = _assembled(system.model, rate=near, gate=middle)
            kappa = flow.inputs(state, jnp.zeros_like(middle[0]))[..., None] + spread
            square = kappa * half * half
            over, under = 1 - square / 15, 1 - 0.4 * square
            cosine = under * under - square * over * over
            sine = 2 * half * over * under
            below = cosine - m.potentials * sine
            fired = below <= 0  # through infinity
            below = jnp.where(below == 0, -(jnp.finfo(dt.dtype).tiny ** 0.5), below)
            count = fired.sum(axis=-1, dtype=jnp.int32)
            rate = count / (neurons * dt)
            return _Memory(
                (m.potentials * cosine + kappa * sine) / below,
                rate + (m.gates - rate) * decay,
                rate,
                m.rate,
                m.spikes + count,
                m.recorded + fired[..., shown],
            )

        return save_steps(advance, memory, steps, room, partial(_seen, system))

    return jax.vmap(one)(varied, memory)


def _result(
    system: Network | Homogeneous,
    core: Network | Homogeneous,
    saving: Saving,
    memory: _Memory,
    saved: list[dict[str, Any]],
    end: dict[str, jax.Array],
    dt: float,
    duration: float,
    y0: Any,
    single: bool,
) -> SpikingSimulation:
    """Everything seen, as rates and with names."""
    model = core.model
    seen = {name: jnp.asarray(np.concatenate([s[name] for s in saved], axis=1))
            for name in saved[0]}  # fmt: skip
    every = saving.stride * dt
    neurons = memory.potentials.shape[-1]
    counts, shown = (jnp.diff(seen[name], axis=1) for name in ("spikes", "recorded"))
    widths = seen["width_rate"]
    # Before the first interval nothing has been counted: there the rate is that of the width.
    rates = jnp.concatenate([widths[:, :1], counts / (neurons * every)], axis=1)
    assembled = jax.vmap(jax.vmap(lambda r, v, s: _assembled(model, rate=r, potential=v, gate=s)))
    states = assembled(rates, seen["centre"], seen["gates"])
    last = assembled(end["width_rate"], end["centre"], end["gates"])[:, 0]
    silent = jnp.zeros_like(shown[:, :1])
    spikes = jnp.concatenate([silent, shown], axis=1)
    finite = settled(states).all(axis=tuple(range(1, states.ndim)))
    finite &= jnp.isfinite(memory.potentials).all(axis=tuple(range(1, memory.potentials.ndim)))
    status = jnp.where(finite, Status.OK, Status.NOT_FINITE)
    if y0 is None:
        gates = seen["gates"][:, 0]  # NaN where there was no equilibrium to start from
        lost = jnp.isnan(gates).any(axis=tuple(range(1, gates.ndim)))
        status = jnp.where(lost, Status.NONE_FOUND, status)
    t0 = float(y0.activity.t1) if isinstance(y0, SpikingSimulation) else 0.0
    saving = dataclasses.replace(saving, ts=tuple(t + t0 for t in saving.ts))
    if single:
        states, last, status, widths, spikes = (
            leaf[0] for leaf in (states, last, status, widths, spikes)
        )
        memory = jax.tree.map(lambda leaf: leaf[0], memory)
    stats = {"num_steps": jnp.asarray(saving.n_steps)}
    activity = package(model, system, saving, last, states, status, stats, t0 + duration)
    offsets = jnp.asarray(quantiles(neurons)[_recorded(neurons, spikes.shape[-1])])
    populations = model.populations()
    names, variables = tuple(p.name for p in populations), tuple(p.rate for p in populations)
    return SpikingSimulation(activity, widths, spikes, offsets, memory, neurons, names, variables)
