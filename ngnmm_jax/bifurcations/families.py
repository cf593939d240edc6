"""Curves of a bifurcation over two parameters, at several values of a third one."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import bare, leaf, scalar_names, with_leaves
from ngnmm_jax._core.placement import jacobian_is_small, placed
from ngnmm_jax._core.status import SolverError, Status
from ngnmm_jax.bifurcations import given
from ngnmm_jax.bifurcations.branches import Branch, Diagram, SpecialPoint
from ngnmm_jax.bifurcations.curves import CURVES, continue_bifurcation
from ngnmm_jax.bifurcations.starts import along_scalar
from ngnmm_jax.dynamics.continuation.arclength import Step


@placed(lambda system, **given: jacobian_is_small(system))
def bifurcation_family(
    system: Any,
    parameters: Mapping[str, Any],
    third: Mapping[str, Any],
    start: SpecialPoint,
    **options: Any,
) -> Diagram:
    """The curve of a bifurcation over two parameters, for each of some values of a third one.

    From the special point, at the system's own value of the third parameter, the bifurcation is
    followed over the first and the third to each of the values in turn; from there the curve over
    the first and the second is followed as `continue_bifurcation` does. Each branch says in
    `fixed` at which value it is. Values that the bifurcation does not reach within the first
    parameter's bounds are among the diagram's `failures`, with where it ended.

    **Arguments:**

    - `parameters`: two names, with the lowest and highest value of each.
    - `third`: a third name and its values, as in `{"delta_e": [0.5, 1.0, 2.0]}`.
    - `start`: as for `continue_bifurcation`: a special point of a branch over the first of the
      parameters.
    - `options`: of `continue_bifurcation`.
    """
    _checks.require_x64("bifurcation_family")
    (first, _), bounds = given.bounds_of(parameters, 2)
    if not isinstance(third, Mapping) or len(third) != 1:
        must = 'name one parameter and its values, as in {"delta_e": [0.5, 1.0, 2.0]}'
        _checks.fail("third", must, f"it is {third!r}")
    ((name, values),) = third.items()
    _checks.one_of("third", name, scalar_names(system))
    if name in parameters:
        _checks.fail("third", "be another one than `parameters`", f"it is {name}")
    values = _checks.numbers("third", values, "be a sequence of numbers").astype(float).ravel()
    _checks.finite("third", values)
    given.of_kind(start, *CURVES)
    given.over_the_same(start, first)
    system = bare(system)
    here = float(np.asarray(leaf(system, name)))
    branches: dict[float, Branch] = {}
    failures: list[str] = []
    upwards, downwards = np.unique(values[values >= here]), np.unique(values[values < here])[::-1]
    for way in (upwards, downwards):
        at, point = here, start
        for value in way.tolist():
            where = f"{name} = {value:g}"
            try:
                if value != at:
                    point = _carried(system, (first, bounds[0]), (name, at, value), point, options)
                    at = value
                there = with_leaves(system, {name: as_array(value)})
                branch = continue_bifurcation(there, parameters, point, **options, throw=False)
            except SolverError as error:
                failures.append(f"{where}: {error}")
                continue
            branches[value] = dataclasses.replace(branch, fixed={name: value})
    return Diagram(tuple(branches[value] for value in sorted(branches)), tuple(failures))


def _carried(
    system: Any,
    first: tuple[str, Any],
    third: tuple[str, float, float],
    start: SpecialPoint,
    options: Mapping[str, Any],
) -> SpecialPoint:
    """The special point at another value of a third parameter."""
    name, here, there = third
    parameters = {first[0]: tuple(first[1]), name: (min(here, there), max(here, there))}
    system = with_leaves(system, {name: as_array(here)})
    guide = continue_bifurcation(system, parameters, start, **options, throw=False)
    reached = guide.parameters[:, 1]
    hits = [k for k in (len(guide) - 1, 0) if abs(reached[k] - there) <= 1e-9 * abs(there - here)]
    if not hits:
        end = reached[np.abs(reached - there).argmin()]
        p = guide.parameters[np.abs(reached - there).argmin(), 0]
        advice = (
            f"the bifurcation goes on to {name} = {end:.6g} alone ({first[0]} = {p:.6g} there; it "
            f"ends by {' and '.join(guide.ends)}): widen the bounds of {first[0]}, or begin at "
            "another special point"
        )
        raise SolverError("the way to this value", Status.NOT_CONVERGED, guide, advice)
    return _point_of(guide, hits[0], start)


def _point_of(guide: Branch, k: int, like: SpecialPoint) -> SpecialPoint:
    """A point of a curve over two parameters as one of a branch over the first alone."""
    value, origin = float(guide.parameters[k, 0]), like.origin
    if guide.profiles is not None:
        profile = guide.profiles[k]
        n = len(like.extent)
        # The parameter, and what the cycle's clock adds to it.
        added = like.origin.point.scalars.size - 1
        scalars = np.concatenate([profile.scalars[:1], profile.scalars[2 : 2 + added]])
        point = eqx.tree_at(
            lambda p: (p.points, p.slopes, p.scalars),
            profile,
            (profile.points[:, :n], profile.slopes[..., :n], scalars),
        )
        tangent = along_scalar(point, 0)
        if guide.kind == "cycle_fold":
            beta = profile.scalars[-1] if added else 0.0
            tangent = eqx.tree_at(
                lambda p: (p.points, p.slopes, p.scalars),
                tangent,
                (profile.points[:, n:], profile.slopes[..., n:], np.append(scalars[:-1], beta)),
            )
        origin = Step(point, tangent, spectrum=guide.spectrum[k])
    return dataclasses.replace(
        like,
        parameters={guide.names[0]: value},
        state=guide.states[k],
        period=float(guide.periods[k]),
        status=Status.OK,
        origin=origin,
    )
