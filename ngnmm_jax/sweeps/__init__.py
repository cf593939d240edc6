"""Sweeps over parameters: designs, measures, and their streamed, resumable execution."""

from typing import TYPE_CHECKING

from ngnmm_jax._core.lazily import from_homes

if TYPE_CHECKING:
    from ngnmm_jax.sweeps import summaries
    from ngnmm_jax.sweeps.activity import Activity
    from ngnmm_jax.sweeps.along import Along
    from ngnmm_jax.sweeps.analyses import Exponents, Stability
    from ngnmm_jax.sweeps.connectomes import Connectomes
    from ngnmm_jax.sweeps.designs import Design
    from ngnmm_jax.sweeps.folding import FoldedWarning
    from ngnmm_jax.sweeps.measures import AbstractMeasure, Function
    from ngnmm_jax.sweeps.outputs import Output
    from ngnmm_jax.sweeps.run import sweep
    from ngnmm_jax.sweeps.storage import discrepancies, open_sweep
    from ngnmm_jax.sweeps.summaries import AbstractSummary
    from ngnmm_jax.sweeps.virtual_lesions import lesion_effects, lesioned

__all__ = [
    "AbstractMeasure",
    "AbstractSummary",
    "Activity",
    "Along",
    "Connectomes",
    "Design",
    "Exponents",
    "FoldedWarning",
    "Function",
    "Output",
    "Stability",
    "discrepancies",
    "lesion_effects",
    "lesioned",
    "open_sweep",
    "summaries",
    "sweep",
]

_HOMES = {
    "activity": ("Activity",),
    "analyses": (
        "Exponents",
        "Stability",
    ),
    "along": ("Along",),
    "connectomes": ("Connectomes",),
    "designs": ("Design",),
    "folding": ("FoldedWarning",),
    "measures": (
        "AbstractMeasure",
        "Function",
    ),
    "outputs": ("Output",),
    "run": ("sweep",),
    "storage": (
        "discrepancies",
        "open_sweep",
    ),
    "summaries": ("AbstractSummary",),
    "virtual_lesions": (
        "lesion_effects",
        "lesioned",
    ),
}
__getattr__ = from_homes(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
