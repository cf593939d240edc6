"""Neural masses: each model is one file of equations; everything else is derived from it."""

from typing import TYPE_CHECKING

from ngnmm_jax._core.lazily import from_homes

if TYPE_CHECKING:
    from ngnmm_jax.models.base import AbstractNeuralMass
    from ngnmm_jax.models.coombes_byrne import CoombesByrne
    from ngnmm_jax.models.dumont_gutkin import DumontGutkin
    from ngnmm_jax.models.hooks import EquilibriumReduction
    from ngnmm_jax.models.jansen_rit import JansenRit
    from ngnmm_jax.models.laminar import LaminarMass
    from ngnmm_jax.models.montbrio import MontbrioPazoRoxin
    from ngnmm_jax.models.nextgen_ei import NextGenEI
    from ngnmm_jax.models.parameters import parameter
    from ngnmm_jax.models.qif_adaptation import QIFAdaptation
    from ngnmm_jax.models.qif_plasticity import QIFPlasticity
    from ngnmm_jax.models.registry import MODELS
    from ngnmm_jax.models.stuart_landau import ComplexStuartLandau, StuartLandau
    from ngnmm_jax.models.three_populations import ThreePopulations
    from ngnmm_jax.models.wilson_cowan import WilsonCowan

__all__ = [
    "MODELS",
    "AbstractNeuralMass",
    "ComplexStuartLandau",
    "CoombesByrne",
    "DumontGutkin",
    "EquilibriumReduction",
    "JansenRit",
    "LaminarMass",
    "MontbrioPazoRoxin",
    "NextGenEI",
    "QIFAdaptation",
    "QIFPlasticity",
    "StuartLandau",
    "ThreePopulations",
    "WilsonCowan",
    "parameter",
]

_HOMES = {
    "base": ("AbstractNeuralMass",),
    "coombes_byrne": ("CoombesByrne",),
    "dumont_gutkin": ("DumontGutkin",),
    "hooks": ("EquilibriumReduction",),
    "jansen_rit": ("JansenRit",),
    "laminar": ("LaminarMass",),
    "montbrio": ("MontbrioPazoRoxin",),
    "nextgen_ei": ("NextGenEI",),
    "parameters": ("parameter",),
    "qif_adaptation": ("QIFAdaptation",),
    "qif_plasticity": ("QIFPlasticity",),
    "registry": ("MODELS",),
    "three_populations": ("ThreePopulations",),
    "stuart_landau": ("ComplexStuartLandau", "StuartLandau"),
    "wilson_cowan": ("WilsonCowan",),
}
__getattr__ = from_homes(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
