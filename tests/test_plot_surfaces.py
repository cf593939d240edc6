"""Figures of surfaces: what is seen where, its colours, and films."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

import ngnmm_jax as ng
from ngnmm_jax.plot import _views
from ngnmm_jax.plot._style import GREY
from ngnmm_jax.surfaces import Surface
from tests.test_readme import read


@pytest.fixture(scope="module", autouse=True)
def closing(drawing):
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def sphere():
    return Surface.sphere(3, radius=50.0)


@pytest.fixture(scope="module")
def brain():
    """Two small balls beside each other."""
    ball = Surface.sphere(2, radius=30.0)
    n = ball.n_vertices
    aside = np.array([35.0, 0.0, 0.0])
    return Surface(
        np.concatenate([ball.vertices - aside, ball.vertices + aside]),
        np.concatenate([ball.faces, ball.faces + n]),
        np.repeat(["left", "right"], n),
    )


@pytest.fixture(scope="module")
def run(brain):
    """A wave over the two balls, as a run that was saved each millisecond."""
    small = ng.Network(ng.MontbrioPazoRoxin(), ng.Connectome.synthetic(2, seed=0).normalised(), 1.0)
    made = ng.simulate(small, 4.0, dt=0.5)
    ts = jnp.arange(11.0)
    wave = jnp.cos(brain.vertices[:, 1] / 10 - ts[:, None])
    states = jnp.stack([0 * wave, wave], axis=1)
    labels = tuple(map(str, range(brain.n_vertices)))
    return dataclasses.replace(
        made, ts=ts, states=states, final_state=states[-1], shown="v", labels=labels
    )


@pytest.mark.parametrize(
    ("towards", "up"), [((-1, 0, 0), (0, 0, 1)), ((0, 0, 1), (0, 1, 0)), ((0, -1, 0), (0, 0, 1))]
)
def test_pixels_show_what_lies_there(sphere, towards, up):
    """Each pixel's place, from the vertices around it; in front; and as a sphere is lit."""
    view = _views.view_of(sphere.vertices, sphere.faces, sphere.normals, towards, up, 3.0)
    left, right, low, high = view.extent
    rows, columns = view.seen.shape
    x = left + (np.arange(columns) + 0.5) * (right - left) / columns
    y = high - (np.arange(rows) + 0.5) * (high - low) / rows
    x, y = (a[view.seen] for a in np.broadcast_arrays(x, y[:, None]))
    across, upward, depth = (
        view.values(sphere.vertices @ np.asarray(axis, float))
        for axis in (np.cross(up, towards), up, towards)
    )
    pixel = 1 / 3.0
    np.testing.assert_allclose(across, x, atol=0.1 * pixel)
    np.testing.assert_allclose(upward, y, atol=0.1 * pixel)
    inner = x**2 + y**2 < 0.9 * 50**2
    expected = np.sqrt(1 - (x[inner] ** 2 + y[inner] ** 2) / 50**2)
    assert depth[inner].min() > 0  # of the side in front
    distance = np.sqrt(depth**2 + x**2 + y**2)  # from the middle, of flat faces within a sphere
    assert 50 - 0.35 < distance.min() <= distance.max() < 50 + 0.1 * pixel
    # A point of a flat face lies 0.35 mm deeper at most, and where it is seen aslant, farther off.
    np.testing.assert_allclose(view.light[inner], expected, atol=0.35 / 50 / np.sqrt(0.1))
    # The disc is there, and nothing beside it: a polygon's area within the sphere's.
    assert view.seen.sum() * pixel**2 == pytest.approx(np.pi * 50**2, rel=0.01)


def test_what_hides_what():
    """Of two balls behind each other the nearer one is seen, with its own values."""
    ball = Surface.sphere(2)
    n = ball.n_vertices
    both = np.concatenate([ball.vertices, 0.5 * ball.vertices + [0, 0, 3.0]])
    faces = np.concatenate([ball.faces, ball.faces + n])
    normals = np.concatenate([ball.normals, ball.normals])
    behind = (np.arange(2 * n) >= n).astype(float)
    above = _views.view_of(both, faces, normals, (0, 0, 1), (0, 1, 0), 50.0)
    below = _views.view_of(both, faces, normals, (0, 0, -1), (0, 1, 0), 50.0)
    assert above.values(behind).mean() == pytest.approx(0.25, abs=0.01)  # of the areas
    assert below.values(behind).max() == 0.0


def test_surface(brain):
    """Five views of one scale, colours of the bar, grey where nothing is known."""
    values = np.where(brain.vertices[:, 2] > 12, 2.0, -1.0)
    values[brain.vertices[:, 2] < -12] = np.nan
    ax = ng.plot.surface(brain, values, label="mine")
    bar = ax.figure.axes[1]
    assert bar.get_ylabel() == "mine"
    assert bar.get_ylim() == (-2.0, 2.0)
    texts = {text.get_text(): text.get_position() for text in ax.texts}
    titles = ("left, lateral", "left, medial", "from above", "right, lateral", "right, medial")
    assert set(texts) == {*titles, "20 mm"}
    image = np.asarray(ax.images[0].get_array())
    left, right, low, high = ax.images[0].get_extent()
    assert (low, left) == (0, 0)
    rows, columns = image.shape[:2]
    colours = plt.get_cmap("RdBu_r")
    expected = [colours(1.0), colours(0.25), (*[float(GREY)] * 3, 1.0)]
    for title in (title for title in titles if title != "from above"):
        # Down the middle of the ball, 60 mm high: the brightest of each colour.
        x, y = texts[title]
        for depth, colour in zip((10.0, 30.0, 50.0), expected, strict=True):
            row, column = int(rows * (high - y + depth) / high), int(columns * x / right)
            near = image[row - 3 : row + 4, column - 40 : column + 40].reshape(-1, 4)
            assert (near[:, 3] == 255).all()
            brightest = near[near[:, :3].sum(axis=1).argmax()] / 255
            shown, meant = brightest[:3], np.array(colour[:3])
            np.testing.assert_allclose(shown / shown.max(), meant / meant.max(), atol=0.03)
    # Six discs, two of them in the view from above, and nothing else.
    ball = np.pi * 30.0**2 * rows * columns / (high * right)
    assert (image[..., 3] == 255).sum() == pytest.approx(6 * ball, rel=0.03)
    twice = plt.subplots(1, 2)[1]
    assert ng.plot.surface(brain, values, ax=twice[1]) is twice[1]


def test_surfaces_of_other_sides(brain, sphere):
    one = brain.take(brain.of("right"))
    ax = ng.plot.surface(one, one.vertices[:, 0], diverging=False, limits=(0.0, 1.0))
    assert [text.get_text() for text in ax.texts[:2]] == ["right, lateral", "right, medial"]
    assert ax.figure.axes[-1].get_ylim() == (0.0, 1.0)
    ax = ng.plot.surface(sphere, np.zeros(sphere.n_vertices))
    titles = [text.get_text() for text in ax.texts[:3]]
    assert titles == ["from above", "from the left", "from behind"]


@pytest.mark.parametrize(
    ("values", "options", "words"),
    [
        (np.zeros(3), {}, "`values` must have shape"),
        (np.zeros(324) * 1j, {}, "`values` must be real"),
        (np.full(324, np.nan), {}, "all are NaN"),
        (np.full(324, np.inf), {}, "324 are infinite"),
        (np.zeros(324), {"limits": (1.0, 0.0)}, "`limits` must be"),
    ],
)
def test_what_cannot_be_drawn_is_refused(brain, values, options, words):
    with pytest.raises(ValueError, match=words):
        ng.plot.surface(brain, values, **options)


def test_film(run, brain, tmp_path):
    """The last frame is the run's last state, in colours that all frames share; time is said."""
    movie = ng.plot.animate(run, brain, window=0.005, slower=40.0, frames_per_second=10)
    movie.save(tmp_path / "wave.gif", writer="pillow", dpi=40)
    with Image.open(tmp_path / "wave.gif") as picture:
        assert picture.n_frames == 2
    figure = movie._fig
    assert figure.get_suptitle() == "10.0 ms"
    ax, bar = figure.axes
    assert bar.get_ylabel() == ng.plot.symbol("v", ng.MontbrioPazoRoxin)
    # In "from above", through the middle of the right ball, along y.
    (x, top), (_, right, _, high) = ax.texts[2].get_position(), ax.images[0].get_extent()
    image = np.asarray(ax.images[0].get_array()).astype(float)
    column = image[:, int(image.shape[1] * (x + 35.0) / right), :3].sum(axis=1)
    y = np.linspace(25.0, -25.0, 101)  # mm, of a ball whose upper end is at y = 30
    rows = (image.shape[0] * (high - (top - 30.0 + y)) / high).astype(int)
    assert np.corrcoef(column[rows], np.cos(y / 10 - 10))[0, 1] > 0.9
    with pytest.raises(ValueError, match="one run of the surface's 42 vertices"):
        ng.plot.animate(run, Surface.sphere(1))
    with pytest.raises(ValueError, match="`where` must be"):
        ng.plot.animate(run, "conte69")


def test_without_pyvista_it_says_what_to_install(brain, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvista", None)
    with pytest.raises(ImportError, match=r"pip install 'ngnmm-jax\[surface\]'"):
        ng.plot.surface(brain, np.zeros(brain.n_vertices))


@pytest.mark.skipif(sys.platform != "linux", reason="EGL's files are named as on Linux")
def test_without_opengl_it_says_what_to_install():
    """VTK would end the process."""
    if any(map(_views._opens, _views._SOFTWARE)):
        pytest.skip("OSMesa draws here, whatever else is absent")
    code = "import pyvista; from ngnmm_jax.plot import _views; _views.require_drawing()"
    nothing = {"DISPLAY": "", "__EGL_VENDOR_LIBRARY_FILENAMES": "/nowhere"}
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **nothing},
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "apt install libegl1" in done.stderr


def subject(folder):
    """What FreeSurfer leaves in a subject's folder: two balls, two parcels and a wall on each."""
    io = pytest.importorskip("nibabel").freesurfer.io
    ball = Surface.sphere(2, radius=30.0)
    for name in ("surf", "label"):
        (folder / "bert" / name).mkdir(parents=True)
    height = ball.vertices[:, 2]
    keys = np.where(height < -25, 0, np.where(height < 0, 1, 2))
    colours = np.array([[25, 5, 25, 0], [100, 25, 0, 0], [125, 100, 160, 0]])
    for side, aside in (("lh", -35.0), ("rh", 35.0)):
        io.write_geometry(folder / "bert" / "surf" / f"{side}.pial",
                          ball.vertices + np.array([aside, 0, 0]), ball.faces)  # fmt: skip
        io.write_annot(folder / "bert" / "label" / f"{side}.aparc.annot", keys, colours,
                       ["unknown", "low", "high"], fill_ctab=True)  # fmt: skip


@pytest.mark.slow
def test_page(tmp_path):
    """The page on surfaces runs as written, with the real cortex."""
    pytest.importorskip("brainspace", reason="the files of brainspace are absent")
    subject(tmp_path)
    path = Path(__file__).resolve().parents[1] / "docs" / "surfaces.md"
    page = read(path, tmp_path, 5)
    assert page["network"].n_regions == 59234
    assert np.isfinite(page["run"].v_e).all()
    assert (tmp_path / "cortex.png").stat().st_size > 50_000
    np.testing.assert_allclose(page["heat"].leading(9).values[[0, 1, 4]], page["known"][:3],
                               rtol=2e-3)  # fmt: skip
    assert page["graph"].n_regions == page["cortex"].n_vertices < 324
