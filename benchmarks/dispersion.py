"""Time per parameter point of equilibria and their dispersion relations, and of one orbit's.

    python -m benchmarks.dispersion

Beside NumPy's way: SciPy's `fsolve` for the equilibrium, `eigvals` for each of 90 modes.
"""

import os
from typing import Any

import jax

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)

import numpy as np  # noqa: E402
from scipy.optimize import fsolve  # noqa: E402

import ngnmm_jax as ng  # noqa: E402
from benchmarks.common import best_of, machine, table  # noqa: E402


def scipy_point(i_ext_e: float, coupling: float, lambdas: np.ndarray) -> float:
    tau, pi = 8.0, np.pi

    def field(y: np.ndarray, c: float) -> np.ndarray:
        r_e, v_e, s_e, r_i, v_i, s_i = y
        return np.array(
            [
                (1 / (pi * tau) + 2 * r_e * v_e) / tau,
                (v_e**2 - 5 - (pi * tau * r_e) ** 2 + i_ext_e + tau * (5 * s_e + c - 13 * s_i))
                / tau,
                r_e - s_e,
                (1 / (pi * tau) + 2 * r_i * v_i) / tau,
                (v_i**2 - 5 - (pi * tau * r_i) ** 2 + tau * (13 * s_e + c - 5 * s_i)) / tau,
                (r_i - s_i) / 5,
            ]
        )

    y = fsolve(lambda y: field(y, coupling * y[2]), [0.01, -2, 0.01, 0.01, -2, 0.01])
    r_e, v_e, _, r_i, v_i, _ = y
    square = 2 * pi * pi * tau
    matrix = np.array(
        [
            [2 * v_e / tau, 2 * r_e / tau, 0, 0, 0, 0],
            [-square * r_e, 2 * v_e / tau, 5, 0, 0, -13],
            [1, 0, -1, 0, 0, 0],
            [0, 0, 0, 2 * v_i / tau, 2 * r_i / tau, 0],
            [0, 0, 13, -square * r_i, 2 * v_i / tau, -5],
            [0, 0, 0, 0.2, 0, -0.2],
        ]
    )
    mixing = np.zeros((6, 6))
    mixing[1, 2] = mixing[4, 2] = 1
    return max(np.linalg.eigvals(matrix + v * coupling * mixing).real.max() for v in lambdas[1:])


def main() -> None:
    print(f"Machine: {machine()}\n")
    rows: list[list[Any]] = []
    axes = {"i_ext_e": np.linspace(0, 3, 61), "coupling": np.linspace(0, 9, 61)}
    for n in (90, 360, 1000):
        connectome = ng.Connectome.synthetic(n).normalised()
        lambdas = connectome.eigenmodes().values
        network = ng.Network(ng.NextGenEI(), connectome, 0.0)
        few = {k: v[:: 1 if n == 90 else 6] for k, v in axes.items()}
        points = len(few["i_ext_e"]) * len(few["coupling"])

        def work(network: Any = network, few: Any = few) -> None:
            ng.dispersion_map(network, few, oscillations=False)

        seconds = best_of(work) / points
        sample = [(a, b) for a in (0.0, 1.5, 3.0) for b in (1.0, 9.0)]

        def plain(lambdas: Any = lambdas, sample: Any = sample) -> None:
            for a, b in sample:
                scipy_point(a, b, lambdas)

        rows.append([n, seconds * 1e6, best_of(plain, 1) / len(sample) * 1e6])
        rows[-1].append(rows[-1][2] / rows[-1][1])
    table(["modes", "µs per point, this library", "SciPy loop", "ratio"], rows)

    print("One periodic orbit (i_ext_e = 13, epsilon = 5), once compiled, in milliseconds:\n")
    network = ng.Network(ng.NextGenEI(i_ext_e=13.0), np.ones((1, 1)), 5.0)
    orbit = ng.find_orbit(network.homogeneous())
    found = best_of(lambda: jax.block_until_ready(ng.find_orbit(network.homogeneous())))
    rows = [["find_orbit", found * 1e3]]
    for n in (90, 1000, 10_000):
        values = np.linspace(-0.3, 1.0, n)

        def floquet(values: Any = values) -> None:
            jax.block_until_ready(ng.dispersion(network, orbit, lambdas=values))

        rows.append([f"dispersion, {n} modes", best_of(floquet) * 1e3])
    table(["", "ms"], rows)


if __name__ == "__main__":
    main()
