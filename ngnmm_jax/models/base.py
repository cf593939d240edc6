"""The abstract neural mass: a vector field and an output; the rest is derived by JAX."""

import abc
import dataclasses
import functools
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.certain_roots import CertainReduction
from ngnmm_jax._core.parameters import declared
from ngnmm_jax._core.types import Field, Scalar, State
from ngnmm_jax.models.agreement import HOOKS, guarded
from ngnmm_jax.models.declarations import check_declarations, definer

#: Seconds in each of the time units that a model may use.
SECONDS = {"ms": 1e-3, "s": 1.0}
# Units of rates, each with that of its inverse.
_RATES = {"1/ms": "ms", "kHz": "ms", "1/s": "s", "Hz": "s"}
# Steps in a model's fastest time: RK4 then follows it to about 1e-6.
_STEPS = 20
# A mean field moves so many times faster than its time constants where it spikes.
_FASTER = 8


def as_float_array(value: Any) -> Any:
    """`value` as a floating-point array of JAX's default precision; float arrays keep theirs."""
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jnp.floating):
        return value
    if not _checks.is_concrete(value):
        return jnp.asarray(value, dtype=jnp.result_type(float))
    with jax.ensure_compile_time_eval():  # known, and so in `jax.jit` too
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
    that one; its roots for `u` in [`low`, `high`] are the equilibria. They are looked for on a
    grid: that these are all is not certified (`certain_reduction` does that).
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
    `certain_reduction`, `exact_flow`, `populations` and `synaptic_currents` are optional.

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
    #: Two parameters with bounds and a number of points: over which maps go by default; and the
    #: value of the second at which they are cut.
    plane: ClassVar[Mapping[str, tuple[float, float, int]]] = {}
    cut: ClassVar[float] = 0.0

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
        for field in declared(self).values():
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
        `ngnmm_jax._core.certain_roots`, of which `over_interval` makes one. It counts only for
        the class whose equations it belongs to: in those that override one of its methods (but
        such as no equilibrium depends on), it is passed over.
        """
        return None

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

    def tempo(self) -> Any:
        """The step that the typical time alone would ask for, of `fastest_time`'s shape.

        The unit in which analyses count transients and windows, and their tolerances of rates:
        `stiffness` times `step_sizes`.
        """
        return self.step_sizes() * self.stiffness()

    def fastest_time(self) -> Any:
        """The shortest time, in `time_unit`, in which the state changes by its own size.

        Of the parameters' shape: (), (region,), (*run). By default an eighth of the shortest that
        the parameters with a unit of time or rate name ("ms", "s", "1/ms", "1/s", "kHz", "Hz"), as
        a mean field moves faster than its time constants where it spikes; 1 ms where there are
        none, or only rates of zero. Times of a vector field's own, which no parameter names, are
        not known to it.
        """
        times, nothing = self._times(), np.asarray(1e-3 / SECONDS[self.time_unit])
        if not times:
            return nothing
        xp, shortest_one = math_of(times), shortest(*times) / _FASTER
        return xp.where(xp.isfinite(shortest_one), shortest_one, nothing)

    def typical_time(self) -> Any:
        """The time, of `fastest_time`'s shape, in which transients and windows are counted.

        At least the fastest. By default that of the geometric mean of all times, so that one
        very fast variable makes the steps short but not the runs.
        """
        times = self._times()
        if not times:
            return self.fastest_time()
        xp = math_of(times)
        number = sum(xp.where(xp.isfinite(t), 1, 0) for t in times)
        logs = sum(xp.where(xp.isfinite(t), xp.log(xp.where(xp.isfinite(t), t, 1.0)), 0.0)
                   for t in times)  # fmt: skip
        mean = xp.exp(logs / xp.maximum(number, 1)) / _FASTER
        return xp.where(number > 0, mean, self.fastest_time())

    def _times(self) -> list[Any]:
        """Times that the parameters name, in `time_unit`, those of rates included."""
        found = []
        for field in declared(self).values():
            unit, value = field.metadata["unit"], getattr(self, field.name)
            if unit in SECONDS or unit in _RATES:
                size = abs(as_numbers(value)[0])
                xp = math_of(size)
                known = xp.where(size > 0, size, 1.0)
                time = known if unit in SECONDS else 1 / known
                seconds = SECONDS[_RATES.get(unit, unit)]
                found.append(xp.where(size > 0, time * (seconds / SECONDS[self.time_unit]), np.inf))
        return found

    @property
    def time_step(self) -> Any:
        """A step, in `time_unit`, at which RK4 follows typical activity to about 1e-6.

        A twentieth of `fastest_time`, the smallest over regions and runs: a `float`, or a scalar
        array where JAX traces the parameters.
        """
        steps = self.step_sizes()
        if _checks.is_concrete(steps):
            return float(np.min(steps))
        return jax.lax.stop_gradient(jnp.min(steps))

    @property
    def known_time_step(self) -> float:
        """`time_step` as a number, also where JAX traces parameters: for numbers of steps.

        Traced parameters that are no times or rates count as their defaults then; traced times
        raise `ValueError`.
        """
        traced = [
            field
            for field in declared(self).values()
            if not _checks.is_concrete(getattr(self, field.name))
            and field.metadata["unit"] not in (*SECONDS, *_RATES)
        ]
        model = self
        if traced:
            model = eqx.tree_at(
                lambda m: [getattr(m, field.name) for field in traced],
                self,
                [np.asarray(field.default, float) for field in traced],
            )
        step = model.time_step
        if not _checks.is_concrete(step):
            _checks.fail("dt", "be given where time constants are traced by JAX", "it is None")
        return float(step)

    def step_sizes(self) -> Any:
        """`time_step` of each region or run, of `fastest_time`'s shape."""
        if type(self).time_step is not AbstractNeuralMass.time_step:  # a model's own
            return math_of(self.time_step).asarray(self.time_step)
        return self.fastest_time() / _STEPS

    def stiffness(self) -> Any:
        """How many steps, of `step_sizes`, make one that the typical time alone would ask for.

        A whole number of at least 1, of the same shape.
        """
        if type(self).time_step is not AbstractNeuralMass.time_step:
            return np.asarray(1.0)
        ratio = self.typical_time() / self.fastest_time()
        return math_of(ratio).maximum(1.0, math_of(ratio).round(ratio))

    @property
    def n_regions(self) -> int | None:
        """The number of regions that per-region parameters imply; None if all are scalars."""
        for field in declared(self).values():
            if jnp.ndim(getattr(self, field.name)) == 1:
                return int(jnp.shape(getattr(self, field.name))[0])
        return None


def smallest_step(model: AbstractNeuralMass) -> Any:
    """A model's `time_step`, also where its own has one for each region or run."""
    step = model.time_step
    if _checks.is_concrete(step):
        return float(np.min(step))
    return jax.lax.stop_gradient(jnp.min(step))


def math_of(values: Any) -> Any:
    """NumPy where all values are known, `jax.numpy` where JAX traces some."""
    return np if _checks.is_concrete(values) else jnp


def shortest(*times: Any) -> Any:
    """The smallest of some times, elementwise."""
    return functools.reduce(math_of(times).minimum, times)


def as_numbers(*values: Any) -> list[Any]:
    """Known values as NumPy's 64-bit arrays, from which nothing is compiled; traced ones as is."""
    if not _checks.is_concrete(values):
        return [jnp.asarray(value) for value in values]
    return [np.asarray(value, float) for value in values]


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
