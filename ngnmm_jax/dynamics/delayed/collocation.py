"""Periodic orbits of systems with one delay: Newton's iteration on trigonometric collocation.

The orbit's values at equal steps of its period are the unknowns, with the period; what arrives
from the past is interpolated by the same trigonometric polynomial, however long the delay. Where
the orbit is analytic, the error falls exponentially with the number of steps.

Source: Engelborghs, Luzyanina, in 't Hout and Roose, SIAM J. Sci. Comput. 22, 1593 (2001), by
piecewise polynomials.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ngnmm_jax._core.parameters import constant
from ngnmm_jax.dynamics.delayed.fourier import derivative_matrix, shift_matrix
from ngnmm_jax.dynamics.delayed.system import linearised

_NEWTON = 25
# Newton's iteration ends at a step that is this small, relative to the extent, or grows again
# when it was small.
_DONE, _SMALL = 1e-12, 1e-7


class Collocated(NamedTuple):
    """What Newton's iteration has come to.

    - `values` (node, variable): at equal steps of the period, its end left out.
    - `arriving` (node, channel): from the past.
    - `residual`: of the equations, relative to the largest slope.
    - `moved`: Newton's last step relative to the orbit's extent.
    """

    values: Any
    arriving: Any
    period: Any
    residual: Any
    moved: Any


class _Iteration(NamedTuple):
    number: Any
    values: Any
    period: Any
    step: Any
    ended: Any


@eqx.filter_jit
def collocate(
    system: Any, values: Float[Array, "node variable"], period: Float[Array, ""]
) -> Collocated:
    """The periodic orbit near values at an odd number of equal steps.

    The last two steps carry derivatives by the system's parameters: those of first and second
    order are exact, by the implicit function theorem.
    """
    values, period = jax.lax.stop_gradient((values, period))
    fixed, extent = constant(system), jnp.maximum(jnp.ptp(values, axis=0), 1e-300)
    towards = jnp.asarray(derivative_matrix(values.shape[0])) @ values / extent**2

    def going(now: _Iteration) -> jax.Array:
        return ~now.ended & (now.number < _NEWTON)

    def again(now: _Iteration) -> _Iteration:
        change, longer = _correction(fixed, now.values, now.period, towards)
        step = jnp.abs(change / extent).max() + jnp.abs(longer) / now.period
        stalls = (now.step < _SMALL) & (step > now.step / 2)
        ended = (step < _DONE) | stalls | ~jnp.isfinite(step)
        # No step turns the period over.
        part = jnp.minimum(1.0, 0.5 * now.period / jnp.maximum(jnp.abs(longer), 1e-300))
        return _Iteration(
            now.number + 1, now.values + part * change, now.period + part * longer, step, ended
        )

    start = _Iteration(
        jnp.asarray(0), values, period, jnp.asarray(jnp.inf, values.dtype), jnp.asarray(False)
    )
    end = jax.lax.stop_gradient(jax.lax.while_loop(going, again, start))
    values, period = end.values, end.period
    for _ in range(2):
        change, longer = _correction(system, values, period, towards)
        values, period = values + change, period + longer
        moved = jnp.abs(change / extent).max() + jnp.abs(longer) / period
    arriving = _arriving(system, values, period)
    slopes = jax.vmap(system.slope)(values, arriving)
    misses = jnp.asarray(derivative_matrix(values.shape[0])) @ values - period * slopes
    residual = jnp.abs(misses).max(axis=0) / jnp.maximum(
        jnp.abs(period * slopes).max(axis=0), 1e-300
    )
    return Collocated(values, arriving, period, residual.max(), moved)


def _arriving(system: Any, values: jax.Array, period: jax.Array) -> jax.Array:
    """What arrives at the nodes, (node, channel)."""
    back, _ = shift_matrix(values.shape[0], system.delay / period)
    return system.gain * (back @ jax.vmap(system.sent)(values))


def _correction(
    system: Any, values: jax.Array, period: jax.Array, towards: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Newton's step, which does not shift the orbit along itself."""
    nodes, n = values.shape
    derivative = jnp.asarray(derivative_matrix(nodes))
    back, turning = shift_matrix(nodes, system.delay / period)
    sent = jax.vmap(system.sent)(values)
    arriving = system.gain * (back @ sent)
    slopes = jax.vmap(system.slope)(values, arriving)
    here, past, out = jax.vmap(lambda x, y: linearised(system, x, y))(values, arriving)
    misses = derivative @ values - period * slopes
    whole = jnp.einsum("jl,ab->jalb", derivative, jnp.eye(n))
    whole = whole - period * jnp.einsum("jl,jab->jalb", jnp.eye(nodes), here)
    through = jnp.einsum("jac,lcb->jalb", past, out) * back[:, None, :, None]
    whole = (whole - period * system.gain * through).reshape(nodes * n, nodes * n)
    # By the period: what arrives was sent a delay / period of a turn ago.
    shifted = jnp.einsum("jac,jc->ja", past, system.gain * (turning @ sent))
    by_period = -slopes + (system.delay / period) * shifted
    row = jnp.append(towards.ravel(), 0.0)
    matrix = jnp.concatenate([whole, by_period.reshape(-1, 1)], axis=1)
    matrix = jnp.concatenate([matrix, row[None]])
    step = jnp.linalg.solve(matrix, jnp.append(-misses.ravel(), 0.0))
    return step[:-1].reshape(nodes, n), step[-1]
