"""`ngnmm compare`: the models in one connectome."""

from pathlib import Path

from ngnmm_jax.cli.app import app
from ngnmm_jax.cli.folder import folder
from ngnmm_jax.cli.options import Out, command
from ngnmm_jax.cli.output import progress, say, say_normalised, table
from ngnmm_jax.cli.settings.commands import CompareSettings, MapSettings


@command(app, CompareSettings)
def compare(settings: CompareSettings, out: Out = Path("ngnmm_comparison")) -> None:
    """Compare models that the library brings on one connectome: the paper's two, or others.

    Dispersion relations and maps of transverse instabilities of each, in comparison.png, and
    a table of what each can do.
    """
    from ngnmm_jax.cli.reports.stability import write_comparison
    from ngnmm_jax.reproduce.comparison import Plane

    every = {}
    for name in settings.chosen():
        given = settings.model_dump(exclude={"models"})
        one = MapSettings.of({**given, "model": name}, "settings")
        every[name] = Plane(one.build(), one.grid())
    say(f"maps of {', '.join(every)}, one after another; half a minute or more each")
    say_normalised()
    with folder(out, settings) as place:
        rows = write_comparison(every, place.part, progress(), lambda line: say(f"  {line}"))
        table("Over each model's plane", rows)
