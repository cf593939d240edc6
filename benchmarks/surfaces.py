"""Cost of networks of 10^2 to 10^5 regions with sparse connections: time, memory, and the floor.

    python -m benchmarks.surfaces                   # this library
    python -m benchmarks.surfaces --peers FOLDER    # and tvboptim 0.4.0 and TVB 2.10.0, each in
                                                    # an environment of its own, made if missing
    python -m benchmarks.surfaces --small           # does it run? (times of it mean nothing)

Regions stand on a torus and receive from their 20 nearest (Gaussian kernel, rows of sum 1); the
mass is Montbrió, Pazó and Roxin's in all engines; 64 bits. Each size and engine has a process of
its own, whose largest memory is shown. The floor of `apply` is the time to move what it has to read
and write once (weights, indices, values), at the speed at which NumPy copies a large array here.
TVB simulates the same as a cortex whose local connectivity are these weights.
"""

import argparse
import functools
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from benchmarks.common import best_of, environment, in_process, machine, table

#: Sides of the torus.
SIDES = {False: (10, 32, 100, 256, 316), True: (10, 20)}
NEIGHBOURS, COUPLING, DT = 20, 1.0, 0.01
#: Runs of a batch.
BATCH = 16
#: As much work as takes some seconds: regions times steps.
WORK = {False: 4_000_000, True: 2000}
MASS = {"tau": 1.0, "i_ext": 0.0, "delta": 0.7, "j": 14.5, "eta": -4.6}
NONE = float("nan")
TVB = "2.10.0"


def torus(side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Receivers, senders and weights (connection,)."""
    across = range(-4, 5)
    offsets = sorted((a * a + b * b, a, b) for a in across for b in across)[1 : NEIGHBOURS + 1]
    away = np.array(offsets)
    weights = np.exp(-away[:, 0] / 4.0)
    row, column = np.divmod(np.arange(side * side), side)
    senders = (row[:, None] + away[:, 1]) % side * side + (column[:, None] + away[:, 2]) % side
    receivers = np.repeat(np.arange(side * side), NEIGHBOURS)
    return receivers, senders.ravel(), np.tile(weights / weights.sum(), side * side)


def steps_of(side: int, small: bool) -> int:
    return max(10, WORK[small] // side**2 // 10 * 10)


def starts(side: int) -> np.ndarray:
    """(variable, region): rates and potentials."""
    spread = np.random.default_rng(0).uniform(size=(2, side * side))
    return np.stack([0.1 + 0.1 * spread[0], -2 + 0.2 * spread[1]])


def gigabytes() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def network(side: int) -> Any:
    import jax

    jax.config.update("jax_enable_x64", True)
    import ngnmm_jax as ng

    mass = ng.models.MontbrioPazoRoxin(**MASS)
    graph = ng.graphs.SparseGraph(torus(side))
    return ng.Network(mass, graph, coupling=COUPLING)


# Engines: what each measures in a process of its own


def applied(side: int, small: bool) -> list[float]:
    """Milliseconds of `apply`: of one state, of a batch; of its transpose; and the memory."""
    import equinox as eqx
    import jax

    graph = network(side).graph
    apply = eqx.filter_jit(lambda graph, x: graph.apply(x))
    back = eqx.filter_jit(lambda graph, x: graph.apply_transposed(x))
    one = jax.numpy.asarray(starts(side)[0])
    many = jax.numpy.repeat(one[:, None], BATCH, axis=1)
    repeats = max(1, WORK[small] // side**2 // 20)

    def timed(function: Callable[..., Any], x: Any, count: int) -> float:
        def work() -> None:
            for _ in range(count):
                found = function(graph, x)
            jax.block_until_ready(found)

        return best_of(work) / count * 1e3

    batch = timed(apply, many, max(1, repeats // BATCH))
    return [timed(apply, one, repeats), batch, timed(back, one, max(1, repeats // 8)), gigabytes()]


def copying(small: bool) -> float:
    """Bytes a second, read and written, of NumPy's copy of a large array."""
    source = np.ones(10**5 if small else 5 * 10**7)
    target = np.empty_like(source)
    return 2 * source.nbytes / best_of(lambda: np.copyto(target, source))


def stepped(side: int, small: bool) -> list[float]:
    """Milliseconds of a step of RK4, and the memory."""
    import jax

    import ngnmm_jax as ng

    system, steps = network(side), steps_of(side, small)
    begin = jax.numpy.asarray(starts(side))

    def work() -> None:
        run = ng.simulate(
            system, steps * DT, start=begin, dt=DT, integrator="rk4", save_every=steps * DT
        )
        jax.block_until_ready(run.states)

    return [best_of(work) / steps * 1e3, gigabytes()]


def stability(side: int, small: bool) -> list[float]:
    """Seconds of a dispersion relation: first of all, and again; and the memory."""
    import ngnmm_jax as ng

    system = network(side)
    state = ng.find_equilibria(system.homogeneous()).states[0]
    times = []
    for _ in range(2):
        begin = time.perf_counter()
        ng.dispersion(system, state)
        times.append(time.perf_counter() - begin)
    return [*times, gigabytes()]


def tvboptim(side: int, small: bool) -> list[float]:
    """As `stepped`: `SparseGraph`, `RungeKutta4` with the coupling at each stage."""
    import jax

    jax.config.update("jax_enable_x64", True)
    from tvboptim.experimental.network_dynamics import Network, prepare
    from tvboptim.experimental.network_dynamics.coupling import LinearCoupling
    from tvboptim.experimental.network_dynamics.dynamics import tvb
    from tvboptim.experimental.network_dynamics.graph import SparseGraph
    from tvboptim.experimental.network_dynamics.solvers import RungeKutta4

    mass = tvb.MontbrioPazoRoxin(
        tau=MASS["tau"], I=MASS["i_ext"], Delta=MASS["delta"], J=MASS["j"], eta=MASS["eta"],
        cr=1.0, cv=0.0,
    )  # fmt: skip
    mass.VARIABLES_OF_INTEREST = mass.STATE_NAMES[:1]
    receivers, senders, weights = map(jax.numpy.asarray, torus(side))
    graph = SparseGraph.from_coo(weights, receivers, senders, (side * side, side * side))
    coupling = {"instant": LinearCoupling(incoming_states="r", G=COUPLING)}
    steps = steps_of(side, small)
    method = RungeKutta4(recompute_coupling_per_stage=True)
    system = Network(mass, coupling, graph)
    solve, config = prepare(system, method, t0=0.0, t1=(steps - 0.5) * DT, dt=DT)
    config.initial_state.dynamics = jax.numpy.asarray(starts(side))
    run = jax.jit(lambda config: solve(config).ys[-1])
    found = best_of(lambda: jax.block_until_ready(run(config)))
    return [found / steps * 1e3, gigabytes()]


def tvb(side: int, small: bool) -> list[float]:
    """Milliseconds of a step of Heun's method, and the memory; TVB's surface simulation."""
    from scipy.sparse import csc_matrix
    from tvb.datatypes.cortex import Cortex
    from tvb.datatypes.local_connectivity import LocalConnectivity
    from tvb.datatypes.surfaces import CorticalSurface
    from tvb.simulator.lab import connectivity, integrators, models, monitors, simulator
    from tvb.simulator.lab import coupling as couplings

    n = side * side
    receivers, senders, weights = torus(side)
    local = LocalConnectivity(matrix=csc_matrix((weights, (receivers, senders)), shape=(n, n)))
    row, column = np.divmod(np.arange(n), side)
    where = np.stack([row, column, np.zeros(n)], axis=1).astype(float)
    faces = np.stack([np.arange(n - side - 1), np.arange(n - side - 1) + 1,
                      np.arange(n - side - 1) + side], axis=1)  # fmt: skip
    mass = models.MontbrioPazoRoxin(
        tau=np.array([MASS["tau"]]), I=np.array([MASS["i_ext"]]), Delta=np.array([MASS["delta"]]),
        J=np.array([MASS["j"]]), eta=np.array([MASS["eta"]]), cr=np.array([1.0]),
        cv=np.array([0.0]),
    )  # fmt: skip
    region = connectivity.Connectivity(
        weights=np.zeros((2, 2)), tract_lengths=np.ones((2, 2)), centres=np.zeros((2, 3)),
        region_labels=np.array(["a", "b"]), speed=np.array([1e6]),
    )  # fmt: skip
    cortex = Cortex(
        local_connectivity=local, coupling_strength=np.array([COUPLING]),
        region_mapping_data=_mapped(region, where, faces, CorticalSurface),
    )  # fmt: skip
    steps = max(10, steps_of(side, small) // 10)
    run = simulator.Simulator(
        model=mass, connectivity=region, coupling=couplings.Linear(a=np.array([0.0])),
        integrator=integrators.HeunDeterministic(dt=DT), surface=cortex,
        monitors=(monitors.SubSample(period=steps * DT),),
    ).configure()  # fmt: skip
    found = best_of(lambda: run.run(simulation_length=steps * DT))
    return [found / steps * 1e3, gigabytes()]


def _mapped(region: Any, where: np.ndarray, faces: np.ndarray, kind: Any) -> Any:
    from tvb.datatypes.region_mapping import RegionMapping

    n = len(where)
    normals = np.tile([0.0, 0.0, 1.0], (n, 1))
    surface = kind(
        vertices=where, triangles=faces, vertex_normals=normals,
        triangle_normals=np.tile([0.0, 0.0, 1.0], (len(faces), 1)),
    )  # fmt: skip
    parcels = np.arange(n) * 2 // n
    return RegionMapping(surface=surface, connectivity=region, array_data=parcels)


ENGINES: dict[str, Callable[..., Any]] = {
    "applied": applied, "copying": copying, "stepped": stepped, "stability": stability,
    "tvboptim": tvboptim, "tvb-library": tvb,
}  # fmt: skip
measure = functools.partial(in_process, "benchmarks.surfaces")


# Tables


def found_by(engine: str, count: int, **settings: Any) -> list[float]:
    """What an engine gave; NaN where it is not there."""
    found = measure(engine, **settings)
    return found if isinstance(found, list) else [NONE] * count


def apply_table(sides: tuple[int, ...], small: bool) -> None:
    speed = measure("copying", small=small)
    print(f"One product with the weights, ms (memory moves at {speed / 1e9:.1f} GB/s):\n")
    rows: list[list[Any]] = []
    for side in sides:
        n, connections = side * side, side * side * NEIGHBOURS
        one, many, back, memory = found_by("applied", 4, side=side, small=small)
        stored = 12 * connections
        floors = [(stored + 16 * n * runs) / speed * 1e3 for runs in (1, BATCH)]
        rows.append([n, connections, one, floors[0], many, floors[1], back, memory])
    names = ["regions", "connections", "one", "floor", f"{BATCH} runs", "floor", "transposed", "GB"]
    table(names, rows)


def steps_table(sides: tuple[int, ...], pythons: dict[str, str | None], small: bool) -> None:
    print("One step, ms (RK4: four evaluations of the field; TVB's Heun: two), and memory, GB:\n")
    rows: list[list[Any]] = []
    for side in sides:
        row = [side * side, *found_by("stepped", 2, side=side, small=small)]
        for peer, python in pythons.items():
            given = {"python": python, "side": side, "small": small}
            row += [NONE, NONE] if python is None else found_by(peer, 2, **given)
        rows.append(row)
    names = ["regions", "ngnmm_jax", "GB"]
    for peer in pythons:
        names += [peer, "GB"]
    table(names, rows)


def stability_table(sides: tuple[int, ...], small: bool) -> None:
    print("Dispersion relation of an equilibrium, s, compiled and again, and memory, GB:\n")
    rows = [[s * s, *found_by("stability", 3, side=s, small=small)] for s in sides]
    table(["regions", "first", "again", "GB"], rows)


def main(arguments: argparse.Namespace) -> None:
    print(machine() + "\n")
    sides = SIDES[arguments.small]
    others = {"tvboptim": None, "tvb-library": TVB}
    pythons = {name: environment(arguments.peers, name, v) for name, v in others.items()}
    apply_table(sides, arguments.small)
    steps_table(sides, pythons, arguments.small)
    stability_table(sides, arguments.small)


if __name__ == "__main__":
    if "--engine" in sys.argv:
        common.engine_or(lambda: None, ENGINES)
    else:
        parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
        parser.add_argument("--peers", type=Path, metavar="FOLDER", help="the peers' environments")
        parser.add_argument("--small", action="store_true", help="see whether it runs")
        parser.add_argument("--json", type=Path, metavar="FILE", help="keep the tables there too")
        given = parser.parse_args()
        main(given)
        if given.json is not None:
            common.save(given.json, "surfaces")
