"""Oscillating homogeneous states over a plane of parameters, hysteresis included.

Along each line of the plane one parameter is swept up and down, each point starting from where
its neighbour ended. Runs that end near a stable equilibrium are at rest; runs that return are
refined by Newton's iteration, and count where the orbit is stable and near the run. What is left
gets a longer run, then the orbits of its neighbours as guesses; what then is still not at rest
and does not return is aperiodic.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.lanes import map_chunks, take
from ngnmm_jax._core.placement import wide
from ngnmm_jax.dynamics.lockstep.runs import Return, Steps, least_return, settle
from ngnmm_jax.dynamics.lockstep.shooting import Cycle, shoot
from ngnmm_jax.stability.kinds import APERIODIC, ORBIT
from ngnmm_jax.systems.family import Family

# A run has arrived at a stable equilibrium when it is this near, relative to 1 + |x|.
_ARRIVED = 1e-3
# A run may be periodic when it returns this near, and is near its orbit within this fraction
# of the orbit's extent.
_RETURNS, _NEAR = 2e-2, 0.2
# Every run starts off its neighbour's end by this fraction, so that it leaves what is unstable;
# what is less than `_ZERO` of the model's box, by this fraction of the box.
_KICK, _BIG_KICK = 1e-3, 2e-2
_ZERO = 1e-9
# Runs that a CPU takes in lock-step.
_LANES = 64


class Lines(NamedTuple):
    """Points of a plane, in whole lines of `columns` points along which one parameter is `swept`.

    `points`: values (point,) by name; that of the swept one varies fastest.
    """

    points: dict[str, np.ndarray]
    swept: str
    columns: int

    @property
    def size(self) -> int:
        """How many points there are."""
        return int(self.points[self.swept].size)


class Oscillations(NamedTuple):
    """Attractors that are no equilibria; `direction` 0 was found sweeping up, 1 down.

    - `point`, `direction` (state,): where it is in the grid.
    - `kind` (state,): ORBIT or APERIODIC.
    - `states` (state, variable): on it; `period`, `growth_uniform` (state,): of an orbit, NaN
      otherwise (largest exponent but that of the phase).
    """

    point: np.ndarray
    direction: np.ndarray
    kind: np.ndarray
    states: np.ndarray
    period: np.ndarray
    growth_uniform: np.ndarray


class Rest(NamedTuple):
    """Equilibria, all that a map knows.

    `states` (point, equilibrium, variable), `stable` (point, equilibrium).
    """

    states: np.ndarray
    stable: np.ndarray

    def distance(self, point: np.ndarray, x: np.ndarray) -> np.ndarray:
        """From x (run, variable) to the nearest stable equilibrium, relative to 1 + |x|."""
        gap = np.abs(self.states[point] - x[:, None]).max(axis=-1)
        gap = np.where(self.stable[point], gap, np.inf).min(axis=-1)
        return gap / (1 + np.abs(x).max(axis=-1))


def find_oscillations(family: Family, lines: Lines, rest: Rest) -> Oscillations:
    """The oscillating attractors at points; `rest` are the equilibria at the same points."""
    runs = _march(family, lines, rest)
    found = _Found(family, lines, rest.states.shape[-1])
    left = runs.take(found.judge(runs, rest))
    if left.point.size:
        runs = _run_on(family, take(lines.points, left.point), left)
        left = runs.take(found.judge(runs, rest))
        found.add_aperiodic(found.from_neighbours(left))
    return found.result()


class _Runs(NamedTuple):
    """Runs after their window, (run, …): where they ended, and their least return."""

    point: np.ndarray
    direction: np.ndarray
    end: np.ndarray
    back: Return

    def take(self, index: np.ndarray) -> "_Runs":
        return jax.tree.map(lambda leaf: leaf[index], self)


class _Begin(NamedTuple):
    """Where runs begin, (run, variable), and the parameters (run,) by name."""

    state: Any
    point: dict[str, Any]


class _Arrival(NamedTuple):
    """Where runs' windows ended, (run, variable), and their least return."""

    end: Any
    back: Return


def _runner(
    transient: int, window: int, stride: int, same: float, kick: float
) -> Callable[[Family, _Begin], _Arrival]:
    """A function that runs from states, and looks at a window.

    `transient` and `window` are numbers of samples, `stride` of the model's tempo apart.
    """

    def run(family: Family, begin: _Begin) -> _Arrival:
        inner = family.at(begin.point)
        x = _kicked(jnp, family, as_array(begin.state).T, kick)
        field, steps = inner.vector_field, Steps.of(inner.model, x.shape[-1])
        end, path = settle(field, x, steps, transient=transient, samples=window, stride=stride)
        arrival = _Arrival(end, least_return(field, path, steps.tempo * stride, same))
        return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, -1, 0), arrival)

    return run


def _kicked(xp: Any, family: Family, x: Any, kick: float) -> Any:
    """States (variable, run), moved by a fraction of themselves, or where they are zero of the box.

    A multiple of zero would stay at rest there.
    """
    low, high = map(xp.asarray, family.model.search_box())
    width = (high - low)[:, None]
    return x * (1 + kick) + xp.where(xp.abs(x) < _ZERO * width, kick * width, 0.0)


# Along a line, 100 and 250 ms of the paper's model; of what is left, 1200 and 1200 ms.
_SHORT = _runner(500, 1_250, 4, 2e-3, _KICK)
_LONG = _runner(12_000, 12_000, 2, 3e-4, _BIG_KICK)


def _march(family: Family, lines: Lines, rest: Rest) -> _Runs:
    """Every line, upwards (direction 0) and downwards (1): each column from where the one before
    ended, so that lines of any length run the same compiled code.
    """
    number = np.arange(lines.size).reshape(-1, lines.columns)
    both = np.concatenate([number, number[:, ::-1]])
    starts = np.stack([_start(rest, int(first)) for first in both[:, 0]])
    middle = np.mean(family.model.search_box(), axis=0)
    starts = np.where(np.isfinite(starts), starts, middle)
    starts = _kicked(np, family, starts.T, _BIG_KICK).T
    state, arrivals = starts, []
    for column in both.T:
        state = np.where(np.isfinite(state).all(axis=1, keepdims=True), state, starts)
        arrivals.append(_arrive(_SHORT, family, _Begin(state, take(lines.points, column))))
        state = arrivals[-1].end
    every = jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *arrivals)
    flat = jax.tree.map(lambda value: value.reshape(both.size, *value.shape[2:]), every)
    return _Runs(both.ravel(), np.repeat([0, 1], lines.size), *flat)


def _arrive(run: Callable[[Family, _Begin], _Arrival], family: Family, begin: _Begin) -> _Arrival:
    return map_chunks(run, family, begin, chunk=wide(_LANES), progress=False, lockstep=True)


def _start(rest: Rest, point: int) -> np.ndarray:
    """A stable equilibrium, else any, else NaN."""
    order = np.flatnonzero(rest.stable[point])
    if not order.size:
        order = np.flatnonzero(np.isfinite(rest.states[point, :, 0]))
    blank = np.full(rest.states.shape[-1], np.nan)
    return rest.states[point, order[0]] if order.size else blank


def _run_on(family: Family, points: dict[str, np.ndarray], runs: _Runs) -> _Runs:
    """Runs that go on from their ends for longer, each at its own point."""
    arrival = _arrive(_LONG, family, _Begin(runs.end, points))
    return _Runs(runs.point, runs.direction, *arrival)


class Guesses(NamedTuple):
    """Of orbits (run, …): parameters by name, a state, its period; and iterations at most."""

    point: dict[str, Any]
    state: Any
    period: Any
    iterations: Any

    def take(self, index: np.ndarray) -> "Guesses":
        """Some of them."""
        return jax.tree.map(lambda leaf: leaf[index], self)


class Refined(NamedTuple):
    """Orbits (run, …) that Newton's iteration found, and whether it converged."""

    cycle: Cycle
    converged: Any

    def put(self, index: np.ndarray, some: "Refined") -> "Refined":
        """The same with others in some places."""

        def one(every: np.ndarray, new: np.ndarray) -> np.ndarray:
            every = every.copy()
            every[index] = new
            return every

        return jax.tree.map(one, self, some)


def refined(family: Family, guesses: Guesses) -> Refined:
    """Orbits refined from guesses."""
    inner = family.at(guesses.point)
    guess = as_array(guesses.state).T
    cycle = shoot(
        inner.vector_field,
        lambda pair: inner.variational(pair, None),
        guess,
        guesses.period,
        Steps.of(inner.model, guess.shape[-1]),
        guesses.iterations.max(),
    )
    found = Refined(cycle, cycle.converged)
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, -1, 0), found)


# Most runs converge at once; of the others, those as near as this, relative to 1 + |x|, are tried
# again apart, and keep none waiting.
_PROMISING = 1e-3
# An orbit is near a bifurcation when its slowest perturbation decays by less than this a period.
_SLOW = 0.3
_FIRST, _LONGER = 4, 10


def _own_growth(cycles: Cycle) -> tuple[np.ndarray, np.ndarray]:
    """Whether orbits (run, …) are finite, and their largest Floquet exponent but the neutral."""
    matrix, period = np.asarray(cycles.monodromy), np.asarray(cycles.period)
    finite = np.isfinite(matrix).all(axis=(1, 2)) & np.isfinite(period)
    mu = np.linalg.eigvals(np.where(finite[:, None, None], matrix, 0.0))
    size = np.maximum(np.abs(mu), 1e-300)
    size[np.arange(len(mu)), np.abs(mu - 1).argmin(axis=1)] = 1e-300
    return finite, np.log(size.max(axis=1)) / period


def _twins(runs: _Runs, moving: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Runs that move, up and down, on what looks like the same orbit: their indices, paired."""
    index = np.full((2, n), -1)
    which = np.flatnonzero(moving)
    index[runs.direction[which], runs.point[which]] = which
    up, down = index[:, (index >= 0).all(axis=0)]
    low, high, period = map(np.asarray, (runs.back.low, runs.back.high, runs.back.period))
    same = np.abs(period[up] - period[down]) < 1e-3 * period[up]
    extent = (high - low)[up]
    for side in (low, high):
        same &= (np.abs(side[up] - side[down]) < 0.03 * extent).all(axis=1)
    return up[same], down[same]


class _Found:
    """What has been found so far, and how the rest is judged.

    `kind`, `period`, `growth` (direction, point), `state` (direction, point, variable).
    """

    def __init__(self, family: Family, lines: Lines, variables: int):
        self.family, self.lines = family, lines
        self.kind = np.zeros((2, lines.size), dtype=np.int8)
        self.state = np.full((2, lines.size, variables), np.nan)
        self.period, self.growth = np.full((2, 2, lines.size), np.nan)

    def judge(self, runs: _Runs, rest: Rest) -> np.ndarray:
        """Keep the runs that are on stable orbits; the indices of those not understood."""
        arrived = rest.distance(runs.point, runs.end) < _ARRIVED
        moving = ~arrived & ~np.asarray(runs.back.still) & (np.asarray(runs.back.gap) < _RETURNS)
        twins = _twins(runs, moving, self.lines.size)
        once = np.flatnonzero(moving)[~np.isin(np.flatnonzero(moving), twins[1])]
        kept = once[self._refine(runs.take(once), near=_NEAR)]
        arrived[kept] = True
        arrived[twins[1][np.isin(twins[0], kept)]] = True
        return np.flatnonzero(~arrived)

    def _refine(self, runs: _Runs, near: float) -> np.ndarray:
        """Newton's iteration from runs' returns; the indices of those kept."""
        if not runs.point.size:
            return np.zeros(0, dtype=int)
        order = np.argsort(runs.back.period)  # what takes as long shares a chunk
        runs = runs.take(order)
        point = take(self.lines.points, runs.point)
        guesses = Guesses(point, runs.back.state, runs.back.period, np.zeros(order.size, int))
        first = self._shoot(guesses)
        own = _own_growth(first.cycle)
        found = self._led_back(guesses, first, *own)
        finite, growth = own if found is first else _own_growth(found.cycle)
        cycle: Any = found.cycle
        extent = np.maximum(cycle.high - cycle.low, 1e-300)
        distance = (np.abs(cycle.state - runs.back.state) / extent).max(axis=1)
        good = found.converged & finite & (growth < 0) & (distance < near)
        which = (runs.direction[good], runs.point[good])
        self.kind[which] = ORBIT
        self.state[which] = cycle.state[good]
        self.period[which] = cycle.period[good]
        self.growth[which] = growth[good]
        return order[good]

    def _led_back(
        self, guesses: Guesses, found: Refined, finite: np.ndarray, growth: np.ndarray
    ) -> Refined:
        """Next to a period doubling two turns of one orbit pass for one of two: count them again,
        and refine the shorter orbit.
        """
        near = growth * np.asarray(found.cycle.period) > -_SLOW
        slow = np.flatnonzero(found.converged & finite & near)
        if not slow.size:
            return found
        cycle: Any = found.cycle
        again = guesses.take(slow)._replace(state=cycle.state[slow], period=cycle.period[slow])
        turns = np.asarray(self._cycles(again, 0).cycle.turns)
        some = np.flatnonzero(turns > 1)
        if not some.size:
            return found
        shorter = self._shoot(again._replace(period=again.period / turns).take(some))
        return found.put(slow[some], shorter)

    def _shoot(self, guesses: Guesses) -> Refined:
        """Newton's iteration from guesses: briefly, and longer for those that come near."""
        found = self._cycles(guesses, _FIRST)
        left = np.flatnonzero(~found.converged & (np.asarray(found.cycle.residual) < _PROMISING))
        if left.size:
            found = found.put(left, self._cycles(guesses.take(left), _LONGER))
        return found

    def _cycles(self, guesses: Guesses, iterations: int) -> Refined:
        guesses = guesses._replace(iterations=np.full(guesses.period.size, iterations))
        return map_chunks(
            refined, self.family, guesses, chunk=wide(_LANES), progress=False, lockstep=True
        )

    def from_neighbours(self, runs: _Runs) -> _Runs:
        """Try the orbits next along the line; the runs for which none is an orbit."""
        columns = self.lines.columns
        for step in (-1, 1):
            beside = runs.point + step
            same_line = (beside >= 0) & (beside < self.lines.size)
            same_line &= beside // columns == runs.point // columns
            beside = np.where(same_line, beside, runs.point)
            known = self.kind[runs.direction, beside] == ORBIT
            guess = runs.take(np.flatnonzero(known))
            where = (guess.direction, beside[known])
            back: Any = guess.back._replace(state=self.state[where], period=self.period[where])
            kept = self._refine(guess._replace(back=back), near=np.inf)
            keep = np.ones(runs.point.size, dtype=bool)
            keep[np.flatnonzero(known)[kept]] = False
            runs = runs.take(np.flatnonzero(keep))
        return runs

    def add_aperiodic(self, runs: _Runs) -> None:
        """Whatever moves and was not understood."""
        moves = ~np.asarray(runs.back.still) & np.isfinite(runs.end).all(axis=1)
        runs = runs.take(np.flatnonzero(moves))
        self.kind[runs.direction, runs.point] = APERIODIC
        self.state[runs.direction, runs.point] = runs.end

    def result(self) -> Oscillations:
        """Each attractor once, where both directions met the same."""
        up, down = self.kind
        # The same orbit, or several turns of it, has the same growth and a multiple period (next
        # to a bifurcation, which magnifies the steps' error, to some digits only).
        short, long = self.period.min(axis=0), self.period.max(axis=0)
        with np.errstate(invalid="ignore"):
            turns = np.round(long / short)
            same = np.abs(long / short - turns) < 1e-4
            same &= np.abs(self.growth[0] - self.growth[1]) * short < 0.2
        twice = (up == ORBIT) & (down == ORBIT) & same
        which = (self.period[:, twice].argmin(axis=0), np.flatnonzero(twice))
        for field in (self.state, self.period, self.growth):
            field[0, twice] = field[which]
        twice |= (up == APERIODIC) & (down == APERIODIC)
        keep = np.stack([up > 0, (down > 0) & ~twice])
        direction, point = np.nonzero(keep)
        which = (direction, point)
        return Oscillations(
            point,
            direction,
            self.kind[which],
            self.state[which],
            self.period[which],
            self.growth[which],
        )
