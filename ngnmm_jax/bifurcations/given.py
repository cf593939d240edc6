"""What continuation is given, checked: bounds, parameters, and where a curve begins."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import (
    ParametrisedField,
    bare,
    check_values,
    known_name,
    scalar_names,
    with_leaves,
)
from ngnmm_jax._core.status import SolverError, Status
from ngnmm_jax.bifurcations.branches import SPECIAL, SpecialPoint
from ngnmm_jax.bifurcations.resting import AtRest
from ngnmm_jax.dynamics.continuation.arclength import Limits
from ngnmm_jax.dynamics.equilibria import find_equilibria
from ngnmm_jax.dynamics.forced.result import ForcedOrbit
from ngnmm_jax.dynamics.forced.system import only_together
from ngnmm_jax.dynamics.many_equilibria import near
from ngnmm_jax.dynamics.periodic import Orbit
from ngnmm_jax.systems.delayed_homogeneous import AbstractDelayedHomogeneous
from ngnmm_jax.systems.network import Network

#: A curve begins within its bounds, but for this fraction of their width.
OUTSIDE = 1e-9
# The shortest step, in units of arclength.
_SHORTEST = 1e-7
# A state that is given is this near to an equilibrium, relative to 1 + |x|.
_AWAY = 0.2


def bounds_of(parameters: Any, number: int) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of so many parameters, and their bounds (name, end)."""
    one = 'name one parameter and its bounds, as in {"coupling": (0, 10)}'
    two = 'name two parameters and their bounds, as in {"i_ext_e": (0, 20), "coupling": (0, 10)}'
    if not isinstance(parameters, Mapping) or len(parameters) != number:
        _checks.fail("parameters", one if number == 1 else two, f"it is {parameters!r}")
    pairs = {name: _checks.numbers("parameters", pair) for name, pair in parameters.items()}
    for name, pair in pairs.items():
        if pair.shape != (2,):
            _checks.fail("parameters", f"hold the bounds (low, high) of {name}", f"it is {pair}")
        _checks.finite("parameters", pair)
        if not pair[0] < pair[1]:
            _checks.fail("parameters", f"hold the lowest and highest {name}", f"they are {pair}")
    return tuple(pairs), np.array([*pairs.values()], dtype=float)


def limits_of(bounds: np.ndarray, longest: float | int, points: int) -> Limits:
    """The bounds (parameter, end) and steps of a curve."""
    _checks.positive("longest", longest)
    _checks.positive_integer("max_points", points)
    low, high = bounds.T
    return Limits(low, high, _SHORTEST, longest, points)


def field_of(system: Any, names: tuple[str, ...], start: Any, limits: Limits) -> ParametrisedField:
    """The vector field, at the start's parameter values where it is a special point."""
    system = bare(system)
    known = scalar_names(system)
    for name in names:
        known_name(name, system, known)
    only_together(system, names)
    if isinstance(start, SpecialPoint):
        for name in start.parameters:
            if name not in known:
                _checks.fail("start", "be a point of this system", f"that has no {name!r}")
        system = with_leaves(system, {n: as_array(v) for n, v in start.parameters.items()})
    field = ParametrisedField(system, names)
    here = np.asarray(field.parameters)
    for name, value, low, high in zip(names, here, limits.low, limits.high, strict=True):
        slack = OUTSIDE * (high - low)
        if not low - slack <= value <= high + slack:
            _checks.fail(
                "parameters",
                f"hold the {name} at which the curve begins",
                f"it is {value:g} there, and the bounds are {low:g} and {high:g}",
            )
    return field


def at_rest(system: Any, names: tuple[str, ...], limits: Limits) -> AtRest | None:
    """What a system with delays is at rest; None of one without."""
    if getattr(system, "delays", None) is None:
        return None
    if not isinstance(system, Network | AbstractDelayedHomogeneous):
        kind = type(system).__name__
        must = "be a network, or its homogeneous system, where it has delays"
        _checks.fail("system", must, f"it is a `{kind}`")
    if isinstance(system, Network):
        system.only_by_coupling("find the roots of its own linearisation")
    bounds_allowed(system, names, limits)
    return AtRest(bare(system))


def bounds_allowed(system: Any, names: tuple[str, ...], limits: Limits) -> None:
    """Refuse bounds that parameters cannot have, as of a delay."""
    if not hasattr(system, "model"):
        return
    for name, bounds in zip(names, np.stack([limits.low, limits.high], axis=1), strict=True):
        check_values(system, name, bounds)


def of_kind(start: SpecialPoint, *kinds: str) -> None:
    """Refuse a special point of another kind, and what is none."""
    if not isinstance(start, SpecialPoint):
        must = "be a special point, as `branch.special` has"
        _checks.fail("start", must, f"it is {_checks.kind_of(start)}")
    if start.kind not in kinds:
        names = ", ".join(SPECIAL[kind] for kind in kinds)
        _checks.fail("start", f"be one of: {names}", f"it is {start}")


def an_orbit(start: Any) -> Orbit | ForcedOrbit:
    """An orbit that a branch may begin at; what is none is refused."""
    if not isinstance(start, Orbit | ForcedOrbit):
        must = "be an orbit, as `find_orbit` gives, or a special point of a branch"
        _checks.fail("start", must, f"it is {_checks.kind_of(start)}")
    return start


def over_the_same(start: SpecialPoint, parameter: str) -> None:
    """Refuse a special point, whose direction is needed, of a branch over another parameter."""
    if tuple(start.parameters) != (parameter,):
        names = ", ".join(start.parameters)
        _checks.fail("start", f"be of a branch over {parameter!r} alone", f"it is over {names}")


def equilibrium_near(system: Any, start: Any) -> jax.Array:
    """The equilibrium near a state, or the first one."""
    if start is None:
        return find_equilibria(system).states[0]
    state = as_array(start, dtype=float)
    _checks.shape("start", state, tuple(system.state_shape), "(*state)")
    _checks.finite("start", state)
    found, _, admissible = near(system, np.asarray(state))
    away = float(np.abs(found - state).max() / (1 + np.abs(state).max()))
    if np.isfinite(away) and away > _AWAY:
        _checks.fail(
            "start",
            f"be within {_AWAY:g} of an equilibrium, relative to 1 + |x|",
            f"the one that Newton's iteration finds from it is {away:.2g} away",
        )
    if not (np.isfinite(away) and admissible):
        raise SolverError("the start of the branch", Status.NONE_FOUND)
    return as_array(found)
