"""`ngnmm sweep`, `show`, `fit` and `reproduce`: work that is kept while it runs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ngnmm_jax.cli.app import app
from ngnmm_jax.cli.estimates import announce
from ngnmm_jax.cli.folder import folder
from ngnmm_jax.cli.options import AllowCode, Out, command, prepare
from ngnmm_jax.cli.output import console, kept_in, progress, say, table
from ngnmm_jax.cli.settings.commands import ReproduceSettings

Resume = Annotated[
    bool, typer.Option("--resume/--restart", help="Go on where it stopped, or remove it first.")
]


@app.command("sweep")
def sweep_(
    file: Annotated[
        Path, typer.Argument(help="TOML file: network, [vary], [design], [measure], [run].")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Zarr store. Default: the file's name with .zarr.")
    ] = None,
    resume: Resume = True,
    workers: Annotated[
        int | None, typer.Option(help="Processes on this machine instead of threads in one.", min=1)
    ] = None,
    dask: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="A Dask scheduler whose workers compute.")
    ] = None,
    allow_code: AllowCode = False,
) -> None:
    """Compute a measure over many parameter sets into a Zarr store.

    Finished blocks are kept whatever happens: the same command goes on where it stopped. See
    docs/sweeps.md for the file, and for many machines.

    Example: ngnmm sweep examples/plane.toml && ngnmm show plane.zarr
    """
    prepare(allow_code)
    import time

    import ngnmm_jax as ng
    from ngnmm_jax._core.store import remove
    from ngnmm_jax.cli.reports.sweeps import against_half_the_step, executor_of, sweep_facts
    from ngnmm_jax.cli.sweep_file import SweepFile, bytes_of

    begun = time.perf_counter()
    task = SweepFile.read(file)
    store = Path(f"{file.stem}.zarr") if out is None else out
    if not resume:
        remove(store)
    shape = " × ".join(
        f"{name} {size}" for name, size in zip(task.design.names, task.design.shape, strict=True)
    )
    announce(f"{task.design.count} runs ({shape}) into {store}", bytes_of(task))
    with kept_in(store), executor_of(workers, dask) as executor:
        data = ng.sweep(
            task.network,
            task.design,
            task.measure,
            store=store,
            executor=executor,
            progress=progress(),
            **task.options,
        )
    table("The sweep", [{"": "runs", **sweep_facts(data)}])
    exactness = against_half_the_step(data)
    if exactness:
        table("Against half the step", exactness)
    say(f"{time.perf_counter() - begun:.1f} s. In {store}; draw it: ngnmm show {store}")


@app.command()
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
    prepare()
    import ngnmm_jax as ng
    from ngnmm_jax import plot
    from ngnmm_jax.cli.parsing import places
    from ngnmm_jax.cli.reports.sweeps import sweep_facts

    data = ng.open_sweep(store)
    if quantity and "list" in quantity:
        for name in plot.sweep_quantities(data):
            say(f"{name:>32}  {data[name].attrs.get('long_name', '')}")
        return
    where = places(at or [])
    table("The sweep", [{"": "runs", **sweep_facts(data)}])
    figure = plot.sweep_overview(data, quantity or None, at=where, title=store.stem)
    path = store.with_suffix(".png") if out is None else out
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    say(f"In {path}")


@app.command("fit")
def fit_(
    file: Annotated[
        Path,
        typer.Argument(
            help="TOML file: network, [noise], [vary], [target], [loss], [run], [check]."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the output. Default: the file's name.")
    ] = None,
    resume: Resume = True,
    check: Annotated[
        bool, typer.Option(help="Simulate the best fit and compare its BOLD with the data.")
    ] = True,
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="Another functional connectivity (.npy, .csv, .npz) to compare with; repeatable."
        ),
    ] = None,
    allow_code: AllowCode = False,
) -> None:
    """Fit parameters of a network to data, by gradients.

    The fit is kept while it runs: the same command goes on where it stopped. See docs/fits.md for
    the file.

    Example: ngnmm fit examples/fit_global.toml --out fitted
    """
    prepare(allow_code)
    import ngnmm_jax as ng
    from ngnmm_jax._core.store import remove
    from ngnmm_jax.cli.fit_file import FitFile, load_fc
    from ngnmm_jax.cli.reports.fits import STORE, check_fit, fit_facts, write_fit

    task = FitFile.read(file)
    others = {name: load_fc(name, task.network) for name in against or []}
    out = Path(file.stem) if out is None else out
    if not resume:
        remove(out / STORE)
    with folder(out, task.settings) as place:
        place.kept = out / STORE
        say(f"{task.free.size} free numbers into {out}")
        result = ng.fit(
            task.system,
            task.free,
            task.objective,
            store=place.kept,
            progress=progress(),
            **task.options,
        )
        table("The fit", [{"": "fit", **fit_facts(task, result)}])
        table("Parameters", write_fit(task, result, place.part))
        fc = task.objective.target.get("fc")
        if check and (fc is not None or others):
            targets = {**({} if fc is None else {"the data": fc}), **others}
            columns = check_fit(task, result, place.part, targets, progress())
            table("Simulated BOLD connectivity", columns)


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
