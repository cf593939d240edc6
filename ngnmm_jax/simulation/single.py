"""Simulation of a network, or of its homogeneous reduction: one run."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.parameters import concrete_step
from ngnmm_jax._core.progress import progress_bar
from ngnmm_jax._core.randomness import first_step, noise_segment
from ngnmm_jax._core.status import STATUS_FLAGS, Status, raise_unless_ok
from ngnmm_jax._core.types import Scalar, Time
from ngnmm_jax.integrators.loops import finite_status, recorded, repeated, settled, solve
from ngnmm_jax.integrators.methods import METHODS, Method, Stepper
from ngnmm_jax.integrators.steps import StepsToJumps, common_step
from ngnmm_jax.models.base import SECONDS, AbstractNeuralMass
from ngnmm_jax.simulation.start import initial_state
from ngnmm_jax.systems.driven import INPUT, Driven, driven, noise_key, undriven
from ngnmm_jax.systems.network import Homogeneous, Network

# A fixed-step run of at least this many steps is cut into this many blocks, between which
# progress is shown and the run can be interrupted.
_LONG_RUN, _BLOCKS = 20_000, 50
# Saves for which a block has room: one of few numbers, so that programs are shared.
_ROOMS = (1, 16, 256)
# Saves of adaptive steps are filled up to a multiple of this, so that most runs share a program.
_FILL = 128


class Simulation(eqx.Module):
    """What a run left behind.

    - `ts` (time,): when it was saved, in the model's unit of time.
    - `states` (time, variable, region): the saved `variables` (no `region` axis for a
      homogeneous system); `run.v_e` or `run["v_e"]` is one of them, (time, region).
    - `final_state` (variable, region), at time `t1`: all variables; `simulate(…, y0=run)`
      goes on from there.
    - `status`: how it ended (`Status`); `stats`: numbers of steps; and under noise `below_zero`,
      the fraction of values of `nonnegative` variables (in all steps; by diffrax in what was saved)
      that it took below zero (see `Driven`).
    - `shown`: the saved variable that figures show unless told otherwise.

    Runs of a batch have a leading axis `run` on `states`, `final_state` and `status`.
    """

    ts: Float[Array, "time"]
    states: Float[Array, "..."]
    final_state: Float[Array, "..."]
    t1: Scalar
    status: Int[Array, "*run"]
    stats: dict[str, Any]
    variables: tuple[str, ...] = eqx.field(static=True)
    units: tuple[str, ...] = eqx.field(static=True)
    shown: str = eqx.field(static=True)
    time_unit: str = eqx.field(static=True)
    labels: tuple[str, ...] | None = eqx.field(static=True)

    @property
    def ok(self) -> bool:
        """Whether every run ended well."""
        return bool((np.asarray(self.status) == Status.OK).all())

    @property
    def sampling_interval(self) -> float:
        """Time between saves, in seconds; `ValueError` if they are not evenly spaced."""
        interval = _checks.even_interval(np.asarray(self.ts))
        if interval is None:
            raise ValueError("The run was not saved at even intervals: use `save_every`.")
        return interval * SECONDS[self.time_unit]

    def run(self, number: int) -> "Simulation":
        """One run of a batch."""
        if not np.ndim(self.status):
            raise ValueError("This is a single run, not a batch.")
        count = self.status.shape[0]
        if not -count <= number < count:
            _checks.fail("number", f"count one of {count} runs", f"it is {number}")
        one = eqx.tree_at(
            lambda s: (s.states, s.final_state, s.status),
            self,
            (self.states[number], self.final_state[number], self.status[number]),
        )
        stats = {k: v[number] if np.shape(v) == (count,) else v for k, v in self.stats.items()}
        return dataclasses.replace(one, stats=stats)

    def __getitem__(self, variable: str) -> Float[Array, "..."]:
        _checks.one_of("variable", variable, self.variables)
        axis = self.states.ndim - (2 if self.labels is not None else 1)
        return jnp.take(self.states, self.variables.index(variable), axis=axis)

    def __getattr__(self, name: str) -> Float[Array, "..."]:
        if not name.startswith("_") and name in self.__dict__.get("variables", ()):
            return self[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def to_xarray(self) -> Any:
        """An `xarray.Dataset`: one variable for each saved one, (time, region), with units."""
        xarray = _checks.require_module("xarray", "data")
        batch = ["run"] if np.ndim(self.status) else []
        regions = ["region"] if self.labels is not None else []
        units = dict(zip(self.variables, self.units, strict=True))
        data = {
            name: ([*batch, "time", *regions], np.asarray(self[name]), {"units": units[name]})
            for name in self.variables
        }
        data["status"] = (batch, np.asarray(self.status), STATUS_FLAGS)
        coords: dict[str, Any] = {"time": ("time", np.asarray(self.ts), {"units": self.time_unit})}
        if self.labels is not None:
            coords["region"] = ("region", list(self.labels))
        stats = {key: np.asarray(value).tolist() for key, value in self.stats.items()}
        return xarray.Dataset(data, coords, {"title": "ngnmm_jax simulation", **stats})


@dataclasses.dataclass(frozen=True)
class Saving:
    """What is saved and when; with fixed steps, `picks` counts saves every `stride` steps."""

    variables: tuple[str, ...]
    ts: tuple[float, ...]
    stride: int = 0
    n_steps: int = 0
    picks: tuple[int, ...] = ()


def simulate(
    system: Network | Homogeneous | Driven,
    duration: Time,
    *,
    start: ArrayLike | Simulation | None = None,
    t0: Time | None = None,
    seed: int = 0,
    scatter: float = 0.01,
    save_every: Time | None = None,
    save_at: Sequence[float] | np.ndarray | jax.Array | None = None,
    variables: Sequence[str] | None = None,
    integrator: dfx.AbstractSolver | str | None = None,
    dt: Time | None = None,
    rtol: float = 1e-6,
    atol: float = 1e-8,
    max_steps: int = 2**20,
    dtype: Any = None,
    adjoint: dfx.AbstractAdjoint | None = None,
    progress: bool | None = None,
    throw: bool = True,
) -> Simulation:
    """Integrate a network from an initial state for a while.

    Adaptive by default (diffrax, Dopri8); with `dt`, fixed steps of RK4 compiled into one
    loop. All times are in the model's unit (ms for `NextGenEI`, s for `JansenRit`).

    A `Driven` network takes its stimulus as it comes, and its noise in fixed steps (weakly of order
    one in the noise): without `dt`, of the longest step up to the model's `time_step` of which all
    times are multiples. The noise is a function of the seed, the step and the time: a run that
    goes on from another's end goes on with its noise, and with the same `dt` both are the whole
    (to the bit; "moebius", which then starts without its past, to its error). With a diffrax
    solver, or where times have no such step (then by Heun's method), it is drawn by diffrax, anew
    for each run by the time at which it begins; rates are then not kept from falling below zero.

    **Arguments:**

    - `system`: a network, `network.homogeneous()`, or either of them `Driven`.
    - `duration`: how long.
    - `start` (variable, region): initial state; or a previous `Simulation`, to go on from its
      end; by default `initial_state(system, seed=seed, scatter=scatter)`.
    - `t0`: initial time; by default 0, or the end of the run given as `start`.
    - `seed`: of the initial noise, and of a driven network's noise.
    - `save_every`: sampling interval, by default about 1 ms; or `save_at` (time,): the times
      themselves, rising, from `t0` on.
    - `variables`: names of what is saved, by default all variables of the model
      and the quantity that it shows.
    - `integrator`: a diffrax solver; or, with `dt`, "rk4" (the default), "heun", "euler", "dopri8",
      or "moebius", for models with an exact local flow: of order four with one product of the
      weights a step, rates positive whatever the step (`NextGenEI`).
    - `dt`: fixed step; None for adaptive steps with tolerances `rtol` and `atol`.
    - `max_steps`: limit on adaptive steps.
    - `dtype`: `jnp.float32` or `jnp.float64`; by default that of the network. 32 bits are
      meant for fixed steps: adaptive ones also keep the time in 32 bits.
    - `adjoint`: how diffrax differentiates adaptive runs; None for its default (reverse
      mode with checkpoints). `diffrax.ForwardMode()` allows `jax.jvp`, `jax.jacfwd`.
    - `progress`: a progress bar; None shows one for fixed steps that take over two seconds.
    - `throw`: raise `SolverError` unless the run ended well; under JAX transformations
      nothing is raised and `status` tells.

    Raises `ValueError` for bad arguments.
    """
    if isinstance(start, Simulation):
        t0 = start.t1 if t0 is None else t0
        start = start.final_state
    t0 = 0.0 if t0 is None else _checks.time("t0", t0)
    duration = _checks.time("duration", duration)
    dt = None if dt is None else _checks.time("dt", dt)
    save_every = None if save_every is None else _checks.time("save_every", save_every)
    core = system.bare()
    if dtype is not None:
        core = cast(core, dtype)
    dtype = core.coupling.dtype
    _checks.positive("duration", duration)
    if start is None:
        start = initial_state(system, seed=seed, scatter=scatter)
    start = _checks.floats("start", start, dtype)
    _checks.shape("start", start, core.state_shape, "(variable, region)")
    _checks.finite("start", start)
    saving = plan_saving(core.model, duration, t0, save_every, save_at, variables, dt)
    noisy = isinstance(core, Driven) and bool(core.noise)
    key = noise_key(seed)
    if noisy and dt is None and integrator is None and adjoint is None:
        dt = common_step(np.array([*saving.ts, t0 + duration]) - t0, concrete_step(core))
        if dt is not None:
            saving = plan_saving(core.model, duration, t0, save_every, save_at, variables, dt)

    if dt is not None and not isinstance(integrator, dfx.AbstractSolver):
        name = "rk4" if integrator is None else integrator
        method = fixed_method(core.model, name)
        begin = (key, (jnp.asarray(t0, float), jnp.asarray(first_step(t0, dt))))
        last, saved, status, below = _run_fixed(core, start, dt, saving, method, progress, begin)
        stats: dict[str, Any] = {"num_steps": jnp.asarray(saving.n_steps)}
        if below is not None:
            stats["below_zero"] = fraction_below(driven(core), below.sum(), saving.n_steps)
    else:
        if isinstance(integrator, str):
            _checks.fail(
                "integrator", "be a diffrax solver for adaptive steps", f"it is {integrator!r}"
            )
        _checks.positive("rtol", rtol)
        _checks.positive("atol", atol)
        _checks.positive_integer("max_steps", max_steps)
        if noisy and dt is None:
            dt = concrete_step(core)
        if integrator is None:
            integrator = dfx.Heun() if noisy else dfx.Dopri8()
        times = np.asarray(saving.ts, dtype)
        filled = np.append(times, np.repeat(times[-1], -len(times) % _FILL))
        last, saved, stats, status = _run_adaptive(
            core,
            start,
            (jnp.asarray(t0, dtype), jnp.asarray(t0 + duration, dtype)),
            jnp.asarray(filled),
            None if dt is None else jnp.asarray(dt, dtype),
            (jnp.asarray(rtol, dtype), jnp.asarray(atol, dtype)),
            saving.variables,
            integrator,
            max_steps if dt is None else math.ceil(duration / dt) + 2 + 2 * _jumps(core),
            dfx.RecursiveCheckpointAdjoint() if adjoint is None else adjoint,
            dfx.TqdmProgressMeter(refresh_steps=200) if progress else dfx.NoProgressMeter(),
            noise_segment(key, t0) if noisy else None,
        )
        concrete = _checks.on_host(saved)
        saved = jnp.asarray(np.asarray(saved)[: len(times)]) if concrete else saved[: len(times)]
    result = package(core.model, system, saving, last, saved, status, stats, t0 + duration)
    if throw:
        raise_unless_ok("simulate", status, result)
    return result


def package(
    model: AbstractNeuralMass,
    system: Network | Homogeneous | Driven,
    saving: Saving,
    last: jax.Array,
    saved: jax.Array,
    status: jax.Array,
    stats: dict[str, Any],
    t1: Any,
) -> Simulation:
    """The result of a run or a batch, with names and units."""
    units = {**dict(zip(model.variables, model.units, strict=True)), model.shown: model.shown_unit}
    system = undriven(system)
    return Simulation(
        ts=jnp.asarray(saving.ts),
        states=saved,
        final_state=last,
        t1=jnp.asarray(t1, dtype=float),
        status=status,
        stats=stats,
        variables=saving.variables,
        units=tuple(units[name] for name in saving.variables),
        shown=model.shown if model.shown in saving.variables else saving.variables[0],
        time_unit=model.time_unit,
        labels=system.labels if isinstance(system, Network) else None,
    )


def cast(system: Network | Homogeneous | Driven, dtype: Any) -> Any:
    """The system with all its numbers in 32 or 64 bits; a stimulus keeps its own, for its times."""
    if jnp.dtype(dtype) not in (jnp.dtype("float32"), jnp.dtype("float64")):
        _checks.fail("dtype", "be float32 or float64", f"it is {dtype}")
    if jnp.dtype(dtype) == jnp.dtype("float64"):
        _checks.require_x64("dtype=float64")
    found = jax.tree.map(lambda leaf: leaf.astype(dtype), system)
    if not isinstance(system, Driven):
        return found
    return eqx.tree_at(lambda d: d.stimulus, found, system.stimulus, is_leaf=lambda x: x is None)


def plan_saving(
    model: AbstractNeuralMass,
    duration: float,
    t0: float,
    save_every: float | None,
    save_at: Any,
    variables: Sequence[str] | None,
    dt: float | None,
) -> Saving:
    """Check what is to be saved, and lay it on the grid of steps if these are fixed."""
    if isinstance(variables, str):
        variables = (variables,)
    known = tuple(dict.fromkeys((*model.variables, model.shown)))
    names = known if variables is None else tuple(variables)
    for name in names:
        _checks.one_of("variables", name, known)
    if not names:
        _checks.fail("variables", "name at least one variable", "it names none")
    if save_at is not None and save_every is not None:
        _checks.fail("save_every", "not be given with `save_at`", "both are")

    if dt is not None:
        _checks.positive("dt", dt)
    times: np.ndarray
    if save_at is not None:
        times = np.atleast_1d(_checks.times("save_at", save_at)) - t0
        _checks.finite("save_at", times)
        slack = 1e-9 * duration
        if times.ndim != 1 or not times.size or (np.diff(times) <= 0).any():
            _checks.fail("save_at", "be a rising sequence of times", f"it is {save_at!r}")
        if times[0] < -slack or times[-1] > duration + slack:
            _checks.fail(
                "save_at",
                f"lie within the run, from {t0:g} to {t0 + duration:g}",
                f"it spans {times[0] + t0:g} to {times[-1] + t0:g}",
            )
    else:
        if save_every is None:
            save_every = 1e-3 / SECONDS[model.time_unit]  # 1 ms
            if dt is not None:
                save_every = max(1, round(save_every / dt)) * dt
            save_every = min(save_every, duration)
        _checks.positive("save_every", save_every)
        times = float(save_every) * np.arange(math.floor(duration / save_every + 1e-9) + 1)
    if dt is None:
        return Saving(names, tuple((times + t0).tolist()))

    steps, n_steps = _on_grid("save_at", times, dt), int(_on_grid("duration", duration, dt)[0])
    gaps = np.diff(np.concatenate([[0], steps]))
    stride = int(np.gcd.reduce(gaps[gaps > 0])) if (gaps > 0).any() else n_steps
    picks = tuple((steps // stride).tolist())
    return Saving(names, tuple((times + t0).tolist()), stride, n_steps, picks)


def _on_grid(argument: str, value: Any, dt: float) -> np.ndarray:
    value = np.atleast_1d(value)
    steps = np.rint(value / dt).astype(int)
    off = np.abs(steps * dt - value)
    if off.max() > 1e-6 * dt:
        argument = "save_every` or `save_at" if argument == "save_at" else argument
        worst = float(value[np.argmax(off)])
        _checks.fail(argument, f"be a multiple of the fixed step {dt:g}", f"it holds {worst:g}")
    return steps


def select(model: AbstractNeuralMass, variables: tuple[str, ...], state: jax.Array) -> jax.Array:
    """The rows of a state (variable, …) that are saved."""
    if variables == model.variables:
        return state
    return jnp.stack(
        [
            state[model.variables.index(name)] if name in model.variables else model.observe(state)
            for name in variables
        ]
    )


@eqx.filter_jit
def _run_adaptive(
    system: Network | Homogeneous | Driven,
    y0: jax.Array,
    span: tuple[jax.Array, jax.Array],
    ts: jax.Array,
    dt: jax.Array | None,
    tolerances: tuple[jax.Array, jax.Array],
    variables: tuple[str, ...],
    solver: dfx.AbstractSolver,
    max_steps: int,
    adjoint: dfx.AbstractAdjoint,
    meter: dfx.AbstractProgressMeter,
    key: Any,
) -> tuple[jax.Array, jax.Array, dict[str, Any], jax.Array]:
    network, stimulus = undriven(system), driven(system).stimulus

    def field(t: jax.Array, y: jax.Array) -> jax.Array:
        if stimulus is None:
            return network.vector_field(y)
        push = jnp.broadcast_to(stimulus(t).astype(y.dtype), y.shape[1:])
        return network.vector_field(y, push)

    controller: dfx.AbstractStepSizeController = dfx.ConstantStepSize()
    if dt is None:
        rtol, atol = tolerances
        smallest = 16 * jnp.finfo(ts.dtype).eps * jnp.maximum(jnp.abs(span[0]), jnp.abs(span[1]))
        controller = dfx.PIDController(
            rtol=rtol, atol=atol, dtmin=smallest, dtmax=_longest_step(system, ts.dtype)
        )
        if stimulus is not None and stimulus.jumps.size:
            jumps = jnp.sort(stimulus.jumps).astype(ts.dtype)
            controller = dfx.ClipStepSizeController(controller, jump_ts=jumps)
    elif stimulus is not None and stimulus.jumps.size:
        controller = StepsToJumps(stimulus.jumps)
    bounded = np.array([] if key is None else driven(system).may_go_below_zero, dtype=int)

    def kept(y: jax.Array) -> Any:
        return select(system.model, variables, y), (y[bounded] < 0).mean(
            dtype=float
        ) if bounded.size else None

    last, (saved, below), stats, status = solve(
        field,
        y0,
        *span,
        ts,
        solver=solver,
        controller=controller,
        dt0=dt,
        select=kept,
        max_steps=max_steps,
        adjoint=adjoint,
        progress=meter,
        noise=None if key is None else _noise_term(driven(system), y0, span, dt, key),
    )
    if below is not None:
        stats["below_zero"] = below.mean()
    return last, saved, stats, status


def _longest_step(system: Network | Homogeneous | Driven, dtype: Any) -> Any:
    """The longest adaptive step that goes over no change of the stimulus unseen; None for any."""
    stimulus = driven(system).stimulus
    if stimulus is None:
        return None
    longest = stimulus.longest_step
    if longest is None:
        longest = 1e-3 / SECONDS[system.model.time_unit]
    return jnp.asarray(longest, dtype)


def _jumps(system: Network | Homogeneous | Driven) -> int:
    stimulus = driven(system).stimulus
    return 0 if stimulus is None else stimulus.jumps.size


def _noise_term(system: Driven, y0: jax.Array, span: Any, dt: Any, key: Any) -> dfx.AbstractTerm:
    """Noise on the input and on variables, as a term for diffrax."""
    network, rows = system.network, system.model.variables
    like = jax.ShapeDtypeStruct(y0.shape[1:], y0.dtype)
    # Finer than the steps, which jumps of a stimulus may cut short.
    path = dfx.VirtualBrownianTree(*span, dt / 8, {name: like for name in system.noise}, key)

    def diffusion(t: Any, y: jax.Array, args: Any) -> lx.AbstractLinearOperator:
        def along(increments: dict[str, jax.Array]) -> jax.Array:
            change = jnp.zeros_like(y)
            for name, strength in system.noise.items():
                some = strength * increments[name]
                if name == INPUT:
                    zero = jnp.zeros_like(some)
                    push = jax.jvp(lambda d: network.vector_field(y, d), (zero,), (some,))[1]
                    change = change + push
                else:
                    change = change.at[rows.index(name)].add(some)
            return change

        return lx.FunctionLinearOperator(along, {name: like for name in system.noise})

    return dfx.ControlTerm(diffusion, path)


def fixed_method(model: AbstractNeuralMass, name: str) -> Method:
    """A method by its name, which must suit the model."""
    _checks.one_of("solver", name, METHODS)
    if name == "moebius" and model.exact_flow(jnp.asarray(1.0)) is None:
        others = ", ".join(repr(other) for other in METHODS if other != name)
        _checks.fail("solver", f"be one of {others} for {type(model).__name__}", f"it is {name!r}")
    return METHODS[name]


@eqx.filter_jit
def _fixed_start(
    system: Network | Homogeneous | Driven,
    y0: jax.Array,
    dt: jax.Array,
    variables: tuple[str, ...],
    method: Method,
    begin: tuple[Any, Any],
) -> tuple[Any, jax.Array]:
    """The memory at the beginning, and what is saved there."""
    return _stepper(system, dt, method, begin).start(y0), select(system.model, variables, y0)


def _stepper(system: Any, dt: jax.Array, method: Method, begin: tuple[Any, Any]) -> Stepper:
    """The method at work; `begin`: the noise's key, and when the run begins (`Driven.stepper`)."""
    if isinstance(system, Driven):
        return system.stepper(method, dt, *begin)
    return method(system, dt)


@eqx.filter_jit
def _fixed_block(
    system: Network | Homogeneous | Driven,
    memory: Any,
    dt: jax.Array,
    variables: tuple[str, ...],
    steps: tuple[Any, Any],
    room: int,
    method: Method,
    begin: tuple[Any, Any],
) -> tuple[Any, jax.Array, tuple[jax.Array, Any]]:
    """The memory at the end, what was saved; the last state, and what went below zero.

    `steps`: numbers of saves and of steps between them; arrays, of which the program does not
    depend, with `room` for so many saves; or integers where it is to be differentiated.
    """
    stepper = _stepper(system, dt, method, begin)
    memory, saved = save_steps(
        lambda memory: stepper.advance(memory, None),
        memory,
        steps,
        room,
        lambda memory: select(system.model, variables, stepper.state(memory)),
    )
    return memory, saved, (stepper.state(memory), stepper.below(memory))


def save_steps(
    advance: Callable[[Any], Any],
    memory: Any,
    steps: tuple[Any, Any],
    room: int,
    select: Callable[[Any], Any],
) -> tuple[Any, Any]:
    """Numbers of saves and of steps between them: arrays (up to `room` saves), or integers."""
    n, stride = steps
    if isinstance(n, int):
        return repeated(advance, memory, n_saves=n, stride=stride, select=select)
    return recorded(advance, memory, n_saves=n, stride=stride, select=select, room=room)


def blocks_of_saves(
    saving: Saving, traced: bool, in_pieces: bool
) -> list[tuple[int, int, Any, Any]]:
    """How a run of fixed steps is cut up: saves kept, `room`, and `steps`, as for `save_steps`.

    `traced`: as a caller's program will have it, in one piece; `in_pieces`: often enough to
    show progress. The steps after the last save come last, as a save that is not kept.
    """
    n_saves, rest = divmod(saving.n_steps, saving.stride)
    if traced:
        pieces = [(n_saves, 0, n_saves, saving.stride)] if n_saves else []
        return pieces + ([(0, 0, 1, rest)] if rest else [])
    size = max(1, min(_ROOMS[-1], n_saves // _BLOCKS)) if in_pieces else _ROOMS[-1]
    counts = [size] * (n_saves // size) + [n_saves % size] * (n_saves % size > 0)
    room = next(room for room in _ROOMS if room >= max(counts, default=1))
    found = [(n, room, jnp.asarray(n), jnp.asarray(saving.stride)) for n in counts]
    return found + ([(0, room, jnp.asarray(1), jnp.asarray(rest))] if rest else [])


def _run_fixed(
    system: Network | Homogeneous | Driven,
    y0: jax.Array,
    dt: float,
    saving: Saving,
    method: Method,
    progress: bool | None,
    begin: tuple[Any, Any],
) -> tuple[jax.Array, jax.Array, jax.Array, Any]:
    """In blocks, which any number of saves shares."""
    size = jnp.asarray(dt, y0.dtype)
    traced = not _checks.on_host(system, y0, begin)
    long = progress is not False and saving.n_steps >= _LONG_RUN
    pieces = blocks_of_saves(saving, traced, long)
    memory, first = _fixed_start(system, y0, size, saving.variables, method, begin)
    end: tuple[jax.Array, Any] = (y0, None)
    saved: list[Any] = [first[None]]
    shown = progress if progress or (long and len(pieces) > 1) else False
    with progress_bar(saving.n_steps, "simulate", "step", shown, unit_scale=True) as bar:
        for kept, room, *steps in pieces:
            memory, some, end = _fixed_block(
                system, memory, size, saving.variables, tuple(steps), room, method, begin
            )
            if kept:  # a copy, so that the rest of the room is given back
                saved.append(some if traced else np.asarray(some)[:kept].copy())
            bar.update(kept * saving.stride if kept else int(steps[1]))
    last, below = end
    if traced:
        stacked = jnp.concatenate(saved)[np.array(saving.picks)]
        return last, stacked, finite_status(last, stacked), below
    every = np.concatenate(saved)[list(saving.picks)]
    finite = settled(every).all() and settled(np.asarray(last)).all()
    status = Status.OK if finite else Status.NOT_FINITE
    return last, jnp.asarray(every), jnp.asarray(status), below


def fraction_below(system: Driven, count: Any, n_steps: int) -> jax.Array:
    """Of all values of variables that cannot be negative, those that noise took below zero."""
    regions = math.prod(system.state_shape[1:])
    return jnp.asarray(count / (n_steps * regions * len(system.may_go_below_zero)), float)
