"""Polynomial interpolation in Λ, real or complex."""

import jax
import jax.numpy as jnp


def interpolation_nodes(lambdas: jax.Array, count: int) -> jax.Array:
    """Chebyshev's nodes on the interval of real Λ, or equal steps on a circle around complex."""
    low, high = lambdas.real.min(), lambdas.real.max()
    centre = (low + high) / 2
    k = jnp.arange(count)
    if not jnp.iscomplexobj(lambdas):
        return centre + (high - low) / 2 * jnp.cos(jnp.pi * (k + 0.5) / count)
    return centre + jnp.abs(lambdas - centre).max() * jnp.exp(2j * jnp.pi * (k + 0.5) / count)


def interpolation(nodes: jax.Array, where: jax.Array) -> jax.Array:
    """The matrix (where, node) of polynomial interpolation, by the barycentric formula.

    Source: Berrut and Trefethen, SIAM Rev. 46, 501 (2004), doi 10.1137/S0036144502417715.
    """
    count = nodes.shape[0]
    k = jnp.arange(count)
    if jnp.iscomplexobj(nodes):
        weights = jnp.exp(2j * jnp.pi * (k + 0.5) / count)
    else:
        weights = (-1.0) ** k * jnp.sin(jnp.pi * (k + 0.5) / count)
    gap = where[:, None] - nodes[None]
    at_node = gap == 0
    terms = weights / jnp.where(at_node, 1, gap)
    terms = jnp.where(at_node.any(axis=1, keepdims=True), at_node, terms)
    return terms / terms.sum(axis=1, keepdims=True)
