"""Graphs that follow from another, or from nothing: Laplacian, identity, all regions alike."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.types import Field
from ngnmm_jax.connectome import Connectome
from ngnmm_jax.graphs.base import AbstractGraph, by_region


class LaplacianGraph(AbstractGraph):
    """Differences along the connections of another graph: Σ_k weights_jk (values_k - values_j).

    Minus that graph's Laplacian. Its rows sum to zero, whatever those of the weights do, so that
    the perturbation that all regions share has the eigenvalue zero, exactly.

    **Arguments:**

    - `graph`: who is connected to whom; without delays.
    """

    graph: AbstractGraph

    def __check_init__(self) -> None:
        if not isinstance(self.graph, AbstractGraph) or self.graph.delays is not None:
            but = f"it is {_checks.kind_of(self.graph)}"
            _checks.fail("graph", "be a graph without delays", but)

    @property
    def connectome(self) -> Connectome | None:  # type: ignore[override]
        """What the other graph was made of, where that is known."""
        return self.graph.connectome

    @property
    def n_regions(self) -> int:
        """The number of regions."""
        return self.graph.n_regions

    def apply(self, values: Field) -> Field:
        """What arrives, less what a region has of its own, by the weights that arrive."""
        return self.graph.apply(values) - by_region(self.graph.row_sums(), values)

    def matrix(self) -> Any:
        """The weights between regions, less their sums on the diagonal."""
        weights = self.graph.matrix()
        xp: Any = np if _checks.on_host(weights) and isinstance(weights, np.ndarray) else jnp
        between = weights - xp.diag(xp.diagonal(weights))
        return between - xp.diag(between.sum(axis=1))

    def row_sums(self, dtype: Any = None) -> Float[Array, "region"]:
        """Zeros."""
        return jnp.zeros_like(self.graph.row_sums(dtype))

    def even(self) -> bool:
        """All rows sum to zero."""
        return True

    def row_sizes(self) -> Float[Array, "region"]:
        """A bound: twice those of the other graph."""
        return 2 * self.graph.row_sizes()

    @property
    def exact(self) -> bool:
        """Whether those of the other graph are known, and its rows sum to the same."""
        return self.graph.exact and self.graph.even()

    def symmetriser(self) -> np.ndarray | None:
        """What makes the other graph symmetric."""
        return self.graph.symmetriser()

    def components(self) -> np.ndarray:
        """Those of the other graph."""
        return self.graph.components()

    def spectrum(self) -> tuple[Any, int | None]:
        """Eigenvalues (mode,), sorted, and the index of the uniform mode, whose own is zero."""
        if self.exact:  # the other's, less the sum of a row
            values, uniform = self.graph.spectrum()
            if uniform is not None:
                return values - values[uniform], uniform
        values, uniform = super().spectrum()
        if isinstance(values, np.ndarray):
            values = np.where(np.arange(values.size) == uniform, 0.0, values)
        return values, uniform


class IdentityGraph(AbstractGraph):
    """Each region is connected to itself alone, with weight one.

    **Arguments:**

    - `n_regions`: how many there are.
    """

    n: int = eqx.field(static=True)

    def __init__(self, n_regions: int) -> None:
        _checks.positive_integer("n_regions", n_regions)
        self.n = int(n_regions)

    @property
    def n_regions(self) -> int:
        """The number of regions."""
        return self.n

    def apply(self, values: Field) -> Field:
        """The values."""
        return values

    @property
    def exact(self) -> bool:
        """All eigenvalues are known."""
        return True

    def row_sizes(self) -> Float[Array, "region"]:
        """Ones."""
        return jnp.ones(self.n)

    def even(self) -> bool:
        """All rows sum to one."""
        return True

    def symmetriser(self) -> np.ndarray:
        """Ones."""
        return np.ones(self.n)

    def components(self) -> np.ndarray:
        """Each region is one."""
        return np.arange(self.n)

    def spectrum(self) -> tuple[Any, int | None]:
        """Ones."""
        return np.ones(self.n), 0


class Alike(AbstractGraph):
    """All regions as one: where their values are the same, each gets the sum of its row times it.

    What a homogeneous system has in place of a network's graph. Elementwise: values have any axes.

    **Arguments:**

    - `sums`: what all rows of the graph sum to, a scalar or (*run); None is one.
    """

    sums: Float[Array, "*run"] | None = None

    @property
    def n_regions(self) -> int:
        """One stands for all."""
        return 1

    def apply(self, values: Any) -> Any:  # of NumPy too
        """The sum of a row, times the values."""
        return values if self.sums is None else self.sums * values

    def row_sums(self, dtype: Any = None) -> Any:
        """The sum of a row, for the elementwise: without an axis of regions."""
        return jnp.ones((), dtype) if self.sums is None else self.sums
