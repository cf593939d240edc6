"""`ngnmm map`: homogeneous states and their modes over two parameters."""

import math
from pathlib import Path

from ngnmm_jax._core.messages import fail
from ngnmm_jax.cli.app import app
from ngnmm_jax.cli.estimates import announce, of_map, of_roots
from ngnmm_jax.cli.folder import folder
from ngnmm_jax.cli.options import Out, command
from ngnmm_jax.cli.output import progress, say_normalised, table, title_of
from ngnmm_jax.cli.settings.commands import MapSettings

# Bytes of a map's results at each point: five states of six variables and their growth.
_BYTES_A_POINT = 5 * (6 + 8) * 8


@command(app, MapSettings)
def map_(settings: MapSettings, out: Out = Path("ngnmm_map")) -> None:
    """Map the homogeneous states and their transverse stability over two parameters.

    Equilibria, periodic orbits and aperiodic states, with hysteresis; which connectome modes
    grow on them. --vary twice; the first is swept up and down. Default: i_ext_e=0:16:65 and
    coupling=0:30:61 (the paper's grid: i_ext_e=0:16:321 and coupling=0:30:601). Writes map.png,
    details.png, cut.png, map.nc and settings.toml. Finished parts are kept in the folder blocks:
    the same command goes on where it stopped.

    With delays (--speed, --delay, or one of them as an axis) of equilibria only; with speeds by
    the characteristic roots of the whole network: how fast the rightmost grows, how many grow, at
    which frequency.

    Example: ngnmm map --vary i_ext_e=0:16:321 --vary coupling=0:30:601 --out plane
    """
    from ngnmm_jax.cli.reports.stability import write_map

    plane = settings.plane()
    if len(plane) != 2:
        fail("--vary", "be given twice", f"it is {len(plane)} times")
    points = math.prod(int(count) for _, _, count in plane.values())
    _, (low, high, _) = list(plane.values())
    if settings.cut is not None and not low <= settings.cut <= high:
        fail("cut", f"lie between {low:g} and {high:g}", f"it is {settings.cut:g}")
    network = settings.build()
    seconds = of_map(points)
    if network.delays is not None:
        each = of_roots(network.n_regions, common=network.one_delay)
        seconds = points * each
    announce(f"a map of {points:,} points", float(points) * _BYTES_A_POINT, seconds, out)
    say_normalised()
    cut = network.model.cut if settings.cut is None else settings.cut
    title = title_of(settings, without=plane)
    with folder(out, settings) as place:
        place.kept = out / "blocks"
        rows = write_map(network, settings.grid(), cut, place.part, place.kept, title, progress())
        table("The plane", rows)
