"""Lyapunov exponents: milliseconds per RK4 step beside C and tvboptim, and batched.

    python -m benchmarks.lyapunov
    pip install tvboptim==0.4.0                # to have it in the table

The paper's network of 90 regions (540 dimensions) at a step of 0.02 ms, and its homogeneous
system (6 dimensions). The C program propagates the same tangents with RK4, Gram and Schmidt
every 1 ms; ours chooses its interval, or has the same. tvboptim follows two trajectories, for
the leading exponent alone. Each engine runs in a process of its own.
"""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.common import best_of, c_program, engine_or, in_process, machine, table
from benchmarks.simulation import tvboptim_network, weights

STEP, INTERVAL = 0.02, 50
COUNTS = (1, 20, 90)


def in_c(count: int, steps: int, processes: int) -> float:
    """Milliseconds per step and trajectory, with all processes at once."""
    return c_program("lyapunov.c", [], [90, count, steps, INTERVAL], processes) / 1e3


def start() -> Any:
    import jax

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)
    import ngnmm_jax as ng

    return jax, ng


def ours(count: int, steps: int, interval: float | None, **_: Any) -> float:
    jax, ng = start()
    network = ng.Network(ng.NextGenEI(i_ext_e=13.0), weights(90), 5.0)
    state = ng.initial_state(network)
    options = {"dt": STEP, "interval": interval, "transient": 0.1 * steps * STEP}

    def work() -> None:
        result = ng.lyapunov_spectrum(network, count, duration=steps * STEP, start=state, **options)
        jax.block_until_ready(result.exponents)

    return best_of(work) / (1.1 * steps) * 1e3


def batched(count: int, steps: int, points: int, **_: Any) -> float:
    """The network at so many points at once, on all devices."""
    _, ng = start()
    network = ng.Network(ng.NextGenEI(i_ext_e=13.0), weights(90), 5.0)
    options = {"dt": STEP, "transient": 0.1 * steps * STEP, "block": points, "progress": False}

    def work() -> None:
        axes = {"i_ext_e": np.linspace(9.0, 13.0, points)}
        ng.lyapunov_map(network, axes, count, duration=steps * STEP, **options)

    return best_of(work, 2) / (1.1 * steps * points) * 1e3


def homogeneous(steps: int, points: int, **_: Any) -> float:
    _, ng = start()
    network = ng.Network(ng.NextGenEI(), weights(90), 12.0)
    options = {"dt": STEP, "transient": 0.1 * steps * STEP, "block": points, "progress": False}

    def work() -> None:
        axes = {"i_ext_e": np.linspace(8.0, 12.0, points)}
        ng.lyapunov_map(network.homogeneous(), axes, duration=steps * STEP, **options)

    return best_of(work, 2) / (1.1 * steps * points) * 1e3


def tvboptim(steps: int, **_: Any) -> float:
    import jax

    jax.config.update("jax_enable_x64", True)
    from tvboptim.experimental.network_dynamics.analysis.lyapunov import lyapunov
    from tvboptim.experimental.network_dynamics.solvers import RungeKutta4

    network = tvboptim_network(90, ("r_e", "v_e", "s_e", "r_i", "v_i", "s_i"))
    solver = RungeKutta4(recompute_coupling_per_stage=True)
    pieces = steps // 1000

    def work() -> None:
        lyapunov(network, solver, t=1000 * STEP, n=pieces, dt=STEP)

    return best_of(work) / (1000 * pieces) * 1e3


ENGINES: dict[str, Callable[..., float]] = {
    "ours": ours,
    "batched": batched,
    "homogeneous": homogeneous,
    "tvboptim": tvboptim,
}


measured = partial(in_process, "benchmarks.lyapunov")


def main() -> None:
    cores = os.cpu_count() or 1
    print(f"Machine: {machine()}\n")
    print("Network of 90 regions, ms per step of 0.02 ms and trajectory:\n")
    rows: list[list[Any]] = []
    for count in COUNTS:
        steps = {1: 40_000, 20: 10_000, 90: 3_000}[count]
        row: list[Any] = [count]
        row.append(measured("ours", count=count, steps=steps, interval=None))
        row.append(measured("ours", count=count, steps=steps, interval=INTERVAL * STEP))
        many = max(1, 64 // (count + 1)) * cores
        row.append(measured("batched", count=count, steps=steps // 2, points=many))
        row += [in_c(count, steps, processes) for processes in (1, cores)]
        row.append(measured("tvboptim", steps=steps) if count == 1 else "–")
        row.append(row[4] / row[1])
        row.append(row[5] / row[3])
        row.append(row[1] * 1e-3 * 1000 / STEP)
        rows.append(row)
    table(
        ["exponents", "ours, one", "same interval as C", "ours, many at once", "C, one core",
         f"C, {cores} cores", "tvboptim", "C / ours, one", "C / ours, many",
         "s per simulated s, one"],
        rows,
    )  # fmt: skip
    print("Batched over parameters, ms per step and point (20 exponents of the network):\n")
    sizes = (1, 2, 6, 12, 24)
    values = [measured("batched", count=20, steps=2_000, points=n) for n in sizes]
    table(["points", *map(str, sizes)], [["ms", *values]])
    print("The same of all 6 exponents of the homogeneous system, in microseconds:\n")
    sizes = (1, 16, 128, 512, 4096)
    values = [1e3 * measured("homogeneous", steps=4_000, points=n) for n in sizes]
    table(["points", *map(str, sizes)], [["µs", *values]])


if __name__ == "__main__":
    engine_or(main, ENGINES)
