"""`ngnmm dispersion`, `ngnmm map` and `ngnmm compare`: homogeneous states and their modes."""

import math
from pathlib import Path

from ngnmm_jax.cli.app import app
from ngnmm_jax.cli.checked import refuse
from ngnmm_jax.cli.estimates import announce
from ngnmm_jax.cli.folder import folder
from ngnmm_jax.cli.options import Out, command
from ngnmm_jax.cli.output import progress, say, table, title_of
from ngnmm_jax.cli.settings.commands import CompareSettings, DispersionSettings, MapSettings

# Bytes of a map's results at each point: five states of six variables and their growth.
_BYTES_A_POINT = 5 * (6 + 8) * 8


@command(app, DispersionSettings)
def dispersion(settings: DispersionSettings, out: Out = Path("ngnmm_dispersion")) -> None:
    """Find homogeneous equilibria (all, of the library's models) and their dispersion relations.

    For each equilibrium: its stability, the connectome modes that grow on it and their
    frequency. Writes dispersion.csv (one line a mode), dispersion.png, the fastest mode on the
    brain (where the connectome has coordinates) and settings.toml.

    Example: ngnmm dispersion --set i_ext_e=15 --coupling 9 --out patterned
    """
    import ngnmm_jax as ng
    from ngnmm_jax.cli.reports.stability import write_dispersion

    if settings.lambda_low >= settings.lambda_high:
        must = f"be below `lambda_high`, {settings.lambda_high:g}"
        refuse("lambda_low", must, f"it is {settings.lambda_low:g}")
    network = settings.build()
    rest = ng.find_equilibria(network.homogeneous())
    with folder(out, settings) as place:
        limits = (settings.lambda_low, settings.lambda_high, settings.lambda_points)
        rows = write_dispersion(network, rest, limits, place.part, title_of(settings))
        table("Homogeneous equilibria", rows)


@command(app, MapSettings)
def map_(settings: MapSettings, out: Out = Path("ngnmm_map")) -> None:
    """Map the homogeneous states and their transverse stability over two parameters.

    Equilibria, periodic orbits and aperiodic states, with hysteresis; which connectome modes
    grow on them. --vary twice; the first is swept up and down. Default: i_ext_e=0:16:65 and
    coupling=0:30:61 (the paper's grid: i_ext_e=0:16:321 and coupling=0:30:601). Writes map.png,
    details.png, cut.png, map.nc and settings.toml. Finished parts are kept in the folder blocks:
    the same command goes on where it stopped.

    Example: ngnmm map --vary i_ext_e=0:16:321 --vary coupling=0:30:601 --out plane
    """
    from ngnmm_jax.cli.reports.stability import write_map

    plane = settings.plane()
    if len(plane) != 2:
        refuse("--vary", "be given twice", f"it is {len(plane)} times")
    points = math.prod(int(count) for _, _, count in plane.values())
    announce(f"a map of {points:,} points", float(points) * _BYTES_A_POINT)
    network = settings.build()
    cut = network.model.cut if settings.cut is None else settings.cut
    title = title_of(settings, without=(*settings.set, "coupling"))
    with folder(out, settings) as place:
        place.kept = out / "blocks"
        rows = write_map(network, settings.grid(), cut, place.part, place.kept, title, progress())
        table("The plane", rows)


@command(app, CompareSettings)
def compare(settings: CompareSettings, out: Out = Path("ngnmm_comparison")) -> None:
    """Compare the next-generation mass with Jansen and Rit's on one connectome.

    Dispersion relations and maps of transverse instabilities of both, in comparison.png, and
    a table of what each can do.
    """
    from ngnmm_jax.cli.reports.stability import write_comparison
    from ngnmm_jax.reproduce.comparison import Plane

    every = {}
    for name in ("nextgen", "jansen-rit"):
        one = MapSettings.of({**settings.model_dump(), "model": name}, "settings")
        every[name] = Plane(one.build(), one.grid())
    with folder(out, settings) as place:
        rows = write_comparison(every, place.part, progress(), lambda line: say(f"  {line}"))
        table("Over each model's plane", rows)
