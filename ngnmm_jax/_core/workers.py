"""Processes that work for another one: they end with it, and are not forked."""

import multiprocessing
import os
import threading
from typing import Any

from ngnmm_jax._core import checks as _checks

_SPAWN = "ProcessPoolExecutor(…, mp_context=multiprocessing.get_context('spawn'))"
_WATCHED: set[int] = set()


def refuse_forked(executor: Any) -> None:
    """Refuse a pool of forked processes, in which JAX hangs."""
    context = getattr(executor, "_mp_context", None)
    if context is None:
        return
    method = context.get_start_method(allow_none=True)
    if method is None:  # the system's default, which is the first
        method = multiprocessing.get_all_start_methods()[0]
    if method == "fork":
        _checks.fail(
            "executor",
            "start its processes anew, since JAX hangs in forked ones",
            f"it forks them: make it as {_SPAWN}",
        )


def refuse_to_be_forked() -> None:
    """Raise, in a worker that was forked; it would hang."""
    if type(multiprocessing.current_process()).__name__ == "ForkProcess":
        raise RuntimeError(f"JAX hangs in forked processes: make the executor as {_SPAWN}.")


def watch_pool(executor: Any) -> None:
    """Have the workers of a new pool of `concurrent.futures` watch it from their start.

    Else a worker watches from its first block on, and one that never had any waits for ever.
    """
    if getattr(executor, "_processes", None) == {} and getattr(executor, "_initializer", 0) is None:
        executor._initializer = watch_parent


def watch_parent() -> None:
    """End this process when the one that started it has ended, however it did.

    Pools of `concurrent.futures` leave their workers waiting for ever where they are killed.
    Nothing happens in processes that `multiprocessing` did not start.
    """
    parent = multiprocessing.parent_process()
    if parent is None or os.getpid() in _WATCHED:
        return
    _WATCHED.add(os.getpid())

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="ngnmm_jax parent", daemon=True).start()
