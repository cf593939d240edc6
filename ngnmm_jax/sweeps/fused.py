"""Runs in lock-step by kernels that take a whole window's steps: see `integrators.Fused`."""

import warnings
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.compiling import options
from ngnmm_jax._core.lanes import by_width
from ngnmm_jax._core.placement import devices
from ngnmm_jax.integrators import Fused
from ngnmm_jax.kernels import CannotFuse, Program, traced
from ngnmm_jax.kernels.cuda import CudaKernel
from ngnmm_jax.kernels.host import HostKernel
from ngnmm_jax.kernels.program import varied, weights_of
from ngnmm_jax.kernels.source import Shape, fragments, runs_of
from ngnmm_jax.sweeps.streaming import Shared, Streamed
from ngnmm_jax.systems.driven import noise_keys, pushes, undriven
from ngnmm_jax.systems.network import Network

# Programs that are remembered.
_PROGRAMS: dict[Any, Program] = {}
_MOST_PROGRAMS = 64
# Of the memory that is free, what a kernel's arrays may fill; and its memory, in states.
_SHARE, _REMEMBERED = 0.8, 6
# Before the first window a launch is of this many steps at most, so that it can be interrupted.
_STEPS = 20_000


def fused(function: Streamed, shared: Shared, lanes: dict[str, Any], chunk: int) -> "Fusion | None":
    """How a kernel takes such runs, `chunk` at a time; None where XLA is to take them.

    Warns where it is asked for and cannot be.
    """
    chosen = function.integrator
    if not isinstance(chosen, Fused):
        return None
    device: Any = devices()[0]
    if chosen.on == "gpu" and device.platform != "gpu":
        return None
    try:
        if chosen.on == "gpu" and device.local_hardware_id:
            raise CannotFuse("Kernels run on the first GPU only.")
        return Fusion(function, chosen, shared, lanes, chunk)
    except CannotFuse as reason:
        warnings.warn(f"XLA takes the steps, not a kernel. {reason}", UserWarning, stacklevel=3)
        return None


def room(window: int, state: int) -> float:
    """Runs for which there is memory beside what JAX has taken for itself.

    Of whose samples a window has so many bytes, and the state.
    """
    return max(1.0, _SHARE * CudaKernel.free() / (window + _REMEMBERED * state))


class Fusion:
    """Runs through a plan by a kernel for their steps, and XLA for what is gathered of them."""

    def __init__(
        self,
        function: Streamed,
        chosen: Fused,
        shared: Shared,
        lanes: dict[str, Any],
        chunk: int,
    ) -> None:
        self.function, self.shared = function, shared
        check_noise(shared.system, lanes["key"])
        self.program = _traced(function, chosen, shared, lanes)
        network = undriven(shared.system)
        self.regions = network.n_regions if isinstance(network, Network) else 1
        self._chunk = min(chunk, lanes["start"].shape[0])
        kind: Any = CudaKernel if chosen.on == "gpu" else HostKernel
        runs = chosen.runs
        if runs is None:
            runs = runs_of(self.program, self.regions, self._chunk, kind.processors())
        shape = Shape.of(self.program, self.regions, runs)
        self.kernel: Any = kind(self.program, shape)
        weights = weights_of(shared.system).astype(f"float{self.program.bits}")
        self.tiles = self.kernel.take(fragments(weights, self.program, shape))

    def __call__(self, lanes: dict[str, Any]) -> Any:
        """The results (run, …) of all runs, in NumPy."""
        return by_width(lambda some: self.chunk(jax.tree.map(as_array, some)), lanes, self._chunk)

    def chunk(self, lanes: dict[str, Any]) -> dict[str, jax.Array]:
        """The results of as many runs as are taken at a time."""
        function, shared, kernel = self.function, self.shared, self.kernel
        memory, totals, given, keys = _run(_start, function, shared, lanes)
        leaves, structure = jax.tree.flatten(memory)
        del memory
        at = [kernel.take(leaf) for leaf in leaves]
        arrays = [kernel.take(leaf) for leaf in given]
        words = [kernel.take(key) for key in keys]
        del leaves, given, keys
        march = partial(self._march, given=arrays, keys=words, runs=int(lanes["start"].shape[0]))
        stride, transient = (int(n) for n in shared.steps)
        step = 0
        for samples in _pieces(transient, stride):
            at, _ = march(at, step, samples, stride, write=False)
            step += samples * stride
        emitted = []
        for number in range(function.layout.windows):
            at, shown = march(at, step, function.layout.window, stride, write=True)
            step += function.layout.window * stride
            values = kernel.give(shown)
            totals, some = _run(_add, function, shared, totals, values, as_array(number))
            jax.block_until_ready(totals)
            emitted.append(some)
        memory = jax.tree.unflatten(structure, [kernel.give(leaf) for leaf in at])
        # Done before the kernel's memory, which JAX only borrows, is used again.
        found = _run(_finish, function, shared, lanes, memory, totals, emitted)
        return jax.block_until_ready(found)

    def _march(
        self, memory: list[Any], step: int, samples: int, stride: int, **options: Any
    ) -> tuple[list[Any], Any]:
        """The kernel from a step on, with the stimulus in its steps."""
        pushed = None
        if self.program.stimulated:
            numbers = jnp.arange(step, step + samples * stride)
            found = _run(_pushes, self.regions, self.shared.system, self.shared.dt, numbers)
            pushed = self.kernel.take(found)
        found = self.kernel(
            memory, tiles=self.tiles, samples=samples, stride=stride, pushed=pushed, **options
        )
        return found


def check_noise(system: Any, keys: Any) -> None:
    """Refuse noise of other generators than the kernel's."""
    config: Any = jax.config
    threefry = str(jax.random.key_impl(keys)) == "threefry2x32"
    if system.noise and not (threefry and config.jax_threefry_partitionable):
        raise CannotFuse("Its noise is that of JAX's Threefry, of which no parts are set apart.")


def _pieces(samples: int, stride: int) -> Iterator[int]:
    """So many samples, in pieces of not too many steps."""
    most = max(1, _STEPS // stride)
    while samples > 0:
        yield min(samples, most)
        samples -= most


def _start(function: Streamed, shared: Shared, lanes: dict[str, Any]) -> Any:
    """The integrator's memory, what is gathered, and the kernel's parameters and keys."""
    begun = function.begun(shared, lanes)
    keys = [jax.random.key_data(k) for k in noise_keys(shared.system, shared.dt, lanes["key"])]
    return begun.memory, function.totals(shared, lanes), varied(begun.system), keys


def _add(function: Streamed, shared: Shared, totals: Any, values: Any, number: Any) -> Any:
    return function.added(shared, totals, values, number)


def _finish(
    function: Streamed, shared: Shared, lanes: Any, memory: Any, totals: Any, emitted: list[Any]
) -> Any:
    gathered = jax.tree.map(lambda *parts: jnp.stack(parts), *emitted)
    begun = function.begun(shared, lanes)
    return function.finished(shared, lanes, begun, memory, totals, gathered)


def _pushes(regions: int, system: Any, dt: Any, numbers: jax.Array) -> jax.Array:
    """The stimulus in each of some steps (step, moment, region)."""
    return pushes(system, dt, numbers, regions)


@lru_cache(maxsize=16)
def _compiled(function: Any, platform: str) -> Any:
    """A function whose first argument is static; once for each platform."""
    return jax.jit(function, static_argnums=0, compiler_options=options(platform))


def _run(function: Any, *arguments: Any) -> Any:
    return _compiled(function, devices()[0].platform)(*arguments)


def _traced(function: Streamed, chosen: Fused, shared: Shared, lanes: dict[str, Any]) -> Program:
    """The program, once for equal systems."""
    points = {
        name: jax.ShapeDtypeStruct((*np.shape(value)[1:], 2), shared.dt.dtype)
        for name, value in lanes["point"].items()
    }
    leaves, structure = jax.tree.flatten(shared.system)
    given = tuple(
        (np.shape(leaf), str(leaf.dtype), np.asarray(leaf).tobytes() if not np.ndim(leaf) else b"")
        for leaf in leaves
    )
    key = (structure, given, float(shared.dt), str(shared.dt.dtype), chosen.integrator,
           function.signals, function.written, tuple(sorted(points.items())),
           str(jnp.asarray(0).dtype))  # fmt: skip
    found = _PROGRAMS.get(key)
    if found is None:
        signals = function.signals
        found = traced(shared.system, chosen.integrator, shared.dt, signals, points)
        while len(_PROGRAMS) >= _MOST_PROGRAMS:
            del _PROGRAMS[next(iter(_PROGRAMS))]
        _PROGRAMS[key] = found
    return found
