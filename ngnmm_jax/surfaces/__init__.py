"""Surfaces of triangles: a cortex or a sphere, its geometry, and the graphs that live on it."""

from typing import TYPE_CHECKING

from ngnmm_jax._core.lazily import from_homes

if TYPE_CHECKING:
    from ngnmm_jax.surfaces.callosal import (
        AbstractCounterparts,
        MirrorImage,
        SameIndex,
        callosal_weights,
    )
    from ngnmm_jax.surfaces.cortex import (
        AbstractNormalisation,
        ByRows,
        CorticalParts,
        Undirected,
        cortical_graph,
    )
    from ngnmm_jax.surfaces.files import read_mesh
    from ngnmm_jax.surfaces.fs_lr import conte69, conte69_parcels
    from ngnmm_jax.surfaces.geodesic import AbstractDistance, GeodesicPaths, GreatCircles
    from ngnmm_jax.surfaces.kernels import (
        AbstractKernel,
        AbstractRadialKernel,
        Exponential,
        Gaussian,
    )
    from ngnmm_jax.surfaces.laplace import laplace_beltrami, stiffness
    from ngnmm_jax.surfaces.mesh import pieces
    from ngnmm_jax.surfaces.modes import Harmonics, graph_harmonics, harmonics
    from ngnmm_jax.surfaces.parcellation import Parcellation
    from ngnmm_jax.surfaces.spectral import (
        AbstractSpectralKernel,
        DampedWaveKernel,
        HeatKernel,
        LaplaceBeltramiGraph,
    )
    from ngnmm_jax.surfaces.surface import Surface

__all__ = [
    "AbstractCounterparts",
    "AbstractDistance",
    "AbstractKernel",
    "AbstractNormalisation",
    "AbstractRadialKernel",
    "AbstractSpectralKernel",
    "ByRows",
    "CorticalParts",
    "DampedWaveKernel",
    "Exponential",
    "Gaussian",
    "GeodesicPaths",
    "GreatCircles",
    "Harmonics",
    "HeatKernel",
    "LaplaceBeltramiGraph",
    "MirrorImage",
    "Parcellation",
    "SameIndex",
    "Surface",
    "Undirected",
    "callosal_weights",
    "conte69",
    "conte69_parcels",
    "cortical_graph",
    "graph_harmonics",
    "harmonics",
    "laplace_beltrami",
    "pieces",
    "read_mesh",
    "stiffness",
]

# Each is imported when it is first asked for: what needs no JAX does without.
_HOMES = {
    "callosal": ("AbstractCounterparts", "MirrorImage", "SameIndex", "callosal_weights"),
    "cortex": (
        "AbstractNormalisation",
        "ByRows",
        "CorticalParts",
        "Undirected",
        "cortical_graph",
    ),
    "files": ("read_mesh",),
    "fs_lr": ("conte69", "conte69_parcels"),
    "geodesic": ("AbstractDistance", "GeodesicPaths", "GreatCircles"),
    "modes": ("Harmonics", "graph_harmonics", "harmonics"),
    "kernels": ("AbstractKernel", "AbstractRadialKernel", "Exponential", "Gaussian"),
    "laplace": ("laplace_beltrami", "stiffness"),
    "mesh": ("pieces",),
    "parcellation": ("Parcellation",),
    "spectral": (
        "AbstractSpectralKernel",
        "DampedWaveKernel",
        "HeatKernel",
        "LaplaceBeltramiGraph",
    ),
    "surface": ("Surface",),
}
__getattr__ = from_homes(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
