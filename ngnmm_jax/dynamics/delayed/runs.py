"""Runs of systems with one delay, to see what they settle on."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import constant
from ngnmm_jax.dynamics.paths import WINDOW, Run, least_return
from ngnmm_jax.integrators.loops import recorded


@eqx.filter_jit
def settle(
    system: Any,
    start: Float[Array, "variable"],
    transient: Int[Array, ""],
    window: Int[Array, ""],
    stride: Int[Array, ""],
    nodes: int,
    room: int,
) -> Run:
    """`paths.run_up` of a system with a delay, which has been in its `start` for ever.

    Returns are looked for in the state and what arrives together: a state of one variable turns
    where it is slowest. RK4 in steps of the system; between them, what was sent is interpolated by
    cubics (and extrapolated over less than a step, where the delay is shorter than one). It is kept
    for `room` steps: everything is NaN where the delay is longer.
    """
    system = constant(system)
    dt = as_array(system.time_step, start.dtype)
    lag = jnp.where(system.delay / dt < room - 2, system.delay / dt, jnp.nan)
    step = _stepper(system, dt, lag)
    sent = system.sent(start)
    past = jnp.broadcast_to(sent, (room, *sent.shape)), jnp.zeros((room, *sent.shape))
    slope = system.slope(start, system.gain * sent)

    def select(memory: Any) -> tuple[jax.Array, ...]:
        number, x, slope, past = memory
        return x, slope, _interpolated(system, lag, dt, (number, past), 0.0)

    _, (path, slopes, arriving) = recorded(
        step,
        (jnp.asarray(0), start, slope, past),
        n_saves=transient + window,
        stride=stride,
        select=select,
        room=WINDOW,
        place=lambda k: jnp.maximum(k - transient, 0),
    )
    there = jnp.arange(WINDOW)[:, None] < window
    path, slopes, arriving = (jnp.where(there, v, v[0]) for v in (path, slopes, arriving))
    rises: Any = jnp.gradient(arriving, axis=0)
    rises = rises / (dt * stride)
    every = jnp.concatenate([path, arriving], axis=1), jnp.concatenate([slopes, rises], axis=1)
    # The slope of what arrives with the last sample is not known by differences.
    found, n = least_return(*every, dt * stride, window - 1, nodes), start.size
    return found._replace(states=found.states[:, :n], scale=found.scale[:n], end=found.end[:n])


def _stepper(system: Any, dt: jax.Array, lag: jax.Array) -> Any:
    """A step of a memory: number of steps, state, its slope, and what was sent with its slope."""

    def arriving(number: jax.Array, past: Any, part: float) -> jax.Array:
        return _interpolated(system, lag, dt, (number, past), part)

    def step(memory: Any) -> Any:
        number, x, k1, past = memory

        def slope(part: float, state: jax.Array) -> jax.Array:
            return system.slope(state, arriving(number, past, part))

        k2 = slope(0.5, x + dt / 2 * k1)
        k3 = slope(0.5, x + dt / 2 * k2)
        k4 = slope(1.0, x + dt * k3)
        x = x + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        number, room = number + 1, past[0].shape[0]
        # The slope of what is sent follows from the state's: the last one until that is known.
        place, before = number % room, past[1][(number - 1) % room]
        past = past[0].at[place].set(system.sent(x)), past[1].at[place].set(before)
        k1 = system.slope(x, arriving(number, past, 0.0))
        rise = jax.jvp(system.sent, (x,), (k1,))[1]
        return number, x, k1, (past[0], past[1].at[place].set(rise))

    return step


def _interpolated(
    system: Any, lag: jax.Array, dt: jax.Array, memory: Any, part: float
) -> jax.Array:
    """What arrives a part of a step from now, by a cubic through what was sent `lag` steps before.

    Where the delay is shorter than that, by the cubic of the last step.
    """
    number, past = memory
    where, room = number + part - lag, past[0].shape[0]
    first = jnp.minimum(jnp.floor(where), number - 1)
    s, k = where - first, first.astype(int)
    (y0, m0), (y1, m1) = (tuple(kept[j % room] for kept in past) for j in (k, k + 1))
    m0, m1 = dt * m0, dt * m1
    a, b = m0 + m1 - 2 * (y1 - y0), 3 * (y1 - y0) - 2 * m0 - m1
    return system.gain * (y0 + s * (m0 + s * (b + s * a)))
