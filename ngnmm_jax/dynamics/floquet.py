"""Linear periodic systems: propagators along an orbit, multipliers, exponents."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Inexact

from ngnmm_jax.dynamics.integrate import Step

VectorField = Callable[[jax.Array], jax.Array]

# Sweeps of orthogonal iteration: the basis converges as (ratio of neighbouring
# multipliers)^sweeps, and whatever is left is treated as one two-dimensional block.
_SWEEPS = 40
# Enough to sort the product's columns by size.
_FEW_SWEEPS = 4
_SEPARATE = 1e-12
_COUPLED = 1e-7


def propagators(
    field: VectorField,
    linear: Callable[[jax.Array], jax.Array],
    start: Float[Array, "n"],
    dt: Float[Array, ""],
    *,
    segments: int,
    steps: int,
    step: Step,
) -> tuple[Float[Array, "segment step n"], Inexact[Array, "segment *batch n n"]]:
    """States after each step along an orbit, and linear systems' propagators over its segments.

    The linear systems ξ' = L(x(t)) ξ are integrated together with the orbit x' = field(x),
    by the same steps; `linear(x)` returns their matrices (*batch, n, n), real or complex.
    """
    like = jax.eval_shape(linear, start)
    size, shape = start.shape[0], like.shape
    eye = jnp.broadcast_to(jnp.eye(size, dtype=like.dtype), shape)

    def joint(packed: jax.Array) -> jax.Array:
        x = packed[:size].real
        xi = packed[size:].reshape(shape)
        return jnp.concatenate([field(x).astype(packed.dtype), (linear(x) @ xi).ravel()])

    def over_segment(x: jax.Array, _: None) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        def advance(packed: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
            packed = step(joint, packed, dt)
            return packed, packed[:size].real

        packed = jnp.concatenate([x.astype(like.dtype), eye.ravel()])
        packed, path = jax.lax.scan(advance, packed, None, length=steps)
        return packed[:size].real, (path, packed[size:].reshape(shape))

    return jax.lax.scan(over_segment, start, None, length=segments)[1]


def product(matrices: Inexact[Array, "segment *batch n n"]) -> Inexact[Array, "*batch n n"]:
    """The propagator over all segments, in their order."""
    first, rest = matrices[0], matrices[1:]
    return jax.lax.scan(lambda total, m: (m @ total, None), first, rest)[0]


def multipliers(matrices: Float[Array, "segment n n"]) -> tuple[jax.Array, Complex[Array, "n"]]:
    """log|μ| and μ / |μ| of the eigenvalues of a product, small ones as accurate as large.

    Forming the product loses every multiplier below 1e-16 of the largest. Here orthogonal
    iteration sweeps over its factors (M_j Q_j = Q_{j+1} R_j), so that the product in the
    converged basis is (Q_0ᵀ Q_m) R_m … R_1, whose diagonal blocks (of size one, or two for a
    complex pair) are products of diagonals and keep their relative accuracy.

    Sorted by falling modulus. Source: the discrete QR method for Lyapunov exponents
    (Dieci and Van Vleck 1995), applied to a periodic sequence; compare the periodic Schur
    decomposition (Bojanczyk, Golub and Van Dooren 1992).
    """
    n = matrices.shape[1]
    turn, factors = _triangular(matrices, _SWEEPS)
    # Neighbours that have not separated: of three, the two that are coupled more.
    coupling = jnp.append(jnp.abs(jnp.diagonal(turn, -1)), 0.0)
    paired = (coupling[:-1] > _COUPLED) & (coupling[:-1] >= coupling[1:])

    logs, phases = [], []
    second_of_pair = jnp.array(False)
    carried = (jnp.array(0.0), jnp.array(1.0 + 0j))
    for i in range(n):
        diagonal = factors[:, i, i]
        single = (jnp.log(jnp.abs(diagonal)).sum(), jnp.prod(jnp.sign(diagonal)) * turn[i, i])
        log_modulus, phase = single[0], single[1].astype(complex)
        if i + 1 < n:
            is_pair = ~second_of_pair & paired[i]
            (log_one, phase_one), other = _pair(
                turn[i : i + 2, i : i + 2], factors[:, i : i + 2, i : i + 2]
            )
        else:
            is_pair, log_one, phase_one, other = jnp.array(False), log_modulus, phase, carried
        logs.append(jnp.where(second_of_pair, carried[0], jnp.where(is_pair, log_one, log_modulus)))
        phases.append(jnp.where(second_of_pair, carried[1], jnp.where(is_pair, phase_one, phase)))
        carried, second_of_pair = other, is_pair
    log_moduli, turns = jnp.stack(logs), jnp.stack(phases)
    order = jnp.argsort(-log_moduli)
    turns = turns / jnp.abs(turns)
    return log_moduli[order], turns[order]


def graded(matrices: Float[Array, "segment n n"]) -> Complex[Array, "n"]:
    """The eigenvalues of a product, less accurate where they are small; a few sweeps' work.

    What has separated is exactly so: else rounding errors of the largest would hide those near 1.
    """
    turn, factors = _triangular(matrices, _FEW_SWEEPS)
    n = turn.shape[0]
    turn = jnp.where(jnp.tri(n, k=-1, dtype=bool) & (jnp.abs(turn) < _SEPARATE), 0.0, turn)
    return jnp.linalg.eigvals(turn @ product(factors))


def _triangular(
    matrices: Float[Array, "segment n n"], sweeps: int
) -> tuple[Float[Array, "n n"], Float[Array, "segment n n"]]:
    """Orthogonal and triangular factors whose product is similar to that of the matrices."""
    n = matrices.shape[1]

    def sweep(q: jax.Array, _: None) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        def through(q: jax.Array, m: jax.Array) -> tuple[jax.Array, jax.Array]:
            q, r = jnp.linalg.qr(m @ q)
            return q, r

        end, rs = jax.lax.scan(through, q, matrices)
        return end, (q, rs)

    start = jnp.linalg.qr(jnp.eye(n) + 0.1 * jnp.sin(jnp.arange(n * n).reshape(n, n) + 1.0))[0]
    end, (q, rs) = jax.lax.scan(sweep, start.astype(matrices.dtype), None, length=sweeps)
    return q[-1].T @ end, rs[-1]


def _pair(
    turn: Float[Array, "2 2"], factors: Float[Array, "segment 2 2"]
) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    """log|μ| and phase of both eigenvalues of turn times a product of triangular 2x2 factors."""
    sizes = jnp.sqrt(jnp.abs(factors[:, 0, 0] * factors[:, 1, 1]))
    block = turn @ product(factors / sizes[:, None, None])
    half = jnp.trace(block) / 2
    root = jnp.sqrt((half**2 - jnp.linalg.det(block)).astype(complex))
    large = jnp.where(half >= 0, half + root, half - root)
    small = jnp.linalg.det(block) / large
    scale = jnp.log(sizes).sum()
    return (
        (scale + jnp.log(jnp.abs(large)), large / jnp.abs(large)),
        (scale + jnp.log(jnp.abs(small)), small / jnp.abs(small)),
    )
