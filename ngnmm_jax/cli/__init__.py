"""The command line, `ngnmm`: thin wrappers of the library's public functions."""

import sys


def main() -> None:
    """Entry point. Errors are one line, not a traceback, unless NGNMM_DEBUG is set."""
    try:
        from ngnmm_jax.cli.entry import run
    except KeyboardInterrupt:
        sys.exit("Interrupted.")
    except ImportError as error:
        sys.exit(f"ngnmm needs the package {error.name}: pip install 'ngnmm-jax[all]'")
    run()
