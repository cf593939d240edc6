"""Curves of systems with delays: cycles over one parameter; folds and Hopf points over two."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import ParametrisedField, bare, with_leaves
from ngnmm_jax._core.status import Status
from ngnmm_jax.bifurcations import starts
from ngnmm_jax.bifurcations.branches import Branch, SpecialPoint
from ngnmm_jax.bifurcations.delay_hopf import continue_hopf
from ngnmm_jax.dynamics.continuation.arclength import Curve, Step
from ngnmm_jax.dynamics.continuation.clocks import Free
from ngnmm_jax.dynamics.continuation.equilibrium_curves import FoldCurve
from ngnmm_jax.dynamics.delayed.cycles import PIECES, LateCycles, from_hopf, from_path
from ngnmm_jax.dynamics.delayed.orbits import path_of
from ngnmm_jax.dynamics.delayed.pieces import on_pieces
from ngnmm_jax.dynamics.delayed.system import is_delayed
from ngnmm_jax.dynamics.orbits import find_orbit
from ngnmm_jax.models.notation import notation_of
from ngnmm_jax.stability.roots import FEWEST, NEUTRAL, root_at
from ngnmm_jax.systems.delayed_homogeneous import DelayedHomogeneous
from ngnmm_jax.systems.loops import rightmost
from ngnmm_jax.systems.network import Network, one_region
from ngnmm_jax.systems.wide_loops import loop_of

# Intervals of a mesh of degree four that one of pieces of degree twelve stands for.
_EACH = 4
# Steps of Newton's iteration towards a Hopf point, and what is left of the real part.
_STEPS, _ON_AXIS = 12, 1e-9


def only_of_one_delay(system: Any, what: str) -> None:
    """Refuse systems with delays of which no cycles are known."""
    if isinstance(system, Network) and system.delays is not None:
        must = f"be `network.homogeneous()` in `{what}`, whose cycles are those of one region"
        _checks.fail("system", must, "it is a network with delays")
    if is_delayed(system):
        float(system.delay)  # which says so where there are several


def begin_cycles(
    field: ParametrisedField,
    start: Any,
    width: np.ndarray,
    longest: Any,
    intervals: int,
) -> tuple[LateCycles, Step]:
    """The problem and where it begins: at a Hopf point, or at an orbit (which is looked for).

    `longest`: of a first period, the period at which cycles end.
    """
    pieces = next((n for n in PIECES if n * _EACH >= intervals), PIECES[-1])
    if isinstance(start, SpecialPoint):
        if start.kind != "hopf":
            must = "be a Hopf point or an orbit where there are delays: `find_orbit` finds cycles "
            must += "of two turns, from states over a period"
            _checks.fail("start", must, f"it is {start}")
        least = starts.least_extent(field.system)
        states, period = np.maximum(start.extent, least)[None], start.period
    else:
        start = find_orbit(field.system) if start is None else start
        period = float(start.period)
        states = np.asarray(start.samples).reshape(start.ts.size, -1)
    problem = LateCycles(field, starts.state_scales(states), width, longest(period), Free())
    if isinstance(start, SpecialPoint):
        return problem, from_hopf(problem, start.state, 2 * np.pi / period, pieces)
    path = on_pieces(path_of(start), max(pieces, (start.ts.size - 1) // 12))
    return problem, from_path(path, field.parameters[0], period)


def hopf_near(problem: LateCycles, step: Step) -> tuple[np.ndarray, float, float, bool]:
    """The Hopf point that small cycles surround: its state, parameter, frequency; if it is one."""
    profile = step.point
    at = np.linspace(0.0, 1.0, 64, endpoint=False)
    state = as_array(profile.at(at)[0].mean(axis=0))
    p, omega = float(profile.scalars[0]), 2 * np.pi / float(step.cycle.period)
    guess = 1j * omega

    def root(p: jax.Array, state: jax.Array, guess: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
        here = problem.field.at(p[None])
        rest = _rest(here, state)
        z, error = root_at(one_region(here), rest[:, None], guess)
        return z, error, rest

    for _ in range(_STEPS):

        def real(p: jax.Array, state: Any = state, guess: Any = guess) -> Any:
            z, error, rest = root(p, state, guess)
            return z.real, (z, error, rest)

        slope, (z, error, state) = jax.jacfwd(real, has_aux=True)(as_array(p))
        guess = complex(z)
        if not np.isfinite(guess) or abs(guess.real) <= _ON_AXIS * abs(guess):
            break
        p -= guess.real / float(slope)
    ok = bool(error <= _ON_AXIS * abs(guess)) and abs(guess.real) <= 10 * _ON_AXIS * abs(guess)
    return np.asarray(state), p, abs(guess.imag), ok and abs(guess.imag / omega - 1) < 0.1


def folds(problem: FoldCurve, curve: Curve, system: Any) -> Curve:
    """A curve of folds, which is that without delays, with the characteristic roots on it.

    Of its special points cusps alone do not depend on delays.
    """
    steps, certain = [], True
    whole = getattr(system, "network", system)
    regions = whole.state_shape[1:] or (1,)
    for step in curve.steps:
        values = dict(zip(problem.field.names, map(as_array, step.parameters), strict=True))
        state = as_array(problem.state(step.point)).reshape(len(system.model.variables), -1)
        everywhere = jnp.broadcast_to(state, (len(state), *regions))
        found = rightmost(loop_of(with_leaves(whole, values), everywhere), FEWEST).found
        z = found.values
        others = np.delete(z, np.abs(z).argmin()) if z.size else z
        grows = others.real > NEUTRAL * np.abs(z).max(initial=0.0)
        unstable = int((grows * (1 + (others.imag > 0))).sum())
        spectrum = np.append(z, z[z.imag > 0].conj())
        steps.append(dataclasses.replace(step, spectrum=spectrum, unstable=unstable))
        certain &= found.certified
    wide = max(step.spectrum.size for step in steps)
    steps = [
        dataclasses.replace(
            step, spectrum=np.append(step.spectrum, np.full(wide - step.spectrum.size, np.nan + 0j))
        )
        for step in steps
    ]
    special = [(k, at) for k, at in curve.special if at.event.kind == "cusp"]
    status = max(curve.status, Status.OK if certain else Status.NOT_CERTIFIED)
    return Curve(steps, special, curve.ends, status, curve.unexplained)


def hopf_points(
    system: Any, start: SpecialPoint, bounds: dict[str, Any], max_points: int
) -> Branch:
    """The curve of Hopf points over two parameters, as `continue_hopf` follows it."""
    values = {name: as_array(value) for name, value in start.parameters.items()}
    here = with_leaves(bare(system), values)
    alone = isinstance(here, DelayedHomogeneous)
    network = one_region(here) if alone else getattr(here, "network", here)
    root = 2j * np.pi / start.period
    found = continue_hopf(network, start.state, root, bounds, max_points=max_points, throw=False)
    states = found.states if not system.alone else found.states[:, :, 0]
    omega = found.roots.imag
    status = Status(int(found.status))
    if status == Status.OK and not found.certified.all():
        status = Status.NOT_CERTIFIED
    ends = {Status.MAX_STEPS: "points", Status.STEP_TOO_SMALL: "step"}.get(status, "bound")
    return Branch(
        kind="hopf",
        names=tuple(bounds),
        parameters=np.stack(list(found.parameters.values()), axis=1),
        states=states,
        low=states,
        high=states,
        periods=2 * np.pi / omega,
        spectrum=np.stack([1j * omega, -1j * omega], axis=1),
        errors=np.full(omega.size, np.nan),
        unstable=2 * found.others,
        turns=1,
        special=(),
        ends=(ends, ends),
        status=status,
        unexplained=0,
        time_unit=system.model.time_unit,
        variables=tuple(system.model.variables),
        profiles=None,
        notation=notation_of(system),
    )


def _rest(system: DelayedHomogeneous, state: jax.Array) -> jax.Array:
    """The equilibrium near a state, with derivatives."""
    field = system.undelayed().vector_field
    for _ in range(4):
        state = state - jnp.linalg.solve(jax.jacfwd(field)(state), field(state))
    return state
