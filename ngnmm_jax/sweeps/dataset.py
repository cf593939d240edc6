"""What a sweep's dataset holds beside its results: coordinates, attributes, the definition."""

import datetime
import platform
from typing import Any

import jax
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.definition import definition, described, ordered, plain, setting
from ngnmm_jax._core.parameters import all_declared
from ngnmm_jax._core.placement import devices
from ngnmm_jax._core.programs import body, digest, identity
from ngnmm_jax._core.version import __version__
from ngnmm_jax.models.notation import notation_of
from ngnmm_jax.sweeps.names import label, map_label
from ngnmm_jax.sweeps.outputs import REPLICATE
from ngnmm_jax.sweeps.storage import CHECK, DISCREPANCY, TITLE, Coordinates
from ngnmm_jax.sweeps.task import Task


def coordinates(task: Task) -> Coordinates:
    """All coordinates: the design's values and seeds, the outputs' dimensions, the checked runs."""
    design, system = task.design, task.system
    meta = {name: field.metadata for name, field in all_declared(system).items()}
    notation = notation_of(system)
    found: Coordinates = {}
    for name, (dim, value) in design.parameters.items():
        one = design.maps.get(name)
        known = meta.get(name if one is None else one.parameter)
        attrs = {"units": known["unit"], "long_name": known["doc"]} if known else {}
        if one is not None:
            attrs["long_name"] = f"amplitude of a map of {one.parameter}"
            attrs["map_of"] = one.parameter
            found[map_label(name)] = (("region",), one.map, {"map_of": one.parameter})
        if notation.symbol(name) != name:
            attrs["symbol"] = notation.symbol(name)
        dims = (dim, "region") if value.ndim == 2 else (dim,)
        found[label(name, dim, value.ndim)] = (dims, value, attrs)
    for name, (dim, some) in design.connectomes.items():
        found[name] = ((dim,), np.asarray(some.labels), {"long_name": "connectome"})
    if design.own_seeds:
        found["seed"] = (design.names, design.seeds().reshape(design.shape), {})
    elif design.replicates > 1:
        found["seed"] = ((REPLICATE,), design.seeds(), {})
    used = {d for output in task.outputs.values() for d in output.dims}
    used |= {d for dims, _, _ in found.values() for d in dims}
    for name, (value, attrs) in task.measure.coordinates(system).items():
        if name in used:
            found[name] = ((name,), np.asarray(value), attrs)
    if task.checked.size:
        found["check_run"] = ((CHECK,), task.checked, {})
    return found


def attributes(task: Task, block: int) -> dict[str, Any]:
    system, design = task.system, task.design
    return {
        "title": TITLE,
        "definition": _definition(task),
        "block": block,
        "versions": {"ngnmm_jax": __version__, "jax": jax.__version__, "numpy": np.__version__,
                     "python": platform.python_version()},
        "device": devices()[0].device_kind,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "time_unit": system.model.time_unit,
        "seed": design.seed,
        "design_note": design.note,
    }  # fmt: skip


def _definition(task: Task) -> dict[str, Any]:
    """What decides the dataset; without a store what is known of it without tracing."""
    system, design = task.system, plain(task.design.definition())
    if task.store is None:
        return {**setting("sweep"), **described(system), "design": design}
    whole = definition("sweep", system, design=design, checks=int(task.checked.size))
    outputs = task.outputs.items()
    whole["results"] = ordered({name: (o.shape, o.dtype) for name, o in outputs})
    whole["dims"] = {name: plain(o.dims) for name, o in outputs}
    whole["units"] = {name: plain(o.attrs) for name, o in outputs}
    along = task.measure.coordinates(system).items()
    whole["coordinates"] = {name: [digest(value), plain(attrs)] for name, (value, attrs) in along}
    whole["measure_class"] = body(type(task.measure))
    if whole["measure_class"]:  # the library's own say themselves what decides their numbers
        whole["measure_fields"] = _fields(task.measure)
    # A measure's own entries do not stand in for others of the same name.
    for name, value in plain(task.measure.definition(system)).items():
        whole[f"measure.{name}" if name in whole else name] = value
    return whole


def _fields(measure: Any) -> dict[str, str]:
    """A measure's fields by value, but for private ones; `ValueError` where one is not known.

    A field `key` stands for those that are not known. What its classes hold beside methods counts.
    """
    kind = type(measure)
    ours = [vars(part) for part in kind.__mro__ if body(part)]
    shared = [k for some in ours for k, value in some.items() if not hasattr(value, "__get__")]
    own = [*getattr(measure, "__dataclass_fields__", ()), *getattr(measure, "__dict__", ())]
    found = {}
    for name in sorted({name for name in (*shared, *own) if not name.startswith("_")}):
        try:
            found[name] = identity(getattr(measure, name))
        except ValueError:
            if getattr(measure, "key", None) is None:
                must = (
                    "have fields of numbers, texts, arrays and library functions for a store, or a "
                    "field `key` (any text that is another one when what is computed is)"
                )
                what = type(getattr(measure, name)).__qualname__
                _checks.fail("measure", must, f"`{name}` is an object of {what}")
    return found


def assembled(xarray: Any, task: Task, results: dict[int, Any]) -> Any:
    """The dataset in memory, of the fields of each block."""
    blocks, names = task.blocks, task.design.names
    data: dict[str, Any] = {}
    for name, output in task.outputs.items():
        array = np.empty((*blocks.shape, *output.shape), output.dtype)
        for number in range(len(blocks)):
            array[blocks.region(number)] = results[number][name]
        data[name] = ((*names, *output.dims), array, dict(output.attrs))
        if task.checked.size and name != "status":
            value = results[len(blocks)][name]
            data[name + DISCREPANCY] = ((CHECK, *output.dims), value, dict(output.attrs))
    return xarray.Dataset(data, coordinates(task), attributes(task, 0))
