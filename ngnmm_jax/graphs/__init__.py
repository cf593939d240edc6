"""Who is connected to whom: graphs, by what they do to values of regions."""

from ngnmm_jax.graphs.base import AbstractGraph
from ngnmm_jax.graphs.dense import DenseGraph

__all__ = ["AbstractGraph", "DenseGraph"]
