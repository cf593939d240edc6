"""The abstract neural mass: a vector field and an output; the rest is derived by JAX."""

import abc
import dataclasses
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from ngnmm_jax import _checks
from ngnmm_jax._types import Field, Scalar, State
from ngnmm_jax.dynamics.certain_roots import CertainReduction

#: Seconds in each of the time units that a model may use.
SECONDS = {"ms": 1e-3, "s": 1.0}


def as_float_array(value: Any) -> Any:
    """`value` as a floating-point array of JAX's default precision; float arrays keep theirs."""
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jnp.floating):
        return value
    return jnp.asarray(value, dtype=jnp.result_type(float))


def parameter(default: float, *, unit: str, doc: str, positive: bool = False) -> Any:
    """Declare a parameter of a model: a scalar, or one value per region.

    **Arguments:**

    - `default`: its value when none is given.
    - `unit`: its unit, as text; "1" where it has none.
    - `doc`: what it means, in a few words.
    - `positive`: whether zero and negative values are refused at construction.
    """
    return eqx.field(
        default=default,
        converter=as_float_array,
        metadata={"unit": unit, "doc": doc, "positive": positive},
    )


class EquilibriumReduction(NamedTuple):
    """All equilibria of a homogeneous mass, as the roots of one scalar function.

    `function(u)` returns a state on which all equations but one hold, and what is left of
    that one; its roots for `u` in [`low`, `high`] are the equilibria. They are looked for on a
    grid: that these are all is not certified (`certain_reduction` does that).
    """

    low: Scalar
    high: Scalar
    function: Callable[[Scalar], tuple[jax.Array, Scalar]]


class ExactFlow(NamedTuple):
    """A model whose regions can be advanced exactly over a step, their inputs being known.

    - `inputs(state, drive)` (population, *axes): what drives each population, linear in the
      state's output and gates and in the network's input `drive`.
    - `advance(state, inputs, rise)`: the state after the step, from the inputs' means over it
      and how much they rise in it; and the state's mean over the step, of those variables
      that `inputs` and `output` look at.
    """

    inputs: Callable[[State, Field], jax.Array]
    advance: Callable[[State, jax.Array, jax.Array], tuple[State, State]]


class QIFPopulation(NamedTuple):
    """A population of quadratic integrate-and-fire neurons, of which a model has the mean field.

    - `name`: as in figures.
    - `rate`, `potential`, `gate`: the variables that hold its firing rate, the centre of its
      neurons' potentials, and the synaptic gate that it drives.
    - `tau`, `delta`, `tau_s`: membrane time constant, half width of the Lorentzian of
      excitabilities, synaptic time constant.
    """

    name: str
    rate: str
    potential: str
    gate: str
    tau: jax.Array
    delta: jax.Array
    tau_s: jax.Array


class AbstractNeuralMass(eqx.Module):
    """One region's dynamics, elementwise over all axes of the state but the first.

    A model declares its `variables` with their `units`, the `time_unit`, the `shown`
    quantity that rasters and spectra use (a variable, or what `observe` returns) with its
    `shown_unit`, the `nonnegative` variables, and its parameters (fields made by `parameter`).
    It implements `vector_field`, `output` and `search_box`; `observe`, `equilibrium_reduction`,
    `certain_reduction`, `exact_flow`, `populations` and `synaptic_currents` are optional.
    """

    variables: eqx.AbstractClassVar[tuple[str, ...]]
    units: eqx.AbstractClassVar[tuple[str, ...]]
    time_unit: eqx.AbstractClassVar[str]
    shown: eqx.AbstractClassVar[str]
    shown_unit: eqx.AbstractClassVar[str]
    nonnegative: eqx.AbstractClassVar[tuple[str, ...]]

    def __check_init__(self) -> None:
        regions: dict[str, int] = {}
        for field in parameter_fields(type(self)):
            value = getattr(self, field.name)
            if jnp.ndim(value) > 1:
                _checks.fail(
                    field.name,
                    "be a scalar or have one value per region",
                    f"its shape is {jnp.shape(value)}",
                )
            if jnp.ndim(value) == 1:
                regions[field.name] = jnp.shape(value)[0]
            check = _checks.positive if field.metadata["positive"] else _checks.finite
            check(field.name, value)
        if len(set(regions.values())) > 1:
            (first, n), (other, m) = next(
                (a, b) for a in regions.items() for b in regions.items() if a[1] != b[1]
            )
            _checks.fail(
                other,
                "have as many regions as the other parameters",
                f"it has {m} values and `{first}` has {n}",
            )

    @abc.abstractmethod
    def vector_field(self, state: State, drive: Field) -> State:
        """Time derivative of `state` (variable, *axes) under the network's input `drive` (*axes).

        Parameters broadcast against `*axes`.
        """

    @abc.abstractmethod
    def output(self, state: State) -> Field:
        """What a region sends across the network, (*axes), from its state (variable, *axes)."""

    @abc.abstractmethod
    def search_box(self) -> tuple[jax.Array, jax.Array]:
        """Low and high corners, each (variable,), of a box that holds the equilibria."""

    def observe(self, state: State) -> Field:
        """The quantity named by `shown`, (*axes): by default the variable of that name."""
        return state[self.variables.index(self.shown)]

    def equilibrium_reduction(self, coupling: Scalar) -> EquilibriumReduction | None:
        """The equilibria with drive `coupling * output` as roots of a scalar function.

        None where the model offers no such reduction: the search is then multi-start.
        """
        return None

    def certain_reduction(self, coupling: Any) -> CertainReduction | None:
        """The same with bounds on the function's slope, by which all roots are found for certain.

        On the host and in NumPy: parameters and `coupling` are arrays (system,) here. See
        `ngnmm_jax.dynamics.certain_roots`, of which `over_interval` makes one. It counts only for
        the class whose equations it belongs to: in those that override one of its methods (but
        such as no equilibrium depends on), it is passed over.
        """
        return None

    def exact_flow(self, dt: Scalar) -> ExactFlow | None:
        """The model's own flow over a step `dt`, for the method "moebius"; None if it has none."""
        return None

    def populations(self) -> tuple[QIFPopulation, ...]:
        """The spiking populations behind the model, in the order of `exact_flow`'s inputs.

        Empty where there are none.
        """
        return ()

    def synaptic_currents(self, state: State, drive: Field) -> tuple[Field, Field]:
        """Excitatory and inhibitory currents (*axes) onto the population that the LFP shows.

        Both are positive where they act as their names say. Only for models that define it.
        """
        name = type(self).__name__
        raise NotImplementedError(f"{name} does not say what its synaptic currents are.")

    @property
    def time_step(self) -> float:
        """A step, in `time_unit`, at which RK4 follows the model to about 1e-6: 0.05 ms."""
        return 5e-5 / SECONDS[self.time_unit]

    @property
    def n_regions(self) -> int | None:
        """The number of regions that per-region parameters imply; None if all are scalars."""
        for field in parameter_fields(type(self)):
            if jnp.ndim(getattr(self, field.name)) == 1:
                return int(jnp.shape(getattr(self, field.name))[0])
        return None


# What equilibria do not depend on.
_ASIDE = {"observe", "exact_flow", "populations", "synaptic_currents", "search_box"}
_ASIDE |= {"time_step", "fastest_time"}


@lru_cache(maxsize=128)
def bounds_own_slope(model: type[AbstractNeuralMass]) -> bool:
    """Whether a class has a `certain_reduction`, and that is of its own equations."""
    order = model.__mro__
    own = next(k for k, kind in enumerate(order) if "certain_reduction" in vars(kind))
    if order[own] is AbstractNeuralMass:
        return False
    below = {name for kind in order[:own] for name in vars(kind)} - _ASIDE
    return not any(
        callable(value) or isinstance(value, property)
        for name in below
        if not name.startswith("__")
        for value in [getattr(order[own], name, None)]
    )


def parameter_fields(model: type[AbstractNeuralMass]) -> list[dataclasses.Field]:
    """The fields of a model that `parameter` declared, in order."""
    return [field for field in dataclasses.fields(model) if "unit" in field.metadata]


def parameter_names(model: type[AbstractNeuralMass]) -> tuple[str, ...]:
    """The names of a model's parameters, in order."""
    return tuple(field.name for field in parameter_fields(model))
