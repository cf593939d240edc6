"""Coefficients of normal forms: which way a bifurcation bends, and where it degenerates.

Source: Kuznetsov, Elements of Applied Bifurcation Theory, 3rd ed. (2004), section 5.4.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

VectorField = Callable[[jax.Array], jax.Array]


def second(field: VectorField, x: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """Second derivative of a field at x along two directions, real or complex."""

    def real(u: jax.Array, v: jax.Array) -> jax.Array:
        def along(y: jax.Array) -> jax.Array:
            return jax.jvp(field, (y,), (u,))[1]

        return jax.jvp(along, (x,), (v,))[1]

    if not (jnp.iscomplexobj(a) or jnp.iscomplexobj(b)):
        return real(a, b)
    ar, ai, br, bi = jnp.real(a), jnp.imag(a), jnp.real(b), jnp.imag(b)
    return real(ar, br) - real(ai, bi) + 1j * (real(ar, bi) + real(ai, br))


def first_lyapunov(
    field: VectorField,
    x: Float[Array, "dimension"],
    matrix: Float[Array, "dimension dimension"],
    omega: Float[Array, ""],
    q: Complex[Array, "dimension"],
) -> Float[Array, ""]:
    """First Lyapunov coefficient at a Hopf point: negative where cycles are born stable.

    `q`: an eigenvector of the Jacobian `matrix` to the eigenvalue i omega. In units of the
    inverse square of the state, for q of Euclidean norm one.
    """
    n = x.shape[0]
    q = q / jnp.linalg.norm(q)
    # The adjoint eigenvector, from a bordered system that is regular.
    border = jnp.zeros((n + 1, n + 1), complex)
    border = border.at[:n, :n].set(matrix.T + 1j * omega * jnp.eye(n))
    border = border.at[:n, n].set(q).at[n, :n].set(q.conj())
    p = jnp.linalg.solve(border, jnp.zeros(n + 1, complex).at[n].set(1.0))[:n]
    p = p / (p.conj() @ q).conj()

    def third(a: jax.Array, b: jax.Array, c: jax.Array) -> jax.Array:
        return jax.jvp(lambda y: second(field, y, a, b), (x,), (c,))[1]

    a, b = q.real, q.imag
    cubic = third(a, a, a) + third(a, b, b) + 1j * (third(a, a, b) + third(b, b, b))
    mean = jnp.linalg.solve(matrix, second(field, x, q, q.conj()).real)
    twice = jnp.linalg.solve(2j * omega * jnp.eye(n) - matrix, second(field, x, q, q))
    total = cubic - 2 * second(field, x, q, mean.astype(complex))
    total = total + second(field, x, q.conj(), twice)
    return (p.conj() @ total).real / (2 * omega)


def left_null(matrix: Float[Array, "dimension dimension"]) -> Float[Array, "dimension"]:
    """The left null vector of a matrix that is singular, of norm one, in a continuous sense."""
    n = matrix.shape[0]
    border = jnp.cos(1.0 + jnp.arange(n))
    bordered = jnp.zeros((n + 1, n + 1)).at[:n, :n].set(matrix.T)
    bordered = bordered.at[:n, n].set(right_null(matrix)).at[n, :n].set(border)
    w = jnp.linalg.solve(bordered, jnp.zeros(n + 1).at[n].set(1.0))[:n]
    return w / jnp.linalg.norm(w)


def right_null(matrix: Float[Array, "dimension dimension"]) -> Float[Array, "dimension"]:
    """The right singular vector to the least singular value."""
    return jnp.linalg.svd(matrix)[2][-1]
