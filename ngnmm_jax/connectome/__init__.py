"""Connectomes: load, fetch, transform, decompose, make up."""

from ngnmm_jax.connectome.core import Connectome
from ngnmm_jax.connectome.eigenmodes import Eigenmodes

__all__ = ["Connectome", "Eigenmodes"]
