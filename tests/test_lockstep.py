"""Attractors in lock-step: returns, meshes, orbits, against exact systems and `find_orbit`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ngnmm_jax as ng
from ngnmm_jax.dynamics.lockstep.meshes import adaptive_mesh, over_mesh
from ngnmm_jax.dynamics.lockstep.runs import Steps, least_return, settle
from ngnmm_jax.dynamics.lockstep.shooting import shoot
from ngnmm_jax.stability.attractors import Guesses, refined
from ngnmm_jax.systems.family import Family
from ngnmm_jax.systems.homogeneous import Homogeneous


def steps(runs):
    """Steps of 0.05 for so many runs."""
    return Steps(jnp.full(runs, 0.05), jnp.ones(runs))


def stuart_landau(mu):
    """z' = (mu + 2i) z - |z|² z: period π, multiplier exp(-2 mu π), for mu of each run."""

    def field(x):
        a, b = x
        r = a * a + b * b
        return jnp.stack([mu * a - 2 * b - r * a, mu * b + 2 * a - r * b])

    def variational(pair):
        x, xi = pair
        dx, push = jax.linearize(field, x)
        return dx, jax.vmap(push, in_axes=1, out_axes=1)(xi)

    return field, variational


def test_stuart_landau():
    mu = jnp.array([0.05, 0.3, 1.0])
    field, variational = stuart_landau(mu)
    guess = jnp.stack([1.1 * jnp.sqrt(mu), 0.1 * mu])
    cycle = shoot(field, variational, guess, jnp.array([3.0, 3.2, 3.3]), steps(3))
    assert cycle.converged.all()
    np.testing.assert_allclose(cycle.period, np.pi, rtol=1e-6)
    np.testing.assert_allclose((cycle.state**2).sum(axis=0), mu, rtol=1e-6)
    np.testing.assert_allclose(cycle.high[0], np.sqrt(mu), rtol=0.02)
    values = np.sort(np.linalg.eigvals(np.moveaxis(cycle.monodromy, -1, 0)).real, axis=1)
    np.testing.assert_allclose(values[:, 1], 1, atol=1e-6)
    np.testing.assert_allclose(values[:, 0], np.exp(-2 * np.pi * mu), atol=1e-6)


def test_several_turns_are_led_back():
    field, variational = stuart_landau(jnp.array([0.3, 0.3, 0.3]))
    guess = jnp.tile(jnp.sqrt(jnp.array([[0.3], [0.0]])), (1, 3))
    periods = np.pi * jnp.array([1.0, 3.0, 8.0]) + 0.01
    cycle = shoot(field, variational, guess, periods, steps(3))
    assert cycle.turns.tolist() == [1, 3, 8]
    np.testing.assert_allclose(cycle.period, np.pi, rtol=1e-6)


def test_a_spiral_is_no_orbit():
    """A slowly decaying linear oscillation returns nearly, and is not taken for periodic."""

    def field(x):
        return jnp.stack([-1e-4 * x[0] - x[1], x[0] - 1e-4 * x[1]])

    def variational(pair):
        return field(pair[0]), jnp.stack(
            [-1e-4 * pair[1][0] - pair[1][1], pair[1][0] - 1e-4 * pair[1][1]]
        )

    guess = jnp.array([[1.0], [0.0]])
    cycle = shoot(field, variational, guess, jnp.array([6.28]), steps(1))
    assert not cycle.converged.any()


def test_mesh_follows_each_run_alone():
    """The same steps whatever runs beside it; order four on it; short steps in spikes."""
    field, _ = stuart_landau(jnp.array([0.3, 1.0]))
    start = jnp.array([[0.1, 0.2], [0.0, 0.1]])
    duration = jnp.array([5.0, 20.0])
    mesh = adaptive_mesh(field, start, duration, steps(2))
    assert mesh.reached.all()
    np.testing.assert_allclose(mesh.steps.sum(axis=0), 1, rtol=1e-13)
    alone = adaptive_mesh(stuart_landau(jnp.array([1.0]))[0], start[:, 1:], duration[1:], steps(1))
    assert int(alone.number[0]) == int(mesh.number[1])
    np.testing.assert_allclose(alone.steps[:, 0], mesh.steps[:, 1], rtol=1e-5)  # but rounding
    end = over_mesh(field, start, duration, mesh)
    z = 0.1 * np.exp(0.3 * 5.0) / np.sqrt(1 + 0.01 / 0.3 * np.expm1(2 * 0.3 * 5.0))
    np.testing.assert_allclose(end[:, 0], [z * np.cos(10.0), z * np.sin(10.0)], atol=1e-6)


def test_mesh_that_does_not_reach_is_said():
    def field(x):
        return x * x  # infinite at t = 1

    mesh = adaptive_mesh(field, jnp.ones((1, 1)), jnp.array([2.0]), steps(1))
    assert not mesh.reached.any()


def test_least_return():
    """Of sums of sines: period one, period two (half a turn is not as near), none, and rest."""
    golden = (np.sqrt(5) - 1) / 2
    slow = jnp.array([0.0, 0.5, golden, 0.0])  # frequency and amplitude of the second sine
    size = jnp.array([0.0, 0.3, 0.5, 0.0])
    turning = jnp.array([1.0, 1.0, 1.0, 0.0])

    def at(t):
        waves = [jnp.cos(turning * t), jnp.sin(turning * t)]
        return jnp.stack([*waves, size * jnp.cos(slow * t), size * jnp.sin(slow * t)])

    t = jnp.arange(0, 40, 0.05)
    path = jax.jit(jax.vmap(at))(t)

    def slope(x):
        when = t[jnp.argmin(jnp.abs(path - x).max(axis=1), axis=0)]
        return jax.jvp(at, (when,), (jnp.ones(4),))[1]

    back = jax.jit(lambda path: least_return(slope, path, jnp.full(4, 0.05), 1e-3))(path)
    np.testing.assert_allclose(back.period[:2], [2 * np.pi, 4 * np.pi], rtol=1e-4)
    assert (np.asarray(back.gap[:2]) < 1e-3).all()
    assert float(back.gap[2]) > 1e-2
    assert back.still.tolist() == [False, False, False, True]


def test_settle_is_rk4():
    field, _ = stuart_landau(jnp.array([0.3]))
    start = jnp.array([[0.1], [0.0]])
    end, path = settle(field, start, steps(1), transient=10, samples=15, stride=4)
    assert path.shape == (15, 2, 1)
    np.testing.assert_array_equal(path[-1], end)
    z = 0.1 * np.exp(0.3 * 5.0) / np.sqrt(1 + 0.01 / 0.3 * np.expm1(2 * 0.3 * 5.0))
    np.testing.assert_allclose(end[:, 0], [z * np.cos(10.0), z * np.sin(10.0)], atol=1e-5)


@pytest.mark.parametrize("point", [(13.0, 5.0), (9.3, 12.0), (6.0, 20.0), (2.2, 25.5)])
def test_orbits_of_the_model(point):
    """Periods at 2e-6 and multipliers at 1e-4 of those refined to rounding: fast spikes too."""
    i_ext_e, coupling = point
    model = ng.NextGenEI(i_ext_e=i_ext_e)
    exact = ng.find_orbit(Homogeneous(model, jnp.asarray(coupling)), steps=256)
    guesses = Guesses(
        point={"i_ext_e": np.array([i_ext_e])},
        state=np.asarray(exact.states[3])[None] * 1.001,
        period=np.asarray(exact.period)[None] * 1.001,
        iterations=np.array([4]),
    )
    family = Family(Homogeneous(ng.NextGenEI(), jnp.asarray(coupling)))
    cycle, converged = jax.jit(refined)(family, guesses)
    assert converged.all()
    assert int(cycle.turns[0]) == 1
    assert float(cycle.period[0]) == pytest.approx(float(exact.period), rel=2e-6)
    mu = np.linalg.eigvals(cycle.monodromy[0])
    two = np.sort(np.abs(mu))[::-1][:2]
    np.testing.assert_allclose(two, np.abs(np.asarray(exact.multipliers))[:2], atol=1e-4)
