"""A cortex as a graph: local connections, tracts between parcels, callosal links."""

import abc
import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.cards import Shown
from ngnmm_jax.surfaces.callosal import AbstractCounterparts, callosal_weights
from ngnmm_jax.surfaces.kernels import AbstractKernel, AbstractRadialKernel
from ngnmm_jax.surfaces.parcellation import Parcellation
from ngnmm_jax.surfaces.surface import Surface

if TYPE_CHECKING:
    from ngnmm_jax.connectome import Connectome

#: Rows of balanced weights sum to one to this, in so many rounds at most.
_BALANCED, _ROUNDS = 1e-13, 2000


@dataclasses.dataclass(frozen=True, repr=False)
class CorticalParts(Shown):
    """What a cortex' connections are made of, before they are weighed against one another.

    - `surface`, `kernel`, `connectome`: as in `cortical_graph`.
    - `regions` (vertex,): of each vertex the region, -1 outside of all.
    - `links` (vertex, vertex): sparse, a one for each callosal link; None without them.
    - `tracts`, `callosal`: their shares.
    """

    surface: Surface
    kernel: AbstractKernel
    connectome: "Connectome"
    regions: NDArray[np.int64]
    links: Any
    tracts: float
    callosal: float


class AbstractNormalisation(Shown, abc.ABC):
    """How the rows of local connections, tracts and callosal links come to sum to one."""

    @abc.abstractmethod
    def graph(self, parts: CorticalParts) -> Any:
        """The graph, whose rows sum to one."""


@dataclasses.dataclass(frozen=True, repr=False)
class ByRows(AbstractNormalisation):
    """Each part's rows are divided by their sums: every vertex gets the same shares of each part.

    Of any kernel, directed connectomes, and parcels that leave vertices out. Local connections are
    what the kernel says. The parts are not symmetric by the same numbers: eigenvalues may be
    complex, and a region that is known to hold them (`graph.bounds()`) is wider than they are.
    """

    def graph(self, parts: CorticalParts) -> Any:
        """A `SumGraph` of a `SparseGraph` (or `LaplaceBeltramiGraph`), tracts, and links."""
        from ngnmm_jax.graphs import SparseGraph, SumGraph, TractGraph

        between = np.where(parts.regions < 0, 0.0, parts.tracts)
        across = np.zeros(parts.regions.size)
        areas = parts.surface.vertex_areas
        found: list[Any] = [TractGraph(parts.connectome.normalised(), parts.regions, areas)]
        if parts.links is not None:
            across = parts.callosal * np.asarray(parts.links.sum(axis=1)).ravel()
            found.append(SparseGraph(parts.links))
        local = parts.kernel.graph(parts.surface)
        factors = (1.0 - between - across, between, across)[: len(found) + 1]
        return SumGraph((local, *found), tuple(map(_as_field, factors)))


@dataclasses.dataclass(frozen=True, repr=False)
class Undirected(AbstractNormalisation):
    """One symmetric number for each pair of vertices, divided by the sums of rows.

    Then all eigenvalues are real, and `graph.bounds()` is an interval that fits. Tracts are those
    of `ByRows`: with W the connectome's weights, s_p their sums, they are W_pq a_j a_k/(A_p A_q)
    between vertices j of p and k of q, over the measure m_j = s_p a_j/A_p. For local connections
    to be as undirected, and the same share of every vertex, they must go with the tracts:
    x_j f(d_jk) x_k m_k, with x found so that rows sum to one (Sinkhorn's method in its symmetric
    form: Knight, Ruiz and Uçar, SIAM J. Matrix Anal. Appl. 35, 931 (2014)). Where the density of
    tracts m/a changes, x makes up for it in part: from a place of higher density vertices get more
    than back, by the root of its ratio. Callosal links are scaled with them: their share is
    `callosal` before that, and differs between vertices after (on conte69, of 10 %: 4 to 11 % of
    four vertices in five).

    Needs a kernel by distance, a connectome of symmetric weights (not normalised), and a surface
    without vertices outside of all parcels; `ValueError` otherwise.
    """

    def graph(self, parts: CorticalParts) -> Any:
        """A `SumGraph` of one `SparseGraph`, of local and callosal connections, and tracts."""
        from ngnmm_jax.graphs import SparseGraph, SumGraph, TractGraph

        self._check(parts)
        areas, regions = parts.surface.vertex_areas, parts.regions
        density = parts.connectome.weights.sum(axis=1) / np.bincount(regions, areas)
        measure = density[regions] * areas
        tracts = TractGraph(parts.connectome.normalised(), regions, areas)
        near = parts.kernel.densities(parts.surface)  # type: ignore[attr-defined]
        start = 1 / np.sqrt(near @ measure)
        across = parts.callosal / (1 - parts.tracts)  # of what are no tracts
        _scale(near, (1 - across) * start, start)
        if parts.links is not None:
            links = (parts.links + parts.links.T).tocsr() / 2
            root = 1 / np.sqrt(measure)
            _scale(links, across * root, root)
            near = near + links
        x = _balanced(near, measure)
        _scale(near, x, x * measure)
        shares = map(_as_field, (1 - parts.tracts, parts.tracts))
        return SumGraph((SparseGraph(near), tracts), tuple(shares))

    def _check(self, parts: CorticalParts) -> None:
        if not isinstance(parts.kernel, AbstractRadialKernel):
            must = "be one by distance, as `Gaussian(5.0)` is, to be `Undirected()`"
            _checks.fail("kernel", must, f"it is {parts.kernel!r}")
        if not parts.connectome.is_symmetric:
            must = "have symmetric weights, to be `Undirected()`: `.symmetrised()`, not normalised"
            _checks.fail("connectome", must, "its are not")
        outside = int((parts.regions < 0).sum())
        if outside:
            but = (
                f"{outside} are outside: use `surface.without(parcels.outside)` and "
                "`parcels.take(surface.kept(parcels.outside))`"
            )
            _checks.fail("parcels", "hold all vertices, to be `Undirected()`", but)
        if parts.tracts == 1:
            _checks.fail("tracts", "leave a share to local connections", "it is 1")


def cortical_graph(
    surface: Surface,
    connectome: "Connectome",
    parcels: Parcellation,
    kernel: AbstractKernel,
    *,
    tracts: float,
    callosal: float = 0.0,
    counterparts: AbstractCounterparts | None = None,
    normalisation: AbstractNormalisation | None = None,
) -> Any:
    """Local connections, tracts and callosal links of every vertex, in shares that sum to one.

    Vertex j, of parcel p(j), whose counterpart in the other hemisphere is m(j), gets

        (1 - τ_j - κ_j) Σ_k L_jk u_k + τ_j Σ_q C_p(j)q ū_q + κ_j u_m(j),   ū_q = Σ_k∈q a_k u_k / A_q

    with L the kernel's weights, C the connectome's with rows divided by their sums, ū_q the mean
    over parcel q by area, τ and κ the shares `tracts` and `callosal`. All three have rows that
    sum to one, and so has the graph: states that all vertices share exist. Vertices outside of all
    parcels (a medial wall that was not cut out) have no tracts, τ_j = 0; κ_j = 0 for them and for
    those whose counterpart is outside: all or more of what they get is local. They are left out by
    `surface.without(parcels.outside)` and `parcels.take(surface.kept(parcels.outside))`.

    A `graphs.SumGraph`: nothing of size (vertex, vertex) is dense.

    **Arguments:**

    - `surface`, `parcels`: of the same vertices.
    - `connectome`: whose regions the parcels are, by name (`Parcellation.regions`).
    - `kernel`: of local connections: `Gaussian(5.0)`, `Exponential(…)`, `HeatKernel(…)` ….
    - `tracts`, `callosal`: shares, from 0 to 1 together.
    - `counterparts`: `MirrorImage()` (by default) or `SameIndex()`, of callosal links.
    - `normalisation`: `ByRows()` (by default), as above; or `Undirected()`, with real eigenvalues.

    Raises `ValueError` for parcels and regions that do not fit, silent regions (which receive
    nothing) and shares out of range.
    """
    chosen = ByRows() if normalisation is None else normalisation
    for name, value, kind, example in (
        ("kernel", kernel, AbstractKernel, "Gaussian(5.0)"),
        ("normalisation", chosen, AbstractNormalisation, "ByRows()"),
    ):
        if not isinstance(value, kind):
            _checks.fail(name, f"be one as `{example}` is", f"it is {_checks.kind_of(value)}")
    for name, share in (("tracts", tracts), ("callosal", callosal)):
        _checks.finite(name, share)
        if np.ndim(share) or not 0 <= share <= 1:
            _checks.fail(name, "be a share from 0 to 1", f"it is {share!r}")
    if tracts + callosal > 1:
        _checks.fail("callosal", f"be {1 - tracts:g} at most beside tracts", f"it is {callosal:g}")
    parcels.check(surface)
    regions = parcels.regions(connectome)
    links = callosal_weights(surface, counterparts, parcels) if callosal else None
    shares = float(tracts), float(callosal)
    return chosen.graph(CorticalParts(surface, kernel, connectome, regions, links, *shares))


def _as_field(shares: Any) -> Any:
    """As an array of JAX; one number where all vertices have the same."""
    import jax.numpy as jnp

    values = np.asarray(shares)
    return jnp.asarray(values.flat[0] if np.ptp(values) == 0 else values)


def _scale(matrix: Any, rows: NDArray[np.float64], columns: NDArray[np.float64]) -> None:
    """A sparse matrix in rows times factors of rows and of columns, in place."""
    for row, factor in enumerate(rows):
        entries = slice(matrix.indptr[row], matrix.indptr[row + 1])
        matrix.data[entries] *= factor * columns[matrix.indices[entries]]


def _balanced(matrix: Any, measure: NDArray[np.float64]) -> NDArray[np.float64]:
    """The x for which all x_j Σ_k matrix_jk x_k measure_k are one, of a symmetric matrix."""
    x = np.ones(len(measure))
    for _ in range(_ROUNDS):
        sums = x * (matrix @ (x * measure))
        off = float(np.abs(sums - 1).max())
        if off < _BALANCED:
            return x
        x = x / np.sqrt(sums)
    raise RuntimeError(
        f"Rows could not be balanced: after {_ROUNDS} rounds some sum to {off:.1g} more or less "
        "than one. Take a kernel that reaches farther, or `ByRows()`."
    )
