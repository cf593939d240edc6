"""Curves of cycles in one parameter; of their bifurcations, or of one period, in two.

Cycles are those of a system by itself, or those that are locked to a drive: their clock says which.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core.parameters import ParametrisedField
from ngnmm_jax.dynamics.continuation.arclength import Event, Step, ranked
from ngnmm_jax.dynamics.continuation.clocks import AbstractClock
from ngnmm_jax.dynamics.continuation.collocation import (
    AbstractPeriodicProblem,
    Corrected,
    adapted,
    correct,
    finer,
    inner,
)
from ngnmm_jax.dynamics.products import product_spectrum

# A cycle that would vanish within this distance along the curve is taken to do so.
_GONE = 0.002
# Meshes get more intervals where the roughness is so many times their number, or the neutral
# multiplier's logarithm so large, up to this many.
_ROUGH, _LOST, MOST_INTERVALS = 0.75, 0.02, 512


class Measures(NamedTuple):
    """What is measured of a cycle.

    - `period`.
    - `roughness`: how many intervals of the mesh it asks for.
    - `size`: how far it reaches from its mean, in units of arclength; `halves`: how much one half
      differs from the other; `size_growth`, `halves_growth`: how fast both grow along the curve.
    - `volume`: the integral of the divergence; `missed`: by how much the multipliers' logarithms
      miss it, relative.
    """

    period: Any
    roughness: Any
    size: Any
    size_growth: Any
    halves: Any
    halves_growth: Any
    volume: Any
    missed: Any = None


class AbstractCycleProblem(AbstractPeriodicProblem):
    """What curves of cycles share: the cycle comes first among the variables.

    `field`: of the system, with the free parameters, which come first among the scalars.
    `state_scales` (dimension,), `parameter_scales` (parameter,): one unit of arclength.
    `longest`: the period at which the curve ends. `clock`: how time goes along the cycle.
    """

    field: eqx.AbstractVar[ParametrisedField]
    state_scales: eqx.AbstractVar[Float[np.ndarray, "dimension"]]
    parameter_scales: eqx.AbstractVar[Float[np.ndarray, "parameter"]]
    longest: eqx.AbstractVar[Float[np.ndarray, ""]]
    clock: eqx.AbstractVar[AbstractClock]
    #: What it is where the cycle shrinks to a point.
    shrunk: eqx.AbstractClassVar[str]
    #: The multipliers that the curve puts on the unit circle, beside the clock's.
    pinned: ClassVar[tuple[float, ...]] = ()
    #: Whether `events` accounts for all changes of stability.
    exhaustive: eqx.AbstractClassVar[bool]
    #: Intervals of a mesh at most.
    most: ClassVar[int] = MOST_INTERVALS

    def period(self, scalars: Any) -> Any:
        """The period, of the unknown scalars (scalar,)."""
        return self.clock.period(self.field, scalars)

    def slope(
        self, u: Float[Array, "variable"], scalars: Float[Array, "scalar"], at: Float[Array, ""]
    ) -> Float[Array, "variable"]:
        """Of the cycle alone."""
        return self.cycle(u, scalars, at)

    def conditions(
        self, u: jax.Array, u_ref: jax.Array, slope_ref: jax.Array, scalars: jax.Array
    ) -> Float[Array, "condition"]:
        """The phase alone."""
        return self.phase(u, u_ref, slope_ref)

    @property
    def scales(self) -> tuple[np.ndarray, np.ndarray]:
        """Of the cycle, its parameters, and what the clock adds."""
        added = np.ones(self.clock.added)
        return self.state_scales, np.concatenate([self.parameter_scales, added])

    def events(self, before: Step, after: Step) -> list[Event]:
        """What happens between two points: nothing that is looked for."""
        return []

    @property
    def twist(self) -> np.ndarray:
        """All variables return."""
        return np.ones(self.scales[0].shape[0])

    @property
    def dimension(self) -> int:
        """Of the system."""
        return self.state_scales.shape[0]

    @property
    def count(self) -> int:
        """Of free parameters."""
        return len(self.field.names)

    def on_circle(self, step: Step) -> tuple[Any, ...]:
        """The multipliers that are on the unit circle by what the curve is."""
        return (*((1.0,) if self.clock.phased else ()), *self.pinned)

    def growing(self, multipliers: np.ndarray, step: Step) -> int:
        """How many (dimension,) are outside the unit circle, but for those put on it."""
        rest = multipliers
        for value in self.on_circle(step):
            rest = np.delete(rest, np.abs(rest - value).argmin())
        return int((np.abs(rest) > 1).sum())

    def cycle(
        self, x: Float[Array, "dimension"], scalars: Float[Array, "scalar"], at: Any
    ) -> Float[Array, "dimension"]:
        """dx/ds at a place s of [0, 1]."""
        return self.clock.slope(self.field, x, scalars, at)

    def phase(
        self, x: jax.Array, x_ref: jax.Array, slope_ref: jax.Array
    ) -> Float[Array, "condition"]:
        """Integrates to zero where the cycle is in phase with the predicted one; nothing where the
        clock knows time.
        """
        if not self.clock.phased:
            return jnp.zeros(0)
        return ((x - x_ref) * slope_ref / self.state_scales**2).sum()[None]

    def advance(self, step: Step, length: float) -> Step:
        """The point of the curve at a distance from another one."""
        return self.transfer(step, length)[0]

    def transfer(self, step: Step, length: float = 0.0) -> tuple[Step, np.ndarray]:
        """The same as `advance`, and the derivatives of each mesh point by the last one."""
        n, k = self.dimension, self.count
        scale_u, scale_q = self.scales
        point, tangent = step.point, step.tangent
        mesh, roughness = adapted(point, scale_u, point.points.shape[0])
        mesh = self.clock.snapped(mesh)
        point, tangent = point.on(mesh), tangent.on(mesh)
        found = correct(self, point.moved(tangent, length), tangent)
        q, along = found.profile.scalars, found.tangent
        with np.errstate(all="ignore"):
            turn = inner(self, along, tangent) / np.sqrt(inner(self, tangent, tangent))
            cycle = self._measured(found, roughness)
            spectrum, _ = product_spectrum(found.transfer[:, :n, :n])
            missed = abs(spectrum.real.sum() - cycle.volume) / (1 + abs(cycle.volume))
        at = Step(
            point=found.profile,
            tangent=along,
            parameters=q[:k],
            turning=along.scalars[:k] / scale_q[:k],
            spectrum=spectrum,
            cycle=cycle._replace(missed=missed),
            distance=found.distance,
            angle=np.arccos(np.clip(turn, -1.0, 1.0)),
            iterations=found.iterations,
            converged=found.converged,
        )
        with np.errstate(over="ignore"):
            unstable = self.growing(np.exp(spectrum), at)
        return dataclasses.replace(at, unstable=unstable), found.transfer

    def _measured(self, found: Corrected, roughness: float) -> Measures:
        """How large the cycle is, how different its halves, and how fast both grow."""
        n, profile, along = self.dimension, found.profile, found.tangent
        x, x_along = profile.points[:, :n], along.points[:, :n]
        later = (profile.mesh[:-1] + 0.5) % 1.0
        opposite, opposite_along = (part.at(later)[0][:, :n] for part in (profile, along))
        weights = profile.widths[:, None] / self.state_scales**2

        def norm(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
            size = np.sqrt((weights * a**2).sum())
            return size, (weights * a * b).sum() / size

        size, growth = norm(x - profile.widths @ x, x_along)
        halves, parting = norm(x - opposite, x_along - opposite_along)
        divergence = np.trace(found.local.by_u[..., :n, :n], axis1=-2, axis2=-1)
        return Measures(
            period=float(self.period(profile.scalars)),
            roughness=roughness,
            size=size,
            size_growth=growth,
            halves=halves,
            halves_growth=parting,
            volume=profile.integral(divergence),
        )

    def refined(self, step: Step, *, needed: bool = False) -> Step:
        """The point on a mesh of twice as many intervals where the cycle has become rough, where
        no multiplier is near 1 as one should be (under a drive, which has none, where the
        multipliers miss Liouville's formula as much), or where it is `needed`.
        """
        intervals = step.point.points.shape[0]
        rough = float(step.cycle.roughness) > _ROUGH * intervals
        known = np.abs(np.asarray(step.spectrum)).min() if self.clock.phased else step.cycle.missed
        lost = float(known) > _LOST
        if not (rough or lost or needed) or 2 * intervals > MOST_INTERVALS:
            return step
        mesh = finer(step.point.mesh)
        pair = (step.point.on(mesh), step.tangent.on(mesh))
        return eqx.tree_at(lambda s: (s.point, s.tangent), step, pair)

    def finished(self, step: Step) -> str | None:
        """The curve ends where the period is too long, or the cycle shrinks to a point, or to
        one that it runs through twice.
        """
        if float(step.cycle.period) > self.longest:
            return "period"
        whole, halves = self._left(step)
        if whole < _GONE:
            return self.shrunk
        return "period_doubling" if halves < _GONE else None

    def reach(self, step: Step) -> float:
        """Not beyond the point where the cycle vanishes."""
        return 0.4 * min(self._left(step))

    def _left(self, step: Step) -> tuple[float, float]:
        """How far along the curve the cycle would shrink to a point, and to one run through twice.

        A driven one is a cycle where it is a point, too.
        """
        cycle, far = step.cycle, float("inf")
        whole = _vanishing(cycle.size, cycle.size_growth) if self.clock.phased else far
        halves = self.clock.may_halve()
        return whole, _vanishing(cycle.halves, cycle.halves_growth) if halves else far


def _vanishing(size: Any, growth: Any) -> float:
    """How far along the curve a size would be zero, if it went on like this."""
    return -float(size) / float(growth) if growth < 0 else float("inf")


def _real(spectrum: np.ndarray, sign: int) -> np.ndarray:
    turned = np.abs(spectrum.imag)
    return spectrum.real[turned < 1e-9 if sign > 0 else turned > np.pi - 1e-9]


def _turning_pairs(step: Step) -> np.ndarray:
    """log|μ| of the complex pairs of multipliers."""
    spectrum = np.asarray(step.spectrum)
    turned = spectrum.imag
    return spectrum.real[(turned >= 1e-9) & (turned <= np.pi - 1e-9)]


def _negative(step: Step) -> np.ndarray:
    """log|μ| of the negative multipliers."""
    return _real(np.asarray(step.spectrum), -1)


def _positive(step: Step) -> np.ndarray:
    """log|μ| of the positive multipliers."""
    return _real(np.asarray(step.spectrum), 1)


def _other_positive(step: Step) -> np.ndarray:
    """The same, the neutral one aside."""
    spectrum = np.asarray(step.spectrum)
    return _real(np.delete(spectrum, np.abs(np.exp(spectrum) - 1).argmin()), 1)


def _crossing(
    kind: str, changes: int, values: Callable[[Step], np.ndarray], before: Step, after: Step
) -> list[Event]:
    """Multipliers of a kind that cross the unit circle."""
    counts = sorted(int((values(step) > 0).sum()) for step in (before, after))
    return [
        Event(kind, ranked(values, rank), changes) for rank in range(counts[0] + 1, counts[1] + 1)
    ]


def bifurcations(before: Step, after: Step, *, phased: bool) -> list[Event]:
    """Those of cycles over one parameter, between two points."""
    doublings = _crossing("period_doubling", 1, _negative, before, after)
    tori = _crossing("neimark_sacker", 2, _turning_pairs, before, after)
    if before.turning[0] * after.turning[0] < 0:
        fold = Event("cycle_fold", lambda step: float(step.turning[0]), 1)
        return [fold, *doublings, *tori]
    positive = _other_positive if phased else _positive
    return [*_crossing("cycle_branch_point", 1, positive, before, after), *doublings, *tori]


class Cycles(AbstractCycleProblem):
    """x' = T f(x, p), one parameter; scalars (p), and the clock's."""

    field: ParametrisedField
    state_scales: Float[np.ndarray, "dimension"]
    parameter_scales: Float[np.ndarray, "parameter"]
    longest: Float[np.ndarray, ""]
    clock: AbstractClock
    shrunk: ClassVar[str] = "hopf"
    exhaustive: ClassVar[bool] = True

    def events(self, before: Step, after: Step) -> list[Event]:
        return bifurcations(before, after, phased=self.clock.phased)


class FixedPeriod(AbstractCycleProblem):
    """x' = T f(x, p), T kept by the clock, two parameters; scalars (p)."""

    field: ParametrisedField
    state_scales: Float[np.ndarray, "dimension"]
    parameter_scales: Float[np.ndarray, "parameter"]
    longest: Float[np.ndarray, ""]
    clock: AbstractClock
    shrunk: ClassVar[str] = "hopf"
    exhaustive: ClassVar[bool] = False


class DoublingCurve(AbstractCycleProblem):
    """x' = T f, v' = T A v with v antiperiodic and of norm one; scalars (p), and the clock's."""

    field: ParametrisedField
    state_scales: Float[np.ndarray, "dimension"]
    parameter_scales: Float[np.ndarray, "parameter"]
    longest: Float[np.ndarray, ""]
    clock: AbstractClock
    shrunk: ClassVar[str] = "hopf"
    pinned: ClassVar[tuple[float, ...]] = (-1.0,)
    exhaustive: ClassVar[bool] = False

    def slope(self, u: jax.Array, scalars: jax.Array, at: jax.Array) -> jax.Array:
        x, v = jnp.split(u, 2)
        return jnp.concatenate(jax.jvp(lambda a: self.cycle(a, scalars, at), (x,), (v,)))

    def conditions(
        self, u: jax.Array, u_ref: jax.Array, slope_ref: jax.Array, scalars: jax.Array
    ) -> jax.Array:
        (x, v), x_ref, x_slope = jnp.split(u, 2), *(jnp.split(a, 2)[0] for a in (u_ref, slope_ref))
        norm = (v**2 / self.state_scales**2).sum() - 1
        return jnp.append(self.phase(x, x_ref, x_slope), norm)

    @property
    def twist(self) -> np.ndarray:
        return np.repeat([1.0, -1.0], self.dimension)

    @property
    def scales(self) -> tuple[np.ndarray, np.ndarray]:
        u, q = super().scales
        return np.tile(u, 2), q


class CycleFoldCurve(AbstractCycleProblem):
    """x' = T f, v' = T A v + β T f, with (v, β) of norm one; scalars (p), the clock's, and β.

    Under a drive, whose clock leaves no phase free, without β.
    """

    field: ParametrisedField
    state_scales: Float[np.ndarray, "dimension"]
    parameter_scales: Float[np.ndarray, "parameter"]
    longest: Float[np.ndarray, ""]
    clock: AbstractClock
    shrunk: ClassVar[str] = "generalised_hopf"
    pinned: ClassVar[tuple[float, ...]] = (1.0,)
    exhaustive: ClassVar[bool] = False

    def slope(self, u: jax.Array, scalars: jax.Array, at: jax.Array) -> jax.Array:
        x, v = jnp.split(u, 2)
        f, pushed = jax.jvp(lambda a: self.cycle(a, scalars, at), (x,), (v,))
        shift = scalars[-1] * f if self.clock.phased else 0.0
        return jnp.concatenate([f, pushed + shift])

    def conditions(
        self, u: jax.Array, u_ref: jax.Array, slope_ref: jax.Array, scalars: jax.Array
    ) -> jax.Array:
        (x, v), x_ref, x_slope = jnp.split(u, 2), *(jnp.split(a, 2)[0] for a in (u_ref, slope_ref))
        norm = (v**2 / self.state_scales**2).sum() - 1
        if not self.clock.phased:
            return norm[None]
        still = (v * x_slope / self.state_scales**2).sum()
        return jnp.concatenate(
            [self.phase(x, x_ref, x_slope), jnp.stack([still, norm + scalars[-1] ** 2])]
        )

    @property
    def scales(self) -> tuple[np.ndarray, np.ndarray]:
        u, q = super().scales
        return np.tile(u, 2), np.append(q, 1.0) if self.clock.phased else q

    def events(self, before: Step, after: Step) -> list[Event]:
        way = np.asarray(before.turning)
        if way @ np.asarray(after.turning) < 0:
            return [Event("cycle_cusp", lambda step: float(way @ np.asarray(step.turning)))]
        return []


class TorusCurve(AbstractCycleProblem):
    """x' = T f, v' = T A v - iθ v with v = a + ib periodic and of norm one: a multiplier is e^(iθ).

    Scalars (p), the clock's, and θ. It ends where θ is 0 or π: at a strong resonance.
    """

    field: ParametrisedField
    state_scales: Float[np.ndarray, "dimension"]
    parameter_scales: Float[np.ndarray, "parameter"]
    longest: Float[np.ndarray, ""]
    clock: AbstractClock
    shrunk: ClassVar[str] = "hopf"
    exhaustive: ClassVar[bool] = False

    def on_circle(self, step: Step) -> tuple[Any, ...]:
        turn = np.exp(1j * float(step.point.scalars[-1]))
        return (*super().on_circle(step), turn, turn.conjugate())

    def slope(self, u: jax.Array, scalars: jax.Array, at: jax.Array) -> jax.Array:
        x, a, b = jnp.split(u, 3)
        f, push = jax.linearize(lambda y: self.cycle(y, scalars, at), x)
        return jnp.concatenate([f, push(a) + scalars[-1] * b, push(b) - scalars[-1] * a])

    def conditions(
        self, u: jax.Array, u_ref: jax.Array, slope_ref: jax.Array, scalars: jax.Array
    ) -> jax.Array:
        (x, a, b), (x_ref, a_ref, b_ref) = jnp.split(u, 3), jnp.split(u_ref, 3)
        squares = self.state_scales**2
        norm = ((a**2 + b**2) / squares).sum() - 1
        turned = ((a_ref * b - b_ref * a) / squares).sum()
        phase = self.phase(x, x_ref, jnp.split(slope_ref, 3)[0])
        return jnp.concatenate([phase, jnp.stack([norm, turned])])

    @property
    def scales(self) -> tuple[np.ndarray, np.ndarray]:
        u, q = super().scales
        return np.tile(u, 3), np.append(q, 1.0)

    def events(self, before: Step, after: Step) -> list[Event]:
        found = []
        for kind, angle in (("resonance_1", 0.0), ("resonance_2", np.pi)):
            away = partial(_angle_from, angle)
            if away(before) * away(after) < 0:
                found.append(Event(kind, away, ends=True))
        return found


def _angle_from(angle: float, step: Step) -> float:
    """How far θ is from an angle."""
    return float(step.point.scalars[-1]) - angle
