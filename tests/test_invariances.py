"""What must not change the results: the unit of time, the order of regions, how work is cut."""

import jax
import numpy as np
import pytest

import ngnmm_jax as ng
from ngnmm_jax._core.parameters import concrete_step, declared
from ngnmm_jax.models.parameters import parameter

TIMES = ("tau_e", "tau_i", "tau_se", "tau_si")
PAIR = np.array([[0, 1.0], [1, 0]])


def faster(model, k):
    """A model whose times are all divided by k."""
    return ng.NextGenEI(
        **{
            name: np.asarray(getattr(model, name)) / (k if name in TIMES else 1)
            for name in declared(model)
        }
    )


def test_steps_follow_the_times():
    paper = ng.NextGenEI()
    assert paper.time_step == 0.05
    assert ng.JansenRit().time_step == 5e-4
    assert paper.stiffness() == ng.JansenRit().stiffness() == 1
    for k in (0.25, 3.0, 4.0, 16.0):
        assert faster(paper, k).time_step == pytest.approx(0.05 / k, rel=1e-15)
        assert faster(paper, k).stiffness() == 1
    assert ng.JansenRit(a=200.0).time_step == 2.5e-4
    # A fast gate makes the steps short, not the runs; a fast membrane both.
    gate, membrane = ng.NextGenEI(tau_se=0.05), ng.NextGenEI(tau_e=0.5)
    assert (gate.time_step, gate.stiffness()) == (0.0025, 20)
    assert (membrane.time_step, membrane.stiffness()) == (0.05 / 16, 1)
    # A membrane under a drive I moves at 2 √I / tau.
    strong = ng.NextGenEI(i_ext_e=1605.0)
    assert strong.time_step == pytest.approx(8 / (2 * 40) / 20, rel=1e-6)


def test_steps_of_regions_and_runs():
    model = ng.NextGenEI(tau_se=np.array([1.0, 0.5]), i_ext_e=9.0)
    np.testing.assert_array_equal(model.step_sizes(), [0.05, 0.025])
    network = ng.Network(model, PAIR, 1.0)
    assert network.time_step == ng.Driven(network).time_step == 0.025
    assert network.averaged().time_step == 0.75 / 20
    traced = jax.vmap(lambda tau: ng.NextGenEI(tau_i=tau).time_step)(np.array([8.0, 1.0]))
    np.testing.assert_allclose(traced, [0.05, 0.05 / 8], rtol=1e-15)


class Leak(ng.AbstractNeuralMass):
    """A model with times and rates in several units."""

    variables = ("x",)
    units = ("1",)
    time_unit = "s"
    shown = "x"
    shown_unit = "1"
    nonnegative = ()
    tau: jax.Array = parameter(20.0, unit="ms", doc="membrane time constant")
    rate: jax.Array = parameter(0.1, unit="kHz", doc="of a gate")
    input: jax.Array = parameter(0.0, unit="1/s", doc="external rate; zero is no time")
    gain: jax.Array = parameter(1.0, unit="1", doc="none of these")

    def vector_field(self, state, drive):
        return -state / self.tau

    def output(self, state):
        return state[0]

    def search_box(self):
        return np.zeros(1), np.ones(1)


class Own(Leak):
    """A model that names its step."""

    @property
    def time_step(self):
        return 0.125


def test_steps_of_other_models():
    # 20 ms, and 10 ms = 1 / 0.1 kHz; an eighth of the shortest, in seconds.
    assert Leak().time_step == pytest.approx(10e-3 / 8 / 20, rel=1e-14)
    assert Leak(tau=[20.0, 2.0]).step_sizes() == pytest.approx([6.25e-5, 1.25e-5], rel=1e-14)
    assert Own().time_step == Own().step_sizes() == 0.125
    assert ng.Network(Own(), PAIR).time_step == 0.125


def test_numbers_of_steps_where_parameters_are_traced():
    def step(value, name):
        return concrete_step(ng.Network(ng.NextGenEI(**{name: value}), PAIR, 1.0)) * value

    assert jax.jit(step, static_argnums=1)(2.0, "i_ext_e") == pytest.approx(0.1)
    with pytest.raises(ValueError, match="`dt` must be given where time constants are traced"):
        jax.jit(step, static_argnums=1)(2.0, "tau_e")


# ---------------------------------------------------------------------- times divided by k

THREE = np.array([[0, 1.0, 0], [0.5, 0, 0.5], [0, 1.0, 0]])
#: Powers of a rate in the variables of NextGenEI.
POWERS = np.array([1, 0, 1, 1, 0, 1])
NAMES = ng.NextGenEI.variables
STATE = np.array([0.02, -1.0, 0.02, 0.03, -1.0, 0.03])


def scaled(k, coupling=12.0, **values):
    return ng.Network(faster(ng.NextGenEI(**values), k), THREE, coupling)


def start(k, regions=3):
    """A state, off the homogeneous ones, whose rates are k times as large."""
    off = 1 + 0.1 * np.sin(np.arange(6)[:, None] + np.arange(regions))
    return STATE[:, None] * off * float(k) ** POWERS[:, None]


def at_rest(k):
    network = scaled(k, i_ext_e=3.0)
    found = ng.find_equilibria(network.homogeneous())
    modes = ng.dispersion(network, found.states[0])
    first = np.asarray(ng.initial_state(network, scatter=0.0))
    scale = float(k) ** POWERS
    return [
        found.states / scale,
        first / scale[:, None],
        found.eigenvalues.real / k,
        modes.growth / k,
    ]


def on_an_orbit(k):
    network = scaled(k, 8.0, i_ext_e=12.0)
    orbit = ng.find_orbit(network.homogeneous(), steps=64)
    modes = ng.dispersion(network, orbit)
    return [orbit.period * k, orbit.exponents[:4] / k, modes.growth / k]


def exponents(k):
    network = scaled(k, 8.0, i_ext_e=12.0)
    times = {"duration": 100.0 / k, "transient": 50.0 / k, "interval": 2.0 / k, "progress": False}
    found = ng.lyapunov_spectrum(network.homogeneous(), start=start(k)[:, 0], **times)
    # Each of them turns into place in its own time, since angles between tangents are scaled.
    assert abs(found.exponents[0]) < 0.03 * k
    return [found.exponents.sum() / k, found.state / float(k) ** POWERS]


def simulated(solver):
    def run(k):
        network = scaled(k, i_ext_e=np.full(3, 13.0), tau_e=np.full(3, 8.0))
        options = {} if solver == "adaptive" else {"dt": 0.05 / k, "integrator": solver}
        found = ng.simulate(network, 20.0 / k, start=start(k), save_every=1.0 / k, **options)
        return [found.ts * k, found.states / float(k) ** POWERS[:, None]]

    return run


def simulated_batch(k):
    network = scaled(k)
    runs = {"i_ext_e": [9.0, 13.0], "coupling": [5.0, 12.0]}
    found = ng.simulate_batch(
        network,
        runs,
        10.0 / k,
        dt=network.time_step,
        start=start(k),
        save_every=1.0 / k,
        variables=NAMES,
    )
    return [found.states / float(k) ** POWERS[:, None]]


def response(k):
    alike = {"i_ext_e": np.full(3, 1.0), "tau_e": np.full(3, 8.0)}  # as where regions differ
    system = ng.Driven(scaled(k, 1.0, **alike), {"input": 0.01 * k**0.5})
    found = ng.linear_response(system, np.array([5.0, 40.0]) * k)
    return [found.power * k, found.fc, found.growth / k]


def branch(k):
    system = scaled(k, i_ext_e=3.0).homogeneous()
    found = ng.continue_equilibria(system, {"i_ext_e": (3.0, 9.0)}, progress=False)
    return [np.array([p.parameter for p in found.special])]


def stability(k):
    found = ng.sweep(scaled(k), {"i_ext_e": [1.0, 3.0]}, ng.Stability(), checks=0)
    return [found.growth_transverse / k, found.growth_uniform / k, found.number_growing]


def activity(k):
    measure = ng.Activity(
        duration=40.0 / k, transient=10.0 / k, sample=1.0 / k, scatter=0.0, keep=("mean", "maximum")
    )
    found = ng.sweep(scaled(k, i_ext_e=13.0), {"v_e(0)": [-0.5, 0.5]}, measure, checks=0)
    return [found.v_e_mean, found.v_e_maximum]


# What it is, and to what it agrees, relative to its size: rounding, which Newton's iterations and
# spikes magnify; the adaptive solver's absolute tolerance is none of the model's.
ANALYSES = {
    "rest": (at_rest, 1e-12),
    "orbit": (on_an_orbit, 1e-9),
    "exponents": (exponents, 1e-9),
    "rk4": (simulated("rk4"), 1e-11),
    "moebius": (simulated("moebius"), 1e-11),
    "adaptive": (simulated("adaptive"), 1e-5),
    "batch": (simulated_batch, 1e-11),
    "response": (response, 1e-9),
    "branch": (branch, 1e-9),
    "stability": (stability, 1e-11),
    "activity": (activity, 1e-10),
}


@pytest.fixture(scope="module")
def unscaled():
    known = {}

    def get(name):
        if name not in known:
            known[name] = ANALYSES[name][0](1.0)
        return known[name]

    return get


@pytest.mark.parametrize("name", ANALYSES)
def test_times_divided(name, unscaled):
    """By k for all time constants: the same, k times as fast."""
    analysis, tolerance = ANALYSES[name]
    for k in (0.25, 3.0, 16.0):
        for one, other in zip(unscaled(name), analysis(k), strict=True):
            one, other = np.asarray(one, complex), np.asarray(other, complex)
            scale = np.abs(one[np.isfinite(one)]).max()
            np.testing.assert_allclose(other, one, rtol=tolerance, atol=tolerance * scale)


CURRENTS = [9.0, 9.5, 10.0, 10.5, 11.0, 12.0, 13.0]


@pytest.mark.parametrize(
    ("k", "places"),
    [
        (4.0, (1, 2, 4, 6)),
        *(pytest.param(k, range(7), marks=pytest.mark.slow) for k in (0.25, 1.0, 16.0)),
    ],
)
def test_maps_with_times_divided(k, places):
    """Orbits, chaos and rest are where they are; periods to 1e-7, growth to 1e-6 of the orbits."""
    places = list(places)
    axes = {"i_ext_e": [CURRENTS[p] for p in places], "coupling": [12.0]}
    found = ng.dispersion_map(scaled(k), axes, progress=False)
    expected, at = np.array([2, 2, 3, 3, 2, 2, 0])[places], (..., 0, 3)
    np.testing.assert_array_equal(found.kind[at], expected)
    orbits, chaos = (expected == kind for kind in (2, 3))
    # Of orbits, by `find_orbit` at k = 1: periods, growth, how many modes grow.
    period = np.array([25.13152299, 46.0264826, 0, 0, 153.2772513, 17.11427099, 0])[places]
    growth = np.array([0.02068329, -0.00644066, 0, 0, 0.01837631, 0.0144764, 0])[places]
    number = np.array([1, 0, 0, 0, 1, 2, 0])[places]
    np.testing.assert_allclose(found.period[at][orbits] * k, period[orbits], rtol=1e-7)
    np.testing.assert_allclose(found.growth_transverse[at][orbits] / k, growth[orbits], atol=1e-6)
    np.testing.assert_array_equal(found.number_growing[at][orbits], number[orbits])
    diverging = np.array([0, 0, 0.0069, 0.0166, 0, 0, 0])[places]
    np.testing.assert_allclose(found.growth_uniform[at][chaos] / k, diverging[chaos], atol=0.003)


@pytest.mark.slow
def test_each_point_of_a_map_has_its_own_step():
    """At tau_se = 0.1 SciPy has an orbit of 17.42 ms; where other steps are too long for it."""
    found = ng.dispersion_map(
        scaled(1.0, i_ext_e=9.0), {"tau_se": [1.0, 0.1, 0.02]}, progress=False
    )
    np.testing.assert_array_equal(found.kind[:, 3], 2)
    np.testing.assert_allclose(found.period[:2, 3], [25.131523, 17.4229], rtol=1e-6)
    assert (found.status == ng.Status.OK).all()
    orbit = ng.find_orbit(scaled(1.0, i_ext_e=9.0, tau_se=0.1).homogeneous(), steps=256)
    assert float(orbit.period) == pytest.approx(17.4229, rel=1e-6)
    assert found.growth_uniform[1, 3] == pytest.approx(float(orbit.exponents[1]), abs=1e-6)


# ---------------------------------------------------------------------- regions permuted

ORDER = np.array([2, 0, 1])


def heterogeneous(order):
    currents, times = np.array([1.0, 2.0, 3.0]), np.array([8.0, 7.0, 9.0])
    model = ng.NextGenEI(i_ext_e=currents[order], tau_e=times[order])
    return ng.Network(model, THREE[np.ix_(order, order)], 2.0)


def regional(order):
    network = heterogeneous(order)
    state = start(1.0)[:, order]
    response = ng.linear_response(ng.Driven(network, {"input": 0.01}), np.array([5.0, 40.0]))
    runs = [
        ng.simulate(network, 20.0, start=state, dt=0.05, save_every=1.0, integrator=solver).states
        for solver in ("rk4", "moebius")
    ]
    states = [
        ng.find_equilibria(network).states[0],
        ng.initial_state(network, scatter=0.0),
        response.power,
        response.state,
    ]
    return runs + states, [response.growth, network.time_step], response.fc


def test_regions_permuted():
    """To rounding; the step is the same, being the smallest."""
    one, same, fc = regional(np.arange(3))
    other, same_there, fc_there = regional(ORDER)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(np.asarray(a)[..., ORDER], b, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(fc[np.ix_(ORDER, ORDER)], fc_there, rtol=1e-9)
    np.testing.assert_allclose(same, same_there, rtol=1e-9)


# ---------------------------------------------------------------------- runs cut, work in blocks


@pytest.mark.parametrize(
    ("solver", "noise"), [("rk4", {}), ("moebius", {"v": 0.01, "input": 0.02})]
)
def test_a_run_cut_in_three(solver, noise):
    """The whole, with the same noise: to rounding; "moebius" to its own error.

    It takes how fast inputs rise from the step before, which the first after a cut does not have.
    """
    system = ng.Driven(ng.Network(ng.MontbrioPazoRoxin(tau=8.0), THREE, 4.0), noise)
    options = {"dt": 0.05, "integrator": solver, "seed": 4, "save_every": 1.0}
    state, parts = np.array([[0.1, 0.2, 0.3], [-1.0, -0.5, 0.0]]), []
    whole = ng.simulate(system, 12.0, start=state, **options)
    for k, duration in enumerate((3.0, 5.0, 4.0)):
        part = ng.simulate(system, duration, start=state, t0=float((0, 3, 8)[k]), **options)
        state = part.states[-1]
        parts.append(part.states[int(k > 0) :])
    tolerance = 1e-5 if solver == "moebius" else 1e-11
    np.testing.assert_allclose(np.concatenate(parts), whole.states, rtol=0, atol=tolerance)


@pytest.mark.slow
def test_lyapunov_maps_in_blocks_and_on_devices(monkeypatch):
    """Trajectories to the bit, and exponents to rounding, whatever runs beside them.

    In chaos too, and where steps differ sixfold.
    """
    system = scaled(1.0).homogeneous()
    axes = {"tau_se": [1.0, 0.15], "i_ext_e": [9.5, 10.0, 10.5]}
    times = {"duration": 100.0, "transient": 50.0, "progress": False}
    whole = ng.lyapunov_map(system, axes, **times).spectra
    alone = ng.lyapunov_map(system, axes, chunk=1, **times).spectra
    monkeypatch.setattr(jax, "local_devices", lambda: jax.devices()[:1])
    one = ng.lyapunov_map(system, axes, chunk=4, **times).spectra
    other = ng.lyapunov_map(system, {**axes, "tau_se": [0.15, 1.0]}, **times).spectra
    for found in (alone, one, jax.tree.map(lambda leaf: leaf[::-1], other)):
        np.testing.assert_array_equal(found.state, whole.state)
        np.testing.assert_array_equal(found.interval, whole.interval)
        np.testing.assert_allclose(found.exponents, whole.exponents, rtol=0, atol=1e-13)
    assert (np.asarray(whole.status) == ng.Status.OK).all()


@pytest.mark.slow
def test_sweeps_of_exponents_in_blocks():
    """As a map's, and each run with its own step."""
    system = scaled(1.0, i_ext_e=12.0).homogeneous()
    measure = ng.Exponents(duration=100.0, transient=50.0)
    axes = {"tau_se": [1.0, 0.15]}
    found = [ng.sweep(system, axes, measure, block=n, checks=0) for n in (1, 2)]
    np.testing.assert_allclose(found[0].exponents, found[1].exponents, rtol=0, atol=1e-13)
    # The gate's own exponent is near -1 / tau_se.
    assert found[0].exponents[1, 5] == pytest.approx(-6.65, abs=0.1)


def test_bold_with_times_divided():
    activity = 0.3 + 0.2 * np.sin(np.arange(200.0) / 9)[:, None] * np.array([1.0, -1.0])
    whole = ng.observe.bold(activity, 0.1, 1.0)
    for k in (0.25, 4.0):
        blood = ng.observe.BalloonWindkessel(
            gain=k**2, kappa=0.65 * k, gamma=0.41 * k**2, tau=0.98 / k
        )
        again = ng.observe.bold(activity, 0.1 / k, 1.0 / k, haemodynamics=blood)
        np.testing.assert_allclose(again, whole, rtol=1e-9, atol=1e-12)
