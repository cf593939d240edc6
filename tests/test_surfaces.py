"""Meshes: spheres, files, cut parts, and what is refused with its place and a way out."""

import subprocess
import sys

import nibabel
import numpy as np
import pytest

from ngnmm_jax.surfaces import Surface, pieces, read_mesh

SPHERE = Surface.sphere(2)
V, F = SPHERE.vertices, SPHERE.faces
#: Two spheres beside one another.
APART = np.array([2.0, 0, 0])
TWO = np.concatenate([V - APART, V + APART])
BOTH = np.concatenate([F, F + len(V)])
SIDES = np.repeat(["left", "right"], len(V))


def with_row(array, row, values):
    changed = array.copy()
    changed[row] = values
    return changed


def test_the_sphere_has_eulers_numbers_and_in_the_limit_the_balls():
    errors = []
    for k in (2, 3, 4):
        ball = Surface.sphere(k, radius=3.0)
        assert ball.n_vertices == 10 * 4**k + 2 == 2 + len(ball.edges) - ball.n_faces
        assert ball.radius == pytest.approx(3.0, rel=1e-12)
        assert ball.vertex_areas.sum() == pytest.approx(ball.area, rel=1e-12)
        errors.append(1 - ball.area / (36 * np.pi))
        off = np.abs(ball.normals - ball.vertices / 3).max()
        assert off < 0.1 / 2**k
    assert np.diff(np.log2(errors)) == pytest.approx([-2, -2], abs=0.03)
    assert np.allclose(ball.vertices[:162] / 3, V, atol=1e-15)


BAD = {
    "nan": ((with_row(V, 7, np.nan), F), r"vertex 7 has NaN"),
    "none": ((V[:0], F), r"shape is \(0, 3\)"),
    "words": ((V.astype(str), F), r"`vertices` must be positions"),
    "turned": ((V.T, F), r"\(3, 162\) \(transpose it\)"),
    "from one": ((V, F + 1), r"numbered from one to 162: subtract one"),
    "range": ((V, with_row(F, 9, [0, 1, 500])), r"face 9 has others \(up to 500\)"),
    "fractions": ((V, with_row(F + 0.0, 4, 0.5)), r"face 4 has other numbers"),
    "quads": ((V, F[:, [0, 1, 2, 2]]), r"split quadrangles"),
    "degenerate": ((V, with_row(F, 5, [3, 3, 1])), r"face 5 has the same vertex twice"),
    "twice": ((V, np.r_[F, F[4:6, ::-1]]), r"faces 320, 321 have the vertices of an earlier one"),
    "no area": ((with_row(V, F[0, 1], V[F[0, 0]]), F), r"faces 0, 256 have none"),
    "alone": ((np.r_[V, [[9, 9, 9]]], F), r"vertex 162 has none\. Leave them out"),
    "fins": ((V, np.r_[F, [[0, 1, 50]]]), r"1 edge \(1-50\) with more \(the first with faces \["),
    "one turned": ((V, with_row(F, 5, F[5, ::-1])), r"neighbours of face 5 do not \(3 such edges"),
    "hole": ((V, F[1:]), r"3 edges .* around 1 hole\(s\) \(at vertex 0\): give `open=True`"),
    "soup": ((V[F].reshape(-1, 3), np.arange(F.size).reshape(-1, 3)), r"798 vertices lie where"),
    "inward": ((V, F[:, ::-1]), r"turned inward"),
    "two pieces": ((TWO, BOTH), r"2 pieces: one of 162 vertices \(with vertex 0\).*`hemispheres`"),
    "exchanged": ((TWO, BOTH, SIDES[::-1]), r"mean x of the left one's vertices is 2 mm"),
    "joined": ((TWO, BOTH, with_row(SIDES, 0, "right")), r"faces? .* have vertices of both"),
    "names": ((TWO, BOTH, np.repeat(["L", "R"], 162)), r"vertex 0 is 'L'"),
    "same": ((np.r_[V, V] + 1, BOTH, SIDES), r"the same vertices stand for both"),
    "one inward": ((TWO, np.r_[F, F[:, ::-1] + 162], SIDES), r"right hemisphere are turned inward"),
    "too few sides": ((TWO, BOTH, SIDES[1:]), r"\(324,\) for as many vertices"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_meshes_are_refused_with_what_and_where(case):
    arguments, words = BAD[case]
    with pytest.raises(ValueError, match=words):
        Surface(*arguments)


def test_two_sheets_that_meet_in_one_vertex():
    tetra = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])
    other = np.array([0, 4, 5, 6])[tetra][:, ::-1]
    with pytest.raises(ValueError, match=r"vertex 0 has two sheets"):
        Surface(np.r_[corners, -corners[1:]], np.r_[tetra, other])
    assert Surface(corners, tetra).area == pytest.approx(1.5 + np.sqrt(3) / 2)


def test_the_ways_out_work():
    """What the messages advise makes a surface of each."""
    used, faces = np.unique(F, return_inverse=True)
    mended = Surface(np.r_[V, [[9, 9, 9]]][used], faces)
    assert np.array_equal(mended.faces, F)
    part = pieces(BOTH, len(TWO))
    used, faces = np.unique(BOTH[part[BOTH[:, 0]] == part[200]], return_inverse=True)
    assert Surface(TWO[used], faces).n_vertices == 162
    assert Surface(V, F[1:], open=True).open
    turned = np.r_[F, F[:, ::-1] + 162]
    right = SIDES[turned[:, 0]] == "right"
    turned[right] = turned[right][:, ::-1]
    assert Surface(TWO, turned, SIDES).sides == ("left", "right")


def test_parts_are_cut_out_with_their_faces():
    cap = V[:, 2] > 0.5
    left = SPHERE.without(cap)
    assert left.open
    assert left.notes == ()
    assert np.array_equal(left.vertices, V[SPHERE.kept(cap)])
    assert np.array_equal(SPHERE.kept(cap), np.flatnonzero(~cap))
    assert not SPHERE.take(np.arange(162)).open
    one = Surface(TWO, BOTH, SIDES)
    assert not one.take(one.of("right")).open
    assert one.take(one.of("right")).sides == ("right",)
    with pytest.raises(ValueError, match="leave some faces"):
        SPHERE.take([0, 1])
    with pytest.raises(ValueError, match="lie between 0 and 161"):
        SPHERE.without([500])


def test_what_hangs_on_nothing_goes_with_what_is_cut_out():
    """An island, a vertex alone, and two sheets that would meet in one vertex."""
    ring = (V[:, 2] > 0.55) & (V[:, 2] < 0.8)
    left = SPHERE.without(ring)
    assert left.vertices[:, 2].max() < 0.56
    assert left.notes == (
        f"{int((V[:, 2] >= 0.8).sum())} vertices went with those cut out, to which alone they "
        "were joined",
    )
    neighbours = SPHERE.edges[(SPHERE.edges == 50).any(axis=1)]
    around = np.setdiff1d(neighbours, 50)
    assert np.array_equal(SPHERE.kept(around), np.setdiff1d(np.arange(162), neighbours))
    opposite = np.array(
        [around[0], around[np.linalg.norm(V[around] - V[around[0]], axis=1).argmax()]]
    )
    assert 50 in SPHERE.kept(opposite[:1])
    with pytest.raises(ValueError, match=r"1 do not: \[50\]"):
        SPHERE.take(np.setdiff1d(np.arange(162), around))
    pinched = SPHERE.kept(np.setdiff1d(around, opposite))
    Surface(*_renumbered(pinched), open=True)


def _renumbered(kept):
    new = np.full(len(V), -1)
    new[kept] = np.arange(len(kept))
    faces = new[F]
    return V[kept], faces[(faces >= 0).all(axis=1)]


def test_geometry_needs_no_jax():
    code = (
        "import sys; from ngnmm_jax.surfaces import Surface, harmonics; "
        "harmonics(Surface.sphere(1), 4); print('jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def gifti(path, vertices, faces, structure=None):
    meta = {} if structure is None else {"AnatomicalStructurePrimary": structure}
    arrays = [
        nibabel.gifti.GiftiDataArray(
            np.float32(vertices), "NIFTI_INTENT_POINTSET", meta=nibabel.gifti.GiftiMetaData(meta)
        ),
        nibabel.gifti.GiftiDataArray(np.int32(faces), "NIFTI_INTENT_TRIANGLE"),
    ]
    nibabel.save(nibabel.gifti.GiftiImage(darrays=arrays), path)
    return path


def test_files_of_gifti_and_freesurfer(tmp_path):
    """What nibabel wrote is read back, left first; sides come from the files, and are checked."""
    left = gifti(tmp_path / "a.gii", V - APART, F, "CortexLeft")
    right = gifti(tmp_path / "b.gii.gz", V + APART, F, "CortexRight")
    whole = Surface.load(left, right)
    assert np.array_equal(whole.vertices, np.float32(TWO))
    assert np.array_equal(whole.faces, BOTH)
    assert np.array_equal(whole.hemispheres, SIDES)
    with pytest.raises(ValueError, match=r"`left` must be the file of a left .*CortexRight"):
        Surface.load(right, left)
    with pytest.raises(ValueError, match="another file than `left`"):
        Surface.load(left, left)
    pial = tmp_path / "lh.pial"
    nibabel.freesurfer.write_geometry(pial, V, F)
    one = Surface.load(pial)
    assert one.sides == ("left",)
    assert "by the file's name" in one.notes[0]
    assert read_mesh(pial)[1].dtype == np.int64
    assert Surface.load(gifti(tmp_path / "c.gii", V, F)).hemispheres is None


def test_files_that_are_none(tmp_path):
    pial = tmp_path / "lh.pial"
    nibabel.freesurfer.write_geometry(pial, V, F)
    (tmp_path / "rh.pial").write_bytes(pial.read_bytes()[:500])
    (tmp_path / "x.gii").write_text("<GIFTI")
    (tmp_path / "x.obj").write_text("v 0 0 0")
    for name, words in (
        ("rh.pial", "could not be read"),
        ("x.gii", "could not be read"),
        ("x.obj", r"is neither\. Of another format"),
    ):
        with pytest.raises(ValueError, match=words):
            Surface.load(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="no surface file"):
        Surface.load(tmp_path / "nothing.gii")
