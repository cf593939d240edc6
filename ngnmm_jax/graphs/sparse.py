"""A graph of which only the connections that there are take memory and time."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import with_fields
from ngnmm_jax.graphs import symmetry
from ngnmm_jax.graphs.base import AbstractGraph

# Senders that one pass over all regions reads; but all at once of no more values than this.
_BLOCK, _AT_ONCE = 8, 2**17
# Rows are parted by their numbers of connections where filling up all to the longest row would
# make more than this many times as many entries as there are.
_FILLED = 1.3
_MUST = "be a SciPy sparse matrix, (receivers, senders, weights), or the path of an `.npz` of one"


class SparseGraph(AbstractGraph):
    """Connections that there are: region j gets Σ_k weights_jk values_k over those it has.

    **Arguments:**

    - `weights`: a SciPy sparse matrix or array (region, region), row by row what a region
      receives; or (receivers, senders, weights), three arrays (connection,); or the path of an
      `.npz` that `scipy.sparse.save_npz` wrote; or a `Connectome`. Finite, of any sign. What
      stands twice is refused, for whether it adds or replaces is not known; zeros that a matrix
      stores are no connections.
    - `n_regions`: how many there are, where `weights` are three arrays; by default one more than
      the largest index.
    - `labels` (region,): names; "region 0" … by default.

    Rows are stored side by side: entry k of all rows, then entry k + 1, rows of many connections
    and of few in groups of their own; each entry is read once. Chosen by times on two (busy) cores,
    65,536 regions of 40 connections in 64 bits, ms for one state and for 16 runs: so 2 and 18;
    gathered at once and summed 4 and 235; `segment_sum` 6 and 327; JAX's BCSR 24 and 9. Backward,
    derivatives by values scatter, which takes some ten times as long. Those by `weights` are of
    connections that there are.
    """

    #: Of each group of rows, (entry, row); zero where a row has fewer.
    weights: tuple[Float[Array, "entry row"], ...]
    #: The region from which each comes; -1 where a row has fewer.
    senders: tuple[Int[Array, "entry row"], ...]
    #: Where each region's row stands among all; None where rows stand in order.
    places: Int[Array, "region"] | None
    names: tuple[str, ...] | None = eqx.field(static=True, metadata={"decides": False})

    def __init__(
        self,
        weights: Any,
        labels: Sequence[str] | None = None,
        *,
        n_regions: int | None = None,
    ) -> None:
        matrix, given = _read(weights, n_regions)
        labels = given if labels is None else _checks.names("labels", labels)
        n = matrix.shape[0]
        if labels is not None and len(labels) != n:
            _checks.fail("labels", f"have {n} entries, one per region", f"it has {len(labels)}")
        if labels is not None and len(set(labels)) != n:
            _checks.fail("labels", "be unique", "some stand more than once")
        self.names = labels
        groups, self.places = _grouped(matrix)
        self.weights = tuple(as_array(values) for values, _ in groups)
        self.senders = tuple(as_array(senders) for _, senders in groups)

    def card(self) -> tuple[str, dict[str, Any]]:
        """Its size, and how many connections it has."""
        head = f"{type(self).__name__}: {self.n_regions} regions"
        if not _checks.is_concrete(self):
            return head, {}
        counts = self._counts()
        rows = {"connections": int(counts.sum()), "for each region": counts}
        values = np.concatenate([np.asarray(w).ravel() for w in self.weights])
        return head, {**rows, "weights": values}

    def _counts(self) -> np.ndarray:
        """How many connections each region receives."""
        counts = [(np.asarray(senders) >= 0).sum(axis=0) for senders in self.senders]
        found = np.concatenate(counts)
        return found if self.places is None else found[np.asarray(self.places)]

    @property
    def n_regions(self) -> int:
        """The number of regions."""
        return sum(int(senders.shape[1]) for senders in self.senders)

    @property
    def labels(self) -> tuple[str, ...]:
        """The regions' names."""
        return super().labels if self.names is None else self.names

    def apply(self, values: Num[Array, "region *run"]) -> Num[Array, "region *run"]:
        """Σ_k weights_jk values_k over the connections that there are."""
        found = [gathered(w, s, values) for w, s in zip(self.weights, self.senders, strict=True)]
        together = found[0] if len(found) == 1 else jnp.concatenate(found)
        return together if self.places is None else _taken(together, self.places)

    def row_sums(self, dtype: Any = None) -> Float[Array, "region"]:
        """The sum of each row, in the weights' type or another."""
        return self._over_rows([w.sum(axis=0, dtype=dtype) for w in self._there()])

    def row_sizes(self) -> Float[Array, "region"]:
        """The sum of the absolute weights of each row."""
        return self._over_rows([jnp.abs(w).sum(axis=0) for w in self._there()])

    def _there(self) -> list[Any]:
        """Weights of connections that there are; zeros where rows are filled up."""
        pairs = zip(self.weights, self.senders, strict=True)
        return [jnp.where(senders >= 0, w, 0) for w, senders in pairs]

    def _over_rows(self, each: list[Any]) -> Any:
        together = jnp.concatenate(each)
        return together if self.places is None else _taken(together, self.places)

    def normalised(self) -> "SparseGraph":
        """The same with every row divided by its sum; refused where one is not positive."""
        sums = self._positive_sums()
        if self.places is not None:  # in the order of rows
            sums = jnp.zeros_like(sums).at[self.places].set(sums)
        ends = np.cumsum([s.shape[1] for s in self.senders])
        parts = jnp.split(sums, ends[:-1])
        scaled = tuple(w / part for w, part in zip(self.weights, parts, strict=True))
        return with_fields(self, weights=scaled)

    def together(
        self, parts: tuple[AbstractGraph, ...], factors: tuple[Any, ...]
    ) -> AbstractGraph | None:
        """One graph of sparse weights."""
        from scipy.sparse import diags_array

        same: Any = parts
        if not _checks.is_concrete(same, factors):
            return None
        rows = [np.broadcast_to(np.asarray(f, float), self.n_regions) for f in factors]
        each = [diags_array(f) @ part.sparse() for part, f in zip(same, rows, strict=True)]
        return SparseGraph(sum(each[1:], each[0]).tocsr(), self.names)

    def sparse(self) -> Any:
        """The weights as a SciPy sparse array (region, region) in rows; they must be known."""
        from scipy.sparse import coo_array

        where = np.arange(self.n_regions)
        if self.places is not None:
            where[np.asarray(self.places)] = np.arange(self.n_regions)
        rows, columns, values, begin = [], [], [], 0
        for w, senders in zip(self.weights, self.senders, strict=True):
            there = np.asarray(senders) >= 0
            own = where[begin : begin + there.shape[1]]
            rows.append(np.broadcast_to(own, there.shape)[there])
            columns.append(np.asarray(senders)[there])
            values.append(np.asarray(w)[there])
            begin += there.shape[1]
        parts = [np.concatenate(each) for each in (values, rows, columns)]
        shape = (self.n_regions, self.n_regions)
        return coo_array((parts[0], (parts[1], parts[2])), shape=shape).tocsr()

    def symmetriser(self) -> np.ndarray | None:
        """Positive numbers d (region,) for which d_j weights_jk is symmetric, or None."""
        if not _checks.is_concrete(self):
            return None
        weights = self.sparse().astype(float)
        weights.eliminate_zeros()
        return symmetry.symmetriser_of(weights)

    def components(self) -> np.ndarray:
        """For each region the number of the part that it is in."""
        return symmetry.components_of(self.sparse())

    def transposed(self) -> "SparseGraph":
        """The same with all connections the other way round."""
        return SparseGraph(self.sparse().T, self.names)

    def bare(self) -> "SparseGraph":
        """The same without names, which no program depends on."""
        return self if self.names is None else with_fields(self, names=None)


def _read(weights: Any, n_regions: int | None) -> tuple[Any, tuple[str, ...] | None]:
    """A SciPy array in rows, checked; names where these are known."""
    from scipy.sparse import coo_array, csr_array, issparse, load_npz

    from ngnmm_jax.connectome import Connectome

    labels = None
    if isinstance(weights, Connectome):
        weights, labels = csr_array(weights.weights), weights.labels
    if isinstance(weights, str | Path):
        try:
            weights = load_npz(weights)
        except (ValueError, KeyError) as error:
            _checks.fail("weights", _MUST, f"`{weights}` is none: {error}")
    if issparse(weights):
        given = coo_array(weights)
        shape, values = given.shape, given.data
        rows, columns = given.row, given.col
        if n_regions is not None:
            _checks.fail("n_regions", "be left out where a matrix has its size", "it is given")
    elif isinstance(weights, tuple) and len(weights) == 3:
        rows, columns, values = _edges(weights)
        largest = max(map(int, (rows.max(initial=-1), columns.max(initial=-1))))
        if n_regions is not None:
            _checks.positive_integer("n_regions", n_regions)
        shape = ((largest + 1 if n_regions is None else int(n_regions)),) * 2
        if (rows.size and min(int(rows.min()), int(columns.min())) < 0) or largest >= shape[0]:
            but = f"they are {min(rows.min(), columns.min())} … {largest}"
            _checks.fail("weights", f"have indices from 0 to {shape[0] - 1}", but)
    else:
        _checks.fail("weights", _MUST, f"it is {_checks.kind_of(weights)}")
    if len(shape) != 2 or shape[0] != shape[1] or not shape[0]:
        _checks.fail("weights", "be square, with a region at least", f"its shape is {shape}")
    values = _checks.numbers("weights", values, booleans=True)
    values = values if values.dtype == np.float32 else values.astype(float)
    _checks.finite("weights", values)
    matrix = csr_array((values, (rows, columns)), shape=shape)
    if matrix.nnz < values.size:  # what stands twice was added up
        _refuse_twice(rows, columns, shape[0])
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return matrix, labels


def _edges(weights: tuple[Any, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Receivers, senders and weights (connection,)."""
    found = [_checks.numbers("weights", part, booleans=False) for part in weights]
    if any(part.ndim != 1 or part.shape != found[0].shape for part in found):
        but = f"their shapes are {', '.join(str(part.shape) for part in found)}"
        _checks.fail("weights", "be three arrays (connection,) of the same length", but)
    for part in found[:2]:
        if part.dtype.kind not in "iu" and part.size:
            _checks.fail("weights", "have integers as indices", f"they are {part.dtype}")
    return found[0].astype(np.int64), found[1].astype(np.int64), found[2]


def _refuse_twice(rows: Any, columns: Any, n: int) -> None:
    """Refuse connections that stand more than once."""
    codes = np.sort(np.asarray(rows, np.int64) * n + columns)
    twice = np.flatnonzero(codes[1:] == codes[:-1])
    to, source = divmod(int(codes[twice[0]]), n)
    but = f"{twice.size} stand again, as that to region {to} from region {source}"
    must = "have each connection once (`weights.sum_duplicates()` adds those that stand twice)"
    _checks.fail("weights", must, but)


def _grouped(matrix: Any) -> tuple[list[tuple[np.ndarray, np.ndarray]], Any]:
    """Weights and senders (entry, row) of groups of rows, and the places of rows among them."""
    counts = np.diff(matrix.indptr)
    n, longest = len(counts), int(counts.max(initial=0))
    if longest * n <= _FILLED * max(matrix.nnz, 1) or longest <= _BLOCK:
        return [_filled(matrix, np.arange(n), max(longest, 1))], None
    # Longest first; each group's rows are at least half as long as its longest.
    widths = [longest]
    while widths[-1] > _BLOCK:
        widths.append(max(widths[-1] // 2, _BLOCK))
    kind = len(widths) - np.searchsorted(widths[::-1], counts, side="left") - 1
    order = np.argsort(kind, kind="stable")
    groups = []
    for each in np.unique(kind):
        rows = order[kind[order] == each]
        groups.append(_filled(matrix, rows, max(int(counts[rows].max()), 1)))
    places = np.empty(n, np.int32)
    places[order] = np.arange(n)
    return groups, as_array(places)


def _filled(matrix: Any, rows: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights and senders (entry, row) of some rows."""
    begin, counts = matrix.indptr[rows], np.diff(matrix.indptr)[rows]
    there = np.arange(width)[:, None] < counts
    entries = (begin + np.arange(width)[:, None])[there]
    values = np.zeros(there.shape, matrix.data.dtype)
    senders = np.full(there.shape, -1, np.int32)
    values[there], senders[there] = matrix.data[entries], matrix.indices[entries]
    return values, senders


def gathered(weights: Any, senders: Any, values: Any) -> Any:
    """Sums (row, *run) of values from senders (entry, row), times weights; none where one is -1.

    A block of entries in each pass over the rows, one after the other, and what is left at once.
    """
    values, width = as_array(values), senders.shape[0]
    alone = (1,) * (values.ndim - 1)
    few = senders.size * math.prod(values.shape[1:]) <= _AT_ONCE
    whole = 0 if few else (width - 1) // _BLOCK * _BLOCK  # at least one entry is left

    def each(weights: Any, senders: Any) -> Any:
        # Where there is no connection, no derivative by its weight.
        weights = jnp.where(senders >= 0, weights, 0)
        return weights.reshape(*weights.shape, *alone) * _taken(values, jnp.maximum(senders, 0))

    def block(k: Any, sums: Any) -> Any:
        parts = (jax.lax.dynamic_slice_in_dim(a, k * _BLOCK, _BLOCK) for a in (weights, senders))
        for entry in zip(*parts, strict=True):
            sums = sums + each(*entry)
        return sums

    sums = each(weights[whole:], senders[whole:]).sum(axis=0)
    return jax.lax.fori_loop(0, whole // _BLOCK, block, sums) if whole else sums


def _taken(values: Any, places: Any) -> Any:
    return values.at[places].get(mode="promise_in_bounds", wrap_negative_indices=False)
