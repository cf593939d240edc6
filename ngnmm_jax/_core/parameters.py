"""Parameters of a system, by name: replaced, and gathered into an array."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks


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


def at_points(model: Any, points: Mapping[str, Any]) -> Any:
    """A model at many points: its parameters as (point,), (region, 1) or (region, point).

    `points`: values (point,) or (point, region) of some of them, in NumPy.
    """
    leaves = jax.tree.map(np.asarray, model)
    model = jax.tree.map(lambda leaf: leaf[:, None] if leaf.ndim else leaf, leaves)
    own = declared(model)
    known = {name: np.asarray(value).T for name, value in points.items() if name in own}
    return with_leaves(model, known)


def bare(system: Any) -> Any:
    """A system without its names, which no program depends on, so that programs are shared."""
    return system.bare() if hasattr(system, "bare") else system


def constant(system: Any) -> Any:
    """A system through whose parameters no derivatives pass."""
    arrays, rest = eqx.partition(system, eqx.is_array)
    return eqx.combine(jax.lax.stop_gradient(arrays), rest)


def leaf(system: Any, name: str) -> Any:
    """The value of a parameter."""
    model = getattr(system, "model", None)
    if model is None or (hasattr(system, name) and name not in declared(model)):
        return getattr(system, name)
    return getattr(model, name)


def declared(model: Any) -> set[str]:
    """Names of a model's parameters."""
    return {field.name for field in dataclasses.fields(model) if "unit" in field.metadata}


def one_for_all(system: Any, name: str, instead: str) -> None:
    """Refuse one value of a parameter for all regions where these differ in it.

    `instead` says how regions are varied together without becoming the same.
    """
    try:
        value = leaf(system, name)
    except AttributeError:  # what a sweep adds to the parameters
        return
    if not jnp.ndim(value) or not _checks.is_concrete(value) or not np.ptp(np.asarray(value)):
        return
    low, high = np.min(np.asarray(value)), np.max(np.asarray(value))
    _checks.fail(
        name,
        f"keep what regions differ in: {instead}",
        f"one number would replace its {jnp.size(value)} values between {low:.4g} and {high:.4g}",
    )


def checked_again(module: eqx.Module) -> None:
    """The checks that a module makes of itself when it is made."""
    for kind in type(module).__mro__:
        if "__check_init__" in kind.__dict__:
            kind.__dict__["__check_init__"](module)


def concrete_step(system: Any) -> float:
    """A system's `time_step` as a number, also where JAX traces its parameters.

    Raises `ValueError` where a model's time constants are traced.
    """
    step = system.time_step
    return float(step) if _checks.is_concrete(step) else system.model.known_time_step


def pace(system: Any) -> tuple[Any, Any]:
    """A system's `time_step`, and how many of them make one that its activity alone asks for.

    The latter from the `tempo` of its model; 1 where it has none.
    """
    step, model = system.time_step, getattr(system, "model", None)
    if model is None or not hasattr(model, "tempo"):
        return step, 1.0
    tempo = model.tempo()
    xp = np if _checks.is_concrete(step, tempo) else jnp
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
