"""Sweeps: simulated network-seconds per second, the floor, peers, memory, and agreement.

    python -m benchmarks.sweeps              # speed, floor, peers, memory
    python -m benchmarks.sweeps --agreement  # summaries and chaos against RK4 at 0.01 ms, the plane
    pip install vbjax==0.0.19 tvboptim==0.4.0  # to have the peers in them

A network of 90 regions; all summaries that `Activity` keeps by default, taken while it runs.
Each engine runs in a process of its own, all of them one after the other in one call.
"""

import os
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks import simulation
from benchmarks.common import best_of, engine_or, in_process, machine, table

BATCHES = (32, 512)
REGIONS = 90


def _prepared(bits: int, devices: int) -> tuple[Any, Any]:
    import jax

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_num_cpu_devices", devices)
    import ngnmm_jax as ng

    network = ng.Network(ng.NextGenEI(i_ext_e=12.0), simulation.weights(REGIONS), 8.0)
    return ng, network


def ours(
    bits: int, batch: int, method: str, dt: float, duration: float, devices: int = 0, **_: Any
) -> float:
    """Network-seconds per second, once compiled."""
    ng, network = _prepared(bits, devices or os.cpu_count() or 1)
    design = ng.Design.listed({"i_ext_e": np.linspace(5.0, 15.0, batch)})
    measure = ng.Activity(duration, 0.0, integrator=method, dt=dt, dtype=f"float{bits}")
    seconds = best_of(lambda: ng.sweep(network, design, measure, checks=0, progress=False))
    return batch * duration / 1e3 / seconds


def memory(bits: int, batch: int, duration: float, **_: Any) -> float:
    """Peak resident memory of the process, MiB."""
    ng, network = _prepared(bits, os.cpu_count() or 1)
    design = ng.Design.listed({"i_ext_e": np.linspace(5.0, 15.0, batch)})
    measure = ng.Activity(duration, 0.0, dtype=f"float{bits}")
    ng.sweep(network, design, measure, checks=0, progress=False)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def products(bits: int, **_: Any) -> float:
    """Floating-point operations per second of the coupling's product, in a loop, all cores."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", bits == 64)
    w = jnp.asarray(simulation.weights(REGIONS), float)
    s, loops = jnp.ones((REGIONS, 1024)), 300
    run = jax.jit(lambda s: jax.lax.scan(lambda s, _: (w @ s, None), s, None, length=loops)[0])
    seconds = best_of(lambda: jax.block_until_ready(run(s)))
    return 2 * REGIONS**2 * s.shape[1] * loops / seconds


def bandwidth(bits: int, **_: Any) -> float:
    """Bytes per second of y + a x, read and written, on arrays of a chunk's size, all cores."""
    import jax
    import jax.numpy as jnp
    from jax.sharding import Mesh, PartitionSpec

    jax.config.update("jax_enable_x64", bits == 64)
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)
    cores, loops = len(jax.devices()), 20_000
    x = jnp.ones((cores, 6, REGIONS, 32))

    def one(x: jax.Array) -> jax.Array:
        def body(pair: Any, _: None) -> Any:
            a, b = pair
            return (b, a + 1e-9 * b), None

        return jax.lax.scan(body, (x, 2 * x), None, length=loops)[0][0]

    mesh, split = Mesh(np.array(jax.devices()), ("core",)), PartitionSpec("core")
    run = jax.jit(jax.shard_map(one, mesh=mesh, in_specs=split, out_specs=split, check_vma=False))
    seconds = best_of(lambda: jax.block_until_ready(run(x)))
    return 3 * x.nbytes * loops / seconds


ENGINES: dict[str, Callable[..., float]] = {
    "ours": ours,
    "memory": memory,
    "products": products,
    "bandwidth": bandwidth,
}
measure = partial(in_process, "benchmarks.sweeps")


def speed() -> None:
    cores = os.cpu_count() or 1
    c = {bits: 1e3 / (100_000 * simulation.in_c(bits, REGIONS, 50_000, 1, cores) / 1e3)
         for bits in (64, 32)}  # fmt: skip
    print(f"C, RK4 at 0.01 ms, {cores} cores: {c[64]:.3g} (64 bits), {c[32]:.3g} (32 bits) "
          "network-seconds per second.\n")  # fmt: skip
    rows = []
    for bits in (64, 32):
        for method, dt in (("rk4", 0.05), ("moebius", 0.1), ("moebius", 0.2)):
            for batch in BATCHES:
                options: dict[str, Any] = {"bits": bits, "batch": batch, "method": method, "dt": dt}
                options["duration"] = {32: 1000.0, 512: 200.0}[batch]
                alone = measure("ours", devices=1, **options) if batch > 32 else float("nan")
                every = measure("ours", **options)
                rows.append([method, dt, bits, batch, alone, every, every / c[64], every / c[bits]])
    header = ["method", "dt, ms", "bits", "runs", "1 device", f"{cores} devices"]
    table([*header, "against C, 64 bits", "against C, same bits"], rows)

    print("The floor of the Möbius step, network-seconds per second, all cores:\n")
    rows = []
    for bits in (64, 32):
        operations, bytes_ = 2 * REGIONS**2, _bytes_a_step(bits)
        flops, speed_ = measure("products", bits=bits), measure("bandwidth", bits=bits)
        for dt in (0.1, 0.2):
            steps = 1e3 / dt
            rows.append([bits, dt, flops / operations / steps, speed_ / bytes_ / steps,
                         1 / (operations / flops + bytes_ / speed_) / steps])  # fmt: skip
    table(["bits", "dt, ms", "product alone", "state's bytes alone", "both"], rows)


def _bytes_a_step(bits: int) -> int:
    """State read and written, five inputs of both populations read and one written."""
    return REGIONS * (2 * 6 + 5 * 2 + 2) * bits // 8


def peers() -> None:
    print("Peers at RK4 steps of 0.05 ms, where summaries agree; network-seconds per second:\n")
    rows = []
    for bits in (64, 32):
        steps = 2000
        here = measure("ours", bits=bits, batch=256, method="moebius", dt=0.1, duration=400.0)
        others = [
            1e3 / (20_000 * simulation.measure(e, bits=bits, n=REGIONS, batch=256, steps=steps // 4)
                   / 1e3)
            for e in ("vbjax", "tvboptim")
        ]  # fmt: skip
        rows.append([bits, here, *others, *(here / other for other in others)])
    header = ["bits", "this library, Möbius at 0.1", "vbjax", "tvboptim"]
    table([*header, "ours / vbjax", "ours / tvboptim"], rows)


def memories() -> None:
    print("Peak memory of the whole process, MiB (64 bits):\n")
    rows = []
    for batch in (64, 1024):
        rows.append([batch, *(measure("memory", bits=64, batch=batch, duration=d)
                              for d in (400.0, 1600.0, 6400.0))])  # fmt: skip
    table(["runs", "0.4 s", "1.6 s", "6.4 s"], rows)


def agreement() -> None:
    """Summaries over the plane, and the sign of the leading exponent, against RK4 at 0.01 ms."""
    ng, _ = _prepared(64, os.cpu_count() or 1)
    network = ng.Network(ng.NextGenEI(), _plane_connectome(ng), 8.0)
    axes = {"i_ext_e": np.linspace(1, 15, 8), "coupling": np.linspace(1, 29, 8)}
    design = ng.Design.grid(axes, replicates=4)
    keep = ("mean", "variance", "peak_frequency", "fc", "fc_mean", "field_variance",
            "field_peak_frequency", "field_spectrum", "band_power", "maximum")  # fmt: skip
    found = {}
    for method, dt, bits in (
        ("rk4", 0.01, 64), ("rk4", 0.05, 64), ("moebius", 0.1, 64), ("moebius", 0.1, 32),
        ("moebius", 0.2, 64), ("moebius", 0.2, 32),
    ):  # fmt: skip
        begun = time.perf_counter()
        activity = ng.Activity(
            2000.0, 1000.0, integrator=method, dt=dt, keep=keep, dtype=f"float{bits}"
        )
        found[method, dt, bits] = ng.sweep(network, design, activity, checks=0, progress=False)
        print(f"{method} {dt} {bits} bits: {time.perf_counter() - begun:.0f} s", file=sys.stderr)
    exact = found.pop(("rk4", 0.01, 64))
    moving = exact.v_e_variance.min(["replicate", "region"]).values > 1e-6
    print(f"64 points with 4 replicates of 2 s; at {int(moving.sum())} of them all regions move.\n"
          "For each summary: root mean square of the difference of the replicates' means, in its\n"
          "standard errors (from the scatter of the replicates and at least 1e-3 of the summary's\n"
          "standard deviation over the plane); and how many differences are beyond 3.7 of them\n"
          "(1 % would be by chance alone):\n")  # fmt: skip
    rows = []
    for name in (f"v_e_{k}" for k in keep):
        row: list[Any] = [name]
        b = exact[name].values[moving]
        for data in found.values():
            a = data[name].values.astype(float)[moving]
            z = _differences(a, b)
            row += [f"{np.sqrt((z**2).mean()):.2f}, {(np.abs(z) > 3.7).mean():.1%}"]
        rows.append(row)
    table(["summary", *(f"{m} {dt} ms, {bits} bits" for m, dt, bits in found)], rows)

    print("Leading Lyapunov exponent (1/ms) of the network over the same plane:\n")
    points = ng.Design.grid(axes)
    known = ng.sweep(network, points, ng.Exponents(1, duration=2000.0, transient=1000.0), checks=0)
    rows = []
    for dt in (0.1, 0.2):
        value = _leading(ng, network, points, dt)
        reference, error = (known[k].values.ravel() for k in ("exponents", "errors"))
        sure = np.abs(reference) > 3 * error
        same = (np.sign(value) == np.sign(reference))[sure]
        far = np.abs(value - reference)
        rows.append([dt, int(sure.sum()), int(same.sum()), float(np.median(far)), float(far.max()),
                     float(np.median(error))])  # fmt: skip
    table(["Möbius, dt", "points with a sure sign", "same sign", "median difference",
           "largest difference", "median standard error (RK4)"], rows)  # fmt: skip


def _plane_connectome(ng: Any) -> Any:
    """The paper's connectome where the environment says where it is, the embedded one otherwise."""
    folder = os.environ.get("AAL90")
    if folder is None:
        return ng.Connectome.load("hcp-schaefer100").normalised()
    return ng.Connectome.load("aal90", cache_dir=folder, order="source").normalised()


def _differences(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Differences of the replicates' means (point, replicate, …) in their standard errors."""
    n = a.shape[1]
    error = np.sqrt((a.var(axis=1, ddof=1) + b.var(axis=1, ddof=1)) / n)
    least = 1e-3 * b.mean(axis=1).std()
    return (a.mean(axis=1) - b.mean(axis=1)) / np.sqrt(error**2 + least**2)


def _leading(ng: Any, network: Any, design: Any, dt: float) -> np.ndarray:
    """The leading exponent of the Möbius map itself, by a tangent of its whole memory."""
    import jax
    import jax.numpy as jnp

    from ngnmm_jax._core.parameters import with_leaves
    from ngnmm_jax.chaos.lanes import starts_of
    from ngnmm_jax.integrators import Moebius

    points, seeds = design.at(np.arange(design.count))
    start = jnp.moveaxis(jnp.asarray(starts_of(network.bare(), points, seeds)), 0, -1)
    system = with_leaves(network.bare().over_runs(), {k: jnp.asarray(v) for k, v in points.items()})
    stepper = Moebius().stepper(system, jnp.asarray(dt))

    def stretched(pair: Any, _: None) -> Any:
        def step(pair: Any, _: None) -> Any:
            (state, history, newest), (d_state, d_history) = pair
            moved, tangent = jax.jvp(
                lambda x, h: stepper.advance((x, h, newest), None)[:2],
                (state, history),
                (d_state, d_history),
            )
            return ((*moved, (newest - 1) % history.shape[0]), tangent), None

        (memory, tangent), _ = jax.lax.scan(step, pair, None, length=10)
        size = jnp.sqrt((tangent[0] ** 2).sum(axis=(0, 1)))
        return (memory, jax.tree.map(lambda t: t / size, tangent)), jnp.log(size)

    @jax.jit
    def run(start: Any) -> Any:
        memory = stepper.start(start)
        tangent = (jax.random.normal(jax.random.key(1), start.shape), jnp.zeros_like(memory[1]))
        _, logs = jax.lax.scan(stretched, (memory, tangent), None, length=round(300 / dt))
        before = round(100 / dt)
        return logs[before:].sum(axis=0) / ((logs.shape[0] - before) * 10 * dt)

    return np.asarray(run(start))


def main() -> None:
    print(f"Machine: {machine()}\n")
    speed()
    peers()
    memories()


if __name__ == "__main__":
    if "--agreement" in sys.argv:
        agreement()
    else:
        engine_or(main, ENGINES)
