"""Sweeps of what is known without a long run: equilibria and modes, Lyapunov exponents."""

import dataclasses
from typing import Any

import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.status import Status
from ngnmm_jax.chaos.lanes import Times, lanes_per_device, spectra_at, steps_at
from ngnmm_jax.dynamics.lockstep.runs import Steps
from ngnmm_jax.dynamics.lyapunov import number_of_exponents
from ngnmm_jax.models.times import rate_unit, without_hertz
from ngnmm_jax.stability.resting import find_resting, resting_modes
from ngnmm_jax.stability.transverse import Spectrum
from ngnmm_jax.sweeps.measures import AbstractMeasure, Points, System
from ngnmm_jax.sweeps.outputs import Output
from ngnmm_jax.systems.driven import Driven
from ngnmm_jax.systems.homogeneous import Homogeneous
from ngnmm_jax.systems.network import Network


@dataclasses.dataclass(frozen=True)
class Stability(AbstractMeasure):
    """Homogeneous equilibria (all where `complete` says so) and the growth of modes on them.

    Per equilibrium (state, in `places`, by rising first variable; NaN and -1 where there are
    fewer): `states` (variable), `growth_uniform`, `growth_transverse`, `number_growing`,
    `fastest` (index of the mode), `frequency` (Hz), as in `DispersionMap`. Per point: `number`,
    how many equilibria there are, and `complete`, 1 where it is certain that there are no others
    (0 where others may exist, as `Equilibria` has it). `status` is NONE_FOUND without equilibria,
    TRUNCATED where there are more than `places`, NOT_CONVERGED where a mode's eigenvalues are not.

    - `places`: equilibria that are kept at each point: the paper's model has three at most.
    """

    places: int = 3

    def __post_init__(self) -> None:
        _checks.positive_integer("places", self.places)

    def outputs(self, system: System) -> dict[str, Output]:
        model, place = system.model, (("state",), (self.places,))
        rate = rate_unit(model.time_unit)
        return {
            "states": Output(("state", "variable"), (self.places, len(model.variables)), "float64"),
            "growth_uniform": Output(*place, "float64", rate),
            "growth_transverse": Output(*place, "float64", rate),
            "number_growing": Output(*place, "int32"),
            "fastest": Output(*place, "int32"),
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
        spectrum = Spectrum.of(network)
        at = {name: np.asarray(value) for name, value in points.items()}
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

    def definition(self, system: System) -> dict[str, Any]:
        network = _network(system)
        spectrum = Spectrum.of(network).decides(network)
        return {"measure": "stability of equilibria", "places": self.places, "modes": spectrum}


def _network(system: System) -> Network:
    """A network, which has modes."""
    if not isinstance(system, Network):
        _checks.fail("system", "be a network for `Stability`", f"it is a {type(system).__name__}")
    return system


@dataclasses.dataclass(frozen=True)
class Exponents(AbstractMeasure):
    """The largest Lyapunov exponents, as `lyapunov_map` computes them.

    `exponents` and their standard `errors` (exponent), and how many are above zero by three of
    these, `number_positive`. Arguments as there; `finer`: steps
    are so many times shorter than they would be.
    """

    count: int | None = None
    duration: float | None = None
    transient: float | None = None
    dt: float | None = None
    interval: float | None = None
    finer: int = dataclasses.field(default=1, repr=False)

    def outputs(self, system: System) -> dict[str, Output]:
        n = number_of_exponents(self.count, tuple(system.state_shape))
        rate = rate_unit(system.model.time_unit)
        return {
            "exponents": Output(("exponent",), (n,), "float64", rate),
            "errors": Output(("exponent",), (n,), "float64", rate),
            "number_positive": Output((), (), "int32"),
        }

    def chunk(self, system: System) -> int:
        return lanes_per_device(
            _autonomous(system).bare(), number_of_exponents(self.count, tuple(system.state_shape))
        )

    def evaluate(
        self, system: System, points: Points, seeds: np.ndarray, chunk: int | None
    ) -> dict[str, np.ndarray]:
        _checks.require_x64("Exponents")
        core = _autonomous(system).bare()
        n = number_of_exponents(self.count, tuple(core.state_shape))
        steps = steps_at(core, points, seeds.size, self.dt)
        if self.finer != 1:
            steps = Steps(steps.dt / self.finer, steps.stiffness * self.finer)
        found = spectra_at(
            core,
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
            "count": number_of_exponents(self.count, tuple(system.state_shape)),
            **{name: getattr(self, name) for name in ("duration", "transient", "dt", "interval")},
            **({"finer": self.finer} if self.finer != 1 else {}),
        }


def _autonomous(system: System) -> Network | Homogeneous:
    if isinstance(system, Driven):
        _checks.fail("system", "be a network for `Exponents`", "it is driven")
    return system
