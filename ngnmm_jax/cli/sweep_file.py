"""The TOML file of `ngnmm sweep`, as `sweep` takes it: a network, a design, a measure."""

import dataclasses
import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError

from ngnmm_jax._core.memory import memory
from ngnmm_jax._core.messages import fail, one_of
from ngnmm_jax.cli import parsing
from ngnmm_jax.cli.arrays import read_array
from ngnmm_jax.cli.checked import Axis, Bounds, Checked, called, points
from ngnmm_jax.cli.estimates import of_map, of_roots, of_spectra, of_steps
from ngnmm_jax.cli.settings.sweep import DesignTable, FunctionTable, SweepSettings
from ngnmm_jax.sweeps import (
    AbstractMeasure,
    Activity,
    Along,
    Connectomes,
    Design,
    Exponents,
    Function,
    Stability,
)
from ngnmm_jax.systems.regional_maps import RegionalMap

_MEASURES: dict[str, Any] = {"activity": Activity, "stability": Stability, "exponents": Exponents}


class _Values(Checked):
    """`{ values = […] }`."""

    values: list[float]


_STRICT = ConfigDict(strict=True, allow_inf_nan=False)
_AXIS, _ENDS = TypeAdapter(Axis, config=_STRICT), TypeAdapter(Bounds, config=_STRICT)


class _Map(Checked):
    """`{ parameter = "i_ext_e", map = […], amplitude = …, base = … }`; the map may be a file."""

    parameter: str
    map: list[float] | str
    amplitude: Any
    base: float | list[float] | None = None


class _Connectomes(Checked):
    """`{ connectomes = { sub-01 = "one.npz", … } }`."""

    connectomes: dict[str, str]


class _Along(Checked):
    """`start = { along = "i_ext_e" }`, perhaps with the `first` state."""

    along: str
    first: list[float] | list[list[float]] | None = None


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

    def values(self, name: str, entry: Any, settings: SweepSettings) -> Any:
        """What an entry says."""
        where = f"vary.{name}"
        if isinstance(entry, dict) and "map" in entry:
            table = _Map.of(entry, where)
            amplitudes = np.asarray(self.values(f"{name}.amplitude", table.amplitude, settings))
            field = read_array(where, table.map) if isinstance(table.map, str) else table.map
            with called(where, "map"):
                return RegionalMap(table.parameter, field, amplitudes, table.base)
        if isinstance(entry, dict) and "connectomes" in entry:
            files = _Connectomes.of(entry, where).connectomes
            with called(where, "name_or_path"):
                return Connectomes({k: settings.connectome_of(file) for k, file in files.items()})
        try:
            return self.read(entry)
        except ValidationError:
            must = f"be {self.form}"
        except ValueError as error:
            must = str(error).removeprefix("must ")
        return fail(f"vary.{name}", must, f"it is {entry!r}")


_KINDS = {
    "grid": _Kind(Design.grid, "[low, high, count], which rise, or { values = […] }", _axis),
    "list": _Kind(Design.listed, "{ values = […] }", _listed),
    "random": _Kind(Design.random, "[low, high], which rise", _ends),
    "sobol": _Kind(Design.sobol, "[low, high], which rise", _ends),
}


def _design(settings: SweepSettings) -> Design:
    """What `[vary]` and `[design]` say."""
    vary, table = settings.vary, settings.design
    kind = _KINDS[table.kind]
    takes = inspect.signature(kind.make).parameters
    allowed = ["kind", *(name for name in DesignTable.model_fields if name in takes)]
    given = {name: getattr(table, name) for name in table.model_fields_set - {"kind"}}
    for name in given:
        one_of("design", name, allowed)
    if not vary:
        fail("vary", "name at least one parameter", "it is empty")
    if "count" in allowed and table.count is None:
        fail("design", "have a `count` of points", "it has none")
    if 16.0 * (table.count or 1) * (table.regions or 1) * len(vary) > memory():
        fail("design.count", "fit into memory", f"it is {table.count}")
    read = {name: kind.values(name, entry, settings) for name, entry in vary.items()}
    with called("vary", "parameters"):
        return kind.make(read, **given)


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
        whole = settings.build()
        measure = _measure(settings.measure)
        if settings.homogeneous and "speed" in settings.delays():
            must = "be left out with a speed: where delays differ regions do not go alike"
            fail("homogeneous", must, "it is true")
        if settings.homogeneous and isinstance(measure, Stability):
            must = "be left out with the measure `stability`, which has homogeneous states anyway"
            fail("homogeneous", must, "it is true")
        network = whole.homogeneous() if settings.homogeneous else whole
        design = _design(settings)
        with called("vary", "parameters"):
            extras = measure.extras(network)
            if isinstance(measure, Exponents):
                measure.outputs(network)  # which says where `count` has to be given
            design.bound(network, extras).check(design.systems(network)[0], extras)
        options = settings.run.model_dump(exclude_none=True)
        return cls(network, design, measure, options, settings)


def bytes_of(task: SweepFile) -> float:
    """Of all that a sweep keeps."""
    try:
        outputs = task.measure.outputs(task.network).values()
    except (TypeError, AttributeError) as error:
        _not_taken(error)
    return float(task.design.count) * sum(
        math.prod(out.shape) * np.dtype(out.dtype).itemsize for out in outputs
    )


def seconds_of(task: SweepFile) -> float | None:
    """Roughly what a sweep takes; None where nobody knows before its first block."""
    measure, network = task.measure, task.network
    runs, regions = task.design.count, 1 if task.settings.homogeneous else network.n_regions
    if isinstance(measure, Stability):
        if network.delays is None:
            return of_map(runs)
        return runs * of_roots(network.n_regions, common=network.one_delay)
    if isinstance(measure, Activity):
        steps = (measure.transient + measure.duration) / measure.plan(network)[1]
        return of_steps(steps, regions, max(2, runs))
    if isinstance(measure, Exponents):
        dt = measure.over(network, task.design).step or measure.dt or float(network.time_step)
        window = 100_000 if measure.duration is None else measure.duration / dt
        steps = window + (20_000 if measure.transient is None else measure.transient / dt)
        return of_spectra(runs, steps, measure.count or 6 * regions, regions)
    return None


def _measure(table: dict[str, Any]) -> AbstractMeasure:
    table = dict(table)
    kind = table.pop("kind", "activity")
    if isinstance(kind, str) and ":" in kind:
        return _function(kind, table)
    one_of("measure.kind", kind, (*_MEASURES, "module:function"))
    made = _MEASURES[kind]
    names = [field.name for field in dataclasses.fields(made)]
    for name in table:
        one_of("measure", name, names)
    if kind == "activity" and "start" in table:
        table["start"] = _start(table["start"])
    try:
        measure: AbstractMeasure = made(**table)
    except TypeError as error:
        _not_taken(error)
    return measure


def _start(entry: Any) -> Any:
    """A state, or `{ along = … }`."""
    if isinstance(entry, dict):
        table = _Along.of(entry, "measure.start")
        return Along(table.along, table.first)
    if not isinstance(entry, list):
        must = "be a state, or { along = … } with a dimension of the design"
        fail("measure.start", must, f"it is {entry!r}")
    return entry


def _not_taken(error: Exception) -> NoReturn:
    fail("measure", "have arguments of the types it takes", str(error))


def _function(kind: str, table: dict[str, Any]) -> Function:
    """A function of a module that Python finds, or that lies where the command runs."""
    options = FunctionTable.of(table, "measure").model_dump(exclude_unset=True)
    function = parsing.imported(kind, "measure.kind")
    if not callable(function):
        fail("measure.kind", "name a function", f"{kind!r} is {function!r}")
    dims = {name: tuple(value) for name, value in options.pop("dims", {}).items()}
    return Function(function, dims=dims, **options)
