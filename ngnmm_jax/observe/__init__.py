"""What instruments see of activity: BOLD, local field potentials, EEG and MEG, averages."""

from ngnmm_jax.observe.bold import BalloonWindkessel, bold
from ngnmm_jax.observe.electric import average, lfp, synaptic_currents, through_lead_field

__all__ = [
    "BalloonWindkessel",
    "average",
    "bold",
    "lfp",
    "synaptic_currents",
    "through_lead_field",
]
