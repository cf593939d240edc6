"""Lyapunov spectra over a grid of parameters."""

import dataclasses
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.definition import definition, ordered
from ngnmm_jax._core.lanes import grid, take
from ngnmm_jax._core.parameters import parameter_axes
from ngnmm_jax._core.placement import devices as devices_in_use
from ngnmm_jax._core.placement import placed, points_of, tangents_are_few
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax._core.store import in_blocks
from ngnmm_jax.chaos.lanes import (
    Times,
    at_work,
    counted,
    lanes_on_a_cpu,
    lanes_per_device,
    spectra_at,
    steps_at,
    width_of,
)
from ngnmm_jax.dynamics.forced.system import undriven
from ngnmm_jax.dynamics.lockstep.runs import Steps
from ngnmm_jax.dynamics.lyapunov import LyapunovSpectrum
from ngnmm_jax.models.notation import Notation, named, notation_of
from ngnmm_jax.models.times import rate_unit
from ngnmm_jax.systems.delayed import Blocks
from ngnmm_jax.systems.driven import Undriven

# A store's blocks hold so many times what one of a CPU's devices takes at a time: the same on all
# machines, so that one can go on where another stopped.
_STORED = 4


class LyapunovMap(AbstractResult):
    """Lyapunov spectra over a grid of parameters.

    - `parameters`: their values, by name.
    - `spectra`: a `LyapunovSpectrum` with the grid's axes in front: `exponents`
      (*grid, exponent) with `errors`, `step_errors`, `number_positive`, `entropy_bound`,
      `kaplan_yorke`, `state` at the end of each trajectory, `status` (*grid): OK, NOT_FINITE where
      a trajectory diverged, STEP_TOO_LARGE where its steps spoil it, ILL_CONDITIONED where the
      interval was too long for its tangents, NONE_FOUND where there was no equilibrium to start
      from.
    """

    parameters: dict[str, np.ndarray] = eqx.field(converter=OrderedDict)
    spectra: LyapunovSpectrum
    time_unit: str = eqx.field(static=True)
    notation: Notation = eqx.field(static=True, default=Notation())

    @property
    def drawn_by(self) -> str:
        """`plot.lyapunov`."""
        return "lyapunov"

    @property
    def status(self) -> Any:
        """(*grid): that of the spectra."""
        return self.spectra.status

    @property
    def stats(self) -> dict[str, Any]:
        """Those of the spectra: errors, and times between orthonormalisations."""
        return self.spectra.stats

    def summary(self) -> dict[str, Any]:
        """The grid, and its leading exponents."""
        return {"parameters": self.parameters, **self.spectra.summary()}

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` with the parameters as coordinates."""
        xarray = _checks.require_module("xarray", "data")
        names, rate = list(self.parameters), {"units": rate_unit(self.time_unit)}
        spectra = self.spectra
        data: dict[str, Any] = {
            "exponents": ([*names, "exponent"], spectra.exponents, rate),
            "errors": ([*names, "exponent"], spectra.errors, rate),
            "step_errors": ([*names, "exponent"], spectra.step_errors, rate),
            "running": ([*names, "block", "exponent"], spectra.running, rate),
            "number_positive": (names, np.asarray(spectra.number_positive)),
            "entropy_bound": (names, np.asarray(spectra.entropy_bound), rate),
            "kaplan_yorke": (names, np.asarray(spectra.kaplan_yorke)),
            "interval": (names, spectra.interval, {"units": self.time_unit}),
            "status": (names, spectra.status),
        }
        return xarray.Dataset(data, self.parameters, {"title": "ngnmm_jax Lyapunov spectra"})


@placed(
    lambda system, parameters, count, **given: tangents_are_few(
        system, count, points_of(parameters)
    )
)
def lyapunov_map(
    system: Undriven,
    parameters: Mapping[str, Any],
    count: int | None = None,
    *,
    duration: float | None = None,
    transient: float | None = None,
    dt: float | None = None,
    interval: float | None = None,
    seed: int = 0,
    store: str | Path | None = None,
    chunk: int | None = None,
    progress: bool | None = None,
) -> LyapunovMap:
    """Lyapunov spectra of a network, or of its homogeneous system, over a grid of parameters.

    The trajectories run in lock-step along the last axis of the state, spread over all devices;
    each starts at its own equilibrium plus noise of sd 0.01, the same at all points. The method
    is that of `lyapunov_spectrum`. With delays ("speed" and "delay" can be axes) they run one by
    one, on each device, all in steps of one length.

    **Arguments:**

    - `system`: a network or `network.homogeneous()`; gives all other parameters.
    - `parameters`: values by name of the model's parameters or of "coupling", one axis each (for a
      homogeneous system, "coupling" includes the weights' row sum, 1 where normalised).
    - `count`: exponents; by default all (with delays it must be given).
    - `duration`, `transient`, `dt`, `interval`: as for `lyapunov_spectrum`; each point has the
      step of its own parameters, if none is given (with delays the shortest of these for all).
    - `store`: a folder of finished blocks, which the same call goes on from, and processes share.
    - `chunk`: points that are finished, and stored, together. By default, with a store, 512 for a
      homogeneous system and 4 to 128 for a network, the more exponents the fewer, on whatever
      machine; without one as many as this machine takes at a time.
    - `progress`: a progress bar; None shows one where it takes over two seconds.

    Raises `ValueError` for bad arguments, or where `store` holds something else.
    """
    _checks.seed(seed)
    _checks.require_x64("lyapunov_map")
    instead = (
        ": `arnold_tongues` has the largest exponent under a stimulus that repeats itself, "
        "`lyapunov_spectrum` all of one run"
    )
    system = undriven(system, "lyapunov_map", instead)
    values = parameter_axes(system, parameters)
    core = system.bare()
    points, shape = grid(values)
    total = math.prod(shape)
    steps, times = steps_at(core, points, total, dt), Times(duration, transient, interval)
    work = at_work(core, points, steps)
    number = counted(count, work)
    devices, lanes = len(devices_in_use()), lanes_per_device(core, number)
    if chunk is None:
        here = lanes * devices
        chunk = here if store is None else _STORED * lanes_on_a_cpu(core, number)
    _checks.positive_integer("chunk", chunk)
    width = width_of(core, lanes, chunk=min(chunk, total), runs=total, devices=devices)
    fields = in_blocks(
        total,
        chunk,
        _Runs(work, points, seed, number, steps, times, width).block,
        store=store,
        definition=lambda: definition(
            "Lyapunov spectra",
            core,
            axes=ordered(values),
            count=number,
            dt=np.unique(steps.dt).tolist(),
            times=times._asdict(),
            seed=seed,
            block=chunk,
        ),
        progress=progress,
        what="Lyapunov spectra",
    )
    on_grid: dict[str, Any] = {
        name: as_array(value.reshape(*shape, *value.shape[1:])) for name, value in fields.items()
    }
    spectra = named(LyapunovSpectrum(**on_grid), system)
    return LyapunovMap(values, spectra, system.model.time_unit, notation_of(system))


class _Runs(NamedTuple):
    """A map's runs, one at each of its points; all as `spectra_at` has them."""

    core: Undriven | Blocks
    points: dict[str, Any]
    seed: int
    number: int
    steps: Steps
    times: Times
    width: int

    def block(self, which: np.ndarray, say: Callable[[str], Any]) -> dict[str, np.ndarray]:
        """The spectra of some of them."""
        del say  # one kind of work
        found = spectra_at(
            self.core,
            take(self.points, which),
            np.full(which.size, self.seed),
            count=self.number,
            steps=Steps(*(value[which] for value in self.steps)),
            times=self.times,
            width=self.width,
        )
        return {
            field.name: getattr(found, field.name)
            for field in dataclasses.fields(found)
            if not field.metadata.get("static")
        }
