"""Equilibria of many systems of one kind at once, driven from the host.

What is compiled is small and the same for whoever asks, and for however many systems: the
model's scalar function, and the vector field's Jacobian, in lanes of a fixed number (or the
search from many starts, a system at a time). Bracketing, Newton's iteration, certificate and
eigenvalues are NumPy's.
"""

import contextlib
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._chunks import padded
from ngnmm_jax.dynamics.linear import eigenvalues
from ngnmm_jax.dynamics.roots import DIPS, POINTS, scalar_roots

# Systems that take their places in a program together: few, many, and many not on a CPU.
_FEW, _MANY, _ELSEWHERE = 4, 128, 4096
# Newton's iterations at most, and the relative correction that ends them.
_NEWTON, _DONE = 12, 1e-15
# States this near, relative to 1 + |x|, are one.
_SAME = 1e-6


class Found(NamedTuple):
    """Equilibria of many systems, (system, equilibrium, …): as `Equilibria` has those of one."""

    states: np.ndarray
    eigenvalues: np.ndarray
    residuals: np.ndarray
    errors: np.ndarray
    found: np.ndarray

    @property
    def stable(self) -> np.ndarray:
        """Whether all eigenvalues have a negative real part."""
        return self.found & (self.eigenvalues.real.max(axis=-1) < 0)


def search(systems: Any, count: int, max_count: int, *, in_blocks: bool = False) -> Found:
    """Certified equilibria by rising first variable, NaN at the end.

    `systems` is a `Homogeneous` system whose leaves have an axis (system,) of length `count`, or 1
    where it is the same for all of them, or are scalars. In the full precision that JAX is set to.
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
    scalar = np.broadcast_to(systems.scalar_search, (count,))
    parts = []
    for mine in (scalar, ~scalar):
        (which,) = np.nonzero(mine)
        if which.size:
            some = jax.tree.map(lambda leaf, which=which: leaf[which], systems)
            parts.append(
                (which, _in_lanes(some, which.size, max_count, bool(scalar[which[0]]), in_blocks))
            )
    order = np.argsort(np.concatenate([which for which, _ in parts]))
    fields = {
        name: np.concatenate([found[name] for _, found in parts])[order] for name in parts[0][1]
    }
    matrices, found = fields.pop("matrices"), fields["found"]
    spectra = eigenvalues(np, matrices[found])
    order = np.argsort(-spectra.real, axis=-1, kind="stable")
    values: Any = np.full(matrices.shape[:-1], np.nan, complex)
    values[found] = np.take_along_axis(spectra, order, axis=-1)
    return Found(eigenvalues=values, **fields)


def _in_lanes(
    systems: Any, count: int, max_count: int, scalar: bool, in_blocks: bool
) -> dict[str, np.ndarray]:
    """Equilibria of systems of which all, or none, are found by the scalar function's roots."""
    many = _MANY if jax.local_devices()[0].platform == "cpu" else _ELSEWHERE
    candidates = partial(_roots, max_count=max_count) if scalar else _from_many_starts
    chunks = []
    few = count <= 2 * _FEW and not in_blocks
    for index, kept in padded(count, _FEW if few else many):
        some = jax.tree.map(lambda leaf, index=index: leaf[index], systems)
        found = _certified(some, candidates(some, kept=kept), max_count)
        chunks.append({name: value[:kept] for name, value in found.items()})
    return {name: np.concatenate([c[name] for c in chunks]) for name in chunks[0]}


def _from_many_starts(systems: Any, kept: int) -> Any:
    """Candidates from many starts: one system after another on a CPU, where steps differ."""
    if jax.local_devices()[0].platform != "cpu":
        return jax.jit(jax.vmap(_starts_of))(systems)
    found = [_many_starts(jax.tree.map(lambda leaf, k=k: leaf[k], systems)) for k in range(kept)]
    return np.stack([*found, *[np.full_like(found[0], np.nan)] * (_lanes(systems) - kept)])


def _starts_of(system: Any) -> jax.Array:
    return system.many_starts()


_many_starts = jax.jit(_starts_of)


def _lanes(systems: Any) -> int:
    return int(jax.tree.leaves(systems)[0].shape[0])


@jax.jit
def _reduced(systems: Any, u: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The scalar function's states and values at points (system, point), and its interval."""

    def one(system: Any, u: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        reduction = system.model.equilibrium_reduction(system.coupling)
        states, values = jax.vmap(reduction.function)(u)
        return states, values, jnp.stack([reduction.low, reduction.high])

    return jax.vmap(one)(systems, u)


def _roots(systems: Any, max_count: int, kept: int) -> np.ndarray:
    count = _lanes(systems)

    max_count = min(max_count, POINTS - 2 * DIPS)

    def at(u: np.ndarray) -> tuple[jax.Array, jax.Array, jax.Array]:
        fill = ((0, 0), (0, POINTS - u.shape[1]))
        return _reduced(systems, np.pad(u, fill, mode="edge"))

    del kept  # a lane costs nothing
    low, high = np.asarray(at(np.zeros((count, 1)))[2]).T
    roots = scalar_roots(
        lambda u: np.asarray(at(u)[1])[:, : u.shape[1]], low, high, max_count=max_count, xp=np
    )
    return np.asarray(at(roots)[0])[:, : roots.shape[1]]


@jax.jit
def _linearised(systems: Any, states: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    def one(system: Any, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        field = system.vector_field
        return jax.jacfwd(field)(x), field(x), system.admissible(x)

    return jax.vmap(one)(systems, states)


def _certified(systems: Any, candidates: Any, max_count: int) -> dict[str, np.ndarray]:
    """Newton's iteration from each candidate, certificate, no duplicates; at most `max_count`."""
    candidates = np.asarray(candidates)
    tolerance = float(np.finfo(candidates.dtype).eps) ** 0.6
    where = np.nonzero(np.isfinite(candidates).all(axis=-1))
    states, errors = _newton(systems, where[0], candidates[where])
    *_, admissible = _each(systems, where[0], states)
    good = admissible & (errors <= tolerance) & np.isfinite(states).all(axis=-1)
    where, states, errors = tuple(w[good] for w in where), states[good], errors[good]

    # By system, then by the first variable; of those that agree, the first.
    order = np.lexsort((states[:, 0], where[0]))
    owner, states, errors = where[0][order], states[order], errors[order]
    alone = np.ones(owner.size, dtype=bool)
    place = np.zeros(owner.size, dtype=int)
    for system in np.unique(owner):
        mine = np.flatnonzero(owner == system)
        gap = np.abs(states[mine, None] - states[None, mine]).max(axis=-1)
        same = gap <= _SAME * (1 + np.abs(states[mine]).max(axis=-1))
        alone[mine] = ~np.tril(same, -1).any(axis=1)
        place[mine] = np.cumsum(alone[mine]) - 1
    keep = alone & (place < max_count)
    owner, place, states, errors = owner[keep], place[keep], states[keep], errors[keep]
    matrices, slopes, _ = _each(systems, owner, states)
    fields = {
        "states": states,
        "matrices": matrices,
        "residuals": np.abs(slopes).max(axis=-1),
        "errors": errors,
    }
    shape = (candidates.shape[0], max_count)
    result: dict[str, np.ndarray] = {"found": np.zeros(shape, dtype=bool)}
    result["found"][owner, place] = True
    for name, values in fields.items():
        result[name] = np.full((*shape, *values.shape[1:]), np.nan, values.dtype)
        result[name][owner, place] = values
    return result


def _newton(systems: Any, owner: np.ndarray, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """States (state, variable) and the relative sizes of their last corrections."""
    states, errors = states.copy(), np.full(len(states), np.inf)
    left = np.arange(len(states))
    for _ in range(_NEWTON):
        matrices, slopes, _ = _each(systems, owner[left], states[left])
        with np.errstate(all="ignore"):  # what diverges is not certified
            delta = _solved(matrices, slopes)
            states[left] -= delta
            errors[left] = np.abs(delta).max(axis=-1) / (1 + np.abs(states[left]).max(axis=-1))
        # One step more than is needed: the correction then is an estimate of the error.
        left = left[(errors[left] > _DONE) & np.isfinite(errors[left])]
        if not left.size:
            break
    return states, errors


def newton_on_host(system: Any, state: Any) -> tuple[np.ndarray, float]:
    """Newton's iteration of one system: the state and its last correction's relative size."""
    systems = jax.tree.map(lambda leaf: np.broadcast_to(np.asarray(leaf), (_FEW, *np.shape(leaf))),
                           system)  # fmt: skip
    states, errors = _newton(systems, np.zeros(1, dtype=int), np.asarray(state)[None])
    return states[0], float(errors[0])


def _solved(matrices: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Solutions of many small systems, NaN where one is singular."""
    try:
        return np.linalg.solve(matrices, columns[..., None])[..., 0]
    except np.linalg.LinAlgError:
        result = np.full(columns.shape, np.nan)
        for k in range(len(columns)):
            with contextlib.suppress(np.linalg.LinAlgError):
                result[k] = np.linalg.solve(matrices[k], columns[k])
        return result


def _each(systems: Any, owner: np.ndarray, states: np.ndarray) -> tuple[np.ndarray, ...]:
    """Jacobian, slope and admissibility at states, each of its own system, in lanes."""
    lanes, n = _lanes(systems), states.shape[-1]
    parts: list[tuple[np.ndarray, ...]] = [
        (np.zeros((0, n, n)), np.zeros((0, n)), np.zeros(0, dtype=bool))
    ]
    for index, kept in padded(len(owner), lanes):
        some = jax.tree.map(lambda leaf, index=index: leaf[owner[index]], systems)
        found = _linearised(some, states[index])
        parts.append(tuple(np.asarray(value)[:kept] for value in found))
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))
