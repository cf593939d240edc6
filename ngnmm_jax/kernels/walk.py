"""A traced step as statements of scalars in C: a walk through its jaxpr.

Arrays become arrays of C's names, in which axes of regions and of runs, known by their lengths
(`markers`), have length one: whatever is not elementwise along them is refused. What depends on
neither memory nor varied parameters is computed at once, and handed over as a constant.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.placement import cpus
from ngnmm_jax.kernels import primitives
from ngnmm_jax.kernels.layout import LAYOUTS, narrow, only_narrow, wide
from ngnmm_jax.kernels.markers import CannotFuse

# What leaves numbers as they are: constants of another precision may be moved so.
_MOVING = {*LAYOUTS, "select_n", "dynamic_slice", "gather"}
#: Names of statements and products.
TEMPORARY = re.compile(r"\bt\d+\b")


class Known(NamedTuple):
    """An array whose values are known; `fixed` where no parameter decides them."""

    value: np.ndarray
    fixed: bool


class Names(NamedTuple):
    """An array of C's names, and what shape and type it stands for."""

    text: np.ndarray
    shape: tuple[int, ...]
    dtype: np.dtype


class Statement(NamedTuple):
    """`kind name = text`."""

    name: str
    kind: str
    text: str


class Product(NamedTuple):
    """The product of the weights with values of all regions: from one name to another."""

    name: str
    operand: str


Event = Statement | Product


@dataclasses.dataclass
class Walk:
    """What was written so far.

    - `real`: the kernel's type of floats. `rules`: of primitives that are neither elementwise nor a
      matter of places, (walk, params, args) to an array of names.
    - `events`: statements and products, in order.
    - `uniforms`: the constants, in double precision.
    """

    real: Any
    rules: Mapping[str, Callable[..., np.ndarray]]
    events: list[Event] = dataclasses.field(default_factory=list)
    uniforms: list[float] = dataclasses.field(default_factory=list)
    _known: dict[tuple[str, str], str] = dataclasses.field(default_factory=dict)
    _places: dict[str, int] = dataclasses.field(default_factory=dict)
    _values: dict[str, float] = dataclasses.field(default_factory=dict)
    _number: int = 0

    def write(self, kind: str, text: str) -> str:
        """A name for an expression; the same for the same."""
        name = self._known.get((kind, text))
        if name is None:
            name = self._known[kind, text] = self._new()
            self.events.append(Statement(name, kind, text))
        return name

    def product(self, operand: str) -> str:
        """A name for the product of the weights with a name's values."""
        name = self._new()
        self.events.append(Product(name, operand))
        return name

    def _new(self) -> str:
        self._number += 1
        return f"t{self._number}"

    def kind(self, dtype: Any, *, moved: bool = False) -> str:
        """C's name of a type; refused where a kernel of this precision has none.

        `moved`: of constants that are only moved, which are rounded at once where they are used.
        """
        found = primitives.TYPES.get(str(dtype))
        if found is None or (found == "real" and np.dtype(dtype) != self.real and not moved):
            raise CannotFuse(f"The step has numbers of type {dtype} in it.")
        return found

    def table(self, values: Sequence[float], at: str) -> str:
        """The constant at a place that is known in the kernel."""
        start = len(self.uniforms)
        self.uniforms.extend(values)
        return self.write("real", f"U[{start} + {at}]")

    def value(self, text: str) -> float | None:
        """The value of a constant."""
        return self._values.get(text)

    def uniform(self, value: float) -> str:
        """A constant that the program is handed."""
        key = float.hex(value)  # minus zero is another
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = len(self.uniforms)
            self.uniforms.append(value)
        self._values[f"U[{place}]"] = value
        return f"U[{place}]"

    def names(self, value: Known | Names) -> Names:
        """An array's names; of known ones, constants."""
        if isinstance(value, Names):
            return value
        array = value.value

        def one(number: Any) -> str:
            short = self.real is np.float32 or _short(float(number))
            if array.dtype.kind != "f" or not np.isfinite(number) or (value.fixed and short):
                text = primitives.literal(number, array.dtype)
                self._values[text] = float(number)
                return text
            return self.uniform(float(number))

        text = np.array([one(x) for x in array.ravel()], dtype=object).reshape(array.shape)
        return Names(text, array.shape, array.dtype)

    def walk(self, jaxpr: Jaxpr, consts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
        """The results of a jaxpr of such arguments, `Known` or `Names`."""
        found: dict[Any, Known | Names] = {}

        def read(atom: Any) -> Known | Names:
            if isinstance(atom, Literal):
                like: Any = atom.aval
                return Known(np.asarray(atom.val, like.dtype), fixed=True)
            return found[atom]

        for variables, values in ((jaxpr.constvars, consts), (jaxpr.invars, args)):
            found |= dict(zip(variables, values, strict=True))
        for equation in _alive(jaxpr):
            results = self._equation(equation, [read(atom) for atom in equation.invars])
            found |= dict(zip(equation.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _equation(self, equation: Any, args: list[Any]) -> list[Any]:
        inner = _inner(equation)
        if inner is not None:
            consts = [Known(np.asarray(c), fixed=False) for c in inner.consts]
            return self.walk(inner.jaxpr, consts, args[len(args) - len(inner.jaxpr.invars) :])
        name, avals = equation.primitive.name, [v.aval for v in equation.outvars]
        if name.startswith(("random_", "threefry")):
            raise CannotFuse("The step draws random numbers of its own.")
        if equation.effects or not avals:
            raise CannotFuse(f"The step has `{name}` in it, which does more than give numbers.")
        if name == "optimization_barrier":
            return args
        outputs = [(tuple(a.shape), np.dtype(a.dtype)) for a in avals]
        if all(isinstance(a, Known) for a in args) and not any(wide(s) for s, _ in outputs):
            return _at_once(equation, args)
        for shape, dtype in outputs:
            self.kind(dtype, moved=name in _MOVING)
            only_narrow(shape, name)
        if name in LAYOUTS:
            return self._laid_out(equation, args, outputs)
        return self._special(equation, args, outputs) or [self._each(equation, args, *outputs[0])]

    def _laid_out(self, equation: Any, args: list[Any], outputs: Any) -> list[Names]:
        """Names in other places, without a statement."""
        given = [self.names(a) for a in args]
        texts = LAYOUTS[equation.primitive.name](
            equation.params, [g.text for g in given], [g.shape for g in given]
        )
        texts = texts if isinstance(texts, list) else [texts]
        return [Names(t, s, d) for t, (s, d) in zip(texts, outputs, strict=True)]

    def _special(self, equation: Any, args: list[Any], outputs: Any) -> list[Names] | None:
        rule = self.rules.get(equation.primitive.name)
        if rule is None:
            return None
        text = rule(self, equation.params, args)
        (shape, dtype) = outputs[0]
        return [Names(text.reshape(narrow(shape)), shape, dtype)]

    def _each(self, equation: Any, args: list[Any], shape: Any, dtype: Any) -> Names:
        """An elementwise primitive."""
        name, given = equation.primitive.name, [self.names(a) for a in args]
        if not given or not all(_fits(g.shape, shape) for g in given):
            raise CannotFuse(f"`{name}` gives {shape}: it is not elementwise.")
        texts = [np.broadcast_to(g.text, narrow(shape)) for g in given]
        if name != "select_n" and (name != "convert_element_type" or dtype != self.real):
            for g in given:
                self.kind(g.dtype)
        kind = self.kind(dtype, moved=True)
        result = np.empty(narrow(shape), dtype=object)
        for place in np.ndindex(result.shape):
            scalars = [str(text[place]) for text in texts]
            result[place] = self._scalar(equation, scalars, [g.dtype for g in given], kind, dtype)
        return Names(result, shape, dtype)

    def _scalar(self, equation: Any, args: list[str], types: Any, kind: str, dtype: Any) -> str:
        name = equation.primitive.name
        if name == "integer_pow":
            return self._power(args[0], equation.params["y"], types[0])
        if name == "div" and kind == "real":
            return self._quotient(*args)
        zero = [self._values.get(a) == 0.0 for a in args]
        if name in ("add", "add_any") and any(zero):
            return args[0] if zero[1] else args[1]
        if name == "sub" and zero[1]:
            return args[0]
        try:
            if name == "convert_element_type":
                found: str | None = primitives.converted(args[0], types[0], dtype)
            else:
                found = primitives.expression(name, equation.params, args, types)
        except NotImplementedError:
            found = None
        if found is None:
            raise CannotFuse(f"`{name}` is not known in C.")
        return found if found in args else self.write(kind, found)

    def _quotient(self, a: str, b: str) -> str:
        """By the inverse, which is computed once for all that is divided by the same."""
        known = self._values.get(b)
        if known is not None:
            inverse = 1 / known if known else math.inf
            held = np.finfo(self.real)
            if held.tiny <= abs(inverse) <= held.max:
                return self.times(a, self.uniform(float(self.real(1) / self.real(known))))
            return self.write("real", f"{a} / {b}")
        return self.times(a, self.write("real", f"ng_inverse({b})"))

    def _power(self, base: str, exponent: int, dtype: Any) -> str:
        """By squaring, as XLA has it."""
        kind, result, left = self.kind(dtype), "", abs(exponent)
        if not left:
            return self.names(Known(np.ones((), dtype), fixed=True)).text.item()
        while left:
            if left & 1:
                result = self._multiplied(result, base, kind, dtype) if result else base
            left >>= 1
            base = self._multiplied(base, base, kind, dtype) if left else base
        return result if exponent > 0 else self.write(kind, f"((real)1) / {result}")

    def _multiplied(self, a: str, b: str, kind: str, dtype: Any) -> str:
        text = primitives.expression("mul", {}, [a, b], [dtype, dtype])
        assert text is not None
        return self.write(kind, text)

    def times(self, a: str, b: str) -> str:
        """A product of two scalars."""
        if self._values.get(a) == 1.0:
            return b
        return a if self._values.get(b) == 1.0 else self.write("real", f"{a} * {b}")

    def total(self, terms: Sequence[str], kind: str = "real") -> str:
        """A sum from the left, without zeros."""
        terms = [t for t in terms if self._values.get(t) != 0.0] or [terms[0]]
        result = terms[0]
        for term in terms[1:]:
            result = self.write(kind, f"{result} + {term}")
        return result


def _fits(shape: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """Whether it is a scalar, or an axis is the whole's or of length one."""
    same = len(shape) == len(whole) and all(a in (1, b) for a, b in zip(shape, whole, strict=True))
    return same or not shape


def _short(number: float) -> bool:
    """Whether an instruction can hold it: doubles whose lower half is zero."""
    return not int(np.float64(number).view(np.uint64)) & 0xFFFFFFFF


def _alive(jaxpr: Jaxpr) -> list[Any]:
    """The equations that its results depend on, and those that do more than give numbers."""
    wanted = {atom for atom in jaxpr.outvars if not isinstance(atom, Literal)}
    kept = []
    for equation in reversed(jaxpr.eqns):
        if equation.effects or not wanted.isdisjoint(equation.outvars):
            kept.append(equation)
            wanted |= {atom for atom in equation.invars if not isinstance(atom, Literal)}
    return kept[::-1]


def _inner(equation: Any) -> ClosedJaxpr | None:
    """The jaxpr of an equation that is a call of a function."""
    if equation.primitive.name in ("while", "cond", "scan"):
        raise CannotFuse(f"The step has `{equation.primitive.name}` in it.")
    for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        inner = equation.params.get(key)
        if isinstance(inner, ClosedJaxpr):
            return inner
        if isinstance(inner, Jaxpr):
            return ClosedJaxpr(inner, ())
    return None


def _at_once(equation: Any, args: list[Known]) -> list[Known]:
    with jax.default_device(next(iter(cpus()), None)):
        values = equation.primitive.bind(*(as_array(a.value) for a in args), **equation.params)
    values = values if equation.primitive.multiple_results else [values]
    return [Known(np.asarray(v), all(a.fixed for a in args)) for v in values]


def used(event: Event) -> set[str]:
    """Names that an event reads."""
    return set(TEMPORARY.findall(event.operand if isinstance(event, Product) else event.text))


def needed(events: Sequence[Event], outputs: Sequence[str]) -> list[Event]:
    """Those events that the outputs depend on."""
    wanted = {name for text in outputs for name in TEMPORARY.findall(text)}
    kept: list[Event] = []
    for event in reversed(events):
        if event.name in wanted:
            kept.append(event)
            wanted |= used(event)
    return kept[::-1]
