"""A graph whose connections take time."""

import itertools
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Inexact, Num

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.cards import shown
from ngnmm_jax._core.parameters import declared, with_fields
from ngnmm_jax.connectome import Connectome, Eigenmodes
from ngnmm_jax.graphs.base import AbstractGraph
from ngnmm_jax.graphs.delays import AbstractDelays, as_delays, span_of
from ngnmm_jax.graphs.dense import DenseGraph

# By this factor delays may become shorter or longer where programs do not know them.
_ROOM = 2.0


class DelayedGraph(AbstractGraph):
    """Another graph, over whose connections values are on their way for a while.

    What it says by `apply` is of values that do not change: its sums, modes and all that follows
    at rest are the other graph's. Of values that do, region j gets
    Σ_k weights_jk values_k(t - τ_jk) (`times`); of values that grow as exp(z t), those that
    `transfer(z)` makes of them.

    **Arguments:**

    - `graph`: who is connected to whom.
    - `delays`: any of `AbstractDelays`; or one number, or a matrix (region, region), in the unit
      of the model's time.
    - `span`: the shortest and the longest delay that programs allow for where they do not know
      them (under JAX's transformations); by default half the shortest one and twice the longest.
    """

    graph: AbstractGraph
    delays: AbstractDelays  # type: ignore[misc]
    span: tuple[float, float] | None = eqx.field(static=True, metadata={"decides": False})
    #: How the delays lie on a grid of steps, in programs that take them.
    reach: Any = eqx.field(static=True, metadata={"decides": False})

    def __init__(
        self, graph: AbstractGraph, delays: Any, span: tuple[float, float] | None = None
    ) -> None:
        if not isinstance(graph, AbstractGraph) or isinstance(graph, DelayedGraph):
            must = "be a graph without delays, as `graphs.DenseGraph(connectome)` is"
            _checks.fail("graph", must, f"it is {_checks.kind_of(graph)}")
        self.graph, self.delays = graph, as_delays(delays)
        self._there()
        n, shape = graph.n_regions, jnp.shape(self.delays.between())
        if shape not in ((), (n, n)):
            must = f"have shape ({n}, {n}), for {n} regions"
            _checks.fail("delays", must, f"their shape is {shape}")
        if span is None and _checks.is_concrete(self.times(), self._there()):
            low, high = self.range()
            span = (low / _ROOM, high * _ROOM)
        self.span, self.reach = span, None

    def __check_init__(self) -> None:
        if self.span is not None and not 0 < self.span[0] <= self.span[1] < float("inf"):
            must = "be the shortest and the longest delay, both above zero"
            _checks.fail("span", must, f"it is {self.span}")
        if _checks.is_concrete(self.times(), self._there()):
            self.range()

    def _there(self) -> Any:
        """Weights, which say what connections there are; of very many regions that there are any.

        `ValueError` where very many have a delay for each connection.
        """
        limit = self.graph.DENSE_LIMIT
        if self.n_regions <= limit or isinstance(self.graph, DenseGraph):
            return self.graph.matrix()
        if not self.delays.common:
            must = f"be one delay of all connections, as `delays=5.0`, of more than {limit} regions"
            _checks.fail("delays", must, f"there is one for each pair of {self.n_regions}")
        return jnp.ones((1, 1))

    @property
    def connectome(self) -> Connectome | None:  # type: ignore[override]
        """What the other graph was made of, where that is known."""
        return self.graph.connectome

    @property
    def n_regions(self) -> int:
        """The number of regions."""
        return self.graph.n_regions

    def apply(self, values: Num[Array, "region *run"]) -> Num[Array, "region *run"]:
        """What each region gets of values that do not change."""
        return self.graph.apply(values)

    def matrix(self) -> Any:
        """The weights (region, region)."""
        return self.graph.matrix()

    def row_sums(self, dtype: Any = None) -> Float[Array, "region"]:
        """What each region gets where all values are one."""
        return self.graph.row_sums(dtype)

    def even(self) -> bool:
        """Whether all rows sum to the same."""
        return self.graph.even()

    def spectrum(self) -> tuple[Any, int | None]:
        """Eigenvalues of the weights, without delays."""
        return self.graph.spectrum()

    def eigenvectors(self) -> np.ndarray:
        """Of the weights, without delays."""
        return self.graph.eigenvectors()

    @property
    def exact(self) -> bool:
        """Whether all eigenvalues of the weights are known."""
        return self.graph.exact

    def row_sizes(self) -> Float[Array, "region"]:
        """Absolute weights, summed."""
        return self.graph.row_sizes()

    def symmetriser(self) -> np.ndarray | None:
        """What makes the weights symmetric, without delays."""
        return self.graph.symmetriser()

    def components(self) -> np.ndarray:
        """For each region the number of the part that it is in."""
        return self.graph.components()

    def leading(self, k: int, which: str = "LR") -> Eigenmodes:
        """Of the weights, without delays."""
        return self.graph.leading(k, which)

    def transposed(self) -> AbstractGraph:
        """Of the weights, without delays."""
        return self.graph.transposed()

    @property
    def labels(self) -> tuple[str, ...]:
        """The regions' names."""
        return self.graph.labels

    def times(self) -> Float[Array, "..."]:
        """Delays (region, region), or () of all connections; in the unit of the model's time."""
        return self.delays.between()

    def range(self, points: Mapping[str, Any] | None = None) -> tuple[float, float]:
        """The shortest and the longest delay of connections that there are.

        Where JAX traces them those of `span`; `ValueError` where that is not known either.

        `points`: values (run, …) of parameters that runs differ in, as of the speed. Delays are
        taken to rise or fall with each.
        """
        known = declared(self.delays)
        varied = {name: value for name, value in (points or {}).items() if name in known}
        if not _checks.is_concrete(self.times(), self._there(), varied):
            return self._known_span()
        ends = [(np.min(value), np.max(value)) for value in map(np.asarray, varied.values())]
        spans = []
        for corner in itertools.product(*ends):
            values = map(as_array, corner)
            delays = with_fields(self.delays, **dict(zip(varied, values, strict=True)))
            spans.append(span_of(delays.between(), self._there()))
        return min(low for low, _ in spans), max(high for _, high in spans)

    def _known_span(self) -> tuple[float, float]:
        if self.span is None:
            must = "be given where delays are traced by JAX"
            but = (
                "it is not: use `graphs.DelayedGraph(graph, delays, span=(shortest, longest))`, "
                "or make the network with numbers and then use `with_parameters`"
            )
            _checks.fail("span", must, but)
        return self.span

    def transfer(self, z: Inexact[Array, "*rate"]) -> Complex[Array, "*rate region region"]:
        """The weights by which values count that grow as exp(z t), weights_jk exp(-z τ_jk)."""
        z = as_array(z)[..., None, None]
        weights = self.graph.matrix()
        # Where there is no connection any delay will do, but for derivatives by its weight.
        times = self.times()
        times = jnp.where((weights != 0) | jnp.isfinite(times), times, 0.0)
        return weights * jnp.exp(-z * times)

    def said(self) -> str:
        """The delays in a line."""
        numbers = {k: v for k, v in vars(self.delays).items() if k in declared(self.delays)}
        given = ", ".join(f"{name} {shown(value)}" for name, value in numbers.items())
        if not _checks.is_concrete(self.times(), self._there()):
            return given or type(self.delays).__name__
        low, high = self.range()
        span = f"{low:.4g}" if low == high else f"{low:.4g} … {high:.4g}"
        return f"{span} ({given})" if given and set(numbers) != {"delay"} else span

    def undelayed(self) -> AbstractGraph:
        """The graph without its delays."""
        return self.graph

    def over_runs(self) -> "DelayedGraph":
        """The same whose delays have a last axis for runs."""
        return with_fields(self, delays=self.delays.over_runs())
