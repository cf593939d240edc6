"""Graphs that are a full matrix: a connectome's, or any."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.parameters import with_fields
from ngnmm_jax._core.types import Field
from ngnmm_jax.connectome import Connectome
from ngnmm_jax.graphs.base import AbstractGraph
from ngnmm_jax.models.parameters import as_float_array


class DenseGraph(AbstractGraph):
    """All weights, zeros included: region j gets Σ_k weights_jk values_k.

    **Arguments:**

    - `connectome`: a `Connectome` (`.normalised()` to have rows that sum to one), or bare
      weights (region, region), of which the same is asked: finite and not negative. (Unless
      they are traced by JAX: then only their shape is checked.)
    """

    weights: Float[Array, "region region"]
    connectome: Connectome | None = eqx.field(static=True)  # type: ignore[misc]

    def __init__(self, connectome: Any) -> None:
        weights = connectome
        if connectome is None or isinstance(connectome, type):
            but = (
                "it is not given" if connectome is None else f"it is {_checks.kind_of(connectome)}"
            )
            _checks.fail("connectome", "be a `Connectome`, weights or a graph", but)
        if not isinstance(connectome, Connectome) and _checks.is_concrete(connectome):
            # Of the same checks, whatever it is; a JAX array keeps its precision and has no names.
            checked = Connectome(connectome)
            connectome = connectome if isinstance(connectome, jax.Array) else checked
        if isinstance(connectome, Connectome):
            weights = connectome.weights
        self.weights = as_float_array(weights)
        self.connectome = connectome if isinstance(connectome, Connectome) else None

    def __check_init__(self) -> None:
        shape = jnp.shape(self.weights)
        if len(shape) != 2 or shape[0] != shape[1]:
            _checks.fail("connectome", "have a square matrix of weights", f"it has {shape}")

    @property
    def n_regions(self) -> int:
        """The number of regions."""
        return int(self.weights.shape[0])

    def apply(self, values: Num[Array, "region *run"]) -> Num[Array, "region *run"]:
        """Σ_k weights_jk values_k, one matrix product for all runs.

        In full precision, also on GPUs whose default in 32 bits is less.
        """
        return jnp.tensordot(self.weights, values, 1, precision="highest")

    def matrix(self) -> Any:  # of any type, so that `eqx.tree_at` finds the leaf by it
        """The weights (region, region)."""
        return self.weights

    def row_sums(self, dtype: Any = None) -> Float[Array, "region"]:
        """The sum of each row, in the weights' type or another."""
        return self.weights.sum(axis=1, dtype=dtype)

    def bare(self) -> "DenseGraph":
        """The same without names, which no program depends on."""
        return self if self.connectome is None else with_fields(self, connectome=None)


class MatrixGraph(AbstractGraph):
    """Any matrix, of whatever signs, without names: what couplings amount to at a state.

    **Arguments:**

    - `weights` (region, region): row by row what a region receives.
    """

    weights: Float[Array, "region region"]

    @property
    def n_regions(self) -> int:
        """The number of regions."""
        return int(self.weights.shape[0])

    def apply(self, values: Field) -> Field:
        """Σ_k weights_jk values_k."""
        return jnp.tensordot(self.weights, values, 1, precision="highest")

    def matrix(self) -> Any:
        """The weights."""
        return self.weights
