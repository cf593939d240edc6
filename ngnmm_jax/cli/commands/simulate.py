"""`ngnmm simulate`: the network's activity."""

from pathlib import Path
from typing import Any

from ngnmm_jax._core.messages import fail
from ngnmm_jax.cli.app import app
from ngnmm_jax.cli.estimates import announce, of_adaptive, of_steps, step_of
from ngnmm_jax.cli.folder import folder
from ngnmm_jax.cli.options import Out, command
from ngnmm_jax.cli.output import progress, say, title_of
from ngnmm_jax.cli.settings.commands import SimulateSettings


@command(app, SimulateSettings)
def simulate(settings: SimulateSettings, out: Out = Path("ngnmm_simulation")) -> None:
    """Simulate the network and draw its activity.

    Starts at the homogeneous equilibrium plus noise; 1 s unless --duration says. Writes
    activity.nc (all variables, with units), activity.png and settings.toml. With --speed or
    --delay steps are fixed, up to the shortest delay.

    Example: ngnmm simulate --set i_ext_e=13 --coupling 5 --duration 2000 --out gamma
    """
    import ngnmm_jax as ng
    from ngnmm_jax import plot
    from ngnmm_jax.integrators import Adaptive
    from ngnmm_jax.models.times import usual_sample

    network = settings.build()
    model = network.model
    every = settings.save_every or usual_sample(model)
    length = settings.duration or 1000 * usual_sample(model)
    if every > length / 8:
        must = f"leave eight samples of {length:g} {model.time_unit}"
        fail("save_every", must, f"it is {every:g}")
    step = _fixed_step(settings, network)
    announce(
        f"{length:g} {model.time_unit} of {network.n_regions} regions",
        8.0 * (length / every + 1) * len(model.variables) * network.n_regions,
        of_adaptive(length, network)
        if step is None
        else of_steps(length / step, network.n_regions),
        out,
    )
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
        steps = ", ".join(f"{int(v)} {k.removeprefix('num_')}" for k, v in run.stats.items())
        say(f"{length:g} {run.time_unit} of {network.n_regions} regions: {steps}")


def _fixed_step(settings: SimulateSettings, network: Any) -> float | None:
    """The step where steps are fixed: where it is given, and where connections are delayed."""
    if settings.dt is None and network.delays is None:
        return None
    for name in ("rtol", "atol"):
        if getattr(settings, name) != SimulateSettings.model_fields[name].default:
            fail(name, "go with adaptive steps", "with `dt`, `speed` and `delay` they are fixed")
    return step_of(network, settings.dt)
