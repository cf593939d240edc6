"""The abstract neural mass: a vector field and an output; the rest is derived by JAX."""

import abc
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.certain_roots import CertainReduction
from ngnmm_jax._core.parameters import checked_again, declared, with_leaves
from ngnmm_jax._core.pictured import Pictured
from ngnmm_jax._core.types import Field, Scalar, State
from ngnmm_jax.models import times
from ngnmm_jax.models.agreement import HOOKS, guarded
from ngnmm_jax.models.cards import listed, values_of
from ngnmm_jax.models.declarations import check_declarations, definer
from ngnmm_jax.models.hooks import EquilibriumReduction, ExactFlow, QIFPopulation
from ngnmm_jax.models.parameters import (
    as_parameter,
    check_parameters,
    know_their_names,
)

Model = TypeVar("Model", bound="AbstractNeuralMass")


class AbstractNeuralMass(Pictured):
    """One region's dynamics, elementwise over all axes of the state but the first.

    A model declares its `variables` with their `units`, the `time_unit` ("us", "ms", "s", "min",
    "h", or "1" where times have none: then frequencies are per unit of time), the `shown` quantity
    that rasters and spectra use (a variable, or what `observe` returns) with its `shown_unit`, the
    `nonnegative` variables, and its parameters (fields made by `parameter`).
    It may say how these are written in figures (`symbols`), what BOLD follows (`synaptic`), and
    over which `plane` maps go by default, with their `cut`. It implements `vector_field`, `output`
    and `search_box`; `observe`, `equilibrium_reduction`, `certain_reduction`, `exact_flow`,
    `populations` and `synaptic_currents` are optional.

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
    #: Names of what a region sends and receives, where these are several: then `output` returns
    #: (output, *axes) and `vector_field` takes a drive (input, *axes). Both, or none: one of each,
    #: without an axis.
    outputs: ClassVar[tuple[str, ...]] = ()
    inputs: ClassVar[tuple[str, ...]] = ()
    #: How variables, what is shown and parameters are written in figures, by name, without units:
    #: TeX between dollars. A class adds to those that it inherits; others are written as they are.
    symbols: ClassVar[Mapping[str, str]] = {}
    #: Two parameters with bounds and a number of points: over which maps go by default; and the
    #: value of the second at which they are cut.
    plane: ClassVar[Mapping[str, tuple[float, float, int]]] = {}
    cut: ClassVar[float] = 0.0
    #: Methods that a definition of its numbers traces; all else that a class defines counts as
    #: it is written.
    TRACED: ClassVar[frozenset[str]] = frozenset(
        {"vector_field", "output", "observe", "search_box", *HOOKS}
    )

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        know_their_names(cls)
        for name in HOOKS:
            owner = definer(cls, name)
            value = owner.__dict__[name]
            if value is None:
                setattr(cls, name, getattr(AbstractNeuralMass, name))
            elif owner is cls or not issubclass(owner, AbstractNeuralMass):
                setattr(cls, name, guarded(value, name))

    def __check_init__(self) -> None:
        check_declarations(type(self), AbstractNeuralMass, times.TIME_UNITS)
        check_parameters(self)

    def with_parameters(self: Model, **values: Any) -> Model:
        """A copy with other values of some parameters, as networks have it."""
        names = declared(self)
        for name in values:
            _checks.one_of("parameters", name, names)
        given = {name: as_parameter(name, value) for name, value in values.items()}
        given = {name: v.astype(getattr(self, name).dtype) for name, v in given.items()}
        changed = with_leaves(self, given)
        checked_again(changed)
        return changed

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

    @property
    def synaptic(self) -> str:
        """What BOLD, and slow functional connectivity, follow: a variable, or what is shown.

        A class may name it, as in `synaptic = "s_e"`; by default it is the variable that the model
        sends to other regions, or what it shows where it sends none of them.
        """
        from ngnmm_jax.models import comparisons  # which is needed for no model of the library

        return comparisons.sent(self)

    def equilibrium_reduction(self, coupling: Scalar) -> EquilibriumReduction | None:
        """The equilibria with drive `coupling * output` as roots of a scalar function.

        None where the model offers no such reduction: the search is then multi-start.
        """
        return None

    def certain_reduction(self, coupling: Any) -> CertainReduction | None:
        """The same with bounds on the function's slope, by which all roots are found for certain.

        On the host and in NumPy: parameters and `coupling` are arrays (system,) here. See
        `ngnmm_jax._core.certain_roots`, of which `over_interval` makes one. It counts only for
        the class whose equations it belongs to: in those that override one of its methods (but
        such as no equilibrium depends on), it is passed over.
        """
        return None

    def exact_flow(self, dt: Scalar) -> ExactFlow | None:
        """The model's own flow over a step `dt`, for the method "moebius"; None if it has none.

        A model that has one says how exact it is.
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

    def tempo(self) -> Any:
        """The step that the typical time alone would ask for, of `fastest_time`'s shape.

        The unit in which analyses count transients and windows, and their tolerances of rates:
        `stiffness` times `step_sizes`.
        """
        return self.step_sizes() * self.stiffness()

    def fastest_time(self) -> Any:
        """The shortest time, in `time_unit`, in which the state changes by its own size.

        Of the parameters' shape: (), (region,), (*run). By default an eighth of the shortest that
        the parameters with a unit of time or rate name ("us", "ms", "s", "min", "h", "1/ms" and
        the like, "MHz", "kHz", "Hz"), as a mean field moves faster than its time constants where it
        spikes; 1 ms where there are none, or only rates of zero. Of times without unit ("1") no
        parameter is known to be one: an eighth of that unit. Times of a vector field's own, which
        no parameter names, are not known to it.
        """
        return times.fastest_of(self)

    def typical_time(self) -> Any:
        """The time, of `fastest_time`'s shape, in which transients and windows are counted.

        At least the fastest. By default that of the geometric mean of all times, so that one
        very fast variable makes the steps short but not the runs.
        """
        return times.typical_of(self)

    @property
    def time_step(self) -> Any:
        """A step, in `time_unit`, at which RK4 follows typical activity to about 1e-6.

        A twentieth of `fastest_time`, the smallest over regions and runs: a `float`, or a scalar
        array where JAX traces the parameters.
        """
        return times.smallest(self.step_sizes())

    @property
    def known_time_step(self) -> float:
        """`time_step` as a number, also where JAX traces parameters: for numbers of steps.

        Traced parameters that are no times or rates count as their defaults then; traced times
        raise `ValueError`.
        """
        return times.known_step(self)

    def step_sizes(self) -> Any:
        """`time_step` of each region or run, of `fastest_time`'s shape."""
        if type(self).time_step is not AbstractNeuralMass.time_step:  # a model's own
            return times.math_of(self.time_step).asarray(self.time_step)
        return self.fastest_time() / times.STEPS

    def stiffness(self) -> Any:
        """How many steps, of `step_sizes`, make one that the typical time alone would ask for.

        A whole number of at least 1, of the same shape.
        """
        if type(self).time_step is not AbstractNeuralMass.time_step:
            return np.asarray(1.0)
        ratio = self.typical_time() / self.fastest_time()
        return times.math_of(ratio).maximum(1.0, times.math_of(ratio).round(ratio))

    def card(self) -> tuple[str, dict[str, Any]]:
        """What is shown of it: variables, and parameters with their values and units."""
        units = zip(self.variables, self.units, strict=True)
        state = {name: "" if unit == "1" else f"({unit})" for name, unit in units}
        head = f"{type(self).__name__}: a neural mass, times in {self.time_unit}"
        return head, {
            "state": listed(state),
            "parameters": listed(values_of(self)) or "none",
        }

    @property
    def n_regions(self) -> int | None:
        """The number of regions that per-region parameters imply; None if all are scalars."""
        for name in declared(self):
            if jnp.ndim(getattr(self, name)) == 1:
                return int(jnp.shape(getattr(self, name))[0])
        return None


# What equilibria do not depend on.
_ASIDE = {"observe", "exact_flow", "populations", "synaptic_currents", "search_box"}
_ASIDE |= {"time_step", "fastest_time", "synaptic", "card"}


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
