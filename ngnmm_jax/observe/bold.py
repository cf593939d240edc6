"""BOLD: what a scanner sees of neural activity, by the Balloon-Windkessel model."""

import dataclasses
import math
from typing import Any, NoReturn

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax._core.status import Status
from ngnmm_jax.models.times import need_seconds, seconds_in
from ngnmm_jax.observe.balloon import BalloonWindkessel
from ngnmm_jax.observe.observation import (
    NAMED,
    AbstractObservation,
    Observed,
    System,
    observe,
)
from ngnmm_jax.signals._arrays import Number, as_number, as_signal, finite_or_not
from ngnmm_jax.simulation.result import Simulation

# A step whose estimate of its error is too large is cut in four, so many times.
_REFINED = 3


class BOLD(AbstractObservation):
    """What a scanner sees of a run: see `perfusion`, which says what is refused.

    - `repetition_time` (s): between volumes, a multiple of the run's sampling interval.
    - `of`: what the blood follows, as for `observe`; by default what the model says that BOLD
      follows (`model.synaptic`: of `NextGenEI` s_e, of `JansenRit` y1 - y2).
    - `haemodynamics`: by default `BalloonWindkessel()`.
    """

    repetition_time: float = eqx.field(default=2.0, static=True)
    of: Any = None
    haemodynamics: BalloonWindkessel | None = None

    def __call__(self, system: System, run: Simulation) -> Observed:
        of = system.model.synaptic if self.of is None else self.of
        need_seconds("run", run.time_unit, "BOLD")
        activity = observe(system, run, of)
        found = perfusion(
            activity.values,
            activity.sampling_interval,
            self.repetition_time,
            haemodynamics=self.haemodynamics,
        )
        ts = activity.ts[0] + found.ts / seconds_in(run.time_unit)
        return dataclasses.replace(activity, ts=ts, values=found.bold, name="BOLD", unit="1")


NAMED["bold"] = BOLD()


class Perfusion(AbstractResult):
    """BOLD and the blood behind it.

    - `ts` (volume,): when each volume was taken, s.
    - `bold` (volume, *region): as a fraction of the signal at rest.
    - `final_state` (4, *region): s, f - 1, log v and log q at time `t1` (s), that of the last
      volume; `perfusion(…, start=this)` goes on from there.
    - `left_out`: samples at the end that make no whole volume: hand them to the next part.
    - `status` (*region): `Status.OK`, or NOT_FINITE where the blood stopped to flow or could not
      be followed; there BOLD is NaN from that volume on.
    """

    ts: Float[Array, "volume"]
    bold: Float[Array, "volume *region"]
    final_state: Float[Array, "4 *region"]
    t1: Float[Array, ""]
    status: Int[Array, "*region"]
    left_out: int = eqx.field(static=True)

    @property
    def stats(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def summary(self) -> dict[str, Any]:
        """When, what, and what is left for the next part."""
        return {"ts": self.ts, "bold": self.bold, "left_out": f"{self.left_out} samples"}


def bold(
    activity: Any,
    sampling_interval: Number,
    repetition_time: Number,
    *,
    haemodynamics: BalloonWindkessel | None = None,
    start: Any = None,
) -> Float[Array, "volume *region"]:
    """BOLD of sampled activity, one value every repetition time; differentiable.

    The values of `perfusion`, which see: what is asked, what is promised, what is refused, and how
    to go on with another part of a run. Under JAX transformations values are NaN where it would
    have raised. For long simulations `Activity(keep=["bold"])` does the same while the network is
    integrated; the two are equal to rounding.
    """
    found = perfusion(
        activity, sampling_interval, repetition_time, haemodynamics=haemodynamics, start=start
    )
    return found.bold


def perfusion(
    activity: Any,
    sampling_interval: Number,
    repetition_time: Number,
    *,
    haemodynamics: BalloonWindkessel | None = None,
    start: Any = None,
    throw: bool = True,
) -> Perfusion:
    """BOLD of sampled activity, with the state of the blood at its end.

    Each sample is held for one sampling interval. The blood is followed in steps that resolve its
    own time constants (20 ms or less by default, see `BalloonWindkessel.advance`), however seldom
    activity is sampled; samples that come more often are taken together to a straight line with
    the same mean and first moment, which moves BOLD by less than 1e-8 where activity changes by
    one from sample to sample. Where a step's error is above what `advance` tolerates, all steps
    are cut in four.

    A run in two parts is the run in one, to rounding, if the first has whole volumes:

        first = perfusion(a[:n], dt, 2.0)
        second = perfusion(a[n:], dt, 2.0, start=first)

    **Arguments:**

    - `activity` (time, *region): by habit a rate or a gate (`run.s_e`).
    - `sampling_interval`, `repetition_time`: s; the latter a whole multiple of the former. What
      remains at the end is left out, see `left_out`.
    - `haemodynamics`: by default `BalloonWindkessel()`.
    - `start`: a previous `Perfusion`, or a state (4, *region). By default where the mean activity
      of the first repetition leads to in the long run, so that there is no transient to wait for.
    - `throw`: raise `ValueError` where the blood stops to flow or cannot be followed; otherwise
      `status` tells.

    Raises `ValueError` for bad arguments; and for activity without a steady state to begin from,
    -gamma or less (see `ngnmm_jax.observe.balloon`), or that stops the blood later.
    """
    array = as_signal(activity, sampling_interval, least=1)
    haemodynamics = BalloonWindkessel() if haemodynamics is None else haemodynamics
    dt, every = as_number(sampling_interval), as_number(repetition_time)
    _checks.positive("repetition_time", every)
    samples = round(every / dt)
    if samples < 1 or abs(samples * dt - every) > min(1e-6 * every, 0.1 * dt):
        must = f"be a multiple of the sampling interval {dt:g} s"
        _checks.fail("repetition_time", must, f"it is {every:g} s")
    count = array.shape[0] // samples
    if count < 1:
        _checks.fail(
            "activity", f"last for {every:g} s at least", f"it has {array.shape[0]} samples"
        )
    t0: Any = 0.0
    if isinstance(start, Perfusion):
        t0, start = start.t1, start.final_state
    elif start is not None:
        _checks.finite("start", start)
    if start is not None:
        _checks.shape("start", start, (4, *array.shape[1:]), "(4, *region)")
    start = None if start is None else as_array(start, array.dtype)
    used = array if count * samples == array.shape[0] else array[: count * samples]
    together, steps = steps_of(samples, dt, haemodynamics.time_step)
    for _ in range(_REFINED):
        layout = (samples // together, together, steps)
        found, last, status = _volumes(haemodynamics, start, used, layout, as_array(dt, used.dtype))
        if not _checks.on_host(last) or not _imprecise(last):
            break
        steps *= 4
    if throw and _checks.on_host(status) and np.any(np.asarray(status) != Status.OK):
        _refuse(np.asarray(found), np.asarray(last), every)
    ts = every * np.arange(1, count + 1) + (np.asarray(t0) if _checks.is_concrete(t0) else t0)
    left = array.shape[0] - count * samples
    return Perfusion(as_array(ts), found, last, as_array(ts[-1]), status, left)


def steps_of(samples: int, interval: float, time_step: float) -> tuple[int, int]:
    """How many samples are taken together, a divisor of `samples`, and the steps for each lot."""
    if interval > time_step:
        return 1, math.ceil(interval / time_step - 1e-9)
    most = min(samples, math.floor(time_step / interval + 1e-9))
    return max(k for k in range(1, most + 1) if samples % k == 0), 1


@eqx.filter_jit
def _volumes(
    haemodynamics: BalloonWindkessel,
    start: jax.Array | None,
    samples: jax.Array,
    layout: tuple[int, int, int],
    dt: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """BOLD, the last state and the status; `layout`: lots a volume, samples a lot, steps a lot."""
    lots, together, steps = layout
    sums = jnp.stack(gathered(samples.reshape(-1, together, *samples.shape[1:])))
    blocks = jnp.moveaxis(sums.reshape(2, -1, lots, *samples.shape[1:]), 1, 0)
    if start is None:
        start = haemodynamics.steady(blocks[0, 0].mean(axis=0) / together)

    @jax.checkpoint
    def volume(state: jax.Array, block: jax.Array) -> tuple[jax.Array, jax.Array]:
        state = through(haemodynamics, state, block, together, steps, dt)
        return state, haemodynamics.signal(state)

    last, found = jax.lax.scan(volume, start, blocks)
    return found, last, finite_or_not(found)


def gathered(samples: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sums over a lot's samples (lot, sample, *axes), and over them times their place in it."""
    places = as_array(places_of(samples.shape[1]), samples.dtype)
    return samples.sum(axis=1), jnp.tensordot(places, samples, ((0,), (1,)))


def places_of(together: int) -> np.ndarray:
    """Where a lot's samples are (sample,), in samples from its middle."""
    return np.arange(together) + 0.5 - together / 2


def through(
    haemodynamics: BalloonWindkessel,
    state: jax.Array,
    sums: jax.Array,
    together: int,
    steps: int,
    dt: jax.Array,
) -> jax.Array:
    """The state after lots of activity, as `gathered` (2, lot, *axes).

    Each is `together` samples of `dt` seconds, taken as the straight line that has their mean and
    their first moment; it is gone through in so many `steps`.
    """
    step = together * dt / steps
    steep = 12 / (together**3 * dt) if together > 1 else 0.0

    def lot(state: jax.Array, sums: jax.Array) -> tuple[jax.Array, None]:
        slope = steep * sums[1]
        first = sums[0] / together - slope * (0.5 * together * dt)
        if steps == 1:
            return haemodynamics.advance(state, first, step, slope), None

        def one(k: Any, state: jax.Array) -> jax.Array:
            return haemodynamics.advance(state, first + slope * (k * step), step, slope)

        return jax.lax.fori_loop(0, steps, one, state), None

    return jax.lax.scan(lot, state, jnp.moveaxis(sums, 1, 0))[0]


def _imprecise(state: Any) -> bool:
    """Whether the blood flows somewhere, but the steps are too long for it."""
    flow, volume = np.asarray(state)[1:3]
    return bool((np.isfinite(flow) & ~np.isfinite(volume)).any())


def _refuse(found: np.ndarray, last: np.ndarray, every: float) -> NoReturn:
    """Say in which region, and when, it first went wrong."""
    bad = ~np.isfinite(found).reshape(len(found), -1)
    volume, region = (int(k) for k in np.argwhere(bad)[0])
    where = f" in region {region}" if found.ndim > 1 else ""
    if _imprecise(last):
        _checks.fail(
            "activity",
            "change slowly enough to be followed",
            f"before {(volume + 1) * every:g} s it does not{where}",
        )
    _checks.fail(
        "activity",
        "keep the blood flowing (above -gamma for long, and without a fall that is too large)",
        f"before {(volume + 1) * every:g} s it stops{where}",
    )
