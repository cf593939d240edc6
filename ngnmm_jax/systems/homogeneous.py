"""The homogeneous system that a network contains."""

from functools import lru_cache
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.certain_roots import CertainReduction
from ngnmm_jax._core.scalar_roots import scalar_roots
from ngnmm_jax._core.types import Channels
from ngnmm_jax.coupling.base import AbstractCoupling
from ngnmm_jax.coupling.linear import LinearCoupling
from ngnmm_jax.coupling.modes import gain, graphs_of, proportional
from ngnmm_jax.dynamics.newton import box_starts, from_starts
from ngnmm_jax.graphs.structured import Alike, LaplacianGraph
from ngnmm_jax.models.agreement import check_agreement
from ngnmm_jax.models.base import AbstractNeuralMass, bounds_own_slope
from ngnmm_jax.models.hooks import EquilibriumReduction
from ngnmm_jax.models.parameters import as_parameter
from ngnmm_jax.systems.coupled import AbstractCoupled, check_coupled


class Homogeneous(AbstractCoupled):
    """One region that drives itself: the network where all regions do the same.

    State (variable,); the drive is `coupling * output`. Parameters and coupling are scalars;
    or they have an axis of runs, for what works elementwise on states (variable, run).

    **Arguments:**

    - `model`: a neural mass, with scalar parameters.
    - `coupling`: a number; or any of `coupling` over `graphs.Alike`, as a network has it where
      its regions are alike.
    """

    model: AbstractNeuralMass
    interaction: AbstractCoupling
    #: Where definitions of its numbers have what stands elsewhere in it.
    CALLED: ClassVar[dict[tuple[str, ...], tuple[str, ...]]] = {
        ("interaction", "strength"): ("coupling",),
    }

    def __init__(self, model: AbstractNeuralMass, coupling: Any) -> None:
        if not isinstance(coupling, AbstractCoupling):
            coupling = LinearCoupling(Alike(), as_parameter("coupling", coupling))
        self.model = model
        self.interaction = coupling

    def __check_init__(self) -> None:
        check_coupled(self)
        graphs = graphs_of(self.interaction)
        graphs = [g.graph if isinstance(g, LaplacianGraph) else g for g in graphs]
        if not all(isinstance(graph, Alike) for graph in graphs):
            must = "be a number, or a coupling over `graphs.Alike()`: a region stands for all"
            _checks.fail("coupling", must, f"it is {_checks.kind_of(self.interaction)} of regions")
        if self.proportional:
            # Here the values in use are known; in programs that search equilibria they are not.
            check_agreement(self.model, "equilibrium_reduction", (self.gain,))

    @property
    def coupling(self) -> Any:  # of any type, so that `eqx.tree_at` finds the leaf by it
        """The strength of the coupling."""
        return self.interaction.strength

    @property
    def proportional(self) -> bool:
        """Whether the drive is `gain * output`."""
        return proportional(self.interaction)

    @property
    def gain(self) -> Any:
        """What the drive is of the output, where it is proportional to that."""
        return gain(self.interaction)

    @property
    def state_shape(self) -> tuple[int]:
        """Shape of the state: (variable,)."""
        return (len(self.model.variables),)

    def drive(self, output: Channels) -> Channels:
        """What the region receives from its output."""
        return self.interaction.inputs(output)

    def slopes(self, output: Channels) -> tuple[tuple[Channels, ...], Channels]:
        """What the drive of a perturbation is of its output: `Σ through_g Λ_g + own`, (*run) each.

        Λ_g are the eigenvalues of the network's graphs (one, or those of a sum of couplings) along
        the mode in which regions are perturbed. (input, output, *run) of a model with several.
        """
        terms = self.interaction.linearised(output)
        own = sum((term.own for term in terms[1:]), terms[0].own)
        through = tuple(term.through() for term in terms)
        if self.model.outputs:
            return through, own
        return tuple(factor[0, 0] for factor in through), own[0, 0]

    def along(self, output: Channels, lambdas: Inexact[Array, "mode ..."]) -> Inexact[Array, "..."]:
        """What the drive of perturbations along modes is of their outputs, (mode, *run).

        Of a model with several, (mode, input, output, *run).

        `lambdas` (mode, *#run), or (mode, graph, *#run) of a sum of couplings.
        """
        return mixed(*self.slopes(output), lambdas, several=bool(self.model.outputs))

    def variational(
        self,
        pair: tuple[Float[Array, "variable *run"], Inexact[Array, "variable tangent *run"]],
        lambdas: Inexact[Array, "tangent ..."] | None,
    ) -> tuple[jax.Array, jax.Array]:
        """Time derivatives of a state and of its perturbations.

        Perturbation k obeys the node's linearisation with the drive that it has along the mode
        `lambdas[k]` of the network's graph, as `along` has it; None: all regions share them.
        Elementwise over `*run`.
        """
        x, xi = pair
        output, d_output = jax.linearize(self.model.output, x)
        drive, d_drive = jax.linearize(self.drive, output)
        dx, push = jax.linearize(self.model.vector_field, x, drive)

        def one(v: jax.Array, factor: jax.Array) -> jax.Array:
            if not jnp.iscomplexobj(v):
                return push(v, times(factor, d_output(v)))
            drive = times(factor, d_output(v.real) + 1j * d_output(v.imag))
            return push(v.real, drive.real) + 1j * push(v.imag, drive.imag)

        def times(factor: jax.Array, change: jax.Array) -> jax.Array:
            return (factor * change).sum(axis=1) if self.model.outputs else factor * change

        if lambdas is None:
            shared = jax.vmap(lambda v: push(v, d_drive(d_output(v))), 1, 1)
            return dx, shared(xi)
        return dx, jax.vmap(one, in_axes=(1, 0), out_axes=1)(xi, self.along(output, lambdas))

    def over_runs(self) -> "Homogeneous":
        """Itself: there are no values per region."""
        return self

    def bare(self) -> "Homogeneous":
        """Itself: there are no names to leave out."""
        return self

    @property
    def scalar_search(self) -> bool:
        """Whether equilibria are the roots of a scalar function."""
        if not self.proportional:
            return False
        leaves, structure = jax.tree.flatten(self)
        like = tuple(jax.ShapeDtypeStruct((), jnp.result_type(leaf)) for leaf in leaves)
        return _offers_reduction(structure, like)

    @property
    def certain_search(self) -> bool:
        """Whether all equilibria are found for certain: by the model's `certain_reduction`."""
        return (
            type(self) is Homogeneous and self.proportional and bounds_own_slope(type(self.model))
        )

    def certain_reduction(self) -> CertainReduction:
        """Equilibria as roots that are all found, on the host with leaves (system,)."""
        reduction = self.model.certain_reduction(self.gain)
        assert reduction is not None  # that of its own class
        return reduction

    def reduction(self) -> EquilibriumReduction | None:
        """Equilibria as roots of the model's scalar function; None where it has none for them."""
        return self.model.equilibrium_reduction(self.gain) if self.proportional else None

    def starting_points(self) -> Float[Array, "candidate variable"]:
        """Where a search for equilibria without a scalar function starts: in the search box."""
        return box_starts(*self.model.search_box())

    def many_starts(self) -> Float[Array, "candidate variable"]:
        """Candidates for equilibria, from many starts in the model's search box."""
        return from_starts(self.vector_field, self.starting_points())

    def equilibrium_candidates(self, max_count: int) -> Float[Array, "candidate variable"]:
        """From the model's scalar reduction on a grid, or from many starts in its search box.

        As part of a program; not certified to be near all equilibria, as `certain_reduction` is.
        """
        reduction = self.reduction()
        if reduction is None:
            return self.many_starts()
        roots = scalar_roots(
            lambda u: jax.vmap(reduction.function)(u)[1],
            reduction.low,
            reduction.high,
            max_count=max_count,
        )
        return jax.vmap(lambda u: reduction.function(u)[0])(roots)


def mixed(through: tuple[Any, ...], own: Any, lambdas: Any, *, several: bool) -> Any:
    """`Σ through_g Λ_g + own` for modes Λ, (mode, …), or (mode, graph, …) of several graphs.

    Of `several` outputs and inputs these have two more axes, after that of modes.
    """
    each = [lambdas] if len(through) == 1 else [lambdas[:, g] for g in range(len(through))]
    if several:
        each = [values[:, None, None] for values in each]
    return sum(factor * values for factor, values in zip(through, each, strict=True)) + own


@lru_cache(maxsize=128)
def _offers_reduction(structure: Any, leaves: Any) -> bool:
    """Whether a homogeneous system's model has a scalar reduction at all."""
    offered: list[Any] = []

    def look(system: Homogeneous) -> None:
        offered.append(system.reduction())

    jax.eval_shape(look, jax.tree.unflatten(structure, leaves))
    return offered[0] is not None
