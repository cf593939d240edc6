"""What analyses return: one style of record, with a status, what it took, and a short picture."""

import dataclasses
import html
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.status import Status

# Longer texts are cut where a result is shown in a line.
_WIDTH = 60


class AbstractResult(eqx.Module):
    """A result: an Equinox module, so that it passes through `jit`, `vmap` and into files.

    - `status`: how it ended (`Status`), one number or one for each run or point.
    - `stats`: what it took and how well it is known, by name; empty where there is nothing to say.
    - `ok`: whether all of it ended well.
    """

    if TYPE_CHECKING:  # what a field or a property may stand for

        @property
        def status(self) -> Any: ...

        @property
        def stats(self) -> dict[str, Any]: ...

    else:
        status: eqx.AbstractVar[Any]
        stats: eqx.AbstractVar[dict[str, Any]]

    @property
    def ok(self) -> Any:
        """Whether all of it ended well: a truth value; while JAX traces it, an array of one."""
        if _checks.is_concrete(self.status):
            return bool((np.asarray(self.status) == Status.OK).all())
        return (jnp.asarray(self.status) == Status.OK).all()

    def summary(self) -> dict[str, Any]:
        """What is shown of it, by name: numbers, texts, arrays (of which shape and range)."""
        names = (field.name for field in dataclasses.fields(self))
        return {name: getattr(self, name) for name in names if name not in ("status", "stats")}

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__}: {ended(self.status)}"]
        rows = {**self.summary(), **self.stats}
        wide = max(map(len, rows), default=0)
        lines += [f"  {name:<{wide}}  {shown(value)}" for name, value in rows.items()]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(shown(value))}</td></tr>"
            for name, value in {**self.summary(), **self.stats}.items()
        )
        head = f"{html.escape(type(self).__name__)}: {html.escape(ended(self.status))}"
        return f"<table><caption>{head}</caption>{rows}</table>"


def ended(status: Any) -> str:
    """In words: the status, or how many there are of each."""
    if not _checks.is_concrete(status):
        return "traced"
    codes = np.asarray(status)
    if codes.ndim == 0:
        return Status(int(codes)).name
    found, numbers = np.unique(codes, return_counts=True)
    if not found.size:
        return "empty"
    counts = [f"{n} {Status(int(code)).name}" for code, n in zip(found, numbers, strict=True)]
    return f"{', '.join(counts)} of {codes.size}" if found.size > 1 else f"all {counts[0]}"


def shown(value: Any) -> str:
    """A value in one short line: of an array its shape and its range."""
    if isinstance(value, jax.core.Tracer):
        return f"traced {value.shape}"
    if isinstance(value, np.ndarray | np.generic | jax.Array | float | int) and not isinstance(
        value, bool
    ):
        return _numbers(np.asarray(value))
    if isinstance(value, dict):
        text = ", ".join(f"{name} {shown(entry)}" for name, entry in value.items())
    elif isinstance(value, eqx.Module) and not isinstance(value, AbstractResult):
        text = type(value).__name__
    else:
        text = repr(value).split("\n", 1)[0] if not isinstance(value, str) else value
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"


def _numbers(array: np.ndarray) -> str:
    if array.ndim == 0:
        return f"{array[()]:.6g}" if array.dtype.kind in "fc" else str(array[()])
    shape = " × ".join(map(str, array.shape))
    if not array.size or array.dtype.kind not in "iuf":
        return f"{shape} {array.dtype}"
    known = array[np.isfinite(array)]
    lost = array.size - known.size
    span = f"{known.min():.4g} … {known.max():.4g}" if known.size else "nothing finite"
    return f"{shape}: {span}" + (f", {lost} not finite" if lost and known.size else "")
