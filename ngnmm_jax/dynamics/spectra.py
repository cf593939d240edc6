"""Eigenvalues of A + z b cᵀ for many z at once, without a batched eigensolver.

The characteristic polynomial of a matrix plus a rank-one term is linear in that term's
factor: det(μ - A - z b cᵀ) = p(μ) - z q(μ), with q(μ) = cᵀ adj(μ - A) b. So every z costs one
small polynomial, whose roots Ehrlich and Aberth's iteration finds together, in two rounds. The
first evaluates p and q by their coefficients (Faddeev and LeVerrier's recurrence, on the shifted
and scaled matrix): cheap, but small eigenvalues beside large ones lose their digits. Where that
shows, the second corrects them by the determinant itself: with b turned into the first axis and A
into Hessenberg form, only the first row depends on z, and a recurrence over the rows is backward
stable.
It is elementwise over z: fast on a GPU, where LAPACK-like solvers loop over a batch.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Inexact

# Iterations of the two rounds, at most.
_COEFFICIENTS, _DETERMINANTS = 60, 24
# The second goes on until errors are below this, relative to the eigenvalues' geometric mean.
_EXACT = 1e-10
# Sweeps that balance rows and columns.
_BALANCING = 12

# Values and slopes of polynomials at points (n, *batch).
Evaluate = Callable[[jax.Array], tuple[jax.Array, jax.Array]]


def rank_one_eigenvalues(
    matrix: Float[Array, "n n"],
    column: Float[Array, "n"],
    row: Float[Array, "n"],
    factors: Inexact[Array, "mode"],
) -> tuple[Complex[Array, "n mode"], Float[Array, "n mode"]]:
    """Eigenvalues of `matrix + z column rowᵀ` for each z of `factors`, and their errors.

    In 64 bits they agree with LAPACK's to 1e-10 of their geometric mean and some 1e-14 of the
    matrix's norm where they are simple, and to the square root of that where two coincide. The
    errors are estimates: the last corrections, or what rounding of the coefficients may do.

    Source: Aberth, Math. Comp. 27, 339 (1973), doi 10.1090/S0025-5718-1973-0329236-7; the
    determinant: Hyman's method, Wilkinson, The Algebraic Eigenvalue Problem (1965), ch. 7.
    """
    n = matrix.shape[0]
    matrix, column, row = _balanced(matrix, column, row, jnp.abs(factors).max())
    shift = jnp.trace(matrix) / n
    centred = matrix - shift * jnp.eye(n, dtype=matrix.dtype)
    scale = jnp.sqrt(jnp.mean(centred**2) * n)
    scale = jnp.where(scale > 0, scale, 1.0)
    centred, column = centred / scale, column / scale
    p, q = _characteristic(centred, column, row)
    z, error = _rough_roots(p[:, None] - q[:, None] * factors[None])
    evaluate = _determinant(*_hessenberg(centred, column, row), factors)
    eps = float(jnp.finfo(matrix.dtype).eps)
    mean = jnp.exp(jnp.log(jnp.abs(z + shift / scale) + eps).mean(axis=0))
    z, error = _together(evaluate, z, error, _EXACT * mean + 1e3 * eps, _DETERMINANTS)
    return z * scale + shift, error * scale + 10 * eps * (n * scale + jnp.abs(shift))


def _balanced(
    matrix: Float[Array, "n n"], column: Float[Array, "n"], row: Float[Array, "n"], factor: Any
) -> tuple[Float[Array, "n n"], Float[Array, "n"], Float[Array, "n"]]:
    """The same in units, powers of two, in which rows are about as large as columns.

    Source: Osborne, J. ACM 7, 338 (1960).
    """
    n = matrix.shape[0]
    sizes = jnp.abs(matrix) + factor * jnp.abs(jnp.outer(column, row))
    sizes = jnp.where(jnp.eye(n, dtype=bool), 0.0, sizes)

    def sweep(_: Any, unit: jax.Array) -> jax.Array:
        now = sizes * unit / unit[:, None]
        ratio = jnp.sqrt(now.sum(axis=1) / now.sum(axis=0))
        return unit * jnp.where((ratio > 0) & jnp.isfinite(ratio), jnp.sqrt(ratio), 1.0)

    unit = jax.lax.fori_loop(0, _BALANCING, sweep, jnp.ones_like(column))
    unit = jnp.exp2(jnp.round(jnp.log2(unit)))
    return matrix * unit / unit[:, None], column / unit, row * unit


def _rough_roots(
    coefficients: Inexact[Array, "degree *batch"],
) -> tuple[Complex[Array, "n *batch"], Float[Array, "n *batch"]]:
    """Roots of monic polynomials, their coefficients by falling degree, and their errors.

    The coefficients' own are those of a matrix of norm one.
    """
    n = coefficients.shape[0] - 1
    dtype = coefficients.real.dtype
    tiny = jnp.finfo(dtype).tiny
    powers = (1 / jnp.arange(1, n + 1, dtype=dtype)).reshape(n, *(1,) * (coefficients.ndim - 1))
    radius = jnp.max((jnp.abs(coefficients[1:]) + tiny) ** powers, axis=0)
    angles = (2 * math.pi * (jnp.arange(n) + 0.3) / n).reshape(powers.shape)

    def evaluate(z: jax.Array) -> tuple[jax.Array, jax.Array]:
        # Loops in place of sums: a program of a third the size, that runs as fast.
        def horner(k: jax.Array, pair: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            value, slope = pair
            return value * z + coefficients[k], slope * z + value

        return jax.lax.fori_loop(1, n + 1, horner, (jnp.ones_like(z), jnp.zeros_like(z)))

    start = radius[None] * jnp.exp(1j * angles)
    far, eps = jnp.full(start.shape, jnp.inf, dtype), jnp.finfo(dtype).eps
    z, last = _together(evaluate, start, far, 1e3 * eps * radius, _COEFFICIENTS)
    rounding = 10 * n * eps * (1 + jnp.abs(z)) ** n
    return z, last + rounding / jnp.maximum(jnp.abs(evaluate(z)[1]), tiny)


def _together(
    evaluate: Evaluate, start: jax.Array, error: jax.Array, goal: jax.Array, iterations: int
) -> tuple[jax.Array, jax.Array]:
    """Ehrlich and Aberth's iteration for all roots (n, *batch), until errors are below a goal.

    Those of the start, then the last corrections' size.
    """
    n = start.shape[0]
    tiny = jnp.finfo(error.dtype).tiny

    def correction(z: jax.Array) -> jax.Array:
        value, slope = evaluate(z)
        # value / slope = newton; where both vanish the root has been found.
        newton = jnp.where(value == 0, 0, value / jnp.where(slope == 0, tiny, slope))

        def push(k: jax.Array, repulsion: jax.Array) -> jax.Array:
            gap = z - jnp.roll(z, k, axis=0)
            return repulsion + jnp.where(gap == 0, 0, 1 / jnp.where(gap == 0, 1, gap))

        repulsion = jax.lax.fori_loop(1, n, push, jnp.zeros_like(z))
        return newton / (1 - newton * repulsion)

    def unfinished(carry: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        iteration, _, size = carry
        return (iteration < iterations) & ~(size <= goal).all()

    def step(
        carry: tuple[jax.Array, jax.Array, jax.Array],
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        iteration, z, _ = carry
        delta = correction(z)
        return iteration + 1, z - delta, jnp.abs(delta)

    begin = (jnp.asarray(0), start, error)
    _, z, size = jax.lax.while_loop(unfinished, step, begin)
    return z, size


def _hessenberg(
    matrix: Float[Array, "n n"], column: Float[Array, "n"], row: Float[Array, "n"]
) -> tuple[Float[Array, "n n"], Float[Array, "n"]]:
    """The matrix in Hessenberg form, in axes of which the first is the column's, and the row times
    the column's length. Householder's reflections.
    """
    n = matrix.shape[0]
    places = jnp.arange(n)

    def reflect(k: jax.Array, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        matrix, column, row = carry
        x = jnp.where(k == 0, column, matrix[:, jnp.maximum(k - 1, 0)])
        x = jnp.where(places >= k, x, 0.0)
        length = jnp.sqrt((x**2).sum())
        v = x.at[k].add(jnp.where(x[k] < 0, -length, length))
        size = (v**2).sum()
        v = v * jnp.sqrt(2 / jnp.where(size > 0, size, 1.0))
        matrix = matrix - v[:, None] * (v @ matrix)
        matrix = matrix - (matrix @ v)[:, None] * v
        return matrix, column - v * (v @ column), row - v * (v @ row)

    matrix, column, row = jax.lax.fori_loop(0, n - 1, reflect, (matrix, column, row))
    return matrix, row * column[0]


def _determinant(
    matrix: Float[Array, "n n"], row: Float[Array, "n"], factors: Inexact[Array, "mode"]
) -> Evaluate:
    """det(μ - H - z e rowᵀ) and its slope at μ (n, mode), e the first axis, H in Hessenberg form.

    The determinants d_k of the trailing blocks follow from each other by their first rows: with
    u_kj = h_kj Π h_(i,i-1) over i = k+1 … j, d_k = μ d_(k+1) - Σ_(j ≥ k) u_kj d_(j+1), d_n = 1.
    """
    n = matrix.shape[0]
    below = jnp.append(1.0, jnp.diagonal(matrix, -1))
    place = jnp.arange(n)
    chain = jnp.where(place[None] > place[:, None], below[None], 1.0)
    chain = jnp.triu(jnp.cumprod(chain, axis=1))
    weights, last = matrix * chain, (row * chain[0])[:, None] * factors

    def evaluate(z: jax.Array) -> tuple[jax.Array, jax.Array]:
        nothing = jnp.zeros((n + 1, *z.shape), z.dtype)

        def rows(step: jax.Array, pair: tuple[jax.Array, jax.Array]) -> Any:
            values, slopes = pair
            k = n - 1 - step
            inner = weights[k][:, None, None]
            value = z * values[k + 1] - (inner * values[1:]).sum(axis=0)
            slope = values[k + 1] + z * slopes[k + 1] - (inner * slopes[1:]).sum(axis=0)
            return values.at[k].set(value), slopes.at[k].set(slope)

        begin = (nothing.at[n].set(1.0), nothing)
        values, slopes = jax.lax.fori_loop(0, n, rows, begin)
        more, by = (last[:, None] * values[1:]).sum(axis=0), (last[:, None] * slopes[1:]).sum(0)
        return values[0] - more, slopes[0] - by

    return evaluate


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
