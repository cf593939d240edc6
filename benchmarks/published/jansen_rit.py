"""Jansen and Rit: the column's bifurcations in its input from outside."""

from typing import Any

import ngnmm_jax as ng
from benchmarks.published import Published
from benchmarks.published._branches import equilibria, located

SCIPY = "the equations' eigenvalues at equilibria, by NumPy; their zeros, by SciPy"


def _branch() -> Any:
    return equilibria(ng.JansenRit, "p", -50.0, 400.0)[1]


def _period(k: int) -> float:
    hopf = sorted(_branch().of_kind("hopf"), key=lambda point: point.parameter)[k]
    return float(hopf.period)


def _fold(k: int) -> float:
    return located(_branch(), "fold", k)


def _hopf(k: int) -> float:
    return located(_branch(), "hopf", k)


VALUES = (
    Published("jansen-rit", "fold in p", SCIPY, -41.30141048782855, 1e-7, lambda: _fold(0)),
    Published("jansen-rit", "fold in p", SCIPY, 113.58627321279874, 1e-7, lambda: _fold(1)),
    Published("jansen-rit", "Hopf in p", SCIPY, -12.147492348418268, 1e-7, lambda: _hopf(0)),
    Published("jansen-rit", "Hopf in p", SCIPY, 89.82910796964416, 1e-7, lambda: _hopf(1)),
    Published("jansen-rit", "its period (s)", SCIPY, 0.09636642145099923, 1e-9, lambda: _period(1)),
    Published("jansen-rit", "Hopf in p", SCIPY, 315.696428068818, 1e-7, lambda: _hopf(2)),
)
