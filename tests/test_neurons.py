"""Neurons of any model of QIF populations: read off its equations, driven, delayed, refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ngnmm_jax as ng
from ngnmm_jax.models import parameter
from ngnmm_jax.models.hooks import QIFPopulation
from ngnmm_jax.simulation.spiking.populations import Runs, form_of

PI = np.pi
ONE = jnp.ones(())


class Junctions(ng.AbstractNeuralMass):
    """One population: conductances by alpha synapses, a reversal potential, gap junctions.

    A neuron obeys tau V' = V² + eta + tau g (e - V) + κ (v - V) + delta x + c; the mean of κ (v -
    V) is zero, and only the rate's equation shows that there are gap junctions.
    """

    variables = ("r", "v", "g", "h")
    units = ("1/ms", "1", "1/ms", "1/ms")
    time_unit = "ms"
    shown = "v"
    shown_unit = "1"
    nonnegative = ("r", "g")
    eta: jax.Array = parameter(2.0, unit="1", doc="centre of excitabilities")
    delta: jax.Array = parameter(0.5, unit="1", doc="their half width", positive=True)
    tau: jax.Array = parameter(10.0, unit="ms", doc="of the membrane", positive=True)
    tau_s: jax.Array = parameter(2.0, unit="ms", doc="of the synapse", positive=True)
    k: jax.Array = parameter(6.0, unit="1", doc="synaptic weight")
    e: jax.Array = parameter(-4.0, unit="1", doc="reversal potential")
    kappa: jax.Array = parameter(0.7, unit="1", doc="of gap junctions")

    def vector_field(self, state, drive):
        r, v, g, h = state
        g = self.tau * g
        by_rate = 2 * v - g - self.kappa
        current = self.eta + g * (self.e - v) + drive
        return jnp.stack(
            [
                (self.delta / (PI * self.tau) + by_rate * r) / self.tau,
                (v * v - (PI * self.tau * r) ** 2 + current) / self.tau,
                h / self.tau_s,
                (self.k * r - state[2] - 2 * h) / self.tau_s,
            ]
        )

    def output(self, state):
        return state[2]

    def search_box(self):
        return jnp.array([1e-3, -4, 0.0, -0.1]), jnp.array([0.2, 2.0, 0.3, 0.1])

    def populations(self):
        return (QIFPopulation(name="all", rate="r", potential="v", tau=self.tau, delta=self.delta),)


class NoJunctions(Junctions):
    """The gap junctions' term is forgotten where neurons would have it: a current that follows."""

    def vector_field(self, state, drive):
        slope = super().vector_field(state, drive)
        return slope.at[0].add(self.kappa * state[1] ** 2 * state[0])


class AtOnce(Junctions):
    """Conductances that follow the rate at once."""

    def vector_field(self, state, drive):
        return super().vector_field(state, drive).at[0].add(-(state[0] ** 2))


class HalfWidth(Junctions):
    def populations(self):
        return (super().populations()[0]._replace(delta=2 * self.delta),)


class Twice(Junctions):
    def populations(self):
        return super().populations() * 2


class Spread(Junctions):
    """Weights are a Lorentzian too: what they add to the half width follows the gate."""

    spread: jax.Array = parameter(5.0, unit="1", doc="half width of weights")

    def vector_field(self, state, drive):
        more = self.spread * state[2] / (PI * self.tau)
        return super().vector_field(state, drive).at[0].add(more)


@pytest.fixture(scope="module")
def junctions():
    """Away from its equilibrium."""
    return ng.Homogeneous(Junctions(), 0.0), np.array([0.05, -1.0, 0.02, 0.0])


def gaps(system, start, duration, **options):
    """Of potentials' centres, root mean squared, from the mean field of the same steps."""
    exact = ng.simulate(system, duration, start=start, save_every=0.5, dt=options["dt"])
    run = ng.simulate_spiking(system, duration, start=start, save_every=0.5, **options)
    assert (np.asarray(run.activity.ts) == np.asarray(exact.ts)).all()
    name = system.model.populations()[0].potential
    return float(np.sqrt(np.mean((np.asarray(run.activity[name]) - exact[name]) ** 2)))


def test_conductances_reversals_alpha_synapses_and_gap_junctions(junctions):
    """The mean field is approached, and not without the junctions' part."""
    assert gaps(*junctions, 10.0, neurons=10_000, dt=0.025) < 0.0028  # a tenth of 100 neurons'
    system, start = junctions
    exact = ng.simulate(system, 10.0, start=start, save_every=0.5, dt=0.025)
    other = ng.simulate(
        system.with_parameters(kappa=0.0), 10.0, start=start, save_every=0.5, dt=0.025
    )
    assert np.abs(exact.v - other.v).max() > 0.1


def test_where_weights_are_spread_too(junctions):
    """What the half width is at a time is read off; it is not that of the excitabilities."""
    system, start = ng.Homogeneous(Spread(), 0.0), junctions[1]
    assert gaps(system, start, 10.0, neurons=10_000, dt=0.025) < 0.1
    options = {"start": start, "save_every": 0.5, "dt": 0.025}
    wide, narrow = (
        ng.simulate(some, 10.0, **options) for some in (system, system.with_parameters(spread=0.0))
    )
    assert np.sqrt(np.mean((narrow.v - wide.v) ** 2)) > 0.3


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (NoJunctions(), "`r` moves otherwise"),
        (AtOnce(), "`r` moves otherwise"),
        (HalfWidth(), "`r` moves otherwise"),
        (Twice(), "a variable in common"),
    ],
)
def test_what_is_no_population_is_refused(model, words):
    with pytest.raises(ValueError, match=f"(?s)`{type(model).__name__}.*{words}"):
        model.populations()


def test_a_stimulus_and_noise_reach_neurons_as_they_reach_the_mean_field():
    """A pulse, a sine, and the same noise: on the input, coloured on a potential, and on a gate."""
    node = ng.Homogeneous(Junctions(), 0.0)
    stimulus = ng.stimuli.Pulse(5.0, 5.0, 8.0) + ng.stimuli.Sine(8.0, 3.0)
    slow = ng.noises.OrnsteinUhlenbeck(0.3, 4.0)  # which goes on too
    driven = ng.Driven(node, {"input": 5.0, "g": 0.01, "v": slow}, stimulus)
    start = np.asarray(ng.initial_state(node, scatter=0.0))
    options = {"seed": 3, "dt": 0.025, "save_every": 0.5}
    exact = ng.simulate(driven, 20.0, start=start, **options)
    run = ng.simulate_spiking(driven, 20.0, neurons=5000, start=start, **options)
    quiet = ng.simulate(ng.Driven(node, None, stimulus), 20.0, start=start, **options)
    for name in ("v", "g"):
        moved = np.sqrt(np.mean((exact[name] - quiet[name]) ** 2))
        assert np.sqrt(np.mean((run.activity[name] - exact[name]) ** 2)) < 0.25 * moved
    assert 0 <= float(run.stats["below_zero"]) < 1

    # In two parts it is the same run, noise and all.
    first = ng.simulate_spiking(driven, 10.0, neurons=5000, start=start, **options)
    second = ng.simulate_spiking(driven, 10.0, neurons=5000, start=first, **options)
    np.testing.assert_allclose(second.activity.v[1:], run.activity.v[21:], atol=1e-9)
    with pytest.raises(ValueError, match=r"`noise` must be on inputs.*'r'"):
        ng.simulate_spiking(ng.Driven(node, {"r": 0.1}), 1.0)


def test_delays():
    """Neurons of regions that hear of each other late; a run goes on with what was sent."""
    weights = np.array([[0.0, 1.0], [1.0, 0.0]])
    network = ng.Network(ng.MontbrioPazoRoxin(tau=8.0, j=5.0, eta=2.0), weights, 30.0, delays=3.0)
    start = np.tile(np.asarray(ng.initial_state(network, scatter=0.0))[:, :1], 2)
    start[1] += [0.5, -0.5]
    options = {"dt": 0.05, "save_every": 0.5}
    exact = ng.simulate(network, 20.0, start=start, **options)
    at_once = ng.simulate(network.undelayed(), 20.0, start=start, **options)
    run = ng.simulate_spiking(network, 20.0, neurons=5000, start=start, **options)
    gap, matters = (np.sqrt(np.mean((x.v - exact.v) ** 2)) for x in (run.activity, at_once))
    assert gap < 0.2 * matters
    first = ng.simulate_spiking(network, 10.0, neurons=5000, start=start, **options)
    second = ng.simulate_spiking(network, 10.0, neurons=5000, start=first, **options)
    np.testing.assert_allclose(second.activity.v[1:], run.activity.v[21:], atol=1e-9)


def test_neurons_go_on_from_a_run_of_their_mean_field():
    """At its time, under the stimulus that is then; and runs below half a millisecond are seen."""
    stimulus = ng.stimuli.Sine(5.0, 3.0)
    driven = ng.Driven(ng.Homogeneous(ng.MontbrioPazoRoxin(), 0.0), stimulus=stimulus)
    before = ng.simulate(driven, 3.0, dt=0.01, start=[0.05, -2.0])
    run = ng.simulate_spiking(driven, 0.4, neurons=2000, start=before, dt=0.01)
    exact = ng.simulate(driven, 0.4, dt=0.01, start=before)
    np.testing.assert_allclose(run.activity.ts, [3.0, 3.4])
    np.testing.assert_allclose(run.activity.final_state[1], exact.final_state[1], atol=0.1)


@pytest.mark.parametrize(
    ("factor", "follows"), [("v", True), (lambda x: x[1], True), (None, False)]
)
def test_a_factor_of_noise_that_reads_a_potential_has_it(factor, follows):
    sense = None if factor is None else "ito"
    noise = {"v": ng.noises.White(1.0, factor=factor, sense=sense)}
    driven = ng.Driven(ng.Homogeneous(ng.MontbrioPazoRoxin(), 0.0), noise)
    assert form_of(Runs(driven, {})).centred == follows


@pytest.mark.parametrize("factor", ["r", lambda x: 1 + x[0]])
def test_a_factor_of_a_rate_is_refused(factor):
    noise = {"v": ng.noises.White(1.0, factor=factor, sense="ito")}
    driven = ng.Driven(ng.Homogeneous(ng.MontbrioPazoRoxin(), 0.0), noise)
    with pytest.raises(ValueError, match="rates are counted, but that on 'v' reads a rate"):
        ng.simulate_spiking(driven, 1.0, neurons=50)


def test_instantaneous_synapses():
    """Of what the rate does at once; and a step that turns out too long is said."""
    system = ng.Driven(
        ng.Homogeneous(ng.MontbrioPazoRoxin(), 0.0), stimulus=ng.stimuli.Pulse(2.0, 5.0, 3.0)
    )
    start = np.array([0.05, -2.0])
    assert gaps(system, start, 8.0, neurons=10_000, dt=0.005) < 0.22  # a sixth of 100 neurons'
    strong = ng.Driven(system.system, stimulus=ng.stimuli.Pulse(0.5, 0.5, 1e6))
    with pytest.raises(ng.SolverError, match="the fixed step is too large"):
        ng.simulate_spiking(strong, 1.0, neurons=10_000, start=start, dt=0.005)


def test_where_the_mean_field_is_not_exact_that_is_said():
    run = ng.simulate_spiking(ng.Homogeneous(ng.QIFAdaptation(), 0.0), 0.1, neurons=20)
    assert "approximate" in repr(run)
    assert "its own spikes" in repr(run)
