"""The list of figures, and the loop that makes them: into a folder, resumable, with a table."""

import csv
import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

import ngnmm_jax as ng
from ngnmm_jax import _checks
from ngnmm_jax._core.definition import definition
from ngnmm_jax.reproduce import activity, exactness, reference, states, transverse
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
    "comparison": transverse.comparison,
    "network-chaos": activity.network_chaos,
    "plane": states.plane,
}
_COLUMNS = ("figure", "found before", "found here", "agrees", "remark")


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

    A figure that is there already, from the same version, settings and connectome, is not
    made again; long computations inside of one go on from their stored blocks. A figure that
    fails is a line of the table, and the others are made all the same.

    **Arguments:**

    - `figures`: names, as in `FIGURES`.
    - `folder`: has, at the end, table.md and table.csv of all figures that are in it.
    - `connectome`: of the network; the paper's is "aal90".
    - `quick`: small settings, in minutes; the full ones are the paper's.
    - `restart`: make them anew.
    - `progress`: as everywhere; `say`: is told what is going on.

    Returns the table's lines, by column. Raises `ValueError` for unknown names.
    """
    _checks.require_x64("reproduce")
    folder = Path(folder)
    names = list(dict.fromkeys(figures))
    for name in names:
        _checks.one_of("figures", name, FIGURES)
    connectome = connectome.normalised()
    key = _definition(connectome, quick)
    for number, name in enumerate(names, 1):
        place = folder / name
        if restart and place.exists():
            shutil.rmtree(place)
        place.mkdir(parents=True, exist_ok=True)
        what = f"[{number}/{len(names)}] {name}"
        if _finished(place, key) is not None:
            say(f"{what}: there already")
            continue
        say(f"{what}: {summary(name)}")
        begun = time.perf_counter()
        failed = False
        try:
            rows = FIGURES[name](Task(connectome, quick, place, progress, say))
        except (ng.SolverError, ValueError, RuntimeError) as error:
            failed = True
            rows = [Row(summary(name), "failed", DIFFERS, f"{type(error).__name__}: {error}")]
        finally:
            plt.close("all")
        record = {
            "key": {} if failed else key,  # made again next time
            "seconds": round(time.perf_counter() - begun, 1),
            "rows": [dataclasses.asdict(row) for row in rows],
        }
        _write(place / "rows.json", json.dumps(record, indent=1, ensure_ascii=False))
        say(f"{what}: {record['seconds']} s")
        _write_table(folder, connectome.name, quick)
    return _write_table(folder, connectome.name, quick)


def _definition(connectome: ng.Connectome, quick: bool) -> dict[str, Any]:
    """What decides a figure: the paper's model on the connectome, with all that it shows of it."""
    network = ng.Network(ng.NextGenEI(), connectome)
    fields = {f.name: getattr(connectome, f.name) for f in dataclasses.fields(connectome)}
    return definition("figures of the paper", network, quick=quick, connectome=fields)


def _read(place: Path) -> dict[str, Any] | None:
    """The record of a figure, or None where there is none that can be read."""
    try:
        record = json.loads((place / "rows.json").read_text(encoding="utf-8"))
        return record if {"key", "rows", "seconds"} <= set(record) else None
    except (OSError, ValueError, TypeError):
        return None


def _finished(place: Path, key: dict[str, Any]) -> dict[str, Any] | None:
    record = _read(place)
    return record if record is not None and record["key"] == key else None


def _write(path: Path, text: str) -> None:
    """All of it or nothing, so that a killed process leaves no half file."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _write_table(folder: Path, connectome: str, quick: bool) -> list[dict[str, Any]]:
    """table.md and table.csv, of every figure that is in the folder."""
    lines: list[dict[str, Any]] = []
    for name in FIGURES:
        record = _read(folder / name)
        for row in [] if record is None else record["rows"]:
            lines.append(
                dict(
                    zip(
                        _COLUMNS,
                        (name, row["before"], row["here"], row["agrees"], row["why"]),
                        strict=True,
                    )
                )
            )
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        writer.writerows(lines)
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
    _write(folder / "table.md", "\n".join(text) + "\n")
    return lines
