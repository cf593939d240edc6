"""Couplings that saturate: a sigmoid of the sums, or sums of sigmoids."""

from functools import partial

import equinox as eqx
import jax
from jaxtyping import Array, Float

from ngnmm_jax._core.types import Channels, Field, ParameterArray
from ngnmm_jax.coupling.base import AbstractSum
from ngnmm_jax.graphs.base import AbstractGraph
from ngnmm_jax.models.parameters import as_parameter, parameter


class SigmoidAfterSum(AbstractSum):
    r"""Region j receives `strength * S(Σ_k weights_jk output_k)`: what arrives together saturates.

    S(x) = 1 / (1 + exp(-slope (x - midpoint))), between 0 and 1; `strength` is the most that is
    received. (The Virtual Brain calls this form "Sigmoidal".)

    **Arguments:**

    - `graph`: the weights, as `graphs.DenseGraph(connectome)`.
    - `strength`, `slope`, `midpoint`: a scalar, or one value for each region that receives.
    """

    graph: AbstractGraph
    strength: Float[Array, "..."] = eqx.field(converter=partial(as_parameter, "strength"))
    slope: ParameterArray = parameter(1.0, unit="1/output", doc="steepness of the sigmoid")
    midpoint: ParameterArray = parameter(0.0, unit="output", doc="sum at half the most")

    def received(self, sums: Channels, outputs: Field) -> Field:
        """The sigmoid of the sums, times the strength."""
        return self.strength * sigmoid(self.slope, self.midpoint, sums)


class SigmoidBeforeSum(AbstractSum):
    r"""Region j receives `strength * Σ_k weights_jk S(output_k)`: what each sends saturates.

    S(x) = 1 / (1 + exp(-slope (x - midpoint))), between 0 and 1. (The Virtual Brain's forms
    "SigmoidalJansenRit" and, with 1 + tanh(x) = 2 / (1 + exp(-2 x)), "HyperbolicTangent".)

    **Arguments:**

    - `graph`: the weights, as `graphs.DenseGraph(connectome)`.
    - `strength`: a scalar, or one value for each region that receives.
    - `slope`, `midpoint`: a scalar, or one value for each region that sends.
    """

    graph: AbstractGraph
    strength: Float[Array, "..."] = eqx.field(converter=partial(as_parameter, "strength"))
    slope: ParameterArray = parameter(1.0, unit="1/output", doc="steepness of the sigmoid")
    midpoint: ParameterArray = parameter(0.0, unit="output", doc="output at half the most")

    def sent(self, outputs: Field) -> Channels:
        """The sigmoid of the outputs."""
        return sigmoid(self.slope, self.midpoint, outputs)

    def received(self, sums: Channels, outputs: Field) -> Field:
        """The sums, times the strength."""
        return self.strength * sums


def sigmoid(slope: Channels, midpoint: Channels, values: Field) -> Channels:
    """From 0 to 1, and a half at the midpoint."""
    return jax.nn.sigmoid(slope * (values - midpoint))
