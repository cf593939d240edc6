"""The homogeneous systems of a network, over values of its parameters."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import numpy as np

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.parameters import COUPLING, parameter_names, with_leaves
from ngnmm_jax._core.types import Scalar
from ngnmm_jax.models.base import AbstractNeuralMass
from ngnmm_jax.systems.homogeneous import Homogeneous
from ngnmm_jax.systems.network import Network


class Family(eqx.Module):
    """The homogeneous systems of a network, over values of its parameters."""

    model: AbstractNeuralMass
    row_sum: Scalar
    coupling: Scalar

    @classmethod
    def of(cls, network: Network) -> "Family":
        """That of a network, which must have homogeneous states."""
        network.homogeneous()
        return cls(network.model, network.graph.row_sums(float).mean(), network.coupling)

    def many(self, points: Mapping[str, Any]) -> Any:
        """The systems at many points, (point,) for each parameter, on the host."""
        system = jax.tree.map(np.asarray, Homogeneous(self.model, self.coupling))
        for name in points:  # with a coupling's own parameters the modes would change
            _checks.one_of("parameters", name, parameter_names(system))
        system = with_leaves(system, {name: np.asarray(v) for name, v in points.items()})
        return with_leaves(system, {COUPLING: system.coupling * np.asarray(self.row_sum)})

    def at(self, point: dict[str, jax.Array]) -> tuple[Homogeneous, jax.Array]:
        """The system where parameters have these values, (*run), and its coupling there."""
        system = with_leaves(Homogeneous(self.model, self.coupling), point)
        return Homogeneous(system.model, system.coupling * self.row_sum), system.coupling
