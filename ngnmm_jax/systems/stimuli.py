"""Stimuli: what is added to the input of regions, as functions of time.

Their values have the unit of a model's output (1/ms for `NextGenEI`), since they add to what a
region receives from the network before its coupling's product is taken into the model. Times are
in the model's unit.
"""

import abc
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax._core import checks as _checks
from ngnmm_jax._core.arrays import as_array
from ngnmm_jax._core.cards import Shown
from ngnmm_jax._core.types import Scalar
from ngnmm_jax.models.parameters import as_float_array

#: Mean over a step, and rise in it, each (region,) or ().
Moments = tuple[Float[Array, "*region"], Float[Array, "*region"]]
# How many cycles of one stimulus the common one of several has at most, and how near to a fraction
# their ratio is then, relative.
_CYCLES, _SAME = 64, 1e-9
# Nodes of Gauss's quadrature over a step, from its middle, in steps.
_NODES = (-math.sqrt(0.15), 0.0, math.sqrt(0.15))


class AbstractStimulus(Shown, eqx.Module):
    """A function of time with values (region,), or () where all regions get the same.

    Stimuli add: `Pulse(…) + Sine(…)`.

    Fixed steps take, in place of the stimulus, the straight line that has its mean and its first
    moment over each step (`moments`): nothing that it gives is lost, however short, wherever the
    steps begin. Adaptive steps take its values and end at its `jumps`.
    """

    #: Methods that a definition of its numbers traces.
    TRACED: ClassVar[frozenset[str]] = frozenset({"__call__", "jumps"})

    @abc.abstractmethod
    def __call__(self, t: Scalar) -> Float[Array, "*region"]:
        """Its values at a time."""

    @property
    def jumps(self) -> Float[Array, "jump"]:
        """The times at which it is not smooth: adaptive steps end there."""
        return jnp.zeros(0)

    @property
    def longest_step(self) -> Any:
        """Adaptive steps are no longer than this, so that none goes over a change unseen.

        None where nothing is known: a millisecond then. Infinite where `jumps` say enough.
        """
        return None

    @property
    def cycle(self) -> Any:
        """The time after which its values are the same again, for ever; None where they are not,
        or where that is not known.
        """
        return None

    @property
    def edges(self) -> Float[Array, "edge"]:
        """When, within each `cycle`, it is not smooth: orbits begin new pieces there."""
        return jnp.zeros(0)

    def moments(self, t: Scalar, dt: Scalar) -> Moments:
        """Its mean over the step from `t` to `t + dt`, and how much the line rises in it.

        Here by Gauss's quadrature with three nodes: for what is smooth over a step (relative error
        of the mean some dt^6).
        """
        early, middle, late = jax.vmap(self)(t + dt * (0.5 + as_array(_NODES, t.dtype)))
        return (5 * (early + late) + 8 * middle) / 18, 12 * 5 / 18 * _NODES[2] * (late - early)

    def over_steps(self) -> Callable[[Scalar, Scalar], Moments]:
        """`moments`, with what does not depend on the step computed beforehand."""
        return self.moments

    def mean(self, t0: Any, t1: Any) -> Float[Array, "*region"]:
        """Its mean from one time to another, as a fixed step from `t0` to `t1` takes it."""
        t0, t1 = as_array(t0, float), as_array(t1, float)
        return self.over_steps()(t0, t1 - t0)[0]

    @property
    def n_regions(self) -> int | None:
        """For how many regions it has values; None if all get the same."""
        shape = jax.eval_shape(self, jnp.asarray(0.0)).shape
        return shape[0] if shape else None

    def __add__(self, other: "AbstractStimulus") -> "AbstractStimulus":
        return Sum((self, other))


class Sum(AbstractStimulus):
    """Several stimuli at once.

    It repeats itself where the parts' periods are as whole numbers (to 1e-9, up to 64 periods of
    the longest): `turns` are how many periods of each part that is, or None. They stay as they are
    where periods are then changed inside of JAX's programs.
    """

    parts: tuple[AbstractStimulus, ...]
    turns: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, parts: Sequence[AbstractStimulus]) -> None:
        self.parts = tuple(parts)
        self.turns = _common([part.cycle for part in self.parts])

    def __call__(self, t: Scalar) -> Float[Array, "*region"]:
        total = self.parts[0](t)
        for part in self.parts[1:]:
            total = total + part(t)
        return total

    @property
    def jumps(self) -> Float[Array, "jump"]:
        return jnp.concatenate([part.jumps for part in self.parts])

    @property
    def longest_step(self) -> Any:
        longest = [part.longest_step for part in self.parts]
        return None if None in longest else jnp.stack(jnp.broadcast_arrays(*longest)).min()

    @property
    def cycle(self) -> Any:
        """The least time that is a whole number of periods of each part; None without one."""
        return None if self.turns is None else self.turns[0] * self.parts[0].cycle

    @property
    def edges(self) -> Float[Array, "edge"]:
        every = [jnp.zeros(0)]
        for part, number in zip(self.parts, self.turns or (), strict=False):
            starts = part.cycle * jnp.arange(number)
            every.append((starts[:, None] + part.edges).ravel())
        return jnp.concatenate(every)

    def over_steps(self) -> Callable[[Scalar, Scalar], Moments]:
        parts = [part.over_steps() for part in self.parts]

        def moments(t: Scalar, dt: Scalar) -> Moments:
            means, rises = zip(*(part(t, dt) for part in parts), strict=True)
            return sum(means), sum(rises)

        return moments

    def moments(self, t: Scalar, dt: Scalar) -> Moments:
        return self.over_steps()(t, dt)


class Pulse(AbstractStimulus):
    """`amplitude` from `onset` on, for a while: `width`; zero before and after.

    **Arguments:** `amplitude` is a scalar or (region,).
    """

    onset: Float[Array, ""] = eqx.field(converter=as_float_array)
    width: Float[Array, ""] = eqx.field(converter=as_float_array)
    amplitude: Float[Array, "*region"] = eqx.field(converter=as_float_array)

    def __check_init__(self) -> None:
        _checks.finite("onset", self.onset)
        _checks.positive("width", self.width)
        _one_per_region("amplitude", self.amplitude)

    def __call__(self, t: Scalar) -> Float[Array, "*region"]:
        on = (t >= self.onset) & (t < self._end)
        return jnp.where(on, self.amplitude, 0.0)

    @property
    def jumps(self) -> Float[Array, "jump"]:
        return jnp.stack([self.onset, self._end])

    @property
    def longest_step(self) -> Any:
        return as_array(jnp.inf)

    def moments(self, t: Scalar, dt: Scalar) -> Moments:
        """Exact."""
        # From the step's beginning, in steps: no digits are lost at late times.
        begin, end = (jnp.clip((at - t) / dt, 0.0, 1.0) for at in (self.onset, self._end))
        part = end - begin
        return self.amplitude * part, 6 * self.amplitude * part * (begin + end - 1)

    @property
    def _end(self) -> jax.Array:
        return self.onset + self.width


class Sine(AbstractStimulus):
    """`amplitude * sin(2π t / period + phase)`; `amplitude` and `phase` are scalars or
    (region,).
    """

    period: Float[Array, ""] = eqx.field(converter=as_float_array)
    amplitude: Float[Array, "*region"] = eqx.field(converter=as_float_array)
    phase: Float[Array, "*region"] = eqx.field(default=0.0, converter=as_float_array)

    def __check_init__(self) -> None:
        _checks.positive("period", self.period)
        _one_per_region("amplitude", self.amplitude)
        _one_per_region("phase", self.phase)

    def __call__(self, t: Scalar) -> Float[Array, "*region"]:
        return self.amplitude * jnp.sin(2 * jnp.pi * t / self.period + self.phase)

    @property
    def longest_step(self) -> Any:
        return self.period / 4

    @property
    def cycle(self) -> Any:
        return self.period

    def moments(self, t: Scalar, dt: Scalar) -> Moments:
        """Exact."""
        half = jnp.pi * dt / self.period
        angle = 2 * jnp.pi * ((t + dt / 2) / self.period) + self.phase
        mean = jnp.sinc(dt / self.period) * jnp.sin(angle)
        return self.amplitude * mean, 6 * self.amplitude * _bessel(half) * jnp.cos(angle)


class Periodic(AbstractStimulus):
    """What another stimulus does from time zero to `period`, over and over: a train of pulses is
    `Periodic(Pulse(onset, width, amplitude), period)`.

    Fixed steps take its exact mean, and its exact rise where they are no longer than the period
    and `pattern` knows its own.
    """

    pattern: AbstractStimulus
    period: Float[Array, ""]
    #: Of a pattern that repeats itself: how many of its periods this one has, rounded up.
    repeats: int = eqx.field(static=True)

    def __init__(self, pattern: AbstractStimulus, period: Any) -> None:
        if not isinstance(pattern, AbstractStimulus):
            but = f"it is a {type(pattern).__name__}: use `Custom`"
            _checks.fail("pattern", "be one of `stimuli`", but)
        self.pattern, self.period = pattern, as_float_array(period)
        _checks.positive("period", self.period)
        cycle = pattern.cycle
        known = cycle is not None and _checks.is_concrete(cycle, self.period)
        self.repeats = math.ceil(float(self.period / cycle) - 1e-9) if known else 1

    def __call__(self, t: Scalar) -> Float[Array, "*region"]:
        return self.pattern(jnp.mod(t, self.period))

    @property
    def cycle(self) -> Any:
        return self.period

    @property
    def edges(self) -> Float[Array, "edge"]:
        """The pattern's jumps, and where it begins anew."""
        inside, cycle = self.pattern.jumps, self.pattern.cycle
        if cycle is not None:
            starts = cycle * jnp.arange(self.repeats)
            inside = (starts[:, None] + self.pattern.edges).ravel()
        return jnp.append(jnp.clip(inside, 0.0, self.period), 0.0)

    @property
    def longest_step(self) -> Any:
        """The shortest time between two of its edges, and the pattern's longest step."""
        places = jnp.append(jnp.sort(self.edges), self.period)
        gaps = jnp.diff(places)
        shortest = jnp.where(gaps > 0, gaps, jnp.inf).min()
        longest = self.pattern.longest_step
        return None if longest is None else jnp.minimum(longest, shortest)

    def over_steps(self) -> Callable[[Scalar, Scalar], Moments]:
        pattern, period = self.pattern.over_steps(), self.period
        zero = jnp.zeros(())

        def integral(low: Any, length: Any) -> tuple[Any, Any]:
            """Of the pattern, and its first moment about the middle, over a part of a period."""
            some = jnp.where(length > 0, length, 1.0)
            mean, rise = pattern(low, some)
            none = length > 0
            return jnp.where(none, mean * length, 0.0), jnp.where(none, rise * length**2 / 12, 0.0)

        def moments(t: Scalar, dt: Scalar) -> Moments:
            begin = jnp.mod(t, period)
            # To the end of this period, whole ones, and what is left.
            first = jnp.minimum(period - begin, dt)
            number = jnp.floor((dt - first) / period)
            rest = dt - first - number * period
            parts = [integral(begin, first), integral(zero, rest)]
            whole, _ = integral(zero, period)
            total = parts[0][0] + parts[1][0] + number * whole
            moment = sum(own for _, own in parts)
            # About the step's middle, of the two parts: `first` and `rest` are dt together.
            moment = moment + parts[0][0] * (first - dt) / 2 + parts[1][0] * (dt - rest) / 2
            return total / dt, jnp.where(number > 0, 0.0, 12 * moment / dt**2)

        return moments

    def moments(self, t: Scalar, dt: Scalar) -> Moments:
        return self.over_steps()(t, dt)


class Sampled(AbstractStimulus):
    """An array over time: between its times straight lines, or each value held until the next.

    Before the first and after the last time it keeps the values that it has there.

    **Arguments:**

    - `ts` (time,): rising.
    - `values` (time,) or (time, region).
    - `held`: each value is held.
    """

    ts: Float[Array, "time"] = eqx.field(converter=as_float_array)
    values: Float[Array, "time *region"] = eqx.field(converter=as_float_array)
    held: bool = eqx.field(default=False, static=True)

    def __check_init__(self) -> None:
        _checks.finite("ts", self.ts)
        _checks.finite("values", self.values)
        if self.ts.ndim != 1 or self.ts.shape[0] < 2:
            _checks.fail("ts", "have at least two times", f"its shape is {self.ts.shape}")
        if _checks.is_concrete(self.ts) and (np.diff(np.asarray(self.ts)) <= 0).any():
            _checks.fail("ts", "rise", "it does not")
        if self.values.ndim not in (1, 2) or self.values.shape[0] != self.ts.shape[0]:
            _checks.fail(
                "values",
                f"have axes (time, region) with {self.ts.shape[0]} times",
                f"its shape is {self.values.shape}",
            )

    def __call__(self, t: Scalar) -> Float[Array, "*region"]:
        last = self.ts.shape[0] - 1
        before = jnp.clip(jnp.searchsorted(self.ts, t, side="right") - 1, 0, last)
        if self.held:
            return self.values[before]
        after = jnp.minimum(before + 1, last)
        gap = self.ts[after] - self.ts[before]
        part = jnp.where(gap > 0, (t - self.ts[before]) / jnp.where(gap > 0, gap, 1.0), 0.0)
        part = jnp.clip(part, 0.0, 1.0)
        return self.values[before] + part * (self.values[after] - self.values[before])

    @property
    def jumps(self) -> Float[Array, "jump"]:
        return self.ts

    @property
    def longest_step(self) -> Any:
        return as_array(jnp.inf)

    def over_steps(self) -> Callable[[Scalar, Scalar], Moments]:
        """The mean is exact; so is the rise where a step has at most two of the times in it."""
        ts, values = self.ts, self.values
        gaps = jnp.diff(ts).reshape(-1, *(1,) * (values.ndim - 1))
        inner = values[:-1] if self.held else (values[:-1] + values[1:]) / 2
        total = jnp.concatenate([jnp.zeros_like(values[:1]), jnp.cumsum(inner * gaps, axis=0)])
        last = ts.shape[0] - 1

        def moments(t: Scalar, dt: Scalar) -> Moments:
            # Up to the first of the times within the step, on to the last of them, and the rest;
            # all in one piece where there is none.
            first = jnp.searchsorted(ts, t, side="right")
            final = jnp.searchsorted(ts, t + dt, side="left") - 1
            some = final >= first
            first, final = jnp.minimum(first, last), jnp.clip(final, 0, last)
            a = jnp.where(some, jnp.clip((ts[first] - t) / dt, 0.0, 1.0), 1.0)
            b = jnp.where(some, jnp.clip((ts[final] - t) / dt, 0.0, 1.0), 1.0)
            begin, end = self(t), self(t + dt)
            before, after = values[first], values[final]
            if self.held:
                to_first, from_last = begin, after
                rise, late = jnp.zeros_like(begin), jnp.zeros_like(begin)
            else:
                before = jnp.where(some, before, end)
                to_first, from_last = (begin + before) / 2, (after + end) / 2
                rise, late = before - begin, end - after
            apart = jnp.where(b > a, b - a, 1.0)
            middle = jnp.where(b > a, (total[final] - total[first]) / (apart * dt), 0.0)
            across = jnp.zeros_like(middle) if self.held else values[final] - values[first]
            pieces = ((0.0, a, to_first, rise), (a, b, middle, across), (b, 1.0, from_last, late))
            mean, moment = jnp.zeros_like(begin), jnp.zeros_like(begin)
            for low, high, value, slope in pieces:
                part = high - low
                mean = mean + part * value
                moment = moment + part * ((low + high - 1) / 2 * value + part / 12 * slope)
            return mean, 12 * moment

        return moments

    def moments(self, t: Scalar, dt: Scalar) -> Moments:
        return self.over_steps()(t, dt)


class Custom(AbstractStimulus):
    """Any smooth function of time, made of JAX operations, with values () or (region,).

    It is compiled with the constants that it then finds: for others make another one. A store
    knows it by its operations and constants.

    **Arguments:**

    - `function`: of the time.
    - `resolution`: the shortest time over which it changes; adaptive steps are no longer than that
      (by default than a millisecond), and fixed steps should not be either.
    - `key`: needed by a store where the function calls back into Python (`jax.pure_callback`): any
      text that is another one when its values are.
    """

    function: Callable[[Any], Any] = eqx.field(static=True)
    resolution: float | None = eqx.field(default=None, static=True)
    key: str | None = eqx.field(default=None, static=True)

    def __check_init__(self) -> None:
        if self.resolution is not None:
            _checks.positive("resolution", self.resolution)

    def __call__(self, t: Scalar) -> Float[Array, "*region"]:
        return as_array(self.function(t), jnp.result_type(float))

    @property
    def longest_step(self) -> Any:
        return None if self.resolution is None else as_array(self.resolution, float)


def _bessel(x: jax.Array) -> jax.Array:
    """(sin x - x cos x) / x², the spherical Bessel function of order one."""
    near = jnp.abs(x) < 0.5
    square = jnp.where(near, x * x, 0.0)
    series = x / 3 * (1 - square / 10 * (1 - square / 28 * (1 - square / 54 * (1 - square / 88))))
    far = jnp.where(near, 1.0, x)
    return jnp.where(near, series, (jnp.sin(far) - far * jnp.cos(far)) / far**2)


def _common(cycles: list[Any]) -> tuple[int, ...] | None:
    """How many of each are the least common time; None where it is not known."""
    if any(cycle is None for cycle in cycles) or not _checks.is_concrete(cycles):
        return None
    longest = max(map(float, cycles))
    ratios = [longest / float(cycle) for cycle in cycles]
    near = [Fraction(ratio).limit_denominator(_CYCLES) for ratio in ratios]
    if any(abs(float(n) - r) > _SAME * r for n, r in zip(near, ratios, strict=True)):
        return None
    number = math.lcm(*(n.denominator for n in near))
    if number > _CYCLES:
        return None
    return tuple(int(number * n) for n in near)


def _one_per_region(argument: str, value: jax.Array) -> None:
    _checks.finite(argument, value)
    if value.ndim > 1:
        _checks.fail(argument, "be a scalar or (region,)", f"its shape is {value.shape}")
