"""Stuart and Landau: everything is known exactly."""

import math

import numpy as np

import ngnmm_jax as ng
from benchmarks.published import Published
from benchmarks.published._branches import alone, equilibria, located

EXACT = "exact: eigenvalues a ± i omega, orbit |z| = √a of period 2π / omega, exponent -2a"


def _orbit() -> ng.Orbit:
    return ng.find_orbit(alone(ng.StuartLandau(a=2.0, omega=9.0)))


def _radius() -> float:
    return float(np.hypot(*np.asarray(_orbit().states)[0]))


def _exponent() -> float:
    orbit = _orbit()
    return float(np.log(np.sort(np.abs(np.asarray(orbit.multipliers)))[0]) / orbit.period)


VALUES = (
    Published("stuart-landau", "Hopf in a", EXACT, 0.0, 1e-9,
              lambda: located(equilibria(ng.StuartLandau, "a", -5.0, 5.0)[1], "hopf", 0)),
    Published("stuart-landau", "period at a = 2, omega = 9 (s)", EXACT, 2 * math.pi / 9, 1e-9,
              lambda: float(_orbit().period)),
    Published("stuart-landau", "radius of the orbit there", EXACT, math.sqrt(2.0), 1e-8, _radius),
    Published("stuart-landau", "Floquet exponent there (1/s)", EXACT, -4.0, 1e-6, _exponent),
)  # fmt: skip
