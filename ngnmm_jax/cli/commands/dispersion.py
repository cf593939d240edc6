"""`ngnmm dispersion`: equilibria and the modes that grow on them."""

from pathlib import Path

from ngnmm_jax._core.messages import fail
from ngnmm_jax.cli.app import app
from ngnmm_jax.cli.estimates import announce, of_roots
from ngnmm_jax.cli.folder import folder
from ngnmm_jax.cli.options import Out, command
from ngnmm_jax.cli.output import say_normalised, table, title_of
from ngnmm_jax.cli.settings.commands import DispersionSettings


@command(app, DispersionSettings)
def dispersion(settings: DispersionSettings, out: Out = Path("ngnmm_dispersion")) -> None:
    """Find homogeneous equilibria (all, of the library's models) and their dispersion relations.

    For each equilibrium: its stability, the connectome modes that grow on it and their
    frequency. Writes dispersion.csv (one line a mode), dispersion.png, the fastest mode on the
    brain (where the connectome has coordinates) and settings.toml.

    With --speed: the characteristic roots of the whole network instead, all that grow, their number
    certified; of each its frequency and the mode that its pattern is nearest to (pattern_*.png).
    With --delay modes as without delays, each by its rightmost roots.

    With --surface every vertex of a cortex is a node: the first and last modes, the curve, and a
    bound on the growth of all others.

    Example: ngnmm dispersion --set i_ext_e=15 --coupling 9 --out patterned
    """
    import ngnmm_jax as ng
    from ngnmm_jax.cli.reports.delays import write_roots
    from ngnmm_jax.cli.reports.stability import write_dispersion

    if settings.lambda_low >= settings.lambda_high:
        must = f"be below `lambda_high`, {settings.lambda_high:g}"
        fail("lambda_low", must, f"it is {settings.lambda_low:g}")
    settings.check_surface()
    if settings.surface:
        _of_a_surface(settings, out)
        return
    network = settings.build()
    modes, delays = network.n_regions, network.delays
    differ = delays is not None and not network.one_delay
    defaults = DispersionSettings()
    for name in ("lambda_low", "lambda_high", "lambda_points"):
        if differ and getattr(settings, name) != getattr(defaults, name):
            must = "be left out where delays differ: there are no modes, and no curve over Λ"
            fail(name, must, f"it is {getattr(settings, name):g}")
    what = "characteristic roots" if differ else f"{modes} modes"
    each = of_roots(modes) if differ else 0.0
    announce(f"equilibria and the {what} of each", 8.0 * modes * modes, each, out)
    say_normalised()
    rest = ng.find_equilibria(network.homogeneous())
    with folder(out, settings) as place:
        title = title_of(settings)
        if differ:
            rows = write_roots(network, rest, place.part, title)
        else:
            limits = (settings.lambda_low, settings.lambda_high, settings.lambda_points)
            rows = write_dispersion(network, rest, limits, place.part, title)
        table("Homogeneous equilibria", rows)


def _of_a_surface(settings: DispersionSettings, out: Path) -> None:
    """Of a cortex' vertices."""
    import ngnmm_jax as ng
    from ngnmm_jax.cli.cortex import Plan
    from ngnmm_jax.cli.reports.stability import write_dispersion

    cortex = settings.cortex
    kernel = settings.local_kernel()
    Plan.of(cortex, settings.node(), settings.coupling, kernel).announce_modes(out)
    network = settings.build()
    rest = ng.find_equilibria(network.homogeneous())
    with folder(out, settings) as place:
        limits = (settings.lambda_low, settings.lambda_high, settings.lambda_points)
        title = title_of(settings)
        rows = write_dispersion(network, rest, limits, place.part, title, cortex)
        table("Homogeneous equilibria", rows)
