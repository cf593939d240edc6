"""A batch's runs in chunks, which devices advance in lock-step: the runs along the last axis."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.lanes import padded, within_memory
from ngnmm_jax._core.memory import joined
from ngnmm_jax._core.parameters import with_leaves
from ngnmm_jax._core.placement import devices as devices_in_use
from ngnmm_jax._core.placement import wide
from ngnmm_jax._core.randomness import first_step
from ngnmm_jax.integrators import AbstractFixedStep, Stepper
from ngnmm_jax.integrators.loops import save_steps
from ngnmm_jax.simulation.saving import Saving, blocks_of_saves, select
from ngnmm_jax.systems.driven import Driven, Undriven, driven, noise_key, remembers

# Simulations that one CPU core advances together: a chunk of the state and its intermediate
# values stay in the core's cache, and the coupling is one matrix product.
_CPU_CHUNK = 32
# Chunks are multiples of this.
_STEP = 8


class Runs(NamedTuple):
    """What differs between the runs of a batch: values of parameters by name, states (run,
    variable, region), seeds (run,); and what is known of before, as `past_of` has it.
    """

    parameters: Any
    states: Any
    seeds: Any
    past: Any = None


class _Times(NamedTuple):
    """The step, and when the runs begin (`Driven.stepper`)."""

    dt: jax.Array
    begin: tuple[jax.Array, jax.Array]


class _Work(NamedTuple):
    """What decides a program of steps, but for the system and its runs.

    - `devices`: each has a chunk.
    """

    times: _Times
    variables: tuple[str, ...]
    integrator: AbstractFixedStep
    devices: tuple[Any, ...]


def run_chunks(
    core: Undriven | Driven,
    runs: Runs,
    saving: Saving,
    integrator: AbstractFixedStep,
    dt: float,
    *,
    t0: float,
    chunk: int | None,
) -> tuple[Any, Any, Any, Any]:
    """Last states (run, variable, region), saved ones (run, time, …), how often variables went
    below zero, (run,), or None, and what was sent before the end, (run, region, node, …), or None.

    NumPy's arrays but where JAX traces.
    """
    n, devices = runs.states.shape[0], devices_in_use()
    if chunk is not None:
        _checks.positive_integer("chunk", chunk)
    chunk = _chunk_of(n, devices, chunk)
    traced = not _checks.on_host(core, runs)
    runs = jax.tree.map(jnp.asarray if traced else np.asarray, runs)
    begin = (as_array(t0, float), as_array(first_step(t0, dt)))
    times = _Times(as_array(dt, core.coupling.dtype), begin)
    work = _Work(times, saving.variables, integrator, tuple(devices))
    found, _ = within_memory(
        lambda lanes: _all_rounds(core, work, runs, saving, lanes),
        chunk,
        # Fewer at a time are of no use where there is no room for all results.
        may=lambda: _room_for_results(core, runs, saving, devices[0]),
    )
    return found


def _room_for_results(core: Any, runs: Runs, saving: Saving, device: Any) -> bool:
    """Whether the last states and what is saved of all runs fit into a device's memory."""
    known = device.memory_stats() or {}
    if "bytes_limit" not in known:
        return True
    one = runs.states[0].size * runs.states.dtype.itemsize
    needed = runs.states.shape[0] * (one + _bytes_of(core, runs, saving) * len(saving.ts))
    return bool(needed <= known["bytes_limit"] - known.get("bytes_in_use", 0))


def _bytes_of(core: Any, runs: Runs, saving: Saving) -> int:
    """Those of what is saved of one run at a time."""
    one = jax.ShapeDtypeStruct(runs.states.shape[1:], runs.states.dtype)
    seen = jax.eval_shape(lambda x: select(driven(core).model, saving.variables, x), one)
    return int(seen.size * seen.dtype.itemsize)


def _all_rounds(
    core: Any, work: _Work, runs: Runs, saving: Saving, chunk: int
) -> tuple[Any, Any, Any, Any]:
    """All runs, so many on each device at a time: as `run_chunks` returns them."""
    n, traced = runs.states.shape[0], not _checks.on_host(core, runs)
    xp: Any = jnp if traced else np
    work = work._replace(devices=work.devices[: math.ceil(n / chunk)])
    devices = work.devices
    pieces = blocks_of_saves(saving, traced, False, chunk * _bytes_of(core, runs, saving))
    lasts, saves, counts, pasts = [], [], [], []
    for index, kept in padded(n, chunk * len(devices)):
        some = jax.tree.map(lambda value, index=index: value[index], runs)
        last, saved, below, past = _one_round(core, work, some, pieces, xp)
        lasts.append(last[:kept])
        saves.append(saved[:kept])
        if below is not None:
            counts.append(below[:kept].sum(axis=tuple(range(1, below.ndim))))
        if past is not None:
            pasts.append(jax.tree.map(lambda some, kept=kept: some[:kept], past))
    saved = xp.concatenate(saves) if traced else joined(saves)
    if saving.picks != tuple(range(saved.shape[1])):
        saved = saved[:, list(saving.picks)]
    below = xp.concatenate(counts) if counts else None
    past = jax.tree.map(lambda *some: xp.concatenate(some), *pasts) if pasts else None
    return xp.concatenate(lasts), saved, below, past


def _chunk_of(n: int, devices: list[Any], most: int | None) -> int:
    """Runs that a device takes together: one of few numbers, so that programs are shared.

    Rounds are evenly filled; `most` is what a caller asks for.
    """
    if most is None:
        most = wide(_CPU_CHUNK, n)
    rounds = math.ceil(n / (most * len(devices)))
    each = math.ceil(n / (rounds * len(devices)))
    return min(most, _STEP * math.ceil(each / _STEP)) if n > 1 else 1


def _one_round(core: Any, work: _Work, runs: Runs, pieces: Any, xp: Any) -> tuple[Any, ...]:
    """One chunk on each device: last states (run, variable, region), saved ones (run, time, …),
    how often variables went below zero, (run, region), or None, and what was sent before, or None.

    In blocks of saves, which any number of them shares.
    """
    devices = work.devices

    def by_chunk(values: Any) -> Any:
        """(run, …) as (chunk, …, run in the chunk)."""
        return xp.moveaxis(values.reshape(len(devices), -1, *values.shape[1:]), 1, -1)

    def by_run(values: Any) -> Any:
        """And back."""
        return xp.moveaxis(values, -1, 1).reshape(-1, *values.shape[1:-1])

    runs = jax.tree.map(by_chunk, runs)
    memory, first = _start(core, runs, work)
    on = runs._replace(states=None, past=None)  # they are in the memory from here on
    last, below, saved = runs.states, None, [xp.asarray(first)]
    for kept, room, *steps in pieces:
        memory, some, (last, below) = _block(core, on, memory, work, (*steps, room))
        if kept:  # a copy, so that the rest of the room is given back
            saved.append(xp.array(xp.asarray(some)[:, :kept]))
    below = None if below is None else by_run(xp.asarray(below))
    past = _past(core, on, memory, work) if remembers(core) else None
    past = jax.tree.map(lambda some: by_run(xp.asarray(some)), past)
    return by_run(xp.asarray(last)), by_run(xp.concatenate(saved, axis=1)), below, past


def _over_chunks(function: Callable[..., Any], devices: tuple[Any, ...], whole: int) -> Any:
    """`function` of one chunk, over the leading axis of all arguments but the first `whole`."""

    def on_device(*arguments: Any) -> Any:
        lanes = jax.tree.map(lambda leaf: leaf[0], arguments[whole:])
        return jax.tree.map(lambda leaf: leaf[None], function(*arguments[:whole], *lanes))

    if len(devices) == 1:
        return on_device
    split, same = PartitionSpec("chunk"), PartitionSpec()
    return lambda *arguments: jax.shard_map(
        on_device,
        mesh=Mesh(np.array(devices), ("chunk",)),
        in_specs=(same,) * whole + (split,) * (len(arguments) - whole),
        out_specs=split,
        check_vma=False,
    )(*arguments)


def _at_work(
    core: Undriven | Driven, runs: Runs, times: _Times, integrator: AbstractFixedStep
) -> tuple[Driven, Stepper]:
    """A chunk's systems, along their last axis, and the integrator at work on them."""
    system = with_leaves(driven(core).over_runs(), runs.parameters)
    keys = jax.vmap(noise_key)(runs.seeds)
    return system, system.stepper(integrator, times.dt, keys, times.begin)


@eqx.filter_jit
def _start(core: Undriven | Driven, runs: Runs, work: _Work) -> tuple[Any, jax.Array]:
    """The memory at the beginning (chunk, …), and what is saved there (chunk, time, …)."""

    def one_chunk(core: Any, times: _Times, runs: Runs) -> Any:
        system, stepper = _at_work(core, runs, times, work.integrator)
        state = runs.states
        given = () if runs.past is None else (runs.past,)
        return stepper.start(state, *given), select(system.model, work.variables, state)[None]

    return _over_chunks(one_chunk, work.devices, 2)(core, work.times, runs)


@eqx.filter_jit
def _block(
    core: Undriven | Driven,
    runs: Runs,
    memory: Any,
    work: _Work,
    steps: tuple[Any, Any, int],
) -> tuple[Any, jax.Array, tuple[jax.Array, Any]]:
    """The memory at the end (chunk, …), what was saved (chunk, time, …), the last states, and how
    often variables went below zero.
    """
    counts, room = steps[:2], steps[2]
    known = isinstance(counts[0], int)

    def one_chunk(core: Any, times: _Times, some: Any, runs: Runs, memory: Any) -> Any:
        system, stepper = _at_work(core, runs, times, work.integrator)
        memory, saved = save_steps(
            lambda memory: stepper.advance(memory, None),
            memory,
            counts if known else some,
            room,
            lambda memory: select(system.model, work.variables, stepper.state(memory)),
        )
        return memory, saved, (stepper.state(memory), stepper.below(memory))

    run = _over_chunks(one_chunk, work.devices, 3)
    return run(core, work.times, () if known else counts, runs, memory)


@eqx.filter_jit
def _past(core: Undriven | Driven, runs: Runs, memory: Any, work: _Work) -> Any:
    """What runs leave beside their states, (chunk, region, …, run)."""

    def one_chunk(core: Any, times: _Times, runs: Runs, memory: Any) -> Any:
        _, stepper = _at_work(core, runs, times, work.integrator)
        return stepper.past(memory)

    return _over_chunks(one_chunk, work.devices, 2)(core, work.times, runs, memory)
