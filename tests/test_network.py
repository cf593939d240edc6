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


class Gained(ng.Network):
    """A user's network, with a field of its own."""

    gain: float

    def __init__(self, model, connectome, coupling=0.0, gain=1.0):
        super().__init__(model, connectome, coupling)
        self.gain = gain


def test_with_parameters_keeps_all_else():
    shared = jnp.asarray(7.0)
    model = ng.NextGenEI(tau_e=shared, tau_i=shared)
    network = Gained(model, np.array([[0, 1.0], [1, 0]]), shared, gain=5.0)
    network = eqx.tree_at(lambda n: n.weights, network, 2 * network.weights)
    changed = network.with_parameters(tau_e=3.0, coupling=4)
    assert type(changed) is Gained
    assert changed.gain == 5.0
    np.testing.assert_array_equal(changed.weights, [[0, 2.0], [2, 0]])
    assert [float(v) for v in (changed.model.tau_e, changed.model.tau_i)] == [3.0, 7.0]
    assert changed.connectome is network.connectome
    single = jax.tree.map(lambda x: x.astype(jnp.float32) if eqx.is_array(x) else x, network)
    changed = single.with_parameters(tau_e=np.float64(3), i_ext_e=[1.0, 2.0], coupling=1)
    assert {leaf.dtype for leaf in jax.tree.leaves(changed) if eqx.is_array(leaf)} == {
        jnp.dtype("float32")
    }
    for values, words in (
        ({"tau_e": -1.0}, "`tau_e` must be positive"),
        ({"tau_e": np.nan}, "`tau_e` must be finite"),
        ({"i_ext_e": np.ones(3)}, "each of the 2 regions"),
        ({"coupling": np.ones(3)}, "`coupling` must have shape"),
    ):
        with pytest.raises(ValueError, match=words):
            network.with_parameters(**values)


class Pushed(ng.Network):
    """Something is added to the vector field."""

    def vector_field(self, state, stimulus=None):
        return super().vector_field(state, stimulus).at[1].add(0.125)


class Diffusive(ng.Network):
    """Regions receive differences: nothing where all do the same."""

    def drive(self, output):
        sums = self.weights.sum(axis=1).reshape(-1, *(1,) * (output.ndim - 1))
        return super().drive(output) - self.coupling * sums * output


class Bounded(ng.Network):
    def drive(self, output):
        return jnp.tanh(super().drive(output))


class Told(Diffusive):
    def homogeneous(self):
        return ng.Homogeneous(self.model, 0.0)


def test_what_is_known_of_linear_coupling_only_is_refused_to_other_classes():
    weights = np.array([[0, 1.0], [1, 0]])
    made = {kind: kind(ng.NextGenEI(), weights, 5.0) for kind in (Pushed, Diffusive, Bounded, Told)}
    for kind in (Pushed, Diffusive, Bounded):
        with pytest.raises(ValueError, match=f"`{kind.__name__}` has a .*define `homogeneous`"):
            made[kind].homogeneous()
        with pytest.raises(ValueError, match=f"`{kind.__name__}` has a "):
            ng.linear_response(ng.Driven(made[kind], {"v_e": 0.1}))
    with pytest.raises(ValueError, match="`Diffusive` has a `drive`"):
        jax.jit(lambda c: made[Diffusive].with_parameters(coupling=c).homogeneous())(3.0)
    assert float(made[Told].homogeneous().coupling) == 0.0
    for kind in (Pushed, Bounded):
        with pytest.raises(ValueError, match=f'`{kind.__name__}` has a .*"moebius"'):
            made[kind].exact_flow(jnp.asarray(0.1))
    y0 = np.tile([[0.05], [-1.0], [0.05], [0.05], [-1.0], [0.05]], 2) * [1.0, 1.5]
    runs = [
        ng.simulate_batch(
            made[Diffusive], None, 5.0, dt=0.025, start=y0, integrator=solver
        ).final_state
        for solver in ("moebius", "rk4")
    ]
    np.testing.assert_allclose(*runs, rtol=1e-6)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([[0, np.nan], [1, 0]], "`weights` must be finite"),
        ([[0, -1.0], [1, 0]], "`weights` must not be negative"),
        ([[0, 1j], [1, 0]], "`weights` must be an array of numbers"),
        ([[0, 1, 2], [1, 0, 2]], "`weights` must be a square matrix"),
        (np.zeros((0, 0)), "at least one region"),
        (np.ones(2), "`weights` must be a square matrix"),
    ],
)
@pytest.mark.parametrize("made", [np.asarray, jnp.asarray, lambda w: w])
def test_weights_are_checked_whatever_array_they_are(made, weights, words):
    with pytest.raises(ValueError, match=words):
        ng.Network(ng.NextGenEI(), made(weights))


def test_weights_of_other_types():
    for weights in (jnp.ones((2, 2), int), jnp.ones((2, 2), bool), [[1, 1], [1, 1]]):
        network = ng.Network(ng.NextGenEI(), weights)
        np.testing.assert_array_equal(network.weights, np.ones((2, 2)))
        assert network.weights.dtype == jnp.float64
    assert ng.Network(ng.NextGenEI(), jnp.ones((1, 1), jnp.float32)).weights.dtype == jnp.float32
    traced = jax.jit(lambda w: ng.Network(ng.NextGenEI(), w).weights.sum())
    assert float(traced(-jnp.ones((2, 2)))) == -4.0  # not known: not checked
    masked = np.ma.array(np.ones((2, 2)), mask=np.eye(2))
    for wrong, words in ((masked, "masked"), (np.array([["1", "2"], ["3", "4"]]), "of numbers")):
        with pytest.raises(ValueError, match=f"`weights` must .*{words}"):
            ng.Connectome(wrong)


def test_a_homogeneous_system_is_checked():
    with pytest.raises(ValueError, match="`coupling` must be finite"):
        ng.Homogeneous(ng.NextGenEI(), np.nan)
    assert ng.Homogeneous(ng.NextGenEI(), 1).coupling.dtype == jnp.float64


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
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
