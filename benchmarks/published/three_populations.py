"""Three populations: without inhibition by the slow ones, those of Delicado and colleagues."""

import jax.numpy as jnp

import ngnmm_jax as ng
from benchmarks.published import Published
from benchmarks.published._branches import equilibria

AUTO = "Delicado, Huguet and Clusella 2025: the authors' system, by AUTO-07p 0.9.4 at epsilon = 9"
SHOOTING = "the same, by SciPy's DOP853 at 1e-12 and shooting"
_CUT = (("j_es", 0.0), ("j_fs", 0.0))


def _hopf(k: int) -> float:
    given = (*_CUT, ("coupling", 9.0))
    _, branch = equilibria(ng.ThreePopulations, "i_ext_e", -5.0, 20.0, *given)
    return sorted(float(point.parameter) for point in branch.of_kind("hopf"))[k]


def _period() -> float:
    model = ng.ThreePopulations(i_ext_e=9.0, **dict(_CUT))
    return float(ng.find_orbit(ng.Homogeneous(model, jnp.asarray(9.0))).period)


VALUES = (
    Published(
        "three-populations", "Hopf in i_ext_e, j_es = j_fs = 0", AUTO,
        3.6892417095, 1e-8, lambda: _hopf(0),
    ),
    Published(
        "three-populations", "Hopf in i_ext_e, j_es = j_fs = 0", AUTO,
        14.358075081, 1e-7, lambda: _hopf(1),
    ),
    Published(
        "three-populations", "period at i_ext_e = 9, j_es = j_fs = 0 (ms)", SHOOTING,
        18.744791345, 1e-7, _period,
    ),
)  # fmt: skip
