"""Kernels on an NVIDIA GPU, by CuPy: compiled when first needed, arrays shared with JAX."""

from functools import lru_cache
from typing import Any

import jax
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax.kernels.kernel import AbstractKernel
from ngnmm_jax.kernels.markers import CannotFuse
from ngnmm_jax.kernels.program import Program
from ngnmm_jax.kernels.source import Shape, source


class CudaKernel(AbstractKernel):
    """A kernel on the first GPU, for arrays of CuPy."""

    def __init__(self, program: Program, shape: Shape) -> None:
        super().__init__(program, shape)
        self.arrays = _cupy()  # type: ignore[misc]
        self._module, self.march = _compiled(source(program, shape), program.bits, shape.bytes)

    def _march(self, uniforms: np.ndarray, numbers: tuple[int, ...], arrays: list[Any]) -> None:
        cupy = self.arrays
        place = self._module.get_global("U")
        cupy.ndarray(uniforms.shape, uniforms.dtype, place).set(uniforms)
        self.march(
            (-(-numbers[0] // self.shape.runs),),
            (self.shape.threads,),
            (*map(np.int32, numbers), *arrays),
            shared_mem=self.shape.bytes,
        )
        cupy.cuda.get_current_stream().synchronize()

    @staticmethod
    def free() -> int:
        """Bytes that are free on the GPU, which is without those that JAX keeps for itself."""
        cupy = _cupy()
        kept = cupy.get_default_memory_pool().free_bytes()
        return int(cupy.cuda.runtime.memGetInfo()[0] + kept)

    @staticmethod
    def processors() -> int:
        """Multiprocessors of the GPU."""
        return int(_cupy().cuda.Device().attributes["MultiProcessorCount"])

    def take(self, array: Any) -> Any:
        """A copy of an array of JAX or NumPy."""
        if isinstance(array, np.ndarray):
            return self.arrays.asarray(array)
        if array.dtype == bool:  # of which DLPack knows too little
            return self.arrays.asarray(np.asarray(array))
        cupy = self.arrays
        found = cupy.array(cupy.from_dlpack(jax.block_until_ready(array)), order="C")  # a copy
        cupy.cuda.get_current_stream().synchronize()  # JAX may use the memory again
        return found

    def give(self, array: Any) -> jax.Array:
        """An array as JAX's, which shares its memory."""
        if array.dtype == bool:
            return jax.numpy.asarray(array.get())
        return jax.dlpack.from_dlpack(array)


def _cupy() -> Any:
    try:
        import cupy  # type: ignore[import-not-found]
    except ImportError:
        must = "be one of XLA's, or have CuPy (`pip install cupy-cuda13x`) on a GPU"
        _checks.fail("integrator", must, "`Fused` finds no CuPy")
    return cupy


@lru_cache(maxsize=32)
def _compiled(text: str, bits: int, shared: int) -> tuple[Any, Any]:
    options = ["-std=c++17"]
    if bits == 32:  # quotients to two units in the last place, as XLA's
        options.append("-prec-div=false")
    try:
        module = _cupy().RawModule(code=text, options=tuple(options))
        march = module.get_function("march")
        if shared > 48 * 1024:
            march.max_dynamic_shared_size_bytes = shared
    except MemoryError:
        raise
    except Exception as error:  # CuPy's own, of a compiler or a driver
        said = f"{type(error).__name__}: {error}"[:500]
        raise CannotFuse(f"CuPy cannot build the kernel. {said}") from error
    return module, march
