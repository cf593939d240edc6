"""The homogeneous system of a network with delays."""

from typing import Any, ClassVar, NoReturn

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core.parameters import checked_again, with_fields
from ngnmm_jax._core.types import Field, State
from ngnmm_jax.coupling.base import AbstractSum
from ngnmm_jax.coupling.linear import LinearCoupling
from ngnmm_jax.coupling.pairwise import AbstractPairwise
from ngnmm_jax.graphs.delays import AbstractDelays
from ngnmm_jax.graphs.structured import Alike, LaplacianGraph
from ngnmm_jax.models.base import AbstractNeuralMass
from ngnmm_jax.systems.coupled import AbstractCoupled, check_coupled
from ngnmm_jax.systems.homogeneous import Homogeneous
from ngnmm_jax.systems.loops import Loop, node_of, rightmost

# Delays of connections are one where they differ by less than this part of it.
_SAME = 1e-12


class DelayedHomogeneous(AbstractCoupled):
    """One region that drives itself, some time later: a network where all regions do the same.

    Its equilibria are those without delays. Oscillations that all regions share exist where each
    gets the same sums of the past: known here where all connections have one delay. What it does
    depends on its past, so that it has no `vector_field` of a state alone.

    **Arguments:**

    - `present`: the homogeneous system without delays, over the graph whose modes are those of the
      network.
    - `delays`: of one connection, (1, 1) or (), which stands for all; of all where they differ; of
      several couplings by their names.
    - `span`: the shortest and the longest delay where they differ, or are those of another coupling
      than one weighted sum; None where they do not.
    """

    present: Homogeneous
    delays: AbstractDelays | dict[str, Any]
    span: tuple[float, float] | None = eqx.field(static=True)
    #: Where definitions of its numbers have what stands elsewhere in it.
    CALLED: ClassVar[dict[tuple[str, ...], tuple[str, ...]]] = {
        ("present", "model"): ("model",),
        ("present", "interaction", "strength"): ("coupling",),
    }

    def __init__(
        self,
        present: Homogeneous,
        delays: AbstractDelays | dict[str, Any],
        span: tuple[float, float] | None = None,
    ) -> None:
        self.present, self.delays, self.span = present, delays, span

    def __check_init__(self) -> None:
        check_coupled(self)
        if isinstance(self.delays, AbstractDelays):
            checked_again(self.delays)

    def card(self) -> tuple[str, dict[str, Any]]:
        """As other systems, and its delay."""
        head, rows = super().card()
        span = self.span
        return head, {**rows, "delay": self.delay if span is None else f"{span[0]:g} … {span[1]:g}"}

    @property  # type: ignore[misc]
    def model(self) -> AbstractNeuralMass:  # type: ignore[override]
        """The equations of a region."""
        return self.present.model

    @property
    def interaction(self) -> Any:
        """What passes between regions."""
        return self.present.interaction

    @property
    def coupling(self) -> Any:
        """The strength of the coupling."""
        return self.present.coupling

    @property
    def state_shape(self) -> tuple[int]:
        """Shape of the state: (variable,)."""
        return self.present.state_shape

    @property
    def delay(self) -> Any:
        """How long all is on its way; `ValueError` where that differs between connections."""
        if self.span is not None:
            low, high = self.span
            where = f"between {low:.6g} and {high:.6g}" if low < high else "of several couplings"
            raise ValueError(
                f"The delays are {where}: regions that oscillate alike "
                "would receive sums of unlike times, so that homogeneous oscillations are known of "
                "one common delay of one weighted sum only (`Network(…, delays=…)` with one "
                "number). Equilibria are those without delays (`find_equilibria`), and `simulate` "
                "takes the network."
            )
        delays: Any = self.delays
        return jnp.reshape(delays.between(), ())

    @property
    def gain(self) -> Any:
        """What the rows of the graph sum to."""
        return self.interaction.graph.row_sums()

    def sent(self, state: Float[Array, "variable"]) -> Float[Array, "channel"]:
        """What goes into the tracts."""
        return jnp.atleast_1d(self.interaction.sent(self.model.output(state)))

    def slope(
        self, state: Float[Array, "variable"], arriving: Float[Array, "channel"]
    ) -> Float[Array, "variable"]:
        """Time derivative of a state, where such sums arrive."""
        output = self.model.output(state)
        sums = arriving if self.interaction.sent(output).ndim else arriving[0]
        return self.model.vector_field(state, self.interaction.received(sums, output))

    def undelayed(self) -> Homogeneous:
        """The same without delays: its equilibria are the same, their stability is not."""
        if isinstance(self.interaction.linear(), LaplacianGraph):
            nothing = Alike(jnp.zeros_like(self.coupling))  # what rows of differences sum to
            return Homogeneous(self.model, LinearCoupling(nothing, self.coupling))
        return self.present

    def rightmost_roots(self, state: Any, fewest: int = 6) -> tuple[np.ndarray, bool]:
        """As a network's, of perturbations that all regions share; NaN where delays differ.

        There perturbations of one region at a time grow, or such as differ between regions.
        """
        if self.span is not None:
            return np.full(1, np.nan + 0j), True
        node, through = node_of(self.present, state)
        weights = np.full((1, 1), through * float(self.gain))
        times = np.where(weights != 0, float(self.delay), 0.0)
        found = rightmost(Loop(node, weights, times), fewest).found
        return found.values, found.certified

    def equilibrium_candidates(self, max_count: int) -> Float[Array, "candidate variable"]:
        """Those without delays."""
        return self.undelayed().equilibrium_candidates(max_count)

    def bare(self) -> "DelayedHomogeneous":
        """Itself: there are no names to leave out."""
        return self

    def drive(self, output: Field) -> Field:
        """`ValueError`: it does not follow from the output of now."""
        return self._needs_its_past()

    def vector_field(self, state: State, stimulus: Field | None = None) -> State:
        """`ValueError`: it does not follow from the state alone."""
        return self._needs_its_past()

    @property
    def certain_search(self) -> bool:
        """`ValueError`: it is the system without delays that is searched."""
        return self._needs_its_past()

    def shortest_delay(self, points: Any = None) -> float:
        """`ValueError`: networks with delays are simulated, homogeneous systems are not."""
        return self._needs_its_past()

    def in_blocks(self, dt: float) -> NoReturn:
        """`ValueError`: its tangents are those of the network."""
        self._needs_its_past()

    def _needs_its_past(self) -> NoReturn:
        raise ValueError(
            "This homogeneous system has a delay: what was asked for is known only of systems "
            "whose slope follows from their state. `find_equilibria`, `continue_equilibria` and "
            "`find_orbit` take it; `simulate`, `lyapunov_spectrum`, `lyapunov_map` and "
            "`orbit_diagram` take the network itself, and `dispersion` the network with a state or "
            "an orbit of this; cycles with delays are not followed along curves; `undelayed()` is "
            "the same without its delay."
        )


def delayed_homogeneous(
    model: AbstractNeuralMass, coupling: AbstractSum | AbstractPairwise
) -> DelayedHomogeneous:
    """The homogeneous system of a model under a sum with delays, which has parameters () only.

    `ValueError` says what stands against it.
    """
    graph: Any = coupling.graph
    sums = graph.row_sums(float)
    if not graph.even():
        raise_uneven(sums, "`connectome.normalised()`")
    present = Homogeneous(model, with_fields(coupling, graph=Alike(sums.mean())))
    delays = graph.delays
    if delays.common:
        return DelayedHomogeneous(present, delays)
    low, high = graph.range()
    if not high - low <= _SAME * high:
        return DelayedHomogeneous(present, delays, (low, high))
    n, weights = graph.n_regions, np.asarray(graph.matrix())
    there = tuple(np.argwhere(weights != 0)[0]) if weights.any() else (0, 0)

    def of_one(leaf: Any) -> Any:
        return leaf[there][None, None] if jnp.shape(leaf) == (n, n) else leaf

    return DelayedHomogeneous(present, jax.tree.map(of_one, delays))


def raise_uneven(sums: Any, use: str) -> NoReturn:
    """Refuse a graph whose rows sum to different values."""
    low, high = float(sums.min()), float(sums.max())
    raise ValueError(
        f"The rows of the weights sum to between {low:.6g} and {high:.6g} (they differ "
        f"by {high - low:.1g}); homogeneous states need equal sums. Use {use}."
    )
