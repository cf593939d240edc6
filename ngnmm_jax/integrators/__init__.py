"""Steps in time: integrators as objects, and the loops that take them."""

from ngnmm_jax.integrators.adaptive import Adaptive
from ngnmm_jax.integrators.base import (
    AbstractFixedStep,
    AbstractIntegrator,
    AbstractOneStep,
    Stepper,
)
from ngnmm_jax.integrators.choice import NAMES, chosen, fixed, identified, named
from ngnmm_jax.integrators.fused import Fused
from ngnmm_jax.integrators.moebius import Moebius
from ngnmm_jax.integrators.runge_kutta import RK4, Dopri8Fixed, Euler, Heun

__all__ = [
    "NAMES",
    "RK4",
    "AbstractFixedStep",
    "AbstractIntegrator",
    "AbstractOneStep",
    "Adaptive",
    "Dopri8Fixed",
    "Euler",
    "Fused",
    "Heun",
    "Moebius",
    "Stepper",
    "chosen",
    "fixed",
    "identified",
    "named",
]
