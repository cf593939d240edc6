"""Networks over other connectomes of the same regions: of other subjects, or after a lesion."""

from typing import Any

import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import with_fields
from ngnmm_jax.connectome import Connectome
from ngnmm_jax.connectome.parts import default_labels
from ngnmm_jax.coupling.base import AbstractCoupling
from ngnmm_jax.graphs.base import AbstractGraph
from ngnmm_jax.graphs.delayed import DelayedGraph
from ngnmm_jax.graphs.delays import TractDelays
from ngnmm_jax.graphs.dense import DenseGraph
from ngnmm_jax.graphs.structured import IdentityGraph


def reconnected(interaction: AbstractCoupling, connectome: Any) -> AbstractCoupling:
    """A coupling over another connectome of its regions, in the precision that its weights have.

    `ValueError` where it has other regions, or in another order, or lacks tract lengths; and of
    graphs that are not a connectome's, or not all of one. As they are stay delays that were given
    as times, and what regions give themselves (`graphs.IdentityGraph`).
    """
    if not isinstance(connectome, Connectome):
        connectome = Connectome(connectome)
    _same_regions(interaction.graph.labels, connectome)
    before: list[Any] = []

    def change(graph: AbstractGraph) -> AbstractGraph:
        if isinstance(graph, IdentityGraph):
            return graph
        if isinstance(graph, DelayedGraph):
            return DelayedGraph(change(graph.graph), _delays(graph.delays, connectome))
        if type(graph) is not DenseGraph:
            must = "be for networks over `graphs.DenseGraph`s: make those over others one by one"
            _checks.fail("connectome", must, f"this one has {_checks.kind_of(graph)}")
        before.append(np.asarray(graph.weights))
        if not np.array_equal(before[0], before[-1]):
            must = "be for networks of one connectome: make those of several one by one"
            _checks.fail("connectome", must, "couplings of this one have different weights")
        found = DenseGraph(connectome)
        return with_fields(found, weights=found.weights.astype(graph.weights.dtype))

    return interaction.over(change)


def _delays(delays: Any, connectome: Connectome) -> Any:
    """The same delays, those of tracts by the lengths of a connectome."""
    if not isinstance(delays, TractDelays):
        return delays
    if connectome.tract_lengths is None:
        must = "have tract lengths, of which this network's delays are made"
        _checks.fail("connectome", must, f"{connectome.name!r} has none")
    return with_fields(delays, lengths=as_array(connectome.tract_lengths, delays.lengths.dtype))


def _same_regions(labels: tuple[str, ...], connectome: Connectome) -> None:
    """Refuse other regions than those, and another order; names by number say nothing."""
    n, name = len(labels), connectome.name
    if connectome.n_regions != n:
        but = f"{name!r} has {connectome.n_regions}"
        _checks.fail("connectome", f"have the network's {n} regions", but)
    theirs, numbered = connectome.labels, default_labels(n)
    if theirs == labels or numbered in (theirs, labels):
        return
    if sorted(theirs) == sorted(labels):
        must = "have its regions in the network's order: use `connectome.take(network.labels)`"
        first = next(k for k in range(n) if theirs[k] != labels[k])
        but = f"number {first} of {name!r} is {theirs[first]!r}, not {labels[first]!r}"
        _checks.fail("connectome", must, but)
    other = next(label for label in theirs if label not in labels)
    _checks.fail("connectome", "have the network's regions", f"{name!r} has {other!r}")
