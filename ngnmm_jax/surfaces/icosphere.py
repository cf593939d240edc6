"""The sphere, from an icosahedron whose triangles are divided in four. NumPy."""

import numpy as np
from numpy.typing import NDArray

from ngnmm_jax._core import checks as _checks

#: More than 2.6 million vertices are taken for a mistake.
_MOST = 9


def icosphere(subdivisions: int, radius: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices (10 · 4^subdivisions + 2, 3) on the sphere, and its faces, turned outward.

    The first vertices are those of fewer subdivisions.
    """
    whole = isinstance(subdivisions, int | np.integer) and not isinstance(subdivisions, bool)
    if not whole or not 0 <= subdivisions <= _MOST:
        _checks.fail("subdivisions", f"be an integer from 0 to {_MOST}", f"it is {subdivisions!r}")
    _checks.positive("radius", radius)
    vertices, faces = _icosahedron()
    for _ in range(subdivisions):
        vertices, faces = _divided(vertices, faces)
    return radius * vertices, faces


def _icosahedron() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Poles on the z axis, and two rings of five between them."""
    ring = np.arctan(0.5)  # their latitude
    east = 2 * np.pi * np.arange(5) / 5
    vertices = np.zeros((12, 3))
    vertices[0, 2], vertices[11, 2] = 1.0, -1.0
    for start, latitude, turn in ((1, ring, 0.0), (6, -ring, np.pi / 5)):
        vertices[start : start + 5, 0] = np.cos(latitude) * np.cos(east + turn)
        vertices[start : start + 5, 1] = np.cos(latitude) * np.sin(east + turn)
        vertices[start : start + 5, 2] = np.sin(latitude)
    faces = []
    for k in range(5):
        a, b, c, d = 1 + k, 1 + (k + 1) % 5, 6 + k, 6 + (k + 1) % 5
        faces += [(0, a, b), (a, c, b), (b, c, d), (c, 11, d)]
    return vertices, np.array(faces, dtype=np.int64)


def _divided(
    vertices: NDArray[np.float64], faces: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Each face in four, at the middles of its sides, which move onto the sphere."""
    n = len(vertices)
    sides = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]], axis=2).reshape(-1, 2)
    edges, which = np.unique(sides, axis=0, return_inverse=True)
    middles = vertices[edges].sum(axis=1)
    middles /= np.linalg.norm(middles, axis=1, keepdims=True)
    ab, bc, ca = (n + which.reshape(-1, 3)).T
    a, b, c = faces.T
    parts = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    new = np.stack([np.stack(part, axis=1) for part in parts], axis=1).reshape(-1, 3)
    return np.concatenate([vertices, middles]), new
