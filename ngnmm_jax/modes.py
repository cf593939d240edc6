"""Transverse stability: which connectome modes grow on a homogeneous equilibrium.

A perturbation along an eigenvector of the weights with eigenvalue Λ obeys the node's
linearisation with the coupling multiplied by Λ (the master stability function):

    dξ/dt = (A + Λ epsilon b cᵀ) ξ,

A the node's Jacobian at the drive of the homogeneous state, b the derivative of its vector
field with respect to the drive, c that of its output. On an equilibrium growth is the largest
real part of the eigenvalues of this matrix; on a periodic orbit, whose monodromy matrix is an
entire function of Λ, it is the largest log|multiplier| / period. Growth against Λ is the
dispersion relation; Λ = 1 (with rows that sum to one) is the perturbation that all share.
"""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Complex, Float, Inexact, Int

from ngnmm_jax import _checks
from ngnmm_jax._chunks import grid, map_chunks
from ngnmm_jax._status import SolverError, Status, raise_unless_ok
from ngnmm_jax.dynamics.equilibria import certify, newton
from ngnmm_jax.dynamics.floquet import product, propagators
from ngnmm_jax.dynamics.integrate import STEPS
from ngnmm_jax.dynamics.orbits import Orbit, refine
from ngnmm_jax.dynamics.spectra import rank_one_eigenvalues
from ngnmm_jax.models.base import SECONDS, AbstractNeuralMass, parameter_names
from ngnmm_jax.network import Homogeneous, Network, with_leaves

# Equilibria that a map keeps at each point: the model has three at most in the paper's plane.
_MAP_EQUILIBRIA = 3
# A state is taken for an equilibrium when Newton's iteration moves it by less than this
# fraction of 1 + |x|.
_NEAR = 1e-3
# Values of Λ at which monodromy matrices are computed: doubled until the interpolation between
# them is this exact, relative to the matrices, or there are this many.
_NODES, _EXACT, _MOST_NODES = 24, 1e-11, 192


class Dispersion(eqx.Module):
    """Growth and frequency of the perturbations of a homogeneous equilibrium or orbit.

    - `lambdas` (mode,): structural eigenvalues Λ.
    - `eigenvalues` (mode, variable): by falling real part, per unit of the model's time; of
      A + Λ epsilon b cᵀ, or on an orbit the Floquet exponents log(μ) / period, of which those
      with |μ| below 1e-15 of the monodromy matrix are lost to rounding and stand at that floor.
    - `state` (variable,): the equilibrium, or a state on the orbit, as Newton's iteration
      refined it.
    - `error`: size of Newton's last correction relative to 1 + |state|; on an orbit, the
      larger of the shooting's residual and of the relative error of interpolating in Λ.
    - `uniform`: index in `lambdas` of the perturbation that all regions share, or None.
    - `status`: `Status.OK`, or `NOT_CONVERGED` where the state given is no equilibrium.
    """

    lambdas: Inexact[Array, "mode"]
    eigenvalues: Complex[Array, "mode variable"]
    state: Float[Array, "variable"]
    error: Float[Array, ""]
    status: Int[Array, ""]
    uniform: int | None = eqx.field(static=True)
    time_unit: str = eqx.field(static=True)

    @property
    def growth(self) -> Float[Array, "mode"]:
        """Largest real part for each Λ, per unit of the model's time."""
        return self.eigenvalues[:, 0].real

    @property
    def frequency(self) -> Float[Array, "mode"]:
        """Frequency (Hz) at which the leading perturbation of each Λ oscillates."""
        return jnp.abs(self.eigenvalues[:, 0].imag) / (2 * jnp.pi * SECONDS[self.time_unit])

    @property
    def transverse(self) -> np.ndarray:
        """(mode,): whether a mode is transverse, that is, not the uniform one."""
        mask = np.ones(self.lambdas.shape[0], dtype=bool)
        if self.uniform is not None:
            mask[self.uniform] = False
        return mask

    @property
    def number_growing(self) -> Int[Array, ""]:
        """How many transverse modes grow."""
        return ((self.growth > 0) & self.transverse).sum()

    @property
    def fastest(self) -> Int[Array, ""]:
        """Index of the transverse mode that grows fastest (or decays slowest)."""
        return jnp.argmax(jnp.where(self.transverse, self.growth, -jnp.inf))


def dispersion(
    network: Network,
    state: ArrayLike | Orbit,
    *,
    lambdas: Any = None,
    throw: bool = True,
) -> Dispersion:
    """Dispersion relation of a homogeneous equilibrium, or of a homogeneous periodic orbit.

    The state or orbit is refined by Newton's iteration, through which derivatives with respect
    to parameters flow: `jax.grad` of a growth rate is the total derivative, the motion of the
    equilibrium or orbit included.

    On an orbit, the monodromy matrix is computed at a few nodes and interpolated in Λ entry
    by entry (Chebyshev's nodes for real Λ, a circle around complex ones), so the cost hardly
    grows with the number of modes. Two more values of Λ check the interpolation, and the
    nodes are doubled until it is exact to 1e-11.

    **Arguments:**

    - `network`: with scalar parameters and rows that sum to the same.
    - `state`: an equilibrium (variable,) or an orbit of `network.homogeneous()`.
    - `lambdas` (mode,): real or complex Λ; by default the eigenvalues of the weights.
    - `throw`: raise `SolverError` if the state is no equilibrium, or the orbit none.
    """
    _checks.require_x64("dispersion")
    inner = network.homogeneous()
    uniform = None
    if lambdas is None:
        lambdas, uniform = network.spectrum()
    lambdas = jnp.atleast_1d(jnp.asarray(lambdas))
    if not jnp.issubdtype(lambdas.dtype, jnp.inexact):
        lambdas = lambdas.astype(float)
    if lambdas.ndim != 1 or not lambdas.size:
        _checks.fail("lambdas", "be a non-empty sequence", f"its shape is {lambdas.shape}")
    _checks.finite("lambdas", lambdas)
    if isinstance(state, Orbit):
        fields = _of_orbit(inner, network.coupling, state, lambdas)
    else:
        state = jnp.asarray(state, dtype=float)
        _checks.shape("state", state, inner.state_shape, "(variable,)")
        _checks.finite("state", state)
        fields = _of_equilibrium(inner, network.coupling, state, lambdas)
    eigenvalues, state, error, status = fields
    result = Dispersion(
        lambdas, eigenvalues, state, error, status, uniform, network.model.time_unit
    )
    if throw:
        raise_unless_ok("dispersion", status, result)
    return result


@eqx.filter_jit
def _of_equilibrium(
    inner: Homogeneous, coupling: jax.Array, state: jax.Array, lambdas: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    refined, error = newton(inner.vector_field, state)
    moved = jnp.abs(refined - state).max() / (1 + jnp.abs(state).max())
    ok = (error < 1e-8) & (moved < _NEAR)
    matrix, column, row = linearise(inner, refined)
    mixed = matrix + (lambdas * coupling)[:, None, None] * jnp.outer(column, row)
    eigenvalues = jnp.linalg.eigvals(mixed)
    order = jnp.argsort(-eigenvalues.real, axis=1)
    eigenvalues = jnp.take_along_axis(eigenvalues, order, axis=1)
    return eigenvalues, refined, error, jnp.where(ok, Status.OK, Status.NOT_CONVERGED)


def _of_orbit(
    inner: Homogeneous, coupling: jax.Array, orbit: Orbit, lambdas: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Doubles the nodes until the interpolation is exact (once, when it is being traced)."""
    orbit = refine(inner, orbit)
    nodes = _NODES
    while True:
        eigenvalues, error = _floquet(inner, coupling, orbit, lambdas, nodes)
        if not _checks.is_concrete(error) or error < _EXACT or nodes >= _MOST_NODES:
            break
        nodes *= 2
    status = jnp.where(error < 1e-6, orbit.status, Status.NOT_CONVERGED)
    return eigenvalues, orbit.states[0], jnp.maximum(error, orbit.residual), status


@eqx.filter_jit
def _floquet(
    inner: Homogeneous, coupling: jax.Array, orbit: Orbit, lambdas: jax.Array, nodes: int
) -> tuple[jax.Array, jax.Array]:
    """Floquet exponents (mode, variable) and the relative error of the interpolation."""
    where = _nodes(lambdas, nodes)
    middle = (where[0] + where[nodes // 2]) / 2
    checks = jnp.stack([middle, (where[0] + 3 * where[nodes // 2]) / 4])
    every = jnp.concatenate([where, checks]) if lambdas.shape[0] > nodes else lambdas

    def linear(x: jax.Array) -> jax.Array:
        matrix, column, row = linearise(inner, x)
        return matrix + (every * coupling)[:, None, None] * jnp.outer(column, row)

    segments = orbit.states.shape[0]
    steps = (orbit.ts.shape[0] - 1) // segments
    _, parts = propagators(
        inner.vector_field,
        linear,
        orbit.states[0],
        orbit.period / (segments * steps),
        segments=segments,
        steps=steps,
        step=STEPS["dopri8"],
    )
    monodromy = product(parts)
    error = jnp.array(0.0)
    if lambdas.shape[0] > nodes:
        known, exact = monodromy[:nodes], monodromy[nodes:]
        guess = _interpolation(where, checks) @ known.reshape(nodes, -1)
        error = jnp.abs(guess - exact.reshape(2, -1)).max() / jnp.abs(exact).max()
        monodromy = (_interpolation(where, lambdas) @ known.reshape(nodes, -1)).reshape(
            lambdas.shape[0], *known.shape[1:]
        )
    mu = jnp.linalg.eigvals(monodromy)
    floor = 1e-15 * jnp.abs(monodromy).max(axis=(1, 2))[:, None]
    size = jnp.maximum(jnp.abs(mu), floor)
    exponents = (jnp.log(size) + 1j * jnp.angle(mu)) / orbit.period
    order = jnp.argsort(-exponents.real, axis=1)
    return jnp.take_along_axis(exponents, order, axis=1), error


def _nodes(lambdas: jax.Array, count: int) -> jax.Array:
    """Chebyshev's nodes on the interval of real Λ, or equal steps on a circle around complex."""
    low, high = lambdas.real.min(), lambdas.real.max()
    centre = (low + high) / 2
    k = jnp.arange(count)
    if not jnp.iscomplexobj(lambdas):
        return centre + (high - low) / 2 * jnp.cos(jnp.pi * (k + 0.5) / count)
    return centre + jnp.abs(lambdas - centre).max() * jnp.exp(2j * jnp.pi * (k + 0.5) / count)


def _interpolation(nodes: jax.Array, where: jax.Array) -> jax.Array:
    """The matrix (where, node) of polynomial interpolation, by the barycentric formula.

    Source: Berrut and Trefethen, SIAM Rev. 46, 501 (2004), doi 10.1137/S0036144502417715.
    """
    count = nodes.shape[0]
    k = jnp.arange(count)
    if jnp.iscomplexobj(nodes):
        weights = jnp.exp(2j * jnp.pi * (k + 0.5) / count)
    else:
        weights = (-1.0) ** k * jnp.sin(jnp.pi * (k + 0.5) / count)
    gap = where[:, None] - nodes[None]
    at_node = gap == 0
    terms = weights / jnp.where(at_node, 1, gap)
    terms = jnp.where(at_node.any(axis=1, keepdims=True), at_node, terms)
    return terms / terms.sum(axis=1, keepdims=True)


def linearise(
    inner: Homogeneous, state: Float[Array, "variable"]
) -> tuple[Float[Array, "variable variable"], Float[Array, "variable"], Float[Array, "variable"]]:
    """A, b and c of the module's docstring, at a homogeneous state."""
    model: AbstractNeuralMass = inner.model
    drive = inner.coupling * model.output(state)
    matrix, column = jax.jacfwd(model.vector_field, argnums=(0, 1))(state, drive)
    return matrix, column, jax.jacfwd(model.output)(state)


class DispersionMap(eqx.Module):
    """Transverse stability of the homogeneous equilibria over a grid of parameters.

    Arrays have the grid's axes, in the order of `axes`, and then `equilibrium` (those found
    come first, by rising first variable; NaN, or -1 for integers, where there is none).

    - `axes`: the parameters' values, by name.
    - `found`, `states` (…, equilibrium, variable).
    - `growth_uniform`: growth rate at the uniform Λ, per unit of the model's time.
    - `growth_transverse`: largest growth rate of the other modes.
    - `number_growing`: how many of them grow; `fastest`: index of the fastest in `lambdas`;
      `frequency` (Hz) of that one.
    - `status` (grid): OK, NONE_FOUND, or NOT_CONVERGED where an eigenvalue was not found.
    """

    axes: dict[str, np.ndarray]
    lambdas: np.ndarray
    found: np.ndarray
    states: np.ndarray
    growth_uniform: np.ndarray
    growth_transverse: np.ndarray
    number_growing: np.ndarray
    fastest: np.ndarray
    frequency: np.ndarray
    status: np.ndarray
    variables: tuple[str, ...] = eqx.field(static=True)
    time_unit: str = eqx.field(static=True)

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` with the parameters as coordinates."""
        xarray = _checks.require_module("xarray", "data")
        dims = [*self.axes, "equilibrium"]
        rate = {"units": f"1/{self.time_unit}"}
        per_equilibrium: dict[str, dict[str, str]] = {
            "found": {},
            "growth_uniform": rate,
            "growth_transverse": rate,
            "number_growing": {},
            "fastest": {},
            "frequency": {"units": "Hz"},
        }
        data: dict[str, Any] = {
            name: (dims, getattr(self, name), attrs) for name, attrs in per_equilibrium.items()
        }
        data["states"] = ([*dims, "variable"], self.states)
        data["status"] = (list(self.axes), self.status)
        if not np.iscomplexobj(self.lambdas):
            data["lambdas"] = ("mode", self.lambdas)
        coords = {**self.axes, "variable": list(self.variables)}
        return xarray.Dataset(data, coords, {"title": "ngnmm_jax dispersion map"})


def dispersion_map(
    network: Network,
    axes: Mapping[str, Any],
    *,
    chunk: int = 256,
    progress: bool | None = None,
) -> DispersionMap:
    """Transverse stability of all homogeneous equilibria over a grid of parameters.

    **Arguments:**

    - `network`: gives the connectome and the parameters that are not varied.
    - `axes`: values by name of the model's parameters or of "coupling", one axis each; for
      the paper's plane `{"i_ext_e": jnp.arange(321) / 20, "coupling": jnp.arange(601) / 20}`.
    - `chunk`: grid points that a device takes at a time.
    - `progress`: a progress bar; None shows one where it takes over two seconds.

    Raises `SolverError` where no point of the grid has an equilibrium.
    """
    _checks.require_x64("dispersion_map")
    values = {name: np.asarray(value, dtype=float) for name, value in axes.items()}
    if not values:
        _checks.fail("axes", "name at least one parameter", "it is empty")
    for name, value in values.items():
        _checks.one_of("axes", name, (*parameter_names(type(network.model)), "coupling"))
        if value.ndim != 1 or not value.size:
            _checks.fail(name, "be a non-empty sequence", f"its shape is {value.shape}")
        _checks.finite(name, value)
    _checks.positive_integer("chunk", chunk)
    inner = network.homogeneous()
    many_starts = inner.model.equilibrium_reduction(inner.coupling) is None
    lambdas, uniform = network.spectrum()
    shared: tuple[Any, ...] = (network.model, network.weights.sum(axis=1).mean(), network.coupling)
    points, shape = grid(values)
    settings: dict[str, Any] = {"chunk": chunk, "progress": progress}
    at_rest = map_chunks(
        _map_equilibria, shared, points, what="equilibria", one_device=many_starts, **settings
    )

    # The modes of those that were found, and of no others.
    point, slot = np.nonzero(at_rest["found"])
    which = {name: value[point] for name, value in points.items()}
    pairs = (which, jnp.asarray(at_rest["states"][point, slot]))
    shared = (*shared, jnp.asarray(lambdas), jnp.asarray(uniform))
    if not point.size:
        raise SolverError("dispersion_map", Status.NONE_FOUND, at_rest)
    fields = map_chunks(_map_modes, shared, pairs, what="modes", **settings)
    at_rest["status"][point[~fields.pop("converged")]] = Status.NOT_CONVERGED
    for name, value in fields.items():
        blank = np.nan if np.issubdtype(value.dtype, np.floating) else -1
        at_rest[name] = np.full(at_rest["found"].shape, blank, dtype=value.dtype)
        at_rest[name][point, slot] = value
    return DispersionMap(
        axes=values,
        lambdas=np.asarray(lambdas),
        **{name: value.reshape(*shape, *value.shape[1:]) for name, value in at_rest.items()},
        variables=network.model.variables,
        time_unit=network.model.time_unit,
    )


def _at_point(shared: tuple[Any, ...], point: dict[str, jax.Array]) -> tuple[Any, jax.Array]:
    """The homogeneous system at a point of the grid, and the coupling there."""
    model, row_sum, coupling = shared[:3]
    system = with_leaves(Homogeneous(model, coupling), point)
    return Homogeneous(system.model, system.coupling * row_sum), system.coupling


def _map_equilibria(shared: tuple[Any, ...], point: dict[str, jax.Array]) -> dict[str, jax.Array]:
    inner, _ = _at_point(shared, point)
    found = certify(inner, inner.equilibrium_candidates(_MAP_EQUILIBRIA), _MAP_EQUILIBRIA)
    return {"found": found.found, "states": found.states, "status": found.status}


def _map_modes(
    shared: tuple[Any, ...], pair: tuple[dict[str, jax.Array], jax.Array]
) -> dict[str, jax.Array]:
    point, state = pair
    inner, coupling = _at_point(shared, point)
    lambdas, uniform = shared[3:]
    matrix, column, row = linearise(inner, state)
    z, converged = rank_one_eigenvalues(matrix, column, row, lambdas * coupling)
    growth, leading = jnp.max(z.real, axis=0), jnp.argmax(z.real, axis=0)
    masked = jnp.where(jnp.arange(lambdas.shape[0]) == uniform, -jnp.inf, growth)
    fastest = jnp.argmax(masked)
    turning = jnp.abs(z.imag[leading[fastest], fastest])
    return {
        "growth_uniform": growth[uniform],
        "growth_transverse": masked[fastest],
        "number_growing": (masked > 0).sum(),
        "fastest": fastest,
        "frequency": turning / (2 * jnp.pi * SECONDS[inner.model.time_unit]),
        "converged": converged.all(),
    }
