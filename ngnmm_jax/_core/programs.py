"""Traced programs, canonical: the same text for the same operations, in any process.

The program that JAX traces (`jax.make_jaxpr`) holds closures, helpers, constants and class bodies
by value. Written out here are its operations, their parameters and their constants, in order;
left out are names, places, addresses, shardings, and rules for derivatives that are not taken.
"""

import builtins
import dataclasses
import dis
import enum
import functools
import hashlib
import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.randomness import is_key

# Whose functions their names and versions identify.
_LIBRARIES = frozenset(
    {"builtins", "diffrax", "equinox", "functools", "jax", "jaxlib", "jaxtyping", "lineax", "math",
     "ngnmm_jax", "numpy", "operator", "optax", "optimistix", "scipy"}
)  # fmt: skip
# Operations that show something and compute nothing.
_SHOWN = frozenset({"debug_callback", "debug_print"})
# The parameters of an operation that decide its numbers, where not all of them do.
_ONLY: dict[str, tuple[str, ...]] = {
    "jit": ("jaxpr", "compiler_options_kvs"),
    "pjit": ("jaxpr", "compiler_options_kvs"),
    "closed_call": ("call_jaxpr",),
    "core_call": ("call_jaxpr",),
    "checkpoint": ("jaxpr",),
    "remat": ("jaxpr",),
    "remat2": ("jaxpr",),
    "custom_jvp_call": ("call_jaxpr",),
    "custom_vjp_call": ("call_jaxpr", "fun_jaxpr"),
    "custom_vjp_call_jaxpr": ("call_jaxpr", "fun_jaxpr"),
    "device_put": (),
}
_PLAIN = (type(None), bool, int, float, complex, str, bytes, range, type(Ellipsis))


def digest(value: Any) -> str:
    """Shape, type and bytes of an array, in short."""
    kind = str(value.dtype) if hasattr(value, "dtype") else ""
    if is_key(value):
        value = jax.random.key_data(value)
    array = np.asarray(value)
    kind = f"{kind or array.dtype}{list(array.shape)}"
    mixed = hashlib.sha256(kind.encode() + np.ascontiguousarray(array).tobytes())
    return f"{kind} {mixed.hexdigest()[:32]}"


def is_number(leaf: Any) -> bool:
    """Whether a leaf is an array or a number, not a function or a name."""
    return eqx.is_array_like(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)


def program(
    function: Callable[..., Any], *arguments: Any, key: Any = None, where: str = "as `key=…`"
) -> str:
    """A digest of the program that `function` is, for arguments of these shapes and types.

    **Arguments:**

    - `arguments`: PyTrees; arrays and numbers in them are traced, the rest is as it is.
    - `key`: what identifies that which is not traced.
    - `where`: how a `key` is given, for the error.

    Raises `ValueError` where it calls back into Python, whose functions cannot be identified, and
    has no `key`. Compiles nothing.
    """
    return traced(function, *arguments).operations.digest(key, where)


@dataclasses.dataclass(frozen=True)
class Traced:
    """A traced function: its program, and the shapes of what it returns."""

    jaxpr: Any
    outputs: Any

    @functools.cached_property
    def operations(self) -> "Operations":
        """All that is known of it."""
        writer = _Writer()
        text = writer.jaxpr(self.jaxpr)
        names, _ = jax.tree_util.tree_flatten_with_path(self.outputs)
        results = [f"{jax.tree_util.keystr(path)} {like.dtype}{like.shape}" for path, like in names]
        whole = hashlib.sha256("\n".join([text, *results]).encode()).hexdigest()
        return Operations(whole[:32], tuple(writer.unknown))


class Operations(NamedTuple):
    """What identifies a program.

    - `text`: a digest of its operations, its constants, and its results' names and shapes.
    - `unknown`: what they do not show.
    """

    text: str = ""
    unknown: tuple[str, ...] = ()

    def digest(self, key: Any = None, where: str = "as `key=…`") -> str:
        """The text, and the key's; `ValueError` where there is something unknown and no key."""
        if self.unknown and key is None:
            _checks.fail(
                "key",
                f"be given, {where} (any text that is another one when what is computed is)",
                f"the numbers depend on {self.unknown[0]}, which no trace shows",
            )
        return self.text if key is None else f"{self.text}, key {identity(key)}"


def traced(function: Callable[..., Any], *arguments: Any) -> Traced:
    """The program that a function is now, whatever was traced or compiled of it before."""
    numbers, rest = eqx.partition(arguments, is_number)
    # Strongly typed, so that arrays of NumPy and of JAX give one program.
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), _type(leaf)), numbers)

    def fresh(numbers: Any) -> Any:  # JAX remembers what it traced by the function
        return function(*eqx.combine(numbers, rest))

    return Traced(*jax.make_jaxpr(fresh, return_shape=True)(like))


def identity(value: Any) -> str:
    """Any value made of numbers, texts, arrays, containers of them and library functions."""
    writer = _Writer()
    text = writer.value(value)
    if writer.unknown:
        _checks.fail("key", "be made of texts, numbers and arrays", f"it has {writer.unknown[0]}")
    return text


def _type(leaf: Any) -> Any:
    """The type that a leaf has once JAX takes it, in 64 bits or in 32."""
    kind = getattr(leaf, "dtype", None)
    return jnp.result_type(leaf) if kind is None or isinstance(kind, np.dtype) else kind


class _Writer:
    """Writes programs and values as text; what it cannot identify is in `unknown`."""

    def __init__(self, bodies: bool = True) -> None:
        self.unknown: list[str] = []
        self._bodies = bodies  # whether a class is what its methods are, or a name
        # Programs that are called in several places are written once; held, so that no other
        # object gets their `id`.
        self._written: dict[int, tuple[Any, str]] = {}
        self._within: set[int] = set()

    def jaxpr(self, jaxpr: Any) -> str:
        """The digest of a program, closed or not."""
        if id(jaxpr) not in self._written:
            self._written[id(jaxpr)] = (jaxpr, self._operations(jaxpr))
        return self._written[id(jaxpr)][1]

    def _operations(self, closed: Any) -> str:
        jaxpr = closed.jaxpr if isinstance(closed, ClosedJaxpr) else closed
        consts = closed.consts if isinstance(closed, ClosedJaxpr) else []
        numbers: dict[Any, int] = {}

        def name(atom: Any) -> str:
            if isinstance(atom, Literal):
                return f"{self.value(atom.val)}:{_aval(atom.aval)}"
            return str(numbers.setdefault(atom, len(numbers)))

        def typed(variables: Any) -> str:
            return " ".join(f"{name(v)}:{_aval(v.aval)}" for v in variables)

        mixed = hashlib.sha256(f"{typed(jaxpr.invars)};{typed(jaxpr.constvars)};".encode())
        mixed.update(" ".join(map(self.value, consts)).encode())
        for equation in jaxpr.eqns:
            primitive = equation.primitive.name
            if primitive in _SHOWN:
                continue
            taken = " ".join(map(name, equation.invars))
            options = self._options(primitive, equation.params)
            line = f"\n{typed(equation.outvars)} = {primitive}[{options}] {taken}"
            mixed.update(line.encode())
        mixed.update(("\n" + " ".join(map(name, jaxpr.outvars))).encode())
        return mixed.hexdigest()

    def _options(self, primitive: str, given: Mapping[str, Any]) -> str:
        names = sorted(name for name in _ONLY.get(primitive, tuple(given)) if name in given)
        kept = (k for k in names if "sharding" not in k and "layout" not in k and "mesh" not in k)
        return " ".join(f"{k}={self.value(given[k])}" for k in kept)

    def value(self, value: Any) -> str:
        """A parameter, a constant, or part of one."""
        if isinstance(value, type):
            return f"{value.__qualname__} {body(value) if self._bodies else ''}"
        if isinstance(value, types.ModuleType):
            return value.__name__ if _is_library(value.__name__) else self._not_known(value)
        if isinstance(value, enum.Enum):
            return f"{type(value).__name__}.{value.name}"
        if isinstance(value, _PLAIN):
            return f"{type(value).__name__}:{value!r}"
        if isinstance(value, Jaxpr | ClosedJaxpr):
            return self.jaxpr(value)
        if isinstance(value, np.integer | np.bool_):
            return self.value(value.item())
        if isinstance(value, jax.core.Tracer):  # left in a closure by a program around this one
            self.unknown.append("a value that JAX traces")
            return _aval(value)
        if isinstance(value, np.ndarray | np.generic | jax.Array) or hasattr(value, "__array__"):
            mixed = value.dtype.kind == "O" if isinstance(value, np.ndarray) else False
            return self.value(value.tolist()) if mixed else digest(value)
        if isinstance(value, np.dtype | jax.dtypes.extended):
            return str(value)
        if hasattr(value, "dtype") and hasattr(value, "shape"):
            return _aval(value)
        if isinstance(value, jax.tree_util.PyTreeDef):
            return self._inside(value, lambda: self.value((value.node_data(), value.children())))
        if isinstance(value, Mapping):
            return self._inside(value, lambda: f"{{{self._all(value.items())}}}")
        if isinstance(value, set | frozenset):
            return f"{{{' '.join(sorted(map(self.value, value)))}}}"
        if type(value).__name__ == "PRNGImpl" and _is_library(type(value).__module__):
            return f"random numbers {value.name}"
        if isinstance(value, tuple | list):
            kind = type(value).__name__
            return self._inside(value, lambda: f"{kind}({self._all(value)})")
        if isinstance(value, slice):
            return f"slice{self.value((value.start, value.stop, value.step))}"
        return self._object(value)

    def _all(self, values: Any) -> str:
        return " ".join(map(self.value, values))

    def _object(self, value: Any) -> str:
        """A function, a class, an object with fields."""
        if hasattr(value, "callback_func"):  # of a callback
            called = value.callback_func
            known = isinstance(called, functools.partial) or _of_library(called)
            return self.value(called) if known else self._not_known(called)
        if type(value) is object:  # a mark, which holds nothing
            return "object"
        if isinstance(value, functools.partial):
            parts: Any = (value.func, value.args, sorted(value.keywords.items()))
        elif isinstance(value, types.MethodType):
            parts = (value.__self__, value.__func__)
        elif dataclasses.is_dataclass(value) and not _called(value):
            fields = [field.name for field in dataclasses.fields(value)]
            parts = (type(value), [(k, getattr(value, k, None)) for k in fields])
        elif _of_library(value):
            plain = inspect.unwrap(value)
            messages = getattr(plain, "__module__", "") == "equinox._errors"
            cells = () if messages else getattr(plain, "__closure__", None) or ()
            parts = (plain.__name__, [_content(cell) for cell in cells])
        elif not isinstance(value, types.FunctionType) and _has_parts(value):
            parts = (type(value), _attributes(value))
        else:
            return self._not_known(value)
        return self._inside(value, lambda: self._all(parts))

    def _not_known(self, value: Any) -> str:
        name = getattr(value, "__qualname__", None)
        what = f"an object of {type(value).__qualname__}" if name is None else f"Python's {name}"
        self.unknown.append(what)
        return "?"

    def _inside(self, value: Any, write: Callable[[], str]) -> str:
        """Guards against containers that contain themselves."""
        if id(value) in self._within:
            return "↑"
        self._within.add(id(value))
        try:
            return write()
        finally:
            self._within.discard(id(value))


def body(cls: type, *, traced: frozenset[str] = frozenset()) -> str:
    """A digest of what a class from no known library defines, but for the `traced` methods.

    Of its functions as they are written, with the values that they look at: for what no trace
    reaches. Empty where there is nothing of that kind.
    """
    found: dict[str, str] = {}
    for part in cls.__mro__:
        home = part.__module__  # "builtins" also of what `exec` makes
        known = home != "builtins" or getattr(builtins, part.__name__, None) is part
        if known and (_is_library(home) or home in ("abc", "typing", "enum")):
            continue
        for name, member in vars(part).items():
            hidden = name.startswith("__") and name != "__call__"
            function = None if hidden or name in traced or name in found else _function_of(member)
            if function is not None:
                found[name] = _written(function, {})
    return hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest()[:32] if found else ""


def _function_of(member: Any) -> Any:
    """That of a method, a property, or what Equinox wraps; None of anything else."""
    for name in ("fget", "func", "method", "__func__"):
        member = getattr(member, name, None) or member
    plain = inspect.unwrap(member) if callable(member) else None
    return plain if isinstance(plain, types.FunctionType) else None


def _written(function: types.FunctionType, seen: dict[Any, int]) -> str:
    """A function's instructions, and the values and functions that it uses, by value.

    `seen`: the functions that are written already, by number.
    """
    seen[function] = len(seen)
    writer = _Writer(bodies=False)  # else a method that names its own class would not end
    names, mixed = _instructions(function.__code__, function.__doc__)
    used = [function.__defaults__, function.__kwdefaults__]
    used += [_content(cell) for cell in function.__closure__ or ()]
    used += [function.__globals__.get(name) for name in sorted(names)]
    for value in used:
        plain = inspect.unwrap(value) if callable(value) else None
        if not isinstance(plain, types.FunctionType) or _of_library(plain):
            more = writer.value(value)
        else:
            more = f"#{seen[plain]}" if plain in seen else _written(plain, seen)
        mixed.update(more.encode())
    return mixed.hexdigest()[:32]


def _instructions(code: types.CodeType, documentation: str | None = None) -> tuple[set[str], Any]:
    """The global names in it, and a digest of instructions and constants, not of places."""
    found = dis.get_instructions(code)
    names = {i.argval for i in found if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    mixed = hashlib.sha256(code.co_code + repr(code.co_names).encode())
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            inner, more = _instructions(constant)
            names |= inner
            mixed.update(more.digest())
        elif constant is None or constant != documentation:
            mixed.update(_Writer().value(constant).encode())
    return names, mixed


def _aval(value: Any) -> str:
    """Type and shape, without where it is."""
    if not hasattr(value, "dtype"):
        return str(value)  # of a token
    weak = "~" if getattr(value, "weak_type", False) else ""
    return f"{value.dtype}{weak}{list(value.shape)}"


def _of_library(value: Any) -> bool:
    """Whether it is a function (not an object that calls others) of a library that is known."""
    if not callable(value):
        return False
    plain = inspect.unwrap(value)
    if isinstance(plain, types.FunctionType):
        module = plain.__globals__.get("__name__", "")  # what decorators do not change
    elif isinstance(plain, types.BuiltinFunctionType | np.ufunc):
        module = getattr(plain, "__module__", None) or type(plain).__module__
    else:
        return False
    return _is_library(module)


def _called(value: Any) -> bool:
    """Whether it is a user's object that is called like a function."""
    return callable(value) and not _is_library(type(value).__module__)


def _has_parts(value: Any) -> bool:
    """Whether it is a library's object, which is what its attributes are."""
    module = type(value).__module__
    return _is_library(module) and module != "builtins" and hasattr(value, "__dict__")


def _attributes(value: Any) -> list[tuple[str, Any]]:
    """Those of an object, by name, without what it remembers of what it was asked."""

    def remembered(name: str) -> bool:
        member = inspect.getattr_static(type(value), name, None)
        return name == "_hash" or isinstance(member, functools.cached_property)

    return [(name, part) for name, part in sorted(vars(value).items()) if not remembered(name)]


def _is_library(module: str) -> bool:
    return module.partition(".")[0] in _LIBRARIES


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None
