"""Recruitment: which region comes above a threshold when, as a seizure spreads."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from numpy.typing import ArrayLike

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax._core.status import Status
from ngnmm_jax.signals._arrays import Number, as_number, as_signal


class Recruitment(AbstractResult):
    """When regions are recruited, and in which order.

    - `times` (region,): when a region comes above the threshold, s from the first sample, linear
      between samples; infinite where it never does, zero where it begins there.
    - `recruited` (region,): whether it ever does.
    - `rank` (region,): 0 for the first, 1 for the next; regions at one time share the lowest; −1
      where it is not recruited.
    - `at_start` (region,): whether it is above from the first sample on, so that its time is not
      known.
    - `status`: OK; NONE_FOUND where no region is recruited.
    """

    times: Float[Array, "region"]
    recruited: Bool[Array, "region"]
    rank: Int[Array, "region"]
    at_start: Bool[Array, "region"]

    @property
    def status(self) -> Int[Array, ""]:
        """Whether there is any (`Status`)."""
        return jnp.where(self.recruited.any(), int(Status.OK), int(Status.NONE_FOUND))

    @property
    def stats(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def summary(self) -> dict[str, Any]:
        """How many regions, and when."""
        found: dict[str, Any] = {"recruited": f"{int(self.recruited.sum())} of {len(self.times)}"}
        if self.at_start.any():
            found["from the start"] = int(self.at_start.sum())
        return {**found, "times (s)": self.times}

    @property
    def order(self) -> np.ndarray:
        """Indices of the recruited regions (recruit,), the first one first."""
        times = np.asarray(self.times)
        return np.argsort(times, kind="stable")[: int(np.isfinite(times).sum())]


def recruitment(
    signal: ArrayLike,
    sampling_interval: Number,
    threshold: ArrayLike | float | int,
    *,
    hold: Number = 0.0,
) -> Recruitment:
    """The first time at which each region comes above a threshold, and stays.

    Differentiable by the signal and the threshold (times of regions that are recruited).

    **Arguments:**

    - `signal` (time, region): such as the envelope of activity. `sampling_interval`: s.
    - `threshold`: in the signal's unit; one, or one for each region (region,).
    - `hold`: how long it has to stay above, s; crossings too near the end to tell do not count.

    Raises `ValueError` for bad arguments.
    """
    array = as_signal(signal, sampling_interval, least=2, ndim=2)
    level = _checks.floats("threshold", threshold, array.dtype)
    _checks.finite("threshold", level)
    if level.ndim and level.shape != array.shape[1:]:
        must = f"be one number, or one for each of {array.shape[1]} regions"
        _checks.fail("threshold", must, f"its shape is {level.shape}")
    _checks.finite("hold", hold)
    dt = as_number(sampling_interval)
    length = max(1, round(as_number(hold) / dt) + 1)
    if as_number(hold) < 0 or length > array.shape[0]:
        _checks.fail(
            "hold", f"lie between 0 and {(array.shape[0] - 1) * dt:g} s", f"it is {hold:g}"
        )
    return _recruited(array, jnp.broadcast_to(level, array.shape[1:]), dt, length)


@eqx.filter_jit
def _recruited(array: jax.Array, level: jax.Array, dt: Any, length: int) -> Recruitment:
    above = array > level
    samples = array.shape[0]

    # How many samples from here on are all above.
    def step(after: jax.Array, now: jax.Array) -> tuple[jax.Array, jax.Array]:
        run = jnp.where(now, after + 1, 0)
        return run, run

    runs = jax.lax.scan(step, jnp.zeros(array.shape[1], int), above, reverse=True)[1]
    stays = runs >= length
    first = jnp.argmax(stays, axis=0)
    recruited = stays.any(axis=0)
    at_start = recruited & (first == 0)
    # The run may have begun before: `first` is where it begins, as the one before is shorter.
    before = jnp.take_along_axis(array, jnp.maximum(first - 1, 0)[None], axis=0)[0]
    there = jnp.take_along_axis(array, jnp.minimum(first, samples - 1)[None], axis=0)[0]
    inside = recruited & ~at_start
    rise = jnp.where(inside, there - before, 1.0)
    share = jnp.where(inside, (level - before) / rise, 1.0)
    times = jnp.where(recruited, jnp.where(at_start, 0.0, (first - 1 + share) * dt), jnp.inf)
    rank = (times[None, :] < times[:, None]).sum(axis=1)
    return Recruitment(times, recruited, jnp.where(recruited, rank, -1), at_start)
