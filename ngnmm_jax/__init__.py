"""Next-generation neural masses on a connectome: simulation and stability, on JAX.

    import ngnmm_jax as ng

    connectome = ng.Connectome.load("hcp-schaefer100").normalised()
    network = ng.Network(ng.NextGenEI(i_ext_e=13.0), connectome, coupling=5.0)
    run = ng.simulate(network, duration=1000.0)
    rest = ng.find_equilibria(network.homogeneous())
    curve = ng.dispersion(network, rest.states[0])
    ng.plot.dispersion(curve)

Importing the package changes no configuration of JAX; the analyses need 64 bits, and say so.
"""

import importlib
from typing import Any

from ngnmm_jax import fitting, models, observe, signals, stimuli, sweeps
from ngnmm_jax._status import SolverError, Status
from ngnmm_jax.batch import simulate_batch
from ngnmm_jax.bifurcations import (
    Branch,
    Diagram,
    SpecialPoint,
    bifurcation_diagram,
    continue_bifurcation,
    continue_cycles,
    continue_equilibria,
    two_parameter_diagram,
)
from ngnmm_jax.chaos import LyapunovMap, OrbitDiagram, lyapunov_map, orbit_diagram
from ngnmm_jax.connectome import Connectome, Eigenmodes
from ngnmm_jax.driven import Driven
from ngnmm_jax.dynamics.equilibria import Equilibria, find_equilibria
from ngnmm_jax.dynamics.lyapunov import LyapunovSpectrum, lyapunov_spectrum
from ngnmm_jax.dynamics.orbits import Orbit, find_orbit
from ngnmm_jax.fitting import Fit, Free, fit
from ngnmm_jax.maps import DispersionMap, dispersion_map
from ngnmm_jax.models import AbstractNeuralMass, JansenRit, NextGenEI
from ngnmm_jax.modes import Dispersion, dispersion
from ngnmm_jax.network import Homogeneous, Network
from ngnmm_jax.response import LinearResponse, linear_response
from ngnmm_jax.simulation import Simulation, initial_state, simulate
from ngnmm_jax.spiking import SpikingSimulation, simulate_spiking
from ngnmm_jax.sweeps import Activity, Design, Exponents, Stability, open_sweep, sweep

__all__ = [
    "AbstractNeuralMass",
    "Activity",
    "Branch",
    "Connectome",
    "Design",
    "Diagram",
    "Dispersion",
    "DispersionMap",
    "Driven",
    "Eigenmodes",
    "Equilibria",
    "Exponents",
    "Fit",
    "Free",
    "Homogeneous",
    "JansenRit",
    "LinearResponse",
    "LyapunovMap",
    "LyapunovSpectrum",
    "Network",
    "NextGenEI",
    "Orbit",
    "OrbitDiagram",
    "Simulation",
    "SolverError",
    "SpecialPoint",
    "SpikingSimulation",
    "Stability",
    "Status",
    "__version__",
    "bifurcation_diagram",
    "continue_bifurcation",
    "continue_cycles",
    "continue_equilibria",
    "dispersion",
    "dispersion_map",
    "explore",
    "find_equilibria",
    "find_orbit",
    "fit",
    "fitting",
    "initial_state",
    "linear_response",
    "lyapunov_map",
    "lyapunov_spectrum",
    "models",
    "observe",
    "open_sweep",
    "orbit_diagram",
    "plot",
    "signals",
    "simulate",
    "simulate_batch",
    "simulate_spiking",
    "stimuli",
    "sweep",
    "sweeps",
    "two_parameter_diagram",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # What imports matplotlib, so only when it is asked for.
    if name == "plot":
        return importlib.import_module("ngnmm_jax.plot")
    if name == "explore":
        return importlib.import_module("ngnmm_jax.explorer").explore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
