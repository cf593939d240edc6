"""Periodic orbits of any vector field: found on an attractor, refined by multiple shooting."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import bare, constant, differentiated
from ngnmm_jax._core.placement import jacobian_is_small, placed
from ngnmm_jax._core.starting import first_state
from ngnmm_jax._core.status import Status, raise_unless_ok
from ngnmm_jax._core.types import System
from ngnmm_jax.dynamics.delayed import orbits as delayed_orbits
from ngnmm_jax.dynamics.delayed.system import DelayedSystem, is_delayed
from ngnmm_jax.dynamics.equilibria import rest_state
from ngnmm_jax.dynamics.floquet import Propagated, spectrum_along
from ngnmm_jax.dynamics.forced import orbits as forced
from ngnmm_jax.dynamics.forced.result import ForcedOrbit
from ngnmm_jax.dynamics.forced.system import ForcedSystem, deterministic, is_driven
from ngnmm_jax.dynamics.paths import STILL, WINDOW, Run, extrema, run_up, turns
from ngnmm_jax.dynamics.periodic import Orbit, arrived, no_orbit, told, with_status
from ngnmm_jax.dynamics.shooting import (
    BLOCK,
    SEGMENTS,
    Shot,
    attached,
    follow,
    shoot,
    shoot_on_host,
    walk,
)
from ngnmm_jax.models.notation import notation_of

# Steps in each segment inside of `jit` and `vmap`, where they cannot be doubled.
_STEPS = 256
# Steps are doubled until the error of the multipliers is this small, or no longer falls to a
# quarter, but not beyond this many; an orbit whose error is above the third is not converged.
_EXACT, _MOST_STEPS, _INEXACT = 1e-9, 16_384, 1e-6
# Of the system's own step, what order eight takes at first at most.
_LONGEST = 10
# Newton's last step, and the gaps, relative to the orbit's extent: less is an orbit's; more is
# a slow spiral's, or that of an orbit that rounding blurs.
_MOVED, _GAP = 1e-6, 1e-5
# A period that is given is a whole number of the drive's, to this relative error.
_WHOLE = 1e-6
# Of driven systems.
_ADVICE = {
    Status.NOT_PERIODIC: (
        f"the run is not locked to the drive within {forced.MOST_TURNS} of its periods: it drifts, "
        "is chaotic (`lyapunov_spectrum` tells which), or has not arrived (raise `transient`); "
        "change the drive's period or amplitude, or give a `start` and its `period`"
    ),
    Status.NOT_CONVERGED: (
        "Newton's iteration did not reach its tolerance: the run has not arrived at the orbit "
        "(raise `transient`), the `start` is not near one of that `period`, or the orbit is "
        "about to vanish in a fold; raise `steps` where the result's `error` is large"
    ),
}
# The default transient, in the system's steps.
_TRANSIENT = 40_000
# States over a period that a guess has at least.
_FEWEST = 8
# A window in which a run passes its section less often than this is too short to judge by, and is
# made four times as long, by samples further apart. Runs go on for so many times the default.
_FEW_CROSSINGS, _WIDER, _LONGER = 8, 4, (1, 4, 16, 64)


@runtime_checkable
class OscillatingSystem(System, Protocol):
    """A system that knows how fast it moves."""

    @property
    def time_step(self) -> float:
        """A step at which RK4 follows it to about 1e-6."""
        ...


@placed(lambda system, **given: jacobian_is_small(system))
def find_orbit(
    system: OscillatingSystem | DelayedSystem | ForcedSystem,
    *,
    start: Any = None,
    period: ArrayLike | None = None,
    transient: float | None = None,
    window: float | None = None,
    steps: int | None = None,
    throw: bool = True,
) -> Any:
    """The periodic orbit that a system settles on, or the one near a guess.

    From an attractor: a transient is integrated, then a window, in which returns to the
    slowest point seen are looked for on a section through it. The first return that is as
    near as any gives the least period (two turns after a period doubling). Multiple shooting
    by Newton's iteration, with steps of order eight, refines it; an unstable orbit is reached
    from a `start` and its `period`.

    The orbit that is found must be one: Newton's last step is small against its extent, which is
    over 1e-6 of 1 + |x|; and the run must have reached it: it is stable, and near the run.

    Of a system with one delay the orbit consists of polynomials instead, found by collocation from
    a run whose past is its start for ever; the multipliers are the leading ones, as many as there
    are variables, of the infinitely many that it has (-inf are logs of those that rounding has
    lost), and `error` counts the polynomials' last coefficients too (`dynamics.delayed`).

    Of a system under a stimulus that repeats itself (`Driven`, a network's too) the orbit is locked
    to the drive, a `ForcedOrbit`: its period is m of the drive's, up to 16, in which the system
    goes through n cycles. Time is the drive's, and Newton's iteration finds where the stroboscopic
    map returns; segments begin where the stimulus jumps. Runs that drift are refused.

    Differentiable with respect to parameters, to second order (by the implicit function theorem);
    without `jit` the search is that of known values, and derivatives are attached to what it finds.

    **Arguments:**

    - `system`: `network.homogeneous()`, or anything with `vector_field`, `state_shape` of one
      axis and `time_step`; or a `dynamics.delayed.system.DelayedSystem`.
    - `start` (variable,): with `period`, a state near the orbit; alone, where the transient
      starts (by default near an equilibrium). With `period` and a delay, states (sample, variable)
      at equal steps over one period, its end left out. Of a driven system also another
      `ForcedOrbit`, near which, and of as many periods of the drive, one is looked for.
    - `transient`, `window`: how long, in the model's unit; by default 40,000 and 16,000 of the
      system's time steps, and where the window then holds fewer than eight turns, or the run has
      not arrived, 4, 16 and 64 times as long (not inside of `jit` or `vmap`).
    - `steps`: steps in each of the eight segments. By default 64, or as many as make a step ten
      `time_step` at most, and twice as many until `error` is below 1e-9 or no longer falls
      (16,384 at most); 256 inside of `jit` or `vmap`. With a delay as many
      as make pieces of 12 steps: 16 to 96 of these, as need be; 16 there.
    - `throw`: raise `SolverError` where there is no periodic orbit or Newton's iteration fails.
    """
    _checks.require_x64("find_orbit")
    system = deterministic(system, "find_orbit")
    if differentiated(system, start, period):  # the search needs no derivatives
        fixed, begin, length = constant((system, start, period))
        asked = _Asked(begin, length, transient, window, steps)
        found = find_orbit(fixed, **asked._asdict(), throw=throw)
        return refine(system, found) if found.status == Status.OK else found
    find, advice = (_locked, _ADVICE) if is_driven(system) else (_free, None)
    result = find(bare(system), _Asked(start, period, transient, window, steps))
    if throw and _checks.on_host(result):
        raise_unless_ok("find_orbit", result.status, result, advice)
    return result


class _Asked(NamedTuple):
    """What `find_orbit` is asked for."""

    start: Any
    period: Any
    transient: Any
    window: Any
    steps: int | None


def _free(system: Any, asked: _Asked) -> Orbit:
    """`find_orbit` of a system that nothing drives."""
    start, period, transient, window, steps = asked
    if len(system.state_shape) != 1:
        _checks.fail("system", "have a state of one axis", f"its state is {system.state_shape}")
    of_past = is_delayed(system)
    if start is not None:
        if of_past and period is not None:
            start = _over_a_period(start, system.state_shape)
        else:
            start = first_state(start, system, "(variable,)")
    for name, value in (("transient", transient), ("window", window)):
        if value is not None:
            _checks.positive(name, value)
    if period is not None:
        _checks.positive("period", period)
        if start is None:
            _checks.fail("start", "be given with `period`", "it is not")
        near = delayed_orbits.near_guess if of_past else _near_guess
        result = near(system, start, as_array(period, dtype=float), steps)
    else:
        begin = _near_equilibrium(system) if start is None else start
        settled = delayed_orbits.settled if of_past else _settled
        result = settled(system, begin, transient, window, steps)
    return result


def _locked(system: Any, asked: _Asked) -> ForcedOrbit:
    """`find_orbit` of a driven system."""
    start, period, transient, window, steps = asked
    turns = getattr(start, "drive_cycles", None) if period is None else None
    if start is not None:
        start = first_state(start, system, "of the system's state")
    for name, value in (("transient", transient), ("window", window), ("period", period)):
        if value is not None:
            _checks.positive(name, value)
    if period is not None:
        drive = system.drive_period
        if not _checks.is_concrete(period, drive):
            must = "be a known number of periods of the drive"
            but = "JAX is tracing it: leave it out, and give a forced orbit as `start`"
            _checks.fail("period", must, but)
        ratio = float(period) / float(drive)
        turns = round(ratio)
        if turns < 1 or abs(turns - ratio) > _WHOLE * ratio:
            but = f"it is {ratio:g} of them"
            _checks.fail("period", f"be a whole number of the drive's {float(drive):g}", but)
        if start is None:
            _checks.fail("start", "be given with `period`", "it is not")
    if turns:
        result = forced.near_guess(system, start, turns, steps)
    elif not _checks.on_host(system, start):
        must = "be a forced orbit under JAX's transformations, where a system is driven"
        _checks.fail("start", must, "it is not: how many periods of the drive it is must be known")
    else:
        if start is None:
            if not hasattr(system, "system"):
                _checks.fail("start", "be given for a system of one's own", "it is not")
            start = rest_state(system.system)
        result = forced.settled(system, as_array(start, float), transient, window, steps)
    return result


def _over_a_period(start: Any, shape: tuple[int, ...]) -> Any:
    """States at equal steps over a period."""
    start = _checks.floats("start", start)
    if start.ndim != 2 or start.shape[1:] != shape or start.shape[0] < _FEWEST:
        must = (
            f"be states (sample, variable), {_FEWEST} or more, at equal steps over the period: a "
            "system with a delay does not follow from one state"
        )
        _checks.fail("start", must, f"its shape is {start.shape}")
    _checks.finite("start", start)
    return start


def _near_guess(system: Any, guess: Any, period: Any, steps: int | None) -> Orbit:
    """The orbit that Newton's iteration finds from a state and a period."""
    if not _checks.on_host(period, system):
        states = walk(system, guess, period)
        return told(jnp, _refine(system, states, period, steps or _STEPS))
    first = steps or _first_steps(system, period)
    return told(np, _refined(system, walk(system, guess, period, first), period, steps))


def _settled(
    system: Any, start: Any, transient: float | None, window: float | None, steps: int | None
) -> Orbit:
    """The orbit that a run from a state settles on."""
    xp: Any = np if _checks.on_host(start, system) else jnp
    counts = [
        xp.asarray(default if value is None else xp.round(value / system.time_step), float)
        for value, default in ((transient, _TRANSIENT), (window, WINDOW))
    ]
    if xp is jnp:
        run = _run(xp, system, start, counts)
        result = arrived(xp, _refine(system, run.states, run.period, steps or _STEPS), run)
        status = jnp.where(run.periodic, told(xp, result).status, Status.NOT_PERIODIC)
        return with_status(result, status)
    found: Orbit | None = None
    stride = 1
    for longer in _LONGER if transient is None and window is None else (1,):
        run = _run(xp, system, start, counts, stride, longer)
        few = int(run.crossings) < _FEW_CROSSINGS
        if bool(run.periodic):
            first = steps or _first_steps(system, run.period)
            coarse = stride > 1  # too far apart to interpolate between
            states = walk(system, run.states[0], run.period, first) if coarse else run.states
            found = arrived(xp, _refined(system, states, run.period, steps), run)
            if found.status == Status.OK:
                break
        elif bool(run.still) or not few:
            found = None
            break
        start, stride = run.end, stride * _WIDER if few else stride
    if found is None:
        return no_orbit(system, run.states, SEGMENTS * (steps or BLOCK) + 1)
    return told(xp, found)


def _run(
    xp: Any, system: Any, start: Any, counts: list[Any], stride: int = 1, longer: int = 1
) -> Run:
    """A run of so many steps, the transient `longer` and the window `stride` times as many."""
    transient, window = longer * counts[0], xp.maximum(counts[1], 16.0)
    apart = xp.ceil(window / WINDOW) * stride
    whole = (transient // apart, stride * window // apart, apart)
    before, samples, every = (as_array(n, int) for n in whole)
    return run_up(system, start, before, samples, every, SEGMENTS)


def _first_steps(system: Any, period: Any) -> int:
    """Steps in a segment that are not too long for the system."""
    needed = float(period) / (SEGMENTS * BLOCK * _LONGEST * float(system.time_step))
    if not np.isfinite(needed):
        return BLOCK
    doublings = int(np.ceil(np.log2(max(needed, 1.0))))
    return min(BLOCK << min(doublings, 20), _MOST_STEPS)


def _refined(system: Any, states: jax.Array, period: jax.Array, steps: int | None) -> Orbit:
    """The orbit near a guess, with as many steps as it needs."""
    now = steps or _first_steps(system, period)
    result = _refine(system, states, period, now)
    if int(result.turns) > 1:  # the transient had not died away: the least orbit, then
        period = result.period / result.turns
        states = walk(system, result.states[0], period, now)
        result = _refine(system, states, period, now)
    while (
        steps is None
        and now < _MOST_STEPS
        and result.status == Status.OK
        and not result.error <= _EXACT
    ):
        now, before = 2 * now, result.error
        result = _refine(system, result.states, result.period, now)
        if not result.error < before / 4:
            break
    return result


def refine(system: Any, orbit: Any) -> Any:
    """The orbit again, by Newton's iteration from itself, with its steps: of `system`.

    It carries derivatives with respect to the system's parameters, and its status tells
    whether the orbit is one of this system.
    """
    if isinstance(orbit, ForcedOrbit):
        return forced.refine(system, orbit)
    if is_delayed(system):
        return delayed_orbits.refine(system, orbit)
    steps = (orbit.ts.shape[0] - 1) // SEGMENTS
    xp: Any = np if _checks.on_host(system, orbit) else jnp
    result = told(xp, _refine(system, orbit.states, orbit.period, steps))
    none = orbit.status == Status.NOT_PERIODIC
    return with_status(result, xp.where(none, orbit.status, result.status))


def _refine(
    system: Any,
    states: Float[Array, "segment variable"],
    period: Float[Array, ""],
    steps: int,
) -> Orbit:
    """Newton's iteration, and what the orbit is.

    On the host, by one compiled sweep of all segments after another; elsewhere as part of a
    caller's program.
    """
    states, period = jax.lax.stop_gradient((states, period))
    cut = constant(system)
    if not _checks.on_host(cut, states, period):
        return _refined_in_a_program(system, states, period, steps)
    with np.errstate(over="ignore", invalid="ignore"):  # where it diverges
        shot = shoot_on_host(cut, states, period, steps)
        if _checks.on_host(system):
            return _described(np, system, shot, steps)
        followed = follow(np, cut, shot.states, shot.period, steps)
    return _attached(system, shot.states, shot.period, followed)


@eqx.filter_jit
def _attached(system: Any, states: Any, period: Any, followed: Propagated) -> Orbit:
    shot = attached(system, states, period, followed)
    return _described(jnp, system, shot, followed.path.shape[1])


@eqx.filter_jit
def _refined_in_a_program(system: Any, states: jax.Array, period: jax.Array, steps: int) -> Orbit:
    return _described(jnp, system, shoot(system, states, period, steps), steps)


def _described(xp: Any, system: Any, shot: Shot, steps: int) -> Orbit:
    """What the orbit is that was shot for."""
    states, period, residual, moved = shot
    followed = follow(xp, system, states, period, steps)
    samples = xp.concatenate([followed.path.reshape(-1, states.shape[-1]), states[:1]])
    slopes = followed.slopes.reshape(samples[:-1].shape)
    slopes = xp.concatenate([slopes, slopes[:1]])
    dt = period / (SEGMENTS * steps)
    spectrum, gap = spectrum_along(xp, followed)
    # One of an orbit's own multipliers is 1, by its phase.
    error = xp.maximum(gap, xp.abs(spectrum.logs + 1j * xp.angle(spectrum.phases)).min())
    size, extent = 1 + xp.abs(samples).max(axis=0), xp.ptp(samples, axis=0)
    still = ~((extent / size).max() > STILL)
    extent = xp.maximum(extent.max(), 1e-300)
    turned = turns(xp, samples, slopes, dt)
    # Newton's iteration creeps where there is no orbit, or two are about to meet.
    sound = (moved < _MOVED * extent) & (residual * size.max() < _GAP * extent)
    converged = sound & (residual < 1e-9) & (turned == 1)
    status = xp.where(converged, Status.OK, Status.NOT_CONVERGED)
    status = xp.where(still, Status.NOT_PERIODIC, status)
    return Orbit(
        period=as_array(period),
        states=as_array(states),
        ts=as_array(dt * xp.arange(SEGMENTS * steps + 1)),
        samples=as_array(samples),
        extrema=as_array(extrema(samples, slopes, dt, xp)),
        log_multipliers=as_array(spectrum.logs),
        phases=as_array(spectrum.phases),
        residual=as_array(residual),
        error=as_array(error),
        turns=as_array(turned),
        status=as_array(status),
        notation=notation_of(system),
    )


def _near_equilibrium(system: Any) -> Float[Array, "variable"]:
    state = rest_state(system.undelayed() if is_delayed(system) else system)
    return state + 0.02 * (1 + jnp.abs(state))
