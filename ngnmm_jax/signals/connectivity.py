"""How regions' signals go together, and how that changes."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from ngnmm_jax import _checks
from ngnmm_jax.signals._arrays import Number, as_signal


class ConnectivityDynamics(eqx.Module):
    """How alike the functional connectivity is at different times.

    - `times` (window,): the windows' centres, in s from the first sample.
    - `connectivity` (window, region, region): in each window.
    - `matrix` (window, window): correlation of their upper triangles.
    - `apart`: windows that are at least so many places apart share no sample.
    """

    times: Float[Array, "window"]
    connectivity: Float[Array, "window region region"]
    matrix: Float[Array, "window window"]
    apart: int = eqx.field(static=True)

    @property
    def values(self) -> Float[Array, "pair"]:
        """The entries of `matrix` for windows that do not overlap."""
        rows, columns = np.triu_indices(self.matrix.shape[0], self.apart)
        return self.matrix[rows, columns]


def functional_connectivity(signal: ArrayLike) -> Float[Array, "region region"]:
    """Pearson's correlation of regions' signals (time, region).

    Raises `ValueError` where a region's signal is constant.
    """
    return _correlation(_varying(signal))


def functional_connectivity_dynamics(
    signal: ArrayLike, sampling_interval: float, window: Number, *, step: Number | None = None
) -> ConnectivityDynamics:
    """Functional connectivity in sliding windows, and how its patterns recur.

    **Arguments:**

    - `signal` (time, region).
    - `sampling_interval`: s.
    - `window`: s; `step`: s from one window to the next, by default a tenth of it.

    Source: Hansen et al., NeuroImage 105, 525 (2015).
    """
    array = _varying(signal)
    dt = float(sampling_interval)
    _checks.positive("sampling_interval", dt)
    length = round(window / dt)
    stride = max(1, round((window / 10 if step is None else step) / dt))
    if step is not None:
        _checks.positive("step", step)
    if array.shape[1] < 3:
        _checks.fail("signal", "have at least 3 regions", f"it has {array.shape[1]}")
    if not 3 <= length <= array.shape[0] - stride:
        _checks.fail(
            "window",
            f"leave two windows in {array.shape[0] * dt:g} s, of 3 samples at least",
            f"it is {window:g} s with steps of {stride * dt:g} s",
        )
    starts = np.arange(0, array.shape[0] - length + 1, stride)
    each, matrix = _sliding(array, jnp.asarray(starts), length)
    centres = jnp.asarray((starts + (length - 1) / 2) * dt)
    return ConnectivityDynamics(centres, each, matrix, -(-length // stride))


def _varying(signal: ArrayLike) -> jax.Array:
    array = as_signal(signal, least=3, ndim=2)
    if _checks.is_concrete(array):
        still = np.flatnonzero(np.ptp(np.asarray(array), axis=0) == 0)
        if still.size:
            listed = ", ".join(map(str, still[:5])) + (", …" if still.size > 5 else "")
            _checks.fail("signal", "vary in every region", f"it is constant in {listed}")
    return array


@jax.jit
def _correlation(array: jax.Array) -> jax.Array:
    centred = array - array.mean(axis=0)
    centred = centred / jnp.sqrt((centred**2).sum(axis=0))
    return jnp.clip(centred.T @ centred, -1.0, 1.0)


@partial(jax.jit, static_argnums=2)
def _sliding(array: jax.Array, starts: jax.Array, length: int) -> tuple[jax.Array, jax.Array]:
    def one(start: jax.Array) -> jax.Array:
        return _correlation(jax.lax.dynamic_slice_in_dim(array, start, length))

    each = jax.lax.map(one, starts)
    rows, columns = np.triu_indices(array.shape[1], 1)
    return each, _correlation(each[:, rows, columns].T)
