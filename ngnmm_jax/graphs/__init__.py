"""Who is connected to whom, and how far apart: graphs, by what they do to values of regions."""

from ngnmm_jax.graphs.base import AbstractGraph, SumGraph, TransposedGraph
from ngnmm_jax.graphs.convolution import AbstractConvolution, CirculantGraph, LatticeGraph
from ngnmm_jax.graphs.delayed import DelayedGraph
from ngnmm_jax.graphs.delays import AbstractDelays, CommonDelay, GivenDelays, TractDelays
from ngnmm_jax.graphs.dense import DenseGraph, MatrixGraph
from ngnmm_jax.graphs.density import SpectralDensity
from ngnmm_jax.graphs.sparse import SparseGraph
from ngnmm_jax.graphs.spectra import SpectralBounds
from ngnmm_jax.graphs.sphere import SphereGraph
from ngnmm_jax.graphs.structured import (
    Alike,
    IdentityGraph,
    LaplacianGraph,
)
from ngnmm_jax.graphs.tracts import TractGraph

__all__ = [
    "AbstractConvolution",
    "AbstractDelays",
    "AbstractGraph",
    "Alike",
    "CirculantGraph",
    "CommonDelay",
    "DelayedGraph",
    "DenseGraph",
    "GivenDelays",
    "IdentityGraph",
    "LaplacianGraph",
    "LatticeGraph",
    "MatrixGraph",
    "SparseGraph",
    "SpectralBounds",
    "SpectralDensity",
    "SphereGraph",
    "SumGraph",
    "TractDelays",
    "TractGraph",
    "TransposedGraph",
]
