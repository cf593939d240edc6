"""The abstract graph: a matrix, by what it does to values of regions."""

import abc
import warnings
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.cards import Pictured
from ngnmm_jax._core.parameters import without_names
from ngnmm_jax.connectome import Connectome, Eigenmodes
from ngnmm_jax.connectome.eigenmodes import eigenmodes_of

# Rows count as having the same sum, and a matrix as symmetric, to these fractions.
_SAME_ROW_SUM, _SYMMETRIC = 1e-9, 1e-12


class AbstractGraph(Pictured):
    """Who is connected to whom, and how strongly: a matrix of regions, by what it does.

    A graph of one's own says `n_regions` and `apply`. The rest follows by way of the dense matrix;
    override what is known better. A PyTree: what `apply` needs are its leaves.
    """

    #: What it was made of, where that is known: names, and eigenmodes that are there already.
    connectome: ClassVar[Connectome | None] = None
    #: How long values are on their way over it; None: they are there at once.
    delays: ClassVar[Any] = None
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
    def apply(self, values: Float[Array, "region *run"]) -> Float[Array, "region *run"]:
        """What each region gets of all regions' values, Σ_k weights_jk values_k, for each run."""

    def matrix(self) -> Float[Array, "region region"]:
        """The weights, row by row what a region receives."""
        return self.apply(jnp.eye(self.n_regions))

    def row_sums(self, dtype: Any = None) -> Float[Array, "region"]:
        """What each region gets where all values are one, summed in a type of one's choice."""
        return self.apply(jnp.ones(self.n_regions, dtype))

    def known(self) -> np.ndarray | None:
        """The weights on the host; None where JAX traces them."""
        if not _checks.is_concrete(self):
            return None
        with jax.ensure_compile_time_eval():  # what is known is so in `jax.jit` too
            return np.asarray(self.matrix())

    def even(self) -> bool:
        """Whether all rows sum to the same, to their precision; True where that is traced."""
        weights = self.known()
        return weights is None or _same_row_sum(weights)

    def spectrum(self) -> tuple[Any, int | None]:
        """Eigenvalues of the matrix (mode,), sorted, and the index of the uniform mode.

        The index is None where the rows do not sum to the same. Warns where eigenvalues are so
        ill-conditioned that rounding moves them by over 1e-6 of the largest.
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
        if uniform is None and _same_row_sum(weights):  # to the weights' own precision
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

    def undelayed(self) -> "AbstractGraph":
        """The graph without its delays: itself, where it has none."""
        return self

    def over_runs(self) -> "AbstractGraph":
        """The same for runs that differ in its parameters: itself, where it has none."""
        return self

    def bare(self) -> "AbstractGraph":
        """The same without names, which no program depends on."""
        return without_names(self)


def _same_row_sum(weights: np.ndarray) -> bool:
    """Whether the rows sum to the same, to the precision of the weights."""
    sums, sizes = weights.sum(axis=1, dtype=float), np.abs(weights).sum(axis=1, dtype=float)
    eps = max(_SAME_ROW_SUM, 10 * float(np.finfo(weights.dtype).eps))
    return bool(np.ptp(sums) <= eps * sizes.max())
