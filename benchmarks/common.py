"""What the benchmarks share: the machine, timing, tables and their record, engines, peers."""

import argparse
import contextlib
import datetime
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
#: The tables that this process has printed, for `save`.
TABLES: list[dict[str, Any]] = []
#: What is compared with, each in an environment of its own.
PEERS = {"tvboptim": "0.4.0", "vbjax": "0.0.19", "pyrates": "1.2.3"}
#: What they import or can use, and do not ask for.
UNSAID = {"vbjax": ["tqdm"], "pyrates": ["numba"]}


def hardware() -> str:
    """Processor and cores."""
    model = platform.processor()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "cpu family", "model\t")):
                name, _, value = line.partition(":")
                label = "" if name.startswith("model name") else f"{name.strip()} "
                model = f"{model} {label}{value.strip()}".strip()
            if line.startswith("flags"):
                model += " (AVX-512)" if "avx512f" in line else ""
                break
    except OSError:
        pass
    return f"{model}; {os.cpu_count()} cores"


def versions() -> dict[str, str]:
    """Of Python and the packages that matter."""
    packages = {name: metadata.version(name) for name in ("jax", "diffrax", "numpy")}
    return {"Python": platform.python_version(), **packages}


def machine() -> str:
    """Processor, cores, and the versions that matter."""
    shown = ", ".join(f"{name} {version}" for name, version in versions().items())
    return f"{hardware()}; {shown}"


def best_of(work: Callable[[], Any], repeats: int = 3) -> float:
    """Shortest of several times, in seconds, after one call that compiles."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def in_process(module: str, engine: str, *, python: str = sys.executable, **settings: Any) -> Any:
    """What one engine of a benchmark measures in a process of its own; NaN if not installed.

    `python`: of the environment that has the engine, where it is not this one.
    """
    command = [python, "-m", module, "--engine", engine, "--settings", json.dumps(settings)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    lines = done.stdout.strip().splitlines()
    if done.returncode == 0 and lines:
        return json.loads(lines[-1])["value"]
    missing = "ModuleNotFoundError" in done.stderr
    reason = "not installed" if missing else done.stderr.strip().splitlines()[-1:]
    print(f"  ({engine}: {reason})", file=sys.stderr)
    return float("nan")


def environment(folder: Path | None, name: str, version: str | None = None) -> str | None:
    """The Python of a peer's environment, made in this folder where it is missing.

    None, with the reason told, where there is none. `version`: of one that is not among `PEERS`,
    and does without JAX.
    """
    if folder is None:
        print(f"{name} is left out: no folder for its environment is given (--peers).\n")
        return None
    home = folder.absolute() / name
    python, wanted = home / "bin" / "python", [f"{name}=={version or PEERS[name]}"]
    if version is None:
        version = PEERS[name]
        wanted += [f"jax=={metadata.version('jax')}", *UNSAID.get(name, [])]
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        command = [str(python), "-m", "pip", "install", "--quiet", *wanted]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(home)
            print(f"{name} is left out: {done.stderr.strip().splitlines()[-1]}\n")
            return None
    packages = [name] + ["jax"] * (name in PEERS)
    shown = f"import importlib.metadata as m; print(*map(m.version, {packages}))"
    done = subprocess.run([str(python), "-c", shown], capture_output=True, text=True, check=False)
    if done.stdout.split()[:1] != [version]:
        print(f"{name} is left out: {home} has {done.stdout.strip() or 'none'}, not {version}.\n")
        return None
    beside = f" with JAX {done.stdout.split()[1]}" if name in PEERS else ""
    print(f"{name} {version}{beside}\n")
    return str(python)


@contextlib.contextmanager
def compiled(source: str, flags: list[str]) -> Iterator[str]:
    """A C program of this folder, while it is used."""
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder) / "program")
        compiler = ["gcc", "-O3", "-march=native", "-ffast-math", *flags]
        path = str(ROOT / "benchmarks" / source)
        subprocess.run([*compiler, path, "-o", program, "-lm"], check=True)
        yield program


def c_program(source: str, flags: list[str], arguments: list[Any], processes: int) -> float:
    """First number that a C program prints, per process with all of them at once; best of three.

    Compiled when the benchmark runs; NaN where there is no gcc.
    """
    if shutil.which("gcc") is None:
        return float("nan")
    with compiled(source, flags) as program:
        best = float("inf")
        for _ in range(3):
            started = [
                subprocess.Popen([program, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
                for _ in range(processes)
            ]
            slowest = max(float(p.communicate()[0].split()[0]) for p in started)
            best = min(best, slowest / processes)
        return best


def engine_or(main: Callable[[], None], engines: dict[str, Callable[..., float]]) -> None:
    """The whole benchmark, or the one engine that `in_process` asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", choices=engines)
    parser.add_argument("--settings", type=json.loads, default={})
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the tables there too")
    given = parser.parse_args()
    if given.engine is None:
        main()
        if given.json is not None:
            save(given.json, Path(sys.argv[0]).stem)
    else:
        print(json.dumps({"value": engines[given.engine](**given.settings)}))


def table(header: list[str], rows: list[list[Any]]) -> None:
    """A Markdown table, which `save` keeps too."""
    TABLES.append({"header": header, "rows": [[_plain(c) for c in row] for row in rows]})
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        cells = (f"{c:.3g}" if isinstance(c, float) else str(c) for c in row)
        print("| " + " | ".join(cells) + " |")
    print(flush=True)


def save(path: Path, benchmark: str) -> None:
    """All tables printed so far as JSON, with what is needed to compare them later.

    `benchmark` is a module of this folder and its options: "maps --full".
    """
    module = f"benchmarks/{benchmark.split()[0]}.py"
    record = {
        "benchmark": benchmark,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "HEAD") or "unknown",
        "edited": bool(_git("status", "--porcelain", "--", "ngnmm_jax", module)),
        "machine": hardware(),
        "versions": versions(),
        "tables": TABLES,
    }
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout.strip()
    except OSError:
        return ""


def _plain(cell: Any) -> Any:
    """A cell as JSON has it: a number, null for one that is not finite, or text."""
    if isinstance(cell, str):
        return cell
    value = cell.item() if hasattr(cell, "item") else cell
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int | None) else str(value)
