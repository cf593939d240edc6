"""What passes between regions: couplings over a graph."""

from ngnmm_jax.coupling.base import AbstractCoupling, AbstractSum
from ngnmm_jax.coupling.linear import LinearCoupling

__all__ = ["AbstractCoupling", "AbstractSum", "LinearCoupling"]
