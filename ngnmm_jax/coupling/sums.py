"""Couplings as weighted sums over a graph, by whose modes perturbations part."""

from ngnmm_jax.coupling.base import AbstractCoupling, AbstractSum
from ngnmm_jax.coupling.linear import LinearCoupling


def has_modes(coupling: AbstractCoupling) -> bool:
    """Whether, where regions are alike, perturbations part along the modes of its graph."""
    return coupling.linear() is not None or isinstance(coupling, AbstractSum)


def bends(coupling: AbstractCoupling) -> bool:
    """Whether a coupling has modes but is not linear."""
    return coupling.linear() is None and has_modes(coupling)


def as_sum(coupling: AbstractCoupling) -> AbstractSum:
    """A coupling that has modes, as one over the graph of which they are.

    A linear one over the graph that it amounts to; others as they are.
    """
    graph = coupling.linear()
    if graph is not None:
        return LinearCoupling(graph, coupling.strength)
    assert isinstance(coupling, AbstractSum)
    return coupling
