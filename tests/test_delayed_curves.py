"""Curves of cycles with a delay over one parameter; of folds and Hopf points over two."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import ngnmm_jax as ng
from tests.test_delay_analyses import Cubic, Wright, alone
from tests.test_delayed_orbits import StuartLandau

WEIGHTS = np.array([[0, 1.0, 3.0], [2.0, 0, 2.0], [3.0, 1.0, 0]]) / 4


@pytest.fixture(scope="module")
def waves():
    """Rotating waves over the delay, and the system."""
    system = StuartLandau(jnp.asarray(1.5), jnp.asarray(0.9))
    orbit = ng.find_orbit(system, start=np.array([0.3, 0.1]), transient=60.0)
    given = {"longest": 0.3, "longest_period": 60.0, "intervals": 32}
    return system, ng.continue_cycles(system, {"delay": (1.2, 4.0)}, start=orbit, **given)


def frequency_missed(system, turning, delay):
    """Of waves R exp(iΩt): how far Ω is from what the equation gives."""
    phase = system.turn - turning * delay
    square = system.growth + float(system.gain) * np.cos(phase)
    return system.omega - system.bend * square + float(system.gain) * np.sin(phase) - turning


@pytest.mark.slow
def test_rotating_waves_over_the_delay(waves):
    """All are exact; folds lie where the delay turns, and multipliers there are 1 twice."""
    system, branch = waves
    assert branch.ok
    assert branch.ends == ("bound", "bound")
    assert np.isfinite(branch.errors).all()
    assert branch.errors.max() < 1e-7
    turning = 2 * np.pi / branch.periods
    assert_allclose(frequency_missed(system, turning, branch.parameter), 0, atol=1e-9)
    size = np.sqrt(system.growth + 0.9 * np.cos(system.turn - turning * branch.parameter))
    assert_allclose(branch.high, np.stack([size, size], axis=1), rtol=1e-4)
    folds = branch.of_kind("cycle_fold")
    assert sorted(round(fold.parameter, 1) for fold in folds) == [1.7, 3.4]
    for fold in folds:
        at, step = 2 * np.pi / fold.period, 1e-6
        ends = [frequency_missed(system, at + s, fold.parameter) for s in (-step, step)]
        assert abs(ends[1] - ends[0]) / (2 * step) < 1e-5
        spectrum = branch.spectrum[fold.index]
        assert np.sort(np.abs(spectrum[np.isfinite(spectrum)]))[1] < 1e-4
    assert branch.unexplained == 0


@pytest.mark.slow
def test_a_cycle_of_a_branch_is_the_orbit_found_there(waves):
    system, branch = waves
    k = 2
    here = eqx.tree_at(lambda s: s.delay, system, jnp.asarray(branch.parameter[k]))
    _, states = branch.cycle(k, 513)
    orbit = ng.find_orbit(here, start=states[:-1], period=branch.periods[k])
    assert_allclose(orbit.period, branch.periods[k], rtol=1e-10)
    assert_allclose(orbit.log_multipliers, branch.spectrum[k].real[:2], atol=1e-7)


@pytest.fixture(scope="module")
def born():
    """Cycles of Wright's equation x' = -α x(t - 1) (1 + x) from its first Hopf point on."""
    inner = alone(Wright(), -1.5, 1.0).homogeneous()
    bounds = {"coupling": (-1.8, -1.4)}
    (hopf,) = ng.continue_equilibria(inner, bounds, start=np.zeros(1)).of_kind("hopf")
    given = {"intervals": 32, "longest": 0.2}
    return ng.continue_cycles(inner, bounds, start=hopf, **given), hopf


@pytest.mark.slow
def test_cycles_are_born_at_a_hopf_point(born):
    """Amplitude and period as Lindstedt's series has them."""
    branch, hopf = born
    assert branch.ok
    assert branch.stable.all()
    assert_allclose(hopf.parameter, -np.pi / 2, rtol=1e-9)
    small = np.flatnonzero(-branch.parameter - np.pi / 2 < 2e-4)
    square = 40 * (-branch.parameter[small] - np.pi / 2) / (3 * np.pi - 2)
    reach = (branch.high - branch.low)[small, 0] / 2
    assert small.size > 1
    assert_allclose(reach**2, square, rtol=0.01)
    assert_allclose(branch.periods[small], 4.0, rtol=1e-3)


@pytest.mark.slow
def test_delays_and_strengths_scale(born):
    """Times scaled: α τ alone counts. Backwards the cycles end at the Hopf point."""
    branch, _ = born
    inner = alone(Wright(), -2.0, 0.88).homogeneous()
    orbit = ng.find_orbit(inner, start=np.array([0.3]))
    given = {"intervals": 32, "longest": 0.2, "start": orbit}
    other = ng.continue_cycles(inner, {"delay": (0.7, 0.9)}, **given)
    assert other.ends == ("hopf", "bound") or other.ends == ("bound", "hopf")
    (hopf,) = other.of_kind("hopf")
    assert hopf.status == ng.Status.OK
    assert_allclose(hopf.parameter, np.pi / 4, rtol=1e-8)
    assert_allclose(hopf.period, np.pi, rtol=1e-8)
    assert hopf.coefficient < 0
    order = np.argsort(other.parameter)
    ratio = (other.periods / other.parameter)[order]
    scaled = np.interp(-branch.parameter, 2 * other.parameter[order], ratio)
    known = (-branch.parameter > np.pi / 2 + 0.01) & (-branch.parameter < 1.79)
    assert_allclose(branch.periods[known], scaled[known], rtol=1e-4)


@pytest.mark.slow
def test_folds_and_hopf_points_over_two_parameters():
    """x' = a + x - x³ - x(t - τ) / 2: folds at |x| = √(1/6) whatever τ; at Hopf points
    1 - 3x² = cos(ωτ) / 2 where ω = sin(ωτ) / 2.
    """
    inner = alone(Cubic(a=-0.5), -0.5, 5.0).homogeneous()
    branch = ng.continue_equilibria(inner, {"a": (-0.6, 0.6)})
    bounds = {"a": (-0.6, 0.6), "delay": (4.5, 5.5)}
    fold = branch.of_kind("fold")[0]
    curve = ng.continue_bifurcation(inner, bounds, fold, longest=0.5)
    assert curve.ok
    assert_allclose(curve.parameter, fold.parameter, atol=1e-9)
    assert_allclose(sorted(curve.parameters[[0, -1], 1]), [4.5, 5.5])
    assert_allclose(np.nanmin(np.abs(curve.spectrum), axis=1), 0, atol=1e-7)
    hopf = branch.of_kind("hopf")[0]
    curve = ng.continue_bifurcation(inner, bounds, hopf)
    assert curve.ok
    assert len(curve) > 5
    delay, x, omega = curve.parameters[:, 1], curve.states[:, 0], 2 * np.pi / curve.periods
    assert_allclose(omega, 0.5 * np.sin(omega * delay), atol=1e-8)
    assert_allclose(1 - 3 * x**2, 0.5 * np.cos(omega * delay), atol=1e-8)
    cycles = ng.continue_cycles(inner, {"a": (-0.6, 0.6)}, start=hopf, max_points=3, throw=False)
    assert cycles.kind == "cycle"


@pytest.mark.slow
def test_pairs_that_change_places_are_seen():
    """Two pairs cross the axis in opposite ways between two points; cycles end where one does."""
    network = ng.Network(ng.NextGenEI(i_ext_e=5.0), WEIGHTS, 9.0, delays=12.0)
    inner, bounds = network.homogeneous(), {"i_ext_e": (4.9, 5.4)}
    branch = ng.continue_equilibria(inner, bounds, longest=0.5)
    hopf = branch.of_kind("hopf")
    assert len(hopf) == 2
    for at in hopf:
        here = ng.find_equilibria(inner.with_parameters(i_ext_e=at.parameter))
        assert np.abs(here.eigenvalues[0].real).min() < 1e-9
    cycles = ng.continue_cycles(inner, bounds, start=hopf[1])
    assert "bound" in cycles.ends
    assert (cycles.unstable[:3] > 0).all()


@pytest.mark.slow
def test_a_diagram_with_a_delay():
    inner = alone(Wright(), -1.5, 1.0).homogeneous()
    diagram = ng.bifurcation_diagram(inner, {"coupling": (-1.7, -1.4)}, longest=0.5, intervals=32)
    assert [branch.kind for branch in diagram.branches].count("cycle") == 1
    assert not diagram.failures
    curves = ng.two_parameter_diagram(
        alone(Cubic(a=-0.5), -0.5, 5.0).homogeneous(),
        {"a": (-0.6, 0.6), "delay": (4.5, 5.5)},
        [5.0],
    )
    assert {branch.kind for branch in curves.branches} == {"fold", "hopf"}
