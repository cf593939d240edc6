"""The homogeneous system of a network with delays."""

import abc
import math
from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.checks import is_concrete
from ngnmm_jax._core.parameters import with_fields, without_names
from ngnmm_jax._core.types import Field, State
from ngnmm_jax.coupling.base import AbstractCoupling, AbstractSum
from ngnmm_jax.coupling.modes import alike
from ngnmm_jax.coupling.pairwise import AbstractPairwise
from ngnmm_jax.graphs.base import AbstractGraph
from ngnmm_jax.graphs.delayed import DelayedGraph
from ngnmm_jax.graphs.dense import MatrixGraph
from ngnmm_jax.graphs.structured import Alike
from ngnmm_jax.models.base import AbstractNeuralMass
from ngnmm_jax.systems.coupled import AbstractCoupled, check_coupled
from ngnmm_jax.systems.delayed import Blocks, spans_of
from ngnmm_jax.systems.homogeneous import Homogeneous
from ngnmm_jax.systems.loops import rightmost
from ngnmm_jax.systems.wide_loops import loop_of

# Delays of connections are one where they differ by less than this part of it.
_SAME = 1e-12


class AbstractDelayedHomogeneous(AbstractCoupled):
    """Regions that all do the same in a network with delays: a state (variable,) stands for all.

    Its equilibria are those without delays. What it does depends on its past, so that it has no
    `vector_field` of a state alone.
    """

    #: What passes between regions.
    interaction: eqx.AbstractVar[Any]

    @property
    def coupling(self) -> Any:
        """The strength of the coupling."""
        return self.interaction.strength

    @property
    def delays(self) -> Any:
        """How long what regions send is on its way; of several couplings by their names."""
        return self.interaction.delays

    @property
    def state_shape(self) -> tuple[int]:
        """Shape of the state: (variable,)."""
        return (len(self.model.variables),)

    @property
    def present(self) -> Homogeneous:
        """The homogeneous system without delays, over graphs whose modes are those of the
        network's.
        """
        return Homogeneous(self.model, self.interaction.over(_alike))

    def undelayed(self) -> Homogeneous:
        """The same without delays: its equilibria are the same, their stability is not."""
        return Homogeneous(self.model, alike(self.interaction.undelayed()))

    def equilibrium_candidates(self, max_count: int) -> Float[Array, "candidate variable"]:
        """Those without delays."""
        return self.undelayed().equilibrium_candidates(max_count)

    def card(self) -> tuple[str, dict[str, Any]]:
        """As other systems, and its delays."""
        head, rows = super().card()
        spans = list(spans_of(self).values())
        low, high = min(low for low, _ in spans), max(high for _, high in spans)
        return head, {**rows, "delay": low if low == high else f"{low:g} … {high:g}"}

    def bare(self) -> "AbstractDelayedHomogeneous":
        """The same without names."""
        return without_names(self)

    @abc.abstractmethod
    def over_runs(self) -> Any:
        """The same for states (variable, run)."""

    @abc.abstractmethod
    def rightmost_roots(self, state: Any, fewest: int = 6) -> tuple[np.ndarray, bool]:
        """Roots of an equilibrium (variable,), as `Network.rightmost_roots`."""

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

    def _needs_its_past(self) -> NoReturn:
        raise ValueError(
            "This homogeneous system has a delay: what was asked for is known only of systems "
            "whose slope follows from their state. `find_equilibria`, `continue_equilibria`, "
            "`find_orbit`, `continue_cycles`, `simulate`, `lyapunov_spectrum`, `lyapunov_map` and "
            "`orbit_diagram` take it, and `dispersion` the network with a state or an orbit of "
            "this; `undelayed()` is the same without its delay."
        )


class DelayedHomogeneous(AbstractDelayedHomogeneous):
    """One region that drives itself, some time later: a network where all regions do the same.

    Oscillations that all regions share exist where each gets the same sums of the past: where the
    connections of each coupling have one delay, and its rows sum to the same.

    **Arguments:**

    - `model`: a neural mass, with scalar parameters.
    - `interaction`: what passes, over graphs of one region (`alone`), with delays.
    """

    model: AbstractNeuralMass
    interaction: AbstractCoupling
    #: Where definitions of its numbers have what stands elsewhere in it.
    CALLED: ClassVar[dict[tuple[str, ...], tuple[str, ...]]] = {
        ("interaction", "strength"): ("coupling",),
    }

    def __check_init__(self) -> None:
        check_coupled(self)

    @property
    def one_delay(self) -> bool:
        """Whether all that is delayed, of all couplings, is as late."""
        spans = list(spans_of(self).values())
        low, high = min(low for low, _ in spans), max(high for _, high in spans)
        return high - low <= _SAME * high

    @property
    def delay(self) -> Any:
        """How long all is on its way; `ValueError` where that differs between couplings.

        Where JAX traces several, NaN if they differ; and so is its derivative by any of them.
        """
        each = [jnp.reshape(part.graph.times(), ()) for part in self.interaction.delayed().values()]
        if len(each) == 1:
            return each[0]
        if not is_concrete(each):
            return _one_of(jnp.stack(each))
        if not self.one_delay:
            times = ", ".join(f"{float(time):g}" for time in each)
            raise ValueError(
                f"The delays of several couplings ({times}) are no one delay, with which orbits "
                "are known: `simulate` takes this system, `find_equilibria` and "
                "`continue_equilibria` too; or use one coupling with delays beside others without."
            )
        return each[0]

    @property
    def gain(self) -> Any:
        """What the rows of the delayed graph sum to; 1 of several, whose sums `sent` has."""
        parts = list(self.interaction.delayed().values())
        sums = jnp.reshape(parts[0].graph.row_sums(), ())
        return sums if len(parts) == 1 else jnp.ones_like(sums)

    def sent(self, state: Float[Array, "variable"]) -> Float[Array, "channel"]:
        """What goes into the tracts, of all couplings."""
        parts, outputs = list(self.interaction.delayed().values()), self._outputs(state)
        if len(parts) == 1:
            return parts[0].sent(outputs).ravel()
        return jnp.concatenate(
            [(part.graph.row_sums() * part.sent(outputs).ravel()) for part in parts]
        )

    def slope(
        self, state: Float[Array, "variable"], arriving: Float[Array, "channel"]
    ) -> Float[Array, "variable"]:
        """Time derivative of a state, where such sums arrive."""
        outputs, sums, first = self._outputs(state), {}, 0
        for name, part in self.interaction.delayed().items():
            shape = jnp.shape(part.sent(outputs))
            last = first + math.prod(shape)
            sums[name] = arriving[first:last].reshape(shape)
            first = last
            inner = getattr(part, "coupling", part)
            if isinstance(inner, AbstractPairwise):  # which is given values, not sums
                sums[name] = (sums[name] / inner.graph.row_sums())[None]
        received = self.interaction.reached(sums, outputs)
        return self.model.vector_field(state, received[..., 0])

    def _outputs(self, state: Any) -> Any:
        """Outputs with an axis of one region."""
        return self.model.output(state)[..., None]

    def rightmost_roots(self, state: Any, fewest: int = 6) -> tuple[np.ndarray, bool]:
        """As a network's, of perturbations that all regions share."""
        found = rightmost(loop_of(self, as_array(state)[:, None]), fewest).found
        return found.values, found.certified

    def only_by_coupling(self, way_out: str) -> None:
        """Nothing: its equations are its model's, its inputs its coupling's."""

    def shortest_delay(self, points: Mapping[str, Any] | None = None) -> float:
        """In the unit of the model's time, also at `points`, values (run, …) of parameters."""
        return min(low for low, _ in spans_of(self, points).values())

    def in_blocks(self, dt: float, points: Mapping[str, Any] | None = None) -> Blocks:
        """It as a map over blocks of steps `dt`, also at `points`."""
        return Blocks.of(self, dt, points)

    def has_flow(self) -> bool:
        """Whether `exact_flow` is known: its model has one, and its coupling is linear."""
        return super().has_flow() and self.interaction.linear() is not None

    def over_runs(self) -> "DelayedHomogeneous":
        """The same for states (variable, run)."""
        return with_fields(self, interaction=self.interaction.over_runs())


class RestingHomogeneous(AbstractDelayedHomogeneous):
    """Regions that rest alike in a network whose delays differ between connections.

    Where one oscillates, the others receive sums of unlike times: nothing but equilibria is the
    same in all regions, and perturbations that all share do not stay so. What grows is known of
    the network as a whole.

    **Arguments:**

    - `network`: all of it.
    """

    network: Any
    #: Where definitions of its numbers have what stands elsewhere in it.
    CALLED: ClassVar[dict[tuple[str, ...], tuple[str, ...]]] = {
        ("network", "model"): ("model",),
        ("network", "interaction", "strength"): ("coupling",),
    }

    def __init__(self, network: Any) -> None:
        self.network = network

    @property  # type: ignore[misc]
    def model(self) -> AbstractNeuralMass:  # type: ignore[override]
        """The equations of a region."""
        return self.network.model

    @property  # type: ignore[misc]
    def interaction(self) -> Any:
        """What passes between regions."""
        return self.network.interaction

    def rightmost_roots(self, state: Any, fewest: int = 6) -> tuple[np.ndarray, bool]:
        """Those of the network, all regions in the state."""
        state = as_array(state)[:, None]
        everywhere = jnp.broadcast_to(state, self.network.state_shape)
        found: tuple[np.ndarray, bool] = self.network.rightmost_roots(everywhere, fewest)
        return found

    @property
    def delay(self) -> Any:
        """`ValueError`: there are several."""
        return self._only_rests()

    def sent(self, state: Any) -> Any:
        """`ValueError`: what arrives of it differs between regions."""
        return self._only_rests()

    def slope(self, state: Any, arriving: Any) -> Any:
        """`ValueError`: it differs between regions."""
        return self._only_rests()

    def shortest_delay(self, points: Any = None) -> float:
        """`ValueError`: it has no runs."""
        return self._only_rests()

    def in_blocks(self, dt: float, points: Any = None) -> NoReturn:
        """`ValueError`: it has no runs."""
        self._only_rests()

    def only_by_coupling(self, way_out: str) -> None:
        """`ValueError`: it has no runs."""
        self._only_rests()

    def over_runs(self) -> NoReturn:
        """`ValueError`: it has no runs."""
        self._only_rests()

    def _only_rests(self) -> NoReturn:
        spans = spans_of(self.network).values()
        low, high = min(low for low, _ in spans), max(high for _, high in spans)
        raise ValueError(
            f"The delays are between {low:.6g} and {high:.6g}: regions that oscillate alike would "
            "receive sums of unlike times, so that homogeneous oscillations are known only where "
            "each coupling has one delay (`Network(…, delays=…)` with one number). Equilibria "
            "are those without delays (`find_equilibria`), and `simulate` takes the network."
        )


def delayed_homogeneous(network: Any) -> AbstractDelayedHomogeneous:
    """The homogeneous system of a network with delays, which has parameters () only.

    `ValueError` says what stands against it.
    """
    coupling = network.interaction
    if isinstance(coupling, AbstractSum | AbstractPairwise) and not coupling.graph.even():
        raise_uneven(coupling.graph.row_sums(float), "`connectome.normalised()`")
    uneven: list[AbstractGraph] = []
    one = coupling.over(lambda graph: _of_one(graph, uneven))
    if not uneven:
        return DelayedHomogeneous(network.model, one)
    network.undelayed().homogeneous()  # which says what stands against it
    return RestingHomogeneous(network)


def _of_one(graph: AbstractGraph, uneven: list[AbstractGraph]) -> AbstractGraph:
    """The graph of one region that gets what all get; among the `uneven` where they do not."""
    sums = graph.row_sums(float)
    weight = sums.mean().astype(graph.row_sums().dtype)
    alone = MatrixGraph(jnp.reshape(weight, (1, 1)))
    times = None
    if graph.delays is not None:
        times = _common(graph)
    if not graph.even() or (graph.delays is not None and times is None):
        uneven.append(graph)
        return graph
    return alone if times is None else DelayedGraph(alone, times)


def _common(graph: Any) -> Any:
    """The delays of one connection, which stand for those of all; None where these differ."""
    delays = graph.delays
    if delays.common:
        return delays
    low, high = graph.range()
    if not high - low <= _SAME * high:
        return None
    n, weights = graph.n_regions, np.asarray(graph.matrix())
    there = tuple(np.argwhere(weights != 0)[0]) if weights.any() else (0, 0)

    def of_one(leaf: Any) -> Any:
        return leaf[there][None, None] if jnp.shape(leaf) == (n, n) else leaf

    return jax.tree.map(of_one, delays)


@jax.custom_jvp
def _one_of(times: jax.Array) -> jax.Array:
    """The time that all of several are; NaN where they differ."""
    return jnp.where(jnp.ptp(times) <= _SAME * times.max(), times[0], jnp.nan)


def _one_of_jvp(given: Any, changes: Any) -> tuple[jax.Array, jax.Array]:
    """Changes of one of them alone have no place in a system with one delay."""
    found, (change,) = _one_of(*given), changes
    if isinstance(change, SymbolicZero):
        return found, jnp.zeros_like(found)
    return found, jnp.nan * change.sum()


_one_of.defjvp(_one_of_jvp, symbolic_zeros=True)


def _alike(graph: AbstractGraph) -> Alike:
    """That in which a region stands for all."""
    return Alike(graph.row_sums(float).mean())


def raise_uneven(sums: Any, use: str) -> NoReturn:
    """Refuse a graph whose rows sum to different values."""
    low, high = float(sums.min()), float(sums.max())
    raise ValueError(
        f"The rows of the weights sum to between {low:.6g} and {high:.6g} (they differ "
        f"by {high - low:.1g}); homogeneous states need equal sums. Use {use}."
    )
