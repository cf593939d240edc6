"""Primitives of JAX in C: expressions of scalars, of a type `real` or of integers."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

#: C's names of types; floats are all of the kernel's precision.
TYPES = {
    "float32": "real",
    "float64": "real",
    "bool": "bool",
    "int32": "int",
    "int64": "long long",
    "uint32": "unsigned",
    "uint64": "unsigned long long",
}

_INFIX = {"add": "+", "sub": "-", "mul": "*", "lt": "<", "gt": ">", "le": "<=", "ge": ">=",
          "eq": "==", "ne": "!=", "add_any": "+"}  # fmt: skip
_BITS = {"and": "&", "or": "|", "xor": "^"}
_CALLS = {
    "exp": "exp", "exp2": "exp2", "expm1": "expm1", "log": "log", "log2": "log2",
    "log1p": "log1p", "sin": "sin",
    "cos": "cos", "tan": "tan", "asin": "asin", "acos": "acos", "atan": "atan", "sinh": "sinh",
    "cosh": "cosh", "tanh": "tanh", "asinh": "asinh", "acosh": "acosh", "atanh": "atanh",
    "sqrt": "sqrt", "cbrt": "cbrt", "floor": "floor", "ceil": "ceil", "erf": "erf", "erfc": "erfc",
    "atan2": "atan2", "pow": "pow", "rsqrt": "ng_rsqrt", "logistic": "ng_logistic",
    "erf_inv": "ng_erf_inv", "is_finite": "isfinite", "lgamma": "lgamma",
}  # fmt: skip
_SAME = ("stop_gradient", "copy", "copy_p")
# Of integers, where C's are undefined.
_WRAPPED = {"add": "+", "sub": "-", "mul": "*"}


def literal(value: Any, dtype: Any) -> str:
    """A number as C writes it."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        return "true" if value else "false"
    if kind in "iu":
        suffix = ("u" if kind == "u" else "") + ("LL" if np.dtype(dtype).itemsize == 8 else "")
        return f"({int(value)}{suffix})" if value < 0 else f"{int(value)}{suffix}"
    if np.isnan(value):
        return "((real)NAN)"
    if np.isinf(value):
        return "((real)INFINITY)" if value > 0 else "(-(real)INFINITY)"
    text = repr(float(value))
    return f"((real){text})" if value >= 0 and not text.startswith("-") else f"(-(real){text[1:]})"


def expression(name: str, params: dict[str, Any], args: list[str], dtypes: list[Any]) -> str | None:
    """An elementwise primitive of scalars with these names and types; None for others."""
    dtype = np.dtype(dtypes[0]) if dtypes else np.dtype(bool)
    real = dtype.kind == "f"
    a = args[0] if args else ""
    if name in _WRAPPED and dtype.kind == "i":
        kind = TYPES[str(dtype)]
        whole = TYPES[f"u{dtype}"]
        return f"({kind})(({whole}){a} {_WRAPPED[name]} ({whole}){args[1]})"
    if name in _INFIX:
        return f"{a} {_INFIX[name]} {args[1]}"
    if name in _BITS:
        return f"{a} {_BITS[name]} {args[1]}"
    if name in _CALLS and real:
        return f"{_CALLS[name]}({', '.join(args)})"
    rule = _RULES.get(name)
    return rule(params, args, dtype) if rule else None


def _rounded(params: dict[str, Any], args: list[str], dtype: np.dtype) -> str:
    to_even = params["rounding_method"] == jax.lax.RoundingMethod.TO_NEAREST_EVEN
    return f"{'rint' if to_even else 'round'}({args[0]})"


def _sign(params: dict[str, Any], args: list[str], dtype: np.dtype) -> str:
    a = args[0]
    return f"({a} > 0 ? 1 : {a} < 0 ? -1 : {a})"


def _extremum(sign: str) -> Callable[..., str]:
    def rule(params: dict[str, Any], args: list[str], dtype: np.dtype) -> str:
        a, b = args
        if dtype.kind != "f":
            return f"({a} {sign} {b} ? {a} : {b})"
        return f"({a} {sign} {b} || {a} != {a} ? {a} : {b})"  # NaN stays, as in XLA

    return rule


def _clamp(params: dict[str, Any], args: list[str], dtype: np.dtype) -> str:
    low, value, high = args
    above = _extremum(">")(params, [low, value], dtype)
    return str(_extremum("<")(params, [above, high], dtype))


def _select(params: dict[str, Any], args: list[str], dtype: np.dtype) -> str:
    which, *cases = args
    if dtype.kind == "b":
        return f"({which} ? {cases[1]} : {cases[0]})"
    text = cases[-1]
    for k, case in reversed([*enumerate(cases[:-1])]):
        text = f"({which} <= {k} ? {case} : {text})"
    return text


def _precision(params: dict[str, Any], args: list[str], dtype: np.dtype) -> str:
    held = np.finfo(dtype)
    if params["exponent_bits"] < held.nexp or params["mantissa_bits"] < held.nmant:
        raise NotImplementedError
    return args[0]


def _whole(name: str) -> Callable[..., str]:
    def rule(params: dict[str, Any], args: list[str], dtype: np.dtype) -> str:
        if dtype.kind == "f":
            return f"{args[0]} / {args[1]}" if name == "div" else f"fmod({args[0]}, {args[1]})"
        return f"ng_{name}<{TYPES[str(dtype)]}>({args[0]}, {args[1]})"

    return rule


_RULES: dict[str, Callable[[dict[str, Any], list[str], np.dtype], str | None]] = {
    "div": _whole("div"),
    "rem": _whole("rem"),
    "neg": lambda params, args, dtype: f"-{args[0]}",
    "abs": lambda params, args, dtype: (
        f"fabs({args[0]})" if dtype.kind == "f" else f"({args[0]} < 0 ? -{args[0]} : {args[0]})"
    ),
    "not": lambda params, args, dtype: f"{'!' if dtype.kind == 'b' else '~'}{args[0]}",
    "square": lambda params, args, dtype: expression("mul", {}, [args[0]] * 2, [dtype] * 2),
    "one_minus_square": lambda params, args, dtype: (
        f"((real)1 + {args[0]}) * ((real)1 - {args[0]})"
    ),
    "max": _extremum(">"),
    "min": _extremum("<"),
    "clamp": _clamp,
    "select_n": _select,
    "round": _rounded,
    "sign": _sign,
    "reduce_precision": _precision,
    **{name: lambda params, args, dtype: args[0] for name in _SAME},
}


def converted(value: str, source: Any, target: Any) -> str:
    """A scalar of one type as another; floats as whole numbers as XLA has them."""
    source, target = np.dtype(source), np.dtype(target)
    if source == target or source.kind == target.kind == "f":
        return value
    if target.kind == "b":
        return f"({value} != 0)"
    if source.kind == "f" and target.kind == "u":
        raise NotImplementedError
    if source.kind == "f":
        return f"ng_whole<{TYPES[str(target)]}>({value})"
    return f"(({TYPES[str(target)]}){value})"
