"""A network of neural masses, and the homogeneous system that it contains."""

import dataclasses
import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Inexact

from ngnmm_jax import _checks
from ngnmm_jax._types import Field, Scalar, State
from ngnmm_jax.connectome import Connectome
from ngnmm_jax.dynamics.certain_roots import CertainReduction
from ngnmm_jax.dynamics.equilibria import (
    box_starts,
    equilibrium_states,
    from_starts,
)
from ngnmm_jax.dynamics.parameters import with_leaves
from ngnmm_jax.dynamics.roots import scalar_roots
from ngnmm_jax.models.base import (
    AbstractNeuralMass,
    ExactFlow,
    as_float_array,
    bounds_own_slope,
    parameter_names,
)

# Rows count as having the same sum when they agree to this fraction.
_SAME_ROW_SUM = 1e-9


class Network(eqx.Module):
    """Regions of one model, coupled through a connectome.

    Region j receives `c_j = coupling * Σ_k weights_jk output_k`, on both of its populations.
    A PyTree whose leaves are the model's parameters, the weights and the coupling.

    **Arguments:**

    - `model`: a neural mass; its parameters are scalars or have one value per region.
    - `connectome`: a `Connectome` (`.normalised()` to have rows that sum to one), or bare
      weights (region, region).
    - `coupling`: the strength epsilon; a scalar or one value per region.
    """

    model: AbstractNeuralMass
    weights: Float[Array, "region region"]
    coupling: Float[Array, "..."]
    connectome: Connectome | None = eqx.field(static=True)

    def __init__(
        self,
        model: AbstractNeuralMass,
        connectome: Connectome | jax.Array | np.ndarray,
        coupling: Any = 0.0,
    ) -> None:
        if not isinstance(model, AbstractNeuralMass):
            _checks.fail("model", "be a neural mass", f"it is a {type(model).__name__}")
        if isinstance(connectome, np.ndarray):
            connectome = Connectome(connectome)
        weights = connectome.weights if isinstance(connectome, Connectome) else connectome
        if jnp.ndim(weights) != 2 or jnp.shape(weights)[0] != jnp.shape(weights)[1]:
            _checks.fail(
                "connectome", "have a square matrix of weights", f"it has {jnp.shape(weights)}"
            )
        self.model = model
        self.weights = as_float_array(weights)
        self.coupling = as_float_array(coupling)
        self.connectome = connectome if isinstance(connectome, Connectome) else None
        n = self.weights.shape[0]
        _checks.finite("coupling", self.coupling)
        if self.coupling.ndim:
            _checks.shape("coupling", self.coupling, (n,), f"for {n} regions")
        if model.n_regions not in (None, n):
            _checks.fail(
                "model",
                f"have scalar parameters or one value for each of the {n} regions",
                f"its parameters have {model.n_regions} values",
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
    def time_step(self) -> float:
        """A step at which RK4 follows the model to about 1e-6, in the model's unit of time."""
        return self.model.time_step

    def vector_field(self, state: State, stimulus: Field | None = None) -> State:
        """Time derivative of a state (variable, region) or (variable, region, run).

        A `stimulus` (region, …) adds to what each region receives.
        """
        drive = self.drive(self.model.output(state))
        return self.model.vector_field(state, drive if stimulus is None else drive + stimulus)

    def exact_flow(self, dt: Scalar) -> ExactFlow:
        """Its model's flow over a step, with inputs (state, stimulus) through the weights."""
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
        """A copy with other values of the model's parameters, or of `coupling`."""
        names = (*parameter_names(type(self.model)), "coupling")
        for name in values:
            _checks.one_of("parameters", name, names)
        coupling = values.pop("coupling", self.coupling)
        model = dataclasses.replace(self.model, **values)
        where = self.weights if self.connectome is None else self.connectome
        return Network(model, where, coupling)

    def spectrum(self) -> tuple[Any, int | None]:
        """Eigenvalues of the weights (mode,), sorted, and the index of the uniform mode."""
        if not _checks.is_concrete(self.weights):  # differentiated through
            values = jnp.linalg.eigvals(self.weights)
            return values[jnp.lexsort((-values.imag, -values.real))], 0
        weights = np.asarray(self.weights)
        where = self.connectome
        if where is None or not np.array_equal(where.weights.astype(weights.dtype), weights):
            where = Connectome(weights)
        modes = where.eigenmodes()
        return modes.values, modes.uniform

    def homogeneous(self) -> "Homogeneous":
        """The dynamics of states in which all regions do the same.

        Such states exist where the rows of the weights sum to the same and no parameter
        differs between regions; `ValueError` says what stands against it.
        """
        if self.model.n_regions is not None or self.coupling.ndim:
            raise ValueError(
                "A network with parameters that differ between regions has no homogeneous "
                "states: use scalar parameters, or `find_equilibria(network)`."
            )
        sums = self.weights.sum(axis=1)
        if _checks.is_concrete(sums):
            low, high = float(sums.min()), float(sums.max())
            eps = max(_SAME_ROW_SUM, 10 * float(jnp.finfo(sums.dtype).eps))
            if high - low > eps * max(abs(low), abs(high)):
                raise ValueError(
                    f"The rows of the weights sum to between {low:.6g} and {high:.6g}; "
                    "homogeneous states need equal sums. Use `connectome.normalised()`."
                )
        return Homogeneous(self.model, self.coupling * sums.mean())

    def averaged(self) -> "Homogeneous":
        """The homogeneous system of the region-averaged parameters and row sums."""
        mean = jax.tree.map(lambda p: jnp.mean(p), self.model)
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


class Homogeneous(eqx.Module):
    """One region that drives itself: the network where all regions do the same.

    State (variable,); the drive is `coupling * output`. Parameters and coupling are scalars;
    or they have an axis of runs, for what works elementwise on states (variable, run).
    """

    model: AbstractNeuralMass
    coupling: Float[Array, "*run"]

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
    def time_step(self) -> float:
        """A step at which RK4 follows the model to about 1e-6, in the model's unit of time."""
        return self.model.time_step

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
        return cls(network.model, network.weights.sum(axis=1).mean(), network.coupling)

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
        lambda leaf: leaf[:, None] if leaf.ndim == 1 else leaf, (system.model, system.coupling)
    )
    return eqx.tree_at(lambda s: (s.model, s.coupling), system, (model, coupling))


def parameter_axes(model: AbstractNeuralMass, axes: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Values (value,) for each named parameter of a grid, checked."""
    values = {name: np.asarray(value, dtype=float) for name, value in axes.items()}
    if not values:
        _checks.fail("axes", "name at least one parameter", "it is empty")
    for name, value in values.items():
        _checks.one_of("axes", name, (*parameter_names(type(model)), "coupling"))
        if value.ndim != 1 or not value.size:
            _checks.fail(name, "be a non-empty sequence", f"its shape is {value.shape}")
        _checks.finite(name, value)
    return values


def definition(
    computation: str, system: Network | Homogeneous, axes: dict[str, np.ndarray]
) -> dict[str, Any]:
    """What decides the numbers of a computation over a grid of parameters, for a store."""
    from ngnmm_jax import __version__

    model = system.model
    names = parameter_names(type(model))
    result = {
        "ngnmm_jax": __version__,
        "computation": computation,
        "model": type(model).__name__,
        "parameters": {name: np.asarray(getattr(model, name)).tolist() for name in names},
        "coupling": np.asarray(system.coupling).tolist(),
        "axes": {name: value.tolist() for name, value in axes.items()},
    }
    if isinstance(system, Network):
        digest = hashlib.sha256(np.asarray(system.weights).tobytes())
        result["weights"] = digest.hexdigest()
    return result


def _nonnegative(model: AbstractNeuralMass, state: jax.Array) -> Bool[Array, ""]:
    rows = [model.variables.index(name) for name in model.nonnegative]
    return (state[np.array(rows, dtype=int)] >= 0).all()
