"""Couplings with a nonlinearity of each connection."""

import abc
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.parameters import declared, with_fields
from ngnmm_jax._core.types import Channels, Field, ParameterArray
from ngnmm_jax.coupling.base import AbstractCoupling, AbstractSum
from ngnmm_jax.coupling.linearised import Linearised
from ngnmm_jax.graphs.base import AbstractGraph
from ngnmm_jax.graphs.dense import MatrixGraph
from ngnmm_jax.graphs.past import Reach, Reads, arriving_apart
from ngnmm_jax.graphs.structured import Alike
from ngnmm_jax.models.parameters import as_parameter, parameter


class KuramotoCoupling(AbstractSum):
    """Region j receives `strength * Σ_k weights_jk sin(output_k - output_j - lag)`.

    Outputs are phases (rad). As two sums, of sines and of cosines: it costs what a linear coupling
    does, and knows delays. Over a graph with delays output_k is that of the past.

    Source: Kuramoto; the lag is that of Sakaguchi and Kuramoto, Prog. Theor. Phys. 76, 576 (1986).

    **Arguments:**

    - `graph`: the weights, as `graphs.DenseGraph(connectome)`.
    - `strength`, `lag`: a scalar, or one value for each region that receives.
    """

    graph: AbstractGraph
    strength: Float[Array, "..."] = eqx.field(converter=partial(as_parameter, "strength"))
    lag: ParameterArray = parameter(0.0, unit="rad", doc="phase lag of what is received")

    def sent(self, outputs: Field) -> Channels:
        """Sines and cosines, (channel, region, *run)."""
        return jnp.stack([jnp.sin(outputs), jnp.cos(outputs)])

    def received(self, sums: Channels, outputs: Field) -> Field:
        """The sine of the differences, summed, times the strength."""
        own = outputs + self.lag
        return self.strength * (jnp.cos(own) * sums[0] - jnp.sin(own) * sums[1])


class AbstractPairwise(AbstractCoupling):
    """Region j receives `strength * Σ_k weights_jk passed(output_k, output_j)`.

    A class of one's own has the fields `graph` and `strength`, and says `passed`; what it declares
    by `parameter` is one number for all connections. A step evaluates it N² times for N regions,
    with arrays of (region, region, run): for large networks, write it as an `AbstractSum` where
    that can be done (`KuramotoCoupling` is one). Over a graph with delays output_k is that of the
    past, and output_j that of now; a run then holds N² values for each step of a block.
    """

    #: Methods that a definition of its numbers traces.
    TRACED: ClassVar[frozenset[str]] = frozenset({"inputs", "passed"})

    def __check_init__(self) -> None:
        for name in declared(self).keys() - {"strength"}:
            shape = jnp.shape(getattr(self, name))
            if shape:
                kind = type(self).__name__
                _checks.fail(f"{kind}.{name}", "be one number", f"its shape is {shape}")

    @property
    def has_modes(self) -> bool:
        """What passes between regions alike is the same for all connections."""
        return True

    @abc.abstractmethod
    def passed(self, sending: Channels, receiving: Channels) -> Channels:
        """What passes over a connection, elementwise, from both regions' outputs.

        These broadcast against each other: (1, region, *run) and (region, 1, *run).
        """

    def inputs(self, outputs: Field) -> Field:
        """What each region receives where regions send these (region, *run)."""
        if isinstance(self.graph, Alike):
            return self.strength * self.graph.apply(self.passed(outputs, outputs))
        return self._summed(self.passed(outputs[None], outputs[:, None]))

    def _summed(self, values: jax.Array) -> Field:
        """The sum over connections of values (to, from, *run)."""
        return self.strength * jnp.einsum(
            "jk,jk...->j...", self.graph.matrix(), values, precision="highest"
        )

    def sent(self, outputs: Field) -> Field:
        """What goes into the tracts."""
        return outputs

    def delayed(self, prefix: str = "") -> dict[str, Any]:
        """Itself, where its graph has delays."""
        return {} if self.delays is None else {prefix: self}

    def reads(self, dt: Any, reach: Reach) -> Reads:
        """Where its connections read the past, in steps `dt`."""
        there = MatrixGraph(jnp.where(self.graph.matrix() != 0, 1.0, 0.0))
        return Reads.of(with_fields(self.delayed_graph, graph=there), dt, reach)

    def arriving(self, reads: Reads, past: Any, newest: Any, reach: Reach) -> Any:
        """What arrives over each connection, (step, moment, to, from, *run)."""
        return arriving_apart(reads, past, newest, reach)

    def reached(self, sums: Mapping[str, Channels], outputs: Field, prefix: str = "") -> Field:
        """What regions receive, where (from, to, *run) arrives over each connection."""
        if self.delays is None:
            return self.inputs(outputs)
        there = jnp.swapaxes(sums[prefix], 0, 1)
        values = self.passed(there, outputs[:, None])
        weights = self.graph.matrix()
        weights = weights.reshape(*weights.shape, *(1,) * (values.ndim - 2))
        return self._summed(jnp.where(weights != 0, values, 0.0))

    def linearised(self, outputs: Field) -> tuple[Linearised, ...]:
        """What small changes of outputs (region,) change, with the graph's delays: one term."""
        graph: Any = self.graph
        one = jnp.ones((1, 1, *outputs.shape), outputs.dtype)
        if isinstance(graph, Alike):
            sent, own = self._slopes(outputs, outputs)
            own = graph.apply(self.strength * own)
            return (Linearised(graph, self.strength * sent * one, one, own * one),)
        n = graph.n_regions
        pairs = (jnp.broadcast_to(x, (n, n)) for x in (outputs[None], outputs[:, None]))
        by_sender, by_receiver = self._slopes(*pairs)
        weights = graph.matrix()
        own = self.strength * (weights * by_receiver).sum(axis=1)
        through: Any = MatrixGraph(weights * by_sender)
        if graph.delays is not None:
            through = with_fields(graph, graph=through)
        return (Linearised(through, self.strength * one, one, own * one),)

    def received(self, sums: Channels, outputs: Field) -> Field:
        """What regions that are all alike receive, where what each sent, times the sum of a row,
        arrives; NaN where rows sum to zero.
        """
        rows = self.graph.row_sums()
        return self.strength * rows * self.passed(sums / rows, outputs)

    def _slopes(self, sending: Field, receiving: Field) -> tuple[Field, Field]:
        """The derivatives of what passes, by what either region sends."""
        one = jnp.ones_like(sending)
        by_sender = jax.jvp(lambda x: self.passed(x, receiving), (sending,), (one,))[1]
        return by_sender, jax.jvp(lambda x: self.passed(sending, x), (receiving,), (one,))[1]


class PairwiseCoupling(AbstractPairwise):
    """Region j receives `strength * Σ_k weights_jk function(output_k, output_j)`.

    As `AbstractPairwise`, of which a class of one's own may have parameters.

    **Arguments:**

    - `graph`: the weights, as `graphs.DenseGraph(connectome)`.
    - `strength`: a scalar, or one value for each region that receives.
    - `function`: what passes, elementwise, from what the sending region has for an output and
      what the receiving one has; made of `jax.numpy`. Files cannot hold it (`ng.save`).
    """

    graph: AbstractGraph
    strength: Float[Array, "..."] = eqx.field(converter=partial(as_parameter, "strength"))
    function: Any = eqx.field(static=True)

    def __check_init__(self) -> None:
        if not callable(self.function):
            but = f"it is {_checks.kind_of(self.function)}"
            _checks.fail("function", "be a function of two regions' outputs", but)

    def passed(self, sending: Channels, receiving: Channels) -> Channels:
        """The function."""
        return self.function(sending, receiving)
