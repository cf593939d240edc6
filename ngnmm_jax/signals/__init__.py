"""What signals hold: pure functions of arrays with time as the first axis, in seconds and Hz.

All of them work under `jax.jit`, `jax.vmap` and `jax.grad`, in 32 or 64 bits as JAX is set.
"""

from ngnmm_jax.signals.complex_modes import ComplexModes, complex_modes, travelling_index
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
from ngnmm_jax.signals.modal import ModalActivity, ModalBasis, modal_activity, multiplets
from ngnmm_jax.signals.phase import (
    analytic_signal,
    band_pass,
    envelope,
    kuramoto_order,
    metastability,
    phase,
)
from ngnmm_jax.signals.rotors import PhaseSingularities, phase_singularities
from ngnmm_jax.signals.spaces import AbstractSpace, Grid, Mesh, Points
from ngnmm_jax.signals.spectra import BANDS, PowerSpectrum, power_spectrum
from ngnmm_jax.signals.switching import Switching, switching
from ngnmm_jax.signals.wavenumbers import (
    WavenumberSpectrum,
    pattern_wavelength,
    wavenumber_spectrum,
)
from ngnmm_jax.signals.waves import LARGEST_STEP, TravellingWaves, Undefined, travelling_waves

__all__ = [
    "BANDS",
    "LARGEST_STEP",
    "AbstractSpace",
    "Comodulogram",
    "ComplexModes",
    "ConnectivityDynamics",
    "Grid",
    "Mesh",
    "ModalActivity",
    "ModalBasis",
    "PhaseSingularities",
    "Points",
    "PowerSpectrum",
    "Switching",
    "TravellingWaves",
    "Undefined",
    "WavenumberSpectrum",
    "analytic_signal",
    "band_pass",
    "comodulogram",
    "complex_modes",
    "envelope",
    "envelope_locking",
    "functional_connectivity",
    "functional_connectivity_dynamics",
    "kuramoto_order",
    "metastability",
    "modal_activity",
    "modulation_index",
    "multiplets",
    "pattern_wavelength",
    "phase",
    "phase_locking_value",
    "phase_singularities",
    "power_spectrum",
    "switching",
    "travelling_index",
    "travelling_waves",
    "wavenumber_spectrum",
]
