"""Ignition: how much of the brain an event takes along."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from numpy.typing import ArrayLike

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax.signals._arrays import Number, as_number, as_signal, finite_or_not

# How fast phase locking falls with the difference of two phases, 1/radian.
_FALL = 3.0


class Ignition(AbstractResult):
    """How integrated the network is after events of each region.

    - `mean` (region,): largest integration within the window after an event, mean over its events;
      `spread` (region,): standard deviation over them; NaN without events.
    - `events` (region,): how many there are, those whose window ends with the signal or before.
    - `integration` (time,): at each time, between 1/N and 1.
    - `window`: s.
    - `status` (region,): NOT_FINITE without events.
    """

    mean: Float[Array, "region"]
    spread: Float[Array, "region"]
    events: Int[Array, "region"]
    integration: Float[Array, "time"]
    window: float = eqx.field(static=True)

    @property
    def status(self) -> Int[Array, "region"]:
        """Whether a region has events (`Status`)."""
        return finite_or_not(self.mean[None])

    @property
    def stats(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def summary(self) -> dict[str, Any]:
        """Ignition, and of how many events."""
        return {"mean": self.mean, "spread": self.spread, "events": self.events}


def integration(phases: ArrayLike) -> Float[Array, "time"]:
    """How large a part of the network is locked in phase, at each time (time,).

    With the locking of two regions exp(−3 |θ_j − θ_k|), differences on the circle, the largest
    connected component of what is locked by more than p, as a share of the N regions, averaged over
    p from 0 to 1: 1 where all phases are the same, at least 1/N. The average is exact (components
    are arcs of the circle), where others take p in steps of 0.01. Differentiable.

    **Arguments:** `phases` (time, region): radians.

    Source: Deco et al., eNeuro 4, ENEURO.0106-17.2017 (2017).
    """
    return _integration(as_signal(phases, least=1, ndim=2))


def ignition(
    phases: ArrayLike,
    events: ArrayLike,
    sampling_interval: Number,
    window: Number,
) -> Ignition:
    """Intrinsic ignition: the integration that follows on a region's events.

    An event's window begins with it; events within the window of one before do not count.

    **Arguments:**

    - `phases` (time, region): radians (`signals.phase` of a band).
    - `events` (time, region): whether there is one (`upward_crossings`, or a pulse).
    - `sampling_interval`, `window`: s; whole samples, one at least.

    Raises `ValueError` for bad arguments.

    Source: Deco and Kringelbach, Neuron 94, 961 (2017), where events rise above one standard
    deviation of BOLD and the window is four volumes.
    """
    array = as_signal(phases, sampling_interval, least=2, ndim=2)
    some = as_array(events)
    if some.dtype != bool:
        _checks.fail("events", "be true and false", f"it is an array of {some.dtype}")
    _checks.shape("events", some, array.shape, "as the phases")
    _checks.positive("window", window)
    dt = as_number(sampling_interval)
    length = max(1, round(as_number(window) / dt))
    if length > array.shape[0]:
        _checks.fail("window", f"be at most {array.shape[0] * dt:g} s", f"it is {window:g}")
    integrated = _integration(array)
    return Ignition(*_ignited(integrated, some, length), integrated, length * dt)


def upward_crossings(signal: ArrayLike, *, threshold: Number = 1.0) -> Bool[Array, "time region"]:
    """When a signal comes above a threshold, in standard deviations from the region's mean.

    **Arguments:** `signal` (time, region). At the first sample nothing crosses.

    Source: Tagliazucchi et al., Front. Physiol. 3, 15 (2012).
    """
    array = as_signal(signal, least=2, ndim=2)
    _checks.finite("threshold", threshold)
    above = array > array.mean(axis=0) + threshold * array.std(axis=0)
    return above & ~jnp.roll(above, 1, axis=0).at[0].set(True)


@jax.jit
def _integration(phases: Float[Array, "time region"]) -> Float[Array, "time"]:
    n = phases.shape[1]

    def one(angles: jax.Array) -> jax.Array:
        turned = jnp.sort(jnp.mod(angles, 2 * jnp.pi))
        gaps = jnp.diff(turned, append=turned[:1] + 2 * jnp.pi)
        # The widest gap never closes: behind it the circle is a line.
        gaps = jnp.roll(gaps, -1 - jnp.argmax(gaps))[:-1]
        order = jnp.sort(gaps)
        closed = gaps <= order[:, None]
        last_open = jax.lax.cummax(jnp.where(closed, -1, jnp.arange(n - 1)), axis=1)
        sizes = 1 + (jnp.arange(n - 1) - last_open).max(axis=1)
        levels = jnp.exp(-_FALL * order)  # falling: sizes hold from a level to the next
        below = jnp.append(levels[1:], 0.0)
        return (1 - levels[0]) / n + ((levels - below) * sizes).sum() / n

    return jnp.ones(phases.shape[0], phases.dtype) if n == 1 else jax.lax.map(one, phases)


@eqx.filter_jit
def _ignited(
    integrated: jax.Array, events: jax.Array, length: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    samples = len(integrated)
    ahead = np.minimum(np.arange(samples)[:, None] + np.arange(length), samples - 1)
    largest = integrated[ahead].max(axis=1)
    whole = np.arange(samples) + length <= samples

    def step(left: jax.Array, now: tuple[jax.Array, Any]) -> tuple[jax.Array, jax.Array]:
        begins = now[0] & (left == 0)
        left = jnp.where(begins, length - 1, jnp.maximum(left - 1, 0))
        return left, begins & now[1]

    begins = jax.lax.scan(step, jnp.zeros(events.shape[1], int), (events, whole))[1]
    number = begins.sum(axis=0)
    of = jnp.where(number > 0, number, 1)
    mean = (begins * largest[:, None]).sum(axis=0) / of
    squared = (begins * (largest[:, None] - mean) ** 2).sum(axis=0) / of
    some = jnp.where(squared > 0, squared, 1.0)
    spread = jnp.where(squared > 0, jnp.sqrt(some), 0.0)
    mean, spread = (jnp.where(number > 0, value, jnp.nan) for value in (mean, spread))
    return mean, spread, number
