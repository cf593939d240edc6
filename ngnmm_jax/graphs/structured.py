"""Graphs that follow from another, or from nothing: Laplacian, identity, all regions alike."""

from collections.abc import Iterable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.types import Field
from ngnmm_jax.connectome import Connectome, Eigenmodes
from ngnmm_jax.graphs import symmetry
from ngnmm_jax.graphs.base import AbstractGraph, by_region
from ngnmm_jax.graphs.merged import merged


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


class TransposedGraph(AbstractGraph):
    """The connections of another graph the other way round.

    **Arguments:**

    - `graph`: the other.
    """

    graph: AbstractGraph

    @property
    def n_regions(self) -> int:
        """The number of regions."""
        return self.graph.n_regions

    def apply(self, values: Field) -> Field:
        """What the other's transpose makes of values."""
        return self.graph.apply_transposed(values)

    def apply_transposed(self, values: Field) -> Field:
        """What the other makes of them."""
        return self.graph.apply(values)

    def transposed(self) -> AbstractGraph:
        """The other."""
        return self.graph


class SumGraph(AbstractGraph):
    """The connections of several graphs at once, each times a factor.

    **Arguments:**

    - `parts`: graphs of the same regions.
    - `factors`: of each, a scalar or one value for each region that receives; by default one.
    """

    parts: tuple[AbstractGraph, ...]
    factors: tuple[Any, ...] | None = None

    @property
    def delays(self) -> Any:
        """Those of the first part that has any."""
        return next((part.delays for part in self.parts if part.delays is not None), None)

    @property
    def connectome(self) -> Connectome | None:  # type: ignore[override]
        """That of the first part which has one."""
        known = (part.connectome for part in self.parts)
        return next((connectome for connectome in known if connectome is not None), None)

    @property
    def n_regions(self) -> int:
        """The number of regions."""
        return self.parts[0].n_regions

    def apply(self, values: Field) -> Field:
        """What each region gets over all connections."""
        each = [part.apply(values) for part in self.parts]
        if self.factors is not None:
            each = [by_region(f, v) for f, v in zip(self.factors, each, strict=True)]
        return sum(each[1:], each[0])

    def apply_transposed(self, values: Field) -> Field:
        """What each region sends over all connections."""
        return _total(p.apply_transposed(by_region(f, values)) for p, f in self._pairs())

    def _pairs(self) -> list[tuple[AbstractGraph, Any]]:
        """Parts with their factors."""
        factors = (1.0,) * len(self.parts) if self.factors is None else self.factors
        return list(zip(self.parts, factors, strict=True))

    def transposed(self) -> AbstractGraph:
        """The parts', with factors of those who send."""
        return _SendersSum(tuple((part.transposed(), f) for part, f in self._pairs()))

    @property
    def labels(self) -> tuple[str, ...]:
        """The regions' names, of the first part."""
        return super().labels if self.connectome is not None else self.parts[0].labels

    def row_sums(self, dtype: Any = None) -> Float[Array, "region"]:
        """Those of the parts, summed."""
        return _total(f * part.row_sums(dtype) for part, f in self._pairs())

    def row_sizes(self) -> Float[Array, "region"]:
        """A bound: those of the parts, summed."""
        return _total(jnp.abs(f) * part.row_sizes() for part, f in self._pairs())

    def components(self) -> np.ndarray:
        """For each region the number of the part that it is in."""
        scales = self._scales(symmetric=False)
        return super().components() if scales is None else scales[1]

    def symmetriser(self) -> np.ndarray | None:
        """What makes all parts symmetric at once, or None."""
        if self.delays is not None or not _checks.is_concrete(self):
            return None
        scales = self._scales(symmetric=True)
        return None if scales is None else scales[0] / np.exp(np.log(scales[0]).mean())

    def _scales(self, *, symmetric: bool) -> symmetry.Scales | None:
        """What makes the parts symmetric, and which regions are connected."""
        together: symmetry.Scales | None = None
        for part, f in self._pairs():
            d = part.symmetriser() if symmetric else np.ones(self.n_regions)
            factor = np.asarray(f, float) if symmetric else np.ones(())
            if d is None or (factor.ndim and not (factor > 0).all()):
                return None
            own = d / factor if factor.ndim else d
            scales = own, part.components()
            together = scales if together is None else symmetry.agreed(together, scales)
            if together is None:
                return None
        return together

    def simplified(self) -> AbstractGraph:
        """One graph of the same matrix, where all parts are of one kind; else itself.

        Convolutions on the same grid, kernels on the same sphere, tracts between the same parcels,
        each times a number; or sparse weights.
        """
        return merged(self)

    @property
    def exact(self) -> bool:
        """Whether it can be `simplified` to a graph whose eigenvalues are known."""
        known = all(part.exact for part in self.parts)
        return known and not isinstance(self.simplified(), SumGraph)

    def normalised(self) -> AbstractGraph:
        """The same with every row divided by its sum; as one graph where it can be `simplified`."""
        one = self.simplified()
        return super().normalised() if isinstance(one, SumGraph) else one.normalised()

    def spectrum(self) -> tuple[Any, int | None]:
        """Eigenvalues (mode,), sorted, and the index of the uniform mode."""
        one = self.simplified()
        return super().spectrum() if isinstance(one, SumGraph) else one.spectrum()

    def eigenvectors(self) -> np.ndarray:
        """Of the matrix (region, mode), of length one, in the order of `spectrum`."""
        one = self.simplified()
        return super().eigenvectors() if isinstance(one, SumGraph) else one.eigenvectors()

    def leading(self, k: int, which: str = "LR") -> Eigenmodes:
        """The first `k` eigenmodes; exactly where all are known."""
        one = self.simplified()
        return super().leading(k, which) if isinstance(one, SumGraph) else one.leading(k, which)

    def undelayed(self) -> "SumGraph":
        """The same without delays: itself, where no part has any."""
        if self.delays is None:
            return self
        return SumGraph(tuple(part.undelayed() for part in self.parts), self.factors)

    def said(self) -> str:
        """Delays in a few words."""
        delayed: list[Any] = [part for part in self.parts if part.delays is not None]
        return "; ".join(part.said() for part in delayed)


class _SendersSum(AbstractGraph):
    """The connections of several graphs at once, each with factors of regions that send."""

    parts: tuple[tuple[AbstractGraph, Any], ...]

    @property
    def n_regions(self) -> int:
        """The number of regions."""
        return self.parts[0][0].n_regions

    def apply(self, values: Field) -> Field:
        """What each region gets over all connections."""
        return _total(part.apply(by_region(f, values)) for part, f in self.parts)


def _total(each: Iterable[Any]) -> Any:
    first, *rest = each
    return sum(rest, first)


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
