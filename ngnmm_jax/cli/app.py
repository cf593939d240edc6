"""The app `ngnmm`, its options for all commands, and what becomes of errors."""

import os
import sys
from typing import Annotated

import typer

from ngnmm_jax.cli.output import complain, say

app = typer.Typer(
    name="ngnmm",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Whole-brain networks of next-generation neural masses: simulation and stability.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from ngnmm_jax import __version__

        say(f"ngnmm {__version__}")
        raise typer.Exit


@app.callback()
def common(
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Keep compiled programs for the next call.")
    ] = True,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which one.")
    ] = False,
) -> None:
    """Whole-brain networks of next-generation neural masses: simulation and stability."""
    from ngnmm_jax.cli import options

    options.KEEP_COMPILED = cache


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


from ngnmm_jax.cli import commands  # noqa: E402, F401  (they enter themselves)
