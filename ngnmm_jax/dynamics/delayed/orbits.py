"""Periodic orbits of systems with one delay: found on an attractor, refined by collocation."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.status import Status
from ngnmm_jax.dynamics.delayed.collocation import Collocated, collocate
from ngnmm_jax.dynamics.delayed.monodromy import Leading, leading
from ngnmm_jax.dynamics.delayed.pieces import (
    POINTS,
    Path,
    evaluate,
    from_even,
    from_sequence,
    on_pieces,
    roughness,
    sequence,
    slopes,
)
from ngnmm_jax.dynamics.delayed.runs import settle
from ngnmm_jax.dynamics.paths import STILL, WINDOW, Run, extrema
from ngnmm_jax.dynamics.periodic import Orbit, arrived, no_orbit, told, with_status
from ngnmm_jax.models.notation import named

#: Segments of an orbit, as those of systems without delay have.
SEGMENTS = 8
# Pieces of an orbit: twice as many until their last coefficients are this small, relative to the
# orbit's extent; and under JAX's transformations. Samples of a run that they are laid through.
_PIECES, _TRACED, _FINE, _SAMPLES = (16, 32, 48, 64, 96), 16, 1e-10, 1024
# The default transient and window, in the system's steps, are at least so many delays.
_TRANSIENT, _DELAYS = 40_000, 100
# Runs go on for so many times the default; a window with fewer turns is too short.
_LONGER, _FEW_CROSSINGS, _WIDER = (1, 4, 16), 8, 4
# Steps for which the past is kept, at least; under JAX's transformations at most.
_ROOM = 4096
# Newton's last step relative to the extent, and the equations' residual relative to the slopes.
_MOVED, _GAP = 1e-8, 1e-6
# Turns are the same when they differ by less than this, relative to the extent.
_SAME = 1e-6


def settled(
    system: Any, start: Any, transient: float | None, window: float | None, steps: int | None
) -> Orbit:
    """The orbit that a run settles on whose past is its `start`, (variable,), for ever."""
    known = _checks.on_host(system, start)
    xp: Any = np if known else jnp
    step, delay = system.time_step, system.delay
    room = max(_ROOM, 1 << int(np.ceil(np.log2(float(delay / step) + 4)))) if known else _ROOM
    counts = [
        xp.asarray(
            xp.maximum(default, share * _DELAYS * delay / step)
            if value is None
            else xp.round(value / step),
            float,
        )
        for value, default, share in ((transient, _TRANSIENT, 1.0), (window, WINDOW, 0.4))
    ]

    def run(longer: int, stride: int) -> Run:
        length = xp.maximum(counts[1], 16.0) * stride
        apart = xp.ceil(xp.maximum(counts[1], 16.0) / WINDOW) * stride
        whole = (longer * counts[0] // apart, length // apart, apart)
        before, samples, every = (as_array(n, int) for n in whole)
        return settle(system, as_array(start, float), before, samples, every, _SAMPLES, room)

    if not known:
        end = run(1, 1)
        path = from_even(end.states, _number(steps) or _TRACED)
        result = arrived(xp, _refine(system, path, end.period), end)
        status = jnp.where(end.periodic, told(xp, result).status, Status.NOT_PERIODIC)
        return with_status(result, status)
    found, stride = None, 1
    for longer in _LONGER if transient is None and window is None else (1,):
        end = run(longer, stride)
        few = int(end.crossings) < _FEW_CROSSINGS
        if bool(end.periodic):
            found = arrived(xp, refined(system, end.states, end.period, steps), end)
            if found.status == Status.OK:
                break
        elif bool(end.still) or not few:
            found = None
            break
        stride = stride * _WIDER if few else stride
    if found is None:
        states = end.states[:: _SAMPLES // SEGMENTS]
        return no_orbit(system, states, POINTS * (_number(steps) or _TRACED) + 1)
    return told(xp, found)


def near_guess(system: Any, start: Any, period: Any, steps: int | None) -> Orbit:
    """The orbit near values (sample, variable) at equal steps of a period, its end left out."""
    if _checks.on_host(system, start, period):
        return told(np, refined(system, start, period, steps))
    return told(jnp, _refine(system, from_even(start, _number(steps) or _TRACED), period))


def path_of(orbit: Orbit) -> Path:
    """An orbit as it was found: what it is between its samples."""
    return from_sequence(orbit.ts / orbit.period, orbit.samples)


def refine(system: Any, orbit: Orbit) -> Orbit:
    """The orbit again, by Newton's iteration from itself, with its pieces: of `system`."""
    xp: Any = np if _checks.on_host(system, orbit) else jnp
    result = told(xp, _refine(system, path_of(orbit), orbit.period))
    none = orbit.status == Status.NOT_PERIODIC
    return with_status(result, xp.where(none, orbit.status, result.status))


def refined(system: Any, values: jax.Array, period: Any, steps: int | None) -> Orbit:
    """The orbit near values at equal steps, with as many pieces as it needs; on the host."""
    period, path = as_array(period, float), None
    number = _number(steps)
    for pieces in (number,) if number else _PIECES:
        begin = _laid(values, pieces) if path is None else _again(path, pieces)
        found = collocate(system, begin, period)
        turned = int(_turns(found.path))
        if turned > 1 and bool(jnp.isfinite(found.period)):
            at = jnp.arange(values.shape[0]) / values.shape[0] / turned
            values, path = evaluate(found.path, at), None
            period = found.period / turned
            found = collocate(system, _laid(values, pieces), period)
        sound = bool(found.moved < _MOVED)
        if sound and bool(roughness(found.path) < _FINE):
            break
        if sound:
            path, period = found.path, found.period
    return _described(np, system, found)


_laid = jax.jit(from_even, static_argnums=1)
_again = jax.jit(on_pieces, static_argnums=1)


def _number(steps: int | None) -> int | None:
    """Pieces with as many points as there are steps in all segments."""
    return None if steps is None else max(2, -(-SEGMENTS * steps // POINTS))


@jax.jit
def _turns(path: Path) -> Any:
    """The largest k up to eight for which the orbit has returned after period / k; 1 if none."""
    at = jnp.arange(256) / 256
    values = evaluate(path, at)
    extent = jnp.maximum(jnp.ptp(values, axis=0), 1e-300)

    def back(k: jax.Array) -> jax.Array:
        gap = jnp.abs(evaluate(path, at + 1 / k) - values) / extent
        return jnp.where(gap.max() < _SAME, k, 1)

    return jax.lax.map(back, jnp.arange(2, 9)).max()


def _refine(system: Any, path: Path, period: Any) -> Orbit:
    """Newton's iteration, and what the orbit is; also as part of a program."""
    xp: Any = np if _checks.on_host(system, path, period) else jnp
    found = collocate(system, path, as_array(period, float))
    return _described(xp, system, found)


def _described(xp: Any, system: Any, found: Collocated) -> Orbit:
    """What the orbit is that was found."""
    n = found.path.values.shape[-1]
    if xp is np and not found.moved < _MOVED:  # no orbit, whose multipliers may take for ever
        unknown = jnp.full(n, jnp.nan + 0j), as_array(jnp.nan)
        return named(_assembled(found, *unknown), system)
    spectrum = leading(system, found.path, found.period, as_array(system.gain)[None], n)
    return named(_assembled(found, *map(as_array, _known(xp, spectrum))), system)


@jax.jit
def _assembled(found: Collocated, logs: jax.Array, error: jax.Array) -> Orbit:
    path, period, residual, moved = found
    at, samples = sequence(path)
    _, rises = sequence(path._replace(values=slopes(path)))
    size, extent = 1 + jnp.abs(samples).max(axis=0), jnp.ptp(samples, axis=0)
    still = ~((extent / size).max() > STILL)
    turned = _turns(path)
    converged = (moved < _MOVED) & (residual < _GAP) & (turned == 1)
    status = jnp.where(converged, Status.OK, Status.NOT_CONVERGED)
    return Orbit(
        period=period,
        states=evaluate(path, jnp.arange(SEGMENTS) / SEGMENTS),
        ts=period * at,
        samples=samples,
        extrema=extrema(samples, rises, jnp.diff(at)[:, None]),
        log_multipliers=logs.real,
        phases=jnp.exp(1j * logs.imag),
        residual=residual,
        error=jnp.maximum(error, roughness(path)),
        turns=turned,
        status=jnp.where(still, Status.NOT_PERIODIC, status),
    )


def _known(xp: Any, spectrum: Leading) -> tuple[Any, Any]:
    """Logarithms (count,) of the multipliers, -inf where they are lost, and their error.

    That is how far one of them is from 1, or the largest of the others is from its own of fewer
    pieces.
    """
    logs, errors = spectrum.logs[0], spectrum.errors[0]
    lost = xp.isnan(logs)
    misses = xp.where(lost, xp.inf, xp.abs(xp.where(lost, 1.0, logs)))
    error = misses.min()
    if xp is np:
        error = np.maximum(error, np.nanmax(errors[:2], initial=0.0))
    logs = xp.where(lost, -xp.inf + 0j, logs)
    return logs, error
