"""Stability of equilibria of networks with delays: characteristic roots, all right of a line.

Small perturbations of an equilibrium are sums of y exp(z t), z the roots of the characteristic
matrix M (`systems.loops`): infinitely many, of which finitely many lie right of any line. They are
found by `dynamics.analytic_roots`, and their number is certified by the argument principle.
Where delays differ, what grows is no mode of the connectome any more, but has a pattern of its own.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Complex, Float, Int

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import constant
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax._core.small_linalg import solve_each
from ngnmm_jax._core.status import Status, raise_unless_ok
from ngnmm_jax.dynamics.forced.system import undriven
from ngnmm_jax.dynamics.many_equilibria import at_rest
from ngnmm_jax.models.times import frequency_unit, per_time, seconds_in
from ngnmm_jax.stability.network_equilibrium import equilibrium
from ngnmm_jax.systems.loops import Roots, linearised_loop, rightmost, roots_right_of
from ngnmm_jax.systems.network import Network
from ngnmm_jax.systems.wide_loops import loop_of

# Roots that there are to be, growing or not, at least.
FEWEST = 6
# A state is an equilibrium where Newton's last correction is below this, and moved it by less than
# this fraction of 1 + |x|.
_CONVERGED, _NEAR = 1e-8, 1e-3
# A root grows where its real part is above this part of the largest root.
NEUTRAL = 1e-10


class CharacteristicRoots(AbstractResult):
    """Characteristic roots of an equilibrium of a network with delays, right of a line.

    Of each complex pair the root with positive imaginary part; a multiple root as often as it is
    one. By falling real part.

    - `roots` (root,): z, per unit of the model's time.
    - `patterns` (root, region): what regions send of the perturbation, complex; of length one,
      the largest entry real and positive. Of models with several outputs (root, output, region).
    - `overlaps` (root, mode): |cosine| between a pattern and each eigenvector of the weights, in
      the order of `network.spectrum()`; of several outputs together.
    - `error` (root,): Newton's last correction, which is more than what is left.
    - `line`: all roots with Re z ≥ this are there, where `certified`. 0, or further left where
      fewer than six roots grow.
    - `missing`: by how much the number of roots, a contour integral, differs from the number found
      (of pairs both are counted).
    - `state` (variable, region): the equilibrium, as Newton's iteration refined it.
    - `status`: OK; NOT_CERTIFIED; NOT_CONVERGED where the state given is no equilibrium.
    """

    roots: Complex[Array, "root"]
    patterns: Complex[Array, "root *output region"]
    overlaps: Float[Array, "root mode"]
    error: Float[Array, "root"]
    line: Float[Array, ""]
    missing: Float[Array, ""]
    certified: Bool[Array, ""]
    state: Float[Array, "variable region"]
    status: Int[Array, ""]
    time_unit: str = eqx.field(static=True)

    @property
    def drawn_by(self) -> str:
        """`plot.characteristic_roots`."""
        return "characteristic_roots"

    @property
    def stats(self) -> dict[str, Any]:
        """Errors, and what the certificate says."""
        return {"error": self.error, "certified": self.certified, "missing": self.missing}

    def summary(self) -> dict[str, Any]:
        """How many roots there are, how many grow, and the rightmost."""
        shown: dict[str, Any] = {"roots": self.roots.shape[0], "line": self.line}
        if self.roots.shape[0]:
            z = complex(self.roots[0])
            shown["growing"] = self.number_growing
            shown["rightmost"] = f"{z.real:.6g} + {z.imag:.6g} i {per_time(self.time_unit)}"
            shown["frequency"] = f"{float(self.frequency[0]):.6g} {frequency_unit(self.time_unit)}"
        return shown

    @property
    def growth(self) -> Float[Array, "root"]:
        """Real parts, per unit of the model's time."""
        return self.roots.real

    @property
    def frequency(self) -> Float[Array, "root"]:
        """Frequencies (Hz) at which the perturbations oscillate."""
        return jnp.abs(self.roots.imag) / (2 * jnp.pi * seconds_in(self.time_unit))

    @property
    def number_growing(self) -> Int[Array, ""]:
        """How many roots grow, pairs counted once: all that there are, where `certified`.

        By over their error, and 1e-10 of the largest root's modulus.
        """
        neutral = NEUTRAL * jnp.abs(self.roots).max(initial=0.0)
        return (self.growth > jnp.maximum(self.error, neutral)).sum()


def characteristic_roots(
    network: Network, state: ArrayLike, *, line: float | None = None, throw: bool = True
) -> CharacteristicRoots:
    """All characteristic roots of an equilibrium right of a line.

    All of them in a rectangle that is known to hold all (`dynamics.gain_bounds`), counted by the
    argument principle. For values that are known: derivatives of a root come from `root_near`.

    **Arguments:**

    - `network`: with or without delays; parameters may differ between regions.
    - `state` (variable, region): an equilibrium, which Newton's iteration refines; or (variable,),
      the same in all regions.
    - `line`: real, per unit of the model's time. By default 0, so that all growing roots are there;
      or, where fewer than six grow, as far left as six are, if so many can be certified.
    - `throw`: raise `SolverError` if the state is no equilibrium, or the number is not certified.
    """
    _checks.require_x64("characteristic_roots")
    network = undriven(network, "characteristic_roots", ", under which nothing rests")
    if not _checks.on_host(network, state):
        must = "have known values here: derivatives of a root come from `root_near`"
        _checks.fail("network", must, "JAX is tracing them")
    if line is not None:
        _checks.finite("line", line)
    given = spread(network, state)
    network.only_by_coupling("find the roots of its own linearisation")
    undelayed = network.undelayed()
    known = at_rest(_slope(undelayed.bare(), given), given, undelayed.time_step)
    at = (given, known) if known is not None else _refined(undelayed.bare(), given)
    refined, error = map(np.asarray, at)
    loop = loop_of(network, refined)
    found = rightmost(loop, FEWEST) if line is None else roots_right_of(loop, float(line))
    result = _result(network, refined, found, bool(rests(np, given, refined, error)))
    if throw:
        raise_unless_ok("characteristic_roots", result.status, result)
    return result


def rests(xp: Any, given: Any, refined: Any, error: Any) -> Any:
    """Whether a given state is an equilibrium, of which `refined` is Newton's last state, and
    `error` its last correction; `xp` is NumPy or JAX's.
    """
    given = xp.asarray(given)
    moved = xp.abs(refined - given).max() / (1 + xp.abs(given).max())
    return (error < _CONVERGED) & (moved < _NEAR)


def spread(network: Network, state: ArrayLike) -> Float[Array, "variable region"]:
    """A state (variable, region), of one that may be the same in all regions."""
    state = _checks.floats("state", state)
    if state.ndim == 1:
        state = jnp.broadcast_to(state[:, None], (state.shape[0], network.n_regions))
    _checks.shape("state", state, network.state_shape, "(variable, region), or (variable,)")
    _checks.finite("state", state)
    return state


_refined = eqx.filter_jit(equilibrium)
_slope = eqx.filter_jit(lambda network, state: network.vector_field(state))


def _result(network: Network, state: np.ndarray, found: Roots, still: bool) -> CharacteristicRoots:
    roots = found.found
    vectors = network.graph.eigenvectors()
    status = Status.OK if roots.certified else Status.NOT_CERTIFIED
    values = {
        "roots": roots.values,
        "patterns": found.sent,
        "overlaps": _overlaps(found.sent, vectors),
        "error": roots.errors,
        "line": found.line,
        "missing": roots.missing,
        "certified": roots.certified and still,
        "state": state,
        "status": status if still else Status.NOT_CONVERGED,
    }
    arrays = {name: as_array(value) for name, value in values.items()}
    return CharacteristicRoots(**arrays, time_unit=network.model.time_unit)


def _overlaps(sent: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Of patterns (root, *output, region) with vectors (region, mode)."""
    each = np.abs(sent.conj() @ vectors) ** 2
    return np.sqrt(each.sum(axis=tuple(range(1, each.ndim - 1))))


def root_near(
    network: Network, state: ArrayLike, guess: ArrayLike, steps: int = 8
) -> tuple[Complex[Array, ""], Float[Array, ""]]:
    """The characteristic root near a guess, and Newton's last correction, with derivatives.

    By the implicit function theorem, of the root and of the equilibrium: `jax.grad` of its real
    part by speed, delay, coupling or a parameter is the total derivative. The guess, a root that
    `dispersion` or `characteristic_roots` found, has to be simple and known; make sure of the
    correction. The equilibrium too is followed from the `state` given.

    The root is one of 1 / φ(z) with φ = uᵀ M(z)⁻¹ v, u and v fixed vectors, near the root's own. M
    is I - q W(z) n / p here, so that roots at a region's own eigenvalues (uncoupled ones) are
    refused: their correction is NaN.

    **Arguments:**

    - `network`: may be traced by JAX.
    - `state` (variable, region) or (variable,): at or near an equilibrium.
    - `guess`: complex, per unit of the model's time.
    - `steps`: of Newton's iteration, at most.
    """
    _checks.require_x64("root_near")
    network = network.bare()
    start = spread(network, state)
    return _root_near(network, start, as_array(guess, complex), steps)[:2]


def followed_root(
    network: Any, start: jax.Array, guess: jax.Array, steps: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """As `root_near` has them, and the equilibrium (variable, region)."""
    undelayed = network.undelayed()
    state, _ = equilibrium(undelayed, jax.lax.stop_gradient(start))
    return *root_at(network, state, guess, steps), state


def root_at(
    network: Any, state: jax.Array, guess: Any, steps: int = 8
) -> tuple[jax.Array, jax.Array]:
    """As `root_near` has them, of an equilibrium (variable, region) that is one; without delays an
    eigenvalue of the whole Jacobian.

    The last two of Newton's steps carry derivatives, which are exact to second order so.
    """
    guess = as_array(guess, complex)
    loop = linearised_loop(network, state)

    def matrix(loop: Any, z: jax.Array) -> jax.Array:
        node, push, sent, terms = loop
        unit = jnp.eye(len(node))[:, :, None]
        gain = jnp.einsum("oak,aik->oik", sent, solve_each(z * unit - node, push))
        passed: Any = 0.0
        for factor, graph in terms:
            known: Any = graph
            weights = known.matrix() if graph.delays is None else known.transfer(z)
            passed = passed + factor * weights
        size = push.shape[1] * push.shape[2]
        back = jnp.einsum("iojk,olk->ijlk", passed, gain).reshape(size, size)
        return jnp.eye(size) - back

    fixed = constant(loop)
    here = matrix(fixed, guess)
    left, _, right = jnp.linalg.svd(here)
    u, v = jax.lax.stop_gradient((right[-1].conj(), left[:, -1]))

    def correction(loop: Any, z: jax.Array) -> jax.Array:
        def inverse_gain(z: jax.Array) -> jax.Array:
            return 1 / (u.conj() @ jnp.linalg.solve(matrix(loop, z), v))

        value, slope = jax.jvp(inverse_gain, (z,), (jnp.ones_like(z),))
        return -value / slope

    def step(z: jax.Array, _: None) -> tuple[jax.Array, None]:
        return z + correction(fixed, z), None

    value, _ = jax.lax.scan(step, jax.lax.stop_gradient(guess), None, length=steps)

    def exact(z: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        move = correction(loop, z)
        return z + move, jnp.abs(move)

    value, moves = jax.lax.scan(exact, jax.lax.stop_gradient(value), None, length=2)
    return value, moves[-1]


_root_near = eqx.filter_jit(followed_root)
