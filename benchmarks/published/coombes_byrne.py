"""Coombes and Byrne: conductances, alpha synapses, gap junctions."""

import math

import ngnmm_jax as ng
from benchmarks.published import Published
from benchmarks.published._branches import alone, equilibria, located

# The papers give their values as pictures.
SCIPY = "SciPy (fsolve and eigenvalues, DOP853) on the equations of Forrester et al. 2024 in NumPy"
TVB = "SciPy on the equations of The Virtual Brain's CoombesByrne, at its parameters"
# One inhibitory population, tau = 1; excitatory neurons only listen, and forget fast.
_TVB = {
    "tau_i": 1.0, "eta_i": 20.0, "delta_i": 0.5, "kappa_ii": math.pi, "alpha_ii": 0.95,
    "v_syn_i": -10.0, "kappa_ie": 0.0,
    **{"kappa_ei": 1.0, "tau_e": 1.0, "delta_e": 5.0},
    **dict.fromkeys(("alpha_ee", "alpha_ei", "alpha_ie", "alpha_ext"), 5.0),
}  # fmt: skip


def _hopf(name: str, low: float, high: float, k: int = 0, **given: float) -> float:
    branch = equilibria(ng.CoombesByrne, name, low, high, *given.items())[1]
    return located(branch, "hopf", k)


def _tvb(k: int) -> float:
    return _hopf("eta_i", 1.0, 40.0, k, **{n: v for n, v in _TVB.items() if n != "eta_i"})


def _period(**given: float) -> float:
    return float(ng.find_orbit(alone(ng.CoombesByrne(**given))).period)


VALUES = (
    Published(
        "coombes-byrne", "Hopf in eta_e", SCIPY, 7.705859208, 1e-6,
        lambda: _hopf("eta_e", -5.0, 25.0),
    ),
    Published(
        "coombes-byrne", "Hopf in eta_e, kappa_v_ii = 0.5", SCIPY, 7.475190563, 1e-6,
        lambda: _hopf("eta_e", -5.0, 25.0, kappa_v_ii=0.5),
    ),
    Published("coombes-byrne", "period (ms)", SCIPY, 38.62283552, 1e-6, _period),
    Published("coombes-byrne", "one population: Hopf in eta", TVB, 3.929511068, 1e-6,
              lambda: _tvb(0)),
    Published("coombes-byrne", "one population: Hopf in eta", TVB, 23.40106227, 1e-6,
              lambda: _tvb(1)),
    Published("coombes-byrne", "one population: period at eta = 20", TVB, 2.08294239, 1e-7,
              lambda: _period(**_TVB)),
)  # fmt: skip
