"""Maps of transverse stability: the homogeneous states at every point of a parameter plane."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.definition import definition, ordered
from ngnmm_jax._core.lanes import grid, map_chunks, take
from ngnmm_jax._core.parameters import parameter_axes
from ngnmm_jax._core.status import SolverError, Status
from ngnmm_jax._core.store import in_blocks
from ngnmm_jax.dynamics.many_equilibria import search
from ngnmm_jax.models.notation import Notation, notation_of
from ngnmm_jax.stability.attractors import (
    APERIODIC,
    EQUILIBRIUM,
    NOTHING,
    ORBIT,
    Oscillations,
    Rest,
    find_oscillations,
)
from ngnmm_jax.stability.transverse import (
    FEW,
    MOST_NODES,
    NODES,
    aperiodic_modes,
    exact_enough,
    modes_at_rest,
    monodromies,
    orbit_modes,
)
from ngnmm_jax.systems.family import Family
from ngnmm_jax.systems.network import Network

#: Kinds of state by their number in a map.
KINDS = ("nothing", "equilibrium", "orbit", "aperiodic")

# Places for equilibria, at least, and for oscillations at each point: the paper's model has three
# and two at most. Where there are more equilibria, so are places.
_EQUILIBRIA, _OSCILLATIONS = 3, 2
# Orbits and aperiodic states that a device takes at a time.
_ORBITS, _APERIODIC = 32, 16
# Points whose equilibria are searched together.
_SEARCHED = 16_384
# Lines along the swept parameter that are finished, and stored, together.
_LINES = 64


class DispersionMap(eqx.Module):
    """Transverse stability of the homogeneous states over a grid of parameters.

    Arrays have the grid's axes, in the order of `parameters`, and then `state`: as many places for
    equilibria as the point with the most needs, but at least three (by rising first variable),
    and then, where oscillations were asked for, two for oscillating attractors (the one met when
    the first axis rises before that when it falls, where they differ). Places without a state
    hold NaN, or -1 for integers.

    - `parameters`: their values, by name; `lambdas` (mode,).
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
        rate = {"units": f"1/{self.time_unit}"}
        per_state: dict[str, dict[str, Any]] = {
            "kind": {"flag_values": list(range(len(KINDS))), "flag_meanings": " ".join(KINDS)},
            "period": {"units": self.time_unit},
            "growth_uniform": rate,
            "growth_transverse": rate,
            "number_growing": {},
            "fastest": {},
            "frequency": {"units": "Hz"},
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


def dispersion_map(
    system: Network,
    parameters: Mapping[str, Any],
    *,
    oscillations: bool = True,
    store: str | Path | None = None,
    chunk: int = _LINES,
    progress: bool | None = None,
) -> DispersionMap:
    """Transverse stability of the homogeneous states over a grid of parameters.

    All equilibria (`complete` says where that is certain); and, with `oscillations`, the
    attractors that a run meets when the *first* axis is swept up and down (hysteresis: where the
    two differ, both are kept). Orbits are
    refined by Newton's iteration on adaptive steps of order five: periods to some 1e-7 relative,
    growth to some 1e-6 of the leading multiplier, but less exact next to bifurcations, which
    magnify the steps' error (`dispersion` has no such error: its own is in its `error`).

    **Arguments:**

    - `system`: gives the connectome and the parameters that are not varied.
    - `parameters`: values by name of the model's parameters or of "coupling", one axis each; for
      the paper's plane `{"i_ext_e": jnp.arange(321) / 20, "coupling": jnp.arange(601) / 20}`.
    - `oscillations`: look for oscillating states too.
    - `store`: a folder that keeps finished blocks: the same call goes on where it stopped, and
      processes that are given the same folder share them.
    - `chunk`: lines along the first axis that are finished, and stored, together.
    - `progress`: a progress bar; None shows one where it takes over two seconds.

    Raises `SolverError` where no point of the grid has a state, `ValueError` where `store`
    holds something else.
    """
    _checks.require_x64("dispersion_map")
    values = parameter_axes(system, parameters)
    _checks.positive_integer("chunk", chunk)
    family = Family.of(system)
    spectrum, uniform = system.spectrum()
    lambdas = np.asarray(spectrum)
    # The first axis varies fastest within a block, which is a number of whole lines.
    (swept, along), *others = values.items()
    across, shape = grid(dict(others)) if others else ({}, ())

    def points_of(which: np.ndarray) -> dict[str, np.ndarray]:
        points = {k: np.repeat(np.asarray(v)[which], along.size) for k, v in across.items()}
        return points | {swept: np.tile(along, which.size)}

    # Known beforehand, so that all blocks have as many places.
    number = int(np.prod(shape, dtype=int))
    rest = _Equilibria.of(family, points_of(np.arange(number)), number * along.size)
    atlas = _Atlas(family, lambdas, int(uniform or 0), oscillations, rest.places)

    def block(which: np.ndarray, say: Callable[[str], Any]) -> dict[str, np.ndarray]:
        mine = (which[:, None] * along.size + np.arange(along.size)).ravel()
        return atlas.block(points_of(which), rest.take(mine), swept, along.size, say)

    fields = in_blocks(
        number,
        chunk,
        block,
        store=store,
        definition=lambda: definition(
            "dispersion map",
            system,
            axes=ordered(values),
            modes=int(lambdas.size),
            oscillations=oscillations,
            places=rest.places,
            lines=chunk,
        ),
        progress=progress,
        what="map",
        points=along.size,
    )
    if not (fields["kind"] > NOTHING).any():
        raise SolverError("dispersion_map", Status.NONE_FOUND, fields)

    def to_grid(value: np.ndarray) -> np.ndarray:
        return np.moveaxis(value.reshape(*shape, along.size, *value.shape[1:]), len(shape), 0)

    return DispersionMap(
        parameters=values,
        lambdas=lambdas,
        **{name: to_grid(value) for name, value in fields.items()},
        variables=system.model.variables,
        time_unit=system.model.time_unit,
        notation=notation_of(system),
    )


class _Equilibria(NamedTuple):
    """All equilibria at points: `states` (point, place, variable), `found`, `complete` (point,)."""

    states: np.ndarray
    found: np.ndarray
    complete: np.ndarray

    @classmethod
    def of(cls, family: Family, points: dict[str, np.ndarray], count: int) -> "_Equilibria":
        """Of a family's systems; at least three places."""
        parts = []
        for begin in range(0, count, _SEARCHED):
            which = np.arange(begin, min(begin + _SEARCHED, count))
            some = search(family.many(take(points, which)), which.size, in_blocks=True)
            parts.append((some.states, some.found, some.complete))
        places = max(_EQUILIBRIA, *(found.shape[1] for _, found, _ in parts))

        def filled(values: np.ndarray, blank: Any) -> np.ndarray:
            short = [(0, 0)] * values.ndim
            short[1] = (0, places - values.shape[1])
            return np.pad(values, short, constant_values=blank)

        states = np.concatenate([filled(part, np.nan) for part, _, _ in parts])
        found = np.concatenate([filled(part, False) for _, part, _ in parts])
        return cls(states, found, np.concatenate([part for _, _, part in parts]))

    @property
    def places(self) -> int:
        """For equilibria at each point."""
        return int(self.found.shape[1])

    def take(self, index: np.ndarray) -> "_Equilibria":
        """Those of some points."""
        return _Equilibria(*(field[index] for field in self))


class _Atlas:
    """Computes blocks of a map."""

    #: What stands where there is no state.
    blank: ClassVar[dict[str, Any]] = {
        "kind": np.int8(NOTHING),
        "number_growing": np.int32(-1),
        "fastest": np.int32(-1),
        **dict.fromkeys(
            ("period", "growth_uniform", "growth_transverse", "frequency", "error"), np.nan
        ),
    }

    def __init__(
        self,
        family: Family,
        lambdas: np.ndarray,
        uniform: int,
        oscillations: bool,
        equilibria: int,
    ) -> None:
        self.family, self.oscillations = family, oscillations
        self.spectrum = (family, jnp.asarray(lambdas), jnp.asarray(uniform))
        self.equilibria = equilibria
        self.places = equilibria + (_OSCILLATIONS if oscillations else 0)

    def block(
        self,
        points: dict[str, np.ndarray],
        known: _Equilibria,
        swept: str,
        columns: int,
        say: Callable[[str], Any],
    ) -> dict[str, np.ndarray]:
        """All states at points that are whole lines, (point, state, …)."""
        n = points[swept].size
        variables = len(self.family.model.variables)
        fields: dict[str, np.ndarray] = {}
        fields |= {name: np.full((n, self.places), blank) for name, blank in self.blank.items()}
        fields["states"] = np.full((n, self.places, variables), np.nan)
        fields["status"] = np.full((n,), Status.OK, dtype=np.int8)
        say("equilibria")
        self._equilibria(points, known, fields)
        if self.oscillations:
            say("oscillations")
            stable = (fields["kind"] == EQUILIBRIUM) & (fields["growth_uniform"] < 0)
            rest = Rest(known.states, stable[:, : self.equilibria])
            found = find_oscillations(self.family, points, swept, columns, rest)
            order = np.lexsort((found.direction, found.point))
            found = Oscillations(*(field[order] for field in found))
            first = np.ones(found.point.size, dtype=bool)
            first[1:] = found.point[1:] != found.point[:-1]
            place = self.equilibria + np.where(first, 0, 1)
            for name in ("kind", "states", "period", "growth_uniform"):
                fields[name][found.point, place] = getattr(found, name)
            say("modes of orbits")
            self._orbits(points, found, place, fields)
            say("modes of aperiodic states")
            self._aperiodic(points, found, place, rest, fields)
        if self.oscillations:  # an attractor is missing where all that was found repels
            moving = np.isin(fields["kind"], (ORBIT, APERIODIC)).any(axis=1)
            resting = ((fields["kind"] == EQUILIBRIUM) & (fields["growth_uniform"] < 0)).any(axis=1)
            some = (fields["kind"] == EQUILIBRIUM).any(axis=1)
            fields["status"][some & ~moving & ~resting] = Status.NOT_CONVERGED
        nothing = (fields["kind"] == NOTHING).all(axis=1)
        fields["status"][nothing] = Status.NONE_FOUND
        return fields

    def _equilibria(
        self, points: dict[str, np.ndarray], known: _Equilibria, fields: dict[str, np.ndarray]
    ) -> None:
        fields["states"][:, : self.equilibria] = known.states
        fields["complete"] = known.complete
        # The modes of those that were found, and of no others.
        point, place = np.nonzero(known.found)
        if not point.size:
            return
        fields["kind"][point, place] = EQUILIBRIUM
        modes = modes_at_rest(self.spectrum, take(points, point), known.states[point, place])
        self._put(modes, point, place, fields)

    def _orbits(
        self,
        points: dict[str, np.ndarray],
        found: Oscillations,
        place: np.ndarray,
        fields: dict[str, np.ndarray],
    ) -> None:
        left = np.flatnonzero(found.kind == ORBIT)
        left = left[np.argsort(found.period[left])]  # those of like period share a chunk
        exact = exact_enough(self.family, take(points, found.point))
        nodes, few = NODES, FEW
        while left.size and nodes <= MOST_NODES:
            lanes = (take(points, found.point[left]), found.states[left], found.period[left])
            matrices = map_chunks(
                monodromies(nodes, few),
                self.spectrum,
                lanes,
                chunk=_ORBITS,
                progress=False,
                lockstep=True,
            )
            modes = orbit_modes(self.spectrum, lanes[0], matrices, found.period[left], nodes)
            modes["converged"] &= modes["error"] < exact[left]
            few *= 2
            nodes *= 2
            done = modes["converged"] | (nodes > MOST_NODES)
            some = {name: value[done] for name, value in modes.items()}
            self._put(some, found.point[left[done]], place[left[done]], fields)
            left = left[~done]

    def _aperiodic(
        self,
        points: dict[str, np.ndarray],
        found: Oscillations,
        place: np.ndarray,
        rest: Rest,
        fields: dict[str, np.ndarray],
    ) -> None:
        which = np.flatnonzero(found.kind == APERIODIC)
        if not which.size:
            return
        point, place, states = found.point[which], place[which], found.states[which]
        modes = map_chunks(
            aperiodic_modes,
            self.spectrum,
            (take(points, point), states),
            chunk=_APERIODIC,
            progress=False,
            lockstep=True,
        )
        self._put(modes, point, place, fields)
        # A run that is not chaotic need be no attractor of its own, but one that has not arrived:
        # at an equilibrium, if it has come nearer meanwhile; at an orbit, if there is one.
        before, after = (rest.distance(point, x) for x in (states, modes["end"]))
        arriving = (modes["growth_uniform"] < 0) & (after < 0.9 * before)
        orderly = modes["growth_uniform"] < 3 * modes["error_uniform"]
        arriving |= orderly & (fields["kind"][point] == ORBIT).any(axis=1)
        for name, blank in self.blank.items():
            fields[name][point[arriving], place[arriving]] = blank
        fields["status"][point[orderly & ~arriving]] = Status.NOT_CONVERGED

    def _put(
        self,
        modes: dict[str, np.ndarray],
        point: np.ndarray,
        place: np.ndarray,
        fields: dict[str, np.ndarray],
    ) -> None:
        for name, value in modes.items():
            if name in fields:
                fields[name][point, place] = value
        fields["status"][point[~modes["converged"]]] = Status.NOT_CONVERGED
