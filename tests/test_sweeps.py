"""Designs, streamed summaries, and sweeps that are the same however they are run."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import solve_continuous_lyapunov

import ngnmm_jax as ng
from ngnmm_jax.sweeps import AbstractMeasure, Function, Output, discrepancies
from ngnmm_jax.sweeps.storage import Blocks
from ngnmm_jax.sweeps.summaries import SUMMARIES
from ngnmm_jax.sweeps.task import lanes_for


@pytest.fixture(scope="module")
def network(small):
    return ng.Network(ng.NextGenEI(i_ext_e=12.0), small, 5.0)


@pytest.fixture(scope="module")
def plane():
    return ng.Design.grid(
        {"i_ext_e": np.linspace(8, 14, 3), "coupling": [2.0, 8.0]}, replicates=2, seed=3
    )


@pytest.fixture(scope="module")
def activity():
    # BOLD of a potential, which is negative: with so small a gain its blood flows.
    return ng.Activity(
        duration=400.0, transient=100.0, keep=tuple(SUMMARIES), segment=100.0,
        repetition_time=100.0, haemodynamics=ng.observe.BalloonWindkessel(gain=0.01),
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(network, plane, activity):
    return ng.sweep(network, plane, activity, checks=3)


# ---------------------------------------------------------------------- designs


def test_grid_and_seeds():
    design = ng.Design.grid(
        {"i_ext_e": [1.0, 2.0], "coupling": [3.0, 4.0, 5.0]}, replicates=2, seed=7
    )
    assert design.shape == (2, 3, 2)
    assert design.names == ("i_ext_e", "coupling", "replicate")
    points, seeds = design.at(np.arange(12))
    np.testing.assert_array_equal(points["i_ext_e"], np.repeat([1.0, 2.0], 6))
    np.testing.assert_array_equal(points["coupling"], np.tile(np.repeat([3.0, 4.0, 5.0], 2), 2))
    np.testing.assert_array_equal(seeds, np.tile(ng.run_seeds(7, 2), 6))


def test_random_and_sobol():
    bounds = {"i_ext_e": (0.0, 16.0), "coupling": (5, 30)}
    for make in (ng.Design.random, ng.Design.sobol):
        design, same, other = (make(bounds, 64, seed=seed) for seed in (1, 1, 2))
        assert design.names == ("point",)
        for name, (low, high) in bounds.items():
            value = design.parameters[name][1]
            assert value.min() >= low
            assert value.max() <= high
            np.testing.assert_array_equal(value, same.parameters[name][1])
            assert (value != other.parameters[name][1]).any()
    # Sobol: the same number of points in each cell of an 8 by 8 grid.
    unit = np.stack([(design.parameters[k][1] - b[0]) / (b[1] - b[0]) for k, b in bounds.items()])
    counts = np.histogram2d(*unit, bins=8, range=[[0, 1], [0, 1]])[0]
    assert (counts == 1).all()
    assert ng.Design.random(bounds, 5, regions=12).parameters["i_ext_e"][1].shape == (5, 12)
    assert ng.Design.sobol(bounds, 5).count == 5


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ng.Design.grid({}), "at least one parameter"),
        (lambda: ng.Design.grid({"a": 3.0}), "`a` must have values"),
        (lambda: ng.Design.grid({"a": [np.nan]}), "`a` must be finite"),
        (lambda: ng.Design.grid({"a": [1.0]}, replicates=0), "`replicates` must be"),
        (lambda: ng.Design.grid({"a": [1.0]}, seed=-1), "`seed` must be"),
        (lambda: ng.Design.listed({"a": [1.0], "b": [1.0, 2.0]}), "`b` must have as many values"),
        (lambda: ng.Design.random({"a": (1.0, 0.0)}, 3), "`a` must have bounds that rise"),
        (lambda: ng.Design.random({"a": (1.0,)}, 3), "`a` must have bounds"),
        (lambda: ng.Design.sobol({"a": (0.0, 1.0)}, 0), "`count` must be a positive integer"),
    ],
)
def test_designs_refuse(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"i_ext": [1.0]}, "`parameters` must be one of .*did you mean"),
        ({"tau_e": [8.0, -1.0]}, "`tau_e` must be positive"),
        ({"i_ext_e": np.zeros((2, 5))}, "`i_ext_e` must have a value for each"),
        ({"scatter": [-1.0]}, "`scatter` must not be negative"),
    ],
)
def test_sweep_refuses_designs(network, values, words):
    with pytest.raises(ValueError, match=words):
        ng.sweep(network, ng.Design.listed(values), ng.Activity(duration=100.0))


def test_blocks_are_boxes():
    for shape, size in (((5, 7, 2), 14), ((5, 7, 2), 30), ((9,), 4), ((3, 4), 1), ((2, 2), 100)):
        blocks = Blocks(shape, size)
        seen = np.concatenate([blocks.runs(k)[0] for k in range(len(blocks))])
        assert sorted(seen) == list(range(np.prod(shape)))
        for k in range(len(blocks)):
            runs, box = blocks.runs(k)
            assert runs.size == np.prod(box) <= size
            grid = np.arange(np.prod(shape)).reshape(shape)
            np.testing.assert_array_equal(grid[blocks.region(k)].ravel(), runs)


# -------------------------------------------------------------------- summaries


def test_streamed_summaries_are_those_of_the_traces(network, plane, activity, found):
    """Against NumPy, SciPy's Welch (through `signals`) and the whole traces of the same runs."""
    points, seeds = plane.at(np.arange(plane.count))
    batch = ng.simulate_batch(
        network, points, 500.0, dt=0.1, integrator="moebius", seed=seeds, save_every=1.0
    )
    traces = np.asarray(batch.v_e)[:, 101:].reshape(*plane.shape, 400, 12)
    assert found.v_e_trace.dims == ("i_ext_e", "coupling", "replicate", "time", "region")
    assert found.v_e_trace.time.values[[0, -1]] == pytest.approx([101.0, 500.0])
    np.testing.assert_allclose(found.v_e_trace, traces, rtol=1e-6, atol=1e-6)
    traces = found.v_e_trace.values
    np.testing.assert_allclose(found.v_e_mean, traces.mean(axis=3), rtol=1e-12)
    np.testing.assert_allclose(found.v_e_variance, traces.var(axis=3), rtol=1e-9)
    np.testing.assert_array_equal(found.v_e_minimum, traces.min(axis=3))
    np.testing.assert_array_equal(found.v_e_maximum, traces.max(axis=3))
    np.testing.assert_allclose(found.v_e_field_variance, traces.mean(axis=4).var(axis=3), rtol=1e-9)
    for where in np.ndindex(plane.shape):
        x, here = traces[where], found.isel(dict(zip(plane.names, where, strict=True)))
        welch = ng.signals.power_spectrum(x, 1e-3, segment=0.1)
        np.testing.assert_allclose(here.frequency, welch.frequencies, atol=1e-9)
        scale = welch.power.max()
        np.testing.assert_allclose(here.v_e_spectrum, welch.power, rtol=1e-7, atol=1e-12 * scale)
        np.testing.assert_array_equal(here.v_e_peak_frequency, welch.peak_frequency)
        for name, power in welch.band_powers().items():
            np.testing.assert_allclose(here.v_e_band_power.sel(band=name), power, rtol=1e-6)
        field = ng.signals.power_spectrum(x.mean(axis=1), 1e-3, segment=0.1)
        np.testing.assert_allclose(here.v_e_field_spectrum, field.power, rtol=1e-6, atol=1e-15)
        assert here.v_e_field_peak_frequency == field.peak_frequency
        np.testing.assert_allclose(
            here.v_e_field_band_power, list(field.band_powers().values()), rtol=1e-6, atol=1e-15
        )
        fc = np.asarray(ng.signals.functional_connectivity(x))
        np.testing.assert_allclose(here.v_e_fc, fc, atol=1e-8)
        np.testing.assert_allclose(here.v_e_fc_mean, fc[np.triu_indices(12, 1)].mean(), atol=1e-8)
    assert (found.status == ng.Status.OK).all()
    assert found.v_e_spectrum.attrs["units"] == "1/Hz"
    assert found.i_ext_e.attrs["units"] == "1"
    assert list(found.seed.values) == list(ng.run_seeds(3, 2))


def test_error_is_estimated(network, plane, activity, found):
    """The discrepancy is that of a sweep at half the step."""
    assert found.check_run.size == 3
    points, seeds = plane.at(found.check_run.values)
    for k in range(3):
        here = {name: value[[k]] for name, value in points.items()}
        listed = ng.Design.listed(here, seed=int(seeds[k]))
        # As many lanes as the design's: its program.
        fine = dataclasses.replace(activity, dt=0.05, sample=1.0, integrator="moebius")
        halved = ng.sweep(network, listed, fine, checks=0, chunk=16)
        value = found.v_e_mean.values.reshape(-1, 12)[found.check_run[k]]
        np.testing.assert_allclose(
            found.v_e_mean_discrepancy[k], value - halved.v_e_mean[0], atol=1e-11
        )
    rows = {row["summary"]: row for row in discrepancies(found)}
    assert 0 < rows["v_e_mean"]["median"] < rows["v_e_mean"]["spread"]
    assert rows["v_e_mean"]["units"] == "1"


@pytest.mark.parametrize("kind", ["network", "homogeneous"])
@pytest.mark.slow
def test_homogeneous_and_32_bits(network, plane, kind):
    system = network if kind == "network" else network.homogeneous()
    keep = ("mean", "variance", "peak_frequency", "field_variance", "fc_mean", "maximum")
    measure = {
        dtype: ng.Activity(
            duration=200.0, transient=50.0, keep=keep, signals=("s_e", "v_e"), dtype=dtype
        )
        for dtype in ("float32", "float64")
    }
    single, double = (ng.sweep(system, plane, m, checks=0) for m in measure.values())
    assert single.s_e_mean.dtype == np.float32
    assert ("region" in single.dims) == (kind == "network")
    np.testing.assert_allclose(single.s_e_mean, double.s_e_mean, rtol=0.05)
    if kind == "homogeneous":
        np.testing.assert_allclose(double.v_e_field_variance.min() > 0, True)
        assert double.v_e_mean.dims == plane.names


@pytest.mark.slow
def test_a_constant_signal_has_no_correlation(network):
    design = ng.Design.grid({"i_ext_e": [0.0]})
    rest = ng.Activity(duration=200.0, transient=3000.0, keep=("mean", "fc_mean", "peak_frequency"))
    found = ng.sweep(network, design, rest, checks=0)
    assert np.isnan(found.v_e_fc_mean).all()
    assert np.isnan(found.v_e_peak_frequency).all()
    assert np.isfinite(found.v_e_mean).all()
    assert found.status == ng.Status.OK


@pytest.mark.parametrize("method", [pytest.param("rk4", marks=pytest.mark.slow), "moebius"])
def test_noise_has_the_variance_of_the_linear_theory(network, method):
    """Weak white noise in the input at a stable rest: A P + P Aᵀ + b bᵀ = 0."""
    inner = network.with_parameters(i_ext_e=4.0, coupling=0.0).homogeneous()
    rest = ng.find_equilibria(inner).states[0]
    slopes = jax.jit(jax.jacfwd(inner.vector_field, argnums=(0, 1)))
    matrix, column = map(np.asarray, slopes(rest, 0.0))
    sigma = 1e-3
    expected = solve_continuous_lyapunov(matrix, -np.outer(column, column) * sigma**2)
    design = ng.Design.listed({"input_noise": np.full(2, sigma)}, replicates=8)
    measure = ng.Activity(
        duration=4000.0, transient=200.0, integrator=method, dt=0.05, keep=("variance",),
        signals=("v_e", "s_i"), scatter=0.0,
    )  # fmt: skip
    found = ng.sweep(inner, design, measure, checks=0)
    # The same seeds give the same noise at every point; the eight replicates differ.
    np.testing.assert_array_equal(found.v_e_variance[0], found.v_e_variance[1])
    for name, k in (("v_e", 1), ("s_i", 5)):
        value = found[f"{name}_variance"][0].values
        error = value.std(ddof=1) / np.sqrt(8)
        assert abs(value.mean() - expected[k, k]) < 4 * error
        assert error < 0.1 * expected[k, k]


def test_noise_and_initial_values_per_region(network):
    rng = np.random.default_rng(0)
    values = {
        "v_e(0)": rng.normal(size=(3, 12)),
        "s_i(0)": [0.1, 0.2, 0.3],
        "eta_e": -5 + rng.normal(size=(3, 12)),
        "scatter": [0.0, 0.01, 0.02],
    }
    measure = ng.Activity(duration=5.0, transient=0.0, keep=("trace",), signals=("v_e", "s_i"),
                          sample=0.1)  # fmt: skip
    found = ng.sweep(network, ng.Design.listed(values), measure, checks=0)
    assert found["eta_e"].dims == ("point", "region")
    for k in range(3):
        here = network.with_parameters(eta_e=values["eta_e"][k])
        y0 = np.array(ng.initial_state(here, scatter=values["scatter"][k]))
        y0[1], y0[5] = values["v_e(0)"][k], values["s_i(0)"][k]
        run = ng.simulate(here, 5.0, start=y0, dt=0.1, integrator="moebius", save_every=0.1)
        np.testing.assert_allclose(found.v_e_trace[k], run.v_e[1:], atol=1e-10)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"keep": ("median",)}, "`keep` must be one of"),
        ({"keep": "mean"}, "`keep` must be a list"),
        ({"signals": ("w",)}, "`signals` must be one of"),
        ({"duration": 100.3}, "`duration` must be a whole number of samples"),
        ({"duration": 101.0}, "`duration` must be a whole number of half segments"),
        ({"segment": 30.0}, "`duration` must be a whole number of half segments"),
        ({"sample": 0.25, "dt": 0.1}, "`sample` must be a whole number of steps"),
        ({"dt": 0.0}, "`dt` must be positive"),
        ({"integrator": "rk5"}, "`integrator` must be one of"),
        ({"bands": {"a": (5.0, 3.0)}}, "`bands` must rise"),
        ({"scatter": -1.0}, "`scatter` must be"),
        ({"dtype": "float16"}, "`dtype` must be"),
    ],
)
def test_activity_refuses(network, options, words):
    measure = ng.Activity(**{"duration": 100.0, "transient": 0.0, **options})
    with pytest.raises(ValueError, match=words):
        ng.sweep(network, ng.Design.grid({"i_ext_e": [1.0]}), measure)


def test_failures_are_recorded(network):
    design = ng.Design.listed({"j_ee": [5.0, 1e6], "j_ei": [13.0, 0.0]})
    measure = ng.Activity(duration=100.0, transient=0.0, integrator="rk4", dt=0.1, keep=("mean",))
    found = ng.sweep(network, design, measure, checks=0)
    assert found.status.values[0] == ng.Status.OK
    assert found.status.values[1] in (ng.Status.NOT_FINITE, ng.Status.NONE_FOUND)
    assert "NOT_FINITE" in found.status.attrs["flag_meanings"]


# ----------------------------------------------------------- the same, however run


def test_blocks_chunks_and_devices(network, plane, found, activity, monkeypatch):
    """Blocks and devices: to the bit. Chunks: the product's sums may be ordered otherwise."""
    blocks = ng.sweep(network, plane, activity, checks=0, block=5)
    monkeypatch.setattr(jax, "local_devices", lambda: jax.devices()[:1])
    alone = ng.sweep(network, plane, activity, checks=0)
    for name in alone.data_vars:
        np.testing.assert_array_equal(blocks[name], found[name], err_msg=name)
        np.testing.assert_array_equal(alone[name], found[name], err_msg=name)
    monkeypatch.undo()
    means = dataclasses.replace(activity, keep=("mean",))
    narrow = ng.sweep(network, plane, means, checks=0, chunk=3)
    np.testing.assert_allclose(narrow.v_e_mean, found.v_e_mean, atol=1e-7)


def test_lanes_suit_the_runs(network, monkeypatch):
    """Few runs are not filled up to many; all blocks of a design have the same lanes."""
    lanes = [lanes_for(runs, 32) for runs in (1, 3, 4, 5, 8, 9, 17, 33, 10**6)]
    assert lanes == [4, 4, 4, 8, 8, 16, 32, 32, 32]
    assert lanes_for(3, 65_536) == 4
    assert lanes_for(5, 2) == 2
    seen = []

    def counted(self, system, points, seeds, chunk):
        seen.append((chunk, seeds.size))
        return {"v_e_mean": np.zeros((seeds.size, 12)), "below_zero": np.zeros(seeds.size),
                "status": np.zeros(seeds.size)}  # fmt: skip

    monkeypatch.setattr(ng.Activity, "evaluate", counted)
    for count, block in ((3, None), (5, 2)):
        design = ng.Design.grid({"i_ext_e": np.arange(float(count))})
        ng.sweep(network, design, ng.Activity(100.0, 0.0, keep=("mean",)), block=block, checks=0)
    assert seen == [(4, 3), (8, 2), (8, 2), (8, 1)]


def test_one_compilation(network, monkeypatch):
    """All blocks of a sweep, and later sweeps of the same shapes, run what was compiled once."""
    traced = []

    def counted(network):
        traced.append(1)
        return {"value": network.coupling * 2}

    for low in (0.0, 5.0):
        design = ng.Design.grid({"coupling": low + np.arange(30.0)})
        found = ng.sweep(network.with_parameters(tau_e=8.0 + low), design, counted, block=7)
        np.testing.assert_array_equal(found.value, 2 * design.parameters["coupling"][1])
    # Each sweep asks once for the results' shapes; the computation is traced once for both.
    assert len(traced) == 3


@pytest.mark.gpu
def test_on_a_gpu(network, plane):
    """A GPU's summaries are those of the CPU, where the activity is regular."""
    assert jax.default_backend() == "gpu"
    measure = ng.Activity(200.0, 0.0, keep=("mean", "variance", "fc", "band_power"))
    here = ng.sweep(network, plane, measure, checks=0)
    with jax.default_device(jax.devices("cpu")[0]):
        points, seeds = plane.at(np.arange(plane.count))
        batch = ng.simulate_batch(
            network, points, 200.0, dt=0.1, integrator="moebius", seed=seeds, save_every=1.0
        )
    means = np.asarray(batch.v_e)[:, 1:].mean(axis=1).reshape(*plane.shape, 12)
    np.testing.assert_allclose(here.v_e_mean, means, rtol=1e-5)


class Greedy(AbstractMeasure):
    """Runs out of memory with more than three runs at a time."""

    def __init__(self, error):
        self.error, self.chunks = error, []

    def outputs(self, system):
        return {"seen": Output((), (), "float64")}

    def chunk(self, system):
        return 16

    def evaluate(self, system, points, seeds, chunk):
        self.chunks.append(chunk)
        if chunk > 3:
            raise self.error
        return {"seen": points["i_ext_e"], "status": np.zeros(seeds.size)}

    def definition(self, system):
        return {"measure": "greedy"}


@pytest.mark.parametrize(
    "error", [jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: no room"), MemoryError()]
)
def test_out_of_memory_halves_the_chunk(network, error):
    measure = Greedy(error)
    design = ng.Design.grid({"i_ext_e": np.arange(8.0)})
    with pytest.warns(UserWarning, match="do not fit into the memory: on with"):
        found = ng.sweep(network, design, measure, block=4)
    np.testing.assert_array_equal(found.seen, np.arange(8.0))
    assert measure.chunks == [8, 4, 2, 2]  # and the second block starts with what fits
    other = Greedy(jax.errors.JaxRuntimeError("INTERNAL: something else"))
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        ng.sweep(network, design, other)


# -------------------------------------------------------------- other measures


@pytest.mark.slow
def test_stability_is_the_map_without_oscillations(network):
    axes = {"i_ext_e": np.linspace(0, 14, 5), "coupling": [5.0, 20.0]}
    found = ng.sweep(network, ng.Design.grid(axes), ng.Stability())
    known = ng.dispersion_map(network, axes, oscillations=False)
    for name in ("growth_uniform", "growth_transverse", "frequency", "states"):
        np.testing.assert_allclose(found[name], getattr(known, name), rtol=1e-9, atol=1e-12)
    for name in ("number_growing", "fastest"):
        np.testing.assert_array_equal(found[name], getattr(known, name))
    np.testing.assert_array_equal(found.status, known.status)
    assert "check_run" not in found


@pytest.mark.slow
def test_exponents_are_those_of_the_map(network):
    axes = {"i_ext_e": [4.0, 12.0], "coupling": [10.0]}
    options = {"duration": 300.0, "transient": 100.0}
    inner = network.homogeneous()
    found = ng.sweep(inner, ng.Design.grid(axes), ng.Exponents(2, **options), checks=2)
    known = ng.lyapunov_map(inner, axes, 2, **options).spectra
    np.testing.assert_allclose(found.exponents, known.exponents, atol=1e-9)
    np.testing.assert_array_equal(found.number_positive, known.number_positive)
    assert np.abs(found.exponents_discrepancy).max() < 1e-3


def growth_at_rest(network):
    inner = network.homogeneous()
    state = inner.equilibrium_candidates(1)[0]
    matrix = jax.jacfwd(inner.vector_field)(state)
    growth = jnp.linalg.eigvals(matrix).real.max()
    return {"trace": jnp.trace(matrix), "state": state, "growth": growth}


def period(network):
    return {"period": ng.find_orbit(network.homogeneous()).period}


@pytest.mark.slow
def test_functions(network):
    design = ng.Design.grid({"i_ext_e": [0.0, 4.0], "coupling": [2.0, 3.0, 4.0]})
    found = ng.sweep(
        network,
        design,
        Function(growth_at_rest, dims={"state": ("variable",)}, units={"trace": "1/ms"}),
    )
    assert found.state.dims == ("i_ext_e", "coupling", "variable")
    assert found.trace.attrs["units"] == "1/ms"
    for where in np.ndindex(2, 3):
        here = network.with_parameters(
            i_ext_e=design.parameters["i_ext_e"][1][where[0]],
            coupling=design.parameters["coupling"][1][where[1]],
        )
        for name in ("trace", "growth"):
            np.testing.assert_allclose(found[name][where], growth_at_rest(here)[name], rtol=1e-9)
    plain = ng.sweep(network, design, growth_at_rest)
    np.testing.assert_array_equal(plain.trace, found.trace)
    assert plain.state.dims[-1] == "state_0"


def test_a_function_point_by_point(network):
    """Orbits, one after the other: where there is none the reason is the status."""
    design = ng.Design.grid({"i_ext_e": [13.0, 0.0]})
    found = ng.sweep(network, design, Function(period, traced=False))
    assert found.status.values.tolist() == [ng.Status.OK, ng.Status.NOT_PERIODIC]
    orbit = ng.find_orbit(network.with_parameters(i_ext_e=13.0).homogeneous())
    assert found.period[0] == float(orbit.period)
    assert np.isnan(found.period[1])


def test_not_finite_without_a_status(network):
    def odd(network):
        return {"value": jnp.log(network.coupling - 3.0)}

    found = ng.sweep(network, ng.Design.grid({"coupling": [2.0, 4.0]}), odd)
    assert found.status.values.tolist() == [ng.Status.NOT_FINITE, ng.Status.OK]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"measure": lambda network: 3.0}, "`function` must return a dict"),
        ({"measure": ng.Activity}, "`measure` must be an object, but it is the class `Activity`"),
        ({"block": 0}, "`block` must be a positive integer"),
        ({"chunk": 0}, "`chunk` must be a positive integer"),
        ({"checks": -1}, "`checks` must be a positive integer"),
    ],
)
def test_sweep_refuses(network, options, words):
    given = {"parameters": ng.Design.grid({"i_ext_e": [1.0]}), "measure": ng.Activity(), **options}
    with pytest.raises(ValueError, match=words):
        ng.sweep(network, **given)
