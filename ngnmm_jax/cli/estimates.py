"""What a command is about to need, before it starts; what cannot fit is refused."""

import contextlib
import os

from ngnmm_jax.cli.output import say


def memory() -> float:
    """Bytes of this machine's memory; infinite where it does not tell."""
    with contextlib.suppress(AttributeError, ValueError, OSError):
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return float("inf")


def announce(what: str, size: float) -> None:
    """Say what is computed and how much memory its result takes; refuse what cannot fit."""
    if size > memory():
        raise ValueError(
            f"{what}: the result needs {amount(size)}, and this machine has {amount(memory())} of "
            "memory. Ask for fewer points, a shorter duration or a longer `save_every`."
        )
    say(f"{what}; the result takes {amount(size)}")


def amount(size: float) -> str:
    """Bytes, in words."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
