"""Modules that are shown as cards, and several of a kind."""

from collections import Counter
from typing import Any

import equinox as eqx
import jax

from ngnmm_jax._core.cards import WIDTH, Card, cut
from ngnmm_jax._core.pictures import card_html


class Pictured(Card, eqx.Module):
    """A module that is shown as a card."""


class Listed(tuple[Any, ...]):
    """A few of a kind, in their order: a tuple that is shown with a line for each."""

    __slots__ = ()

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        return Listed(found) if isinstance(place, slice) else found

    def __repr__(self) -> str:
        return "\n".join([self._head(), *(f"  {k}  {line}" for k, line in self._lines())])

    def _repr_html_(self) -> str:
        return card_html(self._head(), dict(self._lines()))

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """IPython's: a line for each, not a tuple's parentheses."""
        del cycle
        printer.text(repr(self) if len(printer.stack) == 1 else self._head())

    def _head(self) -> str:
        kinds = Counter(type(value).__name__ for value in self)
        return ", ".join(f"{number} × {kind}" for kind, number in kinds.items()) or "none"

    def _lines(self) -> list[tuple[str, str]]:
        wide = len(str(len(self) - 1))
        return [(f"{k:>{wide}}", _in_a_line(value)) for k, value in enumerate(self)]


jax.tree_util.register_pytree_node(
    Listed, lambda some: (tuple(some), None), lambda _, some: Listed(some)
)


def _in_a_line(value: Any) -> str:
    return (
        value._repr_line_()
        if isinstance(value, Card)
        else cut(repr(value).split("\n", 1)[0], WIDTH)
    )
