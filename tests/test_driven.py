"""White noise and stimuli: against the linear theory, each other's methods, and themselves."""

import itertools
from functools import partial

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import solve_continuous_lyapunov

import ngnmm_jax as ng
from ngnmm_jax import stimuli
from ngnmm_jax.dynamics.newton import jacobian

# At rest it relaxes in some milliseconds; an input moves its potential by an eighth a millisecond.
MODEL = ng.MontbrioPazoRoxin(tau=8.0, j=5.0)


@pytest.fixture(scope="module")
def network(small):
    return ng.Network(MODEL, small, 5.0)


@pytest.fixture(scope="module")
def noisy(network):
    """Noise in the input and on a variable, weak and different in each region."""
    strength = 0.02 * (1 + np.arange(12) / 6)
    return ng.Driven(network, {"input": strength, "v": 0.005})


@pytest.fixture(scope="module")
def variance(noisy):
    """Stationary variance (variable, region) by Lyapunov's equation, in SciPy."""
    network = noisy.system
    rest = ng.find_equilibria(network.homogeneous()).states[0]
    state = jnp.broadcast_to(rest[:, None], network.state_shape)
    matrix = np.asarray(jax.jit(partial(jacobian, network.vector_field))(state))
    push = np.zeros((2, 12, 24))
    for k in range(12):
        push[1, k, k] = np.asarray(noisy.input_noise)[k] / 8.0  # dv/dt = … + c / tau
        push[1, k, 12 + k] = 0.005
    push = push.reshape(24, 24)
    return solve_continuous_lyapunov(matrix, -push @ push.T).diagonal().reshape(2, 12)


@pytest.mark.parametrize(
    "options",
    [
        {"dt": 0.05},
        {"dt": 0.1, "integrator": "moebius"},
        pytest.param({"dt": 0.05, "integrator": "heun"}, marks=pytest.mark.slow),
    ],
)
def test_noise_has_the_variance_of_the_linear_theory(noisy, variance, options):
    run = ng.simulate(
        noisy, 10_000.0, scatter=0.0, seed=3, progress=False, variables=("r", "v"), **options
    )
    found = np.asarray(run.states)[500:].var(axis=0)
    # 10 s hold some five hundred independent samples, in 12 regions.
    np.testing.assert_allclose((found / variance).mean(axis=1), 1, atol=0.06, err_msg=str(options))
    np.testing.assert_allclose(found[1] / variance[1], 1, atol=0.2)


def test_seeds_reproduce_whatever_the_batch(noisy):
    """A run is the same alone, in any batch, in a sweep, and cut in two."""
    options = {"dt": 0.1, "integrator": "moebius"}
    alone = ng.simulate(noisy, 200.0, seed=7, **options)
    alone_v = np.asarray(alone.v)
    strengths = {"input_noise": np.tile(noisy.input_noise, (5, 1)), "v_noise": np.full(5, 0.005)}
    batch = ng.simulate_batch(
        noisy, strengths, 200.0, seed=[4, 5, 6, 7, 8], variables=("r", "v"), **options
    )
    np.testing.assert_allclose(batch.v[3], alone_v, atol=1e-11)
    assert np.abs(np.asarray(batch.v)[2] - alone_v)[50:].max() > 0.01
    activity = ng.Activity(
        duration=200.0,
        transient=0.0,
        keep=("trace",),
        signals=("v",),
        dt=0.1,
        integrator="moebius",
        sample=1.0,
    )
    design = ng.Design.listed({"i_ext": [0.0]}, replicates=2, seed=7)
    trace = ng.sweep(noisy, design, activity, checks=0).v_trace.values[0]
    np.testing.assert_allclose(trace[0], alone_v[1:], atol=1e-11)
    assert np.abs(trace[1] - alone_v[1:])[50:].max() > 0.01

    first = ng.simulate(noisy, 100.0, seed=7, dt=0.05)
    second = ng.simulate(noisy, 100.0, seed=7, dt=0.05, start=first)
    whole = ng.simulate(noisy, 200.0, seed=7, dt=0.05)
    np.testing.assert_array_equal(second.final_state, whole.final_state)


def test_strengths_can_be_varied(noisy):
    """By name, one for each run or (run, region); zero noise is the network itself."""
    zero = np.zeros((3, 12))
    zero[1] = 0.03
    strengths = {"input_noise": zero, "v_noise": np.zeros(3)}
    options = {"dt": 0.1, "integrator": "moebius", "scatter": 0.0, "seed": 2}
    runs = ng.simulate_batch(noisy, strengths, 300.0, variables=("r", "v"), **options)
    still = np.ptp(np.asarray(runs.v)[:, 100:], axis=1)
    assert still[[0, 2]].max() < 1e-9
    assert still[1].min() > 1e-3
    assert float(noisy.with_parameters(input_noise=0.5).input_noise) == 0.5
    with pytest.raises(ValueError, match="input_noise"):
        ng.simulate_batch(noisy.system, {"input_noise": np.ones(2)}, 10.0, dt=0.1)


def test_stimuli_in_adaptive_and_fixed_steps(network):
    """Adaptive steps see every jump, however long they are; fixed ones are of order four: of each
    kind of stimulus, whose errors a sum's bounds are bounds of.
    """
    stimulus = stimuli.Pulse(20.02, 4.0, np.linspace(0, 0.4, 12)) + stimuli.Sine(25.0, 0.08)
    stimulus += stimuli.Sampled([10.0, 20.0, 40.0], [0.16, 0.4, 0.0], held=True)
    stimulus += stimuli.Custom(lambda t: 0.24 * jnp.exp(-(((t - 30) / 5) ** 2)))
    system = ng.Driven(network, stimulus=stimulus)
    start = ng.initial_state(network)
    exact = ng.simulate(
        system, 60.0, start=start, integrator=ng.integrators.Adaptive(rtol=1e-10, atol=1e-12)
    )
    assert np.ptp(np.asarray(exact.v), axis=0).max() > 0.1
    errors = []
    for dt in (0.1, 0.05):
        run = ng.simulate(system, 60.0, start=start, dt=dt)
        errors.append(float(jnp.abs(run.v - exact.v).max()))
    assert errors[1] < 1e-7
    assert errors[1] < 0.15 * errors[0]
    moebius = ng.simulate(system, 60.0, start=start, dt=0.05, integrator="moebius")
    assert float(jnp.abs(moebius.v - exact.v).max()) < 1e-6


KNOTS, LINES = np.array([0.11, 0.4, 0.93, 1.02, 1.1]), np.array([1.0, 2.0, 0.0, 5.0, 1.0])


@pytest.mark.parametrize(
    ("stimulus", "value"),
    [
        (
            stimuli.Pulse(-3.0, 4.13, 2.0) + stimuli.Pulse(0.526, 0.049, [1.0, 20.4]),
            lambda t: 2 * (t < 1.13) * (t > -3) + 20.4 * (t > 0.526) * (t < 0.575),
        ),
        (
            stimuli.Sine(0.3, 1.0, [0.2, 1.0]) + stimuli.Sine(40.0, [3.0, 2.0], 0.3),
            lambda t: np.sin(2 * np.pi * t / 0.3 + 1) + 2 * np.sin(2 * np.pi * t / 40 + 0.3),
        ),
        (
            stimuli.Sampled(KNOTS, np.stack([0 * LINES, LINES], axis=1)),
            lambda t: np.interp(t, KNOTS, LINES),
        ),
        (
            stimuli.Sampled(KNOTS, LINES, held=True),
            lambda t: LINES[np.clip(np.searchsorted(KNOTS, t, side="right") - 1, 0, 4)],
        ),
        (
            stimuli.Custom(lambda t: jnp.exp(-(((t - 0.7) / 0.5) ** 2))),
            lambda t: np.exp(-(((t - 0.7) / 0.5) ** 2)),
        ),
    ],
)
def test_moments_over_steps(stimulus, value):
    """Mean and first moment over steps, against Gauss's quadrature between the jumps, in NumPy."""
    moments = jax.jit(jax.vmap(stimulus.over_steps(), (0, None)))
    jumps, (nodes, weights) = np.asarray(stimulus.jumps), np.polynomial.legendre.leggauss(40)
    slack = 1e-5 if isinstance(stimulus, stimuli.Custom) else 1e-12
    # Three nodes are for steps that are short against the function's changes.
    for begin, dt in ((0.013, 0.05), (-0.2, 0.21), (-0.4, 0.8))[: 2 if slack > 1e-9 else 3]:
        times = begin + dt * np.arange(24)
        mean, rise = (np.asarray(m) for m in moments(jnp.asarray(times), jnp.asarray(dt)))
        mean, rise = (m[:, -1] if m.ndim == 2 else m for m in (mean, rise))
        for k, t in enumerate(times):
            inside = jumps[(jumps > t) & (jumps < t + dt)]
            edges = np.array([t, *np.sort(inside), t + dt])
            middle, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
            at = (middle[:, None] + half[:, None] * nodes).ravel()
            share = (half[:, None] * weights).ravel() / dt
            assert mean[k] == pytest.approx(share @ value(at), abs=20 * slack)
            if inside.size <= 2:
                lean = 12 * share * ((at - t) / dt - 0.5) @ value(at)
                assert rise[k] == pytest.approx(lean, abs=300 * slack)


@pytest.fixture(scope="module")
def pair():
    """Two regions at rest."""
    network = ng.Network(MODEL, np.array([[0, 1.0], [1, 0]]), coupling=1.0)
    return network, ng.initial_state(network, scatter=0.0)


def pulsed(network, pulse, sine=0.0):
    """Under a pulse and a sine, either of which may be still: all by the same programs."""
    return ng.Driven(network, stimulus=pulse + stimuli.Sine(10.0, sine))


def exact_v(system, start, times, edges=()):
    """By SciPy, piece by piece between the stimulus' jumps."""
    field = jax.jit(lambda t, y: system.system.vector_field(y, system.stimulus(t) + jnp.zeros(2)))
    found, state, pieces = [start[1]], np.asarray(start), [times[0], *edges, times[-1]]
    for low, high in itertools.pairwise(pieces):
        inside = times[(times > low) & (times < high)]
        # The jumps themselves belong to neither piece.
        run = solve_ivp(
            lambda t, y, a=low, b=high: field(np.clip(t, a + 1e-12, b - 1e-12), y.reshape(2, 2))
            .ravel(),
            (low, high), state.ravel(), t_eval=[*inside, high], rtol=1e-10, atol=1e-12,
            method="DOP853",
        )  # fmt: skip
        states = run.y.T.reshape(-1, 2, 2)
        found += list(states[: len(inside), 1])
        state = states[-1]
    return np.array([*found, state[1]])


def test_short_pulses_and_phases_in_fixed_steps(pair):
    """A pulse that meets no step's middle, and a sine whose start is off the grid: order four."""
    network, start = pair
    pulse = pulsed(network, stimuli.Pulse(10.026, 0.049, 163.0))
    times = np.arange(81) * 0.5
    exact = exact_v(pulse, start, times, (10.026, 10.075))
    assert np.ptp(exact) > 0.8
    for solver, bound in (("rk4", 5e-4), ("moebius", 5e-4)):
        run = ng.simulate(pulse, 40.0, start=start, dt=0.05, integrator=solver, save_every=0.5)
        assert np.abs(run.v - exact).max() < bound, solver

    sine = pulsed(network, stimuli.Pulse(10.026, 0.049, 0.0), sine=4.0)
    exact = exact_v(sine, start, 0.25 + times)
    for solver, least in (("rk4", 3.8), ("moebius", 3.8)):
        errors = [
            np.abs(
                ng.simulate(
                    sine, 40.0, start=start, t0=0.25, dt=dt, integrator=solver, save_every=0.5
                ).v
                - exact
            ).max()
            for dt in (0.5, 0.25, 0.125)
        ]
        assert errors[0] < 1e-3, solver
        assert np.log2(errors[0] / errors[2]) / 2 > least, solver
    # In two parts, off the grid: no phase is lost.
    first = ng.simulate(sine, 20.0, start=start, t0=0.25, dt=0.125, save_every=0.5)
    second = ng.simulate(sine, 20.0, start=first, dt=0.125, save_every=0.5)
    assert np.abs(second.v - exact[40:]).max() < 1e-5


def test_short_pulses_in_other_steps(pair):
    """Adaptive steps do not go over a change that only the function knows; nor constant ones of
    diffrax over a pulse between them.
    """
    network, start = pair
    bump = stimuli.Custom(lambda t: 40.0 * jnp.exp(-(((t - 200.03) / 0.1) ** 2)), resolution=0.3)
    system = ng.Driven(network, stimulus=bump)
    fixed = ng.simulate(system, 250.0, start=start, dt=0.05)
    adaptive = ng.simulate(system, 250.0, start=start)
    assert np.ptp(np.asarray(fixed.v)) > 0.5
    assert float(jnp.abs(adaptive.v - fixed.v).max()) < 2e-3

    pulse = pulsed(network, stimuli.Pulse(10.001, 0.04, 200.0))
    fixed = ng.simulate(pulse, 20.0, start=start, dt=0.05)
    heun = ng.simulate(pulse, 20.0, start=start, dt=0.05, integrator=dfx.Heun())
    assert float(jnp.abs(heun.v - fixed.v).max()) < 2e-3
    assert int(heun.stats["num_steps"]) == 402


def test_stimulus_in_a_batch_and_a_sweep(network):
    system = ng.Driven(network, stimulus=stimuli.Pulse(20.013, 0.031, np.linspace(0, 40.0, 12)))
    alone = ng.simulate(system, 60.0, dt=0.05, seed=1)
    batch = ng.simulate_batch(
        system, {"coupling": [5.0, 5.0]}, 60.0, variables=("r", "v"), dt=0.05, seed=1
    )
    np.testing.assert_allclose(batch.v[0], alone.v, atol=1e-12)
    activity = ng.Activity(
        60.0, 0.0, integrator="rk4", dt=0.05, sample=1.0, keep=("maximum",), signals=("v",)
    )
    found = ng.sweep(system, ng.Design.listed({"coupling": [5.0]}, seed=1), activity, checks=0)
    np.testing.assert_allclose(found.v_maximum[0], alone.v[1:].max(axis=0), atol=1e-12)


def test_stimuli_are_differentiable_and_have_values():
    def at(stimulus, *times):
        return jax.jit(jax.vmap(stimulus))(np.array(times))

    sampled = stimuli.Sampled([0.0, 1.0, 3.0], [1.0, 2.0, 0.0])
    np.testing.assert_allclose(at(sampled, -1.0, 0.5, 2.0, 9.0), [1.0, 1.5, 1.0, 0.0])
    sine = stimuli.Sine(4.0, 2.0, np.pi / 2)
    np.testing.assert_allclose(at(sine, 0.0, 1.0, 2.0), [2, 0, -2], atol=1e-12)
    pulse = stimuli.Pulse(1.0, 2.0, 3.0)
    np.testing.assert_array_equal(at(pulse, 0.9, 1.0, 2.9, 3.0), [0, 3, 3, 0])
    assert float(pulse.mean(0.0, 2.0)) == 1.5

    def peak(amplitude):
        return stimuli.Pulse(1.0, 2.0, amplitude)(jnp.asarray(2.0))

    assert float(jax.jit(jax.grad(peak))(1.0)) == 1.0


def test_homogeneous_systems_are_driven_too(network):
    system = ng.Driven(network.homogeneous(), {"input": 0.001}, stimuli.Pulse(20.0, 4.0, 0.4))
    run = ng.simulate(system, 50.0, dt=0.05)
    assert run.v.shape == (51,)
    assert float(jnp.ptp(run.v)) > 0.05


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda n: ng.Driven(n, {"vv": 1.0}), "did you mean"),
        (lambda n: ng.Driven(n, {"input": -1.0}), "must not be negative"),
        (lambda n: ng.Driven(n, {"input": np.ones(5)}), "shape"),
        (lambda n: ng.Driven(n, {"input": np.nan}), "finite"),
        (lambda n: ng.Driven(n, stimulus=np.sin), "Custom"),
        (lambda n: ng.Driven(n, stimulus=stimuli.Pulse(0, 1, np.ones(5))), "12 regions"),
        (lambda n: ng.Driven("net"), "`system`"),
        (lambda n: stimuli.Pulse(0.0, -1.0, 1.0), "width"),
        (lambda n: stimuli.Sampled([0.0, 0.0], [1.0, 1.0]), "rise"),
        (lambda n: stimuli.Sampled([0.0, 1.0], [1.0, 1.0, 2.0]), "2 times"),
        (lambda n: stimuli.Sine(0.0, 1.0), "period"),
    ],
)
def test_bad_input(network, make, words):
    with pytest.raises(ValueError, match=words):
        make(network)
