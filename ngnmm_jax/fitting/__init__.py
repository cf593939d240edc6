"""Fits: what is free, how far from the data, gradients that can be trusted, what is then known."""

from ngnmm_jax.fitting import losses
from ngnmm_jax.fitting.fit import Fit, fit
from ngnmm_jax.fitting.free import Free, Unknown, interval, positive, real
from ngnmm_jax.fitting.gradients import (
    GradientCheck,
    GradientWarning,
    Horizon,
    check_gradient,
    choose_mode,
    horizon,
)
from ngnmm_jax.fitting.posterior import (
    Identifiability,
    Posterior,
    identifiability,
    sample_posterior,
)
from ngnmm_jax.fitting.simulated import simulated
from ngnmm_jax.fitting.validation import SimulatedFC, simulated_fc

__all__ = [
    "Fit",
    "Free",
    "GradientCheck",
    "GradientWarning",
    "Horizon",
    "Identifiability",
    "Posterior",
    "SimulatedFC",
    "Unknown",
    "check_gradient",
    "choose_mode",
    "fit",
    "horizon",
    "identifiability",
    "interval",
    "losses",
    "positive",
    "real",
    "sample_posterior",
    "simulated",
    "simulated_fc",
]
