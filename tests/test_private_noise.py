"""Noise of each neuron's own: exact rates and variances, the mean field of Cauchy's, draws."""

import numpy as np
import pytest
from scipy.integrate import quad

import ngnmm_jax as ng
from ngnmm_jax import noises

START = np.array([0.05, -1.0, 0.05, 0.02, -1.0, 0.02])
OPTIONS = {"start": START, "dt": 0.05, "save_every": 0.5}


@pytest.fixture(scope="module")
def node():
    return ng.Homogeneous(ng.NextGenEI(i_ext_e=8.0), 0.0)


def rate_with_gaussian_noise(eta, strength, tau):
    """One over the mean time from -∞ to ∞, in which V = x solves tau x' = x² + eta + strength ξ.

    T = 2 tau √π ∫ exp(-eta z² - D² z⁶ / 12) dz over z > 0, with D = strength² / (2 tau).
    """
    d = strength**2 / (2 * tau)
    time, _ = quad(lambda z: np.exp(-eta * z**2 - d**2 * z**6 / 12), 0, np.inf)
    return 1 / (2 * tau * np.sqrt(np.pi) * time)


def test_exact_rates_and_variances_of_neurons_that_are_alike():
    """Free neurons without heterogeneity; strengths by region.

    Far below threshold V is near -√|η|: an Ornstein-Uhlenbeck process of variance
    σ² / (4 tau √|η|). With Cauchy's noise of strength Γ the rate is Re √(η + i Γ) / (π tau).
    """
    tau, neurons, duration, skipped = 8.0, 2000, 300.0, 50.0
    eta, sigma, gamma = np.array([-25.0, -0.5, 1.0]), np.array([2.0, 3.0, 2.0]), [0.5, 1.0, 2.0]
    weights = {"j_ee": 0.0, "j_ei": 0.0, "j_ie": 0.0, "j_ii": 0.0}
    model = ng.NextGenEI(eta_e=eta, delta_e=1e-9, delta_i=1e-9, **weights)
    network = ng.Network(model, np.zeros((3, 3)))
    start = np.tile([[1e-4], [-5.0], [0.0], [0.01], [-2.0], [0.0]], 3)
    run = ng.simulate_spiking(
        network,
        duration,
        neurons=neurons,
        dt=0.1,
        save_every=5.0,
        start=start,
        private={"excitatory": sigma, "inhibitory": noises.Cauchy(gamma)},
    )
    late = np.asarray(run.activity.ts) > skipped
    seconds = neurons * (duration - skipped)
    found = np.stack([run.activity.r_e, run.activity.r_i])[:, late].mean(axis=1)
    known = np.zeros((2, 3))
    known[0, 1:] = [rate_with_gaussian_noise(*of, tau) for of in zip(eta, sigma, strict=True)][1:]
    known[1] = np.sqrt(-5.0 + 1j * np.array(gamma)).real / (np.pi * tau)
    assert found[0, 0] == 0
    scatter = np.sqrt(known / seconds)  # of as many spikes, were they a Poisson process
    assert (np.abs(found - known) <= 4 * scatter + 0.003 * known).all()
    resting = np.asarray(run.memory.potentials)[0, 0]
    expected = sigma[0] ** 2 / (4 * tau * 5.0)
    assert resting.var() == pytest.approx(expected, rel=5 * np.sqrt(2 / neurons))
    assert resting.mean() == pytest.approx(-5.0, abs=0.02)
    said = " ".join(repr(run).split())
    assert "approximate the mean field has no Gaussian noise" in said
    assert "inhibitory: Cauchy" in said


def test_with_cauchys_noise_the_mean_field_has_a_larger_half_width(node):
    """The error is a third of that of 100 neurons, and small beside what the noise does."""
    wide = node.with_parameters(delta_e=1.4, delta_i=1.4)
    exact, narrow = (ng.simulate(system, 20.0, **OPTIONS) for system in (wide, node))
    private = dict.fromkeys(("excitatory", "inhibitory"), noises.Cauchy(0.4))
    run = ng.simulate_spiking(node, 20.0, neurons=6400, private=private, **OPTIONS)
    assert not run.notes
    gap = np.sqrt(np.mean((run.activity.v_e - exact.v_e) ** 2))
    assert gap < 0.048
    assert gap < 0.2 * np.sqrt(np.mean((narrow.v_e - exact.v_e) ** 2))


def test_draws_follow_seed_step_and_neuron(node):
    """A run in two, in a batch and in blocks is the run; another seed's differs, and so does none;
    a strength of zero is none.
    """

    def run(duration, **options):
        private = {"excitatory": noises.White(0.5), "inhibitory": noises.Cauchy(0.1)}
        options = {"private": private, "seed": 3, **OPTIONS, **options}
        return ng.simulate_spiking(node, duration, neurons=60, **options)

    whole, none = run(4.0), run(4.0, private=None)
    later = run(2.0, start=run(2.0))
    np.testing.assert_array_equal(later.memory.potentials, whole.memory.potentials)
    np.testing.assert_array_equal(later.spikes[1:], whole.spikes[5:])
    np.testing.assert_array_equal(
        run(4.0, progress=True).memory.potentials, whole.memory.potentials
    )
    batch = run(4.0, seed=[5, 3], start=np.tile(START, (2, 1)))
    np.testing.assert_allclose(batch.activity.states[1], whole.activity.states, atol=1e-9)
    gap = np.abs(np.asarray(batch.activity.v_e[0] - batch.activity.v_e[1])).max()
    assert gap > 1e-3
    assert np.abs(np.asarray(none.activity.v_e - whole.activity.v_e)).max() > 1e-3
    zero = run(4.0, private={"excitatory": 0.0, "inhibitory": noises.Cauchy(0.0)})
    np.testing.assert_array_equal(zero.memory.potentials, none.memory.potentials)
    assert zero.notes == zero.private == ()


@pytest.mark.parametrize(
    ("private", "words"),
    [
        ({"v_e": 1.0}, "`private` must be one of"),
        (0.5, "`private` must be noise by names of populations"),
        ({"excitatory": -1.0}, "`private` must not be negative"),
        ({"excitatory": [1.0, 2.0]}, "`private` must"),
        ({"excitatory": noises.OrnsteinUhlenbeck(1.0, 5.0)}, "`private` must be `noises.White`"),
        ({"excitatory": noises.White(1.0, correlation=0.5)}, "it has them"),
    ],
)
def test_what_is_no_noise_of_neurons_is_refused(node, private, words):
    with pytest.raises(ValueError, match=words):
        ng.simulate_spiking(node, 1.0, private=private)


def test_nothing_else_takes_cauchys_noise(node):
    with pytest.raises(ValueError, match="`noise` must be"):
        ng.Driven(node, {"v_e": noises.Cauchy(0.1)})
