"""A cortex as a graph: local connections, tracts between parcels, callosal links."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax.surfaces.callosal import AbstractCounterparts, callosal_weights
from ngnmm_jax.surfaces.kernels import AbstractKernel
from ngnmm_jax.surfaces.parcellation import Parcellation
from ngnmm_jax.surfaces.surface import Surface

if TYPE_CHECKING:
    from ngnmm_jax.connectome import Connectome


def cortical_graph(
    surface: Surface,
    connectome: "Connectome",
    parcels: Parcellation,
    kernel: AbstractKernel,
    *,
    tracts: float,
    callosal: float = 0.0,
    counterparts: AbstractCounterparts | None = None,
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

    A `graphs.SumGraph`: nothing of size (vertex, vertex) is dense. Its parts are `SparseGraph` (or
    a `LaplaceBeltramiGraph`), `TractGraph` and `SparseGraph`.

    **Arguments:**

    - `surface`, `parcels`: of the same vertices.
    - `connectome`: whose regions the parcels are, by name (`Parcellation.regions`).
    - `kernel`: of local connections: `Gaussian(5.0)`, `Exponential(…)`, `HeatKernel(…)` ….
    - `tracts`, `callosal`: shares, from 0 to 1 together.
    - `counterparts`: `MirrorImage()` (by default) or `SameIndex()`, of callosal links.

    Raises `ValueError` for parcels and regions that do not fit, silent regions (which receive
    nothing) and shares out of range.
    """
    from ngnmm_jax.graphs import SparseGraph, SumGraph, TractGraph

    _checks.an_object("kernel", kernel)
    if not isinstance(kernel, AbstractKernel):
        _checks.fail("kernel", "be a kernel, as `Gaussian(5.0)` is", f"it is {kernel!r}")
    shares = {"tracts": tracts, "callosal": callosal}
    for name, share in shares.items():
        _checks.finite(name, share)
        if np.ndim(share) or not 0 <= share <= 1:
            _checks.fail(name, "be a share from 0 to 1", f"it is {share!r}")
    if tracts + callosal > 1:
        _checks.fail("callosal", f"be {1 - tracts:g} at most beside tracts", f"it is {callosal:g}")
    parcels.check(surface)
    regions = parcels.regions(connectome)
    between = np.where(parcels.outside, 0.0, float(tracts))
    across = np.zeros(surface.n_vertices)
    parts: list[Any] = [TractGraph(connectome.normalised(), regions, surface.vertex_areas)]
    if callosal:
        links = callosal_weights(surface, counterparts, parcels)
        across = float(callosal) * np.asarray(links.sum(axis=1)).ravel()
        parts.append(SparseGraph(links))
    local = kernel.graph(surface)
    factors = (1.0 - between - across, between, across)
    return SumGraph((local, *parts), tuple(map(_as_field, factors[: len(parts) + 1])))


def _as_field(shares: np.ndarray) -> Any:
    """One number where all vertices have the same."""
    import jax.numpy as jnp

    return jnp.asarray(shares[0] if np.ptp(shares) == 0 else shares)
