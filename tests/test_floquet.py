"""Multipliers of any size, Liouville's formula, orbits that are none, time scaled."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ngnmm_jax as ng
from ngnmm_jax.dynamics.floquet import multipliers
from ngnmm_jax.dynamics.orbits import refine
from ngnmm_jax.dynamics.products import product_spectrum

W2 = np.array([[0, 1.0], [1, 0]])


# ---------------------------------------------------------------------- products


def factors_of(logs, count, angle=0.0, seed=0):
    """Factors whose product has these logarithms; the second and third turn by an angle."""
    rng = np.random.default_rng(seed)
    n = len(logs)
    root = np.diag(np.exp(np.array(logs) / count))
    if angle:
        c, s = np.cos(angle / count), np.sin(angle / count)
        root[1:3, 1:3] = root[1, 1] * np.array([[c, -s], [s, c]])
    bases = [np.eye(n) + 0.5 * rng.normal(size=(n, n)) / n for _ in range(count)]
    return np.stack([bases[(k + 1) % count] @ root @ np.linalg.inv(bases[k]) for k in range(count)])


@pytest.mark.parametrize(
    ("logs", "angle"),
    [
        ([0.0, -1.0, -1.0, -20.0, -300.0, -900.0], 1.0),
        ([0.0, -3.0, -3.0, -3.0, -3.0, -3.0], 0.0),
        ([2.0, -40.0, -40.0, -40.001, -40.002, -500.0], 2.5),
        ([-500.0, -800.0, -800.0, -800.0], 3.0),
        ([0.0, -0.5], 0.0),
        ([-7.0], 0.0),
    ],
)
def test_products_keep_what_they_contract(logs, angle):
    """Single ones, pairs, clusters, and products that no double could hold."""
    factors = factors_of(logs, 128, angle)
    found, narrow = product_spectrum(factors)
    assert narrow
    exact = np.sort(logs)[::-1]
    np.testing.assert_allclose(found.real, exact, atol=1e-9 * max(1.0, np.ptp(exact) / 100))
    assert found.real.sum() == pytest.approx(exact.sum(), rel=1e-11, abs=1e-11)
    if angle:
        turned = np.sort(np.abs(np.angle(np.exp(1j * found.imag))))[-2:]
        np.testing.assert_allclose(turned, angle, atol=1e-8)
    in_batch, _ = product_spectrum(np.stack([1j * factors, factors], axis=1))
    np.testing.assert_allclose(in_batch[:, :].real, found.real[None].repeat(2, 0), atol=1e-9)


def test_products_against_determinants():
    """Random factors of integers, whose determinants are exact."""
    rng = np.random.default_rng(3)
    small = rng.integers(-9, 10, size=(40, 5, 5)).astype(float)
    small[:, :, 0] *= 2.0**-10
    logs, _ = product_spectrum(small)
    exact = np.linalg.slogdet(small)[1].sum()
    assert logs.real.sum() == pytest.approx(exact, abs=1e-10)


def test_what_is_not_finite_is_said():
    factors = np.stack([np.eye(3), np.full((3, 3), np.nan)], axis=0)[:, None].repeat(2, 1)
    factors[1, 1] = np.diag([1.0, 2.0, 0.0])
    logs, narrow = product_spectrum(factors)
    assert np.isnan(logs[0]).all()
    assert narrow.tolist() == [False, True]
    np.testing.assert_allclose(logs[1].real, [np.log(2), 0, -np.inf])


def test_a_program_says_where_its_blocks_are_too_small():
    """Under JAX transformations three multipliers of one modulus are not told apart, and said."""
    inside = jax.jit(multipliers)
    _, _, told = inside(jnp.asarray(factors_of([0.0, -1.0, -1.0, -5, -6, -7], 8, 1.0)))
    assert bool(told)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    _, _, told = inside(jnp.asarray(np.stack([turn] * 8)))
    assert not bool(told)


# ---------------------------------------------------------------------- small multipliers


class Timed(eqx.Module):
    """A node whose times are all divided by `fast`, with a step that follows its fastest one."""

    node: eqx.Module
    fast: jax.Array
    step: jax.Array

    @property
    def state_shape(self):
        return self.node.state_shape

    @property
    def time_step(self):
        return self.step / self.fast

    def vector_field(self, state):
        return self.fast * self.node.vector_field(state)

    def equilibrium_candidates(self, max_count):
        return self.node.equilibrium_candidates(max_count)

    def admissible(self, state):
        return self.node.admissible(state)


def timed(coupling, fast=1.0, **parameters):
    model = ng.NextGenEI(**parameters)
    node = ng.Network(model, W2, coupling).homogeneous()
    step = 0.05 * min(1.0, float(model.tau_se), float(model.tau_si) / 5)
    return Timed(node, jnp.asarray(fast), jnp.asarray(step))


@eqx.filter_jit
def divergences(system, states):
    return jax.vmap(lambda x: jnp.trace(jax.jacfwd(system.vector_field)(x)))(states)


def mean_divergence(system, orbit):
    return float(divergences(system, orbit.samples[:-1]).mean())  # the trapezoidal rule


@pytest.fixture(scope="module")
def stiff():
    return {tau: ng.find_orbit(timed(12.0, i_ext_e=9.0, tau_se=tau)) for tau in (0.1, 0.05, 0.01)}


def test_small_multipliers_beside_large(stiff):
    """The period is SciPy's; the last exponent was -15.68 where eight segments were all factors."""
    assert float(stiff[0.1].period) == pytest.approx(17.42, abs=5e-3)
    for tau, last, total in ((0.05, -19.98, -21.693), (0.1, -9.967, -11.623)):
        orbit = stiff[tau]
        assert float(orbit.exponents[-1]) == pytest.approx(last, abs=5e-3)
        assert float(orbit.exponents.sum()) == pytest.approx(total, abs=1e-3)


@pytest.mark.parametrize("tau", [0.1, 0.05, 0.01])
def test_liouville(stiff, tau):
    orbit = stiff[tau]
    assert orbit.status == ng.Status.OK
    assert float(orbit.error) < 1e-9
    exact = mean_divergence(timed(12.0, i_ext_e=9.0, tau_se=tau), orbit)
    assert float(orbit.exponents.sum()) == pytest.approx(exact, rel=1e-9)


def test_modes_on_a_stiff_orbit(stiff):
    """Each mode obeys Liouville's formula: its trace is the node's, whatever Λ, as cᵀb = 0."""
    orbit = stiff[0.05]
    network = ng.Network(ng.NextGenEI(i_ext_e=9.0, tau_se=0.05), W2, 12.0)
    curve = ng.dispersion(network, orbit, lambdas=np.linspace(-1, 1, 30))
    assert curve.status == ng.Status.OK
    assert float(curve.error) < 1e-9
    exact = mean_divergence(timed(12.0, i_ext_e=9.0, tau_se=0.05), orbit)
    np.testing.assert_allclose(curve.eigenvalues.real.sum(axis=1), exact, rtol=1e-9)
    np.testing.assert_allclose(curve.eigenvalues[-1].real, orbit.exponents, atol=1e-8)


def test_neutral_modes_do_not_grow():
    """Without coupling every mode is neutral on an orbit, to rounding."""
    alone = ng.Network(ng.NextGenEI(i_ext_e=13.0), W2, 0.0)
    orbit = ng.find_orbit(timed(0.0, i_ext_e=13.0))
    curve = ng.dispersion(alone, orbit, lambdas=np.linspace(-1, 1, 30))
    assert np.abs(curve.growth).max() < 1e-10
    assert int(curve.number_growing) == 0


def test_steps_that_are_too_long_are_told():
    """64 steps of 0.27 are beyond what order eight can follow at a rate of 20."""
    rough = timed(12.0, i_ext_e=9.0, tau_se=0.05)
    orbit = ng.find_orbit(rough, steps=64, throw=False)
    assert orbit.status != ng.Status.OK
    assert not bool(orbit.stable)


@pytest.mark.parametrize("fast", [0.25, 4.0, 16.0])
def test_times_scaled(fast):
    """Powers of two: the same bits, in other units of time."""
    one, other = (ng.find_orbit(timed(5.0, fast=f, i_ext_e=13.0)) for f in (1.0, fast))
    np.testing.assert_array_equal(one.states, other.states)
    assert float(one.period) == fast * float(other.period)
    np.testing.assert_array_equal(one.log_multipliers, other.log_multipliers)


# ---------------------------------------------------------------------- orbits that are none


class Spiral(eqx.Module):
    """r' = mu r - r³, turning at 2, around `centre`."""

    mu: jax.Array
    centre: jax.Array
    state_shape: tuple[int, ...] = eqx.field(static=True, default=(2,))
    time_step: float = eqx.field(static=True, default=0.02)

    def vector_field(self, state):
        x, y = state - self.centre
        radial = self.mu - x * x - y * y
        return jnp.stack([radial * x - 2 * y, 2 * x + radial * y])

    def equilibrium_candidates(self, max_count):
        del max_count
        return jnp.zeros((1, 2)) + self.centre


def from_radius(mu, radius, centre, **options):
    system = Spiral(jnp.asarray(mu), jnp.asarray(centre))
    guess = np.array([centre + radius, centre])
    return ng.find_orbit(system, start=guess, throw=False, **options)


@pytest.mark.parametrize("centre", [0.0, 1.0])
@pytest.mark.parametrize(("mu", "radius"), [(-1e-5, 0.01), (0.0, 0.3), (-1e-9, 1e-3), (-1e-3, 0.1)])
def test_decaying_spirals_are_no_orbits(mu, radius, centre):
    orbit = from_radius(mu, radius, centre)
    assert orbit.status == ng.Status.NOT_PERIODIC
    assert not bool(orbit.stable)
    guessed = from_radius(mu, radius, centre, period=np.pi)
    assert guessed.status != ng.Status.OK
    assert not bool(guessed.stable)


@pytest.mark.parametrize(
    ("mu", "radius", "centre"),
    [(1e-5, 3e-3, 0.0), (1e-5, 3e-3, 1.0), (1e-5, 0.02, 0.0), (1e-9, 4e-5, 0.0)],
)
def test_small_orbits_are_orbits(mu, radius, centre):
    orbit = from_radius(mu, radius, centre)
    assert orbit.status == ng.Status.OK
    assert bool(orbit.stable)
    reach = np.abs(np.asarray(orbit.extrema) - centre).max()
    assert reach == pytest.approx(np.sqrt(mu), rel=1e-6)
    assert float(orbit.log_multipliers[1]) == pytest.approx(-2 * mu * np.pi, rel=1e-5)


class Growing(Spiral):
    """r' = mu r + r³ - r⁵: an unstable orbit around the equilibrium, a stable one outside."""

    def vector_field(self, state):
        x, y = state - self.centre
        square = x * x + y * y
        radial = self.mu + square - square**2
        return jnp.stack([radial * x - 2 * y, 2 * x + radial * y])


def test_an_unstable_orbit_is_none_that_a_run_settles_on():
    """A run that creeps away from it nearly returns; with a period it is what was asked for."""
    system = Growing(jnp.asarray(-1e-4), jnp.asarray(0.0))
    edge = np.sqrt((1 - np.sqrt(1 - 4e-4)) / 2)
    start = np.array([edge * (1 + 1e-9), 0.0])
    short = {"transient": 20.0, "window": 40.0}
    orbit = ng.find_orbit(system, start=start, throw=False, **short)
    assert orbit.status == ng.Status.NOT_PERIODIC
    assert not bool(orbit.stable)
    settled = ng.find_orbit(system, start=start * 1.01)
    assert float(settled.extrema.max()) > 0.9
    asked = ng.find_orbit(system, start=start, period=np.pi)
    assert asked.status == ng.Status.OK
    assert not bool(asked.stable)
    assert float(asked.extrema.max()) == pytest.approx(edge, rel=1e-8)


def test_stable_only_where_it_is_known():
    orbit = ng.find_orbit(timed(5.0, i_ext_e=13.0))
    assert bool(orbit.stable)
    for status in (ng.Status.NOT_PERIODIC, ng.Status.NOT_CONVERGED):
        unsure = eqx.tree_at(lambda o: o.status, orbit, jnp.asarray(status))
        assert not bool(unsure.stable)
    none = eqx.tree_at(lambda o: o.status, orbit, jnp.asarray(ng.Status.NOT_PERIODIC))
    assert refine(timed(5.0, i_ext_e=13.0), none).status == ng.Status.NOT_PERIODIC
