"""How regions' signals go together, and how that changes."""

import warnings
from functools import partial
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
from ngnmm_jax.signals._arrays import (
    Number,
    as_number,
    as_signal,
    finite_or_not,
    refuse_still,
    rounding,
    scaled,
)


class ConnectivityDynamics(AbstractResult):
    """How alike the functional connectivity is at different times.

    - `times` (window,): the windows' centres, in s from the first sample.
    - `connectivity` (window, region, region): in each window.
    - `matrix` (window, window): correlation of their upper triangles; NaN for windows
      without a pattern.
    - `still` (window, region): where a region does not move, or by rounding only.
    - `apart`: windows that are at least so many places apart share no sample.
    - `status` (window,): NOT_FINITE where it has no pattern.
    """

    times: Float[Array, "window"]
    connectivity: Float[Array, "window region region"]
    matrix: Float[Array, "window window"]
    still: Bool[Array, "window region"]
    apart: int = eqx.field(static=True)

    @property
    def status(self) -> Int[Array, "window"]:
        """Whether a window has a pattern (`Status`)."""
        return finite_or_not(jnp.diagonal(self.matrix)[None])

    @property
    def stats(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def summary(self) -> dict[str, Any]:
        """When, in how many regions, and how alike windows are that share nothing."""
        regions = self.connectivity.shape[-1]
        return {"times": self.times, "regions": regions, "values": self.values}

    @property
    def values(self) -> Float[Array, "pair"]:
        """The entries of `matrix` for windows that do not overlap; NaN where `matrix` is."""
        rows, columns = np.triu_indices(self.matrix.shape[0], self.apart)
        return self.matrix[rows, columns]


def functional_connectivity(signal: ArrayLike) -> Float[Array, "region region"]:
    """Pearson's correlation of regions' signals (time, region), in whatever unit.

    Raises `ValueError` where a region's signal is constant, or constant to rounding: where its
    standard deviation is at most 64 roundings of its largest value (in the precision in which it
    was given). Under JAX transformations its rows are NaN instead.
    """
    array = as_signal(signal, least=3, ndim=2)
    matrix, still = _connectivity(array, as_array(rounding(signal), array.dtype))
    refuse_still(still)
    return matrix


def functional_connectivity_dynamics(
    signal: ArrayLike, sampling_interval: Number, window: Number, *, step: Number | None = None
) -> ConnectivityDynamics:
    """Functional connectivity in sliding windows, and how its patterns recur.

    A window in which a region is still (see `functional_connectivity`), or all pairs go together
    equally well, has no pattern: its rows and columns of the matrix are NaN, `still` says where,
    and a warning is given.

    **Arguments:**

    - `signal` (time, region).
    - `sampling_interval`: s.
    - `window`: s; `step`: s from one window to the next, by default a tenth of it. Both are
      rounded to samples, the step to one at least.

    Raises `ValueError` for bad arguments, and where a region is still in every window.

    Source: Hansen et al., NeuroImage 105, 525 (2015).
    """
    array = as_signal(signal, sampling_interval, least=3, ndim=2)
    dt = as_number(sampling_interval)
    _checks.positive("window", window)
    if step is not None:
        _checks.positive("step", step)
    length = round(as_number(window) / dt)
    stride = max(1, round(as_number(window / 10 if step is None else step) / dt))
    if array.shape[1] < 3:
        _checks.fail("signal", "have at least 3 regions", f"it has {array.shape[1]}")
    if not 3 <= length <= array.shape[0] - stride:
        _checks.fail(
            "window",
            f"leave two windows in {array.shape[0] * dt:g} s, of 3 samples at least",
            f"it is {window:g} s with steps of {stride * dt:g} s",
        )
    starts = np.arange(0, array.shape[0] - length + 1, stride)
    least = as_array(rounding(signal), array.dtype)
    each, matrix, still = _sliding(array, as_array(starts), length, least)
    if _checks.on_host(still, matrix):
        where = np.asarray(still)
        refuse_still(where.all(axis=0))
        lost = np.isnan(np.diagonal(np.asarray(matrix))).sum()
        if lost:
            which = np.flatnonzero(where.any(axis=0))
            why = f"region {which[0]} is still" if which.size else "all pairs are alike"
            warnings.warn(
                f"{lost} of {len(where)} windows have no pattern of connectivity ({why} in one): "
                "their dynamics are NaN, see `still`.",
                stacklevel=2,
            )
    centres = as_array((starts + (length - 1) / 2) * dt)
    return ConnectivityDynamics(centres, each, matrix, still, -(-length // stride))


def correlation(array: jax.Array, least: Any) -> Float[Array, "region other_region *axes"]:
    """Pearson's correlation over time of signals (time, region, *axes).

    NaN for regions whose standard deviation is at most `least` times their largest value. Exactly
    the same whatever power of two the signals are multiplied by.
    """
    array, top = scaled(array)
    centred = array - array.mean(axis=0)
    norm = jnp.sqrt((centred**2).sum(axis=0))
    norm = jnp.where(norm <= least * top * array.shape[0] ** 0.5, jnp.nan, norm)
    centred = centred / norm
    return jnp.clip(jnp.einsum("tn...,tm...->nm...", centred, centred), -1.0, 1.0)


@jax.jit
def _connectivity(array: jax.Array, least: jax.Array) -> tuple[jax.Array, jax.Array]:
    found = correlation(array, least)
    return found, jnp.isnan(jnp.diagonal(found))


@partial(jax.jit, static_argnums=2)
def _sliding(
    array: jax.Array, starts: jax.Array, length: int, least: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    def one(start: jax.Array) -> jax.Array:
        return correlation(jax.lax.dynamic_slice_in_dim(array, start, length), least)

    each = jax.lax.map(one, starts)
    rows, columns = np.triu_indices(array.shape[1], 1)
    still = jnp.isnan(jnp.diagonal(each, axis1=1, axis2=2))
    return each, correlation(each[:, rows, columns].T, least), still
