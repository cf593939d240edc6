"""The one progress bar of all long work."""

import sys
from typing import Any

from tqdm.auto import tqdm

# Seconds between two lines where there is no terminal to draw a bar on.
_BETWEEN = 10.0
#: Whether lines are written where there is no terminal (a pipe, a batch job's log): the command
#: line sets it.
LINES = False


def progress_bar(total: int, what: str, unit: str, progress: bool | None, **options: Any) -> Any:
    """A bar over `total` units; `progress` None shows it on terminals, after two seconds.

    With `LINES`, and no terminal, a line every ten seconds.
    """
    delay: float = 0 if progress else 2
    disable = None if progress is None else not progress
    terminal = sys.stderr is not None and sys.stderr.isatty()
    if LINES and progress is None and not terminal:
        delay, disable = _BETWEEN, False
        options |= {"mininterval": _BETWEEN, "maxinterval": _BETWEEN, "ascii": True}
        options["file"] = _Lines()
    return tqdm(total=total, desc=what, unit=unit, delay=delay, disable=disable, **options)


class _Lines:
    """What tqdm draws over and over, a line each time."""

    def write(self, text: str) -> None:
        line = text.strip("\r\n ")
        if line:
            sys.stderr.write(line + "\n")

    def flush(self) -> None:
        sys.stderr.flush()
