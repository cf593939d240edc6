"""From dynamics to data: signals of which the answer is known, and slow independent counts."""

import math
import re
import warnings
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from scipy.optimize import minimize, minimize_scalar
from scipy.sparse.csgraph import connected_components

import ngnmm_jax as ng
from ngnmm_jax import fitting
from ngnmm_jax import signals as sg
from ngnmm_jax._core.status import Status
from ngnmm_jax.sweeps import Function, lesion_effects, lesioned

RNG = np.random.default_rng(0)
OTHER = ~np.eye(12, dtype=bool)
WEIGHTS = RNG.uniform(0.1, 1, (12, 12)) * (RNG.uniform(size=(12, 12)) < 0.6)
WEIGHTS = np.triu(WEIGHTS, 1) + np.triu(WEIGHTS, 1).T
FC = np.corrcoef(RNG.normal(size=(12, 30)) + 2 * WEIGHTS @ RNG.normal(size=(12, 30)))


# ------------------------------------------------------------------ structure and function


@pytest.mark.parametrize(
    ("method", "scipys"), [("pearson", scipy.stats.pearsonr), ("spearman", scipy.stats.spearmanr)]
)
@pytest.mark.parametrize("pairs", ["all", "connected"])
def test_structure_function_is_scipys_correlation(method, scipys, pairs):
    found = sg.structure_function(WEIGHTS, FC, method=method, pairs=pairs)
    mask = OTHER & ((WEIGHTS != 0) | (pairs == "all"))
    for region in range(12):
        there = mask[region]
        expected = scipys(WEIGHTS[region, there], FC[region, there])[0]
        assert float(found.regional[region]) == pytest.approx(expected, abs=1e-12)
    assert float(found.overall) == pytest.approx(scipys(WEIGHTS[mask], FC[mask])[0], abs=1e-12)
    assert found.ok
    assert (np.asarray(found.count) == mask.sum(axis=1)).all()


def test_structure_function_is_one_where_function_is_structure_and_says_where_it_is_nothing():
    exact = sg.structure_function(WEIGHTS, 3 * WEIGHTS - 1, method="pearson")
    np.testing.assert_allclose(exact.regional, 1, atol=1e-12)
    alone = WEIGHTS.copy()
    alone[0, 2:] = 0  # two connections at most
    with pytest.warns(UserWarning, match="1 of 12 regions have fewer than three pairs"):
        found = sg.structure_function(alone, FC)
    assert found.status[0] == Status.NOT_FINITE
    assert np.isnan(found.regional[0])
    assert np.isfinite(found.regional[1:]).all()
    whole = jax.grad(lambda f: sg.structure_function(alone, f, method="pearson").overall)
    slope = jax.jit(whole)(FC)
    assert np.isfinite(slope).all()
    with pytest.raises(ValueError, match=r"`function` must have shape \(12, 12\)"):
        sg.structure_function(WEIGHTS, FC[:5, :5])


def test_fit_is_numpys_least_squares():
    predictors = {
        "weights": WEIGHTS,
        "paths": np.where(OTHER, sg.shortest_paths(WEIGHTS), 0),
        "communicability": sg.communicability(WEIGHTS),
    }
    found = sg.structure_function_fit(FC, predictors)
    for region in range(12):
        there = OTHER[region]
        y = FC[region, there]
        x = np.stack([np.ones(11), *(np.asarray(m)[region, there] for m in predictors.values())]).T
        rest = y - x @ np.linalg.lstsq(x, y)[0]
        share = 1 - rest @ rest / ((y - y.mean()) ** 2).sum()
        assert float(found.r_squared[region]) == pytest.approx(share, rel=1e-9)
        assert float(found.adjusted[region]) == pytest.approx(1 - (1 - share) * 10 / 7, rel=1e-9)
    exact = sg.structure_function_fit(2 * WEIGHTS, predictors)
    np.testing.assert_allclose(exact.r_squared, 1, atol=1e-10)
    np.testing.assert_allclose(exact.coefficients, [[1, 0, 0]] * 12, atol=1e-8)
    with_twin = sg.structure_function_fit(FC, predictors | {"paths": 1 - 2 * WEIGHTS})
    assert (np.asarray(with_twin.status) == Status.ILL_CONDITIONED).all()
    assert np.isnan(with_twin.adjusted).all()
    slope = jax.jit(jax.grad(lambda f: sg.structure_function_fit(f, predictors).overall))(FC)
    assert np.isfinite(slope).all()


def test_fit_of_all_pairs_counts_each_once_where_matrices_are_symmetric():
    upper = np.triu_indices(12, 1)
    directed = WEIGHTS + np.triu(RNG.uniform(size=WEIGHTS.shape), 1)
    for weights, pairs in ((WEIGHTS, upper), (directed, np.nonzero(OTHER))):
        powers = [weights, weights**2, weights**3]
        found = sg.structure_function_fit(FC, dict(zip("123", powers, strict=True)))
        y = FC[pairs]
        x = np.stack([np.ones(len(y)), *(power[pairs] for power in powers)]).T
        rest = y - x @ np.linalg.lstsq(x, y)[0]
        # Unbiased variances: of what is left over that of the response.
        expected = 1 - rest @ rest / (len(y) - 4) / y.var(ddof=1)
        assert float(found.overall_adjusted) == pytest.approx(expected, rel=1e-9)


def test_communicability_and_paths():
    sums = WEIGHTS.sum(axis=1)
    scaled = WEIGHTS / np.sqrt(np.outer(sums, sums))
    np.testing.assert_allclose(sg.communicability(WEIGHTS), scipy.linalg.expm(scaled), atol=1e-12)
    chain = np.zeros((4, 4))  # 0 sends to 1, 1 to 2, both by weight 1/2; 2 to 3 by 4
    chain[1, 0] = chain[2, 1] = 0.5
    chain[3, 2] = 4.0
    paths = np.asarray(sg.shortest_paths(chain))
    assert list(paths[:, 0]) == [0, 2, 4, 4.25]
    assert np.isinf(paths[0, 1:]).all()
    with pytest.raises(ValueError, match="symmetric"):
        sg.communicability(chain)
    with pytest.raises(ValueError, match="finite"):
        sg.structure_function_fit(np.eye(4), {"paths": paths})


# ------------------------------------------------------------------ leading eigenvectors


def test_leading_eigenvectors_are_those_of_the_matrices():
    phases = RNG.uniform(-np.pi, np.pi, (50, 7))
    found = sg.leading_eigenvectors(phases)
    known = map(np.asarray, (found.vectors, found.share))
    for angles, vector, share in zip(phases, *known, strict=True):
        values, vectors = np.linalg.eigh(np.cos(angles[:, None] - angles))
        assert abs(vectors[:, -1] @ vector) == pytest.approx(1, abs=1e-12)
        assert float(share) == pytest.approx(values[-1] / 7, abs=1e-12)
    assert ((np.sign(found.vectors)).sum(axis=1) < 0).all()
    none = sg.leading_eigenvectors(np.array([[0.0, np.pi / 2]]))
    assert none.status[0] == Status.NOT_FINITE
    slope = jax.jit(jax.grad(lambda x: (sg.leading_eigenvectors(x).vectors ** 4).sum()))(phases)
    assert np.isfinite(slope).all()


# Phases of two groups in antiphase; which regions are in which changes with the state.
GROUPS = np.array([[0, 0, 0, 0, 1, 1], [1, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 1]]) * np.pi
SEQUENCE = np.repeat([0, 1, 0, 2, 0], [30, 20, 10, 20, 20])


def test_states_and_their_times():
    wandering = np.cumsum(RNG.normal(size=len(SEQUENCE)))[:, None]  # common, so it counts nothing
    phases = GROUPS[SEQUENCE] + wandering + 0.05 * RNG.normal(size=(len(SEQUENCE), 6))
    found = sg.phase_states(phases, 0.1, 3)
    assert found.ok
    assert (np.asarray(found.labels) == np.array([0, 1, 2])[SEQUENCE]).all() or (
        np.asarray(found.labels) == np.array([0, 2, 1])[SEQUENCE]
    ).all()
    np.testing.assert_allclose(found.occupancy, [0.6, 0.2, 0.2])
    np.testing.assert_allclose(found.dwell, [2.0, 2.0, 2.0])
    # 59 samples in state 0 have a next one: two of them go elsewhere.
    assert float(found.transitions[0, 0]) == pytest.approx(57 / 59)
    np.testing.assert_allclose(found.transitions.sum(axis=1), 1)
    assert float(found.spread) < 0.01
    # Two runs: what lies between them is no transition.
    apart = sg.phase_states([phases[:30], phases[30:]], 0.1, 3)
    assert float(apart.transitions[0, 0]) == pytest.approx(57 / 58)
    assert (np.asarray(apart.labels) == np.asarray(found.labels)).all()
    with pytest.raises(ValueError, match="`states` must lie between 2"):
        sg.phase_states(phases, 0.1, 1)


# ------------------------------------------------------------------ avalanches


def test_events_stand_at_the_extremes_of_excursions():
    signal = np.zeros((1000, 2))
    signal[100:104, 0] = [5, 9, 8, 5]
    signal[500:502, 0] = [-6, -9]
    signal[700, 1] = 4.0
    signal[999, 1] = 5.0
    events = sg.threshold_events(signal)
    assert np.argwhere(events).tolist() == [[101, 0], [501, 0], [700, 1], [999, 1]]
    assert np.argwhere(sg.threshold_events(signal, side="below")).tolist() == [[501, 0]]
    with pytest.raises(ValueError, match="vary in every region"):
        sg.threshold_events(np.c_[signal, np.ones(1000)])


def test_avalanches_of_a_raster():
    raster = np.array([[1, 0], [0, 0], [1, 1], [1, 0], [0, 0], [0, 0], [0, 1], [0, 0], [1, 1]])
    found = sg.avalanches(raster, 0.002, bin=0.002)
    assert np.asarray(found.sizes).tolist() == [3, 1]
    np.testing.assert_allclose(found.durations, [0.004, 0.002])
    np.testing.assert_allclose(found.starts, [0.004, 0.012])
    assert found.cut == 2
    assert found.branching == pytest.approx((1 / 2 + 0) / 2)
    np.testing.assert_allclose(found.profile(2), [2, 1])
    assert np.isnan(found.profile(7)).all()
    # Events at 0, 2, 2, 3, 6, 8, 8: 8/6 samples apart, in the mean.
    assert sg.avalanches(raster, 0.002).bin == 0.002
    assert sg.avalanches(np.ones(30, int), 0.1).status == Status.NONE_FOUND
    with pytest.raises(ValueError, match="one event at least"):
        sg.avalanches(np.zeros((30, 2), bool), 0.1)
    with pytest.raises(ValueError, match="whole numbers"):
        sg.avalanches(raster - 0.5, 0.1)


def critical_trees(count, rng):
    """Generations of critical branching with geometric offspring, of trees below 10⁴."""
    found = []
    while len(found) < count:
        tree = [1]
        while tree[-1] and sum(tree) < 10_000:
            tree.append(int(rng.negative_binomial(tree[-1], 0.5)))
        if not tree[-1]:
            found.append(tree)
    return found


TREES = critical_trees(8000, np.random.default_rng(5))
TRAIN = sg.avalanches(np.array([0] + [k for tree in TREES for k in tree]), 0.002, bin=0.002)


def projected(law, low, high):
    """The exponent that maximum likelihood gives, in the mean, of a law that is none exactly."""
    x = np.arange(low, high + 1)
    p = law(x) / law(x).sum()

    def cross_entropy(a):
        return a * (p * np.log(x)).sum() + np.log((x**-a).sum())

    return minimize_scalar(cross_entropy, bounds=(1.01, 4), method="bounded").x


def test_critical_branching_has_its_exponents():
    """Sizes are distributed as Catalan's numbers, lengths as 1/(T (T + 1)): exactly."""
    assert np.asarray(TRAIN.sizes).tolist() == [sum(tree) for tree in TREES]
    assert np.asarray(TRAIN.lengths).tolist() == [len(tree) - 1 for tree in TREES]
    assert TRAIN.branching == pytest.approx(1, abs=4 * (2 / 8000) ** 0.5)
    found = sg.scaling(TRAIN, sizes=(5, 1000), lengths=(4, 50))
    catalan = projected(
        lambda n: np.exp(
            scipy.special.gammaln(2 * n - 1)
            - scipy.special.gammaln(n)
            - scipy.special.gammaln(n + 1)
            - (2 * n - 1) * np.log(2)
        ),
        5,
        1000,
    )
    lengths = projected(lambda t: 1 / (t * (t + 1)), 4, 50)
    assert (catalan, lengths) == pytest.approx((1.5, 2), abs=0.1)
    assert abs(float(found.size.exponent) - catalan) < 4 * float(found.size.error)
    assert abs(float(found.duration.exponent) - lengths) < 4 * float(found.duration.error)
    assert (np.asarray(found.size.ratios)[0] > 0) & (np.asarray(found.size.p)[0] < 1e-3)
    assert abs(float(found.predicted) - (lengths - 1) / (catalan - 1)) < 4 * float(
        found.predicted_error
    )
    assert float(found.measured) == pytest.approx(2, abs=0.15)
    assert float(found.collapse) == pytest.approx(2, abs=0.15)
    # The shape of critical branching is a parabola, 6 x (1 − x) of mean one, but for its ends.
    inside = (np.asarray(found.phases) > 0.2) & (np.asarray(found.phases) < 0.8)
    parabola = 6 * found.phases * (1 - found.phases)
    np.testing.assert_allclose(found.shape[inside], parabola[inside], rtol=0.15)


def test_power_laws_errors_and_rivals():
    rng = np.random.default_rng(2)
    pareto = (1 - rng.random(2000)) ** (-1 / 1.3)  # exponent 2.3 from 1 on
    found = sg.power_law(pareto, least=1.0)
    assert float(found.exponent) == pytest.approx(1 + 2000 / np.log(pareto).sum(), rel=1e-3)
    assert float(found.error) == pytest.approx((float(found.exponent) - 1) / 2000**0.5, rel=1e-3)
    # Of draws, errors spread as they say: a discrete law with an upper end.
    x = np.arange(3, 201)
    p = x**-1.7 / (x**-1.7).sum()
    several = [sg.power_law(rng.choice(x, 500, p=p), least=3, greatest=200) for _ in range(40)]
    errors = (np.array([float(one.exponent) for one in several]) - 1.7) / np.array(
        [float(one.error) for one in several]
    )
    assert 0.7 < np.sqrt((errors**2).mean()) < 1.35  # five percent of draws are outside
    exponential = sg.power_law(1 + rng.exponential(size=2000), least=1.0)
    assert float(exponential.ratios[0]) < 0
    assert float(exponential.p[0]) < 1e-6
    with pytest.raises(ValueError, match="at least 10 values"):
        sg.power_law([1, 2, 3])


LAWS = {
    "continuous": lambda a: scipy.stats.pareto(a - 1),
    "continuous, cut": lambda a: scipy.stats.truncpareto(a - 1, 7.0),
    "whole": scipy.stats.zipf,
    "whole, cut": lambda a: scipy.stats.zipfian(a, 10),
}


@pytest.mark.parametrize("kind", LAWS)
@pytest.mark.parametrize("exponent", [1.2, 2.2, 3.3, 4.5])
def test_exponents_are_scipys_likeliest(kind, exponent):
    values = LAWS[kind](exponent).rvs(1500, random_state=np.random.default_rng(5))
    density = "logpmf" if kind.startswith("whole") else "logpdf"

    def unlikely(a):
        return -getattr(LAWS[kind](a), density)(values).sum()

    best = minimize_scalar(unlikely, bounds=(1.01, 9), method="bounded", options={"xatol": 1e-7}).x
    end = {"continuous, cut": 7.0, "whole, cut": 10.5}.get(kind)
    found = sg.power_law(values, least=1, greatest=end)
    assert found.ok
    assert float(found.exponent) == pytest.approx(best, rel=1e-5)
    h = 1e-3
    curvature = (unlikely(best + h) - 2 * unlikely(best) + unlikely(best - h)) / h**2
    assert float(found.error) == pytest.approx(curvature**-0.5, rel=1e-2)
    assert abs(float(found.exponent) - exponent) < 4 * float(found.error)
    at = np.unique(values)
    if at[-1] > 1e5 and kind == "whole":  # SciPy would sum term by term
        return
    law = LAWS[kind](float(found.exponent)).cdf
    apart = law(at) - np.searchsorted(np.sort(values), at, "right") / len(values)
    below = law(at - density.endswith("pmf")) - np.searchsorted(np.sort(values), at) / len(values)
    distance = max(np.abs(apart).max(), np.abs(below).max())
    assert float(found.distance) == pytest.approx(distance, abs=1e-6)


def test_no_exponent_where_the_likelihood_rises_to_an_end():
    rng = np.random.default_rng(6)
    for values, greatest in ((rng.uniform(1, 7, 500), 7.0), (1 + rng.exponential(0.01, 500), None)):
        found = sg.power_law(values, least=1.0, greatest=greatest)
        assert found.status == Status.NOT_CONVERGED
        assert np.isnan(found.error)


def test_the_law_begins_where_it_does():
    rng = np.random.default_rng(7)
    tail = 5 * scipy.stats.truncpareto(3.2, 40.0).rvs(1500, random_state=rng)
    found = sg.power_law(np.r_[rng.uniform(1, 5, 1000), tail], greatest=200.0)
    assert found.least == pytest.approx(5, abs=0.5)
    assert abs(float(found.exponent) - 4.2) < 4 * float(found.error)


def likeliest(law, start, values, density):
    """Log-likelihoods at the parameters of their largest sum."""
    best = minimize(lambda p: -getattr(law(*p), density)(values).sum(), start, method="Nelder-Mead")
    return getattr(law(*best.x), density)(values)


def test_rivals_have_the_same_ends():
    """By SciPy's truncated distributions: values between 2 and 9 of an exponential."""
    rng = np.random.default_rng(8)
    values = rng.exponential(2.0, 9000) + 1
    values = values[(values >= 2) & (values <= 9)]
    found = sg.power_law(values, least=2.0, greatest=9.0)

    def between(law):
        norm = np.log(law.cdf(9) - law.cdf(2))
        return SimpleNamespace(logpdf=lambda x: law.logpdf(x) - norm)

    laws = (
        likeliest(lambda b: scipy.stats.truncpareto(b, 4.5, scale=2), [1.0], values, "logpdf"),
        likeliest(lambda t: between(scipy.stats.expon(scale=abs(t))), [1.0], values, "logpdf"),
        likeliest(
            lambda m, s: between(scipy.stats.lognorm(abs(s), scale=math.exp(m))),
            [1.0, 1.0], values, "logpdf",
        ),
    )  # fmt: skip
    for k in (0, 1):
        more = laws[0] - laws[k + 1]
        assert float(found.ratios[k]) == pytest.approx(more.sum(), rel=1e-3)
        z = abs(more.sum()) / (more.std() * len(more) ** 0.5)
        assert float(found.p[k]) == pytest.approx(2 * scipy.stats.norm.sf(z), rel=0.05)
    assert (np.asarray(found.ratios) < 0).all()


def test_without_an_upper_end_all_is_as_by_the_package_powerlaw():
    """Choice of the lower end, distance, ratios and p, where exponents are below its limit of 3."""
    powerlaw = pytest.importorskip("powerlaw", reason="the package powerlaw is not installed")
    rng = np.random.default_rng(9)
    lognormal = np.exp(rng.normal(1, 0.7, 1000))
    for values, least in (
        (rng.pareto(1.3, 400) + 1, None),
        (lognormal, 1.0),
        (np.ceil(5 * lognormal).astype(int), 4),
    ):
        found = sg.power_law(values, least=least)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit = powerlaw.Fit(values, discrete=values.dtype.kind == "i", xmin=least, verbose=0)
            exponential, other = (
                fit.distribution_compare("power_law", name) for name in ("exponential", "lognormal")
            )
        assert found.least == fit.xmin
        assert float(found.exponent) == pytest.approx(fit.power_law.alpha, rel=1e-4)
        assert (float(found.ratios[0]), float(found.p[0])) == pytest.approx(exponential, rel=1e-2)
        if least is None:  # a lognormal is no likelier than its limit, the power law
            assert abs(float(found.ratios[1])) < 1e-3
            # It looks at one side of each step.
            assert float(found.distance) == pytest.approx(fit.power_law.D, abs=1 / found.count)
        else:
            assert float(found.ratios[1]) == pytest.approx(other[0], rel=1e-3)


@pytest.mark.parametrize("ratio", [0.7, 0.95])
def test_branching_ratio_does_not_depend_on_what_is_seen(ratio):
    rng = np.random.default_rng(4)
    activity = np.zeros(30_000, int)
    for k in range(1, len(activity)):
        activity[k] = rng.poisson(ratio * activity[k - 1] + 10)
    for share in (1.0, 0.1):
        seen = rng.binomial(activity, share)
        found = sg.branching_ratio(seen, 0.004)
        assert found.ok
        assert float(found.ratio) == pytest.approx(ratio, abs=0.02)
        assert float(found.timescale) == pytest.approx(-0.004 / np.log(ratio), rel=0.25)
    assert float(found.naive) < 0.75 * ratio  # a slope alone does
    noise = sg.branching_ratio(rng.normal(size=3000), 0.004)
    assert noise.status == Status.NOT_CONVERGED
    drift = np.arange(5000.0)
    for trend in (drift, activity[:5000] + drift / 5, rng.normal(size=5000) + (drift > 2500)):
        assert sg.branching_ratio(trend, 0.004).status == Status.NOT_CONVERGED


def test_events_that_are_too_many_are_refused():
    with pytest.raises(ValueError, match="`events` must be fewer than"):
        sg.avalanches(np.array([0, 1e19, 0, 3]), 0.01)


# ------------------------------------------------------------------ ignition, complexity


def test_integration_is_the_area_under_the_largest_component():
    """Independently: components of the graph at many thresholds."""
    phases = RNG.uniform(-np.pi, np.pi, (4, 9))
    phases[0] = 0.3
    phases[1] = np.pi - 0.01 * np.arange(9) * (-1) ** np.arange(9)  # across the cut of the circle
    levels = (np.arange(400) + 0.5) / 400
    for angles, value in zip(phases, sg.integration(phases), strict=True):
        apart = np.abs(angles[:, None] - angles)
        locked = np.exp(-3 * np.minimum(apart, 2 * np.pi - apart))
        sizes = [np.bincount(connected_components(locked > p)[1]).max() for p in levels]
        assert float(value) == pytest.approx(np.mean(sizes) / 9, abs=1 / 400)
    assert float(sg.integration(phases)[0]) == pytest.approx(1)
    slope = jax.jit(jax.grad(lambda x: sg.integration(x)[2:].sum()))(phases)
    assert np.isfinite(slope).all()
    assert np.abs(slope).max() > 0


def test_ignition_is_what_follows_on_events():
    """Phases are the same for three samples after each event, and spread evenly else."""
    phases = np.tile(2 * np.pi * np.arange(5) / 5, (60, 1))
    events = np.zeros((60, 5), bool)
    events[[10, 12, 30], 0] = True  # the second is inside of the window
    events[45, 1] = events[58, 1] = True  # the second's window is cut
    phases[11:13] = phases[31:33] = 0.7
    found = sg.ignition(phases, events, 0.5, 2.0)
    low = float(sg.integration(phases)[0])
    np.testing.assert_allclose(found.mean[:2], [1, low])
    np.testing.assert_allclose(found.spread[:2], 0, atol=1e-12)
    assert np.asarray(found.events).tolist() == [2, 1, 0, 0, 0]
    assert np.isnan(found.mean[2:]).all()
    assert (np.asarray(found.status[2:]) == Status.NOT_FINITE).all()
    rising = sg.upward_crossings(np.array([[2.0, 0], [0, 0], [0, 0], [3, 9], [3, 0], [0, 0]]))
    assert np.argwhere(np.asarray(rising)).tolist() == [[3, 0], [3, 1]]


def words_by_sets(pattern):
    """Independently: by the set of all rows of entries seen, one length after another."""
    words, seen, first = 0, set(), True
    for row in pattern.astype(int).tolist():
        start = 0
        while start < len(row):
            for end in range(start + 1, len(row) + 1):
                word = tuple(row[start:end])
                own = {tuple(row[a : a + len(word)]) for a in range(start) if a + len(word) < end}
                if first or (word not in seen and word not in own):
                    words, first = words + 1, False
                    break
            start = end
        seen |= {tuple(row[a:b]) for a in range(len(row)) for b in range(a + 1, len(row) + 1)}
    return words + 1


def test_words_of_known_sequences():
    """Lempel and Ziv's own example; Kaspar and Schuster's; constants have two words."""
    assert sg.lempel_ziv("0001101001000101") == 6
    assert sg.lempel_ziv("1001111011000010") == 6
    assert sg.lempel_ziv("0" * 50) == sg.lempel_ziv([7, 7, 7]) == 2
    assert sg.lempel_ziv("01" * 30) == 3
    rng = np.random.default_rng(3)
    noise = sg.lempel_ziv(rng.integers(0, 2, 4000))
    assert noise == pytest.approx(4000 / np.log2(4000), rel=0.1)


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_complexity_counts_words(share):
    pattern = np.random.default_rng(8).uniform(size=(30, 12)) < share
    found = sg.perturbational_complexity(pattern)
    ordered = pattern[:, np.argsort(-pattern.sum(axis=0), kind="stable")]
    p = pattern.mean()
    entropy = scipy.stats.entropy([p, 1 - p], base=2)
    assert found.words == words_by_sets(ordered)
    assert found.entropy == pytest.approx(entropy)
    assert found.value == pytest.approx(found.words * np.log2(360) / (360 * entropy))
    shuffled = pattern[:, np.random.default_rng(9).permutation(12)]
    if len(set(pattern.sum(axis=0))) == 12:  # no ties: regions' order does not count
        assert sg.perturbational_complexity(shuffled).words == found.words


def test_complexity_of_nothing_is_none():
    with pytest.warns(UserWarning, match="no entry is"):
        found = sg.perturbational_complexity(np.zeros((20, 5), bool))
    assert math.isnan(found.value)
    assert found.status == Status.NOT_FINITE
    rare = np.zeros((200, 5), bool)
    rare[3, 2] = True
    with pytest.warns(UserWarning, match="0.011 bits"):
        assert sg.perturbational_complexity(rare).status == Status.ILL_CONDITIONED
    uniform = np.repeat(np.arange(40) % 8 < 4, 6).reshape(40, 6)  # all regions do the same
    many = np.random.default_rng(1).uniform(size=(40, 6)) < 0.5
    assert (
        sg.perturbational_complexity(uniform).value < 0.5 * sg.perturbational_complexity(many).value
    )


def test_false_findings_are_as_rare_as_they_say():
    """Of noise with nothing in it: correlated over time and regions; and of a pulse's response."""
    rng = np.random.default_rng(6)
    mixed = rng.normal(size=(5, 5))

    def trials():
        noise = rng.normal(size=(8, 102, 5)) @ mixed
        return noise[:, 2:] + noise[:, 1:-1] + noise[:, :-2]

    def anything():
        found = sg.significant_response(trials(), 0.01, 0.5, alpha=0.1, surrogates=100)
        return bool(found.significant.any())

    often = np.mean([anything() for _ in range(100)])
    assert abs(often - 0.1) < 3 * (0.1 * 0.9 / 100) ** 0.5
    some = trials()
    some[:, 55:60, 2] += 4 * some[..., 2].std()  # of a mean over 8: eleven times its spread
    found = sg.significant_response(some, 0.01, 0.5, surrogates=100)
    assert np.asarray(found.significant)[5:10, 2].all()
    assert np.asarray(found.significant)[15:].sum() == 0
    assert float(found.times[5]) == pytest.approx(0.05)
    still = np.where(np.arange(100)[:, None] < 50, 0, some)
    with pytest.raises(ValueError, match="vary in every region"):
        sg.significant_response(still, 0.01, 0.5, surrogates=100)


# ------------------------------------------------------------------ recruitment


def test_recruitment_in_the_order_made():
    """Ramps that cross at known times, between samples too; one that comes back, one that never."""
    times = np.array([2.25, 0.5, 7.0])
    t = np.arange(0, 10, 0.1)
    ramps = np.clip(1 + t[:, None] - times, 0, 3)
    brief = np.where((t > 1) & (t < 1.35), 2.0, 0.0)
    signal = np.c_[ramps, brief, np.zeros_like(t), np.full_like(t, 5.0)]
    found = sg.recruitment(signal, 0.1, 1.0, hold=0.5)
    np.testing.assert_allclose(found.times, [2.25, 0.5, 7.0, np.inf, np.inf, 0], atol=1e-9)
    assert np.asarray(found.rank).tolist() == [2, 1, 3, -1, -1, 0]
    assert found.order.tolist() == [5, 1, 0, 2]
    assert np.asarray(found.at_start).tolist() == [False] * 5 + [True]
    assert np.isfinite(sg.recruitment(signal, 0.1, 1.0).times[3])
    nobody = sg.recruitment(signal[:, 3:5], 0.1, 9.0)
    assert nobody.status == Status.NONE_FOUND
    # d time / d threshold is one over the slope.
    slope = jax.jit(jax.grad(lambda level: sg.recruitment(ramps, 0.1, level).times.sum()))(1.0)
    assert float(slope) == pytest.approx(3.0, rel=1e-9)
    compiled = jax.jit(lambda x: sg.recruitment(x, 0.1, 1.0, hold=0.5).times)(signal)
    np.testing.assert_array_equal(compiled, found.times)


TRANSFORMED = {
    "structure_function": lambda x: sg.structure_function(x[:12] ** 2, x[:12] + x[:12].T),
    "leading": sg.leading_eigenvectors,
    "ignition": lambda x: sg.ignition(x, sg.upward_crossings(x), 0.1, 0.3),
    "recruitment": lambda x: sg.recruitment(x, 0.1, 1.0),
}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_compiled_and_for_many_at_once(name):
    signals = np.random.default_rng(7).uniform(-3, 3, (2, 40, 12))
    direct = TRANSFORMED[name](signals[1])
    both = jax.jit(jax.vmap(TRANSFORMED[name]))(signals)
    for one, several in zip(jax.tree.leaves(direct), jax.tree.leaves(both), strict=True):
        np.testing.assert_allclose(np.asarray(several)[1], one, rtol=1e-10, atol=1e-12)


# ------------------------------------------------------------------ lesions, pairs for inference


def linear(network, seed):
    """A network whose every part is known: FC of dx = (cW − 1) x dt + dB, and a number by seed."""
    w = network.coupling * network.weights
    inverse = jnp.linalg.inv(jnp.eye(len(w)) - w)
    covariance = inverse @ inverse.T
    sd = jnp.sqrt(jnp.diagonal(covariance))
    noise = jax.random.normal(jax.random.key(seed))
    good = jnp.where(network.coupling < 0.9, int(Status.OK), int(Status.UNSTABLE))
    received = w.sum(axis=1).max()
    fc = covariance / sd[:, None] / sd
    return {"fc": fc, "received": received, "noise": noise, "status": good}


@pytest.fixture(scope="module")
def line():
    weights = np.diag([3.0, 2.0, 1.0, 1.0], 1) + np.diag([3.0, 2.0, 1.0, 1.0], -1)
    network = ng.Network(ng.StuartLandau(), ng.Connectome(weights / 6), 0.5)
    return network, Function(linear, dims={"fc": ("region", "other_region")})


def test_lesions_change_what_their_connections_did(line):
    network, measure = line
    lesions = lesioned(network.connectome)
    assert lesions.labels == ("none", *network.labels)
    data = ng.sweep(network, {"lesion": lesions, "coupling": [0.5, 0.95]}, measure)
    found = lesion_effects(data, lesions)
    # Most is received by the second region, 5/6 · ε; without the first or itself, 3/6 · ε or 2/6.
    change = found.received_change.sel(coupling=0.5)
    assert change.sel(lesion="none") == 0
    np.testing.assert_allclose(change[1:4], 0.5 * np.array([-2, -3, -2]) / 6, atol=1e-12)
    assert (found.status.sel(coupling=0.95) == Status.UNSTABLE).all()
    assert found.received_change.sel(coupling=0.95).isnull().all()
    # The last one in the line is cut: the first four are as near to what they were as SciPy says.
    pairs = np.triu_indices(4, 1)
    intact, last = (data.fc.sel(lesion=k, coupling=0.5).values[pairs] for k in ("none", "region 4"))
    expected = scipy.stats.pearsonr(intact, last)[0]
    similarity = found.fc_similarity.sel(coupling=0.5)
    assert float(similarity.sel(lesion="region 4")) == pytest.approx(expected, abs=1e-12)
    assert float(similarity.sel(lesion="none")) == pytest.approx(1)
    # Without the second one the first has nothing left either.
    assert found.spared.sel(lesion="region 1").values.tolist() == [False, False, True, True, True]
    several = lesioned(network.connectome, {"ends": ["region 0", 4]})
    assert not several.connectomes[1].weights[[0, 4]].any()
    with pytest.raises(ValueError, match="not be called 'none'"):
        lesioned(network.connectome, {"none": [0]})
    with pytest.raises(ValueError, match="have the lesions as an axis"):
        lesion_effects(data, several)


def test_pairs_are_the_sweeps_runs(line, tmp_path):
    network, measure = line
    design = ng.Design.sobol({"coupling": (0.1, 0.9)}, 32, seed=1).with_own_seeds()
    data = ng.sweep(network, design, measure, store=tmp_path / "runs.zarr")
    pairs = fitting.simulated_pairs(data, design, ("fc", "noise"))
    assert pairs.parameters == ("coupling",)
    assert pairs.features == (
        *(f"fc[{j}, {k}]" for j in range(5) for k in range(j + 1, 5)),
        "noise",
    )
    np.testing.assert_array_equal(pairs.theta[:, 0], design.parameters["coupling"][1])
    np.testing.assert_array_equal(pairs.x[:, 1], data.fc[:, 0, 2])
    np.testing.assert_array_equal(pairs.bounds, [[0.1, 0.9]])
    again = pairs.observed({"fc": data.fc[3], "noise": data.noise[3]})
    np.testing.assert_array_equal(again, pairs.x[3])
    # Each run has a seed of its own, the first the design's; and the store knows.
    assert len(set(data.seed.values.tolist())) == 32
    assert int(data.seed[0]) == 1
    assert len(set(data.noise.values.tolist())) == 32
    with pytest.raises(ValueError, match="own"):
        ng.sweep(network, ng.Design.sobol({"coupling": (0.1, 0.9)}, 32, seed=1), measure,
                 store=tmp_path / "runs.zarr")  # fmt: skip
    mine = {"low": data.fc.min(["region", "other_region"])}
    assert fitting.simulated_pairs(data, design, mine).x.shape == (32, 1)


def test_pairs_leave_out_and_refuse(line):
    network, measure = line
    design = ng.Design.random({"coupling": (0.1, 1.0)}, 40, replicates=2, seed=3).with_own_seeds()
    data = ng.sweep(network, design, measure)
    bad = int((np.asarray(data.coupling) >= 0.9).sum()) * 2
    assert bad > 0
    with pytest.warns(UserWarning, match=f"{bad} of 80 runs did not end well"):
        pairs = fitting.simulated_pairs(data, design, ["noise", "received"])
    assert pairs.left_out == bad
    assert pairs.x.shape == (80 - bad, 2)
    # The two replicates of a point have its parameters.
    np.testing.assert_allclose(pairs.x[:, 1], pairs.theta[:, 0] * 5 / 6, rtol=1e-12)
    shared = ng.Design.random({"coupling": (0.1, 1.0)}, 40, seed=3)
    for given, words in (
        (shared, "noise of its own"),
        (ng.Design.grid({"coupling": [0.1]}), "whose bounds are the prior"),
        (ng.Design.random({"coupling": (0.1, 1.0)}, 40, seed=4).with_own_seeds(), "this design"),
    ):
        with pytest.raises(ValueError, match=words):
            fitting.simulated_pairs(data, given, ["noise"])
    constant = {"constant": data.received * 0}
    with (
        pytest.warns(UserWarning, match="did not end well"),
        pytest.raises(ValueError, match="'constant' does not"),
    ):
        fitting.simulated_pairs(data, design, constant)


def test_sbi_takes_pairs(line):
    pytest.importorskip("sbi", reason="the package sbi (extra sbi, with PyTorch) is not installed")
    network, measure = line
    design = ng.Design.sobol({"coupling": (0.1, 0.8)}, 16).with_own_seeds()
    pairs = fitting.simulated_pairs(ng.sweep(network, design, measure), design, ["received"])
    theta, x = pairs.tensors()
    assert np.isfinite(pairs.prior().log_prob(theta).numpy()).all()
    assert x.shape == (16, 1)


@pytest.mark.slow
def test_the_page():
    """All of it but what needs PyTorch; and what it says of the numbers."""
    text = (Path(__file__).resolve().parents[1] / "docs" / "data.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 11
    page = {}
    for k, block in enumerate(blocks):
        if "import torch" not in block:
            exec(compile(block, f"data.md block {k}", "exec"), page)
    assert float(page["found"].size.exponent) == pytest.approx(1.5, abs=0.05)
    fastest = page["ng"].dispersion(page["network"], page["rest"].states[0]).frequency[0]
    assert float(page["spectrum"].peak_frequency[0]) == pytest.approx(float(fastest), abs=2.1)
    assert int(page["recruits"].recruited.sum()) == 24
    assert page["states"].ok
    assert (page["effects"].status == Status.OK).all()
