"""Simulation of a network, or of its homogeneous reduction: one run."""

import math
from collections.abc import Sequence
from typing import Any

import diffrax as dfx
import jax
import numpy as np
from jax.typing import ArrayLike

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.placement import placed, steps_are_few
from ngnmm_jax._core.status import raise_unless_ok
from ngnmm_jax._core.types import Time
from ngnmm_jax.integrators import RK4, AbstractFixedStep, AbstractIntegrator, Adaptive, chosen
from ngnmm_jax.simulation.adaptive import run_adaptive
from ngnmm_jax.simulation.fixed import run_fixed
from ngnmm_jax.simulation.history import past_of
from ngnmm_jax.simulation.precision import cast
from ngnmm_jax.simulation.result import Simulation, package
from ngnmm_jax.simulation.saving import Request, Saving, check_memory
from ngnmm_jax.simulation.start import beginning
from ngnmm_jax.systems.delayed import for_steps, on_grid
from ngnmm_jax.systems.driven import Driven, Undriven


@placed(lambda system, **given: steps_are_few(system))
def simulate(
    system: Undriven | Driven,
    duration: Time,
    *,
    start: ArrayLike | Any = None,
    t0: Time | None = None,
    seed: int = 0,
    scatter: float = 0.01,
    save_every: Time | None = None,
    save_at: Sequence[float] | np.ndarray | jax.Array | None = None,
    variables: Sequence[str] | None = None,
    integrator: AbstractIntegrator | dfx.AbstractSolver | str | None = None,
    dt: Time | None = None,
    dtype: Any = None,
    adjoint: dfx.AbstractAdjoint | None = None,
    progress: bool | None = None,
    throw: bool = True,
) -> Simulation:
    """Integrate a network from an initial state for a while.

    Adaptive by default (diffrax, Dopri8); with `dt`, fixed steps of RK4 compiled into one
    loop. All times are in the model's unit (ms for `NextGenEI`, s for `JansenRit`).
    A `Driven` network takes its stimulus as it comes, and its noise in fixed steps (`Driven` says).

    With delays steps are fixed, at most as long as the shortest delay: of "moebius", or RK4 for
    models without an exact flow. What was sent in between steps is interpolated to the methods'
    order. Regions are taken to have sent the same for ever before the run, unless `start` is a
    run of such a network, whose history goes on; where what is sent begins to change abruptly, its
    slope jumps again after each delay, and there the order is two.

    **Arguments:**

    - `system`: a network, `network.homogeneous()` (with delays where each coupling has one), or
      either `Driven`; `duration`: how long.
    - `start` (variable, region): initial state; or (variable,), that of all regions; or a previous
      `Simulation`, to go on from its end, an `Orbit`, `Equilibria` or a `SpecialPoint` to start
      there; by default `initial_state(system, seed=seed, scatter=scatter)`.
    - `t0`: initial time; by default 0, or the end of the run given as `start`.
    - `seed`: of the initial noise, and of a driven network's noise.
    - `save_every`: sampling interval, by default about 1 ms; or `save_at` (time,): times, rising,
      from `t0` on. Samples of over half of the memory, or 2 GB unasked for, are refused.
    - `variables`: names of what is saved, by default all of the model's and what it shows.
    - `integrator`: "adaptive", "rk4", "heun", "euler", "dopri8", or "moebius", for models with an
      exact local flow: of order four with one product of the weights a step, rates positive
      whatever the step (`NextGenEI`); or an object of `ngnmm_jax.integrators`, such as
      `Adaptive(rtol=1e-10)` or one of your own; or a diffrax solver.
    - `dt`: fixed step. A fixed-step `integrator` without it takes the longest, up to its
      `longest_step` (the model's `time_step`; "moebius" twice that), that divides all times.
    - `dtype`: `jnp.float32` or `jnp.float64`; by default that of the network. 32 bits are
      meant for fixed steps: adaptive ones also keep the time in 32 bits.
    - `adjoint`: how diffrax differentiates adaptive runs; None for its default (reverse
      mode with checkpoints). `diffrax.ForwardMode()` allows `jax.jvp`, `jax.jacfwd`.
    - `progress`: a progress bar; None shows one for fixed steps that take over two seconds.
    - `throw`: raise `SolverError` unless the run ended well; under JAX transformations
      nothing is raised and `status` tells.

    Raises `ValueError` for bad arguments.
    """
    _checks.seed(seed)
    _checks.a_system(system)
    core = cast(system.bare(), dtype)
    first, t0 = beginning(system, core, start, t0, seed=seed, scatter=scatter)
    request = Request(core.model, duration, t0, save_every, save_at, variables)
    integrator, step, saving = _steps(core, request, integrator, dt, adjoint)
    check_memory(saving, request, math.prod(core.state_shape[1:]), first.dtype)
    if isinstance(integrator, AbstractFixedStep):
        core = on_grid(core, step)
        past, core = past_of(start, core, step), for_steps(core)
        outcome = run_fixed(
            core, first, saving, integrator, step, t0=t0, seed=seed, progress=progress, past=past
        )
    else:
        outcome = run_adaptive(
            core, first, saving, integrator, step,
            span=(t0, request.t0 + request.duration), seed=seed, adjoint=adjoint, progress=progress,
        )  # fmt: skip
    result = package(core.model, system, saving, outcome, request.t0 + request.duration, t0)
    if throw:
        raise_unless_ok("simulate", result.status, result)
    return result


def _steps(
    core: Undriven | Driven, request: Request, integrator: Any, dt: Any, adjoint: Any
) -> tuple[AbstractFixedStep | Adaptive, Any, Saving]:
    """The integrator that is meant, its step (None for adaptive ones), and what is saved.

    Noise is taken by fixed steps where the times have a common one and no diffrax solver is asked
    for; by diffrax in constant ones otherwise, between which it saves too.
    """
    if dt is not None:
        dt = _checks.time("dt", dt)
        _checks.positive("dt", dt)
    noisy = isinstance(core, Driven) and bool(core.noise)
    if noisy and integrator is None and dt is None and adjoint is None:
        dt = request.common_step(RK4().longest_step(core))
    found = chosen(core, integrator, dt, lockstep=False)
    if dt is None and isinstance(found, AbstractFixedStep):
        dt = request.step(found.longest_step(core))
    elif dt is None and noisy:
        return found, found.longest_step(core), request.plan(None)
    return found, dt, request.plan(dt)
