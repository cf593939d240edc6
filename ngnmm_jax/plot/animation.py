"""Activity on the brain, in time."""

from typing import Any

import numpy as np
from matplotlib.animation import FuncAnimation

from ngnmm_jax._core import checks as _checks
from ngnmm_jax.connectome import Connectome
from ngnmm_jax.models.times import SECONDS, seconds_in
from ngnmm_jax.plot._style import picked, quantity
from ngnmm_jax.plot.regions import brain, views
from ngnmm_jax.simulation.result import Simulation


def animate(
    run: Simulation,
    connectome: Connectome,
    variable: str | None = None,
    *,
    window: float = 0.2,
    slower: float = 50.0,
    frames_per_second: int = 20,
) -> FuncAnimation:
    """The last `window` seconds of one variable on the brain, so many times slower.

    `animate(run, connectome).save("activity.gif", writer="pillow")`; or "activity.mp4", where
    ffmpeg is installed.
    """
    variable, values = picked(run, variable)
    if values.ndim != 2 or values.shape[1] != connectome.n_regions:
        _checks.fail(
            "run",
            f"be one run of the connectome's {connectome.n_regions} regions",
            f"`{variable}` has shape {values.shape}",
        )
    _checks.positive("window", window)
    _checks.positive("slower", slower)
    _checks.positive_integer("frames_per_second", frames_per_second)
    seconds = np.asarray(run.ts) * seconds_in(run.time_unit)
    count = max(2, round(min(window, seconds[-1] - seconds[0]) * slower * frames_per_second))
    times = np.linspace(max(seconds[-1] - window, seconds[0]), seconds[-1], count)
    frames = np.stack([np.interp(times, seconds, column) for column in values.T], axis=1)
    low, high = np.quantile(frames, [0.005, 0.995])
    figure = brain(connectome, frames[0], label=quantity(run, variable), diverging=False)
    dots: list[Any] = [ax.collections[0] for ax in figure.axes if ax.collections and ax.get_title()]
    sizes = 25 + 120 * np.clip((frames - low) / max(high - low, 1e-12), 0, 1)
    for points in dots:
        points.set_clim(low, max(high, low + 1e-12))
        points.set_cmap("magma")
    figure.suptitle(" ")
    orders = [np.argsort(depth) for *_, depth, _, _ in views(connectome)]

    def draw(k: int) -> list[Any]:
        for points, order in zip(dots, orders, strict=True):
            points.set_array(frames[k][order])
            points.set_sizes(sizes[k][order])
        figure.suptitle(
            f"{1e3 * times[k]:.1f} ms" if run.time_unit in SECONDS else f"{times[k]:.3f}"
        )
        return dots

    # Every frame has its size: the layout must not move.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return FuncAnimation(figure, draw, frames=count, interval=1000 / frames_per_second)
