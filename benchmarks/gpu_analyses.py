"""Seconds of each analysis on the device: the first call, what of it is compilation, and again."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import ngnmm_jax as ng
from benchmarks.gpu_record import Record, Size, Skip, timed
from benchmarks.simulation import weights
from ngnmm_jax.fitting import simulated

# A work is not begun with fewer seconds left than this.
_LEAST = 5.0


def network(regions: int, current: float = 13.0, coupling: float = 5.0) -> ng.Network:
    """A network at a point of the paper's plane, by default one that oscillates."""
    matrix = weights(regions) if regions > 1 else np.ones((1, 1))
    return ng.Network(ng.NextGenEI(i_ext_e=current), matrix, coupling)


def activity(runs: int, integrator: Any = None) -> Callable[[], Any]:
    """`ng.sweep` as a user calls it, starts and copies included: 2 s each, 32 bits."""
    design = ng.Design.listed({"i_ext_e": np.linspace(5.0, 15.0, runs)})
    duration = 2000.0 if runs > 8 else 16.0
    measure = ng.Activity(duration, 0.0, integrator=integrator, dtype="float32")
    options: dict[str, Any] = {"checks": 0, "progress": False, "block": runs}

    def work() -> Any:
        found = ng.sweep(network(90, 12.0, 8.0), design, measure, **options)
        return {name: value.values for name, value in found.data_vars.items()}

    return work


def spiking(neurons: int) -> Callable[[], Any]:
    """20 ms of so many neurons in each of two populations, 32 bits, from a fixed state."""
    node = network(1).homogeneous()
    start = np.array([0.02, -1.0, 0.02, 0.03, -1.0, 0.03])
    # The fastest neurons want shorter steps, the more there are.
    dt = 0.05 / 2 ** max(0, round(np.log2(neurons / 4e5) / 2 + 0.5))
    options: dict[str, Any] = {"neurons": neurons, "start": start, "dtype": "float32", "dt": dt}
    return lambda: ng.simulate_spiking(node, 20.0, progress=False, **options).width_rates


def lyapunov_plane(side: int) -> Callable[[], Any]:
    """All six exponents of the homogeneous system over 100 ms, at side × side points."""
    axes = {"i_ext_e": np.linspace(8.5, 12.0, side), "coupling": np.linspace(9.0, 15.0, side)}
    options: dict[str, Any] = {"duration": 100.0, "transient": 20.0, "dt": 0.05}
    node = network(1).homogeneous()
    return lambda: ng.lyapunov_map(node, axes, progress=False, **options).spectra.exponents


def lyapunov_network(points: int) -> Callable[[], Any]:
    """20 exponents of 90 regions over 20 ms, at so many points."""
    axes = {"i_ext_e": np.linspace(9.0, 13.0, points)}
    options: dict[str, Any] = {"duration": 20.0, "transient": 2.0, "dt": 0.05}
    return lambda: (
        ng.lyapunov_map(network(90), axes, 20, progress=False, **options).spectra.exponents
    )


def stability(points: int) -> Callable[[], Any]:
    """Equilibria and the growth of 90 modes at so many points."""
    design = ng.Design.listed({"i_ext_e": np.linspace(0.0, 16.0, points)})
    system = network(90, 2.0)
    return lambda: ng.sweep(system, design, ng.Stability(), progress=False)["status"].values


def linear_fit(frequencies: int) -> Callable[[], Any]:
    """Value and gradient of a loss of the linear response, by 90 currents."""
    target = jnp.linspace(10.0, 120.0, frequencies)

    @jax.jit
    @jax.value_and_grad
    def loss(drive: jax.Array) -> jax.Array:
        system = ng.Driven(network(90, 2.0).with_parameters(i_ext_e=drive), {"input": 0.001})
        found = ng.linear_response(system, target, throw=False, stability=False)
        return jnp.log(found.power).mean() + (found.fc**2).mean()

    return lambda: loss(jnp.full(90, 2.0))


def simulated_fit(starts: int) -> Callable[[], Any]:
    """Value and gradient of the variance of 100 ms, by 90 currents, of so many starts at once."""

    def loss(drive: jax.Array) -> jax.Array:
        system = network(90).with_parameters(i_ext_e=drive)
        return jnp.var(simulated(system, jax.random.key(0), 100.0))

    function = jax.jit(jax.vmap(jax.value_and_grad(loss)))
    drives = 3.0 + 0.01 * jnp.arange(starts)[:, None] + jnp.zeros(90)
    return lambda: function(drives)


def equilibria(_: int) -> Callable[[], Any]:
    node = network(90).homogeneous()
    return lambda: ng.find_equilibria(node).states


def orbit(_: int) -> Callable[[], Any]:
    node = network(90).homogeneous()
    return lambda: ng.find_orbit(node).period


def orbit_modes(modes: int) -> Callable[[], Any]:
    """Floquet exponents of so many modes; building it takes an orbit."""
    found, values = ng.find_orbit(network(90).homogeneous()), np.linspace(-0.3, 1.0, modes)
    return lambda: ng.dispersion(network(90), found, lambdas=values).growth


def dispersion_map(points: int) -> Callable[[], Any]:
    """So many points of the paper's plane, as close as in the whole, equilibria and orbits."""
    columns = 0.05 * np.arange(max(1, round(points / 64)))
    axes = {"i_ext_e": 8.0 + columns, "coupling": 4.0 + 0.05 * np.arange(64)}
    return lambda: ng.dispersion_map(network(90), axes, progress=False).growth_transverse


@dataclasses.dataclass(frozen=True)
class Work:
    """What is timed, what its size counts, and the size on a GPU, on a CPU, in a look, a rehearsal.

    A size of zero leaves it out.
    """

    build: Callable[[int], Callable[[], Any]]
    unit: str
    full: int
    cpu: int
    quick: int
    tiny: int = 0


MAP = "dispersion_map"
#: In the order in which they are timed on a GPU; the map by its name, or with the whole plane.
WORKS = {
    "find_orbit": Work(orbit, "", 1, 1, 1),
    "dispersion on an orbit": Work(orbit_modes, "modes", 1000, 1000, 10),
    MAP: Work(dispersion_map, "points", 16 * 64, 16 * 64, 64),
    "ng.sweep, Activity, 2 s": Work(activity, "runs", 4096, 64, 16, 0),
    "ng.sweep, Activity, 2 s, fused": Work(
        partial(activity, integrator="fused"), "runs", 4096, 0, 0
    ),
    "simulate_spiking, 20 ms, 1e5": Work(spiking, "neurons", 100_000, 100_000, 1000, 50),
    "simulate_spiking, 20 ms, 1e6": Work(spiking, "neurons", 1_000_000, 0, 0),
    "simulate_spiking, 20 ms, 1e7": Work(spiking, "neurons", 10_000_000, 0, 0),
    "lyapunov_map, homogeneous": Work(lyapunov_plane, "points a side", 64, 64, 4),
    "lyapunov_map, 90 regions": Work(lyapunov_network, "points", 97, 6, 2),
    "Stability": Work(stability, "points", 4096, 4096, 8),
    "linear_response, gradient": Work(linear_fit, "frequencies", 10, 10, 2),
    "simulated, gradient": Work(simulated_fit, "starts", 32, 4, 1),
    "find_equilibria": Work(equilibria, "", 1, 1, 1, 1),
}
#: The whole plane.
PLANE = (321, 601)


def works(record: Record, size: Size, names: Sequence[str] = ()) -> None:
    """Part: each work by itself, until the time is over; what was not begun is said."""
    names = names or [name for name in WORKS if size.named or name != MAP]
    platform = jax.devices()[0].platform
    scale = "cpu" if platform == "cpu" and size.works == "full" else size.works
    amounts = {name: getattr(WORKS[name], scale) for name in size.chosen(names)}
    record.plan(name for name, amount in amounts.items() if amount)
    for name in list(record.data["plan"]):
        work, amount = WORKS[name], amounts[name]
        record.begin(name)
        row = {"name": name, "platform": platform, "size": amount, "unit": work.unit}
        if record.left < _LEAST:
            record.row(**row, error="no time left")
            continue
        try:
            record.row(**row, **timed(work.build(amount), size.repeats))
        except Exception as error:  # whatever it is, the next work goes on
            record.row(**row, error=f"{type(error).__name__}: {error}"[:300])
    if not record.data["rows"]:
        raise Skip("none of them has this size")


def on_cpu(record: Record, size: Size) -> None:
    """Part: the same on the CPU, and the map; what takes longest comes last."""
    last = ("ng.sweep, Activity, 2 s", MAP)
    works(record, size, (*(name for name in WORKS if name not in last), *last))


def plane(record: Record, size: Size) -> None:
    """Part: a share of the map, and what the whole would take if its points cost the same."""
    works(record, dataclasses.replace(size, named=()), (MAP,))
    row = record.data["rows"][0]
    if "again" not in row:
        raise RuntimeError(row["error"])
    expected = row["again"] * PLANE[0] * PLANE[1] / row["size"]
    record.put(plane=list(PLANE), expected_seconds=expected, expected_from=row["size"])
    if expected > record.left:
        record.put(plane_seconds=None, why_not=f"{record.left:.0f} s left, {expected:.0f} expected")
        return
    columns, rows = PLANE
    axes = {"i_ext_e": np.arange(columns) / 20, "coupling": np.arange(rows) / 20}
    whole = partial(ng.dispersion_map, network(90), axes, progress=False)
    record.put(plane_seconds=timed(lambda: whole().growth_transverse, 0)["first"])
