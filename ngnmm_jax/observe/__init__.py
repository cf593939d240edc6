"""What instruments see of activity: BOLD, local field potentials, EEG and MEG, averages.

`observe(system, run, "bold")`, or any `AbstractObservation` in the string's place; beneath them are
functions of arrays.
"""

from ngnmm_jax.observe.balloon import BalloonWindkessel
from ngnmm_jax.observe.bold import BOLD, Perfusion, bold, perfusion
from ngnmm_jax.observe.electric import AbsoluteSum, WeightedSum, lfp, synaptic_currents
from ngnmm_jax.observe.observation import AbstractObservation, Observed, Variable, observe
from ngnmm_jax.observe.sensors import Average, LeadField, average, through_lead_field

__all__ = [
    "BOLD",
    "AbsoluteSum",
    "AbstractObservation",
    "Average",
    "BalloonWindkessel",
    "LeadField",
    "Observed",
    "Perfusion",
    "Variable",
    "WeightedSum",
    "average",
    "bold",
    "lfp",
    "observe",
    "perfusion",
    "synaptic_currents",
    "through_lead_field",
]
