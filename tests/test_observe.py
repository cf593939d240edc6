"""BOLD, local field potentials, sensors: against known responses, SciPy and each other."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import ngnmm_jax as ng
from ngnmm_jax._core.parameters import checked_again, with_fields
from ngnmm_jax._core.status import Status
from ngnmm_jax.models import parameter
from ngnmm_jax.observe import (
    BOLD,
    AbsoluteSum,
    AbstractObservation,
    Average,
    BalloonWindkessel,
    LeadField,
    Observed,
    WeightedSum,
    average,
    bold,
    lfp,
    observe,
    perfusion,
    synaptic_currents,
    through_lead_field,
)
from ngnmm_jax.sweeps.summaries import Layout
from ngnmm_jax.sweeps.summaries.bold import Bold
from ngnmm_jax.sweeps.summaries.gathering import Gathering
from tests.scalar_models import OneVariable


def reference(z, seconds, times):
    """Friston's equations as they are printed, by SciPy at 1e-10."""
    kappa, gamma, tau, alpha, rho = 0.65, 0.41, 0.98, 0.32, 0.34

    def field(t, y):
        s, f, v, q = y
        extraction = (1 - (1 - rho) ** (1 / f)) / rho
        out = v ** (1 / alpha)
        return [
            z(t) - kappa * s - gamma * (f - 1),
            s,
            (f - out) / tau,
            (f * extraction - out * q / v) / tau,
        ]

    found = solve_ivp(
        field, (0, seconds), [0, 1, 1, 1], t_eval=times, rtol=1e-10, atol=1e-12, max_step=0.25
    )
    _, _, v, q = found.y
    return 0.02 * (7 * rho * (1 - q) + 2 * (1 - q / v) + (2 * rho - 0.2) * (1 - v))


def test_impulse_response():
    """A second of activity: the curve of the printed equations; peak after 4 to 6 s, undershoot."""
    dt = 0.01
    t = np.arange(0, 30, dt)
    z = np.where((t >= 1) & (t < 2), 0.5, 0.0)
    found = np.asarray(bold(z, dt, 0.5))
    times = 0.5 * np.arange(1, 61)
    expected = reference(lambda t: 0.5 if 1 <= t < 2 else 0.0, 30, times)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    peak = times[found.argmax()] - 1.5
    assert 2.5 < peak < 6
    assert 0.001 < found.max() < 0.05
    trough = found[found.argmax() :]
    assert trough.min() < -0.05 * found.max()  # the undershoot
    assert abs(found[-1]) < 0.02 * found.max()


def test_starts_where_constant_activity_leads():
    model = BalloonWindkessel(gain=2.0, baseline=0.01)
    flat = np.asarray(bold(np.full(10_000, 0.06), 0.01, 1.0, haemodynamics=model))
    np.testing.assert_allclose(flat, flat[0], rtol=1e-9)
    step = np.where(np.arange(10_000) < 10, 0.01, 0.06)
    long = bold(step, 0.01, 1.0, haemodynamics=model)
    assert float(long[-1]) == pytest.approx(float(flat[0]), rel=1e-5)


def test_any_sampling_and_derivatives():
    """Samples are held, so that repeating each changes nothing; gradients are right."""
    t = np.arange(0, 20, 0.02)
    z = 0.05 + 0.04 * np.sin(2 * np.pi * 0.1 * t)
    coarse = bold(z, 0.02, 1.0)
    np.testing.assert_allclose(bold(np.repeat(z, 20), 0.001, 1.0), coarse, rtol=1e-12)

    @jax.jit
    @jax.value_and_grad
    def loss(gain):
        return (bold(z, 0.02, 1.0, haemodynamics=BalloonWindkessel(gain=gain)) ** 2).sum()

    slope = float(loss(1.001)[0] - loss(0.999)[0]) / 0.002
    assert float(loss(1.0)[1]) == pytest.approx(slope, rel=1e-5)


def held(samples, dt, model, times=1, smooth=False):
    """BOLD of held samples (time, level) from rest, by SciPy at 1e-11, a sample at a time.

    Of the equations as they are printed; `smooth`: with small first steps.
    """
    kappa, gamma, tau, alpha, rho = (
        float(getattr(model, name)) for name in ("kappa", "gamma", "tau", "alpha", "e0")
    )
    y, found = np.repeat([0.0, 1.0, 1.0, 1.0], samples.shape[1]), []
    for z in samples:

        def field(_, y, z=z):
            s, f, v, q = y.reshape(4, -1)
            out = v ** (1 / alpha)
            oxygen = f * (1 - (1 - rho) ** (1 / f)) / rho
            return np.concatenate(
                [z - kappa * s - gamma * (f - 1), s, (f - out) / tau, (oxygen - out * q / v) / tau]
            )

        options = {"first_step": 1e-4, "max_step": 1e-4} if smooth else {}
        y = solve_ivp(field, (0, dt), y, "DOP853", rtol=1e-11, atol=1e-13, **options).y[:, -1]
        _, _, v, q = y.reshape(4, -1)
        found.append(0.02 * (7 * rho * (1 - q) + 2 * (1 - q / v) + (2 * rho - 0.2) * (1 - v)))
    return np.array(found)[times - 1 :: times]


LEVELS = np.array([0.01, -0.2, 2.0, 10.0, 100.0])


@pytest.mark.parametrize(
    ("dt", "seconds"),
    [(0.05, 5.0), pytest.param(0.72, 13.0, marks=pytest.mark.slow), (2.0, 26.0)],
)
def test_whatever_the_sampling_interval_and_the_activity(dt, seconds):
    """Steps and oscillations of up to 100, sampled at 0.05 to 2 s: 1e-9 of the peak, or 1e-7."""
    t = dt * np.arange(round(seconds / dt))[:, None]
    z = np.concatenate([(t >= 2) * LEVELS, (1 - 0.5 * np.cos(0.5 * t)) * LEVELS], axis=1)
    found = np.asarray(bold(z, dt, dt, start=np.zeros((4, 10))))
    expected = held(z, dt, BalloonWindkessel())
    error = np.abs(found - expected).max(axis=0) / np.abs(expected).max(axis=0)
    assert (error < 2 * [1e-9, 1e-9, 1e-9, 1e-8, 1e-7]).all(), error
    single = np.asarray(bold(z.astype(np.float32), np.float32(dt), dt, start=np.zeros((4, 10))))
    np.testing.assert_allclose(single, found, rtol=1e-5, atol=1e-9)


def test_fast_samples_within_a_step():
    """Noise and pulses that are faster than the steps: only mean and slope of a step matter."""
    rng = np.random.default_rng(0)
    z = np.stack([rng.normal(0.3, 0.3, 200), 0.5 * ((np.arange(200) % 75) < 33)], axis=1)
    found = np.asarray(bold(z, 0.005, 0.2, start=np.zeros((4, 2))))
    expected = held(z, 0.005, BalloonWindkessel(), 40)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8)


def test_the_constants_set_the_step_and_each_other():
    fast = BalloonWindkessel(tau=0.05, kappa=4.0, gamma=3.0)
    assert fast.time_step == pytest.approx(0.02 * 0.05 / 0.98)
    z = np.array([[0.0], [2.0], [0.5], [0.0]])
    expected = held(z, 0.72, fast)
    found = bold(z, 0.72, 0.72, haemodynamics=fast, start=np.zeros((4, 1)))
    np.testing.assert_allclose(found, expected, atol=1e-9 * np.abs(expected).max())
    model = BalloonWindkessel(e0=0.4)
    assert (float(model.k1), float(model.k3)) == pytest.approx((2.8, 0.6))
    assert float(BalloonWindkessel(e0=0.4, k1=2.0).k1) == 2.0
    changed = eqx.tree_at(lambda m: m.e0, BalloonWindkessel(), jnp.asarray([0.2, 0.4]))
    np.testing.assert_allclose(changed.k1, [1.4, 2.8])
    state = jnp.asarray([0.0, 0.1, 0.03, -0.05])
    slope = jax.grad(lambda e0: BalloonWindkessel(e0=e0).signal(state))(0.34)
    assert float(slope) == pytest.approx(-0.02 * (7 * np.expm1(-0.05) + 2 * np.expm1(0.03)))


def test_rest_stays_and_small_activity_is_precise():
    """At rest nothing moves, to the bit; 1e-12 of activity is seen, in 32 bits too."""
    assert (np.asarray(bold(np.zeros(16), 0.5, 0.5)) == 0).all()
    z = np.array([0.0, 1.0, 1.0] + [0.0] * 13)
    tiny, small = (np.asarray(bold(c * z, 0.5, 0.5)) / c for c in (1e-12, 1e-8))
    np.testing.assert_allclose(tiny, small, rtol=1e-6)


def test_a_run_in_parts():
    rng = np.random.default_rng(1)
    z, rest = rng.uniform(0, 1, (49, 2)), np.zeros((4, 2))
    whole = perfusion(z, 0.25, 1.0, start=rest)
    first = perfusion(z[:25], 0.25, 1.0, start=rest)
    assert (whole.left_out, first.left_out, float(first.t1)) == (1, 1, 6.0)
    second = perfusion(z[24:], 0.25, 1.0, start=first)
    np.testing.assert_allclose(np.concatenate([first.bold, second.bold]), whole.bold, rtol=1e-12)
    np.testing.assert_allclose(np.concatenate([first.ts, second.ts]), whole.ts)
    np.testing.assert_allclose(second.final_state, whole.final_state, rtol=1e-12)
    np.testing.assert_array_equal(bold(z[24:], 0.25, 1.0, start=first), second.bold)


def test_blood_that_stops_is_told():
    """No steady state at -gamma; a fall by more than gamma / p = 2.61 to zero stops the flow."""
    base = np.zeros((40, 2))
    for z, when in ((base - 0.41, "before 0.5 s"), (base - 5.0, "before 0.5 s")):
        with pytest.raises(ValueError, match=f"keep the blood flowing.*{when} it stops in region"):
            bold(z, 0.5, 0.5)
    fall = base.copy()
    fall[:20] = [2.55, 2.65]
    found = perfusion(fall, 0.5, 0.5, throw=False)
    assert found.status.tolist() == [Status.OK, Status.NOT_FINITE]
    assert not found.ok
    assert np.isfinite(found.bold[:, 0]).all()
    assert np.isnan(found.bold[32:, 1]).all()
    # A short dip below -gamma is none.
    base[5:7] = -0.6
    assert np.isfinite(bold(base, 0.5, 0.5)).all()


def test_steps_are_cut_where_they_are_too_long():
    """A rise by 1e4 in no time: NaN where nothing can be tried again, right where it can."""
    z, rest = 1e4 * (np.arange(6.0)[:, None] > 2), np.zeros((4, 1))
    assert np.isnan(jax.jit(lambda z: bold(z, 0.02, 0.02, start=rest))(z)[-1, 0])
    expected = held(z, 0.02, BalloonWindkessel(), smooth=True)
    found = np.asarray(bold(z, 0.02, 0.02, start=rest))
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())


class Rate(OneVariable):
    """x' = (level - x + the input) / tau."""

    tau: jax.Array = parameter(5.0, unit="ms", doc="time constant", positive=True)
    level: jax.Array = parameter(0.03, unit="1", doc="where it rests alone")

    def vector_field(self, state, drive):
        return (self.level + drive - state[0])[None] / self.tau


def test_online_equals_offline(small):
    """BOLD while a network is integrated is that of its trace; correlations are NumPy's.

    Here 15 samples are taken together, and windows have 175. Blood that stops is a status.
    """
    system = ng.Driven(ng.Network(Rate(), small, 0.5), {"input": 0.005})
    activity = ng.Activity(
        duration=4200.0, transient=100.0, keep=("bold", "bold_fc", "trace"), dt=0.5,
        repetition_time=525.0, haemodynamics=BalloonWindkessel(baseline=0.01),
    )  # fmt: skip
    design = ng.Design.listed({"coupling": [0.5, 0.8, 0.5], "level": [0.03, 0.03, -1.0]})
    found = ng.sweep(system, design, activity, checks=0)
    assert found.x_bold.dims == ("point", "volume", "region")
    np.testing.assert_allclose(found.volume, 100 + 525 * np.arange(1, 9))
    for k in range(2):
        trace, model = found.x_trace.values[k], activity.haemodynamics
        offline = bold(trace, 1e-3, 0.525, haemodynamics=model)
        np.testing.assert_allclose(found.x_bold[k], offline, rtol=1e-12)
        fc = np.corrcoef(found.x_bold[k].values.T)
        np.testing.assert_allclose(found.x_bold_fc[k], fc, atol=1e-9)
    assert found.status.values.tolist() == [Status.OK, Status.OK, Status.NOT_FINITE]


@pytest.mark.parametrize("window", [7, 105])
def test_windows_do_not_matter(window):
    """Of a streamed volume: neither do those that cut what is taken together."""
    layout = Layout(window, 420 // window, 2.0, "ms")
    z = np.random.default_rng(0).uniform(0, 1, (420, 1, 2, 1))
    gathering = Gathering.of([Bold(420.0)])

    @jax.jit
    def streamed(z):
        def one(totals, some):
            return gathering.add(totals, *some, layout)

        windows = (z.reshape(-1, window, *z.shape[1:]), jnp.arange(420 // window))
        totals, emitted = jax.lax.scan(
            one, gathering.start(jnp.zeros(z.shape[1:]), layout), windows
        )
        return gathering.values(totals, emitted, layout)[0][0]

    offline = bold(z, 2e-3, 0.42)
    np.testing.assert_allclose(streamed(z), jnp.moveaxis(offline, 0, 1), rtol=1e-12)


def test_activity_says_what_bold_needs(small):
    network = ng.Network(ng.NextGenEI(), small, 5.0)
    design = ng.Design.listed({"coupling": [5.0]})
    with pytest.raises(ValueError, match="`repetition_time` must be given"):
        ng.sweep(network, design, ng.Activity(keep=("bold",)))
    with pytest.raises(ValueError, match="multiple of 700 ms"):
        ng.sweep(network, design, ng.Activity(keep=("bold",), repetition_time=700.0))


@pytest.fixture(scope="module")
def lively(small):
    """A network that oscillates, and a run of it."""
    network = ng.Network(ng.NextGenEI(i_ext_e=12.0), small, 8.0)
    return network, ng.simulate(network, 60.0, dt=0.1, save_every=1.0)


def test_currents_and_proxies(small, lively):
    network, run = lively
    excitatory, inhibitory = map(np.asarray, synaptic_currents(network, run))
    s_e, s_i = np.asarray(run.s_e), np.asarray(run.s_i)
    drive = 8.0 * s_e @ np.asarray(small.weights).T
    np.testing.assert_allclose(excitatory, 8.0 * (5.0 * s_e + drive), rtol=1e-12)
    np.testing.assert_allclose(inhibitory, 8.0 * 13.0 * s_i, rtol=1e-12)
    np.testing.assert_allclose(lfp(network, run, proxy="absolute_sum"), excitatory + inhibitory)
    weighted = np.asarray(lfp(network, run))
    np.testing.assert_allclose(weighted[6:], excitatory[:-6] - 1.65 * inhibitory[6:])
    # Of a driven system the stimulus is in what a region receives, at the times of the run.
    wave = ng.stimuli.Sine(period=20.0, amplitude=0.1 * np.arange(s_e.shape[1]))
    pushed = ng.Driven(network, stimulus=wave)
    late = dataclasses.replace(run, ts=run.ts + 7.0)
    found = np.asarray(synaptic_currents(pushed, late))
    pulse = np.sin(2 * np.pi * np.asarray(late.ts)[:, None] / 20.0) * np.asarray(wave.amplitude)
    np.testing.assert_allclose(found[0] - excitatory, 8.0 * pulse, atol=1e-12)
    np.testing.assert_allclose(found[1], inhibitory, rtol=1e-12)
    np.testing.assert_allclose(lfp(pushed, late, proxy="absolute_sum"), np.abs(found).sum(axis=0))
    single = ng.simulate(network.homogeneous(), 60.0, dt=0.1, save_every=1.0)
    assert lfp(network.homogeneous(), single).shape == (61,)
    classical = ng.Network(ng.JansenRit(p=120.0), small, 10.0)
    run = ng.simulate(classical, 0.2, dt=5e-4, save_every=0.001)
    np.testing.assert_allclose(synaptic_currents(classical, run)[1], run.y2)


def test_sensors_and_averages():
    rng = np.random.default_rng(0)
    sources, field = rng.normal(size=(50, 4)), rng.normal(size=(3, 4))
    np.testing.assert_allclose(through_lead_field(sources, field), sources @ field.T, rtol=1e-12)
    mean, names = average(sources, ["a", "b", "a", "b"])
    assert names == ("a", "b")
    np.testing.assert_allclose(mean[:, 1], sources[:, [1, 3]].mean(axis=1), rtol=1e-12)


class Louder(AbstractObservation):
    """A user's: another observation, times a factor."""

    of: AbstractObservation
    factor: float

    def __call__(self, system, run):
        seen = observe(system, run, self.of)
        return dataclasses.replace(seen, values=self.factor * seen.values, name="louder")


class Raw(AbstractObservation):
    """One that forgets what it saw."""

    def __call__(self, system, run):
        return run.s_e


def test_instruments_see_what_the_functions_give(small):
    """By name or as objects, of a run or of each other; with times, units and names."""
    network = ng.Network(ng.NextGenEI(i_ext_e=12.0), small, 8.0)
    run = ng.simulate(network, 60.0, dt=0.1, save_every=1.0, t0=5.0)
    seen = observe(network, run, "s_e")
    np.testing.assert_array_equal(seen.values, run.s_e)
    assert (seen.unit, seen.axis, seen.labels) == ("1/ms", "region", small.labels)
    for name, proxy in (("absolute_sum", AbsoluteSum()), ("weighted_sum", WeightedSum())):
        expected = lfp(network, run, proxy=name)
        np.testing.assert_array_equal(observe(network, run, name).values, expected)
        np.testing.assert_array_equal(observe(network, run, proxy).values, expected)
    at_once = observe(network, run, WeightedSum(0.0, 1.0)).values
    excitatory, inhibitory = synaptic_currents(network, run)
    np.testing.assert_array_equal(at_once, excitatory - inhibitory)

    blood = BalloonWindkessel(gain=0.5)
    for of, activity in ((None, run.s_e), (AbsoluteSum(), excitatory + inhibitory)):
        found = observe(network, run, BOLD(0.02, of, blood))
        expected = bold(activity, 1e-3, 0.02, haemodynamics=blood)
        np.testing.assert_allclose(found.values, expected, rtol=1e-12)
        np.testing.assert_allclose(found.ts, [25.0, 45.0, 65.0])
    assert found.sampling_interval == pytest.approx(0.02)

    groups = [name[0] for name in small.labels]
    mean = observe(network, run, Average(groups, Louder(BOLD(0.02, haemodynamics=blood), 3.0)))
    expected, names = average(3 * bold(run.s_e, 1e-3, 0.02, haemodynamics=blood), groups)
    np.testing.assert_allclose(mean.values, expected, rtol=1e-12)
    table = mean.to_xarray()
    assert (table.dims, table.name, table.units) == (("time", "group"), "louder", "1")
    assert tuple(table.group.values) == names
    field = np.random.default_rng(0).normal(size=(2, len(groups)))
    sensors = observe(network, run, LeadField(field, sensors=["Fz", "Cz"], unit="V"))
    np.testing.assert_allclose(sensors.values, lfp(network, run) @ field.T, rtol=1e-12)
    assert repr(sensors).splitlines()[0] == "Observed: all 2 OK"
    assert (sensors.unit, sensors.labels) == ("V", ("Fz", "Cz"))
    lost = dataclasses.replace(sensors, values=sensors.values.at[3, 1].set(np.nan))
    assert not lost.ok
    assert lost.status.tolist() == [Status.OK, Status.NOT_FINITE]

    single = ng.simulate(network.homogeneous(), 20.0, dt=0.1, save_every=1.0)
    alone = observe(network.homogeneous(), single, "weighted_sum")
    assert isinstance(alone, Observed)
    assert alone.to_xarray().dims == ("time",)
    for wrong, words in (("bolt", "one of"), (3.0, "an `Abs"), (BOLD, "the class `?BOLD")):
        with pytest.raises(ValueError, match=f"`observation` must be.*{words}"):
            observe(network, run, wrong)
    with pytest.raises(ValueError, match="`Raw` must return an `Observed`, but it returns a"):
        observe(network, run, Raw())
    assert dataclasses.replace(seen, values=seen.values[:3], ts=seen.ts[:3]).ok
    for changes, words in (
        ({"values": seen.values[:3]}, r"`values` must have shape .* \(time, region\)"),
        ({"values": seen.values[:, :2]}, "`values` must have shape"),
        ({"values": seen.values[:, 0]}, "`values` must have shape"),
        ({"labels": None}, "`labels` must go with an `axis`"),
        ({"labels": seen.labels[1:]}, "`values` must have shape"),
        ({"axis": None, "labels": None}, r"`values` must have shape .* \(time,\)"),
    ):
        with pytest.raises(ValueError, match=words):
            checked_again(with_fields(seen, **changes))  # without what jaxtyping does in tests


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: LeadField(np.ones(3)), "have axes"),
        (lambda: LeadField(np.ones((2, 3)), sensors=["Fz"]), "name the 2 sensors"),
        (lambda: bold(np.ones(100), 0.01, 0.015), "multiple of the sampling interval"),
        (lambda: bold(np.ones(100), 0.01, 0.1, start=np.zeros(3)), "`start` must have shape"),
        (lambda: BalloonWindkessel(e0=1.0), "`e0` must be below 1"),
        (lambda: bold(np.ones(100), 0.01, 2.0), "last for 2 s"),
        (lambda: bold(np.full(100, np.nan), 0.01, 0.1), "finite"),
        (lambda: BalloonWindkessel(tau=-1.0), "tau"),
        (lambda: through_lead_field(np.ones((9, 3)), np.ones((2, 4))), "3 regions"),
        (lambda: average(np.ones((9, 3)), ["a"]), "3 regions"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_lfp_says_what_it_needs(lively):
    """Of a run with some variables, with saves too far apart, that is short, of two in one."""
    network, run = lively
    states, both = np.asarray(run.states), jnp.zeros(2, int)
    some = dataclasses.replace(run, variables=("v_e",), units=("1",), states=run.states[:, 1:2])
    with pytest.raises(ValueError, match="saved all variables"):
        lfp(network, some)
    with pytest.raises(ValueError, match="divides 6 ms"):
        lfp(network, dataclasses.replace(run, ts=7 * run.ts))
    with pytest.raises(ValueError, match="proxy"):
        lfp(network, run, proxy="sum")
    with pytest.raises(ValueError, match="last for more than 6 ms"):
        lfp(network, dataclasses.replace(run, ts=run.ts[:6], states=run.states[:6]))
    batch = dataclasses.replace(run, states=jnp.asarray([states, states]), status=both)
    with pytest.raises(ValueError, match="single run, but it is a batch of 2"):
        lfp(network, batch)
    with pytest.raises(ValueError, match="as the system"):
        lfp(network.homogeneous(), run)


class Chain(ng.AbstractNeuralMass):
    """A variable "s_e" that is not what regions hear of each other."""

    variables = ("s_e", "out")
    units = ("1", "1")
    time_unit = "s"
    shown = "s_e"
    shown_unit = "1"
    nonnegative = ()

    def vector_field(self, state, drive):
        return -state

    def output(self, state):
        return state[1]

    def search_box(self):
        return -jnp.ones(2), jnp.ones(2)


@pytest.mark.parametrize(
    ("model", "signal"), [(ng.NextGenEI(), "s_e"), (ng.JansenRit(), "y1 - y2"), (Chain(), "out")]
)
def test_bold_follows_what_a_model_sends(model, signal):
    """By its output, not by the names of its variables."""
    assert model.synaptic == signal
