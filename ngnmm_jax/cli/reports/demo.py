"""The demonstration: rest, dispersion and activity at three telling points."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

import ngnmm_jax as ng
from ngnmm_jax import plot
from ngnmm_jax._core import checks as _checks
from ngnmm_jax.plot._style import title_above

#: The paper's model; values over the two parameters of its plane on the embedded connectome, and
#: what they show.
MODEL = ng.NextGenEI
POINTS = {
    (3.0, 9.0): "quiet",
    (15.0, 9.0): "patterned",
    (13.0, 5.0): "gamma",
}


def run_demo(
    folder: Path, connectome: ng.Connectome, say: Callable[[str], None], quick: bool = False
) -> list[dict[str, Any]]:
    """Everything the demonstration computes, into `folder`; the rows of its table.

    `quick`: with a map of every fourth point along each axis.
    """
    xarray = _checks.require_module("xarray", "data")
    folder.mkdir(parents=True, exist_ok=True)
    normalised = connectome.normalised()
    grid = np.linspace(-1.0, 1.0, 401)
    rows, datasets = [], []
    first, _ = MODEL.plane
    curves = plt.figure(figsize=(11.0, 3.4), layout="constrained")
    axes = curves.subplots(1, len(POINTS))

    for ax, (point, name) in zip(axes, POINTS.items(), strict=True):
        begun = time.perf_counter()
        at = dict(zip(MODEL.plane, point, strict=True))
        network = ng.Network(MODEL(), normalised).with_parameters(**at)
        rest = ng.find_equilibria(network.homogeneous())
        modes = ng.dispersion(network, rest.states[0])
        curve = ng.dispersion(network, rest.states[0], lambdas=grid)
        plot.dispersion(curve, modes, ax=ax)
        drive, coupling = point
        title = rf"{name}: {plot.symbol(first, network)} = {drive:g}, $\varepsilon$ = {coupling:g}"
        ax.set_title(title, fontsize="medium")

        run = ng.simulate(network, 1500.0, variables=("v_e", "r_e"))
        figure = plot.activity(run, title=f"{title}  (connectome {connectome.name})")
        figure.savefig(folder / f"activity_{name}.png", dpi=150)
        plt.close(figure)
        settled = np.asarray(run.v_e)[len(run.ts) // 3 :]
        spectrum = ng.signals.power_spectrum(settled, run.sampling_interval)
        peak = spectrum.frequencies[1 + int(np.argmax(spectrum.power.mean(axis=1)[1:]))]
        fastest = int(modes.fastest)
        active = settled.std() > 1e-3
        rows.append(
            {
                "point": name,
                first: drive,
                "coupling epsilon": coupling,
                "resting state, alone": "stable" if bool(rest.stable[0]) else "unstable",
                "growing modes": f"{int(modes.number_growing)} of {connectome.n_regions - 1}",
                "fastest mode (1/ms)": f"{float(modes.growth[fastest]):+.4f}",
                "its frequency (Hz)": f"{float(modes.frequency[fastest]):.1f}",
                "activity: sd of v_e": f"{settled.std():.3f}",
                "peak of regions (Hz)": f"{peak:.1f}" if active else "–",
            }
        )
        datasets.append(run.to_xarray().expand_dims(point=[name]))
        if name == "patterned":
            vector = normalised.eigenmodes().vectors[:, fastest]
            figure = plot.brain(connectome, vector.real, label="amplitude (unit norm)")
            title_above(
                figure,
                f"fastest unstable mode at {title}: "
                rf"$\Lambda$ = {float(modes.lambdas[fastest].real):.3f}",
            )
            figure.savefig(folder / "unstable_mode.png", dpi=150)
            plt.close(figure)
        say(f"{name}: rest, dispersion, 1.5 s of activity ({time.perf_counter() - begun:.1f} s)")
    curves.savefig(folder / "dispersion.png", dpi=150)
    plt.close(curves)

    begun = time.perf_counter()
    every = 4 if quick else 1
    plane = {name: np.linspace(*axis)[::every] for name, axis in MODEL.plane.items()}
    result = ng.dispersion_map(network, plane)
    ax = plot.dispersion_map(result)
    for point in POINTS:
        ax.plot(*point, "o", mfc="w", mec="k", ms=5)
    plt.gcf().savefig(folder / "map.png", dpi=150)
    plt.close("all")
    say(f"map of {result.status.size} parameter points ({time.perf_counter() - begun:.1f} s)")

    xarray.concat(datasets, dim="point").to_netcdf(folder / "activity.nc", engine="h5netcdf")
    result.to_xarray().to_netcdf(folder / "map.nc", engine="h5netcdf")
    return rows
