"""Across regions: sensors outside of the head, and means over groups of regions."""

from functools import partial
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax.observe.observation import AbstractObservation, Observed, System, observe
from ngnmm_jax.signals._arrays import Number, as_signal
from ngnmm_jax.simulation.result import Simulation


class LeadField(AbstractObservation):
    """What sensors (EEG, MEG) see of sources: see `through_lead_field`.

    - `lead_field` (sensor, region).
    - `of`: the sources, as for `observe`; by default the proxy "weighted_sum".
    - `sensors` (sensor,): their names; `unit`: theirs.
    """

    lead_field: Float[Array, "sensor region"]
    of: Any
    sensors: tuple[str, ...] = eqx.field(static=True)
    unit: str = eqx.field(static=True)

    def __init__(
        self, lead_field: Any, of: Any = "weighted_sum", *, sensors: Any = None,
        unit: str = "arbitrary",
    ) -> None:  # fmt: skip
        matrix = _lead_field(lead_field)
        names = range(len(matrix)) if sensors is None else sensors
        self.lead_field, self.of, self.unit = matrix, of, unit
        self.sensors = _checks.names("sensors", names)
        if len(self.sensors) != len(matrix):
            but = f"it names {len(self.sensors)}"
            _checks.fail("sensors", f"name the {len(matrix)} sensors of the lead field", but)

    def __call__(self, system: System, run: Simulation) -> Observed:
        sources = observe(system, run, self.of)
        values = through_lead_field(sources.values, self.lead_field)
        return sources.with_columns(values, axis="sensor", labels=self.sensors, unit=self.unit)


class Average(AbstractObservation):
    """The mean over groups of regions: see `average`.

    - `groups` (region,): each region's group, such as `connectome.networks`.
    - `of`: of what, as for `observe`.
    """

    groups: tuple[str, ...] = eqx.field(static=True, converter=partial(_checks.names, "groups"))
    of: Any

    def __call__(self, system: System, run: Simulation) -> Observed:
        seen = observe(system, run, self.of)
        values, names = average(seen.values, self.groups)
        return seen.with_columns(values, axis="group", labels=names)


def _lead_field(lead_field: Any) -> Float[Array, "sensor region"]:
    matrix = as_array(lead_field, float)
    _checks.finite("lead_field", matrix)
    if matrix.ndim != 2:
        _checks.fail("lead_field", "have axes (sensor, region)", f"its shape is {matrix.shape}")
    return matrix


def through_lead_field(
    sources: Any, lead_field: Any, *, sampling_interval: Number = 1.0
) -> Float[Array, "time sensor"]:
    """What sensors (EEG, MEG) see of sources: `lead_field @ source` at each time.

    **Arguments:**

    - `sources` (time, region): by habit `lfp(…)`, taken as dipole moments.
    - `lead_field` (sensor, region): in the sensors' unit per source's; computed elsewhere (MNE),
      for the orientations normal to the cortex.
    """
    array = as_signal(sources, sampling_interval, least=1, ndim=2)
    matrix = _lead_field(lead_field)
    if matrix.shape[1] != array.shape[1]:
        _checks.fail(
            "lead_field",
            f"have axes (sensor, {array.shape[1]} regions)",
            f"its shape is {matrix.shape}",
        )
    return array @ matrix.T


def average(signal: Any, groups: Any) -> tuple[Float[Array, "time group"], tuple[Any, ...]]:
    """The mean over each group of regions, and the groups' names in order of appearance.

    **Arguments:** `signal` (time, region); `groups` (region,): each region's group, such as
    `connectome.networks`.
    """
    array = as_signal(signal, least=1, ndim=2)
    listed = list(groups)
    if len(listed) != array.shape[1]:
        _checks.fail(
            "groups", f"name a group for {array.shape[1]} regions", f"it names {len(listed)}"
        )
    names = tuple(dict.fromkeys(listed))
    members = as_array([[one == name for one in listed] for name in names], array.dtype)
    return array @ (members / members.sum(axis=1, keepdims=True)).T, names
