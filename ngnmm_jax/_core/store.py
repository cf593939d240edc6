"""The one engine that keeps long work on disk: sweeps, maps, spectra, fits, reproduced figures.

A store is a folder of numbered blocks of files, with the definition of what they are, in
`.ngnmm_store`:

    definition.json       what decides the numbers, and a digest of it
    block-00003.json      a record: block 3 is finished; its files with size and digest, its number,
                          the definition's digest, and a digest of all that
    block-00003.claim     a living process works at it
    *.part                a file that is being written

**The promise.** A block counts once its record is there, which is after its files are on the disk.
(The record itself reaches it some seconds later: who loses it in a power cut loses that block.)
Files are written under another name and renamed. What was damaged, exchanged or belongs to another
definition is said by a warning and computed again. Processes that work in one store share its
blocks; a claim ends with its process. Leftovers of killed processes go at the next start. Nothing
in a store is executed: there is no pickle.
"""

import contextlib
import io
import re
import shutil
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core import files, records
from ngnmm_jax._core.interrupted import keeping
from ngnmm_jax._core.progress import progress_bar
from ngnmm_jax._core.records import Damaged

#: The folder, in a store's own, that tells that it is one.
MARK = ".ngnmm_store"
#: Raised where what is written changes.
FORMAT = 1
# Seconds between looks at what other processes do.
_LOOK = 0.2


class Store:
    """The store in a folder: made, or opened where it holds the same; see above.

    - `what`: it is a store of, "sweep".
    - `definition`: all that decides the numbers, fit for JSON.
    - `facts`: beside them, such as when it was made; those of the first process stay.
    - `beside`: other files may be in the folder.

    Raises `ValueError` where the folder holds something else, and names the difference.
    """

    def __init__(
        self,
        folder: Path,
        what: str,
        definition: dict[str, Any],
        facts: dict[str, Any] | None = None,
        *,
        beside: bool = False,
    ) -> None:
        wanted = records.plain({"format": FORMAT, "what": what, "definition": definition})
        self.folder, self.base = folder, folder / MARK
        self.what, self.identity = what, records.digest(wanted)
        self._make(beside)
        files.clear(self.base, (files.PART, ".claim"))
        known = self._known(wanted, records.plain(facts or {}))
        self.facts = known["facts"]
        if known["what"] != what:
            but = f"{str(folder)!r} holds a {known['what']}: give another folder"
            _checks.fail("store", f"hold a {what}", but)
        detail = records.differences(known["definition"], wanted["definition"])
        if detail:
            but = f"{str(folder)!r} differs in {detail}: give another folder"
            _checks.fail("store", f"hold the same {what}", but)
        if known["format"] != FORMAT:
            _checks.fail(
                "store", f"be of format {FORMAT}", f"{str(folder)!r} is of format {known['format']}"
            )

    @classmethod
    def open(cls, folder: Path) -> "tuple[Store, dict[str, Any]]":
        """A store that is there, to read from, and its definition.

        Raises `ValueError` where its definition is damaged, which only its caller can mend.
        """
        path = folder / MARK / "definition.json"
        try:
            record = records.read(path)
        except Damaged as error:
            record, why = None, str(error)
        else:
            why = f"{path} is absent"
        if record is None or not {"format", "what", "definition", "facts"} <= set(record):
            raise ValueError(
                f"{why}. The call that made the store mends it; or remove the folder to start "
                "again (on the command line --restart)."
            )
        self = cls.__new__(cls)
        self.folder, self.base, self.what = folder, folder / MARK, record["what"]
        self.facts = record.pop("facts")
        self.identity = records.digest(record)
        return self, record["definition"]

    def _make(self, beside: bool) -> None:
        folder = self.folder
        if not self.base.is_dir() and not beside:
            if folder.exists() and not folder.is_dir():
                _checks.fail("store", "be a folder", f"{str(folder)!r} is a file")
            others = folder.exists() and any(p.name != MARK for p in folder.iterdir())
            if others and not self.base.is_dir():  # no other process made it since
                what = "holds something else"
                if _was_sweep(folder):
                    what = f"has lost {MARK}: remove it to start again (--restart)"
                must = "be a new folder, or one of the same computation"
                _checks.fail("store", must, f"{str(folder)!r} {what}")
        try:
            self.base.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(
                error.errno, f"{error.strerror}: no store can be in {str(folder)!r}"
            ) from error

    def _known(self, wanted: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
        """The definition that is there; ours where there is none or it is damaged."""
        path = self.base / "definition.json"
        why = ""
        try:
            record = records.read(path)
            if record is not None and {"format", "what", "definition", "facts"} <= set(record):
                return record
        except Damaged as error:
            why = str(error)
        if why or any(self._records()):
            why = why or f"{path} is absent"
            if not self._holds_ours():
                raise ValueError(
                    f"{why}, and the store's blocks are of another computation, or damaged too: "
                    f"remove the folder {str(self.folder)!r} to start again (on the command line "
                    "--restart), or give another one."
                )
            warnings.warn(f"{why}; it is made again.", stacklevel=4)
        ours = {**wanted, "facts": facts}
        files.write(path, records.text(ours), self.base, new=not why)
        return records.read(path) or ours

    def _holds_ours(self) -> bool:
        """Whether a record tells that this is our computation, or none tells anything."""
        owners = []
        for path in self._records():
            with contextlib.suppress(Damaged):
                owners.append((records.read(path) or {}).get("store"))
        return self.identity in owners or not owners

    def _records(self) -> Iterator[Path]:
        yield from self.base.glob("block-*.json")
        yield from self.base.glob("layout.json")

    def numbers(self) -> list[int]:
        """Of the blocks that have a record."""
        names = (path.stem.removeprefix("block-") for path in self.base.glob("block-*.json"))
        return sorted(int(name) for name in names if name.isdecimal())

    # -- blocks of files

    def put(
        self,
        number: int | str,
        written: dict[str, bytes],
        there: Iterable[str] = (),
        loose: Iterable[str] = (),
    ) -> None:
        """Keep a finished block: files by name, which are written, and files that are there.

        `loose` ones may reach the disk later, as the record does.
        """
        path = self._path(number)
        path.unlink(missing_ok=True)
        known: dict[str, Any] = {}
        for name in there:
            known[name] = records.seal((self.folder / name).read_bytes())
        for name, data in written.items():
            files.write(self.folder / name, data, self.base, sync=name not in loose)
            known[name] = records.seal(data)
        record = {"number": number, "store": self.identity, "files": known}
        files.write(path, records.text(record), self.base, sync=False)

    def get(self, number: int | str, *, mend: bool = True) -> dict[str, bytes] | None:
        """The files of a finished block, by name, or None.

        A damaged one is said, and forgotten with `mend`; without, `Damaged` is raised.
        """
        path = self._path(number)
        try:
            record = records.read(path)
            if record is None:
                return None
            if record.get("store") != self.identity:
                raise Damaged(path, "it is another computation's")
            if record.get("number") != number:
                raise Damaged(path, f"it is that of block {record.get('number')}")
            return {name: self._file(name, seal) for name, seal in record["files"].items()}
        except (Damaged, KeyError, TypeError, AttributeError) as error:
            damage = error if isinstance(error, Damaged) else Damaged(path, repr(error))
            if not mend:
                raise damage from error
            self.forget(number, damage)
            return None

    def forget(self, number: int | str, why: Exception | str) -> None:
        """A block is not finished after all: say it, so that it is computed again."""
        what = "The layout" if number == "layout" else f"Block {number}"
        warnings.warn(f"{what} of {self.folder} is computed again: {why}.", stacklevel=4)
        self._path(number).unlink(missing_ok=True)

    def drop(self, number: int | str) -> None:
        """A block is not finished any more, and its files go, as far as they can be told."""
        for name in self.names(number) or ():
            (self.folder / name).unlink(missing_ok=True)
        self._path(number).unlink(missing_ok=True)

    def names(self, number: int | str) -> list[str] | None:
        """The files of a block that counts as finished, none of which is read."""
        with contextlib.suppress(Damaged):
            record = records.read(self._path(number))
            if record is not None and record.get("store") == self.identity:
                return list(record["files"])
        return None

    def _file(self, name: str, seal: list[Any]) -> bytes:
        path = self.folder / name
        try:
            data = path.read_bytes()
        except OSError as error:
            raise Damaged(path, error.strerror or repr(error)) from error
        if records.seal(data) != seal:
            raise Damaged(path, "its digest is another one")
        return data

    def _path(self, number: int | str) -> Path:
        name = number if isinstance(number, str) else f"block-{number:05d}"
        return self.base / f"{name}.json"

    # -- blocks of arrays

    def save(self, number: int, arrays: dict[str, np.ndarray]) -> None:
        """Keep a finished block of arrays, in one file that `numpy.load` reads."""
        self.put(number, {_arrays(number): records.packed(arrays)})

    def load(self, number: int) -> dict[str, np.ndarray] | None:
        """A finished block of arrays, or None."""
        found = self.get(number)
        if found is None:
            return None
        try:
            with np.load(io.BytesIO(found[_arrays(number)]), allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        except Exception as error:  # sealed, but by somebody else; it may raise anything
            self.forget(number, Damaged(self.folder / _arrays(number), str(error)))
            return None

    # -- work that is shared

    def claim(self, number: int | str) -> contextlib.AbstractContextManager[bool]:
        """Whether this process is to work at a block: not while another one does."""
        return files.claim(self._path(number).with_suffix(".claim"))

    def finish(
        self,
        todo: Iterable[Any],
        find: Callable[[Any], Any],
        compute: Callable[[Any], Any],
        *,
        pulse: files.Pulse | None = None,
        wait: bool = True,
    ) -> Iterator[tuple[Any, Any, bool]]:
        """Number, result, and whether it was computed here, of each block as it is finished.

        `compute(number)` also keeps it; `find(number)` is what is kept, or None. Blocks at which
        other processes work are left to them for as long as these live; without `wait` they are
        left out, and `pulse` knows of earlier calls which of these live.
        """
        left, pulse = list(todo), files.Pulse() if pulse is None else pulse
        while left:
            busy = []
            for number in left:
                with self.claim(number) as ours:
                    if not ours and not pulse.silent(self._path(number).with_suffix(".claim")):
                        busy.append(number)
                        continue
                    result = find(number)
                    here = result is None
                    if here:
                        result = compute(number)
                yield number, result, here
            if not wait:
                return
            if len(busy) == len(left) > 0:
                time.sleep(_LOOK)
            left = busy
        files.sync_folder(self.base)

    def keeping(self, total: int) -> contextlib.AbstractContextManager[None]:
        """While it lasts, Ctrl-C says how many of `total` blocks are kept."""
        return keeping(self.folder, "blocks", total, lambda: len(self.numbers()))

    @contextlib.contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Wait until no other living process holds this claim, and hold it."""
        pulse = files.Pulse()
        while True:
            with self.claim(name) as ours:
                if ours or pulse.silent(self._path(name).with_suffix(".claim")):
                    yield
                    return
            time.sleep(_LOOK)


def in_blocks(
    total: int,
    size: int,
    work: Callable[[np.ndarray, Callable[..., Any]], dict[str, np.ndarray]],
    *,
    store: str | Path | None,
    definition: Callable[[], dict[str, Any]],
    progress: bool | None,
    what: str,
    points: int = 1,
) -> dict[str, np.ndarray]:
    """Arrays over `total` items, computed `size` items at a time, each block kept in `store`.

    **Arguments:**

    - `work(items, say)`: arrays with the items' axis in front; `say(text, share)` shows what it
      does, and that so much of the items' work is done.
    - `definition`: of what decides the numbers.
    - `points`: that the progress bar counts for each item.
    """
    kept = None if store is None else Store(_checks.path("store", store), what, definition())
    numbers = range(-(-total // size))
    finished: dict[int, dict[str, np.ndarray]] = {}

    def items(number: int) -> np.ndarray:
        return np.arange(number * size, min((number + 1) * size, total))

    kept_here = contextlib.nullcontext() if kept is None else kept.keeping(len(numbers))
    with kept_here, progress_bar(total * points, what, "point", progress) as bar:
        done = 0

        def compute(number: int) -> dict[str, np.ndarray]:
            def say(text: str, share: float = 0.0) -> None:
                bar.n = done + int(share * items(number).size * points)
                bar.set_postfix_str(text)

            block = work(items(number), say)
            if kept is not None:
                kept.save(number, block)
            return block

        if kept is None:
            ready: Iterable[Any] = ((k, compute(k), True) for k in numbers)
        else:
            ready = kept.finish(numbers, kept.load, compute)
        for number, block, _ in ready:
            finished[number] = block
            bar.n, done = done, done + items(number).size * points
            bar.update(items(number).size * points)
    return {name: np.concatenate([finished[k][name] for k in numbers]) for name in finished[0]}


def is_store(folder: Path) -> bool:
    """Whether a folder is a store, however damaged."""
    return (folder / MARK).is_dir()


def remove(folder: Path, ours: Iterable[str] = ()) -> None:
    """Remove a store, however damaged, and nothing else; nothing is no store either.

    `ours`: patterns of names of further files that belong to it. Raises `ValueError` where the
    folder is no store, or where something else was put into it.
    """
    if not folder.exists():
        return
    if not is_store(folder) and not _was_sweep(folder):
        _checks.fail("store", "be a store, to be removed", f"{str(folder)!r} is something else")
    patterns = (r"block-\d{5,}\.npz", r"zarr\.json", r".*\.part", *ours)
    for path in folder.iterdir():
        inside = {p.name for p in path.iterdir()} if path.is_dir() else set()
        whole = MARK in inside or (inside and inside <= {"zarr.json", "c"})  # an array of Zarr
        if path.name == MARK or whole or any(re.fullmatch(p, path.name) for p in patterns):
            continue
        _checks.fail("store", "hold nothing else, to be removed", f"{str(path)!r} is in it")
    # Its mark goes last, so that what is left of it by a kill is still a store.
    for path in sorted(folder.iterdir(), key=lambda path: path.name == MARK):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    folder.rmdir()


def _was_sweep(folder: Path) -> bool:
    """Whether a folder without a mark was a sweep: its Zarr metadata say so."""
    try:
        return b"ngnmm_jax sweep" in (folder / "zarr.json").read_bytes()
    except OSError:
        return False


def _arrays(number: int) -> str:
    return f"block-{number:05d}.npz"
