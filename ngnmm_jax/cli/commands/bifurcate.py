"""`ngnmm bifurcate`: bifurcation diagrams."""

from pathlib import Path
from typing import Any

from ngnmm_jax._core.messages import fail, one_of
from ngnmm_jax.cli.app import app
from ngnmm_jax.cli.folder import folder
from ngnmm_jax.cli.options import Out, command
from ngnmm_jax.cli.output import progress, say, say_normalised, table, title_of
from ngnmm_jax.cli.settings.commands import BifurcateSettings


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
        fail("--vary", "be given once or twice", f"it is {len(varied)} times")
    if len(varied) == 1 and settings.cuts:
        fail("--cut", "go with two parameters", "there is one, which `--vary` bounds")
    if "speed" in settings.delays():
        must = "be left out: diagrams are of one delay for all connections, `--delay` (with a "
        must += "speed: `ngnmm map`, and in Python `ng.continue_hopf`)"
        fail("speed", must, "connections are delayed by it")
    network = settings.build()
    model = network.model
    options: dict[str, Any] = settings.options("longest_period") | {"progress": progress()}
    if len(varied) == 1:
        options |= settings.options("doublings")
    potential = model.shown if model.shown in model.variables else model.variables[0]
    shown = potential if settings.variable is None else settings.variable
    one_of("variable", shown, model.variables)
    cuts = settings.cuts or [sum(list(varied.values())[-1]) / 2]
    title = title_of(settings, without=varied, connectome=False)
    over = " and ".join(f"{k} from {low:g} to {high:g}" for k, (low, high) in varied.items())
    say(f"bifurcations over {over}; how long is not known before")
    say_normalised()
    with folder(out, settings) as place:
        rows = write_bifurcations(
            network.homogeneous(), varied, cuts, shown, options, place.part, title
        )
        table("Found", rows)
