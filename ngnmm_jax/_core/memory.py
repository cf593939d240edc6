"""Memory: how much there is, said in words, and large arrays that are there only once."""

import contextlib
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

# JAX takes a NumPy array as it is, without a copy, where it begins at a multiple of this.
_ALIGNED = 64


def memory() -> float:
    """Bytes of this machine's memory; infinite where it does not tell."""
    with contextlib.suppress(AttributeError, ValueError, OSError):
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return float("inf")


def amount(size: float) -> str:
    """Bytes, in words."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def room(shape: Sequence[int], dtype: Any) -> np.ndarray:
    """An array to be filled, and given to JAX by `given` without a copy on a CPU."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    raw = np.empty(size + _ALIGNED, np.uint8)
    begin = -raw.ctypes.data % _ALIGNED
    return raw[begin : begin + size].view(dtype).reshape(tuple(shape))


def given(array: np.ndarray) -> Any:
    """It as JAX's array. It must not be written to afterwards."""
    import jax

    return jax.device_put(array)


def joined(parts: Sequence[np.ndarray], axis: int = 0) -> np.ndarray:
    """NumPy's `concatenate` into a `room`."""
    shape = list(parts[0].shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    return np.concatenate(parts, axis=axis, out=room(shape, parts[0].dtype))
