"""A model's populations as arrays, with an axis `population`; and systems of many runs."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core.parameters import with_leaves
from ngnmm_jax.models.base import AbstractNeuralMass
from ngnmm_jax.systems.homogeneous import Homogeneous
from ngnmm_jax.systems.network import Network


class Runs(eqx.Module):
    """The systems of a batch: one, of which the parameters `varied` (run, …) differ by run."""

    system: Network | Homogeneous
    varied: dict[str, Float[Array, "run ..."]]

    def each(self, function: Callable[..., Any], *lanes: Any) -> Any:
        """`function(system, *lane)` of each run, over the leading axis of all lanes."""
        return jax.vmap(lambda v, *lane: function(with_leaves(self.system, v), *lane))(
            self.varied, *lanes
        )


def parameter(system: Network | Homogeneous, name: str) -> Float[Array, "population ..."]:
    """A parameter of all populations: (population, *region), with ones to broadcast."""
    every = jnp.broadcast_arrays(*(getattr(p, name) for p in system.model.populations()))
    values = jnp.stack(every)
    return values.reshape(values.shape + (1,) * (len(system.state_shape) - values.ndim))


def rows(model: AbstractNeuralMass, part: str) -> np.ndarray:
    """Where a state of the mean field has its populations' `rate`, `potential` or `gate`."""
    return np.array([model.variables.index(getattr(p, part)) for p in model.populations()])


def assembled(
    model: AbstractNeuralMass, **parts: Float[Array, "population *region"]
) -> Float[Array, "variable *region"]:
    """A state of the mean field from the populations' `rate`, `potential` and `gate`.

    What is not given is zero.
    """
    found = {}
    for k, population in enumerate(model.populations()):
        for part, values in parts.items():
            found[getattr(population, part)] = values[k]
    zero = jnp.zeros_like(next(iter(found.values())))
    return jnp.stack([found.get(name, zero) for name in model.variables])
