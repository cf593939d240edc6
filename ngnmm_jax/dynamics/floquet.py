"""Linear periodic systems: propagators along an orbit, multipliers, exponents."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Inexact

from ngnmm_jax.dynamics.integrate import dopri8_loop

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
    starts: Float[Array, "segment n"],
    dt: Float[Array, ""],
    steps: int,
) -> tuple[
    Float[Array, "segment n"],
    Inexact[Array, "segment *batch n n"],
    Float[Array, "segment step n"],
    Float[Array, "segment step n"],
]:
    """Linear systems' propagators over segments of an orbit, each from its own start.

    The linear systems ξ' = L(x(t)) ξ are integrated together with the orbit x' = field(x), by
    the same steps (of Dormand and Prince's order eight); `linear(x)` returns their matrices
    (*batch, n, n), real or complex. Returns the ends, the propagators, and states and slopes
    at the beginning of each step.
    """
    like = jax.eval_shape(linear, starts[0])
    size, shape = starts.shape[1], like.shape
    eye = jnp.broadcast_to(jnp.eye(size, dtype=like.dtype), shape)

    def joint(packed: jax.Array) -> jax.Array:
        x = packed[:size].real
        xi = packed[size:].reshape(shape)
        return jnp.concatenate([field(x).astype(packed.dtype), (linear(x) @ xi).ravel()])

    def advance(packed: jax.Array, _: None) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        x = packed[:size].real
        return dopri8_loop(joint, packed, dt), (x, field(x))

    def over_segment(x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        packed = jnp.concatenate([x.astype(like.dtype), eye.ravel()])
        packed, (path, slopes) = jax.lax.scan(advance, packed, None, length=steps)
        return packed[:size].real, packed[size:].reshape(shape), path, slopes

    return jax.vmap(over_segment)(starts)


# Over starts (segment, n), with a step and a number of steps: ends, propagators, path and slopes.
Sweep = Callable[[Any, Any, int], tuple[Any, Any, Any, Any]]


def swept(
    xp: Any, sweep: Sweep, starts: Any, eye: Any, dt: Any, steps: int, block: int
) -> tuple[Any, Any, Any, Any]:
    """`propagators` over more steps, by sweeps of `block` steps after each other.

    Any number of steps so runs the same program; a number that is no multiple of `block` has one
    of its own. `eye` (segment, *batch, n, n) are identities. With `xp` NumPy the sweeps are
    called from the host, with JAX's they are part of a program.
    """
    block = block if steps % block == 0 else steps

    def over(carry: Any, _: None) -> Any:
        x, matrices = carry
        ends, some, path, slopes = map(xp.asarray, sweep(x, dt, block))
        return (ends, some @ matrices), (path, slopes)

    segments, n = starts.shape
    carry: Any = (starts, eye)
    if xp is jnp:
        carry, paths = jax.lax.scan(over, carry, None, length=steps // block)
    else:
        pieces = []
        for _ in range(steps // block):
            carry, piece = over(carry, None)
            pieces.append(piece)
        paths = tuple(np.stack(part) for part in zip(*pieces, strict=True))
    return *carry, *(p.swapaxes(0, 1).reshape(segments, -1, n) for p in paths)


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
    diagonal = jnp.diagonal(factors, axis1=1, axis2=2)
    log_moduli = jnp.log(jnp.abs(diagonal)).sum(axis=0)
    phases = (jnp.prod(jnp.sign(diagonal), axis=0) * jnp.diagonal(turn)).astype(complex)
    if n > 1:
        # Neighbours that have not separated: of three, the two that are coupled more.
        coupling = jnp.append(jnp.abs(jnp.diagonal(turn, -1)), 0.0)
        near = (coupling[:-1] > _COUPLED) & (coupling[:-1] >= coupling[1:])
        _, first = jax.lax.scan(lambda last, here: (here & ~last,) * 2, jnp.array(False), near)
        rows = np.arange(n - 1) + np.array([[[0]], [[1]]])
        columns = rows.swapaxes(0, 1)
        logs, turns = _pair(turn[rows, columns], factors[:, rows, columns])
        for member, places in enumerate(((0, 1), (1, 0))):  # the pair's first, and its second
            here = jnp.pad(first, places)
            log_moduli = jnp.where(here, jnp.pad(logs[member], places), log_moduli)
            phases = jnp.where(here, jnp.pad(turns[member], places), phases)
    order = jnp.argsort(-log_moduli)
    phases = phases / jnp.abs(phases)
    return log_moduli[order], phases[order]


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

    start = np.linalg.qr(np.eye(n) + 0.1 * np.sin(np.arange(n * n).reshape(n, n) + 1.0))[0]
    end, (q, rs) = jax.lax.scan(sweep, jnp.asarray(start, matrices.dtype), None, length=sweeps)
    return q[-1].T @ end, rs[-1]


def _pair(
    turn: Float[Array, "2 2 pair"], factors: Float[Array, "segment 2 2 pair"]
) -> tuple[Float[Array, "2 pair"], Complex[Array, "2 pair"]]:
    """log|μ| and phase of both eigenvalues of turn times a product of triangular 2x2 factors."""
    sizes = jnp.sqrt(jnp.abs(factors[:, 0, 0] * factors[:, 1, 1]))

    def times(a: jax.Array, b: jax.Array) -> jax.Array:
        return (a[:, :, None] * b[None]).sum(axis=1)

    scaled = factors / sizes[:, None, None]
    total, _ = jax.lax.scan(lambda total, m: (times(m, total), None), scaled[0], scaled[1:])
    block = times(turn, total)
    half = (block[0, 0] + block[1, 1]) / 2
    determinant = block[0, 0] * block[1, 1] - block[0, 1] * block[1, 0]
    root = jnp.sqrt((half**2 - determinant).astype(complex))
    large = jnp.where(half >= 0, half + root, half - root)
    both = jnp.stack([large, determinant / large])
    return jnp.log(sizes).sum(axis=0) + jnp.log(jnp.abs(both)), both / jnp.abs(both)
