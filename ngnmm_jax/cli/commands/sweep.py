"""`ngnmm sweep`: a measure over many parameter sets."""

from pathlib import Path
from typing import Annotated

import typer

from ngnmm_jax.cli.app import app
from ngnmm_jax.cli.estimates import announce
from ngnmm_jax.cli.options import AllowCode, Resume, interruptible, prepare
from ngnmm_jax.cli.output import kept_in, progress, say, say_normalised, table


@app.command("sweep")
@interruptible
def sweep_(
    file: Annotated[
        Path, typer.Argument(help=r"TOML file: network, \[vary], \[design], \[measure], \[run].")
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
    prepare()
    import time

    import ngnmm_jax as ng
    from ngnmm_jax._core.store import remove
    from ngnmm_jax.cli.reports.sweeps import against_half_the_step, executor_of, sweep_facts
    from ngnmm_jax.cli.sweep_file import SweepFile, bytes_of, seconds_of

    begun = time.perf_counter()
    task = SweepFile.read(file)
    store = Path(f"{file.stem}.zarr") if out is None else out
    if not resume:
        remove(store)
    shape = " × ".join(
        f"{name} {size}" for name, size in zip(task.design.names, task.design.shape, strict=True)
    )
    announce(
        f"{task.design.count} runs ({shape}) into {store}",
        bytes_of(task),
        seconds_of(task),
        store,
        held=False,
    )
    say_normalised()
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
        say(
            "Where differences are large beside the values, the step is too large, or the runs are "
            "chaotic (`ngnmm lyapunov`): try a smaller `dt`. Docs: How good the numbers are."
        )
    say(f"{time.perf_counter() - begun:.1f} s. In {store}; draw it: ngnmm show {store}")
