"""One run by a diffrax solver, in adaptive steps or constant ones; noise as diffrax draws it."""

from typing import Any, NamedTuple

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.randomness import noise_segment
from ngnmm_jax.integrators.adaptive import Adaptive, solve
from ngnmm_jax.integrators.steps import StepsToJumps
from ngnmm_jax.models.times import usual_sample
from ngnmm_jax.simulation.result import Outcome
from ngnmm_jax.simulation.saving import Saving, select
from ngnmm_jax.systems.driven import Driven, Undriven, driven, noise_key, undriven
from ngnmm_jax.systems.noises import AbstractNoise, check_entries, entering

# Saves are filled up to a multiple of this, so that most runs share a program.
_FILL = 128


class _Work(NamedTuple):
    """How a run is taken through time, but for its system, state and times.

    - `dt`: of constant steps; None for adaptive ones, with `tolerances`.
    - `key`: of the noise; None without.
    """

    dt: jax.Array | None
    tolerances: tuple[jax.Array, jax.Array]
    variables: tuple[str, ...]
    solver: dfx.AbstractSolver
    max_steps: int
    adjoint: dfx.AbstractAdjoint
    meter: dfx.AbstractProgressMeter
    key: Any


def run_adaptive(
    system: Undriven | Driven,
    state: jax.Array,
    saving: Saving,
    integrator: Adaptive,
    dt: float | None,
    *,
    span: tuple[float, float],
    seed: Any,
    adjoint: dfx.AbstractAdjoint | None,
    progress: bool | None,
) -> Outcome:
    """What was computed of a run."""
    dtype = state.dtype
    if any(isinstance(noise, AbstractNoise) for noise in driven(system).noise.values()):
        must = "take fixed steps for noise given as an object: name one, or give `dt`"
        _checks.fail("integrator", must, "diffrax would take them")
    check_entries(driven(system))
    noisy = isinstance(system, Driven) and bool(system.noise)
    stimulus = driven(system).stimulus
    jumps = 0 if stimulus is None else stimulus.jumps.size
    times = np.asarray(saving.ts, dtype)
    filled = np.append(times, np.repeat(times[-1], -len(times) % _FILL))
    work = _Work(
        None if dt is None else as_array(dt, dtype),
        (as_array(integrator.rtol, dtype), as_array(integrator.atol, dtype)),
        saving.variables,
        integrator.solver_for(noisy=noisy),
        integrator.most_steps(span[1] - span[0], dt, jumps),
        dfx.RecursiveCheckpointAdjoint() if adjoint is None else adjoint,
        dfx.TqdmProgressMeter(refresh_steps=200) if progress else dfx.NoProgressMeter(),
        noise_segment(noise_key(seed), span[0]) if noisy else None,
    )
    ends = (as_array(span[0], dtype), as_array(span[1], dtype))
    last, saved, stats, status = _run(system, state, ends, as_array(filled), work)
    if _checks.on_host(saved):
        return Outcome(last, as_array(np.asarray(saved)[: len(times)]), status, stats)
    return Outcome(last, saved[: len(times)], status, stats)


@eqx.filter_jit
def _run(
    system: Undriven | Driven,
    state: jax.Array,
    span: tuple[jax.Array, jax.Array],
    ts: jax.Array,
    work: _Work,
) -> tuple[jax.Array, jax.Array, dict[str, Any], jax.Array]:
    network, stimulus = undriven(system), driven(system).stimulus

    def field(t: jax.Array, y: jax.Array) -> jax.Array:
        if stimulus is None:
            return network.vector_field(y)
        push = jnp.broadcast_to(stimulus(t).astype(y.dtype), y.shape[1:])
        return network.vector_field(y, push)

    noisy = work.key is not None
    bounded = np.array(driven(system).may_go_below_zero if noisy else [], dtype=int)

    def kept(y: jax.Array) -> Any:
        below = (y[bounded] < 0).mean(dtype=float) if bounded.size else None
        return select(system.model, work.variables, y), below

    last, (saved, below), stats, status = solve(
        field,
        state,
        *span,
        ts,
        solver=work.solver,
        controller=_controller(system, span, ts.dtype, work),
        dt0=work.dt,
        select=kept,
        max_steps=work.max_steps,
        adjoint=work.adjoint,
        progress=work.meter,
        noise=_noise_term(driven(system), state, span, work) if noisy else None,
    )
    if below is not None:
        stats["below_zero"] = below.mean()
    return last, saved, stats, status


def _controller(
    system: Undriven | Driven, span: Any, dtype: Any, work: _Work
) -> dfx.AbstractStepSizeController:
    """Of the steps' lengths, which end at jumps of the stimulus."""
    stimulus = driven(system).stimulus
    jumps = None if stimulus is None or not stimulus.jumps.size else stimulus.jumps
    if work.dt is not None:
        return dfx.ConstantStepSize() if jumps is None else StepsToJumps(jumps)
    rtol, atol = work.tolerances
    smallest = 16 * jnp.finfo(dtype).eps * jnp.maximum(jnp.abs(span[0]), jnp.abs(span[1]))
    longest = _longest_step(system, dtype)
    controller = dfx.PIDController(rtol=rtol, atol=atol, dtmin=smallest, dtmax=longest)
    if jumps is None:
        return controller
    return dfx.ClipStepSizeController(controller, jump_ts=jnp.sort(jumps).astype(dtype))


def _longest_step(system: Undriven | Driven, dtype: Any) -> Any:
    """The longest adaptive step that goes over no change of the stimulus unseen; None for any."""
    stimulus = driven(system).stimulus
    if stimulus is None:
        return None
    longest = stimulus.longest_step
    if longest is None:
        longest = usual_sample(system.model)
    return as_array(longest, dtype)


def _noise_term(system: Driven, state: jax.Array, span: Any, work: _Work) -> dfx.AbstractTerm:
    """Noise on the input and on variables, as a term for diffrax."""
    network = system.system
    like = jax.ShapeDtypeStruct(state.shape[1:], state.dtype)
    # Finer than the steps, which jumps of a stimulus may cut short.
    tolerance: Any = None if work.dt is None else work.dt / 8
    path = dfx.VirtualBrownianTree(*span, tolerance, dict.fromkeys(system.noise, like), work.key)

    def diffusion(t: Any, y: jax.Array, args: Any) -> lx.AbstractLinearOperator:
        def along(increments: dict[str, jax.Array]) -> jax.Array:
            change = jnp.zeros_like(y)
            for name, strength in system.noise.items():
                change = change + entering(network, name, y, strength * increments[name])
            return change

        return lx.FunctionLinearOperator(along, dict.fromkeys(system.noise, like))

    return dfx.ControlTerm(diffusion, path)
