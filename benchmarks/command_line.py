"""Seconds of the command line in fresh processes: with an empty cache of programs, then a full one.

python -m benchmarks.command_line                    # this checkout
python -m benchmarks.command_line --source FOLDER    # and another one beside it
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common import ROOT, machine, table

MAP = ("map", "--vary", "i_ext_e=9:13:5", "--vary", "coupling=8:12:5")
COMMANDS: dict[str, tuple[str, ...]] = {
    "--help": ("--help",),
    "connectome": ("connectome",),
    "dispersion": ("dispersion", "--set", "i_ext_e=15", "--coupling", "9"),
    "simulate 100 ms": ("simulate", "--duration", "100"),
    "map 5 × 5": MAP,
}


def timed(source: Path, words: tuple[str, ...], folder: Path, cache: Path) -> tuple[float, float]:
    """Wall and CPU seconds of one command in a process of its own."""
    environment = {
        **os.environ, "PYTHONPATH": str(source), "NGNMM_JAX_CACHE": str(cache), "COLUMNS": "200",
    }  # fmt: skip
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    code = "from ngnmm_jax.cli import main; main()"
    out = () if len(words) == 1 and "-" in words[0] else ("--out", str(folder))
    if not (source / "ngnmm_jax" / "cli" / "settings").is_dir():  # as older ones call it
        words = tuple("--axis" if word == "--vary" else word for word in words)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *words, *out],
        env=environment, cwd=folder.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    wall = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"ngnmm {' '.join(words)}: {done.stdout}{done.stderr}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", type=Path, help="another checkout, measured beside this one")
    given = parser.parse_args()
    sources = {"here": ROOT} | ({"there": given.source.resolve()} if given.source else {})
    print(machine())
    header = ["command"]
    for name in sources:
        header += [f"{name}, empty cache: wall s", "CPU s", "full cache: wall s", "CPU s"]
    rows = []
    for command, words in COMMANDS.items():
        row: list[object] = [command]
        for source in sources.values():
            with tempfile.TemporaryDirectory() as place:
                for number in range(2):
                    spent = timed(source, words, Path(place) / f"out{number}", Path(place) / "c")
                    row += [round(seconds, 1) for seconds in spent]
        rows.append(row)
    table(header, rows)


if __name__ == "__main__":
    main()
