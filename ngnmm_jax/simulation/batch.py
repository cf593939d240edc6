"""Many simulations of one network in lock-step, one compiled loop for all of them."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.memory import given as given_to_jax
from ngnmm_jax._core.placement import beside, steps_are_few
from ngnmm_jax._core.randomness import run_seeds
from ngnmm_jax._core.starting import first_states
from ngnmm_jax._core.status import Status
from ngnmm_jax._core.types import Time
from ngnmm_jax.integrators import AbstractFixedStep, fixed
from ngnmm_jax.integrators.loops import settled
from ngnmm_jax.models.parameters import as_parameter
from ngnmm_jax.simulation.chunks import Runs, run_chunks
from ngnmm_jax.simulation.fixed import fraction_below
from ngnmm_jax.simulation.history import History, past_of
from ngnmm_jax.simulation.precision import cast
from ngnmm_jax.simulation.result import Outcome, Simulation, package
from ngnmm_jax.simulation.saving import Request, Saving, check_memory
from ngnmm_jax.simulation.start import begins, initial_states
from ngnmm_jax.simulation.varied import count_runs
from ngnmm_jax.systems.delayed import for_steps, on_grid
from ngnmm_jax.systems.driven import Driven, Undriven, driven
from ngnmm_jax.systems.regional_maps import spread_maps


def simulate_batch(
    system: Undriven | Driven,
    parameters: Mapping[str, Any] | None = None,
    duration: Time = 1000.0,
    *,
    start: ArrayLike | Any = None,
    t0: Time | None = None,
    seed: Any = 0,
    scatter: float = 0.01,
    save_every: Time | None = None,
    save_at: Any = None,
    variables: Any = None,
    integrator: AbstractFixedStep | str | None = None,
    dt: Time | None = None,
    dtype: Any = None,
    chunk: int | None = None,
) -> Simulation:
    """Many runs of a network that differ in parameters, initial states or seeds.

    Fixed steps in lock-step, with the runs along the *last* axis of the state, where the
    coupling of all of them is one matrix product. The runs are cut into chunks and spread
    over all local devices: GPUs, or CPU cores where JAX was told to see them as devices
    (`jax.config.update("jax_num_cpu_devices", 2)` before its first use).

    **Arguments:**

    - `system`: what all runs share; it may be `Driven`.
    - `parameters`: by name (of the model, "coupling", or a driven network's noise, as in
      "input_noise"), values (run,) or (run, region); or, by a name of its own, a `RegionalMap`
      with amplitudes (run,).
    - `duration`, `t0`, `save_every`, `save_at`, `variables`, `dtype`: as in `simulate`;
      `variables` is only the model's shown quantity by default.
    - `integrator`: one of `simulate`'s with a fixed step; by default RK4 where `dt` is given, else
      "moebius" where the model has an exact flow and RK4 where it has none.
    - `dt`: the step; by default the longest, up to the `longest_step` of the integrator in the
      fastest run, that divides all other times.
    - `start` (run, variable, region), or one for all, as in `simulate`: initial states; by default
      each run's own homogeneous equilibrium plus noise.
    - `seed`: of that noise, and of a driven network's: one for each run; or one integer, whose
      `run_seeds` they are: the first run has it itself. A run does not depend on the rest of the
      batch: it is that of `simulate(…, seed=…)` with the same parameters and step.
    - `chunk`: runs that a device advances together; by default 32 on a CPU, all on a GPU.
      Where they do not fit its memory, half, with a warning.

    Returns a `Simulation` with a leading axis `run`; its `status` (run,) tells which runs
    diverged, or had no equilibrium to start from. Nothing is raised for them.
    """
    _checks.a_system(system)
    given = spread_maps(system, parameters or {})
    varied = {name: as_parameter(name, value) for name, value in given.items()}
    core = cast(system.bare(), dtype)
    dtype = core.coupling.dtype
    n = count_runs(core, varied, start, seed)
    with beside("simulate_batch", steps_are_few(core, n), core, varied, start, seed):
        names = (core.model.shown,) if variables is None else variables
        request = Request(core.model, duration, begins(start, t0), save_every, save_at, names)
        method = fixed(core, integrator, dt)
        if dt is None:
            dt = request.step(method.longest_step(core, varied))
        dt = _checks.time("dt", dt)
        _checks.positive("dt", dt)
        core = on_grid(core, dt, varied)
        saving = request.plan(dt)
        check_memory(saving, request, math.prod(core.state_shape[1:]), dtype, n)
        known: Any = np if _checks.is_concrete(seed) else jnp
        numbers = run_seeds(seed, n) if np.ndim(seed) == 0 else known.asarray(seed)
        if start is None:
            states = as_array(initial_states(system.bare(), varied, scatter, numbers), dtype)
        else:
            states = first_states(start, n, core, dtype)
        varied = {name: value.astype(dtype) for name, value in varied.items()}
        runs = Runs(varied, states, numbers, past_of(start, core, dt, runs=n))
        core = for_steps(core)
        found = run_chunks(core, runs, saving, method, dt, t0=request.t0, chunk=chunk)
        outcome = _outcome(core, runs, found, saving, dt)
        t1 = request.t0 + request.duration
        return package(core.model, system, saving, outcome, t1, request.t0)


def _outcome(core: Any, runs: Runs, found: Any, saving: Saving, dt: float) -> Outcome:
    """What was computed of a batch."""
    last, saved, below, sent = found
    stats = {"num_steps": as_array(saving.n_steps)}
    if below is not None:
        stats["below_zero"] = fraction_below(driven(core), below, saving.n_steps)
    status = _ended(runs.states, last, saved)
    history = History.of(jax.tree.map(as_array, sent), dt)
    before = History.of(runs.past, dt)
    saved = given_to_jax(saved) if isinstance(saved, np.ndarray) else saved
    return Outcome(as_array(last), saved, status, stats, history, before)


def _ended(states: Any, last: Any, saved: Any) -> Any:
    """How each run ended, from its first state, the last one, and what was saved (run, …)."""
    xp: Any = np if isinstance(saved, np.ndarray) else jnp
    finite = _each(settled(last)) & _each(settled(saved))
    started = _each(xp.isfinite(xp.asarray(states)))
    status = xp.where(finite, Status.OK, Status.NOT_FINITE)
    return as_array(xp.where(started, status, Status.NONE_FOUND))


def _each(well: Any) -> Any:
    """Whether all of a run is, (run,)."""
    return well.all(axis=tuple(range(1, well.ndim)))
