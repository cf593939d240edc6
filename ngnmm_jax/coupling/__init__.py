"""What passes between regions: couplings over a graph."""

from ngnmm_jax.coupling.base import AbstractCoupling, AbstractSum
from ngnmm_jax.coupling.combined import CouplingSum
from ngnmm_jax.coupling.diffusive import DiffusiveCoupling
from ngnmm_jax.coupling.linear import LinearCoupling
from ngnmm_jax.coupling.linearised import Linearised
from ngnmm_jax.coupling.pairwise import AbstractPairwise, KuramotoCoupling, PairwiseCoupling
from ngnmm_jax.coupling.sigmoidal import SigmoidAfterSum, SigmoidBeforeSum

__all__ = [
    "AbstractCoupling",
    "AbstractPairwise",
    "AbstractSum",
    "CouplingSum",
    "DiffusiveCoupling",
    "KuramotoCoupling",
    "LinearCoupling",
    "Linearised",
    "PairwiseCoupling",
    "SigmoidAfterSum",
    "SigmoidBeforeSum",
]
