r"""One QIF population that drives itself: where it rests, for certain, and how fast it moves.

With x = π tau r, at rest v = -delta / (2 x), and what is left of the equation for v is

    f(x) = x² - (delta / 2x)² - current - (what the population does to itself).

In u = log x each term is monotone, and so are its bounds on an interval. Where the rest is
a x - b / x (a x gathers what grows with the rate, -b / x what grows with the potential), x² f(x)
is a quartic: all roots lie between Fujiwara's bounds on it and on that of 1 / x.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ngnmm_jax._core.certain_roots import CertainReduction, over_interval

# Of rounding errors, relative to the terms of a sum.
_SLACK = 16 * float(np.finfo(float).eps)
# |π tau r + i v| on typical activity, at least.
_TYPICAL = 4.0


class Rest(NamedTuple):
    """The coefficients of f where it is x² - (delta / 2x)² - current - a x + b / x, (system,)."""

    current: Any
    delta: Any
    a: Any
    b: Any


def bounds(c: Rest, xp: Any) -> tuple[Any, Any]:
    """Lowest and highest x of anything that solves the equation."""
    square = c.delta * c.delta / 4
    current, a, b = (xp.abs(k) for k in (c.current, c.a, c.b))
    highest = _largest(a, current, b, square, xp)
    inverse = _largest(b / square, current / square, a / square, 1 / square, xp)
    return 1 / (2.2 * inverse), 2.2 * highest


def _largest(first: Any, second: Any, third: Any, fourth: Any, xp: Any) -> Any:
    """Of a quartic's coefficients, each taken to the power of a root: half Fujiwara's bound."""
    both = xp.maximum(first, xp.sqrt(second)), xp.maximum(xp.cbrt(third), xp.sqrt(xp.sqrt(fourth)))
    return xp.maximum(*both)


def reduction(c: Rest, states: Callable[[Any, Any], Any]) -> CertainReduction:
    """The roots of that f in u; `states(owner, x)` (point, variable) are the model's there."""

    def terms(owner: Any, x: Any) -> tuple[Any, ...]:
        return -c.a[owner] * x, c.b[owner] / x

    def slopes(owner: Any, low: Any, high: Any) -> tuple[Any, Any]:
        ends = [(-a * x, -b / x) for x in (low, high) for a, b in [(c.a[owner], c.b[owner])]]
        return (
            np.minimum(ends[0][0], ends[1][0]) + np.minimum(ends[0][1], ends[1][1]),
            np.maximum(ends[0][0], ends[1][0]) + np.maximum(ends[0][1], ends[1][1]),
        )

    return reduction_of(c.current, c.delta, bounds(c, np), terms, slopes, states)


def reduction_of(
    current: Any,
    delta: Any,
    ends: tuple[Any, Any],
    terms: Callable[[Any, Any], tuple[Any, ...]],
    slopes: Callable[[Any, Any, Any], tuple[Any, Any]],
    states: Callable[[Any, Any], Any],
) -> CertainReduction:
    """The roots of f in u = log x, between the `ends` of x: x² - (delta / 2x)² - current + terms.

    - `terms(owner, x)`: what else adds to f, each known to rounding.
    - `slopes(owner, low, high)`: bounds on how they change with u between two x.
    """

    def value(owner: Any, u: Any) -> tuple[Any, Any]:
        x = np.exp(u)
        parts = x * x, -((delta[owner] / (2 * x)) ** 2), -current[owner], *terms(owner, x)
        # The exponential is known as well as its argument is.
        return sum(parts), _SLACK * (1 + np.abs(u)) * sum(np.abs(part) for part in parts)

    def both(owner: Any, left: Any, right: Any) -> tuple[Any, Any]:
        low, high = np.exp(np.minimum(left, right)), np.exp(np.maximum(left, right))
        square = delta[owner] ** 2 / 2
        under, over = slopes(owner, low, high)
        most = 2 * high * high + square / low**2
        slack = np.abs(under) + np.abs(over) + most
        slack = _SLACK * (1 + np.abs(left) + np.abs(right)) * slack
        return 2 * low * low + square / high**2 + under - slack, most + over + slack

    low, high = (np.log(end) for end in ends)
    return over_interval(low, high, value, both, lambda owner, u: states(owner, np.exp(u)))
