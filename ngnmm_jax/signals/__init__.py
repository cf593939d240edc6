"""What signals hold: pure functions of arrays with time as the first axis, in seconds and Hz.

They work under `jax.jit`, `jax.vmap` and `jax.grad`, in 32 or 64 bits as JAX is set, but for those
that count (avalanches and their laws, states, words), which say so.
"""

from ngnmm_jax.signals.avalanches import (
    Avalanches,
    BranchingRatio,
    avalanches,
    branching_ratio,
    threshold_events,
)
from ngnmm_jax.signals.complex_modes import ComplexModes, complex_modes, travelling_index
from ngnmm_jax.signals.complexity import (
    Complexity,
    PulseResponse,
    lempel_ziv,
    perturbational_complexity,
    significant_response,
)
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
from ngnmm_jax.signals.ignition import Ignition, ignition, integration, upward_crossings
from ngnmm_jax.signals.leading import (
    LeadingEigenvectors,
    PhaseStates,
    leading_eigenvectors,
    phase_states,
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
from ngnmm_jax.signals.power_laws import PowerLaw, Scaling, power_law, scaling
from ngnmm_jax.signals.recruitment import Recruitment, recruitment
from ngnmm_jax.signals.rotors import PhaseSingularities, phase_singularities
from ngnmm_jax.signals.spaces import AbstractSpace, Grid, Mesh, Points
from ngnmm_jax.signals.spectra import BANDS, PowerSpectrum, power_spectrum
from ngnmm_jax.signals.structure import (
    StructureFunction,
    StructureFunctionFit,
    communicability,
    shortest_paths,
    structure_function,
    structure_function_fit,
)
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
    "Avalanches",
    "BranchingRatio",
    "Comodulogram",
    "ComplexModes",
    "Complexity",
    "ConnectivityDynamics",
    "Grid",
    "Ignition",
    "LeadingEigenvectors",
    "Mesh",
    "ModalActivity",
    "ModalBasis",
    "PhaseSingularities",
    "PhaseStates",
    "Points",
    "PowerLaw",
    "PowerSpectrum",
    "PulseResponse",
    "Recruitment",
    "Scaling",
    "StructureFunction",
    "StructureFunctionFit",
    "Switching",
    "TravellingWaves",
    "Undefined",
    "WavenumberSpectrum",
    "analytic_signal",
    "avalanches",
    "band_pass",
    "branching_ratio",
    "communicability",
    "comodulogram",
    "complex_modes",
    "envelope",
    "envelope_locking",
    "functional_connectivity",
    "functional_connectivity_dynamics",
    "ignition",
    "integration",
    "kuramoto_order",
    "leading_eigenvectors",
    "lempel_ziv",
    "metastability",
    "modal_activity",
    "modulation_index",
    "multiplets",
    "pattern_wavelength",
    "perturbational_complexity",
    "phase",
    "phase_locking_value",
    "phase_singularities",
    "phase_states",
    "power_law",
    "power_spectrum",
    "recruitment",
    "scaling",
    "shortest_paths",
    "significant_response",
    "structure_function",
    "structure_function_fit",
    "switching",
    "threshold_events",
    "travelling_index",
    "travelling_waves",
    "upward_crossings",
    "wavenumber_spectrum",
]
