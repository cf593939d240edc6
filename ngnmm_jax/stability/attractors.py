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

from ngnmm_jax._core.lanes import map_chunks, take
from ngnmm_jax.dynamics.lockstep import Steps, least_return, settle, shoot
from ngnmm_jax.systems.family import Family

#: What a state is.
NOTHING, EQUILIBRIUM, ORBIT, APERIODIC = 0, 1, 2, 3

# A run has arrived at a stable equilibrium when it is this near, relative to 1 + |x|.
_ARRIVED = 1e-3
# A run may be periodic when it returns this near, and is near its orbit within this fraction
# of the orbit's extent.
_RETURNS, _NEAR = 2e-2, 0.2
# Every run starts off its neighbour's end by this fraction, so that it leaves what is unstable.
_KICK, _BIG_KICK = 1e-3, 2e-2
# Runs that a device takes in lock-step.
_LANES = 64


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


def find_oscillations(
    family: Family,
    points: dict[str, np.ndarray],
    swept: str,
    columns: int,
    rest: Rest,
) -> Oscillations:
    """The oscillating attractors at points that are whole lines, `columns` points in each.

    `points` (point,) has the parameter named `swept` as the one that varies along a line,
    fastest; `rest` are the equilibria at the same points.
    """
    n = points[swept].size
    runs = _march(family, points, swept, columns, rest)
    found = _Found(family, points, n, rest.states.shape[-1])
    left = runs.take(found.judge(runs, rest))
    if left.point.size:
        runs = _run(_LONG, family, take(points, left.point), left)
        left = runs.take(found.judge(runs, rest))
        found.add_aperiodic(found.from_neighbours(left, columns))
    return found.result()


class _Runs(NamedTuple):
    """Runs after their window: where they ended, and their least return."""

    point: np.ndarray
    direction: np.ndarray
    end: np.ndarray
    state: np.ndarray
    period: np.ndarray
    gap: np.ndarray
    low: np.ndarray
    high: np.ndarray
    still: np.ndarray

    def take(self, index: np.ndarray) -> "_Runs":
        return _Runs(*(field[index] for field in self))


def _marcher(
    transient: int, window: int, stride: int, same: float, kick: float
) -> Callable[[Family, Any], dict[str, jax.Array]]:
    """A function that runs along lines: each column from where the one before ended.

    `transient` and `window` are numbers of samples, `stride` of the model's tempo apart; `lanes`
    holds `start` (run, variable) and the parameters `points` (run, column); what it returns has
    shape (run, column, …).
    """

    def march(family: Family, lanes: Any) -> dict[str, jax.Array]:
        start = lanes["start"].T

        def column(x: jax.Array, point: dict[str, jax.Array]) -> tuple[jax.Array, Any]:
            inner = family.at(point)[0]
            field, steps = inner.vector_field, Steps.of(inner.model, x.shape[-1])
            x = jnp.where(jnp.isfinite(x).all(axis=0), x, start) * (1 + kick)
            end, path = settle(field, x, steps, transient=transient, samples=window, stride=stride)
            back = least_return(field, path, steps.tempo * stride, same)
            return end, {"end": end, **back._asdict()}

        by_column = jax.tree.map(lambda leaf: leaf.T, lanes["points"])
        _, result = jax.lax.scan(column, start, by_column)
        return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, -1, 0), result)

    return march


# Along a line, 100 and 250 ms of the paper's model; of what is left, 1200 and 1200 ms.
_SHORT = _marcher(500, 1_250, 4, 2e-3, _KICK)
_LONG = _marcher(12_000, 12_000, 2, 3e-4, _BIG_KICK)


def _march(
    family: Family, points: dict[str, np.ndarray], swept: str, columns: int, rest: Rest
) -> _Runs:
    """Every line, upwards (direction 0) and downwards (1)."""
    lines = points[swept].size // columns
    number = np.arange(lines * columns).reshape(lines, columns)
    both = np.concatenate([number, number[:, ::-1]])
    starts = np.stack([_start(rest, int(first)) for first in both[:, 0]])
    middle = np.mean(family.model.search_box(), axis=0)
    starts = np.where(np.isfinite(starts), starts, middle)
    lanes = {
        "start": starts * (1 + _BIG_KICK),
        "points": {name: value[both] for name, value in points.items()},
    }
    result = map_chunks(_SHORT, family, lanes, chunk=_LANES, progress=False, lockstep=True)
    flat = {
        name: value.reshape(2 * lines * columns, *value.shape[2:]) for name, value in result.items()
    }
    return _Runs(both.ravel(), np.repeat([0, 1], lines * columns), **flat)


def _start(rest: Rest, point: int) -> np.ndarray:
    """A stable equilibrium, else any, else NaN."""
    order = np.flatnonzero(rest.stable[point])
    if not order.size:
        order = np.flatnonzero(np.isfinite(rest.states[point, :, 0]))
    blank = np.full(rest.states.shape[-1], np.nan)
    return rest.states[point, order[0]] if order.size else blank


def _run(march: Any, family: Family, points: dict[str, np.ndarray], runs: _Runs) -> _Runs:
    """Runs that go on from their ends, each at its own point."""
    lanes = {
        "start": runs.end,
        "points": {name: value[:, None] for name, value in points.items()},
    }
    result = map_chunks(march, family, lanes, chunk=_LANES, progress=False, lockstep=True)
    return _Runs(runs.point, runs.direction, **{k: v[:, 0] for k, v in result.items()})


def _cycles(family: Family, lanes: Any) -> dict[str, jax.Array]:
    """Orbits refined from guesses by at most `iterations` of Newton's iterations."""
    inner, _ = family.at(lanes["point"])
    guess = lanes["state"].T
    strengths = jnp.broadcast_to(inner.coupling, guess.shape)
    cycle = shoot(
        inner.vector_field,
        lambda pair: inner.variational(pair, strengths),
        guess,
        lanes["period"],
        Steps.of(inner.model, guess.shape[-1]),
        lanes["iterations"].max(),
    )
    fields = {**cycle._asdict(), "converged": cycle.converged}
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, -1, 0), fields)


# Most runs converge at once; of the others, those as near as this, relative to 1 + |x|, are tried
# again apart, and keep none waiting.
_PROMISING = 1e-3
# An orbit is near a bifurcation when its slowest perturbation decays by less than this a period.
_SLOW = 0.3
_FIRST, _LONGER = 4, 10


def _own_growth(cycles: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Whether orbits are finite, and their largest Floquet exponent but the neutral one."""
    matrix, period = cycles["monodromy"], cycles["period"]
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
    same = np.abs(runs.period[up] - runs.period[down]) < 1e-3 * runs.period[up]
    extent = (runs.high - runs.low)[up]
    for side in (runs.low, runs.high):
        same &= (np.abs(side[up] - side[down]) < 0.03 * extent).all(axis=1)
    return up[same], down[same]


class _Found:
    """What has been found so far, and how the rest is judged."""

    def __init__(self, family: Family, points: dict[str, np.ndarray], n: int, variables: int):
        self.family, self.points = family, points
        self.kind = np.zeros((2, n), dtype=np.int8)
        self.state = np.full((2, n, variables), np.nan)
        self.period, self.growth = np.full((2, 2, n), np.nan)

    def judge(self, runs: _Runs, rest: Rest) -> np.ndarray:
        """Keep the runs that are on stable orbits; the indices of those not understood."""
        arrived = rest.distance(runs.point, runs.end) < _ARRIVED
        moving = ~arrived & ~runs.still & (runs.gap < _RETURNS)
        twins = _twins(runs, moving, self.kind.shape[1])
        once = np.flatnonzero(moving)[~np.isin(np.flatnonzero(moving), twins[1])]
        kept = once[self._refine(runs.take(once), near=_NEAR)]
        arrived[kept] = True
        arrived[twins[1][np.isin(twins[0], kept)]] = True
        return np.flatnonzero(~arrived)

    def _refine(self, runs: _Runs, near: float) -> np.ndarray:
        """Newton's iteration from runs' returns; the indices of those kept."""
        if not runs.point.size:
            return np.zeros(0, dtype=int)
        order = np.argsort(runs.period)  # what takes as long shares a chunk
        runs = runs.take(order)
        guess: dict[str, Any] = {
            "point": take(self.points, runs.point),
            "state": runs.state,
            "period": runs.period,
        }
        out = self._shoot(guess)
        finite, growth = _own_growth(out)
        # Next to a period doubling two turns of one orbit pass for one of two: count them again.
        slow = np.flatnonzero(out["converged"] & finite & (growth * out["period"] > -_SLOW))
        if slow.size:
            again = {
                "point": take(guess["point"], slow),
                "state": out["state"][slow],
                "period": out["period"][slow],
            }
            turns = self._cycles(again, 0)["turns"]
            some = np.flatnonzero(turns > 1)
            if some.size:
                again["period"] = again["period"] / turns
                shorter = self._shoot(jax.tree.map(lambda leaf: leaf[some], again))
                for name, value in shorter.items():
                    out[name][slow[some]] = value
                finite, growth = _own_growth(out)
        extent = np.maximum(out["high"] - out["low"], 1e-300)
        distance = (np.abs(out["state"] - runs.state) / extent).max(axis=1)
        good = out["converged"] & finite & (growth < 0) & (distance < near)
        which = (runs.direction[good], runs.point[good])
        self.kind[which] = ORBIT
        self.state[which] = out["state"][good]
        self.period[which] = out["period"][good]
        self.growth[which] = growth[good]
        return order[good]

    def _shoot(self, guess: dict[str, Any]) -> dict[str, np.ndarray]:
        """Newton's iteration from guesses: briefly, and longer for those that come near."""
        out: dict[str, np.ndarray] = {}
        left = np.arange(guess["period"].size)
        for iterations in (_FIRST, _LONGER):
            some = jax.tree.map(lambda leaf, left=left: leaf[left], guess)
            new = self._cycles(some, iterations)
            out = out or {name: np.empty_like(value) for name, value in new.items()}
            for name, value in new.items():
                out[name][left] = value
            left = left[~new["converged"] & (new["residual"] < _PROMISING)]
            if not left.size:
                break
        return out

    def _cycles(self, guess: dict[str, Any], iterations: int) -> dict[str, np.ndarray]:
        lanes = {**guess, "iterations": np.full(guess["period"].size, iterations)}
        return map_chunks(_cycles, self.family, lanes, chunk=_LANES, progress=False, lockstep=True)

    def from_neighbours(self, runs: _Runs, columns: int) -> _Runs:
        """Try the orbits next along the line; the runs for which none is an orbit."""
        for step in (-1, 1):
            beside = runs.point + step
            same_line = (beside >= 0) & (beside < self.kind.shape[1])
            same_line &= beside // columns == runs.point // columns
            beside = np.where(same_line, beside, runs.point)
            known = self.kind[runs.direction, beside] == ORBIT
            guess = runs.take(np.flatnonzero(known))
            where = (guess.direction, beside[known])
            guess = guess._replace(state=self.state[where], period=self.period[where])
            kept = self._refine(guess, near=np.inf)
            keep = np.ones(runs.point.size, dtype=bool)
            keep[np.flatnonzero(known)[kept]] = False
            runs = runs.take(np.flatnonzero(keep))
        return runs

    def add_aperiodic(self, runs: _Runs) -> None:
        """Whatever moves and was not understood."""
        runs = runs.take(np.flatnonzero(~runs.still & np.isfinite(runs.end).all(axis=1)))
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
