"""Meshes as they are seen from one side: which part of which face lies at each pixel."""

import contextlib
import ctypes
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ngnmm_jax._core import checks as _checks

# Room around a mesh, as a part of its size.
_MARGIN = 0.03
# How bright a face is that is seen edge-on, as a part of one that is seen from the front.
_EDGE_ON = 0.45
# Names under which VTK looks for what draws without a graphics card.
_SOFTWARE = ("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so")


@dataclasses.dataclass(frozen=True)
class View:
    """A mesh seen from one side, without perspective: what lies at each pixel.

    `seen` (row, column) is where there is a face. Of each such pixel, row by row, `corners`
    (pixel, 3) are the vertices of the face, `parts` (pixel, 3) how near it is to each, summing to
    one, and `light` (pixel,) how much the face is turned to the reader, from 0 to 1. `origin` is
    where the lower left corner lies, and `resolution` the pixels for each mm.
    """

    seen: np.ndarray
    corners: np.ndarray
    parts: np.ndarray
    light: np.ndarray
    origin: tuple[float, float]
    resolution: float

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, low, high, in mm."""
        (left, low), (rows, columns) = self.origin, self.seen.shape
        return left, left + columns / self.resolution, low, low + rows / self.resolution

    def values(self, values: np.ndarray) -> np.ndarray:
        """Values (vertex,) where there is a face (pixel,), linear over each."""
        return (values[self.corners] * self.parts).sum(axis=-1)

    def picture(self, values: np.ndarray, colours: Any) -> np.ndarray:
        """Values (vertex,) in the colours of a `ScalarMappable`: (row, column, 4), of bytes."""
        shown = colours.to_rgba(np.ma.masked_invalid(self.values(values)), bytes=True)
        bright = _EDGE_ON + (1 - _EDGE_ON) * self.light
        shown[:, :3] = np.round(shown[:, :3] * bright[:, None])
        picture = np.zeros((*self.seen.shape, 4), np.uint8)
        picture[self.seen] = shown
        return picture


def view_of(
    vertices: np.ndarray,
    faces: np.ndarray,
    normals: np.ndarray,
    towards: Any,
    up: Any,
    resolution: float,
) -> View:
    """A mesh as it is seen by who looks at it along minus `towards`.

    **Arguments:**

    - `vertices` (vertex, 3): mm.
    - `faces` (face, 3): of vertices.
    - `normals` (vertex, 3): unit vectors.
    - `towards`, `up`: unit vectors, to the reader and to the upper end of the picture.
    - `resolution`: pixels for each mm.

    Faces are found by VTK's depth buffer, each in a colour that is its number.
    """
    towards, up = np.asarray(towards, float), np.asarray(up, float)
    turned = vertices @ np.stack([np.cross(up, towards), up, towards], axis=1)
    flat = turned[:, :2]
    low, high = flat.min(axis=0), flat.max(axis=0)
    middle = (low + high) / 2
    columns, rows = (int(n) for n in np.ceil((high - low) * (1 + 2 * _MARGIN) * resolution))
    width, height = columns / resolution, rows / resolution
    x = middle[0] + (np.arange(columns) + 0.5) / resolution - width / 2
    y = middle[1] - (np.arange(rows) + 0.5) / resolution + height / 2
    face = _faces_at(turned, faces, middle, height, (columns, rows))
    seen = face >= 0
    corners = faces[face[seen]]
    at = np.stack(np.broadcast_arrays(x, y[:, None]), axis=-1)[seen]
    parts = _barycentric(flat[corners], at)
    light = np.abs(((normals @ towards)[corners] * parts).sum(axis=-1)).clip(0, 1)
    origin = (float(middle[0] - width / 2), float(middle[1] - height / 2))
    return View(seen, corners, parts, light, origin, resolution)


def together(columns: Sequence[Sequence[View]], gap: float) -> tuple[View, list[Any]]:
    """Views of one resolution as one: columns side by side, in each one below the other.

    `gap` (mm) is left between them, and above each. Returns also where the middle of the upper end
    of each lies, (x, y) in mm from the lower left corner.
    """
    resolution = columns[0][0].resolution
    between = round(gap * resolution)
    tall = [sum(view.seen.shape[0] + between for view in column) for column in columns]
    wide = [max(view.seen.shape[1] for view in column) for column in columns]
    size = (max(tall), sum(wide) + between * (len(wide) - 1))
    where, tops, pieces = np.full(size, -1), [], []
    count, left = 0, 0
    for column, height, width in zip(columns, tall, wide, strict=True):
        top = (size[0] - height) // 2
        for view in column:
            top += between
            rows, across = view.seen.shape
            start = left + (width - across) // 2
            place = where[top : top + rows, start : start + across]
            place[view.seen] = count + np.arange(len(view.light))
            count += len(view.light)
            tops.append(((start + across / 2) / resolution, (size[0] - top) / resolution))
            pieces.append(view)
            top += rows
        left += width + between
    order = where[where >= 0]
    corners, parts, light = (
        np.concatenate([getattr(view, name) for view in pieces])[order]
        for name in ("corners", "parts", "light")
    )
    return View(where >= 0, corners, parts, light, (0.0, 0.0), resolution), tops


def _faces_at(
    turned: np.ndarray, faces: np.ndarray, middle: np.ndarray, height: float, size: tuple[int, int]
) -> np.ndarray:
    """The number of the face at each pixel (row, column), -1 where there is none."""
    pyvista = _checks.require_module("pyvista", "surface")
    mesh = pyvista.PolyData.from_regular_faces(turned, faces)
    number = np.arange(1, len(faces) + 1)
    digits = np.stack([number & 255, number >> 8 & 255, number >> 16], axis=1)
    mesh.cell_data["number"] = digits.astype(np.uint8)
    with quiet():
        require_drawing()
        plotter = pyvista.Plotter(off_screen=True, window_size=list(size), lighting="none")
        try:
            plotter.disable_anti_aliasing()
            plotter.background_color = "black"
            plotter.add_mesh(
                mesh, scalars="number", rgb=True, lighting=False, show_scalar_bar=False
            )
            depth = turned[:, 2]
            camera = plotter.camera
            camera.position = (*middle, depth.max() + max(np.ptp(depth), 1.0))
            camera.focal_point = (*middle, depth.min())
            camera.up = (0, 1, 0)
            camera.parallel_projection = True
            camera.parallel_scale = height / 2
            plotter.reset_camera_clipping_range()
            drawn = plotter.screenshot(None, return_img=True).astype(np.int64)
        finally:
            plotter.close()
    return drawn[..., 0] + (drawn[..., 1] << 8) + (drawn[..., 2] << 16) - 1


def _barycentric(corners: np.ndarray, at: np.ndarray) -> np.ndarray:
    """How near points (point, 2) are to the corners (point, 3, 2) of their faces; edges count."""
    a, b, c = (corners[:, k] - at for k in range(3))
    parts = np.stack([_cross(b, c), _cross(c, a), _cross(a, b)], axis=1)
    area = parts.sum(axis=1, keepdims=True)
    parts = np.where(area == 0, 1 / 3, parts / np.where(area == 0, 1.0, area)).clip(0, 1)
    return parts / parts.sum(axis=1, keepdims=True)


def _cross(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]


def require_drawing() -> None:
    """Refuse where VTK would end the process, as it does where it finds no OpenGL at all."""
    import vtkmodules.vtkRenderingOpenGL2  # noqa: F401  (makes windows what they can be here)
    from vtkmodules.vtkRenderingCore import vtkRenderWindow

    window = vtkRenderWindow()  # a screen's, else EGL's, else the last of its kinds
    if window.GetClassName() == "vtkOSOpenGLRenderWindow" and not any(map(_opens, _SOFTWARE)):
        raise RuntimeError(
            "Surfaces cannot be drawn here: VTK found no OpenGL, neither of a screen nor EGL nor "
            "OSMesa. Install one of them (Debian and Ubuntu: apt install libegl1)."
        )


def _opens(library: str) -> bool:
    with contextlib.suppress(OSError):
        return bool(ctypes.CDLL(library))
    return False


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without VTK's lines about the screens that it does not find."""
    from vtkmodules.vtkCommonCore import vtkLogger

    before = vtkLogger.GetCurrentVerbosityCutoff()
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_OFF)
    try:
        yield
    finally:
        vtkLogger.SetStderrVerbosity(before)
