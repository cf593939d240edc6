"""Shared fixtures. Array annotations of the package are checked in the tests."""

import contextlib
import ctypes
import gc
import os
import sys
from pathlib import Path

import jax
import jaxtyping
import numpy as np
import pytest

from tests.annotations import checked
from tests.conftest import SHARED

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 2)
os.environ["MPLBACKEND"] = "Agg"
# The checks of annotations put up to four frames between a function and its caller.
sys.setrecursionlimit(5 * sys.getrecursionlimit())

jaxtyping.jaxtyped = checked  # from here on: functions inside of others are made when these run
with jaxtyping.install_import_hook("ngnmm_jax", "beartype.beartype"):
    import ngnmm_jax as ng

    # Now, since it is imported when it is asked for; but for what imports the command line's rooms.
    for name in set(ng.__all__) - {"explore", "plot"}:
        getattr(ng, name)
    for room in (ng.models, ng.sweeps):
        for name in room.__all__:
            getattr(room, name)

# Compiled programs are kept: tests of one run share many, the next run has all. Processes that the
# tests start keep theirs there too.
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(ng.keep_compiled())

# What is there by now stays: the collector need not look through it while programs are traced.
gc.collect()
gc.freeze()
gc.set_threshold(50_000, 20, 20)

# A worker that holds more than this (bytes) gives its compiled programs back after a file.
MOST_MEMORY = 1.0e9


@pytest.fixture(scope="module", autouse=True)
def one_process(request, tmp_path_factory):
    """A file that two processes run is compiled twice, which nothing else would say."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is not None:
        place = tmp_path_factory.getbasetemp().parent / f"{request.path.stem}.worker"
        place.touch()
        before = place.read_text()
        assert before in ("", worker), f"{before} runs tests of {request.path.name} too"
        place.write_text(worker)


@pytest.fixture(scope="module", autouse=True)
def release_compiled_code():
    """Programs would fill the memory; those that files share are on disk."""
    yield
    status = Path("/proc/self/statm")
    pages = int(status.read_text().split()[1]) if status.exists() else 0
    if pages * os.sysconf("SC_PAGE_SIZE") > MOST_MEMORY or not pages:
        jax.clear_caches()
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):  # to the system: glibc keeps it else
            ctypes.CDLL("libc.so.6").malloc_trim(0)


@pytest.fixture
def as_users_call(monkeypatch):
    """Without the checks of types that are made in tests, which would refuse first."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


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


@pytest.fixture(scope="module")
def drawing():
    """Surfaces can be drawn here, without a screen; else what asks for it is skipped."""
    pytest.importorskip("pyvista", reason="pyvista is absent: pip install 'ngnmm-jax[surface]'")
    from ngnmm_jax.plot import _views

    try:
        with _views.quiet():
            _views.require_drawing()
    except RuntimeError as error:
        pytest.skip(str(error))
