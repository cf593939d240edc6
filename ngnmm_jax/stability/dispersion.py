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
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.placement import placed
from ngnmm_jax._core.results import AbstractResult, looked_at
from ngnmm_jax._core.small_linalg import eigenvalues
from ngnmm_jax._core.status import Status, raise_unless_ok
from ngnmm_jax.coupling.base import AbstractSum
from ngnmm_jax.coupling.pairwise import AbstractPairwise
from ngnmm_jax.dynamics.delayed.monodromy import leading
from ngnmm_jax.dynamics.delayed.orbits import path_of
from ngnmm_jax.dynamics.floquet import Propagated
from ngnmm_jax.dynamics.forced.orbits import refine as refined_forced
from ngnmm_jax.dynamics.forced.result import ForcedOrbit
from ngnmm_jax.dynamics.forced.system import deterministic, is_driven
from ngnmm_jax.dynamics.many_equilibria import newton_on_host
from ngnmm_jax.dynamics.newton import newton
from ngnmm_jax.dynamics.orbits import refine
from ngnmm_jax.dynamics.periodic import Orbit
from ngnmm_jax.models.notation import Notation, notation_of
from ngnmm_jax.models.times import frequency_unit, per_time, seconds_in
from ngnmm_jax.stability.along_orbits import (
    NODES,
    Exponents,
    floquet,
    forced_propagators,
    from_whole_matrices,
    linearise,
    orbit_propagators,
    with_drive,
)
from ngnmm_jax.stability.bounded import (
    GrowthBounds,
    KnownModes,
    bounded,
    modes_of,
    monodromies,
)
from ngnmm_jax.stability.roots import NEUTRAL, characteristic_roots, rests
from ngnmm_jax.systems.delayed_homogeneous import DelayedHomogeneous
from ngnmm_jax.systems.driven import Driven
from ngnmm_jax.systems.homogeneous import Homogeneous, mixed
from ngnmm_jax.systems.loops import node_of, rightmost_of_modes
from ngnmm_jax.systems.network import Network

# The number of nodes in Λ is doubled until the interpolation between them is this exact, relative
# to the monodromy matrices, or there are this many.
_EXACT, _MOST_NODES = 1e-11, 192
# A relative error above this is not a result.
_INEXACT = 1e-6


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
    - `bounds`: of a graph of over `DENSE_LIMIT` regions whose eigenvalues are not known, where
      `lambdas` are only the 12 of largest and the 4 of smallest real part, as far as Arnoldi's
      iteration finds them, and the uniform one: growth over the region that holds all
      eigenvalues, and so of all modes. None where all modes are here, or Λ were given, or with
      delays.
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
    bounds: GrowthBounds | None = None

    @property
    def drawn_by(self) -> str:
        """`plot.dispersion`."""
        return "dispersion"

    @property
    def stats(self) -> dict[str, Any]:
        """The error, as above; and how modes were found that are not all."""
        known = {} if self.bounds is None else {"bounds": self.bounds.how}
        return {"error": self.error, **known}

    @property
    def growth_bounds(self) -> tuple[Float[Array, ""], Any]:
        """What the fastest of *all* transverse modes grows by, at least and at most.

        At least by as much as those in `lambdas`. Both are the same where all modes are there.
        """
        attained = jnp.where(self.transverse, self.growth, -jnp.inf).max()
        return attained, attained if self.bounds is None else self.bounds.upper_transverse

    def summary(self) -> dict[str, Any]:
        """How many modes there are, how many of them grow, and the fastest."""
        if not _checks.is_concrete(self) or jnp.ndim(self.eigenvalues) != 2:
            return {"lambdas": self.lambdas, "eigenvalues": self.eigenvalues}
        shown: dict[str, Any] = {"modes": self.lambdas.shape[0]}
        if self.uniform is not None:
            shown["uniform growth"] = f"{self.growth[self.uniform]:.6g} {per_time(self.time_unit)}"
        if self.transverse.any():
            k = int(self.fastest)
            rate, turning = float(self.growth[k]), float(self.frequency[k])
            growing = int(self.number_growing)
            shown["growing"] = growing if self.bounds is None else f"at least {growing}"
            shown["fastest"] = f"Λ = {self.lambdas[k]:.4g}: {rate:.6g} {per_time(self.time_unit)}"
            shown["frequency"] = f"{turning:.6g} {frequency_unit(self.time_unit)}"
        if self.bounds is not None:
            most = f"at most {self.bounds.upper_transverse:.6g} {per_time(self.time_unit)}"
            shown["any transverse mode"] = f"{most}, at Λ = {self.bounds.at_transverse:.4g}"
        return shown

    @property
    def growth(self) -> Float[Array, "mode"]:
        """Largest real part for each Λ, per unit of the model's time."""
        return looked_at(lambda xp, values: values[:, 0].real, self.eigenvalues)

    @property
    def frequency(self) -> Float[Array, "mode"]:
        """Frequency (Hz) at which the leading perturbation of each Λ oscillates."""
        unit = 2 * np.pi * seconds_in(self.time_unit)
        return looked_at(lambda xp, values: xp.abs(values[:, 0].imag) / unit, self.eigenvalues)

    @property
    def transverse(self) -> np.ndarray:
        """(mode,): whether a mode is transverse, that is, not the uniform one."""
        mask = np.ones(self.lambdas.shape[0], dtype=bool)
        if self.uniform is not None:
            mask[self.uniform] = False
        return mask

    @property
    def number_growing(self) -> Int[Array, ""]:
        """How many transverse modes, of those in `lambdas`, grow: by over 1e-10 of the largest
        eigenvalue's modulus. With `bounds` there may be more: those are not all modes then.

        On an orbit without coupling all are neutral, to rounding.
        """
        return looked_at(self._growing, self.eigenvalues)

    def _growing(self, xp: Any, values: Any) -> Any:
        sizes = xp.abs(values)
        neutral = NEUTRAL * xp.where(xp.isnan(sizes), 0.0, sizes).max()
        return ((values[:, 0].real > neutral) & self.transverse).sum()

    @property
    def fastest(self) -> Int[Array, ""]:
        """Index of the transverse mode that grows fastest (or decays slowest)."""
        among = self.transverse
        return looked_at(lambda xp, rate: xp.argmax(xp.where(among, rate, -xp.inf)), self.growth)


@placed()
def dispersion(
    system: Network | Driven,
    state: ArrayLike | Orbit | ForcedOrbit,
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

    Of a graph of very many regions (`graphs.AbstractGraph.DENSE_LIMIT`) the first and last modes
    are computed, and the growth of all others is bounded: growth is known exactly for any Λ, and
    it is subharmonic, so that over a region that holds all eigenvalues it is largest on the
    boundary. There it is enclosed by branch and bound (`bounds`, `stability.hull`).

    **Arguments:**

    - `system`: with scalar parameters and rows that sum to the same. Or such a network under a
      periodic stimulus that all regions share, `Driven(network, stimulus=…)`, without delays.
    - `state`: an equilibrium (variable,) or an orbit of `network.homogeneous()`; of a driven one,
      an orbit of `Driven(network.homogeneous(), stimulus=…)`.
    - `lambdas` (mode,): real or complex Λ; by default the eigenvalues of the weights (all that are
      known of very many regions). Of a sum of
      couplings that are not all linear, (mode, graph).
    - `throw`: raise `SolverError` if the state is no equilibrium, or the orbit none.
    """
    _checks.require_x64("dispersion")
    whole = deterministic(system, "dispersion")
    if is_driven(whole) or isinstance(state, ForcedOrbit):
        inner: Any = _driven_alike(whole, state)
        system = whole.system
    else:
        system = whole
        inner = _shared(whole, state)
    if inner is None:
        if lambdas is not None:
            must = "be left out where delays, parameters or the state differ between regions"
            _checks.fail("lambdas", must, "they are given, and there are no modes then")
        assert not isinstance(state, Orbit | ForcedOrbit)
        return characteristic_roots(whole, state, throw=throw)
    assert isinstance(system, Network)
    modes = modes_of(system) if lambdas is None else KnownModes(lambdas, None)
    lambdas = _as_lambdas(modes.lambdas)
    delayed = isinstance(inner, DelayedHomogeneous)
    modal = inner.present if isinstance(inner, DelayedHomogeneous) else system.over_modes()
    _fit(modal, lambdas)
    _checks.finite("lambdas", lambdas)
    if isinstance(state, ForcedOrbit):
        found = _of_forced_orbit(inner, orbit=state, lambdas=lambdas, modal=modal)
    elif isinstance(state, Orbit):
        of_orbit: Any = _of_delayed_orbit if delayed else partial(_of_orbit, modal=modal)
        found = of_orbit(inner, orbit=state, lambdas=lambdas)
    else:
        state = _checks.floats("state", state)
        _checks.shape("state", state, inner.state_shape, "(variable,)")
        _checks.finite("state", state)
        at_rest: Any = _with_one_delay if delayed else partial(_of_equilibrium, modal=modal)
        found = at_rest(inner, state=state, lambdas=lambdas)
    found = _Modes(*map(as_array, found))
    names = system.model.time_unit, notation_of(system)
    lambdas = lambdas if lambdas.ndim == 1 else lambdas[:, 0]
    known = modes.whole is not None and not delayed
    bounds = _bounds(inner, modal, found, state, modes) if known else None
    result = Dispersion(lambdas, *found, modes.uniform, *names, bounds)
    if throw:
        raise_unless_ok("dispersion", found.status, result)
    return result


def _as_lambdas(lambdas: Any) -> jax.Array:
    """An array of Λ, real or complex."""
    xp: Any = np if _checks.on_host(lambdas) else jnp
    lambdas = xp.atleast_1d(xp.asarray(lambdas))
    if not xp.issubdtype(lambdas.dtype, np.inexact):
        lambdas = lambdas.astype(float)
    return as_array(lambdas)


def _driven_alike(system: Any, state: Any) -> Driven:
    """The homogeneous system of a driven network, for an orbit that is locked to its drive."""
    if not (is_driven(system) and isinstance(state, ForcedOrbit)):
        must = "be an orbit that `find_orbit` found of the same driven homogeneous system"
        _checks.fail("state", must, f"it is a {type(state).__name__}, of {_checks.kind_of(system)}")
    if isinstance(system.system, Homogeneous):
        _checks.fail("system", "be a network, whose modes are asked for", "it is homogeneous")
    return system.homogeneous()


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


def _bounds(
    inner: Any, modal: Homogeneous, found: "_Modes", state: Any, modes: KnownModes
) -> GrowthBounds:
    """Growth over regions of eigenvalues, at the state that was found, or along an orbit."""
    if isinstance(state, Orbit | ForcedOrbit):
        forced = isinstance(state, ForcedOrbit)
        orbit: Any = _refined(inner, state)
        orbit = jax.tree.map(np.asarray, orbit)
        propagators: Any = forced_propagators if forced else orbit_propagators
        along = partial(propagators, np, inner, modal, orbit)
        matrices, degree, error = monodromies(along, modes.whole.corners)
        return bounded(matrices, degree, modes, inner.model, float(orbit.period), error)
    matrix, column, row, through, own = map(np.asarray, _one_graph(inner, modal, found.state))
    several = bool(inner.model.outputs)

    def at(lambdas: np.ndarray) -> np.ndarray:
        factors = mixed((through,), own, lambdas, several=several)
        return np.asarray(with_drive(np, matrix, column, row, factors))

    return bounded(at, 1, modes, inner.model)


def _refined(inner: Any, orbit: Orbit | ForcedOrbit) -> Any:
    if isinstance(orbit, ForcedOrbit):
        return refined_forced(inner, orbit)
    return refine(inner, orbit)


def _one_graph(inner: Homogeneous, modal: Homogeneous, state: jax.Array) -> tuple[Any, ...]:
    matrix, column, row, through, own = _linearised(inner, modal, state)
    return matrix, column, row, through[0], own


class _Modes(NamedTuple):
    """As `Dispersion` has them."""

    eigenvalues: Any
    state: Any
    error: Any
    status: Any


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
    whole = with_drive(xp, xp.asarray(matrix), column, row, factors)
    status = xp.where(ok, Status.OK, Status.NOT_CONVERGED)
    return _Modes(_spectra(xp, whole), refined, error, status)


def _shared(system: Any, state: ArrayLike | Orbit) -> Homogeneous | DelayedHomogeneous | None:
    """The homogeneous system whose modes a state has; None where it has roots of the whole network.

    With delays: of equilibria (variable,) where all connections have one delay.
    """
    if not isinstance(system, Network):
        must = (
            "be a network, whose modes are asked for: growth of what all regions share is in "
            "`find_equilibria(…).growth`, or in the `multipliers` of an orbit"
        )
        _checks.fail("system", must, f"it is {_checks.kind_of(system)}")
    if system.delays is None:
        return system.homogeneous()
    one_sum = isinstance(system.interaction, AbstractSum | AbstractPairwise)
    if isinstance(state, Orbit):
        if not one_sum:
            must = (
                "have one coupling alone, with one delay, where modes along an orbit are asked for"
            )
            but = f"it has {_checks.kind_of(system.interaction)}: `simulate` shows what grows"
            _checks.fail("system", must, but)
        return system.homogeneous()
    if jnp.ndim(state) != 1:
        return None
    try:
        inner: Any = system.homogeneous()
    except ValueError:  # regions differ, or the sums that they receive
        return None
    return inner if one_sum and isinstance(inner, DelayedHomogeneous) else None


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
    return _along(orbit_propagators, inner, modal, refine(inner, orbit), lambdas)


def _along(
    propagators: Callable[..., Propagated], inner: Any, modal: Homogeneous, orbit: Any, lambdas: Any
) -> _Modes:
    """Doubles the nodes until the interpolation is exact (under JAX's transformations, once)."""
    if not _checks.on_host(inner, modal, orbit, lambdas):
        found = _in_a_program(propagators, inner, modal, orbit, lambdas)
        return _told(jnp, orbit, found.values, jnp.maximum(found.miss, found.gap))
    orbit, lambdas = jax.tree.map(np.asarray, (orbit, lambdas))
    through, nodes = partial(propagators, np, inner, modal, orbit), NODES
    while True:
        with np.errstate(over="ignore", invalid="ignore"):  # of what is no orbit
            found = floquet(through, orbit.period, lambdas, nodes)
        if not found.miss >= _EXACT or nodes >= _MOST_NODES:
            return _told(np, orbit, found.values, np.maximum(found.miss, found.gap))
        nodes *= 2


def _of_forced_orbit(
    inner: Driven, modal: Homogeneous, orbit: ForcedOrbit, lambdas: jax.Array
) -> _Modes:
    """The same along an orbit that is locked to a drive."""
    return _along(forced_propagators, inner, modal, refined_forced(inner, orbit), lambdas)


def _of_delayed_orbit(inner: DelayedHomogeneous, orbit: Orbit, lambdas: jax.Array) -> _Modes:
    """The leading exponents of each mode, as many as there are variables."""
    orbit = refine(inner, orbit)
    xp: Any = np if _checks.on_host(inner, orbit, lambdas) else jnp
    found = leading(inner, path_of(orbit), orbit.period, lambdas, orbit.phases.shape[0])
    error = xp.maximum(
        orbit.error, xp.where(xp.isnan(found.errors[:, 0]), 0.0, found.errors[:, 0]).max()
    )
    return _told(xp, orbit, found.logs / orbit.period, error)


def _told(xp: Any, orbit: Orbit | ForcedOrbit, values: Any, error: Any) -> _Modes:
    """An orbit's modes; their status is its own, or that they are inexact."""
    inexact = (orbit.status == Status.OK) & ~(error < _INEXACT)
    status = xp.where(inexact, Status.NOT_CONVERGED, orbit.status)
    return _Modes(values, orbit.states[0], xp.maximum(error, orbit.residual), status)


@eqx.filter_jit
def _in_a_program(
    propagators: Callable[..., Propagated], inner: Any, modal: Homogeneous, orbit: Any, lambdas: Any
) -> Exponents:
    through = partial(propagators, jnp, inner, modal, orbit)
    return from_whole_matrices(through, orbit.period, lambdas)


@eqx.filter_jit
def _linearised(inner: Homogeneous, modal: Homogeneous, state: jax.Array) -> tuple[Any, ...]:
    """A, b and c, and the slopes of the coupling."""
    return *linearise(inner, state), *modal.slopes(modal.model.output(state))
