"""Sums of graphs of one kind, as one graph of that kind."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.parameters import with_fields
from ngnmm_jax.graphs.base import AbstractGraph
from ngnmm_jax.graphs.convolution import AbstractConvolution
from ngnmm_jax.graphs.sparse import SparseGraph
from ngnmm_jax.graphs.sphere import SphereGraph
from ngnmm_jax.graphs.tracts import TractGraph


def merged(whole: Any) -> AbstractGraph:
    """One graph of the same matrix as a sum's; the sum, where there is none of its parts' kind."""
    parts = whole.parts
    factors = whole.factors or (1.0,) * len(parts)
    kind = type(parts[0])
    if whole.delays is not None or any(type(part) is not kind for part in parts):
        return whole
    if kind is SparseGraph and _checks.is_concrete(whole):
        total: Any = sum(_scaled(part.sparse(), f) for part, f in zip(parts, factors, strict=True))
        return SparseGraph(total, parts[0].names)
    if any(jnp.ndim(f) for f in factors):
        return whole
    name = _same(parts)
    if name is None:
        return whole
    values = sum(f * getattr(part, name) for part, f in zip(parts, factors, strict=True))
    return with_fields(parts[0], **{name: values})


def _same(parts: Any) -> str | None:
    """The field by which parts add, where all else in them is the same."""
    first = parts[0]
    if isinstance(first, AbstractConvolution):
        return "kernel" if all(part.shape == first.shape for part in parts) else None
    if isinstance(first, SphereGraph):
        return "gains" if all(part.shape == first.shape for part in parts) else None
    if isinstance(first, TractGraph) and _checks.is_concrete(parts):
        alike = all(
            part.n_parcels == first.n_parcels
            and np.array_equal(part.parcels, first.parcels)
            and np.array_equal(part.shares, first.shares)
            for part in parts
        )
        return "weights" if alike else None
    return None


def _scaled(weights: Any, factor: Any) -> Any:
    """Sparse weights with rows times a factor."""
    from scipy.sparse import diags_array

    if not jnp.ndim(factor):
        return weights * float(factor)
    return (diags_array(np.asarray(factor, float)) @ weights).tocsr()
