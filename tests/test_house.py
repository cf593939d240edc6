"""The house's rules: which way imports run, what an import costs."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import ngnmm_jax as ng

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "ngnmm_jax"

#: Floors of the house: a module imports from lower floors, or from its own folder.
FLOORS = [
    {"_cache", "_core", "_types", "_checks", "_status", "_progress"},
    {"_chunks", "_store", "models", "dynamics", "connectome", "signals", "stimuli"},
    {"network"},
    {"driven"},
    {"attractors", "start"},
    {"simulation"},
    {"batch", "modes", "observe", "response"},
    {"transverse", "chaos", "bifurcations", "spiking"},
    {"maps", "sweeps"},
    {"fitting"},
    {"plot"},
    {"_settings"},
    {"_sweep_file", "_fit_file"},
    {"demo", "reports", "reproduce", "explorer"},
    {"cli"},
]
FLOOR = {name: level for level, names in enumerate(FLOORS) for name in names}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ngnmm_jax"):
            parts = node.module.split(".")
            yield from [parts[1]] if len(parts) > 1 else [a.name for a in node.names]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("ngnmm_jax."):
                    yield alias.name.split(".")[1]


def test_imports_run_one_way():
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for other in imported(path):
            if other in FLOOR and other != room:
                assert FLOOR[other] <= FLOOR[room], f"{path.name} imports {other}"
                assert (room, other) != ("dynamics", "models"), path
                assert FLOOR[other] < FLOOR[room] or FLOOR[room] <= 2, f"{path.name}: {other}"


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=True,
    ).stdout


def test_import_is_light_and_has_no_side_effects():
    code = (
        "import sys, jax, ngnmm_jax; "
        "print([m for m in ('matplotlib', 'zarr', 'xarray', 'pooch', 'typer') "
        "if m in sys.modules], jax.config.read('jax_enable_x64'), "
        "jax._src.xla_bridge.backends_are_initialized())"
    )
    assert run(code, JAX_ENABLE_X64="0").strip() == "[] False False"


def test_rooms_are_attributes():
    code = (
        "import ngnmm_jax as ng; ng.dynamics; ng.connectome.Connectome; ng.network.Network; "
        "print(ng.maps.__name__, hasattr(ng, 'nothing'))"
    )
    assert run(code).strip() == "ngnmm_jax.maps False"


def test_a_home_that_cannot_be_written_to(tmp_path):
    """The command then compiles anew, and says so."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    environment = {**os.environ, "NGNMM_JAX_CACHE": str(blocked)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    for words, said in (((), True), (("--no-cache",), False)):
        done = subprocess.run(
            [sys.executable, "-m", "ngnmm_jax.cli", "connectome", *words, "--out", tmp_path / "o"],
            capture_output=True, text=True, env=environment, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert ("Compiled programs are not kept" in done.stdout) == said


def test_every_public_name_is_there_and_documented():
    for name in ng.__all__:
        assert getattr(ng, name) is not None
        if name != "__version__":
            assert getattr(ng, name).__doc__, name
