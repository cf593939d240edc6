"""Simulations inside of a loss."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.randomness import Purpose, split_off
from ngnmm_jax._core.small_linalg import solve_each
from ngnmm_jax.dynamics.equilibria import rest_state
from ngnmm_jax.dynamics.newton import jacobian
from ngnmm_jax.integrators import AbstractFixedStep, fixed
from ngnmm_jax.integrators.loops import repeated
from ngnmm_jax.integrators.steps import step_between
from ngnmm_jax.models.declarations import visible
from ngnmm_jax.models.times import usual_sample
from ngnmm_jax.simulation.saving import select
from ngnmm_jax.simulation.start import at_once, has_own_rest, own_rest, scattered, signs
from ngnmm_jax.systems.delayed import on_grid
from ngnmm_jax.systems.driven import Driven, Undriven, driven, undriven
from ngnmm_jax.systems.network import Network


def simulated(
    system: Any,
    key: Any,
    duration: Any,
    *,
    transient: Any = 0.0,
    dt: Any = None,
    sample: Any = None,
    integrator: AbstractFixedStep | str | None = None,
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
    - `integrator`: one of fixed steps. By default RK4 where `dt` is given, as everywhere; else
      "moebius" where the model has an exact flow, and RK4 where it has none.
    - `dt`: by default the longest up to the integrator's `longest_step` that divides the other
      times; where JAX traces parameters, their defaults count in that step.
      `sample`: between samples, by default 1 ms; `dt` has to divide it.
    - `truncate`: gradients go back through at most this long: the state is cut off at its
      multiples. What is left is the derivative of what the parameters do within that time.
    """
    whole = driven(system)
    model = whole.model
    method = fixed(whole, integrator, dt)
    names = (model.shown,) if variables is None else tuple(variables)
    for name in names:
        _checks.one_of("variables", name, visible(model))
    grid = _grid(whole, method, duration, transient, dt, sample, truncate)

    whole = on_grid(whole, grid.step)
    start_key, noise_key = (split_off(key, p) for p in (Purpose.START, Purpose.NOISE))
    sd = as_array(scatter, whole.coupling.dtype)
    network = at_once(undriven(system))
    state = scattered(network.state_shape, signs(model), _rest(network), sd, start_key)
    stepper = whole.stepper(method, as_array(grid.step, state.dtype), noise_key)

    def kept(memory: Any) -> jax.Array:
        return select(model, names, stepper.state(memory))

    def samples(memory: Any, count: int) -> tuple[Any, jax.Array]:
        return repeated(
            lambda memory: stepper.advance(memory, None),
            memory,
            n_saves=count,
            stride=grid.stride,
            select=kept,
        )

    memory = stepper.start(state)
    if grid.before:
        memory, _ = samples(memory, grid.before)
        memory = _cut(memory)
    n, block = grid.samples, grid.block

    @jax.checkpoint
    def stretch(memory: Any, _: None) -> tuple[Any, jax.Array]:
        memory, found = samples(memory, block)
        return memory if truncate is None else _cut(memory), found

    memory, found = jax.lax.scan(stretch, memory, None, length=n // block)
    found = found.reshape(-1, *found.shape[2:])
    if n % block:
        found = jnp.concatenate([found, samples(memory, n % block)[1]])
    return found


class _Grid(NamedTuple):
    """Steps and samples: `stride` steps between samples; samples before, in all, in a stretch."""

    step: float
    stride: int
    before: int
    samples: int
    block: int


def _grid(
    system: Driven,
    integrator: AbstractFixedStep,
    duration: Any,
    transient: Any,
    dt: Any,
    sample: Any,
    truncate: Any,
) -> _Grid:
    """The times that a caller gives, checked, on the grid of steps."""
    duration, transient = _checks.time("duration", duration), _checks.time("transient", transient)
    _checks.positive("duration", duration)
    every = usual_sample(system.model) if sample is None else _checks.time("sample", sample)
    _checks.positive("sample", every)
    if dt is None:
        step = step_between(every, (transient, duration), integrator.longest_step(system))
    else:
        step = _checks.time("dt", dt)
    _checks.positive("dt", step)
    stride = max(1, round(every / step))
    if abs(stride * step - every) > 1e-6 * every:
        _checks.fail("dt", f"divide the {every:g} between samples (`sample`)", f"it is {step:g}")
    length = stride * step
    n = max(1, round(duration / length))
    block = _block(n)
    if truncate is not None:
        block = max(1, round(_checks.time("truncate", truncate) / length))
    return _Grid(step, stride, round(transient / length), n, min(block, n))


def _rest(network: Undriven) -> jax.Array:
    """The lowest equilibrium, of averaged parameters unless a network has a rest of its own.

    Newton's last steps carry its derivatives.
    """
    system = network.averaged() if isinstance(network, Network) else network
    x = rest_state(system)
    if has_own_rest(network):
        return own_rest(network, x)
    for _ in range(2):
        matrix = jacobian(system.vector_field, x)
        x = x - solve_each(matrix, system.vector_field(x)[:, None])[:, 0]
    return x


def _block(n: int) -> int:
    """Samples of a stretch: all of them, or the root of many."""
    return n if n <= 1000 else round(n**0.5)


def _cut(memory: Any) -> Any:
    return jax.tree.map(jax.lax.stop_gradient, memory)
