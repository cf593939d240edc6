"""Maps of networks with delays: the homogeneous equilibria at every point, and their roots."""

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.parameters import parameter_names, with_leaves
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax._core.status import Status
from ngnmm_jax._core.threads import one_blas_thread
from ngnmm_jax.coupling.base import AbstractSum
from ngnmm_jax.coupling.combined import CouplingSum
from ngnmm_jax.coupling.pairwise import AbstractPairwise
from ngnmm_jax.dynamics.gain_bounds import Node
from ngnmm_jax.dynamics.orbits import find_orbit
from ngnmm_jax.models.notation import Notation
from ngnmm_jax.models.times import rate_unit, seconds_in, without_hertz
from ngnmm_jax.stability.atlas import Table
from ngnmm_jax.stability.dispersion import dispersion
from ngnmm_jax.stability.kinds import EQUILIBRIUM, ORBIT
from ngnmm_jax.stability.resting import Resting, find_resting
from ngnmm_jax.stability.roots import NEUTRAL
from ngnmm_jax.systems.family import Family
from ngnmm_jax.systems.loops import Loop, node_of, rightmost, rightmost_of_modes
from ngnmm_jax.systems.network import Network
from ngnmm_jax.systems.wide_loops import loop_of


class RootsMap(AbstractResult):
    """Characteristic roots of the homogeneous equilibria of a network over a grid of parameters.

    Arrays have the grid's axes, in the order of `parameters`, and then `state`: places for
    equilibria, by rising first variable. Places without one hold NaN, or -1 for integers. With
    delays that differ between connections nothing but equilibria is homogeneous: there are no
    oscillating states in such a map, and no modes.

    - `parameters`: their values, by name.
    - `states` (…, state, variable): the equilibria.
    - `growth`: real part of the rightmost root, per unit of the model's time; `frequency` (Hz) of
      that root.
    - `number_growing`: how many roots grow, pairs counted once.
    - `error`: Newton's last correction of the rightmost root.
    - `certified`: whether it is certain that no root is further right, and that no other grows.
    - `complete` (grid): whether it is certain that there are no other homogeneous equilibria.
    - `status` (grid): OK; NONE_FOUND where there is no equilibrium; NOT_CERTIFIED.
    """

    parameters: dict[str, np.ndarray] = eqx.field(converter=OrderedDict)
    states: np.ndarray
    growth: np.ndarray
    frequency: np.ndarray
    number_growing: np.ndarray
    error: np.ndarray
    certified: np.ndarray
    complete: np.ndarray
    status: np.ndarray
    variables: tuple[str, ...] = eqx.field(static=True)
    time_unit: str = eqx.field(static=True)
    notation: Notation = eqx.field(static=True, default=Notation())

    @property
    def drawn_by(self) -> str:
        """`plot.roots_map`."""
        return "roots_map"

    @property
    def stats(self) -> dict[str, Any]:
        """Errors of the growth, and at how many points all equilibria are known."""
        known = f"{int(self.complete.sum())} of {self.complete.size} points"
        return {"error": self.error[self.number_growing >= 0], "complete": known}

    def summary(self) -> dict[str, Any]:
        """The grid, and how the equilibria grow."""
        there = self.number_growing >= 0
        return {
            "parameters": self.parameters,
            "equilibria": int(there.sum()),
            "growth": self.growth[there],
            "number_growing": self.number_growing[there],
        }

    @property
    def stable(self) -> np.ndarray:
        """Whether no perturbation of an equilibrium grows, homogeneous or not."""
        return self.certified & (self.growth < 0)

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` with the parameters as coordinates."""
        xarray = _checks.require_module("xarray", "data")
        dims, rate = [*self.parameters, "state"], {"units": rate_unit(self.time_unit)}
        units = {
            "growth": rate,
            "error": rate,
            "frequency": {"units": without_hertz("Hz", self.time_unit)},
        }
        names = ("growth", "frequency", "number_growing", "error", "certified")
        data: dict[str, Any] = {k: (dims, getattr(self, k), units.get(k, {})) for k in names}
        data["states"] = ([*dims, "variable"], self.states)
        data |= {k: (list(self.parameters), getattr(self, k)) for k in ("complete", "status")}
        coords = {**self.parameters, "variable": list(self.variables)}
        return xarray.Dataset(data, coords, {"title": "ngnmm_jax map of characteristic roots"})


class _Point(NamedTuple):
    """One equilibrium: its node, what that makes of a mode's Λ times what is sent; the delays.

    Of couplings that are not one sum its `loop` instead.
    """

    node: Node | None
    through: float
    times: np.ndarray
    loop: Any = None


class Places:
    """The equilibria at points of a map of a network with delays.

    In `places`, or as `find_resting` has it.
    """

    def __init__(
        self,
        network: Network,
        points: Mapping[str, Any],
        fewest: int = 1,
        places: int | None = None,
    ) -> None:
        self.network, self.points = network.bare(), dict(points)
        shared: Any = network.homogeneous()
        self.present = shared.present
        # Of several couplings each has parameters of its own.
        apart = isinstance(network.interaction, CouplingSum)
        plain = network.undelayed()
        self.family = Family(plain.apart()) if apart else Family.of(plain)
        self.one_sum = isinstance(network.interaction, AbstractSum | AbstractPairwise)
        own = parameter_names(self.present if self.one_sum else self.family.system)
        self.inner = {k: v for k, v in self.points.items() if k in own}
        self.between = [k for k in self.points if k not in own]
        self.count = len(next(iter(self.points.values())))
        self.resting = find_resting(
            self.family, self.inner, self.count, places=places, fewest=fewest
        )
        self.weights = np.asarray(network.interaction.graph.matrix(), float)
        self.known: dict[tuple[float, ...], np.ndarray] = {}

    def times(self, k: int) -> np.ndarray:
        """Delays at a point."""
        values = {name: float(self.points[name][k]) for name in self.between}
        key = tuple(values.values())
        if key not in self.known:
            here = self.network.with_parameters(**values)
            graph: Any = here.interaction.graph
            self.known[key] = np.asarray(graph.times())
        return self.known[key]

    def over(
        self, which: np.ndarray, work: Callable[[_Point], dict[str, Any]]
    ) -> tuple[Resting, np.ndarray, list[dict[str, Any]]]:
        """What a function makes of the equilibria of some points, and where they are.

        On as many threads as there are processors, to which NumPy leaves them.
        """
        resting = self.resting.take(which)
        place = np.argwhere(resting.found)
        jobs = []
        for point, state in place:
            jobs.append(self._point(int(which[point]), resting.states[point, state]))
        with one_blas_thread(), ThreadPoolExecutor(os.cpu_count()) as pool:
            return resting, place, list(pool.map(work, jobs))

    def _point(self, k: int, state: np.ndarray) -> _Point:
        """What is known of an equilibrium at a point."""
        here = {name: as_array(values[k]) for name, values in self.inner.items()}
        if self.one_sum:
            return _Point(*node_of(with_leaves(self.present, here), state), self.times(k))
        here |= {name: as_array(float(self.points[name][k])) for name in self.between}
        everywhere = np.broadcast_to(state[:, None], self.network.state_shape)
        loop = loop_of(with_leaves(self.network, here), everywhere)
        return _Point(None, np.nan, np.zeros(()), loop)

    def roots(self, which: np.ndarray) -> dict[str, np.ndarray]:
        """Of all the network: a block of a `RootsMap`."""

        def one(point: _Point) -> dict[str, Any]:
            loop = point.loop
            if loop is None:
                assert point.node is not None
                weights = point.through * self.weights
                loop = Loop(point.node, weights, np.where(weights != 0, point.times, 0.0))
            found = rightmost(loop, 1).found
            if not found.values.size:
                return {"certified": False}
            size = np.abs(found.values).max()
            z, least = found.values[0], np.maximum(found.errors, NEUTRAL * size)
            return {
                "growth": z.real,
                "frequency": _hertz(self.network, z),
                "number_growing": int((found.values.real > least).sum()),
                "error": found.errors[0],
                "certified": found.certified,
            }

        resting, place, found = self.over(which, one)
        shape = resting.found.shape
        block = {k: np.full(shape, np.nan) for k in ("growth", "frequency", "error")}
        block["number_growing"] = np.full(shape, -1, np.int32)
        block["certified"] = np.zeros(shape, bool)
        for (point, state), values in zip(place, found, strict=True):
            for name, value in values.items():
                block[name][point, state] = value
        status = np.where(resting.found.any(axis=1), Status.OK, Status.NONE_FOUND)
        unsure = (resting.found & ~block["certified"]).any(axis=1)
        status = np.where(unsure, Status.NOT_CERTIFIED, status).astype(np.int8)
        known = {"states": resting.states, "complete": resting.complete, "status": status}
        return {**known, **block}

    def modes(self, which: np.ndarray, *, oscillations: bool = False) -> dict[str, np.ndarray]:
        """Of all modes where there is one delay: a block of a `DispersionMap`.

        With `oscillations`, where no equilibrium is stable by itself, also the orbit that a run
        from near one settles on.
        """
        lambdas, uniform = self.network.interaction.graph.spectrum()
        uniform = uniform or 0
        lambdas = np.asarray(lambdas)

        def one(point: _Point) -> dict[str, Any]:
            assert point.node is not None
            delay = float(point.times)
            found = rightmost_of_modes(point.node, point.through * lambdas, delay, 1)
            z, error = found.values[:, 0], found.errors[:, 0]
            others = np.delete(np.arange(z.size), uniform)
            if not others.size:
                others = np.array([uniform])
            best = int(others[np.argmax(z.real[others])])
            least = np.maximum(error, NEUTRAL * np.abs(z).max())
            return {
                "growth_uniform": z[uniform].real,
                "growth_transverse": z[best].real,
                "number_growing": int((z.real > least)[others].sum()),
                "fastest": best,
                "frequency": _hertz(self.network, z[best]),
                "error": error[best],
                "certified": bool(found.certified.all()),
            }

        resting, place, found = self.over(which, one)
        points, places = resting.found.shape
        table = Table.blank(points, places + oscillations, resting.states.shape[-1])
        table.states[:, :places], table.complete[:] = resting.states, resting.complete
        for (point, state), values in zip(place, found, strict=True):
            table.kind[point, state] = EQUILIBRIUM
            if not values.pop("certified"):
                table.status[point] = Status.NOT_CERTIFIED
            for name, value in values.items():
                getattr(table, name)[point, state] = value
        if oscillations:
            repels = resting.found.any(axis=1) & ~table.resting.any(axis=1)
            for row in np.flatnonzero(repels):
                self._orbit(int(which[row]), int(row), table)
        table.conclude(oscillations)
        return vars(table)

    def _orbit(self, k: int, row: int, table: Table) -> None:
        """Into a row of a table, the orbit at a point, if one is found."""
        here = {name: as_array(float(values[k])) for name, values in self.points.items()}
        network = with_leaves(self.network, here)
        orbit = find_orbit(network.homogeneous(), throw=False)
        if int(orbit.status) != Status.OK:
            return
        found = dispersion(network, orbit, throw=False)
        logs = np.asarray(orbit.log_multipliers)
        neutral = np.abs(logs + 1j * np.angle(np.asarray(orbit.phases))).argmin()
        others = np.delete(logs, neutral)
        best = int(found.fastest)
        table.kind[row, -1], table.states[row, -1] = ORBIT, np.asarray(orbit.states[0])
        table.period[row, -1] = orbit.period
        table.growth_uniform[row, -1] = others.max(initial=-np.inf) / float(orbit.period)
        table.growth_transverse[row, -1] = found.growth[best]
        table.number_growing[row, -1] = found.number_growing
        table.fastest[row, -1], table.frequency[row, -1] = best, found.frequency[best]
        table.error[row, -1] = found.error
        if int(found.status) != Status.OK:
            table.status[row] = Status.NOT_CONVERGED


def _hertz(network: Network, z: complex) -> float:
    return abs(z.imag) / (2 * np.pi * seconds_in(network.model.time_unit))
