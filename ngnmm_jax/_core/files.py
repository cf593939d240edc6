"""Files that are whole or not there, and claims that die with their process."""

import contextlib
import errno
import io
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

# Absent on Windows, where nothing is locked: leftovers then go by their age.
try:
    import fcntl
except ImportError:  # pragma: no cover
    fcntl = None  # type: ignore[assignment]

#: How the names of files end that are being written; and of folders, among a user's own.
PART, SCRATCH = ".part", ".ngnmm_part"
# Seconds between signs of life of a claim's holder; after how long without one others go on.
_BEAT, _PATIENCE = 5.0, 60.0
# Seconds after which a file under way is left over where files cannot be locked.
_OLD = 3600.0
# A file under way that was taken for a leftover is written again, so many times.
_TRIES = 5


def write(path: Path, data: bytes, parts: Path, *, new: bool = False, sync: bool = True) -> bool:
    """Write all of a file, or nothing: under another name in `parts`, to the disk, then renamed.

    Without `sync` it need not have reached the disk, where it would be missed if it got lost. With
    `new` a file that is there stays; returns whether this one was written. The umask is honoured.
    Raises `OSError` that says which file and what to do.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(_TRIES):
            part = parts / f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}{PART}"
            try:
                return _write(part, path, data, new, sync)
            except FileNotFoundError:
                if attempt == _TRIES - 1 or not parts.is_dir():
                    raise
            finally:
                with contextlib.suppress(OSError):
                    part.unlink()
    except OSError as error:
        raise OSError(
            error.errno,
            f"{error.strerror}: {str(path)!r} could not be written. What is finished is kept: "
            "mend this, and call again",
        ) from error
    raise AssertionError("unreachable")


def _write(part: Path, path: Path, data: bytes, new: bool, sync: bool) -> bool:
    with part.open("xb") as file:
        _lock(file.fileno())  # says that it is being written
        file.write(data)
        file.flush()
        if sync:
            os.fsync(file.fileno())
        if fcntl is None:  # where an open file cannot be renamed either
            file.close()
        if not new:
            os.replace(part, path)
            return True
        try:
            os.link(part, path)
        except FileExistsError:
            return False
        except OSError:  # no hard links here
            if path.exists():
                return False
            os.replace(part, path)
        return True


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays as NumPy's compressed archive: all of it, or nothing."""
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **arrays)
    part = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}{PART}")
    try:
        _write(part, path, stream.getvalue(), new=False, sync=True)
    except OSError as error:
        why = f"{error.strerror}: {str(path)!r} could not be written"
        raise OSError(error.errno, why) from error
    finally:
        part.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """The names in a folder are on the disk, where the system can do that."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.EACCES):
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    """A folder in another, locked and removed at the end; `clear` removes those of killed ones."""
    folder = parent / f".{os.getpid()}-{secrets.token_hex(4)}{SCRATCH}"
    folder.mkdir()
    descriptor = None
    with contextlib.suppress(OSError):  # where folders cannot be opened
        descriptor = os.open(folder, os.O_RDONLY)
        _lock(descriptor)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def clear(folder: Path, endings: tuple[str, ...] = (PART,)) -> None:
    """Remove what killed processes left half written or claimed, not what living ones hold."""
    for path in folder.iterdir():
        if not path.name.endswith(endings):
            continue
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
            try:
                free = _lock(descriptor)
                if free is None:
                    free = time.time() - os.fstat(descriptor).st_mtime > _OLD
                if free and path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                elif free:
                    path.unlink()
            finally:
                os.close(descriptor)


@contextlib.contextmanager
def claim(path: Path) -> Iterator[bool]:
    """Whether what `path` stands for is this process's for now: not while a living one has it.

    The claim ends with the process, however that ends. Where files cannot be locked everybody
    gets it: work is then done twice, and the last who writes wins.
    """
    got, descriptor = _hold(path)
    if descriptor is None:
        yield got
        return
    _HEART.add(descriptor)
    try:
        yield True
    finally:
        _HEART.remove(descriptor)
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(descriptor)


def _hold(path: Path) -> tuple[bool, int | None]:
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:  # another user's, or read only: writing may tell
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                return True, None
            raise OSError(error.errno, f"{error.strerror}: {str(path)!r}") from error
        got = _lock(descriptor)
        if got:
            # Who held it before may have removed the file since it was opened.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    return True, descriptor
        os.close(descriptor)
        if got is None:
            with contextlib.suppress(OSError):
                path.unlink()
            return True, None
        if not got:
            return False, None


def _lock(descriptor: int) -> bool | None:
    """Lock an open file; False where another has it, None where files cannot be locked."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


class Pulse:
    """Which claims' holders live: those that were not seen to beat for a minute do not.

    A process that was stopped, or a copy of one that holds its locks, blocks nobody for ever.
    Times are compared as they change, so that clocks of two machines may differ.
    """

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[int, float]] = {}

    def silent(self, path: Path) -> bool:
        """Whether the holder of this claim has shown no life since long."""
        try:
            now = path.stat().st_mtime_ns
        except FileNotFoundError:
            return False
        beat, since = self._seen.get(path, (None, 0.0))
        if beat != now:
            self._seen[path] = (now, time.monotonic())
            return False
        return time.monotonic() - since > _PATIENCE


class _Heart:
    """A thread that touches the claims which this process holds."""

    def __init__(self) -> None:
        self._held: set[int] = set()
        self._lock = threading.Lock()
        self._process = 0

    def add(self, descriptor: int) -> None:
        with self._lock:
            if self._process != os.getpid():  # none yet, or a forked copy, which has no threads
                self._process = os.getpid()
                self._held.clear()
                threading.Thread(target=self._beat, name="ngnmm_jax claims", daemon=True).start()
            self._held.add(descriptor)

    def remove(self, descriptor: int) -> None:
        with self._lock:
            self._held.discard(descriptor)

    def _beat(self) -> None:
        while True:
            time.sleep(_BEAT)
            with self._lock:
                for descriptor in self._held:
                    with contextlib.suppress(OSError, TypeError):
                        os.utime(descriptor)


_HEART: Any = _Heart()
