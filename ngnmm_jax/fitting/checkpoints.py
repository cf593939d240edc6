"""Where a fit stands, on disk: two blocks in turn, so that one is whole whatever happens."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.interrupted import keeping
from ngnmm_jax._core.randomness import is_key
from ngnmm_jax._core.store import Store

Arrays = dict[str, np.ndarray]


class Stand(NamedTuple):
    """Where a fit stands: its state, the rows of its history, steps done, seconds spent."""

    state: Any
    history: list[Arrays]
    done: int
    seconds: float


class Checkpoint:
    """The state of a fit (arrays by name), its history, and how far it is."""

    def __init__(self, folder: Path, definition: dict[str, Any]) -> None:
        self._store = Store(folder, "fit", definition)
        self._place = 0

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """Wait until no other process works at this fit, then keep others waiting.

        Steps follow each other, so that processes can only take turns: the second one then reads
        what the first one found, or goes on where it was killed.
        """
        return self._store.alone("fit")

    def keeping(
        self, total: int, done: Callable[[], int]
    ) -> contextlib.AbstractContextManager[None]:
        """While it lasts, Ctrl-C says how many of `total` steps are kept."""
        return keeping(self._store.folder, "steps", total, done)

    def read(self, restored: Callable[[Arrays, int], Any]) -> Stand | None:
        """The newest that is whole.

        One from which `restored` cannot make a state (`ValueError`) is said, and not taken.
        """
        blocks = {place: self._store.load(place) for place in (0, 1)}
        ages = {place: _age(block) for place, block in blocks.items()}
        self._place = min(ages, key=lambda place: ages[place])
        for place in sorted(ages, key=lambda place: -ages[place]):
            block = blocks[place]
            if block is None:
                continue
            try:
                found = _opened(block, restored)
            except ValueError as error:
                self._store.forget(place, error)
                self._place = place
                continue
            return found
        return None

    def write(self, state: Arrays, history: list[Arrays], done: int, seconds: float) -> None:
        """Replace the older of the two."""
        arrays = {f"state_{name}": value for name, value in state.items()}
        for name in history[0]:
            arrays[f"history_{name}"] = np.stack([row[name] for row in history])
        arrays |= {"done": np.array(done), "seconds": np.array(seconds)}
        self._store.save(self._place, arrays)
        self._place = 1 - self._place


def _age(block: Arrays | None) -> int:
    return -1 if block is None or "done" not in block else int(block["done"])


def _opened(block: Arrays, restored: Callable[[Arrays, int], Any]) -> Stand:
    missing = {"done", "seconds", "history_loss", "history_x"} - set(block)
    if missing:
        raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    done = int(block["done"])
    columns = {n.removeprefix("history_"): v for n, v in block.items() if n.startswith("history_")}
    short = [name for name, value in columns.items() if value.shape[:1] != (done,)]
    if short or done < 1:
        raise ValueError(f"its history is not of {done} steps")
    history = [{name: value[k] for name, value in columns.items()} for k in range(done)]
    state = {n.removeprefix("state_"): v for n, v in block.items() if n.startswith("state_")}
    return Stand(restored(state, done), history, done, float(block["seconds"]))


def leaves(state: Any) -> Arrays:
    """A PyTree of arrays as arrays by number."""
    return {str(k): np.asarray(_bits(leaf)) for k, leaf in enumerate(jax.tree.leaves(state))}


def with_leaves_of(like: Any, arrays: Arrays) -> Any:
    """The PyTree again, of the form of another one; `ValueError` where it has another form."""
    known = jax.tree.leaves(like)
    if set(arrays) != {str(k) for k in range(len(known))}:
        raise ValueError(f"it holds {len(arrays)} arrays of a state in place of {len(known)}")
    found = []
    for k, leaf in enumerate(known):
        value, form = arrays[str(k)], np.asarray(_bits(leaf))
        if value.dtype.kind == "V" and value.dtype.itemsize == form.dtype.itemsize:
            value = value.view(form.dtype)  # types that NumPy does not know, such as bfloat16
        if (value.shape, value.dtype) != (form.shape, form.dtype):
            raise ValueError(
                f"array {k} of its state is {value.dtype}{value.shape} in place of "
                f"{form.dtype}{form.shape}"
            )
        found.append(
            jax.random.wrap_key_data(as_array(value), impl=jax.random.key_impl(leaf))
            if is_key(leaf)
            else as_array(value)
        )
    return jax.tree.unflatten(jax.tree.structure(like), found)


def _bits(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if is_key(leaf) else leaf
