"""Where work runs: on the CPU what is small and sequential, where JAX's default is an accelerator.

A GPU takes 35 to 55 µs for a step of any batch up to 512 runs of 90 regions, the time of launching
its operations; a core of a CPU takes 3 to 10 µs for a step of one run. So single runs, equilibria,
orbits and continuations are faster beside the GPU than on it, and large batches and maps are not.

A choice of the user's stands: a default device, or arguments that are committed to one. Under
JAX's transformations nothing is moved. What runs on the CPU gives arrays there that go along with
any others, since they are committed to no device.
"""

import contextlib
import contextvars
import functools
import inspect
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ParamSpec, TypeVar

import equinox as eqx
import jax
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.randomness import is_key

# What is small: below where the two take as long, by measurements on one H200 beside 16 cores of a
# CPU (benchmarks/gpu_runs), if the GPU's time is that of its launches, the same for less work, and
# the CPU's is in proportion to it.
# Steps: 27 runs of 90 regions in 32 bits: regions, and products with weights, over all runs.
STATES, PRODUCTS = 2_500, 225_000
# Tangents: nearly 4 points of 90 regions and 20 exponents; of one region and all six it is 1600
# points, 11,200 tangents.
TANGENTS, TANGENT_PRODUCTS = 7_000, 660_000
# Neurons of all populations: 56,000 in each of two.
NEURONS = 100_000
# Regions whose whole Jacobian is worked on: of 90 a response was 23 times faster on the GPU, which
# the cube of 30 to 90 is.
DENSE = 30
# Points whose modes at rest are computed together: of 256 the CPU's took 0.6 of the time.
POINTS = 256

# An accelerator takes so many times more lanes than a CPU, since it launches every operation.
_WIDER = 32

_log = logging.getLogger(__name__)
# Whether what runs now was moved to the CPU.
_moved: contextvars.ContextVar[bool] = contextvars.ContextVar("moved", default=False)
_P = ParamSpec("_P")
_R = TypeVar("_R")
_config: Any = jax.config  # its options are not in its type


def steps_are_few(system: Any, runs: int = 1) -> bool:
    """Whether a step of so many runs is small."""
    regions = _regions(system)
    return runs * regions <= STATES and runs * regions**2 <= PRODUCTS


def tangents_are_few(system: Any, count: int | None = None, runs: int = 1) -> bool:
    """Whether a step of so many trajectories with `count` tangents is small; None for all."""
    columns = runs * (1 + (math.prod(system.state_shape) if count is None else count))
    regions = _regions(system)
    return columns * regions <= TANGENTS and columns * regions**2 <= TANGENT_PRODUCTS


def jacobian_is_small(system: Any) -> bool:
    """Whether a system's whole Jacobian is."""
    return _regions(system) <= DENSE


def points_of(axes: Mapping[str, Any]) -> int:
    """How many points a grid has."""
    return math.prod(np.size(along) for along in axes.values())


def _regions(system: Any) -> int:
    return math.prod(system.state_shape[1:])


def placed(
    small: Callable[..., bool] = lambda **given: True,
) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Have a function run on the CPU where its work is `small`, and JAX's default is another.

    `small` is told all arguments by name; where it fails over bad ones, the function says so.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            if _chosen():
                return function(*args, **kwargs)
            try:
                bound = signature.bind(*args, **kwargs)
                bound.apply_defaults()
                moved = small(**bound.arguments)
            except (TypeError, AttributeError, ValueError):
                moved = False
            with beside(function.__name__, moved, args, kwargs) as device:
                if device is None:
                    return function(*args, **kwargs)
                here: Any = [_brought(value, device) for value in args]
                named: Any = {name: _brought(value, device) for name, value in kwargs.items()}
                return function(*here, **named)

        return run

    return decorate


@contextlib.contextmanager
def beside(what: str, small: bool, *values: Any) -> Iterator[Any]:
    """Within it, work on `values` runs on the CPU where it is `small` and JAX's default is another.

    Gives the device that it is brought to; None where it stays.
    """
    device = None
    if small and not _chosen() and _checks.on_host(*values) and not _committed(values):
        device = next(iter(cpus()), None)
    if device is None:
        yield None
        return
    _log.info("%s: on the CPU, where it is faster than on the %s", what, default_platform())
    token = _moved.set(True)
    try:
        with jax.default_device(device):
            yield device
    finally:
        _moved.reset(token)


def devices() -> list[Any]:
    """The devices that work is spread over now: the one that was chosen, else all local ones.

    Of what was moved to the CPU, all that JAX was told to make of it (`jax_num_cpu_devices`).
    """
    if _moved.get():
        return cpus()
    chosen = _config.jax_default_device
    if chosen is None:
        return list(jax.local_devices())
    return [jax.local_devices(backend=chosen)[0] if isinstance(chosen, str) else chosen]


def on_cpu() -> bool:
    """Whether work runs on a CPU now."""
    return bool(devices()[0].platform == "cpu")


def wide(lanes: int, elsewhere: int | None = None) -> int:
    """Lanes that a device takes at a time, of which a CPU takes so many.

    More `elsewhere`, by default 32 times as many.
    """
    if on_cpu():
        return lanes
    return _WIDER * lanes if elsewhere is None else elsewhere


def default_platform() -> str:
    """The kind of device that JAX takes by default."""
    return jax.default_backend()


def cpus() -> list[Any]:
    """The CPU's devices; none where JAX was told to have none."""
    try:
        return list(jax.local_devices(backend="cpu"))
    except RuntimeError:
        return []


def _chosen() -> bool:
    """Whether there is nothing to choose."""
    return _config.jax_default_device is not None or default_platform() == "cpu"


def _committed(values: Any) -> bool:
    """Whether any array was put on a device on purpose."""
    leaves = jax.tree.leaves(values)
    return any(isinstance(leaf, jax.Array) and leaf.committed for leaf in leaves)


def _brought(value: Any, device: Any) -> Any:
    """An array, or a system with its arrays, on a device: once, not in each call of a program."""
    if not isinstance(value, jax.Array | eqx.Module):
        return value

    def there(leaf: Any) -> Any:
        if not isinstance(leaf, jax.Array) or leaf.weak_type or leaf.devices() == {device}:
            return leaf
        if is_key(leaf):
            return leaf
        return as_array(np.asarray(leaf))

    return jax.tree.map(there, value)
