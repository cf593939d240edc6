"""Continuation of equilibria and cycles, and of their bifurcations in two parameters."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.placement import jacobian_is_small, placed
from ngnmm_jax._core.progress import progress_bar
from ngnmm_jax._core.status import SolverError, Status, raise_unless_ok
from ngnmm_jax.bifurcations import ends, given, late, starts
from ngnmm_jax.bifurcations.branches import BRANCHES, Branch, SpecialPoint
from ngnmm_jax.bifurcations.resting import RestingCurve, with_roots
from ngnmm_jax.dynamics.continuation.arclength import (
    Curve,
    Limits,
    Step,
    follow,
    joined,
    reverse,
)
from ngnmm_jax.dynamics.continuation.clocks import AbstractClock, Drive, Free, Kept
from ngnmm_jax.dynamics.continuation.collocation import Profile
from ngnmm_jax.dynamics.continuation.cycle_curves import AbstractCycleProblem, Cycles
from ngnmm_jax.dynamics.continuation.equilibrium_curves import EquilibriumCurve
from ngnmm_jax.dynamics.delayed.system import is_delayed
from ngnmm_jax.dynamics.forced.result import ForcedOrbit
from ngnmm_jax.dynamics.forced.system import deterministic, is_driven, undriven
from ngnmm_jax.dynamics.orbits import find_orbit
from ngnmm_jax.dynamics.periodic import Orbit
from ngnmm_jax.models.notation import notation_of

# Steps in units of arclength: the width of the parameter's bounds, and a variable's size.
_LONGEST = 0.05
_INTERVALS = 64
#: Ends of curves that go on.
UNENDED = ("points", "step")
# How far from where it should be a curve may begin, in units of arclength.
_ASIDE = 0.2
# Where the spectrum of cycles misses Liouville's formula by more than this, logarithms of
# multipliers below the second are not known.
_INEXACT, _RESOLVED = 1e-6, -10.0


@placed(lambda system, **given: jacobian_is_small(system))
def continue_equilibria(
    system: Any,
    parameters: Mapping[str, Any],
    *,
    start: Any = None,
    longest: float | int = _LONGEST,
    max_points: int = 2000,
    progress: bool | None = None,
    throw: bool = True,
) -> Branch:
    """The branch of equilibria through one of them, over a parameter, in both directions.

    Pseudo-arclength continuation: steps follow the branch's curvature, and shorten where more
    happens between two points than one bifurcation. Folds, Hopf and branch points are located
    to rounding (unless two of them coincide), with the first Lyapunov coefficient at Hopf points.

    With delays the branch is that without; its points have the characteristic roots of the whole
    network (of a homogeneous system where each coupling has one delay, those of perturbations that
    all regions share), and Hopf points lie where a pair of these crosses the axis. "speed" and
    "delay" are parameters as others are. The coefficient is known of homogeneous systems alone,
    and is NaN where the delays of several couplings differ.
    Status NOT_CERTIFIED: at some point it is not certain that no other root grows.

    **Arguments:**

    - `system`: `network.homogeneous()`, a network, or any module with `vector_field` and
      `state_shape` whose parameter is an attribute.
    - `parameters`: one name ("coupling" too), with its lowest and highest value, between which
      the branch begins, as in `{"i_ext_e": (0.0, 20.0)}`: at the system's own value, or that of
      `start`.
    - `start` (*state): a state near an equilibrium at the system's own parameter value; by
      default the first that `find_equilibria` finds. Or a branch point of a branch over the same
      parameter, to follow the branch that crosses there.
    - `longest`: the longest step, in units of the bounds' width and of the variables' size.
    - `max_points`: in each direction.
    - `progress`: a progress bar; None shows one where it takes over two seconds.
    - `throw`: raise `SolverError` where the branch could not be followed to an end.

    Source: Keller (1977); Kuznetsov, Elements of Applied Bifurcation Theory (2004), ch. 10.
    """
    _checks.require_x64("continue_equilibria")
    instead = ", under which nothing rests: `continue_cycles` follows locked orbits"
    system = undriven(system, "continue_equilibria", instead)
    names, bounds = given.bounds_of(parameters, 1)
    limits = given.limits_of(bounds, longest, max_points)
    if isinstance(start, SpecialPoint):
        given.of_kind(start, "branch_point")
        given.over_the_same(start, names[0])
    late = given.at_rest(system, names, limits)
    field = given.field_of(system if late is None else late, names, start, limits)
    width = limits.high - limits.low
    p = field.parameters
    if isinstance(start, SpecialPoint):
        x, extent = as_array(start.state).ravel(), start.extent
    else:
        here = field.system if late is None else field.system.system.undelayed()
        x = given.equilibrium_near(here, start).ravel()
        extent = np.maximum(np.abs(x), starts.least_extent(here))
    scales = jnp.concatenate([starts.state_scales(extent[None]), width])
    problem: Any = (
        EquilibriumCurve(field, scales) if late is None else RestingCurve.of(field, scales)
    )
    y = jnp.concatenate([x, p])
    if isinstance(start, SpecialPoint):
        begin = Step(y, starts.crossing(problem, start.origin))
        curve = _across(problem, begin, limits, progress)
    else:
        begin = Step(y, jnp.zeros_like(y).at[-1].set(scales[-1]))
        curve = _both_ways(problem, begin, limits, progress)
    if late is not None:
        curve = with_roots(problem, curve, progress)
    return _table("equilibrium", problem, curve, limits if throw else None)


@placed(lambda system, **given: jacobian_is_small(system))
def continue_cycles(
    system: Any,
    parameters: Mapping[str, Any],
    *,
    start: SpecialPoint | Orbit | ForcedOrbit | None = None,
    intervals: int = _INTERVALS,
    longest: float | int = _LONGEST,
    longest_period: float | int | None = None,
    max_points: int = 2000,
    progress: bool | None = None,
    throw: bool = True,
) -> Branch:
    """The branch of cycles from a Hopf point, a period doubling, or an orbit, over a parameter.

    Orthogonal collocation of degree four on a mesh that adapts at each step. Folds of cycles,
    period doublings, Neimark-Sacker and branch points are located. A branch ends at a
    bound, at a Hopf point, where it closes, or where its period exceeds `longest_period`: that
    end is "snic" or "homoclinic" by the equilibrium that the cycle comes near, or "long_period".

    With one delay (`network.homogeneous()`) from Hopf points and orbits, on pieces of degree
    twelve, a quarter as many as `intervals` at first; the leading multipliers are those of
    `find_orbit`. Cycles that are doubled are followed from an orbit that was found of them, and
    what long ones come near is not told.

    **Arguments:**

    - `system`, `parameters`, `longest`, `max_points`, `progress`, `throw`: as for
      `continue_equilibria`.
    - `start`: a special point of kind "hopf" (small cycles by the normal form) or
      "period_doubling" (cycles of two turns; of a branch over the same parameter), or an `Orbit`
      of the system (both directions); by default what `find_orbit` finds.
    - `intervals`: of the mesh. A doubled cycle gets twice as many as its parent, 256 at most.
    - `longest_period`: in the model's unit; by default 4000 of the system's time steps (0.2 s) or
      10 periods of the first cycle, whichever is less, and at least 4 of these.

    Source: Doedel, Keller and Kernevez, Int. J. Bifurcation Chaos 1, 745 (1991).
    """
    _checks.require_x64("continue_cycles")
    _checks.positive_integer("intervals", intervals)
    if intervals < 8:
        _checks.fail("intervals", "be at least 8", f"it is {intervals}")
    names, bounds = given.bounds_of(parameters, 1)
    limits = given.limits_of(bounds, longest, max_points)
    if isinstance(start, SpecialPoint):
        given.of_kind(start, "hopf", "period_doubling")
    elif start is not None and int(given.an_orbit(start).status) != Status.OK:
        _checks.fail("start", "be an orbit that was found", Status(int(start.status)).explanation)
    system = deterministic(system, "continue_cycles")
    late.only_of_one_delay(system, "continue_cycles")
    _of_the_same(system, start)
    field = given.field_of(system, names, start, limits)
    width = limits.high - limits.low
    if is_delayed(system):
        curve_of = functools.partial(_late_cycles, field, start, intervals, limits, progress)
        return _table("cycle", *curve_of(longest_period), limits if throw else None)
    turns = 1
    if isinstance(start, SpecialPoint):
        if start.kind == "period_doubling":
            given.over_the_same(start, names[0])
            turns = 2 * start.turns
        period = start.period * turns / start.turns
        states = start.extent[None]
    else:
        orbit = find_orbit(field.system) if start is None else start
        period = float(orbit.period)
        states = np.asarray(orbit.samples).reshape(orbit.ts.size, -1)
    problem: Any = Cycles(
        field,
        starts.state_scales(states),
        width,
        starts.longest_of(system, longest_period, period),
        _clock(field.system, period),
    )
    given_orbit = None if isinstance(start, SpecialPoint) else orbit
    curve = _cycles_from(problem, start, given_orbit, intervals, limits, progress)
    return _table("cycle", problem, curve, limits if throw else None, turns)


def _cycles_from(
    problem: Any, start: Any, orbit: Any, intervals: int, limits: Limits, progress: bool | None
) -> Curve:
    """The curve from an orbit, both ways; or from a special point."""
    p = problem.field.parameters
    if orbit is not None:
        begin = starts.from_orbit(problem, orbit, p, intervals)
        return _both_ways(problem, begin, limits, progress)
    if start.kind == "hopf":
        x = as_array(start.state).ravel()
        begin = starts.from_hopf(problem, x, p, intervals, limits)
    else:
        begin = starts.doubled(problem, start.origin)
    return _one_way(problem, begin, limits, progress, limits.longest / 10)


def _late_cycles(
    field: Any,
    start: Any,
    intervals: int,
    limits: Limits,
    progress: bool | None,
    longest_period: Any,
) -> tuple[Any, Curve]:
    """The problem and the curve of a system with one delay."""
    given.bounds_allowed(field.system, field.names, limits)
    width = limits.high - limits.low
    ends_at = functools.partial(starts.longest_of, field.system, longest_period)
    problem, begin = late.begin_cycles(field, start, width, ends_at, intervals)
    if isinstance(start, SpecialPoint):
        return problem, _one_way(problem, begin, limits, progress, limits.longest / 10)
    return problem, _both_ways(problem, begin, limits, progress)


@placed(lambda system, **given: jacobian_is_small(system))
def continue_bifurcation(
    system: Any,
    parameters: Mapping[str, Any],
    start: SpecialPoint,
    *,
    longest: float | int = _LONGEST,
    longest_period: float | int | None = None,
    max_points: int = 2000,
    progress: bool | None = None,
    throw: bool = True,
) -> Branch:
    """The curve of a bifurcation over two parameters, in both directions.

    Folds and Hopf points of equilibria, period doublings and folds of cycles satisfy their
    defining equations (a null vector beside the state, Moore and Spence's way); from the end of
    a branch of cycles of long period ("snic", "homoclinic", "long_period") the curve
    keeps the period and stands for the homoclinic. Codimension-two points are located: cusps,
    Bogdanov-Takens, generalised Hopf (where the first Lyapunov coefficient vanishes), fold-Hopf
    points, cusps of cycles.

    With delays of folds, which are where they are without, and of Hopf points, as `continue_hopf`
    follows them (`spectrum` is the pair on the axis alone, and `longest` is its own).

    **Arguments:**

    - `parameters`: two names, with the lowest and highest value of each.
    - `start`: a special point of a branch; of cycles, of one over the first of the parameters.
    - The rest: as for `continue_cycles`.

    Source: Kuznetsov, Elements of Applied Bifurcation Theory (2004), section 10.3.
    """
    _checks.require_x64("continue_bifurcation")
    names, bounds = given.bounds_of(parameters, 2)
    given.of_kind(start, *CURVES)
    limits = given.limits_of(bounds, longest, max_points)
    kind = CURVES[start.kind]
    system = deterministic(system, "continue_bifurcation")
    _of_the_same(system, start)
    if kind not in ("fold", "hopf"):
        given.over_the_same(start, names[0])
    rest = given.at_rest(system, names, limits)
    if rest is not None:
        return _with_delays(system, rest, names, start, limits, progress, throw)
    field = given.field_of(system, names, start, limits)
    width = limits.high - limits.low
    problem: Any
    if kind in ("fold", "hopf"):
        problem, begin = starts.of_equilibria(kind, field, start, width)
    else:
        end = starts.longest_of(system, longest_period, start.period)
        end = np.asarray(np.maximum(end, 2 * start.period))
        kept = kind == "period"
        clock = Kept(as_array(start.period)) if kept else _clock(field.system, start.period)
        problem, begin = starts.of_cycles(kind, field, start, width, end, clock)
    curve = _both_ways(problem, begin, limits, progress)
    return _table(kind, problem, curve, limits if throw else None)


def _with_delays(
    system: Any,
    rest: Any,
    names: tuple[str, ...],
    start: SpecialPoint,
    limits: Limits,
    progress: bool | None,
    throw: bool,
) -> Branch:
    """The curve of folds or Hopf points of equilibria of a system with delays."""
    kind = CURVES[start.kind]
    if kind not in ("fold", "hopf"):
        must = "be a fold or a Hopf point where there are delays: bifurcations of cycles are not "
        must += "followed with them (`continue_cycles` locates them at each value of the other)"
        _checks.fail("start", must, f"it is {start}")
    field = given.field_of(rest, names, start, limits)
    if kind == "hopf":
        bounds = dict(zip(names, zip(limits.low, limits.high, strict=True), strict=True))
        branch = late.hopf_points(system, start, bounds, limits.points)
        if throw:
            raise_unless_ok(f"the branch of {BRANCHES[kind]}", int(branch.status), branch)
        return branch
    width = limits.high - limits.low
    problem, begin = starts.of_equilibria(kind, field, start, width)
    curve = late.folds(problem, _both_ways(problem, begin, limits, progress), system)
    return _table(kind, problem, curve, limits if throw else None)


#: The curve that continues each kind of special point in two parameters.
CURVES = {
    "fold": "fold",
    "hopf": "hopf",
    "cycle_fold": "cycle_fold",
    "period_doubling": "period_doubling",
    "neimark_sacker": "neimark_sacker",
    "snic": "period",
    "homoclinic": "period",
    "long_period": "period",
}


def _clock(system: Any, period: float) -> AbstractClock:
    """How time goes along a cycle of a system: as its drive says, where it has one."""
    if not is_driven(system):
        return Free()
    return Drive.of(system, round(period / float(system.drive_period)))


def _of_the_same(system: Any, start: Any) -> None:
    """Refuse where one of two is driven and the other is not."""
    driven = is_driven(system)
    known = isinstance(start, SpecialPoint) and (isinstance(start.origin.point, Profile))
    if isinstance(start, Orbit | ForcedOrbit) and isinstance(start, ForcedOrbit) != driven:
        kind = "a driven system" if driven else "a system without a drive"
        _checks.fail("start", f"be an orbit of this system, {kind}", f"it is {start!r}")
    if driven and isinstance(start, SpecialPoint) and not known:
        must = "be a special point of locked cycles: under a drive nothing rests"
        _checks.fail("start", must, f"it is {start}")


def _start(problem: Any, begin: Step, limits: Limits) -> Step:
    """The first point, corrected: near where it should be, and within the bounds."""
    step = problem.advance(begin, 0.0)
    if not (step.converged and float(step.distance) < _ASIDE):
        advice = (
            "Newton's iteration did not reach its tolerance near `start`: it is not near a point "
            "of this branch, or the branch is degenerate there"
        )
        if isinstance(problem, AbstractCycleProblem):
            number = begin.point.points.shape[0]
            advice += f"; raise `intervals` ({number} here) where the cycle is sharp"
        raise SolverError("the start of the branch", Status.NOT_CONVERGED, step, advice)
    if not limits.contain(np.asarray(step.parameters), given.OUTSIDE):
        what = "the start of the branch, which leaves the bounds at once"
        advice = f"widen the bounds of {', '.join(problem.field.names)} in `parameters`"
        raise SolverError(what, Status.NOT_CONVERGED, step, advice)
    return step


def _advice(problem: Any, limits: Limits, curve: Curve) -> dict[Status, str]:
    """What to raise where a curve was not followed to an end, by status."""
    names, last = problem.field.names, curve.steps[-1 if curve.ends[1] in UNENDED else 0]
    where = ", ".join(f"{k} = {v:.6g}" for k, v in zip(names, last.parameters, strict=True))
    short = (
        f"its steps became shorter than {limits.shortest:g} of the bounds' width at {where}: "
        "shorten `longest` "
        f"({limits.longest:g} here), or narrow the bounds so that it ends before"
    )
    if isinstance(problem, AbstractCycleProblem):
        number = last.point.points.shape[0]
        short += (
            f"; where cycles are sharp raise `intervals` of `continue_cycles` (the mesh has "
            f"{number} here, and refines itself up to {problem.most}), or, where they near a "
            "homoclinic, lower `longest_period`"
        )
    return {
        Status.MAX_STEPS: (
            f"it goes on beyond {where}: raise `max_points` ({limits.points} in each direction "
            f"here), or `longest` ({limits.longest:g})"
        ),
        Status.STEP_TOO_SMALL: short,
    }


def _both_ways(problem: Any, begin: Step, limits: Limits, progress: bool | None) -> Curve:
    with progress_bar(2 * limits.points, type(problem).__name__, "point", progress) as bar:
        step = _start(problem, begin, limits)
        forward = follow(problem, step, limits, tick=lambda _: bar.update())
        if forward.ends[1] == "closed":
            return forward
        backward = follow(problem, reverse(step), limits, tick=lambda _: bar.update())
    return joined(backward, forward)


def _one_way(
    problem: Any, begin: Step, limits: Limits, progress: bool | None, first: float
) -> Curve:
    with progress_bar(limits.points, type(problem).__name__, "point", progress) as bar:
        step = _start(problem, begin, limits)
        return follow(problem, step, limits, first=first, tick=lambda _: bar.update())


def _across(problem: Any, begin: Step, limits: Limits, progress: bool | None) -> Curve:
    """The branch that crosses another one at a branch point, which is left out."""
    first = limits.longest / 10
    with progress_bar(2 * limits.points, type(problem).__name__, "point", progress) as bar:
        ways = []
        for length in (-first, first):
            step = problem.advance(begin, length)
            if not step.converged:
                raise SolverError("the branch that crosses", Status.NOT_CONVERGED, step)
            step = reverse(step) if length < 0 else step
            ways.append(follow(problem, step, limits, first=first, tick=lambda _: bar.update()))
    ways[1].steps.insert(0, ways[1].steps[0])
    ways[1].special = [(index + 1, point) for index, point in ways[1].special]
    return joined(*ways)


def _table(kind: str, problem: Any, curve: Curve, limits: Limits | None, turns: int = 1) -> Branch:
    """The points as arrays. `limits`: of which a curve without an end is refused."""
    steps = curve.steps
    system = problem.field.system
    profiles = None
    periods, errors = np.full((2, len(steps)), np.nan)
    if isinstance(problem, AbstractCycleProblem):
        profiles = jax.device_get([step.point for step in steps])
        states = np.stack([profile.points[0, : problem.dimension] for profile in profiles])
        extrema = np.stack([profile.extrema for profile in profiles], axis=1)
        low, high = extrema[..., : problem.dimension]
        periods = np.asarray([step.cycle.period for step in steps])
        errors = np.asarray([step.cycle.missed for step in steps], float)
    else:
        states = np.stack([np.asarray(problem.state(step.point)) for step in steps])
        states = states.reshape(-1, *system.state_shape)
        low = high = states
        if kind == "hopf":
            squares = np.asarray([step.tests["bogdanov_takens"] for step in steps])
            periods = 2 * np.pi / np.sqrt(np.where(squares > 0, squares, np.nan))
    spectrum = np.stack([np.asarray(step.spectrum) for step in steps])
    lost = (errors > _INEXACT)[:, None] & (spectrum.real < _RESOLVED)
    spectrum = np.where(lost | np.isinf(spectrum.real), np.nan, spectrum)
    extent = np.maximum(np.abs(low).max(axis=0), np.abs(high).max(axis=0)).ravel()
    special = [
        ends.special_point(problem, ends.Place(index, extent, turns), point)
        for index, point in curve.special
    ]
    reasons = list(curve.ends)
    for k, index in enumerate((0, len(steps) - 1)):
        where = ends.Place(index, extent, turns)
        point = ends.named_end(problem, where, steps[index], reasons[k])
        if point is not None:
            special.append(point)
            reasons[k] = point.kind
    model = getattr(system, "model", None)
    count = system.state_shape[0]
    branch = Branch(
        kind=kind,
        names=problem.field.names,
        parameters=np.stack([np.asarray(step.parameters) for step in steps]),
        states=states,
        low=low,
        high=high,
        periods=periods,
        spectrum=spectrum,
        errors=errors,
        unstable=np.asarray([int(step.unstable) for step in steps]),
        turns=turns,
        special=tuple(sorted(special, key=lambda point: point.index)),
        ends=(reasons[0], reasons[1]),
        status=curve.status,
        unexplained=curve.unexplained,
        time_unit=getattr(model, "time_unit", "1"),
        variables=tuple(getattr(model, "variables", (f"x{k}" for k in range(count)))),
        profiles=profiles,
        notation=notation_of(system),
    )
    if limits is not None:
        advice = _advice(problem, limits, curve)
        raise_unless_ok(f"the branch of {BRANCHES[kind]}", int(curve.status), branch, advice)
    return branch
