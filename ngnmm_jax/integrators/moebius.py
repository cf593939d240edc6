"""A method of fixed step by the models' own flows."""

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from ngnmm_jax._core.arrays import as_array
from ngnmm_jax.integrators.base import AbstractFixedStep, Stepper

# The inputs' means over the coming step, and how much they rise in it, from their means over the
# last ones: a polynomial of degree four, and one of degree three.
_MEAN = (5.0, -10.0, 10.0, -5.0, 1.0)
_RISE = (26 / 6, -57 / 6, 42 / 6, -11 / 6)
_DERIVATIVES = 3


class Moebius(AbstractFixedStep):
    """Steps of order four with one product of the weights: "moebius".

    Each region is advanced by its model's own flow (`exact_flow`), for which it needs its
    inputs' mean over the step, and how they rise in it. Both are extrapolated from the means over
    the last five steps, as in a method of Adams and Bashforth; then the means over this step are
    known and are kept for the next ones. Before the first step they are those of the Taylor
    polynomial of degree three at the initial state.

    A stimulus is part of the inputs of its own step only: white noise stays white.
    """

    reach: ClassVar[float] = 2.0
    needs_flow: ClassVar[bool] = True

    def stepper(self, system: Any, dt: jax.Array) -> Stepper:
        """The method at work on a system with `exact_flow(dt)`."""
        flow = system.exact_flow(dt)

        tables = jnp.stack([_rolled(_MEAN), _rolled((*_RISE, 0.0))])

        def undisturbed(state: jax.Array) -> jax.Array:
            return flow.inputs(state, system.nothing(state))

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
            return state, jnp.stack(history), jnp.asarray(0, jnp.int32)

        def advance(memory: Any, stimulus: Any, slope: Any = None) -> Any:
            # The history is a ring, the oldest of which is replaced: nothing is moved.
            state, history, newest = memory
            # In full precision: GPUs would round 32 bits to 10 of mantissa, which the weights
            # magnify.
            weights = tables[:, newest].astype(history.dtype)
            mean, rise = jnp.tensordot(weights, history, 1, precision="highest")

            def pushed(stimulus: Any) -> jax.Array:
                """What a stimulus adds to the inputs, which are linear in it."""
                zero = jax.tree.map(jnp.zeros_like, stimulus)
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
    return jnp.stack([jnp.roll(as_array(weights), k) for k in range(len(weights))])
