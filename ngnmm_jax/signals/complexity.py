"""Complexity of what a pulse sets off: significant responses, Lempel and Ziv's words, and PCI."""

import math
import warnings
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from numpy.typing import ArrayLike

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.randomness import Purpose, stream
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax._core.status import Status
from ngnmm_jax.signals._arrays import Number, as_number, as_signal, refuse_still, rounding

# Below this entropy, bits an entry, the normalisation says little.
_FEW_BITS = 0.08


class PulseResponse(AbstractResult):
    """Where and when the response to a pulse is beyond what is there without one.

    - `response` (time, region): mean over trials less the baseline's mean, over the standard
      deviation that single trials have in the baseline; from the pulse on.
    - `significant` (time, region): where its modulus is above `threshold`.
    - `threshold`: in the same unit.
    - `times` (time,): s after the pulse.
    - `status`: OK.
    """

    response: Float[Array, "time region"]
    significant: Bool[Array, "time region"]
    threshold: Float[Array, ""]
    times: Float[Array, "time"]

    @property
    def status(self) -> Int[Array, ""]:
        """OK."""
        return as_array(int(Status.OK))

    @property
    def stats(self) -> dict[str, Any]:
        """Nothing."""
        return {}


class Complexity(AbstractResult):
    """The complexity of a pattern of significant responses.

    - `value`: the perturbational complexity index, words · log2(L)/(L · entropy), L entries; NaN
      where all entries are the same.
    - `words`: Lempel and Ziv's, see `perturbational_complexity`.
    - `entropy`: of the entries, bits; `share`: how many of them are significant.
    - `status`: OK; NOT_FINITE where all entries are the same; ILL_CONDITIONED where the entropy is
      below 0.08 bits, so that the value says little.
    """

    value: float
    words: int
    entropy: float
    share: float
    status: Int[Array, ""]

    @property
    def stats(self) -> dict[str, Any]:
        """Nothing."""
        return {}


def significant_response(
    trials: ArrayLike,
    sampling_interval: Number,
    onset: Number,
    *,
    alpha: float = 0.01,
    surrogates: int = 500,
    seed: int = 0,
) -> PulseResponse:
    """Which regions respond to a pulse, and when, beyond their own fluctuations.

    Surrogates are means over the trials' baselines, each turned round by a random time and given a
    random sign, less a mean of the same kind: correlations between regions and over time stay, what
    is locked to the pulse does not. The threshold is the quantile 1 − `alpha` of their largest
    modulus, over all regions and the whole baseline: without a response anything at all is found
    with about that probability, where the response is as long as the baseline, and this is much
    longer than what correlations last (else more often).

    **Arguments:**

    - `trials` (trial, time, region): two at least, with noise of their own; all with the pulse at
      the same time.
    - `sampling_interval`, `onset`: s; the pulse comes at the sample `onset` from the first.
    - `alpha`: probability of a false finding; `surrogates`, `seed`: how many, and of what.

    Raises `ValueError` for bad arguments, and where a region is constant before the pulse.

    Source: after Casali et al., Sci. Transl. Med. 5, 198ra105 (2013), who resample trials.
    """
    _checks.seed(seed)
    array = jnp.swapaxes(_trials(trials, sampling_interval), 0, 1)  # (time, trial, region)
    if not 0 < as_number(alpha) < 1:
        _checks.fail("alpha", "lie between 0 and 1", f"it is {alpha}")
    _checks.positive_integer("surrogates", surrogates)
    if surrogates * alpha < 1:
        must = f"be at least {math.ceil(1 / alpha)} for alpha = {alpha:g}"
        _checks.fail("surrogates", must, f"it is {surrogates}")
    dt = as_number(sampling_interval)
    before = round(as_number(onset) / dt)
    if not 8 <= before < array.shape[0]:
        _checks.fail("onset", f"leave 8 samples before it, and one from it on, of {array.shape[0]}",
                     f"it is sample {before}")  # fmt: skip
    least = as_array(rounding(trials), array.dtype)
    key = stream(seed, Purpose.SURROGATES)
    response, threshold, still = _responses(array, before, key, least, alpha, surrogates)
    refuse_still(still)
    times = jnp.arange(array.shape[0] - before) * dt
    return PulseResponse(response, jnp.abs(response) > threshold, threshold, times)


def _trials(trials: Any, sampling_interval: Any) -> jax.Array:
    if np.ndim(trials) != 3 or np.shape(trials)[0] < 2:
        must = "have axes (trial, time, region), of two trials or more"
        _checks.fail("trials", must, f"its shape is {np.shape(trials)}")
    _checks.finite("trials", trials)
    return as_signal(trials, sampling_interval, least=2)


@partial(jax.jit, static_argnums=(1, 5))
def _responses(
    array: jax.Array, before: int, key: Any, least: Any, alpha: Any, surrogates: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    trials = array.shape[1]
    base = array[:before]
    centred = base - base.mean(axis=(0, 1))
    spread = jnp.sqrt((centred**2).mean(axis=(0, 1)))
    still = spread <= least * jnp.abs(base).max(axis=(0, 1))
    scale = jnp.where(still, jnp.nan, spread)
    response = (array[before:] - base.mean(axis=0)).mean(axis=1) / scale
    centred = centred / scale

    def largest(key: Any) -> jax.Array:
        turning, first, second = jax.random.split(key, 3)
        turns = jax.random.randint(turning, (trials,), 0, before)
        places = (jnp.arange(before)[:, None] + turns) % before
        turned = jnp.take_along_axis(centred, places[:, :, None], axis=0)
        signs, others = (
            jax.random.rademacher(k, (trials, 1), array.dtype) for k in (first, second)
        )
        # The response is taken from the mean of a baseline, which is itself uncertain.
        below = (others * centred.mean(axis=0)).mean(axis=0)
        return jnp.abs((signs * turned).mean(axis=1) - below).max()

    every = jax.lax.map(largest, jax.random.split(key, surrogates))
    return response, jnp.quantile(every, 1 - alpha, method="higher"), still


def lempel_ziv(sequence: ArrayLike | str) -> int:
    """Number of words in Lempel and Ziv's parsing of a sequence (1976).

    Each word is the shortest that does not occur before its own last symbol; a last one that does
    counts too. "1001111011000010" has six: 1·0·01·1110·1100·0010.

    **Arguments:** `sequence` (time,): symbols that can be compared (a text, bits, integers).

    Source: Lempel and Ziv, IEEE Trans. Inf. Theory 22, 75 (1976); Kaspar and Schuster, Phys. Rev. A
    36, 842 (1987).
    """
    symbols = np.asarray(list(sequence) if isinstance(sequence, str) else sequence)
    if symbols.ndim != 1 or symbols.size == 0:
        _checks.fail("sequence", "have one axis, and a symbol", f"its shape is {symbols.shape}")
    kinds, codes = np.unique(symbols, return_inverse=True)
    if len(kinds) > 1 << 20:
        _checks.fail("sequence", "have few different symbols", f"it has {len(kinds)}")
    text = "".join(map(chr, codes.ravel() + 1))
    words, start = 0, 0
    while start < len(text):
        length = 1
        while start + length <= len(text) and text.find(
            text[start : start + length], 0, start + length - 1
        ) >= 0:  # fmt: skip
            length += 1
        words += 1
        start += length
    return words


def perturbational_complexity(significant: ArrayLike) -> Complexity:
    """The perturbational complexity index of significant responses, by Lempel and Ziv's words.

    Regions are put in the order of how often they respond; times are read one after another. A word
    is the shortest row of regions, at one time, that occurs neither at an earlier time nor before
    its own last entry; what is left at the end of a time is dropped, and one is counted at the end
    of all. On the host: not under JAX's transformations.

    **Arguments:** `significant` (time, region): true and false (`significant_response`).

    Warns where no entry, all, or very few are significant.

    Source: Casali et al., Sci. Transl. Med. 5, 198ra105 (2013); the parsing is that of their
    authors' Python (`pypci`), with which it agrees entry by entry.
    """
    array = np.asarray(significant)
    if array.ndim != 2 or not array.size or array.dtype.kind != "b":
        must = "be true and false, with axes (time, region)"
        _checks.fail("significant", must, f"it is an array {array.shape} of {array.dtype}")
    share = float(array.mean())
    ordered = array[:, np.argsort(-array.sum(axis=0), kind="stable")]
    words = _words(ordered)
    if share in (0.0, 1.0):
        which = "no entry is" if share == 0 else "all entries are"
        warnings.warn(f"Where {which} significant there is no complexity: it is NaN.", stacklevel=2)
        return Complexity(math.nan, words, 0.0, share, as_array(int(Status.NOT_FINITE)))
    entropy = -share * math.log2(share) - (1 - share) * math.log2(1 - share)
    value = words * math.log2(array.size) / (array.size * entropy)
    status = Status.OK
    if entropy < _FEW_BITS:
        status = Status.ILL_CONDITIONED
        warnings.warn(
            f"The entropy of what is significant is {entropy:.3f} bits: the complexity's "
            f"normalisation says little below {_FEW_BITS}.",
            stacklevel=2,
        )
    return Complexity(value, words, entropy, share, as_array(int(status)))


def _words(array: np.ndarray) -> int:
    """Words of a pattern (time, region), read time by time."""
    rows = [row.astype(np.uint8).tobytes() for row in array]
    words, start, before = 1, 1, b""  # the first entry is a word
    for row in rows:
        while start < len(row):
            length = 1
            while start + length <= len(row):
                word = row[start : start + length]
                known = word in before or row.find(word, 0, start + length - 1) >= 0
                if not known:
                    words += 1
                    break
                length += 1
            start += length
        before += row + b"\x02"
        start = 0
    return words + 1
