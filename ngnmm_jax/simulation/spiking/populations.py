"""A model's populations as arrays, with an axis `population`; what drives them; many runs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import with_leaves
from ngnmm_jax.models.base import AbstractNeuralMass
from ngnmm_jax.models.comparisons import random_state
from ngnmm_jax.systems.driven import Driven, undriven
from ngnmm_jax.systems.homogeneous import Homogeneous
from ngnmm_jax.systems.network import Network
from ngnmm_jax.systems.noises import AbstractNoise


class Runs(eqx.Module):
    """The systems of a batch: one, of which the parameters `varied` (run, …) differ by run."""

    system: Network | Homogeneous | Driven
    varied: dict[str, Float[Array, "run ..."]]

    def each(self, function: Callable[..., Any], *lanes: Any) -> Any:
        """`function(system, *lane)` of each run, over the leading axis of all lanes."""
        return jax.vmap(lambda v, *lane: function(with_leaves(self.system, v), *lane))(
            self.varied, *lanes
        )


def parameter(model: AbstractNeuralMass, name: str, regions: int) -> Float[Array, "population ..."]:
    """A parameter of all populations: (population, *region), with ones to broadcast.

    `regions`: how many axes those of the regions are.
    """
    values = jnp.stack(jnp.broadcast_arrays(*(getattr(p, name) for p in model.populations())))
    return values.reshape(values.shape + (1,) * (1 + regions - values.ndim))


def rows(model: AbstractNeuralMass, part: str) -> list[int]:
    """Where a state of the mean field has its populations' `rate` or `potential`."""
    return [model.variables.index(getattr(p, part)) for p in model.populations()]


def taken(state: Float[Array, "variable ..."], at: list[int]) -> Float[Array, "population ..."]:
    """Some rows of a state; by slices, which are faster than a gather."""
    return jnp.stack([state[k] for k in at])


def laid_out(
    model: AbstractNeuralMass, values: Float[Array, "population ..."], part: str
) -> Float[Array, "variable ..."]:
    """A state that has the populations' `rate` or `potential`, and is zero elsewhere."""
    at = {row: k for k, row in enumerate(rows(model, part))}
    zero = jnp.zeros_like(values[0])
    return jnp.stack([values[at[k]] if k in at else zero for k in range(len(model.variables))])


class Felt(NamedTuple):
    """What neurons obey: tau V' = V² + slope V + current + width x, x their offset.

    Each (population, *region).
    """

    slope: Float[Array, "population *region"]
    current: Float[Array, "population *region"]
    width: Float[Array, "population *region"]


def felt(system: Any, state: Float[Array, "variable *region"], stimulus: Any) -> Felt:
    """What the neurons of each population obey at a state of the mean field.

    The mean field of neurons with a slope b, a current c and a half width Δ is

        tau r' = Δ / (π tau) + (2 v + b) r,    tau v' = v² + b v - (π tau r)² + c

    from which b, c and Δ are read off the model's equations. The first is a straight line in r, so
    that a derivative gives 2 v + b, also where r is zero.

    `system`: anything with a `model`, and what its regions have `received` (state, stimulus).
    """
    model = system.model
    tau, at_rate, at_potential = (
        parameter(model, "tau", state.ndim - 1), rows(model, "rate"), rows(model, "potential")
    )  # fmt: skip
    drive = system.received(state, stimulus)
    r, v = taken(state, at_rate), taken(state, at_potential)
    along = laid_out(model, jnp.ones_like(r), "rate")
    slopes, change = jax.jvp(lambda y: model.vector_field(y, drive), (state,), (along,))
    by_rate = tau * taken(change, at_rate)
    slope = by_rate - 2 * v
    x = jnp.pi * tau * r
    current = tau * taken(slopes, at_potential) - v * (v + slope) + x * x
    width = jnp.pi * tau * (tau * taken(slopes, at_rate) - by_rate * r)
    return Felt(slope, current, width)


class Form(NamedTuple):
    """What of the neurons' equations has to be followed in a run.

    - `centred`: anything but the potentials follows from where their centres are, as with gap
      junctions, outputs of potentials, and noise times a function of them.
    - `sloped`: there are slopes, as with conductances and gap junctions.
    - `widened`: the Lorentzian of what neurons receive is not always that of their excitabilities.
    """

    centred: bool
    sloped: bool
    widened: bool


def form_of(runs: Runs) -> Form:
    """What has to be followed, tried at states about the model's box, in 64 bits."""
    model = runs.system.model
    regions = runs.system.state_shape[1:]
    states = np.stack([random_state(model, regions, seed) for seed in range(_TRIED)])
    moved = np.random.default_rng(0).uniform(0.5, 1.5, states.shape[1:])
    with jax.enable_x64(True):
        runs = jax.tree.map(_wide, runs)
        gaps = np.asarray(_tried(runs, as_array(states, float), as_array(moved)))
    return Form(*map(bool, ~(gaps < _ROUNDING)))


def noises_by_rates(system: Any) -> list[str]:
    """Names of a driven system's noises whose factor follows from a population's rate."""
    by_state = {k: v for k, v in _noises(system).items() if v.factor is not None}
    if not by_state:
        return []
    model = system.model
    state = random_state(model, (1,))
    moved = state.copy()
    moved[rows(model, "rate")] *= 2
    states = [as_array(y) for y in (state, moved)]
    return [
        name
        for name, noise in by_state.items()
        if not np.array_equal(*(noise.times(model, y) for y in states))
    ]


def _noises(system: Any) -> dict[str, AbstractNoise]:
    """Those that are given as objects, by name."""
    every = getattr(system, "noise", {}).items()
    return {name: noise for name, noise in every if isinstance(noise, AbstractNoise)}


# States at which it is tried what matters, and what counts as rounding.
_TRIED, _ROUNDING = 16, 1e-10


def _wide(leaf: Any) -> Any:
    return as_array(leaf, float) if eqx.is_inexact_array_like(leaf) else leaf


@eqx.filter_jit
def _tried(runs: Runs, states: jax.Array, moves: jax.Array) -> Float[Array, "part"]:
    """How much each part of the form is, at most, relative to the terms of the equations."""

    def one(system: Any, state: jax.Array) -> jax.Array:
        network: Any = undriven(system)
        network = network if getattr(network, "delays", None) is None else network.undelayed()
        at = np.array(rows(network.model, "potential"))
        own = np.array([*at, *rows(network.model, "rate")])
        other = state.at[at].add(moves[at])
        ends = []
        for y in (state, other):
            slopes = network.vector_field(y).at[own].set(0.0)
            # Stimuli and noise may bring what the network alone does not.
            parts = felt(network, y, None), felt(network, y, moves[0])
            factors = [noise.amplitude(network.model, y) for noise in _noises(system).values()]
            ends.append((parts, slopes, network.model.output(y), factors))
        sizes = jnp.stack([1 + jnp.abs(y * y).max() for y in (state, other)]).max()
        delta = parameter(network.model, "delta", state.ndim - 1)
        each = [part for parts, *_ in ends for part in parts]
        found = (
            jax.tree.leaves(jax.tree.map(lambda a, b: a - b, *ends)),
            [part.slope for part in each],
            [part.width - delta for part in each],
        )
        return jnp.stack([_largest(part) for part in found]) / sizes

    count = next((len(values) for values in runs.varied.values()), 1)
    each = jnp.broadcast_to(states, (count, *states.shape))
    gaps = runs.each(lambda system, some: jax.vmap(lambda y: one(system, y))(some), each)
    return gaps.max(axis=(0, 1))


def _largest(arrays: list[jax.Array]) -> jax.Array:
    return jnp.stack([jnp.abs(array).max() for array in arrays]).max()
