"""Branches, maps, sweeps and signals of networks with delays, against exact answers and runs."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import brentq
from scipy.special import lambertw

import ngnmm_jax as ng
from ngnmm_jax.models import parameter
from ngnmm_jax.observe import lfp, synaptic_currents
from ngnmm_jax.sweeps import Exponents, Stability
from tests.scalar_models import OneVariable

WEIGHTS = np.array([[0, 1.0, 3.0], [2.0, 0, 2.0], [3.0, 1.0, 0]]) / 4
LENGTHS = np.array([[0, 40.0, 60.0], [40.0, 0, 90.0], [60.0, 90.0, 0]])


class Scalar(OneVariable):
    """x' = the input, of one variable, which is sent."""

    a: jax.Array = parameter(0.0, unit="1", doc="what is added")

    def vector_field(self, state, drive):
        return self.slope(state[0], drive)[None] + 0 * state

    def slope(self, x, drive):
        return drive + 0 * x

    def search_box(self):
        return jnp.array([-1.5]), jnp.array([1.5])


class Wright(Scalar):
    """x' = c (1 + x), with c = -α x(t - 1)."""

    def slope(self, x, drive):
        return drive * (1 + x)


class Cubic(Scalar):
    """x' = a + x - x³ + c."""

    def slope(self, x, drive):
        return self.a + x - x**3 + drive


class MackeyGlass(Scalar):
    """x' = 0.2 c / (1 + c^10) - 0.1 x, with c = x(t - τ)."""

    def slope(self, x, drive):
        return 0.2 * drive / (1 + drive**10) - 0.1 * x


def alone(model, strength, delay):
    """One region that drives itself."""
    return ng.Network(model, np.ones((1, 1)), strength, delays=delay)


def three(**delays):
    connectome = ng.Connectome(WEIGHTS, tract_lengths=LENGTHS)
    return ng.Network(ng.NextGenEI(i_ext_e=9.0), connectome, 9.0, **delays)


# Branches of equilibria


def test_hopf_points_over_the_delay_and_their_normal_form():
    """Of Wright's equation at α = 1.5: (π/2 + 2πk) / α. The first bends as Lindstedt's series says:
    the amplitude's square is 40 (α - π/2) / (3π - 2), per delay.
    """
    network = alone(Wright(), -1.5, 0.5)
    branch = ng.continue_equilibria(
        network.homogeneous(), {"delay": (0.2, 6.0)}, start=np.zeros(1), longest=0.2
    )
    assert branch.ok
    assert branch.unexplained == 0
    hopf = branch.of_kind("hopf")
    assert_allclose([p.parameter for p in hopf], (np.pi / 2 + 2 * np.pi * np.arange(2)) / 1.5)
    assert_allclose([p.period for p in hopf], 2 * np.pi / 1.5)
    bend = -(3 * np.pi - 2) / (10 * (1 + np.pi**2 / 4))
    assert_allclose(hopf[0].coefficient, bend, rtol=1e-9)
    delay = branch.parameter
    grown = 2 * (delay > hopf[0].parameter + 1e-9) + 2 * (delay > hopf[1].parameter + 1e-9)
    np.testing.assert_array_equal(branch.unstable, grown)
    leading = branch.spectrum[-1, 0].real if delay[-1] > delay[0] else branch.spectrum[0, 0].real
    assert_allclose(leading, lambertw(-1.5 * delay.max()).real / delay.max(), atol=1e-10)


def test_folds_are_those_without_delays_and_hopf_points_are_not():
    """x' = a + x - x³ - x(t - 5) / 2: A = 1 - 3x² is 1/2 at folds; at Hopf points A = cos(5ω) / 2
    where ω = sin(5ω) / 2.
    """
    network = alone(Cubic(a=-0.5), -0.5, 5.0)
    branch = ng.continue_equilibria(network, {"a": (-0.6, 0.6)}, longest=0.2)
    assert branch.states.shape[1:] == (1, 1)
    assert branch.ok
    assert branch.unexplained == 0
    at = {kind: [p.state.item() for p in branch.of_kind(kind)] for kind in ("fold", "hopf")}
    assert_allclose(np.abs(at["fold"]), np.sqrt(0.5 / 3), atol=1e-9)
    omega = brentq(lambda w: 0.5 * np.sin(5 * w) - w, 0.3, 0.6)
    there = np.sqrt((1 - 0.5 * np.cos(5 * omega)) / 3)
    assert_allclose(sorted(at["hopf"]), [-there, there], atol=1e-8)
    assert_allclose(branch.of_kind("hopf")[0].period, 2 * np.pi / omega, rtol=1e-8)
    inside = np.abs(branch.states[:, 0, 0]) < 0.4
    assert inside.any()
    assert (branch.unstable[inside] == 1).all()  # the pair has met on the real axis before


@pytest.mark.slow
def test_a_networks_hopf_points_have_those_of_shared_perturbations():
    """With one delay; of the network there are more. Short delays come to none."""
    network = three(delays=12.0)
    bounds = {"i_ext_e": (3.0, 6.0)}
    start = ng.find_equilibria(network.with_parameters(i_ext_e=4.0)).states[0]
    here = network.with_parameters(i_ext_e=4.0)
    whole = ng.continue_equilibria(here, bounds, start=start)
    shared = ng.continue_equilibria(here.homogeneous(), bounds)
    every = np.array([p.parameter for p in whole.of_kind("hopf")])
    some = np.array([p.parameter for p in shared.of_kind("hopf")])
    assert 0 < some.size < every.size
    assert (np.abs(every[:, None] - some).min(axis=0) < 1e-9).all()
    at = whole.of_kind("hopf")[0]
    growing = ng.dispersion(network.with_parameters(i_ext_e=at.parameter), at.state)
    assert np.abs(growing.growth).min() < 1e-9
    short = three(delays=1e-5).with_parameters(i_ext_e=4.0)
    bounds = {"i_ext_e": (0.0, 20.0)}
    late, plain = (
        ng.continue_equilibria(inner, bounds).of_kind("hopf")
        for inner in (short.homogeneous(), short.undelayed().homogeneous())
    )
    assert_allclose([p.parameter for p in late], [p.parameter for p in plain], atol=1e-3)
    assert_allclose([p.coefficient for p in late], [p.coefficient for p in plain], rtol=2e-3)


def test_cycles_are_those_of_regions_alike():
    network = ng.Network(Wright(), WEIGHTS, -1.0, delays=1.0)
    for follow in (ng.continue_cycles, ng.bifurcation_diagram):
        with pytest.raises(ValueError, match="whose cycles are those of one region"):
            follow(network, {"coupling": (-3.0, -1.0)})
        with pytest.raises(ValueError, match="sums of unlike times"):
            follow(three(speed=10.0).homogeneous(), {"i_ext_e": (8.0, 10.0)})


def test_where_delays_differ_the_network_is_continued():
    """What rests alike has the roots of the network."""
    network, bounds = three(speed=10.0), {"i_ext_e": (8.98, 9.02)}
    alike = ng.continue_equilibria(network.homogeneous(), bounds, longest=0.5)
    start = np.tile(ng.find_equilibria(network.homogeneous()).states[0][:, None], 3)
    whole = ng.continue_equilibria(network, bounds, start=start, longest=0.5)
    for end in (0, -1):
        assert_allclose(alike.parameters[end], whole.parameters[end], rtol=1e-12)
        assert_allclose(alike.spectrum[end][:6], whole.spectrum[end][:6], atol=1e-9)
    with pytest.raises(ValueError, match="`speed` must be positive"):
        ng.continue_equilibria(three(speed=10.0), {"speed": (0.0, 20.0)})


# Exponents, events, stability


@pytest.mark.slow
def test_exponents_over_the_delay():
    """Of x' = -x(t - τ): real parts of Lambert's function at -τ, over τ; in a sweep too."""
    network, delays = alone(Scalar(), -1.0, 1.0), [1.0, 1.3]
    times = {"duration": 200.0, "transient": 40.0, "dt": 0.1}
    found = ng.lyapunov_map(network, {"delay": delays}, 2, **times)
    assert (found.status == 0).all()
    roots = np.array([lambertw(-tau).real / tau for tau in delays])
    mean = np.asarray(found.spectra.exponents).mean(axis=1)  # of the pair
    assert_allclose(mean, roots, atol=1e-3)
    swept = ng.sweep(network, {"delay": delays}, Exponents(2, **times))
    assert_allclose(swept.exponents, found.spectra.exponents, rtol=1e-9)
    with pytest.raises(ValueError, match="infinitely many"):
        ng.lyapunov_map(network, {"delay": delays})


def test_maxima_over_the_delay():
    """Of Mackey and Glass's equation: those of plain runs, of one loop and of two."""
    network = alone(MackeyGlass(), 1.0, 10.0)
    diagram = ng.orbit_diagram(
        network, {"delay": [8.0, 15.0]}, dt=0.1, transient=2000.0, duration=500.0, events=8
    )
    assert (diagram.status == 0).all()
    for tau, points in zip([8.0, 15.0], diagram.points, strict=True):
        start = np.full((1, 1), 0.9)
        run = ng.simulate(
            network.with_parameters(delay=tau), 3000.0, dt=0.1, start=start, save_every=0.1
        )
        x = np.asarray(run.x[-4000:, 0])
        side = np.sign(points[0])  # the equation is odd: runs settle on either side
        peaks = _peaks(x if side > 0 else -x)
        assert np.abs(points[:, None] - peaks).min(axis=1).max() < 1e-3


def _peaks(x):
    """Maxima, by parabolas."""
    k = np.flatnonzero((x[1:-1] > x[:-2]) & (x[1:-1] >= x[2:])) + 1
    slope, bend = (x[k + 1] - x[k - 1]) / 2, x[k + 1] - 2 * x[k] + x[k - 1]
    return x[k] - slope**2 / (2 * bend)


def test_stability_in_sweeps_is_that_of_maps():
    for network, name, values in (
        (three(speed=10.0), "speed", [5.0, 12.0]),
        (three(delays=12.0), "delay", [3.0, 12.0]),
    ):
        swept = ng.sweep(network, {name: values}, Stability())
        mapped = ng.dispersion_map(network, {name: values})
        outputs = ("growth",) if name == "speed" else ("growth_uniform", "growth_transverse")
        for output in (*outputs, "number_growing", "frequency"):
            places = getattr(mapped, output).shape[-1]
            assert_allclose(swept[output][:, :places], getattr(mapped, output), rtol=1e-9)
        assert (swept.status == 0).all()


@pytest.mark.slow
def test_orbits_in_maps_are_those_of_single_calls():
    """Where nothing rests; at rest there is none, and where delays differ there cannot be."""
    network = three(delays=8.0)
    mapped = ng.dispersion_map(network, {"i_ext_e": [3.0, 9.0]}, oscillations=True)
    np.testing.assert_array_equal(mapped.kind[:, -1], [0, 2])
    assert (mapped.status == 0).all()
    orbit = ng.find_orbit(network.homogeneous())
    modes = ng.dispersion(network, orbit)
    best = int(modes.fastest)
    assert_allclose(mapped.period[1, -1], orbit.period, rtol=1e-9)
    assert_allclose(mapped.growth_transverse[1, -1], modes.growth[best], rtol=1e-6)
    assert (mapped.fastest[1, -1], mapped.number_growing[1, -1]) == (best, 0)
    assert mapped.growth_uniform[1, -1] < 0
    with pytest.raises(ValueError, match="where delays differ"):
        ng.dispersion_map(three(speed=10.0), {"i_ext_e": [3.0, 9.0]}, oscillations=True)


# What instruments see


def test_synaptic_currents_with_what_arrives_late():
    """Against sums by hand of a run that is saved at each step; also of one that goes on."""
    network, given = three(speed=10.0), {"dt": 0.05, "save_every": 0.05, "integrator": "rk4"}
    run = ng.simulate(network, 24.0, **given)
    found = synaptic_currents(network, run)
    sent = np.asarray(network.model.output(jnp.moveaxis(run.states, 1, 0)))
    drive = np.zeros_like(sent)
    for j, k in np.argwhere(WEIGHTS):
        late = np.arange(len(sent)) - round(LENGTHS[j, k] / 10 / 0.05)
        drive[:, j] += 9 * WEIGHTS[j, k] * sent[np.maximum(late, 0), k]
    currents = jax.vmap(network.model.synaptic_currents)(run.states, jnp.asarray(drive))
    assert_allclose(found, jnp.stack(currents), atol=1e-11)
    half = ng.simulate(network, 12.0, **given)
    rest = ng.simulate(network, 12.0, start=half, **given)
    assert_allclose(synaptic_currents(network, rest), found[:, 240:], atol=1e-9)
    assert lfp(network, run).shape == (481, 3)
    with pytest.raises(ValueError, match="saved more often") as refused:
        synaptic_currents(network, ng.simulate(network, 60.0, dt=0.05, save_every=1.0))
    often = float(re.search(r"`save_every=([\d.]+)`", str(refused.value))[1])
    assert 0.05 <= often < 1
    assert lfp(network, ng.simulate(network, 60.0, dt=often, save_every=often)).shape[1] == 3
    late = ng.simulate(network, 12.0, dt=0.05, save_at=np.arange(5.0, 12.0))
    with pytest.raises(ValueError, match="from its beginning"):
        synaptic_currents(network, late)
