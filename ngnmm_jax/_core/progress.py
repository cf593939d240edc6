"""The one progress bar of all long work."""

import io
import sys
from typing import Any

from tqdm.auto import tqdm

#: Whether lines are written in place of bars where there is no terminal (a pipe, a batch job's
#: log): the command line sets it, and writes what `state` says.
LINES = False
# Those that are open where lines are written, the innermost last.
_OPEN: list[Any] = []


def progress_bar(total: int, what: str, unit: str, progress: bool | None, **options: Any) -> Any:
    """A bar over `total` units; `progress` None shows it on terminals, after two seconds."""
    delay = 0 if progress else 2
    disable = None if progress is None else not progress
    terminal = sys.stderr is not None and sys.stderr.isatty()
    if LINES and progress is None and not terminal:
        options |= {"file": io.StringIO(), "mininterval": 1e9, "ascii": True, "leave": False}
        bar = tqdm(total=total, desc=what, unit=unit, **options)
        _OPEN.append(bar)
        return bar
    return tqdm(total=total, desc=what, unit=unit, delay=delay, disable=disable, **options)


def state() -> str:
    """How far the innermost work is that is not drawn as a bar; nothing where there is none."""
    _OPEN[:] = [bar for bar in _OPEN if not bar.disable]
    return str(_OPEN[-1]).strip() if _OPEN else ""
