"""What special points are, once they are located: their coefficients, and the names of ends."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import ParametrisedField
from ngnmm_jax._core.status import Status
from ngnmm_jax.bifurcations.branches import SpecialPoint
from ngnmm_jax.bifurcations.late import hopf_near
from ngnmm_jax.bifurcations.resting import RestingCurve
from ngnmm_jax.bifurcations.starts import halved, hopf_data
from ngnmm_jax.dynamics.continuation.arclength import Limits, Special, Step, follow, reverse
from ngnmm_jax.dynamics.continuation.cycle_curves import AbstractCycleProblem, Cycles
from ngnmm_jax.dynamics.continuation.equilibrium_curves import FoldCurve, HopfCurve
from ngnmm_jax.dynamics.continuation.normal_forms import right_null
from ngnmm_jax.dynamics.delayed.cycles import LateCycles
from ngnmm_jax.dynamics.delayed.normal_form import first_lyapunov_with_delay
from ngnmm_jax.dynamics.newton import newton

# An equilibrium is what a long cycle comes near if it is within this part of the cycle's extent,
# and a fold if the parameter is within this part of its bounds' width.
_NEAR, _NEAR_FOLD = 0.1, 0.02
_FEWEST = 64


class Place(NamedTuple):
    """Where a special point is on its branch, and what it needs to know of that branch."""

    point: int
    extent: Float[np.ndarray, "dimension"]
    turns: int


def special_point(problem: Any, place: Place, special: Special) -> SpecialPoint:
    """A located point, described."""
    step, kind = special.step, special.event.kind
    period, coefficient = np.nan, np.nan
    if isinstance(problem, AbstractCycleProblem):
        state = np.asarray(step.point.points)[0, : problem.dimension]
        period = float(step.cycle.period)
    else:
        state = np.asarray(problem.state(step.point))
        if kind == "hopf" and isinstance(problem, RestingCurve):
            period, coefficient = problem.hopf(step)
        elif kind == "hopf":
            data = hopf_data(problem.field, problem.state(step.point), as_array(step.parameters))
            period, coefficient = 2 * np.pi / float(data.omega), float(data.coefficient)
    return _point(problem, kind, place, step, state, period, coefficient, special.status)


def named_end(problem: Any, place: Place, step: Step, reason: str) -> SpecialPoint | None:
    """The special point that a branch of cycles ends at, if it does."""
    if not isinstance(problem, Cycles | LateCycles):
        return None
    if isinstance(problem, LateCycles):
        return _late_end(problem, place, step, reason)
    if reason == "hopf":
        near = _hopf_near(problem.field, step)
        at = eqx.tree_at(lambda s: s.parameters, step, near.parameters)
        status = Status.OK if near.ok else Status.NOT_CONVERGED
        period = 2 * np.pi / near.omega
        return _point(problem, "hopf", place, at, near.state, period, near.coefficient, status)
    if reason == "period_doubling":
        return _doubling_near(problem, place, step)
    if reason == "period":
        state = np.asarray(step.point.points)[0]
        kind = _what_is_near(problem, step)
        period = float(step.cycle.period)
        return _point(problem, kind, place, step, state, period, np.nan, Status.OK)
    return None


def _late_end(problem: LateCycles, place: Place, step: Step, reason: str) -> SpecialPoint | None:
    """The same of cycles with a delay; what a long one comes near is not told."""
    if reason == "hopf":
        state, p, omega, ok = hopf_near(problem, step)
        at = eqx.tree_at(lambda s: s.parameters, step, np.asarray([p]))
        here = problem.field.at(as_array([p]))
        coefficient = first_lyapunov_with_delay(here, as_array(state), as_array(omega))
        status = Status.OK if ok else Status.NOT_CONVERGED
        period = 2 * np.pi / omega
        return _point(problem, "hopf", place, at, state, period, float(coefficient), status)
    kinds = {"period": "long_period", "period_doubling": "period_doubling"}
    if reason not in kinds:
        return None
    state, period = np.asarray(step.point.points)[0], float(step.cycle.period)
    status = Status.OK if reason == "period" else Status.NOT_CONVERGED
    return _point(problem, kinds[reason], place, step, state, period, np.nan, status)


def _doubling_near(problem: Cycles, place: Place, step: Step) -> SpecialPoint:
    """The period doubling where a cycle of two turns ends: on the branch of those of one."""
    place = place._replace(turns=max(place.turns // 2, 1))
    intervals = (step.point.mesh.shape[0] - 1) // 2
    problem = eqx.tree_at(lambda p: p.clock, problem, problem.clock.half())
    near = problem.advance(halved(problem, step, max(intervals, _FEWEST)), 0.0)
    width = problem.parameter_scales
    here = np.asarray(near.parameters)
    limits = Limits(here - width, here + width, 1e-7, 0.01, 6)
    found = [
        special
        for start in (near, reverse(near))
        if near.converged
        for _, special in follow(problem, start, limits, first=1e-3).special
        if special.event.kind == "period_doubling"
    ]
    if not found:
        state = np.asarray(step.point.points)[0]
        period = float(step.cycle.period) / 2
        kind, status = "period_doubling", Status.NOT_CONVERGED
        return _point(problem, kind, place, step, state, period, np.nan, status)
    at = min(found, key=lambda s: abs(s.step.parameters[0] - step.parameters[0]))
    return special_point(problem, place, at)


def _point(
    problem: Any,
    kind: str,
    place: Place,
    step: Step,
    state: np.ndarray,
    period: float,
    coefficient: float,
    status: Status,
) -> SpecialPoint:
    names = problem.field.names
    return SpecialPoint(
        kind=kind,
        index=place.point,
        parameters=dict(zip(names, map(float, step.parameters), strict=True)),
        state=np.asarray(state).reshape(tuple(problem.field.system.state_shape)),
        period=float(period),
        coefficient=float(coefficient),
        status=status,
        origin=step,
        extent=place.extent,
        turns=place.turns,
    )


class _Hopf(NamedTuple):
    """A Hopf point: where, its angular frequency and first Lyapunov coefficient; if it is one."""

    state: np.ndarray
    parameters: np.ndarray
    omega: float
    coefficient: float
    ok: bool


def _hopf_near(field: ParametrisedField, step: Step) -> _Hopf:
    """The Hopf point that small cycles surround."""
    profile = step.point
    mesh, points = profile.mesh, profile.points
    mean = np.diff(mesh) @ points
    wave = (np.diff(mesh) * np.exp(-2j * np.pi * mesh[:-1])) @ (points - mean)
    v = wave.real / np.linalg.norm(wave.real)
    aside = wave.imag - (wave.imag @ v) * v
    omega = 2 * np.pi / float(step.cycle.period)
    guess = as_array(np.concatenate([mean, v, [omega**2], np.asarray(step.parameters)]))
    problem = HopfCurve(field, jnp.ones(guess.size))
    y, solved = _solve(problem, guess, as_array(aside / np.linalg.norm(aside)))
    x, p = problem.state(y), problem.parameters(y)
    data = hopf_data(field, x, p)
    ok = bool(solved) and abs(float(data.omega) / omega - 1) < 0.1
    return _Hopf(np.asarray(x), np.asarray(p), float(data.omega), float(data.coefficient), ok)


@eqx.filter_jit
def _solve(
    problem: Any, y: Float[Array, "unknown"], normal: Float[Array, "dimension"]
) -> tuple[Float[Array, "unknown"], Bool[Array, ""]]:
    """Newton's iteration on a bifurcation's equations with one parameter alone."""

    def step(y: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        matrix = jax.jacfwd(problem.residual)(y, normal)
        update = jnp.linalg.solve(matrix, problem.residual(y, normal))
        return y - update, jnp.abs(update).max() / (1 + jnp.abs(y).max())

    y, sizes = jax.lax.scan(step, y, None, length=12)
    return y, sizes[-1] < 1e-9


def _what_is_near(problem: Cycles, step: Step) -> str:
    """Which equilibrium a long cycle comes near: a saddle, a fold, or none."""
    field, profile, p = problem.field, step.point, as_array(step.parameters)
    scales = problem.state_scales
    points = profile.points
    speed = np.asarray(jax.vmap(field, (0, None))(profile.points, p)) / scales
    x = as_array(points[np.abs(speed).max(axis=1).argmin()])
    extent = np.ptp(points, axis=0) / scales
    rest, error = newton(lambda a: field(a, p), x)
    apart = np.abs(np.asarray(rest - x)) / scales
    growing = np.linalg.eigvals(np.asarray(jax.jacfwd(field)(rest, p))).real > 0
    if float(error) < 1e-8 and apart.max() < _NEAR * extent.max() and growing.any():
        return "homoclinic"
    v = right_null(jax.jacfwd(field)(x, p))
    fold = FoldCurve(field, jnp.ones(2 * x.shape[0] + 1))
    y, ok = _solve(fold, jnp.concatenate([x, v, p]), jnp.zeros(0))
    apart = np.abs(np.asarray(fold.state(y) - x)) / scales
    moved = abs(float((fold.parameters(y) - p)[0] / problem.parameter_scales[0]))
    if bool(ok) and apart.max() < _NEAR * extent.max() and moved < _NEAR_FOLD:
        return "snic"
    return "long_period"
