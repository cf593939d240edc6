r"""Where two QIF populations rest: all equilibria of `NextGenEI`'s equations, for certain.

With x = π tau r of each population, at rest s = r and v = -delta / (2 x), and what is left is

    g_e(x_e) = I_e + a x_e - b x_i,    g_i(x_i) = I_i + d x_e - h x_i,    g(x) = x² - (delta / 2x)².

The second is a curve: F(x_i) = d x_e with F(x) = g_i(x) + h x - I_i, which rises where h ≥ 0 and
otherwise may rise, fall and rise again. On each of these branches x_i follows from x_e, as a
monotone function, and G(x_e) = g_e(x_e) - a x_e - I_e + b x_i is left. Its slope is
g_e' - a + b d / F'(x_i), where g' is convex with a known minimum: bounds on it between two points
are exact. All roots lie between bounds of Cauchy's kind.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core.certain_roots import CertainReduction, Points, joined

_EPS = float(np.finfo(float).eps)
_TINY = 1e-30
# Newton's iterations for a population's quartic, from the start that `partner` makes: enough.
_NEWTON_STEPS = 15
# Iterations at most for x_i, and for the ends of branches; the step that ends the former.
_STEPS, _CLOSE = 200, 1e-14


class Rest(NamedTuple):
    """The equations' coefficients, (system,) each; `current` are I, `delta` half widths."""

    current_e: Any
    current_i: Any
    delta_e: Any
    delta_i: Any
    a: Any
    b: Any
    d: Any
    h: Any


def bounds(c: Rest, xp: Any) -> tuple[Any, Any, Any, Any]:
    """Lowest and highest x_e, and x_i, of anything that solves the equations.

    What solves x² = p x + q + (delta / 2x)² is below |p| + sqrt|q| + sqrt(delta / 2); x_e with x_i
    put in so is below R + sqrt|b| (|d| x_e)^(1/4), hence below 2 R or below the second term alone.
    """
    a, b, d, h = (xp.abs(k) for k in (c.a, c.b, c.d, c.h))
    rest_i = h + xp.sqrt(xp.abs(c.current_i)) + xp.sqrt(c.delta_i / 2)
    rest_e = a + xp.sqrt(xp.abs(c.current_e) + b * rest_i) + xp.sqrt(c.delta_e / 2)
    high_e = 1.1 * xp.maximum(2 * rest_e, 2.52 * xp.cbrt(b * b * d))
    high_i = 1.1 * (h + xp.sqrt(xp.abs(c.current_i) + d * high_e) + xp.sqrt(c.delta_i / 2))
    most_e = (high_e + a) * high_e + xp.abs(c.current_e) + b * high_i
    most_i = (high_i + h) * high_i + xp.abs(c.current_i) + d * high_e
    return c.delta_e / (4 * xp.sqrt(most_e)), high_e, c.delta_i / (4 * xp.sqrt(most_i)), high_i


def start(c: Rest, k: Any, xp: Any) -> Any:
    """A place above the positive root of x⁴ + h x³ - k x² - delta²/4 where h ≥ 0, by a factor < 3.

    Newton's iteration on the quartic falls monotonely from there to the root, of which there is
    one (Descartes).
    """
    part, less = xp.maximum(k, 0.0), xp.maximum(-k, _TINY)
    by_rate = 2 * part / (c.h + xp.sqrt(c.h * c.h + 4 * part) + _TINY)
    square = c.delta_i * c.delta_i / 4
    by_width = xp.minimum(xp.sqrt(c.delta_i / 2), xp.cbrt(square / (c.h + _TINY)))
    below = xp.minimum(by_width, c.delta_i / (2 * xp.sqrt(less)))
    return xp.where(k < 0, below, by_rate + by_width)


def ends(c: Rest) -> tuple[Any, Any]:
    """The ends of log x, which is that of x_e where h ≥ 0 and else of x_i: of `pair`."""
    low_e, high_e, low_i, high_i = bounds(c, jnp)
    one = c.h >= 0
    return jnp.log(jnp.where(one, low_e, low_i)), jnp.log(jnp.where(one, high_e, high_i))


def pair(c: Rest, u: Any) -> tuple[Any, Any]:
    """x_e and x_i on the curve at a place, as part of a program; NaN where there is no x_e.

    Where h ≥ 0, x_i is the only partner of x_e; where h < 0, x_e that of x_i, which there is none
    of where d = 0.
    """
    x, one = jnp.exp(u), c.h >= 0
    x_e = jnp.where(one, x, curve(c, x) / jnp.where(c.d == 0, 1.0, c.d))
    return jnp.where(x_e > 0, x_e, jnp.nan), jnp.where(one, partner(c, x), x)


def partner(c: Rest, x_e: Any) -> Any:
    """x_i at x_e where h ≥ 0, as part of a program."""
    value = c.d * x_e

    def step(_: Any, x: Any) -> Any:
        return x + _quartic_step(c, x, value)

    return jax.lax.fori_loop(0, _NEWTON_STEPS, step, start(c, value + c.current_i, jnp))


def reduction(c: Rest, states: Any) -> CertainReduction:
    """The roots of G on all branches; `states(owner, x_e, x_i)` are the model's there."""

    def of(owner: Any) -> Rest:
        return Rest(*(k[owner] for k in c))

    def at(owner: Any, branch: Any, x: Any, low: Any, high: Any) -> Points:
        here = of(owner)
        return _points(here, x, _inner(here, branch, here.d * x, low, high))

    def slopes(owner: Any, branch: Any, left: Points, right: Points) -> tuple[Any, Any]:
        return _slopes(of(owner), branch, left, right)

    def split(owner: Any, branch: Any, left: Points, right: Points) -> tuple[Any, ...]:
        del branch
        here = of(owner)
        rest = _between(here.delta_e, here.a, left.x, right.x)
        return here.b * left.inner, here.b * right.inner, *rest

    return CertainReduction(
        pieces=_pieces(c, at),
        at=at,
        slopes=slopes,
        split=split,
        states=lambda owner, branch, points: states(owner, points.x, points.inner),
        positive=True,
    )


def _rise(x: Any, delta: Any) -> Any:
    """The slope of g, which is convex."""
    return 2 * x + delta * delta / (2 * x * x * x)


def _flattest(delta: Any) -> Any:
    """Where the slope of g is least."""
    return np.sqrt(np.sqrt(0.75) * delta)


def _inverse(value: Any, delta: Any) -> Any:
    """Where g has a value."""
    both = np.hypot(value, delta) + np.abs(value)
    return np.where(value >= 0, np.sqrt(both / 2), delta / np.sqrt(2 * both))


def _pieces(c: Rest, at: Any) -> tuple[Any, Any, Points, Points]:
    """The branches of x_i over the range of x_e, each between its ends.

    Branch 0 rises everywhere; 1, 2 and 3 rise, fall and rise.
    """
    low_e, high_e, low_i, high_i = bounds(c, np)
    flat = _flattest(c.delta_i)
    folds = _rise(flat, c.delta_i) + c.h < 0
    near, far = _critical(c, flat)
    found = []
    for branch, where, begin, end in (
        (0, ~folds, low_i, high_i),
        (1, folds, low_i, near),
        (2, folds, near, far),
        (3, folds, far, high_i),
    ):
        (owner,) = np.nonzero(where)
        if not owner.size:
            continue
        some = Rest(*(k[owner] for k in c))
        turns = begin[owner], end[owner]
        left, right = _over(some, branch, turns, low_e[owner], high_e[owner])
        there = left < right
        owner, left, right = owner[there], left[there], right[there]
        number = np.full(owner.size, branch)
        turns = tuple(t[there] for t in turns)
        some = Rest(*(k[there] for k in some))
        ends = [_end(some, number, x, turns, at, owner) for x in (left, right)]
        found.append((owner, number, *ends))
    owners, numbers, lefts, rights = zip(*found, strict=True)
    return np.concatenate(owners), np.concatenate(numbers), joined(lefts), joined(rights)


def _critical(c: Rest, flat: Any) -> tuple[Any, Any]:
    """Where F turns, before and after the place where its slope is least.

    Newton's iteration on its slope, which is convex, from outside: monotone.
    """
    ends = []
    size = np.maximum(np.abs(c.h), 2 * flat)
    for x in (np.minimum(np.cbrt(c.delta_i * c.delta_i / (2 * size)), flat), size / 2):
        for _ in range(_STEPS):
            bend = 2 - 1.5 * (c.delta_i / (x * x)) ** 2
            move = (_rise(x, c.delta_i) + c.h) / bend
            move = np.where(np.isfinite(move), move, 0.0)
            x = x - move
            if (np.abs(move) <= 4 * _EPS * x).all():
                break
        ends.append(x)
    return np.minimum(ends[0], flat), np.maximum(ends[1], flat)


def _over(c: Rest, branch: int, turns: tuple[Any, Any], low: Any, high: Any) -> tuple[Any, Any]:
    """The range of x_e over which a branch lies; empty where the first is not below the second."""
    first, last = (curve(c, t) for t in turns)
    # Branches that go on beyond what solves the equations have no end there.
    first = np.full_like(first, -np.inf) if branch in (0, 1) else first
    last = np.full_like(last, np.inf) if branch in (0, 3) else last
    bottom, top = np.minimum(first, last), np.maximum(first, last)
    left = np.where(c.d > 0, bottom, top) / c.d
    right = np.where(c.d > 0, top, bottom) / c.d
    flat = c.d == 0
    left = np.where(flat, np.where((bottom <= 0) & (top >= 0), low, high), left)
    right = np.where(flat, high, right)
    return np.maximum(left, low), np.minimum(right, high)


def _end(c: Rest, branch: Any, x: Any, turns: tuple[Any, Any], at: Any, owner: Any) -> Points:
    """A branch's end: where it turns, or at a bound of x_e."""
    points = at(owner, branch, x, *turns)
    inner = points.inner
    for turn in turns:
        inner = np.where(curve(c, turn) / c.d == x, turn, inner)
    return _points(c, x, inner)


def curve(c: Rest, x: Any) -> Any:
    """F, which is d x_e on the curve."""
    return x * x - (c.delta_i / (2 * x)) ** 2 + c.h * x - c.current_i


def _inner(c: Rest, branch: Any, value: Any, low: Any, high: Any) -> Any:
    """x_i of a branch, between two values, where F has a value.

    Newton's iteration from a side from which it is monotone: it has arrived when it turns.
    """
    result = np.empty_like(value)
    for some, iteration in ((c.h >= 0, _from_above), (c.h < 0, _along_f)):
        (which,) = np.nonzero(some)
        if which.size:
            here = Rest(*(k[which] for k in c))
            x, step, side = iteration(here, *(k[which] for k in (branch, value, low, high)))
            result[which] = _monotone(here, x, value[which], step, side)
    return np.clip(result, low, high)


def _monotone(c: Rest, x: Any, value: Any, step: Any, side: Any) -> Any:
    """Where steps, all to one side (-1 or 1), lead to."""
    result, which = x.copy(), np.arange(x.size)
    for _ in range(_STEPS):
        move = step(c, x, value)
        go_on = move * side > _CLOSE * x
        after = np.where(np.isfinite(move) & (x + move > 0), x + move, x)
        result[which] = after
        go = np.flatnonzero(go_on)
        if not go.size:
            break
        if 2 * go.size > x.size:  # cheaper than to take some out
            x = after
            continue
        x, value, side, which = after[go], value[go], side[go], which[go]
        c = Rest(*(k[go] for k in c))
    return result


def _from_above(c: Rest, branch: Any, value: Any, low: Any, high: Any) -> tuple[Any, Any, Any]:
    """On the quartic x⁴ + h x³ - k x² - delta²/4 where h ≥ 0: see `start`."""
    del branch, low
    return (
        np.minimum(start(c, value + c.current_i, np), high),
        _quartic_step,
        np.full(high.size, -1),
    )


def _quartic_step(c: Rest, x: Any, value: Any) -> Any:
    k = value + c.current_i
    whole = ((x + c.h) * x - k) * x * x - c.delta_i * c.delta_i / 4
    return -whole / (((4 * x + 3 * c.h) * x - 2 * k) * x)


def _along_f(c: Rest, branch: Any, value: Any, low: Any, high: Any) -> tuple[Any, Any, Any]:
    """On F, which is bent one way on either side of the place where its slope is least."""
    falls, flat = branch == 2, _flattest(c.delta_i)
    # On which side of that place.
    left = (branch == 1) | ((branch != 3) & ((curve(c, flat) > value) != falls))
    # Where F is bent downwards it is approached from where it is below, else from above.
    outer_low = np.maximum(low, _inverse(value + c.current_i, c.delta_i))
    most = np.sqrt(np.maximum(value + c.current_i, 0.0)) - c.h + np.sqrt(c.delta_i / 2)
    outer_high = np.minimum(high, most)
    middle = np.clip(flat, low, high)
    x = np.where(falls, middle, np.where(left, outer_low, outer_high))
    return x, _curve_step, np.where(left != falls, 1, -1)


def _curve_step(c: Rest, x: Any, value: Any) -> Any:
    return -(curve(c, x) - value) / (_rise(x, c.delta_i) + c.h)


def _points(c: Rest, x: Any, inner: Any) -> Points:
    """Points near the curve, and how far off G may be for that and by rounding."""
    square, small = x * x, (c.delta_e / (2 * x)) ** 2
    value = square - small - c.a * x - c.current_e + c.b * inner
    size = square + small + np.abs(c.a * x) + np.abs(c.current_e) + np.abs(c.b * inner)
    off = np.abs(curve(c, inner) - c.d * x) + 8 * _EPS * (
        inner * inner
        + (c.delta_i / (2 * inner)) ** 2
        + np.abs(c.h * inner)
        + np.abs(c.current_i)
        + np.abs(c.d * x)
    )
    # The curve passes as near as this, measured along x_i or along x_e.
    along_i = np.abs(c.b / (_rise(inner, c.delta_i) + c.h))
    along_e = np.abs((_rise(x, c.delta_e) - c.a) / c.d)
    shift = np.fmin(along_i, along_e)
    return Points(x, inner, value, 8 * _EPS * size + 2 * np.where(c.b == 0, 0.0, shift) * off)


def _between(delta: Any, less: Any, one: Any, other: Any) -> tuple[Any, Any]:
    """Bounds on the slope of g, and something subtracted, between two places."""
    first, last = np.minimum(one, other), np.maximum(one, other)
    least = _rise(np.clip(_flattest(delta), first, last), delta)
    most = np.maximum(_rise(first, delta), _rise(last, delta))
    slack = 8 * _EPS * np.abs(less)
    return least * (1 - 8 * _EPS) - less - slack, most * (1 + 8 * _EPS) - less + slack


def _slopes(c: Rest, branch: Any, left: Points, right: Points) -> tuple[Any, Any]:
    low, high = _between(c.delta_e, c.a, left.x, right.x)
    least, most = _between(c.delta_i, -c.h, left.inner, right.inner)
    falls, both = branch == 2, c.b * c.d
    # Of one sign along a branch; where it turns the quotient has no bound.
    least = np.where(falls, least, np.maximum(least, 0.0))
    most = np.where(falls, np.minimum(most, 0.0), most)
    one, other = both / np.where(falls, most, least), both / np.where(falls, least, most)
    infinite = np.where(falls, -np.sign(both), np.sign(both)) * np.inf
    one = np.where(np.isfinite(one), one, infinite)
    one, other = (np.where(both == 0, 0.0, q) for q in (one, other))
    slack = 8 * _EPS
    under, over = np.minimum(one, other), np.maximum(one, other)
    return low + under - slack * np.abs(under), high + over + slack * np.abs(over)
