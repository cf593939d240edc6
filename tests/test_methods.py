"""The method "moebius": its flows against exact answers, its order, what it cannot do wrong."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import ngnmm_jax as ng
from ngnmm_jax.integrators import named
from ngnmm_jax.integrators.loops import repeated
from ngnmm_jax.models.qif_flow import (
    GateFlow,
    _angle,
    population_flow,
    population_flow_with_means,
)


@pytest.fixture(scope="module")
def network(small):
    return ng.Network(ng.NextGenEI(i_ext_e=12.0), small, 8.0)


@pytest.fixture(scope="module")
def start(network):
    return ng.initial_state(network, scatter=0.1, seed=4)


def run(network, start, dt, duration, method="moebius", **values):
    return ng.simulate_batch(
        network, values, duration, dt=dt, start=start, integrator=method, save_every=duration
    ).final_state


@pytest.mark.parametrize("current", [-5.0, 0.0, 20.0])
def test_flow_of_a_population(current):
    """Constant input: the exact solution, and the spikes counted, by steps of any length."""
    delta, tau, dt = 0.7, 8.0, 1.0

    def field(_, y):
        r, v, _ = y
        x = np.pi * tau * r
        return [
            (delta / (np.pi * tau) + 2 * r * v) / tau,
            (v * v - x * x + current) / tau,
            r,
        ]

    exact = solve_ivp(field, (0, dt), [0.2, 1.5, 0.0], rtol=1e-12, atol=1e-12).y[:, -1]
    r, v, mean = population_flow(
        *(jnp.asarray(a) for a in (0.2, 1.5, current, 0.0, delta, tau, dt))
    )
    np.testing.assert_allclose([r, v, mean * dt], exact, rtol=2e-6)
    halves = [0.2, 1.5]
    spikes = 0.0
    for _ in range(20):
        *halves, mean = population_flow(
            *(jnp.asarray(a) for a in (*halves, current, 0.0, delta, tau, dt / 20))
        )
        spikes += mean * dt / 20
    np.testing.assert_allclose([*halves, spikes], exact, rtol=1e-10)


def test_flow_under_a_ramp_is_of_order_four():
    """A current that rises linearly: the error of one step falls as dt⁵."""
    delta, tau, rate = 1.0, 8.0, 4.0
    errors, steps = [], np.array([2.0, 1.0, 0.5])
    for dt in steps:

        def field(t, y, dt=dt):
            x = np.pi * tau * y[0]
            current = 3.0 + rate * (t - dt / 2)
            return [
                (delta / (np.pi * tau) + 2 * y[0] * y[1]) / tau,
                (y[1] ** 2 - x * x + current) / tau,
            ]

        exact = solve_ivp(field, (0, dt), [0.1, 0.5], rtol=1e-13, atol=1e-14).y[:, -1]
        values = (0.1, 0.5, 3.0, rate * dt, delta, tau, dt)
        got = population_flow(*(jnp.asarray(float(a)) for a in values))[:2]
        errors.append(np.abs(np.array(got) - exact).max())
    assert np.polyfit(np.log(steps), np.log(errors), 1)[0] == pytest.approx(5, abs=0.4)


@pytest.mark.parametrize(("current", "dt"), [(-5.0, 0.5), (0.0, 1e-3), (20.0, 0.4)])
def test_mean_potential_of_a_population(current, dt):
    """Over a step of constant input: the integral of the exact solution's potential."""
    delta, tau = 0.7, 8.0

    def field(_, y):
        x = np.pi * tau * y[0]
        return [(delta / (np.pi * tau) + 2 * y[0] * y[1]) / tau,
                (y[1] ** 2 - x * x + current) / tau, y[1]]  # fmt: skip

    exact = solve_ivp(field, (0, dt), [0.2, 1.5, 0.0], rtol=1e-13, atol=1e-14).y[:, -1]
    values = (0.2, 1.5, current, 0.0, delta, tau, dt)
    r, v, _, mean = population_flow_with_means(*(jnp.asarray(a) for a in values))
    np.testing.assert_allclose([r, v, mean * dt], exact, rtol=3e-10)


@pytest.mark.parametrize("tau", [5.0, 0.5, 0.301, 0.299, 0.1, 0.03, 0.003, 3e-5])
def test_flow_of_a_gate(tau):
    """A parabola as rate: exact, end and mean, however long the step."""
    dt, rate = 0.3, np.polynomial.Polynomial([0.3, -0.5, 0.9])
    a = dt / tau
    slow = rate - rate.deriv() / a + rate.deriv(2) / a**2  # a solution of s' = a (r - s)
    swing = 0.4 - slow(0.0)
    end = slow(1.0) + swing * np.exp(-a)
    exact = end, (slow.integ()(1.0) - swing * np.expm1(-a) / a) * dt
    gate = GateFlow.of(jnp.asarray(tau), jnp.asarray(dt))
    mean = rate.integ()(1.0)
    got = gate(*(jnp.asarray(a) for a in (0.4, rate(0.0), rate(1.0), mean)))
    np.testing.assert_allclose(got, [exact[0], exact[1] / dt], rtol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-15), (np.float32, 3e-7)])
def test_angle(dtype, tolerance):
    angles = np.linspace(-np.pi / 8, 5 * np.pi / 8, 2001)
    y, x = (jnp.asarray(f(angles).astype(dtype)) for f in (np.sin, np.cos))
    got = _angle(y, x, jnp.zeros_like(x), jnp.ones_like(x))
    assert got.dtype == dtype
    np.testing.assert_allclose(got, angles, atol=tolerance)


def test_order(network, start):
    """Slope of the error against the step, from the first step on; far ahead of RK4."""
    exact = run(network, start, 0.0025, 40.0, "dopri8")
    steps = [0.1, 0.05, 0.025]
    errors = [np.abs(run(network, start, dt, 40.0) - exact).max() for dt in steps]
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert 3.7 < slope < 5.5
    classical = np.abs(run(network, start, 0.1, 40.0, "rk4") - exact).max()
    assert errors[0] < 0.25 * classical
    # One step: the history before the start is that of the solution, not a guess.
    exact = run(network, start, 0.0125, 0.1, "dopri8")
    assert np.abs(run(network, start, 0.1, 0.1) - exact).max() < 2e-5


def test_homogeneous_and_single_runs(network, start):
    state = start[:, 0]
    inner = network.homogeneous()
    adaptive = ng.simulate(
        inner, 30.0, start=state, integrator=ng.integrators.Adaptive(rtol=1e-10, atol=1e-12)
    )
    errors = []
    for dt in (0.025, 0.0125):
        fixed = ng.simulate(inner, 30.0, start=state, dt=dt, integrator="moebius")
        errors.append(np.abs(fixed.states - adaptive.states).max())
    assert errors[0] < 3e-4
    assert errors[1] < errors[0] / 10
    single = ng.simulate(network, 30.0, start=start, dt=0.05, integrator="moebius")
    batch = run(network, start, 0.05, 30.0)[0]
    np.testing.assert_allclose(single.final_state, batch, atol=1e-12)


def test_parameters_of_regions_and_runs(network, start):
    rng = np.random.default_rng(0)
    taus = rng.uniform(0.8, 1.5, size=(3, 12))
    mixed = network.with_parameters(delta_i=rng.uniform(0.5, 1.5, size=12))
    batch = run(mixed, start, 0.05, 20.0, tau_se=taus, tau_i=[7.0, 8.0, 9.0])
    for k in range(3):
        here = mixed.with_parameters(tau_se=taus[k], tau_i=7.0 + k)
        exact = ng.simulate(
            here, 20.0, start=start, integrator=ng.integrators.Adaptive(rtol=1e-10, atol=1e-12)
        ).final_state
        np.testing.assert_allclose(batch[k], exact, atol=5e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_nothing_blows_up(network, dtype):
    """Steps at which RK4 returns NaN: rates and gates stay positive, everything finite."""
    rng = np.random.default_rng(3)
    y0 = np.abs(rng.normal(scale=3.0, size=(16, 6, 12)))
    y0[:, [1, 4]] *= np.sign(rng.normal(size=(16, 2, 12)))
    values = {"i_ext_e": np.linspace(0, 20, 16), "coupling": np.linspace(0, 20, 16)}
    options = {"dt": 0.2, "start": y0, "dtype": dtype, "variables": network.model.variables}
    batch = ng.simulate_batch(network, values, 200.0, integrator="moebius", **options)
    assert batch.ok
    assert min(float(batch[name].min()) for name in ("r_e", "r_i")) > 0
    assert min(float(batch[name].min()) for name in ("s_e", "s_i")) >= 0
    classical = ng.simulate_batch(network, values, 200.0, integrator="rk4", **options)
    assert not classical.ok


@pytest.mark.slow
def test_gradients(network, start):
    """Reverse and forward mode against finite differences."""

    def energy(coupling):
        system = eqx.tree_at(lambda n: n.coupling, network.bare(), coupling)
        run = ng.simulate(system, 10.0, start=start, dt=0.1, integrator="moebius")
        return (run.v_e**2).mean()

    at = jnp.asarray(8.0)
    reverse, forward = jax.grad(energy)(at), jax.jacfwd(energy)(at)
    h = 1e-4
    difference = (energy(at + h) - energy(at - h)) / (2 * h)
    np.testing.assert_allclose(reverse, forward, rtol=1e-9)
    np.testing.assert_allclose(reverse, difference, rtol=1e-6)


@pytest.mark.parametrize(("model", "method"), [("network", "moebius"), ("homogeneous", "rk4")])
def test_a_constant_stimulus_is_a_current(network, start, method, model):
    """tau times a stimulus to both populations is what the external currents are."""
    system = network.bare() if model == "network" else network.homogeneous()
    start = start if model == "network" else start[:, 0]
    moved = network.with_parameters(i_ext_e=12.0 + 8.0 * 0.02, i_ext_i=8.0 * 0.02)
    moved = moved if model == "network" else moved.homogeneous()
    stimulus = jnp.full(start.shape[1:], 0.02)
    stepper = named(method).stepper(system, jnp.asarray(0.02))
    memory, _ = repeated(
        lambda memory: stepper.advance(memory, stimulus),
        stepper.start(start),
        n_saves=1,
        stride=500,
        select=lambda memory: 0.0,
    )
    exact = ng.simulate(
        moved, 10.0, start=start, integrator=ng.integrators.Adaptive(rtol=1e-11, atol=1e-12)
    ).final_state
    # "moebius" learns of the stimulus through its own steps: order one in the first five of them.
    np.testing.assert_allclose(stepper.state(memory), exact, atol=1e-6)


def test_models_without_a_flow_are_refused(small):
    network = ng.Network(ng.JansenRit(), small, 10.0)
    with pytest.raises(ValueError, match=r"`integrator` must be one of 'rk4'.* for JansenRit"):
        ng.simulate(network, 0.1, dt=1e-3, integrator="moebius")
    with pytest.raises(ValueError, match=r"`integrator` must be one of"):
        ng.simulate_batch(network, {"p": [100.0]}, 0.1, dt=1e-3, integrator="moebius")
