"""Lorentzians, of excitabilities and of potentials: their quantiles, centre and half width."""

import numpy as np
from jax import Array


def quantiles(neurons: int) -> np.ndarray:
    """Excitabilities (neuron,) of a Lorentzian of centre 0 and half width 1.

    Those at the probabilities (j - 1/2) / neurons: equally spaced on the circle that the
    tangent maps to the line, so that means of smooth functions over them are those of the
    Lorentzian up to an error that falls exponentially.
    """
    return np.tan(np.pi * ((np.arange(neurons) + 0.5) / neurons - 0.5))


def lorentzian_of(potentials: Array) -> tuple[Array, Array]:
    """Centre and half width (…,) of Lorentzian potentials (…, neuron).

    The mean of V does not exist: a Lorentzian's tails are so heavy that the average of a million
    potentials scatters as much as one of them. The mean of (1 + iV) / (1 - iV), a point on the
    unit circle, does; that function is analytic in the upper half plane, so its mean is its value
    at v + i x, from which the centre v and the half width x follow (the same relation as between
    Kuramoto's order parameter and the firing rate in Montbrió, Pazó and Roxin, 2015).
    """
    below = 1 / (1 + potentials * potentials)
    order = (2 * below - 1).mean(axis=-1) + 1j * (2 * potentials * below).mean(axis=-1)
    point = -1j * (order - 1) / (order + 1)
    return point.real, point.imag
