"""A few values in one short text, for what results show of themselves."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from ngnmm_jax._core import checks as _checks


def several(values: Any, most: int = 6) -> Any:
    """A few numbers one by one, as a text; more, or what is traced, as they are."""
    if not _checks.is_concrete(values) or np.ndim(values) != 1 or np.size(values) > most:
        return values
    return ", ".join(f"{value:.4g}" for value in np.asarray(values)) or "none"


def counted(words: Iterable[str]) -> str:
    """How many there are of each, in the order in which they come."""
    return ", ".join(f"{number} {word}" for word, number in Counter(words).items()) or "none"
