"""Leading eigenvectors of phase coherence over time (LEiDA), and states that recur."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy.typing import ArrayLike

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.randomness import Purpose, generator
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax._core.status import Status
from ngnmm_jax.signals._arrays import Number, as_number, as_signal, finite_or_not


class LeadingEigenvectors(AbstractResult):
    """The main pattern of phase coherence at each time.

    - `vectors` (time, region): unit eigenvectors of cos(θ_j − θ_k) with the largest eigenvalue; of
      both signs the one of which more regions are negative, or whose sum is, where as many are.
    - `share` (time,): their eigenvalue over the number of regions, between a half and 1.
    - `status` (time,): NOT_FINITE where both eigenvalues are the same, so that there is no leading
      one (the vector is NaN).
    """

    vectors: Float[Array, "time region"]
    share: Float[Array, "time"]

    @property
    def status(self) -> Int[Array, "time"]:
        """Whether there is one (`Status`)."""
        return finite_or_not(self.vectors.T)

    @property
    def stats(self) -> dict[str, Any]:
        """Nothing."""
        return {}


class PhaseStates(AbstractResult):
    """States of phase coherence, and when they are there.

    - `patterns` (state, region): the clusters' centres, by falling occupancy.
    - `labels` (time,): which state it is, of all runs one after another; -1 where there is no
      leading eigenvector.
    - `occupancy` (state,): share of the time; `dwell` (state,): mean time of a visit, s (NaN
      without one; visits that a run's ends cut count as long as they are seen).
    - `transitions` (state, next state): how probable a state is at the next sample; rows sum to 1,
      NaN where a state is only seen at the end of a run.
    - `spread`: mean squared distance from the centres, over that from the mean of all.
    - `status`: OK; NOT_CONVERGED where no trial of the clustering came to rest.
    """

    patterns: Float[Array, "state region"]
    labels: Int[Array, "time"]
    occupancy: Float[Array, "state"]
    dwell: Float[Array, "state"]
    transitions: Float[Array, "state next"]
    spread: Float[Array, ""]
    status: Int[Array, ""]
    trials: int = eqx.field(static=True)

    @property
    def stats(self) -> dict[str, Any]:
        """How many trials."""
        return {"trials": self.trials}

    def summary(self) -> dict[str, Any]:
        """Occupancies, dwell times, and how well states part."""
        found = {"occupancy": self.occupancy, "dwell (s)": self.dwell}
        return {**found, "spread": self.spread}


def leading_eigenvectors(phases: ArrayLike) -> LeadingEigenvectors:
    """Leading eigenvectors of the phase coherence matrices cos(θ_j − θ_k), at each time.

    The matrix is of rank two, which gives them in closed form: with z = Σ exp(2iθ_j), the
    eigenvalue is (N + |z|)/2 and the vector cos(θ_j − arg(z)/2). Differentiable where no sign
    changes.

    **Arguments:** `phases` (time, region): radians (`signals.phase`).

    Source: Cabral et al., Sci. Rep. 7, 5135 (2017), and their sign.
    """
    return _leading(as_signal(phases, least=1, ndim=2))


@jax.jit
def _leading(phases: jax.Array) -> LeadingEigenvectors:
    n = phases.shape[1]
    twice = jnp.exp(2j * phases).sum(axis=1)
    size = jnp.abs(twice)
    none = size <= 64 * jnp.finfo(phases.dtype).eps * n
    axis = jnp.angle(jnp.where(none, 1.0, twice)) / 2
    share = (n + size) / (2 * n)
    vectors = jnp.cos(phases - axis[:, None]) / jnp.sqrt(n * share)[:, None]
    more = (jnp.sign(vectors)).sum(axis=1)
    sums = vectors.sum(axis=1)
    turned = (more > 0) | ((more == 0) & (sums > 0))
    vectors = jnp.where(turned[:, None], -vectors, vectors)
    return LeadingEigenvectors(jnp.where(none[:, None], jnp.nan, vectors), share)


def phase_states(
    phases: ArrayLike | Sequence[ArrayLike],
    sampling_interval: Number,
    states: int,
    *,
    trials: int = 20,
    seed: int = 0,
) -> PhaseStates:
    """Recurring states of phase coherence, by k-means on its leading eigenvectors.

    Distances are Euclidean (between unit vectors, d² is 2 (1 − cosine)). The best of several trials
    counts, each from k-means++ guesses. How many states there are is not decided
    here: compare `spread`, and take what recurs in the other half of the data. On the host: not
    under JAX's transformations.

    **Arguments:**

    - `phases` (time, region), or several runs of the same regions: radians. Leave out what the
      filter does to the ends.
    - `sampling_interval`: s. `states`: how many, at least 2.
    - `trials`: of the clustering; `seed`: of their guesses.

    Raises `ValueError` for bad arguments, and for fewer different vectors than states.

    Source: Cabral et al., Sci. Rep. 7, 5135 (2017), who take cosine distances; SciPy's `kmeans2`.
    """
    _checks.seed(seed)
    _checks.positive_integer("states", states)
    _checks.positive_integer("trials", trials)
    _checks.positive("sampling_interval", sampling_interval)
    runs: list[Any] = list(phases) if isinstance(phases, list | tuple) else [phases]
    vectors = [np.asarray(leading_eigenvectors(run).vectors, dtype=float) for run in runs]
    if len({some.shape[1] for some in vectors}) > 1:
        shapes = ", ".join(str(some.shape) for some in vectors)
        _checks.fail("phases", "be runs of the same regions", f"their shapes are {shapes}")
    whole = np.concatenate(vectors)
    known = np.isfinite(whole).all(axis=1)
    different = len(np.unique(whole[known].round(9), axis=0))
    if not 2 <= states <= different:
        _checks.fail("states", f"lie between 2 and {different}, the different vectors",
                     f"it is {states}")  # fmt: skip
    found = _clustered(whole[known], states, trials, seed)
    status = Status.OK if found is not None else Status.NOT_CONVERGED
    if found is None:
        found = np.full((states, whole.shape[1]), np.nan), np.zeros(known.sum(), int), np.nan
    centres, of_known, within = found
    order = np.argsort(-np.bincount(of_known, minlength=states), kind="stable")
    labels = np.full(len(whole), -1)
    labels[known] = np.argsort(order)[of_known] if status == Status.OK else -1
    spread = within / ((whole[known] - whole[known].mean(axis=0)) ** 2).sum()
    parts = np.split(labels, np.cumsum([len(some) for some in vectors])[:-1])
    times = _times(parts, states, as_number(sampling_interval))
    share, dwell, transitions = map(as_array, times)
    return PhaseStates(
        as_array(centres[order]),
        as_array(labels),
        share,
        dwell,
        transitions,
        as_array(spread),
        as_array(int(status)),
        trials,
    )


def _clustered(
    vectors: np.ndarray, states: int, trials: int, seed: int
) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Centres, labels and squared distances of the best trial; None where all lost a cluster."""
    from scipy.cluster.vq import ClusterError, kmeans2, vq

    rng, best = generator(seed, Purpose.GUESSES), None
    for _ in range(trials):
        guesses = _spread_out(vectors, states, rng)
        try:
            centres, labels = kmeans2(vectors, guesses, iter=100, minit="matrix", missing="raise")
        except ClusterError:
            continue
        nearest, distances = vq(vectors, centres)
        within = float((distances**2).sum())
        if (nearest == labels).all() and (best is None or within < best[2]):
            best = centres, labels, within
    return best


def _spread_out(vectors: np.ndarray, states: int, rng: np.random.Generator) -> np.ndarray:
    """First centres (state, region): each far from those before it (Arthur and Vassilvitskii)."""
    chosen = [vectors[rng.integers(len(vectors))]]
    squared = np.full(len(vectors), np.inf)
    for _ in range(states - 1):
        squared = np.minimum(squared, ((vectors - chosen[-1]) ** 2).sum(axis=1))
        chosen.append(vectors[rng.choice(len(vectors), p=squared / squared.sum())])
    return np.stack(chosen)


def _times(
    parts: Sequence[np.ndarray], states: int, dt: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Occupancies, mean dwell times (s) and transition probabilities of labels of several runs."""
    counts = np.zeros((states, states))
    samples, visits = np.zeros(states), np.zeros(states)
    for labels in parts:
        known = labels[:-1] >= 0
        both = known & (labels[1:] >= 0)
        np.add.at(counts, (labels[:-1][both], labels[1:][both]), 1)
        begins = np.r_[True, labels[1:] != labels[:-1]] & (labels >= 0)
        visits += np.bincount(labels[begins], minlength=states)
        samples += np.bincount(labels[labels >= 0], minlength=states)
    with np.errstate(invalid="ignore"):
        share = samples / samples.sum()
        dwell = dt * samples / visits
        transitions = counts / counts.sum(axis=1, keepdims=True)
    return share, dwell, transitions
