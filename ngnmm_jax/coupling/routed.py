"""Couplings between single outputs and single inputs of models that have several."""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax.numpy as jnp

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.parameters import with_fields
from ngnmm_jax._core.types import Channels
from ngnmm_jax.coupling.base import AbstractCoupling
from ngnmm_jax.coupling.contract import check_coupling
from ngnmm_jax.coupling.linearised import Linearised
from ngnmm_jax.graphs.base import AbstractGraph


class Routed(AbstractCoupling):
    """A coupling that takes one of several outputs of a model to one of its inputs.

    For models with `outputs` and `inputs`: outputs are (output, region, *run), inputs
    (input, region, *run). Several routes make a `CouplingSum`: as of synapses and gap junctions.
    Over a graph with delays the output is that of the past.

    **Arguments:**

    - `coupling`: what passes, as between models of one output and one input.
    - `output`, `input`: their places in the model's `outputs` and `inputs`, from zero.
    - `n_inputs`: how many inputs the model has.
    """

    coupling: AbstractCoupling
    output: int = eqx.field(static=True)
    input: int = eqx.field(static=True)
    n_inputs: int = eqx.field(static=True)

    def __check_init__(self) -> None:
        if not isinstance(self.coupling, AbstractCoupling) or several(self.coupling):
            must = "be a coupling of one output and one input"
            _checks.fail("coupling", must, f"it is {_checks.kind_of(self.coupling)}")
        check_coupling(self.coupling)
        _checks.positive_integer("n_inputs", self.n_inputs)
        for name, most in (("output", None), ("input", self.n_inputs)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 0 or (most is not None and value >= most):
                below = "" if most is None else f" and below {most}"
                _checks.fail(name, f"be a place, from zero{below}", f"it is {value!r}")

    @property  # type: ignore[misc]
    def graph(self) -> AbstractGraph:  # type: ignore[override]
        """That of the coupling."""
        return self.coupling.graph

    @property  # type: ignore[misc]
    def strength(self) -> Any:  # type: ignore[override]
        """That of the coupling."""
        return self.coupling.strength

    @property
    def has_modes(self) -> bool:
        """Whether the coupling has."""
        return self.coupling.has_modes

    def inputs(self, outputs: Channels) -> Channels:
        """What regions receive, (input, region, *run), of outputs (output, region, *run)."""
        return self._placed(self.coupling.inputs(outputs[self.output]))

    def _placed(self, given: Channels) -> Channels:
        """One input among all."""
        return jnp.zeros((self.n_inputs, *given.shape), given.dtype).at[self.input].set(given)

    def delayed(self, prefix: str = "") -> dict[str, Any]:
        """Itself, where its graph has delays."""
        return {prefix: self} if self.coupling.delayed() else {}

    def sent(self, outputs: Channels) -> Channels:
        """What goes into the tracts, of all outputs."""
        coupling: Any = self.coupling
        found: Channels = coupling.sent(outputs[self.output])
        return found

    def reads(self, dt: Any, reach: Any) -> Any:
        """The coupling's."""
        coupling: Any = self.coupling
        return coupling.reads(dt, reach)

    def arriving(self, reads: Any, past: Any, newest: Any, reach: Any) -> Any:
        """The coupling's."""
        coupling: Any = self.coupling
        return coupling.arriving(reads, past, newest, reach)

    def reached(
        self, sums: Mapping[str, Channels], outputs: Channels, prefix: str = ""
    ) -> Channels:
        """What regions receive, where `sums` arrive of what is `delayed`."""
        return self._placed(self.coupling.reached(sums, outputs[self.output], prefix))

    def linearised(self, outputs: Channels) -> tuple[Linearised, ...]:
        """The coupling's own, in their places."""
        n = outputs.shape[0]

        def placed(term: Linearised) -> Linearised:
            into = jnp.zeros((self.n_inputs, *term.received.shape[1:]), term.received.dtype)
            of = jnp.zeros((term.sent.shape[0], n, *term.sent.shape[2:]), term.sent.dtype)
            own = jnp.zeros((self.n_inputs, n, *term.own.shape[2:]), term.own.dtype)
            return Linearised(
                term.graph,
                into.at[self.input].set(term.received[0]),
                of.at[:, self.output].set(term.sent[:, 0]),
                own.at[self.input, self.output].set(term.own[0, 0]),
            )

        return tuple(placed(term) for term in self.coupling.linearised(outputs[self.output]))

    def over_runs(self) -> "Routed":
        """The same for outputs (output, region, run)."""
        return with_fields(self, coupling=self.coupling.over_runs())

    def over(self, change: Callable[[AbstractGraph], AbstractGraph]) -> "Routed":
        """The same over another graph, made of its own; without checks."""
        return with_fields(self, coupling=self.coupling.over(change))


def several(coupling: Any) -> bool:
    """Whether a coupling is between several outputs and inputs."""
    parts = getattr(coupling, "parts", None)
    return isinstance(coupling, Routed) if parts is None else any(map(several, parts.values()))


def routes(coupling: Any) -> list[Routed]:
    """All that a coupling consists of."""
    parts = getattr(coupling, "parts", None)
    if parts is None:
        return [coupling]
    return [route for part in parts.values() for route in routes(part)]
