"""`ngnmm fit`: parameters from data."""

from pathlib import Path
from typing import Annotated

import typer

from ngnmm_jax.cli.app import app
from ngnmm_jax.cli.folder import folder
from ngnmm_jax.cli.options import AllowCode, Resume, interruptible, prepare
from ngnmm_jax.cli.output import progress, say, say_normalised, table


@app.command("fit")
@interruptible
def fit_(
    file: Annotated[
        Path,
        typer.Argument(
            help=r"TOML file: network, \[noise], \[vary], \[target], \[loss], \[run], \[check]."
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
    prepare()
    import ngnmm_jax as ng
    from ngnmm_jax._core.store import remove
    from ngnmm_jax.cli.checked import called
    from ngnmm_jax.cli.fit_file import FitFile, load_fc
    from ngnmm_jax.cli.reports.fits import STORE, check_fit, check_options, fit_facts, write_fit
    from ngnmm_jax.fitting.validation import planned_fc

    task = FitFile.read(file)
    others = {name: load_fc("--against", name, task.network) for name in against or []}
    checked = check and ("fc" in task.objective.target or bool(others))
    if checked:
        options = {k: v for k, v in check_options(task).items() if k != "seed"}
        with called("check.duration", "duration"):
            planned_fc(task.system, **options)
    out = Path(file.stem) if out is None else out
    if not resume:
        remove(out / STORE)
    with folder(out, task.settings) as place:
        place.kept = out / STORE
        size = f"{task.free.size} free number{'s' * (task.free.size > 1)}"
        say(f"{size} into {out}; how long is seen in the first steps")
        say_normalised()
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
        if checked:
            targets = {**({} if fc is None else {"the data": fc}), **others}
            columns = check_fit(task, result, place.part, targets, progress())
            table("Simulated BOLD connectivity", columns)
