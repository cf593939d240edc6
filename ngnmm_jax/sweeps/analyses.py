"""Sweeps of what is known without a long run: equilibria and modes, Lyapunov exponents."""

import dataclasses
from typing import Any

import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.parameters import COUPLING
from ngnmm_jax._core.status import Status
from ngnmm_jax.chaos.lanes import (
    Times,
    at_work,
    counted,
    in_steps_of,
    lanes_per_device,
    spectra_at,
    steps_at,
)
from ngnmm_jax.dynamics.lockstep.runs import Steps
from ngnmm_jax.models.times import rate_unit, without_hertz
from ngnmm_jax.stability.delay_maps import Places
from ngnmm_jax.stability.resting import find_resting, resting_modes
from ngnmm_jax.stability.transverse import Spectrum
from ngnmm_jax.sweeps.measures import AbstractMeasure, Points, System
from ngnmm_jax.sweeps.outputs import Output
from ngnmm_jax.systems.driven import Driven, Undriven
from ngnmm_jax.systems.network import Network


@dataclasses.dataclass(frozen=True, repr=False)
class Stability(AbstractMeasure):
    """Homogeneous equilibria (all where `complete` says so) and the growth of modes on them.

    Per equilibrium (state, in `places`, by rising first variable; NaN and -1 where there are
    fewer): `states` (variable), `growth_uniform`, `growth_transverse`, `number_growing`,
    `fastest` (index of the mode), `frequency` (Hz), as in `DispersionMap`. Per point: `number`,
    how many equilibria there are, and `complete`, 1 where it is certain that there are no others
    (0 where others may exist, as `Equilibria` has it). `status` is NONE_FOUND without equilibria,
    TRUNCATED where there are more than `places`, NOT_CONVERGED where a mode's eigenvalues are not.

    With one delay of all connections the modes' roots; where delays differ there are no modes, but
    in their place `growth`, `frequency` and `number_growing` of all roots, as in `RootsMap`; and
    NOT_CERTIFIED where it is not certain that there are no others.

    - `places`: equilibria that are kept at each point: the paper's model has three at most.
    """

    places: int = 3

    def __post_init__(self) -> None:
        _checks.positive_integer("places", self.places)

    def outputs(self, system: System) -> dict[str, Output]:
        model, place = system.model, (("state",), (self.places,))
        rate = rate_unit(model.time_unit)
        of_modes = {
            "growth_uniform": Output(*place, "float64", rate),
            "growth_transverse": Output(*place, "float64", rate),
            "fastest": Output(*place, "int32"),
        }
        of_roots = {"growth": Output(*place, "float64", rate)}
        return {
            "states": Output(("state", "variable"), (self.places, len(model.variables)), "float64"),
            **(of_roots if _differ(system) else of_modes),
            "number_growing": Output(*place, "int32"),
            "frequency": Output(*place, "float64", without_hertz("Hz", model.time_unit)),
            "number": Output((), (), "int32"),
            "complete": Output((), (), "int8"),
        }

    def coordinates(self, system: System) -> dict[str, tuple[Any, dict[str, Any]]]:
        return {"variable": (list(system.model.variables), {})}

    def evaluate(
        self, system: System, points: Points, seeds: np.ndarray, chunk: int | None
    ) -> dict[str, np.ndarray]:
        _checks.require_x64("Stability")
        network = _network(system)
        for name, value in points.items():
            if np.ndim(value) > 1:
                _checks.fail(name, "be one number for all regions in `Stability`, whose states are "
                             "homogeneous", "it has values for each region")  # fmt: skip
        at = {name: np.asarray(value) for name, value in points.items()}
        if network.delays is not None:
            return self._with_delays(network, at, seeds.size)
        spectrum = Spectrum.of(network)
        rest = find_resting(spectrum.family, at, seeds.size, places=self.places)
        growth_uniform, modes = resting_modes(spectrum, at, rest)
        status = np.where(modes.converged.all(axis=1), Status.OK, Status.NOT_CONVERGED)
        status = np.where(rest.number > self.places, Status.TRUNCATED, status)
        status = np.where(rest.found.any(axis=1), status, Status.NONE_FOUND)
        return {
            "states": rest.states,
            "number": rest.number.astype(np.int32),
            "complete": rest.complete.astype(np.int8),
            "growth_uniform": growth_uniform,
            "growth_transverse": modes.growth_transverse,
            "number_growing": modes.number_growing,
            "fastest": modes.fastest,
            "frequency": modes.frequency,
            "status": status.astype(np.int8),
        }

    def _with_delays(self, network: Network, points: Points, count: int) -> dict[str, np.ndarray]:
        points = points or {COUPLING: np.full(count, float(network.coupling))}
        places = Places(network, points, places=self.places)
        which = np.arange(count)
        found = places.roots(which) if _differ(network) else places.modes(which)
        rest = places.resting
        known = {k: v for k, v in found.items() if k in self.outputs(network)}
        status = np.where(rest.number > self.places, Status.TRUNCATED, found["status"])
        known["number"] = rest.number.astype(np.int32)
        known["complete"] = rest.complete.astype(np.int8)
        return {**known, "status": status.astype(np.int8)}

    def definition(self, system: System) -> dict[str, Any]:
        network = _network(system)
        if network.delays is not None:
            modes = int(network.n_regions)
            return {"measure": "roots of equilibria", "places": self.places, "modes": modes}
        spectrum = Spectrum.of(network).decides(network)
        return {"measure": "stability of equilibria", "places": self.places, "modes": spectrum}


def _differ(system: System) -> bool:
    """Whether a network has delays that differ between connections."""
    late = isinstance(system, Network) and system.delays is not None
    return late and not _network(system).one_delay


def _network(system: System) -> Network:
    """A network, which has modes."""
    if not isinstance(system, Network):
        _checks.fail("system", "be a network for `Stability`", f"it is a {type(system).__name__}")
    return system


@dataclasses.dataclass(frozen=True, repr=False)
class Exponents(AbstractMeasure):
    """The largest Lyapunov exponents, as `lyapunov_map` computes them.

    `exponents` and their standard `errors` (exponent), and how many are above zero by three of
    these, `number_positive`. Arguments as there; `finer`: steps
    are so many times shorter than they would be. With delays `count` must be given, and all points
    of a design have steps of one length, `step`, and programs for the delays between its `ends`.
    """

    count: int | None = None
    duration: float | None = None
    transient: float | None = None
    dt: float | None = None
    interval: float | None = None
    finer: int = dataclasses.field(default=1, repr=False)
    step: float | None = dataclasses.field(default=None, repr=False)
    ends: tuple[tuple[str, float, float], ...] = dataclasses.field(default=(), repr=False)

    def over(self, system: System, design: Any) -> "Exponents":
        """With delays: with what suits all points."""
        if getattr(system, "delays", None) is None:
            return self
        points = {name: np.asarray(value) for name, value in design.points().items()}
        number = next(iter(points.values())).shape[0]
        step = float(steps_at(_autonomous(system).bare(), points, number, self.dt).dt[0])
        ends = tuple((name, float(v.min()), float(v.max())) for name, v in points.items())
        return dataclasses.replace(self, step=step, ends=ends)

    def outputs(self, system: System) -> dict[str, Output]:
        n = counted(self.count, system)
        rate = rate_unit(system.model.time_unit)
        return {
            "exponents": Output(("exponent",), (n,), "float64", rate),
            "errors": Output(("exponent",), (n,), "float64", rate),
            "number_positive": Output((), (), "int32"),
        }

    def chunk(self, system: System) -> int:
        return lanes_per_device(_autonomous(system).bare(), counted(self.count, system))

    def evaluate(
        self, system: System, points: Points, seeds: np.ndarray, chunk: int | None
    ) -> dict[str, np.ndarray]:
        _checks.require_x64("Exponents")
        core = _autonomous(system).bare()
        steps = steps_at(core, points, seeds.size, self.dt)
        if self.step is not None:
            steps = in_steps_of(self.step, steps)
        if self.finer != 1:
            steps = Steps(steps.dt / self.finer, steps.stiffness * self.finer)
        ends = {name: np.array([low, high]) for name, low, high in self.ends}
        work = at_work(core, ends or points, steps)
        n = counted(self.count, work)
        found = spectra_at(
            work,
            points,
            seeds,
            count=n,
            steps=steps,
            times=Times(self.duration, self.transient, self.interval),
            width=self.chunk(system) if chunk is None else chunk,
        )
        return {
            "exponents": np.asarray(found.exponents),
            "errors": np.asarray(found.errors),
            "number_positive": np.asarray(found.number_positive, np.int32),
            "status": np.asarray(found.status, np.int8),
        }

    def refined(self, system: System) -> "Exponents":
        return dataclasses.replace(self, finer=2 * self.finer)

    def definition(self, system: System) -> dict[str, Any]:
        return {
            "measure": "Lyapunov exponents",
            "count": counted(self.count, system),
            **{name: getattr(self, name) for name in ("duration", "transient", "dt", "interval")},
            **({"finer": self.finer} if self.finer != 1 else {}),
            **({"step": self.step, "ends": self.ends} if self.ends else {}),
        }


def _autonomous(system: System) -> Undriven:
    if isinstance(system, Driven):
        _checks.fail("system", "be a network for `Exponents`", "it is driven")
    return system
