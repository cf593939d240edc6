"""Steps of whole batches written out as one kernel in C, for GPUs."""

from ngnmm_jax.kernels.program import CannotFuse, Program, traced

__all__ = ["CannotFuse", "Program", "traced"]
