"""cuBNM on the same card: network-steps a second of its reduced Wong-Wang model, 90 regions.

Its extension was built for NumPy 1 and does little with Python: it is run in a process of its own
with NumPy 1 in front, and with blanks in the place of packages that it imports and that a
simulation does not use. Seconds are those of two runs of different length, subtracted, so that the
noise that it draws before them does not count.
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
    for runs in {"full": (1024, 4096), "quick": (4,)}.get(size.works, (2,)):
        command = [sys.executable, "-m", "benchmarks.gpu_peers", str(runs)]
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": where},
            capture_output=True,
            text=True,
            timeout=max(record.left - 2, 1),
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr.strip()[-300:] or f"exit {done.returncode}")
        record.row(**json.loads(done.stdout.strip().splitlines()[-1]))


def measure(runs: int, regions: int = 90) -> dict[str, Any]:
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
    return {"runs": runs, "gpu": on_gpu, "seconds": [short, long], "rate": rate}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", type=int)
    print("\n" + json.dumps(measure(parser.parse_args().runs)))
