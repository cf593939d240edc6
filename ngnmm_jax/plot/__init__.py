"""Figures: each function takes a result and axes, and returns the axes."""

from ngnmm_jax.plot._style import DECAYING, GROWING, UNIFORM, symbol
from ngnmm_jax.plot.bifurcations import (
    bifurcation_curves,
    bifurcation_diagram,
    bifurcations,
    frequencies,
)
from ngnmm_jax.plot.chaos import LYAPUNOV_QUANTITIES, cascade, lyapunov, orbit_diagram
from ngnmm_jax.plot.fits import (
    fc_comparison,
    fit_history,
    fit_parameters,
    identifiability,
    spectrum_fit,
)
from ngnmm_jax.plot.regions import animate, brain, connectome_matrix, structural_spectrum
from ngnmm_jax.plot.roots import ROOTS_QUANTITIES, characteristic_roots, roots_map
from ngnmm_jax.plot.signals import activity, comodulogram, mean_field, raster, rhythm, spectrum
from ngnmm_jax.plot.spiking import spikes
from ngnmm_jax.plot.stability import (
    MAP_QUANTITIES,
    dispersion,
    dispersion_family,
    dispersion_map,
    map_cut,
    map_details,
)
from ngnmm_jax.plot.sweeps import sweep, sweep_overview, sweep_quantities

__all__ = [
    "DECAYING",
    "GROWING",
    "LYAPUNOV_QUANTITIES",
    "MAP_QUANTITIES",
    "ROOTS_QUANTITIES",
    "UNIFORM",
    "activity",
    "animate",
    "bifurcation_curves",
    "bifurcation_diagram",
    "bifurcations",
    "brain",
    "cascade",
    "characteristic_roots",
    "comodulogram",
    "connectome_matrix",
    "dispersion",
    "dispersion_family",
    "dispersion_map",
    "fc_comparison",
    "fit_history",
    "fit_parameters",
    "frequencies",
    "identifiability",
    "lyapunov",
    "map_cut",
    "map_details",
    "mean_field",
    "orbit_diagram",
    "raster",
    "rhythm",
    "roots_map",
    "spectrum",
    "spectrum_fit",
    "spikes",
    "structural_spectrum",
    "sweep",
    "sweep_overview",
    "sweep_quantities",
    "symbol",
]
