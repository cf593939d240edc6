"""The linearisation of a delayed network at an equilibrium, as a loop over its regions.

With A_k, b_k and c_k a region's Jacobian, its derivative by the input and the gradient of what it
sends, small perturbations y_k exp(z t) obey

    (z - A_k) y_k = b_k q_k Σ_l W_kl exp(-z τ_kl) c_lᵀ y_l,

q_k what the region makes of the sum (the strength, where coupling is linear); by what it makes of
its own output at once, A_k has more. Let p_k(z) be det(z - A_k), and
n_k(z) = c_kᵀ adj(z - A_k) b_k. Then z is a root where M(z) u = 0,

    M_kl(z) = p_k(z) δ_kl - q_k W_kl exp(-z τ_kl) n_l(z),

which has no poles: roots at a region's own eigenvalues, as without coupling, are roots of det M
as all others are. The perturbation is y_k = adj(z - A_k) b_k u_k, and what is sent n_k(z) u_k.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core.arrays import as_array
from ngnmm_jax.dynamics.analytic_roots import AnalyticRoots, roots_in
from ngnmm_jax.dynamics.contours import Rectangle
from ngnmm_jax.dynamics.gain_bounds import Fraction, Node, bounds
from ngnmm_jax.dynamics.long_delays import LongDelay, is_long
from ngnmm_jax.dynamics.quasi_polynomials import Rightmost, rightmost_roots

# The first step of tiles, in longest delays; tiles across a rectangle, at least.
_STEP, _TILES = 0.5, 32
# Steps towards a left eigenvector, and how small its entries may be.
_POWERS, _SMALL, _ALIKE = 60, 1e-6, 0.999
# A root of two modes, relative; what counts as a slow rate, of the fastest.
_BOTH, _SLOWEST = 1e-9, 0.02
# Up to which condition number eigenvectors of weights are known; strengths that are none, relative.
_KNOWN, _NOTHING = 1e6, 1e-14
# Where no root grows: the first step to the left, in longest delays and in the nodes' slowest rate,
# by what each is longer than the one before, and how many there are at most.
_FIRST, _LONGER, _MOVES = 0.25, 1.5, 14
# Matrices that are filled together hold so many numbers, to stay in a processor's own cache.
_TOGETHER = 2**14


class Loop(NamedTuple):
    """A linearised network, on the host; where all regions are the same, `node` is of one.

    - `weights` (*term, region, region): what a region makes of what others send, q_k W_kl; of each
      term of the coupling's linearisation.
    - `times` (*term, region, region): delays; 0 where nothing is sent.
    """

    node: Node
    weights: np.ndarray
    times: np.ndarray

    @property
    def size(self) -> int:
        """How many regions there are."""
        return self.weights.shape[-1]

    @property
    def terms(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Weights and times (region, region), of each term."""
        shape = (-1, self.size, self.size)
        return list(zip(self.weights.reshape(shape), self.times.reshape(shape), strict=True))

    @property
    def longest(self) -> float:
        """The longest delay."""
        return float(self.times.max())

    @property
    def coupled(self) -> bool:
        """Whether anything is sent at all."""
        return bool(self.weights.any())

    def characteristic(self, scale: float) -> "Characteristic":
        """M(z), which changes over such a scale."""
        return Characteristic(self, scale)

    @property
    def sent_shape(self) -> tuple[int, ...]:
        """(region,)."""
        return (self.size,)

    def sent(self, function: "Characteristic", found: AnalyticRoots) -> np.ndarray:
        """What regions send of each root's perturbation, (root, region)."""
        return function.node(found.values[:, None])[1] * found.right

    def gains(self, line: float) -> np.ndarray:
        """Bounds κ_l (region,) on the columns of |W(z)| where Re z ≥ `line`.

        Σ_k s_k |q_k W_kl| exp(-line τ_kl) / s_l, in units s > 0 of which all are right, and those
        of a left eigenvector, which are aimed at, best. The largest where there is one node.
        """
        gains = column_bounds(np.sum([sizes(w, t, line) for w, t in self.terms], axis=0))
        return gains if len(self.node.matrix) > 1 else gains.max(keepdims=True)


def sizes(weights: np.ndarray, times: np.ndarray, line: float) -> np.ndarray:
    """|w exp(-z τ)| where Re z is at least `line`, at most."""
    with np.errstate(over="ignore"):
        return np.minimum(np.abs(weights) * np.exp(-line * times), 1e100)


def column_bounds(size: np.ndarray) -> np.ndarray:
    """Σ_k s_k |M_kl| / s_l of a matrix of sizes, in units s that make these nearly alike."""
    units = np.ones(len(size))
    for _ in range(_POWERS):
        pushed = units @ size
        found = pushed / units
        largest = found.max()
        if found.min() >= _ALIKE * largest:
            return found
        units = np.maximum((units + pushed / pushed.max()) / 2, _SMALL)
    return (units @ size) / units


def rectangle(loop: Any, line: float) -> Rectangle | None:
    """One that holds all roots with Re z ≥ `line`; None where there are none.

    Elsewhere M, its columns divided by p, is diagonally dominant in those units.
    """
    lines = np.full(len(loop.node.matrix), line)
    found = bounds(loop.node, lambda x: loop.gains(float(x[0])), lines)
    if not found.some.any():
        return None
    return Rectangle(line, float(found.right.max()), 0.0, float(found.top.max()))


class Roots(NamedTuple):
    """Roots right of a line, by falling real part, one of each pair (that with Im z ≥ 0).

    - `line`: all with Re z ≥ this are there, where `certified`.
    - `found`: as `roots_in` has them; `sent` (root, region): what regions send, (root, output,
      region) of several outputs.
    """

    line: float
    found: AnalyticRoots
    sent: np.ndarray


def roots_right_of(loop: Any, line: float) -> Roots:
    """All characteristic roots right of a line, of a `Loop` or a `WideLoop`."""
    if isinstance(loop, Loop):
        by_modes = _of_one_long_delay(loop, line)
        if by_modes is not None:
            return by_modes
    place = rectangle(loop, line)
    if place is None:
        none = np.zeros((0, loop.size), complex)
        nothing = AnalyticRoots(np.zeros(0, complex), np.zeros(0), none, none, True, 0.0, 0)
        return Roots(line, nothing, np.zeros((0, *loop.sent_shape), complex))
    scale = max(place.right - place.left, place.top) / _TILES
    if loop.longest > 0:
        scale = min(scale, _STEP / loop.longest)
    function = loop.characteristic(scale)
    found = roots_in(function, place)
    sent = loop.sent(function, found)
    flat = sent.reshape(len(sent), math.prod(loop.sent_shape))
    unseen = ~(np.abs(flat) > 0).any(axis=1, keepdims=True)
    flat = np.where(unseen, np.resize(found.right, flat.shape), flat)
    largest = np.take_along_axis(flat, np.abs(flat).argmax(axis=1)[:, None], axis=1)
    flat = flat * (np.abs(largest) / largest) / np.linalg.norm(flat, axis=1, keepdims=True)
    return Roots(line, found, flat.reshape(sent.shape))


def _of_one_long_delay(loop: Loop, line: float) -> Roots | None:
    """The same of regions alike with one delay, which is long: mode by mode.

    None of other loops, and of weights whose modes are not known well.
    """
    there = loop.weights != 0
    times = loop.times[there]
    if len(loop.node.matrix) > 1 or not times.size or np.ptp(times) > _BOTH * times.max():
        return None
    if not is_long(loop.node, float(times.max())):
        return None
    strengths, vectors = np.linalg.eig(loop.weights.reshape(-1, loop.size, loop.size).sum(axis=0))
    if not np.linalg.cond(vectors) < _KNOWN:
        return None
    largest = float(np.abs(strengths).max())
    function = LongDelay(loop.node, largest, float(times.max()))
    parts = []
    for strength in strengths:
        alone = abs(strength) <= _NOTHING * largest
        parts.append(function.alone(line) if alone else function.right_of(complex(strength), line))
    mode = np.repeat(np.arange(loop.size), [part.values.size for part in parts])
    values, errors = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
    kept = np.flatnonzero(values.imag > -errors - _BOTH * np.abs(values))
    kept = kept[np.argsort(-values[kept].real, kind="stable")]
    values = np.where(np.abs(values.imag) <= _BOTH * np.abs(values), values.real, values)
    sent = vectors.T[mode[kept]].astype(complex)
    certified = all(part.certified for part in parts)
    known = AnalyticRoots(
        values[kept], errors[kept], sent, sent, certified, 0.0 if certified else np.nan, 0
    )
    largest_part = np.take_along_axis(sent, np.abs(sent).argmax(axis=1)[:, None], axis=1)
    return Roots(line, known, sent * (np.abs(largest_part) / largest_part))


def rightmost(loop: Any, fewest: int) -> Roots:
    """All growing roots; where these are fewer than asked for, those right of a line further left.

    It moves until there are as many; or until what is right of it can no longer be certified: then
    what was certified before is returned.
    """
    best = roots_right_of(loop, 0.0)
    rates = loop.node.rates
    step = max(np.abs(rates.real).min(), _SLOWEST * np.abs(rates).max()) or np.inf
    if loop.longest > 0:
        step = min(step, _FIRST / loop.longest)
    line, step = 0.0, float(step) if np.isfinite(step) else 1.0
    if not loop.coupled:  # there are no others than the nodes' own
        step = 1.01 * float(np.abs(rates).max()) or 1.0
    for _ in range(_MOVES):
        if best.found.values.size >= fewest or not best.found.certified:
            break
        line, step = line - step, _LONGER * step
        found = roots_right_of(loop, line)
        if not found.found.certified:
            break
        best = found
    return best


def rightmost_of_modes(
    node: Node, strengths: np.ndarray, delay: float, count: int | None = None
) -> Rightmost:
    """The rightmost roots of each mode, as `rightmost_roots` has them.

    Where it does not certify them, with long delays, as loops of one region, or of two that stand
    for the real and the imaginary part.
    """
    found = rightmost_roots(node, strengths, delay, count)
    for k in np.flatnonzero(~found.certified):
        values, errors, certified = _of_one_mode(node, complex(strengths[k]), delay)
        if certified and values.size >= found.values.shape[1]:
            found.values[k] = values[: found.values.shape[1]]
            found.errors[k] = errors[: found.values.shape[1]]
            found.certified[k] = True
    return found


def _of_one_mode(
    node: Node, strength: complex, delay: float
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Roots by falling real part, their errors, and whether they are certain."""
    weights = np.array([[strength.real, -strength.imag], [strength.imag, strength.real]])
    weights = weights if strength.imag else weights[:1, :1]
    times = np.where(weights != 0, delay, 0.0)
    found = rightmost(Loop(node, weights, times), node.matrix.shape[-1]).found
    z, pairs = found.values, found.values.imag != 0
    if strength.imag:  # of each pair the one that is the mode's, and not its conjugate's
        fraction = Fraction(node, abs(strength))

        def miss(z: np.ndarray) -> np.ndarray:
            p, n, _, _ = (part[:, 0] for part in fraction(z[:, None]))
            return np.abs(p - strength * np.exp(-z * delay) * n)

        here, there = miss(z), miss(z.conj())
        both = np.maximum(here, there) <= _BOTH * np.abs(fraction(z[:, None])[2][:, 0] * z)
        # What is a root of both modes is there twice.
        second = both & (np.cumsum(both) % 2 == 0)
        values = np.where(both & second | ~both & (there < here), z.conj(), z)
        kept = pairs | ~second
        values, errors = values[kept], found.errors[kept]
    else:
        values = np.append(z, z[pairs].conj())
        errors = np.append(found.errors, found.errors[pairs])
    order = np.argsort(-values.real, kind="stable")
    return values[order], errors[order], found.certified


class Local(NamedTuple):
    """The regions' linearisation: `matrix` (variable, variable, region), the rest its vectors."""

    matrix: Array
    push: Array
    output: Array


def linearised(network: Any, state: Float[Array, "variable region"]) -> Local:
    """A, b and c of all regions, (…, region), their own outputs at once left out."""
    model = network.model
    drive = network.undelayed().drive(model.output(state))
    unit = jnp.eye(state.shape[0], dtype=state.dtype)
    everywhere = jnp.broadcast_to(unit[:, :, None], (*unit.shape, state.shape[1]))

    def column(tangent: Array) -> tuple[Array, Array]:
        change = jax.jvp(lambda x: model.vector_field(x, drive), (state,), (tangent,))[1]
        return change, jax.jvp(model.output, (state,), (tangent,))[1]

    matrix, output = jax.vmap(column, out_axes=(1, 0))(everywhere)
    one = jnp.ones_like(drive)
    push = jax.jvp(lambda d: model.vector_field(state, d), (drive,), (one,))[1]
    return Local(matrix, push, output)


def in_channels(network: Any, state: Float[Array, "variable region"]) -> Local:
    """The same with axes for inputs and outputs: `push` (variable, input, region), `output`
    (output, variable, region).
    """
    local, model = linearised(network, state), network.model
    if not model.outputs:
        return Local(local.matrix, local.push[:, None], local.output[None])
    drive = network.undelayed().drive(model.output(state))

    def push(one: jax.Array) -> jax.Array:
        return jax.jvp(lambda d: model.vector_field(state, d), (drive,), (one,))[1]

    each = jnp.eye(len(drive), dtype=drive.dtype)[:, :, None] * jnp.ones_like(drive)
    return Local(local.matrix, jax.vmap(push, out_axes=1)(each), jnp.moveaxis(local.output, 1, 0))


def linearised_loop(network: Any, state: Float[Array, "variable region"]) -> tuple[Any, ...]:
    """A (variable, variable, region), b and c as `in_channels` has them, and the terms, for JAX.

    Each term is what regions make of its graph's weights, factors (input, output, region, region),
    and the graph.
    """
    terms = network.interaction.linearised(network.model.output(state))
    own = sum((term.own for term in terms[1:]), terms[0].own)
    local = in_channels(network, state)
    matrix = local.matrix + jnp.einsum("air,ior,obr->abr", local.push, own, local.output)
    factors = (jnp.einsum("icj,cok->iojk", term.received, term.sent) for term in terms)
    pairs = tuple(zip(factors, (term.graph for term in terms), strict=True))
    return matrix, local.push, local.output, pairs


def node_of(present: Any, state: Any) -> tuple[Node, float]:
    """One of regions that are alike, and what it makes of a mode's Λ times what is sent.

    `present`: their homogeneous system without delays, over `graphs.Alike`.
    """
    matrix, push, sent, through = _of_one(present, as_array(state))
    return Node(*(np.asarray(part, float)[None] for part in (matrix, push, sent))), float(through)


@eqx.filter_jit
def _of_one(present: Any, state: Float[Array, "variable"]) -> tuple[Array, ...]:
    model = present.model
    output = model.output(state)
    matrix, push = jax.jacfwd(model.vector_field, argnums=(0, 1))(state, present.drive(output))
    sent = jax.jacfwd(model.output)(state)
    (through,), own = present.slopes(output)
    return matrix + own * jnp.outer(push, sent), push, sent, through


@dataclasses.dataclass
class Characteristic:
    """M(z) of a loop, as `roots_in` takes it; `scale`: over which it changes."""

    loop: Loop
    scale: float

    def __post_init__(self) -> None:
        self.size = self.loop.size
        self.node = Fraction(self.loop.node, float(self.loop.gains(0.0).max()))
        # Of times that are the same, as there and back, only one takes exponentials.
        each = [np.unique(times, return_inverse=True) for _, times in self.loop.terms]
        self.aside = np.zeros(0)
        shape = (self.size, self.size)
        self.times = [(times, where.reshape(shape)) for times, where in each]

    def __call__(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """M and M' (point, region, region)."""
        value = np.zeros((z.size, self.size, self.size), complex)
        slope = np.zeros_like(value)
        chunk = max(1, _TOGETHER // self.size**2)
        for begin in range(0, z.size, chunk):
            part = slice(begin, begin + chunk)
            self.fill(z[part, None], value[part], slope[part])
        return value, slope

    def fill(self, z: np.ndarray, value: np.ndarray, slope: np.ndarray) -> None:
        """M and M' of points (point, 1), into arrays of zeros."""
        p, n, dp, dn = self.node(z)
        for (weights, times), (different, where) in zip(self.loop.terms, self.times, strict=True):
            passed = np.exp(-z * different)[:, where] * weights
            value -= passed * n[:, None]
            passed *= times * n[:, None] - dn[:, None]
            slope += passed
        diagonal = np.arange(self.size)
        value[:, diagonal, diagonal] += p
        slope[:, diagonal, diagonal] += dp

    def possible(self, z: np.ndarray, reach: float) -> np.ndarray:
        """Where |n / p| κ comes near one."""
        result = np.zeros(z.shape, bool)
        for x in np.unique(z.real):
            which = np.flatnonzero(z.real == x)
            gains = self.loop.gains(float(x) - reach / 2)
            for move in reach / 2 * np.array([0, -1, 1, 1j, -1j]):
                p, n, _, _ = self.node(z[which, None] + move)
                result[which] |= (np.abs(n) * gains >= 0.8 * np.abs(p)).any(axis=1)
        return result
