"""How well a fit's parameters are known: curvature at the minimum, and samples of the posterior."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.randomness import Purpose, stream
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax._core.status import Status
from ngnmm_jax.fitting.compiled import Compiled
from ngnmm_jax.fitting.free import Free
from ngnmm_jax.fitting.gradients import Loss, finite_status, objective
from ngnmm_jax.fitting.result import Fit

# Curvatures below this fraction of the largest are none.
_FLAT = 1e-8
# So many parameters are shown in short.
_SHOWN = 5
# Chains agree where Gelman and Rubin's statistic is below this.
_AGREED = 1.05


class Identifiability(AbstractResult):
    """What the curvature of a loss at its minimum says of each parameter.

    Errors are those of a loss that is minus a log-likelihood (`losses.whittle`), priors included.

    - `hessian` (parameter, parameter): by x.
    - `curvatures` (direction,), `directions` (direction, parameter): its eigenvalues, falling, and
      eigenvectors. A small curvature is a combination of parameters that the data do not tell.
    - `sd` (parameter,): standard deviation of x, the others being unknown too; infinite where a
      flat direction takes part. `sd_alone`: the others being known.
    - `correlation` (parameter, parameter): of the estimates.
    - `value`, `value_sd` (parameter,): of the parameters themselves, to first order; NaN for
      those by maps.
    - `names` (parameter,).
    - `status`: NOT_FINITE where the curvature is not.
    """

    hessian: Float[Array, "parameter parameter"]
    curvatures: Float[Array, "parameter"]
    directions: Float[Array, "parameter parameter"]
    sd: Float[Array, "parameter"]
    sd_alone: Float[Array, "parameter"]
    correlation: Float[Array, "parameter parameter"]
    value: Float[Array, "parameter"]
    value_sd: Float[Array, "parameter"]
    names: tuple[str, ...] = eqx.field(static=True)

    @property
    def drawn_by(self) -> str:
        """`plot.identifiability`."""
        return "identifiability"

    @property
    def flat(self) -> int:
        """How many directions are not told by the data."""
        return int((self.curvatures < _FLAT * self.curvatures[0]).sum())

    @property
    def status(self) -> Any:
        """OK, or NOT_FINITE."""
        return finite_status(self.hessian)

    @property
    def stats(self) -> dict[str, Any]:
        """How many directions the data do not tell, and the span of curvatures."""
        return {"flat directions": self.flat, "curvatures": self.curvatures}

    def summary(self) -> dict[str, Any]:
        """Of up to five parameters the value and its error."""
        pairs = zip(self.names, self.value, self.value_sd, strict=True)
        rows = {name: f"{float(value):.5g} ± {float(sd):.2g}" for name, value, sd in pairs}
        more = len(rows) - _SHOWN
        shown = dict(list(rows.items())[:_SHOWN])
        return {**shown, "…": f"{more} more: `print` shows all"} if more > 0 else shown

    def __str__(self) -> str:
        rows = [f"{'parameter':<20}{'value':>12}{'± sd':>12}{'if others were known':>22}"]
        for k, name in enumerate(self.names):
            alone = float(self.value_sd[k] * self.sd_alone[k] / self.sd[k])
            rows.append(
                f"{name:<20}{float(self.value[k]):>12.5g}{float(self.value_sd[k]):>12.3g}{alone:>22.3g}"
            )
        return "\n".join(rows)


def identifiability(result: Fit, loss: Loss, *, seed: int = 0) -> Identifiability:
    """Curvature of the loss (with the priors) at the best x of a fit, by derivatives of the loss as
    it is computed.

    **Arguments:** `seed`: the fit's, so that the loss has the same key.
    """
    _checks.seed(seed)
    free = result.free
    function = objective(loss, free)
    x = as_array(result.x[result.best])
    key = stream(seed, Purpose.LOSS)

    # Forward over reverse, a direction at a time: memory of one gradient.
    def curvature(x: jax.Array, key: Any) -> jax.Array:
        gradient = jax.grad(lambda x: function(x, key)[0])
        return jax.lax.map(lambda v: jax.jvp(gradient, (x,), (v,))[1], jnp.eye(x.size))

    hessian = Compiled(curvature)(x, key)
    hessian = (hessian + hessian.T) / 2
    curvatures, vectors = jnp.linalg.eigh(hessian)
    curvatures, vectors = curvatures[::-1], vectors[:, ::-1]
    told = curvatures > _FLAT * curvatures[0]
    inverse = jnp.where(told, 1 / jnp.where(told, curvatures, 1.0), 0.0)
    covariance = (vectors * inverse) @ vectors.T
    untold = jnp.where(told, 0.0, vectors**2).sum(axis=1) > 1e-3
    sd = jnp.where(untold, jnp.inf, jnp.sqrt(jnp.diagonal(covariance)))
    size = jnp.sqrt(jnp.maximum(jnp.diagonal(covariance), 1e-300))
    value, slope = _values(free, x)
    return Identifiability(
        hessian, curvatures, vectors.T, sd, 1 / jnp.sqrt(jnp.maximum(jnp.diagonal(hessian), 0.0)),
        covariance / (size[:, None] * size), value, jnp.abs(slope) * sd, free.names,
    )  # fmt: skip


def _values(free: Free, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Each entry's value, and its derivative by x; NaN for those that are no values themselves."""
    parts, slopes = [], []
    for name, part in free.split(x).items():
        unknown = free.parameters[name]
        flat = part.ravel()
        if unknown.per is not None and not isinstance(unknown.per, str):
            parts.append(jnp.full(flat.shape, jnp.nan))
            slopes.append(jnp.full(flat.shape, jnp.nan))
        else:
            parts.append(unknown.inverse(flat))
            slopes.append(jax.vmap(jax.grad(unknown.inverse))(flat))
    return jnp.concatenate(parts), jnp.concatenate(slopes)


class Posterior(AbstractResult):
    """Samples of the posterior.

    - `x` (chain, sample, parameter): in unbounded space; `values`: of the parameters by name,
      (chain, sample, …).
    - `r_hat`, `effective` (parameter,): Gelman and Rubin's statistic with split chains, and
      the effective number of samples: converged where the former is below 1.01 or so.
    - `divergences`: steps of the sampler that failed.
    - `names` (parameter,).
    - `status`: OK where the chains agree (all r_hat below 1.05) and no step failed, else
      NOT_CONVERGED.
    """

    x: Float[Array, "chain sample parameter"]
    values: dict[str, Float[Array, "chain sample ..."]]
    r_hat: Float[Array, "parameter"]
    effective: Float[Array, "parameter"]
    divergences: int
    names: tuple[str, ...] = eqx.field(static=True)

    @property
    def status(self) -> Any:
        """Whether the chains agree and no step failed."""
        agreed = (self.r_hat < _AGREED).all() & (self.divergences == 0)
        return jnp.where(agreed, Status.OK, Status.NOT_CONVERGED)

    @property
    def stats(self) -> dict[str, Any]:
        """How well the chains agree, by parameter, and how many steps failed."""
        return {
            "r_hat": self.r_hat, "effective": self.effective, "divergences": self.divergences
        }  # fmt: skip

    def summary(self) -> dict[str, Any]:
        """How many samples; the ranges of up to five parameters."""
        chains, samples, _ = self.x.shape
        values = dict(list(self.values.items())[:_SHOWN])
        return {"samples": f"{chains} chains of {samples}", **values}


def sample_posterior(
    result: Fit,
    loss: Loss,
    *,
    warmup: int = 300,
    samples: int = 500,
    chains: int = 2,
    seed: int = 0,
    progress: bool = False,
) -> Posterior:
    """The posterior by Hamiltonian Monte Carlo (NUTS, by the package `numpyro`).

    The density is exp(-loss), the priors included, uniform in the parameters where they are bounded
    (the transforms' derivatives are taken into account) and in x otherwise; so `loss` has to be
    minus a log-likelihood. Chains start near the fit's best x.

    Source: Hoffman and Gelman, J. Mach. Learn. Res. 15, 1593 (2014).
    """
    _checks.seed(seed)
    numpyro = _checks.require_module("numpyro", "fit")
    infer, diagnostics = numpyro.infer, _checks.require_module("numpyro.diagnostics", "fit")
    free = result.free
    function = objective(loss, free)
    key = stream(seed, Purpose.LOSS)

    def potential(x: jax.Array) -> jax.Array:
        value = function(x, key)[0] - _log_slopes(free, x)
        return jnp.where(jnp.isfinite(value), value, 1e10)

    x = as_array(result.x[result.best])
    jitter = 1e-2 * jax.random.normal(stream(seed, Purpose.CHAINS), (chains, x.size))
    sampler = infer.MCMC(
        infer.NUTS(potential_fn=potential, dense_mass=x.size <= 50),
        num_warmup=warmup,
        num_samples=samples,
        num_chains=chains,
        chain_method="vectorized" if chains > 1 else "sequential",
        progress_bar=progress,
    )
    begin = x + jitter if chains > 1 else x
    sampler.run(stream(seed, Purpose.SAMPLER), init_params=begin, extra_fields=("diverging",))
    drawn = np.asarray(sampler.get_samples(group_by_chain=True))
    failed = int(np.asarray(sampler.get_extra_fields()["diverging"]).sum())
    values = jax.vmap(jax.vmap(free.values))(as_array(drawn))
    return Posterior(
        as_array(drawn), values, as_array(diagnostics.split_gelman_rubin(drawn)),
        as_array(diagnostics.effective_sample_size(drawn)), failed, free.names,
    )  # fmt: skip


def _log_slopes(free: Free, x: jax.Array) -> jax.Array:
    """Logarithm of the determinant of the transforms, of those that are bounded."""
    total = jnp.zeros(())
    for name, part in free.split(x).items():
        unknown = free.parameters[name]
        if (unknown.per is None or isinstance(unknown.per, str)) and np.isfinite(unknown.low):
            slopes = jax.vmap(jax.grad(unknown.inverse))(part.ravel())
            total = total + jnp.log(slopes).sum()
    return total
