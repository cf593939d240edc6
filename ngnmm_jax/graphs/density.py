"""How densely the eigenvalues of big graphs lie."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.cards import Shown
from ngnmm_jax.graphs.spectra import SpectralBounds, Symmetric


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class SpectralDensity(Shown):
    """How densely the real eigenvalues of a graph lie, as a share of all for each unit of Λ.

    - `lambdas` (point,): from the lower to the upper bound, closer at the ends.
    - `density` (point,): smoothed over `resolution`; its integral is one.
    - `error` (point,): its standard error, of the random vectors.
    - `resolution`: the width (standard deviation) of one eigenvalue in the middle of the interval.
    - `moments` (moment,), `moments_error`: means of Chebyshev's polynomials over all eigenvalues,
      mapped from the bounds to [-1, 1], and their standard errors.
    - `bounds`: the interval.
    """

    lambdas: NDArray[np.float64]
    density: NDArray[np.float64]
    error: NDArray[np.float64]
    resolution: float
    moments: NDArray[np.float64]
    moments_error: NDArray[np.float64]
    bounds: SpectralBounds

    def __repr__(self) -> str:
        span = f"Λ {self.lambdas[0]:.4g} … {self.lambdas[-1]:.4g}"
        worst = f"{self.error.max():.1e} of {self.density.max():.3g}"
        return f"SpectralDensity({span}, to {self.resolution:.2g}, errors to {worst})"


def density_of(graph: Any, *, moments: int, vectors: int, seed: int) -> SpectralDensity:
    """How densely real eigenvalues lie, by the kernel polynomial method.

    Means of Chebyshev's polynomials over all eigenvalues are known where these are, or estimated
    with random vectors of signs, and summed with Jackson's factors (Weiße, Wellein, Alvermann and
    Fehske, Rev. Mod. Phys. 78, 275 (2006)).

    **Arguments:**

    - `moments`: how many polynomials; the resolution is π / `moments` of half the interval.
    - `vectors`: how many random vectors, at least two: errors fall with the root of their number,
      and of that of regions.
    - `seed`: of the random vectors.
    """
    for name, value in (("moments", moments), ("vectors", vectors)):
        _checks.positive_integer(name, value)
    if vectors < 2:
        _checks.fail("vectors", "be at least 2, which the error is from", f"it is {vectors}")
    d = graph.symmetriser()
    if d is None:
        must = "be symmetric, or a symmetric one with rows divided by numbers"
        _checks.fail("graph", must, "it is not: `bounds` and `leading` do without")
    bounds = graph.bounds()
    middle, half = (bounds.low + bounds.high) / 2, (bounds.high - bounds.low) / 2
    half = half if half > 0 else max(abs(middle), 1.0) * 1e-3
    if graph.exact:
        angles = np.arccos(np.clip((np.asarray(graph.spectrum()[0]) - middle) / half, -1, 1))
        known = [np.cos(m * angles).mean() for m in range(moments)]
        each = np.repeat(np.array(known)[:, None], 2, axis=1)  # no errors
    else:
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(len(d), vectors))
        operator = Symmetric(graph, as_array(np.sqrt(d)), None)
        each = np.asarray(_moments(operator, as_array(signs), middle, half, moments)) / len(d)
    return _summed(each, middle, half, bounds)


@eqx.filter_jit
def _moments(operator: Any, start: Any, middle: Any, half: Any, moments: int) -> Any:
    """Products (moment, run) of starts with Chebyshev's polynomials of the mapped operator."""

    def step(pair: Any, _: Any) -> Any:
        before, now = pair
        after = 2 * (operator.apply(now) - middle * now) / half - before
        return (now, after), (start * now).sum(axis=0)

    first = (operator.apply(start) - middle * start) / half
    _, rest = jax.lax.scan(step, (start, first), length=max(moments - 1, 1))
    return jnp.concatenate([(start * start).sum(axis=0)[None], rest])[:moments]


def _summed(each: Any, middle: float, half: float, bounds: SpectralBounds) -> SpectralDensity:
    """The density by moments (moment, run), in [-1, 1]."""
    count, runs = each.shape
    k, n = np.arange(count), count + 1
    jackson = (n - k) * np.cos(np.pi * k / n) + np.sin(np.pi * k / n) / np.tan(np.pi / n)
    points = 2 * count
    angles = np.pi * (points - np.arange(points) - 0.5) / points
    factors = np.where(k == 0, 1.0, 2.0) * jackson / n
    basis = factors * np.cos(k * angles[:, None]) / (np.pi * np.sin(angles)[:, None] * half)
    found = basis @ each
    spread = np.sqrt(runs)
    return SpectralDensity(
        middle + half * np.cos(angles),
        found.mean(axis=1),
        found.std(axis=1, ddof=1) / spread,
        np.pi / n * half,
        each.mean(axis=1),
        each.std(axis=1, ddof=1) / spread,
        bounds,
    )
