"""Fused kernels: registers, spills and occupancy by nvcc, and network-steps a second on a GPU.

    python -m benchmarks.gpu_fused --nvcc       # what nvcc says, for sm_90; no GPU is needed
    python -m benchmarks.gpu_fused --variants   # rates at other numbers of runs a block, on a GPU

What is timed is the kernel alone, over a window of samples (`Loop`s of `benchmarks.gpu_sweeps`
have the summaries too).
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

import ngnmm_jax as ng  # noqa: E402
from benchmarks.common import table  # noqa: E402
from benchmarks.simulation import weights  # noqa: E402
from ngnmm_jax._core.parameters import with_leaves  # noqa: E402
from ngnmm_jax.integrators import fixed  # noqa: E402
from ngnmm_jax.kernels import Program, traced  # noqa: E402
from ngnmm_jax.kernels.program import varied  # noqa: E402
from ngnmm_jax.kernels.source import Shape, fragments, source  # noqa: E402
from ngnmm_jax.simulation.precision import cast  # noqa: E402
from ngnmm_jax.systems.driven import driven, noise_key, noise_keys  # noqa: E402

METHODS = (("moebius", 0.1), ("rk4", 0.05))
# Registers, threads and shared memory of a multiprocessor of sm_90.
_REGISTERS, _THREADS, _SHARED = 65_536, 2048, 228 * 1024


class Case:
    """A network of 90 regions, its program, and what a kernel is called with."""

    def __init__(self, bits: int, method: str, dt: float, noise: float = 0.0) -> None:
        system = ng.Network(ng.NextGenEI(i_ext_e=12.0), weights(90), 8.0)
        dtype = jnp.dtype(f"float{bits}")
        whole = ng.Driven(system, {"input": noise, "s_e": noise} if noise else None)
        self.core = driven(cast(whole.bare(), dtype))
        self.integrator, self.dt = fixed(system, method), jnp.asarray(dt, dtype)
        like = jax.ShapeDtypeStruct((2,), dtype)
        self.program: Program = traced(
            self.core, self.integrator, self.dt, ("v_e",), {"i_ext_e": like}
        )
        self.weights = np.asarray(weights(90)).astype(dtype)

    def arguments(self, shape: Shape, runs: int) -> tuple[list[Any], list[Any], list[Any], Any]:
        """Memory, parameters, keys and tiles, in NumPy."""
        return *self.given(runs), fragments(self.weights, self.program, shape)

    @lru_cache(maxsize=4)  # noqa: B019 - few cases, which live as long
    def given(self, runs: int) -> tuple[list[Any], list[Any], list[Any]]:
        """Memory, parameters and keys: 32 runs again and again, of other currents."""
        few = min(runs, 32)
        values = jnp.linspace(5.0, 15.0, runs).astype(self.dt.dtype)
        rng = np.random.default_rng(0)
        rest = np.array([0.02, -1.0, 0.02, 0.03, -1.0, 0.03])[:, None, None]
        start = (rest + 0.01 * np.abs(rng.standard_normal((6, 90, few)))).astype(self.dt.dtype)
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            keys = jax.vmap(noise_key)(jnp.arange(runs))
            system = with_leaves(self.core.over_runs(), {"i_ext_e": values[:few]})
            stepper = system.stepper(self.integrator, self.dt, keys[:few])
            memory = jax.tree.leaves(jax.jit(stepper.start)(jnp.asarray(start)))
            words = [
                np.asarray(jax.random.key_data(k)) for k in noise_keys(self.core, self.dt, keys)
            ]
            whole = with_leaves(self.core.over_runs(), {"i_ext_e": values})
            parameters = [np.asarray(leaf) for leaf in varied(whole)]
        spread = [np.asarray(leaf) for leaf in memory]
        spread = [
            np.ascontiguousarray(np.take(leaf, np.arange(runs) % few, -1)) if leaf.ndim else leaf
            for leaf in spread
        ]
        return spread, parameters, words


def by_nvcc(program: Program, shape: Shape) -> dict[str, Any]:
    """Registers, spilled bytes and occupancy of a kernel for sm_90."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "march.cu"
        path.write_text(source(program, shape), encoding="utf-8")
        command = ["nvcc", "-arch=sm_90", "-std=c++17", "-Xptxas", "-v", "-cubin"]
        command += ["-prec-div=false"] if program.bits == 32 else []
        done = subprocess.run(
            [*command, "-o", str(path.with_suffix(".cubin")), str(path)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    text = done.stderr
    registers = int(re.search(r"Used (\d+) registers", text)[1])  # type: ignore[index]
    spilled = sum(map(int, re.findall(r"(\d+) bytes spill", text)))
    # Registers are given to warps in units of 256.
    warps = shape.threads // 32
    by_registers = _REGISTERS // (warps * -(-registers * 32 // 256) * 256)
    by_shared = _SHARED // (shape.bytes + 1024)
    blocks = min(by_registers, by_shared, _THREADS // shape.threads)
    return {"registers": registers, "spilled": spilled, "shared": shape.bytes,
            "blocks": blocks, "occupancy": blocks * shape.threads / _THREADS}  # fmt: skip


def nvcc_table() -> list[list[Any]]:
    """Of both methods in both precisions, with some runs a block."""
    rows = []
    for bits in (32, 64):
        for method, dt in METHODS:
            program = Case(bits, method, dt).program
            for runs in (8, 16):
                shape = Shape.of(program, 90, runs)
                found = by_nvcc(program, shape)
                rows.append([bits, method, runs, shape.threads, *found.values()])
    return rows


def rate(case: Case, shape: Shape, runs: int, samples: int = 256, repeats: int = 3) -> Any:
    """Network-steps a second of a kernel, and what it is."""
    import cupy  # type: ignore[import-not-found]

    from ngnmm_jax.kernels.cuda import CudaKernel

    case.given(runs)
    begun = time.perf_counter()
    kernel = CudaKernel(case.program, shape)
    stride = round(1.0 / float(case.dt))
    memory, given, keys, tiles = case.arguments(shape, runs)
    arrays = [[cupy.asarray(a) for a in some] for some in (given, keys)]
    at, held = [cupy.asarray(a) for a in memory], cupy.asarray(tiles)
    options: dict[str, Any] = {"runs": runs, "samples": samples, "stride": stride}
    at, _ = kernel(at, arrays[0], arrays[1], held, **options)
    first = time.perf_counter() - begun
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        at, shown = kernel(at, arrays[0], arrays[1], held, **options)
        times.append(time.perf_counter() - begun)
    attributes = {name: getattr(kernel.march, name) for name in ("num_regs", "local_size_bytes")}
    return {"rate": runs * samples * stride / min(times), "seconds": min(times), "first": first,
            "finite": float(cupy.isfinite(shown).mean()), **attributes}  # fmt: skip


def agreement(case: Case, shape: Shape, runs: int = 37) -> dict[str, float]:
    """How far the GPU is from the same source on the host, after 20 steps."""
    import cupy

    from ngnmm_jax.kernels.cuda import CudaKernel
    from ngnmm_jax.kernels.host import HostKernel

    memory, given, keys, tiles = case.arguments(shape, runs)
    options: dict[str, Any] = {"runs": runs, "samples": 4, "stride": 5}
    copied = [a.copy() for a in memory]
    host, shown = HostKernel(case.program, shape)(copied, given, keys, tiles, **options)
    arrays = [[cupy.asarray(a) for a in some] for some in (memory, given, keys)]
    kernel = CudaKernel(case.program, shape)
    card, seen = kernel(arrays[0], arrays[1], arrays[2], cupy.asarray(tiles), **options)
    pairs = [*zip(host, [c.get() for c in card], strict=True), (shown, seen.get())]
    return {
        str(k): float(np.abs(a.astype(float) - b).max() / max(np.abs(a).max(), 1e-30))
        for k, (a, b) in enumerate(pairs)
    }


def variants(out: Path | None, runs: int = 16_896) -> list[dict[str, Any]]:
    """Agreement and rates, for other numbers of runs a block."""
    rows: list[dict[str, Any]] = []
    for bits in (32, 64):
        for method, dt in METHODS:
            case = Case(bits, method, dt)
            noisy = Case(bits, method, dt, 0.1)
            head = {"bits": bits, "method": method}
            rows.append(
                {**head, "agreement": _tried(agreement, case, Shape.of(case.program, 90, 8))}
            )
            rows.append(
                {**head, "noise": True,
                 "agreement": _tried(agreement, noisy, Shape.of(noisy.program, 90, 4))}
            )  # fmt: skip
            for per_block in (16, 8) if bits == 32 else (8, 4):
                shape = Shape.of(case.program, 90, per_block)
                found = _tried(rate, case, shape, runs)
                rows.append({**head, "runs": runs, "per_block": per_block, "each": shape.each,
                             "threads": shape.threads, **found})  # fmt: skip
                print(json.dumps(rows[-1]), flush=True)
            found = _tried(rate, noisy, Shape.of(noisy.program, 90, 8), runs)
            rows.append({**head, "noise": True, "runs": runs, "per_block": 8, **found})
            print(json.dumps(rows[-1]), flush=True)
            if out:
                out.write_text(json.dumps(rows, indent=1))
    for row in rows:
        if "agreement" in row:
            print(json.dumps(row))
    return rows


def _tried(function: Any, *args: Any) -> dict[str, Any]:
    try:
        found: dict[str, Any] = function(*args)
    except Exception as error:  # the next one goes on
        return {"error": f"{type(error).__name__}: {error}"[:1500]}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--nvcc", action="store_true", help="registers and occupancy by nvcc")
    parser.add_argument("--variants", action="store_true", help="rates on a GPU")
    given = parser.parse_args()
    if given.nvcc:
        if shutil.which("nvcc") is None:
            parser.error("there is no nvcc")
        header = ["bits", "method", "runs a block", "threads", "registers", "bytes spilled",
                  "shared bytes", "blocks", "occupancy"]  # fmt: skip
        table(header, nvcc_table())
    if given.variants:
        folder = os.environ.get("OUT")
        variants(Path(folder) / "fused.json" if folder else None)


if __name__ == "__main__":
    main()
