"""The list of figures, and the loop that makes them: into a folder, resumable, with a table."""

import contextlib
import csv
import dataclasses
import io
import json
import shutil
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

import ngnmm_jax as ng
from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.definition import definition
from ngnmm_jax._core.files import write
from ngnmm_jax._core.interrupted import keeping
from ngnmm_jax._core.records import Damaged
from ngnmm_jax._core.store import MARK, Store, is_store, remove
from ngnmm_jax.reproduce import activity, comparison, exactness, reference, states, transverse
from ngnmm_jax.reproduce.task import DIFFERS, Row, Task

#: All figures, in the order in which they are made, and what makes them.
FIGURES: dict[str, Callable[[Task], list[Row]]] = {
    "reference": reference.states_and_growth,
    "dispersion": transverse.dispersion,
    "cascade": states.cascade,
    "chaos": states.chaos,
    "activity": activity.activity,
    "modulation": activity.modulation,
    "animation": activity.animation,
    "spiking": exactness.spiking,
    "diagrams": states.diagrams,
    "map": transverse.transverse_map,
    "comparison": comparison.comparison,
    "network-chaos": activity.network_chaos,
    "plane": states.plane,
}
# What a folder of figures is to the store; a figure's file of what was found, and what is drawn.
_WHAT, _ROWS, _DRAWN = "reproduction", "rows.json", {".png", ".gif"}
_COLUMNS = ("figure", "found before", "found here", "agrees", "remark")
Record = dict[str, Any]


def summary(name: str) -> str:
    """What a figure shows, in a line."""
    return (FIGURES[name].__doc__ or "").strip().splitlines()[0]


def reproduce(
    figures: Iterable[str],
    folder: str | Path,
    *,
    connectome: ng.Connectome,
    quick: bool = False,
    restart: bool = False,
    progress: bool | None = None,
    say: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Make figures of the paper, each in a folder of its own, and a table of agreement.

    A figure that is there already, whole, is not made again; long computations inside of one go
    on from their stored blocks; processes that are given the same folder share the figures. A
    folder of another version, other settings or another connectome is refused, but for figures
    of small settings, which are forgotten where the paper's are asked for. A figure that fails
    is a line of the table, and the others are made all the same.

    **Arguments:**

    - `figures`: names, as in `FIGURES`.
    - `folder`: has, at the end, table.md and table.csv of all figures that are in it.
    - `connectome`: of the network; the paper's is "aal90".
    - `quick`: small settings, in minutes; the full ones are the paper's.
    - `restart`: make them anew; in a folder of other settings, forget all of them.
    - `progress`: as everywhere; `say`: is told what is going on.

    Returns the table's lines, by column. Raises `ValueError` for unknown names, or where the
    folder is of other settings.
    """
    _checks.require_x64("reproduce")
    folder = Path(folder)
    names = list(dict.fromkeys(figures))
    for name in names:
        _checks.one_of("figures", name, FIGURES)
    connectome = connectome.normalised()
    key = _definition(connectome, quick)
    store = _opened(folder, key, names, restart)
    places = {name: f"[{number}/{len(names)}] {name}" for number, name in enumerate(names, 1)}

    def make(name: str) -> Record:
        say(f"{places[name]}: {summary(name)}")
        record = _made(store, name, Task(connectome, quick, folder / name, progress, say))
        say(f"{places[name]}: {record['seconds']} s")
        return record

    def finished() -> int:
        return sum(store.names(name) is not None for name in names)

    with keeping(folder, "figures", len(names), finished):
        for name, _, here in store.finish(names, lambda name: _read(store, name), make):
            if not here:
                say(f"{places[name]}: there already")
            _write_table(store, connectome.name, quick)
    return _write_table(store, connectome.name, quick)


def _definition(connectome: ng.Connectome, quick: bool) -> dict[str, Any]:
    """What decides a figure: the paper's model on the connectome, with all that it shows of it."""
    network = ng.Network(ng.NextGenEI(), connectome)
    fields = {f.name: getattr(connectome, f.name) for f in dataclasses.fields(connectome)}
    return definition("figures of the paper", network, quick=quick, connectome=fields)


def _opened(folder: Path, key: dict[str, Any], names: list[str], restart: bool) -> Store:
    """The store of the figures; with `restart` without some of them, or without any of others.

    Small settings give way to the paper's.
    """

    def open_store() -> Store:
        return Store(folder, _WHAT, key, beside=True)

    if not restart and not _quick_before(folder, key):
        return open_store()
    try:
        with warnings.catch_warnings(action="ignore"):  # what is damaged is made again
            store = open_store()
    except ValueError:  # of other settings, or damaged
        names = list(FIGURES)
        shutil.rmtree(folder / MARK)
        store = open_store()
    for name in names:
        for block in (name, _failed(name)):
            store.drop(block)
        for path in (folder / name).iterdir() if (folder / name).is_dir() else ():
            if is_store(path):
                remove(path)
    return store


def _quick_before(folder: Path, key: dict[str, Any]) -> bool:
    """Whether the folder differs in nothing but that its settings are small."""
    try:
        known = Store.open(folder)[1]
    except ValueError:
        return False
    return not key["quick"] and known == {**key, "quick": True}


def _made(store: Store, name: str, task: Task) -> Record:
    """Make a figure, and keep its files and its rows; those of one that failed only for the table.

    It is made again next time.
    """
    begun = time.perf_counter()
    failed = False
    task.folder.mkdir(parents=True, exist_ok=True)
    try:
        rows = FIGURES[name](task)
    except (ng.SolverError, ValueError, RuntimeError) as error:
        failed = True
        rows = [Row(summary(name), "failed", DIFFERS, f"{type(error).__name__}: {error}")]
    finally:
        plt.close("all")
    record = {
        "seconds": round(time.perf_counter() - begun, 1),
        "rows": [dataclasses.asdict(row) for row in rows],
    }
    text = json.dumps(record, indent=1, ensure_ascii=False).encode()
    store.drop(_failed(name))
    if failed:
        store.put(_failed(name), {f"{name}/failed.json": text})
    else:
        own = (p for p in sorted(task.folder.iterdir()) if p.is_file() and p.suffix in _DRAWN)
        store.put(name, {f"{name}/{_ROWS}": text}, [f"{name}/{p.name}" for p in own])
    return record


def _failed(name: str) -> str:
    return f"{name}-failed"


def _read(store: Store, name: str) -> Record | None:
    """The record of a figure; None where there is none, or it or a file is damaged."""
    found = store.get(name)
    return None if found is None else json.loads(found[f"{name}/{_ROWS}"])


def _lines(store: Store, name: str) -> list[dict[str, Any]]:
    """A figure's rows, as they are on the disk: what is damaged is made again another time."""
    for block, file in ((name, _ROWS), (_failed(name), "failed.json")):
        with contextlib.suppress(Damaged):
            found = store.get(block, mend=False)
            if found is not None:
                return json.loads(found[f"{name}/{file}"])["rows"]
    return []


def _write_table(store: Store, connectome: str, quick: bool) -> list[dict[str, Any]]:
    """table.md and table.csv, of every figure that is in the folder."""
    lines: list[dict[str, Any]] = []
    for name in FIGURES:
        for row in _lines(store, name):
            lines.append(
                dict(
                    zip(
                        _COLUMNS,
                        (name, row["before"], row["here"], row["agrees"], row["why"]),
                        strict=True,
                    )
                )
            )
    with io.StringIO(newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        writer.writerows(lines)
        write(store.folder / "table.csv", file.getvalue().encode(), store.base)
    text = [
        "# What the paper found, and what is found here",
        "",
        f"Made by `ngnmm reproduce{' --quick' if quick else ''}`, ngnmm_jax {ng.__version__}, on "
        f"the connectome {connectome}. The findings are those of Delicado, Huguet and Clusella "
        "(arXiv 2512.03907), in this project's words, and values from independent programs.",
        "",
        "| " + " | ".join(_COLUMNS) + " |",
        "|" + "---|" * len(_COLUMNS),
        *("| " + " | ".join(str(v).replace("|", "/") for v in line.values()) + " |"
          for line in lines),
    ]  # fmt: skip
    write(store.folder / "table.md", ("\n".join(text) + "\n").encode(), store.base)
    return lines
