"""Curves of cycles of systems with one delay, over one parameter: pseudo-arclength on collocation.

Unknown are the polynomials on the pieces of a period (`pieces`), the period, and the parameter. A
step of Newton's iteration is that of `collocation` with the parameter as another unknown, and with
the plane across the curve's direction as another equation.

Source: Engelborghs, Luzyanina and Roose, ACM Trans. Math. Softw. 28, 1 (2002): DDE-BIFTOOL.
"""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import ParametrisedField
from ngnmm_jax.dynamics.continuation.arclength import Event, Step, concrete
from ngnmm_jax.dynamics.continuation.clocks import AbstractClock
from ngnmm_jax.dynamics.continuation.cycle_curves import (
    AbstractCycleProblem,
    Measures,
    bifurcations,
)
from ngnmm_jax.dynamics.delayed.collocation import each_point, eliminated, past_of_path
from ngnmm_jax.dynamics.delayed.monodromy import leading
from ngnmm_jax.dynamics.delayed.pieces import (
    PLACES,
    POINTS,
    Path,
    evaluate,
    on_pieces,
    roughness,
    slopes,
    times,
)
from ngnmm_jax.dynamics.delayed.system import linearised
from ngnmm_jax.dynamics.paths import extrema

# Pieces, more where the last coefficients are larger than this, relative to the cycle's extent.
PIECES, _FINE = (16, 32, 48, 64, 96), 1e-8
# Newton's iterations, and steps that end them, in units of arclength.
_NEWTON, _DONE = 12, 1e-10
# Multipliers that are known at least; places at which a cycle is measured.
_FEWEST, _SAMPLES = 8, 256
# Amplitude of the first cycle at a Hopf point, in units of arclength.
_AMPLITUDE = 0.02


def _quadrature() -> np.ndarray:
    """Weights at the points of a piece, of its width."""
    vander = np.polynomial.chebyshev.chebvander(2 * PLACES - 1, POINTS)
    order = np.arange(POINTS + 1)
    moments = np.where(order % 2 == 0, 1 / (1 - np.where(order % 2, 0.0, order) ** 2), 0.0)
    return np.linalg.solve(vander.T, moments)


_WEIGHTS = _quadrature()


class LateProfile(eqx.Module):
    """A cycle as polynomials on pieces; `scalars`: the parameter, and the period's logarithm."""

    mesh: Float[Array, "end"]
    values: Float[Array, "piece point variable"]
    scalars: Float[Array, "2"]

    @property
    def path(self) -> Path:
        """Without the scalars."""
        return Path(self.mesh, self.values)

    @property
    def points(self) -> Any:
        """At the beginning of each piece, (piece, variable)."""
        return self.values[:, 0]

    @property
    def extrema(self) -> Float[np.ndarray, "2 variable"]:
        """Lowest and highest values."""
        x, rises = self.at(np.arange(_SAMPLES + 1) / _SAMPLES)
        return extrema(x, rises, 1 / _SAMPLES, np)

    def at(self, ts: Any) -> tuple[np.ndarray, np.ndarray]:
        """The cycle and its slope, each (time, variable), at times (time,) in [0, 1]."""
        here, ts = jax.tree.map(as_array, (self, ts))
        rises = Path(here.mesh, slopes(here.path))
        x, slope = (np.asarray(evaluate(path, ts)) for path in (here.path, rises))
        return x, slope

    def moved(self, direction: "LateProfile", by: Any) -> "LateProfile":
        """The profile and `by` times another one on the same mesh."""
        values = self.values + by * direction.values
        return LateProfile(self.mesh, values, self.scalars + by * direction.scalars)

    def on(self, mesh: Float[Array, "end"]) -> "LateProfile":
        """The same function on other pieces."""
        values = evaluate(self.path, times(mesh).ravel())
        shape = (mesh.size - 1, POINTS + 1, self.values.shape[-1])
        return LateProfile(mesh, values.reshape(shape), self.scalars)


class LateCycles(AbstractCycleProblem):
    """Cycles of a `DelayedSystem` over one parameter."""

    field: ParametrisedField
    state_scales: Float[np.ndarray, "dimension"]
    parameter_scales: Float[np.ndarray, "parameter"]
    longest: Float[np.ndarray, ""]
    clock: AbstractClock
    shrunk: ClassVar[str] = "hopf"
    exhaustive: ClassVar[bool] = True
    most: ClassVar[int] = PIECES[-1]

    def events(self, before: Step, after: Step) -> list[Event]:
        return bifurcations(before, after, phased=True)

    def advance(self, step: Step, length: float) -> Step:
        """The point of the curve at a distance from another one."""
        begin = step.point.moved(step.tangent, length)
        now, tangent, size, count = begin, step.tangent, np.inf, 0
        while count < _NEWTON and not size < _DONE:
            found = _newton(self, now, step.tangent)
            size, count = float(found.size), count + 1
            if not np.isfinite(size):
                break
            now, tangent = now.moved(found.change, 1.0), found.tangent
        return self._told(begin, now, tangent, step.tangent, (size, count))

    def _told(
        self,
        begin: LateProfile,
        point: LateProfile,
        tangent: LateProfile,
        before: LateProfile,
        ended: tuple[float, int],
    ) -> Step:
        """The point, what is measured of it, and its multipliers."""
        size, count = ended
        step = concrete(_measured(self, point, tangent, begin, before))
        converged = size < np.sqrt(_DONE)
        spectrum = np.zeros(max(self.dimension, _FEWEST), complex)
        missed = np.nan
        if converged:
            system = self.field.at(point.scalars[:1])
            period = jnp.exp(point.scalars[-1])
            gain = as_array(system.gain)[None]
            found = leading(system, point.path, period, gain, spectrum.size)
            logs, errors = found.logs[0], found.errors[0]
            spectrum = np.where(np.isnan(logs), -np.inf + 0j, logs)
            missed = max(np.abs(spectrum).min(), np.nanmax(errors[:2], initial=0.0))
        unstable = self.growing(np.exp(spectrum), step)
        return eqx.tree_at(
            lambda s: (s.spectrum, s.unstable, s.iterations, s.converged, s.cycle.missed),
            step,
            (spectrum, unstable, count, converged, missed),
            is_leaf=lambda leaf: leaf is None,
        )

    def refined(self, step: Step, *, needed: bool = False) -> Step:
        """The point on pieces that share its error, more of them where it is too large."""
        if not (needed or float(step.cycle.roughness) > _FINE):
            return step
        count = step.point.values.shape[0]
        path = on_pieces(step.point.path, count)
        if needed or float(roughness(path)) > _FINE:
            more = [number for number in PIECES if number > count]
            if not more and needed:
                return step
            path = on_pieces(step.point.path, more[0] if more else count)
        pair = tuple(part.on(path.mesh) for part in (step.point, step.tangent))
        return eqx.tree_at(lambda s: (s.point, s.tangent), step, pair)


class _Newton(NamedTuple):
    """A step, how large it is, and the direction of the curve, of length one."""

    change: LateProfile
    size: Any
    tangent: LateProfile


def inner(problem: Any, a: LateProfile, b: LateProfile) -> Float[Array, ""]:
    """Of two directions on the same mesh, in units of arclength."""
    scale = jnp.append(problem.parameter_scales, 1.0)
    along = ((a.values * b.values) / problem.state_scales**2).sum(axis=2)
    return jnp.diff(a.mesh) @ (along @ _WEIGHTS) + (a.scalars * b.scalars / scale**2).sum()


@eqx.filter_jit
def _newton(problem: Any, point: LateProfile, across: LateProfile) -> _Newton:
    """Newton's step in the plane across a direction, and the curve's own."""
    whole, changes = _linear_system(problem, point, across)
    along = jnp.zeros(len(whole)).at[-1].set(1.0)
    right = jnp.stack([-whole[:, -1], along], axis=1)
    found = jnp.linalg.solve(whole[:, :-1], right)
    by_column = jnp.concatenate([found, as_array([[1.0, 0.0]])])
    moves = jnp.einsum("kias,sc->ckia", changes, by_column)
    step, way = (
        LateProfile(point.mesh, move, column[jnp.array([-1, -2])])
        for move, column in zip(moves, found.T, strict=True)
    )
    length = jnp.sqrt(inner(problem, way, way))
    way = LateProfile(point.mesh, way.values / length, way.scalars / length)
    return _Newton(step, jnp.sqrt(inner(problem, step, step)), way)


def _linear_system(
    problem: Any, point: LateProfile, across: LateProfile
) -> tuple[jax.Array, jax.Array]:
    """Equations (row, column), of changes of the first state, of what arrives, of the logarithm of
    the period and of the parameter, and what is left; and how states change with these.
    """
    values, widths, period = point.values, jnp.diff(point.mesh), jnp.exp(point.scalars[-1])
    p, unit = point.scalars[:1], jnp.ones(1)
    system = problem.field.at(p)
    pieces, _, n = values.shape
    sent, back, turning = past_of_path(system, point.path, period)
    channels = sent.shape[-1]
    flat = sent.reshape(-1, channels)

    def arriving_at(p: jax.Array) -> jax.Array:
        here = problem.field.at(p)
        sent, back, _ = past_of_path(here, point.path, period)
        return here.gain * jnp.einsum("kil,lc->kic", back, sent.reshape(-1, channels))

    arriving, arriving_by = jax.jvp(arriving_at, (p,), (unit,))
    field, field_by = jax.jvp(
        lambda p: each_point(problem.field.at(p).slope)(values[:, 1:], arriving), (p,), (unit,)
    )
    here, through, _ = each_point(lambda x, y: linearised(system, x, y))(values[:, 1:], arriving)
    out = each_point(jax.jacfwd(system.sent))(values)
    misses = slopes(point.path)[:, 1:] - period * field
    arrives = n + jnp.arange(pieces * POINTS * channels).reshape(pieces, POINTS, channels)
    size = n + pieces * POINTS * channels + 3
    rest = jnp.stack([period * field, period * field_by, -misses], axis=-1)
    solved = eliminated(period, widths, (here, through, rest), arrives, size)
    after = jnp.concatenate([jnp.eye(n, size)[None], solved[:, -1]])
    changes = jnp.concatenate([after[:-1, None], solved], axis=1)
    sends = jnp.einsum("kica,kias->kics", out, changes).reshape(-1, channels, size)
    gets = system.gain * jnp.einsum("kil,lcs->kics", back, sends)
    later = -system.delay / period * system.gain * jnp.einsum("kil,lc->kic", turning, flat)
    gets = gets.at[..., -3].add(later).at[..., -2].add(arriving_by).reshape(-1, size)
    weights = widths[:, None, None] * _WEIGHTS[:, None] / problem.state_scales**2
    phase = jnp.einsum("kia,kias->s", weights * slopes(point.path), changes)
    plane = jnp.einsum("kia,kias->s", weights * across.values, changes)
    plane = plane.at[-3].add(across.scalars[1])
    plane = plane.at[-2].add(across.scalars[0] / problem.parameter_scales[0] ** 2)
    returns = (after[-1] - jnp.eye(n, size)).at[:, -1].add(values[-1, -1] - values[0, 0])
    rows = [jnp.eye(size - n - 3, size, n) - gets, returns, phase[None], plane[None]]
    return jnp.concatenate(rows), changes


@eqx.filter_jit
def _measured(
    problem: Any,
    point: LateProfile,
    tangent: LateProfile,
    begin: LateProfile,
    before: LateProfile,
) -> Step:
    """A point of the curve, without its multipliers."""
    at = jnp.arange(_SAMPLES + 1) / _SAMPLES
    x, along = (evaluate(part.path, at) for part in (point, tangent))
    scales = problem.state_scales

    def norm(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
        size = jnp.sqrt((a[:-1] ** 2 / scales**2).sum() / _SAMPLES)
        return size, (a[:-1] * b[:-1] / scales**2).sum() / _SAMPLES / size

    half = _SAMPLES // 2
    opposite = [jnp.roll(v[:-1], -half, axis=0) for v in (x, along)]
    size, growth = norm(x - x[:-1].mean(axis=0), along)
    parts = (
        jnp.pad(v[:-1] - o, ((0, 1), (0, 0))) for v, o in zip((x, along), opposite, strict=True)
    )
    halves, parting = norm(*parts)
    turn = inner(problem, tangent, before) / jnp.sqrt(inner(problem, before, before))
    gap = begin.moved(point, -1.0)
    return Step(
        point=point,
        tangent=tangent,
        parameters=point.scalars[:1],
        turning=tangent.scalars[:1] / problem.parameter_scales,
        cycle=Measures(
            period=jnp.exp(point.scalars[-1]),
            roughness=roughness(point.path),
            size=size,
            size_growth=growth,
            halves=halves,
            halves_growth=parting,
            volume=jnp.nan,
        ),
        distance=jnp.sqrt(inner(problem, gap, gap)),
        angle=jnp.arccos(jnp.clip(turn, -1.0, 1.0)),
    )


def from_path(path: Path, parameter: Any, period: Any) -> Step:
    """A cycle that is known, with the parameter's own direction."""
    point = LateProfile(path.mesh, path.values, as_array([parameter, jnp.log(period)], float))
    nothing = jnp.zeros_like(path.values)
    return Step(point, LateProfile(path.mesh, nothing, as_array([1.0, 0.0])))


def from_hopf(problem: LateCycles, state: Any, omega: float, pieces: int) -> Step:
    """The small cycle at a Hopf point (variable,): along the eigenvector of its pair of roots."""
    system, p = problem.field.system, problem.field.parameters
    q = np.asarray(_eigenvector(system, as_array(state, float), as_array(omega)))
    q = q / np.sqrt(2 * (np.abs(q / np.asarray(problem.state_scales)) ** 2).sum())
    mesh = jnp.linspace(0.0, 1.0, pieces + 1)
    at = np.asarray(times(mesh))
    wave = 2 * (np.exp(2j * np.pi * at)[..., None] * q).real
    scalars = jnp.append(p, np.log(2 * np.pi / omega))
    tangent = LateProfile(mesh, as_array(wave), jnp.zeros(2))
    rest = jnp.broadcast_to(as_array(state, float), wave.shape)
    return Step(LateProfile(mesh, rest, scalars).moved(tangent, _AMPLITUDE), tangent)


@eqx.filter_jit
def _eigenvector(system: Any, state: jax.Array, omega: jax.Array) -> jax.Array:
    now, by_arriving, sent = linearised(system, state, system.gain * system.sent(state))
    late = system.gain * by_arriving @ sent * jnp.exp(-1j * omega * system.delay)
    matrix = 1j * omega * jnp.eye(len(state)) - now - late
    return jnp.linalg.svd(matrix)[2][-1].conj()
