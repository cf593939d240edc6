"""What an integrator is, and what one is at work on a system."""

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.cards import Shown, shown_as_made
from ngnmm_jax._core.parameters import at_points, concrete_step
from ngnmm_jax.models.times import smallest_step


@shown_as_made
class Stepper(NamedTuple):
    """A fixed-step integrator at work on a system, whose memory may hold more than the state.

    - `start(state)`: the memory at the beginning; of a system with delays also
      `start(state, past)`, of what was sent before.
    - `advance(memory, stimulus, rise)`: the memory one step later, with what is added meanwhile to
      the input of each region (None: nothing): its mean, and how much it rises from the step's
      beginning to its end, in a straight line (left out or None: it is constant).
    - `state(memory)`: the state at that time.
    - `kick(memory, change)`: the memory after a change of the state at once.
    - `below(memory)`: how often noise took variables below zero that cannot be negative, (*axes) of
      the state but the first; None where there is no such noise.
    - `past(memory)`: what a system with delays has sent, as `start` takes it; None without.
    """

    start: Callable[..., Any]
    advance: Callable[..., Any]
    state: Callable[[Any], jax.Array]
    kick: Callable[[Any, jax.Array], Any]
    below: Callable[[Any], Any] = lambda memory: None
    past: Callable[[Any], Any] = lambda memory: None


class AbstractIntegrator(Shown, eqx.Module):
    """How systems are taken through time: by fixed steps (`AbstractFixedStep`), or `Adaptive`.

    Fields of a class are settings, of a kind that can be hashed (numbers, texts): objects with
    equal ones are equal, and share compiled programs.

    - `reach`: the longest step that follows typical activity, in units of the system's `time_step`.
    - `needs_flow`: whether it is for models with an `exact_flow` only.
    """

    reach: ClassVar[float] = 1.0
    needs_flow: ClassVar[bool] = False

    def longest_step(self, system: Any, points: Mapping[str, Any] | None = None) -> float:
        """The longest step that is taken where none is asked for, in the model's unit of time.

        That of the fastest of some `points`, values (point, …) of parameters by name; at most the
        shortest delay. A number also where JAX traces parameters; `ValueError` where it traces
        those that decide it.
        """
        if points and _checks.is_concrete(dict(points)):
            longest = self.reach * smallest_step(at_points(system.model, points))
        else:
            longest = self.reach * concrete_step(system)
        return min(longest, shortest_delay(system, points))


def shortest_delay(system: Any, points: Mapping[str, Any] | None = None) -> float:
    """Of a system; infinite where it has none."""
    if getattr(system, "delays", None) is None:
        return math.inf
    return float(system.shortest_delay(points))


class AbstractFixedStep(AbstractIntegrator):
    """An integrator of fixed steps, which may remember more than the state.

    For those that need nothing but a vector field, `AbstractOneStep` is the simpler base.
    """

    @abstractmethod
    def stepper(self, system: Any, dt: jax.Array) -> Stepper:
        """The integrator at work on a system, with steps `dt` ().

        `system`: with `vector_field(state, stimulus)`, for states (variable, *region, *run).
        """


class AbstractOneStep(AbstractFixedStep):
    """An integrator whose step needs a vector field and a state alone, such as Runge and Kutta's.

    - `rising`: whether a stimulus may rise within a step; False for steps that look at their
      beginning only: those see its mean.
    """

    rising: ClassVar[bool] = True

    @abstractmethod
    def step(self, field: Callable[[Any], Any], state: Any, dt: Any) -> Any:
        """The state one step later.

        **Arguments:**

        - `field`: the time derivative of a state.
        - `state` (variable, *region, *run). Only sums of states and multiples of them by numbers
          may be taken: while a stimulus rises, it is no array but one with the time beside it.
        - `dt` (): the step.
        """

    def stepper(self, system: Any, dt: jax.Array) -> Stepper:
        """Such steps of a system's vector field; what is remembered is the state."""

        def advance(state: jax.Array, stimulus: Any, rise: Any = None) -> jax.Array:
            if rise is None or not self.rising:
                return self.step(lambda y: system.vector_field(y, stimulus), state, dt)

            def field(y: _Timed) -> _Timed:
                now = jax.tree.map(lambda mean, slope: mean + slope * y.part, stimulus, rise)
                return _Timed(system.vector_field(y.state, now), 1 / dt)

            return self.step(field, _Timed(state, jnp.full_like(dt, -0.5)), dt).state

        return Stepper(lambda state: state, advance, lambda state: state, jnp.add)


class _Timed(eqx.Module):
    """A state, and the part of the step that has passed, from its middle; a vector of both."""

    state: Any
    part: Any
    __array_ufunc__: ClassVar[None] = None  # numbers of NumPy leave arithmetic to it

    def __add__(self, other: "_Timed") -> "_Timed":
        return jax.tree.map(jnp.add, self, other)

    def __radd__(self, zero: Any) -> "_Timed":
        return self  # of `sum`, which begins with 0

    def __sub__(self, other: "_Timed") -> "_Timed":
        return jax.tree.map(jnp.subtract, self, other)

    def __mul__(self, number: Any) -> "_Timed":
        return jax.tree.map(lambda leaf: number * leaf, self)

    __rmul__ = __mul__

    def __truediv__(self, number: Any) -> "_Timed":
        return jax.tree.map(lambda leaf: leaf / number, self)

    def __neg__(self) -> "_Timed":
        return jax.tree.map(jnp.negative, self)
