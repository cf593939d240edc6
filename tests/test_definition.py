"""What decides the numbers: the same for the same, anywhere; another one for whatever differs."""

import dataclasses
import functools
import importlib
import json
import os
import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ngnmm_jax as ng
from ngnmm_jax._core.definition import definition, plain
from ngnmm_jax._core.programs import identity, program
from ngnmm_jax.chaos import lyapunov_map as chaos
from ngnmm_jax.cli.fit_file import FitFile
from ngnmm_jax.fitting import Gradient, Unknown, interval
from ngnmm_jax.reproduce.run import _definition as figures
from ngnmm_jax.stability import maps as maps
from ngnmm_jax.sweeps import Function
from ngnmm_jax.sweeps.measures import called
from ngnmm_jax.systems.stimuli import Custom, Pulse, Sampled, Sine

fitting = importlib.import_module("ngnmm_jax.fitting.fit")

W2 = np.array([[0, 1.0], [1, 0]])
TABLE = np.arange(3.0)
GAIN = 2.0


def helper(x):
    return GAIN * x


def differ(one, other):
    """The entries in which two definitions differ, after a way through JSON."""
    one, other = json.loads(json.dumps(one)), json.loads(json.dumps(other))
    return [name for name in sorted({*one, *other}) if one.get(name) != other.get(name)]


@pytest.fixture(scope="module")
def network():
    return ng.Network(ng.JansenRit(), W2, 1.0)


# ------------------------------------------------------------------- functions


class Scaled(eqx.Module):
    by: jax.Array

    def __call__(self, x):
        return {"x": self.by * x}

    def method(self, x):
        return {"x": self.by * x}


def closed(value):
    return lambda x: {"x": value * x}


def through_dict(value):
    data = {"one": {"two": [value]}}
    return lambda x: {"x": data["one"]["two"][0] * x}


def of_partial(value):
    return functools.partial(lambda value, x: {"x": value * x}, value)


def inside_jit(value):
    return jax.jit(closed(value))


def inside_loop(value):
    return lambda x: {"x": jax.lax.fori_loop(0, 3, lambda _, y: value * y, x)}


def derived(value):
    """The rule of a derivative, where one is taken."""

    @jax.custom_vjp
    def function(x):
        return jnp.sin(x)

    function.defvjp(lambda x: (function(x), x), lambda x, g: (g * value,))
    return lambda x: {"x": jax.grad(lambda x: function(x).sum())(x)}


WAYS = (closed, through_dict, of_partial, inside_jit, inside_loop, derived)
WAYS = (*WAYS, Scaled, lambda value: Scaled(value).method)


@pytest.mark.parametrize("way", WAYS)
def test_functions_are_their_values(way):
    x = jnp.ones(3)

    def known(value):
        return program(way(value), x)

    assert known(TABLE) == known(TABLE.copy())
    changed = TABLE.copy()
    changed[1] += 1e-12
    assert known(changed) != known(TABLE)
    assert known(TABLE.astype(np.float32)) != known(TABLE)


def test_functions_are_what_they_return_and_take():
    x = jnp.ones(3)
    one = program(lambda x: {"a": x, "b": 2 * x}, x)
    assert program(lambda x: {"b": 2 * x, "a": x}, x) == one
    assert program(lambda x: {"a": 2 * x, "b": x}, x) != one
    assert program(lambda x: {"a": x, "c": 2 * x}, x) != one
    assert program(lambda x: {"a": x, "b": 2 * x}, np.ones(3)) == one
    assert program(lambda x: {"a": x, "b": 2 * x}, x.astype(jnp.float32)) != one
    assert program(lambda x: {"a": x, "b": 2 * x}, jnp.ones(4)) != one


def test_a_constant_of_a_module(monkeypatch):
    """Also in a helper, and although JAX has seen the function before."""
    before = program(helper, 1.0)
    monkeypatch.setattr(sys.modules[__name__], "GAIN", 3.0)
    assert program(helper, 1.0) != before
    monkeypatch.undo()
    assert program(helper, 1.0) == before


def on_host(function):
    def called_back(x):
        like = jax.ShapeDtypeStruct((), x.dtype)
        return jax.pure_callback(function, like, x, vmap_method="sequential")

    return called_back


@dataclasses.dataclass(frozen=True)
class Called:
    by: float = 2.0

    def __call__(self, x):
        return np.asarray(self.by * x)


def own_rule(value):
    function = jax.custom_batching.custom_vmap(jnp.sin)
    function.def_vmap(lambda size, batched, x: (value * x, True))
    return function


HOST = [on_host(f) for f in (lambda x: np.sin(x), Called(), functools.partial(Called(), 1.0))]
HOST += [own_rule(2.0)]


@pytest.mark.parametrize("function", HOST)
def test_what_no_trace_shows_needs_a_key(function):
    with pytest.raises(ValueError, match="Argument `key` must be given"):
        program(function, 1.0)
    assert program(function, 1.0, key="a") == program(function, 1.0, key="a")
    assert program(function, 1.0, key="b") != program(function, 1.0, key="a")
    with pytest.raises(ValueError, match="`key` must be made of texts, numbers and arrays"):
        program(function, 1.0, key=lambda: 0)


def test_what_is_only_shown_does_not_count():
    def shown(x):
        jax.debug.print("{}", x)
        return 2 * x

    assert program(shown, 1.0) == program(lambda x: 2 * x, 1.0)
    assert program(on_host(np.sin), 1.0) != program(on_host(np.cos), 1.0)  # NumPy's are known


def test_values_fit_json_and_keep_their_type():
    assert plain({"a": (np.float64(0.5), np.int64(2), None)}) == {"a": [0.5, 2, None]}
    assert plain(np.ones(2)) == [1.0, 1.0]
    for other in (np.ones(2, np.float32), np.array([1.0, np.nan]), np.array([1.0, -0.0])):
        assert plain(other) == plain(other.copy())  # NaN is equal to itself here
        assert plain(other) != plain(np.array([1.0, 0.0]))
    assert identity({1, "a", 2.0}) == identity({2.0, "a", 1})


OPTIMISERS = {
    "another": (optax.adam(0.1), optax.adamw(0.1)),
    "a rate": (optax.adam(0.1), optax.adam(0.2)),
    "a constant": (optax.adam(0.1), optax.adam(0.1, b1=0.8)),
    "a schedule": [optax.sgd(optax.cosine_decay_schedule(0.1, n)) for n in (100, 200)],
}


@pytest.mark.parametrize("pair", OPTIMISERS.values(), ids=OPTIMISERS)
def test_optimisers(pair):
    def known(optimiser):
        return program(lambda x: optimiser.update(x, optimiser.init(x), x), jnp.ones(3))

    assert known(pair[0]) == known(pair[0])
    assert known(pair[0]) != known(pair[1])


# --------------------------------------------------------------------- systems


def slowed(by, step=None):
    """A class of one name, with a helper, a hook and a property that follow closures."""

    class Mine(ng.JansenRit):
        def vector_field(self, state, drive):
            return self.scaled(super().vector_field(state, drive))

        def scaled(self, value):
            return by * value

        @property
        def time_step(self):
            return 1e-3 if step is None else step

        def itself(self):
            return Mine

    return Mine()


def ruled(by):
    """Its derivative has a rule of its own."""

    @jax.custom_jvp
    def same(x):
        return x

    same.defjvp(lambda x, dx: (x[0], by * dx[0]))

    class Mine(ng.JansenRit):
        def vector_field(self, state, drive):
            return super().vector_field(same(state), drive)

    return Mine()


def shows(row):
    class Mine(ng.JansenRit):
        def observe(self, state):
            return state[row]

    return Mine()


def slower_flow(by):
    class Mine(ng.MontbrioPazoRoxin):
        def exact_flow(self, dt):
            return super().exact_flow(by * dt)

    return Mine()


def of(model, **entries):
    return definition("work", ng.Network(model, W2, 1.0), **entries)


def test_models():
    plain_one, scaled = of(ng.JansenRit()), of(slowed(1.0))
    assert differ(plain_one, of(ng.JansenRit(p=np.float64(plain_one["parameters"]["p"])))) == []
    assert differ(plain_one, of(ng.JansenRit(p=9.0))) == ["parameters"]
    assert differ(scaled, of(slowed(1.0))) == []
    assert differ(scaled, of(slowed(2.0))) == ["classes", "equations"]
    assert differ(scaled, of(slowed(1.0, 1e-4))) == ["classes", "time_step"]
    assert differ(of(shows(1)), of(shows(4))) == ["equations"]
    assert differ(of(ruled(1.0)), of(ruled(2.0))) == ["equations"]
    regional = of(ng.JansenRit(p=np.full(2, 9.0)))
    assert differ(plain_one, regional) == ["equations", "parameters"]
    single = of(ng.JansenRit(p=jnp.full(2, 9.0, jnp.float32)))
    assert differ(regional, single) == ["equations", "parameters"]
    # The hooks of a model beside its vector field.
    flow = of(slower_flow(1.0))
    assert differ(of(ng.MontbrioPazoRoxin()), flow) == ["equations", "model"]
    assert differ(flow, of(slower_flow(1.5))) == ["equations"]


def test_networks(network):
    known = definition("work", network)
    assert differ(known, definition("work", ng.Network(ng.JansenRit(), W2.copy(), 1))) == []
    weights = W2 + 1e-12
    changed = ng.Network(ng.JansenRit(), weights, 1.0)
    assert differ(known, definition("work", changed)) == ["weights"]
    named = ng.Network(ng.JansenRit(), ng.Connectome(W2, labels=("a", "b")), 1.0)
    assert differ(known, definition("work", named)) == []  # names decide no numbers
    assert "system" in differ(known, definition("work", network.homogeneous()))
    assert differ(known, definition("other", network)) == ["computation"]
    with jax.default_matmul_precision("highest"):
        assert "precision" in differ(known, definition("work", network))


STIMULI = {
    "none": (None, Pulse(1.0, 2.0, 3.0)),
    "pulse": (Pulse(1.0, 2.0, 3.0), Pulse(1.0, 2.0, np.array([3.0, 0.0]))),
    "sine": (Sine(10.0, 1.0), Sine(10.0, 1.0, 0.5)),
    "sampled": [Sampled([0.0, 1.0], [1.0, 2.0], held=held) for held in (False, True)],
    "custom": [Custom(lambda t, rate=rate: jnp.sin(rate * t)) for rate in (1.0, 2.0)],
    "sum": [Custom(jnp.sin) + Custom(lambda t, r=r: r * t) for r in (1.0, 2.0)],
}


@pytest.mark.parametrize("pair", STIMULI.values(), ids=STIMULI)
def test_stimuli(network, pair):
    one, other = (definition("work", ng.Driven(network, {}, stimulus)) for stimulus in pair)
    assert differ(one, definition("work", ng.Driven(network, {}, pair[0]))) == []
    assert {"stimulus", "stimulus_function"} & {*differ(one, other)}


def test_driven(network):
    def known(*driven):
        return definition("work", ng.Driven(network, *driven))

    assert differ(known({"y0": 0.1}), known({"y0": 0.2})) == ["noise"]
    assert differ(known({"y0": 0.1}), known({"y1": 0.1})) == ["noise"]
    # Another object of the same operations is the same.
    same = [known({}, Custom(lambda t: jnp.sin(2 * t))) for _ in range(2)]
    assert differ(*same) == []
    with pytest.raises(ValueError, match=r"Argument `key` .*Custom\(…, key=…\)"):
        known({}, Custom(on_host(lambda t: np.sin(t))))
    keyed = [known({}, Custom(on_host(lambda t: np.sin(t)), key=key)) for key in ("a", "a", "b")]
    assert differ(*keyed[:2]) == []
    assert differ(*keyed[1:]) == ["stimulus_function"]


CODE = """
import json
import jax
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
import numpy as np
import optax
import ngnmm_jax as ng
from ngnmm_jax._core.definition import definition
from ngnmm_jax._core.programs import identity, program

class Mine(ng.MontbrioPazoRoxin):
    def vector_field(self, state, drive):
        return self.scaled(super().vector_field(state, drive))
    def scaled(self, value):
        return 2.0 * value if value.dtype.name in {"float64", "float32", "bfloat16"} else value

table = np.linspace(0.0, 1.0, 7)
network = ng.Network(Mine(), np.array([[0, 1.0], [1, 0]]), 5.0)
driven = ng.Driven(network, {"v": 0.1}, ng.stimuli.Custom(lambda t: table[2] * jnp.sin(t)))

def measure(network, seed):
    rest = ng.find_equilibria(network.homogeneous(), throw=False)
    noise = jax.random.normal(jax.random.key(seed))
    return {"x": rest.states[0] @ table[:2] + noise}

def response(network):
    return ng.linear_response(network, table[1:] * 50, throw=False, stability=False).fc

found = json.dumps([
    definition("work", driven, axes=table),
    program(measure, network.bare(), 0),
    program(response, driven.bare()),
    program(optax.adam(0.1).init, table),
    identity({"a", "b", "c", "d"}),
])
"""


def test_the_same_in_another_process():
    """Without source, with other hashes, another number of devices, no checks of types."""
    here = {}
    exec(CODE, here)
    environment = {**os.environ, "PYTHONHASHSEED": "7", "JAX_NUM_CPU_DEVICES": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CODE + "print(found)"],
        capture_output=True, text=True, env=environment, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == json.loads(here["found"])


def adaptive(network):
    return ng.simulate(network, 5.0, progress=False, throw=False).states.mean()


def first_rest(network):
    return ng.find_equilibria(network.homogeneous(), throw=False).states[0]


def response(network):
    driven = ng.Driven(network, {"v_e": 0.1})
    return ng.linear_response(driven, np.arange(1.0, 4.0), throw=False).fc[0, 1]


ANALYSES = {
    "simulation": adaptive,
    "its gradient": jax.grad(adaptive),
    "equilibria": first_rest,
    "dispersion": lambda n: ng.dispersion(n, first_rest(n)).growth,
    "orbit": lambda n: ng.find_orbit(n.homogeneous(), throw=False).period,
    "response": response,
    "its gradient, too": jax.grad(response),
}


@pytest.mark.slow
@pytest.mark.parametrize("work", ANALYSES.values(), ids=ANALYSES)
def test_analyses_within_a_function_need_no_key(work, as_users_call):
    """The program is the same from the first call on; checks of types look at properties once."""
    network = ng.Network(ng.NextGenEI(), W2, 1.0).bare()
    known = program(work, network)
    assert program(lambda n: work(n), network) == known
    doubled = jax.jit(lambda n: jax.tree.map(lambda leaf: 2.0 * leaf, n))
    assert program(lambda n: work(doubled(n)), network) != known


# ---------------------------------------------------------------------- sweeps

AXES = {"p": [0.0, 1.0, 2.0], "coupling": [1.0, 2.0, 3.0]}


def level(by):
    return lambda network: {"level": by * (network.coupling + network.model.p)}


def on_the_host(network):
    return {"level": float(network.coupling)}


@pytest.fixture(scope="module")
def kept(network, tmp_path_factory):
    """A finished store of a function with a closure."""
    path = tmp_path_factory.mktemp("sweeps") / "sweep.zarr"
    ng.sweep(network, AXES, Function(level(1.0), units={"level": "1/ms"}), store=path)
    return path


CHANGES = {
    "a closure": (level(2.0), {"units": {"level": "1/ms"}}, AXES, "measure"),
    "units": (level(1.0), {"units": {"level": "1/s"}}, AXES, "units"),
    "no units": (level(1.0), {}, AXES, "units"),
    "the order of axes": (
        level(1.0), {"units": {"level": "1/ms"}}, dict(reversed(AXES.items())), "design"
    ),
    "a value": (level(1.0), {"units": {"level": "1/ms"}}, {**AXES, "coupling": [1, 2, 4]},
                "design"),
    "a key": (level(1.0), {"units": {"level": "1/ms"}, "key": "new"}, AXES, "measure"),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_another_sweep_is_refused(network, kept, change):
    function, options, axes, entry = change
    with pytest.raises(ValueError, match=rf"differs in .*{entry} \("):
        ng.sweep(network, axes, Function(function, **options), store=kept)


def test_the_same_sweep_goes_on(network, kept):
    again = ng.sweep(network, AXES, Function(level(1.0), units={"level": "1/ms"}), store=kept)
    np.testing.assert_array_equal(again.level, np.add.outer([0.0, 1.0, 2.0], [1.0, 2.0, 3.0]))
    with pytest.raises(ValueError, match=r"differs in classes .*equations"):
        ng.sweep(
            ng.Network(slowed(1.0), W2, 1.0),
            AXES,
            Function(level(1.0), units={"level": "1/ms"}),
            store=kept,
        )


def test_names_of_dimensions(network, tmp_path):
    def pair(network):
        return {"pair": network.coupling * jnp.ones(2)}

    axes = {"coupling": [1.0, 2.0]}
    ng.sweep(network, axes, Function(pair, dims={"pair": ("side",)}), store=tmp_path / "s")
    with pytest.raises(ValueError, match=r"differs in dims"):
        ng.sweep(network, axes, Function(pair, dims={"pair": ("end",)}), store=tmp_path / "s")


def test_functions_on_the_host_need_a_key(network, tmp_path):
    axes = {"coupling": [1.0, 2.0]}
    free = ng.sweep(network, axes, Function(on_the_host, traced=False))
    with pytest.raises(ValueError, match=r"Argument `key` .*Function\(on_the_host, key=…\)"):
        ng.sweep(network, axes, Function(on_the_host, traced=False), store=tmp_path / "s")
    assert not (tmp_path / "s").exists()
    named = Function(on_the_host, traced=False, key=("level", 1))
    found = ng.sweep(network, axes, named, store=tmp_path / "s")
    np.testing.assert_array_equal(found.level, free.level)
    named = Function(on_the_host, traced=False, key=("level", 2))
    with pytest.raises(ValueError, match="differs in measure"):
        ng.sweep(network, axes, named, store=tmp_path / "s")


def test_what_is_compiled_is_known_by_its_operations(network, monkeypatch):
    """The same function, of which a constant was changed: JAX would go on with the old value."""

    def gained(network):
        return {"x": helper(network.coupling)}

    axes = {"coupling": [1.0, 2.0]}
    np.testing.assert_array_equal(ng.sweep(network, axes, gained).x, [2.0, 4.0])
    monkeypatch.setattr(sys.modules[__name__], "GAIN", 3.0)
    np.testing.assert_array_equal(ng.sweep(network, axes, gained).x, [3.0, 6.0])

    # Its shape at the points counts, not that of the network.
    def by_shape(network):
        return {"x": network.model.p.sum() * (5.0 if network.model.p.ndim else 1.0)}

    def by_shape_too(network):
        return {"x": network.model.p.sum() * (7.0 if network.model.p.ndim else 1.0)}

    for axes, expected in (
        ({"p": [1.0]}, [1.0, 1.0]),
        ({"p": [[1.0, 2.0]]}, [15.0, 21.0]),
    ):
        found = [ng.sweep(network, axes, f).x.item() for f in (by_shape, by_shape_too)]
        assert found == expected


def test_a_changed_class_is_compiled_again(monkeypatch):
    """A constant that a vector field or a stimulus uses: JAX would go on with the old value."""

    class Mine(ng.JansenRit):
        def vector_field(self, state, drive):
            return helper(super().vector_field(state, drive))

    system = ng.Driven(ng.Network(Mine(), W2, 1.0), {}, Custom(lambda t: helper(t)))
    slope = jax.jit(lambda system, x: system.system.vector_field(x))
    push = jax.jit(lambda system, t: system.stimulus(t))
    state = np.ones((6, 2))
    definition("work", system)
    before = np.asarray(slope(system, state))
    assert float(push(system, 1.0)) == 2.0
    monkeypatch.setattr(sys.modules[__name__], "GAIN", 3.0)
    assert float(push(system, 1.0)) == 2.0  # what this is about
    definition("work", system)
    np.testing.assert_allclose(slope(system, state), 1.5 * before, rtol=1e-15)
    assert float(push(system, 1.0)) == 3.0


def test_a_worker_with_another_function_is_refused(network):
    """One whose module was imported there, without what was changed here since."""
    here, there = (
        Function(level(by)).over(network, ng.Design.grid({"p": [1.0]})) for by in (1.0, 8.0)
    )
    here.outputs(network)
    object.__setattr__(there, "_operations", here._operations)  # as it arrives, pickled
    object.__setattr__(there, "_where", ("elsewhere", jax.default_backend()))
    runs = (network, {"p": np.ones(2)}, np.zeros(2, int), None)
    assert here.evaluate(*runs)["level"].tolist() == [2.0, 2.0]
    with pytest.raises(RuntimeError, match="computes something else in this process"):
        there.evaluate(*runs)


SEEDS = {
    "none": (lambda network: {"x": 0}, 0),
    "second": (lambda network, seed: {"x": seed}, 7),
    "second, of another name": (lambda network, number: {"x": number}, 7),
    "defaulted": (lambda network, gain=2: {"x": gain}, 2),
    "by name alone": (lambda network, *, gain=2: {"x": gain}, 2),
    "by name, the seed": (lambda network, *, seed: {"x": seed}, 7),
    "seed after others": (lambda network, gain=2, seed=1: {"x": gain * seed}, 14),
    "any": (lambda network, *rest, **more: {"x": len(rest) + len(more)}, 0),
    "seed of its own": (functools.partial(lambda network, seed: {"x": seed}, seed=3), 3),
    "partial": (functools.partial(lambda network, gain, seed: {"x": gain * seed}, gain=3), 21),
}


@pytest.mark.parametrize("case", SEEDS.values(), ids=SEEDS)
def test_who_gets_the_seed(network, case):
    function, expected = case
    assert called(function, network, 7) == {"x": expected}


def test_functions_that_need_more_are_refused(network):
    for function in (lambda network, a, b: {}, lambda network, *, gain: {}):
        with pytest.raises(ValueError, match="`function` must take a network"):
            called(function, network, 0)


# -------------------------------------------------------------- maps, exponents


class Looked(Exception):
    pass


@pytest.fixture
def looked(monkeypatch):
    """Calls that end once their definition is known, which is returned."""

    def look(*args, definition, **options):
        raise Looked(definition())

    for module in (maps, chaos):
        monkeypatch.setattr(module, "in_blocks", look)

    def of(work, *args, **options):
        with pytest.raises(Looked) as caught:
            work(*args, store="nowhere", **options)
        return caught.value.args[0]

    return of


@pytest.mark.parametrize("work", [ng.dispersion_map, ng.lyapunov_map])
def test_maps(looked, work):
    one = ng.Network(slowed(1.0), W2, 1.0)
    known = looked(work, one, AXES)
    assert differ(known, looked(work, ng.Network(slowed(1.0), W2, 1.0), AXES)) == []
    assert differ(known, looked(work, ng.Network(slowed(2.0), W2, 1.0), AXES)) == [
        "classes",
        "equations",
    ]
    # The first axis is the one along which states are followed.
    assert differ(known, looked(work, one, dict(reversed(AXES.items())))) == ["axes"]


# ------------------------------------------------------------------------ fits


class Bowl(eqx.Module):
    x: jax.Array


BOWL = Bowl(jnp.zeros(2))
AT = {"x": Unknown(-np.inf, np.inf, where=lambda bowl: bowl.x)}


def bowl(depth, gain=1.0):
    return lambda system, key: {"far": gain * ((system.x - depth) ** 2).sum()}


@pytest.fixture(scope="module")
def fit(tmp_path_factory):
    path = tmp_path_factory.mktemp("fits") / "fit"
    return path, ng.fit(BOWL, AT, bowl(1.0), steps=12, store=path, throw=False)


def test_the_same_fit_goes_on(fit):
    path, before = fit
    again = ng.fit(BOWL, AT, bowl(1.0), steps=12, store=path, throw=False)
    np.testing.assert_array_equal(again.history["loss"], before.history["loss"])


FITS = {
    "a closure": (bowl(2.0), {}, "loss"),
    "a constant": (bowl(1.0, 2.0), {}, "loss"),
    "a name": (lambda system, key: {"near": ((system.x - 1.0) ** 2).sum()}, {}, "loss"),
    "mode": (bowl(1.0), {"method": Gradient(mode="reverse")}, "mode"),
    "optimiser": (bowl(1.0), {"method": Gradient(optimiser=optax.sgd(0.1))}, "optimiser"),
    "rate": (bowl(1.0), {"method": Gradient(learning_rate=0.1)}, "optimiser"),
    "schedule": (bowl(1.0), {"method": Gradient(optax.linear_schedule(0.1, 0.0, 12))}, "optimiser"),
    "method": (bowl(1.0), {"method": "cma"}, "method"),
    "resample": (bowl(1.0), {"resample": True}, "resample"),
    "steps": (bowl(1.0), {"steps": 13}, "steps"),
    "patience": (bowl(1.0), {"patience": 5}, "patience"),
    "starts": (bowl(1.0), {"n_starts": np.ones((1, 2))}, "starts"),
}


@pytest.mark.parametrize("change", FITS.values(), ids=FITS)
def test_another_fit_is_refused(fit, change):
    loss, options, entry = change
    with pytest.raises(ValueError, match=rf"differs in .*{entry} \("):
        ng.fit(BOWL, AT, loss, store=fit[0], throw=False, **{"steps": 12, **options})


def test_free_parameters_and_values_of_a_fit(fit):
    for system, unknown in (
        (Bowl(jnp.ones(2)), AT["x"]),
        (BOWL, interval(-3.0, 3.0, where=lambda bowl: bowl.x)),
        (BOWL, Unknown(-np.inf, np.inf, where=AT["x"].where, prior=(0.0, 1.0))),
    ):
        with pytest.raises(ValueError, match="differs in"):
            ng.fit(system, {"x": unknown}, bowl(1.0), steps=12, store=fit[0], throw=False)


def test_a_loss_on_the_host_needs_a_key(tmp_path):
    distance = on_host(lambda x: np.asarray((x - 1.0) ** 2))

    def loss(system, key):
        return distance(system.x.sum())

    options = {"steps": 2, "method": "cma", "throw": False, "progress": False}
    with pytest.raises(ValueError, match=r"Argument `key` .*`fit\(…, key=…\)`"):
        ng.fit(BOWL, AT, loss, store=tmp_path / "fit", **options)
    ng.fit(BOWL, AT, loss, store=tmp_path / "fit", key="far from one", **options)
    with pytest.raises(ValueError, match=r"differs in loss"):
        ng.fit(BOWL, AT, loss, store=tmp_path / "fit", key="far from two", **options)


def test_a_fit_is_traced_once(tmp_path):
    """The step's definition is the program that runs; the loss alone is one more."""
    calls = []

    def loss(system, key):
        calls.append(1)
        return ((system.x - 1.0) ** 2).sum()

    ng.fit(BOWL, AT, loss, steps=2, progress=False, throw=False)
    without = len(calls)
    ng.fit(BOWL, AT, loss, steps=2, progress=False, throw=False, store=tmp_path / "fit")
    assert len(calls) == 2 * without + 1


FILE = """
connectome = "{connectome}"
coupling = 5.0
[noise]
v_e = 0.1
[vary]
coupling = {{ interval = [0, 10] }}
[target]
fc = "{fc}"
[loss]
fc_correlation = {weight}
fc_distance = {other}
[run]
steps = 2
"""


def test_the_file_of_a_fit(tmp_path):
    """Its data, its loss and its weights."""
    generator = np.random.default_rng(0)
    weights = generator.uniform(size=(4, 4))
    np.savetxt(tmp_path / "weights.txt", weights + weights.T)
    for name in ("one", "two"):
        np.save(tmp_path / f"{name}.npy", np.corrcoef(generator.normal(size=(4, 9))))

    def known(fc="one", weight=1.0, other=1.0):
        path = tmp_path / "fit.toml"
        places = {"connectome": tmp_path / "weights.txt", "fc": tmp_path / f"{fc}.npy"}
        path.write_text(FILE.format(weight=weight, other=other, **places))
        task = FitFile.read(path)
        return program(task.objective, task.system, jax.random.key(0))

    before = known()
    assert known() == before
    for change in ({"fc": "two"}, {"weight": 2.0}, {"other": 2.0}):
        assert known(**change) != before, change


# --------------------------------------------------------------------- figures


def test_figures():
    connectome = ng.Connectome(W2)
    known = figures(connectome, True)
    assert differ(known, figures(ng.Connectome(W2), True)) == []
    assert differ(known, figures(connectome, False)) == ["quick"]
    named = ng.Connectome(W2, labels=("a", "b"))
    assert differ(known, figures(named, True)) == ["connectome"]
