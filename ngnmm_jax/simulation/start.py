"""Where runs start: near rest, scattered by each run's own seed."""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeGuard

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.lanes import map_chunks
from ngnmm_jax._core.parameters import bare, leaf, parameter_names, with_leaves
from ngnmm_jax._core.placement import jacobian_is_small, placed, wide
from ngnmm_jax._core.randomness import Purpose, is_key, stream
from ngnmm_jax._core.starting import first_state
from ngnmm_jax._core.status import SolverError, Status
from ngnmm_jax._core.types import Scalar
from ngnmm_jax.dynamics.equilibria import MOST, certify
from ngnmm_jax.dynamics.many_equilibria import near, search
from ngnmm_jax.dynamics.newton import from_starts, newton
from ngnmm_jax.models.base import AbstractNeuralMass
from ngnmm_jax.systems.driven import Driven, Undriven, undriven
from ngnmm_jax.systems.network import Network, averaged_over
from ngnmm_jax.systems.own_equations import OwnEquations, own_equations

# Runs whose noise is drawn together, on a CPU and elsewhere.
_LANES, _LANES_ELSEWHERE = 8, 4096
# Numbers of a run are drawn by as many.
_NUMBERS = 1024


@placed(lambda system, **given: jacobian_is_small(system) or not has_own_rest(undriven(system)))
def initial_state(
    system: Undriven | Driven, *, scatter: float = 0.01, seed: int = 0
) -> Float[Array, "variable ..."]:
    """The homogeneous equilibrium plus Gaussian noise, as the paper's simulations start.

    The stable equilibrium of lowest activity is taken, or the lowest where none is stable.
    A network without homogeneous states starts at those of its region-averaged parameters; one
    whose coupling or equations are its own, at its equilibrium near these.
    All equilibria are known where the model certifies it, as `NextGenEI` and `JansenRit` do; of
    other models, and under JAX transformations, those that are found (`find_equilibria` says).
    Quantities that cannot be negative (rates, gates) are reflected at zero.

    **Arguments:**

    - `scatter`: standard deviation, in the unit of each variable.
    - `seed`: the same seed gives the same noise.

    Raises `SolverError` where no equilibrium is found.
    """
    _checks.a_system(system)
    if _checks.is_concrete(scatter) and (not math.isfinite(scatter) or scatter < 0):
        _checks.fail("scatter", "be a finite number that is not negative", f"it is {scatter}")
    core = at_once(undriven(system))
    if not _checks.on_host(core, scatter, seed):
        return _state_near_rest(bare(core), as_array(scatter, core.coupling.dtype), seed)
    state = initial_states(core, {}, np.array([scatter]), np.array([seed]))[0]
    if not np.isfinite(state).all():
        raise SolverError("initial_state", Status.NONE_FOUND)
    return as_array(state)


def beginning(
    system: Undriven | Driven,
    core: Undriven | Driven,
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
    state = first_state(first, core, dtype=core.coupling.dtype)
    return state, begins(start, t0)


def begins(start: Any, t0: Any) -> float:
    """The time at which a run begins: `t0`, or the end of the run that it goes on from, or 0."""
    return _checks.time("t0", getattr(start, "t1", 0.0) if t0 is None else t0)


def initial_states(
    system: Undriven | Driven,
    varied: Mapping[str, Any],
    scatter: Any,
    seeds: Any,
    *,
    in_blocks: bool = False,
) -> Any:
    """Each run's own state near rest (run, variable, *region), NaN where there is no equilibrium.

    `varied` (run, …) are the values of parameters by name, `seeds` (run,), and `scatter` one
    standard deviation for all, or (run,). A run's state does not depend on the other runs (to the
    bit with `in_blocks`, as `search` has it).
    """
    core = at_once(undriven(system))
    known = parameter_names(core)
    varied = {k: value for k, value in varied.items() if k in known}
    if not _checks.on_host(core, varied, scatter, seeds):
        scatter = jnp.broadcast_to(as_array(scatter, core.coupling.dtype), jnp.shape(seeds))
        core = bare(core)
        return jax.vmap(lambda v, sd, seed: _state_near_rest(with_leaves(core, v), sd, seed))(
            dict(varied), scatter, as_array(seeds)
        )
    seeds = np.asarray(seeds)
    n = seeds.shape[0]
    rest = search(averaged_over(core, varied), n, in_blocks=in_blocks)
    stable = rest.stable
    some = stable.any(axis=1, keepdims=True)
    place = np.argmax(np.where(some, stable, rest.found), axis=1)
    # Of a system that was made in 64 bits too, where JAX has 32 by now.
    dtype = jax.dtypes.canonicalize_dtype(core.coupling.dtype)
    states = rest.states[np.arange(n), place].astype(dtype)
    if has_own_rest(core):
        values = {k: np.asarray(v, jnp.result_type(leaf(core, k))) for k, v in varied.items()}
        each = [{k: value[run] for k, value in values.items()} for run in range(n)]
        rests = [_own_rest(with_leaves(core, v), x) for v, x in zip(each, states, strict=True)]
        states = np.stack(rests).astype(dtype)
    shape = core.state_shape
    noise = _noise(seeds, math.prod(shape), dtype).reshape(n, *shape)
    noise *= np.broadcast_to(np.asarray(scatter, dtype), (n,)).reshape(n, *(1,) * len(shape))
    return _moved(np, states, noise, signs(core.model), len(shape) - 1)


def _noise(seeds: Int[np.ndarray, "run"], count: int, dtype: Any) -> Float[np.ndarray, "run count"]:
    """Each run's own normal numbers, of its seed.

    A number is a function of the seed and of its place, so that more may be drawn than there are
    used: states of most shapes have the same program.
    """
    drawer = _drawer(count + -count % _NUMBERS, dtype)
    # One device, so that the noise is the same to the bit on any number of them.
    return map_chunks(
        drawer,
        None,
        seeds,
        chunk=wide(_LANES, _LANES_ELSEWHERE),
        progress=False,
        one_device=True,
        lockstep=True,
    )[:, :count]


def at_once(core: Undriven) -> Any:
    """A system without its delays, which rests where it does."""
    late: Any = core
    return late.undelayed() if getattr(core, "delays", None) is not None else core


def has_own_rest(core: Undriven) -> TypeGuard[Network]:
    """Whether regions follow a coupling or equations of their own, whose rest is another."""
    return isinstance(core, Network) and own_equations(core, Network) != OwnEquations()


@eqx.filter_jit
def own_rest(core: Network, state: Float[Array, "variable"]) -> Float[Array, "variable region"]:
    """A network's own equilibrium near the averaged one; NaN where none is found there."""
    start = jnp.broadcast_to(state[:, None], core.state_shape)
    found, error = newton(core.vector_field, from_starts(core.vector_field, start[None])[0])
    known = (error <= float(jnp.finfo(found.dtype).eps) ** 0.6) & core.admissible(found)
    return jnp.where(known, found, jnp.nan)


def _own_rest(core: Network, state: Float[np.ndarray, "variable"]) -> np.ndarray:
    """`own_rest` of known values, driven from the host."""
    found, error, admissible = near(bare(core), np.broadcast_to(state[:, None], core.state_shape))
    known = error <= float(np.finfo(found.dtype).eps) ** 0.6 and admissible
    return found if known else np.full_like(found, np.nan)


def signs(model: AbstractNeuralMass) -> tuple[bool, ...]:
    """Which of a model's variables cannot be negative."""
    return tuple(name in model.nonnegative for name in model.variables)


@lru_cache(maxsize=16)
def _drawer(count: int, dtype: jnp.dtype) -> Any:
    """So many normal numbers of each seed, in lanes."""

    def draw(_: None, seeds: jax.Array) -> jax.Array:
        return jax.vmap(
            lambda seed: jax.random.normal(stream(seed, Purpose.START), (count,), dtype)
        )(seeds)

    return draw


def scattered(
    shape: tuple[int, ...],
    nonnegative: tuple[bool, ...],
    state: Float[Array, "variable ..."],
    scatter: Scalar,
    seed: Any,
) -> Float[Array, "variable ..."]:
    """A state, homogeneous or of all regions, plus noise; what cannot be negative is reflected.

    `shape` is that of the result; `seed` is an integer or a key.
    """
    key = seed if is_key(seed) else stream(seed, Purpose.START)
    # In a row, which compiles in half the time.
    noise = jax.random.normal(key, (math.prod(shape),), state.dtype).reshape(shape)
    return _moved(jnp, state, scatter * noise, nonnegative, len(shape) - 1)


def _moved(xp: Any, state: Any, noise: Any, nonnegative: tuple[bool, ...], axes: int) -> Any:
    """A state plus noise, (*run, variable, *region) with so many axes of regions, which the state
    may lack; what cannot be negative is reflected.
    """
    state = state.reshape(*state.shape, *(1,) * (noise.ndim - state.ndim)) + noise
    return xp.where(xp.array(nonnegative).reshape(-1, *(1,) * axes), xp.abs(state), state)


@eqx.filter_jit
def _state_near_rest(core: Undriven, scatter: Scalar, seed: Any) -> jax.Array:
    """`initial_state` under JAX's transformations: NaN where no equilibrium is found."""
    inner = core.averaged() if isinstance(core, Network) else core
    found = certify(inner, inner.equilibrium_candidates(MOST), MOST)
    first = jnp.argmax(jnp.where(found.stable.any(), found.stable, found.found))
    state = found.states[first]
    if has_own_rest(core):
        state = own_rest(core, state)
    return scattered(core.state_shape, signs(core.model), state, scatter, seed)
