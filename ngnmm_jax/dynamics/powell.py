"""Powell's dogleg iteration for roots of many vector fields at once, on the host."""

import contextlib
from collections.abc import Callable

import numpy as np

#: Jacobians, slopes and admissibility at states (state, variable), each of its own system.
Linearised = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, ...]]


# Powell's iterations at most; the part of a foreseen decrease that has to come for a step to be
# taken, those below and above which the next one may be shorter and longer, and by how much.
_POWELL, _TAKEN, _BAD, _GOOD, _SHORTER, _LONGER = 200, 1e-4, 0.01, 0.99, 0.25, 3.5


def powell(linearised: Linearised, owner: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Where Powell's dogleg iteration leads from each state (state, variable): near a root, or not.

    The region in which a step is trusted is measured by Newton's step, as optimistix has it, whose
    iteration `newton.from_starts` is. (Levenberg and Marquardt's gets caught in the ghosts of
    saddle-nodes, where |dx/dt| has a minimum that is not zero.)
    """
    states, trust = states.copy(), np.ones(len(states))
    matrices, slopes, _ = linearised(owner, states)
    left = np.arange(len(states))
    small = np.finfo(states.dtype).eps ** 0.5
    for _ in range(_POWELL):
        if not left.size:
            break
        with np.errstate(all="ignore"):  # where it diverges it is left
            steps = _dogleg(matrices[left], slopes[left], trust[left])
            tried, slope = linearised(owner[left], states[left] + steps)[:2]
            before, after = (_squared(value) for value in (slopes[left], slope))
            foreseen = before - _squared(slopes[left] + (matrices[left] @ steps[..., None])[..., 0])
            gained = np.nan_to_num((before - after) / foreseen, nan=-1.0, posinf=-1.0)
            length = np.abs(steps).max(axis=-1) / (1 + np.abs(states[left]).max(axis=-1))
        taken = gained > _TAKEN
        index = left[taken]
        states[index] += steps[taken]
        matrices[index], slopes[index] = tried[taken], slope[taken]
        factor = np.where(gained > _GOOD, _LONGER, np.where(gained < _BAD, _SHORTER, 1.0))
        trust[left] = np.minimum(trust[left] * factor, 1.0)
        left = left[length > small]  # no step, or NaN, leads further
    return states


def _squared(values: np.ndarray) -> np.ndarray:
    return (values**2).sum(axis=-1)


def _dogleg(matrices: np.ndarray, slopes: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """Steps (state, variable): Newton's, or as far on the way to it, by steepest descent first.

    Of Newton's length the part `trust` (state,).
    """
    newton = -solved(matrices, slopes)
    downhill = -(np.swapaxes(matrices, -1, -2) @ slopes[..., None])[..., 0]
    along = _squared((matrices @ downhill[..., None])[..., 0])
    cauchy = downhill * (_squared(downhill) / along)[:, None]
    reach = trust * np.sqrt(_squared(newton))
    # Of the way from the lowest point downhill to Newton's: |cauchy + part rest| = reach.
    rest = newton - cauchy
    a, b, c = _squared(rest), (cauchy * rest).sum(axis=-1), _squared(cauchy) - reach**2
    part = np.clip((-b + np.sqrt(np.maximum(b**2 - a * c, 0))) / a, 0, 1)
    short = reach / np.sqrt(_squared(cauchy))
    bent = np.where((short < 1)[:, None], cauchy * short[:, None], cauchy + part[:, None] * rest)
    return np.where((trust >= 1)[:, None], newton, bent)


def solved(matrices: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Solutions of many small systems, NaN where one is singular."""
    try:
        return np.linalg.solve(matrices, columns[..., None])[..., 0]
    except np.linalg.LinAlgError:
        result = np.full(columns.shape, np.nan)
        for k in range(len(columns)):
            with contextlib.suppress(np.linalg.LinAlgError):
                result[k] = np.linalg.solve(matrices[k], columns[k])
        return result
