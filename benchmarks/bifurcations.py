"""Continuation: points per second on the model's branches, beside JaxCont where installed.

`python -m benchmarks.bifurcations`; JaxCont with `pip install --no-deps jaxcont==0.4.0`.
"""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import ngnmm_jax as ng
from benchmarks.common import engine_or, in_process, machine, table

jax.config.update("jax_enable_x64", True)

NAME, BOUNDS, COUPLING = "i_ext_e", (-5.0, 20.0), 9.0
# By SciPy at 1e-12 and by shooting, at i_ext_e = 9.
PERIOD = 18.744791345


def system(coupling: float) -> Any:
    return ng.Homogeneous(ng.NextGenEI(i_ext_e=-5.0), jnp.asarray(coupling))


def timed(work: Any) -> tuple[Any, float, float]:
    """A result, the seconds of the first call (it compiles), and the best of three more."""
    times = []
    for _ in range(4):
        begun = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - begun)
    return result, times[0], min(times[1:])


def ours() -> list[list[Any]]:
    rows = []
    node = system(COUPLING)
    rest, first, best = timed(lambda: ng.continue_equilibria(node, {NAME: BOUNDS}))
    rows.append(["equilibria, epsilon = 9", len(rest), first, best, len(rest) / best])
    hopf = rest.of_kind("hopf")[0]
    for steps, what in ((0.05, "default steps"), (0.002, "short steps")):
        cycles, first, best = timed(
            lambda steps=steps: ng.continue_cycles(node, {NAME: BOUNDS}, start=hopf, longest=steps)
        )
        label = f"cycles from the first Hopf point, {what}"
        rows.append([label, len(cycles), first, best, len(cycles) / best])
    plane = ((-5.0, 20.0), (0.0, 130.0))
    curve, first, best = timed(
        lambda: ng.continue_bifurcation(
            node, dict(zip((NAME, "coupling"), plane, strict=True)), hopf
        )
    )
    rows.append(["curve of Hopf points over the plane", len(curve), first, best, len(curve) / best])
    return rows


def jaxcont_equilibria() -> float:
    """Points per second of JaxCont's branch of equilibria, second call."""
    return _jaxcont(cycles=False)


def jaxcont_cycles() -> float:
    """Points per second of JaxCont's branch of cycles from an orbit, second call."""
    return _jaxcont(cycles=True)


def jaxcont_error() -> float:
    """Relative error of the period of the first cycle on JaxCont's uniform mesh of 64."""
    problem = _jaxcont_problem()
    return abs(float(problem.u0[-1]) / PERIOD - 1)


def _jaxcont_problem() -> Any:
    from jaxcont.core.collocation import Collocation
    from jaxcont.problems.periodic import periodic_orbit_problem

    node = ng.Homogeneous(ng.NextGenEI(i_ext_e=9.0), jnp.asarray(COUPLING))
    orbit = ng.find_orbit(node, steps=256)
    return periodic_orbit_problem(
        _field, orbit.samples, orbit.ts, float(orbit.period), 9.0, Collocation(ntst=64, ncol=4)
    )


def _field(state: jax.Array, value: jax.Array, _: Any) -> jax.Array:
    node = ng.Homogeneous(ng.NextGenEI(i_ext_e=value), jnp.asarray(COUPLING))
    return node.vector_field(state)


def _jaxcont(cycles: bool) -> float:
    import jaxcont as jc

    if cycles:
        problem, span, events = _jaxcont_problem(), (9.0, 12.0), [jc.Fold()]
        settings = jc.ContinuationPar(ds=0.05, ds_max=0.5, max_steps=20, newton_tol=1e-8)
    else:
        rest = ng.find_equilibria(system(COUPLING)).states[0]
        problem, span = jc.bif_problem(_field, rest, -5.0), (-5.0, 20.0)
        events = [jc.Fold(), jc.Hopf()]
        settings = jc.ContinuationPar(ds=0.1, ds_max=0.5, max_steps=500, newton_tol=1e-10)
    best = np.inf
    for _ in range(2):
        begun = time.perf_counter()
        result = jc.continuation(problem, p_span=span, settings=settings, events=events)
        best = time.perf_counter() - begun
    return result.branch.n_valid / best


ENGINES = {
    "jaxcont_equilibria": jaxcont_equilibria,
    "jaxcont_cycles": jaxcont_cycles,
    "jaxcont_error": jaxcont_error,
}


def main() -> None:
    print(f"Machine: {machine()}\n")
    header = ["branch", "points", "first call, s", "again, s", "points per second"]
    table(header, ours())
    rows = [[name, in_process("benchmarks.bifurcations", name)] for name in ENGINES]
    table(["JaxCont 0.4.0", "points per second (error: relative)"], rows)


if __name__ == "__main__":
    engine_or(main, ENGINES)
