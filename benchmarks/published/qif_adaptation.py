"""Gast, Schmidt and Knösche: QIF neurons with spike-frequency adaptation."""

from typing import Any

import ngnmm_jax as ng
from benchmarks.published import Published
from benchmarks.published._branches import equilibria, located

FOLD = "exact: double roots of eta(r)"
HOPF = "exact: Hurwitz's determinant of the 4 × 4 Jacobian is 0 (SciPy's brentq)"
PYCOBI = "PyCoBi's example of the paper's model, by AUTO-07p: 'near 4', its sign aside"
CYCLE = "this project's reference, where a cycle's period grows without bound"


def _branch(alpha: float) -> tuple[Any, Any]:
    return equilibria(ng.QIFAdaptation, "eta", -9.0, 1.0, ("alpha", alpha))


def _point(kind: str, k: int, alpha: float = 0.5) -> float:
    return located(_branch(alpha)[1], kind, k)


def _homoclinic() -> float:
    """Of the cycles that the lower Hopf point begins."""
    system, branch = _branch(0.5)
    start = min(branch.of_kind("hopf"), key=lambda point: float(point.parameter))
    cycles = ng.continue_cycles(
        system, {"eta": (-9.0, 1.0)}, start=start, longest_period=300.0, progress=False
    )
    return float(cycles.of_kind("homoclinic")[0].parameter)


VALUES = (
    Published("qif-sfa", "fold in eta", FOLD, -6.812348865123836, 1e-9, lambda: _point("fold", 0)),
    Published("qif-sfa", "Hopf in eta", HOPF, -6.056126589648228, 1e-8, lambda: _point("hopf", 0)),
    Published("qif-sfa", "Hopf in eta", HOPF, -5.137354675743878, 1e-8, lambda: _point("hopf", 1)),
    Published("qif-sfa", "fold in eta", FOLD, -5.046172103524011, 1e-9, lambda: _point("fold", 1)),
    Published("qif-sfa", "homoclinic in eta", CYCLE, -5.3936, 5e-5, _homoclinic),
    Published(
        "qif-sfa", "Hopf in eta, alpha = 1", PYCOBI, -4.0, 0.05, lambda: _point("hopf", 0, 1.0)
    ),
)
