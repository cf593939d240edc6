"""The TOML file of `ngnmm sweep`, as `sweep` takes it: a network, a design, a measure."""

import dataclasses
import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError

from ngnmm_jax.cli import parsing
from ngnmm_jax.cli.checked import Axis, Bounds, Checked, points, refuse, unknown
from ngnmm_jax.cli.estimates import memory
from ngnmm_jax.cli.settings.sweep import DesignTable, SweepSettings
from ngnmm_jax.sweeps import AbstractMeasure, Activity, Design, Exponents, Function, Stability

_MEASURES: dict[str, Any] = {"activity": Activity, "stability": Stability, "exponents": Exponents}


class _Values(Checked):
    """`{ values = […] }`."""

    values: list[float]


_STRICT = ConfigDict(strict=True, allow_inf_nan=False)
_AXIS, _ENDS = TypeAdapter(Axis, config=_STRICT), TypeAdapter(Bounds, config=_STRICT)


def _listed(value: Any) -> np.ndarray:
    return np.asarray(_Values.model_validate(value).values)


def _axis(value: Any) -> np.ndarray:
    if isinstance(value, dict):
        return _listed(value)
    axis = _AXIS.validate_python(value)
    if 8 * axis[2] > memory():
        raise ValueError("must have a count that fits into memory")
    return points(axis)


def _ends(value: Any) -> tuple[float, float]:
    low, high = _ENDS.validate_python(value)
    return low, high


@dataclasses.dataclass(frozen=True)
class _Kind:
    """A kind of design: what makes it, and what a parameter's entry in `[vary]` is there."""

    make: Callable[..., Design]
    form: str
    read: Callable[[Any], Any]

    def values(self, name: str, entry: Any) -> Any:
        """What an entry says."""
        try:
            return self.read(entry)
        except ValidationError:
            must = f"be {self.form}"
        except ValueError as error:
            must = str(error).removeprefix("must ")
        return refuse(f"vary.{name}", must, f"it is {entry!r}")


_KINDS = {
    "grid": _Kind(Design.grid, "[low, high, count], which rise, or { values = […] }", _axis),
    "list": _Kind(Design.listed, "{ values = […] }", _listed),
    "random": _Kind(Design.random, "[low, high], which rise", _ends),
    "sobol": _Kind(Design.sobol, "[low, high], which rise", _ends),
}


def _design(vary: dict[str, Any], table: DesignTable) -> Design:
    """What `[vary]` and `[design]` say."""
    kind = _KINDS[table.kind]
    takes = inspect.signature(kind.make).parameters
    allowed = ["kind", *(name for name in DesignTable.model_fields if name in takes)]
    given = {name: getattr(table, name) for name in table.model_fields_set - {"kind"}}
    for name in given:
        if name not in allowed:
            raise ValueError(unknown("design", name, allowed))
    if not vary:
        refuse("vary", "name at least one parameter", "it is empty")
    if "count" in allowed and table.count is None:
        refuse("design", "have a `count` of points", "it has none")
    if 16.0 * (table.count or 1) * len(vary) > memory():
        refuse("design.count", "fit into memory", f"it is {table.count}")
    return kind.make({name: kind.values(name, entry) for name, entry in vary.items()}, **given)


@dataclasses.dataclass(frozen=True)
class SweepFile:
    """What a file says, as `sweep` takes it."""

    network: Any
    design: Design
    measure: AbstractMeasure
    options: dict[str, int]
    settings: SweepSettings

    @classmethod
    def read(cls, path: Path) -> "SweepFile":
        """Read and check a file; relative paths are relative to where the command runs."""
        settings = SweepSettings.of_file(path)
        network = settings.build()
        return cls(
            network.homogeneous() if settings.homogeneous else network,
            _design(settings.vary, settings.design),
            _measure(settings.measure),
            settings.run.model_dump(exclude_none=True),
            settings,
        )


def bytes_of(task: SweepFile) -> float:
    """Of all that a sweep keeps."""
    try:
        outputs = task.measure.outputs(task.network).values()
    except (TypeError, AttributeError) as error:
        raise ValueError(
            f"Argument `measure` must have arguments of the types it takes, but: {error}."
        ) from None
    return float(task.design.count) * sum(
        math.prod(out.shape) * np.dtype(out.dtype).itemsize for out in outputs
    )


def _measure(table: dict[str, Any]) -> AbstractMeasure:
    table = dict(table)
    kind = table.pop("kind", "activity")
    if isinstance(kind, str) and ":" in kind:
        return _function(kind, table)
    if not isinstance(kind, str) or kind not in _MEASURES:
        raise ValueError(unknown("kind", kind, (*_MEASURES, "module:function")))
    made = _MEASURES[kind]
    names = [field.name for field in dataclasses.fields(made)]
    for name in table:
        if name not in names:
            raise ValueError(unknown("measure", name, names))
    try:
        measure: AbstractMeasure = made(**table)
    except TypeError as error:
        raise ValueError(
            f"Argument `measure` must be as {made.__name__} takes it, but {error}."
        ) from None
    return measure


def _check_options(table: dict[str, Any]) -> None:
    """Refuse options of a function that are of another type."""
    kinds = {"traced": bool, "dims": dict, "units": dict, "key": str}
    for option, value in table.items():
        if not isinstance(value, kinds[option]):
            kind = kinds[option].__name__
            raise ValueError(f"Argument `measure.{option}` must be a {kind}, but it is {value!r}.")
    for option, inner in (("dims", list), ("units", str)):
        for name, value in table.get(option, {}).items():
            if not isinstance(value, inner):
                raise ValueError(
                    f"Argument `measure.{option}.{name}` must be a {inner.__name__}, but it is "
                    f"{value!r}."
                )


def _function(kind: str, table: dict[str, Any]) -> Function:
    """A function of a module that Python finds, or that lies where the command runs."""
    for option in table:
        if option not in ("traced", "dims", "units", "key"):
            raise ValueError(unknown("measure", option, ("traced", "dims", "units", "key")))
    _check_options(table)
    function = parsing.imported(kind, "kind")
    if not callable(function):
        raise ValueError(f"Argument `kind` must name a function, but {kind!r} is {function!r}.")
    dims = {key: tuple(value) for key, value in table.pop("dims", {}).items()}
    return Function(function, dims=dims, **table)
