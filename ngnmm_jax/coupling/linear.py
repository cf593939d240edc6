"""The coupling of the paper: outputs, weighted and summed."""

from functools import partial

import equinox as eqx
from jaxtyping import Array, Float

from ngnmm_jax.coupling.base import AbstractCoupling
from ngnmm_jax.graphs.base import AbstractGraph
from ngnmm_jax.models.parameters import as_parameter


class LinearCoupling(AbstractCoupling):
    """Region j receives `strength * Σ_k weights_jk output_k`.

    **Arguments:**

    - `graph`: the weights, as `graphs.DenseGraph(connectome)`.
    - `strength`: epsilon; a scalar, or one value for each region that receives.
    """

    graph: AbstractGraph
    strength: Float[Array, "..."] = eqx.field(converter=partial(as_parameter, "strength"))

    def inputs(self, outputs: Float[Array, "region *run"]) -> Float[Array, "region *run"]:
        """The graph's sums of outputs, times the strength."""
        return self.strength * self.graph.apply(outputs)

    def linear(self) -> AbstractGraph:
        """Its graph."""
        return self.graph
