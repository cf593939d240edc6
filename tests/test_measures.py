"""Measures that are not what they say, and names that mean two things: refused, and said why."""

from typing import Any

import numpy as np
import pytest

import ngnmm_jax as ng
from ngnmm_jax.sweeps import AbstractMeasure, Function, Output
from ngnmm_jax.sweeps.task import Task


@pytest.fixture(scope="module")
def network(small):
    return ng.Network(ng.NextGenEI(i_ext_e=12.0), small, 5.0)


class Told(AbstractMeasure):
    """Says one thing, and returns another."""

    def __init__(self, outputs=None, values=None, along=None):
        self.told = {"seen": Output()} if outputs is None else outputs
        self.values = {"seen": 1.0, "status": 0} if values is None else values
        self.along = along or {}

    def outputs(self, system):
        return self.told

    def coordinates(self, system):
        return self.along

    def evaluate(self, system, points, seeds, chunk):
        return {name: np.full(seeds.shape, value) for name, value in self.values.items()}

    def definition(self, system):
        return {"measure": "told"}


class Wide(ng.Activity):
    """A design may vary what means something else in a sweep."""

    def extras(self, system):
        return ("status", "region", "v_e_mean")


TAU, AT = {"tau_e": [8.0]}, (2,)
BRIEF = Wide(100.0, 0.0, dt=0.1, keep=("mean",))


@pytest.mark.parametrize(
    ("parameters", "measure", "words"),
    [
        ({"status": [1.0]}, BRIEF, "`parameters` .* 'status' is a swept dimension and a result"),
        ({"region": [1.0]}, BRIEF, "`parameters` .* 'region' is a swept dimension and a dimension"),
        ({"v_e_mean": [1.0]}, BRIEF, "`parameters` .* 'v_e_mean' is a swept dimension and a res"),
        (
            ng.Design.listed({"v_e_mean": [1.0]}),
            BRIEF,
            "`parameters` .* 'v_e_mean' is a parameter and a result",
        ),
        (TAU, Told({"tau_e": Output()}), "'tau_e' is a swept dimension and a result"),
        (
            TAU,
            Told({"a": Output(("tau_e",), AT)}),
            "'tau_e' is .* a dimension of the re",
        ),
        (
            TAU,
            Told(along={"tau_e": ([1.0], {})}),
            "'tau_e' is .* a coordinate of the m",
        ),
        (
            TAU,
            Told({"a": Output(("a",), AT)}),
            "`measure` .* 'a' is a dimension of th",
        ),
        (
            TAU,
            Told({"a": Output(("b", "b"), (2, 2))}),
            "`measure` must have different",
        ),
        (
            TAU,
            Told({"a": Output(("x",), AT), "b": Output(("x",), (3,))}),
            "`measure` must have one size along 'x', but it is 2, and 3 in 'b'",
        ),
        (
            TAU,
            Told({"a": Output(("x",), AT)}, along={"x": ([1.0], {})}),
            "`measure` must have as many coordinates as values along 'x', 2, but there are 1",
        ),
        (TAU, Told({"a": 1.0}), "`measure` must have `outputs` of names and `Output"),
    ],
)
def test_names_that_mean_two_things_are_refused(network, monkeypatch, parameters, measure, words):
    """Before anything is computed."""
    monkeypatch.setattr(Task, "compute", None)
    with pytest.raises(ValueError, match=words):
        ng.sweep(network, parameters, measure)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"seen": 1.0}, "must return 'status' from `evaluate`, but it returns 'seen'"),
        ({"sen": 1.0, "status": 0}, "must return 'seen' from `evaluate`, but it returns 'sen', "),
        ({}, "must return 'seen', 'status' from `evaluate`, but it returns nothing"),
        (None, r"must return 'seen' of shape \(1, 2\), the runs in front, but its shape is \(1,\)"),
    ],
)
def test_measures_return_what_they_say(network, values, words):
    measure = Told({"seen": Output(("x",), AT)} if values is None else None, values)
    with pytest.raises(ValueError, match=f"`measure` {words}"):
        ng.sweep(network, {"coupling": [1.0]}, measure)


def test_a_function_returns_the_same_everywhere(network):
    def odd(network):
        return {"low" if float(network.coupling) < 3 else "high": 1.0}

    measure = Function(odd, traced=False)
    with pytest.raises(ValueError, match="same results at all points, but only some have 'high'"):
        ng.sweep(network.with_parameters(coupling=1.0), {"coupling": [1.0, 4.0]}, measure)


class Listing(ng.integrators.RK4):
    stages: Any = None


@pytest.mark.parametrize("value", [[1.0], {"a": 1.0}, np.ones(1)])
def test_fields_that_cannot_be_compiled_are_refused(network, value):
    words = f"must have tuples .*, but `.*stages` is a {type(value).__name__}"
    own = ng.Activity(100.0, 0.0, dt=0.1, integrator=Listing(value))
    with pytest.raises(ValueError, match=f"`integrator` {words}"):
        own.outputs(network)
