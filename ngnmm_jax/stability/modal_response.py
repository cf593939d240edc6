r"""Small noise at a stable homogeneous equilibrium, mode by mode: no matrix of regions is made.

With W V_k = Λ_k V_k and left vectors U_k, U_kᵀ V_l = δ_kl, activity is x_j = Σ_k a_k V_jk. Noise
that is independent between regions, and as strong in all of them, drives mode k by U_kᵀ ξ, and

    a_k = (iω - A - Λ_k b cᵀ)⁻¹ D U_kᵀ ξ

(A, b, c and Λ as `stability.dispersion` has them, the coupling's strength in b): a small problem
for each mode and frequency. The cross-spectrum of modes k and l is g_k g_l* U_kᵀ U_l, zero where
the weights are symmetric. Weights whose rows were divided by their sums are D⁻¹ S with S symmetric:
there U_k = D V_k / (V_kᵀ D V_k).
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact, Int

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import INPUT
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax._core.several import several
from ngnmm_jax._core.status import Status, raise_unless_ok
from ngnmm_jax.connectome import Eigenmodes
from ngnmm_jax.dynamics.equilibria import find_equilibria
from ngnmm_jax.models.declarations import visible
from ngnmm_jax.models.times import seconds_in
from ngnmm_jax.stability.along_orbits import linearise, with_drive
from ngnmm_jax.stability.dispersion import dispersion
from ngnmm_jax.systems.driven import Driven, driven, undriven
from ngnmm_jax.systems.homogeneous import Homogeneous
from ngnmm_jax.systems.network import Network
from ngnmm_jax.systems.noises import AbstractNoise, noise_that_acts, place_of

# Left vectors are of use where a mode's vectors overlap by this, at least.
_OVERLAP = 1e-8


class ModalResponse(AbstractResult):
    """Fluctuations of one variable along modes of a graph, for weak noise.

    - `frequencies` (frequency,): Hz.
    - `lambdas` (mode,), `vectors` (region, mode): the modes, vectors of length one.
    - `power` (frequency, mode): one-sided density of the modes' amplitudes a_k, the variable's
      unit squared per Hz. Where the weights are symmetric a region's power is
      Σ_k vectors_jk² power_k over all modes.
    - `slow_power` (mode,): in the limit of frequency zero.
    - `slow_covariance` (mode, mode): of the slow fluctuations of amplitudes, two-sided.
    - `state` (variable,): the homogeneous equilibrium.
    - `growth`: what no perturbation's growth exceeds there, per unit of the model's time.
    - `status`: OK; UNSTABLE, where some perturbation grows; NOT_CERTIFIED, where it is not known
      whether one of the modes that were not found does.
    """

    frequencies: Float[Array, "frequency"]
    lambdas: Inexact[Array, "mode"]
    vectors: Float[Array, "region mode"]
    power: Float[Array, "frequency mode"]
    slow_power: Float[Array, "mode"]
    slow_covariance: Float[Array, "mode mode"]
    state: Float[Array, "variable"]
    growth: Float[Array, ""]
    status: Int[Array, ""]
    variable: str = eqx.field(static=True)

    @property
    def stats(self) -> dict[str, Any]:
        """What no perturbation's growth exceeds."""
        return {"growth": self.growth}

    def summary(self) -> dict[str, Any]:
        """What fluctuates along which modes, and how strongly."""
        return {
            "variable": self.variable,
            "modes": self.lambdas.shape[0],
            "lambdas": self.lambdas,
            "frequencies": several(self.frequencies),
            "power": self.power,
        }

    def fc(self, regions: Any = None) -> Float[Array, "region region"]:
        """Correlations of the slow fluctuations along these modes, between some regions.

        `regions`: indices (region,); by default all. What other modes add is left out: with noise
        in every region that makes regions less alike than they are here.
        """
        vectors = self.vectors if regions is None else self.vectors[as_array(regions)]
        covariance = vectors @ self.slow_covariance @ vectors.T
        sd = jnp.sqrt(jnp.diagonal(covariance))
        return covariance / (sd[:, None] * sd)


def modal_response(
    system: Driven,
    frequencies: Any = (),
    *,
    modes: int | Eigenmodes = 16,
    variable: str | None = None,
    state: Any = None,
    throw: bool = True,
) -> ModalResponse:
    """Power spectra and slow covariances that weak noise causes along a graph's modes.

    For graphs of any size: what `linear_response` is for all regions of a hundred. Exact to first
    order in the noise; differentiable by the model's parameters and the coupling where `modes` and
    `state` are given (the motion of the equilibrium is then that of `state`).

    **Arguments:**

    - `system`: a `Driven` network without delays that has homogeneous states, with white or
      coloured noise that is independent between regions, and as strong in all. A stimulus is not
      looked at.
    - `frequencies` (frequency,): Hz.
    - `modes`: how many, of largest real Λ; or eigenmodes that `graph.leading` gave.
    - `variable`: what fluctuates; by default what the model shows.
    - `state` (variable,): the homogeneous equilibrium; by default the stable one of lowest first
      variable.
    - `throw`: raise `SolverError` where it is unstable, or may be.

    `ValueError` where the weights are neither symmetric nor similar to a symmetric matrix by
    factors of the regions, as of directed connections.
    """
    _checks.require_x64("modal_response")
    network = undriven(system)
    if not isinstance(network, Network):
        _checks.fail("system", "be a driven network", f"it is a {type(network).__name__}")
    if network.delays is not None or network.model.outputs:
        must = "have no delays, and a model of one output: `linear_response` takes others"
        _checks.fail("system", must, "it has")
    inner = network.homogeneous()
    variable = network.model.shown if variable is None else variable
    _checks.one_of("variable", variable, visible(network.model))
    frequencies = jnp.atleast_1d(as_array(frequencies, float))
    _checks.finite("frequencies", frequencies)
    _alike_noise(driven(system))
    known = network.graph.leading(modes, "LR") if isinstance(modes, int) else modes
    left = _left_vectors(network.graph, known)
    if state is None:
        found = find_equilibria(inner)
        state = found.states[int(np.argmax(np.asarray(found.stable)))]
    else:
        state = _checks.floats("state", state)
        _checks.shape("state", state, inner.state_shape, "(variable,)")
    power, slow = _along_modes(
        (inner, network.over_modes()),
        dict(driven(system).noise),
        state,
        variable,
        frequencies,
        as_array(known.values),
        as_array(left.T @ left),
    )
    growth, status = _stability(network, state)
    result = ModalResponse(
        frequencies,
        as_array(known.values),
        as_array(known.vectors),
        power[1:],
        power[0],
        slow,
        state,
        growth,
        status,
        variable,
    )
    if throw:
        raise_unless_ok("modal_response", result.status, result)
    return result


def _alike_noise(system: Driven) -> None:
    """Refuse noise that differs between regions, or is shared by them."""
    noise_that_acts(system.noise)
    for name, noise in system.noise.items():
        parts = jax.tree.leaves(noise)
        shared = isinstance(noise, AbstractNoise) and noise.correlation is not None
        if shared or any(jnp.ndim(part) for part in parts):
            must = "be as strong in all regions, and independent between them"
            _checks.fail("noise", must, f"that of `{name}` is not (`linear_response` takes it)")


def _left_vectors(graph: Any, modes: Eigenmodes) -> np.ndarray:
    """Left vectors (region, mode), of which each has the product one with its right vector."""
    d = graph.symmetriser()
    vectors = np.asarray(modes.vectors)
    if d is None or np.iscomplexobj(vectors):
        must = "be symmetric, or so but for a factor of each region"
        but = "they are not: simulate, or use `linear_response` of a network of fewer regions"
        _checks.fail("weights", must, but)
    left = vectors * np.asarray(d)[:, None]
    products = left.T @ vectors
    sizes = np.diagonal(products)
    off = np.abs(products - np.diag(sizes)) / np.sqrt(np.abs(np.outer(sizes, sizes)))
    if off.max() > _OVERLAP:
        must = "have modes that part: multiple eigenvalues need vectors orthogonal to each other"
        _checks.fail("modes", must, f"two overlap by {off.max():.1g}")
    return np.asarray(left / sizes)


@eqx.filter_jit
def _along_modes(
    systems: tuple[Homogeneous, Homogeneous],
    noises: dict[str, Any],
    state: jax.Array,
    variable: str,
    frequencies: jax.Array,
    lambdas: jax.Array,
    overlaps: jax.Array,
) -> tuple[Float[Array, "frequency mode"], Float[Array, "mode mode"]]:
    """Power of modes, at the frequency zero first, and their slow covariance.

    `systems`: the homogeneous one, and over modes; `overlaps` (mode, mode): of left vectors.
    """
    inner, modal = systems
    model: Any = inner.model
    matrix, column, row = linearise(inner, state)
    factors = modal.along(model.output(state), lambdas)
    whole = with_drive(jnp, matrix, column, row, factors)
    sources = []
    for name, noise in noises.items():
        size = noise.amplitude(model, state) if isinstance(noise, AbstractNoise) else noise
        if name == INPUT:
            sources.append(size * column)
        else:
            place, scale = place_of(model, name)
            sources.append(jnp.zeros_like(column).at[place].set(scale * size))

    def value(x: jax.Array) -> jax.Array:
        if variable in model.variables:
            return x[model.variables.index(variable)]
        return model.observe(x)

    seen, enters = jax.grad(value)(state), jnp.stack(sources, axis=1)
    unit = jnp.eye(len(state))

    def at(omega: jax.Array) -> jax.Array:
        answers = jnp.linalg.solve(1j * omega * unit - whole, enters[None] + 0j)
        colours = [
            noise.colour(omega) if isinstance(noise, AbstractNoise) else jnp.ones(())
            for noise in noises.values()
        ]
        return jnp.einsum("v,mvs->ms", seen, answers) * jnp.stack(colours)

    seconds = seconds_in(model.time_unit)
    gains = jax.lax.map(at, jnp.append(0.0, 2 * jnp.pi * frequencies * seconds))
    power = 2 * seconds * (jnp.abs(gains) ** 2).sum(axis=2) * jnp.diagonal(overlaps)
    slow = gains[0].real
    return power, (slow @ slow.T) * overlaps


def _stability(network: Network, state: Any) -> tuple[Any, Any]:
    """What no growth exceeds, and the status that follows."""
    if not _checks.on_host(network, state):
        return as_array(jnp.nan), as_array(Status.NOT_CERTIFIED)
    found = dispersion(network, state)
    attained, upper = float(jnp.max(found.growth)), float(jnp.max(found.growth))
    if found.bounds is not None:
        upper = max(upper, found.bounds.upper)
    status = Status.OK if upper < 0 else Status.NOT_CERTIFIED
    return as_array(upper), as_array(Status.UNSTABLE if attained >= 0 else status)
