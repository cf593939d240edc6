"""The Python of README, and of the tour, runs as written, one block after the other."""

import re
from pathlib import Path

import numpy as np
import pytest

import ngnmm_jax as ng

ROOT = Path(__file__).resolve().parents[1]


def read(path, folder, count):
    """What a reader has who ran every block in turn, with files in `folder`."""
    rng = np.random.default_rng(0)
    np.savetxt(folder / "weights.csv", rng.uniform(size=(4, 4)), delimiter=",")
    space = {"w": np.ones((2, 2)), "names": ("a", "b"), "xyz": np.zeros((2, 3)), "folder": folder}
    blocks = re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == count
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for k, block in enumerate(blocks):
            # The tests have chosen the number of devices already.
            code = re.sub(r"jax\.config\.update\(\"jax_num_cpu_devices\".*", "", block)
            exec(compile(code, f"{path.name} block {k}", "exec"), space)
    return space


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    return read(ROOT / "README.md", tmp_path_factory.mktemp("readme"), 3)


def test_fifteen_lines(reader):
    """What README says of them: 79 modes, 118.65 Hz, and that rhythm in the activity."""
    modes, run = reader["modes"], reader["run"]
    assert int(modes.number_growing) == 79
    assert float(modes.frequency[modes.fastest]) == pytest.approx(118.65, abs=0.005)
    settled = np.asarray(run.v_e)[300:]
    peaks = ng.signals.power_spectrum(settled, run.sampling_interval).peak_frequency
    assert np.median(peaks) == pytest.approx(118.65, rel=0.05)
    assert (reader["folder"] / "activity.png").stat().st_size > 10_000
    assert reader["my_modes"].growth.shape == (2,)


def test_models(tmp_path):
    """The page names every registered model, with its class; what it shows runs."""
    page = ROOT / "docs" / "models" / "index.md"
    for name, kind in ng.models.MODELS.items():
        row = next(line for line in page.read_text().splitlines() if f"`{name}`" in line)
        assert f"`{kind.__name__}`" in row
    assert read(page, tmp_path, 1)["rest"].complete


def test_conversions(tmp_path):
    page = read(ROOT / "docs" / "conversions.md", tmp_path, 2)
    assert page["coloured"].v_noise_time == 5.0
    assert page["driven"].state_shape == (2, 100)


@pytest.mark.slow
def test_switching(tmp_path):
    """Regions go up and down, none has a negative rate; the nodes' three states."""
    page = read(ROOT / "docs" / "switching.md", tmp_path, 1)
    np.testing.assert_allclose(
        1000 * page["alone"].states[:, 0], [5.712, 45.231, 100.801], atol=1e-3
    )
    assert 0.01 < float(page["states"].share.mean()) < 0.6
    assert float(page["run"].r.min()) >= 0


@pytest.mark.slow
def test_delays(tmp_path):
    page = read(ROOT / "docs" / "delays.md", tmp_path, 6)
    assert int(page["roots"].number_growing) == 84
    assert bool(page["roots"].certified)
    assert float(page["by_speed"].growth[1, 0]) == pytest.approx(0.06911843142, rel=1e-9)


@pytest.mark.slow
def test_forcing(tmp_path):
    page = read(ROOT / "docs" / "forcing.md", tmp_path, 5)
    assert (page["orbit"].drive_cycles, int(page["orbit"].cycles)) == (1, 1)
    assert (np.asarray(page["modes"].growth) < 0).all()
    assert len(page["folds"]) == 4
    assert page["border"].ok
    assert (page["nested"].drive_cycles, int(page["nested"].cycles)) == (1, 4)
    assert page["coupled"].peak[0] == 8.0


@pytest.mark.slow
def test_neurons(tmp_path):
    page = read(ROOT / "docs" / "neurons.md", tmp_path, 1)
    assert np.abs(page["neurons"].activity.v - page["mean_field"].v).max() < 1.0


@pytest.mark.slow
def test_tour(tmp_path):
    tour = read(ROOT / "docs" / "tour.md", tmp_path, 9)
    assert tour["batch"].ok
    assert 1 - tour["result"].loss.min() > 0.6  # the fit
    assert (tour["data"].status == ng.Status.OK).all()
    assert tour["diagram"].distinct(3e-3).max() > 10  # chaos in the cascade
    assert tour["spectra"].spectra.exponents.shape == (15, 6)
    assert float(tour["power"].peak_frequency.mean()) == pytest.approx(118.65, rel=0.05)
    assert float(tour["orbit"].period) == pytest.approx(13.901995976467484, rel=1e-10)
    assert int(tour["curve"].number_growing) > 0
    assert [p.kind for p in tour["gammas"].special] == ["period_doubling"] * 2 + ["hopf"]
    assert tour["neurons"].ok


def test_own_model_is_the_one_that_is_known(reader, small):
    network = ng.Network(reader["MontbrioPazoRoxin"](), small, 2.0)
    rest = ng.find_equilibria(network.homogeneous())
    assert int(rest.count) == 3  # the bistability of Montbrió, Pazó and Roxin 2015
    assert [bool(s) for s in rest.stable] == [True, False, True]
    assert ng.dispersion(network, rest.states[0]).growth.shape == (12,)
    branch = ng.continue_equilibria(network.homogeneous(), {"eta": (-8.0, -2.0)})
    assert [p.kind for p in branch.special] == ["fold", "fold"]
