"""Primitives of JAX in C: expressions of scalars, of a type `real` or of integers."""

from collections.abc import Callable
from typing import Any

import numpy as np

#: C's names of types; floats are all of the kernel's precision.
TYPES = {
    "float32": "real",
    "float64": "real",
    "bool": "bool",
    "int8": "int",
    "int16": "int",
    "int32": "int",
    "int64": "long long",
    "uint32": "unsigned",
    "uint64": "unsigned long long",
}

_INFIX = {"add": "+", "sub": "-", "mul": "*", "lt": "<", "gt": ">", "le": "<=", "ge": ">=",
          "eq": "==", "ne": "!=", "add_any": "+"}  # fmt: skip
_BITS = {"and": "&", "or": "|", "xor": "^"}
_CALLS = {
    "exp": "exp", "exp2": "exp2", "expm1": "expm1", "log": "log", "log1p": "log1p", "sin": "sin",
    "cos": "cos", "tan": "tan", "asin": "asin", "acos": "acos", "atan": "atan", "sinh": "sinh",
    "cosh": "cosh", "tanh": "tanh", "asinh": "asinh", "acosh": "acosh", "atanh": "atanh",
    "sqrt": "sqrt", "cbrt": "cbrt", "floor": "floor", "ceil": "ceil", "erf": "erf", "erfc": "erfc",
    "atan2": "atan2", "pow": "pow", "rsqrt": "ng_rsqrt", "logistic": "ng_logistic",
    "erf_inv": "ng_erf_inv", "is_finite": "isfinite", "lgamma": "lgamma",
}  # fmt: skip
_SAME = ("stop_gradient", "copy", "copy_p", "optimization_barrier", "reduce_precision")


def literal(value: Any, dtype: Any) -> str:
    """A number as C writes it."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        return "true" if value else "false"
    if kind in "iu":
        suffix = "LL" if np.dtype(dtype).itemsize == 8 else ""
        return f"({int(value)}{suffix})" if value < 0 else f"{int(value)}{suffix}"
    if np.isnan(value):
        return "((real)NAN)"
    if np.isinf(value):
        return "((real)INFINITY)" if value > 0 else "(-(real)INFINITY)"
    text = repr(float(value))
    return f"((real){text})" if value >= 0 and not text.startswith("-") else f"(-(real){text[1:]})"


def expression(name: str, params: dict[str, Any], args: list[str], dtypes: list[Any]) -> str | None:
    """An elementwise primitive of scalars with these names and types; None for others."""
    real = np.dtype(dtypes[0]).kind == "f" if dtypes else False
    a = args[0] if args else ""
    if name in _INFIX:
        return f"{a} {_INFIX[name]} {args[1]}"
    if name in _BITS:
        return f"{a} {_BITS[name]} {args[1]}"
    if name in _CALLS and real:
        return f"{_CALLS[name]}({', '.join(args)})"
    rule = _RULES.get(name)
    return rule(params, args, real) if rule else None


def _power(params: dict[str, Any], args: list[str], real: bool) -> str:
    n, a = params["y"], args[0]
    if n == 0:
        return "((real)1)"
    # As XLA: by squaring.
    text, square, left = "", a, abs(n)
    while left:
        if left & 1:
            text = f"({text} * {square})" if text else square
        left >>= 1
        square = f"({square} * {square})"
    return text if n > 0 else f"((real)1) / {text}"


def _rounded(params: dict[str, Any], args: list[str], real: bool) -> str:
    to_even = "EVEN" in str(params.get("rounding_method", "")) or (
        int(params.get("rounding_method", 0)) == 1
    )
    return f"{'rint' if to_even else 'round'}({args[0]})"


def _sign(params: dict[str, Any], args: list[str], real: bool) -> str:
    a = args[0]
    return f"({a} > 0 ? 1 : {a} < 0 ? -1 : {a})"


def _extremum(sign: str) -> Callable[..., str]:
    def rule(params: dict[str, Any], args: list[str], real: bool) -> str:
        a, b = args
        if not real:
            return f"({a} {sign} {b} ? {a} : {b})"
        return f"({a} {sign} {b} || {a} != {a} ? {a} : {b})"  # NaN stays, as in XLA

    return rule


def _select(params: dict[str, Any], args: list[str], real: bool) -> str:
    which, first, *others = args
    if len(others) != 1:
        raise NotImplementedError
    return f"({which} ? {others[0]} : {first})"


_RULES: dict[str, Callable[[dict[str, Any], list[str], bool], str]] = {
    "div": lambda params, args, real: f"{args[0]} / {args[1]}",
    "neg": lambda params, args, real: f"-{args[0]}",
    "abs": lambda params, args, real: (
        f"fabs({args[0]})" if real else f"({args[0]} < 0 ? -{args[0]} : {args[0]})"
    ),
    "not": lambda params, args, real: f"!{args[0]}",
    "square": lambda params, args, real: f"{args[0]} * {args[0]}",
    "rem": lambda params, args, real: (
        f"fmod({args[0]}, {args[1]})" if real else f"{args[0]} % {args[1]}"
    ),
    "max": _extremum(">"),
    "min": _extremum("<"),
    "clamp": lambda params, args, real: (
        f"({args[1]} < {args[0]} ? {args[0]} : {args[1]} > {args[2]} ? {args[2]} : {args[1]})"
    ),
    "select_n": _select,
    "integer_pow": _power,
    "round": _rounded,
    "sign": _sign,
    **{name: lambda params, args, real: args[0] for name in _SAME},
}


def converted(value: str, source: Any, target: Any) -> str:
    """A scalar of one type as another."""
    target = np.dtype(target)
    if target.kind == "b":
        return f"({value} != 0)"
    if np.dtype(source).kind == "f" and target.kind == "f":
        return value
    return f"(({TYPES[str(target)]}){value})"
