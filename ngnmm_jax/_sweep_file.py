"""The TOML file of `ngnmm sweep`: a network, a design, a measure."""

import dataclasses
import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ngnmm_jax import _checks
from ngnmm_jax._settings import Settings, read_tables
from ngnmm_jax.network import Homogeneous, Network
from ngnmm_jax.sweeps import AbstractMeasure, Activity, Design, Exponents, Function, Stability

_TABLES = ("design", "measure", "run")
_MEASURES: dict[str, Any] = {"activity": Activity, "stability": Stability, "exponents": Exponents}
_RUN = ("block", "width", "checks")


@dataclasses.dataclass(frozen=True)
class SweepFile:
    """What a file says, as `sweep` takes it."""

    network: Network | Homogeneous
    design: Design
    measure: AbstractMeasure
    options: dict[str, int]
    settings: Settings

    @classmethod
    def read(cls, path: Path) -> "SweepFile":
        """Read and check a file; relative paths are relative to where the command runs."""
        values, tables = read_tables(path, _TABLES, ("homogeneous",))
        homogeneous = values.pop("homogeneous", False)
        settings = Settings.merge(None, values)
        network = settings.build()
        for name, value in tables["run"].items():
            _checks.one_of("run", name, _RUN)
            if name != "checks":
                _checks.positive_integer(name, value)
        return cls(
            network.homogeneous() if homogeneous else network,
            _design(tables["design"]),
            _measure(tables["measure"]),
            tables["run"],
            settings,
        )


def _design(table: dict[str, Any]) -> Design:
    table = dict(table)
    kind = table.pop("kind", "grid")
    makers: dict[str, tuple[str, Callable[..., Design]]] = {
        "grid": ("axes", _grid),
        "list": ("values", Design.listed),
        "random": ("bounds", Design.random),
        "sobol": ("bounds", Design.sobol),
    }
    _checks.one_of("kind", kind, makers)
    key, make = makers[kind]
    what = table.pop(key, None)
    if not isinstance(what, dict):
        _checks.fail("design", f"have a table `{key}` of parameters", f"it has {what!r}")
    counted = ["count"] if kind in ("random", "sobol") else []
    if counted and "count" not in table:
        _checks.fail("design", "have a `count` of points", "it has none")
    allowed = ("replicates", "seed", *counted, *(["regions"] if kind == "random" else []))
    for name in table:
        _checks.one_of("design", name, (key, "kind", *allowed))
    return make(what, **table)


def _grid(axes: Mapping[str, Any], **options: Any) -> Design:
    """Axes as [low, high, count], or as a table with `values`."""
    values = {}
    for name, axis in axes.items():
        if isinstance(axis, dict) and set(axis) == {"values"}:
            values[name] = axis["values"]
            continue
        if not isinstance(axis, list) or len(axis) != 3 or not isinstance(axis[2], int):
            _checks.fail(name, "be [low, high, count] or { values = […] }", f"it is {axis!r}")
        low, high, count = axis
        _checks.positive_integer(name, count)
        values[name] = np.linspace(low, high, count)
    return Design.grid(values, **options)


def _measure(table: dict[str, Any]) -> AbstractMeasure:
    table = dict(table)
    kind = table.pop("kind", "activity")
    if isinstance(kind, str) and ":" in kind:
        return _function(kind, table)
    _checks.one_of("kind", kind, (*_MEASURES, "module:function"))
    made = _MEASURES[kind]
    names = [field.name for field in dataclasses.fields(made)]
    for name in table:
        _checks.one_of("measure", name, names)
    return made(**table)


def _function(kind: str, table: dict[str, Any]) -> Function:
    """A function of a module that Python finds, or that lies where the command runs."""
    module, _, name = kind.partition(":")
    for option in table:
        _checks.one_of("measure", option, ("traced", "dims", "units", "key"))
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        _checks.fail("kind", "name a function that can be imported", f"{kind!r}: {error}")
    dims = {key: tuple(value) for key, value in table.pop("dims", {}).items()}
    return Function(function, dims=dims, **table)
