r"""What arrives of the past: sums over connections with delays, for whole blocks of steps at once.

In a step from t to t + dt a region receives Σ_k weights_jk x_k(t' - τ_jk), t' running through the
step. Integrators take it as the straight line that has its mean and its first moment over the
step; both follow from the values at the ends of earlier steps by the polynomial of degree four
through the five newest that the step can see, which is an error of order five in the step.

A delay of τ = (m + f) dt, with m whole and f below 1, sees the values of m - 1 steps ago at the
latest. So the sums of the coming steps are known for as many steps as the shortest delay has: they
are gathered together, one matrix product for each region that receives.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
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
# Regions whose sums are gathered together.
_TOGETHER = 8


class Reach(NamedTuple):
    """How delays lie on a grid of steps, where programs must know it.

    - `block`: steps whose sums are gathered at once: the shortest delay has so many at least.
    - `length`: values that are remembered, those of now included; `used`: those that count.
    """

    block: int
    length: int
    used: int

    @classmethod
    def of(cls, span: tuple[float, float], dt: float) -> "Reach":
        """For delays between the shortest and the longest, and steps of length `dt`.

        `ValueError` where the shortest is below a step.
        """
        low, high = (value / dt for value in span)
        if low < 1 - 1e-9:
            _checks.fail("dt", f"be at most the shortest delay, {span[0]:.6g}", f"it is {dt:.6g}")
        whole = max(1, math.floor(low + 1e-9))
        block = max(size for size in _BLOCKS if size <= whole)
        used = math.ceil(high + 1e-9) + _POINTS
        doubled = (2 ** math.ceil(math.log2(max(1.0, (used + _MORE) / n))) * n for n in _LENGTHS)
        return cls(block, min(doubled), used)


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


def arriving(
    graph: DelayedGraph,
    past: Float[Array, "region node *run"],
    newest: Any,
    dt: Any,
    reach: Reach,
) -> Float[Array, "step moment region *run"]:
    """The sums of the coming steps: their means, and how much they rise in a step.

    **Arguments:**

    - `past`: values at the ends of steps, a ring whose newest entry is at `newest`.
    - `dt` (): the step. `reach`: as the ring was made. Delays that do not lie in it give NaN.
    """
    times = jnp.asarray(graph.times())
    if times.ndim in (1, 3) and times.shape[-1] > 1:  # each run has its own

        def one(run: Any, past: jax.Array) -> jax.Array:
            return _arriving(graph, times[..., run], past, newest, dt, reach)

        numbers = jnp.arange(times.shape[-1])
        return jax.vmap(one, in_axes=(0, -1), out_axes=-1)(numbers, past)
    times = times[..., 0] if times.ndim in (1, 3) else times
    return _arriving(graph, times, past, newest, dt, reach)


def _arriving(
    graph: DelayedGraph, times: jax.Array, past: jax.Array, newest: Any, dt: Any, reach: Reach
) -> jax.Array:
    steps = times / jnp.asarray(dt, times.dtype)
    if steps.ndim == 0:
        return _of_one_delay(graph, steps, past, newest, reach)
    weights = jnp.asarray(graph.matrix())
    steps = jnp.where(weights != 0, steps, reach.block)
    begin, factors = _seen(steps, reach)  # (to, from), (to, from, moment, point)
    factors = weights[..., None, None] * factors.astype(past.dtype)
    n, window = past.shape[0], reach.block + _POINTS - 1
    flat = past.reshape(n * reach.length, -1)
    rows = jnp.arange(n)[:, None] * reach.length

    def sums(one: tuple[jax.Array, jax.Array]) -> jax.Array:
        """Of one region that receives: (step, moment, run)."""
        begin, factors = one
        places = newest + 1 + begin[:, None] + jnp.arange(window)  # from the oldest entry on
        places = jnp.where(places >= reach.length, places - reach.length, places)
        seen = flat[rows + places].reshape(n, -1)
        parts = jnp.tensordot(factors.reshape(n, -1).T, seen, 1, precision="highest")
        return _folded(parts.reshape(2, _POINTS, window, -1), reach.block)

    found = jax.lax.map(sums, (begin, factors), batch_size=_TOGETHER)
    found = jnp.moveaxis(found, 0, 2)  # (step, moment, region, run)
    return found.reshape(reach.block, 2, n, *past.shape[2:])


def _of_one_delay(
    graph: DelayedGraph, steps: jax.Array, past: jax.Array, newest: Any, reach: Reach
) -> jax.Array:
    """Where all connections have the same delay: any graph's product, once for a block."""
    begin, factors = _seen(steps, reach)  # (), (moment, point)
    window = reach.block + _POINTS - 1
    places = (newest + 1 + begin + jnp.arange(window)) % reach.length
    seen = jnp.moveaxis(past[:, places], 1, 0).reshape(window, -1)
    parts = factors.astype(past.dtype)[..., None, None] * seen
    each = _folded(parts, reach.block)  # (step, moment, region and run)
    each = each.reshape(reach.block * 2, *past.shape[:1], *past.shape[2:])
    return jax.vmap(graph.apply)(each).reshape(reach.block, 2, past.shape[0], *past.shape[2:])


def _folded(parts: jax.Array, block: int) -> jax.Array:
    """Of each point's part (moment, point, node, …) of the sums, those of steps: (step, moment, …).

    Step b sees the points from node b on.
    """
    total = sum(parts[:, k, k : k + block] for k in range(_POINTS))
    return jnp.swapaxes(jnp.asarray(total), 0, 1)


def _seen(steps: jax.Array, reach: Reach) -> tuple[jax.Array, jax.Array]:
    """Of delays in steps: where in the past, from its oldest value on, a block's values begin; and
    the factors (…, moment, point) of those that a step sees, NaN where a delay is out of reach.
    """
    whole = jnp.floor(steps)
    begin = jnp.asarray(reach.length - _POINTS + 1 - whole, int)
    known = (whole >= reach.block) & (begin >= 0) | (steps == reach.block)
    begin = jnp.clip(begin, 0, reach.length - reach.block)
    part = steps - whole
    # Moments on [-1 - part, -part], of polynomials that are one at one of the points -4 … 0.
    moments = []
    at = [-0.5 - part + node for node in _NODES]
    basis = jnp.stack([_lagrange(x) for x in at])  # (node, point, …)
    for weights in (_WEIGHTS, 12 * _WEIGHTS * _NODES):
        moments.append(jnp.tensordot(jnp.asarray(weights, basis.dtype), basis, 1))
    factors = jnp.moveaxis(jnp.stack(moments), (0, 1), (-2, -1))
    return begin, jnp.where(known[..., None, None], factors, jnp.nan)


def _lagrange(x: jax.Array) -> jax.Array:
    """The polynomials that are one at one of the points -4 … 0, and zero at the others."""
    points = range(1 - _POINTS, 1)
    return jnp.stack(
        [
            math.prod([(x - other) / (point - other) for other in points if other != point])
            for point in points
        ]
    )
