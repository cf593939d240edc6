"""What Ctrl-C leaves of long work."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

#: The exit status that shells give to what Ctrl-C ended.
INTERRUPTED = 130


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in long work that is kept: how much of it, and where."""

    def __init__(self, done: int, total: int, unit: str, folder: Path) -> None:
        super().__init__(done, total, unit, folder)
        self.kept = f"{done} of {total} {unit} kept in {folder}"

    def __str__(self) -> str:
        return f"{self.kept}; the same call goes on"


@contextlib.contextmanager
def keeping(folder: Path, unit: str, total: int, done: Callable[[], int]) -> Iterator[None]:
    """While it lasts, Ctrl-C says what is kept: `done()` of `total` units, in a folder."""
    try:
        yield
    except Interrupted:
        raise
    except KeyboardInterrupt:
        raise Interrupted(done(), total, unit, folder) from None
