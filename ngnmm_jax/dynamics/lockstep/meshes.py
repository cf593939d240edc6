"""Steps of their own for each of many runs, which keep its local error at a tolerance."""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ngnmm_jax._core.arrays import as_array
from ngnmm_jax.dynamics.lockstep.runs import Steps
from ngnmm_jax.integrators.runge_kutta import tsit5_step

VectorField = Callable[[jax.Array], jax.Array]

# Steps of a mesh at most, and the local error, relative to |x| + _SMALL.
MOST_STEPS = 4096
TOLERANCE, _SMALL = 5e-8, 1e-2
#: The method that makes a mesh also follows it, at order five.
mesh_step = tsit5_step
_TABLEAU = dfx.Tsit5.tableau
_WEIGHTS, _ERRORS = np.asarray(_TABLEAU.b_sol), np.asarray(_TABLEAU.b_error)


class Mesh(NamedTuple):
    """Steps that follow each run at a tolerance.

    - `steps` (step, run): their lengths as fractions of the run's duration, zero at the end.
    - `number` (run,): how many there are; `reached` (run,): they cover the duration.
    - `end`, `low`, `high` (variable, run): the last state, and the lowest and highest values.
    - `passes` (variable, fraction, run): states at the fractions of the duration asked for.
    """

    steps: Float[Array, "step run"]
    number: Int[Array, "run"]
    reached: Bool[Array, "run"]
    end: Float[Array, "variable run"]
    low: Float[Array, "variable run"]
    high: Float[Array, "variable run"]
    passes: Float[Array, "variable fraction run"]


class _Making(NamedTuple):
    """A mesh that is being made: trials so far, the mesh, times, and the next steps (run,)."""

    trials: Int[Array, ""]
    mesh: Mesh
    t: Float[Array, "run"]
    h: Float[Array, "run"]


class _Trial(NamedTuple):
    """A step that is tried: from where to where, its error, and the slopes at both ends."""

    begin: Float[Array, "variable run"]
    end: Float[Array, "variable run"]
    error: Float[Array, "variable run"]
    first: Float[Array, "variable run"]
    last: Float[Array, "variable run"]


def adaptive_mesh(
    field: VectorField,
    start: Float[Array, "variable run"],
    duration: Float[Array, "run"],
    steps: Steps,
    *,
    tolerance: Float[Array, ""] | float = TOLERANCE,
    fractions: tuple[float, ...] = (),
) -> Mesh:
    """Steps that keep the local error of order five of each run at a tolerance.

    Spikes get short steps, what lies between them long ones (up to `steps.longest`), and each
    run its own, whatever runs beside it. States at `fractions` of the duration come from
    cubic interpolation. Source: Tsitouras, Comput. Math. Appl. 62, 770
    (2011), with diffrax's coefficients.
    """
    longest = steps.longest
    wanted = as_array(fractions)[:, None]

    def unfinished(now: _Making) -> jax.Array:
        going = (now.t < duration) & (now.mesh.number < MOST_STEPS) & jnp.isfinite(now.t)
        return (now.trials < 2 * MOST_STEPS) & going.any()

    def step(now: _Making) -> _Making:
        mesh, t = now.mesh, now.t
        left = duration - t
        h = jnp.minimum(now.h, left)
        trial = _tried(field, mesh.end, h)
        size = jnp.maximum(jnp.abs(trial.begin), jnp.abs(trial.end))
        size = (trial.error / (tolerance * (_SMALL + size))).max(axis=0)
        size = jnp.where(jnp.isfinite(size), size, 1e6)
        accept = (size <= 1) & (left > 0) & (mesh.number < MOST_STEPS)
        passes = mesh.passes
        if fractions:
            s = (duration * wanted - t) / jnp.where(h > 0, h, 1.0)
            here = accept & (s > 0) & (s <= 1)
            passes = jnp.where(here, _between(trial, h, s), passes)
        lengths = _with_step(mesh, jnp.where(accept, h / duration, 0.0), accept)
        t = jnp.where(accept, jnp.where(h >= left, duration, t + h), t)
        y = jnp.where(accept, trial.end, trial.begin)
        low, high = jnp.minimum(mesh.low, y), jnp.maximum(mesh.high, y)
        mesh = Mesh(lengths, mesh.number + accept, t >= duration, y, low, high, passes)
        factor = jnp.clip(0.9 * jnp.maximum(size, 1e-12) ** -0.2, 0.2, 4.0)
        h = jnp.where(left > 0, jnp.minimum(h * factor, longest), h)
        return _Making(now.trials + 1, mesh, t, h)

    shape = duration.shape
    nothing = Mesh(
        jnp.zeros((MOST_STEPS, *shape)),
        jnp.zeros(shape, int),
        jnp.zeros(shape, bool),
        start,
        start,
        start,
        jnp.broadcast_to(start[:, None], (start.shape[0], len(fractions), *shape)),
    )
    begin = _Making(jnp.asarray(0), nothing, jnp.zeros(shape), steps.dt)
    return jax.lax.while_loop(unfinished, step, begin).mesh


def _tried(field: VectorField, y: Float[Array, "variable run"], h: Float[Array, "run"]) -> _Trial:
    """A step of lengths h, with what the embedded method of order four says of its error."""
    slopes = [field(y)]
    for row in _TABLEAU.a_lower:
        slopes.append(field(_combined(y, h, row, slopes)))
    end = _combined(y, h, _WEIGHTS, slopes)
    error = jnp.abs(_combined(jnp.zeros_like(y), h, _ERRORS, slopes))
    return _Trial(y, end, error, slopes[0], slopes[-1])


def _combined(y: jax.Array, h: jax.Array, factors: Any, slopes: list[jax.Array]) -> jax.Array:
    terms = (float(a) * k for a, k in zip(factors, slopes, strict=True) if a != 0)
    return y + h * sum(terms)


def _between(trial: _Trial, h: Float[Array, "run"], s: Float[Array, "fraction run"]) -> jax.Array:
    """States at fractions of a step, (variable, fraction, run), by cubic interpolation."""
    m0, m1, y0, y1 = h * trial.first, h * trial.last, trial.begin, trial.end
    cubic = m0[:, None] + s * (
        (3 * (y1 - y0) - 2 * m0 - m1)[:, None] + s * (2 * (y0 - y1) + m0 + m1)[:, None]
    )
    return y0[:, None] + s * cubic


def _with_step(
    mesh: Mesh, length: Float[Array, "run"], accept: Bool[Array, "run"]
) -> Float[Array, "step run"]:
    """The mesh's steps and one more where it is accepted."""
    here = jnp.minimum(mesh.number, MOST_STEPS - 1)[None]
    old = jnp.take_along_axis(mesh.steps, here, axis=0)[0]
    new = jnp.where(accept, length, old)[None]
    return jnp.put_along_axis(mesh.steps, here, new, axis=0, inplace=False)


def over_mesh(
    field: Callable[[Any], Any], start: Any, duration: Float[Array, "run"], mesh: Mesh
) -> Any:
    """The state, an array or several, after `duration`, on a mesh."""

    # The next step's length is carried along: XLA would otherwise fetch it anew for every
    # element of the state, at half the speed.
    def step(k: jax.Array, carry: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
        y, h = carry
        return mesh_step(field, y, h), mesh.steps[k + 1] * duration

    begin = (start, mesh.steps[0] * duration)
    return jax.lax.fori_loop(0, mesh.number.max(), step, begin)[0]
