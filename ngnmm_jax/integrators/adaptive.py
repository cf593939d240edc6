"""Steps of a diffrax solver: adaptive, or of constant length."""

import math
from collections.abc import Callable
from typing import Any

import diffrax as dfx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.status import Status
from ngnmm_jax.integrators.base import AbstractIntegrator
from ngnmm_jax.integrators.loops import DIVERGED, finite_status


class Adaptive(AbstractIntegrator):
    """Steps that keep their error at a tolerance, by a diffrax solver: "adaptive".

    **Arguments:**

    - `solver`: of diffrax; None for Dopri8, and under white noise Heun's.
    - `rtol`, `atol`: a step's error is below `atol` plus `rtol` times the state.
    - `max_steps`: at most so many.

    With a `dt`, and under white noise, the solver's steps are of constant length.
    """

    solver: dfx.AbstractSolver | None = None
    rtol: float = 1e-6
    atol: float = 1e-8
    max_steps: int = 2**20

    def __check_init__(self) -> None:
        if self.solver is not None and not isinstance(self.solver, dfx.AbstractSolver):
            _checks.fail("solver", "be one of diffrax's", f"it is {self.solver!r}")
        _checks.positive("rtol", self.rtol)
        _checks.positive("atol", self.atol)
        _checks.positive_integer("max_steps", self.max_steps)

    def solver_for(self, *, noisy: bool) -> dfx.AbstractSolver:
        """The solver that is meant."""
        if self.solver is not None:
            return self.solver
        return dfx.Heun() if noisy else dfx.Dopri8()

    def most_steps(self, duration: float, dt: float | None, jumps: int) -> int:
        """A bound on the number of steps; of constant ones a power of two, to share programs."""
        if dt is None:
            return self.max_steps
        return 1 << (math.ceil(duration / dt) + 2 + 2 * jumps).bit_length()


def solve(
    field: Callable[[Any, jax.Array], jax.Array],
    state: jax.Array,
    t0: Float[Array, ""],
    t1: Float[Array, ""],
    ts: Float[Array, "time"],
    *,
    solver: dfx.AbstractSolver,
    controller: dfx.AbstractStepSizeController,
    dt0: Float[Array, ""] | None,
    select: Callable[[jax.Array], Any],
    max_steps: int,
    adjoint: dfx.AbstractAdjoint,
    progress: dfx.AbstractProgressMeter,
    noise: dfx.AbstractTerm | None = None,
) -> tuple[jax.Array, Any, dict[str, Any], Int[Array, ""]]:
    """`diffeqsolve` of `field(t, state)`: last state, `select(state)` at `ts`, counts, status."""
    drift: Any = dfx.ODETerm(lambda t, y, args: field(t, y))
    saveat = dfx.SaveAt(
        subs=[dfx.SubSaveAt(ts=ts, fn=lambda t, y, args: select(y)), dfx.SubSaveAt(t1=True)]
    )
    solution = dfx.diffeqsolve(
        drift if noise is None else dfx.MultiTerm(drift, noise),
        solver,
        t0=t0,
        t1=t1,
        dt0=dt0,
        y0=state,
        saveat=saveat,
        stepsize_controller=controller,
        adjoint=adjoint,
        event=dfx.Event(lambda t, y, args, **_: ~(jnp.abs(y).max() < DIVERGED)),
        max_steps=max_steps,
        throw=False,
        progress_meter=progress,
    )
    saved, last = solution.ys[0], solution.ys[1][0]
    status = finite_status(last, *jax.tree.leaves(saved))
    for result, code in (
        (dfx.RESULTS.event_occurred, Status.NOT_FINITE),
        (dfx.RESULTS.dt_min_reached, Status.STEP_TOO_SMALL),
        (dfx.RESULTS.max_steps_reached, Status.MAX_STEPS),
    ):
        status = jnp.where(solution.result == result, code, status)
    counts = {
        name: solution.stats[name]
        for name in ("num_steps", "num_accepted_steps", "num_rejected_steps")
    }
    return last, saved, counts, status
