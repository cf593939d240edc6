"""Whether triangles make a surface: each check says what is wrong, where, and what to do. NumPy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ngnmm_jax._core import checks as _checks

#: How many of the places where something is wrong are named.
_NAMED = 5
#: Faces whose area is below this fraction of their longest side squared count as of no area.
_FLAT = 1e-10
#: A left hemisphere may lie this fraction of the width to the right of a right one.
_OVERLAP = 0.01

#: How to keep one piece.
_KEEP = (
    "`part = surfaces.pieces(faces, len(vertices))`, `faces = faces[part[faces[:, 0]] == part[k]]` "
    "of its vertex k; then, as for vertices without a face, `used, faces = np.unique(faces, "
    "return_inverse=True)`, `vertices = vertices[used]`"
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def checked_vertices(vertices: Any) -> Floats:
    """Positions (vertex, 3), all of them numbers."""
    array = _checks.numbers("vertices", vertices, "be positions (vertex, 3) in mm").astype(float)
    if array.ndim != 2 or array.shape[1] != 3 or not len(array):
        turned = " (transpose it)" if array.ndim == 2 and array.shape[0] == 3 else ""
        must = "have shape (vertex, 3): x, y and z of each"
        _checks.fail("vertices", must, f"its shape is {array.shape}{turned}")
    lost = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if lost.size:
        _checks.fail("vertices", "be finite", f"{_these('vertex', 'vertices', lost)} NaN or inf")
    return array


def checked_faces(faces: Any, n_vertices: int) -> Ints:
    """Triangles (face, 3) of indices of vertices that there are, three different ones each."""
    array = _checks.numbers("faces", faces, "be indices (face, 3) of vertices, from zero")
    if array.ndim != 2 or array.shape[1] != 3 or not len(array):
        hint = ""
        if array.ndim == 2 and array.shape[0] == 3:
            hint = " (transpose it)"
        elif array.ndim == 2 and array.shape[1] == 4:
            hint = " (split quadrangles: `np.vstack([faces[:, [0, 1, 2]], faces[:, [0, 2, 3]]])`)"
        must = "have shape (face, 3): the three vertices of each"
        _checks.fail("faces", must, f"its shape is {array.shape}{hint}")
    if array.dtype.kind == "f":
        broken = np.flatnonzero(~(array == np.floor(array)).all(axis=1))  # NaN as well
        if broken.size:
            but = f"{_these('face', 'faces', broken)} other numbers"
            _checks.fail("faces", "be whole numbers, indices of vertices", but)
    array = array.astype(np.int64)
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= n_vertices:
        must = f"lie between 0 and {n_vertices - 1}, for {n_vertices} vertices"
        if low == 1 and high == n_vertices:
            _checks.fail("faces", must, f"they are numbered from one to {high}: subtract one")
        bad = np.flatnonzero(((array < 0) | (array >= n_vertices)).any(axis=1))
        _checks.fail("faces", must, f"{_these('face', 'faces', bad)} others (up to {high})")
    _distinct(array)
    return array


def _distinct(faces: Ints) -> None:
    """Three vertices a face, and no face twice."""
    ordered = np.sort(faces, axis=1)
    twice = np.flatnonzero((ordered[:, :-1] == ordered[:, 1:]).any(axis=1))
    if twice.size:
        but = f"{_these('face', 'faces', twice)} the same vertex twice: leave them out"
        _checks.fail("faces", "have three different vertices each", but)
    _, first, count = np.unique(ordered, axis=0, return_index=True, return_counts=True)
    again = np.setdiff1d(np.arange(len(faces)), first)
    if again.size:
        but = (
            f"{_these('face', 'faces', again)} the vertices of an earlier one: leave them out "
            f"({int((count > 1).sum())} faces stand more than once)"
        )
        _checks.fail("faces", "stand once each", but)


def check_used(faces: Ints, n_vertices: int) -> None:
    """Every vertex belongs to a face."""
    alone = np.flatnonzero(np.bincount(faces.ravel(), minlength=n_vertices) == 0)
    if alone.size:
        must = "belong to a face each"
        but = (
            f"{_these('vertex', 'vertices', alone)} none. Leave them out: `used, faces = "
            "np.unique(faces, return_inverse=True)`, `vertices = vertices[used]` (labels too)"
        )
        _checks.fail("vertices", must, but)


def check_areas(vertices: Floats, faces: Ints) -> None:
    """No face is a line or a point."""
    corners = vertices[faces]
    sides = np.stack([corners[:, b] - corners[:, a] for a, b in ((0, 1), (1, 2), (2, 0))])
    longest = (sides**2).sum(axis=2).max(axis=0)
    area = np.linalg.norm(np.cross(sides[0], sides[1]), axis=1) / 2
    flat = np.flatnonzero(area <= _FLAT * longest)
    if flat.size:
        first = faces[flat[0]].tolist()
        but = (
            f"{_these('face', 'faces', flat)} none (face {flat[0]} has vertices {first}, on one "
            "line or in one place): merge such vertices, or leave the faces out"
        )
        _checks.fail("faces", "have an area", but)


def half_edges(faces: Ints) -> Ints:
    """Directed edges (3 face, 2): first side of all faces, then second, then third."""
    return np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


def check_edges(vertices: Floats, faces: Ints, open: bool) -> None:
    """At an edge two faces, turned the same way; where the surface is open, or one."""
    n = len(vertices)
    directed = half_edges(faces)
    key = np.sort(directed, axis=1) @ np.array([n, 1])
    _, which, count = np.unique(key, return_inverse=True, return_counts=True)
    if count.max() > 2:
        many = np.unique(np.sort(directed, axis=1)[count[which] > 2], axis=0)
        _, face = np.nonzero((which == which[count[which] > 2][0]).reshape(3, -1))
        but = (
            f"{_edges(many)} with more (the first with faces {np.sort(face).tolist()}): leave out "
            "the faces that do not belong to the surface"
        )
        _checks.fail("faces", "be two at most at an edge", but)
    _check_turned(directed, n, len(faces))
    if not open and count.min() < 2:
        rim = directed[count[which] < 2]
        _holes(vertices, rim)


def _check_turned(directed: Ints, n: int, n_faces: int) -> None:
    """Neighbouring faces go round the same way: along their edge in opposite directions."""
    _, which, count = np.unique(
        directed @ np.array([n, 1]), return_inverse=True, return_counts=True
    )
    twice = np.flatnonzero(count[which] > 1)
    if twice.size:
        wrong = np.bincount(twice % n_faces, minlength=n_faces)
        order = np.argsort(-wrong, kind="stable")[: np.count_nonzero(wrong)]
        worst = order[wrong[order] == wrong[order[0]]]
        but = (
            f"neighbours of face {worst[0]} do not ({twice.size // 2} such edges in all, most of "
            f"them of {_list('face', 'faces', worst)}): turn faces round by `faces[k, ::-1]`"
        )
        _checks.fail("faces", "go round in the same direction", but)


def _holes(vertices: Floats, rim: Ints) -> None:
    """Refuse edges of one face, telling how many holes they run around, and where."""
    n = len(vertices)
    on = np.unique(rim)
    links = coo_array((np.ones(len(rim)), (rim[:, 0], rim[:, 1])), shape=(n, n))
    _, part = connected_components(links, directed=False)
    names, first = np.unique(part[on], return_index=True)
    places = ", ".join(f"vertex {on[k]}" for k in np.sort(first)[:_NAMED])
    hint = "give `open=True` if that is meant, as where the medial wall is cut out"
    same = len(vertices) - len(np.unique(vertices, axis=0))
    if same:
        hint += f"; {same} vertices lie where others do: merge them if each face has its own"
    but = (
        f"{_edges(rim)} with one face alone, around {len(names)} hole(s) (at {places}"
        f"{' …' if len(names) > _NAMED else ''}): {hint}"
    )
    _checks.fail("faces", "close the surface, two at each edge", but)


def fans(faces: Ints, n_vertices: int) -> Ints:
    """How many sheets meet at each vertex (vertex,): sets of its faces that share edges there."""
    n_faces = len(faces)
    directed = half_edges(faces)
    order = np.lexsort(np.sort(directed, axis=1).T[::-1])
    ends = np.sort(directed, axis=1)[order]
    pairs = np.flatnonzero((ends[:-1] == ends[1:]).all(axis=1))
    one, two = order[pairs] % n_faces, order[pairs + 1] % n_faces
    links = []
    for end in ends[pairs].T:  # the corners of both faces at this end of their edge
        corner = [
            face + n_faces * (faces[face] == end[:, None]).argmax(axis=1) for face in (one, two)
        ]
        links.append(np.stack(corner))
    rows, columns = np.concatenate(links, axis=1)
    size = 3 * n_faces
    joined = coo_array((np.ones(rows.size), (rows, columns)), shape=(size, size))
    _, fan = connected_components(joined, directed=False)
    at = faces.T.ravel()  # the vertex of each corner
    _, first = np.unique(fan, return_index=True)
    return np.bincount(at[first], minlength=n_vertices).astype(np.int64)


def check_fans(faces: Ints, n_vertices: int) -> None:
    """The faces around a vertex hang together: no two sheets meet in one point alone."""
    pinched = np.flatnonzero(fans(faces, n_vertices) > 1)
    if pinched.size:
        but = (
            f"{_these('vertex', 'vertices', pinched)} two sheets or more that meet there alone: "
            "leave out such vertices with their faces, or give each sheet a vertex of its own"
        )
        _checks.fail("faces", "be one sheet around each vertex", but)


def pieces(faces: Ints, n_vertices: int) -> NDArray[Any]:
    """Of each vertex (vertex,), the number of the connected piece that it belongs to."""
    edges = half_edges(faces)
    links = coo_array((np.ones(len(edges)), edges.T), shape=(n_vertices, n_vertices))
    return connected_components(links, directed=False)[1]


def check_pieces(faces: Ints, n_vertices: int, hemispheres: NDArray[np.str_] | None) -> None:
    """One piece a hemisphere; one in all, where there are none."""
    part = pieces(faces, n_vertices)
    if hemispheres is None:
        sizes = np.bincount(part)
        if sizes.size > 1:
            but = (
                f'{_sizes(part)}. Give `hemispheres`, "left" or "right" of each vertex, if '
                f"these are two; else keep one of them: {_KEEP}"
            )
            _checks.fail("faces", "be one connected piece", but)
        return
    across = np.flatnonzero((hemispheres[faces] != hemispheres[faces[:, :1]]).any(axis=1))
    if across.size:
        but = f"{_these('face', 'faces', across)} vertices of both"
        _checks.fail("hemispheres", "be apart: no face joins them", but)
    for side in np.unique(hemispheres):
        of = np.flatnonzero(hemispheres == side)
        if np.unique(part[of]).size > 1:
            but = (
                f"the {side} one is not: {_sizes(part, of)}. Leave the smaller ones out: {_KEEP} "
                "(hemispheres too)"
            )
            _checks.fail("faces", "be one connected piece a hemisphere", but)


def _sizes(part: NDArray[Any], of: NDArray[Any] | None = None) -> str:
    """How large the pieces are, and where each begins."""
    of = np.arange(len(part)) if of is None else of
    _, first, sizes = np.unique(part[of], return_index=True, return_counts=True)
    order = np.argsort(-sizes, kind="stable")
    said = [f"one of {sizes[k]} vertices (with vertex {of[first[k]]})" for k in order[:_NAMED]]
    return f"there are {sizes.size} pieces: {', '.join(said)}{' …' if sizes.size > _NAMED else ''}"


def check_sides(vertices: Floats, hemispheres: NDArray[np.str_] | None) -> None:
    """The left hemisphere lies to the left (smaller x) of the right one."""
    if hemispheres is None or len(np.unique(hemispheres)) < 2:
        return
    left, right = (vertices[hemispheres == side, 0].mean() for side in ("left", "right"))
    if left - right > _OVERLAP * np.ptp(vertices[:, 0]):
        but = (
            f"the mean x of the left one's vertices is {left:.3g} mm, of the right one's "
            f"{right:.3g} mm: exchange them, or turn the x axis (and `faces[:, ::-1]` with it)"
        )
        _checks.fail("hemispheres", "have the left one at smaller x than the right one", but)


def volume_of(vertices: Floats, faces: Ints) -> float:
    """What the faces enclose, mm³; negative where they are turned inward."""
    a, b, c = (vertices[faces[:, k]] - vertices.mean(axis=0) for k in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


def check_outward(
    vertices: Floats, faces: Ints, hemispheres: NDArray[np.str_] | None, open: bool
) -> None:
    """Seen from outside, faces go round counter-clockwise; of an open surface that is not asked."""
    if open:
        return
    for side in [None] if hemispheres is None else np.unique(hemispheres):
        of = faces if side is None else faces[hemispheres[faces[:, 0]] == side]  # type: ignore[index]
        if volume_of(vertices, of) < 0:
            name = "they" if side is None else f"those of the {side} hemisphere"
            rows = "faces" if side is None else f'faces[hemispheres[faces[:, 0]] == "{side}"]'
            but = (
                f"{name} are turned inward (as after a reflection): turn each round, `{rows}` to "
                f"`{rows}[:, ::-1]`"
            )
            _checks.fail("faces", "be turned outward", but)


def _list(one: str, many: str, indices: Any) -> str:
    """Say "face 3", "faces 3, 5, 8 … (12 in all)"."""
    listed = ", ".join(str(int(k)) for k in indices[:_NAMED])
    more = f" … ({len(indices)} in all)" if len(indices) > _NAMED else ""
    return f"{one if len(indices) == 1 else many} {listed}{more}"


def _these(one: str, many: str, indices: Any) -> str:
    """The same, with "has" or "have"."""
    return f"{_list(one, many, indices)} {'has' if len(indices) == 1 else 'have'}"


def _edges(edges: Ints) -> str:
    """Say "there are 2 edges (3-5, 4-8)"."""
    listed = ", ".join(f"{a}-{b}" for a, b in edges[:_NAMED].tolist())
    more = " …" if len(edges) > _NAMED else ""
    verb, noun = ("is", "edge") if len(edges) == 1 else ("are", "edges")
    return f"there {verb} {len(edges)} {noun} ({listed}{more})"
