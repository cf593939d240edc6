"""Does a fit hold in simulations? Functional connectivity of BOLD, in two halves of the runs."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.status import Status
from ngnmm_jax.fitting.losses import pearson, upper
from ngnmm_jax.models.base import SECONDS, AbstractNeuralMass
from ngnmm_jax.observe.balloon import BalloonWindkessel
from ngnmm_jax.sweeps import Activity, Design, sweep


@dataclasses.dataclass(frozen=True)
class SimulatedFC:
    """Functional connectivity of simulated BOLD.

    - `halves` (2, region, region): means over the runs of each half (other seeds, nothing shared).
    - `runs`: how many ended well, of how many; `seconds`: simulated in each.
    - `signal`: what BOLD followed.
    """

    halves: np.ndarray
    runs: tuple[int, int]
    seconds: float
    signal: str

    @property
    def fc(self) -> np.ndarray:
        """The mean of both halves."""
        return self.halves.mean(axis=0)

    @property
    def reliability(self) -> float:
        """Correlation between the halves: what the finite simulated time leaves of it."""
        return float(pearson(*(upper(half) for half in self.halves)))

    def correlation(self, target: Any) -> tuple[float, float]:
        """With a target's upper triangle, of each half."""
        wanted = upper(np.asarray(target))
        first, second = (float(pearson(upper(half), wanted)) for half in self.halves)
        return first, second


def simulated_fc(
    system: Any,
    duration: Any,
    *,
    repetition_time: Any,
    runs: int = 32,
    transient: Any = None,
    signal: str | None = None,
    dt: Any = None,
    dtype: str | None = None,
    haemodynamics: BalloonWindkessel | None = None,
    seed: int = 1000,
    progress: bool | None = None,
) -> SimulatedFC:
    """Functional connectivity of BOLD over many simulations, in two halves.

    Seeds are none that a fit has used: nothing is selected here.

    **Arguments:** times in the model's unit.

    - `duration`: of each run, in whole repetition times; `transient`: before it, by default a
      tenth.
    - `runs`: in all, at least two.
    - `signal`: what BOLD follows; by default the variable that the model sends to other regions
      (of `NextGenEI` s_e), or what it shows where it sends none of them (of `JansenRit` y1 - y2).
    - `dt`, `dtype`: as in `Activity`.

    Raises `ValueError` where all runs of a half failed.
    """
    _checks.positive_integer("runs", runs)
    if runs < 2:
        _checks.fail("runs", "be at least two", f"it is {runs}")
    duration, repetition_time = float(duration), float(repetition_time)
    signal = sent(system.model) if signal is None else signal
    before = repetition_time * max(1, round(0.1 * duration / repetition_time))
    activity = Activity(
        duration=duration,
        transient=before if transient is None else float(transient),
        signals=(signal,),
        keep=("bold_fc",),
        repetition_time=repetition_time,
        haemodynamics=haemodynamics,
        dt=dt,
        dtype=dtype,
    )
    coupling = np.asarray(system.coupling)[None]
    design = Design.listed({"coupling": coupling}, replicates=runs, seed=seed)
    # Chunks are filled up: no wider than the runs need.
    width = min(activity.chunk(system), -(-runs // len(jax.local_devices())))
    found = sweep(system, design, activity, checks=0, chunk=width, progress=progress)
    every = found[f"{signal}_bold_fc"].values[0]
    good = (found["status"].values[0] == Status.OK) & np.isfinite(every).all(axis=(1, 2))
    halves = []
    for first in (0, 1):
        some = every[first::2][good[first::2]]
        if not len(some):
            bad = int((found["status"].values != Status.OK).sum())
            why = f"{bad} of {runs} runs failed" if bad else (
                'BOLD is constant to rounding: use dtype="float64", or stronger noise'
            )  # fmt: skip
            _checks.fail("system", "have runs that end well", why)
        halves.append(some.astype(float).mean(axis=0))
    unit = SECONDS[system.model.time_unit]
    return SimulatedFC(np.stack(halves), (int(good.sum()), runs), duration * unit, signal)


def sent(model: AbstractNeuralMass) -> str:
    """The variable that a model's output is, found by trying states; or what the model shows."""
    shape = (len(model.variables), model.n_regions or 1)
    states = np.random.default_rng(0).uniform(0.1, 0.9, shape)
    output = np.broadcast_to(np.asarray(model.output(jnp.asarray(states))), shape[1:])
    states = np.asarray(jnp.asarray(states))  # as precise as the output
    for name, row in zip(model.variables, states, strict=True):
        if np.array_equal(output, row):
            return name
    return model.shown
