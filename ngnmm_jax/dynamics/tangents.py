"""Tangents along a trajectory: stretched, made orthonormal, and the steps' error in it."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ngnmm_jax.integrators.loops import in_halves
from ngnmm_jax.integrators.runge_kutta import RK4

VectorField = Callable[[jax.Array], jax.Array]

# Parts of a stretch of steps, of which the first step is taken in two halves as well: at most, and
# the least steps of each (or `stride`).
_PARTS, _LEAST = 20, 100
_NEVER = 2**62


@runtime_checkable
class Flow(Protocol):
    """What moves a state: a step of some length, and the field that it follows."""

    def step(self, x: Any, h: Any) -> Any:
        """The state a step later."""
        ...

    @property
    def field(self) -> VectorField:
        """Its time derivative."""
        ...


class Autonomous(NamedTuple):
    """RK4's steps along a field."""

    field: VectorField

    def step(self, x: Any, h: Any) -> Any:
        """The state a step later."""
        return RK4().step(self.field, x, h)


class Stretching(NamedTuple):
    """What tangents did over some steps; all (tangent, *run) but as said.

    - `logs`: logarithms of their stretching; `widest` (*run,): how much they were stretched
      against each other at most between orthonormalisations.
    - `rough`: how much two half steps differ from single steps, on average of some, relative to
      the tangents; `leaks` (*run,): how much such a step's change of volume differs from the
      integral of the divergence (Liouville), where there are all tangents.
    """

    logs: jax.Array
    widest: jax.Array
    rough: jax.Array
    leaks: jax.Array


def follow(
    flow: Flow,
    x: jax.Array,
    xi: jax.Array,
    dt: jax.Array,
    length: Any,
    stride: Any,
    runs: int,
) -> tuple[jax.Array, jax.Array, Stretching]:
    """A state (*state, *run) and tangents (*state, tangent, *run) over `length` steps `dt`.

    Tangents are made orthonormal every `stride` steps, the last time maybe earlier, and at the ends
    of up to twenty parts; the first step of each part is also taken in two halves, to see its
    error. `runs`, the number of axes `*run`, is 0 or 1; `dt`, `length` and `stride` are (*run,),
    and no run depends on those beside it.
    """
    *state, count = xi.shape[: xi.ndim - runs]
    shape = xi.shape[xi.ndim - runs :]
    length, stride, dt = (jnp.broadcast_to(value, shape) for value in (length, stride, dt))
    check = _check_of_all if count == math.prod(state) else _check

    parts = jnp.clip(length // jnp.maximum(_LEAST, stride), 1, _PARTS)

    def part(j: jax.Array, carry: Any) -> Any:
        x, xi, sums = carry
        rough, leak = check(flow, (x, xi), dt, runs)
        counts = j < parts
        steps = jnp.where(counts, (j + 1) * length // parts - j * length // parts, 0)
        x, xi, logs, widest = _stretched(flow, x, xi, (dt, steps, stride), runs)
        sums = Stretching(
            sums.logs + logs,
            jnp.maximum(sums.widest, widest),
            sums.rough + jnp.where(counts, rough / parts, 0.0),
            sums.leaks + jnp.where(counts, leak / parts, 0.0),
        )
        return x, xi, sums

    each, none = jnp.zeros((count, *shape)), jnp.zeros(shape)
    return jax.lax.fori_loop(0, parts.max(), part, (x, xi, Stretching(each, none, each, none)))


def follow_map(
    whole: VectorField,
    halves: VectorField,
    x: Float[Array, "size"],
    xi: Float[Array, "size tangent"],
    length: Any,
    stride: Any,
) -> tuple[jax.Array, jax.Array, Stretching]:
    """`follow` for `length` turns of a map `whole`; `halves` is the same map by half steps."""
    count = xi.shape[1]
    parts = jnp.clip(length // jnp.maximum(_LEAST, stride), 1, _PARTS)

    def turn(_: Any, pair: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return pushed(whole, *pair, 0)

    def part(j: jax.Array, carry: Any) -> Any:
        x, xi, sums = carry
        once, twice = ((xi * pushed(way, x, xi, 0)[1]).sum(axis=0) for way in (whole, halves))
        rough = jnp.abs(once - twice) / jnp.maximum(jnp.abs(twice), 1e-300)
        end = (j + 1) * length // parts

        def interval(carry: Any) -> Any:
            k, x, xi, logs, widest = carry
            number = jnp.minimum(stride, end - k)
            x, xi = jax.lax.fori_loop(0, number, turn, (x, xi))
            xi, some = gram_schmidt(xi)
            spread = some.max() - some.min()
            spread = jnp.where(jnp.isfinite(spread), spread, 0.0)
            return k + number, x, xi, logs + some, jnp.maximum(widest, spread)

        begun = (j * length // parts, x, xi, sums.logs, sums.widest)
        _, x, xi, logs, widest = jax.lax.while_loop(lambda c: c[0] < end, interval, begun)
        return x, xi, Stretching(logs, widest, sums.rough + rough / parts, sums.leaks)

    each, none = jnp.zeros(count), jnp.zeros(())
    return jax.lax.fori_loop(0, parts, part, (x, xi, Stretching(each, none, each, none)))


def _stretched(
    flow: Flow, x: jax.Array, xi: jax.Array, steps: tuple[jax.Array, ...], runs: int
) -> tuple[jax.Array, ...]:
    """`follow` without checks: both ends, logarithms, and the widest spread of them."""
    dt, length, stride = steps
    shape = dt.shape
    count = xi.shape[xi.ndim - 1 - runs]

    def interval(carry: Any) -> Any:
        k, x, xi, total, widest = carry
        goes = k < length
        end = jnp.where(goes, jnp.minimum((k // stride + 1) * stride, length), _NEVER)
        number = end.min() - k
        due = end == k + number
        h = jnp.where(goes, dt, 0.0)  # those that are done stand still; none ends in between

        def step(_: Any, pair: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            return pushed(lambda x: flow.step(x, h), *pair, runs)

        x, xi = jax.lax.fori_loop(0, number, step, (x, xi))
        flat, logs = gram_schmidt(xi.reshape(-1, count, *shape))
        spread = logs.max(axis=0) - logs.min(axis=0)
        spread = jnp.where(due & jnp.isfinite(spread), spread, 0.0)  # not of what has diverged
        total = total + jnp.where(due, logs, 0.0)
        xi = jnp.where(due, flat.reshape(xi.shape), xi)
        return k + number, x, xi, total, jnp.maximum(widest, spread)

    start = (jnp.zeros((), length.dtype), x, xi, jnp.zeros((count, *shape)), jnp.zeros(shape))
    return jax.lax.while_loop(lambda c: (c[0] < length).any(), interval, start)[1:]


def pushed(
    function: VectorField, x: jax.Array, xi: jax.Array, runs: int
) -> tuple[jax.Array, jax.Array]:
    """A function of a state (*state, *run), and its derivative along (*state, tangent, *run)."""
    x, push = jax.linearize(function, x)
    return x, jax.vmap(push, in_axes=-1 - runs, out_axes=-1 - runs)(xi)


def _check(flow: Flow, start: Any, dt: jax.Array, runs: int) -> tuple[jax.Array, Any]:
    """How much a step's stretching (tangent, *run) differs from that of its two halves."""
    rough, _ = _in_halves(flow, start, dt, runs)
    return rough, 0.0


def _check_of_all(flow: Flow, start: Any, dt: jax.Array, runs: int) -> tuple[jax.Array, Any]:
    """The same, of a full set of tangents; and how much its volume differs from Liouville's."""
    x, xi = start
    rough, ends = _in_halves(flow, start, dt, runs)
    axes = tuple(range(xi.ndim - runs))
    _, logs = gram_schmidt(ends[1][2].reshape(-1, *xi.shape[xi.ndim - 1 - runs :]))

    def divergence(x: jax.Array) -> jax.Array:
        return (xi * pushed(flow.field, x, xi, runs)[1]).sum(axis=axes)

    a, b, c = jax.lax.map(divergence, jnp.stack([x, ends[0][0], ends[0][2]]))
    return rough, jnp.abs(logs.sum(axis=0) - dt / 6 * (a + 4 * b + c))


def _in_halves(flow: Flow, start: Any, dt: jax.Array, runs: int) -> tuple[jax.Array, Any]:
    """The difference, and what `in_halves` gives."""

    def step(pair: tuple[jax.Array, jax.Array], h: jax.Array) -> tuple[jax.Array, jax.Array]:
        return pushed(lambda x: flow.step(x, h), *pair, runs)

    ends = in_halves(step, start, dt)
    xi = start[1]
    axes = tuple(range(xi.ndim - 1 - runs))
    halves, whole = ((xi * end).sum(axis=axes) for end in ends[1][1:])
    return jnp.abs(whole - halves) / jnp.maximum(jnp.abs(halves), 1e-300), ends


def gram_schmidt(
    xi: Float[Array, "size tangent *run"],
) -> tuple[Float[Array, "size tangent *run"], Float[Array, "tangent *run"]]:
    """Tangents made orthonormal in their order, and the logarithms of their stretching.

    The modified process, which loses as many digits as the tangents' condition has; in
    elementwise operations, since LAPACK's QR of batches on several CPU devices at once can
    deadlock (jaxlib 0.10) and is slow on GPUs.
    """
    count = xi.shape[1]
    later = jnp.arange(count).reshape(-1, *[1] * (xi.ndim - 2))

    def column(k: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        xi, logs = carry
        v = xi[:, k]
        length = jnp.sqrt((v * v).sum(axis=0))
        v = v / length
        along = jnp.where(later > k, (v[:, None] * xi).sum(axis=0), 0.0)
        xi = xi - v[:, None] * along
        return xi.at[:, k].set(v), logs.at[k].set(jnp.log(length))

    return jax.lax.fori_loop(0, count, column, (xi, jnp.zeros(xi.shape[1:])))
