"""Maps of transverse stability: the homogeneous states at every point of a parameter plane."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.definition import definition, ordered
from ngnmm_jax._core.lanes import grid
from ngnmm_jax._core.parameters import parameter_axes
from ngnmm_jax._core.placement import placed
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax._core.several import counted
from ngnmm_jax._core.status import SolverError, Status
from ngnmm_jax._core.store import in_blocks
from ngnmm_jax.dynamics.forced.system import undriven
from ngnmm_jax.models.notation import Notation, notation_of
from ngnmm_jax.models.times import rate_unit, without_hertz
from ngnmm_jax.stability.atlas import Atlas
from ngnmm_jax.stability.attractors import Lines
from ngnmm_jax.stability.delay_maps import Places, RootsMap
from ngnmm_jax.stability.kinds import APERIODIC, KINDS, NOTHING
from ngnmm_jax.stability.resting import find_resting
from ngnmm_jax.stability.transverse import Spectrum
from ngnmm_jax.systems.network import Network

# Places for equilibria at each point, at least: the paper's model has three at most. Where there
# are more equilibria, so are places.
_EQUILIBRIA = 3
# Points that are finished, and stored, together: 64 lines of the paper's plane.
_CHUNK = 20_480
# With delays, where a point takes up to a second.
_DELAYED = 64

# What there is for driven systems.
_INSTEAD = ": `dispersion` takes an orbit that is locked to a stimulus"


class DispersionMap(AbstractResult):
    """Transverse stability of the homogeneous states over a grid of parameters.

    Arrays have the grid's axes, in the order of `parameters`, and then `state`: as many places for
    equilibria as the point with the most needs, but at least three (by rising first variable),
    and then, where oscillations were asked for, two for oscillating attractors (the one met when
    the first axis rises before that when it falls, where they differ). Places without a state
    hold NaN, or -1 for integers.

    - `parameters`: their values, by name; `lambdas` (mode,). Of a graph of very many regions whose
      eigenvalues are not known, these are 65 points of the interval that holds all but the uniform
      one (or points around the region), and it: growth is that of the curve at these, near which
      there need not be a mode, and `number_growing` counts them (`dispersion` of one state has the
      first modes, and bounds on the others).
    - `kind`: 0 nothing, 1 equilibrium, 2 periodic orbit, 3 aperiodic (chaotic, or a torus).
    - `states` (…, state, variable): the equilibrium, or a state on the orbit.
    - `period` of orbits, in the model's unit of time.
    - `growth_uniform`: growth rate of perturbations that all regions share, per unit of the
      model's time: negative where the homogeneous state is stable by itself. On orbits the
      phase's zero is left out; of aperiodic states it is the leading Lyapunov exponent.
    - `growth_transverse`: largest growth rate of the other modes: eigenvalues at equilibria,
      Floquet exponents on orbits, transverse Lyapunov exponents of aperiodic states.
    - `number_growing`: how many of them grow (by over 5e-8 per `model.tempo()`).
    - `fastest`: index of the fastest in `lambdas`; `frequency` (Hz) of that one (NaN where
      aperiodic).
    - `complete` (grid): whether it is certain that there are no other equilibria, as `Equilibria`
      has it.
    - `error`: of `growth_transverse`: of interpolation in Λ and of rounding on orbits, the standard
      error of aperiodic states (their steps' error in it), of the iteration at equilibria.
    - `status` (grid): OK; NONE_FOUND where there is no state; NOT_CONVERGED where a mode's
      growth or a state was not found to its tolerance, or an aperiodic state is not shown to
      be chaotic (a torus, an orbit of more than eight turns, or one that a run has not reached),
      or where oscillations were asked for and nothing that was found attracts.
    """

    parameters: dict[str, np.ndarray] = eqx.field(converter=OrderedDict)
    lambdas: np.ndarray
    kind: np.ndarray
    states: np.ndarray
    period: np.ndarray
    growth_uniform: np.ndarray
    growth_transverse: np.ndarray
    number_growing: np.ndarray
    fastest: np.ndarray
    frequency: np.ndarray
    error: np.ndarray
    complete: np.ndarray
    status: np.ndarray
    variables: tuple[str, ...] = eqx.field(static=True)
    time_unit: str = eqx.field(static=True)
    notation: Notation = eqx.field(static=True, default=Notation())

    @property
    def drawn_by(self) -> str:
        """`plot.dispersion_map`."""
        return "dispersion_map"

    @property
    def stats(self) -> dict[str, Any]:
        """Errors of the growth, and at how many points all equilibria are known."""
        known = f"{int(self.complete.sum())} of {self.complete.size} points"
        return {"error": self.error[self.kind != NOTHING], "complete": known}

    def summary(self) -> dict[str, Any]:
        """The grid, the states by kind, and how many modes grow on them."""
        there = self.kind != NOTHING
        return {
            "parameters": self.parameters,
            "modes": self.lambdas.size,
            "states": counted(KINDS[kind] for kind in np.sort(self.kind[there])),
            "growth_transverse": self.growth_transverse[there],
            "number_growing": self.number_growing[there],
        }

    @property
    def stable(self) -> np.ndarray:
        """Whether a state attracts homogeneous perturbations; aperiodic ones do.

        False at points whose status is not OK: it is not known of all their states then.
        """
        attracts = (self.kind != NOTHING) & (self.growth_uniform < 0)
        return (attracts | (self.kind == APERIODIC)) & (self.status == Status.OK)[..., None]

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` with the parameters as coordinates."""
        xarray = _checks.require_module("xarray", "data")
        dims = [*self.parameters, "state"]
        rate = {"units": rate_unit(self.time_unit)}
        per_state: dict[str, dict[str, Any]] = {
            "kind": {"flag_values": list(range(len(KINDS))), "flag_meanings": " ".join(KINDS)},
            "period": {"units": self.time_unit},
            "growth_uniform": rate,
            "growth_transverse": rate,
            "number_growing": {},
            "fastest": {},
            "frequency": {"units": without_hertz("Hz", self.time_unit)},
            "error": rate,
        }
        data: dict[str, Any] = {
            name: (dims, getattr(self, name), attrs) for name, attrs in per_state.items()
        }
        data["states"] = ([*dims, "variable"], self.states)
        data["complete"] = (list(self.parameters), self.complete)
        data["status"] = (list(self.parameters), self.status)
        data["lambdas_real"] = ("mode", self.lambdas.real)
        if np.iscomplexobj(self.lambdas):
            data["lambdas_imag"] = ("mode", self.lambdas.imag)
        coords = {**self.parameters, "variable": list(self.variables)}
        return xarray.Dataset(data, coords, {"title": "ngnmm_jax dispersion map"})


class _Plane(NamedTuple):
    """A grid as lines, along which the first parameter varies.

    - `swept`, `along`: its name and values.
    - `across`: values (line,) of the others, by name; `shape`: of the grid of lines.
    """

    swept: str
    along: np.ndarray
    across: dict[str, Any]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, values: dict[str, np.ndarray]) -> "_Plane":
        """The grid of all values."""
        (swept, along), *others = values.items()
        return cls(swept, along, *(grid(dict(others)) if others else ({}, ())))

    @property
    def number(self) -> int:
        """Of lines."""
        return int(np.prod(self.shape, dtype=int))

    def lines(self, which: np.ndarray) -> Lines:
        """Some of them, whole."""
        columns = self.along.size
        points = {k: np.repeat(np.asarray(v)[which], columns) for k, v in self.across.items()}
        points |= {self.swept: np.tile(self.along, which.size)}
        return Lines(points, self.swept, columns)

    def points_of(self, which: np.ndarray) -> np.ndarray:
        """Their points' numbers."""
        return (which[:, None] * self.along.size + np.arange(self.along.size)).ravel()

    def on_grid(self, value: np.ndarray) -> np.ndarray:
        """Values (point, …) on the grid's axes, the swept one first."""
        value = value.reshape(*self.shape, self.along.size, *value.shape[1:])
        return np.moveaxis(value, len(self.shape), 0)


# Orbits are followed step by step: one took 9 s on an H200, and 0.08 s on the CPU beside it.
@placed()
def dispersion_map(
    system: Network,
    parameters: Mapping[str, Any],
    *,
    oscillations: bool | None = None,
    store: str | Path | None = None,
    chunk: int = _CHUNK,
    progress: bool | None = None,
) -> Any:
    """Transverse stability of the homogeneous states over a grid of parameters.

    All equilibria (`complete` says where that is certain); and, with `oscillations`, the
    attractors that a run meets when the *first* axis is swept up and down (hysteresis: where the
    two differ, both are kept). Orbits are refined by Newton's iteration on adaptive steps of order
    five: periods to some 1e-7 relative, growth to some 1e-6 of the leading multiplier, but less
    exact next to bifurcations (`dispersion` has no such error: its own is in its `error`).

    **Arguments:**

    - `system`: gives the connectome and the parameters that are not varied.
    - `parameters`: values by name of the model's parameters or of "coupling", one axis each; for
      the paper's plane `{"i_ext_e": jnp.arange(321) / 20, "coupling": jnp.arange(601) / 20}`.
    - `oscillations`: look for oscillating states too; by default without delays only. With one
      delay, where no equilibrium is stable by itself, what a run settles on: seconds a point.
    - `store`: a folder of finished blocks, which the same call goes on from, and processes share.
    - `chunk`: points that are finished, and stored, together: rounded up to the first axis's lines.
    - `progress`: a progress bar; None shows one where it takes over two seconds.

    With delays ("speed" and "delay" can be axes) it is a `RootsMap` of equilibria, of all
    characteristic roots; with one delay for all connections a `DispersionMap`, mode by mode.

    Raises `SolverError` where no point has a state, `ValueError` where `store` holds another map.
    """
    _checks.require_x64("dispersion_map")
    system = undriven(system, "dispersion_map", _INSTEAD)
    values = parameter_axes(system, parameters)
    _checks.positive_integer("chunk", chunk)
    if system.delays is not None:
        return _with_delays(system, values, oscillations, store, chunk, progress)
    oscillations = oscillations is None or oscillations
    plane, spectrum = _Plane.of(values), Spectrum.of(system)
    lines = -(-chunk // plane.along.size)
    # Known beforehand, so that all blocks have as many places.
    every = plane.lines(np.arange(plane.number))
    resting = find_resting(spectrum.family, every.points, every.size, fewest=_EQUILIBRIA)
    atlas = Atlas(spectrum, resting.places, oscillations)

    def block(which: np.ndarray, say: Callable[..., Any]) -> dict[str, np.ndarray]:
        return vars(atlas.block(plane.lines(which), resting.take(plane.points_of(which)), say))

    fields = in_blocks(
        plane.number,
        lines,
        block,
        store=store,
        definition=lambda: definition(
            "dispersion map",
            system,
            axes=ordered(values),
            modes=spectrum.decides(system),
            oscillations=oscillations,
            places=resting.places,
            lines=lines,
        ),
        progress=progress,
        what="map",
        points=plane.along.size,
    )
    found = DispersionMap(
        parameters=values,
        lambdas=spectrum.shown,
        **{name: plane.on_grid(value) for name, value in fields.items()},
        variables=system.model.variables,
        time_unit=system.model.time_unit,
        notation=notation_of(system),
    )
    if not (found.kind > NOTHING).any():
        raise SolverError("dispersion_map", Status.NONE_FOUND, found)
    return found


def _with_delays(
    system: Network,
    values: dict[str, np.ndarray],
    oscillations: bool | None,
    store: str | Path | None,
    chunk: int,
    progress: bool | None,
) -> "DispersionMap | RootsMap":
    """The map of a network with delays."""
    common, moving = system.one_delay, bool(oscillations)
    if moving and not common:
        must = "be left out, or False, where delays differ: regions that oscillate alike need one"
        _checks.fail("oscillations", must, "it is True")
    plane = _Plane.of(values)
    lines = max(1, min(-(-chunk // plane.along.size), _DELAYED // plane.along.size))
    places = Places(system, plane.lines(np.arange(plane.number)).points, _EQUILIBRIA)

    def block(which: np.ndarray, say: Callable[..., Any]) -> dict[str, np.ndarray]:
        say("roots")
        points = plane.points_of(which)
        if not common:
            return places.roots(points)
        return places.modes(points, oscillations=moving)

    fields = in_blocks(
        plane.number,
        lines,
        block,
        store=store,
        definition=lambda: definition(
            "map with delays",
            system,
            axes=ordered(values),
            places=places.resting.places,
            lines=lines,
            **({"oscillations": True} if moving else {}),
        ),
        progress=progress,
        what="map",
        points=plane.along.size,
    )
    grid: dict[str, Any] = {name: plane.on_grid(value) for name, value in fields.items()}
    names: dict[str, Any] = {
        "variables": system.model.variables,
        "time_unit": system.model.time_unit,
        "notation": notation_of(system),
    }
    found: Any
    if common:
        lambdas = np.asarray(system.interaction.graph.spectrum()[0])
        found = DispersionMap(parameters=values, lambdas=lambdas, **grid, **names)
    else:
        found = RootsMap(parameters=values, **grid, **names)
    if (found.status == Status.NONE_FOUND).all():
        raise SolverError("dispersion_map", Status.NONE_FOUND, found)
    return found
