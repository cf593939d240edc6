"""The abstract coupling: from the outputs of all regions to the input of each."""

import abc
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.parameters import with_fields, without_names
from ngnmm_jax._core.pictured import Pictured
from ngnmm_jax._core.types import Channels, Field
from ngnmm_jax.coupling.linearised import Linearised
from ngnmm_jax.graphs.base import AbstractGraph
from ngnmm_jax.graphs.delayed import DelayedGraph
from ngnmm_jax.graphs.dense import MatrixGraph
from ngnmm_jax.graphs.past import Reach, Reads, arriving


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
    def inputs(self, outputs: Channels) -> Channels:
        """What each region receives where regions send these (region, *run), run by run."""

    @property
    def has_modes(self) -> bool:
        """Whether, where regions are alike, perturbations part along the modes of its graph.

        Then `inputs` and `linearised` take regions alike, of any axes, with `graphs.Alike` as the
        graph. By default of what is linear.
        """
        return self.linear() is not None

    def linear(self) -> AbstractGraph | None:
        """The graph of a linear coupling, whose inputs are `strength * graph.apply(outputs)`.

        That may be another one than `graph`; None where the inputs are not linear in the outputs.
        """
        return None

    def linearised(self, outputs: Channels) -> tuple[Linearised, ...]:
        """What small changes of outputs (region,) change: the terms of a sum, one for each graph.

        Of any state; exact, and differentiable. By default from the whole derivative of `inputs`,
        which knows no delays: `ValueError` where the graph has them.
        """
        if self.graph.delays is not None:
            kind = type(self).__name__
            raise ValueError(
                f"`{kind}` has delays, and does not say what is delayed: make it an "
                "`AbstractSum`, with `sent` and `received`."
            )
        one = jnp.ones((1, 1, *outputs.shape), outputs.dtype)
        graph = MatrixGraph(jax.jacfwd(self.inputs)(outputs))
        return (Linearised(graph, one, one, jnp.zeros_like(one)),)

    @property
    def delays(self) -> Any:
        """How long what regions send is on its way; None where it is there at once."""
        return self.graph.delays

    @property
    def delayed_graph(self) -> DelayedGraph:
        """Its graph, where that has delays."""
        assert isinstance(self.graph, DelayedGraph)
        return self.graph

    def delayed(self, prefix: str = "") -> dict[str, Any]:
        """What is delayed: couplings by what comes before the names of their parameters.

        They say what is `sent`, where they read it (`reads`), and what is `arriving`. `ValueError`
        where the graph has delays, and what is delayed is not said.
        """
        if self.delays is not None:
            kind = type(self).__name__
            must = "be an `AbstractSum` where it has delays: what is `sent`, and what `received`"
            must += "; or an `AbstractPairwise`: what is `passed`"
            _checks.fail("coupling", must, f"it is {kind}")
        return {}

    def reached(self, sums: Mapping[str, Channels], outputs: Field, prefix: str = "") -> Field:
        """What regions receive, (region, *run), where `sums` arrive of what is `delayed`."""
        return self.inputs(outputs)

    def over(self, change: Callable[[AbstractGraph], AbstractGraph]) -> "AbstractCoupling":
        """The same over another graph, made of its own; without checks."""
        return with_fields(self, graph=change(self.graph))

    def bare(self) -> "AbstractCoupling":
        """The same without names, which no program depends on."""
        return without_names(self)

    def over_runs(self) -> "AbstractCoupling":
        """The same with a second axis on what has values per region, and a graph for runs."""
        held = {k: v for k, v in vars(self).items() if not isinstance(v, AbstractGraph)}
        return with_fields(self, **jax.tree.map(spread, held), graph=self.graph.over_runs())

    def undelayed(self) -> "AbstractCoupling":
        """The same over its graph without delays: itself, where that has none."""
        return self.over(lambda graph: graph.undelayed())


class AbstractSum(AbstractCoupling):
    """A coupling by weighted sums of what regions send; its graph may have delays.

    Region j receives, with the graph's weights and delays τ_jk,

        c_j(t) = received(Σ_k weights_jk sent(output_k)(t - τ_jk), output_j(t)),

    where `sent` and `received` act region by region. By default a region sends its output. It may
    send several things, which are summed apart: `sent` gives (channel, region, *run) then, and
    `received` takes sums of that shape.
    """

    #: Methods that a definition of its numbers traces.
    TRACED: ClassVar[frozenset[str]] = frozenset({"inputs", "sent", "received"})

    @property
    def has_modes(self) -> bool:
        """Sums of what regions alike send part along the modes of the graph."""
        return True

    def sent(self, outputs: Field) -> Channels:
        """What goes into the tracts, (region, *run) or (channel, region, *run)."""
        return outputs

    @abc.abstractmethod
    def received(self, sums: Channels, outputs: Field) -> Field:
        """What regions receive, (region, *run), from the sums and their own outputs of now.

        The sums have the shape of what is sent.
        """

    def delayed(self, prefix: str = "") -> dict[str, Any]:
        """Itself, where its graph has delays."""
        return {} if self.delays is None else {prefix: self}

    def reads(self, dt: Any, reach: Reach) -> Reads:
        """Where its connections read the past, in steps `dt`."""
        return Reads.of(self.delayed_graph, dt, reach)

    def arriving(self, reads: Reads, past: Any, newest: Any, reach: Reach) -> Any:
        """The sums of what was sent, (step, moment, region, *channel, *run): `graphs.past`."""
        return arriving(self.delayed_graph, reads, past, newest, reach)

    def reached(self, sums: Mapping[str, Channels], outputs: Field, prefix: str = "") -> Field:
        """What regions receive, (region, *run), where `sums` arrive of what is `delayed`."""
        if self.delays is None:
            return self.inputs(outputs)
        return self.received(sums[prefix], outputs)

    def inputs(self, outputs: Field) -> Field:
        """What each region receives where outputs do not change, or are not delayed."""
        sent = self.sent(outputs)
        through = self.graph.apply if sent.ndim == outputs.ndim else jax.vmap(self.graph.apply)
        return self.received(through(sent), outputs)

    def linearised(self, outputs: Field) -> tuple[Linearised, ...]:
        """What small changes of outputs (region,) change, with the graph's delays: one term.

        Exact, and differentiable; `sent` and `received` act region by region.
        """
        one = jnp.ones_like(outputs)
        values, sent = jax.jvp(self.sent, (outputs,), (one,))
        single = values.ndim == outputs.ndim
        sums = (self.graph.apply if single else jax.vmap(self.graph.apply))(values)

        def by_sums(change: jax.Array) -> jax.Array:
            return jax.jvp(lambda s: self.received(s, outputs), (sums,), (change,))[1]

        if single:
            received, sent = by_sums(jnp.ones_like(sums))[None], sent[None]
        else:
            each = jnp.eye(sums.shape[0], dtype=sums.dtype)
            each = each.reshape(*each.shape, *(1,) * outputs.ndim)
            received = jax.vmap(by_sums)(jnp.broadcast_to(each, (len(each), *sums.shape)))
        own = jax.jvp(lambda x: self.received(sums, x), (outputs,), (one,))[1]
        return (Linearised(self.graph, received[None], sent[:, None], own[None, None]),)


def spread(leaf: Any) -> Any:
    """A value per region, (region,), as (region, 1); all else as it is."""
    return leaf[:, None] if getattr(leaf, "ndim", 0) == 1 else leaf
