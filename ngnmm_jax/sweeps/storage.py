"""Where a sweep's results lie: a store whose files are those of an xarray dataset in Zarr.

A sweep is cut into blocks, boxes of its grid that are whole Zarr chunks, so that a block is a file
of each quantity. What Zarr needs beside them (types, names, units, coordinates) is the layout,
which the store keeps like a block. See `ngnmm_jax._core.store` for what it promises.
"""

import contextlib
import hashlib
import itertools
import json
import math
import threading
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.records import Damaged
from ngnmm_jax._core.status import Status
from ngnmm_jax._core.store import Store, is_store
from ngnmm_jax.sweeps.outputs import Output

#: Digests of the blocks (block,), zero for what is not finished; the last is the error estimate's.
DIGESTS = "block_digest"
#: The dimension of the error estimate, and what it adds to an output's name.
CHECK, DISCREPANCY = "check", "_discrepancy"
#: A sweep's title, and what it is to the store.
TITLE, WHAT = "ngnmm_jax sweep", "sweep"
_LAYOUT = "layout"
Coordinates = dict[str, tuple[tuple[str, ...], Any, dict[str, Any]]]


class Blocks:
    """A grid (C order) cut into boxes of at most `size` points: whole lines, planes, …

    - `whole`: the axis along which boxes are whole, however long it is.
    - `late`: the axis along which they are cut first.
    """

    def __init__(
        self, shape: tuple[int, ...], size: int, whole: int | None = None, late: int | None = None
    ) -> None:
        self.shape = shape
        box = dict.fromkeys(range(len(shape)), 1)
        order = sorted(reversed(range(len(shape))), key=lambda k: (k != whole, k == late))
        for k in order:
            box[k] = min(shape[k], max(1, size // math.prod(box.values())))
            if k == whole:
                box[k] = shape[k]
        self.box = tuple(box.values())
        counts = [-(-n // b) for n, b in zip(shape, self.box, strict=True)]
        self.corners = list(itertools.product(*(range(n) for n in counts)))

    def __len__(self) -> int:
        return len(self.corners)

    def region(self, number: int) -> tuple[slice, ...]:
        """Where a block lies in the grid."""
        return tuple(
            slice(k * b, min((k + 1) * b, n))
            for k, b, n in zip(self.corners[number], self.box, self.shape, strict=True)
        )

    def runs(self, number: int) -> tuple[np.ndarray, tuple[int, ...]]:
        """Indices (run,) of a block's points in C order, and the block's shape."""
        ranges = [np.arange(s.start, s.stop) for s in self.region(number)]
        grid = np.meshgrid(*ranges, indexing="ij")
        return np.ravel_multi_index([g.ravel() for g in grid], self.shape), grid[0].shape


class SweepStore:
    """The store of one sweep. It can be pickled, for workers."""

    def __init__(self, path: Path) -> None:
        _checks.require_module("zarr", "data")
        self.path = path
        self._layout: dict[str, bytes] = {}

    @property
    def store(self) -> Store:
        """The engine, once there is a sweep."""
        return self._store

    @property
    def block(self) -> int | None:
        """The size of the blocks of a store that is there."""
        with contextlib.suppress(ValueError):
            return int(Store.open(self.path)[1]["block"])
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            text = (self.path / "zarr.json").read_text(encoding="utf-8")
            return int(json.loads(text)["attributes"]["block"])
        return None

    def create(
        self,
        names: tuple[str, ...],
        blocks: Blocks,
        outputs: dict[str, Output],
        checks: int,
        coordinates: Coordinates,
        attrs: dict[str, Any],
    ) -> None:
        """Make the store, or see that the one that is there belongs to the same sweep."""
        known = self.block
        if known not in (None, attrs["block"]):
            _checks.fail("block", f"be the store's, {known}", f"it is {attrs['block']}")
        for name in (*outputs, *coordinates):
            if "/" in name or name.startswith((".", "__")):
                _checks.fail("measure", "give names that a folder can have", f"{name!r} is none")
        kinds = {
            name: [list(o.dims), list(o.shape), str(o.dtype), dict(o.attrs)]
            for name, o in outputs.items()
        }
        decided = {**attrs["definition"], "block": attrs["block"], "checks": checks,
                   "outputs": kinds}  # fmt: skip
        facts = {name: value for name, value in attrs.items() if name != "definition"}
        self._store = Store(self.path, WHAT, decided, facts)
        attrs = {**self._store.facts, "definition": attrs["definition"]}
        attrs["coordinate_names"] = list(coordinates)
        self._layout = _layout(names, blocks, outputs, checks, coordinates, attrs)

        def find(name: str) -> Any:
            return self._store.get(name)

        def make(name: str) -> None:
            self._store.put(name, self._layout)

        for _ in self._store.finish([_LAYOUT], find, make):
            pass

    def finished(self, numbers: Iterable[int]) -> set[int]:
        """Blocks whose files are what their records say."""
        return {number for number in numbers if self.whole(number)}

    def whole(self, number: int) -> bool:
        """Whether a block is finished and undamaged; what else there is to say, `find` says."""
        with contextlib.suppress(Damaged):
            return self._store.get(number, mend=False) is not None
        return False

    def find(self, number: int) -> bool | None:
        """True for a finished block; damage is said, and the block forgotten."""
        return None if self._store.get(number) is None else True

    def write(self, number: int, blocks: Blocks, fields: dict[str, np.ndarray]) -> None:
        """Keep a finished block (box, …), or the discrepancies (check, …)."""
        import zarr

        memory = _memory(self._layout)
        before = set(memory)
        group: Any = zarr.open_group(_store(memory), mode="r+", use_consolidated=False)
        for name, value in fields.items():
            if number == len(blocks):
                group[name + DISCREPANCY][...] = value
            else:
                group[name][blocks.region(number)] = value
        group[DIGESTS][number] = _digest(self._store.identity, number, fields)
        written = {k: v.to_bytes() for k, v in memory.items() if k not in before}
        marks = [name for name in written if name.startswith(DIGESTS + "/")]
        self._store.put(number, written, loose=marks)

    def dataset(self, good: Iterable[str] | None = None) -> Any:
        """The dataset, read lazily; where `good` is given, of other chunks as of none."""
        xarray = _checks.require_module("xarray", "data")
        place: Any = self.path
        if good is not None:
            from zarr.storage import LocalStore

            from ngnmm_jax.sweeps.hidden import Hidden

            place = Hidden(LocalStore(self.path, read_only=True), frozenset(good))
        dataset = xarray.open_zarr(place, chunks=None, consolidated=True)
        known = set(dataset.attrs.pop("coordinate_names", ()))
        return dataset.set_coords([name for name in dataset.data_vars if name in known])


def open_sweep(store: str | Path, *, check: bool = True) -> Any:
    """The dataset of a sweep, finished or not, read lazily.

    What is not finished holds fill values, and its `status` is NOT_COMPUTED; `block_digest` is zero
    there. With `check` every file is read once and compared with its digest: damaged blocks are
    said, by a warning, and count as not finished. Without, they are as they are on the disk.
    Raises `ValueError` where there is no sweep, or where the names, units, coordinates or the
    definition are damaged: the call of `sweep` that made it mends them.
    """
    path = _checks.path("store", store)
    if not is_store(path):
        _checks.fail("store", "be the folder of a sweep", f"there is none in {str(path)!r}")
    kept, definition = Store.open(path)
    if kept.what != WHAT:
        _checks.fail("store", "be the folder of a sweep", f"{str(path)!r} holds a {kept.what}")
    mend = "The same call of `sweep` mends it."
    try:
        layout = kept.get(_LAYOUT, mend=False)
    except Damaged as error:
        raise ValueError(f"{error}. {mend}") from error
    if layout is None:
        raise ValueError(f"The sweep in {str(path)!r} has no layout yet, or lost it. {mend}")
    good, damaged, count = set(layout), [], 0
    for number in kept.numbers():
        try:
            found = kept.get(number, mend=False) if check else kept.names(number)
        except Damaged as error:
            damaged.append(f"block {number}: {error}")
            continue
        good |= set(found or ())
        count += found is not None
    if damaged:
        warnings.warn(
            f"{len(damaged)} blocks of {str(path)!r} are damaged and count as not computed, "
            f"{damaged[0]}. {mend}",
            stacklevel=2,
        )
    blocks = json.loads(layout[f"{DIGESTS}/zarr.json"])["shape"][0] - 1
    whole = count == blocks + (definition["checks"] > 0)
    return SweepStore(path).dataset(None if whole else good)


def discrepancies(dataset: Any) -> list[dict[str, Any]]:
    """How exact a sweep's summaries are, a row each: as half the step tells it.

    `median` and `largest` absolute difference over the checked runs (and regions, …), and `spread`,
    the summary's standard deviation over the sweep, in the summary's unit. Where runs are chaotic,
    differences are those of two samples of the same length.
    """
    rows = []
    found = (str(k) for k in dataset.data_vars)
    for name in (k.removesuffix(DISCREPANCY) for k in found if k.endswith(DISCREPANCY)):
        value = np.abs(dataset[name + DISCREPANCY].values.astype(float))
        rows.append(
            {
                "summary": name,
                "units": dataset[name].attrs.get("units", ""),
                "median": float(np.nanmedian(value)),
                "largest": float(np.nanmax(value)),
                "spread": float(np.nanstd(dataset[name].values.astype(float))),
            }
        )
    return rows


def _layout(
    names: tuple[str, ...],
    blocks: Blocks,
    outputs: dict[str, Output],
    checks: int,
    coordinates: Coordinates,
    attrs: dict[str, Any],
) -> dict[str, bytes]:
    """All files of a Zarr group that has no block yet, by name."""
    import zarr

    memory: dict[str, Any] = {}
    with _quiet():
        group = zarr.create_group(_store(memory), attributes=attrs)
        for name, output in outputs.items():
            shape, chunks = (*blocks.shape, *output.shape), (*blocks.box, *output.shape)
            dims = (*names, *output.dims)
            _array(group, name, shape, chunks, output.dtype, dims, output.attrs)
            if checks and name != "status":
                shape = (checks, *output.shape)
                given = {**output.attrs, "comment": "value less that with half the step"}
                dims = (CHECK, *output.dims)
                _array(group, name + DISCREPANCY, shape, shape, output.dtype, dims, given)
        for name, (dims, value, given) in coordinates.items():
            array = np.asarray(value)
            _array(group, name, array.shape, array.shape, array.dtype, dims, given)[...] = array
        _array(group, DIGESTS, (len(blocks) + 1,), (1,), "uint64", ("block",), {})
        zarr.consolidate_metadata(_store(memory))
    return {name: value.to_bytes() for name, value in memory.items()}


def _array(
    group: Any,
    name: str,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: Any,
    dims: tuple[str, ...],
    attrs: Any,
) -> Any:
    from zarr.codecs import ZstdCodec

    kind = np.dtype(dtype).kind
    nothing: Any = np.nan if kind == "f" else "" if kind == "U" else 0
    return group.create_array(
        name,
        shape=shape,
        chunks=tuple(max(1, c) for c in chunks),
        dtype=dtype,
        dimension_names=list(dims),
        fill_value=Status.NOT_COMPUTED.value if name == "status" else nothing,
        attributes=dict(attrs),
        # Any reader then sees damage.
        compressors=[ZstdCodec(level=0, checksum=True)],
        config={"write_empty_chunks": True},
    )


def _memory(files: dict[str, bytes]) -> dict[str, Any]:
    from zarr.core.buffer import default_buffer_prototype

    buffer = default_buffer_prototype().buffer
    return {name: buffer.from_bytes(data) for name, data in files.items()}


def _store(memory: dict[str, Any]) -> Any:
    from zarr.storage import MemoryStore

    return MemoryStore(memory)


def _digest(identity: str, number: int, fields: dict[str, np.ndarray]) -> int:
    """64 bits of a block's number and its fields' names, types, shapes and bytes; never zero."""
    total = hashlib.blake2b(f"{identity} {number}".encode(), digest_size=8)
    for name in sorted(fields):
        value = np.ascontiguousarray(fields[name])
        total.update(f" {name} {value.dtype.str} {value.shape} ".encode())
        total.update(value.tobytes())
    return int.from_bytes(total.digest(), "little") or 1


_ONE_AT_A_TIME = threading.Lock()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Zarr warns that strings, of which our labels are made, may change in its format.

    One thread at a time: filters of warnings are the process's.
    """
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
