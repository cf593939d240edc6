"""Graphs on surfaces: spheres, whose eigenvalues are known, and the cortex."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
from scipy.special import eval_legendre

import ngnmm_jax as ng
from ngnmm_jax.surfaces import (
    AbstractDistance,
    AbstractRadialKernel,
    DampedWaveKernel,
    Exponential,
    Gaussian,
    GeodesicPaths,
    GreatCircles,
    HeatKernel,
    Surface,
    graph_harmonics,
    harmonics,
    laplace_beltrami,
    stiffness,
)

BALL = Surface.sphere(3, radius=10.0)
SMALL = Surface.sphere(2, radius=10.0)
#: Degrees of the first 49 harmonics of a sphere.
DEGREES = np.floor(np.sqrt(np.arange(49))).astype(int)


# ------------------------------------------------------------------- Laplace and Beltrami


def test_cotangents_are_the_energy_of_linear_functions():
    """∫|∇x|² of the coordinates is twice the area in all, on any surface of flat faces."""
    matrix = stiffness(BALL)
    energy = sum(x @ (matrix @ x) for x in BALL.vertices.T)
    assert energy == pytest.approx(2 * BALL.area, rel=1e-12)
    assert abs(matrix - matrix.T).max() < 1e-13
    assert np.abs(matrix.sum(axis=1)).max() < 1e-13
    # Of one corner by hand: a flat square of two right triangles.
    square = Surface(
        [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]], open=True
    )
    by_hand = [[1, -0.5, 0, -0.5], [-0.5, 1, -0.5, 0], [0, -0.5, 1, -0.5], [-0.5, 0, -0.5, 1]]
    assert np.allclose(stiffness(square).toarray(), by_hand, atol=1e-15)


def test_harmonics_of_a_sphere_have_its_eigenvalues_to_second_order():
    """Of degree l they are l (l + 1)/R², 2 l + 1 times; errors fall fourfold, slope two."""
    exact = DEGREES * (DEGREES + 1) / 9.0
    errors = []
    for k in (2, 3, 4):
        found = harmonics(Surface.sphere(k, radius=3.0), 49)
        assert found.counted
        assert found.residual < 1e-12
        errors.append([np.abs(found.values / np.maximum(exact, 1e-30) - 1)[d == DEGREES].max()
                       for d in range(2, 7)])  # fmt: skip
    assert np.allclose(np.diff(np.log2(errors), axis=0), -2, atol=0.15)
    assert found.values[0] == 0
    assert np.isinf(found.wavelengths[0])
    # What the docstring says of the error: λ h²/16.
    h = Surface.sphere(4, radius=3.0).edge_lengths.mean()
    assert errors[-1][-1] == pytest.approx(exact[-1] * h**2 / 16, rel=0.15)


def test_harmonics_are_a_basis():
    """All of them give any function back; the first ones are orthonormal by area."""
    values = np.random.default_rng(0).normal(size=(SMALL.n_vertices, 2))
    whole = harmonics(SMALL, SMALL.n_vertices)
    assert np.allclose(whole.compose(whole.project(values)), values, atol=1e-11)
    found = harmonics(BALL, 16)
    gram = (found.vectors.T * found.weights) @ found.vectors
    assert np.allclose(gram, np.eye(16), atol=1e-12)
    assert found.weights.sum() == pytest.approx(BALL.area)
    along = laplace_beltrami(BALL) @ found.vectors
    assert np.allclose(along, found.vectors * found.values, atol=1e-12)
    with pytest.raises(ValueError, match="642 rows"):
        found.project(values)
    with pytest.raises(ValueError, match="214 at most"):
        harmonics(BALL, 600)


def test_harmonics_of_two_hemispheres_live_on_one_each():
    shift = np.array([25.0, 0, 0])
    left, right = Surface.sphere(3, 10.0), Surface.sphere(2, 8.0)
    both = Surface(
        np.concatenate([left.vertices - shift, right.vertices + shift]),
        np.concatenate([left.faces, right.faces + left.n_vertices]),
        np.repeat(["left", "right"], [left.n_vertices, right.n_vertices]),
    )
    found = harmonics(both, 12)
    alone = np.sort(np.concatenate([harmonics(s, 12).values for s in (left, right)]))
    assert np.allclose(found.values, alone[:12], atol=1e-13)
    sides = np.abs(found.vectors)
    assert not (sides[: left.n_vertices].max(axis=0) * sides[left.n_vertices :].max(axis=0)).any()


def test_graph_harmonics_are_the_networks_modes():
    """λ = 1 - Λ of the rows normalised; orthonormal by the strengths."""
    connectome = ng.Connectome.load("hcp-schaefer100")
    found = graph_harmonics(connectome, 20)
    modes = connectome.normalised().eigenmodes()
    assert np.allclose(1 - found.values, modes.values[:20], atol=1e-12)
    assert np.allclose(found.vectors[:, 0], 1.0)  # constant, of norm one
    gram = (found.vectors.T * found.weights) @ found.vectors
    assert np.allclose(gram, np.eye(20), atol=1e-12)
    with pytest.raises(ValueError, match="be symmetric"):
        graph_harmonics(connectome.normalised(), 5)
    with pytest.raises(ValueError, match=r"\[1\] have none"):
        graph_harmonics([[1.0, 0], [0, 0]], 1)


# --------------------------------------------------------------------------- distances


def test_paths_exceed_great_circles_by_what_is_said():
    """By 1.8 % on average, 5.2 % at most; and below the limit alone."""
    paths = GeodesicPaths().within(BALL, 6.0).tocoo()
    exact = 10 * np.arccos(np.clip((BALL.vertices @ BALL.vertices.T) / 100, -1, 1))
    there = exact[paths.coords]
    far = there > 3
    excess = paths.data[far] / there[far] - 1
    assert 0.01 < excess.mean() < 0.025
    assert excess.max() < 0.06
    assert excess.min() > -0.01  # chords under arcs
    assert paths.data.max() <= 6.0
    assert abs(paths - paths.T).max() < 1e-13
    circles = GreatCircles().within(BALL, 6.0)
    assert circles.nnz == (exact <= 6.0).sum()
    assert np.allclose(circles.toarray(), np.where(exact <= 6.0, exact, 0), atol=1e-6)
    with pytest.raises(ValueError, match="sphere around the origin"):
        GreatCircles().within(Surface(BALL.vertices + 1, BALL.faces), 1.0)


def test_paths_are_exact_in_their_own_directions():
    """On a flat strip of regular triangles: along edges, and across them."""
    i, j = np.meshgrid(np.arange(9), np.arange(9), indexing="ij")
    places = np.stack([i + j / 2, j * np.sqrt(3) / 2, 0 * i], axis=-1).reshape(-1, 3)
    n = (9 * i + j)[:-1, :-1].ravel()
    faces = np.concatenate([np.stack([n, n + 9, n + 1], 1), np.stack([n + 9, n + 10, n + 1], 1)])
    found = GeodesicPaths().within(Surface(places, faces, open=True), 20.0).toarray()
    assert found[0, 9 * 5] == pytest.approx(5)
    assert found[9 * 8, 9 * 0 + 8] == pytest.approx(8)
    assert found[0, 9 * 4 + 4] == pytest.approx(4 * np.sqrt(3))  # across edges
    straight = np.linalg.norm(places - places[:, None], axis=-1)
    assert (found >= straight - 1e-12).all()
    assert (found / np.maximum(straight, 1)).max() < 1 / np.cos(np.pi / 12) + 1e-12


# ----------------------------------------------------------------------------- kernels


def zonal(kernel, radius):
    """Funk and Hecke: eigenvalues, by degree, of a kernel cut off on a sphere, rows normalised."""

    def moment(degree):
        def integrand(angle):
            density = kernel.profile(np.array(radius * angle))
            return density * eval_legendre(degree, np.cos(angle)) * np.sin(angle)

        return scipy.integrate.quad(integrand, 0, kernel.limit / radius, epsabs=1e-14)[0]

    return np.array([moment(degree) for degree in range(5)]) / moment(0)


@pytest.mark.parametrize(
    ("kernel", "rough"),
    [
        (Gaussian(2.5, distance=GreatCircles()), 0.0013),
        (Gaussian(2.5, cutoff=9.0, distance=GreatCircles()), 0.0007),
        (Exponential(2.0, distance=GreatCircles()), 0.009),
        (Gaussian(2.5), 0.012),
    ],
)
def test_kernels_on_a_sphere_have_the_eigenvalues_of_zonal_ones(kernel, rough):
    """To the error of the mesh (642 vertices), or of paths; by areas they are symmetric."""
    weights = kernel.weights(BALL).toarray()
    assert np.allclose(weights.sum(axis=1), 1, atol=1e-14)
    root = np.sqrt(BALL.vertex_areas * kernel.mass(BALL))
    alike = root[:, None] * weights / root
    assert np.abs(alike - alike.T).max() < 1e-15
    found = scipy.linalg.eigvalsh(alike)[::-1][:25]
    exact = zonal(kernel, 10.0)
    errors = [np.abs(found[DEGREES[:25] == d] - exact[d]).max() for d in range(5)]
    assert max(errors) < rough


@dataclasses.dataclass(frozen=True)
class Disc(AbstractRadialKernel):
    """A kernel of one's own: all within a radius alike."""

    radius: float
    cutoff: float
    distance: AbstractDistance

    def profile(self, distance):
        return np.full(np.shape(distance), 1 / (np.pi * self.radius**2))

    def beyond(self, distance):
        return max(1 - (distance / self.radius) ** 2, 0.0)

    def width(self):
        return self.radius


def test_kernels_of_ones_own():
    weights = Disc(4.0, 4.0, GreatCircles()).weights(SMALL).toarray()
    near = SMALL.vertices @ SMALL.vertices.T >= 100 * np.cos(0.4)
    areas = near * SMALL.vertex_areas
    assert np.allclose(weights, areas / areas.sum(axis=1, keepdims=True), atol=1e-15)


def test_kernels_make_sparse_graphs():
    """What the graph does is the sparse array's product."""
    kernel = Gaussian(4.0)
    graph = kernel.graph(SMALL)
    values = jnp.asarray(np.random.default_rng(0).normal(size=(SMALL.n_vertices, 2)))
    assert np.allclose(graph.apply(values), kernel.weights(SMALL) @ values, atol=1e-14)
    assert graph.even()


def test_a_kernels_mass_is_what_it_says():
    """On a flat patch, away from the rim: one, less what lies beyond the cut-off."""
    side = np.arange(-20, 21.0)
    x, y = np.meshgrid(side + 0.0, side * np.sqrt(3) / 2, indexing="ij")
    x = x + (side % 2) / 2
    places = np.stack([x, y, 0 * x], -1).reshape(-1, 3)
    from scipy.spatial import Delaunay

    triangles = Delaunay(places[:, :2]).simplices
    patch = Surface(places, triangles, open=True)
    middle = int(np.argmin(np.linalg.norm(places, axis=1)))
    for kernel in (Gaussian(2.0), Gaussian(2.0, cutoff=3.0), Exponential(2.0)):
        inside = 1 - kernel.beyond(kernel.limit)
        assert kernel.mass(patch)[middle] == pytest.approx(inside, abs=0.05)
        total, _ = scipy.integrate.quad(
            lambda d, k=kernel: 2 * np.pi * d * float(k.profile(np.array(d))), 0, kernel.limit
        )
        assert total == pytest.approx(inside, rel=1e-9)
    assert Gaussian(2.0).beyond(Gaussian(2.0).limit) == pytest.approx(0.01)
    rim = kernel.mass(patch)[int(np.argmax(places[:, 0]))]
    assert rim < 0.6


def test_kernels_that_the_mesh_cannot_carry():
    with pytest.raises(ValueError, match=r"up to 1\.58 mm away \(vertex \d+\)"):
        Gaussian(2.0, cutoff=0.5).weights(BALL)
    with pytest.warns(UserWarning, match="below the edges' mean length"):
        Gaussian(1.0).weights(BALL)
    metres = Surface.sphere(6, radius=0.1)
    with pytest.raises(ValueError, match=r"about 40962 vertices around each, 20\.1 GB"):
        Gaussian(5.0).weights(metres)
    with pytest.raises(ValueError, match="`sigma` must be positive"):
        Gaussian(-1.0)
    with pytest.raises(ValueError, match="allow a larger `tolerance`"):
        DampedWaveKernel(1e4, tolerance=1e-12).graph(BALL)


def test_functions_of_the_operator_are_those_of_matrices():
    """SciPy's exponential and inverse of the dense operator; harmonics keep their shape."""
    operator = laplace_beltrami(SMALL).toarray()
    dense_heat = scipy.linalg.expm(-4.5 * operator)
    values = jnp.asarray(np.random.default_rng(0).normal(size=(SMALL.n_vertices, 3)))
    heat, wave = HeatKernel(3.0).graph(SMALL), DampedWaveKernel(3.0).graph(SMALL)
    for graph, dense, tolerance in (
        (heat, dense_heat, 1e-10),
        (wave, np.linalg.inv(np.eye(len(operator)) + 9 * operator), 1e-8),
    ):
        assert np.allclose(graph.apply(values), dense @ values, atol=20 * tolerance)
        root = np.sqrt(SMALL.vertex_areas)
        every = scipy.linalg.eigvalsh(root[:, None] * dense / root)[::-1]
        bounds = graph.bounds()
        assert bounds.holds(every, tolerance).all()
        modes = graph.leading(9)
        assert np.allclose(modes.values, every[:9], atol=tolerance)
        assert np.allclose(
            graph.apply(jnp.asarray(modes.vectors)), modes.vectors * modes.values, atol=1e-12
        )
        assert modes.uniform == 0
    assert np.allclose(heat.apply_transposed(values), dense_heat.T @ values, atol=1e-9)
    degree = np.repeat([0, 1, 2], [1, 3, 5])
    limit = np.exp(-4.5 * degree * (degree + 1) / 100)
    assert np.allclose(heat.leading(9).values, limit, atol=5e-3)
