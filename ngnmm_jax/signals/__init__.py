"""What signals hold: pure functions of arrays with time as the first axis, in seconds and Hz.

All of them work under `jax.jit`, `jax.vmap` and `jax.grad`, in 32 or 64 bits as JAX is set.
"""

from ngnmm_jax.signals.connectivity import (
    ConnectivityDynamics,
    functional_connectivity,
    functional_connectivity_dynamics,
)
from ngnmm_jax.signals.cross_frequency import (
    Comodulogram,
    comodulogram,
    envelope_locking,
    modulation_index,
    phase_locking_value,
)
from ngnmm_jax.signals.phase import (
    analytic_signal,
    band_pass,
    envelope,
    kuramoto_order,
    metastability,
    phase,
)
from ngnmm_jax.signals.spectra import BANDS, PowerSpectrum, power_spectrum
from ngnmm_jax.signals.switching import Switching, switching

__all__ = [
    "BANDS",
    "Comodulogram",
    "ConnectivityDynamics",
    "PowerSpectrum",
    "Switching",
    "analytic_signal",
    "band_pass",
    "comodulogram",
    "envelope",
    "envelope_locking",
    "functional_connectivity",
    "functional_connectivity_dynamics",
    "kuramoto_order",
    "metastability",
    "modulation_index",
    "phase",
    "phase_locking_value",
    "power_spectrum",
    "switching",
]
