"""Analyses of networks too large for a matrix of regions, held against those that make one."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import circulant
from scipy.sparse import csr_array

import ngnmm_jax as ng
from ngnmm_jax._core.status import Status
from ngnmm_jax.dynamics import equilibria, matrix_free
from ngnmm_jax.graphs import (
    AbstractGraph,
    CirculantGraph,
    DenseGraph,
    SparseGraph,
    SphereGraph,
    spectra,
)
from ngnmm_jax.models.times import seconds_in
from ngnmm_jax.simulation import saving
from ngnmm_jax.stability.bounded import modes_of
from ngnmm_jax.stability.hull import largest
from ngnmm_jax.stability.transverse import Spectrum
from ngnmm_jax.sweeps import activity

N = 40


def ring(n=N, width=2.0):
    """A Gaussian kernel on a ring, whose rows sum to one."""
    distance = np.minimum(np.arange(n), n - np.arange(n))
    kernel = np.where(distance > 0, np.exp(-(distance**2) / 2 / width**2), 0.0)
    return kernel / kernel.sum()


def scattered(n=N, directed=False):
    """Random connections, rows divided by their sums."""
    rng = np.random.default_rng(3)
    weights = rng.uniform(size=(n, n)) * (rng.uniform(size=(n, n)) < 0.2)
    weights = weights if directed else weights + weights.T
    np.fill_diagonal(weights, 0.1)
    return SparseGraph(csr_array(weights)).normalised()


@pytest.fixture
def large(monkeypatch):
    """Have everything count as large."""
    monkeypatch.setattr(AbstractGraph, "DENSE_LIMIT", 10)
    monkeypatch.setattr(spectra, "_FEW", 10)
    monkeypatch.setattr(matrix_free, "WHOLE", 10)


@pytest.fixture(scope="module")
def regional():
    """A network whose regions differ, and its equilibrium with all eigenvalues."""
    eta = -3 + 0.5 * np.random.default_rng(0).normal(size=12)
    network = ng.Network(ng.MontbrioPazoRoxin(eta=eta), CirculantGraph(ring(12)), 1.0)
    return network, ng.find_equilibria(network)


# ------------------------------------------------------------------ the largest growth of a curve


@pytest.mark.parametrize("n", [1, 3, 6])
def test_growth_over_an_interval_is_enclosed(n):
    """No value of a fine grid is above; the bounds meet."""
    rng = np.random.default_rng(n)
    a, b, c = rng.normal(size=(n, n)), rng.normal(size=n), 3 * rng.normal(size=n)

    def matrices(lambdas):
        return a + lambdas[:, None, None] * np.outer(b, c)

    found = largest(matrices, 1, np.array([-1.0, 1.0]), 1e-9)
    fine = np.linalg.eigvals(matrices(np.linspace(-1, 1, 20_001))).real.max()
    assert found.attained <= found.upper < found.attained + 2e-9
    assert fine <= found.upper + 1e-12
    at = np.linalg.eigvals(matrices(np.array([found.at]))).real.max()
    assert at == pytest.approx(found.attained, abs=1e-12)


def test_growth_over_a_region_is_that_of_its_boundary():
    """Random Λ inside of a hexagon grow no faster; the curve is subharmonic."""
    rng = np.random.default_rng(1)
    a, b, c = rng.normal(size=(4, 4)), rng.normal(size=4), rng.normal(size=4)
    corners = np.exp(1j * np.pi * np.arange(6) / 3)

    def matrices(lambdas):
        return a + lambdas[:, None, None] * np.outer(b, c)

    found = largest(matrices, 1, corners, 1e-9)
    angles, sizes = rng.uniform(0, 2 * np.pi, 2000), rng.uniform(0, np.sqrt(3) / 2, 2000)
    inside = np.linalg.eigvals(matrices(sizes * np.exp(1j * angles))).real.max()
    assert inside < found.attained <= found.upper < found.attained + 2e-9


def test_multipliers_over_an_interval_are_enclosed():
    """Of exp(T M(Λ)), a polynomial to rounding, growth is that of M(Λ)."""
    from scipy.linalg import expm

    rng = np.random.default_rng(2)
    a, b, c = rng.normal(size=(3, 3)), rng.normal(size=3), rng.normal(size=3)

    def matrices(lambdas):
        return a + lambdas[:, None, None] * np.outer(b, c)

    def monodromy(lambdas):
        return np.stack([expm(0.5 * m) for m in matrices(lambdas)])

    plain = largest(matrices, 1, np.array([-1.0, 1.0]), 1e-9)
    found = largest(monodromy, 23, np.array([-1.0, 1.0]), 1e-9, period=0.5)
    assert found.attained == pytest.approx(plain.attained, abs=2e-9)
    assert plain.attained <= found.upper + 1e-10 <= plain.upper + 3e-9


def test_growth_where_eigenvalues_meet_is_bounded():
    """±√Λ on [-1, 0]: a double eigenvalue, where growth has no slope, at the maximum."""
    a, b, c = np.array([[0, 1.0], [0, 0]]), np.array([0, 1.0]), np.array([1.0, 0])
    found = largest(
        lambda lambdas: a + lambdas[:, None, None] * np.outer(b, c), 1, np.array([-1.0, 0.5]), 1e-9
    )
    assert found.attained == pytest.approx(np.sqrt(0.5), abs=1e-12)
    assert found.upper < found.attained + 2e-9


# ------------------------------------------------------------------------------------ dispersion


@pytest.mark.parametrize("directed", [False, True])
def test_dispersion_without_all_modes_bounds_all(large, monkeypatch, directed):
    """Every mode of the dense spectrum grows by no more, and the first modes are among them."""
    graph = scattered(directed=directed)
    network = ng.Network(ng.NextGenEI(i_ext_e=13.0), graph, 5.0)
    rest = ng.find_equilibria(network.homogeneous()).states[0]
    found = ng.dispersion(network, rest)
    every = np.linalg.eigvals(graph.sparse().toarray())
    order = np.abs(every - 1).argmin()
    dense = ng.dispersion(network, rest, lambdas=every)
    transverse = np.delete(np.asarray(dense.growth), order)
    low, high = found.growth_bounds
    assert found.bounds is not None
    assert low <= transverse.max() + 1e-12
    assert transverse.max() <= high + 1e-12
    assert dense.growth.max() <= found.bounds.upper + 1e-12
    if not directed:  # of an interval the ends are eigenvalues
        assert high - low < 1e-5
    assert float(found.growth[found.uniform]) == pytest.approx(float(dense.growth[order]))
    assert "at most" in repr(found)
    assert "at most" in repr(found.bounds)
    with pytest.raises(ValueError, match=r"`lambdas` must be given where JAX traces"):
        jax.eval_shape(lambda some: modes_of(some).lambdas, network.bare())


def with_signs(kind, n=60):
    """Rows that sum to the same, whose uniform mode is not among the first."""
    near = np.isin(np.abs(np.subtract.outer(np.arange(n), np.arange(n))), (1, 2, n - 2, n - 1)) / 4
    if kind == "inhibition":
        return -near
    if kind == "hat":
        return 1.5 * near @ near - 1.4 * np.linalg.matrix_power(near, 6)
    if kind == "directed":
        return -np.roll(near, 3, axis=0) / 2 - np.roll(near @ near, 1, axis=0) / 2
    return np.kron(np.eye(2), with_signs("inhibition", n // 2) * -1)


@pytest.mark.slow
def test_a_map_of_a_mexican_hat_has_the_uniform_growth(large):
    """At each point that of the homogeneous system's own equilibrium."""
    graph = SparseGraph(csr_array(with_signs("hat")))
    network = ng.Network(ng.NextGenEI(), graph, 2.0)
    found = ng.dispersion_map(network, {"i_ext_e": np.array([11.0, 13.0])})
    assert (found.status == Status.OK).all()
    for k, i_ext_e in enumerate((11.0, 13.0)):
        own = ng.find_equilibria(network.with_parameters(i_ext_e=i_ext_e).homogeneous())
        np.testing.assert_allclose(found.growth_uniform[k, : own.count], own.growth, rtol=1e-9)


@pytest.mark.parametrize("kind", ["inhibition", "hat", "directed", "two parts"])
def test_the_uniform_mode_is_known_wherever_it_is(large, kind):
    """Its growth is that of the dense matrix at the rows' sum, which maps have too."""
    weights = with_signs(kind)
    sums, values = weights.sum(axis=1).mean(), np.linalg.eigvals(weights)
    network = ng.Network(ng.NextGenEI(i_ext_e=13.0), SparseGraph(csr_array(weights)), 2.0)
    of_maps = Spectrum.of(network)
    assert complex(of_maps.lambdas[of_maps.uniform]) == pytest.approx(sums, abs=1e-12)
    for i_ext_e in (11.0, 13.0):
        one = network.with_parameters(i_ext_e=i_ext_e)
        rest = ng.find_equilibria(one.homogeneous()).states[0]
        found = ng.dispersion(one, rest)
        dense = ng.dispersion(one, rest, lambdas=np.append(sums, values))
        assert complex(found.lambdas[found.uniform]) == pytest.approx(sums, abs=1e-12)
        assert float(found.growth[found.uniform]) == pytest.approx(float(dense.growth[0]))
        others = np.delete(dense.growth[1:], np.abs(values - sums).argmin())
        assert float(found.growth_bounds[0]) == pytest.approx(others.max(), abs=1e-3)
        assert others.max() <= found.growth_bounds[1] + 1e-12
        assert dense.growth.max() <= found.bounds.upper + 1e-12
    assert f"at least {int(found.number_growing)}" in repr(found)


def test_dispersion_goes_on_where_modes_are_not_found(large, monkeypatch):
    """Of a smooth kernel's last modes, which pile up, none: bounds are those of all."""
    monkeypatch.setattr(spectra, "_RESTARTS", 1)
    monkeypatch.setattr(spectra, "_SUBSPACE", 10)
    graph = SparseGraph(csr_array(circulant(ring(400, 9.0))))
    with pytest.raises(spectra.NotAllFound, match=r"found [0-3] of 4 eigenmodes") as caught:
        graph.leading(4, "SR")
    assert caught.value.found is None or len(caught.value.found.values) < 4
    network = ng.Network(ng.NextGenEI(i_ext_e=13.0), graph, 5.0)
    rest = ng.find_equilibria(network.homogeneous()).states[0]
    found, own = ng.dispersion(network, rest), CirculantGraph(ring(400, 9.0))
    whole = ng.dispersion(ng.Network(network.model, own, 5.0), rest)
    assert len(found.lambdas) < 16
    assert float(found.growth[found.uniform]) == pytest.approx(float(whole.growth[whole.uniform]))
    assert whole.growth_bounds[0] <= found.growth_bounds[1] + 1e-12


def test_dispersion_of_an_orbit_without_all_modes(large):
    """The bounds meet where growth is largest in between; as on a fine grid of Λ."""
    network = ng.Network(ng.NextGenEI(i_ext_e=13.0), scattered(), 5.0)
    orbit = ng.find_orbit(network.homogeneous())
    found = ng.dispersion(network, orbit)
    region = modes_of(network).transverse
    fine = ng.dispersion(network, orbit, lambdas=np.linspace(region.low, region.high, 400))
    assert found.bounds.upper_transverse == pytest.approx(float(fine.growth.max()), abs=1e-6)
    assert fine.growth.max() <= found.bounds.upper_transverse + 1e-12
    assert found.bounds.upper_transverse <= found.bounds.upper


def test_a_graph_is_searched_once(large, monkeypatch):
    """Other parameters of the same graph take what is known of it."""
    graph = scattered()
    network = ng.Network(ng.NextGenEI(i_ext_e=13.0), graph, 5.0)
    known = modes_of(network)
    monkeypatch.setattr(SparseGraph, "leading", None)
    assert modes_of(network.with_parameters(coupling=3.0)) is known


@pytest.mark.slow
def test_maps_of_large_graphs_take_the_curve(large, monkeypatch):
    """Growth is that of the most unstable mode, to what the ends of the interval are known."""
    network = ng.Network(ng.NextGenEI(i_ext_e=13.0), scattered(), 5.0)
    axes = {"i_ext_e": np.array([12.0, 13.0]), "coupling": np.array([5.0])}
    found = ng.dispersion_map(network, axes, oscillations=False)
    monkeypatch.undo()
    every = ng.dispersion_map(network, axes, oscillations=False)
    assert np.nanmax(np.abs(found.growth_transverse - every.growth_transverse)) < 1e-5
    assert np.array_equal(found.number_growing > 0, every.number_growing > 0)


def test_uneven_rows_have_no_homogeneous_state(large):
    network = ng.Network(ng.NextGenEI(), SparseGraph(csr_array(np.triu(np.ones((N, N))))), 1.0)
    with pytest.raises(ValueError, match="sum"):
        ng.dispersion(network, np.zeros(6))


# ------------------------------------------------------------------- growth, seen in simulations


@pytest.mark.parametrize("kind", ["ring", "sphere"])
def test_growth_in_simulation_is_that_of_the_mode(kind):
    """A small perturbation along an exact mode grows as the dispersion relation says, to 1e-6."""
    if kind == "ring":
        graph = CirculantGraph(ring(24))
        lambda_ = float(np.fft.fft(ring(24))[3].real)
        mode = np.cos(2 * np.pi * 3 * np.arange(24) / 24)
    else:
        gains = np.exp(-0.15 * np.arange(5) * np.arange(1, 6))
        graph, lambda_ = SphereGraph(gains), float(gains[3])
        mode = np.asarray(graph.harmonic(3, 1))
    network = ng.Network(ng.MontbrioPazoRoxin(eta=-3.0, j=15.0), graph, 3.0)
    rest = np.asarray(ng.find_equilibria(network.homogeneous()).states[-1])
    expected = ng.dispersion(network, rest, lambdas=[lambda_])
    matrix = jacobian_along(network, rest, lambda_)
    values, vectors = np.linalg.eig(matrix)
    k = values.real.argmax()
    left = np.linalg.inv(vectors)[k]
    start = rest[:, None] + 1e-7 * (vectors[:, k, None] * mode).real
    run = ng.simulate(
        network, 2.0, start=start, dt=0.002, integrator="rk4", save_at=[0.0, 2.0],
        variables=network.model.variables,
    )  # fmt: skip
    size = [left @ ((np.asarray(x) - rest[:, None]) @ mode) for x in run.states]
    rate = np.log(abs(size[1] / size[0])) / 2.0
    assert rate == pytest.approx(float(expected.growth[0]), abs=1e-6)


def jacobian_along(network, rest, lambda_):
    """Of a region, its input Λ times what it sends: by the model's own derivatives."""
    model = network.model
    drive = network.homogeneous().drive(model.output(jnp.asarray(rest)))
    a, b = jax.jacfwd(model.vector_field, (0, 1))(jnp.asarray(rest), drive)
    c = jax.jacfwd(model.output)(jnp.asarray(rest))
    return np.asarray(a) + lambda_ * float(network.coupling) * np.outer(b, c)


# ------------------------------------------------------------------------ heterogeneous equilibria


def test_equilibria_without_a_jacobian(regional, monkeypatch):
    """State, leading eigenvalues and what is said of them are those of the whole Jacobian."""
    network, whole = regional
    monkeypatch.setattr(matrix_free, "WHOLE", 10)
    found = ng.find_equilibria(network)
    assert found.count == whole.count == 1
    np.testing.assert_allclose(found.states, whole.states, atol=1e-13)
    assert found.residuals[0] < 1e-14
    values = np.asarray(found.eigenvalues[0])
    known = values[np.isfinite(values)]
    expected = np.asarray(whole.eigenvalues[0])
    expected = expected[expected.imag >= 0]
    assert known.size >= 1
    np.testing.assert_allclose(known, expected[: known.size], atol=1e-6)
    assert found.stats["method"] == equilibria.MATRIX_FREE


def test_an_equilibrium_whose_stability_is_not_found_is_told(regional, monkeypatch):
    """The state is there; what is not known is NaN, and not stable."""
    network, whole = regional
    monkeypatch.setattr(matrix_free, "WHOLE", 10)
    monkeypatch.setattr(matrix_free, "_KNOWN", -1.0)
    with pytest.raises(ng.SolverError, match=r"was found, but its stability is not known") as told:
        ng.find_equilibria(network)
    found = ng.find_equilibria(network, throw=False)
    for one in (found, told.value.result):
        assert one.status == Status.NOT_CERTIFIED
        np.testing.assert_allclose(one.states[:1], whole.states, atol=1e-13)
        assert np.isnan(one.eigenvalues).all()
        assert not one.stable.any()


@pytest.mark.slow
def test_derivatives_of_equilibria_without_a_jacobian(regional, monkeypatch):
    """By the implicit function theorem, through GMRES and its transpose: as through LAPACK."""
    network, whole = regional
    start = np.asarray(whole.states)

    def mean(strength):
        moved = network.with_parameters(coupling=strength)
        return ng.find_equilibria(moved, start=start, max_count=1).states[0, 0].mean()

    expected = jax.grad(mean)(1.0)
    monkeypatch.setattr(matrix_free, "WHOLE", 10)
    assert jax.grad(mean)(1.0) == pytest.approx(float(expected), rel=1e-9)


def test_rightmost_of_known_spectra():
    """A rotation that grows slowly beside what turns and decays fast; one eigenvalue many times."""
    blocks = np.zeros((30, 30))
    for k in range(15):
        rate, turning = (0.01, 3.0) if k == 4 else (-0.5 - k, 1.0 + k)
        blocks[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = [[rate, turning], [-turning, rate]]
    found = matrix_free.rightmost(Linear(jnp.asarray(blocks)), jnp.zeros(30))
    assert found.known
    assert found.values[0] == pytest.approx(0.01 + 3j, abs=1e-9)
    same = matrix_free.rightmost(Linear(-2.0 * jnp.eye(30)), jnp.zeros(30))
    assert same.known
    np.testing.assert_allclose(same.values, -2.0)
    lost = matrix_free.rightmost(Linear(jnp.full((30, 30), jnp.nan)), jnp.zeros(30))
    assert not lost.known
    assert np.isnan(lost.values).all()


class Linear(eqx.Module):
    """dx/dt = A x."""

    matrix: jax.Array

    def vector_field(self, x):
        return self.matrix @ x


# ---------------------------------------------------------------------- noise along modes


def test_noise_along_all_modes_is_that_of_all_regions():
    """Power, slow covariance and correlations are those of the response of the whole network."""
    weights = scattered(12).sparse().toarray()
    network = ng.Network(ng.MontbrioPazoRoxin(eta=-5.0), DenseGraph(weights), 1.0)
    noise = {"v": ng.noises.OrnsteinUhlenbeck(0.01, 3.0), "input": 0.02}
    system = ng.Driven(network, noise=noise)
    frequencies = [5.0, 40.0]
    found = ng.modal_response(system, frequencies, modes=12)
    whole = ng.linear_response(system, frequencies)
    covariance = found.vectors @ found.slow_covariance @ found.vectors.T
    slow = 2 * seconds_in(network.model.time_unit) * np.diagonal(covariance)
    np.testing.assert_allclose(slow, whole.slow_power, rtol=1e-9)
    np.testing.assert_allclose(found.fc(), whole.fc, atol=1e-10)
    np.testing.assert_allclose(found.fc([3, 7]), whole.fc[np.ix_([3, 7], [3, 7])], atol=1e-10)
    symmetric = np.stack([np.roll(ring(12), k) for k in range(12)])
    even = ng.Driven(ng.Network(network.model, DenseGraph(symmetric), 1.0), noise=noise)
    found = ng.modal_response(even, frequencies, modes=12)
    whole = ng.linear_response(even, frequencies)
    np.testing.assert_allclose(found.power @ (found.vectors**2).T, whole.power, rtol=1e-9)


def test_noise_along_modes_says_what_it_cannot():
    quiet, loud = ng.MontbrioPazoRoxin(eta=-5.0), ng.MontbrioPazoRoxin(eta=0.0)
    directed = ng.Driven(ng.Network(quiet, scattered(12, directed=True), 1.0), noise={"v": 0.1})
    with pytest.raises(ValueError, match="symmetric"):
        ng.modal_response(directed, [10.0], modes=3)
    uneven = ng.Driven(ng.Network(quiet, scattered(12), 1.0), noise={"v": np.full(12, 0.1)})
    with pytest.raises(ValueError, match="as strong in all regions"):
        ng.modal_response(uneven, [10.0], modes=3)
    unstable = ng.Driven(ng.Network(loud, scattered(12), -30.0), noise={"v": 0.1})
    assert ng.modal_response(unstable, [10.0], modes=3, throw=False).status == Status.UNSTABLE


# ---------------------------------------------------------------------- graphs of one's own


class Shift(AbstractGraph):
    """Each region receives from the next one; or what `bend` makes of it."""

    n: int = eqx.field(static=True)
    bend: Any = eqx.field(static=True, default=None)

    @property
    def n_regions(self):
        return self.n

    def apply(self, values):
        values = jnp.roll(values, -1, axis=0)
        return values if self.bend is None else self.bend(values)


def test_own_graphs_of_many_regions_are_tried_without_their_matrix(large):
    network = ng.Network(ng.MontbrioPazoRoxin(), Shift(11), 1.0)
    assert network.n_regions == 11
    with pytest.raises(ValueError, match="be linear"):
        ng.Network(ng.MontbrioPazoRoxin(), Shift(11, jnp.tanh), 1.0)


# ------------------------------------------------------------------------------ what runs save


def test_runs_refuse_to_save_what_nobody_asked_for(monkeypatch):
    network = ng.Network(ng.NextGenEI(), CirculantGraph(ring()), 1.0)
    state = np.zeros(6)
    monkeypatch.setattr(saving, "_UNSAID", 1e4)
    with pytest.raises(ValueError, match=r"`save_every` must be given.*21.1 kB.*Activity"):
        ng.simulate(network, 10.0, start=state, dt=0.5)
    monkeypatch.setattr(saving, "memory", lambda: 3e4)
    with pytest.raises(ValueError, match="be longer"):
        ng.simulate(
            network, 10.0, start=state, dt=0.5, save_every=0.5, variables=("v_e", "r_e", "s_e")
        )
    with pytest.raises(ValueError, match="in 8 runs"):
        ng.simulate_batch(network, {"coupling": np.arange(8.0)}, 10.0, start=state, dt=0.5)


def test_summaries_that_do_not_fit_are_refused(monkeypatch):
    """Correlations of all pairs are the first to go; without them there is room."""
    network = ng.Network(ng.MontbrioPazoRoxin(), CirculantGraph(ring()), 1.0)
    monkeypatch.setattr(activity, "memory", lambda: 1.2e5)
    with pytest.raises(ValueError, match=r"`keep` must take less memory.*fc_mean"):
        ng.Activity(20.0, segment=10.0).chunk(network)
    assert 1 <= ng.Activity(20.0, keep=["mean"]).chunk(network) < 32


def test_samples_of_large_networks_come_a_few_at_a_time(monkeypatch):
    """Rooms for fewer saves give the same samples."""
    network = ng.Network(ng.MontbrioPazoRoxin(), CirculantGraph(ring(8)), 1.0)
    given = {"start": np.full(2, 0.1), "dt": 0.01, "save_at": [0.0, 0.05, 0.21, 0.3]}
    once = ng.simulate(network, 0.4, **given)
    monkeypatch.setattr(saving, "_LARGE", 1)
    again = ng.simulate(network, 0.4, **given)
    assert np.array_equal(once.states, again.states)
    assert np.array_equal(once.final_state, again.final_state)
