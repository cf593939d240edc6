"""Does a fit hold in simulations? Functional connectivity of BOLD, in two halves of the runs."""

from typing import Any

import equinox as eqx
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.placement import devices
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax._core.status import Status
from ngnmm_jax.fitting.losses import pearson, upper
from ngnmm_jax.models.times import need_seconds, seconds_in
from ngnmm_jax.observe.balloon import BalloonWindkessel
from ngnmm_jax.sweeps import Activity, Design, sweep


class SimulatedFC(AbstractResult):
    """Functional connectivity of simulated BOLD.

    - `halves` (2, region, region): means over the runs of each half (other seeds, nothing shared).
    - `status` (run,): NOT_FINITE also where BOLD was constant to rounding. Runs that did not end
      well are left out of the means.
    - `seconds`: simulated in each; `signal`: what BOLD followed.
    """

    halves: np.ndarray
    status: np.ndarray
    seconds: float
    signal: str = eqx.field(static=True)

    @property
    def stats(self) -> dict[str, Any]:
        """Correlation between the halves; runs that ended well, and seconds of each."""
        runs = f"{self.ended_well} of {self.status.size}"
        return {"reliability": self.reliability, "runs": runs, "seconds": self.seconds}

    def summary(self) -> dict[str, Any]:
        return {"signal": self.signal, "fc": self.fc}

    @property
    def ended_well(self) -> int:
        """How many runs did."""
        return int((self.status == Status.OK).sum())

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
    - `signal`: what BOLD follows; by default what the model says (`model.synaptic`).
    - `dt`, `dtype`: as in `Activity`.

    Raises `ValueError` where all runs of a half failed.
    """
    _checks.seed(seed)
    activity = planned_fc(
        system, duration, repetition_time=repetition_time, runs=runs, transient=transient,
        signal=signal, dt=dt, dtype=dtype, haemodynamics=haemodynamics,
    )  # fmt: skip
    (signal,) = activity.signals
    coupling = np.asarray(system.coupling)[None]
    design = Design.listed({"coupling": coupling}, replicates=runs, seed=seed)
    # Chunks are filled up: no wider than the runs need.
    width = min(activity.chunk(system), -(-runs // len(devices())))
    found = sweep(system, design, activity, checks=0, chunk=width, progress=progress)
    every = found[f"{signal}_bold_fc"].values[0]
    status = found["status"].values[0]
    finite = np.isfinite(every).all(axis=(1, 2))
    status = np.where((status == Status.OK) & ~finite, Status.NOT_FINITE, status).astype(np.int8)
    good = status == Status.OK
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
    seconds = activity.duration * seconds_in(system.model.time_unit)
    return SimulatedFC(np.stack(halves), status, seconds, signal)


def planned_fc(
    system: Any,
    duration: Any,
    *,
    repetition_time: Any,
    runs: int,
    transient: Any = None,
    signal: str | None = None,
    dt: Any = None,
    dtype: str | None = None,
    haemodynamics: BalloonWindkessel | None = None,
) -> Activity:
    """What `simulated_fc` computes in each run with these arguments.

    Raises `ValueError` where it would refuse them: so a fit's check is refused before the fit.
    """
    need_seconds("system", system.model.time_unit, "BOLD")
    _checks.positive_integer("runs", runs)
    if runs < 2:
        _checks.fail("runs", "be at least two", f"it is {runs}")
    duration, repetition_time = float(duration), float(repetition_time)
    before = repetition_time * max(1, round(0.1 * duration / repetition_time))
    activity = Activity(
        duration=duration,
        transient=before if transient is None else float(transient),
        signals=(system.model.synaptic if signal is None else signal,),
        keep=("bold_fc",),
        repetition_time=repetition_time,
        haemodynamics=haemodynamics,
        dt=dt,
        dtype=dtype,
    )
    activity.plan(system)
    return activity
