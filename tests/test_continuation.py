"""Continuation of systems whose bifurcations are known exactly."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ngnmm_jax as ng
from ngnmm_jax.bifurcations.given import bounds_of
from ngnmm_jax.dynamics.continuation.collocation import adapted


class Planar(eqx.Module):
    """r' = μ r + β r³ + γ r⁵, θ' = ω + σ r²: Stuart and Landau's, or a generalised Hopf point."""

    mu: jax.Array
    beta: jax.Array
    gamma: jax.Array = eqx.field(default_factory=lambda: jnp.asarray(0.0))
    sigma: jax.Array = eqx.field(default_factory=lambda: jnp.asarray(0.5))
    omega: jax.Array = eqx.field(default_factory=lambda: jnp.asarray(2.0))

    time_step = 0.01

    @property
    def state_shape(self):
        return (2,)

    def vector_field(self, state):
        x, y = state
        r2 = x * x + y * y
        a = self.mu + (self.beta + self.gamma * r2) * r2
        b = self.omega + self.sigma * r2
        return jnp.stack([a * x - b * y, b * x + a * y])


class Cusp(eqx.Module):
    """x' = h + k x - x³."""

    h: jax.Array
    k: jax.Array

    @property
    def state_shape(self):
        return (1,)

    def vector_field(self, state):
        return self.h + self.k * state - state**3


class BogdanovTakens(eqx.Module):
    """x' = y, y' = a + b x + x² + x y."""

    a: jax.Array
    b: jax.Array

    @property
    def state_shape(self):
        return (2,)

    def vector_field(self, state):
        x, y = state
        return jnp.stack([y, self.a + self.b * x + x * x + x * y])


def build(kind, *values):
    return kind(*map(jnp.asarray, values))


@pytest.fixture(scope="module")
def stuart_landau():
    system = build(Planar, -1.0, -1.0)
    rest = ng.continue_equilibria(system, {"mu": (-1.0, 1.0)}, start=[0.0, 0.0])
    return system, rest


def test_hopf_point(stuart_landau):
    _, rest = stuart_landau
    (hopf,) = rest.special
    assert hopf.kind == "hopf"
    assert hopf.status == ng.Status.OK
    assert abs(hopf.parameter) < 1e-12
    assert hopf.period == pytest.approx(np.pi, rel=1e-12)
    # z' = … + (-1 + 0.5i) z |z|², z = sqrt(2) times the coordinate along a unit vector.
    assert hopf.coefficient == pytest.approx(-1.0, rel=1e-10)
    assert rest.ends == ("bound", "bound")
    assert rest.stable[rest.parameter < -1e-9].all()
    assert not rest.stable[rest.parameter > 1e-9].any()
    assert set(rest.parameter[[0, -1]]) == {-1.0, 1.0}


@pytest.fixture(scope="module")
def cycles(stuart_landau):
    system, rest = stuart_landau
    return ng.continue_cycles(system, {"mu": (-1.0, 1.0)}, start=rest.special[0])


def test_cycles_from_hopf(cycles):
    mu = cycles.parameter
    assert cycles.ends == ("start", "bound")
    assert np.abs(cycles.high[:, 0] / np.sqrt(mu) - 1).max() < 1e-8
    assert np.abs(cycles.low[:, 1] / np.sqrt(mu) + 1).max() < 1e-8
    assert np.abs(cycles.periods / (2 * np.pi / (2 + 0.5 * mu)) - 1).max() < 1e-10
    # The multipliers: 1, and exp(-2 μ T).
    assert np.abs(cycles.spectrum[:, 1] + 2 * mu * cycles.periods).max() < 1e-7
    assert np.abs(cycles.spectrum[:, 0]).max() < 1e-7
    assert cycles.stable.all()
    ts, states = cycles.cycle(len(cycles) - 1)
    assert ts[-1] == pytest.approx(cycles.periods[-1])
    assert np.abs(np.hypot(*states.T) - 1).max() < 1e-6


@pytest.mark.slow
def test_cycles_end_at_a_hopf_point(stuart_landau):
    """From an orbit in both directions: a bound, and the Hopf point, located."""
    system, _ = stuart_landau
    system = eqx.tree_at(lambda s: s.mu, system, jnp.asarray(0.5))
    guess = np.array([np.sqrt(0.5), 0.0])
    orbit = ng.find_orbit(system, start=guess, period=2 * np.pi / 2.25, steps=64)
    cycles = ng.continue_cycles(system, {"mu": (-1.0, 1.0)}, start=orbit)
    assert sorted(cycles.ends) == ["bound", "hopf"]
    (hopf,) = cycles.special
    assert abs(hopf.parameter) < 1e-9
    assert np.abs(hopf.state).max() < 1e-9


@pytest.fixture(scope="module")
def generalised():
    system = build(Planar, -1.0, 1.0, -1.0, 0.0)
    rest = ng.continue_equilibria(system, {"mu": (-1.0, 1.0)}, start=[0.0, 0.0])
    cycles = ng.continue_cycles(system, {"mu": (-1.0, 1.0)}, start=rest.special[0])
    return system, rest, cycles


def test_fold_of_cycles(generalised):
    """Cycles r² = (β ± sqrt(β² + 4 μ)) / 2 meet at μ = -β² / 4."""
    _, rest, cycles = generalised
    assert rest.special[0].coefficient > 0
    (fold,) = cycles.special
    assert fold.kind == "cycle_fold"
    assert fold.parameter == pytest.approx(-0.25, abs=1e-10)
    assert fold.period == pytest.approx(np.pi, rel=1e-10)
    before = np.arange(len(cycles)) < fold.index
    assert not cycles.stable[before].any()
    assert cycles.stable[~before][1:].all()


def test_curve_of_folds_of_cycles(generalised):
    """They lie at μ = -β² / 4, where r² = β / 2, whatever turns them."""
    system, _, cycles = generalised
    fold = cycles.special[0]
    folds = ng.continue_bifurcation(system, {"mu": (-1.0, 1.0), "beta": (0.9, 1.1)}, fold)
    assert folds.ends == ("bound", "bound")
    mu, beta = folds.parameters.T
    assert sorted(beta[[0, -1]]) == pytest.approx([0.9, 1.1], abs=1e-12)
    assert np.abs(mu + beta**2 / 4).max() < 1e-9
    assert np.abs(folds.periods - np.pi).max() < 1e-9


@pytest.mark.slow
def test_curve_of_folds_of_cycles_ends_at_a_generalised_hopf_point(generalised):
    system, rest, cycles = generalised
    names, bounds = ("mu", "beta"), ((-1.0, 1.0), (-1.0, 2.0))
    folds = ng.continue_bifurcation(
        system, dict(zip(names, bounds, strict=True)), cycles.special[0]
    )
    assert set(folds.ends) == {"generalised_hopf", "bound"}
    mu, beta = folds.parameters.T
    assert np.abs(mu + beta**2 / 4).max() < 1e-8
    hopfs = ng.continue_bifurcation(system, dict(zip(names, bounds, strict=True)), rest.special[0])
    (point,) = hopfs.special
    assert point.kind == "generalised_hopf"
    assert np.abs(list(point.parameters.values())).max() < 1e-8


def test_folds_and_cusp():
    system = build(Cusp, -1.0, 1.0)
    rest = ng.continue_equilibria(system, {"h": (-1.0, 1.0)}, start=[-1.3])
    assert [p.kind for p in rest.special] == ["fold", "fold"]
    exact = 2 / (3 * np.sqrt(3))
    assert sorted(p.parameter for p in rest.special) == pytest.approx([-exact, exact], abs=1e-10)
    assert [int(u) for u in rest.unstable[[0, len(rest) // 2, -1]]] == [0, 1, 0]
    names, bounds = ("h", "k"), ((-1.0, 1.0), (-1.0, 1.5))
    folds = ng.continue_bifurcation(system, dict(zip(names, bounds, strict=True)), rest.special[0])
    h, k = folds.parameters.T
    assert np.abs(4 * k**3 - 27 * h**2).max() < 1e-8
    (cusp,) = folds.special
    assert cusp.kind == "cusp"
    assert np.abs(list(cusp.parameters.values())).max() < 1e-8


def test_pitchfork_is_a_branch_point_and_is_switched_at():
    system = build(Cusp, 0.0, -1.0)
    rest = ng.continue_equilibria(system, {"k": (-1.0, 1.0)}, start=[0.0])
    (point,) = rest.special
    assert point.kind == "branch_point"
    assert abs(point.parameter) < 1e-8
    other = ng.continue_equilibria(system, {"k": (-1.0, 1.0)}, start=point)
    assert np.abs(other.states[:, 0] ** 2 - other.parameter).max() < 1e-10
    assert {float(x) for x in other.states[[0, -1], 0].round(9)} == {-1.0, 1.0}
    diagram = ng.bifurcation_diagram(ForkFinder(system), {"k": (-1.0, 1.0)})
    assert len(diagram.branches) == 2
    assert diagram.status == ng.Status.OK


class ForkFinder(eqx.Module):
    """The same system, which says where equilibria may be."""

    inner: Cusp

    @property
    def model(self):
        return self.inner

    @property
    def state_shape(self):
        return (1,)

    def vector_field(self, state):
        return self.inner.vector_field(state)

    def equilibrium_candidates(self, max_count):
        return jnp.linspace(-1.5, 1.5, 7)[:, None] + 0.01

    def admissible(self, state):
        return jnp.array(True)


@pytest.mark.slow
def test_bogdanov_takens_and_homoclinic():
    """Hopf points (a = 0) and folds (a = b²/4) meet at (0, 0); cycles end at a saddle."""
    system = build(BogdanovTakens, -1.0, -0.5)
    rest = ng.continue_equilibria(system, {"a": (-1.0, 1.0)}, start=[-1.0, 0.0])
    hopf, fold = rest.special
    assert (hopf.kind, fold.kind) == ("hopf", "fold")
    assert abs(hopf.parameter) < 1e-10
    assert fold.parameter == pytest.approx(1 / 16, abs=1e-10)
    names, bounds = ("a", "b"), ((-1.0, 1.0), (-1.0, 1.0))
    for start in (hopf, fold):
        curve = ng.continue_bifurcation(system, dict(zip(names, bounds, strict=True)), start)
        (point,) = curve.special
        assert point.kind == "bogdanov_takens"
        assert np.abs(list(point.parameters.values())).max() < 1e-8
    cycles = ng.continue_cycles(system, {"a": (-1.0, 1.0)}, start=hopf, longest_period=100.0)
    assert cycles.ends[1] == "homoclinic"
    assert cycles.special[-1].kind == "homoclinic"
    assert cycles.periods[-1] > 100


class Circle(eqx.Module):
    """r' = r - r³, θ' = a - sin θ: a saddle-node on the circle at a = 1."""

    a: jax.Array

    time_step = 0.01

    @property
    def state_shape(self):
        return (2,)

    def vector_field(self, state):
        x, y = state
        r2 = x * x + y * y
        turn = self.a - y / jnp.sqrt(r2)
        return jnp.stack([(1 - r2) * x - turn * y, (1 - r2) * y + turn * x])


@pytest.mark.slow
def test_snic_is_named():
    """The period is 2π / sqrt(a² - 1)."""
    system = build(Circle, 2.0)
    orbit = ng.find_orbit(system, start=np.array([1.0, 0.0]), transient=1.0, window=10.0, steps=64)
    cycles = ng.continue_cycles(system, {"a": (0.5, 3.0)}, start=orbit, longest_period=200.0)
    assert sorted(cycles.ends) == ["bound", "snic"]
    exact = 2 * np.pi / np.sqrt(cycles.parameter**2 - 1)
    good = cycles.periods < 100
    assert np.abs(cycles.periods / exact - 1)[good].max() < 1e-6


def test_mesh_follows_the_solution(cycles):
    """Intervals gather where the solution is sharp: nowhere along a circle."""
    mesh, roughness = adapted(cycles.profiles[-1], np.ones(2), 16)
    assert roughness == pytest.approx(2 * np.pi, rel=0.1)  # (|x⁗'|)^(1/5) = 2π
    assert np.ptp(np.diff(mesh)) < 0.1 / 16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parameters": {"nu": (0.0, 1.0)}}, "`parameters` must be one of 'mu'"),
        ({"parameters": {"mu": (1.0, -1.0)}}, "`parameters` must hold the lowest and highest mu"),
        ({"parameters": {"mu": (0.0, float("nan"))}}, "`parameters` must be finite"),
        ({"parameters": {"mu": (0.0,)}}, "`parameters` must hold the bounds"),
        ({"parameters": {}}, "`parameters` must name one parameter and its bounds"),
        ({"start": [0.0]}, "`start` must have shape"),
        ({"longest": 0.0}, "`longest` must be positive"),
        ({"max_points": 0}, "`max_points` must be a positive integer"),
    ],
)
def test_bad_input(stuart_landau, change, message):
    system, _ = stuart_landau
    given = {"parameters": {"mu": (-1.0, 1.0)}, "start": [0.0, 0.0]} | change
    with pytest.raises(ValueError, match=message):
        ng.continue_equilibria(system, **given)


def test_a_name_alone_is_refused():
    """Before the types of arguments are checked, as they are in tests alone."""
    with pytest.raises(ValueError, match="`parameters` must name one parameter and its bounds"):
        bounds_of("mu", 1)


def test_bad_starts(stuart_landau, generalised):
    system, rest = stuart_landau
    fold = generalised[2].special[0]
    with pytest.raises(ValueError, match="`start` must be one of: Hopf, period doubling"):
        ng.continue_cycles(system, {"mu": (-1.0, 1.0)}, start=fold)
    with pytest.raises(ValueError, match="`parameters` must name two parameters and their bounds"):
        ng.continue_bifurcation(system, {"mu": (-1.0, 1.0)}, rest.special[0])
    with pytest.raises(ValueError, match="`intervals` must be at least 8"):
        ng.continue_cycles(system, {"mu": (-1.0, 1.0)}, start=rest.special[0], intervals=4)
    with pytest.raises(ng.SolverError, match="raise `max_points`"):
        ng.continue_equilibria(system, {"mu": (-1.0, 1.0)}, start=[0.0, 0.0], max_points=3)
    cut = ng.continue_equilibria(
        system, {"mu": (-1.0, 1.0)}, start=[0.0, 0.0], max_points=3, throw=False
    )
    assert cut.status == ng.Status.MAX_STEPS
    assert "points" in cut.ends


def test_a_curve_begins_within_its_bounds(stuart_landau, generalised):
    """The system is at mu = -1, its Hopf point at 0: bounds without these are refused."""
    system, rest = stuart_landau
    hopf, above = rest.special[0], (0.5, 1.0)
    with pytest.raises(ValueError, match="`parameters` must hold the mu at which the curve begins"):
        ng.continue_equilibria(system, {"mu": above}, start=[0.0, 0.0])
    with pytest.raises(ValueError, match="`parameters` must hold the mu"):
        ng.continue_cycles(system, {"mu": above}, start=hopf)
    for names, bounds, name in (
        (("mu", "sigma"), (above, (0.0, 1.0)), "mu"),
        (("mu", "sigma"), ((-1.0, 1.0), (0.6, 1.0)), "sigma"),
    ):
        with pytest.raises(ValueError, match=f"`parameters` must hold the {name}"):
            ng.continue_bifurcation(system, dict(zip(names, bounds, strict=True)), hopf)
    fold = generalised[2].special[0]
    with pytest.raises(ValueError, match="`parameters` must hold the mu"):
        ng.continue_bifurcation(generalised[0], {"mu": above, "sigma": (-1.0, 1.0)}, fold)
    with pytest.raises(ValueError, match="`cuts` must be within the bounds of sigma"):
        ng.two_parameter_diagram(system, {"mu": (-1.0, 1.0), "sigma": (0.0, 1.0)}, [2.0])


def test_a_curve_begins_where_it_is_said_to(stuart_landau, generalised):
    system, _rest = stuart_landau
    with pytest.raises(ValueError, match=r"`start` must be within 0.2 of an equilibrium"):
        ng.continue_equilibria(system, {"mu": (-1.0, 1.0)}, start=[3.0, -4.0])
    fold = generalised[2].special[0]
    with pytest.raises(ValueError, match="`start` must be of a branch over 'beta' alone"):
        ng.continue_bifurcation(generalised[0], {"beta": (-1.0, 2.0), "mu": (-1.0, 1.0)}, fold)
    planar = build(Planar, 0.25, -1.0)
    found = ng.find_orbit(planar, start=jnp.array([0.5, 0.0]), period=2 * np.pi / 2.125)
    lost = dataclasses.replace(found, status=jnp.asarray(ng.Status.NOT_PERIODIC))
    with pytest.raises(ValueError, match="`start` must be an orbit that was found"):
        ng.continue_cycles(system, {"mu": (-1.0, 1.0)}, start=lost)


def test_cycles_next_to_a_bound(stuart_landau):
    """Those of mu > 0 begin at the Hopf point, however near the bound is; or there are none."""
    system, rest = stuart_landau
    cycles = ng.continue_cycles(system, {"mu": (-1.0, 1e-4)}, start=rest.special[0], intervals=64)
    assert cycles.ends == ("start", "bound")
    assert (cycles.parameter > 0).all()
    assert (cycles.parameter <= 1e-4 * (1 + 1e-12)).all()
    with pytest.raises(ng.SolverError, match="leaves the bounds at once"):
        ng.continue_cycles(system, {"mu": (-1.0, 0.0)}, start=rest.special[0], intervals=64)


class Cubic(eqx.Module):
    """x' = p + q x - b x³, whose folds are at p² = 4 q³ / (27 b)."""

    p: jax.Array
    q: jax.Array
    b: jax.Array
    state_shape: tuple = eqx.field(default=(1,), static=True)

    def vector_field(self, state):
        return self.p + self.q * state - self.b * state**3


def test_curves_at_values_of_a_third_parameter():
    """Folds of a cubic, exact; a value that is not reached is a failure that says why."""
    system = Cubic(*map(jnp.asarray, (0.0, 1.0, 1.0)))
    branch = ng.continue_equilibria(system, {"p": (-2.0, 2.0)}, start=[1.0])
    fold = branch.of_kind("fold")[0]
    plane = {"p": (-2.0, 2.0), "q": (0.2, 2.0)}
    family = ng.bifurcation_family(system, plane, {"b": [2.0, 0.5, 1.0, 0.01]}, fold, longest=0.2)
    assert [curve.fixed["b"] for curve in family.branches] == [0.5, 1.0, 2.0]
    for curve in family.branches:
        p, q = curve.parameters.T
        np.testing.assert_allclose(p**2, 4 * q**3 / (27 * curve.fixed["b"]), rtol=1e-7)
    (failure,) = family.failures
    assert failure.startswith("b = 0.01: the way to this value")
    assert "widen the bounds of p" in failure
    with pytest.raises(ValueError, match="`third` must be another one than `parameters`"):
        ng.bifurcation_family(system, plane, {"q": [1.0]}, fold)
