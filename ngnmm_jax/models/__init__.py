"""Neural masses: each model is one file of equations; everything else is derived from it."""

from typing import TYPE_CHECKING

from ngnmm_jax._core.lazily import from_homes

if TYPE_CHECKING:
    from ngnmm_jax.models.base import AbstractNeuralMass
    from ngnmm_jax.models.hooks import EquilibriumReduction
    from ngnmm_jax.models.jansen_rit import JansenRit
    from ngnmm_jax.models.montbrio import MontbrioPazoRoxin
    from ngnmm_jax.models.nextgen_ei import NextGenEI
    from ngnmm_jax.models.parameters import parameter
    from ngnmm_jax.models.registry import MODELS

__all__ = [
    "MODELS",
    "AbstractNeuralMass",
    "EquilibriumReduction",
    "JansenRit",
    "MontbrioPazoRoxin",
    "NextGenEI",
    "parameter",
]

_HOMES = {
    "base": ("AbstractNeuralMass",),
    "hooks": ("EquilibriumReduction",),
    "jansen_rit": ("JansenRit",),
    "montbrio": ("MontbrioPazoRoxin",),
    "nextgen_ei": ("NextGenEI",),
    "parameters": ("parameter",),
    "registry": ("MODELS",),
}
__getattr__ = from_homes(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
