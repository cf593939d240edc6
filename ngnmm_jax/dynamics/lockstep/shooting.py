"""Periodic orbits of many systems at once, by Newton's iteration on one period of each."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ngnmm_jax.dynamics.lockstep.meshes import TOLERANCE, Mesh, adaptive_mesh, over_mesh
from ngnmm_jax.dynamics.lockstep.runs import Steps
from ngnmm_jax.dynamics.paths import STILL

VectorField = Callable[[jax.Array], jax.Array]

# Newton's iterations, and the residual, relative to 1 + |x|, that ends them.
_NEWTON, _CONVERGED = 10, 1e-11
# A monodromy matrix with entries beyond this belongs to no attractor: Newton's iteration is left.
_WILD = 1e8
# The tolerance of the first mesh.
_COARSE = 3e-5
# An orbit has turned k times when it is back after period / k to this fraction of its extent.
_TURNED = 1e-3
_MOST_TURNS = 8
_PARTS = tuple(1 / k for k in range(2, _MOST_TURNS + 1))


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


class _Iterate(NamedTuple):
    """Where Newton's iteration is: iterations left, a guess of each orbit, and how good it is.

    `stalled` (run,): it has met the rounding's floor, or will not converge.
    """

    left: Int[Array, ""]
    state: Float[Array, "variable run"]
    period: Float[Array, "run"]
    stalled: Bool[Array, "run"]
    residual: Float[Array, "run"]
    monodromy: Float[Array, "variable variable run"]


class _Pass(NamedTuple):
    """Passes so far, what they found, whether their mesh reached, and whether any of them saw
    several turns.
    """

    number: Int[Array, ""]
    cycle: Cycle
    reached: Bool[Array, "run"]
    several: Bool[Array, ""]


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
    shooting = _Shooting(field, variational, eye, iterations)

    def left(now: _Pass) -> jax.Array:
        return (now.number < 2) | ((now.number == 2) & now.several)

    def one_pass(now: _Pass) -> _Pass:
        # The coarse mesh; the fine one, if no period holds several turns; else once more.
        cycle = now.cycle
        tolerance = jnp.where(now.number == 0, _COARSE, TOLERANCE)
        mesh = adaptive_mesh(
            field, cycle.state, cycle.period, steps, tolerance=tolerance, fractions=_PARTS
        )
        looks = now.number == 1
        turns = jnp.where(looks, _turns(mesh, cycle.state), 1)
        several = looks & (turns > 1).any()
        most = jnp.where(several, 0, iterations)
        end = shooting.newton(mesh, cycle.state, cycle.period / turns, most)
        turns = jnp.where(looks, turns, cycle.turns)
        found = Cycle(
            end.state, end.period, end.monodromy, mesh.low, mesh.high, turns, end.residual
        )
        reached = jnp.where(looks, mesh.reached, now.reached)
        return _Pass(now.number + 1, found, reached, several)

    nothing = Cycle(guess, period, eye, guess, guess, jnp.ones(runs, int), jnp.ones(runs))
    begin = _Pass(jnp.asarray(0), nothing, jnp.zeros(runs, bool), jnp.array(False))
    _, cycle, reached, _ = jax.lax.while_loop(left, one_pass, begin)
    return cycle._replace(residual=jnp.where(reached, cycle.residual, jnp.inf))


@dataclasses.dataclass(frozen=True)
class _Shooting:
    """Newton's iteration over one period, on a mesh.

    - `field`, `variational`, `iterations`: as `shoot` has them.
    - `eye` (variable, variable, run): the perturbations at the beginning.
    """

    field: VectorField
    variational: Callable[[Any], Any]
    eye: Float[Array, "variable variable run"]
    iterations: Int[Array, ""] | int

    def newton(self, mesh: Mesh, x: jax.Array, period: jax.Array, most: jax.Array) -> _Iterate:
        """From guesses, at most so many iterations."""
        runs = period.shape[0]
        begin = _Iterate(most, x, period, jnp.zeros(runs, bool), jnp.ones(runs), self.eye)
        return jax.lax.while_loop(_unfinished, lambda now: self._step(mesh, now), begin)

    def _step(self, mesh: Mesh, now: _Iterate) -> _Iterate:
        left, x, period, stalled, before, _ = now
        size = x.shape[0]
        end, monodromy = over_mesh(self.variational, (x, self.eye), period, mesh)
        residual = _residual(x, end)
        # Newton's iteration converges fast, or has met the rounding's floor, or will not.
        stalled |= (left < self.iterations - 2) & ~(residual < 0.5 * before)
        delta = self._correction(x, end, monodromy)
        shrink = jnp.minimum(1.0, 0.2 * period / jnp.maximum(jnp.abs(delta[size]), 1e-300))
        move = (residual >= _CONVERGED) & jnp.isfinite(delta).all(axis=0)
        x = jnp.where(move, x - shrink * delta[:size], x)
        period = jnp.where(move, period - shrink * delta[size], period)
        return _Iterate(left - 1, x, period, stalled, residual, monodromy)

    def _correction(self, x: jax.Array, end: jax.Array, monodromy: jax.Array) -> jax.Array:
        """Newton's step of the states and, last, of the periods, (variable + 1, run)."""
        size, runs = x.shape
        normal = self.field(x)
        normal = normal / jnp.maximum(jnp.abs(normal).max(axis=0), 1e-300)
        matrix = jnp.zeros((runs, size + 1, size + 1))
        matrix = matrix.at[:, :size, :size].set(jnp.moveaxis(monodromy - self.eye, -1, 0))
        matrix = matrix.at[:, :size, size].set(self.field(end).T)
        matrix = matrix.at[:, size, :size].set(normal.T)
        gap = jnp.concatenate([end - x, jnp.zeros((1, runs))]).T
        return jnp.linalg.solve(matrix, gap[..., None])[..., 0].T


def _unfinished(now: _Iterate) -> jax.Array:
    wild = jnp.abs(now.monodromy).max(axis=(0, 1)) > _WILD
    return (now.left > 0) & ~((now.residual < _CONVERGED) | now.stalled | wild).all()


def _residual(x: jax.Array, end: jax.Array) -> Float[Array, "run"]:
    size = jnp.abs(end - x).max(axis=0) / (1 + jnp.abs(x).max(axis=0))
    return jnp.where(jnp.isfinite(size), size, jnp.inf)


def _turns(mesh: Mesh, state: Float[Array, "variable run"]) -> Int[Array, "run"]:
    """How often each run goes through a shorter orbit, from its passes at `_PARTS`."""
    extent = jnp.maximum(mesh.high - mesh.low, 1e-300)
    gap = (jnp.abs(mesh.passes - state[:, None]) / extent[:, None]).max(axis=0)
    k = np.arange(2, _MOST_TURNS + 1)[:, None]
    return jnp.where(gap < _TURNED, k, 1).max(axis=0)
