"""The models: equations against a transcription in plain NumPy, parameters, checks."""

from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ngnmm_jax as ng
from ngnmm_jax._core.parameters import declared as declared_in
from ngnmm_jax.models import MODELS, parameter
from ngnmm_jax.models.comparisons import random_state
from ngnmm_jax.models.notation import notation_of
from ngnmm_jax.simulation.precision import cast
from ngnmm_jax.systems.coupled import check_coupled

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
    ("model", "by_hand", "value"),
    [(ng.NextGenEI(i_ext_e=13.0), nextgen, 13.0), (ng.JansenRit(p=200.0), jansen_rit, 200.0)],
)
def test_equations(model, by_hand, value):
    state, drive = RNG.normal(size=(6, 4)), RNG.normal(size=4)
    expected = by_hand(state, drive, value)
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


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_what_figures_and_maps_know_of_a_model(model):
    """Everything has a symbol; what is declared by name is there, in the plane of the maps too."""
    notation, names = notation_of(model), declared_in(model)
    for name in (*model.variables, model.shown, *names):
        assert notation.symbol(name).startswith("$"), name
    assert [notation.unit(name) for name in model.variables] == list(model.units)
    assert notation.shown == model.shown
    assert set(model.plane) <= {*names, "coupling"}
    low, high, _ = list(model.plane.values())[1]
    assert low <= model.cut <= high
    assert model().synaptic in (*model.variables, model.shown)


def test_what_is_sent_is_what_bold_follows():
    """Unless a class says so; it is found by trying states, whatever traces the parameters."""
    assert Rate().synaptic == "x"
    assert variant(synaptic="y")().synaptic == "y"
    assert variant(output=lambda m, y: y[0] * y[1])().synaptic == Rate.shown
    assert jax.jit(lambda tau: int(Rate(tau=tau).synaptic == "x"))(2.0) == 1


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_every_parameter_matters_and_is_described(model):
    """Each changes how the model moves, or what it sends."""
    state, drive = jnp.asarray(random_state(model(), (5,))), jnp.full(5, 0.3)

    def seen(model):
        return jnp.append(model.vector_field(state, drive), model.output(state))

    base = seen(model())
    for field in declared_in(model).values():
        assert field.metadata["unit"]
        assert field.metadata["doc"]
        changed = model(**{field.name: field.default * 1.1 + 0.13})
        assert not np.allclose(seen(changed), base, rtol=1e-10, atol=0), field.name


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


# ---------------------------------------------------------------- what a class declares


class Rate(ng.AbstractNeuralMass):
    """x' = (-x + drive) / tau, and the amount y that has been sent."""

    variables = ("x", "y")
    units = ("1", "1")
    time_unit = "ms"
    shown, shown_unit = "x", "1"
    nonnegative = ("y",)

    tau: jax.Array = parameter(8.0, unit="ms", doc="time constant", positive=True)

    def vector_field(self, state, drive):
        return jnp.stack([(drive - state[0]) / self.tau, state[0] - state[1]])

    def output(self, state):
        return state[0]

    def search_box(self):
        return jnp.array([-1.0, 0.0]), jnp.ones(2)


def variant(**contents):
    return type("Variant", (Rate,), contents)


def declared(name, default, **options):
    return {
        "__annotations__": {name: jax.Array},
        name: parameter(default, unit="1", doc="", **options),
    }


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ({"units": ("1",)}, "`Variant.units` must have one entry for each of 2 variables"),
        ({"time_unit": "tau"}, "`Variant.time_unit` must be one of .*'ms'.*, but it is 'tau'"),
        ({"variables": ("x", "x")}, "must be unique"),
        ({"variables": ("x", "1 y")}, "names as Python knows them"),
        ({"variables": ("x", "status")}, "'run', but 'status' is what results have"),
        ({"variables": ("time", "y")}, "'run', but 'time' is what results have"),
        ({"shown": "status", "observe": lambda m, y: y[0]}, "`Variant.shown` must be called"),
        ({"variables": "xy"}, "tuple of texts"),
        ({"variables": ()}, "at least one"),
        ({"variables": ("y", "x")}, "defined for its own variables"),
        ({"variables": ("x", "y", "z"), "units": ("1",) * 3}, "search_box` must be defined for"),
        ({"shown": "v"}, "`Variant.shown` must be a variable"),
        ({"shown_unit": None}, "must be text"),
        ({"symbols": {"z": "$z$"}}, "`Variant.symbols` must be one of 'x', 'y', 'tau'"),
        ({"symbols": "$x$"}, "`Variant.symbols` must be texts by name"),
        ({"synaptic": "z"}, "`Variant.synaptic` must be one of 'x', 'y'"),
        ({"nonnegative": ("z",)}, "`Variant.nonnegative` must be one of 'x', 'y'"),
        ({"tau": 3.0}, "only assigned: without effect"),
        (
            declared("k", 1.0)
            | {"k": eqx.field(default=1.0, metadata={"unit": 1, "doc": "", "positive": False})},
            "text as its unit",
        ),
        (declared("coupling", 1.0), "name of its own"),
        (declared("x_noise", 1.0), "name of its own"),
        (declared("output", 1.0), "name of its own"),
        (declared("x", 1.0), "`Variant.x` must have a name of its own, but a variable, or"),
        (declared("seen", 1.0) | {"shown": "seen", "observe": lambda m, y: y[0]}, "what is shown"),
    ],
)
def test_declarations_that_contradict_each_other(contents, words):
    with pytest.raises(ValueError, match=words):
        variant(**contents)()


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ({"vector_field": lambda m, y, c: y[:1]}, r"must return an array \(2,\)"),
        ({"vector_field": lambda m, y, c: list(y)}, "must return an array"),
        ({"vector_field": lambda m, y, c: jnp.zeros(y.shape, int)}, "it returns .* of int64"),
        ({"vector_field": lambda m, y, c: 1j * y}, "of complex128"),
        ({"vector_field": lambda m, y, c: y.astype(jnp.float32)}, "of float32"),
        ({"vector_field": lambda m, y, c: y @ y @ c}, "could not be evaluated for a state"),
        ({"vector_field": lambda m, y, c: -y + y.mean()}, "must be elementwise"),
        ({"output": lambda m, y: y.sum()}, r"must return an array \(2, 3\)"),
        ({"output": lambda m, y: y[0] / y[0].max()}, "must be elementwise"),
        ({"observe": lambda m, y: y}, "`Variant.observe` must return"),
        ({"search_box": lambda m: (jnp.zeros(3), jnp.ones(3))}, r"two corners, each \(2,\)"),
        ({"search_box": lambda m: (jnp.ones(2), jnp.zeros(2))}, "low and a high corner"),
        ({"search_box": lambda m: None}, "low and a high corner"),
    ],
)
def test_what_a_model_returns_is_checked_when_a_network_is_made(contents, words):
    model = variant(**contents)()
    for make in (lambda: ng.Network(model, np.ones((1, 1))), lambda: ng.Homogeneous(model, 1.0)):
        with pytest.raises(ValueError, match=words):
            make()
    with pytest.raises(ValueError, match=r"must be an object.* it is the class `?Rate"):
        check_coupled(SimpleNamespace(model=Rate))


class Scaled(Rate):
    """Its time constant is given in other units than it is kept in."""

    def __post_init__(self):
        self.tau = 1e3 * self.tau


class Derived(Rate):
    """What it holds is that of the parameters that it was made with."""

    rate: float = 0.0

    def __post_init__(self):
        self.rate = 1 / self.tau


class Table(Rate):
    table: jax.Array = eqx.field(default_factory=lambda: jnp.ones(3))


class Named(Rate):
    kind: str = "min"


class Shaped(Rate):
    shape: object = jnp.tanh


class Gain(Rate):
    """A number and a function beside the parameters do no harm."""

    gain: float = 2.0
    shape: object = eqx.field(static=True, default=jnp.tanh)

    def output(self, state):
        return self.gain * self.shape(state[0])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Scaled, "`Scaled.tau` must be kept as it is given"),
        (Derived, "`Derived.rate` must not depend on the parameters"),
        (Table, "`Table.table` must be declared by `parameter`, or hold no array"),
        (Named, r"`Named.kind` must be static, as in `kind: str = eqx.*holds a str, no number"),
        (Shaped, "`Shaped.shape` must be static"),
    ],
)
def test_what_a_model_holds_beside_its_parameters(kind, words):
    """`with_parameters`, sweeps and fits put in values without making the model anew."""
    with pytest.raises(ValueError, match=words):
        ng.Network(kind(tau=2.0), np.ones((1, 1)))
    run = ng.simulate_batch(
        ng.Network(Gain(), np.ones((1, 1)), 1.0), {"tau": [8.0, 4.0]}, 1.0, dt=0.5,
        start=np.full((2, 1), 0.1),
    )  # fmt: skip
    assert run.ok


def test_a_plain_number_in_32_bits():
    """What a model holds beside its parameters is cast with them; what is static stays."""
    single = cast(ng.Network(Gain(), np.ones((1, 1)), 1.0), jnp.float32)
    leaves = jax.tree.leaves(single)
    assert single.model.gain == 2.0
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}
    held = cast(ng.Network(Gain(gain=3), np.ones((1, 1))), jnp.float32).model.gain
    assert (held, type(held)) == (3, int)


@pytest.mark.parametrize(("rate", "suits"), [(1e2, True), (1e4, False)])
def test_an_inherited_step_must_suit(rate, suits):
    """That of Jansen and Rit's mass is half a millisecond."""
    contents = {"vector_field": lambda m, y, c: -rate * y}
    model = type("Hasty", (ng.JansenRit,), contents)()
    if suits:
        ng.Network(model, np.ones((1, 1)))
        return
    with pytest.raises(
        ValueError, match=r"`Hasty\.time_step` must suit.*0\.00048\d* s.*1e\+04 per s"
    ):
        ng.Network(model, np.ones((1, 1)))


def test_a_model_may_be_made_within_a_transformation():
    def slope(tau):
        network = ng.Network(variant()(tau=tau), np.ones((1, 1)), tau)
        return network.vector_field(jnp.ones((2, 1)))[0, 0]

    assert jax.grad(slope)(4.0) == pytest.approx(1 / 16)  # (tau - 1) / tau
    np.testing.assert_allclose(jax.vmap(slope)(jnp.array([1.0, 2.0])), [0.0, 0.5])
    broken = variant(output=lambda m, y: y[0] - y[0].mean())

    def broken_slope(tau):
        return ng.Network(broken(tau=tau), np.ones((1, 1))).vector_field(jnp.ones((2, 1)))

    with pytest.raises(ValueError, match="must be elementwise"):
        jax.jit(broken_slope)(4.0)


@pytest.mark.parametrize(
    "value", [3, 3.0, np.float32(3), np.array(3), jnp.array(3), [3, 3], (3, 3.0)]
)
def test_numbers_are_parameters(value):
    model = ng.NextGenEI(i_ext_e=value)
    assert model.i_ext_e.dtype == jnp.float64
    assert model.i_ext_e.shape == np.shape(value)
    assert (np.asarray(model.i_ext_e) == 3).all()
    assert ng.Homogeneous(ng.NextGenEI(), value).coupling.dtype == jnp.float64


@pytest.mark.parametrize(
    "value",
    [True, 3j, "3", None, [1, "2"], [[1, 2], [3]], 10**400, {"a": 1}, jnp.array(1j),
     np.ma.array([1.0, 2.0], mask=[False, True])],
)  # fmt: skip
def test_what_is_no_number_is_no_parameter(value):
    for name, make in (
        ("i_ext_e", lambda: ng.NextGenEI(i_ext_e=value)),
        ("coupling", lambda: ng.Network(ng.NextGenEI(), np.ones((2, 2)), value)),
        ("coupling", lambda: ng.Homogeneous(ng.NextGenEI(), value)),
        (
            "coupling",
            lambda: ng.Network(ng.NextGenEI(), np.ones((2, 2))).with_parameters(coupling=value),
        ),
    ):
        with pytest.raises(ValueError, match=f"`{name}` must be a number"):
            make()
