"""Sweeps: named parameters, what to compute at each point, what to keep; in blocks, anywhere."""

import dataclasses
import datetime
import hashlib
import importlib
import os
import pickle
import platform
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.definition import definition, described, ordered, plain, setting
from ngnmm_jax._core.files import Pulse
from ngnmm_jax._core.parameters import declared
from ngnmm_jax._core.programs import body, digest
from ngnmm_jax._core.progress import progress_bar
from ngnmm_jax._core.randomness import Purpose, generator, run_seeds
from ngnmm_jax._core.status import Status
from ngnmm_jax._core.workers import (
    refuse_forked,
    refuse_to_be_forked,
    watch_parent,
    watch_pool,
)
from ngnmm_jax.models.notation import notation_of
from ngnmm_jax.sweeps.designs import REPLICATE, Design
from ngnmm_jax.sweeps.measures import AbstractMeasure, Function, Output, System
from ngnmm_jax.sweeps.storage import CHECK, DISCREPANCY, TITLE, Blocks, SweepStore
from ngnmm_jax.systems.driven import Driven
from ngnmm_jax.systems.homogeneous import Homogeneous
from ngnmm_jax.systems.network import Network

# Runs of a block, unless a device takes more of them at a time; runs whose error is estimated.
_BLOCK, _CHECKS = 256, 16
# Runs that are computed together at least: fewer cost as much.
_FEWEST = 4
STATUS_CODES = {
    "flag_values": [s.value for s in Status],
    "flag_meanings": " ".join(s.name for s in Status),
}
# Seconds between looks at what an executor has done; before a block that others have is asked for.
_LOOK, _AGAIN = 0.05, 0.5


@dataclasses.dataclass
class Task:
    """All that a process needs to compute any block of a sweep."""

    system: System
    design: Design
    measure: AbstractMeasure
    outputs: dict[str, Output]
    blocks: Blocks
    checked: np.ndarray
    width: int | None
    store: SweepStore | None

    @property
    def todo(self) -> list[int]:
        """Numbers of the blocks; the last, where errors are estimated, is one more."""
        return list(range(len(self.blocks) + (self.checked.size > 0)))

    def compute(self, number: int) -> dict[str, np.ndarray]:
        """The fields of a block (*box, …), or the estimate of the error (check, …)."""
        if number == len(self.blocks):
            fields = self._evaluate(self.measure, self.checked)
            finer = self.measure.refined(self.system)
            assert finer is not None
            halved = self._evaluate(finer, self.checked)
            return {
                name: value - halved[name] for name, value in fields.items() if name != "status"
            }
        runs, shape = self.blocks.runs(number)
        fields = self._evaluate(self.measure, runs)
        return {name: value.reshape(*shape, *value.shape[1:]) for name, value in fields.items()}

    def _evaluate(self, measure: AbstractMeasure, runs: np.ndarray) -> dict[str, np.ndarray]:
        points, seeds = self.design.at(runs)
        while True:
            width = self.width
            if width is None:
                width = lanes_for(self.design.count, self.measure.width(self.system))
            try:
                fields = measure.evaluate(self.system, points, seeds, width)
            except (MemoryError, jax.errors.JaxRuntimeError) as error:
                full = isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
                if not full or width == 1:
                    raise
                self.width = width // 2
                warnings.warn(
                    f"{width} runs at a time do not fit into the memory: on with {self.width}.",
                    stacklevel=2,
                )
                continue
            found = {name: value for name, value in fields.items() if name in self.outputs}
            return {
                name: np.asarray(found[name], self.outputs[name].dtype) for name in self.outputs
            }


def lanes_for(runs: int, most: int) -> int:
    """Runs at a time for a design of so many: a power of two, four at least, `most` at most.

    One of few numbers, so that programs are shared; of the whole design, so that all blocks have
    the same, on any number of devices.
    """
    return min(most, max(_FEWEST, 1 << (runs - 1).bit_length()))


def sweep(
    system: Network | Homogeneous | Driven,
    parameters: Design | Mapping[str, Any],
    measure: AbstractMeasure | Callable[..., Any],
    *,
    store: str | Path | None = None,
    block: int | None = None,
    chunk: int | None = None,
    checks: int = _CHECKS,
    executor: Any = None,
    progress: bool | None = None,
) -> Any:
    """Compute a measure at all points of a design; returns an `xarray.Dataset`.

    The work is cut into blocks. With `store` each finished block is kept there, a Zarr store, and
    the same call goes on where it stopped, whatever stopped it; the dataset is then read lazily.
    A run's results do not depend on the block, the devices or the executor: those of `Activity` to
    the bit, of other measures to rounding; nor on the width or the other runs, to rounding (which
    chaotic activity magnifies).

    **Arguments:**

    - `system`: what all points share; or `network.homogeneous()`, or either of them `Driven`.
    - `parameters`: which take which values: `Design.grid`, `.listed`, `.random`, `.sobol`; a dict
      of values by name is a grid.
    - `measure`: `Activity`, `Stability`, `Exponents`, another `AbstractMeasure`, or a function of
      the network (`Function` says more of it).
    - `store`: a folder; it holds the dataset with units, seeds, versions and the whole definition
      in its attributes. A store of another sweep is refused, and the difference named. Processes
      that are given the same store share its blocks.
    - `block`: runs that are finished, kept and handed out together; by default those of the store,
      or 256, or what the devices take at a time.
    - `chunk`: runs that a device computes at a time. Where they do not fit its memory, half.
    - `checks`: runs that are computed again with half the step, as an estimate of the error:
      `<name>_discrepancy` (check), `check_run` (their indices in C order). Only of measures that
      have a step; 0 for none.
    - `executor`: anything with `submit(function, *arguments)` that returns futures with `done()`
      and `result()`: a pool of processes of `concurrent.futures` (spawned ones: forked ones are
      refused, since they would hang), Dask's `client.get_executor()`, submitit's. `store` then has
      to be reached by all its workers. A pool's workers end when the process that made it does.
    - `progress`: a progress bar; None shows one where it takes over two seconds.

    The dataset's `status` tells how each run ended (`Status`); nothing is raised for them.
    Raises `ValueError` for bad arguments; `RuntimeError` where workers failed (what is finished is
    kept).
    """
    xarray = _checks.require_module("xarray", "data")
    refuse_forked(executor)
    watch_pool(executor)
    if isinstance(parameters, Mapping):
        parameters = Design.grid(parameters)
    task, todo = _prepare(system, parameters, measure, store, block, chunk, checks)
    blocks, results = task.blocks, {}
    left = sum(blocks.runs(k)[0].size for k in todo if k < len(blocks))
    failed = 0
    with progress_bar(
        parameters.count, "sweep", "run", progress, initial=parameters.count - left, unit_scale=True
    ) as bar:
        for number, fields, bad in _run(task, todo, executor):
            results[number] = fields
            failed += bad
            if failed:
                bar.set_postfix_str(f"{failed} failed", refresh=False)
            bar.update(blocks.runs(number)[0].size if number < len(blocks) else 0)
    if task.store is not None:
        return task.store.dataset()
    return _assembled(xarray, task, results)


def _prepare(
    network: System,
    design: Design,
    measure: Any,
    store: str | Path | None,
    block: int | None,
    width: int | None,
    checks: int,
) -> tuple[Task, list[int]]:
    """The task, and the blocks that are not finished."""
    if not isinstance(measure, AbstractMeasure):
        if not callable(measure):
            _checks.fail("measure", "be a measure or a function", f"it is {measure!r}")
        measure = Function(measure)
    design.check(network, measure.extras(network))
    for name, value in (("block", block), ("width", width)):
        if value is not None:
            _checks.positive_integer(name, value)
    if checks:
        _checks.positive_integer("checks", checks)
    measure = measure.over(network, design)
    outputs = measure.outputs(network)
    outputs["status"] = Output((), (), "int8", STATUS_CODES)
    checks = min(checks, design.count) if measure.refined(network) is not None else 0
    kept = None if store is None else SweepStore(Path(store).resolve())
    if block is None:
        known = None if kept is None else kept.block
        devices = len(jax.local_devices())
        chosen = measure.width(network) if width is None else width
        block = known or max(_BLOCK, chosen * devices)
    blocks = Blocks(design.shape, block)
    draw = generator(design.seed, Purpose.CHECKED)
    checked = np.sort(draw.choice(design.count, size=checks, replace=False))
    task = Task(network, design, measure, outputs, blocks, checked, width, kept)
    todo = task.todo
    if kept is not None:
        coordinates = _coordinates(task)
        kept.create(design.names, blocks, outputs, checks, coordinates, _attributes(task, block))
        done = kept.finished(todo)
        todo = [k for k in todo if k not in done]
    return task, todo


def _coordinates(task: Task) -> dict[str, tuple[tuple[str, ...], Any, dict[str, Any]]]:
    """All coordinates: the design's values and seeds, the outputs' dimensions, the checked runs."""
    design, system = task.design, task.system
    meta = {name: field.metadata for name, field in declared(system.model).items()}
    notation = notation_of(system)
    found: dict[str, tuple[tuple[str, ...], Any, dict[str, Any]]] = {}
    for name, (dim, value) in design.parameters.items():
        attrs = (
            {"units": meta[name]["unit"], "long_name": meta[name]["doc"]} if name in meta else {}
        )
        if notation.symbol(name) != name:
            attrs["symbol"] = notation.symbol(name)
        if value.ndim == 2:
            label = f"{name}_values" if dim == name else name
            found[label] = ((dim, "region"), value, attrs)
        else:
            found[name] = ((dim,), value, attrs)
    if design.replicates > 1:
        seeds = run_seeds(design.seed, design.replicates)
        found["seed"] = ((REPLICATE,), seeds, {})
    used = {d for output in task.outputs.values() for d in output.dims}
    used |= {d for dims, _, _ in found.values() for d in dims}
    for name, (value, attrs) in task.measure.coordinates(system).items():
        if name in used:
            found[name] = ((name,), np.asarray(value), attrs)
    if task.checked.size:
        found["check_run"] = ((CHECK,), task.checked, {})
    return found


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
    # A measure's own entries do not stand in for others of the same name.
    for name, value in plain(task.measure.definition(system)).items():
        whole[f"measure.{name}" if name in whole else name] = value
    return whole


def _attributes(task: Task, block: int) -> dict[str, Any]:
    from ngnmm_jax._core.version import __version__

    system, design = task.system, task.design
    return {
        "title": TITLE,
        "definition": _definition(task),
        "block": block,
        "versions": {"ngnmm_jax": __version__, "jax": jax.__version__, "numpy": np.__version__,
                     "python": platform.python_version()},
        "device": jax.local_devices()[0].device_kind,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "time_unit": system.model.time_unit,
        "seed": design.seed,
        "design_note": design.note,
    }  # fmt: skip


def _run(
    task: Task, todo: list[int], executor: Any
) -> Iterator[tuple[int, dict[str, np.ndarray] | None, int]]:
    """Number, fields (None where they are in the store) and failed runs of each block, as done."""
    if executor is not None:
        yield from _elsewhere(task, todo, executor)
        return
    if task.store is None:
        yield from ((number, *_one(task, number)) for number in todo)
        return
    store = task.store
    ready = store.store.finish(todo, store.find, lambda number: _one(task, number))
    for number, result, here in ready:
        yield number, None, result[1] if here else 0


def _elsewhere(
    task: Task, todo: list[int], executor: Any
) -> Iterator[tuple[int, dict[str, np.ndarray] | None, int]]:
    """The same from an executor's workers; blocks at which others work are asked for again."""
    payload = _pickled(task)
    bits = bool(jax.config.read("jax_enable_x64"))

    def submit(number: int) -> Any:
        return executor.submit(run_block, payload, bits, number, os.getpid())

    futures = {number: submit(number) for number in todo}
    later: dict[int, float] = {}
    errors: list[BaseException] = []
    try:
        while futures or later:
            ready = [number for number, future in futures.items() if future.done()]
            for number in ready:
                try:
                    result = futures.pop(number).result()
                except Exception as error:
                    errors.append(error)
                    continue
                if result is None:
                    later[number] = time.monotonic() + _AGAIN
                    continue
                yield number, *result
            for number in [k for k, when in later.items() if when < time.monotonic()]:
                del later[number]
                try:
                    futures[number] = submit(number)
                except Exception as error:  # the pool broke meanwhile
                    errors.append(error)
            if not ready:
                time.sleep(_LOOK)
    finally:
        for future in futures.values():
            getattr(future, "cancel", lambda: None)()
    if errors:
        kept = "What is finished is kept: call again." if task.store is not None else ""
        raise RuntimeError(
            f"{len(errors)} of {len(todo)} blocks failed, the first with {errors[0]!r}. {kept}"
        ) from errors[0]


def _one(task: Task, number: int) -> tuple[dict[str, np.ndarray] | None, int]:
    """Compute a block, and keep it where there is a store; how many of its runs failed."""
    fields = task.compute(number)
    failed = int((fields["status"] != Status.OK).sum()) if "status" in fields else 0
    if task.store is None:
        return fields, failed
    task.store.write(number, task.blocks, fields)
    return None, failed


# The task that this process worked at last, so that its blocks share what is compiled, and whose
# claims showed life.
_AT_WORK: dict[str, Task] = {}
_PULSE = Pulse()


def run_block(
    payload: bytes, bits64: bool, number: int, driver: int = 0
) -> tuple[dict[str, np.ndarray] | None, int] | None:
    """What an executor's workers call: one block of a pickled task; None while others are at it.

    `driver`: the process that asked.
    """
    refuse_to_be_forked()
    if driver != os.getpid():
        watch_parent()
    jax.config.update("jax_enable_x64", bits64)
    key = hashlib.sha256(payload).hexdigest()
    if key not in _AT_WORK:
        _AT_WORK.clear()
        _AT_WORK[key] = pickle.loads(payload)
    task = _AT_WORK[key]
    if task.store is None:
        return _one(task, number)
    for _, result, here in task.store.store.finish(
        [number], task.store.find, lambda number: _one(task, number), pulse=_PULSE, wait=False
    ):
        return result if here else (None, 0)
    return None


def _pickled(task: Task) -> bytes:
    try:
        pickler = importlib.import_module("cloudpickle")  # comes with Dask; takes any function
    except ImportError:
        pickler = pickle
    host = dataclasses.replace(task, system=jax.tree.map(np.asarray, task.system))
    try:
        return pickler.dumps(host)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            "Argument `measure` must be picklable to run in other processes, but "
            f"{error}. Define its function at the top of a module."
        ) from error


def _assembled(xarray: Any, task: Task, results: dict[int, Any]) -> Any:
    """The dataset in memory."""
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
    coords = {k: (dims, value, attrs) for k, (dims, value, attrs) in _coordinates(task).items()}
    return xarray.Dataset(data, coords, _attributes(task, 0))
