"""What a run leaves behind, or a batch of them."""

import dataclasses
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.results import AbstractResult, nth
from ngnmm_jax._core.status import STATUS_FLAGS
from ngnmm_jax._core.types import Scalar
from ngnmm_jax.models.base import AbstractNeuralMass
from ngnmm_jax.models.notation import Notation, notation_of
from ngnmm_jax.models.times import seconds_in
from ngnmm_jax.simulation.history import History
from ngnmm_jax.simulation.saving import Saving
from ngnmm_jax.systems.driven import Driven, Undriven, undriven
from ngnmm_jax.systems.network import Network


class Simulation(AbstractResult):
    """What a run left behind.

    - `ts` (time,): when it was saved, in the model's unit of time.
    - `states` (time, variable, region): the saved `variables` (no `region` axis for a
      homogeneous system); `run.v_e` or `run["v_e"]` is one of them, (time, region).
    - `final_state` (variable, region), at time `t1`: all variables; `simulate(…, start=run)`
      goes on from there.
    - `status`: how it ended (`Status`); `stats`: numbers of steps; and under noise `below_zero`,
      the fraction of values of `nonnegative` variables (in all steps; by diffrax in what was saved)
      that it took below zero (see `Driven`).
    - `shown`: the saved variable that figures show unless told otherwise.
    - `history`: of a network with delays, what regions have sent before `t1`, as far as the longest
      delay; and the state of coloured noise. `simulate(…, start=run)` goes on from that too.
    - `t0`: when it began. `before`: the same of what was before `t0`, where that was given; None
      where regions had sent the same for ever.

    Runs of a batch have a leading axis `run` on `states`, `final_state`, `status`, `history` and
    `before`.
    """

    ts: Float[Array, "time"]
    states: Float[Array, "..."]
    final_state: Float[Array, "..."]
    t1: Scalar
    status: Int[Array, "*run"]
    stats: dict[str, Any]
    variables: tuple[str, ...] = eqx.field(static=True)
    units: tuple[str, ...] = eqx.field(static=True)
    shown: str = eqx.field(static=True)
    time_unit: str = eqx.field(static=True)
    labels: tuple[str, ...] | None = eqx.field(static=True)
    notation: Notation = eqx.field(static=True, default=Notation())
    history: History | None = None
    t0: Scalar | None = None
    before: History | None = None

    @property
    def drawn_by(self) -> str:
        """`plot.raster` of a network, `plot.mean_field` of one region."""
        return "mean_field" if self.labels is None else "raster"

    @property
    def sampling_interval(self) -> float:
        """Time between saves, in seconds; `ValueError` if they are not evenly spaced.

        Saves are states as they are: spectra fold what is faster than half their rate.
        """
        interval = _checks.even_interval(np.asarray(self.ts))
        if interval is None:
            raise ValueError("The run was not saved at even intervals: use `save_every`.")
        return interval * seconds_in(self.time_unit)

    def run(self, number: int) -> "Simulation":
        """One run of a batch."""
        if not np.ndim(self.status):
            raise ValueError("This is a single run, not a batch.")
        count = self.status.shape[0]
        if not -count <= number < count:
            _checks.fail("number", f"count one of {count} runs", f"it is {number}")
        each = {k: v for k, v in self.stats.items() if np.shape(v) == (count,)}
        *arrays, each = nth((self.states, self.final_state, self.status, each), number)
        one = eqx.tree_at(lambda s: (s.states, s.final_state, s.status), self, arrays)
        stats = {**self.stats, **each}
        history, before = (None if h is None else h[number] for h in (self.history, self.before))
        return dataclasses.replace(one, stats=stats, history=history, before=before)

    def __getitem__(self, variable: str) -> Float[Array, "..."]:
        if isinstance(variable, int):
            _checks.fail("variable", "be a name (`batch.run(0)` is one run)", f"it is {variable}")
        _checks.one_of("variable", variable, self.variables)
        axis = self.states.ndim - (2 if self.labels is not None else 1)
        return jnp.take(self.states, self.variables.index(variable), axis=axis)

    def __getattr__(self, name: str) -> Float[Array, "..."]:
        if not name.startswith("_") and name in self.__dict__.get("variables", ()):
            return self[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def summary(self) -> dict[str, Any]:
        """The saved variables and times, and the shown variable's values."""
        runs = {"runs": len(self.status)} if np.ndim(self.status) else {}
        times = {f"ts ({self.time_unit})": self.ts}
        unit = dict(zip(self.variables, self.units, strict=True))[self.shown]
        shown = {f"{self.shown} ({unit})": self[self.shown]}
        return {**runs, "variables": ", ".join(self.variables), **times, **shown}

    def to_xarray(self) -> Any:
        """An `xarray.Dataset`: one variable for each saved one, (time, region), with units."""
        xarray = _checks.require_module("xarray", "data")
        batch = ["run"] if np.ndim(self.status) else []
        regions = ["region"] if self.labels is not None else []
        units = dict(zip(self.variables, self.units, strict=True))
        data = {
            name: ([*batch, "time", *regions], np.asarray(self[name]), {"units": units[name]})
            for name in self.variables
        }
        data["status"] = (batch, np.asarray(self.status), STATUS_FLAGS)
        coords: dict[str, Any] = {"time": ("time", np.asarray(self.ts), {"units": self.time_unit})}
        if self.labels is not None:
            coords["region"] = ("region", list(self.labels))
        stats = {key: np.asarray(value).tolist() for key, value in self.stats.items()}
        return xarray.Dataset(data, coords, {"title": "ngnmm_jax simulation", **stats})


class Outcome(NamedTuple):
    """What was computed of a run or a batch: the last states, those saved, how it ended.

    - `history`, `before`: what was sent before its end and its beginning, where that counts.
    """

    last: Any
    saved: Any
    status: Any
    stats: dict[str, Any]
    history: History | None = None
    before: History | None = None


def package(
    model: AbstractNeuralMass,
    system: Undriven | Driven,
    saving: Saving,
    outcome: Outcome,
    t1: Any,
    t0: Any = None,
) -> Simulation:
    """The result of a run or a batch, with names and units."""
    units = {**dict(zip(model.variables, model.units, strict=True)), model.shown: model.shown_unit}
    system = undriven(system)
    return Simulation(
        ts=as_array(saving.ts),
        states=outcome.saved,
        final_state=outcome.last,
        t1=as_array(t1, dtype=float),
        status=outcome.status,
        stats=outcome.stats,
        variables=saving.variables,
        units=tuple(units[name] for name in saving.variables),
        shown=model.shown if model.shown in saving.variables else saving.variables[0],
        time_unit=model.time_unit,
        labels=system.labels if isinstance(system, Network) else None,
        notation=notation_of(model),
        history=outcome.history,
        t0=None if t0 is None else as_array(t0, dtype=float),
        before=outcome.before,
    )
