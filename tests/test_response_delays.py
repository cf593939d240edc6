"""The linear response with delays: against whole matrices, modes, no delay, and differences."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import lambertw

import ngnmm_jax as ng
from ngnmm_jax.dynamics.newton import jacobian
from ngnmm_jax.fitting import Free, Gradient, interval, losses
from ngnmm_jax.graphs import TractDelays
from ngnmm_jax.stability.dispersion import linearise
from ngnmm_jax.stability.roots import root_at

FREQUENCIES = np.array([3.0, 17.0, 40.0, 95.0])
RNG = np.random.default_rng(3)
WEIGHTS = RNG.uniform(0.2, 1.0, (4, 4)) * ~np.eye(4, dtype=bool)
WEIGHTS[0, 2] = 0.0
LENGTHS = np.where(WEIGHTS > 0, RNG.uniform(20.0, 150.0, (4, 4)), 0.0)
CONNECTOME = ng.Connectome(WEIGHTS, tract_lengths=LENGTHS).normalised()
MODEL = ng.NextGenEI(i_ext_e=np.array([3.0, 3.4, 3.8, 4.1]))
COUPLING = np.array([7.0, 7.5, 8.0, 8.5])
NOISE = {"input": np.array([0.001, 0.002, 0.0015, 0.001]), "v_i": 0.004}


def made(**delays):
    return ng.Driven(ng.Network(MODEL, CONNECTOME, COUPLING, **delays), NOISE)


def respond(system, frequencies=FREQUENCIES, cross=True, **options):
    return ng.linear_response(system, frequencies, stability=False, cross=cross, **options)


@pytest.fixture(scope="module")
def system():
    return made(speed=6.0)


@pytest.fixture(scope="module")
def response(system):
    return respond(system)


@pytest.fixture(scope="module")
def plain():
    """Without delays, and spectra of each region alone."""
    return respond(made(), cross=False)


def blocks(system, state):
    """Jacobians (24, 24) of regions alone, and of what a unit of each region's output does."""
    plain = system.system.undelayed()
    slope = jax.jit(functools.partial(jacobian, plain.vector_field))
    matrix = np.asarray(slope(state)).reshape(6, 4, 6, 4)
    alone = np.einsum("aibj,ij->aibj", matrix, np.eye(4))  # no region receives from itself
    return alone.reshape(24, 24), (matrix - alone)


def test_spectra_of_the_whole_matrix(system, response, plain):
    """At each frequency the whole Jacobian, its blocks between regions turned by their delays."""
    alone, between = blocks(system, response.state)
    push = np.zeros((6, 4, 8))
    for k in range(4):
        push[[1, 4], k, k] = NOISE["input"][k]
        push[4, k, 4 + k] = 0.004
    times = LENGTHS / 6.0
    for k, f in enumerate(FREQUENCIES):
        s = 2j * np.pi * f * 1e-3
        turned = (between * np.exp(-s * times)[None, :, None, :]).reshape(24, 24)
        gains = np.linalg.solve(s * np.eye(24) - alone - turned, push.reshape(24, 8))[4:8]
        cross = 2e-3 * gains @ gains.conj().T
        np.testing.assert_allclose(response.cross[k], cross, rtol=1e-9, atol=1e-12 * cross.max())
        np.testing.assert_allclose(response.power[k], cross.diagonal().real, rtol=1e-9)
        expected = np.abs(cross) ** 2 / np.outer(*[cross.diagonal().real] * 2)
        np.testing.assert_allclose(response.coherence[k], expected, rtol=1e-8)
    assert np.abs(np.asarray(response.power / plain.power) - 1).max() > 0.05


def test_slow_fluctuations_know_no_delays(response, plain):
    np.testing.assert_allclose(response.fc, plain.fc, atol=1e-12)
    np.testing.assert_allclose(response.slow_power, plain.slow_power, rtol=1e-12)
    np.testing.assert_allclose(response.state, plain.state, rtol=1e-13)
    assert plain.cross is None
    with pytest.raises(ValueError, match="cross=True"):
        _ = plain.coherence


def test_no_delay_is_the_limit(plain):
    """To first order in the delay, and equal where it is nothing."""
    gap = []
    for speed in (1e5, 2e5, 1e12):
        gap.append(float(jnp.abs(respond(made(speed=speed)).power / plain.power - 1).max()))
    assert gap[0] == pytest.approx(2 * gap[1], rel=1e-2)
    assert gap[2] < 1e-9


def test_one_delay_by_modes():
    """Equal regions: each mode by itself, its Λ turned by the delay."""
    model, delay = ng.NextGenEI(i_ext_e=np.full(4, 2.0)), 7.0  # by the program of unequal ones
    even = WEIGHTS / WEIGHTS.sum(axis=1, keepdims=True)
    network = ng.Network(model, ng.Connectome(even), np.full(4, 5.0), delays=delay)
    found = respond(ng.Driven(network, {"input": np.full(4, 0.01), "v_i": 0.0}))
    values, vectors = np.linalg.eig(even)
    inner = ng.Homogeneous(ng.NextGenEI(i_ext_e=2.0), 5.0)
    linear = jax.jit(lambda x: linearise(inner, x))
    matrix, push, output = map(np.asarray, linear(np.asarray(found.state)[:, 0]))
    for k, f in enumerate(FREQUENCIES):
        s = 2j * np.pi * f * 1e-3
        gains = []
        for value in values:
            mode = matrix + 5.0 * value * np.exp(-s * delay) * np.outer(push, output)
            gains.append(np.linalg.solve(s * np.eye(6) - mode, 0.01 * push)[1])
        gains = vectors @ np.diag(gains) @ np.linalg.inv(vectors)
        np.testing.assert_allclose(found.cross[k], 2e-3 * gains @ gains.conj().T, rtol=1e-8)


def test_units_of_time_and_order_of_regions(system, response):
    order = np.array([2, 0, 3, 1])
    mixed = ng.Connectome(
        WEIGHTS[np.ix_(order, order)], tract_lengths=LENGTHS[np.ix_(order, order)]
    ).normalised()
    model = ng.NextGenEI(i_ext_e=np.asarray(MODEL.i_ext_e)[order])
    noise = {"input": NOISE["input"][order], "v_i": 0.004}
    other = ng.Driven(ng.Network(model, mixed, COUPLING[order], speed=6.0), noise)
    np.testing.assert_allclose(respond(other).power, response.power[:, order], rtol=1e-9)
    given = made(delays=LENGTHS / 6.0)
    np.testing.assert_allclose(respond(given).power, response.power, rtol=1e-12)


def total(system):
    found = respond(system, FREQUENCIES[:2], throw=False)
    return jnp.log(found.power).sum() + found.coherence.sum() + found.fc.sum()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "at"), [("speed", 6.0), ("coupling", 5.0), ("j_ei", 13.0)])
def test_derivatives(system, name, at):
    value = jax.jit(lambda v: total(system.with_parameters(**{name: v})))
    h = 1e-4 * at
    difference = float(value(at + h) - value(at - h)) / (2 * h)
    assert float(jax.jit(jax.grad(value))(at)) == pytest.approx(difference, rel=1e-6)


def test_derivative_by_the_speed():
    """Where there is no connection, no length is needed either."""
    unknown = np.where(WEIGHTS > 0, LENGTHS, np.nan)
    system = made(delays=TractDelays(unknown, 6.0))
    value = jax.jit(jax.value_and_grad(lambda v: total(system.with_parameters(speed=v))))
    ends = [float(value(6.0 + h)[0]) for h in (-1e-3, 1e-3)]
    slope = float(value(6.0)[1])
    assert slope == pytest.approx((ends[1] - ends[0]) / 2e-3, rel=1e-5)
    assert abs(slope) > 1e-3


def test_characteristic_roots_by_newton():
    """Of x' = -x(t - τ), whose roots z = -exp(-zτ) are Lambert's W(-τ) / τ."""

    class Leak(ng.models.AbstractNeuralMass):
        variables, units, nonnegative = ("x",), ("1",), ()
        shown, shown_unit, time_unit = "x", "1", "ms"
        rate: jax.Array = ng.models.parameter(1.0, unit="1", doc="")

        def vector_field(self, state, drive):
            return self.rate * drive[None]

        def output(self, state):
            return -state[0]

        def search_box(self):
            return -jnp.ones(1), jnp.ones(1)

    network = ng.Network(Leak(), np.ones((1, 1)), 1.0, delays=1.2)
    for branch in (0, 1, 2):
        root = lambertw(-1.2, branch) / 1.2
        found, error = root_at(network, jnp.zeros((1, 1)), complex(root) + 0.02)
        assert abs(complex(found) - complex(root)) < 1e-10
        assert float(error) < 1e-10


def test_stability_is_that_of_the_characteristic_roots(system):
    found = ng.linear_response(system, FREQUENCIES, cross=True, throw=False)
    roots = ng.characteristic_roots(system.system, found.state)
    np.testing.assert_allclose(found.growth, roots.growth[0], rtol=1e-9)
    assert found.status == (ng.Status.UNSTABLE if roots.growth[0] > 0 else ng.Status.OK)
    with pytest.raises(ValueError, match="stability=False"):
        jax.jit(lambda s: ng.linear_response(s).growth)(system)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "true", "made_with"), [
    ("speed", 6.0, {"speed": 9.0}), ("delay", 8.0, {"delays": 11.0}),
])  # fmt: skip
def test_a_fit_finds_the_delays(name, true, made_with):
    frequencies = np.arange(5.0, 100.0, 6.0)
    start = made(**made_with)
    target = np.asarray(respond(start.with_parameters(**{name: true}), frequencies).power)

    def loss(system):
        found = respond(system, frequencies, throw=False)
        return losses.spectral_distance(found.power, target) ** 2

    free = Free(start, {name: interval(4.0, 14.0)})
    found = ng.fit(
        start, free, lambda s, key: loss(s), method=Gradient(polish=60), steps=60, progress=False
    )
    assert float(found.values()[name]) == pytest.approx(true, rel=1e-6)
