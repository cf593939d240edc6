"""Networks with conduction delays: steps and their order of convergence, roots, maps.

    python -m benchmarks.delays                  # this library and C
    python -m benchmarks.delays --peers FOLDER   # and tvboptim 0.4.0 and vbjax 0.0.19, each in an
                                                 # environment of its own, made there if missing
    python -m benchmarks.delays --only order     # one of: steps, order, stability

hcp-schaefer100 at 10 m/s, the paper's equations at (15, 9), in every engine: 100 regions, delays
of 2.1 to 23.5 ms, steps of 0.05 ms. Each engine runs in a process of its own, all of them one
after the other. C is compiled when the benchmark runs (`benchmarks/delays.c`).
"""

import argparse
import dataclasses
import functools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from benchmarks.common import (
    best_of,
    c_program,
    compiled,
    engine_or,
    environment,
    in_process,
    machine,
    table,
)
from benchmarks.simulation import plain_field

SPEED, COUPLING, CURRENT, STEP = 10.0, 9.0, 15.0, 0.05
BATCHES = (1, 8, 64, 1024)
#: Steps of the runs that are timed: of this library; of the peers, whose loops keep them all.
STEPS = {1: 8000, 8: 2000, 64: 1000, 1024: 400}
FEW = {1: 2000, 8: 500, 64: 200, 1024: 100}
FEWER = {1: 500, 8: 100, 64: 50, 1024: 20}
#: Runs that peers take together; more are taken one part after the other.
TOGETHER = 64
#: For the order: steps, and the time that is simulated with each; the reference's step.
HALVED, SPAN, FINE = (0.1, 0.05, 0.025, 0.0125), 5.0, 0.003125
PEERS = ("tvboptim", "vbjax")
#: How C reads the past (POINTS): the nearest value, lines, cubic polynomials.
READS = {1: "nearest", 2: "linear", 4: "cubic"}


# The problem


def network() -> Any:
    import ngnmm_jax as ng

    connectome = ng.Connectome.load("hcp-schaefer100").normalised()
    return ng.Network(ng.NextGenEI(i_ext_e=CURRENT), connectome, COUPLING, speed=SPEED)


def make_problem(folder: str) -> str:
    """The network's arrays, and a smooth past of it at the finest step, for all engines."""
    _devices()
    import ngnmm_jax as ng

    system = network()
    every = HALVED[-1]
    run = ng.simulate(system, 60.0, dt=FINE, integrator="rk4", scatter=0.05, save_every=every)
    states = np.asarray(run.states)[-round(30.0 / every) - 1 :]  # (node, variable, region)
    weights = np.asarray(system.interaction.graph.matrix())
    lengths = np.where(weights != 0, np.asarray(system.connectome.tract_lengths), 0.0)
    path = str(Path(folder) / "problem.npz")
    np.savez(path, weights=weights, lengths=lengths, states=states)
    return path


def given(problem: str, dt: float) -> dict[str, np.ndarray]:
    """The same with the past at a step of a multiple of the finest; delays in ms."""
    with np.load(problem) as known:
        weights, lengths, states = (known[name] for name in ("weights", "lengths", "states"))
    stride = round(dt / HALVED[-1])
    return {"weights": weights, "delays": lengths / SPEED, "states": states[::-1][::stride][::-1]}


# Engines: microseconds per step and simulation; or the last states of `SPAN`, for a step each


def _devices(bits: int = 64) -> Any:
    import jax

    jax.config.update("jax_enable_x64", bits == 64)
    return jax


def ours(problem: str, bits: int, integrator: str, batch: int, **_: Any) -> float:
    jax = _devices()
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)
    import ngnmm_jax as ng

    steps, start = STEPS[batch], given(problem, STEP)["states"][-1]
    options: dict[str, Any] = {"dt": STEP, "integrator": integrator, "variables": "v_e"}
    options["dtype"] = jax.numpy.float32 if bits == 32 else jax.numpy.float64
    options["save_every"], system = steps * STEP / 4, network()

    def single() -> None:
        jax.block_until_ready(ng.simulate(system, steps * STEP, start=start, **options).states)

    def many() -> None:
        values = {"i_ext_e": np.linspace(14, 15, batch)}
        run = ng.simulate_batch(system, values, steps * STEP, start=start, **options)
        jax.block_until_ready(run.states)

    return best_of(single if batch == 1 else many) / (steps * batch) * 1e6


def ours_ends(problem: str, integrator: str, steps: list[float], **_: Any) -> list[Any]:
    _devices()
    import jax.numpy as jnp

    import ngnmm_jax as ng
    from ngnmm_jax.simulation.history import History

    system, ends = network(), []
    run = ng.simulate(system, STEP, dt=STEP, integrator="rk4")
    for dt in steps:
        states = given(problem, max(dt, HALVED[-1]))["states"]
        history = History({"": jnp.asarray(states[:, 2].T)}, max(dt, HALVED[-1]))
        begin = dataclasses.replace(run, history=history, final_state=jnp.asarray(states[-1]))
        end = ng.simulate(system, SPAN, dt=dt, integrator=integrator, start=begin)
        ends.append(np.asarray(end.final_state).tolist())
    return ends


def c_file(problem: str, dt: float) -> str:
    """What the C program reads, beside the problem."""
    known = given(problem, dt)
    nodes = int(known["delays"].max() / dt) + 8
    sent = known["states"][-nodes:, 2].T
    head = [sent.shape[0], sent.shape[1], COUPLING, CURRENT]
    parts = [head, known["weights"], known["delays"], known["states"][-1], sent]
    path = Path(problem).with_name(f"problem-{dt}.bin")
    np.concatenate([np.ravel(part) for part in parts]).astype(float).tofile(path)
    return str(path)


def in_c(problem: str, bits: int, points: int, lanes: int, processes: int) -> float:
    real, steps = ("float", "double")[bits == 64], 4000 // lanes
    flags = [f"-DREAL={real}", f"-DPOINTS={points}", f"-DLANES={lanes}"]
    return c_program("delays.c", flags, [c_file(problem, STEP), STEP, steps], processes)


def c_ends(problem: str, points: int) -> list[Any]:
    ends = []
    with compiled("delays.c", [f"-DPOINTS={points}"]) as program:
        for dt in HALVED:
            command = [program, c_file(problem, dt), str(dt), str(round(SPAN / dt))]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            ends.append(np.reshape([float(x) for x in done.stdout.split()[1:]], (6, -1)).tolist())
    return ends


def _tvboptim(
    problem: str, dt: float, steps: int, kept: tuple[str, ...], read: Any, kind: str
) -> Any:
    """Its compiled-to-be function and what it takes."""
    import jax.numpy as jnp
    from tvboptim.experimental.network_dynamics import Network, prepare
    from tvboptim.experimental.network_dynamics.core.bunch import Bunch
    from tvboptim.experimental.network_dynamics.coupling import DelayedLinearCoupling
    from tvboptim.experimental.network_dynamics.dynamics.base import AbstractDynamics
    from tvboptim.experimental.network_dynamics.graph import DenseDelayGraph
    from tvboptim.experimental.network_dynamics.result import NativeSolution
    from tvboptim.experimental.network_dynamics.solvers import Heun

    names = ("r_e", "v_e", "s_e", "r_i", "v_i", "s_i")

    class Mass(AbstractDynamics):
        STATE_NAMES = names
        INITIAL_STATE = (0.06,) * 6
        DEFAULT_PARAMS = Bunch(i_ext_e=CURRENT)
        COUPLING_INPUTS = {"delayed": 1}  # noqa: RUF012
        VARIABLES_OF_INTEREST = kept

        def dynamics(self, t, state, params, coupling, external):
            del t, external
            return plain_field(state, coupling.delayed[0], params.i_ext_e, jnp.stack)

    known = given(problem, dt)
    graph = DenseDelayGraph(*(jnp.asarray(known[k], float) for k in ("weights", "delays")))
    coupling = DelayedLinearCoupling(
        incoming_states="s_e", G=COUPLING, history_interpolation=read, buffer_strategy=kind
    )
    made = Network(Mass(), {"delayed": coupling}, graph)
    states = jnp.asarray(known["states"], float)
    times = dt * jnp.arange(1 - len(states), 1)
    made.update_history(NativeSolution(times, states, dt, names))
    return prepare(made, Heun(), t0=0.0, t1=(steps - 0.5) * dt, dt=dt)


def tvboptim(problem: str, bits: int, read: str | None, batch: int, **_: Any) -> float:
    """The quickest of its three ways to keep the past."""
    jax = _devices(bits)
    import jax.numpy as jnp

    steps, lanes = FEW[batch], min(batch, TOGETHER)
    currents = jnp.linspace(14.0, 15.0, lanes)

    def timed(kind: str) -> float:
        solve, config = _tvboptim(problem, STEP, steps, ("v_e",), read, kind)

        def with_current(current: Any) -> Any:
            config.dynamics.i_ext_e = current
            return solve(config).ys[-1]

        run = jax.jit(with_current if batch == 1 else jax.vmap(with_current))
        values = currents[0] if batch == 1 else currents

        def work() -> None:
            for _ in range(batch // lanes):
                jax.block_until_ready(run(values))

        return best_of(work, 2)

    return min(map(timed, ("roll", "circular", "preallocated"))) / (steps * batch) * 1e6


def tvboptim_ends(problem: str, read: str | None, **_: Any) -> list[Any]:
    jax = _devices()
    names, ends = ("r_e", "v_e", "s_e", "r_i", "v_i", "s_i"), []
    for dt in HALVED:
        solve, config = _tvboptim(problem, dt, round(SPAN / dt), names, read, "circular")
        found = jax.jit(lambda config, solve=solve: solve(config).ys)(config)
        assert len(found) == round(SPAN / dt)
        ends.append(np.asarray(found[-1]).tolist())
    return ends


def _vbjax(problem: str, dt: float, steps: int) -> tuple[Any, Any]:
    """Its loop, and the buffer that it fills, as it begins."""
    import jax.numpy as jnp
    import vbjax as vb

    known = given(problem, dt)
    # Its helper takes weights (from, to) beside lengths (to, from), and rounds delays down.
    helper = vb.make_delay_helper(
        jnp.asarray(known["weights"].T, float), jnp.asarray(known["delays"]) * SPEED, dt, SPEED
    )
    back = int(helper.max_lag)

    def field(buffer: Any, state: Any, t: Any, current: Any) -> Any:
        drive = COUPLING * vb.delay_apply(helper, t, buffer[:, 2:3])[0]
        return plain_field(state, drive, current, jnp.stack)

    _, loop = vb.make_dde(dt, back, field, unroll=1)
    buffer = np.zeros((back + 1 + steps, 6, known["weights"].shape[0]))
    buffer[: back + 1] = known["states"][-back - 1 :]
    return loop, jnp.asarray(buffer, float)


def vbjax(problem: str, bits: int, batch: int, **_: Any) -> float:
    jax = _devices(bits)
    import jax.numpy as jnp

    steps, lanes = FEWER[batch], min(batch, TOGETHER)
    loop, buffer = _vbjax(problem, STEP, steps)

    def last(current: Any) -> Any:
        return loop(buffer, current)[1][-1]

    run = jax.jit(last if batch == 1 else jax.vmap(last))
    currents = jnp.linspace(14.0, 15.0, lanes)
    values = currents[0] if batch == 1 else currents

    def work() -> None:
        for _ in range(batch // lanes):
            jax.block_until_ready(run(values))

    return best_of(work, 2) / (steps * batch) * 1e6


def vbjax_ends(problem: str, **_: Any) -> list[Any]:
    jax, ends = _devices(), []
    for dt in HALVED:
        loop, buffer = _vbjax(problem, dt, round(SPAN / dt))
        ends.append(np.asarray(jax.jit(loop)(buffer, CURRENT)[1][-1]).tolist())
    return ends


def _seconds(work: Callable[[], Any]) -> list[float]:
    """The first time, and the second."""
    times = []
    for _ in range(2):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return times


def roots(**_: Any) -> Any:
    """Seconds, first and again, of all growing roots; and how many they are."""
    _devices()
    import ngnmm_jax as ng

    if not hasattr(ng, "characteristic_roots"):
        return "this version has no `characteristic_roots`"
    found, system = [], network()
    state = ng.initial_state(system.undelayed(), scatter=0.0)
    times = _seconds(lambda: found.append(ng.characteristic_roots(system, state)))
    return [*times, int(found[-1].number_growing)]


def dispersion_map(points: int, **_: Any) -> Any:
    """Seconds, first and again, of a map over speed and coupling."""
    _devices()
    import ngnmm_jax as ng

    axes = {"speed": np.linspace(5.0, 20.0, points), "coupling": np.linspace(1.0, 12.0, points)}
    try:
        times = _seconds(lambda: ng.dispersion_map(network(), axes))
    except ValueError as error:
        return f"this version refuses it: {error}"
    return [*times, points**2]


ENGINES: dict[str, Callable[..., Any]] = {
    "problem": make_problem,
    "ours": ours,
    "ours_ends": ours_ends,
    "tvboptim": tvboptim,
    "tvboptim_ends": tvboptim_ends,
    "vbjax": vbjax,
    "vbjax_ends": vbjax_ends,
    "roots": roots,
    "dispersion_map": dispersion_map,
}
measure = functools.partial(in_process, "benchmarks.delays")


# Tables


def steps_table(problem: str, peers: dict[str, str | None]) -> None:
    print("Microseconds per step and simulation, steps of 0.05 ms:\n")
    header = ["simulations", "bits", "RK4 (4)", "moebius (4)", "C nearest (1)", "C cubic (4)"]
    header += ["tvboptim nearest (1)", "tvboptim linear (2)", "vbjax (1)", "C cubic / ours"]
    header += ["tvboptim linear / ours", "vbjax / ours"]
    cores, rows = os.cpu_count() or 1, []
    for bits in (64, 32):
        lanes = 512 // bits
        floor = {
            many: [in_c(problem, bits, p, lanes if many else 1, cores if many else 1)
                   for p in (1, 4)]
            for many in (False, True)
        }  # fmt: skip
        for batch in BATCHES:
            some: dict[str, Any] = {"problem": problem, "bits": bits, "batch": batch}
            here = [measure("ours", integrator=kind, **some) for kind in ("rk4", "moebius")]
            theirs = [float("nan")] * 3
            if (python := peers["tvboptim"]) is not None:
                theirs[:2] = [
                    measure("tvboptim", python=python, read=read, **some)
                    for read in (None, "linear")
                ]
            if (other := peers["vbjax"]) is not None:
                theirs[2] = measure("vbjax", python=other, **some)
            compared = [floor[batch > 1][1], *theirs[1:]]
            ratios = [value / min(here) for value in compared]
            rows.append([batch, bits, *here, *floor[batch > 1], *theirs, *ratios])
    table(header, rows)
    print(
        f"(In brackets the order that each attains with delays off the grid. C: one run on one "
        f"core; for more, {cores} processes, each with 8 runs in lock-step, 16 in 32 bits.)\n"
    )


def order_table(problem: str, peers: dict[str, str | None]) -> None:
    fine = measure("ours_ends", problem=problem, integrator="rk4", steps=[FINE])
    reference = np.asarray(fine[0])
    ends: dict[str, Any] = {
        f"this library, {kind}": measure(
            "ours_ends", problem=problem, integrator=kind, steps=HALVED
        )
        for kind in ("rk4", "moebius")
    }
    if shutil.which("gcc") is not None:
        for points, read in READS.items():
            ends[f"C, {'Heun' if points == 1 else 'RK4'}, {read}"] = c_ends(problem, points)
    if (python := peers["tvboptim"]) is not None:
        for kind in (None, "linear"):
            name = f"tvboptim, Heun, {kind or 'nearest'}"
            ends[name] = measure("tvboptim_ends", python=python, problem=problem, read=kind)
    if (other := peers["vbjax"]) is not None:
        ends["vbjax, Heun, rounded down"] = measure("vbjax_ends", python=other, problem=problem)
    rows = []
    for name, found in ends.items():
        if isinstance(found, float):
            continue  # `in_process` has said why
        errors = [float(np.abs(np.asarray(end) - reference).max()) for end in found]
        slope = np.polyfit(np.log(HALVED), np.log(errors), 1)[0]
        rows.append([name, *errors, float(np.log2(errors[-2] / errors[-1])), float(slope)])
    print(f"Largest error of a state after {SPAN:g} ms, from the same smooth past:\n")
    table(["method", *(f"dt = {dt:g}" for dt in HALVED), "last order", "fitted order"], rows)
    print(f"(Against this library's RK4 at {FINE:g} ms.)\n")


def stability_table() -> None:
    print("Seconds of a delayed network's stability, first (compiling) and again:\n")
    rows = []
    for name, found in (
        ("all growing roots", measure("roots")),
        ("map, 20 × 20 of speed and coupling", measure("dispersion_map", points=20)),
    ):
        if isinstance(found, list):
            rows.append([name, *found])
        else:
            print(f"({name}: left out, {found})\n")
    if rows:
        table(["what", "first", "again", "roots or points"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help="the peers' environments")
    parser.add_argument("--only", choices=("steps", "order", "stability"))
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the tables there too")
    options = parser.parse_args()
    print(f"Machine: {machine()}\n")
    with tempfile.TemporaryDirectory() as folder:
        if options.only != "stability":
            peers = {name: environment(options.peers, name) for name in PEERS}
            problem = measure("problem", folder=folder)
            if options.only != "steps":
                order_table(problem, peers)
            if options.only != "order":
                steps_table(problem, peers)
        if options.only in (None, "stability"):
            stability_table()
    if options.json is not None:
        common.save(options.json, "delays")


if __name__ == "__main__":
    if "--engine" in sys.argv:
        engine_or(main, ENGINES)
    else:
        main()
