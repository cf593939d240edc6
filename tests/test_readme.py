"""README's Python runs as written, one block after the other."""

import re
from pathlib import Path

import numpy as np
import pytest

import ngnmm_jax as ng

README = Path(__file__).resolve().parents[1] / "README.md"


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """What a reader has who ran every block in turn; their files lie in `folder`."""
    folder = tmp_path_factory.mktemp("readme")
    rng = np.random.default_rng(0)
    np.savetxt(folder / "weights.csv", rng.uniform(size=(4, 4)), delimiter=",")
    space = {"w": np.ones((2, 2)), "names": ("a", "b"), "xyz": np.zeros((2, 3))}
    text = README.read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 10
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for k, block in enumerate(blocks):
            # The tests have chosen the number of devices already.
            code = re.sub(r"jax\.config\.update\(\"jax_num_cpu_devices\".*", "", block)
            exec(compile(code, f"README block {k}", "exec"), space)
    return {**space, "folder": folder}


def test_fifteen_lines(reader):
    """What README says of them: 79 modes, 118.65 Hz, and that rhythm in the activity."""
    modes, run = reader["modes"], reader["run"]
    assert int(modes.number_growing) == 79
    assert float(modes.frequency[modes.fastest]) == pytest.approx(118.65, abs=0.005)
    settled = np.asarray(run.v_e)[300:]
    peaks = ng.signals.power_spectrum(settled, run.sampling_interval).peak_frequency
    assert np.median(peaks) == pytest.approx(118.65, rel=0.05)
    assert (reader["folder"] / "activity.png").stat().st_size > 10_000
    assert reader["batch"].ok
    assert 1 - reader["result"].loss.min() > 0.6  # the fit
    assert (reader["data"].status == ng.Status.OK).all()
    assert reader["diagram"].distinct(3e-3).max() > 10  # chaos in the cascade
    assert reader["spectra"].spectra.exponents.shape == (15, 6)
    assert float(reader["power"].peak_frequency.mean()) == pytest.approx(118.65, rel=0.05)
    assert float(reader["orbit"].period) == pytest.approx(13.901995976467484, rel=1e-10)
    assert int(reader["curve"].number_growing) > 0
    assert [p.kind for p in reader["gammas"].special] == ["period_doubling"] * 2 + ["hopf"]


def test_own_model_goes_through_everything(reader, small):
    network = ng.Network(reader["MontbrioPazoRoxin"](), small, 2.0)
    rest = ng.find_equilibria(network.homogeneous())
    assert int(rest.count) == 3  # the bistability of Montbrió, Pazó and Roxin 2015
    assert [bool(s) for s in rest.stable] == [True, False, True]
    assert ng.dispersion(network, rest.states[0]).growth.shape == (12,)
    assert ng.simulate(network, 50.0).v.shape == (51, 12)
    branch = ng.continue_equilibria(network.homogeneous(), "eta", (-8.0, -2.0))
    assert [p.kind for p in branch.special] == ["fold", "fold"]
    result = ng.dispersion_map(network, {"eta": [-6.0, -5.0], "coupling": [0.0, 2.0]})
    assert (result.status == ng.Status.OK).all()
