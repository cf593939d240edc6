"""A traced step as statements of scalars in C: a walk through its jaxpr.

Arrays become arrays of C's names, in which axes of regions and of runs, known by their lengths
(`markers`), have length one: whatever is not elementwise along them is refused. What depends on
neither memory nor varied parameters is computed at once, and handed over as a constant.
"""

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from ngnmm_jax.kernels import primitives
from ngnmm_jax.kernels.layout import LAYOUTS, narrow, only_narrow, wide
from ngnmm_jax.kernels.markers import CannotFuse

_NAME = re.compile(r"\bt\d+\b")


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

    - `events`: statements and products, in order.
    - `uniforms`: the constants, in double precision.
    """

    real: Any
    events: list[Event] = dataclasses.field(default_factory=list)
    uniforms: list[float] = dataclasses.field(default_factory=list)
    _known: dict[tuple[str, str], str] = dataclasses.field(default_factory=dict)
    _places: dict[float, int] = dataclasses.field(default_factory=dict)
    _values: dict[str, float] = dataclasses.field(default_factory=dict)

    def write(self, kind: str, text: str) -> str:
        """A name for an expression; the same for the same."""
        name = self._known.get((kind, text))
        if name is None:
            name = f"t{len(self._known) + sum(isinstance(e, Product) for e in self.events)}"
            self._known[kind, text] = name
            self.events.append(Statement(name, kind, text))
        return name

    def uniform(self, value: float) -> str:
        """A constant that the program is handed."""
        place = self._places.get(value)
        if place is None:
            place = self._places[value] = len(self.uniforms)
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
                return Known(np.asarray(atom.val, atom.aval.dtype), fixed=True)
            return found[atom]

        for variables, values in ((jaxpr.constvars, consts), (jaxpr.invars, args)):
            found |= dict(zip(variables, values, strict=True))
        for equation in jaxpr.eqns:
            results = self._equation(equation, [read(atom) for atom in equation.invars])
            found |= dict(zip(equation.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _equation(self, equation: Any, args: list[Any]) -> list[Any]:
        inner = _inner(equation)
        if inner is not None:
            consts = [Known(np.asarray(c), fixed=False) for c in inner.consts]
            return self.walk(inner.jaxpr, consts, args[len(args) - len(inner.jaxpr.invars) :])
        name, avals = equation.primitive.name, [v.aval for v in equation.outvars]
        outputs = [(tuple(a.shape), np.dtype(a.dtype)) for a in avals]
        if all(isinstance(a, Known) for a in args) and not any(wide(s) for s, _ in outputs):
            return _at_once(equation, args)
        for shape, _ in outputs:
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
        rule = _SPECIAL.get(equation.primitive.name)
        if rule is None:
            return None
        text = rule(self, equation.params, args)
        (shape, dtype) = outputs[0]
        return [Names(text.reshape(narrow(shape)), shape, dtype)]

    def _each(self, equation: Any, args: list[Any], shape: Any, dtype: Any) -> Names:
        """An elementwise primitive."""
        name, given = equation.primitive.name, [self.names(a) for a in args]
        texts = np.broadcast_arrays(*(g.text for g in given)) if given else []
        if texts and texts[0].shape != narrow(shape):
            raise CannotFuse(f"`{name}` gives {shape}: it is not elementwise.")
        kind = primitives.TYPES.get(str(dtype))
        if not texts or kind is None:
            raise CannotFuse(f"`{name}` of {dtype} cannot be written in C.")
        result = np.empty(narrow(shape), dtype=object)
        for place in np.ndindex(result.shape):
            scalars = [text[place] for text in texts]
            result[place] = self._scalar(equation, scalars, [g.dtype for g in given], kind, dtype)
        return Names(result, shape, dtype)

    def _scalar(self, equation: Any, args: list[str], types: Any, kind: str, dtype: Any) -> str:
        name = equation.primitive.name
        if name == "convert_element_type":
            text = primitives.converted(args[0], types[0], dtype)
            return text if text == args[0] else self.write(kind, text)
        if name == "div" and kind == "real":
            return self._quotient(*args)
        zero = [self._values.get(a) == 0.0 for a in args]
        if name in ("add", "add_any") and any(zero):
            return args[0] if zero[1] else args[1]
        if name == "sub" and zero[1]:
            return args[0]
        try:
            text = primitives.expression(name, equation.params, args, types)
        except NotImplementedError:
            text = None
        if text is None:
            raise CannotFuse(f"`{name}` is not known in C.")
        return text if text in args else self.write(kind, text)

    def _quotient(self, a: str, b: str) -> str:
        """By the inverse, which is computed once for all that is divided by the same."""
        known = self._values.get(b)
        if known is not None and known != 0:
            return self.times(a, self.uniform(float(self.real(1) / self.real(known))))
        return self.times(a, self.write("real", f"ng_inverse({b})"))

    def times(self, a: str, b: str) -> str:
        """A product of two scalars."""
        if self._values.get(a) == 1.0:
            return b
        return a if self._values.get(b) == 1.0 else self.write("real", f"{a} * {b}")

    def total(self, terms: Sequence[str], sign: str = "+", kind: str = "real") -> str:
        """A sum from the left, without zeros."""
        terms = [t for t in terms if self._values.get(t) != 0.0] or [terms[0]]
        result = terms[0]
        for term in terms[1:]:
            result = self.write(kind, f"{result} {sign} {term}")
        return result


def _short(number: float) -> bool:
    """Whether an instruction can hold it: doubles whose lower half is zero."""
    return not int(np.float64(number).view(np.uint64)) & 0xFFFFFFFF


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
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        values = equation.primitive.bind(*(jnp.asarray(a.value) for a in args), **equation.params)
    values = values if equation.primitive.multiple_results else [values]
    return [Known(np.asarray(v), all(a.fixed for a in args)) for v in values]


def needed(events: Sequence[Event], outputs: Sequence[str]) -> list[Event]:
    """Those events that the outputs depend on."""
    wanted = {name for text in outputs for name in _NAME.findall(text)}
    kept: list[Event] = []
    for event in reversed(events):
        if event.name in wanted:
            kept.append(event)
            text = event.operand if isinstance(event, Product) else event.text
            wanted |= set(_NAME.findall(text))
    return kept[::-1]


def used(event: Event) -> set[str]:
    """Names that an event reads."""
    return set(_NAME.findall(event.operand if isinstance(event, Product) else event.text))


# Rules of primitives that are neither elementwise nor a matter of places: (walk, params, args) to
# an array of names.


def _product(walk: Walk, params: Any, args: list[Any]) -> np.ndarray:
    operand = walk.names(args[0]).text.item()
    name = f"t{len(walk._known) + sum(isinstance(e, Product) for e in walk.events)}"
    walk.events.append(Product(name, operand))
    return np.array(name, dtype=object)


def _normal(walk: Walk, params: Any, args: list[Any]) -> np.ndarray:
    number = walk.names(args[1]).text.item()
    source = params["source"]
    text = f"ng_normal(key{source}_0, key{source}_1, (unsigned){number}, (unsigned)j)"
    return np.array(walk.write("real", text), dtype=object)


def _stimulus(walk: Walk, params: Any, args: list[Any]) -> np.ndarray:
    return np.array(walk.write("real", f"STIMULUS({params['moment']})"), dtype=object)


def _dot(walk: Walk, params: Any, args: list[Any]) -> np.ndarray:
    (left_sum, right_sum), (left_batch, right_batch) = params["dimension_numbers"]
    a, b = (walk.names(x) for x in args)
    for side, axes in ((a, left_sum), (b, right_sum)):
        if wide(tuple(side.shape[k] for k in axes)):
            raise CannotFuse("The step adds up regions, or runs, without its graph.")
    left, right = (
        np.transpose(
            side.text,
            (*batch, *(k for k in range(side.text.ndim) if k not in (*batch, *sums)), *sums),
        ).reshape(
            (
                [side.text.shape[k] for k in batch].__len__()
                and int(np.prod([side.text.shape[k] for k in batch]))
            )
            or 1,
            -1,
            int(np.prod([side.text.shape[k] for k in sums])),
        )
        for side, batch, sums in ((a, left_batch, left_sum), (b, right_batch, right_sum))
    )
    result = np.empty((left.shape[0], left.shape[1], right.shape[1]), dtype=object)
    for n, i, k in np.ndindex(result.shape):
        terms = [walk.times(x, y) for x, y in zip(left[n, i], right[n, k], strict=True)]
        result[n, i, k] = walk.total(terms)
    return result


def _reduction(join: Callable[[Walk, list[str]], str]) -> Callable[..., np.ndarray]:
    def rule(walk: Walk, params: Any, args: list[Any]) -> np.ndarray:
        array = walk.names(args[0])
        axes = tuple(params["axes"])
        if wide(tuple(array.shape[k] for k in axes)):
            raise CannotFuse("The step joins values of regions, or of runs, without its graph.")
        moved = np.moveaxis(array.text, axes, range(len(axes)))
        rows = moved.reshape(-1, *moved.shape[len(axes) :])
        result = np.empty(rows.shape[1:], dtype=object)
        for place in np.ndindex(result.shape):
            kind = primitives.TYPES[str(array.dtype)]
            result[place] = join(walk, [*rows[(slice(None), *place)]], kind)
        return result

    return rule


def _joined(name: str) -> Callable[..., str]:
    def join(walk: Walk, terms: list[str], kind: str) -> str:
        result = terms[0]
        for term in terms[1:]:
            dtype = np.dtype("float64" if kind == "real" else "int32")
            text = primitives.expression(name, {}, [result, term], [dtype, dtype])
            assert text is not None
            result = walk.write(kind, text)
        return result

    return join


def _sum(walk: Walk, terms: list[str], kind: str) -> str:
    return walk.total(terms, kind=kind)


def _index(walk: Walk, value: Any, most: int) -> Any:
    """An index that may be known, between 0 and `most`."""
    if isinstance(value, Known):
        return int(np.clip(value.value.item(), 0, most))
    text = walk.names(value).text.item()
    return walk.write("int", f"({text} < 0 ? 0 : {text} > {most} ? {most} : (int){text})")


def _dynamic_slice(walk: Walk, params: Any, args: list[Any]) -> np.ndarray:
    array, indices = walk.names(args[0]), args[1:]
    text = array.text
    for axis, (index, size) in enumerate(zip(indices, params["slice_sizes"], strict=True)):
        full = array.shape[axis]
        if size == full:
            continue
        if wide((full,)):
            raise CannotFuse("The step takes some regions, or runs, out of all.")
        at = _index(walk, index, full - size)
        choices = [np.take(text, range(k, k + size), axis) for k in range(full - size + 1)]
        text = choices[at] if isinstance(at, int) else _chosen(walk, at, choices, array.dtype)
    return text


def _chosen(walk: Walk, at: str, choices: list[np.ndarray], dtype: Any) -> np.ndarray:
    """One of several arrays by an index."""
    kind = primitives.TYPES[str(dtype)]
    result = np.empty(choices[0].shape, dtype=object)
    for place in np.ndindex(result.shape):
        texts = [choice[place] for choice in choices]
        numbers = [walk._values.get(text) for text in texts]
        if kind == "real" and all(number is not None for number in numbers):
            start = len(walk.uniforms)  # a table
            walk.uniforms.extend(numbers)  # type: ignore[arg-type]
            result[place] = walk.write(kind, f"U[{start} + {at}]")
            continue
        chosen = texts[0]
        for k, text in enumerate(texts[1:], 1):
            chosen = walk.write(kind, f"({at} == {k} ? {text} : {chosen})")
        result[place] = chosen
    return result


def _dynamic_update(walk: Walk, params: Any, args: list[Any]) -> np.ndarray:
    array, update, indices = walk.names(args[0]), walk.names(args[1]), args[2:]
    moving = [k for k in range(array.text.ndim) if array.shape[k] != update.shape[k]]
    if len(moving) > 1 or wide(tuple(array.shape[k] for k in moving)):
        raise CannotFuse("The step writes a block into several axes of an array.")
    if not moving:
        return update.text
    (axis,) = moving
    size, full = update.shape[axis], array.shape[axis]
    at = _index(walk, indices[axis], full - size)
    return _written(walk, array, update.text, axis, size, at, lambda old, new: new)


def _written(
    walk: Walk, array: Names, update: np.ndarray, axis: int, size: int, at: Any, join: Any
) -> np.ndarray:
    """An array with a block of it replaced, from an index on that may be known."""
    kind = primitives.TYPES[str(array.dtype)]
    text = np.moveaxis(array.text, axis, 0).copy()
    new = np.moveaxis(np.broadcast_to(update, [size if k == axis else d
                                               for k, d in enumerate(array.text.shape)]), axis, 0)  # fmt: skip
    for k in range(text.shape[0]):
        for part in range(size):
            for place in np.ndindex(text.shape[1:]):
                old, value = text[(k, *place)], new[(part, *place)]
                if isinstance(at, int):
                    if k == at + part:
                        text[(k, *place)] = join(old, value)
                elif 0 <= k - part <= text.shape[0] - size:
                    chosen = f"({at} == {k - part} ? {join(old, value)} : {old})"
                    text[(k, *place)] = walk.write(kind, chosen)
    return np.moveaxis(text, 0, axis)


def _scattered(add: bool) -> Callable[..., np.ndarray]:
    """Of `array.at[index].set(…)` and `.add(…)`, with one index of the first axis."""

    def rule(walk: Walk, params: Any, args: list[Any]) -> np.ndarray:
        array, index, update = walk.names(args[0]), args[1], walk.names(args[2])
        numbers = params["dimension_numbers"]
        simple = (
            tuple(numbers.inserted_window_dims) == (0,)
            and tuple(numbers.scatter_dims_to_operand_dims) == (0,)
            and not numbers.operand_batching_dims
            and tuple(numbers.update_window_dims) == tuple(range(array.text.ndim - 1))
        )
        if not simple or wide(array.shape[:1]):
            raise CannotFuse("The step writes into an array at several indices.")
        if isinstance(index, Known):
            at: Any = int(index.value.item())
        else:
            at = walk.names(index).text.item()
        kind = primitives.TYPES[str(array.dtype)]

        def join(old: str, new: str) -> str:
            return walk.total([old, new], kind=kind) if add else new

        return _written(walk, array, update.text[None], 0, 1, at, join)

    return rule


_SPECIAL: dict[str, Callable[..., np.ndarray]] = {
    "ngnmm_product": _product,
    "ngnmm_normal": _normal,
    "ngnmm_stimulus": _stimulus,
    "dot_general": _dot,
    "reduce_sum": _reduction(_sum),
    "reduce_max": _reduction(_joined("max")),
    "reduce_min": _reduction(_joined("min")),
    "reduce_and": _reduction(_joined("and")),
    "reduce_or": _reduction(_joined("or")),
    "reduce_prod": _reduction(_joined("mul")),
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update,
    "scatter": _scattered(add=False),
    "scatter-add": _scattered(add=True),
    "scatter_add": _scattered(add=True),
}
