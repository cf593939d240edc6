"""The peers of `benchmarks.models`: their own models, with this library's parameters.

What is measured is what each offers: tvboptim's `prepare` and `RungeKutta4`, with the coupling
evaluated at each stage, and `vmap`; vbjax's functions and `make_ode`, and `vmap`; the function that
PyRates generates, in its own loop of Heun's method. All keep every step (tvboptim of one variable).

Left out, as their equations are others: tvboptim's `CoombesByrne2D` (one population, conductances
without dynamics); PyRates' other QIF templates, and its `sl`, where x' has z (1 - x² - z²) for
x (1 - x² - z²).
"""

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import best_of


@dataclasses.dataclass(frozen=True)
class Size:
    regions: int
    batch: int
    #: Steps of one simulation and of a batch: of this library; of the peers, who keep all of them.
    ours: tuple[int, int]
    theirs: tuple[int, int]


SIZES = {False: Size(90, 64, (20_000, 1000), (5000, 250)), True: Size(6, 3, (40, 20), (40, 20))}
REPEATS = 5
#: The method of each peer, and how often a step evaluates the field.
EVALUATIONS = {"tvboptim": ("RK4", 4), "vbjax": ("RK4", 4), "pyrates": ("Heun", 2)}
#: Which models each of them has, and how they are set up there.
NOTES = {
    ("tvboptim", "mpr"): "cv = 0: its coupling of potentials is nothing",
    ("tvboptim", "jansen-rit"): "a_k = C_k / J, J = C1; `SigmoidalJansenRit`",
    ("tvboptim", "wilson-cowan"): "the coupling as its `delayed` one, which reaches E alone",
    ("tvboptim", "stuart-landau"): "`SupHopf`",
    ("vbjax", "mpr"): "negative rates count as 0 there; none occurs",
    ("vbjax", "jansen-rit"): "a_k = C_k / J, J = C1; the sigmoid of the coupling by hand",
    ("pyrates", "mpr"): "`qif_pop`; j on the weights' diagonal",
    ("pyrates", "qif-sfa"): "`qif_sfa_pop`; j on the weights' diagonal",
    ("pyrates", "qif-stp"): "`qif_pop` and `tsodyks_op`, k = 1: two products of matrices, not one",
    ("pyrates", "jansen-rit"): "`jrc_pop`, io_ratio = c: it keeps y0 twice, 8 variables",
    ("pyrates", "wilson-cowan"): "`exc_pop`, `inh_pop`: four products of matrices, not one",
}

Known = dict[str, Any]


def write(path: str, *, parameters: dict[str, float], variables: Any, **arrays: Any) -> None:
    """The problem, for all peers."""
    words = json.dumps({"parameters": parameters, "variables": list(variables)})
    np.savez(path, words=words, **arrays)


def read(path: str) -> Known:
    with np.load(path) as known:
        found = {name: known[name] for name in known.files}
    for name in ("axis", "words"):
        found[name] = str(found[name])
    for name in ("dt", "coupling"):
        found[name] = float(found[name])
    return {**found, **json.loads(found["words"])}


def difference(field: Any, known: Known) -> float:
    """Of two fields (variable, region), relative to the largest value of each variable's."""
    expected = known["field"]
    assert field.shape == expected.shape
    return float((np.abs(field - expected).max(1) / np.abs(expected).max(1)).max())


def _timed(work: Callable[[], Any], steps: int, runs: int) -> float:
    """Microseconds per step and simulation."""
    assert np.isfinite(np.asarray(work())).all(), "the states are not finite"
    return best_of(work, REPEATS) / (steps * runs) * 1e6


def _by_jax(run: Any, known: Known, middle: float, size: Size) -> list[float]:
    """Times of run(start, value, steps), for one simulation and by `vmap`."""
    import jax

    starts, values = known["starts"], known["values"]
    one = jax.jit(lambda start, value: run(start, value, size.theirs[0]))
    many = jax.jit(jax.vmap(lambda start, value: run(start, value, size.theirs[1])))
    return [
        _timed(lambda: jax.block_until_ready(one(starts[0], middle)), size.theirs[0], 1),
        _timed(lambda: jax.block_until_ready(many(starts, values)), size.theirs[1], size.batch),
    ]


# tvboptim


def tvboptim(model: str, problem: str, small: bool) -> dict[str, Any]:
    import jax

    jax.config.update("jax_enable_x64", True)
    from tvboptim.experimental.network_dynamics import Network, prepare
    from tvboptim.experimental.network_dynamics.graph import DenseGraph
    from tvboptim.experimental.network_dynamics.solvers import Euler, RungeKutta4

    known = read(problem)
    dynamics, coupling, axis = _in_tvboptim(model, known)
    network = Network(dynamics, coupling, DenseGraph(jax.numpy.asarray(known["weights"])))
    stages = RungeKutta4(recompute_coupling_per_stage=True)

    def run(start: Any, value: Any, steps: int, dt: float = known["dt"], by: Any = stages) -> Any:
        solve, config = prepare(network, by, t0=0.0, t1=(steps - 0.5) * dt, dt=dt)
        config.initial_state.dynamics = start
        config.dynamics[axis] = value
        return solve(config).ys[-1]

    start, middle = known["starts"][0], known["parameters"][known["axis"]]
    field = np.asarray(run(jax.numpy.asarray(start), middle, 1, 1.0, Euler())) - start
    dynamics.VARIABLES_OF_INTEREST = dynamics.STATE_NAMES[:1]
    times = _by_jax(run, known, middle, SIZES[small])
    return {"difference": difference(field, known), "times": times}


def _in_tvboptim(model: str, known: Known) -> tuple[Any, dict[str, Any], str]:
    """The model, its coupling, and the parameter that differs between the runs of a batch."""
    from tvboptim.experimental.network_dynamics.coupling import LinearCoupling, SigmoidalJansenRit
    from tvboptim.experimental.network_dynamics.dynamics import tvb

    p, g = known["parameters"], known["coupling"]
    if model == "mpr":
        mass = tvb.MontbrioPazoRoxin(
            tau=p["tau"], I=p["i_ext"], Delta=p["delta"], J=p["j"], eta=p["eta"], cr=p["cr"],
            cv=p["cv"],
        )  # fmt: skip
        return mass, {"instant": LinearCoupling(incoming_states="r", G=g)}, "eta"
    if model == "jansen-rit":
        mass = tvb.JansenRit(**_jansen_rit(p))
        made = SigmoidalJansenRit(
            incoming_states=("y1", "y2"), G=g, cmax=2 * p["e0"], midpoint=p["v0"], r=p["r"]
        )
        return mass, {"instant": made}, "mu"
    if model == "wilson-cowan":
        same = ("tau_e", "tau_i", "a_e", "a_i", "r_e", "r_i", "k_e", "k_i")
        mass = tvb.WilsonCowan(
            c_ee=p["c1"], c_ei=p["c2"], c_ie=p["c3"], c_ii=p["c4"], b_e=p["theta_e"],
            b_i=p["theta_i"], P=p["p"], Q=p["q"], **{name: p[name] for name in same},
        )  # fmt: skip
        return mass, {"delayed": LinearCoupling(incoming_states="E", G=g)}, "P"
    mass = tvb.SupHopf(a=p["a"], omega=p["omega"])
    return mass, {"instant": LinearCoupling(incoming_states="x", G=g)}, "a"


def _jansen_rit(p: dict[str, float]) -> dict[str, float]:
    """Parameters of tvboptim's and of vbjax's."""
    shares = {f"a_{k}": p[f"C{k}"] / p["C1"] for k in range(1, 5)}
    same = {name: p[name] for name in ("A", "B", "a", "b", "v0", "r")}
    return {**same, **shares, "J": p["C1"], "nu_max": p["e0"], "mu": p["p"]}


# vbjax


def vbjax(model: str, problem: str, small: bool) -> dict[str, Any]:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    import vbjax as vb

    known = read(problem)
    p, g, w = known["parameters"], known["coupling"], jnp.asarray(known["weights"])
    if model == "mpr":
        names = {"tau": "tau", "I": "i_ext", "Delta": "delta", "J": "j", "eta": "eta"}
        theta = vb.MPRTheta(**{a: p[b] for a, b in names.items()}, cr=p["cr"], cv=p["cv"])

        def field(y: Any, value: Any) -> Any:
            return vb.mpr_dfun(y, (g * (w @ y[0]), 0.0), theta._replace(eta=value))
    else:
        theta = vb.JRTheta(**_jansen_rit(p), I=0.0)

        def field(y: Any, value: Any) -> Any:
            sent = 2 * p["e0"] / (1 + jnp.exp(p["r"] * (p["v0"] - (y[1] - y[2]))))
            return vb.jr_dfun(y, g * (w @ sent), theta._replace(mu=value))

    _, loop = vb.make_ode(known["dt"], field, method="rk4")
    middle = p[known["axis"]]
    found = np.asarray(field(jnp.asarray(known["starts"][0]), middle))
    times = _by_jax(
        lambda start, value, steps: loop(start, jnp.arange(steps), value)[-1],
        known, middle, SIZES[small],
    )  # fmt: skip
    return {"difference": difference(found, known), "times": times}


# PyRates


@dataclasses.dataclass(frozen=True)
class Circuit:
    """A network of PyRates."""

    #: Populations of all regions: their node template, or the operator of one.
    populations: dict[str, str]
    #: Source, target and matrix.
    connections: list[tuple[str, str, Any]]
    arguments: dict[str, float]
    #: Its variables: which of ours, times what.
    states: dict[str, tuple[str, float]]
    axis: str


TEMPLATES = "model_templates.neural_mass_models"


def _qif(known: Known) -> Circuit:
    p, op = known["parameters"], "p/qif_op"
    return Circuit(
        {"p": f"{TEMPLATES}.qif.qif_pop"},
        [(f"{op}/r", f"{op}/r_in", _recurrent(known, p["j"], p["cr"] / p["tau"]))],
        _membrane(op, p), {f"{op}/r": ("r", 1.0), f"{op}/v": ("v", 1.0)}, f"{op}/eta",
    )  # fmt: skip


def _adaptation(known: Known) -> Circuit:
    p, op = known["parameters"], "p/qif_sfa_op"
    names = {"r": "r", "v": "v", "a": "a", "x": "b"}
    return Circuit(
        {"p": f"{TEMPLATES}.qif.qif_sfa_pop"},
        [(f"{op}/r", f"{op}/r_in", _recurrent(known, p["j"], 1 / p["tau"]))],
        {**_membrane(op, p), f"{op}/alpha": p["alpha"], f"{op}/tau_a": p["tau_a"]},
        {f"{op}/{theirs}": (ours, 1.0) for theirs, ours in names.items()}, f"{op}/eta",
    )  # fmt: skip


def _plasticity(known: Known) -> Circuit:
    p, op, synapse = known["parameters"], "p/qif_op", "s/tsodyks_op"
    times = {"tau_x": p["tau_d"], "tau_u": p["tau_f"], "U0": p["u0"], "k": 1.0}
    states = {f"{op}/r": "r", f"{op}/v": "v", f"{synapse}/x": "x", f"{synapse}/u": "u"}
    return Circuit(
        {"p": f"{TEMPLATES}.qif.qif_pop", "s": f"{TEMPLATES}.synaptic_plasticity.tsodyks_op"},
        [
            (f"{op}/r", f"{synapse}/r_in", np.eye(len(known["weights"]))),
            (f"{synapse}/r_eff", f"{op}/r_in", _recurrent(known, p["j"], 1.0)),
        ],
        {**_membrane(op, p), **{f"{synapse}/{name}": x for name, x in times.items()}},
        {theirs: (ours, 1.0) for theirs, ours in states.items()}, f"{op}/eta",
    )  # fmt: skip


def _recurrent(known: Known, own: float, factor: float) -> Any:
    """Weights within a region and between them."""
    weights = known["weights"]
    return own * np.eye(len(weights)) + known["coupling"] * factor * weights


def _membrane(op: str, p: dict[str, float]) -> dict[str, float]:
    names = {"tau": "tau", "Delta": "delta", "eta": "eta", "I_ext": "i_ext"}
    return {f"{op}/{theirs}": p[ours] for theirs, ours in names.items()}


def _jansen_rit_circuit(known: Known) -> Circuit:
    p, op = known["parameters"], "p/jrc_op"
    arguments = {
        "h_e": p["A"], "h_i": p["B"], "tau_e": 1 / p["a"], "tau_i": 1 / p["b"],
        "m_max": 2 * p["e0"], "V_thr": p["v0"], "r": p["r"], "c": p["C1"],
        "io_ratio": p["C1"], "ei_ratio": p["C1"] / p["C3"], "u": p["p"],
    }  # fmt: skip
    inputs = {"ein": ("y0", p["C1"]), "iin": ("y0", p["C3"]), "e": ("y1", 1.0), "i": ("y2", 1.0)}
    states = {f"{op}/V_{k}": each for k, each in inputs.items()}
    slopes = {f"{op}/X_{k}": (f"{name}_dot", by) for k, (name, by) in inputs.items()}
    return Circuit(
        {"p": f"{TEMPLATES}.jansenrit.jrc_pop"},
        [(f"{op}/m", f"{op}/m_in", known["coupling"] * known["weights"])],
        {f"{op}/{name}": value for name, value in arguments.items()},
        {**states, **slopes}, f"{op}/u",
    )  # fmt: skip


def _wilson_cowan(known: Known) -> Circuit:
    p, one = known["parameters"], np.eye(len(known["weights"]))
    arguments = {
        f"{k}/{name}": p[f"{ours}_{k}"]
        for k in "ei"
        for name, ours in (
            ("rate_op/k", "r"), ("rate_op/tau", "tau"),
            (f"s{k}_op/s", "a"), (f"s{k}_op/theta", "theta"),
        )
    }  # fmt: skip
    e, i = "e/rate_op/r", "i/rate_op/r"
    return Circuit(
        {"e": f"{TEMPLATES}.wilsoncowan.exc_pop", "i": f"{TEMPLATES}.wilsoncowan.inh_pop"},
        [
            (e, "e/se_op/r_in", _recurrent(known, p["c1"], 1.0)),
            (i, "e/se_op/r_in", -p["c2"] * one),
            (e, "i/si_op/r_in", p["c3"] * one),
            (i, "i/si_op/r_in", -p["c4"] * one),
        ],
        {**arguments, "e/se_op/r_ext": p["p"], "i/si_op/r_ext": p["q"]},
        {e: ("e", 1.0), i: ("i", 1.0)}, "e/se_op/r_ext",
    )  # fmt: skip


CIRCUITS: dict[str, Callable[[Known], Circuit]] = {
    "mpr": _qif,
    "qif-sfa": _adaptation,
    "qif-stp": _plasticity,
    "jansen-rit": _jansen_rit_circuit,
    "wilson-cowan": _wilson_cowan,
}


def _generated(circuit: Circuit, known: Known, backend: str, **how: Any) -> tuple[Any, ...]:
    """The function that PyRates writes, its arguments, where the axis is among them, the states."""
    from pyrates import CircuitTemplate, NodeTemplate, OperatorTemplate
    from pyrates.frontend.template.population import Connectivity, PopulationTemplate
    from pyrates.utility import clear_frontend_caches

    clear_frontend_caches()  # without which names of a second network get a number
    populations, regions = {}, len(known["weights"])
    for name, path in circuit.populations.items():
        if path.endswith("_op"):
            node = NodeTemplate(name, operators=[OperatorTemplate.from_yaml(path)])
        else:
            node = NodeTemplate.from_yaml(path)
        populations[name] = PopulationTemplate(name, node, regions)
    joined = [Connectivity(*each) for each in circuit.connections]
    net = CircuitTemplate("net", populations=populations, connections=joined)
    function, arguments, called, places = net.get_run_func(
        f"field_{len(how)}", step_size=known["dt"], backend=backend, solver="heun",
        float_precision="float64", verbose=False, **how,
    )  # fmt: skip
    arguments = list(arguments)
    for name, value in circuit.arguments.items():
        k = called.index(name)
        arguments[k] = arguments[k] * 0 + value
    # The first two are the time and the state.
    return function, arguments[2:], called.index(circuit.axis) - 2, places


def _states(values: Any, circuit: Circuit, known: Known, places: Any) -> Any:
    """Ours, (…, variable, region), as PyRates has them: one behind the other."""
    made = np.empty((*values.shape[:-2], max(end for _, end in places.values())))
    for name, (begin, end) in places.items():
        variable, factor = circuit.states[name]
        made[..., begin:end] = factor * values[..., known["variables"].index(variable), :]
    return made


def pyrates(model: str, problem: str, small: bool) -> dict[str, Any]:
    """By the backend that is fastest: NumPy or Numba in its own loop, or JAX in one like its own.

    Its loop over JAX is compiled again with each call; here it is compiled once, and takes several
    runs by `vmap`. In the others several are taken one after the other. Its own loop costs what
    Heun's method does and is of order one: what NumPy's function returns is the same array each
    time, so that the first evaluation is lost.
    """
    import numba
    from pyrates.backend.base.base_backend import BaseBackend

    # It writes the functions that it generates into files here.
    os.chdir(Path(problem).parent)
    known, size = read(problem), SIZES[small]
    circuit = CIRCUITS[model](known)
    found: dict[str, list[float]] = {}
    steps, dt = size.theirs[0], known["dt"]
    decorators: dict[str, dict[str, Any]] = {"numpy": {}, "numba": {"decorator": numba.njit}}
    for backend, how in decorators.items():
        function, arguments, _, places = _generated(circuit, known, "numpy", **how)
        start = _states(known["starts"][0], circuit, known, places)
        try:
            field = np.array(function(0, start, *arguments))
        except numba.core.errors.TypingError:
            continue  # it cannot compile the sigmoid that PyRates defines
        expected = _states(known["field"], circuit, known, places)
        shaped = (field.reshape(-1, size.regions), {"field": expected.reshape(-1, size.regions)})
        different = difference(*shaped)

        def work(function: Any = function, arguments: Any = arguments, start: Any = start) -> Any:
            return BaseBackend._solve_heun(
                function, tuple(arguments), steps * dt, dt, dt, start.copy(), 0
            )

        found[backend] = [_timed(work, steps, 1)] * 2
    found["jax"] = _pyrates_by_jax(circuit, known, size)
    best = [min((times[k], backend) for backend, times in found.items()) for k in range(2)]
    times, by = zip(*best, strict=True)
    return {"difference": different, "times": times, "by": by}


def _pyrates_by_jax(circuit: Circuit, known: Known, size: Size) -> list[float]:
    import jax

    function, arguments, axis, places = _generated(circuit, known, "jax")
    dt = known["dt"]

    def run(start: Any, value: Any, steps: int) -> Any:
        given = list(arguments)
        given[axis] = given[axis] * 0 + value

        def step(carry: Any, _: Any) -> Any:
            t, y = carry
            first = function(t, y, *given)
            second = function(t + 1, y + dt * first, *given)
            return (t + 1, y + 0.5 * dt * (first + second)), y

        return jax.lax.scan(step, (0, start), None, length=steps)[1][-1]

    starts = _states(known["starts"], circuit, known, places)
    middle = known["parameters"][known["axis"]]
    return _by_jax(run, {**known, "starts": starts}, middle, size)


ENGINES: dict[str, Callable[..., Any]] = {
    "tvboptim": tvboptim,
    "vbjax": vbjax,
    "pyrates": pyrates,
}
