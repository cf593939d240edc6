"""Equilibria and their leading growth where a Jacobian is too large to be written down.

Newton's iteration solves its linear systems by GMRES on products J v, preconditioned by the
regions' own Jacobians (a small block for each; what the network adds is left to the iteration).
The rightmost eigenvalues of J come from Arnoldi's iteration on a polynomial p(J) near exp(t J),
which is largest where the real part is: several of Taylor's steps for u' = J u. It has J's
eigenvectors exactly, whatever the steps' error; the eigenvalues are then those of J in the
invariant subspace, and each is told with its residual ‖J v - λ v‖ (v of length one).

Sources: Knoll and Keyes, J. Comput. Phys. 193, 357 (2004: Newton and Krylov); Saad, Numerical
Methods for Large Eigenvalue Problems (2011), ch. 7 and 8 (polynomial filters, Arnoldi).
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jaxtyping import Array, Bool, Complex, Float

from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.small_linalg import solve_each

#: Dimensions up to which whole Jacobians are written down: 72 MB, eigenvalues within a minute.
WHOLE = 3_000
#: Of larger systems so many leading eigenvalues are computed, one of each pair.
LEADING = 6
# GMRES: vectors between restarts, restarts at most, and what is left of the right side.
_RESTART, _RESTARTS, _LEFT = 30, 20, 1e-11
# A linear system counts as solved where this is left of its right side, at most.
_SOLVED = 1e-6
# Newton's iteration: at most so many damped steps; each is halved so often at most.
_STEPS, _HALVINGS = 40, 8
# Arnoldi's: vectors at most, and after how many it is looked at; Taylor's steps for each vector at
# first, and where that is not enough.
_VECTORS, _LOOKS, _FILTERS = 60, 20, (6, 24)
# For the spectral radius; what of a vector is left where its subspace is invariant.
_FEW, _INVARIANT = 12, 1e-13
# A step is so long, over the spectral radius, known to some per cent; to this order it is off by
# 3e-4 where |λ| is the radius, and by 3e-8 of half of it.
_STEP, _ORDER = 3.0, 12
# An eigenvalue is known where its residual is below this, relative to the spectral radius.
_KNOWN = 1e-6


def is_large(system: Any) -> bool:
    """Whether a system's whole Jacobian is too large."""
    return is_large_shape(system.state_shape)


def is_large_shape(shape: tuple[int, ...]) -> bool:
    """Whether that of states of a shape is."""
    return math.prod(shape) > WHOLE


class Rightmost(NamedTuple):
    """Leading eigenvalues of a Jacobian.

    - `values` (eigenvalue,): by falling real part, one of each pair: the first, and those after it
      up to the first that is not known; `residuals` of each.
    - `vectors` (dimension, eigenvalue): of length one.
    - `known`: whether the first one's residual is below 1e-6 of the spectral radius, `radius`. Then
      a matrix as near to the Jacobian has this eigenvalue exactly; that none further right was
      missed follows from Arnoldi's iteration, from a random start, not from a bound.
    """

    values: Complex[np.ndarray, "eigenvalue"]
    vectors: Complex[np.ndarray, "dimension eigenvalue"]
    residuals: Float[np.ndarray, "eigenvalue"]
    radius: float
    known: bool


def newton_krylov(
    system: Any, start: Float[Array, "*state"]
) -> tuple[Float[Array, "*state"], Float[Array, ""]]:
    """The equilibrium near a state, and the relative size of the last correction; infinite where
    a linear system was not solved.

    Damped steps whose derivative is cut, then two whose derivative is kept, so that derivatives of
    first and second order by all parameters are exact.
    """
    fixed = jax.lax.stop_gradient(system)
    goal = float(jnp.finfo(start.dtype).eps) ** 0.8

    def size(x: jax.Array) -> jax.Array:
        return jnp.abs(fixed.vector_field(x)).max()

    def going(carry: Any) -> jax.Array:
        _, correction, number = carry
        return (correction > goal) & (number < _STEPS)

    def damped(carry: Any) -> Any:
        x, _, number = carry
        step, _ = _correction(fixed, x)
        before = size(x)
        parts = 0.5 ** jnp.arange(_HALVINGS)
        sizes = jax.lax.map(lambda part: size(x + part * step), parts)
        better = sizes < before
        part = jnp.where(better.any(), parts[jnp.argmax(better)], parts[-1])
        # At rounding no step is better: take it whole.
        correction = jnp.abs(step).max() / (1 + jnp.abs(x).max())
        return x + jnp.where(correction < 1e-6, 1.0, part) * step, correction, number + 1

    begin = (jax.lax.stop_gradient(start), as_array(jnp.inf, start.dtype), jnp.asarray(0))
    state = jax.lax.stop_gradient(jax.lax.while_loop(going, damped, begin)[0])

    def whole(x: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        step, solved = _correction(system, x)
        error = jnp.abs(step).max() / (1 + jnp.abs(x).max())
        return x + step, jnp.where(solved, error, jnp.inf)

    state, errors = jax.lax.scan(whole, state, None, length=2)
    return state, errors[-1]


def _correction(system: Any, state: jax.Array) -> tuple[Float[Array, "*state"], Bool[Array, ""]]:
    """Newton's step, and whether its linear system was solved."""
    slope, push = jax.linearize(system.vector_field, state)
    blocks = getattr(system, "node_jacobians", None)
    inverses = None if blocks is None else _inverses(jax.lax.stop_gradient(blocks(state)))

    def solve(transposed: bool) -> Callable[[Any, jax.Array], jax.Array]:
        near = inverses if inverses is None or not transposed else jnp.swapaxes(inverses, 0, 1)
        return lambda product, right: _by_gmres(product, near, right)

    step = jax.lax.custom_linear_solve(push, -slope, solve(False), solve(True))
    left = jnp.abs(push(jax.lax.stop_gradient(step)) + slope).max()
    return step, left <= _SOLVED * jnp.abs(slope).max()


def _by_gmres(
    product: Callable[[jax.Array], jax.Array], inverses: jax.Array | None, right: jax.Array
) -> jax.Array:
    """The solution of a linear system whose right side may have any size."""
    like = jax.eval_shape(lambda: right)
    size = jnp.abs(right).max()
    size = jnp.where(size > 0, size, 1.0)
    options = {}
    if inverses is not None:
        options["preconditioner"] = lx.FunctionLinearOperator(
            lambda x: (inverses * x[None]).sum(axis=1), like
        )
    operator = lx.FunctionLinearOperator(product, like)
    solver = lx.GMRES(_LEFT, _LEFT, restart=_RESTART, max_steps=_RESTARTS)
    # Whether it was solved is seen by what is left: GMRES also calls it a failure to be done early.
    found = lx.linear_solve(operator, right / size, solver, options=options, throw=False)
    return found.value * size


def _inverses(blocks: Float[Array, "n n *region"]) -> Float[Array, "n n *region"]:
    """Of regions' Jacobians; of one that is singular, the identity in its place."""
    n = blocks.shape[0]
    unit = jnp.eye(n, dtype=blocks.dtype).reshape(n, n, *(1,) * (blocks.ndim - 2))
    unit = jnp.broadcast_to(unit, blocks.shape)
    inverse = solve_each(blocks, unit)
    return jnp.where(jnp.isfinite(inverse).all(axis=(0, 1)), inverse, unit)


def rightmost(system: Any, state: Float[Array, "*state"], count: int = LEADING) -> Rightmost:
    """The leading eigenvalues of a system's Jacobian at a state, on the host."""
    state = as_array(state)
    start = np.random.default_rng(0).standard_normal(state.size)
    radius = _radius(system, state, start)
    step = as_array(_STEP / radius if radius else 0.0)
    for steps in _FILTERS:

        def through(v: np.ndarray, steps: int = steps) -> np.ndarray:
            return np.asarray(_filtered(system, state, v, step, steps))

        found = None
        for basis, projected in _krylov(through, start, _VECTORS, _LOOKS):
            found = _in_subspace(system, state, _dominant(basis, projected, count), radius, count)
            if found.known:
                return found
        if found is None or not np.isfinite(found.residuals[0]):
            break
        start = found.vectors.real.sum(axis=1) + found.vectors.imag.sum(axis=1)
    nothing = np.full(1, np.nan + 0j)
    lost = Rightmost(nothing, nothing[None], np.full(1, np.inf), radius, False)
    return lost if found is None else found


def _radius(system: Any, state: jax.Array, start: np.ndarray) -> float:
    """The spectral radius of the Jacobian, to some per cent."""

    def through(v: np.ndarray) -> np.ndarray:
        return np.asarray(_products(system, state, v[:, None]))[:, 0]

    every = [small for _, small in _krylov(through, start, _FEW, _FEW)]
    return float(np.abs(np.linalg.eigvals(every[-1])).max()) if every else 0.0


def _krylov(
    through: Callable[[np.ndarray], np.ndarray], start: np.ndarray, most: int, looks: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Arnoldi's basis (dimension, vector), and the operator in it, every so many vectors.

    Ends early where the subspace is invariant; without a word where products are not finite.
    """
    basis = np.empty((min(most, start.size) + 1, start.size))
    basis[0] = start / np.linalg.norm(start)
    small = np.zeros((len(basis), len(basis) - 1))
    for k in range(len(basis) - 1):
        v = through(basis[k])
        size = np.linalg.norm(v)
        if not np.isfinite(size):
            return
        for _ in range(2):  # once more, for what rounding leaves
            along = basis[: k + 1] @ v
            v = v - along @ basis[: k + 1]
            small[: k + 1, k] += along
        small[k + 1, k] = np.linalg.norm(v)
        done = small[k + 1, k] <= _INVARIANT * size
        if done or (k + 1) % looks == 0 or k + 2 == len(basis):
            yield basis[: k + 1].T, small[: k + 1, : k + 1]
        if done:
            return
        basis[k + 1] = v / small[k + 1, k]


def _dominant(basis: np.ndarray, projected: np.ndarray, count: int) -> np.ndarray:
    """An orthonormal basis of what is largest in modulus, with both of each pair."""
    values, vectors = np.linalg.eig(projected)
    kept = vectors[:, np.argsort(-np.abs(values))[: 2 * count + 2]]
    inner, sizes, _ = np.linalg.svd(np.hstack([kept.real, kept.imag]), full_matrices=False)
    return np.asarray(basis @ inner[:, sizes > 1e-8 * sizes[0]])


def _in_subspace(
    system: Any, state: jax.Array, basis: np.ndarray, radius: float, count: int
) -> Rightmost:
    """The Jacobian's own eigenvalues in a subspace: the first, and others that are known."""
    image = np.asarray(_products(system, state, basis))
    values, inner = np.linalg.eig(basis.T @ image)
    upper = np.flatnonzero(values.imag >= 0)
    order = upper[np.argsort(-values[upper].real)][:count]
    values, inner = values[order] + 0j, inner[:, order] / np.linalg.norm(inner[:, order], axis=0)
    residuals = np.linalg.norm(image @ inner - (basis @ inner) * values, axis=0)
    fine = residuals <= _KNOWN * radius
    number = len(fine) if fine.all() else max(1, int(fine.argmin()))
    vectors = basis @ inner[:, :number] + 0j
    return Rightmost(values[:number], vectors, residuals[:number], radius, bool(fine[0]))


@eqx.filter_jit
def _products(system: Any, state: jax.Array, columns: Any) -> jax.Array:
    """The Jacobian times columns (dimension, column), one after another."""
    _, push = jax.linearize(system.vector_field, state)
    rows = as_array(columns).T.reshape(-1, *state.shape)
    return jax.lax.map(push, rows).reshape(rows.shape[0], -1).T


@eqx.filter_jit
def _filtered(system: Any, state: jax.Array, v: Any, step: jax.Array, number: Any) -> jax.Array:
    """So many of Taylor's steps along u' = J u."""
    _, push = jax.linearize(system.vector_field, state)

    def advance(_: Any, u: jax.Array) -> jax.Array:
        def more(k: jax.Array, sums: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            total, term = sums
            term = push(term) * (step / k)
            return total + term, term

        return jax.lax.fori_loop(1, _ORDER + 1, more, (u, u))[0]

    return jax.lax.fori_loop(0, number, advance, as_array(v).reshape(state.shape)).ravel()
