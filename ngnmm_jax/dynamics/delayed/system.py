"""What is asked of a system with one delay."""

from typing import Any, Protocol, runtime_checkable

import jax
from jaxtyping import Array, Float


@runtime_checkable
class DelayedSystem(Protocol):
    """A system whose slope depends on what it sent a while ago, and on its state of now.

        x'(t) = slope(x(t), gain * sent(x(t - delay)))

    The delay is in the system's unit of time; what is sent has an axis of channels.
    """

    @property
    def state_shape(self) -> tuple[int, ...]:
        """(variable,)."""
        ...

    @property
    def delay(self) -> Any:
        """How long what is sent is on its way."""
        ...

    @property
    def gain(self) -> Any:
        """By what it is multiplied on its way."""
        ...

    @property
    def time_step(self) -> Any:
        """A step at which RK4 follows it to about 1e-6."""
        ...

    def slope(
        self, state: Float[Array, "variable"], arriving: Float[Array, "channel"]
    ) -> Float[Array, "variable"]:
        """Time derivative of a state, where this arrives from the past."""
        ...

    def sent(self, state: Float[Array, "variable"]) -> Float[Array, "channel"]:
        """What a state sends into the future."""
        ...

    def undelayed(self) -> Any:
        """The same without its delay."""
        ...


def is_delayed(system: Any) -> bool:
    """Whether a system is a `DelayedSystem`, by its methods."""
    names = ("slope", "sent", "undelayed")
    return all(callable(getattr(type(system), name, None)) for name in names)


def linearised(system: Any, state: jax.Array, arriving: jax.Array) -> tuple[Any, Any, Any]:
    """The derivatives of the slope by the state, and by what arrives; and of what is sent.

    Shapes (variable, variable), (variable, channel), (channel, variable).
    """
    by_state, by_arriving = jax.jacfwd(system.slope, argnums=(0, 1))(state, arriving)
    return by_state, by_arriving, jax.jacfwd(system.sent)(state)
