"""Published values of the library's models, beside those that it gives.

    python -m benchmarks.published                  # the table, of all models
    python -m benchmarks.published qif_adaptation   # of some
    python -m benchmarks.history run published      # and keep it in the history

A file for each model holds `VALUES`: what somebody published, or what follows exactly from the
equations, or what an independent program gives; the source says which. Ours are computed with the
public interface alone.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax

jax.config.update("jax_enable_x64", True)


class Published(NamedTuple):
    """One value, and how it is computed here.

    - `model`, `quantity`: whose, and what of it, with the parameters that matter.
    - `source`: where the value is from.
    - `value`, `within`: it, and how far from it ours may be: what its digits leave open.
    - `ours`: computes it.
    """

    model: str
    quantity: str
    source: str
    value: float
    within: float
    ours: Callable[[], float]


def files() -> tuple[str, ...]:
    """The names of the files of values."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(name for name in found if not name.startswith("_"))


def values(names: Iterable[str] = ()) -> tuple[Published, ...]:
    """Those of some files, or of all."""
    modules = (importlib.import_module(f"{__name__}.{name}") for name in names or files())
    return tuple(value for module in modules for value in module.VALUES)
