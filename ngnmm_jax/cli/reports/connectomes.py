"""A connectome described, into a folder."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from ngnmm_jax import plot
from ngnmm_jax.connectome import Connectome
from ngnmm_jax.plot._style import title_above


def connectome_facts(connectome: Connectome) -> list[tuple[str, str]]:
    """What is worth knowing about a connectome, line by line."""
    n = connectome.n_regions
    weights = connectome.weights
    positive = weights[weights > 0]
    facts = [
        ("name", connectome.name),
        ("source", connectome.source),
        ("regions", f"{n}: {', '.join(connectome.labels[:3])}{', …' if n > 3 else ''}"),
        ("connections", f"{connectome.n_connections} ({connectome.n_connections / n / n:.1%})"),
        ("symmetric", "yes" if connectome.is_symmetric else "no: row j holds what j receives"),
        *(("read", note) for note in connectome.notes),
    ]
    if positive.size:
        facts.append(("weights", f"{positive.min():.4g} to {positive.max():.4g}"))
    if connectome.tract_lengths is not None:
        lengths = connectome.tract_lengths[connectome.tract_lengths > 0]
        span = f"{lengths.min():.1f} to {lengths.max():.1f} mm" if lengths.size else "all zero"
        facts.append(("tract lengths", span))
    facts.append(("coordinates", "yes" if connectome.centroids is not None else "no"))
    idle = [connectome.labels[k] for k in np.flatnonzero(weights.sum(axis=0) == 0)]
    if idle:
        facts.append(("send nothing", ", ".join(idle)))
    parts = connectome.separate_parts()
    if len(parts) > 1:
        sizes = ", ".join(str(len(part)) for part in parts)
        facts.append(("separate parts", f"{len(parts)}, of {sizes} regions"))
    if connectome.silent:
        facts.append(("receive nothing", ", ".join(connectome.silent)))
        return facts
    modes = connectome.normalised().eigenmodes()
    values = np.asarray(modes.values)
    facts += [
        ("normalised spectrum", "real" if modes.is_real else "complex"),
        ("second eigenvalue", f"{values[1] if n > 1 else float('nan'):.6g}"),
        ("last eigenvalue", f"{values[-1]:.6g}"),
        ("residual", f"{modes.residual:.1e}"),
    ]
    return facts


def write_connectome(connectome: Connectome, out: Path) -> None:
    """The connectome itself and a figure of its weights and its normalised spectrum."""
    connectome.save(out / "connectome.npz")
    figure = plt.figure(figsize=(9.0, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    plot.connectome_matrix(connectome, ax=left)
    if (connectome.weights.sum(axis=1) > 0).all():
        plot.structural_spectrum(connectome.normalised(), ax=right)
    else:
        right.set_axis_off()
    title_above(figure, f"{connectome.name}: weights, and spectrum with rows normalised")
    figure.savefig(out / "connectome.png", dpi=150)
    plt.close(figure)
