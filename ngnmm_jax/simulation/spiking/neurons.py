"""The neurons: where they are, a step of their exact flow through infinity, what is seen of them.

Under a constant input κ, V = √κ tan(φ) with φ' = √κ / tau: over a step V goes through a Möbius map,
and a neuron has fired if it came through infinity. For κ < 0 the tangent is a hyperbolic one; both
are functions of κ, which has no square root in what follows.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ngnmm_jax.simulation.spiking.lorentzian import lorentzian_of
from ngnmm_jax.simulation.spiking.populations import assembled, parameter
from ngnmm_jax.systems.homogeneous import Homogeneous
from ngnmm_jax.systems.network import Network

#: tan x is taken as x (15 - x²) / (15 - 6 x²), whose pole is at 1.58; a step of half angle x
#: holds at most one spike while x < π / 2.
LARGEST_HALF_ANGLE = 1.5


class Neurons(eqx.Module):
    """Where the neurons of a run are; with an axis of runs before all others, those of a batch.

    - `potentials` (population, *region, neuron), in the order of their excitabilities.
    - `gates` (population, *region): of the synapses that they drive.
    - `rate`, `before` (population, *region): spikes per neuron over the last step, and the one
      before it, per time.
    - `spikes` (population, *region): of all neurons, since the counts began; `recorded`
      (population, *region, recorded): of those that are recorded.
    """

    potentials: Float[Array, "population *region neuron"]
    gates: Float[Array, "population *region"]
    rate: Float[Array, "population *region"]
    before: Float[Array, "population *region"]
    spikes: Int[Array, "population *region"]
    recorded: Int[Array, "population *region recorded"]


class Seen(eqx.Module):
    """What is kept of neurons at a time, (*run, *time, population, *region); counts go on."""

    spikes: Int[Array, "..."]
    recorded: Int[Array, "..."]
    gates: Float[Array, "..."]
    centre: Float[Array, "..."]
    width_rate: Float[Array, "..."]


def which_recorded(neurons: int, recorded: int) -> np.ndarray:
    """The neurons (recorded,) that are recorded: evenly spaced in probability."""
    return ((np.arange(recorded) + 0.5) * neurons / recorded).astype(int)


def seen(system: Network | Homogeneous, neurons: Neurons) -> Seen:
    """Counts of spikes, gates, and the potentials' Lorentzian."""
    centre, width = lorentzian_of(neurons.potentials)
    rate = width / (jnp.pi * parameter(system, "tau"))
    return Seen(neurons.spikes, neurons.recorded, neurons.gates, centre, rate)


def stepper(
    system: Network | Homogeneous, dt: Float[Array, ""], offsets: Float[Array, "neuron"]
) -> Callable[[Neurons], Neurons]:
    """The function that takes neurons through a step; `offsets`: excitabilities, in half widths.

    Each follows its own flow under the input at the step's middle, where the gates are from rates
    that are extrapolated linearly from those over the last two steps.
    """
    tau, delta, tau_s = (parameter(system, name) for name in ("tau", "delta", "tau_s"))
    spread = delta[..., None] * offsets
    half = (dt / (2 * tau))[..., None]
    decay, half_decay = jnp.exp(-dt / tau_s), jnp.exp(-dt / (2 * tau_s))

    def advance(now: Neurons) -> Neurons:
        # The rate over the coming half step, and with it the gates at the step's middle.
        near = now.rate + 0.75 * (now.rate - now.before)
        middle = near + (now.gates - near) * half_decay
        state = assembled(system.model, rate=near, gate=middle)
        kappa = system.population_inputs(state)[..., None] + spread
        potentials, fired = through_infinity(now.potentials, kappa, half)
        count = fired.sum(axis=-1, dtype=jnp.int32)
        rate = count / (offsets.size * dt)
        shown = which_recorded(offsets.size, now.recorded.shape[-1])
        return Neurons(
            potentials=potentials,
            gates=rate + (now.gates - rate) * decay,
            rate=rate,
            before=now.rate,
            spikes=now.spikes + count,
            recorded=now.recorded + fired[..., shown],
        )

    return advance


def through_infinity(
    potentials: Float[Array, "*axes"], kappa: Float[Array, "*axes"], half: Float[Array, "..."]
) -> tuple[Float[Array, "*axes"], Bool[Array, "*axes"]]:
    """Potentials after a step of constant input `kappa`, and which neurons fired in it.

    `half` is dt / (2 tau). With x = √κ half, V goes to (V cos 2x + √κ sin 2x) / (cos 2x - V sin 2x
    / √κ), whose denominator falls through zero where V goes through infinity. Cosine and sine come
    from the tangent of x, to a common factor: see `LARGEST_HALF_ANGLE`.
    """
    square = kappa * half * half
    over, under = 1 - square / 15, 1 - 0.4 * square
    cosine = under * under - square * over * over
    sine = 2 * half * over * under
    below = cosine - potentials * sine
    fired = below <= 0
    # As late as can be, but not at infinity itself.
    below = jnp.where(below == 0, -(jnp.finfo(below.dtype).tiny ** 0.5), below)
    return (potentials * cosine + kappa * sine) / below, fired


def largest_half_angle(
    system: Network | Homogeneous,
    rate: Float[Array, "population *region"],
    gates: Float[Array, "population *region"],
    last: Float[Array, ""],
) -> jax.Array:
    """The largest √κ / (2 tau), half angle per time, of any neuron; the `last` excitability."""
    state = assembled(system.model, rate=rate, gate=gates)
    top = system.population_inputs(state) + parameter(system, "delta") * last
    return (jnp.sqrt(jnp.maximum(top, 0.0)) / (2 * parameter(system, "tau"))).max()
