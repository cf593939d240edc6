"""The abstract neural mass: a vector field and an output; the rest is derived by JAX."""

import abc
import dataclasses
from collections.abc import Callable
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from ngnmm_jax import _checks
from ngnmm_jax._types import Field, Scalar, State
from ngnmm_jax.models.agreement import HOOKS, guarded
from ngnmm_jax.models.declarations import check_declarations, definer

#: Seconds in each of the time units that a model may use.
SECONDS = {"ms": 1e-3, "s": 1.0}


def as_float_array(value: Any) -> Any:
    """`value` as a floating-point array of JAX's default precision; float arrays keep theirs."""
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jnp.floating):
        return value
    return jnp.asarray(value, dtype=jnp.result_type(float))


def as_parameter(name: str, value: Any) -> Any:
    """What is given for a parameter of that name as a floating-point array."""
    if _checks.is_concrete(value):
        checked = _checks.numbers(name, value, "be a number, or one for each region")
        value = value if isinstance(value, jax.Array) else checked
    return as_float_array(value)


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
        converter=as_float_array,  # of a model's class: `as_parameter`, which knows its name
        metadata={"unit": unit, "doc": doc, "positive": positive},
    )


class EquilibriumReduction(NamedTuple):
    """All equilibria of a homogeneous mass, as the roots of one scalar function.

    `function(u)` returns a state on which all equations but one hold, and what is left of
    that one; its roots for `u` in [`low`, `high`] are the equilibria.
    """

    low: Scalar
    high: Scalar
    function: Callable[[Scalar], tuple[jax.Array, Scalar]]


class ExactFlow(NamedTuple):
    """A model whose regions can be advanced over a step by a flow of their own.

    Exact where the inputs are constant in the step, within the range that the model's `exact_flow`
    says. That it is a flow of the model's own equations is checked before its first use (of
    classes outside of this library).

    - `inputs(state, drive)` (population, *axes): what drives each population, linear in the
      state's output and gates and in the network's input `drive`.
    - `advance(state, inputs, rise)`: the state after the step, from the inputs' means over it
      and how much they rise in it; and the state's mean over the step, of those variables
      that `inputs` and `output` look at. The model's `output` has to be linear in these.
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
    `exact_flow`, `populations` and `synaptic_currents` are optional.

    What a class declares is checked when its first instance is made; the shapes that it returns,
    and that it is elementwise, when a network is made of it; and the optional methods, own or
    inherited, against `vector_field` and `output` before their first use, at random states near
    the default parameters and at those in use where these are known. `ValueError` says what does
    not fit. A class that inherits one which does not hold for its own equations sets it to None:
    `exact_flow = None`.
    """

    variables: eqx.AbstractClassVar[tuple[str, ...]]
    units: eqx.AbstractClassVar[tuple[str, ...]]
    time_unit: eqx.AbstractClassVar[str]
    shown: eqx.AbstractClassVar[str]
    shown_unit: eqx.AbstractClassVar[str]
    nonnegative: eqx.AbstractClassVar[tuple[str, ...]]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, value in list(cls.__dict__.items()):
            if isinstance(value, dataclasses.Field) and "unit" in value.metadata:
                converter = {"converter": partial(as_parameter, name)}
                value.metadata = MappingProxyType({**value.metadata, **converter})
        for name in HOOKS:
            owner = definer(cls, name)
            value = owner.__dict__[name]
            if value is None:
                setattr(cls, name, getattr(AbstractNeuralMass, name))
            elif owner is cls or not issubclass(owner, AbstractNeuralMass):
                setattr(cls, name, guarded(value))

    def __check_init__(self) -> None:
        check_declarations(type(self), AbstractNeuralMass, SECONDS)
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

        None where the model offers no such reduction: the search is then multi-start. One that
        holds for some parameters only says so by `reducible`.
        """
        return None

    @property
    def reducible(self) -> Any:
        """Whether `equilibrium_reduction` holds for these parameters: one answer, or (*run).

        By default wherever a model defines one. (Not known under JAX transformations: True.)
        """
        own = type(self).equilibrium_reduction
        return own is not AbstractNeuralMass.equilibrium_reduction

    def exact_flow(self, dt: Scalar) -> ExactFlow | None:
        """The model's own flow over a step `dt`, for the method "moebius"; None if it has none.

        That of `NextGenEI` has, for constant inputs, errors below 1e-10 of the state while
        (dt / tau)² times the currents is below 0.05; it is of order four where inputs change.
        """
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


def parameter_fields(model: type[AbstractNeuralMass]) -> list[dataclasses.Field]:
    """The fields of a model that `parameter` declared, in order."""
    return [field for field in dataclasses.fields(model) if "unit" in field.metadata]


def parameter_names(model: type[AbstractNeuralMass]) -> tuple[str, ...]:
    """The names of a model's parameters, in order."""
    return tuple(field.name for field in parameter_fields(model))
