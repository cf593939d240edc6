"""Orbits locked to a drive: found on an attractor, refined by multiple shooting with time known."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.status import Status
from ngnmm_jax.dynamics.floquet import spectrum_along
from ngnmm_jax.dynamics.forced.result import ForcedOrbit
from ngnmm_jax.dynamics.forced.shooting import Shot, follow, shoot, shoot_on_host, walk
from ngnmm_jax.dynamics.forced.strobes import Strobed, strobed
from ngnmm_jax.dynamics.forced.system import Pieces, pieces_of
from ngnmm_jax.dynamics.paths import extrema
from ngnmm_jax.dynamics.shooting import BLOCK, SEGMENTS
from ngnmm_jax.models.notation import notation_of

#: The longest locking that is looked for on an attractor, in periods of the drive.
MOST_TURNS = 16
# Steps in each segment under JAX's transformations, where they cannot be doubled.
_STEPS = 256
# Of the system's own step, what order eight takes at first at most; steps are doubled until the
# error is this small, or no longer falls to a quarter, up to this many in a segment.
_LONGEST, _EXACT, _MOST_STEPS = 10, 1e-9, 16_384
# An orbit whose error is above this is not converged; gaps and Newton's last step are below these.
_INEXACT, _GAP, _MOVED = 1e-6, 1e-9, 1e-6
# A run returns when it comes as near as this, relative to how far it reaches; returns as near as
# the second are not told apart; a run is on an orbit as near as the third.
_RETURN, _SAME, _NEAR = 1e-2, 1e-4, 0.05
# The default transient in the system's steps, how many times as long it gets; and the fewest
# periods of the drive.
_TRANSIENT, _LONGER, _FEWEST = 40_000, (1, 4, 16), 16
# A quantity that moves by less than this, relative to 1 + its size, has no cycles.
_STILL = 1e-9


def settled(system: Any, start: Any, transient: Any, window: Any, steps: int | None) -> ForcedOrbit:
    """The orbit that a run from a state settles on."""
    period, step = float(system.drive_period), float(system.time_step)
    pieces = pieces_of(system, 1, 1)
    each = max(8, int(np.ceil(np.asarray(pieces.lengths).max() / step)))
    wanted = _TRANSIENT * step if transient is None else transient
    most = 2 * MOST_TURNS if window is None else max(2, int(np.ceil(float(window) / period)))
    x, found = start, None
    for longer in _LONGER if transient is None else (1,):
        before = max(_FEWEST if transient is None else 0, int(np.ceil(longer * wanted / period)))
        run = strobed(system, x, as_array(each), as_array(before), most)
        x = run.states[-1]
        turns = _least_return(run, most // 2)
        if not np.isfinite(np.asarray(run.states)).all():
            break
        if turns is None:
            continue
        found = _arrived(near_guess(system, x, turns[0], steps), run, turns[1])
        if found.status == Status.OK:
            break
    if found is None or int(found.status) == Status.NOT_PERIODIC:
        return _none(system, x, period)
    return found


def _least_return(run: Strobed, most: int) -> tuple[int, float] | None:
    """After how many periods of the drive a run is as near to itself as it comes, and how near."""
    states = np.asarray(run.states)
    scale = np.maximum(np.asarray(run.high - run.low), 1e-9 * (1 + np.abs(states).max(axis=0)))
    with np.errstate(over="ignore", invalid="ignore"):
        away = np.array(
            [np.abs((states[-1] - states[-1 - m]) / scale).max() for m in range(1, most + 1)]
        )
    nearest = away.min()
    if not nearest < _RETURN:
        return None
    return 1 + int(np.argmax(away <= max(3 * nearest, _SAME))), float(nearest)


def _arrived(orbit: ForcedOrbit, run: Strobed, nearest: float) -> ForcedOrbit:
    """The orbit, its status that of one that a run settles on: it attracts, and is near the run."""
    scale = np.asarray(run.high - run.low) + 1e-6 * (1 + np.abs(np.asarray(run.high)))
    gap = (np.abs(np.asarray(orbit.states[0] - run.states[-1])) / scale).max()
    attracts = float(orbit.log_multipliers.max()) < _INEXACT
    ok = int(orbit.status) == Status.OK
    if ok and gap < _NEAR and attracts:
        return orbit
    drifts = nearest > _SAME or (ok and not attracts)
    status = Status.NOT_PERIODIC if drifts else Status.NOT_CONVERGED
    return eqx.tree_at(lambda o: o.status, orbit, as_array(status))


def near_guess(system: Any, start: Any, turns: int, steps: int | None) -> ForcedOrbit:
    """The orbit of so many periods of the drive that Newton's iteration finds from a state."""
    if not _checks.on_host(system, start):
        return _in_a_program(system, as_array(start), turns, steps or _STEPS)
    pieces = pieces_of(system, turns, SEGMENTS)
    longest = pieces.lengths.max()
    needed = longest / (BLOCK * _LONGEST * float(system.time_step))
    now = steps or min(BLOCK << max(0, int(np.ceil(np.log2(max(needed, 1.0))))), _MOST_STEPS)
    with np.errstate(over="ignore", invalid="ignore"):  # where it diverges
        states = walk(system, np.asarray(start).ravel(), pieces, now)
        shot = shoot_on_host(system, states, pieces, now)
        result = _described(np, system, shot, pieces, now, turns)
        before = np.inf
        while steps is None and result.status == Status.OK and now < _MOST_STEPS:
            now, coarse = 2 * now, shot
            shot = shoot_on_host(system, shot.states, pieces, now)
            apart = np.abs(shot.states - coarse.states).max() / (1 + np.abs(shot.states).max())
            result = _described(np, system, shot, pieces, now, turns)
            error = max(float(result.error), apart)
            result = eqx.tree_at(lambda o: o.error, result, as_array(error))
            if error <= _EXACT or not error < before / 4:
                break
            before = error
    return _told(np, result)


def refine(system: Any, orbit: ForcedOrbit) -> ForcedOrbit:
    """The orbit again, by Newton's iteration from itself, with its steps: of `system`.

    It carries derivatives with respect to the system's parameters, and its status tells
    whether the orbit is one of this system.
    """
    turns = orbit.drive_cycles
    segments = orbit.states.shape[0]
    steps = (orbit.ts.shape[0] - 1) // segments
    if not _checks.on_host(system, orbit):
        return _in_a_program(system, orbit.states, turns, steps)
    pieces = pieces_of(system, turns, SEGMENTS)
    flat = np.asarray(orbit.states).reshape(segments, -1)
    with np.errstate(over="ignore", invalid="ignore"):
        shot = shoot_on_host(system, flat, pieces, steps)
        return _told(np, _described(np, system, shot, pieces, steps, turns))


@eqx.filter_jit
def _in_a_program(system: Any, start: jax.Array, turns: int, steps: int) -> ForcedOrbit:
    """From one state, or states (segment, *state)."""
    pieces = pieces_of(system, turns, SEGMENTS)
    size = int(np.prod(system.state_shape))
    flat = start.reshape(-1, size)
    if flat.shape[0] == 1:

        def over(x: jax.Array, piece: Any) -> tuple[jax.Array, jax.Array]:
            one = Pieces(*(part[None] for part in piece))
            return follow(jnp, system, x[None], one, BLOCK).ends[0], x

        flat = jax.lax.scan(over, flat[0], pieces)[1]
    shot = shoot(system, jax.lax.stop_gradient(flat), pieces, steps)
    return _told(jnp, _described(jnp, system, shot, pieces, steps, turns))


def _described(
    xp: Any, system: Any, shot: Shot, pieces: Pieces, steps: int, turns: int
) -> ForcedOrbit:
    """What the orbit is that was shot for."""
    states, residual, moved = shot
    followed = follow(xp, system, states, pieces, steps)
    size, shape = states.shape[1], tuple(system.state_shape)
    dt = xp.repeat(xp.asarray(pieces.lengths) / steps, steps)
    period = turns * xp.asarray(system.drive_period)
    path = xp.concatenate([followed.path.reshape(-1, size), states[:1]])
    slopes = followed.slopes.reshape(-1, size)
    # A jump of the drive bends the path at a sample, where its slope is that of both sides.
    ends = extrema(path, xp.concatenate([slopes, slopes[:1]]), dt[:, None], xp)
    spectrum, error = spectrum_along(xp, followed)
    solved = (residual < _GAP) & (moved < _MOVED)
    cycles = _cycles(xp, _observed(system, path.reshape(-1, *shape)), dt)
    return ForcedOrbit(
        period=as_array(period),
        drive_period=as_array(system.drive_period),
        states=as_array(states.reshape(-1, *shape)),
        ts=as_array(xp.concatenate([xp.zeros(1), xp.cumsum(dt)])),
        samples=as_array(path.reshape(-1, *shape)),
        extrema=as_array(ends.reshape(2, *shape)),
        log_multipliers=as_array(spectrum.logs),
        phases=as_array(spectrum.phases),
        residual=as_array(residual),
        error=as_array(error),
        drive_cycles=turns,
        cycles=as_array(cycles),
        status=as_array(xp.where(solved, Status.OK, Status.NOT_CONVERGED)),
        notation=notation_of(system),
    )


@eqx.filter_jit
def _observed(system: Any, samples: Any) -> jax.Array:
    """What is watched, (sample,)."""
    return jax.vmap(system.observed)(as_array(samples))


def _cycles(xp: Any, values: Any, dt: Any) -> Any:
    """How often a closed path of values rises through its mean over time."""
    values = xp.asarray(values)
    mean = ((values[:-1] + values[1:]) / 2 * dt).sum() / dt.sum()
    moves = xp.ptp(values) > _STILL * (1 + xp.abs(values).max())
    rises = (values[:-1] < mean) & (values[1:] >= mean)
    return xp.where(moves, rises.sum(), 0)


def _told(xp: Any, orbit: ForcedOrbit) -> ForcedOrbit:
    """The orbit, not converged where its multipliers are inexact."""
    inexact = (orbit.status == Status.OK) & ~(orbit.error < _INEXACT)
    status = xp.where(inexact, Status.NOT_CONVERGED, orbit.status)
    return eqx.tree_at(lambda o: o.status, orbit, as_array(status))


def _none(system: Any, state: Any, period: float) -> ForcedOrbit:
    """What is returned where an attractor is not periodic: NaN, but for its last state."""
    shape, nan = tuple(system.state_shape), as_array(jnp.nan)
    size = int(np.prod(shape))
    return ForcedOrbit(
        period=nan,
        drive_period=as_array(period),
        states=state[None],
        ts=jnp.full(2, nan),
        samples=jnp.full((2, *shape), nan),
        extrema=jnp.full((2, *shape), nan),
        log_multipliers=jnp.full(size, nan),
        phases=jnp.full(size, nan, complex),
        residual=nan,
        error=nan,
        drive_cycles=0,
        cycles=jnp.asarray(0),
        status=as_array(Status.NOT_PERIODIC),
        notation=notation_of(system),
    )
