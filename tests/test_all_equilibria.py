"""That all equilibria are found, against counts that are exact or by other means."""

import itertools
from fractions import Fraction
from math import gcd, lcm

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

import ngnmm_jax as ng
from ngnmm_jax._core.certain_roots import (
    CertainReduction,
    Points,
    certain_roots,
    over_interval,
)
from ngnmm_jax._core.parameters import with_leaves
from ngnmm_jax.dynamics.many_equilibria import search
from ngnmm_jax.models import parameter
from ngnmm_jax.systems.homogeneous import Homogeneous
from tests.conftest import reference_values

ONE = np.array([[1.0]])
W3 = np.array([[0, 1.0, 0], [0.5, 0, 0.5], [0, 1.0, 0]])
FIVE = dict(  # five equilibria at coupling 18.2786
    eta_e=-6.0639, eta_i=-6.4326, delta_e=0.6948, delta_i=0.027,
    j_ee=27.6886, j_ei=19.0181, j_ie=24.1265, j_ii=10.9735,
)  # fmt: skip
# Two populations that do not act on each other much, three equilibria each.
NINE = dict(
    j_ei=0.0, j_ee=30.0, eta_e=-20.0, delta_e=0.1, j_ii=-40.0, eta_i=-35.0, delta_i=0.1, j_ie=0.05
)


def homogeneous(model, coupling):
    return ng.Network(model, ONE, coupling).homogeneous()


def many(model, values, coupling):
    system = jax.tree.map(np.asarray, Homogeneous(model, jnp.zeros(())))
    return with_leaves(system, {**values, "coupling": coupling})


# ---------------------------------------------------------------------- exact counts


def product(u, v):
    result = [0] * (len(u) + len(v) - 1)
    for i, x in enumerate(u):
        for j, y in enumerate(v):
            result[i + j] += x * y
    return result


def simplified(u):
    """A polynomial in whole numbers, from its constant up, divided by a positive number."""
    while u and u[-1] == 0:
        u = u[:-1]
    by = gcd(*u)
    return [x // by for x in u]


def sum_of_signs(p, g):
    """Of g over the positive roots of p, p(0) not 0: Sturm's chain of p and p' g (Tarski)."""
    chain = [simplified(p), simplified(product([k * c for k, c in enumerate(p)][1:], g))]
    while chain[-1]:
        rest, by = list(chain[-2]), chain[-1]
        lead, sign = abs(by[-1]), 1 if by[-1] > 0 else -1
        while len(rest) >= len(by):
            last = sign * rest[-1]
            rest = [lead * c for c in rest]
            for i, c in enumerate(by, len(rest) - len(by)):
                rest[i] -= last * c
            rest.pop()
        chain.append(simplified([-c for c in rest]))
    changes = []
    for end in ([next(c for c in u if c) for u in chain[:-1]], [u[-1] for u in chain[:-1]]):
        changes.append(sum((a > 0) != (b > 0) for a, b in itertools.pairwise(end)))
    return changes[0] - changes[1]


def whole(u):
    """A polynomial in rational numbers, times a positive one."""
    scale = lcm(*(x.denominator for x in u))
    return [int(x * scale) for x in u]


def exact_count(v, coupling):
    """How many equilibria `NextGenEI` has, from a polynomial of degree 16, in rational numbers.

    From the equations of v: delta² / 4x² - x² + current = 0 for x = π tau r of each population;
    x_i = N(x_e) / (4 b x_e²) put into the second one.
    """
    v = {name: Fraction(float(x)) for name, x in v.items()}
    pi = Fraction(np.pi)
    c = Fraction(float(coupling))
    to_e, to_i = v["eta_e"] + v["i_ext_e"], v["eta_i"] + v["i_ext_i"]
    a, b = (v["j_ee"] + c) / pi, v["tau_e"] * v["j_ei"] / (pi * v["tau_i"])
    d, h = v["tau_i"] * (v["j_ie"] + c) / (pi * v["tau_e"]), v["j_ii"] / pi
    n = [v["delta_e"] ** 2, Fraction(0), 4 * to_e, 4 * a, Fraction(-4)]
    n2, den = product(n, n), [Fraction(0), Fraction(0), 4 * b]
    den2 = product(den, den)
    terms = [
        product(n2, n2),
        product([h], product(product(n2, n), den)),
        product([-to_i, -d], product(n2, den2)),
        product([-(v["delta_i"] ** 2) / 4], product(den2, den2)),
    ]
    p = [sum(t[k] for t in terms if k < len(t)) for k in range(max(map(len, terms)))]
    p, sign = whole(p), whole([x if b > 0 else -x for x in n])  # of x_i
    return (sum_of_signs(p, [1]) + sum_of_signs(p, sign)) // 2


def alone_count(kind, v, coupling):
    """How many equilibria one population that drives itself has, by the same chain.

    Of x = π tau r: x² - (delta / 2x)² - current - (what it does to itself), times x², or, with
    plasticity, times x² and the denominator of u x r.
    """
    v = {name: Fraction(float(x)) for name, x in v.items()}
    pi, c, current = Fraction(np.pi), Fraction(float(coupling)), v["eta"] + v["i_ext"]
    own = [-(v["delta"] ** 2) / 4, Fraction(0), -current, Fraction(0), Fraction(1)]
    if kind is ng.QIFPlasticity:
        u, d, f, scale = v["u0"], v["tau_d"], v["tau_f"], pi * v["tau"]
        below = [Fraction(1), u * (d + f) / scale, u * d * f / scale**2]
        above = [Fraction(0), u / scale, u * f / scale**2]
        weight = -v["tau"] * (v["j"] + c)
        parts = product(own, below), product([Fraction(0), Fraction(0), weight], above)
    else:
        adapt = v["alpha"] * v["tau_a"] if kind is ng.QIFAdaptation else 0
        a = (v["j"] + (c * v.get("cr", 1) - adapt) / v["tau"]) / pi
        b = c * v.get("cv", 0) * v["delta"] / 2
        parts = own, [Fraction(0), b, Fraction(0), -a]
    p = [sum(part[k] for part in parts if k < len(part)) for k in range(max(map(len, parts)))]
    return sum_of_signs(whole(p), [1])


@pytest.mark.parametrize("kind", [ng.MontbrioPazoRoxin, ng.QIFAdaptation, ng.QIFPlasticity])
def test_counts_of_one_population_are_exact(kind):
    rng, count = np.random.default_rng(3), 60
    v = {"eta": rng.uniform(-12, 4, count), "i_ext": rng.uniform(-2, 2, count)}
    v |= {"j": rng.uniform(-40, 40, count), "tau": 10 ** rng.uniform(-1, 1.5, count)}
    v |= {"delta": 10 ** rng.uniform(-3, 1, count)}
    coupling = rng.uniform(-10, 20, count)
    if kind is ng.MontbrioPazoRoxin:
        v |= {"cr": rng.uniform(-1, 2, count), "cv": rng.uniform(-1, 1, count)}
    elif kind is ng.QIFAdaptation:
        v |= {"alpha": rng.uniform(-1, 1.5, count), "tau_a": 10 ** rng.uniform(0, 2, count)}
    else:
        v |= {"u0": rng.uniform(0.01, 1, count)}
        v |= {name: 10 ** rng.uniform(0, 3.5, count) for name in ("tau_d", "tau_f")}
        v["j"] = 10 ** rng.uniform(0, 3, count)
    found = search(many(kind(), v, coupling), count)
    assert found.complete.all()
    for k in range(count):
        expected = alone_count(kind, {name: x[k] for name, x in v.items()}, coupling[k])
        assert found.number[k] == expected, k
    assert {1, 3} <= set(found.number)


def draw(seed, count, kind):
    """Wide parameters: as published models have them, with any sign, and wilder."""
    u = np.random.default_rng(seed).uniform
    v = {name: 10 ** u(0, 1.5, count) for name in ("tau_e", "tau_i")}
    v |= {name: u(-20, 10, count) for name in ("eta_e", "eta_i")}
    v |= {name: 10 ** u(-3, 1, count) for name in ("delta_e", "delta_i")}
    v |= {name: u(0, 40, count) for name in ("j_ee", "j_ei", "j_ie", "j_ii")}
    v |= {name: u(-5, 20, count) for name in ("i_ext_e", "i_ext_i")}
    if kind != "usual":
        v["j_ii"] = u(-40, 40, count)
    if kind == "wild":
        v |= {name: u(-40, 40, count) for name in ("j_ee", "j_ei", "j_ie")}
        v |= {name: u(-300, 300, count) for name in ("eta_e", "i_ext_i")}
        v |= {name: 10 ** u(-6, 2, count) for name in ("delta_e", "delta_i")}
    if kind == "weak":
        v["j_ei"] = 10 ** u(-14, -3, count)
    return v, u(-10, 40, count)


def compare(kinds, count):
    seen = set()
    for seed, kind in enumerate(kinds):
        v, coupling = draw(seed, count, kind)
        if kind == "no way back":  # j_ie + coupling = 0
            coupling = -v["j_ie"]
        found = search(many(ng.NextGenEI(), v, coupling), count)
        assert found.complete.all()
        assert np.nanmax(found.errors) < 1e-12
        for k in range(count):
            here = {name: value[k] for name, value in v.items()}
            assert found.number[k] == exact_count(here, coupling[k]), (kind, k)
        seen |= set(found.number)
    return seen


KINDS = ("usual", "any sign", "wild", "weak", "no way back")


def test_counts_are_exact():
    assert {1, 3} <= compare(KINDS, 6)


@pytest.mark.slow
def test_many_counts_are_exact():
    assert {1, 3, 5} <= compare(KINDS * 4, 20)


# ---------------------------------------------------------------------- known cases


def test_low_rates_are_found():
    """π tau r of 8.84e-4 is the only stable one."""
    model = ng.NextGenEI(delta_e=0.005, delta_i=0.005, eta_e=-8.0, j_ee=20.0, j_ei=5.0)
    network = ng.Network(model, W3, 5.0)
    rest = ng.find_equilibria(network.homogeneous())
    x = np.pi * 8 * np.asarray(rest.states[:, 0])
    np.testing.assert_allclose(x, [8.8417393e-4, 1.61805745, 5.07012396], rtol=1e-7)
    assert rest.stable.tolist() == [True, False, False]
    assert bool(rest.complete)
    start = ng.initial_state(network, scatter=0.0)
    np.testing.assert_allclose(start[0], rest.states[0, 0], rtol=1e-12)


def as_part_of_a_program(values, coupling, i_ext_e):
    """Found under `vmap`, over i_ext_e."""

    def found(x):
        return ng.find_equilibria(
            homogeneous(ng.NextGenEI(**values, i_ext_e=x), coupling), throw=False
        )

    return jax.vmap(found)(jnp.asarray(i_ext_e))


def test_as_part_of_a_program():
    """The range is the same, for any sign of j_ii; that these are all is not certified."""
    low = dict(delta_e=0.005, delta_i=0.005, eta_e=-8.0, j_ee=20.0, j_ei=5.0)
    for values, coupling, i_ext_e in ((low, 5.0, [0.0, 1.0]), ({"j_ii": -5.0}, 0.0, [0.0, 12.0])):
        inside = as_part_of_a_program(values, coupling, i_ext_e)
        assert not inside.complete.any()
        for k, x in enumerate(i_ext_e):
            rest = ng.find_equilibria(homogeneous(ng.NextGenEI(**values, i_ext_e=x), coupling))
            assert bool(rest.complete)
            assert int(inside.found[k].sum()) == int(rest.count)
            np.testing.assert_allclose(inside.states[k, : int(rest.count)], rest.states, rtol=1e-9)


def test_inhibition_that_excites():
    """The paper's parameters with j_ii = -5: one equilibrium."""
    for i_ext_e in (0.0, 12.0, 15.0):
        rest = ng.find_equilibria(homogeneous(ng.NextGenEI(j_ii=-5.0, i_ext_e=i_ext_e), 0.0))
        assert int(rest.count) == 1
        assert bool(rest.complete)
        r_e, _, _, r_i, *_ = np.asarray(rest.states[0])
        v_e, v_i = -1 / (16 * np.pi * np.array([r_e, r_i]))
        field_e = v_e**2 - 5 - (8 * np.pi * r_e) ** 2 + i_ext_e + 8 * (5 * r_e - 13 * r_i)
        field_i = v_i**2 - 5 - (8 * np.pi * r_i) ** 2 + 8 * (13 * r_e + 5 * r_i)
        np.testing.assert_allclose([field_e, field_i], 0, atol=1e-12)


def test_more_equilibria_than_places():
    inner = homogeneous(ng.NextGenEI(**FIVE), 18.2786)
    rest = ng.find_equilibria(inner)
    assert int(rest.count) == 5
    assert rest.stable.tolist() == [True, False, False, False, True]
    assert float(rest.growth[4]) == pytest.approx(-0.0040, abs=5e-5)
    with pytest.raises(ng.SolverError, match="more equilibria than places") as caught:
        ng.find_equilibria(inner, max_count=3)
    assert caught.value.status == ng.Status.TRUNCATED
    few = ng.find_equilibria(inner, max_count=3, throw=False)
    np.testing.assert_array_equal(few.states, rest.states[:3])
    assert few.status == ng.Status.TRUNCATED


def test_nine_equilibria():
    rest = ng.find_equilibria(homogeneous(ng.NextGenEI(**NINE), 0.0))
    assert int(rest.count) == 9
    assert bool(rest.complete)
    assert int(rest.stable.sum()) == 4
    # Without a way back the excitatory population is alone: a quartic.
    roots = np.roots([1, -30 / np.pi, 20, 0, -(0.1**2) / 4])
    alone = np.sort(roots[(np.abs(roots.imag) < 1e-9) & (roots.real > 0)].real) / (8 * np.pi)
    np.testing.assert_allclose(np.unique(np.round(rest.states[:, 0], 12)), alone, atol=2e-12)


def test_next_to_a_fold_there_are_two_or_it_is_said():
    """The two are 2 sqrt(gap / bend) apart; each is there, or `complete` is False."""
    i_ext_e, v_e = reference_values("bifurcations.json")["fold"]["26"][0]
    ends = np.array([i_ext_e - 1e-6, i_ext_e + 1e-6])

    def at(x):
        found = search(many(ng.NextGenEI(), {"i_ext_e": x}, np.full(x.size, 26.0)), x.size)
        assert not found.complete[found.number == 2].any()
        return found

    inside = int(np.argmax(at(ends).number))
    assert sorted(at(ends).number) == [1, 3]
    for _ in range(5):
        x = np.linspace(*ends, 65)
        more = at(x).number > 1
        k = int(np.argmax(more[1:] != more[:-1]))
        ends = x[k : k + 2]
    gaps = 10.0 ** np.arange(-15, -8)
    found = at(ends[inside] + (2 * inside - 1) * gaps)
    assert ((found.number == 3) | ~found.complete).all()
    assert (found.number == 3)[3:].all()
    assert found.complete[3:].all()
    near = np.sort(np.abs(found.states[3:, :, 1] - v_e), axis=1)
    assert (near[:, 1] < 1e-3).all()
    found = at(ends[1 - inside] - (2 * inside - 1) * gaps)
    assert ((found.number == 1) | ~found.complete).all()
    assert found.complete[3:].all()


# ---------------------------------------------------------------------- Jansen and Rit


def scanned(v, coupling, points=400_001):
    """Roots u = y1 - y2 by a fine scan, finer where the first sigmoid is steep."""

    def rate(x):
        return 2 * v["e0"] * expit(v["r"] * (x - v["v0"]))

    gain, dip = v["A"] / v["a"], v["B"] / v["b"] * v["C4"]

    def residual(u):
        y0 = gain * rate(u)
        y1 = gain * (v["p"] + v["C2"] * rate(v["C1"] * y0) + coupling * rate(u))
        return y1 - dip * rate(v["C3"] * y0) - u

    reach = 2 * v["e0"] * (abs(gain) * (abs(v["C2"]) + abs(coupling)) + abs(dip)) + 2
    u = np.concatenate([
        gain * v["p"] + np.linspace(-reach, reach, points),
        v["v0"] + np.linspace(-60, 60, points) / v["r"],
    ])  # fmt: skip
    u.sort()
    up = residual(u) > 0
    return u[:-1][up[1:] != up[:-1]]


def test_steep_sigmoids():
    v = dict(
        p=226.749, e0=12.5581, v0=10.0433, r=1.2635, C1=292.383, C2=191.7027, C3=116.5013,
        C4=88.8902,
    )  # fmt: skip
    rest = ng.find_equilibria(homogeneous(ng.JansenRit(**v), -110.469))
    assert bool(rest.complete)
    found = np.sort(np.asarray(rest.states[:, 1] - rest.states[:, 2]))
    exact = scanned({**v, "A": 3.25, "B": 22.0, "a": 100.0, "b": 50.0}, -110.469)
    np.testing.assert_allclose(found, exact, atol=1e-3)
    np.testing.assert_allclose(found, [6.436, 7.248, 8.226], atol=3e-3)


@pytest.mark.parametrize("count", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_jansen_rit_against_a_scan(count):
    u = np.random.default_rng(3).uniform
    v = {"p": u(-200, 500, count), "A": u(-2, 8, count), "B": u(-5, 60, count)}
    v |= {name: 10 ** u(1, 2.5, count) for name in ("a", "b")}
    v |= {"e0": 10 ** u(-0.5, 1.5, count), "v0": u(-5, 15, count), "r": 10 ** u(-1, 1.3, count)}
    v |= {name: u(-50, 400, count) for name in ("C1", "C2", "C3", "C4")}
    coupling = u(-200, 200, count)
    found = search(many(ng.JansenRit(), v, coupling), count)
    assert found.complete.all()
    for k in range(count):
        roots = scanned({name: float(x[k]) for name, x in v.items()}, coupling[k])
        assert found.number[k] == roots.size
    assert found.number.max() >= 3


# ---------------------------------------------------------------------- what is not certified


def test_what_only_has_a_function_or_a_box_is_not_certified():
    """Classes of other equations than those whose slope is bounded, too."""

    class Boxed(ng.NextGenEI):
        def equilibrium_reduction(self, coupling):
            return None

    class Other(ng.NextGenEI):
        def output(self, state):
            return 2 * state[2]

    class Renamed(ng.NextGenEI):
        def observe(self, state):
            return state[0]

    class Steps(ng.JansenRit):
        def firing_rate(self, potential):
            return jnp.where(potential > self.v0, 2 * self.e0, 0.0)

    assert not homogeneous(Steps(), 5.0).certain_search
    assert bool(ng.find_equilibria(homogeneous(Renamed(), 5.0)).complete)
    with pytest.raises(ValueError, match="does not follow"):
        ng.find_equilibria(homogeneous(Other(), 5.0))
    assert not homogeneous(Boxed(), 5.0).certain_search


class Alone(ng.AbstractNeuralMass):
    """Montbrió, Pazó and Roxin's population, tau = 1: rests at the roots of a quartic in π r."""

    variables = ("r", "v")
    units = ("1/ms", "1")
    time_unit = "ms"
    shown = "v"
    shown_unit = "1"
    nonnegative = ("r",)
    eta: jax.Array = parameter(-5.0, unit="1", doc="centre")
    j: jax.Array = parameter(15.0, unit="1", doc="weight")

    def vector_field(self, state, drive):
        r, v = state
        x = np.pi * r
        return jnp.stack([1 / np.pi + 2 * r * v, v**2 - x**2 + self.eta + self.j * r + drive])

    def output(self, state):
        return state[0]

    def search_box(self):
        return jnp.array([1e-3, -5.0]), jnp.array([2.0, 0.0])

    def certain_reduction(self, coupling):
        """x⁴ - a x³ - eta x² - 1/4 for x = π r."""
        a = (self.j + coupling) / np.pi

        def value(owner, x):
            terms = np.stack([x**4, -a[owner] * x**3, -self.eta[owner] * x**2, 0 * x - 0.25])
            return terms.sum(axis=0), 1e-15 * np.abs(terms).max(axis=0)

        def slopes(owner, left, right):
            middle, half = (left + right) / 2, (right - left) / 2
            slope = ((4 * middle - 3 * a[owner]) * middle - 2 * self.eta[owner]) * middle
            bend = 12 * right**2 + 6 * np.abs(a[owner]) * right + 2 * np.abs(self.eta[owner])
            return slope - bend * half, slope + bend * half

        def states(owner, x):
            return np.stack([x / np.pi, -1 / (2 * x)], axis=-1)

        largest = np.abs(a) + np.sqrt(np.abs(self.eta)) + 1
        return over_interval(np.zeros_like(a), largest, value, slopes, states)


def test_a_model_may_bound_its_own_slope():
    """Saddle-nodes of J = 15 are at eta = -5.743527 and -3.136134."""
    eta = np.array([-6.0, -5.744, -5.7436, -5.7434, -4.0, -3.1362, -3.136, -2.0])
    found = search(many(Alone(), {"eta": eta}, np.zeros(eta.size)), eta.size)
    assert found.number.tolist() == [1, 1, 1, 3, 3, 3, 1, 1]
    assert found.complete.all()
    exact = np.roots([1, -15 / np.pi, 4.0, 0, -0.25])
    exact = np.sort(exact[(np.abs(exact.imag) < 1e-9) & (exact.real > 0)].real) / np.pi
    np.testing.assert_allclose(found.states[4, :, 0], exact, rtol=1e-10)


def test_what_is_not_finite_is_not_certified():
    for model, values in (
        (ng.NextGenEI(), {"eta_e": np.array([np.nan, np.inf, -5.0])}),
        (ng.JansenRit(), {"p": np.array([np.nan, np.inf, 120.0])}),
    ):
        found = search(many(model, values, np.zeros(3)), 3)
        assert found.complete.tolist() == [False, False, True]
        assert found.found.any(axis=1).tolist() == [False, False, True]


def polynomials(ends, roots):
    """Functions with given roots (function, root) on an interval, with bounds on their slope."""
    coefficients = [np.poly(r) for r in roots]

    def values(k, x, power=0):
        return np.array([np.polyval(np.polyder(coefficients[i], power), z)
                         for i, z in zip(k, x, strict=True)])  # fmt: skip

    def at(owner, branch, x, low, high):
        return Points(x, x, values(owner, x), np.full(x.size, 1e-13))

    def slopes(owner, branch, left, right):
        middle, half = (left.x + right.x) / 2, (right.x - left.x) / 2
        bend = np.array(
            [
                np.abs(np.polyder(coefficients[i], 2)) @ np.full(len(coefficients[i]) - 2, 1.0)
                for i in owner
            ]
        )  # for |x| ≤ 1
        slope = values(owner, middle, 1)
        return slope - bend * half, slope + bend * half

    owner = np.arange(len(roots))
    pieces = [at(owner, owner, np.full(len(roots), x), None, None) for x in ends]
    return CertainReduction(
        (owner, owner, *pieces), at, slopes, lambda owner, branch, p: p.x[:, None], False
    )


def test_certain_roots():
    """Close ones are apart; a double one, and two nearer than rounding tells, are in doubt."""
    known = ([-0.7, 0.1, 0.1001, 0.9], [0.2, 0.2, -0.5], [0.3, 0.3 + 1e-9, 0.0], [3.0, 2.0])
    reduction = polynomials((-1.0, 1.0), known)
    roots = certain_roots(lambda _: reduction, np.zeros(4), 4)
    assert roots.doubtful.tolist() == [False, True, True, False]
    found = roots.states[roots.owner == 0, 0]
    np.testing.assert_allclose(np.sort(found), known[0], atol=1e-10)
    assert np.abs(roots.states[roots.owner == 1, 0] + 0.5).min() < 1e-10
    assert np.abs(roots.states[roots.owner == 2, 0] - 0.3).min() < 1e-5
    assert not (roots.owner == 3).any()
