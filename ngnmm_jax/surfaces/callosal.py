"""Homotopic links: each vertex with its counterpart in the other hemisphere. NumPy and SciPy."""

import abc
import dataclasses
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.cards import Shown
from ngnmm_jax.surfaces.parcellation import Parcellation
from ngnmm_jax.surfaces.surface import Surface

#: Counterparts that are farther than this (mm) from the mirror image are warned of.
_FAR = 20.0


class AbstractCounterparts(Shown, abc.ABC):
    """Which vertex of the other hemisphere is a vertex' counterpart."""

    @abc.abstractmethod
    def of(self, surface: Surface) -> NDArray[np.int64]:
        """The counterpart of each vertex (vertex,), of a surface of two hemispheres."""


@dataclasses.dataclass(frozen=True, repr=False)
class MirrorImage(AbstractCounterparts):
    """The vertex next to the mirror image, in the plane half way between the hemispheres.

    Several vertices may have the same counterpart, and some be nobody's: links are not the same
    both ways. Warns where counterparts are over 20 mm from the mirror image.
    """

    def of(self, surface: Surface) -> NDArray[np.int64]:
        """The counterpart of each vertex (vertex,)."""
        from scipy.spatial import cKDTree

        left, right = _two(surface)
        places = surface.vertices
        plane = (places[left, 0].mean() + places[right, 0].mean()) / 2
        mirrored = places * [-1, 1, 1] + [2 * plane, 0, 0]
        found = np.empty(surface.n_vertices, np.int64)
        farthest = 0.0
        for here, there in ((left, right), (right, left)):
            far, nearest = cKDTree(places[there]).query(mirrored[here])
            found[here] = there[nearest]
            farthest = max(farthest, float(far.max()))
        if farthest > _FAR:
            warnings.warn(
                f"Some vertices are {farthest:.3g} mm from the mirror image of their counterpart: "
                "are both hemispheres in one space, and of the same parts?",
                UserWarning,
                stacklevel=3,
            )
        return found


@dataclasses.dataclass(frozen=True, repr=False)
class SameIndex(AbstractCounterparts):
    """The vertex of the same number in the other hemisphere.

    For meshes that are made so, as fs_LR's (conte69) are; FreeSurfer's `fsaverage` is not.
    `ValueError` where the hemispheres have different numbers of vertices.
    """

    def of(self, surface: Surface) -> NDArray[np.int64]:
        """The counterpart of each vertex (vertex,)."""
        left, right = _two(surface)
        if left.size != right.size:
            must = "have as many vertices on the left as on the right, for `SameIndex`"
            but = f"it has {left.size} and {right.size}: use `MirrorImage()`"
            _checks.fail("surface", must, but)
        found = np.empty(surface.n_vertices, np.int64)
        found[left], found[right] = right, left
        return found


def _two(surface: Surface) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if not surface.is_two_sided:
        but = f"{surface!r} has not: leave callosal links out"
        _checks.fail("surface", "have a left and a right hemisphere", but)
    return surface.of("left"), surface.of("right")


def callosal_weights(
    surface: Surface,
    counterparts: AbstractCounterparts | None = None,
    parcels: Parcellation | None = None,
) -> Any:
    """Homotopic links: a SciPy sparse array (vertex, vertex), a one in each row.

    **Arguments:**

    - `surface`: of two hemispheres.
    - `counterparts`: `MirrorImage()` (by default) or `SameIndex()`.
    - `parcels`: vertices outside of them, or whose counterpart is, have no link: a row of zeros.
    """
    from scipy.sparse import csr_array

    chosen = MirrorImage() if counterparts is None else counterparts
    _checks.an_object("counterparts", chosen)
    other = chosen.of(surface)
    linked = np.ones(surface.n_vertices, bool)
    if parcels is not None:
        parcels.check(surface)
        linked = ~parcels.outside & ~parcels.outside[other]
    here = np.flatnonzero(linked)
    shape = (surface.n_vertices, surface.n_vertices)
    return csr_array((np.ones(here.size), (here, other[here])), shape=shape)
