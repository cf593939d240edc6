"""Graphs of which no dense matrix is made: the same as dense ones where these can be."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

import ngnmm_jax as ng
from ngnmm_jax import graphs
from ngnmm_jax._core.definition import definition
from ngnmm_jax.graphs import sparse, spectra, symmetry

RNG = np.random.default_rng(5)


def of_places(kernel, reflected=False):
    """The matrix of a kernel on a grid, weight by weight."""
    shape, n = kernel.shape, kernel.size
    places = np.array(np.unravel_index(np.arange(n), shape)).T
    matrix = np.zeros((n, n))
    spans = [range(1 - s, s) if reflected else range(s) for s in shape]
    for row, offset in itertools.product(range(n), itertools.product(*spans)):
        to = places[row] - np.array(offset)
        if reflected:
            to = np.where(to < 0, -1 - to, np.where(to >= shape, 2 * np.array(shape) - 1 - to, to))
            weight = kernel[tuple(np.abs(offset))]
        else:
            to, weight = to % shape, kernel[offset]
        matrix[row, np.ravel_multi_index(tuple(to), shape)] += weight
    return matrix


def of_tracts(weights, parcels, areas):
    inside = (parcels == np.arange(len(weights))[:, None]) * 1.0
    return inside.T @ weights @ (inside * areas / (inside * areas).sum(axis=1, keepdims=True))


def of_angles(gains, sphere):
    """By Legendre's polynomials of the cosine between points (the addition theorem)."""
    cosines = sphere.points @ sphere.points.T
    factors = (2 * np.arange(len(gains)) + 1) / (4 * np.pi) * gains
    return np.polynomial.legendre.legval(cosines, factors) * sphere.areas


def symmetric(n, share=0.1):
    half = np.where(RNG.uniform(size=(n, n)) < share, RNG.uniform(0.2, 1.0, (n, n)), 0.0)
    return half + half.T


def cases():
    away = np.minimum(np.arange(12), 12 - np.arange(12))
    ring = np.exp(-away / 2.0)
    yield "ring", graphs.CirculantGraph(ring), of_places(ring)
    skew = RNG.normal(size=9)
    yield "skew ring", graphs.CirculantGraph(skew), of_places(skew)
    torus = np.exp(-np.minimum(np.arange(4), 4 - np.arange(4))[:, None] - away[:5] ** 2 / 3)
    yield "torus", graphs.CirculantGraph(torus), of_places(torus)
    line = np.exp(-np.arange(7) / 1.5)
    yield "line", graphs.LatticeGraph(line), of_places(line, reflected=True)
    lattice = RNG.normal(size=(4, 3))
    yield "lattice", graphs.LatticeGraph(lattice), of_places(lattice, reflected=True)
    gains = np.exp(-(np.arange(4) ** 2) / 6.0)
    sphere = graphs.SphereGraph(gains)
    yield "sphere", sphere, of_angles(gains, sphere)
    parcels, areas = np.append(np.arange(18) % 3, -1), RNG.uniform(0.5, 2.0, 19)
    between = symmetric(3, 1.0)
    tracts = graphs.TractGraph(between, parcels, areas)
    yield "tracts", tracts, of_tracts(between, parcels, areas)
    local = symmetric(18)
    yield "sparse", graphs.SparseGraph(sp.csr_array(local)), local
    skew = np.where(RNG.uniform(size=(18, 18)) < 0.2, RNG.normal(size=(18, 18)), 0.0)
    yield "skew sparse", graphs.SparseGraph(sp.coo_array(skew)), skew
    # A local kernel by area and tracts between parcels, which areas make symmetric together.
    parcels, areas, sizes = parcels[:-1], areas[:-1], np.bincount(parcels[:-1], areas[:-1])
    both = 2 * local * areas + 0.5 * of_tracts(between / sizes[:, None], parcels, areas)
    cortex = graphs.SumGraph(
        (
            graphs.SparseGraph(sp.csr_array(local * areas)),
            graphs.TractGraph(between / sizes[:, None], parcels, areas),
        ),
        (2.0, 0.5),
    )
    yield "cortex", cortex, both
    yield "normalised cortex", cortex.normalised(), both / both.sum(axis=1, keepdims=True)
    laplacian = graphs.LaplacianGraph(graphs.SparseGraph(sp.csr_array(local)))
    yield "Laplacian", laplacian, local - np.diag(local.sum(axis=1))
    rings = graphs.SumGraph((graphs.CirculantGraph(ring), graphs.IdentityGraph(12)), (0.5, 2.0))
    yield "ring and more", rings, 0.5 * of_places(ring) + 2 * np.eye(12)
    two = graphs.SumGraph((graphs.CirculantGraph(ring), graphs.CirculantGraph(ring**2)), (1.0, -3))
    yield "two rings", two, of_places(ring) - 3 * of_places(ring**2)


CASES = {name: (graph, matrix) for name, graph, matrix in cases()}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def test_a_structured_graph_is_its_matrix(case):
    """As NumPy's dense products: values of regions, of runs, complex ones, the transpose, sums."""
    graph, matrix = case
    n, size = len(matrix), np.abs(matrix).sum()
    values = RNG.normal(size=(n, 3))

    other_way = graph.transposed()

    @jax.jit
    def found(values):
        there, back = graph.apply(values), graph.apply_transposed(values)
        waves = graph.apply(values[:, 0] + 2j * values[:, 1])
        return there, back, waves, graph.row_sums(), other_way.apply(values[:, 0])

    expected = [matrix @ values, matrix.T @ values, matrix @ (values[:, 0] + 2j * values[:, 1])]
    expected += [matrix.sum(axis=1), matrix.T @ values[:, 0]]
    for one, other in zip(found(values), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=4e-15 * size)
    assert (np.asarray(graph.row_sizes()) >= np.abs(matrix).sum(axis=1) - 1e-12 * size).all()
    assert graph.even() == bool(np.ptp(matrix.sum(axis=1)) < 1e-9)


def test_its_eigenvalues_are_those_of_the_matrix(case):
    """As LAPACK's of the dense matrix, with vectors to match; also where they are known exactly."""
    graph, matrix = case
    size = np.abs(matrix).sum()
    values, uniform = graph.spectrum()
    dense = np.linalg.eigvals(matrix)
    for one in dense:  # multiple ones are many: each is near one of the others
        assert np.abs(values - one).min() < 1e-12 * size
    np.testing.assert_allclose(np.sort(values.real), np.sort(dense.real), atol=1e-12 * size)
    assert (np.diff(values.real) < 1e-13 * size).all()
    vectors = graph.eigenvectors()
    np.testing.assert_allclose(matrix @ vectors, vectors * values, atol=1e-12 * size)
    assert (uniform is None) == (not graph.even())
    if uniform is not None:
        np.testing.assert_allclose(values[uniform], matrix.sum(axis=1).mean(), atol=1e-12 * size)
    for which in ("LR", "LM"):
        first = graph.leading(2, which)
        np.testing.assert_allclose(
            matrix @ first.vectors, first.vectors * first.values, atol=1e-12 * size
        )
        key = (lambda v: -v.real) if which == "LR" else (lambda v: -np.abs(v))
        expected = np.sort(key(dense))[:2]
        np.testing.assert_allclose(np.sort(key(first.values)), expected, atol=1e-12 * size)


def test_what_makes_it_symmetric_is_found(case):
    graph, matrix = case
    d = graph.symmetriser()
    assert (d is None) == bool(np.abs(np.linalg.eigvals(matrix).imag).max() > 1e-6)
    if d is not None:
        weights = d[:, None] * matrix
        assert (d > 0).all()
        np.testing.assert_allclose(weights, weights.T, atol=1e-12 * np.abs(weights).max())


def ragged():
    """Rows of none to eighteen connections, some without, in no order; weights of both signs."""
    n, counts = 60, np.append(RNG.integers(0, 7, 57), [18, 0, 12])
    rows = np.repeat(np.arange(n), counts)
    columns = np.concatenate([RNG.choice(n, k, replace=False) for k in counts])
    order = RNG.permutation(len(rows))
    return rows[order], columns[order], RNG.normal(size=len(rows))


def dense(edges, n=60):
    matrix = np.zeros((n, n))
    matrix[edges[0], edges[1]] = edges[2]
    return matrix


EDGES = ragged()


@pytest.mark.parametrize("at_once", [sparse._AT_ONCE, 0], ids=["at once", "in blocks"])
def test_rows_of_very_different_lengths_are_right_with_derivatives(at_once, tmp_path, monkeypatch):
    """Against NumPy; derivatives by weights against those of the dense matrix."""
    monkeypatch.setattr(sparse, "_AT_ONCE", at_once)
    graph, matrix = graphs.SparseGraph(EDGES, n_regions=60), dense(EDGES)
    assert len(graph.weights) > 1  # groups
    assert sum(w.size for w in graph.weights) < 2 * len(EDGES[0])
    x, y = jnp.asarray(RNG.normal(size=(2, 60, 2)))
    np.testing.assert_allclose(graph.apply(x), matrix @ x, atol=1e-13)
    np.testing.assert_allclose(graph.sparse().toarray(), matrix, atol=0)
    np.testing.assert_allclose(graph.row_sums(), matrix.sum(axis=1), atol=1e-13)

    def product(graph, x):
        return (y * graph.apply(x)).sum()

    by_weights, by_values = jax.jit(jax.grad(product, (0, 1), allow_int=True))(graph, x)
    np.testing.assert_allclose(by_values, matrix.T @ y, atol=1e-13)
    changed = eqx.tree_at(lambda g: g.weights, graph, by_weights.weights).sparse()
    expected = np.where(matrix != 0, np.asarray(y @ x.T), 0.0)
    np.testing.assert_allclose(changed.toarray(), expected, atol=1e-13)
    for gradient, senders in zip(by_weights.weights, graph.senders, strict=True):
        assert not np.asarray(gradient)[np.asarray(senders) < 0].any()
    # Of the same from a file, and with the regions in another order.
    sp.save_npz(tmp_path / "weights.npz", sp.csr_array(matrix))
    read = graphs.SparseGraph(tmp_path / "weights.npz")
    np.testing.assert_array_equal(read.sparse().toarray(), matrix)


def test_graphs_that_differ_in_weights_go_through_vmap():
    """The weights of each lane its own, the connections the same; 32 bits stay 32."""
    graph = graphs.SparseGraph(sp.csr_array(dense(EDGES).astype(np.float32)))
    assert {w.dtype for w in graph.weights} == {np.dtype("float32")}
    factors, x = jnp.asarray([1.0, -2.0], jnp.float32), jnp.arange(60, dtype=jnp.float32)
    many = jax.vmap(lambda f: eqx.tree_at(
        lambda g: g.weights, graph, tuple(f * w for w in graph.weights)
    ).apply(x))(factors)  # fmt: skip
    assert many.dtype == jnp.float32
    np.testing.assert_allclose(many, np.outer(factors, dense(EDGES) @ np.arange(60)), atol=1e-4)


@pytest.mark.parametrize(
    ("weights", "options", "says"),
    [
        (([0, 0], [1, 1], [1.0, 2.0]), {}, "once .* to region 0 from region 1"),
        (([0, 5], [1, 1], [1.0, 2.0]), {"n_regions": 3}, "indices from 0 to 2, but they are 0 … 5"),
        (([0, -1], [1, 1], [1.0, 2.0]), {}, "have indices from 0 to 1, but they are -1 … 1"),
        (([0, 1], [1, 0], [1.0, np.nan]), {}, "be finite"),
        (([0, 1], [1.0, 0.5], [1.0, 2.0]), {}, "integers as indices"),
        (([0, 1], [1], [1.0, 2.0]), {}, "three arrays .* same length"),
        (([], [], []), {}, "be square, with a region at least"),
        (sp.csr_array(np.ones((2, 3))), {}, "be square"),
        (sp.csr_array(np.ones((2, 2))), {"labels": ["a"]}, "have 2 entries"),
        (sp.csr_array(np.ones((2, 2))), {"labels": ["a", "a"]}, "be unique"),
        (sp.csr_array(np.ones((2, 2))), {"n_regions": 2}, "be left out"),
        (sp.csr_array(np.ones((2, 2)) * 1j), {}, "complex"),
        (np.ones((2, 2)), {}, "be a SciPy sparse matrix, .* but it is a `ndarray`"),
        (None, {}, "be a SciPy sparse matrix"),
    ],
)  # fmt: skip
def test_sparse_weights_that_mean_nothing_are_refused(weights, options, says):
    with pytest.raises(ValueError, match=says):
        graphs.SparseGraph(tuple(map(np.array, weights)) if type(weights) is tuple else weights,
                           **options)  # fmt: skip


def test_other_graphs_refuse_what_means_nothing():
    with pytest.raises(ValueError, match=r"these have none: region 2\b"):
        graphs.SparseGraph(([0, 1], [1, 2], [1.0, 2.0]), n_regions=3).normalised()
    with pytest.raises(ValueError, match=r"give every parcel .* these have none: 1"):
        graphs.TractGraph(np.ones((2, 2)), [0, 0, -1])
    with pytest.raises(ValueError, match="be from 0 to 1, or -1"):
        graphs.TractGraph(np.ones((2, 2)), [0, 1, 2])
    with pytest.raises(ValueError, match="be finite"):
        graphs.CirculantGraph([1.0, np.inf])
    with pytest.raises(ValueError, match="positive sums"):
        graphs.LatticeGraph([-1.0, 0.2]).normalised()


def test_a_sphere_has_the_gains_of_its_kernel():
    """exp(k cos) has the gains 4π sinh(k) / k, 4π (cosh(k) / k - sinh(k) / k²), … (by parts)."""
    sphere, k = graphs.SphereGraph.of_kernel(lambda angle: np.exp(3 * np.cos(angle)), 12), 3.0
    expected = 4 * np.pi * np.array([np.sinh(k) / k, np.cosh(k) / k - np.sinh(k) / k**2])
    np.testing.assert_allclose(sphere.gains[:2], expected, rtol=1e-14)
    np.testing.assert_allclose(sphere.areas.sum(), 4 * np.pi, rtol=1e-14)
    third = jnp.asarray(sphere.harmonic(3, -2))
    np.testing.assert_allclose(sphere.apply(third), sphere.gains[3] * third, atol=1e-13)
    several = np.repeat(sphere.gains[:3], [1, 3, 5])
    np.testing.assert_allclose(sphere.leading(9).values, several, rtol=1e-14)
    with pytest.raises(ValueError, match=r"be at most 169: further ones are not connected"):
        sphere.leading(170)


# ------------------------------------------------------------------ without all eigenvalues


@pytest.fixture(scope="module")
def disc():
    """Symmetric weights of 300 regions with rows divided by their sums, and others of no kind."""
    half = np.zeros((300, 300))
    for _ in range(3):
        half[np.arange(300), RNG.permutation(300)] = RNG.uniform(0.2, 1.0, 300)
    even = half + half.T + np.diag(np.full(300, 0.1))
    return even / even.sum(axis=1, keepdims=True), half - np.eye(300)


def test_bounds_hold_all_eigenvalues_and_little_else(disc, monkeypatch):
    """Of random vectors, as if regions were many, against LAPACK's eigenvalues."""
    monkeypatch.setattr(spectra, "_FEW", 0)
    even, skew = map(graphs.SparseGraph, map(sp.csr_array, disc))
    values = np.sort(np.linalg.eigvals(disc[0]).real)
    for found, low, high in (
        (even.bounds(), values[0], values[-1]),
        (even.transverse_bounds(), values[0], values[-2]),
    ):
        assert found.certified
        assert found.is_real
        assert low - 1e-3 < found.low <= low
        assert high + 1e-12 <= found.high + 2e-12 < high + 1e-3
    found, values = skew.bounds(), np.linalg.eigvals(disc[1])
    assert found.holds(values).all()
    assert not found.holds(values + 2 * found.high + 2 * np.abs(values)).any()
    hermitian = np.linalg.eigvalsh((disc[1] + disc[1].T) / 2)  # along the real axis
    np.testing.assert_allclose([found.low, found.high], hermitian[[0, -1]], atol=1e-2)
    around = found.boundary(40)
    assert found.holds(around, 1e-9).all()
    assert len(around) >= 40
    # Of regions in another order the same, to the width that they may be too large.
    order = RNG.permutation(300)
    moved = graphs.SparseGraph(sp.csr_array(disc[0][np.ix_(order, order)])).bounds()
    np.testing.assert_allclose(moved.corners, even.bounds().corners, atol=1e-3)


def test_leading_modes_are_lapacks(disc, monkeypatch):
    monkeypatch.setattr(spectra, "_FEW", 0)
    for matrix, which in zip(disc, ("SR", "LR"), strict=True):
        found = graphs.SparseGraph(sp.csr_array(matrix)).leading(4, which)
        values = np.linalg.eigvals(matrix)
        values = values[np.argsort(values.real if which == "SR" else -values.real)][:4]
        np.testing.assert_allclose(np.sort(found.values.real), np.sort(values.real), atol=1e-10)
        applied = matrix @ found.vectors
        np.testing.assert_allclose(applied, found.vectors * found.values, atol=1e-9)
        assert found.errors.max() < 1e-8
        assert (found.conditions >= 1 - 1e-12).all()
        assert found.uniform is None
    assert graphs.SparseGraph(sp.csr_array(disc[0])).leading(2).uniform == 0


def test_a_density_is_that_of_known_eigenvalues():
    """A ring by random vectors against its eigenvalues: moments to five standard errors."""
    away = np.minimum(np.arange(700), 700 - np.arange(700))
    ring = graphs.CirculantGraph(np.where(away <= 2, 0.2, 0.0))
    exact = ring.density(moments=24)
    where = np.arange(700)
    rows = np.repeat(where, 5)
    columns = (where[:, None] + np.arange(-2, 3)).ravel() % 700
    found = graphs.SparseGraph((rows, columns, np.full(3500, 0.2)))
    estimate = found.density(moments=24)
    assert not exact.error.any()
    assert exact.moments_error.max() == 0
    np.testing.assert_allclose(exact.bounds.corners, [exact.lambdas[0], 1.0], atol=1e-2)
    near = np.abs(estimate.moments - exact.moments)  # of intervals that differ by 1e-4
    assert (near < 5 * estimate.moments_error + 5e-3).all()
    for one in (exact, estimate):  # Gauss and Chebyshev's rule in the angle
        low, high = one.bounds.corners
        angles = np.arccos((2 * one.lambdas - low - high) / (high - low))
        weights = np.sin(angles) * (high - low) / 2
        np.testing.assert_allclose((one.density * weights).mean() * np.pi, 1.0, rtol=1e-9)


# ---------------------------------------------------------------------------- in a network


def big(n=20_000):
    where = np.arange(n)
    rows, columns = np.repeat(where, 2), np.stack([where - 1, where + 1], 1).ravel() % n
    return graphs.SparseGraph((rows, columns, np.full(2 * n, 0.5)))


def test_a_big_network_is_made_shown_and_known_without_a_matrix():
    graph = big()
    network = ng.Network(ng.NextGenEI(), graph, coupling=9.0)
    assert "20000 regions" in repr(network)
    assert network._repr_html_()
    assert network.homogeneous().coupling == 9.0
    assert definition("x", network) != definition("x", network.with_parameters(coupling=8.0))
    state = jnp.ones(network.state_shape)
    alone = ng.Network(ng.NextGenEI(), [[1.0]], coupling=9.0).vector_field(state[:, :1])
    slope = eqx.filter_jit(lambda network, state: network.vector_field(state))(network, state)
    np.testing.assert_allclose(slope, np.broadcast_to(alone, slope.shape), rtol=1e-12)
    np.testing.assert_allclose(graph.symmetriser(), 1.0)
    for ask in (graph.matrix, graph.spectrum, graph.eigenvectors, lambda: network.weights):
        with pytest.raises(ValueError, match=r"make a dense matrix of 20000 regions, 3\.2 GB"):
            ask()
    with pytest.raises(ValueError, match="be one delay of all connections"):
        graphs.DelayedGraph(graph, graphs.GivenDelays(jnp.ones((3, 3))))
    assert ng.Network(ng.NextGenEI(), graph, 9.0, delays=2.0).shortest_delay() == 2.0


def test_what_makes_parts_symmetric_together_needs_the_parts_that_are_connected():
    """Factors of two hemispheres that only tracts between them relate; none where they do not."""
    halves = [sp.coo_array(symmetric(4, 1.0)), sp.coo_array(symmetric(4, 1.0))]
    local, d = sp.block_diag(halves).tocsr(), RNG.uniform(1, 2, 8)
    one = symmetry.symmetriser_of(sp.csr_array(sp.diags_array(1 / d) @ local))
    assert np.ptp(one[:4] / d[:4]) < 1e-12
    links = symmetry.components_of(local)
    together, parts = symmetry.agreed((one, links), (d, np.zeros(8, int)))
    assert np.ptp(together / d) < 1e-12
    assert not parts.any()
    assert symmetry.agreed((one, links), (d * np.arange(1, 9), np.zeros(8, int))) is None


@pytest.mark.slow
def test_two_thousand_regions_are_as_their_dense_matrix_in_any_order():
    """A network over local weights and tracts, and the same dense: slopes and growth of modes."""
    n, count = 2000, 40
    areas, parcels = RNG.uniform(0.5, 2.0, n), RNG.permutation(np.arange(n) % count)
    local = sp.random_array((n, n), density=0.004, rng=RNG)
    local = (local + local.T) @ sp.diags_array(areas)
    between = symmetric(count, 0.5) / np.bincount(parcels, areas)[:, None]

    def graph(order):
        weights = sp.csr_array(local.tocsr()[order][:, order])
        tracts = graphs.TractGraph(between, parcels[order], areas[order])
        return graphs.SumGraph((graphs.SparseGraph(weights), tracts), (0.7, 20.0)).normalised()

    matrix = 0.7 * local.toarray() + 20 * of_tracts(between, parcels, areas)
    matrix = matrix / matrix.sum(axis=1, keepdims=True)
    state = RNG.uniform(0.1, 0.9, (6, n))
    whole = ng.Network(ng.NextGenEI(), matrix, coupling=9.0)
    for order in (np.arange(n), RNG.permutation(n)):
        one = graph(order)
        network = ng.Network(ng.NextGenEI(), one, coupling=9.0)
        slopes = network.vector_field(jnp.asarray(state[:, order]))
        expected = np.asarray(whole.vector_field(jnp.asarray(state)))[:, order]
        np.testing.assert_allclose(slopes, expected, rtol=1e-13, atol=1e-13)
        root = np.sqrt(one.symmetriser())
        turned = root[:, None] * matrix[np.ix_(order, order)] / root
        values = np.linalg.eigvalsh((turned + turned.T) / 2)
        np.testing.assert_allclose(one.leading(5).values, values[:-6:-1], atol=1e-12)
        bounds = one.transverse_bounds()
        assert values[0] - 1e-3 < bounds.low <= values[0]
        assert values[-2] <= bounds.high < values[-2] + 1e-3


def test_rows_that_are_filled_up_count_nothing():
    """Whatever stands there: sums and sizes are those of connections, and so are derivatives."""
    rng = np.random.default_rng(0)
    weights = np.where(rng.uniform(size=(30, 30)) < 0.2, rng.uniform(size=(30, 30)), 0.0)
    graph = graphs.SparseGraph(sp.csr_array(weights))
    drawn = jax.tree.map(
        lambda a: jnp.asarray(rng.uniform(size=a.shape)) if a.dtype == float else a, graph
    )
    np.testing.assert_allclose(drawn.row_sums(), drawn.apply(jnp.ones(30)), rtol=1e-12)
    slopes = jax.grad(lambda w: (eqx.tree_at(lambda g: g.weights, graph, w).row_sums() ** 2).sum())(
        graph.weights
    )
    for slope, senders in zip(slopes, graph.senders, strict=True):
        assert not np.asarray(slope)[np.asarray(senders) < 0].any()


def test_bounds_where_sizes_of_rows_are_not_known(monkeypatch):
    """Of a graph of one's own; of one whose numerical range has no width; as if both were large."""
    monkeypatch.setattr(spectra, "_FEW", 0)
    rng = np.random.default_rng(1)
    n = 200
    one = sp.random_array((n, n), density=0.035, rng=rng).tocsr()
    turned = graphs.SparseGraph((one - one.T).tocsr())
    for graph in (Unknown(jnp.asarray(one.toarray())), turned):
        found = graph.bounds()
        assert np.isfinite(found.corners).all()
        values = np.linalg.eigvals(np.asarray(graph.apply(jnp.eye(n))))
        sides = np.roll(found.corners, -1) - found.corners  # anticlockwise: all lie to the left
        left = ((values[:, None] - found.corners) * sides.conj()).imag
        assert (left >= -1e-9).all()


class Unknown(graphs.AbstractGraph):
    weights: jax.Array
    DENSE_LIMIT = 150

    @property
    def n_regions(self):
        return self.weights.shape[0]

    def apply(self, values):
        return jnp.tensordot(self.weights, values, 1)


def test_sums_of_other_regions_are_refused():
    with pytest.raises(ValueError, match="graphs of the same regions"):
        graphs.SumGraph((graphs.IdentityGraph(3), graphs.IdentityGraph(4)))
    with pytest.raises(ValueError, match="one for each part"):
        graphs.SumGraph((graphs.IdentityGraph(3),), (1.0, 2.0))


def test_rows_of_weights_in_32_bits_are_even():
    rng = np.random.default_rng(2)
    weights = rng.uniform(size=(40, 40)).astype("float32")
    weights /= weights.sum(axis=1, keepdims=True)
    graph = graphs.SparseGraph(sp.csr_array(weights))
    assert graph.even()
    assert not graphs.SparseGraph(sp.csr_array(weights * (1 + 1e-4 * np.eye(40)))).even()
