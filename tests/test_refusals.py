"""What is refused by name: of another kind, without sense, or taken for something else before."""

import re
from decimal import Decimal
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.sparse import csr_array

import ngnmm_jax as ng
from ngnmm_jax._core import checks
from ngnmm_jax._core.starting import first_state
from ngnmm_jax.connectome import Connectome
from ngnmm_jax.fitting import losses
from ngnmm_jax.observe import Average, LeadField
from ngnmm_jax.systems.noises import White

SEEDED = ("simulate", "simulate_batch", "simulate_spiking", "synthetic", "lyapunov_map",
          "lyapunov_spectrum", "orbit_diagram", "grid", "phase_states")  # fmt: skip
SEEDS = ("a", 1.5, None, True, 2**70)
#: What each call's message has, as a pattern.
SAID = {
    **{f"{name} {seed!r}": "Argument `seed` must be an integer"
       for name in SEEDED for seed in SEEDS},
    "load 3": "`name_or_path` must be a path.*`int`",
    "load None": "`name_or_path` must be a path",
    "ng.load": "`path` must be a path",
    "Connectome.save": "`path` must be a path",
    "ng.save swapped": r"`path` must be where it is written: `save\(path, thing\)`, but it is a "
                       "`Connectome`, and `thing` is 'it.npz'",
    "Network swapped": r"`model` must be a neural mass: `Network\(model, connectome, coupling\)`",
    "Network of two": "`connectome` must be a `Connectome`, or weights",
    "power": "`exponent` must be a number",
    "text as signal": "`signal` must be a number, or an array of numbers, but it is 'a'",
    "ragged signal": "`signal` must be a number, or an array",
    "interval": "`sampling_interval` must be a number",
    "envelope": "`signal` must be a number",
    "cycles": "`start` must be an orbit, .*but it is a `str`",
    "curve": "`start` must be a special point.*but it is a `str`",
    "dispersion": r"`state` must be .*`Equilibria`: give one of its `states`, as `\.states\[0\]`",
    "margin": r"`response` must have frequencies: `linear_response\(network, frequencies=…\)`",
    "speed": r"`tract_lengths=` to `Connectome\(…\)`, `lengths=` to `Connectome.load`",
    "plot.activity": "`run` must be a run, as `simulate` gives, but it is a `Equilibria`",
    "plot.dispersion": "`curves` must be a `Dispersion`, but it is a `Equilibria`",
    "plot.map": "`result` must be a `DispersionMap`, but it is a `Equilibria`",
    "plot.orbit": "`result` must be a `Orbit` or `ForcedOrbit`, but it is a `Equilibria`",
    "plot.equilibria": "`result` must be a `Equilibria`, but it is a `str`",
    "parameter": "`i_ext_e` must be a scalar or have one value for each of the 3 regions, but it "
                 "has 2",
    "with_parameters": "`i_ext_e` must be a scalar or have one value",
    **{f"{name}, mask": r"booleans: give `np\.flatnonzero\(mask\)`"
       for name in ("cut", "without", "take")},
}  # fmt: skip


def calls():
    """All that is refused, by the names above."""
    three = ng.Connectome.synthetic(3, seed=0).normalised()
    network = ng.Network(ng.NextGenEI(i_ext_e=15.0), three, coupling=9.0)
    alone, one = network.homogeneous(), {"coupling": [1.0]}
    signal = np.random.default_rng(0).normal(size=(400, 3))
    calm = ng.Driven(network.with_parameters(i_ext_e=3.0), {"input": 0.1})
    mask = np.array([True, False, True])
    power = ng.signals.power_spectrum
    seeded = {
        "simulate": lambda seed: ng.simulate(network, 1.0, seed=seed),
        "simulate_batch": lambda seed: ng.simulate_batch(network, one, 1.0, seed=seed),
        "simulate_spiking": lambda seed: ng.simulate_spiking(network, 1.0, neurons=5, seed=seed),
        "synthetic": lambda seed: ng.Connectome.synthetic(5, seed=seed),
        "lyapunov_map": lambda seed: ng.lyapunov_map(network, one, seed=seed),
        "lyapunov_spectrum": lambda seed: ng.lyapunov_spectrum(alone, seed=seed),
        "orbit_diagram": lambda seed: ng.orbit_diagram(alone, one, seed=seed),
        "grid": lambda seed: ng.sweeps.Design.grid(one, seed=seed),
        "phase_states": lambda seed: ng.signals.phase_states(signal, 0.001, 2, seed=seed),
    }
    for name in SEEDED:
        for seed in SEEDS:
            yield f"{name} {seed!r}", lambda name=name, seed=seed: seeded[name](seed)
    yield from {
        "load 3": lambda: ng.Connectome.load(3),
        "load None": lambda: ng.Connectome.load(None),
        "ng.load": lambda: ng.load(3),
        "Connectome.save": lambda: three.save(3),
        "ng.save swapped": lambda: ng.save(three, "it.npz"),
        "Network swapped": lambda: ng.Network(three, ng.NextGenEI()),
        "Network of two": lambda: ng.Network(ng.NextGenEI(), ng.NextGenEI()),
        "power": lambda: three.power("a"),
        "text as signal": lambda: power("a", 0.001),
        "ragged signal": lambda: power([[1, 2], [3]], 0.001),
        "interval": lambda: power(signal, "a"),
        "envelope": lambda: ng.signals.envelope("a", 0.001, (1, 2)),
        "cycles": lambda: ng.continue_cycles(alone, {"coupling": (8.0, 10.0)}, start="a"),
        "curve": lambda: ng.continue_bifurcation(
            alone, {"coupling": (8.0, 10.0), "i_ext_e": (10.0, 20.0)}, start="a"
        ),
        "dispersion": lambda: ng.dispersion(network, ng.find_equilibria(alone)),
        "margin": lambda: ng.fitting.losses.margin(ng.linear_response(calm)),
        "parameter": lambda: ng.Network(ng.NextGenEI(i_ext_e=[1.0, 2.0]), three),
        "with_parameters": lambda: network.with_parameters(i_ext_e=[1.0, 2.0]),
        "speed": lambda: ng.Network(ng.NextGenEI(), np.ones((2, 2)), 1.0, speed=10.0),
        "plot.activity": lambda: ng.plot.activity(ng.find_equilibria(alone)),
        "plot.dispersion": lambda: ng.plot.dispersion(ng.find_equilibria(alone)),
        "plot.map": lambda: ng.plot.dispersion_map(ng.find_equilibria(alone)),
        "plot.orbit": lambda: ng.plot.orbit(ng.find_equilibria(alone)),
        "plot.equilibria": lambda: ng.plot.equilibria("a"),
        "cut, mask": lambda: three.cut(mask),
        "without, mask": lambda: three.without(mask.tolist()),
        "take, mask": lambda: three.take(mask),
    }.items()


def said_of(call):
    """What is said of a call."""
    try:
        return f"nothing: {type(call()).__name__}"
    except ValueError as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def test_arguments_of_another_kind_are_named(as_users_call):
    said = {name: said_of(call) for name, call in calls()}
    assert said.keys() == SAID.keys()
    wrong = {name: text for name, text in said.items() if not re.search(SAID[name], text)}
    assert not wrong
    assert all("\n" not in text for text in said.values())


def test_a_fault_of_the_lengths_is_said_of_their_file(tmp_path):
    weights, lengths, few = (str(tmp_path / name) for name in ("a.csv", "l.csv", "s.csv"))
    np.savetxt(weights, 1 - np.eye(5), delimiter=",")
    table = (10 * (1 - np.eye(5))).astype(str)
    table[1, 2] = "x"
    np.savetxt(lengths, table, fmt="%s", delimiter=",")
    np.savetxt(few, 10 * (1 - np.eye(3)), delimiter=",")
    with pytest.raises(ValueError, match=r"file of tract lengths '.*l\.csv' .*'x'"):
        ng.Connectome.load(weights, lengths=lengths)
    with pytest.raises(ValueError, match=r"lengths '.*s\.csv' could not be read.*`edges=False`"):
        ng.Connectome.load(weights, lengths=few)
    with pytest.raises(ValueError, match=r"lengths '.*s\.csv'.* of 3 regions, not of 5"):
        ng.Connectome.load(weights, lengths=few, edges=False)
    np.savetxt(lengths, 10 * (1 - np.eye(5)), delimiter=",")
    assert ng.Connectome.load(weights, lengths=lengths).source == weights


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
