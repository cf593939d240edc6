"""Connectomes: load, fetch, transform, decompose, make up."""

from ngnmm_jax.connectome.core import Connectome, Eigenmodes

__all__ = ["Connectome", "Eigenmodes"]
