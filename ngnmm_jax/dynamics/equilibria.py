"""All equilibria of a system: candidates, Newton's iteration, certificate, stability.

Concrete systems go through `many_equilibria`, one small program for whoever asks. Where a caller
is being transformed by JAX, the same search is part of its program (`certify`).
"""

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
from ngnmm_jax.dynamics.many_equilibria import Found, search
from ngnmm_jax.dynamics.parameters import bare, constant

VectorField = Callable[[jax.Array], jax.Array]

# Newton's iteration: steps, of which the last two carry derivatives.
_STEPS = 8
#: How many equilibria are kept of a system unless somebody asks for more.
MOST = 8


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
    result = _found(bare(system), starts, max_count)
    if throw:
        raise_unless_ok("find_equilibria", result.status, result)
    if not _checks.is_concrete(result):
        return result
    n = int(result.count)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[:n] if np.ndim(leaf) else leaf), result)


def _found(
    system: SearchableSystem, starts: Float[Array, "start *state"] | None, max_count: int
) -> Equilibria:
    known = _checks.on_host(system)
    if starts is None and known and hasattr(system, "many_starts"):
        found = {k: v[0, :max_count] for k, v in _alone(system, max_count)._asdict().items()}
        status = Status.OK if found["found"].any() else Status.NONE_FOUND
        found = {name: jnp.asarray(value) for name, value in found.items()}
        return Equilibria(**found, status=jnp.asarray(status))
    if starts is None and known and hasattr(system, "equilibrium_starts"):
        starts = system.equilibrium_starts(max_count)
    if starts is not None:
        return _from_starts(system, starts, max_count)
    return _searched(system, max_count, _scalar(system))


def _alone(system: Any, max_count: int) -> Found:
    alone = jax.tree.map(lambda leaf: np.asarray(leaf)[None], system)
    return search(alone, 1, max(max_count, MOST))


def _scalar(system: Any) -> bool:
    """Whether the search is by a scalar function, as far as the parameters' values are known."""
    return bool(np.all(getattr(system, "scalar_search", True)))


def _candidates(system: Any, max_count: int, scalar: bool) -> Float[Array, "candidate *state"]:
    return system.equilibrium_candidates(max_count) if scalar else system.many_starts()


@eqx.filter_jit
def _searched(system: SearchableSystem, max_count: int, scalar: bool) -> Equilibria:
    return certify(system, _candidates(system, max_count, scalar), max_count)


@eqx.filter_jit
def _from_starts(system: SearchableSystem, starts: jax.Array, max_count: int) -> Equilibria:
    return certify(system, from_starts(system.vector_field, starts), max_count)


@eqx.filter_jit
def near(system: System, state: Float[Array, "*state"]) -> Float[Array, "*state"]:
    """The equilibrium near a state."""
    return newton(system.vector_field, from_starts(system.vector_field, state[None])[0])[0]


def equilibrium_states(system: Any, max_count: int = MOST) -> Float[Array, "equilibrium *state"]:
    """A system's equilibria by rising first variable, NaN at the end; without derivatives."""
    system = constant(system)
    if _checks.on_host(system) and hasattr(system, "many_starts"):
        return jnp.asarray(_alone(system, max_count).states[0, :max_count])
    return _searched(system, max_count, _scalar(system)).states


def rest_state(system: Any) -> Float[Array, "*state"]:
    """The equilibrium of lowest first variable; without derivatives.

    Of a network the one of its region-averaged parameters, everywhere. Where no candidate is
    certified, as at a degenerate equilibrium, the first candidate.
    """
    inner = system.averaged() if hasattr(system, "averaged") else system
    inner = constant(inner)
    state = jnp.full(inner.state_shape, jnp.nan)
    if _checks.on_host(inner) and hasattr(inner, "many_starts"):
        state = jnp.asarray(_alone(inner, MOST).states[0, 0])
    if not (_checks.on_host(state) and np.isfinite(state).all()):
        state = _first_candidate(inner, _scalar(inner))
    axes = (1,) * (len(system.state_shape) - len(inner.state_shape))
    return jnp.broadcast_to(state.reshape(*state.shape, *axes), system.state_shape)


@eqx.filter_jit
def _first_candidate(system: Any, scalar: bool) -> Float[Array, "*state"]:
    candidates = _candidates(system, MOST, scalar)
    found = jnp.isfinite(candidates.reshape(candidates.shape[0], -1)).all(axis=1)
    return candidates[jnp.argmax(found)]


def certify(
    system: SearchableSystem, candidates: Float[Array, "candidate *state"], max_count: int
) -> Equilibria:
    """Newton's iteration from each candidate, certificate, no duplicates; at most `max_count`."""
    found = polished(system, candidates, max_count)
    matrices = found.pop("matrices")
    ok = found["found"]

    def spectrum(matrix: jax.Array) -> jax.Array:
        values = jnp.linalg.eigvals(matrix)
        return values[jnp.argsort(-values.real)]

    eigenvalues = _map_where(ok, spectrum, matrices)
    status = jnp.where(ok.any(), Status.OK, Status.NONE_FOUND)
    return Equilibria(**found, eigenvalues=eigenvalues, status=status)


def polished(
    system: SearchableSystem, candidates: Float[Array, "candidate *state"], max_count: int
) -> dict[str, jax.Array]:
    """`certify` but for the eigenvalues, of which there are the Jacobians `matrices`."""
    candidates = jax.lax.stop_gradient(candidates)
    tolerance = float(jnp.finfo(candidates.dtype).eps) ** 0.6
    given = jnp.isfinite(candidates.reshape(candidates.shape[0], -1)).all(axis=1)
    states, errors = _map_where(given, lambda x: newton(system.vector_field, x), candidates)
    flat = states.reshape(states.shape[0], -1)
    good = jnp.isfinite(flat).all(axis=1) & (errors <= tolerance)
    good &= jax.vmap(getattr(system, "admissible", lambda _: jnp.array(True)))(states)

    # A state counts once: the first of those that agree to 1e-6.
    gap = jnp.abs(flat[:, None] - flat[None]).max(axis=-1)
    same = gap <= 1e-6 * (1 + jnp.abs(flat).max(axis=1))
    earlier = jnp.tri(flat.shape[0], k=-1, dtype=bool)
    found = good & ~(same & earlier & good[None]).any(axis=1)

    # What is found comes first, by rising first variable; the rest is NaN.
    order = jnp.argsort(jnp.where(found, flat[:, 0], jnp.inf))
    keep = order[: min(max_count, flat.shape[0])]
    found = found[keep]
    states = jnp.where(found.reshape(-1, *(1,) * (states.ndim - 1)), states[keep], jnp.nan)

    def analyse(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jacobian(system.vector_field, x), jnp.abs(system.vector_field(x)).max()

    matrices, residuals = _map_where(found, analyse, states)
    errors = jnp.where(found, errors[keep], jnp.nan)
    return {
        "states": states,
        "matrices": matrices,
        "residuals": residuals,
        "errors": errors,
        "found": found,
    }


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

    The derivative of all steps is cut but that of the last two: the error of a Newton step is
    quadratic, so the result has exact first and second derivatives with respect to whatever
    `field` closes over.
    """

    def step(x: jax.Array, attached: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = jnp.where(attached, x, jax.lax.stop_gradient(x))
        delta = jnp.linalg.solve(jacobian(field, x), field(x).ravel())
        return x - delta.reshape(x.shape), jnp.abs(delta).max()

    state, sizes = jax.lax.scan(step, state, jnp.arange(_STEPS) == _STEPS - 1)
    return state, sizes[-1] / (1 + jnp.abs(state).max())


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
