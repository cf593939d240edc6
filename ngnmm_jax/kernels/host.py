"""Kernels on a host: the same source, built by a C++ compiler, one item after another.

That is how kernels are tested without a GPU; it is not fast.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax.kernels.program import Program
from ngnmm_jax.kernels.source import Shape, arguments, check_arrays, source


class HostKernel:
    """`march` of a program, for NumPy arrays."""

    def __init__(self, program: Program, shape: Shape) -> None:
        self.program, self.shape = program, shape
        self.real = np.dtype(f"float{program.bits}")
        self._library = _built(source(program, shape))

    def __call__(
        self,
        memory: list[Any],
        given: list[Any],
        keys: list[Any],
        tiles: Any,
        *,
        runs: int,
        samples: int,
        stride: int,
        pushed: Any = None,
        write: bool = True,
    ) -> tuple[list[Any], Any]:
        """Memory after so many samples, and the samples (sample, signal, region, run)."""
        check_arrays(self.program, self.shape.regions, runs, memory, given, keys)
        uniforms = np.asarray(self.program.uniforms or (0.0,), self.real)
        self._library.uniforms(uniforms.ctypes.data_as(ctypes.c_void_p))
        later = [np.empty_like(leaf) for leaf in memory]
        shown = np.empty(
            (samples, len(self.program.signals), self.shape.regions, runs) if write else 1,
            self.real,
        )
        arrays = [x for pair in zip(memory, later, strict=True) for x in pair]
        arrays += [*given, *keys, np.zeros(1, self.real) if pushed is None else pushed]
        arrays += [tiles, shown]
        count = len(arguments(self.program)) - 4
        assert len(arrays) == count
        self._library.march(
            *(ctypes.c_int(n) for n in (runs, samples, stride, int(write))),
            *(a.ctypes.data_as(ctypes.c_void_p) for a in arrays),
        )
        return later, shown

    @staticmethod
    def processors() -> int:
        """Of a host: one."""
        return 1

    def take(self, array: Any) -> Any:
        """A copy of an array of JAX or NumPy."""
        return np.array(array, order="C")

    def give(self, array: Any) -> jax.Array:
        """An array as JAX's."""
        return jnp.asarray(array)


@lru_cache(maxsize=64)
def _built(text: str) -> ctypes.CDLL:
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        raise RuntimeError("There is no C++ compiler (g++).")
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    folder = Path(tempfile.mkdtemp())
    (folder / f"{name}.cpp").write_text(text, encoding="utf-8")
    target = folder / f"{name}.so"
    command = [compiler, "-O1", "-std=c++17", "-shared", "-fPIC", "-ffp-contract=off", "-w"]
    command += ["-fwrapv"]  # whole numbers as on a GPU
    done = subprocess.run(
        [*command, "-o", str(target), str(folder / f"{name}.cpp")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    if done.returncode:
        raise RuntimeError(done.stderr[:2000])
    library = ctypes.CDLL(str(target))
    shutil.rmtree(folder)
    return library
