"""Sweeps: named parameters, what to compute at each point, what to keep; in blocks, anywhere."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.placement import devices
from ngnmm_jax._core.progress import progress_bar
from ngnmm_jax._core.randomness import Purpose, generator
from ngnmm_jax._core.status import STATUS_FLAGS
from ngnmm_jax._core.workers import refuse_forked, watch_pool
from ngnmm_jax.sweeps.dataset import assembled, attributes, coordinates
from ngnmm_jax.sweeps.designs import Design
from ngnmm_jax.sweeps.executors import elsewhere
from ngnmm_jax.sweeps.folding import told
from ngnmm_jax.sweeps.measures import AbstractMeasure, Function, System
from ngnmm_jax.sweeps.names import check_names
from ngnmm_jax.sweeps.outputs import Output
from ngnmm_jax.sweeps.storage import Blocks, SweepStore
from ngnmm_jax.sweeps.task import Task
from ngnmm_jax.systems.driven import Driven, Undriven

# Runs of a block, unless a device takes more of them at a time; runs whose error is estimated.
_BLOCK, _CHECKS = 256, 16


def sweep(
    system: Undriven | Driven,
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
    the bit, of other measures to rounding; nor on the chunk or the other runs, to rounding (which
    chaotic activity magnifies).

    **Arguments:**

    - `system`: what all points share; or `network.homogeneous()`, or either of them `Driven`.
    - `parameters`: which take which values: `Design.grid`, `.listed`, `.random`, `.sobol`; a dict
      of values by name is a grid. Amplitudes of maps and connectomes vary there too.
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
    _checks.a_system(system)
    refuse_forked(executor)
    watch_pool(executor)
    if isinstance(parameters, Mapping):
        parameters = Design.grid(parameters)
    elif not isinstance(parameters, Design):
        _checks.fail("parameters", "be values by name, or a `Design`", f"it is {parameters!r}")
    task, todo = _prepare(system, parameters, measure, store, block, chunk, checks)
    blocks, results = task.blocks, {}
    left = sum(blocks.runs(k)[0].size for k in todo if k < len(blocks))
    failed = 0
    kept = task.store.store.keeping(len(task.todo)) if task.store else contextlib.nullcontext()
    with (
        kept,
        progress_bar(
            parameters.count,
            "sweep",
            "run",
            progress,
            initial=parameters.count - left,
            unit_scale=True,
        ) as bar,
    ):
        for number, fields, bad in _run(task, todo, executor):
            results[number] = fields
            failed += bad
            if failed:
                bar.set_postfix_str(f"{failed} failed", refresh=False)
            bar.update(blocks.runs(number)[0].size if number < len(blocks) else 0)
    if task.store is not None:
        return told(task.store.dataset())
    return told(assembled(xarray, task, results))


def _prepare(
    system: System,
    design: Design,
    measure: Any,
    store: str | Path | None,
    block: int | None,
    chunk: int | None,
    checks: int,
) -> tuple[Task, list[int]]:
    """The task, and the blocks that are not finished."""
    _checks.an_object("measure", measure)
    if not isinstance(measure, AbstractMeasure):
        if not callable(measure):
            _checks.fail("measure", "be a measure or a function", f"it is {measure!r}")
        measure = Function(measure)
    system = design.systems(system)[0]
    design = design.bound(system, measure.extras(system))
    design.check(system, measure.extras(system))
    for name, value in (("block", block), ("chunk", chunk)):
        if value is not None:
            _checks.positive_integer(name, value)
    if checks:
        _checks.positive_integer("checks", checks)
    measure = measure.over(system, design)
    outputs = dict(measure.outputs(system))
    for name, output in outputs.items():
        if not isinstance(output, Output):
            _checks.fail("measure", "have `outputs` of names and `Output(…)`",
                         f"{name!r} is {output!r}")  # fmt: skip
    outputs["status"] = Output(dtype="int8", more=STATUS_FLAGS)
    checks = min(checks, design.count) if measure.refined(system) is not None else 0
    along = measure.coordinates(system)
    check_names(design, outputs, along, checked=checks > 0, stored=store is not None)
    kept = None if store is None else SweepStore(_checks.path("store", store).resolve())
    if block is None:
        known = None if kept is None else kept.block
        chosen = measure.chunk(system) if chunk is None else chunk
        block = known or max(_BLOCK, chosen * len(devices()))
    blocks = _blocks(design, measure, block)
    checked = _checked(design, measure, checks)
    task = Task(system, design, measure, outputs, blocks, checked, chunk, kept)
    todo = task.todo
    if kept is not None:
        layout = coordinates(task), attributes(task, block)
        kept.create(design.names, blocks, outputs, checks, *layout)
        done = kept.finished(todo)
        todo = [k for k in todo if k not in done]
    return task, todo


def _blocks(design: Design, measure: AbstractMeasure, size: int) -> Blocks:
    """Blocks of a design: of whole lines where points need others, of few connectomes."""
    names = list(design.names)
    late = [names.index(dim) for dim, _ in design.connectomes.values()]
    whole = None
    if measure.scanned is not None:
        dims = [dim for dim in design.dims if names.index(dim) not in late]
        _checks.one_of("dim", measure.scanned, dims)
        whole = names.index(measure.scanned)
    return Blocks(design.shape, size, whole, next(iter(late), None))


def _checked(design: Design, measure: AbstractMeasure, count: int) -> np.ndarray:
    """Runs whose error is estimated, drawn; of few lines where points need those before them."""
    draw = generator(design.seed, Purpose.CHECKED)
    if measure.scanned is None:
        return np.sort(draw.choice(design.count, size=count, replace=False))
    axis = design.names.index(measure.scanned)
    lines = np.moveaxis(np.arange(design.count).reshape(design.shape), axis, -1)
    lines = lines.reshape(-1, design.shape[axis])
    few = draw.choice(len(lines), size=math.ceil(count / lines.shape[1]), replace=False)
    return np.sort(draw.choice(lines[few].ravel(), size=count, replace=False))


def _run(
    task: Task, todo: list[int], executor: Any
) -> Iterator[tuple[int, dict[str, np.ndarray] | None, int]]:
    """Number, fields (None where they are in the store) and failed runs of each block, as done."""
    if executor is not None:
        yield from elsewhere(task, todo, executor)
        return
    if task.store is None:
        yield from ((number, *task.finish(number)) for number in todo)
        return
    store = task.store
    ready = store.store.finish(todo, store.find, task.finish)
    for number, result, here in ready:
        yield number, None, result[1] if here else 0
