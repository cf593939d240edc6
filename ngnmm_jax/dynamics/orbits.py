"""Periodic orbits of any vector field: found on an attractor, refined by multiple shooting."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Complex, Float, Int

from ngnmm_jax import _checks
from ngnmm_jax._status import Status, raise_unless_ok
from ngnmm_jax._types import System
from ngnmm_jax.dynamics.equilibria import first_candidate
from ngnmm_jax.dynamics.floquet import multipliers, propagators
from ngnmm_jax.dynamics.integrate import STEPS, fixed_steps

VectorField = Callable[[jax.Array], jax.Array]

# Shooting: segments of an orbit, steps of order eight in each, Newton's iterations.
_SEGMENTS, _STEPS, _NEWTON = 8, 64, 20
# Steps are doubled until log|μ| of the neutral multiplier, zero for the exact orbit, is this
# small, but not beyond this many.
_NEUTRAL, _MOST_STEPS = 1e-9, 1024
# A return to the section counts when it is this near, relative to the orbit's extent.
_RETURN = 1e-3
# Returns this near are not told apart: the error of interpolating the section's crossings.
_SAME = 1e-4
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
    - `status`: OK, or NOT_PERIODIC (the attractor is an equilibrium or does not return), or
      NOT_CONVERGED.
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
    for name, value, default in (("transient", transient, 40_000), ("window", window, 16_000)):
        if value is not None:
            _checks.positive(name, value)
        counts.append(default if value is None else max(16, round(value / system.time_step)))
    if period is not None:
        _checks.positive("period", period)
        if guess is None:
            _checks.fail("guess", "be given with `period`", "it is not")
    turn = None if period is None else jnp.asarray(period, dtype=float)
    states, turn, periodic = _locate(system, guess, turn, counts[0], counts[1])
    if not _checks.is_concrete(turn, system):
        return _refine(system, states, turn, periodic, steps or 4 * _STEPS)
    now = steps or _STEPS
    result = _refine(system, states, turn, periodic, now)
    if int(result.turns) > 1:  # the transient had not died away: the least orbit, then
        states, turn, periodic = _locate(system, states[0], turn / result.turns, 1, 1)
        result = _refine(system, states, turn, periodic, now)
    while (
        steps is None
        and now < _MOST_STEPS
        and result.status == Status.OK
        and float(jnp.abs(result.log_multipliers[result.neutral])) > _NEUTRAL
    ):
        now *= 2
        result = _refine(system, states, turn, periodic, now)
    if throw:
        raise_unless_ok("find_orbit", result.status, result)
    return result


@eqx.filter_jit
def _locate(
    system: Any, guess: jax.Array | None, period: jax.Array | None, transient: int, window: int
) -> tuple[Float[Array, "segment variable"], Float[Array, ""], jax.Array]:
    """States along one turn, its period, and whether there is one at all."""
    system = jax.lax.stop_gradient(system)
    if period is not None:
        assert guess is not None
        states = _walk(system.vector_field, guess, period / _SEGMENTS)
        return states, period, jnp.array(True)
    start = _near_equilibrium(system) if guess is None else guess
    return _on_attractor(system, start, transient, window)


def refine(system: Any, orbit: Orbit) -> Orbit:
    """The orbit again, by Newton's iteration from itself, with its steps: of `system`.

    It carries derivatives with respect to the system's parameters, and its status tells
    whether the orbit is one of this system.
    """
    steps = (orbit.ts.shape[0] - 1) // _SEGMENTS
    known = jnp.asarray(orbit.status == Status.OK, dtype=bool)
    return _refine(system, orbit.states, orbit.period, known, steps)


@eqx.filter_jit
def _refine(
    system: Any,
    states: Float[Array, "segment variable"],
    period: Float[Array, ""],
    periodic: jax.Array,
    steps: int,
) -> Orbit:
    states, period = jax.lax.stop_gradient((states, period))
    states, period, residual = _shoot(system, states, period, steps)

    field = system.vector_field
    dt = period / (_SEGMENTS * steps)
    path, matrices = propagators(
        field,
        lambda x: jax.jacfwd(field)(x),
        states[0],
        dt,
        segments=_SEGMENTS,
        steps=steps,
        step=STEPS["dopri8"],
    )
    samples = jnp.concatenate([states[:1], path.reshape(-1, states.shape[1])])
    log_multipliers, phases = multipliers(matrices)
    extent = jnp.ptp(samples, axis=0) / (1 + jnp.abs(samples).max(axis=0))
    slopes = jax.vmap(field)(samples)
    turns = _turns(samples, slopes, dt)
    converged = (residual < 1e-9) & (turns == 1)
    status = jnp.where(converged, Status.OK, Status.NOT_CONVERGED)
    status = jnp.where(periodic & (extent.max() > _STILL), status, Status.NOT_PERIODIC)
    return Orbit(
        period=period,
        states=states,
        ts=dt * jnp.arange(_SEGMENTS * steps + 1),
        samples=samples,
        extrema=extrema(samples, slopes, dt),
        log_multipliers=log_multipliers,
        phases=phases,
        residual=residual,
        turns=turns,
        status=status,
    )


def _near_equilibrium(system: Any) -> Float[Array, "variable"]:
    state = first_candidate(system)
    return state + 0.02 * (1 + jnp.abs(state))


def _walk(
    field: VectorField, start: Float[Array, "variable"], duration: Float[Array, ""]
) -> Float[Array, "segment variable"]:
    """States at the start of each segment, of the given duration, along a trajectory."""
    _, after = fixed_steps(
        field,
        start,
        duration / _STEPS,
        n_saves=_SEGMENTS,
        stride=_STEPS,
        select=lambda y: y,
        step=STEPS["dopri8"],
    )
    return jnp.concatenate([start[None], after[:-1]])


def _on_attractor(
    system: Any, start: Float[Array, "variable"], transient: int, window: int
) -> tuple[Float[Array, "segment variable"], Float[Array, ""], jax.Array]:
    """Segments' states and period of the least return on the attractor, and whether it is one."""
    field, dt = system.vector_field, jnp.asarray(system.time_step)
    settled, _ = fixed_steps(
        field, start, dt, n_saves=1, stride=transient, select=lambda y: y, step=STEPS["rk4"]
    )
    _, path = fixed_steps(
        field, settled, dt, n_saves=window, stride=1, select=lambda y: y, step=STEPS["rk4"]
    )
    scale = jnp.ptp(path, axis=0)
    still = (scale / (1 + jnp.abs(path).max(axis=0))).max() < _STILL
    scale = jnp.where(scale > 0, scale, 1.0)

    # A section through the slowest point of the first half, where interpolation is best.
    speed = jnp.abs(jax.vmap(field)(path[: window // 2]) / scale).max(axis=1)
    origin = jnp.argmin(speed)
    anchor = path[origin]
    height = ((path - anchor) / scale) @ (field(anchor) / scale)
    crossing = (height[:-1] < 0) & (height[1:] >= 0) & (jnp.arange(window - 1) > origin + 1)
    fraction = height[:-1] / jnp.where(crossing, height[:-1] - height[1:], 1.0)
    where = path[:-1] + fraction[:, None] * (path[1:] - path[:-1])
    gap = jnp.where(crossing, jnp.abs((where - anchor) / scale).max(axis=1), jnp.inf)

    # The least return that is as near as the nearest one: not the half turn of a period-two
    # orbit, however close to its birth, once the transient has died away.
    nearest = gap.min()
    good = gap <= jnp.maximum(3 * nearest, _SAME)
    first = jnp.argmax(good)
    period = (first - origin + fraction[first]) * dt
    states = _walk(field, anchor, period / _SEGMENTS)
    return states, period, ~still & (nearest < _RETURN)


def _shoot(
    system: Any,
    states: Float[Array, "segment variable"],
    period: Float[Array, ""],
    steps: int,
) -> tuple[Float[Array, "segment variable"], Float[Array, ""], Float[Array, ""]]:
    """Newton's iteration on the gaps between segments and a phase condition.

    The iteration's derivative is cut; one more step, whose Jacobian is taken as constant,
    gives the solution its derivative with respect to parameters.
    """
    anchor = states[0]
    shape, n = states.shape, states.size
    normal = jax.lax.stop_gradient(system.vector_field(anchor))
    normal = normal / jnp.abs(normal).max()

    def flow(system: Any, x: jax.Array, t: jax.Array) -> jax.Array:
        last, _ = fixed_steps(
            system.vector_field,
            x,
            t / (_SEGMENTS * steps),
            n_saves=1,
            stride=steps,
            select=lambda y: y,
            step=STEPS["dopri8"],
        )
        return last

    def gaps_of(ends: jax.Array, x: jax.Array) -> jax.Array:
        phase = normal @ (x[0] - anchor)
        return jnp.append((ends - jnp.roll(x, -1, axis=0)).ravel(), phase)

    def linearised(unknown: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The gaps and their Jacobian, in one integration."""
        x, t = unknown[:n].reshape(shape), unknown[n]

        def ends(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
            last = flow(cut, a, b)
            return last, last

        (by_state, by_period), values = jax.vmap(
            lambda s: jax.jacfwd(ends, argnums=(0, 1), has_aux=True)(s, t)
        )(x)
        size, here = shape[1], jnp.arange(shape[0])
        blocks = jnp.zeros((shape[0], size, shape[0], size))
        blocks = blocks.at[here, :, here, :].set(by_state)
        blocks = blocks.at[here, :, (here + 1) % shape[0], :].add(-jnp.eye(size))
        top = jnp.concatenate([blocks.reshape(n, n), by_period.reshape(n, 1)], axis=1)
        bottom = jnp.zeros(n + 1).at[:size].set(normal)
        return gaps_of(values, x), jnp.concatenate([top, bottom[None]])

    cut = jax.lax.stop_gradient(system)
    Carry = tuple[jax.Array, jax.Array, jax.Array, jax.Array]

    def unfinished(carry: Carry) -> jax.Array:
        iteration, _, size, _ = carry
        return (iteration < _NEWTON) & (size > 1e-13) & jnp.isfinite(size)

    def step(carry: Carry) -> Carry:
        iteration, unknown, _, _ = carry
        gaps, matrix = linearised(unknown)
        delta = jnp.linalg.solve(matrix, gaps)
        # Newton may overshoot the period from a poor guess.
        shrink = jnp.minimum(1.0, 0.2 * unknown[n] / jnp.maximum(jnp.abs(delta[n]), 1e-300))
        size = jnp.abs(gaps).max() / (1 + jnp.abs(unknown[:n]).max())
        return iteration + 1, unknown - shrink * delta, size, matrix

    unknown = jnp.append(states.ravel(), period)
    begin = (jnp.asarray(0), unknown, jnp.asarray(1.0), jnp.eye(n + 1))
    _, unknown, _, matrix = jax.lax.stop_gradient(jax.lax.while_loop(unfinished, step, begin))
    x, t = unknown[:n].reshape(shape), unknown[n]
    gaps = gaps_of(jax.vmap(lambda s: flow(system, s, t))(x), x)
    size = jax.lax.stop_gradient(jnp.abs(gaps).max() / (1 + jnp.abs(x).max()))
    unknown = unknown - jnp.linalg.solve(matrix, gaps)
    return unknown[:n].reshape(shape), unknown[n], size


def _turns(
    samples: Float[Array, "sample variable"],
    slopes: Float[Array, "sample variable"],
    dt: Float[Array, ""],
) -> Int[Array, ""]:
    """The largest k up to eight for which the orbit has returned after period / k; 1 if none."""
    n = samples.shape[0] - 1
    k = jnp.arange(2, 9)
    index, s = n // k, (n % k) / k
    y0, y1 = samples[index], samples[index + 1]
    m0, m1 = slopes[index] * dt, slopes[index + 1] * dt
    s = s[:, None]
    cubic = y0 + s * (m0 + s * (3 * (y1 - y0) - 2 * m0 - m1 + s * (2 * (y0 - y1) + m0 + m1)))
    extent = jnp.maximum(jnp.ptp(samples, axis=0), 1e-300)
    back = (jnp.abs(cubic - samples[0]) / extent).max(axis=1) < _SAME
    return jnp.where(back, k, 1).max()


def extrema(
    samples: Float[Array, "sample variable"],
    slopes: Float[Array, "sample variable"],
    dt: Float[Array, "*#steps"],
) -> Float[Array, "2 variable"]:
    """Lowest and highest values, between samples too: those of the cubic Hermite interpolant."""
    y0, y1, m0, m1 = samples[:-1], samples[1:], slopes[:-1] * dt, slopes[1:] * dt
    a = 2 * y0 - 2 * y1 + m0 + m1
    b = -3 * y0 + 3 * y1 - 2 * m0 - m1
    # The slope 3 a s² + 2 b s + m0 vanishes; the root that is stable where a is small.
    disc = b * b - 3 * a * m0
    q = -(b + jnp.where(b >= 0, 1.0, -1.0) * jnp.sqrt(jnp.maximum(disc, 0.0)))
    values = [samples[:-1], samples[1:]]
    for top, bottom in ((q, 3 * a), (m0, q)):
        s = jnp.clip(top / jnp.where(bottom == 0, 1.0, bottom), 0.0, 1.0)
        values.append(((a * s + b) * s + m0) * s + y0)
    every = jnp.concatenate(values)
    return jnp.stack([every.min(axis=0), every.max(axis=0)])
