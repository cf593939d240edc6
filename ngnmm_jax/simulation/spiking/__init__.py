"""The spiking network behind the mean field: quadratic integrate-and-fire (QIF) neurons.

Neuron j of a population obeys tau V' = V² + κ_j(t), where κ_j is its excitability plus all input
that its population receives; at V = ∞ it fires and goes on from V = -∞. The excitabilities are
the quantiles of a Lorentzian. The mean field of such populations is exact as their number of
neurons grows (Montbrió, Pazó and Roxin, Phys. Rev. X 5, 021028, 2015); here this can be seen.
"""

from ngnmm_jax.simulation.spiking.lorentzian import lorentzian_of, quantiles
from ngnmm_jax.simulation.spiking.result import SpikingSimulation
from ngnmm_jax.simulation.spiking.simulate import simulate_spiking

__all__ = ["SpikingSimulation", "lorentzian_of", "quantiles", "simulate_spiking"]
