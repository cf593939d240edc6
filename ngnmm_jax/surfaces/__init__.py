"""Surfaces of triangles: a cortex or a sphere, its geometry, and the graphs that live on it."""

from typing import TYPE_CHECKING

from ngnmm_jax._core.lazily import from_homes

if TYPE_CHECKING:
    from ngnmm_jax.surfaces.files import read_mesh
    from ngnmm_jax.surfaces.fs_lr import conte69, conte69_parcels
    from ngnmm_jax.surfaces.mesh import pieces
    from ngnmm_jax.surfaces.parcellation import Parcellation
    from ngnmm_jax.surfaces.surface import Surface

__all__ = ["Parcellation", "Surface", "conte69", "conte69_parcels", "pieces", "read_mesh"]

_HOMES = {
    "files": ("read_mesh",),
    "fs_lr": ("conte69", "conte69_parcels"),
    "mesh": ("pieces",),
    "parcellation": ("Parcellation",),
    "surface": ("Surface",),
}
__getattr__ = from_homes(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
