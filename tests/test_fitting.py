"""Fits: what is free, losses, gradients, the loop, resume, recovery, posterior."""

import sys
import warnings
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

import ngnmm_jax as ng
from ngnmm_jax import fitting
from ngnmm_jax._core.programs import program
from ngnmm_jax.cli.fit_file import _objective
from ngnmm_jax.cli.settings.fit import LossTable, TargetTable
from ngnmm_jax.fitting import CMA, Free, Gradient, interval, losses, positive, real
from ngnmm_jax.fitting.gradients import choose_mode, objective, value_and_gradient
from ngnmm_jax.integrators import Moebius

FREQUENCIES = np.arange(4.0, 160.0, 6.0)


@pytest.fixture(scope="module")
def system(small):
    network = ng.Network(ng.NextGenEI(i_ext_e=3.0), small, 7.0)
    return ng.Driven(network, {"input": np.full(12, 0.001)})


@pytest.fixture(scope="module")
def spectra(system):
    """Spectra with the scatter of 500 averaged periodograms."""
    power = np.asarray(ng.linear_response(system, FREQUENCIES).power)
    return power * np.random.default_rng(0).gamma(500, 1 / 500, power.shape)


# ---------------------------------------------------------------- what is free


def test_transforms_and_names(system):
    maps = np.stack([np.arange(12.0), np.arange(12.0) ** 2])
    free = Free(
        system,
        {
            "coupling": interval(0.0, 20.0),
            "i_ext_e": real(per="region"),
            "j_ei": positive(per=maps),
            "input_noise": positive(),
        },
    )
    assert free.size == 1 + 12 + 3 + 1
    assert free.names[:2] == ("coupling", "i_ext_e[0]")
    x = free.of(system)
    back = free.put(x)
    for name in ("coupling", "i_ext_e", "j_ei", "input_noise"):
        value = getattr(back, name) if hasattr(back, name) else getattr(back.model, name)
        np.testing.assert_allclose(value, free.values(x)[name], rtol=1e-12)
    np.testing.assert_allclose(back.model.i_ext_e, 3.0, rtol=1e-12)
    np.testing.assert_allclose(back.model.j_ei, 13.0, rtol=1e-12)
    there_and_back = jax.jit(lambda x: (free.of(free.put(x)), free.put(x).model.j_ei))
    np.testing.assert_allclose(there_and_back(x + 0.3)[0], x + 0.3, atol=1e-9)
    # By maps: the logarithm is linear in the standardised maps.
    moved = there_and_back(x + 0.5 * (np.arange(17) == 14))[1]
    standard = (maps[0] - maps[0].mean()) / maps[0].std()
    np.testing.assert_allclose(np.log(moved / 13.0), 0.5 * standard, atol=1e-12)

    @jax.jit
    def drawing(key):
        drawn = free.draw(key, 50)
        return drawn, jax.vmap(free.values)(drawn)["coupling"]

    drawn, couplings = map(np.asarray, drawing(jax.random.key(0)))
    assert drawn.shape == (50, 17)
    assert 0.9 < couplings.min() < 5
    assert 15 < couplings.max() < 19.1


def test_any_leaf_and_any_change(system):
    """Picked as in `eqx.tree_at`, or applied by a function."""
    free = Free(
        system,
        {
            "weights": positive(where=lambda s: s.system.weights),
            "scale": interval(
                0.0, 2.0, default=1.0,
                apply=lambda s, v: s.with_parameters(j_ee=v * s.model.j_ee),
            ),
        },
    )  # fmt: skip
    assert free.size == 145
    back = free.put(free.of(system))
    np.testing.assert_allclose(back.system.weights, system.system.weights, atol=1e-11)
    assert float(back.model.j_ee) == pytest.approx(5.0)


def test_priors(system):
    free = Free(
        system, {"coupling": real(prior=(5.0, 2.0)), "i_ext_e": real(per="region", spread=0.5)}
    )
    x = free.of(system)
    assert float(free.penalty(x)) == pytest.approx(0.5)
    tilted = x.at[1:].add(jnp.linspace(-1, 1, 12))
    expected = 0.5 + 0.5 * (np.linspace(-1, 1, 12) ** 2).sum() / 0.25
    assert float(free.penalty(tilted)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("unknowns", "words"),
    [
        ({}, "at least one"),
        ({"couplin": positive()}, "did you mean 'coupling'"),
        ({"v_e_noise": positive()}, "one of"),
        ({"coupling": 3.0}, "made by"),
        ({"coupling": positive(per=np.arange(5.0))}, "12 regions"),
        ({"tau_e": real()}, "`tau_e` must be free above zero only"),
        ({"tau_e": interval(-1.0, 9.0)}, "`tau_e` must be free above zero only"),
        ({"input_noise": real()}, "`input_noise` must be free above zero only"),
        ({"coupling": positive(), "c": real(where=lambda s: s.system.coupling)}, "another leaf"),
        ({"c": real(where=lambda s: (s.system.coupling, s.system.weights))}, "pick one leaf"),
    ],
)
def test_bad_unknowns(system, unknowns, words):
    with pytest.raises(ValueError, match=words):
        Free(system, unknowns)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: interval(2.0, 1.0), "below"),
        (lambda: real(per="regions"), '"region"'),
        (lambda: real(per=np.ones(12)), "vary"),
        (lambda: real(per=["a"] * 12), "numbers"),
        (lambda: interval(0, 1j), "`high` must be a number"),
        (lambda: interval(False, 1), "`low` must be a number"),
        (lambda: real(prior=3.0), r"\(mean, sd\)"),
        (lambda: real(prior=(np.nan, 1.0)), "finite"),
        (lambda: interval(0, 1, prior=(5.0, 0.1)), r"its mean in \[0, 1\]"),
        (lambda: real(where=lambda s: s, apply=lambda s, v: s, default=1.0), "without `apply`"),
        (lambda: real(apply=lambda s, v: s), "`default` must be given"),
        (lambda: real(prior=(0.0, -1.0)), "prior"),
    ],
)
def test_bad_transforms(make, words):
    with pytest.raises(ValueError, match=words):
        make()


# -------------------------------------------------------------------- losses


def test_losses_by_hand():
    rng = np.random.default_rng(1)
    a, b = (np.corrcoef(rng.normal(size=(6, 40))) for _ in range(2))
    rows = np.triu_indices(6, 1)
    r = np.corrcoef(a[rows], b[rows])[0, 1]
    x, y = rng.beta(2, 3, 400), rng.beta(3, 2, 300)
    exact = stats.ks_2samp(x, y).statistic
    f = np.arange(1.0, 101.0)
    p = 1 / (1 + ((f[:, None] - np.array([20.0, 60.0])) / 3) ** 2)

    @jax.jit
    def found(a, b, x, y, p):
        return {
            "correlation": losses.fc_correlation(a, b),
            "distance": losses.fc_distance(a, b),
            "fcd": losses.fcd_distance(x, y, smooth=0),
            "smooth": losses.fcd_distance(x, y),
            "same": losses.fcd_distance(x, x),
            "spectral": losses.spectral_distance(p, p * np.e),
            "peaks": losses.peak_frequency(p, f, [20.0, 60.0]),
            "off": losses.peak_frequency(p, f, [40.0, 60.0]),
            "band": losses.band_power(p, f, (10, 30), p[9:29].sum(axis=0)),
            "whittle": losses.whittle(p, p, 3.0),
            "series": losses.time_series(x[:50], x[:50] + x[:50].std()),
        }

    value = {name: float(number) for name, number in found(a, b, x, y, p).items()}
    assert value["correlation"] == pytest.approx(1 - r)
    assert value["distance"] == pytest.approx(np.sqrt(((a - b)[rows] ** 2).mean()))
    assert value["fcd"] == pytest.approx(exact)
    assert value["smooth"] == pytest.approx(exact, rel=0.35)
    assert value["same"] < 1e-9
    assert value["spectral"] == pytest.approx(1.0)
    assert value["peaks"] < 1e-4
    assert value["off"] == pytest.approx(np.log(2) ** 2 / 2, rel=0.02)
    assert value["band"] == pytest.approx(0, abs=1e-20)
    assert value["whittle"] == pytest.approx(3 * (np.log(p) + 1).sum())
    assert value["series"] == pytest.approx(1.0)
    for loss in (
        lambda v: losses.fcd_distance(v, y),
        lambda v: losses.peak_frequency(v[:100, None], f, [20.0]),
    ):
        both = jax.jit(jax.value_and_grad(loss))
        slope = np.asarray(both(x)[1])
        h = 1e-6
        for k in (0, 50):
            up, down = (float(both(x + s * (np.arange(x.size) == k))[0]) for s in (h, -h))
            assert slope[k] == pytest.approx((up - down) / (2 * h), rel=1e-3, abs=1e-9)


def test_bad_data():
    with pytest.raises(ValueError, match="square"):
        losses.fc_correlation(np.ones((2, 3)), np.ones((2, 3)))
    with pytest.raises(ValueError, match="shape"):
        losses.fc_distance(np.eye(4), np.eye(5))
    with pytest.raises(ValueError, match="hold a frequency"):
        losses.band_power(np.ones((5, 1)), np.arange(5.0), (10, 20), 1.0)


# ----------------------------------------------------------------- gradients


def linear(s, key):
    found = ng.linear_response(s, FREQUENCIES[::4], throw=False)
    return losses.spectral_distance(found.power, found.slow_power + 1e-7 * jnp.ones((7, 12)))


def walk(s, key):
    v = fitting.simulated(s, key, 30.0, variables=("r", "v"))
    return (v**2).mean() + v[:, 0].std()


def modes(s, key):
    rest = ng.find_equilibria(s.system.homogeneous(), throw=False).states[0]
    found = ng.dispersion(s.system, rest, throw=False)
    return losses.mode_target(found, 3, growth=-0.1, frequency=20.0)


@pytest.mark.parametrize(
    ("loss", "mode"),
    [
        (linear, "reverse"),
        pytest.param(modes, "reverse", marks=pytest.mark.slow),
        (walk, "forward"),
        pytest.param(linear, "forward", marks=pytest.mark.slow),
        pytest.param(walk, "reverse", marks=pytest.mark.slow),
    ],
)
def test_gradients_of_losses(small, loss, mode):
    """Linear response, simulation, eigenvalues: against finite differences."""
    network = ng.Network(ng.MontbrioPazoRoxin(eta=-6.0), small, 2.0)
    system = ng.Driven(network, {"input": np.full(12, 0.001)})
    free = Free(system, {"coupling": positive(), "eta": interval(-9.0, -3.0), "j": real()})
    check = fitting.check_gradient(loss, free, mode=mode)
    assert check.worst < 1e-6, check
    assert float(jnp.abs(check.gradient).max()) > 1e-3


@pytest.mark.slow
def test_gradient_of_floquet_exponents(system):
    gamma = ng.Network(ng.NextGenEI(i_ext_e=12.0), system.system.weights, 8.0)
    orbit = ng.find_orbit(gamma.homogeneous())

    def floquet(s, key):
        return losses.mode_target(ng.dispersion(s, orbit, throw=False), 2, growth=0.05)

    check = fitting.check_gradient(floquet, Free(gamma, {"coupling": positive()}))
    assert check.worst < 1e-5


def test_modes_are_chosen():
    assert choose_mode(3)[0] == "forward"
    assert choose_mode(100)[0] == "reverse"
    assert "as asked for" in choose_mode(3, "reverse")[1]
    with pytest.raises(ValueError, match="mode"):
        choose_mode(3, "backward")


@pytest.mark.slow
def test_truncation(system):
    """No gradient comes from before the last cut; a long stretch is the whole gradient."""
    free = Free(system, {"i_ext_e": real()})
    key = jax.random.key(0)

    def slope(truncate):
        def loss(s, key):
            v = fitting.simulated(s, key, 30.0, integrator="rk4", dt=0.1, truncate=truncate)
            return v[-1].mean()

        function = objective(loss, free)
        return float(jax.jit(value_and_gradient(function, "reverse"))(jnp.array([3.0]), key)[2][0])

    whole, long, short = slope(None), slope(1e6), slope(5.0)
    assert long == pytest.approx(whole, rel=1e-9)
    assert abs(short) < 0.9 * abs(whole)
    assert short != 0


def test_simulated_has_the_integrator_of_all(system):
    """A step asks for RK4, as in `simulate`. Told by the programs; nothing runs."""
    node = system.system.homogeneous()

    def of(**options):
        def run(scatter):
            key = jax.random.key(0)
            return fitting.simulated(node, key, 2.0, scatter=scatter, **options)

        return program(run, 0.01)

    assert of(dt=0.1) == of(dt=0.1, integrator="rk4") != of(dt=0.1, integrator="moebius")


@pytest.mark.parametrize(("dt", "integrator"), [({}, Moebius()), ({"dt": 0.1}, None)])
def test_a_file_of_a_fit_has_it_too(small, tmp_path, dt, integrator):
    network = ng.Network(ng.NextGenEI(), small, 5.0)
    np.save(tmp_path / "fc.npy", np.eye(small.n_regions))
    table = LossTable(prediction="simulated", duration=20.0, **dt)
    options = _objective(TargetTable(fc=str(tmp_path / "fc.npy")), table, network, 0.05).options
    assert options.get("integrator") == integrator


def test_horizon_and_its_warning(small):
    """The leading exponent at a chaotic point; a fit beyond it warns with its value."""
    network = ng.Network(ng.NextGenEI(i_ext_e=10.5), small, 12.0)
    chaotic = network.homogeneous()
    found = fitting.horizon(chaotic)
    assert float(found.exponent) > 3 * float(found.error)
    assert float(found.time) == pytest.approx(1 / float(found.exponent))
    quiet = fitting.horizon(network.with_parameters(i_ext_e=2.0).homogeneous())
    assert np.isinf(float(quiet.time))

    def loss(s, key):
        return s.coupling**2

    with pytest.warns(fitting.GradientWarning, match=f"{float(found.exponent):.4g}"):
        result = ng.fit(
            chaotic, {"coupling": positive()}, loss, method=Gradient(through=500.0), steps=1
        )
    assert any("chaotic" in text for text in result.explanation)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ng.fit(chaotic, {"coupling": positive()}, loss, method=Gradient(through=5.0), steps=1)


# ------------------------------------------------------------------- the loop


def bowl(s, key):
    return {"a": (s.coupling - 4.0) ** 2, "b": 3 * (s.model.i_ext_e.mean() - 1.0) ** 2}


UNKNOWNS = {"coupling": interval(0.0, 20.0), "i_ext_e": real()}


@pytest.mark.parametrize("method", ["gradient", "cma"])
def test_a_bowl(system, method):
    result = ng.fit(system, UNKNOWNS, bowl, n_starts=3, steps=200, method=method, patience=60)
    assert result.ok
    assert result.loss.max() < 1e-3
    assert float(result.system.coupling) == pytest.approx(4.0, abs=0.03)
    history = result.history
    np.testing.assert_allclose(history["a"] + history["b"], history["loss"], rtol=1e-12)
    dataset = result.to_xarray()
    assert dataset.history_x.dims == ("step", "start", "parameter")
    assert list(dataset.parameter.values) == ["coupling", "i_ext_e"]


def test_polish_schedules_and_stopping(system):
    result = ng.fit(system, UNKNOWNS, bowl, method=Gradient(polish=60), steps=3)
    assert result.ok
    assert result.loss[0] < 1e-10
    schedule = optax.warmup_cosine_decay_schedule(0.0, 0.2, 10, 150)
    result = ng.fit(system, UNKNOWNS, bowl, method=Gradient(learning_rate=schedule), steps=150)
    assert result.loss[0] < 1e-3
    result = ng.fit(system, UNKNOWNS, bowl, method=Gradient(optimiser=optax.sgd(0.1)), steps=20)
    assert result.history["loss"][-1, 0] < 0.5 * result.history["loss"][0, 0]
    still = ng.fit(system, UNKNOWNS, lambda s, key: 0.0 * s.coupling, steps=100, patience=5)
    assert still.ok
    assert len(still.history["loss"]) == 6


def test_losses_that_are_not_finite(system):
    """A start goes back; where no start is finite, an error says so."""

    def cliff(s, key):
        return jnp.where(s.coupling < 5.0, jnp.nan, (s.coupling - 5.5) ** 2)

    fast = Gradient(learning_rate=0.3)
    result = ng.fit(system, {"coupling": interval(0.0, 20.0)}, cliff, method=fast, steps=150)
    assert result.loss[0] < 0.01
    with pytest.raises(ng.SolverError, match="no start ever had a finite loss"):
        ng.fit(system, UNKNOWNS, lambda s, key: s.coupling * jnp.nan, steps=3)


@pytest.mark.parametrize("method", ["gradient", "cma"])
def test_resume_gives_the_same(system, method, tmp_path):
    """Interrupted anywhere, damaged, or run at once: the same to the bit."""
    options = {"n_starts": 2, "steps": 30, "method": method, "save_every": 4, "seed": 3}
    whole = ng.fit(system, UNKNOWNS, bowl, **options)
    stop = []
    track = sys.modules["ngnmm_jax.fitting.loop"].Track

    def interrupted(s, key):
        return bowl(s, key)

    original = track.add

    def add(self, row):
        original(self, row)
        stop.append(1)
        if len(stop) == 14:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(track, "add", add)
        with pytest.raises(KeyboardInterrupt, match=r"14 of 30 steps kept in .*; the same call"):
            ng.fit(system, UNKNOWNS, interrupted, store=tmp_path / "kept", **options)
    blocks = sorted((tmp_path / "kept").glob("block-*.npz"))
    assert len(blocks) == 2
    # The newest is damaged: the other one is taken.
    newest = max(blocks, key=lambda path: path.stat().st_mtime_ns)
    newest.write_bytes(newest.read_bytes()[:200])
    with pytest.warns(UserWarning, match="damaged"):
        again = ng.fit(system, UNKNOWNS, interrupted, store=tmp_path / "kept", **options)
    np.testing.assert_array_equal(again.x, whole.x)
    np.testing.assert_array_equal(again.history["loss"], whole.history["loss"])
    done = ng.fit(system, UNKNOWNS, interrupted, store=tmp_path / "kept", **options)
    np.testing.assert_array_equal(done.x, whole.x)
    with pytest.raises(ValueError, match="seed"):
        ng.fit(system, UNKNOWNS, interrupted, store=tmp_path / "kept", **{**options, "seed": 4})


def test_bad_input(system):
    for options, words in (
        ({"steps": 0}, "steps"),
        ({"method": "newton"}, "method"),
        ({"n_starts": np.zeros((2, 5))}, "start, 2"),
    ):
        with pytest.raises(ValueError, match=words):
            ng.fit(system, UNKNOWNS, bowl, **{"steps": 2, **options})
    for make, words in (
        (lambda: Gradient(learning_rate=-1.0), "learning_rate"),
        (lambda: Gradient(optimiser="adam"), "optax"),
        (lambda: Gradient(mode="backward"), "mode"),
        (lambda: Gradient(monitor=0), "monitor"),
        (lambda: CMA(width=0.0), "width"),
        (lambda: sys.modules["ngnmm_jax.fitting.fit"]._named(optax.adam(0.1)), "AbstractMethod"),
        (lambda: sys.modules["ngnmm_jax.fitting.fit"]._named(CMA), "the class `?CMA"),
    ):
        with pytest.raises(ValueError, match=words):
            make()
    with pytest.raises(ValueError, match="return numbers"):
        ng.fit(system, UNKNOWNS, lambda s, key: s.system.weights, steps=2)
    with pytest.raises(ValueError, match="single parameter"):
        ng.fit(system, {"coupling": positive()}, lambda s, key: s.coupling, method="cma")


class Halving(fitting.AbstractMethod):
    """An own method: each start goes by a factor towards where the loss of a bowl is zero."""

    factor: float = 0.5

    def begin(self, problem):
        return jnp.asarray(problem.starts)

    def advance(self, problem, state, key):
        return state * self.factor, {**problem.evaluate(state, key), "x": state}


def test_an_own_method(system, tmp_path):
    """Two functions are a method: kept, resumed, and known to the store by its program."""
    options = {"n_starts": 2, "steps": 8, "save_every": 3, "store": tmp_path / "kept"}

    def valley(s, key):
        return jnp.log(s.coupling) ** 2

    unknowns = {"coupling": positive()}
    found = ng.fit(system, unknowns, valley, method=Halving(), **options)
    np.testing.assert_allclose(found.loss, found.history["loss"][0] / 4.0**7, rtol=1e-12)
    assert "Halving" in repr(found)
    again = ng.fit(system, unknowns, valley, method=Halving(), **options)
    np.testing.assert_array_equal(again.x, found.x)
    with pytest.raises(ValueError, match=r"method_factor \("):
        ng.fit(system, unknowns, valley, method=Halving(0.25), **options)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (lambda state: (state, {"x": state}), r'`Odd.advance` must return "loss" \(start,\)'),
        (lambda state: (state, {"loss": state[:, 0]}), r'"x" \(start, parameter\).*among \'loss\''),
        (lambda state: (state, {"loss": state, "x": state}), r'\["loss"\]` must have shape \(2,\)'),
        (lambda state: state, "`Odd.advance` must return the state and a dict"),
    ],
)
def test_what_a_method_returns_is_checked(system, found, words):
    class Odd(Halving):
        traced = False

        def advance(self, problem, state, key):
            return found(state)

    with pytest.raises(ValueError, match=words):
        ng.fit(system, {"coupling": positive()}, bowl, method=Odd(), n_starts=2)


class Walk(fitting.AbstractMethod):
    """A method that holds a function: as a program, or in Python."""

    rule: Any

    def begin(self, problem):
        return self.rule(jnp.asarray(problem.starts))

    def advance(self, problem, state, key):
        return state, {**problem.evaluate(state, key), "x": state}


class Hosted(Walk):
    traced: ClassVar[bool] = False


@pytest.mark.parametrize("method", [Walk, Hosted])
def test_a_method_that_holds_a_function(system, tmp_path, method):
    """Another function is another fit: by its program, or by a key where there is none."""

    def run(factor, **options):
        rule = method(lambda x: x * factor)
        given = {"steps": 2, "store": tmp_path / "kept", **options}
        free = {"coupling": positive()}
        return ng.fit(system, free, lambda s, key: s.coupling, method=rule, **given)

    if method is Hosted:
        with pytest.raises(ValueError, match=r"`key`.*Hosted\.rule"):
            run(0.5)
        assert run(0.5, store=None).loss.size == 1
    keys = [{"key": k} if method is Hosted else {} for k in ("half", "whole")]
    first = run(0.5, **keys[0])
    np.testing.assert_array_equal(run(0.5, **keys[0]).x, first.x)
    with pytest.raises(ValueError, match=r"begin \(|loss \("):
        run(0.25, **keys[1])


# -------------------------------------------------- recovery and what is known


@pytest.mark.slow
def test_recovery_with_errors_and_posterior(system, spectra):
    """Two parameters from noisy spectra: truth within the errors, which the posterior confirms."""

    def loss(s, key):
        power = ng.linear_response(s, FREQUENCIES, throw=False, stability=False).power
        return losses.whittle(power, spectra, 500.0)

    unknowns = {"i_ext_e": interval(0.0, 5.0), "input_noise": positive()}
    method = Gradient(learning_rate=0.2, polish=60)
    result = ng.fit(system, unknowns, loss, method=method, n_starts=4, steps=60, patience=100)
    assert result.loss.max() - result.loss.min() < 0.01
    known = fitting.identifiability(result, loss)
    assert known.flat == 0
    value, sd = np.asarray(known.value), np.asarray(known.value_sd)
    assert (np.abs(value - [3.0, 0.001]) < 4 * sd).all(), str(known)
    assert (sd / value < 0.02).all()
    # With 150 samples the larger r_hat is 1.05 give or take; with 600 it is 1.01.
    posterior = fitting.sample_posterior(result, loss, warmup=400, samples=400)
    assert posterior.ok
    spread = np.asarray(posterior.values["i_ext_e"]).std()
    assert spread == pytest.approx(sd[0], rel=0.3)


@pytest.mark.slow
def test_posterior_of_a_gaussian(system):
    """Its standard deviations are known, and those of the curvature are exact."""

    def gaussian(s, key):
        a, b = s.coupling - 4.0, s.model.i_ext_e - 1.0
        return 0.5 * ((a / 0.5) ** 2 + (b / 0.2) ** 2)

    unknowns = {"coupling": real(), "i_ext_e": real()}
    result = ng.fit(system, unknowns, gaussian, method=Gradient(polish=50), steps=1)
    known = fitting.identifiability(result, gaussian)
    np.testing.assert_allclose(known.value_sd, [0.5, 0.2], rtol=1e-6)
    np.testing.assert_allclose(known.value, [4.0, 1.0], atol=1e-5)
    assert "coupling" in str(known)
    posterior = fitting.sample_posterior(result, gaussian, warmup=200, samples=600)
    assert posterior.ok
    np.testing.assert_allclose(posterior.x.std(axis=(0, 1)), [0.5, 0.2], rtol=0.12)
    np.testing.assert_allclose(posterior.x.mean(axis=(0, 1)), [4.0, 1.0], atol=0.12)


@pytest.mark.slow
def test_flat_directions_are_said(system):
    """Only the sum of two currents acts: neither is known."""
    target = np.asarray(ng.linear_response(system, FREQUENCIES).power)

    def loss(s, key):
        power = ng.linear_response(s, FREQUENCIES, throw=False, stability=False).power
        return losses.whittle(power, target, 100.0)

    unknowns = {"i_ext_e": real(), "eta_e": real()}
    result = ng.fit(system, unknowns, loss, steps=1)
    known = fitting.identifiability(result, loss)
    assert known.flat == 1
    assert np.isinf(np.asarray(known.sd)).all()
    np.testing.assert_allclose(np.abs(known.directions[-1]), np.sqrt(0.5), rtol=1e-3)


@pytest.mark.slow
def test_simulated_connectivity_in_halves(system):
    """Long simulations have the correlations of the linear theory, as far as their halves agree."""
    strong = np.where(np.arange(12) % 5 == 0, 0.01, 0.0003)
    system = system.with_parameters(i_ext_e=3.4, coupling=8.0, input_noise=strong)
    fc = ng.linear_response(system, variable="s_e").fc
    found = fitting.simulated_fc(system, 12_000.0, repetition_time=500.0, runs=8, progress=False)
    assert found.halves.shape == (2, 12, 12)
    assert found.ok
    assert found.status.shape == (8,)
    # 100 s hold some tens of independent volumes: correlations of pairs scatter by 0.1.
    assert found.reliability > 0.25
    assert min(found.correlation(fc)) > 0.5
