"""The laminar mass: the two rhythms of its circuits."""

import ngnmm_jax as ng
from benchmarks.published import Published
from benchmarks.published._branches import equilibria

SCIPY = "lanmm.f90's equations with C1 = 33.75 (De Palma Aristides et al. 2026), by SciPy"


def _hopf(k: int, what: str) -> float:
    """Of the upper branch, at p2 = 90, by rising p1."""
    _, branch = equilibria(ng.LaminarMass, "p1", -100.0, 500.0)
    points = sorted(branch.of_kind("hopf"), key=lambda point: point.parameter)[-2:]
    return float(points[k].parameter if what == "p1" else 1 / points[k].period)


VALUES = (
    Published("laminar", "Hopf in p1", SCIPY, 98.47277473, 1e-6, lambda: _hopf(0, "p1")),
    Published("laminar", "its frequency (Hz)", SCIPY, 38.92218822, 1e-6, lambda: _hopf(0, "f")),
    Published("laminar", "Hopf in p1", SCIPY, 354.5623676, 1e-6, lambda: _hopf(1, "p1")),
    Published("laminar", "its frequency (Hz)", SCIPY, 10.84878725, 1e-6, lambda: _hopf(1, "f")),
)
