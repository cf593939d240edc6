"""Summaries of one's own: against the trace, kept in a store, in 32 bits, compiled once."""

import pickle
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import ngnmm_jax as ng
from ngnmm_jax.cli.reports.sweeps import sweep_facts
from ngnmm_jax.sweeps import run as running
from ngnmm_jax.sweeps.folding import LIMIT, FoldedWarning, told
from ngnmm_jax.sweeps.streaming import streamed
from ngnmm_jax.sweeps.summaries import (
    AbstractStatistic,
    AbstractSummary,
    Bold,
    BoldFC,
    Field,
    Layout,
    Mean,
    Moments,
    OnAverage,
    named,
    separate,
)
from ngnmm_jax.sweeps.summaries.base import Needed
from ngnmm_jax.sweeps.summaries.gathering import Gathering

EDGES = np.linspace(0.0, 0.3, 4)
DESIGN = ng.Design.grid({"coupling": [2.0, 8.0, 14.0]}, seed=1)


class Above(AbstractSummary):
    """The fraction of samples above a threshold."""

    threshold: float = 0.1
    name = "above"

    def start(self, zero, layout):
        return zero

    def add(self, total, window):
        return total + (window.values > self.threshold).sum(axis=0)

    def value(self, total, run):
        return total / run.layout.samples

    def unit(self, unit):
        return "1"


class Histogram(AbstractSummary):
    """How many samples lie between edges, of all regions."""

    edges: np.ndarray
    name = "histogram"
    dims = ("bin",)

    def start(self, zero, layout):
        return jnp.zeros((zero.shape[0], self.edges.size - 1, zero.shape[-1]), int)

    def add(self, total, window):
        values = window.values[:, :, None]
        low, high = (
            edges[None, None, :, None, None] for edges in (self.edges[:-1], self.edges[1:])
        )
        return total + ((values >= low) & (values < high)).sum(axis=(0, 3))

    def value(self, total, run):
        return total

    def coordinates(self, layout, times):
        return {"bin": ((self.edges[:-1] + self.edges[1:]) / 2, {"units": "of the middle"})}


class Skewness(AbstractSummary):
    """Of the windows' means about the mean: what is shared, and what each window emits."""

    name = "skewness"

    def needs(self):
        return (Moments(),)

    def emit(self, total, window):
        return window.values.mean(axis=0)

    def value(self, total, run):
        apart = run.emitted - run[Moments].mean
        return (apart**3).mean(axis=0) / (apart**2).mean(axis=0) ** 1.5


@pytest.fixture(scope="module")
def network():
    return ng.Network(ng.NextGenEI(i_ext_e=12.0), ng.Connectome.synthetic(6).normalised(), 5.0)


def activity(*keep, **options):
    given = {
        "dt": 0.1,
        "integrator": "euler",
        "segment": 10.0,
        "scatter": 0.1,
        "signals": ("s_e",),
    } | options
    return ng.Activity(duration=40.0, transient=10.0, keep=keep, **given)


def kept(threshold=0.1, edges=EDGES):
    above = Above(threshold)
    return activity("mean", above, Field(above), Histogram(edges), Skewness(), "trace")


def against_the_trace(found, exact):
    x = found.s_e_trace.values  # (coupling, time, region)
    near = {"rtol": exact, "atol": exact}
    np.testing.assert_allclose(found.s_e_above, (x > 0.1).mean(axis=1), **near)
    np.testing.assert_allclose(found.s_e_field_above, (x.mean(axis=2) > 0.1).mean(axis=1), **near)
    counts = [np.histogram(some, EDGES)[0] for some in x]
    np.testing.assert_array_equal(found.s_e_histogram, counts)
    means = x.reshape(3, 8, 5, 6).mean(axis=2)
    apart = means - x.mean(axis=1, keepdims=True)
    skew = (apart**3).mean(axis=1) / (apart**2).mean(axis=1) ** 1.5
    np.testing.assert_allclose(found.s_e_skewness, skew, rtol=1e4 * exact, atol=1e4 * exact)
    assert 0 < found.s_e_above.values.mean() < 1


def test_own_summaries_are_kept_and_go_on(network, tmp_path, monkeypatch):
    """In blocks, interrupted, with what each means; changed ones are refused by name."""
    path, compute = tmp_path / "sweep.zarr", running.Task.compute
    blocks = []

    def interrupted(self, number):
        blocks.append(number)
        if blocks == [0, 1]:
            raise KeyboardInterrupt
        return compute(self, number)

    monkeypatch.setattr(running.Task, "compute", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ng.sweep(network, DESIGN, kept(), store=path, block=1, checks=2)
    found = ng.sweep(network, DESIGN, kept(), store=path, checks=2)
    assert blocks == [0, 1, 1, 2, 3]
    against_the_trace(found, 1e-12)
    assert found.s_e_above.dims == ("coupling", "region")
    assert found.s_e_field_above.dims == ("coupling",)
    assert found.s_e_histogram.dims == ("coupling", "bin")
    assert found.s_e_histogram.dtype == np.int64
    written = {"units": "1", "long_name": "s_e, above", "symbol": "$s_e$, above"}
    assert found.s_e_above.attrs == written
    assert found.bin.attrs["units"] == "of the middle"
    np.testing.assert_allclose(found.bin, [0.05, 0.15, 0.25])
    assert found.s_e_above_discrepancy.dims == ("check", "region")

    for changed, words in (
        (kept(threshold=0.2), r"summaries"),
        (kept(edges=EDGES + 0.01), r"summaries"),
    ):
        with pytest.raises(ValueError, match=f"differs in .*{words}"):
            ng.sweep(network, DESIGN, changed, store=path, checks=2)
    monkeypatch.setattr(Above, "add", lambda self, total, window: total)
    with pytest.raises(ValueError, match=r"differs in gathered .*summary_classes"):
        ng.sweep(network, DESIGN, kept(), store=path, checks=2)


def test_in_32_bits_and_many_at_once(network):
    found = ng.sweep(network, DESIGN, dtyped("float32"), checks=0)
    assert found.s_e_above.dtype == found.s_e_skewness.dtype == np.float32
    against_the_trace(found, 1e-6)


def dtyped(dtype):
    measure = kept()
    return activity(*measure.keep, dtype=dtype)


def test_what_is_compiled_is_shared(network, monkeypatch):
    """Arrays are arguments of a program, numbers and methods are parts of it."""

    def function(measure):
        return streamed(measure.plan(network)[0], jnp.float32)[0]

    known = function(kept())
    assert known == function(kept(edges=EDGES + 0.01))
    assert hash(known) == hash(function(kept(edges=EDGES + 0.01)))
    assert known != function(kept(threshold=0.2))
    assert known == function(pickle.loads(pickle.dumps(kept())))
    low = ng.observe.BalloonWindkessel(baseline=1.0)
    scans = [activity("bold", repetition_time=20.0, haemodynamics=h) for h in (None, low)]
    assert function(scans[0]) == function(scans[1])
    monkeypatch.setattr(Above, "value", lambda self, total, run: total)
    assert known != function(kept())


def test_shared_statistics_are_gathered_once(network):
    keep = ("mean", "variance", "peak_frequency", "band_power", "fc", "fc_mean", "field_variance")
    parts = activity(*keep, BoldFC(20.0), Bold(20.0)).plan(network)[0].gathering.parts
    names = [type(part).__name__ for part in parts]
    for name in ("Moments", "Spectra", "Correlations", "Blood"):
        assert names.count(name) == 1
    assert "OnAverage" in names


class Nested(Mean):
    name = "nested"
    levels: Any = None
    fixed: Any = eqx.field(static=True, default=None)


@pytest.mark.parametrize(
    ("summary", "words"),
    [
        (Nested([0.1]), "`Nested.levels` is a list"),
        (Field(Nested({"low": np.ones(2)})), "`Nested.levels` is a dict"),
        (Nested(fixed=(1, {2})), "`Nested.fixed` is a tuple"),
        (Nested(fixed=[1.0]), "`Nested.fixed` is a list"),
    ],
)
def test_fields_that_cannot_be_compiled_are_refused(network, summary, words):
    with pytest.raises(ValueError, match=f"`keep` must have tuples in place .*, but {words}"):
        activity(summary).outputs(network)


class Several(AbstractSummary):
    """Looks up two statistics of a class, and one of them on average too."""

    name = "several"

    def needs(self):
        return (Above(0.2), Above(0.7), Moments(), OnAverage(Moments()))

    def value(self, total, run):
        parts = run[Above(0.2)], run[Above(0.7)], run[Moments].mean
        return sum(parts) + 10 * run[OnAverage(Moments())].variance


class Alike(Several):
    def needs(self):
        return Histogram(EDGES), Histogram(EDGES + 1.0)


def test_statistics_of_one_class_are_told_apart():
    x = np.random.default_rng(0).uniform(size=(2, 4, 1, 3, 2))
    samples = x.reshape(8, 1, 3, 2)
    expected = sum((samples > low).mean(axis=0) for low in (0.2, 0.7)) + samples.mean(axis=0)
    expected = expected + 10 * samples.mean(axis=2, keepdims=True).var(axis=0)
    gathering, layout = Gathering.of([Several()]), Layout(4, 2, 1.0, "ms")

    @jax.jit
    def value(x):
        totals = gathering.start(jnp.zeros(x.shape[2:]), layout)
        for number in range(2):
            totals, _ = gathering.add(totals, x[number], jnp.asarray(number), layout)
        return gathering.values(totals, (None,) * len(totals), layout)[0][0]

    np.testing.assert_allclose(value(x), expected, rtol=1e-12)


def test_a_statistic_is_looked_up_once():
    needed = Needed(((Above(0.2), 1), (Above(0.7), 2)))
    assert needed[Above(0.7)] == 2
    for which, words in ((Above, "several are: look them up by themselves"), (Moments, "none is")):
        with pytest.raises(
            ValueError, match=f"`needs` must name {which.__name__}, .*, but {words}"
        ):
            needed[which]
    with pytest.raises(ValueError, match="told apart in Alike, but two Histogram differ"):
        Gathering.of([Alike()])


def test_a_gpu_takes_what_its_memory_holds(network, monkeypatch):
    """Fewer runs at a time where more is kept of each, by whatever summary."""

    class Card:
        platform = "gpu"

        def memory_stats(self):
            return {"bytes_limit": 2**30}

    monkeypatch.setattr(jax, "local_devices", lambda: [Card()])
    chunks = [activity(*keep).chunk(network) for keep in (("mean",), ("mean", "trace"))]
    assert chunks[0] > chunks[1] > 1
    assert activity(Histogram(np.linspace(0, 1, 100_000))).chunk(network) < chunks[1]


class Wrong(Mean):
    name = "wrong"
    dims = ("region", "more")


class Words(Mean):
    name = "words"

    def value(self, total, run):
        return run[Moments].mean > 0


class Growing(Above):
    name = "growing"

    def add(self, total, window):
        return total + window.values.sum(axis=0) * np.float64(2.0)


class Centred(Above):
    """Looks at other runs in its value."""

    name = "centred"

    def value(self, total, run):
        return total - total.mean(axis=-1, keepdims=True)


class Scaled(AbstractStatistic):
    """Looks at other runs in the second window."""

    def start(self, zero, layout):
        return zero

    def add(self, total, window):
        share = jnp.where(window.number > 0, total.max(), 1.0)
        return total + window.values.sum(axis=0) / share

    def value(self, total, run):
        return total


class Needing(AbstractSummary):
    name = "needing"
    statistic: AbstractStatistic = Scaled()

    def needs(self):
        return (self.statistic,)

    def value(self, total, run):
        return run[self.statistic]


class Counting(Above):
    """Divides by the number of runs too."""

    name = "counting"

    def value(self, total, run):
        return total / total.size


class Joined(Above):
    name = "joined"

    def value(self, total, run):
        return total.mean(axis=-1, keepdims=True)


class Doubtful(Above):
    name = "doubtful"

    def sound(self, value):
        return jnp.isfinite(value).all()


@pytest.mark.parametrize(
    ("summary", "words"),
    [
        (Centred(), "keep runs apart in 'centred'"),
        (Needing(), "keep runs apart in 'needing'"),
        (Field(Counting()), "keep runs apart in 'field_counting'"),
        (Joined(), r"give values \(1, 6, 3\) of 'joined' for 3 runs, but they are \(1, 6, 1\)"),
        (Doubtful(), r"where a value is `sound`, \(3,\), but its shape is \(\)"),
    ],
)
def test_summaries_that_mix_runs_are_refused(network, summary, words):
    with pytest.raises(ValueError, match=f"`keep` must .*{words}"):
        activity("spectrum", summary).outputs(network)


def test_runs_are_compared_once(network, monkeypatch):
    """Again for other options; the library's own are not."""
    compared = []
    monkeypatch.setattr(separate, "_compared", lambda *given: compared.append(given))
    for keep in (("mean", Above(0.123)), (Above(0.123),), ("spectrum",), (Above(0.124),)):
        activity(*keep).outputs(network)
    assert len(compared) == 2


@pytest.mark.parametrize(
    ("keep", "words"),
    [
        ((Above(0.1), Above(0.2)), "`keep` must hold summaries of different names"),
        ((Wrong(),), r"`keep` must give values \(signal, region, more, run\) of 'wrong'"),
        ((Words(),), "`keep` must give real numbers of 'words', but they are bool"),
        ((Growing(),), r"`add` makes float64\[1, 6, 1\] of float32\[1, 6, 1\]"),
        (("bold", Bold(40.0)), "`keep` must hold summaries of different names"),
        ((Bold(16.0),), "`duration` must be a multiple of 16 ms"),
    ],
)
def test_summaries_that_do_not_suit(network, keep, words):
    with pytest.raises(ValueError, match=words):
        activity(*keep, repetition_time=20.0, dtype="float32").outputs(network)


def test_a_class_is_no_summary():
    with pytest.raises(ValueError, match="`keep` must hold names of summaries, or summaries"):
        named(Above, None)


def test_coordinates_must_agree(network):
    class Other(Histogram):
        name = "other"

    measure = activity(Histogram(EDGES), Other(EDGES + 1.0))
    with pytest.raises(ValueError, match="agree on the values along 'bin'"):
        measure.coordinates(network)


def test_sweeps_tell_of_peaks_that_may_be_folded(network):
    outputs = ng.Activity(sample=0.5).outputs(network)
    limits = {name: out.attrs[LIMIT] for name, out in outputs.items() if LIMIT in out.attrs}
    assert limits == {"v_e_peak_frequency": 1000.0, "v_e_field_peak_frequency": 1000.0}
    peak = outputs["v_e_field_peak_frequency"]
    dataset = xr.Dataset(
        {
            "v_e_field_peak_frequency": (("point",), [100.0, 751.0, np.nan, 999.0], peak.attrs),
            "v_e_mean": (("point",), [1e9] * 4, outputs["v_e_mean"].attrs),
            "status": (("point",), [0, 0, 0, 0]),
        }
    )
    with pytest.warns(FoldedWarning, match="2 of 4 values of `v_e_field_peak_frequency` lie above"):
        assert told(dataset) is dataset
    assert sweep_facts(dataset)["v_e_field_peak_frequency near half the sampling rate"] == 2
    told(dataset.isel(point=[0, 2]))  # no warning, which would be an error


def test_how_much_power_lies_near_half_the_sampling_rate():
    time = np.arange(0.0, 4.0, 0.001)
    slow = ng.signals.power_spectrum(np.sin(2 * np.pi * 50 * time), 0.001)
    fast = ng.signals.power_spectrum(np.sin(2 * np.pi * 572 * time), 0.001)  # at 428 Hz
    assert float(slow.upper_quarter) < 1e-6
    assert float(fast.upper_quarter) > 1 - 1e-6
    assert abs(float(fast.peak_frequency) - 428) < 1.0
