"""Homogeneous states of networks with delays: which exist, their orbits, and what grows on them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ngnmm_jax as ng
from ngnmm_jax.coupling import DiffusiveCoupling, LinearCoupling, PairwiseCoupling
from ngnmm_jax.dynamics.delayed.orbits import path_of
from ngnmm_jax.dynamics.delayed.pieces import evaluate
from ngnmm_jax.dynamics.delayed.system import linearised
from ngnmm_jax.graphs import DelayedGraph, DenseGraph
from ngnmm_jax.systems.delayed_homogeneous import DelayedHomogeneous

WEIGHTS = np.array([[0, 1.0, 3.0], [2.0, 0, 2.0], [3.0, 1.0, 0]]) / 4
LENGTHS = np.array([[0, 40.0, 60.0], [40.0, 0, 90.0], [60.0, 90.0, 0]])
MODEL = ng.NextGenEI(i_ext_e=9.0)


def network(**delays):
    connectome = ng.Connectome(WEIGHTS, tract_lengths=LENGTHS)
    return ng.Network(MODEL, connectome, 9.0, **delays)


def test_one_delay_is_a_homogeneous_system():
    inner = network(delays=12.0).homogeneous()
    assert isinstance(inner, DelayedHomogeneous)
    assert "12" in repr(inner)
    assert float(inner.delay) == 12.0
    assert float(inner.with_parameters(delay=3.0, coupling=4.0).delay) == 3.0
    plain = network().homogeneous()
    rest, other = ng.find_equilibria(inner), ng.find_equilibria(plain)
    np.testing.assert_allclose(rest.states, other.states, rtol=1e-12)
    assert rest.complete
    modes = ng.dispersion(network(delays=12.0), rest.states[0])
    np.testing.assert_allclose(rest.growth[0], modes.growth[modes.uniform], rtol=1e-9)
    assert not rest.stable.any()
    state = jnp.asarray(other.states[0]) + 0.1
    arriving = inner.gain * inner.sent(state)
    np.testing.assert_allclose(inner.slope(state, arriving), plain.vector_field(state), rtol=1e-12)
    assert inner.shortest_delay() == 12.0
    for refused in (lambda: inner.vector_field(state), lambda: inner.certain_search):
        with pytest.raises(ValueError, match="has a delay"):
            refused()
    with pytest.raises(ValueError, match="`delay` must be positive"):
        inner.with_parameters(delay=-1.0)


def test_equal_delays_are_one():
    """Given for each connection, or by lengths and a speed, where there are connections."""
    there = WEIGHTS > 0
    given = network(delays=np.where(there, 7.0, 100.0)).homogeneous()
    assert float(given.delay) == 7.0
    same = ng.Connectome(WEIGHTS, tract_lengths=np.where(there, 50.0, 0.0))
    by_speed = ng.Network(MODEL, same, 9.0, speed=10.0).homogeneous()
    assert float(by_speed.delay) == pytest.approx(5.0)
    assert float(by_speed.with_parameters(speed=5.0).delay) == pytest.approx(10.0)


def test_unequal_delays_have_equilibria_only():
    inner = network(speed=10.0).homogeneous()
    assert ng.find_equilibria(inner).ok
    with pytest.raises(ValueError, match="between 4 and 9: regions that oscillate alike"):
        ng.find_orbit(inner)


def test_what_is_not_known_with_delays():
    uneven = np.array([[0, 1.0, 1.0], [2.0, 0, 2.0], [3.0, 1.0, 0]])
    coupling = DiffusiveCoupling(DelayedGraph(DenseGraph(uneven), 12.0), 1.0)
    with pytest.raises(ValueError, match="equal sums"):
        ng.Network(MODEL, coupling=coupling).homogeneous()


def pairs_and_sums(kind):
    """A coupling by pairs, which knows nothing of sums, and the same as weighted sums."""
    graph = DelayedGraph(DenseGraph(WEIGHTS), 12.0)
    if kind == "sum":
        passed, known = (lambda there, here: there), LinearCoupling
    else:
        passed, known = (lambda there, here: there - here), DiffusiveCoupling
    every = (PairwiseCoupling(graph, 9.0, passed), known(graph, 9.0))
    return [ng.Network(ng.NextGenEI(i_ext_e=4.0), coupling=coupling) for coupling in every]


@pytest.mark.parametrize("kind", ["sum", "difference"])
def test_pairs_with_one_delay_are_the_sums_that_they_can_be_written_as(kind):
    """What regions share, modes and maps; growth of shared perturbations is among the modes."""
    pairs, sums = pairs_and_sums(kind)
    rest, other = (ng.find_equilibria(n.homogeneous()) for n in (pairs, sums))
    assert np.isfinite(rest.growth).all()
    np.testing.assert_allclose(rest.states, other.states, rtol=1e-9)
    np.testing.assert_allclose(rest.growth, other.growth, atol=1e-9)
    modes, others = (ng.dispersion(n, rest.states[0]) for n in (pairs, sums))
    np.testing.assert_allclose(modes.growth, others.growth, atol=1e-9)
    np.testing.assert_allclose(rest.growth[0], modes.growth[modes.uniform], atol=1e-9)
    whole = ng.characteristic_roots(sums, rest.states[0])
    np.testing.assert_allclose(modes.growth.max(), whole.growth[0], atol=1e-9)
    state, arriving = rest.states[0] + 0.1, jnp.asarray([0.02])
    one, two = (n.homogeneous().slope(state, arriving) for n in (pairs, sums))
    np.testing.assert_allclose(one, two, rtol=1e-12)
    for network in (pairs, sums):
        mapped = ng.dispersion_map(network, {"i_ext_e": [4.0]})
        np.testing.assert_allclose(
            [mapped.growth_uniform[0, 0], mapped.growth_transverse[0, 0]],
            [rest.growth[0], np.delete(modes.growth, modes.uniform).max()],
            atol=1e-9,
        )
        np.testing.assert_allclose(mapped.lambdas, modes.lambdas, atol=1e-12)


def test_differences_with_delays_leave_regions_alike_alone():
    """Equilibria are those of a region alone, all of them; delays that differ change none."""
    sums = pairs_and_sums("difference")[1]
    times = np.array([[1.0, 5, 9], [3, 1, 7], [4, 6, 1]])
    coupling = DiffusiveCoupling(DelayedGraph(DenseGraph(WEIGHTS), times), 9.0)
    unlike = ng.Network(sums.model, coupling=coupling)
    alone = ng.find_equilibria(ng.Homogeneous(sums.model, 0.0))
    for network in (sums, unlike):
        rest = ng.find_equilibria(network.homogeneous())
        assert rest.complete
        np.testing.assert_allclose(rest.states, alone.states, rtol=1e-9)
    roots = ng.characteristic_roots(unlike, alone.states[0])
    swept = ng.sweep(unlike, {"i_ext_e": [4.0]}, ng.Stability())
    np.testing.assert_allclose(swept.growth[0, 0], roots.growth[0], atol=1e-9)
    branch = ng.continue_equilibria(sums.homogeneous(), {"i_ext_e": (3.9, 4.1)})
    assert branch.ok


@pytest.fixture(scope="module")
def orbit():
    """With spikes: v_e between -27 and 27."""
    return ng.find_orbit(network(delays=12.0).homogeneous())


@pytest.mark.slow
def test_an_orbit_of_spikes(orbit):
    """Against RK4 with the history on the grid: three periods later it is where it was."""
    inner, period, delay = network(delays=12.0).homogeneous(), float(orbit.period), 12.0
    assert orbit.stable
    assert float(orbit.error) < 1e-8
    path, each = path_of(orbit), 2400
    h = delay / each
    past = evaluate(path, jnp.arange(-2 * each, 1) * (h / 2) / period)

    @jax.jit
    def run(history):  # what was sent at half steps (half step, channel)
        def step(carry, k):
            x, kept = carry
            a, b, c = (inner.gain * kept[2 * k + j] for j in range(3))
            k1 = inner.slope(x, a)
            k2 = inner.slope(x + h / 2 * k1, b)
            k3 = inner.slope(x + h / 2 * k2, b)
            new = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + inner.slope(x + h * k3, c))
            slope = inner.slope(new, c)  # at its own end, where c arrives
            middle = (x + new) / 2 + h / 8 * (k1 - slope)
            sent = jnp.stack([inner.sent(middle), inner.sent(new)])
            kept = jax.lax.dynamic_update_slice_in_dim(kept, sent, 2 * each + 1 + 2 * k, 0)
            return (new, kept), None

        count = int(3 * period / h)
        kept = jnp.concatenate([history, jnp.zeros((2 * count + 2, history.shape[1]))])
        (x, _), _ = jax.lax.scan(step, (past[-1], kept), jnp.arange(count))
        return x, count * h

    x, t = run(jax.vmap(inner.sent)(past))
    expected = evaluate(path, jnp.asarray([float(t) / period]))[0]
    np.testing.assert_allclose(x, expected, atol=1e-6 * float(jnp.abs(orbit.samples).max()))


@pytest.mark.slow
def test_modes_of_an_orbit(orbit):
    """Growth of the variational delay equation, integrated over twelve periods, in each mode."""
    system = network(delays=12.0)
    inner, period = system.homogeneous(), float(orbit.period)
    lambdas = np.array([1.0, 0.5, -0.75])
    found = ng.dispersion(system, orbit, lambdas=lambdas)
    assert found.ok
    assert abs(complex(found.eigenvalues[0, 0])) < 1e-8 / period
    np.testing.assert_allclose(found.eigenvalues[0].real, orbit.exponents, atol=1e-8)
    each = 1200
    h, path = 12.0 / each, path_of(orbit)
    count = int(12 * period / h)
    grid = jnp.arange(2 * count + 1) * (h / 2) / period
    states = evaluate(path, grid)
    arriving = inner.gain * jax.vmap(inner.sent)(evaluate(path, grid - 12.0 / period))
    here, by_past, out = jax.jit(jax.vmap(lambda x, y: linearised(inner, x, y)))(states, arriving)

    @jax.jit
    def run(strength):
        def slope(k, xi, sent):
            return here[k] @ xi + strength * by_past[k] @ sent

        def step(carry, k):
            xi, kept = carry
            a, b, c = (kept[2 * k + j] for j in range(3))
            k1 = slope(2 * k, xi, a)
            k2 = slope(2 * k + 1, xi + h / 2 * k1, b)
            k3 = slope(2 * k + 1, xi + h / 2 * k2, b)
            new = xi + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(2 * k + 2, xi + h * k3, c))
            middle = (xi + new) / 2 + h / 8 * (k1 - slope(2 * k + 2, new, c))
            sent = jnp.stack([out[2 * k + 1] @ middle, out[2 * k + 2] @ new])
            kept = jax.lax.dynamic_update_slice_in_dim(kept, sent, 2 * each + 1 + 2 * k, 0)
            return (new, kept), new

        kept = jnp.concatenate([jnp.ones((2 * each + 1, 1)), jnp.zeros((2 * count + 2, 1))])
        _, path = jax.lax.scan(step, (jnp.ones(6), kept), jnp.arange(count))
        return path

    for strength, growth in zip(lambdas[1:], found.growth[1:], strict=True):
        xi = np.asarray(run(strength))[:, 1]
        last = [np.interp(count * h - k * period, np.arange(1, count + 1) * h, xi) for k in (0, 4)]
        assert np.log(abs(last[0] / last[1])) / (4 * period) == pytest.approx(
            float(growth), abs=1e-5
        )


@pytest.mark.slow
def test_a_short_delay_is_none():
    """Growth against Λ, to first order in the delay."""
    lambdas = np.array([0.5, 0.0, -0.5])
    plain = network()
    whole = ng.find_orbit(plain.homogeneous())
    without = ng.dispersion(plain, whole, lambdas=lambdas).growth
    gaps = []
    for delay in (2e-3, 1e-3):
        system = network(delays=delay)
        orbit = ng.find_orbit(system.homogeneous())
        assert float(orbit.period) == pytest.approx(float(whole.period), abs=3 * delay)
        gaps.append(ng.dispersion(system, orbit, lambdas=lambdas).growth - without)
    assert float(jnp.abs(gaps[1]).max()) < 1e-3
    np.testing.assert_allclose(gaps[0], 2 * gaps[1], rtol=0.02)


@pytest.mark.slow
def test_derivatives_of_growth_by_delay_and_parameters(orbit):
    system = network(delays=12.0)

    def growth(**values):
        return ng.dispersion(
            system.with_parameters(**values), orbit, lambdas=jnp.array([0.5]), throw=False
        ).growth[0]

    for name, at in (("delay", 12.0), ("coupling", 9.0)):
        slope = float(jax.jit(jax.jacfwd(lambda v, name=name: growth(**{name: v})))(at))
        h = 1e-4 * at
        ends = [float(growth(**{name: at + s})) for s in (-h, h)]
        assert slope == pytest.approx((ends[1] - ends[0]) / (2 * h), rel=1e-4)
