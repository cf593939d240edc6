"""The explorer: sliders for a network's parameters, and what they do, at once, in Jupyter."""

from ngnmm_jax.explorer.widgets import Explorer, explore

__all__ = ["Explorer", "explore"]
