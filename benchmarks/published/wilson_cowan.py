"""Wilson and Cowan's classical mass."""

import ngnmm_jax as ng
from benchmarks.published import Published
from benchmarks.published._branches import alone, equilibria, located

# The paper gives its limit cycle as a picture.
SCIPY = "SciPy (fsolve, eigenvalues, extrema of p along the rests, DOP853) on eqs. 11 and 12"


def _point(kind: str, k: int) -> float:
    return located(equilibria(ng.WilsonCowan, "p", 0.0, 3.0)[1], kind, k)


def _period() -> float:
    return float(ng.find_orbit(alone(ng.WilsonCowan())).period)


VALUES = (
    Published("wilson-cowan", "fold in p", SCIPY, 0.9031973913, 1e-6, lambda: _point("fold", 0)),
    Published("wilson-cowan", "fold in p", SCIPY, 1.0830159379, 1e-6, lambda: _point("fold", 1)),
    Published("wilson-cowan", "Hopf in p", SCIPY, 1.909252391, 1e-6, lambda: _point("hopf", 0)),
    Published("wilson-cowan", "period (ms)", SCIPY, 40.02727715, 4e-5, _period),
)
