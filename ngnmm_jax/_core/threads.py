"""One thread for each product of small matrices, so that they can be worked on side by side.

Threads of a BLAS library that wait for each other cost many times what matrices of some hundred
rows do, above all where the processors are busy.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

from threadpoolctl import ThreadpoolController

_lock = threading.Lock()
_within: list[Any] = []  # of each that has begun: the first has what takes the limit away again


@functools.cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """NumPy's BLAS works on one thread, in all of the process, until the last of these ends.

    It changes how long things take, and nothing else; of a BLAS whose threads are OpenMP's, whose
    limits are each thread's own, not even that.
    """
    with _lock:
        _within.append(None if _within else _apart(_limited))
    try:
        yield
    finally:
        with _lock:
            first = _within[0]
            _within.pop()
            if not _within:
                _apart(first.restore_original_limits)


def _limited() -> Any:
    return _libraries().limit(limits=1, user_api="blas")


def _apart(work: Callable[[], Any]) -> Any:
    """What a function gives, on a thread that ends with it.

    The thread that set a limit owns it for as long as it lives: the last to end may be another.
    """
    result: list[Any] = []
    thread = threading.Thread(target=lambda: result.append(work()))
    thread.start()
    thread.join()
    return result[0]
