"""What is shown of an object: a head and a few rows of names and values, as text and as HTML.

Without JAX, whose import takes seconds: what is of it, or of Equinox, is known as such where they
have been imported.
"""

import abc
import dataclasses
import inspect
import sys
import textwrap
from typing import Any, TypeVar

import numpy as np

from ngnmm_jax._core.pictures import card_html

# Columns of a line, lines of a row that is a text, and rows; what is more is cut.
WIDTH, _LINES, _ROWS = 96, 4, 10
# Characters of what is no text and no number; and how many of several are shown.
_SHORT, _SOME = 60, 4
#: A space at which no line is broken.
TIED = "\u00a0"
# Arrays of more numbers are not looked at.
_MANY = 10_000_000
_Kind = TypeVar("_Kind")


class Card(abc.ABC):
    """What Python and notebooks show as a card: `card` says its head, and its rows by name."""

    @abc.abstractmethod
    def card(self) -> tuple[str, dict[str, Any]]:
        """A line, and what stands below it: texts, numbers, arrays (of which shape and range)."""

    def __repr__(self) -> str:
        head, rows = self.card()
        wide = max(map(len, rows), default=0)
        lines = [cut(head, WIDTH)]
        for name, value in list(rows.items())[:_ROWS]:
            lines += textwrap.wrap(
                shown(value),
                WIDTH,
                initial_indent=f"  {name:<{wide}}  ",
                subsequent_indent=" " * (wide + 4),
                max_lines=_LINES,
                placeholder=" …",
            ) or [f"  {name}"]
        if len(rows) > _ROWS:
            lines.append(f"  … and {len(rows) - _ROWS} more")
        return "\n".join(lines).replace(TIED, " ")

    def _repr_html_(self) -> str:
        head, rows = self.card()
        return card_html(head, {name: shown(value) for name, value in rows.items()}, self.picture())

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """IPython's: the card where it stands alone, a line among others."""
        del cycle
        printer.text(repr(self) if len(printer.stack) == 1 else self._repr_line_())

    def _repr_line_(self) -> str:
        """What is shown of it among others: its head, and of its rows what fits."""
        head, rows = self.card()
        named = [f"{name} {shown(value)}" for name, value in rows.items()]
        return cut("; ".join([head, *named]).replace(TIED, " "), WIDTH)

    def picture(self) -> str:
        """HTML to stand beside the card in notebooks, or nothing."""
        return ""


class Shown:
    """What is shown of an object that is made with a few values: these, in a line or a table.

    Those that are not as by default. A class may have a `__repr__` of its own, of one line.
    """

    def __repr__(self) -> str:
        usual = {field.name: _default(field) for field in _fields(self)}
        items = [(name, value) for name, value in _held(self) if not _same(value, usual.get(name))]
        values = ", ".join(f"{name}={_written(value)}" for name, value in items)
        return cut(f"{type(self).__name__}({values})", WIDTH)

    def _repr_html_(self) -> str:
        own = type(self).__repr__ is not Shown.__repr__
        head = repr(self) if own else type(self).__name__
        return card_html(head, {name: cut(_written(value), WIDTH) for name, value in _held(self)})


def shown_as_made(kind: type[_Kind]) -> type[_Kind]:
    """A named tuple that is shown as `Shown` is, of which it cannot be a child."""
    for name in ("__repr__", "_repr_html_"):
        setattr(kind, name, getattr(Shown, name))
    return kind


def _fields(owner: Any) -> tuple[Any, ...]:
    return dataclasses.fields(owner) if dataclasses.is_dataclass(owner) else ()


def _default(field: Any) -> Any:
    """A field's default; None where there is none, which says as little."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


def _held(owner: Any) -> list[tuple[str, Any]]:
    """Its values by name: of a record's fields, or of what it has."""
    names = [field.name for field in _fields(owner)] or getattr(owner, "_fields", None)
    names = [*vars(owner)] if names is None else names
    return [(name, getattr(owner, name)) for name in names if not name.startswith("_")]


def _same(value: Any, default: Any) -> bool:
    """Whether a value is the default, as far as that is known."""
    if is_array(value) or is_array(default):
        return False
    return value is default or (type(value) is type(default) and bool(value == default))


def _written(value: Any) -> str:
    """A value as in a call, in short."""
    if value is None or isinstance(value, str | bool | int | float | complex):
        return repr(value)
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        some = [_written(one) for one in value[:_SOME]] + ["…"] * (len(value) > _SOME)
        return f"[{', '.join(some)}]" if isinstance(value, list) else f"({', '.join(some)})"
    if isinstance(value, dict):
        some = [f"{key!r}: {_written(one)}" for key, one in list(value.items())[:_SOME]]
        return f"{{{', '.join(some + ['…'] * (len(value) > _SOME))}}}"
    if is_array(value) and np.ndim(value) and _kind(value) in "iufc":
        few = np.ndim(value) == 1 and value.size <= _SOME
        return f"[{', '.join(f'{x:.6g}' for x in np.asarray(value)) if few else shown(value)}]"
    if isinstance(value, type) or inspect.isroutine(value):
        return str(getattr(value, "__name__", value))
    return shown(value)


def shown(value: Any) -> str:
    """A value in short: a text as it is, of an array its shape and its range."""
    if isinstance(value, str):
        return value
    if _is_jax(value) and not is_array(value):
        return f"traced {value.shape}"
    if is_array(value) or (isinstance(value, float | int) and not isinstance(value, bool)):
        return _numbers(value)
    if hasattr(value, "shape") and hasattr(value, "dtype"):  # the description of an array
        return f"{value.dtype} {value.shape}"
    if isinstance(value, dict):
        text = ", ".join(f"{name} {shown(entry)}" for name, entry in value.items())
    elif _is_module(value) and not isinstance(value, Card | Shown):
        text = type(value).__name__
    else:
        text = repr(value).split("\n", 1)[0]
    return cut(text, _SHORT)


def is_array(value: Any) -> bool:
    """Whether it holds numbers that are there: not traced, no description of an array."""
    if not _is_jax(value):
        return isinstance(value, np.ndarray | np.generic)
    return not isinstance(value, sys.modules["jax"].core.Tracer)


def _is_jax(value: Any) -> bool:
    """Whether it is an array of JAX's, perhaps one that is traced."""
    return "jax" in sys.modules and isinstance(value, sys.modules["jax"].Array)


def _is_module(value: Any) -> bool:
    """Whether it is one of Equinox's."""
    return "equinox" in sys.modules and isinstance(value, sys.modules["equinox"].Module)


def _kind(array: Any) -> str:
    """Of its numbers, as NumPy has it; nothing where they are random keys."""
    return str(getattr(array.dtype, "kind", ""))


def cut(text: str, width: int) -> str:
    """A text, as far as there is room."""
    return text if len(text) <= width else text[: width - 1] + "…"


def _numbers(value: Any) -> str:
    kind: Any = getattr(value, "dtype", None)
    shape = " × ".join(map(str, np.shape(value)))
    if kind is not None and not _kind(value):
        return f"{shape} {kind}".strip()  # random keys
    if np.size(value) > _MANY:
        return f"{shape} {kind}"
    array = np.asarray(value)
    if array.ndim == 0:
        return f"{array[()]:.6g}" if array.dtype.kind in "fc" else str(array[()])
    if array.dtype.kind == "b":
        return f"{shape}: {array.sum()} of {array.size} true"
    if not array.size or array.dtype.kind not in "iuf":
        return f"{shape} {array.dtype}"
    known = array[np.isfinite(array)]
    lost = array.size - known.size
    span = f"{known.min():.4g} … {known.max():.4g}" if known.size else "nothing finite"
    return f"{shape}: {span}" + (f", {lost} not finite" if lost and known.size else "")
