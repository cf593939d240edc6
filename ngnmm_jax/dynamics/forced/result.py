"""An orbit that is locked to a periodic drive."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, Int

from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax._core.several import several
from ngnmm_jax._core.status import Status
from ngnmm_jax.models.notation import Notation


class ForcedOrbit(AbstractResult):
    """An orbit whose period is a whole number of those of its drive.

    Time zero is that of the stimulus, so that `states[0]` is one that the stroboscopic map, from
    one period of the drive to the next, brings back to itself after `drive_cycles`.

    - `period`: of the orbit, in the model's unit of time: `drive_cycles` times `drive_period`.
    - `drive_cycles`, `cycles`: m and n of an m:n locking: n cycles of the system in m of the
      drive. A cycle is counted where what the regions send (`model.output`, on average) rises
      through its mean over the orbit; 0 where it does not move.
    - `states` (segment, *state): on the orbit, at the beginnings of segments of time.
    - `ts` (sample,), `samples` (sample, *state): one period, its end included.
    - `extrema` (2, *state): lowest and highest values along it.
    - `log_multipliers` (dimension,): log|μ| of the Floquet multipliers, by falling size, and
      `phases` (dimension,): μ / |μ|. None of them is trivial: time is the drive's.
    - `residual`: largest gap between segments, relative to 1 + |x|, after Newton's iteration.
    - `error`: by how much the multipliers' logs miss Liouville's formula, that they sum to the
      integral of the divergence (relative to 1 + |integral|); and, where the number of steps was
      not given, how far states are from those with half as many steps, relative to 1 + |x|.
    - `status`: OK; NOT_PERIODIC (the run does not return within 16 periods of the drive, or nearly
      returns but to nothing that attracts it: it may drift through phases, or be chaotic); or
      NOT_CONVERGED (Newton's iteration failed, or the `error` is above 1e-6).
    - `notation`: how figures write the variables and the times of its system.
    """

    period: Float[Array, ""]
    drive_period: Float[Array, ""]
    states: Float[Array, "segment *state"]
    ts: Float[Array, "sample"]
    samples: Float[Array, "sample *state"]
    extrema: Float[Array, "2 *state"]
    log_multipliers: Float[Array, "dimension"]
    phases: Complex[Array, "dimension"]
    residual: Float[Array, ""]
    error: Float[Array, ""]
    cycles: Int[Array, ""]
    status: Int[Array, ""]
    drive_cycles: int = eqx.field(static=True)
    notation: Notation = eqx.field(static=True, default=Notation())

    @property
    def drawn_by(self) -> str:
        """`plot.orbit`."""
        return "orbit"

    @property
    def stats(self) -> dict[str, Any]:
        """Steps over the period, what Newton's iteration left, and the error."""
        steps = self.ts.shape[-1] - 1
        return {"steps": steps, "residual": self.residual, "error": self.error}

    def summary(self) -> dict[str, Any]:
        """Its period, how it is locked, whether it is stable, and the Floquet exponents."""
        if jnp.ndim(self.period):  # orbits under `vmap`
            return {"period": self.period, "cycles": self.cycles}
        return {
            "period": self.period,
            "locking": f"{self.drive_cycles}:{int(self.cycles)}",
            "winding": self.winding,
            "stable": self.stable,
            "exponents": several(self.exponents),
        }

    @property
    def winding(self) -> Float[Array, ""]:
        """The winding number: cycles of the system for each of the drive, n / m."""
        return self.cycles / max(self.drive_cycles, 1)

    @property
    def exponents(self) -> Float[Array, "dimension"]:
        """Real parts of the Floquet exponents, log|μ| / period, by falling size."""
        return self.log_multipliers / self.period

    @property
    def multipliers(self) -> Complex[Array, "dimension"]:
        """The Floquet multipliers (those below 1e-308 are zero)."""
        return jnp.exp(self.log_multipliers) * self.phases

    @property
    def stable(self) -> Bool[Array, ""]:
        """Whether all multipliers lie inside the unit circle.

        False unless the status is OK: it is not known then.
        """
        return (self.status == Status.OK) & (self.log_multipliers < 0).all()
