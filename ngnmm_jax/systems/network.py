"""A network of neural masses."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.parameters import (
    COUPLING,
    checked_again,
    declared,
    is_reserved,
    parameter_names,
    parts_between,
    with_fields,
    with_leaves,
    without_names,
)
from ngnmm_jax._core.types import Channels, Scalar
from ngnmm_jax.connectome import Connectome
from ngnmm_jax.coupling.base import AbstractCoupling, AbstractSum, spread
from ngnmm_jax.coupling.combined import CouplingSum
from ngnmm_jax.coupling.contract import check_coupling
from ngnmm_jax.coupling.linear import LinearCoupling
from ngnmm_jax.coupling.modes import alike, as_linear, bends, graphs_of, joint_spectrum
from ngnmm_jax.coupling.pairwise import AbstractPairwise
from ngnmm_jax.coupling.routed import Routed, routes, several
from ngnmm_jax.dynamics.equilibria import equilibrium_states
from ngnmm_jax.dynamics.newton import from_starts
from ngnmm_jax.graphs.base import AbstractGraph
from ngnmm_jax.graphs.delayed import DelayedGraph
from ngnmm_jax.graphs.delays import MILLISECOND, AbstractDelays, TractDelays
from ngnmm_jax.graphs.dense import DenseGraph
from ngnmm_jax.models.base import AbstractNeuralMass
from ngnmm_jax.models.hooks import ExactFlow
from ngnmm_jax.models.parameters import as_parameter
from ngnmm_jax.models.times import need_seconds, seconds_in
from ngnmm_jax.systems.coupled import AbstractCoupled, check_coupled
from ngnmm_jax.systems.delayed import Blocks, spans_of
from ngnmm_jax.systems.delayed_homogeneous import (
    DelayedHomogeneous,
    delayed_homogeneous,
    raise_uneven,
)
from ngnmm_jax.systems.homogeneous import Homogeneous
from ngnmm_jax.systems.loops import linearised, rightmost
from ngnmm_jax.systems.own_equations import (
    only_a_drive_of_its_own,
    only_by_coupling,
    only_with_modes,
    own_equations,
)
from ngnmm_jax.systems.reconnected import reconnected
from ngnmm_jax.systems.wide_loops import loop_of


class Network(AbstractCoupled):
    """Regions of one model, coupled through a connectome.

    Region j receives `c_j = coupling * Σ_k weights_jk output_k`; or what another coupling makes of
    the outputs. What in a region that reaches, is its model's to say.
    A PyTree whose leaves are the model's parameters, the weights and the coupling.

    **Arguments:**

    - `model`: a neural mass; its parameters are scalars or have one value per region.
    - `connectome`: a `Connectome` (`.normalised()` to have rows that sum to one), or bare
      weights (region, region), of which the same is asked: finite and not negative. (Unless
      they are traced by JAX: then only their shape is checked.) Or any of `graphs`.
    - `coupling`: the strength epsilon of linear coupling; a scalar or one value per region. Or any
      of `coupling`, which has its graph: then there is no `connectome`.
    - `speed`: of conduction along the connectome's tracts, mm/ms (which is m/s): one for all, or
      one for each connection (region, region). It is the parameter "speed".
    - `delays`: instead, one delay of all connections (the parameter "delay"), or of each,
      (region, region), in the unit of the model's time; or any of `graphs.AbstractDelays`.

    - `interaction`: the coupling, by which regions act on each other.
    """

    model: AbstractNeuralMass
    interaction: AbstractCoupling
    #: Where definitions of its numbers have what stands elsewhere in it.
    CALLED: ClassVar[dict[tuple[str, ...], tuple[str, ...]]] = {
        ("interaction", "strength"): ("coupling",),
        ("interaction", "graph", "weights"): ("weights",),
        ("interaction", "graph", "graph", "weights"): ("weights",),
    }

    def __init__(
        self,
        model: AbstractNeuralMass,
        connectome: Any = None,
        coupling: Any = 0.0,
        *,
        speed: Any = None,
        delays: Any = None,
    ) -> None:
        if not isinstance(model, AbstractNeuralMass):
            must = "be a neural mass: `Network(model, connectome, coupling)`"
            _checks.fail("model", must, f"it is {_checks.kind_of(model)}")
        if isinstance(connectome, AbstractNeuralMass | type | str):
            must = "be a `Connectome`, or weights (region, region)"
            _checks.fail("connectome", must, f"it is {_checks.kind_of(connectome)}")
        if not isinstance(coupling, AbstractCoupling):
            graph = connectome if isinstance(connectome, AbstractGraph) else DenseGraph(connectome)
            coupling = LinearCoupling(graph, as_parameter("coupling", coupling))
        elif connectome is not None:
            kind = type(coupling).__name__
            _checks.fail("connectome", f"be left out: `{kind}` has its graph", "it is given")
        if speed is not None or delays is not None:
            coupling = _delayed(model, coupling, speed, delays)
        self.model = model
        self.interaction = coupling

    def __check_init__(self) -> None:
        self._check_between()
        self.interaction.delayed()  # which says what stands against it
        check_coupling(self.interaction)
        _check_routes(self.model, self.interaction)
        check_coupled(self)
        n = self.n_regions
        if self.coupling.ndim:
            _checks.shape("coupling", self.coupling, (n,), f"for {n} regions")
        if self.model.n_regions not in (None, n):
            values = {name: getattr(self.model, name) for name in declared(self.model)}
            given = next((k for k, value in values.items() if jnp.ndim(value)), "model")
            must = f"be a scalar or have one value for each of the {n} regions"
            _checks.fail(given, must, f"it has {self.model.n_regions}")
        own = {f.name for f in dataclasses.fields(self)} - {"model", "interaction"}
        for name in own & declared(self.model).keys():
            kind = type(self).__name__
            _checks.fail(f"{kind}.{name}", "have a name of its own", "a parameter is called so")

    def _check_between(self) -> None:
        """What the coupling declares, as parameters are checked."""
        for name, (part, field) in parts_between(self).items():
            kind = type(part).__name__
            if name in declared(self.model) or is_reserved(name):
                must = "have a name of its own"
                _checks.fail(f"{kind}.{name}", must, "a parameter is called so")
            value = getattr(part, field.name)
            if jnp.ndim(value) == 1:
                _checks.shape(name, value, (self.n_regions,), f"for {self.n_regions} regions")
            check = _checks.positive if field.metadata["positive"] else _checks.finite
            check(name, value)

    @property
    def coupling(self) -> Any:  # of any type, so that `eqx.tree_at` finds the leaf by it
        """The strength of the coupling; a scalar or one value per region."""
        return self.interaction.strength

    @property
    def weights(self) -> Any:
        """Who is connected to whom, (region, region), row by row what a region receives."""
        return self.interaction.graph.matrix()

    @property
    def connectome(self) -> Connectome | None:
        """What the graph was made of, where that is known."""
        return self.interaction.graph.connectome

    @property
    def graph(self) -> AbstractGraph:
        """The graph that a linear coupling amounts to; that of the coupling where it is none."""
        linear = self.interaction.linear()
        return self.interaction.graph if linear is None else linear

    @property
    def delays(self) -> AbstractDelays | dict[str, Any] | None:
        """How long what regions send is on its way; None where it is there at once.

        Of several couplings by their names.
        """
        return self.interaction.delays

    @property
    def one_delay(self) -> bool:
        """Whether what regions send passes by one coupling, after one delay: "delay"."""
        sums = isinstance(self.interaction, AbstractSum | AbstractPairwise)
        return sums and bool(getattr(self.delays, "common", False))

    def shortest_delay(self, points: Mapping[str, Any] | None = None) -> float:
        """In the unit of the model's time, also at `points`, values (run, …) of parameters.

        Infinite without delays.
        """
        spans = spans_of(self, points)
        return min((low for low, _ in spans.values()), default=np.inf)

    def only_by_coupling(self, way_out: str) -> None:
        """Refuse equations of one's own, beside the model's under the coupling's inputs."""
        only_by_coupling(self.undelayed(), Network, way_out)

    def with_connectome(self, connectome: Any) -> "Network":
        """The same over another connectome of the same regions, in the same order.

        As of another subject, or after a lesion: a `Connectome`, or weights (region, region), taken
        as they are (`.normalised()` where this one's are). Delays of tracts are those of its
        lengths at the speed that is; delays given as times stay.
        """
        changed = with_fields(self, interaction=reconnected(self.interaction, connectome))
        checked_again(changed)
        return changed

    def in_blocks(self, dt: float, points: Mapping[str, Any] | None = None) -> Blocks:
        """A network with delays as a map over blocks of steps `dt`, also at `points`."""
        return Blocks.of(self, dt, points)

    def undelayed(self) -> "Network":
        """The same network without delays: its equilibria are the same, their stability is not."""
        return with_fields(self, interaction=self.interaction.undelayed())

    def rightmost_roots(self, state: Any, fewest: int = 6) -> tuple[np.ndarray, bool]:
        """Characteristic roots of an equilibrium (variable, region), and whether they are certain.

        One of each pair, by falling real part: all that grow, and so many at least, where these
        can be certified.
        """
        self.only_by_coupling("find the roots of its own linearisation")
        found = rightmost(loop_of(self, state), fewest).found
        return found.values, found.certified

    @property
    def n_regions(self) -> int:
        """Number of regions."""
        return self.interaction.graph.n_regions

    @property
    def labels(self) -> tuple[str, ...]:
        """The regions' names."""
        return self.interaction.graph.labels

    @property
    def state_shape(self) -> tuple[int, int]:
        """Shape of the state: (variable, region)."""
        return len(self.model.variables), self.n_regions

    def drive(self, output: Channels) -> Channels:
        """The input that each region receives from all regions' outputs (region, …).

        `ValueError` where these are delayed: then it does not follow from the outputs of now.
        """
        self._only_undelayed()
        return self.interaction.inputs(output)

    def _only_undelayed(self) -> None:
        if self.delays is not None:
            raise ValueError(
                "This network has delays: what was asked for is known only of networks whose slope "
                "follows from their state. `network.undelayed()` is the same without them."
            )

    def exact_flow(self, dt: Scalar) -> ExactFlow:
        """Its model's flow over a step, with inputs (state, stimulus) through the weights."""
        only_a_drive_of_its_own(self, Network)
        return super().exact_flow(dt)

    def has_flow(self) -> bool:
        """Whether `exact_flow` is known: of its model, whose equations and drive are as here."""
        if not super().has_flow():
            return False
        defined = type(self).exact_flow is not Network.exact_flow
        return defined or own_equations(self, Network).flows

    def bare(self) -> "Network":
        """The same network without the connectome's names, so that compiled code is shared."""
        return without_names(self)

    def over_runs(self) -> "Network":
        """The same with a second axis on values per region, for states (variable, region, run)."""
        model = jax.tree.map(spread, self.model)
        return with_fields(self, model=model, interaction=self.interaction.over_runs())

    def spectrum(self) -> tuple[Any, int | None]:
        """Eigenvalues of the weights (mode,), sorted, and the index of the uniform mode.

        Of a linear coupling of another kind, those of the graph that it amounts to. Of a sum of
        couplings that are not, (mode, graph): of the modes that its graphs have in common.
        The index is None where the rows do not sum to the same. Warns where eigenvalues are so
        ill-conditioned that rounding moves them by over 1e-6 of the largest.
        """
        graphs = graphs_of(self.interaction)
        if len(graphs) > 1 and self.interaction.linear() is None:
            return joint_spectrum(graphs)
        return self.graph.spectrum()

    def homogeneous(self) -> Any:
        """The dynamics of states in which all regions do the same: a `Homogeneous` system, or a
        `DelayedHomogeneous` one; a `RestingHomogeneous` one where delays differ.

        Such states exist where the rows of the weights sum to the same and no parameter
        differs between regions; `ValueError` says what stands against it. With delays its
        equilibria are those without; it oscillates where all delays of a coupling are one.
        """
        only_with_modes(self, Network)
        if self.model.n_regions is not None or _regional(self.interaction):
            raise ValueError(
                "A network with parameters that differ between regions has no homogeneous "
                "states: use scalar parameters, or `find_equilibria(network)`."
            )
        if self.delays is not None:
            return delayed_homogeneous(self)
        graphs = graphs_of(self.interaction)
        uneven = next((graph for graph in graphs if not graph.even()), None)
        if uneven is None and len(graphs) > 1:
            return self.apart()
        total = self.interaction.linear()  # of several, whose sums may be even together
        if uneven is not None and (total is None or not total.even()):
            sums = uneven.row_sums(float)
            raise_uneven(sums, "`connectome.normalised()`, or `coupling.DiffusiveCoupling`")
        system = self.over_modes()
        return Homogeneous(self.model, system.gain) if system.proportional else system

    def over_modes(self) -> Homogeneous:
        """The homogeneous system as one of all modes: its graph has the eigenvalues that `along`
        takes, those of `spectrum`.

        Without the checks of `homogeneous`, and of sums that are averaged.
        """
        return Homogeneous(self.model, alike(as_linear(self.interaction)))

    def apart(self) -> Homogeneous:
        """The same with each of several couplings by itself, and so all parameters by name."""
        return Homogeneous(self.model, alike(self.interaction))

    def averaged(self) -> Homogeneous:
        """The homogeneous system of the region-averaged parameters and row sums."""
        mean = jax.tree.map(lambda p: jnp.mean(p) if getattr(p, "ndim", 0) else p, self.model)
        if not bends(self.interaction):
            return Homogeneous(mean, jnp.mean(self.coupling * self.graph.row_sums()))
        system = self.apart()
        between = jax.tree.map(lambda p: p.mean() if p.ndim else p, system.interaction)
        return Homogeneous(mean, between)

    def equilibrium_candidates(self, max_count: int) -> Float[Array, "candidate variable region"]:
        """Equilibria near the homogeneous ones of the region-averaged parameters."""
        return from_starts(self.vector_field, self.equilibrium_starts(max_count))

    def node_jacobians(
        self, state: Float[Array, "variable region"]
    ) -> Float[Array, "variable variable region"]:
        """The regions' own Jacobians, at what they receive: without what passes between them."""
        return linearised(self, state).matrix

    def equilibrium_starts(
        self, max_count: int | None = None
    ) -> Float[Array, "start variable region"]:
        """The homogeneous equilibria of the region-averaged parameters."""
        starts = equilibrium_states(self.averaged(), max_count)
        return jnp.broadcast_to(starts[:, :, None], (*starts.shape, self.n_regions))


def _check_routes(model: Any, coupling: AbstractCoupling) -> None:
    """Refuse a coupling between other numbers of outputs and inputs than a model has."""
    kind = type(model).__name__
    if not isinstance(model, AbstractNeuralMass):
        return  # refused elsewhere
    if not model.outputs and not several(coupling):
        return
    if not several(coupling):
        must = f"say between which outputs and inputs it is, as `coupling.Routed`: `{kind}` has "
        must += f"the outputs {', '.join(model.outputs)} and the inputs {', '.join(model.inputs)}"
        _checks.fail("coupling", must, f"it is {_checks.kind_of(coupling)}")
    sent, given = len(model.outputs), len(model.inputs)
    for route in routes(coupling):
        if route.output >= sent or route.n_inputs != given:
            must = f"be between the {sent} outputs and {given} inputs of `{kind}`"
            but = f"one goes from output {route.output} to an input of {route.n_inputs}"
            _checks.fail("coupling", must, but)


def _delayed(
    model: AbstractNeuralMass, coupling: AbstractCoupling, speed: Any, delays: Any
) -> AbstractCoupling:
    """A coupling over its graph with delays, from a speed or delays that are given."""
    if speed is not None and delays is not None:
        _checks.fail("speed", "not be given with `delays`", "both are")
    if isinstance(coupling, CouplingSum | Routed):
        name = "speed" if delays is None else "delays"
        must = "be left out: a part of other couplings has its own, as `graphs.DelayedGraph`"
        _checks.fail(name, must, "it is given")
    graph = coupling.graph
    if speed is not None:
        lengths = None if graph.connectome is None else graph.connectome.tract_lengths
        if lengths is None:
            must = "be given with a connectome that has tract lengths"
            but = (
                "this one has none: give `tract_lengths=` to `Connectome(…)`, `lengths=` to "
                "`Connectome.load`, or `delays=` in place of `speed`"
            )
            _checks.fail("speed", must, but)
        need_seconds("speed", model.time_unit, "tract lengths in mm (or give `delays=`)")
        unit = seconds_in(model.time_unit) / MILLISECOND
        delays = TractDelays(
            as_parameter("tract_lengths", lengths), as_parameter("speed", speed), unit
        )
    return with_fields(coupling, graph=DelayedGraph(graph, delays))


def one_region(system: DelayedHomogeneous) -> Network:
    """A homogeneous system with delays as a network of one region, which drives itself."""
    return Network(system.model, coupling=system.interaction)


def averaged_over(core: Network | Homogeneous, varied: Mapping[str, Any]) -> Homogeneous:
    """`Network.averaged` of many runs, with values (run, …) of some parameters; on the host.

    The systems (run,), in NumPy; a homogeneous system has nothing to average.
    """
    values = {k: np.asarray(v) for k, v in varied.items()}
    if not isinstance(core, Network):
        known = parameter_names(core)
        values = {k: v for k, v in values.items() if k in known}
        return with_leaves(jax.tree.map(np.asarray, core), values)
    coupling = values.pop(COUPLING, None)
    bent = bends(core.interaction)
    inner = core.apart() if bent else Homogeneous(core.model, core.coupling)
    inner = jax.tree.map(np.asarray, inner)
    strength = inner.coupling if coupling is None else coupling
    if not bent:
        sums = np.asarray(core.graph.row_sums(float), float)
        each = strength[..., None] if coupling is not None and coupling.ndim == 1 else strength
        strength = (each * sums).mean(axis=-1)
    elif strength.ndim and (coupling is None or strength.ndim == 2):
        strength = strength.mean(axis=-1)
    # Parameters that do not vary have no axis of runs, but may have one of regions.
    inner = jax.tree.map(lambda v: v.mean() if v.ndim else v, inner)
    known = parameter_names(inner)
    means = {k: v.mean(axis=1) if v.ndim == 2 else v for k, v in values.items() if k in known}
    return with_leaves(inner, {**means, COUPLING: np.asarray(strength)})


def _regional(coupling: AbstractCoupling) -> bool:
    """Whether something of a coupling, beside its graph, has values for each region."""
    if isinstance(coupling, Routed):
        return _regional(coupling.coupling)
    if isinstance(coupling, CouplingSum):
        return bool(jnp.ndim(coupling.strength)) or any(map(_regional, coupling.parts.values()))
    held = [v for v in vars(coupling).values() if not isinstance(v, AbstractGraph)]
    return any(getattr(leaf, "ndim", 0) for leaf in jax.tree.leaves(held))
