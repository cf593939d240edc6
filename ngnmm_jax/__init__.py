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

from typing import TYPE_CHECKING

from ngnmm_jax._core.lazily import from_homes
from ngnmm_jax._core.version import __version__

if TYPE_CHECKING:
    from ngnmm_jax import (
        coupling,
        fitting,
        graphs,
        integrators,
        models,
        observe,
        plot,
        signals,
        surfaces,
        sweeps,
    )
    from ngnmm_jax._core.cache import keep_compiled
    from ngnmm_jax._core.randomness import run_seeds
    from ngnmm_jax._core.status import SolverError, Status
    from ngnmm_jax.bifurcations import (
        Branch,
        Diagram,
        SpecialPoint,
        bifurcation_diagram,
        bifurcation_family,
        continue_bifurcation,
        continue_cycles,
        continue_equilibria,
        two_parameter_diagram,
    )
    from ngnmm_jax.bifurcations.delay_hopf import HopfCurve, continue_hopf
    from ngnmm_jax.chaos.lyapunov_map import LyapunovMap, lyapunov_map
    from ngnmm_jax.chaos.orbit_diagram import OrbitDiagram, orbit_diagram
    from ngnmm_jax.chaos.stroboscopic import StroboscopicMap, stroboscopic_map
    from ngnmm_jax.chaos.tongues import ArnoldTongues, arnold_tongues
    from ngnmm_jax.connectome import Connectome, Eigenmodes
    from ngnmm_jax.dynamics.equilibria import Equilibria, find_equilibria
    from ngnmm_jax.dynamics.forced.result import ForcedOrbit
    from ngnmm_jax.dynamics.lyapunov import LyapunovSpectrum, lyapunov_spectrum
    from ngnmm_jax.dynamics.orbits import find_orbit
    from ngnmm_jax.dynamics.periodic import Orbit
    from ngnmm_jax.explorer import explore
    from ngnmm_jax.fitting.fit import fit
    from ngnmm_jax.fitting.free import Free
    from ngnmm_jax.fitting.result import Fit
    from ngnmm_jax.models import (
        AbstractNeuralMass,
        ComplexStuartLandau,
        CoombesByrne,
        DumontGutkin,
        JansenRit,
        LaminarMass,
        MontbrioPazoRoxin,
        NextGenEI,
        QIFAdaptation,
        QIFPlasticity,
        StuartLandau,
        ThreePopulations,
        WilsonCowan,
    )
    from ngnmm_jax.saved import load, save
    from ngnmm_jax.simulation.batch import simulate_batch
    from ngnmm_jax.simulation.result import Simulation
    from ngnmm_jax.simulation.single import simulate
    from ngnmm_jax.simulation.spiking import SpikingSimulation, simulate_spiking
    from ngnmm_jax.simulation.start import initial_state
    from ngnmm_jax.stability.delay_maps import RootsMap
    from ngnmm_jax.stability.dispersion import Dispersion, dispersion
    from ngnmm_jax.stability.maps import DispersionMap, dispersion_map
    from ngnmm_jax.stability.modal_response import ModalResponse, modal_response
    from ngnmm_jax.stability.response import LinearResponse, linear_response
    from ngnmm_jax.stability.roots import CharacteristicRoots, characteristic_roots, root_near
    from ngnmm_jax.sweeps import (
        Activity,
        Along,
        Connectomes,
        Design,
        Exponents,
        Stability,
        open_sweep,
        sweep,
    )
    from ngnmm_jax.systems import noises, stimuli
    from ngnmm_jax.systems.driven import Driven
    from ngnmm_jax.systems.homogeneous import Homogeneous
    from ngnmm_jax.systems.network import Network
    from ngnmm_jax.systems.regional_maps import RegionalMap

__all__ = [
    "AbstractNeuralMass",
    "Activity",
    "Along",
    "ArnoldTongues",
    "Branch",
    "CharacteristicRoots",
    "ComplexStuartLandau",
    "Connectome",
    "Connectomes",
    "CoombesByrne",
    "Design",
    "Diagram",
    "Dispersion",
    "DispersionMap",
    "Driven",
    "DumontGutkin",
    "Eigenmodes",
    "Equilibria",
    "Exponents",
    "Fit",
    "ForcedOrbit",
    "Free",
    "Homogeneous",
    "HopfCurve",
    "JansenRit",
    "LaminarMass",
    "LinearResponse",
    "LyapunovMap",
    "LyapunovSpectrum",
    "ModalResponse",
    "MontbrioPazoRoxin",
    "Network",
    "NextGenEI",
    "Orbit",
    "OrbitDiagram",
    "QIFAdaptation",
    "QIFPlasticity",
    "RegionalMap",
    "RootsMap",
    "Simulation",
    "SolverError",
    "SpecialPoint",
    "SpikingSimulation",
    "Stability",
    "Status",
    "StroboscopicMap",
    "StuartLandau",
    "ThreePopulations",
    "WilsonCowan",
    "__version__",
    "arnold_tongues",
    "bifurcation_diagram",
    "bifurcation_family",
    "characteristic_roots",
    "continue_bifurcation",
    "continue_cycles",
    "continue_equilibria",
    "continue_hopf",
    "coupling",
    "dispersion",
    "dispersion_map",
    "explore",
    "find_equilibria",
    "find_orbit",
    "fit",
    "fitting",
    "graphs",
    "initial_state",
    "integrators",
    "keep_compiled",
    "linear_response",
    "load",
    "lyapunov_map",
    "lyapunov_spectrum",
    "modal_response",
    "models",
    "noises",
    "observe",
    "open_sweep",
    "orbit_diagram",
    "plot",
    "root_near",
    "run_seeds",
    "save",
    "signals",
    "simulate",
    "simulate_batch",
    "simulate_spiking",
    "stimuli",
    "stroboscopic_map",
    "surfaces",
    "sweep",
    "sweeps",
    "two_parameter_diagram",
]

# Where the public names live. Each is imported when it is first asked for, so that what is not
# used costs nothing.
_HOMES = {
    "_core.cache": ("keep_compiled",),
    "_core.randomness": ("run_seeds",),
    "_core.status": (
        "SolverError",
        "Status",
    ),
    "bifurcations": (
        "Branch",
        "Diagram",
        "SpecialPoint",
        "bifurcation_diagram",
        "bifurcation_family",
        "continue_bifurcation",
        "continue_cycles",
        "continue_equilibria",
        "two_parameter_diagram",
    ),
    "bifurcations.delay_hopf": (
        "HopfCurve",
        "continue_hopf",
    ),
    "chaos.lyapunov_map": (
        "LyapunovMap",
        "lyapunov_map",
    ),
    "chaos.orbit_diagram": (
        "OrbitDiagram",
        "orbit_diagram",
    ),
    "chaos.stroboscopic": (
        "StroboscopicMap",
        "stroboscopic_map",
    ),
    "chaos.tongues": (
        "ArnoldTongues",
        "arnold_tongues",
    ),
    "connectome": (
        "Connectome",
        "Eigenmodes",
    ),
    "dynamics.equilibria": (
        "Equilibria",
        "find_equilibria",
    ),
    "dynamics.forced.result": ("ForcedOrbit",),
    "dynamics.lyapunov": (
        "LyapunovSpectrum",
        "lyapunov_spectrum",
    ),
    "dynamics.orbits": ("find_orbit",),
    "dynamics.periodic": ("Orbit",),
    "explorer": ("explore",),
    "fitting.fit": ("fit",),
    "fitting.free": ("Free",),
    "fitting.result": ("Fit",),
    "models": (
        "AbstractNeuralMass",
        "ComplexStuartLandau",
        "CoombesByrne",
        "DumontGutkin",
        "JansenRit",
        "LaminarMass",
        "MontbrioPazoRoxin",
        "NextGenEI",
        "QIFAdaptation",
        "QIFPlasticity",
        "StuartLandau",
        "ThreePopulations",
        "WilsonCowan",
    ),
    "saved": (
        "load",
        "save",
    ),
    "simulation.batch": ("simulate_batch",),
    "simulation.result": ("Simulation",),
    "simulation.single": ("simulate",),
    "simulation.spiking": (
        "SpikingSimulation",
        "simulate_spiking",
    ),
    "simulation.start": ("initial_state",),
    "stability.delay_maps": ("RootsMap",),
    "stability.dispersion": (
        "Dispersion",
        "dispersion",
    ),
    "stability.maps": (
        "DispersionMap",
        "dispersion_map",
    ),
    "stability.modal_response": (
        "ModalResponse",
        "modal_response",
    ),
    "stability.response": (
        "LinearResponse",
        "linear_response",
    ),
    "stability.roots": (
        "CharacteristicRoots",
        "characteristic_roots",
        "root_near",
    ),
    "sweeps": (
        "Activity",
        "Along",
        "Connectomes",
        "Design",
        "Exponents",
        "Stability",
        "sweep",
    ),
    "sweeps.storage": ("open_sweep",),
    "systems": ("noises", "stimuli"),
    "systems.driven": ("Driven",),
    "systems.homogeneous": ("Homogeneous",),
    "systems.network": ("Network",),
    "systems.regional_maps": ("RegionalMap",),
}
__getattr__ = from_homes(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
