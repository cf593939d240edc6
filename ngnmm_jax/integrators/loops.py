"""Loops over steps: of any numbers, saved as they go, in lock-step, in halves."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ngnmm_jax._core.status import Status

# A state with a value beyond this has diverged, and integration stops: diffrax would go on
# with a NaN once its step is at the smallest allowed.
DIVERGED = 1e12


def repeated(
    advance: Callable[[Any], Any],
    memory: Any,
    *,
    n_saves: int,
    stride: int,
    select: Callable[[Any], Any],
) -> tuple[Any, Any]:
    """`n_saves * stride` times `advance`: the last memory, and `select(memory)` every `stride`.

    Two nested scans of a loop body that is one step: the state may have any shape, so that
    a batch can lie along its last axis. Differentiable in both modes; reverse mode keeps one
    state per save and recomputes the steps between.
    """

    @jax.checkpoint
    def stretch(memory: Any) -> Any:
        def body(memory: Any, _: None) -> tuple[Any, None]:
            return advance(memory), None

        return jax.lax.scan(body, memory, None, length=stride)[0]

    def save(memory: Any, _: None) -> tuple[Any, Any]:
        memory = stretch(memory)
        return memory, select(memory)

    return jax.lax.scan(save, memory, None, length=n_saves)


def recorded(
    advance: Callable[[Any], Any],
    memory: Any,
    *,
    n_saves: Int[Array, ""] | int,
    stride: Int[Array, ""] | int,
    select: Callable[[Any], Any],
    room: int,
    place: Callable[[Any], Any] = lambda k: k,
) -> tuple[Any, Any]:
    """`repeated` with numbers that the program does not know: one serves all.

    What is saved stands in the first `n_saves` of `room` places (zeros follow), or save k at
    `place(k)`, where later ones replace earlier ones. Not differentiable in reverse.
    """
    like = jax.eval_shape(select, memory)
    places = jax.tree.map(lambda leaf: jnp.zeros((room, *leaf.shape), leaf.dtype), like)

    def save(k: jax.Array, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        memory, places = carry
        memory = jax.lax.fori_loop(0, stride, lambda _, memory: advance(memory), memory)
        return memory, jax.tree.map(
            lambda p, some: p.at[place(k)].set(some), places, select(memory)
        )

    return jax.lax.fori_loop(0, n_saves, save, (memory, places))


def save_steps(
    advance: Callable[[Any], Any],
    memory: Any,
    steps: tuple[Any, Any],
    room: int,
    select: Callable[[Any], Any],
) -> tuple[Any, Any]:
    """Numbers of saves and of steps between them: arrays (up to `room` saves), or integers.

    With integers the program knows them, and is differentiable in reverse.
    """
    n, stride = steps
    if isinstance(n, int):
        return repeated(advance, memory, n_saves=n, stride=stride, select=select)
    return recorded(advance, memory, n_saves=n, stride=stride, select=select, room=room)


def repeat(
    step: Callable[[Any, Float[Array, "run"]], Any], state: Any, dt: Any, number: Any
) -> Any:
    """`step(state, dt)`, each run `number` (run,) times: those that are done stand still."""

    def one(k: jax.Array, state: Any) -> Any:
        return step(state, jnp.where(k < number, dt, 0.0))

    return jax.lax.fori_loop(0, number.max().astype(int), one, state)


def in_halves(step: Callable[[Any, Any], Any], start: Any, dt: Any) -> Any:
    """The ends of half a step, another one after it, and one step instead: (3, …) each.

    Of `step(state, dt)`; the error of the last is 16/15 of how it differs from the second, at order
    four.
    """

    def leg(j: jax.Array, ends: Any) -> Any:
        begin = jax.tree.map(lambda first, end: jnp.where(j == 1, end[0], first), start, ends)
        h = jnp.where(j == 2, dt, dt / 2)
        end = jax.lax.fori_loop(0, jnp.minimum(j + 1, 1), lambda _, state: step(state, h), begin)
        return jax.tree.map(lambda ends, end: ends.at[j].set(end), ends, end)

    nothing = jax.tree.map(lambda leaf: jnp.zeros((3, *leaf.shape), leaf.dtype), start)
    return jax.lax.fori_loop(0, 3, leg, nothing)


def settled(values: Any) -> Any:
    """Which values have not diverged: they are finite, and not beyond `DIVERGED`."""
    return abs(values) < DIVERGED


def finite_status(*values: jax.Array) -> Int[Array, ""]:
    """`Status.OK` where no value has diverged, `NOT_FINITE` otherwise."""
    ok = jnp.array(True)
    for value in values:
        ok &= settled(value).all()
    return jnp.where(ok, Status.OK, Status.NOT_FINITE)
