"""Neural masses: each model is one file of equations; everything else is derived from it."""

from ngnmm_jax.models.base import AbstractNeuralMass, EquilibriumReduction, parameter
from ngnmm_jax.models.jansen_rit import JansenRit
from ngnmm_jax.models.nextgen_ei import NextGenEI

__all__ = ["AbstractNeuralMass", "EquilibriumReduction", "JansenRit", "NextGenEI", "parameter"]

#: The models that can be chosen by name, on the command line and in settings files.
MODELS: dict[str, type[AbstractNeuralMass]] = {"nextgen": NextGenEI, "jansen-rit": JansenRit}
