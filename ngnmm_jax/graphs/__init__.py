"""Who is connected to whom, and how far apart: graphs, by what they do to values of regions."""

from ngnmm_jax.graphs.base import AbstractGraph
from ngnmm_jax.graphs.delayed import DelayedGraph
from ngnmm_jax.graphs.delays import AbstractDelays, CommonDelay, GivenDelays, TractDelays
from ngnmm_jax.graphs.dense import DenseGraph
from ngnmm_jax.graphs.sparse import SparseGraph
from ngnmm_jax.graphs.spectra import SpectralBounds, SpectralDensity
from ngnmm_jax.graphs.structured import (
    Alike,
    IdentityGraph,
    LaplacianGraph,
    MatrixGraph,
    SumGraph,
    TransposedGraph,
)

__all__ = [
    "AbstractDelays",
    "AbstractGraph",
    "Alike",
    "CommonDelay",
    "DelayedGraph",
    "DenseGraph",
    "GivenDelays",
    "IdentityGraph",
    "LaplacianGraph",
    "MatrixGraph",
    "SparseGraph",
    "SpectralBounds",
    "SpectralDensity",
    "SumGraph",
    "TractDelays",
    "TransposedGraph",
]
