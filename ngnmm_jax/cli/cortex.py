"""A cortex that a command works on, and what that needs."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ngnmm_jax._core.memory import amount, memory
from ngnmm_jax.cli.estimates import announce, processors

if TYPE_CHECKING:
    from ngnmm_jax.surfaces import Parcellation, Surface

# Of two cores of an AMD EPYC: seconds for each local connection to be found, for each to be read in
# a step, and for each vertex in a step; bytes of each while they are found. A frame of a film.
_FOUND, _READ, _NODE, _BYTES = 6e-7, 1.2e-9, 2e-7, 120.0
_FRAME, _FRAMES = 0.25, 200
# Seconds for each connection in which the first and last modes, and bounds on all, are found.
_SOUGHT = 2e-6


@dataclasses.dataclass(frozen=True)
class Cortex:
    """A surface as it was read, and the part of it that has nodes.

    `kept` (node,): the vertices of `whole` that are those of `surface`; `parcels` of the latter.
    """

    whole: "Surface"
    kept: np.ndarray
    surface: "Surface"
    parcels: "Parcellation | None"

    def on_whole(self, values: Any) -> np.ndarray:
        """Values (…, node) at all vertices (…, vertex), NaN where there is no node."""
        array = np.asarray(values, dtype=float)
        found = np.full((*array.shape[:-1], self.whole.n_vertices), np.nan)
        found[..., self.kept] = array
        return found


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a cortex' network is going to need, known before its connections are."""

    nodes: int
    connections: float
    integrator: str
    step: float
    time_unit: str

    @classmethod
    def of(cls, cortex: Cortex, model: Any, coupling: float, kernel: Any) -> "Plan":
        """Of local connections as far as the kernel reaches."""
        from ngnmm_jax.graphs import IdentityGraph
        from ngnmm_jax.integrators import RK4, Moebius
        from ngnmm_jax.systems.network import Network

        surface = cortex.surface
        nodes = surface.n_vertices
        around = min(np.pi * kernel.limit**2 / surface.area, 1.0)
        alike = Network(model, IdentityGraph(nodes), coupling)
        flow = alike.has_flow()
        longest = (Moebius() if flow else RK4()).longest_step(alike)
        name = "moebius" if flow else "rk4"
        return cls(nodes, around * nodes**2, name, float(longest), model.time_unit)

    @property
    def making(self) -> float:
        """Seconds in which the connections are found."""
        return self.connections * _FOUND

    def announce_modes(self, out: Path) -> None:
        """Say what the first and last modes take, and refuse what does not fit into memory."""
        besides = self._fits()
        announce(
            f"equilibria and modes of {self._said(besides)}",
            8.0 * self.nodes,
            self.making + self.connections * _SOUGHT,
            out,
            besides=besides,
        )

    def _said(self, besides: float) -> str:
        return (
            f"{self.nodes:,} vertices with some {self.connections:,.2g} local connections "
            f"({amount(besides)} while these are found)"
        )

    def _fits(self) -> float:
        """Bytes while connections are found, if there are so many."""
        besides = self.connections * _BYTES
        if besides > memory():
            raise ValueError(
                f"About {self.connections:,.2g} local connections of {self.nodes:,} vertices need "
                f"{amount(besides)}, and this machine has {amount(memory())} of memory. Give a "
                "smaller `width`, or a surface of fewer vertices."
            )
        return besides

    def announce(self, length: float, every: float, film: bool, out: Path) -> None:
        """Say what a run takes, and refuse what does not fit into memory."""
        steps = length / self.step
        each = (self.connections * _READ + self.nodes * _NODE) * 2 / processors()
        besides = self._fits()
        # What is saved, as a whole and in pieces, and without the medial wall for the picture.
        saved = 8.0 * (length / every + 1) * self.nodes
        announce(
            f"{length:g} {self.time_unit} of {self._said(besides)}, "
            f"{steps:,.0f} steps of {self.step:g} {self.time_unit}",
            saved,
            self.making + steps * each + (_FRAMES * _FRAME if film else 0.0),
            out,
            besides=besides + 2 * saved,
        )
