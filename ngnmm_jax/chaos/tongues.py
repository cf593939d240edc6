"""Arnold tongues: where a driven system is locked to its drive, over a plane of parameters."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.lanes import grid, map_chunks
from ngnmm_jax._core.parameters import with_leaves
from ngnmm_jax._core.placement import placed, points_of, steps_are_few
from ngnmm_jax._core.randomness import Purpose, stream
from ngnmm_jax._core.results import AbstractResult
from ngnmm_jax._core.status import STATUS_FLAGS, Status
from ngnmm_jax.chaos.driven import Lanes, Running, axes_of, driven_system, lanes_at, running
from ngnmm_jax.chaos.lanes import begun, lanes_per_device
from ngnmm_jax.dynamics.tangents import gram_schmidt, pushed
from ngnmm_jax.models.notation import Notation, notation_of
from ngnmm_jax.models.times import rate_unit
from ngnmm_jax.systems.driven import Driven

# Returns that are this near, relative to how far a run reaches, are the same; cycles for each
# period of the drive are n / m when they are this near to it, in cycles.
_SAME, _WHOLE = 1e-3, 0.1


class ArnoldTongues(AbstractResult):
    """How a driven system goes with its drive, over a grid of parameters.

    - `parameters`: their values, by name.
    - `winding` (*grid): the winding number, cycles of the system for each of the drive: n / m where
      it is locked, else an average over the window, some 1 / (its length) wrong. A cycle is counted
      where what the regions send (`model.output`, on average) rises through its mean.
    - `drive_cycles`, `cycles` (*grid): m and n of the m:n locking; 0 where there is none (up to
      m = `most`).
    - `exponents` (*grid): the largest Lyapunov exponent, per unit of the model's time, without
      the zero one of time: negative where it is locked, zero (to a few 1 / window) where it drifts.
    - `window` (*grid): over how much time.
    - `status` (*grid): OK, NOT_FINITE where a run diverged, NONE_FOUND where there was no
      equilibrium to start from.
    """

    parameters: dict[str, np.ndarray] = eqx.field(converter=OrderedDict)
    winding: Float[np.ndarray, "*grid"]
    drive_cycles: Int[np.ndarray, "*grid"]
    cycles: Int[np.ndarray, "*grid"]
    exponents: Float[np.ndarray, "*grid"]
    window: Float[np.ndarray, "*grid"]
    status: Int[np.ndarray, "*grid"]
    most: int = eqx.field(static=True)
    time_unit: str = eqx.field(static=True)
    notation: Notation = eqx.field(static=True, default=Notation())

    @property
    def drawn_by(self) -> str:
        """`plot.arnold_tongues`."""
        return "arnold_tongues"

    @property
    def locked(self) -> np.ndarray:
        """(*grid): whether the system is locked to the drive."""
        return np.asarray(np.asarray(self.drive_cycles) > 0)

    @property
    def stats(self) -> dict[str, Any]:
        """The longest locking that was looked for, and the time that was looked at."""
        return {"most": self.most, "window": self.window}

    def summary(self) -> dict[str, Any]:
        """Over which parameters, how much of the plane is locked, and how."""
        both = (np.asarray(part)[self.locked] for part in (self.drive_cycles, self.cycles))
        pairs = zip(*both, strict=True)
        found, numbers = np.unique([f"{m}:{n}" for m, n in pairs], return_counts=True)
        order = np.argsort(-numbers, kind="stable")[:6]
        return {
            "parameters": self.parameters,
            "locked": f"{int(self.locked.sum())} of {self.locked.size} points",
            "tongues": ", ".join(f"{found[k]} ({numbers[k]})" for k in order) or "none",
            "winding": self.winding,
            "exponents": self.exponents,
        }

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` with the parameters as coordinates."""
        xarray = _checks.require_module("xarray", "data")
        names = list(self.parameters)
        data: dict[str, Any] = {
            "winding": (names, self.winding),
            "drive_cycles": (names, self.drive_cycles),
            "cycles": (names, self.cycles),
            "exponent": (names, self.exponents, {"units": rate_unit(self.time_unit)}),
            "window": (names, self.window, {"units": self.time_unit}),
            "status": (names, self.status, STATUS_FLAGS),
        }
        return xarray.Dataset(data, self.parameters, {"title": "ngnmm_jax Arnold tongues"})


@placed(lambda system, parameters, **given: steps_are_few(system, points_of(parameters)))
def arnold_tongues(
    system: Driven,
    parameters: Mapping[str, Any],
    *,
    most: int = 8,
    cycles: int = 128,
    transient: int = 128,
    seed: int = 0,
    progress: bool | None = None,
) -> ArnoldTongues:
    """Winding number, locking m:n and largest Lyapunov exponent of a driven system over a plane.

    All points run in lock-step, from one period of the drive to the next, by RK4, whose steps
    divide the period and end where the stimulus jumps, with one tangent. Locked is what returns
    after m of the periods, to a thousandth of how far it reaches, all along the window's last ones.
    The borders themselves are folds of the locked orbits: `continue_bifurcation` over the same
    parameters from a fold of a branch of `continue_cycles`.

    **Arguments:**

    - `system`: `Driven(network.homogeneous() or network, stimulus=…)`, whose stimulus repeats
      itself.
    - `parameters`: names and values, mostly of two, as
      `{"stimulus_period": …, "stimulus_amplitude": …}`.
    - `most`: the longest locking m that is looked for.
    - `cycles`, `transient`: periods of the drive in the window (three times `most` at least), and
      before it.
    - `seed`: of the noise (sd 0.01) added to each run's own equilibrium at the start.
    - `progress`: a progress bar; None shows one where it takes over two seconds.

    Source: Pikovsky, Rosenblum and Kurths, Synchronization (2001), ch. 3 and 7.
    """
    _checks.seed(seed)
    _checks.require_x64("arnold_tongues")
    system = driven_system(system, "arnold_tongues")
    values = axes_of(system, parameters)
    for name, value in (("most", most), ("cycles", cycles), ("transient", transient)):
        _checks.positive_integer(name, value)
    if cycles < 3 * most:
        _checks.fail("cycles", f"be three times `most` at least, {3 * most}", f"it is {cycles}")
    points, shape = grid(values)
    lanes, steps = lanes_at(system, points, seed)
    numbers = tuple(as_array(n) for n in (steps, transient, cycles - 2 * most))
    found = map_chunks(
        _followed(most),
        (system, numbers),
        lanes,
        chunk=lanes_per_device(system.system, 1),
        progress=progress,
        what="Arnold tongues",
        lockstep=True,
    )
    status = begun(lanes.start, found.status)
    ok = status == Status.OK
    m = _returns(found, most)
    n = np.rint(found.winding * m)
    whole = np.abs(found.winding * m - n) < _WHOLE
    m = np.where(ok & whole & (found.exponents < 0), m, 0)
    n = np.where(m > 0, n, 0).astype(int)
    winding = np.where(m > 0, n / np.maximum(m, 1), found.winding)
    on_grid = {
        "winding": np.where(ok, winding, np.nan),
        "drive_cycles": m,
        "cycles": n,
        "exponents": np.where(ok, found.exponents, np.nan),
        "window": found.window,
        "status": status,
    }
    return ArnoldTongues(
        parameters=values,
        **{name: value.reshape(shape) for name, value in on_grid.items()},
        most=most,
        time_unit=system.model.time_unit,
        notation=notation_of(system),
    )


class _Followed(NamedTuple):
    """Of runs (run, …): strobes (run, cycle, number), the reach (run, number) of each, and as
    `ArnoldTongues` has the rest.
    """

    strobes: Any
    reach: Any
    winding: Any
    exponents: Any
    window: Any
    status: Any


def _returns(found: _Followed, most: int) -> np.ndarray:
    """After how many periods of the drive runs return; 0 where they do not."""
    strobes = found.strobes
    scale = np.maximum(found.reach, 1e-9 * (1 + np.abs(strobes).max(axis=1)))[:, None]
    turns = np.zeros(len(strobes), dtype=int)
    with np.errstate(invalid="ignore"):
        for m in range(most, 0, -1):
            away = (np.abs(strobes[:, m:] - strobes[:, :-m]) / scale).max(axis=(1, 2))
            turns = np.where(away <= _SAME, m, turns)
    return turns


class _Going(NamedTuple):
    """Where runs are in a window; all (…, run).

    The state and its tangent, the logarithm of its stretching, the watched value, its sum over
    time, how often it rose through the level, when first and last, and the reach so far.
    """

    x: Any
    xi: Any
    log: Any
    value: Any
    total: Any
    rises: Any
    first: Any
    last: Any
    low: Any
    high: Any


class _Follower(NamedTuple):
    """What a window's runs are followed by: all (…, run) but for the number of steps in a piece."""

    runs: Running
    steps: Any
    period: Any

    @classmethod
    def of(cls, system: Driven, lanes: Lanes, steps: Any) -> "_Follower":
        """Of runs at their points."""
        period = jax.vmap(lambda v: as_array(with_leaves(system, v).drive_period))
        return cls(running(system, lanes, steps), steps, period(lanes.points))

    def begin(self) -> _Going:
        """Where they begin, with a tangent each."""
        x = self.runs.begin
        count = x.shape[-1]
        xi = jax.random.normal(stream(0, Purpose.TANGENTS), (*x.shape[:-1], 1))
        xi = jnp.broadcast_to(xi[..., None], (*x.shape[:-1], 1, count))
        nothing = jnp.zeros(count)
        value = self.runs.system.observed(x)
        none = jnp.zeros(count, int)
        return _Going(x, xi, nothing, value, nothing, none, nothing, nothing, x, x)

    def over(self, cycles: Any, now: _Going, level: Any) -> _Going:
        """So many periods of the drive later; counts begin anew."""
        nothing = jnp.zeros_like(now.log)
        now = now._replace(
            log=nothing, total=nothing, rises=jnp.zeros_like(now.rises), low=now.x, high=now.x
        )
        return jax.lax.fori_loop(0, cycles, lambda k, now: self.cycle(k, now, level), now)

    def cycle(self, number: Any, now: _Going, level: Any) -> _Going:
        """A period of the drive later."""
        now = jax.lax.fori_loop(
            0, self.runs.count, lambda i, now: self.step(i, now, level, number), now
        )
        flat, logs = gram_schmidt(now.xi.reshape(-1, 1, now.xi.shape[-1]))
        return now._replace(xi=flat.reshape(now.xi.shape), log=now.log + logs[0])

    def step(self, i: Any, now: _Going, level: Any, cycle: Any) -> _Going:
        """A step later."""
        x, xi = pushed(lambda x: self.runs.step(i, x), now.x, now.xi, 1)
        piece = i // self.steps
        value, h = self.runs.system.observed(x), self.runs.pieces.lengths[piece] / self.steps
        rises = (now.value < level) & (value >= level)
        part = (level - now.value) / jnp.where(rises, value - now.value, 1.0)
        at = self.runs.pieces.begins[piece] + (i % self.steps + part) * h
        at = cycle + at / self.period
        return now._replace(
            x=x,
            xi=xi,
            value=value,
            total=now.total + h * (now.value + value) / 2,
            rises=now.rises + rises,
            first=jnp.where(rises & (now.rises == 0), at, now.first),
            last=jnp.where(rises, at, now.last),
            low=jnp.minimum(now.low, x),
            high=jnp.maximum(now.high, x),
        )


@lru_cache
def _followed(most: int) -> Callable[[Any, Lanes], _Followed]:
    """The one function that follows such runs: it shares the system and the numbers of steps."""

    def run(shared: tuple[Any, Any], lanes: Lanes) -> _Followed:
        system, (steps, transient, window) = shared
        by = _Follower.of(system, lanes, steps)
        half = transient // 2
        never = jnp.full(by.period.shape, jnp.inf)
        now = by.over(transient - half, by.begin(), never)
        now = by.over(jnp.maximum(half, 1), now, never)
        level = now.total / (jnp.maximum(half, 1) * by.period)
        now = by.over(window, now, level)

        def seen(now: _Going, k: jax.Array) -> tuple[_Going, jax.Array]:
            now = by.cycle(window + k, now, level)
            return now, now.x.reshape(-1, now.x.shape[-1])

        before = now.x.reshape(-1, now.x.shape[-1])
        now, strobes = jax.lax.scan(seen, now, jnp.arange(2 * most))
        return _known(
            now, jnp.concatenate([before[None], strobes]), (window + 2 * most) * by.period
        )

    return run


def _known(now: _Going, strobes: Any, whole: Any) -> _Followed:
    """What is known of runs at the end of a window of so much time."""
    reach = (now.high - now.low).reshape(-1, whole.size)
    moves = reach.max(axis=0) > 1e-9 * (1 + jnp.abs(strobes).max(axis=(0, 1)))
    span = now.last - now.first
    winding = jnp.where(span > 0, (now.rises - 1) / jnp.where(span > 0, span, 1.0), 0.0)
    finite = jnp.isfinite(strobes[-1]).all(axis=0) & jnp.isfinite(now.log)
    return _Followed(
        jnp.moveaxis(strobes, -1, 0),
        reach.T,
        jnp.where(moves, winding, 0.0),
        now.log / whole,
        whole,
        jnp.where(finite, Status.OK, Status.NOT_FINITE),
    )
