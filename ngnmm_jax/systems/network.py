"""A network of neural masses, and the homogeneous system that it contains."""

import dataclasses
import warnings
from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Inexact

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.certain_roots import CertainReduction
from ngnmm_jax._core.parameters import checked_again, leaf, one_for_all, with_leaves
from ngnmm_jax._core.scalar_roots import scalar_roots
from ngnmm_jax._core.types import Field, Scalar, State
from ngnmm_jax.connectome import Connectome
from ngnmm_jax.dynamics.equilibria import (
    box_starts,
    equilibrium_states,
    from_starts,
)
from ngnmm_jax.dynamics.own_equations import only_a_drive_of_its_own, only_plain
from ngnmm_jax.models.agreement import check_agreement
from ngnmm_jax.models.base import (
    AbstractNeuralMass,
    ExactFlow,
    as_float_array,
    as_parameter,
    bounds_own_slope,
    parameter_fields,
    parameter_names,
    smallest_step,
)
from ngnmm_jax.models.contract import check_contract
from ngnmm_jax.systems.cards import PicturedSystem

# Rows count as having the same sum when they agree to this fraction.
_SAME_ROW_SUM = 1e-9


class Network(PicturedSystem):
    """Regions of one model, coupled through a connectome.

    Region j receives `c_j = coupling * Σ_k weights_jk output_k`, on both of its populations.
    A PyTree whose leaves are the model's parameters, the weights and the coupling.

    **Arguments:**

    - `model`: a neural mass; its parameters are scalars or have one value per region.
    - `connectome`: a `Connectome` (`.normalised()` to have rows that sum to one), or bare
      weights (region, region), of which the same is asked: finite and not negative. (Unless
      they are traced by JAX: then only their shape is checked.)
    - `coupling`: the strength epsilon; a scalar or one value per region.
    """

    model: AbstractNeuralMass
    weights: Float[Array, "region region"]
    coupling: Float[Array, "..."]
    connectome: Connectome | None = eqx.field(static=True)

    def __init__(
        self,
        model: AbstractNeuralMass,
        connectome: Any,
        coupling: Any = 0.0,
    ) -> None:
        weights = connectome
        if not isinstance(connectome, Connectome) and _checks.is_concrete(connectome):
            # Of the same checks, whatever it is; a JAX array keeps its precision and has no names.
            checked = Connectome(connectome)
            connectome = connectome if isinstance(connectome, jax.Array) else checked
        if isinstance(connectome, Connectome):
            weights = connectome.weights
        self.model = model
        self.weights = as_float_array(weights)
        self.coupling = as_parameter("coupling", coupling)
        self.connectome = connectome if isinstance(connectome, Connectome) else None

    def __check_init__(self) -> None:
        _check_model(self.model)
        shape = jnp.shape(self.weights)
        if len(shape) != 2 or shape[0] != shape[1]:
            _checks.fail("connectome", "have a square matrix of weights", f"it has {shape}")
        n = shape[0]
        _checks.finite("coupling", self.coupling)
        if self.coupling.ndim:
            _checks.shape("coupling", self.coupling, (n,), f"for {n} regions")
        if self.model.n_regions not in (None, n):
            _checks.fail(
                "model",
                f"have scalar parameters or one value for each of the {n} regions",
                f"its parameters have {self.model.n_regions} values",
            )

    @property
    def n_regions(self) -> int:
        """Number of regions."""
        return int(self.weights.shape[0])

    @property
    def labels(self) -> tuple[str, ...]:
        """The regions' names."""
        if self.connectome is not None:
            return self.connectome.labels
        return tuple(f"region {k}" for k in range(self.n_regions))

    @property
    def state_shape(self) -> tuple[int, int]:
        """Shape of the state: (variable, region)."""
        return len(self.model.variables), self.n_regions

    @property
    def time_step(self) -> Any:
        """A step at which RK4 follows typical activity to about 1e-6, in the model's unit of time.

        It follows the parameters, as the model's does.
        """
        return smallest_step(self.model)

    def vector_field(self, state: State, stimulus: Field | None = None) -> State:
        """Time derivative of a state (variable, region) or (variable, region, run).

        A `stimulus` (region, …) adds to what each region receives.
        """
        drive = self.drive(self.model.output(state))
        return self.model.vector_field(state, drive if stimulus is None else drive + stimulus)

    def exact_flow(self, dt: Scalar) -> ExactFlow:
        """Its model's flow over a step, with inputs (state, stimulus) through the weights."""
        only_a_drive_of_its_own(self, Network)
        return _coupled_flow(self, dt)

    def drive(self, output: Field) -> Field:
        """The input that each region receives from all regions' outputs (region, …).

        The product is in full precision, also on GPUs whose default in 32 bits is less.
        """
        return self.coupling * jnp.tensordot(self.weights, output, 1, precision="highest")

    def bare(self) -> "Network":
        """The same network without the connectome's names, so that compiled code is shared."""
        if self.connectome is None:
            return self
        same = object.__new__(type(self))  # of the same class, also where that is a user's
        for field in dataclasses.fields(self):
            object.__setattr__(same, field.name, getattr(self, field.name))
        object.__setattr__(same, "connectome", None)
        return same

    def with_parameters(self, **values: Any) -> "Network":
        """A copy with other values of the model's parameters, or of `coupling`.

        Everything else stays: weights, precision, the network's class and what it adds.
        """
        names = (*parameter_names(type(self.model)), "coupling")
        for name in values:
            _checks.one_of("parameters", name, names)
        given = {name: as_parameter(name, value) for name, value in values.items()}
        given = {name: v.astype(leaf(self, name).dtype) for name, v in given.items()}
        network = with_leaves(self, given)
        checked_again(network.model)
        checked_again(network)
        return network

    def spectrum(self) -> tuple[Any, int | None]:
        """Eigenvalues of the weights (mode,), sorted, and the index of the uniform mode.

        The index is None where the rows do not sum to the same. Warns where eigenvalues are so
        ill-conditioned that rounding moves them by over 1e-6 of the largest.
        """
        if not _checks.is_concrete(self.weights):  # differentiated through
            values = jnp.linalg.eigvals(self.weights)
            return values[jnp.lexsort((-values.imag, -values.real))], 0
        weights = np.asarray(self.weights)
        where = self.connectome
        if where is None or not np.array_equal(where.weights.astype(weights.dtype), weights):
            where = Connectome(weights)
        modes = where.eigenmodes()
        if not modes.certain:
            warnings.warn(
                f"Eigenvalues of the weights are known to {modes.errors.max():.1g} only, for they "
                f"are ill-conditioned (up to {modes.conditions.max():.1g}): growth rates and the "
                "number of growing modes may be wrong. See `Eigenmodes.errors`.",
                UserWarning,
                stacklevel=2,
            )
        uniform = modes.uniform
        if uniform is None and _same_row_sum(weights):  # to the weights' own precision
            uniform = int(np.abs(modes.values - weights.sum(axis=1, dtype=float).mean()).argmin())
        return modes.values, uniform

    def homogeneous(self) -> "Homogeneous":
        """The dynamics of states in which all regions do the same.

        Such states exist where the rows of the weights sum to the same and no parameter
        differs between regions; `ValueError` says what stands against it.
        """
        only_plain(self, Network, "define `homogeneous` in it")
        if self.model.n_regions is not None or self.coupling.ndim:
            raise ValueError(
                "A network with parameters that differ between regions has no homogeneous "
                "states: use scalar parameters, or `find_equilibria(network)`."
            )
        sums = self.weights.sum(axis=1, dtype=float)
        if _checks.is_concrete(sums) and not _same_row_sum(np.asarray(self.weights)):
            low, high = float(sums.min()), float(sums.max())
            raise ValueError(
                f"The rows of the weights sum to between {low:.6g} and {high:.6g} (they differ "
                f"by {high - low:.1g}); homogeneous states need equal sums. "
                "Use `connectome.normalised()`."
            )
        return Homogeneous(self.model, self.coupling * sums.mean())

    def averaged(self) -> "Homogeneous":
        """The homogeneous system of the region-averaged parameters and row sums."""
        mean = jax.tree.map(lambda p: jnp.mean(p) if getattr(p, "ndim", 0) else p, self.model)
        return Homogeneous(mean, jnp.mean(self.coupling * self.weights.sum(axis=1)))

    def equilibrium_candidates(self, max_count: int) -> Float[Array, "candidate variable region"]:
        """Equilibria near the homogeneous ones of the region-averaged parameters."""
        return from_starts(self.vector_field, self.equilibrium_starts(max_count))

    def equilibrium_starts(
        self, max_count: int | None = None
    ) -> Float[Array, "start variable region"]:
        """The homogeneous equilibria of the region-averaged parameters."""
        starts = equilibrium_states(self.averaged(), max_count)
        return jnp.broadcast_to(starts[:, :, None], (*starts.shape, self.n_regions))

    def admissible(self, state: jax.Array) -> Bool[Array, ""]:
        """Whether rates and gates are not negative."""
        return _nonnegative(self.model, state)


class Homogeneous(PicturedSystem):
    """One region that drives itself: the network where all regions do the same.

    State (variable,); the drive is `coupling * output`. Parameters and coupling are scalars;
    or they have an axis of runs, for what works elementwise on states (variable, run).
    """

    model: AbstractNeuralMass
    coupling: Float[Array, "*run"] = eqx.field(converter=partial(as_parameter, "coupling"))

    def __check_init__(self) -> None:
        _check_model(self.model)
        _checks.finite("coupling", self.coupling)
        # Here the values in use are known; in the programs that search equilibria they are not.
        check_agreement(self.model, "equilibrium_reduction", (self.coupling,))

    @property
    def state_shape(self) -> tuple[int]:
        """Shape of the state: (variable,)."""
        return (len(self.model.variables),)

    def vector_field(self, state: State, stimulus: Field | None = None) -> State:
        """Time derivative of a state (variable,); a `stimulus` adds to what drives it."""
        drive = self.drive(self.model.output(state))
        return self.model.vector_field(state, drive if stimulus is None else drive + stimulus)

    def drive(self, output: Field) -> Field:
        """What the region receives from its output."""
        return self.coupling * output

    def exact_flow(self, dt: Scalar) -> ExactFlow:
        """Its model's flow over a step, with inputs (state, stimulus) from itself."""
        return _coupled_flow(self, dt)

    def variational(
        self,
        pair: tuple[Float[Array, "variable *run"], Inexact[Array, "variable tangent *run"]],
        strengths: Inexact[Array, "tangent *#run"],
    ) -> tuple[jax.Array, jax.Array]:
        """Time derivatives of a state and of its perturbations.

        Perturbation k obeys the node's linearisation with coupling `strengths[k]`: that of
        the transverse mode Λ is Λ epsilon. Elementwise over `*run`.
        """
        x, xi = pair
        output, d_output = jax.linearize(self.model.output, x)
        dx, push = jax.linearize(self.model.vector_field, x, self.coupling * output)

        def one(v: jax.Array, strength: jax.Array) -> jax.Array:
            if not jnp.iscomplexobj(v):
                return push(v, strength * d_output(v))
            drive = strength * (d_output(v.real) + 1j * d_output(v.imag))
            return push(v.real, drive.real) + 1j * push(v.imag, drive.imag)

        return dx, jax.vmap(one, in_axes=(1, 0), out_axes=1)(xi, strengths)

    @property
    def time_step(self) -> Any:
        """A step at which RK4 follows typical activity to about 1e-6, in the model's unit of time.

        It follows the parameters, as the model's does.
        """
        return smallest_step(self.model)

    def bare(self) -> "Homogeneous":
        """Itself: there are no names to leave out."""
        return self

    @property
    def scalar_search(self) -> bool:
        """Whether equilibria are the roots of a scalar function."""
        leaves, structure = jax.tree.flatten(self)
        like = tuple(jax.ShapeDtypeStruct((), jnp.result_type(leaf)) for leaf in leaves)
        return _offers_reduction(structure, like)

    @property
    def certain_search(self) -> bool:
        """Whether all equilibria are found for certain: by the model's `certain_reduction`."""
        return type(self) is Homogeneous and bounds_own_slope(type(self.model))

    def certain_reduction(self) -> CertainReduction:
        """Equilibria as roots that are all found, on the host with leaves (system,)."""
        reduction = self.model.certain_reduction(self.coupling)
        assert reduction is not None  # that of its own class
        return reduction

    def many_starts(self) -> Float[Array, "candidate variable"]:
        """Candidates for equilibria, from many starts in the model's search box."""
        return from_starts(self.vector_field, box_starts(*self.model.search_box()))

    def equilibrium_candidates(self, max_count: int) -> Float[Array, "candidate variable"]:
        """From the model's scalar reduction on a grid, or from many starts in its search box.

        As part of a program; not certified to be near all equilibria, as `certain_reduction` is.
        """
        reduction = self.model.equilibrium_reduction(self.coupling)
        if reduction is None:
            return self.many_starts()
        roots = scalar_roots(
            lambda u: jax.vmap(reduction.function)(u)[1],
            reduction.low,
            reduction.high,
            max_count=max_count,
        )
        return jax.vmap(lambda u: reduction.function(u)[0])(roots)

    def admissible(self, state: jax.Array) -> Bool[Array, ""]:
        """Whether rates and gates are not negative."""
        return _nonnegative(self.model, state)


def _check_model(model: Any) -> None:
    if not isinstance(model, AbstractNeuralMass):
        _checks.fail("model", "be a neural mass", f"it is a {type(model).__name__}")
    check_contract(model)


@lru_cache(maxsize=128)
def _offers_reduction(structure: Any, leaves: Any) -> bool:
    """Whether a homogeneous system's model has a scalar reduction at all."""
    offered: list[Any] = []

    def look(system: Homogeneous) -> None:
        offered.append(system.model.equilibrium_reduction(system.coupling))

    jax.eval_shape(look, jax.tree.unflatten(structure, leaves))
    return offered[0] is not None


class Family(eqx.Module):
    """The homogeneous systems of a network, over values of its parameters."""

    model: AbstractNeuralMass
    row_sum: Scalar
    coupling: Scalar

    @classmethod
    def of(cls, network: Network) -> "Family":
        """That of a network, which must have homogeneous states."""
        network.homogeneous()
        sums = network.weights.sum(axis=1, dtype=float)
        return cls(network.model, sums.mean(), network.coupling)

    def many(self, points: Mapping[str, Any]) -> Any:
        """The systems at many points, (point,) for each parameter, on the host."""
        system = jax.tree.map(np.asarray, Homogeneous(self.model, self.coupling))
        system = with_leaves(system, {name: np.asarray(v) for name, v in points.items()})
        return with_leaves(system, {"coupling": system.coupling * np.asarray(self.row_sum)})

    def at(self, point: dict[str, jax.Array]) -> tuple[Homogeneous, jax.Array]:
        """The system where parameters have these values, (*run), and its coupling there."""
        system = with_leaves(Homogeneous(self.model, self.coupling), point)
        return Homogeneous(system.model, system.coupling * self.row_sum), system.coupling


def _coupled_flow(system: Network | Homogeneous, dt: Scalar) -> ExactFlow:
    flow = system.model.exact_flow(dt)
    if flow is None:
        name = type(system.model).__name__
        _checks.fail("method", f"be a Runge-Kutta method for {name}", 'it is "moebius"')
    local = flow.inputs

    def inputs(state: State, stimulus: Field) -> jax.Array:
        return local(state, system.drive(system.model.output(state)) + stimulus)

    return ExactFlow(inputs, flow.advance)


def over_runs(system: Any) -> Any:
    """A system whose parameters, one value per region, broadcast over (region, run)."""
    if not isinstance(system, Network):
        return system
    model, coupling = jax.tree.map(
        lambda leaf: leaf[:, None] if getattr(leaf, "ndim", 0) == 1 else leaf,
        (system.model, system.coupling),
    )
    return eqx.tree_at(lambda s: (s.model, s.coupling), system, (model, coupling))


def parameter_axes(system: Network | Homogeneous, axes: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Values (value,) for each named parameter of a grid, checked."""
    fields = {field.name: field for field in parameter_fields(type(system.model))}
    if not axes:
        _checks.fail("parameters", "name at least one parameter", "it is empty")
    values = {}
    for name, given in axes.items():
        _checks.one_of("parameters", name, (*fields, "coupling"))
        value = _checks.numbers(name, given, "be a sequence of numbers").astype(float)
        if value.ndim != 1 or not value.size:
            _checks.fail(name, "be a non-empty sequence", f"its shape is {value.shape}")
        positive = name in fields and fields[name].metadata["positive"]
        (_checks.positive if positive else _checks.finite)(name, value)
        one_for_all(system, name, "use `sweep`, whose axes may have values (value, region)")
        values[name] = value
    return values


def _same_row_sum(weights: np.ndarray) -> bool:
    """Whether the rows sum to the same, to the precision of the weights."""
    sums = weights.sum(axis=1, dtype=float)
    eps = max(_SAME_ROW_SUM, 10 * float(np.finfo(weights.dtype).eps))
    return bool(np.ptp(sums) <= eps * np.abs(sums).max())


def _nonnegative(model: AbstractNeuralMass, state: jax.Array) -> Bool[Array, ""]:
    rows = [model.variables.index(name) for name in model.nonnegative]
    return (state[np.array(rows, dtype=int)] >= 0).all()
