"""Where neurons begin: near rest, at states of the mean field, or at the end of another run."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.randomness import Purpose, first_step, stream
from ngnmm_jax._core.starting import first_states
from ngnmm_jax.simulation.spiking.lorentzian import quantiles
from ngnmm_jax.simulation.spiking.neurons import LARGEST_HALF_ANGLE, Neurons, half_angle
from ngnmm_jax.simulation.spiking.populations import Runs, felt, parameter, rows, taken
from ngnmm_jax.simulation.spiking.result import SpikingSimulation
from ngnmm_jax.simulation.start import initial_states
from ngnmm_jax.systems.driven import undriven

_GOLDEN = (math.sqrt(5) - 1) / 2


def begun(
    runs: Runs,
    start: Any,
    scatter: float,
    seeds: Int[Array, "run"],
    sizes: tuple[int, int],
    dt: float,
) -> Neurons:
    """Neurons at states (variable, *region) of the mean field, or (run, …), or near rest (None); or
    those of another run, at its end.

    `sizes`: how many neurons in a population, and how many of them are recorded.
    """
    if isinstance(start, SpikingSimulation):
        return _gone_on(runs, start, seeds.shape[0], sizes, dt)
    core, dtype = runs.system, runs.system.coupling.dtype
    if start is None:
        states = as_array(initial_states(core, runs.varied, scatter, seeds), dtype)
    else:
        states = first_states(start, seeds.shape[0], core, dtype)
    check_step(runs, states, dt, sizes[0])  # before anything large is compiled
    order = as_array(np.arange(sizes[0]) * _GOLDEN % 1, dtype)
    return _drawn(runs, states, seeds, order, sizes[1])


def _gone_on(
    runs: Runs, run: SpikingSimulation, count: int, sizes: tuple[int, int], dt: float
) -> Neurons:
    """The neurons at the end of a previous run, with an axis of runs."""
    found = run.memory
    if not np.ndim(run.status):
        found = jax.tree.map(lambda leaf: leaf[None], found)
    there = (found.potentials.shape[0], run.neurons, found.recorded.shape[-1])
    if there != (count, *sizes):
        _checks.fail(
            "start",
            f"have {count} runs of {sizes[0]} neurons, of which {sizes[1]} are recorded",
            f"it has {there[0]}, {there[1]} and {there[2]}",
        )
    check_step(runs, found.state, dt, sizes[0])
    first = jnp.full(count, first_step(float(run.activity.t1), dt))
    new = jnp.zeros_like(found.angle), first
    return eqx.tree_at(lambda n: (n.angle, n.number), found, new)


def check_step(
    runs: Runs, states: Float[Array, "run variable *region"], dt: float, neurons: int
) -> None:
    """Refuse a step in which the fastest neuron could fire more than once, at the beginning."""
    last = as_array(quantiles(neurons)[-1], states.dtype)
    # Runs without an equilibrium to start from have none.
    fastest = max(0.0, *np.nan_to_num(np.asarray(_fastest(runs, states, last))))
    if not fastest * dt < LARGEST_HALF_ANGLE:
        _checks.fail(
            "dt",
            f"be below {LARGEST_HALF_ANGLE / fastest:.3g} for the fastest of {neurons} neurons",
            f"it is {dt:g}",
        )


@eqx.filter_jit
def _fastest(runs: Runs, states: jax.Array, last: jax.Array) -> jax.Array:
    """The largest half angle of any neuron, per time, (run,)."""

    def one(system: Any, state: jax.Array) -> jax.Array:
        network: Any = undriven(system)
        network = network if getattr(network, "delays", None) is None else network.undelayed()
        half = 1 / (2 * parameter(network.model, "tau", state.ndim - 1))
        slope, current, width = felt(network, state, None)
        return jnp.sqrt(half_angle(current - slope * slope / 4, width, last, half).max())

    return runs.each(one, states)


@eqx.filter_jit
def _drawn(
    runs: Runs,
    states: Float[Array, "run variable *region"],
    seeds: Int[Array, "run"],
    order: Float[Array, "neuron"],
    recorded: int,
) -> Neurons:
    """Neurons whose potentials have the Lorentzian of the states, whatever their excitability.

    The probabilities of the potentials, `order`, are multiples of the golden ratio: any stretch of
    neurons, ordered by their excitability, has them all, evenly.
    """

    def one(system: Any, state: jax.Array, seed: jax.Array) -> Neurons:
        rate, centre = (taken(state, rows(system.model, part)) for part in ("rate", "potential"))
        width = jnp.pi * parameter(system.model, "tau", state.ndim - 1) * rate
        key = stream(seed, Purpose.NEURONS)
        shift = jax.random.uniform(key, (*rate.shape, 1)).astype(rate.dtype)
        spread = jnp.tan(jnp.pi * ((order + shift) % 1 - 0.5))
        none = jnp.zeros((*rate.shape, recorded), jnp.int32)
        potentials = centre[..., None] + width[..., None] * spread
        spikes, angle, number = none[..., 0], jnp.zeros_like(rate), jnp.asarray(0)
        return Neurons(potentials, state, state, spikes, none, angle, number)

    return runs.each(one, states, seeds)
