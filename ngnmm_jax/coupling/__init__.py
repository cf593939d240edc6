"""What passes between regions: couplings over a graph."""

from ngnmm_jax.coupling.base import AbstractCoupling, AbstractSum
from ngnmm_jax.coupling.diffusive import DiffusiveCoupling
from ngnmm_jax.coupling.linear import LinearCoupling
from ngnmm_jax.coupling.linearised import Linearised

__all__ = ["AbstractCoupling", "AbstractSum", "DiffusiveCoupling", "LinearCoupling", "Linearised"]
