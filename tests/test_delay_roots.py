"""Characteristic roots with delays: exact answers, a spectral discretisation, hard cases."""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import lambertw

import ngnmm_jax as ng
from ngnmm_jax.dynamics.gain_bounds import Node
from ngnmm_jax.dynamics.quasi_polynomials import rightmost_roots
from ngnmm_jax.models import parameter
from ngnmm_jax.stability.roots import characteristic_roots, root_near
from ngnmm_jax.systems.loops import (
    Loop,
    _of_one_mode,
    rightmost,
    rightmost_of_modes,
    roots_right_of,
)
from ngnmm_jax.systems.wide_loops import loop_of
from tests.scalar_models import OneVariable

#: x' = input, of one variable, which is sent.
INTEGRATOR = Node(np.zeros((1, 1, 1)), np.ones((1, 1)), np.ones((1, 1)))


class Line(OneVariable):
    """x' = -a x + the input: with coupling -1, a = 0 and a delay, x' = -x(t - τ)."""

    a: jax.Array = parameter(0.0, unit="1/ms", doc="decay")

    def vector_field(self, state, drive):
        return -self.a * state + drive[None]


def scalar(strength, delay):
    """The loop of x' = strength x(t - delay)."""
    return Loop(INTEGRATOR, np.full((1, 1), strength), np.full((1, 1), delay))


def branches(strength, delay, line):
    """Its roots right of a line, by Lambert's function."""
    z = lambertw(strength * delay, np.arange(-60, 61)) / delay
    z = z[(z.real >= line) & (z.imag >= 0)]
    return z[np.argsort(-z.real)]


def drawn(seed, regions, variables, longest, density=0.6, nodes=None):
    """A random directed loop, of both signs."""
    rng = np.random.default_rng(seed)
    nodes = regions if nodes is None else nodes
    shape = (nodes, variables)
    matrix = 0.5 * rng.normal(size=(*shape, variables)) - 0.3 * np.eye(variables)
    node = Node(matrix, rng.normal(size=shape), rng.normal(size=shape))
    weights = rng.normal(size=(regions, regions)) * (rng.random((regions, regions)) < density)
    times = rng.uniform(0.1, 1.0, weights.shape) * longest
    return Loop(node, weights, np.where(weights != 0, times, 0.0))


def discretised(loop, n):
    """Eigenvalues of the generator's discretisation (Breda, Maset and Vermiglio 2005).

    States now, and what regions send at n Chebyshev nodes of the longest delay, between which it
    is interpolated.
    """
    ((weights, times),) = loop.terms
    regions, v = loop.size, loop.node.matrix.shape[-1]
    matrix = np.broadcast_to(loop.node.matrix, (regions, v, v))
    push = np.broadcast_to(loop.node.push, (regions, v))
    sent = np.broadcast_to(loop.node.sent, (regions, v))
    nodes, ends = np.cos(np.pi * np.arange(n + 1) / n), np.isin(np.arange(n + 1), (0, n))
    signs = (-1.0) ** np.arange(n + 1)
    weight = np.where(ends, 2.0, 1.0) * signs
    slope = weight[:, None] / weight / (nodes[:, None] - nodes + np.eye(n + 1))
    slope = (slope - np.diag(slope.sum(axis=1))) * 2 / loop.longest
    here = regions * v
    out = np.zeros((regions, here))  # what is sent now
    whole = np.zeros((here + n * regions,) * 2)
    for k in range(regions):
        block = slice(k * v, (k + 1) * v)
        out[k, block], whole[block, block] = sent[k], matrix[k]
    for j, k in np.argwhere(weights):
        gap = 1 - 2 * times[j, k] / loop.longest - nodes
        near = np.where(ends, 0.5, 1.0) * signs / np.where(gap == 0, 1e-300, gap)
        near = weights[j, k] * near / near.sum()
        block = slice(j * v, (j + 1) * v)
        whole[block, :here] += near[0] * np.outer(push[j], out[k])
        whole[block, here + k :: regions] += near[1:] * push[j][:, None]
    past = np.kron(slope[1:, 1:], np.eye(regions))
    whole[here:, here:], whole[here:, :here] = past, np.kron(slope[1:, :1], out)
    return np.linalg.eigvals(whole)


def test_scalar_equation_has_lambert_roots():
    for strength, delay, line in ((-1.3, 1.0, -2.5), (-2.0, 30.0, -0.05), (0.7, 1e-3, -1.0)):
        found = roots_right_of(scalar(strength, delay), line)
        assert found.found.certified
        assert_allclose(found.found.values, branches(strength, delay, line), atol=1e-12 / delay)


def test_hopf_point_lies_on_the_line():
    """x' = -x(t - π/2): the pair ±i, and no root further right."""
    found = roots_right_of(scalar(-1.0, np.pi / 2), 0.0).found
    assert found.certified
    assert_allclose(found.values, [1j], atol=1e-14)
    assert roots_right_of(scalar(-1.0, np.pi / 2 - 1e-9), 0.0).found.values.size == 0


@pytest.mark.parametrize("line", [-2.5, -1.0])
def test_double_root(line):
    """x' = -x(t - 1) / e has -1 twice; also where that lies on the line."""
    found = roots_right_of(scalar(-1 / np.e, 1.0), line).found
    assert found.certified
    assert_allclose(found.values, [-1, -1], atol=1e-9)


def test_wright_equation_of_a_network():
    """Wright's equation at rest, x' = -α x(t - 1): stable below π/2, by equilibria of a network."""
    for alpha, stable in ((1.5, True), (1.6, False)):
        network = ng.Network(Line(), np.ones((1, 1)), -alpha, delays=1.0)
        rest = ng.find_equilibria(network, start=np.zeros((1, 1, 1)))
        exact = lambertw(-alpha).real
        assert bool(rest.stable[0]) == stable
        assert_allclose(rest.growth, [exact], atol=1e-12)
        assert bool(ng.find_equilibria(network.undelayed(), start=np.zeros((1, 1, 1))).stable[0])


@pytest.mark.parametrize(
    "shape",
    [(3, 2, 1.0), (5, 3, 2.0), (4, 6, 5.0), (6, 2, 10.0)],
    ids=lambda shape: f"{shape[0]} regions of {shape[1]} variables, {shape[2]:g}",
)
@pytest.mark.parametrize("alike", [True, False])
def test_directed_networks_against_a_spectral_discretisation(shape, alike):
    loop = drawn(3, *shape, nodes=1 if alike else None)
    found = roots_right_of(loop, -0.05)
    other = discretised(loop, 40)
    other = other[(other.real >= -0.05) & (other.imag >= 0)]
    assert found.found.certified
    assert_allclose(found.found.values, other[np.argsort(-other.real)], atol=1e-10)


def test_permuted_regions_have_the_same_roots():
    loop, order = drawn(4, 5, 2, 3.0), np.random.default_rng(0).permutation(5)
    node = Node(*(part[order] for part in loop.node))
    swapped = np.ix_(order, order)
    a = rightmost(loop, 6)
    b = rightmost(Loop(node, loop.weights[swapped], loop.times[swapped]), 6)
    assert_allclose(a.found.values, b.found.values, atol=1e-12)
    simple = np.abs(np.diff(a.found.values)).min() > 1e-6
    assert simple
    assert_allclose(a.sent[:, order], b.sent, atol=1e-9)


def test_scaled_times_scale_roots():
    loop, k = drawn(5, 4, 3, 2.0), 1e-3
    faster = Loop(Node(loop.node.matrix / k, loop.node.push / k, loop.node.sent),
                  loop.weights, loop.times * k)  # fmt: skip
    a, b = rightmost(loop, 6), rightmost(faster, 6)
    assert_allclose(b.found.values * k, a.found.values, atol=1e-12)
    assert_allclose(b.line * k, a.line)


def test_uncoupled_regions_have_their_own_eigenvalues():
    """All roots are poles of the gain, as often as there are regions; also of regions cut off."""
    loop = drawn(6, 3, 3, 1.0, nodes=1)
    own = np.linalg.eigvals(loop.node.matrix[0])
    found = roots_right_of(loop._replace(weights=0 * loop.weights, times=0 * loop.times), -2.0)
    own = np.repeat(own[(own.real >= -2.0) & (own.imag >= 0)], 3)
    assert found.found.certified
    assert_allclose(found.found.values, own[np.argsort(-own.real)], atol=1e-11)
    weights = loop.weights.copy()
    weights[2] = weights[:, 2] = 0
    cut = roots_right_of(Loop(loop.node, weights, np.where(weights != 0, loop.times, 0)), -0.5)
    part = Loop(loop.node, weights[:2, :2], np.where(weights != 0, loop.times, 0)[:2, :2])
    rest = roots_right_of(part, -0.5).found.values
    own = np.linalg.eigvals(loop.node.matrix[0])
    every = np.concatenate([rest, own[(own.real >= -0.5) & (own.imag >= 0)]])
    assert cut.found.certified
    assert_allclose(cut.found.values, every[np.argsort(-every.real)], atol=1e-11)


def test_symmetry_makes_multiple_roots():
    """All to all with one delay: one uniform mode, the other root as often as regions less one."""
    n, loop = 5, drawn(7, 5, 2, 1.0, nodes=1)
    weights = (np.ones((n, n)) - np.eye(n)) / (n - 1)
    found = roots_right_of(Loop(loop.node, weights, 0.7 * (weights != 0)), -1.0)
    modes = rightmost_roots(loop.node, np.array([1.0, -1 / (n - 1)]), 0.7)
    values = np.concatenate([modes.values[0], np.repeat(modes.values[1], n - 1)])
    values = values[(values.real >= -1.0) & (values.imag >= -1e-12)]
    assert found.found.certified
    assert modes.certified.all()
    leading = found.found.values[: values.size]
    assert_allclose(leading, values[np.argsort(-values.real)][: leading.size], atol=1e-10)
    uniform = np.abs(found.sent.sum(axis=1)) / np.sqrt(n)
    assert_allclose(np.sort(uniform)[:4], 0, atol=1e-9)


def test_long_delays_give_many_roots():
    """τ ω far above one: of x' = 0.5 x(t - τ) some τ / (2 π) 0.5 roots grow."""
    found = roots_right_of(scalar(0.5, 400.0), 0.0)
    assert found.found.certified
    assert_allclose(found.found.values, branches(0.5, 400.0, 0.0), atol=1e-12)
    assert found.found.values.size > 30


def test_given_up_search_is_not_certified():
    from ngnmm_jax.dynamics.analytic_roots import roots_in
    from ngnmm_jax.systems.loops import Characteristic, rectangle

    loop = scalar(0.5, 400.0)
    found = roots_in(Characteristic(loop, 0.5 / 400), rectangle(loop, 0.0), most=50)
    assert not found.certified
    assert found.values.size < 30


def test_modes_with_one_delay():
    """Lambert's function again, for complex strengths; two methods; the limit of no delay."""
    strengths = np.array([-1.0, 0.3, 2.0, 1j, -2 + 1j, 0.0])
    for delay in (1e-6, 1.0, 40.0):
        found = rightmost_roots(INTEGRATOR, strengths, delay)
        z = lambertw(strengths[:-1, None] * delay, np.arange(-4, 5)) / delay
        exact = np.append(z.real.max(axis=1), 0.0)
        assert found.certified.all()
        assert_allclose(found.values[:, 0].real, exact, atol=1e-13 / min(delay, 1))


@pytest.fixture(scope="module")
def small():
    """A network of five regions with tracts, at its equilibrium."""
    rng = np.random.default_rng(2)
    weights = rng.random((5, 5)) * (1 - np.eye(5))
    lengths = rng.uniform(20, 150, (5, 5))
    connectome = ng.Connectome(weights, tract_lengths=lengths).normalised()
    network = ng.Network(ng.NextGenEI(i_ext_e=15.0), connectome, 9.0, speed=10.0)
    return network, ng.find_equilibria(network.undelayed().homogeneous()).states[0]


def test_dispersion_of_a_delayed_network(small):
    network, state = small
    roots = ng.dispersion(network, state)
    assert roots.ok
    assert bool(roots.certified)
    assert roots.patterns.shape == roots.overlaps.shape == (roots.roots.size, 5)
    other = discretised(loop_of(network, np.repeat(state[:, None], 5, 1)), 50)
    other = other[(other.real >= float(roots.line)) & (other.imag >= -1e-9)]
    assert_allclose(roots.roots, other[np.argsort(-other.real)], atol=1e-9)
    # The pattern is the spectral pattern: p u = epsilon n W(z) u at the root.
    z, sent = complex(roots.roots[0]), np.asarray(roots.patterns[0])
    loop = loop_of(network, np.repeat(state[:, None], 5, 1))
    inverse = np.linalg.inv(z * np.eye(6) - loop.node.matrix[0])
    gain = loop.node.sent[0] @ inverse @ loop.node.push[0]
    passed = gain * (loop.weights * np.exp(-z * loop.times))[0] @ sent
    assert_allclose(passed, sent, atol=1e-9)
    assert int(roots.number_growing) == int((other.real > 0).sum())
    with pytest.raises(ValueError, match="lambdas"):
        ng.dispersion(network, state, lambdas=[0.5])
    with pytest.raises(ng.SolverError):
        ng.dispersion(network, state + 0.5)


def test_short_delays_come_to_none(small):
    network, state = small
    exact = ng.dispersion(network.undelayed(), state)
    values = np.asarray(exact.eigenvalues).ravel()
    fast = characteristic_roots(network.with_parameters(speed=1e13), state, line=-0.2)
    values = values[(values.real >= -0.2) & (values.imag >= 0)]
    assert_allclose(fast.roots, values[np.argsort(-values.real)], atol=1e-10)
    same = ng.Network(network.model, network.connectome, 9.0, delays=1e-12)
    modes = ng.dispersion(same, state)
    assert modes.lambdas.shape == (5,)
    assert_allclose(modes.eigenvalues.real, exact.eigenvalues.real, atol=1e-10)
    assert_allclose(np.abs(modes.eigenvalues), np.abs(exact.eigenvalues), atol=1e-10)


def test_one_delay_two_ways(small):
    """Per mode, and of the whole network, whose roots are those of all modes."""
    network, state = small
    same = ng.Network(network.model, network.connectome, 9.0, delays=8.0)
    modes = ng.dispersion(same, state)
    whole = characteristic_roots(same, state)
    z = np.asarray(modes.eigenvalues).ravel()
    z = z[(z.real >= float(whole.line)) & (z.imag >= -1e-12)]
    assert modes.ok
    assert_allclose(whole.roots[: z.size], z[np.argsort(-z.real)], atol=1e-10)
    curve = ng.dispersion(same, state, lambdas=[float(modes.lambdas[1].real), 1.0])
    assert_allclose(curve.growth[1], modes.growth[modes.uniform], atol=1e-12)


def test_growth_has_derivatives(small):
    """Total ones, the equilibrium's motion included, against differences; also under jit."""
    network, state = small
    guess = ng.dispersion(network, state).roots[0]

    def growth(values):
        speed, coupling, current = values
        other = network.with_parameters(speed=speed, coupling=coupling, i_ext_e=current)
        return root_near(other, state, guess)[0].real

    both, here = jax.jit(jax.value_and_grad(growth)), jnp.array([10.0, 9.0, 15.0])
    value, slope = both(here)
    for k in range(3):
        step = 1e-3 * jnp.eye(3)[k]
        difference = (both(here + step)[0] - both(here - step)[0]) / 2e-3
        assert_allclose(slope[k], difference, rtol=1e-5)
    assert_allclose(value, guess.real, atol=1e-13)


def test_parameters_and_states_that_differ_between_regions(small):
    network, _ = small
    varied = network.with_parameters(i_ext_e=jnp.linspace(14.0, 16.0, 5))
    rest = ng.find_equilibria(varied)
    roots = ng.dispersion(varied, rest.states[0])
    other = discretised(loop_of(varied, rest.states[0]), 50)
    other = other[(other.real >= float(roots.line)) & (other.imag >= -1e-9)]
    assert bool(roots.certified)
    assert_allclose(roots.roots, other[np.argsort(-other.real)], atol=1e-9)
    assert_allclose(rest.growth[0], roots.growth[0], atol=1e-12)


def test_jansen_rit_counts_in_seconds():
    connectome = ng.Connectome(np.ones((3, 3)) - np.eye(3), tract_lengths=np.full((3, 3), 100.0))
    network = ng.Network(ng.JansenRit(), connectome.normalised(), 50.0, speed=5.0)
    state = ng.find_equilibria(network.undelayed().homogeneous()).states[0]
    roots = ng.characteristic_roots(network, state)
    modes = ng.dispersion(network, state)  # all lengths are the same: one delay
    assert_allclose(modes.growth.max(), roots.growth[0], rtol=1e-9)
    other = discretised(loop_of(network, np.repeat(state[:, None], 3, 1)), 30)
    other = other[(other.real >= float(roots.line)) & (other.imag >= -1e-6)]
    assert bool(roots.certified)
    assert_allclose(roots.roots[0], other[np.argmax(other.real)], rtol=1e-9)
    assert_allclose(roots.frequency, np.abs(roots.roots.imag) / (2 * np.pi))


def test_tracing_is_refused(small):
    network, state = small
    for function in (ng.dispersion, lambda n, x: ng.find_equilibria(n)):
        with pytest.raises(ValueError, match="JAX is tracing"):
            jax.jit(lambda s, f=function: f(network.with_parameters(speed=s), state))(10.0)


@pytest.mark.slow
def test_the_papers_network_with_delays():
    """The rightmost root is that of Beyn's method; here the number is certified."""
    connectome = ng.Connectome.load("hcp-schaefer100").normalised()
    network = ng.Network(ng.NextGenEI(i_ext_e=15.0), connectome, 9.0, speed=10.0)
    state = ng.find_equilibria(network.undelayed().homogeneous()).states[0]
    roots = ng.dispersion(network, state)
    assert bool(roots.certified)
    assert int(roots.number_growing) == 84
    assert_allclose(roots.roots[0], 0.06911843 + 0.66610077j, atol=1e-8)


def test_map_over_speed_and_its_store(small, tmp_path):
    """Each point is what `dispersion` says there; finished blocks are found again."""
    network, _ = small
    axes = {"speed": np.array([4.0, 10.0]), "i_ext_e": np.array([2.0, 15.0])}
    result = ng.dispersion_map(network, axes, store=tmp_path / "map", chunk=2)
    assert result.ok
    for i, speed in enumerate(axes["speed"]):
        for j, current in enumerate(axes["i_ext_e"]):
            here = network.with_parameters(speed=speed, i_ext_e=current)
            roots = ng.dispersion(here, result.states[i, j, 0])
            assert_allclose(result.growth[i, j, 0], roots.growth[0], atol=1e-12)
            assert_allclose(result.frequency[i, j, 0], roots.frequency[0], atol=1e-8)
            assert result.number_growing[i, j, 0] == int(roots.number_growing)
            assert result.stable[i, j, 0] == bool(roots.growth[0] < 0)
    again = ng.dispersion_map(network, axes, store=tmp_path / "map", chunk=2)
    np.testing.assert_array_equal(again.growth, result.growth)
    slower = network.with_parameters(coupling=8.0)
    with pytest.raises(ValueError, match="coupling"):
        ng.dispersion_map(slower, axes, store=tmp_path / "map", chunk=2)
    with pytest.raises(ValueError, match="oscillations"):
        ng.dispersion_map(network, axes, oscillations=True)


def test_map_over_one_delay(small):
    """As `dispersion` has it; with hardly any delay, the map without."""
    network, _ = small
    same = ng.Network(network.model, network.connectome, 9.0, delays=8.0)
    axes = {"delay": np.array([1e-9, 8.0]), "i_ext_e": np.array([2.0, 15.0])}
    result = ng.dispersion_map(same, axes)
    none = ng.dispersion_map(same.undelayed(), {"i_ext_e": axes["i_ext_e"]}, oscillations=False)
    assert result.ok
    assert_allclose(result.growth_transverse[0, :, 0], none.growth_transverse[:, 0], atol=1e-8)
    assert_allclose(result.growth_uniform[0, :, 0], none.growth_uniform[:, 0], atol=1e-8)
    modes = ng.dispersion(same.with_parameters(i_ext_e=15.0), result.states[1, 1, 0])
    best = int(modes.fastest)
    assert result.fastest[1, 1, 0] == best
    assert_allclose(result.growth_transverse[1, 1, 0], modes.growth[best], atol=1e-12)
    assert_allclose(result.frequency[1, 1, 0], modes.frequency[best], atol=1e-8)
    assert result.number_growing[1, 1, 0] == int(modes.number_growing)


def test_hopf_points_continue_in_delay_and_coupling():
    """x' = coupling x(t - delay): they lie where the product is -π/2, ω the reciprocal of it."""
    network = ng.Network(Line(), np.ones((1, 1)), -1.5, delays=1.0)
    bounds = {"delay": (0.5, 3.0), "coupling": (-4.0, -0.2)}
    curve = ng.continue_hopf(network, np.zeros(1), 0.02 + 1.5j, bounds)
    assert curve.ok
    delay, coupling = curve.parameters.values()
    assert_allclose(delay * coupling, -np.pi / 2, atol=1e-9)
    assert_allclose(curve.roots.imag, -coupling, atol=1e-9)
    assert_allclose([delay.min(), delay.max()], [0.5, 3.0], atol=1e-8)
    assert curve.certified.all()
    assert (curve.others == 0).all()
    with pytest.raises(ValueError, match="bounds"):
        ng.continue_hopf(network, np.zeros(1), 1.5j, {"delay": (2.0, 3.0), "coupling": (-4, -1)})
    growing = network.with_parameters(coupling=1.5)
    with pytest.raises(ValueError, match="root"):
        ng.continue_hopf(growing, np.zeros(1), 0.7, {"delay": (0.5, 1.5), "coupling": (0.2, 2)})


def test_figures_of_roots(small):
    network, state = small
    roots = ng.dispersion(network, state)
    ax = ng.plot.characteristic_roots(roots)
    shown = np.concatenate([part.get_offsets() for part in ax.collections])
    assert_allclose(np.sort(shown[:, 0]), np.sort(roots.growth))
    assert "Hz" in ax.get_ylabel()
    plt.close(ax.figure)
    grid = {"speed": np.array([4.0, 10.0]), "i_ext_e": np.array([2.0, 15.0])}
    result = ng.dispersion_map(network, grid)
    ax = ng.plot.roots_map(result)
    assert_allclose(ax.collections[0].get_array().ravel(), result.growth[..., 0].T.ravel())
    plt.close(ax.figure)
    with pytest.raises(ValueError, match="quantity"):
        ng.plot.roots_map(result, quantity="period")


def test_modes_as_loops_of_their_own():
    """What a discretisation does not certify is searched: complex strengths, roots of no mode."""
    node, strengths = drawn(8, 1, 3, 1.0).node, np.array([0.7, -0.4 + 0.6j, 0.0])
    modes = rightmost_roots(node, strengths, 2.0)
    for k, strength in enumerate(strengths):
        values, _, certified = _of_one_mode(node, complex(strength), 2.0)
        assert certified
        assert_allclose(values[:3].real, modes.values[k].real, atol=1e-11)
        gap = np.abs(values[:, None] - modes.values[k]).min(axis=0)
        assert_allclose(gap[:2], 0, atol=1e-11)
    long = rightmost_of_modes(node, np.array([0.5 + 0.5j, 0.5 - 0.5j]), 60.0)
    assert long.certified.all()
    assert_allclose(long.values[0].real, long.values[1].real, atol=1e-12)


class Wright(Line):
    """x' = input (1 + x): by itself it stays where it is, whatever that is."""

    def vector_field(self, state, drive):
        return drive[None] * (1 + state)


def test_regions_that_stay_where_they_are():
    """Their own Jacobian is singular: roots, their derivatives and Hopf points all the same."""
    network = ng.Network(Wright(), np.array([[1.0]]), -1.4, delays=1.0)
    exact = lambertw(-1.4)
    for state in (np.zeros(1), np.zeros((1, 1)), np.full((1, 1), 1e-4)):
        found = characteristic_roots(network, state)
        assert_allclose(found.growth[0], exact.real, atol=1e-9)
    root, error = root_near(network, np.zeros(1), complex(exact) + 0.02)
    assert_allclose(complex(root), complex(exact), atol=1e-9)
    assert float(error) < 1e-9
    bounds = {"coupling": (-4.0, -0.5), "delay": (0.3, 3.0)}
    curve = ng.continue_hopf(network, np.zeros((1, 1)), 0.03 + 1.5j, bounds)
    assert curve.ok
    assert np.isfinite(curve.states).all()
    product = curve.parameters["coupling"] * curve.parameters["delay"]
    assert_allclose(product, -np.pi / 2, rtol=1e-8)


class Turning(Line):
    """Phases beside a frame that turns at Ω: x' = ω - Ω + the input."""

    detuning: jax.Array = parameter(0.0, unit="1/ms", doc="ω - Ω")

    def vector_field(self, state, drive):
        return jnp.stack([self.detuning + drive])


@pytest.mark.parametrize(("delay", "turning"), [(0.9, 1.3), (2.1, 1.3), (3.3, 0.7)])
def test_oscillators_that_turn_together(delay, turning):
    """Yeung and Strogatz, PRL 82, 648 (1999); Earl and Strogatz, PRE 67, 036204 (2003).

    Phase oscillators with one delay can turn together at Ω = ω - K sin(Ω τ), which is stable where
    K cos(Ω τ) > 0. Along a mode Λ, z = K cos(Ω τ) (Λ exp(-z τ) - 1): by Lambert's function.
    """
    strength, weights = 0.8, np.array([[0, 1, 2.0], [2, 0, 1], [0, 3, 0]]) / 3
    graph = ng.graphs.DelayedGraph(ng.graphs.DenseGraph(weights), delay)
    between = ng.coupling.KuramotoCoupling(graph, strength, lag=turning * delay)
    detuning = strength * np.sin(turning * delay)
    network = ng.Network(Turning(detuning=detuning), coupling=between)
    state = np.zeros((1, 3))
    modes = ng.dispersion(network, state[:, 0])
    rate = strength * np.cos(turning * delay)
    for k, mode in enumerate(np.asarray(modes.lambdas)):
        exact = [
            lambertw(rate * mode * delay * np.exp(rate * delay), branch) / delay - rate
            for branch in range(-4, 5)
        ]
        best = max(exact, key=lambda z: z.real)
        assert_allclose(modes.growth[k], best.real, atol=1e-9)
    assert (np.asarray(modes.growth).max() < 1e-9) == (rate > 0)
    found = characteristic_roots(network, state, line=-0.5)
    assert_allclose(found.growth[0], np.asarray(modes.growth).max(), atol=1e-9)
