"""Public names of a package that are imported when they are first asked for."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def from_homes(package: str, homes: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """A package's `__getattr__`: names come from its modules in `homes`, modules by themselves.

    What is not used then costs nothing: figures of a sweep, for one, need no JAX.
    """
    home = {name: module for module, names in homes.items() for name in names}

    def get(name: str) -> Any:
        if name in home:
            value = getattr(importlib.import_module(f"{package}.{home[name]}"), name)
            vars(sys.modules[package])[name] = value
            return value
        room = f"{package}.{name}"
        if not name.startswith("__") and importlib.util.find_spec(room) is not None:
            return importlib.import_module(room)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get
