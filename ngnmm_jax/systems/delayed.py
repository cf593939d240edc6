"""Networks with delays at work: regions alone, driven by what arrives of the past."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.parameters import with_fields
from ngnmm_jax._core.types import Field, Scalar, State
from ngnmm_jax.coupling.base import AbstractSum
from ngnmm_jax.graphs.past import Reach, arriving, refined
from ngnmm_jax.integrators import RK4, AbstractFixedStep, Stepper
from ngnmm_jax.models.base import AbstractNeuralMass
from ngnmm_jax.models.hooks import ExactFlow


class Arriving(NamedTuple):
    """What reaches regions from outside of them, at a time.

    - `sums` (*channel, region, *run): over the connections, of what was sent.
    - `push` (*input, region, *run): a stimulus, which adds to what they receive; None without.
    """

    sums: Any
    push: Any


class Reached(eqx.Module):
    """The regions of a network, each by itself, with what arrives as their stimulus.

    - `now`: what arrives where no stimulus is given.
    """

    model: AbstractNeuralMass
    interaction: AbstractSum
    now: Arriving

    def vector_field(self, state: State, stimulus: Arriving | None = None) -> State:
        """Time derivative of a state (variable, region, *run)."""
        arriving = self.now if stimulus is None else stimulus
        return self.model.vector_field(state, self._received(state, arriving))

    def exact_flow(self, dt: Scalar) -> ExactFlow:
        """The model's flow over a step, with inputs (state, what arrives)."""
        flow: Any = self.model.exact_flow(dt)

        def inputs(state: State, arriving: Any) -> jax.Array:
            found: jax.Array = flow.inputs(state, self._received(state, arriving))
            return found

        return ExactFlow(inputs, flow.advance)

    def nothing(self, state: State) -> Arriving:
        """That nothing arrives."""
        sent = self.interaction.sent(self.model.output(state))
        return Arriving(jnp.zeros_like(sent), None)

    def _received(self, state: State, arriving: Arriving) -> Field:
        received = self.interaction.received(arriving.sums, self.model.output(state))
        return received if arriving.push is None else received + arriving.push


class Remembered(NamedTuple):
    """What is known between steps.

    - `inner`: the integrator's memory.
    - `past` (region, node, …): what was sent at the ends of steps, a ring.
    - `coming` (step, moment, region, …): what arrives in the steps of a block.
    - `number`: of steps taken.
    """

    inner: Any
    past: jax.Array
    coming: jax.Array
    number: jax.Array


def at_work(integrator: AbstractFixedStep, system: Any, dt: Scalar) -> Stepper:
    """An integrator at work on a system, with its delays where it has them (`on_grid`)."""
    if getattr(system, "delays", None) is None:
        return integrator.stepper(system, dt)
    return _Delayed(integrator, system, dt).stepper()


class _Delayed:
    """An integrator on regions that are reached by the past."""

    def __init__(self, integrator: AbstractFixedStep, network: Any, dt: Scalar) -> None:
        self.integrator, self.dt = integrator, dt
        interaction: Any = network.interaction
        self.model, self.interaction = network.model, interaction
        self.graph: Any = interaction.graph
        self.reach: Reach = self.graph.reach
        assert self.reach is not None, "`on_grid` says how delays lie on the steps"

    def stepper(self) -> Stepper:
        """The integrator at work."""
        return Stepper(
            self.start,
            self.advance,
            lambda memory: self._inner(None).state(memory.inner),
            self.kick,
            past=self.past,
        )

    def start(self, state: jax.Array, past: Any = None) -> Remembered:
        """Where regions have sent the same for ever, unless a `past` is given as `past` has it."""
        sent = self.sent(state)
        if past is None:
            shape = (sent.shape[0], self.reach.length, *sent.shape[1:])
            past = jnp.broadcast_to(sent[:, None], shape)
        coming = arriving(self.graph, past, self.reach.length - 1, self.dt, self.reach)
        first = coming[0, 0] - coming[0, 1] / 2
        inner = self._inner(self._laid_out(first, state)).start(state)
        return Remembered(inner, past, coming, jnp.asarray(0))

    def advance(self, memory: Remembered, stimulus: Any, rise: Any = None) -> Remembered:
        """A step, before which what arrives in coming ones is gathered where it is not known."""
        inner, past, coming, number = memory
        within, length = number % self.reach.block, self.reach.length
        coming = jax.lax.cond(
            within == 0,
            lambda: arriving(self.graph, past, (number - 1) % length, self.dt, self.reach),
            lambda: coming,
        )
        at_work = self._inner(None)
        state = at_work.state(inner)
        mean, slope = (self._laid_out(coming[within, k], state) for k in range(2))
        if rise is not None and stimulus is None:
            stimulus = jnp.zeros_like(rise)
        elif rise is None and stimulus is not None:
            rise = jnp.zeros_like(stimulus)
        inner = at_work.advance(inner, Arriving(mean, stimulus), Arriving(slope, rise))
        past = self._with_newest(past, number, at_work.state(inner))
        return Remembered(inner, past, coming, number + 1)

    def kick(self, memory: Remembered, change: jax.Array) -> Remembered:
        """After a change at once, which is sent too."""
        at_work = self._inner(None)
        inner = at_work.kick(memory.inner, change)
        past = self._with_newest(memory.past, memory.number - 1, at_work.state(inner))
        return memory._replace(inner=inner, past=past)

    def past(self, memory: Remembered) -> jax.Array:
        """What was sent (region, node, …), from the oldest to that of now."""
        return jnp.roll(memory.past, -memory.number, axis=1)

    def _inner(self, now: Any) -> Stepper:
        return self.integrator.stepper(
            Reached(self.model, self.interaction, Arriving(now, None)), self.dt
        )

    def _with_newest(self, past: jax.Array, number: Any, state: jax.Array) -> jax.Array:
        return past.at[:, number % self.reach.length].set(self.sent(state))

    def sent(self, state: jax.Array) -> jax.Array:
        """What regions send, those first: (region, *channel, *run)."""
        sent = self.interaction.sent(self.model.output(state))
        return jnp.moveaxis(sent, sent.ndim - state.ndim + 1, 0)

    def _laid_out(self, sums: jax.Array, state: jax.Array) -> jax.Array:
        """Sums (region, *channel, *run) as couplings have them, (*channel, region, *run)."""
        return jnp.moveaxis(sums, 0, sums.ndim - state.ndim + 1)


def on_grid(system: Any, dt: float, points: Mapping[str, Any] | None = None) -> Any:
    """A system whose delays know how they lie on a grid of steps `dt`, for programs; others as is.

    `points`: values (run, …) of parameters that runs differ in. Raises `ValueError` where a delay
    is shorter than a step, or where delays are traced and their span is not known.
    """
    network = getattr(system, "system", system)
    if getattr(network, "delays", None) is None:
        return system
    if not isinstance(network.interaction, AbstractSum):
        kind = type(network.interaction).__name__
        must = "be an `AbstractSum` where it has delays: what is sent, and what is received"
        _checks.fail("coupling", must, f"it is {kind}")
    graph: Any = network.interaction.graph
    reach = Reach.of(graph.range(points), dt)
    return _over(system, with_fields(graph, span=None, reach=reach))


def allowing(system: Any, points: Mapping[str, Any]) -> Any:
    """A system whose programs allow for the delays at `points`, values (…) of parameters, too."""
    network = getattr(system, "system", system)
    if getattr(network, "delays", None) is None:
        return system
    graph = network.interaction.graph
    spans = [graph.range(points), *([] if graph.span is None else [graph.span])]
    span = min(low for low, _ in spans), max(high for _, high in spans)
    return _over(system, with_fields(graph, span=span))


def _over(system: Any, graph: Any) -> Any:
    """A system over another graph, without checks."""
    network = getattr(system, "system", system)
    interaction = with_fields(network.interaction, graph=graph)
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
    sent_shape: tuple[int, ...] = eqx.field(static=True)

    @classmethod
    def of(cls, network: Any, dt: float) -> "Blocks":
        """Of steps `dt`, and of two half steps for each to see their error."""
        on, halved = on_grid(network, dt), on_grid(network, dt / 2)
        shape = tuple(network.state_shape)
        like = jax.ShapeDtypeStruct(shape, network.coupling.dtype)
        sent = jax.eval_shape(lambda x: network.interaction.sent(network.model.output(x)), like)
        sent_shape = (shape[1], on.interaction.graph.reach.used, *sent.shape[: sent.ndim - 1])
        return cls(on, halved, jnp.asarray(dt, float), shape, sent_shape)

    @property
    def steps(self) -> int:
        """Of a block."""
        return int(self.network.interaction.graph.reach.block)

    @property
    def size(self) -> int:
        """How many numbers are known."""
        return math.prod(self.state_shape) + math.prod(self.sent_shape)

    def known(self, state: jax.Array) -> Float[Array, "known"]:
        """Where regions have sent the same for ever."""
        sent = _Delayed(RK4(), self.network, self.dt).sent(state)
        past = jnp.broadcast_to(sent[:, None], self.sent_shape)
        return jnp.concatenate([state.ravel(), past.ravel()])

    def state(self, known: Float[Array, "known"]) -> Float[Array, "variable region"]:
        """The state of now."""
        return known[: math.prod(self.state_shape)].reshape(self.state_shape)

    def whole(self, known: Float[Array, "known"]) -> Float[Array, "known"]:
        """A block later."""
        return self._later(self.network, self.dt, self.steps, known, lambda past: past)

    def halves(self, known: Float[Array, "known"]) -> Float[Array, "known"]:
        """A block later, each step in two halves."""
        return self._later(self.halved, self.dt / 2, 2 * self.steps, known, refined)

    def _later(self, network: Any, dt: Any, steps: int, known: Any, on: Any) -> jax.Array:
        past = on(known[math.prod(self.state_shape) :].reshape(self.sent_shape))
        length = network.interaction.graph.reach.length
        missing = jnp.broadcast_to(
            past[:, :1], (past.shape[0], max(0, length - past.shape[1]), *past.shape[2:])
        )
        past = jnp.concatenate([missing, past], axis=1)[:, -length:]
        stepper = at_work(RK4(), network, dt)
        memory = stepper.start(self.state(known), past)
        memory = jax.lax.fori_loop(0, steps, lambda _, m: stepper.advance(m, None), memory)
        stride = steps // self.steps
        past = stepper.past(memory)[:, ::-stride][:, : self.sent_shape[1]][:, ::-1]
        return jnp.concatenate([stepper.state(memory).ravel(), past.ravel()])
