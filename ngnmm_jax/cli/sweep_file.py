"""The TOML file of `ngnmm sweep`: a network, a design, a measure."""

import dataclasses
import math
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field

from ngnmm_jax.cli import parsing
from ngnmm_jax.cli.checked import Bounds, Checked, Count, Seed, unknown
from ngnmm_jax.cli.estimates import memory
from ngnmm_jax.cli.settings.network import NetworkSettings
from ngnmm_jax.sweeps import AbstractMeasure, Activity, Design, Exponents, Function, Stability

_MEASURES: dict[str, Any] = {"activity": Activity, "stability": Stability, "exponents": Exponents}


def _grid_axis(value: Any) -> Any:
    """[low, high, count], or a table with `values`."""
    if isinstance(value, dict) and set(value) == {"values"}:
        return np.asarray(value["values"])
    whole = isinstance(value, list) and len(value) == 3 and isinstance(value[2], int)
    if not whole or isinstance(value[2], bool):
        raise ValueError("must be [low, high, count] or { values = […] }")
    if value[2] < 1:
        raise ValueError("must have a count that is a positive integer")
    low, high, count = value
    ends = (isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high))
    if not all(ends) or not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("must be [low, high, count] of numbers")
    if 8 * count > 1 << 34:
        raise ValueError("must have a count that fits into memory")
    return np.linspace(low, high, count)


class DesignTable(Checked):
    """`[design]`: which parameter sets."""

    kind: Literal["grid", "list", "random", "sobol"] = "grid"
    axes: dict[str, Annotated[Any, AfterValidator(_grid_axis)]] | None = None
    values: dict[str, list[float]] | None = None
    bounds: dict[str, Bounds] | None = None
    count: Count | None = None
    replicates: Count = 1
    seed: Seed = 0
    regions: Any = None

    def made(self) -> Design:
        """The design."""
        keys = {"grid": "axes", "list": "values", "random": "bounds", "sobol": "bounds"}
        key, counted = keys[self.kind], self.kind in ("random", "sobol")
        allowed = {key, "kind", "replicates", "seed", *(["count"] if counted else [])}
        allowed |= {"regions"} if self.kind == "random" else set()
        for name in self.model_fields_set - allowed:
            raise ValueError(unknown("design", name, sorted(allowed)))
        what = getattr(self, key)
        if what is None:
            raise ValueError(
                f"Argument `design` must have a table `{key}` of parameters, but it has none."
            )
        if counted and self.count is None:
            raise ValueError("Argument `design` must have a `count` of points, but it has none.")
        if 16.0 * (self.count or 1) * len(what) > memory():
            raise ValueError(
                f"Argument `design.count` must fit into memory, but it is {self.count}."
            )
        given = self.model_fields_set & {"replicates", "seed", "count", "regions"}
        options = {name: getattr(self, name) for name in given}
        make: dict[str, Any] = {
            "grid": Design.grid,
            "list": Design.listed,
            "random": Design.random,
            "sobol": Design.sobol,
        }
        made: Design = make[self.kind](
            {name: tuple(v) if counted else v for name, v in what.items()}, **options
        )
        return made


class RunTable(Checked):
    """`[run]`: how it is computed."""

    block: Count | None = None
    width: Count | None = None
    checks: Annotated[int, Field(ge=0)] | None = None


class SweepSettings(NetworkSettings):
    """All of the file."""

    homogeneous: bool = False
    design: DesignTable = Field(default_factory=DesignTable)
    measure: dict[str, Any] = Field(default_factory=dict)
    run: RunTable = Field(default_factory=RunTable)


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
            settings.design.made(),
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
