"""The coupling of the paper: outputs, weighted and summed."""

from functools import partial

import equinox as eqx
from jaxtyping import Array, Float

from ngnmm_jax._core.types import Channels, Field
from ngnmm_jax.coupling.base import AbstractSum
from ngnmm_jax.graphs.base import AbstractGraph
from ngnmm_jax.models.parameters import as_parameter


class LinearCoupling(AbstractSum):
    """Region j receives `strength * Σ_k weights_jk output_k`.

    **Arguments:**

    - `graph`: the weights, as `graphs.DenseGraph(connectome)`.
    - `strength`: epsilon; a scalar, or one value for each region that receives.
    """

    graph: AbstractGraph
    strength: Float[Array, "..."] = eqx.field(converter=partial(as_parameter, "strength"))

    def received(self, sums: Channels, outputs: Field) -> Field:
        """The sums, times the strength."""
        return self.strength * sums

    def linear(self) -> AbstractGraph:
        """Its graph."""
        return self.graph
