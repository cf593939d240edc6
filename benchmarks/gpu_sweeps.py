"""Sweeps on a GPU: network-steps a second, share of the bound, and where the time of a step goes.

What is timed is the compiled loop of a sweep (`ngnmm_jax.sweeps.streaming`) with the summaries that
`Activity` keeps by default, at so many runs: no starts, no blocks, no copies to the host. What the
whole call `ng.sweep` takes beside it is among the analyses.
"""

import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import ngnmm_jax as ng
from benchmarks.gpu_record import Record, Size, Skip, finite_share
from benchmarks.simulation import weights
from ngnmm_jax._core.compiling import options
from ngnmm_jax.integrators import Fused
from ngnmm_jax.simulation.precision import cast
from ngnmm_jax.sweeps.fused import fused as fusion
from ngnmm_jax.sweeps.streaming import Shared, streamed
from ngnmm_jax.systems.driven import driven, noise_key

# Network-steps a second that the data sheets allow (90 regions, one dense product a step), lowest
# and highest estimate: in one fused kernel, and with every array through the memory each step.
_FUSED = {32: (2e9, 3e9), 64: (1e9, 2.5e9)}
_UNFUSED = {32: 5e8, 64: 2.6e8}
#: Memory bandwidth in units of the H100's, which the unfused bound goes with.
CARDS = {"H100": 1.0, "H200": 4.8 / 3.35}
# RK4 has four products a step, and four times the traffic.
_PRODUCTS = {"moebius": 1, "rk4": 4}
# Runs by kernels are so much longer: a launch is of a whole window.
_LONGER = 8
# Programs that XLA compiles at the same time.
_COMPILERS = 5


def bounds(card: str, bits: int, method: str) -> dict[str, Any] | None:
    """Estimated network-steps a second: fused (low, high) and unfused; None for other cards."""
    known = next((factor for name, factor in CARDS.items() if name in card), None)
    if known is None:
        return None
    n = _PRODUCTS[method]
    return {"fused": [b / n for b in _FUSED[bits]], "unfused": known * _UNFUSED[bits] / n}


class Loop:
    """The compiled loop of a sweep at so many runs, by XLA or with a kernel for its steps.

    - `fused`: where the kernel is: "gpu", "host", or "" for XLA.
    """

    def __init__(
        self, size: Size, bits: int, method: str, dt: float, runs: int, fused: str = ""
    ) -> None:
        network = ng.Network(ng.NextGenEI(i_ext_e=12.0), weights(size.regions), 8.0)
        dtype = jnp.dtype(f"float{bits}")
        integrator = Fused(method, on=fused) if fused else method
        duration = size.duration * (_LONGER if fused == "gpu" else 1)
        activity = ng.Activity(duration, 0.0, integrator=integrator, dt=dt, dtype=str(dtype))
        plan, _ = activity.plan(network)
        self.runs, self.fused = runs, fused
        self.steps = plan.stride * plan.layout.samples
        self.lanes = partial(_lanes, runs, size.regions, dtype)
        self.function, arrays = streamed(plan, dtype)
        core = driven(cast(network.bare(), dtype))
        self.shared = Shared(core, jnp.asarray(dt, dtype), plan.steps, arrays)
        self.compiled: Any = None
        self.compile_seconds = 0.0

    def compile(self) -> "Loop":
        """What is to be called with `shared` and lanes."""
        begun = time.perf_counter()
        if self.fused:
            lanes = jax.jit(self.lanes)()
            kernel = fusion(self.function, self.shared, lanes, self.runs)
            assert kernel is not None
            self.compiled = lambda shared, lanes: kernel.chunk(lanes)
            jax.block_until_ready(self.compiled(self.shared, lanes))
        else:
            jitted = jax.jit(self.function, compiler_options=options(jax.devices()[0].platform))
            lowered = jitted.lower(self.shared, jax.eval_shape(self.lanes))
            self.compiled = lowered.compile()
        self.compile_seconds = time.perf_counter() - begun
        return self

    def details(self) -> dict[str, Any]:
        """What XLA says of its program."""
        if self.fused:
            return {}
        memory = self.compiled.memory_analysis()
        return {
            "temporary_bytes": getattr(memory, "temp_size_in_bytes", None),
            "kernels_a_step": kernels_a_step(self.compiled.as_text()),
        }


def _lanes(runs: int, regions: int, dtype: Any) -> dict[str, Any]:
    """Parameters, initial states near rest and keys (run, …)."""
    rest = jnp.asarray([0.02, -1.0, 0.02, 0.03, -1.0, 0.03])[:, None]
    noise = 0.01 * jax.random.normal(jax.random.key(0), (runs, 6, regions))
    return {
        "point": {"i_ext_e": jnp.linspace(5.0, 15.0, runs).astype(dtype)},
        "start": (rest + jnp.abs(noise)).astype(dtype),
        "key": jax.vmap(noise_key)(jnp.arange(runs)),
    }


def sweeps(record: Record, size: Size) -> None:
    """Part: the rate at each number of runs, method and precision."""
    card = jax.devices()[0].device_kind
    for fused in (_fused_here(), ""):
        for bits in size.bits:
            for method, dt in size.methods:
                _rates(record, size, card, (bits, method, dt, fused))


def _fused_here() -> str:
    return "gpu" if jax.devices()[0].platform == "gpu" else "host"


def _rates(record: Record, size: Size, card: str, what: tuple[int, str, float, str]) -> None:
    bits, method, dt, fused = what
    # A kernel's steps on a host are a rehearsal.
    counts = (4,) if fused == "host" else size.runs
    loops = [Loop(size, bits, method, dt, runs, fused) for runs in counts]
    with ThreadPoolExecutor(_COMPILERS) as pool:
        list(pool.map(_tried, loops))
    for loop in loops:
        name = f"{method}, fused" if fused else method
        row = {"bits": bits, "method": name, "dt": dt, "runs": loop.runs}
        try:
            found = _rate(loop, size.repeats)
        except Exception as error:  # out of memory, as a rule; the next one goes on
            record.row(**row, error=f"{type(error).__name__}: {error}"[:300])
            continue
        record.row(**row, **found, **_shares(card, bits, method, found["rate"]))


def _tried(loop: Loop) -> None:
    try:
        loop.compile()
    except Exception:  # it is tried again, and recorded, by itself
        loop.compiled = None


def _rate(loop: Loop, repeats: int) -> dict[str, Any]:
    if loop.compiled is None:
        loop.compile()
    lanes = jax.block_until_ready(jax.jit(loop.lanes)())
    finite = finite_share(loop.compiled(loop.shared, lanes)["v_e_mean"])
    times: list[float] = []
    while len(times) < repeats and sum(times) < 3.0:
        begun = time.perf_counter()
        jax.block_until_ready(loop.compiled(loop.shared, lanes))
        times.append(time.perf_counter() - begun)
    return {
        "steps": loop.steps,
        "seconds": min(times),
        "rate": loop.runs * loop.steps / min(times),
        "microseconds_a_step": 1e6 * min(times) / loop.steps,
        "compile": loop.compile_seconds,
        "finite": finite,
        **loop.details(),
    }


def _shares(card: str, bits: int, method: str, rate: float) -> dict[str, Any]:
    known = bounds(card, bits, method)
    if known is None:
        return {"bound": None, "share": None, "share_unfused": None}
    # Of the highest estimate: a share that errs errs to the low side.
    share = rate / known["fused"][1]
    return {"bound": known, "share": share, "share_unfused": rate / known["unfused"]}


# Instructions of HLO that launch nothing.
_FREE = ("parameter", "get-tuple-element", "tuple", "constant", "bitcast", "while", "conditional",
         "after-all", "partition-id", "call", "copy-done", "async-done")  # fmt: skip


def instructions(text: str) -> dict[str, list[tuple[str, str]]]:
    """By name of each computation of a program in HLO: opcode and line of its instructions."""
    found: dict[str, list[tuple[str, str]]] = {}
    lines: list[tuple[str, str]] = []
    for line in text.splitlines():
        head = re.match(r"(?:ENTRY )?%?([\w.\-]+) \(.*\{\s*$", line)
        if head:
            lines = found.setdefault(head[1], [])
            continue
        instruction = re.match(r"\s+(?:ROOT )?%?[\w.\-]+ = .*?[\])}] ([a-z][\w\-]*)\(", line)
        if instruction:
            lines.append((instruction[1], line))
    return found


def kernels_a_step(text: str) -> dict[str, int]:
    """Instructions that launch something, by kind, in the innermost loop that has most of them."""
    known = instructions(text)
    bodies = re.findall(r" while\(.*?body=%?([\w.\-]+)", text)

    def count(name: str) -> Counter[str]:
        kinds: Counter[str] = Counter()
        for opcode, line in known.get(name, []):
            if opcode == "call":
                kinds += count(re.search(r"to_apply=%?([\w.\-]+)", line)[1])  # type: ignore[index]
            elif opcode not in _FREE:
                target = re.search(r'custom_call_target="([^"]+)"', line)
                kinds[target[1] if target else opcode] += 1
        return kinds

    inner = [b for b in bodies if not any(op == "while" for op, _ in known.get(b, []))]
    return dict(max((count(b) for b in inner), key=lambda c: sum(c.values()), default={}))


def where(record: Record, size: Size) -> None:
    """Part: what one step launches, how busy the device is meanwhile, what goes to the host."""
    looks: dict[str, Callable[[], dict[str, Any]]] = {}
    for bits in size.bits:
        for method, dt in size.methods:
            name = f"{method}, {bits} bits, {size.profiled} runs"
            looks[name] = partial(_loop_profiled, name, size, bits, method, dt)
    if size.works != "tiny":
        for name, (work, steps) in _analyses(size.regions).items():
            looks[name] = partial(profiled, name, work, steps)
    record.plan(size.chosen(looks))
    for name in list(record.data["plan"]):
        record.begin(name)
        record.row(**looks[name]())


def _loop_profiled(name: str, size: Size, bits: int, method: str, dt: float) -> dict[str, Any]:
    loop = Loop(size, bits, method, dt, size.profiled).compile()
    lanes = jax.block_until_ready(jax.jit(loop.lanes)())
    found = profiled(name, partial(loop.compiled, loop.shared, lanes), loop.steps)
    return {**found, "hlo": kernels_a_step(loop.compiled.as_text())}


def _analyses(regions: int) -> dict[str, tuple[Callable[[], Any], int]]:
    """By name: an analysis, and how many steps it is counted as."""
    network = ng.Network(ng.NextGenEI(), weights(regions), 8.0)
    points = ng.Design.listed({"i_ext_e": np.linspace(1.0, 15.0, 256)})
    axes = {"i_ext_e": np.linspace(9.0, 12.0, 64)}
    # As close to each other as in the whole map; all oscillate.
    plane = {"i_ext_e": 13.0 + 0.05 * np.arange(8), "coupling": 5.0 + 0.05 * np.arange(8)}
    moving = ng.Network(ng.NextGenEI(i_ext_e=13.0), weights(regions), 5.0).homogeneous()

    def stability() -> Any:
        return ng.sweep(network, points, ng.Stability(), progress=False).growth_transverse.values

    def chaos() -> Any:
        inner = network.homogeneous()
        return ng.lyapunov_map(inner, axes, duration=10.0, transient=1.0, dt=0.05, progress=False)

    return {
        "find_orbit": (lambda: ng.find_orbit(moving).period, 1),
        "dispersion_map, 64 points": (
            lambda: ng.dispersion_map(network, plane, progress=False).growth_transverse, 1),
        "Stability, 256 points": (stability, 1),
        "lyapunov_map, 64 points": (chaos, 220),
    }  # fmt: skip


def profiled(name: str, work: Any, steps: int) -> dict[str, Any]:
    """One call, already compiled, under JAX's profiler."""
    jax.block_until_ready(work())
    # Of the host nothing, if the profiler then sees the GPU: on a CPU a map that takes 0.3 s took
    # 11 s with the host's events.
    for host in (0, 2):
        seconds, events = _traced(work, host)
        if events or jax.devices()[0].platform == "cpu":
            break
    found = _summary(events, steps)
    row = {"name": name, "steps": steps, "seconds_traced": seconds}
    return {**row, **found, "words": _words(found)}


def _traced(work: Any, host: int) -> tuple[float, list[tuple[str, float, float]]]:
    """Seconds of a call with the profiler's own, and what the GPU did; `host`: the host's level."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        options = jax.profiler.ProfileOptions()
        options.python_tracer_level, options.host_tracer_level = 0, host
        with jax.profiler.trace(folder, profiler_options=options):
            jax.block_until_ready(work())
        return time.perf_counter() - begun, device_events(Path(folder))


def device_events(folder: Path) -> list[tuple[str, float, float]]:
    """Name, begin and length (µs) of all that a GPU did, of a trace; empty without a GPU."""
    return [
        (event.name, event.start_ns / 1e3, event.duration_ns / 1e3)
        for path in folder.rglob("*.xplane.pb")
        for plane in jax.profiler.ProfileData.from_file(str(path)).planes
        if plane.name.startswith("/device:GPU")
        for line in plane.lines
        if line.name.startswith("Stream")  # other lines repeat them by operation and module
        for event in line.events
    ]


def _summary(events: list[tuple[str, float, float]], steps: int) -> dict[str, Any]:
    if not events:
        return {"device_events": 0}
    count: dict[str, int] = {}
    spent: dict[str, float] = {}
    for name, _, length in events:
        count[name] = count.get(name, 0) + 1
        spent[name] = spent.get(name, 0.0) + length
    span = max(t + d for _, t, d in events) - min(t for _, t, _ in events)
    longest = sorted(spent, key=lambda name: -spent[name])[:6]
    return {
        "device_events": len(events),
        "events_a_step": len(events) / steps,
        "span_microseconds": span,
        "busy_share": sum(spent.values()) / max(span, 1e-3),
        "copies": {name: n for name, n in count.items() if name.lower().startswith("memcpy")},
        "longest": [[name[:80], count[name], spent[name]] for name in longest],
    }


def _words(found: dict[str, Any]) -> str:
    if not found["device_events"]:
        return "The trace has no GPU."
    name, launches, spent = found["longest"][0]
    copies = ", ".join(f"{n} {kind}" for kind, n in found["copies"].items()) or "none"
    busy, share = found["busy_share"], spent / max(found["span_microseconds"], 1e-3)
    bound = "launches decide" if busy < 0.5 else "what the kernels do decides"
    return (
        f"{found['events_a_step']:.1f} kernels and copies a step; the device works {busy:.0%} of "
        f"the time, so {bound}; most goes to {name} ({launches} launches, {share:.0%}); "
        f"copies: {copies}."
    )


def device(record: Record, size: Size) -> None:
    """Part: what the device is, and its own speed in the simplest things."""
    here = jax.devices()[0]
    memory = here.memory_stats() or {}
    record.put(
        kind=here.device_kind,
        platform=here.platform,
        devices=len(jax.devices()),
        bytes_limit=memory.get("bytes_limit"),
    )
    # So large that what a call takes by itself, some tenth of a millisecond, does not count.
    n = {"full": 2**30, "quick": 2**22, "tiny": 2**12}[size.works]
    x = jnp.ones(n, jnp.float32)
    double = jax.jit(lambda x: 2 * x)
    record.put(
        copied_bytes=x.nbytes,
        copy_bytes_a_second=2 * x.nbytes / _best(lambda: double(x), size.repeats),
    )
    columns = n // 2**8
    for bits in (32, 64):
        w = jnp.asarray(weights(90), f"float{bits}")
        s = jnp.ones((90, columns), w.dtype) / 3
        product = jax.jit(partial(jnp.matmul, precision="highest"))
        rate = 2 * 90 * 90 * columns / _best(lambda w=w, s=s, p=product: p(w, s), size.repeats)
        record.put(**{f"product_flops_{bits}": rate})
    loops = 2000 if size.works != "tiny" else 20
    small = jnp.ones((64, 64), jnp.float32) / 64
    chain = jax.jit(lambda x: jax.lax.fori_loop(0, loops, lambda _, y: small @ y, x))
    record.put(microseconds_a_loop=1e6 * _best(lambda: chain(small), size.repeats) / loops)
    one = jax.jit(lambda x: x + 1)
    record.put(
        microseconds_a_call_and_back=1e6 * _best(lambda: np.asarray(one(small)), size.repeats)
    )
    if here.platform == "cpu":
        raise Skip("no GPU: these are the CPU's")


def _best(work: Any, repeats: int) -> float:
    jax.block_until_ready(work())
    times = []
    for _ in range(max(3, repeats)):
        begun = time.perf_counter()
        jax.block_until_ready(work())
        times.append(time.perf_counter() - begun)
    return min(times)
