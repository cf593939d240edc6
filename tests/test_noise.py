"""Coloured and multiplicative noise, private and correlated: against exact laws of linear systems.

Steps of linear systems are linear in the normal numbers that they draw, so that their laws are
known without sampling: errors below are of the method, not of chance.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import solve_continuous_lyapunov, solve_discrete_lyapunov
from scipy.special import ndtr

import ngnmm_jax as ng
from ngnmm_jax import noises
from ngnmm_jax._core.definition import definition
from ngnmm_jax.dynamics.newton import jacobian
from ngnmm_jax.integrators import Heun
from ngnmm_jax.kernels import CannotFuse, traced
from ngnmm_jax.models import AbstractNeuralMass, parameter
from ngnmm_jax.systems.noisy import Sources


class Leaky(AbstractNeuralMass):
    """x' = -rate x + c: nothing but a leak."""

    variables = ("x",)
    units = ("1",)
    time_unit = "ms"
    shown = "x"
    shown_unit = "1"
    nonnegative = ()

    rate: jax.Array = parameter(0.2, unit="1/ms", doc="of decay")

    def vector_field(self, state, drive):
        return (drive - self.rate * state[0])[None]

    def output(self, state):
        return state[0]

    def search_box(self):
        return jnp.array([-1.0]), jnp.array([1.0])


class Rate(Leaky):
    """The same with an x that cannot be negative."""

    nonnegative = ("x",)


WEIGHTS = np.array([[0, 1.0, 0], [0.5, 0, 0.5], [0.3, 0.7, 0]])


def leaky(coupling=0.0, model=None, **noise):
    return ng.Driven(ng.Network(Leaky() if model is None else model, WEIGHTS, coupling), noise)


@pytest.fixture(scope="module")
def everywhere():
    """Noise of both kinds, on the input and on the variable."""
    coloured = noises.OrnsteinUhlenbeck([0.5, 1.0, 2.0], 5.0, correlation=0.5)
    return leaky(0.1, input=coloured, x=0.2)


def step_of(system, dt, method=None):
    """The start and a step, as functions of the normal numbers (name, part) that they draw."""
    dt = jnp.asarray(dt)

    def stepper(normal):
        sources = Sources(lambda n, k, y, part=0: normal[n, part], lambda k, y: (None, None))
        inner = (Heun() if method is None else method).stepper(system.system, dt)
        return system.assembled(inner, dt, jnp.asarray(0), sources)

    return (
        lambda state, normal: stepper(normal).start(state),
        lambda memory, normal: stepper(normal).advance(memory, None),
    )


@eqx.filter_jit
def after_a_step(system, dt, x, normal):
    """Where a step from x (region, …) ends, by the normal numbers that it draws."""
    started, advance = step_of(system, dt)
    return advance(started(x, normal), normal).at


@jax.jit
def slopes_of_a_course(noise, dt):
    """Of a step's mean, first moment and end, by where it begins and what it draws."""

    def course(z, a, b):
        return jnp.concatenate(noise.course(z, dt, lambda k: (a, b)[k]))

    return jax.jacobian(course, (0, 1, 2))(*jnp.zeros((3, 1)))


@pytest.mark.parametrize("part", [0.003, 0.5, 30.0])
def test_a_coloured_step_has_the_exact_law(part):
    """Of its end, its mean, and its first moment, whatever the step: by quadrature in NumPy."""
    tau, dt = 2.0, 2.0 * part
    noise = noises.OrnsteinUhlenbeck(3.0, tau)
    sd = 3.0 / np.sqrt(2 * tau)

    rows = np.array(slopes_of_a_course(noise, jnp.asarray(dt)))[..., 0].T
    rows *= np.array([3.0, 3.0, sd])[:, None]
    t, w = np.polynomial.legendre.leggauss(400)
    t, w = (t + 1) / 2 * dt, w / 2
    mean_variance = sd**2 * 2 * w @ ((1 - t / dt) * np.exp(-t / tau))
    with_start, with_end = sd**2 * np.exp(-t / tau), sd**2 * np.exp(-(dt - t) / tau)
    lean = 12 * (t / dt - 0.5) * w
    covariance = rows @ rows.T
    np.testing.assert_allclose(covariance[0, 0], mean_variance, rtol=1e-8)
    np.testing.assert_allclose(covariance[2, 2], sd**2, rtol=1e-12)
    np.testing.assert_allclose(covariance[0, 2], w @ with_end, rtol=1e-8)
    np.testing.assert_allclose(rows[0, 0] * sd, w @ with_start, rtol=1e-8)
    np.testing.assert_allclose(covariance[1, 2], lean @ with_end, rtol=1e-6)
    np.testing.assert_allclose(rows[1, 0] * sd, lean @ with_start, rtol=1e-6)


@eqx.filter_jit
def slopes_of_a_step(system, dt):
    """Of (x, process) after it, by x, the process, and the normal numbers that it draws."""
    started, advance = step_of(system, dt)
    names = [(n, p) for n in system.noise for p in (0, 1, 2)]
    normal = {name: jnp.zeros(3) for name in names}
    memory = started(jnp.zeros((1, 3)), normal)

    def flat(x, z, normal):
        after = advance(memory._replace(at=x, processes=z), normal)
        return jnp.concatenate([v.ravel() for v in jax.tree.leaves((after.at, after.processes))])

    return jax.jacobian(flat, (0, 1, 2))(memory.at, memory.processes, normal)


def covariance_of(system, dt):
    """Stationary covariance of (x, process) by steps: a discrete Lyapunov equation, in SciPy."""
    a, z, b = (
        np.concatenate([np.asarray(v).reshape(-1, 3) for v in jax.tree.leaves(p)], axis=1)
        for p in slopes_of_a_step(system, jnp.asarray(dt))
    )
    return solve_discrete_lyapunov(np.hstack([a, z]), b @ b.T)


@pytest.mark.parametrize("on", ["input", "x"])
def test_a_linear_network_driven_by_coloured_noise(on):
    """Its covariance is that of Lyapunov's equation with the noise as variables; order two."""
    tau, strength = np.array([3.0, 1.0, 8.0]), np.array([0.5, 1.0, 2.0])
    system = leaky(0.1, **{on: noises.OrnsteinUhlenbeck(strength, tau)})
    drift = np.block(
        [
            [-0.2 * np.eye(3) + 0.1 * WEIGHTS, np.diag(strength / np.sqrt(2 * tau))],
            [np.zeros((3, 3)), -np.diag(1 / tau)],
        ]
    )
    push = np.diag(np.r_[0, 0, 0, 2 / tau])
    exact = solve_continuous_lyapunov(drift, -push)
    errors = [np.abs(covariance_of(system, dt) - exact).max() for dt in (0.4, 0.2)]
    assert errors[0] < 3e-3 * exact.max()
    assert np.log2(errors[0] / errors[1]) > 1.9


NODES, SHARES = np.polynomial.hermite_e.hermegauss(20)
SHARES = SHARES / SHARES.sum()


@pytest.mark.parametrize("sense", ["ito", "stratonovich"])
def test_geometric_brownian_motion(sense):
    """x' = -k x + s x ξ: both moments to order one, by Gauss's quadrature over a step's noise."""
    k, s, total = 0.2, 0.6, 2.0
    noise = noises.White(s, factor="x", sense=sense)
    drift = -k + (s**2 / 2 if sense == "stratonovich" else 0)
    exact = np.exp(drift * total), np.exp((2 * drift + s**2) * total)
    errors = []
    for dt in (0.2, 0.1, 0.05):
        normal = {("x", 0): np.tile(NODES, (3, 1))}
        ends = np.asarray(
            after_a_step(leaky(x=noise), jnp.asarray(dt), jnp.ones((1, 3, 20)), normal)
        )[0, 0]
        moments = np.array([SHARES @ ends, SHARES @ ends**2]) ** (total / dt)
        errors.append(np.abs(moments / exact - 1))
    errors = np.array(errors)
    assert errors[0].max() < 0.06
    # The first moment in Itô's sense is Heun's own, to order two.
    assert (np.log2(errors[0] / errors[2]) / 2 > 0.9).all()


@pytest.mark.parametrize("sense", ["ito", "stratonovich"])
def test_strong_order_one(sense):
    """Along given paths, against the exact solution."""
    k, s, fine, paths = 0.2, 0.6, 256, 300
    path = np.random.default_rng(1).standard_normal((fine, 3, paths)) / np.sqrt(fine)
    drift = -k - (s**2 / 2 if sense == "ito" else 0)
    exact = np.exp(drift + s * path.sum(axis=0))
    errors = []
    for number in (16, 64):
        noise = noises.White(s, factor="x", sense=sense)
        started, advance = step_of(leaky(x=noise), 1 / number)
        increments = path.reshape(number, -1, 3, paths).sum(axis=1) * np.sqrt(number)
        end = jax.lax.scan(
            lambda memory, n: (advance(memory, {("x", 0): n}), None),
            started(jnp.ones((1, 3, paths)), {}),
            jnp.asarray(increments),
        )[0].at[0]
        errors.append(np.abs(end - exact).mean())
    assert errors[1] < 0.01
    assert np.log2(errors[0] / errors[1]) / 2 > 0.85


def test_coloured_noise_with_a_factor_means_one_thing():
    """x' = -k x + x η ends at exp(-k t + ∫η): to order two along a course."""
    errors = []
    for number in (10, 20):
        noise = noises.OrnsteinUhlenbeck(0.8, 1.5, factor=lambda state: state[0])
        started, advance = step_of(leaky(x=noise), 2 / number)
        memory = started(jnp.ones((1, 3)), {("x", 2): jnp.array([1.0, -0.5, 0.3])})
        total = np.zeros(3)
        for _ in range(number):  # the same course for each step: no draws, decay alone
            normal = {("x", 0): jnp.zeros(3), ("x", 1): jnp.zeros(3)}
            course = noise.course(
                memory.processes["x"], jnp.asarray(2 / number), lambda _: jnp.zeros(3)
            )
            total += 0.8 * np.asarray(course.mean) * 2 / number
            memory = advance(memory, normal)
        errors.append(np.abs(np.asarray(memory.at[0]) - np.exp(-0.4 + total)).max())
    assert errors[0] < 2e-3
    assert np.log2(errors[0] / errors[1]) > 1.8


def test_correlated_noise():
    """One noise for all, a part in common, and a matrix: what `mixed` makes."""
    matrix = np.array([[1, 0.5, -0.3], [0.5, 1, 0.2], [-0.3, 0.2, 1]])
    for given, expected in (
        (1.0, np.ones((3, 3))),
        (0.25, 0.75 * np.eye(3) + 0.25),
        (matrix, matrix),
    ):
        root = np.asarray(noises.White(2.0, correlation=given).mixing(3))
        np.testing.assert_allclose(root @ root.T, expected, atol=1e-12)
    shared = noises.OrnsteinUhlenbeck(np.ones(3), 2.0, correlation=1.0)
    run = ng.simulate(leaky(input=shared, x=0.0), 20.0, dt=0.5, seed=1, start=np.zeros((1, 3)))
    assert np.ptp(np.asarray(run.x), axis=1).max() < 1e-12
    assert np.ptp(np.asarray(run.x), axis=0).min() > 0.1


@pytest.fixture(scope="module")
def network():
    return ng.Network(ng.NextGenEI(i_ext_e=3.0), WEIGHTS, 5.0)


@pytest.fixture(scope="module")
def coloured(network):
    """Each kind at once."""
    return ng.Driven(
        network,
        {
            "input": noises.OrnsteinUhlenbeck(0.02, 20.0),
            "excitatory": noises.OrnsteinUhlenbeck([0.02, 0.05, 0.1], 5.0, correlation=0.5),
            "inhibitory": 0.02,
            "r_i": noises.White(0.3, factor="r_i", sense="ito"),
        },
    )


def test_spectra_of_the_linear_theory(coloured):
    """Against the whole Jacobian's resolvent, in NumPy, with a filter for each noise."""
    model, network = coloured.model, coloured.system
    frequencies = np.array([0.5, 10.0, 45.0])
    found = ng.linear_response(coloured, frequencies, cross=True)
    state = np.asarray(found.state)
    slope = jax.jit(functools.partial(jacobian, network.vector_field))
    matrix = np.asarray(slope(found.state))
    root = np.linalg.cholesky(0.5 * np.eye(3) + 0.5)
    for k, frequency in enumerate(frequencies):
        omega = 2 * np.pi * frequency * 1e-3
        enters = np.zeros((4, 6, 3, 3), complex)
        r = np.arange(3)
        enters[0][1, r, r] = enters[0][4, r, r] = 0.02 / (1 + 20j * omega)
        enters[1][1] = np.diag([0.02, 0.05, 0.1]) @ root / (1 + 5j * omega) / float(model.tau_e)
        enters[2][4, r, r] = 0.02 / float(model.tau_i)
        enters[3][3, r, r] = 0.3 * state[3]
        gains = np.linalg.solve(
            1j * omega * np.eye(18) - matrix,
            np.concatenate([e.reshape(18, 3) for e in enters], axis=1),
        )[3:6]
        cross = 2e-3 * gains @ gains.conj().T
        np.testing.assert_allclose(found.cross[k], cross, rtol=1e-8)


def test_a_run_in_three_is_the_whole(everywhere):
    """To the bit; and it is the same alone and in a batch."""
    system, options = everywhere, {"dt": 0.5, "seed": 3}
    whole = ng.simulate(system, 60.0, **options)
    run = None
    for _ in range(3):
        run = ng.simulate(system, 20.0, start=run, **options)
    np.testing.assert_array_equal(run.final_state, whole.final_state)
    np.testing.assert_array_equal(run.history.noise["input"], whole.history.noise["input"])
    times, options = {"input_noise_time": np.array([5.0, 2.0])}, {"dt": 0.5, "seed": [3, 3]}
    batch = ng.simulate_batch(system, times, 60.0, **options)
    np.testing.assert_allclose(batch.x[0], whole.x, atol=1e-12)
    assert np.abs(batch.x[1] - whole.x).max() > 0.1
    on = ng.simulate_batch(system, times, 20.0, start=batch, **options)
    one = system.with_parameters(input_noise_time=2.0)
    alone = ng.simulate(one, 20.0, start=batch.run(1), dt=0.5, seed=3)
    np.testing.assert_allclose(on.x[1], alone.x, atol=1e-12)


def test_32_bits(everywhere):
    """Other numbers are drawn, of the same law."""
    runs = [
        ng.simulate(everywhere, 120.0, dtype=dtype, dt=0.5, seed=3)
        for dtype in ("float32", "float64")
    ]
    assert runs[0].x.dtype == np.float32
    np.testing.assert_allclose(*(np.asarray(run.x).std() for run in runs), rtol=0.3)


@pytest.mark.slow
def test_methods_agree_along_the_same_noise(coloured):
    """Where noise kicks a rate, the slope of what it sends is rough for "moebius"."""
    runs = [
        ng.simulate(coloured, 60.0, dt=0.05, seed=3, variables=("v_e",), integrator=method)
        for method in ("rk4", "moebius", "heun")
    ]
    assert np.ptp(np.asarray(runs[0].v_e)) > 0.1
    for run in runs[1:]:
        assert np.abs(run.v_e - runs[0].v_e).max() < 3e-4


@pytest.mark.slow
def test_with_delays(tmp_path):
    """What was sent and the noise go on together; alone, in a batch, and from a file."""
    noise = {
        "v": noises.OrnsteinUhlenbeck(0.2, 3.0),
        "input": noises.OrnsteinUhlenbeck(0.1, 3.0),
        "r": noises.White(0.1, factor="r", sense="ito"),
    }
    model = ng.models.MontbrioPazoRoxin()
    system = ng.Driven(ng.Network(model, WEIGHTS, 1.0, delays=2.0), noise)
    whole = ng.simulate(system, 30.0, dt=0.05, seed=3)
    run = batch = None
    for k in range(3):
        run = ng.simulate(system, 10.0, start=run, dt=0.05, seed=3)
        batch = ng.simulate_batch(system, None, 10.0, dt=0.05, seed=[2, 3], start=batch)
        if k == 0:
            ng.save(tmp_path / "run.npz", run)
            run = ng.load(tmp_path / "run.npz")
    np.testing.assert_array_equal(run.final_state, whole.final_state)
    np.testing.assert_allclose(batch.final_state[1], whole.final_state, atol=1e-10)
    with pytest.raises(ValueError, match="delays and a factor"):
        ng.Driven(system.system, {"input": noise["r"]})


def test_strengths_alone_are_what_they_were():
    """A number, and `White` of it for each region, are the same noise to the bit."""
    runs = [
        ng.simulate(leaky(x=noise), 20.0, dt=0.5, seed=2)
        for noise in (0.3, noises.White([0.3, 0.3, 0.3]))
    ]
    np.testing.assert_allclose(runs[1].x, runs[0].x, atol=1e-14)
    system = leaky(x=noises.White(0.3)).with_parameters(x_noise=0.5)
    assert float(system.x_noise) == 0.5
    other = system.with_parameters(x_noise=noises.OrnsteinUhlenbeck(0.2, 3.0))
    assert float(other.x_noise_time) == 3.0


def test_gradients_by_strength_and_time():
    """Of what a run ends at, against differences."""
    system = leaky(0.1, input=noises.OrnsteinUhlenbeck(0.5, 4.0), x=noises.White(
        0.3, factor=lambda s: 1 + jnp.tanh(s[0]), sense="stratonovich"))  # fmt: skip

    @jax.jit
    @jax.value_and_grad
    def end(values):
        names = ("input_noise", "input_noise_time", "x_noise")
        given = dict(zip(names, values, strict=True))
        run = ng.simulate(system.with_parameters(**given), 5.0, dt=0.25, start=np.zeros((1, 3)))
        return (run.final_state**2).sum()

    at = jnp.array([0.5, 4.0, 0.3])
    slope = end(at)[1]
    each = [(end(at + e)[0] - end(at - e)[0]) / 2e-5 for e in 1e-5 * np.eye(3)]
    np.testing.assert_allclose(slope, each, rtol=1e-6)
    assert np.abs(slope).min() > 1e-3


def test_sweeps_and_fits_know_them_by_name(everywhere):
    system = everywhere
    activity = ng.Activity(20.0, 0.0, dt=0.5, sample=1.0, integrator="rk4", keep=("trace",))
    design = ng.Design.listed({"input_noise_time": [1.0, 4.0]}, seed=3)
    found = ng.sweep(system, design, activity, checks=0)
    alone = ng.simulate(system.with_parameters(input_noise_time=4.0), 20.0, dt=0.5, seed=3)
    np.testing.assert_allclose(found.x_trace.values[1], alone.x[1:], atol=1e-12)
    with pytest.raises(ValueError, match="positive"):
        ng.sweep(system, ng.Design.listed({"input_noise_time": [-1.0]}), activity)


def test_what_decides_the_numbers():
    """Each change of a noise is another definition; a factor is known by what it computes."""
    made = [
        noises.White(0.3),
        noises.White(0.3, correlation=0.5),
        noises.White(0.3, factor="x", sense="ito"),
        noises.White(0.3, factor="x", sense="stratonovich"),
        noises.White(0.3, factor=lambda s: s[0] ** 2, sense="ito"),
        noises.White(0.3, factor=lambda s: s[0] ** 3, sense="ito"),
        noises.OrnsteinUhlenbeck(0.3, 2.0),
        noises.OrnsteinUhlenbeck(0.3, 3.0),
    ]
    texts = [str(definition("test", leaky(x=noise))) for noise in made]
    assert len(set(texts)) == len(made)
    again = definition("test", leaky(x=noises.White(0.3, factor=lambda s: s[0] ** 2, sense="ito")))
    assert str(again) == texts[4]


@pytest.mark.parametrize(
    ("below", "noise"),
    [
        ("reflect", noises.OrnsteinUhlenbeck(1.0, 2.0)),
        ("clip", noises.White(0.5, factor=lambda s: jnp.sqrt(s[0]), sense="ito")),
    ],
)
def test_what_cannot_be_negative_is_not(below, noise):
    """Alone, and the same in a batch, whose steps and counts are those of either."""
    system = ng.Driven(ng.Network(Rate(), WEIGHTS, 0.0), {"x": noise}, below_zero=below)
    options = {"dt": 0.25, "save_every": 0.25, "start": np.ones((1, 3))}
    alone = ng.simulate(system, 200.0, seed=1, **options)
    share = float(alone.stats["below_zero"])
    assert np.asarray(alone.x).min() >= 0
    assert 0 < share < 0.5
    if below == "clip":
        batch = ng.simulate_batch(system, duration=200.0, seed=[0, 1], **options)
        np.testing.assert_allclose(batch.x[1], alone.x, atol=1e-10)
        assert float(batch.stats["below_zero"][1]) == pytest.approx(share)


def test_rates_of_montbrios_mass_are_not_negative():
    """Noise on a rate, of each kind, in the exact flow's steps."""
    model = ng.models.MontbrioPazoRoxin(eta=-4.6, j=14.5, delta=0.7)
    noise = {
        "r": noises.OrnsteinUhlenbeck(0.3, 0.5),
        "v": noises.White(0.3, factor=lambda s: 1 + s[0], sense="ito"),
    }
    system = ng.Driven(ng.Network(model, WEIGHTS, 0.5), noise, below_zero="clip")
    options = {"dt": 0.02, "integrator": "moebius", "start": np.array([0.1, -1.0])}
    run = ng.simulate(system, 40.0, seed=2, save_every=0.1, **options)
    assert np.asarray(run.r).min() >= 0
    assert 0.01 < float(run.stats["below_zero"]) < 0.5


@pytest.mark.parametrize(("below", "order"), [("reflect", 1.0), ("clip", 0.4)])
def test_a_wall_at_zero(below, order):
    """x' = -k x + ξ above a wall is half of a normal distribution: its mean, by our steps.

    A step's map is ours; the distribution that it leaves as it is, by quadrature in NumPy.
    """
    errors = []
    for dt in (0.2, 0.1, 0.05):
        system = ng.Driven(ng.Network(Rate(), WEIGHTS, 0.0), {"x": 1.0}, below_zero=below)
        x, n = np.abs(np.random.default_rng(1).standard_normal((2, 1, 3))) * [[[1]], [[-1]]]
        found = after_a_step(system, jnp.asarray(dt), jnp.asarray(x), {("x", 0): n[0]})
        decay = 1 - 0.2 * dt + (0.2 * dt) ** 2 / 2
        free = decay * x + np.sqrt(dt) * n
        expected = np.abs(free) if below == "reflect" else np.maximum(free, 0)
        np.testing.assert_allclose(found, expected, atol=1e-14)
        h = np.sqrt(dt) / 8
        grid = (np.arange(int(9 / h)) + 0.5) * h
        points = grid if below == "reflect" else np.r_[0, grid]
        ends = np.exp(-0.5 * (grid[:, None] - decay * points) ** 2 / dt)
        if below == "reflect":
            ends += np.exp(-0.5 * (grid[:, None] + decay * points) ** 2 / dt)
        else:  # what is clipped is at zero
            rest = ndtr(-decay * points / np.sqrt(dt)) * np.sqrt(2 * np.pi * dt) / h
            ends = np.vstack([rest, ends])
        # What is left of a start falls by e in 5 / dt steps, at most a hundred.
        law = np.linalg.matrix_power(ends / ends.sum(axis=0), 4096)[:, 0]
        errors.append(abs(law @ points / law.sum() / np.sqrt(5 / np.pi) - 1))
    assert errors[1] < (0.011 if below == "reflect" else 0.08)
    assert np.log2(errors[0] / errors[2]) / 2 == pytest.approx(order, abs=0.06)


def test_kernels_and_diffrax_refuse_them(network):
    system = ng.Driven(network, {"input": noises.White(0.1)})
    with pytest.raises(CannotFuse, match="White"):
        traced(system.bare(), ng.integrators.RK4(), jnp.asarray(0.1), ("v_e",), {})
    with pytest.raises(ValueError, match="fixed steps"):
        ng.simulate(system, 10.0, integrator="adaptive")


def test_noise_of_a_population_is_a_current(network):
    """On its potential, over its membrane's time constant."""
    model = ng.NextGenEI(tau_i=np.array([6.0, 8.0, 10.0]))
    assert noises.places(model)[-2:] == ("excitatory", "inhibitory")
    system = ng.Network(model, WEIGHTS, 5.0)
    moved = noises.entering(system, "inhibitory", jnp.ones((6, 3)), 0.3 * jnp.ones(3))
    np.testing.assert_allclose(moved[4], 0.3 / np.array([6.0, 8.0, 10.0]))
    assert not moved[np.array([0, 1, 2, 3, 5])].any()
    with pytest.raises(ValueError, match="inhibitory"):
        ng.Driven(network, {"inhibitry": 0.1})


def test_times_by_region_of_what_regions_share_are_refused_in_batches_too():
    node = ng.Network(ng.MontbrioPazoRoxin(), np.array([[0.0, 1.0], [1.0, 0.0]]), coupling=0.1)
    driven = ng.Driven(node, {"v": noises.OrnsteinUhlenbeck(0.1, 2.0, correlation=0.5)})
    with pytest.raises(ValueError, match="`time` must be one number"):
        ng.simulate_batch(driven, {"v_noise_time": [[1.0, 2.0], [3.0, 4.0]]}, 1.0, dt=0.1)


@pytest.mark.parametrize("how", [{}, {"dt": 0.1}])
def test_white_noise_through_a_sigmoid_is_refused(how):
    """It has no limit for short steps; coloured noise has, and so has small noise's response."""
    node = ng.Network(ng.WilsonCowan(p=0.5), np.array([[0.0, 1.0], [1.0, 0.0]]), coupling=0.1)
    driven = ng.Driven(node, {"input": 0.1})
    with pytest.raises(ValueError, match=r"`noise` must be coloured.*OrnsteinUhlenbeck"):
        ng.simulate(driven, 1.0, **how)
    if how:
        coloured = ng.Driven(node, {"input": noises.OrnsteinUhlenbeck(0.1, 2.0)})
        for work in (
            lambda: ng.simulate(coloured, 1.0, throw=False, **how).status,
            lambda: ng.linear_response(driven, [10.0], throw=False).power,
        ):
            jax.eval_shape(work)  # nothing is raised


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: noises.White(-1.0), "not be negative"),
        (lambda: noises.White(1.0, factor="x"), "`sense`"),
        (lambda: noises.White(1.0, sense="ito"), "without a factor"),
        (lambda: noises.White(1.0, factor="x", sense="itô"), "sense"),
        (lambda: noises.White(1.0, factor=3), "`factor`"),
        (lambda: noises.White(1.0, correlation=2.0), "lie in"),
        (lambda: noises.OrnsteinUhlenbeck(1.0, [1.0, 9.0], correlation=0.5), "one number"),
        (lambda: noises.White(1.0, correlation=np.ones(3)), "region, region"),
        (lambda: noises.White(1.0, correlation=2 * np.eye(3)), "diagonal"),
        (lambda: noises.White(1.0, correlation=2 * np.eye(3) - 1), "eigenvalue"),
        (lambda: noises.OrnsteinUhlenbeck(1.0, 0.0), "`time`"),
        (lambda: leaky(x=noises.White(1.0, factor="y", sense="ito")), "factor"),
        (lambda: leaky(x=noises.White(1.0, factor=lambda s: s, sense="ito")), "return"),
        (lambda: leaky(x=noises.White(1.0, factor=lambda s: np.sin(s[0]), sense="ito")), "jax.n"),
        (lambda: leaky(x=noises.White(1.0, correlation=np.eye(4))), "3 regions"),
        (lambda: leaky(x=noises.OrnsteinUhlenbeck(1.0, np.ones(4))), "time"),
        (lambda: leaky(x=0.1).with_parameters(x_noise_time=2.0), "coloured"),
        (lambda: leaky(y=0.1), "noise"),
    ],
)  # fmt: skip
def test_bad_input(make, words):
    with pytest.raises(ValueError, match=words):
        make()
