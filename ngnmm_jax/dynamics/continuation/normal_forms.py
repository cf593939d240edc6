"""Coefficients of normal forms: which way a bifurcation bends, and where it degenerates.

Source: Kuznetsov, Elements of Applied Bifurcation Theory, 3rd ed. (2004), section 5.4.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

VectorField = Callable[[jax.Array], jax.Array]


def second(field: VectorField, x: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """Second derivative of a field at x along two directions."""

    def along(y: jax.Array) -> jax.Array:
        return jax.jvp(field, (y,), (a,))[1]

    return jax.jvp(along, (x,), (b,))[1]


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

    # Real directions, all at once: the field's derivatives stand in the program once.
    @jax.vmap
    def twofold(a: jax.Array, b: jax.Array) -> jax.Array:
        return second(field, x, a, b)

    @jax.vmap
    def third(a: jax.Array, b: jax.Array, c: jax.Array) -> jax.Array:
        return jax.jvp(lambda y: second(field, y, a, b), (x,), (c,))[1]

    a, b = q.real, q.imag
    aaa, abb, aab, bbb = third(*map(jnp.stack, ((a, a, a, b), (a, b, a, b), (a, b, b, b))))
    cubic = aaa + abb + 1j * (aab + bbb)
    aa, bb, ab = twofold(jnp.stack([a, b, a]), jnp.stack([a, b, b]))
    mean = jnp.linalg.solve(matrix, aa + bb)
    twice = jnp.linalg.solve(2j * omega * jnp.eye(n) - matrix, aa - bb + 2j * ab)
    # F(q, mean), and F of the conjugate of q and `twice`.
    others = jnp.stack([mean, mean, twice.real, twice.imag, twice.real, twice.imag])
    am, bm, ar, ai, br, bi = twofold(jnp.stack([a, b, a, a, b, b]), others)
    total = cubic - 2 * (am + 1j * bm) + (ar + bi) + 1j * (ai - br)
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
