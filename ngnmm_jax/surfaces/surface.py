"""A surface of triangles, and what follows from their places. Plain NumPy: no JAX."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.cards import Shown
from ngnmm_jax.surfaces import files, mesh
from ngnmm_jax.surfaces.icosphere import icosphere

#: A sphere's vertices are at the same distance from its centre to this fraction.
_ROUND = 1e-6


@dataclasses.dataclass(frozen=True, eq=False, init=False, repr=False)
class Surface(Shown):
    """Triangles that make a surface: a cortex of two hemispheres, one of them, a sphere.

    **Arguments:**

    - `vertices` (vertex, 3): x, y and z in mm; finite. In a brain x grows to the right.
    - `faces` (face, 3): the vertices of each triangle, numbered from zero, counter-clockwise seen
      from outside.
    - `hemispheres` (vertex,): "left" or "right" of each; None where there are no two sides.
    - `open`: the surface may have rims, edges with one face alone, as where the medial wall is
      cut out.
    - `name`, `source`: what it is called and where it comes from.
    - `notes`: what a reader of files inferred, line by line.

    Raises `ValueError`, which names what is wrong, where, and what to do, for: NaN; indices out of
    range or numbered from one; faces that stand twice, have a vertex twice or no area; vertices
    without a face; edges with more than two faces, or, unless `open`, with one (holes); neighbours
    that go round in different directions; sheets that meet in one vertex; more than one piece (a
    hemisphere); faces between hemispheres, a left one to the right of the right one, the same one
    twice; faces that are turned inward.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]
    hemispheres: NDArray[np.str_] | None
    open: bool
    name: str
    source: str
    notes: tuple[str, ...]

    def __init__(
        self,
        vertices: ArrayLike,
        faces: ArrayLike,
        hemispheres: Sequence[str] | NDArray[np.str_] | None = None,
        open: bool = False,
        name: str = "surface",
        source: str = "",
        notes: Sequence[str] = (),
    ) -> None:
        places = mesh.checked_vertices(vertices)
        triangles = mesh.checked_faces(faces, len(places))
        sides = _sides(hemispheres, len(places))
        mesh.check_used(triangles, len(places))
        mesh.check_areas(places, triangles)
        mesh.check_edges(places, triangles, open)
        mesh.check_fans(triangles, len(places))
        mesh.check_pieces(triangles, len(places), sides)
        mesh.check_sides(places, sides)
        mesh.check_outward(places, triangles, sides, open)
        for field, value in (
            ("vertices", places),
            ("faces", triangles),
            ("hemispheres", sides),
            ("open", bool(open)),
            ("name", name),
            ("source", source),
            ("notes", _checks.names("notes", notes)),
        ):
            if isinstance(value, np.ndarray):
                value = value.copy()
                value.setflags(write=False)
            object.__setattr__(self, field, value)
        self._check_two()

    def _check_two(self) -> None:
        """The hemispheres are not one and the same."""
        if self.is_two_sided and not self.is_round:
            left, right = (self.vertices[self.of(side)] for side in ("left", "right"))
            if np.array_equal(left, right):
                but = "the same vertices stand for both"
                _checks.fail("hemispheres", "be two different ones", but)

    def __repr__(self) -> str:
        sides = "" if self.hemispheres is None else f", {' and '.join(self.sides)}"
        return (
            f"Surface({self.name!r}, {self.n_vertices} vertices, {self.n_faces} faces{sides}, "
            f"{self.area:.6g} mm²{', open' if self.open else ''})"
        )

    # ------------------------------------------------------------------ where it comes from

    @classmethod
    def sphere(cls, subdivisions: int = 4, radius: float | int = 1.0) -> "Surface":
        """An icosahedron's triangles, each divided in four `subdivisions` times, on a sphere.

        10 · 4^subdivisions + 2 vertices: 42, 162, 642, 2562, 10242, 40962, 163842. `radius` in mm.
        """
        vertices, faces = icosphere(subdivisions, radius)
        return cls(vertices, faces, name="sphere", source=f"icosahedron, radius {radius:g} mm")

    @classmethod
    def load(
        cls, left: str | Path, right: str | Path | None = None, *, open: bool = False
    ) -> "Surface":
        """A surface in files of GIFTI (`.gii`, `.gii.gz`) or FreeSurfer (`lh.pial`, `lh.white` …).

        **Arguments:**

        - `left`, `right`: the files of both hemispheres, or one file. The left one's vertices
          come first. Of one file the side is the one that it names: in GIFTI's own words, or as
          `lh.` or `rh.` (said in `notes`); where it names none the surface has no sides.
        - `open`: as in `Surface`.

        Positions are taken to be mm, as both formats have them. Needs nibabel: pip install
        'ngnmm-jax[surface]'.

        Raises `FileNotFoundError`, and `ValueError` for damaged files, a file of the other side,
        and all that `Surface` refuses; `files.read_mesh` gives what is in the file, to be mended.
        """
        return cls(**files.read_surface(left, right), open=open)

    # ------------------------------------------------------------------ parts of it

    @property
    def n_vertices(self) -> int:
        """Number of vertices."""
        return len(self.vertices)

    @property
    def n_faces(self) -> int:
        """Number of faces."""
        return len(self.faces)

    @property
    def sides(self) -> tuple[str, ...]:
        """The hemispheres that there are, "left" first; empty where there are none."""
        if self.hemispheres is None:
            return ()
        return tuple(side for side in ("left", "right") if (self.hemispheres == side).any())

    @property
    def is_two_sided(self) -> bool:
        """Whether it has a left and a right hemisphere."""
        return len(self.sides) == 2

    def of(self, side: str) -> NDArray[np.int64]:
        """The vertices of a hemisphere, "left" or "right"."""
        _checks.one_of("side", side, self.sides or ("left", "right"))
        if self.hemispheres is None:
            raise ValueError(f"The surface {self.name!r} has no hemispheres.")
        return np.flatnonzero(self.hemispheres == side)

    def without(self, vertices: ArrayLike) -> "Surface":
        """The surface with some vertices cut out: an open one.

        `vertices`: indices, or a mask (vertex,), as `parcels.outside` of a medial wall. Faces that
        have one of them go too, and then vertices without a face, vertices at which sheets meet
        alone, and pieces beside the largest one (of a hemisphere): `kept` says which vertices are
        left, `notes` how many went besides those asked for.
        """
        asked, kept = self._places(vertices), self.kept(vertices)
        more = self.n_vertices - kept.size - np.unique(asked).size
        notes = [f"{more} vertices went with those cut out, to which alone they were joined"]
        return self._part(kept, self.notes + tuple(notes if more else ()))

    def kept(self, vertices: ArrayLike) -> NDArray[np.int64]:
        """The vertices that `without` leaves: what to index labels and activity with."""
        left = np.ones(self.n_vertices, bool)
        left[self._places(vertices)] = False
        while True:
            faces = self.faces[left[self.faces].all(axis=1)]
            if not len(faces):
                _checks.fail("vertices", "leave some faces", "no face has all its vertices left")
            sound = mesh.fans(faces, self.n_vertices) == 1
            part = mesh.pieces(faces, self.n_vertices)
            for side in self.sides or (None,):
                of = np.flatnonzero(sound if side is None else sound & (self.hemispheres == side))
                if of.size:
                    sound[of[part[of] != np.bincount(part[of]).argmax()]] = False
            if np.array_equal(sound, left):
                return np.flatnonzero(left)
            left = left & sound

    def take(self, vertices: ArrayLike) -> "Surface":
        """The part of it that has these vertices (indices, or a mask), as those of a hemisphere.

        `ValueError` names vertices that hang together with nothing else, or with few.
        """
        places = np.unique(self._places(vertices))
        kept = self.kept(np.setdiff1d(np.arange(self.n_vertices), places))
        loose = np.setdiff1d(places, kept)
        if loose.size:
            but = (
                f"{loose.size} do not: {loose[:5].tolist()}{' …' if loose.size > 5 else ''}. Leave "
                "them out too, as `surface.without` of all others does"
            )
            _checks.fail("vertices", "hang together as one sheet (a hemisphere)", but)
        return self._part(places, self.notes)

    def _part(self, places: NDArray[np.int64], notes: tuple[str, ...]) -> "Surface":
        """Of vertices that hang together."""
        new = np.full(self.n_vertices, -1)
        new[places] = np.arange(places.size)
        faces = new[self.faces]
        faces = faces[(faces >= 0).all(axis=1)]
        sides = None if self.hemispheres is None else self.hemispheres[places]
        rims = self.open or not self._closed(faces)
        return dataclasses.replace(
            self,
            vertices=self.vertices[places],
            faces=faces,
            hemispheres=sides,
            open=rims,
            notes=notes,
        )

    @staticmethod
    def _closed(faces: NDArray[np.int64]) -> bool:
        """Whether all edges have two faces."""
        _, count = np.unique(np.sort(mesh.half_edges(faces), axis=1), axis=0, return_counts=True)
        return bool((count == 2).all())

    def _places(self, vertices: ArrayLike) -> NDArray[np.int64]:
        """Indices of vertices, from a mask as well."""
        array = np.asarray(vertices)
        if array.dtype == bool:
            _checks.shape("vertices", array, (self.n_vertices,), "for a mask (vertex,)")
            return np.flatnonzero(array)
        array = np.ravel(array)
        if array.size and (array.dtype.kind not in "iu" or array.min() < 0):
            _checks.fail("vertices", "be indices or a mask (vertex,)", f"it has {array.min()!r}")
        if array.size and array.max() >= self.n_vertices:
            must = f"lie between 0 and {self.n_vertices - 1}"
            _checks.fail("vertices", must, f"it has {array.max()}")
        return array.astype(np.int64)

    # ------------------------------------------------------------------ what follows

    @functools.cached_property
    def edges(self) -> NDArray[np.int64]:
        """Pairs of neighbours (edge, 2), each once, the smaller index first."""
        return np.unique(np.sort(mesh.half_edges(self.faces), axis=1), axis=0)

    @functools.cached_property
    def edge_lengths(self) -> NDArray[np.float64]:
        """Of the edges (edge,), mm."""
        a, b = self.vertices[self.edges].swapaxes(0, 1)
        return np.linalg.norm(b - a, axis=1)

    @functools.cached_property
    def _crosses(self) -> NDArray[np.float64]:
        a, b, c = (self.vertices[self.faces[:, k]] for k in range(3))
        crosses: NDArray[np.float64] = np.cross(b - a, c - a)
        return crosses

    @functools.cached_property
    def face_areas(self) -> NDArray[np.float64]:
        """Of the faces (face,), mm²."""
        return np.linalg.norm(self._crosses, axis=1) / 2

    @functools.cached_property
    def vertex_areas(self) -> NDArray[np.float64]:
        """What belongs to each vertex (vertex,), mm²: a third of each of its faces."""
        third = np.repeat(self.face_areas / 3, 3)
        return np.bincount(self.faces.ravel(), third, self.n_vertices).astype(float)

    @functools.cached_property
    def normals(self) -> NDArray[np.float64]:
        """Unit vectors outward at the vertices (vertex, 3): their faces' mean, by area."""
        total = np.zeros_like(self.vertices)
        for k in range(3):
            np.add.at(total, self.faces[:, k], self._crosses)
        return total / np.linalg.norm(total, axis=1, keepdims=True)

    @property
    def area(self) -> float:
        """Of all faces, mm²."""
        return float(self.face_areas.sum())

    @functools.cached_property
    def radius(self) -> float | None:
        """Where the surface is a sphere around the origin (vertices to 1e-6), its radius in mm."""
        lengths = np.linalg.norm(self.vertices, axis=1)
        mean = float(lengths.mean())
        return mean if np.ptp(lengths) <= _ROUND * mean else None

    @property
    def is_round(self) -> bool:
        """Whether all vertices lie on a sphere around the origin."""
        return self.radius is not None


def _sides(hemispheres: Any, n: int) -> NDArray[np.str_] | None:
    """Of each vertex, "left" or "right"."""
    if hemispheres is None:
        return None
    sides = np.asarray(hemispheres).astype(str)
    _checks.shape("hemispheres", sides, (n,), "for as many vertices")
    bad = np.flatnonzero((sides != "left") & (sides != "right"))
    if bad.size:
        must = 'be "left" or "right" of each vertex'
        _checks.fail("hemispheres", must, f"that of vertex {bad[0]} is {str(sides[bad[0]])!r}")
    return sides.astype("<U5")
