"""The abstract graph: a matrix, by what it does to values of regions; transposes and sums."""

import abc
import warnings
from collections.abc import Iterable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.parameters import with_fields, without_names
from ngnmm_jax._core.pictured import Pictured
from ngnmm_jax._core.types import Field
from ngnmm_jax.connectome import Connectome, Eigenmodes
from ngnmm_jax.connectome.eigenmodes import eigenmodes_of
from ngnmm_jax.graphs import density, spectra, symmetry

# Rows count as having the same sum, and a matrix as symmetric, to these fractions.
_SAME_ROW_SUM, _SYMMETRIC = 1e-9, 1e-12


class AbstractGraph(Pictured):
    """Who is connected to whom, and how strongly: a matrix of regions, by what it does.

    A graph of one's own says `n_regions` and `apply`. The rest follows by way of the dense matrix;
    override what is known better. A PyTree: what `apply` needs are its leaves.

    Of more than `DENSE_LIMIT` regions no dense matrix is made: what needs one raises `ValueError`,
    and `row_sums`, `even`, `bounds`, `leading` and `density` do without, by `apply` alone.
    """

    #: Regions of which a matrix (region, region) is made where there is none yet.
    DENSE_LIMIT: ClassVar[int] = 5000

    #: What it was made of, where that is known: names, and eigenmodes that are there already.
    connectome: ClassVar[Connectome | None] = None
    #: How long values are on their way over it; None: they are there at once.
    delays: ClassVar[Any] = None
    #: The field by which graphs of one class add; None: by none.
    ADDS: ClassVar[str | None] = None
    #: Methods that a definition of its numbers traces.
    TRACED: ClassVar[frozenset[str]] = frozenset({"apply"})

    def card(self) -> tuple[str, dict[str, Any]]:
        """Its class and size, and what it holds."""
        held = {name: value for name, value in vars(self).items() if value is not None}
        return f"{type(self).__name__}: {self.n_regions} regions", held

    @property
    @abc.abstractmethod
    def n_regions(self) -> int:
        """The number of regions."""

    @abc.abstractmethod
    def apply(self, values: Num[Array, "region *run"]) -> Num[Array, "region *run"]:
        """What each region gets of all regions' values, Σ_k weights_jk values_k, for each run."""

    def apply_transposed(self, values: Num[Array, "region *run"]) -> Num[Array, "region *run"]:
        """Σ_j weights_jk values_j for each region k and each run: by what sends, not what receives.

        By default JAX's transpose of `apply`.
        """
        like = jax.ShapeDtypeStruct(values.shape, values.dtype)
        sums = jax.eval_shape(self.apply, like)
        return jax.linear_transpose(self.apply, like)(values.astype(sums.dtype))[0]

    def transposed(self) -> "AbstractGraph":
        """The graph whose connections go the other way: its `apply` is this one's transpose."""
        return TransposedGraph(self)

    def matrix(self) -> Float[Array, "region region"]:
        """The weights, row by row what a region receives.

        `ValueError` above `DENSE_LIMIT` regions.
        """
        self._few_enough("matrix", "`apply`, `row_sums` and `leading` do without it")
        return self.apply(jnp.eye(self.n_regions))

    def _few_enough(self, what: str, instead: str) -> None:
        """Refuse to make a dense matrix of very many regions."""
        n, kind = self.n_regions, type(self).__name__
        if n > self.DENSE_LIMIT:
            raise ValueError(
                f"`{kind}.{what}` would make a dense matrix of {n} regions, "
                f"{8e-9 * n**2:.3g} GB: {instead}. (`{kind}.DENSE_LIMIT`, now "
                f"{self.DENSE_LIMIT} regions, is where this is refused.)"
            )

    def row_sums(self, dtype: Any = None) -> Float[Array, "region"]:
        """What each region gets where all values are one, summed in a type of one's choice."""
        return self.apply(jnp.ones(self.n_regions, dtype))

    def row_sizes(self) -> Float[Array, "region"]:
        """Σ_k |weights_jk| of each region, or a bound above it.

        Infinite above `DENSE_LIMIT` regions, unless a class knows them without its matrix.
        """
        if self.n_regions > self.DENSE_LIMIT:
            return jnp.full(self.n_regions, jnp.inf)
        return jnp.abs(self.matrix()).sum(axis=1)

    def normalised(self) -> "AbstractGraph":
        """The same with every row divided by its sum.

        `ValueError` names regions whose rows sum to zero, or to less.
        """
        return SumGraph((self,), (1 / self._positive_sums(),))

    def _positive_sums(self) -> Any:
        """The rows' sums, by which they can be divided."""
        sums = self.row_sums()
        if _checks.is_concrete(sums):
            bad = np.flatnonzero(~(np.asarray(sums) > 0))
            if bad.size:
                named = ", ".join(self.labels[k] for k in bad[:5])
                named += f" and {bad.size - 5} more" if bad.size > 5 else ""
                _checks.fail("graph", "have rows with positive sums", f"these have none: {named}")
        return sums

    def known(self) -> np.ndarray | None:
        """The weights on the host; None where JAX traces them."""
        if not _checks.is_concrete(self):
            return None
        with jax.ensure_compile_time_eval():  # what is known is so in `jax.jit` too
            return np.asarray(self.matrix())

    def even(self) -> bool:
        """Whether all rows sum to the same, to their precision; True where that is traced."""
        if self.n_regions <= self.DENSE_LIMIT:
            weights = self.known()
            return weights is None or _same_row_sum(weights, _coarsest(self))
        if not _checks.is_concrete(self):
            return True
        with jax.ensure_compile_time_eval():
            sums, sizes = map(np.asarray, _rows(self))
        return _same(sums, np.where(np.isfinite(sizes), sizes, np.abs(sums)), _coarsest(self))

    @property
    def exact(self) -> bool:
        """Whether `spectrum` knows all eigenvalues without a dense matrix."""
        return False

    def symmetriser(self) -> np.ndarray | None:
        """Positive numbers d (region,) for which d_j weights_jk is symmetric.

        The eigenvalues are real then, and eigenvectors can be told apart as well as those of a
        symmetric matrix: weights are one where rows were divided by their sums. None where there
        are no such numbers, or none is known.
        """
        weights = self.known() if self.n_regions <= self.DENSE_LIMIT else None
        if weights is None:
            return None
        from scipy.sparse import csr_array

        return symmetry.symmetriser_of(csr_array(weights.astype(float)))

    def components(self) -> np.ndarray:
        """For each region the number of the part that it is in: no connections between parts.

        Of more than `DENSE_LIMIT` regions all are taken for one, unless a class knows better.
        """
        weights = self.known() if self.n_regions <= self.DENSE_LIMIT else None
        if weights is None:
            return np.zeros(self.n_regions, np.int64)
        from scipy.sparse import csr_array

        return symmetry.components_of(csr_array(weights))

    def bounds(self) -> "spectra.SpectralBounds":
        """A convex region that holds all eigenvalues: an interval where these are known to be real.

        From all of them where regions are few; else as `spectra.bounds_of` finds it.
        """
        return spectra.bounds_of(self)

    def transverse_bounds(self) -> "spectra.SpectralBounds":
        """The same of all eigenvalues but that of the uniform mode, which all regions share.

        `ValueError` where the rows do not sum to the same.
        """
        return spectra.bounds_of(self, transverse=True)

    def leading(self, k: int, which: str = "LR") -> Eigenmodes:
        """The first `k` eigenmodes: of "LR" largest or "SR" smallest real part, "LM" largest
        modulus, or "LI" largest imaginary part; as `spectra.leading_of` finds them.
        """
        return spectra.leading_of(self, k, which)

    def density(
        self, *, moments: int = 256, vectors: int = 16, seed: int = 0
    ) -> "density.SpectralDensity":
        """How densely real eigenvalues lie, as `density.density_of` finds it."""
        return density.density_of(self, moments=moments, vectors=vectors, seed=seed)

    def spectrum(self) -> tuple[Any, int | None]:
        """Eigenvalues of the matrix (mode,), sorted, and the index of the uniform mode.

        The index is None where the rows do not sum to the same. Warns where eigenvalues are so
        ill-conditioned that rounding moves them by over 1e-6 of the largest. `ValueError` above
        `DENSE_LIMIT` regions, where `bounds`, `leading` and `density` say what can be known.
        """
        weights = self.known()
        if weights is None:  # differentiated through
            values = jnp.linalg.eigvals(self.matrix())
            return values[jnp.lexsort((-values.imag, -values.real))], 0
        modes = self._eigenmodes(weights)
        if not modes.certain:
            warnings.warn(
                f"Eigenvalues of the weights are known to {modes.errors.max():.1g} only, for they "
                f"are ill-conditioned (up to {modes.conditions.max():.1g}): growth rates and the "
                "number of growing modes may be wrong. See `Eigenmodes.errors`.",
                UserWarning,
                stacklevel=3,
            )
        uniform = modes.uniform
        if uniform is None and _same_row_sum(
            weights, _coarsest(self)
        ):  # to the weights' own precision
            uniform = int(np.abs(modes.values - weights.sum(axis=1, dtype=float).mean()).argmin())
        return modes.values, uniform

    def eigenvectors(self) -> np.ndarray:
        """Of the matrix (region, mode), of length one, in the order of `spectrum`."""
        return self._eigenmodes(np.asarray(self.matrix())).vectors

    def _eigenmodes(self, weights: np.ndarray) -> Eigenmodes:
        """Those of its connectome, unless its weights have changed since."""
        known = self.connectome
        if known is not None and np.array_equal(known.weights.astype(weights.dtype), weights):
            return known.eigenmodes()
        wide = weights.astype(float)
        gap = np.abs(wide - wide.T).max()
        return eigenmodes_of(wide, bool(gap <= _SYMMETRIC * np.abs(wide).max()))

    @property
    def labels(self) -> tuple[str, ...]:
        """The regions' names."""
        if self.connectome is not None:
            return self.connectome.labels
        return tuple(f"region {k}" for k in range(self.n_regions))

    def together(
        self, parts: "tuple[AbstractGraph, ...]", factors: tuple[Any, ...]
    ) -> "AbstractGraph | None":
        """The sum of graphs of this one's class, each times its factor, as one such graph.

        By the field that `ADDS` names, where all of them `fit` and factors are numbers; else None.
        """
        if self.ADDS is None or any(jnp.ndim(f) for f in factors) or not all(map(self.fits, parts)):
            return None
        pairs = zip(parts, factors, strict=True)
        return with_fields(self, **{self.ADDS: sum(f * getattr(p, self.ADDS) for p, f in pairs)})

    def fits(self, other: Any) -> bool:
        """Whether a graph of the same class differs in the field that `ADDS` names alone."""
        return False

    def undelayed(self) -> "AbstractGraph":
        """The graph without its delays: itself, where it has none."""
        return self

    def over_runs(self) -> "AbstractGraph":
        """The same for runs that differ in its parameters: itself, where it has none."""
        return self

    def bare(self) -> "AbstractGraph":
        """The same without names, which no program depends on."""
        return without_names(self)


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

    def __check_init__(self) -> None:
        sizes = {part.n_regions for part in self.parts}
        if len(sizes) != 1:
            _checks.fail("parts", "be graphs of the same regions", f"these have {sorted(sizes)}")
        if self.factors is not None and len(self.factors) != len(self.parts):
            but = f"there are {len(self.factors)} for {len(self.parts)}"
            _checks.fail("factors", "be one for each part", but)

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
        kind, factors = type(self.parts[0]), self.factors or (1.0,) * len(self.parts)
        if self.delays is not None or any(type(part) is not kind for part in self.parts):
            return self
        return self.parts[0].together(self.parts, factors) or self

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


def by_region(factors: Any, values: Any) -> Any:
    """Factors (region,), or (*run) of regions that are alike, times values (region, *run)."""
    if jnp.ndim(factors) != 1 or jnp.ndim(values) < 2:
        return factors * values
    return factors[:, None] * values


@eqx.filter_jit
def _rows(graph: AbstractGraph) -> Any:
    return graph.row_sums(), graph.row_sizes()


def _coarsest(graph: AbstractGraph) -> float:
    """What a number of the graph's least precise array is known to, relative to it."""
    types = [leaf.dtype for leaf in jax.tree.leaves(graph) if hasattr(leaf, "dtype")]
    eps = [float(np.finfo(kind).eps) for kind in types if jnp.issubdtype(kind, jnp.inexact)]
    return max(eps, default=float(np.finfo(float).eps))


def _same_row_sum(weights: np.ndarray, eps: float | None = None) -> bool:
    """Whether the rows sum to the same, to the precision of the weights."""
    sums, sizes = weights.sum(axis=1, dtype=float), np.abs(weights).sum(axis=1, dtype=float)
    return _same(sums, sizes, float(np.finfo(weights.dtype).eps) if eps is None else eps)


def _same(sums: np.ndarray, sizes: np.ndarray, eps: float) -> bool:
    """Whether sums are the same, of rows of such sizes whose weights are known to `eps`."""
    return bool(np.ptp(sums) <= max(_SAME_ROW_SUM, 10 * eps) * sizes.max())
