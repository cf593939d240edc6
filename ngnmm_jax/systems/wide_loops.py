"""Loops of regions with several outputs and inputs, linearised at an equilibrium.

As `systems.loops`, with inputs u (input, region) and outputs: small perturbations y_k exp(z t) obey

    (z - A_k) y_k = B_k u_k,    u_jk = Σ_term Σ_l W_kl exp(-z τ_kl) (C_l y_l)_o,

each term from one output o to one input j. With N_k(z) = C_k adj(z - A_k) B_k, a matrix, z is a
root where M(z) u = 0,

    M_ik,jl(z) = p_k(z) δ_ij δ_kl - Σ_term(o, i) W_kl exp(-z τ_kl) N_l(z)_oj.

The determinant of M is that of the whole system times p_k to the power of the number of inputs less
one, for each region: these roots at the regions' own eigenvalues are not meant (`aside`).
"""

import dataclasses
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np

from ngnmm_jax._core.arrays import as_array
from ngnmm_jax.dynamics.analytic_roots import AnalyticRoots
from ngnmm_jax.dynamics.gain_bounds import Fraction, Node, WideNode
from ngnmm_jax.systems.loops import Loop, column_bounds, linearised_loop, sizes

# Regions are alike whose linearisation is the same to this, relative.
_ALIKE = 1e-13
# Matrices that are filled together hold so many numbers, to stay in a processor's own cache.
_TOGETHER = 2**14


class Term(NamedTuple):
    """From an output to an input: `weights` and `times` (region, region), as of a `Loop`."""

    entry: int
    output: int
    weights: np.ndarray
    times: np.ndarray


class WideLoop(NamedTuple):
    """A linearised network of several outputs and inputs, on the host.

    - `node`: of one region where all are the same; all its outputs, and the inputs that are used.
    - `regions`: how many.
    """

    node: WideNode
    terms: tuple[Term, ...]
    regions: int

    @property
    def entries(self) -> int:
        """How many inputs are used."""
        return int(self.node.push.shape[-1])

    @property
    def size(self) -> int:
        """Of M."""
        return self.regions * self.entries

    @property
    def longest(self) -> float:
        """The longest delay."""
        return max(float(term.times.max()) for term in self.terms)

    @property
    def coupled(self) -> bool:
        """Whether anything is sent at all."""
        return any(bool(term.weights.any()) for term in self.terms)

    def characteristic(self, scale: float) -> "WideCharacteristic":
        """M(z), which changes over such a scale."""
        return WideCharacteristic(self, scale)

    @property
    def sent_shape(self) -> tuple[int, ...]:
        """(output, region)."""
        return self.node.sent.shape[1], self.regions

    def sent(self, function: "WideCharacteristic", found: AnalyticRoots) -> np.ndarray:
        """What regions send of each root's perturbation, (root, output, region)."""
        _, n, _, _ = function.parts(found.values[:, None])
        u = found.right.reshape(-1, self.entries, self.regions)
        return np.einsum("oizk,zik->zok", n, u)

    def gains(self, line: float) -> np.ndarray:
        """Bounds κ_l (region,), as `Loop.gains`: of blocks (input, output) by their norms."""
        outputs = self.node.sent.shape[1]
        blocks = np.zeros((self.entries, outputs, self.regions, self.regions))
        for term in self.terms:
            blocks[term.entry, term.output] += sizes(term.weights, term.times, line)
        # |T|² ≤ |T|₁ |T|∞, and less than the sum of squares.
        norm = np.sqrt(blocks.sum(axis=0).max(axis=0) * blocks.sum(axis=1).max(axis=0))
        norm = np.minimum(norm, np.sqrt((blocks**2).sum(axis=(0, 1))))
        gains = column_bounds(norm)
        return gains if len(self.node.matrix) > 1 else gains.max(keepdims=True)


def loop_of(network: Any, state: Any) -> Loop | WideLoop:
    """The loop of a network, or of what has its methods, at a state (variable, region)."""
    matrix, push, sent, terms = _linearised(network.bare(), as_array(state))
    parts = [np.moveaxis(np.asarray(p, float), -1, 0) for p in (matrix, push, sent)]
    if all((np.abs(part - part[:1]) <= _ALIKE * np.abs(part).max()).all() for part in parts):
        parts = [part[:1] for part in parts]
    weights = [np.asarray(factor * term.matrix(), float) for factor, term in terms]
    times = [0.0 if g.delays is None else np.asarray(g.times(), float) for _, g in terms]
    there = [np.where(w != 0, t, 0.0) for w, t in zip(weights, times, strict=True)]
    if network.model.outputs:
        return _wide(parts, weights, there)
    one = Node(parts[0], parts[1][:, :, 0], parts[2][:, 0])
    return Loop(one, np.stack([w[0, 0] for w in weights]), np.stack([t[0, 0] for t in there]))


def _wide(parts: list[np.ndarray], weights: list[np.ndarray], times: list[np.ndarray]) -> WideLoop:
    """Of parts of the node, and of terms (input, output, region, region) with their delays.

    In units of inputs and outputs in which the node's vectors are of one length.
    """
    matrix, push, sent = parts
    used = [i for i in range(push.shape[2]) if any(w[i].any() for w in weights)] or [0]
    into = np.linalg.norm(push, axis=1).max(axis=0)
    out = np.linalg.norm(sent, axis=2).max(axis=0)
    into, out = (np.where(size > 0, size, 1.0) for size in (into, out))
    terms = [
        Term(place, o, into[i] * out[o] * w[i, o], t[i, o])
        for w, t in zip(weights, times, strict=True)
        for place, i in enumerate(used)
        for o in range(sent.shape[1])
        if w[i, o].any()
    ]
    nothing = Term(0, 0, np.zeros_like(weights[0][0, 0]), np.zeros_like(weights[0][0, 0]))
    node = WideNode(matrix, (push / into)[:, :, used], sent / out[:, None])
    return WideLoop(node, tuple(terms) or (nothing,), weights[0].shape[-1])


@dataclasses.dataclass
class WideCharacteristic:
    """M(z) of a loop, as `roots_in` takes it; `scale`: over which it changes."""

    loop: WideLoop
    scale: float

    def __post_init__(self) -> None:
        loop, node = self.loop, self.loop.node
        self.size = loop.size
        unit = float(loop.gains(0.0).max())
        outputs = range(node.sent.shape[1])
        self.pairs = [
            [Fraction(node.pair(o, i), unit) for i in range(loop.entries)] for o in outputs
        ]
        each = node.rates
        each = np.broadcast_to(each, (loop.regions, each.shape[1])).ravel()
        self.aside = np.repeat(each, loop.entries - 1)

    def parts(self, z: np.ndarray) -> tuple[np.ndarray, ...]:
        """P (point, node), N (output, input, point, node), and their derivatives."""
        each = [[pair(z) for pair in row] for row in self.pairs]
        n, dn = (np.array([[part[k] for part in row] for row in each]) for k in (1, 3))
        return each[0][0][0], n, each[0][0][2], dn

    def __call__(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """M and M' (point, input and region, …)."""
        c, r = self.loop.entries, self.loop.regions
        value = np.zeros((z.size, c, r, c, r), complex)
        slope = np.zeros_like(value)
        chunk = max(1, _TOGETHER // self.size**2)
        for begin in range(0, z.size, chunk):
            part = slice(begin, begin + chunk)
            self.fill(z[part, None], value[part], slope[part])
        shape = (z.size, self.size, self.size)
        return value.reshape(shape), slope.reshape(shape)

    def fill(self, z: np.ndarray, value: np.ndarray, slope: np.ndarray) -> None:
        """M and M' of points (point, 1), into arrays of zeros."""
        p, n, dp, dn = self.parts(z)
        for term in self.loop.terms:
            passed = np.exp(-z[:, :, None] * term.times) * term.weights
            for j in range(self.loop.entries):
                gain, rise = n[term.output, j][:, None], dn[term.output, j][:, None]
                value[:, term.entry, :, j] -= passed * gain
                slope[:, term.entry, :, j] += passed * (term.times * gain - rise)
        diagonal = np.arange(self.loop.regions)
        for i in range(self.loop.entries):
            value[:, i, diagonal, i, diagonal] += p
            slope[:, i, diagonal, i, diagonal] += dp

    def possible(self, z: np.ndarray, reach: float) -> np.ndarray:
        """Where |N / p| κ comes near one."""
        result = np.zeros(z.shape, bool)
        for x in np.unique(z.real):
            which = np.flatnonzero(z.real == x)
            gains = self.loop.gains(float(x) - reach / 2)
            for move in reach / 2 * np.array([0, -1, 1, 1j, -1j]):
                p, n, _, _ = self.parts(z[which, None] + move)
                size = np.sqrt((np.abs(n) ** 2).sum(axis=(0, 1)))
                result[which] |= (size * gains >= 0.8 * np.abs(p)).any(axis=1)
        return result


_linearised = eqx.filter_jit(linearised_loop)
