"""How a model's variables and parameters are written in figures, for results to carry along."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Notation:
    """What figures know of a model.

    - `written`: names, each with how it is written (TeX between dollars) and its unit.
    - `shown`: the quantity that figures show unless told otherwise.
    - `variables`: the names of its variables, in their order.
    - `time_unit`: that of its times, "1" where they have none.
    """

    written: tuple[tuple[str, str, str], ...] = ()
    shown: str = ""
    variables: tuple[str, ...] = ()
    time_unit: str = "1"

    def symbol(self, name: str) -> str:
        """How a name is written, without its unit; the name itself where it is not known."""
        return next((symbol for known, symbol, _ in self.written if known == name), name)

    def unit(self, name: str) -> str:
        """The unit of what has that name; "1" where it has none, or is not known."""
        return next((unit for known, _, unit in self.written if known == name), "1")


def notation_of(thing: Any) -> Notation:
    """That of a model, of its class, of a system's model, or which a result carries; else empty.

    Symbols are those of the class and of what it inherits from; units are those of `units`,
    `shown_unit` and `parameter`.
    """
    if isinstance(thing, Notation):
        return thing
    carried = getattr(thing, "notation", None)
    if isinstance(carried, Notation):
        return carried
    model = getattr(thing, "model", thing)
    kind: Any = model if isinstance(model, type) else type(model)
    if not hasattr(kind, "symbols"):
        return Notation()
    from ngnmm_jax._core.parameters import declared, declared_between

    symbols: dict[str, str] = {}
    for part in reversed(kind.__mro__):
        symbols |= part.__dict__.get("symbols", {})
    units = {kind.shown: kind.shown_unit, **dict(zip(kind.variables, kind.units, strict=True))}
    fields = {**declared_between(thing), **declared(kind)}
    units |= {name: field.metadata["unit"] for name, field in fields.items()}
    written = tuple((name, symbols.get(name, name), unit) for name, unit in units.items())
    return Notation(written, kind.shown, tuple(kind.variables), kind.time_unit)


def named(result: Any, system: Any) -> Any:
    """The same result, which carries how its system's variables and times are written."""
    from ngnmm_jax._core.parameters import with_fields

    return with_fields(result, notation=notation_of(system))
