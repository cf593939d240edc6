"""What is shown of systems: the model and what was set in it, the coupling, what drives it."""

import inspect
from typing import Any

from ngnmm_jax._core.cards import shown
from ngnmm_jax._core.pictured import Pictured
from ngnmm_jax.coupling.linear import LinearCoupling
from ngnmm_jax.graphs.dense import DenseGraph
from ngnmm_jax.models.cards import set_in


class PicturedSystem(Pictured):
    """A network, a homogeneous system, or one that is driven, shown by what makes it."""

    def card(self) -> tuple[str, dict[str, Any]]:
        """Its class, size and model; parameters that are not as by default; what acts on it."""
        driven: Any = self
        core = getattr(driven, "system", driven)
        regions = getattr(core, "n_regions", None)
        what = "one region of" if regions is None else f"{regions} regions of"
        rows: dict[str, Any] = {"parameters": set_in(core.model), "coupling": core.coupling}
        rows |= _between(core.interaction, alone=regions is None)
        if core is not driven:
            rows["noise"] = ", ".join(f"{k} {_noise(v)}" for k, v in driven.noise.items()) or "none"
            stimulus = driven.stimulus
            rows["stimulus"] = "none" if stimulus is None else type(stimulus).__name__
        return f"{type(self).__name__}: {what} {type(core.model).__name__}", rows


def _between(interaction: Any, *, alone: bool) -> dict[str, Any]:
    """What regions send each other, and over what: in a word where it is the usual.

    A homogeneous system stands `alone`, without a graph.
    """
    whole, held = interaction.graph, vars(interaction).items()
    graph = whole.undelayed()
    rows: dict[str, Any] = {"coupling": interaction.strength}
    if type(interaction) is not LinearCoupling:
        values = (f"{name} {_named(value)}" for name, value in held if value is not whole)
        rows["coupling"] = ", ".join((type(interaction).__name__, *values))
    if alone:
        return rows
    if type(graph) is DenseGraph:
        name = getattr(graph.connectome, "name", "connectome")
        rows["connectome"] = graph.weights if name == "connectome" else name  # by default
    else:
        rows["graph"] = graph
    for name, part in interaction.delayed().items():
        delayed: Any = part.graph
        rows[f"{name}delays"] = delayed.said()
    return rows


def _noise(noise: Any) -> str:
    """A noise's strength, or what it is made with."""
    if not hasattr(noise, "strength"):
        return shown(noise)
    fields = {k: v for k, v in vars(noise).items() if v is not None and k != "root"}
    values = ", ".join(f"{name} {_named(value)}" for name, value in fields.items())
    return f"{type(noise).__name__}({values})"


def _named(value: Any) -> str:
    """A function by its name, other values as they are shown elsewhere."""
    return str(value.__name__) if inspect.isfunction(value) else shown(value)
