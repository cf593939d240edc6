"""Surfaces in files of GIFTI and FreeSurfer, through nibabel."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ngnmm_jax._core import checks as _checks

#: How a FreeSurfer file begins: triangles, or one of two kinds of quadrangles.
_FREESURFER = (b"\xff\xff\xfe", b"\xff\xff\xff", b"\xff\xff\xfd")
_STRUCTURES = {"CortexLeft": "left", "CortexRight": "right"}
_BEGINS = {"lh.": "left", "rh.": "right"}


def read_surface(left: str | Path, right: str | Path | None) -> dict[str, Any]:
    """What makes a `Surface` of one file or two: left first."""
    left = _checks.path("left", left)
    if right is None:
        vertices, faces, side, notes = _read(left)
        sides = None if side is None else np.full(len(vertices), side)
        return _named(vertices, faces, sides, left.name, str(left), notes)
    right = _checks.path("right", right)
    if left.resolve() == right.resolve():
        _checks.fail("right", "be another file than `left`", f"it is {str(right)!r}, too")
    parts = []
    for name, path in (("left", left), ("right", right)):
        vertices, faces, side, notes = _read(path)
        if side not in (None, name):
            must = f"be the file of a {name} hemisphere"
            _checks.fail(name, must, f"{str(path)!r} is of the {side} one ({notes[-1]})")
        parts.append((vertices, faces, np.full(len(vertices), name), notes))
    shift = len(parts[0][0])
    return _named(
        np.concatenate([parts[0][0], parts[1][0]]),
        np.concatenate([parts[0][1], parts[1][1] + shift]),
        np.concatenate([parts[0][2], parts[1][2]]),
        left.name,
        f"{left}, {right}",
        parts[0][3] + parts[1][3],
    )


def _named(
    vertices: Any, faces: Any, sides: Any, name: str, source: str, notes: list[str]
) -> dict[str, Any]:
    values = (vertices, faces, sides, name, source, notes)
    keys = ("vertices", "faces", "hemispheres", "name", "source", "notes")
    return dict(zip(keys, values, strict=True))


def read_mesh(path: str | Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices (vertex, 3) and faces (face, 3) as they stand in a file, unchecked: to mend them.

    Of GIFTI (`.gii`, `.gii.gz`) or FreeSurfer (`lh.pial` …). Raises `FileNotFoundError`, and
    `ValueError` for what is no such file.
    """
    vertices, faces, _, _ = _read(Path(path))
    return vertices, faces


def _read(path: Path) -> tuple[NDArray[np.float64], NDArray[np.int64], str | None, list[str]]:
    """Vertices, faces, the side where the file tells it, and notes."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no surface file {str(path)!r}.")
    if is_gifti(path):
        with reasons(path, "surface"):
            vertices, faces, side, notes = _read_gifti(path)
    elif path.read_bytes()[:3] in _FREESURFER:
        with reasons(path, "surface"):
            io = _checks.require_module("nibabel.freesurfer.io", "surface")
            vertices, faces = io.read_geometry(path)
            side, notes = None, []
    else:
        must = "be a surface of GIFTI (`.gii`, `.gii.gz`) or FreeSurfer (`lh.pial`, `lh.white` …)"
        but = (
            f"{str(path)!r} is neither. Of another format read vertices and faces by its own "
            "library (`meshio.read`, `pyvista.read`), and give them to `Surface(vertices, faces)`"
        )
        _checks.fail("path", must, but)
    if side is None and path.name[:3].lower() in _BEGINS:
        side = _BEGINS[path.name[:3].lower()]
        notes = [*notes, f"{path.name}: {side} hemisphere, by the file's name"]
    return np.asarray(vertices, float), np.asarray(faces, np.int64), side, notes


def is_gifti(path: Path) -> bool:
    """Whether a file's ending is GIFTI's."""
    return path.name.lower().endswith((".gii", ".gii.gz"))


def _read_gifti(path: Path) -> tuple[Any, Any, str | None, list[str]]:
    image = _checks.require_module("nibabel", "surface").load(path)
    points = image.get_arrays_from_intent("NIFTI_INTENT_POINTSET")
    triangles = image.get_arrays_from_intent("NIFTI_INTENT_TRIANGLE")
    if len(points) != 1 or len(triangles) != 1:
        raise ValueError(
            f"it has {len(points)} arrays of points and {len(triangles)} of triangles, one of each "
            "is meant (files of labels or measures have none: give the `.surf.gii`)"
        )
    said = {**dict(image.meta), **dict(points[0].meta)}.get("AnatomicalStructurePrimary")
    side = _STRUCTURES.get(str(said))
    notes = []
    system = points[0].coordsys
    if system is not None and not np.array_equal(system.xform, np.eye(4)):
        notes.append(f"{path.name}: positions as they stand, not moved by the file's own matrix")
    if side is not None:
        notes.append(f"{path.name}: {side} hemisphere, as the file says ({said})")
    return points[0].data, triangles[0].data, side, notes


@contextlib.contextmanager
def reasons(path: Path, kind: str) -> Iterator[None]:
    """What goes wrong inside is said of the file, in one line."""
    try:
        yield
    except ImportError:
        raise
    except Exception as error:  # whatever nibabel raises for damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"The {kind} file {str(path)!r} could not be read: {reason}") from error
