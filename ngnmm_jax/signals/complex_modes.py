"""Waves that travel and waves that stand: complex modes of activity."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Inexact, Int
from numpy.typing import ArrayLike

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax.signals._arrays import (
    Band,
    Number,
    as_masses,
    as_number,
    as_pattern,
    finite_or_not,
    real_type,
    square,
)
from ngnmm_jax.signals.waves import analytic


class ComplexModes(AbstractResult):
    """Patterns of amplitude and phase, by falling power, that together make up a rhythm.

    The analytic signal is z(t, x) = Σ_m amplitudes(t, m) vectors(x, m).

    - `vectors` (node, mode): orthonormal, by the nodes' masses.
    - `amplitudes` (time, mode): uncorrelated with each other, in the signal's unit times the root
      of the mass's unit.
    - `power` (mode,): mean squared modulus of the amplitude.
    - `share` (mode,): of the power of the rhythm.
    - `travelling` (mode,): `travelling_index` of the pattern.
    - `frequency` (mode,): at which it turns on average, by power, Hz.
    - `first`: seconds from the signal's first sample to the first one of `amplitudes`.
    - `status` (mode,): NOT_FINITE where one has no power, so no pattern.
    """

    vectors: Complex[Array, "node mode"]
    amplitudes: Complex[Array, "time mode"]
    power: Float[Array, "mode"]
    share: Float[Array, "mode"]
    travelling: Float[Array, "mode"]
    frequency: Float[Array, "mode"]
    first: float

    @property
    def status(self) -> Int[Array, "mode"]:
        """Whether a mode has a pattern (`Status`)."""
        return finite_or_not(self.travelling[None])

    @property
    def stats(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def summary(self) -> dict[str, Any]:
        """The leading modes: shares, how much they travel, and how fast they turn."""
        each = {"share": self.share, "travelling": self.travelling}
        return {**each, "frequency (Hz)": self.frequency}


def complex_modes(
    signal: ArrayLike,
    sampling_interval: Number,
    band: Band | None = None,
    *,
    count: int = 4,
    mass: ArrayLike | None = None,
) -> ComplexModes:
    """Principal components of the analytic signal: each one a wave, standing or travelling.

    A travelling wave is one complex mode (of real signals it takes two components), a standing one
    is one whose nodes are all in phase or in antiphase.

    **Arguments:**

    - `signal` (time, node), `sampling_interval`, `band`: as those of `travelling_waves`.
    - `count`: the number of modes, at most that of nodes or samples.
    - `mass` (node,): how much a node counts, such as its area (`space.shares`); by default 1.

    Modes with no more power than rounding have no pattern: NaN.

    Source: Barnett, Mon. Weather Rev. 111, 756 (1983); Feeny, J. Sound Vib. 310, 77 (2008).
    """
    z, first, _ = analytic(signal, sampling_interval, None, band)
    _checks.positive_integer("count", count)
    if count > min(z.shape):
        must = f"be {min(z.shape)} or less, with {z.shape[0]} samples left of {z.shape[1]} nodes"
        _checks.fail("count", must, f"it is {count}")
    found = _components(
        z, as_masses(mass, z.shape[1], real_type(z)), as_number(sampling_interval), count
    )
    return ComplexModes(first=first * as_number(sampling_interval), **found)


def travelling_index(pattern: ArrayLike, mass: ArrayLike | None = None) -> Float[Array, "..."]:
    """How much of a pattern travels: 1 for a pure travelling wave, 0 for a standing one.

    Of patterns (…, node) of amplitude and phase, such as an analytic signal at each time or
    `ComplexModes.vectors.T`: √((1 - q) / (1 + q)) with q = |Σ mass z²| / Σ mass |z|². Of waves
    a exp(ikx) + b exp(-ikx) over whole wavelengths it is ||a| - |b|| / (|a| + |b|), also on a
    sphere with exp(imφ). Over less than some wavelengths it means little, as k and -k are then not
    orthogonal; where all are in phase it is 0. NaN where there is no pattern.

    It is the ratio of the smaller to the larger singular value of the real and the imaginary part,
    the inverse of their condition number.

    Source: Feeny, J. Sound Vib. 310, 77 (2008).
    """
    array = as_pattern(pattern)
    if array.ndim == 0:
        _checks.fail("pattern", "have axes (…, node)", "it is one number")
    _checks.finite("pattern", array)
    return _index(array, as_masses(mass, array.shape[-1], real_type(array)))


@jax.jit
def _index(array: jax.Array, mass: jax.Array) -> jax.Array:
    top = jnp.abs(array).max(axis=-1, keepdims=True)
    some = top > 0
    scaled: Inexact[Array, "*axes node"] = array / jnp.where(some, top, 1.0)
    total = (mass * square(scaled)).sum(axis=-1)
    sums = (mass * scaled**2).sum(axis=-1)
    known = some[..., 0]
    q = jnp.abs(jnp.where(known, sums, 1.0)) / jnp.where(known, total, 1.0)
    return jnp.where(known, jnp.sqrt(jnp.maximum(1 - q, 0.0) / (1 + q)), jnp.nan)


@partial(jax.jit, static_argnames="count")
def _components(z: jax.Array, mass: jax.Array, dt: Any, count: int) -> dict[str, jax.Array]:
    n, root = z.shape[0], jnp.sqrt(mass)
    left, size, right = jnp.linalg.svd(z * root, full_matrices=False)
    power = size**2 / n
    # Singular values are known to rounding of the largest.
    eps = jnp.finfo(power.dtype).eps * max(z.shape)
    some = (size > eps * size[0])[:count]
    vectors = jnp.where(some, right[:count].T / root[:, None], jnp.nan)
    amplitudes = left[:, :count] * size[:count]
    onward = (amplitudes[:-1].conj() * amplitudes[1:]).sum(axis=0)
    frequency = jnp.where(some, jnp.angle(onward) / (2 * jnp.pi * dt), jnp.nan)
    index = jnp.where(some, _index(jnp.where(some, vectors, 1.0).T, mass), jnp.nan)
    return {
        "vectors": vectors,
        "amplitudes": amplitudes,
        "power": power[:count],
        "share": (power / power.sum())[:count],
        "travelling": index,
        "frequency": frequency,
    }
