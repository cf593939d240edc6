"""The neurons: where they are, a step of their exact flow through infinity, what is seen of them.

Under a constant input, tau V' = V² + b V + κ, U = V + b / 2 goes through a Möbius map over a step:
with κ' = κ - b² / 4, U = √κ' tan(φ) with φ' = √κ' / tau. A neuron has fired if it came through
infinity. For κ' < 0 the tangent is a hyperbolic one; both are functions of κ', which has no square
root in what follows.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ngnmm_jax._core.arrays import as_array
from ngnmm_jax.integrators import RK4, AbstractFixedStep, Heun, Stepper
from ngnmm_jax.models.base import AbstractNeuralMass
from ngnmm_jax.simulation.spiking.lorentzian import lorentzian_of
from ngnmm_jax.simulation.spiking.populations import (
    Felt,
    Form,
    felt,
    laid_out,
    parameter,
    rows,
    taken,
)

#: tan x is taken as x (15 - x²) / (15 - 6 x²), whose pole is at 1.58; a step of half angle x
#: holds at most one spike while x < π / 2.
LARGEST_HALF_ANGLE = 1.5

# What takes the variables that are not the neurons' own to the middle of a step, and over it.
MIDDLE, WHOLE = Heun(), RK4()


class Neurons(eqx.Module):
    """Where the neurons of a run are; with an axis of runs before all others, those of a batch.

    - `potentials` (population, *region, neuron), in the order of their excitabilities.
    - `state` (variable, *region), as the mean field has it: rates are spikes per neuron over the
      last step, per time; potentials the centres of the Lorentzians where anything depends on
      them, and zero elsewhere; all else follows the model's equations.
    - `before` (variable, *region): the same a step earlier, of rates and potentials.
    - `spikes` (population, *region): of all neurons, since the counts began; `recorded`
      (population, *region, recorded): of those that are recorded.
    - `angle` (population, *region): the largest half angle of a step so far, squared.
    - `number` of the next step, counted from time zero.
    """

    potentials: Float[Array, "population *region neuron"]
    state: Float[Array, "variable *region"]
    before: Float[Array, "variable *region"]
    spikes: Int[Array, "population *region"]
    recorded: Int[Array, "population *region recorded"]
    angle: Float[Array, "population *region"]
    number: Int[Array, ""]


class Seen(eqx.Module):
    """What is kept of neurons at a time, (*run, *time, population, *region); counts go on.

    `state` (*run, *time, variable, *region) has all but rates and potentials.
    """

    spikes: Int[Array, "..."]
    recorded: Int[Array, "..."]
    state: Float[Array, "..."]
    centre: Float[Array, "..."]
    width_rate: Float[Array, "..."]


def which_recorded(neurons: int, recorded: int) -> np.ndarray:
    """The neurons (recorded,) that are recorded: evenly spaced in probability."""
    return ((np.arange(recorded) + 0.5) * neurons / recorded).astype(int)


def seen(model: AbstractNeuralMass, neurons: Neurons) -> Seen:
    """Counts of spikes, the other variables, and the potentials' Lorentzian."""
    centre, width = lorentzian_of(neurons.potentials)
    rate = width / (jnp.pi * parameter(model, "tau", centre.ndim - 1))
    return Seen(neurons.spikes, neurons.recorded, neurons.state, centre, rate)


def neurons_in(memory: Any) -> Neurons:
    """Those in the memory of a stepper, whatever is around them."""

    def found(leaf: Any) -> bool:
        return isinstance(leaf, Neurons)

    return next(filter(found, jax.tree.leaves(memory, is_leaf=found)))


class Spiking(AbstractFixedStep):
    """Steps of neurons, in place of those of their mean field.

    Each neuron follows its own flow under the input at the step's middle, where rates and centres
    are those of the last two steps in a straight line, and the model's other variables are half a
    step further by its own equations. Then these are advanced over the whole step with the spikes
    that were counted.

    - `offsets` (neuron,): excitabilities, in half widths.
    - `begun`: the neurons at the beginning.
    - `form`: what of the neurons' equations has to be followed.
    - `kicks`: of a step's number, by how much noise of each neuron's own moves its potential in
      the step (population, *region, neuron); None where there is none.
    """

    offsets: Float[Array, "neuron"]
    begun: Neurons
    form: Form = eqx.field(static=True)
    kicks: Callable[[Any], Any] | None

    def stepper(self, system: Any, dt: jax.Array) -> Stepper:
        """At work on a system with a `model`, what its regions have `received`, and both together:
        a `vector_field(state, stimulus)`.
        """
        advance = _Step(self, system, dt)

        def kick(neurons: Neurons, change: jax.Array) -> Neurons:
            """Potentials move by what their centres do; rates are counted, and do not."""
            all_alike = taken(change, advance.at_potential)[..., None]
            change = advance.others * change
            return eqx.tree_at(
                lambda n: (n.potentials, n.state),
                neurons,
                (neurons.potentials + all_alike, neurons.state + change),
            )

        return Stepper(lambda state: self.begun, advance, lambda neurons: neurons.state, kick)


class _Others(NamedTuple):
    """A system of which only the variables that are not neurons' own move."""

    system: Any
    which: Any

    def vector_field(self, state: jax.Array, stimulus: Any = None) -> jax.Array:
        return self.which * self.system.vector_field(state, stimulus)


class _Step:
    """A step of neurons.

    - `half`: dt / (2 tau), `spread` (population, *region, neuron): offsets times `scale`.
    - `rate`, `potential`, `others` (variable, …): one for such variables, and zero elsewhere.
    """

    def __init__(self, spiking: Spiking, system: Any, dt: jax.Array) -> None:
        model, like = system.model, spiking.begun.state
        self.offsets, self.form, self.kicks = spiking.offsets, spiking.form, spiking.kicks
        self.system, self.dt = system, dt
        self.at_potential = rows(model, "potential")
        self.half = (dt / (2 * parameter(model, "tau", like.ndim - 1)))[..., None]
        # An array of all neurons: offsets that are broadcast would make their loop a slow one.
        delta = parameter(model, "delta", like.ndim - 1)
        # Where the width is read off at each step, what it is relative to.
        self.scale = jnp.where(delta > 0, delta, 1.0) if self.form.widened else delta
        self.spread = self.scale[..., None] * self.offsets
        number = np.arange(len(model.variables))
        own = [np.isin(number, rows(model, part)) for part in ("rate", "potential")]
        rate, potential, others = (
            which.reshape(-1, *(1,) * (like.ndim - 1)).astype(like.dtype)
            for which in (*own, ~(own[0] | own[1]))
        )
        self.all_own = not others.any()
        self.rate, self.potential, self.others = map(as_array, (rate, potential, others))

    def __call__(self, now: Neurons, stimulus: Any, rise: Any = None) -> Neurons:
        """The neurons a step later, with what is added meanwhile to the inputs, and its rise."""
        middle = self.middle(now, stimulus, rise)
        read = felt(self.system, middle, stimulus)
        potentials, fired, angle = self.moved(now, read)
        count = fired.sum(axis=-1, dtype=jnp.int32)
        model = self.system.model
        after = laid_out(model, count / (self.offsets.size * self.dt), "rate")
        if self.form.centred:
            after = after + laid_out(model, lorentzian_of(potentials)[0], "potential")
        shown = which_recorded(self.offsets.size, now.recorded.shape[-1])
        return Neurons(
            potentials=potentials,
            state=self.over_step(now.state, after, stimulus, rise),
            before=now.state,
            spikes=now.spikes + count,
            recorded=now.recorded + fired[..., shown],
            angle=jnp.maximum(now.angle, angle),
            number=now.number + 1,
        )

    def soon(self, now: Neurons, part: float) -> jax.Array:
        """A state with the rates and centres of so many steps from now, in a straight line.

        Those of rates are in the middle of the last step.
        """
        move = self.rate * (part + 0.5) + self.potential * part
        return now.state + move * (now.state - now.before)

    def middle(self, now: Neurons, stimulus: Any, rise: Any) -> jax.Array:
        """The state in the middle of the step."""
        at = self.soon(now, 0.5)
        if self.all_own:
            return at
        early = _plus(stimulus, rise, -0.25)
        half = None if rise is None else jax.tree.map(lambda r: r / 2, rise)
        moved = self.others_moved(MIDDLE, self.soon(now, 0.25), early, half, self.dt / 2)
        return self.others * moved + (1 - self.others) * at

    def over_step(self, before: jax.Array, after: jax.Array, stimulus: Any, rise: Any) -> jax.Array:
        """The state at the end, whose rates and centres are those of `after`."""
        if self.all_own:
            return after
        # Of rates the mean over the step, of centres too.
        mean = after + self.potential * (before - after) / 2 + self.others * before
        moved = self.others_moved(WHOLE, mean, stimulus, rise, self.dt)
        return self.others * moved + after

    def others_moved(
        self, method: Any, state: jax.Array, stimulus: Any, rise: Any, dt: jax.Array
    ) -> jax.Array:
        """The state after a time in which the rates and centres are as they stand in it."""
        stepper = method.stepper(_Others(self.system, self.others), dt)
        moved: jax.Array = stepper.advance(state, stimulus, rise)
        return moved

    def moved(self, now: Neurons, read: Felt) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Potentials after the step, how often each fired, and the largest half angle, squared."""
        at, kappa, spread = now.potentials, read.current, self.spread
        shift = read.slope[..., None] / 2
        if self.form.sloped:
            at, kappa = at + shift, kappa - shift[..., 0] * shift[..., 0]
        if self.form.widened:
            spread = (read.width / self.scale)[..., None] * spread
        each = kappa[..., None] + spread
        if self.kicks is None:
            at, fired = through_infinity(at, each, self.half)
        else:  # in the middle of the step: of order two
            at, fired = through_infinity(at, each, self.half / 2)
            at, again = through_infinity(at + self.kicks(now.number), each, self.half / 2)
            fired = fired.astype(jnp.int32) + again
        at = at - shift if self.form.sloped else at
        return at, fired, half_angle(kappa, read.width, self.offsets[-1], self.half[..., 0])


def _plus(stimulus: Any, rise: Any, part: float) -> Any:
    """What a stimulus is so many steps from the middle of one."""
    if rise is None:
        return stimulus
    return jax.tree.map(lambda mean, slope: mean + part * slope, stimulus, rise)


def half_angle(kappa: Any, width: Any, last: Any, half: Any) -> jax.Array:
    """The largest half angle of a step, squared, real or imaginary; `last`: the last offset."""
    largest: jax.Array = (jnp.abs(kappa) + jnp.abs(width) * last) * half * half
    return largest


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
