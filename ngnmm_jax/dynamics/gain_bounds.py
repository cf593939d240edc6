"""Where the gain of a linear system, times a bound of what closes its loop, can reach one.

The gain g(z) = cᵀ (z - A)⁻¹ b of a node is analytic but at the eigenvalues of A, and falls to zero
far out. Where a loop passes it on at most κ times, roots of the closed loop have κ |g(z)| ≥ 1 or
lie at such an eigenvalue. By the maximum principle that is nowhere so in a half-plane, or a
quadrant, where it is not so on its edge and A has no eigenvalue inside; and on an edge κ |g| = 1
only at real eigenvalues (or imaginary ones) of a matrix of twice the size. So rectangles follow
that hold all roots: to rounding, and on the safe side of it.

Source: Boyd, Balakrishnan and Kabamba, Math. Control Signals Systems 2, 207 (1989).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

# A crossing counts as one on a line when it is as near as this, relative to all eigenvalues.
_CLEAR = 1e-8
# Rectangles are this much higher than they need be; steps that halve what they are too wide.
_ROOM, _HALVINGS = 1.05, 8


class Node(NamedTuple):
    """`matrix` A (node, variable, variable), `push` b and `sent` c (node, variable)."""

    matrix: np.ndarray
    push: np.ndarray
    sent: np.ndarray

    @property
    def rates(self) -> np.ndarray:
        """Eigenvalues of A, (node, variable)."""
        return np.linalg.eigvals(self.matrix)

    def through(self, gains: np.ndarray) -> np.ndarray:
        """κ b cᵀ (node, variable, variable)."""
        return gains[:, None, None] * self.push[:, :, None] * self.sent[:, None, :]

    def twofold(self, gains: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What leads from a mirror image of the node to it, from it to that, and A of that."""
        through = self.through(gains)
        return through, through, self.matrix


class WideNode(NamedTuple):
    """The same of several inputs and outputs: `push` (node, variable, input), `sent` (node, output,
    variable). Its gain g is a matrix, of which the norm |g| is the largest singular value.
    """

    matrix: np.ndarray
    push: np.ndarray
    sent: np.ndarray

    @property
    def rates(self) -> np.ndarray:
        """Eigenvalues of A, (node, variable)."""
        return np.linalg.eigvals(self.matrix)

    def twofold(self, gains: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """κ B Bᵀ, κ Cᵀ C and Aᵀ: as Boyd, Balakrishnan and Kabamba have them."""
        back = self.matrix.swapaxes(1, 2)
        push, sent = self.push @ self.push.swapaxes(1, 2), self.sent.swapaxes(1, 2) @ self.sent
        return gains[:, None, None] * push, gains[:, None, None] * sent, back

    def pair(self, output: int, entry: int) -> Node:
        """From one input to one output."""
        return Node(self.matrix, self.push[:, :, entry], self.sent[:, output])


class Bounds(NamedTuple):
    """Rectangles left ≤ Re z ≤ right, |Im z| ≤ top, (node,) each; `some`: whether there are roots.

    Where `some` is False there are none right of the line, and the rectangle is empty.
    """

    left: np.ndarray
    right: np.ndarray
    top: np.ndarray
    some: np.ndarray


def bounds(
    node: Node | WideNode, gains: Callable[[np.ndarray], np.ndarray], line: np.ndarray
) -> Bounds:
    """Rectangles that hold all roots right of lines.

    **Arguments:**

    - `gains`: κ (node,) where Re z ≥ x, of x (node,); it may not rise with x.
    - `line` (node,): Re z of the left edges.
    """
    rates, at_line = node.rates, gains(line)
    crossed = crossings(node, at_line, line)
    size = np.abs(np.concatenate([rates, crossed], axis=1)).max(axis=1)
    size = np.where(size > 0, size, 1.0)
    near = _CLEAR * size[:, None]

    def clear(x: np.ndarray) -> np.ndarray:
        cross = np.abs(crossings(node, gains(x), x).real - x[:, None]) <= near
        return (rates.real < x[:, None] - near).all(axis=1) & ~cross.any(axis=1)

    some = ~clear(line)
    low, step = line.copy(), np.where(some, 1e-3 * size, 0.0)
    going = some.copy()
    while going.any():
        going &= ~clear(low + step)
        low, step = np.where(going, low + step, low), np.where(going, 2 * step, step)
    high = low + step
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        free = clear(middle)
        low, high = np.where(free, low, middle), np.where(free, middle, high)
    right_of = rates.real >= line[:, None] - near
    on_line = np.abs(crossed.real - line[:, None]) <= near
    top = np.maximum(
        np.where(right_of, np.abs(rates.imag), 0).max(axis=1),
        np.where(on_line, np.abs(crossed.imag), 0).max(axis=1),
    )
    top = np.maximum(_ROOM * top, 1e-3 * (high - line))
    going = some.copy()
    while going.any():
        going &= ~_clear_above(node, at_line, top, line, near)
        top = np.where(going, _ROOM * top, top)
    return Bounds(line, np.where(some, high, line), np.where(some, top, 0.0), some)


def crossings(node: Node | WideNode, gains: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Complex z (node, 2 variable), of which those on the line have κ |g| = 1."""
    into, out, other = node.twofold(gains)
    mirrored = 2 * line[:, None, None] * np.eye(node.matrix.shape[-1]) - other
    return np.linalg.eigvals(np.block([[node.matrix, into], [-out, mirrored]]))


def _clear_above(
    node: Node | WideNode, gains: np.ndarray, height: np.ndarray, line: np.ndarray, near: Any
) -> np.ndarray:
    """Whether κ |g| stays below one where Im z is this and z right of the line."""
    into, out, other = node.twofold(gains)
    turn = 1j * height[:, None, None] * np.eye(node.matrix.shape[-1])
    x = np.linalg.eigvals(np.block([[node.matrix - turn, into], [out, other + turn]]))
    crosses = (np.abs(x.imag) <= near) & (x.real >= line[:, None] - near)
    return ~crosses.any(axis=1)


def monic(z: np.ndarray, zeros: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Π (z - zero) and its derivative at points (…, node), of zeros (node, variable)."""
    value, slope = np.ones(z.shape, complex), np.zeros(z.shape, complex)
    for zero in zeros.T:
        factor = z - zero
        slope = slope * factor + value
        value = value * factor
    return value, slope


class Fraction:
    """p(z) = det(z - A) and n(z) = cᵀ adj(z - A) b, the two parts of the gain, and derivatives.

    n is the difference of two determinants, det(z - A + κ b cᵀ) - p, over κ: to rounding of the
    larger one, so `unit` has to be about what multiplies n.
    """

    def __init__(self, node: Node, unit: float) -> None:
        self.unit = unit if unit > 0 else 1.0
        self.poles = node.rates
        closed = node.matrix - node.through(np.full(len(node.matrix), self.unit))
        self.closed = np.linalg.eigvals(closed)

    def __call__(self, z: np.ndarray) -> tuple[np.ndarray, ...]:
        """p, n and their derivatives at points (…, node)."""
        p, dp = monic(z, self.poles)
        other, d_other = monic(z, self.closed)
        return p, (other - p) / self.unit, dp, (d_other - dp) / self.unit
