"""How far a prediction is from data: differentiable functions of the two.

All return one number that is smallest where they agree. A loss function of a fit adds some of them.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.status import Status
from ngnmm_jax.stability.dispersion import Dispersion
from ngnmm_jax.stability.response import LinearResponse


def upper(matrix: Any) -> Float[Array, "pair"]:
    """The entries above a matrix's diagonal."""
    array = as_array(matrix)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.shape[0] < 3:
        _checks.fail("fc", "be a square matrix of 3 regions or more", f"its shape is {array.shape}")
    return array[np.triu_indices(array.shape[0], 1)]


def fc_correlation(fc: Any, target: Any) -> Float[Array, ""]:
    """One minus Pearson's correlation of the upper triangles of two connectivities."""
    pair = _triangles(fc, target)
    _varies(target)
    return 1 - pearson(*pair)


def fc_distance(fc: Any, target: Any) -> Float[Array, ""]:
    """Root of the mean squared difference of the upper triangles."""
    a, b = _triangles(fc, target)
    return jnp.sqrt(jnp.mean((a - b) ** 2))


def _triangles(fc: Any, target: Any) -> tuple[jax.Array, jax.Array]:
    _checks.shape("target", target, tuple(jnp.shape(fc)), "as the connectivity")
    found, data = upper(fc), upper(target)
    if _checks.is_concrete(target):  # where JAX traces what is made of it, too
        _checks.finite("target", np.asarray(target)[np.triu_indices(len(target), 1)])
    return found, data


def _varies(target: Any) -> None:
    """Refuse data that are the same everywhere, of which there is no variance."""
    if _checks.is_concrete(target) and not np.ptp(np.asarray(target)) > 0:
        _checks.fail("target", "vary", "all of its values are the same")


def pearson(a: jax.Array, b: jax.Array) -> jax.Array:
    """Pearson's correlation of two vectors."""
    a, b = a - a.mean(), b - b.mean()
    return (a * b).sum() / jnp.sqrt((a * a).sum() * (b * b).sum())


def fcd_distance(
    values: Any, target: Any, *, smooth: Any = 0.02, points: int = 201
) -> Float[Array, ""]:
    """Distance (Kolmogorov and Smirnov's) of two distributions of FCD values in [-1, 1].

    The largest difference of the distribution functions; for derivatives, steps are logistic
    functions of width `smooth`, and the maximum is a mean over all points in which large
    differences count most (of order 16). With `smooth=0` it is the exact statistic of the samples,
    whose derivative is zero. NaN among the values (windows in which a region is still) do not
    count; one that has nothing else is refused, or gives NaN under JAX transformations.

    **Arguments:** `values`, `target` (pair,): `functional_connectivity_dynamics(…).values`.
    """
    a, b = jnp.ravel(as_array(values)), jnp.ravel(as_array(target))
    for name, x in (("values", a), ("target", b)):
        if _checks.is_concrete(x) and np.isnan(np.asarray(x)).all():
            _checks.fail(name, "hold numbers", f"all of its {x.size} values are NaN")
    if smooth == 0:
        return _exact_distance(a, b)
    _checks.positive("smooth", smooth)
    return _smooth_distance(a, b, smooth, points)


@jax.jit
def _exact_distance(a: jax.Array, b: jax.Array) -> jax.Array:
    grid = jnp.sort(jnp.concatenate([a, b]))
    # Sorted, NaN come last. Counts times counts are whole numbers: what is equal has no distance.
    known = [(~jnp.isnan(x)).sum().astype(grid.dtype) for x in (a, b)]
    below = [jnp.searchsorted(jnp.sort(x), grid, "right").astype(grid.dtype) for x in (a, b)]
    first, second = (jnp.minimum(n, most) for n, most in zip(below, known, strict=True))
    return jnp.abs(first * known[1] - second * known[0]).max() / (known[0] * known[1])


@partial(jax.jit, static_argnames="points")
def _smooth_distance(a: jax.Array, b: jax.Array, smooth: Any, points: int) -> jax.Array:
    grid = jnp.linspace(-1.0, 1.0, points)

    def cumulative(x: jax.Array) -> jax.Array:
        known = ~jnp.isnan(x)
        x = jnp.where(known, x, 0)

        def below(g: jax.Array) -> jax.Array:
            return jnp.where(known, jax.nn.sigmoid((g - x) / smooth), 0).sum() / known.sum()

        return jax.lax.map(below, grid)

    gap = jnp.abs(cumulative(a) - cumulative(b)) + 1e-12
    top = jax.lax.stop_gradient(gap.max())
    return top * jnp.mean((gap / top) ** 16) ** (1 / 16) * points ** (1 / 16)


def spectral_distance(power: Any, target: Any) -> Float[Array, ""]:
    """Root of the mean squared difference of the logarithms of two spectra (frequency, …)."""
    _checks.shape("target", target, tuple(jnp.shape(power)), "as the spectrum")
    _checks.positive("target", target)
    return jnp.sqrt(jnp.mean((jnp.log(as_array(power)) - jnp.log(as_array(target))) ** 2))


def whittle(power: Any, estimate: Any, segments: float = 1.0) -> Float[Array, ""]:
    """Minus Whittle's log-likelihood of an estimated spectrum, given the true one (frequency, …).

    Summed over frequencies and regions, without its constant. Its curvature at the minimum is the
    information in the data.

    **Arguments:**

    - `estimate`: a periodogram, or a mean of them.
    - `segments`: of how many independent ones; of Welch's with half overlap and Hann windows some
      half of them.

    Source: Whittle, J. R. Stat. Soc. B 15, 125 (1953).
    """
    _checks.shape("estimate", estimate, tuple(jnp.shape(power)), "as the spectrum")
    _checks.finite("estimate", estimate)
    power = as_array(power)
    return segments * jnp.sum(jnp.log(power) + as_array(estimate) / power)


def peak_frequency(
    power: Any, frequencies: Any, target: Any, *, sharpness: float = 4.0
) -> Float[Array, ""]:
    """Mean squared logarithm of the ratio of the spectra's peaks to target frequencies.

    A peak is the mean frequency weighted with power to the `sharpness`, which has derivatives.

    **Arguments:** `power` (frequency, …); `frequencies` (frequency,), Hz; `target` (…), Hz.
    """
    _checks.positive("target", target)
    power, frequencies = as_array(power), as_array(frequencies)
    logs = sharpness * jnp.log(power)
    weights = jax.nn.softmax(logs, axis=0)
    peak = jnp.tensordot(frequencies, weights, 1)
    return jnp.mean(jnp.log(peak / as_array(target)) ** 2)


def band_power(power: Any, frequencies: Any, band: Any, target: Any) -> Float[Array, ""]:
    """Mean squared logarithm of the ratio of the power in a band to a target (…).

    **Arguments:** `power` (frequency, …); `band`: (low, high), Hz.
    """
    _checks.positive("target", target)
    frequencies = np.asarray(frequencies)
    inside = (frequencies >= band[0]) & (frequencies < band[1])
    if not inside.any():
        _checks.fail(
            "band", "hold a frequency", f"there is none from {band[0]:g} to {band[1]:g} Hz"
        )
    width = frequencies[1] - frequencies[0] if frequencies.size > 1 else 1.0
    found = (as_array(power)[inside] * width).sum(axis=0)
    return jnp.mean(jnp.log(found / as_array(target)) ** 2)


def time_series(signal: Any, target: Any) -> Float[Array, ""]:
    """Mean squared difference (time, …) over the target's variance."""
    _checks.shape("target", target, tuple(jnp.shape(signal)), "as the signal")
    _checks.finite("target", target)
    _varies(target)
    a, b = as_array(signal), as_array(target)
    return jnp.mean((a - b) ** 2) / jnp.var(b)


def mode_target(
    modes: Dispersion,
    mode: int,
    *,
    growth: float | None = None,
    frequency: float | None = None,
    widths: tuple[float, float] = (0.01, 10.0),
) -> Float[Array, ""]:
    """Asks a mode to grow at a rate, and to oscillate at a frequency.

    Of equilibria or orbits (then from Floquet exponents); of them the leading one.

    **Arguments:**

    - `modes`: `dispersion(…)` of the network; its derivatives are total ones, the motion of the
      equilibrium or orbit included.
    - `mode`: its index in `modes.lambdas`.
    - `growth`: per unit of the model's time; `frequency`: Hz; None for whatever they are.
    - `widths`: of a deviation that costs one half, in each.
    """
    for name, value in (("growth", growth), ("frequency", frequency)):
        if value is not None:
            _checks.finite(name, value)
    total = jnp.zeros(())
    for found, wanted, width in (
        (modes.growth[mode], growth, widths[0]),
        (modes.frequency[mode], frequency, widths[1]),
    ):
        if wanted is not None:
            total = total + 0.5 * ((found - wanted) / width) ** 2
    return total


def margin(response: LinearResponse, limit: float = 30.0) -> Float[Array, ""]:
    """Keeps a network away from oscillations: mean over regions of max(0, log(peak / limit))².

    The peak is that of a region's power at the response's frequencies over its slow power; as an
    oscillation is about to start, it goes to infinity. Infinite where the response's status does
    not say that its equilibrium is stable (with `stability=False` it never does). Without this a
    fit of correlations alone can step across the onset, where they mean nothing.

    **Arguments:** `response`: with frequencies at which oscillations may start.
    """
    _checks.positive("limit", limit)
    known = _checks.is_concrete(response.status, response.growth)
    if known and response.status == Status.NOT_CERTIFIED and np.isnan(response.growth):
        must = "say whether its equilibrium is stable: take `linear_response` with `stability=True`"
        _checks.fail("response", must, "that is not known")
    if not response.power.shape[0]:
        must = "have frequencies: `linear_response(network, frequencies=…)`"
        _checks.fail("response", must, "it has none")
    over = jnp.log(response.power.max(axis=0) / response.slow_power / limit)
    cost = jnp.mean(jnp.maximum(over, 0.0) ** 2)
    return jnp.where(response.status == Status.OK, cost, jnp.inf)
