"""The models: equations against a transcription in plain NumPy, parameters, checks."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ngnmm_jax as ng
from ngnmm_jax.models.base import parameter_fields

RNG = np.random.default_rng(0)


def nextgen(y, c, i_ext_e):
    """science.md, written out by hand with the paper's parameters."""
    r_e, v_e, s_e, r_i, v_i, s_i = y
    tau, pi = 8.0, np.pi
    return np.array(
        [
            (1 / (pi * tau) + 2 * r_e * v_e) / tau,
            (v_e**2 - 5 - (pi * tau * r_e) ** 2 + i_ext_e + tau * (5 * s_e + c - 13 * s_i)) / tau,
            (r_e - s_e) / 1.0,
            (1 / (pi * tau) + 2 * r_i * v_i) / tau,
            (v_i**2 - 5 - (pi * tau * r_i) ** 2 + tau * (13 * s_e + c - 5 * s_i)) / tau,
            (r_i - s_i) / 5.0,
        ]
    )


def jansen_rit(y, c, p):
    def S(v):
        return 5.0 / (1 + np.exp(0.56 * (6.0 - v)))

    y0, y1, y2, z0, z1, z2 = y
    return np.array(
        [
            z0,
            z1,
            z2,
            325.0 * S(y1 - y2) - 200 * z0 - 1e4 * y0,
            325.0 * (p + 108.0 * S(135.0 * y0) + c) - 200 * z1 - 1e4 * y1,
            1100.0 * 33.75 * S(33.75 * y0) - 100 * z2 - 2500 * y2,
        ]
    )


@pytest.mark.parametrize(
    ("model", "by_hand", "parameter"),
    [(ng.NextGenEI(i_ext_e=13.0), nextgen, 13.0), (ng.JansenRit(p=200.0), jansen_rit, 200.0)],
)
def test_equations(model, by_hand, parameter):
    state, drive = RNG.normal(size=(6, 4)), RNG.normal(size=4)
    expected = by_hand(state, drive, parameter)
    np.testing.assert_allclose(
        model.vector_field(jnp.array(state), jnp.array(drive)), expected, rtol=1e-13
    )


def test_outputs():
    state = jnp.array(RNG.normal(size=(6, 4)))
    np.testing.assert_array_equal(ng.NextGenEI().output(state), state[2])
    difference = state[1] - state[2]
    expected = 5.0 / (1 + np.exp(0.56 * (6.0 - difference)))
    np.testing.assert_allclose(ng.JansenRit().output(state), expected, rtol=1e-13)
    np.testing.assert_array_equal(ng.JansenRit().observe(state), difference)


@pytest.mark.parametrize("model", [ng.NextGenEI, ng.JansenRit])
def test_every_parameter_matters_and_is_described(model):
    state, drive = jnp.linspace(0.1, 0.3, 6), jnp.array(0.3)
    base = model().vector_field(state, drive)
    for field in parameter_fields(model):
        assert field.metadata["unit"]
        assert field.metadata["doc"]
        changed = model(**{field.name: field.default * 1.1 + 0.1})
        there = changed.vector_field(state, drive)
        assert not np.allclose(there, base, rtol=1e-10, atol=0), field.name


def test_per_region_parameters_act_per_region():
    state = jnp.array(RNG.normal(size=(6, 3)))
    i_ext_e = jnp.array([1.0, 5.0, 9.0])
    together = ng.NextGenEI(i_ext_e=i_ext_e).vector_field(state, jnp.zeros(3))
    for k in range(3):
        alone = ng.NextGenEI(i_ext_e=i_ext_e[k]).vector_field(state[:, k], jnp.array(0.0))
        np.testing.assert_allclose(together[:, k], alone, rtol=1e-15)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"tau_e": 0.0}, "`tau_e` must be positive"),
        ({"tau_si": -1.0}, "`tau_si` must be positive"),
        ({"delta_i": [1.0, -1.0]}, "`delta_i` must be positive"),
        ({"i_ext_e": np.nan}, "`i_ext_e` must be finite"),
        ({"j_ee": np.inf}, "`j_ee` must be finite"),
        ({"eta_e": np.zeros((2, 2))}, "`eta_e` must be a scalar or have one value per region"),
        ({"eta_e": np.zeros(3), "eta_i": np.zeros(4)}, "as many regions"),
    ],
)
def test_bad_parameters(arguments, words):
    with pytest.raises(ValueError, match=words):
        ng.NextGenEI(**arguments)


def test_transformations_are_not_broken_by_checks():
    state, drive = jnp.array(RNG.uniform(0.1, 0.3, size=6)), jnp.array(0.3)

    def first(i_ext_e):
        return ng.NextGenEI(i_ext_e=i_ext_e).vector_field(state, drive)[1]

    values = jnp.linspace(0.0, 16.0, 5)
    np.testing.assert_allclose(jax.vmap(first)(values), [first(v) for v in values], rtol=1e-14)
    assert jax.grad(first)(3.0) == pytest.approx(1 / 8)
    assert eqx.filter_jit(first)(3.0) == pytest.approx(float(first(3.0)))
    model = eqx.tree_at(lambda m: m.tau_e, ng.NextGenEI(), jnp.array(-1.0))  # nothing checked
    assert float(model.tau_e) == -1.0
    gradient = jax.grad(lambda m: m.vector_field(state, drive).sum())(ng.NextGenEI())
    assert all(np.isfinite(leaf) for leaf in jax.tree.leaves(gradient))


def test_precision_follows_the_arrays():
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), ng.NextGenEI())
    out = single.vector_field(jnp.ones((6, 2), jnp.float32), jnp.ones(2, jnp.float32))
    assert out.dtype == jnp.float32
