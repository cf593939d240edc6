"""What is no number, seed, path, start or mask is refused by name, with what to give instead."""

import re

import numpy as np
import pytest

import ngnmm_jax as ng

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
