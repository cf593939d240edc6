"""Shorthands of the integrators that stand by themselves."""

from ngnmm_jax.integrators.adaptive import Adaptive
from ngnmm_jax.integrators.base import AbstractFixedStep
from ngnmm_jax.integrators.moebius import Moebius
from ngnmm_jax.integrators.runge_kutta import RK4, Dopri8Fixed, Euler, Heun

#: Names and classes.
PLAIN: dict[str, type[AbstractFixedStep | Adaptive]] = {
    "rk4": RK4,
    "heun": Heun,
    "euler": Euler,
    "dopri8": Dopri8Fixed,
    "moebius": Moebius,
    "adaptive": Adaptive,
}
