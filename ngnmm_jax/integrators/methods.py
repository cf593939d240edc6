"""Methods of fixed step for networks: Runge and Kutta's, and one of exact local flows."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ngnmm_jax.integrators.loops import STEPS, Step

# The inputs' means over the coming step, and how much they rise in it, from their means over the
# last ones: a polynomial of degree four, and one of degree three.
_MEAN = (5.0, -10.0, 10.0, -5.0, 1.0)
_RISE = (26 / 6, -57 / 6, 42 / 6, -11 / 6)
_DERIVATIVES = 3


class Stepper(NamedTuple):
    """A fixed-step method at work on a system, whose memory may hold more than the state.

    - `start(state)`: the memory at the beginning.
    - `advance(memory, stimulus, rise)`: the memory one step later, with what is added meanwhile to
      the input of each region (None: nothing): its mean, and how much it rises from the step's
      beginning to its end, in a straight line (left out or None: it is constant).
    - `state(memory)`: the state at that time.
    - `kick(memory, change)`: the memory after a change of the state at once.
    - `below(memory)`: how often noise took variables below zero that cannot be negative, (*axes) of
      the state but the first; None where there is no such noise.
    """

    start: Callable[[jax.Array], Any]
    advance: Callable[..., Any]
    state: Callable[[Any], jax.Array]
    kick: Callable[[Any, jax.Array], Any]
    below: Callable[[Any], Any] = lambda memory: None


# A method of fixed step: of a system with `vector_field(state, stimulus)`, and a step.
Method = Callable[[Any, jax.Array], Stepper]


def runge_kutta(step: Step, *, rising: bool = True) -> Method:
    """The method that takes such steps.

    `rising`: whether a stimulus may rise within a step; it does not where only the step's beginning
    is looked at, so that its mean is taken.
    """

    def method(system: Any, dt: jax.Array) -> Stepper:
        def advance(state: jax.Array, stimulus: Any, rise: Any = None) -> jax.Array:
            if rise is None or not rising:
                return step(lambda y: system.vector_field(y, stimulus), state, dt)

            def field(pair: Any) -> Any:
                y, part = pair  # of the step, from its middle
                return system.vector_field(y, stimulus + rise * part), 1 / dt

            return step(field, (state, jnp.full_like(dt, -0.5)), dt)[0]

        return Stepper(lambda state: state, advance, lambda state: state, jnp.add)

    return method


def moebius(system: Any, dt: jax.Array) -> Stepper:
    r"""A step of order four with one product of the weights.

    Each region is advanced by its model's own flow (`exact_flow`), for which it needs its
    inputs' mean over the step, and how they rise in it. Both are extrapolated from the means over
    the last five steps, as in a method of Adams and Bashforth; then the means over this step are
    known and are kept for the next ones. Before the first step they are those of the Taylor
    polynomial of degree three at the initial state.

    A stimulus is part of the inputs of its own step only: white noise stays white.
    """
    flow = system.exact_flow(dt)

    tables = jnp.stack([_rolled(_MEAN), _rolled((*_RISE, 0.0))])

    def undisturbed(state: jax.Array) -> jax.Array:
        return flow.inputs(state, jnp.zeros_like(system.model.output(state)))

    def start(state: jax.Array) -> Any:
        # Time derivatives of the inputs along the solution.
        function, derivatives = undisturbed, [undisturbed(state)]
        for _ in range(_DERIVATIVES):
            function = _along(function, system.vector_field)
            derivatives.append(function(state))
        history = []
        for back in range(1, len(_MEAN) + 1):
            early, late = -back * dt, (1 - back) * dt
            mean = jnp.zeros_like(derivatives[0])
            for n, derivative in enumerate(derivatives):
                part = (late ** (n + 1) - early ** (n + 1)) / (math.factorial(n + 1) * dt)
                mean = mean + part * derivative
            history.append(mean)
        return state, jnp.stack(history), jnp.asarray(0)

    def advance(memory: Any, stimulus: Any, slope: Any = None) -> Any:
        # The history is a ring, the oldest of which is replaced: nothing is moved.
        state, history, newest = memory
        # In full precision: GPUs would round 32 bits to 10 of mantissa, which the weights magnify.
        weights = tables[:, newest].astype(history.dtype)
        mean, rise = jnp.tensordot(weights, history, 1, precision="highest")

        def pushed(stimulus: jax.Array) -> jax.Array:
            """What a stimulus adds to the inputs, which are linear in it."""
            zero = jnp.zeros_like(stimulus)
            return jax.jvp(lambda s: flow.inputs(state, s), (zero,), (stimulus,))[1]

        if stimulus is not None:
            mean = mean + pushed(stimulus)
        if slope is not None:
            rise = rise + pushed(slope)
        state, over_step = flow.advance(state, mean, rise)
        newest = (newest - 1) % len(_MEAN)
        return state, history.at[newest].set(undisturbed(over_step)), newest

    def kick(memory: Any, change: jax.Array) -> Any:
        return memory[0] + change, *memory[1:]

    return Stepper(start, advance, lambda memory: memory[0], kick)


def _along(function: Any, field: Any) -> Any:
    """The time derivative of a function of the state, along the solution."""
    return lambda y: jax.jvp(function, (y,), (field(y),))[1]


def _rolled(weights: tuple[float, ...]) -> jax.Array:
    """Weights (newest, place) of a ring whose newest entry is at `newest`, older ones after it."""
    return jnp.stack([jnp.roll(jnp.asarray(weights), k) for k in range(len(weights))])


#: The methods of fixed step that can be chosen by name.
METHODS: dict[str, Method] = {
    **{name: runge_kutta(step, rising=name != "euler") for name, step in STEPS.items()},
    "moebius": moebius,
}
