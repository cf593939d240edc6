"""What the parts of `benchmarks.gpu` share: a record that is on disk at any time, and timing."""

import dataclasses
import json
import math
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


class Skip(Exception):
    """A part that cannot run here; its text is the reason."""


@dataclasses.dataclass(frozen=True)
class Size:
    """How much is computed: on a GPU, in a quick look at one, or in a rehearsal.

    - `regions`; `runs`: of a sweep at a time; `duration` of its runs, ms; `methods`: name and step.
    - `profiled`: runs whose program is looked at.
    - `works`: which of the three sizes of an analysis, and `repeats` of everything.
    - `named`: parts of names, of which analyses are wanted, in this order; none: all.
    """

    regions: int
    runs: tuple[int, ...]
    duration: float
    methods: tuple[tuple[str, float], ...]
    bits: tuple[int, ...]
    profiled: int
    works: str
    repeats: int
    named: tuple[str, ...] = ()

    def chosen(self, names: Iterable[str]) -> list[str]:
        """Those of the names that are wanted."""
        names = list(names)
        if not self.named:
            return names
        found = [name for part in self.named for name in names if part in name]
        if not found:
            raise Skip(f"no name has {' or '.join(self.named)}; there are {'; '.join(names)}")
        return list(dict.fromkeys(found))


_METHODS = (("moebius", 0.1), ("rk4", 0.05))
SIZES = {
    "full": Size(90, (64, 512, 4096, 16_384, 65_536), 64.0, _METHODS, (32, 64), 4096, "full", 3),
    "quick": Size(90, (64, 512), 16.0, _METHODS, (32, 64), 64, "quick", 2),
    "tiny": Size(6, (4,), 16.0, _METHODS[:1], (32,), 4, "tiny", 1),
}


class Record:
    """What a part has found: a status, rows and values, kept in a JSON file after each change."""

    def __init__(self, path: Path, seconds: float) -> None:
        self.path = path
        self._begun = time.monotonic()
        self._until = self._begun + seconds
        self.data: dict[str, Any] = {"status": "running", "rows": []}
        self._save()

    @property
    def left(self) -> float:
        """Seconds that the part may still take."""
        return self._until - time.monotonic()

    def plan(self, names: Iterable[str]) -> None:
        """What is to be done, so that a part that is stopped can say what it did not begin."""
        self.put(plan=list(names))

    def begin(self, name: str) -> None:
        """Of the plan, what is done now."""
        self.put(now=name, plan=[other for other in self.data["plan"] if other != name])

    def row(self, **values: Any) -> None:
        """One more row."""
        self.data["rows"].append(values)
        self._save()

    def put(self, **values: Any) -> None:
        """Values beside the rows."""
        self.data |= values
        self._save()

    def close(self, status: str, reason: str = "") -> None:
        """How the part ended: "ok", "failed" or "skipped", and why."""
        self.data = {k: v for k, v in self.data.items() if k not in ("plan", "now")}
        self.put(status=status, reason=reason, seconds=time.monotonic() - self._begun)

    def _save(self) -> None:
        write_json(self.path, self.data)


def write_json(path: Path, data: Any) -> None:
    """A whole file at any time; numbers that are not finite become null."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(_plain(data), indent=1, allow_nan=False), encoding="utf-8")
    os.replace(part, path)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


# Of this process: what XLA compiled so far, and whether anybody counts.
_SPENT = {"seconds": 0.0, "programs": 0, "listening": 0}
_COMPILE = "/jax/core/compile/backend_compile_duration"


def _listen(event: str, duration_secs: float, **_: Any) -> None:
    if event == _COMPILE:
        _SPENT["seconds"] += duration_secs
        _SPENT["programs"] += 1


def timed(work: Callable[[], Any], repeats: int, patience: float = 5.0) -> dict[str, Any]:
    """Seconds of a call's first time and of its best later one, and what XLA compiled for it.

    `compile` are XLA's own seconds, `programs` how many it compiled; the rest of the difference
    between first and later times is tracing. Repeats end after `patience` seconds. `finite` is the
    share of the results' numbers that are.
    """
    import jax

    if not _SPENT["listening"]:
        jax.monitoring.register_event_duration_secs_listener(_listen)
        _SPENT["listening"] = 1
    before = dict(_SPENT)
    begun = time.perf_counter()
    result = jax.block_until_ready(work())
    first = time.perf_counter() - begun
    found: dict[str, Any] = {
        "first": first,
        "compile": _SPENT["seconds"] - before["seconds"],
        "programs": _SPENT["programs"] - before["programs"],
        "finite": finite_share(result),
    }
    times: list[float] = []
    while len(times) < repeats and sum(times) < patience:
        begun = time.perf_counter()
        jax.block_until_ready(work())
        times.append(time.perf_counter() - begun)
    return {**found, "again": min(times, default=None), "repeats": len(times)}


def finite_share(result: Any) -> float:
    """Which part of all floating-point numbers of a PyTree is finite."""
    import jax
    import numpy as np

    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(result) if hasattr(leaf, "dtype")]
    kept = [np.isfinite(leaf).ravel() for leaf in leaves if leaf.dtype.kind in "fc"]
    return float(np.concatenate(kept).mean()) if kept else 1.0
