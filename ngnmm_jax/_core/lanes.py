"""One compiled function over many points: in chunks, over all devices, showing progress."""

import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.compiling import options
from ngnmm_jax._core.placement import devices as devices_in_use
from ngnmm_jax._core.progress import progress_bar
from ngnmm_jax._core.randomness import is_key

_T = TypeVar("_T")


def map_chunks(
    function: Callable[..., Any],
    shared: Any,
    points: Any,
    *,
    chunk: int,
    progress: bool | None = None,
    what: str = "points",
    one_device: bool = False,
    lockstep: bool = False,
) -> Any:
    """`vmap` of `function(shared, point)` over `points`, as NumPy arrays on the host.

    **Arguments:**

    - `function`: must be one and the same object for the same work, so that it compiles once.
    - `points`: a PyTree of arrays with a leading axis.
    - `chunk`: points that a device takes at a time; the last chunk is filled up.
    - `progress`: a progress bar; None shows one for work of over two seconds.
    - `one_device`: do not spread the work. Needed where `function` calls optimistix, whose
      linear solvers (lineax 0.1) fail under `shard_map` with JAX's sharded types.
    - `lockstep`: `function` takes a whole chunk of points, with their leading axis. Chunks are
      never cut short then, so that any number of points runs the same compiled code.
    """
    n = jax.tree.leaves(points)[0].shape[0]
    devices = devices_in_use()[: 1 if one_device else None]
    if not lockstep:
        devices = devices[: max(1, -(-n // chunk))]
        chunk = min(chunk, -(-n // len(devices)))
    width = chunk * len(devices)
    run = _compiled(function, tuple(devices), lockstep)
    with progress_bar(n, what, "point", progress) as bar:
        return by_width(lambda some: run(shared, some), points, width, bar.update)


def by_width(
    run: Callable[[Any], Any],
    points: Any,
    width: int,
    done: Callable[[int], Any] = lambda kept: None,
) -> Any:
    """`run` of so many points at a time, the last ones filled up, as NumPy arrays of all.

    `done` is told how many each time.
    """
    # On the host, where a part of them is no program of its own; but for random keys.
    points = jax.tree.map(lambda leaf: leaf if is_key(leaf) else np.asarray(leaf), points)
    results = []
    for index, kept in padded(jax.tree.leaves(points)[0].shape[0], width):
        some = run(jax.tree.map(lambda leaf, index=index: leaf[index], points))
        results.append(jax.tree.map(lambda leaf, kept=kept: np.asarray(leaf)[:kept], some))
        done(kept)
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *results)


def within_memory(
    work: Callable[[int], _T], lanes: int, may: Callable[[], bool] = lambda: True
) -> tuple[_T, int]:
    """`work(lanes)`, and the lanes that it was done with: half, and half again, where they do not
    fit into the memory of a device, with a warning.

    `may`: whether fewer lanes can help; asked before each attempt but the first, when what the
    last one held is given back.
    """
    while True:
        try:
            return work(lanes), lanes
        except (MemoryError, jax.errors.JaxRuntimeError) as error:
            full = isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
            if not full or lanes == 1:
                raise
            failed = error.with_traceback(None)
        # What the attempt held is given back by now.
        if not may():
            raise failed
        warnings.warn(
            f"{lanes} runs at a time do not fit into the memory: on with {lanes // 2}.",
            stacklevel=3,
        )
        lanes //= 2


def padded(n: int, width: int) -> Iterator[tuple[np.ndarray, int]]:
    """Indices of `width` items at a time, the last ones repeated to fill up; how many count."""
    for start in range(0, n, width):
        yield np.minimum(np.arange(start, start + width), n - 1), min(width, n - start)


@lru_cache(maxsize=128)
def _compiled(
    function: Callable[..., Any], devices: tuple[Any, ...], lockstep: bool
) -> Callable[..., Any]:
    def on_device(shared: Any, points: Any) -> Any:
        if lockstep:
            return function(shared, points)
        return jax.vmap(lambda point: function(shared, point))(points)

    if len(devices) > 1:
        split, whole = PartitionSpec("point"), PartitionSpec()
        mesh = Mesh(np.array(devices), ("point",))
        on_device = jax.shard_map(
            on_device,
            mesh=mesh,
            in_specs=(whole, split),
            out_specs=split,
            check_vma=False,
        )
    return jax.jit(on_device, compiler_options=options(devices[0].platform))


def grid(axes: dict[str, Any], dtype: Any = float) -> tuple[dict[str, jax.Array], tuple[int, ...]]:
    """All points of a grid, (point,) for each axis, and the grid's shape."""
    mesh = np.meshgrid(*axes.values(), indexing="ij")
    points = {name: as_array(m.ravel(), dtype) for name, m in zip(axes, mesh, strict=True)}
    return points, mesh[0].shape


def take(points: dict[str, Any], index: Any) -> dict[str, Any]:
    """Some of the points of a grid."""
    return {name: value[index] for name, value in points.items()}
