"""`ngnmm simulate --surface` and `ngnmm dispersion --surface`: what they refuse, say and write."""

import re
import tomllib

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import ngnmm_jax as ng
from ngnmm_jax.cli import cortex, estimates
from ngnmm_jax.cli.entry import app
from ngnmm_jax.cli.settings.commands import SimulateSettings
from ngnmm_jax.surfaces import Surface

nibabel = pytest.importorskip("nibabel", reason="nibabel is absent")


pytestmark = pytest.mark.usefixtures("drawing")


def invoke(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    plt.close("all")
    return result.output


def write(surface, path):
    kinds = (
        (surface.vertices.astype("f4"), "NIFTI_INTENT_POINTSET", "NIFTI_TYPE_FLOAT32"),
        (surface.faces.astype("i4"), "NIFTI_INTENT_TRIANGLE", "NIFTI_TYPE_INT32"),
    )
    arrays = [nibabel.gifti.GiftiDataArray(a, intent=i, datatype=t) for a, i, t in kinds]
    nibabel.save(nibabel.gifti.GiftiImage(darrays=arrays), path)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two balls of 42 vertices, of six regions each, two vertices of each in none."""
    folder = tmp_path_factory.mktemp("surface")
    ball = Surface.sphere(1, radius=30.0)
    pole = ball.vertices[:, 2].argsort()
    for side, aside, first in (("lh", -35.0, 1), ("rh", 35.0, 7)):
        moved = Surface(ball.vertices + np.array([aside, 0, 0]), ball.faces)
        write(moved, folder / f"{side}.ball.gii")
        parcels = first + np.arange(42) % 6
        parcels[pole[:2]] = 0
        np.savetxt(folder / f"{side}.csv", parcels, fmt="%d")
    connectome = ng.Connectome.synthetic(12, seed=3)
    connectome.save(folder / "twelve.npz")
    return folder


@pytest.fixture(scope="module")
def options(files):
    return [
        "--surface", files / "lh.ball.gii", "--surface", files / "rh.ball.gii",
        "--parcels", files / "lh.csv", "--parcels", files / "rh.csv",
        "--connectome", files / "twelve.npz", "--match", "order",
        "--width", 20, "--set", "i_ext_e=13", "--coupling", 4,
    ]  # fmt: skip


def test_simulate(files, options, tmp_path):
    """As the library has it; said beforehand; vertices in no region have no node; repeatable."""
    times = ["--duration", 10, "--seed", 3, "--tracts", 0.3, "--callosal", 0.1, "--animate"]
    output = " ".join(invoke("simulate", *options, *times, "--out", tmp_path / "one").split())
    assert re.search(r"10 ms of 80 vertices with some \S+ local connections", output)
    assert "100 steps of 0.1 ms" in output
    assert "roughly" in output
    for name in ("activity.png", "activity.gif"):
        assert (tmp_path / "one" / name).stat().st_size > 10_000
    found = xr.load_dataset(tmp_path / "one" / "activity.nc", engine="h5netcdf")
    whole = Surface.load(files / "lh.ball.gii", files / "rh.ball.gii")
    parcels = ng.surfaces.Parcellation.load(files / "lh.csv", files / "rh.csv")
    kept = whole.kept(parcels.outside)
    np.testing.assert_array_equal(found.vertex, kept)
    np.testing.assert_allclose(found.x, whole.vertices[kept, 0])
    connectome = ng.Connectome.load(files / "twelve.npz")
    parcels = parcels.renamed(connectome.labels)
    graph = ng.surfaces.cortical_graph(
        whole.take(kept), connectome, parcels.take(kept),
        ng.surfaces.Gaussian(20.0), tracts=0.3, callosal=0.1,
    )  # fmt: skip
    network = ng.Network(ng.NextGenEI(i_ext_e=13.0), graph, 4.0)
    known = ng.simulate(network, 10.0, dt=0.1, integrator="moebius", seed=3, variables="v_e")
    np.testing.assert_allclose(found.v_e.values, known.v_e, rtol=1e-9)
    late = np.asarray(known.v_e)[1:]
    np.testing.assert_allclose(found.v_e_sd, late.std(axis=0), rtol=1e-9)
    peaks = ng.signals.power_spectrum(late, 1e-3, segment=0.01).peak_frequency
    np.testing.assert_allclose(found.v_e_peak_frequency, peaks)
    settings = tomllib.loads((tmp_path / "one" / "settings.toml").read_text())
    assert settings["surface"] == [str(files / "lh.ball.gii"), str(files / "rh.ball.gii")]
    again = ["--config", tmp_path / "one" / "settings.toml", "--no-animate"]
    invoke("simulate", *again, "--out", tmp_path / "two")
    second = xr.load_dataset(tmp_path / "two" / "activity.nc", engine="h5netcdf")
    np.testing.assert_array_equal(found.v_e.values, second.v_e.values)
    assert not (tmp_path / "two" / "activity.gif").exists()


def test_values_of_regions_are_those_of_their_vertices(files):
    values = np.linspace(2, 13, 12)
    settings = SimulateSettings.of(
        {
            "surface": [str(files / f"{side}.ball.gii") for side in ("lh", "rh")],
            "parcels": [str(files / f"{side}.csv") for side in ("lh", "rh")],
            "connectome": str(files / "twelve.npz"),
            "match": "order",
            "set": {"i_ext_e": values.tolist()},
        },
        "test",
    )
    settings.check_surface()
    regions = np.concatenate([np.loadtxt(files / f"{side}.csv") for side in ("lh", "rh")])
    expected = values[regions[regions > 0].astype(int) - 1]
    np.testing.assert_array_equal(settings.node().i_ext_e, expected)
    assert settings.where() == "lh.ball.gii (gaussian, 3 mm, tracts 0.5)"


def test_dispersion(options, tmp_path):
    """The fastest mode is that of the whole graph, in the table and on the cortex."""
    output = invoke("dispersion", *options, "--normalisation", "undirected", "--out", tmp_path)
    assert "modes of 80 vertices" in " ".join(output.split())
    assert "growing modes" in output
    assert (tmp_path / "mode_0.png").stat().st_size > 10_000
    assert (tmp_path / "dispersion.csv").read_text().count("\n") == 81


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--width", "5"], "`--width` must go with `--surface`"),
        (["--normalisation", "undirected"], "`--normalisation` must go with `--surface`"),
        (
            ["--surface", "{lh}", "--surface", "{rh}", "--parcels", "{l}", "--parcels", "{r}"],
            "parcels.renamed",
        ),
        (["--surface", "missing.gii"], "there is no file 'missing.gii'"),
        (["--surface", "{lh}", "--tracts", "0.5"], "give `--parcels` as well"),
        (["--surface", "{lh}", "--speed", "5"], "`--speed` must be left out on a surface"),
        (["--surface", "{lh}", "--rtol", "1e-9"], "on a surface they are fixed"),
        (["--surface", "{lh}", "--set", "i_ext_e=1,2"], "must be one number, or 12"),
        (["--surface", "{lh}", "--kernel", "box"], "`--kernel` must be one of"),
        (["--surface", "{lh}", "--callosal", "0.5"], "a left and a right hemisphere"),
        (["--surface", "{lh}", "--width", "1"], "`--width` must reach the neighbours"),
    ],
)
def test_what_cannot_be_is_refused(files, words, said, tmp_path):
    places = {"lh": "lh.ball.gii", "rh": "rh.ball.gii", "l": "lh.csv", "r": "rh.csv"}
    given = [word.format(**{k: files / v for k, v in places.items()}) for word in words]
    with pytest.raises(ValueError, match=re.escape(said)):
        invoke("simulate", "--connectome", files / "twelve.npz", *given, "--out", tmp_path)


def test_too_large_for_this_machine_is_refused(options, tmp_path, monkeypatch):
    """Before anything is made, with what to change."""
    for room in (cortex, estimates):
        monkeypatch.setattr(room, "memory", lambda: 1e4)
    with pytest.raises(
        ValueError, match="Give a smaller `--width`, or a surface of fewer vertices"
    ):
        invoke("simulate", *options, "--out", tmp_path)
    monkeypatch.setattr(cortex, "memory", lambda: 1e6)
    monkeypatch.setattr(estimates, "memory", lambda: 1e6)
    with pytest.raises(ValueError, match="a longer `--save-every`"):
        invoke("simulate", *options, "--out", tmp_path)
    assert not list(tmp_path.glob("*.nc"))
