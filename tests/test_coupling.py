"""Graphs and couplings of one's own, and what goes through them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ngnmm_jax as ng
from ngnmm_jax._core.definition import definition
from ngnmm_jax._core.parameters import leaf, parameter_names, scalar_names, with_leaves
from ngnmm_jax.coupling import AbstractCoupling, LinearCoupling
from ngnmm_jax.fitting.simulated import simulated
from ngnmm_jax.graphs import AbstractGraph, DenseGraph
from ngnmm_jax.integrators import RK4, Moebius
from ngnmm_jax.integrators.choice import chosen
from ngnmm_jax.models import parameter
from ngnmm_jax.simulation.precision import cast
from ngnmm_jax.stability.dispersion import linearise
from ngnmm_jax.stability.network_equilibrium import between
from ngnmm_jax.systems.network import averaged_over
from tests.scalar_models import OneVariable

WEIGHTS = np.array([[0, 1.0, 3.0], [2.0, 0, 2.0], [1.0, 0.5, 0]])
NORMAL = WEIGHTS / WEIGHTS.sum(axis=1, keepdims=True)
MODEL = ng.NextGenEI(i_ext_e=9.0)


class Shared(AbstractGraph):
    """Rows that sum to one, by `apply` alone."""

    base: AbstractGraph

    @property
    def n_regions(self):
        return self.base.n_regions

    def apply(self, values):
        return (self.base.apply(values).T / self.base.row_sums()).T


class Differences(Shared):
    """Minus the Laplacian."""

    def apply(self, values):
        return self.base.apply(values) - (self.base.row_sums() * values.T).T


class Shifted(Shared):
    by: float = eqx.field(static=True, default=0.0)

    def spectrum(self):
        values, uniform = super().spectrum()
        return values + self.by, uniform


class Own(AbstractCoupling):
    graph: AbstractGraph
    strength: jax.Array = parameter(0.0, unit="1", doc="")


class Diffusive(Own):
    def linear(self):
        return Differences(self.graph)

    def inputs(self, outputs):
        return self.strength * self.linear().apply(outputs)


class Counted(Diffusive):
    strength: int = 5


class Mistaken(Diffusive):
    def inputs(self, outputs):
        return self.strength * self.graph.apply(outputs)


class Saturating(Own):
    ceiling: jax.Array = parameter(0.5, unit="1", doc="")

    def inputs(self, outputs):
        return self.ceiling * jnp.tanh(self.strength * self.graph.apply(outputs) / self.ceiling)


class Line(OneVariable):
    """x' = 0.03 - x + the input: of few programs' lines."""

    rate: jax.Array = parameter(1.0, unit="1/ms", doc="of decay")

    def vector_field(self, state, drive):
        return (0.03 + drive - self.rate * state[0])[None]


@pytest.fixture(scope="module")
def plain():
    return ng.Network(MODEL, ng.Connectome(NORMAL), 5.0)


@pytest.fixture(scope="module")
def shared():
    return ng.Network(MODEL, Shared(DenseGraph(ng.Connectome(WEIGHTS, labels=list("abc")))), 5.0)


RANGE = {"coupling": np.array([4.0, 6.0])}
START = np.tile([[0.05], [-1.0], [0.05], [0.05], [-1.0], [0.05]], 3) * [1.0, 1.5, 2.0]
SHORT = {"count": 1, "duration": 2.0, "transient": 1.0, "start": np.array([[0.1, 0.2, 0.3]])}
ANALYSES = {
    "batch": lambda n: ng.simulate_batch(n, RANGE, 5.0, dt=0.05).states,
    "exponent": lambda n: ng.lyapunov_spectrum(ng.Network(Line(), n.graph, 0.5), **SHORT).exponents,
    "modes": lambda n: ng.dispersion(n, ng.find_equilibria(n.homogeneous()).states[0]).growth,
    "sweep": lambda n: ng.sweep(n, RANGE, ng.Stability(places=1)).growth_transverse.values,
    "response": lambda n: between(n, jnp.asarray(START)),
}


@pytest.mark.parametrize("work", ANALYSES.values(), ids=ANALYSES)
def test_a_graph_by_what_it_does(plain, shared, work):
    np.testing.assert_allclose(work(shared), work(plain), rtol=1e-6, atol=1e-9)


def test_what_a_network_says_of_its_coupling(plain, shared, tmp_path):
    np.testing.assert_allclose(shared.weights, NORMAL, rtol=1e-15)
    assert shared.labels == ("region 0", "region 1", "region 2")
    assert shared.bare().interaction.graph.base.connectome is None
    hash(jax.tree.structure(shared.bare()))
    same = ng.Network(MODEL, coupling=LinearCoupling(plain.interaction.graph, 5))
    assert jax.tree.structure(same) == jax.tree.structure(plain)
    assert same.connectome is plain.connectome
    with pytest.raises(ValueError, match="`connectome` must be left out"):
        ng.Network(MODEL, NORMAL, LinearCoupling(DenseGraph(NORMAL), 1.0))
    with pytest.raises(ValueError, match="`coupling` must have shape"):
        ng.Network(MODEL, coupling=LinearCoupling(DenseGraph(NORMAL), np.ones(2)))
    with pytest.raises(ValueError, match="strength` must be an array of floats"):
        Counted(plain.graph, 5)
    ng.save(tmp_path / "n.npz", shared)
    back = ng.load(tmp_path / "n.npz", classes=[Shared])
    np.testing.assert_array_equal(back.weights, shared.weights)
    assert back.interaction.graph.base.connectome == shared.interaction.graph.base.connectome


def test_diffusive_coupling_has_the_modes_of_the_laplacian(plain):
    network = ng.Network(MODEL, coupling=Diffusive(plain.graph, 5.0))
    values, uniform = network.spectrum()
    np.testing.assert_allclose(values, plain.spectrum()[0] - 1, atol=1e-12)
    assert uniform == 0
    inner = network.homogeneous()
    assert abs(float(inner.coupling)) < 1e-14
    state = ng.find_equilibria(inner).states[0]
    matrix, column, row = linearise(inner, state)
    expected = [np.linalg.eigvals(matrix + 5.0 * v * np.outer(column, row)) for v in values]
    found = ng.dispersion(network, state).growth
    np.testing.assert_allclose(found, np.real(expected).max(axis=1), rtol=1e-9)


def test_what_is_not_linear_is_refused_where_that_is_needed(plain):
    bounded = ng.Network(MODEL, coupling=Saturating(plain.graph, 5.0, np.array([0.1, 0.2, 0.3])))
    mistaken = ng.Network(MODEL, coupling=Mistaken(plain.graph, 5.0))
    for network, words in (
        (bounded, "`Saturating` has `inputs` that are not linear"),
        (mistaken, r"`Mistaken` has `inputs` .* not those of its `linear`"),
    ):
        with pytest.raises(ValueError, match=words):
            network.homogeneous()
    with pytest.raises(ValueError, match=words):
        ng.linear_response(ng.Driven(mistaken, {"v_e": 0.1}))
    with pytest.raises(ValueError, match=r'`Saturating` has .*"moebius"'):
        bounded.exact_flow(jnp.asarray(0.1))
    # Its own values per region broadcast over runs, beside strengths of each run.
    strengths, states = RANGE["coupling"], jnp.stack([START, 2 * START], axis=-1)
    together = with_leaves(bounded.over_runs(), {"coupling": strengths}).vector_field(states)
    for k, strength in enumerate(strengths):
        alone = bounded.with_parameters(coupling=strength).vector_field(states[..., k])
        np.testing.assert_allclose(together[..., k], alone, rtol=1e-13)


class Mixed(Own):
    """Runs are mixed."""

    def inputs(self, outputs):
        return self.strength * self.graph.apply(outputs) / (1 + outputs.mean())


class Total(Own):
    def inputs(self, outputs):
        return self.strength * outputs.sum()


class Worded(Own):
    kind: str = "min"

    def inputs(self, outputs):
        return self.strength * self.graph.apply(outputs)


class Centred(Shared):
    def apply(self, values):
        return self.base.apply(values - values.mean())


class Claimed(Shared):
    def row_sums(self, dtype=None):
        return 2 * super().row_sums(dtype)


class Bent(Shared):
    def apply(self, values):
        return self.base.apply(values) ** 2


class Columns(Shared):
    """Of one run only."""

    def apply(self, values):
        return self.base.apply(values) / self.base.row_sums()


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda graph: Mixed(graph, 5.0), "`Mixed.inputs` must keep runs apart"),
        (lambda graph: Total(graph, 5.0), r"`Total.inputs` must return an array \(3,\)"),
        (lambda graph: Worded(graph, 5.0), "`Worded` must hold numbers.*'min'"),
        (lambda graph: LinearCoupling(Centred(graph), 5.0), "`Centred.apply` must keep runs"),
        (lambda graph: LinearCoupling(Claimed(graph), 5.0), "`Claimed.row_sums` must be that of"),
        (lambda graph: LinearCoupling(Bent(graph), 5.0), "`Bent.apply` must be linear"),
        (lambda graph: LinearCoupling(Columns(graph), 5.0), r"`Columns.apply` .* \(3, 2\)"),
        (lambda graph: Total(ng.Connectome(NORMAL), 5.0), "graph` must be a graph"),
        (lambda graph: Total(DenseGraph, 5.0), "graph` must be .* class `DenseGraph`"),
    ],
)
def test_what_couplings_and_graphs_must_keep_to(plain, made, words):
    with pytest.raises(ValueError, match=words):
        ng.Network(MODEL, coupling=made(plain.graph))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "`connectome` must be .* it is not given"),
        ((DenseGraph,), "`connectome` must be .* the class `DenseGraph`"),
    ],
)
def test_a_network_needs_a_connectome(arguments, words):
    with pytest.raises(ValueError, match=words):
        ng.Network(MODEL, *arguments)
    with pytest.raises(AttributeError, match="A homogeneous system has no weights"):
        ng.Driven(ng.Homogeneous(MODEL, 1.0)).weights  # noqa: B018


def test_what_a_coupling_declares_is_a_parameter(plain):
    network = ng.Network(MODEL, coupling=Saturating(plain.graph, 5.0, 0.1))
    driven = ng.Driven(network, {"v_e": 0.1})
    assert parameter_names(driven)[-3:] == ("ceiling", "coupling", "v_e_noise")
    assert float(leaf(driven.with_parameters(ceiling=0.3, v_e_noise=0.2), "ceiling")) == 0.3
    free = ng.Free(network, {"ceiling": ng.fitting.positive()})
    assert float(free.put(free.of(network)).interaction.ceiling) == pytest.approx(0.1)
    ceilings = np.array([[0.05, 0.05, 0.05], [0.1, 0.2, 0.3]])
    for values in (ceilings, ceilings[:, 0]):
        options = {"dt": 0.5, "start": START, "variables": ("v_e",)}
        batch = ng.simulate_batch(network, {"ceiling": values}, 1.0, **options)
        for k, value in enumerate(values):
            alone = ng.simulate(network.with_parameters(ceiling=value), 1.0, **options)
            np.testing.assert_allclose(batch.states[k, -1], alone.states[-1], rtol=1e-12)
    for made, words in (
        (lambda: network.with_parameters(ceiling=np.ones(2)), "`ceiling` must have shape"),
        (lambda: network.with_parameters(ceiling=np.nan), "`ceiling` must be finite"),
        (lambda: ng.Network(called("ceiling")(), coupling=network.interaction), "its own"),
    ):
        with pytest.raises(ValueError, match=words):
            made()


def test_what_is_shown(plain):
    own = ng.Network(MODEL, coupling=Saturating(Shared(plain.graph), 5.0, 0.1))
    text = repr(ng.Driven(own))
    assert "Saturating, strength 5, ceiling 0.1" in text
    assert "Shared: 3 regions" in text
    for part in (plain.graph, plain.interaction, own.interaction, own.graph, own):
        assert len(repr(part).splitlines()) < 6, part
        assert type(part).__name__ in repr(part)
    assert "Saturating" not in repr(plain)


class Part(Own):
    """With a number that is no parameter."""

    share: float = 0.5

    def inputs(self, outputs):
        return self.strength * self.share * self.graph.apply(outputs)


class Numbered(ng.JansenRit):
    share: float = 0.5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_plain_numbers_in_either_precision(plain, dtype):
    network = ng.Network(Numbered(), coupling=Part(plain.graph, 5.0))
    same = cast(ng.Driven(network, {"y0": 0.1}), dtype)
    assert {leaf.dtype for leaf in jax.tree.leaves(same)} == {jnp.dtype(dtype)}
    assert ng.simulate(network, 0.001, dt=0.001, start=np.zeros(6), dtype=dtype).ok


class Capped(Saturating):
    def inputs(self, outputs):
        return jnp.minimum(self.strength * self.graph.apply(outputs), self.ceiling)


class Rectified(ng.Network):
    def drive(self, output):
        return jnp.maximum(super().drive(output), 0.0)


@pytest.mark.parametrize("kind", [Saturating, Capped, Rectified, Diffusive])
def test_the_exact_flow_is_for_what_is_linear(plain, kind):
    """Whatever the sizes at which a coupling bends."""
    if kind is Rectified:
        network = Rectified(MODEL, plain.graph, 5.0)
    else:
        network = ng.Network(MODEL, coupling=kind(plain.graph, 5.0))
    linear = kind is Diffusive
    assert network.has_flow() == ng.Driven(network).has_flow() == linear
    assert isinstance(chosen(network, lockstep=True), Moebius if linear else RK4)
    if not linear:
        with pytest.raises(ValueError, match='"moebius" is not known: use "rk4"'):
            ng.simulate_batch(network, None, 1.0, start=START, integrator="moebius")


def test_averages_of_one_and_of_many(shared):
    model = ng.NextGenEI(i_ext_e=[1.0, 2.0, 6.0])
    network = ng.Network(model, shared.graph.base, [1.0, 2.0, 3.0])
    for core in (network, shared):
        many, one = averaged_over(core, {"eta_e": np.array([-5.0, -4.0])}), core.averaged()
        np.testing.assert_allclose(many.coupling, one.coupling, rtol=1e-15)
        np.testing.assert_allclose(many.model.i_ext_e, one.model.i_ext_e, rtol=1e-15)
        np.testing.assert_array_equal(many.model.eta_e, [-5.0, -4.0])


def test_one_home_for_where_runs_start(plain):
    """A network of its own coupling: at its own rest, one by one, in batches, traced, in fits."""
    network = ng.Network(Line(), coupling=Saturating(plain.graph, 5.0, 0.1))
    start = ng.initial_state(network, scatter=0.0)
    assert float(jnp.abs(network.vector_field(start)).max()) < 1e-12
    traced = jax.jit(lambda n: ng.initial_state(n, scatter=0.01, seed=3))(network)
    np.testing.assert_allclose(traced, ng.initial_state(network, scatter=0.01, seed=3), rtol=1e-9)
    batch = ng.simulate_batch(network, RANGE, 0.1, dt=0.1, scatter=0.0)
    for k, strength in enumerate(RANGE["coupling"]):
        alone = network.with_parameters(coupling=strength)
        np.testing.assert_allclose(
            batch.states[k, 0], ng.initial_state(alone, scatter=0.0), rtol=1e-12
        )
    fitted = simulated(network, jax.random.key(0), 1.0, scatter=0.0, dt=0.1)
    np.testing.assert_allclose(fitted[0, 0], start[0], rtol=1e-9)


def test_another_coupling_is_another_definition(plain):
    def known(coupling):
        return definition("work", ng.Network(MODEL, coupling=coupling))

    first = known(Saturating(plain.graph, 5.0, 0.5))
    assert first == known(Saturating(DenseGraph(NORMAL), 5.0, 0.5))
    assert {"coupling", "weights", "interaction"} <= first.keys()
    for other in (Saturating(plain.graph, 5.0, 0.6), Diffusive(plain.graph, 5.0)):
        assert known(other) != first
    # What static fields of parts of it say, and what a spectrum of one's own is.
    shifted = [ng.Network(MODEL, Shifted(Shared(plain.graph), by), 5.0) for by in (0.0, 0.5)]
    choices = [definition("work", ng.Driven(n))["choices"]["interaction.graph.by"] for n in shifted]
    assert choices == [0.0, 0.5]
    modes = [ng.Stability().definition(n)["modes"] for n in (plain, shifted[0], *shifted)]
    assert modes[1] == modes[2] != modes[3]
    assert modes[0] == 3
    diffusive, mistaken = known(Diffusive(plain.graph, 5.0)), known(Mistaken(plain.graph, 5.0))
    assert diffusive["equations"] != mistaken["equations"]


# ---------------------------------------------------- names of parameters

SHADOWED = ("weights", "labels", "system", "noise", "model", "interaction", "graph", "stimulus")
SHADOWED += ("bare", "key", "connectome", "state_shape", "averaged", "below_zero", "region", "seed")


def called(*names):
    """A model with parameters of these names."""
    fields = {name: parameter(2.0, unit="1", doc="") for name in names}
    body = {"__annotations__": dict.fromkeys(names, jax.Array), **fields}
    return type("Called", (ng.JansenRit,), body)


def test_parameters_may_be_called_as_something_of_the_system():
    network = ng.Network(called(*SHADOWED)(), NORMAL, 1.0)
    driven = ng.Driven(network, {"y0": 0.1})
    for system in (network, network.homogeneous(), driven.bare()):
        assert set(SHADOWED) < set(parameter_names(system))
        for k, name in enumerate(SHADOWED):
            assert float(leaf(system, name)) == 2.0
            changed = with_leaves(system, {name: jnp.asarray(float(k))})
            assert float(getattr(changed.model, name)) == k
        changed = system.with_parameters(**dict.fromkeys(SHADOWED, 3.0))
        assert {float(getattr(changed.model, name)) for name in SHADOWED} == {3.0}
        free = ng.Free(system, dict.fromkeys(SHADOWED, ng.fitting.real()))
        assert free.size == len(SHADOWED)
        assert set(SHADOWED) < set(scalar_names(system))
    ng.Design.grid({name: [1.0, 2.0] for name in SHADOWED}).check(driven, ())
    assert definition("work", network)["parameters"]["bare"] == 2.0
    assert parameter_names(driven)[-2:] == ("coupling", "y0_noise")


@pytest.mark.parametrize(
    "name", ["coupling", "input_noise", "scatter", "time_step", "n_regions", "output"]
)
def test_what_no_parameter_may_be_called(name):
    with pytest.raises(ValueError, match=f"{name}` must have a name of its own"):
        called(name)()


def test_no_variable_is_called_as_the_input():
    kind = type("Called", (ng.JansenRit,), {"variables": ("input", *ng.JansenRit.variables[1:])})
    with pytest.raises(ValueError, match="variables` must be called otherwise"):
        kind()


def test_a_network_and_its_model_do_not_share_a_name():
    class Gained(ng.Network):
        gain: float = 1.0

    ng.Network(called("gain")(), NORMAL)
    with pytest.raises(ValueError, match="gain` must have a name of its own"):
        Gained(called("gain")(), NORMAL)
