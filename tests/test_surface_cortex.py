"""The cortex as a graph: local connections, tracts and callosal links, against dense formulas."""

import dataclasses
import importlib.util
import resource
import time

import jax.numpy as jnp
import numpy as np
import pytest

import ngnmm_jax as ng
from ngnmm_jax.surfaces import (
    ByRows,
    Gaussian,
    HeatKernel,
    MirrorImage,
    Parcellation,
    SameIndex,
    Surface,
    Undirected,
    callosal_weights,
    conte69,
    conte69_parcels,
    cortical_graph,
    graph_harmonics,
)

HALF = Surface.sphere(2, radius=10.0)
N = HALF.n_vertices
APART = np.array([12.0, 0, 0])


def brain(right=HALF):
    """Two spheres, the right one the left one's mirror image."""
    mirrored = right.vertices * [-1, 1, 1]
    return Surface(
        np.concatenate([HALF.vertices - APART, mirrored + APART]),
        np.concatenate([HALF.faces, right.faces[:, ::-1] + N]),
        np.repeat(["left", "right"], [N, right.n_vertices]),
    )


BRAIN = brain()
KERNEL = Gaussian(4.0)
#: Three parcels a hemisphere, by height, and a medial wall.
HEIGHTS = np.digitize(HALF.vertices[:, 2], [-3.0, 4.0])
WALL = np.abs(HALF.vertices[:, 0]) > 9.5
SIDE = np.where(WALL, -1, HEIGHTS)
WHOLE = Parcellation(np.concatenate([HEIGHTS, HEIGHTS + 3]), list("abcdef"))
CUT = Parcellation(np.concatenate([SIDE, np.where(WALL, -1, SIDE + 3)]), list("abcdef"))
_W = np.random.default_rng(3).uniform(0.2, 2, (6, 6))
CONNECTOME = ng.Connectome((_W + _W.T) * (1 - np.eye(6)), list("abcdef"))


def dense(surface, connectome, parcels, tracts, callosal, other):
    """The docstring's formula, vertex by vertex."""
    n, areas = surface.n_vertices, surface.vertex_areas
    local = KERNEL.weights(surface).toarray()
    weights = connectome.weights / connectome.weights.sum(axis=1, keepdims=True)
    place = {name: k for k, name in enumerate(connectome.labels)}
    regions = [place[parcels.names[p]] if p >= 0 else -1 for p in parcels.parcels]
    of = [areas[np.equal(regions, k)].sum() for k in range(len(weights))]
    whole = np.zeros((n, n))
    for j in range(n):
        tau = tracts if regions[j] >= 0 else 0.0
        kappa = callosal if regions[j] >= 0 and regions[other[j]] >= 0 else 0.0
        whole[j] = (1 - tau - kappa) * local[j]
        whole[j, other[j]] += kappa
        for k in range(n):
            if tau and regions[k] >= 0:
                share = areas[k] / of[regions[k]]
                whole[j, k] += tau * weights[regions[j], regions[k]] * share
    return whole


def test_shares_of_local_connections_tracts_and_links():
    """Against the formula by loops; some vertices outside, the connectome in another order."""
    shuffled = CONNECTOME.take([3, 0, 5, 1, 4, 2])
    graph = cortical_graph(
        BRAIN, shuffled, CUT, KERNEL, tracts=0.5, callosal=0.2, counterparts=SameIndex()
    )
    other = (np.arange(2 * N) + N) % (2 * N)
    wanted = dense(BRAIN, shuffled, CUT, 0.5, 0.2, other)
    assert np.allclose(graph.matrix(), wanted, atol=1e-14)
    assert np.allclose(wanted.sum(axis=1), 1, atol=1e-14)
    assert np.allclose(graph.row_sums(), 1, atol=1e-14)
    assert np.allclose(graph.apply_transposed(jnp.eye(2 * N)), wanted.T, atol=1e-14)


@pytest.mark.parametrize("normalisation", [ByRows(), Undirected()])
def test_vertices_may_stand_in_any_order(normalisation):
    """A cortex whose vertices are renumbered has the same connections."""
    order = np.random.default_rng(1).permutation(2 * N)
    new = np.argsort(order)
    shuffled = Surface(BRAIN.vertices[order], new[BRAIN.faces], BRAIN.hemispheres[order])
    parcels = WHOLE.take(order)
    shares = {"tracts": 0.4, "callosal": 0.1, "normalisation": normalisation}
    one = cortical_graph(BRAIN, CONNECTOME, WHOLE, KERNEL, **shares).matrix()
    other = cortical_graph(shuffled, CONNECTOME, parcels, KERNEL, **shares).matrix()
    assert np.allclose(np.asarray(one)[np.ix_(order, order)], other, atol=1e-13)


def test_tracts_alone_have_the_connectomes_eigenvalues():
    """The others are zero; a vertex' activity is its region's."""
    graph = cortical_graph(BRAIN, CONNECTOME, WHOLE, KERNEL, tracts=1.0)
    values, uniform = graph.spectrum()
    wanted = CONNECTOME.normalised().eigenmodes()
    nonzero = values[np.abs(values) > 1e-9]
    assert np.allclose(nonzero, wanted.values, atol=1e-12)
    assert values[uniform] == pytest.approx(1)
    spread = WHOLE.spread(wanted.vectors[:, 1])
    assert np.allclose(graph.apply(jnp.asarray(spread)), wanted.values[1] * spread, atol=1e-13)


@pytest.mark.parametrize("callosal", [0.0, 0.15])
def test_undirected_connections_have_real_eigenvalues(callosal):
    """Symmetric by what the docstring says, rows one, the tracts those of the connectome."""
    shares = {"tracts": 0.4, "callosal": callosal}
    graph = cortical_graph(BRAIN, CONNECTOME, WHOLE, KERNEL, **shares, normalisation=Undirected())
    matrix, areas = np.asarray(graph.matrix()), BRAIN.vertex_areas
    strengths = CONNECTOME.weights.sum(axis=1)
    measure = (strengths / WHOLE.areas(BRAIN))[WHOLE.parcels] * areas
    flow = measure[:, None] * matrix
    assert np.abs(flow - flow.T).max() < 1e-13 * flow.max()
    assert np.allclose(matrix.sum(axis=1), 1, atol=1e-12)
    by_rows = cortical_graph(BRAIN, CONNECTOME, WHOLE, KERNEL, **shares)
    between = WHOLE.parcels[:, None] != WHOLE.parcels
    far = between & (KERNEL.weights(BRAIN).toarray() == 0) & (np.asarray(by_rows.matrix()) < 0.1)
    assert np.allclose(matrix[far], np.asarray(by_rows.matrix())[far], atol=1e-14)
    found = graph.symmetriser()
    assert np.allclose(found / found[0], measure / measure[0], rtol=1e-9)


def test_undirected_local_connections_are_the_kernels_where_tracts_are_as_dense():
    """With strengths in proportion to areas nothing is to be made up for but the rows' sums."""
    areas = WHOLE.areas(BRAIN)
    even = dataclasses.replace(CONNECTOME, weights=np.outer(areas, areas))
    graph = cortical_graph(BRAIN, even, WHOLE, KERNEL, tracts=0.4, normalisation=Undirected())
    local = np.asarray(graph.parts[0].matrix())
    assert np.allclose(local, KERNEL.weights(BRAIN).toarray(), rtol=0.03, atol=1e-12)


def test_counterparts():
    """Of mirror images both ways agree; of other meshes the nearest one is taken."""
    same, mirror = SameIndex().of(BRAIN), MirrorImage().of(BRAIN)
    assert np.array_equal(same, mirror)
    assert np.array_equal(same[same], np.arange(2 * N))
    coarse = brain(Surface.sphere(1, radius=10.0))
    with pytest.raises(ValueError, match=r"162 and 42: use `MirrorImage\(\)`"):
        SameIndex().of(coarse)
    found = MirrorImage().of(coarse)
    assert set(found[:N]) == set(range(N, N + 42))
    assert np.array_equal(found[N:], np.arange(42))  # the finer sphere begins with the coarser
    links = callosal_weights(BRAIN, SameIndex(), CUT)
    assert links.sum() == 2 * (~WALL).sum()
    with pytest.raises(ValueError, match="have a left and a right hemisphere"):
        callosal_weights(HALF)
    far = Surface(
        np.concatenate([BRAIN.vertices[:N], BRAIN.vertices[N:] + 5 * APART[[1, 0, 2]]]),
        BRAIN.faces,
        BRAIN.hemispheres,
    )
    with pytest.warns(UserWarning, match="from the mirror image of their counterpart"):
        MirrorImage().of(far)


BAD = {
    "share": ({"tracts": 1.5}, "`tracts` must be a share from 0 to 1"),
    "shares": ({"tracts": 0.8, "callosal": 0.3}, "`callosal` must be 0.2 at most"),
    "kernel": ({"kernel": Gaussian, "tracts": 0.5}, r"`kernel` must be one as `Gaussian\(5.0\)`"),
    "labels": ({"parcels": WHOLE.take(np.arange(N)), "tracts": 0.5}, "fewer than the surface's"),
    "silent": (
        {"connectome": CONNECTOME.cut(regions=["b"]), "tracts": 0.5},
        r"1 region\(s\) receive no connection \(b\)",
    ),
    "names": (
        {"connectome": dataclasses.replace(CONNECTOME, labels=tuple("ABCDEF")), "tracts": 0.5},
        "differ in capitals",
    ),
    "no distance": (
        {"kernel": HeatKernel(4.0), "tracts": 0.5, "normalisation": Undirected()},
        "be one by distance",
    ),
    "directed": (
        {"connectome": CONNECTOME.normalised(), "tracts": 0.5, "normalisation": Undirected()},
        "have symmetric weights",
    ),
    "wall": (
        {"parcels": CUT, "tracts": 0.5, "normalisation": Undirected()},
        r"20 are outside: use `surface\.without\(parcels\.outside\)`",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_refused(case):
    given, words = BAD[case]
    arguments = {
        "surface": BRAIN, "connectome": CONNECTOME, "parcels": WHOLE, "kernel": KERNEL, **given
    }  # fmt: skip
    with pytest.raises(ValueError, match=words):
        cortical_graph(**arguments)


def test_the_advice_about_a_medial_wall_works():
    surface = BRAIN.without(CUT.outside)
    parcels = CUT.take(BRAIN.kept(CUT.outside))
    graph = cortical_graph(
        surface, CONNECTOME, parcels, KERNEL, tracts=0.5, callosal=0.1, normalisation=Undirected()
    )
    assert graph.n_regions == surface.n_vertices == 2 * N - CUT.outside.sum()
    assert np.allclose(graph.row_sums(), 1, atol=1e-12)


def test_harmonics_of_a_cortex():
    """Of its undirected connections: 1 - Λ, orthonormal; directed ones are refused."""
    shares = {"tracts": 0.4, "callosal": 0.1}
    graph = cortical_graph(BRAIN, CONNECTOME, WHOLE, KERNEL, **shares, normalisation=Undirected())
    found = graph_harmonics(graph, 10)
    matrix = np.asarray(graph.matrix())
    every = np.sort(1 - np.linalg.eigvals(matrix).real)
    assert np.allclose(found.values, every[:10], atol=1e-12)
    assert np.allclose(found.vectors[:, 0], 1, atol=1e-10)
    gram = (found.vectors.T * found.weights) @ found.vectors
    assert np.allclose(gram, np.eye(10), atol=1e-9)
    assert not found.counted
    with pytest.raises(ValueError, match="be symmetric but for numbers"):
        graph_harmonics(cortical_graph(BRAIN, CONNECTOME, WHOLE, KERNEL, **shares), 10)


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("brainspace") is None, reason="needs the files of brainspace"
)
def test_the_embedded_connectome_on_64k_vertices():
    """Within a minute of CPU and 2 GB; homogeneous states are kept."""
    began = time.process_time()
    surface, parcels = conte69(), conte69_parcels()
    connectome = ng.Connectome.load("hcp-schaefer100")
    graph = cortical_graph(
        surface, connectome, parcels, Gaussian(2.5), tracts=0.4, callosal=0.1,
        counterparts=SameIndex(),
    )  # fmt: skip
    assert time.process_time() - began < 60
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2e6  # kB, of all that ran here
    assert np.allclose(graph.apply(jnp.ones(surface.n_vertices)), 1, atol=1e-13)
