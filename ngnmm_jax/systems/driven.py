"""A network together with what drives it from outside: white noise, and stimuli."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.names import STIMULUS
from ngnmm_jax._core.parameters import (
    INPUT,
    checked_again,
    noise_part,
    noise_value,
    stimulus_leaves,
    with_fields,
    with_leaves,
    without_names,
)
from ngnmm_jax._core.randomness import Purpose, noise_source, stream
from ngnmm_jax._core.types import Scalar, State
from ngnmm_jax.connectome import Connectome
from ngnmm_jax.integrators import AbstractFixedStep, Stepper
from ngnmm_jax.models.base import AbstractNeuralMass
from ngnmm_jax.systems.cards import PicturedSystem
from ngnmm_jax.systems.delayed import at_work
from ngnmm_jax.systems.delayed_homogeneous import AbstractDelayedHomogeneous
from ngnmm_jax.systems.homogeneous import Homogeneous
from ngnmm_jax.systems.network import Network
from ngnmm_jax.systems.noises import AbstractNoise, check_entries, not_negative, places
from ngnmm_jax.systems.noisy import Sources, noisy
from ngnmm_jax.systems.stimuli import AbstractStimulus, Periodic, Sum

#: What stands by itself, and may be driven.
Undriven = Network | Homogeneous | AbstractDelayedHomogeneous

#: What can become of rates and gates that noise takes below zero.
BELOW_ZERO = ("reflect", "clip", "keep")


class Driven(PicturedSystem):
    """A network, or its homogeneous system, with noise and stimuli.

    `simulate`, `simulate_batch`, `sweep`, `linear_response` and `fit` take it in place of a
    network. The strengths of its noise are parameters with names:
    `with_parameters(input_noise=0.1)`.

    Noise is taken in fixed steps (weakly of order one in it): without a `dt`, of the longest step
    up to the model's `time_step` of which all times are multiples. It is a function of the seed,
    the step and the time: a run that goes on from another's end goes on with its noise, coloured
    noise with what it was, and with the same `dt` both are the whole (to the bit; "moebius", which
    then starts without its past, to its error). With a diffrax solver, or where times have no such
    step (then by Heun's method), it is drawn by diffrax, anew for each run by the time at which it
    begins, and only where it is given by strengths; rates are then not kept from falling below
    zero.

    **Arguments:**

    - `system`: what is driven.
    - `noise`: Gaussian noise by name of what it acts on: a variable, to whose equation it is added;
      "input", what a region receives, which reaches what its model says (all its populations: one
      noise for them); or a population of the model ("excitatory"), of whose current it is a part,
      private to it, by 1 / tau in the equation of its potential. A number (or one for each region)
      is the strength of white noise, in the variable's unit (a model's output's for "input") per
      square root of time: the variable's increment over a time t has the standard deviation
      strength * √t; that of a variable on which "input" acts is multiplied by the derivative of its
      equation. `noises.White` and `noises.OrnsteinUhlenbeck` are noise that a factor of the state
      multiplies, that regions share, or that remembers.
    - `stimulus`: adds to what a region receives.
    - `below_zero`: what becomes of the model's `nonnegative` variables (rates, gates) where noise
      takes them below zero in fixed steps: "reflect" (the default, as initial states are), "clip"
      (set to zero, as TVB does: of order one half in the step, where reflecting is of order one),
      or "keep" (the equations alone). How often this was is in the results' `stats`, and in the
      summaries of a sweep.
    """

    system: Undriven
    noise: dict[str, Any]
    stimulus: AbstractStimulus | None
    below_zero: str = eqx.field(static=True)

    def __init__(
        self,
        system: Any,
        noise: Mapping[str, Any] | None = None,
        stimulus: Any = None,
        below_zero: str = "reflect",
    ) -> None:
        _checks.one_of("below_zero", below_zero, BELOW_ZERO)
        _checks.a_system(system)
        if not isinstance(system, Undriven):
            _checks.fail("system", "be a network", f"it is a {type(system).__name__}")
        if stimulus is not None and not isinstance(stimulus, AbstractStimulus):
            kind = type(stimulus).__name__
            _checks.fail("stimulus", "be one of `stimuli`", f"it is a {kind}: use `Custom`")
        regions = system.state_shape[1:]
        given = {} if noise is None else noise
        if not isinstance(given, Mapping):
            _checks.fail("noise", "be strengths by name", f"it is a {type(given).__name__}")
        found = {}
        for name, value in given.items():
            _checks.one_of("noise", name, places(system.model))
            if not isinstance(value, AbstractNoise):
                value = not_negative("noise", value)
                if value.ndim:
                    _checks.shape("noise", value, regions, "(region,)")
            elif (
                name == INPUT
                and value.factor is not None
                and getattr(system, "delays", None) is not None
            ):
                must = "be on a variable or a population where there are delays and a factor"
                _checks.fail("noise", must, "it is on what regions receive")
            else:
                value.check(system.model, regions)
            found[name] = value
        if stimulus is not None and stimulus.n_regions not in (None, *regions):
            _checks.fail(
                "stimulus",
                f"have values for {regions[0] if regions else 'no'} regions",
                f"it has them for {stimulus.n_regions}",
            )
        self.system = system
        self.noise = dict(sorted(found.items()))
        self.stimulus = stimulus
        self.below_zero = below_zero

    def __getattr__(self, name: str) -> Any:
        """A parameter of a noise or of the stimulus: `v_e_noise_time`, `stimulus_amplitude`."""
        value = noise_value(self.__dict__.get("noise", {}), name)
        if value is not None:
            return value
        if name.startswith(STIMULUS) and name in (given := stimulus_leaves(self)):
            return given[name]
        if hasattr(type(self), name):  # a property that says why
            return object.__getattribute__(self, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def model(self) -> AbstractNeuralMass:
        """The network's model."""
        return self.system.model

    @property
    def coupling(self) -> Any:
        """The network's coupling."""
        return self.system.coupling

    @property
    def weights(self) -> Any:
        """The network's weights."""
        if not isinstance(self.system, Network):
            raise AttributeError("A homogeneous system has no weights.")
        return self.system.weights

    @property
    def connectome(self) -> Connectome | None:
        """The network's connectome."""
        return getattr(self.system, "connectome", None)

    @property
    def delays(self) -> Any:
        """The network's delays; None without."""
        return getattr(self.system, "delays", None)

    def shortest_delay(self, points: Mapping[str, Any] | None = None) -> float:
        """The network's; infinite without delays."""
        system: Any = self.system
        return np.inf if self.delays is None else float(system.shortest_delay(points))

    @property
    def state_shape(self) -> tuple[int, ...]:
        """Shape of the state: (variable, region)."""
        return self.system.state_shape

    @property
    def time_step(self) -> Any:
        """A step at which RK4 follows typical activity to about 1e-6, in the model's unit of time.

        It follows the parameters, as the model's does.
        """
        return self.system.time_step

    def has_flow(self) -> bool:
        """Whether the network's `exact_flow` is known."""
        return self.system.has_flow()

    def bare(self) -> "Driven":
        """The same without the connectome's names, so that compiled code is shared."""
        return without_names(self)

    def with_parameters(self, **values: Any) -> "Driven":
        """A copy with other values of parameters, the coupling, noise ("input_noise", …), or the
        stimulus ("stimulus_amplitude", …; of the parts of a sum "stimulus_0_amplitude", …).
        """
        known = stimulus_leaves(self)
        of_stimulus = {name: values.pop(name) for name in list(values) if name in known}
        for name in values:
            if name.startswith(STIMULUS):
                _checks.one_of("parameters", name, tuple(known))
        if of_stimulus:
            given = {name: as_array(value, float) for name, value in of_stimulus.items()}
            stimulus = with_leaves(self, given).stimulus
            _check_again(stimulus)
            stimulus = _again(stimulus)
            changed = Driven(self.system, self.noise, stimulus, self.below_zero)  # checked
            self = with_fields(self, stimulus=changed.stimulus)
            if not values:
                return self
        noise = dict(self.noise)
        for name in [name for name in values if noise_part(name)]:
            on, part = noise_part(name) or ("", "")
            value, held = values.pop(name), noise.get(on)
            if isinstance(held, AbstractNoise) and not isinstance(value, AbstractNoise):
                noise[on] = held.with_part(part, value)
            elif part == "strength":
                noise[on] = value
            else:
                _checks.fail(name, "be of coloured noise", f"there is none on {on!r}")
        system = self.system.with_parameters(**values) if values else self.system
        changed = Driven(system, noise, self.stimulus, self.below_zero)  # checked
        dtype = system.coupling.dtype
        noise = jax.tree.map(lambda value: value.astype(dtype), changed.noise)
        return with_fields(self, system=system, noise=noise)

    def with_connectome(self, connectome: Any) -> "Driven":
        """The same over another connectome of the same regions, as `Network.with_connectome`."""
        if not isinstance(self.system, Network):
            _checks.fail("system", "be a network to have a connectome", "it is homogeneous")
        return with_fields(self, system=self.system.with_connectome(connectome))

    @property
    def drive_period(self) -> Any:
        """The stimulus's `cycle`, after which it repeats itself; None where it does not."""
        return None if self.stimulus is None else self.stimulus.cycle

    @property
    def drive_edges(self) -> Float[Array, "edge"]:
        """When, within a period, the stimulus is not smooth."""
        return jnp.zeros(0) if self.stimulus is None else self.stimulus.edges

    def slope_at(self, t: Scalar, state: State) -> State:
        """Time derivative of a state (variable, *region) at a time, under the stimulus alone."""
        assert self.stimulus is not None
        stimulus = jnp.broadcast_to(self.stimulus(t), state.shape[1:])
        return self.system.vector_field(state, stimulus.astype(state.dtype))

    def observed(self, state: State) -> Any:
        """What the regions send of a state (variable, *region, *run), on average, (*run)."""
        output = self.model.output(state)
        axes = tuple(range(bool(self.model.outputs) + len(self.state_shape) - 1))
        return output.mean(axis=axes) if axes else output

    def homogeneous(self) -> "Driven":
        """The dynamics of states in which all regions do the same, driven alike.

        `ValueError` where the stimulus differs between regions, or the network has none.
        """
        if not isinstance(self.system, Network):
            return self
        if self.stimulus is not None and self.stimulus.n_regions is not None:
            must = "be the same for all regions, whose homogeneous state is asked for"
            _checks.fail("stimulus", must, f"it has {self.stimulus.n_regions} values")
        return Driven(self.system.homogeneous(), self.noise, self.stimulus, self.below_zero)

    def over_runs(self) -> "Driven":
        """A system whose values per region broadcast over (region, run)."""
        noise = {k: _over_runs(v) for k, v in self.noise.items()}
        network = self.system.over_runs()
        return eqx.tree_at(lambda d: (d.system, d.noise), self, (network, noise))

    @property
    def may_go_below_zero(self) -> tuple[int, ...]:
        """Rows of variables that cannot be negative, where noise could make them so."""
        names = self.model.nonnegative if self.noise else ()
        return tuple(self.model.variables.index(name) for name in names)

    def stepper(
        self, integrator: AbstractFixedStep, dt: Scalar, keys: Any, begin: Any = None
    ) -> Stepper:
        """A fixed-step integrator at work on the network, driven.

        The stimulus is taken as the straight line that has its mean and its first moment over each
        step (order four in the step where it is smooth, with methods of that order), and so is
        coloured noise of the input; white noise of the input is constant in a step; other white
        noise is added after it (order one, weakly), and other coloured noise by halves before and
        after it (order two; with delays after it, order one). What is
        drawn depends on the run's key, on the step, and on the number of steps since time zero
        alone, not on the batch or the integrator.

        **Arguments:**

        - `keys` () or (run,), for `Purpose.NOISE`; (run,) for states (variable, region, run).
        - `begin`: when it starts, and the number of its first step (`first_step`); by default zero.
        """
        inner = at_work(integrator, self.system, dt)
        begin = (jnp.zeros(()), jnp.asarray(0)) if begin is None else begin
        drawn = _noise_of(self, dt, keys)
        stimulated = _stimulus_of(self, dt, begin, batched=jnp.ndim(keys) == 1)
        return self.assembled(inner, dt, begin[1], Sources(drawn, stimulated))

    def assembled(self, inner: Stepper, dt: Scalar, first: Any, sources: "Sources") -> Stepper:
        """An integrator at work on the network, with what comes from outside in each step.

        `first`: the number of its first step. The rest is as for `stepper`.
        """
        check_entries(self)
        return noisy(self, inner, dt, first, sources)


def noise_keys(system: Driven, dt: Scalar, keys: Any) -> list[Any]:
    """The keys of a system's noises, in their order, from those of the runs () or (run,)."""
    every = places(system.model)[1:]

    def of(name: str) -> Any:
        row = None if name == INPUT else every.index(name)
        each = partial(noise_source, row=row, dt=dt)
        return jax.vmap(each)(keys) if jnp.ndim(keys) == 1 else each(keys)

    return [of(name) for name in system.noise]


def pushes(
    system: Driven, dt: Scalar, numbers: Any, regions: int
) -> Float[Array, "step moment region"]:
    """The stimulus's mean and its rise in steps of such numbers, of runs that begin at zero."""
    like = jnp.zeros((1, regions), dt.dtype)
    stimulated = _stimulus_of(system, dt, (jnp.zeros(()), jnp.asarray(0)), batched=False)
    return jax.vmap(lambda number: jnp.stack(stimulated(number, like)))(numbers)


def _over_runs(noise: Any) -> Any:
    """A noise whose values per region broadcast over (region, run)."""
    if isinstance(noise, AbstractNoise):
        return noise.over_runs()
    return noise[:, None] if noise.ndim == 1 else noise


def _noise_of(system: Driven, dt: Scalar, keys: Any) -> Any:
    """As `Sources.drawn` has it."""
    batched = jnp.ndim(keys) == 1

    def each(function: Any) -> Any:
        """A function of a key, of all runs' keys."""
        return jax.vmap(function) if batched else function

    sources = dict(zip(system.noise, noise_keys(system, dt, keys), strict=True))

    def drawn(name: str, number: jax.Array, state: jax.Array, part: int = 0) -> jax.Array:
        shape = state.shape[1:-1] if batched else state.shape[1:]

        def one(key: Any) -> jax.Array:
            key = jax.random.fold_in(key, number)
            key = jax.random.fold_in(key, part) if part else key
            return jax.random.normal(key, shape, state.dtype)

        values = each(one)(sources[name])
        return jnp.moveaxis(values, 0, -1) if batched else values

    return drawn


def _stimulus_of(system: Driven, dt: Scalar, begin: tuple[Any, Any], *, batched: bool) -> Any:
    """Of a step's number and a state: the stimulus's mean in the step, and its rise."""
    if system.stimulus is None:
        return lambda number, state: (None, None)
    t0, first = begin
    length = as_array(dt, t0.dtype)
    moments = system.stimulus.over_steps()

    def stimulated(number: jax.Array, state: jax.Array) -> tuple[jax.Array, jax.Array]:
        def laid_out(value: jax.Array) -> jax.Array:
            value = value[:, None] if batched and value.ndim else value
            return jnp.broadcast_to(value, state.shape[1:]).astype(state.dtype)

        mean, rise = moments(t0 + (number - first) * length, length)
        return laid_out(mean), laid_out(rise)

    return stimulated


def _check_again(stimulus: Any) -> None:
    """The checks that a stimulus and its parts make of themselves."""
    checked_again(stimulus)
    for value in vars(stimulus).values():
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, AbstractStimulus):
                _check_again(part)


def _again(stimulus: Any) -> Any:
    """A stimulus whose sums know the periods that their parts now have."""
    if isinstance(stimulus, Sum):
        return Sum([_again(part) for part in stimulus.parts])
    if isinstance(stimulus, Periodic):
        return Periodic(_again(stimulus.pattern), stimulus.period)
    return stimulus


def driven(system: Undriven | Driven) -> Driven:
    """Any system as a driven one."""
    return system if isinstance(system, Driven) else Driven(system)


def undriven(system: Undriven | Driven) -> Undriven:
    """The network alone."""
    return system.system if isinstance(system, Driven) else system


def coloured(system: Any) -> set[str]:
    """On what a system has noise that remembers."""
    noises = getattr(system, "noise", {}).items()
    return {name for name, noise in noises if isinstance(noise, AbstractNoise) and noise.smooth}


def remembers(system: Undriven | Driven) -> bool:
    """Whether its runs go on from more than their states: delays, or noise that remembers."""
    return driven(system).delays is not None or bool(coloured(system))


def noise_key(seed: Any) -> Any:
    """The key of a run's noise, from its seed."""
    return stream(seed, Purpose.NOISE)
