"""What passes between regions: couplings over a graph."""

from ngnmm_jax.coupling.base import AbstractCoupling
from ngnmm_jax.coupling.linear import LinearCoupling

__all__ = ["AbstractCoupling", "LinearCoupling"]
