"""Periodic orbits of systems with one delay: found on an attractor, refined by collocation."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.status import Status
from ngnmm_jax.dynamics.delayed.collocation import Collocated, collocate
from ngnmm_jax.dynamics.delayed.fourier import coefficients, evaluate, tail
from ngnmm_jax.dynamics.delayed.monodromy import Leading, leading
from ngnmm_jax.dynamics.delayed.runs import settle
from ngnmm_jax.dynamics.paths import STILL, WINDOW, Run, extrema
from ngnmm_jax.dynamics.periodic import Orbit, arrived, no_orbit, told, with_status

#: Segments of an orbit, as those of systems without delay have.
SEGMENTS = 8
# Steps over the period, an odd number: as many as the run seems to need, and twice as many until
# the last third of the coefficients are this small, relative to the orbit's extent; under JAX's
# transformations the second number.
_STEPS, _TRACED, _FINE = (65, 129, 257, 513), 129, 1e-11
# Of a run's coefficients that are this small none is needed at first.
_SEEN = 1e-5
# The default transient and window, in the system's steps, are at least so many delays.
_TRANSIENT, _DELAYS = 40_000, 100
# Runs go on for so many times the default; a window with fewer turns is too short.
_LONGER, _FEW_CROSSINGS, _WIDER = (1, 4, 16), 8, 4
# Steps for which the past is kept, under JAX's transformations.
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
    room = 1 << int(np.ceil(np.log2(float(delay / step) + 4))) if known else _ROOM
    nodes = _nodes(steps) or (_STEPS[-1] if known else _TRACED)
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
        before, samples, every = (jnp.asarray(n, int) for n in whole)
        return settle(system, jnp.asarray(start, float), before, samples, every, nodes, room)

    if not known:
        end = run(1, 1)
        result = arrived(xp, _refine(system, end.states, end.period), end)
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
        return no_orbit(system, end.states[:: max(nodes // SEGMENTS, 1)][:SEGMENTS], nodes + 1)
    return told(xp, found)


def near_guess(system: Any, start: Any, period: Any, steps: int | None) -> Orbit:
    """The orbit near values (sample, variable) at equal steps of a period, its end left out."""
    known = _checks.on_host(system, start, period)
    nodes = start.shape[0]
    odd = nodes if nodes % 2 else nodes + 1
    at = jnp.arange(odd) / odd
    values = start if odd == nodes else _of_even(start, at)
    if known:
        return told(np, refined(system, values, period, steps))
    count = _nodes(steps) or _TRACED
    return told(jnp, _refine(system, _resampled(values, count), period))


def refine(system: Any, orbit: Orbit) -> Orbit:
    """The orbit again, by Newton's iteration from itself, with its steps: of `system`."""
    xp: Any = np if _checks.on_host(system, orbit) else jnp
    result = told(xp, _refine(system, orbit.samples[:-1], orbit.period))
    none = orbit.status == Status.NOT_PERIODIC
    return with_status(result, xp.where(none, orbit.status, result.status))


def refined(system: Any, values: jax.Array, period: Any, steps: int | None) -> Orbit:
    """The orbit near values at equal steps, with as many as it needs; on the host."""
    period = jnp.asarray(period, float)
    for nodes in (_nodes(steps),) if steps else _enough(values):
        found = collocate(system, _resampled(values, nodes), period)
        turned = _turns(found.values)
        if int(turned) > 1 and bool(jnp.isfinite(found.period)):
            series = coefficients(found.values)
            some = evaluate(series, jnp.arange(nodes) / nodes / turned)[0]
            found = collocate(system, some, found.period / turned)
        if bool(tail(found.values) < _FINE):
            break
        if bool(jnp.isfinite(found.values).all()) and bool(found.moved < _MOVED):
            values, period = found.values, found.period
    return _described(np, system, found)


def _nodes(steps: int | None) -> int | None:
    """Steps over the period from those in a segment."""
    return None if steps is None else SEGMENTS * steps + 1


def _enough(values: jax.Array) -> tuple[int, ...]:
    """The numbers of steps from which on a run's values are told from each other."""
    sizes = np.abs(np.asarray(coefficients(values)))
    sizes = (sizes / np.maximum(np.ptp(np.asarray(values), axis=0), 1e-300)).max(axis=1)
    last = np.flatnonzero(sizes > _SEEN).max(initial=0)
    return tuple(n for n in _STEPS if n // 2 > last) or _STEPS[-1:]


def _resampled(values: jax.Array, nodes: int) -> jax.Array:
    """The same function at another number of equal steps."""
    if values.shape[0] == nodes:
        return values
    return evaluate(coefficients(values), jnp.arange(nodes) / nodes)[0]


def _of_even(values: jax.Array, at: jax.Array) -> jax.Array:
    """A function by its values at an even number of steps, whose last coefficient is halved."""
    series = coefficients(values)
    return evaluate(series.at[-1].multiply(0.5), at)[0]


def _turns(values: Float[Array, "node variable"]) -> Any:
    """The largest k up to eight for which the orbit has returned after period / k; 1 if none."""
    series, n = coefficients(values), values.shape[0]
    extent = jnp.maximum(jnp.ptp(values, axis=0), 1e-300)

    def back(k: int) -> Any:
        later = evaluate(series, jnp.arange(n) / n + 1 / k)[0]
        return (jnp.abs(later - values) / extent).max() < _SAME

    return jnp.stack([jnp.where(back(k), k, 1) for k in range(2, 9)]).max()


def _refine(system: Any, values: jax.Array, period: Any) -> Orbit:
    """Newton's iteration, and what the orbit is; also as part of a program."""
    xp: Any = np if _checks.on_host(system, values, period) else jnp
    found = collocate(system, values, jnp.asarray(period, float))
    return _described(xp, system, found)


def _described(xp: Any, system: Any, found: Collocated) -> Orbit:
    """What the orbit is that was found."""
    values, _, period, residual, moved = found
    nodes, n = values.shape
    spectrum = leading(system, values, period, jnp.asarray(system.gain)[None], n)
    logs, error = _known(xp, spectrum)
    rough = tail(values)
    error = xp.maximum(error, rough)
    series = coefficients(values)
    fine, slopes = evaluate(series, jnp.arange(4 * nodes + 1) / (4 * nodes))
    size, extent = 1 + jnp.abs(values).max(axis=0), jnp.ptp(values, axis=0)
    still = ~((extent / size).max() > STILL)
    turned = _turns(values)
    converged = (moved < _MOVED) & (residual < _GAP) & (turned == 1)
    status = xp.where(xp.asarray(converged), Status.OK, Status.NOT_CONVERGED)
    status = xp.where(xp.asarray(still), Status.NOT_PERIODIC, status)
    return Orbit(
        period=period,
        states=evaluate(series, jnp.arange(SEGMENTS) / SEGMENTS)[0],
        ts=period * jnp.arange(nodes + 1) / nodes,
        samples=jnp.concatenate([values, values[:1]]),
        extrema=extrema(fine, slopes, 1 / (4 * nodes)),
        log_multipliers=jnp.asarray(logs.real),
        phases=jnp.exp(1j * jnp.asarray(logs.imag)),
        residual=residual,
        error=jnp.asarray(error),
        turns=turned,
        status=jnp.asarray(status),
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
