"""How curves begin: from an equilibrium, a Hopf point, an orbit, or another curve's point."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import ParametrisedField
from ngnmm_jax.bifurcations.branches import SpecialPoint
from ngnmm_jax.dynamics.continuation.arclength import Limits, Step
from ngnmm_jax.dynamics.continuation.clocks import AbstractClock
from ngnmm_jax.dynamics.continuation.collocation import (
    Places,
    Profile,
    adapted,
    gauss_points,
)
from ngnmm_jax.dynamics.continuation.cycle_curves import (
    MOST_INTERVALS,
    AbstractCycleProblem,
    CycleFoldCurve,
    Cycles,
    DoublingCurve,
    FixedPeriod,
    TorusCurve,
)
from ngnmm_jax.dynamics.continuation.equilibrium_curves import FoldCurve, HopfCurve
from ngnmm_jax.dynamics.continuation.normal_forms import first_lyapunov
from ngnmm_jax.dynamics.forced.result import ForcedOrbit
from ngnmm_jax.dynamics.forced.system import is_driven
from ngnmm_jax.dynamics.periodic import Orbit
from ngnmm_jax.models.base import AbstractNeuralMass

# Cycles end at a period of so many time steps of the system or turns of the first cycle, whichever
# is less, but not of less than four turns.
_LONG, _LONG_TURNS = 4_000, 10
# Cycles at a Hopf point begin with this amplitude, in units of arclength, or less where the
# parameter would move by more than this.
_AMPLITUDE, _MOVE = 0.02, 0.002
# The least that variables are taken to reach, as a part of the largest in the model's search box:
# a state at zero says nothing.
_LEAST = 0.1
# How far along its new direction a doubled cycle begins.
_ASIDE = 0.01


def longest_of(system: Any, given: float | int | None, period: float) -> np.ndarray:
    """The period at which cycles end: what is given, or by the first `period`."""
    if is_driven(system):
        return np.asarray(np.inf)
    if given is not None:
        _checks.positive("longest_period", given)
        return np.asarray(float(given))
    step = getattr(system, "time_step", None)
    turns = _LONG_TURNS * period
    limit = turns if step is None else min(_LONG * float(step), turns)
    return np.asarray(max(limit, 4 * period))


def least_extent(system: Any) -> float:
    """What variables reach at least where a branch begins, whatever the state; 0 if not known."""
    model = getattr(system, "model", None)
    if not isinstance(model, AbstractNeuralMass):
        return 0.0
    low, high = model.search_box()
    return _LEAST * float(jnp.maximum(jnp.abs(low), jnp.abs(high)).max())


def state_scales(states: Float[np.ndarray, "state dimension"]) -> Float[np.ndarray, "dimension"]:
    """What counts as one unit of arclength for each variable: what they reach."""
    size = np.abs(states).max(axis=0)
    largest = size.max() or 1.0
    return np.sqrt(size.size) * np.maximum(size, 0.1 * largest)


def _null(problem: Any, y: Float[Array, "unknown"]) -> tuple[np.ndarray, np.ndarray]:
    """Directions (direction, unknown) by falling stretch, in units of the scales, and the scales:
    the last is that of an algebraic curve at a point.
    """
    scales = np.asarray(problem.scales)
    return np.linalg.svd(np.asarray(_slopes(problem, y)) * scales)[2], scales


@eqx.filter_jit
def _slopes(problem: Any, y: Float[Array, "unknown"]) -> Float[Array, "equation unknown"]:
    return jax.jacfwd(problem.residual)(y, problem.normal(y))


@eqx.filter_jit
def _jacobian(
    field: ParametrisedField, x: jax.Array, p: jax.Array
) -> Float[Array, "dimension dimension"]:
    return jax.jacfwd(field)(x, p)


def crossing(problem: Any, step: Step) -> Float[Array, "unknown"]:
    """At a branch point, the direction in the null space that is not the branch's own."""
    directions, scales = _null(problem, step.point)
    null = directions[-2:]
    own = null @ (np.asarray(step.tangent) / scales)
    other = np.array([-own[1], own[0]]) @ null
    return as_array(other / np.linalg.norm(other) * scales)


def of_equilibria(
    kind: str, field: ParametrisedField, start: SpecialPoint, width: Float[np.ndarray, "parameter"]
) -> tuple[Any, Step]:
    """The curve of folds or Hopf points through one of them."""
    x, p = np.asarray(start.state).ravel(), np.asarray(field.parameters)
    unit = np.full(x.size, np.sqrt(x.size))
    scale = np.concatenate([state_scales(start.extent[None]), unit])
    matrix = np.asarray(_jacobian(field, as_array(x), as_array(p)))
    problem: Any
    if kind == "fold":
        problem = FoldCurve(field, as_array(np.concatenate([scale, width])))
        begin = [x, np.linalg.svd(matrix)[2][-1], p]
    else:
        values, vectors = np.linalg.eig(matrix)
        oscillates = values.imag > 1e-9 * np.abs(values).max()
        index = np.argmin(np.where(oscillates, np.abs(values.real), np.inf))
        v, k = vectors[:, index].real, values[index].imag ** 2
        problem = HopfCurve(field, as_array(np.concatenate([scale, [k], width])))
        begin = [x, v / np.linalg.norm(v), [k], p]
    y = as_array(np.concatenate(begin))
    directions, scales = _null(problem, y)
    along = directions[-1] / np.linalg.norm(directions[-1])
    return problem, Step(y, as_array(along * scales))


def of_cycles(
    kind: str,
    field: ParametrisedField,
    start: SpecialPoint,
    width: Float[np.ndarray, "parameter"],
    longest: Float[np.ndarray, ""],
    clock: AbstractClock,
) -> tuple[AbstractCycleProblem, Step]:
    """The curve of cycles' bifurcations, or of cycles of one period, through one of them."""
    step, p = start.origin, field.parameters
    point, n = step.point, p.shape[0]
    dimension = len(start.extent)
    v = slopes = None
    scales = state_scales(start.extent[None])
    scalars = clock.scalars(p, start.period)
    problem: AbstractCycleProblem
    alone = Cycles(
        ParametrisedField(field.system, field.names[:1]), scales, width[:1], longest, clock
    )
    given = (field, scales, width, longest, clock)
    if kind == "period":
        problem = FixedPeriod(*given)
    elif kind == "period_doubling":
        problem = DoublingCurve(*given)
        point, v, slopes = critical_vector(alone, step, -1.0)
        v, slopes = v.real, slopes.real
    elif kind == "neimark_sacker":
        problem = TorusCurve(*given)
        angle = _angle(step)
        point, v, slopes = critical_vector(alone, step, np.exp(1j * angle))
        v = np.concatenate([v.real, v.imag], axis=1)
        slopes = np.concatenate([slopes.real, slopes.imag], axis=2)
        scalars = np.append(scalars, angle)
    else:
        problem = CycleFoldCurve(*given)
        v, slopes = (part[..., :dimension] for part in (step.tangent.points, step.tangent.slopes))
        beta = step.tangent.scalars[-1] if clock.phased else 0.0
        size = np.diff(point.mesh) @ ((v / scales) ** 2).sum(axis=1)
        norm = np.sqrt(size + beta**2)
        v, slopes = v / norm, slopes / norm
        scalars = np.append(scalars, beta / norm) if clock.phased else scalars
    begin = point if v is None else beside(point, v, slopes)
    begin = eqx.tree_at(lambda c: c.scalars, begin, scalars)
    return problem, Step(begin, along_scalar(begin, n - 1))


def _angle(step: Step) -> float:
    """Arg μ of the pair of multipliers that is on the unit circle."""
    spectrum = np.asarray(step.spectrum)
    turned = (spectrum.imag > 1e-9) & (spectrum.imag < np.pi - 1e-9)
    some = spectrum[turned]
    return float(some[np.abs(some.real).argmin()].imag)


def beside(point: Profile, v: Any, slopes: Any) -> Profile:
    """A cycle with a solution of its linearisation as further variables."""
    return Profile(
        point.mesh,
        np.concatenate([point.points, v], axis=1),
        np.concatenate([point.slopes, slopes], axis=2),
        point.scalars,
    )


class HopfData(eqx.Module):
    """What is known at a Hopf point.

    - `omega`: angular frequency. `vector` (dimension,): eigenvector, of norm one.
    - `coefficient`: first Lyapunov coefficient.
    - `crossing`: derivative of the eigenvalue's real part by the parameter.
    """

    omega: Float[Array, ""]
    vector: Any
    coefficient: Float[Array, ""]
    crossing: Float[Array, ""]


@eqx.filter_jit
def hopf_data(field: ParametrisedField, x: jax.Array, p: jax.Array) -> HopfData:
    """The normal form at a Hopf point, with respect to the first parameter."""
    matrix = jax.jacfwd(field)(x, p)
    values, vectors = jnp.linalg.eig(matrix)
    oscillates = values.imag > 1e-9 * jnp.abs(values).max()
    index = jnp.argmin(jnp.where(oscillates, jnp.abs(values.real), jnp.inf))
    omega, q = values[index].imag, vectors[:, index]
    q = q / jnp.linalg.norm(q)
    left, adjoint = jnp.linalg.eig(matrix.T)
    w = adjoint[:, jnp.argmin(jnp.abs(left - values[index]))]
    w = w / (w @ q)
    # The Jacobian's derivative along the branch of equilibria.
    unit = jnp.zeros_like(p).at[0].set(1.0)
    by_parameter = jax.jvp(lambda b: field(x, b), (p,), (unit,))[1]
    along = -jnp.linalg.solve(matrix, by_parameter)
    change = jax.jvp(lambda a, b: jax.jacfwd(field)(a, b), (x, p), (along, unit))[1]
    coefficient = first_lyapunov(lambda a: field(a, p), x, matrix, omega, q)
    return HopfData(omega, q, coefficient, (w @ change @ q).real)


def from_hopf(
    problem: AbstractCycleProblem, x: jax.Array, p: jax.Array, intervals: int, limits: Limits
) -> Step:
    """The small cycle near a Hopf point, within the limits, that the normal form foretells."""
    data = hopf_data(problem.field, x, p)
    omega, q = float(data.omega), np.asarray(data.vector)
    scale_u, scale_p = problem.state_scales, float(problem.parameter_scales[0])
    # |z|² = -crossing * shift / (omega * coefficient), x = x0 + z q + c.c.
    bend = -omega * float(data.coefficient) / float(data.crossing) / scale_p
    per_unit = np.sqrt(2 * (np.abs(q / scale_u) ** 2).sum())
    room = limits.high[0] - float(p[0]) if bend > 0 else float(p[0]) - limits.low[0]
    # Next to a bound; where there is no room, it begins outside.
    move = min(_MOVE, 0.9 * room / scale_p) if room > 1e-6 * scale_p else _MOVE
    size = min(_AMPLITUDE / per_unit, np.sqrt(move / max(abs(bend), 1e-12)))
    mesh = np.linspace(0.0, 1.0, intervals + 1)
    at, stages = 2 * np.pi * mesh[:-1], 2 * np.pi * gauss_points(mesh)
    wave = 2 * (np.exp(1j * at)[..., None] * q).real
    slope = 2 * (2j * np.pi * np.exp(1j * stages)[..., None] * q).real
    moved = np.array(p)
    moved[0] += bend * size**2 * scale_p
    scalars = problem.clock.scalars(moved, 2 * np.pi / omega)
    point = Profile(mesh, np.asarray(x) + size * wave, size * slope, scalars)
    turning = np.append(2 * bend * size * scale_p, np.zeros(moved.size))
    tangent = Profile(mesh, wave, slope, turning)
    return Step(point, tangent)


def from_orbit(
    problem: AbstractCycleProblem, orbit: Orbit | ForcedOrbit, p: jax.Array, intervals: int
) -> Step:
    """A cycle that `find_orbit` found, with the parameter's own direction."""
    period = float(orbit.period)
    states = np.asarray(orbit.samples).reshape(orbit.ts.size, -1)
    begin = problem.clock.scalars(p, period)
    at = np.asarray(orbit.ts) / period
    slopes = Places(problem)(states, (states, states), begin, at).slope
    from scipy.interpolate import CubicHermiteSpline  # a third of a second, so only here

    ts, first = np.unique(at, return_index=True)  # a piece may have no length
    spline = CubicHermiteSpline(ts, states[first], slopes[first])
    mesh = np.linspace(0.0, 1.0, MOST_INTERVALS + 1)
    point = Profile(mesh, spline(mesh[:-1]), spline(gauss_points(mesh), 1), begin)
    fitting = adapted(point, problem.state_scales, intervals)[0]
    point = point.on(problem.clock.snapped(fitting))
    return Step(point, along_scalar(point, 0))


def along_scalar(point: Profile, index: int) -> Profile:
    """The direction in which one scalar alone changes."""
    points, slopes = (np.zeros(part.shape) for part in (point.points, point.slopes))
    return Profile(point.mesh, points, slopes, np.eye(point.scalars.size)[index])


def critical_vector(
    problem: AbstractCycleProblem, step: Step, multiplier: complex | float
) -> tuple[
    Profile,
    Complex[np.ndarray, "interval variable"],
    Complex[np.ndarray, "interval stage variable"],
]:
    """At a bifurcation: the cycle, the solution of its linearisation that a multiplier on the unit
    circle brings back, and its slopes.

    The multiplier 1 and -1 apart, it is turned back along the cycle so that it returns to itself.
    """
    step, transfer = problem.transfer(step)
    product = np.eye(transfer.shape[1])
    for matrix in transfer:
        product = matrix @ product
    values, vectors = np.linalg.eig(product)
    v: Any = vectors[:, np.argmin(np.abs(values - multiplier))]
    back = -1.0 if multiplier == -1 else 1.0
    turn = 0.0 if multiplier == -1 else np.angle(multiplier)
    v = v.real + 0j if multiplier == -1 else v
    path = [v]
    for matrix in transfer[:-1]:
        path.append(matrix @ path[-1])
    mesh = step.point.mesh
    points = np.stack(path) * np.exp(-1j * turn * mesh[:-1, None])
    scales = problem.state_scales
    points = points / np.sqrt(np.diff(mesh) @ (np.abs(points) ** 2 / scales**2).sum(axis=1))
    # Its slopes: those of T A(x(t)) v - iθ v at the mesh points, interpolated.
    ends = np.concatenate([points, back * points[:1]])
    states = np.concatenate([step.point.points, step.point.points[:1]])
    matrices = Places(problem)(states, (states, states), step.point.scalars, mesh).by_u
    slopes = (matrices @ ends[..., None])[..., 0] - 1j * turn * ends
    from scipy.interpolate import CubicHermiteSpline

    return (
        step.point,
        points,
        CubicHermiteSpline(mesh, ends, slopes)(gauss_points(mesh), 1),
    )


def halved(problem: AbstractCycleProblem, step: Step, intervals: int) -> Step:
    """The cycle that one of nearly equal halves runs through twice, with the parameter's own
    direction. `problem`: that of the latter.
    """
    point = step.point
    half = np.linspace(0.0, 0.5, intervals + 1)
    whole = point.on(np.concatenate([half, half[1:] + 0.5]))
    points, slopes = (part[:intervals] for part in (whole.points, whole.slopes))
    scalars = problem.clock.turned(point.scalars, 0.5)
    single = Profile(2 * half, points, slopes / 2, scalars)
    return Step(single, along_scalar(single, 0))


def doubled(problem: AbstractCycleProblem, step: Step) -> Step:
    """The cycle of two turns that begins at a period doubling. `problem`: its own."""
    once = eqx.tree_at(lambda p: p.clock, problem, problem.clock.half())
    point, v, slopes = critical_vector(once, step, -1.0)
    v, slopes = v.real, slopes.real
    mesh = np.concatenate([point.mesh / 2, 0.5 + point.mesh[1:] / 2])
    signs = np.array([1.0, -1.0])[:, None, None, None]
    direction = Profile(
        mesh,
        np.concatenate(v * signs[..., 0]),
        np.concatenate(2 * slopes * signs),
        np.zeros(point.scalars.size),
    )
    twice = Profile(
        mesh,
        np.tile(point.points, (2, 1)),
        np.tile(2 * point.slopes, (2, 1, 1)),
        problem.clock.turned(np.asarray(point.scalars), 2.0),
    )
    intervals = min(2 * v.shape[0], MOST_INTERVALS)
    if intervals < mesh.size - 1:
        places = np.linspace(0.0, mesh.size - 1, intervals + 1)
        coarse = problem.clock.snapped(np.interp(places, np.arange(mesh.size), mesh))
        twice, direction = twice.on(coarse), direction.on(coarse)
    return Step(twice.moved(direction, _ASIDE), direction)
