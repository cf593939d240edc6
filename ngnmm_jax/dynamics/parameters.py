"""Parameters of a system, by name: replaced, and gathered into an array."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._checks import is_concrete


def with_leaves(system: Any, values: Mapping[str, Any]) -> Any:
    """A system with other values of some parameters, of whatever shape, without checks.

    A parameter is an attribute of the system, or else of its `model`; those of a driven network are
    its network's. For inside of compiled
    code, where `with_parameters` cannot check and batches have axes of their own.
    """
    names = list(values)
    if not names:
        return system
    return eqx.tree_at(
        lambda s: [leaf(s, name) for name in names], system, [values[name] for name in names]
    )


def bare(system: Any) -> Any:
    """A system without its names, which no program depends on, so that programs are shared."""
    return system.bare() if hasattr(system, "bare") else system


def constant(system: Any) -> Any:
    """A system through whose parameters no derivatives pass."""
    arrays, rest = eqx.partition(system, eqx.is_array)
    return eqx.combine(jax.lax.stop_gradient(arrays), rest)


def leaf(system: Any, name: str) -> Any:
    """The value of a parameter."""
    return getattr(system if hasattr(system, name) else system.model, name)


def concrete_step(system: Any) -> float:
    """A system's `time_step` as a number, also where JAX traces its parameters.

    Raises `ValueError` where a model's time constants are traced.
    """
    step = system.time_step
    return float(step) if is_concrete(step) else system.model.known_time_step


def pace(system: Any) -> tuple[Any, Any]:
    """A system's `time_step`, and how many of them make one that its activity alone asks for.

    The latter from the `tempo` of its model; 1 where it has none.
    """
    step, model = system.time_step, getattr(system, "model", None)
    if model is None or not hasattr(model, "tempo"):
        return step, 1.0
    tempo = model.tempo()
    xp = np if is_concrete(step, tempo) else jnp
    return step, xp.maximum(1.0, xp.round(xp.min(tempo) / step))


class ParametrisedField(eqx.Module):
    """A system's vector field on flat states, as a function of some of its parameters."""

    system: Any
    names: tuple[str, ...] = eqx.field(static=True)

    def __call__(
        self, state: Float[Array, "dimension"], parameters: Float[Array, "parameter"]
    ) -> Float[Array, "dimension"]:
        """Time derivative of a flattened state."""
        values = {name: parameters[k] for k, name in enumerate(self.names)}
        system = with_leaves(self.system, values)
        return system.vector_field(state.reshape(self.system.state_shape)).ravel()

    @property
    def parameters(self) -> Float[Array, "parameter"]:
        """Their values in the system."""
        return jnp.stack([jnp.asarray(leaf(self.system, name), float) for name in self.names])
