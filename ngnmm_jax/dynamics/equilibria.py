"""All equilibria of a system: candidates, Newton's iteration, certificate, stability."""

import math
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Complex, Float, Int

from ngnmm_jax import _checks
from ngnmm_jax._status import Status, raise_unless_ok
from ngnmm_jax._types import System

VectorField = Callable[[jax.Array], jax.Array]

_GOLDEN = (math.sqrt(5) - 1) / 2


@runtime_checkable
class SearchableSystem(System, Protocol):
    """A system that knows where its equilibria may be."""

    def equilibrium_candidates(self, max_count: int) -> Float[Array, "candidate *state"]:
        """States near every equilibrium; NaN where there is none."""
        ...

    def admissible(self, state: jax.Array) -> Bool[Array, ""]:
        """Whether a state makes sense (rates not negative)."""
        ...


class Equilibria(eqx.Module):
    """Equilibria of a system, sorted by their first variable.

    - `states` (equilibrium, *state): NaN where not `found`.
    - `eigenvalues` (equilibrium, dimension): of the Jacobian, by falling real part, per unit
      of the model's time.
    - `residuals` (equilibrium,): largest |dx/dt|.
    - `errors` (equilibrium,): size of Newton's last correction, an estimate of the distance
      to the exact equilibrium relative to 1 + |x|; the certificate asks it below `tolerance`.
    - `found` (equilibrium,): False for entries that only fill the array up. Outside of JAX
      transformations there are none; under `jit`, `vmap` or `grad`, where the number is not
      known, arrays have `max_count` entries.
    - `status`: `Status.OK`, or `NONE_FOUND`.
    """

    states: Float[Array, "equilibrium *state"]
    eigenvalues: Complex[Array, "equilibrium dimension"]
    residuals: Float[Array, "equilibrium"]
    errors: Float[Array, "equilibrium"]
    found: Bool[Array, "equilibrium"]
    status: Int[Array, ""]

    @property
    def count(self) -> Int[Array, ""]:
        """How many were found."""
        return self.found.sum()

    @property
    def growth(self) -> Float[Array, "equilibrium"]:
        """Largest real part of the eigenvalues, per unit of the model's time."""
        return self.eigenvalues.real.max(axis=-1)

    @property
    def stable(self) -> Bool[Array, "equilibrium"]:
        """Whether all eigenvalues have a negative real part."""
        return self.found & (self.growth < 0)


def find_equilibria(
    system: SearchableSystem,
    *,
    starts: ArrayLike | None = None,
    max_count: int = 8,
    throw: bool = True,
) -> Equilibria:
    """All equilibria of a homogeneous system; of a network, those near its homogeneous ones.

    A model that offers a scalar reduction has its roots bracketed on a grid (folds between
    grid points included); otherwise, and for `starts`, Powell's dogleg iteration runs from
    many points. Either way Newton's iteration finishes, duplicates are dropped, and what is left
    is certified by the size of Newton's last correction.

    Differentiable: Newton's last steps carry derivatives with respect to parameters (by the
    implicit function theorem).

    **Arguments:**

    - `system`: `network.homogeneous()`, or a network.
    - `starts` (start, *state): initial guesses to use in place of the model's own.
    - `max_count`: the largest number returned; more is an error.
    - `throw`: raise `SolverError` where none is found.
    """
    _checks.require_x64("find_equilibria")
    _checks.positive_integer("max_count", max_count)
    if starts is not None:
        starts = jnp.asarray(starts, dtype=float)
        _checks.finite("starts", starts)
        _checks.shape("starts", starts, (starts.shape[0], *system.state_shape), "(start, *state)")
    result = _find(system, starts, max_count)
    if throw:
        raise_unless_ok("find_equilibria", result.status, result)
    if not _checks.is_concrete(result):
        return result
    n = int(result.count)
    return jax.tree.map(lambda leaf: leaf[:n] if leaf.ndim else leaf, result)


@eqx.filter_jit
def _find(
    system: SearchableSystem, starts: Float[Array, "start *state"] | None, max_count: int
) -> Equilibria:
    if starts is None:
        candidates = system.equilibrium_candidates(max_count)
    else:
        candidates = from_starts(system.vector_field, starts)
    return certify(system, candidates, max_count)


def first_candidate(system: Any) -> Float[Array, "*state"]:
    """A state near an equilibrium: where a run may start."""
    candidates = system.equilibrium_candidates(8)
    found = jnp.isfinite(candidates.reshape(candidates.shape[0], -1)).all(axis=1)
    return candidates[jnp.argmax(found)]


def certify(
    system: SearchableSystem, candidates: Float[Array, "candidate *state"], max_count: int
) -> Equilibria:
    """Newton's iteration from each candidate, certificate, no duplicates; at most `max_count`."""
    candidates = jax.lax.stop_gradient(candidates)
    tolerance = float(jnp.finfo(candidates.dtype).eps) ** 0.6
    given = jnp.isfinite(candidates.reshape(candidates.shape[0], -1)).all(axis=1)
    polished, errors = _map_where(given, lambda x: newton(system.vector_field, x), candidates)
    flat = polished.reshape(polished.shape[0], -1)
    good = jnp.isfinite(flat).all(axis=1) & (errors <= tolerance)
    good &= jax.vmap(system.admissible)(polished)

    # A state counts once: the first of those that agree to 1e-6.
    gap = jnp.abs(flat[:, None] - flat[None]).max(axis=-1)
    same = gap <= 1e-6 * (1 + jnp.abs(flat).max(axis=1))
    earlier = jnp.tri(flat.shape[0], k=-1, dtype=bool)
    found = good & ~(same & earlier & good[None]).any(axis=1)

    # What is found comes first, by rising first variable; the rest is NaN.
    order = jnp.lexsort((flat[:, 0], ~found))
    keep = order[: min(max_count, flat.shape[0])]
    found = found[keep]
    states = jnp.where(found.reshape(-1, *(1,) * (polished.ndim - 1)), polished[keep], jnp.nan)

    def analyse(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        matrix = jacobian(system.vector_field, x)
        values = jnp.linalg.eigvals(matrix)
        return values[jnp.argsort(-values.real)], jnp.abs(system.vector_field(x)).max()

    eigenvalues, residuals = _map_where(found, analyse, states)
    status = jnp.where(found.any(), Status.OK, Status.NONE_FOUND)
    return Equilibria(
        states=states,
        eigenvalues=eigenvalues,
        residuals=residuals,
        errors=jnp.where(found, errors[keep], jnp.nan),
        found=found,
        status=status,
    )


def _map_where(
    mask: Bool[Array, "item"], function: Callable[[jax.Array], Any], items: jax.Array
) -> Any:
    """`function` of each item where `mask`, NaN elsewhere, spending no time on the latter."""
    like = jax.eval_shape(function, items[0])
    nothing = jax.tree.map(lambda leaf: jnp.full(leaf.shape, jnp.nan, leaf.dtype), like)

    def one(pair: tuple[jax.Array, jax.Array]) -> Any:
        return jax.lax.cond(pair[0], function, lambda _: nothing, pair[1])

    return jax.lax.map(one, (mask, items))


def jacobian(field: VectorField, state: jax.Array) -> Float[Array, "dimension dimension"]:
    """Jacobian of a vector field over the flattened state, by forward differentiation."""
    return jax.jacfwd(lambda x: field(x.reshape(state.shape)).ravel())(state.ravel())


def newton(field: VectorField, state: jax.Array) -> tuple[jax.Array, Float[Array, ""]]:
    """Newton's iteration from a state near an equilibrium: state and relative last correction.

    Six steps whose derivative is cut, then two whose derivative is kept: the error of a
    Newton step is quadratic, so the result has exact first and second derivatives with
    respect to whatever `field` closes over.
    """

    def step(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        delta = jnp.linalg.solve(jacobian(field, x), field(x).ravel())
        return x - delta.reshape(x.shape), delta

    def cut(x: jax.Array, _: None) -> tuple[jax.Array, None]:
        return jax.lax.stop_gradient(step(jax.lax.stop_gradient(x))[0]), None

    state, _ = jax.lax.scan(cut, state, None, length=6)
    state, _ = step(state)
    state, delta = step(state)
    return state, jnp.abs(delta).max() / (1 + jnp.abs(state).max())


def from_starts(
    field: VectorField, starts: Float[Array, "start *state"]
) -> Float[Array, "start *state"]:
    """Powell's dogleg iteration from each start that is not NaN, as near a root as it gets.

    (Levenberg and Marquardt's gets caught in the ghosts of saddle-nodes, where |dx/dt| has
    a minimum that is not zero.)
    """
    solver: Any = optx.Dogleg(rtol=1e-6, atol=1e-8)

    def solve(start: jax.Array) -> jax.Array:
        solution: optx.Solution = optx.root_find(
            lambda x, _: field(x), solver, start, max_steps=200, throw=False
        )
        return solution.value

    starts = jax.lax.stop_gradient(starts)
    given = jnp.isfinite(starts.reshape(starts.shape[0], -1)).all(axis=1)
    return jax.lax.stop_gradient(_map_where(given, solve, starts))


def box_starts(
    low: Float[Array, "variable"], high: Float[Array, "variable"], count: int = 64
) -> Float[Array, "start variable"]:
    """Points of a Halton sequence in a box."""
    from scipy.stats import qmc

    unit = qmc.Halton(d=low.shape[0], scramble=False).random(count + 1)[1:]
    return low + (high - low) * jnp.asarray(np.asarray(unit), dtype=low.dtype)


def scalar_roots(
    function: Callable[[jax.Array], jax.Array],
    low: Float[Array, ""],
    high: Float[Array, ""],
    *,
    max_count: int,
    n_grid: int = 256,
    n_folds: int = 3,
) -> Float[Array, "root"]:
    """Roots of a scalar function on an interval, to some 1e-10 of it; NaN fills up.

    Brackets sign changes on a grid; where |function| has a minimum without one, golden-section
    search looks for a pair of roots between grid points (near a fold). Bisection does the rest.
    Returns `max_count + 2 n_folds` entries.
    """
    grid = low + (high - low) * jnp.linspace(0.0, 1.0, n_grid, dtype=jnp.result_type(low))
    values = jax.vmap(function)(grid)
    positive = values > 0

    (change,) = jnp.nonzero(positive[:-1] != positive[1:], size=max_count, fill_value=n_grid)
    left, right = grid[change], grid[jnp.minimum(change + 1, n_grid - 1)]

    size = jnp.abs(values)
    dip = (size[1:-1] <= size[:-2]) & (size[1:-1] < size[2:])
    dip &= (positive[1:-1] == positive[:-2]) & (positive[1:-1] == positive[2:])
    (inner,) = jnp.nonzero(dip, size=n_folds, fill_value=n_grid)
    inner = jnp.minimum(inner + 1, n_grid - 2)
    sign = jnp.where(positive[inner], 1.0, -1.0)
    a, b = grid[inner - 1], grid[inner + 1]
    bottom = _golden_section(lambda u: sign * jax.vmap(function)(u), a, b)

    left = jnp.concatenate([left, a, bottom])
    right = jnp.concatenate([right, bottom, b])
    f_left, f_right = jax.vmap(function)(left) > 0, jax.vmap(function)(right) > 0

    def halve(_: Any, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        middle = (ends[0] + ends[1]) / 2
        same = (jax.vmap(function)(middle) > 0) == f_left
        return jnp.where(same, middle, ends[0]), jnp.where(same, ends[1], middle)

    left, right = jax.lax.fori_loop(0, 32, halve, (left, right))
    return jnp.where(f_left != f_right, (left + right) / 2, jnp.nan)


def _golden_section(
    function: Callable[[jax.Array], jax.Array], a: jax.Array, b: jax.Array
) -> jax.Array:
    """Minimum of each of several functions on its interval, by golden-section search."""

    def step(_: Any, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        a, b = ends
        c, d = b - _GOLDEN * (b - a), a + _GOLDEN * (b - a)
        lower = function(c) < function(d)
        return jnp.where(lower, a, c), jnp.where(lower, d, b)

    a, b = jax.lax.fori_loop(0, 40, step, (a, b))
    return (a + b) / 2
