"""Branches of equilibria of systems with delays.

The equilibria are those without delays, and so are their folds and branch points, where a root is
zero. What grows on them are characteristic roots: all right of the imaginary axis, at each point of
the branch. Between points where the number of pairs differs each pair that crosses the axis is
followed, and where it crosses is a Hopf point.
"""

import dataclasses
import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float
from scipy.optimize import brentq

from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import ParametrisedField, with_leaves
from ngnmm_jax._core.progress import progress_bar
from ngnmm_jax._core.status import Status
from ngnmm_jax._core.threads import one_blas_thread
from ngnmm_jax.dynamics.continuation.arclength import Curve, Event, Special, Step
from ngnmm_jax.dynamics.continuation.equilibrium_curves import AbstractEquilibriumCurve
from ngnmm_jax.dynamics.delayed.normal_form import first_lyapunov_with_delay
from ngnmm_jax.stability.roots import FEWEST, NEUTRAL, root_at
from ngnmm_jax.systems.delayed_homogeneous import DelayedHomogeneous
from ngnmm_jax.systems.loops import rightmost
from ngnmm_jax.systems.network import Network
from ngnmm_jax.systems.wide_loops import loop_of

# Steps in which a root is followed from one point to the next, of Newton's iteration for each, and
# how far it may end from a known one, relative to the largest.
_PARTS, _NEWTON, _SAME = 4, 8, 1e-6
# Where the pairs followed do not account for the change, points between are looked at: so often.
_HALVINGS = 5


class AtRest(eqx.Module):
    """A system with delays, as far as its equilibria go: where these are, delays do not matter."""

    system: Any

    @property
    def model(self) -> Any:
        """Its equations."""
        return self.system.model

    @property
    def coupling(self) -> Any:
        """Its strength."""
        return self.system.coupling

    @property
    def state_shape(self) -> tuple[int, ...]:
        """Of its states."""
        return tuple(self.system.state_shape)

    def vector_field(self, state: Float[Array, "*state"]) -> Float[Array, "*state"]:
        """The time derivative where states have been the same for ever."""
        slope: jax.Array = self.system.undelayed().vector_field(state)
        return slope


class RestingCurve(AbstractEquilibriumCurve):
    """Equilibria, their folds and branch points; what else grows on them is found afterwards."""

    field: ParametrisedField
    scales: Float[Array, "unknown"]
    whole: Network | DelayedHomogeneous
    exhaustive = False

    @classmethod
    def of(cls, field: ParametrisedField, scales: Float[Array, "unknown"]) -> "RestingCurve":
        """Of what is `AtRest`; regions that rest alike have the roots of the whole network."""
        system = field.system.system
        return cls(field, scales, getattr(system, "network", system))

    def eigenvalues(self, y: Float[Array, "unknown"]) -> Complex[Array, "none"]:
        """None: those without delays say nothing."""
        return jnp.zeros(0, complex)

    def growing(self, spectrum: jax.Array) -> jax.Array:
        """How many are known to grow."""
        return (spectrum.real > 0).sum()

    def events(self, before: Step, after: Step) -> list[Event]:
        return self.at_zero(before, after)

    def at(self, step: Step, system: Any) -> Any:
        """A system with the parameters of a point."""
        values = zip(self.field.names, map(as_array, step.parameters), strict=True)
        return with_leaves(system, dict(values))

    def network(self, step: Step) -> tuple[Any, jax.Array]:
        """The network there, or what stands for it, and its state (variable, region)."""
        shape, alone = tuple(self.whole.state_shape), self.field.system.state_shape
        state = as_array(self.state(step.point)).reshape(*alone, *(1,) * (2 - len(alone)))
        regions = shape[1:] or (1,)
        return self.at(step, self.whole), jnp.broadcast_to(state, (*shape[:1], *regions))

    def hopf(self, step: Step) -> tuple[float, float]:
        """Period of what is born at a Hopf point, and Lyapunov's first coefficient of one region.

        NaN of several regions, and of couplings with different delays.
        """
        pairs = np.asarray(step.spectrum)
        pairs = pairs[pairs.imag > 0]
        omega = float(pairs[np.abs(pairs.real).argmin()].imag)
        here, coefficient = self.at(step, self.field.system.system), np.nan
        if isinstance(here, DelayedHomogeneous) and here.one_delay:
            state = as_array(self.state(step.point))
            coefficient = float(first_lyapunov_with_delay(here, state, as_array(omega)))
        return 2 * np.pi / omega, coefficient


class _Found(NamedTuple):
    """Roots (root,), one of each pair, how many of these pairs grow, and how many directions."""

    values: np.ndarray
    certified: bool
    pairs: np.ndarray
    growing: int


class _Point(NamedTuple):
    """A point of a curve: its roots, and whether one of them is zero there."""

    step: Step
    found: _Found
    zero: bool


def with_roots(problem: RestingCurve, curve: Curve, progress: bool | None) -> Curve:
    """A curve with its points' characteristic roots, and with its Hopf points."""
    zero = dict(curve.special)
    found = _roots(problem, curve.steps, progress)
    every = [
        _Point(*pair, k in zero) for k, pair in enumerate(zip(curve.steps, found, strict=True))
    ]
    points, special, unexplained = every[:1], [], curve.unexplained
    if 0 in zero:
        special.append((0, zero[0]))
    for k, (before, after) in enumerate(itertools.pairwise(every), 1):
        hopf, missed = _between(problem, before, after, _HALVINGS)
        unexplained += missed
        there = _roots(problem, [at.step for at in hopf], False)
        for at, roots in zip(hopf, there, strict=True):
            special.append((len(points), at))
            points.append(_Point(at.step, roots, True))
        if k in zero:
            special.append((len(points), zero[k]))
        points.append(after)
    width = max(1, *(_both(point.found.values).size for point in points), 1)
    steps = [_told(point, width) for point in points]
    located = [(k, dataclasses.replace(at, step=steps[k])) for k, at in special]
    certain = all(point.found.certified for point in points)
    status = max(curve.status, Status.OK if certain else Status.NOT_CERTIFIED)
    return Curve(steps, located, curve.ends, status, unexplained)


def _roots(problem: RestingCurve, steps: list[Step], progress: bool | None) -> list[_Found]:
    """Those of all points, on as many threads as there are processors."""
    loops = [loop_of(*problem.network(step)) for step in steps]

    def one(loop: Any) -> _Found:
        found = rightmost(loop, FEWEST).found
        z = found.values
        least = np.maximum(found.errors, NEUTRAL * np.abs(z).max(initial=0.0))
        grows, pair = z.real > least, z.imag > 0
        return _Found(z, found.certified, z[grows & pair], int((grows * (1 + pair)).sum()))

    with (
        one_blas_thread(),
        ThreadPoolExecutor(os.cpu_count()) as pool,
        progress_bar(len(loops), "characteristic roots", "point", progress) as bar,
    ):
        every = []
        for found in pool.map(one, loops):
            every.append(found)
            bar.update()
    return every


def _between(
    problem: RestingCurve, before: _Point, after: _Point, halvings: int
) -> tuple[list[Special], int]:
    """Hopf points between two points, and whether they leave a change of stability unexplained."""
    if not (before.found.certified and after.found.certified):
        return [], 0  # which the status says
    way = _Way(problem, before.step, after.step)
    leaving, coming = _suspects(before.found.pairs, after.found.pairs)
    up, down = way.crossings(coming, 1.0), way.crossings(leaving, 0.0)
    hopf = sorted(up + down, key=lambda at: float(at.step.distance))
    change = after.found.growing - before.found.growing
    # A root that is zero at an end may count there, or not.
    if abs(change - 2 * (len(up) - len(down))) <= before.zero + after.zero:
        return hopf, 0
    if not halvings:
        return hopf, 1
    step = way.step(0.5)
    middle = _Point(step, _roots(problem, [step], False)[0], False)
    one, missed = _between(problem, before, middle, halvings - 1)
    other, more_missed = _between(problem, middle, after, halvings - 1)
    return one + other, missed + more_missed


def _suspects(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Growing pairs at either end that may not be of the other: which have no partner there, or one
    that is further away than the axis.
    """
    from scipy.optimize import linear_sum_assignment  # only here

    gaps = np.abs(before[:, None] - after)
    here, there = linear_sum_assignment(gaps)
    moved = gaps[here, there]
    sure = moved < np.minimum(before.real[here], after.real[there])
    return np.delete(before, here[sure]), np.delete(after, there[sure])


class _Way:
    """From one point of a curve to the next, as parts of it: 0 to 1."""

    def __init__(self, problem: RestingCurve, before: Step, after: Step) -> None:
        self.problem, self.before = problem, before
        row = np.asarray(before.tangent) / np.asarray(problem.scales) ** 2
        self.length = float(row @ (np.asarray(after.point) - np.asarray(before.point)))
        self.known: dict[float, Step] = {0.0: before, 1.0: after}

    def step(self, part: float) -> Step:
        """The point there."""
        if part not in self.known:
            self.known[part] = self.problem.advance(self.before, part * self.length)
        return self.known[part]

    def root(self, part: float, guess: complex) -> complex:
        """The root near a guess there; NaN where there is none."""
        step = self.step(part)
        network, state = self.problem.network(step)
        z, error = jax.device_get(_root(network, state, as_array(guess)))
        exact = bool(step.converged) and error <= _SAME * abs(z)
        return complex(z) if exact else complex(np.nan)

    def crossings(self, pairs: np.ndarray, begin: float) -> list[Special]:
        """Hopf points of pairs that grow at one end, but not at the other."""
        found: list[tuple[complex, complex, Special]] = []
        for z in pairs[np.argsort(pairs.real)]:
            at = self.crossing(complex(z), begin)
            if at is None:
                continue
            root, special = at
            # What two roots lead to is one, unless they are the same from the beginning.
            again = (abs(root - other) < _SAME * abs(root) for _, other, _ in found)
            same = (abs(z - first) < _SAME * abs(z) for first, _, _ in found)
            if any(a and not s for a, s in zip(again, same, strict=True)):
                continue
            found.append((complex(z), root, special))
        return sorted((at for _, _, at in found), key=lambda at: float(at.step.distance))

    def crossing(self, z: complex, begin: float) -> tuple[complex, Special] | None:
        """Where a pair that grows at one end crosses the axis, if it does, and its root there."""
        known = {begin: z}

        def real(part: float) -> float:
            if part not in known:
                near = sorted(known, key=lambda other: abs(other - part))[:2]
                guess = known[near[0]]
                if len(near) == 2:
                    slope = (known[near[1]] - known[near[0]]) / (near[1] - near[0])
                    guess += slope * (part - near[0])
                known[part] = self.root(part, guess)
            return known[part].real

        for k in range(_PARTS):
            low, high = (abs(begin - j / _PARTS) for j in (k, k + 1))
            if not real(high) > 0:
                break
        else:
            return None
        if not np.isfinite(real(high)):
            return None
        part, report = brentq(real, low, high, xtol=1e-14, rtol=1e-13, full_output=True, disp=False)
        real(part)
        root = known[part]
        at = dataclasses.replace(self.step(part), distance=np.asarray(part))
        small = abs(root.real) <= 1e-9 * abs(root)
        status = Status.OK if small and report.converged else Status.NOT_CONVERGED
        return root, Special(Event("hopf", lambda step: float("nan"), 2), at, status)


_root = eqx.filter_jit(lambda network, state, guess: root_at(network, state, guess, _NEWTON))


def _both(values: np.ndarray) -> np.ndarray:
    """Roots with their conjugates."""
    return np.concatenate([values, values[values.imag > 0].conj()])


def _told(point: _Point, width: int) -> Step:
    """A point with its roots, by falling real part, NaN after the last."""
    values = _both(point.found.values)
    values = values[np.argsort(-values.real, kind="stable")]
    values = np.append(values, np.full(width - values.size, np.nan + 0j))
    return dataclasses.replace(point.step, spectrum=values, unstable=point.found.growing)
