"""`ngnmm lyapunov`: chaos."""

import math
from pathlib import Path
from typing import Any

from ngnmm_jax._core.messages import fail, one_of
from ngnmm_jax.cli.app import app
from ngnmm_jax.cli.checked import called, points
from ngnmm_jax.cli.estimates import announce, of_spectra, step_of
from ngnmm_jax.cli.folder import folder
from ngnmm_jax.cli.options import Out, command
from ngnmm_jax.cli.output import progress, table, title_of
from ngnmm_jax.cli.settings.commands import LyapunovSettings

# Exponents of a network that are computed unless somebody asks for more.
_OF_A_NETWORK = 20

# Steps from which exponents can be told.
_FEWEST = 100


@command(app, LyapunovSettings)
def lyapunov(settings: LyapunovSettings, out: Out = Path("ngnmm_lyapunov")) -> None:
    """Lyapunov spectra along one parameter, with the cascade, or over two.

    --vary once or twice; default: i_ext_e=0:16:65 (p=0:400:81). RK4 with the model's step, over
    100,000 of them after 20,000 that are left out. Writes lyapunov.png, lyapunov.nc, along one
    parameter orbit_diagram.nc, and settings.toml. Finished parts are kept in the folder blocks:
    the same command goes on where it stopped.

    With --speed or --delay the spectrum of one network (--network, --exponents), into lyapunov.csv.

    Example: ngnmm lyapunov --vary i_ext_e=8.5:12:351 --coupling 12 --variable s_e --out cascade
    """
    from ngnmm_jax.cli.reports.chaos import write_lyapunov

    if settings.delays():
        _with_delays(settings, out)
        return
    varied = settings.plane()
    if not settings.vary:
        varied = dict([next(iter(varied.items()))])
    if len(varied) > 2:
        fail("--vary", "be given once or twice", f"it is {len(varied)} times")
    network = settings.build()
    if settings.variable is not None:
        one_of("variable", settings.variable, network.model.variables)
    many = math.prod(int(count) for _, _, count in varied.values())
    size = len(network.model.variables) * (network.n_regions if settings.whole_network else 1)
    count = settings.exponents or (_OF_A_NETWORK if settings.whole_network else size)
    if count > size:
        fail("exponents", f"be at most {size}", f"it is {count}")
    steps = _steps(settings, network)
    regions = network.n_regions if settings.whole_network else 1
    announce(
        f"{count} exponents at {many:,} points, {steps:,.0f} steps each",
        8.0 * many * (4 * count + 2 * size),
        of_spectra(many, steps, count, regions),
        out,
    )
    system = network if settings.whole_network else network.homogeneous()
    parameters = {name: points(axis) for name, axis in varied.items()}
    with folder(out, settings) as place:
        place.kept = out / "blocks"
        rows = write_lyapunov(
            system,
            parameters,
            settings.exponents or (_OF_A_NETWORK if settings.whole_network else None),
            settings.variable,
            settings.options("duration", "transient", "dt", "seed"),
            place.part,
            place.kept,
            title_of(settings, without=varied),
            progress(),
        )
        table("The spectra", rows)


def _with_delays(settings: LyapunovSettings, out: Path) -> None:
    """The spectrum of one network whose connections are delayed."""
    import ngnmm_jax as ng
    from ngnmm_jax.cli.reports.delays import write_exponents

    if settings.vary:
        must = "be left out with delays, where spectra are of one network"
        fail("--vary", must, f"it names {', '.join(settings.vary)}")
    if not settings.whole_network:
        must = "be given with delays: spectra of homogeneous systems with delays are not known"
        fail("--network", must, "it is not")
    if settings.exponents is None:
        must = "be given with delays, where there are infinitely many"
        fail("exponents", must, "it is not")
    if settings.variable is not None:
        fail("variable", "be left out with delays, where no cascade is drawn", "it is given")
    network = settings.build()
    step = step_of(network, settings.dt)
    steps, regions = _steps(settings, network), network.n_regions
    what = f"{settings.exponents} exponents, {steps:,.0f} steps"
    seconds = of_spectra(1, steps, settings.exponents, regions)
    span = network.interaction.graph.range()[1]
    held = 8.0 * settings.exponents * regions * (len(network.model.variables) + span / step)
    announce(what, held, seconds, out)
    with folder(out, settings) as place:
        options = settings.options("duration", "transient", "dt", "seed")
        with called("exponents", "count"):
            found = ng.lyapunov_spectrum(
                network, settings.exponents, **options, progress=progress()
            )
        table("The spectrum", write_exponents(found, network.model.time_unit, place.part))


def _steps(settings: LyapunovSettings, network: Any) -> float:
    """Of a trajectory, at the network's own parameters."""
    dt = step_of(network, settings.dt)
    if settings.duration is not None and settings.duration < _FEWEST * dt:
        must = f"hold {_FEWEST} steps of {dt:g} {network.model.time_unit}"
        fail("duration", must, f"it is {settings.duration:g}")
    window = 100_000 if settings.duration is None else settings.duration / dt
    return window + (20_000 if settings.transient is None else settings.transient / dt)
