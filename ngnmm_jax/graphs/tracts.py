"""Tracts between parcels of many regions each."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import with_fields
from ngnmm_jax.connectome import Connectome, Eigenmodes
from ngnmm_jax.connectome.eigenmodes import eigenmodes_of
from ngnmm_jax.graphs import spectra, symmetry
from ngnmm_jax.graphs.base import AbstractGraph, by_region
from ngnmm_jax.graphs.dense import MatrixGraph
from ngnmm_jax.models.parameters import as_float_array


class TractGraph(AbstractGraph):
    """Tracts between parcels: a vertex receives the weighted means over other parcels' vertices.

    Vertex v of parcel p gets Σ_q weights_pq mean_q(values), the mean over the vertices of q. Its
    matrix has the rank of the weights; its eigenvalues are theirs, and zeros.

    **Arguments:**

    - `weights` (parcel, parcel): row by row what a parcel receives; or a `Connectome`.
    - `parcels` (vertex,): the index of each vertex's parcel; -1 of one that is in none, which
      sends nothing and receives nothing. Every parcel must have vertices.
    - `areas` (vertex,): what each counts in its parcel's mean; by default all the same.
    """

    ADDS: ClassVar[str | None] = "weights"

    weights: Float[Array, "parcel parcel"]
    parcels: Int[Array, "vertex"]
    #: The vertices of each parcel (parcel, entry), -1 where it has fewer.
    members: Int[Array, "parcel entry"]
    #: What each vertex counts in its parcel's mean.
    shares: Float[Array, "vertex"]

    def __init__(self, weights: Any, parcels: Any, areas: Any = None) -> None:
        names = weights.labels if isinstance(weights, Connectome) else None
        weights = weights.weights if isinstance(weights, Connectome) else weights
        if _checks.is_concrete(weights):
            _checks.numbers("weights", weights)
        self.weights = as_float_array(weights)
        shape = self.weights.shape
        if len(shape) != 2 or shape[0] != shape[1] or not shape[0]:
            must = "be a square matrix (parcel, parcel), or a `Connectome`"
            _checks.fail("weights", must, f"its shape is {shape}")
        _checks.finite("weights", self.weights)
        parcels = _indices(parcels, shape[0])
        given = np.ones(len(parcels)) if areas is None else _checks.numbers("areas", areas)
        _checks.shape("areas", given, parcels.shape, "(vertex,)")
        _checks.positive("areas", given)
        counts = np.bincount(parcels[parcels >= 0], minlength=shape[0])
        empty = np.flatnonzero(counts == 0)
        if empty.size:
            named = ", ".join(f"{k}" if names is None else f"{k} ({names[k]})" for k in empty[:5])
            named += f" and {empty.size - 5} more" if empty.size > 5 else ""
            must = "give every parcel of `weights` a vertex"
            _checks.fail("parcels", must, f"these have none: {named}")
        self.parcels = as_array(parcels, jnp.int32)
        self.members = as_array(_members(parcels, counts))
        totals = np.bincount(parcels[parcels >= 0], given[parcels >= 0], shape[0])
        shares = np.where(parcels >= 0, given / totals[parcels], 0.0)
        self.shares = as_array(shares, self.weights.dtype)

    def card(self) -> tuple[str, dict[str, Any]]:
        """Its size, and the weights."""
        head = f"{type(self).__name__}: {self.n_regions} regions"
        return head, {"parcels": str(self.n_parcels), "weights": self.weights}

    def fits(self, other: Any) -> bool:
        """Whether it is between the same parcels; False where JAX traces them."""
        return (
            _checks.is_concrete(self, other)
            and other.n_parcels == self.n_parcels
            and np.array_equal(other.parcels, self.parcels)
            and np.array_equal(other.shares, self.shares)
        )

    @property
    def n_regions(self) -> int:
        """The number of vertices."""
        return int(self.parcels.shape[0])

    @property
    def n_parcels(self) -> int:
        """The number of parcels."""
        return int(self.weights.shape[0])

    @property
    def exact(self) -> bool:
        """All eigenvalues are those of the weights, and zeros."""
        return True

    def means(self, values: Num[Array, "region *run"]) -> Num[Array, "parcel *run"]:
        """Of each parcel, over its vertices."""
        values = as_array(values)
        return self._totals(by_region(jax.lax.stop_gradient(self.shares), values))

    def _totals(self, values: Any) -> Any:
        there = values.at[jnp.maximum(self.members, 0)].get(mode="promise_in_bounds")
        inside = (self.members >= 0).reshape(*self.members.shape, *(1,) * (values.ndim - 1))
        return jnp.where(inside, there, 0).sum(axis=1)

    def spread(self, values: Num[Array, "parcel *run"]) -> Num[Array, "region *run"]:
        """To each vertex its parcel's value; zero to those that are in none."""
        found = jnp.take(values, jnp.maximum(self.parcels, 0), axis=0)
        inside = (self.parcels >= 0).reshape(-1, *(1,) * (found.ndim - 1))
        return jnp.where(inside, found, 0)

    def apply(self, values: Num[Array, "region *run"]) -> Num[Array, "region *run"]:
        """From vertices to parcels, between these, and to vertices."""
        means = self.means(values)
        return self.spread(jnp.tensordot(self.weights, means, 1, precision="highest"))

    def apply_transposed(self, values: Num[Array, "region *run"]) -> Num[Array, "region *run"]:
        """From vertices to parcels, between these the other way, and to vertices by their areas."""
        totals = self._totals(as_array(values))
        totals = jnp.tensordot(self.weights.T, totals, 1, precision="highest")
        return by_region(jax.lax.stop_gradient(self.shares), self.spread(totals))

    def row_sums(self, dtype: Any = None) -> Float[Array, "region"]:
        """Those of the weights, of each vertex's parcel."""
        return self.spread(self.weights.sum(axis=1, dtype=dtype))

    def row_sizes(self) -> Float[Array, "region"]:
        """The absolute weights, summed."""
        return self.spread(jnp.abs(self.weights).sum(axis=1))

    def even(self) -> bool:
        """Whether all rows sum to the same, to their precision."""
        if not _checks.is_concrete(self):
            return True
        if bool((np.asarray(self.parcels) < 0).any()):
            return not np.asarray(self.weights).any()
        return self._small().even()

    def normalised(self) -> AbstractGraph:
        """The same with every row divided by its sum, which has to be positive."""
        self._positive_sums()
        return with_fields(self, weights=self.weights / self.weights.sum(axis=1, keepdims=True))

    def _small(self) -> AbstractGraph:
        """The graph of the parcels."""
        return MatrixGraph(self.weights)

    def spectrum(self) -> tuple[Any, int | None]:
        """Eigenvalues (mode,), sorted, and the index of the uniform mode."""
        values, uniform = self._small().spectrum()
        rest = self.n_regions - self.n_parcels
        if not _checks.is_concrete(self):
            return jnp.concatenate([values, jnp.zeros(rest, values.dtype)]), uniform
        whole = np.concatenate([values, np.zeros(rest, values.dtype)])
        order = np.lexsort((-whole.imag, -whole.real))
        even = uniform is not None and self.even()
        return whole[order], int(np.flatnonzero(order == uniform)[0]) if even else None

    def leading(self, k: int, which: str = "LR") -> Eigenmodes:
        """The first `k` eigenmodes: those of the weights, spread over the vertices.

        `ValueError` where modes that no tracts reach are among them: they are many, and any.
        """
        weights = np.asarray(self.weights, float)
        modes = eigenmodes_of(weights, bool(np.array_equal(weights, weights.T)))
        rest = np.zeros(self.n_regions - self.n_parcels)
        values = np.concatenate([modes.values, rest])
        order = np.lexsort((-values.imag, -values.real))
        kept = order[spectra.first_of(values[order], k, which)]
        if (kept >= self.n_parcels).any():
            must = f"be at most {int((kept < self.n_parcels).sum())}: further ones no tract reaches"
            _checks.fail("k", must, f"it is {k}")
        vectors = np.asarray(self.spread(as_array(modes.vectors[:, kept])))
        vectors = vectors / np.linalg.norm(vectors, axis=0)
        uniform = np.flatnonzero(kept == modes.uniform) if self.even() else np.zeros(0)
        first = int(uniform[0]) if uniform.size else None
        conditions = modes.conditions[kept]
        return Eigenmodes(
            modes.values[kept], vectors, modes.residual, first, conditions, modes.errors[kept]
        )

    def symmetriser(self) -> np.ndarray | None:
        """A vertex's share of its parcel's mean, times what makes the weights symmetric."""
        if not _checks.is_concrete(self):
            return None
        from scipy.sparse import csr_array

        between = symmetry.symmetriser_of(csr_array(np.asarray(self.weights, float)))
        if between is None:
            return None
        parcels = np.asarray(self.parcels)
        return np.where(parcels >= 0, np.asarray(self.shares, float) * between[parcels], 1.0)

    def components(self) -> np.ndarray:
        """For each region the number of the part that it is in; each that is in no parcel alone."""
        from scipy.sparse import csr_array

        between = symmetry.components_of(csr_array(np.asarray(self.weights)))
        parcels = np.asarray(self.parcels)
        alone = parcels < 0
        found = between[np.maximum(parcels, 0)]
        found[alone] = between.max() + 1 + np.arange(np.count_nonzero(alone))
        return found


def _indices(parcels: Any, count: int) -> np.ndarray:
    """Of parcels, checked."""
    found = _checks.numbers("parcels", parcels)
    if found.ndim != 1 or not found.size:
        must = "be one index for each vertex, (vertex,)"
        _checks.fail("parcels", must, f"its shape is {found.shape}")
    if found.dtype.kind not in "iu":
        _checks.fail("parcels", "be integers", f"they are {found.dtype}")
    low, high = int(found.min()), int(found.max())
    if low < -1 or high >= count:
        must = f"be from 0 to {count - 1}, or -1 of a vertex that is in none"
        _checks.fail("parcels", must, f"they are {low} … {high}")
    return found.astype(np.int64)


def _members(parcels: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Vertices (parcel, entry) of each parcel."""
    order = np.argsort(parcels, kind="stable")[np.count_nonzero(parcels < 0) :]
    there = np.arange(counts.max()) < counts[:, None]
    members = np.full(there.shape, -1, np.int32)
    members[there] = order
    return members
