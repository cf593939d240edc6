"""Eigenvalues of A + z b cᵀ for many z at once, without a batched eigensolver.

The characteristic polynomial of a matrix plus a rank-one term is linear in that term's
factor: det(μ - A - z b cᵀ) = p(μ) - z q(μ), with q(μ) = cᵀ adj(μ - A) b. So p and q are
computed once (Faddeev and LeVerrier's recurrence, on the shifted and scaled matrix), and
every z costs one small polynomial, whose roots Ehrlich and Aberth's iteration finds together.
It is elementwise over z: fast on a GPU, where LAPACK-like solvers loop over a batch.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, Inexact

_MAX_ITERATIONS = 60


def rank_one_eigenvalues(
    matrix: Float[Array, "n n"],
    column: Float[Array, "n"],
    row: Float[Array, "n"],
    factors: Inexact[Array, "mode"],
) -> tuple[Complex[Array, "n mode"], Bool[Array, "mode"]]:
    """Eigenvalues of `matrix + z column rowᵀ` for each z of `factors`, and convergence.

    In 64 bits they agree with LAPACK's to some 1e-15 of the matrix's norm where they are
    simple (the tests hold 1e-11), and to the square root of that where two coincide.

    Source: Aberth, Math. Comp. 27, 339 (1973), doi 10.1090/S0025-5718-1973-0329236-7.
    """
    n = matrix.shape[0]
    shift = jnp.trace(matrix) / n
    centred = matrix - shift * jnp.eye(n, dtype=matrix.dtype)
    scale = jnp.sqrt(jnp.mean(centred**2) * n)
    scale = jnp.where(scale > 0, scale, 1.0)
    p, q = _characteristic(centred / scale, column, row)
    z, converged = polynomial_roots(p[:, None] - q[:, None] / scale * factors[None])
    return z * scale + shift, converged


def polynomial_roots(
    coefficients: Inexact[Array, "degree *batch"],
) -> tuple[Complex[Array, "n *batch"], Bool[Array, "*batch"]]:
    """All roots of monic polynomials, their coefficients by falling degree, and convergence."""
    n = coefficients.shape[0] - 1
    dtype = coefficients.real.dtype
    tiny = jnp.finfo(dtype).tiny
    powers = (1 / jnp.arange(1, n + 1, dtype=dtype)).reshape(n, *(1,) * (coefficients.ndim - 1))
    radius = jnp.max((jnp.abs(coefficients[1:]) + tiny) ** powers, axis=0)
    angles = (2 * math.pi * (jnp.arange(n) + 0.3) / n).reshape(powers.shape)
    start = radius[None] * jnp.exp(1j * angles)
    tolerance = 1e3 * jnp.finfo(dtype).eps

    def correction(z: jax.Array) -> jax.Array:
        # Loops in place of sums: a program of a third the size, that runs as fast.
        def horner(k: jax.Array, pair: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            value, slope = pair
            return value * z + coefficients[k], slope * z + value

        value, slope = jax.lax.fori_loop(1, n + 1, horner, (jnp.ones_like(z), jnp.zeros_like(z)))
        # value / slope = newton; where both vanish the root has been found.
        newton = jnp.where(value == 0, 0, value / jnp.where(slope == 0, tiny, slope))

        def push(k: jax.Array, repulsion: jax.Array) -> jax.Array:
            gap = z - jnp.roll(z, k, axis=0)
            return repulsion + jnp.where(gap == 0, 0, 1 / jnp.where(gap == 0, 1, gap))

        repulsion = jax.lax.fori_loop(1, n, push, jnp.zeros_like(z))
        return newton / (1 - newton * repulsion)

    def unfinished(carry: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        iteration, _, size = carry
        return (iteration < _MAX_ITERATIONS) & (size > tolerance).any()

    def step(
        carry: tuple[jax.Array, jax.Array, jax.Array],
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        iteration, z, _ = carry
        delta = correction(z)
        return iteration + 1, z - delta, jnp.max(jnp.abs(delta) / radius, axis=0)

    begin = (jnp.asarray(0), start, jnp.full(radius.shape, jnp.inf, radius.dtype))
    _, z, size = jax.lax.while_loop(unfinished, step, begin)
    return z, size < jnp.sqrt(tolerance)


def _characteristic(
    matrix: Float[Array, "n n"], column: Float[Array, "n"], row: Float[Array, "n"]
) -> tuple[Float[Array, "degree"], Float[Array, "degree"]]:
    """Coefficients, by falling degree, of det(μ - A) and of rowᵀ adj(μ - A) column."""
    n = matrix.shape[0]
    eye = jnp.eye(n, dtype=matrix.dtype)
    one, zero = jnp.ones((), matrix.dtype), jnp.zeros((), matrix.dtype)

    def step(carry: tuple[jax.Array, jax.Array], k: jax.Array) -> Any:
        adjoint, p = carry
        adjoint = matrix @ adjoint + p * eye
        p = -jnp.trace(matrix @ adjoint) / k
        return (adjoint, p), (p, row @ adjoint @ column)

    numbers = jnp.arange(1, n + 1, dtype=matrix.dtype)
    _, (p, q) = jax.lax.scan(step, (jnp.zeros_like(matrix), one), numbers)
    return jnp.append(one, p), jnp.append(zero, q)
