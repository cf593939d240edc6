"""Where a sweep's results lie: an xarray dataset in Zarr that survives whatever happens.

A sweep is cut into blocks, boxes of its grid that are whole Zarr chunks. A block counts once its
digest is written, which is after its data; on resuming, the digest is checked against the data.
"""

import contextlib
import hashlib
import itertools
import json
import math
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ngnmm_jax import _checks
from ngnmm_jax._store import differences
from ngnmm_jax.sweeps.measures import Output

#: Digests of the blocks (block,), zero for what is not finished; the last is the error estimate's.
DIGESTS = "block_digest"
#: The dimension of the error estimate, and what it adds to an output's name.
CHECK, DISCREPANCY = "check", "_discrepancy"


class Blocks:
    """A grid (C order) cut into boxes of at most `size` points: whole lines, planes, …"""

    def __init__(self, shape: tuple[int, ...], size: int) -> None:
        self.shape = shape
        box: list[int] = []
        for n in reversed(shape):
            box.append(min(n, max(1, size // math.prod(box))))
        self.box = tuple(reversed(box))
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
    """The Zarr store of one sweep."""

    def __init__(self, path: Path) -> None:
        self.zarr = _checks.require_module("zarr", "data")
        self.path = path

    @property
    def block(self) -> int | None:
        """The size of the blocks of a store that is there."""
        try:
            return int(self._open("r").attrs["block"])
        except (KeyError, ValueError, OSError):
            return None

    def create(
        self,
        names: tuple[str, ...],
        blocks: Blocks,
        outputs: dict[str, Output],
        checks: int,
        coordinates: dict[str, tuple[tuple[str, ...], Any, dict[str, Any]]],
        attrs: dict[str, Any],
    ) -> None:
        """Make the arrays, or see that those that are there belong to the same sweep."""
        if (self.path / "zarr.json").exists():
            self._same(attrs["definition"])
            if self.block != attrs["block"]:
                _checks.fail("block", f"be the store's, {self.block}", f"it is {attrs['block']}")
            return
        if self.path.exists() and any(self.path.iterdir()):
            _checks.fail(
                "store", "be a new folder or a sweep", f"{str(self.path)!r} holds something else"
            )
        # Made elsewhere and then renamed: what has this name is whole.
        part = self.path.with_name(self.path.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        with _quiet():
            group = self.zarr.create_group(
                part, attributes={**attrs, "coordinate_names": list(coordinates)}
            )
            for name, output in outputs.items():
                self._array(
                    group,
                    name,
                    (*blocks.shape, *output.shape),
                    (*blocks.box, *output.shape),
                    output.dtype,
                    (*names, *output.dims),
                    output.attrs,
                )
                if checks and name != "status":
                    shape = (checks, *output.shape)
                    attrs_ = {**output.attrs, "comment": "value less that with half the step"}
                    dims = (CHECK, *output.dims)
                    self._array(group, name + DISCREPANCY, shape, shape, output.dtype, dims, attrs_)
            for name, (dims, value, given) in coordinates.items():
                array = np.asarray(value)
                made = self._array(group, name, array.shape, array.shape, array.dtype, dims, given)
                made[...] = array
            count = len(blocks) + 1
            self._array(group, DIGESTS, (count,), (1,), "uint64", ("block",), {})
            self.zarr.consolidate_metadata(part)
        os.replace(part, self.path)

    def _array(
        self,
        group: Any,
        name: str,
        shape: tuple[int, ...],
        chunks: tuple[int, ...],
        dtype: Any,
        dims: tuple[str, ...],
        attrs: Any,
    ) -> Any:
        kind = np.dtype(dtype).kind
        return group.create_array(
            name,
            shape=shape,
            chunks=tuple(max(1, c) for c in chunks),
            dtype=dtype,
            dimension_names=list(dims),
            fill_value=np.nan if kind == "f" else "" if kind == "U" else 0,
            attributes=dict(attrs),
            config={"write_empty_chunks": True},
        )

    def _open(self, mode: str = "r+") -> Any:
        return self.zarr.open_group(self.path, mode=mode, use_consolidated=False)

    def _same(self, definition: dict[str, Any]) -> None:
        try:
            known = dict(self._open("r").attrs)["definition"]
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(
                f"The store {str(self.path)!r} is damaged or no sweep ({error!r}): remove it to "
                "start again."
            ) from error
        wanted = json.loads(json.dumps(definition))
        detail = differences(known, wanted)
        if detail:
            _checks.fail("store", "hold the same sweep", f"{str(self.path)!r} differs in {detail}")

    def finished(self, blocks: Blocks, outputs: dict[str, Output]) -> set[int]:
        """Blocks whose data are what their digests say; damaged ones are said, and forgotten."""
        group = self._open()
        try:
            digests = group[DIGESTS][...]
        except Exception:  # what a codec raises for damaged bytes is not documented
            digests = self._readable_digests(group)
        good = set()
        for number in np.flatnonzero(digests):
            try:
                found = _digest(self._read(group, int(number), blocks, outputs))
            except Exception:
                found = 0
            if found == int(digests[number]):
                good.add(int(number))
                continue
            group[DIGESTS][number] = 0
            warnings.warn(
                f"Block {number} of {self.path} is damaged and is computed again.", stacklevel=2
            )
        return good

    def _readable_digests(self, group: Any) -> np.ndarray:
        array = group[DIGESTS]
        values = np.zeros(array.shape, dtype=np.uint64)
        for k in range(values.size):
            try:
                values[k] = array[k]
            except Exception:
                warnings.warn(
                    f"The mark of block {k} of {self.path} is damaged; it is computed again.",
                    stacklevel=3,
                )
                array[k] = 0
        return values

    def _read(
        self, group: Any, number: int, blocks: Blocks, outputs: dict[str, Output]
    ) -> dict[str, np.ndarray]:
        if number == len(blocks):
            return {n: group[n + DISCREPANCY][...] for n in outputs if n != "status"}
        region = blocks.region(number)
        return {name: group[name][region] for name in outputs}

    def write(self, number: int, blocks: Blocks, fields: dict[str, np.ndarray]) -> None:
        """Keep a finished block (box, …), or the discrepancies (check, …)."""
        group = self._open()
        if number == len(blocks):
            for name, value in fields.items():
                group[name + DISCREPANCY][...] = value
        else:
            for name, value in fields.items():
                group[name][blocks.region(number)] = value
        self._sync(fields, number, blocks)
        group[DIGESTS][number] = _digest(fields)

    def _sync(self, fields: dict[str, np.ndarray], number: int, blocks: Blocks) -> None:
        """The block's files are on the disk before its digest is."""
        for name in fields:
            folder = self.path / (name + DISCREPANCY if number == len(blocks) else name) / "c"
            place = blocks.corners[number] if number < len(blocks) else ()
            for path in _files(folder.joinpath(*map(str, place))):
                with path.open("rb") as file:
                    os.fsync(file.fileno())

    def dataset(self) -> Any:
        """The dataset, read lazily."""
        xarray = _checks.require_module("xarray", "data")
        dataset = xarray.open_zarr(self.path, chunks=None, consolidated=True)
        known = set(dataset.attrs.pop("coordinate_names", ()))
        return dataset.set_coords([name for name in dataset.data_vars if name in known])


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    elif path.is_dir():
        yield from (p for p in path.rglob("*") if p.is_file())


def _digest(fields: dict[str, np.ndarray]) -> int:
    """64 bits of the fields' bytes, never zero."""
    total = hashlib.blake2b(digest_size=8)
    for name in sorted(fields):
        total.update(name.encode())
        total.update(np.ascontiguousarray(fields[name]).tobytes())
    return int.from_bytes(total.digest(), "little") or 1


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Zarr warns that strings, of which our labels are made, may change in its format."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
