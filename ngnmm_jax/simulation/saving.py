"""What a run saves and when, and how it is cut up for that."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.memory import amount, memory
from ngnmm_jax.integrators.steps import common_step
from ngnmm_jax.models.base import AbstractNeuralMass
from ngnmm_jax.models.times import usual_sample

# Blocks that a long run is cut into, between which progress is shown and it can be interrupted.
_BLOCKS = 50
# Saves for which a block has room: one of few numbers, so that programs are shared. Of small
# networks, up to so many bytes, always the most; of large ones fewer than would take more.
_ROOMS, _SMALL, _LARGE = (1, 16, 256), 2**23, 2**28
# Of the machine's memory, what saved samples may take; and bytes, where a caller does not say what
# is saved, or when.
_SHARE, _UNSAID = 0.5, 2e9


@dataclasses.dataclass(frozen=True)
class Saving:
    """What is saved and when; with fixed steps, `picks` counts saves every `stride` steps."""

    variables: tuple[str, ...]
    ts: tuple[float, ...]
    stride: int = 0
    n_steps: int = 0
    picks: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Request:
    """What a caller asks to be saved; checked, but for the grid of steps.

    - `model`; `duration` and `t0`: when the run begins and how long it takes.
    - `every`, or `at` (time,), or neither: about every millisecond.
    - `variables`: names, or one name, or None for all.
    """

    model: AbstractNeuralMass
    duration: Any
    t0: Any = 0.0
    every: Any = None
    at: Any = None
    variables: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for name in ("duration", "t0", "every"):
            if getattr(self, name) is not None:
                argument = "save_every" if name == "every" else name
                object.__setattr__(self, name, _checks.time(argument, getattr(self, name)))
        _checks.positive("duration", self.duration)
        if self.at is not None and self.every is not None:
            _checks.fail("save_every", "not be given with `save_at`", "both are")
        if self.every is not None:
            _checks.positive("save_every", self.every)
            if self.every > self.duration * (1 + 1e-9):
                must = f"be at most the duration, {self.duration:g} (or use `save_at`)"
                _checks.fail("save_every", must, f"it is {self.every:g}")
        names, known = self.names, (*self.model.variables, self.model.shown)
        for name in names:
            _checks.one_of("variables", name, dict.fromkeys(known))
        if not names:
            _checks.fail("variables", "name at least one variable", "it names none")

    @property
    def names(self) -> tuple[str, ...]:
        """The saved variables."""
        if isinstance(self.variables, str):
            return (self.variables,)
        known = (*self.model.variables, self.model.shown)
        return tuple(dict.fromkeys(known) if self.variables is None else self.variables)

    def common_step(self, longest: float) -> float | None:
        """The longest step, up to `longest`, of which all times are multiples; None if none is."""
        return common_step(np.array([*self._times(None), self.duration]), longest)

    def step(self, longest: float) -> float:
        """The same; `ValueError` if there is none."""
        found = self.common_step(longest)
        if found is None:
            _checks.fail("dt", "be given where the other times have no common step", "it is not")
        return found

    def plan(self, dt: float | None) -> Saving:
        """What is saved, on the grid of steps `dt` if these are fixed."""
        times = self._times(dt)
        ts = tuple((times + self.t0).tolist())
        if dt is None:
            return Saving(self.names, ts)
        steps = _on_grid("save_every` or `save_at", times, dt)
        n_steps = int(_on_grid("duration", self.duration, dt)[0])
        gaps = np.diff(np.concatenate([[0], steps]))
        stride = int(np.gcd.reduce(gaps[gaps > 0])) if (gaps > 0).any() else n_steps
        return Saving(self.names, ts, stride, n_steps, tuple((steps // stride).tolist()))

    def _times(self, dt: float | None) -> np.ndarray:
        """Times (time,) of saves, from the beginning of the run."""
        if self.at is not None:
            return self._given_times()
        every = self.every
        if every is None:
            every = usual_sample(self.model)
            if dt is not None:
                every = max(1, round(every / dt)) * dt
            every = min(every, self.duration)
        return float(every) * np.arange(math.floor(self.duration / every + 1e-9) + 1)

    def _given_times(self) -> np.ndarray:
        times = np.atleast_1d(_checks.times("save_at", self.at)) - self.t0
        _checks.finite("save_at", times)
        slack = 1e-9 * self.duration
        if times.ndim != 1 or not times.size or (np.diff(times) <= 0).any():
            _checks.fail("save_at", "be a rising sequence of times", f"it is {self.at!r}")
        if times[0] < -slack or times[-1] > self.duration + slack:
            _checks.fail(
                "save_at",
                f"lie within the run, from {self.t0:g} to {self.t0 + self.duration:g}",
                f"it spans {times[0] + self.t0:g} to {times[-1] + self.t0:g}",
            )
        return times


def _on_grid(argument: str, value: Any, dt: float) -> np.ndarray:
    value = np.atleast_1d(value)
    steps = np.rint(value / dt).astype(int)
    off = np.abs(steps * dt - value)
    if off.max() > 1e-6 * dt:
        worst = float(value[np.argmax(off)])
        _checks.fail(argument, f"be a multiple of the fixed step {dt:g}", f"it holds {worst:g}")
    return steps


def check_memory(saving: Saving, request: Request, regions: int, dtype: Any, runs: int = 1) -> None:
    """Refuse samples that would not fit, or very many that nobody asked for."""
    each = runs * regions * np.dtype(dtype).itemsize
    size = float(len(saving.ts) * len(saving.variables) * each)
    unsaid = runs == 1 and request.at is None and None in (request.every, request.variables)
    if size <= (min(_UNSAID, _SHARE * memory()) if unsaid else _SHARE * memory()):
        return
    must = "be given" if request.every is None and request.at is None else "be longer"
    of = f"{len(saving.variables)} variables at {len(saving.ts)} times"
    of += f" of {regions} regions" + (f" in {runs} runs" if runs > 1 else "")
    but = f"{of} are {amount(size)}: save fewer `variables` or less often, or take a sweep's "
    but += "summaries (`sweep(…, measure=Activity(…))`), which keep no samples"
    if unsaid:
        but += f" (what is saved without being asked for is at most {amount(_UNSAID)})"
    _checks.fail("save_every", must, but)


def blocks_of_saves(
    saving: Saving, traced: bool, in_pieces: bool, each: int = 1
) -> list[tuple[int, int, Any, Any]]:
    """How a run of fixed steps is cut up: saves kept, `room`, and `steps`, as for `save_steps`.

    `each`: bytes of a save; `traced`: as a caller's program will have it, in one piece;
    `in_pieces`: often enough to show progress. The steps after the last save come last, as a save
    that is not kept.
    """
    n_saves, rest = divmod(saving.n_steps, saving.stride)
    if traced:
        pieces = [(n_saves, 0, n_saves, saving.stride)] if n_saves else []
        return pieces + ([(0, 0, 1, rest)] if rest else [])
    most = max(room for room in _ROOMS if room == 1 or room * each <= _LARGE)
    size = max(1, min(most, n_saves // _BLOCKS)) if in_pieces else most
    counts = [size] * (n_saves // size) + [n_saves % size] * (n_saves % size > 0)
    least = most if most * each <= _SMALL else max(counts, default=1)
    room = next(room for room in _ROOMS if room >= least)
    found = [(n, room, as_array(n), as_array(saving.stride)) for n in counts]
    return found + ([(0, room, jnp.asarray(1), as_array(rest))] if rest else [])


def select(model: AbstractNeuralMass, variables: tuple[str, ...], state: jax.Array) -> jax.Array:
    """The rows of a state (variable, …) that are saved."""
    if variables == model.variables:
        return state
    return jnp.stack(
        [
            state[model.variables.index(name)] if name in model.variables else model.observe(state)
            for name in variables
        ]
    )
