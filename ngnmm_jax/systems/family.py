"""The homogeneous systems of a network, over values of its parameters."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import numpy as np

from ngnmm_jax._core.parameters import known_name, with_leaves
from ngnmm_jax.models.base import AbstractNeuralMass
from ngnmm_jax.systems.homogeneous import Homogeneous
from ngnmm_jax.systems.network import Network


class Family(eqx.Module):
    """The homogeneous systems of a network, over values of its parameters.

    - `system`: that of the network's own values, over the eigenvalues of its graph (`Alike`).
    """

    system: Homogeneous

    @classmethod
    def of(cls, network: Network) -> "Family":
        """That of a network, which must have homogeneous states."""
        if network.delays is not None:
            raise ValueError(
                "This network has delays, with which its homogeneous states and their modes are "
                "not known here: use `network.undelayed()`; or `dispersion_map` of the network, "
                "`dispersion` and `find_orbit`."
            )
        network.homogeneous()
        return cls(network.over_modes())

    @property
    def model(self) -> AbstractNeuralMass:
        """The equations of a region."""
        return self.system.model

    def many(self, points: Mapping[str, Any]) -> Any:
        """The systems at many points, (point,) for each parameter, on the host."""
        for name in points:  # with other parameters of a coupling the modes would change
            known_name(name, self.system)
        system = jax.tree.map(np.asarray, self.system)
        return with_leaves(system, {name: np.asarray(v) for name, v in points.items()})

    def at(self, point: Mapping[str, jax.Array]) -> Homogeneous:
        """The system where parameters have these values, (*run)."""
        return with_leaves(self.system, point)
