"""The app `ngnmm` and its options for all commands."""

from typing import Annotated

import typer

from ngnmm_jax.cli.output import say

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
        from ngnmm_jax._core.version import __version__

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
    import os

    from ngnmm_jax.cli import options

    os.environ["MPLBACKEND"] = "Agg"  # figures go into files
    options.KEEP_COMPILED = cache
