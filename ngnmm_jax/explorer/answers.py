"""What the explorer computes at a place: a state, what grows on it, a short run; in words."""

import itertools
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np

from ngnmm_jax._core.status import SolverError, Status
from ngnmm_jax.dynamics.equilibria import Equilibria, find_equilibria
from ngnmm_jax.dynamics.orbits import find_orbit
from ngnmm_jax.integrators import fixed
from ngnmm_jax.models.times import SECONDS, frequency_unit, per_time, seconds_in
from ngnmm_jax.signals import power_spectrum
from ngnmm_jax.simulation.result import Simulation
from ngnmm_jax.simulation.single import simulate
from ngnmm_jax.stability.dispersion import Dispersion, dispersion
from ngnmm_jax.stability.roots import NEUTRAL, CharacteristicRoots
from ngnmm_jax.systems.delayed import allowing
from ngnmm_jax.systems.network import Network

# Λ of the curve: so many, at least between these ends.
_CURVE, _ENDS = 161, (-1.0, 1.0)
#: Of a run.
SAMPLES = 1000
_STEPS = 10_000
# Of Welch's windows, as a fraction of the run; what counts as no activity.
_WINDOW = 0.3
STILL = 1e-3
# Peaks below this bin of the spectrum are no rhythm that the run can tell.
_LOWEST = 3
# Standard deviation of the noise on rest with which a run begins, in the unit of each variable.
_SCATTER = 0.01


class State(NamedTuple):
    """A state that all regions may share: in words, and what grows on it.

    - `found`: its dispersion relation, of a curve, then of modes; its roots where delays differ.
    - `curve`: how many Λ are the curve's: none where modes are those of several graphs.
    - `orbit`: whether it is an orbit; None where one was not looked for yet.
    """

    words: str
    found: Dispersion | CharacteristicRoots
    curve: int = 0
    orbit: bool | None = False


class Rhythm(NamedTuple):
    """Power spectra of what is shown of a run: of regions, averaged, and of regions' mean (dB)."""

    frequencies: np.ndarray
    regions: np.ndarray
    mean: np.ndarray


def activity(
    network: Network, rest: np.ndarray, ends: Mapping[str, tuple[float, float]]
) -> Simulation:
    """A short run from near rest; with delays by one program for all within `ends`, by name."""
    start = _near(network, rest)
    if network.delays is None:
        return _known(_run(network, fixed(network).longest_step(network), start))
    corners = np.array(list(itertools.product(*ends.values()))).T
    points = dict(zip(ends, corners, strict=True))
    step = fixed(network).longest_step(network, points)
    network = allowing(network.bare(), points)
    return _known(_traced_run(network, step, start))


def _near(network: Network, rest: np.ndarray) -> np.ndarray:
    """Rest with noise, the same at each place; what cannot be negative is reflected.

    As `initial_state` has it, by other numbers: its own would be a program more to compile.
    """
    model, shape = network.model, network.state_shape
    state = rest[:, None] + _SCATTER * np.random.default_rng(0).normal(size=shape)
    rows = [model.variables.index(name) for name in model.nonnegative]
    state[rows] = np.abs(state[rows])
    return np.asarray(state, network.coupling.dtype)


def answer(
    network: Network, ends: Mapping[str, tuple[float, float]], *, orbits: bool
) -> tuple[State, Simulation, Rhythm | None]:
    """What all regions may share, a run and its rhythm: both at once, as one compiles the other
    runs. `ends` as for `activity`; without `orbits` the state is rest, stable or not.
    """
    rest = find_equilibria(network.homogeneous())
    place, stable = _calmest(rest)
    # Where delays differ each equilibrium is as good as another one.
    place = place if network.delays is None or network.one_delay else 0
    least = np.asarray(rest.states)[place]

    def heard_of_it() -> tuple[Simulation, Rhythm | None]:
        run = activity(network, least, ends)
        return run, rhythm(run)

    with ThreadPoolExecutor(1) as beside:
        moving = beside.submit(heard_of_it)
        if network.delays is not None:
            state = _at_rest_with_delays(network, least, stable, rest.states.shape[0])
        elif stable:
            state = _along_modes(network, "At rest, stable alone.", least)
        else:
            state = _off_rest(network, least, orbits)
        return state, *moving.result()


def _off_rest(network: Network, least: np.ndarray, orbits: bool) -> State:
    """The orbit beside an unstable equilibrium (variable,); else, and without `orbits`, itself."""
    found = on_orbit(network) if orbits else None
    if found is not None:
        return found
    words = "At rest, unstable alone" + ("." if orbits else "; its orbit is being looked for.")
    return _along_modes(network, words, least)._replace(orbit=False if orbits else None)


def on_orbit(network: Network) -> State | None:
    """The orbit that all regions may share, and what grows on it; None where none is found."""
    orbit = find_orbit(network.homogeneous(), steps=64, throw=False)
    if orbit.status != Status.OK:
        return None
    hertz = 1 / (float(orbit.period) * seconds_in(network.model.time_unit))
    words = f"On an orbit of {_frequency(hertz, network.model.time_unit)}."
    return _along_modes(network, words, orbit)._replace(orbit=True)


def _calmest(rest: Equilibria) -> tuple[int, bool]:
    """Which is stable, or the first; and whether it is. By NumPy: there is nothing to compile."""
    stable = np.asarray(rest.eigenvalues)[:, 0].real < 0
    return int(np.argmax(stable)), bool(stable.any())


def _along_modes(network: Network, words: str, state: Any) -> State:
    """What grows on a state, an equilibrium or an orbit, along all modes, and between them."""
    modes = np.asarray(network.spectrum()[0])
    grid = np.zeros((0, *modes.shape[1:]))
    if modes.ndim == 1:
        low, high = min(modes.real.min(), _ENDS[0]), max(modes.real.max(), _ENDS[1])
        grid = np.linspace(low, high, _CURVE)
    found = dispersion(network, state, lambdas=np.concatenate([grid, modes]))
    return State(words, found, len(grid))


def _at_rest_with_delays(network: Network, state: np.ndarray, stable: bool, number: int) -> State:
    """Of an equilibrium, one of so many: its roots where delays differ."""
    if not network.one_delay:
        words = "At rest" + (f", with {number - 1} equilibria more" if number > 1 else "")
        return State(f"{words}.", dispersion(network, state, throw=False))
    alone = "stable" if stable else "unstable"
    words = f"At rest, {alone} alone; oscillations with a delay are not looked for."
    return _along_modes(network, words, state)


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


def rates(curve: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Λ, growth and frequency, of the curve and of the modes, by NumPy.

    What neither grows nor decays, to rounding, has a growth of zero.
    """
    leading = np.asarray(curve.eigenvalues)[:, 0]
    frequency = np.abs(leading.imag) / (2 * np.pi * seconds_in(curve.time_unit))
    neutral = NEUTRAL * np.nanmax(np.abs(curve.eigenvalues))
    growth = np.where(np.abs(leading.real) <= neutral, 0.0, leading.real)
    return np.asarray(curve.lambdas), growth, frequency


def at_modes(state: State) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Λ, growth and frequency at the connectome's modes, the uniform one first."""
    lambdas, growth, frequency = (column[state.curve :] for column in rates(state.found))
    first = np.argsort(lambdas != lambdas[np.abs(lambdas - lambdas.real.max()).argmin()])
    return lambdas[first], growth[first], frequency[first]


def in_words(state: State) -> str:
    if isinstance(state.found, CharacteristicRoots):
        return _roots_in_words(state.found)
    return _modes_in_words(state)


def _roots_in_words(found: CharacteristicRoots) -> str:
    growing, certain = int(found.number_growing), bool(found.certified)
    words = f"{growing} roots grow" + ("" if certain else " at least (not certified)")
    if growing:
        words += f"; the fastest: {float(found.growth[0]):.3g} {per_time(found.time_unit)}, "
        words += _frequency(float(found.frequency[0]), found.time_unit)
    return words + "; delays differ, so that there is no curve over Λ, nor a shared oscillation."


def _modes_in_words(state: State) -> str:
    lambdas, growth, frequency = at_modes(state)
    growing = int((growth[1:] > 0).sum())
    words = f"{growing} of {lambdas.size - 1} modes grow"
    if growing:
        k = 1 + int(growth[1:].argmax())
        turns = _frequency(frequency[k], state.found.time_unit)
        words += f"; the fastest: Λ = {lambdas[k].real:.3f}, {turns}"
    return words + "."


def _frequency(value: float, time_unit: str, digits: int = 1) -> str:
    """A frequency with its unit."""
    text = f"{value:.{digits}f}" if time_unit in SECONDS else f"{value:.3g}"
    return f"{text} {frequency_unit(time_unit)}"


def rhythm(run: Simulation) -> Rhythm | None:
    """Its spectra, without their mean; None where nothing moves."""
    values = np.asarray(run[run.shown])[SAMPLES // 3 :]
    if values.std() < STILL:
        return None
    both = np.column_stack([values, values.mean(axis=1)])
    interval = run.sampling_interval
    power = power_spectrum(both, interval, segment=_WINDOW * SAMPLES * interval)
    every = np.asarray(power.power)[1:]
    levels = [10 * np.log10(np.maximum(p, 1e-20)) for p in (every[:, :-1].mean(1), every[:, -1])]
    return Rhythm(np.asarray(power.frequencies)[1:], *levels)


def heard(found: Rhythm | None, time_unit: str) -> str:
    if found is None:
        return "The network rests."
    k = int(found.regions.argmax())
    if k + 1 < _LOWEST:
        return "The network moves, too slowly for this short run to tell a rhythm."
    told = _frequency(found.frequencies[k], time_unit, digits=0)
    return f"The network's regions peak at {told}, to within {found.frequencies[0] / 2:.2g}."
