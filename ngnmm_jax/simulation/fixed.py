"""One run in fixed steps, in blocks that any number of saves shares."""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.memory import given, room
from ngnmm_jax._core.progress import progress_bar
from ngnmm_jax._core.randomness import first_step
from ngnmm_jax._core.status import Status
from ngnmm_jax.integrators import AbstractFixedStep, Stepper
from ngnmm_jax.integrators.loops import finite_status, save_steps, settled
from ngnmm_jax.simulation.history import History
from ngnmm_jax.simulation.result import Outcome
from ngnmm_jax.simulation.saving import Saving, blocks_of_saves, select
from ngnmm_jax.systems.delayed import at_work
from ngnmm_jax.systems.driven import Driven, Undriven, driven, noise_key, remembers

# A run of at least this many steps is cut into blocks, for its progress.
_LONG_RUN = 20_000


class _Work(NamedTuple):
    """What decides a program of steps, but for the system.

    - `begin`: the noise's key, and when the run begins (`Driven.stepper`).
    """

    dt: jax.Array
    begin: tuple[Any, Any]
    variables: tuple[str, ...]
    integrator: AbstractFixedStep

    def stepper(self, system: Undriven | Driven) -> Stepper:
        """The integrator at work."""
        if isinstance(system, Driven):
            return system.stepper(self.integrator, self.dt, *self.begin)
        return at_work(self.integrator, system, self.dt)


@eqx.filter_jit
def _start(
    system: Undriven | Driven, state: jax.Array, past: Any, work: _Work
) -> tuple[Any, jax.Array]:
    """The memory at the beginning, and what is saved there."""
    given = () if past is None else (past if isinstance(system, Driven) else past.sent,)
    return work.stepper(system).start(state, *given), select(system.model, work.variables, state)


@eqx.filter_jit
def _block(
    system: Undriven | Driven,
    memory: Any,
    work: _Work,
    steps: tuple[Any, Any],
    room: int,
) -> tuple[Any, jax.Array, tuple[jax.Array, Any]]:
    """The memory at the end, what was saved; the last state, and what went below zero.

    `steps`, `room`: as `save_steps` has them.
    """
    stepper = work.stepper(system)
    memory, saved = save_steps(
        lambda memory: stepper.advance(memory, None),
        memory,
        steps,
        room,
        lambda memory: select(system.model, work.variables, stepper.state(memory)),
    )
    return memory, saved, (stepper.state(memory), stepper.below(memory))


@eqx.filter_jit
def _past(system: Undriven | Driven, memory: Any, work: _Work) -> Any:
    """What the run leaves beside its state: what was sent, with delays; coloured noise."""
    return work.stepper(system).past(memory)


def run_fixed(
    system: Undriven | Driven,
    state: jax.Array,
    saving: Saving,
    integrator: AbstractFixedStep,
    dt: float,
    *,
    t0: float,
    seed: Any,
    progress: bool | None,
    past: Any = None,
) -> Outcome:
    """What was computed of a run; of a network with delays, from a `past` if that is given."""
    begin = (noise_key(seed), (as_array(t0, float), as_array(first_step(t0, dt))))
    work = _Work(as_array(dt, state.dtype), begin, saving.variables, integrator)
    traced = not _checks.on_host(system, state, begin)
    long = progress is not False and saving.n_steps >= _LONG_RUN
    memory, first = _start(system, state, past, work)
    pieces = blocks_of_saves(saving, traced, long, first.size * first.dtype.itemsize)
    saved: Any = [first[None]] if traced else _Samples(saving.picks, first)
    last, below = state, None
    shown = progress if progress or (long and len(pieces) > 1) else False
    with progress_bar(saving.n_steps, "simulate", "step", shown, unit_scale=True) as bar:
        for kept, places, *steps in pieces:
            memory, some, (last, below) = _block(system, memory, work, tuple(steps), places)
            if kept:
                saved.append(some if traced else np.asarray(some)[:kept])
            bar.update(kept * saving.stride if kept else int(steps[1]))
    stats: dict[str, Any] = {"num_steps": as_array(saving.n_steps)}
    if below is not None:
        stats["below_zero"] = fraction_below(driven(system), below.sum(), saving.n_steps)
    history = History.of(_past(system, memory, work) if remembers(system) else None, dt)
    before = History.of(past, dt)
    if traced:
        stacked = jnp.concatenate(saved)[np.array(saving.picks)]
        return Outcome(last, stacked, finite_status(last, stacked), stats, history, before)
    finite = saved.settled and settled(np.asarray(last)).all()
    status = as_array(Status.OK if finite else Status.NOT_FINITE)
    return Outcome(last, given(saved.values), status, stats, history, before)


class _Samples:
    """Samples of a run as they come, (time, …): those that are picked, in their place at once.

    - `settled`: whether no value has diverged.
    """

    def __init__(self, picks: tuple[int, ...], first: Any) -> None:
        self.picks = np.array(picks)
        self.values = room((len(picks), *first.shape), first.dtype)
        self.settled, self._number = True, 0
        self.append(np.asarray(first)[None])

    def append(self, some: np.ndarray) -> None:
        """The next saves."""
        begin, self._number = self._number, self._number + len(some)
        where = slice(*np.searchsorted(self.picks, (begin, self._number)))
        self.values[where] = some[self.picks[where] - begin]
        self.settled &= bool(settled(self.values[where]).all())


def fraction_below(system: Driven, count: Any, n_steps: int) -> jax.Array:
    """Of all values of variables that cannot be negative, those that noise took below zero."""
    regions = math.prod(system.state_shape[1:])
    return as_array(count / (n_steps * regions * len(system.may_go_below_zero)), float)
