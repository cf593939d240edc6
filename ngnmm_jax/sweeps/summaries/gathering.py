"""Several summaries of the same run: what they need is gathered once."""

import dataclasses
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.definition import described
from ngnmm_jax._core.programs import body, program
from ngnmm_jax.sweeps.summaries.base import (
    AbstractStatistic,
    AbstractSummary,
    Layout,
    Needed,
    Run,
    Window,
    alike,
    is_array,
)


@dataclasses.dataclass(frozen=True)
class Gathering:
    """Statistics that are gathered together, each of them once.

    - `parts`: all statistics, each after those it needs.
    - `needed`: for each of them, where those are in `parts`.
    - `kept`: where the summaries are that were asked for.

    Made by `of`. It is a static argument where it holds no arrays: see `split`.
    """

    parts: tuple[AbstractStatistic, ...]
    needed: tuple[tuple[int, ...], ...]
    kept: tuple[int, ...]

    @classmethod
    def of(cls, summaries: Sequence[AbstractSummary]) -> "Gathering":
        """Of these summaries, and of all that they need."""
        parts: list[AbstractStatistic] = []
        needed: list[tuple[int, ...]] = []

        def place(part: AbstractStatistic) -> int:
            _checks.hashable("keep", eqx.partition(part, is_array)[1])
            for k, known in enumerate(parts):
                if _same(known, part):
                    return k
            needs = tuple(dict.fromkeys(place(need) for need in part.needs()))
            for k, a in enumerate(needs):
                if any(alike(parts[a], parts[b]) for b in needs[:k]):
                    must = f"need statistics that can be told apart in {type(part).__name__}"
                    but = (
                        f"two {type(parts[a]).__name__} differ in the numbers of their arrays only"
                    )
                    _checks.fail("keep", must, but)
            parts.append(part)
            needed.append(needs)
            return len(parts) - 1

        kept = tuple(place(summary) for summary in summaries)
        return cls(tuple(parts), tuple(needed), kept)

    def split(self, dtype: Any) -> tuple["Gathering", Any]:
        """What is static, and all arrays; those of numbers with a fraction in that precision."""
        arrays, static = eqx.partition(self.parts, is_array)

        def cast(leaf: Any) -> jax.Array:
            inexact = jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)
            return as_array(leaf, dtype if inexact else None)

        return dataclasses.replace(self, parts=static), jax.tree.map(cast, arrays)

    def joined(self, arrays: Any) -> "Gathering":
        """With the arrays again."""
        return dataclasses.replace(self, parts=eqx.combine(arrays, self.parts))

    @property
    def summaries(self) -> tuple[Any, ...]:
        """Those that were asked for."""
        return tuple(self.parts[k] for k in self.kept)

    def start(self, zero: jax.Array, layout: Layout) -> tuple[Any, ...]:
        """Totals before the first window, of samples like `zero` (signal, region, run)."""
        return tuple(part.start(zero, layout) for part in self.parts)

    def add(
        self, totals: tuple[Any, ...], values: jax.Array, number: jax.Array, layout: Layout
    ) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Totals with a window's values (sample, signal, region, run), and what it emits."""
        added, emitted = [], []
        for part, total, needs in self._with_needs(totals):
            window = Window(values, number, layout, needs)
            total = part.add(total, window)
            added.append(total)
            emitted.append(part.emit(total, window))
        return tuple(added), tuple(emitted)

    def values(
        self, totals: tuple[Any, ...], emitted: tuple[Any, ...], layout: Layout
    ) -> tuple[list[jax.Array], list[jax.Array]]:
        """The summaries' values, and which runs (run,) have one, of all that say so."""
        found: list[Any] = []
        for part, total, mine, places in zip(self.parts, totals, emitted, self.needed, strict=True):
            needs = Needed(tuple((self.parts[k], found[k]) for k in places))
            found.append(part.value(total, Run(layout, mine, needs)))
        sound = (part.sound(value) for part, value in zip(self.parts, found, strict=True))
        return [found[k] for k in self.kept], [where for where in sound if where is not None]

    def _with_needs(self, totals: tuple[Any, ...]) -> Iterator[tuple[Any, Any, Needed]]:
        for part, total, places in zip(self.parts, totals, self.needed, strict=True):
            yield part, total, Needed(tuple((self.parts[k], totals[k]) for k in places))

    def shapes(self, like: jax.ShapeDtypeStruct, layout: Layout) -> tuple[Any, Any, list[Any]]:
        """Shapes of the totals, of what a window emits, and of the summaries' values.

        `like`: a sample (signal, region, run).
        """
        static, arrays = self.split(like.dtype)
        leaves, structure = jax.tree.flatten(jax.eval_shape(lambda: arrays))
        return _shapes(static, static.written, structure, tuple(leaves), like, layout)

    def definition(self, like: jax.ShapeDtypeStruct, layout: Layout) -> dict[str, Any]:
        """What decides the summaries' numbers: their options, and what they do, as a program."""
        options = [
            {"name": s.name, "class": type(s).__qualname__, **described(s)} for s in self.summaries
        ]
        keys = tuple(getattr(s, "key", None) for s in self.summaries)
        text = program(
            partial(self._first_window, layout=layout),
            *(self.split(like.dtype)[1], like, _window_like(like, layout)),
            key=None if not any(keys) else keys,
            where="as the summary's field `key`",
        )
        return {"summaries": options, "gathered": text, "summary_classes": self.written}

    @property
    def written(self) -> tuple[str, ...]:
        """The code of classes that are none of the library's, "" for its own."""
        return tuple(body(part) for part in classes(self.parts))

    def _first_window(self, arrays: Any, zero: Any, values: Any, *, layout: Layout) -> Any:
        """All that happens to a run that is as if each window were the first."""
        gathering = self.joined(arrays)
        before = gathering.start(zero, layout)
        totals, emitted = gathering.add(before, values, jnp.zeros((), int), layout)
        for part, one, other in zip(gathering.parts, before, totals, strict=True):
            _check_total(part, one, other)
        every = jax.tree.map(lambda x: jnp.broadcast_to(x, (layout.windows, *x.shape)), emitted)
        return totals, emitted, *gathering.values(totals, every, layout)


def _check_total(part: AbstractStatistic, before: Any, after: Any) -> None:
    """Refuse totals that a window makes something else of: they go round a loop."""

    def shown(total: Any) -> str:
        leaves, structure = jax.tree.flatten(total)
        kinds = [f"{jnp.result_type(leaf)}{list(jnp.shape(leaf))}" for leaf in leaves]
        return ", ".join(kinds) if len(kinds) == 1 else f"{kinds} in {structure}"

    if shown(before) != shown(after):
        must = f"have totals of one shape and type in {type(part).__name__}"
        _checks.fail("keep", must, f"`add` makes {shown(after)} of {shown(before)}")


def _window_like(like: jax.ShapeDtypeStruct, layout: Layout) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((layout.window, *like.shape), like.dtype)


@lru_cache(maxsize=32)
def _shapes(
    gathering: Gathering,
    written: tuple[str, ...],  # as it is now: a class may be changed
    structure: Any,
    leaves: tuple[jax.ShapeDtypeStruct, ...],
    like: jax.ShapeDtypeStruct,
    layout: Layout,
) -> tuple[Any, Any, list[Any]]:
    arrays = jax.tree.unflatten(structure, leaves)
    function = partial(gathering._first_window, layout=layout)
    totals, emitted, values, _ = jax.eval_shape(function, arrays, like, _window_like(like, layout))
    return totals, emitted, values


def _same(one: AbstractStatistic, other: AbstractStatistic) -> bool:
    """Whether two statistics are of one class and have the same options."""
    return alike(one, other) and all(
        a is b or (type(a) is type(b) and np.array_equal(a, b))
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    )


def classes(value: Any) -> Iterator[type]:
    """The classes of modules, and of modules in them."""
    if isinstance(value, eqx.Module):
        yield type(value)
        value = vars(value)
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        for part in value:
            yield from classes(part)
