"""A coupling's linearisation: what small changes of outputs change of what regions receive."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Inexact

from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.cards import shown_as_made
from ngnmm_jax._core.types import Field
from ngnmm_jax.graphs.base import AbstractGraph


@shown_as_made
class Linearised(NamedTuple):
    """Small changes y of regions' outputs change what region j receives by

        d_j(t) = Σ_channel received_j Σ_k weights_jk sent_k y_k(t - τ_jk) + own_j y_j(t).

    Of a sum of couplings, this is one term of several.

    - `graph`: whose weights and delays these are.
    - `received` (input, channel, region): the derivative of what is received by the sums.
    - `sent` (channel, output, region): that of what goes into the tracts by the outputs.
    - `own` (input, output, region): that of what is received by a region's own output.

    Of regions that are all alike (`graphs.Alike`) the axis `region` is one of runs, or none.
    """

    graph: AbstractGraph
    received: Field
    sent: Field
    own: Field

    def through(self) -> Field:
        """What is received by what is sent, (input, output, *run), of regions that are alike.

        Perturbations along a mode Λ of the graph obey d = (through Λ + own) y.
        """
        return (self.received[:, :, None] * self.sent).sum(axis=1)

    def matrix(self) -> Float[Array, "input output region region"]:
        """The derivatives of what each region receives by each one's output, without delays."""
        return self._with(self.graph.matrix())

    def transfer(
        self, z: Inexact[Array, "*rate"]
    ) -> Complex[Array, "input output *rate region region"]:
        """The same of changes that grow as exp(z t), with the graph's delays."""
        graph: Any = self.graph
        z = as_array(z)
        if graph.delays is None:
            weights = jnp.broadcast_to(graph.matrix() + 0j, (*z.shape, *graph.matrix().shape))
        else:
            weights = graph.transfer(z)
        return self._with(weights)

    def _with(self, weights: Any) -> Any:
        """The matrices of weights (…, region, region), with all factors."""
        after = jnp.einsum("icj,...jk,cok->io...jk", self.received, weights, self.sent)
        own = self.own[:, :, :, None] * jnp.eye(self.own.shape[-1], dtype=self.own.dtype)
        return after + own.reshape(*own.shape[:2], *(1,) * (weights.ndim - 2), *own.shape[2:])
