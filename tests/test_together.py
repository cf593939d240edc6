"""What is true for each room is true where two of them meet."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ngnmm_jax as ng
from ngnmm_jax._core.definition import definition
from ngnmm_jax.fitting import simulated

W3 = np.array([[0, 1.0, 0], [0.5, 0, 0.5], [0, 1.0, 0]])


def network(**values):
    return ng.Network(ng.NextGenEI(**values), W3, coupling=12.0)


def test_what_noise_does_below_zero_is_in_a_definition():
    one, other = (
        ng.Driven(network(), {"r_e": 0.02}, below_zero=how) for how in ("reflect", "keep")
    )
    assert definition("work", one) != definition("work", other)


def test_exponents_over_values_of_each_region():
    """Rows of a design are points, columns regions; the steps follow either."""
    values = np.array([[0.0, 3, 2], [1, 1, 3], [2, 0, 1], [1, 2, 3]])
    times = np.array([[1.0, 1, 1], [1, 0.5, 1], [1, 1, 2], [1, 0.5, 1]])
    measure = ng.Exponents(count=1, duration=300.0, transient=200.0)
    design = ng.Design.listed({"i_ext_e": values, "tau_se": times})
    found = ng.sweep(network(), design, measure, checks=0)
    assert (found.status == 0).all()
    for k in (0, 3):
        at = network().with_parameters(i_ext_e=values[k], tau_se=times[k])
        alone = ng.lyapunov_spectrum(at, 1, duration=300.0, transient=200.0, throw=False)
        np.testing.assert_allclose(found.exponents[k], alone.exponents, rtol=0.01)


def test_activity_where_regions_and_points_differ_in_time_constants():
    base = network(tau_e=np.array([8.0, 7, 6]))
    measure = ng.Activity(duration=40.0, transient=0.0, keep=("mean",))
    found = ng.sweep(base, {"tau_i": np.array([8.0, 4, 2, 9, 10])}, measure, checks=0)
    assert (found.status == 0).all()
    fast = ng.Design.grid({"tau_se": [1.0, 0.1]})
    assert measure.over(network(), fast).dt == measure.over(network(tau_se=0.1), fast).dt < 0.02


def test_noisy_runs_inside_of_a_program():
    start = ng.initial_state(network(i_ext_e=9.0), scatter=0.0)

    def end(current):
        driven = ng.Driven(network(i_ext_e=current), {"v_e": 0.01})
        return ng.simulate(driven, 5.0, start=start, throw=False).final_state

    np.testing.assert_allclose(jax.jit(end)(9.0), end(9.0), rtol=1e-12)


def test_samples_are_where_they_are_said_to_be():
    """For steps that do not divide a millisecond, too."""
    for tau in (7.3, 6.1):
        found = jax.eval_shape(
            lambda key, tau=tau: simulated(network(tau_e=tau), key, duration=50.0, transient=0.0),
            jax.random.key(0),
        )
        assert found.shape[0] == 50
    with pytest.raises(ValueError, match="`dt` must divide the 1 between samples"):
        simulated(network(), jax.random.key(0), duration=50.0, transient=0.0, dt=0.3)


class Half(ng.Network):
    def drive(self, output):
        return 0.5 * super().drive(output)


def test_a_network_of_its_own_equations_starts_at_its_own_rest():
    own = Half(ng.NextGenEI(), W3, 15.0)
    start = ng.initial_state(own, scatter=0.0)
    assert float(jnp.abs(own.vector_field(start)).max()) < 1e-12
    options = {"dt": 0.1, "scatter": 0.0, "variables": own.model.variables}
    batch = ng.simulate_batch(own, duration=0.1, seed=[0, 1], **options)
    np.testing.assert_array_equal(batch.states[:, 0], [start, start])


def test_multipliers_that_a_mesh_loses_are_not_given():
    node = network(i_ext_e=9.0, tau_se=0.02).homogeneous()
    branch = ng.continue_cycles(node, {"i_ext_e": (8.9, 9.1)}, intervals=40)
    lost = branch.errors > 1e-6
    assert lost.any()
    assert np.isnan(branch.spectrum[lost].real.min(axis=1)).all()
