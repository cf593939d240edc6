"""Seconds of typical calls once they are compiled: this checkout's, or another one's beside it.

    python -m benchmarks.steady                        # this checkout
    python -m benchmarks.steady --against ../older     # both, in one sitting, and their ratio

Best of three calls after one that compiles, 100 regions, two CPU devices, 64 bits, one thread of
BLAS; each checkout in a process of its own. Only what the library offered at e212eb4 is used.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import ROOT, best_of, machine, table


def calls() -> dict[str, Callable[[], Any]]:
    """The calls by name; what they return is waited for."""
    import jax

    import ngnmm_jax as ng

    jax.config.update("jax_num_cpu_devices", 2)
    jax.config.update("jax_enable_x64", True)
    connectome = ng.Connectome.load().normalised()
    network = ng.Network(ng.NextGenEI(i_ext_e=12.0), connectome, 8.0)
    node, start = network.homogeneous(), ng.initial_state(network)
    orbit = ng.find_orbit(node)
    quiet = ng.Driven(network.with_parameters(i_ext_e=2.0), {"input": 0.01})
    currents = np.linspace(8, 12, 64)
    silent: dict[str, Any] = {"progress": False}

    def plane(points: int) -> dict[str, np.ndarray]:
        return {"i_ext_e": np.linspace(0, 16, points), "coupling": np.linspace(0, 30, points)}

    def batch(runs: int) -> Any:
        values = {"i_ext_e": np.linspace(8, 12, runs)}
        return ng.simulate_batch(network, values, 100.0, dt=0.05, start=start).states

    return {
        "1 s, RK4": lambda: ng.simulate(network, 1000.0, dt=0.05, start=start, **silent).states,
        "1 s, moebius": lambda: (
            ng.simulate(network, 1000.0, dt=0.1, start=start, integrator="moebius", **silent).states
        ),
        "1 s, adaptive": lambda: ng.simulate(network, 1000.0, start=start).states,
        "batch of 4": lambda: batch(4),
        "batch of 64": lambda: batch(64),
        "sweep of 64": lambda: (
            ng.sweep(
                network,
                ng.Design.grid({"i_ext_e": currents}),
                ng.Activity(500.0, transient=100.0),
                **silent,
            ).status.values
        ),
        "map, 24 x 24": lambda: ng.dispersion_map(network, plane(24), **silent).status,
        "map of equilibria, 63 x 63": lambda: (
            ng.dispersion_map(network, plane(63), oscillations=False, **silent).status
        ),
        "find_equilibria": lambda: ng.find_equilibria(node).states,
        "initial_state": lambda: ng.initial_state(network),
        "find_orbit": lambda: ng.find_orbit(node).period,
        "dispersion of an orbit": lambda: ng.dispersion(network, orbit).eigenvalues,
        "10 exponents of 600": lambda: (
            ng.lyapunov_spectrum(
                network, 10, duration=100.0, transient=50.0, start=start, **silent
            ).exponents
        ),
        "lyapunov_map of 64": lambda: (
            ng.lyapunov_map(
                node, {"i_ext_e": currents}, duration=200.0, transient=50.0, **silent
            ).spectra.exponents
        ),
        "linear_response": lambda: ng.linear_response(quiet, np.arange(1.0, 40.0)).power,
    }


def measured(source: Path) -> dict[str, float]:
    """Seconds by call, of the library in a checkout."""
    paths = os.pathsep.join([str(source.resolve()), str(ROOT)])  # the first one's library
    done = subprocess.run(
        [sys.executable, "-P", __file__, "--worker"],
        env={**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def work() -> dict[str, float]:
    """The same, in this process."""
    return {name: best_of(partial(_waited_for, call)) for name, call in calls().items()}


def _waited_for(call: Callable[[], Any]) -> None:
    import jax

    jax.block_until_ready(call())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", type=Path, help="another checkout")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(work()))
        return
    print(machine())
    now = measured(ROOT)
    if options.against is None:
        table(["call", "s"], [[name, value] for name, value in now.items()])
        return
    before = measured(options.against)
    rows = [[name, before[name], value, value / before[name]] for name, value in now.items()]
    table(["call", "before, s", "now, s", "now / before"], rows)


if __name__ == "__main__":
    main()
