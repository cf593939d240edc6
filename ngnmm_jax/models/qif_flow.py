"""Exact local flows: of a population of QIF neurons, and of a synaptic gate that it drives.

With x = π tau r and z = v + i x, a population of QIF neurons with Lorentzian excitabilities
obeys tau z' = z² + κ(t) with κ = current + i delta (Montbrió, Pazó and Roxin, Phys. Rev. X 5,
021028, 2015), a Riccati equation. Written z = N / D it is linear, tau N' = κ D, tau D' = -N: its
flow is a Möbius map. The map keeps rates positive, whatever the step, and D also counts the
spikes: its argument falls by π for each spike of a neuron.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.polynomial import Polynomial

from ngnmm_jax._core.types import Scalar
from ngnmm_jax.models.times import as_numbers, math_of

_TAN_LOW, _TAN_HIGH = math.tan(math.pi / 8), math.tan(3 * math.pi / 8)
# log(cosh(√q)) / q by powers of q: to 1e-10 of itself for |q| < 0.05.
_LOG_COSH = (1 / 2, -1 / 12, 1 / 45, -17 / 2520, 31 / 14175, -691 / 935550)
# |π tau r + i v| of a population on typical activity, at least; with strong drive it is more.
_TYPICAL = 4.0
# Terms of the moments' series, which is used for steps up to the time constant: to rounding.
_MOMENT_TERMS = 16


def _arctan_fraction(depth: int) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients in t² of P and Q, by rising power: arctan(t) = t P / Q.

    A convergent of Gauss's continued fraction t / (1 + t² / (3 + 4 t² / (5 + 9 t² / (7 + …)))).
    """
    square = Polynomial([0.0, 1.0])
    below, above = Polynomial([2.0 * depth + 1.0]), Polynomial([1.0])
    for k in range(depth, 0, -1):
        below, above = (2.0 * k - 1.0) * below + k * k * square * above, below
    return above.coef / below.coef[0], below.coef / below.coef[0]


# Exact to rounding for |t| up to tan(π/8).
_ARCTAN = {jnp.dtype("float32"): _arctan_fraction(5), jnp.dtype("float64"): _arctan_fraction(11)}


def membrane_time(
    tau: Any, currents: Sequence[Any], delta: Any, weight: Any = 0.0, potentials: Sequence[Any] = ()
) -> Any:
    """A membrane's tau / (2 |w|): in which its population changes by its own size.

    With w = π tau r + i v it obeys tau dw/dt = i (w² + I) + delta, where I is the sum of
    `currents`. |w| is taken as the largest of √|I + i delta|; of |`weight`| / 3, near which it is
    where the population drives itself; of |`potentials`|, to which conductances draw it; and of 4,
    as on typical activity. The arguments are parameters as they are, so that those that are known
    stay so inside of JAX's programs.
    """
    n, numbers = len(currents), as_numbers(tau, delta, weight, *currents, *potentials)
    xp = math_of(numbers)
    tau, delta, weight, *rest = numbers
    largest = xp.maximum(_TYPICAL, xp.sqrt(xp.hypot(sum(rest[:n]), delta)))
    for size in (weight / 3, *rest[n:]):
        largest = xp.maximum(largest, xp.abs(size))
    return tau / (2 * largest)


def beside(values: tuple[Any, ...], ndim: int) -> Array:
    """Parameters along a first axis (population,), before the axes of the regions."""
    every = jnp.stack(jnp.broadcast_arrays(*values))
    return every.reshape(len(values), *(1,) * (ndim - every.ndim), *every.shape[1:])


def population_flow(
    r: Array, v: Array, current: Array, rise: Array, delta: Array, tau: Array, dt: Scalar
) -> tuple[Array, Array, Array]:
    """Rate, potential after a step `dt`, and the mean rate over it (spikes per neuron / dt).

    **Arguments:** all broadcast against each other.

    - `r`, `v`: rate (1/time) and mean potential of the population.
    - `current`: the mean over the step of all that adds to v² - x² in tau v'.
    - `rise`: by how much it rises in the step, linearly.
    - `delta`, `tau`: half width of the excitabilities, membrane time constant.

    The step is that of Magnus's expansion of order four: z ← (z (1 + l T) + h κ T) / (1 - l T -
    h T z) with h = dt / tau, l = -rise h² / 12, T = tanh(√q) / √q, q = l² - h² κ. T is taken as
    (105 + 10 q) / (105 + 45 q + q²), whose relative error is below 1e-10 for |q| < 0.05, that is
    for currents up to 80 at dt = 0.2, tau = 8 (2e-7 for |q| < 0.35).

    Source of the expansion: Blanes et al., Phys. Rep. 470, 151 (2009), section 2.
    """
    r, v, lower, q = _moved(r, v, current, rise, delta, tau, dt)
    return r, v, _mean_rate(lower, q, dt)


def population_flow_with_means(
    r: Array, v: Array, current: Array, rise: Array, delta: Array, tau: Array, dt: Scalar
) -> tuple[Array, Array, Array, Array]:
    """As `population_flow`, and the mean potential over the step after it.

    The mean of z over a step is -tau / dt times the logarithm of the D that it arrives at.
    """
    r, v, (d_re, d_im), (q_re, q_im) = _moved(r, v, current, rise, delta, tau, dt)
    # The logarithm of cosh(√q), by which D was divided.
    extra, turned = jnp.full_like(q_re, _LOG_COSH[-1]), jnp.zeros_like(q_re)
    for coefficient in (*_LOG_COSH[-2::-1], 0.0):
        product = extra * q_re - turned * q_im, extra * q_im + turned * q_re
        extra, turned = product[0] + coefficient, product[1]
    grown = jnp.log1p((d_re - 1) * (d_re + 1) + d_im * d_im) / 2
    mean = _mean_rate((d_re, d_im), (q_re, q_im), dt)
    return r, v, mean, -(tau / dt) * (grown + extra)


def _moved(
    r: Array, v: Array, current: Array, rise: Array, delta: Array, tau: Array, dt: Scalar
) -> tuple[Array, Array, tuple[Array, Array], tuple[Array, Array]]:
    """Rate and potential after a step, with real and imaginary part of D / cosh(√q), and of q."""
    h = dt / tau
    lean = rise * (-h / 12)  # l / h
    x = math.pi * tau * r
    q_re, q_im = (h * lean) ** 2 - h * h * current, -h * h * delta
    upper_re, upper_im = 105 + 10 * q_re, 10 * q_im
    lower_re, lower_im = 105 + 45 * q_re + q_re * q_re - q_im * q_im, (45 + 2 * q_re) * q_im
    # The two quotients are not to be rewritten as one inverse times two numbers: XLA computes
    # what precedes a quotient once, and what precedes products for every use.
    size = lower_re * lower_re + lower_im * lower_im
    t_re = h * (upper_re * lower_re + upper_im * lower_im) / size
    t_im = h * (upper_im * lower_re - upper_re * lower_im) / size
    l_re, l_im = lean * t_re, lean * t_im
    n_re = v + l_re * v - l_im * x + t_re * current - t_im * delta
    n_im = x + l_re * x + l_im * v + t_re * delta + t_im * current
    d_re = 1 - l_re - (t_re * v - t_im * x)
    d_im = -l_im - (t_re * x + t_im * v)
    size = d_re * d_re + d_im * d_im
    return (
        (n_im * d_re - n_re * d_im) / (math.pi * tau * size),
        (n_re * d_re + n_im * d_im) / size,
        (d_re, d_im),
        (q_re, q_im),
    )


def _mean_rate(d: tuple[Array, Array], q: tuple[Array, Array], dt: Scalar) -> Array:
    """Spikes per neuron and time: by how much the argument of D falls, in units of π."""
    (d_re, d_im), (q_re, q_im) = d, q
    # The argument of cosh(√q), by which D was divided.
    re2, im2 = q_re * q_re, q_im * q_im
    extra = q_im * (0.5 - q_re / 6 + (3 * re2 - im2) / 45 - 17 / 630 * q_re * (re2 - im2))
    return _angle(-d_im, d_re, extra, math.pi * dt)


def _angle(y: Array, x: Array, less: Array, unit: Any) -> Array:
    """(arctan2(y, x) - less) / unit.

    To rounding between -π/8 and 5π/8: in all steps with half a spike of each neuron or less.
    """
    over, under = _ARCTAN[jnp.result_type(y, x)]
    beyond, far = y > _TAN_LOW * x, y > _TAN_HIGH * x
    upper = jnp.where(far, -x, jnp.where(beyond, y - x, y))
    lower = jnp.where(far, y, jnp.where(beyond, y + x, x))
    t = upper / lower
    offset = jnp.where(far, math.pi / 2, jnp.where(beyond, math.pi / 4, 0.0)) - less
    p, q = _polynomial(over, t * t), _polynomial(under, t * t)
    return (t * p + offset * q) / (q * unit)


def _polynomial(coefficients: np.ndarray, x: Array) -> Array:
    total = jnp.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = total * x + float(coefficient)
    return total


class GateFlow(NamedTuple):
    """A gate, tau s' = r - s, over a step in which r is a parabola in time.

    The parabola is that which has the rate's values at both ends and its mean between: the
    mean is exact however sharp a burst of spikes is. For such a rate the gate is exact to
    rounding, whatever the step.
    """

    moments: tuple[Array, Array, Array]
    relative: Array

    @classmethod
    def of(cls, tau: Array, dt: Scalar) -> "GateFlow":
        """That of a time constant and a step."""
        a = dt / tau
        short, long = jnp.minimum(a, 1.0), jnp.maximum(a, 1.0)
        moments: list[Array] = []
        for k in range(3):  # ∫ a exp(-a (1 - u)) u^k du over the step
            terms = [(-1.0) ** j * math.factorial(k) / math.factorial(k + 1 + j)
                     for j in range(_MOMENT_TERMS)]  # fmt: skip
            total = jnp.zeros_like(a)
            for term in reversed(terms):
                total = total * short + term
            # By parts; for short steps that cancels.
            closed = 1 - k * moments[-1] / long if k else -jnp.expm1(-long)
            moments.append(jnp.where(a > 1, closed, short * total))
        return cls((moments[0], moments[1], moments[2]), a)

    def __call__(self, s: Array, before: Array, after: Array, mean: Array) -> tuple[Array, Array]:
        """The gate after the step, and its mean over it."""
        zero, one, two = self.moments
        end = (
            s
            + zero * (before - s)
            + one * (6 * mean - 4 * before - 2 * after)
            + two * (3 * before + 3 * after - 6 * mean)
        )
        return end, mean - (end - s) / self.relative
