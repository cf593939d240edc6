"""Equilibria at many points, and the growth of all modes on them: for maps and sweeps."""

from typing import Any, NamedTuple

import jax
import numpy as np

from ngnmm_jax._core.lanes import take
from ngnmm_jax._core.placement import POINTS, beside
from ngnmm_jax.dynamics.many_equilibria import search
from ngnmm_jax.stability.transverse import Modes, RestingModes, Spectrum, modes_at_rest
from ngnmm_jax.systems.family import Family

# Points whose equilibria are searched together.
_SEARCHED = 16_384


class Resting(NamedTuple):
    """Equilibria at points, by rising first variable.

    - `states` (point, place, variable): NaN where not `found` (point, place).
    - `number` (point,): how many there are, perhaps more than places.
    - `complete` (point,): whether it is certain that there are no others, as `Equilibria` has it.
    """

    states: np.ndarray
    found: np.ndarray
    number: np.ndarray
    complete: np.ndarray

    @property
    def places(self) -> int:
        """For equilibria at each point."""
        return int(self.found.shape[1])

    def take(self, index: np.ndarray) -> "Resting":
        """Those of some points."""
        return Resting(*(field[index] for field in self))


def find_resting(
    family: Family,
    points: dict[str, Any],
    count: int,
    *,
    places: int | None = None,
    fewest: int = 1,
) -> Resting:
    """All equilibria of a family's systems at `count` points.

    In so many `places`, or in as many as the point with the most needs, at least the `fewest`.
    """
    parts: list[Resting] = []
    for begin in range(0, count, _SEARCHED):
        which = np.arange(begin, min(begin + _SEARCHED, count))
        some = search(family.many(take(points, which)), which.size, places, in_blocks=True)
        parts.append(Resting(some.states, some.found, some.number, some.complete))
    wide = places or max(fewest, *(part.places for part in parts))

    def filled(values: np.ndarray, blank: Any) -> np.ndarray:
        short = [(0, 0)] * values.ndim
        short[1] = (0, wide - values.shape[1])
        return np.pad(values, short, constant_values=blank)

    return Resting(
        np.concatenate([filled(part.states, np.nan) for part in parts]),
        np.concatenate([filled(part.found, False) for part in parts]),
        np.concatenate([part.number for part in parts]),
        np.concatenate([part.complete for part in parts]),
    )


def resting_modes(
    spectrum: Spectrum, points: dict[str, np.ndarray], resting: Resting
) -> RestingModes:
    """All modes of the equilibria that were found, (point, place); NaN and -1 elsewhere.

    `converged` is True where there is no equilibrium.
    """
    point, place = np.nonzero(resting.found)
    shape = resting.found.shape
    nothing, none = np.full(shape, np.nan), np.full(shape, -1, np.int32)
    blank = RestingModes(
        nothing, Modes(nothing, none, none, nothing, nothing, np.ones(shape, dtype=bool))
    )
    if not point.size:
        return blank
    with beside("modes at rest", len(resting.found) <= POINTS, spectrum, points):
        found = modes_at_rest(spectrum, take(points, point), resting.states[point, place])

    def spread(blank: np.ndarray, values: np.ndarray) -> np.ndarray:
        every = blank.copy()
        every[point, place] = values
        return every

    return jax.tree.map(spread, blank, found)
