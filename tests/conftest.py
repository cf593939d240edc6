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
    "test_notebooks", "test_cli", "test_delays", "test_couplings", "test_kernels",
    "test_invariances", "test_extend", "test_response", "test_simulation", "test_modes",
    "test_spiking", "test_noise", "test_big_graphs", "test_maps", "test_sweeps", "test_driven",
    "test_plot", "test_bifurcations", "test_signals", "test_programs", "test_fitting",
    "test_delays_together", "test_delay_analyses", "test_equilibria", "test_delay_roots",
    "test_every_model", "test_placement", "test_response_delays", "test_coupling", "test_observe",
    "test_together", "test_definition", "test_continuation", "test_chaos", "test_delay_couplings",
    "test_orbits", "test_forced", "test_private_noise", "test_randomness", "test_lyapunov",
    "test_store", "test_sweep_store",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    places = {name: k for k, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


def pytest_configure(config):
    """The fixtures; their imports take seconds, for which the workers would wait."""
    hands_out = config.getoption("numprocesses", None) and not config.option.collectonly
    if hasattr(config, "workerinput") or not hands_out:
        config.pluginmanager.import_plugin("tests.fixtures")
