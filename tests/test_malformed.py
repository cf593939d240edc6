"""What is wrong on the command line or in a file of settings: one line that names it."""

import copy
import re
import sys

import numpy as np
import pytest
import tomli_w

from ngnmm_jax.cli import entry
from ngnmm_jax.cli.settings.network import COMMANDS

NAN, INF = float("nan"), float("inf")
ANYTHING = ["strong", True, [1.0], {"a": 1.0}]
#: What a value of each kind may not be.
WRONG = {
    "real": [*ANYTHING, NAN, INF, -INF],
    "positive": [*ANYTHING, NAN, INF, 0, 0.0, -1, -2.5],
    "fraction": [*ANYTHING, NAN, 0.0, -1.0, 1.0, 10.0],
    "not negative": [*ANYTHING, NAN, INF, -1, -1e-9],
    "count": [*ANYTHING, NAN, 1.5, 2.0, 0, -3],
    "whole": [*ANYTHING, NAN, 1.5, -1],
    "points": [*ANYTHING, NAN, 2.5, 0, 1, 10**9],
    "seed": [*ANYTHING, NAN, 1.5, -1, 2**32, 10**30],
    "truth": ["no", "true", 1, 0, 1.0, [True], {"a": True}],
    "text": [3, 1.5, True, ["a"], {"a": "b"}],
    "choice": ["somthing", "", 3, 1.5, True, ["a"]],
    "table": ["strong", 3, True, [1.0], {"nothing_like_this": 1.0}],
    "numbers": ["strong", 3.0, True, ["a"], {"a": 1.0}, [NAN]],
    "parameters": ["strong", 3.0, [1.0], {"i_ext_e": "high"}, {"i_ext_e": True}, {"i_ext": 1.0},
                   {"i_ext_e": [1.0, "a"]}, {"i_ext_e": NAN}, {"i_ext_e": {"a": 1.0}},
                   {"i_ext_e": [1.0, 2.0]}],
    "axes": ["strong", 3.0, [0, 1, 3], {"i_ext_e": 3}, {"i_ext_e": [0, 1]}, {"i_ext": [0, 1, 3]},
             {"i_ext_e": [0, 1, 2.7]}, {"i_ext_e": [1, 0, 3]}, {"i_ext_e": [0, 1, 0]},
             {"i_ext_e": [0, 1, -3]}, {"i_ext_e": [NAN, 1, 3]}, {"i_ext_e": ["a", 1, 3]},
             {"i_ext_e": [0, 1, 3, 4]}, {"tau_e": [-1, 1, 3]}],
    "bounds": ["strong", 3.0, [0, 1], {"i_ext_e": 3}, {"i_ext_e": [0]}, {"i_ext": [0, 1]},
               {"i_ext_e": [1, 0]}, {"i_ext_e": [1, 1]}, {"i_ext_e": [NAN, 1]},
               {"i_ext_e": ["a", 1]}, {"tau_e": [-1, 1]}],
    "unknowns": [{}, {"coupling": 3}, {"coupling": {}}, {"coupling": {"interval": [1, 0]}},
                 {"coupling": {"interval": [0, 1], "positive": True}},
                 {"coupling": {"interval": [0, 1], "spread": -1.0}},
                 {"coupling": {"interval": [0, 1], "prior": [1.0]}},
                 {"coupling": {"intervall": [0, 1]}}, {"couplin": {"real": True}}],
    "noises": [{"input": -1.0}, {"input": "loud"}, {"inputs": 1.0}, {"input": NAN}, 3],
    "reading": ["strong", 3, {"symetric": True}, {"symmetric": "yes"}, {"variable": 3}],
    "model": ["nextgn", "", 3, True, ["a"], "module:Class", {"a": "b"}],
    "file": ["", "nowhere.csv", 3, True, ["a"]],
    "surface": [["nowhere.gii"], ["a", "b", "c"], 3, True, {"a": "b"}],
    "share": [*ANYTHING, NAN, -0.1, 1.1],
    "variable": ["v", "", 3, True, ["v_e"]],
}  # fmt: skip
#: The kind of every setting, by its place; those of all commands first.
KINDS = {
    "compare.models": "model",
    "connectome": "file", "reading": "reading", "order": "choice", "power": "positive",
    "cache_dir": "text", "model": "model", "coupling": "real", "speed": "positive",
    "delay": "positive", "set": "parameters",
    "duration": "positive", "transient": "not negative", "save_every": "positive",
    "dt": "positive", "rtol": "fraction", "atol": "positive", "seed": "seed",
    "scatter": "not negative", "lambda_low": "real", "lambda_high": "real",
    "lambda_points": "points", "cut": "real", "whole_network": "truth", "exponents": "count",
    "variable": "variable", "animate": "truth", "quick": "truth", "cuts": "numbers",
    "doublings": "whole", "longest_period": "positive", "homogeneous": "truth",
    "map.vary": "axes", "lyapunov.vary": "axes", "spectrum.vary": "axes", "sweep.vary": "axes",
    "bifurcate.vary": "bounds", "fit.vary": "unknowns", "noise": "noises",
    "design": "table", "design.kind": "choice", "design.count": "count",
    "design.replicates": "count", "design.seed": "seed", "design.regions": "count",
    "measure": "table", "measure.kind": "choice", "measure.duration": "positive",
    "measure.dt": "positive", "run": "table", "run.block": "count", "run.chunk": "count",
    "run.checks": "whole", "target": "table", "target.fc": "file", "target.spectrum": "file",
    "loss": "table", "loss.prediction": "choice", "loss.variable": "variable",
    "loss.duration": "positive", "loss.transient": "not negative", "loss.dt": "positive",
    "loss.truncate": "positive", "loss.limit": "positive", "loss.fc_correlation": "not negative",
    "loss.fc_distance": "not negative", "loss.spectral_distance": "not negative",
    "loss.whittle": "not negative", "loss.margin": "not negative", "run.steps": "count",
    "run.n_starts": "count", "run.method": "choice", "run.mode": "choice",
    "run.learning_rate": "positive", "run.patience": "count", "run.polish": "text",
    "run.resample": "truth", "run.seed": "seed", "run.save_every": "count",
    "run.monitor": "count", "check": "table", "check.duration": "positive",
    "check.repetition_time": "positive", "check.runs": "count",
    "check.transient": "not negative", "check.dt": "positive", "check.dtype": "choice",
    "check.seed": "seed", "check.signal": "variable",
    "surface": "surface", "parcels": "surface", "kernel": "choice", "width": "positive",
    "tracts": "share", "callosal": "share", "match": "choice", "normalisation": "choice",
}  # fmt: skip
# Of one kind for text in the place of a number or a truth value.
WRONG["polish"] = ["yes", 1.5, -1, [1]]
KINDS["run.polish"] = "polish"
#: What of options, which are text, is no number of a kind; and what is no NAME=VALUE.
TEXTS = {
    "real": ["strong", "", "nan", "inf", "1,5", "1:2"],
    "positive": ["strong", "", "nan", "inf", "0", "-1"],
    "fraction": ["strong", "", "nan", "0", "-1", "2"],
    "not negative": ["strong", "", "nan", "inf", "-1"],
    "count": ["strong", "", "nan", "1.5", "0", "-1", "1e3"],
    "whole": ["strong", "", "1.5", "-1"],
    "points": ["strong", "", "2.5", "1", "0", "1000000000"],
    "seed": ["strong", "", "1.5", "-1", "4294967296"],
    "choice": ["somthing", ""],
    "parameters": ["", "=", "i_ext_e", "i_ext_e=", "i_ext_e=high", "=3", "i_ext=3", "i_ext_e=nan",
                   "i_ext_e=1,,2", "i_ext_e=1:2", "tau_e=0", "i_ext_e=1,2"],
    "axes": ["", "i_ext_e", "i_ext_e=", "i_ext_e=0:1", "i_ext_e=0:1:x", "i_ext_e=0:1:0",
             "i_ext_e=0:1:2.7", "i_ext_e=1:0:3", "i_ext_e=nan:1:3", "i_ext=0:1:3", "tau_e=-1:1:3",
             "i_ext_e=0:1:3:4", "i_ext_e=0:1:1e400"],
    "bounds": ["", "i_ext_e", "i_ext_e=5", "i_ext_e=5:3", "i_ext_e=3:3", "i_ext_e=a:b",
               "i_ext=0:1", "tau_e=-1:1", "i_ext_e=0:inf"],
    "reading": ["", "symmetric", "symetric=true", "symmetric=maybe"],
    "model": ["nextgn", "", "module:Class"],
    "file": ["nowhere.csv", "", "nowhere"],
    "surface": ["nowhere.gii", "nowhere"],
    "share": ["strong", "", "nan", "-0.1", "1.1"],
    "variable": ["v", ""],
    "numbers": ["strong", "", "nan"],
}  # fmt: skip
FLAGS = {"cuts": "--cut", "whole_network": None, "animate": None, "quick": None}
# Settings that these commands have, though not as options.
FILES = ("sweep", "fit")


def settings_of(command):
    """Places of all settings of a command, those inside of its tables too."""
    for name, field in COMMANDS[command].model_fields.items():
        yield name
        kinds = (field.annotation, *getattr(field.annotation, "__args__", ()))
        for kind in kinds if name != "vary" else ():  # whose tables are by parameters' names
            yield from (f"{name}.{inner}" for inner in getattr(kind, "model_fields", ()))


def kind_of(command, place):
    return KINDS.get(f"{command}.{place}", KINDS.get(place))


def test_every_setting_has_a_kind():
    places = [(command, place) for command in COMMANDS for place in settings_of(command)]
    assert [where for where in places if kind_of(*where) not in WRONG] == []


def malformed():
    """All malformed inputs: command, setting, what it is given, and whether as an option."""
    for command, schema in COMMANDS.items():
        if command in ("demo", "compare", "reproduce"):  # options of others, no model of one's own
            continue
        for place in [*settings_of(command), *("measure.duration", "measure.dt", "measure.kind")]:
            inside = place.partition(".")[0]
            by_argument = (command, place) == ("connectome", "connectome")
            if inside not in schema.model_fields or by_argument:
                continue
            kind = kind_of(command, place)
            if command != "connectome":  # takes no file of settings
                yield from ((command, place, value, False) for value in WRONG[kind])
            if command not in FILES and FLAGS.get(place, "") is not None:
                yield from ((command, place, text, True) for text in TEXTS.get(kind, ()))


#: What is sound, in which one thing is then wrong.
SOUND = {
    "sweep": {"vary": {"i_ext_e": [0, 1, 2]}, "measure": {"duration": 200.0}},
    "fit": {
        "noise": {"input": 0.01},
        "vary": {"coupling": {"interval": [0, 12]}},
        "target": {"fc": "fc.npy"},
    },
}


def words_of(case, number, file):
    """The command line of a malformed input; its file of settings is written."""
    command, place, value, option = case
    out = ["--out", f"out{number}"]
    where = [] if place == "connectome" else ["--connectome", str(file)]
    if option:
        flag = FLAGS.get(place) or "--" + place.replace("_", "-")
        if command == "connectome":
            return [command, str(file), flag, value, *out]
        return [command, *where, f"{flag}={value}", *out]
    settings = copy.deepcopy(SOUND.get(command, {}))
    if command in FILES:
        settings["connectome"] = str(file)
    table, _, inner = place.partition(".")
    if inner:
        settings[table] = {**settings.get(table, {}), inner: value}
        if table == "loss" and inner != "prediction":
            settings["loss"] = {"prediction": "simulated", "duration": 100.0, **settings["loss"]}
    else:
        settings[table] = value
    name = f"settings{number}.toml"
    with open(name, "wb") as stream:
        tomli_w.dump(settings, stream)
    if command in FILES:
        return [command, name, *out]
    return [command, *where, "--config", name, *out]


def complaint(words, capsys, monkeypatch):
    """What the command says, and how it ends."""
    monkeypatch.setattr(sys, "argv", ["ngnmm", *words])
    status = entry.run()
    said = capsys.readouterr()
    return status, said.out + said.err


def names(place, text):
    """Whether a line names a setting, as a setting or as an option, and says what to do."""
    last = place.rpartition(".")[2]
    inside = [name for name in ("i_ext_e", "i_ext", "tau_e") if f"`{name}`" in text]
    known = [*inside, last, last.replace("_", "-"), (FLAGS.get(place) or "--").strip("-")]
    named = any(name and name in text for name in [*known, place.partition(".")[0]])
    return named and re.search(r"must |Invalid value|There is no|allow-code", text)


CASES = list(malformed())


@pytest.mark.parametrize(
    "count", [100, pytest.param(len(CASES), marks=pytest.mark.slow)], ids=["hundred", "all"]
)
def test_malformed_inputs_are_one_line(count, small, tmp_path, capsys, monkeypatch):
    """A hundred of them, drawn with a seed: refused before any work, in a line that names it."""
    monkeypatch.chdir(tmp_path)
    small.save("small.npz")
    np.save("fc.npy", np.eye(12))
    drawn = np.random.default_rng(22).permutation(len(CASES))[:count]
    assert len(drawn) >= 100
    bad = []
    for number in drawn:
        case = CASES[number]
        words = words_of(case, number, tmp_path / "small.npz")
        code, text = complaint(words, capsys, monkeypatch)
        lines = text.strip().splitlines()
        right = code in (1, 2) and len(lines) == 1 and lines[0].startswith("Error: ")
        made = (tmp_path / f"out{number}").exists()
        if not right or made or not names(case[1], text):
            bad.append((case, words, code, text[-300:]))
    assert not bad, f"{len(bad)} of {len(drawn)}:\n" + "\n".join(map(str, bad[:30]))
