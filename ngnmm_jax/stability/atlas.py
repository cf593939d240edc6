"""Blocks of a map: all homogeneous states at points of a plane, and the growth of their modes."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from ngnmm_jax._core.lanes import map_chunks, take
from ngnmm_jax._core.placement import wide
from ngnmm_jax._core.status import Status
from ngnmm_jax.stability.attractors import Lines, Oscillations, Rest, find_oscillations
from ngnmm_jax.stability.kinds import APERIODIC, EQUILIBRIUM, NOTHING, ORBIT
from ngnmm_jax.stability.resting import Resting, resting_modes
from ngnmm_jax.stability.transverse import (
    FEW,
    MOST_NODES,
    NODES,
    Modes,
    Orbits,
    Spectrum,
    aperiodic_modes,
    exact_enough,
    monodromies,
    orbit_modes,
)

# Places for oscillations at each point: the paper's model has two at most.
_OSCILLATIONS = 2
# Orbits and aperiodic states that a CPU takes at a time.
_ORBITS, _APERIODIC = 32, 16


@dataclasses.dataclass
class Table:
    """What is known of a block's points: arrays (point, place, …), as `DispersionMap` has them.

    Filled while states are found: places without one hold NaN or -1. `complete` and `status` are
    (point,).
    """

    kind: np.ndarray
    states: np.ndarray
    period: np.ndarray
    growth_uniform: np.ndarray
    growth_transverse: np.ndarray
    number_growing: np.ndarray
    fastest: np.ndarray
    frequency: np.ndarray
    error: np.ndarray
    complete: np.ndarray
    status: np.ndarray

    @classmethod
    def blank(cls, points: int, places: int, variables: int) -> "Table":
        """One without states."""
        shape = (points, places)
        return cls(
            kind=np.full(shape, NOTHING, np.int8),
            states=np.full((*shape, variables), np.nan),
            period=np.full(shape, np.nan),
            growth_uniform=np.full(shape, np.nan),
            growth_transverse=np.full(shape, np.nan),
            number_growing=np.full(shape, -1, np.int32),
            fastest=np.full(shape, -1, np.int32),
            frequency=np.full(shape, np.nan),
            error=np.full(shape, np.nan),
            complete=np.zeros(points, bool),
            status=np.full(points, Status.OK, np.int8),
        )

    @property
    def resting(self) -> np.ndarray:
        """(point, place): stable equilibria."""
        return (self.kind == EQUILIBRIUM) & (self.growth_uniform < 0)

    def put(self, modes: Modes, point: np.ndarray, place: np.ndarray) -> None:
        """The modes (state,) of states in their places."""
        where = (point, place)
        self.growth_transverse[where] = modes.growth_transverse
        self.number_growing[where] = modes.number_growing
        self.fastest[where] = modes.fastest
        self.frequency[where] = modes.frequency
        self.error[where] = modes.error
        self.status[point[~modes.converged]] = Status.NOT_CONVERGED

    def erase(self, point: np.ndarray, place: np.ndarray) -> None:
        """States that are none after all."""
        nothing = Table.blank(1, 1, self.states.shape[-1])
        for name, field in vars(self).items():
            if field.ndim > 1:
                field[point, place] = getattr(nothing, name)[0, 0]

    def conclude(self, oscillations: bool) -> None:
        """Tell the points where something is missing: an attractor, or all states."""
        if oscillations:  # an attractor is missing where all that was found repels
            moving = np.isin(self.kind, (ORBIT, APERIODIC)).any(axis=1)
            some = (self.kind == EQUILIBRIUM).any(axis=1)
            repels = some & ~moving & ~self.resting.any(axis=1)
            self.status[repels] = Status.NOT_CONVERGED
        self.status[(self.kind == NOTHING).all(axis=1)] = Status.NONE_FOUND


@dataclasses.dataclass(frozen=True)
class Atlas:
    """Computes blocks of a map.

    - `equilibria`: places for these at each point.
    - `oscillations`: whether oscillating states are looked for.
    """

    spectrum: Spectrum
    equilibria: int
    oscillations: bool

    def block(self, lines: Lines, known: Resting, say: Callable[..., Any]) -> Table:
        """All states at points, of which the equilibria are known."""
        places = self.equilibria + (_OSCILLATIONS if self.oscillations else 0)
        table = Table.blank(lines.size, places, known.states.shape[-1])
        say("equilibria")
        self._equilibria(lines, known, table)
        if self.oscillations:
            say("oscillations", 0.15)
            rest = Rest(known.states, table.resting[:, : self.equilibria])
            found = find_oscillations(self.spectrum.family, lines, rest)
            order = np.lexsort((found.direction, found.point))
            found = Oscillations(*(field[order] for field in found))
            first = np.ones(found.point.size, dtype=bool)
            first[1:] = found.point[1:] != found.point[:-1]
            place = self.equilibria + np.where(first, 0, 1)
            where = (found.point, place)
            table.kind[where], table.states[where] = found.kind, found.states
            table.period[where], table.growth_uniform[where] = found.period, found.growth_uniform
            say("modes of orbits", 0.45)
            self._orbits(lines, found, place, table)
            say("modes of aperiodic states", 0.8)
            self._aperiodic(lines, found, place, rest, table)
        table.conclude(self.oscillations)
        return table

    def _equilibria(self, lines: Lines, known: Resting, table: Table) -> None:
        table.states[:, : self.equilibria] = known.states
        table.complete[:] = known.complete
        modes = resting_modes(self.spectrum, lines.points, known)
        point, place = where = np.nonzero(known.found)
        table.kind[where] = EQUILIBRIUM
        table.growth_uniform[where] = modes.growth_uniform[where]
        table.put(Modes(*(field[where] for field in modes.modes)), point, place)

    def _orbits(self, lines: Lines, found: Oscillations, place: np.ndarray, table: Table) -> None:
        left = np.flatnonzero(found.kind == ORBIT)
        left = left[np.argsort(found.period[left])]  # those of like period share a chunk
        exact = exact_enough(self.spectrum.family, take(lines.points, found.point))
        nodes, few = NODES, FEW
        while left.size and nodes <= MOST_NODES:
            point = found.point[left]
            orbits = Orbits(take(lines.points, point), found.states[left], found.period[left])
            matrices = map_chunks(
                monodromies(nodes, few),
                self.spectrum,
                orbits,
                chunk=wide(_ORBITS),
                progress=False,
                lockstep=True,
            )
            modes = orbit_modes(self.spectrum, orbits, matrices, nodes)
            modes = modes._replace(converged=modes.converged & (modes.error < exact[left]))
            few *= 2
            nodes *= 2
            done = modes.converged | (nodes > MOST_NODES)
            table.put(Modes(*(field[done] for field in modes)), point[done], place[left[done]])
            left = left[~done]

    def _aperiodic(
        self, lines: Lines, found: Oscillations, place: np.ndarray, rest: Rest, table: Table
    ) -> None:
        which = np.flatnonzero(found.kind == APERIODIC)
        if not which.size:
            return
        point, place, states = found.point[which], place[which], found.states[which]
        run = map_chunks(
            aperiodic_modes,
            self.spectrum,
            (take(lines.points, point), states),
            chunk=wide(_APERIODIC),
            progress=False,
            lockstep=True,
        )
        table.growth_uniform[point, place] = run.growth_uniform
        table.put(run.modes, point, place)
        # A run that is not chaotic need be no attractor of its own, but one that has not arrived:
        # at an equilibrium, if it has come nearer meanwhile; at an orbit, if there is one.
        before, after = (rest.distance(point, x) for x in (states, run.end))
        arriving = (run.growth_uniform < 0) & (after < 0.9 * before)
        orderly = run.growth_uniform < 3 * run.error_uniform
        arriving |= orderly & (table.kind[point] == ORBIT).any(axis=1)
        table.erase(point[arriving], place[arriving])
        table.status[point[orderly & ~arriving]] = Status.NOT_CONVERGED
