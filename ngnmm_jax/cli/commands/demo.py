"""`ngnmm demo`: a first look."""

from pathlib import Path

from ngnmm_jax.cli.app import app
from ngnmm_jax.cli.folder import folder
from ngnmm_jax.cli.options import Out, command
from ngnmm_jax.cli.output import say, say_normalised, table
from ngnmm_jax.cli.settings.commands import DemoSettings

_NEXT = """
Next, in this folder:
  ngnmm dispersion --set i_ext_e=15 --coupling 9 --out there    equilibria, modes, figures
  ngnmm simulate --set i_ext_e=13 --coupling 5 --out gamma      activity, with its spectrum
  ngnmm connectome YOUR_FILE                                    how your own weights are read
(After `make demo` the command is .venv/bin/ngnmm.) In Jupyter: `ng.explore(network).widget`. README
has fifteen lines of Python to begin with; docs/howto answers one question on each page."""


@command(app, DemoSettings)
def demo(settings: DemoSettings, out: Out = Path("ngnmm_demo")) -> None:
    """Show what the library does: about a minute, no network needed.

    At three points of the paper's parameter plane, on the embedded connectome: the
    homogeneous resting state, its dispersion relation, 1.5 s of the network's activity; and
    a map of transverse instabilities. Writes figures, NetCDF files and settings.toml.
    """
    from ngnmm_jax.cli.reports.demo import run_demo

    source = settings.loaded_connectome
    say(f"{source.name}: {source.n_regions} regions. {source.source}")
    say_normalised()
    with folder(out, settings) as place:
        rows = run_demo(place.part, source, lambda line: say(f"  {line}"), settings.quick)
        table("The paper's model on this connectome", rows)
    say(_NEXT)
