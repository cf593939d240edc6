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
from ngnmm_jax._status import Status, raise_unless_ok
from ngnmm_jax.dynamics.equilibria import newton
from ngnmm_jax.dynamics.floquet import product, propagators
from ngnmm_jax.dynamics.integrate import STEPS
from ngnmm_jax.dynamics.interpolation import interpolation, interpolation_nodes
from ngnmm_jax.dynamics.orbits import Orbit, refine
from ngnmm_jax.models.base import SECONDS, AbstractNeuralMass
from ngnmm_jax.network import Homogeneous, Network

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
    where = interpolation_nodes(lambdas, nodes)
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
        guess = interpolation(where, checks) @ known.reshape(nodes, -1)
        error = jnp.abs(guess - exact.reshape(2, -1)).max() / jnp.abs(exact).max()
        monodromy = (interpolation(where, lambdas) @ known.reshape(nodes, -1)).reshape(
            lambdas.shape[0], *known.shape[1:]
        )
    mu = jnp.linalg.eigvals(monodromy)
    floor = 1e-15 * jnp.abs(monodromy).max(axis=(1, 2))[:, None]
    size = jnp.maximum(jnp.abs(mu), floor)
    exponents = (jnp.log(size) + 1j * jnp.angle(mu)) / orbit.period
    order = jnp.argsort(-exponents.real, axis=1)
    return jnp.take_along_axis(exponents, order, axis=1), error


def linearise(
    inner: Homogeneous, state: Float[Array, "variable"]
) -> tuple[Float[Array, "variable variable"], Float[Array, "variable"], Float[Array, "variable"]]:
    """A, b and c of the module's docstring, at a homogeneous state."""
    model: AbstractNeuralMass = inner.model
    drive = inner.coupling * model.output(state)
    matrix, column = jax.jacfwd(model.vector_field, argnums=(0, 1))(state, drive)
    return matrix, column, jax.jacfwd(model.output)(state)
