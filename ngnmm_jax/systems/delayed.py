"""Networks with delays at work: regions alone, driven by what arrives of the past."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import with_fields, with_leaves
from ngnmm_jax._core.types import Channels, Scalar, State
from ngnmm_jax.coupling.base import AbstractCoupling, AbstractSum
from ngnmm_jax.graphs.past import Reach, refined, ring, with_newest
from ngnmm_jax.integrators import RK4, AbstractFixedStep, Stepper
from ngnmm_jax.models.base import AbstractNeuralMass
from ngnmm_jax.models.hooks import ExactFlow

# What was sent over each coupling with delays, by what comes before the names of its parameters:
# (region, node, …), the nodes ends of steps.
Pasts = dict[str, Any]


class Arriving(NamedTuple):
    """What reaches regions from outside of them, at a time.

    - `sums` (*channel, region, *run): of what was sent, over the connections of each coupling with
      delays; of one that is `AbstractPairwise` what arrives over each connection, (from, to, *run).
    - `push` (*input, region, *run): a stimulus, which adds to what they receive; None without.
    """

    sums: dict[str, Any]
    push: Any


class Reached(eqx.Module):
    """The regions of a network, with what arrives late as their stimulus.

    - `now`: what arrives where no stimulus is given.
    """

    model: AbstractNeuralMass
    interaction: AbstractCoupling
    now: Arriving

    def vector_field(self, state: State, stimulus: Arriving | None = None) -> State:
        """Time derivative of a state (variable, region, *run)."""
        return self.model.vector_field(state, self.received(state, stimulus))

    def exact_flow(self, dt: Scalar) -> ExactFlow:
        """The model's flow over a step, with inputs (state, what arrives)."""
        flow: Any = self.model.exact_flow(dt)

        def inputs(state: State, arriving: Any) -> jax.Array:
            found: jax.Array = flow.inputs(state, self.received(state, arriving))
            return found

        return ExactFlow(inputs, flow.advance)

    def nothing(self, state: State) -> Arriving:
        """That nothing arrives."""
        return Arriving(jax.tree.map(jnp.zeros_like, sent(self, state)), None)

    def received(self, state: State, stimulus: Arriving | None = None) -> Channels:
        """What reaches each region, (region, *run)."""
        arriving = self.now if stimulus is None else stimulus
        received = self.interaction.reached(arriving.sums, self.model.output(state))
        return received if arriving.push is None else received + arriving.push


def sent(system: Any, state: State) -> dict[str, Any]:
    """What regions send over each coupling with delays, (*channel, region, *run)."""
    outputs = system.model.output(state)
    return {name: part.sent(outputs) for name, part in system.interaction.delayed().items()}


class Remembered(NamedTuple):
    """What is known between steps.

    - `inner`: the integrator's memory.
    - `past` (region, place, …): what was sent at the ends of steps, each a `ring`.
    - `coming` (step, moment, region, …): what arrives in the steps of a block.
    - `number`: of steps taken.
    """

    inner: Any
    past: Pasts
    coming: dict[str, Any]
    number: jax.Array


def at_work(integrator: AbstractFixedStep, system: Any, dt: Scalar) -> Stepper:
    """An integrator at work on a system, with its delays where it has them (`on_grid`)."""
    if getattr(system, "delays", None) is None:
        return integrator.stepper(system, dt)
    stepper = _Delayed(integrator, system, dt).stepper()
    return _without_regions(stepper) if system.alone else stepper


def slope_after(system: Any, memory: Remembered, state: State) -> State:
    """The time derivative (variable, region, *run) where a step of `at_work` has just ended.

    Of what arrives as integrators take it: a straight line over each step.
    """
    if system.alone:
        state = state[:, None]
    sums = {}
    for name, part in system.interaction.delayed().items():
        graph: Any = part.graph
        mean, rise = memory.coming[name][(memory.number - 1) % graph.reach.block]
        sums[name] = _laid_out(mean + rise / 2, state)
    reached = Reached(system.model, system.interaction, Arriving(sums, None))
    slope = reached.vector_field(state)
    return slope[:, 0] if system.alone else slope


def _without_regions(inner: Stepper) -> Stepper:
    """An integrator at work on a network of one region, for states (variable, *run)."""

    def of_region(values: Any) -> Any:
        return None if values is None else values[None]

    def advance(memory: Remembered, stimulus: Any, rise: Any = None) -> Any:
        return inner.advance(memory, of_region(stimulus), of_region(rise))

    return Stepper(
        lambda state, past=None: inner.start(state[:, None], past),
        advance,
        lambda memory: inner.state(memory)[:, 0],
        lambda memory, change: inner.kick(memory, change[:, None]),
        past=inner.past,
    )


def _laid_out(sums: jax.Array, state: jax.Array) -> jax.Array:
    """Sums (region, *channel, *run) as couplings have them, (*channel, region, *run)."""
    return jnp.moveaxis(sums, 0, sums.ndim - state.ndim + 1)


class _Delayed:
    """An integrator on regions that are reached by the past."""

    def __init__(self, integrator: AbstractFixedStep, network: Any, dt: Scalar) -> None:
        self.integrator, self.network, self.dt = integrator, network, dt
        self.parts = network.interaction.delayed()
        self.reaches: dict[str, Reach] = {k: part.graph.reach for k, part in self.parts.items()}
        self.reads = {k: part.reads(dt, self.reaches[k]) for k, part in self.parts.items()}

    def stepper(self) -> Stepper:
        """The integrator at work."""
        return Stepper(
            self.start,
            self.advance,
            lambda memory: self._inner(None).state(memory.inner),
            self.kick,
            past=self.past,
        )

    def start(self, state: jax.Array, past: Pasts | None = None) -> Remembered:
        """Where regions have sent the same for ever, unless a `past` is given as `past` has it."""
        now = self._sent(state)
        if past is None:
            past = {
                name: jnp.broadcast_to(
                    value[:, None], (len(value), self.reaches[name].length, *value.shape[1:])
                )
                for name, value in now.items()
            }
        past = {name: ring(some, self.reaches[name]) for name, some in past.items()}
        coming = {name: self._arriving(name, past[name], -1) for name in now}
        first = {k: _laid_out(c[0, 0] - c[0, 1] / 2, state) for k, c in coming.items()}
        coming = jax.tree.map(jnp.zeros_like, coming)  # the first step gathers it
        return Remembered(self._inner(first).start(state), past, coming, jnp.asarray(0))

    def advance(self, memory: Remembered, stimulus: Any, rise: Any = None) -> Remembered:
        """A step, before which what arrives in coming ones is gathered where it is not known."""
        inner, past, coming, number = memory
        inner_at_work = self._inner(None)
        state = inner_at_work.state(inner)
        mean, slope, after = {}, {}, {}
        for name in past:
            within = number % self.reaches[name].block
            after[name] = jax.lax.cond(
                within == 0,
                lambda name=name: self._arriving(name, past[name], number - 1),
                lambda name=name: coming[name],
            )
            mean[name], slope[name] = (_laid_out(after[name][within, k], state) for k in range(2))
        if rise is not None and stimulus is None:
            stimulus = jnp.zeros_like(rise)
        elif rise is None and stimulus is not None:
            rise = jnp.zeros_like(stimulus)
        inner = inner_at_work.advance(inner, Arriving(mean, stimulus), Arriving(slope, rise))
        past = self._with_newest(past, number, inner_at_work.state(inner))
        return Remembered(inner, past, after, number + 1)

    def kick(self, memory: Remembered, change: jax.Array) -> Remembered:
        """After a change at once, which is sent too."""
        inner_at_work = self._inner(None)
        inner = inner_at_work.kick(memory.inner, change)
        past = self._with_newest(memory.past, memory.number - 1, inner_at_work.state(inner))
        return memory._replace(inner=inner, past=past)

    def past(self, memory: Remembered) -> Pasts:
        """What was sent (region, node, …), from the oldest to that of now."""
        return {
            name: jnp.roll(past[:, : self.reaches[name].length], -memory.number, axis=1)
            for name, past in memory.past.items()
        }

    def _inner(self, now: Any) -> Stepper:
        network = self.network
        reached = Reached(network.model, network.interaction, Arriving(now, None))
        return self.integrator.stepper(reached, self.dt)

    def _arriving(self, name: str, past: jax.Array, newest: Any) -> jax.Array:
        reach = self.reaches[name]
        reads, place = self.reads[name], newest % reach.length
        found: jax.Array = self.parts[name].arriving(reads, past, place, reach)
        return found

    def _with_newest(self, past: Pasts, number: Any, state: jax.Array) -> Pasts:
        newest = {}
        for name, now in self._sent(state).items():
            reach = self.reaches[name]
            newest[name] = with_newest(past[name], number % reach.length, now, reach)
        return newest

    def _sent(self, state: jax.Array) -> dict[str, Any]:
        """What regions send, those first: (region, *channel, *run)."""
        return {
            name: jnp.moveaxis(value, value.ndim - state.ndim + 1, 0)
            for name, value in sent(self.network, state).items()
        }


def on_grid(
    system: Any,
    dt: float,
    points: Mapping[str, Any] | None = None,
    spans: Mapping[str, tuple[float, float]] | None = None,
) -> Any:
    """A system whose delays know how they lie on a grid of steps `dt`, for programs; others as is.

    `points`: values (run, …) of parameters that runs differ in; or `spans`, as `spans_of` has them,
    which are to be allowed for. Raises `ValueError` where a delay is shorter than a step, or where
    delays are traced and their span is not known.
    """
    if getattr(system, "delays", None) is None:
        return system
    network = getattr(system, "system", system)
    network.only_by_coupling("leave its equations as they are where it has delays")
    spans = spans_of(network, points) if spans is None else spans
    reaches = {k: Reach.of(span, dt) for k, span in spans.items()}
    return _changed(system, lambda name, graph: with_fields(graph, span=None, reach=reaches[name]))


def for_steps(system: Any) -> Any:
    """A system of `on_grid` for programs of steps, which other delays and steps share: they need
    not know how many of the values that are remembered count.
    """
    if getattr(system, "delays", None) is None:
        return system
    return _changed(
        system, lambda name, graph: with_fields(graph, reach=graph.reach._replace(used=0))
    )


def without_steps(system: Any) -> Any:
    """A system for programs that take no steps, which other delays share: they need not know how
    long delays may be.
    """
    if getattr(system, "delays", None) is None:
        return system
    return _changed(system, lambda name, graph: with_fields(graph, span=None, reach=None))


def allowing(system: Any, points: Mapping[str, Any]) -> Any:
    """A system whose programs allow for the delays at `points`, values (…) of parameters, too."""
    if getattr(system, "delays", None) is None:
        return system
    return spanning(system, spans_of(getattr(system, "system", system), points))


def spanning(system: Any, spans: Mapping[str, tuple[float, float]]) -> Any:
    """A system with delays whose programs allow for such spans of delays too."""

    def wider(name: str, graph: Any) -> Any:
        (low, high), known = spans[name], graph.span or spans[name]
        return with_fields(graph, span=(min(low, known[0]), max(high, known[1])))

    return _changed(system, wider)


def spans_of(
    network: Any, points: Mapping[str, Any] | None = None
) -> dict[str, tuple[float, float]]:
    """The shortest and the longest delay of each coupling that has any, as `DelayedGraph.range`."""
    found = {}
    for prefix, part in network.interaction.delayed().items():
        own = {k.removeprefix(prefix): v for k, v in (points or {}).items() if k.startswith(prefix)}
        graph: Any = part.graph
        found[prefix] = graph.range(own)
    return found


def _changed(system: Any, change: Any) -> Any:
    """A system with other graphs, `change(name, graph)` of each that has delays; no checks."""
    network = getattr(system, "system", system)
    names = iter(network.interaction.delayed())
    interaction = network.interaction.over(
        lambda graph: graph if graph.delays is None else change(next(names), graph)
    )
    network = with_fields(network, interaction=interaction)
    return with_fields(system, system=network) if hasattr(system, "system") else network


class Blocks(eqx.Module):
    """A network with delays as a map: what is known now, one block of steps of RK4 later.

    What is known is a vector (known,): a state, and what was sent as far back as the longest delay.
    """

    network: Any
    halved: Any
    dt: Any
    state_shape: tuple[int, ...] = eqx.field(static=True)
    sent_shapes: tuple[tuple[str, tuple[int, ...]], ...] = eqx.field(static=True)

    @classmethod
    def of(cls, network: Any, dt: float, points: Mapping[str, Any] | None = None) -> "Blocks":
        """Of steps `dt`, and of two half steps for each to see their error.

        `points`: values (run, …) of parameters that it may be `at`.
        """
        on, halved = (on_grid(network, step, points) for step in (dt, dt / 2))
        shape = tuple(network.state_shape)
        regions = 1 if network.alone else shape[1]
        like = jax.ShapeDtypeStruct((shape[0], regions), network.coupling.dtype)
        shapes = jax.eval_shape(lambda x: sent(network, x), like)
        parts = on.interaction.delayed()
        sent_shapes = tuple(
            (name, (regions, _reach(part).used, *shapes[name].shape[:-1]))
            for name, part in parts.items()
        )
        return cls(on, halved, as_array(dt, float), shape, sent_shapes)

    def at(self, point: Mapping[str, Any]) -> "Blocks":
        """The same with other values of parameters."""
        whole, halved = with_leaves(self.network, point), with_leaves(self.halved, point)
        return with_fields(self, network=whole, halved=halved)

    @property
    def steps(self) -> int:
        """Of a block, up to the shortest delay."""
        return min(_reach(part).block for part in self.network.interaction.delayed().values())

    @property
    def size(self) -> int:
        """How many numbers are known."""
        shapes = (self.state_shape, *(shape for _, shape in self.sent_shapes))
        return sum(map(math.prod, shapes))

    def known(self, state: jax.Array, history: Any = None) -> Float[Array, "known"]:
        """Where regions have sent the same for ever, or what a `History` says."""
        if history is None or not history.sent:
            return self._for_ever(state)
        parts = self.network.interaction.delayed()
        reaches = {name: _reach(part) for name, part in parts.items()}
        return self._remembered(state, history.on(float(self.dt), reaches, 1))

    @eqx.filter_jit
    def _for_ever(self, state: jax.Array) -> jax.Array:
        stepper = at_work(RK4(), self.network, self.dt)
        return self._remembered(state, stepper.past(stepper.start(state)))

    def _remembered(self, state: jax.Array, now: Pasts) -> jax.Array:
        past = {name: now[name][:, -shape[1] :] for name, shape in self.sent_shapes}
        return self._flat(state, past)

    def state(self, known: Float[Array, "known"]) -> Float[Array, "variable *region"]:
        """The state of now."""
        return known[: math.prod(self.state_shape)].reshape(self.state_shape)

    def whole(self, known: Float[Array, "known"]) -> Float[Array, "known"]:
        """A block later."""
        return self._later(self.network, 1, known)

    def halves(self, known: Float[Array, "known"]) -> Float[Array, "known"]:
        """A block later, each step in two halves."""
        return self._later(self.halved, 2, known)

    def _later(self, network: Any, parts: int, known: Any) -> jax.Array:
        """After the block's steps in so many parts each."""
        dt = self.dt / parts
        past = self._past(known)
        for name, part in network.interaction.delayed().items():
            some = past[name] if parts == 1 else refined(past[name])
            missing = max(0, _reach(part).length - some.shape[1])
            oldest = jnp.broadcast_to(some[:, :1], (len(some), missing, *some.shape[2:]))
            some = jnp.concatenate([oldest, some], axis=1)
            past[name] = some[:, -_reach(part).length :]
        stepper = at_work(RK4(), network, dt)
        memory = stepper.start(self.state(known), past)
        memory = jax.lax.fori_loop(
            0, parts * self.steps, lambda _, memory: stepper.advance(memory, None), memory
        )
        past = stepper.past(memory)
        past = {
            name: past[name][:, ::-parts][:, : shape[1]][:, ::-1]
            for name, shape in self.sent_shapes
        }
        return self._flat(stepper.state(memory), past)

    def _past(self, known: jax.Array) -> Pasts:
        place, found = math.prod(self.state_shape), {}
        for name, shape in self.sent_shapes:
            found[name] = known[place : place + math.prod(shape)].reshape(shape)
            place += math.prod(shape)
        return found

    def _flat(self, state: jax.Array, past: Pasts) -> jax.Array:
        return jnp.concatenate([state.ravel(), *(past[k].ravel() for k, _ in self.sent_shapes)])


def _reach(part: AbstractSum) -> Reach:
    graph: Any = part.graph
    found: Reach = graph.reach
    return found
