"""`ngnmm connectome`: check and describe a connectome."""

from pathlib import Path
from typing import Annotated

import typer

from ngnmm_jax.cli.app import app
from ngnmm_jax.cli.folder import folder
from ngnmm_jax.cli.options import command
from ngnmm_jax.cli.output import say
from ngnmm_jax.cli.settings.commands import ConnectomeSettings


@command(app, ConnectomeSettings, without=("connectome", "config"), computes=False)
def connectome(
    settings: ConnectomeSettings,
    source: Annotated[
        str, typer.Argument(help="A name or a file, as for --connectome elsewhere.")
    ] = "hcp-schaefer100",
    out: Annotated[
        Path | None, typer.Option(help="Folder for connectome.png and connectome.npz.")
    ] = None,
) -> None:
    """Load a connectome, check it, and describe it and its eigenmodes.

    Says how the file was read, and everything that was inferred.

    Example: ngnmm connectome my_weights.csv --out mine
    """
    from ngnmm_jax.cli.reports.connectomes import connectome_facts, write_connectome

    settings = settings.model_copy(update={"connectome": source})
    loaded = settings.loaded_connectome
    for name, value in connectome_facts(loaded):
        say(f"{name:>24}  {value}")
    if out is not None:
        with folder(out, settings) as place:
            write_connectome(loaded, place.part)
