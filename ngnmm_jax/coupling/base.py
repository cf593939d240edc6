"""The abstract coupling: from the outputs of all regions to the input of each."""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.cards import Pictured
from ngnmm_jax._core.parameters import with_fields, without_names
from ngnmm_jax.graphs.base import AbstractGraph


class AbstractCoupling(Pictured):
    """What passes between regions over a graph, and how strongly.

    A coupling of one's own has the fields `graph` and `strength`, and says what regions receive
    (`inputs`); where that is linear, `linear` says so, and homogeneous states, their transverse
    modes and linear response are known of it. Of others is known what takes any vector field.

    A PyTree. The strength is the parameter "coupling" of a network; it and other fields with one
    value per region broadcast against (region, *run), as a model's parameters do.
    """

    #: Who is connected to whom.
    graph: eqx.AbstractVar[AbstractGraph]
    #: A scalar, or one value for each region that receives.
    strength: eqx.AbstractVar[Float[Array, "..."]]
    #: Methods that a definition of its numbers traces.
    TRACED: ClassVar[frozenset[str]] = frozenset({"inputs"})

    def __check_init__(self) -> None:
        if not isinstance(self.graph, AbstractGraph):
            but = f"it is {_checks.kind_of(self.graph)}"
            must = "be a graph, as `graphs.DenseGraph(connectome)` is"
            _checks.fail(f"{type(self).__name__}.graph", must, but)
        if not eqx.is_inexact_array(self.strength):
            must = "be an array of floats, as `models.parameter` makes it"
            _checks.fail(f"{type(self).__name__}.strength", must, f"it is {self.strength!r}")

    def card(self) -> tuple[str, dict[str, Any]]:
        """Its class, and what it holds."""
        return f"{type(self).__name__} of {self.graph.n_regions} regions", dict(vars(self))

    @abc.abstractmethod
    def inputs(self, outputs: Float[Array, "region *run"]) -> Float[Array, "region *run"]:
        """What each region receives where regions send these outputs, for each run by itself."""

    def linear(self) -> AbstractGraph | None:
        """The graph of a linear coupling, whose inputs are `strength * graph.apply(outputs)`.

        That may be another one than `graph`; None where the inputs are not linear in the outputs.
        """
        return None

    def bare(self) -> "AbstractCoupling":
        """The same without names, which no program depends on."""
        return without_names(self)

    def over_runs(self) -> "AbstractCoupling":
        """The same with a second axis on what has values per region, and a graph for runs."""
        held = {k: v for k, v in vars(self).items() if not isinstance(v, AbstractGraph)}
        return with_fields(self, **jax.tree.map(spread, held), graph=self.graph.over_runs())

    def undelayed(self) -> "AbstractCoupling":
        """The same over its graph without delays: itself, where that has none."""
        return with_fields(self, graph=self.graph.undelayed())


class AbstractSum(AbstractCoupling):
    """A coupling by weighted sums of what regions send; its graph may have delays.

    Region j receives, with the graph's weights and delays τ_jk,

        c_j(t) = received(Σ_k weights_jk sent(output_k)(t - τ_jk), output_j(t)),

    where `sent` and `received` act region by region. By default a region sends its output.
    """

    #: Methods that a definition of its numbers traces.
    TRACED: ClassVar[frozenset[str]] = frozenset({"inputs", "sent", "received"})

    def sent(self, outputs: Float[Array, "region *run"]) -> Float[Array, "region *run"]:
        """What goes into the tracts where regions have these outputs."""
        return outputs

    @abc.abstractmethod
    def received(
        self, sums: Float[Array, "region *run"], outputs: Float[Array, "region *run"]
    ) -> Float[Array, "region *run"]:
        """What regions receive, from the sums that arrive and their own outputs at that time."""

    def inputs(self, outputs: Float[Array, "region *run"]) -> Float[Array, "region *run"]:
        """What each region receives where outputs do not change, or are not delayed."""
        return self.received(self.graph.apply(self.sent(outputs)), outputs)


def spread(leaf: Any) -> Any:
    """A value per region, (region,), as (region, 1); all else as it is."""
    return leaf[:, None] if getattr(leaf, "ndim", 0) == 1 else leaf
