r"""Small noise at a stable equilibrium: spectra and correlations without a simulation.

Near an equilibrium every region j answers its input d_j and its noise ξ_j linearly. With A_j the
region's Jacobian at fixed input, b_j and c_j the derivatives by its input and of its output, at
the frequency ω,

    x_j = (iω - A_j)⁻¹ (b_j d_j + D_j ξ_j),     d = C y,     y_j = c_jᵀ x_j,

with C what the coupling makes of small changes of outputs: εW where it is linear, and what
`AbstractCoupling.linearised` gives at the equilibrium where it is not.
Eliminating the regions leaves one system with as many equations as regions,
(I - diag(h) C) y = g ξ with h_j = c_jᵀ (iω - A_j)⁻¹ b_j: a spectrum costs a small matrix for each
frequency, whatever the model's number of variables, and its derivatives by all parameters cost
little more. Newton's iteration for the equilibrium of a network with regional parameters is
eliminated in the same way.

With conduction delays W is W(iω), weights_jk exp(-iω τ_jk): the system is no larger than without,
and the equilibrium, at ω = 0, the same.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import INPUT, with_fields
from ngnmm_jax._core.placement import jacobian_is_small, placed
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax._core.several import several
from ngnmm_jax._core.small_linalg import solve_each
from ngnmm_jax._core.status import Status, raise_unless_ok
from ngnmm_jax.coupling.linearised import Linearised
from ngnmm_jax.dynamics.newton import jacobian
from ngnmm_jax.models.declarations import visible
from ngnmm_jax.models.notation import Notation, notation_of
from ngnmm_jax.models.times import seconds_in
from ngnmm_jax.stability.network_equilibrium import equilibrium, terms
from ngnmm_jax.systems.delayed import without_steps
from ngnmm_jax.systems.driven import Driven, driven, undriven
from ngnmm_jax.systems.loops import Local, in_channels
from ngnmm_jax.systems.network import Network
from ngnmm_jax.systems.noises import AbstractNoise, noise_that_acts, place_of
from ngnmm_jax.systems.own_equations import only_by_coupling

_ADVICE = {
    Status.NOT_FINITE: (
        "no region fluctuates: the noise, with its factors, is zero at the equilibrium; give it a "
        "strength there"
    ),
}


class LinearResponse(AbstractResult):
    """Fluctuations of one variable about a stable equilibrium, for weak noise.

    - `frequencies` (frequency,): Hz.
    - `power` (frequency, region): one-sided density, the variable's unit squared per Hz, as
      `signals.power_spectrum` estimates it.
    - `fc` (region, region): correlation of its slow fluctuations (in the limit of frequency zero,
      which those below some Hz attain: BOLD filters regions alike and leaves it as it is). NaN of
      regions that do not fluctuate.
    - `slow_power` (region,): the density in the limit of frequency zero.
    - `state` (variable, region): the equilibrium; `error`: of Newton's last correction, relative.
    - `growth`: the largest real part of the whole Jacobian's eigenvalues, per unit of the model's
      time; it carries no derivatives. NaN where it was not asked for.
    - `status`: OK; NOT_CONVERGED; UNSTABLE, where growth is not negative; NOT_FINITE where nothing
      fluctuates, as where noise has no strength at the equilibrium; NOT_CERTIFIED where it is not
      known whether the equilibrium is stable, which `stability=False` leaves open.
    - `cross` (frequency, region, region): one-sided cross-spectral density of a row's variable and
      the conjugate of a column's: its phase is above zero where the row's leads. None where it was
      not asked for.
    - `notation`: how figures write the variable and the frequencies.
    """

    frequencies: Float[Array, "frequency"]
    power: Float[Array, "frequency region"]
    fc: Float[Array, "region region"]
    slow_power: Float[Array, "region"]
    state: Float[Array, "variable region"]
    error: Float[Array, ""]
    growth: Float[Array, ""]
    status: Int[Array, ""]
    variable: str = eqx.field(static=True)
    cross: Complex[Array, "frequency region region"] | None = None
    notation: Notation = eqx.field(static=True, default=Notation())

    @property
    def drawn_by(self) -> str:
        """`plot.linear_response`."""
        return "linear_response"

    @property
    def coherency(self) -> Complex[Array, "frequency region region"]:
        """The cross-spectra over the roots of both regions' power, at each frequency.

        Its real part is the correlation of what is left by a filter about the frequency.
        """
        if self.cross is None:
            must = "be known: use `linear_response(…, cross=True)`"
            _checks.fail("cross", must, "it was not asked for")
        sd = jnp.sqrt(self.power)
        return self.cross / (sd[:, :, None] * sd[:, None, :])

    @property
    def coherence(self) -> Float[Array, "frequency region region"]:
        """The coherency's squared modulus, from 0 to 1."""
        value = self.coherency
        return value.real**2 + value.imag**2

    @property
    def stats(self) -> dict[str, Any]:
        """The error of the equilibrium."""
        return {"error": self.error}

    def summary(self) -> dict[str, Any]:
        """What fluctuates, the equilibrium's largest growth, spectra and correlations."""
        return {
            "variable": self.variable,
            "growth": self.growth,
            "frequencies": several(self.frequencies),
            "power": self.power,
            "fc": self.fc,
        }


@placed(lambda system, **given: jacobian_is_small(system))
def linear_response(
    system: Driven,
    frequencies: Any = (),
    *,
    variable: str | None = None,
    start: Any = None,
    stability: bool = True,
    cross: bool = False,
    throw: bool = True,
) -> LinearResponse:
    """Power spectra and slow correlations that weak noise causes at a network's equilibrium.

    Exact to first order in the noise where the status is OK; differentiable by all parameters, the
    equilibrium's motion included. Of a network with delays too, by speed and by delays; of
    models with several outputs and inputs too, with noise of variables.

    **Arguments:**

    - `system`: a `Driven` network with noise, white or coloured; where it has a factor, that at the
      equilibrium counts. A stimulus is not looked at.
    - `frequencies` (frequency,): Hz, for the spectra; none are needed for the correlations.
    - `variable`: what fluctuates; by default what the model shows. BOLD follows `model.synaptic`.
    - `start` (variable, region): where Newton's iteration starts; by default the lowest
      equilibrium of the region-averaged parameters.
    - `stability`: whether all eigenvalues are computed, to make sure that the equilibrium is
      stable. For 100 regions that costs more than the rest. False: the status is NOT_CERTIFIED at
      best, and what is returned means nothing where the equilibrium is unstable. Of models with
      several outputs and delays stability is not known: there it must be False.
    - `cross`: whether cross-spectra, of which coherence is made, are kept: a matrix of regions for
      each frequency.
    - `throw`: raise `SolverError` where it does not converge, or is unstable; with
      `stability=False` not where stability is not known, which was asked for.
    """
    _checks.require_x64("linear_response")
    network = undriven(system)
    if not isinstance(network, Network):
        _checks.fail("system", "be a driven network", f"it is a {type(network).__name__}")
    only_by_coupling(network, Network, "write its linearisation")
    limit = network.graph.DENSE_LIMIT
    if network.n_regions > limit:
        must = f"have at most {limit} regions, between which correlations are made: "
        must += "`modal_response` has spectra and correlations along the first modes of more"
        _checks.fail("system", must, f"it has {network.n_regions}")
    if network.model.outputs:
        _only_of_one(network, driven(system).noise)
    noise_that_acts(driven(system).noise)
    variable = network.model.shown if variable is None else variable
    _checks.one_of("variable", variable, visible(network.model))
    frequencies = as_array(frequencies, float)
    if frequencies.ndim != 1:
        _checks.fail("frequencies", "be a sequence", f"its shape is {frequencies.shape}")
    _checks.finite("frequencies", frequencies)
    if start is not None:
        start = as_array(start, float)
        _checks.shape("start", start, network.state_shape, "(variable, region)")
        _checks.finite("start", start)
    delayed = network.delays is not None
    if delayed and stability and not _checks.on_host(network):
        raise ValueError(
            "Whether an equilibrium with delays is stable is not known where JAX traces the "
            "network: use `linear_response(…, stability=False)`."
        )
    asked = stability and not delayed
    core = without_steps(driven(system).bare())
    found = equilibrium(without_steps(network), start)
    result = _respond(core, *found, frequencies, variable, asked, cross)
    if delayed and stability:
        result = _with_roots(network, result)
    if throw:
        left_open = (result.status == Status.NOT_CERTIFIED) & (not stability)
        status = jnp.where(left_open, Status.OK, result.status)
        raise_unless_ok("linear_response", status, result, _ADVICE)
    return result


@eqx.filter_jit
def _respond(
    system: Driven,
    state: jax.Array,
    error: jax.Array,
    frequencies: jax.Array,
    variable: str,
    stability: bool,
    cross: bool,
) -> LinearResponse:
    network: Any = system.system
    local = in_channels(network, state)
    seen = _seen(system, state, variable)
    noise = _noise(system, local, state)
    coupled = terms(network, state)
    unit = seconds_in(network.model.time_unit)

    @jax.checkpoint
    def at(covariance: jax.Array, frequency: jax.Array) -> tuple[jax.Array, Any]:
        # The slow correlations are taken on the way, at the first frequency, which is zero.
        omega = 2 * jnp.pi * frequency * unit
        gains = _transfer(local, seen, noise, _growing(coupled, 1j * omega), omega)
        gains = _coloured(system, gains, omega)
        slow = jnp.where(frequency == 0, gains.real, 0.0)
        covariance = covariance + jnp.einsum("iks,jks->ij", slow, slow)
        power = 2 * unit * (gains.real**2 + gains.imag**2).sum(axis=(1, 2))
        between = 2 * unit * jnp.einsum("iks,jks->ij", gains, gains.conj()) if cross else None
        return covariance, (power, between)

    nothing = jnp.zeros((network.n_regions,) * 2)
    every = jnp.concatenate([jnp.zeros(1), frequencies])
    total, (power, between) = jax.lax.scan(at, nothing, every)
    covariance = total / (every == 0).sum()
    sd = jnp.sqrt(jnp.diagonal(covariance))
    tolerance = float(jnp.finfo(state.dtype).eps) ** 0.6
    good = (error <= tolerance) & network.admissible(state)
    rate = jnp.full((), jnp.nan)
    if stability:
        rate = growth(*jax.lax.stop_gradient((network, state)))
    known = jnp.where(rate >= 0, Status.UNSTABLE, Status.OK)
    status = known if stability else Status.NOT_CERTIFIED
    status = jnp.where((sd > 0).any(), status, Status.NOT_FINITE)
    return LinearResponse(
        frequencies,
        power[1:],
        covariance / (sd[:, None] * sd),
        power[0],
        state,
        error,
        rate,
        jnp.where(good, status, Status.NOT_CONVERGED),
        variable,
        None if between is None else between[1:],
        notation_of(system),
    )


def _with_roots(network: Network, result: "LinearResponse") -> "LinearResponse":
    """Whether an equilibrium with delays is stable: by its characteristic roots."""
    if not np.isfinite(np.asarray(result.state)).all():
        return result
    values, certified = network.rightmost_roots(np.asarray(result.state), 1)
    rate = values[0].real if values.size else np.nan
    known = Status.OK if certified and values.size else Status.NOT_CERTIFIED
    known = Status.UNSTABLE if rate >= 0 else known
    status = jnp.where(result.status == Status.NOT_CERTIFIED, known, result.status)
    return with_fields(result, growth=as_array(rate), status=status)


def growth(system: Network | Driven, state: Any) -> Float[Array, ""]:
    """The largest real part of the eigenvalues of a whole network's Jacobian, per unit of time."""
    network: Any = undriven(system)
    if network.delays is not None:
        raise ValueError(
            "The largest growth of a network with delays is not that of a Jacobian: "
            "`dispersion(network, state)` has it."
        )
    matrix = jacobian(network.vector_field, as_array(state, float))
    return _eigenvalues(matrix).real.max()


@jax.custom_batching.sequential_vmap
def _eigenvalues(matrix: jax.Array) -> jax.Array:
    """One matrix at a time: several wait for each other on XLA's CPU for ever (JAX 0.10)."""
    return jnp.linalg.eigvals(matrix)


def _growing(terms: tuple[Linearised, ...], rate: jax.Array) -> Any:
    """What `between` is of changes that grow as exp(rate * t): (input, output, region, region)."""
    return sum(
        term.matrix() if term.graph.delays is None else term.transfer(rate) for term in terms
    )


def _only_of_one(network: Network, noise: Any) -> None:
    """Refuse what is known of models with one output and one input only."""
    kind = type(network.model).__name__
    if INPUT in noise:
        must = "be of variables where there are several inputs"
        _checks.fail("noise", must, f"it is of the input, and `{kind}` has several")


def _seen(system: Driven, state: jax.Array, variable: str) -> jax.Array:
    """The derivative of a variable by the state, (variable, region)."""
    model = system.model

    def value(x: jax.Array) -> jax.Array:
        if variable in model.variables:
            return x[model.variables.index(variable)]
        return model.observe(x)

    return jax.grad(lambda x: value(x).sum())(state)


def _noise(
    system: Driven, local: Local, state: jax.Array
) -> Float[Array, "variable source region"]:
    """Where each kind of noise enters, times its strength, and its factor at the equilibrium."""
    rows = []
    for name, noise in system.noise.items():
        size = noise.amplitude(system.model, state) if isinstance(noise, AbstractNoise) else noise
        if name == INPUT:
            rows.append(size * local.push[:, 0])
        else:
            row, scale = place_of(system.model, name)
            rows.append(jnp.zeros_like(local.push[:, 0]).at[row].set(scale * size))
    return jnp.stack(rows, axis=1)


def _coloured(
    system: Driven, gains: Complex[Array, "region region source"], omega: jax.Array
) -> Complex[Array, "region region source"]:
    """What each region shows of independent white noises, of which each region's is made."""
    found = []
    for k, noise in enumerate(system.noise.values()):
        some = gains[:, :, k]
        if isinstance(noise, AbstractNoise):
            some = some * noise.colour(omega)
            if noise.correlation is not None:
                some = some @ noise.mixing(some.shape[1])
        found.append(some)
    return jnp.stack(found, axis=-1)


def _transfer(
    local: Local, seen: jax.Array, noise: jax.Array, coupled: jax.Array, omega: jax.Array
) -> Complex[Array, "region region source"]:
    """What each region shows of each region's noise."""
    variables, inputs, regions = local.push.shape
    outputs = len(local.output)
    unit = jnp.eye(variables, dtype=local.push.dtype)[:, :, None]
    columns = jnp.concatenate([local.push, noise], axis=1)
    answers = solve_each(1j * omega * unit - local.matrix, columns)
    sent = (local.output[:, :, None] * answers).sum(axis=1)  # (output, column, region)
    shown = (seen[:, None] * answers).sum(axis=0)
    # Of all regions' outputs: y = (answers to the noise) + (those to the inputs) coupled y.
    back = (sent[:, :inputs, None, :, None] * coupled).sum(axis=1)  # (output, output, to, from)
    loop = jnp.eye(outputs * regions) - jnp.moveaxis(back, 1, 2).reshape(outputs * regions, -1)
    through = jnp.moveaxis((shown[:inputs, None, :, None] * coupled).sum(axis=0), 0, 1)
    through = through.reshape(regions, -1) @ jnp.linalg.inv(loop)
    gains = jnp.einsum("jok,osk->jks", through.reshape(regions, outputs, -1), sent[:, inputs:])
    return gains + jnp.eye(regions)[:, :, None] * shown[inputs:].T[None]
