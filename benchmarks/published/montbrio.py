"""Montbrió, Pazó and Roxin: one QIF population."""

import math
from typing import Any

import ngnmm_jax as ng
from benchmarks.published import Published
from benchmarks.published._branches import equilibria, located

PAPER = "Montbrió, Pazó and Roxin 2015: double roots of eta(r) = π² r² - j r - 1 / (2π r)²"


def _branch() -> tuple[Any, Any]:
    return equilibria(ng.MontbrioPazoRoxin, "eta", -10.0, 0.0)


def _fold(k: int) -> float:
    return located(_branch()[1], "fold", k)


def _cusp(name: str) -> float:
    system, branch = _branch()
    plane = {"eta": (-10.0, 0.0), "j": (0.0, 20.0)}
    curve = ng.continue_bifurcation(system, plane, branch.of_kind("fold")[0], progress=False)
    return float(curve.of_kind("cusp")[0].parameters[name])


VALUES = (
    Published("mpr", "fold in eta, j = 15", PAPER, -5.743527161657815, 1e-9, lambda: _fold(0)),
    Published("mpr", "fold in eta, j = 15", PAPER, -3.1361340861956855, 1e-9, lambda: _fold(1)),
    Published("mpr", "cusp, eta", PAPER, -math.sqrt(3.0), 1e-9, lambda: _cusp("eta")),
    Published("mpr", "cusp, j", PAPER, 7.796217036666988, 1e-9, lambda: _cusp("j")),
)
