"""All random streams: which key is whose.

Whatever is drawn comes from a seed, an integer that the caller gives, and is split here once by
what it is for (`Purpose`), so that no two purposes share numbers:

    seed ── START: deviations of the initial state, by (variable, region)
         ├─ NOISE ── source: the input, or a variable ── step length ── step's number ── by region
         │        └─ segment of a run by diffrax: the time at which it begins
         ├─ PRIVATE ── population ── step length ── step's number ── by region and neuron
         ├─ NEURONS, TANGENTS, GUESSES, LOSS, …: one stream each
         └─ RUNS: a seed of its own for each run of a batch, or replicate of a sweep

Process noise in fixed steps is a function of the seed, the step and the time alone: a run that goes
on from another's end goes on with its noise, and one alone has the noise that it has in a batch.

Keys are Threefry's (Salmon et al., SC11, 2011): a keyed bijection of counters. A draw of n numbers
takes the counters below n, and the purposes' keys are the values at counters from 2³¹ on.
"""

import enum
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array

# Counters of the purposes' keys, and of sources of noise: beyond the numbers that a draw takes.
_SPLIT = 1 << 31
# Steps are counted from time zero; a time so much of a step before a multiple counts as that.
_NEAR = 0.0123


def is_key(value: Any) -> bool:
    """Whether it is an array of JAX's random keys, or describes one."""
    known = isinstance(value, jax.Array | jax.ShapeDtypeStruct)
    return known and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)


class Purpose(enum.IntEnum):
    """What random numbers are for.

    START is the seed's own key, so that an initial state is known by its seed.
    """

    START = 0
    NOISE = 1
    NEURONS = 2
    TANGENTS = 3
    GUESSES = 4
    LOSS = 5
    CHAINS = 6
    SAMPLER = 7
    SURROGATES = 8
    CHECKED = 10
    RUNS = 11
    SEARCH = 12
    PRIVATE = 13


def stream(seed: Any, purpose: Purpose) -> Any:
    """The key of a seed (an integer, which may be traced) for one purpose."""
    key = jax.random.key(seed)
    return key if purpose == Purpose.START else split_off(key, purpose)


def split_off(key: Any, purpose: Purpose) -> Any:
    """The key for one purpose, of a key that a loss was given."""
    return jax.random.fold_in(key, np.uint32(_SPLIT + purpose))


def generator(seed: int, purpose: Purpose) -> np.random.Generator:
    """NumPy's generator of a seed for one purpose."""
    return np.random.default_rng([int(seed), int(purpose)])


def run_seeds(seed: Any, count: int, purpose: Purpose = Purpose.RUNS) -> Any:
    """Seeds (run,) of the runs of a batch, or of replicates, of one seed.

    The first is the seed itself, so that the first run is the one alone. The others are 63-bit
    numbers (31 bits where JAX is set to 32), all different, which no other seed's runs have. Those
    of fewer runs are the first of them.
    """
    xp: Any = np if _checks.is_concrete(seed) else jnp
    wide = xp is np or jax.config.read("jax_enable_x64")
    number = xp.arange(count).astype(xp.uint32)
    seed = xp.asarray(seed)
    words = [seed] if seed.dtype.itemsize < 8 else [seed, seed >> 32]
    salt = xp.full(1, 0x9E3779B9 + int(purpose), xp.uint32)
    for word in words:
        salt = _mixed(salt ^ word.astype(xp.uint32))
    low = _mixed(number ^ salt)  # a bijection of the number: no two are the same
    if wide:
        high = _mixed(_mixed(low) ^ _mixed(salt)) >> 1
        seeds = high.astype(xp.int64) << 32 | low.astype(xp.int64)
    else:
        seeds = (low >> 1).astype(xp.int32)
    if purpose != Purpose.RUNS:
        return seeds
    return xp.where(number == 0, seed.astype(seeds.dtype), seeds)


def _mixed(x: Any) -> Any:
    """A bijection of 32-bit integers that turns half of the bits where one does (MurmurHash3)."""
    x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
    return x ^ (x >> 16)


def noise_source(key: Any, row: int | None, dt: Any) -> Any:
    """The key of one source of noise in steps `dt`: the input (None), or a variable by its row.

    Of noise of each neuron's own, a population by its number.

    Other steps have other noise: the same numbers would come at other times.
    """
    key = jax.random.fold_in(key, np.uint32(_SPLIT if row is None else _SPLIT + 1 + row))
    bits = jax.lax.bitcast_convert_type(as_array(dt, jnp.float32), jnp.uint32)
    return jax.random.fold_in(key, bits)


def noise_segment(key: Any, t0: float) -> Any:
    """The key of a run's noise where diffrax draws it, from the time at which it begins."""
    bits = int(np.float64(t0 + 0.0).view(np.uint64))  # those of zero for minus zero too
    for word in (_SPLIT - 1, bits & 0xFFFFFFFF, bits >> 32):
        key = jax.random.fold_in(key, np.uint32(word))
    return key


def first_step(t0: float, dt: float) -> int:
    """The number of the step that begins at a time, counted from time zero."""
    return int(np.floor(float(t0) / float(dt) + _NEAR))
