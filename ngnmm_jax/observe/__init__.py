"""What instruments see of activity: BOLD, local field potentials, EEG and MEG, averages."""

from ngnmm_jax.observe.balloon import BalloonWindkessel
from ngnmm_jax.observe.bold import Perfusion, bold, perfusion
from ngnmm_jax.observe.electric import average, lfp, synaptic_currents, through_lead_field

__all__ = [
    "BalloonWindkessel",
    "Perfusion",
    "average",
    "bold",
    "lfp",
    "perfusion",
    "synaptic_currents",
    "through_lead_field",
]
