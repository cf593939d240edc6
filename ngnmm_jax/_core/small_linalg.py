"""Many small linear systems at once, elementwise over the axes behind them."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact


@jax.custom_jvp
def solve_each(
    matrix: Inexact[Array, "n n *axes"], columns: Inexact[Array, "n m *axes"]
) -> Inexact[Array, "n m *axes"]:
    """Solutions of `matrix @ x = columns` for a few unknowns, one system for each of `*axes`.

    Gauss and Jordan's elimination with partial pivoting: it is elementwise, so it vectorises, and
    it calls no LAPACK, which XLA's CPU (JAX 0.10) deadlocks on when several calls in one program
    wait for its threads.
    """
    n = matrix.shape[0]
    dtype = jnp.result_type(matrix, columns)
    whole = jnp.concatenate([matrix.astype(dtype), columns.astype(dtype)], axis=1)
    places = jnp.arange(n).reshape(n, *(1,) * (whole.ndim - 1))

    def eliminate(k: jax.Array, whole: jax.Array) -> jax.Array:
        size = jnp.where(places[:, 0] >= k, jnp.abs(whole[:, k]), -1.0)
        pivot = jnp.argmax(size, axis=0)
        row = jnp.take_along_axis(whole, pivot[None, None], axis=0)[0]
        whole = jnp.where(places == pivot[None, None], whole[k][None], whole)
        row = row / row[k]
        return jnp.where(places == k, row[None], whole - whole[:, k][:, None] * row[None])

    return jax.lax.fori_loop(0, n, eliminate, whole)[:, n:]


@solve_each.defjvp
def _solve_each_jvp(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    matrix, columns = primals
    d_matrix, d_columns = tangents
    n = matrix.shape[0]
    unit = jnp.eye(n, dtype=matrix.dtype).reshape(n, n, *(1,) * (matrix.ndim - 2))
    unit = jnp.broadcast_to(unit, matrix.shape)
    inverse = solve_each(matrix, unit)
    solution = _times(inverse, columns)
    return solution, _times(inverse, d_columns - _times(d_matrix, solution))


def eigenvalues(xp: Any, matrices: Any) -> Any:
    """Eigenvalues (…, n), complex, NaN where a matrix is not finite; `xp` is NumPy or JAX's."""
    finite = xp.isfinite(matrices).all(axis=(-2, -1))[..., None]
    values = xp.linalg.eigvals(xp.where(finite[..., None], matrices, 0.0))
    return xp.where(finite, values, xp.nan + 0j)


def _times(a: jax.Array, b: jax.Array) -> jax.Array:
    """Products of matrices (n, n, *axes) and (n, m, *axes)."""
    return (a[:, :, None] * b[None]).sum(axis=1)
