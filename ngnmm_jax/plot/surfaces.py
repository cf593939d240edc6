"""Values on a surface, seen from its sides."""

import dataclasses
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.image import AxesImage
from numpy.typing import ArrayLike

from ngnmm_jax._core import checks as _checks
from ngnmm_jax.plot._style import GREY, colour_bar, make_axes
from ngnmm_jax.plot._views import View, together, view_of
from ngnmm_jax.surfaces import Surface

# Pixels along the longest side of what is drawn, and what is left between views, as its part.
_PIXELS, _GAP = 700, 0.1
_X, _Y, _Z = np.eye(3)
# Of surfaces without hemispheres: titles, the direction to the reader, and what is drawn upward.
_ABOVE, _LEFT, _BEHIND = (
    ("from above", _Z, _Y),
    ("from the left", -_X, _Z),
    ("from behind", -_Y, _Z),
)


def surface(
    surface: Surface,
    values: ArrayLike,
    *,
    ax: Axes | None = None,
    label: str = "",
    diverging: bool = True,
    limits: tuple[float, float] | None = None,
) -> Axes:
    """One value per vertex on a surface: each hemisphere from both its sides, and both from above.

    Surfaces without hemispheres are seen from above, from the left and from behind. Grey is where
    values are NaN (a medial wall). The axes are in mm, and all views in their scale.

    **Arguments:**

    - `values` (vertex,): real; of a complex mode, show its real part or modulus.
    - `label`: of the bar, as `plot.symbol("v_e", run)`.
    - `diverging`: colours centred on zero (a mode), or sequential (an amplitude).
    - `limits`: lowest and highest value that colours tell apart; by default those there are.

    Needs pyvista, which finds what hides what: pip install 'ngnmm-jax[surface]'. It draws without a
    screen; where there is no OpenGL at all, `RuntimeError` says what to install.
    """
    array = _checked(surface, values)
    known = array[np.isfinite(array)]
    low, high = (known.min(), known.max()) if limits is None else _limits(limits)
    if diverging and limits is None:
        high = max(abs(low), abs(high), 1e-300)
        low = -high
    colours = colours_of("RdBu_r" if diverging else "viridis", low, high)
    return drawn(surface, array, colours, ax, label or "amplitude").image.axes


def _checked(surface: Surface, values: ArrayLike) -> np.ndarray:
    """Values of the vertices, some of which may be NaN."""
    if not isinstance(surface, Surface):
        _checks.fail("surface", "be a `Surface`", f"it is {_checks.kind_of(surface)}")
    array = np.asarray(values)
    _checks.shape("values", array, (surface.n_vertices,), "(vertex,)")
    if np.iscomplexobj(array):
        _checks.fail("values", "be real", "it is complex: take `.real` or `abs`")
    array = _checks.numbers("values", array, booleans=True).astype(float)
    if np.isinf(array).any():
        _checks.fail("values", "be finite or NaN", f"{int(np.isinf(array).sum())} are infinite")
    if np.isnan(array).all():
        _checks.fail("values", "have some numbers", "all are NaN")
    return array


def _limits(limits: Any) -> tuple[float, float]:
    pair = _checks.numbers("limits", limits)
    if pair.shape != (2,) or not pair[0] < pair[1]:
        _checks.fail("limits", "be (low, high), rising", f"it is {limits!r}")
    return float(pair[0]), float(pair[1])


def colours_of(name: str, low: float, high: float) -> ScalarMappable:
    """Colours of values between two, grey for NaN."""
    colours = plt.get_cmap(name).with_extremes(bad=GREY)
    return ScalarMappable(Normalize(low, max(high, low + 1e-12 * (1 + abs(low)))), colours)


@dataclasses.dataclass(frozen=True)
class Drawn:
    """An image of a surface, and what shows other values in it."""

    image: AxesImage
    view: View
    colours: ScalarMappable

    def show(self, values: np.ndarray) -> None:
        """Draw other values (vertex,), in the same colours."""
        self.image.set_data(self.view.picture(values, self.colours))


def drawn(
    surface: Surface,
    values: np.ndarray,
    colours: ScalarMappable,
    ax: Axes | None,
    label: str,
    pixels: int = _PIXELS,
) -> Drawn:
    """The views of a surface with titles, a ruler and a bar, in new axes if none are given."""
    size = float(np.ptp(surface.vertices, axis=0).max())
    columns = _sides(surface)
    each = [
        [_seen(surface, part, towards, up, pixels / size) for part, (_, towards, up) in column]
        for column in columns
    ]
    view, tops = together(each, _GAP * size)
    ax = make_axes(ax, (1.6 + 4.0 * view.extent[1] / view.extent[3], 4.0))
    image = ax.imshow(
        view.picture(values, colours), extent=view.extent, interpolation="antialiased"
    )
    titles = [title for column in columns for _, (title, *_) in column]
    for (x, y), title in zip(tops, titles, strict=True):
        ax.text(x, y, title, ha="center", va="bottom")
    _ruler(ax, view)
    ax.set_axis_off()
    colours.set_array(values)
    colour_bar(ax, colours, label)
    return Drawn(image, view, colours)


def _sides(surface: Surface) -> list[list[Any]]:
    """What is seen (its vertices) from where, in columns."""
    whole = np.arange(surface.n_vertices)
    if not surface.sides:
        return [[(whole, side)] for side in (_ABOVE, _LEFT, _BEHIND)]
    halves = []
    for name in surface.sides:
        part, outward = surface.of(name), -_X if name == "left" else _X
        lateral = (part, (f"{name}, lateral", outward, _Z))
        halves.append([lateral, (part, (f"{name}, medial", -outward, _Z))])
    if len(halves) == 1:
        return [[one] for one in halves[0]]
    return [halves[0], [(whole, _ABOVE)], halves[1]]


def _seen(surface: Surface, part: np.ndarray, towards: Any, up: Any, resolution: float) -> View:
    """A part of a surface (vertices that share no face with the rest) from one side."""
    place = np.full(surface.n_vertices, -1)
    place[part] = np.arange(part.size)
    faces = place[surface.faces]
    faces = faces[(faces >= 0).all(axis=1)]
    view = view_of(surface.vertices[part], faces, surface.normals[part], towards, up, resolution)
    return dataclasses.replace(view, corners=part[view.corners])


def _ruler(ax: Axes, view: View) -> None:
    """A line of a round number of mm below the first view."""
    width = view.extent[1]
    power = 10 ** np.floor(np.log10(width / 8))
    length = power * max(k for k in (1, 2, 5) if k * power <= width / 8)
    low, high = ax.get_ylim()
    y = low - 0.02 * (high - low)
    ax.plot([0, length], [y, y], color="0.2", lw=1.5)
    ax.annotate(f"{length:g} mm", (length, y), (4, 0), textcoords="offset points", va="center",
                fontsize="small", color="0.2")  # fmt: skip
    ax.axis((0, width, y - 0.02 * (high - low), high))
