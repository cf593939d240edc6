"""Lyapunov spectra of any vector field, by tangents and QR."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ngnmm_jax import _checks
from ngnmm_jax._status import Status, raise_unless_ok
from ngnmm_jax.dynamics.equilibria import first_candidate
from ngnmm_jax.dynamics.integrate import rk4_step
from ngnmm_jax.dynamics.orbits import OscillatingSystem

# The window is cut into this many blocks, whose scatter gives the standard errors.
_BLOCKS = 20
# An exponent is positive when it is above zero by this many standard errors.
_SURE = 3.0


class LyapunovSpectrum(eqx.Module):
    """The largest Lyapunov exponents of a trajectory.

    - `exponents` (exponent,): by falling size as the tangents were ordered, per unit of the
      model's time.
    - `errors` (exponent,): standard errors, from the scatter of 20 blocks of the window. In
      regular motion they measure how far the blocks are from whole periods.
    - `running` (block, exponent): the estimate after each block.
    - `state` (*state): where the trajectory ended; another call can go on from there.
    - `status`: OK, or NOT_FINITE where the trajectory diverged.
    """

    exponents: Float[Array, "exponent"]
    errors: Float[Array, "exponent"]
    running: Float[Array, "block exponent"]
    state: Float[Array, "*state"]
    status: Int[Array, ""]

    @property
    def number_positive(self) -> Int[Array, ""]:
        """How many exponents are above zero by three standard errors."""
        return (self.exponents > _SURE * self.errors).sum()

    @property
    def entropy_bound(self) -> Float[Array, ""]:
        """Sum of the positive exponents: Pesin's bound on the entropy rate."""
        return jnp.where(self.exponents > _SURE * self.errors, self.exponents, 0.0).sum()

    @property
    def kaplan_yorke(self) -> Float[Array, ""]:
        """The Kaplan-Yorke dimension; NaN where more exponents are needed to tell it.

        Source: Kaplan and Yorke, Lect. Notes Math. 730, 204 (1979).
        """
        order = jnp.argsort(-self.exponents)
        values, errors = self.exponents[order], self.errors[order]
        # What cannot be told from zero is zero.
        values = jnp.where(jnp.abs(values) < _SURE * errors, 0.0, values)
        sums = jnp.cumsum(values)
        k = (sums >= 0).sum()
        n = values.shape[0]
        before = jnp.where(k > 0, sums[jnp.maximum(k - 1, 0)], 0.0)
        dimension = k + before / jnp.abs(values[jnp.minimum(k, n - 1)])
        return jnp.where(k == 0, 0.0, jnp.where(k == n, jnp.nan, dimension))


def lyapunov_spectrum(
    system: OscillatingSystem,
    count: int | None = None,
    *,
    duration: float | None = None,
    transient: float | None = None,
    dt: float | None = None,
    interval: float | None = None,
    y0: Any = None,
    seed: int = 0,
    throw: bool = True,
) -> LyapunovSpectrum:
    """The first Lyapunov exponents of a trajectory of any vector field.

    Tangents are propagated with the state by the same RK4 steps (of a network: one matrix
    product for the state and all its tangents at each stage), and made orthonormal by QR after
    each interval. Works under `jax.vmap` over parameters and initial states.

    **Arguments:**

    - `system`: a network, `network.homogeneous()`, or anything with `vector_field`,
      `state_shape` and `time_step`.
    - `count`: how many exponents; by default all.
    - `duration`, `transient`: the window and what is left out before it (while the tangents
      turn into place), in the model's unit; by default 100,000 and 20,000 steps.
    - `dt`: the step; by default the system's `time_step`.
    - `interval`: between orthonormalisations; by default 20 steps.
    - `y0` (*state): by default near an equilibrium, with noise of `seed`.
    - `throw`: raise `SolverError` where the trajectory diverges.

    Source: Benettin et al., Meccanica 15, 9 (1980); Geist, Parlitz and Lauterborn, Prog.
    Theor. Phys. 83, 875 (1990).
    """
    _checks.require_x64("lyapunov_spectrum")
    shape = tuple(system.state_shape)
    size = math.prod(shape)
    count = size if count is None else count
    _checks.positive_integer("count", count)
    if count > size:
        _checks.fail("count", f"be at most the {size} dimensions of the state", f"it is {count}")
    step = system.time_step if dt is None else dt
    _checks.positive("dt", step)
    steps = {}
    for name, value, default in (
        ("duration", duration, 100_000),
        ("transient", transient, 20_000),
        ("interval", interval, 20),
    ):
        if value is not None:
            _checks.positive(name, value)
        steps[name] = default if value is None else max(1, round(value / step))
    stride = steps["interval"]
    block = max(1, steps["duration"] // (stride * _BLOCKS))
    if y0 is not None:
        y0 = jnp.asarray(y0, dtype=float)
        _checks.shape("y0", y0, shape, "of the system's state")
        _checks.finite("y0", y0)
    before = max(1, steps["transient"] // stride)
    result = _spectrum(
        system,
        y0,
        jnp.asarray(step, dtype=float),
        jax.random.key(seed),
        count,
        before,
        block,
        stride,
    )
    if throw:
        raise_unless_ok("lyapunov_spectrum", result.status, result)
    return result


@eqx.filter_jit
def _spectrum(
    system: Any,
    y0: jax.Array | None,
    dt: jax.Array,
    key: jax.Array,
    count: int,
    before: int,
    block: int,
    stride: int,
) -> LyapunovSpectrum:
    shape = tuple(system.state_shape)
    noise, turn = jax.random.split(key)
    if y0 is None:
        y0 = first_candidate(system)
        y0 = y0 + 0.01 * (1 + jnp.abs(y0)) * jnp.abs(jax.random.normal(noise, shape))
    size = y0.size
    tangents = jnp.linalg.qr(jax.random.normal(turn, (size, count)))[0]

    def joint(pair: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        slope, push = jax.linearize(system.vector_field, pair[0])
        return slope, jax.vmap(push, in_axes=-1, out_axes=-1)(pair[1])

    def advance(pair: Any, _: None) -> tuple[Any, jax.Array]:
        x, xi = jax.lax.fori_loop(0, stride, lambda _, p: rk4_step(joint, p, dt), pair)
        q, r = jnp.linalg.qr(xi.reshape(size, count))
        return (x, q.reshape(xi.shape)), jnp.log(jnp.abs(jnp.diagonal(r)))

    def over_block(pair: Any, _: None) -> tuple[Any, jax.Array]:
        pair, logs = jax.lax.scan(advance, pair, None, length=block)
        return pair, logs.sum(axis=0) / (block * stride * dt)

    pair = (y0, tangents.reshape(*shape, count))
    pair, _ = jax.lax.scan(advance, pair, None, length=before)
    (x, _), rates = jax.lax.scan(over_block, pair, None, length=_BLOCKS)
    exponents = rates.mean(axis=0)
    finite = jnp.isfinite(exponents).all() & jnp.isfinite(x).all()
    return LyapunovSpectrum(
        exponents=exponents,
        errors=rates.std(axis=0) / jnp.sqrt(_BLOCKS - 1.0),
        running=jnp.cumsum(rates, axis=0) / jnp.arange(1, _BLOCKS + 1)[:, None],
        state=x,
        status=jnp.where(finite, Status.OK, Status.NOT_FINITE),
    )
