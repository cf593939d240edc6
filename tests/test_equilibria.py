"""Equilibria: reference values, folds, exact systems, derivatives, networks."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

import ngnmm_jax as ng
from ngnmm_jax._core.scalar_roots import scalar_roots
from ngnmm_jax.dynamics.many_equilibria import search, search_from
from ngnmm_jax.dynamics.newton import from_starts, newton
from ngnmm_jax.systems.family import Family
from tests.conftest import reference_values

ONE = ng.Connectome([[1.0]])


def homogeneous(model, coupling):
    return ng.Network(model, ONE, coupling).homogeneous()


@pytest.mark.parametrize("k", range(6))
def test_reference(k):
    values = reference_values("homogeneous_and_network.json")["equilibria"][k]
    model = ng.NextGenEI(i_ext_e=values["i_ext_e"])
    rest = ng.find_equilibria(homogeneous(model, values["epsilon"]))
    assert rest.states.shape == (1, 6)
    np.testing.assert_allclose(rest.states[0], values["state"], atol=1e-12)
    assert float(rest.growth[0]) == pytest.approx(values["growth"][0], abs=1e-12)
    assert bool(rest.stable[0]) == (values["growth"][0] < 0)
    assert float(rest.residuals[0]) < 1e-14
    assert float(rest.errors[0]) < 1e-14
    assert rest.status == ng.Status.OK


@pytest.mark.parametrize("epsilon", ["0", "5", "9", "12", "15", "26", "30"])
def test_hopf_points_are_bracketed(epsilon):
    """The leading pair changes sign within 1e-6 (relative) of the published current."""
    for i_ext_e, v_e in reference_values("bifurcations.json")["hopf"][epsilon]:
        signs = []
        for side in (-1, 1):
            model = ng.NextGenEI(i_ext_e=i_ext_e + side * 1e-6 * (1 + i_ext_e))
            rest = ng.find_equilibria(homogeneous(model, float(epsilon)))
            k = int(np.argmin(np.abs(rest.states[:, 1] - v_e)))
            assert float(rest.states[k, 1]) == pytest.approx(v_e, abs=1e-5)
            assert abs(rest.eigenvalues[k, 0].imag) > 0.01
            signs.append(np.sign(float(rest.growth[k])))
        assert signs[0] == -signs[1]


@pytest.mark.parametrize("epsilon", ["26", "30"])
def test_folds_are_bracketed(epsilon):
    """Two equilibria appear within 1e-8 of the published current, and both are found there."""
    for (i_ext_e, v_e), inside in zip(
        reference_values("bifurcations.json")["fold"][epsilon], (-1, 1), strict=True
    ):
        for side, count in ((inside, 3), (-inside, 1)):
            model = ng.NextGenEI(i_ext_e=i_ext_e + side * 1e-8)
            rest = ng.find_equilibria(homogeneous(model, float(epsilon)))
            assert int(rest.count) == count
            if count == 3:
                near = np.sort(np.abs(np.asarray(rest.states[:, 1]) - v_e))[:2]
                assert (near < 1e-3).all()


def test_other_points_against_scipy():
    """A scan in plain NumPy of the two unknowns r_e, r_i, at points of no reference."""
    rng = np.random.default_rng(1)
    for i_ext_e, coupling in zip(rng.uniform(-5, 20, 8), rng.uniform(0, 130, 8), strict=True):
        tau, pi = 8.0, np.pi

        def drive(r_e, i_ext_e=i_ext_e, coupling=coupling):
            v_e = -1 / (2 * pi * tau * r_e)
            free = v_e**2 - 5 - (pi * tau * r_e) ** 2 + i_ext_e
            return (free / tau + (5 + coupling) * r_e) / 13

        def residual(log_r, coupling=coupling, drive=drive):
            r_e = np.exp(log_r)
            r_i = drive(r_e)
            v_i = -1 / (2 * pi * tau * r_i)
            left = v_i**2 - 5 - (pi * tau * r_i) ** 2
            return r_i**2 * (left + tau * ((13 + coupling) * r_e - 5 * r_i))

        grid = np.linspace(np.log(1e-4), np.log(20.0), 40001)
        values = residual(grid)
        roots = []
        for k in np.flatnonzero(np.sign(values[:-1]) != np.sign(values[1:])):
            root = np.exp(brentq(residual, grid[k], grid[k + 1], xtol=1e-15))
            if drive(root) > 0:
                roots.append(root)
        rest = ng.find_equilibria(homogeneous(ng.NextGenEI(i_ext_e=i_ext_e), coupling))
        np.testing.assert_allclose(rest.states[:, 0], np.sort(roots), rtol=1e-8)


def test_reduction_agrees_with_many_starts():
    """Many starts in all six unknowns find what the scalar reduction finds."""

    class Plain(ng.NextGenEI):
        def equilibrium_reduction(self, coupling):
            return None

    for i_ext_e, coupling, count in ((4.65, 26.0, 3), (2.0, 5.0, 1), (15.0, 9.0, 1)):
        fast = ng.find_equilibria(homogeneous(ng.NextGenEI(i_ext_e=i_ext_e), coupling))
        slow = ng.find_equilibria(homogeneous(Plain(i_ext_e=i_ext_e), coupling))
        assert int(fast.count) == int(slow.count) == count
        assert bool(fast.complete)
        assert not bool(slow.complete)
        np.testing.assert_allclose(slow.states, fast.states, atol=1e-9)


def test_many_starts_lead_where_optimistix_leads():
    """The host's dogleg iteration and optimistix' find the same equilibria from the same starts."""
    system = homogeneous(ng.MontbrioPazoRoxin(eta=-5.0, j=15.0), 0.0)
    starts = system.starting_points()
    elsewhere = jax.jit(lambda: from_starts(system.vector_field, starts))()
    away = np.abs(jax.vmap(system.vector_field)(elsewhere)).max(axis=1)
    expected = np.unique(np.round(np.asarray(elsewhere)[away < 1e-8], 6), axis=0)
    found = search_from(system, starts, 8)
    admissible = expected[expected[:, 0] > 0]
    assert int(found.number[0]) == len(admissible) == 3
    np.testing.assert_allclose(found.states[0, :3], admissible, atol=1e-5)


def test_a_population_alone():
    uncoupled = ng.find_equilibria(homogeneous(ng.NextGenEI(j_ei=0.0, j_ee=0.0), 0.0))
    # Without synapses onto it: z² + eta + i delta = 0 for the excitatory population.
    z = 1j * np.sqrt(complex(-5.0, 1.0))
    z = z if z.imag > 0 else -z
    assert float(uncoupled.states[0, 1]) == pytest.approx(z.real, abs=1e-12)
    assert float(uncoupled.states[0, 0]) == pytest.approx(z.imag / (8 * np.pi), abs=1e-12)


# ---------------------------------------------------------------------- Jansen-Rit


def test_jansen_rit_single_column():
    """Grimbert and Faugeras 2006: Hopf points at p = 89.83 and 315.70, a fold at 113.58."""

    def rest(p):
        return ng.find_equilibria(homogeneous(ng.JansenRit(p=p), 0.0))

    for p, before, after in ((89.83, True, False), (315.70, False, True)):
        upper = [bool(rest(q).stable[-1]) for q in (p - 0.01, p + 0.01)]
        assert upper == [before, after]
    assert int(rest(113.57).count) == 3
    assert int(rest(113.60).count) == 1
    assert [bool(s) for s in rest(50.0).stable] == [True, False, True]


@pytest.mark.parametrize("p", [-20.0, 60.0, 230.0, 400.0])
def test_jansen_rit_against_brentq(p):
    def S(v):
        return 5.0 / (1 + np.exp(0.56 * (6.0 - v)))

    def residual(x):
        y0 = 0.0325 * S(x)
        return 0.0325 * (p + 108 * S(135 * y0) + 50 * S(x)) - 0.44 * 33.75 * S(33.75 * y0) - x

    grid = np.linspace(-50, 100, 100001)
    values = residual(grid)
    change = np.flatnonzero(np.sign(values[:-1]) != np.sign(values[1:]))
    roots = [brentq(residual, grid[k], grid[k + 1], xtol=1e-14) for k in change]
    rest = ng.find_equilibria(homogeneous(ng.JansenRit(p=p), 50.0))
    found = np.sort(np.asarray(rest.states[:, 1] - rest.states[:, 2]))
    np.testing.assert_allclose(found, roots, atol=1e-10)


# ---------------------------------------------------------------------- the numerics


@pytest.mark.parametrize("gap", [1e-1, 1e-3, 1e-6])
def test_scalar_roots_finds_pairs_between_grid_points(gap):
    """(u - 0.4321)² = gap²/4, -1.7 and 2.2 as well: pairs far closer than the grid."""
    expected = np.sort([-1.7, 0.4321 - gap / 2, 0.4321 + gap / 2, 2.2])

    def function(u):
        return ((u - 0.4321) ** 2 - gap**2 / 4) * (u + 1.7) * (u - 2.2)

    roots = np.asarray(scalar_roots(function, jnp.array(-3.0), jnp.array(3.0), max_count=6))
    found = np.sort(roots[np.isfinite(roots)])
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_scalar_roots_without_roots():
    roots = scalar_roots(lambda u: u**2 + 1, jnp.array(-3.0), jnp.array(3.0), max_count=4)
    assert not np.isfinite(roots).any()


class Cusp(eqx.Module):
    """x' = mu + x - x³, y' = -2 y: a cusp's normal form at beta = 1."""

    mu: jax.Array
    state_shape: tuple[int, ...] = eqx.field(static=True, default=(2,))

    def vector_field(self, state):
        x, y = state
        return jnp.stack([self.mu + x - x**3, -2 * y])

    def equilibrium_candidates(self, max_count):
        del max_count
        grid = jnp.linspace(-2, 2, 9)
        return from_starts(self.vector_field, jnp.stack([grid, 0 * grid + 0.3], axis=1))

    def admissible(self, state):
        del state
        return jnp.array(True)


@pytest.mark.parametrize("mu", [0.0, 0.2, 0.384, 0.39, -1.0])
def test_exact_system(mu):
    expected = np.roots([-1, 0, 1, mu])
    expected = np.sort(expected[np.abs(expected.imag) < 1e-9].real)
    rest = ng.find_equilibria(Cusp(jnp.array(mu)))
    np.testing.assert_allclose(rest.states[:, 0], expected, atol=1e-10)
    np.testing.assert_allclose(rest.states[:, 1], 0, atol=1e-12)
    growth = np.maximum(1 - 3 * expected**2, -2)
    np.testing.assert_allclose(rest.growth, growth, atol=1e-8)


@pytest.mark.slow
def test_derivatives_through_the_equilibrium():
    def v_e(i_ext_e):
        return ng.find_equilibria(homogeneous(ng.NextGenEI(i_ext_e=i_ext_e), 9.0)).states[0, 1]

    h = 1e-4
    up, here, down = (float(v_e(15.0 + d)) for d in (h, 0.0, -h))
    assert float(jax.grad(v_e)(15.0)) == pytest.approx((up - down) / (2 * h), rel=1e-7)

    def refined(i_ext_e):
        inner = homogeneous(ng.NextGenEI(i_ext_e=i_ext_e), 9.0)
        start = ng.find_equilibria(homogeneous(ng.NextGenEI(i_ext_e=15.0), 9.0)).states[0]
        return newton(inner.vector_field, start)[0][1]

    second = (up - 2 * here + down) / h**2
    assert float(jax.grad(jax.grad(refined))(15.0)) == pytest.approx(second, rel=1e-4)


def test_vmap_pads():
    def search(eta):
        return ng.find_equilibria(homogeneous(ng.MontbrioPazoRoxin(eta=eta, j=15.0), 0.0))

    batch = jax.vmap(search)(jnp.array([-9.0, -5.0]))
    assert batch.states.shape == (2, 8, 2)
    assert [int(n) for n in batch.found.sum(axis=1)] == [1, 3]
    assert np.isnan(batch.states[0, 1:]).all()
    alone = search(-5.0)
    np.testing.assert_allclose(batch.states[1, :3], alone.states, atol=1e-12)
    assert "number     2: 1 … 3" in repr(batch)
    lines = repr(alone).splitlines()
    assert lines[:2] == ["Equilibria: OK", "  number     3"]
    assert lines[3].count(",") == 2  # each equilibrium's growth


def test_heterogeneous_network(small):
    i_ext_e = np.linspace(1.0, 4.0, 12)
    network = ng.Network(ng.NextGenEI(i_ext_e=i_ext_e), small, 5.0)
    rest = ng.find_equilibria(network)
    assert rest.states.shape == (1, 6, 12)
    assert rest.eigenvalues.shape == (1, 72)
    assert float(jnp.abs(network.vector_field(rest.states[0])).max()) < 1e-13
    assert np.ptp(np.asarray(rest.states[0, 1])) > 0.1
    assert not bool(rest.complete)  # others, where regions differ, may exist
    again = ng.find_equilibria(network, start=rest.states * 1.01)
    np.testing.assert_allclose(again.states, rest.states, atol=1e-12)


def test_what_is_refused(small):
    inner = homogeneous(ng.NextGenEI(), 5.0)
    with pytest.raises(ValueError, match="`max_count` must be a positive integer"):
        ng.find_equilibria(inner, max_count=0)
    with pytest.raises(ValueError, match="`start` must have shape"):
        ng.find_equilibria(inner, start=jnp.zeros((3, 5)))
    with pytest.raises(ValueError, match="`start` must be finite"):
        ng.find_equilibria(inner, start=jnp.full((1, 6), jnp.nan))
    with pytest.raises(ValueError, match="`start` must hold a state"):
        ng.find_equilibria(inner, start=jnp.zeros((0, 6)))
    with pytest.raises(ValueError, match="`start` must have shape"):
        ng.find_equilibria(inner, start=1.0)
    with pytest.raises(ValueError, match="differ between regions"):
        ng.Network(ng.NextGenEI(i_ext_e=np.arange(12.0)), small, 1.0).homogeneous()
    with pytest.raises(ValueError, match="equal sums"):
        ng.Network(ng.NextGenEI(), ng.Connectome.synthetic(5), 1.0).homogeneous()


class NoRest(Cusp):
    """x' = 1 + x² has no equilibrium."""

    def vector_field(self, state):
        x, y = state
        return jnp.stack([1 + x**2, -2 * y])


def test_none_found_is_said():
    with pytest.raises(ng.SolverError, match="no equilibrium was found") as caught:
        ng.find_equilibria(NoRest(jnp.array(0.0)))
    assert caught.value.status == ng.Status.NONE_FOUND
    rest = ng.find_equilibria(NoRest(jnp.array(0.0)), throw=False)
    assert int(rest.count) == 0
    assert rest.status == ng.Status.NONE_FOUND


# ---------------------------------------------------------------------- systems of all kinds


class Plain:
    """Not a PyTree: x' = 2 - x, y' = -y."""

    state_shape = (2,)
    time_step = 0.01

    def vector_field(self, state):
        return jnp.stack([2 - state[0], -state[1]])

    def equilibrium_candidates(self, max_count):
        del max_count
        return jnp.zeros((1, 2))

    def admissible(self, state):
        del state
        return jnp.array(True)


class WithFunction(eqx.Module, Plain):
    """The same, with a function and a whole number as fields."""

    slope: object = jnp.negative
    power: int = 1

    def vector_field(self, state):
        y = state[1]
        for _ in range(self.power):
            y = self.slope(y)
        return jnp.stack([2 - state[0], y])


class Three(Plain):
    """x' = x - x³, y' = -y."""

    def vector_field(self, state):
        return jnp.stack([state[0] - state[0] ** 3, -state[1]])

    def equilibrium_candidates(self, max_count):
        del max_count
        return jnp.array([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])


def test_more_than_there_are_places_for_is_said():
    few = ng.find_equilibria(Three(), max_count=2, throw=False)
    np.testing.assert_allclose(few.states[:, 0], [-1, 0], atol=1e-12)
    assert few.status == ng.Status.TRUNCATED
    with pytest.raises(ng.SolverError, match="more equilibria than places"):
        ng.find_equilibria(Three(), max_count=2)


class Ring(eqx.Module, Plain):
    """A rotation, whose equilibrium is degenerate: nothing is certified."""

    scale: jax.Array = eqx.field(default_factory=lambda: jnp.asarray(1.0))

    def vector_field(self, state):
        return self.scale * jnp.stack([-state[1], state[0]]) * (state @ state)


@pytest.mark.parametrize("system", [Plain(), WithFunction()])
def test_any_object_with_a_vector_field(system):
    rest = ng.find_equilibria(system)
    np.testing.assert_allclose(rest.states, [[2.0, 0.0]], atol=1e-12)
    spectrum = ng.lyapunov_spectrum(system, duration=5.0, transient=1.0)
    np.testing.assert_allclose(spectrum.exponents, [-1, -1], atol=1e-6)
    assert ng.find_orbit(system, throw=False).status == ng.Status.NOT_PERIODIC


def test_a_degenerate_equilibrium_is_a_start():
    spectrum = ng.lyapunov_spectrum(Ring(), duration=5.0, transient=1.0)
    assert np.isfinite(spectrum.exponents).all()
    batch = jax.vmap(lambda s: ng.lyapunov_spectrum(Ring(s), duration=5.0, transient=1.0))
    assert np.isfinite(batch(jnp.array([1.0, 2.0])).exponents).all()


def test_a_network_of_another_class_keeps_its_equations(small):
    class Pushed(ng.Network):
        def vector_field(self, state, stimulus=None):
            return super().vector_field(state, stimulus).at[1].add(0.125)

    pushed = Pushed(ng.NextGenEI(i_ext_e=2.0), small, 5.0)
    near = ng.find_equilibria(homogeneous(pushed.model, 5.0)).states
    rest = ng.find_equilibria(pushed, start=np.repeat(near[..., None], 12, axis=2))
    assert float(jnp.abs(pushed.vector_field(rest.states[0])).max()) < 1e-12


def test_a_system_does_not_depend_on_those_beside_it():
    """Also where the others have more branches (j_ii < 0)."""
    j_ii = np.array([5.0, -0.5, 4.0])
    network = ng.Network(ng.NextGenEI(i_ext_e=2.0), ONE, 5.0)
    together = search(Family.of(network).many({"j_ii": j_ii}), 3, 8)
    assert together.found.any(axis=1).all()
    for k, value in enumerate(j_ii):
        alone = ng.find_equilibria(homogeneous(ng.NextGenEI(i_ext_e=2.0, j_ii=value), 5.0))
        n = int(alone.count)
        np.testing.assert_array_equal(together.states[k, :n], alone.states)
        assert not together.found[k, n:].any()


def test_more_may_be_asked_for_than_there_are():
    assert int(ng.find_equilibria(homogeneous(ng.NextGenEI(), 5.0), max_count=300).count) == 1
