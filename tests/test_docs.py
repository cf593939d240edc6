"""The documentation's pages: built with warnings as errors, and nothing public is missing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import ngnmm_jax as ng

ROOT = Path(__file__).resolve().parents[1]


def test_pages(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pages = "".join(path.read_text() for path in (tmp_path / "api").glob("*.html"))
    ids = {name.rpartition(".")[2] for name in re.findall(r'id="(ngnmm_jax\.[\w.]+)"', pages)}
    rooms = {"coupling", "fitting", "graphs", "integrators", "models", "observe", "plot"}
    rooms |= {"noises", "signals", "stimuli", "surfaces", "sweeps", "__version__"}
    assert set(ng.__all__) - ids <= rooms  # whose own names have pages
    values = {"LYAPUNOV_QUANTITIES", "MAP_QUANTITIES", "GROWING", "DECAYING", "UNIFORM"}
    values |= {"ROOTS_QUANTITIES", "TONGUES_QUANTITIES"}
    assert set(ng.plot.__all__) - ids == values
    assert "Two commands" in (tmp_path / "index.html").read_text()
