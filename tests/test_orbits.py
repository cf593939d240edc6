"""Periodic orbits, Floquet multipliers, dispersion on orbits."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import ngnmm_jax as ng
from ngnmm_jax.dynamics.floquet import multipliers, product, propagators
from ngnmm_jax.models.notation import notation_of
from tests.conftest import reference_values

ONE = ng.Connectome([[1.0]])


def nextgen(i_ext_e, coupling):
    return ng.Network(ng.NextGenEI(i_ext_e=i_ext_e), ONE, coupling).homogeneous()


# ---------------------------------------------------------------------- reference values


@pytest.fixture(scope="module")
def reference():
    return reference_values("homogeneous_and_network.json")


@pytest.mark.parametrize("k", range(5))
def test_reference_orbits(reference, small, k):
    """Period at 1e-8 relative and growth at 1e-7, as asked; reached: 1e-14 and 1e-13."""
    values = reference["orbits"][k]
    network = ng.Network(ng.NextGenEI(i_ext_e=values["i_ext_e"]), small, values["epsilon"])
    orbit = ng.find_orbit(network.homogeneous())
    assert float(orbit.period) == pytest.approx(values["period"], rel=1e-12)
    curve = ng.dispersion(network, orbit, lambdas=reference["lambdas"])
    np.testing.assert_allclose(curve.growth, values["growth"], atol=1e-11)
    low, high = (float(v) for v in orbit.extrema[:, 1])
    assert low == pytest.approx(values["v_e_min_sampled"], abs=2e-3)
    assert low <= values["v_e_min_sampled"] + 1e-6
    assert high == pytest.approx(values["v_e_max_sampled"], abs=2e-2)
    assert high >= values["v_e_max_sampled"] - 1e-6
    # The same from interpolation between nodes, at 90 modes.
    dense = ng.dispersion(network, orbit, lambdas=reference["spectrum"])
    assert float(dense.error) < 1e-11
    nearest = [int(np.argmin(np.abs(dense.lambdas - v))) for v in reference["lambdas"][:7]]
    np.testing.assert_allclose(np.asarray(dense.growth)[nearest], values["growth"][:7], atol=1e-11)


@pytest.mark.parametrize("epsilon", ["0", "5", "9"])
def test_reference_periods(epsilon):
    for i_ext_e, period in reference_values("bifurcations.json")["cycle_period"][epsilon]:
        orbit = ng.find_orbit(nextgen(float(i_ext_e), float(epsilon)))
        assert float(orbit.period) == pytest.approx(period, rel=1e-8)
        assert bool(orbit.stable)


def test_jansen_rit_reference(small):
    values = reference_values("jansen_rit.json")
    network = ng.Network(ng.JansenRit(p=values["p"]), small, values["epsilon"])
    orbit = ng.find_orbit(network.homogeneous())
    assert float(orbit.period) == pytest.approx(values["period_s"], rel=1e-7)
    lambdas = [float(v) for v in values["growth_per_s"]]
    curve = ng.dispersion(network, orbit, lambdas=lambdas)
    np.testing.assert_allclose(curve.growth, list(values["growth_per_s"].values()), atol=1e-8)


# ---------------------------------------------------------------------- other points


@pytest.mark.parametrize(
    ("system", "lam"),
    [
        (nextgen(11.0, 3.0), 0.3),
        (nextgen(9.0, 12.0), -0.4),
        (ng.Network(ng.JansenRit(p=170.0), ONE, 20.0).homogeneous(), 0.6),
    ],
)
def test_against_scipy(system, lam):
    """The orbit closes under DOP853; so does the growth from its variational equations."""
    orbit = ng.find_orbit(system)
    n = 6
    field = jax.jit(lambda x: system.vector_field(x))
    model = system.model

    @jax.jit
    def matrix(x):
        drive = system.coupling * model.output(x)
        a, b = jax.jacfwd(model.vector_field, argnums=(0, 1))(x, drive)
        return a + lam * system.coupling * jnp.outer(b, jax.jacfwd(model.output)(x))

    def joint(t, y):
        x, xi = jnp.array(y[:n]), y[n:].reshape(n, n)
        return np.concatenate([field(x), (np.asarray(matrix(x)) @ xi).ravel()])

    start = np.concatenate([orbit.states[0], np.eye(n).ravel()])
    end = solve_ivp(
        joint, (0, float(orbit.period)), start, method="DOP853", rtol=1e-10, atol=1e-12
    ).y[:, -1]
    scale = np.abs(orbit.samples).max()
    np.testing.assert_allclose(end[:n], orbit.states[0], atol=1e-7 * scale)
    mu = np.abs(np.linalg.eigvals(end[n:].reshape(n, n))).max()
    one = ng.Network(model, ONE, system.coupling)
    growth = float(ng.dispersion(one, orbit, lambdas=[lam]).growth[0])
    assert growth == pytest.approx(np.log(mu) / float(orbit.period), abs=1e-7)


@pytest.fixture(scope="module")
def doubled():
    """Beyond the first period doubling at epsilon = 12, i_ext_e = 9.17866."""
    return ng.find_orbit(nextgen(9.3, 12.0))


def test_period_two(doubled):
    before = ng.find_orbit(nextgen(9.1, 12.0))
    assert float(doubled.period) == pytest.approx(2 * float(before.period), rel=0.06)
    assert bool(doubled.stable)
    assert bool(before.stable)
    # Two different turns: the state half a period later is another one.
    half = doubled.samples.shape[0] // 2
    assert float(jnp.abs(doubled.samples[0] - doubled.samples[half]).max()) > 0.05
    assert np.abs(doubled.log_multipliers).min() < 1e-9
    # What is compiled for one of them is for the other, and of what it makes the names are known.
    assert jax.tree.structure(doubled) == jax.tree.structure(before)
    assert jax.jit(lambda orbit: orbit)(doubled).notation == notation_of(ng.NextGenEI)


def test_unstable_orbit_from_a_guess(doubled):
    """The period-one orbit lives on beyond its doubling, with a multiplier below -1."""
    orbit = ng.find_orbit(nextgen(9.15, 12.0))
    for i_ext_e in (9.2, 9.25, 9.3):
        guess = {"start": orbit.states[0], "period": float(orbit.period)}
        orbit = ng.find_orbit(nextgen(i_ext_e, 12.0), **guess)
    assert float(orbit.period) == pytest.approx(float(doubled.period) / 2, rel=0.05)
    assert not bool(orbit.stable)
    leading = complex(orbit.multipliers[0])
    assert leading.real < -1
    assert abs(leading.imag) < 1e-9


def test_period_doubling_is_bracketed():
    for i_ext_e, period in reference_values("bifurcations.json")["period_doubling"]["12"]:
        side = 1 if i_ext_e > 10 else -1  # where the period-one orbit is stable
        orbit = ng.find_orbit(nextgen(i_ext_e + side * 0.02, 12.0))
        assert float(orbit.period) == pytest.approx(period, rel=3e-3)
        moduli = []
        for shift in (-1e-4, 1e-4):
            near = ng.find_orbit(
                nextgen(i_ext_e + shift, 12.0), start=orbit.states[0], period=float(orbit.period)
            )
            negative = np.asarray(near.phases).real < 0
            moduli.append(float(np.asarray(near.log_multipliers)[negative].max()))
        assert np.sign(moduli[0]) == -np.sign(moduli[1])


# ---------------------------------------------------------------------- exact systems


class StuartLandau(eqx.Module):
    """z' = (mu + i omega) z - (1 + i gamma) |z|² z, and a decaying third variable.

    Orbit: |z| = sqrt(mu), period 2π / (omega - gamma mu); exponents 0, -2 mu and -kappa.
    """

    mu: jax.Array
    omega: jax.Array
    kappa: jax.Array
    gamma: jax.Array
    state_shape: tuple[int, ...] = eqx.field(static=True, default=(3,))
    time_step: float = eqx.field(static=True, default=0.02)

    def vector_field(self, state):
        x, y, w = state
        square = x * x + y * y
        turn = self.omega - self.gamma * square
        radial = self.mu - square
        return jnp.stack([radial * x - turn * y, turn * x + radial * y, -self.kappa * w])

    def equilibrium_candidates(self, max_count):
        del max_count
        return jnp.zeros((1, 3))


def stuart_landau(mu=0.5, omega=2.0, kappa=5.0, gamma=0.3):
    return StuartLandau(*(jnp.asarray(v) for v in (mu, omega, kappa, gamma)))


def test_stuart_landau():
    orbit = ng.find_orbit(stuart_landau())
    assert float(orbit.period) == pytest.approx(2 * np.pi / (2.0 - 0.15), rel=1e-12)
    np.testing.assert_allclose(orbit.exponents, [0, -1.0, -5.0], atol=1e-9)
    np.testing.assert_allclose(orbit.extrema[:, 0], np.sqrt(0.5) * np.array([-1, 1]), atol=1e-9)
    np.testing.assert_allclose(orbit.phases, 1, atol=1e-9)


def test_equilibrium_and_no_return_are_said():
    with pytest.raises(ng.SolverError, match="no periodic orbit") as caught:
        ng.find_orbit(nextgen(2.0, 5.0))
    assert caught.value.status == ng.Status.NOT_PERIODIC
    assert ng.find_orbit(nextgen(10.0, 12.0), throw=False).status == ng.Status.NOT_PERIODIC  # chaos
    far = ng.find_orbit(nextgen(13.0, 5.0), start=jnp.full(6, 9.0), period=0.3, throw=False)
    assert far.status in (ng.Status.NOT_CONVERGED, ng.Status.NOT_PERIODIC)
    assert repr(caught.value.result).startswith("Orbit: NOT_PERIODIC\n  period     nan\n")


@pytest.mark.slow
def test_derivative_of_the_period():
    def period(i_ext_e):
        return ng.find_orbit(nextgen(i_ext_e, 5.0), throw=False).period

    h = 1e-4
    expected = (float(period(13.0 + h)) - float(period(13.0 - h))) / (2 * h)
    assert float(jax.jvp(period, (13.0,), (1.0,))[1]) == pytest.approx(expected, rel=1e-7)
    exact = jax.grad(lambda mu: ng.find_orbit(stuart_landau(mu=mu), throw=False).period)(0.5)
    assert float(exact) == pytest.approx(2 * np.pi * 0.3 / 1.85**2, rel=1e-9)


@pytest.mark.slow
def test_second_derivatives_of_the_period():
    """T = 2π / (ω - γ μ); without `jit`, and inside of it."""

    def period(mu):
        return ng.find_orbit(stuart_landau(mu=mu), throw=False).period

    exact = 4 * np.pi * 0.3**2 / 1.85**3
    assert float(jax.grad(jax.grad(period))(0.5)) == pytest.approx(exact, rel=1e-9)
    near = {"start": jnp.array([jnp.sqrt(0.5), 0.0, 0.0]), "period": 3.4, "steps": 64}

    def nearby(mu):
        return ng.find_orbit(stuart_landau(mu=mu), throw=False, **near).period

    assert float(jax.jit(jax.grad(jax.grad(nearby)))(0.5)) == pytest.approx(exact, rel=1e-9)


@pytest.mark.slow
def test_vmap_over_parameters():
    currents = jnp.array([11.0, 13.0])
    batch = jax.vmap(lambda i: ng.find_orbit(nextgen(i, 5.0), steps=64))(currents)
    assert (np.asarray(batch.status) == ng.Status.OK).all()
    for k, current in enumerate(currents):
        alone = ng.find_orbit(nextgen(float(current), 5.0))
        assert float(batch.period[k]) == pytest.approx(float(alone.period), rel=1e-11)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"start": np.zeros(5)}, "`start` must have shape"),
        ({"start": np.full(6, np.nan)}, "`start` must be finite"),
        ({"period": 10.0}, "`start` must be given with `period`"),
        ({"start": np.zeros(6), "period": -1.0}, "`period` must be positive"),
        ({"transient": 0.0}, "`transient` must be positive"),
    ],
)
def test_what_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        ng.find_orbit(nextgen(13.0, 5.0), **arguments)


# ---------------------------------------------------------------------- multipliers


def test_multipliers_of_a_known_product():
    """Real, complex and strongly contracting ones, far below what a product keeps."""
    rng = np.random.default_rng(0)
    wanted = np.zeros((6, 6))
    wanted[0, 0], wanted[3, 3] = 1.0, -1e-8
    wanted[1:3, 1:3] = 0.3 * np.array([[np.cos(1), -np.sin(1)], [np.sin(1), np.cos(1)]])
    wanted[4, 4], wanted[5, 5] = 1e-20, 1e-35
    moduli = [1.0, 0.3, 0.3, 1e-8, 1e-20, 1e-35]
    # Eight factors: roots of the blocks, in bases that change from one to the next.
    root = np.zeros((6, 6))
    root[0, 0], root[3, 3] = 1.0, 1e-1
    root[4, 4], root[5, 5] = 10**-2.5, 10 ** (-35 / 8)
    angle = 1 / 8
    root[1:3, 1:3] = 0.3 ** (1 / 8) * np.array(
        [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    )
    bases = [np.linalg.qr(rng.normal(size=(6, 6)))[0] for _ in range(8)]
    factors = []
    for k in range(8):
        here = root.copy()
        if k == 3:
            here[3, 3] *= -1
        factors.append(bases[(k + 1) % 8] @ here @ bases[k].T)
    logs, phases, _ = map(np.asarray, jax.jit(multipliers)(jnp.array(factors)))
    np.testing.assert_allclose(logs, np.log(moduli), atol=1e-9)
    np.testing.assert_allclose(np.abs(np.angle(phases[1:3])), 1.0, atol=1e-9)
    np.testing.assert_allclose(phases[[0, 3]], [1, -1], atol=1e-9)


def test_contracting_exponents_are_exact():
    """Liouville: they sum to the mean divergence, the -0.85 per ms one included."""

    @jax.jit
    def divergence(system, states):
        return jax.vmap(lambda x: jnp.trace(jax.jacfwd(system.vector_field)(x)))(states)

    for i_ext_e, coupling in ((13.0, 5.0), (5.0, 5.0)):
        system = nextgen(i_ext_e, coupling)
        orbit = ng.find_orbit(system)
        mean = float(divergence(system, orbit.samples[:-1]).mean())  # the trapezoidal rule
        assert float(orbit.exponents.sum()) == pytest.approx(mean, abs=1e-8)
        finer = ng.find_orbit(system, steps=256)
        np.testing.assert_allclose(orbit.exponents, finer.exponents, atol=1e-8)


def test_propagators_of_a_linear_system():
    matrix = np.array([[-0.1, 2.0], [-1.0, -0.3]])
    starts = np.ones((4, 2)) * np.arange(1.0, 5.0)[:, None]
    field, linearised = lambda x: matrix @ x, lambda x: jnp.stack([matrix, 2j * matrix])
    found = jax.jit(lambda x, dt: propagators(field, linearised, x, dt, steps=10))(starts, 0.05)
    ends, parts, factors, volumes, path, slopes = map(np.asarray, found)
    whole = jax.jit(product)
    assert path.shape == slopes.shape == (4, 10, 2)
    assert factors.shape == (4, 5, 2, 2, 2)
    np.testing.assert_allclose(whole(factors.swapaxes(0, 1)), parts, rtol=1e-13)
    np.testing.assert_allclose(volumes, 0.5 * np.array([[-0.4, -0.8j]] * 4), rtol=1e-13)
    np.testing.assert_array_equal(path[:, 0], starts)
    np.testing.assert_allclose(slopes, path @ matrix.T, rtol=1e-13)
    np.testing.assert_allclose(ends, (parts[:, 0].real @ starts[..., None])[..., 0], rtol=1e-11)
    values, vectors = np.linalg.eig(matrix)
    for k, factor in enumerate((1.0, 2j)):
        exact = vectors @ np.diag(np.exp(2.0 * factor * values)) @ np.linalg.inv(vectors)
        np.testing.assert_allclose(whole(parts)[k], exact, atol=1e-11)


# ---------------------------------------------------------------------- the whole network


@pytest.mark.parametrize("which", ["directed", pytest.param("small", marks=pytest.mark.slow)])
@pytest.mark.parametrize("model", [ng.NextGenEI(i_ext_e=12.0), ng.JansenRit(p=230.0)])
def test_floquet_spectrum_of_the_whole_network(request, which, model):
    """All modes together: the monodromy matrix of the synchronous orbit in 6N dimensions."""
    connectome = request.getfixturevalue(which)
    coupling = 8.0 if isinstance(model, ng.NextGenEI) else 50.0
    network = ng.Network(model, connectome, coupling)
    n = connectome.n_regions
    orbit = ng.find_orbit(network.homogeneous())

    def field(y):
        return network.vector_field(y.reshape(6, n)).ravel()

    starts = jnp.tile(orbit.states[:, :, None], (1, 1, n)).reshape(8, -1)
    sweep = jax.jit(lambda x: propagators(field, jax.jacfwd(field), x, orbit.period / 512, 64))
    parts = np.asarray(sweep(starts).matrices)
    full = np.abs(np.linalg.eigvals(np.linalg.multi_dot(parts[::-1])))
    curve = ng.dispersion(network, orbit)
    assert jnp.iscomplexobj(curve.lambdas) == (which == "directed")
    exponents = np.log(np.sort(full)[::-1]) / float(orbit.period)
    modes = np.sort(np.asarray(curve.eigenvalues.real).ravel())[::-1]
    scale = np.abs(modes[: 2 * n]).max()
    np.testing.assert_allclose(modes[: 2 * n], exponents[: 2 * n], atol=1e-7 * max(1, scale))


@pytest.mark.slow
def test_many_modes_by_interpolation(directed):
    """Complex Λ beyond the number of nodes: circle and interval agree with direct values."""
    network = ng.Network(ng.NextGenEI(i_ext_e=13.0), directed, 5.0)
    orbit = ng.find_orbit(network.homogeneous())
    rng = np.random.default_rng(0)
    for lambdas in (
        rng.uniform(-1, 1, 60),
        rng.uniform(-0.7, 0.7, 60) + 1j * rng.uniform(-0.7, 0.7, 60),
    ):
        dense = ng.dispersion(network, orbit, lambdas=lambdas)
        assert float(dense.error) < 1e-10
        direct = np.concatenate(
            [ng.dispersion(network, orbit, lambdas=part).growth for part in np.split(lambdas, 3)]
        )
        np.testing.assert_allclose(dense.growth, direct, atol=1e-10)


def test_growth_in_a_simulation(small):
    """A small perturbation along an eigenvector grows on the orbit as its exponent says."""
    network = ng.Network(ng.NextGenEI(i_ext_e=12.0), small, 8.0)
    orbit = ng.find_orbit(network.homogeneous())
    curve = ng.dispersion(network, orbit)
    fastest = int(curve.fastest)
    assert float(curve.growth[fastest]) > 0.005
    vector = small.eigenmodes().vectors[:, fastest]
    y0 = orbit.states[0][:, None] + 1e-8 * vector[None]
    period, turns = float(orbit.period), 16
    run = ng.simulate(
        network,
        turns * period,
        start=y0,
        save_every=period,
        integrator=ng.integrators.Adaptive(rtol=1e-11, atol=1e-14),
    )
    size = np.abs((np.asarray(run.states) - orbit.states[0][None, :, None]) @ vector).max(axis=1)
    slope = np.polyfit(np.arange(6, turns + 1), np.log(size[6:]), 1)[0] / period
    assert slope == pytest.approx(float(curve.growth[fastest]), abs=2e-3)


@pytest.mark.slow
def test_gradient_of_growth_on_an_orbit(small):
    network = ng.Network(ng.NextGenEI(i_ext_e=12.0), small, 8.0)
    orbit = ng.find_orbit(network.homogeneous())

    def growth(coupling):
        here = ng.Network(network.model, network.weights, coupling)
        return ng.dispersion(here, orbit, lambdas=[0.5, -0.2], throw=False).growth.sum()

    h = 1e-5
    expected = (float(growth(8.0 + h)) - float(growth(8.0 - h))) / (2 * h)
    assert float(jax.jvp(growth, (8.0,), (1.0,))[1]) == pytest.approx(expected, rel=1e-5)


def test_an_orbit_of_another_system_is_said(small):
    orbit = ng.find_orbit(nextgen(13.0, 5.0))
    quiet = ng.Network(ng.NextGenEI(i_ext_e=-5.0), small, 5.0)
    with pytest.raises(ng.SolverError):
        ng.dispersion(quiet, orbit)
