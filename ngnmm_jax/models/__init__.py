"""Neural masses: each model is one file of equations; everything else is derived from it."""

from ngnmm_jax.models.base import AbstractNeuralMass
from ngnmm_jax.models.hooks import EquilibriumReduction
from ngnmm_jax.models.jansen_rit import JansenRit
from ngnmm_jax.models.nextgen_ei import NextGenEI
from ngnmm_jax.models.parameters import parameter
from ngnmm_jax.models.registry import MODELS

__all__ = [
    "MODELS",
    "AbstractNeuralMass",
    "EquilibriumReduction",
    "JansenRit",
    "NextGenEI",
    "parameter",
]
