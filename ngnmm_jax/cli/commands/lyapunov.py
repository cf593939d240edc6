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
from ngnmm_jax.cli.output import progress, say_normalised, table, title_of
from ngnmm_jax.cli.settings.commands import LyapunovSettings
from ngnmm_jax.cli.settings.network import DELAYS

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

    With --speed of a network (--network), with --delay of either, and with --exponents; without
    --vary one spectrum, into lyapunov.csv.

    Example: ngnmm lyapunov --vary i_ext_e=8.5:12:351 --coupling 12 --variable s_e --out cascade
    """
    from ngnmm_jax.cli.reports.chaos import write_lyapunov

    delayed = bool(settings.delays())
    if delayed:
        _fit_delays(settings)
        if not settings.vary:
            _of_one(settings, out)
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
    if count > size and not delayed:
        fail("exponents", f"be at most {size}", f"it is {count}")
    parameters = {name: points(axis) for name, axis in varied.items()}
    between = {name: values for name, values in parameters.items() if name in DELAYS}
    steps = _steps(settings, network, between)
    regions = network.n_regions if settings.whole_network else 1
    announce(
        f"{_counted(count)} at {many:,} points, {steps:,.0f} steps each",
        8.0 * many * (4 * count + 2 * size),
        of_spectra(many, steps, count, regions),
        out,
    )
    say_normalised()
    system = network if settings.whole_network else network.homogeneous()
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


def _fit_delays(settings: LyapunovSettings) -> None:
    """Refuse what is not known with delays, or not drawn."""
    if not settings.whole_network and "speed" in settings.delays():
        must = "be given with a speed: where delays differ regions do not go alike"
        fail("--network", must, "it is not")
    if settings.exponents is None:
        must = "be given with delays, where there are infinitely many"
        fail("exponents", must, "it is not")
    if settings.variable is not None and not settings.vary:
        must = "be left out with delays without --vary, where no cascade is drawn"
        fail("variable", must, "it is given")


def _of_one(settings: LyapunovSettings, out: Path) -> None:
    """The spectrum of one network whose connections are delayed, or of its homogeneous system."""
    import ngnmm_jax as ng
    from ngnmm_jax.cli.reports.delays import write_exponents

    assert settings.exponents is not None
    network = settings.build()
    step = step_of(network, settings.dt)
    steps, regions = _steps(settings, network), network.n_regions if settings.whole_network else 1
    system = network if settings.whole_network else network.homogeneous()
    what = f"{_counted(settings.exponents)}, {steps:,.0f} steps"
    seconds = of_spectra(1, steps, settings.exponents, regions)
    span = network.interaction.graph.range()[1]
    held = 8.0 * settings.exponents * regions * (len(network.model.variables) + span / step)
    announce(what, held, seconds, out)
    say_normalised()
    with folder(out, settings) as place:
        options = settings.options("duration", "transient", "dt", "seed")
        with called("exponents", "count"):
            found = ng.lyapunov_spectrum(system, settings.exponents, **options, progress=progress())
        table("The spectrum", write_exponents(found, network.model.time_unit, place.part))


def _counted(number: int) -> str:
    return f"{number} exponent{'s' * (number > 1)}"


def _steps(settings: LyapunovSettings, network: Any, between: Any = None) -> float:
    """Of a trajectory, at the network's own parameters, and delays `between` (run,) by name."""
    dt = step_of(network, settings.dt, between)
    if settings.duration is not None and settings.duration < _FEWEST * dt:
        must = f"hold {_FEWEST} steps of {dt:g} {network.model.time_unit}"
        fail("duration", must, f"it is {settings.duration:g}")
    window = 100_000 if settings.duration is None else settings.duration / dt
    return window + (20_000 if settings.transient is None else settings.transient / dt)
