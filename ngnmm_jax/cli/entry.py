"""The app with all its commands, and what becomes of errors."""

import os
import sys

from ngnmm_jax.cli import commands  # noqa: F401  (they enter themselves into the app)
from ngnmm_jax.cli.app import app
from ngnmm_jax.cli.output import complain, say


def run() -> None:
    """The command that the command line names; errors are one line unless NGNMM_DEBUG is set."""
    try:
        app(sorted(sys.argv[1:], key=lambda word: word not in ("--cache", "--no-cache")))
    except KeyboardInterrupt:
        say("Interrupted.")
        sys.exit(130)
    except Exception as error:
        if os.environ.get("NGNMM_DEBUG"):
            raise
        known = isinstance(error, ValueError | RuntimeError | OSError | ImportError)
        kind = "" if known else f"{type(error).__name__}: "
        hint = "" if known else " (NGNMM_DEBUG=1 shows where; please report it)"
        if "could not be read" in str(error) and "=" in str(error):
            hint = " (On the command line: --reading NAME=VALUE.)"
        complain(f"{kind}{error}{hint}")
        sys.exit(1)
