"""Parcels: files of labels, what is outside of all, and which region of a connectome each is."""

import importlib.util

import nibabel
import numpy as np
import pytest

import ngnmm_jax as ng
from ngnmm_jax.surfaces import Parcellation, Surface, conte69, conte69_parcels, fs_lr

SPHERE = Surface.sphere(1)
N = SPHERE.n_vertices
#: A northern cap without a parcel, and two halves.
KEYS = np.where(SPHERE.vertices[:, 2] > 0.8, 0, np.where(SPHERE.vertices[:, 0] > 0, 1, 2))
TWO = ng.Connectome([[0, 1.0], [2.0, 0]], ["east", "west"])
NAMED = {0: "???", 1: "east", 2: "west"}

needs_brainspace = pytest.mark.skipif(
    importlib.util.find_spec("brainspace") is None, reason="needs the files of brainspace"
)


def test_labels_are_read_from_every_kind_of_file(tmp_path):
    """The same labels, written by nibabel or NumPy; what is outside is said."""
    wanted = KEYS - 1
    np.save(tmp_path / "a.npy", KEYS)
    np.savetxt(tmp_path / "a.csv", KEYS[None], fmt="%d", delimiter=",")
    np.savetxt(tmp_path / "a.txt", np.array(["Medial Wall", "east", "west"])[KEYS], fmt="%s")
    colours = np.array([[25, 5, 25, 0, 0], [10, 20, 30, 0, 0], [200, 20, 30, 0, 0]])
    nibabel.freesurfer.write_annot(
        tmp_path / "lh.a.annot", KEYS, colours, ["medial_wall", "east", "west"], fill_ctab=True
    )
    table = nibabel.gifti.GiftiLabelTable()
    for key, name in NAMED.items():
        label = nibabel.gifti.GiftiLabel(key, 0.1, 0.2, 0.3, 1.0)
        label.label = name
        table.labels.append(label)
    array = nibabel.gifti.GiftiDataArray(np.int32(KEYS), "NIFTI_INTENT_LABEL")
    image = nibabel.gifti.GiftiImage(labeltable=table, darrays=[array])
    nibabel.save(image, tmp_path / "a.label.gii")
    (tmp_path / "b.csv").write_text("label\n1\n0\n")
    with pytest.raises(ValueError, match="first line is 'label', the others are numbers"):
        Parcellation.load(tmp_path / "b.csv")
    for name in ("a.npy", "a.csv", "a.txt", "lh.a.annot", "a.label.gii"):
        read = Parcellation.load(tmp_path / name)
        assert np.array_equal(read.parcels, wanted), name
        assert "outside of all parcels" in read.notes[0]
        if name not in ("a.npy", "a.csv"):
            assert read.names == ("east", "west")
        connectome = ng.Connectome(TWO.weights) if read.numbered else TWO
        assert np.array_equal(read.regions(connectome), wanted)


def test_cifti_has_the_cortex_without_its_medial_wall(tmp_path):
    """Vertices that the file leaves out are outside, left first."""
    inside = KEYS > 0
    axis = nibabel.cifti2.BrainModelAxis
    grey = axis.from_mask(inside, "CortexLeft") + axis.from_mask(inside, "CortexRight")
    table = {0: ("???", (0, 0, 0, 0)), 1: ("a", (1, 0, 0, 1)), 2: ("b", (0, 1, 0, 1))}
    table |= {3: ("c", (0, 0, 1, 1)), 4: ("d", (0, 1, 1, 1))}
    keys = np.concatenate([KEYS[inside], KEYS[inside] + 2])
    labels = nibabel.cifti2.LabelAxis(["parcels"], [table])
    image = nibabel.Cifti2Image(keys[None].astype(np.float32), (labels, grey))
    nibabel.save(image, tmp_path / "x.dlabel.nii")
    read = Parcellation.load(tmp_path / "x.dlabel.nii")
    assert read.names == tuple("abcd")
    right = np.where(inside, KEYS + 1, -1)
    assert np.array_equal(read.parcels, np.concatenate([KEYS - 1, right]))


def test_two_files_make_one_parcellation(tmp_path):
    """Names that stand in both get their side; numbers that do are refused."""
    for side in ("lh", "rh"):
        np.savetxt(tmp_path / f"{side}.txt", np.array(["unknown", "a", "b"])[KEYS], fmt="%s")
    both = Parcellation.load(tmp_path / "lh.txt", tmp_path / "rh.txt")
    assert both.names == ("lh.a", "lh.b", "rh.a", "rh.b")
    assert "'a' stands in both" in both.notes[-1]
    np.save(tmp_path / "l.npy", KEYS)
    np.save(tmp_path / "r.npy", np.where(KEYS > 0, KEYS + 2, 0))
    apart = Parcellation.load(tmp_path / "l.npy", tmp_path / "r.npy")
    assert np.array_equal(apart.parcels, both.parcels)
    np.save(tmp_path / "r2.npy", KEYS)
    with pytest.raises(ValueError, match=r"1 stands in both \(2 do\)") as refused:
        Parcellation.load(tmp_path / "l.npy", tmp_path / "r2.npy")
    assert "np.where(right > 0, right + left.max(), 0)" in str(refused.value)
    left, right = KEYS, KEYS
    advised = np.concatenate([left, np.where(right > 0, right + left.max(), 0)])
    assert np.array_equal(Parcellation.of_labels(advised).parcels, both.parcels)


BAD = {
    "fractions": (lambda: Parcellation.of_labels([0, 1.5]), "vertex 1 is 1.5"),
    "nothing": (lambda: Parcellation.of_labels([0, 0]), "they are 0 to 0"),
    "all unknown": (lambda: Parcellation.of_labels(["unknown"] * 3), "all are outside"),
    "as in files": (lambda: Parcellation([1, 2], ["a", "b"]), r"vertex 1 is 2 .*of_labels"),
    "no vertex": (lambda: Parcellation([0, 2]), "'parcel 2' has none"),
    "names twice": (lambda: Parcellation([0, 1], ["a", "a"]), "'a' stands more than once"),
    "more": (lambda: Parcellation(np.zeros(50, int)).check(SPHERE), "50 labels, more than .* 42"),
    "both sides": (lambda: Parcellation([0] * 84).check(SPHERE), "a surface of both"),
    "one side": (lambda: Parcellation([0] * 21).check(SPHERE), "the files of both"),
    "counts": (
        lambda: Parcellation([0, 1, 2]).regions(TWO),
        r"be 2 as the regions are, without names both, but they are 3",
    ),
    "unknown": (
        lambda: Parcellation([0, 1], ["east", "north"]).regions(TWO),
        r"1 are none: 'north'.*parcels\.renamed\(connectome\.labels\)",
    ),
    "prefix": (
        lambda: Parcellation([0, 1], ["7N_west", "7N_east"]).regions(TWO),
        r"parcels\.renamed\(lambda name: name\.removeprefix\('7N_'\)\)",
    ),
    "missing": (
        lambda: Parcellation([0, 0], ["east"]).regions(TWO),
        r"no vertex: 'west'\. Leave them out: `connectome\.without",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_labels_that_do_not_fit_are_refused(case):
    make, words = BAD[case]
    with pytest.raises(ValueError, match=words):
        make()


def test_names_are_matched_whatever_their_order():
    parcels = Parcellation([1, 0, -1], ["7N_west", "7N_east"])
    renamed = parcels.renamed(lambda name: name.removeprefix("7N_"))
    assert renamed.regions(TWO).tolist() == [0, 1, -1]
    assert Parcellation([1, 0, -1]).regions(ng.Connectome(TWO.weights)).tolist() == [1, 0, -1]
    with pytest.raises(ValueError, match=r"If the order is the same: `parcels\.renamed"):
        Parcellation([1, 0, -1]).regions(TWO)
    assert parcels.renamed(TWO.labels).regions(TWO).tolist() == [1, 0, -1]
    gap = Parcellation.of_labels([1, 3, 0])
    assert gap.names == ("parcel 1", "parcel 3")
    assert "no label is 2" in gap.notes[1]


def test_means_over_parcels_and_back():
    """Of what is the same all over a parcel; by area, else."""
    parcels = Parcellation.of_labels(KEYS)
    values = np.array([[3.0, 1.0], [5.0, 2.0]])
    spread = parcels.spread(values)
    assert np.isnan(spread[parcels.outside]).all()
    assert np.allclose(parcels.means(np.nan_to_num(spread), SPHERE), values, rtol=1e-14)
    areas = SPHERE.vertex_areas
    east = parcels.parcels == 0
    x = SPHERE.vertices[:, 0]
    assert parcels.means(x, SPHERE)[0] == pytest.approx((x * areas)[east].sum() / areas[east].sum())
    assert parcels.areas(SPHERE).sum() == pytest.approx(areas[KEYS > 0].sum())
    kept = SPHERE.kept(parcels.outside)
    cut = parcels.take(kept)
    cut.check(SPHERE.without(parcels.outside))
    assert not cut.outside.any()


@needs_brainspace
def test_conte69_is_the_surface_of_the_embedded_connectome():
    """Centroids to 0.001 mm; and, of the order of names, what was measured independently.

    brainspace has a functional connectivity of the same parcels, of other people: each parcel's
    row is most like that of the region whose name it got.
    """
    surface, parcels = conte69(), conte69_parcels("schaefer100")
    connectome = ng.Connectome.load("hcp-schaefer100")
    assert (surface.n_vertices, parcels.n_vertices) == (64984, 64984)
    assert int(parcels.outside.sum()) == 5750
    regions = parcels.regions(connectome)
    assert np.array_equal(regions, parcels.parcels)
    assert np.abs(parcels.centroids(surface) - connectome.centroids).max() < 1e-3
    left = np.char.startswith(np.array(connectome.labels), "LH_")
    sides = surface.hemispheres == "left"
    assert np.array_equal(left[regions[~parcels.outside]], sides[~parcels.outside])
    path = fs_lr._folder("matrices") / "holdout_group" / "schaefer_100_mean_connectivity_matrix.csv"
    rows = np.loadtxt(path, delimiter=",")
    ours = connectome.functional_connectivity.copy()
    for matrix in (rows, ours):
        np.fill_diagonal(matrix, 0)
    alike = np.corrcoef(rows, ours)[:100, 100:]
    assert np.array_equal(alike.argmax(axis=1), np.arange(100))


@needs_brainspace
def test_conte69_without_the_medial_wall_and_its_other_parcellations():
    sphere = conte69("sphere")
    assert sphere.radius == pytest.approx(100, rel=1e-6)
    parcels = conte69_parcels("schaefer1000")
    assert parcels.n_parcels == 999
    assert "no label is 533" in parcels.notes[1]
    cut = sphere.without(parcels.outside)
    parcels.take(sphere.kept(parcels.outside)).check(cut)
    with pytest.raises(ValueError, match=r"did you mean 'schaefer100'"):
        conte69_parcels("schaefer10")


def test_without_brainspace_one_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'ngnmm-jax\[surface\]'"):
        conte69()
