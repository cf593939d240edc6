"""What an instrument sees of a run: the way in for one's own, and the record of what was seen."""

import abc
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.cards import Shown
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax.models.times import seconds_in
from ngnmm_jax.signals._arrays import finite_or_not
from ngnmm_jax.simulation.result import Simulation
from ngnmm_jax.systems.driven import Driven, Undriven

System = Undriven | Driven


class Observed(AbstractResult):
    """What an instrument saw of a run.

    - `ts` (time,): when, in the run's unit of time; `values` (time, *axis): what, in `unit`.
    - `name`: of what was seen; `axis`: what its columns are ("region", "sensor", "group"), and
      `labels` their names; None where there are no columns, of a homogeneous system.
    - `status` (*axis): NOT_FINITE where some value is not.
    """

    ts: Float[Array, "time"]
    values: Float[Array, "time ..."]
    name: str = eqx.field(static=True)
    unit: str = eqx.field(static=True)
    time_unit: str = eqx.field(static=True)
    axis: str | None = eqx.field(static=True)
    labels: tuple[str, ...] | None = eqx.field(static=True)

    def __check_init__(self) -> None:
        times = jnp.shape(self.ts)
        if len(times) != 1:
            _checks.fail("ts", "have an axis (time,)", f"its shape is {times}")
        if (self.axis is None) != (self.labels is None):
            _checks.fail("labels", "go with an `axis`", "one is given, and the other is None")
        columns = () if self.labels is None else (len(self.labels),)
        axes = "(time,)" if self.axis is None else f"(time, {self.axis})"
        _checks.shape("values", self.values, (*times, *columns), axes)

    @classmethod
    def of_regions(
        cls, run: Simulation, values: Any, *, name: str, unit: str, ts: Any = None
    ) -> "Observed":
        """Values of the run's regions, (time, region); at its own times unless others are given."""
        axis = None if run.labels is None else "region"
        times = run.ts if ts is None else as_array(ts)
        return cls(times, as_array(values), name, unit, run.time_unit, axis, run.labels)

    def with_columns(
        self, values: Any, *, axis: str, labels: Sequence[Any], unit: str | None = None
    ) -> "Observed":
        """The same on other columns, (time, axis)."""
        unit = self.unit if unit is None else unit
        names = _checks.names("labels", labels)
        return Observed(self.ts, as_array(values), self.name, unit, self.time_unit, axis, names)

    @property
    def status(self) -> Int[Array, "..."]:
        """Whether all values of a column are finite (`Status`)."""
        return finite_or_not(self.values)

    @property
    def stats(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    @property
    def sampling_interval(self) -> float:
        """Time between values, in seconds; `ValueError` if they are not evenly spaced."""
        interval = _checks.even_interval(np.asarray(self.ts))
        if interval is None:
            raise ValueError("What was seen is not at even intervals.")
        return interval * seconds_in(self.time_unit)

    def summary(self) -> dict[str, Any]:
        """What, when and where."""
        where = {} if self.labels is None else {f"{self.axis}s": ", ".join(self.labels)}
        return {
            f"{self.name} ({self.unit})": self.values,
            f"ts ({self.time_unit})": self.ts,
            **where,
        }

    def to_xarray(self) -> Any:
        """An `xarray.DataArray` (time, axis), with units."""
        xarray = _checks.require_module("xarray", "data")
        coords: dict[str, Any] = {"time": ("time", np.asarray(self.ts), {"units": self.time_unit})}
        dims = ["time"]
        if self.axis is not None:
            dims.append(self.axis)
            coords[self.axis] = (self.axis, list(self.labels or ()))
        units = {"units": self.unit}
        return xarray.DataArray(np.asarray(self.values), coords, dims, self.name, units)


class AbstractObservation(Shown, eqx.Module):
    """An instrument: what it sees of a run, in one method.

    Its settings are its fields. What it looks at may be another observation's: those of the
    library then have a field `of`, which they give to `observe`.
    """

    @abc.abstractmethod
    def __call__(self, system: System, run: Simulation) -> Observed:
        """What is seen of a single run of the system; `ValueError` where the run does not do."""


class Variable(AbstractObservation):
    """A saved variable of the run, as it is."""

    name: str = eqx.field(static=True)

    def __call__(self, system: System, run: Simulation) -> Observed:
        values = run[self.name]
        unit = run.units[run.variables.index(self.name)]
        return Observed.of_regions(run, values, name=self.name, unit=unit)


#: Observations that strings stand for.
NAMED: dict[str, AbstractObservation] = {}


def observe(system: System, run: Simulation, observation: Any) -> Observed:
    """What an instrument sees of a run.

    **Arguments:**

    - `system`: that of the run.
    - `run`: a single one; of a batch `run.run(k)`, of spiking neurons `run.activity`.
    - `observation`: an `AbstractObservation`; "bold", "weighted_sum" or "absolute_sum" (the
      latter two proxies of the local field potential), as they are by default; or the name of a
      saved variable.

    Raises `ValueError` for an unknown name, a batch, and where an instrument refuses the run.
    """
    check_single(run)
    if isinstance(observation, str):
        _checks.one_of("observation", observation, (*NAMED, *run.variables))
        observation = NAMED[observation] if observation in NAMED else Variable(observation)
    _checks.an_object("observation", observation)
    if not isinstance(observation, AbstractObservation):
        kind = type(observation).__name__
        _checks.fail("observation", "be an `AbstractObservation`, or a name", f"it is a {kind}")
    seen = observation(system, run)
    if not isinstance(seen, Observed):
        kind, found = type(observation).__name__, type(seen).__name__
        _checks.fail(kind, "return an `Observed`", f"it returns a {found}")
    return seen


def check_single(run: Simulation) -> None:
    """Refuse a batch."""
    if np.ndim(run.status):
        _checks.fail("run", "be a single run", f"it is a batch of {run.status.shape[0]}")
