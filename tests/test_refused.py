"""What is refused by name where it was taken for something else before."""

from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from scipy.sparse import csr_array

import ngnmm_jax as ng
from ngnmm_jax._core import checks
from ngnmm_jax._core.starting import first_state
from ngnmm_jax.cli.reports import statuses
from ngnmm_jax.cli.reports.chaos import lyapunov_facts
from ngnmm_jax.cli.reports.sweeps import sweep_facts
from ngnmm_jax.connectome import Connectome
from ngnmm_jax.fitting import losses
from ngnmm_jax.observe import Average, LeadField
from ngnmm_jax.sweeps.folding import LIMIT, FoldedWarning, told
from ngnmm_jax.systems.noises import White

RING = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])


def network(**options):
    return ng.Network(ng.NextGenEI(), Connectome(RING), coupling=2.0, **options)


@pytest.mark.parametrize("text", ["10", b"10", np.array("10"), np.array(["10"], object)[0], 1j])
def test_a_time_is_a_number_and_no_text(text):
    with pytest.raises(ValueError, match="`duration` must be a number, but it is"):
        ng.simulate(network(), text)
    with pytest.raises(ValueError, match="`duration` must be a number"):
        ng.Activity(duration=text)


def test_what_counts_as_a_time():
    given = (10, 10.0, np.float32(10), jnp.asarray(10.0), Fraction(10), Decimal(10))
    assert [checks.time("t", value) for value in given] == [10.0] * 6
    for value in (np.timedelta64(10, "s"), True, "ten"):
        with pytest.raises(ValueError, match="`t` must be a number"):
            checks.time("t", value)
    with pytest.raises(ValueError, match="`save_at` must be numbers"):
        checks.times("save_at", ["1", "2"])


def test_samples_further_apart_than_the_run_is_long():
    for run in (ng.simulate, lambda *given, **more: ng.simulate_batch(given[0], {}, 10.0, **more)):
        with pytest.raises(ValueError, match="`save_every` must be at most the duration, 10"):
            run(network(), 10.0, save_every=20.0)
    with pytest.raises(ValueError, match="`save_every` must be at most the duration, 10"):
        ng.simulate_spiking(network(), 10.0, save_every=20.0, neurons=10)


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("labels", lambda: Connectome(RING, labels="abc")),
        ("groups", lambda: Connectome(RING, groups="abc")),
        ("notes", lambda: Connectome(RING, notes="abc")),
        ("labels", lambda: ng.graphs.SparseGraph(csr_array(RING), labels="abc")),
        ("sensors", lambda: LeadField(np.ones((3, 3)), sensors="abc")),
        ("groups", lambda: Average("abc", "v_e")),
        ("names", lambda: ng.surfaces.Parcellation(np.arange(3), names="abc")),
    ],
)
def test_names_are_no_letters_of_a_text(name, made):
    with pytest.raises(ValueError, match=f"`{name}` must be a sequence of names, but it is the te"):
        made()


def test_names_of_any_kind_of_sequence():
    for given in (("a", "b", "c"), np.array(["a", "b", "c"]).tolist()):
        assert Connectome(RING, labels=given).labels == ("a", "b", "c")


def test_an_edge_list_says_by_what_its_columns_were_read(tmp_path):
    def notes(text):
        (tmp_path / "edges.csv").write_text(text)
        found = Connectome.load(tmp_path / "edges.csv", directed=True)
        return found, found.notes

    lines = "".join(f"{k},{(k + 1) % 4},{k + 1}\n" for k in range(4))
    found, told = notes("target,source,weight\n" + lines)
    read = "the edge list is read by its header: source 'source', target 'target', weight 'weight'"
    assert read in told
    assert found.weights[0, 1] == 1.0  # row: the target
    lines = "".join(f"{k},{(k + 1) % 4},{k + 1},{10 * k + 5}\n" for k in range(4))
    found, told = notes("from,to,w,length\n" + lines)
    assert "weight 'w', tract length 'length'" in " | ".join(told)
    assert found.tract_lengths[1, 0] == 5.0
    lines = "".join(f"{k},{(k + 1) % 4},{k + 1}\n" for k in range(4))
    assert "each line of the edge list is read as source, target, weight" in notes(lines)[1]


BELOW = np.full((6, 3), -1.0)


@pytest.mark.parametrize(
    "begun",
    [
        lambda start: ng.simulate(network(), 10.0, start=start),
        lambda start: ng.simulate_batch(network(), {"coupling": [1.0, 2.0]}, 10.0, start=start),
        lambda start: ng.simulate_batch(
            network(), {}, 10.0, start=np.stack([abs(start), start]), seed=[0, 1]
        ),
        lambda start: ng.simulate_spiking(network(), 10.0, start=start, neurons=10),
        lambda start: ng.lyapunov_spectrum(network(), 2, start=start),
        lambda start: ng.lyapunov_spectrum(network().homogeneous(), 2, start=start[:, 0]),
        lambda start: ng.find_orbit(network().homogeneous(), start=start[:, 0]),
        lambda start: ng.sweep(network(), {"coupling": [1.0]}, measure=ng.Activity(start=start)),
        lambda start: ng.simulate(ng.Driven(network(), {"input": 0.1}), 10.0, dt=0.1, start=start),
    ],
)
def test_no_run_starts_at_negative_rates(begun):
    with pytest.raises(ValueError, match="`start` must not have 'r_e' below zero"):
        begun(BELOW)


def test_what_runs_end_in_is_a_start():
    class Run:
        final_state = BELOW

    slightly = np.abs(BELOW)
    slightly[0, 0] = -1e-7  # by a step
    noisy = ng.Driven(network(), {"input": 0.1}, below_zero="keep")
    for system, start in ((network(), Run()), (network(), slightly), (noisy, BELOW)):
        assert first_state(start, system).shape == (6, 3)
    potentials = np.abs(BELOW)
    potentials[1] = -80.0
    assert ng.NextGenEI.variables[1] not in ng.NextGenEI.nonnegative
    assert first_state(potentials, network())[1, 0] == -80.0
    with pytest.raises(ValueError, match="'s_i' below zero"):
        first_state(np.where(np.arange(6)[:, None] == 5, -0.1, np.abs(BELOW)), network())


@pytest.mark.parametrize("noise", [{"input": 0.0}, {"s_e": np.zeros(3), "v_e": White(0.0)}])
@pytest.mark.parametrize("response", [ng.linear_response, ng.modal_response])
def test_without_noise_nothing_fluctuates(response, noise):
    with pytest.raises(ValueError, match="`system` must have noise of a strength above zero"):
        response(ng.Driven(network(), noise), [10.0])


def test_noise_that_is_zero_at_the_equilibrium():
    zero = White(0.1, factor=lambda state: 0.0 * state[0], sense="ito")
    system = ng.Driven(network(), {"s_e": zero})
    with pytest.raises(ng.SolverError, match="no region fluctuates"):
        ng.linear_response(system, variable="s_e")
    found = ng.linear_response(system, variable="s_e", throw=False)
    assert int(found.status) == ng.Status.NOT_FINITE
    assert not found.ok


def test_reports_count_each_status_by_its_own_words():
    status = np.array([[0, ng.Status.STEP_TOO_LARGE], [ng.Status.STEP_TOO_LARGE, 0]])
    spectra = SimpleNamespace(
        status=status,
        exponents=np.ones((2, 2, 1)),
        number_positive=np.ones((2, 2)),
        kaplan_yorke=np.ones((2, 2)),
    )
    facts = lyapunov_facts(SimpleNamespace(spectra=spectra, time_unit="ms"))
    assert facts["step_too_large (the fixed step is too large for the system)"] == "2"
    assert not any("diverged" in words for words in facts)
    assert statuses.in_one_line(status) == "2 step_too_large"
    several = statuses.in_one_line([3, 5, 0, 5])
    assert several == "1 not_finite, 2 none_found"
    assert statuses.in_one_line(np.zeros(3, int)) == "0"


def test_delays_are_named_by_what_they_are_made_of():
    common, single, none = network(delays=2.0), network(delays=np.full((3, 3), 2.0)), network()
    tracts = ng.Network(ng.NextGenEI(), Connectome(RING, tract_lengths=20 * RING), 2.0, speed=5.0)
    for changed in (
        lambda system, name: system.with_parameters(**{name: 3.0}),
        lambda system, name: ng.simulate_batch(system, {name: [3.0, 4.0]}, 10.0),
        lambda system, name: ng.sweep(system, {name: [3.0, 4.0]}, measure=ng.Activity()),
        lambda system, name: ng.Driven(system, {"s_e": 0.1}).with_parameters(**{name: 3.0}),
    ):
        with pytest.raises(ValueError, match="by what they are made of, 'delay', but it names 'de"):
            changed(common, "delays")
        with pytest.raises(ValueError, match="by what they are made of, 'speed', but it names 'de"):
            changed(tracts, "delay")
        for name in ("delay", "delays", "speed"):
            with pytest.raises(ValueError, match="of single connections are none, so make the net"):
                changed(single, name)
            with pytest.raises(ValueError, match="this network has no delays, so make one that"):
                changed(none, name)
        with pytest.raises(ValueError, match=r"`network.with_connectome\(…\)` is the network over"):
            changed(none, "weights")
    assert float(common.with_parameters(delay=3.0).delays.delay) == 3.0
    with pytest.raises(ValueError, match="`delays` must be positive"):
        network(delays=-1.0)
    with pytest.raises(ValueError, match="`delay` must be positive"):
        common.with_parameters(delay=-1.0)


HOLE = np.eye(4) + 0.3
HOLE[0, 2] = HOLE[2, 0] = np.nan


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("target", lambda x: losses.fc_distance(x * np.ones((4, 4)), HOLE)),
        ("target", lambda x: losses.fc_correlation(x * np.ones((4, 4)), HOLE)),
        ("target", lambda x: losses.fc_correlation(x * np.ones((4, 4)), np.ones((4, 4)))),
        ("target", lambda x: losses.time_series(x * np.ones(3), np.array([1.0, np.inf, 2.0]))),
        ("target", lambda x: losses.time_series(x * np.ones(3), np.ones(3))),
        ("target", lambda x: losses.spectral_distance(x * np.ones(3), np.arange(3.0))),
        ("estimate", lambda x: losses.whittle(x * np.ones(3), np.full(3, np.nan))),
        ("target", lambda x: losses.peak_frequency(x * np.ones(3), np.arange(3.0), np.nan)),
        ("target", lambda x: losses.band_power(x * np.ones(3), np.arange(3.0), (1, 2), 0.0)),
    ],
)
def test_losses_refuse_data_that_they_cannot_be_near(name, loss):
    for called in (loss, jax.jit(loss)):  # as a fit calls it
        with pytest.raises(ValueError, match=f"`{name}` must (be finite|be positive|vary)"):
            called(2.0)


def test_what_stands_on_the_diagonal_of_data_does_not_count():
    given = np.arange(16.0).reshape(4, 4)
    np.fill_diagonal(given, np.nan)
    assert float(losses.fc_distance(given, given)) == 0.0


def test_a_fit_without_a_finite_loss_says_so():
    def loss(system, key):
        return {"good": 0.0 * system.coupling, "bad": system.coupling * np.nan}

    free = {"coupling": ng.fitting.positive()}
    with pytest.raises(ng.SolverError, match="no start ever had a finite loss, which was nan at"):
        ng.fit(network(), free, loss, steps=2)
    found = ng.fit(network(), free, loss, steps=2, throw=False)
    assert "of its terms 'bad' first" in found.never_finite()


def test_a_margin_of_stability_that_nobody_looked_at():
    response = ng.linear_response(
        ng.Driven(network(), {"s_e": 0.1}), [10.0], variable="s_e", stability=False
    )
    with pytest.raises(ValueError, match="`response` must say whether its equilibrium is stable"):
        losses.margin(response)


def test_sweeps_tell_of_peaks_that_may_be_folded():
    outputs = ng.Activity(sample=0.5).outputs(network())
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
