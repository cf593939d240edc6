"""What a run of spiking neurons leaves behind."""

import dataclasses
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ngnmm_jax._core.results import AbstractResult, nth
from ngnmm_jax._core.status import Status
from ngnmm_jax.integrators.loops import settled
from ngnmm_jax.models.base import AbstractNeuralMass
from ngnmm_jax.simulation.history import History
from ngnmm_jax.simulation.result import Outcome, Simulation, package
from ngnmm_jax.simulation.saving import Saving
from ngnmm_jax.simulation.spiking.lorentzian import quantiles
from ngnmm_jax.simulation.spiking.neurons import (
    LARGEST_HALF_ANGLE,
    Neurons,
    Seen,
    which_recorded,
)
from ngnmm_jax.simulation.spiking.populations import rows
from ngnmm_jax.simulation.spiking.private import PrivateNoise
from ngnmm_jax.systems.driven import Driven
from ngnmm_jax.systems.homogeneous import Homogeneous
from ngnmm_jax.systems.network import Network


class SpikingSimulation(AbstractResult):
    """What a run of spiking neurons left behind.

    - `activity`: the populations' quantities, named as in the mean field, so that every figure
      and analysis of a `Simulation` takes them. Rates are spikes per neuron over the interval
      that ends at each saved time; potentials are the centres of the Lorentzians; all other
      variables are their own. `activity.final_state` is the mean field's state at the end.
    - `width_rates` (time, population, region): the rate at each saved time from the half width
      of the potentials' Lorentzian, π tau r: a second estimate, without counting spikes.
    - `spikes` (time, population, region, recorded): spikes of the recorded neurons in the
      interval that ends at each saved time; they are ordered by their excitability.
    - `offsets` (recorded,): excitabilities of these, relative to the centre, in half widths.
    - `memory`: the neurons at the end; `simulate_spiking(…, start=run)` goes on from there.
    - `neurons`: how many in each population; `populations`: their names; `rates`: the variables
      of `activity` that hold their rates; `notes`: where their model says that neurons of their
      own would differ from the mean field however many they are; `private`: noise that each neuron
      had of its own, and what the mean field then is.
    - `status`, `stats`: those of `activity`.

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
    notes: tuple[str, ...] = eqx.field(static=True, default=())
    private: tuple[str, ...] = eqx.field(static=True, default=())

    @property
    def drawn_by(self) -> str:
        """`plot.spikes`."""
        return "spikes"

    @property
    def status(self) -> Int[Array, "*run"]:
        """How it ended (`Status`)."""
        return self.activity.status

    @property
    def stats(self) -> dict[str, Any]:
        """Numbers of steps."""
        return self.activity.stats

    def summary(self) -> dict[str, Any]:
        """How long, how many, and what they did."""
        return {
            "ts": self.activity.ts,
            "neurons": f"{self.neurons} in each of {', '.join(self.populations)}",
            "width_rates": self.width_rates,
            "spikes": self.spikes,
            **({"private noise": "; ".join(self.private)} if self.private else {}),
            **({"approximate": "; ".join(self.notes)} if self.notes else {}),
        }

    def run(self, number: int) -> "SpikingSimulation":
        """One run of a batch."""
        activity = self.activity.run(number)
        several = self.width_rates, self.spikes, self.memory
        widths, spikes, memory = nth(several, number)
        return dataclasses.replace(
            self, activity=activity, width_rates=widths, spikes=spikes, memory=memory
        )


class Ended(NamedTuple):
    """A batch at its end.

    - `neurons`; `below` (run,): how often noise took variables below zero, or None; `history`.
    """

    neurons: Neurons
    below: Any
    history: History | None


def packaged(
    system: Network | Homogeneous | Driven,
    ended: Ended,
    seen: tuple[Seen, Seen],
    saving: Saving,
    every: float,
    span: tuple[float, float],
    started: bool,
    private: PrivateNoise,
) -> SpikingSimulation:
    """The result of a batch.

    `seen`: at each saved time (run, time, …), and at the end, (run, 1, …); `every`: time between
    saves; `span`: from when to when; `started`: whether from rest or a state, not from a run.
    """
    neurons = ended.neurons
    model, count = system.model, neurons.potentials.shape[-1]
    whole, end = jax.tree.map(np.asarray, seen)
    spikes, recorded = (np.diff(counts, axis=1) for counts in (whole.spikes, whole.recorded))
    # Before the first interval nothing has been counted: there the rate is that of the width.
    rates = np.concatenate([whole.width_rate[:, :1], spikes / (count * every)], axis=1)
    states = _states(model, rates, whole)
    saving = dataclasses.replace(saving, ts=tuple(t + span[0] for t in saving.ts))
    last = _states(model, end.width_rate, end)[:, 0]
    status = _status(states, _well(neurons), started)
    stats: dict[str, Any] = {"num_steps": np.asarray(saving.n_steps)}
    if ended.below is not None:
        stats["below_zero"] = ended.below
    populations = model.populations()
    spikes = np.concatenate([np.zeros_like(recorded[:, :1]), recorded], axis=1)
    offsets = quantiles(count)[which_recorded(count, recorded.shape[-1])]
    # Put there as they are: nothing is compiled for their shapes.
    last, states, status, stats, widths, spikes, offsets = jax.device_put(
        (last, states, status, stats, whole.width_rate, spikes, offsets)
    )
    outcome = Outcome(last, states, status, stats, ended.history)
    return SpikingSimulation(
        activity=package(model, system, saving, outcome, span[1]),
        width_rates=widths,
        spikes=spikes,
        offsets=offsets,
        memory=neurons,
        neurons=count,
        populations=tuple(p.name for p in populations),
        rates=tuple(p.rate for p in populations),
        notes=(*dict.fromkeys(p.note for p in populations if p.note), *private.notes()),
        private=private.texts(),
    )


def _states(model: AbstractNeuralMass, rates: np.ndarray, seen: Seen) -> np.ndarray:
    """States of the mean field (run, time, variable, *region)."""
    states = np.array(seen.state)
    states[:, :, rows(model, "rate")] = rates
    states[:, :, rows(model, "potential")] = seen.centre
    return states


@jax.jit
def _well(neurons: Neurons) -> tuple[Bool[Array, "run"], Bool[Array, "run"]]:
    """Whether no step was too long for any neuron, and whether all potentials are finite."""

    def everywhere(well: jax.Array) -> jax.Array:
        return well.all(axis=tuple(range(1, well.ndim)))

    slow = ~(neurons.angle > LARGEST_HALF_ANGLE**2)
    return everywhere(slow), everywhere(jnp.isfinite(neurons.potentials))


def _status(states: np.ndarray, well: tuple[jax.Array, jax.Array], started: bool) -> np.ndarray:
    """How each run ended; `started` from rest: NONE_FOUND where there was no equilibrium."""
    slow, there = map(np.asarray, well)
    finite = there & settled(states).all(axis=tuple(range(1, states.ndim)))
    status = np.where(slow, Status.OK, Status.STEP_TOO_LARGE)
    status = np.where(finite, status, Status.NOT_FINITE)
    begun = ~np.isnan(states[:, 0]).any(axis=tuple(range(1, states.ndim - 1)))
    return np.where(begun, status, Status.NONE_FOUND) if started else status
