"""`ngnmm show`: figures of a sweep."""

import os
from pathlib import Path
from typing import Annotated

import typer

from ngnmm_jax._core.files import scratch
from ngnmm_jax._core.messages import one_of
from ngnmm_jax.cli.app import app
from ngnmm_jax.cli.folder import writable
from ngnmm_jax.cli.options import interruptible
from ngnmm_jax.cli.output import say, table


@app.command()
@interruptible
def show(
    store: Annotated[Path, typer.Argument(help="A sweep's Zarr store, finished or not.")],
    out: Annotated[
        Path | None, typer.Option(help="The figure. Default: the store's name with .png.")
    ] = None,
    quantity: Annotated[
        list[str] | None,
        typer.Option(help="What to draw, repeatable; default: the first six. 'list' lists all."),
    ] = None,
    at: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Where to cut another dimension, as band=gamma."),
    ] = None,
) -> None:
    """Draw summaries of a sweep, along one parameter or over two.

    Example: ngnmm show plane.zarr --quantity v_e_band_power --at band=gamma
    """
    from ngnmm_jax import plot
    from ngnmm_jax.cli.parsing import places
    from ngnmm_jax.cli.reports.sweeps import sweep_facts
    from ngnmm_jax.sweeps import open_sweep

    data = open_sweep(store)
    if quantity and "list" in quantity:
        for name in plot.sweep_quantities(data):
            say(f"{name:>32}  {data[name].attrs.get('long_name', '')}")
        return
    where = places(at or [])
    table("The sweep", [{"": "runs", **sweep_facts(data)}])
    figure = plot.sweep_overview(data, quantity or None, at=where, title=store.stem)
    path = store.with_suffix(".png") if out is None else out
    kinds = figure.canvas.get_supported_filetypes()
    one_of("--out", path.suffix.lstrip("."), kinds)
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch(path.parent) as part:
            figure.savefig(part / path.name, dpi=150)
            os.replace(part / path.name, path)
    say(f"In {path}")
