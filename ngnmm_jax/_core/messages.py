"""The one form of error that all checks have, without JAX, which takes long to import."""

import difflib
from collections.abc import Iterable
from typing import Any, NoReturn


def fail(argument: str, must: str, but: str) -> NoReturn:
    """Raise the `ValueError` that all checks raise."""
    raise ValueError(f"Argument `{argument}` must {must}, but {but}.")


def one_of(argument: str, value: Any, allowed: Iterable[str]) -> None:
    """Refuse a name that is not in `allowed`, suggesting the nearest one."""
    names = list(allowed)
    if value not in names:
        near = difflib.get_close_matches(str(value), names, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        fail(argument, f"be one of {', '.join(map(repr, names))}", f"it is {value!r}{hint}")
