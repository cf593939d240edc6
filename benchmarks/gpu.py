"""Everything that is to be measured on a GPU, in one command of at most ten minutes.

    python -m benchmarks.gpu                        # on a machine with an NVIDIA GPU
    python -m benchmarks.gpu --quick                # small sizes; on a CPU: a rehearsal
    python -m benchmarks.gpu --only sweeps,where
    python -m benchmarks.gpu --only analyses,where --works find_orbit,dispersion_map
    python -m benchmarks.gpu --minutes 6,analyses=3 # of all, and of a part by its name
    python -m benchmarks.gpu --show FILE            # the tables of a gpu.json

Parts, in this order, each in a process of its own and with a limit of its own: what the device is
and does in the simplest things; sweeps (network-steps a second, share of the bound); analyses
(seconds of the first call, of compilation, and again); the tests marked `gpu` and, beside them, the
analyses on the CPU; where the time of a step goes; cuBNM; a share of the map, and all of it if time
is left. A part that fails, or is stopped at its limit, is recorded with what it had, and the next
one goes on. `gpu.json` in the folder of `--out` (by default what the environment variable OUT
names, else `build/gpu`) holds all numbers at any time, `gpu.log` what was printed; the table comes
last.

Needed: Python 3.11 or later, JAX with its CUDA plugin, diffrax, equinox, optimistix, lineax, optax,
SciPy, tqdm, xarray (with pandas); pytest for the tests, pytest-xdist to have several at a time. Not
needed: zarr, pooch, tomli-w, h5netcdf, beartype. The library need not be installed: the command is
run in its folder. Bounds are estimates from data sheets (`benchmarks.gpu_sweeps`).

For a machine without a network, prepare cuBNM in a folder that git ignores:

    echo /.whl/ >> .git/info/exclude
    python -m pip download --no-deps --only-binary=:all: --python-version 3.12 \
        --implementation cp --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
        -d .whl cubnm==0.1.0 numpy==1.26.4

which takes 24 MB, and there, with the folder at hand:

    python -m pip install -q --no-index --no-deps --target /tmp/cubnm .whl/*.whl
    CUBNM_SITE=/tmp/cubnm python -m benchmarks.gpu

NumPy 1 is for cuBNM's process alone. Without the folder that part is skipped.
"""

import argparse
import dataclasses
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.common import ROOT
from benchmarks.gpu_record import SIZES, Record, Size, Skip, write_json
from benchmarks.gpu_report import card, in_words, show


class Part(NamedTuple):
    """A function of a record and a size, by module and name; seconds at most; on which platform."""

    module: str
    function: str
    seconds: float
    platform: str = ""


PARTS = {
    "device": Part("gpu_sweeps", "device", 30),
    "sweeps": Part("gpu_sweeps", "sweeps", 130),
    "analyses": Part("gpu_analyses", "works", 200),
    "tests": Part("gpu", "tests", 120),
    "cpu": Part("gpu_analyses", "on_cpu", 120, "cpu"),
    "where": Part("gpu_sweeps", "where", 110),
    "cubnm": Part("gpu_peers", "cubnm", 70),
    "plane": Part("gpu_analyses", "plane", 120),
}
#: What runs at the same time; all the rest is alone.
STAGES = (("device",), ("sweeps",), ("analyses",), ("tests", "cpu"), ("where",), ("cubnm",),
          ("plane",))  # fmt: skip
_MINUTES = 9.5
# Seconds before its limit at which a part is asked to begin nothing more.
_MARGIN = 4.0


def run_part(name: str, size: Size, path: Path, seconds: float) -> dict[str, Any]:
    """A part in this process; what it found is also in the file."""
    part = PARTS[name]
    record = Record(path, seconds)
    try:
        module = importlib.import_module(f"benchmarks.{part.module}")
        getattr(module, part.function)(record, size)
    except Skip as reason:
        record.close("skipped", str(reason))
    except Exception as error:  # what it was is recorded, and the others go on
        traceback.print_exc()
        record.close("failed", f"{type(error).__name__}: {error}"[-2000:])
    else:
        record.close("ok")
    return record.data


def tests(record: Record, size: Size) -> None:
    """Part: the tests marked `gpu`, several at a time, without the suite's own configuration."""
    if size.works == "tiny":
        raise Skip("a test does not run the tests")
    options = "-m gpu -v --noconftest --tb=short -p no:cacheprovider -W default --durations=0"
    command = [sys.executable, "-m", "pytest", *options.split(), "tests/test_gpu.py"]
    workers = min(6, (os.cpu_count() or 1) // 2)
    if importlib.util.find_spec("xdist") and workers > 1:
        command += ["-n", str(workers), "--dist", "worksteal"]
    memory = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "XLA_PYTHON_CLIENT_MEM_FRACTION": ".12"}
    # The processes share what they compile.
    kept = {
        "JAX_COMPILATION_CACHE_DIR": str(record.path.parent / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "1",
    }
    environment = {**os.environ, **memory, **kept, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            outcome = test_outcome(line)
            if outcome:
                record.row(**outcome)
    outcomes = {row["outcome"] for row in record.data["rows"]}
    if process.returncode:
        raise RuntimeError(f"pytest ended with {process.returncode}")
    if outcomes <= {"SKIPPED"}:
        raise Skip("no test ran: there is no GPU (NGNMM_JAX_GPU_REHEARSAL=1 runs them on the CPU)")


def test_outcome(line: str) -> dict[str, str] | None:
    """Name and outcome of a test from a line of pytest's, with or without xdist; else None."""
    found = re.search(r"(tests/test_gpu\.py::\S+)", line)
    outcome = re.search(r"(?<!\S)(PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)(?!\S)", line)
    if not (found and outcome and re.search(r"\[ *\d+%\]", line)):
        return None
    return {"name": found[1].partition("::")[2], "outcome": outcome[1]}


class _Child:
    """A part in a process of its own."""

    def __init__(
        self, name: str, size: str, folder: Path, seconds: float, log: Any, works: Sequence[str]
    ) -> None:
        self.name, self.path = name, folder / f"{name}.json"
        self.end = time.monotonic() + seconds
        self.seconds = seconds
        self.path.unlink(missing_ok=True)
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)  # compilation is measured
        if PARTS[name].platform:
            environment["JAX_PLATFORMS"] = PARTS[name].platform
        command = [sys.executable, "-m", "benchmarks.gpu", "--part", name, "--size", size,
                   "--out", str(folder), "--seconds", str(max(1.0, seconds - _MARGIN)),
                   "--works", ",".join(works)]  # fmt: skip
        print(f"\n=== {name}, at most {seconds:.0f} s", file=log, flush=True)
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
        )

    def found(self) -> dict[str, Any]:
        """What it has found so far, and how it ended, if it has."""
        try:
            data = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            data = {"status": "running", "rows": []}
        code = self.process.poll()
        if data["status"] == "running" and code is not None:
            data |= {"status": "failed", "reason": f"its process ended with {code}"}
        return data

    def stop(self) -> dict[str, Any]:
        """End it, and all that it started."""
        os.killpg(self.process.pid, 9)
        self.process.wait()
        found = self.found()
        reason = f"stopped at its limit of {self.seconds:.0f} s{unfinished(found)}"
        return {**found, "status": "failed", "reason": reason}


def unfinished(found: dict[str, Any]) -> str:
    """What a part was doing, and what it did not begin."""
    doing = f", during {found['now']}" if found.get("now") else ""
    left = "; ".join(found.get("plan", ())) or "nothing"
    return f"{doing}; not begun: {left}" if "plan" in found else doing


def measure(
    size: str,
    out: Path,
    names: Sequence[str],
    minutes: dict[str, float],
    works: Sequence[str] = (),
) -> dict[str, Any]:
    """All parts named, and what they found, which is in `gpu.json` at any time.

    `minutes`: limits by the name of the part, and of all of them together by "".
    """
    out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * minutes.get("", _MINUTES)
    report: dict[str, Any] = {"card": card(), "size": size, "python": sys.version, "parts": {}}
    parts = report["parts"]
    with (out / "gpu.log").open("w") as log, tempfile.TemporaryDirectory() as scratch:
        for stage in STAGES:
            going = []
            for name in (name for name in stage if name in names):
                limit = 60 * minutes[name] if name in minutes else PARTS[name].seconds
                seconds = min(limit, end - time.monotonic())
                reason = "no time was left" if seconds < 2 * _MARGIN else ""
                if size == "full" and parts.get("device", {}).get("platform") == "cpu":
                    reason = "no GPU: --quick rehearses on the CPU"
                if reason:
                    parts[name] = {"status": "skipped", "reason": reason, "rows": []}
                else:
                    going.append(_Child(name, size, Path(scratch), seconds, log, works))
            _wait(going, parts, lambda: write_json(out / "gpu.json", report))
    return report


def _wait(going: list[_Child], parts: dict[str, Any], save: Callable[[], None]) -> None:
    """Until all have ended, or have been stopped."""
    try:
        while going:
            for child in list(going):
                ended = child.process.poll() is not None
                over = not ended and time.monotonic() > child.end
                parts[child.name] = child.stop() if over else child.found()
                if ended or over:
                    going.remove(child)
                    print(f"{child.name}: {in_words(parts[child.name])}", flush=True)
            save()
            time.sleep(0.3)
        save()
    finally:
        for child in going:
            child.stop()


def _prepare() -> None:
    """JAX as the analyses want it, in a part's process."""
    import jax

    jax.config.update("jax_enable_x64", True)
    if os.environ.get("JAX_PLATFORMS") == "cpu":
        # Half of the cores: with JAX 0.11.2 a sweep on as many devices as cores can wait forever.
        jax.config.update("jax_num_cpu_devices", max(1, (os.cpu_count() or 1) // 2))
    elif jax.default_backend() == "gpu":
        # All that is timed there runs there, however small it is.
        jax.config.update("jax_default_device", jax.devices()[0])


def limits(text: str) -> dict[str, float]:
    """Minutes by part from "6,analyses=3"; what has no name is the limit of all, by ""."""
    found = {}
    for item in text.split(","):
        name, _, number = item.rpartition("=")
        if name and name not in PARTS:
            raise argparse.ArgumentTypeError(f"no part is called {name}")
        found[name] = float(number)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--out", type=Path, help="folder of the results")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas")
    parser.add_argument(
        "--works", default="", help="parts of the names of the analyses wanted, with commas"
    )
    parser.add_argument(
        "--minutes",
        type=limits,
        default={},
        help="limit of all parts; or PART=MINUTES, with commas",
    )
    parser.add_argument("--show", type=Path, metavar="FILE", help="only print what a run found")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--size", choices=SIZES, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    works = tuple(word.strip() for word in given.works.split(",") if word.strip())
    if given.show:
        show(json.loads(given.show.read_text(encoding="utf-8")))
        return
    if given.part:
        _prepare()
        size = dataclasses.replace(SIZES[given.size], named=works)
        run_part(given.part, size, given.out / f"{given.part}.json", given.seconds)
        return
    names = given.only.split(",")
    if not set(names) <= set(PARTS):
        parser.error(f"parts are {', '.join(PARTS)}")
    out = (given.out or Path(os.environ.get("OUT") or ROOT / "build" / "gpu")).resolve()
    print(card(), flush=True)
    show(measure("quick" if given.quick else "full", out, names, given.minutes, works))


if __name__ == "__main__":
    main()
