"""Transverse stability: which connectome modes grow on a homogeneous equilibrium or orbit.

A perturbation along an eigenvector of the weights with eigenvalue Λ obeys the node's
linearisation with the coupling multiplied by Λ (the master stability function):

    dξ/dt = (A + Λ epsilon b cᵀ) ξ,

A the node's Jacobian at the drive of the homogeneous state, b the derivative of its vector
field with respect to the drive, c that of its output. On an equilibrium growth is the largest
real part of the eigenvalues of this matrix; on a periodic orbit, whose monodromy matrix is an
entire function of Λ, it is the largest log|multiplier| / period. Growth against Λ is the
dispersion relation; Λ = 1 (with rows that sum to one) is the perturbation that all share.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Complex, Float, Inexact, Int

from ngnmm_jax import _checks
from ngnmm_jax._chunks import padded
from ngnmm_jax._status import Status, raise_unless_ok
from ngnmm_jax.dynamics.equilibria import newton
from ngnmm_jax.dynamics.floquet import propagators, swept
from ngnmm_jax.dynamics.interpolation import interpolation, interpolation_nodes
from ngnmm_jax.dynamics.linear import eigenvalues
from ngnmm_jax.dynamics.many_equilibria import newton_on_host
from ngnmm_jax.dynamics.orbits import BLOCK, Orbit, refine
from ngnmm_jax.models.base import SECONDS, AbstractNeuralMass
from ngnmm_jax.network import Homogeneous, Network

# A state is taken for an equilibrium when Newton's iteration moves it by less than this
# fraction of 1 + |x|.
_NEAR = 1e-3
# Values of Λ at which monodromy matrices are computed: doubled until the interpolation between
# them is this exact, relative to the matrices, or there are this many.
_NODES, _EXACT, _MOST_NODES = 24, 1e-11, 192
# Values of Λ that are compiled together: the nodes and two checks, or part of twice as many.
_LANES = 26


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
    xp: Any = np if _checks.on_host(lambdas) else jnp
    lambdas = xp.atleast_1d(xp.asarray(lambdas))
    if not xp.issubdtype(lambdas.dtype, np.inexact):
        lambdas = lambdas.astype(float)
    lambdas = jnp.asarray(lambdas)
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
    values, state, error, status = map(jnp.asarray, fields)
    result = Dispersion(lambdas, values, state, error, status, uniform, network.model.time_unit)
    if throw:
        raise_unless_ok("dispersion", status, result)
    return result


def _of_equilibrium(
    inner: Homogeneous, coupling: jax.Array, state: jax.Array, lambdas: jax.Array
) -> tuple[Any, Any, Any, Any]:
    if _checks.on_host(inner, coupling, state, lambdas):
        return _at_rest(np, inner, coupling, state, lambdas, newton_on_host(inner, state))
    return _at_rest_in_a_program(inner, coupling, state, lambdas)


@eqx.filter_jit
def _at_rest_in_a_program(
    inner: Homogeneous, coupling: jax.Array, state: jax.Array, lambdas: jax.Array
) -> tuple[Any, Any, Any, Any]:
    found = newton(inner.vector_field, state)
    return _at_rest(jnp, inner, coupling, state, lambdas, found)


def _at_rest(
    xp: Any, inner: Homogeneous, coupling: Any, state: Any, lambdas: Any, found: tuple[Any, Any]
) -> tuple[Any, Any, Any, Any]:
    """The modes of an equilibrium, of which `found` is the state and Newton's last correction."""
    refined, error = found
    moved = xp.abs(refined - state).max() / (1 + xp.abs(state).max())
    ok = (error < 1e-8) & (moved < _NEAR)
    matrix, column, row = _linearised(inner, refined)
    strengths = xp.asarray(lambdas) * xp.asarray(coupling)
    mixed = xp.asarray(matrix) + strengths[:, None, None] * xp.outer(column, row)
    return _spectra(xp, mixed), refined, error, xp.where(ok, Status.OK, Status.NOT_CONVERGED)


def _spectra(xp: Any, matrices: Any) -> Any:
    """Eigenvalues (…, variable) of matrices, by falling real part."""
    values = eigenvalues(xp, matrices)
    return xp.take_along_axis(values, xp.argsort(-values.real, axis=-1), axis=-1)


def _of_orbit(
    inner: Homogeneous, coupling: jax.Array, orbit: Orbit, lambdas: jax.Array
) -> tuple[Any, Any, Any, Any]:
    """Doubles the nodes until the interpolation is exact (under JAX's transformations, once)."""
    orbit = refine(inner, orbit)
    if not _checks.on_host(inner, coupling, orbit, lambdas):
        exponents, error = _floquet_in_a_program(inner, coupling, orbit, lambdas)
        status = jnp.where(error < 1e-6, orbit.status, Status.NOT_CONVERGED)
        return exponents, orbit.states[0], jnp.maximum(error, orbit.residual), status
    nodes = _NODES
    orbit, *known = jax.tree.map(np.asarray, (orbit, coupling, lambdas))
    while True:
        exponents, error = _floquet(np, inner, known[0], orbit, known[1], nodes)
        if error < _EXACT or nodes >= _MOST_NODES:
            break
        nodes *= 2
    exact = np.where(error < 1e-6, orbit.status, Status.NOT_CONVERGED)
    return exponents, orbit.states[0], np.maximum(error, orbit.residual), exact


@eqx.filter_jit
def _floquet_in_a_program(
    inner: Homogeneous, coupling: jax.Array, orbit: Orbit, lambdas: jax.Array
) -> tuple[Any, Any]:
    return _floquet(jnp, inner, coupling, orbit, lambdas, _NODES)


def _floquet(
    xp: Any, inner: Homogeneous, coupling: Any, orbit: Orbit, lambdas: Any, nodes: int
) -> tuple[Any, Any]:
    """Floquet exponents (mode, variable) and the relative error of the interpolation."""
    count = lambdas.shape[0]
    every, error = lambdas, xp.asarray(0.0)
    if count > nodes:
        where = interpolation_nodes(lambdas, nodes, xp)
        middle = (where[0] + where[nodes // 2]) / 2
        checks = xp.stack([middle, (where[0] + 3 * where[nodes // 2]) / 4])
        every = xp.concatenate([where, checks])
    monodromy = _monodromies(xp, inner, every * coupling, orbit)
    if count > nodes:
        known, exact = monodromy[:nodes].reshape(nodes, -1), monodromy[nodes:]
        guess = interpolation(where, checks, xp) @ known
        error = xp.abs(guess - exact.reshape(2, -1)).max() / xp.abs(exact).max()
        monodromy = (interpolation(where, lambdas, xp) @ known).reshape(count, *exact.shape[1:])
    mu = eigenvalues(xp, monodromy)
    floor = 1e-15 * xp.abs(monodromy).max(axis=(1, 2))[:, None]
    size = xp.maximum(xp.abs(mu), floor)
    exponents = (xp.log(size) + 1j * xp.angle(mu)) / orbit.period
    order = xp.argsort(-exponents.real, axis=1)
    return xp.take_along_axis(exponents, order, axis=1), error


def _monodromies(xp: Any, inner: Homogeneous, strengths: Any, orbit: Orbit) -> Any:
    """Monodromy matrices (strength, variable, variable) along an orbit."""
    segments, size = orbit.states.shape
    steps = (orbit.ts.shape[0] - 1) // segments
    starts, dt = orbit.states, orbit.period / (segments * steps)

    def of(some: Any) -> Any:
        eye = xp.broadcast_to(xp.eye(size), (segments, some.shape[0], size, size))
        eye = eye.astype(some.dtype)
        _, parts, *_ = swept(
            xp, lambda x, dt, n: _sweep(inner, some, x, dt, n), starts, eye, dt, steps, BLOCK
        )
        total = parts[0]
        for part in parts[1:]:
            total = part @ total
        return total

    if xp is jnp:
        return of(strengths)
    pieces = [of(strengths[index])[:kept] for index, kept in padded(len(strengths), _LANES)]
    return np.concatenate(pieces)


@eqx.filter_jit
def _sweep(
    inner: Homogeneous, strengths: jax.Array, starts: jax.Array, dt: jax.Array, steps: int
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Steps over all segments at once, with the perturbations of all strengths."""

    def linear(x: jax.Array) -> jax.Array:
        matrix, column, row = linearise(inner, x)
        return matrix + strengths[:, None, None] * jnp.outer(column, row)

    return propagators(inner.vector_field, linear, starts, dt, steps)


def linearise(
    inner: Homogeneous, state: Float[Array, "variable"]
) -> tuple[Float[Array, "variable variable"], Float[Array, "variable"], Float[Array, "variable"]]:
    """A, b and c of the module's docstring, at a homogeneous state."""
    model: AbstractNeuralMass = inner.model
    drive = inner.coupling * model.output(state)
    matrix, column = jax.jacfwd(model.vector_field, argnums=(0, 1))(state, drive)
    return matrix, column, jax.jacfwd(model.output)(state)


_linearised = eqx.filter_jit(linearise)
