"""Runs in lock-step, whose summaries are gathered while they are integrated.

Samples are taken in windows, and each window is reduced before the next one is computed: memory
does not grow with the time.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import with_leaves
from ngnmm_jax._core.status import Status
from ngnmm_jax.integrators import AbstractFixedStep
from ngnmm_jax.integrators.base import Stepper
from ngnmm_jax.integrators.loops import settled
from ngnmm_jax.simulation.saving import select
from ngnmm_jax.sweeps.summaries.base import Layout
from ngnmm_jax.sweeps.summaries.gathering import Gathering
from ngnmm_jax.systems.driven import Driven

#: The output that says how often noise took values below zero that cannot be.
BELOW_ZERO = "below_zero"
#: Where runs ended, and what was sent before, for others that go on from there.
ENDS = ("end", "past")


@dataclasses.dataclass(frozen=True)
class Plan:
    """How runs are computed, how they are cut into windows, and what is gathered of them."""

    integrator: AbstractFixedStep
    stride: int  # steps from one sample to the next
    transient: int  # samples left out before the first window
    layout: Layout
    signals: tuple[str, ...]
    gathering: Gathering

    @property
    def steps(self) -> tuple[jax.Array, jax.Array]:
        """Steps between samples, and samples left out before the first window."""
        return as_array(self.stride), as_array(self.transient)

    def names(self) -> tuple[tuple[str, ...], ...]:
        """Of the results, by summary and signal."""
        return tuple(
            tuple(f"{signal}_{summary.name}" for signal in self.signals)
            for summary in self.gathering.summaries
        )


class Shared(NamedTuple):
    """What all runs share, as arguments of a compiled program.

    - `system`; `dt`: its step; `steps`: as `Plan.steps` has them.
    - `arrays`: of the summaries.
    """

    system: Driven
    dt: jax.Array
    steps: tuple[jax.Array, jax.Array]
    arrays: Any


def streamed(plan: Plan, dtype: Any, *, ends: bool = False) -> tuple["Streamed", Any]:
    """The function that takes runs through such a plan, for `map_chunks`, and its arrays.

    `ends`: whether others go on from where they end.

    Plans that differ in `steps` and in arrays only have equal functions, which are compiled once.
    """
    static, arrays = plan.gathering.split(dtype)
    return Streamed(
        plan.integrator, plan.layout, plan.signals, plan.names(), static, static.written, ends
    ), arrays


@dataclasses.dataclass(frozen=True)
class Streamed:
    """Runs in lock-step through a plan.

    It takes what is `Shared`; and, with a leading axis of runs, "point" (values of parameters),
    "start" (states), "key" (of the noise), and perhaps "past" (what was sent, with delays). It
    returns the summaries (run, …), "below_zero" and "status"; with `ends` also where they end.
    """

    integrator: AbstractFixedStep
    layout: Layout
    signals: tuple[str, ...]
    names: tuple[tuple[str, ...], ...]
    gathering: Gathering
    written: tuple[str, ...]  # a class that was changed since is compiled anew
    ends: bool

    def __call__(self, shared: Shared, lanes: dict[str, Any]) -> dict[str, jax.Array]:
        stride, transient = shared.steps
        begun = self.begun(shared, lanes)
        sampler = _Sampler(begun.system, begun.stepper, self.signals, self.layout.window)
        zero = self.zero(lanes)

        def window(carry: Any, number: jax.Array) -> tuple[Any, Any]:
            # Before the first window, number -1, comes what is left out: in the same loop, so that
            # a step is compiled once.
            memory, before = carry
            left_out = number < 0
            count = jnp.where(left_out, transient, self.layout.window)
            memory, values = sampler.samples(memory, zero, stride, count)
            number = jnp.maximum(number, 0)
            totals, emitted = self.added(shared, before, values, number)
            totals = jax.tree.map(lambda a, b: jnp.where(left_out, a, b), before, totals)
            return (memory, totals), emitted

        numbers = jnp.arange(-1, self.layout.windows)
        carry = (begun.memory, self.totals(shared, lanes))
        (memory, totals), emitted = jax.lax.scan(window, carry, numbers)
        emitted = jax.tree.map(lambda value: value[1:], emitted)
        return self.finished(shared, lanes, begun, memory, totals, emitted)

    def begun(self, shared: Shared, lanes: dict[str, Any]) -> "Begun":
        """The system with the runs' parameters, the integrator at work on it, and its memory."""
        points = {name: jnp.moveaxis(value, 0, -1) for name, value in lanes["point"].items()}
        system = with_leaves(shared.system.over_runs(), points)
        stepper = system.stepper(self.integrator, shared.dt, lanes["key"])
        start, past = jax.tree.map(
            lambda value: jnp.moveaxis(value, 0, -1), (lanes["start"], lanes.get("past"))
        )
        given = () if past is None else (past,)
        return Begun(system, stepper, stepper.start(start, *given))

    def zero(self, lanes: dict[str, Any]) -> jax.Array:
        """A sample of nothing (signal, region, run)."""
        start = jnp.moveaxis(lanes["start"], 0, -1)
        return jnp.zeros((len(self.signals), *_regional(start)), start.dtype)

    def totals(self, shared: Shared, lanes: dict[str, Any]) -> Any:
        """What is gathered, before the first window."""
        return self.gathering.joined(shared.arrays).start(self.zero(lanes), self.layout)

    def added(self, shared: Shared, totals: Any, values: jax.Array, number: Any) -> Any:
        """What is gathered with a window's samples (sample, signal, region, run); what it emits."""
        return self.gathering.joined(shared.arrays).add(totals, values, number, self.layout)

    def finished(
        self,
        shared: Shared,
        lanes: dict[str, Any],
        begun: "Begun",
        memory: Any,
        totals: Any,
        emitted: Any,
    ) -> dict[str, jax.Array]:
        """The results, from the memory at the end and all that was gathered and emitted."""
        gathering = self.gathering.joined(shared.arrays)
        values, sound = gathering.values(totals, emitted, self.layout)
        result = {
            name: jnp.moveaxis(value[k], -1, 0)
            for names, value in zip(self.names, values, strict=True)
            for k, name in enumerate(names)
        }
        start = jnp.moveaxis(lanes["start"], 0, -1)
        stride, transient = shared.steps
        steps = stride.astype(start.dtype) * (transient + self.layout.samples)
        result[BELOW_ZERO] = _below_zero(begun.system, begun.stepper, memory, steps)
        last = begun.stepper.state(memory)
        result["status"] = _status(start, last, sound)
        if self.ends:
            past = begun.stepper.past(memory)
            ended = {"end": last} if past is None else {"end": last, "past": past}
            result |= jax.tree.map(lambda value: jnp.moveaxis(value, -1, 0), ended)
        return result


class Begun(NamedTuple):
    """Runs at their start: the system with their parameters, and an integrator at work on it."""

    system: Driven
    stepper: Stepper
    memory: Any


@dataclasses.dataclass(frozen=True)
class _Sampler:
    """Takes the samples of a window."""

    system: Any
    stepper: Stepper
    signals: tuple[str, ...]
    window: int

    def samples(
        self, memory: Any, zero: jax.Array, stride: jax.Array, count: jax.Array
    ) -> tuple[Any, jax.Array]:
        """A window's signals (sample, …), or the last ones of a longer stretch of `count`."""

        def one(k: jax.Array, carry: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
            memory, values = carry
            memory = jax.lax.fori_loop(
                0, stride, lambda _, memory: self.stepper.advance(memory, None), memory
            )
            return memory, values.at[jnp.minimum(k, self.window - 1)].set(self.sample(memory))

        values = jnp.zeros((self.window, *zero.shape), zero.dtype)
        found: tuple[Any, jax.Array] = jax.lax.fori_loop(0, count, one, (memory, values))
        return found

    def sample(self, memory: Any) -> jax.Array:
        """Signals (signal, region, run); a homogeneous system is one region."""
        state = self.stepper.state(memory)
        values = select(self.system.model, self.signals, state)
        return values.reshape(len(self.signals), -1, state.shape[-1])


def _regional(state: jax.Array) -> tuple[int, int]:
    """Numbers of regions and of runs of a state (variable, …, run)."""
    return state.size // state.shape[0] // state.shape[-1], state.shape[-1]


def _below_zero(system: Any, stepper: Stepper, memory: Any, steps: jax.Array) -> jax.Array:
    """The fraction of values (run,) that noise took below zero, in so many steps."""
    state, below = stepper.state(memory), stepper.below(memory)
    regions, runs = _regional(state)
    if below is None:
        return jnp.zeros(runs, state.dtype)
    count = below.reshape(-1, runs).sum(axis=0).astype(state.dtype)
    return count / (steps * (regions * len(system.may_go_below_zero)))


def _status(start: jax.Array, last: jax.Array, sound: list[jax.Array]) -> jax.Array:
    """How each run ended, from its first and last state, and where its summaries are sound."""
    finite = settled(last).reshape(-1, last.shape[-1]).all(axis=0)
    for where in sound:
        finite &= where
    lost = ~jnp.isfinite(start).reshape(-1, start.shape[-1]).all(axis=0)
    status = jnp.where(finite, Status.OK, Status.NOT_FINITE)
    return jnp.where(lost, Status.NONE_FOUND, status).astype(jnp.int8)
