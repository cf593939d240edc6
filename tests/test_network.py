"""The network and its homogeneous reduction."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ngnmm_jax as ng

RNG = np.random.default_rng(2)


def test_vector_field_by_hand(directed):
    network = ng.Network(ng.NextGenEI(i_ext_e=13.0), directed, 5.0)
    state = RNG.normal(size=(6, 9))
    drive = 5.0 * directed.weights @ state[2]
    expected = network.model.vector_field(jnp.array(state), jnp.array(drive))
    np.testing.assert_allclose(network.vector_field(jnp.array(state)), expected, rtol=1e-13)


def test_a_batch_lies_along_the_last_axis(directed):
    network = ng.Network(ng.NextGenEI(i_ext_e=13.0), directed, 5.0)
    states = jnp.array(RNG.normal(size=(6, 9, 4)))
    together = network.vector_field(states)
    for k in range(4):
        np.testing.assert_allclose(
            together[..., k], network.vector_field(states[..., k]), rtol=1e-12
        )


@pytest.mark.parametrize("model", [ng.NextGenEI(i_ext_e=9.0), ng.JansenRit(p=200.0)])
@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_homogeneous_states_are_invariant(directed, model, scale):
    """Rows of equal sum, not only of sum one."""
    connectome = ng.Connectome(directed.weights * scale)
    network = ng.Network(model, connectome, 7.0)
    state = jnp.array(RNG.uniform(0.1, 0.5, size=6))
    inner = network.homogeneous().vector_field(state)
    outer = network.vector_field(jnp.tile(state[:, None], (1, 9)))
    np.testing.assert_allclose(outer, np.tile(inner[:, None], (1, 9)), rtol=1e-12, atol=1e-12)


def test_pytree_habits(small):
    network = ng.Network(ng.NextGenEI(), small, 5.0)
    state = jnp.array(RNG.uniform(0.1, 0.3, size=(6, 12)))

    def v(coupling, i_ext_e):
        return ng.Network(ng.NextGenEI(i_ext_e=i_ext_e), small, coupling).vector_field(state)

    couplings, currents = jnp.arange(3.0), jnp.arange(3.0) + 1
    batch = jax.vmap(v)(couplings, currents)
    for k in range(3):
        np.testing.assert_allclose(batch[k], v(couplings[k], currents[k]), rtol=1e-13)

    moved = eqx.tree_at(lambda n: n.model.i_ext_e, network, jnp.array(9.0))
    np.testing.assert_allclose(moved.vector_field(state), v(5.0, 9.0), rtol=1e-13)

    gradient = jax.grad(lambda n: (n.vector_field(state) ** 2).sum())(network)
    assert gradient.weights.shape == (12, 12)
    assert float(gradient.coupling) != 0
    compiled = eqx.filter_jit(lambda n: n.vector_field(state))
    np.testing.assert_allclose(compiled(network), network.vector_field(state), rtol=1e-12)


def test_labels_do_not_recompile(small):
    traces = []

    @eqx.filter_jit
    def f(network):
        traces.append(None)
        return network.weights.sum()

    other = ng.Connectome(small.weights, labels=[f"other {k}" for k in range(12)])
    f(ng.Network(ng.NextGenEI(), small, 1.0).bare())
    f(ng.Network(ng.NextGenEI(i_ext_e=3.0), other, 2.0).bare())
    assert len(traces) == 1


def test_with_parameters(small):
    network = ng.Network(ng.NextGenEI(), small, 5.0).with_parameters(i_ext_e=3.0, coupling=7.0)
    assert float(network.model.i_ext_e) == 3.0
    assert float(network.coupling) == 7.0
    assert network.labels == small.labels
    with pytest.raises(ValueError, match="did you mean 'i_ext_"):
        network.with_parameters(i_ext=3.0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((ng.NextGenEI(), np.ones((2, 3))), "`weights` must be a square matrix"),
        ((ng.NextGenEI(), None, np.nan), "`coupling` must be finite"),
        ((ng.NextGenEI(), None, np.ones(5)), "`coupling` must have shape"),
        ((ng.NextGenEI(i_ext_e=np.ones(5)),), "one value for each of the 12 regions"),
    ],
)
def test_what_is_refused(small, arguments, words):
    model, connectome, coupling = (*arguments, None, None, None)[:3]
    with pytest.raises(ValueError, match=words):
        ng.Network(
            model,
            small if connectome is None else connectome,
            1.0 if coupling is None else coupling,
        )
