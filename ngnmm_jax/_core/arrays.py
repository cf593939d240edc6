"""Arrays of the host as JAX's."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def as_array(value: Any, dtype: Any = None) -> jax.Array:
    """JAX's array of a value, of its own memory.

    As `jnp.asarray`, which with a type uses the memory of NumPy's arrays where it happens to be
    aligned, and sees what is written there later; and without one compiles a program for each
    shape that it brings from the host.
    """
    if isinstance(value, jax.Array) or not hasattr(value, "__array__"):
        return jnp.asarray(value, dtype)
    known = np.asarray(value)
    kind = jax.dtypes.canonicalize_dtype(known.dtype if dtype is None else dtype)
    return jnp.asarray(np.array(known, kind), kind)
