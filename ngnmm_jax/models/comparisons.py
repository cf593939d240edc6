"""A model's optional methods against its vector field, at random states.

Each function returns None where they agree, or says by how much they differ.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import declared, with_fields
from ngnmm_jax._core.scalar_roots import POINTS, scalar_roots

# Default parameters are moved by this fraction; those that are zero, to this value.
_MOVED = 0.07
_COUPLING = 1.7
# Gaps that fall faster than this when the step is halved belong to the step.
_FALLS = 0.35
# Those of a mean of order four fall by this; and it is seen at steps so many times as long.
_FALLS_FAST, _LONG = 0.12, 32
# Gaps of no interest.
_SMALL = 1e-7
# What counts as rounding of sums of some terms, in roundings.
_ROUNDED = 1e5
# Of the terms at any state: what is added to those at one where all of them may vanish.
_ELSEWHERE = 1e-3
# Runge and Kutta's steps in half of a small step.
_HALVES = 2

_rng = np.random.default_rng

# A model, its coupling, a state and a drive.
Trial = tuple[Any, Any, np.ndarray, np.ndarray]


def trials(model: Any, coupling: Any = None) -> Iterator[tuple[Any, Callable[[], Trial]]]:
    """What a model is compared at: a key, and what it stands for.

    Its class's default parameters, and its own where they are known; not the latter where they
    have other axes than that of the regions.
    """
    same = identity(model)
    if same is None:
        return
    values = [getattr(model, name) for name in declared(model)]
    yield same, lambda: _at(usual(model), _COUPLING, (2,))
    if not _checks.is_concrete(values, coupling):
        return
    if any(np.ndim(value) > 1 for value in values) or np.ndim(coupling):
        return
    here = _COUPLING if coupling is None else coupling
    axes = (2,) if model.n_regions is None else (model.n_regions,)
    yield (*same, *map(digest, values), digest(here)), lambda: _at(model, here, axes)


def sent(model: Any) -> str:
    """The variable that a model's output is, found by trying states; or what the model shows."""
    if model.outputs:
        return str(model.shown)
    model = usual(model)
    state = random_state(model, (1,))
    with jax.ensure_compile_time_eval():
        output = np.asarray(model.output(as_array(state)))
    for name, row in zip(model.variables, state, strict=True):
        if np.array_equal(output, row):
            return str(name)
    return str(model.shown)


def identity(model: Any) -> Any:
    """What a model is apart from its parameters and its class; None where that is traced."""
    rest, structure = jax.tree.flatten(with_fields(model, **dict.fromkeys(declared(model))))
    if not _checks.is_concrete(rest):
        return None
    return (_hashable(structure), *map(digest, rest))


def _at(model: Any, coupling: Any, axes: tuple[int, ...]) -> Trial:
    dtype = _dtype()
    model = jax.tree.map(
        lambda leaf: as_array(leaf, dtype) if eqx.is_inexact_array_like(leaf) else leaf, model
    )
    state = random_state(usual(model), axes)
    drive = _rng(1).uniform(0.2, 0.8, axes).astype(dtype)
    return model, np.asarray(coupling, dtype), state, drive


def usual(model: Any, moved: float = _MOVED) -> Any:
    """A model at its class's default parameters, moved a little: none is zero."""
    fields: list[Any] = list(declared(model).values())
    sizes = moved * _rng(0).uniform(0.5, 1.0, len(fields))
    values = {
        f.name: as_array(np.where(f.default, f.default * (1 + size), size), _dtype())
        for f, size in zip(fields, sizes, strict=True)
    }
    return with_fields(model, **values)


def random_state(model: Any, axes: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """A state (variable, *axes) in and about the model's box, not negative where it must not be."""
    with jax.ensure_compile_time_eval():
        low, high = (np.asarray(corner, float) for corner in model.search_box())
    low, high = (c.reshape(-1, *(1,) * len(axes)) for c in (low, high))
    rng, shape = _rng(seed), (len(model.variables), *axes)
    about = 0.1 * (np.abs(low) + np.abs(high)) + 0.01
    state = low + (high - low) * rng.uniform(size=shape) + about * rng.normal(size=shape)
    for name in model.nonnegative:
        k = model.variables.index(name)
        state[k] = np.abs(state[k]) + 0.01 * about[k]
    return state.astype(_dtype())


def exact_flow(model: Any, coupling: Any, state: np.ndarray, drive: np.ndarray) -> str | None:
    """A small step of the flow against many of Runge and Kutta, at two lengths."""
    del coupling
    dtype, eps = state.dtype, float(np.finfo(state.dtype).eps)
    if model.exact_flow(jnp.ones((), dtype)) is None:
        return None
    _, jacobian, scale = linearised(model, state, drive)
    norm = np.abs(jacobian).sum(axis=0).max()
    # The drive changes as fast as the state does.
    rates = norm * drive * np.cos(1 + np.arange(drive.size)).reshape(drive.shape)
    h = eps ** (1 / 8) / norm
    coarse, fine = (_gaps(model, state, drive, rates, t, scale) for t in (h, h / 2))
    what = (
        "a small step differs from the vector field's by {:.2g} of the slope",
        "the mean state over a small step gives other inputs, by {:.2g} of them",
        "the mean state over a small step gives another output, by {:.2g} of it",
    )
    for before, after, words in zip(coarse, fine, what, strict=True):
        if not after <= max(_FALLS * before, _SMALL, 1e4 * eps ** (7 / 8)):
            return words.format(after)
    other = random_state(usual(model), state.shape[1:], 2).astype(dtype)
    at, there, between = (_output(model, y) for y in (state, other, (state + other) / 2))
    bend = _worst(between - (at + there) / 2, np.abs(at) + np.abs(there))
    if bend <= 1e3 * eps:
        return None
    before, after = (_gaps(model, state, drive, rates, _LONG * t, scale)[2] for t in (h, h / 2))
    if after <= max(_FALLS_FAST * before, 1e3 * eps):
        return None
    return (
        f"`output` is not linear in the state, by {bend:.2g} of it, and of the mean state over a "
        "step it is the mean to order two only"
    )


def _gaps(model: Any, state: Any, drive: Any, rates: Any, h: Any, scale: Any) -> list[float]:
    """Relative gaps of the state after a step `h`, and of the mean inputs and output over it."""
    path = [state]
    for k in range(2 * _HALVES):
        path.append(_runge_kutta(model, path[-1], drive, rates, k, h / (2 * _HALVES)))
    ends = path[0], path[_HALVES], path[-1]
    inputs = [
        _inputs(model, y, drive + t * h * rates) for y, t in zip(ends, (0, 0.5, 1), strict=True)
    ]
    mean, output = (
        (first + 4 * middle + last) / 6
        for first, middle, last in (inputs, [_output(model, y) for y in ends])
    )
    after, over = map(np.asarray, _advance(model, state, mean, inputs[2] - inputs[0], h))
    size = np.abs(mean) + np.abs(inputs[2] - inputs[0]) / h / np.abs(rates).max()
    gap = np.abs(after - path[-1])
    # Where others are far faster, a step changes a variable by little more than rounding.
    gap = np.maximum(gap - 1e3 * np.finfo(state.dtype).eps * np.abs(state), 0)
    return [
        _worst(gap, h * scale),
        _worst(_inputs(model, over, drive + h / 2 * rates) - mean, size),
        _worst(_output(model, over) - output, np.abs(output)),
    ]


def _runge_kutta(model: Any, y: Any, drive: Any, rates: Any, k: int, h: Any) -> np.ndarray:
    def f(y: Any, part: Any) -> np.ndarray:
        return slopes(model, y, drive + (k + part) * h * rates)

    first = f(y, 0)
    second = f(y + h / 2 * first, 0.5)
    third = f(y + h / 2 * second, 0.5)
    last = f(y + h * third, 1)
    return np.asarray(y + h / 6 * (first + 2 * second + 2 * third + last), y.dtype)


def _worst(gap: np.ndarray, size: np.ndarray) -> float:
    return float((np.abs(gap) / (size + np.finfo(gap.dtype).tiny)).max())


def populations(model: Any, coupling: Any, state: np.ndarray, drive: np.ndarray) -> str | None:
    """Rates and potentials against the equations of QIF neurons' mean field.

    With b and c the slope and the current of the neurons, tau f_r = Δ / (π tau) + (2 v + b) r and
    tau f_v = v² + b v - (π tau r)² + c. The first must be a straight line in r, with a slope that
    follows 2 v, and no rate, and with at least Δ where r is zero; what c is must be a straight
    line in r and in v. A wrong tau shows in the squares of r and v.
    """
    del coupling
    found = model.populations()
    for population in found:
        for name in (population.rate, population.potential):
            if name not in model.variables:
                return f"{name!r} of its population {population.name!r} is no variable"
    names = [n for p in found for n in (p.rate, p.potential)]
    if len(set(names)) < len(names):
        return "two of its populations have a variable in common"
    rates = [model.variables.index(p.rate) for p in found]
    for population in found:
        p = jax.tree.map(lambda leaf: np.asarray(leaf) if eqx.is_array(leaf) else leaf, population)
        wrong = _no_population(model, p, rates, state, drive)
        if wrong is not None:
            return wrong
    return None


def _no_population(
    model: Any, p: Any, rates: list[int], state: np.ndarray, drive: np.ndarray
) -> str | None:
    """What is wrong with one population; `rates`: the rows of those of all."""
    r, v = model.variables.index(p.rate), model.variables.index(p.potential)
    tau, tolerance = p.tau, _ROUNDED * float(np.finfo(state.dtype).eps)
    step = 0.7 * (1 + np.abs(state[v]))

    def at(rate: Any, rise: Any, others: Any) -> tuple[np.ndarray, ...]:
        """Slopes tau f_r, tau f_v at so many rates, of others too, and steps from v; r and v."""
        y = state.copy()
        y[rates] *= others
        y[r], y[v] = state[r] * rate, state[v] + rise * step
        f = tau * slopes(model, y[None], drive)[0]
        return f[r], f[v], y[r], y[v]

    def felt(rise: Any, others: Any = 1) -> tuple[np.ndarray, ...]:
        """The slope by r, less 2 v; and what is there without rates, as a half width."""
        (none, *_), (there, _, y, v) = at(0, rise, others), at(1, rise, others)
        return (there - none) / y - 2 * v, math.pi * tau * none

    def current(rate: Any, rise: Any) -> np.ndarray:
        _, slope, y, v = at(rate, rise, 1)
        return slope - v * (v + felt(rise)[0]) + (math.pi * tau * y) ** 2

    size = 1 + np.abs(at(2, 2, 1)[1]) + (2 * math.pi * tau * state[r]) ** 2 + 9 * step**2
    (b, width), (further, same), fast = felt(0), felt(1), felt(0, 2)[0]
    line = [at(k, 0, 1)[0] for k in range(3)]
    scale = 1 + np.abs(line[2]) + np.abs(b * state[r]) + 4 * np.abs(state[v] * state[r])
    b_size = 1 + np.abs(b) + 2 * np.abs(state[v]) + 2 * step + scale / state[r]
    bends = (
        (p.rate, line[0] - 2 * line[1] + line[2], scale),
        (p.rate, further - b, b_size),
        (p.rate, same - width, 1 + np.abs(width)),
        (p.rate, np.maximum(p.delta - width, 0), 1 + np.abs(width)),
        (p.potential, current(0, 0) - 2 * current(1, 0) + current(2, 0), size),
        (p.potential, current(1, 0) - 2 * current(1, 1) + current(1, 2), size),
    )
    for name, gap, size in bends:
        found = _worst(gap, size)
        if not found <= tolerance:
            return f"`{name}` moves otherwise than that of such a population, by {found:.2g} of it"
    found = _worst(fast - b, b_size)
    if not found <= tolerance:
        return (
            f"what multiplies `{p.rate}` follows rates at once, by {found:.2g} of it: give "
            "conductances a variable of their own"
        )
    return None


def equilibrium_reduction(
    model: Any, coupling: Any, state: np.ndarray, drive: np.ndarray
) -> str | None:
    """The vector field at the reduction's roots."""
    del drive
    coupling = as_array(coupling)
    if model.n_regions is not None or model.equilibrium_reduction(coupling) is None:
        return None

    def at(u: Any) -> list[np.ndarray]:
        padded = np.pad(np.ravel(u), (0, POINTS - np.size(u)), mode="edge").astype(state.dtype)
        states, values, ends = map(np.asarray, _reduced(model, coupling, padded))
        return [states[: np.size(u)], values[: np.size(u)].reshape(np.shape(u)), ends]

    low, high = at(np.zeros(1))[2]
    roots = scalar_roots(lambda u: at(u)[1], low[None], high[None], max_count=8, xp=np)
    roots = roots[np.isfinite(roots)]
    if not roots.size:
        return None
    # A step of the secants: what was narrowed down is exact enough for a start.
    near = roots + 1e-9 * (high - low)
    values, there = at(roots)[1], at(near)[1]
    better = roots - values * (near - roots) / np.where(there == values, np.inf, there - values)
    roots = np.where(np.abs(at(better)[1]) <= np.abs(values), better, roots)
    states, values, _ = at(roots)
    # Where a sign changes there may be a pole.
    grid = np.median(np.abs(at(np.linspace(low, high, POINTS))[1]))
    states = states[np.abs(values) <= 1e-3 * grid]
    tolerance = 10 * float(np.finfo(state.dtype).eps) ** 0.6
    usually = _ELSEWHERE * linearised(model, state, np.asarray(coupling) * _output(model, state))[2]
    for x in states:
        pair = np.repeat(x[:, None], 2, axis=1)  # the shape of other comparisons
        f, _, scale = linearised(model, pair, np.asarray(coupling) * _output(model, pair))
        gap = _worst(f, scale + usually.max(axis=1, keepdims=True))
        if not gap <= tolerance:
            return f"at a root (coupling {float(coupling):.4g}) the slope is {gap:.2g} of its terms"
    return None


def linearised(model: Any, y: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, ...]:
    """The slope, its Jacobian (by, of, *axes) by differences, and the size of its terms."""
    n, axes = y.shape[0], y.shape[1:]
    size = np.abs(y).max(axis=tuple(range(1, y.ndim)))
    step = np.sqrt(np.finfo(y.dtype).eps) * np.where(size > 0, size, 1.0)
    moved = np.concatenate([np.zeros((1, n)), np.diag(step)]).reshape(n + 1, n, *(1,) * len(axes))
    f, *there = slopes(model, (y + moved).astype(y.dtype), c)
    jacobian = (np.stack(there) - f) / step.reshape(n, *(1,) * y.ndim)
    return f, jacobian, np.abs(f) + (np.abs(jacobian) * np.abs(y)[:, None]).sum(axis=0)


def slopes(model: Any, states: np.ndarray, drive: Any) -> np.ndarray:
    """The vector field at a state (variable, *axes), or many (state, variable, *axes)."""
    count, drive = len(model.variables) + 1, np.asarray(drive, states.dtype)
    axes = drive.ndim - bool(model.inputs)
    many = states if states.ndim > axes + 1 else np.broadcast_to(states, (count, *states.shape))
    found = np.asarray(_slopes(model, many, drive))
    return found if many is states else found[0]


def _inputs(model: Any, state: np.ndarray, drive: Any) -> np.ndarray:
    return np.asarray(_driven(model, state, np.asarray(drive, state.dtype)))


def _output(model: Any, state: np.ndarray) -> np.ndarray:
    return np.asarray(_sent(model, state))


# Small programs, without derivatives: what is tried runs once.
@eqx.filter_jit
def _slopes(model: Any, states: Any, drive: Any) -> jax.Array:
    return jax.vmap(lambda y: model.vector_field(y, drive))(states)


@eqx.filter_jit
def _driven(model: Any, y: Any, drive: Any) -> jax.Array:
    return model.exact_flow(jnp.ones((), y.dtype)).inputs(y, drive)


@eqx.filter_jit
def _advance(model: Any, y: Any, mean: Any, rise: Any, h: Any) -> Any:
    return model.exact_flow(h.astype(y.dtype)).advance(y, mean, rise)


@eqx.filter_jit
def _sent(model: Any, y: Any) -> jax.Array:
    return model.output(y)


@eqx.filter_jit
def _reduced(model: Any, coupling: Any, u: Any) -> Any:
    reduction = model.equilibrium_reduction(coupling)
    return *jax.vmap(reduction.function)(u), jnp.stack([reduction.low, reduction.high])


def _dtype() -> Any:
    return np.dtype(jnp.result_type(float))


def digest(value: Any) -> tuple[Any, ...]:
    array = np.asarray(value)
    return array.shape, str(array.dtype), array.tobytes()


def _hashable(structure: Any) -> Any:
    try:
        hash(structure)
    except TypeError:
        return str(structure)
    return structure
