"""Attractors of many systems at once: runs in lock-step, along the last axis of the state.

Where `orbits` takes one system and refines its orbit until its residual no longer falls, this
takes hundreds that share a vector field, with steps of order four and five, for maps over
parameters: a step of all of them is a few elementwise operations. Shapes are (variable, run), and
(variable, tangent, run) for perturbations.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ngnmm_jax._core import checks as _checks
from ngnmm_jax.integrators.loops import rk4_step, tsit5_step

VectorField = Callable[[jax.Array], jax.Array]

# Less extent than this, relative to 1 + |x|, is an equilibrium.
STILL = 1e-6
# Newton's iterations of the shooting, and the residual, relative to 1 + |x|, that ends them.
_NEWTON, _CONVERGED = 10, 1e-11
# A monodromy matrix with entries beyond this belongs to no attractor: Newton's iteration is left.
_WILD = 1e8
# Steps of a mesh: how many at most, the longest in units of the steps' tempo and of the steps
# (the fastest times are twenty of them), and the local error, relative to |x| + _SMALL.
MOST_STEPS, _LONGEST, _DAMPED = 4096, 8, 40
_TOLERANCE, _COARSE, _SMALL = 5e-8, 3e-5, 1e-2
#: The method that makes a mesh also follows it, at order five.
mesh_step = tsit5_step
# An orbit has turned k times when it is back after period / k to this fraction of its extent.
_TURNED = 1e-3
_MOST_TURNS = 8
_PARTS = tuple(1 / k for k in range(2, _MOST_TURNS + 1))
# Returns are looked for among this many crossings of the section.
_MOST_CROSSINGS = 16


class Return(NamedTuple):
    """The least return that a run makes to where it was slowest.

    - `state` (variable, run): where it was; `period` (run,): when it came back.
    - `gap` (run,): how near it came, relative to the run's extent; infinite where it did not.
    - `low`, `high` (variable, run): of the path.
    - `still` (run,): it does not move.
    """

    state: Float[Array, "variable run"]
    period: Float[Array, "run"]
    gap: Float[Array, "run"]
    low: Float[Array, "variable run"]
    high: Float[Array, "variable run"]
    still: Bool[Array, "run"]


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


class Cycle(NamedTuple):
    """Periodic orbits.

    - `state` (variable, run): on the orbit; `period` (run,): the least one.
    - `monodromy` (variable, variable, run): over `period`.
    - `low`, `high` (variable, run): along the orbit.
    - `turns` (run,): how often the guess's period runs through the orbit.
    - `residual` (run,): distance of the end from the start, relative to 1 + |x|.
    """

    state: Float[Array, "variable run"]
    period: Float[Array, "run"]
    monodromy: Float[Array, "variable variable run"]
    low: Float[Array, "variable run"]
    high: Float[Array, "variable run"]
    turns: Int[Array, "run"]
    residual: Float[Array, "run"]

    @property
    def converged(self) -> Bool[Array, "run"]:
        """Whether Newton's iteration reached its tolerance on something that moves.

        A slow spiral into an equilibrium nearly returns too, but not as near as that when
        measured by its own extent.
        """
        size = 1 + jnp.maximum(jnp.abs(self.low), jnp.abs(self.high))
        extent = ((self.high - self.low) / size).max(axis=0)
        small = self.residual < jnp.minimum(1e2 * _CONVERGED, 1e-5 * extent)
        return small & (extent > 10 * STILL)


class Steps(NamedTuple):
    """How runs are followed.

    NumPy's arrays where a model's parameters are known.

    - `dt` (run,): steps that follow the fastest of each.
    - `stiffness` (run,): how many of them make one that its activity alone would ask for: the unit
      in which transients and windows are counted.
    """

    dt: Any
    stiffness: Any

    @classmethod
    def of(cls, model: Any, runs: int) -> "Steps":
        """Those of a model's parameters, which are scalars, (region, #run) or (run,)."""
        sizes, tempos = model.step_sizes(), model.tempo()
        xp = np if _checks.is_concrete(sizes, tempos) else jnp

        def least(value: Any) -> Any:
            return xp.broadcast_to(value.min(axis=0) if value.ndim > 1 else value, (runs,))

        dt = least(sizes)
        return cls(dt, xp.maximum(1.0, xp.round(least(tempos) / dt)))

    @property
    def tempo(self) -> Any:
        """The unit in which transients and windows are counted."""
        return self.dt * self.stiffness

    @property
    def longest(self) -> Float[Array, "run"]:
        """The longest steps of a mesh: those of order five damp what is fastest even so."""
        return jnp.minimum(_LONGEST * self.tempo, _DAMPED * self.dt)


def repeat(
    step: Callable[[Any, Float[Array, "run"]], Any], state: Any, dt: Any, number: Any
) -> Any:
    """`step(state, dt)`, each run `number` (run,) times: those that are done stand still."""

    def one(k: jax.Array, state: Any) -> Any:
        return step(state, jnp.where(k < number, dt, 0.0))

    return jax.lax.fori_loop(0, number.max().astype(int), one, state)


def settle(
    field: VectorField,
    start: Float[Array, "variable run"],
    steps: Steps,
    *,
    transient: int,
    samples: int,
    stride: int,
) -> tuple[Float[Array, "variable run"], Float[Array, "sample variable run"]]:
    """The state after `transient` and then `samples` samples, and the path of the latter.

    Samples are `stride` of the steps' tempo apart.
    """

    def sample(k: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        x, path = carry
        number = stride * steps.stiffness
        x = repeat(lambda x, h: rk4_step(field, x, h), x, steps.dt, number)
        return x, path.at[jnp.maximum(k - transient, 0)].set(x)

    nothing = jnp.zeros((samples, *start.shape), start.dtype)
    return jax.lax.fori_loop(0, transient + samples, sample, (start, nothing))


def least_return(
    field: VectorField,
    path: Float[Array, "sample variable run"],
    dt: Any,
    same: float,
) -> Return:
    """The first of a path's returns that is as near as any, on a section through it.

    The section is put where the path is slowest in its first third, where interpolation
    between samples, `dt` apart, is best. Returns nearer than `same` are not told apart, for
    the error of that; after a period doubling, half a turn is not as near.
    """
    n = path.shape[0]
    low, high = path.min(axis=0), path.max(axis=0)
    extent = high - low
    still = (extent / (1 + jnp.abs(path).max(axis=0))).max(axis=0) < STILL
    scale = jnp.where(extent > 0, extent, 1.0)
    speed = (jnp.abs(path[1 : n // 3] - path[: n // 3 - 1]) / scale).max(axis=1)
    origin = jnp.argmin(speed, axis=0)
    anchor = jnp.take_along_axis(path, origin[None, None], axis=0)[0]
    height = ((path - anchor) * (field(anchor) / scale**2)).sum(axis=1)
    later = jnp.arange(n - 1)[:, None] > origin + 1
    crossing = (height[:-1] < 0) & (height[1:] >= 0) & later
    fraction = height[:-1] / jnp.where(crossing, height[:-1] - height[1:], 1.0)
    where = path[:-1] + fraction[:, None] * (path[1:] - path[:-1])
    number = jnp.cumsum(crossing, axis=0)
    early = crossing & (number <= _MOST_CROSSINGS)
    gap = jnp.where(early, (jnp.abs(where - anchor) / scale).max(axis=1), jnp.inf)
    nearest = gap.min(axis=0)
    first = jnp.argmax(gap <= jnp.maximum(3 * nearest, same), axis=0)
    lapse = first - origin + jnp.take_along_axis(fraction, first[None], axis=0)[0]
    return Return(anchor, lapse * dt, nearest, low, high, still)


def adaptive_mesh(
    field: VectorField,
    start: Float[Array, "variable run"],
    duration: Float[Array, "run"],
    steps: Steps,
    *,
    tolerance: Float[Array, ""] | float = _TOLERANCE,
    fractions: tuple[float, ...] = (),
) -> Mesh:
    """Steps that keep the local error of order five of each run at a tolerance.

    Spikes get short steps, what lies between them long ones (up to `steps.longest`), and each
    run its own, whatever runs beside it. States at `fractions` of the duration come from
    cubic interpolation. Source: Tsitouras, Comput. Math. Appl. 62, 770
    (2011), with diffrax's coefficients.
    """
    tableau = dfx.Tsit5.tableau
    weights, errors = np.asarray(tableau.b_sol), np.asarray(tableau.b_error)
    longest = steps.longest
    wanted = jnp.asarray(fractions)[:, None]

    def combine(y: jax.Array, h: jax.Array, factors: Any, ks: list[jax.Array]) -> jax.Array:
        terms = (float(a) * k for a, k in zip(factors, ks, strict=True) if a != 0)
        return y + h * sum(terms)

    def unfinished(carry: Any) -> jax.Array:
        trial, mesh, t, _ = carry
        going = (t < duration) & (mesh.number < MOST_STEPS) & jnp.isfinite(t)
        return (trial < 2 * MOST_STEPS) & going.any()

    def step(carry: Any) -> Any:
        trial, mesh, t, h = carry
        y = mesh.end
        left = duration - t
        h = jnp.minimum(h, left)
        ks = [field(y)]
        for row in tableau.a_lower:
            ks.append(field(combine(y, h, row, ks)))
        new = combine(y, h, weights, ks)
        size = jnp.abs(combine(jnp.zeros_like(y), h, errors, ks))
        size = (size / (tolerance * (_SMALL + jnp.maximum(jnp.abs(y), jnp.abs(new))))).max(axis=0)
        size = jnp.where(jnp.isfinite(size), size, 1e6)
        accept = (size <= 1) & (left > 0) & (mesh.number < MOST_STEPS)
        here = jnp.minimum(mesh.number, MOST_STEPS - 1)[None]
        fraction = jnp.where(accept, h / duration, 0.0)
        old = jnp.take_along_axis(mesh.steps, here, axis=0)[0]
        lengths = jnp.put_along_axis(
            mesh.steps, here, jnp.where(accept, fraction, old)[None], axis=0, inplace=False
        )
        after = jnp.where(accept, jnp.where(h >= left, duration, t + h), t)
        passes = mesh.passes
        if fractions:
            s = (duration * wanted - t) / jnp.where(h > 0, h, 1.0)
            m0, m1, y0, y1 = h * ks[0], h * ks[-1], y, new
            cubic = m0[:, None] + s * (
                (3 * (y1 - y0) - 2 * m0 - m1)[:, None] + s * (2 * (y0 - y1) + m0 + m1)[:, None]
            )
            here_now = accept & (s > 0) & (s <= 1)
            passes = jnp.where(here_now, y0[:, None] + s * cubic, passes)
        t = after
        y = jnp.where(accept, new, y)
        low, high = jnp.minimum(mesh.low, y), jnp.maximum(mesh.high, y)
        mesh = Mesh(lengths, mesh.number + accept, t >= duration, y, low, high, passes)
        factor = jnp.clip(0.9 * jnp.maximum(size, 1e-12) ** -0.2, 0.2, 4.0)
        return trial + 1, mesh, t, jnp.where(left > 0, jnp.minimum(h * factor, longest), h)

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
    begin = (jnp.asarray(0), nothing, jnp.zeros(shape), steps.dt)
    return jax.lax.while_loop(unfinished, step, begin)[1]


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


def _turns(mesh: Mesh, state: Float[Array, "variable run"]) -> Int[Array, "run"]:
    """How often each run goes through a shorter orbit, from its passes at `_PARTS`."""
    extent = jnp.maximum(mesh.high - mesh.low, 1e-300)
    gap = (jnp.abs(mesh.passes - state[:, None]) / extent[:, None]).max(axis=0)
    k = np.arange(2, _MOST_TURNS + 1)[:, None]
    return jnp.where(gap < _TURNED, k, 1).max(axis=0)


def shoot(
    field: VectorField,
    variational: Callable[[Any], Any],
    guess: Float[Array, "variable run"],
    period: Float[Array, "run"],
    steps: Steps,
    iterations: Int[Array, ""] | int = _NEWTON,
) -> Cycle:
    """Periodic orbits near guesses, by Newton's iteration on one period, and what they are.

    On a coarse mesh first, then on a fine one. Guesses that run through a shorter orbit several
    times are seen between the two, and led back. The passes are one loop, so that the field and
    its linearisation are compiled once.

    For attractors, whose monodromy matrices are small; `variational` is the field of a pair: a
    state and its perturbations (variable, tangent, run). The section is normal to the flow.
    """
    size, runs = guess.shape
    eye = jnp.broadcast_to(jnp.eye(size)[:, :, None], (size, size, runs))

    def turn(x: jax.Array, period: jax.Array, mesh: Mesh) -> tuple[jax.Array, jax.Array]:
        return over_mesh(variational, (x, eye), period, mesh)

    def error(x: jax.Array, end: jax.Array) -> jax.Array:
        size = jnp.abs(end - x).max(axis=0) / (1 + jnp.abs(x).max(axis=0))
        return jnp.where(jnp.isfinite(size), size, jnp.inf)

    def unfinished(carry: Any) -> jax.Array:
        left, *_, stalled, residual, monodromy = carry
        wild = jnp.abs(monodromy).max(axis=(0, 1)) > _WILD
        return (left > 0) & ~((residual < _CONVERGED) | stalled | wild).all()

    def step(mesh: Mesh, carry: Any) -> Any:
        left, x, period, stalled, before, _ = carry
        end, monodromy = turn(x, period, mesh)
        residual = error(x, end)
        # Newton's iteration converges fast, or has met the rounding's floor, or will not.
        stalled |= (left < iterations - 2) & ~(residual < 0.5 * before)
        normal = field(x)
        normal = normal / jnp.maximum(jnp.abs(normal).max(axis=0), 1e-300)
        matrix = jnp.zeros((runs, size + 1, size + 1))
        matrix = matrix.at[:, :size, :size].set(jnp.moveaxis(monodromy - eye, -1, 0))
        matrix = matrix.at[:, :size, size].set(field(end).T).at[:, size, :size].set(normal.T)
        gap = jnp.concatenate([end - x, jnp.zeros((1, runs))]).T
        delta = jnp.linalg.solve(matrix, gap[..., None])[..., 0].T
        shrink = jnp.minimum(1.0, 0.2 * period / jnp.maximum(jnp.abs(delta[size]), 1e-300))
        move = (residual >= _CONVERGED) & jnp.isfinite(delta).all(axis=0)
        x = jnp.where(move, x - shrink * delta[:size], x)
        period = jnp.where(move, period - shrink * delta[size], period)
        return left - 1, x, period, stalled, residual, monodromy

    def newton(
        mesh: Mesh, x: jax.Array, period: jax.Array, most: jax.Array
    ) -> tuple[jax.Array, ...]:
        begin = (most, x, period, jnp.zeros(runs, bool), jnp.ones(runs), eye)
        _, x, period, _, residual, monodromy = jax.lax.while_loop(
            unfinished, lambda carry: step(mesh, carry), begin
        )
        return x, period, residual, monodromy

    def left(carry: Any) -> jax.Array:
        pass_, *_, several = carry
        return (pass_ < 2) | ((pass_ == 2) & several)

    def one_pass(carry: Any) -> Any:
        # The coarse mesh; the fine one, if no period holds several turns; else once more.
        pass_, cycle, reached, _ = carry
        tolerance = jnp.where(pass_ == 0, _COARSE, _TOLERANCE)
        mesh = adaptive_mesh(
            field, cycle.state, cycle.period, steps, tolerance=tolerance, fractions=_PARTS
        )
        looks = pass_ == 1
        turns = jnp.where(looks, _turns(mesh, cycle.state), 1)
        several = looks & (turns > 1).any()
        period = cycle.period / turns
        most = jnp.where(several, 0, iterations)
        x, period, residual, monodromy = newton(mesh, cycle.state, period, most)
        turns = jnp.where(looks, turns, cycle.turns)
        found = Cycle(x, period, monodromy, mesh.low, mesh.high, turns, residual)
        return pass_ + 1, found, jnp.where(looks, mesh.reached, reached), several

    nothing = Cycle(guess, period, eye, guess, guess, jnp.ones(runs, int), jnp.ones(runs))
    begin = (jnp.asarray(0), nothing, jnp.zeros(runs, bool), jnp.array(False))
    _, cycle, reached, _ = jax.lax.while_loop(left, one_pass, begin)
    return cycle._replace(residual=jnp.where(reached, cycle.residual, jnp.inf))
