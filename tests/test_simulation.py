"""Simulation: reference trajectories, methods against each other, results, failures."""

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import ngnmm_jax as ng
from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.parameters import declared
from ngnmm_jax._core.starting import state_of
from ngnmm_jax.integrators import RK4, AbstractOneStep, Adaptive, named
from ngnmm_jax.integrators.loops import repeated
from tests.conftest import reference_values


def published_start(n=90):
    k = np.arange(n)
    rows = [
        0.02 + 0.01 * np.sin(k),
        -1 + 0.5 * np.cos(k),
        0.02 + 0.01 * np.cos(2 * k),
        0.03 + 0.01 * np.sin(3 * k),
        -1 + 0.3 * np.sin(2 * k),
        0.03 + 0.01 * np.cos(k),
    ]
    return np.array(rows)


@pytest.fixture(scope="module")
def network(small):
    return ng.Network(ng.NextGenEI(i_ext_e=13.0), small, 5.0)


@pytest.mark.parametrize("k", [0, 1])
@pytest.mark.parametrize("way", [pytest.param("adaptive", marks=pytest.mark.slow), "rk4"])
def test_reference_trajectories(aal90, k, way):
    """To t = 100 ms: adaptive at 1e-8 (asked 1e-6), RK4 at the paper's 0.01 ms at 1e-6."""
    values = reference_values("homogeneous_and_network.json")["trajectories"][k]
    network = ng.Network(ng.NextGenEI(i_ext_e=values["i_ext_e"]), aal90, values["epsilon"])
    options = (
        {"dt": 0.01}
        if way == "rk4"
        else {"integrator": ng.integrators.Adaptive(rtol=1e-11, atol=1e-12)}
    )
    run = ng.simulate(network, 100.0, start=published_start(), save_at=values["t"], **options)
    bound = 1e-6 if way == "rk4" else 1e-8
    np.testing.assert_allclose(run.v_e[:, :5], values["v_e_first5"], atol=bound)
    np.testing.assert_allclose(run.v_e.mean(axis=1), values["v_e_mean"], atol=bound)
    np.testing.assert_allclose(run.r_i[:, -3:], values["r_i_last3"], atol=bound)
    np.testing.assert_array_equal(run.ts, values["t"])
    assert run.ok


@pytest.mark.parametrize(
    ("model", "coupling", "duration"),
    [
        (ng.NextGenEI(i_ext_e=9.0), 12.0, 50.0),
        pytest.param(ng.JansenRit(p=180.0), 30.0, 0.3, marks=pytest.mark.slow),
    ],
)
def test_against_scipy(model, coupling, duration):
    weights = np.random.default_rng(5).lognormal(sigma=1.5, size=(12, 12))
    np.fill_diagonal(weights, 0)
    network = ng.Network(model, ng.Connectome(weights).normalised(), coupling)
    y0 = ng.initial_state(network, seed=3)
    run = ng.simulate(
        network, duration, start=y0, integrator=ng.integrators.Adaptive(rtol=1e-11, atol=1e-12)
    )
    field = jax.jit(lambda y: network.vector_field(y.reshape(6, 12)).ravel())
    exact = solve_ivp(
        lambda t, y: np.asarray(field(y)),
        (0, duration),
        np.asarray(y0).ravel(),
        method="DOP853",
        rtol=1e-12,
        atol=1e-13,
        t_eval=[duration],
    )
    scale = np.abs(exact.y[:, -1]).max()
    np.testing.assert_allclose(run.final_state.ravel(), exact.y[:, -1], atol=1e-8 * scale)


@pytest.mark.parametrize(("name", "order"), [("rk4", 4), ("heun", 2), ("euler", 1), ("dopri8", 8)])
def test_order_of_the_fixed_steps(name, order):
    """z' = (1 + 3i) z - |z|² z, with its exact answer: slope of the error against the step."""

    def field(z):
        square = 1 - z[0] ** 2 - z[1] ** 2
        return jnp.stack([square * z[0] - 3 * z[1], 3 * z[0] + square * z[1]])

    exact = np.array([np.cos(6), np.sin(6)]) / np.sqrt(1 + 3 * np.exp(-4))
    # Order eight reaches rounding at the smaller steps, and its full slope only there.
    steps, slack = ([1 / 4, 1 / 8, 1 / 16], 0.7) if order == 8 else ([1 / 16, 1 / 32, 1 / 64], 0.1)
    errors = []
    for dt in steps:
        last, saved = repeated(
            lambda z, dt=dt: named(name).step(field, z, jnp.array(dt)),
            jnp.array([0.5, 0.0]),
            n_saves=round(1 / dt),
            stride=2,
            select=lambda z: z,
        )
        assert saved.shape == (round(1 / dt), 2)
        np.testing.assert_array_equal(saved[-1], last)
        errors.append(np.abs(last - exact).max())
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert slope == pytest.approx(order, abs=slack)


def test_solvers_agree(network):
    y0 = ng.initial_state(network, seed=1)
    options = {"start": y0, "save_every": 10.0}
    runs = [
        ng.simulate(
            network, 50.0, integrator=ng.integrators.Adaptive(rtol=1e-10, atol=1e-11), **options
        ),
        ng.simulate(
            network,
            50.0,
            integrator=ng.integrators.Adaptive(dfx.Tsit5(), rtol=1e-10, atol=1e-11),
            **options,
        ),
        ng.simulate(network, 50.0, dt=0.005, **options),
        ng.simulate(network, 50.0, dt=0.01, integrator=dfx.Dopri8(), **options),
        ng.simulate(
            network.homogeneous(),
            50.0,
            integrator=Adaptive(rtol=1e-10),
            start=y0[:, 0],
            save_every=10.0,
        ),
    ]
    for run in runs[1:4]:
        np.testing.assert_allclose(run.v_e, runs[0].v_e, atol=2e-6)
    assert runs[4].v_e.shape == (6,)


def test_homogeneous_run_is_the_network_in_unison(network):
    rest = ng.find_equilibria(network.homogeneous())
    np.testing.assert_array_equal(state_of(rest), rest.states[int(np.argmax(rest.stable))])
    start = rest.states[0] + 0.02
    one = ng.simulate(
        network.homogeneous(),
        30.0,
        start=start,
        integrator=ng.integrators.Adaptive(rtol=1e-10, atol=1e-12),
    )
    all_ = ng.simulate(
        network,
        30.0,
        start=jnp.tile(start[:, None], (1, 12)),
        integrator=ng.integrators.Adaptive(rtol=1e-10, atol=1e-12),
    )
    np.testing.assert_allclose(all_.v_e, np.tile(one.v_e[:, None], (1, 12)), atol=1e-6)


# ---------------------------------------------------------------------- saving


def test_what_is_saved(network):
    run = ng.simulate(network, 10.0, save_every=2.5)
    assert run.states.shape == (5, 6, 12)
    np.testing.assert_allclose(run.ts, [0, 2.5, 5, 7.5, 10])
    np.testing.assert_array_equal(run.r_i, run.states[:, 3])
    np.testing.assert_array_equal(run["r_i"], run.r_i)
    np.testing.assert_allclose(run.final_state, run.states[-1], atol=1e-12)
    assert run.sampling_interval == pytest.approx(2.5e-3)
    fixed = ng.simulate(network, 10.0, dt=0.01, save_at=[1.0, 2.5, 10.0], variables=("v_i", "v_e"))
    assert fixed.states.shape == (3, 2, 12)
    assert fixed.variables == ("v_i", "v_e")
    every = ng.simulate(network, 10.0, dt=0.01, save_every=0.5)
    np.testing.assert_allclose(fixed.v_e, every.v_e[np.array([2, 5, 20])], atol=1e-14)
    with pytest.raises(AttributeError, match="s_e"):
        _ = fixed.s_e
    with pytest.raises(ValueError, match="not saved at even intervals"):
        _ = fixed.sampling_interval
    with pytest.raises(ValueError, match="did you mean 'v_e'"):
        _ = fixed["ve"]


def test_times_in_32_bits(network):
    """A tenth in 32 bits is a tenth: for every argument that is a time, and for saved times."""
    y0 = ng.initial_state(network)
    times = {"duration": 2.1, "t0": 0.3, "dt": 0.05, "save_every": 0.1}
    plain = ng.simulate(network, start=y0, **times)
    for kind in (np.float32, jnp.float32):
        options = {name: kind(value) for name, value in times.items()}
        run = ng.simulate(network, start=y0, **options)
        np.testing.assert_array_equal(run.ts, plain.ts)
        np.testing.assert_array_equal(run.states, plain.states)
        assert float(run.t1) == 2.4
    some = ng.simulate(
        network, 2.1, start=y0, t0=0.3, dt=0.05, save_at=plain.ts.astype(jnp.float32)
    )
    np.testing.assert_allclose(some.ts, plain.ts, rtol=1e-15)
    options = {"dt": np.float32(0.05), "save_every": np.float32(0.1), "start": y0}
    batch = ng.simulate_batch(network, {"coupling": [5.0, 5.0]}, np.float32(2.1), **options)
    assert batch.states.shape[1] == 22
    times = {name: np.float32(times[name]) for name in ("duration", "dt")}
    activity = ng.Activity(
        **times, transient=np.float32(0.3), sample=jnp.float32(0.1), keep=("mean",)
    )
    plan, dt = activity.plan(network)
    assert (plan.stride, plan.transient, plan.layout.samples, dt) == (2, 3, 21, 0.05)

    # Times kept in 32 bits, from zero and later.
    for first, count, interval in ((0.0, 20_001, 0.1), (1000.0, 501, 0.72), (5.0, 3, 0.05)):
        ts = jnp.asarray(first + interval * np.arange(count), jnp.float32)
        run = eqx.tree_at(lambda run: run.ts, plain, ts)
        assert run.sampling_interval == pytest.approx(interval * 1e-3, rel=1e-12)
    for ts in ([0.0, 0.1, 0.3], [0.0, 0.1, 0.2001], [1e6, 1e6 + 0.1, 1e6 + 0.2]):
        run = eqx.tree_at(lambda run: run.ts, plain, jnp.asarray(ts, jnp.float32))
        with pytest.raises(ValueError, match="not saved at even intervals"):
            _ = run.sampling_interval
    for value, exact in ((2**-20, 2**-20), (1 / 3, float(np.float32(1 / 3))), (2500.25, 2500.25)):
        assert _checks.time("t0", np.float32(value)) == exact
    assert _checks.time("t0", float(np.float32(0.1))) == float(np.float32(0.1))
    for bad in ([1.0, 2.0], "soon", np.nan):
        with pytest.raises(ValueError, match="`duration` must be"):
            ng.simulate(network, bad)


def test_every_method_says_that_it_diverged(network, monkeypatch):
    """In single runs and batches; and where there was no equilibrium to start from."""
    wild = np.full((6, 12), 1e11)
    for solver in ("rk4", "moebius"):
        options = {"dt": 0.5, "start": wild, "integrator": solver, "save_every": 2.0}
        excited = network.with_parameters(j_ee=1e3)
        run = ng.simulate(excited, 2.0, throw=False, **options)
        batch = ng.simulate_batch(excited, {"coupling": [5.0, 5.0]}, 2.0, **options)
        bad = not np.isfinite(np.asarray(run.final_state)).all()
        bad |= bool(np.abs(np.asarray(run.final_state)).max() > 1e12)
        assert bad, solver
        for found in (run, batch):
            assert (np.asarray(found.status) == ng.Status.NOT_FINITE).all()
    monkeypatch.setattr(
        "ngnmm_jax.simulation.batch.initial_states", lambda *_: np.stack([wild * 0, wild * np.nan])
    )
    batch = ng.simulate_batch(network, {"coupling": [5.0, 5.0]}, 2.0, dt=0.5, save_every=2.0)
    assert list(np.asarray(batch.status)) == [ng.Status.OK, ng.Status.NONE_FOUND]


def test_steps_after_the_last_save(network):
    """A duration that is no multiple of the sampling interval is still run to its end."""
    y0 = ng.initial_state(network)
    run = ng.simulate(network, 1.05, dt=0.01, save_every=0.2, start=y0)
    assert run.ts.shape == (6,)
    whole = ng.simulate(network, 1.05, dt=0.01, save_every=1.05, start=y0)
    np.testing.assert_allclose(run.final_state, whole.final_state, atol=1e-13)


@pytest.mark.parametrize(
    "options", [{"dt": 0.01}, {"integrator": ng.integrators.Adaptive(rtol=1e-10, atol=1e-12)}]
)
def test_going_on_from_the_end(network, options):
    whole = ng.simulate(network, 20.0, **options)
    first = ng.simulate(network, 10.0, **options)
    second = ng.simulate(network, 10.0, start=first, **options)
    np.testing.assert_allclose(second.ts, np.arange(10.0, 21.0))
    np.testing.assert_allclose(second.v_e, whole.v_e[10:], atol=1e-7)


def test_xarray(network):
    dataset = ng.simulate(network, 5.0).to_xarray()
    assert dict(dataset.sizes) == {"time": 6, "region": 12}
    assert dataset.v_e.dims == ("time", "region")
    assert dataset.r_e.attrs["units"] == "1/ms"
    assert dataset.time.attrs["units"] == "ms"
    assert list(dataset.region.values[:2]) == ["L1", "L2"]
    assert int(dataset.status) == 0
    column = ng.Network(ng.JansenRit(), np.ones((1, 1))).homogeneous()
    column = ng.simulate(column, 0.1, dt=1e-3, start=np.zeros(6))
    assert column.to_xarray()["y1 - y2"].dims == ("time",)
    assert column.to_xarray()["y1 - y2"].attrs["units"] == "mV"


# ---------------------------------------------------------------------- initial states


def test_initial_state(network, small):
    state = ng.initial_state(network, scatter=0.01, seed=4)
    assert state.shape == (6, 12)
    np.testing.assert_array_equal(state, ng.initial_state(network, scatter=0.01, seed=4))
    assert not np.array_equal(state, ng.initial_state(network, scatter=0.01, seed=5))
    assert (state[jnp.array([0, 2, 3, 5])] >= 0).all()
    rest = ng.find_equilibria(network.homogeneous()).states[0]
    quiet = ng.initial_state(network, scatter=0.0)
    np.testing.assert_allclose(quiet, np.tile(rest[:, None], (1, 12)), atol=1e-12)
    many = ng.initial_state(
        ng.Network(ng.NextGenEI(i_ext_e=13.0), ng.Connectome.synthetic(500).normalised(), 5.0)
    )
    assert float((many[1] - rest[1]).std()) == pytest.approx(0.01, rel=0.15)
    assert float((many[1] - rest[1]).mean()) == pytest.approx(0.0, abs=0.002)
    heterogeneous = ng.Network(ng.NextGenEI(i_ext_e=np.linspace(1, 3, 12)), small, 5.0)
    assert ng.initial_state(heterogeneous).shape == (6, 12)


# ---------------------------------------------------------------------- heterogeneity, precision


def test_heterogeneous_parameters(small):
    """Uncoupled regions with parameters of their own are single regions."""
    i_ext_e, tau_e = np.linspace(2, 14, 12), np.linspace(6, 10, 12)
    y0 = ng.initial_state(ng.Network(ng.NextGenEI(), small, 0.0), seed=2)
    model = ng.NextGenEI(i_ext_e=i_ext_e, tau_e=tau_e)
    whole = ng.simulate(ng.Network(model, small, np.zeros(12)), 20.0, start=y0, dt=0.01)
    for k in (0, 7):
        model = ng.NextGenEI(i_ext_e=i_ext_e[k], tau_e=tau_e[k])
        alone = ng.Network(model, np.ones((1, 1)), 0.0).homogeneous()
        run = ng.simulate(alone, 20.0, start=y0[:, k], dt=0.01)
        np.testing.assert_allclose(whole.v_e[:, k], run.v_e, atol=1e-12)


def test_coupling_per_region(small):
    coupling = np.zeros(12)
    coupling[3] = 5.0
    model = ng.NextGenEI(i_ext_e=np.full(12, 9.0), tau_e=np.full(12, 8.0))
    y0 = published_start(12)
    run, free = (
        ng.simulate(ng.Network(model, small, strength), 10.0, start=y0, dt=0.01)
        for strength in (coupling, np.zeros(12))
    )
    same = np.isclose(run.v_e, free.v_e, atol=1e-12).all(axis=0)
    assert list(np.flatnonzero(~same)) == [3]


@pytest.mark.parametrize(
    "options", [{"dt": 0.01}, {"integrator": ng.integrators.Adaptive(rtol=1e-5, atol=1e-7)}]
)
def test_32_bits(network, options):
    y0 = ng.initial_state(network, seed=1)
    single = ng.simulate(network, 20.0, start=y0, dtype=jnp.float32, **options)
    double = ng.simulate(network, 20.0, start=y0, **options)
    assert single.states.dtype == single.final_state.dtype == jnp.float32
    assert double.states.dtype == jnp.float64
    np.testing.assert_allclose(single.v_e, double.v_e, atol=5e-3)


# ---------------------------------------------------------------------- batches


def test_batch_is_its_single_runs(network):
    """Whatever the batch, the tile and the number of devices (the tests have two)."""
    currents, couplings = np.linspace(5, 15, 7), np.linspace(0, 12, 7)
    parameters = {"i_ext_e": currents, "coupling": couplings}
    batches = [
        ng.simulate_batch(network, parameters, 20.0, dt=0.01, seed=range(3, 10), chunk=tile)
        for tile in (None, 2)
    ]
    assert batches[0].states.shape == (7, 21, 1, 12)
    assert batches[0].ok
    np.testing.assert_allclose(batches[1].states, batches[0].states, atol=1e-12)
    np.testing.assert_allclose(batches[1].final_state, batches[0].final_state, rtol=1e-11)
    for k in (0, 5):
        here = network.with_parameters(i_ext_e=currents[k], coupling=couplings[k])
        run = ng.simulate(here, 20.0, dt=0.01, seed=3 + k)
        np.testing.assert_allclose(batches[0].v_e[k], run.v_e, atol=1e-11)
        np.testing.assert_allclose(batches[0].final_state[k], run.final_state, atol=1e-11)


def test_batch_of_heterogeneous_runs(network):
    rng = np.random.default_rng(0)
    currents = rng.uniform(5, 10, size=(3, 12))
    y0 = np.stack([ng.initial_state(network, seed=s) for s in range(3)])
    mixed = network.with_parameters(eta_i=rng.uniform(-6, -4, size=12))
    batch = ng.simulate_batch(
        mixed, {"i_ext_e": currents, "tau_e": [7.0, 8.0, 9.0]}, 5.0, dt=0.01, start=y0, chunk=2
    )
    for k in range(3):
        here = mixed.with_parameters(i_ext_e=currents[k], tau_e=7.0 + k)
        run = ng.simulate(here, 5.0, dt=0.01, start=y0[k])
        np.testing.assert_allclose(batch.v_e[k], run.v_e, atol=1e-12)


def test_same_shapes_compile_once(network):
    traces = []

    class Counted(AbstractOneStep):
        def step(self, field, state, dt):
            traces.append(state.shape)
            return RK4().step(field, state, dt)

    ng.simulate_batch(network, {"coupling": [1.0, 2.0]}, 2.0, dt=0.01, integrator=Counted())
    ng.simulate(network, 2.0, dt=0.01, integrator=Counted())
    count = len(traces)
    assert count > 0
    for low in (0.0, 3.0):
        options = {"dt": 0.01, "integrator": Counted()}
        ng.simulate_batch(network, {"coupling": [low, low + 1]}, 2.0, seed=[5, 9], **options)
        ng.simulate(network.with_parameters(i_ext_e=low, coupling=2.0), 2.0, seed=4, **options)
    assert len(traces) == count


def test_batch_with_seeds_that_are_traced(network):
    y0 = ng.initial_state(network)

    def runs(seeds):
        given = {"dt": 0.05, "start": y0, "seed": seeds}
        return ng.simulate_batch(network, {"coupling": [5.0, 5.0, 5.0]}, 1.0, **given).states

    seeds = jnp.arange(3)
    np.testing.assert_allclose(jax.jit(runs)(seeds), runs(seeds), rtol=1e-12)


def test_batch_records_divergence(network):
    wild, y0 = {"coupling": [5.0, 0.0, 1e8]}, ng.initial_state(network)
    batch = ng.simulate_batch(network, wild, 20.0, dt=0.05, start=y0)
    assert list(np.asarray(batch.status)) == [ng.Status.OK, ng.Status.OK, ng.Status.NOT_FINITE]
    assert not batch.ok


def test_batch_in_32_bits(network):
    y0 = ng.initial_state(network)
    single, double = (
        ng.simulate_batch(network, {"coupling": [1.0, 2.0]}, 5.0, dt=0.01, start=y0, dtype=dtype)
        for dtype in (jnp.float32, jnp.float64)
    )
    assert single.states.dtype == jnp.float32
    np.testing.assert_allclose(single.v_e, double.v_e, atol=2e-3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"parameters": {"i_ext": [1.0]}}, "`parameters` must be one of"),
        ({"parameters": {"i_ext_e": np.zeros((2, 5))}}, "`i_ext_e` must have shape"),
        ({"parameters": {"i_ext_e": [0.0], "coupling": [1.0, 2.0]}}, "same number of runs"),
        ({"parameters": {"coupling": []}}, "`coupling` must have at least one run"),
        ({"parameters": {"i_ext_e": [np.nan]}}, "`i_ext_e` must be finite"),
        ({"parameters": {"tau_e": [8.0, -8.0]}}, "`tau_e` must be positive"),
        ({"dt": 0.0}, "`dt` must be positive"),
        ({"chunk": 0}, "`chunk` must be a positive integer"),
        ({"start": np.zeros((2, 6, 5))}, "`start` must have shape"),
        ({"integrator": "rk5"}, "`integrator` must be one of"),
        ({"integrator": "adaptive"}, "`integrator` must take fixed steps here"),
        ({"start": np.zeros((6, 5))}, "`start` must have shape"),
    ],
)
def test_batch_refuses(network, arguments, words):
    arguments = {"parameters": {"coupling": [1.0]}, "dt": 0.01, "duration": 1.0, **arguments}
    with pytest.raises(ValueError, match=words):
        ng.simulate_batch(network, **arguments)


# ---------------------------------------------------------------------- derivatives


def end_of(**options):
    """What a run of a network ends at, as one number, and its derivatives by all of the network."""

    def scalar(network):
        start = published_start(12)[: len(network.model.variables)]
        run = ng.simulate(network, 8.0, start=start, save_every=2.0, throw=False, **options)
        return (run.states[1:, 1] ** 2).mean() + run.states[-1, 0].sum()

    return eqx.filter_jit(jax.value_and_grad(scalar))


@pytest.fixture(scope="module")
def fixed_steps():
    return end_of(dt=0.05)


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (ng.NextGenEI(i_ext_e=13.0), {"dt": 0.05}),
        (ng.MontbrioPazoRoxin(), {"integrator": Adaptive(rtol=1e-10, atol=1e-12)}),
    ],
)
def test_gradient_of_simulate(small, fixed_steps, model, options):
    """Reverse mode through either way of integrating, every parameter, finite differences."""
    network = ng.Network(model, small, 5.0)
    both = fixed_steps if "dt" in options else end_of(**options)
    gradient = both(network.bare())[1]
    for name in (*declared(model), "coupling"):
        owner = network if name == "coupling" else network.model
        value, h = float(getattr(owner, name)), 1e-4
        changed = [network.with_parameters(**{name: value + s * h}) for s in (1, -1)]
        ends = [both(n.bare())[0] for n in changed]
        found = getattr(gradient if name == "coupling" else gradient.model, name)
        expected = float(ends[0] - ends[1]) / (2 * h)
        assert float(found) == pytest.approx(expected, rel=1e-5, abs=1e-7), name


def test_gradient_with_respect_to_a_weight(network, fixed_steps):
    weights, h = np.asarray(network.weights), 1e-5
    there = np.zeros_like(weights)
    there[2, 3] = h

    def at(weights):
        return fixed_steps(eqx.tree_at(lambda n: n.weights, network.bare(), jnp.asarray(weights)))

    slope = (float(at(weights + there)[0]) - float(at(weights - there)[0])) / (2 * h)
    assert float(at(weights)[1].weights[2, 3]) == pytest.approx(slope, rel=1e-5)


@pytest.mark.slow
def test_forward_mode(network):
    y0 = ng.initial_state(network, seed=1)

    def scalar(coupling, **options):
        here = ng.Network(network.model, network.weights, coupling)
        return ng.simulate(here, 5.0, start=y0, throw=False, **options).v_e[-1].sum()

    forward = jax.jacfwd(
        lambda c: scalar(c, adjoint=dfx.ForwardMode(), integrator=Adaptive(rtol=1e-9))
    )(5.0)
    reverse = jax.grad(lambda c: scalar(c, integrator=Adaptive(rtol=1e-9)))(5.0)
    fixed = jax.jacfwd(lambda c: scalar(c, dt=0.01))(5.0)
    assert float(forward) == pytest.approx(float(reverse), rel=1e-5)
    assert float(forward) == pytest.approx(float(fixed), rel=1e-5)


def test_vmap(network):
    y0 = ng.initial_state(network)

    def last(coupling):
        here = ng.Network(network.model, network.weights, coupling)
        return ng.simulate(here, 2.0, start=y0, dt=0.01).final_state

    couplings = jnp.array([1.0, 2.0])
    batch = jax.vmap(last)(couplings)
    np.testing.assert_allclose(batch[1], last(2.0), atol=1e-12)


# ---------------------------------------------------------------------- failures


class Explosive(ng.AbstractNeuralMass):
    """v' = v² + drive: a single QIF neuron, which is infinite after π/2 from v = 0, drive 1."""

    variables = ("v",)
    units = ("1",)
    time_unit = "ms"
    shown = "v"
    shown_unit = "1"
    nonnegative = ()

    def vector_field(self, state, drive):
        return state**2 + 1 + drive[None]

    def output(self, state):
        return state[0]

    def search_box(self):
        return jnp.array([-2.0]), jnp.array([2.0])


def test_blow_up_in_finite_time_is_said():
    network = ng.Network(Explosive(), np.ones((1, 1)), 0.0)
    run = ng.simulate(
        network,
        1.5,
        start=np.zeros((1, 1)),
        integrator=ng.integrators.Adaptive(rtol=1e-10, atol=1e-10),
    )
    assert float(run.v[-1, 0]) == pytest.approx(np.tan(1.0), rel=1e-8)
    with pytest.raises(ng.SolverError, match="diverge") as caught:
        ng.simulate(network, 2.0, start=np.zeros((1, 1)))
    assert caught.value.status in (ng.Status.STEP_TOO_SMALL, ng.Status.NOT_FINITE)
    with pytest.raises(ng.SolverError, match="no equilibrium was found"):
        ng.simulate(network, 1.0)


def test_divergence_is_said(network):
    wild = network.with_parameters(j_ee=1e6, j_ei=0.0)
    y0 = ng.initial_state(network)
    with pytest.raises(ng.SolverError, match="halve `dt`") as caught:
        ng.simulate(wild, 20.0, start=y0, dt=0.05)
    assert caught.value.status == ng.Status.NOT_FINITE
    run = ng.simulate(wild, 20.0, start=y0, dt=0.05, throw=False)
    assert not run.ok
    assert run.status == ng.Status.NOT_FINITE


def test_step_limit_is_said():
    network, few = ng.Network(Explosive(), np.ones((1, 1)), 0.0), Adaptive(max_steps=5, rtol=1e-12)
    with pytest.raises(ng.SolverError, match="max_steps=…") as caught:
        ng.simulate(network, 1.5, start=np.zeros((1, 1)), integrator=few)
    assert caught.value.status == ng.Status.MAX_STEPS
    assert caught.value.result.v.shape == (2, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"duration": 0.0}, "`duration` must be positive"),
        ({"duration": np.nan}, "`duration` must be finite"),
        ({"start": np.zeros((6, 5))}, "`start` must have shape"),
        ({"start": np.full((6, 12), np.nan)}, "`start` must be finite"),
        ({"dt": -0.1}, "`dt` must be positive"),
        ({"dt": 0.3}, "`duration` must be a multiple of the fixed step"),
        ({"dt": 0.01, "save_every": 0.015}, "must be a multiple of the fixed step"),
        ({"save_every": -1.0}, "`save_every` must be positive"),
        ({"save_every": 1.0, "save_at": [1.0]}, "not be given with `save_at`"),
        ({"save_at": [2.0, 1.0]}, "`save_at` must be a rising sequence"),
        ({"save_at": [1.0, 11.0]}, "`save_at` must lie within the run"),
        ({"variables": ("v_x",)}, "`variables` must be one of"),
        ({"variables": ()}, "at least one variable"),
        ({"integrator": "rk4", "save_at": [np.pi]}, "`dt` must be given where"),
        ({"integrator": "rk9", "dt": 0.01}, "`integrator` must be one of"),
        ({"scatter": -1.0}, "`scatter` must be a finite number"),
        ({"dtype": jnp.int32}, "`dtype` must be float32 or float64"),
    ],
)
def test_what_is_refused(network, arguments, words):
    with pytest.raises(ValueError, match=words):
        ng.simulate(network, **{"duration": 10.0, **arguments})


def test_settings_of_adaptive_steps_are_checked():
    for settings, words in (
        ({"rtol": 0.0}, "`rtol` must be positive"),
        ({"max_steps": 0}, "`max_steps` must be a positive integer"),
    ):
        with pytest.raises(ValueError, match=words):
            Adaptive(**settings)


def test_progress_bar(network, capfd):
    ng.simulate(network, 250.0, dt=0.01, progress=True)
    assert "simulate" in capfd.readouterr().err
    quick = ng.Network(Explosive(), np.ones((1, 1)), 0.0)
    ng.simulate(quick, 1.5, start=np.zeros((1, 1)), progress=True)
    assert "%" in capfd.readouterr().err
    quiet = ng.simulate(network, 250.0, dt=0.01, progress=False)
    assert capfd.readouterr().err == ""
    loud = ng.simulate(network, 250.0, dt=0.01)
    np.testing.assert_allclose(quiet.v_e, loud.v_e, atol=1e-10)


def test_a_start_is_real_numbers(network):
    for wrong in (np.zeros(network.state_shape, complex), np.full(network.state_shape, "1")):
        with pytest.raises(ValueError, match="`start` must be an array of numbers"):
            ng.simulate(network, 1.0, dt=0.1, start=wrong)
    with pytest.raises(ValueError, match="`start` must be an array of numbers"):
        ng.find_equilibria(network.averaged(), start=np.zeros((1, 6), complex))


def test_batches_of_a_homogeneous_system():
    node = ng.Homogeneous(ng.NextGenEI(), 2.0)
    batch = ng.simulate_batch(node, {"i_ext_e": [3.0, 9.0]}, 2.0, dt=0.1, seed=4)
    assert batch.states.shape[:1] + batch.states.shape[2:] == (2, 1)
    assert (batch.status == ng.Status.OK).all()
    one = ng.simulate(
        node.with_parameters(i_ext_e=9.0), 2.0, dt=0.1, seed=int(ng.run_seeds(4, 2)[1])
    )
    np.testing.assert_allclose(batch.run(1).final_state, one.final_state, rtol=1e-12)
