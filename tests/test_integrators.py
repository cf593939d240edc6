"""Integrators as objects: names for them, the rule of defaults, and one of a user's own."""

from types import SimpleNamespace

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ngnmm_jax as ng
from ngnmm_jax import fitting
from ngnmm_jax.integrators import (
    NAMES,
    RK4,
    AbstractIntegrator,
    AbstractOneStep,
    Adaptive,
    Euler,
    Heun,
    Moebius,
    chosen,
    named,
)


class Ralston(AbstractOneStep):
    """Ralston's method of order two."""

    def step(self, field, state, dt):
        slope = field(state)
        ahead = field(state + 2 / 3 * dt * slope)
        return state + dt * (slope + 3 * ahead) / 4


class Theta(AbstractOneStep):
    """A family of methods of order two, one for each place at which the slope is taken again."""

    place: float = 1.0

    def step(self, field, state, dt):
        slope = field(state)
        again = field(state + self.place * dt * slope)
        weight = 1 / (2 * self.place)
        return state + dt * ((1 - weight) * slope + weight * again)


@pytest.fixture(scope="module")
def network():
    return ng.Network(ng.NextGenEI(i_ext_e=13.0), ng.Connectome.synthetic(4).normalised(), 5.0)


@pytest.fixture(scope="module")
def start(network):
    k = np.arange(24).reshape(6, 4)
    return np.abs(0.05 * np.sin(k)) * np.array([1, -9, 1, 1, -9, 1])[:, None] + 0.01


def last(network, start, dt, integrator, **options):
    return ng.simulate(
        network, 4.0, start=start, dt=dt, integrator=integrator, save_every=4.0, **options
    ).final_state


# ---------------------------------------------------------------------- names and defaults


def test_names_are_objects(network, start):
    """The same to the bit, in single runs and in batches."""
    assert set(NAMES) == {"rk4", "heun", "euler", "dopri8", "moebius", "adaptive", "fused"}
    for name, kind in NAMES.items():
        assert named(name) == kind()
        assert hash(named(name)) == hash(kind())
    assert named(dfx.Tsit5()) == Adaptive(dfx.Tsit5()) != Adaptive(dfx.Dopri5())
    for pair in (("moebius", Moebius()), (None, RK4())):
        by_name, by_object = (last(network, start, 0.1, which) for which in pair)
        np.testing.assert_array_equal(by_name, by_object)
    assert RK4() != Euler()
    assert Theta(0.5) == Theta(0.5) != Theta(0.75)


@pytest.mark.parametrize(
    ("given", "dt", "single", "lockstep"),
    [
        (None, None, Adaptive(), Moebius()),
        (None, 0.1, RK4(), RK4()),
        ("heun", None, Heun(), Heun()),
        ("moebius", 0.1, Moebius(), Moebius()),
        (Theta(0.5), None, Theta(0.5), Theta(0.5)),
        (dfx.Tsit5(), None, Adaptive(dfx.Tsit5()), None),
        ("adaptive", 0.1, Adaptive(), None),
    ],
)
def test_the_rule_of_defaults(given, dt, single, lockstep):
    system = ng.Homogeneous(ng.NextGenEI(), 1.0)
    assert chosen(system, given, dt, lockstep=False) == single
    if lockstep is None:
        with pytest.raises(ValueError, match="`integrator` must take fixed steps here, but it is"):
            chosen(system, given, dt, lockstep=True)
    else:
        assert chosen(system, given, dt, lockstep=True) == lockstep
    if given is None:
        assert chosen(ng.Homogeneous(ng.JansenRit(), 1.0), None, dt, lockstep=True) == RK4()


def test_what_is_no_integrator():
    for wrong, words in (
        (RK4, "the class `RK4`"),
        (4, "it is 4"),
        ("rk5", "did you mean 'rk4'"),
        (type("Bare", (AbstractIntegrator,), {})(), r"`AbstractOneStep`.*Bare is neither"),
    ):
        with pytest.raises(ValueError, match=f"`integrator` must be .*{words}"):
            named(wrong)


def test_steps_where_none_is_given(network, start):
    """Up to `longest_step`, a divisor of all times; of the fastest run in a batch."""
    step = network.time_step
    assert Theta().longest_step(network) == RK4().longest_step(network) == step
    assert Moebius().longest_step(network) == 2 * step
    taus = {"tau_e": np.array([8.0, 1.0]), "tau_i": np.array([8.0, 0.5])}
    short = RK4().longest_step(network, taus)
    assert short == network.with_parameters(tau_e=1.0, tau_i=0.5).time_step < step
    for integrator, longest in (("rk4", step), ("moebius", 2 * step)):
        run = ng.simulate(network, 3.0, start=start, integrator=integrator)
        assert 3.0 / longest <= int(run.stats["num_steps"]) < 1.5 * 3.0 / longest
    batch = ng.simulate_batch(network, taus, 3.0, start=start)
    assert 3.0 / (2 * short) <= int(batch.stats["num_steps"]) < 1.5 * 3.0 / (2 * short)
    dt = 3.0 / int(batch.stats["num_steps"])
    given = ng.simulate_batch(network, taus, 3.0, start=start, dt=dt, integrator="moebius")
    np.testing.assert_allclose(batch.v_e, given.v_e, atol=1e-12)


# ---------------------------------------------------------------------- one of a user's own


def test_an_own_integrator(network, start):
    """Its order by slope, alone and under a stimulus that rises within its steps; in a batch."""
    driven = ng.Driven(network, stimulus=ng.stimuli.Sine(period=5.0, amplitude=0.02))
    for system in (network, driven):
        exact = last(system, start, 0.0125, "rk4")
        steps = (0.2, 0.1, 0.05)
        errors = [np.abs(last(system, start, dt, Ralston()) - exact).max() for dt in steps]
        slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
        assert slope == pytest.approx(2, abs=0.25)
    batch = ng.simulate_batch(
        network, {"coupling": [4.0, 5.0]}, 4.0, start=start, dt=0.1, integrator=Ralston()
    )
    np.testing.assert_allclose(
        batch.final_state[1], last(network, start, 0.1, Ralston()), atol=1e-12
    )
    single = last(network, start, 0.1, Ralston(), dtype=jnp.float32)
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, last(network, start, 0.1, Ralston()), atol=2e-5)


def test_a_rise_within_a_step_is_seen(network, start):
    """Of arrays and of numbers alike: `state` is a vector, whatever is beside it."""
    rise = ng.stimuli.Custom(lambda t: 0.01 * t)
    system = ng.Driven(network, stimulus=rise)
    by_array, by_tree = (last(system, start, 0.1, kind) for kind in (Theta(1.0), "heun"))
    np.testing.assert_allclose(by_array, by_tree, atol=1e-13)


def test_an_own_integrator_has_the_noise_of_all(network, start):
    """What is drawn does not depend on the integrator."""
    noisy = ng.Driven(network, {"v_e": 0.1, "input": 0.01})
    near, exact = (last(noisy, start, 0.05, kind, seed=3) for kind in (Ralston(), "rk4"))
    quiet = last(network, start, 0.05, "rk4")
    assert np.abs(near - exact).max() < 0.02 * np.abs(exact - quiet).max()


def test_an_own_integrator_in_a_sweep_and_in_a_fit(network):
    def mean(integrator):
        measure = ng.Activity(20.0, 4.0, integrator=integrator, dt=0.1, keep=("mean",))
        return ng.sweep(network, ng.Design.listed({"coupling": [4.0, 5.0]}), measure)

    own, known = mean(Ralston()), mean("heun")
    np.testing.assert_allclose(own.v_e_mean, known.v_e_mean, atol=2e-3)
    assert not np.array_equal(own.v_e_mean, known.v_e_mean)
    system, key = network.homogeneous(), jax.random.key(0)
    own, known = (
        fitting.simulated(system, key, 5.0, integrator=kind, dt=0.05) for kind in (Ralston(), RK4())
    )
    np.testing.assert_allclose(own, known, atol=1e-3)
    assert not np.array_equal(own, known)


def test_what_is_stored_knows_an_integrator_by_its_program(network):
    def definition(integrator):
        measure = ng.Activity(20.0, 4.0, integrator=integrator, dt=0.1, keep=("mean",))
        return measure.definition(network)["integrator"]

    def changed(self, field, state, dt):
        return state + dt * field(state + dt / 2 * field(state))

    other = type("Ralston", (AbstractOneStep,), {"step": changed, "__doc__": "Another."})
    assert definition("rk4") == definition(None) == definition(RK4()) == "rk4"
    assert definition(Theta(0.5)) == definition(Theta(0.5)) != definition(Theta(0.75))
    assert definition(Ralston()) != definition(other())


# ---------------------------------------------------------------------- where runs begin


def test_where_a_run_begins(network, start):
    """A state, of one region too; a run, whose time is gone on from; what analyses find."""
    options = {"dt": 0.1, "save_every": 1.0}
    two, stable = start.T[:2], np.array([False, True])
    for given, state in (
        (start, start),
        (start[:, 0], start[:, :1]),
        (SimpleNamespace(state=two[1]), start[:, 1:2]),  # a special point
        (SimpleNamespace(states=two, period=20.0), start[:, :1]),  # an orbit
        (SimpleNamespace(states=two, found=~stable | stable, stable=stable), start[:, 1:2]),
        (SimpleNamespace(states=two, found=stable, stable=stable & False), start[:, 1:2]),
    ):
        run = ng.simulate(network, 1.0, start=given, **options)
        np.testing.assert_array_equal(run.states[0][:6], np.broadcast_to(state, (6, 4)))
    with pytest.raises(ValueError, match="`start` must be an array of numbers"):
        ng.simulate(network, 1.0, start=SimpleNamespace(states=two), **options)
    first = ng.simulate(network, 2.0, start=start, **options)
    driven = ng.Driven(network, stimulus=ng.stimuli.Pulse(onset=2.5, width=1.0, amplitude=0.02))
    after = ng.simulate(driven, 2.0, start=first, **options)
    assert list(np.asarray(after.ts)) == [2.0, 3.0, 4.0]
    runs = ng.simulate_batch(driven, {"coupling": [5.0, 5.0]}, 2.0, start=first, **options)
    np.testing.assert_array_equal(runs.ts, after.ts)
    np.testing.assert_allclose(runs.final_state[1], after.final_state, atol=1e-12)
    on = ng.simulate_batch(driven, None, 2.0, start=runs, variables="r_e", **options)
    assert on.states.shape == (2, 3, 1, 4)
    np.testing.assert_array_equal(on.states[:, 0, 0], runs.final_state[:, 0])
    later = ng.simulate_batch(driven, None, 2.0, start=first, t0=0.0, **options)
    assert float(later.ts[0]) == 0.0
    with pytest.raises(ValueError, match=r"`start` must have shape \(run, \*\(6, 4\)\)"):
        ng.simulate_batch(network, None, 2.0, start=np.zeros(5), dt=0.1)
