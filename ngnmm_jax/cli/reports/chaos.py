"""Lyapunov spectra and the cascade, into a folder."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from ngnmm_jax import plot
from ngnmm_jax._core.status import Status
from ngnmm_jax.chaos.lyapunov_map import LyapunovMap, lyapunov_map
from ngnmm_jax.chaos.orbit_diagram import orbit_diagram
from ngnmm_jax.cli.reports.statuses import ended
from ngnmm_jax.models.times import rate_unit
from ngnmm_jax.plot._style import title_above
from ngnmm_jax.systems.driven import Undriven


def write_lyapunov(
    system: Undriven,
    parameters: dict[str, np.ndarray],
    count: int | None,
    variable: str | None,
    options: dict[str, Any],
    out: Path,
    store: Path,
    title: str,
    progress: bool | None,
) -> list[dict[str, Any]]:
    """Lyapunov spectra along one parameter (with the cascade) or over two; the rows of a table.

    The spectra are kept in `store`. `variable`: whose maxima the cascade shows; `options`:
    `duration`, `transient`, `dt` and `seed`, as `lyapunov_map` and `orbit_diagram` take them.
    """
    result = lyapunov_map(system, parameters, count, store=store, progress=progress, **options)
    result.to_xarray().to_netcdf(out / "lyapunov.nc", engine="h5netcdf")
    if len(parameters) == 1:
        options = {**options, "progress": progress}
        diagram = orbit_diagram(system, parameters, variable, events=200, **options)
        diagram.to_xarray().to_netcdf(out / "orbit_diagram.nc", engine="h5netcdf")
        figure = plot.cascade(diagram, result, title=title)
    else:
        figure = plt.figure(figsize=(11.0, 7.4), layout="constrained")
        every = figure.subplots(2, 2).ravel()
        for ax, quantity in zip(every, plot.LYAPUNOV_QUANTITIES, strict=True):
            plot.lyapunov(result, ax=ax, quantity=quantity)
        title_above(figure, title)
    figure.savefig(out / "lyapunov.png", dpi=150)
    plt.close(figure)
    return [{"": "points", **lyapunov_facts(result)}]


def lyapunov_facts(result: LyapunovMap) -> dict[str, str]:
    """What Lyapunov spectra over a grid say, in numbers."""
    spectra = result.spectra
    status = np.asarray(spectra.status)
    ok = status == Status.OK
    positive = np.asarray(spectra.number_positive)[ok]
    leading = np.asarray(spectra.exponents)[ok][:, 0]
    dimension = np.asarray(spectra.kaplan_yorke)[ok]
    known = dimension[np.isfinite(dimension)]
    n = max(int(ok.sum()), 1)
    unit = rate_unit(result.time_unit)
    return {
        "in all": str(status.size),
        "chaotic (an exponent above zero)": f"{(positive > 0).sum() / n:.1%}",
        "hyperchaotic (several)": f"{(positive > 1).sum() / n:.1%}",
        "most positive exponents": str(positive.max(initial=0)),
        "largest exponent": f"{leading.max():.3g} {unit}" if leading.size else "–",
        "largest Kaplan-Yorke dimension": f"{known.max():.3g}" if known.size else "–",
        "dimension needs more exponents": f"{np.isnan(dimension).sum() / n:.1%}",
        **{words: str(count) for words, count in ended(status).items()},
    }
