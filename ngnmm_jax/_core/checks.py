"""Checks of arguments, with one form of error: "Argument `x` must …, but …".

Every check looks at concrete values only: under `jax.jit`, `jax.vmap` or `jax.grad` the
values are not known and the checks of values pass, while shapes are still checked. What needs no
JAX, such as a connectome, is checked without it: importing it takes seconds.
"""

import contextlib
import importlib
import os
import sys
from decimal import Decimal
from numbers import Real
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from ngnmm_jax._core.messages import fail
from ngnmm_jax._core.messages import one_of as one_of

if TYPE_CHECKING:
    import jax


# What is shown as it is where it is refused; of other things their kind says more.
_PLAIN = (str, bytes, bool, int, float, complex, np.generic, type(None))


class Disagreement(ValueError):
    """A model's optional method does not follow from its equations."""


def kind_of(value: Any) -> str:
    """What something is, in words: a class itself, or an object of one."""
    if isinstance(value, type):
        return f"the class `{value.__name__}`: make an object of it"
    return f"a `{type(value).__name__}`"


def is_concrete(*values: Any) -> bool:
    """Whether no leaf of `values` is being traced by a JAX transformation."""
    jax = sys.modules.get("jax")  # where nobody imported it, nothing is traced
    return jax is None or not any(
        isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values)
    )


def on_host(*values: Any) -> bool:
    """Whether values are known, and what is computed from them now is computed at once.

    Inside of `jax.jit` it is not, even where no argument is traced.
    """
    import jax

    return is_concrete(*values) and not isinstance(jax.numpy.asarray(0.0), jax.core.Tracer)


def hashable(argument: str, value: Any) -> None:
    """Refuse an object whose fields cannot be part of what a compiled program is known by."""
    try:
        hash(value)
    except TypeError:
        name, part = type(value).__name__, value
        while hasattr(part, "__dict__"):  # down to the field that is meant
            owner, fields = type(part).__name__, vars(part)
            field = next((k for k, v in fields.items() if not _can_hash(v)), None)
            if field is None:
                break
            name, part = f"{owner}.{field}", fields[field]
        must = "have tuples in place of lists and dicts among its fields, and no static arrays"
        fail(argument, must, f"`{name}` is a {type(part).__name__}")


def _can_hash(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def complex_numbers(argument: str, value: Any) -> np.ndarray:
    """`value` as an array of numbers, which may be complex, or of booleans."""
    with contextlib.suppress(TypeError, ValueError):  # ragged ones: said below
        if np.iscomplexobj(value):
            return np.asarray(value)
    return numbers(argument, value, "be a number, or an array of numbers", booleans=True)


def finite(argument: str, value: Any) -> None:
    """Refuse NaN and infinity, and what is no array of numbers."""
    if is_concrete(value):
        array = complex_numbers(argument, value)
        bad = ~np.isfinite(array.astype(float) if array.dtype.kind == "V" else array)
        if bad.any():
            fail(argument, "be finite", f"{int(bad.sum())} of its {bad.size} values are not")


def numbers(
    argument: str, value: Any, must: str = "be an array of numbers", *, booleans: bool = False
) -> np.ndarray:
    """`value` as an array of real numbers; text, complex and missing numbers are refused."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.getmaskarray(value).any():
        fail(argument, must, "some of them are masked")
    try:
        array = np.asarray(value)
        if array.dtype.kind == "O" and all(isinstance(item, Real) for item in array.flat):
            array = array.astype(float)
    except (TypeError, ValueError, OverflowError):  # ragged, sparse, too large
        fail(argument, must, f"it is a {type(value).__name__}")
    logical = booleans and array.dtype.kind == "b"
    if not logical and not any(_is_a(array.dtype, kind) for kind in ("integer", "floating")):
        plain = repr(value) if isinstance(value, _PLAIN) else kind_of(value)
        if hasattr(value, "states"):
            plain += ": give one of its `states`, as `.states[0]`"
        fail(argument, must, f"it is {plain if array.ndim == 0 else f'an array of {array.dtype}'}")
    return array


def _is_a(dtype: np.dtype, kind: str) -> bool:
    """Whether a type is one of "floating" or "integer" numbers, JAX's own (bfloat16) included."""
    if dtype.kind != "V":  # as NumPy sees those
        return dtype.kind in {"floating": "f", "integer": "iu"}[kind]
    import jax

    return bool(jax.numpy.issubdtype(dtype, getattr(jax.numpy, kind)))


def floats(argument: str, value: Any, dtype: Any = float) -> "jax.Array":
    """`value` as a JAX array of that type; what is no array of real numbers is refused."""
    import jax

    if is_concrete(value):
        numbers(argument, value)
    return jax.numpy.asarray(value, dtype=dtype)


def positive(argument: str, value: Any) -> None:
    """Refuse values that are zero, negative or not finite."""
    finite(argument, value)
    if is_concrete(value) and not (np.asarray(value) > 0).all():
        fail(argument, "be positive", f"its smallest value is {np.min(np.asarray(value)):g}")


def time(argument: str, value: Any) -> float:
    """A time, as a `float`.

    One in 32 bits counts as the decimal number that it stands for, where that has six digits or
    less, as many as 32 bits keep: 0.1 is 0.1, and not 0.10000000149.
    """
    return float(_decimal(argument, value, shape=()))


def times(argument: str, value: Any) -> np.ndarray:
    """An array of times, in 64 bits, each read as `time` reads one."""
    return _decimal(argument, value)


def _decimal(argument: str, value: Any, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """`times`, of a shape."""
    if not is_concrete(value):
        fail(argument, "be known", "JAX traces it")
    try:
        array = np.asarray(value)
        objects = array.dtype.kind == "O"
        real = objects and all(isinstance(v, Real | Decimal) for v in array.flat)
        if not real and not any(_is_a(array.dtype, kind) for kind in ("integer", "floating")):
            raise TypeError
        wide = array.astype(float)
    except (TypeError, ValueError):
        fail(argument, "be a number" if shape == () else "be numbers", f"it is {value!r}")
    if shape is not None and array.shape != shape:
        fail(argument, "be a single number", f"its shape is {array.shape}")
    finite(argument, wide)
    if not _is_a(array.dtype, "floating") or array.dtype.itemsize > 4:
        return wide
    short = np.array([float(f"{v:.6g}") for v in wide.ravel()]).reshape(wide.shape)
    return np.where(short.astype(array.dtype) == array, short, wide)


def even_interval(times: np.ndarray) -> float | None:
    """The gap between times (time,), None where they are not evenly spaced.

    Times in 32 bits may be off by their rounding; None too where that leaves the gap unknown.
    """
    gaps = np.diff(times.astype(float))
    if not gaps.size or not gaps.min() > 0:
        return None
    rounding = float(np.finfo(times.dtype).eps) * float(np.abs(times).max())
    gap = float(times[-1] - times[0]) / gaps.size
    if np.ptp(gaps) > 1e-6 * gap + 2 * rounding or rounding > 1e-4 * gap * gaps.size:
        return None
    if times.dtype.itemsize > 4:
        return float(gaps.mean())
    # The nearest number of few digits, if the rounding allows for it.
    decimals = (float(f"{gap:.{digits}g}") for digits in range(1, 18))
    return next(d for d in decimals if abs(d - gap) * gaps.size <= rounding)


def names(argument: str, value: Any) -> tuple[str, ...]:
    """Names, one by one; refuses a text, whose letters are none."""
    if isinstance(value, str | bytes):
        must = "be a sequence of names" + (", as `text.split()`" if len(value.split()) > 1 else "")
        fail(argument, must, f"it is the text {value!r}")
    try:
        entries = list(value)
    except TypeError:
        fail(argument, "be a sequence of names", f"it is {kind_of(value)}")
    return tuple(v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in entries)


def an_object(argument: str, value: Any) -> None:
    """Refuse a class where one of its objects is meant."""
    if isinstance(value, type):
        fail(argument, "be an object", f"it is the class `{value.__name__}`: call it")


def positive_integer(argument: str, value: Any) -> None:
    """Refuse anything but an integer of at least one."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        fail(argument, "be a positive integer", f"it is {value!r}")


def seed(value: Any, argument: str = "seed") -> None:
    """Refuse what is no integer of 64 bits, nor an array of them."""
    if is_concrete(value):
        array = np.asarray(value)
        if array.dtype.kind not in "iu":
            shown = repr(value) if isinstance(value, _PLAIN) else kind_of(value)
            fail(argument, "be an integer of at most 64 bits", f"it is {shown}")


def path(argument: str, value: Any) -> Path:
    """What names a file or folder, as a `Path`."""
    if not isinstance(value, str | os.PathLike):
        fail(argument, "be a path, as 'folder/file'", f"it is {kind_of(value)}")
    return Path(value)


def shape(argument: str, value: Any, expected: tuple[int, ...], axes: str) -> None:
    """Refuse an array of another shape than `expected`, whose axes are named `axes`."""
    found = tuple(np.shape(value))
    if found != expected:
        fail(argument, f"have shape {expected} {axes}", f"its shape is {found}")


def a_system(system: Any) -> None:
    """Refuse what has no states of its own to follow: a model, which needs a network around it."""
    if isinstance(system, type) or not hasattr(system, "state_shape"):
        must = "be a network, or another system: put a model into `ng.Network(model, connectome)`"
        fail("system", must, f"it is {kind_of(system)}")


def require_x64(what: str) -> None:
    """Refuse to run an analysis in 32-bit arithmetic."""
    import jax

    if not jax.config.read("jax_enable_x64"):
        raise RuntimeError(
            f"{what} needs 64-bit arithmetic, but JAX is set to 32-bit. Call "
            "`jax.config.update('jax_enable_x64', True)` before creating any array, "
            "or set the environment variable JAX_ENABLE_X64=1."
        )


def require_module(name: str, extra: str) -> ModuleType:
    """Import an optional dependency, or say which extra brings it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"This needs the package `{name.partition('.')[0]}`, which is not installed. "
            f"Install it with: pip install 'ngnmm-jax[{extra}]'"
        ) from error
