"""The command line, `ngnmm`: thin wrappers of the library's public functions."""

import _thread
import sys
import threading
from typing import Any


def main() -> None:
    """Entry point. Errors are one line, not a traceback, unless NGNMM_DEBUG is set."""
    sys.unraisablehook = _unraisable
    try:
        from ngnmm_jax.cli.entry import run
    except KeyboardInterrupt:
        print("Interrupted.")
        sys.exit(130)
    except ImportError as error:
        sys.exit(f"ngnmm needs the package {error.name}: pip install 'ngnmm-jax[all]'")
    run()


def _unraisable(event: Any) -> None:
    """Ctrl-C that Python ignores, since it came in a callback (JAX has one), comes again."""
    if issubclass(event.exc_type, KeyboardInterrupt):
        threading.Timer(0.02, _thread.interrupt_main).start()
    else:
        sys.__unraisablehook__(event)
