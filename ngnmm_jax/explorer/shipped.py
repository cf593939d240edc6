"""The map that ships with the package: `python -m benchmarks.explorer_map` makes it.

Of the paper's model on the embedded connectome, oscillating states included, over the model's
plane. What decides its numbers stands beside it, and it is shown only of the same network.
"""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ngnmm_jax import models
from ngnmm_jax._core.definition import described
from ngnmm_jax.saved import load
from ngnmm_jax.stability.maps import DispersionMap
from ngnmm_jax.systems.network import Network

#: Of its files.
NAME = "hcp-schaefer100-map"


def shipped(network: Network, axes: Mapping[str, np.ndarray]) -> DispersionMap | None:
    """The map that ships, where it is of this network and over these bounds; else None."""
    folder = _folder()
    if folder is None or type(network) is not Network or network.delays is not None:
        return None
    found, known = _read(folder)
    if getattr(models, known["model"]) is not type(network.model):
        return None
    if list(found.parameters) != list(axes) or known != identity(network, axes):
        return None
    ends = [(values[0], values[-1]) for values in found.parameters.values()]
    return found if ends == [(values[0], values[-1]) for values in axes.values()] else None


@functools.cache
def _read(folder: Path) -> tuple[DispersionMap, Any]:
    known = json.loads((folder / f"{NAME}.json").read_text(encoding="utf-8"))
    return load(folder / f"{NAME}.npz"), known


def identity(network: Network, axes: Mapping[str, Any]) -> Any:
    """The values that decide the numbers, but for those of the axes; as JSON gives them again."""
    found = described(network.bare())
    for name in axes:
        found.pop(name, None)
        found.get("parameters", {}).pop(name, None)
    return json.loads(json.dumps(found))


def _folder() -> Path | None:
    """Where the embedded data are: in the package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    places = (package / "connectivity", package.parent / "connectivity")
    return next((place for place in places if (place / f"{NAME}.npz").exists()), None)
