"""The benchmarks' history: their tables as JSON, kept in benchmarks/history/, and compared.

    python -m benchmarks.history run maps --full    # a benchmark, and its tables into the history
    python -m benchmarks.history add FILE.json …    # what a benchmark's `--json FILE` wrote
    python -m benchmarks.history compare            # the last two of each benchmark
    python -m benchmarks.history compare A B        # files, or the beginnings of commits

`compare` prints B / A wherever both have a number and marks what lies beyond the noise; as `diff`
does, it ends with 1 if anything is marked. Which direction is better is the reader's to judge:
seconds or points per second.
"""

import argparse
import json
import math
import re
import runpy
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import common

FOLDER = common.ROOT / "benchmarks" / "history"
KEYS = ("benchmark", "date", "commit", "machine", "versions", "tables")

Record = dict[str, Any]


def read(path: Path) -> Record:
    """A record, or a ValueError that says what it lacks."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        missing = [key for key in KEYS if key not in record]
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: no tables of a benchmark: {error}") from error
    if missing or not record["tables"]:
        raise ValueError(f"{path}: without {', '.join(missing) or 'a table'}")
    return record


def add(path: Path, folder: Path = FOLDER) -> Path:
    """Keep a record under its benchmark, date and commit."""
    record = read(path)
    benchmark = "-".join(re.findall(r"\w+", record["benchmark"]))
    date = record["date"][:16].replace(":", "")
    name = f"{benchmark}-{date}-{record['commit'][:7]}.json"
    folder.mkdir(exist_ok=True)
    return Path(shutil.copyfile(path, folder / name))


def numbers(record: Record) -> Iterator[tuple[tuple[Any, ...], str, float]]:
    """Each number with its place, which other records have too, and its name.

    A place is the table's header, the row's first cell and the column, counted where they occur
    again; so a record matches another with tables or rows more, or in another order.
    """
    tables: Counter[Any] = Counter()
    for table in record["tables"]:
        header = tuple(table["header"])
        tables[header] += 1
        rows: Counter[Any] = Counter()
        for row in table["rows"]:
            first = str(row[0])
            rows[first] += 1
            again = f" #{rows[first]}" if rows[first] > 1 else ""
            for k, cell in enumerate(row[1:], 1):
                if isinstance(cell, int | float):
                    place = (header, tables[header], first, rows[first], k)
                    yield place, f"{first}{again} · {header[k]}", float(cell)


def compared(a: Record, b: Record) -> list[tuple[str, float, float, float]]:
    """Name, A, B and B / A of each number that both have."""
    before = {place: value for place, _, value in numbers(a)}
    return [
        (name, before[place], value, _ratio(before[place], value))
        for place, name, value in numbers(b)
        if place in before
    ]


def beyond(ratio: float, noise: float) -> bool:
    """Whether a ratio is more than the noise away from one, in either direction."""
    return not 1 / (1 + noise) <= ratio <= 1 + noise


def _ratio(a: float, b: float) -> float:
    if a == b:
        return 1.0
    return b / a if a else math.inf


def chosen(wanted: str, folder: Path = FOLDER) -> dict[str, Record]:
    """The record of each benchmark in a file, or the latest at a commit of the history."""
    if Path(wanted).is_file():
        record = read(Path(wanted))
        return {record["benchmark"]: record}
    found = {r["benchmark"]: r for r in history(folder) if r["commit"].startswith(wanted)}
    if not found:
        raise ValueError(f"{wanted}: neither a file nor a commit of the history")
    return found


def history(folder: Path = FOLDER) -> list[Record]:
    """All records, by date."""
    return sorted((read(path) for path in folder.glob("*.json")), key=lambda r: r["date"])


def pairs(wanted: list[str], folder: Path = FOLDER) -> list[tuple[Record, Record]]:
    """What is to be compared: two choices; one with the latest; or the last two."""
    every: dict[str, list[Record]] = {}
    for record in history(folder):
        every.setdefault(record["benchmark"], []).append(record)
    if not wanted:
        return [(of[-2], of[-1]) for of in every.values() if len(of) > 1]
    a = chosen(wanted[0], folder)
    b = chosen(wanted[1], folder) if wanted[1:] else {name: of[-1] for name, of in every.items()}
    return [(a[name], b[name]) for name in a if name in b]


def show(a: Record, b: Record, noise: float, everything: bool) -> int:
    """Print one comparison; how many numbers lie beyond the noise."""
    print(f"## {a['benchmark']}\n")
    for letter, record in (("A", a), ("B", b)):
        edited = ", edited" if record.get("edited") else ""
        print(f"{letter}: {record['date']}, commit {record['commit'][:7]}{edited}")
    for key in ("machine", "versions"):
        if a[key] != b[key]:
            print(f"Not the same {key}: {a[key]}, then {b[key]}")
    rows = compared(a, b)
    marked = [row for row in rows if beyond(row[3], noise)]
    print(f"{len(rows)} numbers in both, {len(marked)} differ by more than {noise:.0%}.\n")
    if everything or marked:
        print("| what | A | B | B / A | |\n|---|---|---|---|---|")
    for name, before, after, ratio in rows if everything else marked:
        mark = "*" if beyond(ratio, noise) else ""
        print(f"| {name} | {before:.4g} | {after:.4g} | {ratio:.3f} | {mark} |")
    print()
    return len(marked)


def run(name: str, arguments: list[str]) -> Path:
    """A benchmark with its own arguments, as `python -m` runs it; its tables into the history."""
    sys.argv = [name, *arguments]
    runpy.run_module(f"benchmarks.{name}", run_name="__main__", alter_sys=True)
    if not common.TABLES:
        raise ValueError(f"benchmarks.{name} printed no table")
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "tables.json"
        common.save(draft, " ".join([name, *arguments]))
        return add(draft)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    it = commands.add_parser("run", help="run a benchmark and keep its tables")
    it.add_argument("name")
    it.add_argument("arguments", nargs=argparse.REMAINDER)
    it = commands.add_parser("add", help="keep tables that a benchmark wrote")
    it.add_argument("files", nargs="+", type=Path)
    it = commands.add_parser("compare", help="two records of each benchmark")
    it.add_argument("which", nargs="*", help="A and B: files or commits; else the last two")
    it.add_argument("--noise", type=float, default=0.1, help="what is not marked (0.1: 10%%)")
    it.add_argument("--all", action="store_true", help="print all numbers, not just marked ones")
    given = parser.parse_args()
    try:
        if given.command == "run":
            print(run(given.name, given.arguments))
        elif given.command == "add":
            print(*map(add, given.files), sep="\n")
        else:
            if len(given.which) > 2:
                parser.error("compare takes two at most")
            found = pairs(given.which)
            if not found:
                print("There are no two records of one benchmark to compare.")
            return int(sum(show(a, b, given.noise, given.all) for a, b in found) > 0)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
