"""Compressed files, up to a size."""

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from typing import Any

from ngnmm_jax.connectome.parts import MOST_BYTES

PACKED: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def unpacked(data: bytes, suffix: str) -> bytes:
    """What is packed in `data`; as it is where the ending is of no packer."""
    if suffix not in PACKED:
        return data
    with PACKED[suffix](io.BytesIO(data)) as stream:
        plain: bytes = stream.read(MOST_BYTES + 1)
    if len(plain) > MOST_BYTES:
        raise ValueError(f"it unpacks to more than {MOST_BYTES / 1e9:.2g} GB")
    return plain
