"""Distances along a surface, up to a limit: by paths on its triangles, or on great circles."""

import abc
import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.cards import Shown
from ngnmm_jax.surfaces.surface import Surface

#: Distances above the limit by this factor are within it: rounding must not decide on pairs.
_ROOM = 1 + 1e-9
#: Vertices whose distances are found together.
_TOGETHER = 256


class AbstractDistance(Shown, abc.ABC):
    """How far apart vertices are along a surface."""

    @abc.abstractmethod
    def within(self, surface: Surface, limit: float) -> Any:
        """Distances of at most `limit` (mm) between vertices: sparse (vertex, vertex), symmetric.

        In rows; a vertex' own distance, zero, is stored as well. None between hemispheres.
        """


@dataclasses.dataclass(frozen=True, repr=False)
class GeodesicPaths(AbstractDistance):
    """The shortest path along edges and straight across pairs of neighbouring faces.

    Such paths are too long where the straight one runs between their directions: on regular
    triangles by 3.5 % at most, 2.4 % on average over all directions (along edges alone it would be
    15 % and 10 %); of the surface of triangles they are never too short. Measured on spheres, whose
    distances are known: 1.8 % on average and 5.2 % at most, on conte69's (4 to 8 mm) as on
    `Surface.sphere`. A kernel of such distances is so much narrower: its eigenvalues on a sphere
    (σ = R/4, 10,242 vertices, degrees to 4) are off by up to 0.013, with `GreatCircles` by 4e-5.
    Dijkstra's method (SciPy), from each vertex
    up to the limit.
    """

    def within(self, surface: Surface, limit: float) -> Any:
        """Distances of at most `limit`, mm; see `AbstractDistance.within`."""
        from scipy.sparse.csgraph import dijkstra
        from scipy.spatial import cKDTree

        far = limit * _ROOM
        links, tree = _links(surface), cKDTree(surface.vertices)
        order = _nearby_first(surface.vertices)
        blocks, counts = [], np.zeros(surface.n_vertices, np.int64)
        for begin in range(0, surface.n_vertices, _TOGETHER):
            sources = np.sort(order[begin : begin + _TOGETHER])
            middle = surface.vertices[sources].mean(axis=0)
            wide = np.linalg.norm(surface.vertices[sources] - middle, axis=1).max()
            # No path of that length leaves this ball.
            near = np.sort(tree.query_ball_point(middle, (wide + far) * _ROOM))
            part = links[near][:, near]
            found = dijkstra(part, indices=np.searchsorted(near, sources), limit=far)
            row, column = np.nonzero(np.isfinite(found))
            counts[sources] = np.bincount(row, minlength=sources.size)
            blocks.append((sources, near[column].astype(np.int32), found[row, column]))
        return _together(blocks, counts)


def _together(blocks: list[Any], counts: NDArray[np.int64]) -> Any:
    """One sparse array of rows that were found in blocks, which are emptied."""
    from scipy.sparse import csr_array

    begins = np.concatenate([[0], np.cumsum(counts)])
    columns, lengths = np.empty(begins[-1], np.int32), np.empty(begins[-1])
    while blocks:
        sources, column, length = blocks.pop()
        ends = np.cumsum(counts[sources])
        for row, start, end in zip(sources, ends - counts[sources], ends, strict=True):
            columns[begins[row] : begins[row + 1]] = column[start:end]
            lengths[begins[row] : begins[row + 1]] = length[start:end]
    shape = (counts.size, counts.size)
    return csr_array((lengths, columns, begins), shape=shape)


def _nearby_first(vertices: NDArray[np.float64]) -> NDArray[np.int64]:
    """An order of vertices in which those that follow one another are close: halved in turn."""
    parts = [np.arange(len(vertices))]
    while max(map(len, parts)) > _TOGETHER:
        halves = []
        for part in parts:
            axis = np.ptp(vertices[part], axis=0).argmax()
            ranked = part[np.argsort(vertices[part, axis], kind="stable")]
            halves += [ranked[: len(part) // 2], ranked[len(part) // 2 :]]
        parts = halves
    return np.concatenate(parts)


def _links(surface: Surface) -> Any:
    """Straight steps (vertex, vertex): along edges, and across edges to the face's other corner."""
    from scipy.sparse import coo_array

    n = surface.n_vertices
    ends, lengths = _across(surface)
    pairs = np.concatenate([surface.edges, ends])
    values = np.concatenate([surface.edge_lengths, lengths])
    # Where both kinds join the same two vertices the shorter one counts.
    order = np.lexsort((values, pairs.max(axis=1), pairs.min(axis=1)))
    pairs, values = np.sort(pairs[order], axis=1), values[order]
    first = np.r_[True, (pairs[1:] != pairs[:-1]).any(axis=1)]
    a, b = pairs[first].T
    half = coo_array((values[first], (a, b)), shape=(n, n))
    return (half + half.T).tocsr()


def _across(surface: Surface) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pairs of corners (pair, 2) opposite to an inner edge, and their distance across it.

    Of both faces laid flat; those whose straight line leaves the two faces are left out.
    """
    faces, vertices = surface.faces, surface.vertices
    ends = np.concatenate([faces[:, [1, 2]], faces[:, [2, 0]], faces[:, [0, 1]]])
    corner = faces.T.ravel()
    low, high = np.sort(ends, axis=1).T
    order = np.lexsort((high, low))
    low, high, corner = low[order], high[order], corner[order]
    first = np.flatnonzero((low[1:] == low[:-1]) & (high[1:] == high[:-1]))
    a, b, c, d = low[first], high[first], corner[first], corner[first + 1]
    edge = vertices[b] - vertices[a]
    long = np.linalg.norm(edge, axis=1)
    along, off = [], []
    for tip in (c, d):
        step = vertices[tip] - vertices[a]
        x = (step * edge).sum(axis=1) / long
        along.append(x)
        off.append(np.sqrt(np.maximum((step**2).sum(axis=1) - x**2, 0.0)))
    crossing = along[0] + (along[1] - along[0]) * off[0] / (off[0] + off[1])
    inside = (crossing > 0) & (crossing < long)
    far = np.hypot(along[1] - along[0], off[0] + off[1])
    return np.stack([c, d], axis=1)[inside], far[inside]


@dataclasses.dataclass(frozen=True, repr=False)
class GreatCircles(AbstractDistance):
    """Distances on the sphere that a surface's vertices lie on, exactly: R times the angle.

    Needs a sphere around the origin, as `Surface.sphere` and `conte69("sphere")` are.
    """

    def within(self, surface: Surface, limit: float) -> Any:
        """Distances of at most `limit`, mm; see `AbstractDistance.within`."""
        from scipy.sparse import coo_array
        from scipy.spatial import cKDTree

        radius = surface.radius
        if radius is None:
            _checks.fail("surface", "be a sphere around the origin", f"{surface!r} is none")
        chord = 2 * radius * np.sin(min(limit * _ROOM / radius, np.pi) / 2)
        parts = [surface.of(side) for side in surface.sides] or [np.arange(surface.n_vertices)]
        rows, columns, lengths = [], [], []
        for part in parts:
            tree = cKDTree(surface.vertices[part])
            pairs = tree.query_pairs(chord, output_type="ndarray")
            a, b = part[pairs].T
            straight = np.linalg.norm(surface.vertices[a] - surface.vertices[b], axis=1)
            arc = 2 * radius * np.arcsin(np.minimum(straight / (2 * radius), 1.0))
            rows += [a, b, part]
            columns += [b, a, part]
            lengths += [arc, arc, np.zeros(part.size)]
        n = surface.n_vertices
        entries = [np.concatenate(each) for each in (lengths, rows, columns)]
        return coo_array((entries[0], (entries[1], entries[2])), shape=(n, n)).tocsr()
