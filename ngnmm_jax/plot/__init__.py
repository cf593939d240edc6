"""Figures: each function takes a result and axes, and returns the axes."""

from typing import TYPE_CHECKING

from ngnmm_jax._core.lazily import from_homes

if TYPE_CHECKING:
    from ngnmm_jax.plot._style import DECAYING, GROWING, UNIFORM, symbol
    from ngnmm_jax.plot.animation import animate
    from ngnmm_jax.plot.chaos import (
        LYAPUNOV_QUANTITIES,
        TONGUES_QUANTITIES,
        arnold_tongues,
        cascade,
        lyapunov,
        orbit_diagram,
        stroboscopic_map,
    )
    from ngnmm_jax.plot.diagrams import (
        bifurcation_curves,
        bifurcation_diagram,
        bifurcations,
        frequencies,
    )
    from ngnmm_jax.plot.fits import (
        fc_comparison,
        fit_history,
        fit_parameters,
        identifiability,
        spectrum_fit,
    )
    from ngnmm_jax.plot.regions import brain, connectome_matrix, structural_spectrum
    from ngnmm_jax.plot.roots import ROOTS_QUANTITIES, characteristic_roots, roots_cut, roots_map
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
    from ngnmm_jax.plot.states import equilibria, linear_response, lyapunov_exponents, orbit
    from ngnmm_jax.plot.surfaces import surface
    from ngnmm_jax.plot.sweeps import sweep, sweep_overview, sweep_quantities

__all__ = [
    "DECAYING",
    "GROWING",
    "LYAPUNOV_QUANTITIES",
    "MAP_QUANTITIES",
    "ROOTS_QUANTITIES",
    "TONGUES_QUANTITIES",
    "UNIFORM",
    "activity",
    "animate",
    "arnold_tongues",
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
    "equilibria",
    "fc_comparison",
    "fit_history",
    "fit_parameters",
    "frequencies",
    "identifiability",
    "linear_response",
    "lyapunov",
    "lyapunov_exponents",
    "map_cut",
    "map_details",
    "mean_field",
    "orbit",
    "orbit_diagram",
    "raster",
    "rhythm",
    "roots_cut",
    "roots_map",
    "spectrum",
    "spectrum_fit",
    "spikes",
    "stroboscopic_map",
    "structural_spectrum",
    "surface",
    "sweep",
    "sweep_overview",
    "sweep_quantities",
    "symbol",
]

_HOMES = {
    "_style": (
        "DECAYING",
        "GROWING",
        "UNIFORM",
        "symbol",
    ),
    "diagrams": (
        "bifurcation_curves",
        "bifurcation_diagram",
        "bifurcations",
        "frequencies",
    ),
    "chaos": (
        "LYAPUNOV_QUANTITIES",
        "TONGUES_QUANTITIES",
        "arnold_tongues",
        "cascade",
        "lyapunov",
        "orbit_diagram",
        "stroboscopic_map",
    ),
    "fits": (
        "fc_comparison",
        "fit_history",
        "fit_parameters",
        "identifiability",
        "spectrum_fit",
    ),
    "animation": ("animate",),
    "regions": (
        "brain",
        "connectome_matrix",
        "structural_spectrum",
    ),
    "roots": (
        "ROOTS_QUANTITIES",
        "characteristic_roots",
        "roots_cut",
        "roots_map",
    ),
    "signals": (
        "activity",
        "comodulogram",
        "mean_field",
        "raster",
        "rhythm",
        "spectrum",
    ),
    "spiking": ("spikes",),
    "states": ("equilibria", "linear_response", "lyapunov_exponents", "orbit"),
    "stability": (
        "MAP_QUANTITIES",
        "dispersion",
        "dispersion_family",
        "dispersion_map",
        "map_cut",
        "map_details",
    ),
    "surfaces": ("surface",),
    "sweeps": (
        "sweep",
        "sweep_overview",
        "sweep_quantities",
    ),
}
__getattr__ = from_homes(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
