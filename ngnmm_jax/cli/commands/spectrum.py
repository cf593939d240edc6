"""`ngnmm spectrum`: its rhythms."""

import math
from pathlib import Path

from ngnmm_jax._core.messages import fail
from ngnmm_jax.cli.app import app
from ngnmm_jax.cli.estimates import announce, of_steps, step_of
from ngnmm_jax.cli.folder import folder
from ngnmm_jax.cli.options import Out, command
from ngnmm_jax.cli.output import say, say_normalised, table, title_of
from ngnmm_jax.cli.settings.commands import SpectrumSettings
from ngnmm_jax.cli.settings.network import DELAYS

# Seconds of which there can be a spectrum, at a sample a millisecond.
_SHORTEST = 0.1


@command(app, SpectrumSettings)
def spectrum(settings: SpectrumSettings, out: Out = Path("ngnmm_spectrum")) -> None:
    """Rhythms of the network: rasters, power spectra, coupling between frequencies.

    Of one point, or of several where one parameter varies, or two; 20 s unless --duration says,
    after 2 s (--transient). Writes rasters.png, spectra.png and spectra.csv; of one point also
    activity.nc and rhythm.png (mean field, envelope, comodulograms); and settings.toml.

    Example: ngnmm spectrum --set i_ext_e=13 --coupling 5 --out gamma
    """
    from ngnmm_jax.cli.reports.activity import write_spectra
    from ngnmm_jax.models.times import usual_sample

    network = settings.build()
    parameters = settings.grid() if settings.vary else {}
    unit = network.model.time_unit
    second = 1000 * usual_sample(network.model)  # or as many samples
    length = settings.duration or 20 * second
    if length < _SHORTEST * second:
        must = f"be at least {_SHORTEST * second:g} {unit}"
        fail("duration", must, f"it is {length:g}")
    points = math.prod(axis.size for axis in parameters.values())
    samples = points * length / second * 1000
    before = 2 * second if settings.transient is None else settings.transient
    varied = {name: axis for name, axis in parameters.items() if name in DELAYS}
    step = step_of(network, settings.dt, varied)
    steps = (length + before) / step
    announce(
        f"{points} x {length:g} {unit}, after {before:g} {unit}, of {network.n_regions} regions",
        8.0 * samples * network.n_regions * len(network.model.variables),
        of_steps(steps, network.n_regions, points),
        out,
    )
    say_normalised()
    with folder(out, settings) as place:
        rows = write_spectra(
            network,
            parameters,
            settings.options("duration", "transient", "seed", "scatter") | {"dt": step},
            place.part,
            title_of(settings, without=parameters),
            animate=settings.animate,
            say=lambda line: say(f"  {line}"),
        )
        table("Rhythms", rows)
