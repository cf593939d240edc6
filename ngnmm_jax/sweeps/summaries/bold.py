"""What a scanner sees of the signals, while they are integrated."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax.models.times import need_seconds
from ngnmm_jax.observe.balloon import BalloonWindkessel
from ngnmm_jax.observe.bold import places_of, steps_of, through
from ngnmm_jax.signals.connectivity import correlation
from ngnmm_jax.sweeps.summaries.base import (
    AbstractStatistic,
    AbstractSummary,
    Coordinates,
    Layout,
    Run,
    Window,
    whole,
)
from ngnmm_jax.sweeps.summaries.moments import least_movement


class Blood(AbstractStatistic):
    """BOLD of each signal (volume, signal, region, run).

    The haemodynamic state goes on volume by volume, so that it depends neither on the windows nor
    on what is computed together; it begins where the first volume's mean leads to.

    - `haemodynamics`: of the regions, or one for all.
    - `repetition_time`: from one volume to the next, in the model's unit of time.
    - `time_step`: that of the haemodynamics, s.
    """

    haemodynamics: BalloonWindkessel
    repetition_time: float = eqx.field(static=True)
    time_step: float = eqx.field(static=True)

    def check(self, layout: Layout) -> None:
        need_seconds("keep", layout.time_unit, "BOLD")

    def windows(self, layout: Layout) -> int:
        """From one volume to the next."""
        return round(self.repetition_time / layout.sample) // layout.window

    def lots(self, layout: Layout) -> tuple[int, int, int]:
        """Lots of samples in a volume, samples and steps in each, as `bold` has them."""
        samples = layout.window * self.windows(layout)
        together, steps = steps_of(samples, layout.interval, self.time_step)
        return samples // together, together, steps

    def start(self, zero: jax.Array, layout: Layout) -> tuple[jax.Array, jax.Array]:
        lots, _, _ = self.lots(layout)
        return jnp.zeros((4, *zero.shape), zero.dtype), jnp.zeros(
            (2, lots, *zero.shape), zero.dtype
        )

    def add(self, total: tuple[jax.Array, jax.Array], window: Window) -> tuple[Any, Any]:
        """The state of the blood, and sums over the lots of a volume."""
        state, sums = total
        values, number, layout = window.values, window.number, window.layout
        windows, (_, together, steps) = self.windows(layout), self.lots(layout)
        places = as_array(places_of(together), values.dtype)
        offset = (number % windows) * layout.window
        sums = jnp.where(offset > 0, sums, 0)
        haemodynamics = self._over_runs()

        def gather(k: jax.Array, sums: jax.Array) -> jax.Array:
            lot, place = (offset + k) // together, (offset + k) % together
            return sums.at[:, lot].add(jnp.stack([values[k], places[place] * values[k]]))

        sums = jax.lax.fori_loop(0, layout.window, gather, sums)

        def on(state: jax.Array) -> jax.Array:
            start = haemodynamics.steady(sums[0].mean(axis=0) / together)
            state = jnp.where(number < windows, start, state)
            dt = as_array(layout.interval, values.dtype)
            return through(haemodynamics, state, sums, together, steps, dt)

        full = (number + 1) % windows == 0
        return jax.lax.cond(full, on, lambda state: state, state), sums

    def emit(self, total: tuple[jax.Array, jax.Array], window: Window) -> jax.Array:
        return self._over_runs().signal(total[0])

    def value(self, total: Any, run: Run) -> jax.Array:
        windows = self.windows(run.layout)
        return run.emitted[windows - 1 :: windows]

    def sound(self, value: jax.Array) -> jax.Array:
        """Not where the blood stopped to flow."""
        return jnp.isfinite(value).reshape(-1, value.shape[-1]).all(axis=0)

    def _over_runs(self) -> BalloonWindkessel:
        """The haemodynamics, broadcast over (…, region, run)."""
        return jax.tree.map(lambda leaf: leaf[:, None] if leaf.ndim else leaf, self.haemodynamics)


class _OfBlood(AbstractSummary):
    """A summary of BOLD.

    - `repetition_time`: from one volume to the next, in the model's unit of time.
    - `haemodynamics`: by default `BalloonWindkessel()`.
    """

    repetition_time: float = eqx.field(static=True)
    haemodynamics: BalloonWindkessel

    def __init__(
        self, repetition_time: Any = None, haemodynamics: BalloonWindkessel | None = None
    ) -> None:
        if repetition_time is None:
            _checks.fail("repetition_time", "be given for BOLD", "it is not")
        self.repetition_time = _checks.time("repetition_time", repetition_time)
        self.haemodynamics = BalloonWindkessel() if haemodynamics is None else haemodynamics

    def needs(self) -> tuple[AbstractStatistic, ...]:
        step = self.haemodynamics.time_step
        return (Blood(self.haemodynamics, self.repetition_time, step),)

    def every(self, sample: float) -> int:
        return whole("repetition_time", self.repetition_time, sample, "samples")

    def unit(self, unit: str) -> str:
        return "1"


class Bold(_OfBlood):
    """BOLD, as a fraction of the signal at rest, one value every repetition time."""

    name = "bold"
    dims = ("volume", "region")
    title = "BOLD"

    def value(self, total: None, run: Run) -> jax.Array:
        return jnp.moveaxis(run[Blood], 0, 1)

    def coordinates(self, layout: Layout, times: np.ndarray) -> Coordinates:
        every = round(self.repetition_time / layout.sample)
        return {"volume": (times[every - 1 :: every], {"units": layout.time_unit})}


class BoldFC(_OfBlood):
    """Pearson's correlation of BOLD between regions."""

    name = "bold_fc"
    dims = ("region", "other_region")
    title = "BOLD functional connectivity"

    def value(self, total: None, run: Run) -> jax.Array:
        volumes = run[Blood]
        least = least_movement(volumes.dtype)
        return jnp.stack([correlation(volumes[:, k], least) for k in range(volumes.shape[1])])
