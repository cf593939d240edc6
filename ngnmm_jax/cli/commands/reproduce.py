"""`ngnmm reproduce`: the paper's figures."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ngnmm_jax.cli.app import app
from ngnmm_jax.cli.folder import folder
from ngnmm_jax.cli.options import Out, command
from ngnmm_jax.cli.output import console, progress, say, say_normalised
from ngnmm_jax.cli.settings.commands import ReproduceSettings


@command(app, ReproduceSettings, without=("power",))
def reproduce(
    settings: ReproduceSettings,
    figures: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FIGURE]...", help="Which ones; none lists them all."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All figures.")] = False,
    out: Out = Path("ngnmm_paper"),
    restart: Annotated[
        bool, typer.Option("--restart", help="Make figures again that are there already.")
    ] = False,
) -> None:
    """Make the paper's figures, and a table of what it found and what is found here.

    Each figure goes into a folder of its own; table.md and table.csv sum them up. The same
    command goes on where it was stopped.

    Example: ngnmm reproduce dispersion spiking --quick
    """
    from ngnmm_jax.connectome.fetch import aal90_is_here
    from ngnmm_jax.reproduce import FIGURES
    from ngnmm_jax.reproduce import reproduce as make
    from ngnmm_jax.reproduce.run import summary

    if not figures and not every:
        for name in FIGURES:
            say(f"{name:>14}  {summary(name)}")
        return
    if not settings.connectome:
        known = "aal90" if aal90_is_here(settings.cache_dir) else "hcp-schaefer100"
        settings = settings.model_copy(update={"connectome": known})
    source = settings.loaded_connectome
    note = "" if source.name == "aal90" else " (the paper's, aal90, is not on this machine)"
    say(f"connectome: {source.name}{note}")
    say_normalised()
    with folder(out, settings) as place:
        place.kept = out
        lines = make(
            FIGURES if every else figures or (),
            out,
            connectome=source,
            quick=settings.quick,
            restart=restart,
            progress=progress(),
            say=say,
        )
        _agreement(lines)
    if any(line["found here"] == "failed" for line in lines):
        raise RuntimeError("a figure failed: the table says why")


def _agreement(lines: list[dict[str, Any]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    title = "What the paper found, and what is found here"
    made = Table(*lines[0], title=title, show_lines=True)
    for line in lines:
        made.add_row(*(escape(str(value)) for value in line.values()))
    console.print(made)
