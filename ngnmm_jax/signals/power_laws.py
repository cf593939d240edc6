"""Power laws of avalanches: exponents by maximum likelihood, and how they go together."""

import math
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, Int
from numpy.typing import ArrayLike

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax._core.status import Status
from ngnmm_jax.signals._arrays import Number, as_number
from ngnmm_jax.signals.avalanches import Avalanches

# Avalanches of one length that a mean takes, and the shortest that have a shape.
_ENOUGH, _SHORTEST = 10, 4
_RIVALS = ("exponential", "lognormal")
# Between which exponents are looked for; as near to an end as this, there is none.
_BETWEEN, _NEAR = (1.0001, 10.0), 1e-3
# Whole numbers from which on a density hardly changes from one to the next.
_WIDE = 1e5
# Places along a shape, from its beginning to its end.
_PHASES = np.linspace(0, 1, 101)


class PowerLaw(AbstractResult):
    """A power law p(x) ~ x^(−exponent) between two ends.

    - `exponent`, `error`: its maximum-likelihood value, and standard error (from the curvature of
      the likelihood, for the ends as they are).
    - `least`, `greatest`: the ends; infinite where there is no upper one.
    - `distance`: Kolmogorov's and Smirnov's, between data and law.
    - `count`: values between the ends.
    - `ratios` (rival,), `p` (rival,): log-likelihood ratio to an exponential and to a lognormal of
      the same ends (above zero: the power law is likelier), and how probable one as far from zero
      is where both are equally likely (Vuong's test); not finite where a rival cannot be fitted.
    - `status`: OK; NOT_CONVERGED where the likelihood has no maximum between 1 and 10 (`exponent`
      is the end it rises to, `error` NaN).
    """

    exponent: Float[Array, ""]
    error: Float[Array, ""]
    least: float = eqx.field(static=True)
    greatest: float = eqx.field(static=True)
    distance: Float[Array, ""]
    count: int = eqx.field(static=True)
    ratios: Float[Array, "rival"]
    p: Float[Array, "rival"]
    status: Int[Array, ""]

    @property
    def stats(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def summary(self) -> dict[str, Any]:
        """Exponent, ends, and rivals."""
        ends = f"{self.least:g} … {self.greatest:g}, {self.count} values"
        found: dict[str, Any] = {"exponent": self.exponent, "error": self.error, "between": ends}
        for name, ratio, p in zip(_RIVALS, self.ratios, self.p, strict=True):
            found[f"against {name}"] = f"{float(ratio):.3g} (p = {float(p):.2g})"
        return found


class Scaling(AbstractResult):
    """Exponents of avalanches that go together where they are scale-free.

    - `size`, `duration`: power laws of sizes (events) and of lengths (bins).
    - `predicted`, `predicted_error`: (exponent of durations − 1)/(exponent of sizes − 1).
    - `measured`, `measured_error`: the exponent of mean size against length, which it should be.
    - `collapse`: the same again, by which mean shapes of different lengths fall onto each other;
      `phases` (phase,), `shape` (phase,): from beginning to end, and the shape, of mean one.
    - `scatter`: mean variance of shapes about it, over its range squared: small where they do.
    - `status`: OK; that of a law that did not converge; NONE_FOUND where too few lengths have ten
      avalanches (`measured` and `collapse` are NaN then).
    """

    size: PowerLaw
    duration: PowerLaw
    predicted: Float[Array, ""]
    predicted_error: Float[Array, ""]
    measured: Float[Array, ""]
    measured_error: Float[Array, ""]
    collapse: Float[Array, ""]
    phases: Float[Array, "phase"]
    shape: Float[Array, "phase"]
    scatter: Float[Array, ""]
    status: Int[Array, ""]

    @property
    def stats(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def summary(self) -> dict[str, Any]:
        """The exponents."""
        found = {"sizes": self.size.exponent, "durations": self.duration.exponent}
        return {**found, "predicted": self.predicted, "measured": self.measured,
                "collapse": self.collapse}  # fmt: skip


def power_law(
    values: ArrayLike, *, least: Number | None = None, greatest: Number | None = None
) -> PowerLaw:
    """The power law of positive values, by maximum likelihood, and two rivals.

    Whole numbers follow a discrete law, others a continuous one. The exponent is that of the
    largest likelihood between the ends, between 1 and 10; rivals have the same ends. On the host:
    not under JAX's transformations.

    **Arguments:**

    - `values` (value,): such as sizes or lengths of `Avalanches`.
    - `least`: of the values that count; by default where the law is nearest to the data (by
      Kolmogorov's and Smirnov's distance), which takes a fit for each value there is.
    - `greatest`: the law ends there, as where a system or a recording cuts it; by default nowhere.

    Raises `ValueError` for values that are not positive, or fewer than ten between the ends.

    Source: Clauset, Shalizi and Newman, SIAM Rev. 51, 661 (2009): the discrete law, the choice of
    `least`, Vuong's test; with an upper end, the same likelihoods over what lies between.
    """
    some = _checks.numbers("values", values)
    _checks.positive("values", some)
    if some.ndim != 1:
        _checks.fail("values", "have one axis", f"its shape is {some.shape}")
    for name, end in (("least", least), ("greatest", greatest)):
        if end is not None:
            _checks.positive(name, end)
    some = np.sort(some.astype(float))
    discrete = bool((some == some.round()).all())
    low = 0.0 if least is None else as_number(least)
    high = math.inf if greatest is None else as_number(greatest)
    if discrete:
        low, high = float(math.ceil(low)), high if high == math.inf else float(math.floor(high))
    inside = some[(some <= high) & (some >= low)]
    if len(inside) < _ENOUGH or len(np.unique(inside)) < 3:
        must = f"hold at least {_ENOUGH} values between the ends, three of them different"
        _checks.fail("values", must, f"there are {len(inside)}")
    if least is None:
        low = _nearest(inside, high, discrete)
        inside = inside[inside >= low]
    exponent = _exponent(inside, low, high, discrete)
    error = _error(exponent, low, high, discrete, len(inside))
    likely = -exponent * np.log(inside) - _log_norm(exponent, low, high, discrete)
    rivals = [rival(inside, low, high, discrete) for rival in (_exponential, _lognormal)]
    ratio, p = np.array([_vuong(likely, rival) for rival in rivals]).T
    status = Status.OK if np.isfinite(error) else Status.NOT_CONVERGED
    distance = as_array(_distance(inside, exponent, low, high, discrete))
    return PowerLaw(as_array(exponent), as_array(error), low, high, distance, len(inside),
                    as_array(ratio), as_array(p), as_array(int(status)))  # fmt: skip


def _log_norm(a: float, low: float, high: float, discrete: bool) -> float:
    """Log of the sum, or the integral, of x^(−a) between the ends."""
    from scipy.special import zeta

    if discrete:
        return math.log(zeta(a, low) - (0.0 if high == math.inf else zeta(a, high + 1)))
    rest = -1.0 if high == math.inf else math.expm1((1 - a) * math.log(high / low))
    return math.log(-rest / (a - 1)) + (1 - a) * math.log(low)


def _exponent(inside: np.ndarray, low: float, high: float, discrete: bool) -> float:
    """Where the likelihood, which has one maximum, is largest."""
    from scipy.optimize import minimize_scalar

    mean = float(np.log(inside).mean())
    return float(
        minimize_scalar(
            lambda a: a * mean + _log_norm(a, low, high, discrete),
            bounds=_BETWEEN, method="bounded", options={"xatol": 1e-7},
        ).x
    )  # fmt: skip


def _found(exponent: float) -> bool:
    """Whether an exponent is inside of those looked for."""
    return _BETWEEN[0] + _NEAR < exponent < _BETWEEN[1] - _NEAR


def _error(exponent: float, low: float, high: float, discrete: bool, count: int) -> float:
    """The standard error: the inverse root of count times the curvature of the log of the norm."""
    if not _found(exponent):
        return math.nan
    step = min(1e-3, (exponent - 1) / 4)
    around = [_log_norm(exponent + k * step, low, high, discrete) for k in (-1, 0, 1)]
    curvature = (around[0] - 2 * around[1] + around[2]) / step**2
    return 1 / math.sqrt(count * curvature) if curvature > 0 else math.nan


def _distance(inside: np.ndarray, a: float, low: float, high: float, discrete: bool) -> float:
    """Kolmogorov's and Smirnov's distance of sorted values from a law."""
    from scipy.special import zeta

    x, first = np.unique(inside, return_index=True)
    until, before = np.r_[first[1:], len(inside)] / len(inside), first / len(inside)
    if discrete:  # until values, and until those before them
        top = 0.0 if high == math.inf else zeta(a, high + 1)
        above, from_here = ((zeta(a, y) - top) / (zeta(a, low) - top) for y in (x + 1, x))
    else:
        top = 0.0 if high == math.inf else (high / low) ** (1 - a)
        above = from_here = ((x / low) ** (1 - a) - top) / (1 - top)
    return float(max(np.abs(1 - above - until).max(), np.abs(1 - from_here - before).max()))


def _nearest(inside: np.ndarray, high: float, discrete: bool) -> float:
    """The value from which on the law is nearest to the data; the first one where there is none."""
    least, shortest = float(inside[0]), math.inf
    every, first = np.unique(inside, return_index=True)
    for low, start in zip(every[:-2], first[:-2], strict=True):
        rest = inside[start:]
        if len(rest) < _ENOUGH:
            break
        exponent = _exponent(rest, low, high, discrete)
        distance = _distance(rest, exponent, low, high, discrete)
        if _found(exponent) and distance < shortest:
            least, shortest = float(low), distance
    return least


def _exponential(inside: np.ndarray, low: float, high: float, discrete: bool) -> np.ndarray:
    """Log-likelihoods of values by the likeliest exponential between the ends."""
    from scipy.optimize import minimize_scalar

    excess = inside - low
    width = high - low + discrete

    def log_norm(rate: float) -> float:
        unit = -math.expm1(-rate) if discrete else rate
        return math.log(-math.expm1(-rate * width)) - math.log(unit)

    mean = float(excess.mean())
    best = minimize_scalar(
        lambda log_rate: math.exp(log_rate) * mean + log_norm(math.exp(log_rate)),
        bounds=(-10 - math.log(mean), 10 - math.log(mean)), method="bounded",
        options={"xatol": 1e-7},
    )  # fmt: skip
    rate = math.exp(best.x)
    return -rate * excess - log_norm(rate)


def _lognormal(inside: np.ndarray, low: float, high: float, discrete: bool) -> np.ndarray:
    """Log-likelihoods of values by the likeliest lognormal between the ends; rounded, if discrete.

    Normal in y = log(x/low), as exp(−s y − c y²/2): its mean is −s/c, its variance 1/c. In s and c
    the likelihood has one maximum; where it rises to c = 0, a power law, c is nearly that.
    """
    from scipy.optimize import minimize

    x, number = np.unique(inside, return_counts=True)
    y, half = np.log(x / low), 0.5 if discrete else 0.0
    ends = np.log(np.array([low - half, high + half]) / low)
    narrow = np.flatnonzero(x < _WIDE) if discrete else np.arange(0)
    edges = np.log((x[narrow] + np.array([[-0.5], [0.5]])) / low)
    spread = math.sqrt(np.cov(y, fweights=number))

    def likely(parameters: Any) -> np.ndarray:
        s, c = parameters[0] / spread, parameters[1] / spread**2
        root = math.sqrt(c)
        found = (
            -((y * root + s / root) ** 2) / 2 - y - math.log(low / root * math.sqrt(2 * math.pi))
        )
        found[narrow] = _log_between(*(edges * root + s / root))
        return found - _log_between(*(ends * root + s / root))

    best = minimize(
        lambda parameters: -float(number @ likely(parameters)) / len(inside),
        (-np.average(y, weights=number) / spread, 1.0), method="Nelder-Mead",
        bounds=((None, None), (1e-6, None)), options={"xatol": 1e-5, "fatol": 1e-9},
    )  # fmt: skip
    return np.repeat(likely(best.x) if best.success else np.full(len(x), np.nan), number)


def _log_between(a: Any, b: Any) -> Any:
    """Log of the normal distribution's share between a and b > a, on the side where it is small."""
    from scipy.special import log_ndtr

    right = a + b > 0
    a, b = np.where(right, -b, a), np.where(right, -a, b)
    return log_ndtr(b) + np.log(-np.expm1(log_ndtr(a) - log_ndtr(b)))


def _vuong(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """The log-likelihood ratio, and how probable one as far from zero is by chance."""
    more = first - second
    spread = math.sqrt(2 * len(more) * more.var())
    return float(more.sum()), math.erfc(abs(more.sum()) / spread) if spread > 0 else math.nan


def scaling(
    found: Avalanches,
    *,
    sizes: tuple[Number | None, Number | None] = (None, None),
    lengths: tuple[Number | None, Number | None] = (None, None),
) -> Scaling:
    """Whether exponents of sizes, durations and shapes go together (the crackling-noise relation).

    Where avalanches are scale-free, (α − 1)/(τ − 1), with α of durations and τ of sizes, is the
    exponent γ of mean size against duration, and mean shapes of all durations T are one shape times
    T^(γ−1). For critical branching τ = 3/2, α = 2, γ = 2. The relation holds too for much that is
    not critical: it is no proof.

    **Arguments:**

    - `found`: `avalanches`.
    - `sizes`, `lengths`: ends (least, greatest) of the laws, events and bins; None as in
      `power_law`. Mean sizes are of lengths between those ends, shapes of those of them from four
      bins on; each needs ten avalanches.

    Source: Sethna, Dahmen and Myers, Nature 410, 242 (2001); Friedman et al., Phys. Rev. Lett. 108,
    208102 (2012); the collapse as in Marshall et al., Front. Physiol. 7, 250 (2016).
    """
    of_sizes = power_law(np.asarray(found.sizes), least=sizes[0], greatest=sizes[1])
    of_lengths = power_law(np.asarray(found.lengths), least=lengths[0], greatest=lengths[1])
    tau, alpha = float(of_sizes.exponent), float(of_lengths.exponent)
    predicted = (alpha - 1) / (tau - 1)
    relative = (float(of_lengths.error) / (alpha - 1), float(of_sizes.error) / (tau - 1))
    every, number = np.unique(np.asarray(found.lengths), return_counts=True)
    inside = (every >= of_lengths.least) & (every <= of_lengths.greatest) & (number >= _ENOUGH)
    every, number = every[inside], number[inside]
    measured = _slope(found, every, number)
    shaped = [int(length) for length in every if length >= _SHORTEST]
    collapse = _collapsed(found, shaped)
    laws = [int(law.status) for law in (of_sizes, of_lengths)]
    status = max(laws)
    if status == Status.OK and not (np.isfinite(measured[0]) and np.isfinite(collapse[0])):
        status = int(Status.NONE_FOUND)
    values = (predicted, predicted * math.hypot(*relative), *measured, collapse[0], _PHASES,
              *collapse[1:], status)  # fmt: skip
    return Scaling(of_sizes, of_lengths, *(as_array(value) for value in values))


def _slope(found: Avalanches, every: np.ndarray, number: np.ndarray) -> tuple[float, float]:
    """Exponent of mean size against length and its error, lengths weighing as their avalanches."""
    if len(every) < 3:
        return math.nan, math.nan
    lengths, sizes = np.asarray(found.lengths), np.asarray(found.sizes)
    means = np.array([sizes[lengths == length].mean() for length in every])
    x, weight = np.log(every), number / number.sum()
    x, y = x - weight @ x, np.log(means) - weight @ np.log(means)
    slope = (weight * x) @ y / ((weight * x) @ x)
    rest = (weight * (y - slope * x)) @ (y - slope * x)
    return float(slope), math.sqrt(rest / ((weight * x) @ x) / (len(every) - 2))


def _collapsed(found: Avalanches, lengths: list[int]) -> tuple[float, np.ndarray, float]:
    """The exponent by which mean shapes fall onto each other, the shape, and what is left."""
    from scipy.optimize import minimize_scalar

    if len(lengths) < 3:
        return math.nan, np.full(_PHASES.shape, np.nan), math.nan
    places = [(np.arange(length) + 0.5) / length for length in lengths]
    means = [np.asarray(found.profile(length)) for length in lengths]
    # Bins' middles begin and end a half of a bin from the ends, where nothing is known.
    low, high = places[0][0], places[0][-1]
    known = (low <= _PHASES) & (high >= _PHASES)
    shapes = np.array([np.interp(_PHASES, *pair) for pair in zip(places, means, strict=True)])
    weights = np.array([np.sum(np.asarray(found.lengths) == length) for length in lengths], float)
    weights /= weights.sum()

    def scatter(exponent: float) -> float:
        some = shapes[:, known] / np.array(lengths, float)[:, None] ** (exponent - 1)
        mean = weights @ some
        spread = np.ptp(mean)
        return float((weights @ (some - mean) ** 2).mean() / spread**2) if spread > 0 else math.inf

    best = minimize_scalar(scatter, bounds=(0.5, 4.0), method="bounded")
    shape = weights @ (shapes / np.array(lengths, float)[:, None] ** (best.x - 1))
    return float(best.x), shape / shape.mean(), float(best.fun)
