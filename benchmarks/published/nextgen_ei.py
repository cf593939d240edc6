"""Delicado, Huguet and Clusella: excitatory and inhibitory QIF populations."""

from typing import Any

import jax.numpy as jnp

import ngnmm_jax as ng
from benchmarks.published import Published
from benchmarks.published._branches import equilibria, located
from benchmarks.published.three_populations import AUTO, SHOOTING

CUSP = "the same system, by AUTO-07p 0.9.4"


def _branch(coupling: float) -> tuple[Any, Any]:
    return equilibria(ng.NextGenEI, "i_ext_e", -5.0, 20.0, ("coupling", coupling))


def _period() -> float:
    model = ng.NextGenEI(i_ext_e=9.0)
    return float(ng.find_orbit(ng.Homogeneous(model, jnp.asarray(9.0))).period)


def _cusp(name: str) -> float:
    system, branch = _branch(26.0)
    plane = {"i_ext_e": (-5.0, 20.0), "coupling": (0.0, 130.0)}
    curve = ng.continue_bifurcation(system, plane, branch.of_kind("fold")[0], progress=False)
    return float(curve.of_kind("cusp")[0].parameters[name])


def _hopf(k: int) -> float:
    return located(_branch(9.0)[1], "hopf", k)


VALUES = (
    Published("nextgen", "Hopf in i_ext_e", AUTO, 3.6892417095, 4e-6, lambda: _hopf(0)),
    Published("nextgen", "Hopf in i_ext_e", AUTO, 14.358075081, 1.5e-5, lambda: _hopf(1)),
    Published("nextgen", "period at i_ext_e = 9 (ms)", SHOOTING, 18.744791345, 1e-7, _period),
    Published("nextgen", "cusp, i_ext_e", CUSP, 4.8294131187, 1e-6, lambda: _cusp("i_ext_e")),
    Published("nextgen", "cusp, coupling", CUSP, 25.436516945, 1e-5, lambda: _cusp("coupling")),
)
