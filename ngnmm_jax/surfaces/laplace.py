"""The Laplace-Beltrami operator of a surface, by cotangents. NumPy and SciPy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ngnmm_jax.surfaces.surface import Surface


def stiffness(surface: Surface) -> Any:
    """The matrix C (vertex, vertex) of cotangents, sparse, symmetric: uᵀ C u = ∫ |∇u|² dA.

    Of linear elements, exactly: C_jk = -(cot α + cot β)/2 of the angles that the edge j-k is seen
    under from the faces on its two sides, one alone at a rim, where nothing flows out. Rows sum to
    zero. Where both angles are wide (their sum above 180°) an entry beside the diagonal is
    positive. Pinkall and Polthier, Exp. Math. 2, 15 (1993).
    """
    from scipy.sparse import coo_array

    n, faces = surface.n_vertices, surface.faces
    rows, columns, values = [], [], []
    for k in range(3):  # the corner opposite to the side a-b
        corner, a, b = (faces[:, (k + j) % 3] for j in range(3))
        u, v = (surface.vertices[end] - surface.vertices[corner] for end in (a, b))
        cotangent = (u * v).sum(axis=1) / (2 * surface.face_areas)
        rows += [a, b, a, b]
        columns += [b, a, a, b]
        values += [-cotangent / 2, -cotangent / 2, cotangent / 2, cotangent / 2]
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return coo_array(entries, shape=(n, n)).tocsr()


def laplace_beltrami(surface: Surface) -> Any:
    """The operator -∇² (vertex, vertex), sparse, 1/mm²: (L u)_j = Σ_k C_jk u_k / a_j.

    C is `stiffness`, a the vertices' areas (the lumped mass). Not negative: its eigenvalues are
    those of `harmonics`, zero for constants.
    """
    from scipy.sparse import diags_array

    return (diags_array(1 / surface.vertex_areas) @ stiffness(surface)).tocsr()


def symmetric(surface: Surface) -> tuple[Any, NDArray[np.float64]]:
    """M^-½ C M^-½ (vertex, vertex), similar to `laplace_beltrami`, and √areas (vertex,)."""
    from scipy.sparse import diags_array

    root = np.sqrt(surface.vertex_areas)
    scale = diags_array(1 / root)
    return (scale @ stiffness(surface) @ scale).tocsr(), root
