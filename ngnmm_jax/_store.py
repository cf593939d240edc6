"""Results of long work, block by block on disk: what is finished survives whatever happens."""

import contextlib
import json
import os
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ngnmm_jax import _checks
from ngnmm_jax._progress import progress_bar


class BlockStore:
    """A folder of numbered blocks of arrays, with the definition of what they are.

    A block counts once its file has its final name, which it gets after its data are on the
    disk. The same definition resumes; another one is refused, and the difference named.
    """

    def __init__(self, folder: Path, definition: dict[str, Any]) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "definition.json"
        text = json.dumps(definition, indent=1, sort_keys=True)
        if not path.exists():
            self._write(path, text.encode())
            return
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(
                f"The file {str(path)!r} is damaged ({error}): remove the folder to start again."
            ) from error
        detail = differences(known, json.loads(text))
        if detail:
            _checks.fail(
                "store", "hold the same computation", f"{str(folder)!r} differs in {detail}"
            )

    def load(self, number: int) -> dict[str, np.ndarray] | None:
        """A finished block, or None; a damaged one is said and counts as unfinished."""
        path = self._path(number)
        try:
            with path.open("rb") as stream, np.load(stream) as file:
                return {name: file[name] for name in file.files}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError) as error:
            warnings.warn(f"Block {path} is damaged ({error}) and is computed again.", stacklevel=2)
            return None

    def save(self, number: int, arrays: dict[str, np.ndarray]) -> None:
        """Keep a finished block."""
        descriptor, name = tempfile.mkstemp(dir=self.folder, suffix=".part")
        try:
            with os.fdopen(descriptor, "wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self._path(number))
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise

    def _path(self, number: int) -> Path:
        return self.folder / f"block-{number:05d}.npz"

    def _write(self, path: Path, data: bytes) -> None:
        part = path.with_suffix(".part")
        part.write_bytes(data)
        os.replace(part, path)


def in_blocks(
    total: int,
    size: int,
    work: Callable[[np.ndarray, Callable[[str], Any]], dict[str, np.ndarray]],
    *,
    store: str | Path | None,
    definition: Callable[[], dict[str, Any]],
    progress: bool | None,
    what: str,
    points: int = 1,
) -> dict[str, np.ndarray]:
    """Arrays over `total` items, computed `size` items at a time, each block kept in `store`.

    **Arguments:**

    - `work(items, say)`: arrays with the items' axis in front; `say(text)` shows what it does.
    - `definition`: of what decides the numbers.
    - `points`: that the progress bar counts for each item.
    """
    blocks = None if store is None else BlockStore(Path(store), definition())
    finished = []
    with progress_bar(total * points, what, "point", progress) as bar:
        for number, begin in enumerate(range(0, total, size)):
            items = np.arange(begin, min(begin + size, total))
            block = None if blocks is None else blocks.load(number)
            if block is None:
                block = work(items, bar.set_postfix_str)
                if blocks is not None:
                    blocks.save(number, block)
            finished.append(block)
            bar.update(items.size * points)
    return {name: np.concatenate([block[name] for block in finished]) for name in finished[0]}


def differences(known: dict[str, Any], wanted: dict[str, Any]) -> str:
    """In which entries two definitions differ, in words; empty where in none."""
    differs = [k for k in sorted({*known, *wanted}) if known.get(k) != wanted.get(k)]
    pairs = ((k, _short(known.get(k)), _short(wanted.get(k))) for k in differs)
    return "; ".join(f"{k} ({there} there, {here} here)" for k, there, here in pairs)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"
