"""Masses with conductances, gap junctions and synapses of their own, and two classical ones.

Equations against transcriptions in plain NumPy from the sources' text; equilibria against SciPy;
what neurons receive against the mean field of their equation; limits in which models agree.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import fsolve

import ngnmm_jax as ng
from ngnmm_jax import coupling as couplings
from ngnmm_jax._core.parameters import declared
from ngnmm_jax.graphs import DenseGraph
from ngnmm_jax.models.comparisons import random_state, usual

PI = np.pi
MODELS = (ng.CoombesByrne, ng.DumontGutkin, ng.WilsonCowan, ng.StuartLandau)
WEIGHTS = np.array([[0.0, 0.7, 0.3], [0.4, 0.0, 0.6], [0.9, 0.1, 0.0]])


def moved(kind):
    """A model with parameters none of which is zero, nor like another."""
    return usual(kind(), 0.3)


@eqx.filter_jit
def field(model, state, drive):
    return model.vector_field(state, drive)


def slope(model, state, drive=0.0):
    """The vector field, in NumPy."""
    return np.asarray(field(model, np.asarray(state, float), np.asarray(drive, float)))


def numbers(model):
    return {name: float(getattr(model, name)) for name in declared(model)}


# ---------------------------------------------------------------- equations


def coombes_byrne(y, c, p):
    """Forrester et al. (2024), as their program NFESOLVE/NextGenNMM computes it."""
    re, ve, ri, vi, gee, hee, gei, hei, gie, hie, gii, hii, gx, hx = y
    far = p["gain_i"] * gx
    close_e, close_i = p["kappa_v_ee"] + p["kappa_v_ei"], p["kappa_v_ii"] + p["kappa_v_ie"]
    dre = 2 * re * ve + p["delta_e"] / (PI * p["tau_e"]) - re * (gee + gei + gx + close_e)
    dri = 2 * ri * vi + p["delta_i"] / (PI * p["tau_i"]) - ri * (gie + gii + far + close_i)
    dve = p["eta_e"] - PI**2 * p["tau_e"] ** 2 * re**2 + ve**2 + p["kappa_v_ei"] * (vi - ve)
    dve = dve + gee * (p["v_syn_e"] - ve) + gei * (p["v_syn_i"] - ve) + gx * (p["v_ext"] - ve)
    dvi = p["eta_i"] - PI**2 * p["tau_i"] ** 2 * ri**2 + vi**2 + p["kappa_v_ie"] * (ve - vi)
    dvi = dvi + gie * (p["v_syn_e"] - vi) + gii * (p["v_syn_i"] - vi) + far * (p["v_ext"] - vi)
    synapses = []
    for of, g, h, rate in (
        ("ee", gee, hee, re), ("ei", gei, hei, ri), ("ie", gie, hie, re), ("ii", gii, hii, ri),
    ):  # fmt: skip
        a = p[f"alpha_{of}"]
        synapses += [a * (h - g), a * (p[f"kappa_{of}"] * rate - h)]
    a = p["alpha_ext"]
    synapses += [a * (hx - gx), a * (c - hx)]
    return [dre / p["tau_e"], dve / p["tau_e"], dri / p["tau_i"], dvi / p["tau_i"], *synapses]


def dumont_gutkin(y, c, p):
    """As The Virtual Brain's `DumontGutkin` states it, with its coupling."""
    re, ve, see, sei, ri, vi, sie, sii = y
    te, ti = p["tau_e"], p["tau_i"]
    dve = ve**2 + p["eta_e"] - te**2 * PI**2 * re**2 + te * see - te * sei + p["i_ext_e"]
    dvi = vi**2 + p["eta_i"] - ti**2 * PI**2 * ri**2 + ti * sie - ti * sii + p["i_ext_i"]
    return [
        1 / te * (p["delta_e"] / (PI * te) + 2 * ve * re),
        1 / te * dve,
        1 / p["tau_s"] * (-see + p["j_ee"] * re + c),
        1 / p["tau_s"] * (-sei + p["j_ei"] * ri),
        1 / ti * (p["delta_i"] / (PI * ti) + 2 * vi * ri),
        1 / ti * dvi,
        1 / p["tau_s"] * (-sie + p["j_ie"] * re + p["gamma"] * c),
        1 / p["tau_s"] * (-sii + p["j_ii"] * ri),
    ]


def wilson_cowan(y, c, p):
    """Eqs. 11 and 12 of the paper, with its sigmoid."""
    e, i = y

    def response(x, of):
        a, theta = p[f"a_{of}"], p[f"theta_{of}"]
        return 1 / (1 + np.exp(-a * (x - theta))) - 1 / (1 + np.exp(a * theta))

    to_e = response(p["c1"] * e - p["c2"] * i + p["p"] + c, "e")
    to_i = response(p["c3"] * e - p["c4"] * i + p["q"], "i")
    de, di = -e + (p["k_e"] - p["r_e"] * e) * to_e, -i + (p["k_i"] - p["r_i"] * i) * to_i
    return [de / p["tau_e"], di / p["tau_i"]]


def stuart_landau(y, c, p):
    z = y[0] + 1j * y[1]
    slope = (p["a"] + 1j * p["omega"]) * z - abs(z) ** 2 * z + c
    return [slope.real, slope.imag]


BY_HAND = dict(
    zip(MODELS, (coombes_byrne, dumont_gutkin, wilson_cowan, stuart_landau), strict=True)
)


@pytest.mark.parametrize("kind", MODELS)
def test_equations(kind):
    model = moved(kind)
    y, c = random_state(model, (3,)), np.array([0.3, -0.1, 0.7])
    expected = BY_HAND[kind](y, c, numbers(model))
    np.testing.assert_allclose(slope(model, y, c), expected, rtol=1e-12, atol=1e-14)


def test_one_population_is_that_of_the_virtual_brain():
    """TVB's `CoombesByrne`: tau = 1, (1 + 1/alpha d/dt)² g = k π r, and no excitatory neurons."""
    k, alpha, v_syn, eta, delta = 1.0, 0.95, -10.0, 20.0, 0.5
    model = ng.CoombesByrne(
        tau_i=1.0, eta_i=eta, delta_i=delta, kappa_ii=k * PI, alpha_ii=alpha, v_syn_i=v_syn,
        kappa_ie=0.0,
    )  # fmt: skip
    r, v, g, q = 0.7, -1.3, 1.2, 0.4
    there = [delta / PI + 2 * v * r - g * r, v**2 - PI**2 * r**2 + eta + (v_syn - v) * g]
    there += [alpha * q, alpha * (k * PI * r - g - 2 * q)]
    state = np.zeros(14)
    state[[2, 3, 10, 11]] = r, v, g, g + q  # q = h - g
    moves = slope(model, state)
    np.testing.assert_allclose([*moves[[2, 3, 10]], moves[11] - moves[10]], there, rtol=1e-13)


# ---------------------------------------------------------------- what neurons obey


def test_conductances_and_gap_junctions_follow_from_the_neurons_equation():
    """The mean field of neurons tau V' = f(V) + delta ξ, with f quadratic and ξ a Lorentzian's.

    z = v + i π tau r obeys tau z' = f(z) + i delta (Montbrió et al.: the residue at ξ = i).
    """
    model = moved(ng.CoombesByrne)
    y = random_state(model, (1,))[:, 0]
    p = numbers(model)
    found = slope(model, y, 0.2)
    g = {name: y[model.variables.index(f"g_{name}")] for name in ("ee", "ei", "ie", "ii", "ext")}
    v = {"e": y[1], "i": y[3]}
    for of, other, place, far in (("e", "i", 0, 1.0), ("i", "e", 2, p["gain_i"])):

        def current(potential, of=of, other=other, far=far):
            """Everything that a neuron at a potential receives, from the definitions."""
            return (
                p[f"eta_{of}"]
                + g[f"{of}e"] * (p["v_syn_e"] - potential)
                + g[f"{of}i"] * (p["v_syn_i"] - potential)
                + far * g["ext"] * (p["v_ext"] - potential)
                + p[f"kappa_v_{of}{of}"] * (v[of] - potential)
                + p[f"kappa_v_{of}{other}"] * (v[other] - potential)
            )

        tau = p[f"tau_{of}"]
        z = v[of] + 1j * PI * tau * y[place]
        moves = (z**2 + current(z) + 1j * p[f"delta_{of}"]) / tau
        np.testing.assert_allclose(found[place + 1], moves.real, rtol=1e-12)
        np.testing.assert_allclose(found[place], moves.imag / (PI * tau), rtol=1e-12)


def quantiles(count):
    """Offsets of a Lorentzian, evenly spread."""
    return np.tan(PI * ((np.arange(count) + 0.5) / count - 0.5))


def test_a_population_of_neurons_fires_at_the_rest_of_its_mean_field():
    """Each neuron, tau V' = V² + b V + c + delta ξ, fires at √(c + delta ξ - b²/4) / (π tau).

    So at rest the rate is a mean of square roots, with conductances and gap junctions held.
    """
    model = ng.CoombesByrne(kappa_v_ii=0.7, kappa_v_ie=0.3, tau_i=8.0, delta_i=0.9)
    g_ie, g_ii, v_e = 0.8, 0.5, 0.4

    def moves(pair):
        state = np.zeros(14)
        state[[1, 2, 3, 8, 10]] = v_e, *pair, g_ie, g_ii
        return slope(model, state)[[2, 3]]

    r, v = fsolve(moves, [0.1, 0.1], xtol=1e-13)
    b = -(g_ie + g_ii + 0.7 + 0.3)
    c = 10 * g_ie - 10 * g_ii + 0.7 * v + 0.3 * v_e
    drive = c - b * b / 4 + 0.9 * quantiles(2_000_000)
    mean = np.sqrt(np.maximum(drive, 0.0)).mean() / (PI * 8.0)
    # The tail of a Lorentzian's square root is cut at n: 1 / √n.
    assert mean == pytest.approx(r, rel=2e-3)


# ---------------------------------------------------------------- limits


def test_far_reversal_potentials_make_currents():
    """κ E fixed and E → ∞: the neurons of `NextGenEI` with second-order synapses, as 1 / E."""
    weights, tau = dict(ee=5.0, ei=13.0, ie=13.0, ii=5.0), 8.0
    gaps = []
    for far in (1e4, 1e5):
        model = ng.CoombesByrne(
            tau_e=tau, tau_i=tau, eta_e=8.0, eta_i=-5.0, delta_e=1.0, delta_i=1.0,
            v_syn_e=far, v_syn_i=-far, v_ext=far,
            **{f"kappa_{of}": tau * weight / far for of, weight in weights.items()},
            **{f"alpha_{of}": rate for of, rate in dict(ee=1.0, ie=1.0, ei=0.2, ii=0.2).items()},
        )  # fmt: skip
        r_e, v_e, r_i, v_i, s_e, s_i = 0.05, -0.7, 0.06, -0.4, 0.03, 0.04
        g = {of: tau * w / far * (s_e if of[1] == "e" else s_i) for of, w in weights.items()}
        state = np.array([r_e, v_e, r_i, v_i, g["ee"], 0, g["ei"], 0, g["ie"], 0, g["ii"], 0, 0, 0])
        currents = ng.NextGenEI(tau_e=tau, tau_i=tau, eta_e=8.0, eta_i=-5.0)
        there = slope(currents, [r_e, v_e, s_e, r_i, v_i, s_i])
        gaps.append(np.abs(slope(model, state)[:4] - there[[0, 1, 3, 4]]).max())
    assert gaps[1] < 1e-5
    assert gaps[1] == pytest.approx(gaps[0] / 10, rel=1e-6)


def test_dumont_gutkin_is_nextgen_with_gates_at_their_weights():
    """With one synaptic time: s_ab = j_ab s_b, and the network's input through its own gate."""
    model = ng.DumontGutkin(j_ee=5.0, j_ei=13.0, j_ie=11.0, j_ii=4.0, tau_s=2.0, tau_e=8.0)
    other = ng.NextGenEI(
        j_ee=5.0, j_ei=13.0, j_ie=11.0, j_ii=4.0, tau_se=2.0, tau_si=2.0, tau_e=8.0, tau_i=10.0,
        i_ext_e=15.0,
    )  # fmt: skip
    r_e, v_e, s_e, r_i, v_i, s_i = y = np.array([0.05, -0.7, 0.03, 0.06, -0.4, 0.04])
    state = np.array([r_e, v_e, 5 * s_e, 13 * s_i, r_i, v_i, 11 * s_e, 4 * s_i])
    moves, there = slope(model, state), slope(other, y)
    np.testing.assert_allclose(moves[[0, 1, 4, 5]], there[[0, 1, 3, 4]], rtol=1e-13)
    np.testing.assert_allclose(moves[[2, 3]], [5 * there[2], 13 * there[5]], rtol=1e-13)
    mine = ng.find_equilibria(ng.Homogeneous(model, 0.0)).states
    theirs = ng.find_equilibria(ng.Homogeneous(other, 0.0)).states
    np.testing.assert_allclose(mine[:, 0], theirs[:, 0], rtol=1e-12)


# ---------------------------------------------------------------- Stuart and Landau, exactly


@pytest.fixture(scope="module")
def oscillator():
    return ng.StuartLandau(a=2.0, omega=9.0)


def test_orbit_of_stuart_and_landau(oscillator):
    alone = ng.Homogeneous(oscillator, 0.0)
    rest = ng.find_equilibria(alone)
    assert rest.complete
    assert rest.count == 1
    np.testing.assert_allclose(rest.eigenvalues[0], [2 + 9j, 2 - 9j], rtol=1e-12)
    orbit = ng.find_orbit(alone)
    assert float(orbit.period) == pytest.approx(2 * PI / 9, rel=1e-9)
    radius = np.hypot(*np.asarray(orbit.states).T)
    np.testing.assert_allclose(radius, np.sqrt(2.0), rtol=1e-8)
    np.testing.assert_allclose(np.sort(orbit.multipliers.real)[::-1][:2],
                               [1.0, np.exp(-4 * 2 * PI / 9)], rtol=1e-6)  # fmt: skip


def test_rest_of_stuart_and_landau_with_input_of_its_own():
    """(R - a)(R - a - k) = -omega² with R = |z|²: none, or four places besides 0."""
    for a, omega, k, count in ((-0.3, 1.0, 5.0, 3), (2.0, 1.0, 5.0, 5), (2.0, 1.0, 1.9, 1)):
        rest = ng.find_equilibria(ng.Homogeneous(ng.StuartLandau(a=a, omega=omega), k))
        assert rest.complete
        squares = np.roots([1.0, -(2 * a + k), a * (a + k) + omega**2])
        expected = [0.0, *(2 * [s.real for s in squares if abs(s.imag) < 1e-12 and s.real > 0])]
        found = np.sort((np.asarray(rest.states) ** 2).sum(axis=1))
        assert len(found) == count
        np.testing.assert_allclose(found, np.sort(expected), atol=1e-12)


def test_diffusive_coupling_of_both_parts_is_known_exactly():
    """`Routed` couplings of x and of y: growth a - K (1 - Λ) of modes at rest."""
    a, omega, strength = 2.0, 9.0, 3.0
    graph = DenseGraph(jnp.asarray(WEIGHTS))

    def of(part):
        return couplings.Routed(
            couplings.DiffusiveCoupling(graph, strength), output=part, input=part, n_inputs=2
        )

    model = ng.ComplexStuartLandau(a=a, omega=omega)
    network = ng.Network(model, coupling=couplings.CouplingSum({"x": of(0), "y": of(1)}))
    flat = np.zeros((2, 3))
    jacobian = np.asarray(jax.jit(jax.jacfwd(network.vector_field))(flat))
    lambdas = np.linalg.eigvals(WEIGHTS)
    whole = np.linalg.eigvals(jacobian.reshape(6, 6))
    exact = np.concatenate([a - strength * (1 - lambdas) + turn * 1j * omega for turn in (1, -1)])
    gaps = np.abs(whole[:, None] - exact)
    assert max(gaps.min(axis=0).max(), gaps.min(axis=1).max()) < 1e-12
    curve = ng.dispersion(network, jnp.zeros(2))
    np.testing.assert_allclose(
        np.sort(curve.growth), np.sort((a - strength * (1 - lambdas)).real), atol=1e-12
    )


# ---------------------------------------------------------------- equilibria, spectra, gradients


def test_the_whole_jacobians_spectrum_is_that_of_the_modes():
    """With gap junctions, conductances onto both populations, and synapses of five rates."""
    model = ng.CoombesByrne(
        kappa_v_ee=0.1, kappa_v_ei=0.3, kappa_v_ie=0.2, kappa_v_ii=0.6, gain_i=0.4, kappa_ee=3.0,
        kappa_ii=5.0, alpha_ee=0.4, alpha_ie=0.6, alpha_ii=0.15,
    )  # fmt: skip
    network = ng.Network(model, WEIGHTS, coupling=6.0)
    rest = ng.find_equilibria(network.homogeneous()).states[0]
    jacobian = jax.jit(jax.jacfwd(network.vector_field))(np.tile(np.asarray(rest)[:, None], 3))
    whole = np.linalg.eigvals(np.asarray(jacobian).reshape(42, 42))
    curve = ng.dispersion(network, rest)
    by_mode = np.asarray(curve.eigenvalues).ravel()
    # Alpha synapses that nothing feeds back through are double, which rounding splits.
    assert np.abs(whole[:, None] - by_mode[None, :]).min(axis=1).max() < 1e-6
    assert whole.real.max() == pytest.approx(float(curve.growth.max()), abs=1e-10)


@pytest.mark.parametrize(
    ("model", "strength"),
    [
        (ng.CoombesByrne(eta_e=-2.0, kappa_ee=40.0, kappa_ei=2.0), 3.0),
        (
            ng.CoombesByrne(kappa_v_ii=3.0, kappa_v_ie=0.4, kappa_v_ei=0.2, kappa_v_ee=0.1,
                            kappa_ii=9.0, v_syn_i=4.0, gain_i=0.5, eta_i=-6.0),
            5.0,
        ),
        (ng.WilsonCowan(p=0.0, c2=4.0, c4=-3.0), 0.3),
        (ng.WilsonCowan(c3=0.0), 0.3),
    ],
)  # fmt: skip
def test_all_equilibria(model, strength):
    """Those of SciPy's dogleg from 100 starts, and each of them."""
    system = ng.Homogeneous(model, strength)
    found = ng.find_equilibria(system)
    assert np.abs(found.residuals).max() < 1e-12
    field = eqx.filter_jit(system.vector_field)
    rng, low, high = np.random.default_rng(0), *map(np.asarray, model.search_box())
    places = []
    for _ in range(100):
        y, _, flag, _ = fsolve(
            lambda y: np.asarray(field(jnp.asarray(y))), rng.uniform(low, high), full_output=True
        )
        rows = [model.variables.index(name) for name in model.nonnegative]
        if flag == 1 and np.abs(field(jnp.asarray(y))).max() < 1e-9 and (y[rows] >= 0).all():
            places.append(y)
    gaps = np.abs(np.array(places)[:, None] - np.asarray(found.states)[None]).max(axis=2)
    assert gaps.min(axis=1).max() < 1e-6
    assert gaps.min(axis=0).max() < 1e-6


@pytest.mark.parametrize("kind", MODELS)
def test_gradients_are_those_of_differences(kind):
    """Of the rest's leading growth, by every parameter at once."""
    names = sorted(declared(kind()))
    base = moved(kind)

    @jax.jit
    def total(values):
        model = eqx.tree_at(lambda m: [getattr(m, n) for n in names], base, list(values))
        return jnp.sum(model.vector_field(STATES[kind], jnp.array([0.3])) * WEIGHT[kind])

    values = np.array([getattr(base, name) for name in names])
    exact = np.asarray(jax.jit(jax.grad(total))(values))
    step = 1e-6 * np.maximum(1.0, np.abs(values))
    for k in range(len(names)):
        move = step * (np.arange(len(names)) == k)
        difference = (total(values + move) - total(values - move)) / (2 * step[k])
        assert exact[k] == pytest.approx(float(difference), rel=1e-5, abs=1e-7), names[k]


STATES = {kind: jnp.asarray(random_state(moved(kind), (1,))) for kind in MODELS}
WEIGHT = {
    kind: jnp.asarray(np.random.default_rng(3).normal(size=STATES[kind].shape)) for kind in MODELS
}


def test_flow_of_dumont_and_gutkin_is_of_order_four():
    """A network's run by its own flow against SciPy's DOP853."""
    network = ng.Network(ng.DumontGutkin(), WEIGHTS, coupling=2.0)
    start = jnp.asarray(
        np.tile([0.03, -0.6, 0.2, 0.3, 0.03, -1.0, 0.2, 0.0], (3, 1)).T * np.array([1.0, 1.1, 0.9])
    )
    field = jax.jit(lambda y: network.vector_field(y.reshape(8, 3)).ravel())
    exact = solve_ivp(
        lambda t, y: np.asarray(field(y)), (0, 20), np.asarray(start).ravel(),
        method="DOP853", rtol=1e-12, atol=1e-13,
    ).y[:, -1]  # fmt: skip

    def gap(dt):
        run = ng.simulate(network, 20.0, dt=dt, integrator="moebius", start=start)
        return np.abs(np.asarray(run.states[-1]).ravel() - exact).max()

    gaps = [gap(0.05), gap(0.025)]
    assert gaps[1] < 1e-5
    assert gaps[0] / gaps[1] > 12
