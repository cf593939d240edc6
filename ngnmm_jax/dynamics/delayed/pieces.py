"""Periodic functions as polynomials on pieces of their period, at Chebyshev's points.

Times are in units of the period. Pieces meet: the last point of one is the first of the next.

Source: Trefethen, Spectral Methods in MATLAB (2000), ch. 6.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

#: Points in a piece at which an equation holds; there is one more, at its beginning.
POINTS = 12


def _chebyshev() -> tuple[np.ndarray, np.ndarray]:
    """The extrema of a Chebyshev polynomial on [0, 1], rising, and the matrix of derivatives."""
    n = POINTS
    x = -np.cos(np.pi * np.arange(n + 1) / n)
    c = np.r_[2.0, np.ones(n - 1), 2.0] * (-1.0) ** np.arange(n + 1)
    matrix = np.outer(c, 1 / c) / (x[:, None] - x + np.eye(n + 1))
    matrix -= np.diag(matrix.sum(axis=1))
    return (x + 1) / 2, 2 * matrix


#: Where the points lie in a piece, and the matrix that differentiates in units of its width.
PLACES, DERIVATIVE = _chebyshev()
# Coefficients of Chebyshev's polynomials from values at the points.
_TO_COEFFICIENTS = np.linalg.inv(np.polynomial.chebyshev.chebvander(2 * PLACES - 1, POINTS))
# A share of the pieces is spread evenly: half where the rest follows how fast the function moves,
# little where it follows the error.
_EVENLY, _LITTLE = 0.5, 0.1


class Path(NamedTuple):
    """A periodic function: the ends of its pieces, from 0 to 1, and its values at their points."""

    mesh: Float[Array, "end"]
    values: Float[Array, "piece point variable"]


def times(mesh: jax.Array) -> Float[Array, "piece point"]:
    """Of the points."""
    return mesh[:-1, None] + jnp.diff(mesh)[:, None] * PLACES


def lagrange(where: jax.Array) -> Float[Array, "place point"]:
    """Lagrange's polynomials at places in a piece, as products: differentiable at the points."""
    n = PLACES.size
    gaps = PLACES[:, None] - PLACES + np.eye(n)
    factors = jnp.where(np.eye(n, dtype=bool), 1.0, (where[:, None, None] - PLACES) / gaps)
    return factors.prod(axis=2)


def located(mesh: jax.Array, where: jax.Array) -> tuple[jax.Array, jax.Array]:
    """In which piece of a mesh times lie, and how Lagrange's polynomials count there."""
    fixed = jax.lax.stop_gradient(where)
    piece = jnp.clip(jnp.searchsorted(mesh, fixed, side="right") - 1, 0, mesh.size - 2)
    width = jnp.diff(mesh)
    return piece, lagrange((where - mesh[piece]) / width[piece])


def rows(mesh: jax.Array, where: jax.Array) -> Float[Array, "place place_on_mesh"]:
    """How values at times follow from those at all points of a mesh, in their order."""
    piece, weights = located(mesh, where)
    spread = jax.nn.one_hot(piece, mesh.size - 1)[:, :, None] * weights[:, None]
    return spread.reshape(where.shape[0], -1)


def evaluate(path: Path, where: Float[Array, "place"]) -> Float[Array, "place variable"]:
    """The function at any times."""
    piece, weights = located(path.mesh, where - jnp.floor(jax.lax.stop_gradient(where)))
    return jnp.einsum("ij,ija->ia", weights, path.values[piece])


def slopes(path: Path) -> Float[Array, "piece point variable"]:
    """The derivative at the points."""
    widths = jnp.diff(path.mesh)[:, None, None]
    return jnp.einsum("ij,kja->kia", DERIVATIVE, path.values) / widths


def sequence(path: Path) -> tuple[Float[Array, "sample"], Float[Array, "sample variable"]]:
    """Times and values one after another, from 0 to 1."""
    at, values = times(path.mesh)[:, :-1].ravel(), path.values
    every = values[:, :-1].reshape(-1, values.shape[-1])
    return jnp.append(at, 1.0), jnp.concatenate([every, values[-1, -1:]])


def from_sequence(at: jax.Array, values: jax.Array) -> Path:
    """The function again."""
    count, n = (at.size - 1) // POINTS, values.shape[-1]
    first = values[:-1].reshape(count, POINTS, n)
    last = jnp.concatenate([first[1:, :1], values[-1:, None]])
    return Path(at[::POINTS], jnp.concatenate([first, last], axis=1))


def on_pieces(path: Path, count: int) -> Path:
    """The same function on other pieces, which share its error evenly.

    By the last coefficients, which fall with a piece's width to the power of their number.
    """
    widths = jnp.diff(path.mesh)
    density = jnp.maximum(_last(path), 1e-15) ** (1 / POINTS) / widths
    density = jnp.maximum(density, jnp.maximum(jnp.roll(density, 1), jnp.roll(density, -1)) / 2)
    share = density * widths / (density @ widths)
    mesh = _shared(path.mesh, _LITTLE * widths + (1 - _LITTLE) * share, count)
    inside = evaluate(path, times(mesh).ravel())
    return Path(mesh, inside.reshape(count, POINTS + 1, -1))


def from_even(values: Float[Array, "sample variable"], count: int) -> Path:
    """A function by its values at equal steps, which cubics are laid through."""
    n = values.shape[0]

    def between(where: jax.Array) -> jax.Array:
        first = jnp.floor(where * n)
        s, k = (where * n - first)[:, None], first.astype(int)
        y0, y1, y2, y3 = (values[(k + j) % n] for j in (-1, 0, 1, 2))
        a, b = (y3 - y0) / 2 - 1.5 * (y2 - y1), y0 - 2.5 * y1 + 2 * y2 - y3 / 2
        return y1 + s * ((y2 - y0) / 2 + s * (b + s * a))

    extent = jnp.maximum(jnp.ptp(values, axis=0), 1e-300)
    moves = jnp.abs((jnp.roll(values, -1, axis=0) - values) / extent).sum(axis=1)
    share = _EVENLY / n + (1 - _EVENLY) * moves / jnp.maximum(moves.sum(), 1e-300)
    mesh = _shared(jnp.arange(n + 1) / n, share, count)
    inside = between((times(mesh) % 1.0).ravel())
    return Path(mesh, inside.reshape(count, POINTS + 1, values.shape[1]))


def _shared(ends: jax.Array, share: jax.Array, count: int) -> jax.Array:
    """A mesh whose pieces have equal parts of what is shared between other ones."""
    total = jnp.append(0.0, jnp.cumsum(share))
    mesh = jnp.interp(jnp.linspace(0.0, 1.0, count + 1) * total[-1], total, ends)
    return mesh.at[0].set(0.0).at[-1].set(1.0)


def halved(path: Path) -> Path:
    """The same function, each piece cut in two."""
    middle = (path.mesh[:-1] + path.mesh[1:]) / 2
    mesh = jnp.append(jnp.stack([path.mesh[:-1], middle], axis=1).ravel(), 1.0)
    inside = evaluate(path, times(mesh)[:, :-1].ravel())
    first = inside.reshape(mesh.size - 1, POINTS, -1)
    last = jnp.concatenate([first[1:, :1], path.values[-1:, -1:]])
    return Path(mesh, jnp.concatenate([first, last], axis=1))


def merged(path: Path) -> Path:
    """The function by every second end of its pieces."""
    mesh = path.mesh[::2]
    mesh = mesh if path.mesh.size % 2 else jnp.append(mesh, 1.0)
    inside = evaluate(path, times(mesh)[:, :-1].ravel())
    return from_sequence(
        jnp.append(times(mesh)[:, :-1].ravel(), 1.0),
        jnp.concatenate([inside, path.values[-1, -1:]]),
    )


def roughness(path: Path) -> Float[Array, ""]:
    """The largest of the pieces' last coefficients, relative to the function's extent."""
    return _last(path).max()


def _last(path: Path) -> Float[Array, "piece"]:
    """The largest of the last two coefficients of each piece, relative to the extent."""
    extent = jnp.ptp(path.values.reshape(-1, path.values.shape[-1]), axis=0)
    last = jnp.einsum("ij,kja->kia", _TO_COEFFICIENTS[-2:], path.values)
    return (jnp.abs(last) / jnp.maximum(extent, 1e-300)).max(axis=(1, 2))
