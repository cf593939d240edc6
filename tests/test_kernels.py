"""Fused kernels, built from their source by a C++ compiler, against the steps that XLA takes."""

import shutil
import warnings
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ngnmm_jax as ng
from ngnmm_jax._core.parameters import with_leaves
from ngnmm_jax.graphs import AbstractGraph, DenseGraph
from ngnmm_jax.integrators import AbstractOneStep, Fused, named
from ngnmm_jax.kernels import CannotFuse, traced
from ngnmm_jax.kernels.host import HostKernel
from ngnmm_jax.kernels.program import varied, weights_of
from ngnmm_jax.kernels.source import Shape, fragments, runs_of
from ngnmm_jax.models import AbstractNeuralMass, parameter
from ngnmm_jax.simulation.precision import cast
from ngnmm_jax.systems.driven import driven, noise_key, noise_keys

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
        return jnp.stack([up - e, down - i]) / self.tau

    def output(self, state):
        return jnp.exp(-jnp.abs(state[0])) + jnp.clip(state[1], -1.0, 1.0)

    def search_box(self):
        return jnp.zeros(2), jnp.ones(2)


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


NOISE = {"input": 0.1, "s_i": 0.02, "v_e": 0.1}
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
        lambda: ng.Driven(paper(), NOISE),
        "moebius",
        {"tau_se": np.linspace(1.0, 2.0, RUNS)},
    ),
    "noise, kept": (lambda: ng.Driven(paper(), NOISE, below_zero="keep"), "euler", {}),
    "stimulus": (lambda: ng.Driven(paper(), {}, PULSE), "moebius", {}),
    "Jansen and Rit": (lambda: ng.Network(ng.JansenRit(), WEIGHTS, 5.0), "dopri8", {}),
    "homogeneous": (
        lambda: paper().averaged(),
        "moebius",
        {"coupling": np.linspace(1.0, 5.0, RUNS)},
    ),
    "one's own": (lambda: ng.Network(Wilson(), coupling=bent()), Midpoint(), {}),
    "differences": (lambda: ng.Network(Wilson(), Differences(DenseGraph(WEIGHTS)), 2.0), "rk4", {}),
}


def taken(system, integrator, bits, points, runs_a_block=None, steps=12):
    """Memory after some steps by XLA and by a kernel, and the last sample."""
    dtype = jnp.dtype(f"float{bits}")
    core = driven(cast(system.bare(), dtype))
    integrator, dt = named(integrator), jnp.asarray(float(system.time_step), dtype)
    points = {name: jnp.asarray(value, dtype) for name, value in points.items()}
    whole, model = with_leaves(core.over_runs(), points), system.model
    keys = jax.vmap(noise_key)(jnp.arange(RUNS))
    stepper = whole.stepper(integrator, dt, keys)
    shape = (*system.state_shape, RUNS)
    rows = np.array([0.02, -1.0, 0.02, 0.03, -1.0, 0.03])[: shape[0]]
    noise = 0.01 * np.abs(np.random.default_rng(0).standard_normal(shape))
    memory = jax.jit(stepper.start)(
        jnp.asarray(rows.reshape(-1, *[1] * (len(shape) - 1)) + noise, dtype)
    )
    march = jax.jit(lambda m: jax.lax.fori_loop(0, steps, lambda _, m: stepper.advance(m, None), m))
    program = traced(core, integrator, dt, (model.shown,), points)
    regions = REGIONS if program.networked else 1
    runs = runs_of(program, regions, RUNS, 1) if runs_a_block is None else runs_a_block
    laid = Shape.of(program, regions, runs)
    weights = weights_of(core).astype(dtype)
    words = [np.asarray(jax.random.key_data(k)) for k in noise_keys(core, dt, keys)]
    pushed = None
    if program.stimulated:
        pushed = np.asarray(ng.systems.driven.pushes(core, dt, jnp.arange(steps), REGIONS))
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
    expected = jax.tree.leaves(march(memory))
    return [*map(np.asarray, expected)], found, shown[-1, 0]


@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("case", CASES)
def test_a_kernel_takes_the_steps_that_xla_takes(case, bits):
    system, integrator, points = CASES[case]
    expected, found, _ = taken(system(), integrator, bits, points)
    for a, b in zip(expected, found, strict=True):
        assert a.dtype == b.dtype
        a, b = a.astype(float), b.astype(float)
        np.testing.assert_allclose(b, a, rtol=0, atol=CLOSE[bits] * max(abs(a).max(), 1e-6))


@pytest.mark.parametrize("runs", [1, 2, 3, 8])
def test_runs_do_not_depend_on_how_many_a_block_takes(runs):
    """Blocks that end beyond the last run, and products in other parts and tiles."""
    system, integrator, points = CASES["moebius"]
    expected, found, shown = taken(system(), integrator, 64, points, runs)
    np.testing.assert_allclose(found[0], expected[0], rtol=0, atol=1e-13)
    np.testing.assert_array_equal(shown, found[0][1])  # the last sample is v_e at the end


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


class Plain(AbstractNeuralMass):
    """What a region receives is how fast it grows."""

    variables: ClassVar = ("x",)
    units: ClassVar = ("1",)
    time_unit: ClassVar = "ms"
    shown: ClassVar = "x"
    shown_unit: ClassVar = "1"
    nonnegative: ClassVar = ()

    tau: jax.Array = parameter(10.0, unit="ms", doc="its step", positive=True)

    def vector_field(self, state, drive):
        return drive[None] + 0 * self.tau

    def output(self, state):
        return state[0]

    def search_box(self):
        return jnp.zeros(1), jnp.ones(1)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_sweep_by_kernels_is_that_by_xla(dtype):
    """Windows, what is left out, summaries, a chunk that is filled up; noise and a stimulus."""
    system = ng.Driven(paper(), {"input": 0.05, "s_e": 0.01}, PULSE)
    design = ng.Design.listed({"i_ext_e": np.linspace(2.0, 12.0, 5)})
    found = []
    for integrator in ("moebius", Fused("moebius", on="host")):
        keep = ("mean", "variance", "trace", "fc_mean")
        measure = ng.Activity(16.0, 4.0, keep=keep, integrator=integrator, dtype=dtype)
        found.append(ng.sweep(system, design, measure, checks=0, progress=False, chunk=3))
    close = 1e-10 if dtype == "float64" else 1e-3
    for name in found[0].data_vars:
        a, b = (f[name].values.astype(float) for f in found)
        np.testing.assert_allclose(b, a, rtol=0, atol=close * np.abs(a).max() + 1e-300)


def test_without_a_gpu_fused_steps_are_the_other_integrators():
    design = ng.Design.listed({"i_ext_e": np.linspace(2.0, 12.0, 2)})
    found = [
        ng.sweep(paper(), design, ng.Activity(8.0, 0.0, keep=("mean",), integrator=integrator),
                 checks=0, progress=False)
        for integrator in ("rk4", Fused("rk4"))
    ]  # fmt: skip
    np.testing.assert_array_equal(*(f.v_e_mean.values for f in found))


class Differences(AbstractGraph):
    """A graph of one's own around a dense one."""

    graph: AbstractGraph

    @property
    def n_regions(self):
        return self.graph.n_regions

    def apply(self, values):
        return self.graph.apply(values) - values


def test_on_a_gpu_with_cupy_fused_steps_are_the_default_and_decide_no_store(monkeypatch):
    from ngnmm_jax.sweeps import activity

    system, named_one = paper(), ng.Activity(integrator="moebius")
    before = ng.Activity().definition(system)
    monkeypatch.setattr(activity, "at_hand", lambda: True)
    default = ng.Activity()
    assert isinstance(default.plan(system)[0].integrator, Fused)
    assert not isinstance(named_one.plan(system)[0].integrator, Fused)
    assert default.definition(system) == before == named_one.definition(system)
    assert default.plan(system)[1] == named_one.plan(system)[1]  # the step


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


class Iterated(AbstractOneStep):
    def step(self, field, state, dt):
        return jax.lax.fori_loop(0, 3, lambda _, s: s + dt / 3 * field(s), state)


@pytest.mark.parametrize(
    ("coupling", "integrator", "reason"),
    [
        (ByMatrix, "rk4", "takes the matrix"),
        (OfTheMean, "rk4", "joins values of regions"),
        (Shifted, "rk4", "out of all|joins regions"),
        (Bent, Iterated(), "`(scan|while)`"),
    ],
)
def test_what_is_not_elementwise_is_refused(coupling, integrator, reason):
    made = coupling(DenseGraph(WEIGHTS), jnp.asarray(2.0), jnp.zeros(REGIONS))
    system = driven(ng.Network(ng.NextGenEI(), coupling=made).bare())
    with pytest.raises(CannotFuse, match=reason):
        traced(system, named(integrator), jnp.asarray(0.05), ("v_e",), {})


def test_a_sweep_that_cannot_be_fused_is_xlas_and_says_why():
    system = ng.Network(ng.NextGenEI(), coupling=ByMatrix(*vars(bent()).values()))
    measure = ng.Activity(8.0, 0.0, keep=("mean",), integrator=Fused("rk4", on="host"))
    with pytest.warns(UserWarning, match=r"XLA takes the steps.*takes the matrix"):
        found = ng.sweep(system, {"i_ext_e": [1.0]}, measure, checks=0, progress=False)
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
    with pytest.raises(CannotFuse, match="shared memory"):
        Shape.of(_program(), 3000, 8)


def _program():
    core = driven(paper().bare())
    return traced(core, named("rk4"), jnp.asarray(0.05), ("v_e",), {})


def test_no_warning_where_nothing_was_asked():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measure = ng.Activity(8.0, 0.0, keep=("mean",), integrator="rk4")
        ng.sweep(paper(), {"i_ext_e": [1.0]}, measure, checks=0, progress=False)
