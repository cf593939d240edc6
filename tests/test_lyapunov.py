"""Lyapunov spectra: exact systems, published ones, the reference, equilibria, orbits, networks."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

import ngnmm_jax as ng
from ngnmm_jax.integrators.runge_kutta import RK4
from tests.conftest import reference_values

ONE = ng.Connectome([[1.0]])


class Flow(eqx.Module):
    """A vector field with its time step."""

    function: object = eqx.field(static=True)
    state_shape: tuple = eqx.field(static=True)
    time_step: float = eqx.field(static=True)
    parameter: jax.Array = eqx.field(default_factory=lambda: jnp.asarray(0.0))

    def vector_field(self, x):
        return self.function(x, self.parameter)


def nextgen(i_ext_e, coupling):
    return ng.Network(ng.NextGenEI(i_ext_e=i_ext_e), ONE, coupling).homogeneous()


def lorenz(x, _):
    a, b, c = x
    return jnp.stack([10 * (b - a), 28 * a - b - a * c, a * b - 8 / 3 * c])


def roessler(x, _):
    a, b, c = x
    return jnp.stack([-b - c, a + 0.2 * b, 0.2 + c * (a - 5.7)])


def test_linear_system():
    """The real parts of the eigenvalues, a complex pair among them, exactly."""
    matrix = jnp.array([[-0.1, 1.0, 0.3], [-1.0, -0.1, 0.0], [0.0, 0.0, -0.7]])
    system = Flow(lambda x, _: matrix @ x, (3,), 0.01)
    result = ng.lyapunov_spectrum(system, start=[1.0, 0.5, 0.2], duration=500.0, transient=200.0)
    np.testing.assert_allclose(result.exponents, [-0.1, -0.1, -0.7], atol=3e-3)
    assert float(result.exponents.sum()) == pytest.approx(-0.9, abs=1e-9)
    assert int(result.number_positive) == 0
    assert float(result.kaplan_yorke) == 0


def test_lorenz():
    """0.906, 0, -14.57: Sprott, Chaos and Time-Series Analysis (2003)."""
    system = Flow(lorenz, (3,), 0.005)
    result = ng.lyapunov_spectrum(system, start=[1.0, 1.0, 20.0], duration=2000.0, transient=50.0)
    errors = np.asarray(result.errors)
    np.testing.assert_array_less(np.abs(result.exponents - np.array([0.906, 0, -14.572])), 0.02)
    assert errors[0] < 0.01
    assert int(result.number_positive) == 1
    assert float(result.kaplan_yorke) == pytest.approx(2.062, abs=0.003)
    assert float(result.entropy_bound) == pytest.approx(0.906, abs=0.02)
    assert float(result.exponents.sum()) == pytest.approx(-(10 + 1 + 8 / 3), abs=1e-5)
    np.testing.assert_allclose(result.running[-1], result.exponents, rtol=1e-12)


def test_roessler():
    """0.0714, 0, -5.394: Sprott (2003)."""
    system = Flow(roessler, (3,), 0.02)
    result = ng.lyapunov_spectrum(system, start=[1.0, 1.0, 0.0], duration=5000.0, transient=200.0)
    np.testing.assert_allclose(result.exponents, [0.0714, 0, -5.394], atol=0.01)


@pytest.mark.parametrize("k", range(3))
def test_reference(k):
    """Within the reference's error and ours."""
    values = reference_values("lyapunov.json")["homogeneous"][k]
    system = nextgen(float(values["i_ext_e"]), float(values["epsilon"]))
    result = ng.lyapunov_spectrum(system, duration=6000.0, transient=2000.0)
    tolerance = 4 * np.asarray(result.errors) + 1e-3
    np.testing.assert_array_less(
        np.abs(result.exponents - np.array(values["exponents"])), tolerance
    )


def test_torus():
    """Two Stuart-Landau oscillators of unrelated frequencies: 0, 0, -2, -2."""

    def field(x, _):
        a, b = x.reshape(2, 2)  # real and imaginary parts
        turn, growth = np.sqrt([1.0, 2.0]), 1 - a**2 - b**2
        return jnp.concatenate([growth * a - turn * b, growth * b + turn * a])

    system = Flow(field, (4,), 0.02)
    result = ng.lyapunov_spectrum(
        system, start=[0.5, 0.1, 0.3, 0.2], duration=2000.0, transient=500.0
    )
    np.testing.assert_allclose(result.exponents, [0, 0, -2, -2], atol=2e-3)
    assert int(result.number_positive) == 0
    assert float(result.kaplan_yorke) == pytest.approx(2, abs=1e-2)


def test_errors_are_those_of_repeated_runs():
    """Of the leading exponent in chaos: within a factor of two of the scatter of 20 starts."""
    spectra = [
        ng.lyapunov_spectrum(nextgen(10.6, 11.5), 2, seed=k, duration=3000.0, transient=1000.0)
        for k in range(20)
    ]
    scatter = np.std([float(s.exponents[0]) for s in spectra])
    typical = np.median([float(s.errors[0]) for s in spectra])
    assert 0.5 < typical / scatter < 2


def test_sum_is_the_divergence():
    """Of all exponents, along the very same trajectory, in chaos: at 1e-6."""
    system = nextgen(10.0, 12.0)
    start = ng.lyapunov_spectrum(system, duration=20.0, transient=500.0).state
    options = {"duration": 1000.0, "transient": 1.0, "dt": 0.025}
    result = ng.lyapunov_spectrum(system, start=start, **options)

    def step(x, _):
        return RK4().step(system.vector_field, x, 0.025), x

    def divergence(x):
        return jnp.trace(jax.jacfwd(system.vector_field)(x))

    @jax.jit
    def run(start):
        end, states = jax.lax.scan(step, start, None, 40 + 40_000)
        return end, jax.vmap(divergence)(jnp.vstack([states[40:], end]))

    end, found = run(start)
    np.testing.assert_allclose(end, result.state, atol=1e-4)
    mean = scipy.integrate.simpson(found, dx=0.025) / 1000
    assert float(result.exponents.sum()) == pytest.approx(mean, abs=1e-6)


def fast(**values):
    model = ng.NextGenEI(i_ext_e=9.0, **values)
    return ng.Network(model, ONE, 12.0).homogeneous()


def test_steps_follow_the_fastest_time():
    """Exponents of orbits whose membranes or gates are fast; the sum is the mean divergence."""
    found = ng.lyapunov_spectrum(fast(tau_se=0.05), duration=300.0, transient=200.0)
    assert float(found.exponents[5]) == pytest.approx(-19.984, abs=0.01)
    assert float(found.exponents.sum()) == pytest.approx(-21.693, abs=0.02)
    assert found.step_errors[5] < 1e-4
    found = ng.lyapunov_spectrum(fast(tau_e=0.5, tau_i=0.5), duration=1000.0)
    assert abs(float(found.exponents[0])) < 3 * float(found.errors[0]) < 0.05


@pytest.mark.parametrize("values", [{"tau_se": 0.05}, {"tau_e": 0.5, "tau_i": 0.5}])
def test_steps_that_are_too_long_are_told(values):
    times = {"dt": 0.05, "duration": 2000.0, "transient": 500.0}
    found = ng.lyapunov_spectrum(fast(**values), throw=False, **times)
    assert found.status == ng.Status.STEP_TOO_LARGE
    with pytest.raises(ng.SolverError, match=r"halve `dt`"):
        ng.lyapunov_spectrum(fast(**values), **times)


def test_step_error_is_the_error():
    """x' = -x and -3x by RK4: the exponents' errors are z⁴/120 of each; Liouville's sum agrees."""
    system = Flow(lambda x, _: x * jnp.array([-1.0, -3.0]), (2,), 0.1)
    found = ng.lyapunov_spectrum(system, start=[1.0, 1.0], duration=200.0, transient=100.0)
    off = np.abs(found.exponents - np.array([-1.0, -3.0]))
    np.testing.assert_allclose(found.step_errors[1], off[1], rtol=0.2)
    assert off[0] < found.step_errors[0] < found.step_errors[1]
    assert found.status == ng.Status.OK


@pytest.mark.slow
def test_orbit_and_equilibrium():
    orbit = ng.find_orbit(nextgen(12.0, 8.0), steps=256)
    result = ng.lyapunov_spectrum(nextgen(12.0, 8.0), start=orbit.states[0], duration=2000.0)
    np.testing.assert_allclose(result.exponents, orbit.exponents, atol=2e-3)
    rest = ng.find_equilibria(nextgen(2.0, 5.0))
    result = ng.lyapunov_spectrum(nextgen(2.0, 5.0), 2, duration=2000.0)
    np.testing.assert_allclose(result.exponents, rest.eigenvalues[0, :2].real, atol=1e-3)


def test_network(small):
    """At rest: the real parts of the leading eigenvalues of the whole Jacobian."""
    network = ng.Network(ng.MontbrioPazoRoxin(eta=-6.0), small, 2.0)
    state = ng.find_equilibria(network.homogeneous()).states[0]
    state = jnp.broadcast_to(state[:, None], network.state_shape)
    result = ng.lyapunov_spectrum(network, 4, start=state, duration=3000.0)
    field = jax.jacfwd(lambda x: network.vector_field(x.reshape(2, 12)).ravel())
    matrix = jax.jit(field)(state.ravel())
    exact = np.sort(np.linalg.eigvals(matrix).real)[::-1][:4]
    np.testing.assert_allclose(result.exponents, exact, atol=2e-3)
    assert result.state.shape == network.state_shape


@pytest.mark.slow
def test_network_reference(aal90):
    """The paper's network: hyperchaos at (13, 5); a stable synchronous orbit at (9, 9)."""
    chaos, orbit = reference_values("lyapunov.json")["network_aal90"]
    network = ng.Network(ng.NextGenEI(i_ext_e=13.0), aal90, 5.0)
    result = ng.lyapunov_spectrum(network, 20, duration=6000.0, transient=1000.0)
    assert float(result.exponents[0]) == pytest.approx(chaos["leading"], abs=2e-3)
    assert (result.exponents > 0).sum() >= chaos["number_positive_at_least"]
    network = ng.Network(ng.NextGenEI(i_ext_e=9.0), aal90, 9.0)
    result = ng.lyapunov_spectrum(network, 2, duration=3000.0, transient=2000.0)
    assert float(result.exponents[0]) == pytest.approx(orbit["leading"], abs=1e-3)
    assert float(result.exponents[1]) == pytest.approx(orbit["second"], abs=1e-3)


def test_vmap_and_divergence():
    system = Flow(lambda x, a: a * x * x - x, (1,), 0.01)
    many = jax.vmap(lambda a: eqx.tree_at(lambda s: s.parameter, system, a))(jnp.array([0.1, 2.0]))
    result = jax.vmap(
        lambda s: ng.lyapunov_spectrum(s, start=jnp.array([1.0]), duration=20.0, throw=False)
    )(many)
    assert result.status.tolist() == [ng.Status.OK, ng.Status.NOT_FINITE]
    assert float(result.exponents[0, 0]) == pytest.approx(-1, abs=1e-6)
    assert repr(result).startswith("LyapunovSpectrum: 1 OK, 1 NOT_FINITE of 2\n  leading exponent")
    with pytest.raises(ng.SolverError, match="infinite or NaN"):
        ng.lyapunov_spectrum(
            Flow(lambda x, _: x * x, (1,), 0.01), start=[1.0], duration=20.0, transient=10.0
        )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"count": 7}, "`count` must be at most the 6"),
        ({"count": 0}, "`count` must"),
        ({"dt": -1.0}, "`dt` must"),
        ({"duration": 0.0}, "`duration` must"),
        ({"start": np.zeros(5)}, "`start` must have shape"),
        ({"start": np.full(6, np.nan)}, "`start` must be finite"),
    ],
)
def test_what_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        ng.lyapunov_spectrum(nextgen(2.0, 5.0), **arguments)
