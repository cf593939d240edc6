"""Arrays of the host as JAX's."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def as_array(value: Any) -> jax.Array:
    """`jnp.asarray`, which compiles a program for each shape that it brings from the host: without.

    Arrays of NumPy keep their type, of 32 bits where JAX has no 64. They are copied: JAX would use
    their memory, where it is aligned, and see what is written there later.
    """
    if not isinstance(value, np.ndarray | np.generic):
        return jnp.asarray(value)
    kind = jax.dtypes.canonicalize_dtype(value.dtype)
    return jnp.asarray(np.array(value, kind), kind)
