"""Networks with delays: what arrives of the past, simulations, and their Lyapunov exponents."""

import dataclasses
import functools
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import lambertw

import ngnmm_jax as ng
from ngnmm_jax._core.definition import definition
from ngnmm_jax.graphs import AbstractDelays, DelayedGraph, DenseGraph, IdentityGraph
from ngnmm_jax.graphs.past import Reach, Reads, arriving, refined, ring
from ngnmm_jax.simulation import single
from ngnmm_jax.simulation.history import History
from ngnmm_jax.systems.delayed import on_grid
from tests.scalar_models import OneVariable

RNG = np.random.default_rng(0)
WEIGHTS = np.array([[0, 1, 2, 0.5], [1, 0, 0, 3], [2, 1, 0, 1], [0, 1, 1, 0]]) / 3
LENGTHS = np.array([[0, 23, 31, 8.7], [12, 0, 0, 40], [55.5, 20, 0, 9], [0, 33, 61, 0]])
CONNECTOME = ng.Connectome(WEIGHTS, tract_lengths=LENGTHS)


class Scalar(OneVariable):
    """x' = what arrives."""

    rate: jax.Array = ng.models.parameter(0.0, unit="1/ms", doc="of decay")

    def vector_field(self, state, drive):
        return jnp.stack([drive - self.rate * state[0]])


class MackeyGlass(Scalar):
    """x' = 0.2 c / (1 + c^10) - 0.1 x, with c = x(t - τ)."""

    def vector_field(self, state, drive):
        return jnp.stack([0.2 * drive / (1 + drive**10) - 0.1 * state[0]])

    def search_box(self):
        return jnp.array([0.5]), jnp.array([1.5])


def network(**given):
    given = given or {"speed": 10.0}
    return ng.Network(ng.NextGenEI(i_ext_e=10.0), CONNECTOME, 4.0, **given)


def short_equations(**given):
    """A network of the same connections, whose model's programs are small."""
    return ng.Network(MackeyGlass(), CONNECTOME, 0.7, **(given or {"speed": 10.0}))


def alone(strength, delay):
    """x' = strength x(t - delay)."""
    return ng.Network(Scalar(), np.array([[1.0]]), strength, delays=delay)


def past_along(function, system, dt, nodes=64):
    """A run at rest whose history is a function's of the time."""
    run = ng.simulate(system, dt, dt=dt, start=np.zeros(system.state_shape))
    sent = function(-dt * np.arange(nodes)[::-1])
    state = jnp.asarray(np.full(system.state_shape, sent[-1]))
    history = History({"": jnp.asarray(sent[None])}, dt)
    return dataclasses.replace(run, final_state=state, t1=jnp.asarray(0.0), history=history)


@pytest.fixture
def one_program(monkeypatch):
    """Steps of any length by the same program, which allows for delays of so many of them."""

    def allow(*steps):
        def allowing(system, dt):
            return on_grid(system, dt, spans={"": tuple(n * dt for n in steps)})

        monkeypatch.setattr(single, "on_grid", allowing)

    return allow


# What arrives


@eqx.filter_jit
def gathered(graph, dt, past, newest, reach):
    """The sums of the coming steps, of values (region, node) that end at the newest."""
    reads = Reads.of(graph, jnp.asarray(dt), reach)
    return arriving(graph, reads, ring(past, reach), newest, reach)


@pytest.mark.parametrize("block", [1, 3])
def test_polynomials_of_degree_four_arrive_exactly(block):
    dt, times = 0.1, RNG.uniform(0.3, 1.1, (4, 4))
    graph = DelayedGraph(DenseGraph(WEIGHTS), times)
    reach = Reach.of((0.3, 1.1), dt)._replace(block=block)
    factors = RNG.normal(size=(4, 5))

    def sent(t):  # (region, …)
        return sum(c.reshape(4, *[1] * t.ndim) * t**k for k, c in enumerate(factors.T))

    nodes = dt * np.arange(1 - reach.length, 1)
    past = np.roll(sent(nodes), 7, axis=1)  # the newest need not be the last one
    found = gathered(graph, dt, past, 6, reach)
    x, w = np.polynomial.legendre.leggauss(8)
    for b in range(block):
        at = dt * (b + 0.5 + x / 2)
        values = sent(at[:, None, None] - times)[np.arange(4)[None, :], :, :, np.arange(4)[None, :]]
        values = np.einsum("jk,kjq->jq", WEIGHTS, np.moveaxis(values[0], 1, -1))
        np.testing.assert_allclose(found[b, 0], values @ w / 2, rtol=1e-12)
        np.testing.assert_allclose(found[b, 1], 12 * (values * x) @ w / 4, rtol=1e-11)


def test_one_delay_is_a_matrix_of_the_same():
    dt, reach = 0.1, Reach.of((0.37, 0.37), 0.1)
    past = jnp.asarray(RNG.normal(size=(4, reach.length, 2)))
    one = DelayedGraph(DenseGraph(WEIGHTS), 0.37)
    each = DelayedGraph(DenseGraph(WEIGHTS), np.full((4, 4), 0.37))
    found = [gathered(graph, dt, past, 5, reach) for graph in (one, each)]
    np.testing.assert_allclose(*found, rtol=1e-12)


def test_a_delay_out_of_reach_is_nan():
    reach = Reach.of((0.3, 0.5), 0.1)
    graph = DelayedGraph(DenseGraph(WEIGHTS), np.full((4, 4), 9.0))
    assert np.isnan(gathered(graph, 0.1, jnp.ones((4, reach.length)), 0, reach)).all()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_delays_of_whole_steps_are_in_reach_however_they_are_rounded(dtype):
    for steps, dt in itertools.product((1, 3, 6, 7, 12, 48), (0.1, 0.3, 0.02)):
        delay = float(f"{steps * dt:g}")
        graph = DelayedGraph(DenseGraph(WEIGHTS), np.full((4, 4), delay))
        graph = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), graph)
        reads = Reads.of(graph, jnp.asarray(dt, dtype), Reach.of((delay, delay), dt))
        assert np.isfinite(reads.factors).all()


def test_refined_is_exact_for_polynomials_of_degree_five():
    t = np.arange(9.0)
    found = refined(jnp.asarray(t**5 - 3 * t**2)[None])
    half = np.arange(17) / 2
    np.testing.assert_allclose(found[0], half**5 - 3 * half**2, rtol=1e-12, atol=1e-9)


# Simulations


def test_an_exact_solution_to_order_four(one_program):
    """x' = -π/2 x(t - 1) keeps cos(π t / 2): the Hopf bifurcation of the delayed decay."""
    one_program(6, 25)
    system, errors = alone(-np.pi / 2, 1.0), []
    for dt in (1 / 6.3, 1 / 12.3, 1 / 24.3):  # off the grid, by the same fraction of a step
        start = past_along(lambda t: np.cos(np.pi / 2 * t), system, dt)
        run = ng.simulate(system, round(3 / dt) * dt, start=start, dt=dt, save_every=dt)
        exact = np.cos(np.pi / 2 * np.asarray(run.ts))
        errors.append(np.abs(np.asarray(run.x)[:, 0] - exact).max())
    assert errors[-1] < 1e-6
    assert (np.log2(errors[:-1]) - np.log2(errors[1:]) > 3.7).all()


@pytest.mark.parametrize("integrator", ["rk4", "moebius"])
def test_networks_to_order_four(integrator, one_program):
    one_program(8, 490)
    system = network()
    first = ng.simulate(system, 60.0, dt=0.1, integrator="rk4", scatter=0.05)
    ends = [
        np.asarray(ng.simulate(system, 4.0, dt=dt, integrator=integrator, start=first).final_state)
        for dt in (0.1, 0.05, 0.025, 0.0125)
    ]
    gaps = [np.abs(a - b).max() for a, b in itertools.pairwise(ends)]
    slopes = np.log2(gaps[:-1]) - np.log2(gaps[1:])
    assert (slopes > 3.5).all(), (gaps, slopes)


def test_small_perturbations_grow_by_the_rightmost_root():
    """One that begins as the root's own, its past included, stays it: both ways are independent."""
    system = network()
    rest = ng.find_equilibria(system)
    state, amount, dt = np.asarray(rest.states)[0], 1e-9, 0.05
    roots = ng.characteristic_roots(system, state)
    z, sent = complex(np.asarray(roots.roots)[0]), np.asarray(roots.patterns)[0]
    passed = 4.0 * (WEIGHTS * np.exp(-z * LENGTHS / 10.0)) @ sent
    slopes = jax.jit(jax.vmap(jax.jacfwd(system.model.vector_field, (0, 1))))
    local, push = map(np.asarray, slopes(state.T, 4.0 * WEIGHTS @ state[2]))
    wave = np.linalg.solve(z * np.eye(6) - local, (push * passed[:, None])[..., None])[..., 0].T
    np.testing.assert_allclose(wave[2], sent, atol=1e-8)  # what it sends is what came in

    def at(t):
        return amount * (wave * np.exp(z * t)).real

    first = ng.simulate(system, dt, dt=dt, start=state + at(0.0))
    times = dt * np.arange(1 - first.history.sent[""].shape[1], 1)
    past = state[2][:, None] + amount * (sent[:, None] * np.exp(z * times)).real
    begun = dataclasses.replace(
        first,
        final_state=jnp.asarray(state + at(0.0)),
        history=History({"": jnp.asarray(past)}, dt),
    )
    run = ng.simulate(system, 20.0, dt=dt, start=begun, integrator="rk4", t0=0.0)
    grown = np.asarray(run.final_state) - state
    np.testing.assert_allclose(grown, at(20.0), atol=1e-5 * np.abs(at(20.0)).max())


def test_a_run_that_goes_on_is_the_whole():
    network = short_equations()
    system = ng.Driven(network, {"x": 0.1})
    whole = ng.simulate(system, 20.0, dt=0.05, seed=3)
    part = ng.simulate(system, 7.0, dt=0.05, seed=3)
    part = ng.simulate(system, 13.0, dt=0.05, seed=3, start=part)
    np.testing.assert_allclose(part.final_state, whole.final_state, rtol=1e-12)
    batch = ng.simulate_batch(network, {"coupling": [0.6, 0.7]}, 7.0, dt=0.05, seed=3)
    batch = ng.simulate_batch(network, {"coupling": [0.6, 0.7]}, 5.0, dt=0.05, start=batch)
    alone = ng.simulate(network.with_parameters(coupling=0.6), 12.0, dt=0.05, seed=3)
    np.testing.assert_allclose(batch.run(0).final_state, alone.final_state, rtol=1e-11)


def test_a_batch_is_its_runs(one_program):
    one_program(8, 490)
    system = ng.Network(ng.MontbrioPazoRoxin(), CONNECTOME, 4.0, speed=10.0)
    values = {"speed": [8.0, 10.0, 14.0], "coupling": [4.0, 1.0, 4.0]}
    options = {"dt": 0.05, "integrator": "moebius"}
    batch = ng.simulate_batch(system, values, 6.0, seed=0, **options)
    for k, both in enumerate(zip(*values.values(), strict=True)):
        one = system.with_parameters(**dict(zip(values, both, strict=True)))
        run = ng.simulate(one, 6.0, seed=int(ng.run_seeds(0, 3)[k]), **options)
        np.testing.assert_allclose(batch.run(k).final_state, run.final_state, rtol=1e-10)


def test_regions_in_another_order_do_the_same():
    order = np.array([2, 0, 3, 1])
    other = ng.Connectome(WEIGHTS[order][:, order], tract_lengths=LENGTHS[order][:, order])
    start = RNG.uniform(0.05, 0.2, (6, 4))
    systems = network(), ng.Network(network().model, other, 4.0, speed=10.0)
    a, b = (
        ng.simulate(system, 10.0, dt=0.05, start=first).final_state
        for system, first in zip(systems, (start, start[:, order]), strict=True)
    )
    np.testing.assert_allclose(a[:, order], b, rtol=1e-10)


def test_long_delays_alone_leave_regions_alone():
    """Until something arrives that has changed, a region does what it does by itself."""
    system = short_equations(delays=50.0)
    start = RNG.uniform(0.5, 1.5, (1, 4))
    run = ng.simulate(system, 40.0, start=start, dt=0.05, integrator="rk4")
    drive = 0.7 * WEIGHTS @ start[0]
    quiet = ng.Network(system.model, np.zeros((4, 4)), 0.0)
    same = ng.Driven(quiet, {}, ng.stimuli.Custom(lambda t: jnp.asarray(drive)))
    same = ng.simulate(same, 40.0, start=start, dt=0.05, integrator="rk4")
    np.testing.assert_allclose(run.final_state, same.final_state, rtol=1e-10)


def forwards(function):
    """A number and its derivative, by forward mode."""
    return lambda value: jax.jvp(function, (value,), (1.0,))


@pytest.mark.parametrize(
    ("given", "name", "ways"),
    [
        ({"speed": 9.7}, "speed", (jax.value_and_grad, forwards)),
        ({"delays": 3.31}, "delay", (jax.value_and_grad,)),
    ],
)
def test_gradients_by_speed_and_delay(given, name, ways):
    """Of runs that are asked for in their own precision, too."""
    system, start = short_equations(**given), RNG.uniform(0.5, 1.5, (1, 4))

    def last(value):
        here = system.with_parameters(**{name: value})
        given = {"start": start, "dt": 0.05, "save_every": 3.0, "dtype": jnp.float64}
        return (ng.simulate(here, 6.0, **given).final_state ** 2).sum()

    every = jax.jit(lambda value: [way(last)(value) for way in ways])
    value, step = float(next(iter(given.values()))), 1e-4
    (up, _), (down, _) = every(value + step)[0], every(value - step)[0]
    for _, found in every(value):
        np.testing.assert_allclose(found, (up - down) / (2 * step), rtol=1e-6)


@jax.jit
@functools.partial(jax.value_and_grad, argnums=(0, 1))
def by_each_connection(weights, times):
    """Where a run ends, as one number, and its derivatives by all weights and delays."""
    graph = DelayedGraph(DenseGraph(weights), times, span=(0.4, 14.0))
    system = ng.Network(MackeyGlass(), coupling=ng.coupling.LinearCoupling(graph, 0.7))
    start = np.array([[0.6, 1.1, 0.8, 1.4]])
    return (ng.simulate(system, 8.0, start=start, dt=0.05).final_state ** 2).sum()


def test_gradients_by_each_delay():
    times, there = np.where(LENGTHS > 0, LENGTHS / 9.7, 1.0), np.zeros((4, 4))
    there[3, 1] = step = 1e-5
    found = np.asarray(by_each_connection(WEIGHTS, times)[1][1])
    up, down = (by_each_connection(WEIGHTS, times + way * there)[0] for way in (1, -1))
    np.testing.assert_allclose(found[3, 1], (up - down) / (2 * step), rtol=1e-5)
    assert not found[WEIGHTS == 0].any()


def test_32_bits():
    start = RNG.uniform(0.05, 0.2, (6, 4))
    runs = [
        ng.simulate(network(), 20.0, start=start, dt=0.05, integrator="rk4", dtype=dtype)
        for dtype in (jnp.float32, jnp.float64)
    ]
    assert runs[0].states.dtype == jnp.float32
    np.testing.assert_allclose(runs[0].states, runs[1].states, atol=2e-4)


def test_sweeps_over_speed():
    given, speeds = {"scatter": 0.0, "dt": 0.05}, {"speed": [8.0, 12.0]}
    measure = ng.Activity(duration=64.0, transient=20.0, keep=["mean"], **given)
    found = ng.sweep(short_equations(), ng.Design.grid(speeds), measure, checks=0)
    runs = ng.simulate_batch(short_equations(), speeds, 84.0, save_every=1.0, **given)
    means = np.asarray(runs.x)[:, 21:].mean(axis=1)
    np.testing.assert_allclose(found.x_mean, means, rtol=1e-6)


# Other couplings


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


#: What arrives late from each, and is there now (to, from), as each receives it: strength 0.8.
#: The sum of the first is that of linear coupling too.
RECEIVED = {
    ng.coupling.DiffusiveCoupling: lambda w, late, x: 0.8 * (w * (late - x[:, None])).sum(axis=1),
    ng.coupling.SigmoidBeforeSum: lambda w, late, x: 0.8 * (w * sigmoid(late)).sum(axis=1),
    ng.coupling.SigmoidAfterSum: lambda w, late, x: 0.8 * sigmoid((w * late).sum(axis=1)),
    ng.coupling.KuramotoCoupling: lambda w, late, x: (
        0.8 * (w * np.sin(late - x[:, None])).sum(axis=1)
    ),
}


def naively(received, weights, times, start, duration, dt=2e-3):
    """Heun's method in NumPy, linear between steps: x' = c - x / 2."""
    n, steps = len(start), round(duration / dt)
    xs = np.empty((steps + 1, n))
    xs[0] = start

    def slope(x, t, known):
        back = np.clip(t - times, 0, known * dt) / dt  # (to, from)
        low = np.minimum(back.astype(int), max(known - 1, 0))
        seen = xs[low, np.arange(n)] * (1 - (back - low))
        seen += xs[np.minimum(low + 1, known), np.arange(n)] * (back - low)
        return received(weights, seen, x) - 0.5 * x

    for k in range(steps):
        first = slope(xs[k], k * dt, k)
        second = slope(xs[k] + dt * first, (k + 1) * dt, k)
        xs[k + 1] = xs[k] + dt / 2 * (first + second)
    return xs[-1]


@pytest.mark.parametrize("make", RECEIVED)
def test_other_couplings_as_a_plain_program_has_them(make):
    weights, times = np.array([[0, 1.2], [0.7, 0]]), np.array([[1, 0.53], [0.31, 1]])
    coupling = make(DelayedGraph(DenseGraph(weights), times), 0.8)
    system = ng.Network(Scalar(rate=0.5), coupling=coupling)
    start = np.array([0.9, -0.4])
    run = ng.simulate(system, 2.0, start=start[None], dt=0.02, integrator="rk4")
    expected = naively(RECEIVED[make], weights, times, start, 2.0)
    np.testing.assert_allclose(np.asarray(run.final_state)[0], expected, atol=2e-5)


def test_sums_of_couplings_each_over_its_tracts():
    make, start = ng.coupling.LinearCoupling, RNG.uniform(0.5, 1.5, (1, 4))
    times = np.where(LENGTHS > 0, LENGTHS, 8.7) / 9.7  # as long at most, and at least, in reverse
    one, other = (DelayedGraph(DenseGraph(CONNECTOME), each) for each in (times, times[::-1]))

    def system(fast, slow):
        own = make(IdentityGraph(4), 0.1)
        parts = {"fast": make(fast, 0.2), "slow": make(slow, 0.5), "own": own}
        return ng.Network(MackeyGlass(), coupling=ng.coupling.CouplingSum(parts))

    def last(system, **given):
        given = {"start": start, "dt": 0.05, "integrator": "rk4", **given}
        return ng.simulate(system, 6.0, **given).final_state

    whole = ng.Network(MackeyGlass(), coupling=make(one, 0.7))
    split, mixed = system(one, one).with_parameters(own_coupling=0.0), system(other, one)
    np.testing.assert_allclose(last(split), last(whole), rtol=1e-12)
    alone = mixed.with_parameters(fast_coupling=0.0, own_coupling=0.0, slow_coupling=0.7)
    np.testing.assert_allclose(last(alone), last(whole), rtol=1e-12)
    assert np.abs(last(mixed) - last(whole)).max() > 1e-3
    half = ng.simulate(mixed, 3.0, start=start, dt=0.05, integrator="rk4")
    again = ng.simulate(mixed, 3.0, start=half, dt=0.05, integrator="rk4")
    np.testing.assert_allclose(again.final_state, last(mixed), rtol=1e-12)
    with pytest.raises(ValueError, match="same couplings"):
        last(whole, start=half)


# What is refused, or told


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: network(speed=3.0, delays=3.0), "both are"),
        (lambda: network(speed=-1.0), "speed"),
        (lambda: network(speed=np.ones(4)), "speed"),
        (lambda: network(delays=np.ones((3, 3))), r"shape \(4, 4\)"),
        (lambda: network(delays=LENGTHS * 0.0), "0 → 1"),
        (lambda: ng.Network(ng.NextGenEI(), WEIGHTS, 4.0, speed=3.0), "tract lengths"),
        (lambda: ng.Network(ng.NextGenEI(), ng.Connectome(WEIGHTS, tract_lengths=np.eye(4)), 4.0,
                            speed=3.0), "missing tract lengths"),
        (lambda: ng.simulate(network(), 10.0, integrator="adaptive"), "fixed steps with delays"),
        (lambda: ng.simulate(network(), 10.0, dt=1.0), "shortest delay, 0.87"),
        (lambda: network().vector_field(jnp.zeros((6, 4))), "has delays"),
        (lambda: ng.lyapunov_spectrum(network()), "count"),
        (lambda: ng.simulate(short_equations(speed=2.0), 5.0, dt=0.05,
                             start=ng.simulate(short_equations(), 5.0, dt=0.05, start=np.ones(1))),
         "remembers"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_a_way_out(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_speeds_beyond_what_a_program_allows_are_told():
    system, given = short_equations(), {"dt": 0.05, "start": np.ones(1), "throw": False}

    @jax.jit
    def status(speed):
        return ng.simulate(system.with_parameters(speed=speed), 2.0, **given).status

    assert status(2.0) == ng.Status.NOT_FINITE
    assert status(8.0) == ng.Status.OK


def test_definitions_see_delays():
    class Later(AbstractDelays):
        more: jax.Array

        def between(self):
            return LENGTHS + 2.0 + self.more

    class Earlier(Later):
        def between(self):
            return LENGTHS + 1.0 + self.more

    made = short_equations
    known = definition("run", made())
    assert known == definition("run", made(speed=5.0).with_parameters(speed=10.0))
    others = [made(speed=5.0), made(delays=3.0), made(delays=LENGTHS + 1)]
    others += [made(delays=kind(jnp.asarray(0.0))) for kind in (Later, Earlier)]
    found = [definition("run", system) for system in others]
    assert all(a != b for k, a in enumerate(found) for b in (known, *found[:k]))


def test_networks_show_their_delays():
    assert "0.87 … 6.1 (speed 10)" in repr(network())


def test_a_delay_that_is_whole_but_for_rounding():
    """Within 1e-9 below a number of steps; more below it is one step less."""
    for missing in (0.0, 1e-13, 1e-10, 1e-7):
        delay = 0.3 - missing
        system = ng.Network(Scalar(rate=1.0), np.array([[0, 1.0], [0.5, 0]]), 0.7, delays=delay)
        assert ng.simulate(system, 1.0, dt=0.1, start=np.array([[1.0, 2.0]])).ok


def test_derivatives_by_a_weight_that_is_zero():
    """The delay that is given there counts."""
    times, there = np.where(LENGTHS > 0, LENGTHS / 9.7, 3.37), np.zeros((4, 4))
    there[0, 0] = step = 1e-5
    value, (found, _) = by_each_connection(WEIGHTS, times)
    slope = float(by_each_connection(WEIGHTS + there, times)[0] - value) / step
    np.testing.assert_allclose(np.asarray(found)[0, 0], slope, rtol=1e-3)


@pytest.mark.slow
def test_runs_go_on_from_orbits_and_exponents_from_runs():
    system = ng.Network(ng.NextGenEI(i_ext_e=13.0), np.array([[1.0]]), 5.0, delays=4.0)
    orbit = ng.find_orbit(system.homogeneous())
    period = float(orbit.period)
    given = {"dt": period / 1500, "save_every": period / 10, "integrator": "rk4"}
    run = ng.simulate(system, period, start=orbit, **given)
    np.testing.assert_allclose(run.v_e[-1], run.v_e[0], atol=1e-5)
    growing = ng.Network(Scalar(rate=1.0), np.array([[1.0]]), -1.8, delays=2.0)
    given = {"dt": 0.05, "integrator": "rk4"}
    first = ng.simulate(growing, 10.0, start=np.array([[1.0]]), **given)
    found = ng.lyapunov_spectrum(growing, 1, dt=0.05, duration=20.0, transient=4.0, start=first)
    then = ng.simulate(growing, 22 * 32 * 0.05, start=first, **given)  # in whole blocks
    np.testing.assert_allclose(found.state, then.final_state, rtol=1e-6)


def test_what_has_no_steps_with_delays_is_refused():
    class Twice(ng.Network):
        def vector_field(self, state, stimulus=None):
            return 2.0 * super().vector_field(state, stimulus)

    even = ng.Connectome(np.ones((4, 4)) - np.eye(4), tract_lengths=LENGTHS + 5).normalised()
    given = {"dt": 0.05, "start": np.full(6, 0.1)}
    unequal = ng.Network(ng.NextGenEI(), even, 4.0, speed=10.0).homogeneous()
    own = Twice(ng.NextGenEI(), even, 4.0, speed=10.0)
    for refused, match in (
        (lambda: ng.simulate(unequal, 5.0), "takes? the network"),
        (lambda: ng.simulate(own, 5.0, **given), "`vector_field` of its own"),
        (lambda: ng.characteristic_roots(own, np.full(6, 0.1)), "`vector_field` of its own"),
        (lambda: network().with_parameters(speed=np.ones(4)), "speed"),
        (lambda: ng.simulate_batch(network(), {"speed": np.ones((2, 4))}, 5.0), "of connections"),
        (lambda: ng.simulate_batch(network(delays=3.0), {"delay": np.ones((2, 4))}, 5.0), "delay"),
    ):
        with pytest.raises(ValueError, match=match):
            refused()


# Lyapunov exponents


def test_exponents_at_rest_are_characteristic_roots():
    """Of x' = -x(t - 1): the real parts of Lambert's function at -1, in pairs."""
    found = ng.lyapunov_spectrum(
        alone(-1.0, 1.0), 4, duration=400.0, transient=60.0, dt=1 / 30, start=np.zeros((1, 1))
    )
    roots = np.array([lambertw(-1.0, k).real for k in (0, -1, 1, -2)])
    assert (np.abs(found.exponents - roots) < 4 * found.errors).all()
    assert (found.errors < 4e-3).all()
    pairs = found.exponents.reshape(2, 2).mean(axis=1)
    np.testing.assert_allclose(pairs, [roots[0], roots[2]], atol=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("delay", "dimension"), [(17.0, 2.1), (23.0, 2.8), (30.0, 3.6)])
def test_mackey_and_glass(delay, dimension):
    """Kaplan and Yorke's dimension, to a digit as in Farmer, Physica D 4, 366 (1982)."""
    system = ng.Network(MackeyGlass(), np.array([[1.0]]), 1.0, delays=delay)
    start = np.full((1, 1), 1.2)
    found = ng.lyapunov_spectrum(system, 4, duration=1e5, transient=5e3, dt=0.25, start=start)
    np.testing.assert_allclose(found.kaplan_yorke, dimension, atol=0.1)
    assert found.number_positive == (2 if delay == 30 else 1)
