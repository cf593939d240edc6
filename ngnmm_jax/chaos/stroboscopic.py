"""Stroboscopic maps: a driven system once in each period of its drive, over a parameter."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.lanes import map_chunks
from ngnmm_jax._core.parameters import with_leaves
from ngnmm_jax._core.placement import placed, points_of, steps_are_few
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax._core.status import Status
from ngnmm_jax.chaos.driven import Lanes, axes_of, driven_system, lanes_at, running
from ngnmm_jax.chaos.lanes import begun, lanes_per_device
from ngnmm_jax.models.declarations import visible
from ngnmm_jax.models.notation import Notation, notation_of
from ngnmm_jax.simulation.saving import select
from ngnmm_jax.systems.driven import Driven

#: Returns that are this near, relative to how far a run reaches, are the same.
SAME = 1e-3


class StroboscopicMap(AbstractResult):
    """A variable at multiples of the drive's period, against a parameter.

    - `parameters`: the one's name, and its values (value,). `variable`: whose values.
    - `points` (value, cycle): the variable when so many periods of the drive have passed since the
      transient.
    - `reach` (value,): how far the variable reaches within the drive's periods.
    - `drive_periods` (value,).
    - `status` (value,): OK, NOT_FINITE where the run diverged, NONE_FOUND where there was no
      equilibrium to start from.
    """

    parameters: dict[str, Float[np.ndarray, "value"]]
    variable: str = eqx.field(static=True)
    points: Float[np.ndarray, "value cycle"]
    reach: Float[np.ndarray, "value"]
    drive_periods: Float[np.ndarray, "value"]
    status: Int[np.ndarray, "value"]
    time_unit: str = eqx.field(static=True)
    notation: Notation = eqx.field(static=True, default=Notation())

    @property
    def drawn_by(self) -> str:
        """`plot.stroboscopic_map`."""
        return "stroboscopic_map"

    @property
    def stats(self) -> dict[str, Any]:
        """How many periods of the drive there are."""
        return {"cycles": self.points.shape[-1]}

    def summary(self) -> dict[str, Any]:
        """Over which parameter, and after how many periods of the drive runs return."""
        return {
            "parameters": self.parameters,
            "variable": self.variable,
            "drive_cycles": self.drive_cycles,
        }

    @property
    def drive_cycles(self) -> Int[np.ndarray, "value"]:
        """After how many periods of the drive the variable returns, to a thousandth of its reach;
        0 where it does not within a half of those that are there.
        """
        count = self.points.shape[1]
        found = np.zeros(len(self.points), dtype=int)
        near = SAME * np.maximum(self.reach, 1e-12)
        for m in range(count // 2, 0, -1):
            with np.errstate(invalid="ignore"):
                away = np.abs(self.points[:, m:] - self.points[:, :-m]).max(axis=1)
            found = np.where(away <= near, m, found)
        return np.where(self.status == Status.OK, found, 0)

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` with the parameter as coordinate."""
        xarray = _checks.require_module("xarray", "data")
        (axis,) = self.parameters
        data: dict[str, Any] = {
            self.variable: ([axis, "cycle"], self.points),
            "reach": (axis, self.reach),
            "drive_period": (axis, self.drive_periods, {"units": self.time_unit}),
            "drive_cycles": (axis, self.drive_cycles),
            "status": (axis, self.status),
        }
        return xarray.Dataset(data, self.parameters, {"title": "ngnmm_jax stroboscopic map"})


@placed(lambda system, parameters, **given: steps_are_few(system, points_of(parameters)))
def stroboscopic_map(
    system: Driven,
    parameters: Mapping[str, Any],
    variable: str | None = None,
    *,
    cycles: int = 64,
    transient: int = 200,
    seed: int = 0,
    progress: bool | None = None,
) -> StroboscopicMap:
    """A driven system at multiples of its drive's period, against a parameter, in lock-step.

    One point for each value where the system is locked 1:n, m points where it is m:n, a closed
    curve's shadow where it drifts, a smear where it is chaotic. RK4, whose steps divide the drive's
    period and end where the stimulus jumps. Of a network, variables are averages over regions.

    **Arguments:**

    - `system`: `Driven(network.homogeneous() or network, stimulus=…)`, whose stimulus repeats
      itself.
    - `parameters`: one parameter's name and values; of the stimulus as "stimulus_amplitude".
    - `variable`: by default the one that the model shows.
    - `cycles`, `transient`: periods of the drive that are kept, and those before them.
    - `seed`: of the noise (sd 0.01) added to each run's own equilibrium at the start.
    - `progress`: a progress bar; None shows one where it takes over two seconds.
    """
    _checks.seed(seed)
    _checks.require_x64("stroboscopic_map")
    system = driven_system(system, "stroboscopic_map")
    values = axes_of(system, parameters)
    if len(values) != 1:
        _checks.fail("parameters", "name one parameter", f"it names {len(values)}")
    model = system.model
    variable = model.shown if variable is None else variable
    _checks.one_of("variable", variable, visible(model))
    _checks.positive_integer("cycles", cycles)
    _checks.positive_integer("transient", transient)
    lanes, steps = lanes_at(system, values, seed)
    found = map_chunks(
        _strobed(variable, cycles),
        (system, as_array(steps), as_array(transient)),
        lanes,
        chunk=lanes_per_device(system.system, 1),
        progress=progress,
        what="stroboscopic map",
        lockstep=True,
    )
    return StroboscopicMap(
        parameters=values,
        variable=variable,
        points=found.points,
        reach=found.reach,
        drive_periods=found.periods,
        status=begun(lanes.start, found.status),
        time_unit=model.time_unit,
        notation=notation_of(model),
    )


class _Seen(NamedTuple):
    """Of runs (run, …): as `StroboscopicMap` has them."""

    points: Any
    reach: Any
    periods: Any
    status: Any


@lru_cache
def _strobed(variable: str, cycles: int) -> Callable[[Any, Lanes], _Seen]:
    """The one function that follows such runs: it shares the system and the numbers of steps."""

    def run(shared: tuple[Any, jax.Array, jax.Array], lanes: Lanes) -> _Seen:
        system, steps, transient = shared
        runs = running(system, lanes, steps)

        def observed(x: jax.Array) -> jax.Array:
            rows = select(system.model, (variable,), x)[0]
            return rows if rows.ndim == 1 else rows.mean(axis=0)

        def watched(i: jax.Array, seen: Any) -> Any:
            x, low, high = seen
            x = runs.step(i, x)
            value = observed(x)
            return x, jnp.minimum(low, value), jnp.maximum(high, value)

        def cycle(seen: Any, _: None) -> Any:
            seen = jax.lax.fori_loop(0, runs.count, watched, seen)
            return seen, observed(seen[0])

        before = transient * runs.count
        x = jax.lax.fori_loop(0, before, lambda i, x: runs.step(i % runs.count, x), runs.begin)
        value = observed(x)
        (x, low, high), points = jax.lax.scan(cycle, (x, value, value), None, length=cycles)
        finite = jnp.isfinite(x).reshape(-1, x.shape[-1]).all(axis=0)
        status = jnp.where(finite, Status.OK, Status.NOT_FINITE)
        periods = jax.vmap(lambda values: as_array(with_leaves(system, values).drive_period))
        return _Seen(points.T, high - low, periods(lanes.points), status)

    return run
