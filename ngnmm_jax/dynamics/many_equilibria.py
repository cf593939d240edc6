"""Equilibria of many systems of one kind at once, or of one from starts, driven from the host.

Where a model bounds the slope of its scalar function (`certain_reduction`), all its roots are
found, and their number is certain. Of other models the roots of the scalar function are looked for
on a grid, or equilibria from many starts; others may exist.

What is compiled is small and the same for whoever asks, and for however many systems: the
vector field's Jacobian, and the model's scalar function where it is needed, in lanes of a fixed
number. The search, the iterations of Powell and Newton, certificate and eigenvalues are NumPy's.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core.certain_roots import certain_roots
from ngnmm_jax._core.lanes import padded
from ngnmm_jax._core.placement import beside, wide
from ngnmm_jax._core.scalar_roots import POINTS, scalar_roots
from ngnmm_jax._core.small_linalg import eigenvalues
from ngnmm_jax.dynamics.powell import Linearised, powell, solved

# Systems that take their places in a program together: few, and many on a CPU.
_FEW, _MANY = 4, 128
# Newton's iterations at most, and the relative correction that ends them.
_NEWTON, _DONE = 12, 1e-15
# A state that moves by less in a step, relative, is at rest.
_ROUNDING = 1e-16
# States this near, relative to 1 + |x|, are one, unless they are known to be two.
_SAME = 1e-6
# Roots of the scalar function that are looked for on a grid.
_ROOTS = 64


class Found(NamedTuple):
    """Equilibria of many systems, (system, equilibrium, …): as `Equilibria` has those of one.

    `number` (system,): how many were found, perhaps more than there are places for; `complete`
    (system,): whether it is certain that there are no others.
    """

    states: np.ndarray
    eigenvalues: np.ndarray
    residuals: np.ndarray
    errors: np.ndarray
    found: np.ndarray
    number: np.ndarray
    complete: np.ndarray

    @property
    def stable(self) -> np.ndarray:
        """Whether all eigenvalues have a negative real part."""
        return self.found & (self.eigenvalues.real.max(axis=-1) < 0)


class _Certified(NamedTuple):
    """As `Found`, with Jacobians in place of eigenvalues."""

    states: np.ndarray
    matrices: np.ndarray
    residuals: np.ndarray
    errors: np.ndarray
    found: np.ndarray
    number: np.ndarray
    complete: np.ndarray


class _Candidates(NamedTuple):
    """States near equilibria (candidate, …) of systems `owner`; which systems these are all of."""

    owner: np.ndarray
    states: np.ndarray
    complete: np.ndarray


def search(
    systems: Any, count: int, max_count: int | None = None, *, in_blocks: bool = False
) -> Found:
    """Certified equilibria by rising first variable, NaN at the end.

    `systems` is a `Homogeneous` system whose leaves have an axis (system,) of length `count`, or 1
    where it is the same for all of them, or are scalars. In the full precision that JAX is set to.
    There are `max_count` places for each, or as many as are needed.
    What is found of a system does not depend on the others, but for a last digit, that of the
    program: `in_blocks`, which takes one program for any count, is for work that is cut into
    blocks and has to be the same to the bit in all of them.
    """
    dtype = np.dtype(jnp.result_type(float))

    def filled(leaf: Any) -> np.ndarray:
        leaf = np.asarray(leaf)
        leaf = leaf.astype(dtype) if leaf.dtype.kind == "f" else leaf
        return np.broadcast_to(leaf, (count, *leaf.shape[1:]))

    systems = jax.tree.map(filled, systems)
    # Driven from the host, it waits for an accelerator more than it gains.
    with beside("search for equilibria", True, systems):
        return _found(systems, count, max_count, in_blocks)


def _found(systems: Any, count: int, max_count: int | None, in_blocks: bool) -> Found:
    lanes = _FEW if count <= 2 * _FEW and not in_blocks else wide(_MANY)
    candidates = _candidates(systems, count, lanes)
    return _with_spectra(_certified(_in_lanes(systems, lanes), candidates, max_count))


def _with_spectra(some: _Certified) -> Found:
    spectra = eigenvalues(np, some.matrices[some.found])
    order = np.argsort(-spectra.real, axis=-1, kind="stable")
    values: Any = np.full(some.matrices.shape[:-1], np.nan, complex)
    values[some.found] = np.take_along_axis(spectra, order, axis=-1)
    return Found(
        some.states, values, some.residuals, some.errors, some.found, some.number, some.complete
    )


def search_from(system: Any, starts: Any, max_count: int) -> Found:
    """Certified equilibria of one system, of whatever shape, that Powell's iteration leads to.

    From each of `starts` (start, *state) that is not NaN; as `search` has them, with an axis
    (system,) of length one.
    """
    starts = _flat(starts)
    owner = np.zeros(len(starts), dtype=int)
    candidates = _Candidates(owner, _powell_each(system, starts), np.zeros(1, dtype=bool))
    found = _with_spectra(_certified(_one_by_one(system), candidates, max_count))
    shape = (*found.states.shape[:2], *system.state_shape)
    return found._replace(states=found.states.reshape(shape))


def near(system: Any, state: Any) -> tuple[np.ndarray, float, bool]:
    """The equilibrium that Powell's and Newton's iterations of one system lead to from a state.

    Also the relative size of Newton's last correction, and whether the state is admissible.
    """
    linearised, first = _one_by_one(system), np.zeros(1, dtype=int)
    found, errors = _newton(linearised, first, _powell_each(system, _flat(state[None])))
    admissible = bool(linearised(first, found)[2][0])
    return found[0].reshape(system.state_shape), float(errors[0]), admissible


def _flat(states: Any) -> np.ndarray:
    """States (state, variable) that are not NaN."""
    states = np.asarray(states, np.dtype(jnp.result_type(float))).reshape(len(states), -1)
    return states[np.isfinite(states).all(axis=-1)]


def _powell_each(system: Any, starts: np.ndarray) -> np.ndarray:
    """`powell` of one system, which may be large: from one start after another."""
    linearised, first = _one_by_one(system), np.zeros(1, dtype=int)
    ends = [powell(linearised, first, start[None]) for start in starts]
    return np.concatenate([starts[:0], *ends])


def _candidates(systems: Any, count: int, lanes: int) -> _Candidates:
    dtype = np.dtype(jnp.result_type(float))
    if systems.certain_search:
        wide = jax.tree.map(lambda leaf: np.asarray(leaf, float), systems)
        roots = certain_roots(lambda some: some.certain_reduction(), wide, count)
        return _Candidates(roots.owner, roots.states.astype(dtype), ~roots.doubtful)
    some_of = _roots if systems.scalar_search else _points
    parts = []
    for index, kept in padded(count, lanes):
        some = jax.tree.map(lambda leaf, index=index: leaf[index], systems)
        parts.append(np.asarray(some_of(some))[:kept])
    every = np.concatenate(parts)
    where = np.nonzero(np.isfinite(every).all(axis=-1))
    owner, states = where[0], every[where]
    if not systems.scalar_search:
        states = powell(_in_lanes(systems, lanes), owner, states)
    return _Candidates(owner, states, np.zeros(count, dtype=bool))


@jax.jit
def _points(systems: Any) -> jax.Array:
    """Where to start, of systems without a scalar function."""
    return jax.vmap(lambda system: system.starting_points())(systems)


def _lanes(systems: Any) -> int:
    return int(jax.tree.leaves(systems)[0].shape[0])


@jax.jit
def _reduced(systems: Any, u: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The scalar function's states and values at points (system, point), and its interval."""

    def one(system: Any, u: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        reduction = system.reduction()
        states, values = jax.vmap(reduction.function)(u)
        return states, values, jnp.stack([reduction.low, reduction.high])

    return jax.vmap(one)(systems, u)


def _roots(systems: Any) -> np.ndarray:
    """Candidates from the scalar function's roots on a grid."""
    count = _lanes(systems)

    def at(u: np.ndarray) -> tuple[jax.Array, jax.Array, jax.Array]:
        fill = ((0, 0), (0, POINTS - u.shape[1]))
        return _reduced(systems, np.pad(u, fill, mode="edge"))

    low, high = np.asarray(at(np.zeros((count, 1)))[2]).T
    roots = scalar_roots(
        lambda u: np.asarray(at(u)[1])[:, : u.shape[1]], low, high, max_count=_ROOTS, xp=np
    )
    return np.asarray(at(roots)[0])[:, : roots.shape[1]]


@jax.jit
def _linearised(systems: Any, states: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    def one(system: Any, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        field = system.vector_field
        return jax.jacfwd(field)(x), field(x), system.admissible(x)

    return jax.vmap(one)(systems, states)


@eqx.filter_jit
def _slope_one(system: Any, x: jax.Array) -> jax.Array:
    return system.vector_field(x.reshape(system.state_shape)).ravel()


@eqx.filter_jit
def _linearised_one(system: Any, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    matrix = jax.jacfwd(lambda x: _slope_one(system, x))(x)
    admissible = getattr(system, "admissible", lambda _: jnp.array(True))
    return matrix, _slope_one(system, x), admissible(x.reshape(system.state_shape))


def _one_by_one(system: Any) -> Linearised:
    """Of one system."""

    def each(owner: np.ndarray, states: np.ndarray) -> tuple[np.ndarray, ...]:
        n, dtype = states.shape[-1], states.dtype
        parts = _nothing(n, dtype) + [
            tuple(np.asarray(value)[None] for value in _linearised_one(system, x)) for x in states
        ]
        return tuple(np.concatenate(part) for part in zip(*parts, strict=True))

    return each


def _nothing(n: int, dtype: Any) -> list[tuple[np.ndarray, ...]]:
    return [(np.zeros((0, n, n), dtype), np.zeros((0, n), dtype), np.zeros(0, dtype=bool))]


def _certified(
    linearised: Linearised, candidates: _Candidates, max_count: int | None
) -> _Certified:
    """Newton's iteration from each candidate, certificate, no duplicates."""
    owner, starts, complete = candidates
    eps = float(np.finfo(starts.dtype).eps)
    states, errors = _newton(linearised, owner, starts)
    matrices, slopes, admissible = linearised(owner, states)
    with np.errstate(all="ignore"):
        # A root of the scalar function is one of the vector field, and stays where it is.
        moved = np.abs(states - starts).max(axis=-1) / (1 + np.abs(starts).max(axis=-1))
        stays = ~complete[owner] | (moved <= eps**0.4)
        good = stays & (errors <= eps**0.6) & np.isfinite(states).all(axis=-1)
    # A rate so low that Newton's rounding makes it negative is better known beforehand.
    below = np.flatnonzero(good & ~admissible & complete[owner])
    if below.size:
        states[below] = starts[below]
        again = linearised(owner[below], states[below])
        matrices[below], slopes[below], admissible[below] = again
    good &= admissible
    # By system, then by the first variable.
    order = np.lexsort((states[:, 0], owner))
    order = order[good[order]]
    nearer = np.where(complete[owner], np.maximum(4 * errors, 64 * eps), _SAME)
    kept = order[_first_of_their_kind(owner[order], states[order], nearer[order])]
    lost = np.ones(owner.size, dtype=bool)
    lost[kept] = False
    complete = complete.copy()
    complete[owner[lost]] = False
    count = np.bincount(owner[kept], minlength=complete.size)
    width = max(1, int(count.max(initial=1))) if max_count is None else max_count
    place = np.arange(kept.size) - np.repeat(np.cumsum(count) - count, count)
    kept, place = kept[place < width], place[place < width]
    shape = (complete.size, width)

    def placed(values: np.ndarray, blank: Any = np.nan) -> np.ndarray:
        result = np.full((*shape, *values.shape[1:]), blank, values.dtype)
        result[owner[kept], place] = values[kept]
        return result

    return _Certified(
        states=placed(states),
        matrices=placed(matrices),
        residuals=placed(np.abs(slopes).max(axis=-1, initial=0.0)),
        errors=placed(errors),
        found=placed(good, False),
        number=count,
        complete=complete,
    )


def _first_of_their_kind(owner: np.ndarray, states: np.ndarray, nearer: np.ndarray) -> np.ndarray:
    """Which states are none of those before them, of the same system.

    `nearer` (state,) is the distance, relative to 1 + |x|, at which they are the same.
    """
    first = np.ones(owner.size, dtype=bool)
    reach = nearer * (1 + np.abs(states).max(axis=-1, initial=0.0))
    for step in range(1, owner.size):
        together = owner[step:] == owner[:-step]
        if not together.any():
            break
        gap = np.abs(states[step:] - states[:-step]).max(axis=-1)
        first[step:] &= ~(together & (gap <= np.maximum(reach[step:], reach[:-step])))
    return first


def _newton(
    linearised: Linearised, owner: np.ndarray, states: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """States (state, variable) and the relative sizes of their last corrections."""
    states, errors = states.copy(), np.full(len(states), np.inf)
    left = np.arange(len(states))
    for _ in range(_NEWTON):
        matrices, slopes, _ = linearised(owner[left], states[left])
        with np.errstate(all="ignore"):  # what diverges is not certified
            delta = solved(matrices, slopes)
            states[left] -= delta
            errors[left] = np.abs(delta).max(axis=-1) / (1 + np.abs(states[left]).max(axis=-1))
        # One step more than is needed: the correction then is an estimate of the error.
        left = left[(errors[left] > _DONE) & np.isfinite(errors[left])]
        if not left.size:
            break
    return states, errors


def at_rest(slope: Any, state: Any, step: Any) -> float | None:
    """By how much a state moves in a step, relative, where that is rounding; None where it is more.

    There Newton's iteration has nothing to gain; and where the Jacobian is singular, as that of
    phases, which may all be shifted, it would lose the state.
    """
    moved = np.abs(np.asarray(slope)).max() * float(step)
    moved = float(moved / (1 + np.abs(np.asarray(state)).max()))
    return moved if moved <= _ROUNDING else None


def newton_on_host(system: Any, state: Any) -> tuple[np.ndarray, float]:
    """Newton's iteration of one system: the state and its last correction's relative size."""
    systems = jax.tree.map(
        lambda leaf: np.broadcast_to(np.asarray(leaf), (_FEW, *np.shape(leaf))), system
    )
    linearised = _in_lanes(systems, _FEW)  # the program that `search` has
    first, given = np.zeros(1, dtype=int), np.asarray(state)[None]
    known = at_rest(linearised(first, given)[1], state, system.time_step)
    if known is not None:
        return given[0], known
    states, errors = _newton(linearised, first, given)
    return states[0], float(errors[0])


def _in_lanes(systems: Any, lanes: int) -> Linearised:
    """Of systems whose leaves have an axis (system,), so many at a time."""

    def each(owner: np.ndarray, states: np.ndarray) -> tuple[np.ndarray, ...]:
        parts = _nothing(states.shape[-1], states.dtype)
        for index, kept in padded(len(owner), lanes):
            some = jax.tree.map(lambda leaf, index=index: leaf[owner[index]], systems)
            found = _linearised(some, states[index])
            parts.append(tuple(np.asarray(value)[:kept] for value in found))
        return tuple(np.concatenate(part) for part in zip(*parts, strict=True))

    return each
