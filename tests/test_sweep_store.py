"""Sweeps on disk and on other processes: what was computed survives whatever happens."""

import os
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
import zarr

import ngnmm_jax as ng
from ngnmm_jax.sweeps import AbstractMeasure, Function, Output
from ngnmm_jax.sweeps import run as running

DESIGN = ng.Design.grid({"a": np.linspace(0, 14, 8), "coupling": np.linspace(0, 10, 5)})
BLOCKS = 8  # of five runs


def rest(network, seed):
    """Cheap: the trace of the Jacobian at rest, and a number that tells the seed."""
    inner = network.homogeneous()
    state = inner.equilibrium_candidates(1)[0]
    return {"trace": jnp.trace(jax.jacfwd(inner.vector_field)(state)), "seed": seed * 1.0}


def slow(network):
    time.sleep(0.2)
    return {"sum": np.asarray(network.model.a + network.coupling)}


@pytest.fixture(scope="module")
def network(small):
    """Of a model whose equations take little to trace, which each sweep with a store does."""
    return ng.Network(ng.StuartLandau(omega=1.0), small, 5.0)


@pytest.fixture(scope="module")
def serial(network):
    return ng.sweep(network, DESIGN, rest, block=5)


def same(one, other, rtol=0.0):
    """To the bit; or at rounding, where processes see other numbers of devices."""
    for name in (*other.data_vars, *other.coords):
        a, b = one[name].values, other[name].values
        if rtol and a.dtype.kind == "f":
            np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol, err_msg=str(name))
        else:
            np.testing.assert_array_equal(a, b, err_msg=str(name))


def counted(monkeypatch):
    """Which blocks are computed from now on."""
    blocks, compute = [], running.Task.compute

    def compute_and_count(self, number):
        blocks.append(number)
        return compute(self, number)

    monkeypatch.setattr(running.Task, "compute", compute_and_count)
    return blocks


def test_a_store_is_the_sweep(network, serial, tmp_path, monkeypatch):
    path = tmp_path / "sweep.zarr"
    stored = ng.sweep(network, DESIGN, rest, store=path, block=5)
    same(stored, serial)
    same(ng.open_sweep(path), serial)
    # Any reader of Zarr understands it: dimensions, units, attributes.
    plain = xarray.open_zarr(path)
    assert plain.trace.dims == ("a", "coupling")
    assert plain.a.attrs["long_name"].startswith("growth")
    assert "OK" in plain.status.attrs["flag_meanings"]
    attrs = plain.attrs
    assert attrs["definition"]["model"] == "StuartLandau"
    assert attrs["definition"]["design"]["seed"] == 0
    assert attrs["versions"]["ngnmm_jax"] == ng.__version__
    assert zarr.open_group(path)["trace"].chunks == (1, 5)
    # Called again, nothing is computed; whatever block the caller does not ask for.
    blocks = counted(monkeypatch)
    same(ng.sweep(network, DESIGN, rest, store=path), serial)
    assert blocks == []


def test_an_interrupted_sweep_goes_on(network, serial, tmp_path, monkeypatch):
    path, compute = tmp_path / "sweep.zarr", running.Task.compute

    def interrupted(self, number):
        if number == 3:
            raise KeyboardInterrupt
        return compute(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(running.Task, "compute", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ng.sweep(network, DESIGN, rest, store=path, block=5)
    partial = ng.open_sweep(path)
    assert (partial.block_digest.values[:BLOCKS] != 0).sum() == 3
    np.testing.assert_array_equal(partial.trace[:3], serial.trace[:3])
    assert np.isnan(partial.trace[3:]).all()
    blocks = counted(monkeypatch)
    same(ng.sweep(network, DESIGN, rest, store=path), serial)
    assert blocks == [3, 4, 5, 6, 7]


def chunk(path, name, number):
    return path / name / "c" / str(number) / "0"


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "mark"])
def test_damage_is_found_and_mended(network, serial, tmp_path, monkeypatch, damage):
    path = tmp_path / "sweep.zarr"
    ng.sweep(network, DESIGN, rest, store=path, block=5)
    file = chunk(path, "trace", 4)
    data = file.read_bytes()
    if damage == "flip":
        middle = len(data) // 2
        file.write_bytes(data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :])
    elif damage == "cut":
        file.write_bytes(data[: len(data) // 2])
    elif damage == "gone":
        file.unlink()
    else:
        (path / "block_digest" / "c" / "4").write_bytes(b"nonsense")
    blocks = counted(monkeypatch)
    with pytest.warns(UserWarning, match="is damaged"):
        mended = ng.sweep(network, DESIGN, rest, store=path)
    assert blocks == [4]
    same(mended, serial)


def test_other_sweeps_are_refused(network, tmp_path):
    path = tmp_path / "sweep.zarr"
    ng.sweep(network, DESIGN, rest, store=path, block=5)
    moved = ng.Design.grid({"a": np.linspace(0, 14, 8), "coupling": [0.0, 1.0]})

    def other(network, seed):
        return {"trace": network.coupling, "seed": seed * 1.0}

    for changed, words in (
        ((network.with_parameters(omega=9.0), DESIGN, rest), "differs in parameters"),
        ((network, moved, rest), "differs in design"),
        ((network, DESIGN, other), "differs in .*measure"),
        ((network, DESIGN, ng.Stability()), "differs in .*measure"),
    ):
        with pytest.raises(ValueError, match=words):
            ng.sweep(*changed, store=path)
    with pytest.raises(ValueError, match="`block` must be the store's, 5"):
        ng.sweep(network, DESIGN, rest, store=path, block=10)


class Times(AbstractMeasure):
    """The growth, times what its fields make of it; its definition does not name them."""

    factor = 1.0

    def __init__(self, by=1.0, function=None, key=None):
        self.by, self.function, self.key = by, function, key

    def outputs(self, system):
        return {"value": Output()}

    def evaluate(self, system, points, seeds, chunk):
        self._calls = seeds.size  # private: decides nothing
        value = points["a"] * np.sum(self.by) * self.factor
        return {"value": value, "status": np.zeros(seeds.size)}

    def definition(self, system):
        return {"measure": "times"}


def test_a_measures_fields_decide_its_store(network, tmp_path, monkeypatch):
    growth, store = {"a": [1.0, 2.0]}, tmp_path / "times.zarr"
    measure = Times(np.array([1.0, 2.0]))
    for _ in range(2):
        assert ng.sweep(network, growth, measure, store=store).value.values.tolist() == [3.0, 6.0]
    for other in (Times(), Times(np.array([1.0, 4.0]))):
        with pytest.raises(ValueError, match=r"differs in .*measure_fields"):
            ng.sweep(network, growth, other, store=store)
    monkeypatch.setattr(Times, "factor", 2.0)
    with pytest.raises(ValueError, match=r"differs in .*measure_fields"):
        ng.sweep(network, growth, measure, store=store)
    with pytest.raises(ValueError, match=r"`measure` must have fields .* `function` is an object"):
        ng.sweep(network, growth, Times(1.0, slow), store=tmp_path / "other.zarr")
    keyed = tmp_path / "keyed.zarr"
    ng.sweep(network, growth, Times(1.0, slow, "a"), store=keyed)
    with pytest.raises(ValueError, match=r"differs in .*measure_fields"):
        ng.sweep(network, growth, Times(1.0, slow, "b"), store=keyed)


def test_other_folders_are_refused(network, tmp_path):
    (tmp_path / "file.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds something else"):
        ng.sweep(network, DESIGN, rest, store=tmp_path)
    assert (tmp_path / "file.txt").read_text() == "mine"
    with pytest.raises(ValueError, match="`store` must be the folder of a sweep"):
        ng.open_sweep(tmp_path)
    path = tmp_path / "foreign.zarr"
    zarr.create_group(path, attributes={"mine": 1})
    with pytest.raises(ValueError, match="holds something else"):
        ng.sweep(network, DESIGN, rest, store=path)


# ------------------------------------------------------------------- other processes


def dies(network, seed):
    os._exit(1)


def test_a_pool_of_processes(network, serial, tmp_path):
    """The sweep is the same; and where its processes die, it says so."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        pooled = ng.sweep(network, DESIGN, rest, block=5, executor=pool)
        same(pooled, serial, rtol=1e-14)
        path = tmp_path / "sweep.zarr"
        same(ng.sweep(network, DESIGN, rest, block=10, executor=pool, store=path), pooled)
        measure = Function(dies, traced=False, key="dies")
        object.__setattr__(measure, "outputs", lambda _: {})
        options = {"block": 5, "store": tmp_path / "s.zarr", "executor": pool}
        with pytest.raises(RuntimeError, match=r"blocks failed, .*BrokenProcessPool.*call again"):
            ng.sweep(network, DESIGN, measure, **options)


class Killer(threading.Thread):
    """Kills a process once a few blocks of a sweep are finished."""

    def __init__(self, path, pid):
        super().__init__(daemon=True)
        self.path, self.pid, self.finished = path, pid, None

    def run(self):
        while True:
            time.sleep(0.02)
            if not (self.path / "zarr.json").exists():
                continue
            digests = zarr.open_group(self.path, mode="r")["block_digest"][...]
            done = int((digests != 0).sum())
            if done == digests.size:
                return
            if done >= 3:
                self.finished = done
                os.kill(self.pid, signal.SIGKILL)
                return


@pytest.mark.slow
def test_dask_with_a_worker_killed(small, tmp_path):
    """A cluster of worker processes, one of them killed in the middle: complete, and equal."""
    distributed = pytest.importorskip("distributed")
    network = ng.Network(ng.NextGenEI(), small, 5.0)
    measure = ng.Activity(duration=100.0, transient=0.0, keep=("mean", "maximum"), dt=0.1)
    design = ng.Design.grid({"i_ext_e": np.linspace(0, 14, 8), "coupling": np.linspace(0, 10, 32)})
    path = tmp_path / "sweep.zarr"
    with (
        distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        pids = list(client.run(os.getpid).values())
        killer = Killer(path, pids[0])
        killer.start()
        stored = ng.sweep(
            network, design, measure, store=path, block=8, checks=2, executor=client.get_executor()
        )
        killer.join()
        assert killer.finished is not None, "the sweep ended before the worker was killed"
        assert 0 < killer.finished < 32
    same(stored, ng.sweep(network, design, measure, block=8, checks=2), rtol=1e-9)
