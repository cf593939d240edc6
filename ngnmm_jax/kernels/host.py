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
import numpy as np

from ngnmm_jax._core.arrays import as_array
from ngnmm_jax.kernels.kernel import AbstractKernel
from ngnmm_jax.kernels.program import Program
from ngnmm_jax.kernels.source import Shape, source


class HostKernel(AbstractKernel):
    """A kernel for NumPy's arrays."""

    def __init__(self, program: Program, shape: Shape) -> None:
        super().__init__(program, shape)
        self._library = _built(source(program, shape))

    def _march(self, uniforms: np.ndarray, numbers: tuple[int, ...], arrays: list[Any]) -> None:
        def pointer(array: np.ndarray) -> Any:
            return array.ctypes.data_as(ctypes.c_void_p)

        self._library.uniforms(pointer(uniforms))
        self._library.march(*map(ctypes.c_int, numbers), *map(pointer, arrays))

    @staticmethod
    def processors() -> int:
        """Of a host: one."""
        return 1

    def take(self, array: Any) -> Any:
        """A copy of an array of JAX or NumPy."""
        return np.array(array, order="C")

    def give(self, array: Any) -> jax.Array:
        """An array as JAX's."""
        return as_array(array)


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
