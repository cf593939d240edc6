"""Maps of transverse stability: every homogeneous state at every point of a parameter plane."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ngnmm_jax import _checks
from ngnmm_jax._chunks import grid, map_chunks, take
from ngnmm_jax._status import SolverError, Status
from ngnmm_jax._store import in_blocks
from ngnmm_jax.attractors import (
    APERIODIC,
    EQUILIBRIUM,
    NOTHING,
    ORBIT,
    Oscillations,
    Rest,
    find_oscillations,
)
from ngnmm_jax.dynamics.many_equilibria import search
from ngnmm_jax.network import Family, Network, definition, parameter_axes
from ngnmm_jax.transverse import (
    FEW,
    MOST_NODES,
    NODES,
    aperiodic_modes,
    exact_enough,
    modes_at_rest,
    monodromies,
    orbit_modes,
)

#: Kinds of state by their number in a map.
KINDS = ("nothing", "equilibrium", "orbit", "aperiodic")

# Equilibria and oscillations that a map keeps at each point: the paper's model has three and
# two at most.
_EQUILIBRIA, _OSCILLATIONS = 3, 2
# Orbits and aperiodic states that a device takes at a time.
_ORBITS, _APERIODIC = 32, 16
# Lines along the swept parameter that are finished, and stored, together.
_LINES = 64


class DispersionMap(eqx.Module):
    """Transverse stability of the homogeneous states over a grid of parameters.

    Arrays have the grid's axes, in the order of `axes`, and then `state`: three places for
    equilibria (by rising first variable) and, where oscillations were asked for, two for
    oscillating attractors (the one met when the first axis rises before that when it falls,
    where they differ). Places without a state hold NaN, or -1 for integers.

    - `axes`: the parameters' values, by name; `lambdas` (mode,).
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
    - `error`: of `growth_transverse`: of interpolation in Λ on orbits, the standard error of
      aperiodic states (their steps' error in it), zero at equilibria.
    - `status` (grid): OK; NONE_FOUND where there is no state; NOT_CONVERGED where a mode's
      growth or a state was not found to its tolerance, or an aperiodic state is not shown to
      be chaotic (a torus, an orbit of more than eight turns, or one that a run has not reached).
    """

    axes: dict[str, np.ndarray]
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
    status: np.ndarray
    variables: tuple[str, ...] = eqx.field(static=True)
    time_unit: str = eqx.field(static=True)

    @property
    def stable(self) -> np.ndarray:
        """Whether a state attracts homogeneous perturbations; aperiodic ones do."""
        return (self.kind == APERIODIC) | ((self.kind != NOTHING) & (self.growth_uniform < 0))

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` with the parameters as coordinates."""
        xarray = _checks.require_module("xarray", "data")
        dims = [*self.axes, "state"]
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
        data["status"] = (list(self.axes), self.status)
        data["lambdas_real"] = ("mode", self.lambdas.real)
        if np.iscomplexobj(self.lambdas):
            data["lambdas_imag"] = ("mode", self.lambdas.imag)
        coords = {**self.axes, "variable": list(self.variables)}
        return xarray.Dataset(data, coords, {"title": "ngnmm_jax dispersion map"})


def dispersion_map(
    network: Network,
    axes: Mapping[str, Any],
    *,
    oscillations: bool = True,
    store: str | Path | None = None,
    lines: int = _LINES,
    progress: bool | None = None,
) -> DispersionMap:
    """Transverse stability of all homogeneous states over a grid of parameters.

    All equilibria; and, with `oscillations`, the attractors that a run meets when the *first*
    axis is swept up and down (hysteresis: where the two differ, both are kept). Orbits are
    refined by Newton's iteration on adaptive steps of order five: periods to some 1e-7 relative,
    growth to some 1e-6 of the leading multiplier, but less exact next to bifurcations, which
    magnify the steps' error (`dispersion` is exact to rounding).

    **Arguments:**

    - `network`: gives the connectome and the parameters that are not varied.
    - `axes`: values by name of the model's parameters or of "coupling", one axis each; for
      the paper's plane `{"i_ext_e": jnp.arange(321) / 20, "coupling": jnp.arange(601) / 20}`.
    - `oscillations`: look for oscillating states too.
    - `store`: a folder that keeps finished blocks: the same call goes on where it stopped.
    - `lines`: lines along the first axis that are finished, and stored, together.
    - `progress`: a progress bar; None shows one where it takes over two seconds.

    Raises `SolverError` where no point of the grid has a state, `ValueError` where `store`
    holds something else.
    """
    _checks.require_x64("dispersion_map")
    values = parameter_axes(network.model, axes)
    _checks.positive_integer("lines", lines)
    family = Family.of(network)
    spectrum, uniform = network.spectrum()
    lambdas = np.asarray(spectrum)
    atlas = _Atlas(family, lambdas, int(uniform or 0), oscillations)
    # The first axis varies fastest within a block, which is a number of whole lines.
    (swept, along), rest = next(iter(values.items())), dict(list(values.items())[1:])
    across, shape = grid(rest) if rest else ({}, ())

    def block(which: np.ndarray, say: Callable[[str], Any]) -> dict[str, np.ndarray]:
        points = {k: np.repeat(np.asarray(v)[which], along.size) for k, v in across.items()}
        points[swept] = np.tile(along, which.size)
        return atlas.block(points, swept, along.size, say)

    fields = in_blocks(
        int(np.prod(shape, dtype=int)),
        lines,
        block,
        store=store,
        definition=lambda: {
            **definition("dispersion map", network, values),
            "modes": int(lambdas.size),
            "oscillations": oscillations,
            "lines": lines,
        },
        progress=progress,
        what="map",
        points=along.size,
    )
    if not (fields["kind"] > NOTHING).any():
        raise SolverError("dispersion_map", Status.NONE_FOUND, fields)

    def to_grid(value: np.ndarray) -> np.ndarray:
        return np.moveaxis(value.reshape(*shape, along.size, *value.shape[1:]), len(shape), 0)

    return DispersionMap(
        axes=values,
        lambdas=lambdas,
        **{name: to_grid(value) for name, value in fields.items()},
        variables=network.model.variables,
        time_unit=network.model.time_unit,
    )


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
        self, family: Family, lambdas: np.ndarray, uniform: int, oscillations: bool
    ) -> None:
        self.family, self.oscillations = family, oscillations
        self.spectrum = (family, jnp.asarray(lambdas), jnp.asarray(uniform))
        self.places = _EQUILIBRIA + (_OSCILLATIONS if oscillations else 0)

    def block(
        self, points: dict[str, np.ndarray], swept: str, columns: int, say: Callable[[str], Any]
    ) -> dict[str, np.ndarray]:
        """All states at points that are whole lines, (point, state, …)."""
        n = points[swept].size
        variables = len(self.family.model.variables)
        fields: dict[str, np.ndarray] = {}
        fields |= {name: np.full((n, self.places), blank) for name, blank in self.blank.items()}
        fields["states"] = np.full((n, self.places, variables), np.nan)
        fields["status"] = np.full((n,), Status.OK, dtype=np.int8)
        say("equilibria")
        self._equilibria(points, fields)
        if self.oscillations:
            say("oscillations")
            stable = (fields["kind"] == EQUILIBRIUM) & (fields["growth_uniform"] < 0)
            rest = Rest(fields["states"][:, :_EQUILIBRIA], stable[:, :_EQUILIBRIA])
            found = find_oscillations(self.family, points, swept, columns, rest)
            order = np.lexsort((found.direction, found.point))
            found = Oscillations(*(field[order] for field in found))
            first = np.ones(found.point.size, dtype=bool)
            first[1:] = found.point[1:] != found.point[:-1]
            place = _EQUILIBRIA + np.where(first, 0, 1)
            for name in ("kind", "states", "period", "growth_uniform"):
                fields[name][found.point, place] = getattr(found, name)
            say("modes of orbits")
            self._orbits(points, found, place, fields)
            say("modes of aperiodic states")
            self._aperiodic(points, found, place, rest, fields)
        nothing = (fields["kind"] == NOTHING).all(axis=1)
        fields["status"][nothing] = Status.NONE_FOUND
        return fields

    def _equilibria(self, points: dict[str, np.ndarray], fields: dict[str, np.ndarray]) -> None:
        count = fields["kind"].shape[0]
        found = search(self.family.many(points), count, _EQUILIBRIA, in_blocks=True)
        fields["states"][:, :_EQUILIBRIA] = found.states
        # The modes of those that were found, and of no others.
        point, place = np.nonzero(found.found)
        if not point.size:
            return
        fields["kind"][point, place] = EQUILIBRIUM
        modes = modes_at_rest(self.spectrum, take(points, point), found.states[point, place])
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
