"""Periodic orbits of any vector field: found on an attractor, refined by multiple shooting."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Complex, Float, Int

from ngnmm_jax import _checks
from ngnmm_jax._status import Status, raise_unless_ok
from ngnmm_jax._types import System
from ngnmm_jax.dynamics.equilibria import rest_state
from ngnmm_jax.dynamics.floquet import multipliers, propagators, swept
from ngnmm_jax.dynamics.integrate import rk4_step
from ngnmm_jax.dynamics.parameters import concrete_step, constant

VectorField = Callable[[jax.Array], jax.Array]

# Shooting: segments of an orbit, steps of order eight in each, Newton's iterations.
_SEGMENTS, _STEPS, _NEWTON = 8, 64, 20
#: Steps that are compiled as one sweep.
BLOCK = _STEPS
# Newton's iteration ends at this gap between segments, or where a small one no longer falls.
_CLOSED, _SMALL = 1e-13, 1e-10
# Steps are doubled until log|μ| of the neutral multiplier, zero for the exact orbit, is this
# small, but not beyond this many.
_NEUTRAL, _MOST_STEPS = 1e-9, 1024
# A return to the section counts when it is this near, relative to the orbit's extent.
_RETURN = 1e-3
# Returns this near are not told apart: the error of interpolating the section's crossings.
_SAME = 1e-4
# Samples of the window, or a multiple of it: what is compiled does not know how many count.
_WINDOW = 16_000
# Less extent than this, relative to 1 + |x|, is an equilibrium.
_STILL = 1e-6


@runtime_checkable
class OscillatingSystem(System, Protocol):
    """A system that knows how fast it moves."""

    @property
    def time_step(self) -> float:
        """A step at which RK4 follows it to about 1e-6."""
        ...


class Orbit(eqx.Module):
    """A periodic orbit.

    - `period`, in the model's unit of time: the least one.
    - `states` (segment, variable): on the orbit, at equal intervals of time from its start.
    - `ts` (sample,), `samples` (sample, variable): one period, its end included.
    - `extrema` (2, variable): lowest and highest values along it.
    - `log_multipliers` (variable,): log|μ| of the Floquet multipliers, by falling size, and
      `phases` (variable,): μ / |μ|. One multiplier is 1: how far its log is from zero is a
      measure of the orbit's error.
    - `residual`: largest gap between segments, relative to 1 + |x|, after Newton's iteration.
    - `turns`: how often the solution runs through the least orbit in `period`: 1, unless it was
      found under a JAX transformation before its transient had died away (NOT_CONVERGED then).
    - `status`: OK, or NOT_PERIODIC (the attractor is an equilibrium or does not return: all but
      `states` is NaN then), or NOT_CONVERGED.
    """

    period: Float[Array, ""]
    states: Float[Array, "segment variable"]
    ts: Float[Array, "sample"]
    samples: Float[Array, "sample variable"]
    extrema: Float[Array, "2 variable"]
    log_multipliers: Float[Array, "variable"]
    phases: Complex[Array, "variable"]
    residual: Float[Array, ""]
    turns: Int[Array, ""]
    status: Int[Array, ""]

    @property
    def exponents(self) -> Float[Array, "variable"]:
        """Real parts of the Floquet exponents, log|μ| / period, by falling size."""
        return self.log_multipliers / self.period

    @property
    def multipliers(self) -> Complex[Array, "variable"]:
        """The Floquet multipliers (those below 1e-308 are zero)."""
        return jnp.exp(self.log_multipliers) * self.phases

    @property
    def neutral(self) -> Int[Array, ""]:
        """Index of the multiplier nearest to 1: that of a shift along the orbit."""
        return jnp.argmin(jnp.abs(self.multipliers - 1))

    @property
    def stable(self) -> Any:
        """Whether all multipliers but the neutral one lie inside the unit circle."""
        neutral = jnp.arange(self.phases.shape[0]) == self.neutral
        return (jnp.where(neutral, -jnp.inf, self.exponents) < 0).all()


def find_orbit(
    system: OscillatingSystem,
    *,
    guess: ArrayLike | None = None,
    period: float | None = None,
    transient: float | None = None,
    window: float | None = None,
    steps: int | None = None,
    throw: bool = True,
) -> Orbit:
    """The periodic orbit that a system settles on, or the one near a guess.

    From an attractor: a transient is integrated, then a window, in which returns to the
    slowest point seen are looked for on a section through it. The first return that is as
    near as any gives the least period (two turns after a period doubling). Multiple shooting
    by Newton's iteration, with steps of order eight, refines it; an unstable orbit is reached
    from a `guess` and its `period`.

    Differentiable with respect to parameters, by the implicit function theorem.

    **Arguments:**

    - `system`: `network.homogeneous()`, or anything with `vector_field`, `state_shape` of one
      axis and `time_step`.
    - `guess` (variable,): with `period`, a state near the orbit; alone, where the transient
      starts (by default near an equilibrium).
    - `transient`, `window`: how long, in the model's unit; by default 40,000 and 16,000 of the
      system's time steps.
    - `steps`: steps in each of the eight segments. By default 64, and twice as many until the
      neutral multiplier is 1 to 1e-9 (1024 at most); 256 under JAX transformations.
    - `throw`: raise `SolverError` where there is no periodic orbit or Newton's iteration fails.
    """
    _checks.require_x64("find_orbit")
    if len(system.state_shape) != 1:
        _checks.fail("system", "have a state of one axis", f"its state is {system.state_shape}")
    if guess is not None:
        guess = jnp.asarray(guess, dtype=float)
        _checks.shape("guess", guess, system.state_shape, "(variable,)")
        _checks.finite("guess", guess)
    counts = []
    for name, value, default in (("transient", transient, 40_000), ("window", window, _WINDOW)):
        if value is not None:
            _checks.positive(name, value)
        counts.append(default if value is None else max(16, round(value / concrete_step(system))))
    if period is not None:
        _checks.positive("period", period)
        if guess is None:
            _checks.fail("guess", "be given with `period`", "it is not")
    if period is None:
        start = _near_equilibrium(system) if guess is None else guess
        states, turn, periodic = _attractor(system, start, *counts)
    else:
        assert guess is not None
        turn, periodic = jnp.asarray(period, dtype=float), jnp.array(True)
        states = _walk(system, guess, turn)
    if not _checks.on_host(turn, system):
        return _refine(system, states, turn, periodic, steps or 4 * _STEPS)
    result = _refined(system, states, turn, bool(periodic), steps)
    if throw:
        raise_unless_ok("find_orbit", result.status, result)
    return result


def _refined(
    system: Any, states: jax.Array, period: jax.Array, periodic: bool, steps: int | None
) -> Orbit:
    """The orbit near a guess, with as many steps as it needs."""
    now = steps or _STEPS
    if not periodic:  # nothing that could be refined
        return _no_orbit(system, states, now)
    result = _refine(system, states, period, jnp.array(True), now)
    if int(result.turns) > 1:  # the transient had not died away: the least orbit, then
        period = result.period / result.turns
        states = _walk(system, result.states[0], period)
        result = _refine(system, states, period, jnp.array(True), now)
    while (
        steps is None
        and now < _MOST_STEPS
        and result.status == Status.OK
        and float(jnp.abs(result.log_multipliers[result.neutral])) > _NEUTRAL
    ):
        now *= 2
        result = _refine(system, result.states, result.period, jnp.array(True), now)
    return result


def refine(system: Any, orbit: Orbit) -> Orbit:
    """The orbit again, by Newton's iteration from itself, with its steps: of `system`.

    It carries derivatives with respect to the system's parameters, and its status tells
    whether the orbit is one of this system.
    """
    steps = (orbit.ts.shape[0] - 1) // _SEGMENTS
    known = jnp.asarray(orbit.status == Status.OK, dtype=bool)
    return _refine(system, orbit.states, orbit.period, known, steps)


def _no_orbit(system: Any, states: jax.Array, steps: int) -> Orbit:
    """What is returned where an attractor is not periodic: NaN, but for the states."""
    (n,), nan = system.state_shape, jnp.asarray(jnp.nan)
    samples = _SEGMENTS * steps + 1
    return Orbit(
        period=nan,
        states=states,
        ts=jnp.full(samples, nan),
        samples=jnp.full((samples, n), nan),
        extrema=jnp.full((2, n), nan),
        log_multipliers=jnp.full(n, nan),
        phases=jnp.full(n, nan, complex),
        residual=nan,
        turns=jnp.asarray(1),
        status=jnp.asarray(Status.NOT_PERIODIC),
    )


def _refine(
    system: Any,
    states: Float[Array, "segment variable"],
    period: Float[Array, ""],
    periodic: jax.Array,
    steps: int,
) -> Orbit:
    """Newton's iteration, and what the orbit is.

    On the host, by one compiled sweep of all segments after another; elsewhere as part of a
    caller's program.
    """
    states, period = jax.lax.stop_gradient((states, period))
    if _checks.on_host(system, states, period):
        return _described(
            np, system, _shoot_on_host(system, states, period, steps), periodic, steps
        )
    return _refined_in_a_program(system, states, period, periodic, steps)


@eqx.filter_jit
def _refined_in_a_program(
    system: Any, states: jax.Array, period: jax.Array, periodic: jax.Array, steps: int
) -> Orbit:
    return _described(jnp, system, _shoot(system, states, period, steps), periodic, steps)


def _described(xp: Any, system: Any, solution: Any, periodic: Any, steps: int) -> Orbit:
    """What the orbit is, from the segments' states, the period and the residual."""
    states, period, residual = solution
    _, matrices, path, slopes = _follow(xp, system, states, period, steps)
    samples = xp.concatenate([path.reshape(-1, path.shape[-1]), states[:1]])
    slopes = slopes.reshape(samples[:-1].shape)
    slopes = xp.concatenate([slopes, slopes[:1]])
    dt = period / (_SEGMENTS * steps)
    log_multipliers, phases = _multipliers(jnp.asarray(matrices))
    extent = xp.ptp(samples, axis=0) / (1 + xp.abs(samples).max(axis=0))
    turns = _turns(xp, samples, slopes, dt)
    converged = (residual < 1e-9) & (turns == 1)
    status = xp.where(converged, Status.OK, Status.NOT_CONVERGED)
    status = xp.where(periodic & (extent.max() > _STILL), status, Status.NOT_PERIODIC)
    fields = {
        "period": period,
        "states": states,
        "ts": dt * xp.arange(_SEGMENTS * steps + 1),
        "samples": samples,
        "extrema": extrema(samples, slopes, dt, xp),
        "log_multipliers": log_multipliers,
        "phases": phases,
        "residual": residual,
        "turns": turns,
        "status": status,
    }
    return Orbit(**{name: jnp.asarray(value) for name, value in fields.items()})


_multipliers = jax.jit(multipliers)


def _near_equilibrium(system: Any) -> Float[Array, "variable"]:
    state = rest_state(system)
    return state + 0.02 * (1 + jnp.abs(state))


def _attractor(
    system: Any, start: jax.Array, transient: int, window: int
) -> tuple[Float[Array, "segment variable"], Float[Array, ""], jax.Array]:
    """Segments' states and period of the least return on the attractor, and whether it is one."""
    system = constant(system)
    capacity = _WINDOW * -(-window // _WINDOW)
    return _on_attractor(system, start, jnp.asarray(transient), jnp.asarray(window), capacity)


@eqx.filter_jit
def _on_attractor(
    system: Any,
    start: Float[Array, "variable"],
    transient: jax.Array,
    window: jax.Array,
    capacity: int,
) -> tuple[Float[Array, "segment variable"], Float[Array, ""], jax.Array]:
    field, dt = system.vector_field, jnp.asarray(system.time_step)

    def step(k: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        x, path = carry
        x = rk4_step(field, x, dt)
        return x, path.at[jnp.maximum(k - transient, 0)].set(x)

    nothing = jnp.zeros((capacity, *start.shape))
    _, path = jax.lax.fori_loop(0, transient + window, step, (start, nothing))
    sample = jnp.arange(capacity)
    path = jnp.where(sample[:, None] < window, path, path[0])
    scale = jnp.ptp(path, axis=0)
    still = (scale / (1 + jnp.abs(path).max(axis=0))).max() < _STILL
    scale = jnp.where(scale > 0, scale, 1.0)

    # A section through the slowest point of the first half, where interpolation is best.
    speed = jnp.abs(jax.vmap(field)(path) / scale).max(axis=1)
    origin = jnp.argmin(jnp.where(sample < window // 2, speed, jnp.inf))
    anchor = path[origin]
    height = ((path - anchor) / scale) @ (field(anchor) / scale)
    later = (sample[:-1] > origin + 1) & (sample[1:] < window)
    crossing = (height[:-1] < 0) & (height[1:] >= 0) & later
    fraction = height[:-1] / jnp.where(crossing, height[:-1] - height[1:], 1.0)
    where = path[:-1] + fraction[:, None] * (path[1:] - path[:-1])
    gap = jnp.where(crossing, jnp.abs((where - anchor) / scale).max(axis=1), jnp.inf)

    # The least return that is as near as the nearest one: not the half turn of a period-two
    # orbit, however close to its birth, once the transient has died away.
    nearest = gap.min()
    good = gap <= jnp.maximum(3 * nearest, _SAME)
    first = jnp.argmax(good)
    lapse = first - origin + fraction[first]
    periodic = ~still & (nearest < _RETURN)
    begins = jnp.where(periodic, lapse, 0.0) * jnp.arange(_SEGMENTS) / _SEGMENTS
    return _between(path, origin + begins), lapse * dt, periodic


def _between(path: Float[Array, "sample variable"], where: Float[Array, "place"]) -> jax.Array:
    """States between samples, by cubic interpolation."""
    first = jnp.clip(jnp.floor(where).astype(int) - 1, 0, path.shape[0] - 4)
    s = (where - first)[:, None]
    y0, y1, y2, y3 = (path[first + k] for k in range(4))
    return (
        -(s - 1) * (s - 2) * (s - 3) / 6 * y0
        + s * (s - 2) * (s - 3) / 2 * y1
        - s * (s - 1) * (s - 3) / 2 * y2
        + s * (s - 1) * (s - 2) / 6 * y3
    )


def _walk(
    system: Any, start: Float[Array, "variable"], period: Float[Array, ""]
) -> Float[Array, "segment variable"]:
    """States at the start of each segment along a trajectory."""
    start = jnp.asarray(start)
    if not _checks.on_host(system, start, period):
        return _walk_in_a_program(system, start, period)
    states = [start]
    for _ in range(_SEGMENTS - 1):
        states.append(_segment_on(system, states[-1], period))
    return jnp.stack(states)


@eqx.filter_jit
def _walk_in_a_program(system: Any, start: jax.Array, period: jax.Array) -> jax.Array:
    system, period = constant(system), jax.lax.stop_gradient(period)

    def over(x: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        return _segment_on(system, x, period), x

    return jax.lax.scan(over, start, None, length=_SEGMENTS)[1]


def _segment_on(system: Any, x: jax.Array, period: jax.Array) -> jax.Array:
    """The state a segment later, by the sweep that all segments take together."""
    everywhere = jnp.broadcast_to(x, (_SEGMENTS, *x.shape))
    return _sweep(system, everywhere, period / (_SEGMENTS * _STEPS), _STEPS)[0][0]


@eqx.filter_jit
def _sweep(
    system: Any, states: Float[Array, "segment variable"], dt: Float[Array, ""], steps: int
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Steps over all segments at once, tangents included: `propagators` of the system."""
    field = system.vector_field
    return propagators(field, jax.jacfwd(field), states, dt, steps)


def _follow(
    xp: Any, system: Any, states: Any, period: Any, steps: int
) -> tuple[Any, Any, Any, Any]:
    """Ends, propagators (segment, …), and states and slopes at all steps (segment, step, …)."""
    segments, n = states.shape
    return swept(
        xp,
        lambda x, dt, block: _sweep(system, x, dt, block),
        states,
        xp.broadcast_to(xp.eye(n), (segments, n, n)),
        xp.asarray(period / (_SEGMENTS * steps)),
        steps,
        BLOCK,
    )


def _equations(
    xp: Any, states: Any, anchor: Any, normal: Any, followed: tuple[Any, Any, Any, Any]
) -> tuple[Any, Any, Any]:
    """Of shooting: gaps between segments and the phase, their Jacobian, and the largest gap.

    The period's derivative of a segment's end is the slope at the next one's beginning.
    """
    ends, matrices, _, slopes = followed
    segments, n = states.shape
    eye = xp.eye(segments)
    gaps = xp.append((ends - xp.roll(states, -1, axis=0)).ravel(), normal @ (states[0] - anchor))
    blocks = eye[:, None, :, None] * matrices[:, :, None, :]
    blocks = blocks - xp.roll(eye, 1, axis=1)[:, None, :, None] * xp.eye(n)[:, None, :]
    by_period = xp.roll(slopes[:, 0], -1, axis=0) / segments
    top = xp.concatenate([blocks.reshape(gaps.size - 1, -1), by_period.reshape(-1, 1)], axis=1)
    bottom = xp.append(normal, xp.zeros(gaps.size - n))
    size = xp.abs(gaps).max() / (1 + xp.abs(states).max())
    return gaps, xp.concatenate([top, bottom[None]]), size


def _moved(xp: Any, states: Any, period: Any, delta: Any) -> tuple[Any, Any]:
    """Newton's step, which may overshoot the period from a poor guess."""
    shrink = xp.minimum(1.0, 0.2 * period / xp.maximum(xp.abs(delta[-1]), 1e-300))
    return states - shrink * delta[:-1].reshape(states.shape), period - shrink * delta[-1]


def _normal(xp: Any, slope: Any) -> Any:
    return slope / xp.abs(slope).max()


def _shoot_on_host(system: Any, states: Any, period: Any, steps: int) -> tuple[Any, Any, Any]:
    """Newton's iteration on the gaps between segments and a phase condition."""
    x, t = np.asarray(states), np.asarray(period)
    anchor, before = x[0], np.inf
    normal: Any = None
    for _ in range(_NEWTON + 1):
        followed = _follow(np, system, x, t, steps)
        normal = _normal(np, followed[3][0, 0]) if normal is None else normal
        gaps, matrix, size = _equations(np, x, anchor, normal, followed)
        if not (np.isfinite(matrix).all() and np.isfinite(size)):
            return x, t, np.asarray(np.inf)
        try:
            delta = np.linalg.solve(matrix, gaps)
        except np.linalg.LinAlgError:
            return x, t, size
        x, t = _moved(np, x, t, delta)
        if size <= _CLOSED or _SMALL > size > before / 2:
            break
        before = size
    return x, t, size


def _shoot(system: Any, states: Any, period: Any, steps: int) -> tuple[Any, Any, Any]:
    """`_shoot_on_host` as part of a program.

    The iteration's derivative is cut; one more step, whose Jacobian is taken as constant,
    gives the solution its derivative with respect to parameters.
    """
    cut = constant(system)
    anchor = states[0]
    normal = _normal(jnp, cut.vector_field(anchor))
    Carry = tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]

    def unfinished(carry: Carry) -> jax.Array:
        iteration, _, _, size, before = carry
        stalled = (size < _SMALL) & (size > before / 2)
        return (iteration < _NEWTON) & (size > _CLOSED) & ~stalled & jnp.isfinite(size)

    def step(carry: Carry) -> Carry:
        iteration, x, t, before, _ = carry
        gaps, matrix, size = _equations(jnp, x, anchor, normal, _follow(jnp, cut, x, t, steps))
        return iteration + 1, *_moved(jnp, x, t, jnp.linalg.solve(matrix, gaps)), size, before

    begin = (jnp.asarray(0), states, period, jnp.asarray(1.0), jnp.asarray(jnp.inf))
    _, x, t, *_ = jax.lax.stop_gradient(jax.lax.while_loop(unfinished, step, begin))
    gaps, matrix, size = _equations(jnp, x, anchor, normal, _follow(jnp, system, x, t, steps))
    delta = jnp.linalg.solve(jax.lax.stop_gradient(matrix), gaps)
    return x - delta[:-1].reshape(x.shape), t - delta[-1], jax.lax.stop_gradient(size)


def _turns(xp: Any, samples: Any, slopes: Any, dt: Any) -> Any:
    """The largest k up to eight for which the orbit has returned after period / k; 1 if none."""
    n = samples.shape[0] - 1
    k = np.arange(2, 9)
    index, s = n // k, ((n % k) / k)[:, None]
    y0, y1 = samples[index], samples[index + 1]
    m0, m1 = slopes[index] * dt, slopes[index + 1] * dt
    cubic = y0 + s * (m0 + s * (3 * (y1 - y0) - 2 * m0 - m1 + s * (2 * (y0 - y1) + m0 + m1)))
    extent = xp.maximum(xp.ptp(samples, axis=0), 1e-300)
    back = (xp.abs(cubic - samples[0]) / extent).max(axis=1) < _SAME
    return xp.where(back, k, 1).max()


def extrema(samples: Any, slopes: Any, dt: Any, xp: Any = jnp) -> Any:
    """Lowest and highest values (2, variable), between samples (sample, variable) too.

    Those of the cubic Hermite interpolant; `dt` is one number or one for each interval. `xp` is
    `numpy` on the host.
    """
    y0, y1, m0, m1 = samples[:-1], samples[1:], slopes[:-1] * dt, slopes[1:] * dt
    a = 2 * y0 - 2 * y1 + m0 + m1
    b = -3 * y0 + 3 * y1 - 2 * m0 - m1
    # The slope 3 a s² + 2 b s + m0 vanishes; the root that is stable where a is small.
    disc = b * b - 3 * a * m0
    q = -(b + xp.where(b >= 0, 1.0, -1.0) * xp.sqrt(xp.maximum(disc, 0.0)))
    values = [samples[:-1], samples[1:]]
    for top, bottom in ((q, 3 * a), (m0, q)):
        s = xp.clip(top / xp.where(bottom == 0, 1.0, bottom), 0.0, 1.0)
        values.append(((a * s + b) * s + m0) * s + y0)
    every = xp.concatenate(values)
    return xp.stack([every.min(axis=0), every.max(axis=0)])
