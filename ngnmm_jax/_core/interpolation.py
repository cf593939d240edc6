"""Polynomial interpolation in Λ, real or complex. `xp` is NumPy or JAX's, as the arrays are."""

from typing import Any

import jax.numpy as jnp


def interpolation_nodes(lambdas: Any, count: int, xp: Any = jnp) -> Any:
    """Chebyshev's nodes on the interval of real Λ, or equal steps on a circle around complex."""
    low, high = lambdas.real.min(), lambdas.real.max()
    centre = (low + high) / 2
    k = xp.arange(count)
    if not xp.iscomplexobj(lambdas):
        return centre + (high - low) / 2 * xp.cos(xp.pi * (k + 0.5) / count)
    return centre + xp.abs(lambdas - centre).max() * xp.exp(2j * xp.pi * (k + 0.5) / count)


def interpolation(nodes: Any, where: Any, xp: Any = jnp) -> Any:
    """The matrix (where, node) of polynomial interpolation, by the barycentric formula.

    Source: Berrut and Trefethen, SIAM Rev. 46, 501 (2004), doi 10.1137/S0036144502417715.
    """
    count = nodes.shape[0]
    k = xp.arange(count)
    if xp.iscomplexobj(nodes):
        weights = xp.exp(2j * xp.pi * (k + 0.5) / count)
    else:
        weights = (-1.0) ** k * xp.sin(xp.pi * (k + 0.5) / count)
    gap = where[:, None] - nodes[None]
    at_node = gap == 0
    terms = weights / xp.where(at_node, 1, gap)
    terms = xp.where(at_node.any(axis=1, keepdims=True), at_node, terms)
    return terms / terms.sum(axis=1, keepdims=True)
