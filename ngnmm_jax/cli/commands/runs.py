"""`ngnmm simulate` and `ngnmm spectrum`: the network's activity."""

from pathlib import Path
from typing import Annotated

import typer

from ngnmm_jax.cli.app import app
from ngnmm_jax.cli.estimates import announce
from ngnmm_jax.cli.options import Out, command
from ngnmm_jax.cli.output import folder, progress, say, table, title_of
from ngnmm_jax.cli.settings.network import SimulateSettings, SpectrumSettings


@command(app, SimulateSettings)
def simulate(settings: SimulateSettings, out: Out = Path("ngnmm_simulation")) -> None:
    """Simulate the network and draw its activity.

    Starts at the homogeneous equilibrium plus noise; 1 s unless --duration says. Writes
    activity.nc (all variables, with units), activity.png and settings.toml.

    Example: ngnmm simulate --set i_ext_e=13 --coupling 5 --duration 2000 --out gamma
    """
    import ngnmm_jax as ng
    from ngnmm_jax import plot
    from ngnmm_jax.models.base import SECONDS

    network = settings.build()
    model = network.model
    length = settings.duration or 1.0 / SECONDS[model.time_unit]
    every = settings.save_every or 1e-3 / SECONDS[model.time_unit]
    if every > length / 8:
        raise ValueError(
            f"Argument `save_every` must leave eight samples of {length:g} {model.time_unit}, but "
            f"it is {every:g}."
        )
    announce(
        f"{length:g} {model.time_unit} of {network.n_regions} regions",
        8.0 * (length / every + 1) * len(model.variables) * network.n_regions,
    )
    with folder(out, "simulate", settings) as place:
        run = ng.simulate(
            network,
            length,
            **settings.options("save_every", "dt", "rtol", "atol", "seed", "scatter"),
            progress=progress(),
        )
        run.to_xarray().to_netcdf(place.part / "activity.nc", engine="h5netcdf")
        figure = plot.activity(run, title=title_of(settings))
        figure.savefig(place.part / "activity.png", dpi=150)
        steps = ", ".join(f"{int(v)} {k.removeprefix('num_')}" for k, v in run.stats.items())
        say(f"{length:g} {run.time_unit} of {network.n_regions} regions: {steps}")


@command(app, SpectrumSettings)
def spectrum(
    settings: SpectrumSettings,
    out: Out = Path("ngnmm_spectrum"),
    animate: Annotated[
        bool, typer.Option(help="Write activity.gif too, the activity on the brain.")
    ] = False,
) -> None:
    """Rhythms of the network: rasters, power spectra, coupling between frequencies.

    Of one point, or of several along one axis or two; 20 s unless --duration says, after 2 s
    (--transient). Writes rasters.png, spectra.png and spectra.csv; of one point also activity.nc
    and rhythm.png (mean field, envelope, comodulograms); and settings.toml.

    Example: ngnmm spectrum --set i_ext_e=13 --coupling 5 --out gamma
    """
    from ngnmm_jax.cli.reports.activity import write_spectra
    from ngnmm_jax.models.base import SECONDS

    network = settings.build()
    axes = settings.grid() if settings.axes else {}
    unit = network.model.time_unit
    length = settings.duration or 20.0 / SECONDS[unit]
    samples = length * SECONDS[unit] * 1000
    announce(f"{length:g} {unit} of {network.n_regions} regions", 8.0 * samples * network.n_regions)
    with folder(out, "spectrum", settings) as place:
        rows = write_spectra(
            network,
            axes,
            settings.options("duration", "transient", "dt", "seed", "scatter"),
            place.part,
            title_of(settings, without=axes),
            animate=animate,
            say=lambda line: say(f"  {line}"),
        )
        table("Rhythms", rows)
