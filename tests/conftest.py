"""What the tests share, where they run: what only hands them to workers loads none of it."""

import json
import os
from pathlib import Path

import pytest

# What the libraries read when they are imported. Workers share two cores, so that more threads
# of BLAS only get in each other's way; as in the command `ngnmm`, checks of Equinox give NaN, since
# programs with calls to the host could not be kept; XLA's complaints about its own tuning hints in
# programs that were kept are silenced.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("EQX_ON_ERROR", "nan")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SHARED = Path(__file__).resolve().parents[2] / "shared"


def reference_values(name):
    path = SHARED / "reference" / name
    if not path.is_file():
        pytest.skip(f"no reference values: {path} is absent")
    return json.loads(path.read_text())


# What takes longest comes first, so that no worker waits for another at the end.
LONGEST = (
    "test_notebooks", "test_cli", "test_delays", "test_couplings", "test_extend", "test_maps",
    "test_simulation", "test_kernels", "test_invariances", "test_placement", "test_fitting",
    "test_bifurcations", "test_sweeps", "test_programs", "test_continuation", "test_chaos",
    "test_spiking", "test_store", "test_driven", "test_observe", "test_signals", "test_response",
    "test_together", "test_equilibria", "test_randomness", "test_orbits",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    places = {name: k for k, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


def pytest_configure(config):
    """The fixtures; their imports take seconds, for which the workers would wait."""
    hands_out = config.getoption("numprocesses", None) and not config.option.collectonly
    if hasattr(config, "workerinput") or not hands_out:
        config.pluginmanager.import_plugin("tests.fixtures")
