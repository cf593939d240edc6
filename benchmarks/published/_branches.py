"""Branches of one region, each computed once."""

import functools
from typing import Any

import jax.numpy as jnp

import ngnmm_jax as ng


def alone(model: Any, coupling: float = 0.0) -> ng.Homogeneous:
    """A model's homogeneous system; without coupling one region alone."""
    return ng.Homogeneous(model, jnp.asarray(coupling))


@functools.cache
def equilibria(kind: type, name: str, low: float, high: float, *set_: tuple[str, float]) -> Any:
    """The branch through the first equilibrium at the lowest value; `coupling` may be set too."""
    given = dict(set_)
    coupling = given.pop("coupling", 0.0)
    system = alone(kind(**{name: low, **given}), coupling)
    return system, ng.continue_equilibria(system, {name: (low, high)}, progress=False)


def located(branch: Any, kind: str, k: int) -> float:
    """The k-th special point of a kind, by rising parameter."""
    return sorted(float(point.parameter) for point in branch.of_kind(kind))[k]
