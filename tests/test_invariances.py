"""What must not change the results: the unit of time, the order of regions, how work is cut."""

import jax
import numpy as np
import pytest

import ngnmm_jax as ng
from ngnmm_jax.dynamics.parameters import concrete_step
from ngnmm_jax.models.base import parameter

TIMES = ("tau_e", "tau_i", "tau_se", "tau_si")
PAIR = np.array([[0, 1.0], [1, 0]])


def faster(model, k):
    """A model whose times are all divided by k."""
    return ng.NextGenEI(
        **{
            name: np.asarray(getattr(model, name)) / (k if name in TIMES else 1)
            for name in ng.models.base.parameter_names(type(model))
        }
    )


def test_steps_follow_the_times():
    paper = ng.NextGenEI()
    assert paper.time_step == 0.05
    assert ng.JansenRit().time_step == 5e-4
    assert paper.stiffness() == ng.JansenRit().stiffness() == 1
    for k in (0.25, 3.0, 4.0, 16.0):
        assert faster(paper, k).time_step == pytest.approx(0.05 / k, rel=1e-15)
        assert faster(paper, k).stiffness() == 1
    assert ng.JansenRit(a=200.0).time_step == 2.5e-4
    # A fast gate makes the steps short, not the runs; a fast membrane both.
    gate, membrane = ng.NextGenEI(tau_se=0.05), ng.NextGenEI(tau_e=0.5)
    assert (gate.time_step, gate.stiffness()) == (0.0025, 20)
    assert (membrane.time_step, membrane.stiffness()) == (0.05 / 16, 1)
    # A membrane under a drive I moves at 2 √I / tau.
    strong = ng.NextGenEI(i_ext_e=1605.0)
    assert strong.time_step == pytest.approx(8 / (2 * 40) / 20, rel=1e-6)


def test_steps_of_regions_and_runs():
    model = ng.NextGenEI(tau_se=np.array([1.0, 0.5]), i_ext_e=9.0)
    np.testing.assert_array_equal(model.step_sizes(), [0.05, 0.025])
    network = ng.Network(model, PAIR, 1.0)
    assert network.time_step == ng.Driven(network).time_step == 0.025
    assert network.averaged().time_step == 0.75 / 20
    traced = jax.vmap(lambda tau: ng.NextGenEI(tau_i=tau).time_step)(np.array([8.0, 1.0]))
    np.testing.assert_allclose(traced, [0.05, 0.05 / 8], rtol=1e-15)


class Leak(ng.AbstractNeuralMass):
    """A model with times and rates in several units."""

    variables = ("x",)
    units = ("1",)
    time_unit = "s"
    shown = "x"
    shown_unit = "1"
    nonnegative = ()
    tau: jax.Array = parameter(20.0, unit="ms", doc="membrane time constant")
    rate: jax.Array = parameter(0.1, unit="kHz", doc="of a gate")
    input: jax.Array = parameter(0.0, unit="1/s", doc="external rate; zero is no time")
    gain: jax.Array = parameter(1.0, unit="1", doc="none of these")

    def vector_field(self, state, drive):
        return -state / self.tau

    def output(self, state):
        return state[0]

    def search_box(self):
        return np.zeros(1), np.ones(1)


class Own(Leak):
    """A model that names its step."""

    @property
    def time_step(self):
        return 0.125


def test_steps_of_other_models():
    # 20 ms, and 10 ms = 1 / 0.1 kHz; an eighth of the shortest, in seconds.
    assert Leak().time_step == pytest.approx(10e-3 / 8 / 20, rel=1e-14)
    assert Leak(tau=[20.0, 2.0]).step_sizes() == pytest.approx([6.25e-5, 1.25e-5], rel=1e-14)
    assert Own().time_step == Own().step_sizes() == 0.125
    assert ng.Network(Own(), PAIR).time_step == 0.125


def test_numbers_of_steps_where_parameters_are_traced():
    def step(value, name):
        return concrete_step(ng.Network(ng.NextGenEI(**{name: value}), PAIR, 1.0)) * value

    assert jax.jit(step, static_argnums=1)(2.0, "i_ext_e") == pytest.approx(0.1)
    with pytest.raises(ValueError, match="`dt` must be given where time constants are traced"):
        jax.jit(step, static_argnums=1)(2.0, "tau_e")
