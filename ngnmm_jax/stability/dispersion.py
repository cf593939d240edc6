"""Transverse stability: which connectome modes grow on a homogeneous equilibrium or orbit.

A perturbation along an eigenvector of the weights with eigenvalue Λ obeys the node's
linearisation with the coupling multiplied by Λ (the master stability function):

    dξ/dt = (A + Λ epsilon b cᵀ) ξ,

A the node's Jacobian at the drive of the homogeneous state, b the derivative of its vector
field with respect to the drive, c that of its output. Where coupling is not linear, the place of
Λ epsilon is taken by what `Homogeneous.along` gives: linear in Λ, and dependent on the state.
On an equilibrium growth is the largest real part of the eigenvalues of this matrix; on a periodic
orbit, whose monodromy matrix is an entire function of Λ, it is the largest log|multiplier| /
period. Growth against Λ is the dispersion relation; Λ = 1 (with rows that sum to one) is the
perturbation that all share. With one delay of all connections, what the perturbation sends comes
back later, as Λ epsilon b c(t - τ)ᵀ ξ(t - τ): `dynamics.delayed.monodromy`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Complex, Float, Inexact, Int

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.interpolation import interpolation, interpolation_nodes
from ngnmm_jax._core.lanes import padded
from ngnmm_jax._core.placement import placed
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax._core.small_linalg import eigenvalues
from ngnmm_jax._core.status import Status, raise_unless_ok
from ngnmm_jax.dynamics.delayed.monodromy import leading
from ngnmm_jax.dynamics.delayed.orbits import path_of
from ngnmm_jax.dynamics.equilibria import newton
from ngnmm_jax.dynamics.floquet import Propagated, product, propagators, swept
from ngnmm_jax.dynamics.many_equilibria import newton_on_host
from ngnmm_jax.dynamics.orbits import refine
from ngnmm_jax.dynamics.periodic import Orbit
from ngnmm_jax.dynamics.products import grouped, product_spectrum
from ngnmm_jax.dynamics.shooting import BLOCK
from ngnmm_jax.models.base import AbstractNeuralMass
from ngnmm_jax.models.notation import Notation, notation_of
from ngnmm_jax.models.times import SECONDS
from ngnmm_jax.stability.roots import NEUTRAL, characteristic_roots, rests
from ngnmm_jax.systems.delayed_homogeneous import DelayedHomogeneous
from ngnmm_jax.systems.homogeneous import Homogeneous, mixed
from ngnmm_jax.systems.loops import node_of, rightmost_of_modes
from ngnmm_jax.systems.network import Network

# Values of Λ at which monodromy matrices are computed: doubled until the interpolation between
# them is this exact, relative to the matrices, or there are this many.
_NODES, _EXACT, _MOST_NODES = 24, 1e-11, 192
# A relative error above this is not a result. Under JAX's transformations, multipliers below
# `_LOST` of the monodromy matrix are left out.
_INEXACT, _LOST = 1e-6, 1e-10
# Values of Λ that are compiled together: the nodes and two checks, or part of twice as many.
_LANES = 26


class Dispersion(AbstractResult):
    """Growth and frequency of the perturbations of a homogeneous equilibrium or orbit.

    - `lambdas` (mode,): structural eigenvalues Λ; where modes are those of several graphs, the
      first one's.
    - `eigenvalues` (mode, variable): by falling real part, per unit of the model's time; of
      A + Λ epsilon b cᵀ, or on an orbit the Floquet exponents log(μ) / period (under JAX
      transformations NaN where |μ| is below 1e-10 of the monodromy matrix, which has lost them).
      With a delay there are infinitely many: the leading ones, NaN where rounding has lost them.
    - `state` (variable,): the equilibrium, or a state on the orbit, as Newton's iteration
      refined it.
    - `error`: size of Newton's last correction relative to 1 + |state|; on an orbit, the
      largest of the shooting's residual, of the relative error of interpolating in Λ, and of how
      much each mode's exponents miss Liouville's formula: that their sum times the period is the
      integral of the trace (relative to 1 + |integral|). With a delay, in place of that formula,
      how far the leading multipliers are from those of wider pieces, and the neutral one from 1.
    - `uniform`: index in `lambdas` of the perturbation that all regions share, or None.
    - `status`: `Status.OK`, or `NOT_CONVERGED` where the state given is no equilibrium, or the
      error on an orbit is above 1e-6.
    """

    lambdas: Inexact[Array, "mode"]
    eigenvalues: Complex[Array, "mode variable"]
    state: Float[Array, "variable"]
    error: Float[Array, ""]
    status: Int[Array, ""]
    uniform: int | None = eqx.field(static=True)
    time_unit: str = eqx.field(static=True)
    notation: Notation = eqx.field(static=True, default=Notation())

    @property
    def stats(self) -> dict[str, Any]:
        """The error, as above."""
        return {"error": self.error}

    def summary(self) -> dict[str, Any]:
        """How many modes there are, how many of them grow, and the fastest."""
        if not _checks.is_concrete(self) or jnp.ndim(self.eigenvalues) != 2:
            return {"lambdas": self.lambdas, "eigenvalues": self.eigenvalues}
        shown: dict[str, Any] = {"modes": self.lambdas.shape[0]}
        if self.uniform is not None:
            shown["uniform growth"] = f"{self.growth[self.uniform]:.6g} per {self.time_unit}"
        if self.transverse.any():
            k = int(self.fastest)
            rate, turning = float(self.growth[k]), float(self.frequency[k])
            shown["growing"] = self.number_growing
            shown["fastest"] = f"Λ = {self.lambdas[k]:.4g}: {rate:.6g} per {self.time_unit}"
            shown["frequency"] = f"{turning:.6g} Hz"
        return shown

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
        """How many transverse modes grow, by over 1e-10 of the largest eigenvalue's modulus.

        On an orbit without coupling all are neutral, to rounding.
        """
        neutral = NEUTRAL * jnp.nanmax(jnp.abs(self.eigenvalues))
        return ((self.growth > neutral) & self.transverse).sum()

    @property
    def fastest(self) -> Int[Array, ""]:
        """Index of the transverse mode that grows fastest (or decays slowest)."""
        return jnp.argmax(jnp.where(self.transverse, self.growth, -jnp.inf))


@placed()
def dispersion(
    system: Network,
    state: ArrayLike | Orbit,
    *,
    lambdas: Any = None,
    throw: bool = True,
) -> Any:
    """Dispersion relation of a homogeneous equilibrium, or of a homogeneous periodic orbit.

    The state or orbit is refined by Newton's iteration, through which derivatives with respect
    to parameters flow: `jax.grad` of a growth rate is the total derivative, the motion of the
    equilibrium or orbit included.

    On an orbit, the monodromy matrix is computed at a few nodes and interpolated in Λ entry
    by entry (Chebyshev's nodes for real Λ, a circle around complex ones), so the cost hardly
    grows with the number of modes. Two more values of Λ check the interpolation, and the
    nodes are doubled until it is exact to 1e-11.

    **Arguments:**

    - `system`: with scalar parameters and rows that sum to the same.
    - `state`: an equilibrium (variable,) or an orbit of `network.homogeneous()`.
    - `lambdas` (mode,): real or complex Λ; by default the eigenvalues of the weights. Of a sum of
      couplings that are not all linear, (mode, graph).
    - `throw`: raise `SolverError` if the state is no equilibrium, or the orbit none.
    """
    _checks.require_x64("dispersion")
    inner = _shared(system, state)
    if inner is None:
        if lambdas is not None:
            must = "be left out where delays, parameters or the state differ between regions"
            _checks.fail("lambdas", must, "they are given, and there are no modes then")
        assert not isinstance(state, Orbit)
        return characteristic_roots(system, state, throw=throw)
    uniform = None
    if lambdas is None:
        graph: Any = system if system.delays is None else system.interaction.graph
        lambdas, uniform = graph.spectrum()
    xp: Any = np if _checks.on_host(lambdas) else jnp
    lambdas = xp.atleast_1d(xp.asarray(lambdas))
    if not xp.issubdtype(lambdas.dtype, np.inexact):
        lambdas = lambdas.astype(float)
    lambdas = jnp.asarray(lambdas)
    delayed = isinstance(inner, DelayedHomogeneous)
    modal = inner.present if isinstance(inner, DelayedHomogeneous) else system.over_modes()
    _fit(modal, lambdas)
    _checks.finite("lambdas", lambdas)
    if isinstance(state, Orbit):
        of_orbit: Any = _of_delayed_orbit if delayed else partial(_of_orbit, modal=modal)
        found = of_orbit(inner, orbit=state, lambdas=lambdas)
    else:
        state = _checks.floats("state", state)
        _checks.shape("state", state, inner.state_shape, "(variable,)")
        _checks.finite("state", state)
        at_rest: Any = _with_one_delay if delayed else partial(_of_equilibrium, modal=modal)
        found = at_rest(inner, state=state, lambdas=lambdas)
    found = _Modes(*map(jnp.asarray, found))
    names = system.model.time_unit, notation_of(system)
    lambdas = lambdas if lambdas.ndim == 1 else lambdas[:, 0]
    result = Dispersion(lambdas, *found, uniform, *names)
    if throw:
        raise_unless_ok("dispersion", found.status, result)
    return result


def _fit(modal: Homogeneous, lambdas: jax.Array) -> None:
    """Refuse Λ of another shape than the modes of a coupling have."""
    sent = (len(modal.model.outputs),) if modal.model.outputs else ()
    output = jax.ShapeDtypeStruct(sent, jnp.result_type(float))
    graphs = len(jax.eval_shape(lambda x: modal.slopes(x)[0], output))
    if graphs > 1 and (lambdas.ndim != 2 or lambdas.shape[1] != graphs or not lambdas.size):
        must = f"have shape (mode, {graphs}), for the {graphs} graphs of this sum of couplings"
        _checks.fail("lambdas", must, f"its shape is {lambdas.shape}")
    if graphs == 1 and (lambdas.ndim != 1 or not lambdas.size):
        _checks.fail("lambdas", "be a non-empty sequence", f"its shape is {lambdas.shape}")


class _Modes(NamedTuple):
    """As `Dispersion` has them."""

    eigenvalues: Any
    state: Any
    error: Any
    status: Any


class _Exponents(NamedTuple):
    """Floquet exponents (mode, variable), the relative error of the interpolation in Λ (`miss`),
    and by how much they miss Liouville's formula (`gap`).
    """

    values: Any
    miss: Any
    gap: Any


def _of_equilibrium(
    inner: Homogeneous, modal: Homogeneous, state: jax.Array, lambdas: jax.Array
) -> _Modes:
    if _checks.on_host(inner, modal, state, lambdas):
        return _at_rest(np, inner, modal, state, lambdas, newton_on_host(inner, state))
    return _at_rest_in_a_program(inner, modal, state, lambdas)


@eqx.filter_jit
def _at_rest_in_a_program(
    inner: Homogeneous, modal: Homogeneous, state: jax.Array, lambdas: jax.Array
) -> _Modes:
    found = newton(inner.vector_field, state)
    return _at_rest(jnp, inner, modal, state, lambdas, found)


def _at_rest(
    xp: Any,
    inner: Homogeneous,
    modal: Homogeneous,
    state: Any,
    lambdas: Any,
    found: tuple[Any, Any],
) -> _Modes:
    """The modes of an equilibrium, of which `found` is the state and Newton's last correction."""
    refined, error = found
    ok = rests(xp, state, refined, error)
    matrix, column, row, through, own = _linearised(inner, modal, refined)
    through, several = tuple(map(xp.asarray, through)), bool(inner.model.outputs)
    factors = mixed(through, xp.asarray(own), xp.asarray(lambdas), several=several)
    whole = _with_drive(xp, xp.asarray(matrix), column, row, factors)
    status = xp.where(ok, Status.OK, Status.NOT_CONVERGED)
    return _Modes(_spectra(xp, whole), refined, error, status)


def _shared(system: Network, state: ArrayLike | Orbit) -> Homogeneous | DelayedHomogeneous | None:
    """The homogeneous system whose modes a state has; None where it has roots of the whole network.

    With delays: of equilibria (variable,) where all connections have one delay.
    """
    if system.delays is None or isinstance(state, Orbit):
        return system.homogeneous()
    if jnp.ndim(state) != 1:
        return None
    try:
        inner: Any = system.homogeneous()
    except ValueError:  # regions differ, or the sums that they receive
        return None
    return inner if inner.span is None and not system.model.outputs else None


def _with_one_delay(inner: DelayedHomogeneous, state: jax.Array, lambdas: jax.Array) -> _Modes:
    """The rightmost characteristic roots of each mode."""
    present, delay = inner.present, inner.delay
    if not _checks.on_host(present, state, lambdas, delay):
        must = "have known values where it has delays: derivatives come from `root_near`"
        _checks.fail("system", must, "JAX is tracing them")
    refined, error = newton_on_host(present, state)
    node, through = node_of(present, refined)
    found = rightmost_of_modes(node, np.asarray(lambdas) * through, float(delay))
    still = bool(rests(np, state, refined, error))
    status = Status.OK if found.certified.all() else Status.NOT_CERTIFIED
    status = status if still else Status.NOT_CONVERGED
    return _Modes(found.values, refined, error, status)


def _spectra(xp: Any, matrices: Any) -> Any:
    """Eigenvalues (…, variable) of matrices, by falling real part."""
    values = eigenvalues(xp, matrices)
    return xp.take_along_axis(values, xp.argsort(-values.real, axis=-1), axis=-1)


def _of_orbit(inner: Homogeneous, modal: Homogeneous, orbit: Orbit, lambdas: jax.Array) -> _Modes:
    """Doubles the nodes until the interpolation is exact (under JAX's transformations, once)."""
    orbit = refine(inner, orbit)
    if not _checks.on_host(inner, modal, orbit, lambdas):
        found = _floquet_in_a_program(inner, modal, orbit, lambdas)
        return _told(jnp, orbit, found.values, jnp.maximum(found.miss, found.gap))
    nodes = _NODES
    orbit, lambdas = jax.tree.map(np.asarray, (orbit, lambdas))
    while True:
        with np.errstate(over="ignore", invalid="ignore"):  # of what is no orbit
            found = _floquet(inner, modal, orbit, lambdas, nodes)
        if not found.miss >= _EXACT or nodes >= _MOST_NODES:
            return _told(np, orbit, found.values, np.maximum(found.miss, found.gap))
        nodes *= 2


def _of_delayed_orbit(inner: DelayedHomogeneous, orbit: Orbit, lambdas: jax.Array) -> _Modes:
    """The leading exponents of each mode, as many as there are variables."""
    orbit = refine(inner, orbit)
    xp: Any = np if _checks.on_host(inner, orbit, lambdas) else jnp
    found = leading(inner, path_of(orbit), orbit.period, lambdas, orbit.phases.shape[0])
    error = xp.maximum(
        orbit.error, xp.where(xp.isnan(found.errors[:, 0]), 0.0, found.errors[:, 0]).max()
    )
    return _told(xp, orbit, found.logs / orbit.period, error)


def _told(xp: Any, orbit: Orbit, values: Any, error: Any) -> _Modes:
    """An orbit's modes; their status is its own, or that they are inexact."""
    inexact = (orbit.status == Status.OK) & ~(error < _INEXACT)
    status = xp.where(inexact, Status.NOT_CONVERGED, orbit.status)
    return _Modes(values, orbit.states[0], xp.maximum(error, orbit.residual), status)


@eqx.filter_jit
def _floquet_in_a_program(
    inner: Homogeneous, modal: Homogeneous, orbit: Orbit, lambdas: jax.Array
) -> _Exponents:
    """`_floquet` from the whole monodromy matrices: what they have lost is NaN."""
    every, back = _places(jnp, lambdas, _NODES)
    through = _propagated(jnp, inner, modal, every, orbit)
    (monodromy,), volumes, error = back(product(through.matrices)[None], through.volumes.sum(0))
    mu = eigenvalues(jnp, monodromy)
    lost = jnp.abs(mu) < _LOST * jnp.abs(monodromy).max(axis=(1, 2))[:, None]
    logs = jnp.log(jnp.where(lost, 1.0, mu))
    gap = jnp.where(lost.any(axis=1), 0.0, _liouville(jnp, logs, volumes)).max()
    exponents = jnp.where(lost, jnp.nan, logs / orbit.period)
    order = jnp.argsort(-exponents.real, axis=1)
    return _Exponents(jnp.take_along_axis(exponents, order, axis=1), error, gap)


def _floquet(
    inner: Homogeneous, modal: Homogeneous, orbit: Orbit, lambdas: Any, nodes: int
) -> _Exponents:
    """Floquet exponents from monodromy matrices at so many nodes, each a product of factors."""
    every, back = _places(np, lambdas, nodes)
    pieces = [
        _propagated(np, inner, modal, every[index], orbit)
        for index, _ in padded(len(every), _LANES)
    ]
    factors = np.concatenate([p.factors for p in pieces], axis=2)[:, :, : len(every)]
    factors = factors.reshape(-1, *factors.shape[2:])
    volumes = np.concatenate([p.volumes.sum(axis=0) for p in pieces])[: len(every)]
    factors, volumes, error = back(grouped(factors), volumes)
    logs, told = product_spectrum(factors)
    gap = np.where(told, _liouville(np, logs, volumes), np.nan).max()
    return _Exponents(logs / orbit.period, error, gap)


def _liouville(xp: Any, logs: Any, volumes: Any) -> Any:
    """By how much multipliers' logarithms miss the integral of the trace, relative, (mode,)."""
    return xp.abs(logs.real.sum(axis=1) - volumes.real) / (1 + xp.abs(volumes))


def _places(xp: Any, lambdas: Any, nodes: int) -> tuple[Any, Callable[[Any, Any], Any]]:
    """Λ at which propagators are computed, and what brings them from there to all modes.

    The latter takes factors (factor, place, n, n) and volumes (place,); it also returns the
    relative error of the interpolation.
    """
    if lambdas.shape[0] <= nodes or lambdas.ndim > 1:
        return lambdas, lambda factors, volumes: (factors, volumes, xp.asarray(0.0))
    where = interpolation_nodes(lambdas, nodes, xp)
    middle = (where[0] + where[nodes // 2]) / 2
    checks = xp.stack([middle, (where[0] + 3 * where[nodes // 2]) / 4])

    def back(factors: Any, volumes: Any) -> tuple[Any, Any, Any]:
        count, _, n, _ = factors.shape
        known, exact = factors[:, :nodes].reshape(count, nodes, -1), factors[:, nodes:]
        exact = exact.reshape(count, 2, -1)
        guess = interpolation(where, checks, xp) @ known
        error = xp.abs(guess - exact).max(axis=(1, 2)) / xp.abs(exact).max(axis=(1, 2))
        matrix = interpolation(where, lambdas, xp)
        factors = (matrix @ known).reshape(count, -1, n, n)
        return factors, matrix @ volumes[:nodes], error.sum()

    return xp.concatenate([where, checks]), back


def _propagated(
    xp: Any, inner: Homogeneous, modal: Homogeneous, lambdas: Any, orbit: Orbit
) -> Propagated:
    """Propagators of perturbations of several modes along an orbit."""
    segments = orbit.states.shape[0]
    steps = (orbit.ts.shape[0] - 1) // segments
    dt = orbit.period / (segments * steps)
    return swept(
        xp, lambda x, dt, n: _sweep(inner, modal, lambdas, x, dt, n), orbit.states, dt, steps, BLOCK
    )


@eqx.filter_jit
def _sweep(
    inner: Homogeneous,
    modal: Homogeneous,
    lambdas: jax.Array,
    starts: jax.Array,
    dt: jax.Array,
    steps: int,
) -> Propagated:
    """Steps over all segments at once, with the perturbations of all modes."""

    def linear(x: jax.Array) -> jax.Array:
        matrix, column, row = linearise(inner, x)
        factors = modal.along(modal.model.output(x), lambdas)
        return _with_drive(jnp, matrix, column, row, factors)

    return propagators(inner.vector_field, linear, starts, dt, steps)


def _with_drive(xp: Any, matrix: Any, column: Any, row: Any, factors: Any) -> Any:
    """The node's matrices (mode, variable, variable), with what comes back over the network."""
    if column.ndim == 1:
        return matrix + factors[:, None, None] * xp.outer(column, row)
    return matrix + xp.einsum("vi,mio,ow->mvw", column, factors, row)


def linearise(
    inner: Homogeneous, state: Float[Array, "variable"]
) -> tuple[Float[Array, "variable variable"], Float[Array, "..."], Float[Array, "..."]]:
    """A, b and c of the module's docstring, at a homogeneous state.

    Of a model with several inputs and outputs b is (variable, input), c (output, variable).
    """
    model: AbstractNeuralMass = inner.model
    drive = inner.drive(model.output(state))
    matrix, column = jax.jacfwd(model.vector_field, argnums=(0, 1))(state, drive)
    return matrix, column, jax.jacfwd(model.output)(state)


@eqx.filter_jit
def _linearised(inner: Homogeneous, modal: Homogeneous, state: jax.Array) -> tuple[Any, ...]:
    """A, b and c, and the slopes of the coupling."""
    return *linearise(inner, state), *modal.slopes(modal.model.output(state))
