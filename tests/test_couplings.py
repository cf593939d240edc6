"""The library's couplings: against their formulas, whole Jacobians and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ngnmm_jax as ng
from ngnmm_jax.coupling import DiffusiveCoupling, LinearCoupling
from ngnmm_jax.graphs import DenseGraph

WEIGHTS = np.array([[0, 1.0, 3.0, 0], [2.0, 0.5, 2.0, 1], [1.0, 0.5, 0, 2], [0, 0, 1, 0]])
NORMAL = WEIGHTS / WEIGHTS.sum(axis=1, keepdims=True)
MODEL = ng.NextGenEI(i_ext_e=9.0)
GRAPH = DenseGraph(NORMAL)
OUTPUTS = np.array([0.02, 0.05, 0.11, 0.4])

COUPLINGS = {
    "linear": LinearCoupling(GRAPH, 5.0),
    "uneven": LinearCoupling(DenseGraph(WEIGHTS), np.array([1.0, 2.0, 3.0, 4.0])),
    "diffusive": DiffusiveCoupling(DenseGraph(WEIGHTS), 5.0),
}


@pytest.mark.parametrize("coupling", COUPLINGS.values(), ids=COUPLINGS)
def test_the_linearisation_is_the_derivative(coupling):
    outputs = jnp.asarray(OUTPUTS)
    expected = jax.jacfwd(coupling.inputs)(outputs)
    terms = coupling.linearised(outputs)
    found = sum(term.matrix()[0, 0] for term in terms)
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-15)


def test_diffusive_coupling_passes_differences():
    difference = OUTPUTS[None, :] - OUTPUTS[:, None]
    expected = 5.0 * (WEIGHTS * difference).sum(axis=1)
    coupling = COUPLINGS["diffusive"]
    np.testing.assert_allclose(coupling.inputs(jnp.asarray(OUTPUTS)), expected, rtol=1e-13)
    np.testing.assert_allclose(
        5.0 * coupling.linear().apply(jnp.asarray(OUTPUTS)), expected, rtol=1e-13
    )
    np.testing.assert_array_equal(coupling.linear().row_sums(), 0.0)
