"""Blocks of a sweep in other processes, which an executor has."""

import dataclasses
import hashlib
import importlib
import os
import pickle
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from ngnmm_jax._core.files import Pulse
from ngnmm_jax._core.workers import refuse_to_be_forked, watch_parent
from ngnmm_jax.sweeps.task import Task

# Seconds between looks at what an executor has done; before a block that others have is asked for.
_LOOK, _AGAIN = 0.05, 0.5


def elsewhere(
    task: Task, todo: list[int], executor: Any
) -> Iterator[tuple[int, dict[str, np.ndarray] | None, int]]:
    """Number, fields and failed runs of each block, as an executor's workers finish them.

    Fields are None where they are in the store. Blocks at which others work are asked for again.
    """
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
        return task.finish(number)
    for _, result, here in task.store.store.finish(
        [number], task.store.find, task.finish, pulse=_PULSE, wait=False
    ):
        return result if here else (None, 0)
    return None


def _pickled(task: Task) -> bytes:
    try:
        pickler = importlib.import_module("cloudpickle")  # comes with Dask; takes any function
    except ImportError:
        pickler = pickle
    host = dataclasses.replace(task, system=jax.tree.map(np.asarray, task.system), made=())
    try:
        return pickler.dumps(host)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            "Argument `measure` must be picklable to run in other processes, but "
            f"{error}. Define its function at the top of a module."
        ) from error
