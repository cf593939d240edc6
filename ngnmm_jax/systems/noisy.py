"""Steps with noise: an integrator's own, with what noise adds before, in and after them."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core.parameters import INPUT
from ngnmm_jax._core.types import Scalar
from ngnmm_jax.integrators import Stepper
from ngnmm_jax.systems.noises import AbstractNoise, Course, entering, place_of

# What is drawn of a noise in a step: its increments first, the state of coloured noise at a run's
# beginning last.
_BEGINNING = 2


class Sources(NamedTuple):
    """What a step takes from outside, by its number (counted from time zero) and the state.

    - `drawn(name, number, state, part)`: standard normal numbers (*region, *run) of a noise;
      those of other parts (left out: 0) are independent.
    - `stimulated(number, state)`: the stimulus's mean in the step and its rise, or (None, None).
    """

    drawn: Callable[..., Any]
    stimulated: Callable[[Any, Any], tuple[Any, Any]]


class Past(NamedTuple):
    """What a run goes on from beside its state.

    - `sent`: of a network with delays, as its `Stepper.past` has it; else None.
    - `noise`: coloured noise by name, (*region, *run), over its standard deviation; else None.
    """

    sent: Any = None
    noise: Any = None


class _Memory(NamedTuple):
    """Of the integrator; the next step's number; how often values went below zero, or None; and
    coloured noise by name.
    """

    at: Any
    number: Any
    below: Any
    processes: dict[str, Any]


def noisy(system: Any, inner: Stepper, dt: Scalar, first: Any, sources: Sources) -> Stepper:
    """An integrator at work on a driven system's network, driven: see `Driven.stepper`."""
    work = _Noisy(system, inner, dt, sources)
    return Stepper(
        partial(work.start, first),
        work.advance,
        lambda memory: inner.state(memory.at),
        lambda memory, change: memory._replace(at=inner.kick(memory.at, change)),
        lambda memory: memory.below,
        work.past,
    )


class _Noisy:
    """An integrator's steps with noise."""

    def __init__(self, system: Any, inner: Stepper, dt: Scalar, sources: Sources) -> None:
        self.system, self.inner, self.dt = system, inner, dt
        self.drawn, self.stimulated = sources
        every = system.noise.items()
        self.plain = {k: v for k, v in every if not isinstance(v, AbstractNoise)}
        self.objects = {k: v for k, v in every if isinstance(v, AbstractNoise)}
        variables = system.model.variables
        self.bounded = np.isin(np.arange(len(variables)), system.may_go_below_zero)
        # What regions have sent is known at the ends of steps only.
        self.halves = getattr(system, "delays", None) is None

    def start(self, first: Any, state: jax.Array, past: Any = None) -> _Memory:
        """At the beginning; coloured noise as it was, or from its stationary distribution."""
        known = past if isinstance(past, Past) else Past(past)
        below = jnp.zeros(state.shape[1:], jnp.int32) if self.bounded.any() else None
        given = () if known.sent is None else (known.sent,)
        processes = {
            name: noise.begun(self.drawn(name, first, state, _BEGINNING))
            for name, noise in self.objects.items()
            if noise.smooth
        }
        if known.noise is not None:
            processes |= {
                k: jnp.broadcast_to(known.noise[k], begun.shape)  # one region's stands for all
                for k, begun in processes.items()
                if k in known.noise
            }
        return _Memory(self.inner.start(state, *given), first, below, processes)

    def past(self, memory: _Memory) -> Any:
        """What `start` takes; None where the state is all."""
        sent = self.inner.past(memory.at)
        if sent is None and not memory.processes:
            return None
        return Past(sent, memory.processes or None)

    def advance(self, memory: _Memory, stimulus: Any, rise: Any = None) -> _Memory:
        """One step."""
        at, number, below, processes = memory
        inner, state = self.inner, self.inner.state(memory.at)
        mean, slope = self.stimulated(number, state)
        push, rise = _sum(stimulus, mean), _sum(rise, slope)
        if INPUT in self.plain:
            strength = self.plain[INPUT] / jnp.sqrt(self.dt)
            push = _sum(push, strength * self.drawn(INPUT, number, state))
        courses = self._courses(processes, number, state)
        processes = {name: courses[name].process for name in processes}
        for name in self._pushing():
            strength, course = self.objects[name].strength, courses[name]
            push = _sum(push, strength * course.mean)
            rise = _sum(rise, None if course.rise is None else strength * course.rise)
        bad: Any = False
        early = [name for name in self._kicking() if self.objects[name].smooth and self.halves]
        for name in early:
            at = self._smooth_kick(at, name, courses[name].mean * (self.dt / 2))
        if early:
            at, bad = self._kept(at)
        at = inner.advance(at, push, rise)
        at = self._plain_kicks(at, number, state)
        for name in self._kicking():
            noise, mean = self.objects[name], courses[name].mean
            if noise.smooth:
                part = self.dt / 2 if self.halves else self.dt
                at = self._smooth_kick(at, name, mean * part)
            else:
                at = self._white_kick(at, name, mean * self.dt)
        if self.bounded.any():
            at, found = self._kept(at)
            below = below + (bad | found).sum(axis=0, dtype=below.dtype)
        return _Memory(at, number + 1, below, processes)

    def _courses(self, processes: Any, number: Any, state: jax.Array) -> dict[str, Course]:
        """What the noises that are objects are in this step."""

        def normal(name: str, part: int) -> jax.Array:
            drawn: jax.Array = self.drawn(name, number, state, part)
            return drawn

        return {
            name: noise.course(processes.get(name), self.dt, partial(normal, name))
            for name, noise in self.objects.items()
        }

    def _pushing(self) -> list[str]:
        """Noise that is added to the input within the step."""
        return [k for k, noise in self.objects.items() if k == INPUT and noise.factor is None]

    def _kicking(self) -> list[str]:
        """Noise that moves the state at once, before and after the step."""
        return [name for name in self.objects if name not in self._pushing()]

    def _plain_kicks(self, at: Any, number: Any, state: jax.Array) -> Any:
        for name, strength in self.plain.items():
            if name == INPUT:
                continue
            row, scale = place_of(self.system.model, name)
            step = strength * jnp.sqrt(self.dt) * self.drawn(name, number, state)
            step = step if isinstance(scale, float) else scale * step
            # Set in place: where it is chosen by a mask, XLA on CPU draws it once for each use.
            at = self.inner.kick(at, jnp.zeros_like(state).at[row].set(step))
        return at

    def _along(self, name: str, state: jax.Array) -> jax.Array:
        """How fast a unit of a noise moves a state, (variable, *axes)."""
        amount = self.objects[name].amplitude(self.system.model, state)
        return entering(self.system.system, name, state, amount)

    def _smooth_kick(self, at: Any, name: str, part: jax.Array) -> Any:
        """Along a noise that has values, whose integral is `part`: of order two in it."""
        state = self.inner.state(at)
        slope = self._along(name, state)
        if self.objects[name].factor is not None:
            slope = (slope + self._along(name, self._inside(state + slope * part))) / 2
        return self.inner.kick(at, slope * part)

    def _white_kick(self, at: Any, name: str, step: jax.Array) -> Any:
        """By white noise that grows by `step`, in the sense that is meant."""
        noise, state = self.objects[name], self.inner.state(at)
        slope = self._along(name, state)
        if noise.factor is None:
            return self.inner.kick(at, slope * step)
        if noise.sense == "stratonovich":
            ahead = self._along(name, self._inside(state + slope * step))
            return self.inner.kick(at, (slope + ahead) / 2 * step)
        root = jnp.sqrt(self.dt)
        ahead = self._along(name, self._inside(state + slope * root))
        more = (ahead - slope) * (step**2 - self.dt) / (2 * root)
        return self.inner.kick(at, slope * step + more)

    def _below(self, state: jax.Array) -> jax.Array:
        """Where values are below zero that cannot be."""
        return (state < 0) & self.bounded.reshape(-1, *(1,) * (state.ndim - 1))

    def _inside(self, state: jax.Array) -> jax.Array:
        """A state with such values as they are kept."""
        if self.system.below_zero == "keep" or not self.bounded.any():
            return state
        turned = -state if self.system.below_zero == "reflect" else jnp.zeros_like(state)
        return jnp.where(self._below(state), turned, state)

    def _kept(self, at: Any) -> tuple[Any, Any]:
        """After what becomes of values below zero; and where they were."""
        if not self.bounded.any():
            return at, False
        found = self.inner.state(at)
        bad = self._below(found)
        if self.system.below_zero != "keep":
            turn = -2 if self.system.below_zero == "reflect" else -1
            at = self.inner.kick(at, jnp.where(bad, turn * found, 0.0))
        return at, bad


def _sum(a: Any, b: Any) -> Any:
    """The sum, where None is nothing."""
    return b if a is None else a if b is None else a + b
