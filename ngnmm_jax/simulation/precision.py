"""Systems in 32 or 64 bits."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax.systems.driven import Driven, Undriven


def cast(system: Undriven | Driven, dtype: Any) -> Any:
    """The system with all its numbers in 32 or 64 bits; a stimulus keeps its own, for its times.

    With `dtype` None, as it is.
    """
    if dtype is None:
        return system
    if jnp.dtype(dtype) not in (jnp.dtype("float32"), jnp.dtype("float64")):
        _checks.fail("dtype", "be float32 or float64", f"it is {dtype}")
    if jnp.dtype(dtype) == jnp.dtype("float64"):
        _checks.require_x64("dtype=float64")
    # Numbers of Python and NumPy too; whole numbers, truth values and texts stay.
    found = jax.tree.map(lambda leaf: as_array(leaf, dtype) if _floating(leaf) else leaf, system)
    if not isinstance(system, Driven):
        return found
    return eqx.tree_at(lambda d: d.stimulus, found, system.stimulus, is_leaf=lambda x: x is None)


def _floating(leaf: Any) -> bool:
    """Whether it holds floats, of JAX (traced too), NumPy or Python."""
    if isinstance(leaf, float | complex | np.inexact):
        return True
    kind = getattr(leaf, "dtype", None)
    return kind is not None and bool(jnp.issubdtype(kind, jnp.inexact))
