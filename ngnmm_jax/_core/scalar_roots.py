"""Roots of scalar functions on an interval, many functions at once."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

# Points at which all functions are evaluated together, at most.
POINTS = 256
# Dips of |function| in which a pair of roots is looked for.
DIPS = 3
# What is narrowed down ends at this fraction of the distance between points.
_NARROW = 1e-10


def scalar_roots(
    function: Callable[[Any], Any], low: Any, high: Any, *, max_count: int, xp: Any = jnp
) -> Any:
    """Roots (…, root) of a function on [low, high] (…), NaN where there are none.

    Sign changes between 256 points are brackets; where |function| has a minimum without one, a
    pair of roots is looked for between points (near a fold), in three such places at most.
    Everything is then narrowed down, to 1e-10 of the distance between points. Returns
    `max_count + 6` entries in no order.

    `function` takes points (…, point) and is evaluated at no more than 256 of them. With `xp`
    NumPy it works on the host; with JAX's it is part of a program, where `function` stands
    three times.
    """
    fraction = xp.linspace(0.0, 1.0, POINTS)
    grid = xp.asarray(low)[..., None] + (xp.asarray(high) - xp.asarray(low))[..., None] * fraction
    values = function(grid)
    positive, size = values > 0, xp.abs(values)
    change = positive[..., :-1] != positive[..., 1:]
    dip = (size[..., 1:-1] <= size[..., :-2]) & (size[..., 1:-1] < size[..., 2:])
    dip = dip & (positive[..., 1:-1] == positive[..., :-2])
    dip = dip & (positive[..., 1:-1] == positive[..., 2:])

    def at(array: Any, index: Any) -> Any:
        return xp.take_along_axis(array, index, axis=-1)

    where, inner = _first(xp, change, max_count), _first(xp, dip, DIPS)
    is_change, is_dip = at(change, where), at(dip, inner)
    below, above = at(positive, where), at(positive, inner)
    left, right = at(grid, inner), at(grid, inner + 2)
    if xp is jnp or is_dip.any():
        bottom, depth = _bottoms(xp, function, left, right, xp.where(above, 1.0, -1.0))
    else:
        bottom, depth = left, xp.ones(left.shape)
    crossed = is_dip & (depth <= 0)
    ends = (
        xp.concatenate([at(grid, where), left, bottom], axis=-1),
        xp.concatenate([at(grid, where + 1), bottom, right], axis=-1),
    )
    sign = xp.concatenate([below, above, ~above], axis=-1)
    roots = _narrowed(xp, function, ends, sign)
    return xp.where(xp.concatenate([is_change, crossed, crossed], axis=-1), roots, xp.nan)


def _first(xp: Any, mask: Any, count: int) -> Any:
    """Indices of the first places where `mask` is true; after these, of others."""
    return xp.argsort(~mask, axis=-1, stable=True)[..., :count]


def _bottoms(xp: Any, function: Any, left: Any, right: Any, sign: Any) -> tuple[Any, Any]:
    """Where sign * function is lowest in an interval, and how low that is."""
    points = POINTS // left.shape[-1] - 1
    step = xp.arange(1, points + 1) / (points + 1)

    def narrow(carry: Any) -> Any:
        (left, right), *_ = carry
        trials = left[..., None] + (right - left)[..., None] * step
        values = function(trials.reshape(*left.shape[:-1], -1)).reshape(trials.shape)
        values = sign[..., None] * values
        values = xp.where(xp.isnan(values), xp.inf, values)
        place = xp.argmin(values, axis=-1)[..., None]
        bottom = xp.take_along_axis(trials, place, axis=-1)[..., 0]
        width = (right - left) / (points + 1)
        ends = xp.maximum(left, bottom - width), xp.minimum(right, bottom + width)
        return ends, bottom, xp.take_along_axis(values, place, axis=-1)[..., 0]

    begin = ((left, right), left, xp.zeros(left.shape))
    times = math.ceil(math.log(_NARROW) / math.log(2 / (points + 1)))
    _, bottom, depth = _repeated(xp, times, narrow, begin)
    return bottom, depth


def _narrowed(xp: Any, function: Any, ends: tuple[Any, Any], sign: Any) -> Any:
    """Middles of intervals at whose left ends `function` is positive or not, as `sign` says."""
    points = max(1, POINTS // sign.shape[-1])
    step = xp.arange(1, points + 1) / (points + 1)

    def narrow(ends: Any) -> Any:
        left, right = ends
        trials = left[..., None] + (right - left)[..., None] * step
        values = function(trials.reshape(*left.shape[:-1], -1)).reshape(trials.shape)
        # The first place where the sign has changed, the right end if it is nowhere else.
        every = xp.concatenate([left[..., None], trials, right[..., None]], axis=-1)
        changed = (values > 0) != sign[..., None]
        last = xp.ones((*changed.shape[:-1], 1), dtype=bool)
        place = xp.argmax(xp.concatenate([changed, last], axis=-1), axis=-1)[..., None]
        return (
            xp.take_along_axis(every, place, axis=-1)[..., 0],
            xp.take_along_axis(every, place + 1, axis=-1)[..., 0],
        )

    times = math.ceil(-math.log(_NARROW) / math.log(points + 1))
    left, right = _repeated(xp, times, narrow, ends)
    return (left + right) / 2


def _repeated(xp: Any, number: int, body: Callable[[Any], Any], carry: Any) -> Any:
    if xp is jnp:
        return jax.lax.fori_loop(0, number, lambda _, carry: body(carry), carry)
    for _ in range(number):
        carry = body(carry)
    return carry
