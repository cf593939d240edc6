"""Axes of sweeps beside parameters: amplitudes of maps, connectomes; and where runs start."""

import dataclasses
import pickle
import re
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

import ngnmm_jax as ng
from ngnmm_jax import fitting
from ngnmm_jax.sweeps.storage import Blocks

LABELS = ("a", "b", "c")
LENGTHS = np.array([[1.0, 40, 90], [40, 1.0, 60], [90, 60, 1.0]])
GRADIENT = np.array([-1.0, 0.25, 0.75])
COMMON = {"dt": 0.02, "sample": 1.0, "keep": ("mean",)}
# What a population with j = 15 and delta = 1 jumps at: where 1 = slope of its rate, by hand from
# the equilibria of Montbrió, Pazó and Roxin's equations (their Fig. 2: eta between -6 and -3).
FOLDS = (-5.743527, -3.136134)


def connectome(seed, name):
    weights = np.random.default_rng(seed).uniform(0.1, 1.0, (3, 3))
    return ng.Connectome(weights, LABELS, LENGTHS * (1 + seed), name=name).normalised()


@pytest.fixture(scope="module")
def subjects():
    return {f"sub-{k}": connectome(k, f"sub-{k}") for k in range(3)}


@pytest.fixture(scope="module")
def network(subjects):
    return ng.Network(ng.models.MontbrioPazoRoxin(eta=-4.0), subjects["sub-0"], 0.5)


@pytest.fixture(scope="module")
def activity():
    return ng.Activity(duration=20.0, transient=10.0, **COMMON)


def swept(system, parameters, measure, **options):
    options = {"checks": 0, "chunk": 4, "progress": False, **options}
    return ng.sweep(system, parameters, measure, **options)


# ------------------------------------------------------------------ maps


def test_amplitudes_of_a_map_are_an_axis(network, activity):
    """The same as values (value, region) made by hand; the coordinate is the amplitude."""
    amplitudes = np.linspace(0, 2, 3)
    one = ng.RegionalMap("eta", GRADIENT, amplitudes)
    found = swept(network, {"gradient": one}, activity)
    values = -4.0 + amplitudes[:, None] * GRADIENT
    np.testing.assert_array_equal(found.r_mean, swept(network, {"eta": values}, activity).r_mean)
    np.testing.assert_array_equal(found.gradient, amplitudes)
    np.testing.assert_array_equal(found.gradient_map, GRADIENT)
    assert found.gradient.attrs["map_of"] == "eta"
    assert found.r_mean.dims == ("gradient", "region")
    # Of no other region's order: permuted, the results are.
    order = [2, 0, 1]
    quiet = dataclasses.replace(activity, scatter=0.0)
    found = swept(network, {"gradient": one}, quiet)
    turned = ng.Network(network.model, network.connectome.take(order), 0.5)
    other = swept(turned, {"gradient": ng.RegionalMap("eta", GRADIENT[order], amplitudes)}, quiet)
    np.testing.assert_allclose(other.r_mean, found.r_mean[:, order], rtol=1e-9)
    assert list(other.region.values) == ["c", "a", "b"]


def test_maps_add_to_an_axis_and_to_each_other(network):
    one = ng.RegionalMap("eta", GRADIENT, [0.0, 2.0])
    design = ng.Design.grid(
        {"eta": [-5.0, -4.0], "g": one, "h": ng.RegionalMap("eta", [1.0, 0, 0], [3.0])}
    ).bound(network)
    points = design.points()
    assert set(points) == {"eta"}
    expected = np.array([-5.0, -5, -4, -4])[:, None] + np.array([0, 2.0, 0, 2])[:, None] * GRADIENT
    np.testing.assert_allclose(points["eta"], expected + 3.0 * np.array([1.0, 0, 0]), rtol=1e-15)
    # Bases: of regions, of one's own, of a coupling.
    varied = network.with_parameters(eta=[-1.0, -2, -3])
    points = ng.Design.grid({"g": one}).bound(varied).points()
    np.testing.assert_allclose(points["eta"][1], [-3.0, -1.5, -1.5])
    own = ng.RegionalMap("coupling", GRADIENT, [0.1], base=1.0)
    np.testing.assert_allclose(
        ng.Design.grid({"g": own}).bound(network).points()["coupling"], [1 + 0.1 * GRADIENT]
    )
    drawn = ng.Design.sobol({"g": ng.RegionalMap("eta", GRADIENT, (0, 2)), "tau": (1.0, 2.0)}, 4)
    amplitudes = drawn.parameters["g"][1]
    assert sorted(np.floor(2 * amplitudes)) == [0, 1, 2, 3]
    points = drawn.bound(network).points()
    np.testing.assert_allclose(points["eta"], -4 + amplitudes[:, None] * GRADIENT)
    assert points["tau"].shape == (4,)
    random = ng.Design.random({"g": one, "eta": (-5, -4)}, 6, regions=3).bound(network)
    assert random.parameters["g"][1].shape == (6,)
    assert random.points()["eta"].shape == (6, 3)


def test_a_map_in_batches_and_fits_is_the_same(network):
    one = ng.RegionalMap("eta", GRADIENT, [0.0, 2.0])
    runs = ng.simulate_batch(network, {"g": one}, 5.0, dt=0.02)
    hand = ng.simulate_batch(network, {"eta": -4.0 + np.outer([0.0, 2], GRADIENT)}, 5.0, dt=0.02)
    np.testing.assert_array_equal(runs.r, hand.r)
    both = [ng.simulate_batch(network, {"eta": eta, "g": one}, 5.0, dt=0.02)
            for eta in ([-4.0, -5.0], np.array([-4.0, -5.0]))]  # fmt: skip
    np.testing.assert_array_equal(both[0].r, both[1].r)
    np.testing.assert_array_equal(both[0].r[0], hand.r[0])
    free = fitting.Free(
        network,
        {
            "g": fitting.real(apply=ng.RegionalMap("eta", GRADIENT), default=0.0),
            "eta": fitting.real(),
        },
    )
    x = np.array([2.0, -3.0])
    np.testing.assert_allclose(free.put(x).model.eta, -3.0 + 2.0 * GRADIENT)
    slope = jax.jacfwd(lambda x: free.put(x).model.eta)(x)
    np.testing.assert_allclose(slope, np.stack([GRADIENT, np.ones(3)], axis=1))
    assert pickle.loads(pickle.dumps(one)) == one
    assert hash(one) == hash(ng.RegionalMap("eta", GRADIENT, [0.0, 2.0]))
    assert one != ng.RegionalMap("eta", GRADIENT, [0.0, 2.1])


MAP = {"parameter": "eta", "map": GRADIENT, "amplitude": [0.0, 1.0]}


@pytest.mark.parametrize(
    ("change", "more", "words"),
    [
        ({"parameter": "etta"}, {}, "`parameter` must be one of .*did you mean 'eta'"),
        ({"map": np.ones(4)}, {}, "`map` must have a value for each of 3 regions"),
        ({"map": [1.0, np.nan, 0]}, {}, "`map` must be finite"),
        ({"map": np.ones((1, 3))}, {}, r"`map` must have shape \(region,\)"),
        ({"amplitude": None}, {}, "give the map's `amplitude`"),
        ({"base": [1.0, 2.0]}, {}, "`base` must have shape"),
        ({"base": 1.0}, {"eta": [1.0]}, "`base` must be left out"),
        ({"parameter": "tau", "amplitude": [2.0]}, {}, "`tau` must be positive"),
        ({"parameter": "speed"}, {}, "is of connections"),
        ({"parameter": "v(0)"}, {}, "`base` must be given for 'v\\(0\\)'"),
    ],
)
def test_maps_refuse(network, activity, change, more, words):
    delayed = ng.Network(network.model, network.connectome, 0.5, speed=5.0)
    with pytest.raises(ValueError, match=words):
        swept(delayed, {"g": ng.RegionalMap(**(MAP | change)), **more}, activity)


def test_maps_need_regions_and_names(network, activity):
    one = ng.RegionalMap(**MAP)
    with pytest.raises(ValueError, match="`system` must be a network for a `RegionalMap`"):
        swept(network.homogeneous(), {"g": one}, activity)
    with pytest.raises(ValueError, match=r"`eta` must have a name of its own .* 'eta_map'"):
        swept(network, {"eta": one}, activity)
    with pytest.raises(ValueError, match="one number for all regions in `Stability`"):
        swept(network, {"g": one}, ng.Stability())
    with pytest.raises(ValueError, match=r"`eta` must have values \(run, …\) for 2 runs"):
        ng.simulate_batch(network, {"g": one, "eta": [1.0, 2, 3]}, 5.0)


# ------------------------------------------------------------------ connectomes


@pytest.mark.parametrize(
    "delays", [{}, pytest.param({"speed": 20.0}, marks=pytest.mark.slow)], ids=["at once", "speed"]
)
def test_connectomes_are_an_axis(network, subjects, activity, delays):
    """Each to the bit what its own network gives, whatever the blocks; compiled once for all."""
    model = ng.models.MontbrioPazoRoxin(eta=[-4.0, -3.0, -5.0])
    base = ng.Network(model, network.connectome, 0.5, **delays)
    values = {"coupling": [0.2, 0.8]}
    ends = ng.Connectomes([subjects["sub-0"], subjects["sub-2"]])
    assert list(swept(base, {"subject": ends, **values}, activity).subject) == ["sub-0", "sub-2"]
    compiled = []

    def listen(event, *_, **__):
        if "backend_compile" in event:
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    found = swept(base, {"subject": ng.Connectomes(subjects), **values}, activity)
    assert not compiled
    late = {**values, "subject": ng.Connectomes(subjects)}
    cut = swept(base, late, activity, block=1)
    np.testing.assert_array_equal(cut.r_mean.transpose(*found.r_mean.dims), found.r_mean)
    for label, one in subjects.items():
        alone = swept(base.with_connectome(one), values, activity)
        np.testing.assert_array_equal(found.r_mean.sel(subject=label), alone.r_mean)
    assert np.ptp(found.r_mean.values, axis=0).min() > 1e-6


def test_lesions(network, subjects):
    whole = subjects["sub-0"]
    lesions = {"none": whole} | {label: whole.cut([label]) for label in LABELS}
    lesions["edge"] = whole.cut(edges=[("a", "c")])
    rows = swept(network, {"lesion": ng.Connectomes(lesions)}, lambda n: {"w": n.weights})
    weights = dict(zip(lesions, rows.w.values, strict=True))
    np.testing.assert_array_equal(weights["none"], whole.weights)
    assert not weights["b"][1].any()
    assert not weights["b"][:, 1].any()
    assert (weights["b"] == 0).sum() == 5
    gone = whole.weights - weights["edge"]
    assert gone[0, 2] == whole.weights[0, 2]
    assert np.count_nonzero(gone) == 1
    with pytest.raises(ValueError, match="`edges` must be pairs"):
        whole.cut(edges=["ac"])
    with pytest.raises(ValueError, match="`regions` must be one of"):
        whole.cut(["d"])
    np.testing.assert_array_equal(whole.cut(["a"]).tract_lengths, whole.tract_lengths)


def test_stability_of_subjects(network, subjects):
    """The growth of each one's modes: of an equilibrium's Jacobian along its eigenvalues."""
    found = swept(network, {"subject": ng.Connectomes(subjects)}, ng.Stability())
    for label, one in subjects.items():
        here = network.with_connectome(one)
        state = found.states.sel(subject=label).values[0]
        whole = jax.jacfwd(lambda x, n=here: n.vector_field(x.reshape(2, 3)).ravel())(
            np.repeat(state, 3)
        )
        values = np.linalg.eigvals(whole)
        growths = found.sel(subject=label)
        expected = max(growths.growth_uniform.values[0], growths.growth_transverse.values[0])
        assert values.real.max() == pytest.approx(expected, abs=1e-10)
    uneven = {"cut": subjects["sub-0"].cut(["a"])}
    with pytest.raises(ValueError, match="homogeneous"):
        swept(network, {"subject": ng.Connectomes(uneven)}, ng.Stability())


def test_a_store_knows_its_connectomes(network, subjects, activity, tmp_path):
    design = {"subject": ng.Connectomes(subjects), "coupling": [0.2, 0.8]}
    store = tmp_path / "subjects.zarr"
    found = swept(network, design, activity, store=store, block=2)
    np.testing.assert_array_equal(found.r_mean, swept(network, design, activity).r_mean)
    # The network's own connectome decides nothing: the axis stands in its place.
    other = network.with_connectome(subjects["sub-2"])
    assert swept(other, design, activity, store=store).subject.size == 3
    changed = {**subjects, "sub-1": subjects["sub-1"].cut(["a"])}
    with pytest.raises(ValueError, match="differs in design") as refused:
        swept(network, {**design, "subject": ng.Connectomes(changed)}, activity, store=store)
    there, here = re.search(r"design \((.*) there, (.*) here\)", str(refused.value)).groups()
    assert there != here
    assert len(there) <= 60
    assert len(here) <= 60
    again = {**design, "g": ng.RegionalMap("eta", GRADIENT, [0.0, 1.0])}
    with pytest.raises(ValueError, match="differs in design"):
        swept(network, again, activity, store=store)


def bad(subjects):
    one = subjects["sub-0"]
    renamed = dataclasses.replace(one, labels=("a", "b", "x"))
    return {
        "order": ({"p": one.take([1, 0, 2])}, r"Of 'p': .*`connectome.take\(network.labels\)`"),
        "names": ({"q": renamed}, "have the network's regions, but .*'x'"),
        "number": ({"small": one.without(["c"])}, "Of 'small': .* the network's 3 regions"),
        "lengths": ({"n": one.weights}, "Of 'n': .*tract lengths"),
    }


@pytest.mark.parametrize("case", ["order", "names", "number", "lengths"])
def test_connectomes_refuse(network, subjects, activity, case):
    some, words = bad(subjects)[case]
    delayed = ng.Network(network.model, network.connectome, 0.5, speed=5.0)
    with pytest.raises(ValueError, match=words):
        swept(delayed, {"subject": ng.Connectomes({**subjects, **some})}, activity)


def test_axes_of_connectomes_refuse(network, subjects, activity):
    one, some = subjects["sub-0"], ng.Connectomes(subjects)
    with pytest.raises(ValueError, match="'sub-0' stands more than once"):
        ng.Connectomes([one, one])
    with pytest.raises(ValueError, match="hold at least one"):
        ng.Connectomes({})
    with pytest.raises(ValueError, match="be named where they are bare weights"):
        ng.Connectomes([one.weights])
    with pytest.raises(ValueError, match="`subject` must be `Connectomes"):
        ng.Design.grid({"subject": list(subjects.values())})
    with pytest.raises(ValueError, match="`subject` must have as many"):
        ng.Design.listed({"eta": [1.0], "subject": some})
    with pytest.raises(ValueError, match="stand in a grid or a list"):
        ng.Design.random({"subject": some}, 3)
    with pytest.raises(ValueError, match="one axis of `Connectomes`"):
        ng.Design.grid({"a": some, "b": some})
    with pytest.raises(ValueError, match="`eta` must have a name of its own"):
        swept(network, {"eta": some}, activity)
    with pytest.raises(ValueError, match="`system` must be a network for `Connectomes`"):
        swept(network.homogeneous(), {"subject": some}, activity)
    sigmoid = ng.Network(network.model, coupling=ng.coupling.CouplingSum({
        "one": ng.coupling.LinearCoupling(ng.graphs.DenseGraph(one), 1.0),
        "two": ng.coupling.LinearCoupling(ng.graphs.DenseGraph(subjects["sub-1"]), 1.0),
    }))  # fmt: skip
    with pytest.raises(ValueError, match="be for networks of one connectome"):
        sigmoid.with_connectome(one)
    in_32 = ng.Network(network.model, np.asarray(one.weights, np.float32), 0.5)
    assert in_32.with_connectome(subjects["sub-1"]).weights.dtype == in_32.weights.dtype


def test_subjects_in_figures(network, subjects):
    design = {"subject": ng.Connectomes(subjects), "coupling": [0.2, 0.8]}
    data = swept(network, design, lambda n: {"w": n.weights.max() * n.coupling})
    ax = ng.plot.sweep(data, "w")
    assert [label.get_text() for label in ax.get_xticklabels()] == list(subjects)
    ax = ng.plot.sweep(data, "w", at={"coupling": 0.8})
    assert len(ax.lines[0].get_xdata()) == 3
    plt.close("all")


# ------------------------------------------------------------------ where runs start


@pytest.fixture(scope="module")
def slow():
    return ng.Activity(duration=5.0, transient=25.0, scatter=0.0, start=ng.Along("eta"), **COMMON)


def jump(values, found):
    """Between which two values the rate jumps."""
    at = np.abs(np.diff(found)).argmax()
    return sorted(values[at : at + 2])


def test_scans_follow_branches_to_their_folds(network, slow):
    """Up to one fold, down to the other; uncoupled regions are alone."""
    alone = network.with_parameters(coupling=0.0)
    up = np.linspace(-6.4, -2.4, 21)
    rising = swept(alone, {"eta": up, "delta": [1.0, 0.8]}, slow, block=1)
    falling = swept(alone, {"delta": [1.0, 0.8], "eta": up[::-1]}, slow, checks=4)
    low, high = jump(up, rising.r_mean.sel(delta=1.0).values[:, 0])
    assert low < FOLDS[1] < high
    low, high = jump(up[::-1], falling.r_mean.sel(delta=1.0).values[:, 0])
    assert low < FOLDS[0] < high
    # Between the folds both: equilibria of the equations.
    both = [s.r_mean.sel(eta=up[10], delta=1.0).values[0] for s in (rising, falling)]
    known = ng.find_equilibria(alone.with_parameters(eta=up[10]).homogeneous())
    rates = np.asarray(known.states[:, 0])[np.asarray(known.stable)]
    np.testing.assert_allclose(sorted(both), sorted(rates), rtol=1e-5)
    assert np.abs(falling.r_mean_discrepancy).max() < 1e-6
    # Blocks, here of one run at most, held whole lines; the homogeneous system does the same.
    one = swept(alone.homogeneous(), {"eta": up, "delta": [1.0, 0.8]}, slow)
    np.testing.assert_allclose(one.r_mean, rising.r_mean[..., 0], rtol=1e-9)


@pytest.mark.slow
def test_a_scan_is_runs_that_go_on(network, slow):
    """With delays, what was sent before too: as `simulate` goes on from each run."""
    delayed = ng.Network(network.model, network.connectome, 0.5, speed=20.0)
    along = dataclasses.replace(slow, duration=4.0, transient=2.0, start=ng.Along("eta", [1.0, 0]))
    values = [-5.0, -3.0, -4.0]
    found = swept(delayed, {"eta": values}, along)
    options = {"dt": 0.02, "save_every": 1.0, "integrator": "rk4"}
    before = np.array([1.0, 0.0])
    for k, eta in enumerate(values):
        here = delayed.with_parameters(eta=eta)
        before = ng.simulate(here, 6.0, start=before, t0=0.0, **options)
        np.testing.assert_allclose(found.r_mean[k], np.mean(before.r[3:], axis=0), rtol=1e-9)
    goes_on = dataclasses.replace(along, start=before)
    last = swept(delayed, {"eta": [-4.0]}, goes_on)
    after = ng.simulate(here, 6.0, start=before, t0=0.0, **options)
    np.testing.assert_allclose(last.r_mean[0], np.mean(after.r[3:], axis=0), rtol=1e-9)


def test_starts_are_those_of_simulate(network, activity, tmp_path):
    state = np.array([[1.0, 0.5, 0.2], [0.0, 0.1, 0.2]])
    run = ng.simulate(network, 3.0, start=state, dt=0.02)
    rest = ng.find_equilibria(network.homogeneous())
    options = {
        "dt": 0.02,
        "save_every": 1.0,
        "integrator": activity._integrator(network),
        "t0": 0.0,
    }
    for start in (state, state[:, 0], run, rest):
        found = swept(network, {"coupling": [0.5]}, dataclasses.replace(activity, start=start))
        hand = ng.simulate(network, 30.0, start=start, **options)
        np.testing.assert_allclose(found.r_mean[0], np.mean(hand.r[11:], axis=0), rtol=1e-9)
    store = tmp_path / "start.zarr"
    design = {"coupling": [0.5]}
    swept(network, design, dataclasses.replace(activity, start=state), store=store)
    with pytest.raises(ValueError, match="start"):
        swept(network, design, dataclasses.replace(activity, start=state + 0.1), store=store)


def test_starts_refuse(network, activity, subjects):
    def start(value):
        return dataclasses.replace(activity, start=value)

    cases = [
        ({"eta": [1.0]}, np.zeros((2, 4)), r"`start` must have shape \(2, 3\)"),
        ({"eta": [1.0]}, np.full(2, np.nan), "`start` must be finite"),
        ({"eta": [1.0]}, "rest", "`start` must be an array of numbers"),
        ({"eta": [1.0]}, ng.Along("etta"), "`dim` must be one of .*did you mean 'eta'"),
        ({"scatter": [1.0]}, np.zeros(2), "`scatter` must not vary where a `start`"),
        ({"v(0)": [1.0]}, ng.Along("v(0)"), r"`v\(0\)` must not vary along"),
    ]
    for values, where, words in cases:
        with pytest.raises(ValueError, match=words):
            swept(network, values, start(where))
    with pytest.raises(ValueError, match="`dim` must be one of"):
        swept(network, {"s": ng.Connectomes(subjects), "eta": [1.0]}, start(ng.Along("s")))
    with pytest.raises(ValueError, match="`first` must be a state"):
        ng.Along("eta", ng.Along("eta"))


def test_boxes_of_whole_lines_and_few_connectomes():
    blocks = Blocks((4, 5, 6), 8, whole=1)
    assert blocks.box == (1, 5, 1)
    assert Blocks((4, 5, 6), 12, late=2).box == (2, 5, 1)
    assert Blocks((4, 5), 100, whole=0, late=1).box == (4, 5)
    for some in (blocks, Blocks((4, 5, 6), 12, late=2)):
        seen = np.concatenate([some.runs(k)[0] for k in range(len(some))])
        assert sorted(seen) == list(range(120))


@pytest.mark.slow
def test_the_page(capsys):
    """Its code runs; the scans differ between the folds, where neither is the other's branch."""
    text = (Path(__file__).parents[1] / "docs" / "sweeps.md").read_text(encoding="utf-8")
    _, _, part = text.partition("## Maps, connectomes, and scans")
    code = part.partition("```python\n")[2].partition("```")[0]
    names = {}
    exec(compile(code, "sweeps.md", "exec"), names)
    both = names["difference"]
    at = both.eta.values[both.values > 0.1]
    folds = [FOLDS[0], FOLDS[1]]
    assert at.min() == pytest.approx(folds[0], abs=0.7)
    assert at.max() == pytest.approx(folds[1], abs=0.4)
    assert capsys.readouterr().out
