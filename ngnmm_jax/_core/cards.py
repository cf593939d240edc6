"""What is shown of an object: a head and a few rows of names and values, as text and as HTML."""

import abc
import textwrap
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.pictures import card_html

# Columns of a line, lines of a row that is a text, and rows; what is more is cut.
_WIDTH, _LINES, _ROWS = 96, 4, 10
# Characters of what is no text and no number.
_SHORT = 60
#: A space at which no line is broken.
TIED = "\u00a0"
# Arrays of more numbers are not looked at.
_MANY = 10_000_000


class Pictured(eqx.Module):
    """What Python and notebooks show as a card: `card` says its head, and its rows by name."""

    @abc.abstractmethod
    def card(self) -> tuple[str, dict[str, Any]]:
        """A line, and what stands below it: texts, numbers, arrays (of which shape and range)."""

    def __repr__(self) -> str:
        head, rows = self.card()
        wide = max(map(len, rows), default=0)
        lines = [_cut(head, _WIDTH)]
        for name, value in list(rows.items())[:_ROWS]:
            lines += textwrap.wrap(
                shown(value),
                _WIDTH,
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

    def picture(self) -> str:
        """HTML to stand beside the card in notebooks, or nothing."""
        return ""


def shown(value: Any) -> str:
    """A value in short: a text as it is, of an array its shape and its range."""
    if isinstance(value, str):
        return value
    if isinstance(value, jax.core.Tracer):
        return f"traced {value.shape}"
    if is_array(value) or (isinstance(value, float | int) and not isinstance(value, bool)):
        return _numbers(value)
    if hasattr(value, "shape") and hasattr(value, "dtype"):  # the description of an array
        return f"{value.dtype} {value.shape}"
    if isinstance(value, dict):
        text = ", ".join(f"{name} {shown(entry)}" for name, entry in value.items())
    elif isinstance(value, eqx.Module) and not isinstance(value, Pictured):
        text = type(value).__name__
    else:
        text = repr(value).split("\n", 1)[0]
    return _cut(text, _SHORT)


def is_array(value: Any) -> bool:
    """Whether it holds numbers that are there: not traced, no description of an array."""
    return isinstance(value, np.ndarray | np.generic | jax.Array) and _checks.is_concrete(value)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _numbers(value: Any) -> str:
    kind: Any = getattr(value, "dtype", None)
    shape = " × ".join(map(str, np.shape(value)))
    if isinstance(value, jax.Array) and jnp.issubdtype(kind, jax.dtypes.extended):
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
