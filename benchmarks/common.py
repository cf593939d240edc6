"""What the benchmarks share: the machine's description, timing, a table, engines in processes."""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def machine() -> str:
    """Processor, cores, and the versions that matter."""
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
    versions = ", ".join(f"{p} {metadata.version(p)}" for p in ("jax", "diffrax", "numpy"))
    return f"{model}; {os.cpu_count()} cores; Python {platform.python_version()}, {versions}"


def best_of(work: Callable[[], Any], repeats: int = 3) -> float:
    """Shortest of several times, in seconds, after one call that compiles."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def in_process(module: str, engine: str, **settings: Any) -> float:
    """What one engine of a benchmark measures in a process of its own; NaN if not installed."""
    command = [sys.executable, "-m", module, "--engine", engine, "--settings", json.dumps(settings)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    lines = done.stdout.strip().splitlines()
    if done.returncode == 0 and lines:
        return json.loads(lines[-1])["value"]
    missing = "ModuleNotFoundError" in done.stderr
    reason = "not installed" if missing else done.stderr.strip().splitlines()[-1:]
    print(f"  ({engine}: {reason})", file=sys.stderr)
    return float("nan")


def c_program(source: str, flags: list[str], arguments: list[int], processes: int) -> float:
    """First number that a C program prints, per process with all of them at once; best of three.

    Compiled when the benchmark runs; NaN where there is no gcc.
    """
    if shutil.which("gcc") is None:
        return float("nan")
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder) / "program")
        compiler = ["gcc", "-O3", "-march=native", "-ffast-math", *flags]
        path = str(ROOT / "benchmarks" / source)
        subprocess.run([*compiler, path, "-o", program, "-lm"], check=True)
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
    given = parser.parse_args()
    if given.engine is None:
        main()
    else:
        print(json.dumps({"value": engines[given.engine](**given.settings)}))


def table(header: list[str], rows: list[list[Any]]) -> None:
    """A Markdown table."""
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        cells = (f"{c:.3g}" if isinstance(c, float) else str(c) for c in row)
        print("| " + " | ".join(cells) + " |")
    print(flush=True)
