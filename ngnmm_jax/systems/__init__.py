"""What is simulated and analysed: networks, their homogeneous part, what drives them."""

from ngnmm_jax.systems import noises, stimuli

__all__ = ["noises", "stimuli"]
