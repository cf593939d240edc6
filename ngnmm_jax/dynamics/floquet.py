"""Linear periodic systems: propagators along an orbit, multipliers, exponents."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Inexact

from ngnmm_jax._core.arrays import as_array
from ngnmm_jax.dynamics.products import product_spectrum
from ngnmm_jax.integrators.runge_kutta import dopri8_loop

VectorField = Callable[[jax.Array], jax.Array]

# Steps whose propagators are one factor, of systems that are not larger than this.
_TOGETHER, _SMALL = 8, 32
# Sweeps of orthogonal iteration: the basis converges as (ratio of neighbouring
# multipliers)^sweeps, and whatever is left is treated as one two-dimensional block.
_SWEEPS = 40
_COUPLED = 1e-7


class Propagated(NamedTuple):
    """Linear systems' propagators over segments of an orbit.

    - `ends` (segment, n): of the orbit.
    - `matrices` (segment, *batch, n, n): over each segment.
    - `factors` (segment, factor, *batch, n, n): of which they are the products.
    - `volumes` (segment, *batch): the integral of the trace, which by Liouville's formula is the
      logarithm of the matrices' determinant.
    - `path`, `slopes` (segment, step, n): at the beginning of each step.
    """

    ends: Any
    matrices: Any
    factors: Any
    volumes: Any
    path: Any
    slopes: Any


class Multipliers(NamedTuple):
    """Eigenvalues μ of a product, by falling modulus: log|μ|, μ / |μ|, and whether none of them
    shares its modulus with two others, which makes it less accurate.
    """

    logs: Any
    phases: Any
    told: Any


def propagators(
    field: VectorField,
    linear: Callable[[jax.Array], jax.Array],
    starts: Float[Array, "segment size"],
    dt: Float[Array, "*#segment"],
    steps: int,
) -> Propagated:
    """Linear systems' propagators over segments of an orbit, each from its own start.

    The linear systems ξ' = L(x(t)) ξ are integrated together with the orbit x' = field(x), by
    the same steps (of Dormand and Prince's order eight); `linear(x)` returns their matrices
    (*batch, n, n), real or complex. What stands behind the first n entries of a state is known of
    time alone (a clock): the linear systems have no part of it. `dt` is one for all segments, or
    each one's own. A factor spans eight steps of a small system, so that it keeps
    the digits of whatever the steps can follow, and all steps of a large one.
    """
    like = jax.eval_shape(linear, starts[0])
    size, shape = starts.shape[1], like.shape
    eye = jnp.broadcast_to(jnp.eye(shape[-1], dtype=like.dtype), shape)
    batch = shape[:-2]
    count = int(np.prod(batch, dtype=int))
    together = math.gcd(steps, _TOGETHER) if size <= _SMALL else steps

    def joint(packed: jax.Array) -> jax.Array:
        x = packed[:size].real
        matrix = linear(x)
        xi = packed[size + count :].reshape(shape)
        trace = jnp.trace(matrix, axis1=-2, axis2=-1).ravel()
        return jnp.concatenate([field(x).astype(packed.dtype), trace, (matrix @ xi).ravel()])

    def over_segment(x: jax.Array, dt: jax.Array) -> Propagated:
        def advance(packed: jax.Array, _: None) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
            x = packed[:size].real
            return dopri8_loop(joint, packed, dt), (x, field(x))

        def factor(kept: jax.Array, _: None) -> Any:
            packed = jnp.concatenate([kept, eye.ravel()])
            packed, pieces = jax.lax.scan(advance, packed, None, length=together)
            return packed[: size + count], (packed[size + count :].reshape(shape), *pieces)

        kept = jnp.concatenate([x.astype(like.dtype), jnp.zeros(count, like.dtype)])
        kept, (factors, path, slopes) = jax.lax.scan(factor, kept, None, length=steps // together)
        ends, volumes = kept[:size].real, kept[size:].reshape(batch)
        path, slopes = path.reshape(steps, size), slopes.reshape(steps, size)
        return Propagated(ends, product(factors), factors, volumes, path, slopes)

    return jax.vmap(over_segment)(starts, jnp.broadcast_to(dt, starts.shape[:1]))


def ends(
    field: VectorField,
    starts: Float[Array, "segment size"],
    dt: Float[Array, "*#segment"],
    steps: int,
) -> Float[Array, "segment size"]:
    """The orbit's, by the same steps as `propagators` takes: where derivatives are taken of them
    alone.
    """

    def over_segment(x: jax.Array, dt: jax.Array) -> jax.Array:
        def advance(x: jax.Array, _: None) -> tuple[jax.Array, None]:
            return dopri8_loop(field, x, dt), None

        return jax.lax.scan(advance, x, None, length=steps)[0]

    return jax.vmap(over_segment)(starts, jnp.broadcast_to(dt, starts.shape[:1]))


# Over starts (segment, n), with a step and a number of steps.
Sweep = Callable[[Any, Any, int], Propagated]


def swept(xp: Any, sweep: Sweep, starts: Any, dt: Any, steps: int, block: int) -> Propagated:
    """`propagators` over more steps, by sweeps of `block` steps after each other.

    Any number of steps so runs the same program; a number that is no multiple of `block` has one
    of its own. With `xp` NumPy the sweeps are called from the host, with JAX's they are part of a
    program, and the factors are the blocks' propagators.
    """
    block = block if steps % block == 0 else steps
    segments = starts.shape[0]

    def over(x: Any, _: None) -> Any:
        some = Propagated(*map(xp.asarray, sweep(x, dt, block)))
        if xp is jnp:
            some = some._replace(factors=some.matrices[:, None])
        return some.ends, some

    if xp is jnp:
        ends, every = jax.lax.scan(over, starts, None, length=steps // block)
    else:
        ends, pieces = starts, []
        for _ in range(steps // block):
            ends, piece = over(ends, None)
            pieces.append(piece)
        every = Propagated(*(np.stack(part) for part in zip(*pieces, strict=True)))
    total = every.matrices[0]
    if steps > block:
        total = product(every.matrices) if xp is jnp else _multiplied(every.matrices)
    factors, path, slopes = (
        part.swapaxes(0, 1).reshape(segments, -1, *part.shape[3:])
        for part in (every.factors, every.path, every.slopes)
    )
    return Propagated(ends, total, factors, every.volumes.sum(axis=0), path, slopes)


def _multiplied(matrices: Any) -> Any:
    return functools.reduce(lambda total, matrix: matrix @ total, matrices)


def product(matrices: Inexact[Array, "segment *batch n n"]) -> Inexact[Array, "*batch n n"]:
    """The propagator over all segments, in their order."""
    first, rest = matrices[0], matrices[1:]
    return jax.lax.scan(lambda total, m: (m @ total, None), first, rest)[0]


def spectrum_along(xp: Any, followed: Propagated) -> tuple[Multipliers, Any]:
    """The multipliers, and by how much they miss Liouville's formula (NaN where not told)."""
    factors = followed.factors.reshape(-1, *followed.factors.shape[2:])
    if xp is np:
        logs, told = product_spectrum(factors)
        spectrum = Multipliers(logs.real, np.exp(1j * logs.imag), told)
    else:
        spectrum = multipliers(factors)
    volume = followed.volumes.sum()
    gap = xp.abs(spectrum.logs.sum() - volume) / (1 + xp.abs(volume))
    return spectrum, xp.where(spectrum.told, gap, xp.nan)


def multipliers(matrices: Float[Array, "segment n n"]) -> Multipliers:
    """The eigenvalues of a product, small ones as accurate as large.

    `products.product_spectrum` as part of a program, where blocks have a fixed size: one, or two
    for a pair; larger ones would be those of three or more multipliers of nearly the same modulus.
    """
    n = matrices.shape[1]
    told = jnp.array(True)
    turn, factors = _triangular(matrices, _SWEEPS)
    diagonal = jnp.diagonal(factors, axis1=1, axis2=2)
    log_moduli = jnp.log(jnp.abs(diagonal)).sum(axis=0)
    phases = (jnp.prod(jnp.sign(diagonal), axis=0) * jnp.diagonal(turn)).astype(complex)
    if n > 1:
        # Neighbours that have not separated: of three, the two that are coupled more.
        coupling = jnp.append(jnp.abs(jnp.diagonal(turn, -1)), 0.0)
        near = (coupling[:-1] > _COUPLED) & (coupling[:-1] >= coupling[1:])
        _, first = jax.lax.scan(lambda last, here: (here & ~last,) * 2, jnp.array(False), near)
        told = ((coupling[:-1] <= _COUPLED) | first).all()
        rows = np.arange(n - 1) + np.array([[[0]], [[1]]])
        columns = rows.swapaxes(0, 1)
        logs, turns = _pair(turn[rows, columns], factors[:, rows, columns])
        for member, places in enumerate(((0, 1), (1, 0))):  # the pair's first, and its second
            here = jnp.pad(first, places)
            log_moduli = jnp.where(here, jnp.pad(logs[member], places), log_moduli)
            phases = jnp.where(here, jnp.pad(turns[member], places), phases)
    order = jnp.argsort(-log_moduli)
    phases = phases / jnp.abs(phases)
    return Multipliers(log_moduli[order], phases[order], told)


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
    end, (q, rs) = jax.lax.scan(sweep, as_array(start, matrices.dtype), None, length=sweeps)
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
