"""The library's couplings: against their formulas, whole Jacobians and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ngnmm_jax as ng
from ngnmm_jax.coupling import (
    DiffusiveCoupling,
    KuramotoCoupling,
    LinearCoupling,
    PairwiseCoupling,
    SigmoidAfterSum,
    SigmoidBeforeSum,
)
from ngnmm_jax.graphs import DenseGraph

WEIGHTS = np.array([[0, 1.0, 3.0, 0], [2.0, 0.5, 2.0, 1], [1.0, 0.5, 0, 2], [0, 0, 1, 0]])
NORMAL = WEIGHTS / WEIGHTS.sum(axis=1, keepdims=True)
MODEL = ng.NextGenEI(i_ext_e=9.0)
GRAPH = DenseGraph(NORMAL)
OUTPUTS = np.array([0.02, 0.05, 0.11, 0.4])


def gap(sending, receiving):
    """A junction that rectifies."""
    return jnp.tanh(3.0 * (sending - receiving)) + 0.5 * sending * receiving


COUPLINGS = {
    "linear": LinearCoupling(GRAPH, 5.0),
    "uneven": LinearCoupling(DenseGraph(WEIGHTS), np.array([1.0, 2.0, 3.0, 4.0])),
    "diffusive": DiffusiveCoupling(DenseGraph(WEIGHTS), 5.0),
    "sigmoid after": SigmoidAfterSum(GRAPH, 2.0, 20.0, 0.05),
    "sigmoid before": SigmoidBeforeSum(GRAPH, 2.0, 20.0, 0.05),
    "phases": KuramotoCoupling(GRAPH, 3.0, 0.2),
    "pairwise": PairwiseCoupling(GRAPH, 3.0, gap),
}
#: What each is by its formula, region by region.
FORMULAS = {
    "linear": lambda x: 5.0 * NORMAL @ x,
    "uneven": lambda x: np.array([1.0, 2.0, 3.0, 4.0]) * (WEIGHTS @ x),
    "diffusive": lambda x: 5.0 * (WEIGHTS * (x[None] - x[:, None])).sum(axis=1),
    "sigmoid after": lambda x: 2.0 / (1 + np.exp(-20.0 * (NORMAL @ x - 0.05))),
    "sigmoid before": lambda x: 2.0 * NORMAL @ (1 / (1 + np.exp(-20.0 * (x - 0.05)))),
    "phases": lambda x: 3.0 * (NORMAL * np.sin(x[None] - x[:, None] - 0.2)).sum(axis=1),
    "pairwise": lambda x: 3.0 * (NORMAL * np.asarray(gap(x[None], x[:, None]))).sum(axis=1),
}
EVEN = [name for name in COUPLINGS if name != "uneven"]


@pytest.mark.parametrize("name", COUPLINGS)
def test_what_regions_receive(name):
    """By the formula; and runs on the last axis, one by one."""
    coupling = COUPLINGS[name]
    many = np.stack([OUTPUTS, OUTPUTS[::-1], 2 * OUTPUTS], axis=-1)
    expected = np.stack([FORMULAS[name](x) for x in many.T], axis=-1)
    np.testing.assert_allclose(coupling.inputs(jnp.asarray(OUTPUTS)), expected[:, 0], rtol=1e-12)
    found = coupling.over_runs().inputs(jnp.asarray(many))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", EVEN)
def test_modes_are_those_of_the_whole_jacobian(name):
    """Equilibria with all regions alike: each eigenvalue of the network belongs to a mode."""
    network = ng.Network(MODEL, coupling=COUPLINGS[name])
    rest = ng.find_equilibria(network.homogeneous())
    state = rest.states[0]
    whole = jnp.broadcast_to(state[:, None], network.state_shape)
    assert float(jnp.abs(network.vector_field(whole)).max()) < 1e-12
    flat = jax.jacfwd(lambda x: network.vector_field(x.reshape(whole.shape)).ravel())
    expected = np.linalg.eigvals(flat(whole.ravel()))
    found = np.asarray(ng.dispersion(network, state).eigenvalues).ravel()
    assert found.shape == expected.shape
    gaps = np.abs(found[:, None] - expected)
    assert gaps.min(axis=0).max() < 1e-9 * np.abs(expected).max()
    assert gaps.min(axis=1).max() < 1e-9 * np.abs(expected).max()


@pytest.mark.parametrize("coupling", COUPLINGS.values(), ids=COUPLINGS)
def test_the_linearisation_is_the_derivative(coupling):
    outputs = jnp.asarray(OUTPUTS)
    expected = jax.jacfwd(coupling.inputs)(outputs)
    for terms in (
        coupling.linearised(outputs),
        ng.coupling.AbstractCoupling.linearised(coupling, outputs),
    ):
        found = sum(term.matrix()[0, 0] for term in terms)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_diffusive_coupling_is_linear_over_differences():
    coupling, outputs = COUPLINGS["diffusive"], jnp.asarray(OUTPUTS)
    found = 5.0 * coupling.linear().apply(outputs)
    np.testing.assert_allclose(found, coupling.inputs(outputs), rtol=1e-13)
    np.testing.assert_array_equal(coupling.linear().row_sums(), 0.0)
    network = ng.Network(MODEL, coupling=coupling)
    values, uniform = network.spectrum()
    assert values[uniform] == 0.0
    assert float(network.homogeneous().coupling) == 0.0
    assert network.has_flow()
