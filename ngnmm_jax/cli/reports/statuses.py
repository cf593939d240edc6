"""How computations ended, each status in its own words."""

from typing import Any

import numpy as np

from ngnmm_jax._core.status import Status


def ended(status: Any) -> dict[str, int]:
    """How many ended in which way, by the name of the way and what it means; those that did."""
    codes = np.ravel(np.asarray(status))
    counts = {code: int((codes == code).sum()) for code in Status if code != Status.OK}
    return {
        f"{code.name.lower()} ({code.explanation.split(':')[0]})": count
        for code, count in counts.items()
        if count
    }


def in_one_line(status: Any) -> str:
    """The same as a single text, by names alone; "0" where all are OK."""
    found = ended(status).items()
    return ", ".join(f"{count} {words.partition(' ')[0]}" for words, count in found) or "0"
