"""Delays of several couplings, outputs and inputs; regions alike with delays, in all that runs."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import lambertw

import ngnmm_jax as ng
from ngnmm_jax._core.definition import definition
from ngnmm_jax._core.parameters import parameter_names
from ngnmm_jax.coupling import (
    AbstractPairwise,
    CouplingSum,
    DiffusiveCoupling,
    LinearCoupling,
    Routed,
)
from ngnmm_jax.graphs import DelayedGraph, DenseGraph, IdentityGraph
from ngnmm_jax.models import parameter
from ngnmm_jax.models.stuart_landau import ComplexStuartLandau
from ngnmm_jax.systems.delayed_homogeneous import DelayedHomogeneous, RestingHomogeneous
from tests.scalar_models import OneVariable
from tests.test_delay_couplings import TIMES, Twofold, crossed_and_six, of, over

WEIGHTS = np.array([[0, 1.0, 3.0], [2.0, 0, 2.0], [3.0, 1.0, 0]]) / 4
#: Delays, strengths, and what a region has of its own at once.
FAST, SLOW, NEAR, FAR, OWN = 0.72, 2.3, -0.8, -0.9, 0.2


class Line(OneVariable):
    """x' = -a x + the input."""

    a: jax.Array = parameter(0.3, unit="1/ms", doc="decay")

    def vector_field(self, state, drive):
        return -self.a * state + drive[None]


class Difference(AbstractPairwise):
    """The difference of outputs, connection by connection."""

    graph: object
    strength: jax.Array = eqx.field(converter=jnp.asarray)

    def passed(self, sending, receiving):
        return sending - receiving


def several(weights=WEIGHTS):
    graph = DenseGraph(weights)
    parts = {
        "near": LinearCoupling(DelayedGraph(graph, FAST), NEAR),
        "far": LinearCoupling(DelayedGraph(graph, SLOW), FAR),
        "own": LinearCoupling(IdentityGraph(len(weights)), OWN),
    }
    return ng.Network(Line(), coupling=CouplingSum(parts))


def discretised(decay, terms, nodes=60):
    """Eigenvalues of x' = -decay x + Σ strength x(t - delay): Chebyshev's matrix over the longest
    delay, as Breda, Maset and Vermiglio (2005) have it.
    """
    longest = max(delay for _, delay in terms)
    x = np.cos(np.pi * np.arange(nodes + 1) / nodes)
    c = np.where(np.isin(np.arange(nodes + 1), (0, nodes)), 2.0, 1.0) * (-1.0) ** np.arange(
        nodes + 1
    )
    slope = np.outer(c, 1 / c) / (x[:, None] - x + np.eye(nodes + 1))
    slope -= np.diag(slope.sum(axis=1))
    whole = slope * 2 / longest
    whole[0] = 0
    whole[0, 0] = -decay
    for strength, delay in terms:
        gap = 1 - 2 * delay / longest - x
        exact = np.isclose(gap, 0, atol=1e-13)
        near = exact * 1.0 if exact.any() else (1 / c) / gap
        whole[0] += strength * near / near.sum()
    z = np.linalg.eigvals(whole)
    return z[np.argsort(-z.real)]


def upper(z):
    return z[z.imag >= 0]


def test_several_delays_that_regions_alike_share():
    """Growth of regions alike: against a discretisation, and among the network's roots."""
    network = several()
    inner = network.homogeneous()
    assert isinstance(inner, DelayedHomogeneous)
    rest = ng.find_equilibria(inner)
    assert rest.ok
    exact = upper(discretised(0.3 - OWN, [(NEAR, FAST), (FAR, SLOW)]))
    assert_allclose(rest.eigenvalues[0][:4], exact[:4], atol=1e-9)
    assert bool(rest.stable[0]) == (exact[0].real < 0)
    whole = np.asarray(ng.dispersion(network, rest.states[0]).roots)
    assert np.abs(whole - exact[0]).min() < 1e-9
    branch = ng.continue_equilibria(inner, {"far_delay": (2.0, 4.0)}, longest=0.5)
    assert_allclose(branch.spectrum[0][0].real, discretised(
        0.3 - OWN, [(NEAR, FAST), (FAR, 2.0)])[0].real, atol=1e-9)  # fmt: skip
    with pytest.raises(ValueError, match=r"no one delay.*simulate"):
        ng.find_orbit(inner)
    with pytest.raises(ValueError, match=r"no one delay.*simulate"):
        ng.continue_cycles(inner, {"coupling": (0.5, 2.0)})


def test_where_delays_differ_what_rests_alike_grows_as_the_network():
    times = np.array([[1.0, 0.8, 1.9], [0.5, 1.0, 1.3], [2.1, 0.6, 1.0]])
    network = ng.Network(Line(), WEIGHTS, -1.4, delays=times)
    inner = network.homogeneous()
    assert isinstance(inner, RestingHomogeneous)
    rest = ng.find_equilibria(inner)
    roots = ng.dispersion(network, rest.states[0])
    assert_allclose(rest.eigenvalues[0], roots.roots, atol=1e-10)
    assert rest.ok
    assert rest.stable[0] == (roots.growth[0] < 0)
    assert inner.with_parameters(coupling=0.1).coupling == 0.1
    for refused in (
        lambda: ng.simulate(inner, 1.0, dt=0.1),
        lambda: ng.simulate(ng.Driven(inner, {"x": 0.1}), 1.0, dt=0.1),
        lambda: ng.simulate_batch(inner, {"coupling": [0.1]}, 1.0, dt=0.1),
        lambda: ng.lyapunov_spectrum(inner, 1, dt=0.1),
        lambda: ng.lyapunov_map(inner, {"coupling": [0.1]}, 1, dt=0.1),
        lambda: ng.orbit_diagram(inner, {"coupling": [0.1]}, dt=0.1),
        lambda: ng.sweep(inner, {"coupling": [0.1]}, ng.Activity(duration=90.0, dt=0.1)),
    ):
        with pytest.raises(ValueError, match="sums of unlike times"):
            refused()


@pytest.mark.parametrize("make", [several, lambda: ng.Network(
    Line(), coupling=DiffusiveCoupling(DelayedGraph(DenseGraph(WEIGHTS), FAST), 0.8))])  # fmt: skip
def test_regions_alike_run_as_the_network(make):
    """One run, a batch over a delay, and a run that goes on with its history."""
    network = make()
    inner = network.homogeneous()
    name = next(name for name in ("delay", "near_delay") if name in parameter_names(inner))
    given = {"dt": 0.05, "integrator": "rk4", "save_every": 1.0}
    run = ng.simulate(inner, 6.0, start=np.array([0.5]), **given)
    whole = ng.simulate(network, 6.0, start=np.array([0.5]), **given)
    assert run.states.shape == (7, 1)
    assert_allclose(run.states, whole.states[..., 1], rtol=1e-12)
    first = ng.simulate(inner, 2.0, start=np.array([0.5]), **given)
    again = ng.simulate(inner, 4.0, start=first, **given)
    assert_allclose(again.final_state, run.final_state, rtol=1e-12)
    runs = ng.simulate_batch(inner, {name: [FAST, 0.74]}, 6.0, start=np.array([0.5]), **given)
    assert_allclose(runs.final_state[0], run.final_state, rtol=1e-12)
    other = ng.simulate(
        network.with_parameters(**{name: 0.74}), 6.0, start=np.array([0.5]), **given
    )
    assert_allclose(runs.final_state[1], other.final_state[:, 0], rtol=1e-12)
    assert np.abs(runs.final_state[1] - runs.final_state[0]) > 1e-3


@pytest.mark.slow
def test_exponents_of_regions_alike_are_their_roots():
    inner = several().homogeneous()
    exact = discretised(0.3 - OWN, [(NEAR, FAST), (FAR, SLOW)])
    times = {"dt": 0.05, "duration": 300.0, "transient": 50.0}
    found = ng.lyapunov_spectrum(inner, 2, start=np.zeros(1), **times)
    assert_allclose(found.exponents, exact[0].real, atol=0.02)
    assert abs(float(found.exponents.mean()) - exact[0].real) < 1e-4
    mapped = ng.lyapunov_map(inner, {"far_delay": [SLOW]}, 2, **times)
    assert_allclose(mapped.spectra.exponents[0], found.exponents, atol=0.02)


@pytest.mark.parametrize("inputs", [1, 2])
def test_several_outputs_by_lamberts_function(inputs):
    """z' = (a + iω) z + K Σ w z(t - τ): its roots, and those of one part alone by a network."""
    a, omega, strength, delay = -0.3, 2.0, 0.7, 1.7
    graph = DelayedGraph(DenseGraph(WEIGHTS), delay)
    routes = {"xy"[k]: Routed(LinearCoupling(graph, strength), k, k, 2) for k in range(inputs)}
    network = ng.Network(ComplexStuartLandau(a=a, omega=omega), coupling=CouplingSum(routes))
    found = ng.characteristic_roots(network, np.zeros(2), line=-1.5)
    assert found.certified
    assert found.patterns.shape == (found.roots.size, 2, 3)
    if inputs == 1:  # det(z - A - K Λ exp(-zτ) e eᵀ), each mode by itself
        alone = np.array([[a, -omega], [omega, a]])
        for z in np.asarray(found.roots):
            gain = np.linalg.inv(z * np.eye(2) - alone)[0, 0] * strength * np.exp(-z * delay)
            assert np.abs(1 - gain * np.linalg.eigvals(WEIGHTS)).min() < 1e-7
        return
    exact = []
    for mode in np.linalg.eigvals(WEIGHTS):
        by = strength * mode * delay * np.exp(-(a + 1j * omega) * delay)
        exact.append(a + 1j * omega + lambertw(by, np.arange(-30, 31)) / delay)
    exact = np.concatenate(exact)
    exact = exact[exact.real >= -1.5]
    exact = np.where(exact.imag < 0, exact.conj(), exact)
    assert_allclose(np.sort_complex(found.roots), np.sort_complex(exact), atol=1e-9)
    z, error = ng.root_near(network, np.zeros(2), exact[0] + 0.01)
    assert abs(complex(z) - exact[0]) < 1e-9
    assert float(error) < 1e-9
    inner = ng.find_equilibria(network.homogeneous())
    uniform = (
        a + 1j * omega + lambertw(strength * delay * np.exp(-(a + 1j * omega) * delay)) / delay
    )
    assert_allclose(inner.growth[0], uniform.real, atol=1e-9)


@pytest.mark.slow
def test_several_outputs_of_unlike_regions_are_networks_of_single_ones():
    """Roots, maps, and whether a response is of a stable state; derivatives of a root."""
    crossed, six = crossed_and_six(0.9, TIMES)
    decay = np.array([0.5, 0.9, 0.3])
    crossed = crossed.with_parameters(decay=decay)
    six = six.with_parameters(decay=np.tile(decay, 2))
    state = ng.find_equilibria(crossed).states[0]
    other = state.reshape(1, 6)
    found = ng.characteristic_roots(crossed, state, line=-1.5)
    expected = ng.characteristic_roots(six, other, line=-1.5)
    assert found.certified
    assert_allclose(np.sort_complex(found.roots), np.sort_complex(expected.roots), atol=1e-9)
    assert_allclose(np.abs(found.patterns[0]).ravel(), np.abs(expected.patterns[0]), atol=1e-6)

    def growth(network, state, name):
        def of_strength(k):
            here = network.with_parameters(**dict.fromkeys(name, k))
            return ng.root_near(here, state, expected.roots[0])[0].real

        return jax.grad(of_strength)(0.9)  # fmt: skip

    slope = growth(crossed, state, ("a_coupling", "b_coupling"))
    assert_allclose(slope, growth(six, other, ("coupling",)), rtol=1e-7)


@pytest.mark.slow
def test_maps_and_responses_of_several_outputs():
    crossed, six = crossed_and_six(0.2, TIMES)
    mapped = ng.dispersion_map(crossed, {"coupling": [0.5, 1.0], "rate": [0.1]})
    assert mapped.certified[mapped.number_growing >= 0].all()
    here = crossed.with_parameters(rate=0.1)
    roots = ng.dispersion(here, mapped.states[1, 0, 0])
    assert_allclose(mapped.growth[1, 0, 0], roots.growth[0], atol=1e-9)
    found = ng.linear_response(ng.Driven(crossed, {"x": 0.1, "y": 0.1}), [20.0])
    whole = ng.linear_response(ng.Driven(six, {"x": 0.1}), [20.0])
    assert found.ok
    assert_allclose(found.growth, whole.growth, atol=1e-9)
    uncoupled = of(CouplingSum({"a": Routed(LinearCoupling(over(), 0.0), 0, 1, 2)}), Twofold())
    roots = ng.dispersion(uncoupled, ng.find_equilibria(uncoupled).states[0])
    assert roots.certified
    assert_allclose(roots.roots, -np.sqrt(0.5**2 - 0.2**2) * np.ones(6), atol=1e-7)


@pytest.mark.slow
def test_gradients_go_through_runs_of_regions_alike():
    inner = several().homogeneous()

    def last(delay):
        here = inner.with_parameters(far_delay=delay)
        return ng.simulate(here, 5.0, start=jnp.ones(1), dt=0.05, integrator="rk4").final_state[0]

    slope, h = float(jax.grad(last)(2.31)), 1e-5
    assert slope == pytest.approx(float(last(2.31 + h) - last(2.31 - h)) / (2 * h), rel=1e-4)


@pytest.mark.parametrize("make", [LinearCoupling, DiffusiveCoupling, Difference])
def test_the_delay_of_regions_alike_decides_their_numbers(make):
    def of_delay(delays):
        graph = DelayedGraph(DenseGraph([[0, 1.0], [1.0, 0]]), delays)
        system = ng.Network(Line(), coupling=make(graph, 0.2)).homogeneous()
        return definition("a test", system)

    apart = np.array([[0, 4.0], [5.0, 0]])
    assert of_delay(4.0) == of_delay(4.0) != of_delay(5.0)
    assert of_delay(apart) == of_delay(apart) != of_delay(apart + 1)


def test_sweeps_of_regions_alike_are_kept(tmp_path):
    def sweep(delay):
        system = ng.Network(Line(), [[0, 1.0], [1.0, 0]], -0.5, delays=delay).homogeneous()
        measure = ng.Activity(transient=1.0, duration=16.0, dt=0.1, keep=("mean",))
        return ng.sweep(system, {"coupling": [-0.5, -0.1]}, measure, store=tmp_path / "s")

    found = sweep(4.0)
    assert found.identical(sweep(4.0))
    with pytest.raises(ValueError, match="delay"):
        sweep(5.0)


def test_hopf_points_of_regions_alike_with_several_delays():
    """Where iω + a - c = F exp(-iω FAST) + S exp(-iω SLOW) has a real ω; no coefficient there."""
    inner = several().homogeneous()
    branch = ng.continue_equilibria(inner, {"a": (0.3, 3.0)}, longest=0.2)
    (hopf,) = branch.of_kind("hopf")
    w = 2 * np.pi / hopf.period
    late = NEAR * np.exp(-1j * w * FAST) + FAR * np.exp(-1j * w * SLOW)
    assert_allclose(1j * w + hopf.parameter - OWN, late, atol=1e-8)
    assert np.isnan(hopf.coefficient)


def test_networks_go_on_from_a_run_of_regions_alike():
    network = ng.Network(Line(), [[0, 1.0], [1.0, 0]], -0.5, delays=2.0)
    inner = network.homogeneous()
    ran = ng.simulate(inner, 5.0, start=[1.0], dt=0.1)
    alone = ng.simulate(inner, 5.0, start=ran, dt=0.1).final_state
    both = ng.simulate(network, 5.0, start=ran, dt=0.1).final_state
    assert_allclose(both, jnp.stack([alone, alone], axis=1), rtol=1e-12)
    batch = ng.simulate_batch(network, {"coupling": [-0.5, -0.4]}, 5.0, start=ran, dt=0.1)
    assert_allclose(batch.final_state[0], both, rtol=1e-12)
    forgotten = ng.simulate(network, 5.0, start=ran.final_state, dt=0.1).final_state
    assert np.abs(forgotten - both).min() > 1e-3
    noise = {"input": ng.noises.OrnsteinUhlenbeck(0.1, 5.0)}
    ran = ng.simulate(ng.Driven(inner, noise=noise), 5.0, start=[1.0], dt=0.1)
    assert ng.simulate(ng.Driven(network, noise=noise), 5.0, start=ran, dt=0.1).ok


def test_modes_are_asked_of_the_network(as_users_call):
    inner = ng.Network(Line(), [[0, 1.0], [1.0, 0]], -0.5, delays=2.0).homogeneous()
    for system in (inner, inner.undelayed()):
        with pytest.raises(ValueError, match=r"must be a network.*find_equilibria"):
            ng.dispersion(system, [0.0])
        assert np.isfinite(ng.find_equilibria(system).growth).all()


def test_models_alone_are_no_systems(as_users_call):
    model, axis = ng.NextGenEI(), {"i_ext_e": [1.0, 2.0]}
    for call in (
        lambda: ng.simulate(model, 10.0),
        lambda: ng.simulate_batch(model, axis, 10.0),
        lambda: ng.find_equilibria(model),
        lambda: ng.find_orbit(model),
        lambda: ng.dispersion(model, np.zeros(8)),
        lambda: ng.sweep(model, axis, ng.Activity()),
        lambda: ng.lyapunov_spectrum(model),
        lambda: ng.Driven(model),
        lambda: ng.initial_state(model),
        lambda: ng.simulate(ng.NextGenEI, 10.0),
    ):
        with pytest.raises(ValueError, match=r"ng\.Network\(model, connectome\).*NextGenEI"):
            call()


@pytest.fixture
def divided():
    """One coupling with a delay, and two whose sum it is."""
    graph, model = DelayedGraph(DenseGraph(WEIGHTS), 4.0), ng.NextGenEI(i_ext_e=5.0)
    parts = {"a": LinearCoupling(graph, 3.0), "b": LinearCoupling(graph, 6.0)}
    one = ng.Network(model, coupling=LinearCoupling(graph, 9.0))
    return one.homogeneous(), ng.Network(model, coupling=CouplingSum(parts)).homogeneous()


def test_couplings_of_one_delay_are_one_coupling(divided):
    one, two = divided
    x = jnp.array([0.1, -1.5, 0.2, 0.1, -1.0, 0.1])
    assert_allclose(two.slope(x, two.gain * two.sent(x)), one.slope(x, one.gain * one.sent(x)))
    assert two.delay == one.delay == jax.jit(lambda s: s.delay)(two)
    apart = two.with_parameters(b_delay=5.0)
    with pytest.raises(ValueError, match="no one delay"):
        ng.find_orbit(apart)
    assert np.isnan(jax.jit(lambda s: s.delay)(apart))
    by_own = jax.grad(lambda d: two.with_parameters(b_delay=d).delay)
    assert np.isnan(by_own(4.0))
    by_other = jax.jacfwd(lambda c: (s := two.with_parameters(coupling=c)).delay * s.coupling)
    assert by_other(1.0) == 4.0


@pytest.mark.slow
def test_orbits_of_couplings_of_one_delay(divided):
    one, two = (ng.find_orbit(system) for system in divided)
    assert_allclose(two.period, one.period, rtol=1e-8)
    assert_allclose(two.exponents[:2], one.exponents[:2], atol=1e-7)
