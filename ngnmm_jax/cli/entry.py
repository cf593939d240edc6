"""The app with all its commands, and what becomes of errors."""

import os
import sys
from typing import Any

from ngnmm_jax._core.interrupted import INTERRUPTED
from ngnmm_jax.cli import commands  # noqa: F401  (they enter themselves into the app)
from ngnmm_jax.cli.app import app
from ngnmm_jax.cli.output import complain, say
from ngnmm_jax.cli.settings.network import COMMANDS


def run() -> int:
    """The command that the command line names, and its exit status.

    Errors are one line unless NGNMM_DEBUG is set.
    """
    words = sorted(sys.argv[1:], key=lambda word: word not in ("--cache", "--no-cache"))
    try:
        code = app(words, prog_name="ngnmm", standalone_mode=False)
    except KeyboardInterrupt:
        say("Interrupted.")
        return INTERRUPTED
    except Exception as error:
        if hasattr(error, "format_message"):  # of Typer: an option that is none, or has no value
            return _misused(error)
        if os.environ.get("NGNMM_DEBUG"):
            raise
        known = isinstance(error, ValueError | RuntimeError | OSError | ImportError)
        kind = "" if known else f"{type(error).__name__}: "
        hint = "" if known else " (NGNMM_DEBUG=1 shows where; please report it)"
        if "could not be read" in str(error) and "=" in str(error):
            hint = " (On the command line: --reading NAME=VALUE.)"
        if "undelayed()" in str(error):
            hint = " (On the command line: without --speed and --delay.)"
        if "parcels.renamed" in str(error):
            hint = " (On the command line: --match order.)"
        complain(f"{kind}{error}{hint}")
        return 1
    return code if isinstance(code, int) else 0


def _misused(error: Any) -> int:
    """Say what is wrong with the words, in one line; the exit status."""
    context = getattr(error, "ctx", None)
    place = "ngnmm" if context is None else context.command_path
    if not sys.argv[1:]:
        error.show()
    else:
        said = _elsewhere(error, context) or error.format_message()
        complain(f"{said} ({place} --help shows what there is.)")
    return int(error.exit_code)


def _elsewhere(error: Any, context: Any) -> str:
    """Of an option that this command has not: where else it is; empty where nowhere."""
    option = getattr(error, "option_name", None)
    if option is None or context is None:
        return ""
    said = f"{option} is no option of `{context.command_path}`"
    setting, known = option.lstrip("-").replace("-", "_"), COMMANDS.get(context.info_name)
    if known and setting in known.model_fields:  # of a command that takes a file alone
        return f"{said}, whose file has `{setting}`"
    app = context.find_root()
    every = {app.info_name: app.command}
    every |= {f"{app.info_name} {name}": one for name, one in app.command.commands.items()}
    having = [
        f"`{name}`"
        for name, one in every.items()
        if any(option in (*part.opts, *part.secondary_opts) for part in one.params)
    ]
    return f"{said}, but of {', '.join(having)}" if having else ""
