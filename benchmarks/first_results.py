"""Seconds of processor time until the first result, and until the next one.

    python -m benchmarks.first_results                           # all cases: some 20 minutes
    python -m benchmarks.first_results --cases find_orbit,sweep --programs
    python -m benchmarks.first_results --json now.json --against before.json
    python -m benchmarks.first_results --source ../older         # another checkout's code

Each case imports the library, sets up and makes two calls, in a fresh process: without a persistent
cache of compiled programs; with one that is empty; with the one that the process before has
filled. The second call is the first one again, or as the table says. CPU seconds are user and
system time of all threads, import and set-up apart; `--programs` lists what was compiled.

On a machine that does other work too, threads of BLAS wait for each other and burn seconds: set
OPENBLAS_NUM_THREADS=1 there, before and after.

Only what the library offered at e212eb4 is used here, so that later ones can be compared with it.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

HERE = Path(__file__).resolve()

Call = Callable[[], Any]
Calls = tuple[Call, Call | None]


# ------------------------------------------------------------------------------------ cases
#
# A case sets up and returns its two calls. It runs in a worker, which has imported nothing.


def library() -> Any:
    """The package, with 64 bits."""
    import jax

    import ngnmm_jax

    jax.config.update("jax_enable_x64", True)
    return ngnmm_jax


def network(i_ext_e: float, coupling: float) -> Any:
    """README's network at a point of the plane, with a connectome of its own."""
    ng = library()
    connectome = ng.Connectome.load("hcp-schaefer100").normalised()
    return ng.Network(ng.NextGenEI(i_ext_e=i_ext_e), connectome, coupling=coupling)


def start(variables: int = 6, regions: int = 100) -> Any:
    """A state near rest, made without the library."""
    import numpy as np

    return np.random.default_rng(1).uniform(0.05, 0.1, size=(variables, regions))


def twice(call: Call) -> Calls:
    return call, call


def import_library() -> Calls:
    return lambda: __import__("ngnmm_jax"), None


def import_jax() -> Calls:
    return lambda: __import__("jax"), None


def find_equilibria() -> Calls:
    ng, node = library(), network(15.0, 9.0).homogeneous()
    return twice(lambda: ng.find_equilibria(node))


def network_equilibria() -> Calls:
    ng, first, second = library(), network(15.0, 9.0), network(15.0, 9.0)
    return lambda: ng.find_equilibria(first), lambda: ng.find_equilibria(second)


def initial_state() -> Calls:
    ng, whole = library(), network(15.0, 9.0)
    return twice(lambda: ng.initial_state(whole))


def simulate_fixed() -> Calls:
    ng, whole = library(), network(13.0, 5.0)
    return twice(lambda: ng.simulate(whole, 100.0, dt=0.05, start=start()))


def simulate_longer() -> Calls:
    ng, whole = library(), network(13.0, 5.0)

    def run(duration: float) -> Any:
        return ng.simulate(whole, duration, dt=0.05, start=start())

    return lambda: run(100.0), lambda: run(101.0)


def simulate_adaptive() -> Calls:
    ng, whole = library(), network(13.0, 5.0)
    return twice(lambda: ng.simulate(whole, 100.0, start=start()))


def adaptive_longer() -> Calls:
    ng, whole = library(), network(13.0, 5.0)
    return lambda: ng.simulate(whole, 100.0, start=start()), lambda: ng.simulate(
        whole, 101.0, start=start()
    )


def simulate_batch() -> Calls:
    import numpy as np

    ng, whole = library(), network(13.0, 5.0)

    def run(runs: int) -> Any:
        couplings = {"coupling": np.linspace(0.0, 12.0, runs)}
        return ng.simulate_batch(whole, couplings, 100.0, dt=0.05)

    return lambda: run(4), lambda: run(5)


def find_orbit() -> Calls:
    ng, node = library(), network(12.0, 8.0).homogeneous()
    return twice(lambda: ng.find_orbit(node))


def gradient_of_equilibria() -> Calls:
    import jax

    ng, whole = library(), network(15.0, 9.0)

    def rate(current: Any) -> Any:
        here = whole.with_parameters(i_ext_e=current).homogeneous()
        return ng.find_equilibria(here).states[0, 0]

    return lambda: jax.grad(rate)(15.0), lambda: jax.grad(rate)(14.9)


def gradient_of_orbit() -> Calls:
    import jax

    ng, whole = library(), network(12.0, 8.0)

    def period(current: Any) -> Any:
        return ng.find_orbit(whole.with_parameters(i_ext_e=current).homogeneous()).period

    return lambda: jax.grad(period)(12.0), lambda: jax.grad(period)(12.1)


def dispersion_at_rest() -> Calls:
    ng, whole = library(), network(15.0, 9.0)
    state = ng.find_equilibria(whole.homogeneous()).states[0]
    return twice(lambda: ng.dispersion(whole, state))


def dispersion_on_orbit() -> Calls:
    ng, whole = library(), network(12.0, 8.0)
    orbit = ng.find_orbit(whole.homogeneous())
    return twice(lambda: ng.dispersion(whole, orbit))


def dispersion_map() -> Calls:
    import numpy as np

    ng, whole = library(), network(12.0, 8.0)
    plane = {"i_ext_e": np.linspace(0.0, 16.0, 5), "coupling": np.linspace(0.0, 30.0, 5)}
    return twice(lambda: ng.dispersion_map(whole, plane, progress=False))


def lyapunov_spectrum() -> Calls:
    ng, node = library(), network(10.0, 12.0).homogeneous()
    return twice(
        lambda: ng.lyapunov_spectrum(node, duration=500.0, transient=100.0, progress=False)
    )


def lyapunov_map() -> Calls:
    import numpy as np

    ng, node = library(), network(10.0, 12.0).homogeneous()
    line, window = {"i_ext_e": np.linspace(8.5, 12.0, 3)}, {"duration": 100.0, "transient": 20.0}
    return twice(lambda: ng.lyapunov_map(node, line, progress=False, **window))


def continue_equilibria() -> Calls:
    ng, node = library(), network(15.0, 12.0).homogeneous()
    return twice(lambda: ng.continue_equilibria(node, {"i_ext_e": (0.0, 16.0)}))


def continue_cycles() -> Calls:
    ng, node = library(), network(10.0, 5.0).homogeneous()
    orbit = ng.find_orbit(node)
    return twice(lambda: ng.continue_cycles(node, {"i_ext_e": (5.0, 15.0)}, start=orbit))


def sweep() -> Calls:
    ng, whole = library(), network(13.0, 5.0)
    plane = ng.Design.grid({"i_ext_e": [4.0, 12.0], "coupling": [2.0, 8.0]})
    activity = ng.Activity(duration=200.0, transient=50.0)
    return twice(lambda: ng.sweep(whole, plane, activity, progress=False))


def driven() -> Any:
    """README's network at rest, with white noise on every region's input."""
    import numpy as np

    return library().Driven(network(2.0, 9.0), {"input": np.full(100, 0.001)})


def linear_response() -> Calls:
    ng, first, second = library(), driven(), driven()

    def respond(system: Any) -> Any:
        return ng.linear_response(system, [10.0, 40.0, 80.0], variable="s_e")

    return lambda: respond(first), lambda: respond(second)


def fit() -> Calls:
    import numpy as np

    ng, system = library(), driven()
    losses, unknown = ng.fitting.losses, {"coupling": ng.fitting.interval(0, 30)}
    target = np.asarray(ng.Connectome.load("hcp-schaefer100").functional_connectivity)

    def loss(system: Any, key: Any) -> Any:
        found = ng.linear_response(system, variable="s_e", stability=False, throw=False)
        return losses.fc_correlation(found.fc, target)

    return twice(lambda: ng.fit(system, unknown, loss, steps=5, progress=False))


def simulate_spiking() -> Calls:
    ng, node = library(), network(9.5, 12.0).homogeneous()
    return twice(lambda: ng.simulate_spiking(node, 20.0, neurons=200, progress=False))


def own_model() -> Any:
    """A reader's own mass of ten variables, at rest, written as README shows.

    An excitatory and an inhibitory QIF population, each with a synapse of order two and adaptation.
    """
    ng = library()
    import jax
    import jax.numpy as jnp

    from ngnmm_jax.models import parameter

    class Adapting(ng.AbstractNeuralMass):  # type: ignore[name-defined]
        variables = tuple(f"{name}_{kind}" for kind in "ei" for name in "rvsza")
        units = ("1/ms", "1", "1/ms", "1/ms²", "1") * 2
        time_unit = "ms"
        shown, shown_unit = "v_e", "1"
        nonnegative = ("r_e", "r_i")

        eta: jax.Array = parameter(-8.0, unit="1", doc="centre of the excitabilities")
        j: jax.Array = parameter(10.0, unit="1", doc="excitation of excitatory neurons")

        def vector_field(self, state: Any, drive: Any) -> Any:
            r_e, v_e, s_e, z_e, a_e, r_i, v_i, s_i, z_i, a_i = state
            tau, pi = 8.0, jnp.pi
            to_e = self.eta - a_e + tau * (self.j * s_e - 13 * s_i + drive)
            to_i = self.eta - a_i + tau * (13 * s_e - 5 * s_i + drive)
            return jnp.stack(
                [
                    (1 / (pi * tau) + 2 * r_e * v_e) / tau,
                    (v_e**2 - (pi * tau * r_e) ** 2 + to_e) / tau,
                    z_e,
                    (r_e - 4 * z_e - s_e) / 4.0,
                    (5 * r_e - a_e) / 100.0,
                    (1 / (pi * tau) + 2 * r_i * v_i) / tau,
                    (v_i**2 - (pi * tau * r_i) ** 2 + to_i) / tau,
                    z_i,
                    (r_i - 10 * z_i - s_i) / 25.0,
                    (5 * r_i - a_i) / 100.0,
                ]
            )

        def output(self, state: Any) -> Any:
            return state[2]

        def search_box(self) -> Any:
            high = jnp.array([0.2, 0.0, 0.2, 0.0, 1.0] * 2)
            return jnp.array([0.0, -5.0, 0.0, 0.0, 0.0] * 2), high

    connectome = ng.Connectome.load("hcp-schaefer100").normalised()
    return ng.Network(Adapting(), connectome, coupling=0.0).homogeneous()


def own_equilibria() -> Calls:
    ng, node = library(), own_model()
    return twice(lambda: ng.find_equilibria(node))


def own_orbit() -> Calls:
    """That there is no orbit is the result."""
    ng, node = library(), own_model()
    return twice(lambda: ng.find_orbit(node, throw=False).status)


class Case(NamedTuple):
    calls: Callable[[], Calls]
    what: str
    second: str = "the same"


CASES: dict[str, Case] = {
    "import_jax": Case(import_jax, "`import jax`, of which the next has its share", "–"),
    "import": Case(import_library, "`import ngnmm_jax`", "–"),
    "find_equilibria": Case(find_equilibria, "`find_equilibria` of the homogeneous system"),
    "network_equilibria": Case(
        network_equilibria, "`find_equilibria` of 100 regions", "equal network, new `Connectome`"
    ),
    "initial_state": Case(initial_state, "`initial_state` of 100 regions"),
    "simulate_fixed": Case(simulate_fixed, "`simulate(dt=…)`, 100 ms"),
    "simulate_longer": Case(simulate_longer, "`simulate(dt=…)`, 100 ms", "101 ms"),
    "simulate_adaptive": Case(simulate_adaptive, "adaptive `simulate`, 100 ms"),
    "adaptive_longer": Case(adaptive_longer, "adaptive `simulate`, 100 ms", "101 ms"),
    "simulate_batch": Case(simulate_batch, "`simulate_batch` of 4", "of 5"),
    "find_orbit": Case(find_orbit, "`find_orbit`"),
    "gradient_of_equilibria": Case(
        gradient_of_equilibria, "`jax.grad` through `find_equilibria`", "of another value"
    ),
    "gradient_of_orbit": Case(
        gradient_of_orbit, "`jax.grad` through `find_orbit`", "of another value"
    ),
    "dispersion_at_rest": Case(dispersion_at_rest, "`dispersion` of an equilibrium"),
    "dispersion_on_orbit": Case(dispersion_on_orbit, "`dispersion` of an orbit"),
    "dispersion_map": Case(dispersion_map, "`dispersion_map` of 5 × 5"),
    "lyapunov_spectrum": Case(lyapunov_spectrum, "`lyapunov_spectrum`, homogeneous"),
    "lyapunov_map": Case(lyapunov_map, "`lyapunov_map` of 3, homogeneous"),
    "continue_equilibria": Case(continue_equilibria, "`continue_equilibria`"),
    "continue_cycles": Case(continue_cycles, "`continue_cycles` from an orbit, both ways"),
    "sweep": Case(sweep, "`sweep` of 4, `Activity`"),
    "fit": Case(fit, "`fit`, 5 steps through `linear_response`"),
    "linear_response": Case(
        linear_response, "`linear_response` of 100 regions", "equal network, new `Connectome`"
    ),
    "simulate_spiking": Case(simulate_spiking, "`simulate_spiking`, 2 × 200 neurons, 20 ms"),
    "own_equilibria": Case(own_equilibria, "own model of 10 variables: `find_equilibria`"),
    "own_orbit": Case(own_orbit, "own model of 10 variables, at rest: `find_orbit`"),
}


# ----------------------------------------------------------------------------------- worker


class Programs:
    """What JAX traces, lowers and compiles, by program; the same function twice counts as two.

    What is traced inside another trace or while lowering is part of that; what is compiled
    inside a trace is not.
    """

    kinds: ClassVar[dict[str, str]] = {
        "/jax/core/compile/jaxpr_trace_duration": "trace",
        "/jax/core/compile/jaxpr_to_mlir_module_duration": "lower",
        "/jax/core/compile/backend_compile_duration": "compile",
    }

    def __init__(self) -> None:
        self.done: dict[int, list[tuple[float, float, float, str, str, bool]]] = {}
        self.hits: dict[int, int] = {}

    def listen(self) -> None:
        from jax import monitoring

        monitoring.register_event_duration_secs_listener(self.on_duration)
        monitoring.register_event_listener(self.on_event)

    def on_event(self, event: str, **_: Any) -> None:
        if event == "/jax/compilation_cache/cache_hits":
            thread = threading.get_ident()
            self.hits[thread] = self.hits.get(thread, 0) + 1

    def on_duration(self, event: str, duration_secs: float, **labels: Any) -> None:
        kind = self.kinds.get(event)
        if kind is None:
            return
        thread = threading.get_ident()
        past = self.done.setdefault(thread, [])
        begun, inside = time.time() - duration_secs, 0.0
        kept: list[tuple[float, float, float, str, str, bool]] = []
        while past and past[-1][0] >= begun - 1e-5:
            child = past.pop()
            if kind == "trace" and child[3] != "trace":
                inside += child[1]
                kept.append(child)
        past.extend(reversed(kept))
        name = str(labels.get("fun_name", "?"))
        name = name.removeprefix("jit(").removesuffix(")").removeprefix("jit_")
        cached = kind == "compile" and self.hits.pop(thread, 0) > 0
        past.append((begun, duration_secs - inside, duration_secs, kind, name, cached))

    def take(self) -> list[dict[str, Any]]:
        """By name, the longest first: how many, how many from the cache, seconds."""
        found: dict[str, dict[str, Any]] = {}
        blank = {"count": 0, "cached": 0, "trace": 0.0, "lower": 0.0, "compile": 0.0}
        for past in self.done.values():
            for _, seconds, _, kind, name, cached in past:
                entry = found.setdefault(name, {"name": name, **blank})
                entry[kind] += seconds
                entry["count"] += kind == "compile"
                entry["cached"] += cached
            past.clear()
        return sorted(found.values(), key=lambda e: -e["trace"] - e["lower"] - e["compile"])


def now() -> tuple[float, float]:
    """CPU seconds of this process, its threads and finished children; and the clock's."""
    usages = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in usages), time.perf_counter()


def work(name: str) -> None:
    """Run one case, and print a line of JSON after each of its phases."""
    calls = CASES[name].calls
    programs = Programs()

    def phase(what: str, call: Call, wait: bool = True) -> Any:
        cpu, clock = now()
        result = call()
        if wait:
            import jax

            result = jax.block_until_ready(result)
        after, end = now()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        report = {"cpu": after - cpu, "wall": end - clock, "peak_mib": peak}
        print(json.dumps({what: {**report, "programs": programs.take()}}), flush=True)
        return result

    if name.startswith("import"):
        phase("first", calls()[0], wait=False)
        return
    package = phase("import", library, wait=False)
    print(json.dumps({"package": package.__file__}), flush=True)
    programs.listen()
    first, second = phase("setup", calls)
    phase("first", first)
    if second is not None:
        phase("second", second)


# ------------------------------------------------------------------------------ measurement


def in_worker(name: str, source: Path | None, cache: Path | None, timeout: float) -> dict[str, Any]:
    """What one case's worker reports; with "ended" where it failed or took too long."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("JAX_COMPILATION_CACHE", "JAX_PERSISTENT_CACHE", "JAX_ENABLE_COMPI"))
    }
    environment["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if source is not None:
        environment["PYTHONPATH"] = str(source)
    if cache is None:
        environment["JAX_ENABLE_COMPILATION_CACHE"] = "false"
    else:
        environment["JAX_COMPILATION_CACHE_DIR"] = str(cache)
        environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
    # Not as a module, and with -P: neither this checkout nor this folder comes before `source`.
    command = [sys.executable, "-P", str(HERE), "--worker", name]
    found: dict[str, Any] = {}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        try:
            options: dict[str, Any] = {"stdout": out, "stderr": err, "cwd": tempfile.gettempdir()}
            options |= {"env": environment, "timeout": timeout, "check": False}
            code = subprocess.run(command, **options).returncode
        except subprocess.TimeoutExpired:
            code, found["ended"] = None, f"> {timeout:.0f} s"
        out.seek(0)
        for line in out.read().splitlines():
            if line.startswith("{"):
                found |= json.loads(line)
        if code:
            err.seek(0)
            found["ended"] = " ".join(err.read().strip().splitlines()[-1:])[:200] or f"exit {code}"
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found["process_cpu"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return found


def best(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The run with the fewest CPU seconds in all, of those that came to an end."""
    ended = [run for run in runs if "ended" not in run] or runs
    return min(ended, key=lambda run: run["process_cpu"])


def measure(name: str, source: Path | None, given: argparse.Namespace) -> dict[str, Any]:
    """One case: by cache ("none", "empty", "filled"), what its workers report."""
    result: dict[str, Any] = {}

    def note(kind: str, runs: list[dict[str, Any]]) -> bool:
        result[kind] = best(runs)
        first = result[kind].get("first", {}).get("cpu", float("nan"))
        print(
            f"  {name}, cache {kind}: {first:.2f}", result[kind].get("ended", ""), file=sys.stderr
        )
        return "ended" not in result[kind]

    def run(cache: Path | None) -> dict[str, Any]:
        return in_worker(name, source, cache, given.timeout)

    if "none" in given.cache and not note("none", [run(None) for _ in range(given.repeat)]):
        return result  # it would not come to an end with a cache that is empty, either
    if "filled" in given.cache:
        empty, filled = [], []
        for _ in range(given.repeat):
            with tempfile.TemporaryDirectory() as folder:
                empty.append(run(Path(folder)))
                filled.append(run(Path(folder)))
        note("empty", empty)
        note("filled", filled)
    return result


# ---------------------------------------------------------------------------------- results


def seconds(result: dict[str, Any], cache: str, phase: str, clock: str = "cpu") -> float | str:
    """CPU or wall seconds; how it ended in place of the phase that did not; a dash if not run."""
    run = result.get(cache, {})
    if phase in run:
        return round(run[phase][clock], 2)
    came = [p for p in ("import", "setup", "first", "second") if p in run]
    following = {"import": "setup", "setup": "first", "first": "second"}
    missed = following.get(came[-1], "") if came else "import"
    return run["ended"] if "ended" in run and missed == phase else "–"


def show(found: dict[str, Any]) -> None:
    from benchmarks.common import table

    header = ["case", "first", "wall", "second", "wall", "second is", "set-up"]
    header += ["programs", "compiling", "empty cache: first", "filled: first", "wall", "from it"]
    rows = []
    for name, result in found["cases"].items():
        compiled = result.get("none", {}).get("first", {}).get("programs", [])
        again = result.get("filled", {}).get("first", {}).get("programs", [])
        times = [
            seconds(result, "none", phase, clock)
            for phase in ("first", "second")
            for clock in ("cpu", "wall")
        ]
        rows.append(
            [
                CASES[name].what if name in CASES else name,
                *times,
                CASES[name].second if name in CASES else "",
                seconds(result, "none", "setup"),
                sum(p["count"] for p in compiled),
                round(sum(p["trace"] + p["lower"] + p["compile"] for p in compiled), 2),
                seconds(result, "empty", "first"),
                seconds(result, "filled", "first"),
                seconds(result, "filled", "first", "wall"),
                f"{sum(p['cached'] for p in again)} of {sum(p['count'] for p in again)}",
            ]
        )
    print(
        f"{found['machine']}\n{found['package']}\n\n"
        "CPU seconds (wall: of the clock) of the first and the second call in a fresh process, "
        "without a persistent cache; programs compiled in the first, and seconds of the clock "
        "spent on tracing, lowering and compiling them. Then with a cache: empty, and "
        "filled by that process, with how many programs came from it.\n"
    )
    table(header, rows)


def show_programs(found: dict[str, Any], most: int = 12) -> None:
    from benchmarks.common import table

    for name, result in found["cases"].items():
        for kind in ("none", "filled"):
            for phase in ("setup", "first", "second"):
                programs = result.get(kind, {}).get(phase, {}).get("programs", [])
                total = sum(p["trace"] + p["lower"] + p["compile"] for p in programs)
                if total < 0.2:
                    continue
                count = sum(p["count"] for p in programs)
                print(f"{name}, {phase}, cache {kind}: {count} programs, {total:.2f} s\n")
                header = ["program", "count", "from cache", "trace", "lower", "compile"]
                rows = [
                    [p["name"], p["count"], p["cached"]]
                    + [round(p[key], 2) for key in ("trace", "lower", "compile")]
                    for p in programs[:most]
                ]
                table(header, rows)


def compare(found: dict[str, Any], earlier: dict[str, Any]) -> None:
    from benchmarks.common import table

    print(f"Against {earlier['package']}: CPU seconds then, now, and their ratio.\n")
    header, rows = ["case"], []
    shown = (("none", "first"), ("none", "second"), ("filled", "first"))
    for cache, phase in shown:
        header += [f"{phase}, {'no cache' if cache == 'none' else 'filled cache'}", "now", "ratio"]
    for name, result in found["cases"].items():
        if name not in earlier["cases"]:
            continue
        row: list[Any] = [name]
        for cache, phase in shown:
            then = seconds(earlier["cases"][name], cache, phase)
            here = seconds(result, cache, phase)
            row += [then, here]
            numbers = isinstance(then, float) and isinstance(here, float) and here > 0.05
            row.append(f"{then / here:.1f}" if numbers else "–")  # type: ignore[operator]
        rows.append(row)
    table(header, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--worker", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--cases", type=lambda text: text.split(","), default=list(CASES))
    parser.add_argument("--cache", type=lambda text: text.split(","), default=["none", "filled"])
    parser.add_argument("--repeat", type=int, default=1, help="processes; the quickest counts")
    parser.add_argument("--timeout", type=float, default=240.0, help="seconds for a process")
    parser.add_argument("--source", type=Path, help="checkout of which the package is measured")
    parser.add_argument("--json", type=Path, help="where the results go")
    parser.add_argument("--against", type=Path, help="results of before, to compare with")
    parser.add_argument("--programs", action="store_true", help="list what was compiled")
    parser.add_argument("--show", type=Path, help="measure nothing: show these results")
    given = parser.parse_args()
    if given.worker is not None:
        return work(given.worker)
    for name in given.cases:
        if name not in CASES:
            parser.error(f"no case {name!r}; there are {', '.join(CASES)}")
    if given.show is not None:
        found = json.loads(given.show.read_text())
    else:
        from benchmarks.common import machine

        # By default this checkout, or what PYTHONPATH names.
        own = None if os.environ.get("PYTHONPATH") else HERE.parents[1]
        source = given.source.resolve() if given.source else own
        threads = os.environ.get("OPENBLAS_NUM_THREADS", "as many as cores")
        machine_is = f"{machine()}; BLAS threads: {threads}"
        found = {"machine": machine_is, "package": "?", "cases": {}}
        for name in given.cases:
            result = found["cases"][name] = measure(name, source, given)
            packages = [run["package"] for run in result.values() if "package" in run]
            found["package"] = packages[0] if packages else found["package"]
            if given.json is not None:
                given.json.write_text(json.dumps(found, indent=1))
    show(found)
    if given.programs:
        show_programs(found)
    if given.against is not None:
        compare(found, json.loads(given.against.read_text()))


if __name__ == "__main__":
    main()
