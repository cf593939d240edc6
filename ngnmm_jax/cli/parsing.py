"""Text of the command line as values: NAME=VALUE, NAME=LOW:HIGH:COUNT, module:name."""

import importlib
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from ngnmm_jax._core.messages import fail


def _pairs(option: str, form: str, given: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Name, value and the whole text of each; a name that stands twice is refused."""
    seen = set()
    for text in given:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            fail(option, f"be {form}", f"it is {text!r}")
        if name in seen:
            fail(option, f"name {name!r} once", "it does so twice")
        seen.add(name)
        yield name, value, text


def _numbers(option: str, form: str, given: Iterable[str]) -> dict[str, list[float]]:
    found = {}
    for name, value, text in _pairs(option, form, given):
        parts = value.split(":")
        try:
            found[name] = [float(part) for part in parts]
        except ValueError:
            parts = []
        if len(parts) != len(form.split(":")):
            fail(option, f"be {form}", f"it is {text!r}")
    return found


def axes(given: list[str]) -> dict[str, list[float]]:
    """`NAME=LOW:HIGH:COUNT`, as given to --vary for a grid."""
    return _numbers("--vary", "NAME=LOW:HIGH:COUNT", given)


def bounds(given: list[str]) -> dict[str, list[float]]:
    """`NAME=LOW:HIGH`, as given to --vary where ends are enough."""
    return _numbers("--vary", "NAME=LOW:HIGH", given)


def words(given: list[str]) -> dict[str, Any]:
    """Text and truth values out of NAME=VALUE, as given to --reading."""
    return {
        name: {"true": True, "false": False, "\\t": "\t"}.get(value.lower(), value)
        for name, value, _ in _pairs("--reading", "NAME=VALUE", given)
    }


def assignments(given: list[str]) -> dict[str, float | list[float]]:
    """`NAME=VALUE` as given to --set; a comma-separated value is one number per region."""
    form = "NAME=VALUE with a number"
    values: dict[str, float | list[float]] = {}
    for name, value, text in _pairs("--set", form, given):
        try:
            numbers = [float(part) for part in value.split(",")]
        except ValueError:
            numbers = []
        if not numbers:
            fail("--set", f"be {form}", f"it is {text!r}")
        values[name] = numbers if len(numbers) > 1 else numbers[0]
    return values


def places(given: list[str]) -> dict[str, float | str]:
    """`NAME=VALUE`, numbers or words, as given to --at."""
    found: dict[str, float | str] = {}
    for name, value, _ in _pairs("--at", "NAME=VALUE", given):
        try:
            found[name] = float(value)
        except ValueError:
            found[name] = value
    return found


# Whether this process may run code of files that settings name.
_ALLOWED: list[bool] = [False]


def allow_code(allowed: bool) -> None:
    """Whether settings may name models and measures of one's own, whose files are imported."""
    _ALLOWED[0] = allowed


def imported(place: str, argument: str) -> Any:
    """What `module:name` names: of a module that Python finds, or beside the command."""
    if not _ALLOWED[0]:
        fail(argument, "be allowed to run code",
               f"{place!r} is not: give --allow-code if you trust that file")  # fmt: skip
    module, _, name = place.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        home = importlib.import_module(module)
        found = getattr(home, name)
    except Exception as error:  # whatever the module does
        raise ValueError(
            f"Argument `{argument}` must name something that can be imported, but {place!r} "
            f"does not: {type(error).__name__}: {error}."
        ) from None
    from ngnmm_jax.cli.output import say

    say(f"{argument}: {name} of {getattr(home, '__file__', module)}")
    return found
