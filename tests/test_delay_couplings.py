"""Couplings of each connection, routed ones and sums of several, with delays."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import ngnmm_jax as ng
from ngnmm_jax.coupling import (
    CouplingSum,
    DiffusiveCoupling,
    KuramotoCoupling,
    LinearCoupling,
    PairwiseCoupling,
    Routed,
)
from ngnmm_jax.graphs import DelayedGraph, DenseGraph, IdentityGraph
from ngnmm_jax.models import parameter
from tests.scalar_models import OneVariable

WEIGHTS = np.array([[0, 1.0, 3.0], [2.0, 0, 2.0], [3.0, 1.0, 0]]) / 4
TIMES = np.array([[1.0, 0.73, 1.1], [0.31, 1.0, 0.9], [0.5, 0.62, 1.0]])
START = np.array([0.9, -0.4, 0.3])


class Phase(OneVariable):
    """x' = rate + what arrives - decay sin(x)."""

    rate: jax.Array = parameter(0.2, unit="1/ms", doc="of turning alone")
    decay: jax.Array = parameter(0.5, unit="1/ms", doc="of what holds it back")

    def vector_field(self, state, drive):
        return self.rate + drive[None] - self.decay * jnp.sin(state)


class Twofold(Phase):
    """Two outputs of one variable and another one; two inputs, one into each."""

    variables: ClassVar = ("x", "y")
    units: ClassVar = ("1", "1")
    inputs: ClassVar = ("into_x", "into_y")
    outputs: ClassVar = ("of_x", "of_y")

    def vector_field(self, state, drive):
        return self.rate + drive - self.decay * jnp.sin(state)

    def output(self, state):
        return state

    def search_box(self):
        return jnp.full(2, -1.0), jnp.full(2, 1.0)


def over(weights=WEIGHTS, times=TIMES):
    return DelayedGraph(DenseGraph(weights), times)


def of(coupling, model=None):
    return ng.Network(Phase() if model is None else model, coupling=coupling)


def sine(sending, receiving):
    return jnp.sin(sending - receiving)


def last(network, start, dt=0.02, duration=4.0, **given):
    given = {"integrator": "rk4", "dt": dt, **given}
    return ng.simulate(network, duration, start=start, **given).final_state


@pytest.mark.parametrize("times", [TIMES, pytest.param(0.7, marks=pytest.mark.slow)])
def test_pairs_are_the_sums_that_they_can_be_written_as(times):
    """Kuramoto's coupling by pairs and by sums: runs, batches, roots, maps."""
    pairs = of(PairwiseCoupling(over(times=times), 0.8, sine))
    sums = of(KuramotoCoupling(over(times=times), 0.8))
    assert_allclose(last(pairs, START[None]), last(sums, START[None]), atol=2e-8)
    strengths = np.array([0.8, 1.3])
    runs = ng.simulate_batch(
        pairs, {"coupling": strengths}, 4.0, start=START[None], dt=0.02, integrator="rk4"
    )
    assert_allclose(runs.final_state[0], last(pairs, START[None]), rtol=1e-12)
    rest = ng.find_equilibria(pairs)
    other = ng.find_equilibria(sums)
    assert_allclose(rest.states, other.states, atol=1e-10)
    found, expected = (ng.characteristic_roots(n, rest.states[0], line=-3.0) for n in (pairs, sums))
    assert found.certified
    assert_allclose(found.roots, expected.roots, atol=1e-10)
    mapped = ng.dispersion_map(pairs, {"coupling": strengths})
    assert mapped.certified[mapped.number_growing >= 0].all()
    at = ng.dispersion(pairs.with_parameters(coupling=1.3), mapped.states[1, 0])
    assert_allclose(mapped.growth[1, 0], at.growth[0], atol=1e-10)


def test_a_pair_of_differences_is_diffusive():
    """A function that is linear is `DiffusiveCoupling`, with the same grid of steps."""
    pairs = of(PairwiseCoupling(over(), 0.8, lambda sending, receiving: sending - receiving))
    plain = of(DiffusiveCoupling(over(), 0.8))
    assert_allclose(last(pairs, START[None]), last(plain, START[None]), rtol=1e-12)
    half = ng.simulate(pairs, 2.0, start=START[None], dt=0.02, integrator="rk4")
    assert_allclose(last(pairs, half, duration=2.0), last(plain, START[None]), rtol=1e-12)


@pytest.mark.slow
def test_derivatives_by_the_strength_of_pairs():
    pairs = of(PairwiseCoupling(over(), 0.8, lambda sending, receiving: sending - receiving))
    plain = of(DiffusiveCoupling(over(), 0.8))
    gradient = jax.grad(lambda k: last(pairs.with_parameters(coupling=k), START[None]).sum())
    other = jax.grad(lambda k: last(plain.with_parameters(coupling=k), START[None]).sum())
    assert_allclose(gradient(0.8), other(0.8), rtol=1e-10)


def test_routed_couplings_with_delays_are_networks_of_their_own():
    """To the same places they are two networks beside each other; crossed ones are one of six."""
    straight = of(
        CouplingSum({"a": Routed(LinearCoupling(over(), 0.8), 0, 0, 2),
                     "b": Routed(KuramotoCoupling(over(), 0.5), 1, 1, 2)}), Twofold()
    )  # fmt: skip
    start = np.stack([START, START[::-1]])
    found = last(straight, start)
    assert_allclose(found[0], last(of(LinearCoupling(over(), 0.8)), start[:1])[0], rtol=1e-12)
    assert_allclose(found[1], last(of(KuramotoCoupling(over(), 0.5)), start[1:])[0], rtol=1e-12)
    crossed, six = crossed_and_six(0.8, TIMES)
    assert_allclose(last(crossed, start).ravel(), last(six, start.reshape(1, 6))[0], rtol=1e-12)


def crossed_and_six(strength, times):
    """From x into y and back: also a network of six regions of one variable."""
    crossed = of(
        CouplingSum({"a": Routed(LinearCoupling(over(times=times), strength), 0, 1, 2),
                     "b": Routed(LinearCoupling(over(times=times), strength), 1, 0, 2)}), Twofold()
    )  # fmt: skip
    weights = np.block([[0 * WEIGHTS, WEIGHTS], [WEIGHTS, 0 * WEIGHTS]])
    return crossed, of(LinearCoupling(over(weights, np.tile(times, (2, 2))), strength))


@pytest.mark.parametrize("delayed", [True, False])
def test_linear_response_of_several_outputs(delayed):
    """As of six regions of one; without delays also by the whole Jacobian."""
    crossed, six = crossed_and_six(0.2, TIMES)
    if not delayed:
        crossed, six = crossed.undelayed(), six.undelayed()
    frequencies, given = [20.0, 90.0], {"stability": not delayed, "variable": "x"}
    found = ng.linear_response(ng.Driven(crossed, {"x": 0.1, "y": 0.1}), frequencies, **given)
    whole = ng.linear_response(ng.Driven(six, {"x": 0.1}), frequencies, **given)
    assert_allclose(found.power, whole.power[:, :3], rtol=1e-9)
    assert_allclose(found.fc, whole.fc[:3, :3], rtol=1e-9)
    if delayed:
        assert found.status == ng.Status.NOT_CERTIFIED
        assert whole.status == ng.Status.NOT_CERTIFIED
        return
    state = np.asarray(found.state)
    matrix = np.asarray(jax.jacfwd(lambda x: crossed.vector_field(x.reshape(2, 3)).ravel())(
        jnp.asarray(state.ravel())))  # fmt: skip
    for power, hertz in zip(found.power, frequencies, strict=True):
        gains = np.linalg.inv(2j * np.pi * hertz * 1e-3 * np.eye(6) - matrix)[:3]
        assert_allclose(power, 2e-3 * 0.01 * (np.abs(gains) ** 2).sum(axis=1), rtol=1e-9)


def test_sums_with_delays_have_equilibria_that_regions_share():
    """Maps over a part's strength and delay are the roots of the whole network there."""
    network = of(
        CouplingSum({"far": LinearCoupling(over(times=2.0), -0.6),
                     "near": LinearCoupling(over(), 0.3),
                     "own": LinearCoupling(IdentityGraph(3), 0.1)})
    )  # fmt: skip
    inner = network.homogeneous()
    assert_allclose(
        ng.find_equilibria(inner).states,
        ng.find_equilibria(network.undelayed().homogeneous()).states,
        atol=1e-12,
    )
    values = {"far_coupling": [-0.6, -1.5], "far_delay": [2.0, 3.0]}
    mapped = ng.dispersion_map(network, values)
    assert mapped.certified[mapped.number_growing >= 0].all()
    for k, strength in enumerate(values["far_coupling"]):
        for m, delay in enumerate(values["far_delay"]):
            here = network.with_parameters(far_coupling=strength, far_delay=delay)
            rest = ng.find_equilibria(here.undelayed().homogeneous()).states[0]
            assert_allclose(mapped.states[k, m, 0], rest, atol=1e-9)
            roots = ng.dispersion(here, rest)
            assert_allclose(mapped.growth[k, m, 0], roots.growth[0], atol=1e-9)
    assert mapped.number_growing.max() > 0
    with pytest.raises(ValueError, match="each coupling has one delay"):
        ng.find_orbit(inner)
