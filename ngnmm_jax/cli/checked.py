"""Settings with types and ranges: what is wrong is said in one line that names it."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, ClassVar, NoReturn, Self

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ngnmm_jax._core.messages import fail, one_of

#: What a number may be.
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Checked(BaseModel):
    """A table of settings; unknown names, other types and values out of range are refused."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, arbitrary_types_allowed=True
    )

    @classmethod
    def of(cls, values: Any, where: str) -> Self:
        """The settings of a table, or an error that names what is wrong with it."""
        if not isinstance(values, dict):
            fail(where, "be a table", f"it is {values!r}")
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
        _say(first, cls, where)


@contextlib.contextmanager
def called(here: str, there: str) -> Iterator[None]:
    """What the library says of its argument `there` is said of the setting `here`."""
    try:
        yield
    except ValueError as error:
        raise ValueError(str(error).replace(f"Argument `{there}`", f"Argument `{here}`")) from None


def _axis(value: list[float]) -> list[float]:
    must = "must be an axis, LOW:HIGH:COUNT (in files [low, high, count])"
    if len(value) != 3:
        raise ValueError(must)
    low, high, count = value
    if count != int(count) or count < 1:
        raise ValueError(f"{must}, of one point or more")
    if low > high or (low == high and count > 1):
        raise ValueError(f"{must}, that rises")
    return value


def _bounds(value: list[float]) -> list[float]:
    if len(value) != 2 or not value[0] < value[1]:
        raise ValueError("must have bounds [low, high]")
    return value


#: Low, high, count; low, high.
Axis = Annotated[list[float], AfterValidator(_axis)]
Bounds = Annotated[list[float], AfterValidator(_bounds)]


def points(axis: list[float]) -> np.ndarray:
    """The values (value,) of an axis."""
    low, high, count = axis
    return np.linspace(low, high, int(count))


_MUST = {
    "float_type": "be a number",
    "float_parsing": "be a number",
    "int_type": "be a whole number",
    "int_from_float": "be a whole number",
    "bool_type": "be true or false",
    "string_type": "be text",
    "list_type": "be a list",
    "dict_type": "be a table",
    "model_type": "be a table",
    "finite_number": "be finite",
    "missing": "be given",
    "too_short": "have more entries",
    "too_long": "have fewer entries",
}
_RANGES = {
    "greater_than": ("gt", "be greater than {}"),
    "greater_than_equal": ("ge", "be at least {}"),
    "less_than": ("lt", "be less than {}"),
    "less_than_equal": ("le", "be at most {}"),
}


def _say(error: Any, model: type[BaseModel], where: str) -> NoReturn:
    """An error of pydantic's, as all checks of this library say it."""
    place = [str(part) for part in error["loc"] if not isinstance(part, int)]
    place = [part for part in place if part in model.model_fields or not _inner(part)]
    name = ".".join(place) or where
    kind, context, given = error["type"], error.get("ctx", {}), error.get("input")
    if kind == "extra_forbidden":
        one_of(".".join(place[:-1]) or where, place[-1], _fields(model, place[:-1]))
    if kind == "literal_error":
        allowed = context["expected"].replace(" or ", ",").split(",")
        one_of(name, given, [part.strip(" '") for part in allowed])
    if kind == "value_error":
        must = str(context["error"]).removeprefix("must ")
        if must.startswith("Argument"):  # says all already
            raise context["error"]
    elif kind in _RANGES:
        key, form = _RANGES[kind]
        must = form.format(context[key])
    else:
        must = _MUST.get(kind, error["msg"].lower())
    fail(name, must, "it is not" if kind == "missing" else f"it is {given!r}")


def _inner(part: str) -> bool:
    """Whether a part of a place is one of pydantic's own (which type of several)."""
    own = ("float", "int", "str", "bool", "list", "dict", "none")
    return part in own or "[" in part or part.startswith("constrained-")


def _fields(model: Any, place: Iterable[str]) -> list[str]:
    """The names of the table at a place."""
    for part in place:
        inner = model.model_fields[part].annotation
        model = next((c for c in (inner, *getattr(inner, "__args__", ())) if _is_table(c)), model)
    return list(model.model_fields)


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
