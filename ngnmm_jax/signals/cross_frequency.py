"""Cross-frequency coupling: does the phase of a slow rhythm tell the amplitude of a fast one?"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact, Int
from numpy.typing import ArrayLike

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.randomness import Purpose, stream
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax.signals._arrays import (
    Band,
    Number,
    as_number,
    as_signal,
    finite_or_not,
    refuse_still,
    rounding,
    scaled,
)
from ngnmm_jax.signals.phase import check_holds, envelope, one_sided, phase


def modulation_index(
    phases: ArrayLike, amplitudes: ArrayLike, *, bins: int = 18
) -> Float[Array, ""]:
    """Tort's modulation index of an amplitude (time,) by a phase (time,), in radians.

    The amplitude's mean in each bin of the phase, as a distribution: its distance (Kullback and
    Leibler's) from the uniform one over the logarithm of the number of bins; 0 without coupling,
    1 where all amplitude is in one bin. Bins that hold no sample tell nothing and do not count.

    Raises `ValueError` for bad arguments, for amplitudes that are zero throughout, and where all
    samples are in one bin. Under JAX transformations those are NaN.

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
    found = _index(phases, amplitudes, bins)
    if _checks.on_host(found) and np.isnan(np.asarray(found)):
        if float(amplitudes.max()) == 0:
            _checks.fail("amplitudes", "not be zero throughout", "they are")
        _checks.fail("phases", "lie in two bins at least", "they all lie in one")
    return found


@partial(jax.jit, static_argnums=2)
def _index(phases: jax.Array, amplitudes: jax.Array, bins: int) -> jax.Array:
    return _tort(phases[None], scaled(amplitudes)[0][None], bins)[0, 0]


def phase_locking_value(first: ArrayLike, second: ArrayLike) -> Float[Array, ""]:
    """Modulus of the mean of exp(i difference) of two phases (time,), in radians.

    Source: Lachaux et al., Hum. Brain Mapp. 8, 194 (1999).
    """
    first, second = as_signal(first, ndim=1), as_signal(second, ndim=1)
    _checks.shape("second", second, first.shape, "as the first")
    return jnp.abs(jnp.exp(1j * (first - second)).mean())


def envelope_locking(
    signal: ArrayLike,
    sampling_interval: Number,
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


class Comodulogram(AbstractResult):
    """Coupling of the phase of slow bands with the amplitude of fast ones.

    - `phase_frequencies` (slow,), `amplitude_frequencies` (fast,): the bands' centres, Hz.
    - `index` (slow, fast): Tort's modulation index, or the phase-locking value; NaN where a band
      holds nothing but rounding.
    - `z` (slow, fast): its distance from the mean of signal and surrogates, in their standard
      deviations; `p` (slow, fast): how probable one as large is anywhere in the whole
      comodulogram without coupling (from each one's largest z). NaN without surrogates; 0 and 1
      where all surrogates are alike to rounding.
    - `measure`, `surrogates`: as they were asked for.
    - `status` (slow, fast): NOT_FINITE where there is no index.
    """

    phase_frequencies: Float[Array, "slow"]
    amplitude_frequencies: Float[Array, "fast"]
    index: Float[Array, "slow fast"]
    z: Float[Array, "slow fast"]
    p: Float[Array, "slow fast"]
    measure: str = eqx.field(static=True)
    surrogates: int = eqx.field(static=True)

    @property
    def drawn_by(self) -> str:
        """`plot.comodulogram`."""
        return "comodulogram"

    @property
    def status(self) -> Int[Array, "slow fast"]:
        """Whether there is an index (`Status`)."""
        return finite_or_not(self.index[None])

    @property
    def stats(self) -> dict[str, Any]:
        """How many surrogates."""
        return {"surrogates": self.surrogates}

    def summary(self) -> dict[str, Any]:
        """The bands, the index and where it is largest, and the smallest p."""
        slow, fast = self.phase_frequencies, self.amplitude_frequencies
        found: dict[str, Any] = {"phase_frequencies": slow, "amplitude_frequencies": fast}
        found[self.measure] = self.index
        if _checks.is_concrete(self.index) and np.isfinite(np.asarray(self.index)).any():
            found["peak"] = "{:g} and {:g} Hz".format(*self.peak)
        return {**found, "p": self.p} if self.surrogates else found

    @property
    def peak(self) -> tuple[float, float]:
        """Frequencies (Hz) of the phase and the amplitude whose coupling is largest."""
        slow, fast = np.unravel_index(int(np.nanargmax(np.asarray(self.index))), self.index.shape)
        return float(self.phase_frequencies[slow]), float(self.amplitude_frequencies[fast])

    @property
    def significant(self) -> bool:
        """Whether any coupling is significant at 5 %, for the comodulogram as a whole."""
        return bool((self.p <= 0.05).any())


def comodulogram(
    signal: ArrayLike,
    sampling_interval: Number,
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

    Raises `ValueError` for bad arguments, a constant signal, or one too short for the bands. Warns
    where a band holds nothing but rounding (64 roundings of the signal's largest value).

    Source: Tort et al., J. Neurophysiol. 104, 1195 (2010); Penny et al., J. Neurosci. Methods
    174, 50 (2008); on bandwidths Aru et al., Curr. Opin. Neurobiol. 31, 51 (2015).
    """
    _checks.seed(seed)
    array = as_signal(signal, sampling_interval, least=64, ndim=1)
    _checks.one_of("measure", measure, _MEASURES)
    _checks.positive_integer("bins", bins)
    if surrogates != 0:
        _checks.positive_integer("surrogates", surrogates)
    dt, n = as_number(sampling_interval), array.shape[0]
    least = as_array(rounding(signal), array.dtype)
    slow = _rising("phase_frequencies", phase_frequencies)
    fast = _rising("amplitude_frequencies", amplitude_frequencies)
    if phase_bandwidth is None:
        phase_bandwidth = max(0.5 * float(slow[0]), 4 / (n * dt))
    if amplitude_bandwidth is None:
        amplitude_bandwidth = 2 * float(slow[-1])
    gains = [
        as_array(_filters(name, centres, width, n, dt), array.dtype)
        for name, centres, width in (
            ("phase", slow, phase_bandwidth),
            ("amplitude", fast, amplitude_bandwidth),
        )
    ]
    edge = _edge(phase_bandwidth, n, dt)
    key = stream(seed, Purpose.SURROGATES)
    every, still = _couplings(array, *gains, key, least, surrogates, edge, measure, bins)
    refuse_still(still[None])
    index = every[0]
    _warn_of_nothing(index)
    z, p = _compared(every) if surrogates else (jnp.full(index.shape, jnp.nan),) * 2
    return Comodulogram(as_array(slow), as_array(fast), index, z, p, measure, surrogates)


def _rising(name: str, frequencies: ArrayLike) -> np.ndarray:
    """Centres of bands (band,), Hz."""
    centres = np.atleast_1d(np.asarray(frequencies, dtype=float))
    _checks.positive(name, centres)
    if centres.ndim != 1 or (np.diff(centres) <= 0).any():
        _checks.fail(name, "rise", f"it is {centres}")
    return centres


def _filters(name: str, centres: np.ndarray, width: Number, n: int, dt: float) -> np.ndarray:
    """Gains (band, frequency) of bands of a full width, within what can be filtered."""
    _checks.positive(f"{name}_bandwidth", width)
    bands = centres[:, None] + np.array([-0.5, 0.5]) * width
    nyquist = 0.5 / dt
    if bands[0, 0] < 0 or bands[-1, 1] > nyquist:
        _checks.fail(
            f"{name}_frequencies",
            f"leave bands of {width:g} Hz between 0 and {nyquist:g} Hz",
            f"the bands go from {bands[0, 0]:g} to {bands[-1, 1]:g} Hz",
        )
    check_holds(f"{name}_bandwidth", bands, n, dt)
    return one_sided(n, dt, bands)


def _edge(width: Number, n: int, dt: float) -> int:
    """Samples at each end, where the slow filters' ends see each other, that are left out."""
    edge = int(np.ceil(1 / (width * dt)))
    if n < 4 * edge:
        _checks.fail(
            "signal",
            f"last at least {4 * edge * dt:g} s for bands of {width:g} Hz",
            f"it lasts {n * dt:g} s",
        )
    return edge


def _warn_of_nothing(index: jax.Array) -> None:
    if _checks.on_host(index) and np.isnan(np.asarray(index)).any():
        few = int(np.isnan(np.asarray(index)).sum())
        warnings.warn(
            f"The signal does not move by more than rounding in some bands: {few} of {index.size} "
            "couplings are NaN.",
            stacklevel=3,
        )


@jax.jit
def _compared(every: Float[Array, "surrogate slow fast"]) -> tuple[jax.Array, jax.Array]:
    """The signal among its surrogates, of which it is one if there is no coupling: z and p.

    Where all of them are alike to rounding, z is 0 and p is 1.
    """
    mean, spread = every.mean(axis=0), every.std(axis=0)
    # A small index is a square, of what is exact to some roundings.
    eps = 64 * float(jnp.finfo(every.dtype).eps)
    alike = spread <= eps * jnp.sqrt(jnp.abs(mean)) + eps**2
    each = jnp.where(alike, 0.0, (every - mean) / jnp.where(alike, 1.0, spread))
    largest = jnp.where(jnp.isnan(each), -jnp.inf, each).max(axis=(1, 2))
    p = (largest[:, None, None] >= each[0]).sum(axis=0) / every.shape[0]
    unknown = jnp.isnan(each[0])
    return each[0], jnp.where(unknown, jnp.nan, jnp.where(alike, 1.0, p))


@partial(jax.jit, static_argnums=(5, 6, 7, 8))
def _couplings(
    array: jax.Array,
    slow_gains: Float[Array, "slow frequency"],
    fast_gains: Float[Array, "fast frequency"],
    key: Any,
    least: jax.Array,
    surrogates: int,
    edge: int,
    measure: str,
    bins: int,
) -> tuple[Float[Array, "surrogate slow fast"], jax.Array]:
    """Coupling of the signal, and then of surrogates of its slow phases with its amplitudes.

    NaN for bands with nothing in them; and whether the signal is still.
    """
    n = array.shape[0]
    inside = slice(edge, n - edge)
    array, top = scaled(array)
    spectrum = jnp.fft.fft(array - array.mean())
    amplitudes = jnp.abs(jnp.fft.ifft(spectrum * fast_gains, axis=-1))
    nothing = _silent(jnp.fft.ifft(spectrum * slow_gains, axis=-1), least * top)[:, None]
    nothing = nothing | _silent(amplitudes, least * top)
    with_these = _MEASURES[measure](amplitudes, slow_gains, inside, least, bins)

    def coupling(turn: jax.Array) -> jax.Array:
        return with_these(jnp.fft.ifft(spectrum * turn * slow_gains, axis=-1)[:, inside])

    def surrogate(key: Any) -> jax.Array:
        angles = jax.random.uniform(key, (n,), array.dtype, 0, 2 * jnp.pi)
        return coupling(jnp.exp(1j * angles))

    every = coupling(jnp.ones(n, spectrum.dtype))[None]
    if surrogates:
        others = jax.lax.map(surrogate, jax.random.split(key, surrogates))
        every = jnp.concatenate([every, others])
    return jnp.where(nothing, jnp.nan, every), array.std() <= least * top


def _silent(some: Inexact[Array, "... time"], least: jax.Array) -> jax.Array:
    """Which signals are nowhere more than `least`."""
    return jnp.abs(some).max(axis=-1) <= least


# Of slow analytic signals (slow, time), their coupling (slow, fast) with envelopes known before.
_Coupling = Callable[[jax.Array], jax.Array]


def _index_with(
    amplitudes: Float[Array, "fast time"], slow_gains: Any, inside: slice, least: Any, bins: int
) -> _Coupling:
    """Tort's modulation index."""
    amplitudes = amplitudes[:, inside]
    return lambda slow: _tort(jnp.angle(slow), amplitudes, bins)


def _locking_with(
    amplitudes: Float[Array, "fast time"], slow_gains: Any, inside: slice, least: Any, bins: int
) -> _Coupling:
    """The locking to the envelopes' own phases in each slow band; NaN where they have none."""
    level = jnp.fft.fft(amplitudes - amplitudes.mean(axis=1, keepdims=True), axis=-1)
    own = jax.lax.map(lambda gain: jnp.fft.ifft(level * gain, axis=-1)[:, inside], slow_gains)
    none = _silent(own, least * amplitudes.max(axis=-1))
    own = jnp.where(none[..., None], jnp.nan, own / jnp.abs(own))

    def coupling(slow: jax.Array) -> jax.Array:
        against = jnp.conj(slow / jnp.abs(slow))
        return jnp.abs((against[:, None] * own).mean(axis=-1))

    return coupling


_MEASURES = {"modulation_index": _index_with, "phase_locking": _locking_with}


def _tort(
    phases: Float[Array, "slow time"], amplitudes: Float[Array, "fast time"], bins: int
) -> Float[Array, "slow fast"]:
    """Modulation indices of all pairs; sums over bins as matrix products."""
    number = jnp.floor((phases / (2 * jnp.pi)) % 1.0 * bins).astype(int).clip(0, bins - 1)

    def one(number: jax.Array) -> jax.Array:
        member = (number == jnp.arange(bins)[:, None]).astype(amplitudes.dtype)
        count = member.sum(axis=1)
        mean = (member @ amplitudes.T) / jnp.maximum(count, 1)[:, None]
        held = (count > 0).sum()
        # Shares over the uniform one, less one: small where there is little coupling.
        total = mean.sum(axis=0)
        some = jnp.where(total > 0, total, 1.0)
        more = jnp.where(count[:, None] > 0, (mean * held - total) / some, 0.0)
        ratio = jnp.where(more > -1, more, 0.0)
        terms = jnp.where(more > -1, (1 + ratio) * jnp.log1p(ratio) - ratio, 1.0)
        most = jnp.log(jnp.where(held > 1, held, jnp.nan))
        return jnp.where(total > 0, terms.sum(axis=0), jnp.nan) / (held * most)

    return jax.lax.map(one, number)
