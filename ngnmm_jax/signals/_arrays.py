"""What every function of signals asks of its arguments."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.status import Status

# What users give for a number, and for a band: its lowest and highest frequency in Hz.
Number = float | int | np.floating | np.integer | np.ndarray | jax.Array
Band = tuple[Number, Number]


def as_number(value: Any) -> float:
    """A concrete number as Python's; of one in fewer bits the decimal fraction that it stands for.

    0.001 in 32 bits is 0.0010000000475: whole multiples would not be whole.
    """
    array = np.asarray(value)
    if np.issubdtype(array.dtype, np.floating) and array.dtype.itemsize < 8:
        return float(str(array[()]))
    return float(array)


def as_signal(
    signal: ArrayLike, sampling_interval: Any = 1.0, *, least: int = 8, ndim: int | None = None
) -> jax.Array:
    """A real signal (time, …) as an array of JAX's default precision, checked."""
    if np.ma.is_masked(signal):
        _checks.fail("signal", "have a value everywhere", "some of it is masked")
    if _checks.is_concrete(signal):
        _checks.complex_numbers("signal", signal)
    if jnp.iscomplexobj(signal):
        _checks.fail("signal", "be real", "it is complex")
    array = as_array(signal, dtype=float)
    _checks.positive("sampling_interval", sampling_interval)
    if array.ndim == 0 or array.shape[0] < least:
        _checks.fail("signal", f"have at least {least} samples", f"its shape is {array.shape}")
    if ndim is not None and array.ndim != ndim:
        axes = "(time,)" if ndim == 1 else "(time, region)"
        _checks.fail("signal", f"have axes {axes}", f"its shape is {array.shape}")
    _checks.finite("signal", array)
    return array


def at_once(function: Callable[..., Any], *arrays: Any) -> Any:
    """`function(xp, *arrays)`: in NumPy where arrays are known, which compiles nothing for it."""
    if not _checks.on_host(arrays):
        return function(jnp, *arrays)
    with np.errstate(all="ignore"):
        return jax.device_put(function(np, *map(np.asarray, arrays)))  # `asarray` compiles a copy


def square(values: Any) -> Any:
    """The squared modulus of real or complex values."""
    if jnp.issubdtype(values.dtype, jnp.complexfloating):
        return values.real**2 + values.imag**2
    return values**2


def real_type(values: Any) -> Any:
    """The floating type of an array's real parts."""
    return jnp.finfo(values.dtype).dtype


def as_pattern(values: Any) -> jax.Array:
    """An array of real or complex numbers, in floating point."""
    given = values if isinstance(values, jax.Array) else np.asarray(values)
    dtype = jnp.result_type(given, jnp.float32)
    return at_once(lambda _, array: array.astype(dtype), given)


def as_masses(mass: Any, n: int, dtype: Any) -> jax.Array:
    """How much each node counts (node,), checked; by default one."""
    if mass is None:
        return jax.device_put(np.ones(n, dtype))
    found = _checks.floats("mass", mass, dtype)
    _checks.shape("mass", found, (n,), f"for {n} nodes")
    _checks.positive("mass", found)
    return found


def finite_or_not(values: Any) -> jax.Array:
    """The status (*axes) of values (time, *axes): NOT_FINITE where some are not."""
    return jnp.where(jnp.isfinite(values).all(axis=0), Status.OK, Status.NOT_FINITE)


def rounding(signal: Any) -> float:
    """The relative size (sd over largest value) up to which a signal's changes are rounding.

    Of the precision that it comes in: 64 roundings, 1.4e-14 in 64 bits and 7.6e-6 in 32.
    """
    given = jnp.result_type(signal)
    coarse = jnp.result_type(float)
    if jnp.issubdtype(given, jnp.floating) and jnp.finfo(given).eps > jnp.finfo(coarse).eps:
        coarse = given
    return 64 * float(jnp.finfo(coarse).eps)


def moves(signal: Any) -> np.ndarray:
    """Which of the signals (time, region) move by more than rounding (region,)."""
    array = np.asarray(signal)
    top = np.abs(array).max(axis=0)
    return np.asarray(array.std(axis=0) > rounding(array) * top)


def scaled(array: jax.Array, axis: Any = 0) -> tuple[jax.Array, jax.Array]:
    """The array over a power of two near its largest value along `axis`, and that value so scaled.

    Squares and sums then neither overflow nor vanish, whatever the unit; nothing is rounded.
    """
    top = jax.lax.stop_gradient(jnp.abs(array).max(axis=axis, keepdims=True))
    _, power = jnp.frexp(top)
    # By two factors: 2^-power itself may not be representable.
    first = jnp.ldexp(jnp.ones_like(top), -(power // 2))
    second = jnp.ldexp(jnp.ones_like(top), power // 2 - power)
    return array * first * second, jnp.squeeze(top * first * second, axis)


def refuse_still(still: Any) -> None:
    """Refuse signals (region,) that do not move, or move by rounding only."""
    if _checks.on_host(still):
        which = np.flatnonzero(np.asarray(still))
        if which.size:
            listed = ", ".join(map(str, which[:5])) + (", …" if which.size > 5 else "")
            _checks.fail("signal", "vary in every region", f"it is constant in {listed}")


def check_band(low: Number, high: Number, sampling_interval: float) -> None:
    """Refuse a band (Hz) that is empty or goes beyond the Nyquist frequency."""
    nyquist = 0.5 / sampling_interval
    _checks.finite("band", np.array([low, high]))
    if not 0 <= low < high <= nyquist * (1 + 1e-9):
        _checks.fail(
            "band",
            f"rise between 0 and {nyquist:g} Hz, half the sampling rate",
            f"it is ({low:g}, {high:g})",
        )
