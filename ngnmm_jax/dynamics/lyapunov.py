"""Lyapunov spectra of any vector field, by tangents and Gram and Schmidt's process."""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.cards import shown
from ngnmm_jax._core.parameters import bare, pace
from ngnmm_jax._core.placement import placed, tangents_are_few
from ngnmm_jax._core.progress import progress_bar
from ngnmm_jax._core.randomness import Purpose, stream
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax._core.several import several
from ngnmm_jax._core.starting import first_state
from ngnmm_jax._core.status import Status, raise_unless_ok
from ngnmm_jax.dynamics.equilibria import rest_state
from ngnmm_jax.dynamics.forced.flow import DrivenFlow, with_time
from ngnmm_jax.dynamics.forced.system import ForcedSystem, is_driven, without_noise
from ngnmm_jax.dynamics.orbits import OscillatingSystem
from ngnmm_jax.dynamics.tangents import Autonomous, Stretching, follow, follow_map
from ngnmm_jax.models.notation import Notation, named

# The window is cut into this many blocks, whose scatter gives the standard errors.
_BLOCKS = 20
# An exponent is positive when it is above zero by this many standard errors.
_SURE = 3.0
# Steps between orthonormalisations while the tangents turn into place, and at most; in between
# as many as stretch the tangents against each other by less than this (a logarithm): what
# makes them orthonormal then leaves errors of 1e-16 e^14, that is 1e-10, in the smallest.
_FIRST, _LAST, _STRETCH = 20, 2000, 14.0
# Stretching of which rounding leaves nothing.
_LOST = 30.0
#: Where steps and their halves differ by more than this on average, relative to the tangents, steps
# are too long to tell even their own error.
ROUGH = 1e-3


class LyapunovSpectrum(AbstractResult):
    """The largest Lyapunov exponents of one trajectory, or of several, with leading axes.

    - `exponents` (*run, exponent): by falling size as the tangents were ordered, per unit of
      the model's time.
    - `errors` (*run, exponent): standard errors, from the scatter of 20 blocks of the window and
      how neighbours go together, and at least the window's inverse; the steps' error is in them.
    - `step_errors` (*run, exponent): of that, the steps': how much single steps (one in 250 of
      the default window) differ from their two halves, on average of absolute values, which do not
      cancel along a trajectory as errors may; of all exponents of a system, also how much a step's
      change of volume differs from the integral of the divergence (Liouville's formula).
    - `running` (*run, block, exponent): the estimate after each block.
    - `state` (*run, *state): where the trajectory ended; another call can go on from there
      (with delays, but for what was on its way).
    - `interval` (*run,): time between orthonormalisations.
    - `status` (*run,): OK; NOT_FINITE where the trajectory diverged; ILL_CONDITIONED where the
      interval between orthonormalisations was too long for the tangents; STEP_TOO_LARGE where the
      steps' error is over a thousandth of the tangents each step, so that it is not known well.
    - `notation`: how figures write the times of its system.
    """

    exponents: Float[Array, "*run exponent"]
    errors: Float[Array, "*run exponent"]
    step_errors: Float[Array, "*run exponent"]
    running: Float[Array, "*run block exponent"]
    state: Float[Array, "..."]
    interval: Float[Array, "*run"]
    status: Int[Array, "*run"]
    notation: Notation = eqx.field(static=True, default=Notation())

    @property
    def drawn_by(self) -> str:
        """`plot.lyapunov_exponents`."""
        return "lyapunov_exponents"

    @property
    def stats(self) -> dict[str, Any]:
        """Standard errors, of these the steps', and the time between orthonormalisations."""
        return {
            "errors": several(self.errors),
            "step_errors": several(self.step_errors),
            "interval": self.interval,
        }

    def summary(self) -> dict[str, Any]:
        """The exponents (of several trajectories the leading ones), and what follows from them."""
        alone = jnp.ndim(self.exponents) == 1
        leading = "exponents" if alone else "leading exponent"
        return {
            leading: several(self.exponents) if alone else self.exponents[..., 0],
            "number_positive": self.number_positive,
            "kaplan_yorke": self._told_dimension(),
        }

    def _told_dimension(self) -> Any:
        """The dimension, and why it is not known where the trajectory is."""
        value = np.asarray(self.kaplan_yorke)
        short = np.isnan(value) & (np.asarray(self.status) == Status.OK)
        if not short.any():
            return value
        whose = f" by {short.sum()}" if value.ndim else ""
        return f"{shown(value)}: more exponents are needed{whose}"

    @property
    def number_positive(self) -> Int[Array, "*run"]:
        """How many exponents are above zero by three standard errors."""
        return jnp.sum(self.exponents > _SURE * self.errors, axis=-1)

    @property
    def entropy_bound(self) -> Float[Array, "*run"]:
        """Sum of the positive exponents: Pesin's bound on the entropy rate."""
        sure = self.exponents > _SURE * self.errors
        return jnp.where(sure, self.exponents, 0.0).sum(axis=-1)

    @property
    def kaplan_yorke(self) -> Float[Array, "*run"]:
        """The Kaplan-Yorke dimension; NaN where more exponents are needed to tell it.

        Source: Kaplan and Yorke, Lect. Notes Math. 730, 204 (1979).
        """
        order = jnp.argsort(-self.exponents, axis=-1)
        values = jnp.take_along_axis(as_array(self.exponents), order, axis=-1)
        errors = jnp.take_along_axis(as_array(self.errors), order, axis=-1)
        # What cannot be told from zero is zero.
        values = jnp.where(jnp.abs(values) < _SURE * errors, 0.0, values)
        sums = jnp.cumsum(values, axis=-1)
        k = (sums >= 0).sum(axis=-1)
        n = values.shape[-1]

        def at(array: jax.Array, index: jax.Array) -> jax.Array:
            return jnp.take_along_axis(array, index[..., None], axis=-1)[..., 0]

        dimension = k + at(sums, jnp.maximum(k - 1, 0)) / jnp.abs(at(values, k.clip(max=n - 1)))
        dimension = jnp.where(k == 0, 0.0, jnp.where(k == n, jnp.nan, dimension))
        return jnp.where(self.status == Status.OK, dimension, jnp.nan)


class Plan(NamedTuple):
    """Numbers of steps, one or (run,): before the window, in it, between orthonormalisations.

    `interval` is zero where it is to be found. None of them decides what is compiled.
    """

    transient: Any
    window: Any
    interval: Any


def plan(
    dt: Any,
    duration: float | None,
    transient: float | None,
    interval: float | None,
    stiffness: Any = 1.0,
    default: tuple[int, int] = (20_000, 100_000),
) -> Plan:
    """Times in the model's unit as numbers of steps `dt`, one or (run,).

    By default 20,000 before a window of 100,000, times `stiffness`.
    """
    steps = []
    xp = np if _checks.is_concrete(dt, stiffness) else jnp
    for name, value, usual in (
        ("transient", transient, default[0]),
        ("duration", duration, default[1]),
        ("interval", interval, 0),
    ):
        if value is not None:
            _checks.positive(name, value)
        number = usual * stiffness if value is None else xp.maximum(1, xp.round(value / dt))
        steps.append(xp.broadcast_to(xp.asarray(number, int), xp.shape(dt)))
    return Plan(*steps)


@placed(lambda system, count, **given: tangents_are_few(system, count))
def lyapunov_spectrum(
    system: OscillatingSystem | ForcedSystem,
    count: int | None = None,
    *,
    duration: float | None = None,
    transient: float | None = None,
    dt: float | None = None,
    interval: float | None = None,
    start: Any = None,
    seed: int = 0,
    progress: bool | None = None,
    throw: bool = True,
) -> LyapunovSpectrum:
    """The first Lyapunov exponents of a trajectory of any vector field.

    The state takes steps of RK4, the tangents that step's exact linearisation (of a network:
    one matrix product for all tangents at each stage); after each interval they are made
    orthonormal. With delays tangents are of what was sent before, too, as far as the longest
    delay. Works under `jax.vmap` over parameters and initial states; `lyapunov_map` does it over a
    plane, with blocks on disk.

    **Arguments:**

    - `system`: a network, `network.homogeneous()`, or anything with `vector_field`,
      `state_shape` and `time_step`. Or one that a stimulus drives (`Driven`, without noise or
      delays): of its state alone, without the zero exponent that its time would have; the run
      begins at the stimulus's time zero.
    - `count`: how many exponents; by default all (of delays, which have infinitely many, it must
      be given; it counts those of the discretised past).
    - `duration`, `transient`: the window and what is left out before it (while the tangents
      turn into place), in the model's unit; by default 100,000 and 20,000 steps (of a stiff model,
      as many of the steps that its typical time alone would ask for: `model.tempo()`).
    - `dt`: the step; by default the system's `time_step`.
    - `interval`: between orthonormalisations (with delays in whole blocks of steps, up to the
      shortest delay); by default as long as the tangents stay well conditioned, which the
      transient shows.
    - `start` (*state): by default near an equilibrium, with noise of `seed`; or a run, of a network
      with delays with its history.
    - `progress`: a progress bar; None shows one where it takes over two seconds (never under
      JAX's transformations).
    - `throw`: raise `SolverError` where the trajectory diverges, or `interval` or `dt` is too long.

    Source: Benettin et al., Meccanica 15, 9 (1980); Geist, Parlitz and Lauterborn, Prog.
    Theor. Phys. 83, 875 (1990).
    """
    _checks.seed(seed)
    _checks.require_x64("lyapunov_spectrum")
    system = bare(without_noise(system, "lyapunov_spectrum"))
    driven = is_driven(system)
    if not driven and getattr(system, "delays", None) is not None:
        result = _with_delays(
            system, count, duration, transient, dt, interval, start, seed, progress
        )
        return _told(result, system, throw)
    shape = tuple(system.state_shape)
    count = number_of_exponents(count, shape)
    step, stiffness = pace(system) if dt is None else (dt, 1.0)
    _checks.positive("dt", step)
    steps = plan(step, duration, transient, interval, stiffness)
    start = None if start is None else first_state(start, system, "of the system's state")
    alone = getattr(system, "system", system) if driven else system
    rest = rest_state(alone) if start is None else start
    near, xi = _begin(rest, seed, count)
    x = near if start is None else start
    if driven:
        x, xi = with_time(x, xi)
    size = as_array(step, dtype=float)

    def advance(x: jax.Array, xi: jax.Array, length: Any, stride: Any) -> Any:
        return _follow(system, x, xi, size, length, stride)

    loop = _with_bar(progress) if _checks.on_host(system, x, size) else scan
    result = exponents(advance, x, xi, size, steps, runs=0, loop=loop)
    if driven:
        result = dataclasses.replace(result, state=result.state[:-1].reshape(shape))
    return _told(result, system, throw)


def _told(result: LyapunovSpectrum, system: Any, throw: bool) -> LyapunovSpectrum:
    """With the system's notation; `SolverError` where it failed and `throw`."""
    result = named(result, system)
    if throw:
        raise_unless_ok("lyapunov_spectrum", result.status, result)
    return result


def _with_delays(
    system: Any,
    count: int | None,
    duration: float | None,
    transient: float | None,
    dt: float | None,
    interval: float | None,
    start: Any,
    seed: int,
    progress: bool | None,
) -> LyapunovSpectrum:
    """Of a network with delays: tangents carry what was sent, too."""
    step, stiffness = pace(system) if dt is None else (dt, 1.0)
    _checks.positive("dt", step)
    if dt is None:
        step = min(step, system.shortest_delay())
    flow = system.in_blocks(float(step))
    count = number_with_delays(count, flow)
    size = as_array(step * flow.steps, float)
    steps = plan(size, duration, transient, interval, stiffness, usual_blocks(flow))
    history = getattr(start, "history", None)
    if start is not None:
        start = first_state(start, system, "of the system's state")
    rest = rest_state(system.undelayed()) if start is None else start
    if rest.shape != tuple(system.state_shape):
        rest = jnp.broadcast_to(rest[:, None], system.state_shape)
    near, _ = _begin(rest, seed, 1)
    x = flow.known(near if start is None else start, history)
    loop = _with_bar(progress) if _checks.on_host(flow, x, size) else scan
    return exponents_in_blocks(flow, x, seed, count, size, steps, loop)


def number_with_delays(count: int | None, flow: Any) -> int:
    """`count`, checked against what is known of a network with delays, if `flow` is not None."""
    if count is None:
        _checks.fail("count", "be given with delays: there are infinitely many", "it is not")
    _checks.positive_integer("count", count)
    return count if flow is None else number_of_exponents(count, (flow.size,))


def usual_blocks(flow: Any) -> tuple[int, int]:
    """Blocks by default, before the window and in it."""
    return -(-20_000 // flow.steps), -(-100_000 // flow.steps)


def exponents_in_blocks(
    flow: Any,
    x: Float[Array, "known"],
    seed: Any,
    count: int,
    size: jax.Array,
    steps: Plan,
    loop: Any,
) -> LyapunovSpectrum:
    """Exponents of what is known of a network with delays, a block of length `size` at a time.

    `seed`: of the tangents; `loop`: as `exponents` has it.
    """
    xi = jax.random.normal(stream(seed, Purpose.TANGENTS), (flow.size, count))

    def advance(x: jax.Array, xi: jax.Array, length: Any, stride: Any) -> Any:
        return _follow_blocks(flow, x, xi, length, stride)

    result = exponents(advance, x, xi, size, steps, runs=0, loop=loop, each=flow.steps)
    return dataclasses.replace(result, state=flow.state(result.state))


@eqx.filter_jit
def _follow_blocks(
    flow: Any, x: jax.Array, xi: jax.Array, length: Any, stride: Any
) -> tuple[jax.Array, jax.Array, Stretching]:
    return follow_map(flow.whole, flow.halves, x, xi, length, stride)


def number_of_exponents(count: int | None, shape: tuple[int, ...]) -> int:
    """`count`, checked against the dimensions of a state; None for all."""
    size = math.prod(shape)
    count = size if count is None else count
    _checks.positive_integer("count", count)
    if count > size:
        _checks.fail("count", f"be at most the {size} dimensions of the state", f"it is {count}")
    return count


@partial(jax.jit, static_argnames="count")
def _begin(rest: jax.Array, seed: Any, count: int) -> tuple[jax.Array, jax.Array]:
    """A state near one, and tangents."""
    size = jnp.abs(jax.random.normal(stream(seed, Purpose.START), rest.shape))
    tangents = jax.random.normal(stream(seed, Purpose.TANGENTS), (*rest.shape, count))
    return rest + 0.01 * (1 + jnp.abs(rest)) * size, tangents


@eqx.filter_jit
def _follow(
    system: Any, x: jax.Array, xi: jax.Array, dt: jax.Array, length: Any, stride: Any
) -> tuple[jax.Array, jax.Array, Stretching]:
    flow = DrivenFlow(system) if is_driven(system) else Autonomous(system.vector_field)
    return follow(flow, x, xi, dt, length, stride, runs=0)


# A loop of so many turns: of a body, from a carry, to the last carry and what was stacked.
Loop = Callable[[Callable[[Any, Any], tuple[Any, Any]], Any, int], tuple[Any, Any]]


def scan(body: Callable[[Any, Any], tuple[Any, Any]], carry: Any, number: int) -> Any:
    """That of a program."""
    return jax.lax.scan(body, carry, None, length=number)


def _with_bar(progress: bool | None) -> Loop:
    """A loop on the host, which shows progress and can be interrupted between its turns."""

    def loop(body: Callable[[Any, Any], tuple[Any, Any]], carry: Any, number: int) -> Any:
        stacked = []
        with progress_bar(number, "Lyapunov spectrum", "block", progress) as bar:
            for _ in range(number):
                carry, some = body(carry, None)
                stacked.append(jax.tree.map(np.asarray, some))
                bar.update()
        return carry, jax.tree.map(lambda *parts: np.stack(parts), *stacked)

    return loop


def exponents(
    advance: Callable[..., Any],
    x: jax.Array,
    xi: jax.Array,
    dt: jax.Array,
    steps: Plan,
    runs: int,
    loop: Loop = scan,
    each: int = 1,
) -> LyapunovSpectrum:
    """Lyapunov exponents, from `follow` as `advance(x, xi, length, stride)`.

    `each`: of the system's steps that one of these counts for.
    """
    xp: Any = jnp if loop is scan else np
    given, half = steps.interval > 0, steps.transient // 2
    rest = steps.transient - half
    block = xp.maximum(1, steps.window // _BLOCKS)
    stride = xp.asarray(steps.interval + _FIRST * (~given))
    stride = xp.broadcast_to(stride, x.shape[x.ndim - runs :])

    def chosen(widest: Any) -> Any:
        seen = xp.minimum(stride, rest)
        found = seen * (_STRETCH / xp.maximum(xp.asarray(widest), _STRETCH * seen / _LAST))
        found = xp.maximum(1.0, found)
        if runs:  # powers of two, so that runs side by side are made orthonormal together
            found = xp.exp2(xp.floor(xp.log2(found)))
        return xp.where(given, stride, found.astype(stride.dtype))

    # One loop, so that a program has the steps once: both halves of the transient, of which the
    # first is left out of the choice of the interval, and the blocks.
    def turn(carry: Any, _: None) -> tuple[Any, Any]:
        number, x, xi, every = carry
        length = xp.where(number == 0, half, xp.where(number == 1, rest, block))
        x, xi, stretching = advance(x, xi, length, every)
        every = xp.where(number == 1, chosen(stretching.widest), every)
        return (number + 1, x, xi, every), stretching

    (_, x, _, stride), stretching = loop(turn, (xp.asarray(0), x, xi, stride), 2 + _BLOCKS)
    stretching = jax.tree.map(lambda each: each[2:], stretching)
    return _spectrum(x, stretching, block, stride, dt, runs, each * ROUGH)


@partial(jax.jit, static_argnames="runs")
def _spectrum(
    x: jax.Array, blocks: Stretching, block: Any, stride: Any, dt: Any, runs: int, most: Any
) -> LyapunovSpectrum:
    """The result, from each block's stretching, all with a first axis (block,), and its length.

    `most`: the steps' relative error that is allowed.
    """
    rates, widest = blocks.logs / (block * dt), blocks.widest.max(axis=0)
    # Of order four: two halves leave a sixteenth of the step's error.
    rough = 16 / 15 * blocks.rough.mean(axis=0)
    rough = jnp.maximum(rough, blocks.leaks.mean(axis=0) / rough.shape[0])
    mean = rates.mean(axis=0)
    finite = jnp.isfinite(mean).all(axis=0)
    finite &= jnp.isfinite(x).reshape(-1, *x.shape[x.ndim - runs :]).all(axis=0)
    running = jnp.cumsum(rates, axis=0) / jnp.arange(1, _BLOCKS + 1).reshape(-1, *[1] * mean.ndim)

    def runs_first(array: jax.Array) -> jax.Array:
        return jnp.moveaxis(array, range(array.ndim - runs, array.ndim), range(runs))

    errors = jnp.hypot(_scatter(rates), 1 / (_BLOCKS * block * dt))
    fine = (rough < most).all(axis=0)
    status = jnp.where(fine, Status.OK, Status.STEP_TOO_LARGE)
    status = jnp.where(widest < _LOST, status, Status.ILL_CONDITIONED)
    return LyapunovSpectrum(
        exponents=runs_first(mean),
        errors=runs_first(jnp.hypot(errors, rough / dt)),
        step_errors=runs_first(rough / dt),
        running=runs_first(running),
        state=runs_first(x),
        interval=jnp.broadcast_to(stride * dt, finite.shape),
        status=jnp.where(finite, status, Status.NOT_FINITE),
    )


def _scatter(rates: Float[Array, "block *exponents"]) -> Float[Array, "*exponents"]:
    """Standard error of the mean of blocks, each correlated with the next.

    Stretching that comes and goes within a turn of an orbit is lost by one block and gained by
    the next; without their correlation the error would be several times too large.
    """
    off = rates - rates.mean(axis=0)
    variance = (off**2).mean(axis=0)
    neighbours = (off[1:] * off[:-1]).sum(axis=0) / rates.shape[0]
    ratio = jnp.where(variance > 0, neighbours / jnp.where(variance > 0, variance, 1.0), 0.0)
    return jnp.sqrt(variance * jnp.clip(1 + 2 * ratio, 0.1, 2.0) / (rates.shape[0] - 1))
