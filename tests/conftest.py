"""Shared fixtures. Array annotations of the package are checked in the tests."""

import json
import os
from pathlib import Path

# Compiled programs are kept beside the tests: tests of one run share many, the next run has all.
# (XLA complains, level 2, that its own tuning hints are no features of the processor.)
CACHE = Path(__file__).resolve().parents[1] / ".jax_cache"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 2)
os.environ["MPLBACKEND"] = "Agg"

with install_import_hook("ngnmm_jax", "beartype.beartype"):
    import ngnmm_jax as ng

import numpy as np  # noqa: E402
import pytest  # noqa: E402

SHARED = Path(__file__).resolve().parents[2] / "shared"


def reference_values(name):
    path = SHARED / "reference" / name
    if not path.is_file():
        pytest.skip(f"no reference values: {path} is absent")
    return json.loads(path.read_text())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """A file's tests share compiled programs, so one process runs them; notebooks are alone."""
    for item in items:
        if item.path.stem != "test_notebooks":
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture(scope="module", autouse=True)
def release_compiled_code():
    """Compiled programs hold memory maps, of which Linux allows a process 65,530."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and len(maps.read_bytes().splitlines()) > 25_000:
        jax.clear_caches()


@pytest.fixture(scope="session")
def aal90_folder():
    folder = SHARED / "data" / "aal90"
    if not (folder / "sc2017.dat").is_file():
        pytest.skip(f"the paper's connectome is absent: {folder}")
    return folder


@pytest.fixture(scope="session")
def aal90(aal90_folder):
    return ng.Connectome.load("aal90", cache_dir=aal90_folder, order="source").normalised()


@pytest.fixture(scope="session")
def hcp():
    return ng.Connectome.load("hcp-schaefer100")


@pytest.fixture(scope="session")
def small():
    """Twelve regions with a real spectrum."""
    return ng.Connectome.synthetic(12, seed=3).normalised()


@pytest.fixture(scope="session")
def directed():
    """Nine regions, directed, with a complex spectrum."""
    weights = np.random.default_rng(5).lognormal(sigma=1.5, size=(9, 9))
    np.fill_diagonal(weights, 0)
    connectome = ng.Connectome(weights).normalised()
    assert not connectome.eigenmodes().is_real
    return connectome
