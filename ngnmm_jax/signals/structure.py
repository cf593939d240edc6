"""How functional connectivity follows from who is connected: correlations and regressions."""

import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from numpy.typing import ArrayLike

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax._core.small_linalg import solve_each
from ngnmm_jax._core.status import Status
from ngnmm_jax.signals._arrays import finite_or_not

_METHODS = ("pearson", "spearman")
_PAIRS = ("all", "connected")
# A predictor is another one's image where so little of its variance is its own.
_OWN = 1e-8


class StructureFunction(AbstractResult):
    """How alike a region's connections and its functional connectivity are.

    - `regional` (region,): correlation of a region's row of weights with its row of functional
      connectivity; NaN where the region has fewer than three pairs, or all its weights, or all its
      correlations, are the same.
    - `overall`: of all pairs of regions together.
    - `count` (region,): pairs that a region's value is of.
    - `method`, `pairs`: as they were asked for.
    - `status` (region,): NOT_FINITE where there is no value.
    """

    regional: Float[Array, "region"]
    overall: Float[Array, ""]
    count: Int[Array, "region"]
    method: str = eqx.field(static=True)
    pairs: str = eqx.field(static=True)

    @property
    def status(self) -> Int[Array, "region"]:
        """Whether a region has a value (`Status`)."""
        return finite_or_not(self.regional[None])

    @property
    def stats(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def summary(self) -> dict[str, Any]:
        """The values, and what they are of."""
        how = f"{self.method}, {self.pairs} pairs"
        return {"regional": self.regional, "overall": self.overall, "correlation": how}


class StructureFunctionFit(AbstractResult):
    """Functional connectivity as a linear function of several matrices.

    - `r_squared` (region,): share of the variance of a region's row of functional connectivity
      that the predictors' rows explain, by least squares; `adjusted` (region,): the same adjusted
      for their number, 1 − (1 − R²)(n − 1)/(n − p − 1).
    - `coefficients` (region, predictor): of predictors and response scaled to variance one.
    - `overall`, `overall_adjusted`, `overall_coefficients` (predictor,): of all pairs of regions:
      N(N − 1)/2 of them where all matrices are symmetric to rounding, N(N − 1) otherwise.
    - `predictors`: their names.
    - `status` (region,): NOT_FINITE where a predictor, or the response, is constant;
      ILL_CONDITIONED where one predictor follows from the others (values are NaN there).
    """

    r_squared: Float[Array, "region"]
    adjusted: Float[Array, "region"]
    coefficients: Float[Array, "region predictor"]
    overall: Float[Array, ""]
    overall_adjusted: Float[Array, ""]
    overall_coefficients: Float[Array, "predictor"]
    status: Int[Array, "region"]
    predictors: tuple[str, ...] = eqx.field(static=True)

    @property
    def stats(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def summary(self) -> dict[str, Any]:
        """What is explained, and by what."""
        by = ", ".join(self.predictors)
        return {"predictors": by, "adjusted": self.adjusted, "overall": self.overall}


def structure_function(
    structure: ArrayLike,
    function: ArrayLike,
    *,
    method: str = "spearman",
    pairs: str = "connected",
) -> StructureFunction:
    """Structure–function coupling: correlation of weights with functional connectivity.

    **Arguments:**

    - `structure` (region, region): weights, row j what region j receives (`connectome.weights`).
    - `function` (region, region): functional connectivity (`functional_connectivity`).
    - `method`: "spearman" (of ranks; ties share theirs) or "pearson".
    - `pairs`: "connected" ones (weight not zero) or "all"; a region with itself never counts.

    Differentiable by both matrices with "pearson"; ranks have no slope. Raises `ValueError` for bad
    arguments; warns where a region has no value, which is then NaN.

    Source: Honey et al., PNAS 106, 2035 (2009: all pairs); region by region Baum et al., PNAS 117,
    771 (2020: Spearman's, of the connected ones).
    """
    weights, functional = _square("structure", structure), _square("function", function)
    _checks.shape("function", functional, weights.shape, "as the structure")
    _checks.one_of("method", method, _METHODS)
    _checks.one_of("pairs", pairs, _PAIRS)
    regional, overall, count = _coupled(weights, functional, pairs == "connected", method)
    if _checks.on_host(regional):
        lost = np.flatnonzero(np.isnan(np.asarray(regional)))
        if lost.size:
            warnings.warn(
                f"{lost.size} of {len(regional)} regions have fewer than three pairs, or pairs "
                f"that are all alike (region {lost[0]} for one): their coupling is NaN.",
                stacklevel=2,
            )
    return StructureFunction(regional, overall, count, method, pairs)


def structure_function_fit(
    function: ArrayLike, predictors: Mapping[str, ArrayLike]
) -> StructureFunctionFit:
    """Functional connectivity by multilinear regression on matrices of communication.

    **Arguments:**

    - `function` (region, region): functional connectivity.
    - `predictors`: matrices (region, region) by name: distances, `shortest_paths`,
      `communicability`. A region with itself does not count.

    Raises `ValueError` for bad arguments, for predictors that are not finite (regions that no path
    leads to), and for fewer than two pairs more than predictors.

    Source: Vázquez-Rodríguez et al., PNAS 116, 21219 (2019), whose predictors are Euclidean
    distance, path length and communicability.
    """
    functional = _square("function", function)
    if not isinstance(predictors, Mapping) or not predictors:
        _checks.fail("predictors", "be matrices by name", f"they are {_checks.kind_of(predictors)}")
    found = []
    for name, value in predictors.items():
        matrix = _square(f"predictors[{name!r}]", value)
        _checks.shape(f"predictors[{name!r}]", matrix, functional.shape, "as `function`")
        found.append(matrix)
    n, p = functional.shape[0] - 1, len(found)
    if n < p + 2:
        _checks.fail("predictors", f"be at most {max(n - 2, 0)} for {n + 1} regions", f"are {p}")
    values = _fitted(functional, jnp.stack(found))
    return StructureFunctionFit(**values, predictors=tuple(predictors))


def communicability(weights: ArrayLike) -> Float[Array, "region region"]:
    """Walks of all lengths between regions, exp(D^-½ W D^-½), D the sums of the rows.

    Each walk counts by the product of its weights over the factorial of its length. Regions without
    connections have zeros, and one with themselves. Differentiable.

    Raises `ValueError` for weights (region, region) that are negative or not symmetric.

    Source: Crofts and Higham, J. R. Soc. Interface 6, 411 (2009).
    """
    array = _weights(weights)
    if _checks.is_concrete(array):
        some = np.asarray(array)
        if np.abs(some - some.T).max() > 1e-6 * some.max():
            must = "be symmetric: those before rows are normalised, or `connectome.symmetrised()`'s"
            _checks.fail("weights", must, "they are not")
    sums = array.sum(axis=1)
    inverse = jnp.where(sums > 0, 1 / jnp.sqrt(jnp.where(sums > 0, sums, 1)), 0)
    return jax.scipy.linalg.expm(inverse[:, None] * array * inverse)


def shortest_paths(weights: ArrayLike) -> Float[Array, "region region"]:
    """Lengths of the shortest paths, where a connection is as long as its weight's inverse.

    Entry (j, k) is of the path to region j from region k; infinite where there is none. On the
    host: not under JAX's transformations.

    Raises `ValueError` for weights (region, region) that are negative.

    Source: Dijkstra, Numer. Math. 1, 269 (1959), with SciPy.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import dijkstra

    some = np.asarray(_weights(weights), dtype=float)
    to, source = np.nonzero(some)
    lengths = csr_array((1 / some[to, source], (source, to)), some.shape)
    return as_array(dijkstra(lengths).T, dtype=float)


def _square(name: str, matrix: Any) -> jax.Array:
    array = _checks.floats(name, matrix)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.shape[0] < 4:
        must = "have axes (region, region), of four regions or more"
        _checks.fail(name, must, f"its shape is {array.shape}")
    _checks.finite(name, array)
    return array


def _weights(weights: Any) -> jax.Array:
    array = _square("weights", weights)
    if _checks.is_concrete(array) and float(array.min()) < 0:
        _checks.fail("weights", "not be negative", f"the smallest is {float(array.min()):g}")
    return array


def _correlated(
    first: jax.Array, second: jax.Array, counts: Bool[Array, "row column"], method: str
) -> Float[Array, "row"]:
    """Correlation row by row over the columns that count; NaN where there is none."""
    if method == "spearman":
        both = jnp.concatenate([first, second])  # what does not count comes last
        both = jnp.where(jnp.concatenate([counts, counts]), both, jnp.inf)
        first, second = jnp.split(jax.scipy.stats.rankdata(both, axis=1), 2)
    number = counts.sum(axis=1)
    products = []
    centred = []
    for some in (first, second):
        top = jnp.where(counts, jnp.abs(some), 0).max(axis=1, keepdims=True)
        top = jax.lax.stop_gradient(jnp.where(top > 0, top, 1))
        some = jnp.where(counts, some / top, 0)
        mean = some.sum(axis=1, keepdims=True) / jnp.maximum(number, 1)[:, None]
        part = jnp.where(counts, some - mean, 0)
        norm = (part**2).sum(axis=1)
        # A spread of 64 roundings is none.
        still = norm <= number * (64 * jnp.finfo(some.dtype).eps) ** 2
        products.append(jnp.where(still, jnp.nan, jnp.where(still, 1, norm)))
        centred.append(part)
    scale = jnp.sqrt(products[0]) * jnp.sqrt(products[1])
    found = (centred[0] * centred[1]).sum(axis=1) / scale
    return jnp.where(number < 3, jnp.nan, jnp.clip(found, -1, 1))


@partial(jax.jit, static_argnums=3)
def _coupled(
    weights: jax.Array, functional: jax.Array, connected: Any, method: str
) -> tuple[jax.Array, jax.Array, jax.Array]:
    counts = ~jnp.eye(weights.shape[0], dtype=bool) & ((weights != 0) | ~jnp.asarray(connected))
    regional = _correlated(weights, functional, counts, method)
    first, second, chosen = (some.reshape(1, -1) for some in (weights, functional, counts))
    return regional, _correlated(first, second, chosen, method)[0], counts.sum(axis=1)


@jax.jit
def _fitted(functional: jax.Array, predictors: jax.Array) -> dict[str, Any]:
    n, p = functional.shape[0], predictors.shape[0]
    other = ~np.eye(n, dtype=bool)
    response = functional[other].reshape(n, n - 1)
    columns = predictors[:, other].reshape(p, n, n - 1)
    every = jnp.concatenate([response[None], columns])
    rows, still = _products(every)
    alone, silent = _products(every.reshape(p + 1, 1, -1))
    found = _regressed(jnp.concatenate([rows, alone], -1), jnp.concatenate([still, silent]))
    # Symmetric matrices hold each pair twice: shares are the same, but not adjusted ones.
    every = jnp.concatenate([functional[None], predictors])
    close = 64 * jnp.finfo(every.dtype).eps * jnp.abs(every).max(axis=(1, 2), keepdims=True)
    symmetric = (jnp.abs(every - every.swapaxes(1, 2)) <= close).all()
    pairs = jnp.where(symmetric, n * (n - 1) // 2, n * (n - 1))
    share, coefficients, status = found
    adjusted = _adjusted(share, jnp.append(jnp.full(n, n - 1), pairs), p)
    regional = {"r_squared": share, "adjusted": adjusted, "coefficients": coefficients}
    names = ("overall", "overall_adjusted", "overall_coefficients")
    overall = {name: some[-1] for name, some in zip(names, regional.values(), strict=True)}
    return {name: some[:-1] for name, some in {**regional, "status": status}.items()} | overall


def _adjusted(share: jax.Array, number: Any, predictors: int) -> jax.Array:
    """A share of the variance, adjusted for how many predictors explain it."""
    return 1 - (1 - share) * (number - 1) / (number - predictors - 1)


def _products(
    every: Float[Array, "response_and_predictor row pair"],
) -> tuple[Float[Array, "one other row"], Bool[Array, "row"]]:
    """Correlations of response and predictors with each other, and which rows have none."""
    top = jax.lax.stop_gradient(jnp.abs(every).max(axis=-1, keepdims=True))
    every = every / jnp.where(top > 0, top, 1)
    every = every - every.mean(axis=-1, keepdims=True)
    norm = jnp.sqrt((every**2).sum(axis=-1, keepdims=True))
    still = norm <= 64 * jnp.finfo(every.dtype).eps * every.shape[-1] ** 0.5
    every = every / jnp.where(still, 1, norm)
    return jnp.einsum("arn,brn->abr", every, every), still.any(axis=0)[:, 0]


def _regressed(
    products: Float[Array, "one other row"], unknown: Bool[Array, "row"]
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """R², coefficients (row, predictor) and status of a regression for each row."""
    p = products.shape[0] - 1
    with_response = products[0, 1:]
    identity = jnp.eye(p, dtype=products.dtype)[..., None]
    lone = jnp.where(unknown, identity, products[1:, 1:])
    sides = jnp.broadcast_to(identity, lone.shape)
    solved = solve_each(lone, jnp.concatenate([with_response[:, None], sides], axis=1))
    coefficients, inverse = solved[:, 0], jnp.diagonal(solved[:, 1:])  # (row, predictor)
    alike = ~((inverse > 0) & (inverse < 1 / _OWN)).all(axis=-1)
    share = (coefficients * with_response).sum(axis=0)
    status = jnp.where(alike, Status.ILL_CONDITIONED, Status.OK)
    status = jnp.where(unknown, Status.NOT_FINITE, status)
    share = jnp.where(status == Status.OK, jnp.clip(share, 0, 1), jnp.nan)
    coefficients = jnp.where(status == Status.OK, coefficients, jnp.nan).T
    return share, coefficients, status
