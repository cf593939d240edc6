"""Pseudo-arclength continuation of any problem: steps, events between them, ends.

The problem says how a point is corrected and what happens between two points; this file
chooses the steps, and locates what happens by a root of the problem's test functions.

Source: Keller, in Applications of Bifurcation Theory (1977); Kuznetsov, Elements of Applied
Bifurcation Theory, ch. 10.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Protocol, runtime_checkable

import equinox as eqx
import jax
import numpy as np
from scipy.optimize import brentq

from ngnmm_jax._core.status import Status

# The angle between successive tangents that steps aim at, in radians, and the largest allowed.
_ANGLE, _SHARPEST = 0.1, 0.4
_GROW, _SHRINK = 1.6, 0.5
# More Newton iterations than this ask for a shorter step.
_MANY = 6


class Step(eqx.Module):
    """A point of a curve, and what the next step needs; all but the first two on the host.

    - `point`, `tangent`: of the problem's own kind.
    - `parameters` (parameter,), `turning` (parameter,): their values, and the tangent's.
    - `spectrum` (dimension,): eigenvalues; of cycles, logarithms of the multipliers.
    - `unstable`: how many of them grow.
    - `tests`: of equilibria, by name: among them functions whose zeros are special points.
    - `cycle`: what is measured of cycles, a `Measures`; None of equilibria.
    - `distance`: of the point from its prediction; `angle`: between its tangent and the last.
    - `iterations`, `converged`: of Newton's.
    """

    point: Any
    tangent: Any
    parameters: Any = None
    turning: Any = None
    spectrum: Any = None
    unstable: Any = None
    tests: Any = None
    cycle: Any = None
    distance: Any = None
    angle: Any = None
    iterations: Any = None
    converged: Any = None


@dataclasses.dataclass(frozen=True)
class Event:
    """What may happen between two points.

    - `kind`: its name.
    - `value(step)`: a function that passes through zero there.
    - `changes`: by how much it changes the number of unstable directions.
    - `ends`: whether the curve ends there.
    - `genuine(step)`: whether what was located is one.
    """

    kind: str
    value: Callable[[Step], float]
    changes: int = 0
    ends: bool = False
    genuine: Callable[[Step], bool] = lambda step: True


@dataclasses.dataclass(frozen=True)
class Special:
    """A special point, located: what it is, the curve's point there, and how that went."""

    event: Event
    step: Step
    status: Status


@runtime_checkable
class Problem(Protocol):
    """What is followed. `exhaustive`: whether `events` accounts for all changes of stability."""

    exhaustive: ClassVar[bool]

    def advance(self, step: Step, length: float) -> Step:
        """The point of the curve at a distance from another one (0: the same, corrected)."""
        ...

    def events(self, before: Step, after: Step) -> list[Event]:
        """What happens between two points."""
        ...

    def finished(self, step: Step) -> str | None:
        """The reason why the curve ends here, if it does."""
        ...

    def reach(self, step: Step) -> float:
        """The longest step from here that makes sense."""
        ...

    def refined(self, step: Step, *, needed: bool = False) -> Step:
        """The same point, represented as its accuracy needs."""
        ...


@dataclasses.dataclass(frozen=True)
class Limits:
    """Of a curve: the parameters' bounds, steps in units of arclength, number of points."""

    low: np.ndarray
    high: np.ndarray
    shortest: float
    longest: float
    points: int

    def contain(self, parameters: np.ndarray, slack: float = 1e-12) -> bool:
        """Whether parameters are within the bounds, but for a fraction of their width."""
        slack = slack * (self.high - self.low)
        return bool(((parameters >= self.low - slack) & (parameters <= self.high + slack)).all())


@dataclasses.dataclass
class Curve:
    """Points along a curve, special ones included (with their places), and its ends.

    `unexplained`: changes of stability that no special point accounts for.
    """

    steps: list[Step]
    special: list[tuple[int, Special]]
    ends: tuple[str, str]
    status: Status
    unexplained: int = 0


def follow(
    problem: Problem,
    start: Step,
    limits: Limits,
    *,
    first: float | None = None,
    tick: Callable[[Step], None] = lambda step: None,
) -> Curve:
    """The curve from a corrected point along its tangent, up to a bound or an end."""
    curve = Curve([start], [], ("start", "points"), Status.MAX_STEPS)
    for after, special in _walk(problem, start, limits, first, curve):
        for point in special:
            curve.special.append((len(curve.steps), point))
            curve.steps.append(point.step)
        if not (special and special[-1].step is after):
            curve.steps.append(after)
        tick(after)
    return curve


def _walk(
    problem: Problem, step: Step, limits: Limits, first: float | None, curve: Curve
) -> Iterator[tuple[Step, list[Special]]]:
    length = first or limits.longest / 4
    begin = step
    for count in range(1, limits.points):
        while True:
            after = problem.advance(step, length)
            if _good(after, length):
                special = _between(problem, step, after, length)
                if special is not None:
                    break
                if length < 20 * limits.shortest:
                    special = []
                    curve.unexplained += 1
                    break
            length *= _SHRINK
            if length < limits.shortest:
                finer = problem.refined(step, needed=True)
                if finer is step:
                    curve.ends, curve.status = ("start", "step"), Status.STEP_TOO_SMALL
                    return
                step, length = finer, limits.longest / 10
        last = next((s for s in special if s.event.ends), None)
        if last is not None:
            curve.ends, curve.status = ("start", last.event.kind), Status.OK
            yield last.step, special[: special.index(last) + 1]
            return
        if not limits.contain(np.asarray(after.parameters)):
            edge = _at_bound(problem, step, after, length, limits)
            inside = [s for s in special if limits.contain(np.asarray(s.step.parameters))]
            curve.ends, curve.status = ("start", "bound"), Status.OK
            yield edge, inside
            return
        yield after, special
        if (reason := problem.finished(after)) is not None:
            curve.ends, curve.status = ("start", reason), Status.OK
            return
        if count > 3 and _closed(begin, step, after):
            curve.ends, curve.status = ("start", "closed"), Status.OK
            return
        angle = max(float(after.angle), 1e-3)
        growth = min(_GROW, np.sqrt(_ANGLE / angle) if angle > _ANGLE else _ANGLE / angle)
        if int(after.iterations) > _MANY:
            growth = min(growth, _SHRINK)
        step = problem.refined(after)
        length = min(length * growth, limits.longest, problem.reach(after))
        length = max(length, limits.shortest)


def _good(after: Step, length: float) -> bool:
    return bool(
        after.converged
        and np.isfinite(float(after.distance))
        and float(after.angle) < _SHARPEST
        and float(after.distance) < length
    )


def _between(problem: Problem, before: Step, after: Step, length: float) -> list[Special] | None:
    """What happens between two points, located, in its order.

    None where it does not account for the change in the number of unstable directions: the step
    is too long to tell.
    """
    events = problem.events(before, after)
    special = [s for e in events if (s := locate(problem, before, after, length, e))]
    change = abs(int(after.unstable) - int(before.unstable))
    possible = sum(s.event.changes for s in special)
    ending = any(s.event.ends for s in special)
    if problem.exhaustive and not ending and (change > possible or (possible - change) % 2):
        return None
    return sorted(special, key=lambda s: float(s.step.distance))


def locate(
    problem: Problem, before: Step, after: Step, length: float, event: Event
) -> Special | None:
    """The zero of an event's function between two points; None where it only jumps."""
    found: dict[float, Step] = {0.0: before, length: after}

    def value(s: float) -> float:
        if s not in found:
            found[s] = problem.advance(before, s)
        return event.value(found[s])

    low, high = value(0.0), value(length)
    options = {"xtol": 1e-13 * length, "rtol": 1e-13, "maxiter": 60, "disp": False}
    try:
        root, report = brentq(value, 0.0, length, full_output=True, **options)
    except ValueError:  # no change of sign, or not known in between
        return None
    step = found[root] if root in found else problem.advance(before, root)
    # A jump in the function is no zero of it.
    smooth = abs(event.value(step)) <= 1e-4 * max(abs(low), abs(high))
    if not smooth or not event.genuine(step):
        return None
    at = eqx.tree_at(lambda s: s.distance, step, np.asarray(root))
    ok = bool(step.converged) and report.converged
    return Special(event, at, Status.OK if ok else Status.NOT_CONVERGED)


def _at_bound(problem: Problem, before: Step, after: Step, length: float, limits: Limits) -> Step:
    """The point where the curve leaves the bounds."""

    def outside(step: Step) -> float:
        p = np.asarray(step.parameters)
        return float(np.maximum(limits.low - p, p - limits.high).max())

    if outside(before) >= 0:  # it began on the bound
        return before
    root = brentq(lambda s: outside(problem.advance(before, s)), 0.0, length, xtol=1e-12 * length)
    return problem.advance(before, root)


def _closed(begin: Step, before: Step, after: Step) -> bool:
    """Whether the curve passes its beginning again, in the same direction."""
    a, b, c = (np.asarray(s.parameters) for s in (before, after, begin))
    way = b - a
    if not (way @ (c - a) > 0 and way @ (c - b) <= 0):
        return False
    aside = (c - a) - way * (way @ (c - a)) / (way @ way)
    near = np.abs(aside).max() <= 0.05 * np.abs(way).max()
    turned = np.asarray(begin.turning) @ np.asarray(after.turning) > 0
    now, then = (np.sort(np.asarray(step.spectrum).real) for step in (begin, after))
    same = bool(np.allclose(now, then, rtol=0.2, atol=0.05))
    if begin.cycle is not None:
        same &= bool(np.isclose(begin.cycle.period, after.cycle.period, rtol=0.05))
    return bool(near and same and turned)


def ranked(values: Callable[[Step], np.ndarray], rank: int) -> Callable[[Step], float]:
    """The value of a rank, from the largest (1) down; NaN where there are not so many."""

    def value(step: Step) -> float:
        every = values(step)
        return float(np.sort(every)[-rank]) if 1 <= rank <= every.size else float("nan")

    return value


def tested(name: str) -> Callable[[Step], float]:
    """One of the steps' tests."""
    return lambda step: float(step.tests[name])


def concrete(step: Step) -> Step:
    """The step with its small fields on the host."""
    large = ("point", "tangent")
    names = [field.name for field in dataclasses.fields(Step) if field.name not in large]
    small = jax.device_get({name: getattr(step, name) for name in names})
    return Step(point=step.point, tangent=step.tangent, **small)


def reverse(step: Step) -> Step:
    """The same point, facing the other way."""
    tangent = jax.tree.map(lambda leaf: -leaf, step.tangent)
    if hasattr(tangent, "mesh"):
        tangent = eqx.tree_at(lambda t: t.mesh, tangent, step.tangent.mesh)
    return eqx.tree_at(lambda s: (s.tangent, s.turning), step, (tangent, -step.turning))


def joined(backward: Curve, forward: Curve) -> Curve:
    """One curve of two that go opposite ways from the same point."""
    last = len(backward.steps) - 1
    special = [(last - index, point) for index, point in backward.special][::-1]
    special += [(last + index, point) for index, point in forward.special]
    return Curve(
        backward.steps[::-1] + forward.steps[1:],
        special,
        (backward.ends[1], forward.ends[1]),
        max(backward.status, forward.status),
        backward.unexplained + forward.unexplained,
    )
