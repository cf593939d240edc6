"""Diagrams: the branches that can be reached, over one parameter or two."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import bare, with_leaves
from ngnmm_jax._core.placement import jacobian_is_small, placed
from ngnmm_jax._core.status import SolverError
from ngnmm_jax.bifurcations import given, late
from ngnmm_jax.bifurcations.branches import Branch, Diagram, SpecialPoint, same_point
from ngnmm_jax.bifurcations.curves import (
    continue_bifurcation,
    continue_cycles,
    continue_equilibria,
)
from ngnmm_jax.dynamics.equilibria import find_equilibria
from ngnmm_jax.dynamics.forced.system import undriven

# What there is for driven systems.
_INSTEAD = ", under which nothing rests: `continue_cycles` from `find_orbit` follows locked orbits"
# Where along the parameter's bounds equilibria are looked for.
_PLACES = (1e-4, 0.5, 1 - 1e-4)


@placed(lambda system, **given: jacobian_is_small(system))
def bifurcation_diagram(
    system: Any,
    parameters: Mapping[str, Any],
    *,
    doublings: int = 1,
    seen: Callable[[Branch], None] = lambda branch: None,
    **options: Any,
) -> Diagram:
    """Branches of equilibria, of the cycles born on them, and of their doublings.

    Those that connect to the equilibria found; others (isolas) may exist.

    Equilibria are looked for at both bounds and between; branches that cross at branch points
    are followed, cycles from every Hopf point, and doubled cycles from every period doubling, to
    the given depth. A branch reached from both its ends is followed once. Branches that could
    not be followed to an end are in the diagram, with their status.

    **Arguments:**

    - `system`, `parameters`: as for `continue_equilibria`.
    - `doublings`: how many times doubled cycles are followed; with a delay they are not.
    - `seen`: called with each branch once it is there.
    - `options`: of `continue_cycles` (`intervals`, `longest_period`); `longest`, `max_points` and
      `progress` serve equilibria too.
    """
    (parameter,), (bounds,) = given.bounds_of(parameters, 1)
    system = undriven(system, "bifurcation_diagram", _INSTEAD)
    late.only_of_one_delay(system, "bifurcation_diagram")
    if getattr(system, "delays", None) is not None:
        doublings = 0
    collection = _Collection(seen)
    for branch in _equilibria(collection, system, parameter, bounds, options):
        for hopf in branch.of_kind("hopf"):
            _cycles(collection, system, parameter, bounds, hopf, doublings, options)
    return collection.diagram()


@placed(lambda system, **given: jacobian_is_small(system))
def two_parameter_diagram(
    system: Any,
    parameters: Mapping[str, Any],
    cuts: Sequence[float],
    *,
    cycles: bool = True,
    most: int = 8,
    seen: Callable[[Branch], None] = lambda branch: None,
    **options: Any,
) -> Diagram:
    """Curves of bifurcations over two parameters, from those found on one-parameter cuts.

    On each cut (a value of the second parameter) equilibria, and cycles from their Hopf points,
    are followed over the first; each fold, Hopf point, period doubling, fold of cycles and
    homoclinic end is then continued in both parameters, unless it lies on a curve that is there
    already. The diagram holds the curves alone.

    **Arguments:**

    - `parameters`: two, with the bounds of each, as for `continue_bifurcation`.
    - `cuts`: values of the second parameter.
    - `cycles`: whether cycles are followed at all; with delays they are not.
    - `most`: special points of cycles that are continued, for each branch: near homoclinics to
      saddle-foci there are infinitely many.
    - `seen`, `options`: as for `bifurcation_diagram`.
    """
    (first, second), bounds = given.bounds_of(parameters, 2)
    system = undriven(system, "two_parameter_diagram", _INSTEAD)
    cycles = cycles and getattr(system, "delays", None) is None
    curves = _Collection(seen)
    own = _without(options, "intervals")
    for cut in cuts:
        _checks.finite("cuts", np.asarray(cut))
        if not bounds[1][0] <= cut <= bounds[1][1]:
            _checks.fail("cuts", f"be within the bounds of {second}", f"one is at {cut:g}")
        here = with_leaves(bare(system), {second: as_array(float(cut))})
        ways = _Collection(lambda branch: None)
        points: list[SpecialPoint] = []
        for branch in _equilibria(ways, here, first, bounds[0], options):
            points += branch.of_kind("fold", "hopf")
            if cycles:
                for hopf in branch.of_kind("hopf"):
                    _cycles(ways, here, first, bounds[0], hopf, 0, options)
        for branch in ways.branches:
            if branch.kind == "cycle":
                points += branch.of_kind("period_doubling", "cycle_fold")[:most]
                points += branch.of_kind("snic", "homoclinic", "long_period")
        curves.failures += ways.failures
        for point in points:
            if _outside(point, bounds[0]):
                curves.failures.append(f"{point.label} at {second} = {cut:g}: outside the bounds")
            elif not any(_on_curve(point, cut, curve) for curve in curves.branches):
                curves.attempt(
                    f"{point.label} at {second} = {cut:g}",
                    functools.partial(
                        continue_bifurcation, here, parameters, point, throw=False, **own
                    ),
                )
    return curves.diagram()


class _Collection:
    """Branches as they are found, and what failed to begin."""

    def __init__(self, seen: Callable[[Branch], None]) -> None:
        self.branches: list[Branch] = []
        self.failures: list[str] = []
        self._seen = seen

    def attempt(self, what: str, work: Callable[[], Branch]) -> Branch | None:
        """The branch, kept; or None, and the failure kept."""
        try:
            branch = work()
        except SolverError as error:
            self.failures.append(f"{what}: {error}")
            return None
        self.branches.append(branch)
        self._seen(branch)
        return branch

    def diagram(self) -> Diagram:
        return Diagram(tuple(self.branches), tuple(self.failures))


def _without(options: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in names}


def _equilibria(
    collection: _Collection,
    system: Any,
    parameter: str,
    bounds: Any,
    options: dict[str, Any],
) -> Iterator[Branch]:
    """The branches of equilibria, one after the other."""
    own = _without(options, "intervals", "longest_period")
    for place in _PLACES:
        value = bounds[0] + place * (bounds[1] - bounds[0])
        here = with_leaves(bare(system), {parameter: as_array(float(value))})
        try:
            states = find_equilibria(here).states
        except SolverError:  # none there
            continue
        for state in np.asarray(states):
            if any(_passes(branch, value, state) for branch in collection.branches):
                continue
            todo: list[Any] = [state]
            while todo:
                start = todo.pop()
                branch = collection.attempt(
                    f"equilibria at {parameter} = {value:g}",
                    functools.partial(
                        continue_equilibria,
                        here,
                        {parameter: bounds},
                        start=start,
                        throw=False,
                        **own,
                    ),
                )
                if branch is None:
                    continue
                yield branch
                todo += [
                    point
                    for point in branch.of_kind("branch_point")
                    if not isinstance(start, SpecialPoint)
                ]


def _passes(branch: Branch, value: float, state: np.ndarray) -> bool:
    """Whether a branch of equilibria passes through a state at a value of the parameter."""
    if branch.kind != "equilibrium":
        return False
    p, states = branch.parameter, branch.states
    for i in np.flatnonzero((p[:-1] - value) * (p[1:] - value) <= 0):
        way = (value - p[i]) / (p[i + 1] - p[i]) if p[i + 1] != p[i] else 0.0
        near = states[i] + way * (states[i + 1] - states[i])
        reach = np.abs(states[i + 1] - states[i]).max() + 1e-6 * (1 + np.abs(state).max())
        if np.abs(near - state).max() <= 0.5 * reach:
            return True
    return False


def _cycles(
    collection: _Collection,
    system: Any,
    parameter: str,
    bounds: Any,
    start: SpecialPoint,
    doublings: int,
    options: dict[str, Any],
) -> None:
    """The branch of cycles from a point, unless it is there, and those doubled on it."""
    ends = [
        branch.special[k]
        for branch in collection.branches
        for k in (0, -1)
        if branch.kind == "cycle" and branch.special
    ]
    if any(same_point(start, end) for end in ends):
        return
    branch = collection.attempt(
        start.label,
        lambda: continue_cycles(system, {parameter: bounds}, start=start, throw=False, **options),
    )
    if branch is None or doublings == 0:
        return
    for point in branch.of_kind("period_doubling"):
        if point.turns == branch.turns:  # not the one that it ends at
            _cycles(collection, system, parameter, bounds, point, doublings - 1, options)


def _on_curve(point: SpecialPoint, cut: float, curve: Branch) -> bool:
    """Whether a special point of a cut lies on a curve already followed."""
    kinds = {"fold": "fold", "hopf": "hopf", "period_doubling": "period_doubling"}
    kinds |= {"cycle_fold": "cycle_fold"}
    if kinds.get(point.kind, "period") != curve.kind:
        return False
    p, q = curve.parameters.T
    for i in np.flatnonzero((q[:-1] - cut) * (q[1:] - cut) <= 0):
        way = (cut - q[i]) / (q[i + 1] - q[i]) if q[i + 1] != q[i] else 0.0
        at = p[i] + way * (p[i + 1] - p[i])
        reach = abs(p[i + 1] - p[i]) + 1e-4 * np.ptp(p)
        periods = curve.periods[i : i + 2]
        same = np.isnan(point.period) or np.abs(periods / point.period - 1).min() < 0.05
        if abs(at - point.parameter) <= 0.5 * reach and (same or curve.kind == "period"):
            return True
    return False


def _outside(point: SpecialPoint, bounds: Any) -> bool:
    """Whether a special point is outside of its parameter's bounds, where no curve may begin."""
    slack = 1e-9 * (bounds[1] - bounds[0])
    return not bounds[0] - slack <= point.parameter <= bounds[1] + slack
