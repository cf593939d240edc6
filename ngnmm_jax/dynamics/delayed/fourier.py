"""Trigonometric interpolation of functions with period one, at an odd number of equal steps.

Source: Trefethen, Spectral Methods in MATLAB (2000), ch. 3.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Inexact


def derivative_matrix(nodes: int) -> np.ndarray:
    """The matrix (node, node) that differentiates."""
    k = np.arange(1, nodes // 2 + 1)
    angle = 2 * np.pi * np.arange(nodes) / nodes
    column = -(4 * np.pi / nodes) * (k * np.sin(np.outer(angle, k))).sum(axis=1)
    return column[_circulant(nodes)]


def shift_matrix(nodes: int, back: Any) -> tuple[Float[Array, "node node"], Any]:
    """The matrix that gives the values a time `back` ago, and its derivative by that time."""
    k = jnp.arange(1, nodes // 2 + 1)
    angle = 2 * jnp.pi * (jnp.arange(nodes)[:, None] / nodes - back) * k
    column = (1 + 2 * jnp.cos(angle).sum(axis=1)) / nodes
    slope = (4 * jnp.pi / nodes) * (k * jnp.sin(angle)).sum(axis=1)
    index = _circulant(nodes)
    return column[index], slope[index]


def _circulant(nodes: int) -> np.ndarray:
    """Entry (j, l) is at j - l of the column."""
    j = np.arange(nodes)
    return (j[:, None] - j) % nodes


def coefficients(values: Float[Array, "node *axes"]) -> Complex[Array, "frequency *axes"]:
    """Of the non-negative frequencies."""
    return jnp.fft.rfft(values, axis=0) / values.shape[0]


def evaluate(
    series: Complex[Array, "frequency variable"], where: Float[Array, "place"]
) -> tuple[Float[Array, "place variable"], Float[Array, "place variable"]]:
    """A function of these coefficients, and its derivative, at places in units of the period."""
    k = jnp.arange(series.shape[0])
    turn = jnp.exp(2j * jnp.pi * where[:, None] * k)
    doubled = jnp.where(k[:, None] > 0, 2, 1) * series
    return (turn @ doubled).real, (turn @ (2j * jnp.pi * k[:, None] * doubled)).real


def tail(values: Float[Array, "node variable"]) -> Inexact[Array, ""]:
    """The largest coefficient among the last third of frequencies, relative to the extent."""
    sizes = jnp.abs(coefficients(values))
    extent = jnp.maximum(jnp.ptp(values, axis=0), 1e-300)
    first = 2 * sizes.shape[0] // 3
    return (sizes[first:] / extent).max()
