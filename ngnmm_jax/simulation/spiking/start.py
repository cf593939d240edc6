"""Where neurons begin: near rest, at states of the mean field, or at the end of another run."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.randomness import Purpose, stream
from ngnmm_jax._core.starting import first_states
from ngnmm_jax.simulation.spiking.lorentzian import quantiles
from ngnmm_jax.simulation.spiking.neurons import LARGEST_HALF_ANGLE, Neurons, largest_half_angle
from ngnmm_jax.simulation.spiking.populations import Runs, parameter, rows
from ngnmm_jax.simulation.spiking.result import SpikingSimulation
from ngnmm_jax.simulation.start import initial_states
from ngnmm_jax.systems.homogeneous import Homogeneous
from ngnmm_jax.systems.network import Network

_GOLDEN = (math.sqrt(5) - 1) / 2


def begun(
    runs: Runs,
    start: Any,
    scatter: float,
    seeds: Int[Array, "run"],
    sizes: tuple[int, int],
    dt: float,
) -> Neurons:
    """Neurons at states (variable, *region) of the mean field, or (run, …), or near rest (None).

    `sizes`: how many neurons in a population, and how many of them are recorded.
    """
    core, dtype = runs.system, runs.system.coupling.dtype
    if start is None:
        states = jnp.asarray(initial_states(core, runs.varied, scatter, seeds), dtype)
    else:
        states = first_states(start, seeds.shape[0], core.state_shape, dtype)
    rate, gates = (states[:, rows(core.model, part)] for part in ("rate", "gate"))
    check_step(runs, rate, gates, dt, sizes[0])  # before anything large is compiled
    order = jnp.asarray(np.arange(sizes[0]) * _GOLDEN % 1, dtype)
    return _drawn(runs, states, seeds, order, sizes[1])


def gone_on(
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
    check_step(runs, found.rate, found.gates, dt, sizes[0])
    return found


def check_step(
    runs: Runs,
    rate: Float[Array, "run population *region"],
    gates: Float[Array, "run population *region"],
    dt: float,
    neurons: int,
) -> None:
    """Refuse a step in which the fastest neuron could fire more than once."""
    last = jnp.asarray(quantiles(neurons)[-1], rate.dtype)
    # Runs without an equilibrium to start from have none.
    fastest = max(0.0, *np.nan_to_num(np.asarray(_fastest(runs, rate, gates, last))))
    if not fastest * dt < LARGEST_HALF_ANGLE:
        _checks.fail(
            "dt",
            f"be below {LARGEST_HALF_ANGLE / fastest:.3g} for the fastest of {neurons} neurons",
            f"it is {dt:g}",
        )


@eqx.filter_jit
def _fastest(runs: Runs, rate: jax.Array, gates: jax.Array, last: jax.Array) -> jax.Array:
    return runs.each(lambda system, r, s: largest_half_angle(system, r, s, last), rate, gates)


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

    def one(system: Network | Homogeneous, state: jax.Array, seed: jax.Array) -> Neurons:
        rate, centre, gates = (
            state[rows(system.model, part)] for part in ("rate", "potential", "gate")
        )
        width = jnp.pi * parameter(system, "tau") * rate
        key = stream(seed, Purpose.NEURONS)
        shift = jax.random.uniform(key, (*rate.shape, 1)).astype(rate.dtype)
        spread = jnp.tan(jnp.pi * ((order + shift) % 1 - 0.5))
        none = jnp.zeros((*rate.shape, recorded), jnp.int32)
        potentials = centre[..., None] + width[..., None] * spread
        return Neurons(potentials, gates, rate, rate, none[..., 0], none)

    return runs.each(one, states, seeds)
