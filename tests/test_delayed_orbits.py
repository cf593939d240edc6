"""Orbits of systems with one delay: exact rotating waves, published equations, invariances."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

import ngnmm_jax as ng
from ngnmm_jax.dynamics.delayed.collocation import collocate
from ngnmm_jax.dynamics.delayed.monodromy import leading
from ngnmm_jax.dynamics.delayed.orbits import path_of
from ngnmm_jax.dynamics.delayed.pieces import evaluate, slopes
from ngnmm_jax.dynamics.orbits import refine


class One(eqx.Module):
    """A system of one variable or more, one channel and one delay."""

    delay: jax.Array
    gain: jax.Array = eqx.field(converter=jnp.asarray, default=1.0)
    time_step: float = eqx.field(static=True, default=0.01)
    state_shape: tuple[int, ...] = eqx.field(static=True, default=(1,))

    def sent(self, state):
        return state

    def undelayed(self):
        raise NotImplementedError

    def vector_field(self, state):
        raise NotImplementedError


class StuartLandau(One):
    """z' = (λ + iω) z - (1 + ig) |z|² z + gain exp(iψ) z(t - τ), whose waves R exp(iΩt) are exact.

    Ω = ω - g R² + gain sin(ψ - Ωτ), R² = λ + gain cos(ψ - Ωτ).
    """

    growth: jax.Array = eqx.field(converter=jnp.asarray, default=1.0)
    omega: float = 2.0
    bend: float = 0.5
    turn: float = 0.4
    state_shape: tuple[int, ...] = eqx.field(static=True, default=(2,))

    def slope(self, state, arriving):
        x, y = state
        size = x**2 + y**2
        c, s = jnp.cos(self.turn), jnp.sin(self.turn)
        a, b = arriving
        return jnp.stack(
            [
                self.growth * x - self.omega * y - size * (x - self.bend * y) + c * a - s * b,
                self.growth * y + self.omega * x - size * (y + self.bend * x) + s * a + c * b,
            ]
        )

    def wave(self):
        """R and Ω."""
        tau, gain = float(self.delay), float(self.gain)

        def square(turning):
            return float(self.growth) + gain * np.cos(self.turn - turning * tau)

        def gap(turning):
            own = self.omega - self.bend * square(turning)
            return own + gain * np.sin(self.turn - turning * tau) - turning

        turning = brentq(gap, 0.5, 3.0, xtol=1e-15)
        return np.sqrt(square(turning)), turning

    def miss(self, exponent, strength):
        """The characteristic function, of a perturbation in the frame that turns with the wave."""
        size, turning = self.wave()
        tau, square = float(self.delay), size**2

        def matrix(z):
            return np.array([[z.real, -z.imag], [z.imag, z.real]])

        own = float(self.growth) + 1j * (self.omega - turning) - 2 * (1 + 1j * self.bend) * square
        here = matrix(own) - matrix((1 + 1j * self.bend) * square) @ np.diag([1, -1])
        past = strength * matrix(np.exp(1j * (self.turn - turning * tau)))
        whole = here + past * np.exp(-exponent * tau) - exponent * np.eye(2)
        scale = np.abs(whole).max() ** 2
        return abs(np.linalg.det(whole)) / scale


@pytest.fixture(scope="module")
def wave():
    system = StuartLandau(jnp.asarray(1.7), 0.3)
    return system, ng.find_orbit(system, start=np.array([0.3, 0.1]), transient=60.0)


def test_a_rotating_wave(wave):
    system, orbit = wave
    size, turning = system.wave()
    assert orbit.ok
    assert float(orbit.period) == pytest.approx(2 * np.pi / turning, rel=1e-12)
    np.testing.assert_allclose(np.hypot(*orbit.samples.T), size, rtol=1e-12)
    np.testing.assert_allclose(np.hypot(*orbit.states.T), size, rtol=1e-12)
    np.testing.assert_allclose(orbit.extrema, [[-size] * 2, [size] * 2], rtol=1e-6)
    assert float(orbit.error) < 1e-9
    assert abs(complex(orbit.multipliers[orbit.neutral]) - 1) < 1e-11


def test_its_perturbations_of_any_strength(wave):
    """Roots of the characteristic equation, to multiples of iΩ."""
    system, orbit = wave
    strengths = np.array([0.3, 0.15, -0.2, 0.1 + 0.2j])
    found = leading(system, path_of(orbit), orbit.period, strengths, 4)
    turning = system.wave()[1]
    for strength, logs in zip(strengths, found.logs, strict=True):
        exponents = logs / float(orbit.period)
        if np.iscomplexobj(strength) and strength.imag:
            continue  # the frame's matrices are real: checked by the mode's conjugate below
        for value in exponents:
            misses = [system.miss(value + 1j * k * turning, strength.real) for k in range(-4, 5)]
            assert min(misses) < 1e-9
    conjugate = leading(system, path_of(orbit), orbit.period, strengths.conj(), 4)
    np.testing.assert_allclose(
        np.sort(found.logs[3].real), np.sort(conjugate.logs[3].real), atol=1e-9
    )
    assert np.nanmax(found.errors) < 1e-8


@pytest.mark.slow
def test_a_delay_and_a_period_more_is_the_same_orbit(wave):
    """What arrives is the same; multipliers are not."""
    system, orbit = wave
    later = eqx.tree_at(lambda s: s.delay, system, system.delay + orbit.period)
    again = refine(later, orbit)
    assert float(again.period) == pytest.approx(float(orbit.period), rel=1e-12)
    np.testing.assert_allclose(again.samples, orbit.samples, atol=1e-11)
    assert abs(complex(again.multipliers[again.neutral]) - 1) < 1e-9
    assert abs(float(again.exponents[1] - orbit.exponents[1])) > 1e-3


@pytest.mark.slow
def test_derivatives_of_period_and_exponents(wave):
    system, orbit = wave

    def period(delay):
        return 2 * np.pi / StuartLandau(jnp.asarray(delay), 0.3).wave()[1]

    def found(delay):
        near = refine(eqx.tree_at(lambda s: s.delay, system, delay), orbit)
        return near.period, near.exponents[1]

    h = 1e-4
    slope, slower = jax.jit(jax.jacrev(found))(system.delay)
    expected = (period(1.7 + h) - period(1.7 - h)) / (2 * h)
    assert float(slope) == pytest.approx(expected, rel=1e-6)
    value = jax.jit(found)
    ends = [float(value(system.delay + s)[1]) for s in (-h, h)]
    assert float(slower) == pytest.approx((ends[1] - ends[0]) / (2 * h), rel=1e-5)


@pytest.mark.slow
def test_second_derivative_of_the_period(wave):
    system, orbit = wave

    def found(delay):
        near = eqx.tree_at(lambda s: s.delay, system, delay)
        return collocate(near, path_of(orbit), orbit.period).period

    def period(delay):
        return 2 * np.pi / StuartLandau(jnp.asarray(delay), 0.3).wave()[1]

    h = 1e-3
    bend = float(jax.jit(jax.grad(jax.grad(found)))(system.delay))
    curve = (period(1.7 + h) - 2 * period(1.7) + period(1.7 - h)) / h**2
    assert bend == pytest.approx(curve, rel=1e-4)


class Hutchinson(One):
    """x' = -a x(t - 1) (1 + x): Wright's equation."""

    rate: float = np.pi / 2 + 0.1

    def slope(self, state, arriving):
        return -self.rate * arriving * (1 + state)


class MackeyGlass(One):
    """x' = 0.2 x(t - τ) / (1 + x(t - τ)^10) - 0.1 x (Mackey and Glass, Science 197, 287, 1977)."""

    def slope(self, state, arriving):
        return 0.2 * arriving / (1 + arriving**10) - 0.1 * state


@pytest.mark.slow
def test_wrights_equation():
    """Near its Hopf point, by the expansion of small oscillations: with the rate π/2 + μ,
    x ≈ A cos(π t / 2), A² = 40 μ / (3 π - 2), and the period is 4 to order μ.
    """
    mus = np.array([0.004, 0.008])
    sizes, periods = [], []
    for mu in mus:
        system = Hutchinson(jnp.asarray(1.0), rate=np.pi / 2 + mu)
        at = np.linspace(0, 1, 64, endpoint=False)
        guess = np.sqrt(40 * mu / (3 * np.pi - 2)) * np.cos(2 * np.pi * at)[:, None]
        orbit = ng.find_orbit(system, start=guess, period=4.0)
        assert orbit.ok
        assert orbit.stable
        sizes.append(float(orbit.extrema[1, 0] - orbit.extrema[0, 0]) / 2)
        periods.append(float(orbit.period))
    expected = np.sqrt(40 * mus / (3 * np.pi - 2))
    assert abs(sizes[0] / expected[0] - 1) < 0.02
    np.testing.assert_allclose((periods[1] - 4) / (periods[0] - 4), 2, rtol=0.02)


def integrated(system, orbit):
    """After a period: SciPy's solver, step by step of the delay, from the orbit's past."""
    path, period, delay = path_of(orbit), float(orbit.period), float(system.delay)
    at = jax.jit(lambda t: evaluate(path, jnp.atleast_1d(t / period))[0])
    before, x, t = at, np.asarray(at(0.0)), 0.0
    slope = eqx.filter_jit(system.slope)
    while t < period:
        stop = min(t + delay, period)
        solution = solve_ivp(
            lambda s, x, before=before: np.asarray(slope(x, system.gain * before(s - delay))),
            (t, stop), x, rtol=1e-11, atol=1e-12, dense_output=True,
        )  # fmt: skip
        before, x, t = solution.sol, solution.y[:, -1], stop
    return x


@pytest.mark.slow
def test_mackey_glass_before_chaos():
    """A cycle at τ = 12, of twice the turns at 15 (Farmer 1982: doublings from τ = 13.3 on)."""
    periods = []
    for tau in (12.0, 15.0):
        system = MackeyGlass(jnp.asarray(tau), time_step=0.05)
        orbit = ng.find_orbit(system, start=np.array([1.2]), transient=4000.0)
        assert orbit.ok
        assert orbit.stable
        end = integrated(system, orbit)
        np.testing.assert_allclose(end, np.asarray(orbit.samples[0]), atol=2e-8)
        periods.append(float(orbit.period))
    assert 2 * periods[0] < periods[1] < 2.5 * periods[0]


def test_what_settles_at_rest_or_is_no_guess():
    system = StuartLandau(jnp.asarray(0.5), 0.3, growth=-1.0)
    rest = ng.find_orbit(system, start=np.array([0.3, 0.1]), transient=60.0, throw=False)
    assert rest.status == ng.Status.NOT_PERIODIC
    with pytest.raises(ValueError, match="at equal steps over the period"):
        ng.find_orbit(system, start=np.array([0.3, 0.1]), period=4.0)


def test_pieces_keep_what_they_are_of(wave):
    """Their derivatives, and a function on other pieces."""
    _, orbit = wave
    path = path_of(orbit)
    at = np.array([0.0, 0.113, 0.77, 1.0, 1.3, -0.2])
    both = jax.jit(lambda at: (evaluate(path, at), slopes(path)))
    turn, rise = map(np.asarray, both(at))
    np.testing.assert_allclose(turn[0], turn[3], atol=1e-12)
    x, y = turn[0]
    phase = np.arctan2(y, x) + 2 * np.pi * at
    np.testing.assert_allclose(turn[:, 0], np.hypot(x, y) * np.cos(phase), atol=1e-11)
    np.testing.assert_allclose(
        rise[..., 0], -2 * np.pi * np.asarray(path.values)[..., 1], atol=1e-8
    )
