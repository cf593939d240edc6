"""All roots of scalar functions, and their number for certain: branch and prune, in NumPy.

A function is given along a curve, with bounds on its slope between two points. An interval whose
slope has one sign holds one root or none, as the signs at its ends say; one whose bounds keep the
function off zero holds none; any other is halved. What is left where an interval is as narrow as
rounding is in doubt: two roots that rounding cannot tell apart, or a double one.

Many functions are treated at once, as flat lists of intervals that each have an owner. Whatever is
computed of one does not depend on the others.

Source: Piyavskii's bounds from both ends; Moore, Kearfott and Cloud, Introduction to Interval
Analysis (2009), ch. 8.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

# An interval as narrow as this, relative to its place, is not halved again (where a curve turns
# `inner` is less narrow, and the second pair holds); nor is one of the last width between whose
# ends the function is zero to rounding.
_NARROW, _NARROWEST, _NARROW_INNER, _NARROW_NOISE = 1e-10, 1e-15, 1e-7, 1e-5
# Halvings at most; intervals of one function that are halved at once at most (of a function that
# is zero to rounding over a stretch there would be no end).
_HALVINGS, _INTERVALS = 200, 4000
# Newton's iterations in an interval at most; every third step halves it.
_STEPS, _DONE = 200, 1e-12
# Functions treated together: what fits into a processor's cache.
_TOGETHER = 2048


class Points(NamedTuple):
    """Points of curves, (point,) each.

    - `x`: the place along the curve; `inner`: whatever else is needed to say where it is.
    - `value`: of the function; `margin`: what its rounding error is surely below.
    """

    x: Any
    inner: Any
    value: Any
    margin: Any

    def take(self, index: Any) -> "Points":
        """Some of them."""
        return Points(*(field[index] for field in self))


@dataclasses.dataclass(frozen=True)
class CertainReduction:
    """Functions whose roots are all equilibria of many systems, with bounds on their slopes.

    All arguments and results are NumPy arrays of 64 bits over a flat list of points; `owner`
    (point,) is the system that each belongs to, `branch` (point,) the branch of its curve.

    - `pieces`: `owner`, `branch`, and the points at the left and at the right ends of intervals
      that together hold all roots; `value` must not be zero at an end that is none of another.
    - `at(owner, branch, x, low, high)`: the points at x, whose `inner` is between two values.
    - `slopes(owner, branch, left, right)`: bounds, from below and from above, on the slope
      between two points.
    - `split(owner, branch, left, right)`: a summand of the function that is monotone between two
      points, at the left and at the right, and bounds on the slope of the rest: what there are
      bounds on where that of the whole is steep. None where it is nowhere.
    - `states(owner, branch, points)` (point, variable): the systems' states there.
    - `positive`: whether x is positive, and ranges over orders of magnitude.
    """

    pieces: tuple[Any, Any, Points, Points]
    at: Callable[[Any, Any, Any, Any, Any], Points]
    slopes: Callable[[Any, Any, Points, Points], tuple[Any, Any]]
    states: Callable[[Any, Any, Points], Any]
    positive: bool
    split: Callable[[Any, Any, Points, Points], tuple[Any, Any, Any, Any]] | None = None

    def middle(self, left: Any, right: Any) -> Any:
        """Where an interval is halved."""
        return np.sqrt(left) * np.sqrt(right) if self.positive else (left + right) / 2


def over_interval(
    low: Any,
    high: Any,
    value: Callable[[Any, Any], tuple[Any, Any]],
    slopes: Callable[[Any, Any, Any], tuple[Any, Any]],
    states: Callable[[Any, Any], Any],
) -> CertainReduction:
    """The reduction of systems whose equilibria are roots of a function on an interval.

    All in NumPy, elementwise over a flat list of points, each of the system that `owner` says.

    **Arguments:**

    - `low`, `high` (system,): ends of the interval, at which the function is not zero.
    - `value(owner, x)`: the function, and what its rounding error is surely below: some units of
      rounding of its largest term.
    - `slopes(owner, left, right)`: bounds, from below and from above, on the slope between two
      places.
    - `states(owner, x)` (point, variable): the systems' states there.
    """

    def at(owner: Any, branch: Any, x: Any, low: Any, high: Any) -> Points:
        del branch, low, high
        return Points(x, x, *value(owner, x))

    low, high = np.asarray(low, float), np.asarray(high, float)
    owner = np.arange(low.size)
    left, right = (at(owner, owner, x, x, x) for x in (low, high))
    return CertainReduction(
        pieces=(owner, np.zeros_like(owner), left, right),
        at=at,
        slopes=lambda owner, branch, left, right: slopes(owner, left.x, right.x),
        states=lambda owner, branch, points: states(owner, points.x),
        positive=False,
    )


class Roots(NamedTuple):
    """Roots of many functions.

    - `owner` (root,), by rising owner; `states` (root, variable).
    - `doubtful` (function,): that there may be others, or fewer, of roots nearer to each other
      than rounding tells apart; those in doubt are listed, too, perhaps more than once.
    """

    owner: Any
    states: Any
    doubtful: Any


def certain_roots(reduce: Callable[[Any], CertainReduction], systems: Any, count: int) -> Roots:
    """All roots of the functions that `reduce` makes of systems, some of them at a time.

    `systems` is a PyTree of NumPy arrays, each with an axis (system,) of length `count`.
    """
    parts = []
    for begin in range(0, count, _TOGETHER):
        some = slice(begin, begin + _TOGETHER)
        with np.errstate(all="ignore"):  # of what is not finite nothing is certain, and said so
            part = _roots(reduce(jax.tree.map(lambda leaf, some=some: leaf[some], systems)),
                          min(_TOGETHER, count - begin))  # fmt: skip
        parts.append(part._replace(owner=part.owner + begin))
    return Roots(*(np.concatenate(field) for field in zip(*parts, strict=True)))


def _roots(reduction: CertainReduction, count: int) -> Roots:
    where, left, right, doubtful, vague = _isolated(reduction, count)
    points = _narrowed(reduction, where, left, right)
    doubtful |= np.bincount(vague[0], minlength=count).astype(bool)
    owner = np.concatenate([where[0], vague[0]])
    branch = np.concatenate([where[1], vague[1]])
    points = Points(*(np.concatenate(both) for both in zip(points, vague[2], strict=True)))
    states = reduction.states(owner, branch, points)
    order = np.argsort(owner, kind="stable")
    return Roots(owner[order], states[order], doubtful)


def _isolated(reduction: CertainReduction, count: int) -> tuple[Any, ...]:
    """Intervals that hold one root each; owners in doubt; and where these may have more."""
    owner, branch, left, right = reduction.pieces
    doubtful = np.bincount(owner, minlength=count) == 0  # of what is not finite
    single: list[tuple[Any, Any, Points, Points]] = []
    vague: list[tuple[Any, Any, Points]] = []
    for _ in range(_HALVINGS):
        if not owner.size:
            break
        low, high = reduction.slopes(owner, branch, left, right)
        monotone = (low > 0) | (high < 0)
        crosses = (left.value > 0) != (right.value > 0)
        one = monotone & crosses
        none = (monotone & ~crosses) | _apart(left, right, low, high)
        if reduction.split is not None:
            part = reduction.split(owner, branch, left, right)
            none |= _apart(left, right, part[2], part[3], part[:2])
        width, inner_width = _relative(left.x, right.x), _relative(left.inner, right.inner)
        known = np.isfinite(left.value) & np.isfinite(right.value) & np.isfinite(width)
        one, none = one & known, none & known
        single.append((owner[one], branch[one], left.take(one), right.take(one)))
        noise = (np.abs(left.value) <= left.margin) & (np.abs(right.value) <= right.margin)
        open_ = ~one & ~none
        narrow = (width <= _NARROW) & (inner_width <= _NARROW_INNER) | (width <= _NARROWEST)
        stop = open_ & (narrow | (noise & (width <= _NARROW_NOISE)) | ~known)
        vague += [(owner[stop], branch[stop], p.take(stop)) for p in (left, right)]
        halve = np.flatnonzero(open_ & ~stop)
        many = np.bincount(owner[halve], minlength=count) > _INTERVALS
        doubtful |= many
        halve = halve[~many[owner[halve]]]
        owner, branch, left, right = (
            owner[halve],
            branch[halve],
            left.take(halve),
            right.take(halve),
        )
        x = reduction.middle(left.x, right.x)
        inner = np.minimum(left.inner, right.inner), np.maximum(left.inner, right.inner)
        centre = reduction.at(owner, branch, x, *inner)
        owner, branch = np.tile(owner, 2), np.tile(branch, 2)
        left, right = joined([left, centre]), joined([centre, right])
    doubtful |= np.bincount(owner, minlength=count).astype(bool)
    found = tuple(np.concatenate([part[k] for part in single]) for k in (0, 1))
    ends = tuple(joined([part[k] for part in single]) for k in (2, 3))
    unclear = (
        *(np.concatenate([p[k] for p in vague]) for k in (0, 1)),
        joined([p[2] for p in vague]),
    )
    return found, *ends, doubtful, unclear


def joined(parts: Sequence[Points]) -> Points:
    """One list of points of several."""
    return Points(*(np.concatenate(fields) for fields in zip(*parts, strict=True)))


def _relative(left: Any, right: Any) -> Any:
    return np.abs(right - left) / np.maximum(np.abs(left), np.abs(right))


def _apart(
    left: Points, right: Points, low: Any, high: Any, summand: tuple[Any, Any] = (0.0, 0.0)
) -> Any:
    """Whether bounds on the slope keep a function off zero between two points of one sign.

    Or on that of the rest, where a `summand` is between its values at the two.
    """
    sign = np.sign(left.value)
    one, other = summand
    lowest = np.minimum(one * sign, other * sign)
    # Of the rest and the least of the summand: no more than the values.
    a = np.abs(left.value) - (one * sign - lowest)
    b = np.abs(right.value) - (other * sign - lowest)
    # Turned so that the values are positive: it falls by `down` at most, then rises by `up`.
    down = np.where(sign > 0, low, -high)
    up = np.where(sign > 0, high, -low)
    width = right.x - left.x
    least = (up * a - down * b + up * down * width) / (up - down)
    margin = np.maximum(left.margin, right.margin)
    least = np.where((down < 0) & (up > 0), least, np.minimum(a, b))
    return (sign == np.sign(right.value)) & (least > margin)


def _narrowed(reduction: CertainReduction, where: Any, left: Points, right: Points) -> Points:
    """The roots in intervals that hold one each: Newton's iteration, halving every third time."""
    (owner, branch), rising = where, right.value > left.value
    result = reduction.at(owner, branch, reduction.middle(left.x, right.x), *_sorted(left, right))
    left_, here, which = left, result, np.arange(owner.size)
    right_ = right
    fields = [np.array(field) for field in result]
    for step in range(_STEPS):
        if not which.size:
            break
        below = (here.value > 0) != rising
        left_ = Points(*(np.where(below, h, e) for h, e in zip(here, left_, strict=True)))
        right_ = Points(*(np.where(below, e, h) for h, e in zip(here, right_, strict=True)))
        better = np.abs(left_.value) < np.abs(right_.value)
        here = Points(*(np.where(better, a, b) for a, b in zip(left_, right_, strict=True)))
        slope = sum(reduction.slopes(owner, branch, here, here)) / 2
        x = here.x - here.value / slope
        inside = (x > left_.x) & (x < right_.x) & (step % 3 != 2)
        near = (np.abs(x - here.x) <= _DONE * np.abs(here.x)) & np.isfinite(slope)
        x = np.where(inside, x, reduction.middle(left_.x, right_.x))
        for field, value in zip(fields, here, strict=True):
            field[which] = value
        width, inner_width = _relative(left_.x, right_.x), _relative(left_.inner, right_.inner)
        wide = (width > _DONE) | ((inner_width > _DONE) & (width > _NARROWEST))
        go = np.flatnonzero(~near & wide)
        owner, branch, rising, which, x = (a[go] for a in (owner, branch, rising, which, x))
        left_, right_ = left_.take(go), right_.take(go)
        here = reduction.at(owner, branch, x, *_sorted(left_, right_))
    return Points(*fields)


def _sorted(left: Points, right: Points) -> tuple[Any, Any]:
    return np.minimum(left.inner, right.inner), np.maximum(left.inner, right.inner)
