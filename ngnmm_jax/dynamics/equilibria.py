"""Equilibria of a system, all where `complete` says so: candidates, certificate, stability.

Concrete systems go through `many_equilibria`, one small program for whoever asks; derivatives are
attached to what it finds where they alone are asked for. Inside of `jit` and `vmap` the same search
is part of a caller's program (`certify`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Complex, Float, Int

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import bare, constant, differentiated, with_fields
from ngnmm_jax._core.placement import jacobian_is_small, placed
from ngnmm_jax._core.results import AbstractResult, looked_at
from ngnmm_jax._core.several import several
from ngnmm_jax._core.status import Status, raise_unless_ok
from ngnmm_jax._core.types import System
from ngnmm_jax.dynamics.forced.system import undriven
from ngnmm_jax.dynamics.many_equilibria import Found, search, search_from
from ngnmm_jax.dynamics.matrix_free import (
    LEADING,
    is_large,
    is_large_shape,
    newton_krylov,
    rightmost,
)
from ngnmm_jax.dynamics.newton import correction, from_starts, jacobian, map_where, newton, spectrum
from ngnmm_jax.models.notation import Notation, named

# Newton's steps that give what is known its first and second derivatives.
_ATTACHED = 2
#: What is said of systems without a Jacobian, and where their growth is not found.
MATRIX_FREE = "without a Jacobian: GMRES, Arnoldi"
_OPEN = (
    "the equilibrium was found, but its stability is not known: the leading eigenvalue was not "
    "found to its tolerance, for too many others lie close to it; `throw=False` returns the "
    "equilibrium, with NaN as eigenvalues (of a homogeneous state `dispersion` knows more)"
)
#: How many equilibria there are places for where their number is not known beforehand.
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


class Equilibria(AbstractResult):
    """Equilibria of a system, sorted by their first variable.

    - `states` (equilibrium, *state): NaN where not `found`.
    - `eigenvalues` (equilibrium, dimension): of the Jacobian, by falling real part, per unit
      of the model's time. Of a network with delays its characteristic roots, one of each pair: all
      that grow, and at least six where so many could be certified; NaN behind these. Of a
      homogeneous system those of perturbations that all regions share; where delays differ between
      connections there are no such, and they are the network's. Of systems of over 3,000
      dimensions the rightmost, at most six, one of each pair, by Arnoldi's iteration
      (`dynamics.matrix_free`); NaN behind those that are known, and under JAX transformations.
    - `residuals` (equilibrium,): largest |dx/dt|.
    - `errors` (equilibrium,): size of Newton's last correction, an estimate of the distance
      to the exact equilibrium relative to 1 + |x|; the certificate asks it below `tolerance`.
    - `found` (equilibrium,): False for entries that only fill the array up. Outside of JAX
      transformations there are none; under `jit`, `vmap` or `grad`, where the number is not
      known, arrays have `max_count` entries.
    - `complete`: whether it is certain that there are no others (of a homogeneous system; a
      network may have others where regions differ). It is for models that bound the slope of
      their scalar function (`certain_reduction`: `NextGenEI` and `JansenRit`, all parameters),
      but where two equilibria are nearer to each other than rounding can tell, next to a fold.
      False where equilibria come from a grid, from many starts or from yours, and inside of
      `jit` or `vmap`.
    - `status`: `Status.OK`; `NONE_FOUND`; `TRUNCATED` where more were found than `max_count`;
      `NOT_CERTIFIED` where characteristic roots may be missing, or the leading eigenvalue of a
      large system was not found to 1e-6 of the spectral radius: its `eigenvalues` are NaN then,
      and `stable` is False, though `states` are equilibria.
    - `notation`: how figures write the variables and the times of its system.
    """

    states: Float[Array, "equilibrium *state"]
    eigenvalues: Complex[Array, "equilibrium dimension"]
    residuals: Float[Array, "equilibrium"]
    errors: Float[Array, "equilibrium"]
    found: Bool[Array, "equilibrium"]
    complete: Bool[Array, ""]
    status: Int[Array, ""]
    notation: Notation = eqx.field(static=True, default=Notation())

    @property
    def drawn_by(self) -> str:
        """`plot.equilibria`."""
        return "equilibria"

    @property
    def stats(self) -> dict[str, Any]:
        """Residuals, and the errors of Newton's iteration."""
        known = {"residuals": several(self.residuals), "errors": several(self.errors)}
        large = is_large_shape(self.states.shape[-2:])
        return known | ({"method": MATRIX_FREE} if large else {})

    def summary(self) -> dict[str, Any]:
        """How many there are, whether these are all, and how each grows."""
        return {
            "number": self.found.sum(axis=-1),
            "complete": self.complete,
            "growth": several(self.eigenvalues[..., 0].real),
        }

    @property
    def count(self) -> Int[Array, ""]:
        """How many were found."""
        return looked_at(lambda xp, found: found.sum(), self.found)

    @property
    def growth(self) -> Float[Array, "equilibrium"]:
        """Largest real part of the eigenvalues, per unit of the model's time."""
        return looked_at(lambda xp, values: values[..., 0].real, self.eigenvalues)

    @property
    def stable(self) -> Bool[Array, "equilibrium"]:
        """Whether all eigenvalues have a negative real part; False where they are NaN."""
        return looked_at(lambda xp, found, rate: found & (rate < 0), self.found, self.growth)


@placed(lambda system, **given: jacobian_is_small(system))
def find_equilibria(
    system: SearchableSystem,
    *,
    start: ArrayLike | None = None,
    max_count: int | None = None,
    throw: bool = True,
) -> Equilibria:
    """Equilibria of a homogeneous system; of a network, those near its homogeneous ones.

    All that there are where the result's `complete` is True; else those that were found.

    Of models that bound the slope of a scalar function whose roots they are, all are found, by
    branch and prune; `complete` says so. Else, and inside of `jit` or `vmap`, others may exist:
    the roots of a model's scalar function are bracketed on a grid of 256 points (folds between
    points in three places); without one, and for `start`, Powell's dogleg iteration runs from
    many points. Either way Newton's iteration finishes, duplicates are dropped, and each of what
    is left is certified by the size of Newton's last correction.

    Of systems of over 3,000 dimensions no Jacobian is written down: Newton's iteration starts at
    the guesses themselves and solves its linear systems by GMRES, and stability is that of the
    rightmost eigenvalues (`dynamics.matrix_free`).

    Differentiable: Newton's last steps carry derivatives with respect to parameters (by the
    implicit function theorem).

    **Arguments:**

    - `system`: `network.homogeneous()`, or a network; one with delays has the same equilibria as
      without them, but other stability.
    - `start` (start, *state): initial guesses to use in place of the model's own.
    - `max_count`: the largest number returned; more is an error (status TRUNCATED). By default
      as many as there are; under JAX transformations 8.
    - `throw`: raise `SolverError` where none is found, or more than `max_count`, or stability is
      not known.
    """
    _checks.require_x64("find_equilibria")
    instead = ": under a stimulus that repeats itself `find_orbit` finds what is locked to it"
    system = undriven(system, "find_equilibria", instead)
    if max_count is not None:
        _checks.positive_integer("max_count", max_count)
    if start is not None:
        start = _checks.floats("start", start)
        _checks.finite("start", start)
        number = start.shape[0] if start.ndim else 1
        _checks.shape("start", start, (number, *system.state_shape), "(start, *state)")
        if not number:
            _checks.fail("start", "hold a state", "it is empty")
    delays = getattr(system, "delays", None)
    if delays is None and differentiated(system, start):
        result = _attached(bare(system), start, max_count)
    elif delays is None:
        result = _found(bare(system), start, max_count)
    else:
        result = _delayed(system, start, max_count)
    result = named(result, system)
    if throw:
        advice = {Status.NOT_CERTIFIED: _OPEN} if is_large(system) else None
        # JAX's transformations leave the growth of large systems open: that is no failure.
        status = result.status
        if is_large(system) and not _checks.on_host(system, start):
            status = jnp.where(status == Status.NOT_CERTIFIED, Status.OK, status)
        raise_unless_ok("find_equilibria", status, result, advice)
    if not _checks.is_concrete(result):
        return result
    n = int(np.asarray(result.found).sum())
    return jax.tree.map(lambda leaf: as_array(leaf[:n] if np.ndim(leaf) else leaf), result)


def _found(
    system: SearchableSystem,
    starts: Float[Array, "start *state"] | None,
    max_count: int | None,
) -> Equilibria:
    known = _checks.on_host(system)
    if starts is None and known and hasattr(system, "many_starts"):
        return _alone(system, max_count)
    if starts is None and known and hasattr(system, "equilibrium_starts"):
        starts = system.equilibrium_starts()
    if starts is None:
        return _searched(system, max_count or MOST, _scalar(system))
    places = max_count or max(MOST, starts.shape[0])
    if is_large(system):
        return _with_growth(system, _from_starts_of_many(system, starts, places))
    if known and _checks.on_host(starts):
        return _first(search_from(system, starts, places))
    return _from_starts(system, starts, places)


def _attached(system: Any, starts: Any, max_count: int | None) -> Equilibria:
    """Those of known values, in as many places as `jit` would have, with a system's derivatives."""
    places = max_count or max(MOST, 0 if starts is None else starts.shape[0])
    fixed, given = constant((system, starts))
    known = find_equilibria(fixed, start=given, max_count=places, throw=False)
    short = places - known.found.shape[0]

    def in_places(leaf: Any) -> Any:
        blank = False if leaf.dtype == bool else jnp.nan
        none = ((0, short), *((0, 0),) * (leaf.ndim - 1))
        return np.pad(leaf, none, constant_values=blank) if leaf.ndim else leaf

    known = jax.tree.map(lambda leaf: as_array(in_places(np.asarray(leaf))), known)
    if is_large(system):
        again = _from_starts_of_many(system, known.states, places)
        return with_fields(known, states=again.states)
    states, eigenvalues = _with_derivatives(system, known.states, known.found)
    return with_fields(known, states=states, eigenvalues=eigenvalues)


@eqx.filter_jit
def _with_derivatives(system: Any, states: jax.Array, found: jax.Array) -> tuple[Any, Any]:
    """States (equilibrium, *state) again and their eigenvalues, where there are any."""

    def one(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        for _ in range(_ATTACHED):
            x = x - correction(system.vector_field, x)
        return x, spectrum(jacobian(system.vector_field, x))

    blank = found.reshape(-1, *(1,) * (states.ndim - 1))
    again, values = jax.vmap(one)(jnp.where(blank, states, states[:1]))
    return jnp.where(blank, again, jnp.nan), jnp.where(found[:, None], values, jnp.nan)


def _delayed(system: Any, starts: Any, max_count: int | None) -> Equilibria:
    """Those without delays, and the characteristic roots that they have with them."""
    if not _checks.on_host(system, starts):
        must = "have known values where it has delays, since its characteristic roots are searched"
        but = "JAX is tracing them: `find_equilibria(network.undelayed())` has the same states"
        _checks.fail("system", must, but)
    result = _found(bare(system.undelayed()), starts, max_count)
    every = [system.rightmost_roots(result.states[k]) for k in np.flatnonzero(result.found)]
    width = max(1, *(values.size for values, _ in every), 1)
    eigenvalues = np.full((result.found.shape[0], width), np.nan, complex)
    for k, (values, _) in zip(np.flatnonzero(result.found), every, strict=True):
        eigenvalues[k, : values.size] = values
    unsure = result.status == Status.OK and not all(c and values.size for values, c in every)
    status = Status.NOT_CERTIFIED if unsure else result.status
    roots = {"eigenvalues": as_array(eigenvalues), "status": as_array(status)}
    return with_fields(result, **roots)


def _alone(system: Any, max_count: int | None) -> Equilibria:
    return _first(search(_single(system), 1, max_count))


def _first(some: Found) -> Equilibria:
    """Those of the first system."""
    number, places = int(some.number[0]), some.found.shape[1]
    status = Status.TRUNCATED if number > places else Status.OK if number else Status.NONE_FOUND
    return Equilibria(
        states=as_array(some.states[0]),
        eigenvalues=as_array(some.eigenvalues[0]),
        residuals=as_array(some.residuals[0]),
        errors=as_array(some.errors[0]),
        found=as_array(some.found[0]),
        complete=as_array(some.complete[0] and status != Status.TRUNCATED),
        status=as_array(status),
    )


def _single(system: Any) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf)[None], system)


def _scalar(system: Any) -> bool:
    """Whether the search is by a scalar function, as far as the parameters' values are known."""
    return bool(np.all(getattr(system, "scalar_search", True)))


def _candidates(system: Any, max_count: int, scalar: bool) -> Float[Array, "candidate *state"]:
    return system.equilibrium_candidates(max_count) if scalar else system.many_starts()


@eqx.filter_jit
def _searched(system: SearchableSystem, max_count: int, scalar: bool) -> Equilibria:
    # One more than there are places for: that is how it is known.
    return certify(system, _candidates(system, max_count + 1, scalar), max_count)


@eqx.filter_jit
def _from_starts(system: SearchableSystem, starts: jax.Array, max_count: int) -> Equilibria:
    return certify(system, from_starts(system.vector_field, starts), max_count)


@eqx.filter_jit
def _from_starts_of_many(system: Any, starts: jax.Array, max_count: int) -> Equilibria:
    """Of a large system: by products with its Jacobian, whose eigenvalues are left open."""
    candidates = jax.lax.stop_gradient(starts)
    some = _kept(system, candidates, lambda x: newton_krylov(system, x), max_count)
    status = jnp.where(some.found.any(), Status.NOT_CERTIFIED, Status.NONE_FOUND)
    return Equilibria(
        states=some.states,
        eigenvalues=jnp.full((some.found.shape[0], LEADING), jnp.nan + 0j),
        residuals=some.residuals,
        errors=some.errors,
        found=some.found,
        complete=jnp.asarray(False),
        status=jnp.where(some.number > max_count, Status.TRUNCATED, status),
    )


def _with_growth(system: Any, result: Equilibria) -> Equilibria:
    """The same with leading eigenvalues, where values are known."""
    if not _checks.on_host(system, result):
        return result
    values = np.full(result.eigenvalues.shape, np.nan + 0j)
    known = True
    for k in np.flatnonzero(result.found):
        leading = rightmost(system, result.states[k])
        if leading.known:
            values[k, : leading.values.size] = leading.values
        known &= leading.known
    left_open = result.status == Status.NOT_CERTIFIED
    status = jnp.where(left_open & known, Status.OK, result.status)
    return with_fields(result, eigenvalues=as_array(values), status=status)


def equilibrium_states(
    system: Any, max_count: int | None = None
) -> Float[Array, "equilibrium *state"]:
    """A system's equilibria by rising first variable, NaN at the end; without derivatives.

    At least 8 places, so that what is done with them is one program in most cases.
    """
    system = constant(system)
    if _checks.on_host(system) and hasattr(system, "many_starts"):
        states = search(_single(system), 1, max_count).states[0]
        short = max(0, (max_count or MOST) - states.shape[0])
        return as_array(np.pad(states, ((0, short), (0, 0)), constant_values=np.nan))
    return _searched(system, max_count or MOST, _scalar(system)).states


def rest_state(system: Any) -> Float[Array, "*state"]:
    """The equilibrium of lowest first variable; without derivatives.

    Of a network the one of its region-averaged parameters, everywhere. Where no candidate is
    certified, as at a degenerate equilibrium, the first candidate.
    """
    inner = system.averaged() if hasattr(system, "averaged") else system
    inner = constant(inner)
    state = jnp.full(inner.state_shape, jnp.nan)
    if _checks.on_host(inner) and hasattr(inner, "many_starts"):
        state = as_array(search(_single(inner), 1).states[0, 0])
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
    """Newton's iteration from each candidate, certificate, no duplicates; at most `max_count`.

    That there are no others is not certified, whatever the candidates: `complete` is False.
    """
    candidates = jax.lax.stop_gradient(candidates)
    some = _kept(system, candidates, lambda x: newton(system.vector_field, x), max_count)
    matrices = map_where(some.found, lambda x: jacobian(system.vector_field, x), some.states)
    eigenvalues = map_where(some.found, spectrum, matrices)
    status = jnp.where(some.found.any(), Status.OK, Status.NONE_FOUND)
    return Equilibria(
        states=some.states,
        eigenvalues=eigenvalues,
        residuals=some.residuals,
        errors=some.errors,
        found=some.found,
        complete=jnp.asarray(False),
        status=jnp.where(some.number > max_count, Status.TRUNCATED, status),
    )


class _Kept(NamedTuple):
    """Equilibria as `Equilibria` has them; `number`: of those found, perhaps more than are kept."""

    states: Float[Array, "equilibrium *state"]
    residuals: Float[Array, "equilibrium"]
    errors: Float[Array, "equilibrium"]
    found: Bool[Array, "equilibrium"]
    number: Int[Array, ""]


def _kept(
    system: SearchableSystem,
    candidates: Float[Array, "candidate *state"],
    iterated: Callable[[jax.Array], tuple[jax.Array, jax.Array]],
    max_count: int,
) -> _Kept:
    """What an iteration leads to, from candidates without derivatives: certified, each once."""
    tolerance = float(jnp.finfo(candidates.dtype).eps) ** 0.6
    given = jnp.isfinite(candidates.reshape(candidates.shape[0], -1)).all(axis=1)
    states, errors = map_where(given, iterated, candidates)
    flat = states.reshape(states.shape[0], -1)
    good = jnp.isfinite(flat).all(axis=1) & (errors <= tolerance)
    good &= jax.vmap(getattr(system, "admissible", lambda _: jnp.array(True)))(states)

    # A state counts once: the first of those that agree to 1e-6.
    gap = jax.lax.map(lambda one: jnp.abs(flat - one).max(axis=-1), flat)
    same = gap <= 1e-6 * (1 + jnp.abs(flat).max(axis=1))
    earlier = jnp.tri(flat.shape[0], k=-1, dtype=bool)
    found = good & ~(same & earlier & good[None]).any(axis=1)

    number = found.sum()

    # What is found comes first, by rising first variable; the rest is NaN.
    order = jnp.argsort(jnp.where(found, flat[:, 0], jnp.inf))
    keep = order[: min(max_count, flat.shape[0])]
    found = found[keep]
    states = jnp.where(found.reshape(-1, *(1,) * (states.ndim - 1)), states[keep], jnp.nan)
    residuals = map_where(found, lambda x: jnp.abs(system.vector_field(x)).max(), states)
    errors = jnp.where(found, errors[keep], jnp.nan)
    return _Kept(states, residuals, errors, found, number)
