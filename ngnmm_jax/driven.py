"""A network together with what drives it from outside: white noise, and stimuli."""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax import _checks
from ngnmm_jax._types import Scalar
from ngnmm_jax.connectome import Connectome
from ngnmm_jax.dynamics.methods import Method, Stepper
from ngnmm_jax.models.base import AbstractNeuralMass, as_parameter
from ngnmm_jax.network import Homogeneous, Network, over_runs
from ngnmm_jax.stimuli import AbstractStimulus

#: The name of noise in what a region receives, on both of its populations.
INPUT = "input"


class Driven(eqx.Module):
    """A network, or its homogeneous system, with noise and stimuli.

    `simulate`, `simulate_batch`, `sweep`, `linear_response` and `fit` take it in place of a
    network. The strengths of its noise are parameters with names:
    `with_parameters(input_noise=0.1)`.

    **Arguments:**

    - `network`: what is driven.
    - `white_noise`: Gaussian white noise by name of the variable to whose equation it is added, or
      "input": to what a region receives, on both of its populations. Its strength is a scalar or
      (region,), in the variable's unit (a model's output's for "input") per square root of time:
      the variable's increment over a time t has the standard deviation strength * √t; that of a
      variable on which "input" acts is multiplied by the derivative of its equation.
    - `stimulus`: adds to what a region receives.
    """

    network: Network | Homogeneous
    white_noise: dict[str, Float[Array, "..."]]
    stimulus: AbstractStimulus | None

    def __init__(
        self,
        network: Any,
        white_noise: Mapping[str, Any] | None = None,
        stimulus: Any = None,
    ) -> None:
        if not isinstance(network, Network | Homogeneous):
            _checks.fail("network", "be a network", f"it is a {type(network).__name__}")
        if stimulus is not None and not isinstance(stimulus, AbstractStimulus):
            kind = type(stimulus).__name__
            _checks.fail("stimulus", "be one of `stimuli`", f"it is a {kind}: use `Custom`")
        regions = network.state_shape[1:]
        given = {} if white_noise is None else white_noise
        if not isinstance(given, Mapping):
            _checks.fail("white_noise", "be strengths by name", f"it is a {type(given).__name__}")
        noise = {name: as_parameter("white_noise", value) for name, value in given.items()}
        for name, value in noise.items():
            _checks.one_of("white_noise", name, (INPUT, *network.model.variables))
            _checks.finite("white_noise", value)
            low = np.min(np.asarray(value)) if _checks.is_concrete(value) else 0.0
            if low < 0:
                _checks.fail("white_noise", "not be negative", f"{name!r} is {low:g} somewhere")
            if value.ndim:
                _checks.shape("white_noise", value, regions, "(region,)")
        if stimulus is not None and stimulus.n_regions not in (None, *regions):
            _checks.fail(
                "stimulus",
                f"have values for {regions[0] if regions else 'no'} regions",
                f"it has them for {stimulus.n_regions}",
            )
        self.network = network
        self.white_noise = dict(sorted(noise.items()))
        self.stimulus = stimulus

    def __getattr__(self, name: str) -> Any:
        """The strength of a noise, as `input_noise` or `v_e_noise`."""
        noise = self.__dict__.get("white_noise", {})
        key = name.removesuffix("_noise")
        if not name.startswith("_") and name.endswith("_noise") and key in noise:
            return noise[key]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def model(self) -> AbstractNeuralMass:
        """The network's model."""
        return self.network.model

    @property
    def coupling(self) -> Any:
        """The network's coupling."""
        return self.network.coupling

    @property
    def weights(self) -> Any:
        """The network's weights."""
        if isinstance(self.network, Homogeneous):
            raise AttributeError("A homogeneous system has no weights.")
        return self.network.weights

    @property
    def connectome(self) -> Connectome | None:
        """The network's connectome."""
        return getattr(self.network, "connectome", None)

    @property
    def state_shape(self) -> tuple[int, ...]:
        """Shape of the state: (variable, region)."""
        return self.network.state_shape

    @property
    def time_step(self) -> float:
        """A step at which RK4 follows the model to about 1e-6, in the model's unit of time."""
        return self.network.time_step

    def bare(self) -> "Driven":
        """The same without the connectome's names, so that compiled code is shared."""
        return eqx.tree_at(lambda d: d.network, self, self.network.bare())

    def definition(self) -> dict[str, Any]:
        """What it adds to its network's numbers, for a store."""
        stimulus = None
        if self.stimulus is not None:
            leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(self.stimulus)]
            text = str(jax.tree.structure(self.stimulus))
            digest = hashlib.sha256(text.encode())
            for leaf in leaves:
                digest.update(leaf.tobytes())
            stimulus = digest.hexdigest()
        noise = {name: np.asarray(value).tolist() for name, value in self.white_noise.items()}
        return {"white_noise": noise, "stimulus": stimulus}

    def with_parameters(self, **values: Any) -> "Driven":
        """A copy with other values of parameters, the coupling, or noise ("input_noise", …)."""
        noise = dict(self.white_noise)
        for name in list(values):
            if name.endswith("_noise"):
                noise[name.removesuffix("_noise")] = values.pop(name)
        network = self.network
        if values:
            if isinstance(network, Homogeneous):
                _checks.fail("parameters", "be noise of a homogeneous system", f"{list(values)}")
            network = network.with_parameters(**values)
        changed = Driven(network, noise, self.stimulus)  # and so checked
        dtype = network.coupling.dtype
        strengths = {name: value.astype(dtype) for name, value in changed.white_noise.items()}
        return _with(self, network=network, white_noise=strengths)

    def over_runs(self) -> "Driven":
        """A system whose values per region broadcast over (region, run)."""
        noise = {k: v[:, None] if v.ndim == 1 else v for k, v in self.white_noise.items()}
        network = over_runs(self.network)
        return eqx.tree_at(lambda d: (d.network, d.white_noise), self, (network, noise))

    def stepper(self, method: Method, dt: Scalar, keys: Any, t0: Scalar) -> Stepper:
        """A fixed-step method at work on the network, driven.

        The stimulus is taken at the middle of each step (order two in the step); the input's noise
        is constant in it; the other noise is added after it. What is drawn depends on the run's
        key and on the number of steps since time zero alone, not on the batch.

        **Arguments:** `keys` () or (run,) for states (variable, region, run); `t0`: where it
        starts.
        """
        inner = method(self.network, dt)
        rows = {name: k for k, name in enumerate(self.model.variables)}
        batched = jnp.ndim(keys) == 1

        def drawn(key: Any, number: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
            def one(key: Any) -> jax.Array:
                return jax.random.normal(jax.random.fold_in(key, number), shape, dtype)

            return jnp.moveaxis(jax.vmap(one)(key), 0, -1) if batched else one(key)

        def folded(number: int) -> Any:
            def one(key: Any) -> Any:
                return jax.random.fold_in(key, number)

            return jax.vmap(one)(keys) if batched else one(keys)

        def advance(memory: Any, stimulus: Any) -> Any:
            at, number = memory
            state = inner.state(at)
            shape = state.shape[1:-1] if batched else state.shape[1:]
            push = stimulus
            if self.stimulus is not None:
                value = self.stimulus((number + 0.5) * dt)
                value = value[:, None] if batched and value.ndim else value
                value = jnp.broadcast_to(value, state.shape[1:]).astype(state.dtype)
                push = value if push is None else push + value
            if INPUT in self.white_noise:
                some = drawn(keys, number, shape, state.dtype)
                some = self.white_noise[INPUT] / jnp.sqrt(dt) * some
                push = some if push is None else push + some
            at = inner.advance(at, push)
            for name, strength in self.white_noise.items():
                if name != INPUT:
                    some = drawn(folded(rows[name] + 1), number, shape, state.dtype)
                    change = (
                        jnp.zeros_like(state).at[rows[name]].set(strength * jnp.sqrt(dt) * some)
                    )
                    at = inner.kick(at, change)
            return at, number + 1

        first = jnp.rint(jnp.asarray(t0, float) / dt).astype(int)
        return Stepper(
            lambda state: (inner.start(state), first),
            advance,
            lambda memory: inner.state(memory[0]),
            lambda memory, change: (inner.kick(memory[0], change), memory[1]),
        )


def _with(system: Driven, **fields: Any) -> Driven:
    """The same, of whatever class it is, with other values of some fields."""
    same = object.__new__(type(system))
    for field in dataclasses.fields(system):
        value = fields.get(field.name, getattr(system, field.name))
        object.__setattr__(same, field.name, value)
    return same


def driven(system: Network | Homogeneous | Driven) -> Driven:
    """Any system as a driven one."""
    return system if isinstance(system, Driven) else Driven(system)


def undriven(system: Network | Homogeneous | Driven) -> Network | Homogeneous:
    """The network alone."""
    return system.network if isinstance(system, Driven) else system


def noise_key(seed: Any) -> Any:
    """The key of a run's noise, from its seed; the initial state takes another one."""
    return jax.random.fold_in(jax.random.key(seed), 1)
