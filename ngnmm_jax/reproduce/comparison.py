"""The same analysis of several models in one connectome, side by side."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

import ngnmm_jax as ng
from ngnmm_jax import plot
from ngnmm_jax.reproduce.task import Row, Task, agree
from ngnmm_jax.stability.kinds import APERIODIC, EQUILIBRIUM, ORBIT

#: By their registered names: what the paper compares.
PAPERS = ("nextgen", "jansen-rit")
_LAMBDAS = np.linspace(-1.0, 1.0, 401)


class Plane(NamedTuple):
    """A network, and the values of the two parameters that vary in its map, by name."""

    network: ng.Network
    parameters: Mapping[str, np.ndarray]


class Comparison(NamedTuple):
    """The maps of several models by the model's name, and a figure of them."""

    maps: dict[str, ng.DispersionMap]
    figure: Figure


def compare(
    planes: Mapping[str, Plane], *, say: Callable[[str], None], progress: bool | None = None
) -> Comparison:
    """Dispersion relations (above) and maps (below) of models, by their names.

    The relations are those along the model's `cut` of its plane. `say` is told what is going on.
    """
    figure = plt.figure(figsize=(6.2 * len(planes), 8.0), layout="constrained")
    axes = figure.subplots(2, len(planes), squeeze=False)
    maps = {}
    for (top, bottom), (model, (network, parameters)) in zip(axes.T, planes.items(), strict=True):
        say(f"the map of {model}")
        maps[model] = ng.dispersion_map(network, parameters, progress=progress)
        plot.dispersion_map(maps[model], ax=bottom)
        cut = network.model.cut
        bottom.axhline(cut, color="0.2", lw=0.8, ls=":")
        (first, values), (second, _) = parameters.items()
        curves = family(network.with_parameters(**{second: cut}), first, values)
        if curves:
            legend = plot.dispersion_family(curves, first, ax=top).get_legend()
            if legend is not None:  # it stands above the map's bars, which have their own room
                legend.set_in_layout(False)
        top.set_title(f"{model}, {plot.symbol(second, network)} = {cut:g}", fontsize="medium")
    return Comparison(maps, figure)


def family(
    network: ng.Network, name: str, values: np.ndarray
) -> dict[float, tuple[ng.Dispersion, ng.Dispersion]]:
    """At six values of a parameter, the dispersion curve and modes of the homogeneous attractor.

    Of the orbit where there is one, else of the stable equilibrium; left out where it is
    neither. With delays of equilibria only, as maps are. `values`: of which the first and the last
    are the ends.
    """
    curves: dict[float, tuple[ng.Dispersion, ng.Dispersion]] = {}
    for value in np.linspace(values[0], values[-1], 8)[1:-1]:
        here = network.with_parameters(**{name: value})
        state: Any = None
        if here.delays is None:
            state = ng.find_orbit(here.homogeneous(), steps=256, throw=False)
        if state is None or state.status != ng.Status.OK:
            rest = ng.find_equilibria(here.homogeneous())
            if not bool(rest.stable.any()):
                continue
            state = rest.states[int(np.argmax(rest.stable))]
        curves[float(value)] = (
            ng.dispersion(here, state, lambdas=_LAMBDAS),
            ng.dispersion(here, state),
        )
    return curves


def comparison(task: Task) -> list[Row]:
    """The same analysis of Jansen and Rit's mass: a poorer repertoire."""
    n = task.choose(17, 65)
    planes = {}
    for name, model in (("next-generation", ng.NextGenEI()), ("Jansen and Rit", ng.JansenRit())):
        plane = {key: np.linspace(low, high, n) for key, (low, high, _) in model.plane.items()}
        planes[name] = Plane(ng.Network(model, task.connectome, model.cut), plane)
    found = compare(planes, say=task.say, progress=task.progress)
    task.save(found.figure, "comparison")
    new, old = shares = [_shares(result) for result in found.maps.values()]
    richer = sum(new[k] > old[k] for k in new)
    text = "; ".join(
        f"{name}: " + ", ".join(f"{k} at {v:.1%} of the points" for k, v in facts.items())
        for name, facts in zip(found.maps, shares, strict=True)
    )
    return [
        Row(
            "a classical mass in the same network has a poorer repertoire, both of homogeneous "
            "states and of instabilities",
            text,
            agree(richer == len(new), richer >= 2),
            "each in its own plane; larger for the classical mass: "
            + (", ".join(k for k in new if new[k] <= old[k]) or "nothing"),
        )
    ]


def _shares(result: ng.DispersionMap) -> dict[str, float]:
    """At which part of the points something is."""
    growing = result.stable & (result.number_growing > 0)
    masks = {
        "modes grow on equilibria": growing & (result.kind == EQUILIBRIUM),
        "on orbits": growing & (result.kind == ORBIT),
        "alone it is aperiodic": result.kind == APERIODIC,
    }
    return {name: float(mask.any(axis=-1).mean()) for name, mask in masks.items()}
