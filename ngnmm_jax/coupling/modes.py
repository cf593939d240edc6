"""Couplings over the graph by whose modes perturbations part."""

from ngnmm_jax.coupling.base import AbstractCoupling
from ngnmm_jax.coupling.linear import LinearCoupling


def has_modes(coupling: AbstractCoupling) -> bool:
    """Whether, where regions are alike, perturbations part along the modes of its graph."""
    return coupling.linear() is not None or coupling.HAS_MODES


def bends(coupling: AbstractCoupling) -> bool:
    """Whether a coupling has modes but is not linear."""
    return coupling.linear() is None and coupling.HAS_MODES


def over_modes(coupling: AbstractCoupling) -> AbstractCoupling:
    """A coupling that has modes, as one over the graph of which they are.

    A linear one over the graph that it amounts to; others as they are.
    """
    graph = coupling.linear()
    return coupling if graph is None else LinearCoupling(graph, coupling.strength)
