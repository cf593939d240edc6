r"""What arrives of the past: sums over connections with delays, for whole blocks of steps at once.

In a step from t to t + dt a region receives Σ_k weights_jk x_k(t' - τ_jk), t' running through the
step. At the ends of steps each x_k(t' - τ_jk) follows from the values at the ends of earlier steps
by the polynomial of degree four through the five newest of them. Integrators take the sums as the
straight line that has their mean and their first moment over the step; both are those of the
polynomial of degree four through the sums at its end and at the four ends of steps before. Both
errors are of order five in the step, and neither depends on where a block begins.

A delay of τ = (m + f) dt, with m whole and f below 1, sees at the end of a step the values of m
steps before that at the latest. So the sums of the coming steps are known for as many steps as the
shortest delay has: they are gathered together, one matrix product for each region that receives.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax.graphs.delayed import DelayedGraph

# Values through which the polynomial goes.
_POINTS = 5
# Nodes and weights of Gauss and Legendre on [-1/2, 1/2]: exact for polynomials of degree five.
_NODES = np.array([-0.5, 0.0, 0.5]) * math.sqrt(3 / 5)
_WEIGHTS = np.array([5.0, 8.0, 5.0]) / 18
# Steps that are gathered together, and values that are remembered: few numbers, so that programs
# are shared; more than the longest delay asks for, so that steps four times as long can go on.
_BLOCKS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
_LENGTHS = (32, 48)  # and these times powers of two
_MORE = 4 * (_POINTS - 1)
# A delay within this part below a whole number of steps is so many.
_SAME = 1e-9


class Reach(NamedTuple):
    """How delays lie on a grid of steps, where programs must know it.

    - `block`: steps whose sums are gathered at once: the shortest delay has so many at least.
    - `length`: values that are remembered, those of now included; `used`: those that count.
    - `ends`: ends of steps, some before a block included, whose sums make those of its steps.
    - `window`: values in a row that a block sees of a region.
    """

    block: int
    length: int
    used: int

    @property
    def ends(self) -> int:
        return self.block + _POINTS - 1

    @property
    def window(self) -> int:
        return self.ends + _POINTS - 1

    @classmethod
    def of(cls, span: tuple[float, float], dt: float) -> "Reach":
        """For delays between the shortest and the longest, and steps of length `dt`.

        `ValueError` where the shortest is below a step.
        """
        low, high = (value / dt for value in span)
        if low < 1 - _SAME:
            shortest = np.format_float_positional(span[0], 12, fractional=False, trim="-")
            _checks.fail("dt", f"be at most the shortest delay, {shortest}", f"it is {dt:.12g}")
        whole = max(1, math.floor(low * (1 + _SAME)))
        block = max(size for size in _BLOCKS if size <= whole)
        used = math.ceil(high + 1e-9) + 2 * _POINTS - 2
        doubled = (2 ** math.ceil(math.log2(max(1.0, (used + _MORE) / n))) * n for n in _LENGTHS)
        return cls(block, min(doubled), used)


def ring(past: Float[Array, "region node *run"], reach: Reach) -> Float[Array, "region place *run"]:
    """Values at the ends of steps as a ring: the first places are there again behind the last, so
    that any that a block sees are in a row.
    """
    return jnp.concatenate([past, past[:, : reach.window - 1]], axis=1)


def with_newest(
    ring: Float[Array, "region place *run"],
    place: Any,
    values: Float[Array, "region *run"],
    reach: Reach,
) -> Float[Array, "region place *run"]:
    """A ring with values at one of its places, below `reach.length`."""
    again = jnp.where(place < reach.window - 1, place + reach.length, place)
    for where in (place, again):
        ring = jax.lax.dynamic_update_slice_in_dim(ring, values[:, None], where, 1)
    return ring


def refined(past: Float[Array, "region node *axes"]) -> Float[Array, "region half *axes"]:
    """Values at the ends of steps, and in the middles of steps by polynomials of degree five."""
    n = past.shape[1]
    begin = np.clip(np.arange(n - 1) - 2, 0, n - 6)
    where = np.arange(n - 1)[:, None] + 0.5 - begin[:, None] - np.arange(6)
    factors = np.stack(
        [np.prod([where[:, j] / (i - j) for j in range(6) if j != i], axis=0) for i in range(6)],
        axis=1,
    )  # (middle, point)
    around = past[:, begin[:, None] + np.arange(6)]
    middles = jnp.einsum("mp,rmp...->rm...", factors.astype(past.dtype), around)
    both = jnp.stack([past[:, :-1], middles], axis=2)
    both = both.reshape(past.shape[0], 2 * (n - 1), *past.shape[2:])
    return jnp.concatenate([both, past[:, -1:]], axis=1)


class Reads(NamedTuple):
    """Where connections read the past, and with which factors: the same in all blocks of steps.

    - `begin` (*run, to, from), or (*run,) of all connections: the oldest value that a block sees,
      counted from the oldest of all.
    - `factors` (*run, to, point, from), or (*run, point).
    """

    begin: jax.Array
    factors: jax.Array

    @classmethod
    def of(cls, graph: DelayedGraph, dt: Any, reach: Reach) -> "Reads":
        """For steps `dt` (); `reach` as the ring was made. Delays beyond it give NaN."""
        times = as_array(graph.times())

        def one(times: jax.Array) -> Reads:
            steps = times / as_array(dt, times.dtype)
            if steps.ndim == 0:
                return cls(*_seen(steps, reach))
            weights = as_array(graph.matrix())
            # Where there is no connection any delay will do, but for derivatives by its weight.
            given = jnp.clip(steps, reach.block, reach.length - 2 * _POINTS)
            given = jnp.where(jnp.isfinite(steps), given, reach.block)
            begin, factors = _seen(jnp.where(weights != 0, steps, given), reach)
            # Those of a region that receives side by side: products of matrices that lie
            # otherwise take three times as long.
            return cls(begin, jnp.moveaxis(weights[..., None] * factors, 1, -1))

        if times.ndim in (1, 3):  # each run has its own, or all have the same
            alone = times.shape[-1] == 1
            return one(times[..., 0]) if alone else jax.vmap(one, in_axes=-1)(times)
        return one(times)


def arriving(
    graph: DelayedGraph,
    reads: Reads,
    past: Float[Array, "region place *run"],
    newest: Any,
    reach: Reach,
) -> Float[Array, "step moment region *run"]:
    """The sums of the coming steps: their means, and how much they rise in a step.

    **Arguments:**

    - `past`: values at the ends of steps, a `ring` whose newest entry is at place `newest`.
    """

    def one(reads: Reads, past: jax.Array) -> jax.Array:
        if reads.begin.ndim == 0:
            ends = _of_one_delay(reads, past, newest, reach)
            return _over_steps(jax.vmap(graph.apply)(ends), reach)
        return _of_each_delay(reads, past, newest, reach)

    return _run_by_run(one, reads, past)


def arriving_apart(
    reads: Reads, past: Float[Array, "region place *run"], newest: Any, reach: Reach
) -> Float[Array, "step moment to from *run"]:
    """What arrives in the coming steps over each connection, in the same way, not summed.

    Of one delay of all connections, the axis `to` is of length one. Where the graph of `reads` has
    weights they are in it.
    """

    def one(reads: Reads, past: jax.Array) -> jax.Array:
        if reads.begin.ndim == 0:
            return _over_steps(_of_one_delay(reads, past, newest, reach), reach)[:, :, None]
        return _of_each_apart(reads, past, newest, reach)

    return _run_by_run(one, reads, past)


def _run_by_run(one: Callable[[Reads, Any], jax.Array], reads: Reads, past: Any) -> jax.Array:
    """A function of reads and values, of each run where it has its own reads."""
    if reads.begin.ndim in (1, 3):
        return jax.vmap(one, in_axes=(0, -1), out_axes=-1)(reads, past)
    return one(reads, past)


def _of_each_delay(reads: Reads, past: jax.Array, newest: Any, reach: Reach) -> jax.Array:
    n = past.shape[0]

    def sums(one: tuple[jax.Array, jax.Array]) -> jax.Array:
        """Of one region that receives: (end, run)."""
        begin, factors = one
        parts = jnp.dot(factors, _window(past, begin, newest, reach), precision="highest")
        return _folded(parts.reshape(_POINTS, reach.window, -1), reach.ends)

    found = jax.lax.map(sums, (reads.begin, reads.factors.astype(past.dtype)))
    return _over_steps(jnp.moveaxis(found, 0, 1).reshape(reach.ends, n, *past.shape[2:]), reach)


def _of_each_apart(reads: Reads, past: jax.Array, newest: Any, reach: Reach) -> jax.Array:
    n = past.shape[0]

    def each(one: tuple[jax.Array, jax.Array]) -> jax.Array:
        """Of one region that receives: (end, from, run)."""
        begin, factors = one
        seen = _window(past, begin, newest, reach).reshape(n, reach.window, -1)
        parts = factors[:, None, :, None] * jnp.moveaxis(seen, 1, 0)
        return _folded(parts, reach.ends)

    found = jax.lax.map(each, (reads.begin, reads.factors.astype(past.dtype)))
    found = jnp.moveaxis(found, 0, 1).reshape(reach.ends, n, n, *past.shape[2:])
    return _over_steps(found, reach)


def _window(past: jax.Array, begin: jax.Array, newest: Any, reach: Reach) -> jax.Array:
    """What a region sees of each other, (from, place and run)."""
    size = math.prod(past.shape[2:])
    places = newest + 1 + begin  # from the oldest entry on
    places = jnp.where(places >= reach.length, places - reach.length, places)
    return jax.vmap(
        lambda values, place: jax.lax.dynamic_slice(values, (place * size,), (reach.window * size,))
    )(past.reshape(len(past), -1), places)


def _of_one_delay(reads: Reads, past: jax.Array, newest: Any, reach: Reach) -> jax.Array:
    """Where all connections have the same delay: what arrives at ends of steps, (end, from, …)."""
    places = (newest + 1 + reads.begin + jnp.arange(reach.window)) % reach.length
    seen = jnp.moveaxis(past[:, places], 1, 0).reshape(reach.window, -1)
    parts = reads.factors.astype(past.dtype)[..., None, None] * seen
    return _folded(parts, reach.ends).reshape(reach.ends, *past.shape[:1], *past.shape[2:])


def _folded(parts: jax.Array, ends: int) -> jax.Array:
    """Of each point's part (point, place, …) of the sums, those at ends of steps: (end, …).

    End number i sees the points from place i on.
    """
    return as_array(sum(parts[k, k : k + ends] for k in range(_POINTS)))


def _over_steps(sums: jax.Array, reach: Reach) -> jax.Array:
    """Of sums at ends of steps (end, …), their means and rises in those of a block: (step, moment,
    …).
    """
    basis = _lagrange(_NODES - 0.5, np)  # (point, node) of the last step that the points have
    factors = np.stack([basis @ _WEIGHTS, basis @ (12 * _WEIGHTS * _NODES)]).astype(sums.dtype)
    found = [sum(f[k] * sums[k : k + reach.block] for k in range(_POINTS)) for f in factors]
    return jnp.stack(found, axis=1)


def _seen(steps: jax.Array, reach: Reach) -> tuple[jax.Array, jax.Array]:
    """Of delays in steps: where in the past, from its oldest value on, a block's values begin; and
    the factors (…, point) of those that count at an end of a step, NaN where a delay is out of
    reach.
    """
    # Delays of a whole number of steps are so many, however their quotient is rounded.
    whole = jnp.floor(steps * (1 + max(8 * float(jnp.finfo(steps.dtype).eps), _SAME)))
    oldest = reach.length + 2 - 2 * _POINTS
    begin = as_array(oldest - whole, int)
    known = (whole >= reach.block) & (begin >= 0)
    begin = jnp.clip(begin, 0, reach.length - reach.window)
    factors = jnp.moveaxis(_lagrange(whole - steps, jnp), 0, -1)
    return begin, jnp.where(known[..., None], factors, jnp.nan)


def _lagrange(x: Any, xp: Any) -> Any:
    """The polynomials (point, …) that are one at one of the points -4 … 0, zero at the others."""
    found = xp.zeros((_POINTS, *x.shape), x.dtype)
    for factors in _lagrange_factors().T:
        found = found * x + factors.astype(x.dtype).reshape(-1, *(1,) * x.ndim)
    return found


def _lagrange_factors() -> np.ndarray:
    """Of their powers (point, power), the highest one first."""
    points = np.arange(1 - _POINTS, 1)
    others = [np.delete(points, k) for k in range(_POINTS)]
    return np.array([np.poly(o) / np.prod(p - o) for p, o in zip(points, others, strict=True)])
