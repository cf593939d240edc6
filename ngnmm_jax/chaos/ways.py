"""How runs in lock-step are followed and watched: without delays, and with them."""

from typing import Any

import jax
import jax.numpy as jnp

from ngnmm_jax.integrators.runge_kutta import RK4
from ngnmm_jax.systems.delayed import Remembered, at_work, slope_after


class Plain:
    """Without delays: the memory is the state, and those that are done stand still."""

    def __init__(self, system: Any, dt: jax.Array) -> None:
        self.system, self.dt = system, dt

    def start(self, state: jax.Array) -> jax.Array:
        """The memory, of states (variable, region, run) or (variable, run)."""
        return state

    def forward(self, state: jax.Array, here: Any) -> jax.Array:
        """The memory after a step of each run's own length, of those that go on (run,)."""
        return RK4().step(self.system.vector_field, state, jnp.where(here, self.dt, 0.0))

    def seen(self, state: jax.Array) -> tuple[jax.Array, jax.Array]:
        """States, and their slopes."""
        return state, self.system.vector_field(state)


class Late:
    """With delays: all runs take the same steps, and as many."""

    def __init__(self, system: Any, dt: jax.Array) -> None:
        self.system, self.stepper = system, at_work(RK4(), system, dt[0])

    def start(self, state: jax.Array) -> Remembered:
        """Where regions have sent the same for ever."""
        found: Remembered = self.stepper.start(state)
        return found

    def forward(self, memory: Remembered, here: Any) -> Remembered:
        """A step."""
        del here
        found: Remembered = self.stepper.advance(memory, None)
        return found

    def seen(self, memory: Remembered) -> tuple[jax.Array, jax.Array]:
        """The state, and what it and the past make of it."""
        state = self.stepper.state(memory)
        return state, slope_after(self.system, memory, state)


def way_of(system: Any, dt: jax.Array) -> Plain | Late:
    """That of a system, with steps (run,)."""
    late = getattr(system, "delays", None) is not None
    return Late(system, dt) if late else Plain(system, dt)
