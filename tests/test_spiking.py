"""The spiking network: its neurons, its mean field, and how near they are."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ngnmm_jax as ng
from ngnmm_jax.reproduce.exactness import errors
from ngnmm_jax.simulation.spiking import lorentzian_of, quantiles

# Of one shape, so that runs of one node share what is compiled.
SHORT = {"neurons": 200, "dt": 0.1, "save_every": 1.0}
# Three runs that differ by their seeds alone.
ALIKE = {
    "parameters": {"i_ext_e": [9.0, 9.0, 9.0], "tau_e": [8.0, 8.0, 8.0]},
    "seed": [1, 2, 3],
    **SHORT,
}


def node(i_ext_e, coupling=0.0):
    return ng.Network(ng.NextGenEI(i_ext_e=i_ext_e), np.ones((1, 1)), coupling).homogeneous()


def test_quantiles_are_those_of_the_lorentzian():
    """Means of smooth functions are exact; and half of the neurons lie within one half width."""
    eta = quantiles(40)
    z = 0.3 + 0.8j
    exact = 1 / (z + 1j)  # of 1 / (z - η), whose pole lies above, over the Lorentzian
    assert np.mean(1 / (z - eta)) == pytest.approx(exact, abs=1e-12)
    assert (np.abs(eta) < 1).sum() == 20


def test_what_a_finite_number_of_neurons_lacks():
    """Free neurons' rates, whose mean is not smooth: by zeta(1/2), as the page on neurons says."""
    lack = (np.sqrt(2) - 1) * -1.4603545088095868 / (np.pi * np.sqrt(np.pi * 10_000))
    for centre in (-5.0, 0.0, 3.0):
        rate = np.sqrt(np.maximum(centre + quantiles(10_000), 0)).mean() / np.pi
        assert rate - np.sqrt(centre + 1j).real / np.pi == pytest.approx(lack, rel=1e-3)


@pytest.mark.parametrize(("centre", "width"), [(-2.0, 0.3), (0.5, 4.0)])
def test_centre_and_width(centre, width):
    """Of potentials whose arithmetic mean is far off; infinite ones do no harm."""
    rng = np.random.default_rng(1)
    drawn = centre + width * rng.standard_cauchy(200_000)
    of = jax.jit(lorentzian_of)
    np.testing.assert_allclose(of(drawn), (centre, width), atol=0.02 * (1 + width))
    even = centre + width * quantiles(256)
    np.testing.assert_allclose(of(even), (centre, width), atol=1e-10)
    assert np.isfinite(of(np.where(np.arange(256) == 7, 1e200, even))).all()


def test_free_neurons_fire_at_their_own_rates():
    """Without synapses neuron j fires √κ / (π tau) times per ms, or never."""
    model = ng.NextGenEI(i_ext_e=9.0, j_ee=0.0, j_ei=0.0, j_ie=0.0, j_ii=0.0)
    system = ng.Network(model, np.ones((1, 1))).homogeneous()
    run = ng.simulate_spiking(system, 2000.0, **{**SHORT, "save_every": 100.0})
    kappa = -5.0 + 9.0 + np.asarray(run.offsets)
    expected = np.sqrt(np.maximum(kappa, 0)) / (np.pi * 8.0)
    # At most one spike more or less in 2000 ms; steps have their own error in fast neurons.
    counted = np.asarray(run.spikes)[:, 0].sum(axis=0) / 2000.0
    np.testing.assert_allclose(counted, expected, atol=1.01 / 2000.0, rtol=2e-4)
    assert run.populations == ("excitatory", "inhibitory")


@pytest.mark.parametrize(
    ("i_ext_e", "coupling", "slope", "last"),
    [(2.0, 0.0, -0.55, 5e-4), (10.0, 0.0, -0.35, 3e-3), (9.5, 12.0, -0.35, 4e-3)],
    ids=["resting", "ping", "period doubled"],
)
def test_mean_field_is_approached(i_ext_e, coupling, slope, last):
    """Errors of gate, rate and potential fall about as N^(-1/2), faster at rest."""
    sizes = [100, 10_000]
    found = errors(node(i_ext_e, coupling), sizes, duration=60.0)
    for values in found.values():
        assert np.polyfit(np.log(sizes), np.log(values), 1)[0] < slope
    assert found["s_e"][-1] < last


def test_period_doubling_is_in_the_spikes():
    """Every second burst is alike: the rate repeats after the orbit's period, not after half."""
    system = node(9.5, 12.0)
    orbit = ng.find_orbit(system)
    run = ng.simulate_spiking(
        system, 500.0, neurons=4000, start=orbit.states[0], save_every=0.25, progress=False
    )
    # The attractor of the spikes drifts in phase, not in period.
    rate = np.asarray(run.activity.s_e)[400:]
    rate = rate - rate.mean()
    lags = [round(float(orbit.period) * part / 0.25) for part in (0.5, 1.0)]
    half, whole = (float((rate[lag:] * rate[:-lag]).mean() / rate.var()) for lag in lags)
    assert whole > 0.8
    assert whole - half > 0.1


def test_a_network_of_a_few_regions():
    """Three regions that differ, coupled: each follows its own mean field."""
    weights = np.array([[0.0, 1.0, 0.5], [0.3, 0.0, 1.0], [1.0, 0.2, 0.0]])
    model = ng.NextGenEI(i_ext_e=np.array([2.0, 6.0, 9.0]))
    network = ng.Network(model, ng.Connectome(weights).normalised(), 4.0)
    start = ng.initial_state(network)
    run = ng.simulate_spiking(network, 50.0, neurons=2000, start=start)
    exact = ng.simulate(network, 50.0, start=start, save_every=0.5, dt=0.05)
    assert run.activity.v_e.shape == (101, 3)
    assert run.spikes.shape == (101, 2, 3, 100)
    gap = np.abs(np.asarray(run.activity.s_e) - np.asarray(exact.s_e)).mean(axis=0)
    assert (gap < 0.06 * np.asarray(exact.s_e).mean(axis=0)).all()
    assert len(ng.plot.spikes(run, exact, region=2, window=(10.0, 40.0)).axes) == 2
    assert run.activity.to_xarray().v_e.dims == ("time", "region")
    with pytest.raises(ValueError, match="`region` must be below 3"):
        ng.plot.spikes(run, region=3)


def test_batches_and_going_on():
    """A batch is its single runs; a run cut in two is the run; 32 bits are near."""
    batch = ng.simulate_spiking(
        node(0.0),
        20.0,
        parameters={"i_ext_e": [4.0, 9.0, 9.0], "tau_e": [8.0, 8.0, 12.0]},
        seed=[3, 5, 5],
        **SHORT,
    )
    one = ng.simulate_spiking(node(9.0), 20.0, seed=5, **SHORT)
    np.testing.assert_allclose(batch.activity.states[1], one.activity.states, atol=1e-9)
    np.testing.assert_array_equal(batch.spikes[1], one.spikes)
    assert batch.status.shape == (3,)
    assert repr(batch).startswith("SpikingSimulation: all 3 OK")
    again = batch.run(1)
    np.testing.assert_array_equal(again.spikes, one.spikes)
    assert again.memory.state.shape == one.memory.state.shape
    said = repr(one).splitlines()
    assert said[0] == "SpikingSimulation: OK"
    assert len(said) <= 8
    assert any("200 in each of excitatory, inhibitory" in line for line in said)

    # A membrane time constant that varies between runs also sets the rate that a width means.
    slow = ng.NextGenEI(i_ext_e=9.0, tau_e=12.0)
    slow = ng.Network(slow, np.ones((1, 1))).homogeneous()
    one_slow = ng.simulate_spiking(slow, 20.0, seed=5, **SHORT)
    np.testing.assert_allclose(batch.width_rates[2], one_slow.width_rates, atol=1e-9)
    last = batch.activity.final_state[2]
    np.testing.assert_allclose(last, one_slow.activity.final_state, atol=1e-9)

    first = ng.simulate_spiking(node(9.0), 8.0, seed=5, **SHORT)
    second = ng.simulate_spiking(node(9.0), 12.0, start=first, **SHORT)
    np.testing.assert_allclose(second.activity.ts, np.arange(8.0, 21.0))
    np.testing.assert_allclose(second.activity.v_e[1:], one.activity.v_e[9:], atol=1e-9)
    np.testing.assert_array_equal(second.spikes[1:], one.spikes[9:])

    start = ng.initial_state(node(9.0))
    double, single = (
        ng.simulate_spiking(node(9.0), 20.0, start=start, dtype=dtype, **SHORT)
        for dtype in ("float64", "float32")
    )
    assert single.activity.v_e.dtype == jnp.float32
    np.testing.assert_allclose(single.activity.s_e, double.activity.s_e, atol=5e-3)
    assert ng.simulate_spiking(node(9.0), 30.0, progress=True, **SHORT).ok  # in blocks

    # It ends when it was told, whatever was saved; the mean field can go on from there.
    odd = ng.simulate_spiking(node(9.0), 8.3, seed=5, **SHORT)
    assert (float(odd.activity.t1), float(odd.activity.ts[-1])) == (8.3, 8.0)
    later = ng.simulate_spiking(node(9.0), 1.4, start=odd, **{**SHORT, "save_every": 0.7})
    np.testing.assert_allclose(later.activity.v_e[1], one.activity.v_e[9], atol=1e-9)
    assert ng.simulate(node(9.0), 1.0, start=odd.activity).ok


def test_what_diverged_or_had_no_start_is_said(monkeypatch):
    """Beside a run that is well."""
    start = np.asarray(ng.initial_state(node(9.0)))
    states = np.stack([start, start * np.nan, start])
    monkeypatch.setattr("ngnmm_jax.simulation.spiking.start.initial_states", lambda *_: states)
    run = ng.simulate_spiking(node(9.0), 5.0, **ALIKE)
    codes = [ng.Status.OK, ng.Status.NONE_FOUND, ng.Status.OK]
    assert list(np.asarray(run.status)) == codes
    monkeypatch.setattr("ngnmm_jax.simulation.spiking.start.initial_states", lambda *_: states[1:2])
    with pytest.raises(ng.SolverError, match="no equilibrium was found"):
        ng.simulate_spiking(node(9.0), 5.0, **SHORT)
    lost = eqx.tree_at(lambda r: r.memory.state, run, run.memory.state * np.nan)
    later = ng.simulate_spiking(node(9.0), 5.0, start=lost, **ALIKE)
    assert (np.asarray(later.status) == ng.Status.NOT_FINITE).all()


def test_bad_input():
    with pytest.raises(ValueError, match="`system` must have populations of QIF neurons"):
        ng.simulate_spiking(ng.Network(ng.JansenRit(), np.ones((1, 1))).homogeneous(), 1.0)
    delayed = ng.Network(ng.NextGenEI(), np.ones((2, 2)) / 2, 1.0, delays=2.0)
    with pytest.raises(ValueError, match="`system` must be a network or"):
        ng.simulate_spiking(delayed.homogeneous(), 1.0)
    with pytest.raises(ValueError, match="`neurons` must be a positive integer"):
        ng.simulate_spiking(node(1.0), 1.0, neurons=0)
    with pytest.raises(ValueError, match="`dt` must be below 0"):
        ng.simulate_spiking(node(1.0), 1.0, neurons=1_000_000, dt=0.1)
    with pytest.raises(ValueError, match="did you mean 'i_ext_e'"):
        ng.simulate_spiking(node(1.0), 1.0, parameters={"i_ext_ee": [1.0]})
    with pytest.raises(ValueError, match="`start` must be finite"):
        ng.simulate_spiking(node(1.0), 1.0, start=np.full(6, np.nan))
    with pytest.raises(ValueError, match="`dt` must be positive"):
        ng.simulate_spiking(node(1.0), 1.0, dt=0.0)
    run = ng.simulate_spiking(node(1.0), 5.0, **SHORT)
    with pytest.raises(ValueError, match="`start` must have 1 runs of 60 neurons"):
        ng.simulate_spiking(node(1.0), 1.0, neurons=60, start=run)
    batch = ng.simulate_spiking(node(1.0), 5.0, **ALIKE)
    with pytest.raises(ValueError, match="`run` must be a single run"):
        ng.plot.spikes(batch)
