"""What the explorer computes at a place: a state, what grows on it, a short run; in words."""

import itertools
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import numpy as np

from ngnmm_jax._core.status import SolverError, Status
from ngnmm_jax.dynamics.equilibria import find_equilibria
from ngnmm_jax.dynamics.orbits import find_orbit
from ngnmm_jax.integrators import fixed
from ngnmm_jax.models.times import SECONDS, frequency_unit, per_time, seconds_in
from ngnmm_jax.signals import power_spectrum
from ngnmm_jax.simulation.result import Simulation
from ngnmm_jax.simulation.single import simulate
from ngnmm_jax.simulation.start import initial_state
from ngnmm_jax.stability.dispersion import Dispersion, dispersion
from ngnmm_jax.stability.roots import CharacteristicRoots
from ngnmm_jax.systems.delayed import allowing
from ngnmm_jax.systems.network import Network

#: Λ of the curve.
GRID = np.linspace(-1.0, 1.0, 161)
#: Of a run.
SAMPLES = 1000
_STEPS = 10_000
# Of Welch's windows, as a fraction of the run; what counts as no activity.
_WINDOW = 0.3
STILL = 1e-3
# Peaks below this bin of the spectrum are no rhythm that the run can tell.
_LOWEST = 3


def activity(network: Network, ends: Mapping[str, tuple[float, float]]) -> Simulation:
    """A short run from near rest; with delays by one program for all within `ends`, by name."""
    if network.delays is None:
        return _known(_run(network, fixed(network).longest_step(network), None))
    corners = np.array(list(itertools.product(*ends.values()))).T
    points = dict(zip(ends, corners, strict=True))
    step = fixed(network).longest_step(network, points)
    network = allowing(network.bare(), points)
    return _known(_traced_run(network, step, initial_state(network)))


def state_and_growth(network: Network) -> tuple[str, Dispersion | CharacteristicRoots]:
    """The attractor that all regions may share, and what grows on it.

    Its dispersion relation, curve, then modes; its roots where delays differ.
    """
    homogeneous = network.homogeneous()
    if network.delays is not None:
        return _at_rest_with_delays(network, differ=not network.one_delay)
    rest = find_equilibria(homogeneous)
    place = int(np.argmax(np.asarray(rest.stable)))
    state: Any = rest.states[place]
    words = "At rest, stable alone."
    if not bool(rest.stable.any()):
        words = "At rest, unstable alone."
        orbit = find_orbit(homogeneous, steps=64, throw=False)
        if orbit.status == Status.OK:
            hertz = 1 / (float(orbit.period) * seconds_in(network.model.time_unit))
            heard = _frequency(hertz, network.model.time_unit)
            state, words = orbit, f"On an orbit of {heard}."
    return words, dispersion(network, state, lambdas=_curve_and_modes(network))


def _curve_and_modes(network: Network) -> np.ndarray:
    return np.concatenate([GRID, np.asarray(network.spectrum()[0])])


def _at_rest_with_delays(
    network: Network, *, differ: bool
) -> tuple[str, Dispersion | CharacteristicRoots]:
    """Of the equilibrium that grows least; of roots, of the one with the least first variable."""
    rest = find_equilibria(network.homogeneous())
    if differ:
        others = rest.states.shape[0] - 1
        words = "At rest" + (f", with {others} equilibria more" if others else "")
        return f"{words}.", dispersion(network, rest.states[0], throw=False)
    state = rest.states[int(np.argmax(np.asarray(rest.stable)))]
    alone = "stable" if bool(rest.stable.any()) else "unstable"
    words = f"At rest, {alone} alone; oscillations with a delay are not looked for."
    return words, dispersion(network, state, lambdas=_curve_and_modes(network))


def _run(network: Network, step: float, start: Any) -> Simulation:
    """With the exact local flow where the model has one."""
    return simulate(
        network,
        _STEPS * step,
        dt=step,
        start=start,
        integrator=fixed(network),
        save_every=_STEPS // SAMPLES * step,
        variables=network.model.shown,
        progress=False,
        throw=False,
    )


_traced_run = eqx.filter_jit(_run)


def _known(run: Simulation) -> Simulation:
    """A run that ended well."""
    if run.status != Status.OK:
        raise SolverError("the simulation", Status(int(run.status)))
    return run


def at_modes(curve: Dispersion) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Λ, growth and frequency at the connectome's modes, the uniform one first."""
    part = slice(GRID.size, None)
    columns = (curve.lambdas, curve.growth, curve.frequency)
    lambdas, growth, frequency = (np.asarray(column)[part] for column in columns)
    first = np.argsort(lambdas != lambdas[np.abs(lambdas - lambdas.real.max()).argmin()])
    return lambdas[first], growth[first], frequency[first]


def in_words(found: Dispersion | CharacteristicRoots) -> str:
    if isinstance(found, CharacteristicRoots):
        return _roots_in_words(found)
    return _modes_in_words(found)


def _roots_in_words(found: CharacteristicRoots) -> str:
    growing, certain = int(found.number_growing), bool(found.certified)
    words = f"{growing} roots grow" + ("" if certain else " at least (not certified)")
    if growing:
        words += f"; the fastest: {float(found.growth[0]):.3g} {per_time(found.time_unit)}, "
        words += _frequency(float(found.frequency[0]), found.time_unit)
    return words + "; delays differ, so that there is no curve over Λ, nor a shared oscillation."


def _modes_in_words(curve: Dispersion) -> str:
    lambdas, growth, frequency = at_modes(curve)
    growing = int((growth[1:] > 0).sum())
    words = f"{growing} of {lambdas.size - 1} modes grow"
    if growing:
        k = 1 + int(growth[1:].argmax())
        turns = _frequency(frequency[k], curve.time_unit)
        words += f"; the fastest: Λ = {lambdas[k].real:.3f}, {turns}"
    return words + "."


def _frequency(value: float, time_unit: str, digits: int = 1) -> str:
    """A frequency with its unit."""
    text = f"{value:.{digits}f}" if time_unit in SECONDS else f"{value:.3g}"
    return f"{text} {frequency_unit(time_unit)}"


def heard(run: Simulation) -> str:
    values = np.asarray(run[run.shown])[SAMPLES // 3 :]
    if values.std() < STILL:
        return "The network rests."
    power = power_spectrum(values, run.sampling_interval, segment=segment_of(run))
    mean = np.asarray(power.power).mean(axis=1)
    k = 1 + int(mean[1:].argmax())
    step, peak = float(power.frequencies[1]), float(power.frequencies[k])
    if k < _LOWEST:
        return "The network moves, too slowly for this short run to tell a rhythm."
    told = _frequency(peak, run.time_unit, digits=0)
    return f"The network's regions peak at {told}, to within {step / 2:.2g}."


def segment_of(run: Simulation) -> float:
    """Length of Welch's windows (s)."""
    return _WINDOW * SAMPLES * run.sampling_interval
