"""The one store of all long work: shared, sealed, without pickle; nothing silent, nothing lost."""

import contextlib
import errno
import json
import multiprocessing
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
import traceback
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from unittest import mock

import numpy as np
import optax
import pytest

import ngnmm_jax as ng
from ngnmm_jax._core import files
from ngnmm_jax._core.records import Damaged
from ngnmm_jax._core.store import MARK, Store, in_blocks, remove
from ngnmm_jax.sweeps import AbstractMeasure, Output

ROOT = Path(__file__).resolve().parents[1]

# ---------------------------------------------------------------- users of the store


class Cheap(AbstractMeasure):
    """A measure that needs no compiling."""

    def outputs(self, system):
        return {"sum": Output(units="1/ms"),
                "parts": Output(("part",), (2,))}  # fmt: skip

    def coordinates(self, system):
        return {"part": (np.array(["low", "high"]), {"long_name": "which part"})}

    def evaluate(self, system, points, seeds, chunk):
        parts = np.stack([points["a"], points["coupling"]], axis=-1)
        status = np.where(points["coupling"] > 9, ng.Status.NOT_FINITE, ng.Status.OK)
        return {"sum": parts.sum(axis=-1), "parts": parts, "status": status.astype(np.int8)}

    def definition(self, system):
        return {"measure": "cheap"}


DESIGN = ng.Design.grid({"a": np.linspace(0, 14, 8), "coupling": np.linspace(0, 10, 5)})


def network(coupling=0.0, connectome=ng.Connectome(np.array([[0, 1.0], [1, 0]]))):  # noqa: B008
    return ng.Network(ng.StuartLandau(omega=1.0), connectome, coupling)


def arrays_of(dataset):
    return {str(name): dataset[name].values for name in (*dataset.data_vars, *dataset.coords)}


def sweep(store, **options):
    data = ng.sweep(network(), DESIGN, Cheap(), store=store, block=5, progress=False, **options)
    found = arrays_of(data)
    found.pop("block_digest", None)
    return found


def tiny(store, value=1.5, total=40):
    def work(items, say):
        return {"a": items * value, "b": np.stack([items, -items], axis=1)}

    return in_blocks(
        total, 5, work, store=store, definition=lambda: {"value": value}, progress=False, what="map"
    )


def dispersion(store):
    axes = {"a": np.array([3.0, 8.0, 12.0]), "coupling": np.array([2.0, 6.0, 9.0, 12.5])}
    found = ng.dispersion_map(network(), axes, oscillations=False, chunk=1, store=store)
    return {name: getattr(found, name) for name in ("kind", "states", "growth_transverse")}


def lyapunov(store):
    axes = {"a": np.linspace(1.0, 2.0, 6), "coupling": [0.5]}
    inner = network().homogeneous()
    times = {"duration": 20.0, "transient": 10.0, "chunk": 2}
    found = ng.lyapunov_map(inner, axes, 2, store=store, **times).spectra
    return {name: np.asarray(getattr(found, name)) for name in ("exponents", "status")}


def bowl(s, key):
    return {"a": (s.coupling - 4.0) ** 2, "b": 3 * (s.model.a - 1.0) ** 2}


def fit(method, steps=16, **options):
    def run(store):
        free = {"coupling": ng.fitting.interval(0.0, 20.0), "a": ng.fitting.real()}
        common = {"steps": steps, "n_starts": 2, "method": method, "save_every": 2, "seed": 3}
        found = ng.fit(network(3.0), free, bowl, store=store, throw=False, **common, **options)
        return {"x": found.x, "loss": found.loss, **found.history}

    return run


def figure(name):
    def make(task):
        """A figure."""
        import matplotlib.pyplot as plt

        from ngnmm_jax.reproduce.task import AGREES, Row

        inner = tiny(task.folder / "blocks", total=10)
        task.save(plt.figure(figsize=(0.2, 0.2)), name)
        return [Row(name, str(inner["a"].sum()), AGREES)]

    return make


def reproduce(store, restart=False, quick=True):
    from ngnmm_jax.reproduce import run

    figures = {name: figure(name) for name in ("one", "two", "three")}
    with mock.patch.dict(run.FIGURES, figures, clear=True):
        lines = run.reproduce(
            figures, store, connectome=ng.Connectome(np.array([[0, 1.0], [1, 0]])), quick=quick,
            restart=restart, say=lambda _: None,
        )  # fmt: skip
    drawn = sorted(str(p.relative_to(store)) for p in Path(store).rglob("*.png"))
    return {"table": np.array([sorted(line.items()) for line in lines]), "png": np.array(drawn)}


USERS = {
    "tiny": tiny,
    "sweep": sweep,
    "map": dispersion,
    "lyapunov": lyapunov,
    "optax": fit("gradient"),
    "cma": fit("cma"),
    "reproduce": reproduce,
}
BLOCKS = {"tiny": 8, "sweep": 8, "map": 4, "lyapunov": 3, "reproduce": 3}
QUICK = ("tiny", "sweep", "optax", "cma", "reproduce")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """By user, a finished store, and what it holds."""
    made = {}

    def get(user):
        if user not in made:
            folder = tmp_path_factory.mktemp(user) / "store"
            made[user] = folder, USERS[user](folder)
        return made[user]

    return get


def same(one, other):
    assert set(one) == set(other)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def again(user, folder, known):
    """The same call: the same results; what was said."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        same(USERS[user](folder), known)
    return [str(w.message) for w in said]


@pytest.fixture
def copied(pristine, tmp_path):
    def get(user):
        folder, known = pristine(user)
        shutil.copytree(folder, tmp_path / user)
        return tmp_path / user, known

    return get


def all_files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_an_interruption_says_what_is_kept(tmp_path, monkeypatch):
    """Of maps and Lyapunov maps (which are both in blocks), and of sweeps."""
    calls = []

    def third(*_, **__):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return saved(*_, **__)

    saved = Store.put
    monkeypatch.setattr(Store, "put", third)
    with pytest.raises(KeyboardInterrupt, match=r"^2 of 8 blocks kept in .*map; the same call"):
        tiny(tmp_path / "map")
    calls.clear()  # a sweep's first is its layout
    with pytest.raises(KeyboardInterrupt, match=r"^1 of 8 blocks kept in .*sweep; the same call"):
        sweep(tmp_path / "sweep")
    monkeypatch.undo()
    assert sweep(tmp_path / "sweep")["status"].shape == (8, 5)


# ---------------------------------------------------------------- damage


def flip(path, generator):
    data = bytearray(path.read_bytes())
    if not data:
        return False
    bit = generator.randrange(8 * len(data))
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    return True


def flip_bits(user, count, seed, folder, known):
    """Flip a bit, call again: the same results. How many flips were said."""
    generator, said = random.Random(seed), 0
    whole = {path: path.read_bytes() for path in all_files(folder)}
    for _ in range(count):
        assert flip(generator.choice(list(whole)), generator)
        said += bool(again(user, folder, known))
        for path in all_files(folder):
            if path not in whole:
                path.unlink()
        for path, data in whole.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return said


@pytest.mark.parametrize("user", QUICK)
def test_flipped_bits_are_mended(user, copied):
    assert flip_bits(user, 3 if user in ("optax", "cma") else 6, 1, *copied(user)) >= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("user", "count"),
    [("tiny", 1500), ("sweep", 200), ("map", 40), ("lyapunov", 40), ("optax", 60), ("cma", 60),
     ("reproduce", 60)],
)  # fmt: skip
def test_many_flipped_bits(user, count, copied):
    assert flip_bits(user, count, 2, *copied(user)) > count / 5


def flips_seen_by_readers(count, seed, folder, known):
    """Flip a bit of a sweep, open it: an error, a warning, or the same; how many of each."""
    generator, ends = random.Random(seed), {"error": 0, "said": 0, "same": 0}
    attrs = ng.open_sweep(folder).attrs
    units = {n: v.attrs for n, v in ng.open_sweep(folder).variables.items()}
    paths = all_files(folder)
    for _ in range(count):
        path = generator.choice(paths)
        data = path.read_bytes()
        flip(path, generator)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", UserWarning)
            try:
                opened = ng.open_sweep(folder)
            except ValueError as error:
                named = str(error)
                ends["error"] += 1
            else:
                named = str(folder)
                found = arrays_of(opened)
                found.pop("block_digest")
                if said:  # the rest is whole, and what is damaged has its status
                    ends["said"] += 1
                    lost = found["status"] == ng.Status.NOT_COMPUTED
                    assert lost.any()
                    np.testing.assert_array_equal(found["sum"][~lost], known["sum"][~lost])
                else:
                    ends["same"] += 1
                    same(found, known)
                    assert opened.attrs == attrs
                    assert {n: v.attrs for n, v in opened.variables.items()} == units
        assert str(folder) in named
        path.write_bytes(data)
    return ends


def test_readers_see_flipped_bits(copied):
    ends = flips_seen_by_readers(25, 3, *copied("sweep"))
    assert ends["error"] > 2
    assert ends["said"] > 5


@pytest.mark.slow
def test_readers_see_many_flipped_bits(copied):
    assert flips_seen_by_readers(600, 4, *copied("sweep"))["same"] < 100


@pytest.mark.parametrize("kind", ["number", "fewer", "record", "store", "marked"])
def test_exchanged_blocks_are_refused(kind, tmp_path):
    """A file of another number, with fewer arrays, of another store: said, and computed again."""
    folder, known = tmp_path / "store", tiny(tmp_path / "store")
    mine, record = folder / "block-00003.npz", folder / MARK / "block-00003.json"
    other = tmp_path / "other"
    tiny(other, value=2.5)
    if kind == "number":
        shutil.copy(folder / "block-00002.npz", mine)
    elif kind == "fewer":
        np.savez(mine, a=known["a"][15:20])
    elif kind == "record":
        shutil.copy(folder / MARK / "block-00002.json", record)
    else:
        for path in (mine, record) if kind == "store" else (mine,):
            shutil.copy(other / path.relative_to(folder), path)
    (said,) = again("tiny", folder, known)
    assert "Block 3" in said
    assert "damaged" in said
    assert again("tiny", folder, known) == []


def test_damaged_metadata_is_rebuilt_or_named(copied):
    """The definition and the layout: by the caller who has them; else named, with what to do."""
    folder, known = copied("sweep")
    for path in (
        folder / MARK / "definition.json",
        folder / MARK / "layout.json",
        folder / "zarr.json",
        folder / "sum" / "zarr.json",
        folder / "a" / "c" / "0",
        folder / "part" / "c" / "0",
    ):
        for damage in (b"{", None):
            path.unlink()
            if damage:
                path.write_bytes(damage)
            with pytest.raises(ValueError, match=r"made it|mends it|made the store mends it"):
                ng.open_sweep(folder)
            said = again("sweep", folder, known)
            if damage or path.name != "layout.json":  # without a record there was no layout
                assert len(said) == 1
                assert str(path) in said[0]
            same(arrays_of(ng.open_sweep(folder).drop_vars("block_digest")), known)
    # Blocks of another computation do not become ours.
    (folder / MARK / "definition.json").write_text("{")
    with pytest.raises(ValueError, match=r"of another computation.*--restart"):
        ng.sweep(network(5.0), DESIGN, Cheap(), store=folder, block=5)


def test_no_pickle(copied, tmp_path):
    """Nothing of a store needs pickle, and what needs it is not read."""
    for user in ("optax", "cma", "tiny"):
        folder, known = copied(user)
        for path in folder.glob("*.npz"):
            with np.load(path, allow_pickle=False) as file:
                assert all(file[name].dtype.kind in "fiu" for name in file.files)
    # A stranger seals a block of his own.
    bad = np.array([{"run": "code"}], dtype=object)
    np.savez(folder / "block-00000.npz", a=bad, b=bad)
    kept, _ = Store.open(folder)
    kept.put(0, {}, ["block-00000.npz"])
    (said,) = again("tiny", folder, known)
    assert "allow_pickle=False" in said
    with pytest.raises(ValueError, match="allow_pickle=False"):
        kept.save(0, {"a": bad})


@pytest.mark.parametrize("user", ["optax", "cma"])
def test_a_checkpoint_that_lacks_something_is_said(user, copied):
    folder, known = copied(user)
    whole = {path: path.read_bytes() for path in all_files(folder)}
    for lacking in ("state_0", "state_asked", "history_x", "done", "seconds"):
        kept, _ = Store.open(folder)
        changed = 0
        for place in (0, 1):
            block = kept.load(place)
            changed += block.pop(lacking, None) is not None
            kept.save(place, block)
        said = again(user, folder, known)
        assert len(said) == changed
        assert all("computed again" in text for text in said)
        for path, data in whole.items():
            path.write_bytes(data)
    # An optimiser with other states, if its definition were the same.
    if user == "optax":
        block = Store.open(folder)[0].load(1)
        with mock.patch("ngnmm_jax._core.records.differences", return_value=""):
            other = fit(ng.fitting.Gradient(optimiser=optax.sgd(0.1)))
            definition = folder / MARK / "definition.json"
            kept, _ = Store.open(folder)
            kept.save(1, {n: v for n, v in block.items() if n != "state_1"})
            with pytest.warns(UserWarning, match="computed again"):
                other(folder)
            assert definition.exists()


def test_cma_leaves_numpys_generator_alone():
    np.random.seed(5)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    USERS["cma"](None)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


# ---------------------------------------------------------------- what is not finished


def test_unfinished_has_a_status(copied, tmp_path, capsys):
    folder, known = copied("sweep")
    kept, _ = Store.open(folder)
    kept.drop(2)
    (folder / MARK / "block-00004.json").unlink()  # killed before its record was written
    for path in all_files(folder / "sum"):
        assert path.name != "2" or path.parent.name != "c"
    opened = ng.open_sweep(folder)
    status = opened.status.values
    assert (status[[2, 4]] == ng.Status.NOT_COMPUTED).all()
    assert (status[[0, 1, 3, 5, 6, 7]] != ng.Status.NOT_COMPUTED).all()
    assert np.isnan(opened["sum"].values[4]).all()
    assert "NOT_COMPUTED" in opened.status.attrs["flag_meanings"]
    assert -1 in opened.status.attrs["flag_values"]
    from ngnmm_jax import plot
    from ngnmm_jax.cli.reports.sweeps import sweep_facts

    facts = sweep_facts(opened)
    assert facts["finished blocks"] == "6 of 8"
    (name,) = (name for name in facts if name.startswith("not_computed"))
    assert facts[name] == 10
    ax = plot.sweep(opened, "sum")
    assert np.ma.getmaskarray(ax.collections[0].get_array())[:, [2, 4]].all()
    same(USERS["sweep"](folder), known)


def test_leftovers_are_removed_and_the_umask_honoured(tmp_path):
    before = os.umask(0o027)
    try:
        tiny(tmp_path / "store")
    finally:
        os.umask(before)
    base = tmp_path / "store" / MARK
    modes = {stat.S_IMODE(path.stat().st_mode) for path in all_files(tmp_path)}
    assert modes == {0o640}
    for name in ("block-00001.npz.1-ab.part", "block-00001.claim"):
        (base / name).write_bytes(b"left")
    alive = base / "block-00002.npz.2-cd.part"
    with alive.open("wb") as file:  # of a living process
        assert files._lock(file.fileno())
        tiny(tmp_path / "store")
        assert [p.name for p in base.iterdir() if p.suffix != ".json"] == [alive.name]
    tiny(tmp_path / "store")
    assert all(p.suffix == ".json" for p in base.iterdir())


# ---------------------------------------------------------------- remove


@pytest.mark.parametrize("damage", ["nothing", "definition", "records", "everything", "zarr"])
@pytest.mark.parametrize("user", ["tiny", "sweep"])
def test_any_store_can_be_removed(user, damage, copied):
    folder, known = copied(user)
    base = folder / MARK
    if damage == "definition":
        (base / "definition.json").write_bytes(b"\xff")
    elif damage == "records":
        for path in base.iterdir():
            path.unlink()
    elif damage == "everything":
        for path in all_files(folder):
            path.write_bytes(b"")
    elif damage == "zarr" and user == "sweep":
        shutil.rmtree(base)
        with pytest.raises(ValueError, match="has lost"):
            USERS[user](folder)
    remove(folder)
    assert not folder.exists()
    assert again(user, folder, known) == []


def test_nothing_else_is_removed(copied, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "zarr.json").write_text("{}")
    with pytest.raises(ValueError, match="be a store, to be removed"):
        remove(tmp_path / "thesis")
    folder, _ = copied("sweep")
    for name in ("notes.txt", "my folder"):
        path = folder / name
        path.mkdir() if "folder" in name else path.write_text("mine")
        with pytest.raises(ValueError, match=f"hold nothing else.*{name}"):
            remove(folder)
        path.rmdir() if "folder" in name else path.unlink()
    remove(tmp_path / "absent")
    (tmp_path / "file").write_text("mine")
    for user in QUICK[:-1]:
        for place in ("thesis", "file"):
            with pytest.raises(ValueError, match="`store` must be"):
                USERS[user](tmp_path / place)
    assert (tmp_path / "thesis" / "zarr.json").read_text() == "{}"


def test_reproductions_restart_whatever_is_damaged(copied):
    folder, known = copied("reproduce")
    (folder / "mine.txt").write_text("mine")
    for path in all_files(folder):
        if path.name != "mine.txt":
            path.write_bytes(b"\xff")
    same(reproduce(folder, restart=True), known)
    drawn = (folder / "one" / "one.png").stat().st_mtime_ns
    assert again("reproduce", folder, known) == []
    assert (folder / "one" / "one.png").stat().st_mtime_ns == drawn
    # Small settings give way to the paper's, but not the other way.
    reproduce(folder, quick=False)
    assert (folder / "one" / "one.png").stat().st_mtime_ns > drawn
    with pytest.raises(ValueError, match="differs in quick"):
        reproduce(folder)
    assert (folder / "mine.txt").read_text() == "mine"
    # A figure whose picture is damaged is drawn again.
    (folder / "two" / "two.png").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"two\.png is damaged"):
        reproduce(folder, quick=False)
    assert (folder / "two" / "two.png").stat().st_size > 0


# ---------------------------------------------------------------- full disks


def full_disk(user, folder, known, calls):
    """The disk is full at each of these times that something goes to it; then it is not."""
    write, count = files._write, 0

    def full(part, path, data, *rest):
        nonlocal count
        count += 1
        if count in calls:
            part.write_bytes(data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(part, path, data, *rest)

    failed, tries = 0, 0
    with mock.patch.object(files, "_write", full):
        while True:
            before = progress(user, folder)
            try:
                same(USERS[user](folder), known)
                break
            except OSError as error:
                said = str(error)
            failed += 1
            assert "No space left" in said
            tries += 1
            assert tries < 40
            assert progress(user, folder) >= before - (user in ("optax", "cma"))
            assert not list(folder.rglob("*.part"))
    assert failed > 0
    assert again(user, folder, known) == []


@pytest.mark.parametrize("user", QUICK)
def test_a_full_disk(user, pristine, tmp_path):
    full_disk(user, tmp_path / "store", pristine(user)[1], {1, 3, 8, 9, 14})


def progress(user, folder):
    """How far a store is: blocks that are finished, or steps of a fit."""
    if not (folder / MARK / "definition.json").exists():
        return 0
    kept, _ = Store.open(folder)
    if user in ("optax", "cma"):
        blocks = []
        for place in (0, 1):
            with contextlib.suppress(Damaged):
                if kept.get(place, mend=False) is not None:
                    blocks.append(int(kept.load(place)["done"]))
        return max(blocks, default=0)
    names = ("one", "two", "three") if user == "reproduce" else kept.numbers()
    return sum(kept.get(name, mend=False) is not None for name in names)


# ---------------------------------------------------------------- other processes

# Children are forked from a process that has imported all, but has not started JAX.
CHILDREN = """
import sys
sys.path.insert(0, {root!r})
from tests import test_store
{call}
"""


def elsewhere(call, timeout=900):
    environment = {**os.environ, "JAX_ENABLE_X64": "1", "MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, "-c", CHILDREN.format(root=str(ROOT), call=call)],
        env=environment, capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def child(action):
    """A process that does something; damage that is said is an error in it."""
    sys.stdout.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pid = os.fork()
    if pid:
        return pid
    try:
        warnings.simplefilter("error", UserWarning)
        action()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def ended(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def keep(user, store, path, log=None):
    """Results of a user into a file; how often something was kept, into a log."""
    put = Store.put

    def logged(self, number, *rest, **more):
        put(self, number, *rest, **more)
        if log is not None and number != "layout":
            descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.write(descriptor, f"{self.folder} {number}\n".encode())
            os.close(descriptor)

    with mock.patch.object(Store, "put", logged):
        np.savez(path, **USERS[user](store))


def at_once(user, folder, processes):
    """Processes start a new store at the same time: all have the same, and nothing is done twice.

    With `processes` of -1 files cannot be locked: nothing is lost, nothing is damaged.
    """
    folder = Path(folder)
    assert ended(child(lambda: keep(user, None if user != "reproduce" else folder / "ref",
                                    folder / "known.npz"))) == 0  # fmt: skip
    unlocked, processes = processes < 0, abs(processes)
    log = folder / "log"

    def action(k):
        with mock.patch.object(files, "fcntl", None) if unlocked else contextlib.nullcontext():
            keep(user, folder / "store", folder / f"found-{k}.npz", log)

    pids = [child(lambda k=k: action(k)) for k in range(processes)]
    codes = [ended(pid) for pid in pids]
    with np.load(folder / "known.npz") as known:
        for k in range(processes):
            if codes[k] == 0:
                with np.load(folder / f"found-{k}.npz") as found:
                    same(dict(found), dict(known))
    # Whoever comes later.
    assert ended(child(lambda: keep(user, folder / "store", folder / "last.npz"))) == 0
    print(json.dumps({"codes": codes, "kept": log.read_text().split("\n")[:-1]}))


@pytest.mark.slow
@pytest.mark.parametrize("user", [user for user in USERS if user != "tiny"])
def test_eight_processes_at_once(user, tmp_path):
    (found,) = elsewhere(f"test_store.at_once({user!r}, {str(tmp_path)!r}, 8)")
    assert found["codes"] == [0] * 8
    assert len(found["kept"]) == len(set(found["kept"])) or user in ("optax", "cma")
    if user in BLOCKS and user != "reproduce":
        assert len(found["kept"]) == BLOCKS[user]


# Catching warnings, as the store does while it writes, is not for threads.
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore:The data type")
def test_two_sweeps_at_once(pristine, tmp_path, monkeypatch):
    """Both start the same new store, share its blocks, and have the same."""
    known, put, kept = pristine("sweep")[1], Store.put, []

    def logged(self, number, *rest, **more):
        time.sleep(0.02)
        put(self, number, *rest, **more)
        kept.append(number)

    monkeypatch.setattr(Store, "put", logged)
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(sweep, [tmp_path / "store"] * 2):
            same(found, known)
    assert sorted(map(str, kept)) == sorted([*"01234567", "layout"])


@pytest.mark.slow
@pytest.mark.parametrize("user", ["tiny", "sweep", "optax", "cma"])
def test_without_locks_work_is_done_twice(user, tmp_path):
    """Nothing is damaged unsaid: a child that says damage ends with 1, and the last one is well."""
    (found,) = elsewhere(f"test_store.at_once({user!r}, {str(tmp_path)!r}, -3)")
    assert 0 in found["codes"]


def killed(user, folder, kills, seed):
    """Start again and again, and kill at random moments: what was finished stays finished."""
    folder, generator = Path(folder), random.Random(seed)
    reference = folder / "ref" if user == "reproduce" else None
    assert ended(child(lambda: keep(user, reference, folder / "known.npz"))) == 0
    store, before, restarts, hits, replace = folder / "store", 0, 0, 0, os.replace

    def slow(*names):
        time.sleep(0.02)  # so that many kills fall into the writing
        replace(*names)

    def action():
        with mock.patch("os.replace", slow):
            USERS[user](store)

    begun = time.monotonic()
    assert ended(child(action)) == 0
    longest = time.monotonic() - begun
    shutil.rmtree(store)
    while hits < kills:
        pid = child(action)
        time.sleep(generator.uniform(0.1 * longest, longest))
        os.kill(pid, signal.SIGKILL)
        code = ended(pid)
        assert code in (0, -signal.SIGKILL), code
        hits += code != 0
        now = progress(user, store) if store.exists() else 0
        assert now >= before, (now, before)
        before = now
        if code == 0:  # done: another one
            shutil.rmtree(store)
            before, restarts = 0, restarts + 1
    log = folder / "log"
    assert ended(child(lambda: keep(user, store, folder / "found.npz", log))) == 0
    with np.load(folder / "known.npz") as known, np.load(folder / "found.npz") as found:
        same(dict(found), dict(known))
    kept = log.read_text().count("\n") if log.exists() else 0
    left = [p.name for p in store.rglob("*") if p.suffix in (".part", ".claim")]
    print(json.dumps({"before": before, "kept": kept, "left": left, "restarts": restarts}))


@pytest.mark.slow
@pytest.mark.parametrize("user", USERS)
def test_killed_at_random(user, tmp_path):
    """Twelve kills of each user."""
    (found,) = elsewhere(f"test_store.killed({user!r}, {str(tmp_path)!r}, 12, 7)")
    assert found["left"] == []
    if user in BLOCKS and user != "reproduce":
        assert found["before"] + found["kept"] == BLOCKS[user]


def tmpfs(user, folder, seed):
    """On a disk of its own, of which a random part is free each time."""
    folder, generator = Path(folder), random.Random(seed)
    disk = folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(disk)],
                             capture_output=True, check=False)  # fmt: skip
    if mounted.returncode:
        print(json.dumps(None))
        return
    try:
        reference = folder / "ref" if user == "reproduce" else None
        assert ended(child(lambda: keep(user, reference, folder / "known.npz"))) == 0
        store, failed, before = disk / "store", 0, 0

        def action():
            try:
                USERS[user](store)
            except OSError as error:
                print(error, file=sys.stderr)
                os._exit(3 if "No space left" in str(error) else 4)

        for _ in range(12):
            free = os.statvfs(disk).f_bavail * 4096
            fill = disk / "fill"
            fill.write_bytes(bytes(max(0, free - 4096 * generator.randrange(12))))
            code = ended(child(action))
            assert code in (0, 3), code
            failed += code == 3
            fill.unlink()
            now = progress(user, store) if (store / MARK).exists() else 0
            assert now >= before - 2 * (user in ("optax", "cma"))
            before = now
        assert ended(child(lambda: keep(user, store, folder / "found.npz"))) == 0
        with np.load(folder / "known.npz") as known, np.load(folder / "found.npz") as found:
            same(dict(found), dict(known))
        print(json.dumps(failed))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("user", USERS)
def test_a_disk_that_is_really_full(user, tmp_path):
    (failed,) = elsewhere(f"test_store.tmpfs({user!r}, {str(tmp_path)!r}, 3)")
    if failed is None:
        pytest.skip("no tmpfs can be mounted here")
    assert failed > 0


def limited(folder):
    """`ulimit -f`: a file is too large."""
    import resource

    folder = Path(folder)

    def action():
        resource.setrlimit(resource.RLIMIT_FSIZE, (450, 450))
        try:
            tiny(folder / "store")
        except OSError as error:
            os._exit(3 if "File too large" in str(error) and "call again" in str(error) else 4)

    code = ended(child(action))
    tiny(folder / "store")
    print(json.dumps(code))


def test_other_processes(tmp_path):
    """Eight at once; killed at four random moments; with a limit of the file size."""
    places = [tmp_path / name for name in ("once", "killed", "limited")]
    for place in places:
        place.mkdir()
    once, killed, limited = elsewhere(
        f"test_store.at_once('tiny', {str(places[0])!r}, 8)\n"
        f"test_store.killed('tiny', {str(places[1])!r}, 4, 7)\n"
        f"test_store.limited({str(places[2])!r})"
    )
    assert once["codes"] == [0] * 8
    assert sorted(once["kept"]) == [f"{places[0] / 'store'} {k}" for k in range(8)]
    assert killed["left"] == []
    assert killed["before"] + killed["kept"] == 8
    assert limited == 3


# ---------------------------------------------------------------- claims


def test_a_claim_blocks_nobody_for_ever(tmp_path, monkeypatch):
    """A process that was stopped shows no life: others do its work."""
    known = tiny(None)
    kept = Store(tmp_path / "store", "map", {"value": 1.5})
    monkeypatch.setattr(files, "_PATIENCE", 0.3)
    monkeypatch.setattr("ngnmm_jax._core.store._LOOK", 0.02)
    with kept.claim(3) as ours:
        assert ours
        with kept.claim(3) as theirs:
            assert not theirs
        begun = time.monotonic()
        same(tiny(tmp_path / "store"), known)
        assert time.monotonic() - begun >= 0.3
    # One that lives is waited for.
    monkeypatch.setattr(files, "_BEAT", 0.05)
    monkeypatch.setattr(files, "_HEART", files._Heart())
    pulse, path = files.Pulse(), tmp_path / "claim"
    with files.claim(path):
        for _ in range(8):
            time.sleep(0.1)
            assert not pulse.silent(path)


# ---------------------------------------------------------------- workers


def test_forked_pools_are_refused():
    contexts = [get_context("fork")]
    if multiprocessing.get_all_start_methods()[0] == "fork":
        contexts.append(None)  # what a pool does by itself, up to Python 3.13
    for context in contexts:
        with (
            ProcessPoolExecutor(1, mp_context=context) as pool,
            pytest.raises(ValueError, match=r"`executor` must start its processes anew.*spawn"),
        ):
            ng.sweep(network(), DESIGN, Cheap(), executor=pool)
    from ngnmm_jax._core import workers

    class ForkProcess:
        pass

    with (
        mock.patch("multiprocessing.current_process", ForkProcess),
        pytest.raises(RuntimeError, match="hangs in forked"),
    ):
        workers.refuse_to_be_forked()


ORPHANS = """
import os, sys, time
sys.path.insert(0, {root!r})
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from tests import test_store

if __name__ == "__main__":
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        test_store.ng.sweep(
            test_store.network(), test_store.DESIGN, test_store.Cheap(), block=20, executor=pool
        )
        print(*pool._processes, flush=True)
        time.sleep(100)
"""


@pytest.mark.slow
def test_workers_end_with_their_parent(tmp_path):
    script = tmp_path / "orphans.py"
    script.write_text(ORPHANS.format(root=str(ROOT)))
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as process:
        workers = [int(pid) for pid in process.stdout.readline().split()]
        process.kill()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert workers
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
