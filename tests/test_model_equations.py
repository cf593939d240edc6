"""The models' equations, against those of other programs, written down from their sources."""

import jax.numpy as jnp
import numpy as np
import pytest

import ngnmm_jax as ng

RNG = np.random.default_rng(11)


def tvb_montbrio(y, c, p):
    """The Virtual Brain's `MontbrioPazoRoxin`, its coupling terms as one."""
    r, V = y
    return [
        1 / p["tau"] * (p["delta"] / (np.pi * p["tau"]) + 2 * V * r),
        1 / p["tau"] * (V**2 - np.pi**2 * p["tau"] ** 2 * r**2 + p["eta"] + p["j"] * p["tau"] * r
                        + p["i_ext"] + c),
    ]  # fmt: skip


def pyrates_sfa(y, c, p):
    """PyRates' `qif_sfa_op`, with c beside the excitability."""
    r, v, a, x = y
    tau, tau_a = p["tau"], p["tau_a"]
    return [
        (p["delta"] / (np.pi * tau) + 2.0 * r * v) / tau,
        (v**2 + p["eta"] - a + p["i_ext"] + c + tau * p["j"] * r - (np.pi * tau * r) ** 2) / tau,
        x / tau_a,
        p["alpha"] * r - 2.0 * x / tau_a - a / tau_a,
    ]


def taher(y, c, p):
    """Taher, Torcini and Olmi (2020), one population."""
    r, v, x, u = y
    tau = p["tau"]
    current = p["eta"] + p["i_ext"] + tau * (p["j"] * u * x * r + c)
    return [
        (p["delta"] / (tau * np.pi) + 2 * r * v) / tau,
        (v * v + current - (np.pi * tau * r) ** 2) / tau,
        (1 - x) / p["tau_d"] - u * x * r,
        (p["u0"] - u) / p["tau_f"] + p["u0"] * (1 - u) * r,
    ]


def lanmm(y, c, p):
    """`lanmm.f90` beside De Palma Aristides et al. (2026); inhibitory gains are negative there."""
    sign = np.array([1, 1, -1, 1, -1.0])[:, None]
    y0, y1, y2, y3, y4 = y[:5] * sign
    z = y[5:] * sign
    gains = [p["A"], p["A"], -p["B"], p["A"], -p["G"]]
    speeds = [p["a"], p["a"], p["b"], p["a"], p["g"]]
    thresholds = [p["v0"], p["v0"], p["v0"], p["v0_p2"], p["v0"]]
    potentials = [
        p["C0"] * y1 + p["C1"] * y2 + p["C10"] * y3 + p["A"] * p["p1"] / p["a"] + p["gain_1"] * c,
        p["C3"] * y0,
        p["C4"] * y0,
        p["C5"] * y3 + p["C6"] * y4 + p["C11"] * y0 + p["A"] * p["p2"] / p["a"] + p["gain_2"] * c,
        p["C8"] * y3 + p["C9"] * y4 + p["C12"] * y0,
    ]
    bent = [
        gain * q * (2 * p["e0"] / (1 + np.exp(p["r"] * (v0 - v)))) - 2 * q * dot - q**2 * x
        for gain, q, v0, v, dot, x in zip(
            gains, speeds, thresholds, potentials, z, (y0, y1, y2, y3, y4), strict=True
        )
    ]
    return [*y[5:], *(np.array(bent) * sign)]


@pytest.mark.parametrize(
    ("kind", "by_hand"),
    [
        (ng.MontbrioPazoRoxin, tvb_montbrio),
        (ng.QIFAdaptation, pyrates_sfa),
        (ng.QIFPlasticity, taher),
        (ng.LaminarMass, lanmm),
    ],
)
def test_equations(kind, by_hand):
    defaults = kind()
    names = [n for n in vars(defaults) if np.ndim(getattr(defaults, n)) == 0]
    values = {n: float(getattr(defaults, n)) * RNG.uniform(0.8, 1.2) + 0.01 for n in names}
    state, drive = RNG.uniform(0.05, 0.4, (len(kind.variables), 4)), RNG.normal(size=4)
    got = kind(**values).vector_field(jnp.asarray(state), jnp.asarray(drive))
    np.testing.assert_allclose(got, by_hand(state, drive, values), rtol=1e-12)


def test_three_populations_without_slow_inhibition_are_two():
    model = ng.ThreePopulations(j_es=0.0, j_fs=0.0, i_ext_e=3.0)
    state, drive = jnp.asarray(RNG.uniform(0.05, 0.4, (9, 4))), jnp.asarray(RNG.normal(size=4))
    both = model.vector_field(state, drive)[:6]
    expected = ng.NextGenEI(i_ext_e=3.0).vector_field(state[:6], drive)
    np.testing.assert_array_equal(both, expected)
    slow = model.vector_field(state, drive)[6:]  # driven by e alone
    r, v, s = np.asarray(state[6:])
    current = -5.0 + 8.0 * 13.0 * np.asarray(state[2])
    expected = [(1 / (8 * np.pi) + 2 * r * v) / 8, (v * v - (8 * np.pi * r) ** 2 + current) / 8,
                (r - s) / 20]  # fmt: skip
    np.testing.assert_allclose(slow, expected, rtol=1e-12)


def test_slow_variables_of_a_uniform_rate_are_exact():
    """Adaptation and plasticity settle where their equations say, at a rate that is held."""
    sfa, stp = ng.QIFAdaptation(), ng.QIFPlasticity()
    rest = ng.find_equilibria(ng.Homogeneous(sfa, jnp.asarray(0.0))).states[0]
    assert float(rest[2]) == pytest.approx(10.0 * float(rest[0]), rel=1e-12)  # alpha tau_a r
    r, _, x, u = (
        float(k) for k in ng.find_equilibria(ng.Homogeneous(stp, jnp.asarray(0.0))).states[0]
    )
    assert u == pytest.approx(0.2 * (1 + 1500 * r) / (1 + 0.2 * 1500 * r), rel=1e-12)
    assert x == pytest.approx(1 / (1 + 200 * u * r), rel=1e-12)
