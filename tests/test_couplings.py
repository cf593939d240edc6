"""The library's couplings: against their formulas, whole Jacobians and finite differences."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ngnmm_jax as ng
from ngnmm_jax._core.definition import definition
from ngnmm_jax._core.parameters import parameter_names
from ngnmm_jax.coupling import (
    AbstractPairwise,
    AbstractSum,
    CouplingSum,
    DiffusiveCoupling,
    KuramotoCoupling,
    LinearCoupling,
    PairwiseCoupling,
    Routed,
    SigmoidAfterSum,
    SigmoidBeforeSum,
)
from ngnmm_jax.graphs import AbstractGraph, DenseGraph, IdentityGraph
from ngnmm_jax.models import parameter

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
    "diffusive": DiffusiveCoupling(DenseGraph(WEIGHTS), 4.0),
    "sigmoid after": SigmoidAfterSum(GRAPH, 2.0, 20.0, 0.05),
    "sigmoid before": SigmoidBeforeSum(GRAPH, 2.0, 20.0, 0.05),
    "phases": KuramotoCoupling(GRAPH, 3.0, 0.2),
    "pairwise": PairwiseCoupling(GRAPH, 3.0, gap),
}
#: What each is by its formula, region by region.
FORMULAS = {
    "linear": lambda x: 5.0 * NORMAL @ x,
    "uneven": lambda x: np.array([1.0, 2.0, 3.0, 4.0]) * (WEIGHTS @ x),
    "diffusive": lambda x: 4.0 * (WEIGHTS * (x[None] - x[:, None])).sum(axis=1),
    "sigmoid after": lambda x: 2.0 / (1 + np.exp(-20.0 * (NORMAL @ x - 0.05))),
    "sigmoid before": lambda x: 2.0 * NORMAL @ (1 / (1 + np.exp(-20.0 * (x - 0.05)))),
    "phases": lambda x: 3.0 * (NORMAL * np.sin(x[None] - x[:, None] - 0.2)).sum(axis=1),
    "pairwise": lambda x: (
        3.0
        * (NORMAL * (np.tanh(3.0 * (x[None] - x[:, None])) + 0.5 * x[None] * x[:, None])).sum(
            axis=1
        )
    ),
}


class Turning(ng.AbstractNeuralMass):
    """A normal form's cycle, of radius one without drive: programs of two variables are small."""

    variables, units, time_unit = ("x", "y"), ("1", "1"), "ms"
    shown, shown_unit, nonnegative = "x", "1", ()

    def vector_field(self, state, drive):
        inwards = 0.3 * (1 - state[0] ** 2 - state[1] ** 2) * state
        return inwards + 0.5 * jnp.stack([-state[1], state[0]]) + self.pushed(drive)

    def pushed(self, drive):
        return 0.1 * jnp.stack([drive, 0 * drive])

    def output(self, state):
        return state[0]

    def search_box(self):
        return jnp.full(2, -1.0), jnp.full(2, 1.0)


class BothTurn(Turning):
    """Both variables are sent, and both receive."""

    outputs = ("x", "y")
    inputs = ("on_x", "on_y")

    def pushed(self, drive):
        return 0.1 * drive

    def output(self, state):
        return state


EVEN = [name for name in COUPLINGS if name != "uneven"]


@pytest.mark.parametrize("name", COUPLINGS)
def test_what_regions_receive(name):
    """By the formula; and runs on the last axis, one by one."""
    coupling = COUPLINGS[name]
    many = np.stack([OUTPUTS, OUTPUTS[::-1], 2 * OUTPUTS], axis=-1)
    expected = np.stack([FORMULAS[name](x) for x in many.T], axis=-1)
    both = jax.jit(lambda one, some: (coupling.inputs(one), coupling.over_runs().inputs(some)))
    alone, found = both(OUTPUTS, many)
    np.testing.assert_allclose(alone, expected[:, 0], rtol=1e-12)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", EVEN)
def test_modes_are_those_of_the_whole_jacobian(name):
    """Equilibria with all regions alike: each eigenvalue of the network belongs to a mode."""
    modes_of(ng.Network(Turning(), coupling=COUPLINGS[name]))


def modes_of(network):
    """An equilibrium, and the growth of all modes, compared with the whole network's."""
    state = ng.find_equilibria(network.homogeneous()).states[0]
    shape, field = network.state_shape, network.vector_field
    flat = jax.jit(jax.jacfwd(lambda x: 2 * (field(x.reshape(shape)).ravel(),), has_aux=True))
    matrix, there = flat(np.repeat(state, shape[1]))
    assert np.abs(there).max() < 1e-12
    expected = np.linalg.eigvals(matrix)
    modes = ng.dispersion(network, state)
    found = np.asarray(modes.eigenvalues).ravel()
    assert found.shape == expected.shape
    gaps = np.abs(found[:, None] - expected)
    assert gaps.min(axis=0).max() < 1e-9 * np.abs(expected).max()
    assert gaps.min(axis=1).max() < 1e-9 * np.abs(expected).max()
    return state, np.asarray(modes.growth)


@pytest.mark.parametrize("coupling", COUPLINGS.values(), ids=COUPLINGS)
def test_the_linearisation_is_the_derivative(coupling):
    by_default = functools.partial(ng.coupling.AbstractCoupling.linearised, coupling)
    for linearised in (coupling.linearised, by_default):
        compare_derivative(linearised, coupling.inputs)


def compare_derivative(linearised, inputs):
    """The terms of a linearisation, summed, and the function's whole derivative."""

    @jax.jit
    def both(outputs):
        terms = linearised(outputs)
        return sum(term.matrix()[0, 0] for term in terms), jax.jacfwd(inputs)(outputs)

    np.testing.assert_allclose(*both(OUTPUTS), rtol=1e-12, atol=1e-14)


def test_diffusive_coupling_is_linear_over_differences():
    coupling, outputs = COUPLINGS["diffusive"], jnp.asarray(OUTPUTS)
    found = 4.0 * coupling.linear().apply(outputs)
    np.testing.assert_allclose(found, coupling.inputs(outputs), rtol=1e-13)
    np.testing.assert_array_equal(coupling.linear().row_sums(), 0.0)
    network = ng.Network(MODEL, coupling=coupling)
    values, uniform = network.spectrum()
    assert values[uniform] == 0.0
    assert float(network.homogeneous().coupling) == 0.0
    assert network.has_flow()


def along(network, states, period, steps=500):
    """The whole network's monodromy matrix from a homogeneous state, by Runge and Kutta's steps."""
    shape, h = network.state_shape, float(period) / steps
    both = jax.jacfwd(lambda x: 2 * (network.vector_field(x.reshape(shape)).ravel(),), has_aux=True)
    both = jax.jit(both)
    x = np.repeat(np.asarray(states[0]), shape[1])
    xi = np.eye(x.size)

    def slope(x, xi):
        jacobian, along = map(np.asarray, both(x))
        return along, jacobian @ xi

    for _ in range(steps):
        first = slope(x, xi)
        second = slope(x + h / 2 * first[0], xi + h / 2 * first[1])
        third = slope(x + h / 2 * second[0], xi + h / 2 * second[1])
        last = slope(x + h * third[0], xi + h * third[1])
        every = zip((x, xi), first, second, third, last, strict=True)
        x, xi = (now + h / 6 * (a + 2 * b + 2 * c + d) for now, a, b, c, d in every)
    return xi


@pytest.mark.slow
def test_modes_of_orbits_are_those_of_the_whole_network():
    """What a mode's drive is of its output varies along the orbit; the growth of every mode."""
    coupling = COUPLINGS["sigmoid after"]
    network = ng.Network(MODEL, coupling=coupling).with_parameters(i_ext_e=10.0)
    orbit = ng.find_orbit(network.homogeneous())
    mu = np.linalg.eigvals(along(network, orbit.states, orbit.period, 2000))
    found = ng.dispersion(network, orbit)
    growth = np.log(np.abs(mu)) / float(orbit.period)
    for mode in np.asarray(found.growth):
        assert np.abs(growth - mode).min() < 1e-6
    assert abs(growth.max() - found.growth.max()) < 1e-6


def test_slopes_of_growth_by_a_couplings_own_parameters():
    """With the equilibrium's motion, against differences; in a program too."""
    network = ng.Network(Turning(), coupling=SigmoidAfterSum(GRAPH, 1.0, 20.0, 0.05))
    state = ng.find_equilibria(network.homogeneous()).states[0]

    def growth(values):
        names = ("slope", "midpoint", "coupling")
        changed = network.with_parameters(**dict(zip(names, values, strict=True)))
        return ng.dispersion(changed, state, lambdas=[-0.3]).growth[0]

    at = jnp.asarray([20.0, 0.05, 1.0])
    found = jax.jit(jax.grad(growth))(at)
    steps = 1e-5 * np.diag([20.0, 0.05, 1.0])
    expected = [
        (float(growth(at + h)) - float(growth(at - h))) / (2 * np.abs(h).sum()) for h in steps
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_spectra_of_small_noise():
    """Linear response against the whole Jacobian's resolvent; regions differ."""
    model = ng.MontbrioPazoRoxin(eta=[-6.0, -5.5, -7.0, -5.0])
    network = ng.Network(model, coupling=COUPLINGS["pairwise"])
    found = ng.linear_response(ng.Driven(network, {"v": 0.1}), [10.0], variable="r")
    shape = network.state_shape
    flat = jax.jit(jax.jacfwd(lambda x: network.vector_field(x.reshape(shape)).ravel()))
    jacobian = np.asarray(flat(np.ravel(found.state)))
    resolvent = np.linalg.inv(2j * np.pi * 0.01 * np.eye(len(jacobian)) - jacobian)
    gains = resolvent.reshape(*shape, *shape)[0, :, 1]
    expected = 2e-3 * 0.01 * (np.abs(gains) ** 2).sum(axis=1)
    np.testing.assert_allclose(found.power[0], expected, rtol=1e-9)


def test_a_couplings_parameters_in_branches():
    network = ng.Network(Turning(), coupling=SigmoidAfterSum(GRAPH, 1.0, 20.0, 0.05))
    branch = ng.continue_equilibria(network.homogeneous(), {"slope": (10.0, 30.0)}, longest=0.5)
    assert branch.parameter[-1] == pytest.approx(30.0)


class Wave(AbstractSum):
    """Two channels, from one's own class."""

    graph: AbstractGraph
    strength: jax.Array = parameter(1.0, unit="1", doc="")
    tilt: jax.Array = parameter(0.5, unit="1", doc="")

    def sent(self, outputs):
        return jnp.stack([outputs, outputs**2])

    def received(self, sums, outputs):
        return self.strength * (sums[0] + self.tilt * sums[1] - outputs)


class Junction(AbstractPairwise):
    graph: AbstractGraph
    strength: jax.Array = parameter(1.0, unit="1", doc="")
    bend: jax.Array = parameter(3.0, unit="1", doc="")

    def passed(self, sending, receiving):
        return jnp.tanh(self.bend * (sending - receiving))


class Mixing(Wave):
    def sent(self, outputs):
        return outputs - outputs.mean(axis=0)


class Other(Wave):
    def inputs(self, outputs):
        return self.strength * self.graph.apply(outputs)


class Crossed(Wave):
    def sent(self, outputs):
        return outputs

    def received(self, sums, outputs):
        return self.strength * sums / (1 + outputs.mean(axis=0))


@pytest.mark.parametrize("kind", [Wave, Junction])
def test_couplings_of_ones_own(kind, tmp_path):
    network = ng.Network(Turning(), coupling=kind(GRAPH, 2.0))
    compare_derivative(network.interaction.linearised, network.interaction.inputs)
    inner, state = network.homogeneous(), np.array([0.05, -1.0])
    found = network.vector_field(jnp.asarray(np.tile(state[:, None], 4)))
    alone = np.asarray(inner.vector_field(jnp.asarray(state)))
    np.testing.assert_allclose(found, np.tile(alone[:, None], 4), atol=1e-14)
    ng.save(tmp_path / "n.npz", network)
    assert type(ng.load(tmp_path / "n.npz", classes=[kind, Turning]).interaction) is kind


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: Mixing(GRAPH), "`Mixing.sent` must act region by region"),
        (lambda: Crossed(GRAPH), "`Crossed.received` must act region by region"),
        (lambda: Other(GRAPH), "`Other.received` must .* make the inputs"),
        (lambda: Junction(GRAPH, 1.0, np.ones(4)), "`Junction.bend` must be one number"),
        (lambda: PairwiseCoupling(GRAPH, 1.0, 3.0), "`function` must be a function"),
    ],
)
def test_what_sums_must_keep_to(made, words):
    with pytest.raises(ValueError, match=words):
        ng.Network(MODEL, coupling=made())


def test_what_has_no_homogeneous_states_says_why():
    for coupling, words in (
        (SigmoidAfterSum(DenseGraph(WEIGHTS), 1.0), "rows of the weights sum to between"),
        (SigmoidAfterSum(GRAPH, 1.0, np.ones(4)), "parameters that differ between regions"),
    ):
        network = ng.Network(Turning(), coupling=coupling)
        with pytest.raises(ValueError, match=words):
            network.homogeneous()
    assert np.isfinite(ng.initial_state(network)).all()
    network = ng.Network(MODEL, coupling=coupling)
    with pytest.raises(ValueError, match='"moebius" is not known: use "rk4"'):
        ng.simulate(network, 1.0, dt=0.1, start=np.full(6, 0.1), integrator="moebius")


def test_other_couplings_are_other_definitions():
    every = [*COUPLINGS.values(), SigmoidAfterSum(GRAPH, 2.0, 20.0, 0.06)]
    known = [str(definition("work", ng.Network(Turning(), coupling=c))) for c in every]
    assert len(set(known)) == len(known)


def test_spiking_networks_of_any_coupling():
    """Populations follow the mean field of the same coupling."""
    coupling = SigmoidAfterSum(GRAPH, 0.2, 50.0, 0.03)
    network = ng.Network(ng.MontbrioPazoRoxin(), coupling=coupling)
    start = ng.initial_state(network, scatter=0.0)
    run = ng.simulate_spiking(network, 4.0, neurons=2000, start=start, dt=0.02)
    gap = np.abs(np.asarray(run.activity.final_state)[1] - np.asarray(start)[1])
    assert (gap < 0.1).all()


def test_the_population_that_is_driven():
    """Which equations the gains reach, and all equilibria for certain, by another way."""
    state = jnp.asarray([0.05, -1.0, 0.04, 0.06, -0.9, 0.05])
    drive = jnp.asarray(0.3)
    field = ng.NextGenEI(gain_e=0.7, gain_i=0.2).vector_field
    push = jax.jit(jax.jacfwd(field, argnums=1))(state, drive)
    np.testing.assert_allclose(push, [0, 0.7, 0, 0, 0.2, 0], atol=1e-15)
    model = ng.NextGenEI(i_ext_e=2.0, gain_i=0.0)
    network = ng.Network(model, NORMAL, 15.0)
    rest = ng.find_equilibria(network.homogeneous())
    assert rest.complete
    # Without the network's input on inhibition it is as if j_ee alone were larger.
    same = ng.find_equilibria(ng.Homogeneous(ng.NextGenEI(i_ext_e=2.0, j_ee=20.0), 0.0))
    np.testing.assert_allclose(rest.states, same.states, rtol=1e-9)
    start = np.asarray(state)[:, None] * (1 + 0.1 * np.arange(4))
    options = {"dt": 0.01, "start": start}
    by_flow, by_steps = (
        ng.simulate(network, 5.0, integrator=way, **options).final_state
        for way in ("moebius", "rk4")
    )
    np.testing.assert_allclose(by_flow, by_steps, rtol=1e-6)
    excitation, _ = model.synaptic_currents(state, drive)
    assert float(excitation) == pytest.approx(8 * (5 * 0.04 + 0.3))


LOCAL = LinearCoupling(IdentityGraph(4), 2.0)
FAST = SigmoidAfterSum(GRAPH, 1.0, 20.0, 0.05)
SUMS = {
    "linear, over others": {
        "up": LinearCoupling(GRAPH, 5.0),
        "down": LinearCoupling(DenseGraph(np.roll(NORMAL, 1, axis=0)), -2.0),
    },
    "structural and local": {"far": LinearCoupling(GRAPH, 5.0), "near": LOCAL},
    "bent, of one graph": {"fast": FAST, "slow": DiffusiveCoupling(GRAPH, 3.0), "near": LOCAL},
}


@pytest.mark.parametrize("name", SUMS)
def test_sums_of_couplings(name):
    """What arrives, and modes against the whole Jacobian."""
    coupling = CouplingSum(SUMS[name], 0.8)
    received = jax.jit(
        lambda x: (coupling.inputs(x), [p.inputs(x) for p in coupling.parts.values()])
    )
    found, each = received(OUTPUTS)
    np.testing.assert_allclose(found, 0.8 * np.sum(each, axis=0), rtol=1e-14)
    modes_of(ng.Network(Turning(), coupling=coupling))
    compare_derivative(coupling.linearised, coupling.inputs)


def test_parts_of_sums_have_names(tmp_path):
    network = ng.Network(MODEL, coupling=CouplingSum(SUMS["bent, of one graph"]))
    names = {"fast_slope", "fast_midpoint", "fast_coupling", "slow_coupling", "near_coupling"}
    assert names <= set(parameter_names(network))
    assert names <= set(parameter_names(network.homogeneous()))
    changed = network.with_parameters(fast_slope=10.0, slow_coupling=1.0)
    assert float(changed.interaction.parts["fast"].slope) == 10.0
    assert float(changed.interaction.parts["slow"].strength) == 1.0
    assert str(definition("work", changed)) != str(definition("work", network))
    ng.save(tmp_path / "n.npz", network)
    assert repr(ng.load(tmp_path / "n.npz")) == repr(network)


def test_parameters_of_couplings_in_sweeps_maps_and_batches():
    """At each point what a network with these values has."""
    network = ng.Network(Turning(), coupling=CouplingSum(SUMS["bent, of one graph"]))
    values = {"slow_coupling": [1.0, 3.0], "fast_slope": [20.0, 10.0]}
    swept = ng.sweep(network, ng.Design.listed(values), ng.Stability(places=1))
    axes = {"slow_coupling": [3.0, 1.0], "fast_slope": [10.0]}
    grid = ng.dispersion_map(network, axes, oscillations=False)
    options = {"dt": 0.05, "start": np.full(network.state_shape, 0.05), "variables": ("x",)}
    batch = ng.simulate_batch(network, values, 1.0, **options)

    def at(slow, fast):
        alone = network.with_parameters(slow_coupling=slow, fast_slope=fast)
        found = ng.dispersion(alone, ng.find_equilibria(alone.homogeneous()).states[0])
        return alone, np.delete(found.growth, found.uniform).max()

    for k, point in enumerate(zip(*values.values(), strict=True)):
        alone, growth = at(*point)
        np.testing.assert_allclose(swept.growth_transverse.values[k, 0], growth, rtol=1e-9)
        run = ng.simulate(alone, 1.0, integrator="rk4", **options)
        np.testing.assert_allclose(batch.states[k, -1], run.states[-1], rtol=1e-12)
    for k, slow in enumerate(axes["slow_coupling"]):
        growth = at(slow, 10.0)[1]
        np.testing.assert_allclose(grid.growth_transverse[k, 0, 0], growth, rtol=1e-9)


def test_linear_sums_are_certified_and_step_exactly():
    network = ng.Network(MODEL, coupling=CouplingSum(SUMS["structural and local"]))
    rest = ng.find_equilibria(network.homogeneous())
    same = ng.find_equilibria(ng.Homogeneous(MODEL, 7.0))
    assert rest.complete
    np.testing.assert_allclose(rest.states, same.states, rtol=1e-12)
    assert network.has_flow()
    values, uniform = network.spectrum()
    assert float(values[uniform]) == pytest.approx(7.0)


def test_graphs_that_do_not_commute():
    other = DenseGraph(np.roll(NORMAL, 1, axis=0))
    network = ng.Network(MODEL, coupling=CouplingSum({"a": FAST, "b": LinearCoupling(other, 2.0)}))
    state = ng.find_equilibria(network.homogeneous()).states[0]
    with pytest.raises(ValueError, match=r"do not commute .* What still works"):
        ng.dispersion(network, state)
    whole = jnp.broadcast_to(state[:, None], network.state_shape)
    assert float(jnp.abs(network.vector_field(whole)).max()) < 1e-12
    uneven = ng.Network(
        MODEL, coupling=CouplingSum({"a": FAST, "b": LinearCoupling(DenseGraph(WEIGHTS), 1.0)})
    )
    with pytest.raises(ValueError, match="rows of the weights sum to between"):
        uneven.homogeneous()


def test_modes_of_several_graphs_in_programs():
    """Derivatives by the parameters of parts, where the weights are known."""
    network = ng.Network(Turning(), coupling=CouplingSum(SUMS["bent, of one graph"]))
    state = ng.find_equilibria(network.homogeneous()).states[0]

    def growth(slope):
        return ng.dispersion(network.with_parameters(fast_slope=slope), state).growth[1]

    found = jax.jit(jax.grad(growth))(20.0)
    expected = (float(growth(20.001)) - float(growth(19.999))) / 2e-3
    assert float(found) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: CouplingSum({}), "`parts` must be couplings by name"),
        (lambda: CouplingSum({"a b": LOCAL}), "`parts` must have names that are words"),
        (
            lambda: CouplingSum({"a": LOCAL, "b": LinearCoupling(IdentityGraph(3), 1.0)}),
            "same regions",
        ),
        (
            lambda: CouplingSum({"a": Crossed(GRAPH)}),
            "`Crossed.received` must act region by region",
        ),
        (lambda: ng.Homogeneous(MODEL, FAST), "over `graphs.Alike\\(\\)`"),
        (
            lambda: ng.Network(
                MODEL, coupling=CouplingSum({"a": CouplingSum({"b": LOCAL}), "a_b": LOCAL})
            ),
            "two are called `a_b_coupling`",
        ),
        (
            lambda: ng.Network(MODEL, coupling=CouplingSum({"a": LOCAL}), speed=5.0),
            "`speed` must be left out",
        ),
    ],
)
def test_what_sums_of_couplings_must_be(made, words):
    with pytest.raises(ValueError, match=words):
        made()


class Two(ng.NextGenEI):
    """Excitation that synapses carry, and potentials that gap junctions compare: two of each."""

    outputs = ("s_e", "v_e")
    inputs = ("synapses", "junctions")
    exact_flow = equilibrium_reduction = populations = synaptic_currents = None

    def output(self, state):
        return jnp.stack([state[2], state[1]])

    def vector_field(self, state, drive):
        slope = super().vector_field(state, drive[0])
        return slope.at[1].add(drive[1] / self.tau_e)


ROUTES = CouplingSum(
    {
        "synapses": Routed(LinearCoupling(GRAPH, 9.0), 0, 0, 2),
        "junctions": Routed(DiffusiveCoupling(GRAPH, 0.3), 1, 1, 2),
        "cross": Routed(SigmoidAfterSum(GRAPH, 0.2, 1.0, 0.0), 1, 0, 2),
    }
)


def test_several_outputs_and_inputs():
    """What regions receive, modes at rest against the whole Jacobian, and batches."""
    network = ng.Network(Two(i_ext_e=9.0), coupling=ROUTES)
    state = jnp.asarray(np.random.default_rng(0).uniform(0.05, 0.2, network.state_shape))
    s_e, v_e = np.asarray(state)[2], np.asarray(state)[1]
    expected = [
        9.0 * NORMAL @ s_e + 0.2 / (1 + np.exp(-NORMAL @ v_e)),
        0.3 * (NORMAL @ v_e - v_e),
    ]
    np.testing.assert_allclose(network.drive(network.model.output(state)), expected, rtol=1e-12)
    modes_of(network)
    turning = ng.Network(BothTurn(), coupling=ROUTES)
    options = {"dt": 0.02, "start": np.asarray(state)[:2]}
    batch = ng.simulate_batch(turning, {"junctions_coupling": [0.0, 0.3]}, 0.5, **options)
    run = ng.simulate(turning, 0.5, **options)
    np.testing.assert_allclose(batch.final_state[1], run.final_state, rtol=1e-12)
    assert isinstance(str(definition("work", network)), str)
    with pytest.raises(ValueError, match="use `dispersion` at each point"):
        ng.dispersion_map(network, {"i_ext_e": [1.0, 2.0]})
    with pytest.raises(ValueError, match="`noise` must be of variables"):
        ng.linear_response(ng.Driven(network, {"input": 0.1}))


def test_modes_of_orbits_of_sums_between_several_outputs_and_inputs():
    """Of several graphs, too."""
    parts = {**ROUTES.parts, "near": Routed(LOCAL, 0, 0, 2)}
    network = ng.Network(BothTurn(), coupling=CouplingSum(parts))
    network = network.with_parameters(synapses_coupling=1.0, near_coupling=1.0)
    orbit = ng.find_orbit(network.homogeneous())
    mu = np.linalg.eigvals(along(network, orbit.states, orbit.period))
    growth = np.log(np.abs(mu)) / float(orbit.period)
    for mode in np.asarray(ng.dispersion(network, orbit).growth):
        assert np.abs(growth - mode).min() < 1e-6


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: ng.Network(Two(), NORMAL, 1.0), "must say between which outputs and inputs"),
        (lambda: ng.Network(MODEL, coupling=ROUTES), "be between the 0 outputs and 0 inputs"),
        (lambda: Routed(LOCAL, 0, 2, 2), "`input` must be a place"),
        (lambda: CouplingSum({"a": LOCAL, "b": Routed(LOCAL, 0, 0, 1)}), "or none of them"),
    ],
)
def test_routes_that_lead_nowhere(made, words):
    with pytest.raises(ValueError, match=words):
        made()
