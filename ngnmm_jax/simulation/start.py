"""Where runs start: near rest, with noise of each run's own seed."""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.lanes import map_chunks
from ngnmm_jax._core.parameters import bare, noise_of, with_leaves
from ngnmm_jax._core.randomness import Purpose, stream
from ngnmm_jax._core.starting import first_state
from ngnmm_jax._core.status import SolverError, Status
from ngnmm_jax._core.types import Scalar
from ngnmm_jax.dynamics.equilibria import MOST, certify, near, rest_state
from ngnmm_jax.dynamics.many_equilibria import search
from ngnmm_jax.models.base import AbstractNeuralMass
from ngnmm_jax.systems.driven import Driven, undriven
from ngnmm_jax.systems.homogeneous import Homogeneous
from ngnmm_jax.systems.network import Network
from ngnmm_jax.systems.own_equations import OwnEquations, only_plain, own_equations

# Runs whose noise is drawn together, on a CPU and elsewhere.
_LANES, _LANES_ELSEWHERE = 8, 4096


def initial_state(
    system: Network | Homogeneous | Driven, *, scatter: float = 0.01, seed: int = 0
) -> Float[Array, "variable ..."]:
    """The homogeneous equilibrium plus Gaussian noise, as the paper's simulations start.

    The stable equilibrium of lowest activity is taken, or the lowest where none is stable.
    A network without homogeneous states starts at those of its region-averaged parameters.
    All equilibria are known where the model certifies it, as `NextGenEI` and `JansenRit` do; of
    other models, and under JAX transformations, those that are found (`find_equilibria` says).
    Quantities that cannot be negative (rates, gates) are reflected at zero.

    **Arguments:**

    - `scatter`: standard deviation, in the unit of each variable.
    - `seed`: the same seed gives the same noise.

    Raises `SolverError` where no equilibrium is found.
    """
    if _checks.is_concrete(scatter) and (not math.isfinite(scatter) or scatter < 0):
        _checks.fail("scatter", "be a finite number that is not negative", f"it is {scatter}")
    core = undriven(system)
    if not _checks.on_host(core, scatter, seed):
        return _state_near_rest(bare(core), jnp.asarray(scatter, core.coupling.dtype), seed)
    if isinstance(core, Network) and own_equations(core, Network) != OwnEquations():
        return _state_of_own(core, scatter, seed)
    state = initial_states(core, {}, np.array([scatter]), np.array([seed]))[0]
    if not np.isfinite(state).all():
        raise SolverError("initial_state", Status.NONE_FOUND)
    return jnp.asarray(state)


def beginning(
    system: Network | Homogeneous | Driven,
    core: Network | Homogeneous | Driven,
    start: Any,
    t0: Any,
    *,
    seed: Any,
    scatter: Any,
) -> tuple[Float[Array, "variable ..."], float]:
    """Where and when a run begins, in the precision of `core`, which is `system` otherwise.

    `start` is as `simulate` has it; a previous run also says when, unless `t0` does.
    """
    first = initial_state(system, seed=seed, scatter=scatter) if start is None else start
    state = first_state(first, core.state_shape, dtype=core.coupling.dtype)
    return state, begins(start, t0)


def begins(start: Any, t0: Any) -> float:
    """The time at which a run begins: `t0`, or the end of the run that it goes on from, or 0."""
    return _checks.time("t0", getattr(start, "t1", 0.0) if t0 is None else t0)


def _state_of_own(core: Network, noise: float, seed: int) -> jax.Array:
    """Of a network with equations of its own: its equilibrium near the averaged one."""
    dtype = core.coupling.dtype
    state = near(bare(core), rest_state(core).astype(dtype))
    scatter = noise * jax.random.normal(stream(seed, Purpose.START), state.shape, dtype)
    signed = jnp.array(signs(core.model))[:, None]
    if not bool(jnp.isfinite(state).all()):
        raise SolverError("initial_state", Status.NONE_FOUND)
    return jnp.where(signed, jnp.abs(state + scatter), state + scatter)


def initial_states(
    system: Network | Homogeneous | Driven,
    varied: Mapping[str, Any],
    noise: Any,
    seeds: Any,
    *,
    in_blocks: bool = False,
) -> Any:
    """Each run's own state near rest (run, variable, *region), NaN where there is no equilibrium.

    `varied` (run, …) are the values of parameters by name, `seeds` (run,), and `noise` one
    standard deviation for all, or (run,). A run's state does not depend on the other runs (to the
    bit with `in_blocks`, as `search` has it).
    """
    core = undriven(system)
    varied = {k: value for k, value in varied.items() if noise_of(k) is None}
    if not _checks.on_host(core, varied, noise, seeds):
        noise = jnp.broadcast_to(jnp.asarray(noise, core.coupling.dtype), jnp.shape(seeds))
        core = bare(core)
        return jax.vmap(lambda v, sd, seed: _state_near_rest(with_leaves(core, v), sd, seed))(
            dict(varied), noise, jnp.asarray(seeds)
        )
    seeds = np.asarray(seeds)
    n = seeds.shape[0]
    if isinstance(core, Network):
        only_plain(core, Network, "give `start`")
    rest = search(_averaged(core, varied), n, in_blocks=in_blocks)
    stable = rest.stable
    some = stable.any(axis=1, keepdims=True)
    place = np.argmax(np.where(some, stable, rest.found), axis=1)
    dtype = core.coupling.dtype
    lanes = {
        "state": rest.states[np.arange(n), place].astype(dtype),
        "noise": np.broadcast_to(np.asarray(noise, dtype), (n,)),
        "seed": seeds,
    }
    here = jax.local_devices()[0].platform == "cpu"
    # One device, so that the noise is the same to the bit on any number of them.
    return map_chunks(
        _scatterer(core.state_shape, signs(core.model)),
        None,
        lanes,
        chunk=_LANES if here else _LANES_ELSEWHERE,
        progress=False,
        one_device=True,
        lockstep=True,
    )


def _averaged(core: Network | Homogeneous, varied: Mapping[str, Any]) -> Homogeneous:
    """The homogeneous systems (run,) of the region-averaged parameters, as `Network.averaged`."""
    inner = jax.tree.map(np.asarray, Homogeneous(core.model, core.coupling))
    values = {k: np.asarray(v) for k, v in varied.items()}
    coupling = values.pop("coupling", None)
    if isinstance(core, Network):
        sums = np.asarray(core.graph.matrix(), float).sum(axis=1)
        strength = inner.coupling if coupling is None else coupling
        each = strength[..., None] if coupling is not None and coupling.ndim == 1 else strength
        coupling = (each * sums).mean(axis=-1)
    elif coupling is None:
        coupling = inner.coupling
    # Parameters that do not vary have no axis of runs, but may have one of regions.
    inner = jax.tree.map(lambda leaf: leaf.mean() if leaf.ndim else leaf, inner)
    means = {k: v.mean(axis=1) if v.ndim == 2 else v for k, v in values.items()}
    return with_leaves(inner, {**means, "coupling": np.asarray(coupling)})


def signs(model: AbstractNeuralMass) -> tuple[bool, ...]:
    """Which of a model's variables cannot be negative."""
    return tuple(name in model.nonnegative for name in model.variables)


@lru_cache(maxsize=16)
def _scatterer(shape: tuple[int, ...], signs: tuple[bool, ...]) -> Any:
    """Noise on homogeneous states in lanes, for states of a shape."""

    def scatter(_: None, lanes: dict[str, jax.Array]) -> jax.Array:
        return jax.vmap(
            lambda lane: scattered(shape, signs, lane["state"], lane["noise"], lane["seed"])
        )(lanes)

    return scatter


def scattered(
    shape: tuple[int, ...],
    nonnegative: tuple[bool, ...],
    state: Float[Array, "variable"],
    noise: Scalar,
    seed: Any,
) -> Float[Array, "variable ..."]:
    """A homogeneous state plus noise, with what cannot be negative reflected at zero.

    `shape` is that of the result; `seed` is an integer or a key.
    """
    is_key = isinstance(seed, jax.Array) and jnp.issubdtype(seed.dtype, jax.dtypes.prng_key)
    key = seed if is_key else stream(seed, Purpose.START)
    everywhere = (-1, *(1,) * (len(shape) - 1))
    state = jnp.broadcast_to(state.reshape(everywhere), shape)
    state = state + noise * jax.random.normal(key, shape, state.dtype)
    return jnp.where(jnp.array(nonnegative).reshape(everywhere), jnp.abs(state), state)


@eqx.filter_jit
def _state_near_rest(core: Network | Homogeneous, noise: Scalar, seed: Any) -> jax.Array:
    """`initial_state` under JAX's transformations: NaN where no equilibrium is found."""
    inner = core.averaged() if isinstance(core, Network) else core
    found = certify(inner, inner.equilibrium_candidates(MOST), MOST)
    first = jnp.argmax(jnp.where(found.stable.any(), found.stable, found.found))
    return scattered(core.state_shape, signs(core.model), found.states[first], noise, seed)
