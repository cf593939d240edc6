"""BOLD, local field potentials, sensors: against known responses, SciPy and each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import ngnmm_jax as ng
from ngnmm_jax.observe import (
    BalloonWindkessel,
    average,
    bold,
    lfp,
    synaptic_currents,
    through_lead_field,
)


def reference(z, seconds, times):
    """Friston's equations as they are printed, by SciPy at 1e-10."""
    kappa, gamma, tau, alpha, rho = 0.65, 0.41, 0.98, 0.32, 0.34

    def field(t, y):
        s, f, v, q = y
        extraction = (1 - (1 - rho) ** (1 / f)) / rho
        out = v ** (1 / alpha)
        return [
            z(t) - kappa * s - gamma * (f - 1),
            s,
            (f - out) / tau,
            (f * extraction - out * q / v) / tau,
        ]

    found = solve_ivp(
        field, (0, seconds), [0, 1, 1, 1], t_eval=times, rtol=1e-10, atol=1e-12, max_step=0.25
    )
    _, _, v, q = found.y
    return 0.02 * (7 * rho * (1 - q) + 2 * (1 - q / v) + (2 * rho - 0.2) * (1 - v))


def test_impulse_response():
    """A second of activity: the curve of the printed equations; peak after 4 to 6 s, undershoot."""
    dt = 0.01
    t = np.arange(0, 30, dt)
    z = np.where((t >= 1) & (t < 2), 0.5, 0.0)
    found = np.asarray(bold(z, dt, 0.5))
    times = 0.5 * np.arange(1, 61)
    expected = reference(lambda t: 0.5 if 1 <= t < 2 else 0.0, 30, times)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    peak = times[found.argmax()] - 1.5
    assert 2.5 < peak < 6
    assert 0.001 < found.max() < 0.05
    trough = found[found.argmax() :]
    assert trough.min() < -0.05 * found.max()  # the undershoot
    assert abs(found[-1]) < 0.02 * found.max()


def test_starts_where_constant_activity_leads():
    model = BalloonWindkessel(gain=2.0, baseline=0.01)
    flat = bold(jnp.full((3000, 2), 0.06), 0.01, 1.0, haemodynamics=model)
    np.testing.assert_allclose(flat, flat[0, 0], rtol=1e-9)
    long = bold(jnp.concatenate([jnp.full(10, 0.01), jnp.full(9990, 0.06)]), 0.01, 1.0,
                haemodynamics=model)  # fmt: skip
    assert float(long[-1]) == pytest.approx(float(flat[0, 0]), rel=1e-5)


def test_any_sampling_and_derivatives():
    """The step is 20 ms or less; what is sampled more often gives the same; gradients are right."""
    t = np.arange(0, 20, 0.001)
    z = 0.05 + 0.04 * np.sin(2 * np.pi * 0.1 * t)
    fine, coarse = bold(z, 0.001, 1.0), bold(z.reshape(-1, 20).mean(axis=1), 0.02, 1.0)
    np.testing.assert_allclose(fine, coarse, rtol=1e-12)

    def loss(gain):
        return (bold(z[::20], 0.02, 1.0, haemodynamics=BalloonWindkessel(gain=gain)) ** 2).sum()

    slope = jax.grad(loss)(1.0)
    assert float(slope) == pytest.approx(float(loss(1.001) - loss(0.999)) / 0.002, rel=1e-5)


def test_online_equals_offline(small):
    """BOLD while a network is integrated is that of its trace; correlations are NumPy's."""
    system = ng.Driven(ng.Network(ng.NextGenEI(i_ext_e=3.0), small, 5.0), {"input": 0.005})
    activity = ng.Activity(
        duration=4000.0, transient=100.0, signals=("s_e",), keep=("bold", "bold_fc", "trace"),
        repetition_time=500.0,
    )  # fmt: skip
    found = ng.sweep(system, ng.Design.listed({"coupling": [5.0, 8.0]}), activity, checks=0)
    assert found.s_e_bold.dims == ("point", "volume", "region")
    np.testing.assert_allclose(found.volume, 100 + 500 * np.arange(1, 9))
    for k in range(2):
        offline = bold(found.s_e_trace.values[k], 1e-3, 0.5)
        # Only the first steady state differs: it suits a window, or a volume.
        np.testing.assert_allclose(found.s_e_bold[k], offline, rtol=0.1)
        np.testing.assert_allclose(
            found.s_e_bold_fc[k], np.corrcoef(found.s_e_bold[k].values.T), atol=1e-9
        )


def test_activity_says_what_bold_needs(small):
    network = ng.Network(ng.NextGenEI(), small, 5.0)
    design = ng.Design.listed({"coupling": [5.0]})
    with pytest.raises(ValueError, match="`repetition_time` must be given"):
        ng.sweep(network, design, ng.Activity(keep=("bold",)))
    with pytest.raises(ValueError, match="multiple of 700 ms"):
        ng.sweep(network, design, ng.Activity(keep=("bold",), repetition_time=700.0))


def test_currents_and_proxies(small):
    network = ng.Network(ng.NextGenEI(i_ext_e=12.0), small, 8.0)
    run = ng.simulate(network, 60.0, dt=0.1, save_every=1.0)
    excitatory, inhibitory = map(np.asarray, synaptic_currents(network, run))
    s_e, s_i = np.asarray(run.s_e), np.asarray(run.s_i)
    drive = 8.0 * s_e @ np.asarray(small.weights).T
    np.testing.assert_allclose(excitatory, 8.0 * (5.0 * s_e + drive), rtol=1e-12)
    np.testing.assert_allclose(inhibitory, 8.0 * 13.0 * s_i, rtol=1e-12)
    np.testing.assert_allclose(lfp(network, run, proxy="absolute_sum"), excitatory + inhibitory)
    weighted = np.asarray(lfp(network, run))
    np.testing.assert_allclose(weighted[6:], excitatory[:-6] - 1.65 * inhibitory[6:])
    single = ng.simulate(network.homogeneous(), 60.0, dt=0.1, save_every=1.0)
    assert lfp(network.homogeneous(), single).shape == (61,)
    classical = ng.Network(ng.JansenRit(p=120.0), small, 10.0)
    run = ng.simulate(classical, 0.2, dt=5e-4, save_every=0.001)
    np.testing.assert_allclose(synaptic_currents(classical, run)[1], run.y2)


def test_sensors_and_averages():
    rng = np.random.default_rng(0)
    sources, field = rng.normal(size=(50, 4)), rng.normal(size=(3, 4))
    np.testing.assert_allclose(through_lead_field(sources, field), sources @ field.T, rtol=1e-12)
    mean, names = average(sources, ["a", "b", "a", "b"])
    assert names == ("a", "b")
    np.testing.assert_allclose(mean[:, 1], sources[:, [1, 3]].mean(axis=1), rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: bold(np.ones(100), 0.01, 0.015), "multiple of the sampling interval"),
        (lambda: bold(np.ones(100), 0.01, 2.0), "last for 2 s"),
        (lambda: bold(np.full(100, np.nan), 0.01, 0.1), "finite"),
        (lambda: BalloonWindkessel(tau=-1.0), "tau"),
        (lambda: through_lead_field(np.ones((9, 3)), np.ones((2, 4))), "3 regions"),
        (lambda: average(np.ones((9, 3)), ["a"]), "3 regions"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_lfp_says_what_it_needs(small):
    network = ng.Network(ng.NextGenEI(), small, 5.0)
    with pytest.raises(ValueError, match="saved all variables"):
        lfp(network, ng.simulate(network, 20.0, dt=0.1, variables="v_e"))
    with pytest.raises(ValueError, match="divides 6 ms"):
        lfp(network, ng.simulate(network, 28.0, dt=0.1, save_every=7.0))
    with pytest.raises(ValueError, match="proxy"):
        lfp(network, ng.simulate(network, 20.0, dt=0.1), proxy="sum")
