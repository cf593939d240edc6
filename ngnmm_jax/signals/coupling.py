"""Cross-frequency coupling: does the phase of a slow rhythm tell the amplitude of a fast one?"""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from ngnmm_jax import _checks
from ngnmm_jax._core.randomness import Purpose, stream
from ngnmm_jax.signals._arrays import Band, Number, as_signal
from ngnmm_jax.signals.phase import envelope, one_sided, phase

_MEASURES = ("modulation_index", "phase_locking")


def modulation_index(
    phases: ArrayLike, amplitudes: ArrayLike, *, bins: int = 18
) -> Float[Array, ""]:
    """Tort's modulation index of an amplitude (time,) by a phase (time,), in radians.

    The amplitude's mean in each bin of the phase, as a distribution: its distance (Kullback and
    Leibler's) from the uniform one over the logarithm of the number of bins; 0 without coupling,
    1 where all amplitude is in one bin.

    Source: Tort et al., J. Neurophysiol. 104, 1195 (2010).
    """
    phases, amplitudes = as_signal(phases, ndim=1), as_signal(amplitudes, ndim=1)
    _checks.shape("amplitudes", amplitudes, phases.shape, "as the phases")
    _checks.positive_integer("bins", bins)
    if bins < 2:
        _checks.fail("bins", "be at least 2", f"it is {bins}")
    if _checks.is_concrete(amplitudes) and float(amplitudes.min()) < 0:
        _checks.fail(
            "amplitudes", "not be negative", f"its smallest is {float(amplitudes.min()):g}"
        )
    return _tort(phases[None], amplitudes[None], bins)[0, 0]


def phase_locking_value(first: ArrayLike, second: ArrayLike) -> Float[Array, ""]:
    """Modulus of the mean of exp(i difference) of two phases (time,), in radians.

    Source: Lachaux et al., Hum. Brain Mapp. 8, 194 (1999).
    """
    first, second = as_signal(first, ndim=1), as_signal(second, ndim=1)
    _checks.shape("second", second, first.shape, "as the first")
    return jnp.abs(jnp.exp(1j * (first - second)).mean())


def envelope_locking(
    signal: ArrayLike,
    sampling_interval: float,
    slow: Band,
    fast: Band,
) -> Float[Array, ""]:
    """Phase-locking value of the slow band and the fast band's envelope, both in the slow band.

    **Arguments:** `signal` (time,); `slow`, `fast`: bands, Hz.

    Source: Penny et al., J. Neurosci. Methods 174, 50 (2008).
    """
    strength = envelope(signal, sampling_interval, fast)
    return phase_locking_value(
        phase(signal, sampling_interval, slow), phase(strength, sampling_interval, slow)
    )


class Comodulogram(eqx.Module):
    """Coupling of the phase of slow bands with the amplitude of fast ones.

    - `phase_frequencies` (slow,), `amplitude_frequencies` (fast,): the bands' centres, Hz.
    - `index` (slow, fast): Tort's modulation index, or the phase-locking value.
    - `z` (slow, fast): its distance from the mean of signal and surrogates, in their standard
      deviations; `p` (slow, fast): how probable one as large is anywhere in the whole
      comodulogram without coupling (from each one's largest z). NaN without surrogates.
    - `measure`, `surrogates`: as they were asked for.
    """

    phase_frequencies: Float[Array, "slow"]
    amplitude_frequencies: Float[Array, "fast"]
    index: Float[Array, "slow fast"]
    z: Float[Array, "slow fast"]
    p: Float[Array, "slow fast"]
    measure: str = eqx.field(static=True)
    surrogates: int = eqx.field(static=True)

    @property
    def peak(self) -> tuple[float, float]:
        """Frequencies (Hz) of the phase and the amplitude whose coupling is largest."""
        slow, fast = np.unravel_index(int(self.index.argmax()), self.index.shape)
        return float(self.phase_frequencies[slow]), float(self.amplitude_frequencies[fast])

    @property
    def significant(self) -> bool:
        """Whether any coupling is significant at 5 %, for the comodulogram as a whole."""
        return bool((self.p <= 0.05).any())


def comodulogram(
    signal: ArrayLike,
    sampling_interval: float,
    phase_frequencies: ArrayLike,
    amplitude_frequencies: ArrayLike,
    *,
    phase_bandwidth: Number | None = None,
    amplitude_bandwidth: Number | None = None,
    measure: str = "modulation_index",
    bins: int = 18,
    surrogates: int = 200,
    seed: int = 0,
) -> Comodulogram:
    """Phase-amplitude coupling of one signal over pairs of frequencies.

    Significance comes from surrogates in which the slow signal's Fourier coefficients have random
    phases, while the amplitudes stay: each keeps its spectrum, and what they have to do with each
    other is undone. (The usual circular shift of one against the other cuts narrow bands in two,
    which lowers the surrogates' coupling: it calls white noise significant far too often, see
    `tests/test_signals.py`.) A slow rhythm that is strictly periodic cannot be
    told from its surrogates, and is never called significant.

    **Arguments:**

    - `signal` (time,); `sampling_interval`: s.
    - `phase_frequencies`, `amplitude_frequencies`: centres of the bands, Hz, rising.
    - `phase_bandwidth`: full width, Hz; by default a half of the lowest phase frequency and at
      least four times the inverse of the signal's duration.
    - `amplitude_bandwidth`: full width, Hz; by default twice the highest phase frequency, so
      that the side bands of a modulated rhythm are inside.
    - `measure`: "modulation_index" (Tort's, with `bins` bins of the phase) or "phase_locking" (of
      the slow band and the envelope's slow band).
    - `surrogates`: how many, 0 for none; `seed`: of their phases.

    Raises `ValueError` for bad arguments, a signal too short for the bands included.

    Source: Tort et al., J. Neurophysiol. 104, 1195 (2010); Penny et al., J. Neurosci. Methods
    174, 50 (2008); on bandwidths Aru et al., Curr. Opin. Neurobiol. 31, 51 (2015).
    """
    array = as_signal(signal, sampling_interval, least=64, ndim=1)
    _checks.one_of("measure", measure, _MEASURES)
    _checks.positive_integer("bins", bins)
    if surrogates != 0:
        _checks.positive_integer("surrogates", surrogates)
    dt, n = float(sampling_interval), array.shape[0]
    slow, fast = (
        np.atleast_1d(np.asarray(f, dtype=float))
        for f in (phase_frequencies, amplitude_frequencies)
    )
    for name, value in (("phase_frequencies", slow), ("amplitude_frequencies", fast)):
        _checks.positive(name, value)
        if value.ndim != 1 or (np.diff(value) <= 0).any():
            _checks.fail(name, "rise", f"it is {value}")
    if phase_bandwidth is None:
        phase_bandwidth = max(0.5 * float(slow[0]), 4 / (n * dt))
    if amplitude_bandwidth is None:
        amplitude_bandwidth = 2 * float(slow[-1])
    slow_bands = _bands("phase", slow, phase_bandwidth, dt)
    fast_bands = _bands("amplitude", fast, amplitude_bandwidth, dt)
    # The filters' ends are left out.
    edge = int(np.ceil(1 / (phase_bandwidth * dt)))
    if n < 4 * edge:
        _checks.fail(
            "signal",
            f"last at least {4 * edge * dt:g} s for bands of {phase_bandwidth:g} Hz",
            f"it lasts {n * dt:g} s",
        )
    gains = [
        jnp.asarray(one_sided(n, dt, bands), array.dtype) for bands in (slow_bands, fast_bands)
    ]
    bins_or_none = bins if measure == "modulation_index" else None
    key = stream(seed, Purpose.SURROGATES)
    every = _couplings(array, *gains, key, surrogates, edge, bins_or_none)
    index = every[0]
    z = p = jnp.full(index.shape, jnp.nan)
    if surrogates:  # the signal itself is one of them, if there is no coupling
        spread = every.std(axis=0)
        each = (every - every.mean(axis=0)) / jnp.where(spread > 0, spread, 1.0)
        z = each[0]
        p = (each.max(axis=(1, 2))[:, None, None] >= z).sum(axis=0) / (1 + surrogates)
    return Comodulogram(jnp.asarray(slow), jnp.asarray(fast), index, z, p, measure, surrogates)


def _bands(name: str, centres: np.ndarray, width: Number, dt: float) -> np.ndarray:
    """Bands (band, end) of a full width, within what can be filtered."""
    _checks.positive(f"{name}_bandwidth", width)
    bands = centres[:, None] + np.array([-0.5, 0.5]) * width
    nyquist = 0.5 / dt
    if bands[0, 0] < 0 or bands[-1, 1] > nyquist:
        _checks.fail(
            f"{name}_frequencies",
            f"leave bands of {width:g} Hz between 0 and {nyquist:g} Hz",
            f"the bands go from {bands[0, 0]:g} to {bands[-1, 1]:g} Hz",
        )
    return bands


@partial(jax.jit, static_argnums=(4, 5, 6))
def _couplings(
    array: jax.Array,
    slow_gains: Float[Array, "slow frequency"],
    fast_gains: Float[Array, "fast frequency"],
    key: Any,
    surrogates: int,
    edge: int,
    bins: int | None,
) -> Float[Array, "surrogate slow fast"]:
    """Coupling of the signal, and then of surrogates of its slow phases with its amplitudes."""
    n = array.shape[0]
    inside = slice(edge, n - edge)
    spectrum = jnp.fft.fft(array - array.mean())
    amplitudes = jnp.abs(jnp.fft.ifft(spectrum * fast_gains, axis=-1))
    if bins is None:  # the envelopes' own phases in each slow band
        level = jnp.fft.fft(amplitudes - amplitudes.mean(axis=1, keepdims=True), axis=-1)
        slow = jax.lax.map(lambda gain: jnp.fft.ifft(level * gain, axis=-1)[:, inside], slow_gains)
        own = slow / jnp.abs(slow)
    amplitudes = amplitudes[:, inside]

    def coupling(turn: jax.Array) -> jax.Array:
        slow = jnp.fft.ifft(spectrum * turn * slow_gains, axis=-1)[:, inside]
        if bins is not None:
            return _tort(jnp.angle(slow), amplitudes, bins)
        against = jnp.conj(slow / jnp.abs(slow))
        return jnp.abs((against[:, None] * own).mean(axis=-1))

    def surrogate(key: Any) -> jax.Array:
        angles = jax.random.uniform(key, (n,), array.dtype, 0, 2 * jnp.pi)
        return coupling(jnp.exp(1j * angles))

    observed = coupling(jnp.ones(n, spectrum.dtype))[None]
    if not surrogates:
        return observed
    others = jax.lax.map(surrogate, jax.random.split(key, surrogates))
    return jnp.concatenate([observed, others])


def _tort(
    phases: Float[Array, "slow time"], amplitudes: Float[Array, "fast time"], bins: int
) -> Float[Array, "slow fast"]:
    """Modulation indices of all pairs; sums over bins as matrix products."""
    number = jnp.floor((phases / (2 * jnp.pi)) % 1.0 * bins).astype(int).clip(0, bins - 1)

    def one(number: jax.Array) -> jax.Array:
        member = (number == jnp.arange(bins)[:, None]).astype(amplitudes.dtype)
        share = (member @ amplitudes.T) / jnp.maximum(member.sum(axis=1), 1)[:, None]
        share = share / share.sum(axis=0)
        entropy = -jnp.where(share > 0, share * jnp.log(jnp.where(share > 0, share, 1)), 0.0)
        return 1 - entropy.sum(axis=0) / jnp.log(bins)

    return jax.lax.map(one, number)
