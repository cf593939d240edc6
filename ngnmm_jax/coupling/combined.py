"""Several couplings at once."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.parameters import with_fields
from ngnmm_jax._core.types import Channels, Field
from ngnmm_jax.coupling.base import AbstractCoupling
from ngnmm_jax.coupling.contract import check_coupling
from ngnmm_jax.coupling.linearised import Linearised
from ngnmm_jax.coupling.routed import several
from ngnmm_jax.graphs.base import AbstractGraph, SumGraph
from ngnmm_jax.models.parameters import as_parameter


class CouplingSum(AbstractCoupling):
    """Region j receives `strength` times what all of several couplings give it.

    As of fast and of slow tracts, of excitatory and of inhibitory ones, of the connectome and of a
    region's own (over a `graphs.IdentityGraph`). Each has a name, by which its parameters are
    known: those of `fast` are "fast_coupling" (its strength), "fast_slope" and the like; "coupling"
    is the factor of them all.

    Modes are those that the graphs have in common, where they commute. Linear couplings over any
    graphs are one linear coupling, whose modes are those of the sum of the weights; other
    couplings over graphs that do not commute have no modes, and say so.

    **Arguments:**

    - `parts`: couplings by name, each over its graph of the same regions; kept in the order of
      their names, which is that of `lambdas` (mode, graph) in `dispersion`.
    - `strength`: a factor; a scalar, or one value for each region that receives.
    """

    parts: dict[str, AbstractCoupling]
    strength: Float[Array, "..."] = eqx.field(converter=partial(as_parameter, "strength"))

    def __init__(self, parts: Mapping[str, AbstractCoupling], strength: Any = 1.0) -> None:
        if not isinstance(parts, Mapping) or not parts:
            must = 'be couplings by name, as in {"fast": …, "slow": …}'
            _checks.fail("parts", must, f"it is {_checks.kind_of(parts)}")
        for name in parts:
            if not isinstance(name, str) or not name.isidentifier():
                _checks.fail("parts", "have names that are words", f"one is {name!r}")
        self.parts = dict(sorted(parts.items()))  # as JAX has them
        self.strength = strength

    def __check_init__(self) -> None:
        sizes = {}
        for name, part in self.parts.items():
            if not isinstance(part, AbstractCoupling):
                _checks.fail(f"parts[{name!r}]", "be a coupling", f"it is {_checks.kind_of(part)}")
            check_coupling(part)
            sizes[name] = part.graph.n_regions
        if len({several(part) for part in self.parts.values()}) > 1:
            must = "all be between single outputs and inputs (`Routed`), or none of them"
            _checks.fail("parts", must, "some are")
        if len(set(sizes.values())) > 1:
            _checks.fail("parts", "be of the same regions", f"they have {sizes}")

    @property  # type: ignore[misc]
    def graph(self) -> AbstractGraph:  # type: ignore[override]
        """All connections, of all parts."""
        return SumGraph(tuple(part.graph for part in self.parts.values()))

    @property
    def has_modes(self) -> bool:
        """Whether all parts have."""
        return all(part.has_modes for part in self.parts.values())

    def inputs(self, outputs: Channels) -> Channels:
        """What each region receives of all parts."""
        return self.strength * sum(part.inputs(outputs) for part in self.parts.values())

    def linear(self) -> AbstractGraph | None:
        """The sum of the parts' graphs, times their strengths, where all of them are linear."""
        graphs = [part.linear() for part in self.parts.values()]
        known = tuple(graph for graph in graphs if graph is not None)
        if len(known) < len(graphs):
            return None
        return SumGraph(known, tuple(part.strength for part in self.parts.values()))

    def linearised(self, outputs: Channels) -> tuple[Linearised, ...]:
        """Those of all parts."""
        terms = [term for part in self.parts.values() for term in part.linearised(outputs)]
        return tuple(
            term._replace(received=self.strength * term.received, own=self.strength * term.own)
            for term in terms
        )

    @property
    def delays(self) -> Any:
        """Those of parts, by name; None where none has any."""
        found = {name: part.delays for name, part in self.parts.items()}
        return None if all(delays is None for delays in found.values()) else found

    def delayed(self, prefix: str = "") -> dict[str, Any]:
        """What is delayed of all parts."""
        found: dict[str, Any] = {}
        for name, part in self.parts.items():
            found |= part.delayed(f"{prefix}{name}_")
        return found

    def reached(self, sums: Mapping[str, Channels], outputs: Field, prefix: str = "") -> Field:
        """What regions receive of all parts, where `sums` arrive of what is `delayed`."""
        parts = self.parts.items()
        return self.strength * sum(
            part.reached(sums, outputs, f"{prefix}{name}_") for name, part in parts
        )

    def over(self, change: Callable[[AbstractGraph], AbstractGraph]) -> "CouplingSum":
        """The same over other graphs, made of its own; without checks."""
        return self._with(lambda part: part.over(change))

    def bare(self) -> "CouplingSum":
        """The same without names of regions."""
        return self._with(lambda part: part.bare())

    def over_runs(self) -> "CouplingSum":
        """The same for outputs (region, run)."""
        strength = self.strength[:, None] if self.strength.ndim == 1 else self.strength
        return with_fields(self._with(lambda part: part.over_runs()), strength=strength)

    def _with(self, changed: Any) -> "CouplingSum":
        return with_fields(self, parts={name: changed(part) for name, part in self.parts.items()})
