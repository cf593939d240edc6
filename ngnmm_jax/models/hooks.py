"""What a model's optional methods return."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ngnmm_jax._core.cards import shown_as_made
from ngnmm_jax._core.types import Field, Scalar, State
from ngnmm_jax.models.agreement import is_own


@shown_as_made
class EquilibriumReduction(NamedTuple):
    """All equilibria of a homogeneous mass, as the roots of one scalar function.

    `function(u)` returns a state on which all equations but one hold, and what is left of
    that one; its roots for `u` in [`low`, `high`] are the equilibria. They are looked for on a
    grid: that these are all is not certified (`certain_reduction` does that).
    """

    low: Scalar
    high: Scalar
    function: Callable[[Scalar], tuple[jax.Array, Scalar]]


@shown_as_made
class ExactFlow(NamedTuple):
    """A model whose regions can be advanced over a step by a flow of their own.

    Exact where the inputs are constant in the step, within the range that the model's `exact_flow`
    says. That it is a flow of the model's own equations is checked before its first use (of
    classes outside of this library).

    - `inputs(state, drive)` (population, *axes): what drives each population, linear in the
      state's output and gates and in the network's input `drive`.
    - `advance(state, inputs, rise)`: the state after the step, from the inputs' means over it
      and how much they rise in it; and the state's mean over the step, of those variables
      that `inputs` and `output` look at: a state whose `inputs` and `output` are their means over
      the step, as they are of the mean state where they are linear in it.
    """

    inputs: Callable[[State, Field], jax.Array]
    advance: Callable[[State, jax.Array, jax.Array], tuple[State, State]]


# Of the library's own models, by their structure: whether an exact flow is known.
_FLOWS: dict[Any, bool] = {}


def has_exact_flow(model: Any) -> bool:
    """Whether an exact flow is known of a model. Nothing of it is computed."""
    if not is_own(type(model)):  # whose flow is compared with its equations, at its values
        return _asked(model)
    form = jax.tree.structure(model)
    if form not in _FLOWS:
        _FLOWS[form] = _asked(model)
    return _FLOWS[form]


def _asked(model: Any) -> bool:
    known = [True]

    def ask() -> None:
        known[0] = model.exact_flow(jnp.ones(())) is not None

    jax.eval_shape(ask)
    return known[0]


@shown_as_made
class QIFPopulation(NamedTuple):
    """A population of quadratic integrate-and-fire neurons, of which a model has the mean field.

    What neurons receive is read off the model's `vector_field`, of which a population has

        tau r' = delta / (π tau) + (2 v + b) r,    tau v' = v² + b v - (π tau r)² + c

    with r the `rate` and v the `potential`: then each of its neurons obeys
    tau V' = V² + b V + c + delta x, x from a Lorentzian of centre 0 and half width 1. Currents and
    reversal potentials are parts of c, conductances make b negative, gap junctions of strength κ
    add -κ to b and κ v to c. b and c may follow any other variable; c also rates, in a straight
    line, as where synapses are instantaneous. Variables that no population names, such as gates,
    follow the model's own equations, from the rates and centres that the neurons have.

    - `name`: as in figures.
    - `rate`, `potential`: the variables that hold its firing rate, and the centre of its
      neurons' potentials.
    - `tau`, `delta`: membrane time constant, half width of the Lorentzian of excitabilities (at
      least: what other variables add to it, as where weights are spread too, is read off).
    - `note`: where neurons of their own would differ from the mean field however many they are.
    """

    name: str
    rate: str
    potential: str
    tau: jax.Array
    delta: jax.Array
    note: str = ""


def excitatory_and_inhibitory(model: Any) -> tuple[QIFPopulation, QIFPopulation]:
    """The two populations of a model whose names of them end in "_e" and "_i"."""

    def one(name: str, end: str) -> QIFPopulation:
        tau, delta = getattr(model, f"tau_{end}"), getattr(model, f"delta_{end}")
        return QIFPopulation(name, f"r_{end}", f"v_{end}", tau, delta)

    return one("excitatory", "e"), one("inhibitory", "i")
