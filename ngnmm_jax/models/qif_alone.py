r"""Where one QIF population rests that drives itself: all equilibria, for certain.

With x = π tau r, at rest v = -delta / (2 x), and what is left of the equation for v is

    f(x) = x² - (delta / 2x)² - current - a x + b / x,

where a x gathers what grows with the rate and -b / x what grows with the potential. In u = log x
each term is monotone, and so are its bounds on an interval. x² f(x) is a quartic: all roots lie
between Fujiwara's bounds on it and on that of 1 / x.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ngnmm_jax._core.certain_roots import CertainReduction, over_interval

# Of rounding errors, relative to the terms of a sum.
_SLACK = 16 * float(np.finfo(float).eps)


class Rest(NamedTuple):
    """The equation's coefficients, (system,) each."""

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
    """Of coefficients of a quartic, each taken to the power of a root: half Fujiwara's bound."""
    roots = first, xp.sqrt(second), xp.cbrt(third), xp.sqrt(xp.sqrt(fourth))
    largest = xp.maximum(xp.maximum(roots[0], roots[1]), xp.maximum(roots[2], roots[3]))
    return largest


def reduction(c: Rest, states: Callable[[Any, Any], Any]) -> CertainReduction:
    """The roots of f in u; `states(owner, x)` (point, variable) are the model's there."""

    def value(owner: Any, u: Any) -> tuple[Any, Any]:
        x = np.exp(u)
        terms = (
            x * x, -((c.delta[owner] / (2 * x)) ** 2), -c.current[owner],
            -c.a[owner] * x, c.b[owner] / x,
        )  # fmt: skip
        # The exponential is known as well as its argument is.
        return sum(terms), _SLACK * (1 + np.abs(u)) * sum(np.abs(term) for term in terms)

    def slopes(owner: Any, left: Any, right: Any) -> tuple[Any, Any]:
        low, high = np.exp(np.minimum(left, right)), np.exp(np.maximum(left, right))
        a, b, square = c.a[owner], c.b[owner], c.delta[owner] ** 2 / 2
        rise = a * low, a * high
        fall = b / low, b / high
        under = 2 * low * low + square / high**2 - np.maximum(*rise) - np.maximum(*fall)
        over = 2 * high * high + square / low**2 - np.minimum(*rise) - np.minimum(*fall)
        size = 2 * high * high + square / low**2 + np.abs(a) * high + np.abs(b) / low
        slack = _SLACK * (1 + np.abs(left) + np.abs(right)) * size
        return under - slack, over + slack

    low, high = bounds(c, np)
    return over_interval(
        np.log(low), np.log(high), value, slopes, lambda owner, u: states(owner, np.exp(u))
    )
