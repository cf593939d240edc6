"""Means, variances, correlations and extremes.

Means and products of windows are merged as by Chan, Golub and LeVeque (COMPSTAT 1982).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax.sweeps.summaries.base import (
    AbstractStatistic,
    AbstractSummary,
    Layout,
    Run,
    Window,
    squared,
)

# A signal whose standard deviation is this many roundings of its mean, or less, is constant: it
# has no correlation and no peak.
_STILL = 4096


def least_movement(dtype: Any) -> float:
    """The standard deviation of a signal that moves, at least, in units of its mean."""
    return _STILL * float(jnp.finfo(dtype).eps)


class Merged(NamedTuple):
    """A mean with one more window.

    - `mean` (signal, region, run): of all.
    - `centred` (sample, signal, region, run): the window about its own mean.
    - `step` (signal, region, run): its mean less that of what was before.
    - `between`: what the step's square counts.
    """

    mean: jax.Array
    centred: jax.Array
    step: jax.Array
    between: jax.Array

    @classmethod
    def of(cls, mean: jax.Array, window: Window) -> "Merged":
        """Of the mean before a window, and the window."""
        values, size = window.values, window.layout.window
        n, m = window.number.astype(values.dtype) * size, float(size)
        own = values.mean(axis=0)
        step = own - mean
        return cls(mean + step * (m / (n + m)), values - own, step, n * m / (n + m))


class MomentsFound(NamedTuple):
    """Mean and variance (signal, region, run), and where a signal is constant to rounding."""

    mean: jax.Array
    variance: jax.Array
    still: jax.Array


class Moments(AbstractStatistic):
    """Mean, and sum of squares about it, of each signal in each region."""

    def start(self, zero: jax.Array, layout: Layout) -> tuple[jax.Array, jax.Array]:
        return zero, zero

    def add(self, total: tuple[jax.Array, jax.Array], window: Window) -> tuple[Any, Any]:
        mean, square = total
        more = Merged.of(mean, window)
        return more.mean, square + (more.centred**2).sum(axis=0) + more.between * more.step**2

    def value(self, total: tuple[jax.Array, jax.Array], run: Run) -> MomentsFound:
        mean, variance = total[0], total[1] / run.layout.samples
        still = variance <= (least_movement(mean.dtype) * jnp.abs(mean)) ** 2
        return MomentsFound(mean, variance, still)


class Correlations(AbstractStatistic):
    """Pearson's correlation between regions (signal, run, region, other_region)."""

    def needs(self) -> tuple[AbstractStatistic, ...]:
        return (Moments(),)

    def start(self, zero: jax.Array, layout: Layout) -> jax.Array:
        signals, regions, runs = zero.shape
        return jnp.zeros((signals, runs, regions, regions), zero.dtype)

    def add(self, total: jax.Array, window: Window) -> jax.Array:
        more = Merged.of(window[Moments][0], window)
        within = jnp.einsum("tsnr,tsmr->srnm", more.centred, more.centred)
        apart = jnp.einsum("snr,smr->srnm", more.step, more.step)
        return total + within + more.between * apart

    def value(self, total: jax.Array, run: Run) -> jax.Array:
        sd = jnp.sqrt(jnp.diagonal(total, axis1=-2, axis2=-1))
        sd = jnp.where(jnp.swapaxes(run[Moments].still, 1, 2), jnp.nan, sd)
        return total / (sd[..., :, None] * sd[..., None, :])


class Mean(AbstractSummary):
    """The mean over time."""

    name = "mean"

    def needs(self) -> tuple[AbstractStatistic, ...]:
        return (Moments(),)

    def value(self, total: None, run: Run) -> jax.Array:
        return run[Moments].mean


class Variance(AbstractSummary):
    """The variance over time."""

    name = "variance"

    def needs(self) -> tuple[AbstractStatistic, ...]:
        return (Moments(),)

    def value(self, total: None, run: Run) -> jax.Array:
        return run[Moments].variance

    def unit(self, unit: str) -> str:
        return squared(unit)


class Minimum(AbstractSummary):
    """The smallest sample."""

    name = "minimum"

    def start(self, zero: jax.Array, layout: Layout) -> jax.Array:
        return zero + jnp.inf

    def add(self, total: jax.Array, window: Window) -> jax.Array:
        return jnp.minimum(total, window.values.min(axis=0))

    def value(self, total: jax.Array, run: Run) -> jax.Array:
        return total


class Maximum(AbstractSummary):
    """The largest sample."""

    name = "maximum"

    def start(self, zero: jax.Array, layout: Layout) -> jax.Array:
        return zero - jnp.inf

    def add(self, total: jax.Array, window: Window) -> jax.Array:
        return jnp.maximum(total, window.values.max(axis=0))

    def value(self, total: jax.Array, run: Run) -> jax.Array:
        return total


class FC(AbstractSummary):
    """Functional connectivity: Pearson's correlation between regions."""

    name = "fc"
    dims = ("region", "other_region")
    title = "functional connectivity"

    def needs(self) -> tuple[AbstractStatistic, ...]:
        return (Correlations(),)

    def value(self, total: None, run: Run) -> jax.Array:
        return jnp.moveaxis(run[Correlations], 1, -1)

    def unit(self, unit: str) -> str:
        return "1"


class FCMean(AbstractSummary):
    """The mean of functional connectivity over all pairs of regions."""

    name = "fc_mean"
    dims = ()
    title = "functional connectivity mean"

    def needs(self) -> tuple[AbstractStatistic, ...]:
        return (Correlations(),)

    def value(self, total: None, run: Run) -> jax.Array:
        fc = run[Correlations]
        rows, columns = np.triu_indices(fc.shape[-1], 1)
        return fc[..., rows, columns].mean(axis=-1)

    def unit(self, unit: str) -> str:
        return "1"
