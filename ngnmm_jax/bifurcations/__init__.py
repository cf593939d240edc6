"""Bifurcations: branches of equilibria and cycles, and their bifurcations in two parameters."""

from ngnmm_jax.bifurcations.branches import BRANCHES, SPECIAL, Branch, Diagram, SpecialPoint
from ngnmm_jax.bifurcations.curves import (
    continue_bifurcation,
    continue_cycles,
    continue_equilibria,
)
from ngnmm_jax.bifurcations.diagrams import bifurcation_diagram, two_parameter_diagram
from ngnmm_jax.bifurcations.families import bifurcation_family

__all__ = [
    "BRANCHES",
    "SPECIAL",
    "Branch",
    "Diagram",
    "SpecialPoint",
    "bifurcation_diagram",
    "bifurcation_family",
    "continue_bifurcation",
    "continue_cycles",
    "continue_equilibria",
    "two_parameter_diagram",
]
