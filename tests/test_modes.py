"""Dispersion relations: reference values, the full Jacobian, derivatives, maps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ngnmm_jax as ng
from ngnmm_jax._core.parameters import declared
from ngnmm_jax.dynamics.newton import jacobian
from ngnmm_jax.dynamics.spectra import rank_one_eigenvalues
from ngnmm_jax.stability.dispersion import linearise
from tests.conftest import reference_values

W2 = np.array([[0, 1.0], [1, 0]])
RANK_ONE = jax.jit(rank_one_eigenvalues)


def rest_state(network, which=0):
    return ng.find_equilibria(network.homogeneous()).states[which]


@pytest.mark.parametrize("k", range(6))
def test_reference(k, small):
    """Every listed growth rate, Λ = -1 … 1, at 1e-8 (reached: 1e-14)."""
    reference = reference_values("homogeneous_and_network.json")
    values = reference["equilibria"][k]
    network = ng.Network(ng.NextGenEI(i_ext_e=values["i_ext_e"]), small, values["epsilon"])
    curve = ng.dispersion(network, rest_state(network), lambdas=reference["lambdas"])
    np.testing.assert_allclose(curve.growth, values["growth"], atol=1e-12)


def full_spectrum(network, state):
    everywhere = jnp.tile(state[:, None], (1, network.n_regions))
    return np.linalg.eigvals(np.asarray(_jacobian(network.bare(), everywhere)))


@jax.jit
def _jacobian(network, state):
    return jacobian(network.vector_field, state)


def distance_between(a, b):
    """Largest distance from an eigenvalue of one set to the nearest of the other."""
    gaps = np.abs(np.ravel(a)[:, None] - np.ravel(b)[None])
    return max(gaps.min(axis=0).max(), gaps.min(axis=1).max())


@pytest.mark.parametrize(("i_ext_e", "epsilon"), [(15.0, 9.0), (13.0, 5.0), (2.0, 20.0)])
def test_full_jacobian_of_the_paper(aal90, i_ext_e, epsilon):
    network = ng.Network(ng.NextGenEI(i_ext_e=i_ext_e), aal90, epsilon)
    state = rest_state(network)
    curve = ng.dispersion(network, state)
    assert curve.eigenvalues.shape == (90, 6)
    full = full_spectrum(network, state)
    assert distance_between(curve.eigenvalues, full) < 1e-10
    # Regions that differ in nothing but their wiring: 540 eigenvalues, each once.
    assert np.asarray(curve.eigenvalues).sum() == pytest.approx(full.sum(), abs=1e-9)


@pytest.mark.parametrize(
    ("model", "coupling"),
    [
        (ng.NextGenEI(i_ext_e=15.0), 9.0),
        (ng.NextGenEI(i_ext_e=4.65), 26.0),
        (ng.JansenRit(p=230.0), 50.0),
        (ng.JansenRit(p=60.0), 10.0),
    ],
)
def test_full_jacobian_directed(directed, model, coupling):
    """A directed network with a complex spectrum, both models, all equilibria."""
    network = ng.Network(model, directed, coupling)
    rest = ng.find_equilibria(network.homogeneous())
    for state in rest.states:
        curve = ng.dispersion(network, state)
        assert jnp.iscomplexobj(curve.lambdas)
        full = full_spectrum(network, state)
        scale = np.abs(full).max()
        assert distance_between(curve.eigenvalues, full) < 1e-9 * max(scale, 1)
        assert curve.growth[0] == pytest.approx(float(np.max(curve.growth[:1])), abs=1e-12)
        transverse = np.delete(np.asarray(curve.growth), curve.uniform)
        assert int(curve.number_growing) == (transverse > 0).sum()
        assert float(curve.growth[int(curve.fastest)]) == transverse.max()


def test_jansen_rit_at_rest_beyond_its_cycles(small):
    network = ng.Network(ng.JansenRit(p=400.0), small, 50.0)
    state = rest_state(network)
    curve = ng.dispersion(network, state)
    assert distance_between(curve.eigenvalues, full_spectrum(network, state)) < 1e-7
    frequency = np.abs(np.asarray(curve.eigenvalues)[:, 0].imag) / (2 * np.pi)
    np.testing.assert_allclose(curve.frequency, frequency)  # its unit of time is the second


def test_uniform_mode_is_the_homogeneous_system(small):
    for i_ext_e, coupling in ((3.0, 9.0), (15.0, 9.0)):
        network = ng.Network(ng.NextGenEI(i_ext_e=i_ext_e), small, coupling)
        rest = ng.find_equilibria(network.homogeneous())
        curve = ng.dispersion(network, rest.states[0])
        assert curve.uniform == 0
        gap = distance_between(curve.eigenvalues[0], rest.eigenvalues[0])
        assert gap < 1e-12
        assert not curve.transverse[0]


def test_rows_that_sum_to_something_else(small):
    """Twice the weights at half the coupling are the same network; its Λ are twice as large."""
    one = ng.Network(ng.NextGenEI(i_ext_e=15.0), small, 9.0)
    two = ng.Network(ng.NextGenEI(i_ext_e=15.0), ng.Connectome(2 * small.weights), 4.5)
    a, b = (ng.dispersion(n, rest_state(n)) for n in (one, two))
    np.testing.assert_allclose(2 * a.lambdas, b.lambdas, atol=1e-12)
    np.testing.assert_allclose(a.growth, b.growth, atol=1e-12)


def test_growth_in_a_simulation(small):
    """A small perturbation along the fastest mode grows at its rate and frequency."""
    network = ng.Network(ng.NextGenEI(i_ext_e=15.0), small, 9.0)
    state = rest_state(network)
    curve = ng.dispersion(network, state)
    fastest = int(curve.fastest)
    vector = small.eigenmodes().vectors[:, fastest]
    y0 = state[:, None] + 1e-7 * vector[None]
    run = ng.simulate(network, 200.0, start=y0, save_every=0.5, dt=0.01)
    signal = np.asarray(run.v_e - state[1]) @ vector / (vector @ vector)
    late = slice(120, 401)
    # Two steps of a linear recurrence give the pair: s(t+2) = a s(t+1) + b s(t).
    s = signal[late]
    coefficients, *_ = np.linalg.lstsq(np.stack([s[1:-1], s[:-2]], axis=1), s[2:], rcond=None)
    pair = np.log(np.roots([1, *-coefficients]).astype(complex)) / 0.5
    assert pair[0].real == pytest.approx(float(curve.growth[fastest]), abs=1e-5)
    assert abs(pair[0].imag) / (2e-3 * np.pi) == pytest.approx(
        float(curve.frequency[fastest]), rel=1e-3
    )


def test_a_defective_chain_of_pairs():
    """Fifty mutually coupled pairs, each driven by the one before: 49 modes share each rate."""
    weights = np.kron(np.eye(50), [[0, 0.7], [0.7, 0]]) + 0.3 * np.eye(100, k=-2)
    weights[:2, :2] = [[0, 1.0], [1.0, 0]]
    network = ng.Network(ng.NextGenEI(i_ext_e=15.0), weights, 9.0)
    curve = ng.dispersion(network, rest_state(network))
    few = ng.dispersion(network, rest_state(network), lambdas=[1, 0.7, -0.7, -1])
    np.testing.assert_allclose(curve.growth, np.repeat(few.growth, [1, 49, 49, 1]), atol=1e-12)
    assert int(curve.number_growing) == int((few.growth > 0) @ jnp.array([0, 49, 49, 1]))


def test_a_map_is_stable_only_where_its_status_is_ok():
    nothing = np.full((2, 1), np.nan)
    result = ng.DispersionMap(
        parameters={"coupling": np.array([1.0, 2.0])},
        lambdas=np.ones(1),
        kind=np.ones((2, 1), np.int8),
        states=np.zeros((2, 1, 6)),
        period=nothing,
        growth_uniform=np.full((2, 1), -0.1),
        growth_transverse=nothing,
        number_growing=np.zeros((2, 1), int),
        fastest=np.zeros((2, 1), int),
        frequency=nothing,
        error=nothing,
        complete=np.ones(2, bool),
        status=np.array([ng.Status.OK, ng.Status.NOT_CONVERGED]),
        variables=ng.NextGenEI().variables,
        time_unit="ms",
    )
    assert result.stable.tolist() == [[True], [False]]


def test_weights_in_32_bits():
    """Rows that sum to one in the weights' own precision: the uniform mode is not transverse."""
    weights = np.random.default_rng(0).uniform(size=(7, 7))
    weights /= weights.sum(axis=1, keepdims=True)
    counts = []
    for some in (weights, jnp.asarray(weights, jnp.float32)):
        network = ng.Network(ng.NextGenEI(i_ext_e=3.0), some, 22.0)
        curve = ng.dispersion(network, rest_state(network))
        counts.append((curve.uniform, int(curve.number_growing), int(curve.fastest)))
    assert counts == [(0, 5, 1)] * 2


PARAMETERS = (*declared(ng.NextGenEI), "coupling")


@pytest.fixture(scope="module")
def derived(directed):
    """A network, a number made of its dispersion, and that one's derivatives by all it has."""
    network = ng.Network(ng.NextGenEI(i_ext_e=15.0), directed, 9.0).bare()
    state = rest_state(network)

    def scalar(network):
        curve = ng.dispersion(network, state)
        return curve.growth[4] + 0.1 * curve.growth.sum() + 1e-3 * curve.frequency[2]

    return network, scalar, jax.jit(jax.grad(scalar))(network)


def test_gradient_of_dispersion(derived):
    """Total derivatives, the equilibrium's motion included, against finite differences."""
    network, scalar, gradient = derived
    for name in PARAMETERS:
        owner = network if name == "coupling" else network.model
        value, h = float(getattr(owner, name)), 1e-5
        ends = [scalar(network.with_parameters(**{name: value + s * h})) for s in (1, -1)]
        found = getattr(gradient if name == "coupling" else gradient.model, name)
        assert float(found) == pytest.approx(float(ends[0] - ends[1]) / (2 * h), rel=2e-6), name


def test_gradient_with_respect_to_weights(derived):
    """Along a change of weights that keeps the sums of the rows."""
    network, scalar, gradient = derived
    weights = np.asarray(network.weights)
    direction = np.random.default_rng(0).normal(size=(9, 9)) * weights
    direction -= weights * direction.sum(axis=1, keepdims=True)
    h = 1e-6
    ends = [scalar(ng.Network(network.model, weights + s * h * direction, 9.0)) for s in (1, -1)]
    along = float((np.asarray(gradient.weights) * direction).sum())
    assert along == pytest.approx(float(ends[0] - ends[1]) / (2 * h), rel=1e-5)


# ---------------------------------------------------------------------- eigenvalues


@pytest.mark.parametrize(("n", "kind"), [(2, "real"), (6, "real"), (7, "complex")])
def test_rank_one_eigenvalues_against_lapack(n, kind):
    rng = np.random.default_rng(n)
    matrix, column, row = rng.normal(size=(n, n)), rng.normal(size=n), rng.normal(size=n)
    factors = rng.normal(size=40) * 3
    if kind == "complex":
        factors = factors + 1j * rng.normal(size=40)
    z, errors = RANK_ONE(*map(jnp.array, (matrix, column, row, factors)))
    assert errors.max() < 1e-9
    for k, factor in enumerate(factors):
        exact = np.linalg.eigvals(matrix + factor * np.outer(column, row))
        assert distance_between(z[:, k], exact) < 1e-11


@pytest.mark.parametrize(
    "taus", [{"tau_se": 1e-3, "tau_si": 1e-3}, {"tau_se": 1e-5}, {"tau_e": 1e-2, "tau_si": 1e3}]
)
def test_growth_where_time_constants_differ_widely(taus):
    """Against LAPACK: the coefficients alone lose 1e-4 at 0.001 ms, all digits at 0.00001 ms."""
    system = ng.Network(ng.NextGenEI(i_ext_e=13.0, **taus), W2, 5.0).homogeneous()
    state = ng.find_equilibria(system).states[0]
    matrix, column, row = map(np.asarray, linearise(system, state))
    factors = 5 * np.linspace(-1, 1, 40)
    z, errors = RANK_ONE(*map(jnp.array, (matrix, column, row, factors)))
    exact = np.linalg.eigvals(matrix + factors[:, None, None] * np.outer(column, row)).real
    tolerance = 1e-13 * np.abs(matrix).max() + 1e-12
    np.testing.assert_allclose(z.real.max(axis=0), exact.max(axis=1), atol=tolerance)
    assert errors.max() < 1e-8
    assert (np.abs(z.real.max(axis=0) - exact.max(axis=1)) <= errors.max(axis=0)).all()


def test_rank_one_eigenvalues_of_a_defective_matrix():
    jordan = jnp.array([[-1.0, 1.0], [0.0, -1.0]])
    z, errors = RANK_ONE(jordan, jnp.ones(2), jnp.ones(2), jnp.zeros(40))
    np.testing.assert_allclose(z, -1.0, atol=1e-6)
    assert (np.abs(z + 1) <= 10 * errors).all()


# ---------------------------------------------------------------------- bad input


def test_what_is_refused(small):
    network = ng.Network(ng.NextGenEI(), small, 5.0)
    state = rest_state(network)
    with pytest.raises(ng.SolverError, match="not near a solution") as caught:
        ng.dispersion(network, state + 0.5)
    assert caught.value.status == ng.Status.NOT_CONVERGED
    unsure = ng.dispersion(network, state + 0.5, throw=False)
    assert unsure.status == ng.Status.NOT_CONVERGED
    with pytest.raises(ValueError, match="`state` must have shape"):
        ng.dispersion(network, state[:5])
    with pytest.raises(ValueError, match="`lambdas` must be a non-empty"):
        ng.dispersion(network, state, lambdas=[])
    with pytest.raises(ValueError, match="`lambdas` must be finite"):
        ng.dispersion(network, state, lambdas=[np.nan])


def test_analyses_refuse_32_bits(small):
    jax.config.update("jax_enable_x64", False)
    try:
        network = ng.Network(ng.NextGenEI(), small, 5.0)
        with pytest.raises(RuntimeError, match="needs 64-bit arithmetic"):
            ng.find_equilibria(network.homogeneous())
        with pytest.raises(RuntimeError, match="jax_enable_x64"):
            ng.dispersion(network, jnp.zeros(6))
    finally:
        jax.config.update("jax_enable_x64", True)
