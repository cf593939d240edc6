"""Spiking neurons: time of 10,000 per population × 1 s, against the usual Euler scheme in NumPy.

The usual scheme: Euler steps of 0.01 ms, threshold and reset at ±100, the refractory time that
takes a neuron from there through infinity. Run: python -m benchmarks.spiking
"""

import time
from typing import Any

import jax
import numpy as np

import ngnmm_jax as ng
from ngnmm_jax.simulation.spiking import quantiles

_DURATION, _PEAK, _EULER = 1000.0, 100.0, 0.01


def euler(neurons: int, duration: float, dt: float) -> np.ndarray:
    """Rates (population,) of the E-I network at i_ext_e = 10, one step after the other."""
    tau, tau_s = 8.0, np.array([[1.0], [5.0]])
    weights = np.array([[5.0, -13.0], [13.0, -5.0]])
    eta = np.array([[5.0], [-5.0]]) + quantiles(neurons)
    v = np.full((2, neurons), -2.0) + quantiles(neurons)
    gates = np.zeros((2, 1))
    free_at = np.zeros((2, neurons))
    spikes = np.zeros(2)
    rest = 2 * tau / _PEAK
    for step in range(round(duration / dt)):
        t = step * dt
        moving = free_at <= t
        v = np.where(moving, v + dt / tau * (v * v + eta + tau * weights @ gates), v)
        fired = moving & (v >= _PEAK)
        v[fired] = -_PEAK
        free_at[fired] = t + rest
        count = fired.sum(axis=1)
        spikes += count
        gates += dt / tau_s * (count[:, None] / (neurons * dt) - gates)
    return spikes / (neurons * duration)


def main() -> None:
    """Print seconds, and ratios within this run."""
    node = ng.Network(ng.NextGenEI(i_ext_e=10.0), np.ones((1, 1))).homogeneous()
    start = ng.initial_state(node)

    def timed(neurons: int, duration: float, dtype: str) -> float:
        options: Any = {"neurons": neurons, "start": start, "dtype": dtype, "progress": False}
        jax.block_until_ready(ng.simulate_spiking(node, duration, **options).width_rates)
        begun = time.perf_counter()
        run = ng.simulate_spiking(node, duration, **options)
        jax.block_until_ready(run.width_rates)
        return time.perf_counter() - begun

    print("neurons per population, 1 s of 2 populations: seconds in 64 and 32 bits")
    found = {n: [timed(n, _DURATION, d) for d in ("float64", "float32")]
             for n in (1000, 10_000, 100_000)}  # fmt: skip
    for n, (double, single) in found.items():
        print(f"{n:>8}  {double:7.2f} {single:7.2f}")
    part = 20.0
    begun = time.perf_counter()
    euler(10_000, part, _EULER)
    usual = (time.perf_counter() - begun) * _DURATION / part
    ratio = usual / found[10_000][0]
    print(f"Euler in NumPy, {_EULER} ms, 10,000 neurons: {usual:.0f} s, {ratio:.0f} times as long")


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
