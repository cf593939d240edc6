"""Couplings by the modes of their graphs: along which perturbations of regions alike part."""

from typing import Any

import jax
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.parameters import with_fields
from ngnmm_jax.coupling.base import AbstractCoupling
from ngnmm_jax.coupling.combined import CouplingSum
from ngnmm_jax.coupling.linear import LinearCoupling
from ngnmm_jax.graphs.base import AbstractGraph
from ngnmm_jax.graphs.structured import Alike

# Graphs commute, and have eigenvectors in common, where this is left of the weights, relative.
_COMMUTE, _SHARED = 1e-9, 1e-7
# A spectrum is real where imaginary parts are below this fraction of its radius.
_REAL = 1e-9
_TINY = 1e-300


def bends(coupling: AbstractCoupling) -> bool:
    """Whether a coupling has modes but is not linear."""
    return coupling.linear() is None and coupling.has_modes


def as_linear(coupling: AbstractCoupling) -> AbstractCoupling:
    """A linear coupling over the graph that it amounts to; others as they are."""
    graph = coupling.linear()
    return coupling if graph is None else LinearCoupling(graph, coupling.strength)


def alike(coupling: AbstractCoupling) -> AbstractCoupling:
    """A coupling that has modes, of regions that are all alike: each part over `Alike`."""
    if isinstance(coupling, CouplingSum):
        parts = {name: alike(part) for name, part in coupling.parts.items()}
        return with_fields(coupling, parts=parts)
    coupling = as_linear(coupling)
    sums = coupling.graph.row_sums(float).mean()
    return with_fields(coupling, graph=Alike(sums))


def graphs_of(coupling: AbstractCoupling) -> list[AbstractGraph]:
    """The graphs of which a coupling's modes are, in the order of its linearisation's terms."""
    if isinstance(coupling, CouplingSum):
        return [graph for part in coupling.parts.values() for graph in graphs_of(part)]
    return [as_linear(coupling).graph]


def proportional(coupling: AbstractCoupling) -> bool:
    """Whether what regions alike receive is a number times their output."""
    if isinstance(coupling, CouplingSum):
        return all(proportional(part) for part in coupling.parts.values())
    return type(coupling) is LinearCoupling


def gain(coupling: Any) -> Any:
    """That number, of what is `proportional`; elementwise over runs."""
    if isinstance(coupling, CouplingSum):
        return coupling.strength * sum(gain(part) for part in coupling.parts.values())
    return coupling.graph.apply(coupling.strength)


def commute(graphs: list[AbstractGraph]) -> bool:
    """Whether all do, to rounding; True where JAX traces their weights."""
    if len(graphs) < 2:
        return True
    if not _checks.is_concrete([graph.matrix() for graph in graphs]):
        return True
    return _apart(_matrices(graphs)) <= _COMMUTE


def joint_spectrum(graphs: list[AbstractGraph]) -> tuple[np.ndarray, int]:
    """Eigenvalues (mode, graph) of the modes that graphs have in common, and the uniform one.

    By falling real parts of the first graph's. `ValueError` where they do not commute, or their
    common eigenvectors are not found to 1e-7.
    """
    if not _checks.is_concrete([graph.matrix() for graph in graphs]):
        must = "be known where modes of several graphs are: give `lambdas` (mode, graph)"
        _checks.fail("weights", must, "JAX traces them")
    matrices = _matrices(graphs)
    left = _apart(matrices)
    if left > _COMMUTE:
        raise ValueError(
            "The graphs of these couplings do not commute (they miss it by "
            f"{left:.1g} of their size), so that they have no modes in common, and a perturbation "
            "of regions alike does not part into modes. What still works: `network.homogeneous()`, "
            "couplings that are all linear, graphs that follow from one another (the same, "
            "`LaplacianGraph` of one with equal sums of rows, `IdentityGraph`), and what takes the "
            "whole network (`simulate`, `find_equilibria`, `lyapunov_spectrum`, `linear_response`)."
        )
    sizes = [max(float(np.abs(m).max()), np.finfo(float).tiny) for m in matrices]
    # Of a mixture no two different modes have the same eigenvalue, but by chance.
    factors = np.random.default_rng(0).uniform(0.5, 1.5, len(matrices))
    mixed = sum(f * m / size for f, m, size in zip(factors, matrices, sizes, strict=True))
    vectors = np.linalg.eigh(mixed)[1] if _symmetric(mixed) else np.linalg.eig(mixed)[1]
    values = np.stack([(vectors.conj() * (m @ vectors)).sum(axis=0) for m in matrices], axis=1)
    for m, size, own in zip(matrices, sizes, values.T, strict=True):
        if np.abs(m @ vectors - vectors * own).max() > _SHARED * size:
            raise ValueError(
                "The eigenvectors that these couplings' graphs have in common are not known to "
                f"{_SHARED:g}: the weights are too far from a normal matrix. Use one graph, or "
                "what takes the whole network (`simulate`, `linear_response`)."
            )
    if np.abs(np.imag(values)).max() <= _REAL * np.abs(values).max():
        values = np.real(values)
    sums = np.array([m.sum(axis=1).mean() for m in matrices])
    order = np.lexsort((-values[:, 0].imag, -values[:, 0].real))
    values, vectors = values[order], vectors[:, order]
    # Of modes with the same values any will do.
    return values, int((np.abs(values - sums) / np.array(sizes)).sum(axis=1).argmin())


def _matrices(graphs: list[AbstractGraph]) -> list[np.ndarray]:
    with jax.ensure_compile_time_eval():
        return [np.asarray(graph.matrix(), float) for graph in graphs]


def _apart(matrices: list[np.ndarray]) -> float:
    """How far from commuting matrices are, relative to their size."""
    worst = 0.0
    for k, a in enumerate(matrices):
        for b in matrices[:k]:
            size: Any = np.linalg.norm(a) * np.linalg.norm(b)
            worst = max(worst, float(np.linalg.norm(a @ b - b @ a) / (size + _TINY)))
    return worst


def _symmetric(matrix: np.ndarray) -> bool:
    return bool(np.abs(matrix - matrix.T).max() <= 1e-12 * np.abs(matrix).max())
