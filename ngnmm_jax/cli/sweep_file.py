"""The TOML file of `ngnmm sweep`: a network, a design, a measure."""

import dataclasses
import math
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field

from ngnmm_jax.cli import parsing
from ngnmm_jax.cli.checked import Bounds, Checked, Count, Seed, unknown
from ngnmm_jax.cli.settings import NetworkSettings, read_toml
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
    if not all(isinstance(end, int | float) and math.isfinite(end) for end in (low, high)):
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
        settings = SweepSettings.of(read_toml(path), "file")
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
    outputs = task.measure.outputs(task.network).values()
    return float(task.design.count) * sum(
        math.prod(out.shape) * np.dtype(out.dtype).itemsize for out in outputs
    )


def _measure(table: dict[str, Any]) -> AbstractMeasure:
    table = dict(table)
    kind = table.pop("kind", "activity")
    if isinstance(kind, str) and ":" in kind:
        return _function(kind, table)
    if kind not in _MEASURES:
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


def _function(kind: str, table: dict[str, Any]) -> Function:
    """A function of a module that Python finds, or that lies where the command runs."""
    for option in table:
        if option not in ("traced", "dims", "units", "key"):
            raise ValueError(unknown("measure", option, ("traced", "dims", "units", "key")))
    function = parsing.imported(kind, "kind")
    dims = {key: tuple(value) for key, value in table.pop("dims", {}).items()}
    return Function(function, dims=dims, **table)
