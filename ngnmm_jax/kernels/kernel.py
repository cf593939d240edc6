"""A program built for a device, and how arrays are handed to it."""

import abc
from typing import Any, ClassVar

import jax
import numpy as np

from ngnmm_jax.kernels.program import Program
from ngnmm_jax.kernels.source import Shape, check_arrays


class AbstractKernel(abc.ABC):
    """`march` of a program, for arrays of a module that is like NumPy."""

    #: NumPy, or what has its functions for arrays on the device.
    arrays: ClassVar[Any] = np

    def __init__(self, program: Program, shape: Shape) -> None:
        self.program, self.shape = program, shape
        self.real = np.dtype(f"float{program.bits}")

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
        """Memory after so many samples, and the samples (sample, signal, region, run).

        What is in `memory` is written over.
        """
        program, xp = self.program, self.arrays
        check_arrays(program, self.shape.regions, runs, memory, given, keys)
        # What is the same for all items is read by blocks that begin when others have ended.
        later = [
            leaf if like.wide else xp.empty_like(leaf)
            for leaf, like in zip(memory, program.memory, strict=True)
        ]
        shape = (samples, len(program.signals), self.shape.regions, runs) if write else (1,)
        shown = xp.empty(shape, self.real)
        pushed = xp.zeros(1, self.real) if pushed is None else pushed
        both = [x for pair in zip(memory, later, strict=True) for x in pair]
        self._march(
            np.asarray(program.uniforms or (0.0,), self.real),
            (runs, samples, stride, int(write)),
            [*both, *given, *keys, pushed, tiles, shown],
        )
        return later, shown

    @abc.abstractmethod
    def _march(self, uniforms: np.ndarray, numbers: tuple[int, ...], arrays: list[Any]) -> None:
        """Run it with its constants, numbers and arrays (`source.arguments`), and wait."""

    @staticmethod
    @abc.abstractmethod
    def processors() -> int:
        """How many blocks can be at work at the same time, each on a processor of its own."""

    @abc.abstractmethod
    def take(self, array: Any) -> Any:
        """A copy of an array of JAX or NumPy."""

    @abc.abstractmethod
    def give(self, array: Any) -> jax.Array:
        """An array as JAX's."""
