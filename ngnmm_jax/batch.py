"""Many simulations of one network in lock-step, one compiled loop for all of them."""

import math
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from ngnmm_jax import _checks
from ngnmm_jax._status import Status
from ngnmm_jax.driven import Driven, driven, noise_key, undriven
from ngnmm_jax.dynamics.integrate import repeated
from ngnmm_jax.dynamics.methods import Method
from ngnmm_jax.dynamics.parameters import with_leaves
from ngnmm_jax.models.base import parameter_fields
from ngnmm_jax.network import Homogeneous, Network
from ngnmm_jax.simulation import (
    Saving,
    Simulation,
    cast,
    fixed_method,
    package,
    plan_saving,
    select,
    state_near_rest,
)

# Simulations that one CPU core advances together: a tile of the state and its intermediate
# values stay in the core's cache, and the coupling is one matrix product.
_CPU_TILE = 32


def simulate_batch(
    network: Network | Driven,
    parameters: Mapping[str, Any] | None = None,
    duration: float = 1000.0,
    *,
    dt: float,
    y0: ArrayLike | None = None,
    seeds: Any = 0,
    noise: float = 0.01,
    save_every: float | None = None,
    save_at: Any = None,
    variables: Any = None,
    solver: str = "rk4",
    dtype: Any = None,
    tile: int | None = None,
) -> Simulation:
    """Many runs of a network that differ in parameters, initial states or seeds.

    Fixed steps in lock-step, with the runs along the *last* axis of the state, where the
    coupling of all of them is one matrix product. The runs are cut into tiles and spread
    over all local devices: GPUs, or CPU cores where JAX was told to see them as devices
    (`jax.config.update("jax_num_cpu_devices", 2)` before its first use).

    **Arguments:**

    - `network`: what all runs share; it may be `Driven`.
    - `parameters`: by name (of the model, "coupling", or a driven network's noise, as in
      "input_noise"), values (run,) or (run, region).
    - `duration`, `save_every`, `save_at`, `variables`, `dtype`: as in `simulate`;
      `variables` is only the model's shown quantity by default.
    - `dt`: the fixed step; `solver`: "rk4", "heun", "euler", "dopri8" or "moebius".
    - `y0` (run, variable, region) or (variable, region): initial states; by default each
      run's own homogeneous equilibrium plus noise.
    - `seeds`: of that noise, and of a driven network's: one for each run, or one integer, from
      which the runs count up. A run does not depend on the rest of the batch: it is that of
      `simulate(…, seed=…)` with the same parameters and step.
    - `tile`: runs that a device advances together; by default 32 on a CPU, all on a GPU.

    Returns a `Simulation` with a leading axis `run`; its `status` (run,) tells which runs
    diverged. Nothing is raised for them.
    """
    varied = {name: jnp.asarray(value) for name, value in (parameters or {}).items()}
    core = network.bare()
    if dtype is not None:
        core = cast(core, dtype)
    dtype = core.coupling.dtype
    n = count_runs(core, varied, y0, seeds)
    _checks.positive("duration", duration)
    _checks.positive("dt", dt)
    method = fixed_method(network.model, solver)
    names = (network.model.shown,) if variables is None else variables
    saving = plan_saving(network.model, duration, 0.0, save_every, save_at, names, dt)
    varied = {name: value.astype(dtype) for name, value in varied.items()}
    numbers = jnp.arange(n) + seeds if np.ndim(seeds) == 0 else jnp.asarray(seeds)
    if y0 is None:
        keys = jax.vmap(jax.random.key)(numbers)
        states = initial_states(core, varied, jnp.asarray(noise, dtype), keys)
        states = states.astype(dtype)
    else:
        states = jnp.broadcast_to(jnp.asarray(y0, dtype), (n, *core.state_shape))
        _checks.finite("y0", states)

    devices = jax.local_devices()
    if tile is None:
        tile = _CPU_TILE if devices[0].platform == "cpu" else n
    _checks.positive_integer("tile", tile)
    devices = devices[: min(len(devices), n)]
    rounds = math.ceil(n / (tile * len(devices)))
    tiles = rounds * len(devices)
    tile = math.ceil(n / tiles)

    last, saved = _run(
        core,
        {name: _into_tiles(value, tiles, tile) for name, value in varied.items()},
        _into_tiles(states, tiles, tile),
        _into_tiles(numbers, tiles, tile),
        jnp.asarray(dt, dtype),
        saving,
        method,
        Mesh(np.array(devices), ("tile",)),
    )
    last, saved = last[:n], saved[:n]
    finite = jnp.isfinite(last).all(axis=(1, 2)) & jnp.isfinite(saved).all(axis=(1, 2, 3))
    status = jnp.where(finite, Status.OK, Status.NOT_FINITE)
    stats = {"num_steps": jnp.asarray(saving.n_steps)}
    return package(network.model, network, saving, last, saved, status, stats, duration)


def count_runs(
    core: Network | Homogeneous | Driven, varied: dict[str, Any], y0: Any, seeds: Any
) -> int:
    """The length of the axis `run`, on which everything that has one must agree."""
    counts: dict[str, int] = {}
    fields = {field.name: field for field in parameter_fields(type(core.model))}
    noises = [f"{name}_noise" for name in driven(core).white_noise]
    regions = core.state_shape[1:]
    for name, value in varied.items():
        _checks.one_of("parameters", name, (*fields, "coupling", *noises))
        positive = name in fields and fields[name].metadata["positive"]
        (_checks.positive if positive else _checks.finite)(name, value)
        if value.ndim not in (1, 2) or value.shape[1:] not in ((), regions):
            one_each = f" or (run, {regions[0]} regions)" if regions else ""
            _checks.fail(name, f"have shape (run,){one_each}", f"its shape is {value.shape}")
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


@eqx.filter_jit
def initial_states(
    core: Network | Homogeneous | Driven,
    varied: dict[str, jax.Array],
    noise: jax.Array,
    keys: Any,
) -> Float[Array, "run variable *region"]:
    """Each run's own state near rest, from its own key; `noise` is one for all, or (run,)."""
    core = undriven(core)
    varied = {name: value for name, value in varied.items() if not name.endswith("_noise")}
    noise = jnp.broadcast_to(noise, keys.shape)
    return jax.vmap(lambda v, sd, key: state_near_rest(with_leaves(core, v), sd, key))(
        varied, noise, keys
    )


def _into_tiles(values: jax.Array, tiles: int, tile: int) -> jax.Array:
    """(run, …) as (tile number, …, run in the tile); the last run is repeated to fill up."""
    fill = tiles * tile - values.shape[0]
    values = jnp.concatenate([values, jnp.repeat(values[-1:], fill, axis=0)])
    return jnp.moveaxis(values.reshape(tiles, tile, *values.shape[1:]), 1, -1)


@eqx.filter_jit
def _run(
    core: Network | Driven,
    varied: dict[str, jax.Array],
    states: Float[Array, "tiles variable region tile"],
    seeds: Int[Array, "tiles tile"],
    dt: jax.Array,
    saving: Saving,
    method: Method,
    mesh: Mesh,
) -> tuple[jax.Array, jax.Array]:
    """Last states (run, variable, region) and saved ones (run, time, variable, region)."""
    n_saves, rest = divmod(saving.n_steps, saving.stride)

    def one_tile(core: Any, varied: dict[str, jax.Array], state: jax.Array, seeds: Any) -> Any:
        system = with_leaves(driven(core).over_runs(), varied)
        stepper = system.stepper(method, dt, jax.vmap(noise_key)(seeds), jnp.zeros(()))

        def keep(memory: Any) -> jax.Array:
            return select(system.model, saving.variables, stepper.state(memory))

        def advance(memory: Any, n: int, stride: int) -> tuple[Any, jax.Array]:
            return repeated(
                lambda memory: stepper.advance(memory, None),
                memory,
                n_saves=n,
                stride=stride,
                select=keep,
            )

        memory = stepper.start(state)
        begun = keep(memory)[None]
        memory, saved = advance(memory, n_saves, saving.stride)
        saved = jnp.concatenate([begun, saved])[np.array(saving.picks)]
        if rest:
            memory, _ = advance(memory, 1, rest)
        last = stepper.state(memory)
        return jnp.moveaxis(last, -1, 0), jnp.moveaxis(saved, -1, 0)

    def on_device(core: Any, *lanes: Any) -> Any:
        return jax.lax.map(lambda lane: one_tile(core, *lane), lanes)

    split, whole = PartitionSpec("tile"), PartitionSpec()
    last, saved = jax.shard_map(
        on_device,
        mesh=mesh,
        in_specs=(whole, split, split, split),
        out_specs=(split, split),
        check_vma=False,
    )(core, varied, states, seeds)
    return last.reshape(-1, *last.shape[2:]), saved.reshape(-1, *saved.shape[2:])
