"""A model's parameters: how they are declared, what is accepted for them, which there are."""

import dataclasses
from functools import partial
from types import MappingProxyType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import declared


def as_float_array(value: Any) -> Any:
    """`value` as a floating-point array of JAX's default precision; float arrays keep theirs."""
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jnp.floating):
        return value
    if not _checks.is_concrete(value):
        return as_array(value, dtype=jnp.result_type(float))
    with jax.ensure_compile_time_eval():  # known, and so in `jax.jit` too
        return as_array(value, dtype=jnp.result_type(float))


def as_parameter(name: str, value: Any) -> Any:
    """What is given for a parameter of that name as a floating-point array."""
    if _checks.is_concrete(value):
        checked = _checks.numbers(name, value, "be a number, or one for each region")
        value = value if isinstance(value, jax.Array) else checked
    return as_float_array(value)


def parameter(default: float, *, unit: str, doc: str, positive: bool = False) -> Any:
    """Declare a parameter of a model: a scalar, or one value per region.

    **Arguments:**

    - `default`: its value when none is given.
    - `unit`: its unit, as text; "1" where it has none.
    - `doc`: what it means, in a few words.
    - `positive`: whether zero and negative values are refused at construction.
    """
    return eqx.field(
        default=default,
        converter=as_float_array,  # of a model's class: `as_parameter`, which knows its name
        metadata={"unit": unit, "doc": doc, "positive": positive},
    )


def know_their_names(model: type[Any]) -> None:
    """Let the parameters that a class declares say which of them was given something wrong."""
    for name, value in list(model.__dict__.items()):
        if isinstance(value, dataclasses.Field) and "unit" in value.metadata:
            converter = {"converter": partial(as_parameter, name)}
            value.metadata = MappingProxyType({**value.metadata, **converter})


def check_parameters(model: Any) -> None:
    """Refuse values that are not finite, not positive where they must be, or of other regions."""
    regions: dict[str, int] = {}
    for name, field in declared(model).items():
        value = getattr(model, name)
        if jnp.ndim(value) > 1:
            _checks.fail(
                name,
                "be a scalar or have one value per region",
                f"its shape is {jnp.shape(value)}",
            )
        if jnp.ndim(value) == 1:
            regions[name] = jnp.shape(value)[0]
        check = _checks.positive if field.metadata["positive"] else _checks.finite
        check(name, value)
    if len(set(regions.values())) > 1:
        (first, n), (other, m) = next(
            (a, b) for a in regions.items() for b in regions.items() if a[1] != b[1]
        )
        _checks.fail(
            other,
            "have as many regions as the other parameters",
            f"it has {m} values and `{first}` has {n}",
        )
