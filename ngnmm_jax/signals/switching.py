"""Switching between a low and a high state, as bistable regions do under noise."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
from numpy.typing import ArrayLike

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax._core.status import Status
from ngnmm_jax.signals._arrays import Number, as_signal


class Switching(AbstractResult):
    """When signals are up, and when down.

    - `up` (time, *region): whether a signal is up.
    - `share` (*region): of the time that it is.
    - `rises`, `falls` (*region): how often it goes up, and down.
    - `dwell_up`, `dwell_down` (*region): how long it stays, s: the time there over the number of
      visits that end in the signal (as a chain of two states is estimated); infinite where none
      does.
    """

    up: Bool[Array, "time *region"]
    share: Float[Array, "*region"]
    rises: Int[Array, "*region"]
    falls: Int[Array, "*region"]
    dwell_up: Float[Array, "*region"]
    dwell_down: Float[Array, "*region"]

    @property
    def status(self) -> Int[Array, ""]:
        """OK."""
        return as_array(Status.OK)

    @property
    def stats(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def summary(self) -> dict[str, Any]:
        """Shares, and how often signals switch."""
        times = {"dwell_up (s)": self.dwell_up, "dwell_down (s)": self.dwell_down}
        return {"share": self.share, "rises": self.rises, "falls": self.falls, **times}


def switching(
    signal: ArrayLike, sampling_interval: Number, low: float, high: float | None = None
) -> Switching:
    """When a signal is in a high state, by two thresholds, as in Schmitt's trigger.

    A signal goes up where it comes above `high`, and down where it falls below `low`; in between it
    stays what it was (at the beginning: down). With thresholds apart, noise about one of them is no
    switching. Differentiable nowhere; under `jax.jit` and `jax.vmap` as elsewhere.

    **Arguments:**

    - `signal` (time, *region); `sampling_interval`: s.
    - `low`, `high`: in the signal's unit, such as a third of the way and two thirds from the lower
      state to the upper one; `high` is `low` by default.
    """
    array = as_signal(signal, sampling_interval, least=2)
    high = low if high is None else high
    for name, value in (("low", low), ("high", high)):
        _checks.finite(name, value)
    if _checks.is_concrete(low, high) and high < low:
        _checks.fail("high", f"be {float(low):g} (`low`) or more", f"it is {float(high):g}")
    return _switching(array, as_array(sampling_interval, array.dtype), low, high)


@eqx.filter_jit
def _switching(array: jax.Array, interval: jax.Array, low: Any, high: Any) -> Switching:
    def step(before: jax.Array, value: jax.Array) -> tuple[jax.Array, jax.Array]:
        after = jnp.where(before, value >= low, value > high)
        return after, after

    up = jax.lax.scan(step, jnp.zeros(array.shape[1:], bool), array)[1]
    rises = (~up[:-1] & up[1:]).sum(axis=0)
    falls = (up[:-1] & ~up[1:]).sum(axis=0)

    def dwell(where: jax.Array, ends: jax.Array) -> jax.Array:
        time = where[:-1].sum(axis=0) * interval
        return jnp.where(ends > 0, time / jnp.maximum(ends, 1), jnp.inf)

    return Switching(up, up.mean(axis=0), rises, falls, dwell(up, falls), dwell(~up, rises))
