"""Steps of a driven system with its time as a further variable."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core.arrays import as_array
from ngnmm_jax.integrators.runge_kutta import RK4


class DrivenFlow(eqx.Module):
    """A driven system on flat states with their time behind, (*state, time).

    Tangents whose last row is zero keep it so: they are those of the state alone.
    """

    system: Any

    def field(self, packed: Float[Array, "packed"]) -> Float[Array, "packed"]:
        """Of the state and the time."""
        x = packed[:-1].reshape(self.system.state_shape)
        return jnp.append(self.system.slope_at(packed[-1], x).ravel(), 1.0)

    def step(self, packed: Float[Array, "packed"], h: Float[Array, ""]) -> Float[Array, "packed"]:
        """RK4's, with the drive as it is over the step."""
        t, begin = packed[-1], jnp.zeros(())
        slope = slope_over(self.system, t, h)

        def field(pair: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            return slope(pair[1], pair[0]), jnp.ones(())

        x = packed[:-1].reshape(self.system.state_shape)
        x, _ = RK4().step(field, (x, begin), h)
        return jnp.append(x.ravel(), t + h)


def slope_over(system: Any, t: Any, h: Any) -> Any:
    """Of the time since `t` and a state: the slope in a step of length `h`.

    Of a stimulus by the straight line that has its mean and its first moment over the step, as
    simulations have it: nothing of its jumps is lost.
    """
    stimulus = getattr(system, "stimulus", None)
    if stimulus is None:
        return lambda since, x: system.slope_at(t + since, x)
    some = jnp.where(h > 0, h, 1.0)
    mean, rise = stimulus.moments(t, some)

    def slope(since: Any, x: Any) -> Any:
        push = jnp.broadcast_to(mean + rise * (since / some - 0.5), x.shape[1:])
        return system.system.vector_field(x, push)

    return slope


def with_time(x: Any, xi: Any) -> tuple[jax.Array, jax.Array]:
    """A state and its tangents (*state, tangent), flat and with their time, zero, behind."""
    count = xi.shape[-1]
    flat = as_array(xi).reshape(int(np.prod(jnp.shape(x))), count)
    return jnp.append(jnp.ravel(x), 0.0), jnp.concatenate([flat, jnp.zeros((1, count))])
