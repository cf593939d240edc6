"""Taher, Torcini and Olmi: QIF neurons with short-term plasticity."""

import numpy as np

import ngnmm_jax as ng
from benchmarks.published import Published
from benchmarks.published._branches import alone, equilibria, located

FIGURE = "Taher, Torcini and Olmi 2020, figure 1: population bursts that a pulse evokes"
HOPF = "exact: Hurwitz's determinant of the 4 × 4 Jacobian is 0 (SciPy's brentq)"
# Before the first pulse; each pulse lasts 150 ms, as does the gap between them.
_REST, _PULSE = 150.0, 150.0


def _bursts(k: int) -> float:
    """Maxima of the rate above twice that before the pulses, while the k-th pulse lasts."""
    state, rates = None, []
    for current in (0.0, 2.0, 0.0, 2.0):
        system = alone(ng.QIFPlasticity(i_ext=current))
        if state is None:
            state = ng.find_equilibria(system).states[0]
        run = ng.simulate(system, _PULSE, start=state, dt=0.05, progress=False)
        rates.append(np.asarray(run.r))
        state = run.final_state
    rate, before = rates[2 * k + 1], rates[0].max()
    inner = rate[1:-1]
    return float(((inner > rate[:-2]) & (inner > rate[2:]) & (inner > 2 * before)).sum())


def _hopf(k: int) -> float:
    return located(equilibria(ng.QIFPlasticity, "eta", -1.0, 1.0)[1], "hopf", k)


VALUES = (
    Published("qif-stp", "bursts in the first pulse of 2", FIGURE, 4.0, 0.0, lambda: _bursts(0)),
    Published("qif-stp", "bursts in the second pulse", FIGURE, 4.0, 0.0, lambda: _bursts(1)),
    Published("qif-stp", "Hopf in eta", HOPF, -0.5967254811784569, 1e-8, lambda: _hopf(0)),
    Published("qif-stp", "Hopf in eta", HOPF, -0.47256285225618044, 1e-8, lambda: _hopf(1)),
)
