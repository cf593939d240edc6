"""Fused kernels, built from their source by a C++ compiler, against the steps that XLA takes."""

import contextlib
import shutil
from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ngnmm_jax as ng
from ngnmm_jax._core.parameters import with_leaves
from ngnmm_jax.graphs import AbstractGraph, DenseGraph
from ngnmm_jax.integrators import AbstractFixedStep, AbstractOneStep, Fused, Stepper, named
from ngnmm_jax.kernels import CannotFuse, traced
from ngnmm_jax.kernels.host import HostKernel
from ngnmm_jax.kernels.program import varied, weights_of
from ngnmm_jax.kernels.source import Shape, check_arrays, fragments, runs_of
from ngnmm_jax.models import AbstractNeuralMass, parameter
from ngnmm_jax.simulation.precision import cast
from ngnmm_jax.sweeps.fused import check_noise
from ngnmm_jax.systems.driven import driven, noise_key, noise_keys
from tests.scalar_models import OneVariable

pytestmark = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("c++")), reason="there is no C++ compiler"
)
REGIONS, RUNS = 11, 5
WEIGHTS = np.random.default_rng(1).random((REGIONS, REGIONS)) / REGIONS
# Relative to the largest value, after twelve steps.
CLOSE = {64: 1e-13, 32: 2e-5}


class Wilson(AbstractNeuralMass):
    """A mass of one's own: two rates, a sigmoid, and functions that C writes in other ways."""

    variables: ClassVar = ("e", "i")
    units: ClassVar = ("1", "1")
    time_unit: ClassVar = "ms"
    shown: ClassVar = "e"
    shown_unit: ClassVar = "1"
    nonnegative: ClassVar = ()

    tau: jax.Array = parameter(10.0, unit="ms", doc="time constant", positive=True)
    gain: jax.Array = parameter(2.0, unit="1", doc="gain")

    def vector_field(self, state, drive):
        e, i = state
        up = jax.nn.sigmoid(self.gain * (drive - i)) ** 1.5 + jnp.maximum(e, 0.1) ** 3
        down = jnp.where(e > 0.3, jnp.tanh(e), jnp.sin(e) / (2 + jnp.cos(i)))
        never = 1 / (1 + jnp.exp(2000 * (2 - i)))  # of infinity: zero, not NaN
        down = down + jax.lax.stop_gradient(never)
        return jnp.stack([up - e, down - i]) / self.tau

    def output(self, state):
        return jnp.exp(-jnp.abs(state[0])) + jnp.clip(state[1], -1.0, 1.0)

    def search_box(self):
        return jnp.zeros(2), jnp.ones(2)


class Made(AbstractNeuralMass):
    """A mass whose equations are a function of parameters, state and drive."""

    variables: ClassVar = ("a", "b", "c")
    units: ClassVar = ("1",) * 3
    time_unit: ClassVar = "ms"
    shown: ClassVar = "a"
    shown_unit: ClassVar = "1"
    nonnegative: ClassVar = ()

    k: jax.Array = parameter(2.0, unit="1", doc="gain")
    low: jax.Array = parameter(-0.3, unit="1", doc="a bound")
    equations: Callable = eqx.field(static=True, default=None)

    def vector_field(self, state, drive):
        return self.equations(self, state, drive)

    def output(self, state):
        return state[0]

    def search_box(self):
        return jnp.zeros(3), jnp.ones(3)


def whole(x):
    """Whole numbers of both signs."""
    return jnp.floor(200 * x).astype(jnp.int32)


# What C has in other ways than XLA, or not at all.
EQUATIONS = {
    "bounds that cross": lambda m, s, d: jax.lax.clamp(0.5 + 0 * s, s, -0.5 + 0 * s),
    "bounds": lambda m, s, d: jnp.clip(s, m.low, m.k) + jnp.clip(whole(s), -2, 3),
    "several cases": lambda m, s, d: jnp.select([s > 1, s > 0.02, s > -1], [s, 2 * s, 3 * s], 4.0),
    "cases by number": lambda m, s, d: jax.lax.select_n(jnp.clip(whole(s), 0, 2), s, 2 * s, -s),
    "powers": lambda m, s, d: (
        (s + 5) ** -3 + (whole(s) ** 3).astype(s.dtype) / 1e3 + (1 + 1e-6 * s) ** 1_000_003
    ),
    "not": lambda m, s, d: (~whole(s) & 6) | (whole(s) ^ 5),
    "quotients by zero": lambda m, s, d: (
        whole(s) // (whole(s) % 2) + jax.lax.rem(whole(s), whole(d + 0 * s))
    ),
    "remainders": lambda m, s, d: jnp.mod(s, -0.007) + s // 0.003 + whole(s) % 7 - whole(s) // 3,
    "overflow": lambda m, s, d: (whole(s) * jnp.int32(1_000_000_000)).astype(s.dtype) / 1e9,
    "whole, of too much": lambda m, s, d: (s * 1e30).astype(jnp.int32).astype(s.dtype) / 1e9,
    "whole, of NaN": lambda m, s, d: jnp.sqrt(s - 0.02).astype(jnp.int64),
    "NaN": lambda m, s, d: jnp.nan_to_num(jnp.maximum(s, jnp.log(s - 0.02)), neginf=-1.0),
    "infinity": lambda m, s, d: 1 / (1 + jnp.exp(-1e5 * (s - 0.02))) + jnp.clip(1 / (0 * s), -2, 2),
    "constants of 64 bits": lambda m, s, d: jnp.where(s > 0.02, 0.1, 0.2) * s,
    "places": lambda m, s, d: jnp.argmax(s, axis=0) - jnp.argmin(s * s, axis=0) + 0 * s,
    "sums so far": lambda m, s, d: jnp.cumsum(s, axis=0) + jax.lax.cummax(s, axis=0, reverse=True),
    "fancy indices": lambda m, s, d: jnp.take(s, jnp.array([2, 0, 9]), axis=0, mode="clip"),
    "written": lambda m, s, d: s.at[1].set(d).at[-1].multiply(d).at[0].min(d).at[7].set(d),
    "written within": lambda m, s, d: s.at[7].set(3.0, mode="clip").at[jnp.array([0, 1])].set(2.0),
    "gradient": lambda m, s, d: jax.grad(lambda x: jnp.sum(jnp.tanh(x) ** 2))(s) + jnp.log2(s * s),
    "none to add": lambda m, s, d: jax.lax.optimization_barrier((s, d))[0],
}


@pytest.mark.parametrize("bits", [64, 32])
def test_numbers_that_c_has_in_other_ways_are_those_of_xla(bits):
    """All at once, of a state within one."""

    def equations(m, state, drive):
        total = 0 * state
        for one in EQUATIONS.values():
            total = total + one(m, jnp.tanh(state), drive).astype(state.dtype)
        return total

    system = ng.Network(Made(equations=equations), WEIGHTS, 1.0)
    expected, found, _ = taken(system, "euler", bits, {}, steps=3)
    assert np.isfinite(expected[0]).all()
    scale = abs(expected[0]).max()
    assert scale < 1e4
    np.testing.assert_allclose(found[0], expected[0], rtol=0, atol=CLOSE[bits] * scale)


REFUSED = {
    "float32": lambda m, s, d: s.astype(jnp.float32).astype(s.dtype),
    "bfloat16": lambda m, s, d: s.astype(jnp.bfloat16).astype(s.dtype),
    "int8": lambda m, s, d: (whole(s).astype(jnp.int8) * 100).astype(s.dtype),
    "complex": lambda m, s, d: (s * (1 + 2j)).real,
    "reduce_precision": lambda m, s, d: jax.lax.reduce_precision(s, 8, 7),
    "sort": lambda m, s, d: jnp.sort(s, axis=0),
    "random numbers": lambda m, s, d: s + jax.random.normal(jax.random.key(0), (), s.dtype),
    "whole numbers": lambda m, s, d: jnp.tensordot(np.eye(3, dtype=int), whole(s), 1) * s,
    "no values": lambda m, s, d: s + s[:0].sum(0),
    "beyond an array's end": lambda m, s, d: (
        jnp.nan_to_num(s[jnp.array([0, 1, 1])])
        + jnp.nan_to_num(jnp.take(s, jnp.array([2, 0, 7]), axis=0, mode="fill"))
    ),
    "by an index that differs": lambda m, s, d: jnp.arange(3.0)[whole(s) % 3] * s,
    "does more than": lambda m, s, d: (jax.debug.print("x"), s)[1],
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_a_kernel_would_get_wrong_is_refused(reason):
    made = Made(equations=REFUSED[reason])
    with pytest.raises(CannotFuse, match=reason):
        _traced(ng.Network(made, WEIGHTS))


def test_doubles_in_32_bits_are_refused():
    equations = EQUATIONS["gradient"], lambda m, s, d: (s.astype(float) + 1e-9).astype(s.dtype)
    for one, fused in zip(equations, (True, False), strict=True):
        system = driven(cast(ng.Network(Made(equations=one), WEIGHTS).bare(), jnp.float32))
        with contextlib.nullcontext() if fused else pytest.raises(CannotFuse, match="float64"):
            traced(system, named("euler"), jnp.float32(0.1), ("a",), {})


def _traced(system, integrator="euler"):
    """The program of a system."""
    core = driven(system.bare())
    return traced(core, named(integrator), jnp.asarray(0.05), (system.model.shown,), {})


class Bent(ng.coupling.AbstractCoupling):
    """A coupling that bends before and after the sum, with a value for each region."""

    graph: AbstractGraph
    strength: jax.Array
    shift: jax.Array

    def inputs(self, outputs):
        return self.strength * jnp.tanh(self.graph.apply(jnp.arctan(outputs)) - self.shift)


class Midpoint(AbstractOneStep):
    """An integrator of one's own."""

    def step(self, field, state, dt):
        return state + dt * field(state + dt / 2 * field(state))


def paper(**parameters):
    return ng.Network(ng.NextGenEI(**{"i_ext_e": 12.0, **parameters}), WEIGHTS, 6.0)


def bent():
    return Bent(DenseGraph(WEIGHTS), jnp.asarray(2.0), jnp.linspace(-0.1, 0.1, REGIONS))


def several():
    """Products of two channels, of sums that bend, and of plain ones, at once."""
    graph = DenseGraph(WEIGHTS)
    parts = {
        "waves": ng.coupling.KuramotoCoupling(graph, 2.0, 0.1),
        "bent": ng.coupling.SigmoidAfterSum(graph, 1.0, 20.0, 0.05),
        "near": ng.coupling.LinearCoupling(graph, 2.0),
    }
    return ng.coupling.CouplingSum(parts)


def single():
    """One population: programs are half as long."""
    return ng.Network(ng.MontbrioPazoRoxin(), WEIGHTS, 2.0)


NOISE = {"input": 0.1, "r": 0.02}
PULSE = ng.stimuli.Pulse(0.5, 0.8, np.linspace(0.0, 1.0, REGIONS))
CASES = {
    "moebius": (paper, "moebius", {"i_ext_e": np.linspace(5.0, 15.0, RUNS)}),
    "rk4": (paper, "rk4", {"coupling": np.linspace(1.0, 5.0, RUNS)}),
    "heun, by region": (
        lambda: paper(tau_e=np.linspace(9.0, 11.0, REGIONS)),
        "heun",
        {"i_ext_e": np.random.default_rng(2).uniform(5.0, 12.0, (REGIONS, RUNS))},
    ),
    "noise": (
        lambda: ng.Driven(single(), NOISE),
        "moebius",
        {"tau": np.linspace(8.0, 12.0, RUNS)},
    ),
    "noise, kept": (lambda: ng.Driven(single(), {"r": 0.02}, below_zero="keep"), "euler", {}),
    "stimulus": (lambda: ng.Driven(single(), {}, PULSE), "moebius", {}),
    "Jansen and Rit": (lambda: ng.Network(ng.JansenRit(), WEIGHTS, 5.0), "euler", {}),
    "twelve stages": (single, "dopri8", {}),
    "homogeneous": (
        lambda: single().averaged(),
        "moebius",
        {"coupling": np.linspace(1.0, 5.0, RUNS)},
    ),
    "one's own": (lambda: ng.Network(Wilson(), coupling=bent()), Midpoint(), {}),
    "several": (
        lambda: ng.Network(ng.NextGenEI(i_ext_e=12.0), coupling=several()),
        "rk4",
        {"waves_lag": np.linspace(0.0, 0.4, RUNS), "near_coupling": np.linspace(1.0, 2.0, RUNS)},
    ),
    "differences": (lambda: ng.Network(Wilson(), Differences(DenseGraph(WEIGHTS)), 2.0), "rk4", {}),
}

LATER = (
    "moebius",
    "heun, by region",
    "noise, kept",
    "stimulus",
    "Jansen and Rit",
    "twelve stages",
    "homogeneous",
    "several",
    "differences",
)


def taken(system, integrator, bits, points, *, by=(None,), steps=12, state=None):
    """Memory after some steps by XLA; of blocks of so many runs, by a kernel, and its last sample.

    Where none is said a block has as many runs as are best.
    """
    dtype = jnp.dtype(f"float{bits}")
    core = driven(cast(system.bare(), dtype))
    integrator, dt = named(integrator), jnp.asarray(float(system.time_step), dtype)
    points = {name: jnp.asarray(value, dtype) for name, value in points.items()}
    whole, model = with_leaves(core.over_runs(), points), system.model
    keys = jax.vmap(noise_key)(jnp.arange(RUNS))
    shape = (*system.state_shape, RUNS)
    rows = np.array([0.02, -1.0, 0.02, 0.03, -1.0, 0.03])[: shape[0]]
    noise = 0.01 * np.abs(np.random.default_rng(0).standard_normal(shape))
    begin = rows.reshape(-1, *[1] * (len(shape) - 1)) + noise if state is None else state

    @jax.jit
    def march(begin):
        stepper = whole.stepper(integrator, dt, keys)
        memory = stepper.start(begin)
        return memory, jax.lax.fori_loop(
            0, steps, lambda _, memory: stepper.advance(memory, None), memory
        )

    memory, expected = march(jnp.asarray(begin, dtype))
    program = traced(core, integrator, dt, (model.shown,), points)
    regions = REGIONS if program.networked else 1
    weights = weights_of(core).astype(dtype)
    words = [np.asarray(jax.random.key_data(k)) for k in noise_keys(core, dt, keys)]
    pushed = None
    if program.stimulated:
        pushed = np.asarray(ng.systems.driven.pushes(core, dt, jnp.arange(steps), REGIONS))
    every = []
    for runs in by:
        best = runs_of(program, regions, RUNS, 1) if runs is None else runs
        laid = Shape.of(program, regions, best)
        found, shown = HostKernel(program, laid)(
            [np.array(leaf, order="C") for leaf in jax.tree.leaves(memory)],
            [np.asarray(leaf) for leaf in varied(whole)],
            words,
            fragments(weights, program, laid),
            runs=RUNS,
            samples=3,
            stride=steps // 3,
            pushed=pushed,
        )
        every += [found, shown[-1, 0]]
    return [*map(np.asarray, jax.tree.leaves(expected))], *every


#: Cases in 64 bits, and some in 32; the others there are slow for being many.
BOTH = [
    pytest.param(case, bits, marks=pytest.mark.slow if bits == 32 and case in LATER else ())
    for bits in (64, 32)
    for case in CASES
]


@pytest.mark.parametrize(("case", "bits"), BOTH)
def test_a_kernel_takes_the_steps_that_xla_takes(case, bits):
    system, integrator, points = CASES[case]
    expected, found, _ = taken(system(), integrator, bits, points)
    for a, b in zip(expected, found, strict=True):
        assert a.dtype == b.dtype
        a, b = a.astype(float), b.astype(float)
        np.testing.assert_allclose(b, a, rtol=0, atol=CLOSE[bits] * max(abs(a).max(), 1e-6))


def test_runs_do_not_depend_on_how_many_a_block_takes():
    """Blocks that end beyond the last run, and products in other parts and tiles."""
    expected, *every = taken(single(), "heun", 64, CASES["noise"][2], by=(3, 8))
    for found, shown in zip(every[::2], every[1::2], strict=True):
        np.testing.assert_allclose(found[0], expected[0], rtol=0, atol=1e-13)
        np.testing.assert_array_equal(shown, found[0][0])  # the last sample is r at the end


def test_a_product_is_that_of_the_weights():
    """Through the tiles of the tensor cores: in 32 bits to the rounding of 32 bits."""
    for bits, close in ((64, 1e-15), (32, 3e-7)):
        system = ng.Network(Plain(), WEIGHTS, 1.0)
        _, found, _ = taken(system, "euler", bits, {}, steps=3)
        state = np.full((REGIONS, RUNS), 0.02) + 0.01 * np.abs(
            np.random.default_rng(0).standard_normal((1, REGIONS, RUNS))
        )
        dt = float(system.time_step)
        for _ in range(3):
            state = state + dt * (WEIGHTS @ state[0])
        np.testing.assert_allclose(found[0], state, rtol=close)


class Plain(OneVariable):
    """What a region receives is how fast it grows."""

    tau: jax.Array = parameter(10.0, unit="ms", doc="its step", positive=True)

    def vector_field(self, state, drive):
        return drive[None] + 0 * self.tau

    def search_box(self):
        return jnp.zeros(1), jnp.ones(1)


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
def test_a_sweep_by_kernels_is_that_by_xla(dtype):
    """Windows, what is left out, summaries, a chunk that is filled up; noise and a stimulus."""
    system = ng.Driven(single(), {"input": 0.05, "r": 0.01}, PULSE)
    design = ng.Design.listed({"eta": np.linspace(-8.0, 2.0, 5)})
    found = []
    for integrator in ("rk4", Fused("rk4", on="host")):
        keep = ("mean", "variance", "trace", "fc_mean")
        measure = ng.Activity(16.0, 4.0, keep=keep, integrator=integrator, dt=0.1, dtype=dtype)
        found.append(ng.sweep(system, design, measure, checks=0, progress=False, chunk=3))
    close = 1e-10 if dtype == "float64" else 1e-3
    for name in found[0].data_vars:
        a, b = (f[name].values.astype(float) for f in found)
        np.testing.assert_allclose(b, a, rtol=0, atol=close * np.abs(a).max() + 1e-300)


def test_without_a_gpu_fused_steps_are_the_other_integrators():
    design = ng.Design.listed({"eta": np.linspace(-8.0, 2.0, 2)})
    found = [
        ng.sweep(single(), design, ng.Activity(8.0, 0.0, keep=("mean",), integrator=integrator),
                 checks=0, progress=False)
        for integrator in ("rk4", Fused("rk4"))
    ]  # fmt: skip
    np.testing.assert_array_equal(*(f.r_mean.values for f in found))


class Differences(AbstractGraph):
    """A graph of one's own around a dense one."""

    graph: AbstractGraph

    @property
    def n_regions(self):
        return self.graph.n_regions

    def apply(self, values):
        return self.graph.apply(values) - values


def test_fused_steps_decide_no_store():
    """They are the other integrator's, rounding apart, with the same step."""
    system, by_xla = paper(), ng.Activity(integrator="moebius")
    by_kernel = ng.Activity(integrator=Fused("moebius", runs=2))
    assert by_kernel.definition(system) == by_xla.definition(system)
    assert by_kernel.plan(system)[1] == by_xla.plan(system)[1]


class ByMatrix(Bent):
    def inputs(self, outputs):
        return self.strength * jnp.tensordot(self.graph.matrix(), outputs, 1)


class OfTheMean(Bent):
    def inputs(self, outputs):
        return self.graph.apply(outputs) - self.strength * outputs.mean(axis=0)


class Shifted(Bent):
    def inputs(self, outputs):
        return self.graph.apply(jnp.roll(outputs, 1, axis=0))


class Two(Bent):
    """Two graphs: a kernel has the weights of one."""

    other: AbstractGraph

    def inputs(self, outputs):
        return self.graph.apply(outputs) + self.other.apply(outputs)


def test_two_dense_graphs_are_refused_where_their_weights_differ():
    for other, refused in ((WEIGHTS, False), (WEIGHTS.T, True)):
        parts = DenseGraph(WEIGHTS), jnp.asarray(2.0), jnp.zeros(REGIONS), DenseGraph(other)
        system = driven(ng.Network(ng.NextGenEI(), coupling=Two(*parts)).bare())
        if refused:
            with pytest.raises(CannotFuse, match="other weights"):
                weights_of(system)
        else:
            np.testing.assert_array_equal(weights_of(system), WEIGHTS)


class ByNumber(Bent):
    def inputs(self, outputs):
        return self.graph.apply(outputs) / self.graph.n_regions


class BySize(Bent):
    def inputs(self, outputs):
        return self.graph.apply(outputs) / outputs.shape[0]


class Branching(Bent):
    def inputs(self, outputs):
        return self.graph.apply(outputs) * (2.0 if outputs.shape[0] > 40 else 1.0)


class Inspecting(Bent):
    def inputs(self, outputs):
        return jnp.tensordot(self.graph.weights, outputs, 1)


class Remembering(AbstractFixedStep):
    """Euler's method, which remembers the state in another way too."""

    kept: Callable = eqx.field(static=True)
    then: Callable = eqx.field(static=True)
    reach: ClassVar = 1.0

    def stepper(self, system, dt):
        def advance(memory, stimulus, slope=None):
            state = memory[0] + dt * system.vector_field(memory[0])
            return state, self.then(state, memory[1])

        return Stepper(
            lambda state: (state, self.kept(state)),
            advance,
            lambda memory: memory[0],
            lambda memory, change: (memory[0] + change, memory[1]),
        )


@pytest.mark.parametrize(
    ("kept", "reason"),
    [
        (lambda s: jnp.swapaxes(s, 0, 1), "not the last"),
        (lambda s: jnp.swapaxes(s, 1, 2), "not the last"),
        (lambda s: s.astype(jnp.float32), "float32"),
        (lambda s: (s > 0).astype(jnp.int8), "int8"),
        (lambda s: s[0, :, :1] * 0 + jnp.arange(1.0), "for each region, not for each run|some"),
        (lambda s: jnp.zeros(()), r"\(\) of float64 becomes"),
    ],
)
def test_memory_that_a_kernel_would_misread_is_refused(kept, reason):
    def then(state, before):
        return state[0] if before.ndim == 0 else kept(state)

    with pytest.raises(CannotFuse, match=reason):
        _traced(ng.Network(Plain(), WEIGHTS), Remembering(kept, then))


class Doubled(DenseGraph):
    """A dense graph that does something else."""

    def apply(self, values):
        return 2 * super().apply(values)

    def matrix(self):
        return 2 * super().matrix()

    def row_sums(self, dtype=None):
        return 2 * super().row_sums(dtype)


def test_a_kind_of_dense_graph_of_ones_own_is_not_taken_for_one():
    system = ng.Network(Plain(), Doubled(WEIGHTS))
    with pytest.raises(CannotFuse, match="not one value per region"):
        _traced(system)


def test_noise_of_other_generators_is_xlas():
    system = driven(ng.Driven(single(), NOISE).bare())
    keys = jax.vmap(noise_key)(jnp.arange(2))
    with jax.threefry_partitionable(False), pytest.raises(CannotFuse, match="Threefry"):
        check_noise(system, keys)
    with pytest.raises(CannotFuse, match="Threefry"):
        check_noise(system, jax.random.split(jax.random.key(0, impl="rbg"), 2))
    check_noise(system, keys)


def test_a_program_is_not_taken_for_another_precision_of_whole_numbers():
    """The number of a step has as many bits as JAX is set to."""
    system = ng.Driven(ng.Network(Plain(), WEIGHTS, 1.0), {"x": 0.1})
    found = []
    for wide, chosen in ((True, True), (False, True), (False, False)):
        integrator = Fused("euler", on="host") if chosen else "euler"
        measure = ng.Activity(2.0, 0.0, keep=("mean",), integrator=integrator, dtype="float32")
        with jax.enable_x64(wide):
            swept = ng.sweep(system, {"tau": [1.0, 2.0]}, measure, checks=0, progress=False)
        found.append(swept.x_mean.values)
    np.testing.assert_allclose(*found[1:], rtol=1e-4)


def test_a_regions_nan_is_every_regions():
    """Also one of all ones, as GPUs have it, which rounding to eleven bits would make zero."""
    nan = np.array(0x7FFFFFFF, np.uint32).view(np.float32)
    state = np.full((1, REGIONS, RUNS), 0.1, np.float32)
    state[0, 3, 1] = nan
    _, found, _ = taken(ng.Network(Plain(), WEIGHTS), "euler", 32, {}, steps=3, state=state)
    assert np.isnan(found[0][..., 1]).all()
    assert not np.isnan(found[0][..., 0]).any()


class Iterated(AbstractOneStep):
    def step(self, field, state, dt):
        return jax.lax.fori_loop(0, 3, lambda _, s: s + dt / 3 * field(s), state)


@pytest.mark.parametrize(
    ("coupling", "integrator", "reason"),
    [
        (ByMatrix, "rk4", "takes the matrix"),
        (lambda graph, *rest: ng.coupling.DiffusiveCoupling(graph, rest[0]), "rk4", "sums of its"),
        (OfTheMean, "rk4", "joins values of regions"),
        (Shifted, "rk4", "out of all|joins regions"),
        (Bent, Iterated(), "`(scan|while)`"),
        (ByNumber, "rk4", "how many regions"),
        (BySize, "rk4", "how many regions"),
        (Branching, "rk4", "how many regions"),
        (Inspecting, "rk4", "no attribute 'weights'"),
    ],
)
def test_what_is_not_elementwise_is_refused(coupling, integrator, reason):
    made = coupling(DenseGraph(WEIGHTS), jnp.asarray(2.0), jnp.zeros(REGIONS))
    system = driven(ng.Network(ng.NextGenEI(), coupling=made).bare())
    with pytest.raises(CannotFuse, match=reason):
        traced(system, named(integrator), jnp.asarray(0.05), ("v_e",), {})


def test_a_sweep_that_cannot_be_fused_is_xlas_and_says_why():
    system = ng.Network(Plain(), coupling=ByMatrix(*vars(bent()).values()))
    measure = ng.Activity(8.0, 0.0, keep=("mean",), integrator=Fused("rk4", on="host"))
    with pytest.warns(UserWarning, match=r"XLA takes the steps.*takes the matrix"):
        found = ng.sweep(system, {"tau": [1.0]}, measure, checks=0, progress=False)
    assert (found.status == ng.Status.OK).all()


def test_bad_arguments_are_named():
    for arguments, words in (
        (("rk5",), "integrator"),
        ((Fused("rk4"),), "not fused"),
        (("rk4", 0), "runs"),
        (("rk4", None, "tpu"), "on"),
    ):
        with pytest.raises(ValueError, match=words):
            Fused(*arguments)
    assert isinstance(named("fused"), Fused)
    program = _traced(paper(), "rk4")
    for regions, runs, words in ((3000, 1, "shared memory"), (3000, 8, "too many for a block")):
        with pytest.raises(CannotFuse, match=words):
            Shape.of(program, regions, runs)


def test_arrays_of_another_kind_do_not_reach_a_kernel():
    program = _traced(paper(), "rk4")
    state, number = np.zeros((6, REGIONS, RUNS)), np.zeros((), np.int64)
    check_arrays(program, REGIONS, RUNS, [state, number], [], [])
    for memory in (
        [state.astype(np.float32), number],
        [state[:, :-1], number],
        [np.asfortranarray(state), number],
        [state],
    ):
        with pytest.raises(ValueError, match="A kernel"):
            check_arrays(program, REGIONS, RUNS, memory, [], [])
