"""What is shown of models: their parameters' values."""

from typing import Any

import numpy as np

from ngnmm_jax._core.cards import TIED, is_array, shown
from ngnmm_jax._core.parameters import declared


def values_of(model: Any) -> dict[str, str]:
    """Each parameter's value with its unit; of several its range."""
    return {
        name: _with_unit(getattr(model, name), field.metadata["unit"])
        for name, field in declared(model).items()
    }


def set_in(model: Any) -> str:
    """The parameters that differ from their defaults, with their values, in a line."""
    values, fields = values_of(model), declared(model)
    own = {k: v for k, v in values.items() if _differs(getattr(model, k), fields[k].default)}
    if not own:
        return "all as by default"
    rest = "" if len(own) == len(values) else "; the others as by default"
    return listed(own) + rest


def listed(values: dict[str, str]) -> str:
    """Names and values in a line, which is broken between them only."""
    items = (f"{name} {value}".strip() for name, value in values.items())
    return ", ".join(item.replace(" ", TIED) for item in items)


def _differs(value: Any, default: Any) -> bool:
    if not is_array(value):
        return True
    return bool((np.asarray(value) != np.asarray(default, value.dtype)).any())


def _with_unit(value: Any, unit: str) -> str:
    text = shown(value)
    if is_array(value) and value.ndim == 1:
        text = f"{np.min(value):.4g} … {np.max(value):.4g}"
    return text if unit in ("", "1") else f"{text} {unit}"
