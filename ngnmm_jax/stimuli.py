"""Stimuli: what is added to the input of regions, as functions of time.

Their values have the unit of a model's output (1/ms for `NextGenEI`), since they add to what a
region receives from the network before its coupling's product is taken into the model. Times are
in the model's unit.
"""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ngnmm_jax import _checks
from ngnmm_jax._types import Scalar
from ngnmm_jax.models.base import as_float_array


class AbstractStimulus(eqx.Module):
    """A function of time with values (region,), or () where all regions get the same.

    Stimuli add: `Pulse(…) + Sine(…)`.
    """

    @abc.abstractmethod
    def __call__(self, t: Scalar) -> Float[Array, "*region"]:
        """Its values at a time."""

    @property
    def jumps(self) -> Float[Array, "jump"]:
        """The times at which it is not smooth: adaptive steps end there."""
        return jnp.zeros(0)

    @property
    def n_regions(self) -> int | None:
        """For how many regions it has values; None if all get the same."""
        shape = jax.eval_shape(self, jnp.asarray(0.0)).shape
        return shape[0] if shape else None

    def __add__(self, other: "AbstractStimulus") -> "AbstractStimulus":
        return Sum((self, other))


class Sum(AbstractStimulus):
    """Several stimuli at once."""

    parts: tuple[AbstractStimulus, ...]

    def __call__(self, t: Scalar) -> Float[Array, "*region"]:
        total = self.parts[0](t)
        for part in self.parts[1:]:
            total = total + part(t)
        return total

    @property
    def jumps(self) -> Float[Array, "jump"]:
        return jnp.concatenate([part.jumps for part in self.parts])


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
        on = (t >= self.onset) & (t < self.onset + self.width)
        return jnp.where(on, self.amplitude, 0.0)

    @property
    def jumps(self) -> Float[Array, "jump"]:
        return jnp.stack([self.onset, self.onset + self.width])


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


class Custom(AbstractStimulus):
    """Any smooth function of time, made of JAX operations, with values () or (region,).

    It is compiled with the constants that it then finds: for others make another one. A store knows
    it by its operations and constants; where it calls back into Python (`jax.pure_callback`) it
    needs a `key`, any text that is another one when its values are.
    """

    function: Callable[[Any], Any] = eqx.field(static=True)
    key: str | None = eqx.field(default=None, static=True)

    def __call__(self, t: Scalar) -> Float[Array, "*region"]:
        return jnp.asarray(self.function(t), jnp.result_type(float))


def _one_per_region(argument: str, value: jax.Array) -> None:
    _checks.finite(argument, value)
    if value.ndim > 1:
        _checks.fail(argument, "be a scalar or (region,)", f"its shape is {value.shape}")
