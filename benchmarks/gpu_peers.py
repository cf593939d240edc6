"""cuBNM on the same card: network-steps a second of its reduced Wong-Wang model, 96 regions.

Its extension was built for NumPy 1 and does little with Python: it is run in a process of its own
with NumPy 1 in front, and with blanks in the place of packages that it imports and that a
simulation does not use. Seconds are those of two runs of different length, subtracted, so that the
noise that it draws before them does not count.

96 regions and not 90, with which it ended with "CUDA error occurred" on an H200. cuBNM 0.1.0 asks
for 4 + 2 + 8 n bytes of shared memory a run and keeps its state from the 48th on (`ext/bnm.cu` adds
offsets in bytes to a pointer to doubles). Beside 16 bytes that the kernel has anyway, and where a
card rounds up to 128, that is enough for 96 or 100 regions and 16 bytes too few for 90. Whether
this is why, a last try with 90 shows. Both are three warps a run. Its code is for sm_52, as machine
code and as PTX, which the driver compiles for newer cards.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

from benchmarks.gpu_record import Record, Size, Skip

#: Runs and regions, by the size of the works.
_SIZES = {
    "full": ((64, 96), (1024, 96), (4096, 96), (64, 90)),
    "quick": ((4, 96), (4, 90)),
    "tiny": ((2, 90),),
}
# Characters of what a process that failed has said.
_KEPT = 2000
#: The folder with cuBNM and NumPy 1, installed by `pip install --target`.
FOLDER = "CUBNM_SITE"
_UNUSED = (
    "cma", "pandas", "scipy", "scipy.stats", "matplotlib", "matplotlib.pyplot", "numba", "seaborn",
    "pymoo", "pymoo.core", "pymoo.core.problem", "pymoo.algorithms", "pymoo.algorithms.soo",
    "pymoo.algorithms.soo.nonconvex", "pymoo.algorithms.soo.nonconvex.cmaes",
    "pymoo.algorithms.moo", "pymoo.algorithms.moo.nsga2", "pymoo.termination",
)  # fmt: skip


class _Blank(types.ModuleType):
    """A module in which every public name is an empty class."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def cubnm(record: Record, size: Size) -> None:
    """Part: its rate at 90 regions, in 64 bits, the only ones that it has."""
    folder = os.environ.get(FOLDER)
    if not folder or not (Path(folder) / "cubnm").is_dir():
        raise Skip(f"the environment variable {FOLDER} names no folder with cuBNM 0.1.0")
    root = Path(__file__).resolve().parents[1]
    where = os.pathsep.join([folder, str(root), os.environ.get("PYTHONPATH", "")])
    sizes = _SIZES[size.works]
    record.plan(f"{runs} runs of {regions} regions" for runs, regions in sizes)
    for (runs, regions), name in zip(sizes, list(record.data["plan"]), strict=True):
        record.begin(name)
        row = {"runs": runs, "regions": regions}
        command = [sys.executable, "-m", "benchmarks.gpu_peers", str(runs), str(regions)]
        try:
            done = subprocess.run(
                command,
                env={**os.environ, "PYTHONPATH": where},
                capture_output=True,
                text=True,
                timeout=max(record.left - 2, 1),
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            record.row(**row, error=f"more than {late.timeout:.0f} s")
            continue
        if done.returncode:
            # cuBNM says which call of CUDA failed in the exception before its last.
            said = {"stderr": done.stderr[-_KEPT:], "stdout": done.stdout[-_KEPT:]}
            last = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
            record.row(**row, error=last, **said)
            continue
        record.row(**row, **json.loads(done.stdout.strip().splitlines()[-1]))
    if not any("rate" in found for found in record.data["rows"]):
        raise RuntimeError(record.data["rows"][0]["error"])


def measure(runs: int, regions: int) -> dict[str, Any]:
    """Steps of 0.1 ms of so many runs at once, in this process."""
    for name in _UNUSED:
        module = _Blank(name)
        module.__spec__ = importlib.util.spec_from_loader(name, None)
        sys.modules[name] = module
    sys.modules["cupy"] = None  # type: ignore[assignment]  # imported where it is there
    import numpy as np
    from cubnm import sim  # type: ignore[import-not-found]
    from cubnm.utils import avail_gpus  # type: ignore[import-not-found]

    connectome = np.random.default_rng(0).random((regions, regions))
    np.fill_diagonal(connectome, 0)
    on_gpu = avail_gpus() > 0

    def seconds(duration: int) -> float:
        group = sim.rWWSimGroup(
            duration=duration, TR=1.0, sc=connectome / connectome.sum(), dt="0.1", do_fc=False,
            do_fcd=False, do_fic=False, noise_segment_length=1, bold_remove_s=0, gof_terms=[],
            force_cpu=not on_gpu, force_gpu=on_gpu,
        )  # fmt: skip
        group.N = runs
        group.param_lists["G"] = np.linspace(0.1, 1.0, runs)
        group._set_default_params()
        times = []
        for _ in range(2):
            begun = time.perf_counter()
            group.run()
            times.append(time.perf_counter() - begun)
        if not np.isfinite(group.sim_bold).all():
            raise ArithmeticError("its BOLD is not finite")
        return min(times)

    short, long = seconds(1), seconds(3)
    rate = runs * 2 * 10_000 / (long - short)
    return {"gpu": on_gpu, "seconds": [short, long], "rate": rate}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", type=int)
    parser.add_argument("regions", type=int)
    print("\n" + json.dumps(measure(**vars(parser.parse_args()))))
