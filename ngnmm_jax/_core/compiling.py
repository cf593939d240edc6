"""How XLA compiles programs on GPUs."""

from typing import Any


def options(platform: str) -> dict[str, Any] | None:
    """Options of `jax.jit` for programs on a kind of device; None on CPUs.

    On GPUs, products of matrices go to cuBLAS. Triton's are tried one after another while the
    program is compiled: 20 s in place of 2 for a sweep in 32 bits, no faster then (H200, JAX
    0.11.2; benchmarks/RESULTS.md).
    """
    if platform != "gpu":
        return None
    return {"xla_gpu_enable_triton_gemm": False}
