"""Fits: what is free, how far from the data, gradients that can be trusted, what is then known."""

from ngnmm_jax.fitting import losses
from ngnmm_jax.fitting.descent import Gradient
from ngnmm_jax.fitting.evolution import CMA
from ngnmm_jax.fitting.fit import fit
from ngnmm_jax.fitting.free import Free, Unknown, interval, positive, real
from ngnmm_jax.fitting.gradients import (
    GradientCheck,
    GradientWarning,
    Horizon,
    check_gradient,
    choose_mode,
    horizon,
)
from ngnmm_jax.fitting.method import AbstractMethod, Ended, Problem
from ngnmm_jax.fitting.pairs import Pairs, simulated_pairs
from ngnmm_jax.fitting.posterior import (
    Identifiability,
    Posterior,
    identifiability,
    sample_posterior,
)
from ngnmm_jax.fitting.result import Fit
from ngnmm_jax.fitting.simulated import simulated
from ngnmm_jax.fitting.validation import SimulatedFC, simulated_fc

__all__ = [
    "CMA",
    "AbstractMethod",
    "Ended",
    "Fit",
    "Free",
    "Gradient",
    "GradientCheck",
    "GradientWarning",
    "Horizon",
    "Identifiability",
    "Pairs",
    "Posterior",
    "Problem",
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
    "simulated_pairs",
]
