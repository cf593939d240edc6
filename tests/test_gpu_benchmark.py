"""`benchmarks.gpu`: its parts at their smallest, on whatever device there is, and its report."""

import dataclasses
import json
import math

import pytest

from benchmarks import gpu, gpu_report
from benchmarks.common import ROOT
from benchmarks.gpu_record import SIZES, Record, Skip
from benchmarks.gpu_sweeps import kernels_a_step


def test_rehearsal(tmp_path):
    """Every part of the benchmark at its smallest, on whatever device there is."""
    for name in gpu.PARTS:
        found = gpu.run_part(name, SIZES["tiny"], tmp_path / f"{name}.json", 60.0)
        assert found["status"] in ("ok", "skipped"), (name, found)
        assert found["status"] == "ok" or found["reason"]
        stored = json.loads((tmp_path / f"{name}.json").read_text())
        assert stored["status"] == found["status"]
        for row in found["rows"]:
            assert "error" not in row, row
            assert row.get("finite", 1.0) == 1.0, row
            assert all(math.isfinite(v) for v in row.values() if isinstance(v, float)), row


def test_parts_run_in_processes_of_their_own(tmp_path, monkeypatch):
    monkeypatch.delenv("CUBNM_SITE", raising=False)
    found = gpu.measure("tiny", tmp_path, ["cubnm", "tests"], {"": 1.0})
    assert json.loads((tmp_path / "gpu.json").read_text()) == found
    assert {part["status"] for part in found["parts"].values()} == {"skipped"}
    late = gpu.measure("tiny", tmp_path, ["cubnm"], {"": 0.01})
    assert late["parts"]["cubnm"]["reason"] == "no time was left"


def test_what_pytest_prints_is_understood():
    plain = "tests/test_gpu.py::test_agrees[orbit] PASSED          [ 40%]"
    spread = "[gw3] [ 71%] FAILED tests/test_gpu.py::test_agrees[fit] "
    assert gpu.test_outcome(plain) == {"name": "test_agrees[orbit]", "outcome": "PASSED"}
    assert gpu.test_outcome(spread) == {"name": "test_agrees[fit]", "outcome": "FAILED"}
    assert gpu.test_outcome("FAILED tests/test_gpu.py::test_agrees[fit] - E") is None


def test_launches_of_a_step_are_counted_in_the_innermost_loop():
    text = """
%inner (p: (s32[], f32[4])) -> (s32[], f32[4]) {
  %p = (s32[], f32[4]) parameter(0)
  %x = f32[4]{0} get-tuple-element(%p), index=1
  %y = f32[4]{0} fusion(%x), kind=kLoop, calls=%f
  %z = (f32[4]{0}, s8[8]{0}) custom-call(%y), custom_call_target="__cublas$gemm"
  ROOT %t = (s32[], f32[4]) tuple(%i, %y)
}
%outer (p: (s32[], f32[4])) -> (s32[], f32[4]) {
  ROOT %w = (s32[], f32[4]) while(%p), condition=%c, body=%inner
}
ENTRY %main (a: f32[4]) -> f32[4] {
  %w = (s32[], f32[4]) while(%a), condition=%c, body=%outer
}
"""
    assert kernels_a_step(text) == {"fusion": 1, "__cublas$gemm": 1}


def test_analyses_are_taken_by_name(tmp_path):
    size = dataclasses.replace(SIZES["tiny"], named=("equilibria",))
    found = gpu.run_part("analyses", size, tmp_path / "found.json", 60.0)
    assert [row["name"] for row in found["rows"]] == ["find_equilibria"]
    size = dataclasses.replace(size, named=("b", "a"))
    assert size.chosen(["a", "ab", "c"]) == ["ab", "a"]
    with pytest.raises(Skip, match="no name has b or a; there are c; d"):
        size.chosen(["c", "d"])


def test_a_part_that_is_stopped_says_what_it_did_not_begin(tmp_path):
    record = Record(tmp_path / "record.json", 1.0)
    record.plan(["first", "second", "third"])
    record.begin("first")
    record.row(name="first")
    record.begin("second")
    on_disk = json.loads((tmp_path / "record.json").read_text())
    assert gpu.unfinished(on_disk) == ", during second; not begun: third"
    assert on_disk["rows"] == [{"name": "first"}]
    record.close("ok")
    assert not {"plan", "now"} & record.data.keys()
    assert gpu.unfinished(record.data) == ""


def test_limits_of_parts_by_name():
    assert gpu.limits("6") == {"": 6.0}
    assert gpu.limits("analyses=3,9.5,where=1") == {"analyses": 3.0, "": 9.5, "where": 1.0}
    with pytest.raises(Exception, match="no part is called nothing"):
        gpu.limits("nothing=1")


def test_what_a_peer_said_when_it_failed_is_kept(tmp_path, monkeypatch):
    package = tmp_path / "cubnm"
    package.mkdir()
    (package / "__init__.py").write_text(
        "try:\n    raise ValueError('the cause')\n"
        "except ValueError as error:\n    raise RuntimeError('a guess') from error\n"
    )
    monkeypatch.setenv("CUBNM_SITE", str(tmp_path))
    found = gpu.run_part("cubnm", SIZES["tiny"], tmp_path / "found.json", 60.0)
    assert (found["status"], found["reason"]) == ("failed", "RuntimeError: RuntimeError: a guess")
    assert found["rows"][0]["error"] == "RuntimeError: a guess"
    assert "ValueError: the cause" in found["rows"][0]["stderr"]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "benchmarks/gpu_runs").glob("*.json")), ids=lambda path: path.stem
)
def test_stored_runs_are_shown(path, capsys):
    gpu_report.show(json.loads(path.read_text()))
    shown = capsys.readouterr().out
    assert "network-steps a second" in shown
    assert "not passed:" in shown
