"""Curves of Hopf points of networks with delays, in two parameters, of which one may be the speed.

Along them a pair of characteristic roots lies on the imaginary axis: Re z = 0, z the root that is
followed with its equilibrium. In two parameters that is one equation, whose slopes are known from
the implicit function theorem: Euler's predictor along the curve, Newton's corrector across it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import known_name, leaf, one_for_all
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax._core.status import SolverError, Status
from ngnmm_jax.models.times import seconds_in
from ngnmm_jax.stability.roots import followed_root, spread
from ngnmm_jax.systems.loops import roots_right_of
from ngnmm_jax.systems.network import Network
from ngnmm_jax.systems.wide_loops import loop_of

# Steps, in widths of the bounds: the first, the longest and the shortest.
_FIRST, _LONGEST, _SHORTEST = 0.01, 0.05, 1e-6
# Newton's iterations of the corrector, what ends them and what a root's own correction may be,
# relative to the root; iterations of the root.
_CORRECTIONS, _DONE, _EXACT, _STEPS = 8, 1e-11, 1e-8, 6
# The largest angle between tangents, and change of the root, of a step.
_SHARPEST, _JUMP = 0.3, 0.1
# Roots this near to the axis, relative to the pair on it, are the pair.
_PAIR = 1e-6


class HopfCurve(AbstractResult):
    """Hopf points along a curve in two parameters.

    - `parameters`: their values (point,), by name.
    - `roots` (point,): i ω, per unit of the model's time; `frequency` in Hz.
    - `states` (point, variable, region): the equilibria.
    - `others` (point,): how many other roots grow, pairs counted once: 0 where the equilibrium
      loses its stability on the curve. `certified` (point,): whether that is certain.
    - `error` (point,): |Re z| that is left.
    - `status`: OK where the curve ends at bounds or closes; MAX_STEPS; STEP_TOO_SMALL.
    """

    parameters: dict[str, np.ndarray]
    roots: np.ndarray
    states: np.ndarray
    others: np.ndarray
    certified: np.ndarray
    error: np.ndarray
    status: np.ndarray
    time_unit: str = eqx.field(static=True)

    @property
    def stats(self) -> dict[str, Any]:
        """What is left of the real parts."""
        return {"error": self.error}

    @property
    def frequency(self) -> np.ndarray:
        """Of the oscillations that begin there (Hz)."""
        return np.abs(self.roots.imag) / (2 * np.pi * seconds_in(self.time_unit))

    def summary(self) -> dict[str, Any]:
        """The points, and whether stability changes at them."""
        shown: dict[str, Any] = {"points": self.roots.size, "parameters": self.parameters}
        return {**shown, "frequency": self.frequency, "others growing": self.others}


class _At(NamedTuple):
    """A point: scaled parameters, the root, its slopes by them, the equilibrium, the correction."""

    place: np.ndarray
    root: complex
    slope: np.ndarray
    state: np.ndarray
    error: float

    @property
    def across(self) -> np.ndarray:
        """Slope of the real part."""
        return self.slope.real

    @property
    def along(self) -> np.ndarray:
        """Unit vector along the curve."""
        way = np.array([-self.across[1], self.across[0]])
        return way / np.linalg.norm(way)


def continue_hopf(
    network: Network,
    state: ArrayLike,
    root: ArrayLike,
    bounds: Mapping[str, Any],
    *,
    max_points: int = 100,
    throw: bool = True,
) -> HopfCurve:
    """The curve of Hopf points on which a characteristic root lies, in two parameters.

    From the network's own parameters, at which the root need only be near the imaginary axis, in
    both directions to the bounds. At each point all roots right of the axis are counted. Where the
    curve meets a fold of equilibria or ω = 0 it ends with a status.

    **Arguments:**

    - `network`: with or without delays.
    - `state` (variable, region), or (variable,): its equilibrium.
    - `root`: complex, one of `dispersion(network, state).roots` with positive imaginary part.
    - `bounds`: low and high value of two parameters by name, as `{"speed": (2, 20), "i_ext_e": (0,
      16)}`; the curve is followed inside of them.
    - `max_points`: at most, in each direction.
    - `throw`: raise `SolverError` where no point is found, or a curve does not come to an end.
    """
    _checks.require_x64("continue_hopf")
    _checks.positive_integer("max_points", max_points)
    follower, guess = _Follower.of(network, bounds), complex(np.asarray(root))
    begin = follower.corrected(follower.start(spread(network, state), guess))
    if begin is None:
        must = "be near the imaginary axis, from where a Hopf point is found inside of the bounds"
        _checks.fail("root", must, f"it is {guess:.6g}, and none is found")
    one, first = follower.walk(begin, 1.0, max_points)
    other, second = ([], first) if first == "closed" else follower.walk(begin, -1.0, max_points)
    points = [*other[::-1], begin, *one]
    ends = {first, second}
    status = Status.STEP_TOO_SMALL if "step" in ends else Status.OK
    status = Status.MAX_STEPS if "points" in ends else status
    result = follower.result(points, status)
    if throw and status != Status.OK:
        raise SolverError("continue_hopf", status, result)
    return result


class _Follower(NamedTuple):
    network: Network
    names: tuple[str, ...]
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, network: Network, bounds: Mapping[str, Any]) -> "_Follower":
        """With the bounds checked."""
        if not isinstance(bounds, Mapping) or len(bounds) != 2:
            _checks.fail("bounds", "name two parameters", f"it is {bounds!r}")
        for name, pair in bounds.items():
            known_name(name, network, argument="bounds")
            one_for_all(network, name, "continue with other parameters")
            values = np.asarray(pair, float)
            if values.shape != (2,) or not np.isfinite(values).all() or values[0] >= values[1]:
                _checks.fail(name, "have a low and a high bound", f"it has {pair!r}")
        low, high = np.array([bounds[name] for name in bounds], float).T
        here = np.array([float(leaf(network, name)) for name in bounds])
        if ((here < low) | (here > high)).any():
            must = "hold the network's own values"
            _checks.fail("bounds", must, f"these are {here.tolist()}")
        return cls(network.bare(), tuple(bounds), low, high)

    def start(self, state: Any, root: complex) -> _At:
        """The network as it is."""
        here = np.array([float(leaf(self.network, name)) for name in self.names])
        return self.at((here - self.low) / (self.high - self.low), state, root)

    def at(self, place: np.ndarray, state: Any, root: complex) -> _At:
        """The root near a guess, at scaled parameters."""
        scale = self.high - self.low
        values = as_array(self.low + place * scale)
        found = _slopes(self.network, self.names, values, as_array(state), as_array(root))
        z, slope, equilibrium, error = jax.device_get(found)
        return _At(place, complex(z), slope * scale, equilibrium, float(error))

    def corrected(self, at: _At, fixed: int | None = None) -> _At | None:
        """The point of the curve next to one; with one parameter fixed, if asked for."""
        for _ in range(_CORRECTIONS):
            if not np.isfinite(at.root) or not at.error <= _EXACT * abs(at.root):
                return None
            if abs(at.root.real) <= _DONE * abs(at.root):
                return at if at.root.imag > _PAIR * abs(at.across).max() else None
            way = at.across.copy()
            if fixed is not None:
                way[fixed] = 0.0
            if not way.any():
                return None
            move = -at.root.real * way / (way @ way)
            guess = at.root + complex(at.slope @ move)
            at = self.at(at.place + move, at.state, guess)
        return None

    def ahead(self, at: _At, move: np.ndarray, fixed: int | None = None) -> _At | None:
        """The point after a step, if it is near the one that was predicted."""
        place = at.place + move
        values = self.low + place * (self.high - self.low)
        if (values[self.low > 0] <= 0).any():  # a speed, say
            return None
        predicted = self.at(place, at.state, at.root + complex(at.slope @ move))
        after = self.corrected(predicted, fixed)
        if after is None:
            return None
        turned = np.arccos(np.clip(abs(after.along @ at.along), 0, 1))
        near = np.linalg.norm(after.place - place) <= np.linalg.norm(move)
        small = abs(after.root - at.root) <= _JUMP * abs(at.root)
        return after if turned <= _SHARPEST and near and small else None

    def walk(self, begin: _At, sign: float, most: int) -> tuple[list[_At], str]:
        """Points after a first one, and why they end."""
        points: list[_At] = []
        at, length, way = begin, _FIRST, sign * begin.along
        while len(points) < most:
            after = self.ahead(at, length * way)
            if after is None:
                length /= 2
                if length < _SHORTEST:
                    return points, "step"
                continue
            outside = np.flatnonzero((after.place < 0) | (after.place > 1))
            if outside.size:
                return points + self.edge(at, after, int(outside[0])), "bound"
            points.append(after)
            forward = after.place - at.place
            back = begin.place - after.place
            if len(points) > 3 and np.linalg.norm(back) < length and back @ forward > 0:
                return points, "closed"
            way = after.along if after.along @ forward > 0 else -after.along
            at, length = after, min(1.5 * length, _LONGEST)
        return points, "points"

    def edge(self, at: _At, after: _At, which: int) -> list[_At]:
        """The point where the curve leaves the bounds by a parameter."""
        bound = float(np.clip(after.place[which], 0, 1))
        gap = after.place[which] - at.place[which]
        move = (after.place - at.place) * (bound - at.place[which]) / gap
        if np.linalg.norm(move) <= _SHORTEST:
            return []
        last = self.ahead(at, move, which)
        inside = last is not None and ((last.place >= -1e-9) & (last.place <= 1 + 1e-9)).all()
        return [last] if inside and last is not None else []

    def result(self, points: list[_At], status: Status) -> HopfCurve:
        """All roots right of the axis counted."""
        places = np.array([at.place for at in points])
        values = self.low + places * (self.high - self.low)
        others, certified = [], []
        for at, value in zip(points, values, strict=True):
            here = self.network.with_parameters(**dict(zip(self.names, value, strict=True)))
            found = roots_right_of(loop_of(here, at.state), 0.0).found
            pair = np.abs(found.values - at.root) <= _PAIR * abs(at.root)
            others.append(int((~pair & (found.values.real > found.errors)).sum()))
            certified.append(found.certified)
        roots = np.array([at.root for at in points])
        if not all(np.isfinite(at.state).all() for at in points):
            status = Status.NOT_CONVERGED
        return HopfCurve(
            parameters={name: values[:, k] for k, name in enumerate(self.names)},
            roots=roots,
            states=np.array([at.state for at in points]),
            others=np.array(others),
            certified=np.array(certified),
            error=np.abs(roots.real),
            status=np.asarray(status),
            time_unit=self.network.model.time_unit,
        )


@eqx.filter_jit
def _slopes(
    network: Any, names: tuple[str, ...], values: jax.Array, state: jax.Array, guess: jax.Array
) -> tuple[jax.Array, ...]:
    """A root, its derivatives (parameter,), the equilibrium, and the root's last correction."""

    def root(values: jax.Array) -> Any:
        here = network.with_parameters(**dict(zip(names, values, strict=True)))
        z, error, equilibrium = followed_root(here, state, guess, _STEPS)
        return jnp.stack([z.real, z.imag]), (z, equilibrium, error)

    slope, (z, equilibrium, error) = jax.jacfwd(root, has_aux=True)(values)
    return z, slope[0] + 1j * slope[1], equilibrium, error
