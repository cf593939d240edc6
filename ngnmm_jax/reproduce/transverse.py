"""Transverse stability: dispersion relations, and the map over the plane."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np

import ngnmm_jax as ng
from ngnmm_jax import plot
from ngnmm_jax.reproduce.task import Row, Task, agree
from ngnmm_jax.stability.kinds import APERIODIC, EQUILIBRIUM, ORBIT

_LAMBDAS = np.linspace(-1.0, 1.0, 401)
#: Points (i_ext_e, coupling): at rest, and oscillating.
_RESTING = ((3.0, 9.0), (15.0, 9.0), (14.0, 10.0))
_OSCILLATING = ((9.0, 9.0), (12.0, 8.0), (13.0, 5.0))
#: (i_ext_e, coupling) of the plane in the paper: low, high, count, in quick and full settings.
_PLANE = ((0.0, 16.0, 33, 321), (0.0, 30.0, 31, 601))


def dispersion(task: Task) -> list[Row]:
    """Growth of the connectome's modes against Λ, on equilibria and on orbits."""
    figure = plt.figure(figsize=(11.0, 6.4), layout="constrained")
    axes = figure.subplots(2, 3)
    stable_then_patterned = {"rest": 0, "orbit": 0}
    state: Any
    quiet = False
    for line, (points, kind) in enumerate(((_RESTING, "rest"), (_OSCILLATING, "orbit"))):
        for ax, (i_ext_e, coupling) in zip(axes[line], points, strict=True):
            network = task.network(i_ext_e, coupling)
            if kind == "rest":
                rest = ng.find_equilibria(network.homogeneous())
                state, stable = rest.states[0], bool(rest.stable[0])
            else:
                state = ng.find_orbit(network.homogeneous())
                stable = bool(state.stable)
            modes = ng.dispersion(network, state)
            plot.dispersion(ng.dispersion(network, state, lambdas=_LAMBDAS), modes, ax=ax)
            ax.set_title(
                f"{kind}: {plot.symbol('i_ext_e', network)} = {i_ext_e:g}, "
                rf"$\varepsilon$ = {coupling:g}",
                fontsize="medium",
            )
            if ax is not axes[line, 0]:
                ax.set_ylabel("")
            growing = int(modes.number_growing)
            stable_then_patterned[kind] += stable and growing > 0
            quiet |= stable and growing == 0
    task.save(figure, "dispersion")
    at_rest, on_orbits = stable_then_patterned["rest"], stable_then_patterned["orbit"]
    return [
        Row(
            "states that are stable while all regions do the same lose their stability along "
            "modes of the connectome, at rest and on oscillations",
            f"of three states each, modes grow on {at_rest} stable equilibria and {on_orbits} "
            f"stable orbits; on others none do: {quiet}",
            agree(at_rest and on_orbits and quiet, at_rest or on_orbits),
        )
    ]


def transverse_map(task: Task) -> list[Row]:
    """Largest transverse growth, growing modes and their frequencies over the whole plane."""
    (a, b, few_x, many_x), (c, d, few_y, many_y) = _PLANE
    axes = {
        "i_ext_e": np.linspace(a, b, task.choose(few_x, many_x)),
        "coupling": np.linspace(c, d, task.choose(few_y, many_y)),
    }
    result = ng.dispersion_map(
        task.network(), axes, store=task.folder / "blocks", progress=task.progress
    )
    figure, ax = plt.subplots(figsize=(6.8, 4.4), layout="constrained")
    plot.dispersion_map(result, ax=ax)
    task.save(figure, "map")
    task.save(plot.map_details(result), "details")
    attractor = result.stable & (result.kind > 0)
    growing = attractor & (result.number_growing > 0)
    shares = {
        name: float((growing & (result.kind == kind)).any(axis=-1).mean())
        for name, kind in (("equilibria", EQUILIBRIUM), ("orbits", ORBIT))
    }
    calm = float((attractor & (result.number_growing == 0)).any(axis=-1).mean())
    wild = float((result.kind == APERIODIC).any(axis=-1).mean())
    bad = int((result.status != ng.Status.OK).sum())
    return [
        Row(
            "large regions of the plane where homogeneous equilibria, and orbits, are unstable to "
            "non-uniform perturbations; elsewhere they are stable",
            f"modes grow on equilibria at {shares['equilibria']:.1%} of {result.status.size} "
            f"points, on orbits at {shares['orbits']:.1%}; nothing grows at {calm:.1%}; chaos of "
            f"the homogeneous state at {wild:.1%}",
            agree(min(*shares.values(), calm) > 0, min(shares.values()) > 0),
            f"{bad} points did not converge to the tolerance of maps" if bad else "",
        )
    ]
