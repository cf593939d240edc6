"""Microseconds per RK4 step and simulation: this library, hand-written C, vbjax, tvboptim.

    python -m benchmarks.simulation            # all tables
    pip install vbjax==0.0.19 tvboptim==0.4.0  # to have the peers in them

The paper's network at its step of 0.01 ms: 90 regions, or as said. Each engine runs in a
process of its own, all of them one after the other in one call. C is compiled when the
benchmark runs (gcc -O3 -march=native -ffast-math, without which its sums are not vectorised).
"""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.common import best_of, c_program, engine_or, in_process, machine, table

BATCHES = (1, 16, 256, 1024)
REGIONS = (90, 360, 1000)


def weights(n: int) -> np.ndarray:
    made = np.random.default_rng(0).lognormal(sigma=1.5, size=(n, n))
    np.fill_diagonal(made, 0)
    return made / made.sum(axis=1, keepdims=True)


def initial(n: int, runs: int = 1) -> np.ndarray:
    return np.random.default_rng(1).uniform(0.05, 0.1, size=(runs, 6, n))


def in_c(bits: int, n: int, steps: int, runs: int, processes: int) -> float:
    """Microseconds per step and simulation, with all processes at once."""
    real = "float" if bits == 32 else "double"
    return c_program("rk4.c", [f"-DREAL={real}"], [n, steps, runs], processes)


def ours(bits: int, n: int, batch: int, steps: int, **_: Any) -> float:
    import jax

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)
    import ngnmm_jax as ng

    dtype = jax.numpy.float32 if bits == 32 else jax.numpy.float64
    network = ng.Network(ng.NextGenEI(i_ext_e=13.0), weights(n), 5.0)
    duration, start = steps * 0.01, initial(n, batch)
    options: dict[str, Any] = {"dt": 0.01, "save_every": duration / 10, "dtype": dtype}
    options["variables"] = "v_e"

    def single() -> None:
        jax.block_until_ready(ng.simulate(network, duration, start=start[0], **options).states)

    def many() -> None:
        values = {"i_ext_e": np.linspace(5, 15, batch)}
        run = ng.simulate_batch(network, values, duration, start=start, **options)
        jax.block_until_ready(run.states)

    return best_of(single if batch == 1 else many) / (steps * batch) * 1e6


def plain_field(y: Any, drive: Any, i_ext_e: Any, stack: Any) -> Any:
    """The equations as a user of another library would write them."""
    r_e, v_e, s_e, r_i, v_i, s_i = y
    pi, tau = np.pi, 8.0
    return stack(
        [
            (1 / (pi * tau) + 2 * r_e * v_e) / tau,
            (v_e**2 - 5 + i_ext_e - (pi * tau * r_e) ** 2 + tau * (5 * s_e + drive - 13 * s_i))
            / tau,
            r_e - s_e,
            (1 / (pi * tau) + 2 * r_i * v_i) / tau,
            (v_i**2 - 5 - (pi * tau * r_i) ** 2 + tau * (13 * s_e + drive - 5 * s_i)) / tau,
            (r_i - s_i) / 5.0,
        ]
    )


def vbjax(bits: int, n: int, batch: int, steps: int, **_: Any) -> float:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", bits == 64)
    import vbjax as vb

    w = jnp.asarray(weights(n), float)
    _, loop = vb.make_ode(
        0.01, lambda y, p: plain_field(y, 5.0 * (w @ y[2]), p, jnp.stack), method="rk4"
    )
    ts = jnp.arange(steps)
    start = jnp.asarray(initial(n, batch), float)
    currents = jnp.linspace(5.0, 15.0, batch)
    # Its loop keeps every step; the last one is all that leaves the compiled function here.
    one = jax.jit(lambda y, p: loop(y, ts, p)[-1])
    many = jax.jit(jax.vmap(lambda y, p: loop(y, ts, p)[-1]))

    def work() -> None:
        jax.block_until_ready(one(start[0], 13.0) if batch == 1 else many(start, currents))

    return best_of(work) / (steps * batch) * 1e6


def tvboptim_network(n: int, kept: tuple[str, ...]) -> Any:
    """The same network in tvboptim, which keeps the variables named in its outputs."""
    import jax.numpy as jnp
    from tvboptim.experimental.network_dynamics import Network
    from tvboptim.experimental.network_dynamics.core.bunch import Bunch
    from tvboptim.experimental.network_dynamics.coupling import FastLinearCoupling
    from tvboptim.experimental.network_dynamics.dynamics.base import AbstractDynamics
    from tvboptim.experimental.network_dynamics.graph import DenseGraph

    class Mass(AbstractDynamics):
        STATE_NAMES = ("r_e", "v_e", "s_e", "r_i", "v_i", "s_i")
        INITIAL_STATE = (0.06, 0.06, 0.06, 0.06, 0.06, 0.06)
        DEFAULT_PARAMS = Bunch(i_ext_e=13.0)
        COUPLING_INPUTS = {"instant": 1}  # noqa: RUF012
        VARIABLES_OF_INTEREST = kept

        def dynamics(self, t, state, params, coupling, external):
            del t, external
            return plain_field(state, coupling.instant[0], params.i_ext_e, jnp.stack)

    return Network(
        Mass(),
        {"instant": FastLinearCoupling(incoming_states="s_e", G=5.0)},
        DenseGraph(jnp.asarray(weights(n), float)),
    )


def tvboptim(bits: int, n: int, batch: int, steps: int, **_: Any) -> float:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", bits == 64)
    from tvboptim.experimental.network_dynamics import prepare
    from tvboptim.experimental.network_dynamics.solvers import RungeKutta4

    network = tvboptim_network(n, ("v_e",))
    solver = RungeKutta4(recompute_coupling_per_stage=True)
    solve, config = prepare(network, solver, t0=0.0, t1=steps * 0.01, dt=0.01)
    one = jax.jit(lambda c: solve(c).ys[-1])

    def with_current(current: Any) -> Any:
        config.dynamics.i_ext_e = current
        return solve(config).ys[-1]

    many = jax.jit(jax.vmap(with_current))
    currents = jnp.linspace(5.0, 15.0, batch)

    def work() -> None:
        jax.block_until_ready(one(config) if batch == 1 else many(currents))

    return best_of(work) / (steps * batch) * 1e6


def product(bits: int, n: int, **_: Any) -> float:
    """Microseconds of one product of the weights with a vector, in a loop: RK4 has four a step."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", bits == 64)
    w, s, steps = jnp.asarray(weights(n), float), jnp.asarray(initial(n)[0, 0], float), 50_000
    loop = jax.jit(lambda s: jax.lax.scan(lambda s, _: (w @ s, None), s, None, length=steps)[0])
    return best_of(lambda: jax.block_until_ready(loop(s))) / steps * 1e6


ENGINES: dict[str, Callable[..., float]] = {
    "product": product,
    "ours": ours,
    "vbjax": vbjax,
    "tvboptim": tvboptim,
}


measure = partial(in_process, "benchmarks.simulation")


def main() -> None:
    cores = os.cpu_count() or 1
    print(f"Machine: {machine()}\n\nMicroseconds per RK4 step and simulation, 90 regions:\n")
    header = ["simulations", "bits", "this library", "C, 1 core", f"C, {cores} cores"]
    header += ["C / ours", "vbjax", "tvboptim", "vbjax / ours", "tvboptim / ours"]
    rows = []
    c_one, c_all = {}, {}
    for bits in (64, 32):
        c_one[bits] = in_c(bits, 90, 50_000, 1, 1)
        c_all[bits] = in_c(bits, 90, 50_000, 1, cores)
    for bits in (64, 32):
        for batch in BATCHES:
            steps = {1: 50_000, 16: 10_000, 256: 2000, 1024: 1000}[batch]
            here = measure("ours", bits=bits, n=90, batch=batch, steps=steps)
            few = min(steps, 200_000 // batch)  # their loops keep every step
            others = [
                measure(engine, bits=bits, n=90, batch=batch, steps=few)
                for engine in ("vbjax", "tvboptim")
            ]
            floor = c_one[bits] if batch == 1 else c_all[bits]
            ratios = [other / here for other in others]
            rows.append(
                [batch, bits, here, c_one[bits], c_all[bits], floor / here, *others, *ratios]
            )
    table(header, rows)
    print("(C / ours: against one core for one simulation, against all cores for several.)\n")

    print("Cost against the number of regions, 64 bits, microseconds per step and simulation:\n")
    rows = []
    for n in REGIONS:
        steps = 200_000_000 // n // n // 100 * 100 + 400
        one = measure("ours", bits=64, n=n, batch=1, steps=steps)
        many = measure("ours", bits=64, n=n, batch=64, steps=steps // 40 * 10)
        rows.append([n, one, in_c(64, n, steps, 1, 1), many, in_c(64, n, steps, 1, cores)])
    table(["regions", "1 simulation", "C, 1 core", "64 simulations", f"C, {cores} cores"], rows)


if __name__ == "__main__":
    engine_or(main, ENGINES)
