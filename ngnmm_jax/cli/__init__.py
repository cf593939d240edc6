"""The command line, `ngnmm`: thin wrappers of the library's public functions."""

import _thread
import contextlib
import os
import sys
import threading
from typing import Any, NoReturn

from ngnmm_jax._core.interrupted import INTERRUPTED


def main() -> None:
    """Entry point. Errors are one line, not a traceback, unless NGNMM_DEBUG is set."""
    sys.unraisablehook = _unraisable
    try:
        from ngnmm_jax.cli.entry import run
    except KeyboardInterrupt:
        print("Interrupted.")
        _end(INTERRUPTED)
    except ImportError as error:
        sys.exit(f"ngnmm needs the package {error.name}: pip install 'ngnmm-jax[all]'")
    _end(run())


def _end(status: int) -> NoReturn:
    """End the process; where Ctrl-C ended the work, without Python's tidying up.

    A thread that compiles meanwhile would be torn down under XLA: now and then that crashed.
    """
    if status != INTERRUPTED:
        sys.exit(status)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, a pipe, or none
            stream.flush()
    os._exit(status)


def _unraisable(event: Any) -> None:
    """Ctrl-C that Python ignores, since it came in a callback (JAX has one), comes again."""
    if issubclass(event.exc_type, KeyboardInterrupt):
        threading.Timer(0.02, _thread.interrupt_main).start()
    else:
        sys.__unraisablehook__(event)
