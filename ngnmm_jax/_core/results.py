"""What analyses return: one style of record, with a status, what it took, and a short picture."""

import contextlib
import dataclasses
import importlib
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.cards import is_array
from ngnmm_jax._core.pictured import Pictured
from ngnmm_jax._core.pictures import thumbnail
from ngnmm_jax._core.status import Status

# Fields that say nothing in a summary of all.
_ASIDE = ("status", "stats", "notation")


class AbstractResult(Pictured):
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
        return (as_array(self.status) == Status.OK).all()

    @property
    def drawn_by(self) -> str | None:
        """The function of `ngnmm_jax.plot` that draws such a result, by name, or None."""
        return None

    def plot(self, **options: Any) -> Any:
        """Its figure: axes, or a figure, of the function of `ngnmm_jax.plot` that `drawn_by` names.

        Of both `.figure` is the figure: `result.plot().figure.savefig("it.png")`.

        `options` are that function's. `TypeError` where no function draws such results.
        """
        if self.drawn_by is None:
            kind = type(self).__name__
            raise TypeError(
                f"No figure is known of a `{kind}`; `ngnmm_jax.plot` lists all figures."
            )
        # By name, since figures stand above all that they draw.
        draw = getattr(importlib.import_module("ngnmm_jax.plot"), self.drawn_by)
        with contextlib.nullcontext() if self.ok else _quietly():
            drawn = draw(self, **options)
        if np.ndim(self.status) == 0 and not self.ok:
            figure = getattr(drawn, "figure", drawn)
            figure.text(0.005, 0.005, ended(self.status), color="#c1272d", fontsize="small")
        return drawn

    def picture(self) -> str:
        """Its figure in small, where a function draws it as it is."""
        drawn = self.drawn_by is not None and _checks.is_concrete(self)
        return thumbnail(self.plot) if drawn else ""

    def summary(self) -> dict[str, Any]:
        """What is shown of it, by name: numbers, texts, arrays (of which shape and range).

        By default its fields. It is asked only where these hold values: not while JAX traces them.
        """
        names = (field.name for field in dataclasses.fields(self))
        return {name: getattr(self, name) for name in names if name not in _ASIDE}

    def card(self) -> tuple[str, dict[str, Any]]:
        """Its class and how it ended; its summary, then what it took."""
        name, leaves = type(self).__name__, jax.tree.leaves(self)
        if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            return f"{name}: traced", AbstractResult.summary(self)
        if not any(is_array(leaf) or type(leaf) in (int, float) for leaf in leaves):
            return f"{name}: without values", AbstractResult.summary(self)
        return f"{name}: {ended(self.status)}", {**self.summary(), **self.stats}


def looked_at(function: Any, *arrays: Any) -> Any:
    """`function(xp, *arrays)`, an array: where values are known by NumPy, without a program."""
    if not _checks.on_host(arrays):
        return function(jnp, *arrays)
    with np.errstate(all="ignore"):
        return as_array(function(np, *map(np.asarray, arrays)))


@jax.jit
def nth(arrays: Any, number: Any) -> Any:
    """An entry of each array's leading axis, of a PyTree of them, by one program."""
    return jax.tree.map(lambda array: array[number], arrays)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without NumPy's warnings of what is not finite, which the status says."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def ended(status: Any) -> str:
    """In words: the status, or how many there are of each."""
    codes = np.asarray(status)
    if codes.ndim == 0:
        return _name(codes[()])
    found, numbers = np.unique(codes, return_counts=True)
    if not found.size:
        return "empty"
    counts = [f"{n} {_name(code)}" for code, n in zip(found, numbers, strict=True)]
    return f"{', '.join(counts)} of {codes.size}" if found.size > 1 else f"all {counts[0]}"


def _name(code: Any) -> str:
    return Status(int(code)).name if int(code) in list(Status) else f"status {code}"
