"""The map of transverse instabilities: time per parameter point, and the whole of it.

`python -m benchmarks.maps` times a subsample that covers the paper's plane (every tenth line)
beside the procedure that the paper's authors follow point by point, in SciPy, at two tolerances:
the tighter one takes the time that they report (3.5 s an orbit, 0.1 s a mode). `--full` times all
321 x 601 points.
"""

import argparse
import os
import time
from typing import Any

import jax
import numpy as np
from scipy.integrate import solve_ivp

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)

import ngnmm_jax as ng  # noqa: E402
from benchmarks.common import machine, table  # noqa: E402

TAU_E, TAU_I, TAU_SE, TAU_SI = 8.0, 8.0, 1.0, 5.0
ETA, DELTA = -5.0, 1.0
J_EE, J_EI, J_IE, J_II = 5.0, 13.0, 13.0, 5.0
# One point at rest, four that oscillate, from weak coupling to strong.
TOLERANCES = (1e-8, 1e-10)
POINTS = [(2.0, 5.0), (10.0, 2.0), (13.0, 5.0), (9.0, 9.0), (6.0, 20.0)]


def node(t: float, y: np.ndarray, i_ext_e: float, epsilon: float) -> np.ndarray:
    r_e, v_e, s_e, r_i, v_i, s_i = y
    c = epsilon * s_e
    return np.array(
        [
            (DELTA / (np.pi * TAU_E) + 2 * r_e * v_e) / TAU_E,
            (
                v_e**2
                + ETA
                + i_ext_e
                - (np.pi * TAU_E * r_e) ** 2
                + TAU_E * (J_EE * s_e + c - J_EI * s_i)
            )
            / TAU_E,
            (r_e - s_e) / TAU_SE,
            (DELTA / (np.pi * TAU_I) + 2 * r_i * v_i) / TAU_I,
            (v_i**2 + ETA - (np.pi * TAU_I * r_i) ** 2 + TAU_I * (J_IE * s_e + c - J_II * s_i))
            / TAU_I,
            (r_i - s_i) / TAU_SI,
        ]
    )


def jacobian(y: np.ndarray, epsilon: float) -> np.ndarray:
    """With the coupling term's own strength: Λ epsilon for a transverse mode."""
    r_e, v_e, _, r_i, v_i, _ = y
    matrix = np.zeros((6, 6))
    matrix[0, :2] = [2 * v_e / TAU_E, 2 * r_e / TAU_E]
    matrix[1] = [
        -2 * (np.pi * TAU_E) ** 2 * r_e / TAU_E, 2 * v_e / TAU_E, J_EE + epsilon, 0, 0, -J_EI
    ]  # fmt: skip
    matrix[2, [0, 2]] = [1 / TAU_SE, -1 / TAU_SE]
    matrix[3, 3:5] = [2 * v_i / TAU_I, 2 * r_i / TAU_I]
    matrix[4] = [
        0, 0, J_IE + epsilon, -2 * (np.pi * TAU_I) ** 2 * r_i / TAU_I, 2 * v_i / TAU_I, -J_II
    ]  # fmt: skip
    matrix[5, [3, 5]] = [1 / TAU_SI, -1 / TAU_SI]
    return matrix


def scipy_point(
    i_ext_e: float, epsilon: float, lambdas: np.ndarray, rtol: float
) -> tuple[float, float]:
    """Period (zero at rest) and largest transverse growth, mode by mode."""
    accurate: dict[str, Any] = {"rtol": rtol, "atol": rtol / 100}
    start = np.array([0.02, -1.0, 0.02, 0.03, -1.0, 0.03])
    arguments = (i_ext_e, epsilon)
    settled = solve_ivp(node, (0, 2000), start, args=arguments, **accurate).y[:, -1]
    speed = np.abs(node(0, settled, *arguments)).max()
    if speed < 1e-8:
        rates = [np.linalg.eigvals(jacobian(settled, v * epsilon)).real.max() for v in lambdas[1:]]
        return 0.0, max(rates)

    # The period, between crossings of a section through the end of the transient.
    normal = node(0, settled, *arguments)

    def section(t: float, y: np.ndarray, *_: float) -> float:
        return float(normal @ (y - settled))

    section.direction = 1  # type: ignore[attr-defined]
    run = solve_ivp(node, (0, 200), settled, args=arguments, events=section, **accurate)
    crossings, states = run.t_events[0], run.y_events[0]
    near = np.abs(states - settled).max(axis=1) < 1e-4 * np.ptp(run.y, axis=1).max()
    period = crossings[near & (crossings > 1.0)][0]

    largest = -np.inf
    for value in lambdas[1:]:

        def variational(t: float, z: np.ndarray, value: float = value) -> np.ndarray:
            xi = jacobian(z[:6], value * epsilon) @ z[6:].reshape(6, 6)
            return np.concatenate([node(t, z[:6], *arguments), xi.ravel()])

        z = np.concatenate([settled, np.eye(6).ravel()])
        end = solve_ivp(variational, (0, period), z, **accurate).y[6:, -1]
        largest = max(largest, np.log(np.abs(np.linalg.eigvals(end.reshape(6, 6))).max()) / period)
    return period, largest


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", action="store_true")
    full = parser.parse_args().full
    print(f"Machine: {machine()}\n")
    connectome = ng.Connectome.synthetic(90).normalised()
    lambdas = connectome.eigenmodes().values
    network = ng.Network(ng.NextGenEI(), connectome, 0.0)

    rows: list[list[Any]] = []
    for i_ext_e, epsilon in POINTS:
        row: list[Any] = [f"({i_ext_e:g}, {epsilon:g})"]
        for rtol in TOLERANCES:
            begun = time.perf_counter()
            period, growth = scipy_point(i_ext_e, epsilon, lambdas, rtol)
            row.append(time.perf_counter() - begun)
        one = ng.dispersion_map(network, {"i_ext_e": [i_ext_e], "coupling": [epsilon]})
        place = 3 if period else 0
        row += [period, growth, abs(growth - one.growth_transverse[0, 0, place])]
        rows.append(row)
    print("SciPy, point by point (90 modes), and how far the map is from it:\n")
    names = [f"s at rtol = {rtol:g}" for rtol in TOLERANCES]
    table(
        ["(i_ext_e, epsilon)", *names, "period (ms)", "growth (1/ms)", "difference"],
        rows,
    )
    resting = np.array(rows[0][1:3])
    moving = np.array([row[1:3] for row in rows[1:]]).mean(axis=0)

    axes = {"i_ext_e": np.arange(321) / 20, "coupling": np.arange(0, 601, 1 if full else 10) / 20}
    if not full:
        ng.dispersion_map(network, axes)  # compiles
    begun = time.perf_counter()
    result = ng.dispersion_map(network, axes)
    seconds = time.perf_counter() - begun
    points = result.status.size
    share = float((result.kind > 1).any(axis=-1).mean())
    theirs = share * moving + (1 - share) * resting
    print("The plane, [0, 16] x [0, 30]" + (", compilation included:\n" if full else ":\n"))
    names = [f"SciPy at {rtol:g}, s per point" for rtol in TOLERANCES]
    each = seconds / points
    table(
        ["points", "oscillating", "seconds", "ms per point", *names, "ratio", "ratio"],
        [[points, share, seconds, each * 1e3, *theirs, *(theirs / each)]],
    )
    bad = int((result.status != ng.Status.OK).sum())
    print(f"Points that did not converge: {bad}")


if __name__ == "__main__":
    main()
