"""Each registered model through every analysis, at small sizes: independent ways must agree."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import ngnmm_jax as ng
from ngnmm_jax._core.checks import is_concrete
from ngnmm_jax._core.parameters import declared
from ngnmm_jax.models import MODELS
from ngnmm_jax.models.comparisons import random_state

REGIONS = 3
pytestmark = pytest.mark.parametrize("name", MODELS)


def network_of(name, **options):
    """At the middle of the model's plane, along its cut."""
    model = MODELS[name]()
    first, (low, high, _) = next(iter(model.plane.items()))
    model = dataclasses.replace(model, **{first: (low + high) / 2})
    connectome = ng.Connectome.synthetic(REGIONS).normalised()
    return ng.Network(model, connectome, coupling=model.cut, **options)


def rest_of(name, kept={}):  # noqa: B006  (kept for all tests)
    """The network, and its homogeneous equilibria."""
    if name not in kept:
        network = network_of(name)
        kept[name] = network, ng.find_equilibria(network.homogeneous())
    return kept[name]


def begin(network):
    """A state off the equilibria, (variable, region), at rates as are typical."""
    return 0.3 * random_state(network.model, (REGIONS,), 5)


def field_of(name, kept={}):  # noqa: B006
    """The whole network's vector field, of a flat state; compiled once for all tests."""
    if name not in kept:
        network = network_of(name)
        kept[name] = jax.jit(lambda y: network.vector_field(y.reshape(-1, REGIONS)).ravel())
    return kept[name]


def exact(name, start, duration):
    """SciPy's, by its own steps."""
    field = field_of(name)
    run = solve_ivp(
        lambda _, y: np.asarray(field(y)), (0, duration), start.ravel(),
        method="DOP853", rtol=1e-11, atol=1e-13,
    )  # fmt: skip
    return run.y[:, -1].reshape(start.shape)


def test_equilibria_and_the_spectrum_of_the_whole_network(name):
    """The vector field is zero there; eigenvalues mode by mode are those of all regions' Jacobian.

    All of SciPy's roots from random starts are among the equilibria.
    """
    network, rest = rest_of(name)
    assert rest.ok
    assert len(rest.states)
    state = rest.states[0]
    whole = np.repeat(np.asarray(state)[:, None], REGIONS, axis=1)
    field = field_of(name)
    slope = np.asarray(jax.jit(jax.jacfwd(field))(whole.ravel()))
    size = np.abs(slope) @ np.abs(whole.ravel())
    assert (np.abs(field(whole.ravel())) <= 1e-10 * (1 + size)).all()
    found = np.sort_complex(np.asarray(ng.dispersion(network, state).eigenvalues).ravel())
    expected = np.sort_complex(np.linalg.eigvals(slope))
    worst = max(np.abs(expected - value).min() for value in found)
    missed = max(np.abs(found - value).min() for value in expected)
    assert max(worst, missed) < 1e-6 * np.abs(expected).max()


def test_equilibria_are_scipys(name):
    """Newton's iteration from random states leads to none that is not listed."""
    network, rest = rest_of(name)
    model, system = network.model, network.homogeneous()
    both = jax.jit(lambda y: (system.vector_field(y), jax.jacfwd(system.vector_field)(y)))
    low, high = map(np.asarray, model.search_box())
    known, scale = np.asarray(rest.states), high - low + 1e-3
    arrived = 0
    for fraction in np.random.default_rng(0).uniform(size=(12, len(low))):
        y = low + fraction * (high - low)
        for _ in range(60):
            value, slope = both(y)
            step = np.linalg.solve(slope, value)
            y = y - step / max(1.0, np.abs(step / scale).max())
        positive = all(y[model.variables.index(v)] > -1e-12 for v in model.nonnegative)
        if np.abs(step / scale).max() < 1e-10 and positive:
            arrived += 1
            assert np.abs((known - y) / scale).max(axis=1).min() < 1e-6
    assert arrived


def test_steps_of_every_kind(name):
    """Runge and Kutta's, the model's own flow where it has one, and adaptive ones: SciPy's end."""
    network = network_of(name)
    start, dt = begin(network), float(network.model.time_step)
    duration = 200 * dt
    expected = exact(name, start, duration)
    size = np.abs(expected).max(axis=1, keepdims=True) + 1e-3
    methods = [("rk4", dt)]
    if network.model.exact_flow(jnp.asarray(dt)) is not None:
        methods.append(("moebius", dt))
    for integrator, step in methods:
        run = ng.simulate(network, duration, start=start, dt=step, integrator=integrator)
        gap = np.abs(np.asarray(run.final_state) - expected) / size
        assert gap.max() < 1e-5, integrator


def test_saved_and_read_back(name, tmp_path):
    network = network_of(name)
    ng.save(tmp_path / "network.npz", network)
    again = ng.load(tmp_path / "network.npz")
    assert type(again.model) is type(network.model)
    for parameter in declared(network.model):
        assert float(getattr(again.model, parameter)) == float(getattr(network.model, parameter))


def test_declared_nonnegative_stays_so(name):
    """Where such a variable is zero its slope is not negative, whatever the others are."""
    model = MODELS[name]()
    field = jax.jit(lambda states: model.vector_field(states, jnp.zeros(40)))
    for variable in model.nonnegative:
        states, k = np.abs(random_state(model, (40,), 3)), model.variables.index(variable)
        states[k] = 0.0
        assert (np.asarray(field(states))[k] >= 0).all(), variable


def test_known_times_stay_known_inside_of_a_program(name):
    """Steps and transients are counted by them, also where JAX traces something else."""
    model = MODELS[name]()

    def known(x):
        assert is_concrete(model.time_step, model.typical_time(), model.tempo())
        return x

    jax.eval_shape(known, jnp.zeros(()))


# ------------------------------------------------- the same, of what takes longer to compile

#: Where each is known to oscillate alone: parameters, and the coupling.
OSCILLATES = {
    "nextgen": ({"i_ext_e": 9.0}, 9.0),
    "qif-sfa": ({}, 0.0),
    "qif-stp": ({"eta": 0.3, "tau_d": 100.0}, 5.0),
    "three-populations": ({"i_ext_e": 10.0}, 5.0),
    "jansen-rit": ({}, 50.0),
    "laminar": ({"p1": 120.0, "p2": 0.0}, 0.0),
    "coombes-byrne": ({}, 0.0),
    "dumont-gutkin": ({}, 0.0),
    "wilson-cowan": ({}, 0.0),
    "stuart-landau": ({}, 0.0),
}


@pytest.mark.slow
def test_orbits_return(name):
    """SciPy comes back to where the orbit begins after its period."""
    if name not in OSCILLATES:
        pytest.skip("it is not known to settle on a cycle alone")
    values, coupling = OSCILLATES[name]
    system = ng.Homogeneous(MODELS[name](**values), jnp.asarray(coupling))
    orbit = ng.find_orbit(system)
    field = jax.jit(lambda y: system.vector_field(y))
    begin = np.asarray(orbit.states)[0]
    run = solve_ivp(
        lambda _, y: np.asarray(field(y)), (0, float(orbit.period)), begin,
        method="DOP853", rtol=1e-11, atol=1e-13,
    )  # fmt: skip
    extent = np.ptp(np.asarray(orbit.states), axis=0)
    # What is silent without coupling is known to SciPy's absolute tolerance only.
    assert (np.abs(run.y[:, -1] - begin) <= 1e-5 * extent + 1e-12).all()


@pytest.mark.slow
def test_continued_equilibria_are_equilibria(name):
    """The vector field is zero on the branch; it passes through those of its first parameter."""
    network, rest = rest_of(name)
    first, (low, high, _) = next(iter(network.model.plane.items()))
    system = network.homogeneous()
    branch = ng.continue_equilibria(system, {first: (low, high)}, progress=False)
    assert branch.ok
    values, states = np.asarray(branch.parameter), np.asarray(branch.states)
    for k in range(0, len(values), max(1, len(values) // 10)):
        here = network.with_parameters(**{first: values[k]}).homogeneous()
        state = jnp.asarray(states[k])
        slope = np.asarray(jax.jacfwd(here.vector_field)(state))
        size = np.abs(slope) @ np.abs(states[k])
        assert (np.abs(here.vector_field(state)) <= 1e-8 * (1 + size)).all()
    middle = (low + high) / 2
    crossings = np.flatnonzero((values[:-1] - middle) * (values[1:] - middle) <= 0)
    assert 1 <= len(crossings) <= len(rest.states) + 1


@pytest.mark.slow
def test_lyapunov_exponents_at_rest_are_growth_rates(name):
    """On an equilibrium they are the real parts of its eigenvalues."""
    network, rest = rest_of(name)
    system = network.homogeneous()
    stable = np.flatnonzero(np.asarray(rest.stable))
    dt = float(network.model.time_step)
    if not len(stable):  # the nearest the trajectory gets is its cycle, which has a zero exponent
        spectrum = ng.lyapunov_spectrum(system, duration=40000 * dt, transient=40000 * dt)
        assert spectrum.ok
        return
    state = rest.states[stable[0]]
    slope = np.asarray(jax.jacfwd(system.vector_field)(state))
    expected = np.sort(np.linalg.eigvals(slope).real)[::-1]
    span = 30 / -expected[0]  # turning of the tangents averages out as its inverse
    steps = int(np.clip(span / dt, 20000, 200000))
    spectrum = ng.lyapunov_spectrum(
        system, duration=steps * dt, transient=steps * dt, dt=dt, start=state
    )
    exponents = np.asarray(spectrum.exponents)
    np.testing.assert_allclose(exponents, expected, rtol=2e-2, atol=2e-2 * np.abs(expected).max())
    assert exponents.sum() == pytest.approx(np.trace(slope), rel=1e-4)


@pytest.mark.slow
def test_sweeps_of_stability_are_dispersion_relations(name):
    network, rest = rest_of(name)
    first = next(iter(network.model.plane))
    value = float(getattr(network.model, first))
    swept = ng.sweep(network, {first: [value]}, ng.Stability(places=5), progress=False)
    assert int(swept.number[0]) == len(rest.states)
    for k, state in enumerate(rest.states):
        modes = ng.dispersion(network, state)
        transverse = np.abs(np.asarray(modes.lambdas) - 1) > 1e-9
        across = np.asarray(modes.eigenvalues).real.max(axis=1)[transverse].max()
        found = np.asarray(swept.growth_transverse)[0, k]
        assert found == pytest.approx(across, rel=1e-6, abs=1e-9)


@pytest.mark.slow
def test_response_is_that_of_the_whole_jacobian(name):
    """Spectra of weak noise on what is shown, from the matrix of all regions."""
    network = network_of(name)
    model = network.model
    driven = ng.Driven(network, {model.variables[-1]: 1e-4})
    response = ng.linear_response(driven, [5.0], throw=False)
    if response.status != ng.Status.OK:
        assert response.status == ng.Status.UNSTABLE
        return
    state = jnp.asarray(response.state)
    matrix = jax.jacfwd(lambda y: network.vector_field(y.reshape(state.shape)).ravel())(
        state.ravel()
    )
    shown = jax.jacfwd(lambda y: model.observe(y.reshape(state.shape)))(state.ravel())
    size, second = matrix.shape[0], {"ms": 1e-3, "s": 1.0}[model.time_unit]
    push = 1e-4 * np.eye(size)[:, -REGIONS:]
    gains = np.asarray(shown) @ np.linalg.solve(
        2j * np.pi * 5.0 * second * np.eye(size) - np.asarray(matrix), push
    )
    expected = 2 * second * (np.abs(gains) ** 2).sum(axis=1)
    np.testing.assert_allclose(response.power[0], expected, rtol=1e-7)


@pytest.mark.slow
def test_gradients_of_simulations(name):
    """By the first parameter of the model's plane, through RK4, against differences."""
    network = network_of(name)
    first, start = next(iter(network.model.plane)), begin(network)
    value, dt = float(getattr(network.model, first)), float(network.model.time_step)

    def end(value):
        here = network.with_parameters(**{first: value})
        run = ng.simulate(here, 40 * dt, start=start, dt=dt, progress=False)
        return (run.final_state / (1 + np.abs(start))).sum()

    gradient, step = float(jax.grad(end)(value)), 1e-4 * (1 + abs(value))
    difference = float(end(value + step) - end(value - step)) / (2 * step)
    assert gradient == pytest.approx(difference, rel=1e-4)
