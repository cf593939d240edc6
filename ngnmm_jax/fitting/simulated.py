"""Simulations inside of a loss."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.parameters import concrete_step
from ngnmm_jax._core.randomness import Purpose, split_off
from ngnmm_jax._core.small_linalg import solve_each
from ngnmm_jax.dynamics.equilibria import jacobian, rest_state
from ngnmm_jax.integrators.loops import repeated
from ngnmm_jax.integrators.steps import step_between
from ngnmm_jax.models.base import SECONDS
from ngnmm_jax.simulation.single import fixed_method, select
from ngnmm_jax.simulation.start import scattered, signs
from ngnmm_jax.systems.driven import driven, undriven
from ngnmm_jax.systems.network import Homogeneous, Network


def simulated(
    system: Any,
    key: Any,
    duration: Any,
    *,
    transient: Any = 0.0,
    dt: Any = None,
    sample: Any = None,
    integrator: str | None = None,
    variables: Sequence[str] | None = None,
    truncate: Any = None,
    scatter: Any = 0.01,
) -> Float[Array, "time variable *region"]:
    """Samples of a simulation, made to be differentiated: no checks of values, nothing raised.

    Fixed steps, from the system's own lowest equilibrium plus initial noise. Reverse mode keeps
    one state for each sample and recomputes the steps between; with more than a thousand samples
    it keeps one for each of √n stretches of them, and recomputes twice: memory then grows as
    √duration. Values are NaN where it diverged.

    **Arguments:** times in the model's unit.

    - `key`: of all noise; the same key gives the same noise, whatever the parameters.
    - `duration`, `transient`: what is sampled, and what comes before, through which gradients
      do not go (finite differences do).
    - `dt`: by default the longest up to the model's `time_step` ("moebius": twice that) that
      divides the other times; where JAX traces parameters, their defaults count in that step.
      `sample`: between samples, by default 1 ms; `dt` has to divide it.
    - `truncate`: gradients go back through at most this long: the state is cut off at its
      multiples. What is left is the derivative of what the parameters do within that time.
    """
    whole = driven(system)
    model = whole.model
    duration, transient, dt, sample, truncate = (
        None if value is None else _checks.time(name, value)
        for name, value in (
            ("duration", duration), ("transient", transient), ("dt", dt), ("sample", sample),
            ("truncate", truncate),
        )
    )  # fmt: skip
    if integrator is None:
        integrator = "rk4" if model.exact_flow(jnp.asarray(1.0)) is None else "moebius"
    _checks.positive("duration", duration)
    every = 1e-3 / SECONDS[model.time_unit] if sample is None else sample
    _checks.positive("sample", every)
    step = dt
    if step is None:
        longest = concrete_step(whole) * (2 if integrator == "moebius" else 1)
        step = step_between(every, (transient, duration), longest)
    _checks.positive("dt", step)
    stride = max(1, round(every / step))
    if abs(stride * step - every) > 1e-6 * every:
        _checks.fail("dt", f"divide the {every:g} between samples (`sample`)", f"it is {step:g}")
    names = (model.shown,) if variables is None else tuple(variables)
    for name in names:
        _checks.one_of("variables", name, dict.fromkeys((*model.variables, model.shown)))
    n = max(1, round(duration / (stride * step)))
    before = round(transient / (stride * step))

    start_key, noise_key = (split_off(key, p) for p in (Purpose.START, Purpose.NOISE))
    sd = jnp.asarray(scatter, whole.coupling.dtype)
    network = undriven(system)
    inner = network.averaged() if isinstance(network, Network) else network
    state = scattered(network.state_shape, signs(model), _rest(inner), sd, start_key)
    stepper = whole.stepper(
        fixed_method(model, integrator), jnp.asarray(step, state.dtype), noise_key
    )

    def kept(memory: Any) -> jax.Array:
        return select(model, names, stepper.state(memory))

    def samples(memory: Any, count: int) -> tuple[Any, jax.Array]:
        return repeated(
            lambda memory: stepper.advance(memory, None),
            memory,
            n_saves=count,
            stride=stride,
            select=kept,
        )

    memory = stepper.start(state)
    if before:
        memory, _ = samples(memory, before)
        memory = _cut(memory)
    block = _block(n) if truncate is None else max(1, round(truncate / (stride * step)))
    block = min(block, n)

    @jax.checkpoint
    def stretch(memory: Any, _: None) -> tuple[Any, jax.Array]:
        memory, found = samples(memory, block)
        return memory if truncate is None else _cut(memory), found

    memory, found = jax.lax.scan(stretch, memory, None, length=n // block)
    found = found.reshape(-1, *found.shape[2:])
    if n % block:
        found = jnp.concatenate([found, samples(memory, n % block)[1]])
    return found


def _rest(system: Homogeneous) -> jax.Array:
    """The lowest equilibrium; Newton's last steps carry its derivatives."""
    x = rest_state(system)
    for _ in range(2):
        matrix = jacobian(system.vector_field, x)
        x = x - solve_each(matrix, system.vector_field(x)[:, None])[:, 0]
    return x


def _block(n: int) -> int:
    """Samples of a stretch: all of them, or the root of many."""
    return n if n <= 1000 else round(n**0.5)


def _cut(memory: Any) -> Any:
    return jax.tree.map(jax.lax.stop_gradient, memory)
