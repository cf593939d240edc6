"""Activity on the brain, in time."""

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.animation import FuncAnimation
from matplotlib.figure import Figure

from ngnmm_jax._core import checks as _checks
from ngnmm_jax.connectome import Connectome
from ngnmm_jax.models.times import SECONDS, seconds_in
from ngnmm_jax.plot._style import picked, quantity
from ngnmm_jax.plot.regions import brain, views
from ngnmm_jax.plot.surfaces import colours_of, drawn
from ngnmm_jax.simulation.result import Simulation
from ngnmm_jax.surfaces import Surface

_COLOURS = "magma"
# Along the longest side of a surface.
_PIXELS = 360


def animate(
    run: Simulation,
    where: Connectome | Surface,
    variable: str | None = None,
    *,
    window: float = 0.2,
    slower: float = 50.0,
    frames_per_second: int = 20,
) -> FuncAnimation:
    """The last `window` seconds of one variable on the brain, so many times slower.

    `animate(run, connectome).save("activity.gif", writer="pillow")`; or "activity.mp4", where
    ffmpeg is installed.

    **Arguments:** `where`: the connectome of the run's regions, or the surface of its vertices,
    drawn as `plot.surface` does.
    """
    variable, values = picked(run, variable)
    if not isinstance(where, Connectome | Surface):
        _checks.fail("where", "be a `Connectome` or a `Surface`", f"it is {_checks.kind_of(where)}")
    count, parts = (
        (where.n_regions, "connectome's {} regions")
        if isinstance(where, Connectome)
        else (where.n_vertices, "surface's {} vertices")
    )
    if values.ndim != 2 or values.shape[1] != count:
        must = f"be one run of the {parts.format(count)}"
        _checks.fail("run", must, f"`{variable}` has shape {values.shape}")
    _checks.positive("window", window)
    _checks.positive("slower", slower)
    _checks.positive_integer("frames_per_second", frames_per_second)
    seconds = np.asarray(run.ts) * seconds_in(run.time_unit)
    number = max(2, round(min(window, seconds[-1] - seconds[0]) * slower * frames_per_second))
    times = np.linspace(max(seconds[-1] - window, seconds[0]), seconds[-1], number)
    frames = np.stack([_between(seconds, values, time) for time in times])
    low, high = np.nanquantile(frames, [0.005, 0.995])
    begin = _on_regions if isinstance(where, Connectome) else _on_surface
    figure, show = begin(where, frames, (low, high), quantity(run, variable))  # type: ignore[arg-type]
    figure.suptitle(" ")

    def draw(k: int) -> list[Any]:
        figure.suptitle(
            f"{1e3 * times[k]:.1f} ms" if run.time_unit in SECONDS else f"{times[k]:.3f}"
        )
        return show(k)

    # Every frame has its size: the layout must not move.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return FuncAnimation(figure, draw, frames=number, interval=1000 / frames_per_second)


def _between(times: np.ndarray, values: np.ndarray, time: float) -> np.ndarray:
    """Values (time, …) at a time, linear between two."""
    after = int(np.clip(np.searchsorted(times, time), 1, len(times) - 1))
    part = (time - times[after - 1]) / (times[after] - times[after - 1])
    return (1 - part) * values[after - 1] + part * values[after]


def _on_regions(
    connectome: Connectome, frames: np.ndarray, limits: tuple[float, float], label: str
) -> tuple[Figure, Callable[[int], list[Any]]]:
    """Dots at the regions' centroids, larger the higher the values (frame, region)."""
    low, high = limits
    figure = brain(connectome, frames[0], label=label, diverging=False)
    dots: list[Any] = [ax.collections[0] for ax in figure.axes if ax.collections and ax.get_title()]
    sizes = 25 + 120 * np.clip((frames - low) / max(high - low, 1e-12), 0, 1)
    for points in dots:
        points.set_clim(low, max(high, low + 1e-12))
        points.set_cmap(_COLOURS)
    orders = [np.argsort(depth) for *_, depth, _, _ in views(connectome)]

    def show(k: int) -> list[Any]:
        for points, order in zip(dots, orders, strict=True):
            points.set_array(frames[k][order])
            points.set_sizes(sizes[k][order])
        return dots

    return figure, show


def _on_surface(
    surface: Surface, frames: np.ndarray, limits: tuple[float, float], label: str
) -> tuple[Figure, Callable[[int], list[Any]]]:
    """The surface in colours of its values (frame, vertex)."""
    made = drawn(surface, frames[0], colours_of(_COLOURS, *limits), None, label, _PIXELS)

    def show(k: int) -> list[Any]:
        made.show(frames[k])
        return [made.image]

    return made.image.figure, show  # type: ignore[return-value]
