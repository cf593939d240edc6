"""What is compiled: once for a kind of system, whatever the numbers of steps, runs and saves."""

import logging
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ngnmm_jax as ng
from ngnmm_jax._core.programs import program

# What brings numbers from the host, of whatever shape.
TRIVIAL = {"jit(stage)", "jit(convert_element_type)"}


class Names(logging.Handler):
    """Names of the programs that are compiled, or taken from disk."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def emit(self, record):
        if found := re.match(r"Finished XLA compilation of (\S+)", record.getMessage()):
            self.seen.append(found.group(1))


@pytest.fixture
def programs():
    """The names of the programs that a call compiles."""
    logger, names = logging.getLogger("jax._src.dispatch"), Names()
    level, passes = logger.level, logger.propagate

    def of(work):
        names.seen.clear()
        jax.block_until_ready(work())
        return [name for name in names.seen if name not in TRIVIAL]

    logger.addHandler(names)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield of
    logger.removeHandler(names)
    logger.setLevel(level)
    logger.propagate = passes


@pytest.fixture(scope="module")
def weights():
    half = np.random.default_rng(0).uniform(size=(7, 7))
    return half + half.T  # a real spectrum


@pytest.fixture(scope="module")
def network(weights):
    return ng.Network(ng.NextGenEI(i_ext_e=13.0), ng.Connectome(weights).normalised(), 5.0)


@pytest.fixture(scope="module")
def population(weights):
    """One population in each region, whose programs are a half as long."""
    return ng.Network(ng.MontbrioPazoRoxin(), ng.Connectome(weights).normalised(), 5.0)


def again(weights):
    """The same network from objects of its own, and one that has other names."""
    return ng.Network(ng.NextGenEI(i_ext_e=13.0), ng.Connectome(weights).normalised(), 5.0)


START = np.full((6, 7), 0.1)


def batch(network, runs):
    currents = {"i_ext_e": np.linspace(12, 13, runs)}
    return ng.simulate_batch(network, currents, 2.0, dt=0.05).states


class Midpoint(ng.integrators.AbstractOneStep):
    """The midpoint method, or another of its family."""

    part: float = 0.5

    def step(self, field, state, dt):
        return state + dt * field(state + self.part * dt * field(state))


CALLS = {
    "an own integrator": (
        lambda n: ng.simulate(n, 2.0, start=START, integrator=Midpoint(0.5), dt=0.1).states,
        lambda n: ng.simulate(n, 3.0, start=START, integrator=Midpoint(0.5), dt=0.05).states,
    ),
    "fixed steps": (
        lambda n: ng.simulate(n, 20.0, dt=0.05).states,
        lambda n: ng.simulate(n, 23.0, dt=0.025).states,
    ),
    "adaptive steps": (
        lambda n: ng.simulate(n, 20.0).states,
        lambda n: ng.simulate(n, 23.0).states,
    ),
    "a batch": (lambda n: batch(n, 4), lambda n: batch(n, 5)),
    "equilibria": (
        lambda n: ng.find_equilibria(n.homogeneous()).states,
        lambda n: ng.find_equilibria(n.with_parameters(i_ext_e=2.0).homogeneous()).states,
    ),
    "an orbit": (
        lambda n: ng.find_orbit(n.homogeneous(), steps=64).period,
        lambda n: ng.find_orbit(n.homogeneous(), steps=256, transient=700.0, window=90.0).period,
    ),
    "modes of an orbit": (
        lambda n: ng.dispersion(n, ng.find_orbit(n.homogeneous())).eigenvalues,
        lambda n: (
            ng.dispersion(
                n, ng.find_orbit(n.homogeneous(), steps=128), lambdas=np.linspace(-1, 1, 60)
            ).eigenvalues
        ),
    ),
    "exponents": (
        lambda n: ng.lyapunov_spectrum(n, 2, duration=20.0, transient=10.0).exponents,
        lambda n: ng.lyapunov_spectrum(n, 2, duration=30.0, transient=15.0).exponents,
    ),
    "initial states": (
        lambda n: ng.initial_state(n),
        lambda n: ng.initial_state(n, seed=4, scatter=0.02),
    ),
}


@pytest.mark.parametrize("what", CALLS)
def test_numbers_compile_nothing(network, what, programs):
    first, second = CALLS[what]
    jax.block_until_ready(first(network))
    assert programs(lambda: second(network)) == []


def test_equal_networks_compile_nothing(network, weights, programs):
    other = again(weights)
    assert other.connectome == network.connectome
    assert hash(other.connectome) == hash(network.connectome)
    named = ng.Connectome(weights, labels=list("abcdefg")).normalised()
    assert named != network.connectome
    renamed = ng.Network(network.model, named, 5.0)
    for work in (
        lambda n: ng.find_equilibria(n).states,
        lambda n: ng.simulate(n, 5.0, dt=0.05).states,
        lambda n: ng.lyapunov_spectrum(n, 2, duration=10.0, transient=10.0).exponents,
    ):
        jax.block_until_ready(work(network))
        for same in (other, renamed):
            assert programs(lambda work=work, same=same: work(same)) == []
    jitted = jax.jit(lambda n: n.vector_field(jnp.ones((6, 7))))
    jitted(network)
    assert programs(lambda: jitted(other)) == []


def test_speeds_compile_nothing(programs):
    """Longest delays of 60, and of 59, steps."""
    lengths = np.array([[0, 200.0, 600.0], [200.0, 0, 330.0], [600.0, 330.0, 0]])
    connectome = ng.Connectome(lengths / 600, tract_lengths=lengths)
    start = np.full((2, 3), 0.1)

    def run(speed):
        system = ng.Network(ng.models.StuartLandau(), connectome, 0.1, speed=speed)
        return ng.simulate(system, 0.01, dt=0.001, start=start).states

    run(10.0)
    assert programs(lambda: run(10.2)) == []


class Resting(ng.AbstractNeuralMass):
    """Three variables that decay."""

    variables = ("x0", "x1", "x2")
    units = ("1",) * 3
    time_unit = "ms"
    shown = "x0"
    shown_unit = "1"
    nonnegative = ()

    def vector_field(self, state, drive):
        rates = jnp.arange(1.0, 4.0).reshape(-1, *(1,) * (state.ndim - 1))
        return -rates * state / 10 + 0.01 * drive

    def output(self, state):
        return jnp.tanh(state[0])

    def search_box(self):
        return -jnp.ones(3), jnp.ones(3)


def test_what_rests_is_said_before_it_is_refined(programs):
    """A model of one's own: nothing is compiled for a shooting that cannot be."""
    system = ng.Network(Resting(), np.array([[0, 1.0], [1, 0]]), 1.0).homogeneous()
    names = programs(
        lambda: ng.find_orbit(system, transient=100.0, window=100.0, throw=False).status
    )
    assert "jit(run_up)" in names
    assert not {"jit(_sweep)", "jit(multipliers)"} & set(names)
    found = ng.find_orbit(system, transient=100.0, window=100.0, throw=False)
    assert found.status == ng.Status.NOT_PERIODIC
    assert not bool(found.stable)
    assert np.isnan(float(found.period))


def test_known_values_inside_of_a_program(population):
    """Inside of `jit` nothing is computed at once, though no argument is traced."""

    def everything():
        rest = ng.find_equilibria(population.homogeneous(), throw=False)
        start = ng.initial_state(population, seed=2)
        runs = ng.simulate_batch(population, {"eta": np.linspace(-6, -5, 2)}, 2.0, dt=0.05)
        return {
            "rest": rest.states[0],
            "start": start,
            "fixed": ng.simulate(population, 2.0, dt=0.05, start=start, throw=False).states,
            "batch": runs.states,
            "growth": ng.dispersion(population, rest.states[0], throw=False).growth,
        }

    inside, outside = jax.jit(everything)(), everything()
    for name, value in outside.items():
        np.testing.assert_allclose(inside[name], value, rtol=1e-9, atol=1e-11, err_msg=name)


TRANSFORMED = {
    "equilibria": lambda n: (
        lambda x: ng.find_equilibria(n.with_parameters(eta=x).homogeneous(), throw=False).states[
            0, 1
        ]
    ),
    "a run": lambda n: (
        lambda x: ng.simulate(n.with_parameters(eta=x), 1.0, dt=0.05, throw=False).states.sum()
    ),
    "an orbit": lambda n: (
        lambda x: (
            ng.find_orbit(
                n.with_parameters(i_ext_e=18.0 + x).homogeneous(),
                start=jnp.full(6, 0.1),
                period=20.0,
                steps=64,
                throw=False,
            ).period
        )
    ),
}


@pytest.mark.parametrize(
    "what", ["equilibria", "a run", pytest.param("an orbit", marks=pytest.mark.slow)]
)
def test_a_second_derivative_compiles_nothing(network, population, what, programs):
    """A loop of gradient steps without a `jit` of its own."""
    function = TRANSFORMED[what](network if what == "an orbit" else population)
    jax.block_until_ready(jax.jvp(function, (-5.0,), (1.0,)))
    assert programs(lambda: jax.jvp(function, (-4.9,), (1.0,))) == []


def test_derivatives_alone_need_no_search(population, programs):
    """What is known is searched on the host, and has the derivatives that `jit` would give."""
    function = TRANSFORMED["equilibria"](population)
    names = programs(lambda: jax.grad(function)(-5.0))
    assert not [name for name in names if "_searched" in name]
    found = [float(of(function)(-5.0)) for of in (jax.grad, lambda f: jax.jit(jax.grad(f)))]
    assert found[0] == pytest.approx(found[1], rel=1e-9)


@pytest.mark.slow
def test_derivatives_of_an_orbit_need_no_search(network, programs):
    """One that it settles on: nothing runs inside of a program but Newton's last step."""

    def period(x, **options):
        inner = network.with_parameters(i_ext_e=x).homogeneous()
        return ng.find_orbit(inner, **options).period

    ng.find_orbit(network.with_parameters(i_ext_e=13.0).homogeneous())
    names = programs(lambda: jax.grad(period)(13.0))
    assert not [name for name in names if "run_up" in name or "_refined" in name]
    orbit = ng.find_orbit(network.with_parameters(i_ext_e=13.0).homogeneous())
    near = {"start": orbit.states[0], "period": orbit.period}
    inside = float(jax.jit(jax.grad(lambda x: period(x, **near)))(13.0))
    assert float(jax.grad(period)(13.0)) == pytest.approx(inside, rel=1e-7)


def test_an_equal_fit_compiles_nothing(network, programs):
    """A loss is what it is traced to: closures of equal values share, another value is another."""
    near = [4.0]

    def fitted(loss, polish=0, seed=0):
        unknowns = {"coupling": ng.fitting.interval(0.0, 20.0)}
        method = ng.fitting.Gradient(polish=polish)
        return ng.fit(network, unknowns, loss, method=method, steps=3, seed=seed).loss

    def closure(depth):
        return lambda system, key: (system.coupling - depth[0]) ** 2

    first = closure(near)
    fitted(first, polish=2)
    assert programs(lambda: fitted(first, polish=2, seed=1)) == []
    before = fitted(first)
    assert programs(lambda: fitted(closure([4.0]))) == []
    near[0] = 5.0  # the same function, of other data
    assert fitted(first) != before
    assert programs(lambda: fitted(closure([6.0]))) != []


def test_what_jax_remembers_of_a_program_is_no_part_of_it():
    """A loop that was differentiated and batched meanwhile is still the same program."""

    @jax.jit
    def loop(x):
        return jax.lax.scan(lambda x, y: (jnp.sin(x) + y, x), x, jnp.arange(3.0))[0]

    before = program(loop, 1.0)
    jax.vmap(jax.grad(loop))(jnp.ones(2))
    assert program(loop, 1.0) == before
