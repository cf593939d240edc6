"""A periodic orbit, and what its status is."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, Int

from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.results import AbstractResult, looked_at
from ngnmm_jax._core.several import several
from ngnmm_jax._core.status import Status
from ngnmm_jax.dynamics.paths import Run
from ngnmm_jax.models.notation import Notation, notation_of

# An orbit whose error is above this is not converged.
_INEXACT = 1e-6
# A run is on an orbit that is this near, relative to how far it reaches.
_NEAR = 0.2


class Orbit(AbstractResult):
    """A periodic orbit.

    - `period`, in the model's unit of time: the least one.
    - `states` (segment, variable): on the orbit, at equal intervals of time from its start.
    - `ts` (sample,), `samples` (sample, variable): one period, its end included.
    - `extrema` (2, variable): lowest and highest values along it.
    - `log_multipliers` (variable,): log|μ| of the Floquet multipliers, by falling size, and
      `phases` (variable,): μ / |μ|. One multiplier is 1: how far its log is from zero is a
      measure of the orbit's error.
    - `residual`: largest gap between segments, relative to 1 + |x|, after Newton's iteration.
    - `error`: of the multipliers: by how much they miss that a shift along the orbit has 1, and
      that all logs sum to the integral of the divergence over the period (Liouville's formula;
      relative to 1 + |integral|). NaN where it is not known.
    - `turns`: how often the solution runs through the least orbit in `period`: 1, unless it was
      found under a JAX transformation before its transient had died away (NOT_CONVERGED then).
    - `status`: OK; NOT_PERIODIC (the run ends in an equilibrium or does not return: all but
      `states` is NaN then; or it nearly returns, but to no orbit that attracts it); or
      NOT_CONVERGED (Newton's iteration failed, rounding blurs the orbit, the run has not reached
      it, or its `error` is above 1e-6).
    - `notation`: how figures write the variables and the times of its system.
    """

    period: Float[Array, ""]
    states: Float[Array, "segment variable"]
    ts: Float[Array, "sample"]
    samples: Float[Array, "sample variable"]
    extrema: Float[Array, "2 variable"]
    log_multipliers: Float[Array, "variable"]
    phases: Complex[Array, "variable"]
    residual: Float[Array, ""]
    error: Float[Array, ""]
    turns: Int[Array, ""]
    status: Int[Array, ""]
    notation: Notation = eqx.field(static=True, default=Notation())

    @property
    def drawn_by(self) -> str:
        """`plot.orbit`."""
        return "orbit"

    @property
    def stats(self) -> dict[str, Any]:
        """Steps over the period, what Newton's iteration left, and the multipliers' error."""
        return {
            "steps": self.ts.shape[-1] - 1,
            "residual": self.residual,
            "error": self.error,
            "turns": self.turns,
        }

    def summary(self) -> dict[str, Any]:
        """Its period, whether it is stable, and the Floquet exponents."""
        if jnp.ndim(self.period):  # orbits under `vmap`
            return {"period": self.period, "extrema": self.extrema}
        return {
            "period": self.period,
            "stable": self.stable,
            "exponents": several(self.exponents),
        }

    @property
    def exponents(self) -> Float[Array, "variable"]:
        """Real parts of the Floquet exponents, log|μ| / period, by falling size."""
        logs = self.log_multipliers
        return looked_at(lambda xp, logs, period: logs / period, logs, self.period)

    @property
    def multipliers(self) -> Complex[Array, "variable"]:
        """The Floquet multipliers (those below 1e-308 are zero)."""
        logs = self.log_multipliers
        return looked_at(lambda xp, logs, phases: xp.exp(logs) * phases, logs, self.phases)

    @property
    def neutral(self) -> Int[Array, ""]:
        """Index of the multiplier nearest to 1: that of a shift along the orbit."""
        return looked_at(lambda xp, values: xp.argmin(xp.abs(values - 1)), self.multipliers)

    @property
    def stable(self) -> Bool[Array, ""]:
        """Whether all multipliers but the neutral one lie inside the unit circle.

        False unless the status is OK: it is not known then.
        """
        return (self.status == Status.OK) & (self._others < 0).all()

    @property
    def _others(self) -> Float[Array, "variable"]:
        """log|μ| of all multipliers but the neutral one."""
        neutral = jnp.arange(self.phases.shape[0]) == self.neutral
        return jnp.where(neutral, -jnp.inf, self.log_multipliers)


def arrived(xp: Any, orbit: Orbit, run: Run) -> Orbit:
    """The orbit, its status that of one that a run settles on: it attracts, and is near the run."""
    samples, scale, logs, origin = map(
        xp.asarray, (orbit.samples, run.scale, orbit.log_multipliers, run.states[0])
    )
    gap = (xp.abs(samples - origin) / scale).max(axis=1).min()
    attracts = xp.where(xp.arange(logs.size) == orbit.neutral, -xp.inf, logs).max() < _INEXACT
    found, far = orbit.status == Status.OK, gap >= _NEAR
    # Newton's iteration creeps along a slow spiral, away from the run.
    creeps = (orbit.status == Status.NOT_CONVERGED) & (orbit.residual < 1e-9) & (orbit.turns == 1)
    status = xp.where(found & far, Status.NOT_CONVERGED, orbit.status)
    status = xp.where((found & ~attracts) | (creeps & far), Status.NOT_PERIODIC, status)
    return with_status(orbit, status)


def told(xp: Any, orbit: Orbit) -> Orbit:
    """The orbit, not converged where its multipliers are inexact."""
    inexact = (orbit.status == Status.OK) & ~(orbit.error < _INEXACT)
    return with_status(orbit, xp.where(inexact, Status.NOT_CONVERGED, orbit.status))


def with_status(orbit: Orbit, status: Any) -> Orbit:
    """The orbit with another status."""
    return eqx.tree_at(lambda orbit: orbit.status, orbit, as_array(status))


def no_orbit(system: Any, states: jax.Array, samples: int) -> Orbit:
    """What is returned where an attractor is not periodic: NaN, but for the states."""
    (n,), nan = system.state_shape, as_array(jnp.nan)
    return Orbit(
        period=nan,
        states=states,
        ts=jnp.full(samples, nan),
        samples=jnp.full((samples, n), nan),
        extrema=jnp.full((2, n), nan),
        log_multipliers=jnp.full(n, nan),
        phases=jnp.full(n, nan, complex),
        residual=nan,
        error=nan,
        turns=jnp.asarray(1),
        status=as_array(Status.NOT_PERIODIC),
        notation=notation_of(system),
    )
