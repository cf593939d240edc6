"""Dumont and Gutkin: E-I with a synapse for each connection."""

import ngnmm_jax as ng
from benchmarks.published import Published
from benchmarks.published._branches import alone, equilibria, located

# The paper gives its values as pictures.
SCIPY = "SciPy (fsolve and eigenvalues, DOP853) on the equations of TVB's DumontGutkin in NumPy"
# Inhibitory neurons alone make the rhythm (ING), with The Virtual Brain's weights.
_ING = {"i_ext_e": 25.0, "j_ei": 10.0, "j_ie": 0.0, "j_ii": 15.0}


def _hopf(name: str, low: float, high: float, **given: float) -> float:
    branch = equilibria(ng.DumontGutkin, name, low, high, *given.items())[1]
    return located(branch, "hopf", 0)


def _period(**given: float) -> float:
    return float(ng.find_orbit(alone(ng.DumontGutkin(**given))).period)


VALUES = (
    Published("dumont-gutkin", "PING: Hopf in i_ext_e", SCIPY, 7.687819785, 1e-6,
              lambda: _hopf("i_ext_e", 0.0, 40.0)),
    Published("dumont-gutkin", "PING: period (ms)", SCIPY, 14.16431563, 1e-6, _period),
    Published("dumont-gutkin", "ING: Hopf in i_ext_i", SCIPY, 15.15085695, 1e-6,
              lambda: _hopf("i_ext_i", 0.0, 60.0, **_ING)),
    Published("dumont-gutkin", "ING: period at i_ext_i = 25 (ms)", SCIPY, 8.52199412, 1e-6,
              lambda: _period(i_ext_i=25.0, **_ING)),
)  # fmt: skip
