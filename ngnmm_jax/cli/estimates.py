"""What a command is about to need, before it starts; what cannot fit is refused."""

import contextlib
import math
import os
import shutil
from pathlib import Path
from typing import Any

from ngnmm_jax._core.memory import amount, memory
from ngnmm_jax._core.messages import fail
from ngnmm_jax.cli.output import say

# Seconds on two cores of an AMD EPYC, as benchmarks/RESULTS.md has them (90 regions, 64 bits): of a
# fixed step of one run and of many together, of an adaptive step, of a step of all tangents of a
# homogeneous system and of one tangent of a network, of a point of a map.
_STEP, _STEP_OF_MANY, _ADAPTIVE_STEP = 5e-6, 2e-6, 6e-5
_TANGENTS, _TANGENT_OF_NETWORK, _MAP_POINT = 1e-7, 3e-6, 1.2e-3
# Of the characteristic roots of an equilibrium of a network of a hundred regions with delays, and
# of the modes of one with one delay.
_ROOTS, _MODES = 2.0, 0.1
# What a call of each takes besides, once its programs are compiled.
_BESIDES = 4.0
# An adaptive step of an oscillating network, in those that a fixed one takes.
_ADAPTIVE_STEPS = 4.0


def announce(
    what: str, size: float, seconds: float | None, out: Path, *, held: bool = True
) -> None:
    """Say what is computed, the memory and the disk that it takes, and roughly how long.

    What cannot fit is refused. `seconds`: by the rates above, None where nobody knows; `held`:
    the whole result is held in memory, too.
    """
    fewer = "Ask for fewer points, a shorter duration or a longer `save_every`."
    if held and size > memory():
        raise ValueError(
            f"{what}: the result needs {amount(size)}, and this machine has {amount(memory())} of "
            f"memory. {fewer}"
        )
    free = _free(out)
    if size > free:
        raise ValueError(
            f"{what}: the result needs {amount(size)}, and {str(out)!r} has {amount(free)} of disk "
            f"left. {fewer}"
        )
    where = "in memory and on disk" if held else "on disk"
    long = "how long is seen after the first block" if seconds is None else (
        f"roughly {duration(_BESIDES + seconds)}, more where programs are compiled first"
    )  # fmt: skip
    say(f"{what}: {amount(size)} {where}; {long}")


def _free(out: Path) -> float:
    """Bytes that are free where something is to be written."""
    for place in (out, *out.absolute().parents):
        with contextlib.suppress(OSError):
            disk = shutil.disk_usage(place)
            return float(disk.free) if disk.total else math.inf  # of a disk that is none
    return math.inf


def of_steps(count: float, regions: int, runs: int = 1) -> float:
    """Seconds that runs of so many fixed steps take."""
    return count * runs * _here(regions) * (_STEP if runs == 1 else _STEP_OF_MANY)


def of_adaptive(duration: float, network: Any) -> float:
    """Seconds that a run by adaptive steps takes, if the network oscillates; at rest far fewer."""
    steps = duration / (_ADAPTIVE_STEPS * float(network.time_step))
    return steps * _ADAPTIVE_STEP * _here(network.n_regions)


def of_spectra(points: int, steps: float, count: int, regions: int) -> float:
    """Seconds that Lyapunov spectra take; `regions` is 1 for a homogeneous system."""
    if regions == 1:
        return points * steps * _TANGENTS * 2 / _processors()
    return points * steps * count * _TANGENT_OF_NETWORK * _here(regions)


def of_map(points: int) -> float:
    """Seconds that a map of states and modes takes."""
    return 2 * _BESIDES + points * _MAP_POINT * 2 / _processors()


def of_roots(regions: int, *, common: bool = False) -> float:
    """Seconds that the characteristic roots of an equilibrium take; `common`: mode by mode."""
    if common:
        return _MODES * regions / 100 * 2 / _processors()
    return _ROOTS * (regions / 100) ** 2 * 2 / _processors()


def step_of(network: Any, dt: float | None, points: Any = None) -> float:
    """The fixed step: the one given, if no delay is shorter; else the model's, or the shortest.

    `points`: values (run,) of what varies, by name.
    """
    shortest = float(network.shortest_delay(points))
    if dt is not None and dt > shortest:
        unit = network.model.time_unit
        fail("dt", f"be at most the shortest delay, {shortest:.6g} {unit}", f"it is {dt:g}")
    return dt or min(float(network.time_step), shortest)


def _here(regions: int) -> float:
    """How much longer a step of so many regions takes here than one of ninety on two cores."""
    relative = regions / 90
    return relative * (1 + relative) / 2 * 2 / _processors()


def _processors() -> int:
    return os.cpu_count() or 1


def duration(seconds: float) -> str:
    """A time, in words, of one digit or two."""
    for unit, size in (("s", 60.0), ("min", 60.0), ("hours", 24.0), ("days", 365.0)):
        if seconds < 2 * size:
            return f"{float(f'{seconds:.1g}' if seconds < 10 else f'{seconds:.2g}'):g} {unit}"
        seconds /= size
    return f"{seconds:.2g} years"
