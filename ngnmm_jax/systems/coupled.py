"""What networks and their homogeneous part share: a model, driven by what regions send."""

import abc
from typing import Any, ClassVar, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.parameters import (
    checked_again,
    known_name,
    leaf,
    parts_between,
    with_leaves,
)
from ngnmm_jax._core.types import Channels, Field, Scalar, State
from ngnmm_jax.models.base import AbstractNeuralMass
from ngnmm_jax.models.contract import check_contract
from ngnmm_jax.models.hooks import ExactFlow, has_exact_flow
from ngnmm_jax.models.parameters import as_parameter
from ngnmm_jax.models.times import smallest_step
from ngnmm_jax.systems.cards import PicturedSystem

Whole = TypeVar("Whole", bound="AbstractCoupled")


class AbstractCoupled(PicturedSystem):
    """Regions of one model, each of which is driven by what `drive` makes of all outputs."""

    #: The equations of a region.
    model: eqx.AbstractVar[AbstractNeuralMass]
    #: Methods that a definition of its numbers traces.
    TRACED: ClassVar[frozenset[str]] = frozenset({"vector_field", "drive"})

    @property
    @abc.abstractmethod
    def state_shape(self) -> tuple[int, ...]:
        """Shape of the state: (variable,), or (variable, region)."""

    @property
    def alone(self) -> bool:
        """Whether one region stands for all, so that states have no axis of regions."""
        return len(self.state_shape) == 1

    @abc.abstractmethod
    def drive(self, output: Channels) -> Channels:
        """The input that each region receives from all regions' outputs, both (*region, *run).

        Of a model with several, (output, *region, *run) and (input, *region, *run).
        """

    def vector_field(self, state: State, stimulus: Field | None = None) -> State:
        """Time derivative of a state (variable, *region, *run).

        A `stimulus` (*region, *run) adds to what each region receives; to all inputs alike of a
        model that has several.
        """
        return self.model.vector_field(state, self.received(state, stimulus))

    def received(self, state: State, stimulus: Field | None = None) -> Channels:
        """What reaches each region, (*region, *run), from all regions' states and a stimulus."""
        drive = self.drive(self.model.output(state))
        return drive if stimulus is None else drive + stimulus

    def nothing(self, state: State) -> Field:
        """A stimulus that adds nothing, for states (variable, *region, *run)."""
        return jnp.zeros_like(self.model.output(state))

    def exact_flow(self, dt: Scalar) -> ExactFlow:
        """Its model's flow over a step, with inputs (state, stimulus) from what regions send."""
        flow = self.model.exact_flow(dt)
        if flow is None:
            name = type(self.model).__name__
            _checks.fail("integrator", f"be a Runge-Kutta method for {name}", 'it is "moebius"')
        local = flow.inputs

        def inputs(state: State, stimulus: Field) -> jax.Array:
            return local(state, self.received(state, stimulus))

        return ExactFlow(inputs, flow.advance)

    def has_flow(self) -> bool:
        """Whether `exact_flow` is known of it."""
        return has_exact_flow(self.model)

    @property
    def time_step(self) -> Any:
        """A step at which RK4 follows typical activity to about 1e-6, in the model's unit of time.

        It follows the parameters, as the model's does.
        """
        return smallest_step(self.model)

    def with_parameters(self: Whole, **values: Any) -> Whole:
        """A copy with other values of the model's parameters, or of `coupling`.

        Everything else stays: weights, precision, the system's class and what it adds.
        """
        for name in values:
            known_name(name, self)
        given = {name: as_parameter(name, value) for name, value in values.items()}
        given = {name: v.astype(leaf(self, name).dtype) for name, v in given.items()}
        system = with_leaves(self, given)
        between = (part for part, _ in parts_between(system).values())
        for part in (system.model, getattr(system, "interaction", None), *between, system):
            if part is not None:
                checked_again(part)
        return system

    def admissible(self, state: jax.Array) -> Bool[Array, ""]:
        """Whether rates and gates are not negative, but for rounding."""
        rows = [self.model.variables.index(name) for name in self.model.nonnegative]
        rounding = 8 * jnp.finfo(state.dtype).eps * jnp.abs(state).max()
        return (state[np.array(rows, dtype=int)] >= -rounding).all()


def check_coupled(system: Any) -> None:
    """Refuse a system of no model, or of one that breaks its contract; strengths that are NaN."""
    _checks.an_object("model", system.model)
    if not isinstance(system.model, AbstractNeuralMass):
        _checks.fail("model", "be a neural mass", f"it is a {type(system.model).__name__}")
    check_contract(system.model)
    _checks.finite("coupling", system.coupling)
