"""Where a fit stands, on disk: two blocks in turn, so that one is whole whatever happens."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from ngnmm_jax._store import BlockStore


class Checkpoint:
    """The state of a fit (any PyTree of arrays), its history, and how far it is."""

    def __init__(self, folder: Path, definition: dict[str, Any]) -> None:
        self._blocks = BlockStore(folder, definition)
        self._place = 0

    def read(self, like: Any) -> tuple[Any, list[dict[str, np.ndarray]], int, float] | None:
        """The newest that is whole: state, history, steps done, seconds spent."""
        known = [self._blocks.load(k) for k in (0, 1)]
        age = [-1 if block is None else int(block["done"]) for block in known]
        self._place = int(np.argmin(age))
        block = known[1 - self._place]
        if block is None:
            return None
        leaves = [block[f"state_{k}"] for k in range(len(jax.tree.leaves(like)))]
        names = [name.removeprefix("history_") for name in block if name.startswith("history_")]
        done = int(block["done"])
        history = [{name: block[f"history_{name}"][k] for name in names} for k in range(done)]
        state = jax.tree.unflatten(jax.tree.structure(like), leaves)
        return state, history, done, float(block["seconds"])

    def write(
        self, state: Any, history: list[dict[str, np.ndarray]], done: int, seconds: float
    ) -> None:
        """Replace the older of the two."""
        arrays = {f"state_{k}": np.asarray(leaf) for k, leaf in enumerate(jax.tree.leaves(state))}
        for name in history[0]:
            arrays[f"history_{name}"] = np.stack([row[name] for row in history])
        arrays |= {"done": np.array(done), "seconds": np.array(seconds)}
        self._blocks.save(self._place, arrays)
        self._place = 1 - self._place
