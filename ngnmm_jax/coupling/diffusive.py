"""Diffusive coupling: differences between regions."""

from functools import partial

import equinox as eqx
from jaxtyping import Array, Float

from ngnmm_jax._core.types import Channels, Field
from ngnmm_jax.coupling.base import AbstractSum
from ngnmm_jax.graphs.base import AbstractGraph, by_region
from ngnmm_jax.graphs.structured import LaplacianGraph
from ngnmm_jax.models.parameters import as_parameter


class DiffusiveCoupling(AbstractSum):
    """Region j receives `strength * Σ_k weights_jk (output_k - output_j)`.

    Over a graph with delays, output_k is that of the past and output_j that of now. Nothing passes
    where all regions do the same, whatever the rows of the weights sum to.

    **Arguments:**

    - `graph`: the weights, as `graphs.DenseGraph(connectome)`.
    - `strength`: a scalar, or one value for each region that receives.
    """

    graph: AbstractGraph
    strength: Float[Array, "..."] = eqx.field(converter=partial(as_parameter, "strength"))

    def received(self, sums: Channels, outputs: Field) -> Field:
        """The sums, less a region's own output times those of the weights, times the strength."""
        return self.strength * (sums - by_region(self.graph.row_sums(), outputs))

    def linear(self) -> AbstractGraph:
        """The graph of differences: without delays it is the same coupling, linear over that."""
        return LaplacianGraph(self.graph.undelayed())
