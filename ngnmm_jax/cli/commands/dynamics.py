"""`ngnmm lyapunov` and `ngnmm bifurcate`: chaos and bifurcations."""

import math
from pathlib import Path
from typing import Any

from ngnmm_jax.cli.app import app
from ngnmm_jax.cli.checked import points, refuse, unknown
from ngnmm_jax.cli.estimates import announce
from ngnmm_jax.cli.folder import folder
from ngnmm_jax.cli.options import Out, command
from ngnmm_jax.cli.output import progress, table, title_of
from ngnmm_jax.cli.settings.commands import BifurcateSettings, LyapunovSettings

# Exponents of a network that are computed unless somebody asks for more.
_OF_A_NETWORK = 20


@command(app, LyapunovSettings)
def lyapunov(settings: LyapunovSettings, out: Out = Path("ngnmm_lyapunov")) -> None:
    """Lyapunov spectra along one parameter, with the cascade, or over two.

    --vary once or twice; default: i_ext_e=0:16:65 (p=0:400:81). RK4 with the model's step, over
    100,000 of them after 20,000 that are left out. Writes lyapunov.png, lyapunov.nc, along one
    parameter orbit_diagram.nc, and settings.toml. Finished parts are kept in the folder blocks:
    the same command goes on where it stopped.

    Example: ngnmm lyapunov --vary i_ext_e=8.5:12:351 --coupling 12 --variable s_e --out cascade
    """
    from ngnmm_jax.cli.reports.chaos import write_lyapunov

    varied = settings.plane()
    if not settings.vary:
        varied = dict([next(iter(varied.items()))])
    if len(varied) > 2:
        refuse("--vary", "be given once or twice", f"it is {len(varied)} times")
    network = settings.build()
    if settings.variable is not None and settings.variable not in network.model.variables:
        raise ValueError(unknown("variable", settings.variable, network.model.variables))
    many = math.prod(int(count) for _, _, count in varied.values())
    size = len(network.model.variables) * (network.n_regions if settings.whole_network else 1)
    count = settings.exponents or (_OF_A_NETWORK if settings.whole_network else size)
    if count > size:
        refuse("exponents", f"be at most {size}", f"it is {count}")
    announce(f"spectra at {many:,} points", 8.0 * many * (4 * count + 2 * size))
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


@command(app, BifurcateSettings)
def bifurcate(settings: BifurcateSettings, out: Out = Path("ngnmm_bifurcations")) -> None:
    """Bifurcation diagram of the homogeneous system: equilibria, cycles, their stability.

    Over one parameter: folds, Hopf points, folds of cycles, period doublings, tori, homoclinics.
    Over two: the curves of these, with their points of codimension two. Writes bifurcations.png,
    special.csv (all special points), branches/*.nc and settings.toml; when interrupted, what is
    there.

    Example: ngnmm bifurcate --vary i_ext_e=-5:20 --coupling 12 --doublings 3 --out cascade
    """
    from ngnmm_jax.cli.reports.bifurcations import write_bifurcations

    varied = settings.varied()
    if len(varied) > 2:
        refuse("--vary", "be given once or twice", f"it is {len(varied)} times")
    network = settings.build()
    model = network.model
    options: dict[str, Any] = settings.options("longest_period") | {"progress": progress()}
    if len(varied) == 1:
        options |= settings.options("doublings")
    potential = model.shown if model.shown in model.variables else model.variables[0]
    shown = settings.variable or potential
    if shown not in model.variables:
        raise ValueError(unknown("variable", shown, model.variables))
    cuts = settings.cuts or [sum(list(varied.values())[-1]) / 2]
    title = title_of(settings, without=varied, connectome=False)
    with folder(out, settings) as place:
        rows = write_bifurcations(
            network.homogeneous(), varied, cuts, shown, options, place.part, title
        )
        table("Found", rows)
