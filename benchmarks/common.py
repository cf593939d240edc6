"""What the benchmarks share: the machine's description, timing, a table, engines in processes."""

import json
import os
import platform
import subprocess
import sys
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


def in_process(module: str, engine: str, **settings: Any) -> dict[str, Any] | None:
    """Run one engine of a benchmark in a process of its own; None where it is not installed."""
    command = [sys.executable, "-m", module, "--engine", engine, "--settings", json.dumps(settings)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    lines = done.stdout.strip().splitlines()
    if done.returncode == 0 and lines:
        return json.loads(lines[-1])
    missing = "ModuleNotFoundError" in done.stderr
    reason = "not installed" if missing else done.stderr.strip().splitlines()[-1:]
    print(f"  ({engine}: {reason})", file=sys.stderr)
    return None


def table(header: list[str], rows: list[list[Any]]) -> None:
    """A Markdown table."""
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        cells = (f"{c:.3g}" if isinstance(c, float) else str(c) for c in row)
        print("| " + " | ".join(cells) + " |")
    print(flush=True)
