"""Make the map that the explorer shows at once: `python -m benchmarks.explorer_map`."""

import json
from pathlib import Path

import jax
import numpy as np

import ngnmm_jax as ng
from ngnmm_jax.explorer.shipped import NAME, identity

#: Points along each parameter.
POINTS = (33, 31)


def made() -> tuple[ng.Network, dict[str, np.ndarray]]:
    """The network, and the values of its two parameters."""
    network = ng.Network(ng.NextGenEI(), ng.Connectome.load("hcp-schaefer100").normalised())
    bounds = {name: (low, high) for name, (low, high, _) in network.model.plane.items()}
    sizes = zip(bounds.items(), POINTS, strict=True)
    return network, {name: np.linspace(*pair, points) for (name, pair), points in sizes}


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    network, axes = made()
    folder = Path(__file__).resolve().parents[1] / "connectivity"
    ng.save(folder / f"{NAME}.npz", ng.dispersion_map(network, axes))
    text = json.dumps(identity(network, axes), indent=1)
    (folder / f"{NAME}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
