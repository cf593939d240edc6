"""Made-up connectomes of any size, with the statistics of a real one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ngnmm_jax._core import checks as _checks

# Half axes (mm, MNI) and centre of the ellipsoid whose surface stands for the cortex.
_HALF_AXES = np.array([62.0, 82.0, 52.0])
_CENTRE = np.array([0.0, -18.0, 12.0])
# Independent log-normal weights make strengths too uneven (coefficient of variation 1.0;
# the real 0.39): each weight is divided by this power of its two regions' strengths.
_EVENING = 0.33


def synthetic(
    n_regions: int,
    *,
    seed: int = 0,
    decay: float = 0.052,
    spread: float = 1.85,
    callosal_factor: float = 0.38,
    homotopic_factor: float = 6.0,
    density: float = 0.92,
    tortuosity: float = 1.86,
) -> dict[str, Any]:
    r"""What makes a symmetric connectome of two mirror-symmetric hemispheres. **Synthetic.**

    Regions lie evenly on an ellipsoid the size of a brain. The weight of a connection of
    length D (Euclidean, mm) is log-normal around the exponential distance rule,

        log w = -decay · D + spread · ξ + log(factor),   ξ ~ N(0, 1),

    with `factor` = `callosal_factor` between the hemispheres, `homotopic_factor` between
    mirror regions and 1 otherwise; ξ is the same for mirrored connections. The weakest
    connections are cut to `density`, but every region keeps its strongest.

    The defaults are the values of the embedded group average of 706 adults
    (`hcp-schaefer100`), except `homotopic_factor`: regression of its log weights on distance
    gives 0.052 per mm with a residual of 1.85 and -0.98 between the hemispheres, its density
    is 0.92, its tracts are 1.86 times as long as the straight line. Homotopic regions are
    taken to be strongly linked, as tract tracing has it. Not matched: clustering, and so the
    negative end of the normalised spectrum (about -0.86; the real one ends at -0.53).
    The distance rule: Ercsey-Ravasz et
    al., Neuron 80, 184 (2013), doi 10.1016/j.neuron.2013.07.036; log-normal weights: Buzsáki
    and Mizuseki, Nat. Rev. Neurosci. 15, 264 (2014), doi 10.1038/nrn3687.

    **Arguments:** `n_regions` (two or more; an odd one lies on the midline), `seed`, and the
    statistics above (`decay` in 1/mm).
    """
    _checks.seed(seed)
    _checks.positive_integer("n_regions", n_regions)
    if n_regions < 2:
        _checks.fail("n_regions", "be at least 2", f"it is {n_regions}")
    for name, value in {
        "decay": decay,
        "spread": spread,
        "callosal_factor": callosal_factor,
        "homotopic_factor": homotopic_factor,
        "density": density,
        "tortuosity": tortuosity,
    }.items():
        _checks.positive(name, value)
    if density > 1:
        _checks.fail("density", "be at most 1", f"it is {density:g}")

    rng = np.random.default_rng(seed)
    half, odd = divmod(n_regions, 2)
    centroids = _positions(half, odd, rng)
    gaps = centroids[:, None] - centroids[None]
    distance = np.sqrt(np.einsum("jkx,jkx->jk", gaps, gaps))

    factors = {"callosal": callosal_factor, "homotopic": homotopic_factor}
    weights = _weights(distance, factors, decay, spread, rng)
    weights = _cut(weights, density)
    sides = [f"L{k + 1}" for k in range(half)] + [f"R{k + 1}" for k in range(half)]
    return {
        "weights": weights,
        "labels": tuple(sides + ["M1"] * odd),
        "tract_lengths": distance * tortuosity,
        "centroids": centroids,
        "groups": tuple(["left"] * half + ["right"] * half + ["midline"] * odd),
        "name": f"synthetic-{n_regions}",
        "source": f"synthetic (ngnmm_jax.Connectome.synthetic({n_regions}, seed={seed}))",
    }


def _weights(
    distance: NDArray[np.float64],
    factors: dict[str, float],
    decay: float,
    spread: float,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """All weights, the largest of which was one before strengths were evened."""
    n = len(distance)
    half, odd = divmod(n, 2)
    within, between = _symmetric_noise(half, rng), _symmetric_noise(half, rng)
    log_factor = np.full((half, half), np.log(factors["callosal"]))
    np.fill_diagonal(log_factor, np.log(factors["homotopic"]))
    within, between = spread * within, spread * between + log_factor
    noise = np.block([[within, between], [between, within]])
    if odd:
        column = np.tile(rng.standard_normal(half), 2) * spread
        noise = np.block([[noise, column[:, None]], [column[None], np.zeros((1, 1))]])
    log_weights = noise - decay * distance
    np.fill_diagonal(log_weights, -np.inf)
    weights = np.exp(log_weights - log_weights.max())
    strengths = weights.sum(axis=1)
    hub = (strengths / strengths.mean()) ** -_EVENING
    return np.asarray(weights * hub[:, None] * hub[None])


def _cut(weights: NDArray[np.float64], density: float) -> NDArray[np.float64]:
    """The weakest connections set to zero; every region keeps its strongest."""
    pairs = weights[np.triu_indices(len(weights), 1)]
    threshold = np.quantile(pairs, 1 - density) if density < 1 else 0.0
    strongest = weights >= weights.max(axis=1, keepdims=True)
    return np.where((weights >= threshold) | strongest | strongest.T, weights, 0.0)


def _positions(half: int, odd: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Evenly spread points on the left half of the ellipsoid, mirrored; one on the midline."""
    k = np.arange(half) + 0.5
    x = -k / half  # equal areas of the unit half sphere
    angle = np.pi * (1 + np.sqrt(5)) * k + rng.uniform(0, 2 * np.pi)
    radius = np.sqrt(1 - x**2)
    left = np.stack([x, radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    unit = np.concatenate([left, left * [-1, 1, 1], np.tile([0.0, 0.0, 1.0], (odd, 1))])
    return unit * _HALF_AXES + _CENTRE


def _symmetric_noise(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    upper = np.triu(rng.standard_normal((n, n)))
    return upper + np.triu(upper, 1).T
