"""Connectomes: where they come from, what is done to them, what is refused."""

import io
import zipfile

import numpy as np
import pytest
import scipy.io

import ngnmm_jax as ng
from ngnmm_jax.connectome import fetch
from tests.conftest import reference_values


def distance_correlation(connectome):
    gaps = connectome.centroids[:, None] - connectome.centroids[None]
    distance = np.linalg.norm(gaps, axis=-1)
    linked = connectome.weights > 0
    return np.corrcoef(np.log(connectome.weights[linked]), distance[linked])[0, 1]


# ---------------------------------------------------------------------- loading


def test_embedded(hcp):
    assert hcp.n_regions == 100
    assert hcp.is_symmetric
    assert hcp.weights.diagonal().max() == 0
    assert hcp.labels[0] == "LH_Vis_1"
    assert hcp.labels[50] == "RH_Vis_1"
    assert hcp.centroids.shape == (100, 3)
    assert set(hcp.groups) >= {"Vis", "Default"}
    assert hcp.functional_connectivity.diagonal() == pytest.approx(1)
    # Left regions lie on the left; near regions are linked more strongly.
    assert (hcp.centroids[:50, 0] < 0).all()
    assert distance_correlation(hcp) == pytest.approx(-0.63, abs=0.01)


def test_aal90(aal90_folder, aal90):
    atlas = ng.Connectome.load("aal90", cache_dir=aal90_folder)
    assert atlas.labels[:2] == ("PreCG.L", "SFGdor.L")
    assert atlas.labels[45:47] == ("PreCG.R", "SFGdor.R")
    assert all(name.endswith(".L") for name in atlas.labels[:45])
    assert distance_correlation(atlas) == pytest.approx(-0.60, abs=0.005)
    # The source's order has the right regions reversed; both are the same network.
    assert aal90.labels[45] == atlas.labels[89]
    again = atlas.take([atlas.labels.index(name) for name in aal90.labels]).normalised()
    np.testing.assert_array_equal(again.weights, aal90.weights)


def test_aal90_spectrum(aal90):
    modes = aal90.eigenmodes()
    expected = reference_values("homogeneous_and_network.json")["spectrum"]
    assert modes.is_real
    assert modes.uniform == 0
    assert modes.residual < 1e-13
    np.testing.assert_allclose(modes.values, expected, atol=1e-12)


def test_aal90_through_the_environment(aal90_folder, monkeypatch):
    monkeypatch.setenv("NGNMM_JAX_CACHE", str(aal90_folder))
    assert ng.Connectome.load("aal90").n_regions == 90


def test_fetch_refuses_a_wrong_hash(tmp_path):
    (tmp_path / "sc2017.dat").write_text("90\n0 1 0.5\n")
    with pytest.raises(ValueError, match="SHA-256 differs"):
        ng.Connectome.load("aal90", cache_dir=tmp_path)


def test_fetch_without_a_network(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "_URL", "http://127.0.0.1:9/")
    with pytest.raises(ConnectionError, match=r"by hand.*hcp-schaefer100"):
        ng.Connectome.load("aal90", cache_dir=tmp_path)


def test_fetch_into_a_folder_that_is_none(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot be written to"):
        ng.Connectome.load("aal90", cache_dir=tmp_path / "file" / "inside")


@pytest.fixture
def example():
    return ng.Connectome(
        weights=[[0, 1.5, 0], [2, 0, 0.25], [0, 3, 0]],
        labels=("A", "B", "C"),
        centroids=np.arange(9.0).reshape(3, 3),
        tract_lengths=np.full((3, 3), 10.0),
        groups=("x", "x", "y"),
    )


def test_npz_round_trip(example, tmp_path):
    example.save(tmp_path / "mine.npz")
    again = ng.Connectome.load(tmp_path / "mine.npz")
    for name in ("weights", "centroids", "tract_lengths"):
        np.testing.assert_array_equal(getattr(again, name), getattr(example, name))
    assert (again.labels, again.groups) == (example.labels, example.groups)


@pytest.mark.parametrize(
    ("name", "text", "labels"),
    [
        ("dense.txt", "0 1.5 0\n2 0 0.25\n0 3 0\n", None),
        ("dense.csv", "0,1.5,0\n2,0,0.25\n0,3,0\n", None),
        ("header.csv", "A,B,C\n0,1.5,0\n2,0,0.25\n0,3,0\n", ("A", "B", "C")),
        ("both.csv", ",A,B,C\nA,0,1.5,0\nB,2,0,0.25\nC,0,3,0\n", ("A", "B", "C")),
        ("edges.txt", "# i j w\n3\n0 1 1.5\n1 0 2\n1 2 0.25\n2 1 3\n", None),
        ("bare_edges.csv", "0,1,1.5\n1,0,2\n1,2,0.25\n2,1,3\n", None),
        ("one_based.dat", "1 2 1.5\n2 1 2\n2 3 0.25\n3 2 3\n", None),
    ],
)
def test_text_files(example, tmp_path, name, text, labels):
    (tmp_path / name).write_text(text)
    loaded = ng.Connectome.load(tmp_path / name)
    edges = "edges" in name or "based" in name  # source, target, weight
    np.testing.assert_array_equal(loaded.weights.T if edges else loaded.weights, example.weights)
    assert loaded.labels == (labels or ("region 0", "region 1", "region 2"))


def test_npy_and_mat(example, tmp_path):
    np.save(tmp_path / "w.npy", example.weights)
    scipy.io.savemat(
        tmp_path / "w.mat",
        {"SC": example.weights, "labels": np.array(["A", "B", "C"], dtype=object)},
    )
    scipy.io.savemat(tmp_path / "odd.mat", {"anything": example.weights})
    for name in ("w.npy", "w.mat", "odd.mat"):
        loaded = ng.Connectome.load(tmp_path / name)
        np.testing.assert_array_equal(loaded.weights, example.weights)
    assert ng.Connectome.load(tmp_path / "w.mat").labels == ("A", "B", "C")


def test_tvb_zip(example, tmp_path):
    def text(array):
        stream = io.StringIO()
        np.savetxt(stream, array)
        return stream.getvalue()

    with zipfile.ZipFile(tmp_path / "connectivity.zip", "w") as archive:
        archive.writestr("connectivity_3/weights.txt", text(example.weights))
        archive.writestr("connectivity_3/tract_lengths.txt", text(example.tract_lengths))
        rows = [f"{n} {x} {y} {z}" for n, (x, y, z) in zip("ABC", example.centroids, strict=True)]
        archive.writestr("connectivity_3/centres.txt", "\n".join(rows) + "\n")
    loaded = ng.Connectome.load(tmp_path / "connectivity.zip")
    np.testing.assert_array_equal(loaded.weights, example.weights)
    np.testing.assert_array_equal(loaded.centroids, example.centroids)
    assert loaded.labels == ("A", "B", "C")


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("ragged.csv", "0,1,2\n3,4\n5,6,7\n", "different numbers of entries"),
        ("wide.csv", "0,1,2,3\n1,0,2,3\n", "square"),
        ("words.csv", "0,one\n1,0\n", "not a number|square"),
        ("nan.csv", "0,nan\n1,0\n", "finite"),
        ("negative.csv", "0,-1\n1,0\n", "not be negative"),
        ("empty.txt", "", "no numbers"),
        ("far.txt", "2\n0 1 1.0\n0 5 2.0\n", "names region 5, but has 2"),
        ("half.txt", "3\n0 1.5 1.0\n", "indices of regions"),
        ("broken.zip", "not a zip", "could not be read"),
        ("broken.npz", "not an npz", "could not be read"),
        ("broken.mat", "not a mat", "could not be read"),
        ("what.xlsx", "", "end in one of"),
    ],
)
def test_bad_files(tmp_path, name, content, words):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=words):
        ng.Connectome.load(tmp_path / name)


def test_zip_without_weights(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("centres.txt", "A 0 0 0\n")
    with pytest.raises(ValueError, match=r"no weights\.txt"):
        ng.Connectome.load(tmp_path / "a.zip")


def test_unknown_names():
    with pytest.raises(ValueError, match="did you mean 'aal90'"):
        ng.Connectome.load("aal9")
    with pytest.raises(FileNotFoundError, match=r"no connectome file 'nowhere\.csv'"):
        ng.Connectome.load("nowhere.csv")
    with pytest.raises(ValueError, match="`order` must be one of 'atlas', 'source'"):
        ng.Connectome.load("aal90", order="random")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"weights": np.ones((2, 3))}, "`weights` must be a square matrix"),
        ({"weights": np.zeros((0, 0))}, "at least one region"),
        ({"weights": "nonsense"}, "array of numbers"),
        ({"weights": [[0, np.nan], [1, 0]]}, "`weights` must be finite"),
        ({"weights": [[0, -1], [1, 0]]}, "`weights` must not be negative"),
        ({"labels": ("a",)}, "`labels` must have 2 entries"),
        ({"labels": ("a", "a")}, "`labels` must be unique"),
        ({"centroids": np.zeros((3, 3))}, "`centroids` must have shape"),
        ({"tract_lengths": -np.ones((2, 2))}, "`tract_lengths` must not be negative"),
        ({"groups": ("a", "b", "c")}, "`groups` must have 2 entries"),
    ],
)
def test_bad_arrays(arguments, words):
    with pytest.raises(ValueError, match=words):
        ng.Connectome(**{"weights": np.ones((2, 2)), **arguments})


# ---------------------------------------------------------------------- transforms


def test_transforms(example):
    normal = example.normalised()
    np.testing.assert_allclose(normal.weights.sum(axis=1), 1, rtol=1e-15)
    assert normal.labels == example.labels
    np.testing.assert_array_equal(example.power(0.5).weights, np.sqrt(example.weights))
    assert example.symmetrised().is_symmetric
    less = example.without(["B"])
    assert less.labels == ("A", "C")
    np.testing.assert_array_equal(less.centroids, example.centroids[[0, 2]])
    np.testing.assert_array_equal(less.weights, np.zeros((2, 2)))
    assert example.without([0, "C"]).labels == ("B",)
    with pytest.raises(ValueError, match=r"receive no connection \(A, C\)"):
        less.normalised()
    with pytest.raises(ValueError, match="`regions` must be one of"):
        example.without(["b"])
    with pytest.raises(ValueError, match="between 0 and 2"):
        example.without([3])
    with pytest.raises(ValueError, match="`exponent` must be positive"):
        example.power(0.0)
    with pytest.raises(ValueError, match="read-only"):
        example.weights[0, 0] = 1.0


def test_eigenmodes(directed, small):
    for connectome in (directed, small):
        modes = connectome.eigenmodes()
        product = connectome.weights @ modes.vectors
        np.testing.assert_allclose(product, modes.vectors * modes.values, atol=1e-13)
        np.testing.assert_allclose(np.linalg.norm(modes.vectors, axis=0), 1, rtol=1e-12)
        assert (np.diff(modes.values.real) <= 1e-12).all()
        assert modes.uniform == 0
        assert modes.values[0] == pytest.approx(1)
        assert np.ptp(modes.vectors[:, 0].real) < 1e-12
        assert modes.residual < 1e-13
    assert directed.eigenmodes().values.imag.max() > 0.01
    assert ng.Connectome([[0, 2.0], [1, 0]]).eigenmodes().uniform is None


def chain(pairs, back=0.0):
    """Mutually coupled pairs, each driven by the one before: defective, rows that sum to one."""
    weights = np.kron(np.eye(pairs), [[0, 0.7], [0.7, 0]]) + 0.3 * np.eye(2 * pairs, k=-2)
    weights[:2, :2] = [[0, 1.0], [1.0, 0]]
    weights[0, -1] = back
    return weights / weights.sum(axis=1, keepdims=True)


def test_a_defective_chain_is_exact():
    """Fifty pairs, shuffled: the whole matrix's eigenvalues are off by 0.3 in LAPACK."""
    shuffled = np.random.default_rng(0).permutation(100)
    weights = chain(50)[np.ix_(shuffled, shuffled)]
    modes = ng.Connectome(weights).eigenmodes()
    exact = np.repeat([1, 0.7, -0.7, -1], [1, 49, 49, 1])
    assert np.abs(np.sort(np.linalg.eigvals(weights).real) - exact[::-1]).max() > 0.01
    np.testing.assert_allclose(modes.values, exact, atol=1e-14)
    np.testing.assert_allclose(np.linalg.norm(modes.vectors, axis=0), 1, rtol=1e-12)
    assert modes.residual < 1e-13
    assert modes.uniform == 0
    assert modes.certain
    assert modes.errors.max() < 1e-14


def test_a_chain_that_nearly_feeds_back_is_told():
    """One component, and no double can hold its eigenvalues: their conditions say so."""
    weights = chain(50, back=1e-12)
    modes = ng.Connectome(weights).eigenmodes()
    assert not modes.certain
    assert modes.conditions.max() > 1e8
    network = ng.Network(ng.NextGenEI(), weights, 5.0)
    with pytest.warns(UserWarning, match="ill-conditioned"):
        network.spectrum()


@pytest.mark.parametrize("seed", range(4))
def test_eigenmodes_of_components(seed):
    """Random directed weights of several components, against LAPACK; conditions by perturbation."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(size=(14, 14)) * (rng.uniform(size=(14, 14)) < 0.14)
    modes = ng.Connectome(weights).eigenmodes()
    exact = np.linalg.eigvals(weights)
    # Zero is defective: LAPACK's are off by a root of rounding there.
    exact, values = (v[np.abs(v) > 1e-2] for v in (exact, modes.values))
    assert len(exact) == len(values)
    gap = np.abs(exact[:, None] - values)
    assert max(gap.min(axis=0).max(), gap.min(axis=1).max()) < 1e-11
    assert np.trace(weights) == pytest.approx(np.sum(modes.values).real, abs=1e-12)
    product = weights @ modes.vectors
    np.testing.assert_allclose(product, modes.vectors * modes.values, atol=1e-12)
    assert (modes.conditions >= 1).all()


@pytest.mark.parametrize("order", [np.arange(12), np.random.default_rng(1).permutation(12)])
def test_regions_that_receive_the_same(order):
    """Each of three rows four times: three eigenvalues of 3 × 3, nine zeros, all well known."""
    rng = np.random.default_rng(0)
    receiver = np.repeat(np.arange(3), 4)[order]
    rows = rng.uniform(size=(3, 12))
    modes = ng.Connectome(rows[receiver]).eigenmodes()
    small = np.stack([rows[:, receiver == k].sum(axis=1) for k in range(3)], axis=1)
    exact = np.linalg.eigvals(small)
    some = np.abs(modes.values) > 0
    assert some.sum() == 3
    np.testing.assert_allclose(np.sort_complex(modes.values[some]), np.sort_complex(exact))
    assert np.linalg.matrix_rank(modes.vectors) == 12
    assert modes.certain
    assert modes.residual < 1e-14
    # Of the simple ones: how much the worst small change of the weights moves each.
    for value, vector, condition in zip(
        modes.values[some], modes.vectors[:, some].T, modes.conditions[some], strict=True
    ):
        left = np.linalg.svd(rows[receiver].T - value * np.eye(12))[2][-1].conj()
        assert condition == pytest.approx(1 / abs(left @ vector), rel=1e-6)


def test_receivers_that_are_not_told_apart_are_left_alone():
    """Rows that repeat, and a zero besides that the repetition does not explain."""
    rows = np.array([[0.0, 0, 1, 1], [0.0, 0, 0, 0]])
    weights = rows[[0, 0, 1, 1]]
    modes = ng.Connectome(weights).eigenmodes()
    np.testing.assert_array_equal(modes.values, 0)


def test_conditions_bound_what_a_change_does():
    rng = np.random.default_rng(1)
    weights = rng.uniform(size=(8, 8)) ** 6
    modes = ng.Connectome(weights).eigenmodes()
    change = rng.normal(size=(8, 8))
    change *= 1e-7 / np.linalg.norm(change, 2)
    moved = np.linalg.eigvals(weights + change)
    gaps = np.abs(moved[:, None] - modes.values).min(axis=0)
    assert (gaps <= 1.001e-7 * modes.conditions).all()
    assert (gaps > 0.01e-7 * modes.conditions).any()


# ---------------------------------------------------------------------- synthetic


def statistics(connectome):
    upper = np.triu_indices(connectome.n_regions, 1)
    gaps = connectome.centroids[:, None] - connectome.centroids[None]
    distance = np.linalg.norm(gaps, axis=-1)[upper]
    weights = connectome.weights[upper]
    linked = weights > 0
    log_weights, distance = np.log(weights[linked]), distance[linked]
    slope, intercept = np.polyfit(distance, log_weights, 1)
    strengths = connectome.weights.sum(axis=1)
    return {
        "slope": slope,
        "residual": (log_weights - slope * distance - intercept).std(),
        "correlation": np.corrcoef(log_weights, distance)[0, 1],
        "density": linked.mean(),
        "strengths": strengths.std() / strengths.mean(),
        "second": np.sort(np.linalg.eigvals(connectome.normalised().weights).real)[-2],
    }


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_synthetic_has_the_statistics_of_the_real_one(hcp, seed):
    real, made = statistics(hcp), statistics(ng.Connectome.synthetic(100, seed=seed))
    within = {
        "slope": 0.006,
        "residual": 0.2,
        "correlation": 0.06,
        "density": 0.01,
        "strengths": 0.12,
        "second": 0.06,
    }
    for name, bound in within.items():
        assert made[name] == pytest.approx(real[name], abs=bound), name


@pytest.mark.parametrize("n", [2, 7, 60])
def test_synthetic_is_symmetric_and_mirrored(n):
    made = ng.Connectome.synthetic(n, seed=4)
    half = n // 2
    mirror = [*range(half, 2 * half), *range(half), *range(2 * half, n)]
    assert made.is_symmetric
    np.testing.assert_allclose(made.take(mirror).weights, made.weights, rtol=1e-12)
    np.testing.assert_allclose(made.centroids[mirror] * [-1, 1, 1], made.centroids, atol=1e-12)
    assert (made.weights.sum(axis=1) > 0).all()
    assert "synthetic" in made.source
    again = ng.Connectome.synthetic(n, seed=4)
    np.testing.assert_array_equal(again.weights, made.weights)
    if n > 2:
        assert not np.array_equal(ng.Connectome.synthetic(n, seed=5).weights, made.weights)


def test_synthetic_refuses():
    with pytest.raises(ValueError, match="at least 2"):
        ng.Connectome.synthetic(1)
    with pytest.raises(ValueError, match="`density` must be at most 1"):
        ng.Connectome.synthetic(10, density=1.5)
    with pytest.raises(ValueError, match="positive integer"):
        ng.Connectome.synthetic(-3)
