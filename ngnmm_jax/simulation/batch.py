"""Many simulations of one network in lock-step, one compiled loop for all of them."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jax.typing import ArrayLike

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.lanes import padded
from ngnmm_jax._core.parameters import one_for_all, with_leaves
from ngnmm_jax._core.randomness import run_seeds
from ngnmm_jax._core.status import Status
from ngnmm_jax._core.types import Time
from ngnmm_jax.integrators.loops import settled
from ngnmm_jax.integrators.methods import Method, Stepper
from ngnmm_jax.models.base import as_parameter, parameter_fields
from ngnmm_jax.simulation.single import (
    Simulation,
    blocks_of_saves,
    cast,
    fixed_method,
    fraction_below,
    package,
    plan_saving,
    save_steps,
    select,
)
from ngnmm_jax.simulation.start import initial_states
from ngnmm_jax.systems.driven import Driven, driven, noise_key
from ngnmm_jax.systems.network import Homogeneous, Network

# Simulations that one CPU core advances together: a tile of the state and its intermediate
# values stay in the core's cache, and the coupling is one matrix product.
_CPU_TILE = 32
# Tiles are multiples of this.
_STEP = 8


def simulate_batch(
    system: Network | Driven,
    parameters: Mapping[str, Any] | None = None,
    duration: Time = 1000.0,
    *,
    dt: Time,
    start: ArrayLike | None = None,
    seed: Any = 0,
    scatter: float = 0.01,
    save_every: Time | None = None,
    save_at: Any = None,
    variables: Any = None,
    integrator: str = "rk4",
    dtype: Any = None,
    chunk: int | None = None,
) -> Simulation:
    """Many runs of a network that differ in parameters, initial states or seeds.

    Fixed steps in lock-step, with the runs along the *last* axis of the state, where the
    coupling of all of them is one matrix product. The runs are cut into tiles and spread
    over all local devices: GPUs, or CPU cores where JAX was told to see them as devices
    (`jax.config.update("jax_num_cpu_devices", 2)` before its first use).

    **Arguments:**

    - `system`: what all runs share; it may be `Driven`.
    - `parameters`: by name (of the model, "coupling", or a driven network's noise, as in
      "input_noise"), values (run,) or (run, region).
    - `duration`, `save_every`, `save_at`, `variables`, `dtype`: as in `simulate`;
      `variables` is only the model's shown quantity by default.
    - `dt`: the fixed step; `integrator`: "rk4", "heun", "euler", "dopri8" or "moebius".
    - `start` (run, variable, region) or (variable, region): initial states; by default each
      run's own homogeneous equilibrium plus noise.
    - `seed`: of that noise, and of a driven network's: one for each run; or one integer, whose
      `run_seeds` they are: the first run has it itself. A run does not depend on the rest of the
      batch: it is that of `simulate(…, seed=…)` with the same parameters and step.
    - `chunk`: runs that a device advances together; by default 32 on a CPU, all on a GPU.

    Returns a `Simulation` with a leading axis `run`; its `status` (run,) tells which runs
    diverged, or had no equilibrium to start from. Nothing is raised for them.
    """
    varied = {name: as_parameter(name, value) for name, value in (parameters or {}).items()}
    core = system.bare()
    if dtype is not None:
        core = cast(core, dtype)
    dtype = core.coupling.dtype
    n = count_runs(core, varied, start, seed)
    duration, dt = _checks.time("duration", duration), _checks.time("dt", dt)
    save_every = None if save_every is None else _checks.time("save_every", save_every)
    _checks.positive("duration", duration)
    _checks.positive("dt", dt)
    method = fixed_method(system.model, integrator)
    names = (system.model.shown,) if variables is None else variables
    saving = plan_saving(system.model, duration, 0.0, save_every, save_at, names, dt)
    known: Any = np if _checks.is_concrete(seed) else jnp
    numbers = run_seeds(seed, n) if np.ndim(seed) == 0 else known.asarray(seed)
    if start is None:
        states = jnp.asarray(initial_states(system.bare(), varied, scatter, numbers), dtype)
    else:
        states = jnp.broadcast_to(jnp.asarray(start, dtype), (n, *core.state_shape))
        _checks.finite("start", states)
    varied = {name: value.astype(dtype) for name, value in varied.items()}

    devices = jax.local_devices()
    if chunk is not None:
        _checks.positive_integer("chunk", chunk)
    chunk = _tile(n, devices, chunk)
    devices = devices[: math.ceil(n / chunk)]
    traced = not _checks.on_host(core, varied, states, numbers)
    pieces = blocks_of_saves(saving, traced, in_pieces=False)
    shared = (core, jnp.asarray(dt, dtype), saving.variables, method, tuple(devices))
    xp: Any = jnp if traced else np
    runs = jax.tree.map(xp.asarray, (varied, states, numbers))
    lasts, saves, counts = [], [], []
    for index, kept in padded(n, chunk * len(devices)):
        some = jax.tree.map(lambda value, index=index: value[index], runs)
        last, saved, below = _one_round(shared, some, pieces, xp)
        lasts.append(last[:kept])
        saves.append(saved[:kept])
        if below is not None:
            counts.append(below[:kept].sum(axis=tuple(range(1, below.ndim))))
    last = xp.concatenate(lasts)
    saved = xp.concatenate(saves)[:, list(saving.picks)]
    finite = settled(last).all(axis=(1, 2)) & settled(saved).all(axis=(1, 2, 3))
    started = xp.isfinite(xp.asarray(states)).all(axis=(1, 2))
    status = xp.where(finite, Status.OK, Status.NOT_FINITE)
    status = jnp.asarray(xp.where(started, status, Status.NONE_FOUND))
    last, saved = jnp.asarray(last), jnp.asarray(saved)
    stats = {"num_steps": jnp.asarray(saving.n_steps)}
    if counts:
        stats["below_zero"] = fraction_below(driven(core), xp.concatenate(counts), saving.n_steps)
    return package(system.model, system, saving, last, saved, status, stats, duration)


def _tile(n: int, devices: list[Any], most: int | None) -> int:
    """Runs that a device takes together: one of few numbers, so that programs are shared.

    Rounds are evenly filled; `most` is what a caller asks for.
    """
    if most is None:
        most = _CPU_TILE if devices[0].platform == "cpu" else n
    rounds = math.ceil(n / (most * len(devices)))
    each = math.ceil(n / (rounds * len(devices)))
    return min(most, _STEP * math.ceil(each / _STEP)) if n > 1 else 1


def count_runs(
    core: Network | Homogeneous | Driven, varied: dict[str, Any], y0: Any, seeds: Any
) -> int:
    """The length of the axis `run`, on which everything that has one must agree."""
    counts: dict[str, int] = {}
    fields = {field.name: field for field in parameter_fields(type(core.model))}
    noises = [f"{name}_noise" for name in driven(core).noise]
    regions = core.state_shape[1:]
    for name, value in varied.items():
        _checks.one_of("parameters", name, (*fields, "coupling", *noises))
        positive = name in fields and fields[name].metadata["positive"]
        (_checks.positive if positive else _checks.finite)(name, value)
        if value.ndim not in (1, 2) or value.shape[1:] not in ((), regions):
            one_each = f" or (run, {regions[0]} regions)" if regions else ""
            _checks.fail(name, f"have shape (run,){one_each}", f"its shape is {value.shape}")
        if value.ndim == 1:
            one_for_all(core, name, "give values (run, region)")
        counts[name] = value.shape[0]
    if np.ndim(seeds) == 1:
        counts["seeds"] = len(seeds)
    if y0 is not None and np.ndim(y0) == 1 + len(core.state_shape):
        counts["y0"] = np.shape(y0)[0]
    if y0 is not None and np.shape(y0)[-len(core.state_shape) :] != core.state_shape:
        _checks.fail("y0", f"have shape (run, *{core.state_shape})", f"its shape is {np.shape(y0)}")
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} has {count}" for name, count in counts.items())
        _checks.fail("parameters", "all have the same number of runs", listed)
    return next(iter(counts.values()), 1)


def _one_round(shared: Any, runs: Any, pieces: Any, xp: Any) -> tuple[Any, Any, Any]:
    """One tile on each device: last states (run, variable, region), saved ones (run, time, …),
    and how often variables went below zero, (run, region), or None.

    `runs` are parameters, states and seeds (run, …). In blocks of saves, which any number of them
    shares.
    """
    core, dt, variables, method, devices = shared
    fixed = (variables, method, devices)

    def by_tile(values: Any) -> Any:
        """(run, …) as (tile, …, run in the tile)."""
        return xp.moveaxis(values.reshape(len(devices), -1, *values.shape[1:]), 1, -1)

    def by_run(values: Any) -> Any:
        """And back."""
        return xp.moveaxis(values, -1, 1).reshape(-1, *values.shape[1:-1])

    varied, states, seeds = jax.tree.map(by_tile, runs)
    memory, first = _start(core, varied, states, seeds, dt, fixed)
    last, below, saved = states, None, [xp.asarray(first)]
    for kept, room, *steps in pieces:
        memory, some, (last, below) = _block(core, varied, memory, seeds, dt, (*steps, room), fixed)
        if kept:  # a copy, so that the rest of the room is given back
            saved.append(xp.array(xp.asarray(some)[:, :kept]))
    below = None if below is None else by_run(xp.asarray(below))
    return by_run(xp.asarray(last)), by_run(xp.concatenate(saved, axis=1)), below


def _over_tiles(function: Callable[..., Any], devices: tuple[Any, ...], whole: int) -> Any:
    """`function` of one tile, over the leading axis of all arguments but the first `whole`."""

    def on_device(*arguments: Any) -> Any:
        lanes = jax.tree.map(lambda leaf: leaf[0], arguments[whole:])
        return jax.tree.map(lambda leaf: leaf[None], function(*arguments[:whole], *lanes))

    if len(devices) == 1:
        return on_device
    split, same = PartitionSpec("tile"), PartitionSpec()
    return lambda *arguments: jax.shard_map(
        on_device,
        mesh=Mesh(np.array(devices), ("tile",)),
        in_specs=(same,) * whole + (split,) * (len(arguments) - whole),
        out_specs=split,
        check_vma=False,
    )(*arguments)


def _stepper(core: Any, varied: Any, seeds: Any, dt: Any, method: Method) -> tuple[Any, Stepper]:
    system = with_leaves(driven(core).over_runs(), varied)
    return system, system.stepper(method, dt, jax.vmap(noise_key)(seeds))


@eqx.filter_jit
def _start(
    core: Network | Driven, varied: Any, states: Any, seeds: Any, dt: jax.Array, fixed: Any
) -> tuple[Any, jax.Array]:
    variables, method, devices = fixed

    def one_tile(core: Any, dt: Any, varied: Any, state: Any, seeds: Any) -> Any:
        system, stepper = _stepper(core, varied, seeds, dt, method)
        return stepper.start(state), select(system.model, variables, state)[None]

    return _over_tiles(one_tile, devices, 2)(core, dt, varied, states, seeds)


@eqx.filter_jit
def _block(
    core: Network | Driven,
    varied: Any,
    memory: Any,
    seeds: Any,
    dt: jax.Array,
    steps: tuple[Any, Any, int],
    fixed: Any,
) -> tuple[Any, jax.Array, tuple[jax.Array, Any]]:
    """The memory at the end (tile, …), what was saved (tile, time, …), the last states, and how
    often variables went below zero.
    """
    variables, method, devices = fixed
    counts, room = steps[:2], steps[2]
    known = isinstance(counts[0], int)

    def one_tile(core: Any, dt: Any, some: Any, varied: Any, memory: Any, seeds: Any) -> Any:
        system, stepper = _stepper(core, varied, seeds, dt, method)
        memory, saved = save_steps(
            lambda memory: stepper.advance(memory, None),
            memory,
            counts if known else some,
            room,
            lambda memory: select(system.model, variables, stepper.state(memory)),
        )
        return memory, saved, (stepper.state(memory), stepper.below(memory))

    run = _over_tiles(one_tile, devices, 3)
    return run(core, dt, () if known else counts, varied, memory, seeds)
