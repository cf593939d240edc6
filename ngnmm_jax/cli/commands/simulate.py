"""`ngnmm simulate`: the network's activity."""

import dataclasses
from pathlib import Path
from typing import Any

from ngnmm_jax._core.messages import fail
from ngnmm_jax.cli.app import app
from ngnmm_jax.cli.estimates import announce, of_adaptive, of_steps, step_of
from ngnmm_jax.cli.folder import folder
from ngnmm_jax.cli.options import Out, command
from ngnmm_jax.cli.output import progress, say, say_normalised, table, title_of
from ngnmm_jax.cli.settings.commands import SimulateSettings


@command(app, SimulateSettings)
def simulate(settings: SimulateSettings, out: Out = Path("ngnmm_simulation")) -> None:
    """Simulate the network and draw its activity.

    Starts at the homogeneous equilibrium plus noise; 1 s unless --duration says. Writes
    activity.nc (all variables, with units), activity.png and settings.toml. With --speed or
    --delay steps are fixed, up to the shortest delay.

    With --surface every vertex of a cortex is a node: activity.nc has one variable, the one that is
    shown, with summaries of each vertex, and what it takes is said before anything is made.

    Example: ngnmm simulate --set i_ext_e=13 --coupling 5 --duration 2000 --out gamma
    """
    settings.check_surface()
    if settings.surface:
        _of_a_surface(settings, out)
    else:
        _of_regions(settings, out)


def _of_regions(settings: SimulateSettings, out: Path) -> None:
    """Of a connectome's regions."""
    import ngnmm_jax as ng
    from ngnmm_jax import plot
    from ngnmm_jax.integrators import Adaptive

    network = settings.build()
    model = network.model
    length, every = _times(settings, model)
    if settings.animate and network.connectome.centroids is None:
        fail("animate", "go with a connectome that has centroids", "this one has none")
    step = _fixed_step(settings, network)
    announce(
        f"{length:g} {model.time_unit} of {network.n_regions} regions",
        8.0 * (length / every + 1) * len(model.variables) * network.n_regions,
        of_adaptive(length, network)
        if step is None
        else of_steps(length / step, network.n_regions),
        out,
    )
    say_normalised()
    with folder(out, settings) as place:
        run = ng.simulate(
            network,
            length,
            **settings.options("save_every", "dt", "seed", "scatter"),
            integrator=Adaptive(**settings.options("rtol", "atol")) if step is None else None,
            progress=progress(),
        )
        run.to_xarray().to_netcdf(place.part / "activity.nc", engine="h5netcdf")
        figure = plot.activity(run, title=title_of(settings))
        figure.savefig(place.part / "activity.png", dpi=150)
        if settings.animate:
            movie = plot.animate(run, network.connectome)
            movie.save(place.part / "activity.gif", writer="pillow")
        _say_steps(run)


def _of_a_surface(settings: SimulateSettings, out: Path) -> None:
    """Of a cortex' vertices."""
    import ngnmm_jax as ng
    from ngnmm_jax.cli.cortex import Plan
    from ngnmm_jax.cli.reports.surfaces import write_surface_activity

    _refuse_adaptive(settings, "on a surface")
    cortex, model = settings.cortex, settings.node()
    length, every = _times(settings, model)
    plan = Plan.of(cortex, model, settings.coupling, settings.local_kernel())
    plan = dataclasses.replace(plan, step=settings.dt or plan.step)
    plan.announce(length, every, settings.animate, out)
    network = settings.build()
    with folder(out, settings) as place:
        run = ng.simulate(
            network,
            length,
            **settings.options("save_every", "dt", "seed", "scatter"),
            integrator=plan.integrator,
            variables=model.shown,
            progress=progress(),
        )
        title = title_of(settings)
        rows = write_surface_activity(run, cortex, place.part, title, animate=settings.animate)
        _say_steps(run)
        table("The cortex", rows)


def _times(settings: SimulateSettings, model: Any) -> tuple[float, float]:
    """How long the run is, and the time between samples."""
    from ngnmm_jax.models.times import usual_sample

    every = settings.save_every or usual_sample(model)
    length = settings.duration or 1000 * usual_sample(model)
    if every > length / 8:
        must = f"leave eight samples of {length:g} {model.time_unit}"
        fail("save_every", must, f"it is {every:g}")
    return length, every


def _say_steps(run: Any) -> None:
    counts = {name.removeprefix("num_"): int(value) for name, value in run.stats.items()}
    say(", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items()))


def _fixed_step(settings: SimulateSettings, network: Any) -> float | None:
    """The step where steps are fixed: where it is given, and where connections are delayed."""
    if settings.dt is None and network.delays is None:
        return None
    _refuse_adaptive(settings, "with `dt`, `speed` and `delay`")
    return step_of(network, settings.dt)


def _refuse_adaptive(settings: SimulateSettings, where: str) -> None:
    """Refuse tolerances, which fixed steps have not."""
    for name in ("rtol", "atol"):
        if getattr(settings, name) != SimulateSettings.model_fields[name].default:
            fail(name, "go with adaptive steps", f"{where} they are fixed")
