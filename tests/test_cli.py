"""The command line: what it prints and writes, and how it repeats a run."""

import csv
import errno
import inspect
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tomli_w
import xarray as xr
from typer.testing import CliRunner

import ngnmm_jax as ng
from ngnmm_jax._core import progress
from ngnmm_jax._core.store import Store
from ngnmm_jax.cli import _unraisable, main, output
from ngnmm_jax.cli.entry import app
from ngnmm_jax.cli.fit_file import FitFile
from ngnmm_jax.cli.folder import folder
from ngnmm_jax.cli.reports import statuses
from ngnmm_jax.cli.reports.chaos import lyapunov_facts
from ngnmm_jax.cli.settings.commands import DispersionSettings, MapSettings, SimulateSettings
from ngnmm_jax.cli.settings.fit import CheckTable, FitRunTable
from ngnmm_jax.cli.settings.sweep import SweepRunTable, SweepSettings
from ngnmm_jax.cli.sweep_file import SweepFile, bytes_of, seconds_of

RUNNER = CliRunner()
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def invoke(*arguments):
    result = RUNNER.invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def small_file(tmp_path_factory, small):
    path = tmp_path_factory.mktemp("connectome") / "small.npz"
    small.save(path)
    return path


def test_help():
    commands = (
        "demo",
        "simulate",
        "dispersion",
        "connectome",
        "lyapunov",
        "spectrum",
        "bifurcate",
        "sweep",
        "show",
        "fit",
        "reproduce",
    )
    for command in ([], *([name] for name in commands)):
        assert "Usage" in invoke(*command, "--help")
    assert "--set" in invoke("simulate", "--help")
    # Not swallowed as markup:
    assert "Default: 1e-6" in " ".join(invoke("simulate", "--help").replace("│", "").split())
    assert "[design], [measure]" in " ".join(invoke("sweep", "--help").replace("│", "").split())
    assert "[run], [check]" in " ".join(invoke("fit", "--help").replace("│", "").split())


def test_titles_have_units():
    from ngnmm_jax.cli.output import title_of
    from ngnmm_jax.cli.settings.commands import DispersionSettings

    one = {"model": "stuart-landau", "coupling": 1.0, "set": {"a": 2.0}, "delay": 0.01}
    title = title_of(DispersionSettings.of(one, "test"), connectome=False)
    assert title == "stuart-landau: a = 2 1/s, coupling = 1, delay = 0.01 s"


def test_simulate_and_repeat(small_file, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    options = ["--set", "i_ext_e=13", "--coupling", "4", "--duration", "100", "--seed", "7"]
    output = invoke("simulate", "--connectome", small_file, *options, "--out", one)
    assert "settings.toml" in output
    assert (one / "activity.png").stat().st_size > 10_000
    settings = tomllib.loads((one / "settings.toml").read_text())
    assert settings["set"] == {"i_ext_e": 13.0}
    assert settings["provenance"] == {
        "command": "simulate",
        "ngnmm_jax": ng.__version__,
        "files": ["activity.nc", "activity.png"],
        "connectome": str(small_file.resolve()),
        "connectome_sha256": ng.Connectome.load(small_file).digest,
    }
    invoke("simulate", "--config", one / "settings.toml", "--out", two)
    first, second = (xr.load_dataset(p / "activity.nc", engine="h5netcdf") for p in (one, two))
    xr.testing.assert_identical(first, second)
    assert first.v_e.shape == (101, 12)
    assert tomllib.loads(first.attrs["settings"]) == settings
    # Options win over the file.
    invoke("simulate", "--config", one / "settings.toml", "--out", two, "--set", "i_ext_e=2")
    settings = tomllib.loads((two / "settings.toml").read_text())
    assert (settings["set"], settings["seed"]) == ({"i_ext_e": 2.0}, 7)


def test_simulate_jansen_rit_with_values_per_region(small_file, tmp_path):
    values = ",".join(str(v) for v in np.linspace(100, 200, 12))
    options = ["--model", "jansen-rit", "--set", f"p={values}", "--duration", "0.2", "--dt", "5e-4"]
    invoke("simulate", "--connectome", small_file, *options, "--out", tmp_path)
    dataset = xr.load_dataset(tmp_path / "activity.nc", engine="h5netcdf")
    assert dataset["y1 - y2"].shape == (201, 12)
    assert dataset.time.attrs["units"] == "s"


def test_delays(small_file, small, tmp_path):
    """As the library has them; what does not go together is refused."""
    common = ["simulate", "--connectome", small_file, "--duration", "40", "--set", "i_ext_e=13"]
    invoke(*common, "--delay", "5", "--dt", "0.1", "--out", tmp_path / "one")
    found = xr.load_dataset(tmp_path / "one" / "activity.nc", engine="h5netcdf")
    delayed = ng.Network(ng.NextGenEI(i_ext_e=13.0), small, 5.0, delays=5.0)
    known = ng.simulate(delayed, 40.0, dt=0.1, save_every=1.0)
    np.testing.assert_allclose(found.v_e.values, known.v_e, rtol=1e-9)
    settings = tomllib.loads((tmp_path / "one" / "settings.toml").read_text())
    assert (settings["delay"], "speed" in settings) == (5.0, False)
    for words, said in (
        (["--speed", "10", "--delay", "5"], "`--speed` must not be given with `--delay`"),
        (["--delay", "5", "--rtol", "1e-9"], "`--rtol` must go with adaptive steps"),
    ):
        with pytest.raises(ValueError, match=re.escape(said)):
            invoke(*common, *words, "--out", tmp_path / "two")
    ng.Connectome(small.weights).save(tmp_path / "bare.npz")
    said = re.escape("connectome that has tract lengths (--reading lengths=FILE)")
    with pytest.raises(ValueError, match=said):
        invoke("simulate", "--connectome", tmp_path / "bare.npz", "--speed", "10")


@pytest.fixture(scope="module")
def tracts(tmp_path_factory):
    """Six regions with lengths of tracts, and their file."""
    connectome = ng.Connectome.synthetic(6, seed=3).normalised()
    path = tmp_path_factory.mktemp("tracts") / "tracts.npz"
    connectome.save(path)
    return connectome, path


def test_dispersion_with_delays(tracts, tmp_path):
    """Roots where delays differ, modes where they do not, as the library has them."""
    connectome, path = tracts
    point = ["dispersion", "--connectome", path, "--set", "i_ext_e=15", "--coupling", "9"]
    output = invoke(*point, "--speed", "10", "--out", tmp_path / "roots")
    network = ng.Network(ng.NextGenEI(i_ext_e=15.0), connectome, 9.0, speed=10.0)
    state = ng.find_equilibria(network.undelayed().homogeneous()).states[0]
    known = ng.dispersion(network, state)
    assert re.search(rf"growing roots .* {int(known.number_growing)} ", output)
    assert re.search("certified to be all .* yes", output)
    with (tmp_path / "roots" / "dispersion.csv").open() as file:
        rows = list(csv.DictReader(file))
    growth = [float(row["growth_per_ms"]) for row in rows]
    np.testing.assert_allclose(growth, known.growth, rtol=1e-9)
    modes = [int(row["nearest_mode"]) for row in rows]
    np.testing.assert_array_equal(modes, known.overlaps.argmax(axis=1))
    for name in ("dispersion.png", "pattern_0.png"):
        assert (tmp_path / "roots" / name).stat().st_size > 10_000

    with pytest.raises(ValueError, match="`--lambda-low` must be left out where delays differ"):
        invoke(*point, "--speed", "10", "--lambda-low", "-2", "--out", tmp_path / "none")
    output = invoke(*point, "--delay", "12", "--out", tmp_path / "modes")
    network = ng.Network(ng.NextGenEI(i_ext_e=15.0), connectome, 9.0, delays=12.0)
    known = ng.dispersion(network, state)
    assert f"{int(known.number_growing)} of 5" in output
    words = ["--config", tmp_path / "roots" / "settings.toml", "--delay", "12"]
    invoke("dispersion", *words, "--out", tmp_path / "again")  # in place of the speed
    written = [(tmp_path / name / "dispersion.csv").read_text() for name in ("modes", "again")]
    assert written[0] == written[1]
    uniform = float(known.growth[known.uniform])
    assert re.search(rf"uniform growth .* {uniform:.5g} ", output)
    assert re.search(rf"stable .* {'yes' if uniform < 0 else 'no'} ", output)


def test_maps_with_delays(tracts, tmp_path):
    """Over speed and a parameter, with one delay; gone on with; as the library does."""
    connectome, path = tracts
    common = ["map", "--connectome", path]
    grid = [*common, "--vary", "speed=5:20:2", "--vary", "i_ext_e=0:12:2", "--coupling", "9"]
    output = invoke(*grid, "--out", tmp_path / "speeds")
    assert re.search(r"all equilibria are unstable .* 50.0%", output)
    found = xr.load_dataset(tmp_path / "speeds" / "map.nc", engine="h5netcdf")
    network = ng.Network(ng.NextGenEI(), connectome, 9.0, speed=20.0)
    known = ng.dispersion_map(network, {"speed": [5.0], "i_ext_e": [0.0, 12.0]})
    assert isinstance(known, ng.RootsMap)
    assert found.growth.dims == ("speed", "i_ext_e", "state")
    assert found.growth.shape[:2] == (2, 2)
    assert found.certified[..., 0].all()
    np.testing.assert_allclose(found.growth[:1], known.growth, rtol=1e-9)
    for name in ("map.png", "details.png", "cut.png"):
        assert (tmp_path / "speeds" / name).stat().st_size > 10_000
    block = tmp_path / "speeds" / "blocks" / "block-00000.npz"
    written = block.stat().st_mtime_ns
    invoke("map", "--config", tmp_path / "speeds" / "settings.toml", "--out", tmp_path / "speeds")
    assert block.stat().st_mtime_ns == written
    # Of the values between, the first is stable and has its curve.
    plane = ["--vary", "i_ext_e=4:12:2", "--vary", "coupling=2:2:1"]
    invoke(*common, "--delay", "10", *plane, "--out", tmp_path / "modes")
    modes = xr.load_dataset(tmp_path / "modes" / "map.nc", engine="h5netcdf")
    assert "growth_transverse" in modes


def test_what_delays_do_not_go_with(tracts, tmp_path):
    """Said in one line, before anything is computed."""
    where = ["--connectome", tracts[1], "--out", tmp_path / "out"]
    for words, said in (
        (["lyapunov", "--speed", "10"], "`--network` must be given with a speed"),
        (["lyapunov", "--speed", "10", "--network"], "`--exponents` must be given with delays"),
        (["lyapunov", "--network", "--vary", "speed=2:9:3"], "`--exponents` must be given with"),
        (
            ["lyapunov", "--delay", "2", "--network", "--exponents", "1", "--variable", "s_e"],
            "`--variable` must be left out with delays without --vary",
        ),
        (["bifurcate", "--vary", "speed=2:9"], "`--speed` must be left out: diagrams are of"),
        (
            ["simulate", "--delay", "0.01", "--dt", "0.1"],
            "`--dt` must be at most the shortest delay",
        ),
        (["spectrum", "--vary", "delay=0.01:9:3", "--dt", "0.1"], "`--dt` must be at most the"),
        (["map", "--vary", "speed=1:9:3", "--vary", "delay=1:9:3"], "not be given with `--delay`"),
    ):
        with pytest.raises(ValueError, match=re.escape(said)):
            invoke(*words, *where)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_lyapunov_with_delays(tracts, tmp_path):
    """Of a state at rest: its rightmost characteristic roots."""
    words = ["--connectome", tracts[1], "--network", "--speed", "10", "--exponents", "2"]
    words += ["--set", "i_ext_e=2", "--duration", "2000", "--transient", "500"]
    output = invoke("lyapunov", *words, "--out", tmp_path)
    assert re.search(r"positive .* 0 ", output)
    network = ng.Network(ng.NextGenEI(i_ext_e=2.0), tracts[0], 5.0, speed=10.0)
    state = ng.find_equilibria(network.undelayed().homogeneous()).states[0]
    with (tmp_path / "lyapunov.csv").open() as file:
        first = next(csv.DictReader(file))
    growth = float(ng.dispersion(network, state).growth[0])
    error = float(first["standard_error"])
    assert float(first["value_per_ms"]) == pytest.approx(growth, abs=4 * error)


@pytest.mark.slow
def test_lyapunov_over_delays(tracts, tmp_path):
    """As `lyapunov_map` of the network has it."""
    times = {"duration": 10.0, "transient": 5.0, "dt": 0.1}
    words = [w for k, v in times.items() for w in (f"--{k}", str(v))]
    words += ["--connectome", tracts[1], "--network", "--exponents", "1", "--set", "i_ext_e=2"]
    invoke("lyapunov", *words, "--vary", "delay=2:4:2", "--out", tmp_path)
    network = ng.Network(ng.NextGenEI(i_ext_e=2.0), tracts[0], 5.0, delays=4.0)
    known = ng.lyapunov_map(network, {"delay": [2.0, 4.0]}, 1, **times)
    with xr.open_dataset(tmp_path / "lyapunov.nc", engine="h5netcdf") as data:
        np.testing.assert_allclose(data.exponents, known.spectra.exponents, rtol=1e-9)


def test_speeds_that_vary(tmp_path):
    settings = MapSettings(vary={"speed": [5.0, 20.0, 3], "coupling": [1.0, 3.0, 2]})
    assert settings.build().delays.speed == 20.0
    with pytest.raises(ValueError, match=r"`vary.speed` must be positive"):
        MapSettings(vary={"speed": [0.0, 20.0, 3]}).build()
    (tmp_path / "s.toml").write_text("[vary]\nspeed = { values = [5, 8] }\n")
    task = SweepFile.read(tmp_path / "s.toml")
    assert task.design.count == 2
    assert task.network.delays is not None
    counted = "[measure]\nkind = 'exponents'\ncount = 1\n"
    for more in ("[measure]\nkind = 'stability'\n", counted):
        (tmp_path / "t.toml").write_text("delay = 5.0\n[vary]\ncoupling = [1, 2, 2]\n" + more)
        task = SweepFile.read(tmp_path / "t.toml")
        assert seconds_of(task) > 0
        assert bytes_of(task) > 0
    (tmp_path / "t.toml").write_text((tmp_path / "t.toml").read_text().replace("count = 1", ""))
    with pytest.raises(ValueError, match="`count` must be given with delays"):
        SweepFile.read(tmp_path / "t.toml")
    text = "homogeneous = true\ndelay = 5.0\n[vary]\ncoupling = [1, 2, 2]\n"
    (tmp_path / "t.toml").write_text(text)
    assert SweepFile.read(tmp_path / "t.toml").network.delays is not None
    (tmp_path / "t.toml").write_text(text + "[measure]\nkind = 'stability'\n")
    with pytest.raises(ValueError, match=r"`homogeneous` must be left out with the measure"):
        SweepFile.read(tmp_path / "t.toml")
    (tmp_path / "t.toml").write_text(text.replace("delay = 5.0", "speed = 10.0"))
    with pytest.raises(ValueError, match="delays"):
        SweepFile.read(tmp_path / "t.toml")


def test_fits_of_speeds(tracts, tmp_path):
    """Their stability is not followed; steps are up to the shortest delay within the bounds."""
    fc = tmp_path / "fc.csv"
    np.savetxt(fc, np.eye(6), delimiter=",")
    values = {
        "connectome": str(tracts[1]),
        "speed": 10.0,
        "vary": {"speed": {"interval": [5.0, 1e4]}},
        "target": {"fc": str(fc)},
    }

    def read(**loss):
        (tmp_path / "fit.toml").write_text(tomli_w.dumps({**values, "loss": loss}))
        return FitFile.read(tmp_path / "fit.toml")

    task = read()
    assert task.objective.weights == {"fc_correlation": 1.0}
    assert task.free.names == ("speed",)
    task = read(prediction="simulated", duration=10.0)
    fastest = task.network.with_parameters(speed=1e4)
    assert task.objective.options["dt"] <= fastest.shortest_delay() < fastest.time_step
    with pytest.raises(ValueError, match=r"`loss.margin` must be left out with delays"):
        read(fc_correlation=1.0, margin=1.0)
    with pytest.raises(ValueError, match="`dt` must be at most the shortest delay"):
        read(prediction="simulated", duration=10.0, dt=0.1)


def test_lyapunov(small_file, tmp_path):
    """A line of the homogeneous system with its cascade; resumed."""
    options = ["--connectome", small_file, "--coupling", "12", "--duration", "500"]
    options += ["--transient", "500", "--vary", "i_ext_e=9:12:4", "--out", tmp_path / "line"]
    output = invoke("lyapunov", *options)
    assert "largest Kaplan-Yorke dimension" in output
    found = xr.load_dataset(tmp_path / "line" / "lyapunov.nc", engine="h5netcdf")
    assert found.exponents.shape == (4, 6)
    assert found.exponents.attrs["units"] == "1/ms"
    diagram = xr.load_dataset(tmp_path / "line" / "orbit_diagram.nc", engine="h5netcdf")
    assert diagram.number.min() > 10
    assert (tmp_path / "line" / "lyapunov.png").stat().st_size > 10_000
    written = (tmp_path / "line" / "blocks" / "block-00000.npz").stat().st_mtime_ns
    invoke("lyapunov", *options)
    assert (tmp_path / "line" / "blocks" / "block-00000.npz").stat().st_mtime_ns == written
    # The same again from the settings that were written.
    invoke("lyapunov", "--config", tmp_path / "line" / "settings.toml", "--out", tmp_path / "again")
    again = xr.load_dataset(tmp_path / "again" / "lyapunov.nc", engine="h5netcdf")
    xr.testing.assert_identical(found, again)


@pytest.mark.slow
def test_lyapunov_of_a_network(small_file, tmp_path):
    axes = ["--vary", "i_ext_e=9:12:2", "--vary", "coupling=5:9:2", "--exponents", "3"]
    times = ["--duration", "100", "--transient", "100", "--out", tmp_path / "plane"]
    invoke("lyapunov", "--network", "--connectome", small_file, *axes, *times)
    found = xr.load_dataset(tmp_path / "plane" / "lyapunov.nc", engine="h5netcdf")
    assert found.exponents.dims == ("i_ext_e", "coupling", "exponent")
    assert found.exponents.shape == (2, 2, 3)


def test_spectrum(small_file, small, tmp_path):
    """One point with its rhythm, against the library; a grid of points; rest; bad settings."""
    common = ["spectrum", "--connectome", small_file, "--transient", "500", "--duration", "1000"]
    point = ["--set", "i_ext_e=15", "--coupling", "9"]
    output = invoke(*common, *point, "--out", tmp_path / "one")
    assert "peak of regions (Hz)" in output
    for name in ("rasters.png", "spectra.png", "rhythm.png"):
        assert (tmp_path / "one" / name).stat().st_size > 10_000
    run = xr.load_dataset(tmp_path / "one" / "activity.nc", engine="h5netcdf")
    assert float(run.time[0]) == 500.0
    each = ng.signals.power_spectrum(run.v_e.values, 1e-3, segment=1.0)
    with (tmp_path / "one" / "spectra.csv").open() as file:
        rows = list(csv.DictReader(file))
    power = [float(row["power_of_regions"]) for row in rows]
    np.testing.assert_allclose(power, each.power.mean(axis=1), rtol=1e-10)
    peak = float(rows[int(np.argmax(power[1:])) + 1]["frequency_hz"])
    network = ng.Network(ng.NextGenEI(i_ext_e=15.0), small, 9.0)
    modes = ng.dispersion(network, ng.find_equilibria(network.homogeneous()).states[0])
    assert peak == pytest.approx(float(modes.frequency[modes.fastest]), rel=0.05)
    grid = ["--vary", "i_ext_e=0:13:2", "--vary", "coupling=5:9:2"]
    output = invoke(*common, *grid, "--out", tmp_path / "grid")
    assert "at rest" in output
    assert not (tmp_path / "grid" / "rhythm.png").exists()
    with pytest.raises(ValueError, match="`--vary` must give at most 25 points"):
        invoke(*common, "--vary", "i_ext_e=0:13:26", "--out", tmp_path / "grid")


def test_bifurcate(tmp_path):
    one = tmp_path / "one"
    output = invoke("bifurcate", "--vary", "i_ext_e=3:5", "--coupling", "9", "--out", one)
    assert "Hopf" in output
    with (one / "special.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["kind"] == "hopf"
    assert float(row["i_ext_e"]) == pytest.approx(3.6892417, rel=1e-6)
    kinds = {xr.open_dataset(path).attrs["kind"] for path in (one / "branches").iterdir()}
    assert kinds == {"equilibrium", "cycle"}
    assert (one / "bifurcations.png").stat().st_size > 10_000


@pytest.mark.slow
def test_bifurcate_in_the_plane(tmp_path):
    plane = ("--vary", "i_ext_e=3:5", "--vary", "coupling=0:30", "--cut", "26")
    invoke("bifurcate", *plane, "--longest-period", "1", "--out", tmp_path)
    settings = tomllib.loads((tmp_path / "settings.toml").read_text())
    assert settings["vary"] == {"i_ext_e": [3.0, 5.0], "coupling": [0.0, 30.0]}
    with (tmp_path / "special.csv").open() as file:
        kinds = [row["kind"] for row in csv.DictReader(file)]
    assert kinds == ["cusp"]


def test_dispersion(small_file, small, tmp_path):
    options = ["--set", "i_ext_e=15", "--coupling", "9", "--out", tmp_path]
    output = invoke("dispersion", "--connectome", small_file, *options)
    network = ng.Network(ng.NextGenEI(i_ext_e=15.0), small, 9.0)
    curve = ng.dispersion(network, ng.find_equilibria(network.homogeneous()).states[0])
    assert f"{int(curve.number_growing)} of 11" in output
    with (tmp_path / "dispersion.csv").open() as file:
        rows = list(csv.DictReader(file))
    growth = [float(row["growth_per_ms"]) for row in rows]
    np.testing.assert_allclose(growth, curve.growth, rtol=1e-12)
    for name in ("dispersion.png", "mode_0.png", "settings.toml"):
        assert (tmp_path / name).is_file()


def test_connectome(small_file, tmp_path):
    output = invoke("connectome", small_file, "--out", tmp_path)
    assert "12: L1, L2, L3" in output
    assert "second eigenvalue" in output
    again = ng.Connectome.load(tmp_path / "connectome.npz")
    assert again.n_regions == 12
    assert (tmp_path / "connectome.png").is_file()
    assert "0.908858" in invoke("connectome")


def test_connectome_with_a_silent_region(tmp_path):
    path = tmp_path / "silent.csv"
    path.write_text("0,1\n0,0\n")
    assert "receive nothing" in invoke("connectome", path, "--out", tmp_path / "out")


def test_a_model_of_ones_own(small_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_models.py").write_text(
        "import ngnmm_jax as ng\n\nclass Strong(ng.NextGenEI):\n"
        "    j_ee: object = ng.models.parameter(6.0, unit='1', doc='weight to e from e')\n"
    )
    own = ["dispersion", "--model", "my_models:Strong", "--connectome", small_file]
    with pytest.raises(ValueError, match="give --allow-code"):
        invoke(*own)
    output = invoke(*own, "--allow-code", "--out", tmp_path / "own")
    assert output.count("model: Strong of ") == 1
    assert output.count("Rows of the connectome are normalised") == 1
    assert "my_models.py" in "".join(output.split())
    named = invoke("dispersion", "--set", "j_ee=6", "--connectome", small_file)
    rows = [line for line in output.splitlines() if "growing" in line]
    assert rows
    assert rows == [line for line in named.splitlines() if "growing" in line]


#: What each setting may be given that it is not; its own kind is left out.
WRONG = {
    "text": "strong", "number": 1.5, "whole": 3, "truth": True, "list": [1.0, 2.0],
    "table": {"a": 1.0}, "negative": -1, "zero": 0, "infinite": float("inf"),
}  # fmt: skip
KINDS = {
    "coupling": {"number", "whole", "negative", "zero"},
    "power": {"number", "whole"},
    "seed": {"whole", "zero"},
    "scatter": {"number", "whole", "zero"},
    "duration": {"number", "whole"},
    "dt": {"number", "whole"},
    "rtol": {"number", "whole"},
    "model": set(),
    "order": set(),
    "cache_dir": {"text"},
    "set": set(),
    "reading": set(),
}


def test_malformed_settings_are_one_line(tmp_path):
    """Every setting with every kind of value that it cannot have."""
    path, count = tmp_path / "s.toml", 0
    for name, good in KINDS.items():
        for kind, value in WRONG.items():
            if kind in good:
                continue
            path.write_text(tomli_w.dumps({name: value}))
            with pytest.raises(ValueError, match=f"Argument `{name}[a-z_.]*` must") as caught:
                SimulateSettings.merge(path).build()
            assert "\n" not in str(caught.value)
            count += 1
    assert count > 80


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["simulate", "--set", "i_ext_e=1", "--set", "i_ext_e=2"], "once, but it does so twice"),
        (["map", "--vary", "tau_e=-1:1:2", "--vary", "coupling=0:1:2"], "`tau_e` must be positive"),
        (["map", "--vary", "i_ext_e=0:1:1000000000", "--vary", "coupling=0:1:9"], "fewer points"),
        (["simulate", "--duration", "1e18"], "shorter duration"),
        (["lyapunov", "--exponents", "0"], "`--exponents` must be at least 1"),
        (["simulate", "--seed", "-1"], "`--seed` must be at least 0"),
        (["bifurcate", "--variable", "v"], "`--variable` must be one of"),
        (["lyapunov", "--variable", "v"], "`--variable` must be one of"),
        (["simulate", "--duration", "10", "--save-every", "3"], "eight samples"),
        (["simulate", "--model", "os:path", "--allow-code"], "class of neural masses"),
        (["bifurcate", "--vary", "i_ext=0:1"], "`--vary` must be one of"),
        (
            ["dispersion", "--connectome", "x.csv", "--order", "source"],
            "`--order` must be left out",
        ),
    ],
)
def test_refused_before_any_work(arguments, words, tmp_path):
    with pytest.raises(ValueError, match=re.escape(words)):
        invoke(*arguments, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_interrupted_and_replaced(small_file, tmp_path, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Store, "finish", stopped)
    axes = ["--vary", "i_ext_e=0:1:3000", "--vary", "coupling=0:1:1"]
    words = ["map", "--connectome", str(small_file), *axes, "--out", str(tmp_path / "m")]
    result = RUNNER.invoke(app, words)
    assert result.exit_code == 130
    kept = r"Interrupted: 0 of \d+ blocks kept in .*/m/blocks; the same command goes on\."
    assert re.search(kept, "".join(result.output.splitlines()))
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["blocks"]  # no half of a file
    (tmp_path / "m" / "settings.toml").write_text("[provenance]\ncommand = 'simulate'\n")
    assert "holds the output of ngnmm simulate" in RUNNER.invoke(app, words).output


def test_interrupted_while_it_computes(small_file, tmp_path):
    """As with Ctrl-C: one line, no traceback, the status that shells give."""
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # as in a shell
    )
    code += "from ngnmm_jax.cli import main; main()"
    axes = ["--vary", "i_ext_e=0:16:99", "--vary", "coupling=0:30:99"]
    words = ["map", "--connectome", small_file, *axes, "--out", tmp_path / "m"]
    with subprocess.Popen([sys.executable, "-c", code, *map(str, words)], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # fmt: skip
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.wait(timeout=120)
        said, errors = process.stdout.read(), process.stderr.read()  # with what was read ahead
    assert "a map of 9,801 points: " in first
    assert "roughly" in first
    assert said.splitlines()[-1].startswith("Interrupted")
    assert "Traceback" not in errors
    assert process.returncode == 130


def test_an_interruption_that_python_ignores_comes_again():
    """In a callback, as JAX has one, an exception is lost."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a shell
    try:
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012
            _unraisable(SimpleNamespace(exc_type=KeyboardInterrupt))
            for _ in range(200):
                time.sleep(0.1)
    finally:
        signal.signal(signal.SIGINT, before)


def test_lines_where_there_is_no_terminal(monkeypatch, capsys):
    monkeypatch.setattr(output, "_BETWEEN", 0.02)
    monkeypatch.setattr(progress, "LINES", True)
    with output.lines():
        time.sleep(0.2)
        with progress.progress_bar(8, "map", "point", None) as bar:
            bar.update(3)
            time.sleep(0.2)
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("at work for ")
    assert "3/8" in said[-1]
    time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_a_full_disk(tmp_path):
    """Whole results are kept, with their settings; halves of files, and of older runs, are not."""
    (tmp_path / "settings.toml").write_text(
        "coupling = 1.0\n[provenance]\ncommand = 'dispersion'\nfiles = ['old.csv']\n"
    )
    (tmp_path / "old.csv").write_text("of an older run")
    with (  # noqa: PT012
        pytest.raises(OSError, match=r"No space left on device, for .*make room"),
        folder(tmp_path, DispersionSettings()) as place,
    ):
        xr.Dataset({"a": ("x", np.arange(900.0))}).to_netcdf(
            place.part / "whole.nc", engine="h5netcdf"
        )
        half = (place.part / "whole.nc").read_bytes()[:4000]
        for name in ("half.nc", "half.png"):
            (place.part / name).write_bytes(half)
        raise OSError(errno.ENOSPC, "No space left on device")
    assert {path.name for path in tmp_path.iterdir()} == {"settings.toml", "whole.nc"}
    assert tomllib.loads((tmp_path / "settings.toml").read_text())["coupling"] == 5.0


def test_what_does_not_fit_is_refused(tmp_path, monkeypatch):
    from ngnmm_jax.cli import estimates

    monkeypatch.setattr(estimates.shutil, "disk_usage", lambda _: SimpleNamespace(free=9, total=9))
    with pytest.raises(ValueError, match=r"needs 1 kB, and .* has 9 bytes of disk left"):
        estimates.announce("a map", 1e3, 1.0, tmp_path)
    assert estimates.duration(0.04) == "0.04 s"
    assert estimates.duration(100) == "100 s"
    assert estimates.duration(7300) == "2 hours"
    assert estimates.duration(1e12).endswith("years")


def test_files_of_windows(tmp_path):
    text = "coupling = 7.0\r\n# Gr\u00f6\u00dfe\r\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "s.toml").write_bytes(text.encode(encoding))
        assert SimulateSettings.merge(tmp_path / "s.toml").coupling == 7.0
    (tmp_path / "s.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match="not UTF-8, as which to save it"):
        SimulateSettings.merge(tmp_path / "s.toml")


def test_files_of_ones_own_stay(small_file, tmp_path):
    """In an output folder: what no command wrote is neither removed nor replaced."""
    out = tmp_path / "out"
    (out / "branches").mkdir(parents=True)
    (out / "branches" / "mine.txt").write_text("mine")
    invoke("dispersion", "--connectome", small_file, "--out", out)
    wrote = tomllib.loads((out / "settings.toml").read_text())["provenance"]["files"]
    assert "dispersion.png" in wrote
    (out / "old.csv").write_text("of an earlier run")
    text = (out / "settings.toml").read_text().replace('"dispersion.csv"', '"old.csv"')
    (out / "settings.toml").write_text(text)
    invoke("dispersion", "--config", out / "settings.toml", "--out", out)
    assert not (out / "old.csv").exists()
    assert (out / "branches" / "mine.txt").read_text() == "mine"
    (out / "settings.toml").write_text("# mine\ncoupling = 3.0\n")
    with pytest.raises(RuntimeError, match="a file of your own"):
        invoke("dispersion", "--connectome", small_file, "--out", out)
    assert "# mine" in (out / "settings.toml").read_text()


def test_the_planes_that_help_names():
    """They are the models'."""
    text = {name: " ".join(invoke(name, "--help").split()) for name in ("map", "lyapunov")}
    for model, commands in ((ng.NextGenEI, ("map", "lyapunov")), (ng.JansenRit, ("lyapunov",))):
        for command in commands:
            named = [f"{name}={low}:{high}:{n}" for name, (low, high, n) in model.plane.items()]
            assert all(axis in text[command] for axis in named[: 1 + (command == "map")])


def test_a_folder_of_a_killed_command(tmp_path):
    """What it left half written goes; what a living one writes stays, and files of one's own."""
    for name in (".1-aa.ngnmm_part", "mine.part"):
        (tmp_path / name).mkdir()
    with folder(tmp_path, DispersionSettings()) as living:
        (living.part / "one.csv").write_text("1")
        with folder(tmp_path, DispersionSettings()) as other:
            (other.part / "two.csv").write_text("2")
        assert living.part.is_dir()
        assert {path.name for path in tmp_path.iterdir()} == {
            living.part.name, "mine.part", "two.csv", "settings.toml"
        }  # fmt: skip
    assert {path.name for path in tmp_path.iterdir()} == {
        "mine.part", "one.csv", "two.csv", "settings.toml"
    }  # fmt: skip


def test_settings_of_another_command(tmp_path):
    """They serve where they mean the same; what one's own has not is still refused."""
    path = tmp_path / "s.toml"
    text = "coupling = 7.0\n[vary]\ni_ext_e = {}\n[provenance]\ncommand = {!r}\n"
    for command, vary in (
        ("bifurcate", "[0, 16]"),
        ("fit", "{ positive = true }"),
        ("map", "[0, 16, 3]"),
    ):
        path.write_text(text.format(vary, command))
        assert SimulateSettings.merge(path).coupling == 7.0
        varies = MapSettings.merge(path).vary
        assert varies == ({"i_ext_e": [0, 16, 3]} if command == "map" else {})
    path.write_text("couplin = 3.0\n[provenance]\ncommand = 'map'\n")
    with pytest.raises(ValueError, match="did you mean 'coupling'"):
        SimulateSettings.merge(path)


@pytest.mark.parametrize(
    ("table", "functions"),
    [
        (FitRunTable, (ng.fit, ng.fitting.Gradient)),
        (CheckTable, (ng.fitting.simulated_fc,)),
        (SweepRunTable, (ng.sweep,)),
    ],
)
def test_tables_of_arguments(table, functions):
    """A file says what Python says, in the same words."""
    known = {name for function in functions for name in inspect.signature(function).parameters}
    assert set(table.model_fields) <= known


def test_how_a_connectome_is_read(tmp_path):
    path, config = tmp_path / "half.txt", tmp_path / "s.toml"
    path.write_text("0 1 2\n0 0 1.5\n0 0 0\n")
    with pytest.raises(ValueError, match="symmetric=True"):
        invoke("connectome", path)
    output = invoke("connectome", path, "--reading", "symmetric=true", "--out", tmp_path / "o")
    assert "taken both ways" in " ".join(output.split())
    config.write_text(f"connectome = {str(path)!r}\n[reading]\nsymmetric = true\n")
    again = DispersionSettings.merge(config).loaded_connectome
    assert again.is_symmetric
    assert again.n_connections == 6
    for wrong, words in (
        ("symetric=true", "did you mean 'symmetric'"),
        ("symmetric=3", "or false"),
    ):
        with pytest.raises(ValueError, match=words):
            invoke("connectome", path, "--reading", wrong)


@pytest.fixture
def said(monkeypatch, capsys):
    """What a command prints, and its exit status, as the entry point has them."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["ngnmm", *map(str, arguments)])
        monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)  # which it replaces
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("dispersion --vary coupling=0:1:2", "ngnmm dispersion`, but of `ngnmm bifurcate`, `ngnmm"),
        (
            "simulate --exponents 2",
            "--exponents is no option of `ngnmm simulate`, but of `ngnmm ly",
        ),
        ("connectome --no-cache x.csv --version", "`ngnmm connectome`, but of `ngnmm` (ngnmm conn"),
        ("sweep x.toml --coupling 3", "option of `ngnmm sweep`, whose file has `coupling` (ngnmm"),
        ("map --coupling=3 --dely 5", "No such option: --dely"),
    ],
)
def test_options_of_other_commands_say_whose_they_are(said, words, told):
    code, printed = said(*words.split())
    assert code == 2
    assert told in printed.out
    assert "Possible options" not in printed.out or "dely" in words


def test_settings_are_called_as_they_were_typed(tmp_path):
    """Options by their flags; what a file says, as it stands there."""
    for words, told in (
        ("map --vary coupling=1:0:3", "Argument `--vary coupling` must be an axis"),
        ("bifurcate --vary i_ext_e=5:3", "Argument `--vary i_ext_e` must have bounds"),
        ("simulate --set i_ext_e=1,2", "Argument `--set i_ext_e` must be one number"),
        ("simulate --save-every -2", "Argument `--save-every` must be greater than 0"),
        ("simulate --rtol 1e-9 --dt 0.1", "Argument `--rtol` must go with adaptive steps"),
    ):
        with pytest.raises(ValueError, match="^" + re.escape(told)):
            invoke(*words.split())
    (tmp_path / "s.toml").write_text("[vary]\ncoupling = [1, 0, 3]\ni_ext_e = [0, 1, 2]\n")
    with pytest.raises(ValueError, match=r"^Argument `vary\.coupling` must be an axis"):
        invoke("map", "--config", tmp_path / "s.toml", "--cut", 1)


def ngnmm(*arguments, **environment):
    code = "from ngnmm_jax.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["simulate", "--set", "i_ext=3"], "did you mean 'i_ext_"),
        (["simulate", "--set", "i_ext_e=high"], "must be NAME=VALUE"),
        (["simulate", "--model", "nextgn"], "did you mean 'nextgen'"),
        (["dispersion", "--config", "nowhere.toml"], "no settings file"),
        (["bifurcate", "--vary", "i_ext_e=5"], "must be NAME=LOW:HIGH"),
        (["bifurcate", "--vary", "i_ext_e=5:3"], "`--vary i_ext_e` must have bounds"),
    ],
)
def test_errors_are_one_line(arguments, words, tmp_path, said):
    code, printed = said(*arguments, "--out", tmp_path)
    assert code == 1
    assert words in printed.out
    assert "Traceback" not in printed.out + printed.err
    assert len(printed.out.strip().splitlines()) == 1


def test_an_error_of_a_process_is_one_line(tmp_path, monkeypatch):
    """As a shell has it: where nothing of the tests is loaded; of programs that could not be kept
    not a word with `--no-cache`.
    """
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("NGNMM_JAX_CACHE", str(blocked))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    result = ngnmm("dispersion", "--no-cache", "--connectome", "nowhere.csv", "--out", tmp_path)
    assert result.returncode == 1
    assert "no connectome file 'nowhere.csv'" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr
    assert len(result.stdout.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("coupling = ", "not valid TOML"),
        ("couplin = 3.0", "did you mean 'coupling'"),
        ("coupling = 'strong'", "`coupling` must be a number"),
        ("[set]\ni_ext = 3.0", "`set` must be one of"),
    ],
)
def test_bad_settings(text, words, tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        DispersionSettings.merge(path).build()


@pytest.mark.parametrize(
    ("options", "points"),
    [(("--quick",), (17, 16)), pytest.param((), (65, 61), marks=pytest.mark.slow)],
)
def test_demo(tmp_path, options, points):
    """As a user runs it: a new process, 32-bit JAX by default, no network."""
    result = ngnmm("demo", "--out", tmp_path, *options, JAX_ENABLE_X64="0")
    assert result.returncode == 0, result.stderr
    assert "79 of 99" in result.stdout
    names = {path.name for path in tmp_path.iterdir()}
    assert names >= {
        "activity.nc",
        "activity_gamma.png",
        "activity_patterned.png",
        "activity_quiet.png",
        "dispersion.png",
        "map.nc",
        "map.png",
        "settings.toml",
        "unstable_mode.png",
    }
    activity = xr.load_dataset(tmp_path / "activity.nc", engine="h5netcdf")
    assert list(activity.point.values) == ["quiet", "patterned", "gamma"]
    assert float(activity.v_e.sel(point="quiet")[-1].std()) < 1e-6
    assert float(activity.v_e.sel(point="patterned")[-1].std()) > 1.0
    stored = xr.load_dataset(tmp_path / "map.nc", engine="h5netcdf")
    assert stored.growth_uniform.shape[:2] == points


@pytest.mark.slow
def test_map(tmp_path):
    """Twice: the second time from its own settings and the blocks that it kept."""
    out = tmp_path / "plane"
    axes = ("--vary", "i_ext_e=2:12:6", "--vary", "coupling=2:9:2")
    assert "a periodic orbit" in invoke("map", "--out", out, *axes, "--cut", "9")
    names = {path.name for path in out.iterdir()}
    assert names == {"blocks", "cut.png", "details.png", "map.nc", "map.png", "settings.toml"}
    data = xr.load_dataset(out / "map.nc", engine="h5netcdf")
    assert dict(data.sizes) == {"i_ext_e": 6, "coupling": 2, "state": 5, "variable": 6, "mode": 100}
    assert data.kind.attrs["flag_meanings"] == "nothing equilibrium orbit aperiodic"
    assert (data.kind == 2).sum() > 4
    kept = (out / "blocks" / "block-00000.npz").stat().st_mtime_ns
    invoke("map", "--config", out / "settings.toml", "--out", out)
    assert (out / "blocks" / "block-00000.npz").stat().st_mtime_ns == kept
    other = ngnmm("map", "--out", out, *axes[:3], "coupling=2:9:3")
    assert other.returncode == 1
    assert "differs in axes" in other.stderr + other.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--vary", "i_ext_e=0:16"], "NAME=LOW:HIGH:COUNT"),
        (["--vary", "i_ext_e=0:16:5"], "must be given twice"),
        (["--vary", "i_ext=0:16:5", "--vary", "coupling=0:1:2"], "did you mean 'i_ext_"),
        (["--vary", "i_ext_e=0:16:0", "--vary", "coupling=0:1:2"], "low, high, count"),
    ],
)
def test_map_refuses(tmp_path, arguments, words, said):
    code, printed = said("map", "--out", tmp_path / "out", *arguments)
    assert code == 1
    assert words in printed.out


def test_compare_refuses(tmp_path, said):
    code, printed = said("compare", "--models", "nextgen,nope", "--out", tmp_path)
    assert code == 1
    assert "'nope'" in printed.out
    assert "three-populations" in printed.out


@pytest.mark.slow
def test_compare(tmp_path):
    result = ngnmm("compare", "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    assert "jansen-rit" in result.stdout
    assert {p.name for p in tmp_path.iterdir()} == {"comparison.png", "settings.toml"}


# ------------------------------------------------------------------------ sweeps

PLANE = """
connectome = {connectome!r}
model = "wilson-cowan"
[set]
tau_e = 8.5
[design]
replicates = 2
[vary]
p = [1.0, 1.5, 3]
coupling = {{ values = [0.1, 0.5] }}
[measure]
duration = 200.0
transient = 50.0
keep = ["mean", "band_power", "field_variance", "fc"]
[run]
block = 4
checks = 3
"""


def test_sweep_and_show(small_file, small, tmp_path):
    file, store = tmp_path / "plane.toml", tmp_path / "plane.zarr"
    file.write_text(PLANE.format(connectome=str(small_file)))
    output = invoke("sweep", file, "--out", store)
    assert "12 runs (p 3 × coupling 2 × replicate 2)" in output
    assert "3 of 3" in output
    assert "e_field_variance" in output  # how exact it is
    data = ng.open_sweep(store)
    network = ng.Network(ng.WilsonCowan(tau_e=8.5), small, 5.0)
    design = ng.Design.grid({"p": [1.0, 1.25, 1.5], "coupling": [0.1, 0.5]}, replicates=2)
    measure = ng.Activity(200.0, 50.0, keep=("mean", "band_power", "field_variance", "fc"))
    known = ng.sweep(network, design, measure, checks=3)
    for name in known.data_vars:
        np.testing.assert_allclose(data[name], known[name], rtol=1e-9, atol=1e-9)
    before = (store / "e_mean" / "c" / "0" / "0" / "0" / "0").stat().st_mtime_ns
    invoke("sweep", file, "--out", store)
    assert (store / "e_mean" / "c" / "0" / "0" / "0" / "0").stat().st_mtime_ns == before
    assert "e_band_power" in invoke("show", store, "--quantity", "list")
    invoke("show", store)
    assert (tmp_path / "plane.png").stat().st_size > 10_000
    figure = tmp_path / "figures" / "gamma.png"
    invoke("show", store, "--quantity", "e_band_power", "--at", "band=gamma", "--out", figure)
    assert figure.stat().st_size > 5_000
    # Another sweep is refused where a store is, unless it may be removed.
    file.write_text(PLANE.format(connectome=str(small_file)).replace("8.5", "8.0"))
    with pytest.raises(ValueError, match="differs in parameters"):
        invoke("sweep", file, "--out", store)
    for damaged in (store / "zarr.json", store / ".ngnmm_store" / "definition.json"):
        damaged.write_text("{")
    invoke("sweep", file, "--out", store, "--restart")
    assert ng.open_sweep(store).attrs["definition"]["parameters"]["tau_e"] == 8.0


AXES = """
connectome = {connectome!r}
model = "mpr"
[vary]
eta = [-8, -2, 4]
gradient = {{ parameter = "eta", map = {field!r}, amplitude = [0, 2, 3] }}
subject = {{ connectomes = {{ one = {connectome!r}, other = {other!r} }} }}
[measure]
duration = 20.0
start = {{ along = "eta", first = [1.0, 0.0] }}
"""


def test_sweep_files_have_maps_connectomes_and_starts(small_file, small, tmp_path):
    file, field, other = (tmp_path / name for name in ("axes.toml", "map.npy", "other.npz"))
    np.save(field, np.linspace(-1, 1, small.n_regions))
    small.cut([0]).without([]).save(other)
    words = {"connectome": str(small_file), "field": str(field), "other": str(other)}
    file.write_text(AXES.format(**words))
    with pytest.raises(ValueError, match="Rows cannot be normalised"):
        SweepFile.read(file)
    small.cut(edges=[(0, 1)]).save(other)
    file.write_text(AXES.format(**words))
    read = SweepFile.read(file)
    assert read.design.shape == (4, 3, 2)
    assert read.measure.start.dim == "eta"
    one = read.design.maps["gradient"]
    np.testing.assert_array_equal(one.map, np.load(field))
    np.testing.assert_array_equal(one.amplitude, [0, 1, 2])
    _, some = read.design.connectomes["subject"]
    assert some.labels == ("one", "other")
    np.testing.assert_allclose(
        some.connectomes[1].weights, small.cut(edges=[(0, 1)]).normalised().weights
    )
    for old, new, words in (
        ('parameter = "eta"', 'parameter = "etta"', "`parameter` must be one of .*'eta'"),
        ("parameter =", "parametre =", "`parameter` must be given"),
        ("[0, 2, 3]", "[2, 0, 3]", "`vary.gradient.amplitude` must be"),
        ('along = "eta"', 'alnog = "eta"', "`along` must be given"),
        ('{ along = "eta", first = [1.0, 0.0] }', '"rest"', "`measure.start` must be a state"),
    ):
        file.write_text(
            AXES.format(
                **{
                    k: str(v)
                    for k, v in {"connectome": small_file, "field": field, "other": other}.items()
                }
            ).replace(old, new)
        )
        with pytest.raises(ValueError, match=words):
            SweepFile.read(file)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[design]\nkind = 'cube'", "`design.kind` must be one of 'grid'"),
        ("[vary]", "`vary` must name at least one parameter"),
        ("[vary]\ni_ext_e = [0, 1]", r"`vary.i_ext_e` must be \[low, high, count\]"),
        ("[vary]\ni_ext = [0, 1, 2]", "`vary` must be one of .*did you mean"),
        ("[design]\nkind = 'list'\n[vary]\ni_ext_e = [0, 1, 2]", r"must be \{ values = "),
        ("[design]\nkind = 'sobol'\n[vary]\ni_ext_e = [0, 1]", "have a `count`"),
        ("[design]\nkind = 'sobol'\ncount = 4\n[vary]\ni_ext_e = [1, 0]", r"\[low, high\]"),
        ("[design]\ncount = 4", "`design` must be one of 'kind', 'replicates', 'seed'"),
        ("[design]\nfold = 3", "`design` must be one of"),
        ("[measure]\nkind = 'entropy'", "`measure.kind` must be one of 'activity'"),
        ("[measure]\nkind = 'no_module:no'", "give --allow-code"),
        ("[measure]\nlength = 3", "`measure` must be one of"),
        ("[run]\nblocks = 3", "`run` must be one of"),
        ("provenance = 3", "`provenance` must be a table"),
        ("[measure]\nkeep = 3", "`measure` must"),
        ("[measure]\nkind = ['a']", "`measure.kind` must be one of"),
        ("[measure]\nkind = 'a:b'\ntraced = 3", "`traced` must be true or false"),
        ("[vary]\ni_ext_e = [false, true, 2]", r"must be \[low, high, count\]"),
        ("[vary]\ni_ext_e = [0, 1, 1000000000000]", "a count that fits into memory"),
        (
            "[design]\nkind = 'sobol'\ncount = 1000000000000\n[vary]\ni_ext_e = [0, 1]",
            "must fit into memory",
        ),
        ("[run]\nblock = 0", "`run.block` must be at least 1"),
        ("design = 3", "`design` must be a table"),
        ("couplings = 3", "`file` must be one of .*did you mean 'coupling'"),
        ("coupling =", "is not valid TOML"),
    ],
)
def test_bad_sweep_files(tmp_path, text, words):
    file = tmp_path / "bad.toml"
    if "[vary]" not in text:
        text += "\n[vary]\ni_ext_e = [0, 1, 2]"
    file.write_text(text)
    with pytest.raises(ValueError, match=words):
        invoke("sweep", file, "--out", tmp_path / "bad.zarr")
    assert not (tmp_path / "bad.zarr").exists()


def test_examples():
    """They are read, and are what their first lines say."""
    plane = SweepFile.read(EXAMPLES / "plane.toml")
    assert plane.design.dims == {"i_ext_e": 32, "coupling": 31}
    assert plane.measure.duration == 1000.0
    assert SweepSettings.of_file(EXAMPLES / "paper.toml").vary["i_ext_e"] == [0, 15.75, 64]
    sizes = {path.stem: FitFile.read(path).free.size for path in EXAMPLES.glob("fit_*.toml")}
    assert sizes == {"fit_global": 4, "fit_regional": 203}


WITHOUT_JAX = """
import sys
from typer.testing import CliRunner
from ngnmm_jax.cli.entry import app
for words in ("--help", "--version", "dispersoin", "connectome FILE --out o", "show line.zarr"):
    words = words.replace("FILE", sys.argv[1]).split()
    print(CliRunner().invoke(app, words, catch_exceptions=False).exit_code)
print([name for name in ("jax", "equinox", "diffrax") if name in sys.modules])
"""


def test_sweep_of_a_function_and_along_one_parameter(small_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_measures.py").write_text(
        "def level(network):\n    return {'level': network.model.i_ext_e / network.model.tau_e}\n"
    )
    (tmp_path / "line.toml").write_text(
        f"connectome = {str(small_file)!r}\n[design]\nkind = 'random'\ncount = 9\n"
        "[vary]\ni_ext_e = [0, 4]\n"
        "[measure]\nkind = 'my_measures:level'\nunits = { level = '1/ms' }\n"
    )
    invoke("sweep", "line.toml", "--allow-code")
    found = ng.open_sweep("line.zarr")
    assert found.level.attrs["units"] == "1/ms"
    np.testing.assert_allclose(found.level, found.i_ext_e / ng.NextGenEI().tau_e, rtol=1e-12)
    # Another process has the module too; it looks where this one began, and not where it is now.
    monkeypatch.setattr(multiprocessing.process, "ORIGINAL_DIR", str(tmp_path))
    invoke("sweep", "line.toml", "--allow-code", "--restart", "--workers", "1")
    np.testing.assert_array_equal(ng.open_sweep("line.zarr").level, found.level)
    invoke("show", "line.zarr")
    assert (tmp_path / "line.png").stat().st_size > 5_000
    # Without JAX, whose import takes seconds: figures of sweeps, connectomes, help, typos.
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_JAX, str(small_file)], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["0", "0", "2", "0", "0", "[]"], done.stdout + done.stderr
    with pytest.raises(ValueError, match="`quantity` must be one of 'level'"):
        invoke("show", "line.zarr", "--quantity", "levle")
    with pytest.raises(ValueError, match="`store` must be the folder of a sweep"):
        invoke("show", "nothing.zarr")


FIT = """
connectome = {connectome!r}
coupling = 5.0
[set]
i_ext_e = 2.5
[noise]
input = 0.002
[vary]
coupling = {{ interval = [0, 12] }}
input_noise = {{ positive = true, per = "region" }}
[target]
fc = {fc!r}
[run]
steps = 8
n_starts = 2
save_every = 3
[check]
duration = 2000
repetition_time = 250
runs = 4
"""


@pytest.mark.slow
def test_fit(small_file, tmp_path):
    target = np.corrcoef(np.random.default_rng(0).normal(size=(12, 60)))
    np.save(tmp_path / "fc.npy", target)
    np.savetxt(tmp_path / "other.csv", target, delimiter=",")
    file = tmp_path / "fit.toml"
    file.write_text(FIT.format(connectome=str(small_file), fc=str(tmp_path / "fc.npy")))
    out = tmp_path / "fitted"
    arguments = ["fit", file, "--out", out, "--against", tmp_path / "other.csv"]
    text = invoke(*arguments)
    assert "13 free numbers" in text
    assert "correlation with the data" in text
    assert "4 of 4" in text
    names = {path.name for path in out.iterdir()}
    figures = {"history.png", "parameters.png", "fc.png", "fc_simulated.png"}
    files = {"fit.nc", "parameters.csv", "fc.npy", "fc_simulated.npy", "settings.toml"}
    assert names == {"fit", *files, *figures}
    rows = (out / "parameters.csv").read_text().splitlines()
    assert rows[0].split(",")[:3] == ["parameter", "all", "L1"]
    assert len(rows) == 3
    kept = (out / "fit.nc").read_bytes()
    again = invoke(*arguments, "--no-check")  # nothing is left to do
    assert "Simulated" not in again
    assert (out / "fit.nc").stat().st_size == len(kept)
    (out / "fit" / ".ngnmm_store" / "definition.json").write_text("{")
    invoke("fit", file, "--out", out, "--restart", "--no-check")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("[vary]", "[very]"), "did you mean 'vary'"),
        (("coupling = {{ interval", "couplin = {{ interval"), "did you mean 'coupling'"),
        (("interval = [0, 12]", "interval = [12]"), "bounds [low, high]"),
        (("positive = true, ", ""), "one of `interval`"),
        (("steps = 8", "step = 8"), "did you mean 'steps'"),
        (("fc = {fc!r}", 'fc = "absent.npy"'), "no file 'absent.npy'"),
        (("fc = {fc!r}", 'fc = "embedded"'), "embeds none"),
        (("[run]", '[loss]\nprediction = "simulated"\n[run]'), "duration"),
        (("[run]", "[loss]\nspectral_distance = 1.0\n[run]"), "`spectrum`"),
        (("input = 0.002", "inputs = 0.002"), "did you mean 'input'"),
        (("[run]", "[loss]\nduration = 9.0\n[run]"), "`loss.duration` must go with"),
        (("[run]", "[loss]\nvariable = 'z'\n[run]"), "`loss.variable` must be one of"),
        (("duration = 2000", "duration = 2100"), "`check.duration` must be a multiple of 250"),
        (("runs = 4", "runs = 1"), "`runs` must be at least two"),
    ],
)
def test_bad_fit_files(small_file, tmp_path, change, words):
    np.save(tmp_path / "fc.npy", np.eye(12))
    text = FIT.replace(*change)
    text = text.format(connectome=str(small_file), fc=str(tmp_path / "fc.npy"))
    (tmp_path / "fit.toml").write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(words)):
        invoke("fit", tmp_path / "fit.toml", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_reproduce(small_file, small, tmp_path, monkeypatch):
    """Two figures; the second time they are there; a failing one is a line; a bad name is said."""
    from matplotlib import pyplot as plt

    from ngnmm_jax.reproduce import run as loop
    from ngnmm_jax.reproduce.task import AGREES, Row

    assert "network-chaos  Lyapunov spectra of the whole network" in invoke("reproduce")
    out = tmp_path / "paper"
    options = ["--quick", "--connectome", small_file, "--out", out]
    text = invoke("reproduce", "reference", "dispersion", *options)
    assert "is not on this machine" in text
    assert (out / "dispersion" / "dispersion.png").stat().st_size > 10_000
    table = (out / "table.md").read_text()
    assert table.count("| reference |") == 6
    assert table.count("| yes |") == 7
    with (out / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["figure"] for row in rows} == {"reference", "dispersion"}
    written = (out / "dispersion" / "dispersion.png").stat().st_mtime_ns
    assert invoke("reproduce", "dispersion", *options).count("there already") == 1
    assert (out / "dispersion" / "dispersion.png").stat().st_mtime_ns == written
    # A damaged record is no record; and one failure does not stop the others.
    (out / "dispersion" / "rows.json").write_text('{"key": ')

    def failing(task):
        """Nothing."""
        raise ng.SolverError("cascade", ng.Status.NOT_FINITE)

    def redrawn(task):
        """One that costs nothing."""
        task.save(plt.figure(), "dispersion")
        return [Row("what is claimed", "what is found", AGREES)]

    monkeypatch.setitem(loop.FIGURES, "cascade", failing)
    monkeypatch.setitem(loop.FIGURES, "dispersion", redrawn)
    with (
        pytest.raises(RuntimeError, match="a figure failed"),
        pytest.warns(UserWarning, match=r"rows\.json is damaged"),
    ):
        invoke("reproduce", "cascade", "dispersion", *options)
    assert (out / "dispersion" / "dispersion.png").stat().st_mtime_ns > written
    assert "SolverError: cascade" in (out / "table.md").read_text()
    with pytest.raises(ValueError, match="did you mean 'dispersion'"):
        invoke("reproduce", "dispersions", *options)

    def interrupted(task):
        """Nothing either."""
        raise KeyboardInterrupt

    monkeypatch.setitem(loop.FIGURES, "chaos", interrupted)
    with pytest.raises(KeyboardInterrupt):
        loop.reproduce(["chaos"], out, connectome=small, quick=True)
    assert not (out / "chaos" / "rows.json").exists()
    assert "| dispersion |" in (out / "table.md").read_text()  # what there was is kept


@pytest.mark.slow
def test_reproduce_all(tmp_path):
    """Every figure, on the embedded connectome; nothing contradicts the paper."""
    invoke("reproduce", "--all", "--quick", "--connectome", "hcp-schaefer100", "--out", tmp_path)
    with (tmp_path / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert all(row["found here"] != "failed" for row in rows)
    assert sum(row["agrees"] == "yes" for row in rows) >= 20
    assert len(list(tmp_path.glob("*/*.png"))) == 14
    assert (tmp_path / "animation" / "activity.gif").is_file()


def test_reports_count_each_status_by_its_own_words():
    status = np.array([[0, ng.Status.STEP_TOO_LARGE], [ng.Status.STEP_TOO_LARGE, 0]])
    spectra = SimpleNamespace(
        status=status,
        exponents=np.ones((2, 2, 1)),
        number_positive=np.ones((2, 2)),
        kaplan_yorke=np.ones((2, 2)),
    )
    facts = lyapunov_facts(SimpleNamespace(spectra=spectra, time_unit="ms"))
    assert facts["step_too_large (the fixed step is too large for the system)"] == "2"
    assert not any("diverged" in words for words in facts)
    assert statuses.in_one_line(status) == "2 step_too_large"
    several = statuses.in_one_line([3, 5, 0, 5])
    assert several == "1 not_finite, 2 none_found"
    assert statuses.in_one_line(np.zeros(3, int)) == "0"
