"""The linear response: against whole Jacobians, simulations, and finite differences."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import solve_continuous_lyapunov

import ngnmm_jax as ng
from ngnmm_jax._core.small_linalg import solve_each
from ngnmm_jax.dynamics.newton import jacobian
from ngnmm_jax.models.notation import notation_of
from ngnmm_jax.stability.network_equilibrium import equilibrium
from ngnmm_jax.stability.response import growth
from ngnmm_jax.stability.roots import root_at

FREQUENCIES = np.arange(2.0, 150.0, 4.0)
# Of the whole spectrum, and both, of which responses are made by one program.
FINE = np.arange(0.5, 4000.0, 1.0)
EVERY = np.concatenate([FREQUENCIES, FINE])


@pytest.fixture(scope="module")
def system(directed):
    """Nine regions that differ, coupled by directed weights."""
    drive = 3.0 + np.linspace(-0.5, 0.4, 9)
    coupling = np.linspace(4.0, 6.0, 9)
    network = ng.Network(ng.NextGenEI(i_ext_e=drive), directed, coupling)
    return ng.Driven(network, {"input": np.linspace(0.001, 0.002, 9), "v_i": 0.004})


@pytest.fixture(scope="module")
def response(system):
    return ng.linear_response(system, EVERY)


@pytest.fixture(scope="module")
def whole(system, response):
    """Jacobian (54, 54) and noise (54, 18) of the whole network."""
    matrix = np.asarray(jax.jit(partial(jacobian, system.system.vector_field))(response.state))
    push = np.zeros((6, 9, 18))
    for k in range(9):
        push[[1, 4], k, k] = np.asarray(system.input_noise)[k]
        push[4, k, 9 + k] = 0.004
    return matrix, push.reshape(54, 18)


def test_spectra_and_correlations_of_the_whole_matrix(system, response, whole):
    """The same from the whole network's matrix, without any elimination."""
    matrix, push = whole
    v_e, s_e = slice(9, 18), slice(18, 27)
    for k, f in enumerate(FREQUENCIES):
        gains = np.linalg.solve(2j * np.pi * f * 1e-3 * np.eye(54) - matrix, push)[v_e]
        expected = 2e-3 * (np.abs(gains) ** 2).sum(axis=1)
        np.testing.assert_allclose(response.power[k], expected, rtol=1e-9)
    slow = np.linalg.solve(-matrix, push)
    np.testing.assert_allclose(response.fc, _correlation(slow[v_e] @ slow[v_e].T), atol=1e-10)
    assert response.notation == notation_of(ng.NextGenEI)
    other = ng.linear_response(system, variable="s_e")
    np.testing.assert_allclose(other.fc, _correlation(slow[s_e] @ slow[s_e].T), atol=1e-10)
    assert other.power.shape == (0, 9)
    assert float(jax.jit(growth)(system.bare(), response.state)) == pytest.approx(
        np.linalg.eigvals(matrix).real.max(), rel=1e-9
    )


def _correlation(covariance):
    sd = np.sqrt(np.diag(covariance))
    return covariance / (sd[:, None] * sd)


def test_integral_of_the_spectrum_is_the_variance(response, whole):
    matrix, push = whole
    power = np.asarray(response.power)[FREQUENCIES.size :]
    tail = power[-1] * FINE[-1]  # it falls as the square of the frequency
    variance = solve_continuous_lyapunov(matrix, -push @ push.T).diagonal()[9:18]
    np.testing.assert_allclose(power.sum(axis=0) + tail, variance, rtol=5e-4)


def test_simulations_have_these_spectra(system, response):
    run = ng.simulate(
        system,
        16_000.0,
        dt=0.1,
        scatter=0.0,
        seed=2,
        save_every=0.5,
        variables="v_e",
        progress=False,
    )
    welch = ng.signals.power_spectrum(run.v_e[1000:], 5e-4, segment=0.25)
    found = np.stack([np.interp(FREQUENCIES, welch.frequencies, p) for p in welch.power.T], axis=1)
    ratio = found / np.asarray(response.power)[: FREQUENCIES.size]
    assert ratio[2:].mean() == pytest.approx(1, abs=0.03)
    np.testing.assert_allclose(ratio.mean(axis=1)[2:], 1, atol=0.2)  # below, means are taken out


def test_equilibrium_of_regions_that_differ_much(system):
    drive = np.random.default_rng(1).normal(1.0, 2.0, 9)
    network = system.system.with_parameters(i_ext_e=drive, coupling=np.full(9, 8.0))
    state, error = equilibrium(network)
    assert float(error) < 1e-13
    assert float(jnp.abs(network.vector_field(state)).max()) < 1e-12


@pytest.mark.slow
def test_equilibrium_beside_the_ghost_of_a_fold():
    """Newton's damped steps from the mean region's state are caught; the motion is not."""
    connectome = ng.Connectome.synthetic(12, seed=3).normalised()
    for seed in (12, 23, 36, 57):
        currents = np.random.default_rng(seed).uniform(-6, 7, 12)
        network = ng.Network(ng.NextGenEI(i_ext_e=currents, j_ee=7.0, j_ie=6.8), connectome, 10.0)
        found = ng.linear_response(ng.Driven(network, {"input": 0.001}), variable="s_e")
        assert np.abs(network.vector_field(found.state)).max() < 1e-14
        matrix = np.asarray(jacobian(network.vector_field, found.state))
        assert np.linalg.eigvals(matrix).real.max() < 0


@pytest.mark.slow
def test_equilibrium_of_jansen_rit(directed):
    classical = ng.Network(ng.JansenRit(p=np.linspace(40, 90, 9)), directed, 10.0)
    state, _ = equilibrium(classical)
    assert float(jnp.abs(classical.vector_field(state)).max()) < 1e-7


@pytest.mark.slow
def test_derivatives(system):
    """First and second ones, the motion of the equilibrium included, by central differences."""

    def loss(scale):
        here = system.with_parameters(
            i_ext_e=system.model.i_ext_e + scale, j_ei=13.0 + 2 * scale, coupling=5.0 + scale
        )
        found = ng.linear_response(here, FREQUENCIES[::6], throw=False)
        return jnp.log(found.power).sum() + found.fc.sum() + jnp.log(found.slow_power).sum()

    value, slope, bend = (jax.jit(f) for f in (loss, jax.grad(loss), jax.grad(jax.grad(loss))))
    h = 1e-4
    assert float(slope(0.1)) == pytest.approx(
        float(value(0.1 + h) - value(0.1 - h)) / (2 * h), rel=1e-6
    )
    assert float(bend(0.1)) == pytest.approx(
        float(slope(0.1 + h) - slope(0.1 - h)) / (2 * h), rel=1e-5
    )


def test_eigenvalue_near_a_guess(system, response, whole):
    """Each of the whole matrix's eigenvalues, from a guess near it; and its derivative."""
    every = np.linalg.eigvals(whole[0])
    near = jax.jit(lambda guess: root_at(system.system, response.state, guess))
    for value in every[np.argsort(-every.real)][[0, 2, 10]]:
        found, error = near(value + 2e-4 - 1e-4j)
        assert abs(complex(found) - value) < 1e-9
        assert float(error) < 1e-9


@pytest.mark.slow
def test_derivative_of_an_eigenvalue(system, response, whole):
    every = np.linalg.eigvals(whole[0])

    def leading(scale):
        here = system.with_parameters(i_ext_e=system.model.i_ext_e + scale)
        state, _ = equilibrium(here.system, response.state)
        return root_at(here.system, state, complex(every[np.argmax(every.real)]))[0].real

    h = 1e-4
    difference = float(leading(h) - leading(-h)) / (2 * h)
    assert float(jax.grad(leading)(0.0)) == pytest.approx(difference, rel=1e-6)


def test_small_systems():
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(5, 5, 4, 3)) + 1j * rng.normal(size=(5, 5, 4, 3))
    matrix[0, 0] = 0  # a pivot is needed
    columns = rng.normal(size=(5, 2, 4, 3))
    found = np.asarray(solve_each(jnp.asarray(matrix), jnp.asarray(columns)))
    for k in np.ndindex(4, 3):
        expected = np.linalg.solve(matrix[(..., *k)], columns[(..., *k)])
        np.testing.assert_allclose(found[(..., *k)], expected, rtol=1e-9)


def test_unstable_equilibria_are_said(system, response):
    beyond = system.with_parameters(i_ext_e=np.full(9, 12.0))
    with pytest.raises(ng.SolverError, match="unstable"):
        ng.linear_response(beyond, EVERY)
    found = ng.linear_response(beyond, EVERY, throw=False)
    assert found.status == ng.Status.UNSTABLE
    assert float(found.growth) > 0

    # Sequential under `vmap`.
    def grows(drive):
        at = system.with_parameters(i_ext_e=drive * np.ones(9))
        return ng.linear_response(at, start=response.state, throw=False).growth

    grow = jax.vmap(grows)(jnp.array([3.0, 12.0]))
    assert float(grow[0]) < 0 < float(grow[1])
    assert float(grow[1]) == pytest.approx(float(found.growth), rel=1e-9)


def test_bad_input(system, small):
    network = ng.Network(ng.NextGenEI(i_ext_e=2.0), small, 5.0)
    with pytest.raises(ValueError, match="white noise"):
        ng.linear_response(ng.Driven(network))
    with pytest.raises(ValueError, match="driven network"):
        ng.linear_response(ng.Driven(network.homogeneous(), {"input": 1.0}))
    with pytest.raises(ValueError, match="did you mean 'v_e'"):
        ng.linear_response(system, variable="v_ee")
    with pytest.raises(ValueError, match="shape"):
        ng.linear_response(system, start=np.zeros((6, 3)))
    with pytest.raises(ValueError, match="finite"):
        ng.linear_response(system, [np.nan])
