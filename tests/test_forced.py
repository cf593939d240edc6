"""Systems under a periodic drive: locked orbits, their stability and continuation, tongues.

Compared with exact solutions (a forced linear oscillator; Stuart and Landau's in a rotating field,
whose locked states are roots of a cubic; Adler's bounds), and with SciPy's integration.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

import ngnmm_jax as ng
from ngnmm_jax import stimuli
from ngnmm_jax.models import parameter


class Damped(ng.AbstractNeuralMass):
    """A damped linear oscillator: x'' = -2 d x' - k x + drive."""

    variables = ("x", "y")
    units = ("1", "1")
    time_unit = "ms"
    shown, shown_unit = "x", "1"
    nonnegative = ()

    d: jax.Array = parameter(0.1, unit="1/ms", doc="damping", positive=True)
    k: jax.Array = parameter(1.3, unit="1", doc="stiffness", positive=True)

    def vector_field(self, state, drive):
        x, y = state
        return jnp.stack([y, -2 * self.d * y - self.k * x + drive])

    def output(self, state):
        return state[0]

    def search_box(self):
        return -jnp.ones(2), jnp.ones(2)


class Turning(eqx.Module):
    """Stuart and Landau's oscillator in a field that turns: z' = (1 + i w) z - |z|² z + f e^(iΩt).

    In the field's frame it is autonomous: locked states are roots of a cubic.
    """

    drive_period: jax.Array
    f: jax.Array
    w: jax.Array
    state_shape: tuple = eqx.field(default=(2,), static=True)
    time_step: float = eqx.field(default=0.02, static=True)

    @property
    def drive_edges(self):
        return jnp.zeros(0)

    def slope_at(self, t, state):
        x, y = state
        r, turn = x * x + y * y, 2 * jnp.pi * t / self.drive_period
        return jnp.stack(
            [
                x - self.w * y - r * x + self.f * jnp.cos(turn),
                y + self.w * x - r * y + self.f * jnp.sin(turn),
            ]
        )

    def observed(self, state):
        return state[0]


def turning(period=6.0, f=0.3, w=1.0):
    return Turning(*map(jnp.asarray, (period, f, w)))


def locked(system):
    """Exact amplitudes and eigenvalues in the turning frame, by falling amplitude."""
    gap = float(system.w - 2 * np.pi / system.drive_period)
    # a (1 + i gap - |a|²) = -f: with ρ = |a|², ρ ((1 - ρ)² + gap²) = f².
    roots = np.roots([1, -2, 1 + gap**2, -(float(system.f) ** 2)])
    found = []
    for rho in sorted(roots[np.abs(roots.imag) < 1e-9].real, reverse=True):
        a = -float(system.f) / (1 - rho + 1j * gap)
        c, d = 1 + 1j * gap - 2 * rho, -(a**2)
        matrix = [[c.real + d.real, -c.imag + d.imag], [c.imag + d.imag, c.real - d.real]]
        found.append((a, np.sort(np.linalg.eigvals(matrix).real)[::-1]))
    return found


@pytest.fixture(scope="module")
def damped():
    system = ng.Homogeneous(Damped(), 0.0)
    return ng.Driven(system, stimulus=stimuli.Sine(period=7.0, amplitude=0.4))


@pytest.fixture(scope="module")
def small():
    """Three regions, and a drive near their period."""
    weights = np.array([[0, 0.7, 0.3], [0.5, 0, 0.5], [0.2, 0.8, 0]])
    network = ng.Network(ng.NextGenEI(i_ext_e=13.0), weights, 5.0)
    return ng.Driven(network, stimulus=stimuli.Sine(period=14.4, amplitude=0.3))


@pytest.fixture(scope="module")
def orbit(small):
    return ng.find_orbit(small.homogeneous())


def test_a_linear_oscillator_under_a_sine(damped):
    """Its response and its multipliers are known."""
    orbit = ng.find_orbit(damped)
    turn = 2 * np.pi / 7.0
    response = 0.4 / (1.3 - turn**2 + 0.2j * turn)  # of e^(i turn t)
    ts = np.asarray(orbit.ts)
    exact = (response * np.exp(1j * turn * ts)).imag
    np.testing.assert_allclose(orbit.samples[:, 0], exact, atol=1e-9)
    np.testing.assert_allclose(orbit.extrema[:, 0], [-abs(response), abs(response)], atol=1e-8)
    exact = np.exp(7.0 * (-0.1 + 1j * np.sqrt(1.3 - 0.01)))
    found = np.asarray(orbit.multipliers)
    np.testing.assert_allclose(found[np.argsort(found.imag)], [exact.conj(), exact], atol=1e-10)
    assert (orbit.drive_cycles, int(orbit.cycles), float(orbit.winding)) == (1, 1, 1.0)
    assert bool(orbit.stable)
    assert "1:1" in repr(orbit)


def test_pulses_over_and_over(damped):
    """Against SciPy, piece by piece, and the mean of the train."""
    train = stimuli.Periodic(stimuli.Pulse(1.5, 2.0, 0.8), 7.0)
    orbit = ng.find_orbit(ng.Driven(damped.system, stimulus=train))
    x = np.asarray(orbit.states[0])
    for begin, end, push in ((0, 1.5, 0.0), (1.5, 3.5, 0.8), (3.5, 7.0, 0.0)):
        x = solve_ivp(
            lambda t, x, push=push: [x[1], -0.2 * x[1] - 1.3 * x[0] + push],
            (begin, end), x, rtol=1e-12, atol=1e-13,
        ).y[:, -1]  # fmt: skip
    np.testing.assert_allclose(x, orbit.states[0], atol=1e-10)
    samples, ts = np.asarray(orbit.samples[:, 0]), np.asarray(orbit.ts)
    mean = ((samples[1:] + samples[:-1]) / 2 * np.diff(ts)).sum() / 7
    np.testing.assert_allclose(mean, 0.8 * 2 / 7 / 1.3, rtol=1e-4)


def test_locked_states_of_an_oscillator_in_a_turning_field():
    """Amplitude and multipliers are those of the cubic; the unstable one from a guess."""
    system = turning()
    (a, exact), *others = locked(system)
    orbit = ng.find_orbit(system, start=jnp.array([1.0, 0.0]))
    np.testing.assert_allclose(orbit.states[0], [a.real, a.imag], atol=1e-9)
    np.testing.assert_allclose(orbit.exponents, exact, atol=1e-9)
    assert len(others) == 2
    for a, exact in others:
        start = jnp.array([a.real, a.imag]) + 1e-3
        orbit = ng.find_orbit(system, start=start, period=6.0)
        np.testing.assert_allclose(orbit.states[0], [a.real, a.imag], atol=1e-9)
        np.testing.assert_allclose(orbit.exponents, exact, atol=1e-9)
        assert not bool(orbit.stable)


def test_outside_of_the_tongue_the_run_drifts():
    """Adler: locked where |w - Ω| < f (to order f²)."""
    inside, outside = (turning(2 * np.pi / (1 + gap), 0.05) for gap in (0.047, 0.054))
    start = jnp.array([1.0, 0.0])
    assert ng.find_orbit(inside, start=start).ok
    with pytest.raises(ng.SolverError, match="not locked to the drive within 16"):
        ng.find_orbit(outside, start=start)


def test_times_scaled_change_nothing_else(damped):
    fast = ng.Driven(
        ng.Homogeneous(Damped(d=0.2, k=5.2), 0.0),
        stimulus=stimuli.Sine(period=3.5, amplitude=1.6),
    )
    a, b = ng.find_orbit(damped), ng.find_orbit(fast)
    np.testing.assert_allclose(b.samples[:, 0], a.samples[:, 0], atol=1e-8)
    np.testing.assert_allclose(2 * a.exponents, b.exponents, rtol=1e-8)


def test_without_strength_the_drive_samples_the_autonomous_orbit(small):
    inner = small.homogeneous()
    free = ng.find_orbit(inner.system)
    silent = inner.with_parameters(stimulus_amplitude=0.0, stimulus_period=float(free.period))
    orbit = ng.find_orbit(silent, start=free.states[0], period=float(free.period))
    np.testing.assert_allclose(orbit.states, free.states, atol=1e-9)
    np.testing.assert_allclose(orbit.log_multipliers, free.log_multipliers, atol=1e-8)


def test_modes_of_a_forced_orbit_are_the_whole_network_s(small, orbit):
    """`dispersion` against the multipliers of all regions' equations together."""
    modes = ng.dispersion(small, orbit)
    whole = ng.find_orbit(small, start=orbit)
    found = np.sort(np.asarray(modes.eigenvalues).real.ravel())[::-1]
    np.testing.assert_allclose(found, whole.exponents, atol=1e-10)
    np.testing.assert_allclose(modes.eigenvalues[modes.uniform].real, orbit.exponents, atol=1e-10)
    assert bool(whole.stable)


@pytest.mark.slow
def test_derivatives_flow_through_a_forced_orbit(damped):
    """By the drive's period, on which the state's time depends too; against the exact response."""
    orbit = ng.find_orbit(damped)

    def first(period):
        system = damped.with_parameters(stimulus_period=period)
        return ng.find_orbit(system, start=orbit, steps=64).states[0, 0]

    def exact(period):
        turn = 2 * jnp.pi / period
        return (0.4 / (1.3 - turn**2 + 0.2j * turn)).imag

    np.testing.assert_allclose(jax.jacfwd(first)(7.0), jax.grad(exact)(7.0), rtol=1e-8)
    second = jax.jacfwd(jax.jacfwd(first))(7.0)
    np.testing.assert_allclose(second, jax.grad(jax.grad(exact))(7.0), rtol=1e-7)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"noise": {"input": 0.1}}, "be without noise for `find_orbit`"),
        ({"stimulus": stimuli.Pulse(1.0, 2.0, 0.1)}, "repeat itself"),
        ({"stimulus": stimuli.Sine(1.0, 0.1) + stimuli.Sine(np.sqrt(2), 0.1)}, "repeat itself"),
    ],
)
def test_what_has_no_locked_orbit_is_refused(damped, change, words):
    given = {"noise": {}, "stimulus": damped.stimulus} | change
    with pytest.raises(ValueError, match=words):
        ng.find_orbit(ng.Driven(damped.system, **given))


def test_a_period_that_is_not_the_drive_s_is_refused(damped):
    with pytest.raises(ValueError, match="be a whole number of the drive's 7"):
        ng.find_orbit(damped, start=[0.0, 0.0], period=10.0)


def test_sums_repeat_themselves_where_their_periods_allow():
    total = stimuli.Sine(6.0, 0.1) + stimuli.Sine(4.0, 0.2)
    np.testing.assert_allclose(total.cycle, 12.0)
    for parts in ((1.0, 100.0), (100.0, 1.0)):  # in any order
        first, second = (stimuli.Sine(period, 1.0) for period in parts)
        assert (first + second).cycle == 100.0
    train = stimuli.Periodic(stimuli.Pulse(1.0, 1.0, 0.5), 4.0) + stimuli.Sine(6.0, 0.1)
    np.testing.assert_allclose(train.cycle, 12.0)
    np.testing.assert_allclose(np.unique(train.edges), [0, 1, 2, 4, 5, 6, 8, 9, 10])
    assert (stimuli.Sine(1.0, 0.1) + stimuli.Pulse(1.0, 1.0, 0.1)).cycle is None


def test_what_is_inside_of_a_period_keeps_its_edges_and_its_names():
    burst = stimuli.Periodic(stimuli.Periodic(stimuli.Pulse(0.5, 0.7, 8.0), 2.0), 5.0)
    np.testing.assert_allclose(np.unique(burst.edges), [0, 0.5, 1.2, 2, 2.5, 3.2, 4, 4.5, 5])
    node = ng.Homogeneous(ng.MontbrioPazoRoxin(), 0.0)
    driven = ng.Driven(node, stimulus=burst).with_parameters(stimulus_period=6.0)
    assert (driven.drive_period, driven.stimulus_period) == (6.0, 6.0)
    assert driven.stimulus_pattern_period == 2.0
    np.testing.assert_allclose(driven.stimulus.edges.max(), 5.2)


def test_moments_of_a_train_are_those_of_its_pulses():
    """Mean and first moment over steps against a fine sum; beyond a period, the mean."""
    train = stimuli.Periodic(stimuli.Pulse(1.0, 0.7, 0.5), 2.5)
    for t, dt in ((0.3, 0.2), (0.9, 0.4), (1.5, 1.9), (2.3, 2.4), (7.1, 1.3), (0.2, 6.4)):
        fine = t + dt * (np.arange(200_000) + 0.5) / 200_000
        values = np.asarray(jax.vmap(train)(jnp.asarray(fine)))
        mean, rise = train.moments(jnp.asarray(t), jnp.asarray(dt))
        np.testing.assert_allclose(mean, values.mean(), atol=1e-5)
        if dt <= 2.5:
            exact = 12 * (values * (fine - t - dt / 2)).mean() / dt
            np.testing.assert_allclose(rise, exact, atol=1e-4)


def test_parameters_of_a_stimulus_have_names(damped):
    changed = damped.with_parameters(stimulus_period=5.0, k=2.0)
    assert (float(changed.stimulus.period), float(changed.stimulus_period)) == (5.0, 5.0)
    assert float(changed.model.k) == 2.0
    both = ng.Driven(damped.system, stimulus=damped.stimulus + damped.stimulus)
    assert float(both.with_parameters(stimulus_1_amplitude=3.0).stimulus.parts[1].amplitude) == 3.0
    with pytest.raises(ValueError, match="period"):
        damped.with_parameters(stimulus_period=-1.0)
    with pytest.raises(ValueError, match="stimulus_amplitude"):
        damped.with_parameters(stimulus_strength=1.0)


GAP = 0.2  # between the oscillator's frequency and the field's


@pytest.fixture(scope="module")
def branch():
    """Locked orbits over the field's strength, near the border of their tongue."""
    system = turning(2 * np.pi / (1 - GAP), 0.21)
    orbit = ng.find_orbit(system, start=jnp.array([1.0, 0.0]))
    return ng.continue_cycles(
        system, {"f": (0.18, 0.22)}, start=orbit, intervals=12, longest=0.5, max_points=60
    )


def test_folds_of_locked_orbits(branch):
    """Where f² has its minimum over ρ in the cubic."""
    rho = (2 + np.sqrt(1 - 3 * GAP**2)) / 3
    (fold,) = branch.of_kind("cycle_fold")
    exact = np.sqrt(rho * ((1 - rho) ** 2 + GAP**2))
    np.testing.assert_allclose(fold.parameter, exact, rtol=1e-8)
    np.testing.assert_allclose(fold.period, 2 * np.pi / 0.8, rtol=1e-12)
    assert branch.unexplained == 0
    assert branch.stable.any()
    assert not branch.stable.all()


@pytest.mark.slow
def test_folds_of_locked_orbits_border_the_tongue(branch):
    """Their curve in strength and period, with its cusp, against the cubic."""
    (fold,) = branch.of_kind("cycle_fold")
    system = turning(2 * np.pi / (1 - GAP), 0.42)
    curve = ng.continue_bifurcation(
        system, {"f": (0.1, 0.6), "drive_period": (3.0, 20.0)}, fold, longest=0.2, max_points=80
    )
    gaps = 1 - 2 * np.pi / curve.parameters[:, 1]
    off = []
    for gap, f in zip(gaps, curve.parameter, strict=True):
        rhos = np.roots([3, -4, 1 + gap**2])
        off.append(np.abs(np.sqrt(rhos * ((1 - rhos) ** 2 + gap**2) + 0j) - f).min())
    assert max(off) < 1e-6  # near the cusp the roots themselves are a square root's
    cusps = curve.of_kind("cycle_cusp")
    assert cusps
    for cusp in cusps:
        np.testing.assert_allclose(cusp.parameter, np.sqrt(8 / 27), rtol=1e-8)


@pytest.mark.slow
def test_torus_points_of_locked_orbits_lie_where_the_trace_vanishes():
    """Neimark and Sacker's bifurcation is where ρ = 1/2 (the trace 2 - 4ρ of the turning frame)."""
    gap = 0.8
    system = turning(2 * np.pi / (1 - gap), 1.0)
    (a, _) = locked(system)[0]
    orbit = ng.find_orbit(system, start=jnp.array([a.real, a.imag]), period=system.drive_period)
    branch = ng.continue_cycles(system, {"f": (0.4, 1.2)}, start=orbit, intervals=12, longest=0.2)
    (torus,) = branch.of_kind("neimark_sacker")
    np.testing.assert_allclose(torus.parameter, np.sqrt(0.5 * (0.25 + gap**2)), rtol=1e-8)
    curve = ng.continue_bifurcation(
        system, {"f": (0.4, 1.2), "w": (0.7, 1.3)}, torus, longest=0.2, max_points=40
    )
    assert curve.kind == "neimark_sacker"
    gaps = curve.parameters[:, 1] - (1 - gap)
    np.testing.assert_allclose(curve.parameter, np.sqrt(0.5 * (0.25 + gaps**2)), rtol=1e-8)


def test_exponents_of_a_driven_trajectory_are_its_orbit_s():
    system = turning(2 * np.pi / 0.8, 0.6)
    (_, exact), *_ = locked(system)
    start = jnp.array([1.0, 0.0])
    found = ng.lyapunov_spectrum(system, start=start, duration=200.0, transient=50.0)
    np.testing.assert_allclose(found.exponents, exact, atol=3e-4)
    assert found.state.shape == (2,)


def test_noise_has_no_tangents_here(damped):
    noisy = ng.Driven(damped.system, {"input": 0.1}, damped.stimulus)
    with pytest.raises(ValueError, match="which compares steps with their halves"):
        ng.lyapunov_spectrum(noisy)


class Turned(Damped):
    """Stuart and Landau's oscillator, of period 2π / w."""

    w: jax.Array = parameter(1.0, unit="1", doc="frequency", positive=True)

    def vector_field(self, state, drive):
        x, y = state
        r = x * x + y * y
        return jnp.stack([x - self.w * y - r * x + drive, y + self.w * x - r * y])


@pytest.fixture(scope="module")
def tongues():
    system = ng.Homogeneous(Turned(), 0.0)
    driven = ng.Driven(system, stimulus=stimuli.Sine(period=6.3, amplitude=0.1))
    periods = 2 * np.pi / np.linspace(0.8, 1.2, 21)
    return ng.arnold_tongues(
        driven,
        {"stimulus_period": periods, "stimulus_amplitude": [0.0, 0.1, 0.2]},
        most=4,
        cycles=64,
        transient=64,
    )


def test_tongues_have_adler_s_width(tongues):
    """Of a sine on one of two axes, half of which turns with the oscillator: |w - Ω| < f / 2."""
    frequencies = 2 * np.pi / tongues.parameters["stimulus_period"]
    for k, f in enumerate((0.0, 0.1, 0.2)):
        inside, outside = (np.abs(frequencies - 1) < f / 2 + by for by in (-0.015, 0.015))
        locked = (tongues.drive_cycles[:, k] == 1) & (tongues.cycles[:, k] == 1)
        assert locked[inside].all()
        assert not locked[~outside].any()
    free = ~np.isclose(frequencies, 1)
    np.testing.assert_allclose(tongues.winding[free, 0], 1 / frequencies[free], rtol=1e-4)
    assert (tongues.exponents[tongues.locked] < 0).all()
    assert abs(tongues.exponents[:, 0]).max() < 0.01
    assert tongues.ok
    assert "1:1" in repr(tongues)


def test_tongues_are_drawn(tongues):
    ax = ng.plot.arnold_tongues(tongues, least=4)
    assert [text.get_text() for text in ax.texts] == ["1:1"]
    assert ax.get_ylabel() == "amplitude of the stimulus"
    assert ng.plot.arnold_tongues(tongues, quantity="exponents") is not None
    assert tongues.to_xarray().winding.shape == (21, 3)


def test_stroboscopic_points_are_those_of_locked_orbits(damped):
    """Of the linear oscillator one point each, in proportion to the amplitude."""
    found = ng.stroboscopic_map(damped, {"stimulus_amplitude": [0.2, 0.4]}, cycles=8, transient=30)
    turn = 2 * np.pi / 7
    exact = (np.array([0.2, 0.4]) / (1.3 - turn**2 + 0.2j * turn)).imag
    np.testing.assert_allclose(found.points, exact[:, None] * np.ones(8), atol=1e-6)
    assert found.drive_cycles.tolist() == [1, 1]
    assert ng.plot.stroboscopic_map(found).get_xlabel() == "amplitude of the stimulus"


def test_pulses_over_and_over_are_seen_alike(damped):
    """The map's steps end where the stimulus jumps, and widths may vary from run to run."""
    train = ng.Driven(damped.system, stimulus=stimuli.Periodic(stimuli.Pulse(1.0, 2.0, 0.8), 7.0))
    found = ng.stroboscopic_map(train, {"stimulus_width": [1.0, 2.5]}, cycles=4, transient=40)
    for width, points in zip((1.0, 2.5), found.points, strict=True):
        x = _after_a_pulse(width)
        np.testing.assert_allclose(points, x, atol=1e-6)


def _after_a_pulse(width):
    """Of the linear oscillator: where a train of pulses from 1 to 1 + `width` returns, exactly."""
    matrix, at = np.array([[0, 1], [-1.3, -0.2]]), np.array([0.8 / 1.3, 0])
    before, during, after = (expm(matrix * t) for t in (1.0, width, 6.0 - width))
    # x -> after (during (before x - at) + at)
    whole = after @ during @ before
    return np.linalg.solve(np.eye(2) - whole, after @ (at - during @ at))[0]
