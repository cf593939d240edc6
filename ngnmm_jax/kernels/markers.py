"""What a step takes from outside of a region, as primitives of JAX that a walk through it meets.

A traced step's sizes are stand-ins: two primes, so that an axis of regions or of runs is known by
its length wherever it comes. With other primes the step must be the same, or its numbers depend on
how many regions or runs there are.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import batching

from ngnmm_jax.graphs import AbstractGraph

#: Lengths that stand for the numbers of regions and of runs.
LENGTHS = (10_007, 10_009)
# The least in a second trace: longer than most other axes.
_LEAST = 31
_STANDING: ContextVar[tuple[int, int]] = ContextVar("standing", default=LENGTHS)


class CannotFuse(ValueError):
    """A step that cannot be written out as a kernel, and why."""


def others(regions: int) -> tuple[int, int]:
    """Lengths for a second trace, near the number of regions: the same branches are taken."""
    numbers = range(max(regions, _LEAST), LENGTHS[0])
    primes = (p for p in numbers if all(p % q for q in range(2, math.isqrt(p) + 1)))
    return next(primes), next(primes)


@contextmanager
def standing(lengths: tuple[int, int]) -> Iterator[None]:
    """With other lengths for the numbers of regions and of runs."""
    token = _STANDING.set(lengths)
    try:
        yield
    finally:
        _STANDING.reset(token)


def stand_ins() -> tuple[int, int]:
    """The lengths that stand for the numbers of regions and of runs."""
    return _STANDING.get()


#: `product(values)`: Σ_k weights_jk values_k, each run by itself.
product = Primitive("ngnmm_product")
#: `normal(like, number, source=…)`: standard normal numbers of a source, of step `number`.
normal = Primitive("ngnmm_normal")
#: `stimulus(like, number, moment=…)`: the stimulus's mean in step `number`, or its rise.
stimulus = Primitive("ngnmm_stimulus")
for _outside in (product, normal, stimulus):
    _outside.def_abstract_eval(lambda like, *_, **__: like)

# A product is linear: what is differentiated through it, or batched, goes through it too.
jax.interpreters.ad.primitive_jvps[product] = lambda primals, tangents: (
    product.bind(*primals),
    tangents[0] if isinstance(tangents[0], jax.interpreters.ad.Zero) else product.bind(*tangents),
)


def _batched(values: Any, axes: Any) -> Any:
    (value,), (axis,) = values, axes
    rows = jnp.moveaxis(value, axis, 0)
    return jnp.stack([product.bind(row) for row in rows]), 0


batching.primitive_batchers[product] = _batched


class MarkedGraph(AbstractGraph):
    """Any dense graph, of which a walk sees where it is applied."""

    @property
    def n_regions(self) -> int:
        """The length that stands for it."""
        return stand_ins()[0]

    def apply(self, values: Any) -> Any:
        """A marker in the traced step."""
        if values.shape != stand_ins():
            raise CannotFuse(f"The graph is applied to values {values.shape}, not (region, run).")
        if values.dtype.kind != "f":
            raise CannotFuse(f"The graph is applied to values of {values.dtype}.")
        return product.bind(values)

    def row_sums(self, dtype: Any = None) -> Any:
        """Refused: a kernel has none."""
        raise CannotFuse(
            "The coupling takes the sums of its graph's rows, as differences between regions do: "
            "only `apply` can be fused."
        )

    def matrix(self) -> Any:
        """Refused: what is done with it is not a product with the values of regions."""
        raise CannotFuse("The coupling takes the matrix of its graph: only `apply` can be fused.")
